"""The scenarios that matter most, on trio. What the protocol itself asks for is tested on both in ``test_asgi_protocol``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sojourn import Cookie
from tests.behaviour.harness import HOUR, Ctx, Make, World, put, read


@pytest.fixture
def make(profile: str, worlds: list[World], runner: asyncio.Runner) -> Make:
    def make(**options: Any) -> World:
        worlds.append(World("asgi-trio", profile, runner, options))
        return worlds[-1]

    return make


def test_a_session_lives_changes_and_ends(make: Make) -> None:
    world = make()
    first = world.get(put(n=1))
    assert first.timeline == ["create", "start", "body"]
    assert world.get(put(n=2)).writes == ["replace"]
    assert world.get(read).seen == {"n": 2}
    moved = world.get(lambda ctx: ctx.session.login("ann", keep_data=True))
    assert moved.writes == ["regenerate"] and moved.id != first.id
    assert world.get(lambda ctx: (ctx.session.owner, dict(ctx.session))).seen == ("ann", {"n": 2})
    ended = world.get(lambda ctx: ctx.session.destroy())
    assert ended.the_cookie.is_expired and world.stored() == {}


def test_concurrent_changes_merge(make: Make) -> None:
    world = make()
    client = world.session(n=0)

    async def handle(ctx: Ctx) -> None:
        ctx.session.increment("n")
        await client.copy().ask(lambda inner: inner.session.increment("n"))

    client.get(handle)
    assert client.get(read).seen == {"n": 2}


def test_explicit_saves_reloads_and_the_stores_view(make: Make) -> None:
    world = make()

    async def handle(ctx: Ctx) -> Any:
        ctx.session["n"] = 1
        await ctx.save()
        ctx.session["n"] = 2
        await ctx.reload()
        return dict(ctx.session), [dict(view) for view in await ctx.sessions("all")]

    assert world.get(handle).seen == ({"n": 1}, [{"n": 1}])


def test_a_failing_store_is_a_503(make: Make) -> None:
    world = make()
    client = world.session(n=1)
    world.store.fail("replace")
    assert client.get(put(n=2)).status == 503
    world.store.fail("load")
    assert client.get(read).status == 503


def test_lazy_late_and_rolling(make: Make) -> None:
    world = make(lazy=True, rolling=True, cookie=Cookie(max_age=3600, secure=False))
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        await ctx.load()
        await ctx.write(b"x")
        ctx.session["n"] = 2

    answer = client.get(handle)
    assert answer.timeline[-1] == "replace" and answer.the_cookie.expires == world.clock() + HOUR


def test_stores_that_are_not_in_process_are_committed_shielded(make: Make) -> None:
    world = make()
    world.store.in_process = False
    again = make(store=world.store, clock=world.clock)
    assert again.get(put(n=1)).cookie is not None
