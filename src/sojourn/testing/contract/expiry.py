"""Cases about time."""

from __future__ import annotations

from typing import Any, cast

from ...core.store import CONFLICT, EXISTS, MISSING, Deleted
from ..colour import FullStore
from .harness import LONG, Harness, case, live, new_key, record, wrote

__all__ = ["ExpiryCases"]

DAY = 24 * 60 * 60 * 1000


class ExpiryCases(Harness):
    """Records that come to their end."""

    @case()
    async def test_a_record_is_live_until_its_time_is_up_and_missing_from_then_on(self, store: FullStore) -> None:
        key, _ = await self.create(store, ttl=self.short)
        await self.while_live(self.short)
        self.assert_expires_in(live(await store.load(key)), self.tick)
        await self.advance(2 * self.tick - 1)
        assert await store.load(key) is None
        await self.advance(self.short)
        assert await store.load(key) is None

    @case()
    async def test_every_write_sets_the_expiry_anew_rather_than_adding_to_it(self, store: FullStore) -> None:
        replaced, version = await self.create(store)
        wrote(await store.replace(replaced, record(1), self.short, version=version))
        touched, _ = await self.create(store)
        assert await store.touch(touched, self.short) is True
        old, version = await self.create(store)
        regenerated = new_key()
        wrote(await store.regenerate(old, regenerated, record(1), self.short, version=version, tombstone=0))
        await self.until_expired(self.short)
        for how, key in {"replaced": replaced, "touched": touched, "regenerated": regenerated}.items():
            assert await store.load(key) is None, f"{how}, and still there after its new ttl"

    @case()
    async def test_every_write_can_prolong_a_life(self, store: FullStore) -> None:
        replaced, replaced_version = await self.create(store, ttl=self.short)
        touched, _ = await self.create(store, ttl=self.short)
        old, version = await self.create(store, ttl=self.short)
        wrote(await store.replace(replaced, record(1), LONG, version=replaced_version))
        assert await store.touch(touched, LONG) is True
        regenerated = new_key()
        wrote(await store.regenerate(old, regenerated, record(1), LONG, version=version, tombstone=0))
        await self.until_expired(self.short)
        for how, key in {"replaced": replaced, "touched": touched, "regenerated": regenerated}.items():
            assert await store.load(key) is not None, f"{how}, and gone after its former ttl"
        assert await store.touch(touched, LONG) is True

    @case()
    async def test_neither_loading_nor_a_refused_write_prolongs_a_life(self, store: FullStore) -> None:
        key, stale = await self.create(store, ttl=self.short)
        other, _ = await self.create(store)
        version = wrote(await store.replace(key, record(1), self.short, version=stale))
        await store.load(key)
        assert await store.create(key, record(2), LONG) is EXISTS
        assert await store.replace(key, record(2), LONG, version=stale) is CONFLICT
        assert (
            await store.regenerate(key, new_key(), record(2), LONG, version=stale, tombstone=self.tombstone) is CONFLICT
        )
        assert await store.regenerate(key, other, record(2), LONG, version=version, tombstone=self.tombstone) is EXISTS
        await self.until_expired(self.short)
        assert await store.load(key) is None

    @case()
    async def test_an_expired_record_is_missing_to_every_write_at_once(self, store: FullStore) -> None:
        keys = [await self.create(store, ttl=self.short) for _ in range(4)]
        target = new_key()
        await self.until_expired(self.short)
        (touched, _), (replaced, version), (old, old_version), (deleted, _) = keys
        assert await store.touch(touched, LONG) is False
        assert await store.replace(replaced, record(1), LONG, version=version) is MISSING
        assert (
            await store.regenerate(old, target, record(1), LONG, version=old_version, tombstone=self.tombstone)
            is MISSING
        )
        assert await store.delete(deleted) == Deleted(0, ())
        for key in (touched, replaced, old, deleted, target):
            assert await store.load(key) is None

    @case("has_expired")
    async def test_has_expired_knows_records_whose_time_is_up_from_those_that_never_were_or_were_ended(
        self, store: FullStore
    ) -> None:
        has_expired = cast("Any", store).has_expired
        expired, _ = await self.create(store, ttl=self.short)
        kept, _ = await self.create(store)
        deleted, _ = await self.create(store, ttl=self.short)
        assert await store.delete(deleted) == Deleted(1, ())
        old, version = await self.create(store)
        tombstone = self.short if self.tombstones else 0
        wrote(await store.regenerate(old, new_key(), record(1), LONG, version=version, tombstone=tombstone))
        assert not await has_expired(expired)
        await self.until_expired(self.short)
        assert await has_expired(expired) or self.sweeps_itself
        for how, key in {"kept": kept, "deleted": deleted, "regenerated": old, "never there": new_key()}.items():
            assert not await has_expired(key), how

    @case()
    async def test_an_expired_key_is_free_for_regenerate(self, store: FullStore) -> None:
        target, _ = await self.create(store, ttl=self.short)
        await self.until_expired(self.short)
        old, version = await self.create(store, 1)
        wrote(await store.regenerate(old, target, record(2), LONG, version=version, tombstone=0))
        assert live(await store.load(target)).data == record(2)

    @case()
    async def test_a_version_from_before_the_expiry_conflicts_with_the_record_created_after(
        self, store: FullStore
    ) -> None:
        key, version = await self.create(store, 1, self.short)
        await self.until_expired(self.short)
        wrote(await store.create(key, record(2), LONG))
        assert await store.replace(key, record(3), LONG, version=version) is CONFLICT
        assert live(await store.load(key)).data == record(2)

    @case()
    async def test_a_ttl_may_be_a_month_or_more_than_a_year(self, store: FullStore) -> None:
        for ttl in (30 * DAY, 400 * DAY, 3653 * DAY):
            key, version = await self.create(store, ttl=ttl)
            self.assert_expires_in(live(await store.load(key)), ttl)
            assert await store.touch(key, ttl - DAY) is True
            self.assert_expires_in(live(await store.load(key)), ttl - DAY)
            wrote(await store.replace(key, record(1), ttl, version=version))
            self.assert_expires_in(live(await store.load(key)), ttl)

    @case()
    async def test_a_ttl_may_be_a_single_millisecond(self, store: FullStore) -> None:
        key, _ = await self.create(store, ttl=1)
        touched, _ = await self.create(store)
        assert await store.touch(touched, 1) is True
        await self.advance(self.tick)
        assert await store.load(key) is None
        assert await store.load(touched) is None

    @case()
    async def test_records_expire_each_in_its_own_time_in_whatever_order_they_came(self, store: FullStore) -> None:
        step = 4 * self.tick
        order = [5, 1, 4, 2, 3]
        keys = {turn: (await self.create(store, turn, self.short + turn * step))[0] for turn in order}
        await self.advance(self.short + step // 2)
        for turn in sorted(order):
            await self.advance(step)
            alive = [other for other in sorted(order) if await store.load(keys[other]) is not None]
            assert alive == [other for other in sorted(order) if other > turn]
