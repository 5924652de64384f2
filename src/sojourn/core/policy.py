"""Every rule about when a session is written, touched, ended, and when the client is told its id: values in, a `Plan` out, no I/O.

The two tables below are the decisions of contract sections 8, 9, 12 and 13, with our differences:

- what the request did to its session (`Ending`) and where the session came from (`Origin`) give the write;
- the write, and what is configured, give the cookie, or the header that stands for it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from ..codecs import dumps, loads
from ..cookie import Cookie
from ..errors import SessionEncodeError, StoreUnavailable
from ..logs import log, warn_once
from ..options import Options
from ..transports import CookieTransport, HeaderTransport
from ..wire.cookies import render
from .plan import Create, Delete, Ending, Header, Phase, Plan, Regenerate, Replace, Touch, Write
from .record import Record, lifetime_prefix, pack
from .session import BaseSession, Origin
from .session_cookie import stored_as_configured
from .settings import Expiries, Rules
from .transitions import replace_data

__all__ = ["Policy"]

_WRITE_BITS: Final = 48  # below 2^53, so that Express carries the number unharmed


_WRITES: Final[Mapping[Origin, Mapping[Ending, type[Write]]]] = {
    Origin.NEW: {Ending.REGENERATED: Create, Ending.CHANGED: Create, Ending.RESAVED: Create},
    Origin.STORED: {
        Ending.DESTROYED: Delete,
        Ending.REGENERATED: Regenerate,
        Ending.EMPTIED: Delete,
        Ending.CHANGED: Replace,
        Ending.RESAVED: Replace,
        Ending.TOUCHED: Touch,
    },
    Origin.UNLOADED: {Ending.DESTROYED: Delete},
    Origin.REPLACED: {Ending.REGENERATED: Create},
    Origin.UNSAVED: {Ending.DESTROYED: Delete},
}
_ALLOWED: Final[Mapping[Phase, frozenset[Ending]]] = {
    Phase.RESPONSE: frozenset(Ending),
    Phase.LATE: frozenset({Ending.DESTROYED, Ending.CHANGED, Ending.TOUCHED}),
    Phase.FAILED: frozenset({Ending.DESTROYED}),
}
_NEEDS_TELLING: Final = (Create, Regenerate)  # of no use unless the client learns the id


_EMPTY: Final = b"{}"
_NOTHING: Final = Plan()
_SEEN: Final = Plan(vary=True)


class Policy:
    """The rules, under one middleware's options."""

    __slots__ = ("_always", "_calm", "_calm_prefix", "options", "rules")

    def __init__(self, options: Options, rules: Rules | None = None) -> None:
        self.options = options
        self.rules = Rules(options) if rules is None else rules
        cookie = options.cookie
        # A loaded session needs something at every response, or else only once less than `_calm` milliseconds are left.
        self._always = options.rolling or options.resave or not isinstance(cookie, Cookie)
        self._calm, self._calm_prefix = 0, b""
        if isinstance(cookie, Cookie):
            idle = self.rules.idle_ms(cookie, {})
            self._calm = idle - self.rules.touch_after_ms(idle)
            self._calm_prefix = lifetime_prefix(cookie.max_age_ms)

    def unset(self, session: BaseSession, value: object) -> None:
        """Apply what the app put in the session's place: None (or nothing) unsets it, a mapping replaces its data."""
        if value is None:
            if self.options.unset == "destroy":
                session.destroy()
            else:
                session._drop()
        elif isinstance(value, Mapping) and not session._destroyed:
            replace_data(session, value)
        else:
            log.error("the request's session was replaced by a %s: ignored", type(value).__name__)

    def close(self, session: BaseSession, phase: Phase = Phase.RESPONSE, body: bytes | None = None) -> Plan:
        """What to do with a session now. ``body`` is the text of its data where that is known.

        Raises:
            SessionEncodeError: a value cannot be stored.
            StoreUnavailable: the session could not be loaded and was regenerated: the old id cannot be ended.
        """
        if session._quiet and phase is Phase.RESPONSE:
            data = session._data
            if body is None and data is not None:
                body = self._text(session, data)
            if self._is_idle(session, body):
                return _NOTHING if data is None else _SEEN
        seen = session._data is not None or session._destroyed
        now = self.options.clock()
        ending, body = self._ending(session, phase, now, body)
        if ending not in _ALLOWED[phase]:
            self._refuse(session, ending, phase)
            return Plan(ending, vary=seen)
        if session._origin is Origin.UNSAVED and ending in (Ending.REGENERATED, Ending.EMPTIED):
            raise StoreUnavailable("the session was not loaded, so its old id cannot be ended")
        kind = _WRITES[session._origin].get(ending)
        if kind in _NEEDS_TELLING and not self._can_tell(session):
            kind = Delete if kind is Regenerate else None
        if kind in _NEEDS_TELLING and phase is Phase.LATE:
            self._refuse(session, ending, phase)
            return Plan(ending, vary=seen)
        write, record = self._write(session, kind, body, now)
        header = self._header(session, ending, write, now) if phase is Phase.RESPONSE else None
        return Plan(ending, write, header, seen, record, now)

    def _text(self, session: BaseSession, data: dict[str, Any]) -> bytes:
        """The data as they would be stored.

        Raises:
            SessionEncodeError: a value cannot be stored.
        """
        before = _EMPTY if session._record is None else session._record.body
        return before if _is_same(data, before) else self.rules.codec.encode(data)

    def _is_idle(self, session: BaseSession, body: bytes | None) -> bool:
        """Whether a session of which only the data were looked at, if that, needs nothing. The short way for most requests."""
        origin = session._origin
        if origin is Origin.NEW:
            return body is None and not self.options.save_uninitialized
        if origin is not Origin.STORED or self._always:
            return False
        if body is not None and body != session._record.body:  # type: ignore[union-attr]  # it was decoded
            return False
        stored = session._stored
        left = stored.expires_in  # type: ignore[union-attr]  # it was loaded
        return left is not None and left > self._calm and stored.data.startswith(self._calm_prefix)  # type: ignore[union-attr]

    def is_settled(self, session: BaseSession) -> bool:
        """Whether nothing happened to a session since its response left, told as cheaply as can be.

        The same text will do by then: it could only miss a value that was exchanged for one of another type with that text.
        """
        record = session._record
        if not session._quiet or session._data is None or record is None:
            return session._data is None and not session._destroyed
        try:
            return dumps(session._data) == record.body
        except (SessionEncodeError, TypeError, ValueError):
            return False

    def _ending(self, session: BaseSession, phase: Phase, now: int, body: bytes | None) -> tuple[Ending, bytes]:
        """What the request did, and the text of its data, unless they are not wanted. ``body`` is that text where it is known."""
        options = self.options
        if session._destroyed:
            return Ending.DESTROYED, b""
        if session._dropped or session._origin is Origin.UNLOADED:
            return (Ending.DROPPED if session._dropped else Ending.UNCHANGED), b""
        if session._origin is Origin.STORED and (options.rolling or options.resave or session._stale):
            session._mapping()
        changed, data = False, session._data
        if data is None:
            body = _EMPTY
        else:
            body = self._text(session, data) if body is None else body
            before = _EMPTY if session._record is None else session._record.body
            changed = body != before or (session._cookie is not None and session._cookie.overrides != session._initial)
        if session._regenerated:
            # What was stored before and kept stays stored.
            worth = changed or session._record is not None or session._owner is not None or options.save_uninitialized
            return (Ending.REGENERATED if worth else Ending.EMPTIED), body
        if changed:
            return Ending.CHANGED, body
        resave = options.save_uninitialized if session._origin is Origin.NEW else options.resave
        if resave and not session._saved:
            return Ending.RESAVED, body
        if session._origin is Origin.STORED and (
            session._touched or (phase is not Phase.LATE and self._touch_due(session, now))
        ):
            return Ending.TOUCHED, body
        return Ending.UNCHANGED, body

    def _touch_due(self, session: BaseSession, now: int) -> bool:
        """Whether a touch would move the expiry by at least ``touch_after``. Decodes only if the answer is not plain without."""
        rules, stored, key = self.rules, session._stored, session._stored_key
        assert stored is not None and key is not None
        remaining = stored.expires_in
        told = remaining is not None
        if remaining is None:
            if rules.expiries is None:
                rules.expiries = Expiries()
            remaining = rules.expiries.remaining(key, now)
        config = session._config
        if session._cookie is None and stored.data.startswith(lifetime_prefix(config.max_age_ms)):
            # Its lifetime is the configured one, and most of that is left.
            idle = rules.idle_ms(config, {})
            if idle - remaining < rules.touch_after_ms(idle):
                return False
        session._mapping()
        if session._origin is not Origin.STORED:  # its record was unreadable
            return False
        idle = rules.idle_ms(config, session._overrides())
        left = session._deadline_from(now) - now
        # What this process last set is void where another has given the session a shorter life since.
        return left - remaining >= rules.touch_after_ms(idle) or (not told and remaining > left)

    def _can_tell(self, session: BaseSession) -> bool:
        """Whether the id can reach the client and come back."""
        if session._the_id() is None:
            return False
        if session._way is not None and not isinstance(session._way.carrier, CookieTransport):
            return True
        if not session._secure and session._the_cookie().sent_secure(secure=False):
            warn_once(
                "secure",
                "a session was not stored, as its cookie is Secure but the request came over plain http; behind a proxy "
                "that ends TLS set trust_proxy=True, for development over http set cookie.secure='auto'",
            )
            return False
        return True

    def _refuse(self, session: BaseSession, ending: Ending, phase: Phase) -> None:
        """Say what a late request asked for in vain; what needs no saying is left out."""
        if phase is Phase.LATE and ending in (Ending.REGENERATED, Ending.EMPTIED, Ending.CHANGED):
            log.error(
                "a session was %s after the response headers had left, when no cookie can be set: nothing is stored",
                "changed for the first time" if ending is Ending.CHANGED else "regenerated",
            )
            session._drop()

    def _write(
        self, session: BaseSession, kind: type[Write] | None, body: bytes, now: int
    ) -> tuple[Write | None, Record | None]:
        key = session._stored_key
        if kind is None:
            return None, None
        if kind is Delete:
            if key is None and session._id is not None:  # never loaded
                key = self.rules.key_of(session._id)
            return (None if key is None else Delete(key)), None
        rules, stored, overrides = self.rules, session._stored, session._overrides()
        created = session._the_created()
        ttl = max(1, rules.deadline(now, created, rules.idle_ms(session._config, overrides)) - now)
        if kind is Touch:
            assert key is not None
            return Touch(key, ttl), None
        session_id = session._the_id()
        assert session_id is not None
        record = Record(
            body=body,
            cookie=session._the_cookie().stored(now, secure=session._secure)
            if overrides
            else stored_as_configured(session._config, now, secure=session._secure),
            created=created,
            owner=session._owner,
            auth=session._auth,
            overrides=dict(overrides) if overrides else {},
            write=random.getrandbits(_WRITE_BITS),
        )
        name = key if kind is Replace and key is not None else rules.key_of(session_id)
        data = rules.codec.seal(pack(record), name)
        if kind is Create:
            return Create(name, data, ttl, record.owner), record
        assert stored is not None and key is not None
        if kind is Replace:
            return Replace(key, data, ttl, stored.version, record.owner), record
        tombstone = self.options.profile.tombstone_ms
        return Regenerate(key, name, data, ttl, stored.version, tombstone, record.owner), record

    # -- what the client is told ----------------------------------------------------------------------------------------

    def _header(self, session: BaseSession, ending: Ending, write: Write | None, now: int) -> Header | None:
        due = session._told_due
        if due is not None and write is None:
            now = session._told_at  # one expiry for record, store and cookie (contract 84)
        expire = due == "expire" or (ending is Ending.DESTROYED and isinstance(write, Delete))
        is_new = not expire and (due == "send" or isinstance(write, _NEEDS_TELLING))
        if not (expire or is_new or self._send_again(session, ending)):
            return None
        way = session._way
        if way is None:
            return self._cookie(session, expire=expire, now=now)
        if way.is_borrowed and not is_new:
            return None
        carrier, session_id = way.carrier, session._id
        if isinstance(carrier, HeaderTransport):
            return None if session_id is None else (carrier.name, "" if expire else self.rules.signed(session_id))
        return None if carrier is None else self._cookie(session, expire=expire, now=now)

    def _send_again(self, session: BaseSession, ending: Ending) -> bool:
        """Whether a client that has the id gets it again (contract 35, 90, 91, 92)."""
        if session._origin is not Origin.STORED or ending in (Ending.DESTROYED, Ending.DROPPED, Ending.EMPTIED):
            return False
        if self.options.rolling or session._stale:
            return True
        if ending is not Ending.CHANGED:
            return False
        overrides = session._overrides()
        lifetime = overrides.get("originalMaxAge", session._config.max_age_ms)
        return lifetime is not None or (session._cookie is not None and overrides != session._initial)

    def _cookie(self, session: BaseSession, *, expire: bool, now: int) -> Header | None:
        cookie = session._the_cookie()
        session_id = session._id
        secure = cookie.sent_secure(session._secure)
        if session_id is None or (secure and not session._secure):
            return None
        lifetime = 0 if expire else cookie.original_max_age_ms
        return "Set-Cookie", render(
            self.rules.cookie_name(session._config, secure=session._secure),
            "" if expire else self.rules.signer.sign(session_id),
            path=cookie.path,
            domain=cookie.domain,
            expires_ms=0 if expire else None if lifetime is None else now + lifetime,
            max_age_ms=lifetime if self.options.profile.max_age_attribute else None,
            httponly=cookie.httponly,
            secure=secure,
            samesite=cookie.sent_samesite(session._secure),
            partitioned=cookie.partitioned,
            priority=cookie.priority,
        )


def _is_same(data: dict[str, object], body: bytes) -> bool:
    """Whether data are surely what a body holds: the same text and, decoded, equal. Quicker than to encode them anew.

    False where only encoding can tell: then the body has tags, or the data have what JSON does not.
    """
    try:
        return dumps(data) == body and loads(body) == data
    except (SessionEncodeError, TypeError, ValueError):
        return False
