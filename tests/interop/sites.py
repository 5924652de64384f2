"""Two web applications in processes of their own, an Express one and a Python one, and a browser that visits both."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx

from tests.interop.peers import Peer, Rows, Servers
from tests.node_peer import Ask, conversing, node_with

__all__ = ["LOOK", "OLD_SECRET", "SECRET", "Browser", "Pair", "Refused", "Site", "Visit", "World", "session_key"]

SECRET: Final = "a secret that both of the applications know"
OLD_SECRET: Final = "a secret that both of them knew before that"
LOOK: Final = ["look"]
RESERVED: Final = "__sojourn__"

Op: TypeAlias = list[Any]
Tree: TypeAlias = dict[str, Any]

_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = _HERE.parent.parent


@dataclass(frozen=True)
class Site:
    """An application that runs."""

    side: str
    """``"express"`` or ``"python"``."""
    port: int

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class Refused(AssertionError):
    """A site answered with an error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Visit:
    """What a site answered."""

    answers: list[Any]
    """One for each operation."""
    set_cookies: list[str]
    """The Set-Cookie headers."""

    @cached_property
    def seen(self) -> Tree:
        """The session as it was in the end."""
        seen: Tree = self.answers[-1]
        return seen

    @property
    def id(self) -> str:
        found: str = self.seen["id"]
        return found

    @property
    def data(self) -> Tree:
        """Its data, without our reserved key."""
        return {key: value for key, value in self.seen["data"].items() if key != RESERVED}


class Browser:
    """Keeps cookies, as RFC 6265 has it: by host and path, whatever the port."""

    def __init__(self, transport: httpx.HTTPTransport, cookies: httpx.Cookies | None = None) -> None:
        self._transport = transport
        self._client = httpx.Client(transport=transport, cookies=cookies, trust_env=False, timeout=30)

    @property
    def cookies(self) -> httpx.Cookies:
        """Those it has got."""
        return self._client.cookies

    def visit(self, site: Site, *operations: Op, path: str = "/", headers: dict[str, str] | None = None) -> Visit:
        """Have a site carry operations out, and look at the session at last.

        Raises:
            Refused: it answered with an error.
        """
        response = self._post(site, [*operations, LOOK], path, headers)
        try:
            answer = response.json()
        except ValueError:
            raise AssertionError(f"{site} answered {response.status_code}: {response.text}") from None
        if response.is_error:
            raise Refused(answer["error"], answer["message"])
        return Visit(answer, response.headers.get_list("set-cookie"))

    def pass_by(self, site: Site) -> None:
        """Visit a site that does nothing with the session."""
        self._post(site, [], "/", None).raise_for_status()

    def _post(self, site: Site, operations: list[Op], path: str, headers: dict[str, str] | None) -> httpx.Response:
        return self._client.post(site.url(path), content=json.dumps(operations), headers=headers)

    def twin(self) -> Browser:
        """Another browser, into which somebody has copied this one's cookies."""
        return Browser(self._transport, self.cookies)


@dataclass(frozen=True)
class Pair:
    """One store, and an application on either side of it."""

    peer: Peer
    express: Site
    python: Site
    rows: Rows

    def __getitem__(self, side: str) -> Site:
        return {"express": self.express, "python": self.python}[side]

    def other(self, site: Site) -> Site:
        return self.python if site is self.express else self.express

    @property
    def both(self) -> tuple[Site, Site]:
        return self.express, self.python

    def row(self, visit: Visit) -> Any:
        """The row of the session that was seen."""
        found = self.rows.read(visit.id)
        assert found is not None, "the session is not stored"
        return found


def session_key(value: Any) -> str:
    """A text by which settings are recognized."""
    return json.dumps(value, sort_keys=True)


class World:
    """The processes, started when first needed, and the sites that were opened in them."""

    def __init__(self, servers: Servers) -> None:
        self._stack = ExitStack()
        self.servers = servers
        self._programs: dict[str, Ask] = {}
        self._opened: dict[str, Any] = {}
        # Given up before any of the servers would close it, as that might meet a request.
        self._transport = httpx.HTTPTransport(limits=httpx.Limits(keepalive_expiry=1))
        self.met: set[str] = set()
        """The packages of the Express stores that were asked for, since somebody cleared it."""

    def close(self) -> None:
        """End the processes, and all connections to the servers."""
        self._programs.clear()
        self._opened.clear()
        self._stack.close()
        self._transport.close()

    def at_end(self, do: Callable[..., object], *arguments: Any) -> None:
        """Have this done when it closes, after what was begun later."""
        self._stack.callback(do, *arguments)

    def browser(self) -> Browser:
        return Browser(self._transport)

    def logged(self, colour: str) -> list[str]:
        """What Sojourn has logged on the Python side since it was last asked: warnings and worse."""
        lines: list[str] = self._program(colour)()
        return lines

    def pair(self, peer: Peer, colour: str, *, node: Tree | None = None, python: Tree | None = None) -> Pair:
        """Sites on both sides, with these options of express-session and of our middleware."""
        return Pair(
            peer, self.express(peer, **(node or {})), self.python(peer, colour, **(python or {})), self.rows(peer)
        )

    def express(self, peer: Peer, **options: Any) -> Site:
        """A site on Express. The options are those of express-session, ``ids``, which it is to give to sessions, and whether it has ``passport`` and connect-flash, as ``flash``."""
        own: Tree = {name: options.pop(name) for name in ("ids", "passport", "flash") if name in options}
        self.met.add(peer.package)
        store = [peer.package, peer.url(self.servers), peer.node]
        request = {"store": store, "session": {"secret": SECRET, **options}, **own}
        node_with("express", "express-session", "passport", "connect-flash", peer.package, *peer.drivers)
        return self._site("express", "express", request)

    def python(self, peer: Peer, colour: str, **options: Any) -> Site:
        """A site on Python, with options of the middleware."""
        return self._site("python", colour, peer.python_url(self.servers), {"secret": SECRET, **options})

    def rows(self, peer: Peer) -> Rows:
        name = session_key(["rows", peer.server, peer.node])
        if name not in self._opened:
            self._opened[name] = peer.rows(self.servers)
            self.at_end(self._opened[name].close)
        rows: Rows = self._opened[name]
        return rows

    def _site(self, side: str, program: str, *request: Any) -> Site:
        name = session_key([program, *request])
        if name not in self._opened:
            self._opened[name] = Site(side, self._program(program)(*request))
        site: Site = self._opened[name]
        return site

    def _program(self, name: str) -> Ask:
        if name not in self._programs:
            command: list[object] = (
                [node_with("express"), _HERE / "express_app.cjs"]
                if name == "express"
                else [sys.executable, _HERE / "python_app.py", name]
            )
            self._programs[name] = self._stack.enter_context(conversing(command, cwd=_ROOT))
        return self._programs[name]
