"""What a session becomes once the store has answered: found, committed, in conflict, or gone. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from logging import DEBUG
from typing import Any

from ..codecs import dumps, loads
from ..errors import SessionDecodeError, SessionLate
from ..ids import mask_id
from ..logs import log
from ..wire.signing import Verified
from .merge import merge
from .plan import Create, Delete, Plan, Regenerate
from .record import unpack
from .session import BaseSession, Origin, StoredRecord
from .settings import Rules

__all__ = ["arrived", "committed", "gone", "is_repeatable", "orphan", "rebase", "refuse_late_save", "reloaded", "wrote"]


def arrived(session: BaseSession, verified: Verified, key: str, found: Any) -> bool:
    """Note what the store has under an id that the request brought; True if that is its session.

    ``found`` is what a store's load gives: a record, None, or what stands for a replaced key. An unknown id is never adopted
    (contract 47).
    """
    if found:
        session._origin = Origin.STORED
        session._id, session._stored_key, session._stored = verified.id, key, found
        if verified.stale:
            session._stale, session._quiet = True, False
    else:
        replaced = found is not None or session._origin is Origin.REPLACED
        session._origin = Origin.REPLACED if replaced else Origin.NEW
        session._id = session._stored_key = None
    if session._way is not None:
        session._way.current = session._way.brought[verified.id] if found else None
    if log.isEnabledFor(DEBUG):
        log.debug("session %s: %s", mask_id(verified.id), session._origin.value)
    return session._origin is Origin.STORED


def committed(session: BaseSession, plan: Plan, stored: StoredRecord | None) -> None:
    """Note that the plan's write is done; ``stored`` is what now lies under the session's key, if anything does."""
    write = plan.write
    session._touched = False
    session._quiet = plan.header is None and not session._destroyed and session._cookie is None
    if plan.header is not None:  # owed to the response if this was a save() before it
        session._told_due = "expire" if session._destroyed else "send"
        session._told_at = plan.at
    if isinstance(write, Delete):
        session._origin, session._stored_key = Origin.NEW, None
        return
    session._stored = stored
    if isinstance(write, Create | Regenerate):
        session._stored_key = write.key if isinstance(write, Create) else write.new
    if plan.record is not None:
        session._origin = Origin.STORED
        session._record = plan.record
        session._saved = True
        session._initial = plan.record.overrides
        session._regenerated = False
        session._increments = None
    expiries = session._rules.expiries
    if expiries is not None and session._stored_key is not None and write is not None:
        expiries.note(session._stored_key, session._now() + write.ttl)


def wrote(rules: Rules, plan: Plan, data: bytes, key: str) -> bool:
    """Whether a stored record is the one that this plan wrote: how a writer that lost the reply learns the outcome."""
    try:
        record, _tree = unpack(rules.codec.unseal(data, key))
    except SessionDecodeError:
        return False
    return plan.record is not None and record.write == plan.record.write


def is_repeatable(session: BaseSession) -> bool:
    """Whether this request's changes may be merged twice: setting a value may, adding to a number or a list may not."""
    record = session._record
    if record is None:
        return True
    mine = loads(session._rules.codec.encode(session._mapping()))
    merged = merge(loads(record.body), mine, mine, increments=session._increments or {})
    return bool(merged == mine)


def rebase(session: BaseSession, plan: Plan, stored: StoredRecord) -> bytes | None:
    """After a plan met a conflict: merge this request's changes into what the store holds now.

    Answers the text of the merged data, so that they need not be encoded anew while others write on; None where nothing was
    merged.

    Raises:
        SessionConflict: an exclusive request lost its lock, and another changed the same.
        SessionDecodeError: what the store holds is unreadable.
        SessionEncodeError: an incremented number is more than the codec holds.
    """
    key, record, codec = session._stored_key, session._record, session._rules.codec
    assert key is not None
    theirs, tree = unpack(codec.unseal(stored.data, key))
    session._stored = stored
    if record is None:  # regenerated without keeping data: nothing of theirs moves along
        return None
    own_cookie = session._overrides() != session._initial if session._cookie is not None else False
    assert plan.record is not None
    mine = loads(plan.record.body)
    increments = session._increments or {}
    merged = merge(loads(record.body), mine, tree, increments=increments, exclusive=session._lock is not None)
    codec.encode({key: merged[key] for key in increments if key in merged})  # sums alone may be more than a codec holds
    text = _refill(session, merged)
    session._record = theirs
    session._initial = theirs.overrides
    if not own_cookie:
        session._cookie = None  # theirs, when next asked for
    if not session._regenerated:
        session._owner, session._auth = theirs.owner, theirs.auth
    return text


def orphan(session: BaseSession) -> None:
    """The session to be regenerated has ended meanwhile: only what this request itself put in goes into the new one."""
    record = session._record
    if record is not None:
        _refill(session, merge(loads(record.body), loads(session._rules.codec.encode(session._mapping())), {}))
        if (session._owner, session._auth) == (record.owner, record.auth):
            session._owner = session._auth = None
    log.info("session %s had ended when it was regenerated; its data are not carried over", mask_id(session._id or ""))
    session._record = session._stored = session._stored_key = session._created = None
    session._origin = Origin.NEW


def _refill(session: BaseSession, tree: dict[str, Any]) -> bytes:
    """Make a tree the session's data; answers its text."""
    data, text = session._mapping(), dumps(tree)
    data.clear()
    data.update(session._rules.codec.revive(tree, text))
    return text


def gone(session: BaseSession, *, changed: bool) -> None:
    """The session has ended elsewhere while the request ran: nothing of it is saved, and no cookie sent."""
    if changed:
        log.warning(
            "session %s ended while a request was changing it; the changes are not saved", mask_id(session._id or "")
        )
    session._told_due = None  # what an earlier save() stored has gone with it
    session._drop()
    session._ended = True


def reloaded(session: BaseSession, key: str, stored: StoredRecord) -> None:
    """Discard this request's changes: the session is what the store holds now (contract 149)."""
    session._origin, session._stored_key, session._stored = Origin.STORED, key, stored
    session._data = session._record = session._cookie = session._increments = None
    session._regenerated = session._touched = session._dropped = session._ended = False
    session._mapping()  # looked at, whether or not it is again: the response may depend on it (contract 101)


def refuse_late_save(session: BaseSession) -> None:
    """Refuse a ``save()`` that would need a cookie which can no longer be set.

    Raises:
        SessionLate: the session is new or regenerated, and the response headers have left.
    """
    if session._late and not session._destroyed and (session._origin is not Origin.STORED or session._regenerated):
        raise SessionLate("the response headers have left, so no cookie can carry the new session id")


def replace_data(session: BaseSession, data: Mapping[str, Any]) -> None:
    """Make a mapping that the app put in the session's place the session's data (contract 58)."""
    copy = dict(data)
    session.clear()
    session.update(copy)
