"""Whose a reply is, on a connection: what is pushed is dropped, and what is out of step ends it, before it shifts every later reply."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

import hiredis
import pytest
import redis
import redis.asyncio

from sojourn.core.store import Stored
from sojourn.errors import StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores import AsyncRedisStore
from sojourn.stores.redis._async import driver as async_driver
from sojourn.stores.redis._errors import OutOfStepError
from sojourn.stores.redis._sync import driver as sync_driver
from sojourn.testing import FullStore
from tests.servers import ValkeyServer, valkey
from tests.stores.redis_kinds import KINDS, answering, opened

pytestmark = [pytest.mark.server, pytest.mark.anyio]

HOUR: Final = 3_600_000
LOADS: Final = 8


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Echo:
    """A server that says to each GET its name, and to the fourth something else beside it."""

    def __init__(self, before: bytes = b"", after: bytes = b"") -> None:
        self._before = before
        self._after = after
        self._gets = 0

    def __call__(self, command: list[bytes]) -> bytes:
        if command[0] == b"HELLO":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n"
        if command[0] != b"GET":
            return b":0\r\n" if command[0] == b"EXISTS" else b"+OK\r\n"
        self._gets += 1
        own = b"$%d\r\n%b\r\n" % (len(command[1]), command[1])
        return self._before + own + self._after if self._gets == 4 else own


async def met(store: FullStore, key: str) -> str:
    """What a load meets: its own record, another's, or an error."""
    try:
        found = await store.load(key)
    except StoreError as error:
        return type(error.driver_error).__name__
    return "own" if isinstance(found, Stored) and found.data == f"sojourn:{key}".encode() else "FOREIGN"


async def all_at_once(store: FullStore) -> list[str]:
    return await asyncio.gather(*(met(store, f"k{number}") for number in range(LOADS)))


async def one_by_one(store: FullStore) -> list[str]:
    return [await met(store, f"k{number}") for number in range(LOADS)]


PUSHED: Final = {
    "an invalidation": b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n",
    "a message": b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n",
}
NO_REPLY: Final = {
    "a list": b"*1\r\n$1\r\nx\r\n",
    "a number": b":5\r\n",
    "false": b"#f\r\n",
    "true": b"#t\r\n",
    "a fraction": b",1.5\r\n",
    "a map": b"%1\r\n$1\r\na\r\n$1\r\nb\r\n",
}
"""What is no reply to GET."""
ONE_TOO_MANY: Final = {"a text": b"$1\r\nx\r\n", "nothing": b"$-1\r\n", "an error": b"-ERR no\r\n", **NO_REPLY}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("pushed", PUSHED)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_server_pushes_is_dropped(kind: str, pushed: str, place: str):
    for loads in (all_at_once, one_by_one):
        with answering(Echo(**{place: PUSHED[pushed]})) as url:
            async with opened(kind, url) as store:
                assert await loads(store) == ["own"] * LOADS


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("more", ONE_TOO_MANY)
async def test_on_the_shared_connection_one_reply_too_many_ends_it_before_anybody_gets_one(more: str, place: str):
    with answering(Echo(**{place: ONE_TOO_MANY[more]})) as url:
        async with opened("async", url) as store:
            await store.open()
            cause = "ReplyError" if more == "an error" else "OutOfStepError"
            first, *rest = await all_at_once(store)
            assert rest == [cause] * (LOADS - 1)
            assert first in ("own", cause)  # it left alone, and its reply may have come before the others'
            assert await all_at_once(store) == ["own"] * LOADS


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("more", ONE_TOO_MANY)
async def test_on_the_shared_connection_it_is_noticed_with_one_operation_at_a_time_too(more: str, place: str):
    with answering(Echo(**{place: ONE_TOO_MANY[more]})) as url:
        async with opened("async", url) as store:
            await store.open()
            cause = "ReplyError" if more == "an error" else "OutOfStepError"
            assert await one_by_one(store) == ["own"] * 3 + [cause] + ["own"] * 4


@pytest.mark.parametrize("no_reply", NO_REPLY)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "async"])
async def test_in_a_pool_what_is_no_reply_ends_the_connection(kind: str, no_reply: str):
    with answering(Echo(before=NO_REPLY[no_reply])) as url:
        async with opened(kind, url) as store:
            assert await one_by_one(store) == ["own"] * 3 + ["OutOfStepError"] + ["own"] * 4


@pytest.mark.parametrize("more", ONE_TOO_MANY)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "async"])
async def test_in_a_pool_a_connection_with_a_reply_too_many_is_given_up(kind: str, more: str):
    with answering(Echo(after=ONE_TOO_MANY[more])) as url:
        async with opened(kind, url) as store:
            assert await one_by_one(store) == ["own"] * LOADS


async def test_on_the_shared_connection_what_comes_while_nobody_asks_ends_it():
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b":0\r\n")  # to EXISTS
        await asyncio.sleep(0.05)
        writer.write(b"$1\r\nx\r\n")
        await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    store = AsyncRedisStore.from_url(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await store.open()
    await asyncio.wait_for(ended.wait(), 5)
    await store.close()
    server.close()


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"$1\r\nx\r\n", OutOfStepError("")),
        (b"-ERR max number of clients reached\r\n", hiredis.ReplyError("ERR max number of clients reached")),
    ],
)
async def test_what_comes_before_a_command_has_left_is_no_reply_to_it_but_perhaps_the_reason(
    said: bytes, cause: Exception
):
    """It was on its way when the command was given to the connection."""
    with answering(Echo()) as url:
        async with opened("async", url) as store:
            await asyncio.gather(store.open(), store.open())
            await asyncio.gather(store.open(), store.open())  # so that the next does not leave at once
            line = (await store._driver._clients.here()).line  # type: ignore[attr-defined]
            task = asyncio.ensure_future(store.load("k"))
            await asyncio.sleep(0)
            assert line._unsent
            line.data_received(said)
            with pytest.raises(StoreUnavailable, match=f"cannot be reached: {type(cause).__name__}") as failed:
                await task
            assert type(failed.value.driver_error) is type(cause) and str(failed.value.driver_error) == str(cause)
            assert await met(store, "k") == "own"


async def test_what_came_before_a_command_was_given_is_no_reply_to_it_though_nobody_has_read_it():
    said, say = threading.Event(), threading.Event()

    def serve() -> None:
        for is_first in (True, False):
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b":0\r\n" if is_first else b"$9\r\nsojourn:k\r\n")
                if is_first:
                    say.wait(10)
                    connection.sendall(b"$1\r\nx\r\n")
                    said.set()
                connection.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        async with opened("async", f"redis://127.0.0.1:{listening.getsockname()[1]}") as store:
            await store.open()
            say.set()
            said.wait(10)  # the event loop stands still
            assert await met(store, "k") == "own"
        thread.join()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_write_on_a_connection_out_of_step_may_have_happened(kind: str):
    def answer(command: list[bytes]) -> bytes:
        return b",1.5\r\n" if command[0] == b"EVALSHA" else Echo()(command)

    with answering(answer) as url:
        async with opened(kind, url) as store:
            with pytest.raises(StoreTimeout, match="may have happened: OutOfStepError") as failed:
                await store.create("k", b"{}", HOUR)
            assert isinstance(failed.value.driver_error, OutOfStepError)
            assert failed.value.__cause__ is None and failed.value.__context__ is None


# Connections that have ended


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


END: Final = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def outlives(store: FullStore, end: Callable[[], object]) -> None:
    """Every operation works at once though the server has closed all idle connections before it."""
    operations: list[Callable[[], Any]] = [
        lambda: store.load("k"),
        lambda: store.touch("k", HOUR),
        store.count,
        lambda: scanned(store),
        lambda: store.by_owner("ann"),
        lambda: store.set_owner("k", "bob", version=b"{}"),
        lambda: store.delete("k"),
    ]
    for operation in operations:
        await asyncio.gather(*(store.create("k", b"{}", HOUR, owner="ann") for _ in range(5)))
        end()
        await asyncio.sleep(0.05)
        assert await operation()


async def scanned(store: FullStore) -> list[str]:
    return [key async for key, _ in store.scan()]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_the_server_closed_while_it_was_idle_fails_nobody(kind: str, server: ValkeyServer):
    with redis.Redis.from_url(server.url) as admin:
        async with opened(kind, server.url) as store:
            await outlives(store, lambda: admin.execute_command(*END))
        admin.flushall()


@pytest.mark.parametrize("kind", KINDS)
async def test_in_a_cluster_a_connection_that_a_node_closed_while_it_was_idle_fails_nobody(
    kind: str, valkey_cluster: str
):
    with redis.RedisCluster.from_url(valkey_cluster.replace("redis+cluster", "redis")) as cluster:
        nodes: list[Any] = [redis.Redis(host=node.host, port=node.port) for node in cluster.get_primaries()]
        async with opened(kind, valkey_cluster) as store:
            await outlives(store, lambda: [node.execute_command(*END) for node in nodes])
        for node in nodes:
            node.flushall()
            node.close()


@pytest.mark.parametrize("name", ["can_read", "can_read_destructive"])
@pytest.mark.parametrize(
    ("said", "expected"), [(True, True), (False, False), (redis.ConnectionError("closed"), True), (OSError(), True)]
)
async def test_a_connection_is_out_of_step_where_something_has_come_or_its_end(
    name: str, said: bool | Exception, expected: bool
):
    """Both names that redis-py has had for it."""

    def look() -> bool:
        if isinstance(said, Exception):
            raise said
        return said

    async def look_async() -> bool:
        return look()

    assert sync_driver._is_out_of_step(SimpleNamespace(**{name: look})) is expected
    assert await async_driver._is_out_of_step(SimpleNamespace(**{name: look_async})) is expected
