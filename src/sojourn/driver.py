"""Sessions for any framework: the door for those that have none of their own here. See "Integrating a framework" in the documentation.

A request goes through three calls, in either colour. `begin` looks its session up, `respond` commits it and returns the headers to send,
`finish` does what is left when the response is out::

    driver = AsyncSessionDriver(secret=..., store="sqlite:///sessions.db")

    exchange = await driver.begin(request_headers, path="/", https=True)
    ...                                             # the handler uses exchange.session
    headers = await exchange.respond(response_headers)
    ...                                             # send the headers, and then the body
    await exchange.finish()
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar, Unpack

from .core.plan import Phase, Plan
from .core.session import AsyncSession, BaseSession, Session
from .core.state import Found, State
from .middleware.async_ import AsyncMiddleware
from .middleware.base import ErrorResponse, Middleware
from .middleware.exchange import Exchange
from .middleware.sync import SyncMiddleware
from .options import OptionsDict, Request
from .stores._sharing import begin_use, end_use
from .wire.headers import TEXT, with_session
from .wire.paths import encoded
from .wire.request import RequestParts

__all__ = ["AsyncSessionDriver", "AsyncSessionExchange", "ErrorResponse", "SessionDriver", "SessionExchange"]

Headers = Iterable[tuple[str, str]]

_SLOT: Final = "session"
_HOSTS: Final = ("host", "x-forwarded-host")

M = TypeVar("M", SyncMiddleware, AsyncMiddleware)
S = TypeVar("S", bound=BaseSession)


def arrive(
    middleware: Middleware,
    headers: Headers,
    path: str,
    *,
    https: bool,
    direct_tls: bool,
    query: str,
    body: bytes,
    request: Request,
) -> tuple[State, list[str]] | None:
    """What the request brings, and what it calls the host; None where it has no session."""
    reader, settings = middleware.reader, middleware.settings
    config = reader.cookie_for(request, encoded(path.encode("utf-8", "surrogatepass")))
    if config is None:
        return None
    given = [(name.lower(), value) for name, value in headers]

    def header(name: str) -> list[bytes]:
        wanted = name.lower()
        return [value.encode("latin-1", "replace") for other, value in given if other == wanted]

    forwarded = next((value for name, value in given if name == "x-forwarded-proto"), None)
    secure = reader.is_secure(https=https, forwarded=forwarded, direct=direct_tls)
    parts = RequestParts(header, query.encode("latin-1", "replace"))
    ids, source = reader.read_all(parts, config, body, secure=secure)
    kept = request if settings.keeps_request else None
    arrival = middleware.arrivals.of(config, ids, secure=secure, source=source, request=kept)
    state = State(settings, arrival, middleware, Found.PENDING if ids else Found.NOTHING)
    return state, [value for name, value in given if name in _HOSTS]


class _Exchange(Generic[M, S]):
    """What both colours share."""

    def __init__(
        self, driver: M, state: State, hosts: list[str], session: S, *, request: Request = None, found: bool = True
    ) -> None:
        self.session: S = session
        """The session: for the handler."""
        self.error: ErrorResponse | None = None if found else driver.unavailable(request)
        """The 503 to send instead of running the handler, where the store failed; else None."""
        self._driver: M = driver
        self._request = request if callable(driver.options.store_error_page) else None  # which may hold this, too
        self._slot: dict[str, Any] = {_SLOT: session, "hosts": hosts}
        self._exchange: Exchange[M] = Exchange(driver, state, session, self._slot, _SLOT, refused=not found)

    def put(self, value: object) -> None:
        """Say what the application put in the session's place, where a framework lets it.

        None unsets the session, a member of an enumeration ends it, anything else is another layer's and changes nothing.
        """
        self._slot[_SLOT] = value

    def _unavailable(self) -> ErrorResponse:
        self._exchange.state.sent = self._exchange.refused = True
        self.error = self._driver.unavailable(self._request)
        return self.error

    def _headers(self, plan: Plan, headers: Headers) -> list[tuple[str, str]]:
        self._exchange.state.sent = True
        if plan.header is not None:
            self._exchange.check_domain(plan.header)
        vary = self._driver.reader.vary if plan.vary else ()
        return with_session(headers, TEXT, session_header=plan.header, vary=vary, clears=plan.clears)


class SessionExchange(_Exchange[SyncMiddleware, Session]):
    """One request and its response, in the sync colour."""

    def respond(self, headers: Headers = ()) -> list[tuple[str, str]] | ErrorResponse:
        """Commit the session, once, when the response's headers are about to leave.

        Args:
            headers: the response's own.

        Returns:
            The headers to send, which are the given ones and what the session adds. Or, where the store failed, the 503 to send
            in the application's place.

        Raises:
            SessionEncodeError: the handler put something into the session that cannot be stored. Send an error page, by calling
                this again with its headers. Nothing of the request is saved.
            SessionTooLarge: the record is larger than the store takes. Likewise.
        """
        plan = None if self._exchange.refused else self._exchange.prepare(Phase.RESPONSE)
        if plan is not None and plan.needs_store:
            plan = self._driver.respond(self._exchange, plan, Phase.RESPONSE)
        return self._unavailable() if plan is None else self._headers(plan, headers)

    def finish(self, *, failed: bool = False) -> None:
        """Do what is left when the response is out: save what was changed late, and give an exclusive session back. Always call it.

        Args:
            failed: the handler raised. Nothing is saved; only what was to end ends.
        """
        self._driver.finish(self._exchange, failed=failed)


class AsyncSessionExchange(_Exchange[AsyncMiddleware, AsyncSession]):
    """One request and its response, in the async colour; each call means what it means in `SessionExchange`."""

    async def respond(self, headers: Headers = ()) -> list[tuple[str, str]] | ErrorResponse:
        """Commit the session, once, when the response's headers are about to leave; see `SessionExchange.respond`."""
        plan = None if self._exchange.refused else self._exchange.prepare(Phase.RESPONSE)
        if plan is not None and plan.needs_store:
            plan = await self._driver.respond(self._exchange, plan, Phase.RESPONSE)
        return self._unavailable() if plan is None else self._headers(plan, headers)

    async def finish(self, *, failed: bool = False) -> None:
        """Do what is left when the response is out; see `SessionExchange.finish`."""
        await self._driver.finish(self._exchange, failed=failed)


class SessionDriver(SyncMiddleware):
    """Opens sessions for requests, in the sync colour.

    Args:
        options: the middleware's; see `sojourn.options.Options`. ``secret`` is required.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, **options: Unpack[OptionsDict]) -> None:
        super().__init__(options)

    def begin(
        self,
        headers: Headers,
        *,
        path: str = "/",
        https: bool = False,
        direct_tls: bool = False,
        query: str = "",
        body: bytes = b"",
        request: Request = None,
    ) -> SessionExchange | None:
        """Look up the session of a request.

        Args:
            headers: the request's.
            path: its path, percent-decoded, with all prefixes that a mount may have taken away.
            https: what the server says of the request's scheme; `Options.trust_proxy` says what else counts.
            direct_tls: the server itself ended TLS.
            query: the URL's query, percent-encoded; only needed with a `QueryTransport`.
            body: the beginning of the body; only needed with a `FormTransport`.
            request: what the options that are functions of the request are given.

        Returns:
            The exchange. None where the request has no session, as its path is outside the cookie's or excluded.
        """
        arrived = arrive(
            self, headers, path, https=https, direct_tls=direct_tls, query=query, body=body, request=request
        )
        if arrived is None:
            return None
        state, hosts = arrived
        is_lazy = self.options.lazy or not state.arrival.ids
        found = is_lazy or self.look_up_or_note(state)
        return SessionExchange(self, state, hosts, Session(state), request=request, found=found)

    def open(self) -> None:
        """Open the store. Optional: the first request does it, too.

        Raises:
            StoreError: it cannot be opened.
        """
        begin_use(self.store, self)
        self.store.open()

    def close(self) -> None:
        """Close what the store itself opened, unless another driver or middleware has it open too."""
        if end_use(self.store, self):
            self.store.close()


class AsyncSessionDriver(AsyncMiddleware):
    """Opens sessions for requests, in the async colour; see `SessionDriver`."""

    def __init__(self, **options: Unpack[OptionsDict]) -> None:
        super().__init__(options)

    async def begin(
        self,
        headers: Headers,
        *,
        path: str = "/",
        https: bool = False,
        direct_tls: bool = False,
        query: str = "",
        body: bytes = b"",
        request: Request = None,
    ) -> AsyncSessionExchange | None:
        """Look up the session of a request; see `SessionDriver.begin`."""
        arrived = arrive(
            self, headers, path, https=https, direct_tls=direct_tls, query=query, body=body, request=request
        )
        if arrived is None:
            return None
        state, hosts = arrived
        is_lazy = self.options.lazy or not state.arrival.ids
        found = is_lazy or await self.look_up_or_note(state)
        return AsyncSessionExchange(self, state, hosts, AsyncSession(state), request=request, found=found)

    async def open(self) -> None:
        """Open the store. Optional: the first request does it, too."""
        begin_use(self.store, self)
        await self.store.open()

    async def close(self) -> None:
        """Close what the store itself opened, unless another driver or middleware has it open too."""
        if end_use(self.store, self):
            await self.store.close()
