"""The dashboard in WSGI."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final, Unpack

from ..middleware.drive import run
from ..middleware.sync import SyncMiddleware
from ..options import OptionsDict
from ..wsgi import refusal_in
from .board import MOST_BODY, NAP, Request, Response
from .faces import Face, cut_short, place, too_large

__all__ = ["WSGIDashboard"]

_FIRST: Final = 0.5
"""Seconds that the first visitor waits for figures at most."""


class WSGIDashboard(Face):
    """The dashboard as a WSGI application; see `ASGIDashboard`.

    Args:
        operator: the guard: a function of the request (the WSGI environ) that returns who the operator is, or None.
        reveals: whether an operator may see the values that sessions hold.
        trusted_origins: other origins whose forms may reach the dashboard.
        options: the middleware's, as the site's sessions have them.
        sessions: instead of options, a middleware or a driver that has them.

    Raises:
        ConfigurationError: there is no guard, or an option is wrong.
    """

    def __init__(
        self,
        *,
        operator: Callable[[Any], str | None],
        sessions: Any = None,
        reveals: bool = True,
        trusted_origins: Sequence[str] = (),
        **options: Unpack[OptionsDict],
    ) -> None:
        super().__init__(SyncMiddleware, operator, sessions, options, reveals=reveals, trusted_origins=trusted_origins)
        self._process: int | None = None
        self._mutex = threading.Lock()
        self._sampled = threading.Event()
        self._stopped = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        response = self._respond(environ)
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", response.headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]

    def _respond(self, environ: dict[str, Any]) -> Response:
        refused = refusal_in(environ, self.rules)
        if refused is not None:
            return Response(403, refused.headers, refused.body)
        name = self.named(self.operator(environ))
        if isinstance(name, Response):
            return name
        method: str = environ["REQUEST_METHOD"]
        form = b""
        if method == "POST":
            length = environ.get("CONTENT_LENGTH") or "0"
            if not (length.isascii() and length.isdecimal()) or int(length) > MOST_BODY:
                return too_large()
            form = environ["wsgi.input"].read(int(length))
            if len(form) < int(length):
                return cut_short()
        base, path = _decoded(environ.get("SCRIPT_NAME", "")), _decoded(environ.get("PATH_INFO", ""))
        self._keep_sampling()
        request = Request(method, *place(base, path), environ.get("QUERY_STRING", ""), form.decode("latin-1"), name)
        response = run(self.board.respond(request), self.sessions.store)
        if response.ended is not None:
            self.sessions.tell(self.events(response.ended))
        return response

    def _keep_sampling(self) -> None:
        """See to it that samples are taken in this process; wait a moment for the first."""
        with self._mutex:
            is_first = self._process != os.getpid()
            if is_first:
                self._process = os.getpid()
                self._sampled, self._stopped = threading.Event(), threading.Event()
                threading.Thread(target=self._sample, name="sojourn-dashboard", daemon=True).start()
        if is_first and self.board.is_due:
            self._sampled.wait(_FIRST)

    def _sample(self) -> None:
        stopped = self._stopped
        while not stopped.is_set():
            if self.board.is_due:
                run(self.board.sample(), self.sessions.store)
                self._sampled.set()
            stopped.wait(NAP)

    def close(self) -> None:
        """Take no more samples in this process."""
        self._stopped.set()


def _decoded(path: str) -> str:
    """A path of an environ, whose characters are bytes (PEP 3333); a view that made one by hand may have decoded it already."""
    try:
        return path.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return path
