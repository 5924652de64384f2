"""Sessions in this process's memory: for tests, development, and services of one process. They end with it.

The store is bounded and needs no background thread: every write also clears away a few of the entries that are due.
"""

# The methods are described by the protocols they fulfil.

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from heapq import nsmallest
from typing import Final
from urllib.parse import urlsplit

from ...clock import Clock, system_clock
from ...core.store import (
    CONFLICT,
    DEFAULT_MAX_SIZE,
    EXISTS,
    MISSING,
    Conflict,
    Deleted,
    Exists,
    Facts,
    Missing,
    Page,
    Replaced,
    Seen,
    Stored,
    Version,
    check_size,
    longest_lock,
)
from ...errors import ConfigurationError
from ...logs import log
from .._arguments import check_key, check_keys, check_optional_owner, check_owner, check_token
from .._fork import HeldLock, register
from .._url import check_clock, check_positive, parse_query, positive
from ._expiring import Entry, ExpiringTable

__all__ = ["AsyncMemoryStore", "MemoryStore"]

_SWEEP: Final = 16
"""Entries that a write checks for expiry. An entry is checked some six times in its life, so this keeps up."""

_BATCH: Final = 1000
"""Entries that ``delete_expired`` checks before it releases the lock for other threads."""

_BOUNDS: Final = ("max_sessions", "max_bytes", "max_size")
_DEFAULT_MAX_SESSIONS: Final = 100_000
_DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024


class MemoryStore:
    """Sessions in memory, for any number of threads of one process.

    The version of a record is its data. When ``max_sessions`` or ``max_bytes`` would be exceeded, the session that was
    neither written nor touched for the longest time is dropped. That is logged once, as a warning. Later writes free
    the memory of what has expired.

    Args:
        max_sessions: how many records to hold at most, or None for no bound. As many tombstones are held, and locks.
        max_bytes: how many bytes all records may take together, or None for no bound: of each its data, key and owner, and
            300 for what is beside them. Tombstones may take as many. At least ``max_size``.
        max_size: bytes of one record beyond which it is refused.
        clock: milliseconds since the epoch.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    def __init__(
        self,
        *,
        max_sessions: int | None = _DEFAULT_MAX_SESSIONS,
        max_bytes: int | None = _DEFAULT_MAX_BYTES,
        max_size: int = DEFAULT_MAX_SIZE,
        clock: Clock = system_clock,
    ) -> None:
        self.max_sessions: int | None = None if max_sessions is None else check_positive("max_sessions", max_sessions)
        self.max_size: int = check_positive("max_size", max_size)
        self.max_bytes: int | None = None if max_bytes is None else check_positive("max_bytes", max_bytes)
        self._limit = sys.maxsize if self.max_sessions is None else self.max_sessions
        self._most_bytes = sys.maxsize if self.max_bytes is None else self.max_bytes
        if self._most_bytes < self.max_size:
            raise ConfigurationError(
                "max_bytes", str(max_bytes), f"give at least max_size, {self.max_size} bytes, or lower that"
            )
        self._clock = check_clock(clock)
        self._mutex = threading.Lock()
        self._records = ExpiringTable()
        self._tombstones = ExpiringTable()
        self._locks = ExpiringTable()
        self._warned = False
        self._held = HeldLock(self._mutex)
        register(self._held)

    @classmethod
    def from_url(cls, url: str, *, clock: Clock = system_clock) -> MemoryStore:
        """A store as a URL describes it: ``memory://``, or ``memory://?max_sessions=1000&max_size=65536``.

        Raises:
            ConfigurationError: another scheme, or an unknown option.
        """
        return cls(**_url_options(url), clock=clock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{bound}={getattr(self, bound)}' for bound in _BOUNDS)})"

    @property
    def direct(self) -> MemoryStore:
        """No operation waits."""
        return self

    def open(self) -> None:
        """Do nothing: there is nothing to acquire."""

    def close(self) -> None:
        """Do nothing: the sessions stay as long as the store does."""

    def load(self, key: str) -> Stored | Replaced | None:
        # A hit takes no lock: entries are never changed, only exchanged. A miss looks again under the lock, so that
        # it sees a regenerate as one step: that removes the old record first, and adds the new one last.
        entry = self._records.entries.get(key) if type(key) is str else None
        if entry is not None:
            left = entry.deadline - self._clock()
            if left > 0:
                data = entry.data
                return tuple.__new__(Stored, (data, data, left))
        check_key(key)
        with self._mutex:
            now = self._clock()
            entry = self._records.get(key, now)
            if entry is not None:
                return Stored(entry.data, entry.data, entry.deadline - now)
            tombstone = self._tombstones.get(key, now)
            return None if tombstone is None else Replaced(_successor(tombstone))

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        with self._mutex:
            now, records = self._sweep(), self._records
            if self._is_taken(key, now):
                return EXISTS
            is_full = len(records.entries) >= self._limit
            if is_full:
                records.remove_oldest()
            records.put(key, data, owner, now + ttl, now)
        if is_full:
            self._tell_full(f"{self._limit} sessions")
        if records.size > self._most_bytes:
            self._shrink()
        return data

    def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        # Whatever is there was put there under a checked key; calls that do nothing are felt here.
        if type(key) is not str or key not in self._records.entries:
            check_key(key)
        if owner is not None:
            check_owner(owner)
        if len(data) > self.max_size:
            check_size(data, self.max_size)
        with self._mutex:
            now, records = self._sweep(), self._records
            entry = records.entries.get(key)
            if entry is None or entry.deadline <= now:
                return MISSING
            if entry.data != version:
                return CONFLICT
            records.renew(key, entry, data, owner, now + ttl, now)
        if records.size > self._most_bytes:
            self._shrink()
        return data

    def regenerate(
        self,
        old: str,
        new: str,
        data: bytes,
        ttl: int,
        *,
        version: Version,
        tombstone: int,
        owner: str | None = None,
    ) -> Version | Conflict | Missing | Exists:
        check_keys((old, new))
        check_optional_owner(owner)
        check_size(data, self.max_size)
        successor = new.encode()
        with self._mutex:
            now = self._sweep()
            entry = self._records.get(old, now)
            if entry is None:
                return MISSING
            if entry.data != version:
                return CONFLICT
            if self._is_taken(new, now):
                return EXISTS
            self._records.remove(old)
            if tombstone > 0:
                if len(self._tombstones.entries) >= self._limit:
                    self._tombstones.remove_oldest()
                self._tombstones.put(old, successor, None, now + tombstone, now)
                self._tombstones.shrink(self._most_bytes)
            self._records.put(new, data, owner, now + ttl, now)
        if self._records.size > self._most_bytes:
            self._shrink()
        return data

    def touch(self, key: str, ttl: int) -> bool:
        check_key(key)
        with self._mutex:
            now = self._sweep()
            entry = self._records.get(key, now)
            if entry is None:
                return False
            self._records.renew(key, entry, entry.data, entry.owner, now + ttl, now)
        return True

    def delete(self, *keys: str) -> Deleted:
        check_keys(keys)
        if not keys:
            return Deleted(0, ())
        count = 0
        successors: dict[str, None] = {}
        with self._mutex:
            now = self._sweep()
            for key in keys:
                if self._records.get(key, now) is not None:
                    self._records.remove(key)
                    count += 1
                elif (tombstone := self._tombstones.get(key, now)) is not None:
                    successors[_successor(tombstone)] = None
        return Deleted(count, tuple(successors))

    def scan(self) -> Iterator[tuple[str, Stored]]:
        with self._mutex:
            keys = list(self._records.entries)
        for key in keys:
            stored = self.load(key)
            if isinstance(stored, Stored):
                yield key, stored

    def page(self, cursor: str = "", limit: int = 100) -> Page:
        with self._mutex:
            every = list(self._records.entries)
        keys = nsmallest(limit, (key for key in every if key > cursor))
        found = [(key, self.load(key)) for key in keys]
        items = [(key, stored) for key, stored in found if isinstance(stored, Stored)]
        return Page(items, keys[-1] if len(keys) == limit else None)

    def facts(self) -> Facts:
        bounds = {bound: getattr(self, bound) for bound in _BOUNDS}
        return {"server": "memory of this process", **{name: most for name, most in bounds.items() if most is not None}}

    def count(self) -> int:
        with self._mutex:
            self._sweep(sys.maxsize)
            return len(self._records.entries)

    def clear(self) -> int:
        with self._mutex:
            self._sweep(sys.maxsize)
            cleared, self._records = self._records, ExpiringTable()
        return len(cleared.entries)

    def delete_expired(self) -> int:
        removed = 0
        while True:
            with self._mutex:
                now = self._clock()
                removed += self._records.sweep(now, _BATCH)
                self._tombstones.sweep(now, _BATCH)
                self._locks.sweep(now, _BATCH)
                if not any(table.is_due(now) for table in (self._records, self._tombstones, self._locks)):
                    return removed

    def has_expired(self, key: str) -> bool:
        check_key(key)
        entry = self._records.entries.get(key)
        return entry is not None and entry.deadline <= self._clock()

    def by_owner(self, owner: str) -> list[str]:
        check_owner(owner)
        with self._mutex:
            now = self._clock()
            return [key for key in self._records.owners.get(owner, ()) if self._records.get(key, now) is not None]

    def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        with self._mutex:
            entry = self._records.get(key, self._clock())
            if entry is None:
                return MISSING
            if entry.data != version:
                return CONFLICT
            if entry.owner == owner:
                return False
            self._records.set_owner(key, entry, owner)
        if self._records.size > self._most_bytes:
            self._shrink()
        return True

    def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        found = {key: self.load(key) for key in keys}
        return {
            key: Seen(one.version, one.expires_in) if isinstance(one, Stored) else one
            for key, one in found.items()
            if one is not None
        }

    @staticmethod
    def mark(version: Version) -> bytes:
        data: bytes = version
        return data

    def lock(self, key: str, ttl: int) -> str | None:
        check_key(key)
        token = secrets.token_hex(16)
        with self._mutex:
            now = self._sweep()
            held = self._locks.get(key, now)
            if held is not None and held.deadline - now <= longest_lock(ttl):
                return None
            # A lock that is held must not be dropped to make room: the new one is refused instead.
            if held is None and len(self._locks.entries) >= self._limit:
                return None
            self._locks.put(key, token.encode(), None, now + ttl, now)
        return token

    def unlock(self, key: str, token: str) -> bool:
        check_key(key)
        check_token(token)
        with self._mutex:
            entry = self._locks.get(key, self._sweep())
            if entry is None or entry.data != token.encode():
                return False
            self._locks.remove(key)
        return True

    def _shrink(self) -> None:
        with self._mutex:
            self._records.shrink(self._most_bytes)
        self._tell_full(f"{self._most_bytes} bytes")

    def _tell_full(self, bound: str) -> None:
        """Without the lock: a handler of the log may use the store."""
        if not self._warned:
            self._warned = True
            log.warning("MemoryStore is full at %s: dropping the longest idle sessions", bound)

    def _sweep(self, limit: int = _SWEEP) -> int:
        """Clear away some of what has expired, and return the time. Needs the lock."""
        now = self._clock()
        due = self._records.due
        if due and due[0] <= now:
            self._records.sweep(now, limit)
        if self._tombstones.due:
            self._tombstones.sweep(now, limit)
        if self._locks.due:
            self._locks.sweep(now, limit)
        return now

    def _is_taken(self, key: str, now: int) -> bool:
        return self._records.get(key, now) is not None or self._tombstones.get(key, now) is not None


class AsyncMemoryStore:
    """`MemoryStore` in the async colour, for any event loop, or several. Its methods never suspend.

    Takes the same arguments, and raises the same errors.
    """

    def __init__(
        self,
        *,
        max_sessions: int | None = _DEFAULT_MAX_SESSIONS,
        max_bytes: int | None = _DEFAULT_MAX_BYTES,
        max_size: int = DEFAULT_MAX_SIZE,
        clock: Clock = system_clock,
    ) -> None:
        self._store = MemoryStore(max_sessions=max_sessions, max_bytes=max_bytes, max_size=max_size, clock=clock)
        self.max_sessions: int | None = self._store.max_sessions
        self.max_bytes: int | None = self._store.max_bytes
        self.max_size: int = self._store.max_size

    @classmethod
    def from_url(cls, url: str, *, clock: Clock = system_clock) -> AsyncMemoryStore:
        """A store as a URL describes it; see `MemoryStore.from_url`."""
        return cls(**_url_options(url), clock=clock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{bound}={getattr(self, bound)}' for bound in _BOUNDS)})"

    @property
    def direct(self) -> MemoryStore:
        """No operation waits: this does the same, without coroutines."""
        return self._store

    async def open(self) -> None:
        """Do nothing: there is nothing to acquire."""
        self._store.open()

    async def close(self) -> None:
        """Do nothing: the sessions stay as long as the store does."""
        self._store.close()

    async def load(self, key: str) -> Stored | Replaced | None:
        return self._store.load(key)

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        return self._store.create(key, data, ttl, owner=owner)

    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        return self._store.replace(key, data, ttl, version=version, owner=owner)

    async def regenerate(
        self,
        old: str,
        new: str,
        data: bytes,
        ttl: int,
        *,
        version: Version,
        tombstone: int,
        owner: str | None = None,
    ) -> Version | Conflict | Missing | Exists:
        return self._store.regenerate(old, new, data, ttl, version=version, tombstone=tombstone, owner=owner)

    async def touch(self, key: str, ttl: int) -> bool:
        return self._store.touch(key, ttl)

    async def delete(self, *keys: str) -> Deleted:
        return self._store.delete(*keys)

    async def scan(self) -> AsyncIterator[tuple[str, Stored]]:
        for item in self._store.scan():
            yield item

    async def page(self, cursor: str = "", limit: int = 100) -> Page:
        return self._store.page(cursor, limit)

    async def facts(self) -> Facts:
        return self._store.facts()

    async def count(self) -> int:
        return self._store.count()

    async def clear(self) -> int:
        return self._store.clear()

    async def delete_expired(self) -> int:
        return self._store.delete_expired()

    async def has_expired(self, key: str) -> bool:
        return self._store.has_expired(key)

    async def by_owner(self, owner: str) -> list[str]:
        return self._store.by_owner(owner)

    async def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing:
        return self._store.set_owner(key, owner, version=version)

    async def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        return self._store.look(keys)

    @staticmethod
    def mark(version: Version) -> bytes:
        return MemoryStore.mark(version)

    async def lock(self, key: str, ttl: int) -> str | None:
        return self._store.lock(key, ttl)

    async def unlock(self, key: str, token: str) -> bool:
        return self._store.unlock(key, token)


def _successor(tombstone: Entry) -> str:
    return tombstone.data.decode()


def _url_options(url: str) -> dict[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "memory" or parts.netloc or parts.path or parts.fragment:
        raise ConfigurationError("store", "a URL of another form", "give memory://, or memory://?max_sessions=1000")
    return parse_query("memory", parts.query, dict.fromkeys(_BOUNDS, positive))
