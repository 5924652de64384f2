"""Who watches sessions: one task for each store and event loop, however many connections watch, and none where nobody does.

Theory of operation
-------------------
A `Watcher` has the keys that are watched, and for each who is to be told. Its task looks at them: all of them once a second, in one command
for many (`sojourn.core.store`); more rarely where the store tells of changes by itself, and then at those that it has named, at once; with
a store that has a pulse, only where that has changed. A key is also looked at when somebody begins to watch it, and when its time is up. Who
watches is told only of what is another than it was.

The task ends with the last who watches. It outlives every failure of the store, of which each outage is logged once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import Any, Final, Protocol
from weakref import WeakMethod, WeakValueDictionary

from ..aio import has_ended, here, new_event, sleep, spawn, wait
from ..chance import chance
from ..core.changes import CHANGED, Change, change_of, is_own_end, key_of
from ..core.state import State
from ..core.store import Replaced, Seen, Stored, Told, Watch
from ..logs import OutageLog, log

__all__ = ["Changes", "Follower", "Subscriber", "Watcher", "Watchers", "watchers_of"]

POLL: Final = 1.0
"""Seconds between two looks at all keys; at random up to a quarter less, so that processes spread."""
CHECK: Final = 5.0
"""The same where the store tells of changes, or by its pulse: should it have told in vain."""
PULSE: Final = 0.1
"""Seconds between two looks at a store's pulse."""
_GAP: Final = 0.02
"""Seconds between two looks, so that many changes are looked at together."""
_MOST: Final = 500
"""Keys in one command."""
_MOST_LOADS: Final = 100
"""Keys in one poll of a store that cannot look: those that were looked at least recently."""
_UNKNOWN: Final = object()


class Subscriber(Protocol):
    """Who watches a session."""

    now: Callable[[], int]
    """Its clock: epoch ms."""

    def tell(self, found: Seen | Replaced | None, *, has_expired: bool) -> bool:
        """Take what the store has under the key. False: it is to be told once more, soon."""


class _Watched:
    """A key, and who watches it."""

    __slots__ = ("end", "found", "subscribers")

    def __init__(self) -> None:
        self.subscribers: dict[Subscriber, None] = {}
        self.found: object = _UNKNOWN
        """What they have all been told: the mark of a record, a tombstone, or None."""
        self.end: float = math.inf
        """When its time is up by what the store said last, epoch ms."""


class _Loads:
    """Looking by ``load``, at a store that can do no better."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        seen: dict[str, Seen | Replaced] = {}
        for key in keys:
            found = await self._store.load(key)
            if isinstance(found, Stored):
                seen[key] = Seen(found.version, found.expires_in)
            elif found is not None:
                seen[key] = found
        return seen


def _no_pulse() -> None:
    """The pulse of a store that has none."""


def _itself(version: Any) -> Any:
    """The mark of a version, where the store has no other."""
    return version


class Watcher:
    """Watches sessions of one store, on one event loop."""

    def __init__(self, store: Any, outage: OutageLog) -> None:
        self._store = store
        self._outage = outage
        self._watched: dict[str, _Watched] = {}
        """In the order in which they are looked at."""
        self._named: dict[str, None] = {}
        """Those to be looked at as soon as may be."""
        self._wake: Any = None
        self._is_running = False
        self._watch: Watch | None = None
        self._has_told = False
        self._looked_at = -math.inf
        """When all were looked at last, by the monotonic clock."""
        self._next_end = math.inf
        """When the time of the first is up, epoch ms; or a little before."""
        self.mark: Callable[[Any], Hashable] = getattr(store, "mark", _itself)
        self._can_look = hasattr(store, "look")
        self._pulse: Callable[[], object] = getattr(store, "pulse", _no_pulse)
        self._last_pulse: object = None

    def __len__(self) -> int:
        return len(self._watched)

    def subscribe(self, key: str, subscriber: Subscriber) -> None:
        """Tell somebody of this key from now on: at once what is there, and then whenever that is another."""
        watched = self._watched.setdefault(key, _Watched())
        watched.subscribers[subscriber] = None
        watched.found = _UNKNOWN
        self._name((key,))
        if not self._is_running:
            self._is_running = True
            spawn(self._run)

    def unsubscribe(self, key: str, subscriber: Subscriber) -> None:
        """Tell no more. Harmless when repeated."""
        watched = self._watched.get(key)
        if watched is None or watched.subscribers.pop(subscriber, _UNKNOWN) is _UNKNOWN:
            return
        if not watched.subscribers:
            del self._watched[key]
            self._named.pop(key, None)
            if not self._watched:
                self._stir()

    def _name(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key in self._watched:
                self._named[key] = None
        if self._named:
            self._stir()

    def _stir(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _told(self, keys: Iterable[str] | None) -> None:
        """What the store tells."""
        self._name(list(self._watched) if keys is None else keys)

    # -- the task -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._watched:
                await self._look()
                if self._watched:
                    await self._wait()
        finally:
            watch, self._watch = self._watch, None
            try:
                if watch is not None:
                    await watch.close()
            finally:
                self._is_running = False
        if (
            self._watched
        ):  # somebody came while it was closed; not where this was cancelled, as at the end of the event loop
            self._is_running = True
            spawn(self._run)

    async def _look(self) -> None:
        """Look at the keys that are due, and tell of them."""
        is_all, named, self._named = monotonic() >= self._due, list(self._named), {}
        began_at = monotonic()
        if is_all:
            self._next_end = math.inf
            self._last_pulse = self._pulse()  # before the look, so that what is written meanwhile is not overlooked
            keys = list(self._watched) if self._can_look else list(islice(self._watched, _MOST_LOADS))
        else:
            keys = named if self._can_look else named[:_MOST_LOADS]
            self._named.update(dict.fromkeys(named[len(keys) :]))
        try:
            look = (await self._telling() or self._store if self._can_look else _Loads(self._store)).look
            for first in range(0, len(keys), _MOST):
                some = keys[first : first + _MOST]
                self._note(some, await look(some))
        except Exception as error:  # noqa: BLE001 - a store of the application's own may raise anything
            self._has_told, self._looked_at = False, began_at
            self._outage.failure(error, "what becomes of the sessions that are watched is told once it is back")
            return
        self._outage.success()
        is_told = self._watch is not None and self._watch.is_told
        if self._has_told and not is_told:
            log.warning("the session store tells of no changes any more: the sessions that are watched are polled")
        self._has_told = is_told
        if is_all:
            self._looked_at = began_at - chance.uniform(0, 0.25) * POLL

    @property
    def _due(self) -> float:
        """When all are to be looked at, by the monotonic clock."""
        is_quiet = self._has_told or (self._can_look and self._last_pulse is not None)
        return self._looked_at + (CHECK if is_quiet and not self._outage.failures else POLL)

    async def _telling(self) -> Watch | None:
        """What the store tells of changes by, where it can."""
        if self._watch is None and hasattr(self._store, "watch"):
            told: Told = self._told
            self._watch = await self._store.watch(told)
        return self._watch

    def _note(self, keys: Iterable[str], seen: Mapping[str, Seen | Replaced]) -> None:
        for key in keys:
            watched = self._watched.pop(key, None)
            if watched is None:
                continue
            self._watched[key] = watched  # the last to be looked at again
            found, now = seen.get(key), next(iter(watched.subscribers)).now()
            has_expired = found is None and now >= watched.end
            if isinstance(found, Seen):
                watched.end = math.inf if found.expires_in is None else now + found.expires_in
                self._next_end = min(self._next_end, watched.end)
            what = found.mark if isinstance(found, Seen) else found
            if watched.found is not _UNKNOWN and watched.found == what:
                continue
            watched.found = what
            for subscriber in list(watched.subscribers):
                if not subscriber.tell(found, has_expired=has_expired):
                    watched.found = _UNKNOWN
                    self._name((key,))

    async def _wait(self) -> None:
        """Until something is due: all keys, one that the store has named, or one whose time is up."""
        await sleep(_GAP)
        while self._watched and not self._named:
            left = self._due - monotonic()
            if left <= 0:
                return
            if self._next_end < math.inf:
                now = next(iter(next(iter(self._watched.values())).subscribers)).now()
                if self._next_end <= now:
                    self._name_expired(now)
                    return
                left = min(left, (self._next_end - now) / 1000 + 0.001)
            pulse = self._pulse()
            if pulse != self._last_pulse:
                self._looked_at = -math.inf
                return
            if pulse is not None:
                left = min(left, PULSE)
            self._wake = new_event()
            await wait(self._wake, left)
            self._wake = None

    def _name_expired(self, now: int) -> None:
        ends = {key: watched.end for key, watched in self._watched.items()}
        self._named.update({key: None for key, end in ends.items() if end <= now})
        self._next_end = min((end for end in ends.values() if end > now), default=math.inf)


class Watchers:
    """The watchers of one store, by event loop."""

    def __init__(self, store: Any) -> None:
        self._store = store  # as long as there is this object, its address is the store's
        self.begin()

    def begin(self) -> None:
        """Nobody watches."""
        self._by_loop: dict[object, Watcher] = {}
        self._outage = OutageLog()

    def here(self) -> Watcher:
        """That of the running event loop."""
        loop = here()
        watcher = self._by_loop.get(loop)
        if watcher is None:
            self._by_loop = {one: its for one, its in self._by_loop.copy().items() if len(its) and not has_ended(one)}
            watcher = self._by_loop[loop] = Watcher(self._store, self._outage)
        return watcher


_OF: Final[WeakValueDictionary[int, Watchers]] = WeakValueDictionary()


def watchers_of(store: Any) -> Watchers:
    """The watchers of a store: the same for every middleware that uses it."""
    return _OF.setdefault(id(store), Watchers(store))


def _begin_in_child() -> None:
    """After a fork nobody watches: who did is in the parent."""
    for watchers in _OF.values():
        watchers.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


class Follower:
    """Who watches the session of one connection, by its state, and is told of what others make of it.

    Args:
        watchers: those of the session's store.
        state: the session's.
        told: called with what is to be told. What comes later takes the place of what came before.
        ended: called where the session object itself has ended the session.
    """

    def __init__(
        self,
        watchers: Watchers,
        state: State,
        told: Callable[[Change | None], object],
        ended: Callable[[], object],
    ) -> None:
        self._watchers = watchers
        self._state = state
        self._told = told
        self._ended = ended
        self._watcher: Watcher | None = None
        self._key: str | None = None
        self._known: Hashable = None
        """The mark of the record that the session object had when it was looked at last."""
        self._last: object = None
        """What was told last: the mark of a record that this session object does not know."""
        self.now: Callable[[], int] = state.settings.options.clock

    def follow(self) -> bool:
        """Begin, or go on. False: there is no session to watch."""
        key = key_of(self._state)
        if self._watcher is not None and key == self._key:
            return True
        self.leave()
        if key is None:
            return False
        self._watcher, self._key = self._watchers.here(), key
        self._known = self._mark()
        self._watcher.subscribe(key, self)
        return True

    def _mark(self) -> Hashable:
        """That of the record as the session object has it now."""
        loaded, watcher = self._state.loaded, self._watcher
        return None if loaded is None or watcher is None else watcher.mark(loaded.stored.version)

    def leave(self) -> None:
        """Watch no more."""
        if self._watcher is not None and self._key is not None:
            self._watcher.unsubscribe(self._key, self)
        self._watcher = None

    def tell(self, found: Seen | Replaced | None, *, has_expired: bool) -> bool:
        """What the store has, as `Subscriber` is told."""
        state, watcher = self._state, self._watcher
        if watcher is None:
            return True
        if state.saving:  # it may be what is being saved
            return False
        if is_own_end(state):
            self.leave()
            self._ended()
            return True
        if key_of(state) != self._key:  # the session object itself has moved on
            self.follow()
            return True
        change = change_of(state, found, mark=watcher.mark, has_expired=has_expired)
        before, self._known = self._known, self._mark()
        if (
            change is CHANGED and before != self._known
        ):  # it may have been looked at before the session object itself saved
            return False
        if change is not None and change.is_end:
            self.leave()
        mark = found.mark if change is not None and isinstance(found, Seen) else None
        if mark is None or mark != self._last:
            self._last = mark
            self._told(change)
        return True


class Changes:
    """What others make of a session, one after the other, for ``async for``. A slow reader gets the latest alone.

    The iteration ends with the change that ends the session, at once where there is none, and when this session object itself ends it.
    ``aclose()``, or being cancelled, leaves at once.
    """

    def __init__(self, watchers: Watchers, state: State) -> None:
        taking, ending = WeakMethod(self._take), WeakMethod(self._end)  # so that it is left when nobody has it any more

        def told(change: Change | None) -> None:
            if (take := taking()) is not None:
                take(change)

        def ended() -> None:
            if (end := ending()) is not None:
                end()

        self._follower = Follower(watchers, state, told, ended)
        self._latest: Change | None = None
        self._event: Any = None
        self._is_over = False

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        if self._event is not None:  # as an async generator has it: only one of them would be woken
            raise RuntimeError("these changes are waited for already: call changes() once for each task")
        try:
            while self._latest is None and not self._is_over and self._follower.follow():
                self._event = new_event()
                await self._event.wait()
        except BaseException:
            self._follower.leave()
            raise
        finally:
            self._event = None
        change, self._latest = self._latest, None
        if change is None:
            await self.aclose()
            raise StopAsyncIteration
        if change.is_end:
            self._is_over = True
        return change

    async def aclose(self) -> None:
        """Watch no more."""
        self._is_over = True
        self._follower.leave()

    def __del__(self) -> None:
        with suppress(AttributeError, RuntimeError):  # half made, or the event loop is gone
            self._follower.leave()

    def _take(self, change: Change | None) -> None:
        self._latest = change
        self._wake()

    def _end(self) -> None:
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()
