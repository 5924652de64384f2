"""What every benchmark asks for: the data of a session, what a request does with it, and the headers that come along."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

SECRET = "a secret for benchmarks, longer than 32 bytes"
DATA: dict[str, Any] = {
    "user": {"id": 123456, "name": "Ada Lovelace", "email": "ada@example.com", "roles": ["admin", "editor"]},
    "cart": {"items": [{"sku": "A-1001", "qty": 2}, {"sku": "B-2002", "qty": 1}], "currency": "EUR", "total": 119.5},
    "csrf": "d41d8cd98f00b204e9800998ecf8427ed41d8cd98f00b204",
    "locale": "en-GB",
    "theme": "dark",
    "seen": "2026-11-21T00:00:00Z",
    "n": 0,
}
"""The typical session."""
TYPICAL = 0.4
"""Its size in KB, about. A KB is 1000 bytes."""
SIZES: tuple[float, ...] = (TYPICAL, 4, 16, 64)
CASES = {
    "a": "cookie, session read",
    "b": "cookie, counter incremented",
    "c": "no cookie, session untouched",
    "d": "cookie, session never looked at",
}
_HEADERS = [
    (b"host", b"localhost:8000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"connection", b"keep-alive"),
]

Action: TypeAlias = Callable[[Any], object]
"""What a handler does with its session."""


def encoded(value: object) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def data_of(size: float) -> dict[str, Any]:
    """The typical session, with a list of items that brings it up to so many KB. What a request reads or changes stays small."""
    if size <= TYPICAL:
        return DATA
    items: list[dict[str, Any]] = []
    length = len(encoded(DATA | {"saved": items}))
    while length < size * 1000:
        number = len(items)
        items.append({"sku": f"C-{number:04}", "name": "Fountain pen", "qty": number % 5 + 1, "price": 39.5})
        length += len(encoded(items[-1])) + 1
    return DATA | {"saved": items}


def _read(session: Any) -> object:
    return session["user"]


def _count(session: Any) -> None:
    session["n"] += 1


ACTIONS: dict[str, Action | None] = {"a": _read, "b": _count, "c": None, "d": None}
"""By case."""


def fill(data: dict[str, Any]) -> Action:
    """Put the data into a new session."""
    return lambda session: session.update(data)


def cookies(own: str) -> str:
    """A Cookie header of which one cookie is the session's."""
    return f"consent=yes; {own}; tz=Europe%2FBerlin"


def headers(cookie: str | None) -> list[tuple[bytes, bytes]]:
    """Those of a browser's request, with the session's cookie or with none."""
    return _HEADERS if cookie is None else [*_HEADERS, (b"cookie", cookies(cookie).encode())]
