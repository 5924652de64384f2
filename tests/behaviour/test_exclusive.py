"""``exclusive``: where the predicate is true, the requests of one session run one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from sojourn import ConfigurationError, SessionConflict, StoreUnavailable, asgi, wsgi
from sojourn.driver import AsyncSessionDriver, SessionDriver
from sojourn.stores import AsyncMemoryStore, MemoryStore
from tests.behaviour.harness import HOUR, MINUTE, SECRET, Ctx, Make, put, read, settle, sign


def by_path(request: Any) -> bool:
    return bool((request["path"] if "path" in request else request["PATH_INFO"]).startswith("/exclusive"))


def locks(timeline: list[str]) -> list[str]:
    return [entry for entry in timeline if entry in ("lock", "unlock")]


@pytest.mark.parametrize(("path", "locked"), [("/exclusive", True), ("/other", False)])
def test_only_where_the_predicate_is_true_is_the_session_locked(make: Make, path: str, *, locked: bool) -> None:
    world = make(exclusive=by_path)
    client = world.session(n=1)
    answer = client.get(read, path)
    assert answer.seen == {"n": 1}
    assert locks(answer.timeline) == (["lock", "unlock"] if locked else [])
    if locked:
        assert answer.ops[:2] == ["load", "load"], (
            "once to know which session it is, and again for what the last one left"
        )
        assert answer.timeline.index("lock") < len(answer.timeline) - answer.timeline[::-1].index("load")
        assert answer.timeline[-1] == "unlock"


@pytest.mark.parametrize("cookies", ["", "sid=junk"])
def test_without_a_session_there_is_nothing_to_lock(make: Make, cookies: str) -> None:
    world = make(exclusive=lambda _request: True)
    assert locks(world.get(put(n=1), cookies=cookies).timeline) == []


def test_the_session_is_free_again_after_an_error(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)

    def fail(ctx: Ctx) -> None:
        raise ValueError

    assert locks(client.get(fail, may_fail=True).timeline) == ["lock", "unlock"]
    assert locks(client.get(read).timeline) == ["lock", "unlock"]


@pytest.mark.parametrize("failing", ["load", "replace"])
@pytest.mark.parametrize("error", [StoreUnavailable("it is down"), ZeroDivisionError(), KeyboardInterrupt()])
def test_the_session_is_free_again_where_the_store_fails(make: Make, failing: str, error: BaseException) -> None:
    world = make(exclusive=lambda _request: True)
    if isinstance(error, KeyboardInterrupt) and world.adapter == "asgi":
        pytest.skip("it ends the event loop")
    client = world.session(n=1)
    world.store.after["lock"] = lambda: world.store.fail(failing, error=error)
    begun = len(world.timeline)
    if isinstance(error, StoreUnavailable):
        assert client.get(put(n=2)).status == 503
    else:
        with pytest.raises(type(error)):
            client.get(put(n=2))
    assert locks(world.timeline[begun:]) == ["lock", "unlock"]


@pytest.mark.parametrize("dead", [1, 3])
def test_what_is_locked_is_the_session_that_is_found_and_not_the_first_id(make: Make, dead: int) -> None:
    world = make(exclusive=lambda _request: True)
    others = [world.session(n=0) for _ in range(dead)]
    client = world.session(n=1)
    for other in others:
        header = other.cookie_header("/", secure=False)
        other.get(lambda ctx: ctx.session.logout(), cookies=header)
    own = client.cookie_header("/", secure=False)
    gone = [f"{world.name}={sign(f'gone {number}', world.profile)}" for number in range(dead)]
    keys: list[str] = []

    def look(ctx: Ctx) -> Any:
        keys.extend(world.store.kept._locks.entries)
        return dict(ctx.session)

    answer = client.get(look, cookies="; ".join([*gone, own or ""]))
    assert answer.seen == {"n": 1} and keys == list(world.stored())


def test_a_session_that_ends_while_its_lock_is_waited_for_is_not_found_and_not_locked(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)
    world.store.after["lock"] = lambda: world.store.kept.delete(*world.stored())
    answer = client.get(read)
    assert answer.seen == {} and locks(answer.timeline) == ["lock", "unlock"]
    assert not world.store.kept._locks.entries


def test_the_lock_is_given_back_under_the_key_it_was_taken_by_after_a_regenerate(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)
    answer = client.get(lambda ctx: ctx.session.regenerate(keep_data=True))
    assert locks(answer.timeline) == ["lock", "unlock"]
    assert not world.store.kept._locks.entries


def test_it_is_locked_until_late_changes_are_saved(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        ctx.session["n"] = 2

    assert client.get(handle).timeline[-2:] == ["replace", "unlock"]


def test_an_unlock_that_fails_is_left_to_expire(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)
    world.store.fail("unlock")
    answer = client.get(put(n=2))
    assert answer.status == 200 and "left to expire" in caplog.text


def test_a_lock_that_cannot_be_taken_is_a_503(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)
    world.store.fail("lock")
    answer = client.get(read)
    assert answer.status == 503 and not answer.handled


def test_with_lazy_it_is_locked_when_loaded(make: Make) -> None:
    world = make(exclusive=lambda _request: True, lazy=True)
    client = world.session(n=1)
    assert locks(client.get().timeline) == []

    async def handle(ctx: Ctx) -> Any:
        await ctx.load()
        return dict(ctx.session)

    answer = client.get(handle)
    assert answer.seen == {"n": 1} and locks(answer.timeline) == ["lock", "unlock"]


put_3, put_other = put(n=3), put(m=2)


def add_one(ctx: Ctx) -> None:
    ctx.session["n"] = ctx.session["n"] + 1


@pytest.mark.parametrize("on_store_error", ["fail", "anonymous"])
@pytest.mark.parametrize("theirs", [put_3, put_other, put(n=2), add_one])
@pytest.mark.parametrize("path", ["/exclusive", "/other"])
def test_who_outlives_the_lock_gets_a_503_if_another_changed_the_session_even_to_the_same(
    make: Make, path: str, theirs: Any, on_store_error: str
) -> None:
    world = make(exclusive=by_path, on_store_error=on_store_error)
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        add_one(ctx)
        world.clock.advance(HOUR // 2)  # longer than any lock is held
        assert (await client.copy().ask(theirs, path)).status == 200

    assert client.get(handle, "/exclusive").status == 503
    expected = {put_3: {"n": 3}, put_other: {"n": 1, "m": 2}}
    assert client.get(read).seen == expected.get(theirs, {"n": 2})
    assert not world.store.kept._locks.entries


def test_who_outlives_the_lock_and_is_alone_all_the_same_is_saved(make: Make) -> None:
    world = make(exclusive=by_path)
    client = world.session(n=1)

    def handle(ctx: Ctx) -> None:
        add_one(ctx)
        world.clock.advance(HOUR // 2)

    assert client.get(handle, "/exclusive").status == 200
    assert client.get(read).seen == {"n": 2}
    assert not world.store.kept._locks.entries


def test_who_outlives_the_lock_does_not_write_while_another_has_it(make: Make) -> None:
    world = make(exclusive=by_path)
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        add_one(ctx)
        world.clock.advance(HOUR // 2)
        assert (
            world.store.kept.lock(next(iter(world.stored())), MINUTE) is not None
        )  # another process, which has loaded
        with pytest.raises(SessionConflict):
            await ctx.save()

    assert client.get(handle, "/exclusive").status == 503
    assert client.get(read).seen == {"n": 1}


def test_an_exclusive_request_keeps_its_lock_when_an_ordinary_one_comes_between(make: Make) -> None:
    world = make(exclusive=by_path)
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        add_one(ctx)
        assert (await client.copy().ask(put(m=1))).status == 200

    answer = client.get(handle, "/exclusive")
    assert answer.status == 200 and locks(answer.timeline) == ["lock", "unlock", "lock", "unlock"]
    assert client.get(read).seen == {"n": 2, "m": 1}
    assert not world.store.kept._locks.entries


@pytest.mark.parametrize("on_store_error", ["fail", "anonymous"])
def test_who_waits_for_the_lock_for_too_long_gets_a_503_whatever_is_done_about_outages(
    make: Make, on_store_error: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(exclusive=lambda _request: True, on_store_error=on_store_error)
    client = world.session(n=1)
    monkeypatch.setattr("sojourn.core.steps.LOCK_MS", 0)
    assert world.store.kept.lock(next(iter(world.stored())), MINUTE) is not None
    answer = client.get(read)
    assert answer.status == 503 and not answer.handled
    assert "a request is refused by a 503: other requests kept" in caplog.text


def test_a_store_without_locks_is_refused_at_construction(adapter: str) -> None:
    def operation(*_args: Any) -> None: ...

    async def async_operation(*_args: Any) -> None: ...

    names = ("load", "create", "replace", "regenerate", "touch", "delete", "open", "close")
    store = type("Lockless", (), dict.fromkeys(names, operation if adapter == "wsgi" else async_operation))()
    middleware: Any = wsgi.SessionMiddleware if adapter == "wsgi" else asgi.SessionMiddleware
    with pytest.raises(ConfigurationError, match="lock"):
        middleware(None, secret=SECRET, store=store, exclusive=lambda _request: True)


@pytest.mark.parametrize("exclusive", [True, False])
def test_concurrent_requests_of_one_session_wait_for_each_other(native: Make, *, exclusive: bool) -> None:
    world = native(exclusive=lambda _request: exclusive)
    client = world.session(n=0)
    inside: list[int] = []
    most: list[int] = []
    together, all_here = threading.Event(), anyio.Event()  # for threads and for tasks
    count = 4

    async def pause() -> None:
        """Wait for the others: a moment where they must not come, else until they are all there."""
        if max(most) == count:
            together.set()
        if world.adapter == "wsgi":
            together.wait(0.02 if exclusive else 20)
        else:
            if together.is_set():
                all_here.set()
            with anyio.move_on_after(0.02 if exclusive else 20):
                await all_here.wait()

    async def handle(ctx: Ctx) -> None:
        inside.append(1)
        most.append(len(inside))
        before = ctx.session["n"]
        await pause()
        ctx.session["n"] = before + 1
        inside.pop()

    if world.adapter == "wsgi":
        tabs = [client.copy() for _ in range(count)]
        threads = [threading.Thread(target=tab.get, args=(handle,)) for tab in tabs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:

        async def all_at_once() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(count):
                    group.start_soon(client.copy().ask, handle)

        world.run(all_at_once)
    if exclusive:
        assert max(most) == 1 and client.get(read).seen == {"n": count}
    else:
        assert max(most) > 1 and client.get(read).seen["n"] < count


def test_exclusive_requests_of_different_sessions_do_not_wait(native: Make, adapter: str) -> None:
    world = native(exclusive=lambda _request: True)
    one, other = world.session(n=1), world.session(n=2)

    async def handle(ctx: Ctx) -> Any:
        return (await other.ask(read)).seen

    assert one.get(handle).seen == {"n": 2}


class Waiting(AsyncMemoryStore):
    """A store that waits at each call, and notes them; it has no way of its own through the middleware."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    async def load(self, key: str) -> Any:
        self.calls["load"] += 1
        await anyio.sleep(0.0001)
        return await super().load(key)

    async def lock(self, key: str, ttl: int) -> Any:
        self.calls["lock"] += 1
        await anyio.sleep(0.0001)
        return await super().lock(key, ttl)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_three_hundred_that_wait_come_in_turn_and_cost_the_store_little(
    runner: asyncio.Runner, *, asynchronous: bool
) -> None:
    count = 300 if asynchronous else 100
    order: list[int] = []
    calls: Counter[str] = Counter()
    if asynchronous:
        store: Any = Waiting()
        calls = store.calls
        driver: Any = AsyncSessionDriver(secret=SECRET, store=store, exclusive=lambda _request: True)
    else:
        store = MemoryStore()
        take = store.lock

        def counted(key: str, ttl: int) -> Any:
            calls["lock"] += 1
            return take(key, ttl)

        store.lock = counted
        driver = SessionDriver(secret=SECRET, store=store, exclusive=lambda _request: True)

    async def request(number: int, cookie: str, started: threading.Event | None = None) -> str:
        exchange = await settle(driver.begin([("cookie", cookie)] if cookie else []))
        order.append(number)
        exchange.session["n"] = exchange.session.get("n", 0) + 1
        sent = await settle(exchange.respond())
        await settle(exchange.finish())
        return next((value.split(";")[0] for name, value in sent if name == "Set-Cookie"), "")

    async def all_at_once(cookie: str) -> None:
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(request, number, cookie)

    cookie = runner.run(request(-1, ""))
    calls.clear()
    if asynchronous:
        runner.run(all_at_once(cookie))
        assert order == [-1, *range(count)], "first come, first served"
        assert calls["load"] == 2 * count
    else:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda number: asyncio.run(request(number, cookie)), range(count)))
        assert sorted(order) == list(range(-1, count))
    assert calls["lock"] <= 3 * count
    key = next(key for key, _ in (store._store if asynchronous else store).scan())
    found: Any = (store._store if asynchronous else store).load(key)
    assert b'"n":%d' % (count + 1) in found.data


class Slow(AsyncMemoryStore):
    """A store over a network."""

    direct = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    async def load(self, key: str) -> Any:
        await asyncio.sleep(self.pauses.pop(0) if self.pauses else 0)
        return await super().load(key)


class Site:
    """Requests to one session, under ``lazy``."""

    def __init__(self, **options: Any) -> None:
        self.store = Slow()
        self.middleware: Any = asgi.SessionMiddleware(self.app, secret=SECRET, store=self.store, lazy=True, **options)
        self.headers: list[Any] = []

    async def app(self, scope: Any, _receive: Any, send: Any) -> None:
        await scope["do"](scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def visit(self, do: Any) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/", "scheme": "http", "headers": self.headers, "do": do}
        await self.middleware(scope, None, send)
        for name, value in sent[0]["headers"]:
            if name == b"set-cookie":
                self.headers = [(b"cookie", value.split(b";")[0])]
        return int(sent[0]["status"])

    async def begin(self, **data: Any) -> None:
        async def fill(session: Any) -> None:
            session.update(data)

        await self.visit(fill)

    async def data(self) -> dict[str, Any]:
        kept: dict[str, Any] = {}

        async def look(session: Any) -> None:
            await session.load()
            kept.update(session)

        await self.visit(look)
        return kept


@pytest.mark.parametrize("pauses", [[0.01, 0.05], [0.05, 0.01]])
@pytest.mark.parametrize("exclusive", [None, lambda _request: True])
def test_two_tasks_of_a_request_that_load_it_at_once_have_one_session(pauses: list[float], exclusive: Any) -> None:
    async def main() -> None:
        site = Site(exclusive=exclusive)
        await site.begin(user="ann", n=1)

        async def both(session: Any) -> None:
            async def one() -> None:
                await session.load()
                session["c"] = 3
                session.touch()

            async def two() -> None:
                await session.load()
                assert session["n"] == 1
                assert exclusive is None or session._state.lock is not None

            await asyncio.gather(one(), two())

        site.store.pauses = list(pauses)
        assert await site.visit(both) == 200
        assert await site.data() == {"user": "ann", "n": 1, "c": 3}

    asyncio.run(main())


def test_who_gave_up_waiting_for_the_lock_has_not_loaded_it() -> None:
    async def main() -> None:
        site = Site(exclusive=lambda _request: True)
        await site.begin(n=1)
        has_it, seen = asyncio.Event(), []

        async def hold(session: Any) -> None:
            await session.load()
            has_it.set()
            session["n"] += 10
            await asyncio.sleep(0.2)

        async def impatient(session: Any) -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await session.load()
            await session.load()
            seen.append((session["n"], session._state.lock is not None))
            session["n"] += 1

        holding = asyncio.create_task(site.visit(hold))
        await has_it.wait()
        assert await site.visit(impatient) == 200
        assert await holding == 200 and seen == [(11, True)]
        assert await site.data() == {"n": 12}

    asyncio.run(main())


def test_after_its_request_a_session_takes_no_lock() -> None:
    async def main() -> None:
        site = Site(exclusive=lambda _request: True)
        await site.begin(n=1)
        kept: list[Any] = []

        async def keep(session: Any) -> None:
            kept.append(session)

        await site.visit(keep)
        await kept[0].load()
        assert kept[0]["n"] == 1 and kept[0]._state.lock is None
        assert await asyncio.wait_for(site.data(), 5) == {"n": 1}

    asyncio.run(main())
