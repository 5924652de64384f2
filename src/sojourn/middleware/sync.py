"""The middleware in the sync colour: it runs the core's tasks on its store, and its sessions reach the store through it."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ..core.commit import look_up_alone, reload, save
from ..core.plan import Phase, Plan
from ..core.state import Found, State
from ..core.steps import Pause, Steps, Turn, Unlock, lock_turn
from ..core.transitions import check_reload, note_first_load, note_looked_up
from ..errors import StoreError
from ..events import SessionEvent
from ..options import OptionsDict
from .base import NOT_LOADED, Middleware
from .drive import CALLS, Waits, run
from .exchange import Exchange
from .sessions import StoreSessions
from .telling import told

__all__ = ["SyncMiddleware"]

T = TypeVar("T")


class SyncMiddleware(Middleware):
    """The sync colour. Its sessions reach the store through it."""

    def __init__(self, given: OptionsDict) -> None:
        super().__init__(given, asynchronous=False)
        self._waits: Waits = {Turn: self.turns.take, Pause: self.turns.pause, Unlock: self._unlock}
        if self.listeners is not None:
            self.listeners.install(self, told)

    def run(self, steps: Steps[T], _state: State | None = None) -> T:
        """Run a task on the store, of such a request."""
        return run(steps, self.store) if self.direct is not None else run(steps, self.store, self._waits)

    def tell(self, noted: list[SessionEvent] | None) -> None:
        """Tell whoever listens what is noted, and what happened to the store."""
        if self.listeners is None:
            return
        for event in self.listeners.due(noted):
            for listener in self.listeners.listeners:
                try:
                    said = listener(event)
                    if isinstance(said, Coroutine):
                        said.close()
                        raise TypeError("it returned a coroutine, which nothing awaits here")  # noqa: TRY301 - told like any other
                except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
                    self.listeners.note_failure(event.kind, error)

    def looked_up(self, state: State) -> None:
        super().looked_up(state)
        if self.listeners is not None:
            has_expired = getattr(self.store, "has_expired", None) if state.found is Found.NOTHING else None
            expired = []
            with suppress(StoreError):
                expired = [key for key in state.arrival.keys if has_expired is not None and has_expired(key)]
            note_looked_up(state, expired)

    def respond(self, exchange: Exchange[Any], plan: Plan, phase: Phase) -> Plan | None:
        """Carry a plan out; returns what is to be sent, None where that is a 503."""
        if self.direct is not None:
            return exchange.respond_at_once(plan, phase)
        return self.run(exchange.respond(plan, phase))

    def look_up_or_note(self, state: State) -> bool:
        """Look up the session that the request asks for. False if the response is to be a 503."""
        try:
            self.look_up(state)
        except StoreError as error:
            return self.load_failed(state, error)
        return True

    def look_up(self, state: State) -> None:
        """Look up the session that the request asks for; where it is exclusive, once no other request has it.

        Where that fails, whatever the reason, the session is not locked.
        """
        if self.options.exclusive is None or not self.is_exclusive(state):
            self.find(state, self.store)
            return
        try:
            run(look_up_alone(state), self.store, self._waits)
        except BaseException:
            self.unlock(state)
            raise
        self.looked_up(state)

    def finish(self, exchange: Exchange[Any], *, failed: bool) -> None:
        """Do what is left after the application is done, and give an exclusive session back, whatever happens."""
        try:
            self.run(exchange.finish(failed=failed))
        finally:
            self.unlock(exchange.state)

    def unlock(self, state: State) -> None:
        """Give an exclusive session back, if this request has it."""
        if state.lock is not None:
            run(self.unlocked(state), self.store, self._waits)

    def _unlock(self, op: Unlock) -> Any:
        """Give a lock back, and tell who waits for it in this process."""
        was_held = CALLS[Unlock](self.store, op)
        if not op.again:
            self.turns.wake(lock_turn(op.key))
        return was_held

    def load(self, state: State) -> None:
        """Look up the session in the midst of a handler. Where that fails, what the handler sends becomes a 503.

        Raises:
            StoreError: it failed, and the request cannot go on.
        """
        try:
            self.look_up(state)
        except StoreError as error:
            if not self.load_failed(state, error):
                raise

    def save(self, state: State) -> None:
        self.run(save(state))
        self.writes.success()

    def reload(self, state: State) -> None:
        if state.found in NOT_LOADED:
            check_reload(state)
            self.look_up(state)
            note_first_load(state)
        else:
            self.run(reload(state))

    @property
    def sessions(self) -> StoreSessions:
        return StoreSessions(self.store, self.settings, self.tell)
