"""The store contract: what every store promises, in prose and as types.

A store keeps bytes under a key for a while. It knows nothing of sessions, cookies or requests.

**Keys** are non-empty strings, at most 4096 bytes of UTF-8, chosen by the caller. **Data** are opaque bytes. **ttl** is a
positive whole number of milliseconds, always relative, so that the clocks of web server and store need not agree.

A key is in one of three states:

- *missing*: never created, expired, or deleted. All three look the same, at once when the time is up, swept or not.
- *live*: it has data, a version, an expiry and perhaps an owner.
- *replaced*: a tombstone left by ``regenerate``. It has no data, expires by itself, and is seen by ``load`` alone: every
  write treats it as missing, except that ``create`` and ``regenerate`` refuse to take it as a new key.

**Outcomes, not exceptions.** Missing, expired, replaced, existing and conflicting are answers. Only system failures are
exceptions, always a `StoreError` with the driver's own as its cause: `StoreUnavailable` when nothing was written,
`StoreTimeout` when a write may have happened. A store never resends a write on its own.

**Two invariants**, under any interleaving of callers, threads and processes:

1. A lost update is impossible without being reported: ``replace`` and ``regenerate`` succeed only if the record's version is
   the one given, else they answer `Conflict` and change nothing.
2. A deleted or replaced key never comes back through ``replace``, ``touch`` or ``regenerate``: they answer `Missing` (``False``)
   and change nothing.

**Version** is an opaque value to hand back. It changes with the data (where a store uses the data themselves as the
version, writing equal data may leave it equal), and never with a touch.

**Every write sets the expiry** to now + ttl. Every operation may be repeated: repeating ``delete`` or ``touch`` is harmless.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from ..errors import SessionTooLarge

__all__ = [
    "CONFLICT",
    "DEFAULT_MAX_SIZE",
    "EXISTS",
    "MISSING",
    "REPLACED",
    "AsyncStore",
    "Conflict",
    "Exists",
    "Missing",
    "Outcome",
    "Replaced",
    "Store",
    "Stored",
    "Version",
    "check_size",
]

Version: TypeAlias = Any
"""Opaque to callers; compared by the store alone."""

DEFAULT_MAX_SIZE: Final = 1024 * 1024
"""Bytes of one record beyond which a store refuses it, unless told otherwise."""


class Stored(NamedTuple):
    """A live record, as ``load`` and ``scan`` give it."""

    data: bytes
    version: Version
    expires_in: int | None
    """Milliseconds left. None where ``load`` would need a second command to know (Redis), or the record never ends."""


class Outcome(enum.Enum):
    """What a store answers instead of raising. Each is falsy, so that ``if store.replace(...)`` reads as it should."""

    MISSING = "missing"
    CONFLICT = "conflict"
    EXISTS = "exists"
    REPLACED = "replaced"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Outcome.MISSING
"""No live record under this key; nothing was written."""
CONFLICT: Final = Outcome.CONFLICT
"""The record is live but its version is another; nothing was written."""
EXISTS: Final = Outcome.EXISTS
"""The new key is taken, by a live record or a tombstone; nothing was written."""
REPLACED: Final = Outcome.REPLACED
"""The key was regenerated a moment ago; its session lives on under another key."""

Missing: TypeAlias = Literal[Outcome.MISSING]
Conflict: TypeAlias = Literal[Outcome.CONFLICT]
Exists: TypeAlias = Literal[Outcome.EXISTS]
Replaced: TypeAlias = Literal[Outcome.REPLACED]


@runtime_checkable
class Store(Protocol):
    """A store in the sync colour. Safe to use from several threads at once.

    `AsyncStore` has the same methods with ``async def``. Capabilities that only some stores have are found by
    their presence: ``scan()``, ``count()``, ``clear()``, ``delete_expired()``, ``by_owner(owner)``, ``lock(key, ttl)`` and
    ``unlock(key, token)``; see `ScanningStore` and `LockingStore`.
    """

    def open(self) -> None:
        """Acquire what the store needs. Optional: the first operation does it too. Repeating it is harmless."""

    def close(self) -> None:
        """Release what the store itself opened, never a client it was given. It may be opened again."""

    def load(self, key: str) -> Stored | Replaced | None:
        """Fetch a record in one round trip: `Stored`, `REPLACED` for a tombstone, None when missing."""

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        """Insert a record under a key that must be missing; `EXISTS`, and nothing changed, if it is not."""

    def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        """Overwrite data, expiry and owner of a live record whose version is the one given. Never inserts."""

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
        """Move a session to a new key in one atomic step: create ``new``, turn ``old`` into a tombstone.

        The tombstone lives ``tombstone`` milliseconds; 0 leaves none. Answers `CONFLICT` or `MISSING` for the old key,
        `EXISTS` for the new one, in that order of precedence, and changes nothing then.
        """

    def touch(self, key: str, ttl: int) -> bool:
        """Set a live record's expiry to now + ttl, changing nothing else. False: it is gone."""

    def delete(self, key: str) -> bool:
        """Remove a live record. True if there was one. A tombstone stays, and counts as gone."""


@runtime_checkable
class ScanningStore(Protocol):
    """The capability to walk over live records. Tombstones and expired records are never seen."""

    def scan(self) -> Iterator[tuple[str, Stored]]:
        """Yield every record live throughout the scan once; those that come or go meanwhile perhaps."""

    def count(self) -> int:
        """How many records are live."""

    def clear(self) -> int:
        """Delete every live record, and answer how many. Tombstones stay."""

    def delete_expired(self) -> int:
        """Physically remove expired records and tombstones, in small batches, and answer how many records."""

    def by_owner(self, owner: str) -> list[str]:
        """The keys of the owner's live records, in no order."""


@runtime_checkable
class LockingStore(Protocol):
    """The capability that ``exclusive`` needs: a lock per key, whether or not the key has a record."""

    def lock(self, key: str, ttl: int) -> str | None:
        """Take the lock without waiting: a token, or None while somebody else holds it. It expires after ttl."""

    def unlock(self, key: str, token: str) -> bool:
        """Release the lock if the token still holds it. False: it expired and may be somebody else's by now."""


@runtime_checkable
class AsyncStore(Protocol):
    """A store in the async colour; each method means what it means in `Store`."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def load(self, key: str) -> Stored | Replaced | None: ...
    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists: ...
    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing: ...
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
    ) -> Version | Conflict | Missing | Exists: ...
    async def touch(self, key: str, ttl: int) -> bool: ...
    async def delete(self, key: str) -> bool: ...


@runtime_checkable
class AsyncScanningStore(Protocol):
    """`ScanningStore` in the async colour."""

    def scan(self) -> AsyncIterator[tuple[str, Stored]]: ...
    async def count(self) -> int: ...
    async def clear(self) -> int: ...
    async def delete_expired(self) -> int: ...
    async def by_owner(self, owner: str) -> list[str]: ...


@runtime_checkable
class AsyncLockingStore(Protocol):
    """`LockingStore` in the async colour."""

    async def lock(self, key: str, ttl: int) -> str | None: ...
    async def unlock(self, key: str, token: str) -> bool: ...


def check_size(data: bytes, limit: int) -> None:
    """Refuse a record larger than the store's ``max_size``, before it reaches the server.

    Raises:
        SessionTooLarge: naming both sizes.
    """
    if len(data) > limit:
        raise SessionTooLarge(len(data), limit)
