"""Cases about one record: create, load, replace and touch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from ...core.store import CONFLICT, EXISTS, MISSING, Deleted
from ...errors import SessionTooLarge
from ..colour import FullStore
from .harness import LONG, ODD_KEYS, Harness, case, live, new_key, record, wrote

__all__ = ["RecordCases"]


class RecordCases(Harness):
    """One record at a time."""

    @case()
    async def test_a_key_never_created_is_missing_to_every_operation(self, store: FullStore) -> None:
        key = new_key()
        _, version = await self.create(store)
        assert await store.load(key) is None
        assert await store.replace(key, record(1), LONG, version=version) is MISSING
        assert (
            await store.regenerate(key, new_key(), record(1), LONG, version=version, tombstone=self.tombstone)
            is MISSING
        )
        assert await store.touch(key, LONG) is False
        assert await store.delete(key) == Deleted(0, ())
        assert await store.load(key) is None

    @case()
    async def test_a_created_record_is_loaded_with_its_data_and_expiry(self, store: FullStore) -> None:
        key, _ = await self.create(store, 7)
        stored = live(await store.load(key))
        assert stored.data == record(7)
        self.assert_expires_in(stored, LONG)

    @case()
    async def test_loading_changes_nothing(self, store: FullStore) -> None:
        key, _ = await self.create(store)
        first = live(await store.load(key))
        for _ in range(3):
            await self.assert_unchanged(store, key, first)

    @case()
    async def test_create_refuses_a_live_key_and_changes_nothing(self, store: FullStore) -> None:
        key, version = await self.create(store)
        before = live(await store.load(key))
        assert await store.create(key, record(1), 10 * LONG) is EXISTS
        assert await store.create(key, record(0), 10 * LONG) is EXISTS, "with equal data too"
        await self.assert_unchanged(store, key, before)
        wrote(await store.replace(key, record(2), LONG, version=version))

    @case()
    async def test_replace_overwrites_data_and_expiry(self, store: FullStore) -> None:
        for ttl in (2 * LONG, LONG // 2):
            key, version = await self.create(store)
            wrote(await store.replace(key, record(1), ttl, version=version))
            stored = live(await store.load(key))
            assert stored.data == record(1)
            self.assert_expires_in(stored, ttl)

    @case()
    async def test_the_versions_that_load_and_a_write_return_serve_alike(self, store: FullStore) -> None:
        key, version = await self.create(store)
        for number in range(1, 4):
            version = wrote(await store.replace(key, record(number), LONG, version=version))
        for number in range(4, 7):
            version = live(await store.load(key)).version
            wrote(await store.replace(key, record(number), LONG, version=version))
        assert live(await store.load(key)).data == record(6)

    @case()
    async def test_replace_with_a_former_version_is_a_conflict_and_changes_nothing(self, store: FullStore) -> None:
        key, first = await self.create(store)
        second = wrote(await store.replace(key, record(1), LONG, version=first))
        third = wrote(await store.replace(key, record(2), LONG, version=second))
        before = live(await store.load(key))
        for former in (first, second):
            assert await store.replace(key, record(3), 10 * LONG, version=former) is CONFLICT
            await self.assert_unchanged(store, key, before)
        wrote(await store.replace(key, record(4), LONG, version=third))

    @case()
    async def test_writing_equal_data_succeeds_and_sets_the_expiry(self, store: FullStore) -> None:
        key, version = await self.create(store)
        again = wrote(await store.replace(key, record(0), 2 * LONG, version=version))
        stored = live(await store.load(key))
        assert stored.data == record(0)
        self.assert_expires_in(stored, 2 * LONG)
        wrote(await store.replace(key, record(1), LONG, version=again))

    @case()
    async def test_replace_inserts_nothing_however_the_key_came_to_be_missing(self, store: FullStore) -> None:
        for state, (key, version) in (await self.missing_keys(store)).items():
            before = await store.load(key)
            assert await store.replace(key, record(9), LONG, version=version) is MISSING, state
            assert await store.load(key) == before, state

    @case()
    async def test_touch_revives_nothing_however_the_key_came_to_be_missing(self, store: FullStore) -> None:
        for state, (key, _) in (await self.missing_keys(store)).items():
            before = await store.load(key)
            assert await store.touch(key, LONG) is False, state
            assert await store.load(key) == before, state

    @case()
    async def test_a_key_deleted_or_expired_can_be_created_anew(self, store: FullStore) -> None:
        keys = await self.missing_keys(store)
        for state in ("deleted", "expired"):
            key, _ = keys[state]
            version = wrote(await store.create(key, record(5), LONG))
            stored = live(await store.load(key))
            assert stored.data == record(5), state
            self.assert_expires_in(stored, LONG)
            wrote(await store.replace(key, record(6), LONG, version=version))

    @case()
    async def test_a_version_from_before_a_delete_conflicts_with_the_record_created_after(
        self, store: FullStore
    ) -> None:
        key, version = await self.create(store, 1)
        await store.delete(key)
        wrote(await store.create(key, record(2), LONG))
        before = live(await store.load(key))
        assert await store.replace(key, record(3), LONG, version=version) is CONFLICT
        assert await store.regenerate(key, new_key(), record(3), LONG, version=version, tombstone=0) is CONFLICT
        await self.assert_unchanged(store, key, before)

    @case()
    async def test_a_touch_sets_the_expiry_later_or_earlier(self, store: FullStore) -> None:
        key, _ = await self.create(store)
        for ttl in (3 * LONG, LONG // 2, LONG, LONG):
            assert await store.touch(key, ttl) is True
            self.assert_expires_in(live(await store.load(key)), ttl)

    @case()
    async def test_a_touch_changes_neither_data_nor_version(self, store: FullStore) -> None:
        key, version = await self.create(store)
        before = live(await store.load(key))
        for _ in range(2):
            assert await store.touch(key, 2 * LONG) is True
        assert live(await store.load(key))[:2] == before[:2]
        version = wrote(await store.replace(key, record(1), LONG, version=version))
        assert await store.touch(key, LONG) is True
        wrote(await store.replace(key, record(2), LONG, version=version))

    @case()
    async def test_data_are_any_bytes(self, store: FullStore) -> None:
        if not self.any_bytes:
            self.skip("the store keeps JSON objects only: any_bytes is False")
        for data in (bytes(range(256)), b"\x00", b"\xff\xfe", b"\r\n", b"'\"\\", b" {} ", b"{}", b"null", b"0"):
            key = new_key()
            version = wrote(await store.create(key, data, LONG))
            assert live(await store.load(key)).data == data
            version = wrote(await store.replace(key, data + b"\x00", LONG, version=version))
            assert live(await store.load(key)).data == data + b"\x00"
            wrote(await store.replace(key, data, LONG, version=version))
            assert live(await store.load(key)).data == data
        assert await store.create(empty := new_key(), b"", LONG) is not EXISTS
        assert live(await store.load(empty)).data == b""

    @case()
    async def test_a_record_of_the_greatest_size_is_stored_and_one_byte_more_is_refused(self, store: FullStore) -> None:
        largest, larger = record(1, self.max_size), record(1, self.max_size + 1)
        key, version = await self.create(store)
        before, new = live(await store.load(key)), new_key()
        writes: dict[str, Callable[[], Awaitable[object]]] = {
            "create": partial(store.create, new, larger, LONG),
            "replace": partial(store.replace, key, larger, LONG, version=version),
            "regenerate": partial(store.regenerate, key, new, larger, LONG, version=version, tombstone=self.tombstone),
        }
        for name, write in writes.items():
            with pytest.raises(SessionTooLarge) as refused:
                await write()
            assert (refused.value.size, refused.value.limit) == (self.max_size + 1, self.max_size), name
        await self.assert_unchanged(store, key, before)
        assert await store.load(new) is None
        wrote(await store.create(new, largest, LONG))
        wrote(await store.replace(key, largest, LONG, version=version))
        for stored in (await store.load(new), await store.load(key)):
            assert live(stored).data == largest, "the greatest record came back changed"

    @case()
    async def test_every_key_is_a_key_of_its_own(self, store: FullStore) -> None:
        for number, key in enumerate(ODD_KEYS):
            wrote(await store.create(key, record(number), LONG))
        for number, key in enumerate(ODD_KEYS):
            assert live(await store.load(key)).data == record(number), repr(key)
        for number, key in enumerate(ODD_KEYS):
            version = live(await store.load(key)).version
            wrote(await store.replace(key, record(number + 100), LONG, version=version))
            assert await store.touch(key, 2 * LONG) is True, repr(key)
        for number, key in enumerate(ODD_KEYS):
            assert live(await store.load(key)).data == record(number + 100), repr(key)
            assert await store.delete(key) == Deleted(1, ()), repr(key)
            assert await store.load(key) is None, repr(key)

    @case()
    async def test_the_longest_keys_differ_in_their_last_character(self, store: FullStore) -> None:
        # Random, because a server may compress what it indexes, and would take a key of one letter only.
        stem = "".join(new_key() for _ in range(self.longest_key // 64 + 1))[: self.longest_key - 2]
        keys = [stem + "ab", stem + "ba", stem + "\u00e9"]
        for number, key in enumerate(keys):
            wrote(await store.create(key, record(number), LONG))
        for number, key in enumerate(keys):
            stored = live(await store.load(key))
            assert stored.data == record(number)
            wrote(await store.replace(key, record(9), LONG, version=stored.version))
        new = stem + "cd"
        version = live(await store.load(keys[0])).version
        wrote(await store.regenerate(keys[0], new, record(10), LONG, version=version, tombstone=0))
        assert live(await store.load(new)).data == record(10)
        assert await store.delete(new) == Deleted(1, ())

    @case()
    async def test_opening_and_closing_may_be_repeated_or_left_out(self, store: FullStore) -> None:
        key, _ = await self.create(store)
        await store.open()
        await store.open()
        live(await store.load(key))
        await store.close()
        await store.close()
        await self.create(store)
        await store.close()
        await store.open()
        key, version = await self.create(store)
        wrote(await store.replace(key, record(1), LONG, version=version))

    @case()
    async def test_another_store_over_the_same_data_sees_what_was_written(self, store: FullStore) -> None:
        key, version = await self.create(store)
        peer = self.peer()
        try:
            await self.assert_unchanged(peer, key, live(await store.load(key)))
            wrote(await peer.replace(key, record(1), LONG, version=version))
            assert await store.replace(key, record(2), LONG, version=version) is CONFLICT
            assert await store.create(key, record(2), LONG) is EXISTS
            await store.close()
            assert live(await peer.load(key)).data == record(1)
            assert live(await store.load(key)).data == record(1), "after being closed, it opens again by itself"
            assert await peer.delete(key) == Deleted(1, ())
            assert await store.load(key) is None
        finally:
            await peer.close()
