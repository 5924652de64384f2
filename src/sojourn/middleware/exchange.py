"""One request and its response: begin, respond, finish. Every door drives this one; only the protocol is its own.

1. *Begin*: the session is looked up, before the application runs. That is the middleware's own `look_up`, written out in each colour,
   as every request pays for it.
2. *Respond*: it is committed when the response's headers are about to leave, before any byte of it. Where the store fails, a 503 is sent
   in the application's place.
3. *Finish*: after the application is done, what came late is saved; where it raised and nothing was sent, only what was to end ends. An
   exclusive request gives its lock back.

The other two are written once, as steps that `drive` runs in either colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from ..core.commit import Steps, Unlock, commit
from ..core.plan import Phase, Plan
from ..core.policy import decide, needs_late_commit, substitute
from ..core.session import BaseSession
from ..core.state import Event, Found, Intent, State
from ..core.transitions import note_committed
from ..errors import SessionEncodeError, SojournError, StoreError
from ..logs import log
from .base import Middleware

__all__ = ["Exchange"]

M = TypeVar("M", bound=Middleware)

_LOST: Final = {
    Phase.LATE: "a change after the response headers had left is lost: %s",
    Phase.FAILED: "a session that was to end before the handler raised has not ended: %s",
}

_UNAVAILABLE: Final = Found.UNAVAILABLE
_UNCHANGED: Final = Intent.NONE


class Exchange(Struct, Generic[M]):
    """One request and its response, as far as the session is concerned. No I/O: its tasks are steps."""

    middleware: M
    state: State
    session: BaseSession
    slot: Mapping[str, Any]
    """Where the application finds the session, under `name`, and may put something else in its place."""
    name: str
    refused: bool = False
    """The response is our 503: what the application still sends goes nowhere."""

    def prepare(self, phase: Phase) -> Plan | None:
        """What to do with the session now; None where the store failed, and the response is to be a 503.

        Raises:
            SessionEncodeError: a value cannot be stored. Nothing of the request is saved.
        """
        state = self.state
        if state.found is _UNAVAILABLE and self.middleware.options.on_store_error == "fail":
            return None  # a lazy load failed in the midst of the handler
        if self.slot.get(self.name) is not self.session:
            substitute(state, self.slot.get(self.name))
        try:
            plan = decide(state, phase)
        except SessionEncodeError:
            state.on(Event.DISCARD)  # the framework's error page must not fail over it again
            raise
        except StoreError as error:
            self.middleware.commit_failed(state, error)
            return None
        if state.intent is not _UNCHANGED and not plan.needs_store:
            note_committed(state, plan, None)  # there is nothing to carry out, and so nothing left to finish either
        return plan

    def respond(self, plan: Plan, phase: Phase) -> Steps[Plan | None]:
        """Carry the plan out; returns what is to be sent, None where that is a 503."""
        try:
            done = yield from commit(self.state, plan, phase)
        except StoreError as error:
            if self.middleware.commit_failed(self.state, error):
                return decide(self.state, phase)  # nothing is stored; what an earlier save() owes the client is sent
            return None
        except SojournError:
            self.state.on(Event.DISCARD)  # as above
            raise
        if self.middleware.writes.failures:
            self.middleware.writes.success()
        return done

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing left to finish."""
        return (
            self.slot.get(self.name) is self.session and self.state.lock is None and not needs_late_commit(self.state)
        )

    def finish(self, *, failed: bool) -> Steps[None]:
        """After the application is done: what came late, and the endings of a handler that raised."""
        state, problem = self.state, None
        phase = Phase.LATE if state.sent and not failed else Phase.FAILED
        try:
            if self.slot.get(self.name) is not self.session:
                substitute(state, self.slot.get(self.name))
            if not self.refused and needs_late_commit(state):
                plan = decide(state, phase)
                if plan.needs_store:
                    yield from commit(state, plan, phase)
                    self.middleware.writes.success()
                else:
                    note_committed(state, plan, None)
        except SojournError as error:
            if not (isinstance(error, StoreError) and self.middleware.commit_failed(state, error)):
                log.error(_LOST[phase], error, exc_info=error)
        except Exception as error:  # noqa: BLE001 - raised again below, once the lock is given back
            problem = error
        if state.lock is not None:
            try:
                yield Unlock(*state.lock)
            except StoreError as error:
                self.middleware.writes.failure(error, "a lock is left to expire")
            state.lock = None
        if problem is not None:
            raise problem
