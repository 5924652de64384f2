"""Who listens to what happens, and telling them. Each is told in the order in which it happened, by the request itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Literal

from ..core.settings import SessionSettings
from ..errors import ConfigurationError
from ..events import Kind, Listener, SessionEvent, is_async
from ..logs import described, log

__all__ = ["Listeners"]


class Listeners:
    """Those that the option ``on_event`` names.

    Args:
        settings: what makes events.
        asynchronous: whether coroutine functions may be among them.

    Raises:
        ConfigurationError: they are, and may not.
    """

    __slots__ = ("_settings", "_store", "failed", "listeners")

    def __init__(self, settings: SessionSettings, *, asynchronous: bool) -> None:
        self.listeners: tuple[Listener, ...] = settings.options.listeners
        self._settings = settings
        self._store: Final[deque[SessionEvent]] = deque()
        """What happened to the store, which the next request that tells anything tells: as a rule that which met it."""
        self.failed: Final[set[Kind]] = set()
        for listener in self.listeners if not asynchronous else ():
            if is_async(listener):
                raise ConfigurationError("on_event", repr(listener), "give a plain function: nothing awaits it here")

    def note_store(self, operation: Literal["load", "write"], what: BaseException | int) -> None:
        """Note that the store fails, or that it is back after so many failures."""
        if isinstance(what, int):
            event = replace(self._settings.event("store_back"), count=what)
        else:
            event = self._settings.event("store_down", reason=type(what).__name__)
        self._store.append(replace(event, operation=operation))

    def due(self, noted: list[SessionEvent] | None) -> Iterator[SessionEvent]:
        """What is to be told: what happened to the store, and what is noted, the oldest first. Each is given once."""
        while self._store:
            try:
                event = self._store.popleft()
            except IndexError:  # pragma: no cover - another thread was first
                break
            yield event
        while noted:
            yield noted.pop(0)

    def note_failure(self, kind: Kind, error: Exception) -> None:
        """A listener raised: logged once for each kind, and passed over."""
        if kind not in self.failed:
            self.failed.add(kind)
            shown: Any = described(error)
            log.error(
                "a listener of on_event failed at %r, which is logged once: %s: %s",
                kind,
                type(shown).__name__,
                *shown.args,
                exc_info=shown,
            )
