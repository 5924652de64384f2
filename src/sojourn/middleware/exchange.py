"""One request and its response: begin, respond, finish. Every door drives this one; only the protocol is its own.

1. *Begin*: the session is looked up, before the application runs. That is the middleware's own `look_up`, written out in each colour,
   as every request pays for it.
2. *Respond*: it is committed when the response's headers are about to leave, before any byte of it. Where the store fails, a 503 is sent
   in the application's place.
3. *Finish*: after the application is done, what came late is saved; where it raised and nothing was sent, only what was to end ends. Then
   an exclusive request gives its lock back: by `finish` of the middleware.

The other two are written once, as steps that `drive` runs in either colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from ..core.commit import commit
from ..core.ended import end
from ..core.plan import Phase, Plan
from ..core.policy import decide, needs_late_commit, substitute
from ..core.session import BaseSession
from ..core.state import Event, Found, Intent, State
from ..core.steps import Steps
from ..core.transitions import note_committed
from ..errors import SessionEncodeError, SojournError, StoreError
from ..logs import described, log, warn_once
from ..wire.cookies import domain_fits, domain_in
from ..wire.headers import Header
from .base import Middleware
from .drive import commit_at_once

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
    forward: Any = None
    """How the protocol sends a response."""
    refused: bool = False
    """The response is our 503: what the application still sends goes nowhere."""
    failure: StoreError | None = None
    """How the store failed, for a door that asks the application what to send then."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.session!r}>"  # debug pages show what a frame holds

    def prepare(self, phase: Phase) -> Plan | None:
        """What to do with the session now; None where the store failed, and the response is to be a 503.

        Raises:
            SessionEncodeError: a value cannot be stored. Nothing of the request is saved.
        """
        state = self.state
        if state.found is _UNAVAILABLE and self.middleware.options.on_store_error == "fail":
            return None  # a lazy load failed in the midst of the handler
        if self.slot.get(self.name) is not self.session:
            self.substitute(phase)
        try:
            plan = decide(state, phase)
        except SessionEncodeError:
            state.on(Event.DISCARD)  # the framework's error page must not fail over it again
            raise
        except StoreError as error:
            self.middleware.commit_failed(state, error)
            self.failure = error
            return None
        if state.intent is not _UNCHANGED and not plan.needs_store:
            note_committed(state, plan)  # there is nothing to carry out, and so nothing left to finish either
        return plan

    def substitute(self, phase: Phase) -> None:
        """Apply what the application put in the session's place, which is something else."""
        substitute(self.state, self.slot.get(self.name))

    def respond(self, plan: Plan, phase: Phase) -> Steps[Plan | None]:
        """Carry the plan out; returns what is to be sent, None where that is a 503."""
        try:
            done = yield from commit(self.state, plan, phase)
        except SojournError as error:
            return self._failed(error, phase)
        if self.middleware.writes.failures:
            self.middleware.writes.success()
        return done

    def respond_at_once(self, plan: Plan, phase: Phase) -> Plan | None:
        """`respond` with a store in this process: no steps."""
        middleware = self.middleware
        try:
            done = commit_at_once(self.state, plan, phase, middleware.direct)
        except SojournError as error:
            return self._failed(error, phase)
        if middleware.writes.failures:
            middleware.writes.success()
        return done

    def _failed(self, error: SojournError, phase: Phase) -> Plan | None:
        if not isinstance(error, StoreError):
            self.state.on(Event.DISCARD)  # as above
            raise error
        self.failure = error
        # Where nothing is stored and the response goes out, what an earlier save() owes the client is sent.
        return decide(self.state, phase) if self.middleware.commit_failed(self.state, error) else None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing left to finish."""
        return (
            self.slot.get(self.name) is self.session
            and self.state.lock is None
            and self.middleware.listeners is None
            and not needs_late_commit(self.state)
        )

    def hosts(self) -> list[str]:
        """What the request calls the host it is for: its own headers, and those of a proxy that exchanged them."""
        hosts: list[str] = self.slot["hosts"]
        return hosts

    def check_domain(self, header: Header) -> None:
        """Tell, once, of a cookie that no browser keeps, as its domain is not that of the host."""
        domain = domain_in(header[1])
        hosts = self.hosts() if domain else []
        if hosts and not any(domain_fits(domain, host) for one in hosts for host in one.split(",")):
            warn_once(
                "domain",
                "a session's cookie has the domain %s, which is not that of the host %r: browsers drop such a cookie, and each "
                "request begins another session; leave cookie.domain out, or visit the site by that name",
                domain,
                hosts[0][:100],
            )

    def finish(self, *, failed: bool) -> Steps[None]:
        """After the application is done: what came late, and the endings of a handler that raised."""
        end(self.session)
        state = self.state
        phase = Phase.LATE if state.sent and not failed else Phase.FAILED
        try:
            if self.slot.get(self.name) is not self.session:
                self.substitute(phase)
            if not self.refused and needs_late_commit(state):
                plan = decide(state, phase)
                if plan.needs_store:
                    yield from commit(state, plan, phase)
                    self.middleware.writes.success()
                else:
                    note_committed(state, plan)
        except SojournError as error:
            if not (isinstance(error, StoreError) and self.middleware.commit_failed(state, error)):
                # Of an encode error the reason alone: the path to the value consists of data.
                shown = described(error, error.reason if isinstance(error, SessionEncodeError) else None)
                log.error(_LOST[phase], *shown.args, exc_info=shown)
            state.on(Event.DISCARD)  # it is lost, also where this is called once more
