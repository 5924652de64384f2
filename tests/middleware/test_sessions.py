"""``session.sessions``: all sessions of a store, by id."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sojourn.clock import from_ms
from sojourn.core.policy import Policy
from sojourn.core.session import Session
from sojourn.core.store import Stored
from sojourn.errors import StoreError
from sojourn.middleware.sessions import AsyncSessions, Sessions, SessionView
from sojourn.stores import MemoryStore
from sojourn.testing import as_async
from tests.core.making import DAY, ID, NOW, clock_of, make_policy, record_bytes

pytestmark = pytest.mark.anyio


async def settle(value: Any) -> Any:
    """The result of a call in either colour; what is iterated over, as a list."""
    if isinstance(value, AsyncIterator):
        return [item async for item in value]
    if isinstance(value, Iterator):
        return list(value)
    return await value if inspect.isawaitable(value) else value


@pytest.fixture
def policy() -> Policy:
    return make_policy()


@pytest.fixture
def store(policy) -> MemoryStore:
    return MemoryStore(clock=clock_of(policy))


@pytest.fixture(params=["sync", "async"])
def sessions(request, policy, store) -> Any:
    return Sessions(store, policy.rules) if request.param == "sync" else AsyncSessions(as_async(store), policy.rules)


def keep(policy: Policy, store: MemoryStore, session_id: str = ID, **data: Any) -> None:
    def login(session: Session) -> None:
        session.login("ann", keep_data=True)

    store.create(policy.rules.key_of(session_id), record_bytes(policy, data or {"n": 1}, before=login), DAY)


# contract 60, 184
async def test_a_session_is_found_by_the_id_that_the_browser_holds(sessions, policy, store):
    keep(policy, store, cart={"a": 1})
    clock_of(policy).advance(1000)
    found = await settle(sessions.get(ID))
    assert isinstance(found, SessionView)
    assert (
        dict(found) == {"cart": {"a": 1}} and len(found) == 1 and found["cart"] == {"a": 1} and list(found) == ["cart"]
    )
    assert found.key == policy.rules.key_of(ID)
    assert found.owner == "ann"
    assert found.created_at == from_ms(NOW)
    assert found.expires_at == from_ms(NOW + DAY)


async def test_a_view_shows_no_data_and_takes_no_changes(sessions, policy, store):
    keep(policy, store, password="hunter2")
    found = await settle(sessions.get(ID))
    assert "hunter2" not in repr(found) and found.key not in repr(found)
    with pytest.raises(TypeError):
        found["n"] = 2


# contract 46, 184
async def test_an_unknown_id_is_none(sessions):
    assert await settle(sessions.get("nobody")) is None
    assert await settle(sessions.destroy("nobody")) is False


async def test_a_replaced_or_expired_session_is_none(sessions, policy, store):
    keep(policy, store)
    key = policy.rules.key_of(ID)
    found = store.load(key)
    assert isinstance(found, Stored)
    store.regenerate(key, "new", found.data, DAY, version=found.version, tombstone=1000)
    assert await settle(sessions.get(ID)) is None
    clock_of(policy).advance(DAY)
    assert await settle(sessions.all()) == []


async def test_a_session_is_ended_by_its_id_or_its_view(sessions, policy, store):
    keep(policy, store, "one")
    keep(policy, store, "two")
    assert await settle(sessions.destroy("one")) is True
    (view,) = await settle(sessions.all())
    assert await settle(sessions.get(view)) == view
    assert await settle(sessions.destroy(view)) is True
    assert await settle(sessions.destroy(view)) is False
    assert await settle(sessions.count()) == 0


# contract 186
async def test_all_of_them_are_listed_counted_and_cleared(sessions, policy, store):
    for number in range(3):
        keep(policy, store, str(number), n=number)
    assert sorted(view["n"] for view in await settle(sessions.all())) == [0, 1, 2]
    assert await settle(sessions.count()) == 3
    assert await settle(sessions.clear()) == 3
    assert await settle(sessions.all()) == []


# contract 50
async def test_an_unreadable_record_is_passed_over_with_a_line_in_the_log(sessions, policy, store, caplog):
    keep(policy, store)
    store.create(policy.rules.key_of("broken"), b"hunter2", DAY)
    assert await settle(sessions.get("broken")) is None
    assert len(await settle(sessions.all())) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert (
        "broken" not in caplog.text
        and "hunter2" not in caplog.text
        and policy.rules.key_of("broken") not in caplog.text
    )


async def test_a_record_of_express_is_listed_too(sessions, policy, store):
    store.create(policy.rules.key_of(ID), b'{"cookie":{"originalMaxAge":null},"n":1}', DAY)
    (view,) = await settle(sessions.all())
    assert dict(view) == {"n": 1} and (view.owner, view.created_at) == (None, None)


@pytest.mark.parametrize("colour", [Sessions, AsyncSessions])
async def test_what_a_store_cannot_tell_is_none(colour, policy, store):
    class Untelling:
        def load(self, key: str) -> Any:
            found = store.load(key)
            assert isinstance(found, Stored)
            return found._replace(expires_in=None)

    keep(policy, store)
    view = colour(Untelling() if colour is Sessions else _Awaited(Untelling()), policy.rules)
    found = await settle(view.get(ID))
    assert found is not None and found.expires_at is None


class _Awaited:
    def __init__(self, store: Any) -> None:
        self._store = store

    async def load(self, key: str) -> Any:
        return self._store.load(key)


@pytest.mark.parametrize("colour", [Sessions, AsyncSessions])
@pytest.mark.parametrize(("ask", "missing"), [("all", "scan"), ("count", "count"), ("clear", "clear")])
async def test_what_a_store_cannot_do_is_an_error_that_says_so(colour, ask, missing, policy):
    class Plain:
        pass

    with pytest.raises(StoreError, match=rf"Plain has no {missing}\(\)"):
        await settle(getattr(colour(Plain(), policy.rules), ask)())
