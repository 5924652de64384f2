"""The cookie on the wire: reading one name out of a ``Cookie`` header, and writing ``Set-Cookie`` (RFC 6265 and its successor draft)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from ..clock import http_date

__all__ = ["MAX_COOKIE_BYTES", "clean_value", "domain_fits", "domain_in", "encode_value", "finder", "render"]

MAX_COOKIE_BYTES = 4096
"""Name and value together; browsers drop a larger cookie (RFC 6265bis, section 5.6)."""

_URI_SAFE = "!~*'()"  # what encodeURIComponent leaves alone beyond letters, digits and "-_."


def finder(name: bytes) -> Callable[[bytes], list[bytes]]:
    """A function that finds the raw values of all cookies called name in a ``Cookie`` header, in order.

    It is linear in the header, whatever that holds. A raw value may want `clean_value`.

    Most WSGI servers join repeated ``Cookie`` headers by a comma, as they would any other. A comma may also be part of a value, so what is
    found by taking it for a separator comes after all that is found without.
    """
    called = rb"[ \t]*" + re.escape(name) + rb"[ \t]*="
    find_all: Callable[[bytes], list[bytes]] = re.compile(rb"(?:^|;)" + called + rb"([^;]*)").findall
    find_joined = re.compile(rb"(?:^|[;,])" + called + rb"([^;,]*)").findall

    def find(header: bytes) -> list[bytes]:
        found = find_all(header)
        if b"," in header:
            known = set(found)
            found += [value for value in find_joined(header) if value not in known]
        return found

    return find


def clean_value(raw: bytes) -> bytes:
    """A cookie's value without the blanks and quotes around it, percent-decoded."""
    value = raw.strip(b" \t")
    if value[:1] == b'"' and len(value) > 1 and value[-1:] == b'"':
        value = value[1:-1]
    return unquote_to_bytes(value) if b"%" in value else value


_DOMAIN: Final = "; Domain="


def domain_in(set_cookie: str) -> str:
    """The domain in a ``Set-Cookie`` that `render` made; empty where there is none."""
    return set_cookie.partition(_DOMAIN)[2].partition(";")[0]


def domain_fits(domain: str, host: str) -> bool:
    """Whether a browser that is at this host, of whatever port, takes a cookie with this domain (RFC 6265, section 5.1.3)."""
    host = (host if host.endswith("]") else host.rpartition(":")[0] or host).strip().lower().rstrip(".")
    domain = domain.lower().lstrip(".")
    return host == domain or host.endswith("." + domain)


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
        parts.append(f"Domain={domain}")  # with what joins them it is _DOMAIN
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
