"""A request's path as the browser sees it: percent-encoded, and with what a proxy or a mount took from its beginning.

That is what a browser compares with a cookie's path, and Express too (contract 20 to 25).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote_to_bytes

__all__ = ["encoded", "has_dots", "is_among", "normal", "path_matches", "under"]

_SAFE: Final = "/!$&'()*+,:;=@[]|"  # what browsers leave alone in a path, beyond letters, digits and "-._~"


def path_matches(path: str, cookie_path: str) -> bool:
    """Whether a request path lies at or below a cookie's path: RFC 6265, section 5.1.4, not a raw prefix (contract 24)."""
    return path.startswith(cookie_path) and (
        cookie_path.endswith("/") or len(path) == len(cookie_path) or path[len(cookie_path)] == "/"
    )


def encoded(path: bytes) -> str:
    """A decoded path as a browser encodes it (the URL standard's path percent-encode set)."""
    return quote(path, safe=_SAFE)


def normal(path: str) -> str:
    """A path in the one form that all its spellings have: ``/%61``, ``/a`` and, of what is typed, ``/é`` and ``/%c3%a9``."""
    return encoded(unquote_to_bytes(path.encode("utf-8", "surrogatepass")))


has_dots: Final = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE).search
"""Finds the segments ``.`` and ``..``, which browsers resolve before they ask."""


def is_among(path: str, roots: Iterable[str]) -> bool:
    """Whether a path, as the browser sees it, lies at or below one of several, which are `normal`.

    One that leads out again, such as ``/hooks/..%2faccount``, does not: what is behind us may resolve it.
    """
    spelled = normal(path) if "%" in path else path
    return any(path_matches(spelled, root) for root in roots) and not has_dots(spelled)


def under(root: str, path: str) -> str:
    """A path with what was taken from its beginning. Servers and frameworks leave it there, or do not (ASGI's ``root_path``)."""
    root = root.rstrip("/")
    return path if not root or path_matches(path, root) else root + path
