"""Express's world: real express-session on Node.js, see node_peer.cjs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from tests.differential.scenario import Json, Request, Scenario
from tests.differential.worlds import Id, Refused, World, look_of, record_of, secrets_of
from tests.node_peer import Ask, conversing, node_with

__all__ = ["VERSION", "Peer", "peer_program"]

VERSION: Final = "1.19.0"
_PROGRAM: Final = Path(__file__).with_name("node_peer.cjs")


@contextmanager
def peer_program() -> Iterator[Ask]:
    """The program, which plays one scenario after the other."""
    with conversing([node_with("express-session"), "--no-deprecation", _PROGRAM]) as ask:
        found = ask("version")
        assert found == VERSION, f"the contract is that of express-session {VERSION}, and {found} is installed"
        yield ask


class Peer(World):
    """Express plays.

    Raises:
        Refused: it takes no such options.
    """

    def __init__(self, scenario: Scenario, ask: Ask) -> None:
        super().__init__(scenario)
        self._tell = ask
        made = ask(
            "make",
            {
                "apps": [{"secret": secrets_of(app), **app} if "secret" not in app else app for app in self.apps],
                "planted": [
                    {"id": one["id"], "text": one["text"] if "text" in one else json.dumps(one["record"])}
                    for one in scenario.get("planted", [])
                ],
                "at": self.clock(),
                "touchless": scenario.get("touchless", False),
            },
        )
        if made is not None:
            raise Refused(made["refused"])

    async def serve(self, request: Request, cookies: str | None) -> Json:
        headers = {
            "cookie": cookies,
            "x-forwarded-proto": "https" if request.get("connection") == "proxied" else request.get("forwarded"),
            "host": request.get("host"),
        }
        path = request.get("path", "/")
        mount = request.get("mount", "")
        found = self._tell(
            "ask",
            {
                "at": self.clock(),
                "middlewares": [request.get("app", 0), *request.get("also", [])],
                "method": request.get("method", "GET"),
                "path": mount + path or "/",
                "originalUrl": mount + path if mount or request.get("bare") else None,
                "url": "" if request.get("bare") else path if mount else None,
                "headers": {name: value for name, value in headers.items() if value is not None},
                "connection": request.get("connection", "http"),
                "ops": request["ops"],
                "body": request.get("body", "ok"),
                "declared": request.get("declared"),
                "faults": request.get("faults", []),
                "down": request.get("down", False),
                "session": request.get("session"),
                "parsed": self._parsed(request),
            },
        )
        while "during" in found:
            self.clock.now = found["now"]
            await self.ask(found["during"])
            found = self._tell("go", self.clock())
        self.clock.now = found["now"]
        common = {"stored": [_record(*one) for one in found["stored"]]}
        if found.get("failed"):
            return {**common, "failed": True, "cookies": [], "seen": [], "calls": found["calls"]}
        received = found.get("headers", {})
        return {
            **common,
            "status": found["status"],
            "body": found.get("body"),
            "cookies": received.get("set-cookie", []),
            "vary": received.get("vary"),
            "cache": received.get("cache-control"),
            "handled": found["handled"],
            "seen": [_seen(one) for one in found["seen"]],
            "calls": found["calls"],
            "errors": found["errors"],
            "asked": found["asked"],
        }

    def _parsed(self, request: Request) -> Json:
        """What cookie-parser puts on the request."""
        given = dict(request.get("parsed", {}))
        app = self.apps[request.get("app", 0)]
        for kind in ("cookies", "signedCookies"):
            if kind in given and (part := self.part(given[kind], request, app)) is not None:
                name, _, value = part.partition("=")
                value = unquote(value)
                given[kind] = {name: value if kind == "cookies" else value.removeprefix("s:").rpartition(".")[0]}
        return given


def _record(session_id: str, tree: Json) -> Json:
    if not isinstance(tree.get("cookie"), dict):  # it was planted so
        return {"id": Id(session_id), "broken": True}
    expires = tree["cookie"].get("expires")
    try:
        deadline = None if not isinstance(expires, str) else round(datetime.fromisoformat(expires).timestamp() * 1000)
    except ValueError:
        deadline = None
    return record_of(session_id, tree, deadline)


def _seen(given: Any) -> Any:
    if isinstance(given, list):
        return [_record(*one) for one in given]
    if isinstance(given, dict) and "id" in given:
        assert given["same"]
        return look_of(given["id"], given["keys"], given["data"], given["cookie"])
    return given
