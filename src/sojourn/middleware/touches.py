"""Touches of one session that meet in a process are joined: while one is under way, all that come meanwhile become one, the next.

Nobody is told what the one under way has found: it may have reached the store before they asked, and the session have ended in between.
So each of them hears of a touch that was sent after it asked, and waits for at most one other before that.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ..aio import here, new_event

__all__ = ["Touches"]


class _Touch:
    """One command, and those who wait for it."""

    __slots__ = ("_over", "error", "has_begun", "is_live", "next", "ttl")

    def __init__(self, ttl: int) -> None:
        self._over: Any = None
        self.ttl: int = ttl
        self.next: _Touch | None = None
        """What those who come meanwhile have joined in."""
        self.has_begun: bool = False
        self.is_live: bool | None = None
        """What the store has returned; None where there is an error, or whoever sent it was cancelled."""
        self.error: Exception | None = None

    async def wait(self) -> None:
        """Wait until it is over."""
        if self._over is None:
            self._over = new_event()
        await self._over.wait()

    def end(self) -> None:
        if self._over is not None:
            self._over.set()


class Touches:
    """The touches of one store that are under way. For tasks, on any number of event loops."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Touch] = {}

    def is_under_way(self, key: str) -> bool:
        """Whether a touch of this session, sent from this event loop, waits for its reply."""
        return (here(), key) in self._under_way

    async def touch(self, store: Any, key: str, ttl: int) -> bool:
        """Touch a session, or wait for a touch that does it for others too; of several lifetimes the longest counts, as if it came last.

        Raises:
            StoreError: as the store's; each that waits gets it.
        """
        place = here(), key
        before = self._under_way.get(place)
        if before is None:
            return await self._send(_Touch(ttl), place, store)
        if before.next is None:
            before.next = _Touch(ttl)
        own = before.next
        own.ttl = max(own.ttl, ttl)
        await before.wait()
        if not own.has_begun:
            return await self._send(own, place, store)
        await own.wait()
        if own.error is not None:
            raise own.error
        return await self.touch(store, key, ttl) if own.is_live is None else own.is_live

    async def _send(self, own: _Touch, place: tuple[object, str], store: Any) -> bool:
        own.has_begun = True
        self._under_way[place] = own
        try:
            own.is_live = is_live = bool(await store.touch(place[1], own.ttl))
        except Exception as error:
            own.error = error
            raise
        finally:
            if self._under_way.get(place) is own:  # else somebody came between the one before and this one
                del self._under_way[place]
            own.end()
        return is_live
