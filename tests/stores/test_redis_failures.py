"""Redis that does not answer, is not there, or refuses: what the stores say, and that nothing is ever sent twice."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis
import redis.asyncio

from sojourn.core.store import CONFLICT, Deleted, Stored
from sojourn.errors import StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._sync.store import RedisStore
from sojourn.testing import FullStore, as_async
from tests.servers import ValkeyServer, valkey
from tests.stores.redis_kinds import KINDS, Proxy, commands, opened, proxied

pytestmark = [pytest.mark.server, pytest.mark.anyio, pytest.mark.parametrize("kind", KINDS)]

PATIENCE = 0.2
"""Seconds."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[Proxy]:
    with proxied(("127.0.0.1", server.port)) as proxy:
        yield proxy


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[Any]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@asynccontextmanager
async def impatient(kind: str, url: str) -> AsyncIterator[FullStore]:
    """As `opened`, but the app's clients do not go on trying to connect, and none waits for long."""
    if kind == "sync client":
        with redis.Redis.from_url(url, socket_timeout=PATIENCE) as client:
            yield as_async(RedisStore(client))
    elif kind == "async client":
        async with redis.asyncio.Redis.from_url(url, socket_timeout=PATIENCE) as async_client:
            yield AsyncRedisStore(async_client)
    else:
        async with opened(kind, url, timeout=PATIENCE, connect_timeout=PATIENCE) as store:
            yield store


WRITES: dict[str, Callable[[FullStore], Any]] = {
    "create": lambda store: store.create("new", b"1", 60_000, owner="ann"),
    "replace": lambda store: store.replace("k", b"1", 60_000, version=b"0", owner="ann"),
    "regenerate": lambda store: store.regenerate("k", "new", b"1", 60_000, version=b"0", tombstone=30_000),
    "touch": lambda store: store.touch("k", 60_000),
    "delete": lambda store: store.delete("k"),
    "lock": lambda store: store.lock("k", 60_000),
}


@pytest.mark.parametrize("losing", ["reply", "connection"])
@pytest.mark.parametrize("write", WRITES)
async def test_a_write_whose_reply_is_lost_has_happened_once_and_is_never_sent_again(
    kind: str, write: str, losing: str, proxy: Proxy, client: Any
):
    async with opened(kind, f"redis://127.0.0.1:{proxy.port}", timeout=PATIENCE) as store:
        for warm in ("k", "new"):
            await store.create(warm, b"0", 60_000)
        for operation in WRITES.values():  # so that the server knows the scripts
            await operation(store)
        await store.unlock("k", "token")
        for name in client.scan_iter():
            client.delete(name)
        await store.create("k", b"0", 60_000)
        before = commands(client)
        proxy.losing = losing
        with pytest.raises(StoreTimeout, match="may have happened") as lost:
            await WRITES[write](store)
        assert lost.value.driver_error is not None and lost.value.__cause__ is None
        assert proxy.losing is None, "nothing was lost"
        after = commands(client)
        sent = {name: after.get(name, 0) - before.get(name, 0) for name in ("evalsha", "eval")}
        assert sent == {"evalsha": 2 if write == "lock" else 1, "eval": 0}, "a lock, which may be taken, is given back"
        if write == "lock":
            assert after["set"] - before["set"] == 1
            assert await store.lock("k", 60_000) is not None
        found = await store.load("k")
        if write == "replace":
            assert isinstance(found, Stored) and found.data == b"1"
            assert await store.replace("k", b"2", 60_000, version=b"0") is CONFLICT


@pytest.mark.parametrize("losing", ["reply", "connection"])
async def test_a_read_whose_reply_is_lost_is_sent_once_more_on_a_new_connection(
    kind: str, losing: str, proxy: Proxy, client: Any
):
    async with opened(kind, f"redis://127.0.0.1:{proxy.port}", timeout=2) as store:
        await store.create("k", b"0", 60_000)
        before = commands(client)
        proxy.losing = losing
        began = time.monotonic()
        assert isinstance(await store.load("k"), Stored)
        took = time.monotonic() - began
        assert proxy.losing is None, "nothing was lost"
        assert commands(client)["get"] - before.get("get", 0) == 2
        assert 0.9 < took < 1.9 if losing == "reply" else took < 0.9  # half of the time


async def test_a_read_that_is_lost_twice_is_an_error(kind: str):
    with valkey() as server:
        async with impatient(kind, server.url) as store:
            await store.create("k", b"0", 60_000)
            server.signal(signal.SIGSTOP)
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await store.load("k")
            server.signal(signal.SIGCONT)


async def test_a_connection_that_was_idle_for_long_is_made_anew_before_a_write_too(
    kind: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
):
    async with opened(kind, f"redis://127.0.0.1:{proxy.port}", timeout=PATIENCE) as store:
        await store.create("k", b"0", 60_000)
        for module in ("_multiplex", "_direct", "_async.driver", "_sync.driver"):
            monkeypatch.setattr(f"sojourn.stores.redis.{module}.LONGEST_IDLE", -1.0)
        proxy.forget()
        assert await store.touch("k", 60_000)


async def test_a_reply_that_comes_too_late_is_dropped(kind: str):
    with valkey() as server:
        async with impatient(kind, server.url) as store:
            await store.create("a", b"a", 60_000)
            await store.create("b", b"b", 60_000)
            server.signal(signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await store.load("a")
            with pytest.raises(StoreError):
                await store.replace("a", b"x", 60_000, version=b"never")
            assert time.monotonic() - began < 6 * PATIENCE + 2
            server.signal(signal.SIGCONT)
            for _ in range(3):
                found = await store.load("b")
                assert isinstance(found, Stored) and found.data == b"b"


async def test_a_server_that_was_killed_is_unavailable_until_it_is_back(kind: str):
    with valkey() as server:
        async with impatient(kind, server.url) as store:
            assert await store.create("k", b"{}", 60_000)
            server.kill()
            with suppress(StoreError):  # the old connection may yet look alive
                await store.touch("k", 60_000)
            for operation in (store.load("k"), store.touch("k", 60_000), store.create("l", b"{}", 60_000)):
                with pytest.raises(StoreUnavailable) as refused:
                    await operation
                assert refused.value.driver_error is not None and refused.value.__cause__ is None
                assert "k" not in str(refused.value).split()
            with pytest.raises(StoreUnavailable):
                await store.open()
            server.start()
            assert await store.load("k") is None
            assert await store.create("k", b"{}", 60_000)


async def test_a_server_out_of_memory_refuses_and_writes_nothing(kind: str):
    with valkey("--maxmemory-policy", "noeviction") as server:
        async with opened(kind, server.url) as store:
            version = await store.create("k", b"0", 60_000, owner="ann")
            other = await store.create("m", b"0", 60_000)
            server.ask("CONFIG SET maxmemory 1")
            for owner in (None, "ann", "bob"):
                with pytest.raises(StoreUnavailable, match="refused"):
                    await store.replace("m", b"1", 60_000, version=other, owner=owner)
                with pytest.raises(StoreUnavailable, match="refused"):
                    await store.create("l", b"1", 60_000, owner=owner)
            for owner in ("ann", "bob"):
                with pytest.raises(StoreUnavailable, match="refused"):
                    await store.regenerate("k", "l", b"1", 60_000, version=version, tombstone=30_000, owner=owner)
            found = await store.load("k")
            assert isinstance(found, Stored) and found.data == b"0"
            assert await store.load("l") is None
            assert await store.delete("k") == Deleted(1, ())


async def test_a_master_that_became_a_replica_refuses_and_is_left(kind: str):
    with valkey() as server, valkey() as other:
        async with opened(kind, server.url) as store:
            await store.create("k", b"0", 60_000)
            server.ask(f"REPLICAOF 127.0.0.1 {other.port}")
            with pytest.raises(StoreUnavailable, match="refused"):
                await store.delete("k")
            server.ask("REPLICAOF NO ONE")
            assert await store.create("l", b"0", 60_000)


async def test_a_wrong_password_is_refused_without_being_told(kind: str):
    with valkey("--requirepass", "s3cret") as server:
        url = f"redis://:wr0ng@127.0.0.1:{server.port}"
        async with impatient(kind, url) as store:
            with pytest.raises(StoreUnavailable) as refused:
                await store.open()
            assert "wr0ng" not in str(refused.value) + repr(refused.value)
        async with opened(kind, url.replace("wr0ng", "s3cret")) as store:
            assert await store.create("k", b"{}", 60_000)


async def test_where_nothing_listens_the_store_is_unavailable_at_once(kind: str, server: ValkeyServer):
    with proxied(None) as closed:
        port = closed.port
    async with impatient(kind, f"redis://127.0.0.1:{port}") as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.create("k", b"{}", 60_000)
        assert time.monotonic() - began < 1
