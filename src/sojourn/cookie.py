"""`Cookie`: the attributes of the session cookie as configured. What a browser would drop in silence is refused here, with a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

from .clock import Duration, duration_ms
from .errors import ConfigurationError
from .logs import warn_once
from .wire.paths import has_dots, normal

__all__ = [
    "PRIORITIES",
    "SAMESITES",
    "SECURES",
    "Cookie",
    "Priority",
    "SameSite",
    "check_among",
    "check_domain",
    "check_expires",
    "check_path",
    "check_safe_path",
    "check_samesite",
]

SameSite: TypeAlias = Literal["lax", "strict", "none", "auto"] | bool | None
Priority: TypeAlias = Literal["low", "medium", "high"] | None

SAMESITES: Final = ("lax", "strict", "none", "auto", True, False, None)
SECURES: Final = (True, False, "auto")
PRIORITIES: Final = ("low", "medium", "high", None)
_PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*", re.ASCII)  # printable, without ";"
_DOMAIN = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """The attributes of the session cookie, as configured. Checked at construction.

    Args:
        path: sessions exist at this path and below it (RFC 6265, section 5.1.4). As browsers ask for it: whole, and percent-encoded.
        httponly: keep it from JavaScript.
        secure: True, False, or ``"auto"``: as the request's own connection.
        samesite: ``"lax"``, ``"strict"``, ``"none"``, ``"auto"`` (None over https, Lax otherwise); True means strict.
        max_age: how long the browser keeps it, a `timedelta` or seconds; None until the browser closes.
        domain: shares it with subdomains; None for this host only.
        partitioned: one cookie jar per top-level site (CHIPS).
        priority: Chromium's hint for what to evict first.
        expires: instead of ``max_age``, one fixed date (an aware `datetime`) at which new sessions end.

    Raises:
        ConfigurationError: for what is malformed, and for what browsers refuse.
    """

    path: str = "/"
    httponly: bool = True
    secure: bool | Literal["auto"] = "auto"
    samesite: SameSite = "lax"
    max_age: Duration | None = None
    domain: str | None = None
    partitioned: bool = False
    priority: Priority = None
    expires: datetime | None = None

    max_age_ms: int | None = field(init=False, repr=False, compare=False)
    """``max_age`` in whole milliseconds."""

    def __post_init__(self) -> None:
        check_among("cookie.httponly", self.httponly, (True, False))
        check_among("cookie.partitioned", self.partitioned, (True, False))
        check_among("cookie.secure", self.secure, SECURES)
        check_among("cookie.samesite", self.samesite, SAMESITES)
        check_among("cookie.priority", self.priority, PRIORITIES)
        check_path(self.path)
        check_domain(self.domain)
        check_samesite("cookie.samesite", self.samesite, self.secure)
        if self.max_age is not None and self.expires is not None:
            raise ConfigurationError("cookie.expires", "max_age as well", "give one of the two")
        max_age_ms = None if self.max_age is None else duration_ms("cookie.max_age", self.max_age)
        object.__setattr__(self, "max_age_ms", max_age_ms)  # the dataclass is frozen
        check_expires(self.expires)


def check_among(option: str, given: object, allowed: tuple[object, ...]) -> None:
    """Refuse all but these values; to Python 1 is equal to True, but it is not the same."""
    if not any(given == value and type(given) is type(value) for value in allowed):
        raise ConfigurationError(option, repr(given), f"give {' or '.join(map(repr, allowed))}")


def check_safe_path(path: object) -> None:
    """Refuse a path that would not go into a header as it is. Records may have others than `check_path` lets pass, which are older."""
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ConfigurationError("cookie.path", repr(path), 'give a path that starts with "/" and has no ";" or blanks')


def check_path(path: object) -> None:
    """Refuse a cookie path that a browser would replace by its default, or that it never asks for, as it writes paths in another way."""
    remedy = 'give a path that starts with "/", without ";", "." or ".." in it'
    if isinstance(path, str) and path.startswith("/") and ";" not in path and not has_dots(path):
        as_asked = normal(path)
        if path == as_asked:
            return
        remedy = f"browsers ask for {as_asked!r}: give it so"
    raise ConfigurationError("cookie.path", repr(path), remedy)


def check_domain(domain: object) -> None:
    """Refuse a domain that no browser would match."""
    if domain is not None and (not isinstance(domain, str) or not _DOMAIN.fullmatch(domain)):
        raise ConfigurationError("cookie.domain", repr(domain), 'give a host name such as "example.com"')
    if isinstance(domain, str) and "." not in domain.strip("."):
        warn_once(
            "one label",
            "cookie.domain is %r: browsers drop cookies with a domain of one label, and each request begins another session; leave it out",
            domain,
        )


def check_samesite(option: str, samesite: SameSite, secure: object) -> None:
    """Refuse what could send SameSite=None without Secure, which no browser takes (contract 116)."""
    if samesite == "none" and secure is not True:
        remedy = 'secure=True, or samesite="auto" with secure="auto"'
    elif samesite == "auto" and secure is False:
        remedy = 'secure="auto" or True'
    else:
        return
    given = f"samesite={samesite!r} with secure={secure!r}"
    raise ConfigurationError(option, given, f"browsers refuse SameSite=None without Secure: set {remedy}")


def check_expires(expires: object) -> None:
    """Refuse anything but an aware date."""
    if expires is not None and (not isinstance(expires, datetime) or expires.tzinfo is None):
        raise ConfigurationError("cookie.expires", repr(expires), "give a datetime with a time zone")
