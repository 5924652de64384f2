"""``session.sessions``: all sessions of a store, by id."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sojourn.clock import from_ms
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.store import Stored
from sojourn.core.views import SessionView
from sojourn.errors import StoreError
from sojourn.middleware.sessions import AsyncStoreSessions, StoreSessions
from sojourn.stores import MemoryStore
from sojourn.testing import as_async
from tests.core.making import DAY, ID, NOW, clock_of, make_settings, record_bytes

pytestmark = pytest.mark.anyio


async def settle(value: Any) -> Any:
    """The result of a call in either colour; what is iterated over, as a list."""
    if isinstance(value, AsyncIterator):
        return [item async for item in value]
    if isinstance(value, Iterator):
        return list(value)
    return await value if inspect.isawaitable(value) else value


@pytest.fixture
def settings() -> SessionSettings:
    return make_settings()


@pytest.fixture
def store(settings) -> MemoryStore:
    return MemoryStore(clock=clock_of(settings))


@pytest.fixture(params=["sync", "async"])
def sessions(request, settings, store) -> Any:
    return StoreSessions(store, settings) if request.param == "sync" else AsyncStoreSessions(as_async(store), settings)


def keep(
    settings: SessionSettings, store: MemoryStore, session_id: str = ID, *, owner: str = "ann", **data: Any
) -> str:
    """A session in the store, of such an owner; returns its key."""

    def login(session: Session) -> None:
        session.login(owner, keep_data=True)

    key = settings.key_of(session_id)
    store.create(key, record_bytes(settings, data or {"n": 1}, before=login), DAY, owner=owner)
    return key


def move(store: MemoryStore, old: str, new: str) -> None:
    """As a regenerate does."""
    found = store.load(old)
    assert isinstance(found, Stored)
    store.regenerate(old, new, found.data, DAY, version=found.version, tombstone=1000, owner="ann")


# contract 60, 184
async def test_a_session_is_found_by_the_id_that_the_browser_holds(sessions, settings, store):
    keep(settings, store, cart={"a": 1})
    clock_of(settings).advance(1000)
    found = await settle(sessions.get(ID))
    assert isinstance(found, SessionView)
    assert (
        dict(found) == {"cart": {"a": 1}} and len(found) == 1 and found["cart"] == {"a": 1} and list(found) == ["cart"]
    )
    assert found.key == settings.key_of(ID)
    assert found.data == {"cart": {"a": 1}}
    assert found.owner == "ann"
    assert found.created_at == from_ms(NOW)
    assert found.expires_at == from_ms(NOW + DAY)


async def test_a_view_shows_no_data_and_takes_no_changes(sessions, settings, store):
    keep(settings, store, password="hunter2")
    found = await settle(sessions.get(ID))
    assert "hunter2" not in repr(found) and found.key not in repr(found)
    with pytest.raises(TypeError):
        found["n"] = 2
    assert not hasattr(found, "__dict__")


async def test_changing_a_views_data_changes_nothing_in_the_store(sessions, settings, store):
    keep(settings, store)
    found = await settle(sessions.get(ID))
    found.data["n"] = 2
    assert dict(await settle(sessions.get(ID))) == {"n": 1}


# contract 46, 184
async def test_an_unknown_id_is_none(sessions):
    assert await settle(sessions.get("nobody")) is None
    assert await settle(sessions.destroy("nobody")) is False


async def test_a_replaced_or_expired_session_is_none(sessions, settings, store):
    keep(settings, store)
    move(store, settings.key_of(ID), "new")
    assert await settle(sessions.get(ID)) is None
    clock_of(settings).advance(DAY)
    assert await settle(sessions.all()) == []


async def test_a_session_is_ended_by_its_id_or_its_view(sessions, settings, store):
    keep(settings, store, "one")
    keep(settings, store, "two")
    assert await settle(sessions.destroy("one")) is True
    (view,) = await settle(sessions.all())
    assert await settle(sessions.get(view)) == view
    assert await settle(sessions.destroy(view)) is True
    assert await settle(sessions.destroy(view)) is False
    assert await settle(sessions.count()) == 0


# design, "How a session ends"
@pytest.mark.parametrize("moves", [1, 2, 3])
async def test_a_destroy_follows_a_session_that_has_moved(sessions, settings, store, moves):
    old = keep(settings, store, "one")
    keep(settings, store, "two", n=2)
    for number in range(moves):
        move(store, old, f"moved-{number}")
        old = f"moved-{number}"
    assert await settle(sessions.destroy("one")) is True
    assert [dict(view) for view in await settle(sessions.all())] == [{"n": 2}]
    assert await settle(sessions.destroy("one")) is False


async def test_a_session_that_was_viewed_before_it_moved_is_ended_too(sessions, settings, store):
    key = keep(settings, store)
    view = await settle(sessions.get(ID))
    move(store, key, "new")
    assert await settle(sessions.get(view)) is None
    assert await settle(sessions.destroy(view)) is True
    assert await settle(sessions.count()) == 0


async def test_an_owners_sessions_are_listed_and_can_be_ended(sessions, settings, store):
    for number in range(3):
        keep(settings, store, f"ann-{number}", n=number)
    keep(settings, store, "bob", owner="bob", n=9)
    assert sorted(view["n"] for view in await settle(sessions.by_owner("ann"))) == [0, 1, 2]
    assert {view.owner for view in await settle(sessions.by_owner("ann"))} == {"ann"}
    assert await settle(sessions.by_owner("nobody")) == []
    for view in await settle(sessions.by_owner("ann")):
        assert await settle(sessions.destroy(view)) is True
    assert [view.owner for view in await settle(sessions.all())] == ["bob"]


async def test_a_session_that_is_the_owners_no_more_when_it_is_read_is_not_listed(sessions, settings, store):
    key, moved, theirs = (keep(settings, store, name) for name in ("one", "moved", "theirs"))
    move(store, moved, "new")
    store.delete(theirs)
    keep(settings, store, "theirs", owner="bob")
    store.by_owner = lambda owner: [moved, "deleted", theirs, key]
    assert [view.key for view in await settle(sessions.by_owner("ann"))] == [key]


async def test_an_owners_session_that_is_unreadable_is_passed_over_with_a_line_in_the_log(
    sessions, settings, store, caplog
):
    keep(settings, store)
    store.create("broken", b"not a record", DAY, owner="ann")
    assert len(await settle(sessions.by_owner("ann"))) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


# contract 186
async def test_all_of_them_are_listed_counted_and_cleared(sessions, settings, store):
    for number in range(3):
        keep(settings, store, str(number), n=number)
    assert sorted(view["n"] for view in await settle(sessions.all())) == [0, 1, 2]
    assert await settle(sessions.count()) == 3
    assert await settle(sessions.clear()) == 3
    assert await settle(sessions.all()) == []


# contract 50
async def test_an_unreadable_record_is_passed_over_with_a_line_in_the_log(sessions, settings, store, caplog):
    keep(settings, store)
    store.create(settings.key_of("broken"), b"hunter2", DAY)
    assert await settle(sessions.get("broken")) is None
    assert len(await settle(sessions.all())) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "broken" not in caplog.text and "hunter2" not in caplog.text and settings.key_of("broken") not in caplog.text


async def test_a_record_of_express_is_listed_too(sessions, settings, store):
    store.create(settings.key_of(ID), b'{"cookie":{"originalMaxAge":null},"n":1}', DAY)
    (view,) = await settle(sessions.all())
    assert dict(view) == {"n": 1} and (view.owner, view.created_at) == (None, None)


@pytest.mark.parametrize("colour", [StoreSessions, AsyncStoreSessions])
async def test_what_a_store_cannot_tell_is_none(colour, settings, store):
    class Untelling:
        def load(self, key: str) -> Any:
            found = store.load(key)
            assert isinstance(found, Stored)
            return found._replace(expires_in=None)

    keep(settings, store)
    view = colour(Untelling() if colour is StoreSessions else _Awaited(Untelling()), settings)
    found = await settle(view.get(ID))
    assert found is not None and found.expires_at is None


class _Awaited:
    def __init__(self, store: Any) -> None:
        self._store = store

    async def load(self, key: str) -> Any:
        return self._store.load(key)


@pytest.mark.parametrize("colour", [StoreSessions, AsyncStoreSessions])
@pytest.mark.parametrize(
    ("ask", "missing"),
    [
        (lambda sessions: sessions.all(), "scan"),
        (lambda sessions: sessions.by_owner("ann"), "by_owner"),
        (lambda sessions: sessions.count(), "count"),
        (lambda sessions: sessions.clear(), "clear"),
    ],
)
async def test_what_a_store_cannot_do_is_an_error_that_says_so(colour, ask, missing, settings):
    class Plain:
        pass

    with pytest.raises(StoreError, match=rf"Plain has no {missing}\(\)"):
        await settle(ask(colour(Plain(), settings)))
