"""The near cache of the async Redis store: what it serves is what the server has, or had a moment ago."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sojourn.core.store import Stored, near_of
from sojourn.errors import ConfigurationError, StoreError, StoreUnavailable
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._near import NearCaches
from sojourn.stores.redis._sync.store import RedisStore
from tests.servers import ValkeyServer, valkey
from tests.stores.redis_kinds import proxied

pytestmark = [pytest.mark.server, pytest.mark.anyio]

MINUTE = 60_000


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


@asynccontextmanager
async def near_store(url: str, near_cache: int = 1 << 20, window: float = 60, **options: Any) -> AsyncIterator[Any]:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    store = AsyncRedisStore.from_url(f"{url}?near_cache={near_cache}&near_cache_window={window}&{query}".rstrip("&"))
    try:
        yield store
    finally:
        await store.close()


def known(store: Any, key: str) -> bytes | None:
    found = store.near(key)
    return None if found is None else found.data


async def cache_of(store: Any) -> Any:
    """The near cache of the running event loop."""
    return (await store._driver._clients.here()).line.near


async def test_a_record_that_was_read_is_known_until_it_is_written(server: ValkeyServer):
    async with near_store(server.url) as store:
        await store.create("k", b"one", MINUTE)
        assert known(store, "k") is None  # nothing was read
        await store.load("k")
        found = store.near("k")
        assert found is not None and found.data == found.version == b"one"
        assert MINUTE - 10_000 < found.expires_in <= MINUTE
        await store.replace("k", b"two", MINUTE, version=b"one")
        assert known(store, "k") is None
        await store.load("k")
        assert known(store, "k") == b"two"


async def test_what_never_expires_has_no_end(server: ValkeyServer):
    async with near_store(server.url) as store:
        await store.create("k", b"one", MINUTE)
        server.ask("PERSIST sojourn:k")
        await store.load("k")
        assert store.near("k") == Stored(b"one", b"one", None)


async def test_nothing_is_known_of_what_is_not_there_or_is_a_tombstone(server: ValkeyServer):
    async with near_store(server.url) as store:
        await store.create("old", b"one", MINUTE)
        await store.load("old")
        await store.regenerate("old", "new", b"two", MINUTE, version=b"one", tombstone=MINUTE)
        for key in ("none", "old"):
            await store.load(key)
            assert known(store, key) is None


WRITES: dict[str, Any] = {
    "replace": lambda store: store.replace("k", b"two", MINUTE, version=b"one"),
    "regenerate": lambda store: store.regenerate("k", "new", b"two", MINUTE, version=b"one", tombstone=MINUTE),
    "touch": lambda store: store.touch("k", MINUTE),
    "delete": lambda store: store.delete("k"),
    "clear": lambda store: store.clear(),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_of_another_process_is_told(write: str, server: ValkeyServer):
    async with near_store(server.url) as store, near_store(server.url) as other:
        await store.create("k", b"one", MINUTE)
        await store.load("k")
        await WRITES[write](other)
        await store.open()  # a reply: what was done before it has been told
        assert known(store, "k") is None


@pytest.mark.parametrize("command", ["DEL sojourn:k", "SET sojourn:k x", "PEXPIRE sojourn:k 9", "FLUSHALL", "FLUSHDB"])
async def test_whatever_is_done_with_the_servers_own_tool_is_told(command: str, server: ValkeyServer):
    async with near_store(server.url) as store:
        await store.create("k", b"one", MINUTE)
        await store.load("k")
        assert known(store, "k") == b"one"
        server.ask(command)
        await store.open()
        assert known(store, "k") is None


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_of_our_own_is_known_with_its_reply_whatever_is_read_meanwhile(write: str, server: ValkeyServer):
    """As the server's push comes after the reply, perhaps in another packet."""
    async with near_store(server.url) as store:
        for _ in range(200):
            await store.delete("k", "new")
            await store.create("k", b"one", MINUTE)
            await store.load("k")
            reads = [asyncio.ensure_future(store.load("k")) for _ in range(3)]
            await WRITES[write](store)
            assert known(store, "k") != b"one" or write == "touch"
            await asyncio.gather(*reads)
            assert known(store, "k") != b"one" or write == "touch"


async def test_many_writers_and_readers_never_see_a_record_older_than_their_own_last_write(server: ValkeyServer):
    chance = random.Random(3)
    async with near_store(server.url, near_cache=20_000) as store:
        served = 0

        async def write(key: str) -> None:
            nonlocal served
            version = b"0"
            await store.create(key, version, MINUTE)
            for number in range(1, 120):
                data = b"%d" % number
                assert await store.replace(key, data, MINUTE, version=version) == data
                version = data
                for _ in range(chance.randrange(4)):
                    found = known(store, key)
                    assert found in (None, version)
                    served += found is not None
                    await store.load(key)

        async def read() -> None:
            while True:
                await store.load(f"k{chance.randrange(20)}")

        readers = [asyncio.ensure_future(read()) for _ in range(5)]
        await asyncio.gather(*(write(f"k{number}") for number in range(20)))
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        assert served > 500


async def test_a_write_on_another_event_loop_is_known_there_and_here_at_once(server: ValkeyServer):
    async with near_store(server.url) as store:
        written, go_on = threading.Event(), threading.Event()
        problems: list[str] = []

        async def elsewhere() -> None:
            for number in range(50):
                await asyncio.to_thread(go_on.wait, 30)
                go_on.clear()
                data = b"%d" % (2 * number + 1)
                if await store.replace("k", data, MINUTE, version=b"%d" % (2 * number)) != data:
                    problems.append("not written")
                written.set()
            await store.close()

        await store.create("k", b"0", MINUTE)
        thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
        thread.start()
        for number in range(50):
            assert (await store.load("k")).data == b"%d" % (2 * number)
            reads = [asyncio.ensure_future(store.load("k")) for _ in range(3)]
            await asyncio.sleep(0)  # they leave
            go_on.set()
            written.wait(30)  # this event loop stands still: no push is read
            written.clear()
            assert known(store, "k") is None
            await asyncio.gather(*reads)
            assert known(store, "k") in (None, b"%d" % (2 * number + 1))
            old, new = b"%d" % (2 * number + 1), b"%d" % (2 * number + 2)
            assert await store.replace("k", new, MINUTE, version=old) == new
        thread.join(30)
        assert problems == []


async def test_after_the_window_the_server_is_asked(server: ValkeyServer):
    async with near_store(server.url, window=5) as store:
        cache = None
        await store.create("k", b"one", MINUTE)
        await store.load("k")
        cache = await cache_of(store)
        name, now = b"sojourn:k", asyncio.get_running_loop().time()
        assert cache.get(name, now) is not None
        assert cache.get(name, now + 4.5) is not None
        assert cache.get(name, now + 5.1) is None
        await store.open()  # the server is there, and has said nothing of the record
        assert cache.get(name, asyncio.get_running_loop().time()) is not None


async def test_the_window_begins_when_the_command_left_and_not_when_its_reply_was_read(server: ValkeyServer):
    async with near_store(server.url, window=5) as store:
        await store.create("k", b"one", MINUTE)
        await store.load("k")
        cache = await cache_of(store)
        before = asyncio.get_running_loop().time()
        asking = asyncio.ensure_future(store.open())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        threading.Event().wait(0.2)  # the event loop is kept busy while the reply comes
        await asking
        assert cache._known_at < before + 0.1


async def test_it_expires_here_no_later_than_there(server: ValkeyServer):
    async with near_store(server.url) as store:
        await store.create("k", b"one", 5_000)
        before = asyncio.get_running_loop().time()
        await store.load("k")
        cache = await cache_of(store)
        assert cache.get(b"sojourn:k", before + 4.5) is not None
        assert cache.get(b"sojourn:k", before + 5.0) is None
        assert cache.size == 0


async def test_it_takes_no_more_than_its_bytes_and_keeps_what_was_used_last(server: ValkeyServer):
    async with near_store(server.url, near_cache=5_000) as store:
        for number in range(10):
            await store.create(f"k{number}", b"x" * 500, MINUTE)
        cache = await cache_of(store)
        for number in range(10):
            await store.load(f"k{number}")
            assert cache.size <= 5_000
            assert known(store, "k0") is not None
        assert [number for number in range(10) if known(store, f"k{number}")] == [0, 5, 6, 7, 8, 9]
        await store.create("large", b"x" * 5_000, MINUTE)
        await store.load("large")
        assert known(store, "large") is None
        assert cache.size == 0


async def test_with_the_connection_all_is_forgotten(server: ValkeyServer):
    with proxied(("127.0.0.1", server.port)) as proxy:
        async with near_store(f"redis://127.0.0.1:{proxy.port}") as store:
            await store.create("k", b"one", MINUTE)
            await store.load("k")
            cache = await cache_of(store)
            assert cache.size
            proxy.losing = "connection"
            await store.open()  # a read, which is sent again on another connection
            assert known(store, "k") is None
            assert cache.size == 0
            await store.load("k")
            assert known(store, "k") == b"one"


async def test_a_write_whose_reply_is_lost_is_known_to_be_possible(server: ValkeyServer):
    with proxied(("127.0.0.1", server.port)) as proxy:
        async with near_store(f"redis://127.0.0.1:{proxy.port}") as store:
            await store.create("k", b"one", MINUTE)
            await store.load("k")
            proxy.losing = "connection"
            with pytest.raises(StoreError):
                await store.replace("k", b"two", MINUTE, version=b"one")
            assert known(store, "k") is None
            assert (await store.load("k")).data == known(store, "k") == b"two"


async def test_a_caller_that_stops_waiting_for_its_write_leaves_nothing_stale(server: ValkeyServer):
    async with near_store(server.url) as store:
        await store.create("k", b"0", MINUTE)
        version = b"0"
        for number in range(1, 100):
            await store.load("k")
            writing = asyncio.ensure_future(store.replace("k", b"%d" % number, MINUTE, version=version))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            version = (await store.load("k")).data
            assert known(store, "k") in (None, version)


async def test_it_works_beside_a_password_and_another_database():
    with valkey("--requirepass", "geheim") as server:
        address = f"127.0.0.1:{server.port}"
        for login in (":geheim@", "default:geheim@"):
            async with near_store(f"redis://{login}{address}/3") as store:
                await store.create(login.strip(":@"), b"one", MINUTE)
                await store.load(login.strip(":@"))
                assert known(store, login.strip(":@")) == b"one"
        async with near_store(f"redis://:falsch@{address}") as store:
            with pytest.raises(StoreUnavailable, match="WRONGPASS"):
                await store.open()


async def test_nothing_is_known_before_the_first_command_of_an_event_loop(server: ValkeyServer):
    async with near_store(server.url) as store:
        assert store.near("k") is None


async def test_without_the_option_there_is_none(server: ValkeyServer):
    store = AsyncRedisStore.from_url(server.url)
    assert near_of(store) is None
    await store.close()


async def test_it_is_refused_in_words_where_it_cannot_be_kept_true():
    for scheme in ("redis+cluster://localhost", "redis+sentinel://localhost/service"):
        with pytest.raises(ConfigurationError, match="near_cache"):
            AsyncRedisStore.from_url(f"{scheme}?near_cache=1000")
    with pytest.raises(ConfigurationError, match=r"near_cache.*in a sync store"):
        RedisStore.from_url("redis://localhost?near_cache=1000")
    with pytest.raises(ConfigurationError, match="near_cache_window"):
        AsyncRedisStore.from_url("redis://localhost?near_cache=1000&near_cache_window=0")


async def test_a_subclass_that_may_have_changed_load_is_not_passed_over(server: ValkeyServer):
    class Counting(AsyncRedisStore):
        """One that does something at each load."""

    store = Counting.from_url(f"{server.url}?near_cache=1000")
    assert near_of(store) is None
    await store.close()


def test_a_forked_process_tells_nothing_to_the_caches_of_its_parent(monkeypatch):
    caches = NearCaches(1000, 1)
    inherited = caches.open()
    monkeypatch.setattr("os.getpid", lambda: inherited.process + 1)
    own = caches.open()
    caches.tell((b"k",), own)
    assert not inherited._written_elsewhere


def test_what_arrives_while_another_event_loop_writes_it_is_not_kept():
    caches = NearCaches(1000, 60)
    cache, other = caches.open(), caches.open()
    mark = cache.mark
    cache.heard(0)
    cache.begin(b"k", b"one", mark)
    other.written([b"k"])  # between the two replies, on another thread
    cache.complete(b"k", MINUTE, 0, mark)
    assert cache.get(b"k", 1) is None
    assert cache.size == 0


def test_what_else_a_server_pushes_changes_nothing():
    cache = NearCaches(1000, 60).open()
    cache.heard(0)
    cache.begin(b"k", b"one", cache.mark)
    cache.complete(b"k", MINUTE, 0, cache.mark)
    cache.invalidate([b"message", b"k"])
    assert cache.get(b"k", 1) is not None


async def test_the_caches_of_event_loops_that_are_gone_are_let_go(server: ValkeyServer):
    async with near_store(server.url) as store:
        await store.open()
        await asyncio.to_thread(asyncio.run, store.open())
        await store.close()
        await store.open()
        assert [one is asyncio.get_running_loop() for one in store._driver._wires] == [True]
        assert len(store._driver._nears._all) == 1
