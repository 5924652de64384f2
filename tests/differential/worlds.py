"""A world plays a scenario: what Express, our profile and the model have in common is here, the browser above all."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote

from sojourn.testing import ManualClock
from tests.behaviour.harness import sign
from tests.differential.scenario import SECRET, START, Json, Request, Scenario

__all__ = [
    "Id",
    "Refused",
    "World",
    "clone",
    "cookie_options",
    "drive",
    "is_https",
    "look_of",
    "record_of",
    "secrets_of",
    "session_name",
    "signed",
]

T = TypeVar("T")


class Id(str):
    """A session id: compared by when it was first seen, as each world draws its own."""

    __slots__ = ()


class Refused(Exception):
    """An option was refused when the middleware was made."""


class _Kept(NamedTuple):
    name: str
    value: str
    path: str
    domain: str
    secure: bool
    expires: int | None


def secrets_of(app: Json) -> list[str]:
    given = app.get("secretBytes") or app.get("secret", SECRET)
    given = SECRET if given is None else given  # the one that the request brings, if any
    return [given] if isinstance(given, str) else list(given)


def cookie_options(app: Json) -> Json:
    """What is configured of the cookie, also where a function answers it."""
    options: Json = app.get("cookie") or {}
    answered: Json = options.get("function", options)
    return answered


def session_name(app: Json) -> str:
    return str(app.get("name") or "connect.sid")


def signed(app: Json, session_id: str) -> str:
    """A session's cookie value, percent-encoded."""
    return sign(session_id, "express", secrets_of(app)[0])


def is_https(request: Request) -> bool:
    """Whether the browser's own connection is."""
    return request.get("connection", "http") != "http" or request.get("forwarded", "").strip().lower().startswith(
        "https"
    )


class Jar:
    """A browser's cookies (RFC 6265, sections 5.3 and 5.4)."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str, str], _Kept] = {}
        self.past: list[str] = []
        """Every value that it was given for a session's cookie."""

    def sent(self, path: str, *, https: bool) -> list[tuple[str, str]]:
        path = path.partition("?")[0]
        live = [
            cookie
            for cookie in self._kept.values()
            if (cookie.expires is None or cookie.expires > self._clock())
            and (https or not cookie.secure)
            and (path == cookie.path or path.startswith(cookie.path.rstrip("/") + "/"))
        ]
        live.sort(key=lambda cookie: -len(cookie.path))
        return [(cookie.name, cookie.value) for cookie in live]

    def keep(self, text: str) -> None:
        pair, *rest = text.split("; ")
        name, _, value = pair.partition("=")
        attributes = {key.lower(): given for key, _, given in (part.partition("=") for part in rest)}
        path, domain = attributes.get("path", "/"), attributes.get("domain", "")
        given = attributes.get("expires")
        expires = None if given is None else round(parsedate_to_datetime(given).timestamp() * 1000)
        self._kept[name, domain, path] = _Kept(name, value, path, domain, "secure" in attributes, expires)


class World(ABC):
    """One way to play a scenario. Its outcome is what each request came to, in the order in which they began."""

    def __init__(self, scenario: Scenario) -> None:
        self.clock = ManualClock(START)
        self.scenario = scenario
        self.apps = scenario.get("apps") or [{}]
        self.jars = [Jar(self.clock) for _ in range(scenario.get("clients", 1))]
        self.outcome: list[Json] = []

    async def play(self) -> list[Json]:
        for request in self.scenario.get("requests", []):
            place = len(self.outcome)
            await self.ask(request)
            self.outcome[place]["outer"] = True
        return self.outcome

    async def ask(self, request: Request) -> None:
        """One whole request, also within another."""
        self.clock.advance(request.get("advance", 0))
        answer: Json = {}
        self.outcome.append(answer)
        app = self.apps[request.get("app", 0)]
        answer.update(await self.serve(request, self.cookie_header(request)))
        jar = self.jars[request.get("client", 0)]
        for text in answer["cookies"]:
            jar.keep(text)
        answer["cookies"] = [self._read(text, app, jar) for text in answer["cookies"]]

    def _read(self, text: str, app: Json, jar: Jar) -> Any:
        """A session's cookie with its id apart, if it is rightly signed; any other as it is."""
        name, _, rest = text.partition("=")
        value, semicolon, attributes = rest.partition(";")
        if name != session_name(app):
            return text
        session_id = unquote(value).removeprefix("s:").rpartition(".")[0]
        if value and signed(app, session_id) != value:
            return text
        if value:
            jar.past.append(value)
        return {"id": Id(session_id) if value else None, "text": f"{name}=~{semicolon}{attributes}"}

    def cookie_header(self, request: Request) -> str | None:
        """The Cookie header.

        Where the request says what it is, each part is text, or a dict of which the value is made: ``{"past": n}`` the n-th that
        this client (or that ``of``) was given, ``{"sign": id, "secret"}``; then ``spoil`` it in one of several ways. What
        a client never had is left out.
        """
        app = self.apps[request.get("app", 0)]
        given = request.get("cookies")
        if given is None:
            jar = self.jars[request.get("client", 0)]
            pairs = jar.sent(request.get("path", "/"), https=is_https(request))
            return "; ".join(f"{name}={value}" for name, value in pairs) or None
        parts = [part if isinstance(part, str) else self.part(part, request, app) for part in given]
        return "; ".join(part for part in parts if part is not None) or None

    def part(self, part: Json, request: Request, app: Json) -> str | None:
        if "sign" in part:
            value = sign(part["sign"], "express", part.get("secret", secrets_of(app)[0]))
        else:
            past = self.jars[part.get("of", request.get("client", 0))].past
            if not past:
                return None
            value = past[part["past"] % len(past)]
        name = part.get("name", session_name(app))
        return f"{name}={_SPOILS[part.get('spoil', 'not')](value)}"

    @abstractmethod
    async def serve(self, request: Request, cookies: str | None) -> Json:
        """Answer ``status``, ``body``, ``cookies`` (all Set-Cookie), ``vary``, ``cache``, ``seen``, ``stored``; or that it ``failed``."""


_SPOILS: dict[str, Any] = {
    "not": lambda value: value,
    "signature": lambda value: value[:-1] + ("A" if value[-1] != "A" else "B"),
    "id": lambda value: "s%3Ax" + value[4:],
    "marker": lambda value: unquote(value).removeprefix("s:"),
    "unsigned": lambda value: unquote(value).rpartition(".")[0],
    "empty": lambda value: "",
    "alone": lambda value: "s%3A",
    "quoted": lambda value: f'"{value}"',
    "plain": unquote,
    "blanks": lambda value: f" {value} ",
    "twice": lambda value: quote(value, safe=""),
    "torn": lambda value: value[:9] + "%",
}


def clone(value: T) -> T:
    """A copy of JSON values in which nothing is shared."""
    copied: T = json.loads(json.dumps(value))
    return copied


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waited")


def look_of(session_id: str, keys: list[str], data: Json, cookie: Json) -> Json:
    """What a handler sees of its session, as worlds compare it: an attribute that is false is None."""
    strict = "strict" if cookie["sameSite"] is True else cookie["sameSite"]
    falsy = {name: cookie[name] or None for name in ("secure", "domain", "priority", "partitioned")}
    cookie = {**cookie, **falsy, "sameSite": strict or None}
    return {"id": Id(session_id), "keys": keys, "data": data, "cookie": cookie}


def record_of(session_id: str, tree: Json, deadline: int | None) -> Json:
    """A record as worlds compare it.

    An attribute that is false and one that is not there mean the same; ``sameSite: true`` is spelled strict. A session without a
    lifetime of its own has no expiry that Express would know of.
    """
    tree = clone(tree)
    cookie = tree.pop("cookie")
    tree.pop("__sojourn__", None)
    lifetime = cookie.pop("originalMaxAge", None)
    cookie.pop("expires", None)
    if cookie.get("sameSite") is True:
        cookie["sameSite"] = "strict"
    attributes = {name: value for name, value in cookie.items() if value}
    return {
        "id": Id(session_id),
        "data": tree,
        "cookie": attributes,
        "lifetime": lifetime,
        "expires": None if lifetime is None else deadline,
    }
