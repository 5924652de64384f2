"""One store for each URL in a process, which is closed once nobody uses it any more."""

from __future__ import annotations

import gc
import os
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from sojourn import asgi, wsgi
from sojourn.driver import AsyncSessionDriver, SessionDriver
from sojourn.options import EXPRESS, NATIVE
from sojourn.stores import AsyncMemoryStore, AsyncSQLiteStore, MemoryStore, resolve
from sojourn.stores._sharing import begin_use, end_use, isolated_stores, shared
from tests.stores.in_fork import in_fork

SECRET = "a secret that is long enough for everybody"


def app(_environ: Any, _start: Any) -> Any: ...


def wsgi_store(store: Any, **options: Any) -> Any:
    return wsgi.SessionMiddleware(app, secret=SECRET, store=store, **options).store


def asgi_store(store: Any, **options: Any) -> Any:
    return asgi.SessionMiddleware(app, secret=SECRET, store=store, **options).store  # type: ignore[arg-type]


@pytest.mark.parametrize("store_of", [wsgi_store, asgi_store])
def test_middlewares_that_are_given_the_same_url_have_one_store(store_of: Any) -> None:
    first = store_of("memory://?max_sessions=7")
    assert store_of("memory://?max_sessions=7") is first
    assert store_of("memory://?max_sessions=8") is not first


def test_the_colours_have_stores_of_their_own() -> None:
    assert type(wsgi_store("memory://")) is MemoryStore
    assert type(asgi_store("memory://")) is AsyncMemoryStore


def test_layouts_have_stores_of_their_own() -> None:
    plain, express = (wsgi_store("redis://127.0.0.1:1", profile=profile) for profile in (NATIVE, EXPRESS))
    assert plain is not express


# contract 2
def test_where_no_store_is_given_each_middleware_has_its_own() -> None:
    first, second = wsgi_store(None), wsgi_store(None)
    assert first is not second
    assert first is not wsgi_store("memory://")


def test_a_store_is_held_by_those_who_use_it_alone() -> None:
    with isolated_stores():
        store = wsgi_store("memory://?max_sessions=9")
        store.create("key", b"{}", 1000)
        del store
        gc.collect()
        assert wsgi_store("memory://?max_sessions=9").load("key") is None


def test_resolving_alone_shares_nothing() -> None:
    assert resolve("memory://", asynchronous=False) is not resolve("memory://", asynchronous=False)


def test_isolated_stores_are_shared_with_none_outside() -> None:
    outside = wsgi_store("memory://")
    with isolated_stores():
        inside = wsgi_store("memory://")
        assert inside is not outside
        assert wsgi_store("memory://") is inside
    assert wsgi_store("memory://") is outside


def test_a_store_is_done_with_when_the_last_of_its_users_is() -> None:
    class User: ...

    store, first, second, third = MemoryStore(), User(), User(), User()
    begin_use(store, first)
    begin_use(store, first)
    begin_use(store, second)
    begin_use(store, third)
    assert not end_use(store, first)
    del third  # gone without a word
    assert end_use(store, second)
    assert end_use(store, second)


class Closing(AsyncMemoryStore):
    closed = 0

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.anyio
async def test_one_lifespan_closes_nothing_for_another() -> None:
    async def application(_scope: Any, receive: Any, send: Any) -> None:
        for stage in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{stage}"
            await send({"type": f"lifespan.{stage}.complete"})

    store = Closing()
    closed: list[int] = []
    second_runs = anyio.Event()

    async def run(name: str, before_shutdown: Any) -> None:
        middleware = asgi.SessionMiddleware(application, secret=SECRET, store=store)
        stages = iter(["startup", "shutdown"])

        async def receive() -> Any:
            stage = next(stages)
            if stage == "shutdown":
                await before_shutdown()
            return {"type": f"lifespan.{stage}"}

        async def send(message: Any) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                closed.append(store.closed)

        await middleware({"type": "lifespan"}, receive, send)

    async def second_is_up() -> None:
        second_runs.set()
        while not closed:
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(run, "first", second_runs.wait)
        group.start_soon(run, "second", second_is_up)
    assert closed == [0, 1]


@pytest.mark.anyio
async def test_a_driver_closes_what_no_other_has_open() -> None:
    store = Closing()
    first, second = (AsyncSessionDriver(secret=SECRET, store=store) for _ in range(2))
    await first.open()
    await second.open()
    await first.close()
    assert store.closed == 0
    await second.close()
    assert store.closed == 1


def test_likewise_in_the_sync_colour() -> None:
    closed: list[bool] = []

    class SyncClosing(MemoryStore):
        def close(self) -> None:
            closed.append(True)

    store = SyncClosing()
    first, second = (SessionDriver(secret=SECRET, store=store) for _ in range(2))
    first.open()
    second.open()
    first.close()
    assert closed == []
    second.close()
    assert closed == [True]


def test_a_shared_store_serves_one_event_loop_after_another(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"

    async def count(number: int) -> int:
        store = asgi_store(url)
        await store.create(f"key{number}", b"{}", 60_000)
        return int(await store.count())

    kept: AsyncSQLiteStore = asgi_store(url)
    assert [anyio.run(count, number) for number in range(3)] == [1, 2, 3]
    assert asgi_store(url) is kept
    anyio.run(kept.close)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*use of fork.* may lead to deadlocks:DeprecationWarning")
def test_a_child_that_was_forked_while_another_thread_made_a_store_can_make_one() -> None:
    making, forked = threading.Event(), threading.Event()

    def make(_url: str) -> MemoryStore:
        making.set()
        forked.wait(20)
        return MemoryStore()

    thread = threading.Thread(target=shared, args=("slow://", make), kwargs={"asynchronous": False})
    thread.start()
    try:
        making.wait(20)
        in_fork(lambda: wsgi_store("memory://"))
    finally:
        forked.set()
        thread.join()
