"""Every way that a session's state changes, other than by its data: what the application asks, and what the store returned. No I/O."""

from __future__ import annotations

from collections.abc import Container
from logging import DEBUG
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from ..codecs import loads, path_of
from ..errors import SessionDecodeError, SessionDestroyed, SessionEncodeError, SessionNotFound
from ..ids import mask_id
from ..logs import log
from ..wire.signing import Verified
from .data import ClosedData, encode, loaded_record, look_at, refill, settle_parts, take_lifetime, unpack_stored
from .merge import merge
from .noting import note
from .passport import PASSPORT
from .plan import Create, Plan, Regenerate, Replace, Touch
from .record import NO_DATA, Login, unpack
from .settings import SessionSettings
from .state import Event, Found, Held, Intent, Loaded, Owed, State
from .store import LOCK_MS, Replaced, Stored, Version

__all__ = [
    "check_reload",
    "destroy",
    "detach",
    "invalidate",
    "is_own_write",
    "is_repeatable",
    "merge_conflict",
    "note_committed",
    "note_deleted",
    "note_destroyed",
    "note_done",
    "note_ended",
    "note_first_load",
    "note_loaded",
    "note_locked",
    "note_looked_up",
    "note_outrun",
    "note_reloaded",
    "note_taken",
    "note_unavailable",
    "note_unlocked",
    "regenerate",
    "unset",
]

_tuple: Final = tuple.__new__
"""As `Stored` does, which is a Python function around it."""
_UNCHANGED: Final = Intent.NONE
_RECORD: Final = Found.RECORD  # looking a member up costs a call until Python 3.12
_COMMITTED: Final = Event.COMMITTED
_END_BROUGHT: Final = (Intent.DESTROY, Intent.INVALIDATE)

# -- what the application asks --------------------------------------------------------------------------------------------


def regenerate(state: State, *, keep_data: bool) -> None:
    """Go on under a new id. The caller has loaded the session."""
    _change_id(state)
    state.asked += 1
    if not keep_data:
        _renew(state)


def _change_id(state: State) -> None:
    state.on(Event.REGENERATE)
    _leave_id(state)
    state.ensure_id()


def invalidate(state: State) -> None:
    """End all that the request brought, and go on empty, under a new id. Nothing needs to have been loaded."""
    state.on(Event.INVALIDATE)
    state.asked += 1
    _leave_id(state)
    _renew(state)
    if state.sent:
        state.data = ClosedData()


def _leave_id(state: State) -> None:
    state.id = None
    if state.owed is not None and not state.owed.expires:  # it would send the id that ends now
        state.owed = None


def _renew(state: State) -> None:
    """Nothing of what was loaded goes on: whatever is put in from now on is a change."""
    state.renewed = True
    if not isinstance(state.data, ClosedData):
        state.data = {}
    state.dirty, state.removed = {}, False
    state.cookie = state.created = state.login = state.increments = None
    settle_parts(state)


def destroy(state: State) -> None:
    """End all that the request brought, and the object with it."""
    state.on(Event.DESTROY)
    state.asked += 1
    state.data, state.dirty, state.cookie = None, {}, None


def unset(state: State) -> None:
    """Save nothing of the request; where the session was regenerated or invalidated, destroy it."""
    state.on(Event.UNSET)
    state.asked += 1
    if state.intent is Intent.DESTROY:
        state.data, state.dirty, state.cookie = None, {}, None


# -- what the store returned ------------------------------------------------------------------------------------------


def note_loaded(state: State, verified: Verified, key: str, found: Stored | Replaced | None) -> bool:
    """Note what the store has under an id that the request brought; True if that is its session.

    An unknown id is never adopted (contract 47). One from another library's cookie is changed, without being asked: it may be unsigned.
    """
    if isinstance(found, Stored):
        state.found = _RECORD
        state.id, state.came_as, state.loaded = verified.id, verified, Loaded(key, found)
        source = state.arrival.source
        if source is not None and source.is_old(verified.id):
            look_at(state)
            if state.found is _RECORD:  # and readable
                _change_id(state)
        return True
    if found is not None:
        state.found = Found.TOMBSTONE
    elif state.found is not Found.TOMBSTONE:
        state.found = Found.NOTHING
    if log.isEnabledFor(DEBUG):
        log.debug("session %s is not live: %s", mask_id(verified.id), state.found.value)
    return False


def note_locked(state: State, key: str, token: str, *, unbroken: bool = True) -> None:
    """The session's lock is this request's."""
    state.lock = Held(key, token, state.now() + LOCK_MS, unbroken)


def note_unlocked(state: State) -> None:
    """It is given back."""
    state.lock = None


def note_outrun(state: State) -> None:
    """A parallel request has given the session, which came by another library's cookie, an id of ours: this one is anonymous, and saves nothing."""
    state.on(Event.DISCARD)
    state.found, state.loaded = Found.TOMBSTONE, None
    log.info(
        "session %s was moved by a parallel request: what this one changed is not saved",
        mask_id(state.came_as_id() or ""),
    )


def note_unavailable(state: State) -> None:
    """The look-up failed."""
    state.found = Found.UNAVAILABLE


def note_deleted(state: State, plan: Plan, count: int) -> None:
    """The plan's endings are done, of so many live records."""
    note_destroyed(state, plan.ends, count)
    if plan.asked == state.asked:
        _note_brought_ended(state)
    if state.loaded is not None and state.loaded.key in plan.ends:
        state.loaded = None
    if state.loaded is None:
        state.found = Found.NOTHING


def _note_brought_ended(state: State) -> None:
    if state.intent in _END_BROUGHT:
        state.brought_ended = True


def note_committed(state: State, plan: Plan, version: Version = None) -> None:
    """The plan is done; ``version`` is the one of the record that it wrote. What was asked for meanwhile is still to be done."""
    write, is_all = plan.write, plan.asked == state.asked
    if is_all and plan.header is not None:  # owed to the response if this was a save() before it
        state.owed = Owed(plan.header, plan.expires, plan.at)
    if write is not None:
        if type(write) is Touch:
            loaded = state.loaded
            assert loaded is not None
            key, record = write.key, loaded.record
            stored = Stored(loaded.stored.data, loaded.stored.version, write.ttl)
        else:
            key, record = write.new if type(write) is Regenerate else write.key, plan.record
            stored = _tuple(Stored, (write.data, version, write.ttl))
            state.saved = True
            if state.increments:
                state.increments = _increments_since(plan, state.increments)
        state.found, state.loaded = _RECORD, Loaded(key, stored, record)
        expiries = state.settings.expiries
        if expiries is not None:
            expiries.note(key, state.now() + write.ttl)
    elif is_all and state.intent is Intent.REGENERATE:  # nothing was worth storing: a new session all the same
        state.found = Found.NOTHING
    if not is_all or state.intent is _UNCHANGED:
        return
    _note_brought_ended(state)
    if state.renewed and (plan.record is not None or state.loaded is None):
        state.renewed = False
    state.on(_COMMITTED)


def note_done(state: State, plan: Plan) -> None:
    """Note for whoever listens what a plan's write has done."""
    write = plan.write
    if isinstance(write, Create):
        note(state, "created", write.key, owner=write.owner)
    elif isinstance(write, Regenerate):
        if plan.invalidates:
            note(state, "destroyed", write.old)
            note(state, "created", write.new, owner=write.owner)
        else:
            note(state, "regenerated", write.new, owner=write.owner, former=write.old)
    elif isinstance(write, Replace) and plan.changed:
        note(state, "changed", write.key, owner=write.owner)


def note_destroyed(state: State, keys: tuple[str, ...], count: int) -> None:
    """Note for whoever listens that so many of these have ended: first the session that was looked up, as it is known to have lived."""
    if not state.settings.tells:
        return
    loaded, record = state.loaded, loaded_record(state)
    own = None if loaded is None else loaded.key
    for key in sorted(keys, key=lambda key: key != own)[:count]:
        note(state, "destroyed", key, owner=None if key != own or record is None else record.owner)


def note_looked_up(state: State, expired: Container[str] = ()) -> None:
    """Note for whoever listens what a look-up has found; ``expired`` are the keys whose time the store knows to be up."""
    loaded = state.loaded
    if loaded is not None:
        note(state, "loaded", loaded.key, owner=None if loaded.record is None else loaded.record.owner)
    elif state.found is Found.NOTHING:
        for key in state.arrival.keys:
            if key in expired:
                note(state, "expired", key)
            else:
                note(state, "refused", key, reason="unknown")


def _increments_since(plan: Plan, increments: dict[str, float]) -> dict[str, float] | None:
    """What was added since a plan was made."""
    before = plan.increments or {}
    return {key: total - before.get(key, 0) for key, total in increments.items() if total != before.get(key)} or None


def is_own_write(settings: SessionSettings, plan: Plan, data: bytes, key: str) -> bool:
    """Whether a stored record is the one that this plan wrote: how a writer that lost the reply learns the outcome."""
    try:
        record = unpack(settings.codec.unseal(data, key))
    except SessionDecodeError:
        return False
    return plan.record is not None and record.write == plan.record.write


def is_repeatable(state: State) -> bool:
    """Whether this request's changes may be merged twice: setting a value may, adding to a number or a list may not."""
    base = state.base
    if base is None or state.data is None:  # there is nothing to merge
        return True
    mine = encode(state)
    return merge(base.data, mine, mine, increments=state.increments or {}) is mine


def merge_conflict(state: State, stored: Stored) -> None:
    """After a conflict: merge this request's changes into what the store holds now.

    Raises:
        SessionConflict: an exclusive request and another changed the same.
        SessionDecodeError: what the store holds is unreadable.
        SessionEncodeError: a value cannot be stored, or an incremented number is more than the codec holds.
    """
    loaded, base, settings = state.loaded, state.base, state.settings
    assert loaded is not None
    if base is None:  # regenerated without keeping data: nothing of theirs moves along, and it need not be readable
        state.loaded = Loaded(loaded.key, stored, loaded.record)
        return
    theirs = unpack_stored(settings, loaded.key, stored)
    take_lifetime(state, theirs)
    increments = state.increments or {}
    look_at(state)
    mine = encode(state)
    merged = merge(base.data, mine, theirs.data, increments=increments, exclusive=state.lock is not None)
    for key in increments:
        if key in merged and merged[key] is not theirs.data.get(key):
            _check_sum(settings, key, merged[key])
    if not state.is_cookie_changed():
        state.cookie = None  # theirs, when next asked for
    state.loaded = Loaded(loaded.key, stored, theirs)
    refill(state, merged, mine)
    note(state, "merged", loaded.key, owner=theirs.owner)


def _check_sum(settings: SessionSettings, key: str, text: Raw) -> None:
    """Refuse a sum that is more than the codec holds, though what was added up was not.

    Raises:
        SessionEncodeError: it is.
    """
    try:
        settings.codec.encode(loads(bytes(text)))
    except SessionEncodeError as error:
        raise SessionEncodeError(path_of(key, error.path), error.reason) from None


def detach(state: State) -> None:
    """The session to be regenerated has ended meanwhile: only what this request itself put in goes into the new one.

    Where it was invalidated, the caller has ended what it had become.
    """
    base, login = state.base, state.login
    if base is not None and login is not None and _is_same_login(login, base.login):
        state.login = None  # it was stored before, and ended
    look_at(state)
    mine = encode(state)
    merged = None if base is None else merge(base.data, mine, NO_DATA)
    if merged is not None and state.login is not None and state.settings.options.passport and PASSPORT in mine:
        # Part of the login, even where the same user stood there before.
        merged = {**merged, PASSPORT: mine[PASSPORT]}
    log.info("session %s had ended when it was regenerated; its data is not carried over", mask_id(state.id or ""))
    state.loaded = state.created = None
    state.found = Found.NOTHING
    if merged is not None:
        refill(state, merged, mine)
    _note_brought_ended(state)


def _is_same_login(one: Login, other: Login) -> bool:
    """Whether nobody gave a password between the two: there may be a stamp under a newer secret, or the provider's id."""
    return replace(one, stamp=other.stamp, sid=other.sid) == other


def note_taken(state: State) -> None:
    """The new id is in use: another is generated when one is next needed."""
    state.id = None


def note_ended(state: State, *, changed: bool) -> None:
    """The session has ended elsewhere while the request ran: nothing of it is saved, and no cookie is sent."""
    if changed:
        log.warning(
            "session %s ended while a request was changing it; the changes are not saved", mask_id(state.id or "")
        )
    state.owed = None  # what an earlier save() stored has gone with it
    state.on(Event.ENDED)


def note_reloaded(state: State, key: str, found: Stored | Replaced | None) -> None:
    """Discard this request's changes: the session is what the store holds now (contract 149).

    Raises:
        SessionNotFound: that is nothing; the session stays as it was (contract 150).
    """
    if not isinstance(found, Stored):
        raise SessionNotFound("the session has no live record")
    state.on(Event.RELOADED)
    state.found, state.loaded, state.renewed = Found.RECORD, Loaded(key, found), False
    state.data = state.cookie = state.created = state.login = state.increments = None
    state.dirty, state.removed = {}, False
    settle_parts(state)
    came_as = state.came_as if state.intent is _UNCHANGED else None
    if came_as is not None and key == state.settings.key_of(came_as.id):  # a regenerate that was given up had another
        state.id = came_as.id
    look_at(state)  # looked at, whether or not it is again: the response may depend on it (contract 101)


def note_first_load(state: State) -> None:
    """A ``reload()`` of what had not been loaded has looked it up.

    Raises:
        SessionNotFound: there is nothing; the session stays as it was.
    """
    loaded = state.loaded
    if loaded is None:
        raise SessionNotFound("the session has no live record")
    note_reloaded(state, loaded.key, loaded.stored)


# -- what cannot be done any more -----------------------------------------------------------------------------------------


def check_reload(state: State) -> None:
    """Refuse a ``reload()`` of what is not stored.

    Raises:
        SessionDestroyed: the session was destroyed.
        SessionNotFound: it was regenerated or invalidated, and has not been stored since.
    """
    if state.intent is Intent.DESTROY:
        raise SessionDestroyed("the session was destroyed earlier in this request")
    if state.intent in (Intent.REGENERATE, Intent.INVALIDATE) and state.asked:
        raise SessionNotFound("the session has no live record")
