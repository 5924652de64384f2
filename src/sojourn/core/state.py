"""Everything that a request knows of its session, and what may become of it.

Theory of operation
-------------------
A `State` is made when the request comes in and is gone with it. The faces that applications see (`Session`, `AsyncSession`) hold
one and nothing else; the policy reads it and returns a plan; the commit carries the plan out and notes what became of it. Five
things, each with one owner:

- `Arrival`: what the request brought. Frozen; made once, by the middleware.
- `found`, with `loaded`: what the store last said, and the record that lies there as far as this request knows. Set together, by
  `transitions`, when a look-up or a commit is done; by `data`, where the record turns out to be unreadable.
- `intent`: the strongest thing that the application asked for. Moved by `State.on` alone, through the table `TRANSITIONS`.
- `owed`: what an earlier ``save()`` has still to tell the client. Set by `transitions.note_committed`.
- the data, and what this request makes of the session's cookie and owner: changed by the application, through a face.

Two ids are never mixed up: the ids that *came* are in the arrival (and `came_as` is the one that turned out to be this session's),
the id that the session *will have* is `id`. What is ended is always named by the former, or by `loaded`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from ..codecs import Members
from ..cookie import Cookie
from ..errors import SessionDestroyed
from ..events import SessionEvent
from ..options import Request
from ..wire.headers import Header
from ..wire.id_source import IdSource
from ..wire.signing import Verified
from ._shown import Shown
from ._table_key import TableKey
from .passport import PASSPORT, heed
from .record import NO_DATA, NOBODY, Login, Record
from .session_cookie import SessionCookie, lifetime_until
from .settings import SessionSettings
from .store import Stored

__all__ = ["TRANSITIONS", "Arrival", "Event", "Found", "Held", "Intent", "Loaded", "Owed", "Part", "State"]


class Found(TableKey):
    """What the store last said of the session: when it was looked up, and again when a commit was carried out."""

    NOTHING = "new"
    """No live record: the request brought none, or it has been ended."""
    RECORD = "stored"
    """A live record, which is `State.loaded`."""
    TOMBSTONE = "replaced"
    """A parallel request regenerated the id a moment ago: anonymous, and not saved unless it logs in itself."""
    PENDING = "not loaded"
    """The request brought ids that were not looked up yet (``lazy``)."""
    UNAVAILABLE = "unsaved"
    """The store was down; with ``on_store_error="anonymous"`` the request goes on, and nothing of it is saved."""


class Intent(TableKey):
    """The strongest thing that was asked for."""

    NONE = "unchanged"
    """Nothing but reading and changing data."""
    TOUCH = "touched"
    REGENERATE = "regenerated"
    """Go on under a new id; the old one ends."""
    INVALIDATE = "invalidated"
    """All that the request brought ends; the object goes on, empty, under a new id."""
    DISCARD = "discarded"
    """Nothing of the request is saved: ``unset="keep"``, a value that cannot be stored, or a commit given up."""
    ENDED = "ended elsewhere"
    """Likewise, because another request ended the session meanwhile."""
    DESTROY = "destroyed"
    """All that the request brought ends, and so does the object."""


class Event(TableKey):
    """What moves the intent."""

    # by the application
    TOUCH = enum.auto()
    REGENERATE = enum.auto()
    INVALIDATE = enum.auto()
    UNSET = enum.auto()  # None in the session's place, with unset="keep"
    DESTROY = enum.auto()
    # by what became of it
    DISCARD = enum.auto()  # it cannot be stored, or its commit was given up
    RELOADED = enum.auto()
    COMMITTED = enum.auto()
    ENDED = enum.auto()


_N, _T, _R, _I, _D, _E, _X = Intent

TRANSITIONS: Final[Mapping[Event, Mapping[Intent, Intent]]] = {
    Event.TOUCH: {_N: _T, _T: _T, _R: _R, _I: _I, _D: _D, _E: _E},
    Event.REGENERATE: {_N: _R, _T: _R, _R: _R, _I: _I, _D: _R, _E: _R},
    Event.INVALIDATE: {_N: _I, _T: _I, _R: _I, _I: _I, _D: _I, _E: _I},
    # Who asked for the old id to end, and then for nothing to be saved, still wants it ended.
    Event.UNSET: {_N: _D, _T: _D, _R: _X, _I: _X, _D: _D, _E: _D, _X: _X},
    Event.DESTROY: {_N: _X, _T: _X, _R: _X, _I: _X, _D: _X, _E: _X, _X: _X},
    # A login that cannot be stored has not happened, and the old session stays; a logout happens in any case.
    Event.DISCARD: {_N: _D, _T: _D, _R: _D, _I: _X, _D: _D, _E: _E, _X: _X},
    # Regenerated without being asked: see `transitions.note_loaded`. Otherwise `check_reload` refuses it.
    Event.RELOADED: {_N: _N, _T: _N, _R: _R, _D: _N, _E: _N},
    Event.COMMITTED: {_N: _N, _T: _N, _R: _N, _I: _N, _D: _D, _E: _E, _X: _X},
    Event.ENDED: {_N: _E, _T: _E},
}
"""The intent after an event. Where there is none, the session is destroyed, or invalidated and not stored yet."""


class Arrival(Struct, frozen=True):
    """What the request brought."""

    config: Cookie
    """The cookie as configured for this request."""
    secure: bool
    """Whether the browser's connection is https."""
    ids: tuple[Verified, ...] = ()
    """The rightly signed ids, in order."""
    source: IdSource | None = None
    """How they came, where they may come otherwise than by cookie."""
    request: Request = None
    """What functions of the request are given, where there are any.

    The request holds the session, and if the session always held the request too, each would wait for the garbage collector, at a
    fifth of the time that a request takes.
    """
    keys: tuple[str, ...] = ()
    """The names in the store of the first ids: of those that are looked up."""
    refused: bool = False
    """It brought what none of the secrets has signed."""


class Loaded(Shown, frozen=True, gc=False):
    """The record that lies in the store, as far as this request knows. Replaced as a whole, never changed."""

    key: str
    stored: Stored
    record: Record | None = None
    """The record taken apart, once it was looked at."""


class Part(Struct):
    """A value that the application has as an object of its own, a model: the fields that it changes there are written into the session's data."""

    key: str
    kind: Any
    """What the model is of."""
    model: Any
    dump: Callable[[Any], dict[str, Any]]
    """The model's fields, as values that the codec holds."""
    texts: dict[str, bytes] = {}
    """The fields' texts, as they are in the data."""


class Owed(Shown, frozen=True, gc=False):
    """What an earlier ``save()`` has still to tell the client."""

    header: Header
    expires: bool
    """Whether it expires the cookie, rather than sending an id."""
    at: int
    """Since when it counts, epoch ms."""


class Held(Struct, frozen=True, gc=False):
    """The lock that an exclusive request has."""

    key: str
    token: str
    until: int
    """When it expires, epoch ms."""
    unbroken: bool = True
    """Whether the request has had it all the time."""


_NO_OVERRIDES: Final[Mapping[str, Any]] = MappingProxyType({})


class State(Struct, weakref=True):
    """What a request knows of its session."""

    settings: SessionSettings
    arrival: Arrival
    io: Any = None
    """What ``save()``, ``reload()`` and the like are carried out by: the middleware that made it."""
    found: Found = Found.NOTHING
    intent: Intent = Intent.NONE
    loaded: Loaded | None = None
    came_as: Verified | None = None
    """The id among those that came which is this session's."""
    id: str | None = None
    """The id that the session has, or will have. None until one is needed."""
    data: dict[str, Any] | None = None
    """Each value as text, or decoded if it was asked for; see `data`. None: not looked at."""
    dirty: dict[str, None] = {}
    """The keys whose value may differ from the loaded one's, in the order in which they came to."""
    removed: bool = False
    """Keys were removed, so that the order of what is there may be another."""
    renewed: bool = False
    """Nothing of the loaded record goes on: it was invalidated, or regenerated without ``keep_data``."""
    cookie: SessionCookie | None = None
    created: int | None = None
    """When the session began, epoch ms, once that was asked for."""
    login: Login | None = None
    """What this request makes of who is logged in; None: nothing."""
    max_sessions: int | None = None
    """How many sessions the owner may have once the login is stored."""
    increments: dict[str, float] | None = None
    parts: list[Part] = []
    """The values that the application has as objects of its own."""
    first_overrides: Mapping[str, Any] | None = None
    """The cookie attributes that a new session begins with, once worked out."""
    owed: Owed | None = None
    sent: bool = False
    """The response headers have left."""
    saved: bool = False
    """An earlier ``save()`` wrote it."""
    asked: int = 0
    """How often the application asked for an end or a new id. A commit does what was asked before its plan was made, and no more."""
    brought_ended: bool = False
    """The ids that the request brought have been ended."""
    over: bool = False
    """The request has ended. Whoever still holds the session takes no lock for it, which nobody would give back."""
    saving: int = 0
    """How many of its tasks are in a ``save()``: what lies in the store may be theirs."""
    looking: Any = None
    """In the async colour, by what a task of the request learns that another one's look-up is done."""
    lock: Held | None = None
    """What an exclusive request has its session for itself by."""
    noted: list[SessionEvent] | None = None
    """What happened and was not told yet; see `noting`."""

    def __repr__(self) -> str:
        return f"<State {self.found.value}, {self.intent.value}>"  # no id and no data, wherever it is shown

    def on(self, event: Event) -> None:
        """Move the intent. The only place where it changes.

        Raises:
            SessionDestroyed: there is no such transition.
        """
        try:
            self.intent = TRANSITIONS[event][self.intent]
        except KeyError:
            raise SessionDestroyed("the session was destroyed earlier in this request") from None

    @property
    def base(self) -> Record | None:
        """What changes are counted from, and what a merge starts with: the loaded record, unless nothing of it goes on."""
        return None if self.loaded is None or self.renewed else self.loaded.record

    def base_data(self) -> Members:
        """The data that changes are counted from."""
        loaded = self.loaded
        if loaded is None or self.renewed or loaded.record is None:
            return NO_DATA
        return loaded.record.data

    @property
    def who(self) -> Login:
        """Who is logged in, and how."""
        login = self.login
        if login is None:
            login = NOBODY if self.base is None else self.base.login
        return heed(login, (self.data or {}).get(PASSPORT)) if self.settings.options.passport else login

    @property
    def owner(self) -> str | None:
        """Who logged in."""
        return self.who.owner

    def now(self) -> int:
        return self.settings.options.clock()

    def came_as_id(self) -> str | None:
        """The id by which this session came."""
        return None if self.came_as is None else self.came_as.id

    def needs_resigning(self) -> bool:
        """Whether the id came signed by an older secret (contract 35)."""
        return self.came_as is not None and self.came_as.needs_resigning

    def ensure_id(self) -> str | None:
        """The session's id, generated if there is none yet; None where ``generate_id`` gives none that could be used."""
        if self.id is None:
            self.id = self.settings.generate_id(self.arrival.request)
        return self.id

    def ensure_created(self) -> int:
        """When the session began, epoch ms."""
        if self.created is None:
            base = self.base
            self.created = self.now() if base is None or base.created is None else base.created
        return self.created

    def ensure_cookie(self) -> SessionCookie:
        if self.cookie is None:
            self.cookie = self.make_cookie(self.initial_overrides())
        return self.cookie

    def make_cookie(self, overrides: Mapping[str, Any]) -> SessionCookie:
        config, secure = self.arrival.config, self.arrival.secure
        options = self.settings.options
        return SessionCookie(
            config,
            dict(overrides),
            options.clock,
            limit=options.absolute_ms,
            prefixed=self.settings.naming.is_prefixed(config, secure=secure),
        )

    def overrides(self) -> Mapping[str, Any]:
        """What this session changed of its cookie, without making the cookie for it."""
        return self.initial_overrides() if self.cookie is None else self.cookie.overrides

    def initial_overrides(self) -> Mapping[str, Any]:
        """What the loaded record changed of its cookie, or a new session begins with."""
        base = self.base
        if base is not None:
            return base.overrides
        if self.first_overrides is None:
            expires = self.arrival.config.expires
            # A fixed date in the configuration is each new session's own lifetime (contract 123).
            self.first_overrides = (
                _NO_OVERRIDES if expires is None else {"originalMaxAge": lifetime_until(expires, self.now())}
            )
        return self.first_overrides

    def is_cookie_changed(self) -> bool:
        """Whether the application changed the session's cookie in this request."""
        return self.cookie is not None and self.cookie.overrides != self.initial_overrides()

    def is_changed_beside_data(self) -> bool:
        """Whether something else than the data is to be stored."""
        if self.cookie is not None and self.is_cookie_changed():
            return True
        return self.login is not None and self.who != (NOBODY if self.base is None else self.base.login)

    def idle_ms(self) -> int:
        return self.settings.idle_ms(self.arrival.config, self.overrides())

    def deadline(self, now: int) -> int:
        """When the session ends unless there is another request. Epoch ms."""
        return self.settings.deadline(now, self.ensure_created(), self.idle_ms())
