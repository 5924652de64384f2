"""``session.sessions``: the view of all sessions in a store, by id; Express's ``req.sessionStore``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Any

from ..clock import from_ms
from ..core.record import unpack
from ..core.settings import Rules
from ..core.store import Stored
from ..errors import SessionDecodeError, StoreError
from ..ids import mask_id
from ..logs import log

__all__ = ["AsyncSessions", "SessionView", "Sessions"]


class SessionView(Mapping[str, Any]):
    """A stored session as it was when read: its data, which cannot be changed here, and what is known about it."""

    __slots__ = ("_data", "created_at", "expires_at", "key", "owner")

    def __init__(
        self, key: str, data: Mapping[str, Any], owner: str | None, created: int | None, expires: int | None
    ) -> None:
        self.key = key
        """Its name in the store."""
        self._data = data
        self.owner = owner
        """Who logged in."""
        self.created_at: datetime | None = None if created is None else from_ms(created)
        """When it began; None where Express wrote it."""
        self.expires_at: datetime | None = None if expires is None else from_ms(expires)
        """When it ends unless it is used; None where the store cannot tell."""

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"<SessionView created_at={self.created_at}>"


class _View:
    """What both colours share. Ids are given as the browser holds them; a view stands for its session's id."""

    __slots__ = ("_rules", "_store")

    def __init__(self, store: Any, rules: Rules) -> None:
        self._store = store
        self._rules = rules

    def _key(self, session: str | SessionView) -> str:
        return session.key if isinstance(session, SessionView) else self._rules.key_of(session)

    def _view(self, key: str, found: object) -> SessionView | None:
        if not isinstance(found, Stored):
            return None
        try:
            record, tree = unpack(self._rules.codec.unseal(found.data, key))
            data = self._rules.codec.revive(tree, record.body)
        except SessionDecodeError as error:
            log.error("a stored session (%s) is unreadable: %s", mask_id(key), error)
            return None
        expires = None if found.expires_in is None else self._rules.options.clock() + found.expires_in
        return SessionView(key, data, record.owner, record.created, expires)

    def _capability(self, name: str) -> Any:
        method = getattr(self._store, name, None)
        if method is None:
            raise StoreError(f"{type(self._store).__name__} has no {name}()")
        return method


class Sessions(_View):
    """All sessions, in the sync colour."""

    __slots__ = ()

    def get(self, session: str | SessionView) -> SessionView | None:
        """A live session by its id; None if there is none, or it is unreadable."""
        key = self._key(session)
        return self._view(key, self._store.load(key))

    def destroy(self, session: str | SessionView) -> bool:
        """End a session. False if there was none."""
        return bool(self._store.delete(self._key(session)).count)

    def all(self) -> Iterator[SessionView]:
        """Every live session that can be read."""
        for key, found in self._capability("scan")():
            if (view := self._view(key, found)) is not None:
                yield view

    def count(self) -> int:
        """How many sessions are live."""
        return int(self._capability("count")())

    def clear(self) -> int:
        """End all sessions; answers how many."""
        return int(self._capability("clear")())


class AsyncSessions(_View):
    """All sessions, in the async colour."""

    __slots__ = ()

    async def get(self, session: str | SessionView) -> SessionView | None:
        """A live session by its id; None if there is none, or it is unreadable."""
        key = self._key(session)
        return self._view(key, await self._store.load(key))

    async def destroy(self, session: str | SessionView) -> bool:
        """End a session. False if there was none."""
        return bool((await self._store.delete(self._key(session))).count)

    async def all(self) -> AsyncIterator[SessionView]:
        """Every live session that can be read."""
        async for key, found in self._capability("scan")():
            if (view := self._view(key, found)) is not None:
                yield view

    async def count(self) -> int:
        """How many sessions are live."""
        return int(await self._capability("count")())

    async def clear(self) -> int:
        """End all sessions; answers how many."""
        return int(await self._capability("clear")())
