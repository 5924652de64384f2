"""Memory stores, each broken in one way, to see that the contract suite notices."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Facts, Page, Replaced, Seen, Stored
from sojourn.stores.memory.store import MemoryStore


class Meeting:
    """Where callers wait for each other, so that they collide however busy the machine is; one that is alone goes on after a while."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._came = self._here = 0

    def wait(self) -> None:
        with self._changed:
            self._came += 1
            self._here += 1
            came = self._came
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._here > 1 or self._came > came, timeout=0.1)
            self._here -= 1


BETWEEN_CHECK_AND_WRITE, AFTER_THE_WRITE = Meeting(), Meeting()


class ReplaceInserts(MemoryStore):
    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        result = super().replace(key, data, ttl, version=version, owner=owner)
        return self.create(key, data, ttl, owner=owner) if result is MISSING else result


class ReplaceIgnoresTheVersion(MemoryStore):
    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        found = self.load(key)
        version = found.version if isinstance(found, Stored) else version
        return super().replace(key, data, ttl, version=version, owner=owner)


class ReplaceIsNotAtomic(MemoryStore):
    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        found = self.load(key)
        if not isinstance(found, Stored):
            return MISSING
        if found.version != version:
            return CONFLICT
        BETWEEN_CHECK_AND_WRITE.wait()
        with self._mutex:
            self._records.put(key, data, owner, self._clock() + ttl, self._clock())
        return data


class ReplaceTouchesOnConflict(MemoryStore):
    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        result = super().replace(key, data, ttl, version=version, owner=owner)
        if result is CONFLICT:
            self.touch(key, ttl)
        return result


class ReplaceKeepsTheExpiry(MemoryStore):
    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        found = self.load(key)
        ttl = found.expires_in or ttl if isinstance(found, Stored) else ttl
        return super().replace(key, data, ttl, version=version, owner=owner)


class ReplaceKeepsTheOwner(MemoryStore):
    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        entry = self._records.entries.get(key)
        return super().replace(key, data, ttl, version=version, owner=entry.owner if entry else owner)


class ReplaceRefusesEqualData(MemoryStore):
    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        return CONFLICT if data == version else super().replace(key, data, ttl, version=version, owner=owner)


class CreateOverwrites(MemoryStore):
    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        self.delete(key)
        return super().create(key, data, ttl, owner=owner)


class CreateTouchesWhatExists(MemoryStore):
    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        result = super().create(key, data, ttl, owner=owner)
        if result is EXISTS:
            self.touch(key, ttl)
        return result


class CreateIsNotAtomic(MemoryStore):
    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        found = self.load(key)
        BETWEEN_CHECK_AND_WRITE.wait()
        if found is not None:
            return EXISTS
        self.delete(key)
        return super().create(key, data, ttl, owner=owner)


class CreateSucceedsOnceForEachKey(MemoryStore):
    """A unique index that an expired or deleted record is still in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.used: set[str] = set()

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        if key in self.used:
            return EXISTS
        self.used.add(key)
        return super().create(key, data, ttl, owner=owner)

    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        found = self.load(old)
        if isinstance(found, Stored) and found.version == rest["version"] and new in self.used:
            return EXISTS
        return super().regenerate(old, new, data, ttl, **rest)


class CreateTakesTombstones(MemoryStore):
    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        if isinstance(self.load(key), Replaced):
            self._tombstones.remove(key)
        return super().create(key, data, ttl, owner=owner)


class TouchRevives(MemoryStore):
    """A touch that writes the record as it was last loaded, as some session middlewares do."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.known: dict[str, bytes] = {}

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        self.known[key] = data
        return super().create(key, data, ttl, owner=owner)

    def touch(self, key: str, ttl: int) -> bool:
        if super().touch(key, ttl):
            return True
        return key in self.known and super().create(key, self.known[key], ttl) is not EXISTS


class TouchAlwaysSucceeds(MemoryStore):
    def touch(self, key: str, ttl: int) -> bool:
        super().touch(key, ttl)
        return True


class TouchChangesTheVersion(MemoryStore):
    def touch(self, key: str, ttl: int) -> bool:
        found = self.load(key)
        return isinstance(found, Stored) and bool(self.replace(key, found.data + b" ", ttl, version=found.version))


class TouchForgetsTheOwner(MemoryStore):
    def touch(self, key: str, ttl: int) -> bool:
        found = self.load(key)
        return isinstance(found, Stored) and bool(super().replace(key, found.data, ttl, version=found.version))


class TouchOnlyProlongs(MemoryStore):
    def touch(self, key: str, ttl: int) -> bool:
        found = self.load(key)
        return super().touch(key, max(ttl, (found.expires_in or 0) if isinstance(found, Stored) else 0))


class TouchAdds(MemoryStore):
    def touch(self, key: str, ttl: int) -> bool:
        found = self.load(key)
        return super().touch(key, ttl + ((found.expires_in or 0) if isinstance(found, Stored) else 0))


class TouchProlongsTombstones(MemoryStore):
    def touch(self, key: str, ttl: int) -> bool:
        if isinstance(self.load(key), Replaced):
            self._tombstones.put(key, b"another", None, self._clock() + ttl, self._clock())
        return super().touch(key, ttl)


class LoadProlongs(MemoryStore):
    def load(self, key: str) -> Any:
        self.touch(key, 600_000)
        return super().load(key)


class LoadSeesTheExpired(MemoryStore):
    def load(self, key: str) -> Any:
        entry = self._records.entries.get(key)
        return super().load(key) if entry is None else Stored(entry.data, entry.data, entry.deadline - self._clock())


class LoadTellsSeconds(MemoryStore):
    def load(self, key: str) -> Any:
        found = super().load(key)
        return found._replace(expires_in=(found.expires_in or 0) // 1000) if isinstance(found, Stored) else found


class LoadChangesTheVersion(MemoryStore):
    def load(self, key: str) -> Any:
        found = super().load(key)
        if isinstance(found, Stored):
            super().replace(key, found.data + b" ", found.expires_in or 1, version=found.version)
        return found


class LoadRemembers(MemoryStore):
    """A cache in front of what is shared with other processes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.cache: dict[str, Any] = {}

    def load(self, key: str) -> Any:
        if not isinstance(self.cache.get(key), Stored):
            self.cache[key] = super().load(key)
        return self.cache[key]


class WritesReturnTrue(MemoryStore):
    """Success, and no version to go on with."""

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        result = super().replace(key, data, ttl, version=version, owner=owner)
        return result if result in {MISSING, CONFLICT} else True


class LoadForgetsTombstones(MemoryStore):
    def load(self, key: str) -> Any:
        found = super().load(key)
        return None if isinstance(found, Replaced) else found


class LoadForgetsSuccessors(MemoryStore):
    def load(self, key: str) -> Any:
        found = super().load(key)
        return Replaced(None) if isinstance(found, Replaced) else found


class DeleteRemovesTombstones(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        deleted = super().delete(*keys)
        for key in keys:
            if isinstance(self.load(key), Replaced):
                self._tombstones.remove(key)
        return deleted


class DeleteProlongsTombstones(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        for key in keys:
            if isinstance(found := self.load(key), Replaced):
                self._tombstones.put(key, str(found.successor).encode(), None, self._clock() + 600_000, self._clock())
        return super().delete(*keys)


class DeleteForgetsSuccessors(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        return super().delete(*keys)._replace(successors=())


class DeleteSortsSuccessors(MemoryStore):
    """As a server may, which looks for them in the order of an index."""

    def delete(self, *keys: str) -> Deleted:
        return super().delete(*sorted(set(keys)))


class DeleteRepeatsSuccessors(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        each = [super(DeleteRepeatsSuccessors, self).delete(key) for key in keys]
        return Deleted(sum(one.count for one in each), tuple(key for one in each for key in one.successors))


class DeleteSeesExpiredTombstones(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        left = [entry.data.decode() for key in keys if (entry := self._tombstones.entries.get(key)) is not None]
        return super().delete(*keys)._replace(successors=tuple(dict.fromkeys(left)))


class DeleteFollowsSuccessors(MemoryStore):
    """It does the caller's work, and ends what the caller has not asked for."""

    def delete(self, *keys: str) -> Deleted:
        deleted = super().delete(*keys)
        super().delete(*deleted.successors)
        return deleted


class DeleteInTwoStepsIsNotAtomic(MemoryStore):
    """It looks for tombstones first, and so overlooks that of a record which is moved before the second step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.moved = threading.Condition()
        self.moves = 0

    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        done = super().regenerate(old, new, data, ttl, **rest)
        with self.moved:
            self.moves += 1
            self.moved.notify_all()
        return done

    def delete(self, *keys: str) -> Deleted:
        moves = self.moves
        found = [self.load(key) for key in keys]
        successors = tuple(one.successor for one in found if isinstance(one, Replaced) and one.successor is not None)
        with self.moved:
            self.moved.wait_for(lambda: self.moves != moves, timeout=0.1)
        return super().delete(*keys)._replace(successors=successors)


class DeleteTakesTheFirstKey(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        return super().delete(*keys[:1])


class DeleteNeedsAKey(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        assert keys, "without keys, it would be all of them"
        return super().delete(*keys)


class DeleteCountsKeys(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        found = [key for key in keys if isinstance(self.load(key), Stored)]
        return super().delete(*keys)._replace(count=len(found))


class DeleteReturnsABoolean(MemoryStore):
    def delete(self, *keys: str) -> Any:
        return super().delete(*keys).count > 0


class DeleteAlwaysSucceeds(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        return super().delete(*keys)._replace(count=len(keys))


class DeleteDoesNothing(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        return Deleted(sum(isinstance(self.load(key), Stored) for key in keys), ())


class DeleteIsNotAtomic(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        found = sum(isinstance(self.load(key), Stored) for key in keys)
        BETWEEN_CHECK_AND_WRITE.wait()
        return super().delete(*keys)._replace(count=found)


class DeleteReleasesTheLock(MemoryStore):
    def delete(self, *keys: str) -> Deleted:
        for key in keys:
            if key in self._locks.entries:
                self._locks.remove(key)
        return super().delete(*keys)


class RegenerateCopies(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        before = self.load(old)
        result = super().regenerate(old, new, data, ttl, **rest)
        if isinstance(self.load(old), Replaced):
            self._tombstones.remove(old)
        if isinstance(before, Stored):
            self.create(old, before.data, before.expires_in or 0)
        return result


class RegenerateLooksAtTheNewKeyFirst(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        return EXISTS if self.load(new) is not None else super().regenerate(old, new, data, ttl, **rest)


class RegenerateOverwrites(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        before = self.load(old)
        if isinstance(before, Stored) and before.version == rest["version"]:
            self.delete(new)
            if old == new:
                return self.create(new, data, ttl)
        return super().regenerate(old, new, data, ttl, **rest)


class RegenerateTakesTombstones(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        if isinstance(self.load(new), Replaced):
            self._tombstones.remove(new)
        return super().regenerate(old, new, data, ttl, **rest)


class RegenerateIgnoresTheVersion(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        before = self.load(old)
        if isinstance(before, Stored):
            rest["version"] = before.version
        return super().regenerate(old, new, data, ttl, **rest)


class RegenerateInserts(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        result = super().regenerate(old, new, data, ttl, **rest)
        return self.create(new, data, ttl) if result is MISSING else result


class RegenerateIsNotAtomic(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        before = self.load(old)
        if not isinstance(before, Stored):
            return MISSING
        if before.version != rest["version"]:
            return CONFLICT
        if self.load(new) is not None:
            return EXISTS
        BETWEEN_CHECK_AND_WRITE.wait()
        with self._mutex:
            now = self._clock()
            self._records.put(new, data, rest.get("owner"), now + ttl, now)
            if old in self._records.entries:
                self._records.remove(old)
            self._tombstones.put(old, new.encode(), None, now + rest["tombstone"], now)
        return data


class RegenerateKeepsTheOwner(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        entry = self._records.entries.get(old)
        rest["owner"] = entry.owner if entry else None
        return super().regenerate(old, new, data, ttl, **rest)


class RegenerateKeepsTheExpiry(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        found = self.load(old)
        ttl = found.expires_in or ttl if isinstance(found, Stored) else ttl
        return super().regenerate(old, new, data, ttl, **rest)


class TombstonesKeepTheWrongKey(MemoryStore):
    """The name that the server knows the successor by."""

    def load(self, key: str) -> Any:
        found = super().load(key)
        return Replaced(f"sess:{found.successor}") if isinstance(found, Replaced) else found

    def delete(self, *keys: str) -> Deleted:
        count, successors = super().delete(*keys)
        return Deleted(count, tuple(f"sess:{key}" for key in successors))


class TombstonesKeepTheFirstSuccessor(MemoryStore):
    """A column that is not written again when its row is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.first: dict[str, str] = {}

    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        result = super().regenerate(old, new, data, ttl, **rest)
        self.first.setdefault(old, new)
        return result

    def load(self, key: str) -> Any:
        found = super().load(key)
        return Replaced(self.first[key]) if isinstance(found, Replaced) else found


class TombstonesLastForEver(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        rest["tombstone"] = 10**12 if rest["tombstone"] else 0
        return super().regenerate(old, new, data, ttl, **rest)


class TombstonesLastAsLongAsTheSession(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        rest["tombstone"] = ttl if rest["tombstone"] else 0
        return super().regenerate(old, new, data, ttl, **rest)


class TombstonesAreAlwaysLeft(MemoryStore):
    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        rest["tombstone"] = rest["tombstone"] or 1
        return super().regenerate(old, new, data, ttl, **rest)


class VersionsStartAnew(MemoryStore):
    """A counter for a version, that begins at one again when a key is created again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.counters: dict[str, int] = {}

    def load(self, key: str) -> Any:
        found = super().load(key)
        return found._replace(version=self.counters[key]) if isinstance(found, Stored) else found

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        result = super().create(key, data, ttl, owner=owner)
        return result if result is EXISTS else self.counted(key, 1)

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        known = self.counters.get(key) == version
        found = super().load(key)
        inner = found.version if isinstance(found, Stored) and known else b"none"
        result = super().replace(key, data, ttl, version=inner, owner=owner)
        return result if result in {MISSING, CONFLICT} else self.counted(key, version + 1)

    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        found = super().load(old)
        known = self.counters.get(old) == rest["version"]
        rest["version"] = found.version if isinstance(found, Stored) and known else b"none"
        result = super().regenerate(old, new, data, ttl, **rest)
        return result if result in {MISSING, CONFLICT, EXISTS} else self.counted(new, 1)

    def counted(self, key: str, version: int) -> int:
        self.counters[key] = version
        return version


class _Keys(MemoryStore):
    """Keys that are not taken as they are."""

    def load(self, key: str) -> Any:
        return super().load(self.folded(key))

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        return super().create(self.folded(key), data, ttl, owner=owner)

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        return super().replace(self.folded(key), data, ttl, version=version, owner=owner)

    def folded(self, key: str) -> str:
        raise NotImplementedError


class KeysIgnoreCase(_Keys):
    def folded(self, key: str) -> str:
        return key.casefold()


class KeysAreStripped(_Keys):
    def folded(self, key: str) -> str:
        return key.strip() or "_"


class KeysAreNormalized(_Keys):
    def folded(self, key: str) -> str:
        return unicodedata.normalize("NFC", key)


class KeysAreCutShort(_Keys):
    def folded(self, key: str) -> str:
        return key[:255]


class KeysAreMadeSafe(_Keys):
    """As file names, say; the scan gives what it finds."""

    def folded(self, key: str) -> str:
        return "".join(letter if letter.isalnum() else "_" for letter in key)


class _Data(MemoryStore):
    """Data that does not come back as it was."""

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        return super().create(key, self.kept(data), ttl, owner=owner)

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        return super().replace(key, self.kept(data), ttl, version=version, owner=owner)

    def kept(self, data: bytes) -> bytes:
        raise NotImplementedError


class DataAreText(_Data):
    def kept(self, data: bytes) -> bytes:
        return data.decode(errors="replace").encode()


class DataEndAtNull(_Data):
    def kept(self, data: bytes) -> bytes:
        return data.partition(b"\x00")[0]


class DataAreCutShort(_Data):
    def kept(self, data: bytes) -> bytes:
        return data[:65535]


class SizeIsNotLimited(MemoryStore):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.max_size = 10**9


class SizeIsLimitedTooEarly(MemoryStore):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.max_size -= 1


class _Ttl(MemoryStore):
    """Times that are not what they should be."""

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        return super().create(key, data, self.kept(ttl), owner=owner)

    def touch(self, key: str, ttl: int) -> bool:
        return super().touch(key, self.kept(ttl))

    def kept(self, ttl: int) -> int:
        raise NotImplementedError


class TtlFitsIn32Bits(_Ttl):
    def kept(self, ttl: int) -> int:
        return min(ttl, 2**31 - 1)


class TtlIsWholeSeconds(_Ttl):
    def kept(self, ttl: int) -> int:
        return -(-ttl // 1000) * 1000


class TtlIsAMonthAtMost(_Ttl):
    """As memcached has it: beyond thirty days it is a date."""

    def kept(self, ttl: int) -> int:
        return ttl if ttl <= 30 * 24 * 3_600_000 else 0


class TtlIsOneBucketLate(_Ttl):
    def kept(self, ttl: int) -> int:
        return ttl + 1


class CloseIsFinal(MemoryStore):
    closed = False

    def close(self) -> None:
        self.closed = True

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        assert not self.closed, "the store is closed"
        return super().create(key, data, ttl, owner=owner)


class ScanGivesTwice(MemoryStore):
    def scan(self) -> Iterator[tuple[str, Stored]]:
        for number, item in enumerate(super().scan()):
            yield item
            if number % 10 == 3:
                yield item


class ScanLeavesOut(MemoryStore):
    """Pages that move on by a count while rows are deleted."""

    def scan(self) -> Iterator[tuple[str, Stored]]:
        start = 0
        while page := list(super().scan())[start : start + 20]:
            yield from page
            start += 20


class ScanSeesTheExpired(MemoryStore):
    def scan(self) -> Iterator[tuple[str, Stored]]:
        for key, entry in list(self._records.entries.items()):
            yield key, Stored(entry.data, entry.data, entry.deadline - self._clock())


class ScanGivesAnotherVersion(MemoryStore):
    def scan(self) -> Iterator[tuple[str, Stored]]:
        for key, stored in super().scan():
            yield key, stored._replace(version=b"another")


class ScanHoldsTheStore(MemoryStore):
    """A cursor that nothing may be written beside."""

    busy = False

    def scan(self) -> Iterator[tuple[str, Stored]]:
        self.busy = True
        yield from super().scan()
        self.busy = False

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        assert not self.busy, "the store is busy"
        return super().create(key, data, ttl, owner=owner)


class ScanKeepsBusyWhenLeft(ScanHoldsTheStore):
    def delete(self, *keys: str) -> Deleted:
        self.busy = False
        return super().delete(*keys)


class CountSeesTheExpired(MemoryStore):
    def count(self) -> int:
        return len(self._records.entries)


class CountSeesTombstones(MemoryStore):
    def count(self) -> int:
        return super().count() + len(self._tombstones.entries)


class CountSeesLocks(MemoryStore):
    def count(self) -> int:
        return super().count() + len(self._locks.entries)


class ClearRemovesTombstones(MemoryStore):
    def clear(self) -> int:
        self._tombstones = type(self._tombstones)()
        return super().clear()


class ClearRemovesLocks(MemoryStore):
    def clear(self) -> int:
        self._locks = type(self._locks)()
        return super().clear()


class ClearCountsTheExpired(MemoryStore):
    def clear(self) -> int:
        before = len(self._records.entries)
        super().clear()
        return before


class DeleteExpiredDoesNothing(MemoryStore):
    def delete_expired(self) -> int:
        return 0


class DeleteExpiredCountsTombstones(MemoryStore):
    def delete_expired(self) -> int:
        now = self._clock()
        return super().delete_expired() + sum(entry.deadline <= now for entry in self._records.entries.values())

    def _sweep(self, limit: int = 0) -> int:
        return self._clock()

    def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        result = super().regenerate(old, new, data, ttl, **rest)
        if rest["tombstone"]:
            super().create(old + "tombstone", b"t", rest["tombstone"])
        return result


class DeleteExpiredRemovesTombstones(MemoryStore):
    def delete_expired(self) -> int:
        self._tombstones = type(self._tombstones)()
        return super().delete_expired()


class OwnersIgnoreCase(MemoryStore):
    def by_owner(self, owner: str) -> list[str]:
        wanted = owner.casefold()
        return [
            key
            for name in self._records.owners
            if name.casefold() == wanted
            for key in MemoryStore.by_owner(self, name)
        ]


class OwnersAreForgottenLate(MemoryStore):
    """An index of owners that deletes and expiries do not reach."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.index: dict[str, list[str]] = {}

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        if owner is not None:
            self.index.setdefault(owner, []).append(key)
        return super().create(key, data, ttl, owner=owner)

    def by_owner(self, owner: str) -> list[str]:
        return self.index.get(owner, [])


class SetOwnerTouches(MemoryStore):
    def set_owner(self, key: str, owner: str | None, *, version: Any) -> Any:
        self.touch(key, 10**9)
        return super().set_owner(key, owner, version=version)


class SetOwnerIgnoresTheVersion(MemoryStore):
    def set_owner(self, key: str, owner: str | None, *, version: Any) -> Any:
        found = self.load(key)
        return super().set_owner(key, owner, version=found.version if isinstance(found, Stored) else version)


class PagesLeaveOut(MemoryStore):
    def page(self, cursor: str = "", limit: int = 100) -> Page:
        items, following = super().page(cursor, limit)
        return Page(items if following is None else items[:-1], following)


class PagesAreCounted(MemoryStore):
    def page(self, cursor: str = "", limit: int = 100) -> Page:
        first = int(cursor or 0)
        items = sorted(self.scan())[first : first + limit]
        return Page(items, str(first + limit) if len(items) == limit else None)


class FactsHaveNoServer(MemoryStore):
    def facts(self) -> Facts:
        return {**super().facts(), "server": ""}


class WhatIsGoneHasExpired(MemoryStore):
    def has_expired(self, key: str) -> bool:
        return self.load(key) is None


class LookSeesTheExpired(MemoryStore):
    def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        kept = {key: Seen(self._records.entries[key].data, 1) for key in keys if key in self._records.entries}
        return {**kept, **super().look(keys)}


class LookTakesAFew(MemoryStore):
    def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        return super().look(keys[:10])


class LookSeesNoTombstones(MemoryStore):
    def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        return {key: seen for key, seen in super().look(keys).items() if isinstance(seen, Seen)}


class LookMarksTheExpiry(MemoryStore):
    def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        found = super().look(keys)
        return {
            key: Seen(seen.expires_in, seen.expires_in) if isinstance(seen, Seen) else seen
            for key, seen in found.items()
        }


class PulseStandsStill(MemoryStore):
    def pulse(self) -> int:
        return 1


class LocksAreForAll(MemoryStore):
    def lock(self, key: str, ttl: int) -> str | None:
        return super().lock(key, ttl) or "token"


class LocksLastForEver(MemoryStore):
    def lock(self, key: str, ttl: int) -> str | None:
        return super().lock(key, 10**12)


class LocksOutliveAClockThatWasSetBack(MemoryStore):
    def lock(self, key: str, ttl: int) -> str | None:
        return None if self._locks.get(key, self._clock()) is not None else super().lock(key, ttl)


class LocksAreForWhoAsksForLess(MemoryStore):
    def lock(self, key: str, ttl: int) -> str | None:
        entry = self._locks.get(key, self._clock())
        if entry is not None and entry.deadline > self._clock() + ttl:
            self._locks.remove(key)
        return super().lock(key, ttl)


class LocksAreProlongedByTrying(MemoryStore):
    def lock(self, key: str, ttl: int) -> str | None:
        entry = self._locks.entries.get(key)
        if entry is not None and entry.deadline > self._clock():
            self._locks.put(key, entry.data, None, self._clock() + ttl, self._clock())
        return super().lock(key, ttl)


class LocksAreNotAtomic(MemoryStore):
    def lock(self, key: str, ttl: int) -> str | None:
        held = key in self._locks.entries
        BETWEEN_CHECK_AND_WRITE.wait()
        if held:
            return None
        self._locks.put(key, key[:8].encode(), None, self._clock() + ttl, self._clock())
        AFTER_THE_WRITE.wait()  # else the first may be done with the lock before the second has written
        return key[:8]


class LocksHaveOneToken(MemoryStore):
    def lock(self, key: str, ttl: int) -> str | None:
        if self._locks.get(key, self._clock()) is not None:
            return None
        self._locks.put(key, b"token", None, self._clock() + ttl, self._clock())
        return "token"


class LocksAreReleasedByAnyToken(MemoryStore):
    def unlock(self, key: str, token: str) -> bool:
        entry = self._locks.get(key, self._clock())
        return super().unlock(key, entry.data.decode() if entry else token)
