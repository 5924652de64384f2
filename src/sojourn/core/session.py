"""The session: a mapping that records intent. It does no I/O; it is loaded before the handler and committed after it.

`Session` and `AsyncSession` are faces on a `State`. They differ in the calls that reach the store, and in nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self, TypeVar

from msgspec import Raw

from ..clock import Duration, from_ms
from ..errors import SessionNotLoaded
from . import flashes, logins, transitions
from .changes import Change
from .data import look_at, read, read_all
from .devices import Devices, devices, end_device, end_others
from .flashes import Flash
from .habits import DictHabits
from .session_cookie import SessionCookie
from .state import Event, Found, Intent, State
from .steps import Steps
from .views import AsyncSessions, Sessions

__all__ = ["AsyncIO", "AsyncSession", "BaseSession", "Flash", "Session", "SyncIO", "set_state", "state_of"]

_PENDING: Final = Found.PENDING


class BaseSession(DictHabits, MutableMapping[str, Any]):
    """What both colours share. Made by the middleware, never by hand.

    Values are whatever the codec can hold; nested changes are seen when the session is committed, because what counts is
    whether its encoding differs. Everything but ``destroy()`` and ``save()`` raises `SessionDestroyed` once it is destroyed.
    """

    __slots__ = ("__weakref__", "_state")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__(called="session")

    def __init__(self, state: State) -> None:
        set_state(self, state)

    # -- the mapping ----------------------------------------------------------------------------------------------

    def _data(self) -> dict[str, Any]:
        state = self._state
        data = state.data
        if data is not None:
            return data
        if state.found is _PENDING and state.intent is not Intent.DESTROY:
            self._load_now()
        return look_at(state)

    def _load_now(self) -> None:
        raise SessionNotLoaded("with lazy=True, call `await session.load()` before using the session")

    def __getitem__(self, key: str) -> Any:
        state = self._state
        value = (self._data() if state.data is None else state.data)[key]
        return read(state, key, value) if type(value) is Raw else value

    def get(self, key: str, default: Any = None) -> Any:
        value = self._data().get(key, default)
        if type(value) is Raw:
            try:
                return read(self._state, key, value)
            except KeyError:
                return default
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        state = self._state
        (self._data() if state.data is None else state.data)[key] = value
        state.dirty[key] = None
        if state.increments:
            state.increments.pop(key, None)

    def __delitem__(self, key: str) -> None:
        del self._data()[key]
        state = self._state
        state.dirty[key], state.removed = None, True
        if state.increments:
            state.increments.pop(key, None)

    # Who goes through all of it sees all of it: a value that cannot be read would otherwise end the session under an iteration.

    def __iter__(self) -> Iterator[str]:
        self._data()
        return iter(read_all(self._state))

    def keys(self) -> KeysView[str]:
        self._data()
        return read_all(self._state).keys()

    def values(self) -> ValuesView[Any]:
        self._data()
        return read_all(self._state).values()

    def items(self) -> ItemsView[str, Any]:
        self._data()
        return read_all(self._state).items()

    def __len__(self) -> int:
        return len(self._data())

    def __contains__(self, key: object) -> bool:
        return key in self._data()

    def clear(self) -> None:
        """End the session and go on with an empty one under a new id, as `invalidate` does.

        This is how Flask, Starlette and others log out, and begin a login. To remove single keys and keep the session write
        ``del session[key]``. In the Express profile it removes all keys, and keeps id and record.
        """
        if self._state.settings.options.profile.clear_ends:
            self.invalidate()
        else:
            data, state = self._data(), self._state
            state.dirty.update(dict.fromkeys(data))
            state.removed = True
            data.clear()
            state.increments = None

    def popitem(self) -> tuple[str, Any]:
        """Take out the last value that was put in, and return it with its key."""
        key = next(reversed(self), None)
        if key is None:
            raise KeyError("the session is empty")
        return key, self.pop(key)

    def __reversed__(self) -> Iterator[str]:
        self._data()
        return reversed(read_all(self._state))

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]  # `|` gives a dict, as it should
        self.update(other)
        return self

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError("a session belongs to its request, and cannot be copied or pickled: write dict(session)")

    def increment(self, key: str, by: float = 1) -> Any:
        """Add to a number, a missing one being 0, so that no concurrent request's increment is lost. Returns the sum.

        Raises:
            TypeError: the value is not a number.
        """
        before = self.get(key, 0)
        if not isinstance(before, int | float) or isinstance(before, bool):
            raise TypeError(f"session value {key!r} is a {type(before).__name__}, not a number to increment")
        state = self._state
        added = (state.increments or {}).get(key, 0) + by
        total = self[key] = before + by
        if state.increments is None:
            state.increments = {}
        state.increments[key] = added
        return total

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session id, as the browser holds it. A new session's id is generated when first asked for."""
        self._data()
        return self._state.ensure_id() or ""

    @property
    def signed_id(self) -> str:
        """The id as it travels, signed: what the cookie's value is. For links and forms that the app makes for a read-only transport.

        It is all that it takes to use the session: keep it out of logs.
        """
        session_id = self.id
        return self._state.settings.signer.token(session_id) if session_id else ""

    @property
    def key(self) -> str:
        """The session's name in the store: by default the SHA-256 of its id."""
        return self._state.settings.key_of(self.id)

    @property
    def is_new(self) -> bool:
        """True unless the request brought this session: also after ``regenerate()``, ``clear()`` and ``invalidate()``."""
        self._data()
        state = self._state
        return state.found is not Found.RECORD or state.intent in (Intent.REGENERATE, Intent.INVALIDATE)

    @property
    def cookie(self) -> SessionCookie:
        """The session's cookie; assign its attributes to change them for this session alone."""
        self._data()
        return self._state.ensure_cookie()

    @property
    def created_at(self) -> datetime:
        """When the session began, in UTC; what the absolute timeout counts from."""
        self._data()
        return from_ms(self._state.ensure_created())

    @property
    def expires_at(self) -> datetime:
        """When it ends unless there is another request, in UTC: idle and absolute timeout together."""
        self._data()
        return from_ms(self._state.deadline(self._state.now()))

    @property
    def owner(self) -> str | None:
        """Who logged in, as given to ``login()``."""
        self._data()
        return self._state.owner

    @property
    def authenticated_at(self) -> datetime | None:
        """When they logged in, in UTC."""
        self._data()
        at = self._state.who.at
        return None if at is None else from_ms(at)

    @property
    def confirmed_at(self) -> datetime | None:
        """When the owner last gave the password, in UTC: at the login, unless that was to be remembered, or at ``confirm()``."""
        self._data()
        at = logins.confirmed_at(self._state)
        return None if at is None else from_ms(at)

    @property
    def pending_owner(self) -> str | None:
        """Who has begun to log in, by ``begin_login()``, and has not completed it yet. They are nobody so far: `owner` is None."""
        self._data()
        return logins.pending_owner(self._state)

    # -- what to do with it ---------------------------------------------------------------------------------------

    def regenerate(self, *, keep_data: bool = False) -> None:
        """Give the session a new id and end the old one: call it whenever privileges change (OWASP, session fixation).

        With ``keep_data`` the data and the session's own lifetime move along (contract 146); without, both start anew.
        Carried out in one step when the session is committed.
        """
        self._data()
        transitions.regenerate(self._state, keep_data=keep_data)

    def login(
        self,
        owner: str,
        *,
        keep_data: bool = False,
        remember: Duration | None = None,
        stamp: str | bytes | None = None,
        sid: str | None = None,
        max_sessions: int | None = None,
    ) -> None:
        """Regenerate, and note the owner and the time of authentication.

        Args:
            owner: who logs in, as your application names users; stores can list an owner's sessions.
            keep_data: keep what the anonymous visitor gathered, such as a cart, and the session's own lifetime, if it has one. What another
                owner left is dropped all the same.
            remember: how long the session lives without a request, a `timedelta` or seconds, in the place of the configured idle timeout
                and the cookie's ``max_age``; at most ``absolute_timeout``. Such a login is not fresh until ``confirm()``.
            stamp: what the login is bound to, such as the hash of the password as your database has it, for ``check()``. An HMAC of it
                is kept.
            sid: the OpenID provider's id of its own session, for ``sessions.end_sid()`` (OpenID Connect Back-Channel Logout 1.0).
            max_sessions: how many live sessions the owner may have. Once this login is stored the oldest over that end, by time of login,
                then by key; never this one. If the store fails at that, the login stands, and the owner's next one does it.

        Raises:
            TypeError: the owner, ``stamp`` or ``sid`` is not a non-empty str.
            ValueError: some store could not hold the owner or ``sid``: longer than 2,048 bytes of UTF-8, with U+0000, or a lone surrogate.
                Or ``remember`` or ``max_sessions`` is out of range.
        """
        self._data()
        logins.log_in(
            self._state, owner, keep_data=keep_data, remember=remember, stamp=stamp, sid=sid, max_sessions=max_sessions
        )

    def begin_login(
        self,
        owner: str,
        *,
        keep_data: bool = False,
        stamp: str | bytes | None = None,
        within: Duration = timedelta(minutes=10),
    ) -> None:
        """Regenerate, and note who has given a password, but not the second factor yet.

        Until ``complete_login()`` they are nobody: `owner` is None, and only `pending_owner` names them.

        Args:
            owner: as for ``login()``.
            keep_data: as for ``login()``.
            stamp: as for ``login()``, which has it when the login is completed.
            within: how long that counts.

        Raises:
            TypeError, ValueError: as for ``login()``.
        """
        self._data()
        logins.begin(self._state, owner, keep_data=keep_data, stamp=stamp, within=within)

    def complete_login(
        self,
        *,
        keep_data: bool = True,
        remember: Duration | None = None,
        stamp: str | bytes | None = None,
        sid: str | None = None,
        max_sessions: int | None = None,
    ) -> None:
        """Log in whoever ``begin_login()`` named, under another new id. The arguments are those of ``login()``.

        Raises:
            NoPendingLogin: no login was begun here, or that was too long ago.
            TypeError, ValueError: as for ``login()``.
        """
        self._data()
        logins.complete(
            self._state, keep_data=keep_data, remember=remember, stamp=stamp, sid=sid, max_sessions=max_sessions
        )

    def is_fresh(self, within: Duration) -> bool:
        """Whether the owner gave the password at most so long ago, a `timedelta` or seconds: what sensitive pages ask for (OWASP ASVS 5.0, 7.5.1)."""
        self._data()
        return logins.is_fresh(self._state, within)

    def confirm(self) -> None:
        """Note that the owner has just given the password once more. The session gets a new id, and keeps its data.

        Raises:
            NotLoggedIn: nobody is logged in.
        """
        self._data()
        logins.confirm(self._state)

    def check(self, stamp: str | bytes) -> bool:
        """Whether the owner logged in with this ``stamp``. If not, or if the login had none, the session ends as by ``invalidate()``.

        Called with each request, it ends every session of an owner whose password has changed; the one that changed it logs in again. It
        takes no access to the store.

        Returns:
            False also where nobody is logged in, and then nothing else happens.

        Raises:
            TypeError: the stamp is not a non-empty str or bytes.
        """
        self._data()
        return logins.check(self._state, stamp)

    def logout(self) -> None:
        """The same as ``destroy()``."""
        self.destroy()

    def destroy(self) -> None:
        """End the session: all records that the request's ids name are deleted, and the cookie is expired, when it is committed."""
        transitions.destroy(self._state)

    def invalidate(self) -> None:
        """End the session, and go on with an empty one that is nobody's, under a new id.

        All records that the request's ids name are deleted when it is committed. If something was put in by then, it is stored under the
        new id; if nothing was, the cookie is expired. Once the response headers have left, no new session can begin, and putting
        something in raises `HeadersAlreadySent`.
        """
        transitions.invalidate(self._state)

    def touch(self) -> None:
        """Start the idle timeout anew with this response, even if that is not due yet (contract 158)."""
        self._data()
        self._state.on(Event.TOUCH)

    def flash(self, message: str, category: str = "info") -> None:
        """Keep a message until ``flashes()`` takes it, usually on the next page. Of more than 50 the oldest is dropped."""
        flashes.keep(self, self._state.settings, message, category)

    def flashes(self, category: str | None = None) -> list[Flash]:
        """Take the kept messages, oldest first: all of them, or those of one category.

        What a parallel request adds meanwhile stays for the next page; what two take at the same time both show.
        """
        return flashes.take(self, self._state.settings, category)

    def peek_flashes(self, category: str | None = None) -> list[Flash]:
        """The kept messages, which stay: all of them, or those of one category."""
        return flashes.peek(self, self._state.settings, category)

    def __repr__(self) -> str:
        intent = self._state.intent
        shown = intent if intent in (Intent.DESTROY, Intent.REGENERATE, Intent.INVALIDATE) else self._state.found
        return f"<{type(self).__qualname__} {shown.value}>"

    __hash__ = None  # type: ignore[assignment]  # mutable, as every mapping

    # -- what it has not ------------------------------------------------------------------------------------------

    if TYPE_CHECKING:  # a type checker knows by itself which attributes there are
        _state: State
    else:

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(_no_attribute(self, name), name=name, obj=self)

        def __setattr__(self, name: str, value: Any) -> None:
            # Habits from Express (session.user = ...), Flask (session.permanent) and Django (session.modified), lost in silence otherwise.
            raise AttributeError(_no_attribute(self, name), name=name, obj=self)


def _no_attribute(session: BaseSession, name: str) -> str:
    kind = type(session).__qualname__
    if isinstance(getattr(type(session), name, None), property):
        return f"{kind}.{name} cannot be set"
    return f'{kind} has no attribute {name!r}; data is kept in items: session["{name}"]'


# Past __setattr__, once for every request. The doors give a face its state by this alone, without the call of __init__.
set_state: Final = BaseSession.__dict__["_state"].__set__
state_of: Final[Callable[[BaseSession], State]] = BaseSession.__dict__["_state"].__get__
"""A session's state, for the doors."""


T = TypeVar("T")


class SyncIO(Protocol):
    """What `Session` needs of the middleware that made it."""

    def run(self, steps: Steps[T], state: State | None = None) -> T: ...
    def save(self, state: State) -> None: ...
    def reload(self, state: State) -> None: ...
    def load(self, state: State) -> None: ...
    @property
    def sessions(self) -> Sessions: ...


class AsyncIO(Protocol):
    """What `AsyncSession` needs of the middleware that made it."""

    async def run(self, steps: Steps[T], state: State | None = None) -> T: ...
    async def save(self, state: State) -> None: ...
    async def reload(self, state: State) -> None: ...
    async def load(self, state: State) -> None: ...
    def changes(self, state: State) -> AsyncIterator[Change]: ...
    @property
    def sessions(self) -> AsyncSessions: ...


class Session(BaseSession):
    """A session in the sync colour: ``environ["sojourn.session"]`` under WSGI."""

    __slots__ = ()

    def save(self) -> None:
        """Commit now instead of at the end: for long-lived work, or to handle a failure yourself.

        After ``destroy()`` it carries the destroy out.

        Raises:
            StoreError: the store failed, or other requests kept changing the session.
            SessionNotFound: the session was ended elsewhere meanwhile.
            HeadersAlreadySent: it is new or regenerated, and the response headers have left.
        """
        io: SyncIO = self._state.io
        io.save(self._state)

    def reload(self) -> None:
        """Discard this request's changes and take what the store holds now, in this same object (contract 149, 152).

        Raises:
            SessionNotFound: there is no live record (contract 150).
            StoreError: the store failed.
        """
        io: SyncIO = self._state.io
        io.reload(self._state)

    @property
    def sessions(self) -> Sessions:
        """All sessions of the store: ``get(id)``, ``destroy(id)``, ``all()``, ``by_owner(owner)``, ``count()``, ``clear()``."""
        io: SyncIO = self._state.io
        return io.sessions

    def devices(self, *, limit: int = 100, after: str | None = None) -> Devices:
        """The owner's live sessions: the current one first, then by when they were used last.

        A login in this request is among them once it is stored, by ``save()`` or with the response.

        Args:
            limit: how many at most; a page may have fewer where some have just ended.
            after: a page's ``next``, for the one that follows.

        Raises:
            StoreError: the store failed, or cannot list an owner's sessions.
        """
        io: SyncIO = self._state.io
        self._data()
        return io.run(devices(self._state, limit, after))

    def try_login(
        self,
        owner: str,
        *,
        max_sessions: int,
        keep_data: bool = False,
        remember: Duration | None = None,
        stamp: str | bytes | None = None,
        sid: str | None = None,
    ) -> bool:
        """Log in unless the owner has ``max_sessions`` live sessions besides this one. It is committed at once.

        One login of an owner after the other is tried, by a lock in the store.

        Args:
            owner: as for ``login()``, like the rest.
            max_sessions: how many live sessions the owner may have, this one among them.
            keep_data: as for ``login()``.
            remember: as for ``login()``.
            stamp: as for ``login()``.
            sid: as for ``login()``.

        Returns:
            False if the login was refused. True where it was not; as with ``login()``, nothing is stored where the cookie cannot be sent,
            as of a Secure one over plain http, and the log says so.

        Raises:
            TypeError, ValueError: as for ``login()``.
            StoreError: the store failed, or cannot list an owner's sessions, or has no locks.
            HeadersAlreadySent: the response headers have left.
        """
        io: SyncIO = self._state.io
        self._data()
        return io.run(
            logins.try_log_in(
                self._state,
                owner,
                max_sessions=max_sessions,
                keep_data=keep_data,
                remember=remember,
                stamp=stamp,
                sid=sid,
            ),
            self._state,
        )

    def end(self, handle: str) -> bool:
        """End that one of the owner's sessions, such as one of `devices`; False if there was none. The current one is logged out.

        Raises:
            StoreError: the store failed, or cannot list an owner's sessions.
        """
        io: SyncIO = self._state.io
        self._data()
        return io.run(end_device(self._state, handle, self.logout), self._state)

    def end_others(self) -> int:
        """End all sessions of the owner but this one; returns how many there were.

        Raises:
            StoreError: the store failed, or cannot list an owner's sessions.
        """
        io: SyncIO = self._state.io
        self._data()
        return io.run(end_others(self._state), self._state)

    def _load_now(self) -> None:
        io: SyncIO = self._state.io
        io.load(self._state)


class AsyncSession(BaseSession):
    """A session in the async colour: ``scope["session"]`` under ASGI."""

    __slots__ = ()

    async def load(self) -> None:
        """With ``lazy=True``, load the session now; without, and when repeated, do nothing.

        Raises:
            StoreError: the store failed.
        """
        state = self._state
        if state.found is Found.PENDING and state.data is None and state.intent is not Intent.DESTROY:
            io: AsyncIO = state.io
            await io.load(state)

    async def save(self) -> None:
        """Commit now instead of at the end; see `Session.save`."""
        io: AsyncIO = self._state.io
        await io.save(self._state)

    async def reload(self) -> None:
        """Discard this request's changes and take what the store holds now; see `Session.reload`."""
        io: AsyncIO = self._state.io
        await io.reload(self._state)

    def changes(self) -> AsyncIterator[Change]:
        """What becomes of the session elsewhere, from now on: for a WebSocket, or a stream. Each `Change` comes within a second or two.

        What this session object saves is not among them. A reader that is slow gets the latest alone. The iteration ends after the change
        that ends the session for this connection: ``"ended"``, or ``"regenerated"``, as what goes on under the new id is for whoever
        has that. It is over at once where nothing is stored. Leaving it, or being cancelled, costs the store nothing more.

        Raises:
            SessionDestroyed: it was destroyed.
            SessionNotLoaded: with ``lazy=True``, it was not loaded.
        """
        self._data()
        io: AsyncIO = self._state.io
        return io.changes(self._state)

    async def devices(self, *, limit: int = 100, after: str | None = None) -> Devices:
        """The owner's live sessions; see `Session.devices`."""
        io: AsyncIO = self._state.io
        self._data()
        return await io.run(devices(self._state, limit, after))

    async def try_login(
        self,
        owner: str,
        *,
        max_sessions: int,
        keep_data: bool = False,
        remember: Duration | None = None,
        stamp: str | bytes | None = None,
        sid: str | None = None,
    ) -> bool:
        """Log in unless the owner has ``max_sessions`` live sessions besides this one; see `Session.try_login`."""
        io: AsyncIO = self._state.io
        self._data()
        return await io.run(
            logins.try_log_in(
                self._state,
                owner,
                max_sessions=max_sessions,
                keep_data=keep_data,
                remember=remember,
                stamp=stamp,
                sid=sid,
            ),
            self._state,
        )

    async def end(self, handle: str) -> bool:
        """End that one of the owner's sessions; see `Session.end`."""
        io: AsyncIO = self._state.io
        self._data()
        return await io.run(end_device(self._state, handle, self.logout), self._state)

    async def end_others(self) -> int:
        """End all sessions of the owner but this one; see `Session.end_others`."""
        io: AsyncIO = self._state.io
        self._data()
        return await io.run(end_others(self._state), self._state)

    @property
    def sessions(self) -> AsyncSessions:
        """All sessions of the store, each method awaited; see `Session.sessions`."""
        io: AsyncIO = self._state.io
        return io.sessions
