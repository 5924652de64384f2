"""Cases about several callers: the two invariants, step by step in every order, and at full speed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel

from ...core.store import CONFLICT, EXISTS, MISSING, Deleted, Outcome, Stored, Version
from ..colour import FullStore
from .harness import LONG, Harness, case, live, new_key, number_of, record, wrote

__all__ = ["RaceCases"]

WORKERS: Final = 6

Act: TypeAlias = Callable[[FullStore, str, Version, int], Awaitable[object]]
"""Do something to a key whose version the caller has read, with a number to write."""


class RaceCases(Harness):
    """Several callers at once."""

    @case()
    async def test_of_two_callers_who_read_the_same_the_second_to_write_is_told(self, store: FullStore) -> None:
        acts: dict[str, Act] = {
            "replace": lambda client, key, version, number: client.replace(key, record(number), LONG, version=version),
            "regenerate": lambda client, key, version, number: client.regenerate(
                key, new_key(), record(number), LONG, version=version, tombstone=self.tombstone
            ),
            "touch": lambda client, key, _, __: client.touch(key, LONG),
            "delete": lambda client, key, _, __: _delete(client, key=key),
        }
        wanted: dict[str, dict[str, object]] = {
            "replace": {"replace": CONFLICT, "regenerate": CONFLICT, "touch": True, "delete": True},
            "regenerate": {"replace": MISSING, "regenerate": MISSING, "touch": False, "delete": False},
            "touch": {"replace": "a version", "regenerate": "a version", "touch": True, "delete": True},
            "delete": {"replace": MISSING, "regenerate": MISSING, "touch": False, "delete": False},
        }
        for first, results in wanted.items():
            for second, result in results.items():
                key, _ = await self.create(store)
                mine, theirs = live(await store.load(key)), live(await store.load(key))
                done = await acts[first](store, key, mine.version, 1)
                assert done is True or wrote(done), first
                between = await store.load(key)
                got: object = await acts[second](store, key, theirs.version, 2)
                assert got == result or (result == "a version" and wrote(got)), f"{first}, then {second}: {got!r}"
                if isinstance(got, Outcome) or got is False:
                    after = await store.load(key)
                    same = (
                        after[:2] == between[:2]
                        if isinstance(after, Stored) and isinstance(between, Stored)
                        else after == between
                    )
                    assert same, f"{first}, then {second}: it was refused and did something nevertheless"

    @case()
    async def test_of_two_stores_over_the_same_data_the_second_to_write_is_told(self, store: FullStore) -> None:
        peer = self.peer()
        try:
            key, version = await self.create(store)
            theirs = live(await peer.load(key)).version
            wrote(await store.replace(key, record(1), LONG, version=version))
            assert await peer.replace(key, record(2), LONG, version=theirs) is CONFLICT
            theirs = live(await peer.load(key)).version
            assert await store.delete(key) == Deleted(1, ())
            assert await peer.replace(key, record(2), LONG, version=theirs) is MISSING
            assert await peer.touch(key, LONG) is False
            assert await store.load(key) is None
        finally:
            await peer.close()

    @case()
    async def test_of_many_that_create_one_key_one_succeeds(self, store: FullStore) -> None:
        for _ in range(self.rounds):
            key = new_key()
            results = await self.race(store, *(partial(_create, key=key, number=number) for number in range(WORKERS)))
            winner = the_one(results, EXISTS)
            assert number_of(live(await store.load(key))) == winner

    @case()
    async def test_of_many_that_replace_the_same_version_one_succeeds(self, store: FullStore) -> None:
        for _ in range(self.rounds):
            key, version = await self.create(store, 99)
            results = await self.race(
                store, *(partial(_replace, key=key, version=version, number=number) for number in range(WORKERS))
            )
            winner = the_one(results, CONFLICT)
            assert number_of(live(await store.load(key))) == winner

    @case()
    async def test_of_many_that_regenerate_one_session_one_succeeds(self, store: FullStore) -> None:
        for _ in range(self.rounds):
            old, version = await self.create(store, 99)
            news = [new_key() for _ in range(WORKERS)]
            results = await self.race(
                store, *(partial(self._regenerate, old=old, new=new, version=version) for new in news)
            )
            winner = the_one(results, MISSING)
            found = [await store.load(new) is not None for new in news]
            assert found == [number == winner for number in range(WORKERS)]
            assert await store.load(old) == self.left(news[winner])

    @case()
    async def test_of_many_that_regenerate_into_one_key_one_succeeds(self, store: FullStore) -> None:
        for _ in range(self.rounds):
            olds = [await self.create(store, number) for number in range(WORKERS)]
            new = new_key()
            results = await self.race(
                store, *(partial(self._regenerate, old=old, new=new, version=version) for old, version in olds)
            )
            winner = the_one(results, EXISTS)
            live(await store.load(new))
            states = [await store.load(old) for old, _ in olds]
            assert [isinstance(state, Stored) for state in states] == [number != winner for number in range(WORKERS)]

    @case()
    async def test_a_session_replaced_and_regenerated_at_once_takes_one_of_the_two_ways(self, store: FullStore) -> None:
        for turn in range(2 * self.rounds):
            old, version = await self.create(store, 0)
            new = new_key()
            runners = [
                partial(_replace, key=old, version=version, number=1),
                partial(self._regenerate, old=old, new=new, version=version),
            ]
            results = await self.race(store, *runners[:: 1 if turn % 2 else -1])
            replaced, regenerated = results[:: 1 if turn % 2 else -1]
            if replaced is MISSING:
                wrote(regenerated)
                live(await store.load(new))
                assert await store.load(old) == self.left(new)
            else:
                wrote(replaced)
                assert regenerated is CONFLICT
                assert await store.load(new) is None
                assert number_of(live(await store.load(old))) == 1

    @case()
    async def test_no_update_is_lost_among_many_that_retry_on_conflict(self, store: FullStore) -> None:
        key, _ = await self.create(store, 0)
        each = 8

        async def increment(client: FullStore) -> int:
            done = conflicts = 0
            while done < each:
                stored = live(await client.load(key))
                await anyio.lowlevel.checkpoint()
                result = await client.replace(key, record(number_of(stored) + 1), LONG, version=stored.version)
                done, conflicts = (
                    (done, conflicts + 1) if result is CONFLICT else (done + bool(wrote(result)), conflicts)
                )
            return conflicts

        await self.race(store, *[increment] * WORKERS)
        assert number_of(live(await store.load(key))) == WORKERS * each

    @case()
    async def test_a_deleted_record_stays_deleted_while_others_write(self, store: FullStore) -> None:
        for _ in range(self.rounds):
            key, _ = await self.create(store, 0)

            async def write(client: FullStore, key: str = key) -> bool:
                while True:
                    found = await client.load(key)
                    if found is None:
                        return await client.touch(key, LONG)
                    await anyio.lowlevel.checkpoint()
                    stored = live(found)
                    result = await client.replace(key, record(number_of(stored) + 1), LONG, version=stored.version)
                    assert result is not EXISTS
                    await client.touch(key, LONG)

            async def delete(client: FullStore, key: str = key) -> bool:
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
                    await client.load(key)
                return await _delete(client, key=key)

            assert await self.race(store, write, write, delete, write) == [False, False, True, False]
            assert await store.load(key) is None

    @case()
    async def test_of_many_that_delete_a_record_one_is_told_that_it_was_there(self, store: FullStore) -> None:
        for _ in range(self.rounds):
            key, _ = await self.create(store)
            results = await self.race(store, *[partial(_delete, key=key)] * WORKERS)
            assert sorted(results) == [False] * (WORKERS - 1) + [True]

    @case()
    async def test_touches_among_writes_cause_no_conflict(self, store: FullStore) -> None:
        key, _ = await self.create(store, 0)

        async def touch(client: FullStore) -> list[object]:
            return [await client.touch(key, LONG + number) for number in range(20)]

        async def write(client: FullStore) -> list[object]:
            version = live(await client.load(key)).version
            results: list[object] = []
            for number in range(1, 11):
                await anyio.lowlevel.checkpoint()
                version = await client.replace(key, record(number), LONG, version=version)
                results.append(isinstance(version, Outcome))
            return results

        assert await self.race(store, touch, write, touch) == [[True] * 20, [False] * 10, [True] * 20]
        assert number_of(live(await store.load(key))) == 10

    @case("lock", "unlock")
    async def test_of_many_that_lock_one_key_one_succeeds(self, store: FullStore) -> None:
        for _ in range(self.rounds):
            key = new_key()
            tokens = await self.race(store, *[partial(_lock, key=key)] * WORKERS)
            assert sum(token is not None for token in tokens) == 1, f"{tokens} were given out for one lock"

    @case("lock", "unlock")
    async def test_what_a_lock_guards_is_done_by_one_at_a_time(self, store: FullStore) -> None:
        key = new_key()
        inside: list[int] = []

        async def work(client: FullStore, number: int) -> None:
            for _ in range(3):
                while (token := await client.lock(key, LONG)) is None:  # noqa: ASYNC110 - there is no signal
                    await anyio.sleep(0.001)
                inside.append(number)
                for _ in range(3):  # long enough to be met by another who was let in
                    await client.load(key)
                    assert inside == [number], f"{inside} hold one lock"
                inside.remove(number)
                assert await client.unlock(key, token) is True

        await self.race(store, *(partial(work, number=number) for number in range(4)))

    async def _regenerate(self, store: FullStore, *, old: str, new: str, version: Version) -> object:
        return await store.regenerate(old, new, record(1), LONG, version=version, tombstone=self.tombstone)


async def _create(store: FullStore, *, key: str, number: int) -> object:
    return await store.create(key, record(number), LONG)


async def _replace(store: FullStore, *, key: str, version: Version, number: int) -> object:
    return await store.replace(key, record(number), LONG, version=version)


async def _delete(store: FullStore, *, key: str) -> bool:
    return (await store.delete(key)).count > 0


async def _lock(store: FullStore, *, key: str) -> str | None:
    return await store.lock(key, LONG)


def the_one(results: list[Any], refusal: Outcome) -> int:
    """Assert that one result is a version and all others are this refusal, and return its index."""
    winners = [index for index, result in enumerate(results) if not isinstance(result, Outcome)]
    assert len(winners) == 1, f"{len(winners)} of {len(results)} succeeded: {results!r}"
    refusals = [result for result in results if isinstance(result, Outcome)]
    assert refusals == [refusal] * (len(results) - 1), f"expected {refusal} for all but one, got {results!r}"
    return winners[0]
