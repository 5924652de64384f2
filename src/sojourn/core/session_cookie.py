"""``session.cookie``: the attributes of one session's cookie, as configured unless this session changed them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from msgspec import UNSET, UnsetType

from ..clock import LONGEST_MS, Clock, Duration, duration_ms, from_ms, iso_ms, to_ms
from ..codecs import dumps
from ..cookie import (
    PRIORITIES,
    SAMESITES,
    SECURES,
    Cookie,
    Priority,
    SameSite,
    check_among,
    check_domain,
    check_expires,
    check_path,
    check_safe_path,
    check_samesite,
)
from ..errors import ConfigurationError, SessionDecodeError

__all__ = ["SessionCookie", "lifetime_until", "read_lifetime", "read_overrides", "stored_as_configured"]

_LIFETIME: Final = "originalMaxAge"
_MOST_CONFIGURED: Final = 64  # a function of the request may make a new one each time
_PAIR: Final = ("samesite", "secure")  # what must go together
_ALWAYS: Final = ("originalMaxAge", "expires")  # null where there is none
_ANY_CASE: Final = ("sameSite", "priority")  # Express takes these however they are written
_PREFIX_NEEDS: Final[dict[str, tuple[object, ...]]] = {"secure": (True, "auto"), "path": ("/",), "domain": (None,)}

T = TypeVar("T")
_Check: TypeAlias = Callable[[object], None]


_CHECKS: Final[dict[str, _Check]] = {}
"""What each attribute may be, by its name in records."""


def _among(name: str, *allowed: object) -> _Check:
    return lambda value: check_among(f"session.cookie.{name}", value, allowed)


class _Attribute(Generic[T]):
    """An attribute that reads as configured until the session overrides it. ``stored`` is its name in records."""

    def __init__(self, stored: str, check: _Check, *, read: _Check | None = None) -> None:
        self._stored = stored
        self._check = check
        _CHECKS[stored] = read or check

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, cookie: SessionCookie, _owner: type) -> T:
        value: T = cookie.overrides.get(self._stored, getattr(cookie.config, self._name))
        return value

    def __set__(self, cookie: SessionCookie, value: T) -> None:
        self._check(value)
        cookie.refuse_for_prefix(self._name, value)
        if self._name in _PAIR:
            pair: dict[str, Any] = {name: getattr(cookie, name) for name in _PAIR} | {self._name: value}
            check_samesite(f"session.cookie.{self._name}", **pair)
        cookie.override(self._stored, value, getattr(cookie.config, self._name))


class SessionCookie:
    """The cookie of one session. Assigning an attribute changes it for this session alone, and is kept with it.

    ``max_age`` and ``expires`` set the session's own lifetime, in the browser and, as its idle timeout, in the store.
    """

    __slots__ = ("_clock", "_expires", "_limit", "_prefixed", "config", "overrides")

    path: _Attribute[str] = _Attribute("path", check_path, read=check_safe_path)
    domain: _Attribute[str | None] = _Attribute("domain", check_domain)
    httponly: _Attribute[bool] = _Attribute("httpOnly", _among("httponly", True, False))
    secure: _Attribute[bool | Literal["auto"]] = _Attribute("secure", _among("secure", *SECURES))
    samesite: _Attribute[SameSite] = _Attribute("sameSite", _among("samesite", *SAMESITES))
    partitioned: _Attribute[bool] = _Attribute("partitioned", _among("partitioned", True, False))
    priority: _Attribute[Priority] = _Attribute("priority", _among("priority", *PRIORITIES))

    def __init__(
        self,
        config: Cookie,
        overrides: dict[str, Any],
        clock: Clock,
        *,
        limit: int | None = None,
        prefixed: bool = False,
    ) -> None:
        self.config: Cookie = config
        self._clock = clock
        self._limit = limit
        self._prefixed = prefixed
        self.overrides: dict[str, Any] = overrides
        """What this session changed, by the names that records use. Values equal to the configuration are left out."""
        lifetime = self.original_max_age_ms
        self._expires = None if lifetime is None else clock() + lifetime

    @property
    def original_max_age_ms(self) -> int | None:
        """The lifetime that every response starts anew, in milliseconds; None for a browser-session cookie."""
        lifetime: int | None = self.overrides.get(_LIFETIME, self.config.max_age_ms)
        return lifetime

    @property
    def original_max_age(self) -> float | None:
        """The lifetime that every response starts anew, in seconds; None for a browser-session cookie."""
        lifetime = self.original_max_age_ms
        return None if lifetime is None else lifetime / 1000

    @property
    def max_age(self) -> float | None:
        """Seconds that the browser keeps it if this response sends it; None for a browser-session cookie.

        It counts down from when it was set, or first looked at in this request (contract 124): what is left of a cookie that was sent
        before, no server knows.
        """
        return None if self._expires is None else max(0, self._expires - self._clock()) / 1000

    @max_age.setter
    def max_age(self, value: Duration | None) -> None:
        self._live(None if value is None else duration_ms("session.cookie.max_age", value))

    @property
    def expires(self) -> datetime | None:
        """The date at which ``max_age`` comes to its end, in UTC; None for a browser-session cookie. One in the past ends the session (contract 133)."""
        return None if self._expires is None else from_ms(self._expires)

    @expires.setter
    def expires(self, value: datetime | None) -> None:
        check_expires(value)
        self._live(None if value is None else lifetime_until(value, self._clock()))

    def _live(self, lifetime: int | None) -> None:
        if lifetime is not None and self._limit is not None and lifetime > self._limit:
            raise ConfigurationError(
                "session.cookie.max_age",
                f"{lifetime / 1000:g} s",
                f"it cannot outlast absolute_timeout ({self._limit / 1000:g} s)",
            )
        self.override(_LIFETIME, lifetime, self.config.max_age_ms)
        self._expires = None if lifetime is None else self._clock() + lifetime

    def remember(self, lifetime: int) -> None:
        """Let this session live for so many milliseconds after its last use, also where idle timeout and cookie are configured apart."""
        self._live(lifetime)
        self.overrides[_LIFETIME] = lifetime

    def refuse_for_prefix(self, name: str, value: object) -> None:
        """Refuse what browsers would not accept under the name this cookie is sent by."""
        if self._prefixed and value not in _PREFIX_NEEDS.get(name, (value,)):
            raise ConfigurationError(
                f"session.cookie.{name}",
                repr(value),
                'this cookie is sent under the "__Host-" prefix, with which browsers refuse that; configure it in `cookie`',
            )

    def override(self, stored_name: str, value: object, configured: object) -> None:
        """Keep a change under its name in records, unless it is none."""
        if value == configured:
            self.overrides.pop(stored_name, None)
        else:
            self.overrides[stored_name] = value

    def stored(self, now: int, *, secure: bool) -> tuple[int | None, bytes]:
        """The ``cookie`` part of the record, in Express's names and order, after its lifetime. What Express leaves undefined is left out."""
        lifetime = self.original_max_age_ms
        given = {
            _LIFETIME: lifetime,
            "partitioned": self.partitioned or None,
            "priority": self.priority,
            "expires": None if lifetime is None else iso_ms(now + lifetime),
            "secure": self.sent_secure(secure) if self.secure else None,
            "httpOnly": self.httponly,
            "domain": self.domain,
            "path": self.path,
            "sameSite": self.sent_samesite(secure),
        }
        kept = {
            name: self.overrides[name] if value is None and name in self.overrides else value
            for name, value in given.items()
            if value is not None or name in _ALWAYS or name in self.overrides
        }
        return lifetime, dumps(kept)

    def sent_secure(self, secure: bool) -> bool:
        """Whether the cookie has Secure on a connection that is, or is not, https (contract 109 to 111)."""
        return secure if self.secure == "auto" else bool(self.secure)

    def sent_samesite(self, secure: bool) -> str | None:
        """SameSite on such a connection (contract 112 to 117)."""
        value = self.samesite
        if value == "auto":
            value = "none" if secure else "lax"
        if value == "none" and not self.sent_secure(secure):  # by a configuration that changed since (contract 116)
            value = "lax"
        return "strict" if value is True else value or None

    def __repr__(self) -> str:
        return f"<SessionCookie max_age={self.original_max_age} overrides={sorted(self.overrides)}>"


def read_overrides(names: Iterable[str], attributes: Mapping[str, object]) -> dict[str, Any]:
    """Those of a record's cookie attributes that its session changed, held to what they might have been assigned.

    Whoever writes to the store writes them, and they go into a header.

    Raises:
        SessionDecodeError: one of them could not have been assigned.
    """
    overrides: dict[str, Any] = {}
    for name in names:
        if name not in attributes:
            continue
        value = attributes[name]
        if name == _LIFETIME:
            value = read_lifetime(value)
            if value is UNSET:
                continue
        elif name in _CHECKS:
            if name in _ANY_CASE and isinstance(value, str):
                value = value.lower()
            try:
                _CHECKS[name](value)
            except ConfigurationError:
                raise SessionDecodeError(f"the {name} of its cookie is malformed") from None
        overrides[name] = value
    return overrides


def read_lifetime(given: object) -> int | UnsetType | None:
    """A record's ``originalMaxAge`` in milliseconds, cut to four centuries; None for a browser session, UNSET where it is no lifetime.

    Express writes a browser session's as null or false, or as an empty string, just as the application has set it.
    """
    if given is None or given is False or given == "":
        return None
    if type(given) is not int and type(given) is not float:
        return UNSET
    return _bounded(given)


def lifetime_until(moment: datetime, now: int) -> int:
    """The lifetime that ends at a date, in milliseconds; below zero if that has passed, since so it goes out (contract 133)."""
    return _bounded(to_ms(moment) - now)


def _bounded(lifetime: float) -> int:
    return int(max(-LONGEST_MS, min(lifetime, LONGEST_MS)))


_configured: dict[
    tuple[int, bool], tuple[Cookie, tuple[int | None, bytes]]
] = {}  # by identity: to hash so many attributes would cost more
_EXPIRES: Final = b'"expires":"%b"'
_EPOCH: Final = _EXPIRES % iso_ms(0).encode()


def stored_as_configured(config: Cookie, now: int, *, secure: bool) -> tuple[int | None, bytes]:
    """`SessionCookie.stored` for a session that changed nothing of its cookie, which is nearly every one."""
    kept = _configured.get((id(config), secure))
    if kept is None or kept[0] is not config:
        if len(_configured) >= _MOST_CONFIGURED:
            _configured.clear()
        lifetime = config.max_age_ms
        stored = SessionCookie(config, {}, int).stored(0 if lifetime is None else -lifetime, secure=secure)
        kept = _configured[id(config), secure] = config, stored
    lifetime, text = kept[1]
    if lifetime is None:
        return lifetime, text
    return lifetime, text.replace(_EPOCH, _EXPIRES % iso_ms(now + lifetime).encode(), 1)
