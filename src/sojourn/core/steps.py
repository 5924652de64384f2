"""What a task asks for, one operation at a time, and the two tasks that others share: to end sessions, and to take a lock. No I/O.

A task is a generator that yields operations and is sent what the store returned; `middleware.drive` runs it in either colour.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

from msgspec import Struct

from ..chance import chance
from ..errors import SessionConflict, StoreTimeout
from .plan import Write
from .store import LOCK_MS, Deleted

__all__ = [
    "Call",
    "Delete",
    "Lifetime",
    "Load",
    "Lock",
    "Operation",
    "Owned",
    "Pause",
    "Steps",
    "Turn",
    "Unlock",
    "acquire",
    "end",
    "lock_turn",
]

T = TypeVar("T")
_FIRST_NAP: Final = 0.01  # between two looks at a lock
_LONGEST_NAP: Final = 0.05


class Load(Struct, frozen=True):
    """Fetch a record."""

    key: str


class Owned(Struct, frozen=True):
    """Fetch the keys of an owner's sessions."""

    owner: str


class Lifetime(Struct, frozen=True):
    """Ask how long a record has left, in milliseconds, where ``load`` does not tell: of a store that has ``lifetime()``."""

    key: str


class Delete(Struct, frozen=True):
    """End sessions."""

    keys: tuple[str, ...]


class Call(Struct, frozen=True):
    """Any other method of the store's, which not every store has."""

    method: str
    arguments: tuple[Any, ...] = ()


class Lock(Struct, frozen=True):
    """Take a session's lock without waiting."""

    key: str
    note: Callable[[str], object] = str
    """Called with the token as soon as the lock is taken, even if the task is cancelled meanwhile."""


class Unlock(Struct, frozen=True):
    """Give it back."""

    key: str
    token: str
    again: bool = False
    """It is taken again at once, and whoever waits for it in this process is not told."""


class Pause(Struct, frozen=True):
    """Wait, in seconds."""

    seconds: float
    turn: Any = None
    """A turn by which the wait may be ended before."""


class Turn(Struct, frozen=True):
    """Wait for one's turn in this process, if anybody keeps turns. What it returns is left by ``leave()``, with what was stored."""

    key: Hashable
    until: float
    """By the monotonic clock."""
    waits: bool = True
    """False: come in at once; who comes later waits."""


Operation: TypeAlias = Load | Owned | Lifetime | Call | Delete | Lock | Unlock | Pause | Turn | Write
Steps: TypeAlias = Generator[Operation, Any, T]


def end(
    keys: tuple[str, ...], *, follow: bool = True, still: Callable[[str, object], object] | None = None
) -> Steps[int]:
    """Delete keys, and with ``follow`` also what they were replaced by; returns how many records. To repeat a delete is harmless.

    Args:
        keys: the keys.
        follow: whether to go on with what they were replaced by.
        still: whether to end that, too, by its key and what the store has under it; None: it ends in any case.
    """
    ended: set[str] = set()
    count = 0
    while keys:
        try:
            deleted: Deleted = yield Delete(keys)
        except StoreTimeout:
            deleted = yield Delete(keys)
        count += deleted.count
        ended.update(keys)
        keys = tuple(key for key in deleted.successors if key not in ended) if follow else ()
        if still is not None:
            meant = []
            for key in keys:
                found = yield Load(key)
                if still(key, found):
                    meant.append(key)
            keys = tuple(meant)
    return count


def acquire(key: str, note: Callable[[str], object], seconds: float | None = None) -> Steps[None]:
    """Wait for a lock. In one process one request after the other looks whether it is free, and the others wait in line.

    Args:
        key: the lock's name: a session's key, or an owner's.
        note: called with the token as soon as the lock is taken.
        seconds: how long to wait; as long as a holder may hold it, unless given.

    Raises:
        SessionConflict: others held it for so long.
    """
    until = monotonic() + (LOCK_MS / 1000 if seconds is None else seconds)
    turn = yield Turn(lock_turn(key), until)
    try:
        nap = _FIRST_NAP
        while (yield Lock(key, note)) is None:
            if monotonic() > until:
                raise SessionConflict("other requests kept the lock for too long")
            yield Pause(chance.uniform(nap / 2, nap), turn)
            nap = min(2 * nap, _LONGEST_NAP)
    finally:
        if turn is not None:
            turn.leave()


def lock_turn(key: str) -> Hashable:
    """What those who wait for a lock take turns by."""
    return "lock", key
