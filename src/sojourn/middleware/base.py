"""A middleware's configuration and its view of the store's health: what every door shares, of whatever protocol and colour."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple

from ..clock import DAY_MS
from ..core.commit import unlock
from ..core.settings import SessionSettings
from ..core.state import Event, Found, Intent, State
from ..core.steps import Steps
from ..core.store import direct_of
from ..core.transitions import note_loaded, note_unavailable
from ..errors import SessionConflict, StoreError
from ..logs import OutageLog, log
from ..options import EXPRESS, Options, OptionsDict, Request
from ..stores import resolve
from ..wire.error_page import error_page
from ..wire.request import RequestReader
from .arrivals import Arrivals
from .telling import Listeners
from .turns import Turns, turns_of

__all__ = ["NOT_LOADED", "ErrorResponse", "Middleware"]

_REFUSED: Final = "a request is refused by a 503: %s"
NOT_LOADED: Final = (Found.PENDING, Found.UNAVAILABLE)
"""What a ``reload()`` has to look up first."""
_NEVER_PASSED_OVER: Final = (Intent.DESTROY, Intent.INVALIDATE, Intent.REGENERATE)


class ErrorResponse(NamedTuple):
    """What is sent in the application's place when the store fails."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Middleware:
    """A configuration, its store, and whether that works."""

    def __init__(self, given: OptionsDict, *, asynchronous: bool) -> None:
        options = Options.of(given)
        self.options: Options = options
        express = options.profile is EXPRESS
        self.store: Any = resolve(
            options.store,
            asynchronous=asynchronous,
            exclusive=options.exclusive is not None,
            express=express,
            shared=True,
        )
        # Express's stores each have a default lifetime of their own; ours is one for all.
        default_idle = getattr(self.store, "default_ttl", DAY_MS) if express else DAY_MS
        self.settings: SessionSettings = SessionSettings(options, default_idle_ms=default_idle)
        self.reader: RequestReader = RequestReader(options, self.settings.naming, self.settings.signer)
        self.arrivals: Arrivals = Arrivals(self.reader, self.settings, options.signature_cache)
        self.listeners: Listeners | None = (
            Listeners(self.settings, asynchronous=asynchronous) if options.listeners else None
        )
        """Who is told what happens; None where nobody listens."""
        self.direct: Any = direct_of(self.store) if self.listeners is None else None
        """The store in the sync colour where nothing has to wait: neither for it, nor for who listens. Else None."""
        self.turns: Turns = turns_of(self.store)
        # Apart, as a full disk or a read-only replica fails writes alone, and loads that work end no such outage.
        note = None if self.listeners is None else self.listeners.note_store
        self.loads: OutageLog = OutageLog(note and partial(note, "load"))
        self.writes: OutageLog = OutageLog(note and partial(note, "write"))

    def is_exclusive(self, state: State) -> bool:
        """Whether this request must be the only one of its session."""
        predicate = self.options.exclusive
        return predicate is not None and not state.over and bool(predicate(state.arrival.request))

    def unlocked(self, state: State) -> Steps[None]:
        """Give a session's lock back."""
        try:
            yield from unlock(state)
        except StoreError as error:
            self.writes.failure(error, "a lock is left to expire")

    def find(self, state: State, store: Any) -> None:
        """Look up the session that the request asks for in a sync store."""
        load, arrival = store.load, state.arrival
        for verified, key in zip(arrival.ids, arrival.keys):  # noqa: B905 - as many as there are keys; the argument costs more than the rest
            if note_loaded(state, verified, key, load(key)):
                break
        if self.loads.awaits:
            self.looked_up(state)

    def looked_up(self, _state: State) -> None:
        """Note that a look-up went well."""
        self.loads.success()

    def load_failed(self, state: State, error: StoreError) -> bool:
        """Note a failed look-up. True if the request goes on, with a session that is not saved."""
        if isinstance(error, SessionConflict):
            log.warning(_REFUSED, error)
            note_unavailable(state)
            return False
        anonymous = self.options.on_store_error == "anonymous"
        self.loads.failure(error, "requests go on without their sessions" if anonymous else "requests get a 503")
        note_unavailable(state)
        return anonymous

    def commit_failed(self, state: State, error: StoreError) -> bool:
        """Note a failed commit. True if the response goes out nevertheless, and nothing is saved.

        A failed destroy or regenerate is never passed over: the user would believe to be logged out. Nor is a change that was given up
        because others were first: the store is well, and the visitor can simply try again.
        """
        if isinstance(error, SessionConflict):
            log.warning(_REFUSED, error)
            return False
        if self.options.on_store_error == "fail" or state.intent in _NEVER_PASSED_OVER:
            self.writes.failure(error, "requests get a 503")
            return False
        self.writes.failure(error, "requests go on and their sessions are not saved")
        state.on(Event.DISCARD)
        return True

    def unavailable(self, request: Request) -> ErrorResponse:
        """The 503 that is sent when the store fails."""
        return ErrorResponse(503, *error_page(self.options.store_error_page, request))
