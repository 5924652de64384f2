"""Every rule about when a session is written, touched, ended, and when the client is told its id: a state in, a `Plan` out, no I/O.

The decisions of contract sections 8, 9, 12 and 13, with our differences, are one table, `DECISIONS`: what the store last said
(`Found`), what was asked for (`Intent`), and whether there is anything worth storing give what is written and what ends. What may no
longer be done in a later phase is decided before. What the client is told of it is in `header`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..chance import chance
from ..codecs import Members
from ..errors import StoreUnavailable
from ..logs import log, warn_once
from ..transports import CookieTransport
from ._table_key import TableKey
from .data import ClosedData, encode, is_as_before, is_changed, look_at
from .header import cleared, header_again, session_header
from .passport import PASSPORT, heed
from .plan import NEEDS_COOKIE, Create, Phase, Plan, Regenerate, Replace, Touch, Write
from .record import NO_DATA, NOBODY, Record, lifetime_prefix, pack
from .session_cookie import stored_as_configured
from .settings import ExpiryCache
from .state import Event, Found, Intent, State
from .transitions import destroy, unset

__all__ = ["DECISIONS", "Decision", "Ends", "decide", "is_too_late", "needs_late_commit", "substitute", "touch_alone"]

_WRITE_BITS: Final = 48  # below 2^53, so that Express carries the number unharmed
_NO_OVERRIDES: Final[dict[str, Any]] = {}
_NO_EXTRA: Final[dict[str, Any]] = {}


class Ends(TableKey):
    """Which keys end."""

    NONE = enum.auto()
    OWN = enum.auto()
    """The loaded record's."""
    ALL = enum.auto()
    """Those of every rightly signed id that the request brought, loaded or not; but for the one that the write regenerates."""


class Decision(NamedTuple):
    """A cell of the table."""

    write: type[Write] | None = None
    ends: Ends = Ends.NONE
    refused: bool = False
    """It cannot be done, and the response must be a 503."""


_NOTHING: Final = Decision()
_CREATE: Final = Decision(Create)
_REPLACE: Final = Decision(Replace)
_TOUCH: Final = Decision(Touch)
_REGENERATE: Final = Decision(Regenerate)
_END_OWN: Final = Decision(None, Ends.OWN)
_END_ALL: Final = Decision(None, Ends.ALL)
_CREATE_END_ALL: Final = Decision(Create, Ends.ALL)
_REGENERATE_END_ALL: Final = Decision(Regenerate, Ends.ALL)
_REFUSED: Final = Decision(refused=True)

# What is done where something is worth storing, and where nothing is.
_ROWS: Final[Mapping[Found, Mapping[Intent, tuple[Decision, Decision]]]] = {
    Found.NOTHING: {
        Intent.NONE: (_CREATE, _NOTHING),
        Intent.TOUCH: (_CREATE, _NOTHING),
        Intent.REGENERATE: (_CREATE, _NOTHING),
        Intent.INVALIDATE: (_CREATE_END_ALL, _END_ALL),
    },
    Found.RECORD: {
        Intent.NONE: (_REPLACE, _NOTHING),  # or a touch, where one is due
        Intent.TOUCH: (_REPLACE, _TOUCH),
        Intent.REGENERATE: (_REGENERATE, _END_OWN),
        Intent.INVALIDATE: (_REGENERATE_END_ALL, _END_ALL),
    },
    # A parallel request took the session along under another id: nothing is saved but a login of its own.
    Found.TOMBSTONE: {
        Intent.NONE: (_NOTHING, _NOTHING),
        Intent.TOUCH: (_NOTHING, _NOTHING),
        Intent.REGENERATE: (_CREATE, _NOTHING),
        Intent.INVALIDATE: (_CREATE_END_ALL, _END_ALL),
    },
    # Nothing was looked at, or it would have been loaded.
    Found.PENDING: {
        Intent.NONE: (_NOTHING, _NOTHING),
        Intent.INVALIDATE: (_CREATE_END_ALL, _END_ALL),
    },
    # The old id cannot be regenerated, as its record is not known; but it can be ended.
    Found.UNAVAILABLE: {
        Intent.NONE: (_NOTHING, _NOTHING),
        Intent.TOUCH: (_NOTHING, _NOTHING),
        Intent.REGENERATE: (_REFUSED, _REFUSED),
        Intent.INVALIDATE: (_CREATE_END_ALL, _END_ALL),
    },
}
_WHATEVER_FOUND: Final[Mapping[Intent, Decision]] = {
    Intent.DISCARD: _NOTHING,
    Intent.ENDED: _NOTHING,
    Intent.DESTROY: _END_ALL,
}

DECISIONS: Final[Mapping[tuple[Found, Intent, bool], Decision]] = {
    **{
        (found, intent, worth): cells[not worth]
        for found, row in _ROWS.items()
        for intent, cells in row.items()
        for worth in (True, False)
    },
    **{
        (found, intent, worth): decision
        for found in Found
        for intent, decision in _WHATEVER_FOUND.items()
        for worth in (True, False)
    },
}
"""What is written and what ends: by what was found, what was asked for, and whether something is worth storing."""

_COUNTS_WORTH: Final = frozenset(
    (found, intent)
    for found, intent, worth in DECISIONS
    if worth and DECISIONS[found, intent, True] is not DECISIONS[found, intent, False]
)
"""Where it counts whether something is worth storing."""
_MAY_LIVE: Final = (Found.RECORD, Found.UNAVAILABLE)
_GOES_ON: Final = (Intent.NONE, Intent.TOUCH)
_GOES_ON_ANEW: Final = (Intent.REGENERATE, Intent.INVALIDATE)

_DO_NOTHING: Final = Plan()
_SEEN: Final = Plan(vary=True)
# Looking a member up costs a call until Python 3.12.
_NONE: Final = Intent.NONE
_DESTROY: Final = Intent.DESTROY
_RESPONSE: Final = Phase.RESPONSE
_RECORD: Final = Found.RECORD
_NEW: Final = Found.NOTHING
_ENDS_NONE: Final = Ends.NONE
_ENDS_ALL: Final = Ends.ALL


def decide(state: State, phase: Phase = Phase.RESPONSE) -> Plan:
    """What to do with a session now.

    Raises:
        SessionEncodeError: a value cannot be stored.
        StoreUnavailable: the session could not be loaded and was regenerated: the old id cannot be ended.
    """
    data, found = state.data, state.found
    stored: Members | None = None
    made: Write | None
    if (
        state.intent is _NONE
        and (found is _RECORD or found is _NEW)
        and phase is _RESPONSE
        and state.cookie is None
        and state.owed is None
        and state.login is None
    ):
        # The short way for most requests: only the data were looked at, if that, and nothing is due.
        if data is not None:
            stored = encode(state)
            # And the one for most of the others: the data were changed, and nothing else. It is as `DECISIONS` has it.
            if found is _RECORD and stored is not state.loaded.record.data:  # type: ignore[union-attr]  # they were looked at
                now = state.settings.options.clock()
                made, record = _make(state, Replace, stored, now)
                header = header_again(state, record, now, changed=True)
                increments = dict(state.increments) if state.increments else None
                return Plan(made, (), header, True, True, record, False, now, state.asked, increments)  # noqa: FBT003 - names cost half of it
        if _is_idle(state, stored):
            return _DO_NOTHING if data is None else _SEEN
    intent, options = state.intent, state.settings.options
    seen = data is not None or intent is _DESTROY  # by the application, not by the policy itself
    if phase is not _RESPONSE:
        if phase is Phase.FAILED or intent is Intent.INVALIDATE:  # only what ends can still be done, and is in any case
            ends = DECISIONS[found, intent, False].ends
            return Plan(ends=_keys(state, ends) if ends is _ENDS_ALL else (), vary=seen, asked=state.asked)
        if is_too_late(state):
            if _can_send(state):  # if not, this was told, and it is no matter of being late
                _refuse(state)
            return Plan(vary=seen, asked=state.asked)
        if DECISIONS[found, intent, True].write in NEEDS_COOKIE:  # and there is nothing to store
            return Plan(vary=seen, asked=state.asked)
    now = options.clock()
    changed = False
    if (found, intent) in _COUNTS_WORTH:
        if found is _RECORD and (options.rolling or options.resave or state.needs_resigning()):
            data = look_at(state)
        if data is not None:
            if stored is None:
                stored = encode(state)
            changed = stored is not state.base_data() or state.is_changed_beside_data()
    write, ends, refused = _decision(state, phase, changed=changed, now=now)
    if refused:
        raise StoreUnavailable("the session was not loaded, so its old id cannot be ended")
    keys = () if ends is _ENDS_NONE else _keys(state, ends, write)
    made, record = (None, None) if write is None else _make(state, write, stored or NO_DATA, now)
    header, expires = None, False
    if phase is _RESPONSE:
        header, expires = session_header(
            state, made, record, ends_brought=ends is _ENDS_ALL, deletes=bool(keys), changed=changed, now=now
        )
    increments = dict(state.increments) if state.increments else None
    clears = cleared(state, header, expires=expires)
    is_another = intent is Intent.INVALIDATE
    return Plan(made, keys, header, seen, changed, record, expires, now, state.asked, increments, clears, is_another)


def is_too_late(state: State) -> bool:
    """Whether what was asked for needs a cookie, which can no longer be set once the headers have left."""
    intent, found = state.intent, state.found
    is_asked = state.asked > 0  # what nobody asked for is done another time
    if intent is Intent.REGENERATE and found in _MAY_LIVE and is_asked:
        return True
    if intent is Intent.INVALIDATE or DECISIONS[found, intent, True].write not in NEEDS_COOKIE:
        return False
    base = state.base
    if isinstance(state.data, ClosedData):  # what was put in has been refused already
        return False
    is_kept = intent is Intent.REGENERATE and is_asked and (base is not None or state.login is not None)
    return is_kept or is_changed(state) or state.is_changed_beside_data()


def _is_idle(state: State, data: Members | None) -> bool:
    """Whether a session of which only the data were looked at, if that, and are as they were loaded, needs nothing."""
    settings = state.settings
    if state.found is _NEW:
        return not (data or settings.options.save_uninitialized)
    if settings.always_commits:
        return False
    loaded = state.loaded
    assert loaded is not None
    stored, came_as = loaded.stored, state.came_as
    left = stored.expires_in
    if left is None and settings.expiries is not None:
        left = settings.expiries.remaining(loaded.key, settings.options.clock())
    return (
        left is not None
        and left > settings.calm_ms
        and stored.data.startswith(settings.calm_prefix)
        and (came_as is None or not came_as.needs_resigning)  # None where save() made it, and nothing tells of it
    )


def _decision(state: State, phase: Phase, *, changed: bool, now: int) -> Decision:
    worth = _is_worth_storing(state, phase, changed=changed)
    decision = DECISIONS[state.found, state.intent, worth]
    if decision.write in NEEDS_COOKIE and not _can_send(state):
        return DECISIONS[state.found, state.intent, False] if state.asked else _NOTHING
    may_be_due = state.found is _RECORD and state.intent is _NONE and not worth and phase is _RESPONSE
    return _TOUCH if may_be_due and _is_touch_due(state, now) else decision


def _is_worth_storing(state: State, phase: Phase, *, changed: bool) -> bool:
    """Whether there is something to store: a change, what was stored before and kept, an owner, or what is configured so."""
    options = state.settings.options
    if state.intent in _GOES_ON_ANEW:
        if changed or state.base is not None or state.login is not None:
            return True
        return options.save_uninitialized and phase is _RESPONSE
    if changed or state.saved or phase is not _RESPONSE:
        return changed
    return options.save_uninitialized if state.found is _NEW else options.resave


def _is_touch_due(state: State, now: int) -> bool:
    """Whether a touch would move the expiry by at least ``touch_after``. Decodes only if the answer is not plain without."""
    settings, loaded, config = state.settings, state.loaded, state.arrival.config
    assert loaded is not None
    remaining = loaded.stored.expires_in
    is_exact = remaining is not None
    if remaining is None:
        if settings.expiries is None:
            settings.expiries = ExpiryCache()
        remaining = settings.expiries.remaining(loaded.key, now)
    if state.cookie is None and loaded.stored.data.startswith(lifetime_prefix(config.max_age_ms)):
        # Its lifetime is the configured one, and most of that is left.
        idle = settings.idle_ms(config, {})
        if idle - remaining < settings.touch_after_ms(idle):
            return False
    look_at(state)
    if state.found is not _RECORD:  # its record was unreadable
        return False
    left = state.deadline(now) - now
    # What this process last set is void where another has given the session a shorter life since.
    return left - remaining >= settings.touch_after_ms(state.idle_ms()) or (not is_exact and remaining > left)


def touch_alone(state: State) -> Plan | None:
    """The plan that sets the expiry of a stored session anew, and does nothing else; None where none goes on."""
    if state.loaded is not None and state.intent in _GOES_ON:
        look_at(state)
    if state.found is not _RECORD or state.intent not in _GOES_ON:  # or its record was unreadable
        return None
    now = state.now()
    return Plan(_make(state, Touch, NO_DATA, now)[0], at=now, asked=state.asked)


def _can_send(state: State) -> bool:
    """Whether the id can reach the client and come back."""
    if state.ensure_id() is None:
        return False
    source = state.arrival.source
    if source is not None and not isinstance(source.carrier(state.came_as_id()), CookieTransport):
        return True
    if not state.arrival.secure and state.ensure_cookie().sent_secure(secure=False):
        warn_once(
            "secure",
            "a session was not stored, as its cookie is Secure but the request came over plain http; behind a proxy "
            "that ends TLS set trust_proxy=True, for development over http set cookie.secure='auto'",
        )
        return False
    return True


def _refuse(state: State) -> None:
    """Say what a late request asked for in vain, and save nothing of it."""
    log.error(
        "a session was %s after the response headers had left, when no cookie can be set: nothing is stored",
        "regenerated" if state.intent is Intent.REGENERATE else "changed for the first time",
    )
    state.on(Event.DISCARD)


def _keys(state: State, ends: Ends, write: type[Write] | None = None) -> tuple[str, ...]:
    """The keys that end before the write."""
    own = [] if state.loaded is None else [state.loaded.key]
    if ends is Ends.OWN:
        return tuple(own)
    key_of = state.settings.key_of
    brought = [] if state.brought_ended else [key_of(verified.id) for verified in state.arrival.ids]
    keys = dict.fromkeys([*brought, *own])
    if write is Regenerate:  # ends that one itself, in one step
        del keys[own[0]]
    return tuple(keys)


def _make(state: State, kind: type[Write], data: Members, now: int) -> tuple[Write, Record | None]:
    settings, arrival, loaded, base = state.settings, state.arrival, state.loaded, state.base
    created = state.created
    if created is None:
        created = state.ensure_created() if base is None or base.created is None else base.created
    overrides = base.overrides if base is not None and state.cookie is None else state.overrides()
    idle = (
        settings.idle_ms(arrival.config, overrides)
        if overrides or settings.static_idle_ms is None
        else settings.static_idle_ms
    )
    ttl = max(1, settings.deadline(now, created, idle) - now)
    if kind is Touch:
        assert loaded is not None
        return Touch(loaded.key, ttl), None
    session_id, login = state.id, state.login
    assert session_id is not None
    if login is None:
        login = NOBODY if base is None else base.login
    if settings.options.passport:
        login = heed(login, data.get(PASSPORT))
    owner = login.owner
    lifetime, cookie = (
        state.ensure_cookie().stored(now, secure=arrival.secure)
        if overrides
        else stored_as_configured(arrival.config, now, secure=arrival.secure)
    )
    extra = _NO_EXTRA if base is None else base.extra
    kept = dict(overrides) if overrides else _NO_OVERRIDES
    record = Record(data, cookie, created, login, kept, chance.getrandbits(_WRITE_BITS), lifetime, extra)
    key = loaded.key if kind is Replace and loaded is not None else settings.key_of(session_id)
    text = pack(record)
    sealed = settings.codec.seal(text, key) if settings.seals else text
    if kind is Create:
        return Create(key, sealed, ttl, owner), record
    assert loaded is not None
    version = loaded.stored.version
    if kind is Replace:
        return Replace(key, sealed, ttl, version, owner), record
    tombstone = settings.options.profile.tombstone_ms
    return Regenerate(loaded.key, key, sealed, ttl, version, tombstone, owner), record


# -- what is in the session's place, and what came late -------------------------------------------------------------------


def substitute(state: State, value: object) -> None:
    """Apply what the application put in the session's place.

    None, or nothing, unsets it (contract 161 to 164). A member of an enumeration, such as Litestar's ``Empty``, ends it. Anything else
    is another layer's, such as a mounted application's own session: ours stays as it is (contract 58).
    """
    if value is None and state.settings.options.unset == "keep":
        unset(state)
    elif value is None or isinstance(value, enum.Enum):
        destroy(state)
    else:
        warn_once(
            "replaced",
            "a %s was put in the session's place: it is taken for another layer's session, and ours stays as it was; "
            "to exchange the data write session.clear() and session.update(...)",
            type(value).__name__,
        )


def needs_late_commit(state: State) -> bool:
    """Whether anything happened to a session since its response left, told as cheaply as can be."""
    intent, data = state.intent, state.data
    if intent is not _NONE:
        if intent is _DESTROY:
            return state.loaded is not None or (bool(state.arrival.ids) and not state.brought_ended)
        return intent not in (Intent.DISCARD, Intent.ENDED)
    if data is None or state.found is Found.TOMBSTONE or state.found is Found.UNAVAILABLE:
        return False
    if state.is_changed_beside_data():
        return True
    return not is_as_before(state) and is_changed(state)
