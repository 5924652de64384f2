"""Cases about ``delete``: of several keys at once, and of sessions that have moved to other keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from typing import Any

import anyio

from ...core.store import MISSING, Deleted, Replaced, Version
from ..colour import FullStore
from .harness import LONG, ODD_KEYS, Harness, case, live, new_key, record, wrote

__all__ = ["DeletionCases"]

MANY = 250


class DeletionCases(Harness):
    """Sessions that are ended."""

    @case()
    async def test_delete_removes_a_live_record_once(self, store: FullStore) -> None:
        key, _ = await self.create(store)
        other, _ = await self.create(store)
        deleted = await store.delete(key)
        assert isinstance(deleted, Deleted)
        assert deleted == Deleted(1, ())
        assert await store.load(key) is None
        assert await store.delete(key) == Deleted(0, ())
        live(await store.load(other))

    @case()
    async def test_delete_finds_nothing_however_the_key_came_to_be_missing(self, store: FullStore) -> None:
        for state, (key, _) in (await self.missing_keys(store)).items():
            before = await store.load(key)
            for _ in range(2):
                assert (await store.delete(key)).count == 0, state
                assert await store.load(key) == before, state

    @case()
    async def test_delete_without_keys_does_nothing(self, store: FullStore) -> None:
        key, _ = await self.create(store)
        before = live(await store.load(key))
        assert await store.delete() == Deleted(0, ())
        await self.assert_unchanged(store, key, before)

    @case()
    async def test_delete_removes_every_record_that_it_is_given_and_no_other(self, store: FullStore) -> None:
        keys = [(await self.create(store, number))[0] for number in range(MANY)]
        kept, _ = await self.create(store)
        before = live(await store.load(kept))
        assert await store.delete(*keys) == Deleted(MANY, ())
        assert [key for key in keys if await store.load(key) is not None] == []
        assert live(await store.load(kept))[:2] == before[:2]
        assert await store.delete(*keys, kept) == Deleted(1, ())

    @case()
    async def test_delete_tells_records_tombstones_and_missing_keys_apart(self, store: FullStore) -> None:
        missing = await self.missing_keys(store)
        moved = [await self.moved(store) for _ in range(2)]
        records = [(await self.create(store))[0] for _ in range(2)]
        gone = [missing[state][0] for state in ("never created", "expired", "deleted")]
        keys = [gone[0], moved[1][0], records[0], gone[1], moved[0][0], records[1], gone[2]]
        successors = (moved[1][1], moved[0][1]) if self.tombstones else ()
        assert await store.delete(*keys) == Deleted(2, successors), "successors come in the order of the keys"
        assert await store.delete(*keys) == Deleted(0, successors)
        for key in (*records, *gone):
            assert await store.load(key) is None
        for old, new in moved:
            assert await store.load(old) == self.left(new)
            live(await store.load(new))

    @case()
    async def test_a_key_that_is_given_twice_counts_once(self, store: FullStore) -> None:
        key, _ = await self.create(store)
        other, _ = await self.create(store)
        assert await store.delete(key, other, key, key) == Deleted(2, ())
        old, new = await self.moved(store)
        assert await store.delete(old, old) == Deleted(0, (new,) if self.tombstones else ())
        assert await store.delete(new, old, new) == Deleted(1, (new,) if self.tombstones else ())

    @case()
    async def test_a_successor_of_two_tombstones_is_returned_once(self, store: FullStore) -> None:
        ttl, new, olds = self.required_tombstone(LONG), new_key(), []
        for number in range(2):
            old, version = await self.create(store, number)
            wrote(await store.regenerate(old, new, record(number), LONG, version=version, tombstone=ttl))
            assert await store.delete(new) == Deleted(1, ())
            olds.append(old)
        assert await store.delete(*olds) == Deleted(0, (new,))

    @case()
    async def test_deleting_a_tombstone_returns_its_successor_each_time_and_changes_nothing(
        self, store: FullStore
    ) -> None:
        self.required_tombstone(LONG)
        old, new = await self.moved(store)
        before = live(await store.load(new))
        for _ in range(3):
            assert await store.delete(old) == Deleted(0, (new,))
            assert await store.load(old) == Replaced(new)
            await self.assert_unchanged(store, new, before)
        assert await store.delete(old, new) == Deleted(1, (new,)), "also when it is deleted by the same call"
        assert await store.delete(old, new) == Deleted(0, (new,)), "and when that is repeated"

    @case()
    async def test_an_expired_tombstone_has_no_successor(self, store: FullStore) -> None:
        old, new = await self.moved(store, self.required_tombstone(self.short))
        await self.until_expired(self.short)
        assert await store.delete(old) == Deleted(0, ())
        live(await store.load(new))

    @case()
    async def test_a_key_that_is_used_again_has_nothing_of_its_former_successor(self, store: FullStore) -> None:
        old, _ = await self.moved(store, self.required_tombstone(self.short))
        await self.until_expired(self.short)
        version = wrote(await store.create(old, record(1), LONG))
        new = new_key()
        wrote(await store.regenerate(old, new, record(2), LONG, version=version, tombstone=LONG))
        assert await store.load(old) == Replaced(new)
        assert await store.delete(old) == Deleted(0, (new,))
        deleted, _ = await self.moved(store, self.required_tombstone(self.short))
        await self.until_expired(self.short)
        wrote(await store.create(deleted, record(3), LONG))
        assert await store.delete(deleted) == Deleted(1, ())
        assert await store.delete(deleted) == Deleted(0, ())

    @case()
    async def test_any_key_can_be_a_successor(self, store: FullStore) -> None:
        ttl = self.required_tombstone(LONG)
        longest = "".join(new_key() for _ in range(self.longest_key // 64 + 1))[: self.longest_key]
        keys, olds = [*ODD_KEYS, longest], []
        for new in keys:
            old, version = await self.create(store)
            wrote(await store.regenerate(old, new, record(1), LONG, version=version, tombstone=ttl))
            assert await store.load(old) == Replaced(new), repr(new)
            olds.append(old)
        assert await store.delete(*olds) == Deleted(0, tuple(keys))
        assert await store.delete(*keys) == Deleted(len(keys), ())

    @case()
    async def test_a_session_that_moved_several_times_is_found_link_by_link(self, store: FullStore) -> None:
        self.required_tombstone(LONG)
        oldest, version = await self.create(store)
        chain = [oldest, new_key(), new_key(), new_key()]
        for old, new in pairwise(chain):
            version = wrote(await store.regenerate(old, new, record(1), LONG, version=version, tombstone=LONG))
        for old, new in pairwise(chain):
            assert await store.delete(old) == Deleted(0, (new,))
        assert await end(store, keys=(oldest,)) == 1
        assert [await store.load(old) for old in chain] == [*map(Replaced, chain[1:]), None]
        assert await end(store, keys=(oldest,)) == 0

    @case()
    async def test_a_session_deleted_and_regenerated_at_once_is_live_under_no_key(self, store: FullStore) -> None:
        ttl = self.required_tombstone(LONG)
        for turn in range(3 * self.rounds):
            old, version = await self.create(store)
            new = new_key()
            runners: list[Callable[[FullStore], Awaitable[Any]]] = [
                partial(move, old=old, new=new, version=version, tombstone=ttl),
                partial(end, keys=(old,)),
                partial(end, keys=(old,)),
            ]
            results = await self.race(store, *runners[:: 1 if turn % 2 else -1])
            regenerated, *ended = results[:: 1 if turn % 2 else -1]
            assert await store.load(new) is None, f"{regenerated!r}, and {ended} were deleted"
            assert await store.load(old) == (None if regenerated is MISSING else Replaced(new))
            assert sum(ended) == 1, f"{ended} records were deleted, and there was one session"

    @case()
    async def test_a_session_that_keeps_moving_is_ended_nevertheless(self, store: FullStore) -> None:
        ttl = self.required_tombstone(LONG)
        for _ in range(self.rounds):
            first, version = await self.create(store)
            chain = [first, *(new_key() for _ in range(20))]
            moved = anyio.Event()  # once at least: what deletes before that meets no tombstone

            async def keep_moving(
                client: FullStore, chain: list[str] = chain, version: Version = version, moved: anyio.Event = moved
            ) -> int:
                for moves, (old, new) in enumerate(pairwise(chain)):
                    version = await move(client, old=old, new=new, version=version, tombstone=ttl)
                    if version is MISSING:
                        return moves
                    wrote(version)
                    moved.set()
                return len(chain) - 1

            async def end_it(client: FullStore, first: str = first, moved: anyio.Event = moved) -> int:
                await moved.wait()
                return await end(client, keys=(first,))

            moves, *ended = await self.race(store, keep_moving, end_it, end_it)
            assert sum(ended) == 1, f"{ended} records were deleted, and there was one session"
            wanted = [*map(Replaced, chain[1 : moves + 1]), *[None] * (len(chain) - moves)]
            assert [await store.load(key) for key in chain] == wanted

    async def moved(self, store: FullStore, ttl: int | None = None) -> tuple[str, str]:
        """A session that moved: its former key, with `tombstone` if no ttl is given, and the key it has now."""
        old, version = await self.create(store)
        new, tombstone = new_key(), self.tombstone if ttl is None else ttl
        wrote(await store.regenerate(old, new, record(1), LONG, version=version, tombstone=tombstone))
        return old, new


async def end(store: FullStore, *, keys: tuple[str, ...]) -> int:
    """Delete as a logout does, until no successor is returned. Returns how many records were deleted."""
    count = 0
    while keys:
        deleted = await store.delete(*keys)
        count, keys = count + deleted.count, deleted.successors
    return count


async def move(store: FullStore, *, old: str, new: str, version: Version, tombstone: int) -> Any:
    return await store.regenerate(old, new, record(1), LONG, version=version, tombstone=tombstone)
