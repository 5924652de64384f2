"""Redis by URL in the sync colour: its own connections, one for each operation at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent
from typing import Any

import pytest

from sojourn.core.store import Stored
from sojourn.errors import StoreUnavailable
from sojourn.stores import RedisStore
from sojourn.stores.redis import _direct
from sojourn.stores.redis._direct import Connections, Direct
from tests.servers import ValkeyServer, valkey
from tests.stores.redis_kinds import answering, proxied

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture
def store(server: ValkeyServer) -> Iterator[RedisStore]:
    store = RedisStore.from_url(server.url)
    yield store
    store.clear()
    store.close()


def connections(store: RedisStore) -> Connections:
    held: Connections = store._driver._clients.here()
    return held


def data(store: RedisStore, key: str) -> bytes | None:
    found = store.load(key)
    return found.data if isinstance(found, Stored) else None


def test_a_url_of_one_server_needs_no_client_of_redis_pys():
    assert isinstance(RedisStore.from_url("redis://")._driver, Direct)
    assert isinstance(RedisStore.from_url("unix:///run/redis.sock")._driver, Direct)


def test_of_many_threads_each_gets_its_own_replies(store: RedisStore):
    def work(number: int) -> None:
        key = f"k{number}"
        for turn in range(100):
            expected = b"%d %d" % (number, turn)
            if turn == 0:
                store.create(key, expected, 60_000)
            else:
                store.replace(key, expected, 60_000, version=b"%d %d" % (number, turn - 1))
            assert data(store, key) == expected

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert len(connections(store)._idle) == connections(store)._made <= 8


def test_a_thread_on_its_own_has_one_connection(store: RedisStore):
    for _ in range(5):
        assert data(store, "none") is None
    assert connections(store)._made == 1


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_reply_may_come_in_pieces(size: int, store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    store.create("k", b"\r\n$-1\r\n" * 50, 60_000)
    monkeypatch.setattr(_direct, "_CHUNK", size)
    assert data(store, "k") == b"\r\n$-1\r\n" * 50
    assert store.delete("k", "l").count == 1


def test_the_reply_to_a_write_may_take_all_of_the_time_though_a_read_is_sent_again_after_half_of_it():
    names: list[bytes] = []
    never = threading.Event()

    def answer(command: list[bytes]) -> bytes:
        names.append(command[0])
        if len(names) == 1 or command[0] == b"EVALSHA":
            never.wait(1.2)
        return b":1\r\n" if command[0] == b"EVALSHA" else b"$1\r\nx\r\n"

    with answering(answer) as url:
        store = RedisStore.from_url(f"{url}?timeout=2")
        assert data(store, "k") == b"x"
        assert store.touch("k", 60_000) is True
        store.close()
    assert names == [b"GET", b"GET", b"EVALSHA"]


def test_once_a_read_was_lost_no_connection_of_before_carries_a_write(server: ValkeyServer):
    with proxied(("127.0.0.1", server.port)) as proxy:
        store = RedisStore.from_url(f"redis://127.0.0.1:{proxy.port}?timeout=0.4")
        store.create("k", b"x", 60_000)
        held = connections(store)
        first = held._take()
        assert data(store, "k") == b"x"
        held._idle.appendleft(first)
        proxy.forget()
        assert data(store, "k") == b"x"
        second = held._take()
        assert first is not second
        assert store.touch("k", 60_000) is True
        second.close()
        store.close()


def test_a_connection_in_use_is_closed_once_it_no_longer_is():
    asked, may_answer = threading.Event(), threading.Event()

    def answer(_command: list[bytes]) -> bytes:
        asked.set()
        assert may_answer.wait(10)
        return b"$1\r\nx\r\n"

    with answering(answer) as url, ThreadPoolExecutor(1) as thread:
        store = RedisStore.from_url(url)
        held = connections(store)
        loading = thread.submit(data, store, "k")
        assert asked.wait(10)
        store.close()
        assert (held._made, len(held._idle)) == (1, 0)
        may_answer.set()
        assert loading.result(10) == b"x"
        assert not held._idle
        assert data(store, "k") == b"x", "it is opened anew"
        store.close()


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_host_whose_name_can_be_none_is_unavailable(host: str):
    store = RedisStore.from_url(f"redis://{host}")
    with pytest.raises(StoreUnavailable, match="cannot be reached") as refused:
        store.create("k", b"{}", 60_000)
    assert refused.value.__context__ is None


def test_a_connection_that_cannot_be_looked_at_is_used_as_it_is(store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    """Where the platform has no poll()."""
    cannot: Any = lambda _connection: None  # noqa: E731
    monkeypatch.setattr(_direct, "looking", cannot)
    store.create("k", b"x", 60_000)
    assert data(store, "k") == b"x"


def test_a_store_that_was_made_before_gevent_patched_the_standard_library_works(server: ValkeyServer):
    """Greenlets take turns at each wait for the server."""
    pytest.importorskip("gevent", reason="gevent has no wheel for this interpreter")
    program = """
        import sys
        from sojourn.stores import RedisStore
        store = RedisStore.from_url(sys.argv[1])
        import gevent, gevent.monkey
        gevent.monkey.patch_all()
        store.create("n", b"0", 60_000)

        def work():
            for _ in range(20):
                while True:
                    found = store.load("n")
                    if store.replace("n", b"%d" % (int(found.data) + 1), 60_000, version=found.version):
                        break

        gevent.joinall([gevent.spawn(work) for _ in range(5)], raise_error=True)
        print(store.load("n").data.decode(), store._driver._clients.here()._made > 1)
        store.close()
    """
    ran = subprocess.run(
        [sys.executable, "-c", dedent(program), f"{server.url}?prefix=gevent:"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.stdout.split() == ["100", "True"], ran.stderr
