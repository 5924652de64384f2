"""Sessions for Quart: ``quart.session`` is kept in a store, for requests and WebSockets, and nothing else changes.

Example::

    app = Quart(__name__)
    app.secret_key = os.environ["SECRET_KEY"]
    Sojourn(app, store="redis://localhost")

Theory of operation
-------------------
Around ``app.asgi_app`` is our ASGI middleware, which loads the session before Quart sees the request, and saves what changes while a body
is streamed or a WebSocket is open. Quart's session interface finds it in the scope. It commits in ``save_session``, after all
``after_request`` functions, so that an error meets the application's own handlers; what it decided, the middleware sends.

Where there is no middleware on the way, as in ``session_transaction()`` and ``test_request_context()``, the interface loads and saves by itself.
What Quart has from Flask, its sessions' attributes and its configuration, is what `sojourn.flask` has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable, signature
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, ParamSpec, Unpack, cast

try:
    import quart
except ImportError as _error:
    raise ImportError('sojourn.quart needs Quart: pip install "sojourn[quart]"', name=_error.name) from _error

from flask.sessions import NullSession, SessionMixin
from msgspec.structs import replace
from werkzeug.exceptions import Forbidden, InternalServerError, ServiceUnavailable

from .asgi import OWN_PLACE, ASGIApp, ASGIExchange, Message, Receive, Scope, Send, SessionMiddleware, path_of
from .clock import Duration, duration_ms
from .core.plan import Phase, Plan
from .core.policy import needs_late_commit
from .core.session import AsyncSession, BaseSession, state_of
from .core.state import Event, State
from .driver import arrive
from .errors import SessionNotLoaded, SojournError, StoreError, StoreUnavailable
from .flask import FlaskSession
from .flask import SessionInterface as FlaskInterface
from .flask import Sojourn as FlaskSojourn
from .flask.codec import flask_codec
from .flask.door import Lasting
from .flask.fresh import check_fresh
from .flask.guard import CrossSiteGuard as FlaskGuard
from .flask.guard import check
from .guard import GuardOptions
from .options import OptionsDict
from .wire.headers import TEXT, with_session
from .wire.next_page import NEXT, is_of_this_site, present_page, with_next

if TYPE_CHECKING:
    from quart import Quart
    from quart.wrappers import BaseRequestWebsocket, Response

__all__ = [
    "CrossSiteGuard",
    "QuartSession",
    "SessionInterface",
    "Sojourn",
    "flask_codec",
    "fresh_required",
    "next_page",
    "session",
]

P = ParamSpec("P")

_SLOT: Final = "session"
_SECURE: Final = ("https", "wss")
_LAST: Final = ("http.response.body", "websocket.close")
_HAS_ONE_CONTEXT: Final = "ctx" in signature(quart.Quart.handle_user_exception).parameters
"""From Quart 0.23 on: its handlers are given the context, and whoever reaches for the context's session makes it say that it was accessed."""


class QuartSession(AsyncSession, FlaskSession):  # type: ignore[misc]  # Flask's in the async colour
    """``quart.session``: Flask's attributes, and `AsyncSession`'s coroutines. Made by `Sojourn`, never by hand."""

    exchange: QuartExchange | None  # type: ignore[assignment]

    @property
    def accessed(self) -> bool:
        """Whether this request has looked at it; then the response varies with the cookie."""
        return super().accessed

    @accessed.setter
    def accessed(self, value: bool) -> None:
        if not _HAS_ONE_CONTEXT:  # else Quart says so of every request, before it saves: what was looked at tells
            vars(self)["_accessed"] = value

    def _load_now(self) -> NoReturn:
        raise SessionNotLoaded("with lazy=True, call `await session.load()` before using the session")


session: Final = cast("QuartSession", quart.session)
"""``quart.session``, the very same, with the type that it has."""


class Door(Lasting, SessionMiddleware):
    """One configuration of the application's."""

    session_class: type[AsyncSession] = QuartSession
    quart: Quart
    interface: SessionInterface

    def __init__(self, options: OptionsDict, *, permanent: bool) -> None:
        SessionMiddleware.__init__(self, _no_app, **options)
        self.last(permanent=permanent)


async def _no_app(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """What a door is around until it is met on a request's way."""


class QuartExchange(ASGIExchange[Door]):
    """One request of a Quart application and its response, or a WebSocket."""

    kept: Plan | None = None
    """What ``save_session`` has done, for the response to tell."""
    has_failed: bool = False
    """It could not: the response is to be our 503, or `instead`."""
    instead: Any = None
    """What the application's own handlers made of the failure. The application may keep its response, which therefore stays as it is."""
    is_alone: bool = False
    """There is no middleware on its way."""

    def __post_init__(self) -> None:
        session = self.face
        session.note_exchange(cast("Any", self), permanent=self.middleware.permanent)

    @property
    def face(self) -> QuartSession:
        assert isinstance(self.session, QuartSession)
        return self.session

    def prepare(self, phase: Phase) -> Plan | None:
        if phase is Phase.RESPONSE and not self.face.is_committed:
            door = self.middleware
            door.interface.settle(door.quart, self.face, self)
        return ASGIExchange.prepare(self, phase)

    def send(self, message: Message) -> Awaitable[None]:
        kept = self.kept
        if kept is None and not self.has_failed:
            is_last = message["type"] in _LAST and not message.get("more_body")
            if is_last and self.state.sent and not self.refused and not self.is_idle:
                return self._finish_and_send(message)
            return ASGIExchange.send(self, message)
        self.kept = None
        if self.has_failed:
            self.has_failed = False
            return self.send_unavailable() if self.instead is None else self._send_instead(self.instead)
        assert kept is not None
        if needs_late_commit(self.state) or self.slot.get(self.name) is not self.session:
            return ASGIExchange.send(self, message)  # something happened since: it sends what is owed, too
        return self._send(kept, message)

    async def _finish_and_send(self, message: Message) -> None:
        """Save what came late before the client learns that this was all, and asks for more."""
        await self.middleware.finish(self, failed=False)
        await self.forward(message)

    def _send(self, plan: Plan, message: Message) -> Awaitable[None]:
        told = self.told(plan)
        self.let_go()
        return ASGIExchange._send(self, told, message)  # noqa: SLF001 - the base class's

    async def _send_instead(self, made: Any) -> None:
        """Send another response, and swallow what the application still sends of its own."""
        kind = "http" if self.slot["type"] == "http" else "websocket.http"
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in made.headers]
        data = made.get_data()  # of werkzeug's responses it is there, of Quart's it is awaited
        body = await data if isawaitable(data) else data
        await ASGIExchange.send(
            self, {"type": f"{kind}.response.start", "status": made.status_code, "headers": headers}
        )
        if not self.refused:
            self.refused = True
            await self.forward({"type": f"{kind}.response.body", "body": body, "more_body": False})

    async def end(self) -> None:
        """Do what is left, where no middleware does."""
        await self.middleware.finish(self, failed=False)
        self.let_go()

    def let_go(self) -> None:
        """Be forgotten by the session: each would hold the other until the garbage collector comes."""
        vars(self.session).pop("exchange", None)

    def told(self, plan: Plan) -> Plan:
        """The plan whose response varies only if the application looked at the session, whoever else did."""
        vary = self.face.accessed or plan.header is not None
        return plan if vary is plan.vary else replace(plan, vary=vary)


Door.exchange_class = QuartExchange


class SessionInterface(FlaskInterface):
    """Quart's session interface on a store: what `Sojourn` sets as ``app.session_interface``.

    A subclass may override what Quart's have, such as ``get_expiration_time``; give it to a subclass of `Sojourn` as ``interface_class``.
    """

    door_class = Door
    colour: ClassVar[str] = "Async"

    def door(self, app: Any) -> Door | None:
        """The configuration in force; None where there is no secret."""
        door: Door | None = super().door(app)
        if door is not None:
            door.quart, door.interface = app, self
        return door

    async def make_null_session(self, app: Any) -> NullSession:  # type: ignore[override]
        """The session of a request that has none: it reads as empty, and says why nothing can be put in."""
        return super().make_null_session(app)

    def settle(self, app: Any, session: QuartSession, exchange: QuartExchange) -> None:
        """What Flask decides about a session at its end, before it is committed."""
        self._settle(app, session, exchange)  # type: ignore[arg-type]

    async def open_session(self, app: Any, request: BaseRequestWebsocket) -> SessionMixin | None:  # type: ignore[override]
        """Quart's: the session of a request or WebSocket. None where it has none."""
        scope: Any = request.scope
        served = scope.get(OWN_PLACE)
        if isinstance(served, QuartSession):
            return served
        if isinstance(served, BaseSession):  # another middleware of ours, which has said so
            return QuartSession(state_of(served))  # one session with two faces
        door = self.door(app)
        arrived = None if door is None else _arrive(door, scope)
        if door is None or arrived is None:
            return None
        state, _hosts = arrived
        session = QuartSession(state)
        exchange = QuartExchange(door, state, session, {_SLOT: session}, _SLOT)
        exchange.is_alone = True
        if state.arrival.ids:
            await door.load(state)
        return session

    async def save_session(self, app: Any, session: SessionMixin, response: Response | None) -> None:  # type: ignore[override]
        """Quart's: commit. After a failure Quart calls it again, for its error page."""
        exchange: QuartExchange | None = getattr(session, "exchange", None)
        if exchange is None:
            return
        if response is None or exchange.state.sent or not _takes_headers(exchange):
            if exchange.is_alone:  # a WebSocket that was handled without the middleware
                exchange.state.sent = True
                await exchange.end()
            return
        try:
            plan = await _commit(exchange)
        except SojournError as error:
            if exchange.is_alone:  # in a test, which wants to know
                raise
            if isinstance(error, StoreError):
                exchange.state.on(Event.DISCARD)  # whatever becomes of it, the store is not asked again
            exchange.instead = await _response_to(app, error)
            exchange.has_failed = True
            return
        if not exchange.is_alone:
            exchange.kept = plan
            return
        exchange.state.sent = True
        told = exchange.told(plan)
        vary = exchange.middleware.reader.vary if told.vary else ()
        headers = with_session(list(response.headers), TEXT, session_header=plan.header, vary=vary, clears=plan.clears)
        response.headers.clear()
        response.headers.extend(headers)
        await exchange.end()


async def _commit(exchange: QuartExchange) -> Plan:
    """Commit the session.

    Raises:
        StoreError: it could not be loaded, or stored.
        SessionEncodeError: a value cannot be stored.
        SessionTooLarge: the record is larger than the store takes.
    """
    plan = exchange.prepare(Phase.RESPONSE)
    if plan is not None and plan.needs_store:
        plan = await exchange.middleware.respond(exchange, plan, Phase.RESPONSE)
    if plan is None:
        raise exchange.failure or StoreUnavailable("the session could not be loaded")
    return plan


async def _response_to(app: Any, error: SojournError) -> Any:
    """What the application's own handlers make of an error; None if it is the store's, and they make nothing of it.

    For the store's these are those for the error itself, for 503 and for 500.

    Raises:
        SojournError: it is no error of the store's, and no handler is for it.
    """
    try:
        return await app.make_response(await _ask(app.handle_user_exception, error))
    except SojournError as unhandled:
        if unhandled is not error or not isinstance(error, StoreError):
            raise
    for failure in (ServiceUnavailable(), InternalServerError(original_exception=error)):
        made = await _ask(app.handle_http_exception, failure)
        if made is not failure:
            return await app.make_response(made)
    return None


def _ask(handlers: Callable[..., Awaitable[Any]], error: Exception) -> Awaitable[Any]:
    """What Quart finds for an error, in the current context."""
    return handlers(quart.globals.app_ctx._get_current_object(), error) if _HAS_ONE_CONTEXT else handlers(error)  # noqa: SLF001 - werkzeug documents it


def _takes_headers(exchange: QuartExchange) -> bool:
    """Whether a response can carry a cookie; that which refuses a WebSocket only where the server lets it."""
    scope = exchange.slot
    return scope.get("type") != "websocket" or "websocket.http.response" in (scope.get("extensions") or {})


def _arrive(door: Door, scope: Scope) -> tuple[State, list[str]] | None:
    """What a request brings that came past the middleware."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    query = scope.get("query_string", b"").decode("latin-1")
    https = scope.get("scheme") in _SECURE
    path: str = scope["path"]
    return arrive(door, headers, path, https=https, direct_tls=False, query=query, body=b"", request=scope)


class _Sessions:
    """Around ``Quart.asgi_app``: our middleware, as the application is configured when a request comes."""

    def __init__(self, app: Quart, inner: ASGIApp, interface: SessionInterface) -> None:
        self._app = app
        self._inner = inner
        self._interface = interface

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._interface.door(self._app)
        if door is None:
            await self._inner(scope, receive, send)
        else:
            door.app = self._inner
            await door(scope, receive, send)


class Sojourn(FlaskSojourn):
    """Keeps ``quart.session`` in a store.

    Example::

        sessions = Sojourn(store="redis://localhost")

        def create_app():
            app = Quart(__name__)
            app.config.from_prefixed_env()
            sessions.init_app(app)
            return app

    The secret is ``app.secret_key``, with ``SECRET_KEY_FALLBACKS``; cookie and lifetimes are what ``app.config`` says, unless an option
    does. Several applications may be given to one.

    Args:
        app: the application; or give it to `init_app` later.
        confirm_view: the endpoint of the page that asks for the password again; see `fresh_required`.
        options: see `sojourn.options.Options`.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    interface_class: ClassVar[type[SessionInterface]] = SessionInterface

    def __init__(
        self, app: Quart | None = None, *, confirm_view: str | None = None, **options: Unpack[OptionsDict]
    ) -> None:
        super().__init__(cast("Any", app), confirm_view=confirm_view, **options)

    def init_app(self, app: Any) -> None:
        """Give an application its sessions, as its configuration says.

        Raises:
            ConfigurationError: something of it is wrong, or it has sessions of Sojourn's already.
        """
        interface = cast("SessionInterface", self.make_interface(app))
        app.asgi_app = _Sessions(app, app.asgi_app, interface)


class CrossSiteGuard(FlaskGuard):
    """Refuses what a page of another site has the browser send, requests and WebSockets; else as `sojourn.flask.CrossSiteGuard`."""

    def __init__(self, app: Quart | None = None, **options: Unpack[GuardOptions]) -> None:
        super().__init__(cast("Any", app), **options)

    def init_app(self, app: Any) -> None:
        """Check an application's requests and WebSockets. Several may be given to one."""

        async def look_at_request() -> None:
            check(self.rules, app, quart.request, websocket=False)

        async def look_at_websocket() -> None:
            check(self.rules, app, quart.websocket, websocket=True)

        app.before_request_funcs[None].insert(0, look_at_request)
        app.before_websocket_funcs[None].insert(0, look_at_websocket)


# -- the password, asked for again --------------------------------------------------------------------------------------


def fresh_required(within: Duration) -> Callable[[Callable[P, Any]], Callable[P, Awaitable[Any]]]:
    """A decorator for views, below the one of the route: only for whoever has just given the password.

    Whoever gave it before that is redirected to the view that ``Sojourn(confirm_view=...)`` names, with the page that was asked for as ``next``,
    or gets a 403 where none is named, or in a WebSocket. Nobody being logged in is a 401.

    Args:
        within: how long ago the password may have been given at most, a `timedelta` or seconds; see `sojourn.AsyncSession.is_fresh`.

    Raises:
        ConfigurationError: ``within`` is no duration.
    """
    duration_ms("within", within)

    def decorate(view: Callable[P, Any]) -> Callable[P, Awaitable[Any]]:
        @wraps(view)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            found: object = cast("Any", quart.session)._get_current_object()  # noqa: SLF001 - werkzeug documents it
            current = found if isinstance(found, QuartSession) else None
            if current is not None:
                await current.load()
            page = check_fresh(quart.current_app, current, within)
            if page is None:
                return await quart.current_app.ensure_async(view)(*args, **kwargs)
            if quart.has_websocket_context():
                raise Forbidden
            request = quart.request
            asked_for = present_page(request.method, path_of(cast("Any", request.scope)), request.query_string.decode())
            return quart.redirect(with_next(quart.url_for(page), asked_for), 303)

        return guarded

    return decorate


def next_page(default: str = "/") -> str:
    """Where to go from here, once somebody has logged in or confirmed: the page that was asked for before, if it is one of this site."""
    page = quart.request.args.get(NEXT, "")
    return page if is_of_this_site(page) else default
