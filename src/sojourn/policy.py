"""Every rule about when a session is written, touched, ended, and when its cookie is sent: values in, a `Plan` out, no I/O.

The two tables below are the decisions of contract sections 8, 9, 12 and 13, with our differences:

- what the request did to its session (`Ending`) and where the session came from (`Origin`) give the write;
- the write, and what is configured, give the cookie.
"""

from __future__ import annotations

import enum
import random
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from logging import DEBUG
from typing import Any, Final, TypeAlias

from msgspec import Struct

from .codecs import dumps, loads
from .cookies import Cookie, find_values, path_matches, render
from .errors import ConfigurationError, SessionLate, StoreUnavailable
from .ids import mask_id
from .logs import log, warn_once
from .merge import merge
from .options import Options, Request
from .record import Record, lifetime_prefix, pack, unpack
from .rules import Rules
from .session import BaseSession, Origin, StoredRecord, replace_data
from .signing import Signer, Verified

__all__ = ["Create", "Delete", "Ending", "Phase", "Plan", "Policy", "Regenerate", "Replace", "Touch", "Write"]

_MOST_IDS: Final = 8  # distinct, rightly signed ids of one request that are looked up
_MOST_RECENT: Final = 10_000  # sessions whose last touch is remembered where the store does not tell
_WRITE_BITS: Final = 48  # below 2^53, so that Express carries the number unharmed


class Create(Struct, frozen=True):
    """Insert a record under a new key."""

    key: str
    data: bytes
    ttl: int
    owner: str | None


class Replace(Struct, frozen=True):
    """Overwrite a record if it is still the one that was loaded."""

    key: str
    data: bytes
    ttl: int
    version: Any
    owner: str | None


class Regenerate(Struct, frozen=True):
    """Move a session to a new key."""

    old: str
    new: str
    data: bytes
    ttl: int
    version: Any
    tombstone: int
    owner: str | None


class Touch(Struct, frozen=True):
    """Set the expiry anew."""

    key: str
    ttl: int


class Delete(Struct, frozen=True):
    """End a session."""

    key: str


Write: TypeAlias = Create | Replace | Regenerate | Touch | Delete


class Ending(enum.Enum):
    """What a request did to its session: the first of these that applies."""

    DESTROYED = enum.auto()
    DROPPED = enum.auto()  # set to None with unset="keep" (contract 161)
    REGENERATED = enum.auto()
    EMPTIED = enum.auto()  # regenerated, and the new session has nothing worth saving
    CHANGED = enum.auto()
    RESAVED = enum.auto()  # unchanged, but configured to be saved: resave, save_uninitialized
    TOUCHED = enum.auto()  # unchanged, and a touch is asked for or due
    UNCHANGED = enum.auto()


class Phase(enum.Enum):
    """When a session is committed."""

    RESPONSE = enum.auto()
    """The headers are about to leave."""
    LATE = enum.auto()
    """They have left; the app is done, or calls ``save()``."""
    FAILED = enum.auto()
    """The handler raised and nothing was sent: nothing is saved, but a destroy is carried out."""


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
_NEEDS_COOKIE: Final = (Create, Regenerate)  # of no use unless the browser learns the id


class Plan(Struct, frozen=True):
    """What a commit comes to: at most one write, and at most one cookie."""

    ending: Ending = Ending.UNCHANGED
    write: Write | None = None
    cookie: str | None = None
    """A whole ``Set-Cookie`` value."""
    vary: bool = False
    """The session was looked at: the response depends on the cookie (contract 101)."""
    record: Record | None = None
    """What the write holds, taken apart."""


_NOTHING: Final = Plan()
_SEEN: Final = Plan(vary=True)


class _Expiries:
    """Where a store cannot tell a record's remaining time, what this process last set. Bounded: a touch too many is harmless."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[str, int] = OrderedDict()

    def remaining(self, key: str, now: int) -> int:
        return max(0, self._known.get(key, 0) - now)

    def note(self, key: str, expiry: int) -> None:
        self._known[key] = expiry
        self._known.move_to_end(key)
        if len(self._known) > _MOST_RECENT:
            self._known.popitem(last=False)


class Policy:
    """The rules, under one middleware's options."""

    __slots__ = ("_expiries", "_names", "_signer", "options", "rules")

    def __init__(self, options: Options, rules: Rules | None = None) -> None:
        self.options = options
        self.rules = Rules(options) if rules is None else rules
        self._signer = Signer(options.secrets, options.profile.signature)
        self._expiries: _Expiries | None = None
        self._names = (
            {s: self.rules.cookie_name(options.cookie, secure=s).encode() for s in (False, True)}
            if isinstance(options.cookie, Cookie)
            else None
        )

    # -- entering a request -----------------------------------------------------------------------------------------

    def cookie_for(self, request: Request, path: str) -> Cookie | None:
        """The cookie as configured for this request; None where there is no session: outside its path, or excluded."""
        for excluded in self.options.exclude:
            if path_matches(path, excluded):
                return None
        cookie = self.options.cookie
        if not isinstance(cookie, Cookie):
            cookie = cookie(request)
            if not isinstance(cookie, Cookie):
                raise ConfigurationError("cookie", type(cookie).__name__, "the function must answer a sojourn.Cookie")
        # An empty path is the root (contract 25).
        return cookie if cookie.path == "/" or path_matches(path or "/", cookie.path) else None

    def ids(self, headers: Iterable[bytes], cookie: Cookie, *, secure: bool) -> list[Verified]:
        """The rightly signed ids in the request's Cookie headers, in order; every cookie of the name is tried (contract 36)."""
        if self._names is None:
            name = self.rules.cookie_name(cookie, secure=secure).encode()
        else:
            name = self._names[secure]
        found: list[Verified] = []
        for header in headers:
            for value in find_values(header, name):
                verified = self._signer.verify(value)
                if verified is None:
                    log.debug("a session cookie was not signed by us: ignored")
                elif len(found) < _MOST_IDS and verified not in found:
                    found.append(verified)
        return found

    # -- leaving it ---------------------------------------------------------------------------------------------------

    def unset(self, session: BaseSession, value: object) -> None:
        """Apply what the app put in the session's place: None (or nothing) unsets it, a mapping replaces its data."""
        if value is None:
            if self.options.unset == "destroy":
                session.destroy()
            else:
                session._dropped = True
        elif isinstance(value, Mapping):
            replace_data(session, value)
        else:
            log.error("the request's session was replaced by a %s: ignored", type(value).__name__)

    def close(self, session: BaseSession, phase: Phase = Phase.RESPONSE) -> Plan:
        """What to do with a session now.

        Raises:
            SessionEncodeError: a value cannot be stored.
            StoreUnavailable: the session could not be loaded and was regenerated: the old id cannot be ended.
        """
        seen = session._data is not None
        if not seen and session._origin is Origin.NEW and not self.options.save_uninitialized and session._cookie_due is None:
            return _NOTHING
        now = self.options.clock()
        ending, body = self._ending(session, now)
        if ending is Ending.UNCHANGED and not self.options.rolling and not session._stale and session._cookie_due is None:
            return _SEEN if seen else _NOTHING
        if ending not in _ALLOWED[phase]:
            self._refuse(session, ending, phase)
            return Plan(ending, vary=seen)
        if session._origin is Origin.UNSAVED and ending is Ending.REGENERATED:
            raise StoreUnavailable("the session was not loaded, so its old id cannot be ended")
        kind = _WRITES[session._origin].get(ending)
        if kind in _NEEDS_COOKIE and not self._can_tell(session):
            kind = Delete if kind is Regenerate else None
        if kind in _NEEDS_COOKIE and phase is Phase.LATE:
            self._refuse(session, ending, phase)
            return Plan(ending, vary=seen)
        write, record = self._write(session, kind, body, now)
        cookie = self._cookie(session, ending, write, now) if phase is Phase.RESPONSE else None
        return Plan(ending, write, cookie, seen or session._destroyed, record)

    def _ending(self, session: BaseSession, now: int) -> tuple[Ending, bytes]:
        options = self.options
        if session._destroyed:
            return Ending.DESTROYED, b""
        if session._dropped or session._origin is Origin.UNLOADED:
            return (Ending.DROPPED if session._dropped else Ending.UNCHANGED), b""
        if session._origin is Origin.STORED and (options.rolling or options.resave or session._stale):
            session._mapping()
        changed, body = False, b"{}"
        if session._data is not None:
            body = self.rules.codec.encode(session._data)
            record = session._record
            cookie = session._cookie
            changed = body != (b"{}" if record is None else record.body) or (
                cookie is not None and cookie.overrides != session._initial
            )
        if session._regenerated:
            # What was stored before and kept stays stored.
            worth = changed or session._record is not None or session._owner is not None or options.save_uninitialized
            return (Ending.REGENERATED if worth else Ending.EMPTIED), body
        if changed:
            return Ending.CHANGED, body
        if options.save_uninitialized if session._origin is Origin.NEW else options.resave:
            return Ending.RESAVED, body
        if session._origin is Origin.STORED and (session._touched or self._touch_due(session, now)):
            return Ending.TOUCHED, body
        return Ending.UNCHANGED, body

    def _touch_due(self, session: BaseSession, now: int) -> bool:
        """Whether a touch would move the expiry by at least ``touch_after``. Decodes only if the answer is not plain without."""
        rules, stored, key = self.rules, session._stored, session._stored_key
        assert stored is not None and key is not None
        remaining = stored.expires_in
        if remaining is None:
            if self._expiries is None:
                self._expiries = _Expiries()
            remaining = self._expiries.remaining(key, now)
        config = session._config
        if session._cookie is None and stored.data.startswith(lifetime_prefix(config.max_age_ms)):
            # Its lifetime is the configured one, and most of that is left.
            idle = rules.idle_ms(config, {})
            if idle - remaining < rules.touch_after_ms(idle):
                return False
        session._mapping()
        if session._origin is not Origin.STORED:  # its record was unreadable
            return False
        idle = rules.idle_ms(session._config, session._the_cookie().overrides)
        return session._deadline() - now - remaining >= rules.touch_after_ms(idle)

    def _can_tell(self, session: BaseSession) -> bool:
        """Whether a cookie can reach the browser and bring the id back."""
        if session._the_id() is None:
            return False
        cookie = session._the_cookie()
        if cookie.sent_secure(session._secure) and not session._secure:
            warn_once(
                "secure",
                "a session was not stored, as its cookie is Secure but the request came over plain http; behind a proxy "
                "that ends TLS set trust_proxy=True, for development over http set cookie.secure='auto' (contract 104)",
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
            session._dropped = True

    def _write(
        self, session: BaseSession, kind: type[Write] | None, body: bytes, now: int
    ) -> tuple[Write | None, Record | None]:
        key = session._stored_key
        if kind is None:
            return None, None
        if kind is Delete:  # also of a session that was never loaded
            return (None if session._id is None else Delete(key or self.rules.key_of(session._id))), None
        rules, cookie, stored = self.rules, session._the_cookie(), session._stored
        ttl = max(1, session._deadline() - now)
        if kind is Touch:
            assert key is not None
            return Touch(key, ttl), None
        session_id = session._the_id()
        assert session_id is not None
        record = Record(
            body=body,
            cookie=cookie.stored(now, secure=session._secure),
            created=session._the_created(),
            owner=session._owner,
            auth=session._auth,
            overrides=dict(cookie.overrides),
            write=random.getrandbits(_WRITE_BITS),  # noqa: S311 - tells writes apart, and guards nothing
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

    # -- the cookie -------------------------------------------------------------------------------------------------

    def _cookie(self, session: BaseSession, ending: Ending, write: Write | None, now: int) -> str | None:
        due = session._cookie_due
        if due == "expire" or (ending is Ending.DESTROYED and isinstance(write, Delete)):
            return self._render(session, expire=True, now=now)
        if due == "send" or isinstance(write, _NEEDS_COOKIE) or self._send_again(session, ending):
            return self._render(session, expire=False, now=now)
        return None

    def _send_again(self, session: BaseSession, ending: Ending) -> bool:
        """Whether a browser that has the cookie gets it again (contract 35, 90, 91, 92)."""
        if session._origin is not Origin.STORED or ending in (Ending.DESTROYED, Ending.DROPPED, Ending.EMPTIED):
            return False
        if self.options.rolling or session._stale:
            return True
        if ending is not Ending.CHANGED:
            return False
        cookie = session._the_cookie()
        return cookie.original_max_age_ms is not None or cookie.overrides != session._initial

    def _render(self, session: BaseSession, *, expire: bool, now: int) -> str | None:
        cookie = session._make_cookie({}) if session._destroyed else session._the_cookie()
        session_id = session._id
        secure = cookie.sent_secure(session._secure)
        if session_id is None or (secure and not session._secure):
            return None
        lifetime = 0 if expire else cookie.original_max_age_ms
        return render(
            self.rules.cookie_name(session._config, secure=session._secure),
            "" if expire else self._signer.sign(session_id),
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

    # -- after the store has answered ---------------------------------------------------------------------------------

    def committed(self, session: BaseSession, plan: Plan, stored: StoredRecord | None) -> None:
        """Note that the plan's write is done; ``stored`` is what now lies under the session's key, if anything does."""
        write = plan.write
        session._touched = False
        if plan.cookie is not None:  # owed to the response if this was a save() before it
            session._cookie_due = "expire" if session._destroyed else "send"
        if isinstance(write, Delete):
            session._origin, session._stored_key = Origin.NEW, None
        else:
            session._stored = stored
        if isinstance(write, Create | Regenerate):
            session._stored_key = write.key if isinstance(write, Create) else write.new
        if plan.record is not None:
            session._origin = Origin.STORED
            session._record = plan.record
            session._initial = plan.record.overrides
            session._regenerated = False
            session._increments = None
        if self._expiries is not None and session._stored_key is not None and isinstance(write, Create | Replace | Regenerate | Touch):
            self._expiries.note(session._stored_key, self.options.clock() + write.ttl)

    def wrote(self, session: BaseSession, plan: Plan, data: bytes, key: str) -> bool:
        """Whether a stored record is the one that this plan wrote: how a writer that lost the reply learns the outcome."""
        record, _tree = unpack(self.rules.codec.unseal(data, key))
        return plan.record is not None and record.write == plan.record.write

    def rebase(self, session: BaseSession, stored: StoredRecord) -> None:
        """After a conflict: merge this request's changes into what the store holds now.

        Raises:
            SessionConflict: an exclusive request lost its lock, and another changed the same.
            SessionDecodeError: what the store holds is unreadable.
        """
        key, record = session._stored_key, session._record
        assert key is not None and session._data is not None
        codec = self.rules.codec
        theirs, tree = unpack(codec.unseal(stored.data, key))
        session._stored = stored
        if record is None:  # regenerated without keeping data: nothing of theirs moves along
            return
        mine = loads(codec.encode(session._data))
        merged = merge(loads(record.body), mine, tree, increments=session._increments or {}, exclusive=session._lock is not None)
        session._data.clear()
        session._data.update(codec.revive(merged, dumps(merged)))
        session._record = theirs
        if session._the_cookie().overrides == session._initial:
            session._cookie = None  # theirs, when next asked for
        else:
            session._initial = theirs.overrides
        if not session._regenerated:
            session._owner, session._auth = theirs.owner, theirs.auth

    def orphan(self, session: BaseSession) -> None:
        """The session to be regenerated has ended meanwhile: only what this request itself put in goes into the new one."""
        assert session._data is not None
        if session._record is not None:
            mine = loads(self.rules.codec.encode(session._data))
            own = merge(loads(session._record.body), mine, {})
            session._data.clear()
            session._data.update(self.rules.codec.revive(own, dumps(own)))
            if session._owner == session._record.owner:
                session._owner = session._auth = None
        log.info("session %s had ended when it was regenerated; its data are not carried over", mask_id(session._id or ""))
        session._record = session._stored = session._stored_key = session._created = None
        session._origin = Origin.NEW

    def gone(self, session: BaseSession) -> None:
        """The session has ended elsewhere while the request ran: nothing of it is saved, and no cookie sent."""
        log.warning(
            "session %s ended while a request was changing it; the changes are not saved", mask_id(session._id or "")
        )
        session._dropped = True

    def reloaded(self, session: BaseSession, key: str, stored: StoredRecord) -> None:
        """Discard this request's changes: the session is what the store holds now."""
        session._origin, session._stored_key, session._stored = Origin.STORED, key, stored
        session._data = session._record = session._cookie = session._increments = None
        session._regenerated = session._touched = session._dropped = False

    def arrived(self, session: BaseSession, verified: Verified, key: str, found: Any) -> bool:
        """Note what the store has under an id that the request brought; True if that is its session.

        ``found`` is what a store's load gives: a record, None, or what stands for a replaced key. An unknown id is never
        adopted (contract 47).
        """
        if found:
            session._origin = Origin.STORED
            session._id, session._stored_key, session._stored, session._stale = verified.id, key, found, verified.stale
        else:
            replaced = found is not None or session._origin is Origin.REPLACED
            session._origin = Origin.REPLACED if replaced else Origin.NEW
            session._id = session._stored_key = None
        if log.isEnabledFor(DEBUG):
            log.debug("session %s: %s", mask_id(verified.id), session._origin.value)
        return session._origin is Origin.STORED

    def is_secure(self, *, https: bool, forwarded: str | None, direct: bool) -> bool:
        """Whether the browser's connection is https (contract 105 to 108).

        Args:
            https: what the server says of the request's scheme.
            forwarded: the X-Forwarded-Proto header, if there is one.
            direct: the server itself ended TLS, and says so.
        """
        trust = self.options.trust_proxy
        if trust is None or direct:
            return https or direct
        if trust:
            return https or (forwarded is not None and forwarded.split(",", 1)[0].strip().lower() == "https")
        # Servers may have taken their scheme from this header, so beside it the scheme says nothing.
        return https and forwarded is None

    def refuse_late_save(self, session: BaseSession) -> None:
        """Raise if ``save()`` would need a cookie that can no longer be set."""
        if session._late and not session._destroyed and (session._origin is not Origin.STORED or session._regenerated):
            raise SessionLate("the response headers have left, so no cookie can carry the new session id")
