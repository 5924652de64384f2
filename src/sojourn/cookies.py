"""The cookie on the wire: reading one name out of a ``Cookie`` header, and writing ``Set-Cookie`` (RFC 6265 and its successor draft).

Also the rules about what browsers accept: what a browser would drop in silence is refused here, with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from .clock import Duration, duration_ms, http_date
from .errors import ConfigurationError

__all__ = [
    "MAX_COOKIE_BYTES",
    "Cookie",
    "Priority",
    "SameSite",
    "check_domain",
    "check_expires",
    "check_path",
    "check_samesite",
    "clean_value",
    "encode_value",
    "finder",
    "path_matches",
    "render",
]

MAX_COOKIE_BYTES = 4096
"""Name and value together; browsers drop a larger cookie (RFC 6265bis, section 5.6)."""

SameSite: TypeAlias = Literal["lax", "strict", "none", "auto"] | bool | None
Priority: TypeAlias = Literal["low", "medium", "high"] | None

_SAMESITE = ("lax", "strict", "none", "auto", True, False, None)
_PRIORITY = ("low", "medium", "high", None)
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]*", re.ASCII)  # printable, without ";"
_DOMAIN = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)
_URI_SAFE = "!~*'()"  # what encodeURIComponent leaves alone beyond letters, digits and "-_."


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """The attributes of the session cookie, as configured. Checked at construction.

    Args:
        path: sessions exist at this path and below it (RFC 6265, section 5.1.4).
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
        for name in ("httponly", "partitioned"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"cookie.{name}", repr(getattr(self, name)), "give True or False")
        if self.secure not in (True, False, "auto"):
            raise ConfigurationError("cookie.secure", repr(self.secure), 'give True, False or "auto"')
        if self.samesite not in _SAMESITE:
            raise ConfigurationError("cookie.samesite", repr(self.samesite), 'give "lax", "strict", "none" or "auto"')
        if self.priority not in _PRIORITY:
            raise ConfigurationError("cookie.priority", repr(self.priority), 'give "low", "medium" or "high"')
        check_path(self.path)
        check_domain(self.domain)
        check_samesite("cookie.samesite", self.samesite, self.secure)
        if self.max_age is not None and self.expires is not None:
            raise ConfigurationError("cookie.expires", "max_age as well", "give one of the two")
        max_age_ms = None if self.max_age is None else duration_ms("cookie.max_age", self.max_age)
        object.__setattr__(self, "max_age_ms", max_age_ms)  # the dataclass is frozen
        check_expires(self.expires)


def check_path(path: object) -> None:
    """Refuse a cookie path that a browser would replace by its default."""
    if not isinstance(path, str) or not path.startswith("/") or not _ATTRIBUTE.fullmatch(path):
        raise ConfigurationError("cookie.path", repr(path), 'give a path that starts with "/" and has no ";" or blanks')


def check_domain(domain: object) -> None:
    """Refuse a domain that no browser would match."""
    if domain is not None and (not isinstance(domain, str) or not _DOMAIN.fullmatch(domain)):
        raise ConfigurationError("cookie.domain", repr(domain), 'give a host name such as "example.com"')


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


def finder(name: bytes) -> Callable[[bytes], list[bytes]]:
    """A function that finds the raw values of all cookies called name in a ``Cookie`` header, in order.

    It is linear in the header, whatever that holds. A raw value may want `clean_value`.
    """
    return re.compile(rb"(?:^|;)[ \t]*" + re.escape(name) + rb"[ \t]*=([^;]*)").findall


def clean_value(raw: bytes) -> bytes:
    """A cookie's value without the blanks and quotes around it, percent-decoded."""
    value = raw.strip(b" \t")
    if value[:1] == b'"' and len(value) > 1 and value[-1:] == b'"':
        value = value[1:-1]
    return unquote_to_bytes(value) if b"%" in value else value


def path_matches(path: str, cookie_path: str) -> bool:
    """Whether a request path lies at or below a cookie's path: RFC 6265, section 5.1.4, not a raw prefix (contract 24)."""
    return path.startswith(cookie_path) and (
        cookie_path.endswith("/") or len(path) == len(cookie_path) or path[len(cookie_path)] == "/"
    )


def encode_value(value: str) -> str:
    """Percent-encoding as JavaScript's encodeURIComponent does it (contract 62)."""
    return quote(value, safe=_URI_SAFE, errors="surrogatepass")


def render(
    name: str,
    value: str,
    *,
    path: str,
    domain: str | None,
    expires_ms: int | None,
    max_age_ms: int | None,
    httponly: bool,
    secure: bool,
    samesite: str | None,
    partitioned: bool,
    priority: str | None,
) -> str:
    """One ``Set-Cookie`` value. Attributes stand in Express's order, Max-Age after Expires.

    ``expires_ms`` is an epoch time and ``max_age_ms`` a duration, both milliseconds; each is left out where None.
    """
    parts = [f"{name}={encode_value(value)}"]
    if domain is not None:
        parts.append(f"Domain={domain}")
    parts.append(f"Path={path}")
    if expires_ms is not None:
        parts.append(f"Expires={http_date(expires_ms)}")
    if max_age_ms is not None:
        parts.append(f"Max-Age={-(-max_age_ms // 1000)}")  # rounded up: 0 would delete the cookie
    if httponly:
        parts.append("HttpOnly")
    if secure:
        parts.append("Secure")
    if partitioned:
        parts.append("Partitioned")
    if priority is not None:
        parts.append(f"Priority={priority.capitalize()}")
    if samesite is not None:
        parts.append(f"SameSite={samesite.capitalize()}")
    return "; ".join(parts)
