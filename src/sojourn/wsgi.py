"""Sessions for WSGI (PEP 3333): ``environ["sojourn.session"]``.

The session is loaded before the application runs and committed at the first non-empty chunk, at ``write()`` or when the body ends,
before any byte leaves.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias, Unpack

from .cookie import Cookie
from .core.plan import Phase
from .core.session import BaseSession, Session
from .core.state import Arrival, Found, State
from .logs import warn_once
from .middleware.exchange import Exchange
from .middleware.sync import SyncMiddleware
from .options import OptionsDict
from .wire.headers import TEXT, with_session
from .wire.id_source import IdSource
from .wire.request import RequestParts, without_field
from .wire.signing import Verified

__all__ = ["ENVIRON_KEY", "SessionMiddleware"]

ENVIRON_KEY: Final = "sojourn.session"

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
WSGIApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class SessionMiddleware(SyncMiddleware):
    """WSGI middleware that gives every request a session.

    Args:
        app: the WSGI application.
        options: see `sojourn.options.Options`; ``secret`` is required.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, app: WSGIApp, **options: Unpack[OptionsDict]) -> None:
        super().__init__(options)
        self.app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = (
            (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")
        )
        config = self.reader.cookie_for(environ, path)
        if config is None:
            return self.app(environ, start_response)
        already = environ.get(ENVIRON_KEY)
        if isinstance(already, BaseSession):
            warn_once("twice", "a request had a session already when SessionMiddleware met it: is it installed twice?")
            return self.app(environ, start_response)
        if already is not None:  # another layer's, which stays where it is
            environ = dict(environ)
        secure = self._is_secure(environ)
        ids, source = self._read(config, secure, environ)
        request = environ if self.settings.keeps_request else None
        state = State(
            self.settings,
            Arrival(config, secure, tuple(ids), source, request),
            self,
            Found.PENDING if ids else Found.NOTHING,
        )
        session = Session(state)
        exchange = _Response(self, state, session, environ, ENVIRON_KEY, forward=start_response)
        if ids and not self.options.lazy and not self.look_up_or_note(state):
            page = exchange.send_unavailable()
            self.run(exchange.finish(failed=True))
            return page
        environ[ENVIRON_KEY] = session
        try:
            body = self.app(environ, exchange.start_response)
        except BaseException:
            self.run(exchange.finish(failed=True))
            raise
        return exchange.body(body)

    def _is_secure(self, environ: Environ) -> bool:
        https = environ.get("wsgi.url_scheme") == "https"
        if self.options.trust_proxy is None:
            return https
        return self.reader.is_secure(https=https, forwarded=environ.get("HTTP_X_FORWARDED_PROTO"), direct=False)

    def _read(self, config: Cookie, secure: bool, environ: Environ) -> tuple[Sequence[Verified], IdSource | None]:
        """The ids of a request. Where they may come by a form or the query, these are changed as the application is to get them."""

        def header(name: str) -> list[bytes]:
            key = name.upper().replace("-", "_")
            value = environ.get(key if key == "CONTENT_TYPE" else f"HTTP_{key}")
            return [value.encode("latin-1", "replace")] if value else []

        reader = self.reader
        if reader.by_cookie:
            return reader.ids(header("Cookie"), config, secure=secure), None
        query: str = environ.get("QUERY_STRING", "")
        ids: list[Verified] = []
        source = None
        steps = reader.read(RequestParts(header, query.encode("latin-1")), config, secure=secure)
        try:
            steps.send(_beginning(environ, next(steps)))
        except StopIteration as stop:
            ids, source = stop.value
        for parameter in reader.parameters if query else ():
            kept = without_field(environ["QUERY_STRING"].encode("latin-1"), parameter)
            environ["QUERY_STRING"] = kept.decode("latin-1")
        return ids, source


def _beginning(environ: Environ, size: int) -> bytes:
    """The first bytes of a body, which the app reads again."""
    length = environ.get("CONTENT_LENGTH") or "0"
    left = int(length) if length.isascii() and length.isdigit() else 0
    if not left:  # how long it is the server alone knows
        return b""
    rest = environ["wsgi.input"]
    beginning: bytes = rest.read(min(size, left))
    environ["wsgi.input"] = io.BufferedReader(_Replayed(beginning, rest, left - len(beginning)))
    return beginning


class _Replayed(io.RawIOBase):
    """A body whose beginning was read before. It never reads beyond the body's end, where a server's input may wait for ever."""

    def __init__(self, beginning: bytes, rest: Any, left: int) -> None:
        self._beginning = beginning
        self._rest = rest
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        if self._beginning:
            chunk, self._beginning = self._beginning[:size], self._beginning[size:]
        else:
            chunk = self._rest.read(min(size, self._left)) if self._left else b""
            self._left -= len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Response(Exchange[SessionMiddleware], kw_only=True):
    """One request and its response: holds the headers back until the session is committed."""

    forward: StartResponse
    started: tuple[str, list[tuple[str, str]]] | None = None
    """What the application called ``start_response`` with."""
    server_write: Callable[[bytes], object] | None = None
    instead: bytes = b""
    """The 503's body, sent in place of the application's."""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """What the application calls; its headers wait for the commit. With exc_info it may call again until they have left."""
        if self.refused:  # the 503 stands: a server that has sent nothing of it yet would take these headers instead
            return self.write
        if self.state.sent:
            return self.forward(status, headers, exc_info)  # the server knows what is right now
        if self.started is not None and exc_info is None:
            raise AssertionError("start_response was called twice without exc_info (PEP 3333)")
        self.started = status, list(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """PEP 3333's imperative way to send."""
        if data:
            self.leave()
        if not self.refused and self.server_write is not None:
            self.server_write(data)

    def body(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The body as the server gets it."""
        wrapper = self.slot.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper) and self.started is not None:
            # The server may send such a file by itself, and no code of the application runs meanwhile: nothing is left to wait for.
            try:
                self.leave()
            finally:
                self.end(failed=False)
            if not self.refused:
                return body
        return _Body(self, body)

    def leave(self) -> bytes | None:
        """Commit, once, and let the headers go; returns the body to send in the application's place, None for its own."""
        if self.state.sent:
            return self.instead if self.refused else None
        if self.started is None:
            raise AssertionError("the app sent a body before it called start_response (PEP 3333)")
        plan = self.prepare(Phase.RESPONSE)
        if plan is not None and plan.needs_store:
            plan = self.middleware.run(self.respond(plan, Phase.RESPONSE))
        if plan is None:
            self.send_unavailable()
            return self.instead
        self.state.sent = True
        status, headers = self.started
        if plan.header is not None or plan.vary:
            vary = self.middleware.reader.vary if plan.vary else ()
            headers = with_session(headers, TEXT, session_header=plan.header, vary=vary)
        self.server_write = self.forward(status, headers)
        return None

    def end(self, *, failed: bool) -> None:
        """After the application is done."""
        if failed or not self.is_idle:
            self.middleware.run(self.finish(failed=failed))

    def send_unavailable(self) -> list[bytes]:
        """Send a 503 in the application's place."""
        self.state.sent = self.refused = True
        status, headers, self.instead = self.middleware.unavailable()
        self.forward(f"{status} Service Unavailable", headers)
        return [self.instead]


class _Body:
    """The app's body: the first non-empty chunk, or the end, commits; ``close()`` saves what came late."""

    def __init__(self, exchange: _Response, body: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._body = body
        self._chunks: Iterator[bytes] | None = None
        self._failed = False
        self._done = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        if self._done:
            raise StopIteration
        try:
            if self._chunks is None:
                self._chunks = iter(self._body)
            chunk = next(self._chunks, None)
            # Even an empty chunk must not reach the server before start_response has (PEP 3333).
            while chunk is not None and not chunk and not exchange.state.sent:
                chunk = next(self._chunks, None)
            instead = exchange.leave()
        except BaseException:
            self._failed = True
            raise
        if instead is not None:
            self._done = True
            return instead
        if chunk is None:
            self._done = True
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Called by the server in any case (PEP 3333), also when the client has gone."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException:
            self._failed = True
            raise
        finally:
            self._exchange.end(failed=self._failed)
