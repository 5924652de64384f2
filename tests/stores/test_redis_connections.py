"""The ways to a Redis server: Unix sockets, TLS, users with few rights, databases, Sentinel."""

from __future__ import annotations

import inspect
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from sojourn.core.store import Deleted, Stored
from sojourn.errors import StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores.redis._async import driver as async_driver
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._sync import driver as sync_driver
from sojourn.stores.redis._sync.store import RedisStore
from sojourn.testing import as_async
from tests.certificates import certificate
from tests.servers import ValkeyServer, valkey
from tests.stores.redis_kinds import KINDS, everything, opened, proxied

pytestmark = [pytest.mark.server, pytest.mark.anyio]

OWN = ("sync", "async")
"""The kinds that open their own connections."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[Any]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("scheme", ["unix", "redis+unix"])
async def test_a_unix_socket(kind: str, scheme: str, server: ValkeyServer, client: Any):
    async with opened(kind, f"{scheme}://{server.socket}?db=3") as store:
        await everything(store)
        await store.create("k3", b"{}", 60_000)
    assert client.dbsize() == 0
    client.select(3)
    assert client.exists("sojourn:k3")


@pytest.mark.parametrize("kind", OWN)
async def test_a_unix_socket_that_is_not_there(kind: str, tmp_path: Path):
    async with opened(kind, f"unix://{tmp_path}/none") as store:
        with pytest.raises(StoreUnavailable):
            await store.create("k", b"{}", 60_000)


@pytest.mark.parametrize("kind", OWN)
async def test_a_database_in_the_path(kind: str, server: ValkeyServer, client: Any):
    async with opened(kind, server.url.replace("/0", "/5")) as store:
        await store.create("k", b"{}", 60_000)
    assert client.dbsize() == 0
    async with opened(kind, server.url.replace("/0", "/500")) as store:
        with pytest.raises(StoreUnavailable):
            await store.load("k")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_rights_that_the_documentation_lists_are_enough(kind: str, server: ValkeyServer, client: Any):
    page = (Path(__file__).parents[2] / "docs" / "stores" / "redis.md").read_text("utf-8")
    (rule,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER")]
    assert client.execute_command(*rule.replace(">a-long-password", ">p:w").split()) == b"OK"
    url = server.url.replace("redis://", "redis://sojourn:p%3Aw@")
    async with opened(kind, url) as store:
        await store.open()
        await everything(store)
        assert await store.facts() == {"server": "Redis", "version": ""}  # which takes others


@pytest.mark.parametrize("kind", KINDS)
async def test_without_the_right_to_read_tombstones_a_delete_is_refused_before_it_deletes_anything(
    kind: str, server: ValkeyServer, client: Any
):
    client.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-lrange")
    async with opened(kind, server.url.replace("redis://", "redis://blind:pw@")) as store:
        version = await store.create("old", b"1", 60_000)
        await store.regenerate("old", "new", b"1", 60_000, version=version, tombstone=30_000)
        with pytest.raises(StoreUnavailable, match="refused"):
            await store.delete("new", "old")
        assert isinstance(await store.load("new"), Stored)
        assert await store.delete("new") == Deleted(1, ())


# TLS. The server of the wheel has none, so a proxy does it.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 signed by itself, and a server's context with it."""
    path = certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, path.with_name("key.pem"))
    return path, context


@pytest.mark.parametrize("kind", OWN)
async def test_tls_with_the_authority_named_in_the_url(
    kind: str, authority: tuple[Path, ssl.SSLContext], server: ValkeyServer, client: Any
):
    path, context = authority
    with proxied(("127.0.0.1", server.port), context) as proxy:
        async with opened(kind, f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={path}") as store:
            await everything(store)


@pytest.mark.parametrize("kind", OWN)
async def test_tls_with_a_certificate_of_our_own(
    kind: str, authority: tuple[Path, ssl.SSLContext], server: ValkeyServer, client: Any
):
    path, _ = authority
    key = path.with_name("key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    context.load_verify_locations(path)
    context.verify_mode = ssl.CERT_REQUIRED
    with proxied(("127.0.0.1", server.port), context) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={path}"
        async with opened(kind, f"{url}&ssl_certfile={path}&ssl_keyfile={key}") as store:
            await everything(store)


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize(
    ("host", "query", "works"),
    [
        ("127.0.0.1", "", False),
        ("127.0.0.1", "ssl_cert_reqs=none", True),
        ("localhost", "ssl_ca_certs={path}", False),
        ("localhost", "ssl_ca_certs={path}&ssl_check_hostname=false", True),
    ],
)
async def test_tls_verifies_the_server_unless_told_otherwise(
    kind: str,
    host: str,
    query: str,
    works: bool,
    authority: tuple[Path, ssl.SSLContext],
    server: ValkeyServer,
    client: Any,
):
    path, context = authority
    with proxied(("127.0.0.1", server.port), context) as proxy:
        async with opened(kind, f"rediss://{host}:{proxy.port}?{query.format(path=path)}") as store:
            if works:
                await store.open()
            else:
                with pytest.raises(StoreUnavailable):
                    await store.open()


async def test_authorities_that_are_gone_when_they_are_needed_make_the_store_unavailable(
    authority: tuple[Path, ssl.SSLContext], tmp_path: Path
):
    copy = tmp_path / "authorities.pem"
    copy.write_bytes(authority[0].read_bytes())
    store = AsyncRedisStore.from_url(f"rediss://127.0.0.1:1?ssl_ca_certs={copy}")
    copy.unlink()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="cannot be reached: FileNotFoundError") as refused:
            await store.load("k")
        assert isinstance(refused.value.driver_error, FileNotFoundError) and refused.value.__context__ is None


# Sentinel


@pytest.fixture
def sentinels() -> Iterator[tuple[str, ValkeyServer, ValkeyServer]]:
    """The address of a sentinel, the master that it watches, and a replica."""
    with ExitStack() as stack:
        master = stack.enter_context(valkey())
        replica = stack.enter_context(valkey("--replicaof", f"127.0.0.1 {master.port}"))
        sentinel = stack.enter_context(valkey("--sentinel"))
        sentinel.ask(f"SENTINEL MONITOR main 127.0.0.1 {master.port} 1")
        sentinel.ask("SENTINEL SET main down-after-milliseconds 500 failover-timeout 2000")
        yield f"127.0.0.1:{sentinel.port}", master, replica


async def test_sentinel_leads_to_the_master_and_after_a_failover_to_the_new_one(
    sentinels: tuple[str, ValkeyServer, ValkeyServer],
):
    address, master, replica = sentinels
    url = f"redis+sentinel://{address}/main/0"
    async with opened("sync", url, timeout=1, prefix="s:") as sync, opened("async", url, timeout=1) as other:
        for store in (sync, other):
            await everything(store)
            await store.create("kept", b"{}", 60_000)
        wait_until(lambda: replica.ask("EXISTS s:kept sojourn:kept") == ":2")
        master.kill()
        deadline = time.monotonic() + 20
        for store in (sync, other):
            while True:
                try:
                    assert isinstance(await store.load("kept"), Stored)
                    assert await store.touch("kept", 60_000) is True
                except StoreError:
                    assert time.monotonic() < deadline, "no failover"
                    time.sleep(0.1)  # noqa: ASYNC251 - nothing else runs
                else:
                    break


@pytest.mark.parametrize("kind", OWN)
async def test_once_sentinel_has_named_another_master_the_former_ones_connections_are_not_used_and_not_believed(
    kind: str, sentinels: tuple[str, ValkeyServer, ValkeyServer], monkeypatch: pytest.MonkeyPatch
):
    address, master, replica = sentinels
    async with opened(kind, f"redis+sentinel://{address}/main/0") as store:
        await store.create("k", b"1", 60_000)
        assert await store.touch("k", 60_000) is True  # the server knows the script from now on
        inner: Any = getattr(store, "sync_store", store)
        found = inner._driver._clients.here()
        pool: Any = (await found if inspect.isawaitable(found) else found).connection_pool
        named = getattr(pool, "proxy", pool)

        def name_another() -> None:
            named.master_address = ("127.0.0.1", replica.port)

        name_another()
        assert isinstance(await store.load("k"), Stored)
        assert pool.master_address == ("127.0.0.1", master.port), "it was asked for"
        driver = async_driver if kind == "async" else sync_driver
        exchange, asked = driver._exchange, list[Any]()

        def late(connection: Any, command: Any) -> Any:
            asked.append(command[0])
            if len(asked) == 1:
                name_another()
            return exchange(connection, command)

        monkeypatch.setattr(driver, "_exchange", late)
        with pytest.raises(StoreTimeout, match="may have happened"):
            await store.touch("k", 60_000)
        assert asked == ["EVALSHA"]
        asked.clear()
        assert isinstance(await store.load("k"), Stored)
        assert asked == ["GET", "GET"], "from the one that is the master now"


@pytest.mark.parametrize("kind", OWN)
async def test_sentinel_is_asked_before_a_reply_is_believed_that_took_so_long_that_the_master_may_have_been_replaced(
    kind: str, sentinels: tuple[str, ValkeyServer, ValkeyServer], monkeypatch: pytest.MonkeyPatch
):
    address, _master, replica = sentinels
    async with opened(kind, f"redis+sentinel://{address}/main/0") as store:
        await store.create("k", b"1", 60_000)
        assert await store.touch("k", 60_000) is True
        inner: Any = getattr(store, "sync_store", store)
        found = inner._driver._clients.here()
        pool: Any = (await found if inspect.isawaitable(found) else found).connection_pool
        monkeypatch.setattr(async_driver if kind == "async" else sync_driver, "_SLOW", -1.0)
        ask = pool.get_master_address

        def no_sentinel() -> Any:
            raise redis.sentinel.MasterNotFoundError

        def another() -> Any:
            getattr(pool, "proxy", pool).master_address = ("127.0.0.1", replica.port)
            return as_it_was() if kind == "async" else None

        async def as_it_was() -> None:
            pool.get_master_address = ask

        pool.get_master_address = no_sentinel
        assert await store.touch("k", 60_000) is True
        pool.get_master_address = another
        with pytest.raises(StoreTimeout, match="may have happened"):
            await store.touch("k", 60_000)
        pool.get_master_address = ask
        assert await store.touch("k", 60_000) is True


async def test_a_client_of_the_app_that_asks_sentinel(sentinels: tuple[str, ValkeyServer, ValkeyServer]):
    host, _, port = sentinels[0].partition(":")
    make: Any = redis.sentinel.Sentinel
    make_async: Any = redis.asyncio.sentinel.Sentinel
    sentinel, async_sentinel = make([(host, int(port))]), make_async([(host, int(port))])
    client, async_client = sentinel.master_for("main"), async_sentinel.master_for("main")
    await everything(as_async(RedisStore(client, prefix="s:")))
    await everything(AsyncRedisStore(async_client))
    for each in (client, *sentinel.sentinels):
        each.close()
    for each in (async_client, *async_sentinel.sentinels):
        await each.aclose()


@pytest.mark.parametrize("kind", OWN)
async def test_a_service_that_sentinel_does_not_know_is_unavailable(
    kind: str, sentinels: tuple[str, ValkeyServer, ValkeyServer]
):
    async with opened(kind, f"redis+sentinel://{sentinels[0]}/other") as store:
        with pytest.raises(StoreUnavailable):
            await store.create("k", b"{}", 60_000)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
