"""Logins: who a session is, since when, and how sure of that one may be. No I/O.

Theory of operation
-------------------
Whatever makes a session more than it was gives it another id (OWASP Session Management, "Renew the Session ID After Any Privilege Level
Change"): a login, its beginning where there is a second factor, its completion, and a password that was asked for again.

What a login leaves is a `Login` in the record. A request that changes it puts another in `State.login`, and it is stored with everything else.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from msgspec import UNSET, Raw
from msgspec.structs import replace

from ..clock import Duration, duration_ms
from ..errors import (
    ConfigurationError,
    HeadersAlreadySent,
    NoPendingLogin,
    NotLoggedIn,
    SessionDecodeError,
)
from ..ids import check_owner, check_text
from . import transitions
from .commit import save
from .data import ClosedData, look_at
from .devices import describe, own_keys
from .limits import by_login, hold, releasing
from .passport import PASSPORT, check_user, heed, is_another_s, with_user
from .record import NOBODY, Login
from .state import Event, State
from .steps import Steps

__all__ = [
    "Stamp",
    "begin",
    "check",
    "complete",
    "confirm",
    "confirmed_at",
    "doubt",
    "is_fresh",
    "log_in",
    "note_sid",
    "pending_owner",
    "try_log_in",
]

Stamp = str | bytes


def log_in(
    state: State,
    owner: str,
    *,
    keep_data: bool = False,
    remember: Duration | None = None,
    stamp: Stamp | None = None,
    sid: str | None = None,
    max_sessions: int | None = None,
) -> None:
    """Regenerate, and note the owner and the time of authentication; see `BaseSession.login`."""
    _check_owner(state, owner)
    if sid is not None:
        check_text("sid", sid)
    lifetime = None if remember is None else _lifetime(state, remember)
    if max_sessions is not None:
        check_limit(max_sessions)
    login = Login(
        owner,
        state.now(),
        describe(state),
        UNSET if lifetime is None else None,
        None if stamp is None else _stamps(state, owner, stamp)[0],
        sid,
    )
    _enter(state, owner, login, keep_data=keep_data)
    state.max_sessions = max_sessions
    if lifetime is not None:
        state.ensure_cookie().remember(lifetime)


def try_log_in(
    state: State,
    owner: str,
    *,
    max_sessions: int,
    keep_data: bool = False,
    remember: Duration | None = None,
    stamp: Stamp | None = None,
    sid: str | None = None,
) -> Steps[bool]:
    """Log in unless the owner has so many sessions besides this one, and commit at once; see `Session.try_login`."""
    _check_owner(state, owner)
    check_limit(max_sessions)
    if state.sent:
        raise HeadersAlreadySent("the response headers have left, so no cookie can carry the new session id")
    tokens, before = list[str](), state.login
    kept = look_at(state).get(PASSPORT)

    def attempt() -> Steps[bool]:
        yield from hold(owner, tokens.append)
        own = own_keys(state)
        others = [key for key in (yield from by_login(state.settings, owner)) if key not in own]
        if len(others) >= max_sessions:
            return False
        try:
            log_in(state, owner, keep_data=keep_data, remember=remember, stamp=stamp, sid=sid)
            yield from save(state)
        except BaseException:
            if state.login is not before:  # it has not happened
                state.login = None
                _tell_passport(state, heed(NOBODY, None if state.renewed else kept))
                state.on(Event.DISCARD)
            raise
        return True

    return (yield from releasing(owner, tokens, attempt()))


def begin(state: State, owner: str, *, keep_data: bool, stamp: Stamp | None, within: Duration) -> None:
    """Note who has given a password, but no second factor yet; see `BaseSession.begin_login`."""
    _check_owner(state, owner)
    until = state.now() + duration_ms("within", within)
    kept = None if stamp is None else _stamps(state, owner, stamp)[0]
    _enter(state, owner, Login(pending=(owner, until), stamp=kept), keep_data=keep_data)


def complete(
    state: State,
    *,
    keep_data: bool,
    remember: Duration | None,
    stamp: Stamp | None,
    sid: str | None,
    max_sessions: int | None,
) -> None:
    """Log in whose login was begun; see `BaseSession.complete_login`."""
    owner, before = pending_owner(state), state.who
    if owner is None:
        raise NoPendingLogin("no login was begun here, or that was too long ago")
    log_in(state, owner, keep_data=keep_data, remember=remember, stamp=stamp, sid=sid, max_sessions=max_sessions)
    if stamp is None and before.stamp is not None:
        assert state.login is not None
        state.login = replace(state.login, stamp=before.stamp)


def pending_owner(state: State) -> str | None:
    """Whose login was begun, as long as that counts."""
    pending = state.who.pending
    return None if pending is None or pending[1] <= state.now() else pending[0]


def confirm(state: State) -> None:
    """Note that the owner has just given the password; see `BaseSession.confirm`."""
    who = state.who
    if who.owner is None:
        raise NotLoggedIn("nobody is logged in whose password could be confirmed")
    _enter(state, who.owner, replace(who, confirmed=state.now()), keep_data=True)


def doubt(state: State) -> None:
    """Note that the owner is known by less than the password, such as a cookie that remembers: they are not fresh until `confirm`."""
    look_at(state)
    state.login = replace(state.who, confirmed=None)


def note_sid(state: State, sid: str) -> None:
    """Note the OpenID provider's id of its session, where a framework of its own has logged the owner in.

    Raises:
        NotLoggedIn: nobody is logged in.
        TypeError, ValueError: as for ``login()``.
    """
    check_text("sid", sid)
    look_at(state)
    if state.owner is None:
        raise NotLoggedIn("nobody is logged in whose session the provider could end")
    state.login = replace(state.who, sid=sid)


def confirmed_at(state: State) -> int | None:
    """When the owner last gave the password, epoch ms."""
    who = state.who
    return who.at if who.confirmed is UNSET else who.confirmed


def is_fresh(state: State, within: Duration) -> bool:
    """Whether the owner gave the password at most so long ago."""
    longest, at = duration_ms("within", within), confirmed_at(state)
    return state.owner is not None and at is not None and state.now() - at <= longest


def check(state: State, stamp: Stamp) -> bool:
    """Whether the login was made with this stamp; if not, the session ends. See `BaseSession.check`."""
    who = state.who
    if who.owner is None:
        return False
    kept = (who.stamp or "").encode("utf-8", "surrogatepass")
    stamps = _stamps(state, who.owner, stamp)
    for one in stamps:
        if compare_digest(one.encode(), kept):
            if one != stamps[0]:  # by an older secret
                state.login = replace(who, stamp=stamps[0])
            return True
    transitions.invalidate(state)
    return False


def check_limit(given: object) -> None:
    """Refuse what is no number of sessions.

    Raises:
        ValueError: it is no whole number, at least 1.
    """
    if type(given) is not int or given < 1:
        raise ValueError(f"max_sessions must be a whole number, at least 1, not {given!r}")


def _enter(state: State, owner: str, login: Login, *, keep_data: bool) -> None:
    """Go on under another id. What another owner left is never carried along."""
    data = look_at(state)
    if isinstance(data, ClosedData):
        data.refuse()
    who, passport = state.who, state.settings.options.passport
    before = who.owner if who.pending is None else who.pending[0]
    is_anothers = before not in (None, owner) or (passport and is_another_s(data.get(PASSPORT), owner))
    transitions.regenerate(state, keep_data=keep_data and not is_anothers)
    state.login = login
    _tell_passport(state, login)


def _check_owner(state: State, owner: str) -> None:
    check_owner(owner)
    if state.settings.options.passport:
        check_user(owner, state.settings.options.passport)


def _tell_passport(state: State, login: Login) -> None:
    """Have Passport see the login, too, by what it keeps in the data."""
    data, settings = look_at(state), state.settings
    kept, kind = data.get(PASSPORT), settings.options.passport
    if not kind or heed(login, kept) is login:  # who stands there already is left in the form in which Node wrote it
        return
    if type(kept) is Raw:
        try:
            kept = settings.codec.decode(bytes(kept))
        except SessionDecodeError:
            kept = None
    data[PASSPORT], state.dirty[PASSPORT] = with_user(kept, login.owner, kind), None


def _lifetime(state: State, remember: Duration) -> int:
    lifetime, limit = duration_ms("remember", remember), state.settings.options.absolute_ms
    if not lifetime or (limit is not None and lifetime > limit):
        most = "" if limit is None else f", and no more than absolute_timeout ({limit / 1000:g} s)"
        raise ConfigurationError("remember", repr(remember), f"give a duration above zero{most}")
    return lifetime


_NUL: Final = "\0"


def _stamps(state: State, owner: str, stamp: Stamp) -> list[str]:
    """What is kept of a stamp, by each secret: the owner's own, so that it is of no use in another's session."""
    given: object = stamp
    if not isinstance(given, str | bytes) or not given:
        raise TypeError(
            f"stamp must be a non-empty str or bytes, not {'an empty one' if given in ('', b'') else type(given).__name__}"
        )
    text = (given.encode("utf-8", "surrogatepass") if isinstance(given, str) else given).decode("latin-1")
    return state.settings.signer.marks(b"stamp", f"{owner}{_NUL}{text}")
