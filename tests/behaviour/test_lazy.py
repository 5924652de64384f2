"""``lazy``: under WSGI the session is loaded on first use, under ASGI when ``await session.load()`` asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn import SessionNotFound, SessionNotLoaded, StoreError, StoreUnavailable
from tests.behaviour.harness import OLD_SECRET, SECRET, Client, Ctx, Make, put


async def load_and_read(ctx: Ctx) -> dict[str, Any]:
    await ctx.load()
    return dict(ctx.session)


@pytest.mark.parametrize(
    "options", [{}, {"resave": True}, {"rolling": True}, {"touch_after": 0}, {"save_uninitialized": True}]
)
def test_a_session_that_is_not_used_is_not_loaded_and_costs_no_operation(make: Make, options: dict[str, Any]) -> None:
    world = make(lazy=True, **options)
    client = world.plant({"n": 1})
    answer = client.get(lambda ctx: repr(ctx.session))
    assert answer.status == 200 and answer.ops == [] and answer.cookie is None and answer.header("vary") == []
    assert "not loaded" in answer.seen


def test_it_is_loaded_once_when_used(make: Make) -> None:
    world = make(lazy=True, touch_after=3600)
    client = world.plant({"n": 1})

    async def handle(ctx: Ctx) -> Any:
        for _ in range(3):
            await ctx.load()
        return dict(ctx.session), ctx.session.id, ctx.session.is_new

    answer = client.get(handle)
    assert answer.seen == ({"n": 1}, "planted", False)
    assert answer.ops == ["load"] and answer.header("vary") == ["Cookie"]


USES: dict[str, Any] = {
    "get": lambda s: s.get("n"),
    "item": lambda s: s["n"],
    "set": lambda s: s.update(n=2),
    "contains": lambda s: "n" in s,
    "iterate": list,
    "len": len,
    "id": lambda s: s.id,
    "is_new": lambda s: s.is_new,
    "owner": lambda s: s.owner,
    "cookie": lambda s: s.cookie,
    "created_at": lambda s: s.created_at,
    "touch": lambda s: s.touch(),
    "regenerate": lambda s: s.regenerate(),
    "login": lambda s: s.login("ann"),
    "flash": lambda s: s.flash("x"),
    "increment": lambda s: s.increment("n"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_the_first_use_loads_under_wsgi_and_is_an_error_that_says_so_under_asgi(make: Make, use: Any) -> None:
    world = make(lazy=True, touch_after=3600)
    client = world.plant({"n": 1})

    def handle(ctx: Ctx) -> None:
        if world.adapter == "wsgi":
            use(ctx.session)
        else:
            with pytest.raises(SessionNotLoaded, match=r"await session\.load\(\)"):
                use(ctx.session)

    answer = client.get(handle)
    assert answer.status == 200 and answer.ops[:1] == (["load"] if world.adapter == "wsgi" else [])
    if world.adapter == "asgi":
        assert answer.ops == [] and answer.cookie is None


def test_without_a_cookie_there_is_nothing_to_load(make: Make) -> None:
    world = make(lazy=True)
    answer = world.get(put(n=1))
    assert answer.ops == ["create"] and answer.id


def test_load_without_lazy_does_nothing(make: Make) -> None:
    world = make(touch_after=3600)
    answer = world.plant({"n": 1}).get(load_and_read)
    assert answer.seen == {"n": 1} and answer.ops == ["load"]


def test_a_change_is_saved_as_ever(make: Make) -> None:
    world = make(lazy=True)
    client = world.plant({"n": 1})

    async def handle(ctx: Ctx) -> None:
        await ctx.load()
        ctx.session["n"] = 2

    assert client.get(handle).ops == ["load", "replace"] and world.data("planted") == {"n": 2}


def test_a_destroy_needs_no_load(make: Make) -> None:
    world = make(lazy=True)
    client = world.plant({"n": 1})
    answer = client.get(lambda ctx: ctx.session.destroy())
    assert answer.ops == ["delete"] and answer.the_cookie.is_expired and world.stored() == {}


def test_unsetting_with_destroy_needs_no_load(make: Make) -> None:
    world = make(lazy=True, unset="destroy")

    def handle(ctx: Ctx) -> None:
        ctx.session = None

    answer = world.plant({"n": 1}).get(handle)
    assert answer.ops == ["delete"] and world.stored() == {}


def test_a_dead_cookie_is_found_out_on_loading(make: Make) -> None:
    world = make(lazy=True)
    client = world.client.holding("dead")

    async def handle(ctx: Ctx) -> Any:
        await ctx.load()
        ctx.session["n"] = 1
        return ctx.session.is_new

    answer = client.get(handle)
    assert answer.seen is True and answer.ops == ["load", "create"] and answer.id != "dead"


def test_a_broken_record_is_a_fresh_session(make: Make) -> None:
    world = make(lazy=True)
    assert world.plant(b"broken").get(load_and_read).seen == {}


def test_a_failing_load_is_raised_and_becomes_a_503_whatever_the_app_answers(make: Make) -> None:
    world = make(lazy=True)
    client = world.plant({"n": 1})
    world.store.fail("load")

    async def handle(ctx: Ctx) -> None:
        with pytest.raises(StoreUnavailable):
            await load_and_read(ctx)
        ctx.body = b"the app goes on"

    answer = client.get(handle)
    assert answer.status == 503 and b"goes on" not in answer.body and answer.cookie is None


def test_a_failing_load_that_the_app_does_not_catch_is_its_error(make: Make) -> None:
    world = make(lazy=True)
    client = world.plant({"n": 1})
    world.store.fail("load")
    answer = client.get(load_and_read, may_fail=True)
    assert isinstance(answer.error, StoreError) and answer.status in (500, 503)


def test_a_failing_load_with_anonymous_goes_on_unsaved(make: Make) -> None:
    world = make(lazy=True, on_store_error="anonymous")
    client = world.plant({"n": 1})
    world.store.fail("load")

    async def handle(ctx: Ctx) -> Any:
        await ctx.load()
        before = dict(ctx.session)
        ctx.session["n"] = 2
        return before

    answer = client.get(handle)
    assert answer.status == 200 and answer.seen == {} and answer.writes == [] and answer.cookie is None


def test_loading_late_works_and_a_late_change_is_saved(make: Make) -> None:
    world = make(lazy=True)
    client = world.plant({"n": 1})

    async def handle(ctx: Ctx) -> Any:
        await ctx.write(b"x")
        await ctx.load()
        ctx.session["n"] = 2

    answer = client.get(handle)
    assert answer.timeline == ["start", "body", "load", "replace"] and world.data("planted") == {"n": 2}


def test_a_failing_late_load_leaves_the_response_as_it_is(make: Make) -> None:
    world = make(lazy=True)
    client = world.plant({"n": 1})
    world.store.fail("load")

    async def handle(ctx: Ctx) -> Any:
        await ctx.write(b"x")
        with pytest.raises(StoreUnavailable):
            await load_and_read(ctx)
        await ctx.write(b"y")

    answer = client.get(handle)
    assert answer.status == 200 and answer.body == b"xy"


def test_an_older_secret_is_noticed_when_loaded(make: Make) -> None:
    world = make(lazy=True, secret=[SECRET, OLD_SECRET])
    client = world.plant({"n": 1}).holding("planted", secret=OLD_SECRET)
    assert client.copy().get().cookie is None
    assert client.get(load_and_read).id == "planted"


def test_reload_works_without_a_load(make: Make) -> None:
    world = make(lazy=True, touch_after=3600)

    async def handle(ctx: Ctx) -> Any:
        await ctx.reload()
        return dict(ctx.session)

    answer = world.plant({"n": 1}).get(handle)
    assert answer.seen == {"n": 1} and answer.ops == ["load"]


def test_reload_without_a_load_of_what_is_not_there_is_an_error(make: Make) -> None:
    world = make(lazy=True)

    async def handle(ctx: Ctx) -> None:
        with pytest.raises(SessionNotFound):
            await ctx.reload()

    assert Client(world).holding("dead").get(handle).status == 200
