"""Cases about ``regenerate`` and the tombstone it leaves."""

from __future__ import annotations

from ...core.store import CONFLICT, EXISTS, MISSING, Deleted, Replaced
from ..colour import FullStore
from .harness import LONG, Harness, case, live, new_key, record, wrote

__all__ = ["RegenerationCases"]


class RegenerationCases(Harness):
    """A session that moves from key to key."""

    @case()
    async def test_regenerate_moves_a_session_to_a_new_key(self, store: FullStore) -> None:
        old, version = await self.create(store)
        new = new_key()
        version = wrote(
            await store.regenerate(old, new, record(1), 2 * LONG, version=version, tombstone=self.tombstone)
        )
        stored = live(await store.load(new))
        assert stored.data == record(1)
        self.assert_expires_in(stored, 2 * LONG)
        assert await store.load(old) == self.left(new)
        wrote(await store.replace(new, record(2), LONG, version=version))

    @case()
    async def test_regenerate_may_keep_the_data(self, store: FullStore) -> None:
        old, version = await self.create(store, 4)
        new = new_key()
        wrote(await store.regenerate(old, new, record(4), LONG, version=version, tombstone=self.tombstone))
        assert live(await store.load(new)).data == record(4)
        assert await store.load(old) == self.left(new)

    @case()
    async def test_a_tombstone_of_zero_leaves_none(self, store: FullStore) -> None:
        old, version = await self.create(store)
        wrote(await store.regenerate(old, new_key(), record(1), LONG, version=version, tombstone=0))
        assert await store.load(old) is None
        wrote(await store.create(old, record(2), LONG))
        assert live(await store.load(old)).data == record(2)

    @case()
    async def test_regenerate_with_a_former_version_is_a_conflict_and_changes_nothing(self, store: FullStore) -> None:
        old, former = await self.create(store)
        wrote(await store.replace(old, record(1), LONG, version=former))
        before, new = live(await store.load(old)), new_key()
        assert (
            await store.regenerate(old, new, record(2), 10 * LONG, version=former, tombstone=self.tombstone) is CONFLICT
        )
        await self.assert_unchanged(store, old, before)
        assert await store.load(new) is None

    @case()
    async def test_regenerate_creates_nothing_however_the_old_key_came_to_be_missing(self, store: FullStore) -> None:
        for state, (old, version) in (await self.missing_keys(store)).items():
            before, new = await store.load(old), new_key()
            assert (
                await store.regenerate(old, new, record(9), LONG, version=version, tombstone=self.tombstone) is MISSING
            ), state
            assert await store.load(new) is None, state
            assert await store.load(old) == before, state

    @case()
    async def test_regenerate_refuses_a_live_new_key_and_changes_nothing(self, store: FullStore) -> None:
        old, version = await self.create(store, 1)
        new, _ = await self.create(store, 2)
        before = live(await store.load(old)), live(await store.load(new))
        assert (
            await store.regenerate(old, new, record(3), 10 * LONG, version=version, tombstone=self.tombstone) is EXISTS
        )
        await self.assert_unchanged(store, old, before[0])
        await self.assert_unchanged(store, new, before[1])
        wrote(await store.replace(old, record(4), LONG, version=version))

    @case()
    async def test_regenerate_refuses_the_old_key_as_the_new_one(self, store: FullStore) -> None:
        key, version = await self.create(store)
        before = live(await store.load(key))
        assert await store.regenerate(key, key, record(1), LONG, version=version, tombstone=self.tombstone) is EXISTS
        await self.assert_unchanged(store, key, before)

    @case()
    async def test_the_outcome_of_the_old_key_comes_before_that_of_the_new_one(self, store: FullStore) -> None:
        taken, _ = await self.create(store, 1)
        before = live(await store.load(taken))
        old, former = await self.create(store, 2)
        wrote(await store.replace(old, record(3), LONG, version=former))
        assert await store.regenerate(old, taken, record(4), LONG, version=former, tombstone=self.tombstone) is CONFLICT
        for state, (missing, version) in (await self.missing_keys(store)).items():
            result = await store.regenerate(missing, taken, record(4), LONG, version=version, tombstone=self.tombstone)
            assert result is MISSING, state
        stored = live(await store.load(taken))
        assert stored[:2] == before[:2]
        assert live(await store.load(old)).data == record(3)

    @case()
    async def test_a_key_once_deleted_can_be_the_new_one(self, store: FullStore) -> None:
        new, _ = await self.create(store)
        assert await store.delete(new) == Deleted(1, ())
        old, version = await self.create(store, 1)
        wrote(await store.regenerate(old, new, record(2), LONG, version=version, tombstone=self.tombstone))
        assert live(await store.load(new)).data == record(2)

    @case()
    async def test_a_session_may_move_again_and_again(self, store: FullStore) -> None:
        key, version = await self.create(store)
        former = []
        for number in range(5):
            former.append(key)
            key = new_key()
            version = wrote(
                await store.regenerate(former[-1], key, record(number), LONG, version=version, tombstone=self.tombstone)
            )
        assert [await store.load(old) for old in former] == [self.left(new) for new in [*former[1:], key]]
        assert live(await store.load(key)).data == record(4)

    @case()
    async def test_the_new_record_and_the_old_key_go_their_own_ways(self, store: FullStore) -> None:
        old, version = await self.create(store)
        new = new_key()
        wrote(await store.regenerate(old, new, record(1), LONG, version=version, tombstone=self.tombstone))
        assert await store.touch(old, LONG) is False
        live(await store.load(new))
        assert await store.delete(new) == Deleted(1, ())
        assert await store.load(old) == self.left(new), "a tombstone keeps its successor even when that has ended"

    @case()
    async def test_a_tombstone_is_no_place_for_a_new_record(self, store: FullStore) -> None:
        tomb, new = await self._tombstone(store, LONG)
        assert await store.create(tomb, record(1), LONG) is EXISTS
        assert await store.load(tomb) == Replaced(new)
        old, version = await self.create(store, 2)
        before = live(await store.load(old))
        assert await store.regenerate(old, tomb, record(3), LONG, version=version, tombstone=self.tombstone) is EXISTS
        assert await store.load(tomb) == Replaced(new)
        await self.assert_unchanged(store, old, before)

    @case()
    async def test_a_tombstone_expires_by_itself_and_leaves_the_key_free(self, store: FullStore) -> None:
        tomb, new = await self._tombstone(store, self.short)
        await self.while_live(self.short)
        assert await store.load(tomb) == Replaced(new)
        await self.advance(2 * self.tick - 1)
        assert await store.load(tomb) is None
        wrote(await store.create(tomb, record(1), LONG))
        assert live(await store.load(tomb)).data == record(1)

    @case()
    async def test_no_write_to_a_tombstone_prolongs_it(self, store: FullStore) -> None:
        key, version = await self.create(store)
        new, ttl = new_key(), self.required_tombstone(self.short)
        wrote(await store.regenerate(key, new, record(1), LONG, version=version, tombstone=ttl))
        assert await store.touch(key, LONG) is False
        assert await store.replace(key, record(1), LONG, version=version) is MISSING
        assert await store.create(key, record(1), LONG) is EXISTS
        assert await store.delete(key) == Deleted(0, (new,))
        assert await store.load(key) == Replaced(new)
        await self.until_expired(self.short)
        assert await store.load(key) is None

    @case()
    async def test_a_tombstone_may_outlive_the_session(self, store: FullStore) -> None:
        old, version = await self.create(store, ttl=self.short)
        new = new_key()
        ttl = self.required_tombstone(LONG)
        wrote(await store.regenerate(old, new, record(1), self.short, version=version, tombstone=ttl))
        await self.until_expired(self.short)
        assert await store.load(new) is None
        assert await store.load(old) == Replaced(new)

    @case()
    async def test_a_tombstone_ends_before_the_session_would_have(self, store: FullStore) -> None:
        old, version = await self.create(store, ttl=LONG)
        new = new_key()
        ttl = self.required_tombstone(self.short)
        wrote(await store.regenerate(old, new, record(1), LONG, version=version, tombstone=ttl))
        await self.until_expired(self.short)
        assert await store.load(old) is None
        live(await store.load(new))

    async def _tombstone(self, store: FullStore, ms: int) -> tuple[str, str]:
        """A tombstone, and its successor."""
        key, version = await self.create(store)
        new, ttl = new_key(), self.required_tombstone(ms)
        wrote(await store.regenerate(key, new, record(0), LONG, version=version, tombstone=ttl))
        return key, new
