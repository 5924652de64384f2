"""After a fork no process gets a reply that is another's: a store has connections of its own there, or refuses."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import psycopg_pool
import pytest

from sojourn.errors import StoreUnavailable
from sojourn.stores import (
    AsyncMongoStore,
    AsyncPostgresStore,
    AsyncRedisStore,
    MongoStore,
    PostgresStore,
    RedisStore,
    _home,
)
from sojourn.stores.postgres._async.pool import AsyncPool
from sojourn.stores.redis import _multiplex
from sojourn.testing import as_async
from tests.servers import MongoServer, valkey
from tests.stores.forking import KINDS, LOADS
from tests.stores.postgres_schema import PostgresSchema, postgres_schema

ROOT: Final = Path(__file__).resolve().parents[2]

MINE: Final = {"mine": LOADS}
POOL: Final = (
    "StoreUnavailable: the pool was opened before this process was forked, and its connections are the parent's:"
    " open one in each process, or give the store a URL"
)
CLIENT: Final = (
    "StoreUnavailable: the client was opened before this process was forked, and its connections are the parent's:"
    " make one in each process, or give the store a URL"
)
REFUSED: Final = {
    "postgres_pool": POOL,
    "postgres_pool_opened_late": POOL,
    "postgres_pool_and_a_store_of_the_childs": POOL,
    "async_postgres_pool": POOL,
    "async_mongo_client": CLIENT,
    "async_redis_client": CLIENT,
    "async_redis_client_on_the_parents_loop": CLIENT,
    "async_redis_cluster_client": CLIENT,
}
"""What the children meet. In all other cases they have connections of their own."""


def met(kind: str, url: str) -> Any:
    command = [sys.executable, "-W", "ignore", "-m", "tests.stores.forking", kind, url]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def expected(kind: str) -> list[dict[str, int]]:
    childs = {REFUSED[kind]: LOADS} if kind in REFUSED else MINE
    return [childs, childs, MINE]


@pytest.mark.server
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "postgres" in kind])
def test_on_postgresql_every_process_meets_its_own_session_or_a_refusal_that_names_the_fork(
    kind: str, postgres_url: str
):
    with postgres_schema(postgres_url) as schema:
        separator = "&" if "?" in postgres_url else "?"
        url = f"{postgres_url}{separator}options=-csearch_path%3D{schema.name}"
        assert met(kind, url) == expected(kind)


@pytest.mark.server
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "mongo" in kind])
def test_on_mongodb_every_process_meets_its_own_session_or_a_refusal_that_names_the_fork(
    kind: str, mongodb: MongoServer
):
    assert met(kind, mongodb.url(retryWrites="false")) == expected(kind)


REDIS: Final = (
    "redis_url",
    "async_redis_url",
    "redis_client",
    "redis_client_and_a_store_of_the_childs",
    "async_redis_client",
)


@pytest.mark.server
@pytest.mark.parametrize("kind", REDIS)
def test_on_redis_every_process_meets_its_own_session_or_a_refusal_that_names_the_fork(kind: str, redis_url: str):
    assert met(kind, redis_url) == expected(kind)


@pytest.mark.server
@pytest.mark.parametrize(
    "kind", ["async_redis_url_on_the_parents_loop", "async_redis_client_on_the_parents_loop"], ids=["url", "client"]
)
def test_on_redis_no_process_meets_another_ones_session_even_where_they_share_an_event_loop(kind: str, redis_url: str):
    """They may miss a reply each, which the other has taken from their common loop and dropped."""
    *children, parent = met(kind, f"{redis_url}?timeout=0.5" if "url" in kind else f"{redis_url}?socket_timeout=0.5")
    assert "OTHERS" not in parent and parent["mine"] > LOADS / 2
    for child in children:
        assert child == {CLIENT: LOADS} if kind in REFUSED else "OTHERS" not in child and child["mine"] > LOADS / 2


@pytest.mark.server
@pytest.mark.parametrize("kind", ["redis_url", "async_redis_url", "redis_cluster_client", "async_redis_cluster_client"])
def test_in_a_cluster_every_process_meets_its_own_session_or_a_refusal_that_names_the_fork(
    kind: str, valkey_cluster: str
):
    assert met(kind, valkey_cluster) == expected(kind)


@pytest.mark.server
@pytest.mark.parametrize("kind", ["redis_url", "async_redis_url", "redis_sentinel_client"])
def test_with_sentinel_every_process_meets_its_own_session(kind: str):
    with valkey() as master, valkey("--sentinel") as sentinel:
        sentinel.ask(f"SENTINEL MONITOR main 127.0.0.1 {master.port} 1")
        assert met(kind, f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0") == expected(kind)


@pytest.mark.server
@pytest.mark.parametrize("kind", [RedisStore, AsyncRedisStore], ids=["sync", "async"])
def test_in_another_process_the_former_ones_redis_connection_is_left_alone(
    kind: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    inherited: list[object] = []
    monkeypatch.setattr(_home, "_inherited", inherited)

    async def use() -> None:
        made = kind.from_url(redis_url)
        store: Any = as_async(made) if kind is RedisStore else made
        assert await store.load("a") is None
        ((home, former),) = made._driver._clients._held.items()
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(_home, "os", SimpleNamespace(getpid=lambda: home.process + 1))
            elsewhere.setattr(_multiplex, "getpid", lambda: home.process + 1)
            assert await store.load("a") is None
            (held,) = made._driver._clients._held.values()
            assert held.client is not former.client
            await store.close()
        assert len(inherited) == 1, "neither used nor closed"
        if kind is RedisStore:
            assert former.client.call("EXISTS", "a", writes=False) == 0
            former.client.close()
        else:
            assert await former.client.line.send(("EXISTS", "a")).reply == 0  # and its event loop closes it

    asyncio.run(use())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "sqlite" in kind])
def test_on_sqlite_every_process_meets_its_own_session(kind: str, tmp_path: Path):
    assert met(kind, str(tmp_path / "sessions.db")) == expected(kind)


@pytest.mark.server
def test_in_another_process_a_pool_that_was_given_is_refused_and_left_alone(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    """As after a fork, in this process, where coverage sees it."""
    with (
        postgres_schema(postgres_url) as schema,
        psycopg_pool.ConnectionPool(schema.conninfo, min_size=1, max_size=1, open=True) as pool,
    ):
        store = PostgresStore(pool, create_table=True)
        assert store.load("a") is None
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(os, "getpid", lambda: -2)
            for call in (store.open, lambda: store.load("a"), lambda: store.delete("a"), store.count):
                with pytest.raises(StoreUnavailable, match="the pool was opened before this process was forked"):
                    call()
            store.close()
        assert store.load("a") is None
        with pool.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        store.close()


@pytest.mark.server
def test_in_another_process_the_former_ones_async_connections_are_left_alone(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    async def use(schema: PostgresSchema) -> None:
        store = AsyncPostgresStore(schema.conninfo, create_table=True)
        await store.open()
        (pool,) = store._connections._pools.values()
        assert isinstance(pool, AsyncPool)
        ((_, former),) = pool._idle
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(os, "getpid", lambda: -2)
            assert await store.load("a") is None
            await store.close()
        assert not former.closed and (await (await former.execute("SELECT 1")).fetchone()) == (1,)
        await former.close()
        await store.close()

    with postgres_schema(postgres_url) as schema:
        asyncio.run(use(schema))


@pytest.mark.server
@pytest.mark.parametrize("kind", [MongoStore, AsyncMongoStore], ids=["sync", "async"])
def test_in_another_process_the_former_ones_mongodb_client_is_left_alone(
    kind: Any, mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch
):
    inherited: list[object] = []
    monkeypatch.setattr(_home, "_inherited", inherited)

    async def use() -> None:
        made = kind.from_url(mongodb.url(retryWrites="false"))
        store: Any = as_async(made) if kind is MongoStore else made
        assert await store.load("a") is None
        ((home, former),) = made._homes.items()
        with monkeypatch.context() as elsewhere:
            # Not os itself: PyMongo's own threads ask that.
            elsewhere.setattr(_home, "os", SimpleNamespace(getpid=lambda: home.process + 1))
            assert await store.load("a") is None
            (handles,) = made._homes.values()
            assert handles.sessions.database.client is not former.sessions.database.client
            await store.close()
        assert len(inherited) == 1, "neither used nor closed"
        if kind is MongoStore:
            assert former.sessions.find_one({}) is None
            former.sessions.database.client.close()
        else:
            assert await former.sessions.find_one({}) is None  # and its event loop closes it

    asyncio.run(use())
