"""An async store on several event loops, at once or one after another: it works, or one sentence says that it is another loop's."""

from __future__ import annotations

import asyncio
import gc
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import psycopg
import psycopg_pool
import pytest
import redis.asyncio
from pymongo import AsyncMongoClient

from sojourn.core.store import Deleted, Stored
from sojourn.errors import StoreUnavailable
from sojourn.stores import AsyncMongoStore, AsyncPostgresStore, AsyncRedisStore, AsyncSQLiteStore
from tests.servers import MongoServer, valkey
from tests.stores.postgres_schema import PostgresSchema, postgres_schema

pytestmark = pytest.mark.server

T = TypeVar("T")
HOUR: Final = 3_600_000
RECORD: Final = b'{"cookie":{},"n":1}'
POOL: Final = "the pool belongs to another event loop than the one that is running"
CLIENT: Final = "the client belongs to another event loop than the one that is running"


@pytest.fixture
def schema(postgres_url: str) -> Iterator[PostgresSchema]:
    with postgres_schema(postgres_url) as schema:
        yield schema


@pytest.fixture(scope="module")
def sentinel_url() -> Iterator[str]:
    with valkey() as master, valkey("--sentinel") as sentinel:
        sentinel.ask(f"SENTINEL MONITOR main 127.0.0.1 {master.port} 1")
        yield f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0"


@pytest.fixture(params=["one server", "a cluster"])
def redis_client(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Makes a client of the app's own."""
    if request.param == "one server":
        redis_url: str = request.getfixturevalue("redis_url")
        return lambda: redis.asyncio.Redis.from_url(redis_url)
    cluster: str = request.getfixturevalue("valkey_cluster").replace("redis+cluster", "redis")
    return lambda: redis.asyncio.RedisCluster.from_url(cluster)


def a_prefix() -> str:
    return f"test-{uuid.uuid4().hex}:"


@pytest.fixture(
    params=[
        "postgresql",
        "mongodb",
        "mongodb, by a function",
        "redis",
        "redis, with sentinel",
        "redis, in a cluster",
        "sqlite",
    ]
)
def store(request: pytest.FixtureRequest, schema: PostgresSchema, mongodb: MongoServer, tmp_path: Path) -> Any:
    """A store that makes its own connections."""
    match request.param:
        case "postgresql":
            return AsyncPostgresStore(schema.conninfo, create_table=True, pool_size=2)
        case "mongodb":
            return AsyncMongoStore.from_url(mongodb.url())
        case "sqlite":
            return AsyncSQLiteStore(tmp_path / "sessions.db")
        case "redis":
            return AsyncRedisStore.from_url(f"{request.getfixturevalue('redis_url')}?prefix={a_prefix()}")
        case "redis, with sentinel":
            return AsyncRedisStore.from_url(f"{request.getfixturevalue('sentinel_url')}?prefix={a_prefix()}")
        case "redis, in a cluster":
            return AsyncRedisStore.from_url(f"{request.getfixturevalue('valkey_cluster')}?prefix={a_prefix()}")
        case _:
            pass
    url = mongodb.url(retryWrites="false")
    return AsyncMongoStore(lambda: AsyncMongoClient(url))


@contextmanager
def loops(count: int) -> Iterator[list[Callable[[Coroutine[Any, Any, T]], Future[T]]]]:
    """Event loops that run in threads of their own, as functions that do something there."""
    with ExitStack() as stack:
        yield [stack.enter_context(_loop()) for _ in range(count)]


@contextmanager
def _loop() -> Iterator[Callable[[Coroutine[Any, Any, T]], Future[T]]]:
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def live() -> None:
        end = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), end))
        await end.wait()

    with ThreadPoolExecutor(1) as thread:
        lived = thread.submit(asyncio.run, live())
        loop, end = started.result(10)
        try:
            yield lambda work: asyncio.run_coroutine_threadsafe(work, loop)
        finally:
            loop.call_soon_threadsafe(end.set)
            lived.result(20)


async def use(store: Any, key: str) -> None:
    """Each operation that has a key, on one session."""
    version = await store.create(key, RECORD, HOUR, owner="ann")
    assert version
    version = await store.replace(key, RECORD, HOUR, version=version, owner="ann")
    moved = f"{key}, moved"
    assert await store.regenerate(key, moved, RECORD, HOUR, version=version, tombstone=HOUR)
    found = await store.load(moved)
    assert isinstance(found, Stored) and found.data == RECORD
    assert await store.touch(moved, HOUR) is True
    token = await store.lock(moved, HOUR)
    assert token and await store.unlock(moved, token) is True
    assert await store.delete(moved) == Deleted(1, ())


def test_a_store_that_is_first_used_on_two_event_loops_at_once_works_on_both(store: Any):
    barrier = threading.Barrier(3)

    async def begin(number: int) -> None:
        await asyncio.get_running_loop().run_in_executor(None, barrier.wait, 10)
        await asyncio.gather(*(use(store, f"{number} {n}") for n in range(3)))

    with loops(3) as submit:
        for done in [do(begin(number)) for number, do in enumerate(submit)]:
            done.result(60)
        for number, do in enumerate(submit):  # and each goes on while the others are there
            do(use(store, f"again {number}")).result(30)
        submit[0](store.close()).result(30)
        for number, do in enumerate(submit):
            do(use(store, f"closed {number}")).result(30)
        for do in submit:
            do(store.close()).result(30)


def test_a_store_goes_from_one_event_loop_to_the_next_and_leaves_nothing_behind(store: Any):
    """As with ``asyncio.run`` in scripts, or an event loop for each test. Warnings of what is left open are errors here."""
    for number in range(3):
        asyncio.run(use(store, f"run {number}"))
        gc.collect()
    asyncio.run(store.open())
    asyncio.run(store.close())
    asyncio.run(use(store, "closed on another loop"))

    async def finish() -> None:
        await store.open()
        await store.close()

    asyncio.run(finish())


def test_sqlite_goes_from_asyncio_to_trio_and_back(tmp_path: Path):
    store = AsyncSQLiteStore(tmp_path / "sessions.db")
    for number, backend in enumerate(["asyncio", "trio", "asyncio", "trio"]):
        anyio.run(use, store, f"key {number}", backend=backend)
    anyio.run(store.close, backend="trio")


def refused(done: Future[Any]) -> str:
    error = done.exception(30)
    assert isinstance(error, StoreUnavailable)
    return str(error)


async def open_pool(schema: PostgresSchema) -> psycopg_pool.AsyncConnectionPool[Any]:
    pool = psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Any]](
        schema.conninfo, min_size=1, max_size=2, open=False
    )
    await pool.open(wait=True)
    return pool


def test_the_apps_own_pool_serves_on_its_event_loop_and_is_refused_on_any_other(schema: PostgresSchema):
    with loops(2) as (here, there):
        pool = here(open_pool(schema)).result(30)
        store = AsyncPostgresStore(pool, create_table=True)
        assert POOL in refused(there(store.load("a")))
        here(use(store, "a")).result(30)
        assert POOL in refused(there(store.load("a")))
        here(use(store, "b")).result(30)
        here(pool.close()).result(30)


def test_the_apps_own_pool_is_refused_elsewhere_however_late_it_was_opened(schema: PostgresSchema):
    with loops(2) as (here, there):
        pool = psycopg_pool.AsyncConnectionPool[Any](schema.conninfo, min_size=1, max_size=2, open=False)
        store = AsyncPostgresStore(pool, create_table=True)
        assert "no connection to PostgreSQL (PoolClosed)" in refused(there(store.load("a")))
        here(pool.open()).result(30)
        assert POOL in refused(there(store.load("a")))
        here(use(store, "a")).result(30)
        here(pool.close()).result(30)


def test_a_pool_whose_event_loop_has_ended_is_refused(schema: PostgresSchema):
    pools = []

    async def leave() -> None:
        pools.append(await open_pool(schema))

    with loops(1) as (here,):
        here(leave()).result(30)
    (pool,) = pools
    store = AsyncPostgresStore(pool, create_table=True)
    with pytest.raises(StoreUnavailable, match=POOL):
        asyncio.run(store.load("a"))
    for connection in pool._pool:
        connection.pgconn.finish()


def test_the_apps_own_client_serves_on_its_event_loop_and_is_refused_on_any_other(mongodb: MongoServer):
    with loops(2) as (here, there):
        client = AsyncMongoClient[Any](mongodb.url(retryWrites="false"))
        store = AsyncMongoStore(client)
        here(use(store, "a")).result(30)
        assert CLIENT in refused(there(store.load("a")))
        assert CLIENT in refused(there(store.delete("a")))
        here(use(store, "b")).result(30)
        here(client.close()).result(30)


@pytest.mark.parametrize("when", ["before the store is made", "after"])
def test_a_client_that_the_app_has_used_on_another_event_loop_is_refused(when: str, mongodb: MongoServer):
    with loops(2) as (here, there):
        client = AsyncMongoClient[Any](mongodb.url(retryWrites="false"))
        store = AsyncMongoStore(client) if when == "after" else None

        async def ping() -> None:
            await client.admin.command("ping")

        here(ping()).result(30)
        store = store or AsyncMongoStore(client)
        assert CLIENT in refused(there(store.load("a")))
        here(use(store, "a")).result(30)
        here(client.close()).result(30)


def test_of_two_event_loops_that_first_use_the_apps_own_client_at_once_one_is_refused(mongodb: MongoServer):
    barrier = threading.Barrier(2)
    with loops(2) as both:
        client = AsyncMongoClient[Any](mongodb.url(retryWrites="false"))
        store = AsyncMongoStore(client)

        async def begin(number: int) -> int:
            barrier.wait(10)
            await use(store, f"key {number}")
            return number

        done = [do(begin(number)) for number, do in enumerate(both)]
        errors = [one.exception(30) for one in done]
        assert sorted(error is None for error in errors) == [False, True]
        assert all(error is None or (isinstance(error, StoreUnavailable) and CLIENT in str(error)) for error in errors)
        both[errors.index(None)](client.close()).result(30)


def test_the_apps_own_redis_client_serves_on_its_event_loop_and_is_refused_on_any_other(
    redis_client: Callable[[], Any],
):
    with loops(2) as (here, there):
        client = redis_client()
        store = AsyncRedisStore(client, prefix=a_prefix())
        here(use(store, "a")).result(30)
        assert CLIENT in refused(there(store.load("a")))
        assert CLIENT in refused(there(store.delete("a")))
        assert CLIENT in refused(there(store.count()))
        assert CLIENT in refused(there(store.open()))
        here(use(store, "b")).result(30)
        here(client.aclose()).result(30)


@pytest.mark.parametrize("when", ["before the store is made", "after"])
def test_a_redis_client_that_the_app_has_used_on_another_event_loop_is_refused(
    when: str, redis_client: Callable[[], Any]
):
    with loops(2) as (here, there):
        client = redis_client()
        store = AsyncRedisStore(client, prefix=a_prefix()) if when == "after" else None

        async def ping() -> None:
            await client.get("a")

        here(ping()).result(30)
        store = store or AsyncRedisStore(client, prefix=a_prefix())
        assert CLIENT in refused(there(store.load("a")))
        here(use(store, "a")).result(30)
        here(client.aclose()).result(30)


def test_a_redis_client_that_was_closed_on_one_event_loop_may_go_on_on_another(redis_client: Callable[[], Any]):
    client = redis_client()

    async def ping() -> None:
        await client.get("a")
        await client.aclose()

    asyncio.run(ping())
    store = AsyncRedisStore(client, prefix=a_prefix())

    async def serve() -> None:
        await use(store, "a")
        await client.aclose()

    asyncio.run(serve())


def test_of_two_event_loops_that_first_use_the_apps_own_redis_client_at_once_one_is_refused(
    redis_client: Callable[[], Any],
):
    barrier = threading.Barrier(2)
    with loops(2) as both:
        client = redis_client()
        store = AsyncRedisStore(client, prefix=a_prefix())

        async def begin(number: int) -> int:
            barrier.wait(10)
            await use(store, f"key {number}")
            return number

        done = [do(begin(number)) for number, do in enumerate(both)]
        errors = [one.exception(30) for one in done]
        assert sorted(error is None for error in errors) == [False, True]
        assert all(error is None or (isinstance(error, StoreUnavailable) and CLIENT in str(error)) for error in errors)
        both[errors.index(None)](client.aclose()).result(30)


def test_a_store_that_is_closed_on_one_event_loop_stops_pruning_on_all(schema: PostgresSchema):
    store = AsyncPostgresStore(schema.conninfo, create_table=True, prune_interval=0.05)

    async def prunes() -> bool:
        await asyncio.sleep(0.01)
        return any(task.get_name() == "sojourn-prune" for task in asyncio.all_tasks())

    with loops(2) as both:
        for do in both:
            do(store.open()).result(30)
            assert do(prunes()).result(30)
        both[0](store.close()).result(30)
        for do in both:
            assert not do(prunes()).result(30)
