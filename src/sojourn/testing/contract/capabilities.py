"""Cases about what only some stores can do: walk over all records, find an owner's, and lock a key."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...core.store import CONFLICT, EXISTS, MISSING, Deleted, Replaced, Seen, Stored, longest_lock
from ..colour import FullStore
from .harness import LONG, ODD_KEYS, Harness, case, live, new_key, number_of, record, wrote

__all__ = ["LockCases", "LookCases", "OwnerCases", "ScanCases"]


class ScanCases(Harness):
    """`ScanningStore`."""

    @case("scan", "count")
    async def test_scan_and_count_find_exactly_the_live_records(self, store: FullStore) -> None:
        assert await scanned(store) == {}
        assert await store.count() == 0
        await self.missing_keys(store)
        others = set(await scanned(store))
        mine = {(await self.create(store, number))[0]: number for number in range(5)}
        found = await scanned(store)
        assert {key: number_of(stored) for key, stored in found.items() if key not in others} == mine
        assert len(others) == 2, "of the keys that are missing only the two helpers are live"
        assert await store.count() == len(found) == 7

    @case("scan")
    async def test_scan_gives_each_record_as_load_does(self, store: FullStore) -> None:
        key, version = await self.create(store, 1)
        wrote(await store.replace(key, record(2), 2 * LONG, version=version))
        await store.touch(key, 3 * LONG)
        (found,) = (await scanned(store)).items()
        assert found[0] == key
        await self.assert_unchanged(store, key, found[1])
        wrote(await store.replace(key, record(3), LONG, version=found[1].version))

    @case("scan", "count")
    async def test_a_record_is_out_of_scan_and_count_as_soon_as_its_time_is_up(self, store: FullStore) -> None:
        await self.create(store, ttl=self.short)
        kept, _ = await self.create(store)
        await self.until_expired(self.short)
        assert list(await scanned(store)) == [kept]
        assert await store.count() == 1

    @case("scan")
    async def test_scan_finds_every_odd_key_and_owner(self, store: FullStore) -> None:
        keys = ["a", "a*", "[a]", "%", "_", "a'b", "\u00e9", "\U0001f36a", ":", " ", "{a}:b"]
        for number, key in enumerate(keys):
            wrote(await store.create(key, record(number), LONG, owner=key))
        assert {key: number_of(stored) for key, stored in (await scanned(store)).items()} == {
            key: number for number, key in enumerate(keys)
        }

    @case("scan")
    async def test_a_scan_sees_all_that_stays_once_while_others_come_change_and_go(self, store: FullStore) -> None:
        going = [await self.create(store, 1000) for _ in range(50)]
        staying = [await self.create(store, number) for number in range(300)]
        going += [await self.create(store, 1000) for _ in range(50)]
        seen: list[str] = []
        async for key, _ in store.scan():
            seen.append(key)
            if len(seen) % 2 and going:
                await store.delete(going.pop()[0])
                await self.create(store, 2000)
                changed, _ = staying[len(seen) % 300]
                await store.touch(changed, 2 * LONG)
                version = live(await store.load(changed)).version
                wrote(await store.replace(changed, record(len(seen)), LONG, version=version))
            assert len(seen) < 5000, "the scan chases what is created meanwhile"
        stayed = {key for key, _ in staying}
        assert sorted(key for key in seen if key in stayed) == sorted(stayed)
        assert len(seen) == len(set(seen)), "a record was seen twice"

    @case("scan")
    async def test_a_scan_may_be_left_half_way(self, store: FullStore) -> None:
        for number in range(50):
            await self.create(store, number)
        scan = store.scan()
        async for _ in scan:
            break
        close = getattr(scan, "aclose", None)
        if close is not None:
            await close()
        await self.create(store)
        assert len(await scanned(store)) == 51

    @case("page")
    async def test_the_pages_have_every_record_as_load_gives_it(self, store: FullStore) -> None:
        assert (await paged(store, 10)) == {}
        mine = {(await self.create(store, number))[0]: number for number in range(25)}
        await self.missing_keys(store)
        found: dict[str, Stored] = {}
        for limit in (1, 7, 100):
            found = await paged(store, limit)
            assert {key: number_of(stored) for key, stored in found.items() if key in mine} == mine
        for key in list(mine)[:3]:
            await self.assert_unchanged(store, key, found[key])

    @case("page")
    async def test_what_ends_between_two_pages_is_left_out_and_nothing_else(self, store: FullStore) -> None:
        keys = [(await self.create(store, number))[0] for number in range(30)]
        seen: set[str] = set()
        cursor: str | None = ""
        while cursor is not None:
            items, cursor = await store.page(cursor, 4)
            seen.update(key for key, _ in items)
            before, after = ([key for key in keys if (key in seen) is is_seen][:1] for is_seen in (True, False))
            await store.delete(*before, *after)
            keys = [key for key in keys if key not in (*before, *after)]
        assert set(keys) <= seen

    @case("facts")
    async def test_a_store_says_what_it_runs_on(self, store: FullStore) -> None:
        assert (await store.facts())["server"]

    @case("clear", "count")
    async def test_clear_deletes_every_live_record_and_tells_how_many(self, store: FullStore) -> None:
        keys = [(await self.create(store, number, owner="ann"))[0] for number in range(5)]
        await self.create(store, ttl=self.short)
        await self.until_expired(self.short)
        assert await store.clear() == 5
        assert await store.count() == 0
        assert await store.clear() == 0
        for key in keys:
            assert await store.load(key) is None
        if hasattr(store, "by_owner"):
            assert await store.by_owner("ann") == []
        key, version = await self.create(store)
        assert await store.replace(keys[0], record(1), LONG, version=version) is MISSING
        wrote(await store.create(keys[0], record(2), LONG))
        assert await store.count() == 2

    @case("clear", "count")
    async def test_clear_leaves_tombstones(self, store: FullStore) -> None:
        old, version = await self.create(store)
        new, ttl = new_key(), self.required_tombstone(LONG)
        wrote(await store.regenerate(old, new, record(1), LONG, version=version, tombstone=ttl))
        assert await store.clear() == 1
        assert await store.load(old) == Replaced(new)
        assert await store.count() == 0

    @case("delete_expired")
    async def test_delete_expired_removes_what_has_expired_and_nothing_else(self, store: FullStore) -> None:
        assert await store.delete_expired() == 0
        kept, version = await self.create(store, 1)
        touched, _ = await self.create(store, 2, self.short)
        await store.touch(touched, LONG)
        old, old_version = await self.create(store, 3)
        new = new_key()
        wrote(await store.regenerate(old, new, record(3), LONG, version=old_version, tombstone=self.tombstone))
        before = live(await store.load(kept))
        expired = [(await self.create(store, number, self.short))[0] for number in range(25)]
        await self.until_expired(self.short)
        removed = await store.delete_expired()
        assert removed <= 25 if self.sweeps_itself else removed == 25
        assert await store.delete_expired() == 0
        await self.assert_unchanged(store, kept, before, self.short + self.tick - 1)
        assert number_of(live(await store.load(touched))) == 2
        assert await store.load(old) == self.left(new)
        for key in expired:
            assert await store.load(key) is None
        wrote(await store.replace(kept, record(4), LONG, version=version))

    @case("delete_expired")
    async def test_delete_expired_removes_tombstones_without_counting_them(self, store: FullStore) -> None:
        old, version = await self.create(store)
        ttl = self.required_tombstone(self.short)
        wrote(await store.regenerate(old, new_key(), record(1), LONG, version=version, tombstone=ttl))
        await self.until_expired(self.short)
        assert await store.delete_expired() == 0
        assert await store.load(old) is None
        wrote(await store.create(old, record(2), LONG))


class OwnerCases(Harness):
    """``by_owner``, and `IndexingStore`."""

    @case("by_owner")
    async def test_by_owner_finds_exactly_the_live_records_of_an_owner(self, store: FullStore) -> None:
        assert await store.by_owner("ann") == []
        anns = sorted([(await self.create(store, number, owner="ann"))[0] for number in range(3)])
        await self.create(store, owner="bob")
        await self.create(store)
        await self.create(store, ttl=self.short, owner="ann")
        old, version = await self.create(store, owner="ann")
        wrote(await store.regenerate(old, new_key(), record(1), LONG, version=version, tombstone=self.tombstone))
        deleted, _ = await self.create(store, owner="ann")
        await store.delete(deleted)
        await self.until_expired(self.short)
        found = await store.by_owner("ann")
        assert isinstance(found, list)
        assert sorted(found) == anns

    @case("by_owner")
    async def test_an_owner_is_found_by_the_very_name_alone(self, store: FullStore) -> None:
        owners = [
            "ann",
            "Ann",
            "ann ",
            "an",
            "ann*",
            "*",
            "a%",
            "%",
            "_nn",
            "'",
            '"',
            "\u00e9",
            "e\u0301",
            "1",
            "01",
            ":",
        ]
        keys = {owner: (await self.create(store, owner=owner))[0] for owner in owners}
        for owner, key in keys.items():
            assert await store.by_owner(owner) == [key], repr(owner)

    @case("by_owner")
    async def test_replace_sets_the_owner(self, store: FullStore) -> None:
        key, version = await self.create(store)
        for owner in ("ann", "ann", "bob", None, "ann"):
            version = wrote(await store.replace(key, record(1), LONG, version=version, owner=owner))
            found = {name: await store.by_owner(name) for name in ("ann", "bob")}
            assert found == {name: [key] if name == owner else [] for name in ("ann", "bob")}

    @case("by_owner")
    async def test_regenerate_sets_the_owner_of_the_new_record(self, store: FullStore) -> None:
        for owner, after in (("ann", "ann"), (None, "bob"), ("cid", "dan"), ("eve", None)):
            old, version = await self.create(store, owner=owner)
            new = new_key()
            result = await store.regenerate(
                old, new, record(1), LONG, version=version, tombstone=self.tombstone, owner=after
            )
            wrote(result)
            if owner is not None:
                assert await store.by_owner(owner) == ([new] if after == owner else [])
            if after is not None:
                assert await store.by_owner(after) == [new]

    @case("by_owner")
    async def test_neither_a_touch_nor_a_refused_write_changes_the_owner(self, store: FullStore) -> None:
        key, former = await self.create(store, owner="ann")
        version = wrote(await store.replace(key, record(1), LONG, version=former, owner="ann"))
        taken, _ = await self.create(store)
        assert await store.touch(key, LONG) is True
        assert await store.create(key, record(2), LONG, owner="bob") is EXISTS
        assert await store.replace(key, record(2), LONG, version=former, owner="bob") is CONFLICT
        for new, known, result in ((new_key(), former, CONFLICT), (taken, version, EXISTS)):
            refused = store.regenerate(key, new, record(2), LONG, version=known, tombstone=self.tombstone, owner="bob")
            assert await refused is result
        assert await store.by_owner("ann") == [key]
        assert await store.by_owner("bob") == []

    @case("by_owner")
    async def test_a_key_created_anew_has_nothing_of_its_former_owner(self, store: FullStore) -> None:
        deleted, _ = await self.create(store, owner="ann")
        await store.delete(deleted)
        expired, _ = await self.create(store, ttl=self.short, owner="ann")
        await self.until_expired(self.short)
        for key in (deleted, expired):
            wrote(await store.create(key, record(1), LONG))
        assert await store.by_owner("ann") == []

    @case("set_owner", "by_owner")
    async def test_set_owner_says_whose_a_record_is_and_changes_nothing_else(self, store: FullStore) -> None:
        for first in (None, "ann"):
            key, version = await self.create(store, owner=first)
            before = live(await store.load(key))
            former = first
            for owner in ("ann", "ann", "bob", None, None, "ann"):
                assert await store.set_owner(key, owner, version=version) is (owner != former)
                found = {name: await store.by_owner(name) for name in ("ann", "bob")}
                assert found == {name: [key] if name == owner else [] for name in ("ann", "bob")}
                former = owner
            await self.assert_unchanged(store, key, before)
            assert await store.delete(key) == Deleted(1, ())
            assert await store.by_owner("ann") == []

    @case("set_owner", "by_owner")
    async def test_what_is_not_there_or_is_no_longer_this_version_gets_no_owner(self, store: FullStore) -> None:
        missing = await self.missing_keys(store)
        for how, (key, version) in missing.items():
            assert await store.set_owner(key, "ann", version=version) is MISSING, how
        key, former = await self.create(store, owner="bob")
        wrote(await store.replace(key, record(1), LONG, version=former, owner="bob"))
        assert await store.set_owner(key, "ann", version=former) is CONFLICT
        assert await store.set_owner(key, "bob", version=former) is CONFLICT
        assert await store.by_owner("ann") == []
        assert await store.by_owner("bob") == [key]


class LookCases(Harness):
    """`LookingStore`."""

    @case("look", "mark")
    async def test_look_tells_of_each_key_what_load_would_by_the_mark_of_its_version(self, store: FullStore) -> None:
        assert await store.look([]) == {}
        missing = [key for key, _ in (await self.missing_keys(store)).values()]
        live_keys = [(await self.create(store, number, (number + 1) * LONG))[0] for number in range(3)]
        old, version = await self.create(store)
        new = new_key()
        wrote(await store.regenerate(old, new, record(9), LONG, version=version, tombstone=self.tombstone))
        seen = await store.look([*missing[:3], *live_keys, old, new])
        assert sorted(seen) == sorted([*live_keys, new, *([old] if self.tombstones else [])])
        assert seen.get(old) == self.left(new)
        for number, key in enumerate(live_keys):
            found, expires_in = seen[key], (number + 1) * LONG
            assert isinstance(found, Seen)
            assert found.mark == store.mark(live(await store.load(key)).version)
            assert found.expires_in is not None
            assert abs(found.expires_in - expires_in) < max(self.tick, expires_in // 10)
        assert len({seen[key] for key in live_keys}) == 3, "other data, another mark"

    @case("look", "mark")
    async def test_a_mark_is_another_after_a_change_and_the_same_after_a_touch(self, store: FullStore) -> None:
        key, version = await self.create(store, 1)

        async def mark() -> object:
            (found,) = (await store.look([key])).values()
            assert isinstance(found, Seen)
            return found.mark

        first = await mark()
        assert first == store.mark(version)
        assert await store.touch(key, 2 * LONG) is True
        assert await mark() == first
        changed = wrote(await store.replace(key, record(2), LONG, version=version))
        assert await mark() == store.mark(changed) != first
        hash(first)

    @case("look")
    async def test_look_finds_nothing_as_soon_as_the_time_is_up_or_the_key_is_deleted(self, store: FullStore) -> None:
        expiring, _ = await self.create(store, ttl=self.short)
        deleted, _ = await self.create(store)
        kept, _ = await self.create(store)
        keys = [expiring, deleted, kept]
        assert sorted(await store.look(keys)) == sorted(keys)
        await store.delete(deleted)
        await self.until_expired(self.short)
        assert list(await store.look(keys)) == [kept]

    @case("look")
    async def test_look_tells_odd_keys_apart_and_takes_500_at_once(self, store: FullStore) -> None:
        keys = [key for key in ODD_KEYS if len(key.encode()) <= self.longest_key]
        for number, key in enumerate(keys):
            if number % 2:
                wrote(await store.create(key, record(number), LONG))
        others = [new_key() for _ in range(500 - len(keys))]
        assert sorted(await store.look([*keys, *others])) == sorted(keys[1::2])

    @case("look", "pulse")
    async def test_the_pulse_is_another_after_any_write_and_the_same_after_none(self, store: FullStore) -> None:
        key, version = await self.create(store)
        pulse: Any = getattr(store, "pulse")  # noqa: B009 - no store of every kind has it
        before = pulse()
        if before is None:
            self.skip("the store cannot tell its pulse")
        await store.look([key])
        await store.load(key)
        assert pulse() == before
        for write in (
            partial(store.replace, key, record(1), LONG, version=version),
            partial(store.touch, key, LONG),
            partial(store.delete, key),
        ):
            await write()
            before, was = pulse(), before
            assert before != was


class LockCases(Harness):
    """`LockingStore`."""

    @case("lock", "unlock")
    async def test_a_lock_is_held_by_one_until_it_is_released(self, store: FullStore) -> None:
        key = new_key()
        token = taken(await store.lock(key, LONG))
        assert await store.lock(key, LONG) is None
        assert await store.lock(key, LONG) is None
        assert await store.unlock(key, token) is True
        again = taken(await store.lock(key, LONG))
        assert again != token, "each token is another"
        assert await store.unlock(key, again) is True

    @case("lock", "unlock")
    async def test_a_lock_is_released_by_its_own_token_once(self, store: FullStore) -> None:
        key, other = new_key(), new_key()
        token, others = taken(await store.lock(key, LONG)), taken(await store.lock(other, LONG))
        for wrong in ("", "x", token + "x", token[:-1], others, "\u00e9"):
            assert await store.unlock(key, wrong) is False, "a wrong token released the lock"
        assert await store.lock(key, LONG) is None
        assert await store.unlock(key, token) is True
        assert await store.unlock(key, token) is False
        assert await store.unlock(new_key(), token) is False

    @case("lock", "unlock")
    async def test_a_lock_expires_by_itself(self, store: FullStore) -> None:
        key = new_key()
        former = taken(await store.lock(key, self.short))
        await self.while_live(self.short)
        assert await store.lock(key, LONG) is None
        await self.advance(2 * self.tick - 1)
        assert await store.unlock(key, former) is False, "an expired lock is no longer held"
        token = taken(await store.lock(key, LONG))
        assert await store.unlock(key, former) is False, "the next holder's lock is not the former one's to release"
        assert await store.lock(key, LONG) is None
        assert await store.unlock(key, token) is True

    @case("lock", "unlock")
    async def test_failing_to_take_a_lock_does_not_prolong_it(self, store: FullStore) -> None:
        key = new_key()
        token = taken(await store.lock(key, self.short))
        assert await store.lock(key, LONG) is None
        assert await store.unlock(key, "x") is False
        await self.until_expired(self.short)
        again = taken(await store.lock(key, LONG))
        assert again != token

    @case("lock", "unlock")
    async def test_a_lock_that_lasts_longer_than_any_may_was_taken_before_the_clock_was_set_back(
        self, store: FullStore
    ) -> None:
        key = new_key()
        orphan = taken(await store.lock(key, longest_lock(LONG) + 2 * LONG))
        token = taken(await store.lock(key, LONG))
        assert await store.unlock(key, orphan) is False
        assert await store.lock(key, LONG) is None
        assert await store.lock(key, self.short) is None, "who asks for less has no right to the lock of another"
        assert await store.unlock(key, token) is True

    @case("lock", "unlock")
    async def test_a_lock_and_a_record_under_one_key_know_nothing_of_each_other(self, store: FullStore) -> None:
        key, version = await self.create(store)
        token = taken(await store.lock(key, LONG))
        version = wrote(await store.replace(key, record(1), LONG, version=version))
        assert await store.touch(key, LONG) is True
        assert await store.delete(key) == Deleted(1, ())
        assert await store.load(key) is None
        assert await store.lock(key, LONG) is None, "the lock went with the record"
        wrote(await store.create(key, record(2), LONG))
        old, new = key, new_key()
        version = live(await store.load(old)).version
        wrote(await store.regenerate(old, new, record(3), LONG, version=version, tombstone=self.tombstone))
        assert await store.lock(old, LONG) is None, "the lock went with the session's old key"
        assert await store.unlock(old, token) is True
        assert await store.load(old) == self.left(new)
        assert number_of(live(await store.load(new))) == 3

    @case("lock", "unlock", "scan", "count", "clear", "delete_expired")
    async def test_a_lock_is_no_record(self, store: FullStore) -> None:
        key = new_key()
        token = taken(await store.lock(key, self.short))
        held, expiring = new_key(), new_key()
        taken(await store.lock(expiring, self.short))
        kept = taken(await store.lock(held, LONG))
        assert await store.load(key) is None
        assert await scanned(store) == {}
        assert await store.count() == 0
        assert await store.clear() == 0
        assert await store.unlock(key, token) is True
        await self.until_expired(self.short)
        assert await store.delete_expired() == 0
        assert await store.lock(held, LONG) is None
        assert await store.unlock(held, kept) is True


async def paged(store: FullStore, limit: int) -> dict[str, Stored]:
    """All records, page by page."""
    found: dict[str, Stored] = {}
    cursor: str | None = ""
    while cursor is not None:
        items, cursor = await store.page(cursor, limit)
        found.update(items)
    return found


async def scanned(store: FullStore) -> dict[str, Stored]:
    """All that a scan finds, each once."""
    found: dict[str, Stored] = {}
    async for key, stored in store.scan():
        assert key not in found, "the scan gave a key twice"
        found[key] = live(stored)
    return found


def taken(token: str | None) -> str:
    """Assert that a lock was taken."""
    assert isinstance(token, str), f"expected a token, got {token!r}"
    assert token, "the token is empty"
    return token
