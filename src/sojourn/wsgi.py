"""Sessions for WSGI (PEP 3333): ``environ["sojourn.session"]``.

The session is loaded before the app runs and committed at the first non-empty chunk, at ``write()`` or when the body ends,
before any byte leaves.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias, Unpack

from .core import commit as apply
from .core.plan import Phase, Plan
from .core.session import Session
from .core.transitions import arrived
from .errors import SojournError, StoreError
from .logs import warn_once
from .middleware.base import Adapter
from .middleware.sessions import Sessions
from .options import OptionsDict
from .wire.headers import TEXT, with_session
from .wire.request import Brought, without_field
from .wire.signing import Verified

__all__ = ["ENVIRON_KEY", "SessionMiddleware"]

ENVIRON_KEY: Final = "sojourn.session"

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
WSGIApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class SessionMiddleware(Adapter):
    """WSGI middleware that gives every request a session.

    Args:
        app: the WSGI application.
        options: see `sojourn.options.Options`; ``secret`` is required.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, app: WSGIApp, **options: Unpack[OptionsDict]) -> None:
        super().__init__(options, asynchronous=False)
        self.app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = (
            (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")
        )
        config = self.incoming.cookie_for(environ, path)
        if config is None:
            return self.app(environ, start_response)
        if environ.get(ENVIRON_KEY) is not None:
            warn_once("twice", "a request had a session already when SessionMiddleware met it: is it installed twice?")
            return self.app(environ, start_response)
        secure = self._is_secure(environ)
        session = Session(self.policy.rules, environ, config, secure, self)
        exchange = _Exchange(self, session, environ, start_response)
        ids = self._ids(session, environ)
        if ids:
            self.expect(session, ids)
            if not self.policy.options.lazy:
                try:
                    self.arrive(session)
                except StoreError as error:
                    if not self.load_failed(session, error):
                        page = exchange.unavailable()
                        exchange.end(failed=True)
                        return page
        environ[ENVIRON_KEY] = session
        try:
            body = self.app(environ, exchange.start_response)
        except BaseException:
            exchange.end(failed=True)
            raise
        return exchange.respond(body)

    def _is_secure(self, environ: Environ) -> bool:
        https = environ.get("wsgi.url_scheme") == "https"
        if self.policy.options.trust_proxy is None:
            return https
        return self.incoming.is_secure(https=https, forwarded=environ.get("HTTP_X_FORWARDED_PROTO"), direct=False)

    def _ids(self, session: Session, environ: Environ) -> Sequence[Verified]:
        """The ids of a request. Where they may come by a form or the query, these are changed as the app is to get them."""

        def header(name: str) -> list[bytes]:
            key = name.upper().replace("-", "_")
            value = environ.get(key if key == "CONTENT_TYPE" else f"HTTP_{key}")
            return [value.encode("latin-1", "replace")] if value else []

        incoming = self.incoming
        if incoming.by_cookie:
            return incoming.ids(header("Cookie"), session._config, secure=session._secure)
        query: str = environ.get("QUERY_STRING", "")
        ids: list[Verified] = []
        steps = incoming.look(Brought(header, query.encode("latin-1")), session._config, secure=session._secure)
        try:
            steps.send(_beginning(environ, next(steps)))
        except StopIteration as stop:
            ids, session._way = stop.value
        for parameter in incoming.parameters if query else ():
            kept = without_field(environ["QUERY_STRING"].encode("latin-1"), parameter)
            environ["QUERY_STRING"] = kept.decode("latin-1")
        return ids

    # -- what the session asks for ------------------------------------------------------------------------------------

    def _run(self, steps: apply.Steps[Any]) -> Any:
        answer = apply.run(steps, self.store)
        self.writes.worked()
        return answer

    def arrive(self, session: Session) -> None:
        """Look up the session that the request asks for; where it is exclusive, once nobody else has it."""
        if self.policy.options.exclusive is not None and session._lock is None and self.is_exclusive(session):
            key = self.policy.rules.key_of(session._candidates[0].id)
            session._lock = key, self._run(apply.acquire(key))
        key_of, load = self.policy.rules.key_of, self.store.load
        for verified in session._candidates:
            key = key_of(verified.id)
            if arrived(session, verified, key, load(key)):
                break
        self.loads.worked()

    def load(self, session: Session) -> None:
        try:
            self.arrive(session)
        except StoreError as error:
            self.lazy_load_failed(session, error)

    def unlock(self, key: str, token: str) -> None:
        """Give an exclusive session back; failing that, its lock expires."""
        try:
            self.store.unlock(key, token)
        except StoreError as error:
            self.writes.failed(error, "a lock is left to expire")

    def save(self, session: Session) -> None:
        self._run(apply.save(self.policy, session))

    def reload(self, session: Session) -> None:
        self._run(apply.reload(self.policy, session))

    @property
    def sessions(self) -> Sessions:
        return Sessions(self.store, self.policy.rules)

    def commit(self, session: Session, plan: Plan, phase: Phase) -> Plan:
        """Carry a plan out."""
        done: Plan = self._run(apply.commit(self.policy, session, plan, phase))
        return done


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


class _Exchange:
    """One request and its response: holds the headers back until the session is committed."""

    def __init__(
        self, middleware: SessionMiddleware, session: Session, environ: Environ, forward: StartResponse
    ) -> None:
        self._middleware = middleware
        self._session = session
        self._environ = environ
        self._forward = forward
        self._started: tuple[str, list[tuple[str, str]]] | None = None
        self._write: Callable[[bytes], object] | None = None
        self._instead: bytes | None = None  # the 503's body, sent in place of the app's

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """What the app calls; its headers wait for the commit. With exc_info it may call again until they have left."""
        if self._session._late:
            return self._forward(status, headers, exc_info)  # the server knows what is right now
        if self._started is not None and exc_info is None:
            raise AssertionError("start_response was called twice without exc_info (PEP 3333)")
        self._started = status, list(headers)
        return self.write

    @property
    def committed(self) -> bool:
        """Whether the headers have left."""
        return self._session._late

    def write(self, data: bytes) -> None:
        """PEP 3333's imperative way to send."""
        if data:
            self._leave()
        if self._instead is None and self._write is not None:
            self._write(data)

    def respond(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The body as the server gets it."""
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper) and self._started is not None:
            # The server may send such a file by itself, and no code of the app runs meanwhile: nothing is left to wait for.
            try:
                self._leave()
            finally:
                self.end(failed=False)
            if self._instead is None:
                return body
        return _Body(self, body)

    def _leave(self) -> None:
        """Commit, once, and let the headers go."""
        if self._session._late:
            return
        if self._started is None:
            raise AssertionError("the app sent a body before it called start_response (PEP 3333)")
        try:
            plan = self._commit(Phase.RESPONSE)
        except StoreError:
            self.unavailable()
            return
        self._session._late = True
        status, headers = self._started
        if plan.header is not None or plan.vary:
            vary = self._middleware.incoming.vary if plan.vary else ()
            headers = with_session(headers, TEXT, told=plan.header, vary=vary)
        self._write = self._forward(status, headers)

    def _commit(self, phase: Phase) -> Plan:
        middleware, session, plan = self._middleware, self._session, None
        try:
            plan = middleware.plan(session, self._environ, ENVIRON_KEY, phase)
            return plan if plan.write is None else middleware.commit(session, plan, phase)
        except StoreError as error:
            return middleware.commit_failed(session, plan, error)
        except SojournError:
            session._drop()  # the framework's error page must not fail over it again
            raise

    def end(self, *, failed: bool) -> None:
        """After the app is done: late changes, and a destroy by a handler that raised."""
        session, middleware = self._session, self._middleware
        try:
            if self._instead is None:
                self._commit(Phase.LATE if session._late and not failed else Phase.FAILED)
        except SojournError as error:
            middleware.lost(error)
        finally:
            lock, session._lock = session._lock, None
            if lock is not None:
                middleware.unlock(*lock)

    def unavailable(self) -> list[bytes]:
        """Answer 503 in the app's place."""
        self._session._late = True
        status, headers, body = self._middleware.unavailable()
        self._instead = body
        self._forward(f"{status} Service Unavailable", headers)
        return [body]


class _Body:
    """The app's body: the first non-empty chunk, or the end, commits; ``close()`` saves what came late."""

    def __init__(self, exchange: _Exchange, body: Iterable[bytes]) -> None:
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
            while chunk is not None and not chunk and not exchange.committed:
                chunk = next(self._chunks, None)
            exchange._leave()
        except BaseException:
            self._failed = True
            raise
        if exchange._instead is not None:
            self._done = True
            return exchange._instead
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
