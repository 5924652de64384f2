"""Sessions for ASGI: ``scope["session"]``, which is ``request.session`` in Starlette, FastAPI and Litestar.

The session is loaded before the application runs and committed when its response starts, before any byte leaves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, TypeAlias, Unpack

from .cookie import Cookie
from .core.plan import Phase, Plan
from .core.policy import needs_late_commit
from .core.session import AsyncSession
from .core.state import Arrival, Found, State
from .errors import StoreError
from .logs import warn_once
from .middleware.async_ import AsyncMiddleware
from .middleware.exchange import Exchange
from .options import OptionsDict
from .wire.headers import BYTES, with_session
from .wire.id_source import IdSource
from .wire.request import RequestParts, without_field
from .wire.signing import Verified

__all__ = ["SessionMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_SLOT: Final = "session"
"""Where frameworks find the session, and where applications and other layers may put something else."""
_OWN_PLACE: Final = "sojourn.session"
"""Where it is, whatever becomes of the slot."""

# The messages with which a response's headers leave. A socket closed before it was accepted has no headers of ours.
_STARTS: Final = {
    "http.response.start": Phase.RESPONSE,
    "websocket.accept": Phase.RESPONSE,
    "websocket.http.response.start": Phase.RESPONSE,
    "websocket.close": Phase.LATE,
}
_KINDS: Final = ("http", "websocket")
_SECURE: Final = ("https", "wss")
_PENDING: Final = Found.PENDING


class SessionMiddleware(AsyncMiddleware):
    """ASGI middleware that gives every HTTP request and WebSocket a session.

    Args:
        app: the ASGI application.
        options: see `sojourn.options.Options`; ``secret`` is required.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[OptionsDict]) -> None:
        super().__init__(options)
        self.app = app
        self.vary: list[bytes] = [name.encode() for name in self.reader.vary]
        cookie = self.options.cookie
        # What most requests without a session bring, made once.
        self._bare = [Arrival(cookie, secure) for secure in (False, True)] if isinstance(cookie, Cookie) else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        reader, settings = self.reader, self.settings
        config = None
        if kind in _KINDS:
            config = reader.cookie_everywhere
            if config is None:
                config = reader.cookie_for(scope, scope["path"])
        if config is None:
            await self.app(scope, receive, send)
            return
        if _OWN_PLACE in scope:
            warn_once("twice", "a request had a session already when SessionMiddleware met it: is it installed twice?")
            await self.app(scope, receive, send)
            return
        if _SLOT in scope and scope[_SLOT] is not None:  # another layer's, which stays where it is
            scope = dict(scope)
        secure = scope.get("scheme") in _SECURE if self.options.trust_proxy is None else self._is_secure(scope)
        ids: Sequence[Verified] = ()
        source = None
        if reader.by_cookie:
            cookies = []
            for name, value in scope["headers"]:  # a loop, as a comprehension is a call until Python 3.12
                if name == b"cookie":
                    cookies.append(value)
            if cookies:
                ids = reader.ids(cookies, config, secure=secure)
        else:
            ids, source, receive = await self._read(config, secure, scope, receive)
        if ids:
            request = scope if settings.keeps_request else None
            state = State(settings, Arrival(config, secure, tuple(ids), source, request), self, _PENDING)
        elif source is None and self._bare and not settings.keeps_request:
            state = State(settings, self._bare[secure], self)
        else:
            state = State(
                settings, Arrival(config, secure, (), source, scope if settings.keeps_request else None), self
            )
        session = AsyncSession(state)
        exchange = _Response(self, state, session, scope, _SLOT, forward=send)
        if ids and not self.options.lazy:
            try:
                await self.look_up(state)
            except StoreError as error:
                if not self.load_failed(state, error):
                    await exchange.send_unavailable(receive)
                    await self.run(exchange.finish(failed=True))
                    return
        scope[_SLOT] = scope[_OWN_PLACE] = session
        try:
            await self.app(scope, receive, exchange.send)
        except BaseException:
            await self.run(exchange.finish(failed=True))
            raise
        if scope.get(_SLOT) is not session or state.lock is not None or needs_late_commit(state):
            await self.run(exchange.finish(failed=False))

    def _is_secure(self, scope: Scope) -> bool:
        forwarded = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-proto"), None
        )
        https = scope.get("scheme") in _SECURE
        direct = "tls" in (scope.get("extensions") or {})
        return self.reader.is_secure(https=https, forwarded=forwarded, direct=direct)

    async def _read(
        self, config: Cookie, secure: bool, scope: Scope, receive: Receive
    ) -> tuple[list[Verified], IdSource | None, Receive]:
        """The ids of a request where they may come otherwise than by cookie, and its body as the application is to get it."""

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
        return ids, source, receive

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_and_open() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.store.open()
                except StoreError as error:  # it may come up after us; requests open it too
                    self.loads.failure(error, "starting all the same")
            return message

        async def close_and_send(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed"):
                await self.store.close()
            await send(message)

        await self.app(scope, receive_and_open, close_and_send)


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


class _Response(Exchange[SessionMiddleware], kw_only=True):
    """One request and its response: the ``send`` that commits the session."""

    forward: Send

    def send(self, message: Message) -> Awaitable[None]:
        # Not a coroutine itself, but returning one: most messages pass straight through, and a layer less is felt.
        if self.state.sent:
            return _swallow() if self.refused else self.forward(message)
        phase = _STARTS.get(message["type"])
        if phase is None:
            return self.forward(message)
        plan = self.prepare(phase)
        if plan is None:
            return self.send_unavailable()
        if plan.write is not None or plan.ends:
            return self._commit_and_send(plan, phase, message)
        return self._send(plan, message)

    def _send(self, plan: Plan, message: Message) -> Awaitable[None]:
        self.state.sent = True
        if (plan.header is not None or plan.vary) and message["type"] != "websocket.close":  # which has no headers
            session_header = None
            if plan.header is not None:
                name, value = plan.header
                session_header = name.lower().encode(), value.encode("latin-1")
            vary = self.middleware.vary if plan.vary else ()
            headers = with_session(message.get("headers") or (), BYTES, session_header=session_header, vary=vary)
            message = {
                **message,
                "headers": headers,
            }  # a copy: a layer below may keep its message, as response caches do
        return self.forward(message)

    async def _commit_and_send(self, plan: Plan, phase: Phase, message: Message) -> None:
        done = await self.middleware.run(self.respond(plan, phase))
        await (self.send_unavailable() if done is None else self._send(done, message))

    async def send_unavailable(self, receive: Receive | None = None) -> None:
        """Send a 503 in the application's place, and swallow what it still sends (contract 175)."""
        self.state.sent = self.refused = True
        status, headers, body = self.middleware.unavailable()
        kind = "http"
        if self.slot["type"] == "websocket":
            if receive is not None:
                await receive()
            if "websocket.http.response" not in (self.slot.get("extensions") or {}):
                await self.forward({"type": "websocket.close", "code": 1013, "reason": "session store unavailable"})
                return
            kind = "websocket.http"
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        await self.forward({"type": f"{kind}.response.start", "status": status, "headers": raw})
        await self.forward({"type": f"{kind}.response.body", "body": body})
