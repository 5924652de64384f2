"""A program that opens something, forks twice, and has all three processes load each its own session at the same time.

    python -m tests.stores.forking postgres-pool URL

It prints what each of them met: ``mine``, ``OTHERS`` for another process's session, ``none``, or an error. The last is the parent.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from sojourn.core.store import Stored

__all__ = ["KINDS", "main"]

HOUR: Final = 3_600_000
LOADS: Final = 100
KEYS: Final = ("first child's", "second child's", "parent's")

Store = Any
Loading = Callable[[str], dict[str, int]]
"""Loads a key again and again, and counts what it met."""


def record(key: str) -> bytes:
    return json.dumps({"cookie": {}, "of": key}).encode()


def judged(found: object, key: str) -> str:
    if found is None:
        return "none"
    assert isinstance(found, Stored)
    return "mine" if json.loads(found.data)["of"] == key else "OTHERS"


def load(store: Store, key: str) -> dict[str, int]:
    seen = Counter[str]()
    for _ in range(LOADS):
        try:
            seen[judged(store.load(key), key)] += 1
        except Exception as error:  # noqa: BLE001 - it is told
            seen[f"{type(error).__name__}: {error}"] += 1
    return dict(seen)


async def load_async(store: Store, key: str) -> dict[str, int]:
    seen = Counter[str]()
    for _ in range(LOADS):
        try:
            seen[judged(await store.load(key), key)] += 1
        except Exception as error:  # noqa: BLE001 - it is told
            seen[f"{type(error).__name__}: {error}"] += 1
    return dict(seen)


def fill(store: Store) -> None:
    for key in KEYS:
        store.create(key, record(key), HOUR)


async def fill_async(store: Store) -> None:
    for key in KEYS:
        await store.create(key, record(key), HOUR)


def fork_and(loading: Loading) -> list[dict[str, int]]:
    """What the children and the parent met."""
    begin, go = os.pipe()
    children = []
    for key in KEYS[:2]:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(go)
            os.read(begin, 1)  # until the parent closes its end
            os.write(writing, json.dumps(loading(key)).encode())
            os._exit(0)
        os.close(writing)
        children.append((child, reading))
    os.close(go)
    parents = loading(KEYS[2])
    seen = []
    for child, reading in children:
        with os.fdopen(reading, "rb") as pipe:
            seen.append(json.loads(pipe.read() or b'{"died": 1}'))
        os.waitpid(child, 0)
    return [*seen, parents]


def shared(store: Store) -> list[dict[str, int]]:
    """A sync store that was used before the fork."""
    fill(store)
    return fork_and(lambda key: load(store, key))


def shared_async(store: Store) -> list[dict[str, int]]:
    """An async store that was used before the fork, on an event loop that has ended."""
    asyncio.run(fill_async(store))
    return fork_and(lambda key: asyncio.run(load_async(store, key)))


def postgres_url(url: str) -> list[dict[str, int]]:
    from sojourn.stores import PostgresStore

    return shared(PostgresStore(url, create_table=True))


def async_postgres_url(url: str) -> list[dict[str, int]]:
    from sojourn.stores import AsyncPostgresStore

    return shared_async(AsyncPostgresStore(url, create_table=True))


def postgres_pool(url: str) -> list[dict[str, int]]:
    """The app's pool is open when the store is made, which is used by the parent."""
    import psycopg_pool

    from sojourn.stores import PostgresStore

    with psycopg_pool.ConnectionPool(url, min_size=1, max_size=1, open=True, timeout=2) as pool:
        return shared(PostgresStore(pool, create_table=True, timeout=2))


def postgres_pool_opened_late(url: str) -> list[dict[str, int]]:
    """It is opened after the store is made, and this store is first used in the children."""
    import psycopg_pool

    from sojourn.stores import PostgresStore

    pool = psycopg_pool.ConnectionPool(url, min_size=1, max_size=1, open=False, timeout=2)
    store = PostgresStore(pool, create_table=True, timeout=2)
    with pool:
        fill(PostgresStore(pool, create_table=True, timeout=2))
        return fork_and(lambda key: load(store, key))


def postgres_pool_and_a_store_of_the_childs(url: str) -> list[dict[str, int]]:
    """Each process makes a store, of a pool that the parent opened."""
    import psycopg_pool

    from sojourn.stores import PostgresStore

    with psycopg_pool.ConnectionPool(url, min_size=1, max_size=1, open=True, timeout=2) as pool:
        fill(PostgresStore(pool, create_table=True, timeout=2))
        return fork_and(lambda key: load(PostgresStore(pool, create_table=True, timeout=2), key))


def postgres_pool_opened_by_each(url: str) -> list[dict[str, int]]:
    """As it should be: the pool and the store are made before the fork, and each process opens the pool."""
    import psycopg_pool

    from sojourn.stores import PostgresStore

    pool = psycopg_pool.ConnectionPool(url, min_size=1, max_size=1, open=False, timeout=2)
    store = PostgresStore(pool, create_table=True, timeout=2)
    fill(PostgresStore(url, create_table=True))

    def loading(key: str) -> dict[str, int]:
        with pool:
            return load(store, key)

    return fork_and(loading)


def async_postgres_pool(url: str) -> list[dict[str, int]]:
    """An async pool that the parent goes on using while the children have event loops of their own."""
    import psycopg_pool

    from sojourn.stores import AsyncPostgresStore

    async def make() -> tuple[Any, Store]:
        pool = psycopg_pool.AsyncConnectionPool(url, min_size=1, max_size=1, open=False, timeout=2)
        await pool.open(wait=True)
        store = AsyncPostgresStore(pool, create_table=True, timeout=2)
        await fill_async(store)
        return pool, store

    return on_one_loop(make)


def mongo_url(url: str) -> list[dict[str, int]]:
    from sojourn.stores import MongoStore

    return shared(MongoStore.from_url(url))


def async_mongo_url(url: str) -> list[dict[str, int]]:
    from sojourn.stores import AsyncMongoStore

    return shared_async(AsyncMongoStore.from_url(url))


def mongo_client(url: str) -> list[dict[str, int]]:
    """PyMongo itself drops in a child the connections that it has inherited."""
    from pymongo import MongoClient

    from sojourn.stores import MongoStore

    with MongoClient[Any](url, maxPoolSize=1) as client:
        return shared(MongoStore(client))


def async_mongo_client(url: str) -> list[dict[str, int]]:
    """An async client that the parent goes on using while the children have event loops of their own."""
    from pymongo import AsyncMongoClient

    from sojourn.stores import AsyncMongoStore

    async def make() -> tuple[Any, Store]:
        client = AsyncMongoClient[Any](url, maxPoolSize=1)
        store = AsyncMongoStore(client)
        await fill_async(store)
        return client, store

    return on_one_loop(make)


def on_one_loop(make: Callable[[], Any]) -> list[dict[str, int]]:
    """The parent uses what it made on the event loop that it made it on; each child has a loop of its own."""
    parent = os.getpid()
    with asyncio.Runner() as runner:
        made, store = runner.run(make())

        def loading(key: str) -> dict[str, int]:
            if os.getpid() == parent:
                return runner.run(load_async(store, key))
            asyncio.events._set_running_loop(None)
            return asyncio.run(load_async(store, key))

        seen = fork_and(loading)
        runner.run((getattr(made, "aclose", None) or made.close)())
        return seen


def redis_url(url: str) -> list[dict[str, int]]:
    """Also of Sentinel and of a cluster, whose clients the store makes for each process."""
    from sojourn.stores import RedisStore

    return shared(RedisStore.from_url(url))


def async_redis_url(url: str) -> list[dict[str, int]]:
    from sojourn.stores import AsyncRedisStore

    return shared_async(AsyncRedisStore.from_url(url))


def async_redis_url_on_the_parents_loop(url: str) -> list[dict[str, int]]:
    """Parent and children go on with one event loop, which asyncio is not made for: they share what it waits on."""
    from sojourn.stores import AsyncRedisStore

    store = AsyncRedisStore.from_url(url)
    with asyncio.Runner() as runner:
        runner.run(fill_async(store))
        return fork_and(lambda key: runner.run(load_async(store, key)))


def redis_client(url: str) -> list[dict[str, int]]:
    """redis-py's sync pools drop in a child the connections that they have inherited."""
    from redis import Redis

    from sojourn.stores import RedisStore

    with Redis.from_url(url, max_connections=1) as client:
        return shared(RedisStore(client))


def redis_client_and_a_store_of_the_childs(url: str) -> list[dict[str, int]]:
    from redis import BlockingConnectionPool, Redis

    from sojourn.stores import RedisStore

    with Redis(connection_pool=BlockingConnectionPool.from_url(url, max_connections=1)) as client:
        fill(RedisStore(client))
        return fork_and(lambda key: load(RedisStore(client), key))


def redis_cluster_client(url: str) -> list[dict[str, int]]:
    """A sync cluster's client has a pool for each node."""
    from redis import RedisCluster

    from sojourn.stores import RedisStore

    with RedisCluster.from_url(url.replace("redis+cluster", "redis")) as client:
        return shared(RedisStore(client))


def redis_sentinel_client(url: str) -> list[dict[str, int]]:
    from redis.sentinel import Sentinel

    from sojourn.stores import RedisStore
    from sojourn.stores.redis._url import parse_url

    server, _ = parse_url(url)
    make_sentinel: Any = Sentinel
    sentinel = make_sentinel(server.hosts)
    return shared(RedisStore(sentinel.master_for(server.service)))


def async_redis_client(url: str) -> list[dict[str, int]]:
    """An async client that the parent goes on using while the children have event loops of their own."""
    import redis.asyncio

    from sojourn.stores import AsyncRedisStore

    async def make() -> tuple[Any, Store]:
        client = redis.asyncio.Redis.from_url(url, max_connections=1)
        store = AsyncRedisStore(client)
        await fill_async(store)
        return client, store

    return on_one_loop(make)


def async_redis_client_on_the_parents_loop(url: str) -> list[dict[str, int]]:
    import redis.asyncio

    from sojourn.stores import AsyncRedisStore

    client = redis.asyncio.Redis.from_url(url, max_connections=1)
    store = AsyncRedisStore(client)
    with asyncio.Runner() as runner:
        runner.run(fill_async(store))
        return fork_and(lambda key: runner.run(load_async(store, key)))


def async_redis_cluster_client(url: str) -> list[dict[str, int]]:
    import redis.asyncio

    from sojourn.stores import AsyncRedisStore

    async def make() -> tuple[Any, Store]:
        client = redis.asyncio.RedisCluster.from_url(url.replace("redis+cluster", "redis"))
        store = AsyncRedisStore(client)
        await fill_async(store)
        return client, store

    return on_one_loop(make)


def sqlite(path: str) -> list[dict[str, int]]:
    from sojourn.stores import SQLiteStore

    return shared(SQLiteStore(path))


def async_sqlite(path: str) -> list[dict[str, int]]:
    from sojourn.stores import AsyncSQLiteStore

    return shared_async(AsyncSQLiteStore(path))


KINDS: Final[dict[str, Callable[[str], list[dict[str, int]]]]] = {
    kind.__name__: kind
    for kind in (
        postgres_url,
        async_postgres_url,
        postgres_pool,
        postgres_pool_opened_late,
        postgres_pool_and_a_store_of_the_childs,
        postgres_pool_opened_by_each,
        async_postgres_pool,
        mongo_url,
        async_mongo_url,
        mongo_client,
        async_mongo_client,
        redis_url,
        async_redis_url,
        async_redis_url_on_the_parents_loop,
        redis_client,
        redis_client_and_a_store_of_the_childs,
        redis_cluster_client,
        redis_sentinel_client,
        async_redis_client,
        async_redis_client_on_the_parents_loop,
        async_redis_cluster_client,
        sqlite,
        async_sqlite,
    )
}


def main(kind: str, url: str) -> None:
    print(json.dumps(KINDS[kind](url)))


if __name__ == "__main__":
    main(*sys.argv[1:])
