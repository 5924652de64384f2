"""What the memory store promises beyond the contract: bounds, sweeping, little memory, and no waiting."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.core.store import (
    DEFAULT_MAX_SIZE,
    EXISTS,
    AsyncLockingStore,
    AsyncScanningStore,
    AsyncStore,
    Deleted,
    LockingStore,
    Replaced,
    ScanningStore,
    Store,
    Stored,
)
from sojourn.errors import ConfigurationError
from sojourn.stores.memory._expiring import ExpiringTable
from sojourn.stores.memory.store import AsyncMemoryStore, MemoryStore
from sojourn.testing import ManualClock

DAY = 24 * 3_600_000
MakeStore = Callable[..., MemoryStore | AsyncMemoryStore]

both_colours = pytest.mark.parametrize("kind", [MemoryStore, AsyncMemoryStore])


def is_empty(table: ExpiringTable) -> bool:
    return not (table.entries or table.owners or any(table._slots.values()))


def filed(table: ExpiringTable) -> int:
    return sum(map(len, table._slots.values()))


def create(store: MemoryStore, *keys: str, ttl: int = DAY, owner: str | None = None) -> None:
    for key in keys:
        assert store.create(key, b"data", ttl, owner=owner) is not EXISTS


# Construction


@both_colours
def test_a_store_tells_its_bounds_and_nothing_else(kind: MakeStore) -> None:
    store = kind(max_sessions=10, max_size=20)
    assert (store.max_sessions, store.max_size) == (10, 20)
    assert repr(store) == f"{type(store).__name__}(max_sessions=10, max_size=20)"
    assert kind().max_sessions == 100_000
    assert kind().max_size == DEFAULT_MAX_SIZE
    assert kind(max_sessions=None).max_sessions is None
    assert store.in_process is True


def test_the_stores_are_what_their_protocols_ask_for() -> None:
    assert isinstance(MemoryStore(), Store)
    assert isinstance(MemoryStore(), ScanningStore)
    assert isinstance(MemoryStore(), LockingStore)
    assert isinstance(AsyncMemoryStore(), AsyncStore)
    assert isinstance(AsyncMemoryStore(), AsyncScanningStore)
    assert isinstance(AsyncMemoryStore(), AsyncLockingStore)


@both_colours
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_sessions", 0),
        ("max_sessions", -1),
        ("max_sessions", "10"),
        ("max_sessions", 1.0),
        ("max_sessions", True),
        ("max_size", 0),
        ("max_size", None),
        ("clock", 1_750_000_000_000),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_construction(kind: MakeStore, option: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        kind(**{option: value})
    assert refused.value.option == option


@both_colours
@pytest.mark.parametrize(
    ("url", "max_sessions", "max_size"),
    [
        ("memory://", 100_000, DEFAULT_MAX_SIZE),
        ("memory:", 100_000, DEFAULT_MAX_SIZE),
        ("memory://?max_sessions=1000", 1000, DEFAULT_MAX_SIZE),
        ("memory://?max_size=2048&max_sessions=5", 5, 2048),
    ],
)
def test_a_store_is_made_from_a_url(
    kind: type[MemoryStore | AsyncMemoryStore], url: str, max_sessions: int, max_size: int
) -> None:
    store = kind.from_url(url)
    assert type(store) is kind
    assert (store.max_sessions, store.max_size) == (max_sessions, max_size)


@both_colours
@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "memory",
        "memory://host",
        "memory:///path",
        "memory://user:hunter2@",
        "memory://#hunter2",
        "memory://?max_session=1",
        "memory://?max_sessions=0",
        "memory://?max_sessions=-1",
        "memory://?max_sessions=many",
        "memory://?max_sessions=\u0663",
        "memory://?max_sessions=",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_and_not_repeated(
    kind: type[MemoryStore | AsyncMemoryStore], url: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        kind.from_url(url)
    assert "hunter2" not in str(refused.value)


@both_colours
def test_a_store_from_a_url_takes_a_clock(kind: type[MemoryStore | AsyncMemoryStore], clock: ManualClock) -> None:
    store = kind.from_url("memory://", clock=clock)
    inner = store._store if isinstance(store, AsyncMemoryStore) else store
    create(inner, "a", ttl=5)
    clock.advance(5)
    assert inner.load("a") is None


# What is kept


def test_the_data_is_kept_itself_and_is_the_version() -> None:
    store, data = MemoryStore(), secrets.token_bytes(400)
    assert store.create("a", data, DAY) is data
    stored = store.load("a")
    assert isinstance(stored, Stored)
    assert stored.data is stored.version is data


@pytest.mark.parametrize("coroutine", ["load", "count", "touch"])
def test_the_async_store_never_suspends(coroutine: str) -> None:
    store = AsyncMemoryStore()
    awaited = {"load": store.load("a"), "count": store.count(), "touch": store.touch("a", 1)}
    with pytest.raises(StopIteration):
        awaited.pop(coroutine).send(None)
    for other in awaited.values():
        other.close()


def test_a_session_takes_at_most_half_again_its_data_and_300_bytes() -> None:
    # Just past the size at which dicts of CPython grow: the worst moment.
    sessions, size = 21_846, 400
    tracemalloc.start()
    try:
        store = MemoryStore()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(sessions):
            store.create(secrets.token_hex(32), secrets.token_bytes(size), DAY)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / sessions <= 1.5 * size + 300


# Bounds


def test_the_session_idle_for_longest_makes_room_for_a_new_one(clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=4, clock=clock)
    create(store, "a", "b", "c", "d")
    store.touch("a", DAY)
    store.replace("c", b"new", DAY, version=b"data")
    store.load("b")
    create(store, "e")
    assert [key for key in "abcde" if store.load(key)] == ["a", "c", "d", "e"]
    create(store, "f")
    assert [key for key in "abcdef" if store.load(key)] == ["a", "c", "e", "f"]
    assert store.count() == 4


def test_what_has_expired_makes_room_first(clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=3, clock=clock)
    create(store, "idle", ttl=DAY)
    create(store, "short", ttl=10)
    create(store, "young", ttl=DAY)
    clock.advance(10)
    create(store, "new")
    assert [key for key in ("idle", "short", "young", "new") if store.load(key)] == ["idle", "young", "new"]


def test_a_refused_create_drops_nothing(clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=2, clock=clock)
    create(store, "a", "b")
    assert store.create("b", b"other", DAY) is EXISTS
    assert store.count() == 2


def test_regenerate_and_replace_need_no_room(clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=2, clock=clock)
    create(store, "a", "b")
    assert store.regenerate("a", "c", b"data", DAY, version=b"data", tombstone=DAY)
    assert store.replace("b", b"new", DAY, version=b"data")
    assert [key for key in "abc" if isinstance(store.load(key), Stored)] == ["b", "c"]
    assert store.load("a") == Replaced("c")


def test_being_full_is_logged_once_and_names_no_session(caplog: pytest.LogCaptureFixture, clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=2, clock=clock)
    with caplog.at_level(logging.WARNING, logger="sojourn"):
        create(store, "key-1", "key-2")
        assert caplog.records == []
        create(store, *(f"key-{number}" for number in range(3, 10)))
    (logged,) = caplog.records
    assert (logged.name, logged.levelname) == ("sojourn", "WARNING")
    assert "full at 2 sessions" in logged.getMessage()
    assert "key" not in logged.getMessage()


def test_a_log_handler_may_use_the_store(clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=1, clock=clock)
    counted: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            counted.append(store.count())

    handler = Handler()
    logging.getLogger("sojourn").addHandler(handler)
    try:
        create(store, "a", "b")
    finally:
        logging.getLogger("sojourn").removeHandler(handler)
    assert counted == [1]


def test_without_a_bound_nothing_is_dropped(clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=None, clock=clock)
    create(store, *map(str, range(1000)))
    assert store.count() == 1000


def test_tombstones_are_bounded_too(clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=3, clock=clock)
    create(store, "0")
    for number in range(10):
        store.regenerate(str(number), str(number + 1), b"data", DAY, version=b"data", tombstone=DAY)
    assert [key for key in map(str, range(11)) if isinstance(store.load(key), Replaced)] == ["7", "8", "9"]
    assert isinstance(store.load("10"), Stored)


def test_locks_are_bounded_and_none_that_is_held_is_dropped(clock: ManualClock) -> None:
    store = MemoryStore(max_sessions=2, clock=clock)
    tokens = {key: store.lock(key, 100) for key in "ab"}
    assert None not in tokens.values()
    assert store.lock("c", 100) is None
    assert store.unlock("a", tokens["a"] or "") is True
    assert store.lock("c", 100) is not None
    clock.advance(100)
    assert store.lock("b", 100) is not None
    assert store.lock("a", 100) is not None


# Tombstones


def test_a_successor_comes_back_as_it_was_even_if_it_is_no_proper_text(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    create(store, "old")
    store.regenerate("old", "\ud800", b"data", DAY, version=b"data", tombstone=DAY)
    assert store.load("old") == Replaced("\ud800")
    assert store.delete("old") == Deleted(0, ("\ud800",))


# Sweeping


def test_deleting_leaves_nothing_behind(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    for number in range(1000):
        create(store, str(number), ttl=1 + number * 1000, owner=str(number % 7))
    for number in range(1000):
        assert store.delete(str(number)).count == 1
    assert is_empty(store._records)
    assert len(store._records._slots) == len(store._records._due) < 64 * 20


def test_sessions_that_come_and_go_for_a_month_leave_nothing_behind(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    for number in range(30 * 24 * 60):
        create(store, str(number), ttl=30 * DAY, owner="ann")
        store.touch(str(number), 29 * DAY)
        store.delete(str(number))
        clock.advance(60_000)
    assert is_empty(store._records)
    assert len(store._records._slots) == len(store._records._due) <= 130


def test_writes_sweep_away_all_that_has_expired(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    for number in range(500):
        create(store, f"record {number}", ttl=1 + number, owner=str(number))
        create(store, f"old {number}", ttl=DAY)
        store.regenerate(f"old {number}", f"new {number}", b"data", 1000, version=b"data", tombstone=900)
        store.lock(f"lock {number}", 1 + number)
    clock.advance(1000)
    for _ in range(200):
        store.touch("nothing", 1)
    assert is_empty(store._records)
    assert is_empty(store._tombstones)
    assert is_empty(store._locks)


def test_a_write_looks_at_few_of_the_expired(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    create(store, *map(str, range(1000)), ttl=5000)
    clock.advance(5000)
    store.touch("nothing", 1)
    assert 1000 - 16 <= len(store._records.entries) < 1000


def test_a_store_that_is_written_to_steadily_holds_little_more_than_what_is_live(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    most = 0
    for number in range(20_000):
        create(store, str(number), ttl=1_000_000)
        clock.advance(1000)
        most = max(most, len(store._records.entries))
    assert most <= 1000 + 16


def test_sweeping_costs_nothing_while_nothing_expires(clock: ManualClock) -> None:
    table = ExpiringTable()
    for number in range(1000):
        table.put(str(number), b"data", None, clock() + DAY, clock())
    assert not table.is_due(clock() + DAY * 31 // 32)
    assert table.is_due(clock() + DAY)


def test_a_session_touched_all_day_is_filed_anew_now_and_then_only(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    create(store, "a", ttl=1_800_000)
    slots = set()
    for _ in range(24 * 60):
        clock.advance(60_000)
        assert store.touch("a", 1_800_000)
        slots.add(store._records.entries["a"][3])
    assert len(slots) <= 24 * 3
    assert filed(store._records) == 1


def test_delete_expired_takes_batches_and_finds_all(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    create(store, *map(str, range(2500)), ttl=100)
    create(store, "kept", ttl=DAY)
    clock.advance(100)
    assert store.delete_expired() == 2500
    assert list(store._records.entries) == ["kept"]
    assert filed(store._records) == 1


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "remove", "sweep", "pass"]),
            st.sampled_from("abcdef"),
            st.integers(1, 2**36),
            st.sampled_from([None, "ann", "bob"]),
        ),
        max_size=60,
    )
)
def test_every_entry_is_filed_once_and_no_later_than_its_deadline(
    steps: list[tuple[str, str, int, str | None]],
) -> None:
    table, now = ExpiringTable(), 1_750_000_000_000
    for step, key, number, owner in steps:
        if step == "put":
            table.put(key, b"data", owner, now + number, now)
        elif step == "remove" and key in table.entries:
            table.remove(key)
        elif step == "sweep":
            table.sweep(now, 1 + number % 4)
        elif step == "pass":
            now += number
        assert {key: entry[3] for key, entry in table.entries.items()} == {
            key: start for start, slot in table._slots.items() for key in slot
        }
        assert all(entry[3] <= entry[2] for entry in table.entries.values())
        assert sorted(table._due) == sorted(table._slots)
        owned = {(key, entry[1]) for key, entry in table.entries.items() if entry[1] is not None}
        assert owned == {(key, name) for name, keys in table.owners.items() for key in keys}
        assert all(table.owners.values())
    table.sweep(now, 1000)
    assert all(entry[2] > now for entry in table.entries.values())


def test_a_clock_set_back_loses_no_session(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    create(store, "a", ttl=1000)
    clock.advance(-500_000)
    create(store, "b", ttl=1000)
    assert store.touch("a", 1000)
    clock.advance(999)
    assert store.count() == 2
    clock.advance(1)
    assert store.count() == 0
    assert store.delete_expired() == 0


# Threads


def test_a_regenerate_is_seen_as_one_step(eager_switching: None) -> None:
    # At any moment one of the keys is live. Read in this order, the older key first, a session that only moves
    # forwards is never missed, and once a key is seen replaced the next is there.
    store = MemoryStore()
    keys = [str(number) for number in range(3000)]
    create(store, keys[0])
    wrong: list[str] = []
    done = threading.Event()

    def watch() -> None:
        at = 0
        while not done.is_set() and at < len(keys) - 1:
            old, new = store.load(keys[at]), store.load(keys[at + 1])
            if old is None:
                wrong.append("the old key was neither live nor replaced")
            if isinstance(old, Replaced):
                if new is None:
                    wrong.append("the old key was replaced, and the new one not there yet")
                at += 1

            new, old = store.load(keys[at + 1]), store.load(keys[at])
            if new is not None and isinstance(old, Stored):
                wrong.append("both keys were live")

    threads = [threading.Thread(target=watch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for old, new in pairwise(keys):
        assert store.regenerate(old, new, b"data", DAY, version=b"data", tombstone=DAY)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_at_no_moment_of_a_regenerate_are_both_keys_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    store, states = MemoryStore(), []

    def watched(step: Callable[..., None]) -> Callable[..., None]:
        def run(*args: object) -> None:
            step(*args)
            states.append(sorted(store._records.entries))

        return run

    create(store, "old")
    monkeypatch.setattr(ExpiringTable, "put", watched(ExpiringTable.put))
    monkeypatch.setattr(ExpiringTable, "remove", watched(ExpiringTable.remove))
    assert store.regenerate("old", "new", b"data", DAY, version=b"data", tombstone=DAY)
    assert states == [[], [], ["new"]]


def test_threads_that_do_everything_at_once_leave_a_sound_store(eager_switching: None) -> None:
    store = MemoryStore(max_sessions=50)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        acts: list[Callable[[str], object]] = [
            store.load,
            store.delete,
            lambda key: store.create(key, b"data", chance.choice([1, DAY]), owner=chance.choice([None, "ann"])),
            lambda key: store.touch(key, chance.choice([1, DAY])),
            lambda key: store.replace(key, b"data", DAY, version=b"data", owner="bob"),
            lambda key: store.regenerate(key, key + "+", b"data", DAY, version=b"data", tombstone=1),
            lambda _: list(store.scan()),
            lambda _: (store.count(), store.by_owner("ann"), store.delete_expired()),
        ]
        try:
            for _ in range(1500):
                chance.choice(acts)(str(chance.randrange(100)))
        except BaseException as error:  # noqa: BLE001 - raised by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    records = store._records
    assert len(records.entries) <= 50
    assert filed(records) == len(records.entries)
    assert {key for keys in records.owners.values() for key in keys} == {
        key for key, entry in records.entries.items() if entry[1] is not None
    }
    assert store.clear() == len(records.entries)
    assert is_empty(store._records)
