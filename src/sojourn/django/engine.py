"""The engine: ``SESSION_ENGINE = "sojourn.django"``.

Theory of operation
-------------------
`SessionStore` is Django's `SessionBase`, whose mapping is kept as it is. What that calls ``_session_cache`` is a session of ours over a
`State`, so that values are decoded when they are asked for, what was changed within them is seen, and parallel changes merge.

Each method that reaches the store is written once, as steps that a middleware of either colour runs: ``save`` and ``asave`` are two lines.

Alone, under Django's own middleware, everything is carried out at once, as Django's engines do. Under ours the session is *deferred*:
``cycle_key()`` and ``flush()`` note what is wanted, and the middleware commits it with the response, in one step. ``save()`` and
``create()`` say that it is wanted now, and carry it out now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from ..clock import Duration, from_ms
from ..core import logins, transitions
from ..core.commit import save
from ..core.data import encode, is_changed, look_at, read_all
from ..core.devices import Devices, describe, devices, end_device, end_others
from ..core.noting import notes_of
from ..core.policy import decide
from ..core.record import Login
from ..core.session import Session
from ..core.state import Arrival, Event, Found, Intent, State
from ..core.steps import Load, Steps, end
from ..core.store import EXISTS, Stored
from ..core.transitions import note_committed, note_destroyed, note_done, note_loaded, note_looked_up
from ..core.views import AsyncSessions, Sessions
from ..errors import HeadersAlreadySent, SessionEncodeError, SessionNotFound, StoreError
from ..ids import check_key, check_owner, refusal_by
from .config import Configuration, current

__all__ = ["SessionStore"]

T = TypeVar("T")

USER: Final = "_auth_user_id"
"""Under which key ``django.contrib.auth`` keeps who is logged in."""
_SERVER_ERROR: Final = 500
_SHORTEST: Final = 8
_EXPIRY: Final = "_session_expiry"
_LIFETIME: Final = "originalMaxAge"
_ANEW: Final = (Intent.REGENERATE, Intent.INVALIDATE)
_TOO_LATE: Final = (
    "the response headers have left, or the WebSocket was accepted, so no cookie can carry another session key: "
    "log in before that, or by a request of its own"
)
_ENDED: Final = "the session has ended, and the change is not stored"


def _is_key(key: str | None) -> bool:
    """Whether it may be a session's key: by Django's rule anything of 8 characters is one. A store has to take it."""
    return key is not None and len(key) >= _SHORTEST and refusal_by(check_key, key) is None


def _checked(expiry: Any) -> Any:
    """Refuse what Django would keep and stumble over at the next request.

    Raises:
        TypeError: it is none of what `SessionStore.set_expiry` takes.
        ValueError: it is text of no date, or a number that counts nothing.
    """
    if isinstance(expiry, str):
        datetime.fromisoformat(expiry)
    elif isinstance(expiry, float) and not isfinite(expiry):
        raise ValueError(f"a session cannot expire in {expiry} seconds")
    elif expiry is not None and not isinstance(expiry, int | float | datetime | timedelta):
        raise TypeError(f"give seconds, a timedelta, a datetime or None, not {type(expiry).__name__}")
    return int(expiry) if isinstance(expiry, bool) else expiry


class Data(Session):
    """What a `SessionStore` keeps its data in."""

    __slots__ = ()

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key == USER and refusal_by(check_owner, value) is None:  # somebody has logged in
            state = self._state
            device = None if state.arrival.request is None else describe(state)  # the engine alone knows no request
            state.login = Login(value, state.now(), device)
            state.max_sessions = current().max_sessions


class SessionStore(SessionBase):
    """A session as Django knows it.

    Args:
        session_key: the session's key, or the cookie's value; None for a new one.
    """

    config: Configuration
    """What the settings say."""
    state: State
    """What is known of the session; for the middleware."""
    face: Data
    """What it keeps its data in."""
    is_deferred: bool = False
    """A middleware of ours commits it with the response."""
    has_failed: bool = False
    """The store has failed while it was used."""

    def __init__(self, session_key: str | None = None) -> None:
        self.config = current()
        self._marked = False
        self._seen: Any = None
        super().__init__(None if session_key is None else self.config.key_in(session_key))

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def session_key(self) -> str | None:
        """The session's key: at most 40 characters. None where there is no session yet."""
        state = self.state
        if state.found is Found.PENDING and state.intent is not Intent.INVALIDATE:
            return state.arrival.ids[0].id
        return state.id

    @property
    def _session_key(self) -> str | None:
        return self.session_key

    @_session_key.setter
    def _session_key(self, value: str | None) -> None:
        kept = self._kept()
        self.begin(self.config.state_of(value if _is_key(value) else None, like=vars(self).get("state")))
        if kept is not None:
            self._refill(kept)

    @property
    def modified(self) -> bool:
        """Whether there is something to save. What was changed within a value is seen.

        False, once assigned, makes nothing of all that was changed until then.
        """
        return self._marked or self._is_changed()

    @modified.setter
    def modified(self, value: bool) -> None:
        self._marked = bool(value)
        self._seen = None
        if not value and self.state.data is not None:
            with suppress(SessionEncodeError):
                self._seen = encode(self.state)

    def is_empty(self) -> bool:
        """Whether it has no key and no data."""
        return not self.session_key and not self.state.data

    def __iter__(self) -> Iterator[str]:
        return iter(self._session)

    # -- the data -------------------------------------------------------------------------------------------------

    def _get_session(self, no_load: bool = False) -> Data:
        """What the mapping's methods of Django's work on."""
        if not self._is_at_hand() and not no_load:
            if self.is_deferred:
                self.config.sync.load(self.state)
            else:
                self._run(self._settle())
        self._session_cache = self.face
        return self.face

    async def _aget_session(self, no_load: bool = False) -> Data:
        if not self._is_at_hand() and not no_load:
            if self.is_deferred:
                await self.config.asynchronous.load(self.state)
            else:
                await self._arun(self._settle())
        self._session_cache = self.face
        return self.face

    _session = property(_get_session)

    def _is_at_hand(self) -> bool:
        """Whether the data need not be looked up."""
        self.accessed = True
        if "_session_cache" in vars(self):
            return True
        if self.state.data is not None:  # deleted, as tests of Django's engines do: what is in the store counts
            self.begin(self.config.state_of(self.session_key, like=self.state))
        return self.state.found is not Found.PENDING

    def note_looked_up(self) -> None:
        """The middleware has looked it up; nobody has asked for it yet."""
        self._session_cache = self.face

    def begin(self, state: State) -> None:
        """Go on with another state."""
        vars(self).pop("_session_cache", None)
        if "state" in vars(self):
            state.lock, state.sent, state.noted = self.state.lock, self.state.sent, self.state.noted
        self.state, self.face = state, Data(state)
        self._seen = None

    def _kept(self) -> dict[str, Any] | None:
        """The data in hand; None where they were not asked for."""
        return dict(read_all(self.state)) if hasattr(self, "state") and self.state.data is not None else None

    def _refill(self, data: dict[str, Any]) -> None:
        """Put these in the place of all data, whatever is stored."""
        self.state.data = {}
        self.face.update(data)
        self._session_cache = self.face

    def clear(self) -> None:
        """Remove all data. The session and its key stay: `flush` ends it."""
        if self.state.found is Found.PENDING:  # no need to know what they are
            self._refill({})
            self.state.dirty = {}
        else:
            self.face.clear()
            self._session_cache = self.face
        self.accessed = self._marked = True

    def set_expiry(self, value: Any) -> None:
        """Give the session a life of its own.

        Args:
            value: seconds without a change after which it ends; 0 until the browser closes; a moment, or how long until that, at which it
                ends in any case; None for what the settings say. One in the past ends it at once.

        Raises:
            TypeError: it is something else.
            ValueError: it is text of no date, or no finite number.
        """
        super().set_expiry(_checked(value))

    async def aset_expiry(self, value: Any) -> None:
        """See `set_expiry`."""
        await super().aset_expiry(_checked(value))

    async def adelete_test_cookie(self) -> None:
        """See `delete_test_cookie`."""
        del (await self._aget_session())[self.TEST_COOKIE_NAME]
        self.modified = True

    def _is_changed(self) -> bool:
        state = self.state
        if state.data is None:
            return False
        if self._seen is None:
            return is_changed(state)
        try:
            return bool(encode(state) != self._seen)
        except SessionEncodeError:
            return True

    # -- the store ------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        """The data in the store; empty where there is no such session, which then has no key any more."""
        return self._run(self._load())

    async def aload(self) -> dict[str, Any]:
        return await self._arun(self._load())

    def exists(self, session_key: str | None) -> bool:
        """Whether there is a session of this key."""
        return self._run(self._exists(session_key))

    async def aexists(self, session_key: str | None) -> bool:
        return await self._arun(self._exists(session_key))

    def create(self) -> None:
        """Begin a session of a new key, which is stored at once, whatever is in it."""
        self._run(self._create())

    async def acreate(self) -> None:
        await self._arun(self._create())

    def save(self, must_create: bool = False) -> None:
        """Store it now. What other requests have changed meanwhile stays.

        Args:
            must_create: there must be no such session yet.

        Raises:
            UpdateError: the session has ended meanwhile, and the change is not stored.
            CreateError: with ``must_create``, there is a session of this key.
            StoreError: the store failed.
            SessionEncodeError: a value cannot be stored; it is a `TypeError` too.
        """
        self._run(self._save(must_create=must_create))

    async def asave(self, must_create: bool = False) -> None:
        await self._arun(self._save(must_create=must_create))

    def delete(self, session_key: str | None = None) -> None:
        """End the session of this key, or this one."""
        self._run(self._delete(session_key))

    async def adelete(self, session_key: str | None = None) -> None:
        await self._arun(self._delete(session_key))

    def flush(self) -> None:
        """End the session, and go on with an empty one that has no key yet."""
        if not self._note_flush():
            self._run(self._flush())

    async def aflush(self) -> None:
        if not self._note_flush():
            await self._arun(self._flush())

    def cycle_key(self) -> None:
        """Go on under a new key, with the same data. The old key ends."""
        self._get_session()
        if not self._note_cycle():
            self._run(self._commit())

    async def acycle_key(self) -> None:
        await self._aget_session()
        if not self._note_cycle():
            await self._arun(self._commit())

    @classmethod
    def clear_expired(cls) -> None:
        """Remove what has expired, where the store does not do that all the time."""
        delete = getattr(current().sync.store, "delete_expired", None)
        if delete is not None:
            delete()

    @classmethod
    async def aclear_expired(cls) -> None:
        delete = getattr(current().asynchronous.store, "delete_expired", None)
        if delete is not None:
            await delete()

    def _run(self, steps: Steps[T]) -> T:
        with self._noted():
            try:
                return self.config.sync.run(steps)
            finally:
                self.config.sync.tell(notes_of(self.state))

    async def _arun(self, steps: Steps[T]) -> T:
        with self._noted():
            try:
                return await self.config.asynchronous.run(steps)
            finally:
                await self.config.asynchronous.tell(notes_of(self.state))

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self.has_failed = True
            raise

    # -- the steps ------------------------------------------------------------------------------------------------

    def _load(self) -> Steps[dict[str, Any]]:
        key = self.session_key
        if key is None:
            return {}
        state = self.config.state_of(key)
        note_loaded(state, state.arrival.ids[0], state.arrival.keys[0], (yield Load(state.arrival.keys[0])))
        data = dict(read_all(state))
        if state.found is not Found.RECORD:
            self._session_key = None
        return data

    def _exists(self, key: str | None) -> Steps[bool]:
        return bool(key) and isinstance((yield Load(self._name(key or ""))), Stored)

    def _delete(self, key: str | None) -> Steps[None]:
        key = key or self.session_key
        if key:
            yield from self._end((self._name(key),))

    def _flush(self) -> Steps[None]:
        state = self.state
        keys = [self.config.settings.key_of(verified.id) for verified in state.arrival.ids]
        if state.id is not None:
            keys.append(self.config.settings.key_of(state.id))
        yield from self._end(tuple(dict.fromkeys(keys)))
        self.begin(self.config.state_of(None, like=self.state))
        self._session_cache = self.face
        self.accessed = self._marked = True

    def _create(self) -> Steps[None]:
        self._check_headers()
        state = self.state
        if state.found is not Found.NOTHING and state.intent not in _ANEW:
            kept = self._kept()
            self.begin(State(self.config.settings, state.arrival, state.io))
            if kept is not None:
                self._refill(kept)
        yield from self._commit()
        self._marked = True

    def _save(self, *, must_create: bool) -> Steps[None]:
        if self.session_key is None:
            yield from self._create()
        elif must_create:
            yield from self._insert()
        else:
            yield from self._settle()
            if self.state.id is None:
                raise UpdateError(_ENDED)
            try:
                yield from self._commit()
            except SessionNotFound:
                raise UpdateError(_ENDED) from None

    def _insert(self) -> Steps[None]:
        """Begin a session of just this key."""
        kept = self._kept()
        arrival = Arrival(self.state.arrival.config, self.state.arrival.secure)
        state = State(self.config.settings_for(keep=True), arrival, self.state.io, id=self.session_key)
        self.begin(state)
        self._refill(kept or {})
        if self.apply_expiry():
            plan = decide(state)
            assert plan.write is not None
            version = yield plan.write
            if version is EXISTS:
                raise CreateError
            note_committed(state, plan, version)
            note_done(state, plan)

    def _end(self, keys: tuple[str, ...]) -> Steps[None]:
        count = yield from end(keys)
        note_destroyed(self.state, keys, count)

    def _settle(self) -> Steps[None]:
        """Have the record at hand that is to be written over."""
        state = self.state
        if not self.is_pending():
            return
        mine = self.put_aside()
        for verified, key in zip(state.arrival.ids, state.arrival.keys, strict=False):
            if note_loaded(state, verified, key, (yield Load(key))):
                break
        note_looked_up(state)
        self.put_back(mine)

    def is_pending(self) -> bool:
        """Whether the session was not looked up yet, though it is to go on."""
        return self.state.found is Found.PENDING and self.state.intent is not Intent.INVALIDATE

    def put_aside(self) -> dict[str, Any] | None:
        """What is to be all of the data, whatever is stored; the session is as it came then. None where there is nothing of the kind."""
        state = self.state
        mine, state.data, state.dirty, state.removed = state.data, None, {}, False
        return mine

    def put_back(self, mine: dict[str, Any] | None) -> None:
        """Now that the session has been looked up, put this in the place of all its data."""
        if mine is not None:
            self.face.clear()
            self.face.update(mine)

    def _commit(self) -> Steps[None]:
        """Carry out what is wanted, now."""
        state = self.state
        if state.intent is Intent.NONE:
            state.on(Event.TOUCH)
        marked = self.modified
        state.ensure_id()  # a session whose time has passed when it is saved has a key, too
        if self.apply_expiry():
            state.settings = self.config.settings_for(keep=True, rewrite=state.login is not None)
            yield from save(state)
        elif state.found is Found.RECORD and state.loaded is not None:
            yield from self._end((state.loaded.key,))
        self._marked, self._seen = marked, None

    # -- what is wanted -------------------------------------------------------------------------------------------

    def _check_headers(self) -> None:
        """Refuse a new key that the browser cannot learn any more."""
        if self.state.sent:
            raise HeadersAlreadySent(_TOO_LATE)

    def _note_flush(self) -> bool:
        """Note, where it is deferred, that the session is to end."""
        if self.is_deferred:
            transitions.invalidate(self.state)
            self._session_cache = self.face
            self.accessed = self._marked = True
        return self.is_deferred

    def _note_cycle(self) -> bool:
        """Note that the key is to change; where that is deferred, it is all there is to do."""
        return self._note_anew(partial(transitions.regenerate, keep_data=True))

    def _note_anew(self, change: Callable[[State], None]) -> bool:
        """Note a change by which the key changes; where that is deferred, it is all there is to do."""
        self._check_headers()
        look_at(self.state)  # what was loaded may not have been taken apart yet
        change(self.state)
        self._marked = True
        return self.is_deferred

    def _beginning(self, user: Any, within: Duration) -> Callable[[State], None]:
        # Whoever is logged in so far is not any more.
        return partial(logins.begin, owner=str(user.pk), keep_data=USER not in self.face, stamp=None, within=within)

    def apply_expiry(self) -> bool:
        """Make Django's expiry the record's and the cookie's. False where it has passed."""
        state = self.state
        if state.data is None and state.found is not Found.RECORD:
            return True
        given = self.face.get(_EXPIRY)
        if isinstance(given, str):
            age = (datetime.fromisoformat(given).astimezone(UTC) - from_ms(state.now())).total_seconds()
        else:
            age = given or self.get_session_cookie_age()
        if age <= 0:
            return False
        at_close = settings.SESSION_EXPIRE_AT_BROWSER_CLOSE if given is None else given == 0
        longest = self.config.settings.options.absolute_ms
        lifetime = None if at_close else int(age * 1000) if longest is None else min(int(age * 1000), longest)
        configured = state.arrival.config.max_age_ms
        if lifetime != state.overrides().get(_LIFETIME, configured):
            state.ensure_cookie().override(_LIFETIME, lifetime, configured)
        return True

    @property
    def is_wanted(self) -> bool:
        """Whether there may be something to commit with the response."""
        state = self.state
        if self.modified or state.intent is not Intent.NONE or state.owed is not None or state.needs_resigning():
            return True
        return self.config.slides and self.session_key is not None

    def settle(self, *, status: int = 200) -> bool:
        """Make of what the application wants what is to be committed with the response. False where that is nothing."""
        state = self.state
        if status >= _SERVER_ERROR:
            state.on(Event.DISCARD)  # nothing of the request is saved, and a logout happens nevertheless
            return True
        if state.found is Found.UNAVAILABLE:
            return True
        if not self.is_wanted:
            if self._seen is not None and is_changed(state):  # and that was not to count
                state.on(Event.DISCARD)
            return False
        modified = self.modified
        if modified and state.intent is Intent.NONE and not (state.saved and not self._is_changed()):
            state.on(Event.TOUCH)
        if not self.apply_expiry():
            transitions.destroy(state)
        state.settings = self.config.settings_for(
            keep=state.intent is Intent.REGENERATE,
            again=modified or self.config.settings.options.rolling,
            rewrite=state.login is not None,
        )
        return True

    def _name(self, key: str) -> str:
        """A key's name in the store."""
        return self.config.settings.key_of(self.config.key_in(key))

    # -- more than Django's sessions have -------------------------------------------------------------------------

    def increment(self, key: str, by: float = 1) -> Any:
        """Add to a number so that no parallel request's increment is lost; see `sojourn.Session.increment`."""
        self._get_session()
        return self.face.increment(key, by)

    async def aincrement(self, key: str, by: float = 1) -> Any:
        await self._aget_session()
        return self.face.increment(key, by)

    @property
    def owner(self) -> str | None:
        """Who is logged in: the user's primary key as text."""
        return self._get_session().owner

    @property
    def authenticated_at(self) -> datetime | None:
        """When they logged in, in UTC."""
        return self._get_session().authenticated_at

    @property
    def confirmed_at(self) -> datetime | None:
        """When they last gave the password, in UTC: at the login, or at ``confirm()``."""
        return self._get_session().confirmed_at

    def is_fresh(self, within: Duration) -> bool:
        """Whether the user gave the password at most so long ago, a `timedelta` or seconds."""
        return self._get_session().is_fresh(within)

    async def ais_fresh(self, within: Duration) -> bool:
        return (await self._aget_session()).is_fresh(within)

    def confirm(self) -> None:
        """Note that the user has just given the password once more. The session gets a new key, and keeps its data.

        Raises:
            NotLoggedIn: nobody is logged in.
        """
        self._get_session()
        if not self._note_anew(logins.confirm):
            self._run(self._commit())

    async def aconfirm(self) -> None:
        await self._aget_session()
        if not self._note_anew(logins.confirm):
            await self._arun(self._commit())

    @property
    def pending_owner(self) -> str | None:
        """The primary key, as text, of the user whose login was begun by ``begin_login()`` and not completed yet."""
        return self._get_session().pending_owner

    def begin_login(self, user: Any, *, within: Duration = timedelta(minutes=10)) -> None:
        """Note who has given the password, but not the second factor yet. The session gets a new key, and keeps what a visitor gathered.

        Until ``django.contrib.auth.login(request, user)`` they are nobody, and only `pending_owner` names them.

        Args:
            user: the user, as ``authenticate()`` returned it.
            within: how long that counts.
        """
        self._get_session()
        if not self._note_anew(self._beginning(user, within)):
            self._run(self._commit())

    async def abegin_login(self, user: Any, *, within: Duration = timedelta(minutes=10)) -> None:
        await self._aget_session()
        if not self._note_anew(self._beginning(user, within)):
            await self._arun(self._commit())

    def note_sid(self, sid: str) -> None:
        """Note the OpenID provider's id of its own session, after the login, for ``sessions.end_sid()``.

        Raises:
            NotLoggedIn: nobody is logged in.
            TypeError, ValueError: it is no text that every store can hold.
        """
        self._get_session()
        logins.note_sid(self.state, sid)
        self._marked = True

    @property
    def created_at(self) -> datetime:
        """When the session began, in UTC."""
        return self._get_session().created_at

    @property
    def key(self) -> str | None:
        """The session's name in the store, by which `sessions` know it; None where there is no session yet."""
        return None if self.session_key is None else self._name(self.session_key)

    @property
    def signed_key(self) -> str | None:
        """What the cookie's value is under our middleware; None where there is no session yet."""
        key = self.session_key
        return None if key is None else self.config.settings.signer.token(key)

    def devices(self, *, limit: int = 100, after: str | None = None) -> Devices:
        """The user's live sessions, the current one first; see `sojourn.Session.devices`."""
        self._get_session()
        return self._run(devices(self.state, limit, after))

    async def adevices(self, *, limit: int = 100, after: str | None = None) -> Devices:
        await self._aget_session()
        return await self._arun(devices(self.state, limit, after))

    def end(self, handle: str) -> bool:
        """End that one of the user's sessions; False if there was none. The current one is flushed."""
        self._get_session()
        current: list[None] = []
        ended = self._run(end_device(self.state, handle, lambda: current.append(None)))
        if current:
            self.flush()
        return ended

    async def aend(self, handle: str) -> bool:
        await self._aget_session()
        current: list[None] = []
        ended = await self._arun(end_device(self.state, handle, lambda: current.append(None)))
        if current:
            await self.aflush()
        return ended

    def end_others(self) -> int:
        """End all sessions of the user but this one; returns how many there were."""
        self._get_session()
        return self._run(end_others(self.state))

    async def aend_others(self) -> int:
        await self._aget_session()
        return await self._arun(end_others(self.state))

    @property
    def sessions(self) -> Sessions:
        """All sessions of the store: ``by_owner(owner)``, ``destroy(view)`` and others; see `sojourn.core.views.Sessions`."""
        return self.config.sync.sessions

    @property
    def asessions(self) -> AsyncSessions:
        """The same in the async colour."""
        return self.config.asynchronous.sessions

    def __repr__(self) -> str:
        return f"<SessionStore {self.state.found.value}>"

    if TYPE_CHECKING:
        accessed: bool
        _session_cache: Any
