"""The middleware, and what an application has of it.

Theory of operation
-------------------
The middleware loads the session, and commits it when the handler has returned or raised its response: whatever that is, no byte of it has
left, so that a store's failure can still be a 503. What is to be told the browser waits for the signal ``on_response_prepare``, as
the response that is sent may be another one, made by a middleware further out.

Where the handler itself prepares its response, a stream or a WebSocket, that signal comes first, and commits. What it raises is raised by the handler's
``await response.prepare(request)``. What changes after that is saved when the handler ends.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Unpack
from weakref import WeakKeyDictionary

try:
    from aiohttp import web
except ImportError as _error:
    raise ImportError('sojourn.aiohttp needs aiohttp: pip install "sojourn[aiohttp]"', name=_error.name) from _error

from ..codecs import LenientCodec
from ..cookie import Cookie
from ..core.ended import end
from ..core.plan import Phase, Plan
from ..core.state import Arrival, Event, Found, State
from ..errors import StoreError
from ..logs import warn_once
from ..middleware.async_ import AsyncMiddleware
from ..middleware.exchange import Exchange
from ..middleware.sockets import POLICY_VIOLATION, REASON, LiveSocket
from ..options import OptionsDict
from ..stores._sharing import begin_use, end_use
from ..wire.forms import without_field
from ..wire.headers import TEXT, with_session
from ..wire.paths import normal
from ..wire.request import RequestParts
from ..wire.signing import Verified
from .face import AiohttpSession

__all__ = ["SESSION", "SessionMiddleware", "get_session", "new_session", "setup"]

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SLOT: Final = "session"
"""Where applications find the session, and may put something else."""

if TYPE_CHECKING or hasattr(web, "RequestKey"):
    SESSION: Final = web.RequestKey("sojourn.session", AiohttpSession)
    """Where the session is, with its type: ``request[SESSION]``."""
    _EXCHANGE: Final = web.RequestKey("sojourn.exchange", Exchange)
    # aiohttp warns of names that are no such key. That of the slot is what other libraries and people call it.
    web.BaseRequest._seen_str_keys.add(_SLOT)  # noqa: SLF001 - there is no other way to be spared
else:  # pragma: no cover - aiohttp before 3.14, with which `make oldest-doors` runs the tests
    SESSION, _EXCHANGE = "sojourn.session", "sojourn.exchange"

_GONE: Final = (ConnectionError, asyncio.CancelledError)
"""What a handler raises whose client went away, or whose server stops."""
_MESSAGES: Final = (web.WSMsgType.TEXT, web.WSMsgType.BINARY)
_NAP: Final = 0.01
"""Seconds between two tries to close a WebSocket that is being accepted."""
_HOSTS: Final = ("Host", "X-Forwarded-Host")


class AiohttpExchange(Exchange[AsyncMiddleware]):
    """One request and its response."""

    socket: LiveSocket | None = None
    """What ends a WebSocket with its session."""

    def hosts(self) -> list[str]:
        request: web.Request = self.forward
        return [value for name in _HOSTS for value in request.headers.getall(name, ())]


class SessionMiddleware(AsyncMiddleware):
    """aiohttp middleware that gives every request a session. `setup` installs it.

    Args:
        options: see `sojourn.options.Options`; ``secret`` is required. A value that ``codec`` would refuse is written in the plain
            form in which `json.dumps` writes it (`sojourn.codecs.LenientCodec`).

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    session_class: type[AiohttpSession] = AiohttpSession
    """What the application sees; a subclass may have a face of its own."""
    __middleware_version__ = 1  # as `aiohttp.web.middleware` marks functions

    def __init__(self, **options: Unpack[OptionsDict]) -> None:
        options["codec"] = LenientCodec(options.get("codec"))
        super().__init__(options)
        # By the request's writer, the only thing that a clone of it shares.
        self._told: WeakKeyDictionary[Any, Plan] = WeakKeyDictionary()

    def install(self, app: web.Application) -> None:
        """Make it the innermost of the application's middlewares, and open the store with the application."""
        app.middlewares.append(self)
        app.on_response_prepare.append(self.on_response_prepare)
        app.on_startup.append(self._open)  # after all of cleanup_ctx, as one may open what the store was given
        app.cleanup_ctx.append(self._until_cleanup)

    async def _open(self, _app: web.Application) -> None:
        begin_use(self.store, self)
        try:
            await self.store.open()
        except StoreError as error:  # it may come up after us; requests open it too
            self.loads.failure(error, "starting all the same")

    async def _until_cleanup(self, _app: web.Application) -> AsyncIterator[None]:
        yield
        if end_use(self.store, self):
            await self.store.close()

    # -- a request ------------------------------------------------------------------------------------------------

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """aiohttp's: handle a request."""
        if SESSION in request:
            warn_once("twice", "a request had a session already when SessionMiddleware met it: is it installed twice?")
            return await handler(request)
        arrival, request = await self._arrive(request)
        if arrival is None:
            return await handler(request)
        state = State(self.settings, arrival, self)
        session = self.session_class(state)
        if arrival.ids:
            state.found = Found.PENDING
            if not self.options.lazy and not await self.look_up_or_note(state):
                raise self._unavailable(request)
        slot: MutableMapping[Any, Any] = {} if request.get(_SLOT) is not None else request  # another layer's stays
        exchange = AiohttpExchange(self, state, session, slot, _SLOT, request)
        slot[_SLOT] = request[SESSION] = session
        request[_EXCHANGE] = exchange
        raised = None
        try:
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                raised = response = answer
            if not isinstance(response, web.StreamResponse):
                raise RuntimeError(f"the handler returned no response, but {type(response).__name__}")  # noqa: TRY301, TRY004 - as aiohttp-session
            if not state.sent:
                plan = await self._commit(exchange)
                if plan.header is not None or plan.vary:
                    self._told[request.writer] = plan
        except BaseException as error:
            await self.finish(exchange, failed=not (state.sent and isinstance(error, _GONE)))
            if isinstance(error, StoreError) and not state.sent and not self.commit_failed(state, error):
                raise self._unavailable(request) from None  # of the handler's own save() or reload()
            raise
        finally:
            if exchange.socket is not None:
                await exchange.socket.leave()
            del request[_EXCHANGE]  # each would hold the other until the garbage collector comes
        if exchange.is_idle:
            end(session)
        else:
            await self.finish(exchange, failed=False)
        if raised is not None:
            raise raised
        return response

    async def on_response_prepare(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """The signal: the response's headers are about to leave."""
        plan = self._told.pop(request.writer, None)
        if plan is None:
            exchange: AiohttpExchange | None = request.get(_EXCHANGE)
            if exchange is None or exchange.middleware is not self or exchange.state.sent:
                return
            try:
                plan = await self._commit(exchange)
            except BaseException:
                _begin_anew(request.writer)
                raise
            if self.options.close_on_end and isinstance(response, web.WebSocketResponse):
                exchange.socket = await _live(self, exchange.state, response)
        if plan.header is not None or plan.vary:
            vary = self.reader.vary if plan.vary else ()
            headers = with_session(
                list(response.headers.items()), TEXT, session_header=plan.header, vary=vary, clears=plan.clears
            )
            response.headers.clear()
            response.headers.extend(headers)

    async def _commit(self, exchange: AiohttpExchange) -> Plan:
        """Commit the session; returns what is to be told the browser.

        Raises:
            HTTPServiceUnavailable: the store failed.
            SessionEncodeError: a value cannot be stored.
            SessionTooLarge: the record is larger than the store takes.
        """
        plan = exchange.prepare(Phase.RESPONSE)
        if plan is not None and plan.needs_store:
            plan = await self.respond(exchange, plan, Phase.RESPONSE)
        if plan is None:
            exchange.state.on(Event.DISCARD)  # a response that is sent instead does not try again, but for a logout
            exchange.refused = True
            raise self._unavailable(exchange.forward)
        exchange.state.sent = True
        if plan.header is not None:
            exchange.check_domain(plan.header)
        return plan

    def _unavailable(self, request: web.Request) -> web.HTTPServiceUnavailable:
        _status, headers, body = self.unavailable(request)
        made = web.HTTPServiceUnavailable(headers=[one for one in headers if one[0] != "Content-Length"])
        made.body = body
        return made

    # -- what it brings -------------------------------------------------------------------------------------------

    async def _arrive(self, request: web.Request) -> tuple[Arrival | None, web.Request]:
        """What a request brings, None where it has no session; and the request as the handler is to get it."""
        reader = self.reader
        config = reader.cookie_everywhere
        if config is None:
            config = reader.cookie_for(request, path_of(request))
            if config is None:
                return None, request
        https = request.scheme == "https"
        if self.options.trust_proxy is not None:
            forwarded = request.headers.get("X-Forwarded-Proto")
            direct = request.get_extra_info("sslcontext") is not None
            https = reader.is_secure(https=https, forwarded=forwarded, direct=direct)
        if not reader.by_cookie:
            return await self._read(config, https, request)
        kept = request if self.settings.keeps_request else None
        given = _values(request, "Cookie")
        if not given:
            return self.arrivals.known[https].get(None) or self.arrivals.of(
                config, (), secure=https, request=kept
            ), request
        return self.arrivals.by_cookie(b"; ".join(given), config, secure=https, request=kept), request

    async def _read(self, config: Cookie, https: bool, request: web.Request) -> tuple[Arrival, web.Request]:
        """The same where ids may come otherwise than by cookie."""
        reader = self.reader
        query = request.rel_url.raw_query_string.encode("utf-8", "surrogateescape")
        ids: list[Verified] = []
        source = None
        steps = reader.read(RequestParts(lambda name: _values(request, name), query), config, secure=https)
        try:
            steps.send(await _beginning(request, next(steps)))
        except StopIteration as stop:
            ids, source = stop.value
        kept = query
        for parameter in reader.parameters if query else ():
            kept = without_field(kept, parameter)
        if kept != query:
            text = kept.decode("utf-8", "surrogateescape")
            url = request.rel_url
            request = request.clone(rel_url=url.build(path=url.raw_path, query_string=text, encoded=True))
        keeps = request if self.settings.keeps_request else None
        return self.arrivals.of(config, ids, secure=https, source=source, request=keeps), request


async def _live(middleware: AsyncMiddleware, state: State, response: web.WebSocketResponse) -> LiveSocket:
    """Have a WebSocket that is about to be accepted end with its session."""
    receive: Any = response.receive

    async def close() -> None:
        while not response.closed:
            try:
                await response.close(code=POLICY_VIOLATION, message=REASON.encode())
            except RuntimeError:  # pragma: no cover - it is being accepted, where the write of the headers waits
                await asyncio.sleep(_NAP)

    async def receive_and_note(timeout: float | None = None) -> Any:  # noqa: ASYNC109 - aiohttp's
        message = await receive(timeout)
        if message.type in _MESSAGES:
            await socket.used()
        return message

    socket = LiveSocket(middleware, state, close)
    response.receive = receive_and_note  # type: ignore[method-assign]
    await socket.accepted()
    return socket


def _values(request: web.Request, name: str) -> list[bytes]:
    """All values of a header, as bytes: those that came."""
    return [value.encode("utf-8", "surrogateescape") for value in request.headers.getall(name, ())]


def path_of(request: web.Request) -> str:
    """The path as the browser sees it."""
    raw = request.rel_url.raw_path
    return raw if raw.isascii() else normal(raw)


async def _beginning(request: web.Request, size: int) -> bytes:
    """The first bytes of a body, which the application reads again."""
    content = request.content
    beginning = b""
    while len(beginning) < size and (chunk := await content.read(size - len(beginning))):
        beginning += chunk
    if beginning:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # there is no other way to give it back
            content.unread_data(beginning)
    return beginning


def _begin_anew(writer: Any) -> None:
    """Forget what a response that is not sent has told the connection's writer: the next one on it may have another framing."""
    writer.chunked, writer.length, writer._compress = False, None, None  # noqa: SLF001 - the first two are public


# -- what applications call -------------------------------------------------------------------------------------------


def setup(app: web.Application, **options: Unpack[OptionsDict]) -> None:
    """Give every request of an application, and of those within it, a session.

    Middlewares that were added before see the request before there is a session, and the response after it is committed.

    Args:
        app: the application.
        options: see `sojourn.options.Options`; ``secret`` is required.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
        RuntimeError: the application has sessions of Sojourn's already, or runs.
    """
    if any(isinstance(middleware, SessionMiddleware) for middleware in app.middlewares):
        raise RuntimeError("this application has its sessions already: call sojourn.aiohttp.setup(app, ...) once")
    SessionMiddleware(**options).install(app)


async def get_session(request: web.Request) -> AiohttpSession:
    """The request's session, loaded: with ``lazy=True`` this is where it is.

    Raises:
        HTTPServiceUnavailable: the store failed.
        RuntimeError: the request has no session.
    """
    session: AiohttpSession | None = request.get(SESSION)
    if session is None:
        raise RuntimeError(
            f"{request.path} has no session: call sojourn.aiohttp.setup(app, ...), after which middlewares have it that are added later,"
            " and see its option `exclude`"
        )
    try:
        await session.load()
    except StoreError:
        raise web.HTTPServiceUnavailable from None
    return session


async def new_session(request: web.Request) -> AiohttpSession:
    """The request's session, empty and under a new id: the old one ends. The same as ``regenerate()``; at a login call ``login()`` instead.

    Raises:
        HTTPServiceUnavailable: the store failed.
        RuntimeError: the request has no session.
    """
    session = await get_session(request)
    session.regenerate()
    return session
