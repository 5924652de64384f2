"""Records kept in this process, for as long as the server would tell of any change: the near cache.

Theory of operation
-------------------
A connection that speaks RESP3 and has `CLIENT TRACKING` on is told, by a push, whenever a key that it has read is written, expires or is
evicted. Replies and pushes come in one order, that in which the server did things. So a record that was read is what lies in the store until
the push comes, and all that is left to know is how old the last word of the server is.

1. *Fill.* A ``GET`` and a ``PTTL`` are sent together. A push between their replies means that the record was written in between.
2. *Serve.* Only within `window` seconds after a command was sent whose reply has come: what the server did until then has been told. So an
   answer is never older than that, also where the network or the server stands still.
3. *Drop.* At a push; at the reply to a write of our own, on all the store's connections, as the push may come a moment later; and wholly
   when the connection ends.

A cache belongs to one event loop. What other loops write is told to it as a note, which it reads before it serves anything, and what was being
filled meanwhile is not kept.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

__all__ = ["Kept", "NearCache", "NearCaches"]

_BESIDE: Final = 320
"""Bytes that an entry takes beside its name and its record: in the dict, as a tuple, as objects."""
_ENDLESS: Final = -1
"""What ``PTTL`` returns for a record without an expiry."""


class Kept(NamedTuple):
    """A record as the server had it."""

    data: bytes
    end: float
    """When it expires, by the event loop's clock; never later than the server has it."""


class NearCache:
    """What one connection has read.

    Args:
        limit: bytes that all entries may take together; those that were used least recently make room.
        window: seconds for which the last word of the server counts.
        caches: those of the same store, this one among them.
    """

    def __init__(self, limit: int, window: float, caches: NearCaches) -> None:
        self._limit = limit
        self._window = window
        self._caches = caches
        self.process: int = os.getpid()
        self._kept: dict[bytes, Kept] = {}
        self.size: int = 0
        """Bytes that the entries take together."""
        self._arriving: dict[bytes, bytes] = {}
        self._known_at = -math.inf
        self._written_elsewhere: deque[bytes] = deque()
        self._writes_elsewhere = 0

    def get(self, name: bytes, now: float) -> Kept | None:
        """What is known of a record well enough to serve it."""
        if self._written_elsewhere:
            self._note_writes_elsewhere()
        kept = self._kept.get(name)
        if kept is None or now - self._known_at > self._window:
            return None
        if kept.end <= now:
            self._drop(name)
            return None
        del self._kept[name]
        self._kept[name] = kept  # the last to make room
        return kept

    def heard(self, asked_at: float) -> None:
        """Note a reply: all that the server did until its command was sent has been told."""
        self._known_at = asked_at

    @property
    def mark(self) -> int:
        """What `begin` is to be given, as it is when the command is sent."""
        return self._writes_elsewhere

    def begin(self, name: bytes, data: Any, mark: int) -> None:
        """Note the reply to a ``GET``."""
        if type(data) is bytes and mark == self._writes_elsewhere:
            self._arriving[name] = data

    def complete(self, name: bytes, left: Any, asked_at: float, mark: int) -> None:
        """Note the reply to the ``PTTL`` that went with it."""
        data = self._arriving.pop(name, None)
        if data is None or type(left) is not int or not (left > 0 or left == _ENDLESS):
            return
        self._drop(name)
        # The server's own clock is in whole milliseconds, so that a part of one may be gone already.
        self._kept[name] = Kept(data, math.inf if left == _ENDLESS else asked_at + (left - 1) / 1000)
        self.size += _size(name, data)
        while self.size > self._limit:
            self._drop(next(iter(self._kept)))
        if mark != self._writes_elsewhere:  # looked at last: another thread may have written at any moment before
            self._drop(name)

    def invalidate(self, push: list[Any]) -> None:
        """Note a push. One without names follows a flush."""
        if push[0] == b"invalidate":
            if push[1] is None:
                self.clear()
            else:
                self._forget(push[1])

    def written(self, names: Iterable[bytes]) -> None:
        """Note that a write of our own has been replied to, or is lost."""
        self._forget(names)
        self._caches.tell(names, self)

    def tell(self, names: Iterable[bytes]) -> None:
        """Note what was written on another connection. It may be called on any thread."""
        self._writes_elsewhere += 1  # first, so that what arrives now is dropped again
        self._written_elsewhere.extend(names)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._arriving.clear()
        self.size = 0

    def close(self) -> None:
        """The connection has ended, and nothing is told any more."""
        self.clear()
        self._known_at = -math.inf
        self._caches.remove(self)

    def _note_writes_elsewhere(self) -> None:
        while self._written_elsewhere:
            self._forget((self._written_elsewhere.popleft(),))

    def _forget(self, names: Iterable[bytes]) -> None:
        for name in names:
            self._arriving.pop(name, None)
            self._drop(name)

    def _drop(self, name: bytes) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.size -= _size(name, kept.data)


class NearCaches:
    """The near caches of a store: one for each connection, of whatever event loop."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._all: tuple[NearCache, ...] = ()
        self._mutex = threading.Lock()

    def open(self) -> NearCache:
        """The cache of a new connection."""
        cache = NearCache(self._limit, self._window, self)
        with self._mutex:
            # A forked process leaves what it has inherited to the parent.
            self._all = (*(other for other in self._all if other.process == cache.process), cache)
        return cache

    def remove(self, cache: NearCache) -> None:
        """Its connection has ended."""
        with self._mutex:
            self._all = tuple(other for other in self._all if other is not cache)

    def tell(self, names: Iterable[bytes], writer: NearCache) -> None:
        """Note on all others what was written on one."""
        for cache in self._all:
            if cache is not writer:
                cache.tell(names)


def _size(name: bytes, data: bytes) -> int:
    return len(name) + len(data) + _BESIDE
