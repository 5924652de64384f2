"""The dashboard on a server of its own, for ``sojourn dashboard``: on this machine's loopback alone, behind a token that works once."""

from __future__ import annotations

import getpass
import ipaddress
import secrets
import socket
import socketserver
from collections.abc import Callable, Iterable
from hmac import compare_digest
from typing import Any, Final
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ..admin import Admin
from ..errors import ConfigurationError
from .board import Response, text_response
from .wsgi import WSGIDashboard

__all__ = ["Login", "check_loopback", "serving"]

_LOST: Final = "Forbidden: open the address that `sojourn dashboard` has printed. It works once; for another, end the command and start it anew."


def check_loopback(host: str) -> None:
    """Refuse an address that other machines reach: what is served here has no guard but the token.

    Raises:
        ConfigurationError: it is none of this machine's loopback.
    """
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigurationError(
            "--host",
            repr(host),
            "give 127.0.0.1, and reach it from elsewhere by a tunnel (ssh -L); for everybody's browser mount the dashboard in the site, "
            "behind its own guard",
        )


class Login:
    """WSGI middleware that lets one browser in: the first that brings the token."""

    def __init__(self, app: Callable[..., Iterable[bytes]], port: int) -> None:
        self.app = app
        self.token: str | None = secrets.token_urlsafe(32)
        # Cookies are of a host, whatever the port.
        self._pass = f"sojourn_dashboard_{port}={secrets.token_urlsafe(32)}".encode()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        refused = self._refusal(environ)
        if refused is None:
            return self.app(environ, start_response)
        status = {303: "303 See Other"}.get(refused.status, "403 Forbidden")
        start_response(status, refused.headers)
        return [refused.body]

    def _refusal(self, environ: dict[str, Any]) -> Response | None:
        """What is sent instead of the dashboard; None for the browser that is in."""
        try:
            check_loopback(_name_in(environ.get("HTTP_HOST", "")))
        except ConfigurationError:  # a name that some page has had resolved to this machine
            return text_response(403, _LOST)
        cookies = environ.get("HTTP_COOKIE", "").encode("latin-1", "replace").split(b";")
        if any(compare_digest(cookie.strip(), self._pass) for cookie in cookies):
            return None
        given = parse_qs(environ.get("QUERY_STRING", "")).get("token", [""])[0]
        if self.token is None or not compare_digest(given.encode(), self.token.encode()):
            return text_response(403, _LOST)
        self.token = None
        kept = f"{self._pass.decode()}; HttpOnly; SameSite=Strict; Path=/"
        return text_response(303, "In.", ("Location", "/"), ("Set-Cookie", kept))


def _name_in(host: str) -> str:
    """The host's name or address, without the port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


class _Sessions:
    """A store and its settings, as the dashboard asks of a middleware."""

    def __init__(self, admin: Admin) -> None:
        self.settings = admin.settings
        self.store = admin.store

    def tell(self, _events: object) -> None:
        """Nobody listens in this process."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the class above
        """Requests are not logged: the first has the token in it."""


def serving(admin: Admin, host: str, port: int, *, reveals: bool = True) -> tuple[WSGIServer, str]:
    """A server that listens, and the address to open, which lets one browser in.

    Raises:
        ConfigurationError: the address is not this machine's loopback.
        OSError: the port is taken.
    """
    check_loopback(host)
    try:
        who = getpass.getuser()
    except (KeyError, OSError, ImportError):  # pragma: no cover - in some containers nobody has a name
        who = "operator"
    dashboard = WSGIDashboard(operator=lambda _environ: who, sessions=_Sessions(admin), reveals=reveals)
    kind = type("Server6", (_Server,), {"address_family": socket.AF_INET6}) if ":" in host else _Server
    server: WSGIServer = make_server(host, port, dashboard, server_class=kind, handler_class=_Quiet)
    login = Login(dashboard, server.server_port)
    server.set_app(login)
    shown = f"[{host}]" if ":" in host else host
    return server, f"http://{shown}:{server.server_port}/?token={login.token}"
