"""What the memory store promises beyond the contract: bounds, sweeping, little memory, and no waiting."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import secrets
import threading
import tracemalloc
from collections import OrderedDict
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
    direct_of,
)
from sojourn.errors import ConfigurationError
from sojourn.stores.memory._expiring import ExpiringTable
from sojourn.stores.memory.store import AsyncMemoryStore, MemoryStore
from sojourn.testing import ManualClock
from tests.stores.in_fork import in_fork

DAY = 24 * 3_600_000
MakeStore = Callable[..., MemoryStore | AsyncMemoryStore]

both_colours = pytest.mark.parametrize("kind", [MemoryStore, AsyncMemoryStore])


def is_empty(table: ExpiringTable) -> bool:
    nobody = table._oldest is None and table._newest is None
    return nobody and not (table.entries or table.owners or any(slot.keys for slot in table._slots.values()))


def filed(table: ExpiringTable) -> int:
    """How many are filed, without those that are gone."""
    return sum(len(slot.keys) - slot.gone for slot in table._slots.values())


def create(store: MemoryStore, *keys: str, ttl: int = DAY, owner: str | None = None) -> None:
    for key in keys:
        assert store.create(key, b"data", ttl, owner=owner) is not EXISTS


# Construction


@both_colours
def test_a_store_tells_its_bounds_and_nothing_else(kind: MakeStore) -> None:
    store = kind(max_sessions=10, max_bytes=30, max_size=20)
    assert (store.max_sessions, store.max_bytes, store.max_size) == (10, 30, 20)
    assert repr(store) == f"{type(store).__name__}(max_sessions=10, max_bytes=30, max_size=20)"
    assert kind().max_sessions == 100_000
    assert kind().max_bytes == 256 * 1024 * 1024
    assert kind(max_bytes=None).max_bytes is None
    assert kind().max_size == DEFAULT_MAX_SIZE
    assert kind(max_sessions=None).max_sessions is None


def test_the_store_without_coroutines_is_the_same_and_no_subclass_is_passed_over() -> None:
    store = AsyncMemoryStore()
    asyncio.run(store.create("a", b"1", 1000))
    assert direct_of(store).load("a").data == b"1"
    assert direct_of(kept := MemoryStore()) is kept
    for kind in (MemoryStore, AsyncMemoryStore):
        assert direct_of(type("Own", (kind,), {})()) is None


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
        ("max_bytes", 0),
        ("max_bytes", 1e9),
        ("max_bytes", DEFAULT_MAX_SIZE - 1),
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
    ("url", "bounds"),
    [
        ("memory://", (100_000, 256 * 1024**2, DEFAULT_MAX_SIZE)),
        ("memory:", (100_000, 256 * 1024**2, DEFAULT_MAX_SIZE)),
        ("memory://?max_sessions=1000", (1000, 256 * 1024**2, DEFAULT_MAX_SIZE)),
        ("memory://?max_size=2048&max_sessions=5&max_bytes=4096", (5, 4096, 2048)),
    ],
)
def test_a_store_is_made_from_a_url(
    kind: type[MemoryStore | AsyncMemoryStore], url: str, bounds: tuple[int, int, int]
) -> None:
    store = kind.from_url(url)
    assert type(store) is kind
    assert (store.max_sessions, store.max_bytes, store.max_size) == bounds


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


def kept(store: MemoryStore, keys: str) -> str:
    return "".join(key for key in keys if isinstance(store.load(key), Stored))


def test_records_are_bounded_in_bytes_and_the_longest_idle_make_room(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    # of each: a key of 1 byte, 699 of data, and 300
    store, data = MemoryStore(max_bytes=4000, max_size=2000, clock=clock), bytes(699)
    for key in "abcd":
        store.create(key, data, DAY)
    store.touch("a", DAY)
    assert kept(store, "abcd") == "abcd" and not caplog.records
    store.create("e", data, DAY)
    assert kept(store, "abcde") == "acde"
    assert store.replace("c", bytes(700), DAY, version=data)  # a byte too many
    assert kept(store, "acde") == "ace"
    assert store.regenerate("e", "f", bytes(1900), DAY, version=data, tombstone=DAY)
    assert kept(store, "acf") == "cf"
    store.create("g", bytes(2000), DAY, owner="ann")
    assert kept(store, "cfg") == "g"
    (logged,) = caplog.records
    assert logged.getMessage() == "MemoryStore is full at 4000 bytes: dropping the longest idle sessions"


def test_a_record_of_the_greatest_size_stays_though_with_its_key_it_takes_more_than_all_may(clock: ManualClock) -> None:
    store = MemoryStore(max_bytes=1000, max_size=1000, clock=clock)
    store.create("a", bytes(10), DAY)
    store.create("b", bytes(1000), DAY)
    assert kept(store, "ab") == "b"


def test_an_owner_that_is_set_later_counts_too_and_keeps_no_session_longer(clock: ManualClock) -> None:
    store = MemoryStore(max_bytes=1000, max_size=1000, clock=clock)
    create(store, "a", "b")
    assert store.set_owner("a", "ann", version=b"data") is True
    create(store, "c")
    assert kept(store, "abc") == "abc"
    assert store.set_owner("b", "b" * 100, version=b"data") is True
    assert kept(store, "abc") == "bc", "the longest idle is dropped, though its owner was set"


def test_tombstones_are_bounded_in_bytes_too(clock: ManualClock) -> None:
    store = MemoryStore(max_bytes=1000, max_size=100, clock=clock)
    create(store, "0")
    for number in range(9):
        store.regenerate(str(number), str(number + 1), b"data", DAY, version=b"data", tombstone=DAY)
    assert [key for key in map(str, range(10)) if isinstance(store.load(key), Replaced)] == ["6", "7", "8"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["create", "replace", "touch", "regenerate", "delete", "set_owner", "advance", "clear"]),
            st.sampled_from("abc"),
            st.integers(0, 400),
            st.sampled_from([None, "ann", "somebody else"]),
        )
    )
)
def test_what_the_records_take_is_counted_exactly(steps: list[tuple[str, str, int, str | None]]) -> None:
    clock = ManualClock(1_750_000_000_000)
    store = MemoryStore(max_bytes=1500, max_size=500, clock=clock)
    for what, key, size, owner in steps:
        found = store.load(key)
        version = found.version if isinstance(found, Stored) else b""
        match what:
            case "create":
                store.create(key, bytes(size), 1000, owner=owner)
            case "replace":
                store.replace(key, bytes(size), 1000, version=version, owner=owner)
            case "touch":
                store.touch(key, 2000)
            case "regenerate":
                store.regenerate(key, "d", bytes(size), 1000, version=version, tombstone=500, owner=owner)
            case "delete":
                store.delete(key)
            case "set_owner":
                store.set_owner(key, owner, version=version)
            case "clear":
                store.clear()
            case _:
                clock.advance(size)
        for table in (store._records, store._tombstones):
            counted = sum(
                300 + len(key) + len(entry.data) + len(entry.owner or "") for key, entry in table.entries.items()
            )
            assert table.size == counted <= 1500


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


# The table


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "remove", "oldest", "sweep", "advance"]),
            st.sampled_from("abcdef"),
            st.sampled_from([1, 50, 100, 3000, 100_000]),
        ),
        max_size=60,
    )
)
def test_a_table_keeps_the_order_of_puts(steps: list[tuple[str, str, int]]) -> None:
    table, order, now = ExpiringTable(), OrderedDict[str, int](), 1_750_000_000_000
    for what, key, number in steps:
        match what:
            case "put":
                table.put(key, b"data", None, now + number, now)
                order[key] = now + number
                order.move_to_end(key)
            case "remove" if key in order:
                table.remove(key)
                del order[key]
            case "oldest" if order:
                table.remove_oldest()
                order.popitem(last=False)
            case "advance":
                now += number
            case "sweep":
                assert table.sweep(now, 1000) == sum(deadline <= now for deadline in order.values())
                order = OrderedDict((key, deadline) for key, deadline in order.items() if deadline > now)
            case _:  # nothing is there
                pass
        assert in_order(table) == list(order)
        assert {key: entry.deadline for key, entry in table.entries.items()} == order


def in_order(table: ExpiringTable) -> list[str]:
    """The keys from the oldest to the newest, which is the same backwards."""
    forwards, backwards = [], []
    key = table._oldest
    while key is not None:
        forwards.append(key)
        key = table.entries[key].newer
    key = table._newest
    while key is not None:
        backwards.append(key)
        key = table.entries[key].older
    assert backwards == forwards[::-1]
    return forwards


def test_the_garbage_collector_has_no_work_with_what_is_stored(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    create(store, "a", "b", owner="ann")
    assert not any(map(gc.is_tracked, store._records.entries.values()))


def test_little_is_kept_beside_a_record(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            store.create(f"{number:064}", bytes(400), DAY)
        each = (tracemalloc.get_traced_memory()[0] - before) / 20_000 - 400
    finally:
        tracemalloc.stop()
    assert each < 300


# Tombstones


def test_a_successor_comes_back_as_it_was(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    create(store, "old")
    store.regenerate("old", "\u4f1a \U0001f36a", b"data", DAY, version=b"data", tombstone=DAY)
    assert store.load("old") == Replaced("\u4f1a \U0001f36a")
    assert store.delete("old") == Deleted(0, ("\u4f1a \U0001f36a",))


# Sweeping


def test_deleting_leaves_nothing_behind(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    for number in range(1000):
        create(store, str(number), ttl=1 + number * 1000, owner=str(number % 7))
    for number in range(1000):
        assert store.delete(str(number)).count == 1
    assert is_empty(store._records)
    assert len(store._records._slots) == len(store._records.due) < 64 * 20


def test_sessions_that_come_and_go_for_a_month_leave_nothing_behind(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    for number in range(30 * 24 * 60):
        create(store, str(number), ttl=30 * DAY, owner="ann")
        store.touch(str(number), 29 * DAY)
        store.delete(str(number))
        clock.advance(60_000)
    assert is_empty(store._records)
    assert len(store._records._slots) == len(store._records.due) <= 130


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
        slots.add(store._records.entries["a"].slot.start)
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
            st.sampled_from(["put", "remove", "own", "sweep", "pass"]),
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
        elif step == "own" and key in table.entries:
            table.set_owner(key, table.entries[key], owner)
        elif step == "sweep":
            table.sweep(now, 1 + number % 4)
        elif step == "pass":
            now += number
        assert filed(table) == len(table.entries)
        assert all(key in entry.slot.keys for key, entry in table.entries.items())
        assert all(table._slots[entry.slot.start] is entry.slot for entry in table.entries.values())
        assert all(entry.slot.start <= entry.deadline for entry in table.entries.values())
        assert all(slot.gone * 2 <= len(slot.keys) for slot in table._slots.values())
        assert sorted(table.due) == sorted(table._slots)
        owned = {(key, entry.owner) for key, entry in table.entries.items() if entry.owner is not None}
        assert owned == {(key, name) for name, keys in table.owners.items() for key in keys}
        assert all(table.owners.values())
    table.sweep(now, 1000)
    assert all(entry.deadline > now for entry in table.entries.values())


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
        key for key, entry in records.entries.items() if entry.owner is not None
    }
    assert store.clear() == len(records.entries)
    assert is_empty(store._records)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*use of fork.* may lead to deadlocks:DeprecationWarning")
def test_a_child_that_was_forked_in_the_midst_of_writes_goes_on_with_a_whole_copy() -> None:
    store, done = MemoryStore(), threading.Event()
    store.create("kept", b"{}", DAY)

    def work(name: str) -> None:
        while not done.is_set():
            store.create(name, b"x" * 100, DAY, owner=name)
            store.delete(name)

    def child() -> None:
        for name in ("0", "1", "new"):
            store.delete(name)
            assert store.create(name, b"{}", DAY, owner=name) == b"{}"
            assert store.by_owner(name) == [name]
        assert store.count() == 4

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            in_fork(child)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert store.load("kept")


def test_a_key_of_a_class_of_its_own_is_the_text_that_it_is() -> None:
    class Key(str):
        __slots__ = ()

    store = MemoryStore()
    store.create("key", b"{}", DAY)
    found = store.load(Key("key"))
    assert isinstance(found, Stored) and found.data == b"{}"
