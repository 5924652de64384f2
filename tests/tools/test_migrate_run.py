"""What becomes of each session, run after run, on stores in memory whose clock the tests move."""

from __future__ import annotations

import itertools
import logging
import os
import random
import sqlite3
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from sojourn import ConfigurationError, EncryptedCodec, StoreError, StoreTimeout, StoreUnavailable
from sojourn.clock import LONGEST_MS
from sojourn.codecs import JSONCodec
from sojourn.core.record import Login, Record, pack
from sojourn.core.store import Stored
from sojourn.ids import hash_id, mask_id
from sojourn.migrate import Report, migrate
from sojourn.stores import MemoryStore, SQLiteStore
from sojourn.testing import ManualClock

HOUR = 3_600_000
KEY = hash_id("a session")
numbers = itertools.count()


def record(n: Any = 0, owner: str | None = None) -> bytes:
    data = {"n": Raw(JSONCodec().encode(n))}
    return pack(
        Record(data, b'{"originalMaxAge":null}', created=1, login=Login(owner), write=next(numbers), lifetime=None)
    )


class World:
    """Two stores of one clock, and a state file."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.source: Any = MemoryStore(clock=self.clock)
        self.target: Any = MemoryStore(clock=self.clock)
        self.state = folder / "state"

    def run(self, **options: Any) -> Report:
        given = {"state": self.state, "clock": self.clock, "workers": 2, **options}
        return migrate(given.pop("source", self.source), given.pop("target", self.target), **given)

    def put(self, store: Any = None, key: str = KEY, n: Any = 0, ttl: int = HOUR, owner: str | None = None) -> bytes:
        """Write a session, new or not."""
        store = self.source if store is None else store
        data, found = record(n, owner), store.load(key)
        if isinstance(found, Stored):
            store.replace(key, data, ttl, version=found.version, owner=owner)
        else:
            store.create(key, data, ttl, owner=owner)
        return data

    def at_target(self, key: str = KEY) -> bytes | None:
        found = self.target.load(key)
        return found.data if isinstance(found, Stored) else None

    def left(self, store: Any = None, key: str = KEY) -> int | None:
        found = (self.target if store is None else store).load(key)
        assert isinstance(found, Stored)
        return found.expires_in


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# -- the first run


def test_each_session_is_copied_with_its_owner_and_the_lifetime_it_has_left(world: World) -> None:
    keys = {hash_id(str(number)): number for number in range(700)}
    for key, number in keys.items():
        world.put(key=key, n=number, ttl=HOUR + number, owner="ann" if number % 7 == 0 else None)
    world.clock.advance(HOUR // 2)
    assert world.run(state=None) == Report(copied=700)
    assert dict(world.target.scan()) == dict(world.source.scan())
    assert sorted(world.target.by_owner("ann")) == sorted(key for key, number in keys.items() if number % 7 == 0)


def test_nothing_is_copied_from_nowhere(world: World) -> None:
    assert world.run() == Report()


def test_neither_tombstones_nor_what_has_expired_is_copied(world: World) -> None:
    version = world.put()
    world.source.regenerate(KEY, hash_id("new"), record(1), HOUR, version=version, tombstone=HOUR)
    world.put(key=hash_id("short"), ttl=10)
    world.clock.advance(10)
    assert world.run() == Report(copied=1)
    assert [key for key, _ in world.target.scan()] == [hash_id("new")]
    assert world.target.load(KEY) is None


def test_a_key_or_an_owner_that_no_store_takes_any_more_is_told_and_left_behind(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.put()
    old = {hash_id("an owner"): record(1, owner="secret\0"), "secret\udcff": record(2), "secret" * 1000: record(3)}
    scan = world.source.scan

    def older() -> Iterator[tuple[str, Stored]]:
        yield from scan()
        yield from ((key, Stored(data, 1, HOUR)) for key, data in old.items())

    world.source.scan = older
    assert world.run(dry_run=True) == world.run() == Report(copied=1, failed=3)
    assert [key for key, _ in world.target.scan()] == [KEY]
    told = [log.getMessage() for log in caplog.records[3:]]
    assert sorted(line.partition(": ")[2] for line in told) == [
        "a key cannot contain a lone surrogate, which has no UTF-8",
        "a key may have at most 4096 bytes of UTF-8, not 6000",
        "the record's owner is none: an owner cannot contain U+0000, which PostgreSQL cannot hold",
    ]
    assert "secret" not in caplog.text


def test_what_expires_between_being_read_and_being_written_is_counted_and_not_written(world: World) -> None:
    world.put(ttl=10)
    original = world.source.scan

    def slow_scan() -> Iterator[tuple[str, Stored]]:
        yield from original()
        world.clock.advance(10)

    world.source.scan = slow_scan
    assert world.run() == Report(expired=1)
    assert world.at_target() is None


def test_a_lifetime_is_that_of_the_moment_of_writing(world: World) -> None:
    for number in range(3):
        world.put(key=hash_id(str(number)))
    report = world.run(rate=1, sleep=lambda seconds: world.clock.advance(round(seconds * 1000)))
    assert report == Report(copied=3)
    lefts = {world.left(key=hash_id(str(number))) for number in range(3)}
    assert lefts == {HOUR - 2000}, "each ends when it would have ended"


class Endless(MemoryStore):
    """Tells no lifetimes, as of records without an expiry."""

    default_ttl = 2 * HOUR

    def scan(self) -> Iterator[tuple[str, Stored]]:
        for key, stored in super().scan():
            yield key, stored._replace(expires_in=None)


@pytest.mark.parametrize(("max_age", "expected"), [(b"5000", 5000), (b"null", 2 * HOUR), (b"false", 2 * HOUR)])
def test_a_session_that_never_ends_gets_the_lifetime_of_one_that_was_just_used(
    world: World, max_age: bytes, expected: int
) -> None:
    source = Endless(clock=world.clock)
    source.create(KEY, b'{"cookie":{"originalMaxAge":%b},"n":1}' % max_age, HOUR)
    assert world.run(source=source) == Report(copied=1)
    assert world.left() == expected
    assert world.run(source=source) == Report(unchanged=1)


def test_a_session_whose_lifetime_is_over_with_each_use_has_ended(world: World) -> None:
    source = Endless(clock=world.clock)
    source.create(KEY, b'{"cookie":{"originalMaxAge":0},"n":1}', HOUR)
    assert world.run(source=source) == Report(expired=1)


def test_a_session_of_more_than_four_centuries_gets_four(world: World) -> None:
    class Eternal(MemoryStore):
        def scan(self) -> Iterator[tuple[str, Stored]]:
            for key, stored in super().scan():
                yield key, stored._replace(expires_in=2**63)

    source = Eternal(clock=world.clock)
    source.create(KEY, b'{"cookie":{"originalMaxAge":5000},"n":1}', HOUR)
    assert world.run(source=source) == Report(copied=1)
    assert world.left() == LONGEST_MS


def test_ids_are_hashed_where_that_is_asked_for(world: World) -> None:
    world.put(key="an id")
    assert world.run(hash_ids=True) == Report(copied=1)
    assert [key for key, _ in world.target.scan()] == [hash_id("an id")]


def test_a_key_that_is_not_what_was_said_ends_the_run_before_anything_is_written(world: World) -> None:
    world.put()
    world.put(key="an id")
    with pytest.raises(ConfigurationError, match="not hashes of ids"):
        world.run()
    assert world.target.count() == 0


# -- what the target has


def test_what_the_target_has_is_never_overwritten(world: World) -> None:
    world.put(n="theirs")
    ours = world.put(world.target, n="ours")
    for state in (None, world.state, world.state):
        assert world.run(state=state) == Report(skipped=1)
    world.put(n="theirs, newer")
    assert world.run() == Report(skipped=1)
    assert world.at_target() == ours


def test_a_tombstone_at_the_target_is_respected(world: World) -> None:
    version = world.put(world.target)
    world.target.regenerate(KEY, hash_id("new"), record(), HOUR, version=version, tombstone=HOUR)
    world.put()
    for state in (None, world.state, world.state):
        assert world.run(state=state) == Report(skipped=1)


def test_without_a_state_a_second_run_copies_what_is_missing(world: World) -> None:
    world.put()
    assert world.run(state=None) == Report(copied=1)
    world.put(key=hash_id("another"))
    assert world.run(state=None) == Report(copied=1, skipped=1)


# -- the second run


def test_a_second_run_brings_over_what_changed_at_the_source(world: World) -> None:
    same, changed = hash_id("same"), hash_id("changed")
    for key in (same, changed):
        world.put(key=key)
    assert world.run() == Report(copied=2)
    world.clock.advance(HOUR // 2)
    data = world.put(key=changed, n=1, ttl=2 * HOUR, owner="ann")
    world.put(key=hash_id("new"))
    assert world.run() == Report(copied=1, updated=1, unchanged=1)
    assert (world.at_target(changed), world.left(key=changed)) == (data, 2 * HOUR)
    assert world.target.by_owner("ann") == [changed]
    assert world.run() == Report(unchanged=3)


def test_a_second_run_brings_over_lifetimes(world: World) -> None:
    world.put()
    world.run()
    world.clock.advance(HOUR // 2)
    world.source.touch(KEY, HOUR)
    assert world.run() == Report(updated=1)
    assert world.left() == HOUR
    assert world.run() == Report(unchanged=1)


def test_a_session_that_was_used_at_the_source_is_copied_anew_where_the_copy_has_expired(world: World) -> None:
    world.put()
    world.run()
    world.source.touch(KEY, 3 * HOUR)
    world.clock.advance(HOUR)
    assert world.at_target() is None
    assert world.run() == Report(copied=1)
    assert world.left() == 2 * HOUR


def test_a_session_that_ended_at_the_target_is_not_brought_back(world: World) -> None:
    world.put()
    world.run()
    world.target.delete(KEY)
    assert world.run() == Report(unchanged=1)
    world.put(n="newer")
    assert world.run() == Report(skipped=1)
    world.source.touch(KEY, 2 * HOUR)
    assert world.run() == Report(skipped=1)
    assert world.at_target() is None


def test_a_session_of_the_targets_own_that_ended_there_is_not_replaced_by_the_sources(world: World) -> None:
    world.put()
    world.put(world.target, n="theirs")
    assert world.run() == Report(skipped=1)
    world.target.delete(KEY)
    world.put(n="newer")
    assert world.run() == Report(skipped=1)
    assert world.at_target() is None


def test_a_copy_that_was_written_at_the_target_stays_as_it_is(world: World) -> None:
    world.put()
    world.run()
    theirs = world.put(world.target, n="theirs")
    world.put(n="newer at the source")
    assert world.run() == Report(skipped=1)
    world.source.touch(KEY, 2 * HOUR)
    assert world.run() == Report(skipped=1)
    assert (world.at_target(), world.left()) == (theirs, HOUR)


def test_a_copy_that_was_written_at_the_target_in_that_very_moment_stays_as_it_is(world: World) -> None:
    world.put()
    world.run()
    world.put(n="newer at the source")
    original = world.target.load

    def load_and_write(key: str) -> Any:
        found = original(key)
        world.target.load = original
        world.put(world.target, n="theirs")
        return found

    world.target.load = load_and_write
    assert world.run() == Report(skipped=1)
    assert b"theirs" in (world.at_target() or b"")


def test_a_copy_that_was_used_at_the_target_keeps_the_longer_lifetime(world: World) -> None:
    world.put()
    world.run()
    world.target.touch(KEY, 3 * HOUR)
    data = world.put(n="newer", ttl=2 * HOUR)
    assert world.run() == Report(updated=1)
    assert (world.at_target(), world.left()) == (data, 3 * HOUR)


def test_a_lifetime_that_was_shortened_at_the_source_is_shortened_at_the_target(world: World) -> None:
    world.put(ttl=10 * HOUR)
    world.run()
    world.put(n="no longer remembered", ttl=HOUR)
    assert world.run() == Report(updated=1)
    assert world.left() == HOUR


def test_what_a_run_that_was_killed_had_no_time_to_note_is_known_again(world: World) -> None:
    world.put()
    world.run(state=None)
    assert world.run() == Report(unchanged=1)
    world.put(n="newer")
    assert world.run() == Report(updated=1)


def test_what_a_run_that_was_killed_updated_without_noting_it_is_known_again(world: World) -> None:
    world.put()
    world.run()
    newer = world.put(n="newer")
    world.target.replace(KEY, newer, HOUR, version=world.at_target())
    assert world.run() == Report(updated=1)
    world.put(n="newest")
    assert world.run() == Report(updated=1)


def test_encrypted_copies_are_known_again_though_no_two_sealings_are_alike(world: World) -> None:
    source_codec, target_codec = EncryptedCodec(b"o" * 32), EncryptedCodec(b"n" * 32)
    codecs = {"source_codec": source_codec, "target_codec": target_codec}
    text = record("secret")
    world.source.create(KEY, source_codec.seal(text, KEY), HOUR)
    assert world.run(state=None, **codecs) == Report(copied=1)
    assert target_codec.unseal(world.at_target() or b"", KEY) == text
    assert world.run(**codecs) == Report(unchanged=1)
    foreign, foreign_key = EncryptedCodec(b"x" * 32), hash_id("foreign")
    world.source.create(foreign_key, source_codec.seal(text, foreign_key), HOUR)
    world.target.create(foreign_key, foreign.seal(text, foreign_key), HOUR)
    assert world.run(**codecs) == Report(unchanged=1, skipped=1)


# -- sessions that ended at the source


def test_a_session_that_ended_at_the_source_is_told_and_ended_at_the_target_where_that_is_asked_for(
    world: World,
) -> None:
    gone, kept = hash_id("gone"), hash_id("kept")
    for key in (gone, kept):
        world.put(key=key, owner="ann")
    world.run()
    world.source.delete(gone)
    for _ in range(2):
        assert world.run() == Report(unchanged=1, orphaned=1)
    assert world.run(remove_ended=True, dry_run=True) == Report(unchanged=1, removed=1)
    assert world.at_target(gone) is not None
    assert world.run(remove_ended=True) == Report(unchanged=1, removed=1)
    world.clock.advance(1)
    assert world.at_target(gone) is None
    assert world.target.by_owner("ann") == [kept]
    assert world.run(remove_ended=True) == Report(unchanged=1)


def test_a_session_that_was_regenerated_at_the_source_is_so_at_the_target(world: World) -> None:
    version = world.put()
    world.run()
    world.source.regenerate(KEY, hash_id("new"), record(), HOUR, version=version, tombstone=HOUR)
    assert world.run(remove_ended=True) == Report(copied=1, removed=1)
    world.clock.advance(1)
    assert [key for key, _ in world.target.scan()] == [hash_id("new")]


@pytest.mark.parametrize("remove_ended", [True, False])
def test_a_copy_that_was_written_or_has_ended_at_the_target_is_no_longer_the_sources_to_end(
    world: World, remove_ended: bool
) -> None:
    written, ended, other = (hash_id(name) for name in ("written", "ended", "other"))
    for key in (written, ended, other):
        world.put(key=key)
    world.run()
    world.put(world.target, key=written, n="theirs")
    world.target.delete(ended)
    world.source.delete(written)
    world.source.delete(ended)
    assert world.run(remove_ended=remove_ended) == Report(unchanged=1)
    assert {key for key, _ in world.target.scan()} == {written, other}


def test_a_copy_that_is_in_use_at_the_target_is_not_ended_with_a_session_that_expired_where_nobody_comes_any_more(
    world: World,
) -> None:
    world.put()
    world.put(key=hash_id("other"), ttl=9 * HOUR)
    world.run()
    world.target.touch(KEY, 5 * HOUR)
    world.clock.advance(HOUR)
    assert world.source.load(KEY) is None
    assert world.run(remove_ended=True) == Report(unchanged=1)
    assert world.left() == 4 * HOUR


def test_a_copy_that_is_written_in_the_moment_of_its_removal_lives_on(world: World) -> None:
    world.put()
    world.put(key=hash_id("other"))
    world.run()
    world.source.delete(KEY)
    original = world.target.load

    def load_and_write(key: str) -> Any:
        found = original(key)
        world.target.load = original
        world.put(world.target, n="theirs")
        return found

    world.target.load = load_and_write
    assert world.run(remove_ended=True) == Report(unchanged=1)
    world.clock.advance(1)
    assert b"theirs" in (world.at_target() or b"")


def test_nothing_is_removed_after_a_source_without_any_session(world: World) -> None:
    world.put()
    world.run()
    world.source.clear()
    with pytest.raises(
        ConfigurationError, match=r"remove_ended: got a source without any session; is it the right one\?"
    ):
        world.run(remove_ended=True)
    assert world.at_target() is not None
    assert world.run() == Report(orphaned=1)


def test_the_state_forgets_what_has_expired(world: World) -> None:
    world.put()
    world.run()
    world.clock.advance(HOUR)
    world.run()
    with sqlite3.connect(world.state) as file:
        assert file.execute("SELECT count(*) FROM copies").fetchone() == (0,)
    file.close()


# -- dry runs


def test_a_dry_run_tells_what_a_run_would_do_and_writes_nothing(world: World, tmp_path: Path) -> None:
    target = SQLiteStore(tmp_path / "target.db", clock=world.clock)
    for name in ("changed", "touched", "same", "gone"):
        world.put(key=hash_id(name))
    assert world.run(target=target, dry_run=True) == Report(copied=4)
    assert not world.state.exists() and not Path(target.path).exists()
    assert world.run(target=target) == Report(copied=4)
    world.put(key=hash_id("changed"), n=1)
    world.source.touch(hash_id("touched"), 2 * HOUR)
    world.source.delete(hash_id("gone"))
    world.put(key=hash_id("new"))
    world.put(key=hash_id("theirs"))
    world.put(target, key=hash_id("theirs"), n="theirs")
    before, expected = dict(target.scan()), Report(copied=1, updated=2, unchanged=1, skipped=1, removed=1)
    for _ in range(2):
        assert world.run(target=target, dry_run=True, remove_ended=True) == expected
        assert dict(target.scan()) == before
    assert world.run(target=target, remove_ended=True) == expected
    target.close()


def test_a_dry_run_tells_what_is_too_large(world: World) -> None:
    world.put(n="x" * 100)
    target = MemoryStore(max_size=50)
    assert world.run(target=target, dry_run=True) == world.run(target=target) == Report(failed=1)


# -- failures


class Refusing(MemoryStore):
    """Refuses to write some records, or fails altogether."""

    refused: Any = ()
    error: type[StoreError] = StoreUnavailable
    is_down = False

    def load(self, key: str) -> Any:
        if self.is_down:
            raise StoreUnavailable("down")
        return super().load(key)

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        if self.is_down or key in self.refused:
            raise self.error("refused")
        return super().create(key, data, ttl, owner=owner)


@pytest.mark.parametrize("error", [StoreUnavailable, StoreTimeout])
def test_a_record_that_the_target_refuses_is_failed_and_the_others_are_copied(
    world: World, error: type[StoreError], caplog: pytest.LogCaptureFixture
) -> None:
    target = Refusing(clock=world.clock)
    target.refused, target.error = {KEY}, error
    for number in range(300):
        world.put(key=hash_id(str(number)))
    world.put()
    assert world.run(target=target) == Report(copied=300, failed=1)
    assert caplog.messages == [f"a session ({mask_id(KEY)}) was not migrated: refused"]
    target.refused = ()
    assert world.run(target=target) == Report(copied=1, unchanged=300)


def test_records_that_are_refused_now_and_then_do_not_end_the_run_however_many(world: World) -> None:
    target = Refusing(clock=world.clock)
    keys = [hash_id(str(number)) for number in range(60)]
    target.refused = set(keys[::2])
    for key in keys:
        world.put(key=key)
    assert world.run(target=target, workers=1) == Report(copied=30, failed=30)


def test_a_target_that_refuses_everything_ends_the_run(world: World) -> None:
    target = Refusing(clock=world.clock)
    target.refused = {hash_id(str(number)) for number in range(300)}
    for key in target.refused:
        world.put(key=key)
    seen: list[Report] = []
    with pytest.raises(StoreUnavailable, match="the target fails: refused"):
        world.run(target=target, progress=lambda report, _: seen.append(report))
    assert 9 <= seen[-1].failed < 10 + 2, "two workers stop after the tenth"


@pytest.mark.parametrize("fails", ["load", "create"])
def test_what_the_driver_of_a_store_says_is_neither_in_the_error_nor_in_the_log(
    world: World, fails: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    target = MemoryStore(clock=world.clock)
    world.put(key=KEY)

    def fail(key: str, *_: object, **__: object) -> Any:
        raise StoreUnavailable(f"no {key}") from OSError(f"no {key}")

    monkeypatch.setattr(target, "create", fail)
    if fails == "create":
        assert world.run(target=target) == Report(failed=1)
        assert caplog.messages == [f"a session ({mask_id(KEY)}) was not migrated: OSError"]
    else:
        monkeypatch.setattr(target, "load", fail)
        with pytest.raises(StoreUnavailable) as failed:
            world.run(target=target)
        assert str(failed.value) == "the target fails: OSError"
        assert isinstance(failed.value.driver_error, OSError)
        assert failed.value.__cause__ is None and failed.value.__context__ is None


def test_one_thread_that_fails_stops_the_others(world: World) -> None:
    failed = threading.Event()

    class Failing(MemoryStore):
        def create(self, *args: Any, **options: Any) -> Any:
            if threading.current_thread().name.endswith("_1"):
                failed.set()
                raise OSError("unexpected")
            assert failed.wait(10)
            time.sleep(0.001)
            return super().create(*args, **options)

    for number in range(250):
        world.put(key=hash_id(str(number)))
    target = Failing(clock=world.clock)
    with pytest.raises(OSError, match="unexpected"):
        world.run(target=target)
    assert target.count() < 100


def test_a_target_that_fails_ends_the_run_which_can_be_resumed(world: World) -> None:
    target = Refusing(clock=world.clock)
    for number in range(1000):
        world.put(key=hash_id(str(number)))

    def fail(report: Report, _total: int | None) -> None:
        target.is_down = report.copied > 0

    with pytest.raises(StoreUnavailable, match="the target fails: down"):
        world.run(target=target, progress=fail)
    target.is_down = False
    copied = target.count()
    assert 0 < copied < 1000
    assert world.run(target=target) == Report(copied=1000 - copied, unchanged=copied)


@pytest.mark.parametrize("method", ["open", "scan", "count"])
def test_a_source_that_fails_is_named(world: World, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise StoreUnavailable("down")

    monkeypatch.setattr(world.source, method, fail)
    with pytest.raises(StoreUnavailable, match="the source fails: down"):
        world.run(progress=lambda *_: None)


SECRETS = ("the secret value", "the secret name", "the raw id")


def plant(store: MemoryStore, key: str, data: bytes) -> None:
    """Put a record where no store of ours would."""
    now = store._clock()
    store._records.put(key, data, None, now + HOUR, now)


def test_what_is_wrong_with_a_record_is_logged_without_its_id_or_data(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    broken = {
        "the raw id 1": b'{"no cookie": "the secret value"}',
        "the raw id 2": b"the secret value",
        "the raw id 3": b'{"cookie":{},"__sojourn__":{"v":1,"created":"the secret value"}}',
        "the raw id 4": pack(
            Record({"the secret name": Raw(b'{"$bytes":"dGhlIHNlY3JldCB2YWx1ZQ=="}')}, b"{}", created=1, write=1)
        ),
        "the raw id 5": b'{"cookie":{},"the secret name":"%b"}' % (b"x" * 2000),
        "the raw id \udcff": b'{"cookie":{}}',
    }
    for key, data in broken.items():
        plant(world.source, key, data)
    world.put(key="sound")
    target = MemoryStore(max_size=1000, clock=world.clock)
    report = world.run(target=target, hash_ids=False, target_codec="plain")
    assert report == Report(copied=1, failed=len(broken))
    text = caplog.text
    assert not any(secret in text for secret in SECRETS)
    assert all(mask_id(key) in text for key in broken)
    assert caplog.text.count("was not migrated") == len(broken)


def test_a_batch_of_nothing_but_broken_keys_does_not_end_the_run(world: World) -> None:
    for number in range(600):
        plant(world.source, f"\udcff{number}", record())
    world.put(key="sound")
    assert world.run(hash_ids=False) == Report(copied=1, failed=600)


# -- pace and progress


def test_the_rate_is_kept_and_evenly(world: World) -> None:
    for number in range(200):
        world.put(key=hash_id(str(number)))
    moments: list[int] = []

    class Noting(MemoryStore):
        def create(self, *args: Any, **options: Any) -> Any:
            moments.append(world.clock())
            return super().create(*args, **options)

    began = world.clock()
    report = world.run(
        target=Noting(clock=world.clock), rate=20, sleep=lambda seconds: world.clock.advance(round(seconds * 1000))
    )
    assert report == Report(copied=200)
    assert 9800 <= moments[-1] - began <= 10_000
    for moment in moments:
        assert sum(moment <= other < moment + 1000 for other in moments) <= 22


@pytest.mark.parametrize(("rate", "seconds"), [(0.5, 4), (1e6, 0)])
def test_any_rate_will_do(world: World, rate: float, seconds: int) -> None:
    for number in range(3):
        world.put(key=hash_id(str(number)))
    slept: list[float] = []

    def sleep(duration: float) -> None:
        slept.append(duration)
        world.clock.advance(round(duration * 1000))

    assert world.run(rate=rate, sleep=sleep) == Report(copied=3)
    assert sum(slept) == pytest.approx(seconds, abs=0.01)


def test_removal_keeps_the_rate_too(world: World) -> None:
    for number in range(101):
        world.put(key=hash_id(str(number)))
    world.run()
    for number in range(100):
        world.source.delete(hash_id(str(number)))
    began = world.clock()
    report = world.run(rate=50, remove_ended=True, sleep=lambda seconds: world.clock.advance(round(seconds * 1000)))
    assert report == Report(unchanged=1, removed=100)
    assert world.clock() - began >= 1900


def test_progress_is_told_with_the_total_at_the_start_and_the_report_in_the_end(world: World) -> None:
    for number in range(600):
        world.put(key=hash_id(str(number)))
    seen: list[tuple[int, int | None]] = []
    report = world.run(progress=lambda report, total: seen.append((report.seen, total)))
    assert seen == [(0, 600), (256, 600), (512, 600), (600, 600)]
    assert report.seen == 600


def test_progress_of_a_source_that_cannot_count_has_no_total(world: World) -> None:
    world.source.count = None
    seen: list[int | None] = []
    world.run(progress=lambda _, total: seen.append(total))
    assert seen == [None]


def test_as_many_threads_write_as_there_are_workers(world: World) -> None:
    threads: set[str] = set()
    together = threading.Barrier(5)

    class Noting(MemoryStore):
        def create(self, *args: Any, **options: Any) -> Any:
            threads.add(threading.current_thread().name)
            together.wait(10)
            return super().create(*args, **options)

    for number in range(25):
        world.put(key=hash_id(str(number)))
    assert world.run(target=Noting(clock=world.clock), workers=5) == Report(copied=25)
    assert len(threads) == 5


def test_an_interrupted_run_notes_what_was_done_of_its_batch(world: World) -> None:
    for number in range(100):
        world.put(key=hash_id(str(number)))

    class Interrupted(MemoryStore):
        def create(self, *args: Any, **options: Any) -> Any:
            if len(self._records.entries) >= 40:
                raise KeyboardInterrupt
            return super().create(*args, **options)

    target = Interrupted(clock=world.clock)
    with pytest.raises(KeyboardInterrupt):
        world.run(target=target, workers=1)
    assert target.count() == 40
    setattr(target, "create", MemoryStore.create.__get__(target))  # noqa: B010 - not to be seen by mypy
    for key, _ in list(target.scan()):
        world.put(key=key, n="newer")
    assert world.run(target=target) == Report(copied=60, updated=40)


# -- while both are in use


class Busy(MemoryStore):
    """Calls ``use`` before each operation of a migration, as others get in between."""

    use: Any = None

    def _interrupted(self, method: Any, *args: Any, **options: Any) -> Any:
        use, self.use = self.use, None
        if use is not None:
            use(*args[:1])
        self.use = use
        return method(self, *args, **options)

    def scan(self) -> Iterator[tuple[str, Stored]]:
        for item in super().scan():
            yield self._interrupted(lambda _, __: item, item[0])  # noqa: B023 - called at once

    def load(self, *args: Any) -> Any:
        return self._interrupted(MemoryStore.load, *args)

    def create(self, *args: Any, **options: Any) -> Any:
        return self._interrupted(MemoryStore.create, *args, **options)

    def replace(self, *args: Any, **options: Any) -> Any:
        return self._interrupted(MemoryStore.replace, *args, **options)

    def touch(self, *args: Any, **options: Any) -> Any:
        return self._interrupted(MemoryStore.touch, *args, **options)


@pytest.mark.parametrize("seed", range(10))
def test_run_after_run_loses_and_brings_back_nothing_while_both_stores_are_in_use(world: World, seed: int) -> None:
    dice = random.Random(seed)
    world.source, world.target = Busy(clock=world.clock), Busy(clock=world.clock)
    keys = [hash_id(str(number)) for number in range(60)]
    written: dict[str, bytes] = {}
    ended: set[str] = set()

    def use(at_hand: str) -> None:
        world.clock.advance(dice.choice([0, 1, 10, 1000]))
        key = dice.choice([at_hand, dice.choice(keys)])
        what = dice.random()
        if what < 0.1:
            world.source.delete(key)
        elif what < 0.4:
            world.put(key=key, n="the source's", ttl=9 * HOUR)
        elif what < 0.5:
            world.source.touch(key, dice.randint(9, 12) * HOUR)
        elif isinstance(found := world.target.load(key), Stored):
            if what < 0.52:
                world.target.delete(key)
                written.pop(key, None)
                ended.add(key)
            elif what < 0.7:
                world.target.touch(key, 9 * HOUR)
            elif what < 0.8:
                written[key] = record("the target's")
                world.target.replace(key, written[key], 9 * HOUR, version=found.version)

    for key in keys:
        world.put(key=key, ttl=9 * HOUR)
    world.run()
    world.source.use = world.target.use = use
    reports = [world.run(remove_ended=number % 2 == 1, workers=1) for number in range(10)]
    world.source.use = world.target.use = None
    world.clock.advance(1)
    assert written and ended and sum(report.updated for report in reports) and not any(one.failed for one in reports)
    assert {key: world.at_target(key) for key in written} == written
    assert [key for key in ended if world.at_target(key) is not None] == []


def test_however_many_sessions_there_are_few_are_in_memory(world: World) -> None:
    large = record("x" * 20_000)

    class Endless(MemoryStore):
        def scan(self) -> Iterator[tuple[str, Stored]]:
            for number in range(5000):
                data = large + b" " * (number % 7)
                yield hash_id(str(number)), Stored(data, data, HOUR)

    class Forgetful(MemoryStore):
        def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
            return data

    tracemalloc.start()
    try:
        assert world.run(source=Endless(), target=Forgetful()) == Report(copied=5000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000, "100 MB have passed"


# -- the state file


def test_the_state_file_is_its_owners_alone_and_holds_no_data(world: World) -> None:
    world.put(n="the secret value", owner="ann the owner")
    world.run()
    assert world.state.stat().st_mode & 0o777 == 0o600
    content = world.state.read_bytes()
    assert KEY.encode() in content
    assert b"secret" not in content and b"ann" not in content


def test_the_state_of_another_migration_is_refused(world: World, tmp_path: Path) -> None:
    world.put()
    world.run()
    for other in ({"target": SQLiteStore(tmp_path / "t.db")}, {"hash_ids": False}):
        with pytest.raises(ConfigurationError, match="state: got the state of another migration"):
            world.run(**other)


def test_a_state_in_which_nothing_was_noted_yet_may_become_that_of_another_migration(world: World) -> None:
    world.put(key="an id")
    with pytest.raises(ConfigurationError, match="hash_ids"):
        world.run()
    assert world.run(hash_ids=True) == Report(copied=1)


def test_a_file_that_is_something_else_is_refused_and_stays_as_it_is(world: World, tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "sessions.db")
    store.open()
    store.close()
    text = tmp_path / "text"
    text.write_bytes(b"no database" * 100)
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (tmp_path / "sessions.db", text, folder):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(ConfigurationError, match="state: got a file that"):
            world.run(state=path)
        assert (path.read_bytes() if path.is_file() else b"") == before


def test_two_runs_at_once_cannot_have_one_state(world: World) -> None:
    world.put()
    refused: list[str] = []

    def again(_report: Report, _total: int | None) -> None:
        with pytest.raises(ConfigurationError) as error:
            world.run()
        refused.append(str(error.value))

    world.run(progress=again)
    assert set(refused) == {"state: got a file that another run has open; wait for its end"}


def test_a_state_that_cannot_be_written_ends_the_run_in_words(world: World) -> None:
    world.put()
    world.run()
    with sqlite3.connect(world.state) as file:
        file.execute("CREATE TRIGGER full BEFORE INSERT ON copies BEGIN SELECT RAISE(ABORT, 'full'); END")
    file.close()
    with pytest.raises(ConfigurationError, match=r"^state: got a file that cannot be used \(full\)"):
        world.run()


def test_a_state_path_may_be_text(world: World) -> None:
    world.put()
    assert world.run(state=os.fspath(world.state)) == Report(copied=1)
    assert world.run() == Report(unchanged=1)
