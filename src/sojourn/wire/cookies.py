"""The cookie on the wire: reading one name out of a ``Cookie`` header, and writing ``Set-Cookie`` (RFC 6265 and its successor draft)."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

from ..clock import http_date

__all__ = ["MAX_COOKIE_BYTES", "clean_value", "encode_value", "finder", "path_matches", "render"]

MAX_COOKIE_BYTES = 4096
"""Name and value together; browsers drop a larger cookie (RFC 6265bis, section 5.6)."""

_URI_SAFE = "!~*'()"  # what encodeURIComponent leaves alone beyond letters, digits and "-_."


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
