"""What a task asks for, one operation at a time, and the one task that all others share: to end sessions. No I/O.

A task is a generator that yields operations and is sent what the store returned; `middleware.drive` runs it in either colour.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct

from ..errors import StoreTimeout
from .plan import Write
from .store import Deleted

__all__ = ["Delete", "Lifetime", "Load", "Lock", "Operation", "Owned", "Pause", "Steps", "Turn", "Unlock", "end"]

T = TypeVar("T")


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


class Lock(Struct, frozen=True):
    """Take a session's lock without waiting."""

    key: str
    note: Callable[[str], object] = str
    """Called with the token as soon as the lock is taken, even if the task is cancelled meanwhile."""


class Unlock(Struct, frozen=True):
    """Give it back."""

    key: str
    token: str


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


Operation: TypeAlias = Load | Owned | Lifetime | Delete | Lock | Unlock | Pause | Turn | Write
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
