"""What the model keeps: records, sessions and requests under way; and how it reads and writes cookies."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from tests.behaviour.harness import sign
from tests.differential.scenario import Json, Request
from tests.differential.worlds import secrets_of, session_name, signed

__all__ = ["ATTRIBUTES", "LIFETIME", "METHODS", "Record", "Session", "Visit", "set_cookie", "verified", "visible"]

ATTRIBUTES: Json = {
    "path": "/", "httpOnly": True, "secure": False, "sameSite": None, "domain": None, "partitioned": False, "priority": None,
}  # fmt: skip
METHODS = ("id", "save", "touch", "hasOwnProperty")  # some of the names that a session's methods have (contract 51)
LIFETIME = "originalMaxAge"


@dataclass
class Record:
    """What the store holds. ``soft`` is an expiry that Express does not have: a day after the last use."""

    data: Json
    cookie: Json
    lifetime: int | None
    deadline: int
    soft: bool
    overrides: Json | None  # None: planted
    version: int
    broken: bool = False


@dataclass
class Session:
    id: str
    data: Json
    cookie: Json
    lifetime: int | None
    expires: int | None
    overrides: Json
    """What it changed of its cookie."""
    wrapped: bool = True
    """Express notes what this object saves; a regenerated one's save it does not see."""


@dataclass
class Visit:
    """One request."""

    request: Request
    app: Json
    secure: bool
    resave: bool = False
    eager: bool = False  # saveUninitialized
    session: Session | None = None
    session_id: str | None = None
    cookie_id: str | None = None  # of the session that the browser has
    original_id: str | None = None
    original: str = ""  # the data as they were
    saved: str | None = None
    touched: bool = False
    stored: str | None = None  # the id under which the session lies in the store
    version: int = 0
    left: int = 0  # until it expired, as was known at the load
    base: Json = field(default_factory=dict)
    initial: Json = field(default_factory=dict)  # overrides
    increments: dict[str, float] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)  # ids to delete at the commit
    has: Json = field(default_factory=dict)  # the cookie as the browser has it
    brought: list[str] = field(default_factory=list)  # every rightly signed id
    stale: bool = False
    regenerated: bool = False
    asked_touch: bool = False
    ended: bool = False  # destroyed, or unset so
    unset: bool = False
    gone: bool = False  # ended by another request
    wrote: bool = False
    empty: bool = False
    due: Session | None = None
    mapping: Json | None = None  # what the app put in the session's place
    replaced: bool = False
    looked: bool = False
    late: bool = False
    landed: bool = False
    failed: bool = False
    held: Session | None = None
    status: int = 200
    body: str = ""
    own: list[str] = field(default_factory=list)
    answer: Json = field(default_factory=dict)
    seen: list[Any] = field(default_factory=list)

    @property
    def known(self) -> bool:
        return self.session is not None and self.cookie_id == self.session.id


def visible(cookie: Json) -> Json:
    return {name: value for name, value in cookie.items() if value}


def verified(app: Json, header: str) -> list[tuple[str, bool] | None]:
    """For each cookie of the name in order: the id that is rightly signed, and whether by an older secret; or None."""
    found: list[tuple[str, bool] | None] = []
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        if name.strip() != session_name(app) or not equals:
            continue
        value = value.strip()
        value = unquote(value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value)
        session_id = value.removeprefix("s:").rpartition(".")[0]
        by = [secret for secret in secrets_of(app) if unquote(sign(session_id, "express", secret)) == value]
        found.append((session_id, by[0] != secrets_of(app)[0]) if by and session_id else None)
    return found


def set_cookie(app: Json, session_id: str, cookie: Json, expires: int | None) -> str:
    strict = "strict" if cookie["sameSite"] is True else cookie["sameSite"]
    parts = [
        f"{session_name(app)}={signed(app, session_id) if session_id else ''}",
        cookie["domain"] and f"Domain={cookie['domain']}",
        f"Path={cookie['path']}",
        None if expires is None else f"Expires={formatdate(expires // 1000, usegmt=True)}",
        cookie["httpOnly"] and "HttpOnly",
        cookie["secure"] and "Secure",
        cookie["partitioned"] and "Partitioned",
        cookie["priority"] and f"Priority={cookie['priority'].capitalize()}",
        strict and f"SameSite={strict.capitalize()}",
    ]
    return "; ".join(part for part in parts if part)
