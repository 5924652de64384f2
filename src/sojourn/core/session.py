"""The session: a mapping that records intent. It does no I/O; it is loaded before the handler and committed after it.

`Session` and `AsyncSession` differ in the two calls for long-lived work, ``save()`` and ``reload()``, and in nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, Sequence, ValuesView
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from ..clock import LONGEST_MS, from_ms
from ..codecs import dumps
from ..cookie import Cookie
from ..errors import SessionDecodeError, SessionDestroyed, SessionEncodeError, SessionNotLoaded, StoreError
from ..ids import mask_id
from ..logs import log
from ..options import Request
from ..transports import Way
from ..wire.signing import Verified
from .record import Record, unpack
from .session_cookie import SessionCookie
from .settings import Rules

__all__ = ["AsyncIO", "AsyncSession", "BaseSession", "Flash", "Origin", "Session", "SyncIO"]

_FLASHES: Final = "_flashes"
_NO_OVERRIDES: Final[Mapping[str, Any]] = MappingProxyType({})


class Origin(enum.Enum):
    """Where a session came from."""

    NEW = "new"
    """The request brought no live session."""
    STORED = "stored"
    """Loaded from a live record."""
    UNLOADED = "not loaded"
    """The request brought an id that was not looked up yet (``lazy``)."""
    REPLACED = "replaced"
    """The id was regenerated a moment ago by a parallel request: anonymous, and not saved unless it logs in itself."""
    UNSAVED = "unsaved"
    """The store was down and ``on_store_error="anonymous"``: not saved."""

    __hash__ = object.__hash__  # Enum's own is written in Python until 3.12


class Flash(NamedTuple):
    """A message for the next page."""

    category: str
    message: str


class StoredRecord(Protocol):
    """What a store's load gives; see ``stores.base.Stored``."""

    @property
    def data(self) -> bytes: ...
    @property
    def version(self) -> Any: ...
    @property
    def expires_in(self) -> int | None: ...


class BaseSession(MutableMapping[str, Any]):
    """What both colours share. Made by the middleware, never by hand.

    Values are whatever the codec can hold; nested changes are seen when the session is committed, because what counts is
    whether its encoding differs. Everything but ``destroy()`` and ``save()`` raises `SessionDestroyed` once it is destroyed.
    """

    # Defaults on the class: most requests change few of these, and a session is made for every request.
    _data: dict[str, Any] | None = None  # None: not looked at
    _record: Record | None = None  # what was loaded or last saved; the base of change detection and merge
    _cookie: SessionCookie | None = None
    _created: int | None = None
    _owner: str | None = None
    _auth: int | None = None
    _quiet = True  # nothing happened to it but reading and changing its data
    _destroyed = False
    _regenerated = False
    _touched = False
    _dropped = False  # nothing of it is saved any more: set to None with unset="keep", refused, or ended
    _ended = False  # elsewhere, while the request ran
    _late = False  # the response headers have left
    _lock: tuple[str, str] | None = None  # the key and token of the lock that an exclusive request holds
    _failure: StoreError | None = None  # a lazy load failed: the response will be a 503
    _stale = False  # signed by an old secret
    _told_due: str | None = None  # what an earlier save() owes the response: to "send" the id, or to "expire" it
    _told_at = 0  # and since when it counts
    _saved = False  # an earlier save() wrote it
    _increments: dict[str, float] | None = None
    _initial: Mapping[str, Any] = _NO_OVERRIDES  # the cookie overrides that a new session begins with
    _candidates: Sequence[Verified] = ()  # the ids to look up, while not loaded
    _way: Way | None = None  # how the ids came, where they may come otherwise than by cookie

    def __init__(  # noqa: PLR0917 - one is made for every request, and keywords cost
        self,
        rules: Rules,
        request: Request,
        config: Cookie,
        secure: bool,
        io: Any,
        origin: Origin = Origin.NEW,
        session_id: str | None = None,
        stored_key: str | None = None,
        stored: StoredRecord | None = None,
    ) -> None:
        self._rules = rules
        # Only where it will be asked for. The request holds the session, and if the session held the request too, each would
        # wait for the garbage collector, at a fifth of the time that a request takes here.
        self._request = request if rules.asks_request else None
        self._config = config
        self._secure = secure
        self._io = io
        self._origin = origin
        self._id = session_id
        self._stored_key = stored_key
        self._stored = stored

    # -- the mapping ----------------------------------------------------------------------------------------------

    def _mapping(self) -> dict[str, Any]:
        data = self._data
        return self._look() if data is None else data

    def _look(self) -> dict[str, Any]:
        """Decode on first use."""
        if self._destroyed:
            raise SessionDestroyed("the session was destroyed earlier in this request")
        if self._origin is Origin.UNLOADED:
            self._load_now()
        if self._origin is Origin.STORED:
            assert self._stored is not None and self._stored_key is not None and self._id is not None
            try:
                record, tree = unpack(self._rules.codec.unseal(self._stored.data, self._stored_key))
                data = self._rules.codec.revive(tree, record.body)
                if not record.ours:
                    record.body = self._as_we_write(data, record.body)
            except SessionDecodeError as error:
                log.error(
                    "session %s has an unreadable record (%s): starting a fresh session", mask_id(self._id), error
                )
                self._start_anew()
            else:
                self._adopt(record, data)
        if self._data is None:
            self._data = {}
        return self._data

    def _as_we_write(self, data: dict[str, Any], body: bytes) -> bytes:
        """Another writer's data in our own text, so that reading them is no change."""
        for write in (self._rules.codec.encode, dumps):
            try:
                return write(data)
            except (SessionEncodeError, TypeError):  # it holds what we would refuse; saving it will say so
                pass
        return body

    def _load_now(self) -> None:
        raise SessionNotLoaded("with lazy=True, call `await session.load()` before using the session")

    def _adopt(self, record: Record, data: dict[str, Any]) -> None:
        if not record.ours:  # Express wrote it: its lifetime is the session's own
            lifetime = record.cookie.get("originalMaxAge")
            known = record.overrides.get("originalMaxAge", self._config.max_age_ms)
            if isinstance(lifetime, int | float) and 0 <= lifetime <= LONGEST_MS and lifetime != known:
                record.overrides = {**record.overrides, "originalMaxAge": int(lifetime)}
        if record.created is None:
            record.created = self._now()
        self._record = record
        self._created = record.created
        self._owner = record.owner
        self._auth = record.auth
        self._data = data

    def _start_anew(self) -> None:
        """Be a new session, with another id."""
        self._origin = Origin.NEW
        self._id = self._stored_key = self._stored = self._record = self._cookie = None
        self._created = self._owner = self._auth = None
        self._data = {}

    def __getitem__(self, key: str) -> Any:
        return self._mapping()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._mapping()[key] = value
        if self._increments:
            self._increments.pop(key, None)

    def __delitem__(self, key: str) -> None:
        del self._mapping()[key]
        if self._increments:
            self._increments.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping())

    def __len__(self) -> int:
        return len(self._mapping())

    def __contains__(self, key: object) -> bool:
        return key in self._mapping()

    def get(self, key: str, default: Any = None) -> Any:
        return self._mapping().get(key, default)

    def keys(self) -> KeysView[str]:
        return self._mapping().keys()

    def values(self) -> ValuesView[Any]:
        return self._mapping().values()

    def items(self) -> ItemsView[str, Any]:
        return self._mapping().items()

    def clear(self) -> None:
        self._mapping().clear()
        self._increments = None

    def increment(self, key: str, by: float = 1) -> Any:
        """Add to a number, a missing one being 0, so that no concurrent request's increment is lost. Answers the sum.

        Raises:
            TypeError: the value is not a number.
        """
        data = self._mapping()
        before = data.get(key, 0)
        if not isinstance(before, int | float) or isinstance(before, bool):
            raise TypeError(f"session value {key!r} is a {type(before).__name__}, not a number to increment")
        data[key] = before + by
        increments = self._increments = self._increments or {}
        increments[key] = increments.get(key, 0) + by
        return data[key]

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session id, as the browser holds it. A new session's id is drawn when first asked for."""
        self._mapping()
        return self._the_id() or ""

    def _the_id(self) -> str | None:
        if self._id is None:
            self._id = self._rules.draw_id(self._request)
        return self._id

    @property
    def signed_id(self) -> str:
        """The id as it travels, signed: what the cookie's value is. For links and forms that the app makes for a read-only transport.

        Whoever has it has the session: keep it out of logs.
        """
        session_id = self.id
        return self._rules.signed(session_id) if session_id else ""

    @property
    def key(self) -> str:
        """The session's name in the store: by default the SHA-256 of its id."""
        return self._rules.key_of(self.id)

    @property
    def is_new(self) -> bool:
        """True unless the request brought this session: also after ``regenerate()``."""
        self._mapping()
        return self._origin is not Origin.STORED or self._regenerated

    @property
    def cookie(self) -> SessionCookie:
        """The session's cookie; assign its attributes to change them for this session alone."""
        self._mapping()
        return self._the_cookie()

    def _the_cookie(self) -> SessionCookie:
        if self._cookie is None:
            self._quiet = False
            self._initial = self._overrides()
            self._cookie = self._make_cookie(dict(self._initial))
        return self._cookie

    def _overrides(self) -> Mapping[str, Any]:
        """What this session changed of its cookie, without making the cookie for it."""
        if self._cookie is not None:
            return self._cookie.overrides
        return self._initial_overrides() if self._record is None else self._record.overrides

    def _initial_overrides(self) -> Mapping[str, Any]:
        # A fixed date in the configuration is each new session's own lifetime (contract 123).
        if self._config.expires is None:
            return _NO_OVERRIDES
        return {"originalMaxAge": max(0, round(self._config.expires.timestamp() * 1000) - self._now())}

    def _make_cookie(self, overrides: dict[str, Any]) -> SessionCookie:
        options = self._rules.options
        return SessionCookie(
            self._config,
            overrides,
            options.clock,
            limit=options.absolute_ms,
            prefixed=self._rules.is_prefixed(self._config, secure=self._secure),
        )

    @property
    def created_at(self) -> datetime:
        """When the session began, in UTC; what the absolute timeout counts from."""
        self._mapping()
        return from_ms(self._the_created())

    def _the_created(self) -> int:
        if self._created is None:
            self._created = self._now()
        return self._created

    @property
    def expires_at(self) -> datetime:
        """When it ends unless there is another request, in UTC: idle and absolute timeout together."""
        self._mapping()
        return from_ms(self._deadline())

    def _deadline(self) -> int:
        return self._deadline_from(self._now())

    def _deadline_from(self, now: int) -> int:
        created = self._the_created() if self._created is None else self._created
        return self._rules.deadline(now, created, self._rules.idle_ms(self._config, self._overrides()))

    @property
    def owner(self) -> str | None:
        """Who logged in, as given to ``login()``."""
        self._mapping()
        return self._owner

    @property
    def authenticated_at(self) -> datetime | None:
        """When they logged in, in UTC."""
        self._mapping()
        return None if self._auth is None else from_ms(self._auth)

    def _now(self) -> int:
        return self._rules.options.clock()

    # -- what to do with it ---------------------------------------------------------------------------------------

    def regenerate(self, *, keep_data: bool = False) -> None:
        """Give the session a new id and end the old one: call it whenever privileges change (OWASP, session fixation).

        With ``keep_data`` the data and the session's own lifetime move along (contract 146); without, both start anew.
        Carried out in one step when the session is committed.
        """
        data = self._mapping()
        self._id = None
        self._regenerated = True
        self._quiet = self._dropped = self._ended = False
        self._told_due = None  # it had the id that ends now
        self._the_id()
        if not keep_data:
            data.clear()
            # without a base, whatever is put in from now on is a change
            self._record = self._increments = self._cookie = self._created = self._owner = self._auth = None

    def login(self, owner: str, *, keep_data: bool = False) -> None:
        """Regenerate, and note the owner and the time of authentication.

        Args:
            owner: who logs in, as your application names users; stores can list an owner's sessions.
            keep_data: keep what the anonymous visitor gathered, such as a cart.
        """
        given: object = owner
        if not isinstance(given, str) or not given:
            raise TypeError(f"owner must be a non-empty str, not {type(given).__name__}")
        self.regenerate(keep_data=keep_data)
        self._owner = owner
        self._auth = self._now()

    def logout(self) -> None:
        """The same as ``destroy()``."""
        self.destroy()

    def destroy(self) -> None:
        """End the session: the record is deleted and the browser's cookie expired when the session is committed."""
        if self._origin is Origin.STORED and self._record is None and self._stored is not None and self._stored_key:
            # Its cookie may be one of its own, which must be expired where it is.
            with suppress(SessionDecodeError):
                self._record, _tree = unpack(self._rules.codec.unseal(self._stored.data, self._stored_key))
        self._destroyed = True
        self._quiet = False
        self._data = self._cookie = None  # the cookie to expire is the one that the browser has (contract 142)

    def _drop(self) -> None:
        """Save nothing of it any more."""
        self._dropped, self._quiet = True, False

    def touch(self) -> None:
        """Start the idle timeout anew with this response, even if that is not due yet (contract 158)."""
        self._mapping()
        self._touched = True
        self._quiet = False

    def flash(self, message: str, category: str = "info") -> None:
        """Keep a message until ``flashes()`` takes it, usually on the next page."""
        self._mapping().setdefault(_FLASHES, []).append([category, message])

    def flashes(self, category: str | None = None) -> list[Flash]:
        """Take the kept messages, oldest first: all of them, or those of one category."""
        kept = self._mapping().get(_FLASHES)
        if not kept:
            return []
        taken = [Flash(*entry) for entry in kept if category in (None, entry[0])]
        left = [entry for entry in kept if category not in (None, entry[0])]
        if left:
            self[_FLASHES] = left
        else:
            del self[_FLASHES]
        return taken

    def __repr__(self) -> str:
        state = "destroyed" if self._destroyed else "regenerated" if self._regenerated else self._origin.value
        return f"<{type(self).__name__} {state}>"

    __hash__ = None  # type: ignore[assignment]  # mutable, as every mapping


class SyncIO(Protocol):
    """What `Session` needs of the adapter that made it."""

    def save(self, session: Session) -> None: ...
    def reload(self, session: Session) -> None: ...
    def load(self, session: Session) -> None: ...
    @property
    def sessions(self) -> Any: ...


class AsyncIO(Protocol):
    """What `AsyncSession` needs of the adapter that made it."""

    async def save(self, session: AsyncSession) -> None: ...
    async def reload(self, session: AsyncSession) -> None: ...
    async def load(self, session: AsyncSession) -> None: ...
    @property
    def sessions(self) -> Any: ...


class Session(BaseSession):
    """A session in the sync colour: ``environ["sojourn.session"]`` under WSGI."""

    _io: SyncIO

    def save(self) -> None:
        """Commit now instead of at the end: for long-lived work, or to handle a failure yourself.

        After ``destroy()`` it carries the destroy out.

        Raises:
            StoreError: the store failed, or other requests kept changing the session.
            SessionNotFound: the session was ended elsewhere meanwhile.
            SessionLate: it is new or regenerated, and the response headers have left.
        """
        self._io.save(self)

    def reload(self) -> None:
        """Discard this request's changes and take what the store holds now, in this same object (contract 149, 152).

        Raises:
            SessionNotFound: there is no live record (contract 150).
            StoreError: the store failed.
        """
        self._io.reload(self)

    @property
    def sessions(self) -> Any:
        """All sessions of the store, by id: ``get(id)``, ``destroy(id)``, ``all()``, ``count()``, ``clear()``."""
        return self._io.sessions

    def _load_now(self) -> None:
        self._io.load(self)


class AsyncSession(BaseSession):
    """A session in the async colour: ``scope["session"]`` under ASGI."""

    _io: AsyncIO

    async def load(self) -> None:
        """With ``lazy=True``, load the session now; without, and when repeated, do nothing.

        Raises:
            StoreError: the store failed.
        """
        if self._origin is Origin.UNLOADED:
            await self._io.load(self)

    async def save(self) -> None:
        """Commit now instead of at the end; see `Session.save`."""
        await self._io.save(self)

    async def reload(self) -> None:
        """Discard this request's changes and take what the store holds now; see `Session.reload`."""
        await self._io.reload(self)

    @property
    def sessions(self) -> Any:
        """All sessions of the store, by id, each method awaited; see `Session.sessions`."""
        return self._io.sessions
