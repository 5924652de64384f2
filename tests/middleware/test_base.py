"""What a middleware does for its sessions: which ids it looks up, and when it refuses to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from sojourn.cookie import Cookie
from sojourn.core.session import AsyncSession, Session
from sojourn.core.state import Found, Intent, State
from sojourn.core.store import Replaced, Stored
from sojourn.errors import SessionDestroyed, SessionNotFound, StoreUnavailable
from sojourn.middleware.async_ import AsyncMiddleware
from sojourn.middleware.sync import SyncMiddleware
from sojourn.stores import MemoryStore
from sojourn.testing import as_async
from sojourn.wire.request import MOST_LOOKUPS
from sojourn.wire.signing import Verified
from tests.core.making import DAY, ID, OTHER, SECRET, record_bytes

pytestmark = pytest.mark.anyio


class WatchedStore(MemoryStore):
    """Notes what is looked up, and may be down."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.is_down = False

    def load(self, key: str) -> Stored | Replaced | None:
        self.loads.append(key)
        if self.is_down:
            raise StoreUnavailable("it is down")
        return super().load(key)


async def settle(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture(params=["sync", "async"])
def make(request, store) -> Callable[..., Any]:
    """Makes a middleware of either colour."""

    def make(**options: Any) -> SyncMiddleware | AsyncMiddleware:
        is_sync = request.param == "sync"
        given: Any = {"secret": SECRET, "store": store if is_sync else as_async(store), **options}
        return SyncMiddleware(given) if is_sync else AsyncMiddleware(given)

    return make


def begin(middleware: Any, *ids: str) -> State:
    verified = tuple(Verified(session_id, needs_resigning=False) for session_id in ids)
    arrival = middleware.arrivals.of(Cookie(), verified, secure=False)
    return State(middleware.settings, arrival, middleware, Found.PENDING)


def face(state: State) -> Any:
    return Session(state) if isinstance(state.io, SyncMiddleware) else AsyncSession(state)


def keep(middleware: Any, store: WatchedStore, session_id: str, **data: Any) -> str:
    key: str = middleware.settings.key_of(session_id)
    store.create(key, record_bytes(middleware.settings, data or {"n": 1}), DAY)
    return key


# design, "How a session ends": 64 are verified, 8 looked up, and a logout ends them all
@pytest.mark.parametrize(("before", "found"), [(0, True), (1, True), (7, True), (8, False), (63, False)])
async def test_at_most_eight_ids_are_looked_up_and_all_are_ended(make, store, before, found):
    middleware = make()
    key = keep(middleware, store, ID)
    ids = [f"unknown-{number}" for number in range(before)]
    state = begin(middleware, *ids, ID)
    assert await settle(middleware.look_up_or_note(state)) is True
    assert store.loads == list(map(middleware.settings.key_of, [*ids, ID][:MOST_LOOKUPS]))
    assert (state.found is Found.RECORD) is found
    session = face(state)
    session.destroy()
    await settle(session.save())
    assert MemoryStore.load(store, key) is None


async def test_nothing_is_looked_up_beyond_the_session_that_is_found(make, store):
    middleware = make()
    key, _ = keep(middleware, store, ID), keep(middleware, store, OTHER)
    state = begin(middleware, ID, OTHER)
    await settle(middleware.look_up_or_note(state))
    assert store.loads == [key]
    assert state.came_as is not None and state.came_as.id == ID


@pytest.mark.parametrize(("on_store_error", "goes_on"), [("fail", False), ("anonymous", True)])
async def test_where_the_store_is_down_a_request_goes_on_only_if_told_to(make, store, on_store_error, goes_on):
    store.is_down = True
    state = begin(make(on_store_error=on_store_error), ID)
    assert await settle(state.io.look_up_or_note(state)) is goes_on
    assert state.found is Found.UNAVAILABLE


# renovation, 1: the old id, and not the one that was to be
async def test_a_logout_while_the_store_was_down_ends_the_id_that_came(make, store):
    middleware = make(on_store_error="anonymous")
    key = keep(middleware, store, ID)
    store.is_down = True
    state = begin(middleware, ID)
    await settle(middleware.look_up_or_note(state))
    store.is_down = False
    session = face(state)
    session.login("ann")
    session.logout()
    await settle(session.save())
    assert MemoryStore.load(store, key) is None


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda s: s.invalidate(), SessionNotFound),
        (lambda s: s.clear(), SessionNotFound),
        (lambda s: s.destroy(), SessionDestroyed),
    ],
)
async def test_reload_of_what_was_ended_unloaded_looks_nothing_up_and_gives_no_old_id_back(make, store, act, error):
    middleware = make(lazy=True)
    keep(middleware, store, ID)
    state = begin(middleware, ID)
    session = face(state)
    act(session)
    with pytest.raises(error):
        await settle(session.reload())
    assert not store.loads and state.id != ID
    if error is SessionNotFound:
        await settle(session.save())
        session["m"] = 1
        await settle(session.save())
        assert session.id != ID and [key for key, _ in store.scan()] == [session.key]


# contract 149
async def test_reload_of_a_loaded_session_looks_up_its_own_record_alone(make, store):
    middleware = make()
    key = keep(middleware, store, ID)
    state = begin(middleware, "unknown", ID)
    await settle(middleware.look_up_or_note(state))
    store.loads.clear()
    session = face(state)
    session["n"] = 2
    await settle(session.reload())
    assert dict(session) == {"n": 1} and store.loads == [key]


async def test_reload_of_a_session_that_was_not_loaded_loads_it(make, store):
    middleware = make(lazy=True)
    key = keep(middleware, store, ID)
    state = begin(middleware, ID)
    session = face(state)
    await settle(session.reload())
    assert dict(session) == {"n": 1} and set(store.loads) == {key}


async def test_an_enduring_outage_in_the_midst_of_a_handler_is_its_error_or_an_anonymous_session(make, store):
    store.is_down = True
    for on_store_error in ("fail", "anonymous"):
        middleware = make(lazy=True, on_store_error=on_store_error)
        state = begin(middleware, ID)
        if on_store_error == "fail":
            with pytest.raises(StoreUnavailable):
                await settle(middleware.load(state))
        else:
            await settle(middleware.load(state))
            assert dict(face(state)) == {}
        assert state.found is Found.UNAVAILABLE


@pytest.mark.parametrize(
    ("intent", "on_store_error", "goes_on"),
    [
        (Intent.NONE, "anonymous", True),
        (Intent.TOUCH, "anonymous", True),
        (Intent.DISCARD, "anonymous", True),
        (Intent.REGENERATE, "anonymous", False),
        (Intent.INVALIDATE, "anonymous", False),
        (Intent.DESTROY, "anonymous", False),
        (Intent.NONE, "fail", False),
        (Intent.DESTROY, "fail", False),
    ],
)
async def test_a_failed_end_or_login_is_never_passed_over(make, intent, on_store_error, goes_on):
    state = begin(make(on_store_error=on_store_error), ID)
    state.intent = intent
    assert state.io.commit_failed(state, StoreUnavailable("it is down")) is goes_on
    assert state.intent is (Intent.DISCARD if goes_on else intent)


async def test_an_exclusive_session_is_locked_once(make, store):
    middleware = make(exclusive=lambda request: True)
    key = keep(middleware, store, ID)
    state = begin(middleware, ID)
    await settle(middleware.look_up_or_note(state))
    assert state.lock is not None and state.lock.key == key
    lock = state.lock
    await settle(middleware.look_up(state))
    assert state.lock == lock and store.lock(key, 1000) is None


@pytest.mark.parametrize(("page", "body"), [(None, b"Service unavailable"), ("<p>Täglich", "<p>Täglich".encode())])
async def test_the_503_is_a_page_that_no_cache_keeps(make, page, body):
    status, headers, sent = make(store_error_page=page).unavailable(None)
    assert status == 503 and body in sent
    assert dict(headers)["Content-Length"] == str(len(sent))
    assert dict(headers)["Cache-Control"] == "no-store" and "Retry-After" in dict(headers)


async def test_the_view_of_all_sessions_is_that_of_the_store(make, store):
    middleware = make()
    keep(middleware, store, ID)
    assert await settle(face(begin(middleware, ID)).sessions.count()) == 1
