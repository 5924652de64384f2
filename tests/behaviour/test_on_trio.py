"""The scenarios that matter most, on trio. What the protocol itself asks for is tested on both in ``test_asgi_protocol``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trio

from sojourn import Cookie
from sojourn.driver import AsyncSessionDriver, ErrorResponse
from sojourn.stores import AsyncMemoryStore
from tests.behaviour.harness import ASYNC_COUNTING, HOUR, SECRET, Ctx, Make, World, put, read


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
    world.store.__class__ = ASYNC_COUNTING
    again = make(store=world.store, clock=world.clock)
    assert again.get(put(n=1)).cookie is not None


class Cancelling(AsyncMemoryStore):
    """A store that cancels the request that calls it, at the n-th call, and waits at each."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1
        self.scope: trio.CancelScope | None = None

    async def _call(self) -> None:
        self.left -= 1
        if self.left == -1 and self.scope is not None:
            self.scope.cancel()
        await trio.lowlevel.checkpoint()

    async def load(self, key: str) -> Any:
        await self._call()
        return await super().load(key)

    async def lock(self, key: str, ttl: int) -> Any:
        await self._call()
        return await super().lock(key, ttl)

    async def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        await self._call()
        return await super().replace(key, data, ttl, version=version, owner=owner)

    async def unlock(self, key: str, token: str) -> bool:
        await trio.lowlevel.checkpoint()
        return await super().unlock(key, token)


def test_an_exclusive_request_gives_its_session_back_wherever_it_is_cancelled() -> None:
    async def play() -> list[bool]:
        store = Cancelling()
        driver = AsyncSessionDriver(secret=SECRET, store=store, exclusive=lambda _request: True)

        async def request(cookie: str = "") -> str:
            exchange = await driver.begin([("cookie", cookie)] if cookie else [])
            assert exchange is not None
            try:
                exchange.session["n"] = 1 + exchange.session.get("n", 0)
                sent = await exchange.respond()
            finally:
                await exchange.finish()
            assert not isinstance(sent, ErrorResponse)
            return next((value.split(";")[0] for name, value in sent if name == "Set-Cookie"), "")

        cookie = await request()
        cancelled = []
        for number in range(6):
            with trio.CancelScope() as scope:
                store.left, store.scope = number, scope
                await request(cookie)
            cancelled.append(scope.cancelled_caught)
            store.left, store.scope = -1, None
            key = next(iter([key async for key, _ in store.scan()]))
            token = await store.lock(key, 1000)
            assert token is not None, "the lock is left"
            await store.unlock(key, token)
            assert not driver.turns.lines
        return cancelled

    # What is waited for behind a shield is done, and the cancellation is met where the request next waits, if it does.
    assert trio.run(play) == [True, True, True, False, False, False]
