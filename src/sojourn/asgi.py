"""Sessions for ASGI: ``scope["session"]``, which is ``request.session`` in Starlette, FastAPI and Litestar.

The session is loaded before the application runs and committed when its response starts, before any byte leaves.

`CrossSiteGuard` refuses what another site's page has the browser send, with sessions or without.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, Unpack

from .cookie import Cookie
from .core.ended import become, ended
from .core.noting import notes_of
from .core.plan import Phase, Plan
from .core.policy import needs_late_commit
from .core.session import AsyncSession, set_state
from .core.state import Arrival, Found, Intent, State
from .errors import StoreError
from .guard import CrossSiteRules, GuardOptions, Refusal
from .logs import warn_once
from .middleware.async_ import AsyncMiddleware
from .middleware.base import ErrorResponse
from .middleware.exchange import Exchange
from .middleware.sockets import POLICY_VIOLATION, REASON, LiveSocket
from .options import OptionsDict
from .stores._sharing import begin_use, end_use
from .wire.forms import without_field
from .wire.headers import BYTES, with_session
from .wire.paths import encoded, under
from .wire.request import RequestParts
from .wire.signing import Verified

__all__ = ["CrossSiteGuard", "SessionMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_SLOT: Final = "session"
"""Where frameworks find the session, and where applications and other layers may put something else."""
OWN_PLACE: Final = "sojourn.session"
"""Where it is, whatever becomes of the slot."""

# The messages with which a response's headers leave. A socket closed before it was accepted has no headers of ours.
_STARTS: Final = {
    "http.response.start": Phase.RESPONSE,
    "websocket.accept": Phase.RESPONSE,
    "websocket.http.response.start": Phase.RESPONSE,
    "websocket.close": Phase.LATE,
}
_ENDS: Final = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")
_KINDS: Final = ("http", "websocket")
_SECURE: Final = ("https", "wss")
_HOSTS: Final = (b"host", b"x-forwarded-host")
_PENDING: Final = Found.PENDING
_UNCHANGED: Final = Intent.NONE
_new: Final = AsyncSession.__new__


class SessionMiddleware(AsyncMiddleware):
    """ASGI middleware that gives every HTTP request and WebSocket a session.

    Args:
        app: the ASGI application.
        options: see `sojourn.options.Options`; ``secret`` is required.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    session_class: type[AsyncSession] = AsyncSession
    """What the application sees; a framework's door may have a face of its own."""
    exchange_class: type[ASGIExchange[Any]]

    def __init__(self, app: ASGIApp, **options: Unpack[OptionsDict]) -> None:
        super().__init__(options)
        self.app = app
        self._ended = ended(self.session_class)
        self.vary: list[bytes] = [name.encode() for name in self.reader.vary]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        reader = self.reader
        config = None
        if kind in _KINDS:
            config = reader.cookie_everywhere
            if config is None:
                config = reader.cookie_for(scope, path_of(scope))
        if config is None:
            await self.app(scope, receive, send)
            return
        if OWN_PLACE in scope:
            warn_once("twice", "a request had a session already when SessionMiddleware met it: is it installed twice?")
            await self.app(scope, receive, send)
            return
        if _SLOT in scope and scope[_SLOT] is not None:  # another layer's, which stays where it is
            scope = dict(scope)
        secure = scope.get("scheme") in _SECURE if self.options.trust_proxy is None else self._is_secure(scope)
        if reader.by_cookie:
            header = None
            for name, value in scope["headers"]:  # a loop, as a comprehension is a call until Python 3.12
                if name == b"cookie":  # of which HTTP/2 may make several (RFC 9113, 8.2.3)
                    header = value if header is None else header + b"; " + value
            arrival = self.arrivals.known[secure].get(header) or self._arrival(header, config, secure, scope)
        else:
            arrival, receive = await self._read(config, secure, scope, receive)
        state = State(self.settings, arrival, self)
        session = _new(self.session_class)
        set_state(session, state)
        exchange = self.exchange_class(self, state, session, scope, _SLOT, send)
        if arrival.ids:
            state.found = _PENDING
            if not self.options.lazy:
                try:
                    if self.direct is None or self.options.exclusive is not None:
                        await self.look_up(state)
                    else:
                        self.find(state, self.direct)
                except StoreError as error:
                    goes_on = self.load_failed(state, error)
                    await self.tell(notes_of(state))
                    if not goes_on:
                        await exchange.send_unavailable(receive)
                        return
        scope[_SLOT] = scope[OWN_PLACE] = session
        app = self.app
        if kind == "websocket" and self.options.close_on_end:
            socket = _Socket(self, state, receive, send)
            app, receive, exchange.forward = socket.around(app), socket.receive, socket.send
        try:
            await app(scope, receive, exchange.send)
        except BaseException:
            await self.finish(exchange, failed=True)
            raise
        # Where nothing was used, that there is nothing left to do is told without a call.
        is_used = state.dirty or state.parts or state.cookie is not None or state.intent is not _UNCHANGED
        if (
            scope.get(_SLOT) is not session
            or state.lock is not None
            or self.listeners is not None
            or (is_used and needs_late_commit(state))
        ):
            await self.finish(exchange, failed=False)
        else:  # `end`, without the call
            state.over = True
            become(session, self._ended)

    def _arrival(self, header: bytes | None, config: Cookie, secure: bool, scope: Scope) -> Arrival:
        """What the request brings by cookie."""
        request = scope if self.settings.keeps_request else None
        if header is None:
            return self.arrivals.of(config, (), secure=secure, request=request)
        return self.arrivals.by_cookie(header, config, secure=secure, request=request)

    def _is_secure(self, scope: Scope) -> bool:
        forwarded = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-proto"), None
        )
        https = scope.get("scheme") in _SECURE
        direct = "tls" in (scope.get("extensions") or {})
        return self.reader.is_secure(https=https, forwarded=forwarded, direct=direct)

    async def _read(self, config: Cookie, secure: bool, scope: Scope, receive: Receive) -> tuple[Arrival, Receive]:
        """What a request brings where ids may come otherwise than by cookie, and its body as the application is to get it."""

        def header(name: str) -> list[bytes]:
            wanted = name.lower().encode()
            return [value for key, value in scope["headers"] if key == wanted]

        query: bytes = scope.get("query_string", b"")
        ids: list[Verified] = []
        source = None
        steps = self.reader.read(RequestParts(header, query), config, secure=secure)
        try:
            body, receive = await _beginning(receive, next(steps))
            steps.send(body)
        except StopIteration as stop:
            ids, source = stop.value
        for parameter in self.reader.parameters if query else ():
            scope["query_string"] = without_field(scope["query_string"], parameter)
        request = scope if self.settings.keeps_request else None
        return self.arrivals.of(config, ids, secure=secure, source=source, request=request), receive

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def open_or_close(message: Message) -> None:
            kind = message["type"]
            if (
                kind == "lifespan.startup.complete"
            ):  # only now, as the application may have opened what the store was given
                begin_use(self.store, open_or_close)
                try:
                    await self.store.open()
                except StoreError as error:  # it may come up after us; requests open it too
                    self.loads.failure(error, "starting all the same")
            elif kind in _ENDS and end_use(self.store, open_or_close):
                await self.store.close()
            await send(message)

        await self.app(scope, receive, open_or_close)


def path_of(scope: Scope) -> str:
    """The path as the browser sees it."""
    raw = (scope.get("raw_path") or b"").partition(b"?")[0]
    path = raw.decode("ascii") if raw and raw.isascii() else encoded(scope["path"].encode("utf-8", "surrogatepass"))
    return under(encoded(scope.get("root_path", "").encode("utf-8", "surrogatepass")), path)


async def _beginning(receive: Receive, size: int) -> tuple[bytes, Receive]:
    """The first bytes of a body, and a ``receive`` that begins with them again."""
    messages: list[Message] = []
    body, more = b"", True
    while more and len(body) < size:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        more = message.get("more_body", False)  # a disconnect has neither

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body[:size], again


async def _swallow() -> None:
    """What becomes of a message after the 503."""


D = TypeVar("D", bound=SessionMiddleware)


class ASGIExchange(Exchange[D]):
    """One request and its response: the ``send`` that commits the session."""

    def send(self, message: Message) -> Awaitable[None]:
        forward: Send = self.forward
        # Not a coroutine itself, but returning one: most messages pass straight through, and a layer less is felt.
        if self.state.sent:
            return _swallow() if self.refused else forward(message)
        phase = _STARTS.get(message["type"])
        if phase is None:
            return forward(message)
        plan = self.prepare(phase)
        if plan is None:
            return self.send_unavailable()
        if plan.write is not None or plan.ends:
            if self.middleware.direct is None:
                return self._commit_and_send(plan, phase, message)
            plan = self.respond_at_once(plan, phase)
            if plan is None:
                return self.send_unavailable()
        return self._send(plan, message)

    def _send(self, plan: Plan, message: Message) -> Awaitable[None]:
        self.state.sent = True
        forward: Send = self.forward
        if (plan.header is not None or plan.vary) and message["type"] != "websocket.close":  # which has no headers
            session_header = clears = None
            if plan.header is not None:
                name, value = plan.header
                self.check_domain(plan.header)
                session_header = name.lower().encode(), value.encode("latin-1")
                clears = None if plan.clears is None else plan.clears.encode()
            vary = self.middleware.vary if plan.vary else ()
            given = message.get("headers") or ()
            headers = with_session(given, BYTES, session_header=session_header, vary=vary, clears=clears)
            message = {
                **message,
                "headers": headers,
            }  # a copy: a layer below may keep its message, as response caches do
        return forward(message)

    async def _commit_and_send(self, plan: Plan, phase: Phase, message: Message) -> None:
        done = await self.middleware.respond(self, plan, phase)
        await (self.send_unavailable() if done is None else self._send(done, message))

    def hosts(self) -> list[str]:
        return [value.decode("latin-1") for name, value in self.slot["headers"] if name in _HOSTS]

    async def send_unavailable(self, receive: Receive | None = None) -> None:
        """Send a 503 in the application's place, and swallow what it still sends (contract 175)."""
        self.state.sent = self.refused = True
        closing = 1013, "session store unavailable"
        await _send_instead(self.slot, receive, self.forward, self.middleware.unavailable(self.slot), closing)


SessionMiddleware.exchange_class = ASGIExchange


class _SocketEnded(OSError):
    """The application sent to a socket whose session has ended."""


def _is_of_the_end(error: BaseException | None) -> bool:
    """Whether it is that, or what a framework has made of it: nothing to be logged as the application's failure."""
    while error is not None and not isinstance(error, _SocketEnded):
        if isinstance(error, BaseExceptionGroup):  # of the tasks that were sending
            return all(map(_is_of_the_end, error.exceptions))
        error = error.__cause__ or error.__context__
    return error is not None


class _Socket:
    """What is between the server and a WebSocket that ends with its session."""

    def __init__(self, middleware: SessionMiddleware, state: State, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._live = LiveSocket(middleware, state, self._close)

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, at whose end nobody watches any more."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            except Exception as error:
                if not _is_of_the_end(error):
                    raise
            finally:
                await self._live.leave()

        return run

    async def receive(self) -> Message:
        if self._live.has_ended:
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": REASON}
        message = await self._receive()
        if message["type"] == "websocket.receive":
            await self._live.used()
        return message

    async def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: the session has ended, and with it the connection: as a server raises it whose client has gone (ASGI, 2.4).
        """
        if self._live.has_ended:
            if message["type"] == "websocket.close":
                return
            raise _SocketEnded(f"the WebSocket was closed: {REASON}")
        await self._send(message)
        if message["type"] == "websocket.accept":
            await self._live.accepted()

    async def _close(self) -> None:
        await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": REASON})


async def _send_instead(
    scope: Any, receive: Receive | None, send: Send, response: ErrorResponse, closing: tuple[int, str]
) -> None:
    """Send a response in the application's place; a WebSocket is closed by a code and a reason where the server takes no response.

    ``receive`` is given where the application has not been asked yet.
    """
    status, headers, body = response
    kind = "http"
    if scope["type"] == "websocket":
        if receive is not None:
            await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": closing[0], "reason": closing[1]})
            return
        kind = "websocket.http"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    await send({"type": f"{kind}.response.start", "status": status, "headers": raw})
    await send({"type": f"{kind}.response.body", "body": body, "more_body": False})


def refusal_in(scope: Scope, rules: CrossSiteRules) -> Refusal | None:
    """Why a request or the handshake of a WebSocket is refused; None if it is not."""

    def header(name: str) -> list[str]:
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in scope["headers"] if key == wanted]

    return rules.refusal(
        scope.get("method", "GET"),
        partial(path_of, scope),
        header,
        https=scope.get("scheme") in _SECURE,
        direct="tls" in (scope.get("extensions") or {}),
        websocket=scope["type"] == "websocket",
    )


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a 403 in the application's place."""
    response = ErrorResponse(403, refusal.headers, refusal.body)
    await _send_instead(scope, receive, send, response, (POLICY_VIOLATION, "refused: another site"))


class CrossSiteGuard:
    """ASGI middleware that refuses what a page of another site has the browser send, by a 403: forms, requests, and WebSockets.

    Add it outside of the sessions, so that what is refused loads none.

    Args:
        app: the ASGI application.
        options: see `sojourn.guard.CrossSiteRules`.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[GuardOptions]) -> None:
        self.app = app
        self.rules: CrossSiteRules = CrossSiteRules(**options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = refusal_in(scope, self.rules) if scope["type"] in _KINDS else None
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await refuse(refusal, scope, receive, send)
