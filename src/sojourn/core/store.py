"""The store contract: what every store promises, in prose and as types.

A store keeps bytes under a key for a while. It knows nothing of sessions, cookies or requests.

**Keys** are non-empty strings, at most 4096 bytes of UTF-8, chosen by the caller. **Data** is opaque bytes. **ttl**
is a positive whole number of milliseconds, always relative, so that the clocks of web server and store need not
agree.

A key is in one of three states:

- *missing*: never created, expired, or deleted. All three look the same, at once when the time is up, swept or not.
- *live*: it has data, a version, an expiry and perhaps an owner.
- *replaced*: a tombstone left by ``regenerate``. It has no data, but it keeps its successor: the key that the session
  moved to. It expires by itself. ``load`` returns it, and ``delete`` returns its successor. Every other write treats it
  as missing, except that ``create`` and ``regenerate`` refuse to take it as a new key.

**Outcomes, not exceptions.** Missing, expired, replaced, existing and conflicting are returned. Only system failures
are exceptions, always a `StoreError` with the driver's own as its ``driver_error``: `StoreUnavailable` when nothing was written,
`StoreTimeout` when a write may have happened, or a part of it has. A store never resends a write on its own.

**Two invariants**, under any interleaving of callers, threads and processes:

1. A lost update is impossible without being reported: ``replace`` and ``regenerate`` succeed only if the record's
   version is the one given, else they return `Conflict` and change nothing.
2. A deleted or replaced key never comes back through ``replace``, ``touch`` or ``regenerate``: they return `Missing`
   (``False``) and change nothing.

**Ending a session that moves.** While one request ends a session, another may regenerate it. So ``delete`` removes
the records that are live, and returns the successors of the keys that are tombstones. The caller deletes the
successors too, and repeats that until none is returned. Then no session that began under one of the keys is live, in
whatever order the requests were served.

``delete`` leaves the tombstone itself in place until it expires, for two reasons. A delete whose reply was lost can be
repeated, and still returns the successor. And a request that is still under way with the old id finds the tombstone and
stays anonymous, as after any regenerate.

**Version** is an opaque value to hand back. It changes with the data (where a store uses the data itself as the
version, writing equal data may leave it equal), and never with a touch.

**Every write sets the expiry** to now + ttl. Repeating ``delete`` or ``touch`` is harmless.

**A store in this process**, none of whose operations waits or fails half way, may say so by an attribute ``direct``: a store in the sync
colour that does the same. Then nothing needs a coroutine, or has to be protected from being cancelled. It counts only where the store's own
class defines it: a subclass may well have changed a method, which the inherited attribute would pass over.

**What is left.** A store whose ``load`` leaves ``expires_in`` None, as it would need a second command, may have ``lifetime(key)``, which returns the milliseconds
that a record has left, or None. It is asked where somebody wants to know, as for the list of an owner's devices.

**What has expired.** A store that keeps expired records until it sweeps may have ``has_expired(key)``: whether there is such a record still. It
is asked, where somebody listens to events, about a key that was missing. False says nothing.

**A near cache**, as `AsyncRedisStore` can have one: an attribute ``near``, a function of a key that returns a record (a `Stored`) without asking the
server, or None where the server is to be asked by ``load``. What it returns may be older than what ``load`` would, by a bound that the store
states, but never older than what this store has itself written. The first look-up of a request uses it, and nothing else. ``near`` is None
where there is no cache, and counts where ``direct`` would.

**A write that cannot be cut short.** A store of the async colour whose writes, once begun, come to their end though the caller be cancelled, may say so
by an attribute ``unbroken``, which counts where ``direct`` would: a store that does the same as this one, but whose writes return as if nothing had
happened, and leave the cancellation to `aio.deliver_cancellation`. The caller does that where it has noted the result, if `aio.late` has anybody.
None: none is to be had here. With it most commits need no task of their own.

**Who watches sessions**, as an open WebSocket does, asks again and again whether they are still what they were. A store may have three things
for it, each by itself:

- ``look(keys)`` and ``mark(version)``: see `LookingStore`. Without them each key is asked for by ``load``.
- ``pulse()``, a plain function, which is called on the event loop's thread ten times a second: what it returns is equal to what it returned
  before only if nobody has written anything since. None: it cannot tell. Where it is equal, no key is looked at.
- ``watch(told)``, of the async colour: see `Watch`. None where the server at hand does not tell of changes.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from ..errors import SessionTooLarge

__all__ = [
    "CONFLICT",
    "DEFAULT_MAX_SIZE",
    "EXISTS",
    "LOCK_MS",
    "MISSING",
    "ROUNDED_MS",
    "AsyncExaminableStore",
    "AsyncIndexingStore",
    "AsyncLockingStore",
    "AsyncLookingStore",
    "AsyncScanningStore",
    "AsyncStore",
    "Conflict",
    "Deleted",
    "ExaminableStore",
    "Exists",
    "Facts",
    "IndexingStore",
    "LockingStore",
    "LookingStore",
    "Missing",
    "Outcome",
    "Page",
    "Replaced",
    "ScanningStore",
    "Seen",
    "Store",
    "Stored",
    "Told",
    "Version",
    "Watch",
    "check_size",
    "direct_of",
    "longest_lock",
    "near_of",
    "unbroken_of",
]

Version: TypeAlias = Any
"""Opaque to callers; compared by the store alone."""

DEFAULT_MAX_SIZE: Final = 1024 * 1024
"""Bytes of one record beyond which a store refuses it, unless told otherwise."""


ROUNDED_MS: Final = 1000
"""By how many milliseconds a store may round an expiry."""

LOCK_MS: Final = 30_000
"""How long an exclusive request may hold its session's lock, in milliseconds."""


class Stored(NamedTuple):
    """A live record, as ``load`` and ``scan`` give it."""

    data: bytes
    version: Version
    expires_in: int | None
    """Milliseconds left. None where ``load`` would need a second command to know (Redis), or the record never ends."""


class Replaced(NamedTuple):
    """A tombstone, as ``load`` returns it: the key was regenerated a moment ago. It is falsy, as there is no record."""

    successor: str | None
    """The key that the session moved to. None if it is not known: an older version left the tombstone, or the table has
    no place for it."""

    def __bool__(self) -> Literal[False]:
        return False


class Seen(NamedTuple):
    """A live record, as ``look`` gives it: without its data."""

    mark: Hashable
    """What ``mark`` gives for the record's version. Another one as soon as the data are others; never with a touch."""
    expires_in: int | None
    """Milliseconds left. None where the record never ends."""


class Deleted(NamedTuple):
    """What ``delete`` did."""

    count: int  # type: ignore[assignment]  # instead of the method that tuples have
    """How many live records it deleted."""
    successors: tuple[str, ...]
    """The known successors of those keys that are tombstones: in the order of the keys, each once. Their sessions are
    still there: call ``delete`` with them, until none is returned."""


class Page(NamedTuple):
    """Some of a store's live records, as ``page`` returns them."""

    items: list[tuple[str, Stored]]
    """Keys and records. It may be empty, and not the last page."""
    next: str | None
    """Where the next page begins; None: this was the last. It may hold a key."""


Facts: TypeAlias = dict[str, str | int | bool]
"""What a store knows of its server, by names of the store's own."""


class Outcome(enum.Enum):
    """What a store returns instead of raising. Each is falsy, so that ``if store.replace(...)`` reads as it should."""

    MISSING = "missing"
    CONFLICT = "conflict"
    EXISTS = "exists"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Outcome.MISSING
"""No live record under this key; nothing was written."""
CONFLICT: Final = Outcome.CONFLICT
"""The record is live but its version is another; nothing was written."""
EXISTS: Final = Outcome.EXISTS
"""The new key is taken, by a live record or a tombstone; nothing was written."""

Missing: TypeAlias = Literal[Outcome.MISSING]
Conflict: TypeAlias = Literal[Outcome.CONFLICT]
Exists: TypeAlias = Literal[Outcome.EXISTS]


@runtime_checkable
class Store(Protocol):
    """A store in the sync colour. Safe to use from several threads at once.

    `AsyncStore` has the same methods with ``async def``. Capabilities that only some stores have are found by
    their presence: ``scan()``, ``count()``, ``clear()``, ``delete_expired()``, ``by_owner(owner)``, ``lock(key, ttl)`` and
    ``unlock(key, token)``, ``set_owner(key, owner, version)``, ``look(keys)`` and ``mark(version)``; see `ScanningStore`, `LockingStore`,
    `IndexingStore` and `LookingStore`.
    """

    def open(self) -> None:
        """Acquire what the store needs. Optional: the first operation does it too. Repeating it is harmless."""

    def close(self) -> None:
        """Release what the store itself opened, never a client it was given. It may be opened again."""

    def load(self, key: str) -> Stored | Replaced | None:
        """Fetch a record: `Stored`, `Replaced` for a tombstone, None when missing.

        It takes one round trip, for a tombstone perhaps two.
        """

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

        The tombstone keeps ``new`` as its successor. It lives ``tombstone`` milliseconds; 0 leaves none. Returns
        `CONFLICT` or `MISSING` for the old key, `EXISTS` for the new one, in that order of precedence, and changes
        nothing then.
        """

    def touch(self, key: str, ttl: int) -> bool:
        """Set a live record's expiry to now + ttl, changing nothing else. False: it is gone."""

    def delete(self, *keys: str) -> Deleted:
        """Remove the live records under these keys, in one round trip where the server can.

        A tombstone stays, and is no record: it is not counted, but its successor is returned. Missing keys are passed
        over. A key given twice counts once. Without keys nothing is done. Each key is one atomic step, but not all
        together.
        """


@runtime_checkable
class ScanningStore(Protocol):
    """The capability to walk over live records. Tombstones and expired records are never seen."""

    def scan(self) -> Iterator[tuple[str, Stored]]:
        """Yield every record live throughout the scan once; those that come or go meanwhile perhaps."""

    def count(self) -> int:
        """How many records are live."""

    def clear(self) -> int:
        """Delete every live record, and return how many. Tombstones stay."""

    def delete_expired(self) -> int:
        """Physically remove expired records and tombstones, in small batches, and return how many records."""

    def by_owner(self, owner: str) -> list[str]:
        """The keys of the owner's live records, in no order.

        What the store keeps for it ends with the records, though the owner never come again.
        """


@runtime_checkable
class IndexingStore(Protocol):
    """The capability to set right whose a record is, where another program wrote it, or an older configuration: for `reindex`."""

    def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing:
        """Note whose a live record is, if its version is the one given. Neither data, nor expiry, nor version change.

        Returns whether there was something to change.
        """


@runtime_checkable
class ExaminableStore(Protocol):
    """The capability to be looked at by an operator: what ``sojourn list``, ``sojourn stats`` and ``sojourn ping`` need."""

    def page(self, cursor: str = "", limit: int = 100) -> Page:
        """Some live records, about ``limit``, from where an earlier page says that the next begins.

        One after the other, until ``next`` is None, they have every record that is live throughout; some perhaps twice. The store keeps nothing
        between two of them.

        Raises:
            ValueError: the cursor is none of this store's.
        """

    def facts(self) -> Facts:
        """What the server says of itself: ``server``, ``version``, and what it was told that matters to sessions.

        ``now`` is its clock, milliseconds since the epoch, where it has one of its own. What it refuses to tell is left out.
        """


@runtime_checkable
class LockingStore(Protocol):
    """The capability that ``exclusive`` needs: a lock per key, whether or not the key has a record."""

    def lock(self, key: str, ttl: int) -> str | None:
        """Take the lock without waiting: a token, or None while somebody else holds it. It expires after ttl.

        A lock that would last longer than `longest_lock` was taken before the clock was set back. It is free.
        """

    def unlock(self, key: str, token: str) -> bool:
        """Release the lock if the token still holds it. False: it expired and may be somebody else's by now."""


@runtime_checkable
class LookingStore(Protocol):
    """The capability to look at many records at once, to see whether they are still what they were."""

    def look(self, keys: Sequence[str]) -> Mapping[str, Seen | Replaced]:
        """What is under each of the keys: `Seen`, or `Replaced` for a tombstone. Those that are missing are left out.

        One command, where the server can, for up to 500 keys; without the data, where the server can tell of them by less.
        """

    def mark(self, version: Version) -> Hashable:
        """What ``look`` tells of a record that has this version. No I/O."""


Told: TypeAlias = Callable[[Iterable[str] | None], object]
"""What a `Watch` calls, on its event loop: with the keys that have been written, ended or expired; with None where it may be any."""


class Watch(Protocol):
    """The changes of a store's records as the server tells of them, to one event loop. Made by ``watch(told)`` of the store."""

    @property
    def is_told(self) -> bool:
        """Whether the server tells of what has been looked at. False also after a loss, until a look that finds it mended."""

    async def look(self, keys: Sequence[str]) -> Mapping[str, Seen | Replaced]:
        """See `LookingStore.look`. From now on what becomes of these keys is told, once each until it is looked at again.

        Raises:
            StoreError: the store failed.
        """

    async def close(self) -> None:
        """Be told no more."""


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
    async def delete(self, *keys: str) -> Deleted: ...


@runtime_checkable
class AsyncScanningStore(Protocol):
    """`ScanningStore` in the async colour."""

    def scan(self) -> AsyncIterator[tuple[str, Stored]]: ...
    async def count(self) -> int: ...
    async def clear(self) -> int: ...
    async def delete_expired(self) -> int: ...
    async def by_owner(self, owner: str) -> list[str]: ...


@runtime_checkable
class AsyncIndexingStore(Protocol):
    """`IndexingStore` in the async colour."""

    async def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing: ...


@runtime_checkable
class AsyncLookingStore(Protocol):
    """`LookingStore` in the async colour."""

    async def look(self, keys: Sequence[str]) -> Mapping[str, Seen | Replaced]: ...
    def mark(self, version: Version) -> Hashable: ...


@runtime_checkable
class AsyncExaminableStore(Protocol):
    """`ExaminableStore` in the async colour."""

    async def page(self, cursor: str = "", limit: int = 100) -> Page: ...
    async def facts(self) -> Facts: ...


@runtime_checkable
class AsyncLockingStore(Protocol):
    """`LockingStore` in the async colour."""

    async def lock(self, key: str, ttl: int) -> str | None: ...
    async def unlock(self, key: str, token: str) -> bool: ...


def direct_of(store: Any) -> Any:
    """The ``direct`` of a store whose class has one of its own; else None."""
    return store.direct if "direct" in vars(type(store)) else None


def near_of(store: Any) -> Callable[[str], Stored | None] | None:
    """The ``near`` of a store whose class has one of its own; else None."""
    near: Callable[[str], Stored | None] | None = store.near if "near" in vars(type(store)) else None
    return near


def unbroken_of(store: Any) -> Any:
    """The ``unbroken`` of a store whose class has one of its own; else None."""
    return store.unbroken if "unbroken" in vars(type(store)) else None


def longest_lock(ttl: int) -> int:
    """Milliseconds that a lock may have left, where such a one is taken. Twice as many as it is given, as clocks differ."""
    return 2 * max(ttl, LOCK_MS)


def check_size(data: bytes, limit: int) -> None:
    """Refuse a record larger than the store's ``max_size``, before it reaches the server.

    Raises:
        SessionTooLarge: naming both sizes.
    """
    if len(data) > limit:
        raise SessionTooLarge(len(data), limit)
