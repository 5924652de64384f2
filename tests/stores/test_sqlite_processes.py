"""Several processes on one SQLite file: nothing is lost, nothing comes back, and no caller learns that it is locked."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from sojourn.core.store import CONFLICT, MISSING, Stored
from sojourn.stores.sqlite.store import AsyncSQLiteStore, SQLiteStore
from tests.stores.in_fork import in_fork

DAY = 24 * 3_600_000
PROCESSES = 5

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(path)) as store:
        yield store


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own, with a store on the path that is its first argument."""
    head = """if True:
        import os, sys, time
        from sojourn.stores.base import CONFLICT, MISSING, Stored
        from sojourn.stores.sqlite import SQLiteStore
        DAY = 24 * 3_600_000
        store = SQLiteStore(sys.argv[1])
        """
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", head + code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip


def together(code: str, path: Path, processes: int = PROCESSES) -> list[str]:
    """What each of several processes prints that run the same code at the same time, each with its number."""
    running = [python(f"print('ready', flush=True); sys.stdin.read()\n{code}", path, n) for n in range(processes)]
    for process in running:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    results = [process.communicate(timeout=25) for process in running]
    assert [(error, process.returncode) for (_, error), process in zip(results, running, strict=True)] == [
        ("", 0)
    ] * processes
    return [out for out, _ in results]


forking = pytest.mark.filterwarnings("ignore:.*use of fork.* may lead to deadlocks:DeprecationWarning")
"""Other tests may have left threads behind, AnyIO's workers among them."""


# Many processes at once


def test_processes_that_start_at_once_create_the_file_once(path: Path) -> None:
    code = """
        store.open()
        store.create(f"key{sys.argv[2]}", b"data", DAY)
        store.close()"""
    together(code, path, 8)
    with closing(SQLiteStore(path)) as store:
        assert sorted(key for key, _ in store.scan()) == [f"key{n}" for n in range(8)]


def test_increments_by_compare_and_set_are_counted_exactly(path: Path, store: SQLiteStore) -> None:
    store.create("counter", b"0", DAY)
    code = """
        import threading
        def increment():
            for _ in range(30):
                while True:
                    found = store.load("counter")
                    result = store.replace("counter", b"%d" % (int(found.data) + 1), DAY, version=found.version)
                    if result is not CONFLICT:
                        break
        threads = [threading.Thread(target=increment) for _ in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        store.close()"""
    together(code, path)
    found = store.load("counter")
    assert isinstance(found, Stored)
    assert int(found.data) == PROCESSES * 2 * 30


def test_edits_of_different_keys_never_conflict(path: Path, store: SQLiteStore) -> None:
    code = """
        for number in range(10):
            key = f"{sys.argv[2]}-{number}"
            version = store.create(key, b"0", DAY)
            for edit in range(20):
                version = store.replace(key, b"%d" % edit, DAY, version=version)
                assert isinstance(version, int), version
        store.close()"""
    together(code, path)
    records = dict(store.scan())
    assert len(records) == PROCESSES * 10
    assert {record.data for record in records.values()} == {b"19"}


def test_what_one_process_deletes_no_other_brings_back(path: Path, store: SQLiteStore) -> None:
    for number in range(200):
        store.create(f"key{number}", b"data", DAY)
    code = """
        deleted = 0
        for number in range(200):
            key = f"key{number}"
            found = store.load(key)
            if (int(sys.argv[2]) + number) % 2:
                deleted += store.delete(key).count
            elif found is not None:
                store.touch(key, DAY)
                store.replace(key, b"edited", DAY, version=found.version)
                store.regenerate(key, f"{key}-{sys.argv[2]}", b"moved", DAY, version=found.version, tombstone=0)
        print(deleted)
        store.close()"""
    deleted = sum(map(int, together(code, path)))
    # A record could only come back under its own key; none was moved, as its version had just been changed, unless the
    # change came too late or the record was gone.
    left = [key for key, _ in store.scan()]
    assert deleted + len(left) == 200, "each record was deleted once, or lives under one key"
    assert deleted >= 100
    for number in range(200):
        assert store.replace(f"key{number}", b"back", DAY, version=1) in {MISSING, CONFLICT}


def test_a_lock_is_held_by_one_process_at_a_time(path: Path) -> None:
    code = """
        taken = 0
        while taken < 10:
            token = store.lock("key", DAY)
            if token is None:
                time.sleep(0.001)
                continue
            name = sys.argv[1] + ".held"
            os.close(os.open(name, os.O_CREAT | os.O_EXCL))
            os.unlink(name)
            assert store.unlock("key", token)
            taken += 1
        store.close()"""
    together(code, path)


# The end of a process


def test_a_killed_process_loses_nothing_that_was_committed(path: Path, store: SQLiteStore) -> None:
    process = python(
        """
        number = 0
        while True:
            store.create(f"key{number}", b"data", DAY)
            print(number, flush=True)
            number += 1""",
        path,
    )
    assert process.stdout is not None
    for _ in range(200):
        last = int(process.stdout.readline())
    process.kill()
    rest, _ = process.communicate(timeout=10)
    last = max([last, *(int(line) for line in rest.split("\n")[:-1])])
    assert {f"key{n}" for n in range(last + 1)} <= {key for key, _ in store.scan()}
    assert store.touch("key0", DAY) is True


@pytest.mark.parametrize("ending", ["", "raise SystemExit", "import gc; del store; gc.collect()", "store.load('key')"])
def test_a_process_that_ends_without_a_close_loses_nothing_and_does_not_hang(
    path: Path, store: SQLiteStore, ending: str
) -> None:
    process = python(f"store.create('key', b'data', DAY); {ending}", path)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0
    assert isinstance(store.load("key"), Stored)


def test_an_async_process_that_ends_without_a_close_loses_nothing_and_does_not_hang(
    path: Path, store: SQLiteStore
) -> None:
    process = python(
        """
        import asyncio
        from sojourn.stores.sqlite import AsyncSQLiteStore
        store = AsyncSQLiteStore(sys.argv[1])
        asyncio.run(store.create("key", b"data", DAY))""",
        path,
    )
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0
    assert isinstance(store.load("key"), Stored)


# Fork


@forking
def test_parent_and_child_both_go_on_after_a_fork(path: Path, store: SQLiteStore) -> None:
    version: Any = store.create("counter", b"0", DAY)
    store.load("counter")

    def child() -> None:
        assert isinstance(store.load("counter"), Stored)
        assert store.replace("counter", b"1", DAY, version=version) == version + 1
        store.close()

    in_fork(child)
    found = store.load("counter")
    assert isinstance(found, Stored)
    assert (found.data, found.version) == (b"1", version + 1)
    assert store.touch("counter", DAY) is True


@forking
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed on Linux alone")
def test_no_connection_is_carried_into_a_child(path: Path, store: SQLiteStore) -> None:
    other = AsyncSQLiteStore(path)
    anyio.run(other.touch, "key", DAY)
    anyio.run(other.load, "key")
    store.create("key", b"data", DAY)
    store.load("key")

    def still_open() -> list[str]:
        open_files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [file for file in open_files if file.startswith(str(path))]

    assert still_open()

    def child() -> None:
        assert still_open() == []

    in_fork(child)
    anyio.run(other.close)


@forking
def test_a_child_that_outlives_its_parents_store_holds_locks_of_its_own(path: Path, store: SQLiteStore) -> None:
    # With locks that it only believes to hold, the last one to close the file would remove the WAL under the child.
    store.create("key", b"data", DAY)
    store.load("key")
    reader, writer = os.pipe()

    def close_meanwhile() -> None:
        os.read(reader, 1)
        store.close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sessions").fetchone()
        Path(f"{path}.go").touch()

    thread = threading.Thread(target=close_meanwhile)

    def child() -> None:
        assert store.touch("key", DAY)
        os.write(writer, b"x")
        while not Path(f"{path}.go").exists():
            time.sleep(0.005)
        assert Path(f"{path}-wal").exists()
        store.create("later", b"data", DAY)
        store.close()

    thread.start()
    in_fork(child)
    thread.join(10)
    os.close(reader)
    os.close(writer)
    assert isinstance(store.load("later"), Stored)


@forking
def test_threads_that_write_and_read_meanwhile_notice_nothing_of_a_fork(path: Path, store: SQLiteStore) -> None:
    version = store.create("key", b"data", DAY)
    end = threading.Event()
    rounds: list[int] = []

    def work() -> None:
        count = 0
        while not end.is_set():
            assert store.touch("key", DAY) is True
            found = store.load("key")
            assert isinstance(found, Stored) and found.version == version
            count += 1
        rounds.append(count)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(8):
        in_fork(partial(store.create, f"child{number}", b"data", DAY))
    end.set()
    for thread in threads:
        thread.join(10)
    assert len(rounds) == 3 and all(rounds)
    assert store.count() == 9


@forking
def test_a_pool_of_forked_workers_shares_one_store(path: Path, store: SQLiteStore) -> None:
    store.create("counter", b"0", DAY)
    global _shared  # noqa: PLW0603 - what a preloading server does: the store is a global that its workers inherit
    _shared = store
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(_increment, range(40))
        pool.close()
        pool.join()
    found = store.load("counter")
    assert isinstance(found, Stored)
    assert found.data == b"40"


_shared: SQLiteStore


def _increment(_: int) -> None:
    result: object = CONFLICT
    while result is CONFLICT:
        found = _shared.load("counter")
        assert isinstance(found, Stored)
        result = _shared.replace("counter", b"%d" % (int(found.data) + 1), DAY, version=found.version)


def test_a_store_that_was_made_before_gevent_patched_the_standard_library_works(path: Path) -> None:
    """As with ``gunicorn -k gevent --preload``: the application is imported first, and patched in the worker."""
    pytest.importorskip("gevent", reason="gevent has no wheel for this interpreter")
    out = python(
        """
        import gevent, gevent.monkey
        gevent.monkey.patch_all()
        def work(number):
            for _ in range(20):
                store.create(f"key{number}", b"data", DAY)
                store.delete(f"key{number}")
            store.create(f"key{number}", b"data", DAY)
        gevent.joinall([gevent.spawn(work, number) for number in range(5)], raise_error=True)
        print(store.count(), flush=True)
        os._exit(0)
        """,
        path,
    ).communicate(timeout=30)
    assert out == ("5\n", "")


@forking
def test_a_signal_whose_handler_raises_during_a_fork_leaves_the_store_usable(
    path: Path, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("key", b"data", DAY)
    engine = store._file._engine
    assert engine is not None

    def interrupted(_timeout: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "join", interrupted)
    in_fork(lambda: None)
    assert isinstance(store.load("key"), Stored)
    assert store.create("other", b"data", DAY)


def test_a_log_that_may_not_grow_is_moved_into_the_file_and_written_anew(path: Path, store: SQLiteStore) -> None:
    store.open()  # who closes the file last empties the log: this store keeps it open
    child = python(
        """
        import resource
        from sojourn.errors import StoreUnavailable
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        store.create("sid", b"{}", DAY)
        refused = 0
        for _ in range(300):
            try:
                store.replace("sid", b"x" * 10_000, DAY, version=store.load("sid").version)
            except StoreUnavailable:
                refused += 1
        print(refused)
        """,
        path,
    )
    output, errors = child.communicate(timeout=60)
    assert not errors
    assert 0 < int(output) < 10
