"""The async Redis store where only async code can go wrong: cancellation, event loops, one connection for all."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import redis.asyncio

from sojourn.core.store import Stored
from sojourn.errors import StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores._waiting import LostError
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._multiplex import Multiplexed
from tests.servers import ValkeyServer, valkey
from tests.stores.eager import make_tasks_eager
from tests.stores.redis_kinds import opened, proxied

pytestmark = [pytest.mark.server, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server: ValkeyServer) -> None:
    server.ask("FLUSHALL")


async def line_of(store: Any) -> Any:
    """The connection of the running event loop."""
    return (await store._driver._clients.here()).line


def connections_of(server: ValkeyServer) -> list[str]:
    """The connections that the server has, but for that which asks for them."""
    return [line for line in server.ask("CLIENT LIST").splitlines() if "cmd=client" not in line]


async def data_of(store: Any, key: str) -> bytes:
    found = await store.load(key)
    assert isinstance(found, Stored)
    return found.data


# Cancellation


@pytest.mark.parametrize("kind", ["async", "async client"])
async def test_callers_that_stop_waiting_do_not_disturb_the_others(kind: str, server: ValkeyServer):
    """Many operations at once, some cancelled at any point: the others get their own replies."""
    chance = random.Random(7)
    async with opened(kind, server.url) as store:
        for number in range(20):
            await store.create(f"k{number}", b"%d" % number, 60_000)

        async def load(number: int) -> bool:
            if number % 3 == 0:
                return await store.touch(f"k{number}", 60_000) is True and await store.touch(f"no{number}", 1) is False
            return await data_of(store, f"k{number}") == b"%d" % number

        for _ in range(30):
            tasks = [asyncio.ensure_future(load(number)) for number in range(20)]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(chance.choice((0, 0, 0.0003)))
            for task in chance.sample(tasks, 10):
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(each is True or isinstance(each, asyncio.CancelledError) for each in done), done
            assert await load(chance.randrange(20))


@pytest.mark.parametrize("kind", ["async", "async client"])
async def test_a_wait_that_is_cancelled_leaves_the_reply_to_no_other(kind: str):
    with valkey() as server:
        async with opened(kind, server.url) as store:
            await store.create("a", b"a", 60_000)
            await store.create("b", b"b", 60_000)
            server.signal(signal.SIGSTOP)
            task = asyncio.ensure_future(store.load("a"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.signal(signal.SIGCONT)
            assert await data_of(store, "b") == b"b"


async def test_a_reply_that_is_not_waited_for_is_read_and_dropped(server: ValkeyServer):
    async with opened("async", server.url) as store:
        await store.create("a", b"a", 60_000)
        await store.create("b", b"b", 60_000)
        first = asyncio.ensure_future(data_of(store, "a"))
        second = asyncio.ensure_future(data_of(store, "b"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == b"b"
        assert not (await line_of(store))._waiting


class Cancelled(NamedTuple):
    """A write whose caller is cancelled while it waits for the reply, which the test gives."""

    task: asyncio.Task[None]
    line: Any
    told: list[object]
    """What the store has returned."""


@asynccontextmanager
async def cancelled_write(server: ValkeyServer, *, by: str) -> AsyncIterator[Cancelled]:
    """By the store itself, or as whoever has to hear of each write uses it."""
    async with opened("async", server.url) as store:
        await store.load("k")
        line = await line_of(store)
        line._transport, transport = Unsent(line._transport), line._transport
        used: Any = store
        if by == "unbroken":
            used = used.unbroken
        told: list[object] = []

        async def write() -> None:
            told.append(await used.replace("k", b"1", 60_000, version=b"0"))
            await asyncio.sleep(0)

        task = asyncio.ensure_future(write())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(line._waiting) == 1
        task.cancel("why")
        yield Cancelled(task, line, told)
        line._transport = transport


@pytest.mark.parametrize("turns", [0, 1, 3], ids=["before it goes on", "as it waits on", "later"])
async def test_a_write_whose_caller_was_cancelled_hears_of_its_reply_and_is_cancelled_then(
    turns: int, server: ValkeyServer
):
    async with cancelled_write(server, by="itself") as (task, line, told):
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not task.done()
        asyncio.get_running_loop().call_soon(line.data_received, b":1\r\n")  # not from within a task
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert line.is_open and not line._waiting and not told


@pytest.mark.parametrize("turns", [0, 1, 3], ids=["before it goes on", "as it waits on", "later"])
async def test_who_has_to_hear_of_each_write_gets_the_result_before_the_cancellation(turns: int, server: ValkeyServer):
    async with cancelled_write(server, by="unbroken") as (task, line, told):
        for _ in range(turns):
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(line.data_received, b":1\r\n")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert told == [b"1"]


@pytest.mark.parametrize("turns", [0, 1, 3], ids=["before it goes on", "as it waits on", "later"])
async def test_a_write_whose_caller_was_cancelled_hears_of_its_loss(turns: int, server: ValkeyServer):
    async with cancelled_write(server, by="unbroken") as (task, line, told):
        for _ in range(turns):
            await asyncio.sleep(0)
        line.lose(ConnectionResetError())
        with pytest.raises(StoreTimeout, match="may have happened"):
            await task
        assert not told


async def test_a_timeout_around_a_write_that_fails_ends_its_own_block_and_nothing_after_it():
    with valkey() as server:
        async with opened("async", server.url, timeout=0.3) as store:
            await store.load("k")
            server.signal(signal.SIGSTOP)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await store.touch("k", 60_000)
            await asyncio.sleep(0)
            server.signal(signal.SIGCONT)


async def test_a_write_that_nobody_waits_for_any_more_is_lost_without_a_complaint(server: ValkeyServer):
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with opened("async", server.url) as store:
        await store.load("k")
        asked = (await line_of(store)).write(("EVALSHA", b"0" * 40, 1, b"k"))
        asked.is_firm = True
        asked.reply.cancel()
        (await line_of(store)).lose(ConnectionResetError())
        del asked
        gc.collect()
    assert not told


async def test_an_operation_cancelled_while_the_connection_opens_leaves_it_to_the_others(server: ValkeyServer):
    async with opened("async", server.url) as store:
        first, second = asyncio.ensure_future(store.count()), asyncio.ensure_future(store.count())
        await asyncio.sleep(0)
        first.cancel()
        assert isinstance(await second, int)
        with pytest.raises(asyncio.CancelledError):
            await first
        assert len(connections_of(server)) == 1


# One connection


async def test_operations_of_one_turn_of_the_loop_leave_in_one_write(server: ValkeyServer):
    async with opened("async", server.url) as store:
        await store.create("k", b"x", 60_000)
        line = await line_of(store)
        line._transport = transport = Recorded(line._transport)
        assert await asyncio.gather(*(data_of(store, "k") for _ in range(50))) == [b"x"] * 50
        assert len(transport.writes) == 2  # the one before was alone: so the first left at once
        assert await asyncio.gather(*(data_of(store, "k") for _ in range(50))) == [b"x"] * 50
        assert len(transport.writes) == 3


class Recorded:
    """A transport, and what was written to it."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


class Unsent(Recorded):
    """What is written to it stays here: the test is the server."""

    def write(self, data: bytes) -> None:
        self.writes.append(data)


async def test_many_tasks_share_one_connection(server: ValkeyServer):
    async with opened("async", server.url) as store:
        await asyncio.gather(*(store.load(f"{number}") for number in range(100)))
        assert len(connections_of(server)) == 1


async def test_a_connection_lost_tells_the_sent_from_the_unsent(server: ValkeyServer):
    async with opened("async", server.url) as store:
        await store.create("k", b"0", 60_000)
        await asyncio.gather(store.load("k"), store.load("k"), store.load("k"))
        tasks = [
            asyncio.ensure_future(operation)
            for operation in (store.replace("k", b"1", 60_000, version=b"0"), store.load("k"))
        ]
        await asyncio.sleep(0)  # given to the connection
        (await line_of(store)).lose(ConnectionResetError())
        unsent = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in unsent] == [StoreUnavailable, Stored]  # a read is sent again
        assert await data_of(store, "k") == b"0"
        tasks = [
            asyncio.ensure_future(operation)
            for operation in (store.replace("k", b"1", 60_000, version=b"0"), store.load("k"))
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # written
        (await line_of(store)).lose(ConnectionResetError())
        sent = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in sent] == [StoreTimeout, Stored]
        assert isinstance(await store.load("k"), Stored), "the next operation opens another connection"


async def test_a_read_goes_elsewhere_while_a_write_waits_for_its_reply(server: ValkeyServer):
    with proxied(("127.0.0.1", server.port)) as proxy:
        async with opened("async", f"redis://127.0.0.1:{proxy.port}", timeout=2) as store:
            await store.create("k", b"0", 60_000)
            former = await line_of(store)
            proxy.forget()
            began = asyncio.get_running_loop().time()
            write = asyncio.ensure_future(store.touch("k", 60_000))
            await asyncio.sleep(0)
            assert await data_of(store, "k") == b"0"
            assert 0.9 < asyncio.get_running_loop().time() - began < 1.9
            assert not write.done() and await line_of(store) is not former
            with pytest.raises(StoreTimeout, match="may have happened"):
                await write
            assert asyncio.get_running_loop().time() - began > 1.9
            await former.closed


async def test_a_connection_on_which_only_reads_are_overdue_is_closed(server: ValkeyServer):
    with proxied(("127.0.0.1", server.port)) as proxy:
        async with opened("async", f"redis://127.0.0.1:{proxy.port}", timeout=1) as store:
            await store.create("k", b"0", 60_000)
            former = await line_of(store)
            proxy.forget()
            assert await asyncio.gather(*(data_of(store, "k") for _ in range(3))) == [b"0"] * 3
            await asyncio.wait_for(asyncio.shield(former.closed), 1)


async def test_a_connection_that_was_given_up_is_closed_though_the_last_write_on_it_is_answered():
    with valkey() as server:
        async with opened("async", server.url, timeout=1) as store:
            await store.create("k", b"0", 60_000)
            former = await line_of(store)
            server.signal(signal.SIGSTOP)
            read, write = asyncio.ensure_future(data_of(store, "k")), asyncio.ensure_future(store.touch("k", 60_000))
            await asyncio.sleep(0.75)  # the read has gone elsewhere, and the write waits on
            server.signal(signal.SIGCONT)
            assert (await read, await write) == (b"0", True)
            assert await line_of(store) is not former
            await asyncio.wait_for(asyncio.shield(former.closed), 2)


async def test_a_dead_connection_is_left_though_every_caller_gives_up_before(server: ValkeyServer):
    with proxied(("127.0.0.1", server.port)) as proxy:
        async with opened("async", f"redis://127.0.0.1:{proxy.port}", timeout=1) as store:
            await store.create("k", b"0", 60_000)
            former = await line_of(store)
            proxy.forget()
            met: list[bytes | None] = []
            for _ in range(6):
                try:
                    met.append(await asyncio.wait_for(data_of(store, "k"), 0.3))
                except TimeoutError:
                    met.append(None)
            assert met[0] is None and met[-2:] == [b"0", b"0"]
            await asyncio.wait_for(asyncio.shield(former.closed), 2)
            assert not former._waiting


async def test_a_read_has_its_own_time_where_a_write_waits_already(server: ValkeyServer):
    with proxied(("127.0.0.1", server.port)) as proxy:
        async with opened("async", f"redis://127.0.0.1:{proxy.port}", timeout=2) as store:
            await store.create("k", b"0", 60_000)
            proxy.forget()
            write = asyncio.ensure_future(store.touch("k", 60_000))
            await asyncio.sleep(0.9)  # the timer is set for the write
            began = asyncio.get_running_loop().time()
            assert await data_of(store, "k") == b"0"
            assert 0.9 < asyncio.get_running_loop().time() - began < 1.1 + 0.9
            with pytest.raises(StoreTimeout):
                await write


async def test_the_connection_keeps_nothing_of_the_request_that_opened_it(server: ValkeyServer):
    class Request: ...

    current: contextvars.ContextVar[Request] = contextvars.ContextVar("current")

    async def request() -> weakref.ref[Request]:
        one = Request()
        current.set(one)
        await store.load("k")
        return weakref.ref(one)

    async with opened("async", server.url) as store:
        kept = [await asyncio.create_task(request()) for _ in range(2)]
        await asyncio.sleep(0)
        gc.collect()
        assert kept[0]() is None


async def test_an_idle_connection_is_kept_awake(server: ValkeyServer):
    async with opened("async", server.url) as store:
        await store.load("k")
        transport = (await line_of(store))._transport
        assert transport is not None
        kept = transport.get_extra_info("socket")
        assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


async def test_closing_tells_those_who_wait(server: ValkeyServer):
    store = AsyncRedisStore.from_url(server.url)
    await store.open()
    task = asyncio.ensure_future(store.create("k", b"0", 60_000))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreError):
        await task
    await store.close()
    await store.open()
    await store.close()


async def test_a_store_that_is_closed_while_it_connects_leaves_no_connection(server: ValkeyServer):
    store = AsyncRedisStore.from_url(server.url)
    task = asyncio.ensure_future(store.load("k"))
    await asyncio.sleep(0)
    assert not task.done()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed at once"):
        await task
    assert connections_of(server) == []


async def test_a_server_that_is_back_is_used_by_eager_tasks_too():
    with valkey() as server:
        make_tasks_eager()
        server.kill()
        # Of a Unix socket it is told at once that nobody listens.
        async with opened("async", f"redis+unix://{server.socket}") as store:
            with pytest.raises(StoreUnavailable):
                await store.load("k")
            server.start()
            assert await store.load("k") is None


async def test_a_loop_that_stood_still_is_no_timeout(server: ValkeyServer):
    async with opened("async", server.url, timeout=0.1) as store:
        await store.create("k", b"x", 60_000)
        for _ in range(3):
            task = asyncio.ensure_future(data_of(store, "k"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            time.sleep(0.25)  # noqa: ASYNC251 - the point
            assert await task == b"x"


async def test_each_operation_has_its_time_even_on_a_busy_connection():
    with valkey() as server:
        async with opened("async", server.url, timeout=0.3) as store:
            await store.create("k", b"x", 60_000)
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                assert await data_of(store, "k") == b"x"
            server.signal(signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(StoreUnavailable) as refused:
                await store.load("k")
            assert 0.3 <= time.monotonic() - began < 1
            assert isinstance(refused.value.driver_error, TimeoutError)


# Event loops


FORKING = """
import asyncio, os, sys
from sojourn.stores.redis._async.store import AsyncRedisStore

store = AsyncRedisStore.from_url(sys.argv[1])

async def use(key):
    for _ in range(200):
        assert (await store.load(key)).data == key.encode(), key

async def main():
    for key in ("parent", "child"):
        await store.create(key, key.encode(), 60_000)
    await use("parent")
    child = os.fork()
    if child == 0:
        failed = True
        try:
            asyncio.run(use("child"))
            failed = False
        finally:
            os._exit(failed)
    await use("parent")
    assert os.waitpid(child, 0)[1] == 0
    await use("parent")
    await store.close()

asyncio.run(main())
print("done")
"""


def test_a_forked_process_opens_its_own_connection(server: ValkeyServer):
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, server.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


def test_it_runs_on_uvloop_too(server: ValkeyServer):
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    program = (
        "import asyncio, sys, uvloop\n"
        "from sojourn.stores.redis._async.store import AsyncRedisStore\n"
        "async def main():\n"
        "    store = AsyncRedisStore.from_url(sys.argv[1])\n"
        "    await store.create('uv', b'x', 60_000)\n"
        "    print((await asyncio.gather(*(store.load('uv') for _ in range(10))))[9].data)\n"
        "    await store.close()\n"
        "uvloop.run(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout == "b'x'\n"


# Servers that are none


@asynccontextmanager
async def pretending(
    behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that behaves so with each connection; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def says_too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"-ERR max number of clients reached\r\n" * 3)
    await reader.read()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def accepts_then_closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"+OK\r\n")
    await writer.drain()


@pytest.mark.parametrize("behave", [closes, speaks_http, says_too_much, says_nothing, accepts_then_closes])
async def test_a_server_that_speaks_no_redis_is_unavailable(behave: Any):
    async with pretending(behave) as url, opened("async", f"{url}?connect_timeout=0.3", timeout=0.3) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as refused:
                await asyncio.gather(store.load("k"), store.load("l"))
            assert refused.value.driver_error is not None or "at once" in str(refused.value)
            assert refused.value.__cause__ is None and refused.value.__context__ is None
            assert "secret" not in str(refused.value)


async def test_a_host_that_cannot_be_is_unavailable():
    for host in ("nowhere.invalid", "a" * 300):
        store = AsyncRedisStore.from_url(f"redis://{host}:1?connect_timeout=2")
        with pytest.raises(StoreUnavailable):
            await store.open()


async def test_a_server_that_accepts_no_connection_is_unavailable_in_time():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        crowd = []
        for _ in range(4):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
            crowd.append(each)
        try:
            store = AsyncRedisStore.from_url(f"redis://:pw@127.0.0.1:{port}?connect_timeout=0.2")
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await store.create("k", b"{}", 60_000)
            assert time.monotonic() - began < 2
        finally:
            for each in crowd:
                each.close()


async def test_an_idle_connection_that_the_server_closed_is_noticed(server: ValkeyServer):
    async with opened("async", server.url) as store:
        await store.create("k", b"{}", 60_000)
        line = await line_of(store)
        server.ask("CLIENT KILL TYPE normal")
        await asyncio.wait_for(asyncio.shield(line.closed), 5)
        assert await store.touch("k", 60_000) is True
        assert await line_of(store) is not line


def test_a_url_of_one_server_is_multiplexed_in_the_async_colour():
    assert isinstance(AsyncRedisStore.from_url("redis://")._driver, Multiplexed)
    assert isinstance(AsyncRedisStore.from_url("unix:///run/redis.sock")._driver, Multiplexed)


async def test_a_command_that_is_alone_leaves_at_once_and_several_leave_together(server: ValkeyServer):
    async with opened("async", server.url) as store:
        await store.load("k")
        await asyncio.sleep(0)  # what is sent where a reply was waited for leaves with what others send there
        line = await line_of(store)
        line._transport = transport = Recorded(line._transport)
        asking = line.send(("GET", b"one")).reply
        assert len(transport.writes) == 1
        others = [line.send(("GET", b"two")).reply, line.send(("GET", b"three")).reply]
        assert len(transport.writes) == 1
        assert await asyncio.gather(asking, *others) == [None] * 3
        assert len(transport.writes) == 2
        # Who had company a moment ago waits for it.
        asking = line.send(("GET", b"four")).reply
        assert len(transport.writes) == 2
        await asking
        assert len(transport.writes) == 3
        await asyncio.sleep(0)  # as above
        asking = line.send(("GET", b"five")).reply
        assert len(transport.writes) == 4
        await asking


async def test_tasks_go_on_in_the_turn_that_brings_their_replies_and_what_they_send_leaves_in_one_write(
    server: ValkeyServer,
):
    async with opened("async", server.url) as store:
        await store.load("k")
        await asyncio.sleep(0)
        line = await line_of(store)
        line._is_alone = False  # else the first leaves at once, before the others
        line._transport = transport = Unsent(line._transport)
        told: list[int] = []

        async def ask_twice(number: int) -> None:
            for _ in range(2):
                assert await line.send(("GET", b"k")).reply is None
                told.append(number)

        asking = asyncio.gather(*(ask_twice(number) for number in range(10)))
        await asyncio.sleep(0)  # they ask
        await asyncio.sleep(0)  # what they asked leaves
        assert len(transport.writes) == 1 and not told
        for rounds in (1, 2):
            asyncio.get_running_loop().call_soon(line.data_received, b"$-1\r\n" * 10)  # not from within a task
            await asyncio.sleep(0)
            assert told == [*range(10)] * rounds and len(transport.writes) == 2
        await asking


async def test_an_interrupt_of_one_that_goes_on_keeps_no_other_from_it(server: ValkeyServer):
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    async with opened("async", server.url) as store:
        await store.load("k")
        line = await line_of(store)
        told: list[Any] = []
        await asyncio.sleep(0)
        line._is_alone = False
        replies = [line.send(("GET", name)).reply for name in (b"one", b"two")]
        for reply, callback in zip(replies, (interrupt, told.append), strict=True):
            reply.add_done_callback(callback, context=contextvars.copy_context())
        line._flush()
        with pytest.raises(KeyboardInterrupt):
            line.data_received(b"$-1\r\n$-1\r\n")
        assert not told
        await asyncio.sleep(0)
        assert told == replies[1:] and not line._is_waking
        line.lose(ConnectionResetError())  # the replies of the server itself would be two too many


async def test_of_two_commands_the_one_that_left_at_once_is_told_as_sent(server: ValkeyServer):
    async with opened("async", server.url) as store:
        await store.load("k")
        await asyncio.sleep(0)  # what is sent where a reply was waited for leaves with what others send there
        line = await line_of(store)
        replies = [line.send(("GET", b"one")).reply, line.send(("GET", b"two")).reply]
        line.lose(ConnectionResetError())
        lost = await asyncio.gather(*replies, return_exceptions=True)
        assert [isinstance(each, LostError) and each.sent for each in lost] == [True, False]


async def test_with_a_near_cache_a_read_and_its_lifetime_leave_together(server: ValkeyServer):
    async with opened("async", f"{server.url}?near_cache=100000") as store:
        await store.create("k", b"{}", 60_000)
        line = await line_of(store)
        line._transport = transport = Recorded(line._transport)
        await store.load("k")
        assert [data.count(b"*2\r\n") for data in transport.writes] == [2]


async def test_each_of_several_who_watch_is_told_of_changes_and_of_the_loss(server: ValkeyServer):
    store = AsyncRedisStore.from_url(server.url)
    told: list[list[object]] = [[], []]
    watches = [await store.watch(each.append) for each in told]
    for key, watch in zip("ab", watches, strict=True):
        assert watch is not None
        await store.create(key, b"1", 60_000)
        await watch.look([key])
        assert watch.is_told
    await store.touch("a", 60_000)
    await store.touch("b", 60_000)
    await store.load("a")
    assert ["a"] in told[0] and ["b"] in told[1]
    await store.close()
    assert [each[-1] for each in told] == [None, None]
    assert not any(watch.is_told for watch in watches if watch is not None)


async def test_with_a_client_of_the_application_nothing_tells_of_changes(server: ValkeyServer):
    async with redis.asyncio.Redis.from_url(server.url) as client:
        assert await AsyncRedisStore(client).watch(lambda _keys: None) is None
