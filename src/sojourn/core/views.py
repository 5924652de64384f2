"""Other sessions, as a request may see them: what `Session.sessions` gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from ..clock import from_ms

__all__ = ["AsyncSessions", "SessionView", "Sessions"]


class SessionView(Mapping[str, Any]):
    """A stored session as it was when it was read: a mapping of its data, which cannot be changed here, and what is known about it."""

    __slots__ = ("created_at", "data", "expires_at", "key", "owner")

    def __init__(
        self, key: str, data: Mapping[str, Any], owner: str | None, created: int | None, expires: int | None
    ) -> None:
        self.key: str = key
        """Its name in the store."""
        self.data: Mapping[str, Any] = data
        """Its data. Changing it changes nothing in the store."""
        self.owner: str | None = owner
        """Who logged in."""
        self.created_at: datetime | None = None if created is None else from_ms(created)
        """When it began, in UTC; None where Express wrote it."""
        self.expires_at: datetime | None = None if expires is None else from_ms(expires)
        """When it ends unless it is used, in UTC; None where the store cannot tell."""

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<SessionView created_at={self.created_at}>"


class Sessions(Protocol):
    """All sessions of a store, in the sync colour. A session is named by its id, as the browser holds it, or by its view.

    Each method raises `StoreError` where the store failed, or is not capable of it.
    """

    def get(self, session: str | SessionView) -> SessionView | None:
        """A live session; None if there is none, or it cannot be read."""

    def destroy(self, session: str | SessionView) -> bool:
        """End a session, or what it was regenerated to a moment ago. False if there was none."""

    def all(self) -> Iterator[SessionView]:
        """Every live session that can be read."""

    def by_owner(self, owner: str) -> Iterator[SessionView]:
        """The owner's live sessions that can be read, in no order."""

    def count(self) -> int:
        """How many sessions are live."""

    def clear(self) -> int:
        """End all sessions; returns how many."""


class AsyncSessions(Protocol):
    """All sessions of a store, in the async colour; each method means what it means in `Sessions`."""

    async def get(self, session: str | SessionView) -> SessionView | None: ...
    async def destroy(self, session: str | SessionView) -> bool: ...
    def all(self) -> AsyncIterator[SessionView]: ...
    def by_owner(self, owner: str) -> AsyncIterator[SessionView]: ...
    async def count(self) -> int: ...
    async def clear(self) -> int: ...
