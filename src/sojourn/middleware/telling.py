"""Who listens to what happens, and telling them. Each is told in the order in which it happened, by the request itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, TypeVar, cast

from ..core.noting import notes_of
from ..core.settings import SessionSettings
from ..core.state import State
from ..errors import ConfigurationError
from ..events import Listener, Measuring, Operation, SessionEvent, is_async
from ..logs import described, log

__all__ = ["Listeners", "told", "told_async"]

T = TypeVar("T")

_TOLD: Final[dict[str, Operation | None]] = {
    "look_up": "load",
    "look_up_or_note": None,
    "load": None,
    "respond": "commit",
    "save": "commit",
    "reload": None,
    "finish": None,
    "run": None,
}
"""The methods of a middleware after which what they did is told, and as what those that ask for it measure them."""


class Listeners:
    """Those that the option ``on_event`` names.

    Args:
        settings: what makes events.
        asynchronous: whether coroutine functions may be among them.

    Raises:
        ConfigurationError: they are, and may not.
    """

    __slots__ = ("_settings", "_store", "failed", "listeners", "measures")

    def __init__(self, settings: SessionSettings, *, asynchronous: bool) -> None:
        self.listeners: tuple[Listener, ...] = settings.options.listeners
        self._settings = settings
        self._store: Final[deque[SessionEvent]] = deque()
        """What happened to the store, which the next request that tells anything tells: as a rule that which met it."""
        self.measures: Final[list[Callable[[Operation], AbstractContextManager[object]]]] = [
            listener.measure for listener in cast("tuple[Any, ...]", self.listeners) if isinstance(listener, Measuring)
        ]
        self.failed: Final[set[str]] = set()
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

    def install(self, middleware: Any, told: Callable[..., Any]) -> None:
        """Have a middleware's tasks told: its methods are exchanged, so that where nobody listens nothing is asked on the way."""
        for name, operation in _TOLD.items():
            setattr(middleware, name, told(middleware, getattr(middleware, name), operation))

    def measure(self, operation: Operation | None, about: object) -> AbstractContextManager[None]:
        """What to enter while the store is asked about a state, or by an exchange."""
        return nullcontext() if operation is None or not self.measures else _Measured(self, operation, about)

    def note_failure(self, kind: str, error: Exception) -> None:
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


class _Measured(AbstractContextManager[None]):
    """Enters what the listeners have for an operation, and leaves it. What they raise at that is logged and passed over."""

    def __init__(self, listeners: Listeners, operation: Operation, about: object) -> None:
        self._listeners = listeners
        self._about = about
        self._operation: Operation = operation
        self._entered: list[AbstractContextManager[object]] = []

    def __enter__(self) -> None:
        for measure in self._listeners.measures:
            try:
                manager = measure(self._operation)
                manager.__enter__()
            except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
                self._listeners.note_failure(self._operation, error)
            else:
                self._entered.append(manager)

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failure = getattr(self._about, "failure", None) if raised is None else None
        if failure is not None:  # what an exchange does not raise, but keeps
            kind, raised, traceback = type(failure), failure, failure.__traceback__
        while self._entered:
            try:
                self._entered.pop().__exit__(kind, raised, traceback)
            except Exception as error:  # noqa: BLE001 - as above
                if error is not raised:
                    self._listeners.note_failure(self._operation, error)


def _noted(args: tuple[Any, ...]) -> list[SessionEvent] | None:
    """What is noted of the request that a method is about, by the state among its arguments, or the exchange, which has it.

    None where it has neither: then it is part of another, which tells.
    """
    states = [one for argument in args if isinstance(one := getattr(argument, "state", argument), State)]
    return notes_of(states[0]) if states else None


def told(middleware: Any, method: Callable[..., T], operation: Operation | None) -> Callable[..., T]:
    """The method of a sync middleware, after which it tells what happened."""

    def run(*args: Any, **how: Any) -> T:
        try:
            with middleware.listeners.measure(operation, args[0]):
                return method(*args, **how)
        finally:
            if (noted := _noted(args)) is not None:
                try:
                    middleware.tell(noted)
                except BaseException:  # such as a cancellation: nobody will have the session that was looked up
                    if operation == "load":
                        middleware.unlock(args[0])
                    raise

    return run


def told_async(
    middleware: Any, method: Callable[..., Awaitable[T]], operation: Operation | None
) -> Callable[..., Awaitable[T]]:
    """The same in the async colour."""

    async def run(*args: Any, **how: Any) -> T:
        try:
            with middleware.listeners.measure(operation, args[0]):
                return await method(*args, **how)
        finally:
            if (noted := _noted(args)) is not None:
                try:
                    await middleware.tell(noted)
                except BaseException:  # such as a cancellation: nobody will have the session that was looked up
                    if operation == "load":
                        await middleware.unlock(args[0])
                    raise

    return run
