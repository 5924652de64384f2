"""The data structure of the memory store: entries that expire, found in time proportional to what expires."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from msgspec import Struct

__all__ = ["Entry", "ExpiringTable"]

_BESIDE: Final = 300
"""Bytes that an entry is reckoned to take beside its key, data and owner."""


class Slot(Struct, gc=False):
    """The keys of the entries that are looked at at one time."""

    start: int
    """That time."""
    keys: list[str]
    """Also some whose entries are gone, or in another slot by now: fewer than half."""
    gone: int = 0
    """How many of them."""


class Entry(Struct, gc=False):
    """What is under a key.

    Data, owner and deadline never change: another entry takes the place of this one, so that whoever reads without the lock sees no
    half of a write. The neighbours are named by their keys, not referred to, as the garbage collector, which has no work with these,
    would not find a circle either.
    """

    data: bytes
    """A tombstone has its successor there."""
    owner: str | None
    deadline: int
    slot: Slot
    older: str | None
    """The key that was put before this one; and, below, the one after."""
    newer: str | None = None


class ExpiringTable:
    """Entries under their keys, and in the order in which they were put. Not safe for threads, except for ``entries.get``.

    Expired entries are found without looking at the others. Each entry is filed in one slot, named by a time not
    after the entry's deadline, and no further from it than a thirty-second of the time left. When that time has come,
    the entry has expired, or it is filed again in a slot closer to its deadline. A deadline that moves later moves
    nothing. What is removed stays filed until half of its slot is of that kind.
    """

    __slots__ = ("_newest", "_oldest", "_slots", "due", "entries", "owners", "size")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.owners: dict[str, set[str]] = {}
        self.size: int = 0
        """Bytes that the entries are reckoned to take."""
        self.due: list[int] = []  # a heap of the names of all slots, at most 64 for each power of two
        self._slots: dict[int, Slot] = {}
        self._oldest: str | None = None
        self._newest: str | None = None

    def get(self, key: str, now: int) -> Entry | None:
        entry = self.entries.get(key)
        return entry if entry is not None and entry.deadline > now else None

    def put(self, key: str, data: bytes, owner: str | None, deadline: int, now: int) -> None:
        old = self.entries.get(key)
        if old is not None:
            self.renew(key, old, data, owner, deadline, now)
            return
        self._own(key, owner)
        self.size += len(key) + len(data) + _BESIDE
        self._append(key, data, owner, deadline, self._file(key, deadline, now))

    def renew(self, key: str, old: Entry, data: bytes, owner: str | None, deadline: int, now: int) -> None:
        """`put` where an entry is there."""
        self.size += len(data) - len(old.data)
        slot = old.slot
        is_early = slot.start > deadline
        if is_early:
            slot = self._file(key, deadline, now)
        if owner != old.owner:
            self._disown(key, old.owner)
            self._own(key, owner)
        if old.newer is None:  # it is the newest
            self.entries[key] = Entry(data, owner, deadline, slot, old.older)
        else:
            self._unlink(old)
            self._append(key, data, owner, deadline, slot)
        if is_early:
            self._leave(old.slot)

    def set_owner(self, key: str, old: Entry, owner: str | None) -> None:
        """Change the owner alone: the entry stays where it is in the order."""
        self._disown(key, old.owner)
        self._own(key, owner)
        self.entries[key] = Entry(old.data, owner, old.deadline, old.slot, old.older, old.newer)

    def remove(self, key: str) -> None:
        entry = self.entries.pop(key)
        self._unlink(entry)
        self._leave(entry.slot)
        self.size -= len(key) + len(entry.data) + _BESIDE
        self._disown(key, entry.owner)

    def remove_oldest(self) -> None:
        assert self._oldest is not None
        self.remove(self._oldest)

    def shrink(self, size: int) -> None:
        """Remove the oldest until the others take no more than so many bytes. The last one put stays."""
        while self.size > size and len(self.entries) > 1:
            self.remove_oldest()

    def sweep(self, now: int, limit: int) -> int:
        """Look at no more than ``limit`` of the entries that are due, and return how many had expired."""
        removed = 0
        while limit > 0 and self.is_due(now):
            slot = self._slots[self.due[0]]
            while slot.keys and limit > 0:
                limit -= 1
                key = slot.keys.pop()
                entry = self.entries.get(key)
                if entry is None or entry.slot is not slot:
                    slot.gone -= 1
                elif entry.deadline > now:
                    entry.slot = self._file(key, entry.deadline, now)
                else:
                    slot.gone -= 1  # which `remove` counts
                    self.remove(key)
                    removed += 1
            if not slot.keys:
                del self._slots[heappop(self.due)]
        return removed

    def is_due(self, now: int) -> bool:
        return bool(self.due) and self.due[0] <= now

    def _append(self, key: str, data: bytes, owner: str | None, deadline: int, slot: Slot) -> None:
        newest = self._newest
        self.entries[key] = Entry(data, owner, deadline, slot, newest)
        if newest is None:
            self._oldest = key
        else:
            self.entries[newest].newer = key
        self._newest = key

    def _unlink(self, entry: Entry) -> None:
        older, newer = entry.older, entry.newer
        if older is None:
            self._oldest = newer
        else:
            self.entries[older].newer = newer
        if newer is None:
            self._newest = older
        else:
            self.entries[newer].older = older

    def _file(self, key: str, deadline: int, now: int) -> Slot:
        shift = max((deadline - now).bit_length() - 6, 0)
        start = deadline >> shift << shift
        slot = self._slots.get(start)
        if slot is None:
            slot = self._slots[start] = Slot(start, [])
            heappush(self.due, start)
        slot.keys.append(key)
        return slot

    def _leave(self, slot: Slot) -> None:
        """Note that an entry of a slot is gone from it."""
        slot.gone += 1
        if slot.gone * 2 > len(slot.keys):
            kept = dict.fromkeys(slot.keys)  # a key that went and came again is there twice
            slot.keys = [key for key in kept if (entry := self.entries.get(key)) is not None and entry.slot is slot]
            slot.gone = 0

    def _own(self, key: str, owner: str | None) -> None:
        if owner is not None:
            self.owners.setdefault(owner, set()).add(key)
            self.size += len(owner)

    def _disown(self, key: str, owner: str | None) -> None:
        if owner is not None:
            self.size -= len(owner)
            keys = self.owners[owner]
            keys.discard(key)
            if not keys:
                del self.owners[owner]
