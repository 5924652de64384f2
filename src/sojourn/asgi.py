"""Sessions for ASGI: ``scope["session"]``, which is ``request.session`` in Starlette, FastAPI and Litestar.

The session is loaded before the app runs and committed when its response starts, before any byte leaves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias, TypeVar, Unpack

from .aio import shielded, sleep
from .core import commit as apply
from .core.plan import Phase, Plan
from .core.session import AsyncSession
from .core.transitions import arrived
from .errors import SojournError, StoreError
from .logs import warn_once
from .middleware.base import Adapter
from .middleware.sessions import AsyncSessions
from .options import OptionsDict
from .wire.headers import BYTES, with_session
from .wire.request import Brought, without_field
from .wire.signing import Verified

__all__ = ["SessionMiddleware"]

T = TypeVar("T")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# The messages with which a response's headers leave. A socket closed before it was accepted has no headers of ours.
_STARTS: Final = {
    "http.response.start": Phase.RESPONSE,
    "websocket.accept": Phase.RESPONSE,
    "websocket.http.response.start": Phase.RESPONSE,
    "websocket.close": Phase.LATE,
}
_KINDS: Final = ("http", "websocket")
_SECURE: Final = ("https", "wss")


class SessionMiddleware(Adapter):
    """ASGI middleware that gives every HTTP request and WebSocket a session.

    Args:
        app: the ASGI application.
        options: see `sojourn.options.Options`; ``secret`` is required.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[OptionsDict]) -> None:
        super().__init__(options, asynchronous=True)
        self.app = app
        self.vary = [name.encode() for name in self.incoming.vary]
        self._finish = _directly if getattr(self.store, "in_process", False) else shielded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        policy, incoming = self.policy, self.incoming
        config = None
        if scope["type"] in _KINDS:
            config = incoming.cookie_everywhere
            if config is None:
                config = incoming.cookie_for(scope, scope["path"])
        if config is None:
            await self.app(scope, receive, send)
            return
        if scope.get("session") is not None:
            warn_once("twice", "a request had a session already when SessionMiddleware met it: is it installed twice?")
            await self.app(scope, receive, send)
            return
        secure = scope.get("scheme") in _SECURE if policy.options.trust_proxy is None else self._is_secure(scope)
        session = AsyncSession(policy.rules, scope, config, secure, self)
        exchange = _Exchange(self, session, scope, send)
        if incoming.by_cookie:
            cookies = []
            for name, value in scope["headers"]:  # a loop, as a comprehension is a call until Python 3.12
                if name == b"cookie":
                    cookies.append(value)
            ids = incoming.ids(cookies, config, secure=secure) if cookies else None
        else:
            ids, receive = await self._look(session, scope, receive)
        if ids:
            self.expect(session, ids)
            if not policy.options.lazy:
                try:
                    await self.arrive(session)
                except StoreError as error:
                    if not self.load_failed(session, error):
                        await exchange.unavailable(receive)
                        await exchange.end(failed=True)
                        return
        scope["session"] = session
        try:
            await self.app(scope, receive, exchange.send)
        except BaseException:
            await exchange.end(failed=True)
            raise
        if scope.get("session") is not session or session._lock is not None or not policy.is_settled(session):
            await exchange.end(failed=False)

    def _is_secure(self, scope: Scope) -> bool:
        forwarded = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-proto"), None
        )
        https = scope.get("scheme") in _SECURE
        direct = "tls" in (scope.get("extensions") or {})
        return self.incoming.is_secure(https=https, forwarded=forwarded, direct=direct)

    async def _look(self, session: AsyncSession, scope: Scope, receive: Receive) -> tuple[list[Verified], Receive]:
        """The ids of a request where they may come otherwise than by cookie, and its body as the app is to get it."""

        def header(name: str) -> list[bytes]:
            wanted = name.lower().encode()
            return [value for key, value in scope["headers"] if key == wanted]

        query: bytes = scope.get("query_string", b"")
        ids: list[Verified] = []
        steps = self.incoming.look(Brought(header, query), session._config, secure=session._secure)
        try:
            body, receive = await _beginning(receive, next(steps))
            steps.send(body)
        except StopIteration as stop:
            ids, session._way = stop.value
        for parameter in self.incoming.parameters if query else ():
            scope["query_string"] = without_field(scope["query_string"], parameter)
        return ids, receive

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_and_open() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.store.open()
                except StoreError as error:  # it may come up after us; requests open it too
                    self.loads.failed(error, "starting all the same")
            return message

        async def close_and_send(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed"):
                await self.store.close()
            await send(message)

        await self.app(scope, receive_and_open, close_and_send)

    # -- what the session asks for ------------------------------------------------------------------------------------

    async def _run(self, steps: apply.Steps[Any]) -> Any:
        answer = await apply.run_async(steps, self.store, sleep)
        self.writes.worked()
        return answer

    async def arrive(self, session: AsyncSession) -> None:
        """Look up the session that the request asks for; where it is exclusive, once nobody else has it."""
        if self.policy.options.exclusive is not None and session._lock is None and self.is_exclusive(session):
            key = self.policy.rules.key_of(session._candidates[0].id)
            session._lock = key, await self._run(apply.acquire(key))
        key_of, load = self.policy.rules.key_of, self.store.load
        for verified in session._candidates:
            key = key_of(verified.id)
            if arrived(session, verified, key, await load(key)):
                break
        self.loads.worked()

    async def load(self, session: AsyncSession) -> None:
        try:
            await self.arrive(session)
        except StoreError as error:
            self.lazy_load_failed(session, error)

    async def unlock(self, key: str, token: str) -> None:
        """Give an exclusive session back; failing that, its lock expires."""
        try:
            await self.store.unlock(key, token)
        except StoreError as error:
            self.writes.failed(error, "a lock is left to expire")

    async def save(self, session: AsyncSession) -> None:
        await self._finish(self._run(apply.save(self.policy, session)))

    async def reload(self, session: AsyncSession) -> None:
        await self._run(apply.reload(self.policy, session))

    @property
    def sessions(self) -> AsyncSessions:
        return AsyncSessions(self.store, self.policy.rules)

    def commit(self, session: AsyncSession, plan: Plan, phase: Phase) -> Awaitable[Plan]:
        """Carry a plan out, whatever happens to the client meanwhile."""
        return self._finish(self._run(apply.commit(self.policy, session, plan, phase)))


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


def _directly(work: Awaitable[T]) -> Awaitable[T]:
    # A store in this process never suspends, so that nothing can cancel it half way.
    return work


class _Exchange:
    """One request and its response: the ``send`` that commits the session."""

    __slots__ = ("_forward", "_middleware", "_scope", "_session", "_swallow")

    def __init__(self, middleware: SessionMiddleware, session: AsyncSession, scope: Scope, forward: Send) -> None:
        self._middleware = middleware
        self._session = session
        self._scope = scope
        self._forward = forward
        self._swallow = False

    def send(self, message: Message) -> Awaitable[None]:
        # Not a coroutine itself, but answering one: most messages pass straight through, and a layer less is felt.
        session = self._session
        if session._late:
            return _swallow() if self._swallow else self._forward(message)
        phase = _STARTS.get(message["type"])
        if phase is None:
            return self._forward(message)
        try:
            plan = self._middleware.plan(session, self._scope, "session", phase)
        except StoreError as error:
            return self._commit_and_send(Plan(), phase, message, error)
        if plan.write is not None:
            return self._commit_and_send(plan, phase, message)
        return self._send(plan, message)

    def _send(self, plan: Plan, message: Message) -> Awaitable[None]:
        self._session._late = True
        if (plan.header is not None or plan.vary) and message["type"] != "websocket.close":  # which has no headers
            told = None
            if plan.header is not None:
                name, value = plan.header
                told = name.lower().encode(), value.encode("latin-1")
            vary = self._middleware.vary if plan.vary else ()
            message["headers"] = with_session(message.get("headers") or (), BYTES, told=told, vary=vary)
        return self._forward(message)

    async def _commit_and_send(
        self, plan: Plan, phase: Phase, message: Message, error: StoreError | None = None
    ) -> None:
        try:
            plan = await self._commit(plan, phase, error)
        except StoreError:
            await self.unavailable()
        else:
            await self._send(plan, message)

    async def _commit(self, plan: Plan, phase: Phase, error: StoreError | None = None) -> Plan:
        """Carry the plan out; a store's failure is raised only where the response must not go out."""
        try:
            if error is not None:
                raise error
            return await self._middleware.commit(self._session, plan, phase)
        except StoreError as failure:
            return self._middleware.commit_failed(self._session, plan, failure)
        except SojournError:
            self._session._drop()  # the framework's error page must not fail over it again
            raise

    async def end(self, *, failed: bool) -> None:
        """After the app is done: late changes, and a destroy by a handler that raised."""
        session, middleware = self._session, self._middleware
        try:
            if not self._swallow:
                phase = Phase.LATE if session._late and not failed else Phase.FAILED
                plan = middleware.plan(session, self._scope, "session", phase)
                if plan.write is not None:
                    await self._commit(plan, phase)
        except SojournError as error:
            middleware.lost(error)
        finally:
            if session._lock is not None:
                await middleware._finish(middleware.unlock(*session._lock))

    async def unavailable(self, receive: Receive | None = None) -> None:
        """Answer 503 in the app's place, and swallow what it still sends (contract 175)."""
        self._session._late = self._swallow = True
        status, headers, body = self._middleware.unavailable()
        kind = "http"
        if self._scope["type"] == "websocket":
            if receive is not None:
                await receive()
            if "websocket.http.response" not in (self._scope.get("extensions") or {}):
                await self._forward({"type": "websocket.close", "code": 1013, "reason": "session store unavailable"})
                return
            kind = "websocket.http"
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        await self._forward({"type": f"{kind}.response.start", "status": status, "headers": raw})
        await self._forward({"type": f"{kind}.response.body", "body": body})
