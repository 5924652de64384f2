"""What the ASGI and the WSGI adapter share: everything but the protocol and the colour."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Final

from ..clock import DAY_MS
from ..core.plan import Ending, Phase, Plan
from ..core.policy import Policy
from ..core.session import BaseSession, Origin
from ..core.settings import Rules
from ..errors import SessionEncodeError, StoreError
from ..logs import Outage, log
from ..options import EXPRESS, Options, OptionsDict
from ..stores import resolve
from ..wire.request import Incoming
from ..wire.signing import Verified

__all__ = ["Adapter"]

_PAGE: Final = (
    "<!doctype html><title>Service unavailable</title><h1>Service unavailable</h1><p>Please try again in a moment."
)
_NOTHING: Final = Plan()
_RETRY_AFTER: Final = "5"


class Adapter:
    """A middleware's configuration and its view of the store's health."""

    def __init__(self, given: OptionsDict, *, asynchronous: bool) -> None:
        options = Options.of(given)
        express = options.profile is EXPRESS
        self.store: Any = resolve(
            options.store, asynchronous=asynchronous, exclusive=options.exclusive is not None, express=express
        )
        # Express's stores each have a default lifetime of their own; ours is one for all.
        default_idle = getattr(self.store, "default_ttl", DAY_MS) if express else DAY_MS
        rules = Rules(options, default_idle_ms=default_idle)
        self.incoming = Incoming(options, rules)
        self.policy = Policy(options, rules)
        # Apart, as a full disk or a read-only replica fails writes alone, and loads that work end no such outage.
        self.loads = Outage()
        self.writes = Outage()

    def expect(self, session: BaseSession, ids: Sequence[Verified]) -> None:
        """Note what the request brought, before the store is asked."""
        session._origin = Origin.UNLOADED
        session._candidates = ids
        session._id = ids[0].id

    def is_exclusive(self, session: BaseSession) -> bool:
        """Whether this request must be the only one of its session."""
        predicate = self.policy.options.exclusive
        return predicate is not None and bool(predicate(session._request))

    def load_failed(self, session: BaseSession, error: StoreError) -> bool:
        """Log a failed load. True if the request goes on, with a session that is not saved."""
        anonymous = self.policy.options.on_store_error == "anonymous"
        self.loads.failed(error, "requests go on without their sessions" if anonymous else "requests are answered 503")
        session._origin = Origin.UNSAVED
        return anonymous

    def lazy_load_failed(self, session: BaseSession, error: StoreError) -> None:
        """The same in the midst of a handler: unless the request goes on, whatever it sends becomes a 503."""
        if not self.load_failed(session, error):
            session._failure = error
            raise error

    def commit_failed(self, session: BaseSession, plan: Plan | None, error: StoreError) -> Plan:
        """Log a failed commit. Answers what goes out nevertheless, or raises the error again where a 503 must.

        A destroy or regenerate that failed is never passed over: the user would believe to be logged out.
        """
        if self.policy.options.on_store_error == "fail" or session._destroyed or session._regenerated:
            self.writes.failed(error, "requests are answered 503")
            raise error
        self.writes.failed(error, "requests go on and their sessions are not saved")
        session._drop()
        return Plan(Ending.DROPPED, vary=plan is not None and plan.vary)

    def plan(self, session: BaseSession, slot: MutableMapping[str, Any], name: str, phase: Phase) -> Plan:
        """What to do with the session, or with what the app put in its place.

        Raises:
            SessionEncodeError: a value cannot be stored.
            StoreUnavailable: it was regenerated without having been loaded.
        """
        if session._failure is not None:
            raise session._failure
        current = slot.get(name)
        if current is not session:
            self.policy.unset(session, current)
            if current is not None:
                slot[name] = session
        elif phase is not Phase.RESPONSE and self.policy.is_settled(session):
            return _NOTHING
        try:
            return self.policy.close(session, phase)
        except SessionEncodeError:
            session._drop()  # the framework's error page must not fail over it again
            raise

    def unavailable(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """The 503 that is sent when the store fails: status, headers, body."""
        page = self.policy.options.store_error_page
        body = (_PAGE if page is None else page).encode()
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Retry-After", _RETRY_AFTER),
        ]
        return 503, headers, body

    def lost(self, error: BaseException) -> None:
        """Log a change that came too late to be answered for."""
        log.error("a change after the response headers had left is lost: %s", error, exc_info=error)
