"""The data structure of the memory store: entries that expire, found in time proportional to what expires."""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush
from typing import TypeAlias

__all__ = ["Entry", "ExpiringTable"]

Entry: TypeAlias = tuple[bytes, str | None, int, int]
"""Data (a tombstone has its successor there), owner, deadline and the start of the slot it is filed in.

A tuple of plain values: small, never half written when read without the lock, and not tracked by the garbage
collector."""


class ExpiringTable:
    """Entries under their keys, the least recently put first. Not safe for threads, except for ``entries.get``.

    Expired entries are found without looking at the others. Each entry is filed in one slot, named by a time not
    after the entry's deadline, and no further from it than a thirty-second of the time left. When that time has come,
    the entry has expired, or it is filed again in a slot closer to its deadline. A deadline that moves later moves
    nothing.
    """

    __slots__ = ("_due", "_slots", "entries", "owners")

    def __init__(self) -> None:
        self.entries: OrderedDict[str, Entry] = OrderedDict()
        self.owners: dict[str, set[str]] = {}
        self._slots: dict[int, dict[str, None]] = {}
        self._due: list[int] = []  # a heap of the names of all slots, at most 64 for each power of two

    def get(self, key: str, now: int) -> Entry | None:
        entry = self.entries.get(key)
        return entry if entry is not None and entry[2] > now else None

    def put(self, key: str, data: bytes, owner: str | None, deadline: int, now: int) -> None:
        old = self.entries.get(key)
        if old is None:
            former, slot = None, self._file(key, deadline, now)
        else:
            _, former, _, slot = old
            if slot > deadline:
                del self._slots[slot][key]
                slot = self._file(key, deadline, now)
        if owner != former:
            self._disown(key, former)
            if owner is not None:
                self.owners.setdefault(owner, set()).add(key)
        self.entries[key] = data, owner, deadline, slot
        self.entries.move_to_end(key)

    def remove(self, key: str) -> None:
        _, owner, _, slot = self.entries.pop(key)
        self._slots[slot].pop(key, None)
        self._disown(key, owner)

    def remove_oldest(self) -> None:
        self.remove(next(iter(self.entries)))

    def sweep(self, now: int, limit: int) -> int:
        """Look at no more than ``limit`` of the entries that are due, and return how many had expired."""
        removed = 0
        while limit > 0 and self.is_due(now):
            start = self._due[0]
            slot = self._slots[start]
            while slot and limit > 0:
                limit -= 1
                key, _ = slot.popitem()
                data, owner, deadline, _ = self.entries[key]
                if deadline > now:
                    self.entries[key] = data, owner, deadline, self._file(key, deadline, now)
                else:
                    self.remove(key)
                    removed += 1
            if not slot:
                heappop(self._due)
                del self._slots[start]
        return removed

    def is_due(self, now: int) -> bool:
        return bool(self._due) and self._due[0] <= now

    def _file(self, key: str, deadline: int, now: int) -> int:
        shift = max((deadline - now).bit_length() - 6, 0)
        start = deadline >> shift << shift
        slot = self._slots.get(start)
        if slot is None:
            slot = self._slots[start] = {}
            heappush(self._due, start)
        slot[key] = None
        return start

    def _disown(self, key: str, owner: str | None) -> None:
        if owner is not None:
            keys = self.owners[owner]
            keys.discard(key)
            if not keys:
                del self.owners[owner]
