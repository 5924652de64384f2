"""Open connections that end with their session, as the option ``close_on_end`` has it: of whatever protocol."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..aio import new_event, spawn
from ..core.changes import Change
from ..core.data import look_at
from ..core.state import Found, Intent, State
from ..errors import StoreError
from ..logs import log
from .async_ import AsyncMiddleware
from .watching import Follower

__all__ = ["POLICY_VIOLATION", "REASON", "LiveSocket"]

POLICY_VIOLATION: Final = 1008
"""The close code of a WebSocket that violates a policy (RFC 6455, 7.4.1)."""
REASON: Final = "the session has ended"


class LiveSocket:
    """A WebSocket that is closed when its session ends, and whose messages count as use of it.

    Args:
        middleware: the door's.
        state: the session's.
        close: closes it. It may fail.
    """

    def __init__(
        self, middleware: AsyncMiddleware, state: State, close: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._middleware = middleware
        self._state = state
        self._close = close
        self._follower = Follower(middleware.watchers, state, self._told, self._end)
        self._touch_at = 0
        self._closing: Any = None
        self.has_ended: bool = False
        """The session has, and the socket is closed or about to be."""

    async def accepted(self) -> None:
        """From now on the session is watched, if there is one. One that could not be looked up by now counts as ended."""
        state = self._state
        if state.found is Found.PENDING and state.intent is not Intent.DESTROY:
            try:
                await self._middleware.load(state)
            except StoreError:
                self._end()
        if state.loaded is not None:
            look_at(state)
        if self._follower.follow():
            self._touch_at = self._next_touch()

    async def used(self) -> None:
        """A message has come."""
        if self._touch_at and self._state.now() >= self._touch_at and not self.has_ended:
            self._touch_at = self._next_touch()
            await self._middleware.use(self._state)

    async def leave(self) -> None:
        """The application is done with the socket. Where that is being closed as the session has ended, not before it is."""
        self._follower.leave()
        if self._closing is not None:
            await self._closing.wait()

    def _next_touch(self) -> int:
        state = self._state
        return state.now() + max(1, state.settings.touch_after_ms(state.idle_ms()))

    def _told(self, change: Change | None) -> None:
        if change is not None and change.is_end:
            self._end()

    def _end(self) -> None:
        if not self.has_ended:
            self.has_ended, self._closing = True, new_event()
            spawn(self._close_quietly)

    async def _close_quietly(self) -> None:
        try:
            await self._close()
        except Exception as error:  # noqa: BLE001 - of whatever server; it is closed already, as a rule
            log.debug("a socket whose session has ended could not be closed: %s", type(error).__name__)
        finally:
            self._closing.set()
