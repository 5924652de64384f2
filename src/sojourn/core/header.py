"""What the client is told: the header that carries its session's id, or takes that from it. No I/O.

The rules of contract section 9, with our differences. The id goes the way that it came: by the cookie, or by a header.
"""

from __future__ import annotations

from typing import Final

from ..transports import HeaderTransport
from ..wire.cookies import render
from ..wire.headers import Header
from .data import loaded_record
from .plan import NEEDS_COOKIE, Write
from .record import Record
from .session_cookie import SessionCookie
from .state import Found, Intent, State

__all__ = ["cleared", "header_again", "session_header"]

_UNMOVED: Final = (Intent.NONE, Intent.TOUCH)
_RECORD: Final = Found.RECORD


def session_header(
    state: State,
    write: Write | None,
    record: Record | None,
    *,
    ends_brought: bool,
    deletes: bool,
    changed: bool,
    now: int,
) -> tuple[Header | None, bool]:
    """The header of a plan, and whether it expires what the client has.

    Args:
        state: the session.
        write: what is written.
        record: what that holds.
        ends_brought: every id that the request brought ends.
        deletes: there is something to end.
        changed: the write stores a change.
        now: when the plan is made, epoch ms.
    """
    owed = state.owed
    if isinstance(write, NEEDS_COOKIE):
        return _send(state, now), False
    if ends_brought and (deletes or (state.brought_ended and state.arrival.ids and owed is None)):
        return _expire(state), True
    if owed is not None and write is None:
        return owed.header, owed.expires  # one expiry for record, store and cookie (contract 84)
    if owed is not None:
        return _send(state, now), False
    return header_again(state, record, now, changed=changed), False


def cleared(state: State, header: Header | None, *, expires: bool) -> str | None:
    """What the browser is to forget of the site's data with a plan's header: where that tells of the session's end.

    Over https alone, as browsers pay no heed to it otherwise (W3C Clear Site Data, section 4.2).
    """
    return state.settings.clears if expires and header is not None and state.arrival.secure else None


def header_again(state: State, record: Record | None, now: int, *, changed: bool) -> Header | None:
    """The header for a client that has the id; None unless it gets it again (contract 35, 90, 91, 92)."""
    if state.found is not _RECORD or state.intent not in _UNMOVED:
        return None
    came_as, source = state.came_as, state.arrival.source
    if not (state.settings.options.rolling or (came_as is not None and came_as.needs_resigning)):
        if not changed or record is None:
            return None
        if record.lifetime is None and (state.cookie is None or not state.is_cookie_changed()):
            return None
    return None if source is not None and source.is_borrowed(state.came_as_id()) else _send(state, now)


def _send(state: State, now: int) -> Header | None:
    """The header that carries the session's id."""
    session_id, source = state.id, state.arrival.source
    if session_id is None:
        return None
    if source is not None:
        carrier = source.carrier(state.came_as_id())
        if isinstance(carrier, HeaderTransport):
            return carrier.name, state.settings.signer.token(session_id)
        if carrier is None:
            return None
    cookie = state.ensure_cookie()
    lifetime = cookie.original_max_age_ms
    return _cookie(state, cookie, state.settings.signer.sign(session_id), lifetime, now)


def _expire(state: State) -> Header | None:
    """The header that takes from the client the id that it has. Its cookie may be one of its own, which is expired where it is."""
    source, ids = state.arrival.source, state.arrival.ids
    if source is not None:
        came_as = state.came_as_id() or (ids[0].id if ids else None)
        carrier = source.carrier(came_as)
        if isinstance(carrier, HeaderTransport):
            return None if source.is_borrowed(came_as) else (carrier.name, "")
        if carrier is None or source.is_borrowed(came_as):
            return None
    record = loaded_record(state)
    return _cookie(state, state.make_cookie({} if record is None else record.overrides), "", 0, 0)


def _cookie(state: State, cookie: SessionCookie, value: str, lifetime: int | None, now: int) -> Header | None:
    """A ``Set-Cookie``; None where a browser would not take it."""
    settings, config, is_secure = state.settings, state.arrival.config, state.arrival.secure
    secure = cookie.sent_secure(is_secure)
    if secure and not is_secure:
        return None
    return "Set-Cookie", render(
        settings.naming.name_of(config, secure=is_secure),
        value,
        path=cookie.path,
        domain=cookie.domain,
        expires_ms=None if lifetime is None else now + lifetime,
        max_age_ms=lifetime if settings.options.profile.max_age_attribute else None,
        httponly=cookie.httponly,
        secure=secure,
        samesite=cookie.sent_samesite(is_secure),
        partitioned=cookie.partitioned,
        priority=cookie.priority,
    )
