"""What the SQLite stores promise beyond the contract: batches, cancellation, a busy or broken file, pruning, options."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import settings

from sojourn.clock import LONGEST_MS, system_clock
from sojourn.core.store import (
    CONFLICT,
    MISSING,
    AsyncLockingStore,
    AsyncScanningStore,
    AsyncStore,
    Deleted,
    LockingStore,
    Replaced,
    ScanningStore,
    Seen,
    Store,
    Stored,
)
from sojourn.errors import ConfigurationError, SessionTooLarge, StoreError, StoreUnavailable
from sojourn.middleware import watching
from sojourn.middleware.watching import watchers_of
from sojourn.stores.sqlite import _engine as _sqlite_engine
from sojourn.stores.sqlite import _file as _sqlite_file
from sojourn.stores.sqlite import _network as _sqlite_network
from sojourn.stores.sqlite._engine import Stopped
from sojourn.stores.sqlite.store import AsyncSQLiteStore, SQLiteStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract, store_state_machine

DAY = 24 * 3_600_000
both_colours = pytest.mark.parametrize("kind", [SQLiteStore, AsyncSQLiteStore])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path: Path, clock: ManualClock) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, clock=clock)
    yield store
    store.close()


@contextmanager
def other_connection(path: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """The file as another program has it open."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection


def create(store: SQLiteStore, *keys: str, ttl: int = DAY) -> Any:
    """Create records, and return the last one's version."""
    version = None
    for key in keys:
        version = store.create(key, b"data", ttl)
        assert isinstance(version, int)
    return version


@contextmanager
def held_writer(store: SQLiteStore | AsyncSQLiteStore) -> Iterator[Callable[[], None]]:
    """The writer is in the middle of a transaction, and what is queued waits, until the function is called."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        begun.set()
        go_on.wait(10)

    thread = threading.Thread(target=store._file.write, args=(hold,))
    thread.start()
    assert begun.wait(10)
    try:
        yield go_on.set
    finally:
        go_on.set()
        thread.join(10)


def queued(store: SQLiteStore | AsyncSQLiteStore) -> int:
    engine = store._file._engine
    return 0 if engine is None else engine._jobs.qsize()


def rows(path: Path, table: str = "sessions") -> int:
    with other_connection(path) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within ten seconds"
        time.sleep(0.002)


async def eventually_async(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the writer's thread knows of no event
            await anyio.sleep(0.002)


# The contract, and a dictionary


class TestSQLiteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def choose_path(self, path: Path) -> None:
        self.path = path

    def make_store(self, clock: ManualClock) -> SQLiteStore:
        return SQLiteStore(self.path, clock=clock)

    make_peer = make_store


class TestAsyncSQLiteStore(AsyncStoreContract):
    @pytest.fixture(autouse=True)
    def choose_path(self, path: Path) -> None:
        self.path = path

    def make_store(self, clock: ManualClock) -> AsyncSQLiteStore:
        return AsyncSQLiteStore(self.path, clock=clock)

    make_peer = make_store


class TestAsyncSQLiteStoreOnTrio(TestAsyncSQLiteStore):
    backend = "trio"


class TestAsyncSQLiteStoreReadingInThreads(TestAsyncSQLiteStore):
    def make_store(self, clock: ManualClock) -> AsyncSQLiteStore:
        return AsyncSQLiteStore(self.path, clock=clock, read_in_thread=True)


def new_file() -> str:
    """A path of its own: Hypothesis makes many stores in one test."""
    return os.path.join(_folder.name, secrets.token_hex(8))  # noqa: PTH118


_folder = tempfile.TemporaryDirectory()

TestSQLiteStoreAgainstAModel = store_state_machine(lambda clock: SQLiteStore(new_file(), clock=clock)).TestCase
TestSQLiteStoreAgainstAModel.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)

TestAsyncSQLiteStoreAgainstAModel = store_state_machine(
    lambda clock: AsyncSQLiteStore(new_file(), clock=clock), backend="trio"
).TestCase
TestAsyncSQLiteStoreAgainstAModel.settings = settings(max_examples=5, stateful_step_count=25, deadline=None)


def test_both_colours_have_every_capability(path: Path) -> None:
    sync_store, async_store = SQLiteStore(path), AsyncSQLiteStore(path)
    assert all(isinstance(sync_store, protocol) for protocol in (Store, ScanningStore, LockingStore))
    assert all(isinstance(async_store, protocol) for protocol in (AsyncStore, AsyncScanningStore, AsyncLockingStore))


# Options


@both_colours
def test_a_store_shows_its_path_alone_and_touches_nothing_before_use(kind: Any, path: Path) -> None:
    assert repr(kind(path)) == f"{kind.__name__}({str(path)!r})"
    assert not path.exists()


@both_colours
@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("path", ""),
        ("path", ":memory:"),
        ("path", "file:x.db?mode=memory"),
        ("path", "/nowhere/at/all/sessions.db"),
        ("path", "/"),
        ("path", "a\0b"),
        ("path", b"sessions.db"),
        ("path", None),
        ("path", 3),
        ("synchronous", "full"),
        ("synchronous", "EXTRA"),
        ("synchronous", None),
        ("synchronous", []),
        ("timeout", -1),
        ("timeout", "10"),
        ("timeout", float("nan")),
        ("prune_interval", 0),
        ("prune_interval", timedelta(0)),
        ("prune_interval", True),
        ("max_size", 0),
        ("max_size", 1.5),
        ("max_size", True),
        ("clock", 7),
    ],
)
def test_an_option_that_is_not_what_it_should_be_is_refused_by_name(
    kind: Any, option: str, given: object, path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(**({"path": path} | {option: given}))
    assert caught.value.option == option


def test_reading_in_a_thread_is_a_yes_or_a_no(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="read_in_thread"):
        AsyncSQLiteStore(path, read_in_thread=1)  # type: ignore[arg-type]


@both_colours
def test_durations_are_seconds_or_timedeltas(kind: Any, path: Path) -> None:
    assert kind(path, timeout=timedelta(days=14))._file._settings.timeout == 14 * 86_400
    assert kind(path, timeout=0.25, prune_interval=None)._file._settings[2:4] == (0.25, None)


@both_colours
def test_a_url_names_a_relative_or_an_absolute_path_and_options(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kind.from_url("sqlite:///relative.db").path == str(tmp_path / "relative.db")
    assert kind.from_url(f"sqlite:///{tmp_path}/a%3Fb%20c.db").path == str(tmp_path / "a?b c.db")
    store = kind.from_url(
        f"sqlite:///{tmp_path}/s.db?synchronous=full&timeout=2.5&prune_interval=300&max_size=1000", clock=lambda: 5
    )
    assert store._file._settings[1:5] == ("FULL", 2.5, 300, 1000)
    assert store._clock() == 5


def test_the_async_store_can_be_told_by_url_to_read_in_a_thread(path: Path) -> None:
    assert AsyncSQLiteStore.from_url(f"sqlite:///{path}?read_in_thread=true")._read_in_thread is True
    assert AsyncSQLiteStore.from_url(f"sqlite:///{path}?read_in_thread=false")._read_in_thread is False
    with pytest.raises(ConfigurationError, match="read_in_thread"):
        AsyncSQLiteStore.from_url(f"sqlite:///{path}?read_in_thread=1")


@both_colours
@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("sqlite:///s.db?journal=off", "journal"),
        ("sqlite:///s.db?timeout=soon", "timeout"),
        ("sqlite:///s.db?timeout=", "timeout"),
        ("sqlite:///s.db?max_size=1e3", "max_size"),
        ("sqlite:///s.db?synchronous=maybe", "synchronous"),
        ("sqlite://s.db", "another form"),
        ("sqlite:s.db", "another form"),
        ("sqlite:///s.db#part", "another form"),
        ("postgresql:///s.db", "another form"),
        ("sqlite://", "another form"),
        ("sqlite:///", "path"),
        ("sqlite:///:memory:", "memory://"),
    ],
)
def test_a_url_of_another_form_or_with_unknown_options_is_refused_by_name(kind: Any, url: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        kind.from_url(url)


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "so#so.db", "mode=ro&x.db", "\u00e9\u4e16.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    with closing(SQLiteStore(tmp_path / name)) as store:
        create(store, "key")
        assert isinstance(store.load("key"), Stored)
        assert (tmp_path / name).stat().st_size > 0


# The file


def test_the_file_is_readable_by_its_owner_alone(path: Path, store: SQLiteStore) -> None:
    store.open()
    assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}


def test_an_existing_file_keeps_its_mode(path: Path, store: SQLiteStore) -> None:
    path.touch(0o640)
    path.chmod(0o640)
    create(store, "key")
    assert path.stat().st_mode & 0o777 == 0o640


def test_the_file_is_in_wal_mode_and_says_whose_it_is(path: Path, store: SQLiteStore) -> None:
    store.open()
    with other_connection(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("PRAGMA application_id").fetchone() == (0x536A726E,)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (_sqlite_file.LOAD, "sqlite_autoindex_sessions_1 (key=?)"),
        (_sqlite_file._REPLACE, "sqlite_autoindex_sessions_1 (key=?)"),
        (_sqlite_file._TOUCH, "sqlite_autoindex_sessions_1 (key=?)"),
        (_sqlite_file._DELETE, "sqlite_autoindex_sessions_1 (key=?)"),
        (_sqlite_file._SUCCESSOR, "sqlite_autoindex_sessions_1 (key=?)"),
        (_sqlite_file._GET_VERSION, "sqlite_autoindex_sessions_1 (key=?)"),
        (_sqlite_file.SCAN, "sqlite_autoindex_sessions_1 (key>?)"),
        (_sqlite_file._TOMBSTONES, "INDEX sessions_replaced (expires>?)"),
        (_sqlite_file.COUNT, "COVERING INDEX sessions_expires (expires>?)"),
        (_sqlite_file.COUNT, "INDEX sessions_replaced (expires>?)"),
        (_sqlite_file.BY_OWNER, "sessions_owner (owner=?)"),
        (_sqlite_file._PRUNE[0], "INDEX sessions_expires (expires<?)"),
        (_sqlite_file._PRUNE[1], "INDEX sessions_replaced (expires<?)"),
        (_sqlite_file._PRUNE[2], "COVERING INDEX locks_expires (expires<?)"),
    ],
)
def test_every_statement_finds_its_rows_by_an_index(path: Path, store: SQLiteStore, statement: str, index: str) -> None:
    store.open()
    with other_connection(path) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", [None] * statement.count("?")).fetchall()
    assert any(index in step[-1] for step in plan), plan
    assert not any(step[-1].startswith(("SCAN sessions", "SCAN locks")) for step in plan), plan


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["CREATE TABLE users (id)"], "belongs to something else"),
        (["PRAGMA application_id = 77"], "belongs to something else"),
        (["PRAGMA user_version = 3"], "belongs to something else"),
        (["PRAGMA application_id = 0x536A726E", "PRAGMA user_version = 2"], "layout 2"),
    ],
)
def test_another_programs_file_or_a_newer_layout_is_refused_and_left_as_it_is(
    path: Path, store: SQLiteStore, statements: list[str], message: str
) -> None:
    with other_connection(path, *statements):
        pass
    before = path.read_bytes()
    for attempt in (store.open, lambda: store.load("key"), lambda: store.touch("key", DAY)):
        with pytest.raises(StoreError, match=message):
            attempt()
    assert path.read_bytes() == before


@both_colours
def test_deleting_no_keys_does_not_even_open_the_file(kind: Any, path: Path) -> None:
    deleting = kind(path).delete()
    assert (deleting if kind is SQLiteStore else asyncio.run(deleting)) == Deleted(0, ())
    assert not path.exists()


def test_tables_that_tools_add_to_our_file_do_no_harm(path: Path, store: SQLiteStore) -> None:
    create(store, "key")
    store.close()
    with other_connection(path, "CREATE TABLE _replication (position)"):
        pass
    assert isinstance(store.load("key"), Stored)


def test_a_file_system_without_wal_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = _sqlite_file._connect

    class Stubborn(sqlite3.Connection):
        def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
            return super().execute(statement.replace("PRAGMA journal_mode = WAL", "PRAGMA journal_mode"), *arguments)

    def connect_stubbornly(path: str) -> sqlite3.Connection:
        connect(path).close()
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Stubborn)

    monkeypatch.setattr(_sqlite_file, "_connect", connect_stubbornly)
    with pytest.raises(StoreError, match="local disk"):
        SQLiteStore(path).open()


# A file that older versions made or share


OLDER_FILE = (
    """CREATE TABLE sessions (
        key TEXT NOT NULL PRIMARY KEY, data BLOB, version INTEGER NOT NULL, expires INTEGER NOT NULL, owner TEXT
    )""",
    *(statement for statement in _sqlite_file._SCHEMA[1:] if statement != _sqlite_file._ADD_SUCCESSOR),
)
"""Layout 1 as it was before tombstones kept their successors."""
OLDER_CREATE = """INSERT INTO sessions (key, data, version, expires, owner) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE
    SET data = excluded.data, version = excluded.version, expires = excluded.expires, owner = excluded.owner
    WHERE sessions.expires <= ?"""
OLDER_TOMBSTONE = "UPDATE sessions SET data = NULL, version = version + 1, expires = ?, owner = NULL WHERE key = ?"
OLDER_LOAD = "SELECT data, version, expires FROM sessions WHERE key = ?"
OLDER_TOMBSTONES = "SELECT key, version, expires FROM sessions WHERE data IS NULL AND expires > ?"
OLDER_PUT_BACK = "INSERT INTO sessions (key, version, expires) VALUES (?, ?, ?)"


def successor_columns(path: Path) -> int:
    with other_connection(path) as connection:
        return [name for _, name, *_ in connection.execute("PRAGMA table_info(sessions)")].count("successor")


def test_a_file_of_an_older_version_gets_the_column_for_successors(
    path: Path, store: SQLiteStore, clock: ManualClock
) -> None:
    with other_connection(path, *OLDER_FILE) as older:
        older.execute(OLDER_CREATE, ("key", b"data", 7, clock() + DAY, "ann", clock()))
        older.execute(OLDER_CREATE, ("tombstone", b"data", 7, clock() + DAY, None, clock()))
        older.execute(OLDER_TOMBSTONE, (clock() + DAY, "tombstone"))
    assert store.load("key") == Stored(b"data", 7, DAY)
    assert store.load("tombstone") == Replaced(None)
    assert store.delete("tombstone") == Deleted(0, ())
    assert store.regenerate("key", "new", b"data", DAY, version=7, tombstone=DAY)
    assert store.load("key") == Replaced("new")
    store.close()
    store.open()
    assert successor_columns(path) == 1
    with other_connection(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,), "older processes go on using the file"


def test_many_that_open_a_file_of_an_older_version_add_the_column_once(path: Path) -> None:
    for _ in range(5):
        path.unlink(missing_ok=True)
        with other_connection(path, *OLDER_FILE):
            pass
        stores = [SQLiteStore(path) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            for opened in [pool.submit(store.open) for store in stores]:
                opened.result(10)
        for store in stores:
            store.close()
        assert successor_columns(path) == 1


def test_an_older_process_and_a_newer_one_share_a_file(path: Path, store: SQLiteStore, clock: ManualClock) -> None:
    version = create(store, "old")
    with other_connection(path) as older:
        assert older.execute(OLDER_LOAD, ("old",)).fetchone() == (b"data", version, clock() + DAY)
        store.regenerate("old", "new", b"data", DAY, version=version, tombstone=DAY)
        assert older.execute(OLDER_LOAD, ("old",)).fetchone() == (None, version + 1, clock() + DAY)
        older.execute(OLDER_CREATE, ("theirs", b"data", 7, clock() + DAY, None, clock()))
        assert store.load("theirs") == Stored(b"data", 7, DAY)
        older.execute(OLDER_TOMBSTONE, (clock() + DAY, "theirs"))
        assert store.load("theirs") == Replaced(None)
        assert store.delete("old", "theirs") == Deleted(0, ("new",))
        # a clear of the older version
        tombstones = older.execute(OLDER_TOMBSTONES, (clock(),)).fetchall()
        older.execute("DELETE FROM sessions")
        older.executemany(OLDER_PUT_BACK, tombstones)
        assert (store.load("old"), store.load("theirs")) == (Replaced(None), Replaced(None))


# Opening and closing


def test_opening_and_closing_may_be_repeated_and_the_data_stay(path: Path, store: SQLiteStore) -> None:
    store.close()
    store.open()
    store.open()
    create(store, "key")
    store.close()
    store.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["sessions.db"], "the WAL went into the file"
    assert isinstance(store.load("key"), Stored)


@pytest.mark.anyio
async def test_the_async_store_opens_by_itself_and_again_after_a_close(path: Path) -> None:
    store = AsyncSQLiteStore(path)
    assert await store.load("key") is None
    await store.create("key", b"1", DAY)
    await store.close()
    await store.close()
    found = await store.load("key")
    assert isinstance(found, Stored) and found.data == b"1"
    await store.open()
    await store.close()


@pytest.mark.anyio
@pytest.mark.parametrize("in_thread", [False, True])
async def test_who_watches_does_not_open_again_what_was_closed(path: Path, in_thread: bool) -> None:
    store = AsyncSQLiteStore(path, read_in_thread=in_thread)
    await store.create("key", b"1", DAY)
    assert list(await store.look(["key"])) == ["key"]
    await store.close()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="the SQLite store is closed"):
            await store.look(["key"])
        assert store.pulse() is None
    assert store._file._engine is None
    await store.load("key")
    assert list(await store.look(["key"])) == ["key"]
    await store.close()


@pytest.mark.anyio
async def test_a_live_connection_leaves_a_store_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL", 0.02)
    store = AsyncSQLiteStore(path)
    await store.create("key", b"1", DAY)
    told: list[object] = []

    class Watching:
        now = staticmethod(system_clock)

        def tell(self, found: object, *, has_expired: bool) -> bool:
            told.append(found if has_expired else type(found))
            return True

    watcher, watching_one = watchers_of(store).here(), Watching()
    watcher.subscribe("key", watching_one)
    with anyio.fail_after(10):
        while not told:  # noqa: ASYNC110 - it has no event
            await anyio.sleep(0.01)
        await store.close()
        while not watcher._outage.failures:  # noqa: ASYNC110 - as above
            await anyio.sleep(0.01)
        await anyio.sleep(0.1)
    assert told == [Seen] and store._file._engine is None
    watcher.unsubscribe("key", watching_one)


def test_closing_waits_for_the_writes_that_are_queued(path: Path, store: SQLiteStore) -> None:
    with ThreadPoolExecutor(9) as pool:
        with held_writer(store):
            writes = [pool.submit(store.create, f"key{n}", b"data", DAY) for n in range(8)]
            eventually(lambda: queued(store) == 8)
            end = pool.submit(store.close)
            time.sleep(0.02)
            assert not end.done()
        assert end.result(10) is None
        assert rows(path) == 8  # the callers have been woken, but their threads need not have run yet
        assert all(isinstance(write.result(10), int) for write in writes)


def test_stores_that_are_dropped_without_a_close_leave_no_thread_and_no_file_open(path: Path) -> None:
    store = SQLiteStore(path)
    create(store, "key")
    store.load("key")
    engine = store._file._engine
    assert engine is not None
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
    engine.join(10)
    assert not engine._thread.is_alive()
    assert engine._readers == 0


def test_readers_are_shared_and_closed_with_the_store(path: Path, store: SQLiteStore) -> None:
    create(store, "key")
    for _ in range(20):  # threads that come and go leave nothing behind
        thread = threading.Thread(target=store.load, args=("key",))
        thread.start()
        thread.join()
    engine = store._file._engine
    assert engine is not None
    assert engine._readers == 1
    store.close()
    assert engine._readers == 0
    with pytest.raises(_sqlite_engine.Stopped):
        engine.fetch(_sqlite_file.LOAD, ("key",))


@pytest.mark.usefixtures("eager_switching")
def test_loads_go_on_while_the_store_is_closed_and_opened(path: Path) -> None:
    store = SQLiteStore(path, timeout=2)  # also how long a close waits for readers at most
    create(store, "key")
    end = threading.Event()

    def load() -> int:
        loads = 0
        while not end.is_set():
            assert isinstance(store.load("key"), Stored)
            loads += 1
        return loads

    with ThreadPoolExecutor(4) as pool:
        loading = [pool.submit(load) for _ in range(4)]
        engines = []
        for _ in range(15):
            store.open()
            engines.append(store._file._engine)
            store.close()
            if any(engine is not None and engine._readers for engine in engines):
                break
        end.set()
        assert len(engines) == 15, "a reader was still open after a close"
        assert all(thread.result(10) for thread in loading)
    store.close()


# Batches


def test_writes_that_wait_together_are_committed_together(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.open()
    batches: list[int] = []
    notify = _sqlite_engine._notify

    def count(jobs: list[Any]) -> None:
        batches.append(len(jobs))
        notify(jobs)

    monkeypatch.setattr(_sqlite_engine, "_notify", count)
    with ThreadPoolExecutor(15) as pool:
        with held_writer(store):
            writes = [pool.submit(store.create, f"key{n}", b"data", DAY) for n in range(15)]
            eventually(lambda: queued(store) == 15)
        assert all(isinstance(write.result(10), int) for write in writes)
    assert batches == [1, 15]
    assert store.count() == 15


@pytest.mark.anyio
async def test_a_batch_notifies_all_its_waiters_by_one_call_into_their_event_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AsyncSQLiteStore(path)
    await store.open()
    calls: list[int] = []
    notify = _sqlite_engine._notify_here

    def count(jobs: list[Any]) -> None:
        calls.append(len(jobs))
        notify(jobs)

    monkeypatch.setattr(_sqlite_engine, "_notify_here", count)
    with held_writer(store) as go_on:
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(store.create, f"key{number}", b"data", DAY)
            await eventually_async(lambda: queued(store) == 50)
            go_on()
    assert calls == [50]
    assert await store.count() == 50
    await store.close()


def test_compare_and_set_within_one_batch_lets_one_writer_win(store: SQLiteStore) -> None:
    version = create(store, "key")
    with ThreadPoolExecutor(9) as pool:
        with held_writer(store):
            writes = [pool.submit(store.replace, "key", b"%d" % n, DAY, version=version) for n in range(9)]
            eventually(lambda: queued(store) == 9)
        results = [write.result(10) for write in writes]
    assert sorted(map(str, results)) == sorted([str(version + 1)] + [str(CONFLICT)] * 8)


def test_a_write_that_cannot_be_carried_out_fails_alone(store: SQLiteStore) -> None:
    with ThreadPoolExecutor(10) as pool:
        with held_writer(store):
            good = [pool.submit(store.create, f"key{n}", b"data", DAY) for n in range(3)]
            no_number = pool.submit(store.touch, "key0", "soon")  # type: ignore[arg-type]
            too_late = pool.submit(store.create, "endless", b"data", 2**63)
            no_bytes = pool.submit(store.create, "other", [1], DAY)  # type: ignore[arg-type]
            more = [pool.submit(store.create, f"more{n}", b"data", DAY) for n in range(3)]
            eventually(lambda: queued(store) == 9)
        assert all(isinstance(write.result(10), int) for write in good + more)
        assert isinstance(no_number.exception(10), TypeError)
        assert isinstance(too_late.exception(10), OverflowError)
        assert isinstance(no_bytes.exception(10), StoreUnavailable)
    assert store.count() == 6


def test_a_version_of_another_kind_is_a_conflict(store: SQLiteStore) -> None:
    create(store, "key")
    for version in (None, "1", b"1", 1.5):
        assert store.replace("key", b"x", DAY, version=version) is CONFLICT
        assert store.regenerate("key", "new", b"x", DAY, version=version, tombstone=0) is CONFLICT


def test_a_batch_that_cannot_be_committed_fails_as_a_whole_and_the_store_works_on(
    path: Path, store: SQLiteStore
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with ThreadPoolExecutor(2) as pool:
        with held_writer(store):
            lost = pool.submit(store.create, "lost", b"data", DAY)
            eventually(lambda: queued(store) == 1)
            failing = pool.submit(store._file.write, fail)
            eventually(lambda: queued(store) == 2)
        errors: Any = lost.exception(10), failing.exception(10)
    assert [type(error) for error in errors] == [StoreUnavailable] * 2
    assert errors[0] is not errors[1], "each waiter has an error of its own"
    assert errors[0].driver_error is errors[1].driver_error is not None
    assert rows(path) == 0
    create(store, "lost")


def test_no_version_whatever_revives_a_tombstone(store: SQLiteStore) -> None:
    version = create(store, "old")
    store.regenerate("old", "new", b"data", DAY, version=version, tombstone=DAY)
    for guess in range(version - 1, version + 3):
        assert store.replace("old", b"back", DAY, version=guess) is MISSING
        assert store.regenerate("old", "other", b"back", DAY, version=guess, tombstone=0) is MISSING
    assert store.load("old") == Replaced("new")


def test_a_record_beyond_max_size_never_reaches_the_file(path: Path) -> None:
    store = SQLiteStore(path, max_size=3)
    with pytest.raises(SessionTooLarge):
        store.create("key", b"1234", DAY)
    with pytest.raises(SessionTooLarge):
        store.replace("key", b"1234", DAY, version=1)
    with pytest.raises(SessionTooLarge):
        store.regenerate("key", "new", b"1234", DAY, version=1, tombstone=0)
    assert not path.exists()


@pytest.mark.anyio
async def test_an_async_record_beyond_max_size_never_reaches_the_file(path: Path) -> None:
    store = AsyncSQLiteStore(path, max_size=3)
    for write in (
        store.create("key", b"1234", DAY),
        store.replace("key", b"1234", DAY, version=1),
        store.regenerate("key", "new", b"1234", DAY, version=1, tombstone=0),
    ):
        with pytest.raises(SessionTooLarge):
            await write
    assert queued_ever(store) is False


def queued_ever(store: AsyncSQLiteStore) -> bool:
    return store._file._engine is not None


# Cancellation and event loops


@pytest.mark.anyio
async def test_a_queued_write_is_carried_out_although_its_waiter_was_cancelled(path: Path) -> None:
    store = AsyncSQLiteStore(path)
    with held_writer(store):
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(store.create, f"key{number}", b"data", DAY)
            await eventually_async(lambda: queued(store) == 5)
            group.cancel_scope.cancel()
    await store.touch("key", DAY)  # behind them in the queue
    assert await store.count() == 5
    await store.close()


def test_an_event_loop_closed_under_its_waiters_does_not_stop_the_writer(path: Path) -> None:
    store = AsyncSQLiteStore(path)
    loop = asyncio.new_event_loop()
    with held_writer(store):
        task = loop.create_task(store.create("first", b"data", DAY))
        while not queued(store):
            loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    async def later() -> int:
        await store.create("second", b"data", DAY)
        count = await store.count()
        await store.close()
        return count

    assert anyio.run(later, backend="trio") == 2, "and another event loop may use the store"


def test_one_async_store_serves_several_event_loops_at_once(path: Path) -> None:
    store = AsyncSQLiteStore(path)

    async def write(name: str) -> None:
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(store.create, f"{name}{number}", b"data", DAY)

    with ThreadPoolExecutor(4) as pool:
        loops = [(f"{backend} {n} ", backend) for backend in ("asyncio", "trio") for n in range(2)]
        done = [pool.submit(partial(anyio.run, write, name, backend=backend)) for name, backend in loops]
        for loop in done:
            loop.result(20)
    assert anyio.run(store.count) == 200
    anyio.run(store.close)


def test_asyncio_needs_no_trio() -> None:
    code = """if True:
        import asyncio, sys, tempfile, os
        from sojourn.stores.sqlite import AsyncSQLiteStore
        async def main(path):
            store = AsyncSQLiteStore(path)
            await store.create("key", b"data", 1000)
            assert await store.load("key")
            await store.close()
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(main(os.path.join(folder, "s.db")))
        assert not {"trio", "anyio", "sniffio"} & set(sys.modules)"""
    run_python(code)


def run_python(code: str, *arguments: str, measured: bool = True) -> str:
    """Run a program; one that gives up its rights cannot write down what it covered."""
    environment = {name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, timeout=20, check=False,
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


# A busy file


def test_a_file_that_stays_busy_is_unavailable_within_the_timeout_and_usable_again_afterwards(path: Path) -> None:
    store = SQLiteStore(path, timeout=0.1)
    create(store, "key")
    with other_connection(path, "BEGIN IMMEDIATE"):
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            store.touch("key", DAY)
        assert 0.1 <= time.monotonic() - begin < 3
        assert isinstance(caught.value.driver_error, sqlite3.OperationalError)
        assert isinstance(store.load("key"), Stored), "readers wait for no writer"
    assert store.touch("key", DAY) is True
    store.close()


@contextmanager
def recovery(path: Path) -> Iterator[Callable[[], None]]:
    """Another process holds the locks that a recovery of the WAL takes, with its index invalid, until told to end."""
    code = """if True:
        import fcntl, sys
        with open(sys.argv[1] + "-shm", "r+b", buffering=0) as index:
            fcntl.lockf(index, fcntl.LOCK_EX, 3, 120)  # WAL_WRITE_LOCK, WAL_CKPT_LOCK, WAL_RECOVER_LOCK
            index.write(bytes(96))
            print("begun", flush=True)
            sys.stdin.read()"""
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        try:
            yield process.stdin.close
        finally:
            process.stdin.close()
            process.wait(10)


def test_a_busy_read_waits_for_the_file_up_to_the_timeout(path: Path) -> None:
    store = SQLiteStore(path, timeout=0.2)
    create(store, "key")
    with recovery(path):
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            store.load("key")
        assert 0.2 <= time.monotonic() - begin < 3
        assert isinstance(caught.value.driver_error, sqlite3.OperationalError)
    assert isinstance(store.load("key"), Stored)
    store.close()


@pytest.mark.anyio
async def test_the_event_loop_never_waits_for_a_busy_file_but_leaves_that_to_a_thread(path: Path) -> None:
    store = AsyncSQLiteStore(path)
    await store.create("key", b"data", DAY)
    found: list[object] = []
    longest, last = 0.0, time.monotonic()

    async def load() -> None:
        found.append(await store.load("key"))

    with recovery(path) as end:
        async with anyio.create_task_group() as group:
            last = time.monotonic()
            group.start_soon(load)
            for _ in range(50):
                await anyio.sleep(0.002)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            assert not found
            end()
    assert [type(record) for record in found] == [Stored]
    assert longest < 0.09, "fifty pauses took about 0.1 seconds; a wait in the loop would have taken all of it at once"
    await store.close()


@pytest.mark.anyio
async def test_a_load_runs_in_a_thread_only_if_told_or_if_the_file_is_not_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[object] = []
    run = _sqlite_engine.run_in_thread

    async def run_in_thread(function: Callable[[], Any]) -> Any:
        threads.append(function)
        return await run(function)

    monkeypatch.setattr("sojourn.stores.sqlite.store.run_in_thread", run_in_thread)
    store = AsyncSQLiteStore(path)
    await store.load("key")
    assert len(threads) == 1
    await store.load("key")
    assert len(threads) == 1
    threaded = AsyncSQLiteStore(path, read_in_thread=True)
    await threaded.open()
    await threaded.load("key")
    assert len(threads) == 2
    await store.close()
    await threaded.close()


# A file that fails


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_unavailable_until_it_is_put_right(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with closing(SQLiteStore(path)) as store:
        for attempt in (store.open, lambda: store.load("key"), lambda: store.create("key", b"", DAY), store.count):
            with pytest.raises(StoreUnavailable) as caught:
                attempt()
            assert isinstance(caught.value.driver_error, sqlite3.DatabaseError)
        assert path.read_bytes() == content
        path.unlink()
        create(store, "key")
        assert isinstance(store.load("key"), Stored)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_store_says_so_too(path: Path, backend: str) -> None:
    path.write_bytes(b"not a database" * 100)
    store = AsyncSQLiteStore(path)

    async def attempt() -> None:
        for write in (store.open(), store.load("key"), store.touch("key", DAY), store.count()):
            with pytest.raises(StoreUnavailable):
                await write

    async def use() -> None:
        await store.create("key", b"data", DAY)
        assert isinstance(await store.load("key"), Stored)
        await store.close()

    anyio.run(attempt, backend=backend)
    path.unlink()
    anyio.run(use, backend=backend)


def test_damage_while_the_file_is_open_is_reported_by_reads_and_writes(path: Path, store: SQLiteStore) -> None:
    store.open()
    version = store.create("key", b"x" * 20_000, DAY)
    store.close()
    store.open()
    with path.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xff" * (path.stat().st_size - 4096))
    for attempt in (lambda: store.load("key"), lambda: store.replace("key", b"", DAY, version=version)):
        with pytest.raises(StoreUnavailable) as caught:
            attempt()
        assert isinstance(caught.value.driver_error, sqlite3.DatabaseError)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_deleted_or_replaced_fails_one_write_and_is_then_opened_anew(
    path: Path, store: SQLiteStore, *, replaced: bool
) -> None:
    create(store, "old")
    path.unlink()
    if replaced:
        path.touch()
    with pytest.raises(StoreUnavailable) as caught:
        store.touch("old", DAY)
    assert replaced or isinstance(caught.value.driver_error, FileNotFoundError)
    assert store.touch("old", DAY) is False
    create(store, "new")
    assert rows(path) == 1
    assert store.load("old") is None


def test_a_deleted_file_is_noticed_by_pruning_too(path: Path) -> None:
    store = SQLiteStore(path, prune_interval=0.02)
    create(store, "old")
    assert isinstance(store.load("old"), Stored)
    path.unlink()
    eventually(lambda: store.load("old") is None)
    store.close()


def test_a_reader_that_cannot_be_opened_has_the_next_operation_start_afresh(path: Path, store: SQLiteStore) -> None:
    create(store, "old")
    path.unlink()
    with pytest.raises(StoreUnavailable):
        store.load("old")
    assert store.load("old") is None


def test_a_folder_that_vanished_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    store = SQLiteStore(tmp_path / "sub" / "s.db")
    (tmp_path / "sub").rmdir()
    with pytest.raises(StoreUnavailable) as caught:
        store.open()
    assert isinstance(caught.value.driver_error, FileNotFoundError)


def test_a_full_disk_fails_the_write_and_smaller_ones_still_work(path: Path, store: SQLiteStore) -> None:
    create(store, "small")

    def limit(connection: sqlite3.Connection, now: int) -> None:
        connection.execute("PRAGMA max_page_count = 20")

    store._file.write(limit)
    with pytest.raises(StoreUnavailable) as caught:
        store.create("large", b"x" * 200_000, DAY)
    assert _sqlite_file.error_code(caught.value.driver_error or caught.value) == sqlite3.SQLITE_FULL
    assert store.load("large") is None
    assert store.touch("small", DAY) is True
    with pytest.raises(StoreUnavailable):  # the same connection: its limit is still there
        store.create("large", b"x" * 200_000, DAY)


def test_a_file_or_folder_that_may_only_be_read_is_unavailable_for_writes() -> None:
    code = """if True:
        import os, sqlite3, sys
        from sojourn.errors import StoreUnavailable
        from sojourn.stores.sqlite import SQLiteStore
        folder = sys.argv[1]
        if os.geteuid() == 0:
            os.setuid(65534)
        for path in (folder + "/new.db", folder + "/old.db"):
            for attempt in ("create", "create", "touch"):
                try:
                    store = SQLiteStore(path)
                    store.create("key", b"data", 1000) if attempt == "create" else store.touch("key", 1000)
                except StoreUnavailable as error:
                    print(type(error.driver_error).__name__)
        """
    with tempfile.TemporaryDirectory() as folder:
        with closing(SQLiteStore(f"{folder}/old.db")) as store:
            create(store, "key")
        os.chmod(f"{folder}/old.db", 0o444)  # noqa: PTH101
        os.chmod(folder, 0o555)  # noqa: PTH101
        printed = run_python(code, folder, measured=False).split()
        os.chmod(folder, 0o755)  # noqa: PTH101
    assert printed == ["PermissionError"] * 3 + ["OperationalError"] * 3


# Pruning


def test_what_has_expired_is_removed_in_the_background(path: Path, clock: ManualClock) -> None:
    store = SQLiteStore(path, clock=clock, prune_interval=0.02)
    create(store, *(f"key{n}" for n in range(5)), ttl=1000)
    create(store, "lasting", ttl=DAY)
    version = store.create("old", b"data", DAY)
    store.regenerate("old", "new", b"data", DAY, version=version, tombstone=1000)
    store.lock("key", 1000)
    time.sleep(0.1)
    assert (rows(path), rows(path, "locks")) == (8, 1), "nothing has expired yet"
    clock.advance(1000)
    eventually(lambda: (rows(path), rows(path, "locks")) == (2, 0))
    assert store.count() == 2
    store.close()


def test_no_more_than_a_batch_is_removed_in_one_transaction(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(SQLiteStore(path, clock=clock)) as store:
        store.open()
        with other_connection(path) as connection:
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)"
                "INSERT INTO sessions (key, data, version, expires) SELECT 'key' || i, 'data', 1, ? FROM n",
                (clock.now,),
            )
    removed: list[tuple[int, bool]] = []
    prune = _sqlite_file.prune

    def count(connection: sqlite3.Connection, now: int) -> tuple[int, bool]:
        removed.append(prune(connection, now))
        return removed[-1]

    monkeypatch.setattr(_sqlite_engine, "prune", count)
    store = SQLiteStore(path, clock=clock, prune_interval=0.05)
    store.open()
    eventually(lambda: rows(path) == 0)
    store.close()
    assert removed[:3] == [(500, True), (500, True), (200, False)]


def test_expired_records_are_removed_under_steady_load_too(path: Path, clock: ManualClock) -> None:
    store = SQLiteStore(path, clock=clock, prune_interval=0.02)
    create(store, "expired", ttl=1)
    create(store, "lasting")
    clock.advance(1)
    end = threading.Event()

    def load() -> None:
        while not end.is_set():
            store.touch("lasting", DAY)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: rows(path) == 1)
    finally:
        end.set()
        for thread in threads:
            thread.join()
        store.close()


def test_pruning_gives_way_to_a_busy_file_and_comes_back(path: Path, clock: ManualClock) -> None:
    store = SQLiteStore(path, clock=clock, prune_interval=0.01, timeout=0.01)
    create(store, "expired", ttl=1)
    clock.advance(1)
    with other_connection(path, "BEGIN IMMEDIATE"):
        time.sleep(0.1)
        assert store._file._engine is not None
        assert not store._file._engine.stopped
    eventually(lambda: rows(path) == 0)
    store.close()


def test_without_an_interval_only_delete_expired_removes_anything(path: Path, clock: ManualClock) -> None:
    store = SQLiteStore(path, clock=clock, prune_interval=None)
    create(store, *(f"key{n}" for n in range(7)), ttl=1)
    version = store.create("old", b"data", DAY)
    store.regenerate("old", "new", b"data", DAY, version=version, tombstone=1)
    clock.advance(1)
    assert store.create("key0", b"again", DAY) is not None
    time.sleep(0.05)
    assert rows(path) == 9
    assert store.delete_expired() == 6
    assert store.delete_expired() == 0
    assert rows(path) == 2
    store.close()


def test_a_clear_counts_the_live_and_leaves_the_tombstones(store: SQLiteStore, clock: ManualClock) -> None:
    create(store, *(f"expired{n}" for n in range(3)), ttl=1)
    version = create(store, "passing")
    store.regenerate("passing", "key", b"data", DAY, version=version, tombstone=1)
    clock.advance(1)
    version = create(store, "old")
    store.regenerate("old", "new", b"data", DAY, version=version, tombstone=1000)
    create(store, *(f"key{n}" for n in range(10)))
    assert store.clear() == 12
    assert store.count() == 0
    assert (store.load("old"), store.load("passing"), store.load("new")) == (Replaced("new"), None, None)
    clock.advance(999)
    assert store.load("old") == Replaced("new")
    clock.advance(1)
    assert store.load("old") is None


def test_a_scan_of_many_pages_sees_every_record_once(store: SQLiteStore) -> None:
    keys = {f"key{n}" for n in range(250)}
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda key: create(store, key), keys))
    assert sorted(key for key, _ in store.scan()) == sorted(keys)
    assert {record.expires_in for _, record in store.scan()} == {DAY}


@pytest.mark.anyio
async def test_an_async_scan_of_many_pages_sees_every_record_once(path: Path) -> None:
    store = AsyncSQLiteStore(path)
    async with anyio.create_task_group() as group:
        for number in range(250):
            group.start_soon(store.create, f"key{number}", b"data", DAY)
    assert sorted([key async for key, _ in store.scan()]) == sorted(f"key{n}" for n in range(250))
    await store.close()


# Errors speak of no key


def test_no_error_and_no_text_of_a_store_shows_a_key(path: Path) -> None:
    store = SQLiteStore(path, timeout=0)
    create(store, "sesame")
    with other_connection(path, "BEGIN IMMEDIATE"), pytest.raises(StoreUnavailable) as caught:
        store.create("sesame", b"sesame", DAY)
    assert "sesame" not in repr(caught.value) + repr(caught.value.driver_error) + repr(store)
    assert str(caught.value) == (
        "the SQLite file cannot be used: something else uses it for too long (OperationalError, SQLITE_BUSY)"
    )
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    store.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreUnavailable])
def test_a_lock_whose_taking_is_interrupted_is_given_back_and_one_that_was_refused_is_not_asked_for_again(
    store: SQLiteStore, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    asked: list[Any] = []
    write = store._file.write

    def interrupted(operation: Any, *arguments: Any) -> Any:
        asked.append(operation)
        returned = None if error is StoreUnavailable else write(operation, *arguments)
        if operation is _sqlite_file.lock:
            raise error
        return returned

    with monkeypatch.context() as patch:
        patch.setattr(type(store._file), "write", lambda _file, *given: interrupted(*given))
        with pytest.raises(error):
            store.lock("key", DAY)
    unlocks = [_sqlite_file.unlock] if error is KeyboardInterrupt else []
    assert asked == [_sqlite_file.lock, *unlocks]
    assert store.lock("key", DAY) is not None


# what somebody has written into the file


def put(path: Path, **cells: str) -> None:
    """Write a row by SQL, as with SQLite's own shell; each cell is an expression."""
    row = {"key": "'key'", "data": "x'7b7d'", "version": "5", "expires": "4102444800000", **cells}
    with other_connection(path) as connection:
        connection.execute(f"INSERT INTO sessions ({', '.join(row)}) VALUES ({', '.join(row.values())})")


@pytest.mark.parametrize(
    ("data", "read"),
    [
        ('\'{"a":"é"}\'', '{"a":"é"}'.encode()),  # as SQLite's json_set() returns it
        ("x'ff'", b"\xff"),
        ("CAST(x'ff' AS TEXT)", b"\xff"),
        ("''", b""),
        ("5", b"5"),
        ("1.5", b"1.5"),
    ],
)
@both_colours
def test_data_of_another_type_are_read_as_their_bytes_and_never_as_a_tombstone(
    kind: Any, path: Path, store: SQLiteStore, data: str, read: bytes
) -> None:
    store.open()
    put(path, data=data)
    assert [stored.data for _, stored in store.scan()] == [read]
    found = load_by(kind, path)
    assert isinstance(found, Stored) and found.data == read


def load_by(kind: Any, path: Path, key: str = "key") -> Any:
    """What either colour loads, and no error about the file."""
    if kind is SQLiteStore:
        with closing(SQLiteStore(path, clock=ManualClock())) as store:
            return store.load(key)

    async def load() -> Any:
        async_store = AsyncSQLiteStore(path, clock=ManualClock())
        await async_store.open()
        try:
            return await async_store.load(key)
        finally:
            await async_store.close()

    return anyio.run(load)


@pytest.mark.parametrize(
    ("version", "read", "following"),
    [
        ("'one'", 0, 1),
        ("x'31'", 1, 2),
        ("1.5", 1, 2),
        ("9e999", 2**63 - 1, 1),
        (str(2**63 - 1), 2**63 - 1, 1),
        ("-5", -5, 2**63 - 4),
    ],
)
def test_a_version_of_any_type_can_be_replaced_and_only_once(
    path: Path, store: SQLiteStore, version: str, read: int, following: int
) -> None:
    store.open()
    put(path, version=version)
    found = store.load("key")
    assert isinstance(found, Stored) and found.version == read
    after = store.replace("key", b"1", DAY, version=read)
    assert after == following
    assert store.replace("key", b"2", DAY, version=read) is CONFLICT
    assert store.replace("key", b"2", DAY, version=after) not in (CONFLICT, MISSING)


@pytest.mark.parametrize(
    ("expires", "left"),
    [
        ("9223372036854775807", LONGEST_MS),
        ("9e999", LONGEST_MS),
        ("'tomorrow'", LONGEST_MS),
        ("x'00'", LONGEST_MS),
        ("1750000000000 + 1000.75", 1000),
        ("-9e999", None),
        ("0", None),
    ],
)
def test_an_expiry_of_any_type_is_one_that_ends_or_one_that_never_does(
    path: Path, store: SQLiteStore, expires: str, left: int | None, clock: ManualClock
) -> None:
    assert clock() == 1_750_000_000_000
    store.open()
    put(path, expires=expires)
    found = store.load("key")
    assert (min(found.expires_in or 0, LONGEST_MS) if isinstance(found, Stored) else found) == left
    assert [stored.expires_in for _, stored in store.scan()] == ([] if left is None else [left])
    assert store.count() == (left is not None)
    if left is not None:
        assert store.touch("key", 5)
        assert [stored.expires_in for _, stored in store.scan()] == [5]


def test_a_key_of_another_type_or_not_in_utf_8_is_left_out_and_hides_no_other(
    path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.open()
    create(store, *(f"key-{number:03}" for number in range(150)))
    for key in ("x'6b6579'", "CAST(x'ff' AS TEXT)", "CAST(x'6b65792dff' AS TEXT)", "CAST(x'6b65792d303530ff' AS TEXT)"):
        put(path, key=key, owner="'ann'")
    assert [key for key, _ in store.scan()] == [f"key-{number:03}" for number in range(150)]
    assert [record.getMessage() for record in caplog.records] == [
        "a stored session has a key that is not UTF-8, which no visitor can have: it is left out"
    ] * 3
    assert all(store.load(key) is None for key in store.by_owner("ann"))
    assert store.count() == store.clear() == 154


@pytest.mark.parametrize(
    "successor", ["x'00'", "''", "zeroblob(5000)", "CAST(x'ff' AS TEXT)", "NULL", f"'{'x' * 5000}'"]
)
def test_a_successor_that_is_no_key_leads_nowhere(path: Path, store: SQLiteStore, successor: str) -> None:
    store.open()
    put(path, data="NULL", successor=successor)
    found = store.load("key")
    assert isinstance(found, Replaced)
    deleted = store.delete("key")
    assert deleted.count == 0 and store.delete(*deleted.successors) == Deleted(0, ())
    assert store.clear() == 0 and isinstance(store.load("key"), Replaced)


def test_a_read_that_meets_the_end_of_an_engine_goes_to_the_next(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("key", b"1", DAY)
    engine = store._file._engine
    assert engine is not None
    fetch = engine.fetch
    met: list[str] = []

    def ending(statement: str, arguments: tuple[object, ...]) -> Any:
        if not met:
            met.append(statement)
            raise Stopped
        return fetch(statement, arguments)

    monkeypatch.setattr(engine, "fetch", ending)
    assert isinstance(store.load("key"), Stored) and len(met) == 1


@pytest.mark.parametrize(("kind", "warns"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False)])
def test_a_file_on_a_network_file_system_is_told_of(
    kind: str,
    warns: bool,
    path: Path,
    tmp_path: Path,
    store: SQLiteStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"""24 1 999:9 / / rw - nfs4 elsewhere rw
36 24 {os.major(device)}:{os.minor(device)} / /with\\040space rw,noatime shared:1 - {kind} server:/export rw
a line of another form
"""
    )
    monkeypatch.setattr(_sqlite_network, "_MOUNTS", mounts)
    store.open()
    assert [record.args for record in caplog.records] == ([(kind,)] if warns else [])


def test_where_nobody_says_how_files_are_mounted_nothing_is_told(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.touch()
    monkeypatch.setattr(_sqlite_network, "_MOUNTS", tmp_path / "none")
    assert _sqlite_network.network_file_system(str(path)) is None


def test_a_pulse_that_cannot_be_felt_is_none_and_never_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SQLiteStore(tmp_path / "sessions.db")
    assert store.pulse() is None, "it is not open yet"
    store.open()
    first = store.pulse()
    assert first is not None and store.pulse() == first
    engine = store._file._engine
    assert engine is not None

    def fail() -> None:
        raise sqlite3.OperationalError("busy")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "pulse", fail)
        assert store.pulse() is None
    store.close()
    assert store.pulse() is None
    store.open()
    assert store.pulse() != first, "another connection tells of other commits"
    store.close()
