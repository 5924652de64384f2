"""Our world: the middleware with `sojourn.express`, under ASGI and under WSGI, driven as in tests/behaviour."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from itertools import chain, repeat
from typing import Final

from sojourn import ConfigurationError, Cookie, StoreUnavailable, express
from sojourn.options import Options
from tests.behaviour.harness import ASYNC_COUNTING, COUNTING, DAY, Client
from tests.behaviour.harness import World as Driver
from tests.differential.ours_handler import ATTRIBUTES, Handler, value_of
from tests.differential.scenario import Json, Request, Scenario
from tests.differential.worlds import Id, Refused, World, drive, is_https, record_of, secrets_of

__all__ = ["Ours"]

_OPTIONS: Final = {
    "name": "name",
    "key": "key",
    "rolling": "rolling",
    "resave": "resave",
    "saveUninitialized": "save_uninitialized",
    "unset": "unset",
    "proxy": "trust_proxy",
}
_FAULTS: Final = {
    "get": ("load",),
    "set": ("create", "replace", "regenerate"),
    "destroy": ("delete", "regenerate"),
    "touch": ("touch",),
}


def _cookie(options: Json) -> Cookie:
    return Cookie(**{ATTRIBUTES.get(name, name): value_of(name, value) for name, value in options.items()})


def _options(app: Json) -> Json:
    options: Json = {_OPTIONS[name]: value for name, value in app.items() if name in _OPTIONS}
    options["secret"] = app["secretBytes"].encode() if "secretBytes" in app else app.get("secret", secrets_of(app))
    cookie = app.get("cookie")
    # What the profile has for a cookie, where only some of its attributes are given.
    like_express = {"secure": False, "sameSite": None}
    if cookie is not None:
        answered = cookie.get("function")
        if answered is None:
            options["cookie"] = _cookie(like_express | cookie)
        else:
            options["cookie"] = lambda _request: _cookie(like_express | answered)
    if "genid" in app:
        given = app["genid"]
        drawn = chain(given, repeat(given[-1])) if isinstance(given, list) else None
        options["generate_id"] = given if drawn is None else lambda _request: next(drawn)
    return options


class Ours(World):
    """Our profile plays.

    Raises:
        Refused: it takes no such options.
    """

    def __init__(self, scenario: Scenario, adapter: str, runner: asyncio.Runner) -> None:
        super().__init__(scenario)
        self._runner = runner if adapter == "asgi" else None
        timeline: list[str] = []
        self._store = (COUNTING if adapter == "wsgi" else ASYNC_COUNTING)(self.clock, timeline)
        for one in scenario.get("planted", []):
            self._plant(one)
        twice = any("also" in request for request in scenario.get("requests", []))
        version: Json = {"version": scenario["version"]} if "version" in scenario else {}
        common: Json = {"clock": self.clock, "store": self._store, "twice": twice}
        try:
            for app in self.apps:
                Options.of(express(**version, **_options(app)))
            self._drivers = [
                Driver(adapter, "express", runner, {**version, **_options(app), **common}) for app in self.apps
            ]
        except (ConfigurationError, TypeError) as error:
            raise Refused(str(error)) from error
        for driver in self._drivers:
            driver.timeline = timeline

    def _plant(self, one: Json) -> None:
        text = one["text"] if "text" in one else json.dumps(one["record"], separators=(",", ":"))
        try:
            expires = datetime.fromisoformat(json.loads(text)["cookie"]["expires"])
            ttl = round(expires.timestamp() * 1000) - self.clock()
        except (ValueError, TypeError, KeyError):
            ttl = DAY
        if ttl > 0:
            self._store.kept.create(one["id"], text.encode(), ttl)

    def outcome_of(self) -> list[Json]:
        """Play it."""
        return drive(self.play()) if self._runner is None else self._runner.run(self.play())

    async def serve(self, request: Request, cookies: str | None) -> Json:
        driver = self._drivers[request.get("app", 0)]
        connection, forwarded = request.get("connection", "http"), request.get("forwarded")
        if connection == "proxied":
            forwarded = "https"
        headers = {"X-Forwarded-Proto": forwarded, "Host": request.get("host")}
        extra: Json = {}
        if connection == "tls" and self._runner is not None:
            extra["extensions"] = {"tls": {}}
        path, mount = request.get("path", "/"), request.get("mount", "")
        if mount:
            extra.update({"root_path": mount} if self._runner is not None else {"SCRIPT_NAME": mount})
            path = mount + path if self._runner is not None else path
        elif request.get("bare"):
            path = ""
        if request.get("session") is not None:
            extra["session" if self._runner is not None else "sojourn.session"] = request["session"]
        handler = Handler(self, request)
        begun = len(driver.timeline)
        self.fail("get", "set", "destroy", "touch") if request.get("down") else self.fail(*request.get("faults", []))
        # A browser of its own for each request, which holds what it is sent against what browsers take.
        answer = await Client(driver).ask(
            handler,
            path,
            method=request.get("method", "GET"),
            scheme="http" if connection == "http" else "https",
            browser_https=is_https(request),
            headers=[(name, value) for name, value in headers.items() if value is not None],
            cookies=cookies or "",
            extra=extra,
            may_fail=True,
        )
        self.fail()
        found: Json = {
            "status": answer.status,
            "body": answer.body.decode(),
            "cookies": [value for name, value in answer.headers if name.lower() == "set-cookie"],
            "vary": ", ".join(answer.header("vary")) or None,
            "cache": ", ".join(answer.header("cache-control")) or None,
            "handled": answer.handled,
            "seen": handler.seen,
            "stored": self.stored(),
            "calls": driver.timeline[begun:],
        }
        return found if answer.error is None else {**found, "raised": type(answer.error).__name__}

    def fail(self, *faults: str) -> None:
        names = [name for fault in faults for name in _FAULTS[fault]]
        self._store.failing = dict.fromkeys(names, StoreUnavailable("it is down"))

    def stored(self) -> list[Json]:
        found = []
        for key, record in self._store.kept.scan():
            try:
                tree = json.loads(record.data)
                lifetime = tree["cookie"].get("originalMaxAge")
                if type(lifetime) is int and lifetime <= 0:
                    continue  # which is a millisecond here, and none in Express (contract 133, 137)
                found.append(record_of(key, tree, self.clock() + (record.expires_in or 0)))
            except (ValueError, KeyError):
                found.append({"id": Id(key), "broken": True})
        return found
