"""Sessions for WSGI (PEP 3333): ``environ["sojourn.session"]``.

The session is loaded before the application runs and committed before any byte leaves: at ``write()``, or within the call, when the body
turns out to be empty or its first chunk that is not has been drawn.

`CrossSiteGuard` refuses what another site's page has the browser send, with sessions or without.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, Unpack

from .cookie import Cookie
from .core.ended import end
from .core.plan import Phase
from .core.session import BaseSession, Session, set_state
from .core.state import Arrival, Found, State
from .errors import SessionEncodeError
from .guard import CrossSiteRules, GuardOptions, Refusal, is_handshake
from .logs import log, warn_once
from .middleware.exchange import Exchange
from .middleware.sync import SyncMiddleware
from .options import OptionsDict
from .wire.forms import without_field
from .wire.headers import TEXT, with_session
from .wire.paths import encoded
from .wire.request import RequestParts
from .wire.signing import Verified

__all__ = ["ENVIRON_KEY", "CrossSiteGuard", "SessionMiddleware", "path_of"]

ENVIRON_KEY: Final = "sojourn.session"
_HOSTS: Final = ("HTTP_HOST", "HTTP_X_FORWARDED_HOST")
_PENDING: Final = Found.PENDING
_new: Final = Session.__new__

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
WSGIApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class EnvironReader(SyncMiddleware):
    """The middleware of a door on WSGI: it reads requests from their environ."""

    is_always_secure: bool = False
    """The application says that its browsers' connections are https, whatever the environ says."""

    def arrive(self, environ: Environ) -> Arrival | None:
        """What a request brings; None where it has no session.

        Where ids may come by a form or the query, these are changed as the application is to get them.
        """
        reader = self.reader
        config = reader.cookie_everywhere
        if config is None:
            config = reader.cookie_for(environ, path_of(environ))
            if config is None:
                return None
        secure = environ.get("wsgi.url_scheme") == "https"
        if self.options.trust_proxy is not None:
            secure = reader.is_secure(https=secure, forwarded=environ.get("HTTP_X_FORWARDED_PROTO"), direct=False)
        if self.is_always_secure:
            secure = True
        cookies: str = environ.get("HTTP_COOKIE", "")
        cookie_header = cookies.encode("latin-1", "replace") if cookies else None
        arrivals = self.arrivals
        known = arrivals.known[secure].get(cookie_header) if reader.by_cookie else None
        if known is not None:
            return known
        request = environ if self.settings.keeps_request else None
        if not reader.by_cookie:
            return self._read(config, secure, environ, request)
        if cookie_header is None:
            return arrivals.of(config, (), secure=secure, request=request)
        return arrivals.by_cookie(cookie_header, config, secure=secure, request=request)

    def _read(self, config: Cookie, secure: bool, environ: Environ, request: Environ | None) -> Arrival:
        """What a request brings by whatever transport."""

        def header(name: str) -> list[bytes]:
            key = name.upper().replace("-", "_")
            value = environ.get(key if key == "CONTENT_TYPE" else f"HTTP_{key}")
            return [value.encode("latin-1", "replace")] if value else []

        reader = self.reader
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
        return self.arrivals.of(config, ids, secure=secure, source=source, request=request)


def path_of(environ: Environ) -> str:
    """The path as the browser sees it."""
    path: str = environ.get("SCRIPT_NAME", "").rstrip("/") + environ.get("PATH_INFO", "")
    return encoded(path.encode("latin-1"))


R = TypeVar("R", bound=EnvironReader)


class SessionMiddleware(EnvironReader):
    """WSGI middleware that gives every request a session.

    Args:
        app: the WSGI application.
        options: see `sojourn.options.Options`; ``secret`` is required.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    session_class: type[Session] = Session
    """What the application sees; a framework's door may have a face of its own."""
    exchange_class: type[WSGIExchange[Any]]

    def __init__(self, app: WSGIApp, **options: Unpack[OptionsDict]) -> None:
        super().__init__(options)
        self.app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        already = environ.get(ENVIRON_KEY)
        if already is not None:
            if isinstance(already, BaseSession):
                warn_once(
                    "twice", "a request had a session already when SessionMiddleware met it: is it installed twice?"
                )
                return self.app(environ, start_response)
            environ = dict(environ)  # another layer's, which stays where it is
        arrival = self.arrive(environ)
        if arrival is None:
            return self.app(environ, start_response)
        state = State(self.settings, arrival, self)
        session = _new(self.session_class)
        set_state(session, state)
        exchange = self.exchange_class(self, state, session, environ, ENVIRON_KEY, start_response)
        if arrival.ids:
            state.found = _PENDING
            if not self.options.lazy and not self.look_up_or_note(state):
                return exchange.send_unavailable()
        environ[ENVIRON_KEY] = session
        try:
            body = self.app(environ, exchange.start_response)
        except BaseException:
            self.finish(exchange, failed=True)
            raise
        return exchange.body(body)


_is_length: Final = re.compile("[0-9]{1,18}", re.ASCII).fullmatch


def _beginning(environ: Environ, size: int) -> bytes:
    """The first bytes of a body, which the app reads again."""
    length = environ.get("CONTENT_LENGTH") or "0"
    left = int(length) if _is_length(length) else 0
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


class EnvironExchange(Exchange[R]):
    """One request on WSGI and its response."""

    def leave(self) -> bytes | None:
        """Let the headers go; returns the body to send in the application's place, None for its own."""
        return None

    def end(self, *, failed: bool) -> None:
        """After the application is done."""
        if failed or not self.is_idle:
            self.middleware.finish(self, failed=failed)
        else:
            end(self.session)


M = TypeVar("M", bound=SessionMiddleware)


class WSGIExchange(EnvironExchange[M]):
    """Holds the headers back until the session is committed."""

    started: tuple[str, list[tuple[str, str]]] | None = None
    """What the application called ``start_response`` with."""
    server_write: Callable[[bytes], object] | None = None
    instead: bytes = b""
    """The body that is sent in place of the application's: the 503's."""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """What the application calls; its headers wait for the commit. With exc_info it may call again until they have left."""
        if self.refused:  # the 503 stands: a server that has sent nothing of it yet would take these headers instead
            return self.write
        if self.state.sent:
            passed: Callable[[bytes], object] = self.forward(status, headers, exc_info)
            return passed  # the server knows what is right now
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
        if type(body) is not list and type(body) is not tuple and not (is_file(body, self.slot) and self.started):
            return Body(self, body).begun()
        # No code of the application runs from here on: nothing is left to wait for. A file the server may send by itself.
        try:
            instead = self.leave()
        except BaseException:
            close(body)  # a file, which the server does not learn of
            raise
        finally:
            self.end(failed=False)
        return body if instead is None else Body(self, body)

    def leave(self) -> bytes | None:
        """Commit, once, and let the headers go; returns the body to send in the application's place, None for its own."""
        if self.state.sent:
            return self.instead if self.refused else None
        if self.started is None:
            raise AssertionError("the app sent a body before it called start_response (PEP 3333)")
        try:
            plan = self.prepare(Phase.RESPONSE)
            if plan is not None and (plan.write is not None or plan.ends):
                plan = self.middleware.respond(self, plan, Phase.RESPONSE)
        except SessionEncodeError as error:  # no error handler of the application's hears of it
            log.error("a value in the session cannot be stored, and the response is an error: %s", error.reason)
            raise
        if plan is None:
            self.send_unavailable()
            return self.instead
        self.state.sent = True
        status, headers = self.started
        if plan.header is not None or plan.vary:
            if plan.header is not None:
                self.check_domain(plan.header)
            vary = self.middleware.reader.vary if plan.vary else ()
            headers = with_session(headers, TEXT, session_header=plan.header, vary=vary, clears=plan.clears)
        self.server_write = self.forward(status, headers)
        return None

    def hosts(self) -> list[str]:
        return [self.slot[name] for name in _HOSTS if self.slot.get(name)]

    def send_unavailable(self) -> list[bytes]:
        """Send a 503 in the application's place."""
        status, headers, body = self.middleware.unavailable(self.slot)
        return self.send_instead(f"{status} Service Unavailable", headers, body)

    def send_instead(self, status: str, headers: list[tuple[str, str]], body: bytes) -> list[bytes]:
        """Send another response in the application's place."""
        self.state.sent = True
        self.forward(status, headers)
        return [self.swallow(body)]

    def swallow(self, body: bytes) -> bytes:
        """Send this body in the place of whatever the application still sends."""
        self.refused = True
        self.instead = body
        return body


SessionMiddleware.exchange_class = WSGIExchange


def is_file(body: Iterable[bytes], environ: Mapping[str, Any]) -> bool:
    """Whether a body is a file in the server's own wrapper, which the server may send by itself."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def close(body: Iterable[bytes]) -> None:
    """Close a body, if it is one that wants to be (PEP 3333)."""
    method = getattr(body, "close", None)
    if method is not None:
        method()


class Body:
    """The app's body: the first non-empty chunk, or the end, commits. What came late is saved at the end, and by ``close()``."""

    def __init__(self, exchange: EnvironExchange[Any], body: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._body = body
        self._chunks: Iterator[bytes] | None = None
        self._first: bytes | None = None
        self._failed = False
        self._done = False

    def begun(self) -> Body:
        """Itself, with its first chunk drawn: some servers read the headers when the call of the application returns."""
        try:
            self._first = next(self, None)
        except BaseException:
            self.close()
            raise
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._done:
            raise StopIteration
        try:
            if self._chunks is None:
                self._chunks = iter(self._body)
            chunk = next(self._chunks, None)
            # Even an empty chunk must not reach the server before start_response has (PEP 3333).
            while chunk is not None and not chunk and not exchange.state.sent:
                chunk = next(self._chunks, None)
            instead = exchange.leave() if exchange.refused or not exchange.state.sent else None
        except BaseException:
            self._failed = True
            raise
        if instead is not None:
            self._done = True
            return instead
        if chunk is None:
            self._done = True
            exchange.end(failed=False)  # before the server tells the client that this was all
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Called by the server in any case (PEP 3333), also when the client has gone."""
        try:
            close(self._body)
        except BaseException:
            self._failed = True
            raise
        finally:
            self._exchange.end(failed=self._failed)


def refusal_in(environ: Environ, rules: CrossSiteRules) -> Refusal | None:
    """Why a request is refused; None if it is not. The handshake of a WebSocket is known by its ``Upgrade``."""

    def header(name: str) -> list[str]:
        value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return [] if value is None else [value]

    return rules.refusal(
        environ["REQUEST_METHOD"],
        partial(path_of, environ),
        header,
        https=environ.get("wsgi.url_scheme") == "https",
        websocket=is_handshake(header("Upgrade")),
    )


class CrossSiteGuard:
    """WSGI middleware that refuses what a page of another site has the browser send, by a 403: forms, requests, and WebSockets.

    Add it outside of the sessions, so that what is refused loads none.

    Args:
        app: the WSGI application.
        options: see `sojourn.guard.CrossSiteRules`.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, app: WSGIApp, **options: Unpack[GuardOptions]) -> None:
        self.app = app
        self.rules: CrossSiteRules = CrossSiteRules(**options)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        refusal = refusal_in(environ, self.rules)
        if refusal is None:
            return self.app(environ, start_response)
        start_response("403 Forbidden", refusal.headers)
        return [refusal.body]
