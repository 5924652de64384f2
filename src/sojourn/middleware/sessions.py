"""``session.sessions`` on a store: the view of all its sessions; Express's ``req.sessionStore``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Final, TypeAlias

from ..core.data import unpack_stored
from ..core.devices import end_owner
from ..core.settings import SessionSettings
from ..core.steps import end
from ..core.store import Replaced, Stored
from ..core.views import SessionView
from ..errors import SessionDecodeError
from ..events import SessionEvent
from ..ids import check_text, mask_id
from ..logs import log
from .drive import capability, run, run_async

__all__ = ["AsyncStoreSessions", "StoreSessions"]


_AT_ONCE: Final = 500
"""Sessions that are looked at before those of them that are to end do."""
_Predicate: TypeAlias = Callable[[SessionView], object]
_Progress: TypeAlias = Callable[[int, int], object]


class _StoreView:
    """What both colours share."""

    __slots__ = ("_settings", "_store", "_tell")

    def __init__(self, store: Any, settings: SessionSettings, tell: Any = None) -> None:
        self._store = store
        self._settings = settings
        self._tell = tell
        """The middleware's, for what has ended; None where there is no middleware."""

    def _key(self, session: str | SessionView) -> str:
        return session.key if isinstance(session, SessionView) else self._settings.key_of(session)

    def _view(self, key: str, found: object) -> SessionView | None:
        if not isinstance(found, Stored):
            return None
        settings = self._settings
        try:
            record = unpack_stored(settings, key, found)
        except SessionDecodeError as error:
            log.error("a stored session (%s) is unreadable: %s", mask_id(key), error)
            return None
        expires = None if found.expires_in is None else settings.options.clock() + found.expires_in
        return SessionView(key, record, settings.codec, expires)

    def _owned(self, key: str, found: object, owner: str) -> SessionView | None:
        view = self._view(key, found)
        return view if view is not None and view.owner == owner else None  # it may have changed hands meanwhile

    def _still(self, predicate: _Predicate) -> Callable[[str, object], bool]:
        """Whether the predicate is true of what a session has become meanwhile: somebody may have logged in there."""

        def still(key: str, found: object) -> bool:
            view = self._view(key, found)
            return isinstance(found, Replaced) or (view is not None and bool(predicate(view)))

        return still

    def _capability(self, name: str) -> Any:
        return capability(self._store, name)

    def _noted(self) -> list[SessionEvent] | None:
        """Where to note what has ended; None where nobody listens."""
        return [] if self._settings.tells and self._tell is not None else None

    def _note(self, noted: list[SessionEvent] | None, keys: Iterable[str], count: int, reason: str) -> None:
        """Note that so many of these have ended."""
        if noted is not None:
            noted += [self._settings.event("revoked", key, reason=reason) for key in islice(keys, count)]

    def _note_all(self, count: int) -> list[SessionEvent] | None:
        """Note that all sessions have ended, so many."""
        noted = self._noted()
        if noted is not None and count:
            noted.append(replace(self._settings.event("revoked", reason="clear"), count=count))
        return noted

    def _keys(self, sessions: str | SessionView | Iterable[str | SessionView]) -> list[str]:
        """The keys of one session or several."""
        several = (sessions,) if isinstance(sessions, str | SessionView) else sessions
        return [self._key(session) for session in several]


class StoreSessions(_StoreView):
    """All sessions of a store, in the sync colour: `sojourn.core.views.Sessions`."""

    __slots__ = ()

    def get(self, session: str | SessionView) -> SessionView | None:
        key = self._key(session)
        return self._view(key, self._store.load(key))

    def destroy(self, session: str | SessionView) -> bool:
        key, noted = self._key(session), self._noted()
        count = run(end((key,)), self._store)
        self._note(noted, (key,), count, "destroy")
        if noted:
            self._tell(noted)
        return count > 0

    def all(self) -> Iterator[SessionView]:
        for key, found in self._capability("scan")():
            if (view := self._view(key, found)) is not None:
                yield view

    def by_owner(self, owner: str) -> Iterator[SessionView]:
        for key in self._capability("by_owner")(owner):
            if (view := self._owned(key, self._store.load(key), owner)) is not None:
                yield view

    def end_owner(self, owner: str, *, except_: str | SessionView | Iterable[str | SessionView] = ()) -> int:
        noted = self._noted()
        try:
            return run(end_owner(self._settings, owner, self._keys(except_), "owner", noted), self._store)
        finally:
            if noted:
                self._tell(noted)

    def end_sid(self, sid: str, owner: str | None = None) -> int:
        check_text("sid", sid)  # None, of a token that has none, would be every session without one
        views = self.all() if owner is None else self.by_owner(owner)
        return self._end(views, lambda view: view.sid == sid, None, "sid")

    def end_where(self, predicate: _Predicate, *, progress: _Progress | None = None) -> int:
        return self._end(self.all(), predicate, progress, "where")

    def _end(self, views: Iterator[SessionView], predicate: _Predicate, progress: _Progress | None, reason: str) -> int:
        seen = ended = 0
        while some := list(islice(views, _AT_ONCE)):
            seen += len(some)
            if keys := tuple(view.key for view in some if predicate(view)):
                noted = self._noted()
                count = run(end(keys, still=self._still(predicate)), self._store)
                self._note(noted, keys, count, reason)
                if noted:
                    self._tell(noted)
                ended += count
            if progress is not None:
                progress(seen, ended)
        return ended

    def count(self) -> int:
        return int(self._capability("count")())

    def clear(self) -> int:
        count = int(self._capability("clear")())
        if noted := self._note_all(count):
            self._tell(noted)
        return count


class AsyncStoreSessions(_StoreView):
    """All sessions of a store, in the async colour: `sojourn.core.views.AsyncSessions`."""

    __slots__ = ()

    async def get(self, session: str | SessionView) -> SessionView | None:
        key = self._key(session)
        return self._view(key, await self._store.load(key))

    async def destroy(self, session: str | SessionView) -> bool:
        key, noted = self._key(session), self._noted()
        count = await run_async(end((key,)), self._store)
        self._note(noted, (key,), count, "destroy")
        if noted:
            await self._tell(noted)
        return count > 0

    async def all(self) -> AsyncIterator[SessionView]:
        async for key, found in self._capability("scan")():
            if (view := self._view(key, found)) is not None:
                yield view

    async def by_owner(self, owner: str) -> AsyncIterator[SessionView]:
        for key in await self._capability("by_owner")(owner):
            if (view := self._owned(key, await self._store.load(key), owner)) is not None:
                yield view

    async def end_owner(self, owner: str, *, except_: str | SessionView | Iterable[str | SessionView] = ()) -> int:
        noted = self._noted()
        try:
            return await run_async(end_owner(self._settings, owner, self._keys(except_), "owner", noted), self._store)
        finally:
            if noted:
                await self._tell(noted)

    async def end_sid(self, sid: str, owner: str | None = None) -> int:
        check_text("sid", sid)  # as above
        views = self.all() if owner is None else self.by_owner(owner)
        return await self._end(views, lambda view: view.sid == sid, None, "sid")

    async def end_where(self, predicate: _Predicate, *, progress: _Progress | None = None) -> int:
        return await self._end(self.all(), predicate, progress, "where")

    async def _end(
        self, views: AsyncIterator[SessionView], predicate: _Predicate, progress: _Progress | None, reason: str
    ) -> int:
        seen = ended = 0
        done = False
        while not done:
            some = []
            done = True
            async for view in views:
                some.append(view)
                if len(some) == _AT_ONCE:
                    done = False
                    break
            seen += len(some)
            if keys := tuple(view.key for view in some if predicate(view)):
                noted = self._noted()
                count = await run_async(end(keys, still=self._still(predicate)), self._store)
                self._note(noted, keys, count, reason)
                if noted:
                    await self._tell(noted)
                ended += count
            if progress is not None and some:
                progress(seen, ended)
        return ended

    async def count(self) -> int:
        return int(await self._capability("count")())

    async def clear(self) -> int:
        count = int(await self._capability("clear")())
        if noted := self._note_all(count):
            await self._tell(noted)
        return count
