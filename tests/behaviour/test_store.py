"""Express contract, section 15: what the store contract promises, as far as a request can see it. The stores have a suite of their own."""

from __future__ import annotations

import inspect
import logging
from datetime import timedelta
from typing import Any

import pytest

from sojourn import ConfigurationError, Cookie, asgi, wsgi
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Store, Stored
from sojourn.stores import MemoryStore
from sojourn.testing import ManualClock
from tests.behaviour.harness import DAY, HOUR, SECRET, Ctx, Make, put, read


# contract 179, 180
@pytest.mark.parametrize("missing", ["load", "create", "replace", "regenerate", "touch", "delete", "open", "close"])
def test_a_store_without_one_of_the_operations_is_refused_at_construction(make: Make, missing: str) -> None:
    names = {name for name, _ in inspect.getmembers(Store, callable) if not name.startswith("_")}
    adapter = make().adapter

    async def operation(self: Any, *args: Any) -> None: ...

    def sync_operation(self: Any, *args: Any) -> None: ...

    kind = type("Half", (), dict.fromkeys(names - {missing}, sync_operation if adapter == "wsgi" else operation))
    middleware: Any = wsgi.SessionMiddleware if adapter == "wsgi" else asgi.SessionMiddleware
    with pytest.raises(ConfigurationError, match=missing):
        middleware(None, secret=SECRET, store=kind())


# contract 179
def test_no_write_but_create_can_bring_a_record_into_being() -> None:
    store = MemoryStore()
    assert store.replace("k", b"x", 1000, version=b"x") is MISSING
    assert store.touch("k", 1000) is False
    assert store.regenerate("k", "new", b"x", 1000, version=b"x", tombstone=1000) is MISSING
    assert list(store.scan()) == []
    assert store.create("k", b"x", 1000) and store.create("k", b"y", 1000) is EXISTS


# contract 181, 186
def test_the_stores_view_lists_counts_and_clears(make: Make) -> None:
    world = make()
    for n in range(3):
        world.plant({"n": n}, session_id=f"planted-{n}")
    world.plant(b"unreadable", session_id="broken")

    async def look(ctx: Ctx) -> Any:
        views = await ctx.sessions("all")
        first = views[0]
        gone = await ctx.sessions("destroy", first)
        again = await ctx.sessions("destroy", first)
        return (
            sorted(view["n"] for view in views),
            gone,
            again,
            await ctx.sessions("count"),
            await ctx.sessions("get", "planted-1") is not None,
            await ctx.sessions("get", "unknown"),
            await ctx.sessions("clear"),
            await ctx.sessions("count"),
        )

    assert world.get(look).seen == ([0, 1, 2], True, False, 3, True, None, 3, 0)


# contract 182
def test_a_store_knows_no_middleware_and_emits_nothing() -> None:
    assert {"on", "emit", "generate"}.isdisjoint(dir(MemoryStore()))


# contract 183, 184
def test_the_view_of_a_session_cannot_be_changed(make: Make) -> None:
    world = make()
    world.plant({"n": 1})

    async def look(ctx: Ctx) -> None:
        view = await ctx.sessions("get", "planted")
        assert dict(view) == {"n": 1} and len(view) == 1 and "n" in view
        with pytest.raises(TypeError):
            view["n"] = 2
        assert view.expires_at is not None and view.created_at is None

    assert world.get(look).status == 200


# contract 184
def test_an_error_of_the_store_comes_through_its_view(make: Make) -> None:
    from sojourn import StoreUnavailable

    world = make()
    world.store.fail("load")

    async def look(ctx: Ctx) -> None:
        with pytest.raises(StoreUnavailable):
            await ctx.sessions("get", "planted")

    assert world.get(look).status == 200


# contract 185
def test_a_stored_lifetime_is_revived(make: Make) -> None:
    world = make()
    part = {"originalMaxAge": 7_200_000, "expires": "2026-11-21T04:32:14.370Z", "httpOnly": True, "path": "/"}
    client = world.plant({"n": 1}, cookie=part)
    seen = client.get(lambda ctx: (ctx.session.cookie.original_max_age, ctx.session.cookie.expires)).seen
    assert seen[0] == 7200 and seen[1].timestamp() * 1000 == world.clock() + 2 * HOUR


# contract 187
def test_changing_what_was_fetched_changes_nothing_stored(make: Make) -> None:
    world = make(touch_after=3600)
    client = world.plant({"n": [1]})

    async def look(ctx: Ctx) -> None:
        view = await ctx.sessions("get", "planted")
        view["n"].append(2)

    client.get(look)
    assert client.get(read).seen == {"n": [1]}


# contract 189, 191
@pytest.mark.parametrize("options", [{}, {"absolute_timeout": None}, {"cookie": Cookie(max_age=60, secure=False)}])
def test_every_record_expires_and_unread_ones_go(make: Make, options: dict[str, Any]) -> None:
    world = make(**options)
    for _ in range(50):
        world.client.jar.clear()
        world.get(put(n=1))
    world.clock.advance(DAY)
    assert world.stored() == {} and world.store.kept.delete_expired() <= 50
    world.client.jar.clear()
    world.get(put(n=1))
    assert len(world.store.kept._records.entries) == 1


# contract 190
def test_a_touch_keeps_data_and_version_and_revives_nothing() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    version = store.create("k", b"data", 1000)
    clock.advance(999)
    assert store.touch("k", 1000) is True
    found = store.load("k")
    assert isinstance(found, Stored) and (found.data, found.version, found.expires_in) == (b"data", version, 1000)
    clock.advance(1000)
    assert store.touch("k", 1000) is False and store.load("k") is None


# contract 189
def test_the_memory_store_is_bounded_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(max_sessions=2)
    for key in "abcd":
        store.create(key, b"x", 1000)
    assert {key for key, _ in store.scan()} == {"c", "d"}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


# contract 191
def test_a_lifetime_of_none_still_expires_in_the_store(make: Make) -> None:
    world = make(cookie=Cookie(max_age=None, secure=False), idle_timeout=timedelta(hours=1))
    answer = world.get(put(n=1))
    assert world.ttl(answer.id) == HOUR and answer.the_cookie.expires is None


@pytest.mark.parametrize("on_store_error", ["fail", "anonymous"])
@pytest.mark.parametrize("act", [put(n=2), lambda ctx: ctx.session.login("ann", keep_data=True)])
def test_a_commit_that_others_are_always_ahead_of_is_given_up_by_a_503_whatever_is_done_about_outages(
    make: Make, act: Any, on_store_error: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(on_store_error=on_store_error)
    client = world.session(n=1)
    monkeypatch.setattr("sojourn.core.commit.PATIENCE", 0.0)
    for name in ("replace", "regenerate"):
        monkeypatch.setattr(world.store.kept, name, lambda *_args, **_more: CONFLICT)
    answer = client.get(act)
    assert answer.status == 503 and answer.cookie is None
    assert "a request is refused by a 503: other requests kept changing the session" in caplog.text
    assert "session store fails" not in caplog.text
    assert client.get(read).seen == {"n": 1}
