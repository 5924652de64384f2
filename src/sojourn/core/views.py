"""Other sessions, as a request may see them: what `Session.sessions` gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from msgspec import Raw

from ..clock import from_ms
from ..codecs import Codec
from ..errors import SessionDecodeError
from ..ids import mask_id
from ..logs import log
from .habits import DictHabits
from .record import Record

__all__ = ["AsyncSessions", "SessionView", "Sessions"]


class SessionView(DictHabits, called="view"):
    """A stored session as it was when it was read: a mapping of its data, which cannot be changed here, and what is known about it.

    A value is decoded when it is asked for. Where one cannot be, an error is logged, and the mapping is empty from then on.
    """

    __slots__ = ("_codec", "_values", "authenticated_at", "created_at", "expires_at", "key", "owner", "sid")

    def __init__(self, key: str, record: Record, codec: Codec, expires: int | None) -> None:
        login, created = record.login, record.created
        self.key: str = key
        """Its name in the store."""
        self.owner: str | None = login.owner
        """Who logged in."""
        self.authenticated_at: datetime | None = None if login.at is None else from_ms(login.at)
        """When they logged in, in UTC."""
        self.sid: str | None = login.sid
        """The OpenID provider's id of its own session, as given to ``login()``."""
        self.created_at: datetime | None = None if created is None else from_ms(created)
        """When it began, in UTC; None where Express wrote it."""
        self.expires_at: datetime | None = None if expires is None else from_ms(expires)
        """When it ends unless it is used, in UTC; None where the store cannot tell."""
        self._values: dict[str, Any] = record.data.copy()
        self._codec = codec

    @property
    def data(self) -> Mapping[str, Any]:
        """Its data, all decoded. Changing it changes nothing in the store."""
        try:
            for name in self._values:
                self[name]
        except KeyError:
            pass  # a value could not be read, and there are none any more
        return self._values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if type(value) is Raw:
            try:
                value = self._codec.decode(bytes(value))
            except SessionDecodeError as error:
                log.error("a stored session (%s) has a value that cannot be read: %s", mask_id(self.key), error)
                self._values = {}
                raise KeyError(key) from None
            self._values[key] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

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

    def end_owner(self, owner: str, *, except_: str | SessionView | Iterable[str | SessionView] = ()) -> int:
        """End all sessions of an owner but those named by ``except_``; returns how many there were."""

    def end_sid(self, sid: str, owner: str | None = None) -> int:
        """End all sessions that logged in with an OpenID provider's ``sid``; returns how many there were.

        For OpenID Connect Back-Channel Logout 1.0, section 2.7: call it with the logout token's ``sid``, and with the owner that its ``sub``
        stands for. Without the owner every session of the store is looked at. A token need not have a ``sid``: then call ``end_owner``.

        Raises:
            TypeError, ValueError: ``sid`` is none that ``login()`` takes.
        """

    def end_where(
        self, predicate: Callable[[SessionView], object], *, progress: Callable[[int, int], object] | None = None
    ) -> int:
        """End every session for which the predicate is true; returns how many there were.

        Every session of the store is looked at, some hundred at a time. After each of these steps ``progress`` is called with how many
        were seen so far and how many of them have ended. Of a session that got another id in the meantime, by a login for instance, the
        predicate is asked again.
        """

    def count(self) -> int:
        """How many sessions are live."""

    def clear(self) -> int:
        """End all sessions; returns how many. A store for Redis takes for its own whatever begins with its prefix."""


class AsyncSessions(Protocol):
    """All sessions of a store, in the async colour; each method means what it means in `Sessions`."""

    async def get(self, session: str | SessionView) -> SessionView | None: ...
    async def destroy(self, session: str | SessionView) -> bool: ...
    def all(self) -> AsyncIterator[SessionView]: ...
    def by_owner(self, owner: str) -> AsyncIterator[SessionView]: ...
    async def end_owner(self, owner: str, *, except_: str | SessionView | Iterable[str | SessionView] = ()) -> int: ...
    async def end_sid(self, sid: str, owner: str | None = None) -> int: ...
    async def end_where(
        self, predicate: Callable[[SessionView], object], *, progress: Callable[[int, int], object] | None = None
    ) -> int: ...
    async def count(self) -> int: ...
    async def clear(self) -> int: ...
