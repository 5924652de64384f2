"""A middleware's configuration and its view of the store's health: what every door shares, of whatever protocol and colour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeVar

from ..aio import shielded, sleep
from ..clock import DAY_MS
from ..core.commit import Steps, acquire, reload, save
from ..core.settings import SessionSettings
from ..core.state import Event, Found, Intent, State
from ..core.transitions import check_reload, note_first_load, note_loaded, note_unavailable
from ..errors import StoreError
from ..logs import OutageLog
from ..options import EXPRESS, Options, OptionsDict
from ..stores import resolve
from ..wire.request import MOST_LOOKUPS, RequestReader
from .drive import run, run_async
from .sessions import AsyncStoreSessions, StoreSessions

__all__ = ["AsyncMiddleware", "ErrorResponse", "Middleware", "SyncMiddleware"]

T = TypeVar("T")

_PAGE: Final = (
    "<!doctype html><title>Service unavailable</title><h1>Service unavailable</h1><p>Please try again in a moment."
)
_RETRY_AFTER: Final = "5"
_NOT_LOADED: Final = (Found.PENDING, Found.UNAVAILABLE)
_NEVER_PASSED_OVER: Final = (Intent.DESTROY, Intent.INVALIDATE, Intent.REGENERATE)


class ErrorResponse(NamedTuple):
    """What is sent in the application's place when the store fails."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Middleware:
    """A configuration, its store, and whether that works."""

    def __init__(self, given: OptionsDict, *, asynchronous: bool) -> None:
        options = self.options = Options.of(given)
        express = options.profile is EXPRESS
        self.store: Any = resolve(
            options.store, asynchronous=asynchronous, exclusive=options.exclusive is not None, express=express
        )
        # Express's stores each have a default lifetime of their own; ours is one for all.
        default_idle = getattr(self.store, "default_ttl", DAY_MS) if express else DAY_MS
        self.settings = SessionSettings(options, default_idle_ms=default_idle)
        self.reader = RequestReader(options, self.settings.naming, self.settings.signer)
        # Apart, as a full disk or a read-only replica fails writes alone, and loads that work end no such outage.
        self.loads = OutageLog()
        self.writes = OutageLog()

    def is_exclusive(self, state: State) -> bool:
        """Whether this request must be the only one of its session, and is not yet."""
        predicate = self.options.exclusive
        return predicate is not None and state.lock is None and bool(predicate(state.arrival.request))

    def load_failed(self, state: State, error: StoreError) -> bool:
        """Note a failed look-up. True if the request goes on, with a session that is not saved."""
        anonymous = self.options.on_store_error == "anonymous"
        self.loads.failure(error, "requests go on without their sessions" if anonymous else "requests get a 503")
        note_unavailable(state)
        return anonymous

    def commit_failed(self, state: State, error: StoreError) -> bool:
        """Note a failed commit. True if the response goes out nevertheless, and nothing is saved.

        A failed destroy or regenerate is never passed over: the user would believe to be logged out.
        """
        if self.options.on_store_error == "fail" or state.intent in _NEVER_PASSED_OVER:
            self.writes.failure(error, "requests get a 503")
            return False
        self.writes.failure(error, "requests go on and their sessions are not saved")
        state.on(Event.DISCARD)
        return True

    def unavailable(self) -> ErrorResponse:
        """The 503 that is sent when the store fails."""
        page = self.options.store_error_page
        body = (_PAGE if page is None else page).encode()
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Retry-After", _RETRY_AFTER),
        ]
        return ErrorResponse(503, headers, body)


class SyncMiddleware(Middleware):
    """The sync colour. Its sessions reach the store through it."""

    def __init__(self, given: OptionsDict) -> None:
        super().__init__(given, asynchronous=False)

    def run(self, steps: Steps[T]) -> T:
        """Run a task on the store."""
        return run(steps, self.store)

    def look_up_or_note(self, state: State) -> bool:
        """Look up the session that the request asks for. False if the response is to be a 503."""
        try:
            self.look_up(state)
        except StoreError as error:
            return self.load_failed(state, error)
        return True

    def look_up(self, state: State) -> None:
        """Look up the session that the request asks for; where it is exclusive, once no other request has it."""
        if self.options.exclusive is not None and self.is_exclusive(state):
            key = self.settings.key_of(state.arrival.ids[0].id)
            state.lock = key, self.run(acquire(key))
        key_of, load = self.settings.key_of, self.store.load
        for verified in state.arrival.ids[:MOST_LOOKUPS]:
            key = key_of(verified.id)
            if note_loaded(state, verified, key, load(key)):
                break
        if self.loads.failures:
            self.loads.success()

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
        if state.found in _NOT_LOADED:
            check_reload(state)
            self.look_up(state)
            note_first_load(state)
        else:
            self.run(reload(state))

    @property
    def sessions(self) -> StoreSessions:
        return StoreSessions(self.store, self.settings)


class AsyncMiddleware(Middleware):
    """The async colour. Its sessions reach the store through it."""

    def __init__(self, given: OptionsDict) -> None:
        super().__init__(given, asynchronous=True)
        self.guard: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]] = (
            _directly if getattr(self.store, "in_process", False) else shielded
        )
        """Finishes what it is given even if the client goes away meanwhile."""

    def run(self, steps: Steps[T]) -> Awaitable[T]:
        """Run a task on the store, whatever happens to the client meanwhile."""
        return self.guard(run_async(steps, self.store, sleep))

    async def look_up_or_note(self, state: State) -> bool:
        """Look up the session that the request asks for. False if the response is to be a 503."""
        try:
            await self.look_up(state)
        except StoreError as error:
            return self.load_failed(state, error)
        return True

    async def look_up(self, state: State) -> None:
        """Look up the session that the request asks for; where it is exclusive, once no other request has it."""
        if self.options.exclusive is not None and self.is_exclusive(state):
            key = self.settings.key_of(state.arrival.ids[0].id)
            state.lock = key, await run_async(acquire(key), self.store, sleep)
        key_of, load = self.settings.key_of, self.store.load
        for verified in state.arrival.ids[:MOST_LOOKUPS]:
            key = key_of(verified.id)
            if note_loaded(state, verified, key, await load(key)):
                break
        if self.loads.failures:
            self.loads.success()

    async def load(self, state: State) -> None:
        """Look up the session in the midst of a handler; see `SyncMiddleware.load`."""
        try:
            await self.look_up(state)
        except StoreError as error:
            if not self.load_failed(state, error):
                raise

    async def save(self, state: State) -> None:
        await self.run(save(state))
        self.writes.success()

    async def reload(self, state: State) -> None:
        if state.found in _NOT_LOADED:
            check_reload(state)
            await self.look_up(state)
            note_first_load(state)
        else:
            await run_async(reload(state), self.store, sleep)

    @property
    def sessions(self) -> AsyncStoreSessions:
        return AsyncStoreSessions(self.store, self.settings)


def _directly(work: Coroutine[Any, Any, T]) -> Awaitable[T]:
    # A store in this process never suspends, so that nothing can cancel it half way.
    return work
