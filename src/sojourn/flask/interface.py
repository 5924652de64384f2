"""How Flask opens a session and saves it: where the exchange's steps happen in a request of Flask's.

- ``open_session`` reads the request's cookie. It is loaded when the request starts, by ``load``, or before that when it is first used.
- ``save_session`` commits it, after all ``after_request`` functions, so that an error meets the application's own handlers.
- What is changed later, while a body is streamed, is saved by `Streams`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

import flask
from flask.sessions import NullSession, SessionMixin
from flask.sessions import SessionInterface as Interface
from msgspec.structs import replace
from werkzeug.datastructures import Headers
from werkzeug.exceptions import InternalServerError, ServiceUnavailable

from ..core.plan import Phase, Plan
from ..core.session import BaseSession, state_of
from ..core.state import Event, Found, Intent, State
from ..errors import SojournError, StoreError, StoreUnavailable
from ..logs import warn_once
from ..options import OptionsDict
from ..wsgi import ENVIRON_KEY
from .config import permanent_by_default, with_config
from .door import OPENED, Door, FlaskExchange
from .face import PERMANENT, FlaskSession
from .logins import OF_A_LOGIN

__all__ = ["SessionInterface"]

_GIVES_CONTEXT: Final = "ctx" in inspect.signature(flask.Flask.handle_user_exception).parameters
_SLOT: Final = "session"
_SECURE: Final = 3
"""Its place in what Flask says of the cookie."""
_MOST_DOORS: Final = 64  # a cookie's name may depend on the request
_KEPT_EMPTY: Final = frozenset({PERMANENT, "_flashes"})
"""A session of which only these were there is not ended for having none of them any more: a parallel request may have begun to use it."""
_UNSIGNED: Final = (
    "the session is unavailable because no secret key was set; set app.secret_key, or SECRET_KEY in app.config"
)
_NO_PLACE: Final = "the session is unavailable because this path has none: it is outside of the cookie's path, or excluded by `exclude`"


class _NoSession(NullSession):
    """What a request has that has no session: it reads as empty."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self._reason = reason

    def _fail(self, *_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError(self._reason)

    __delitem__ = clear = popitem = update = setdefault = _fail

    # Flask-Login logs a visitor in by the remember cookie wherever a template is rendered: there it is for this request alone.

    def __setitem__(self, key: str, value: Any) -> None:  # type: ignore[override]  # Flask's always raises
        if key not in OF_A_LOGIN:
            self._fail()

    def pop(self, key: str, *default: Any) -> Any:
        return default[0] if key in OF_A_LOGIN and default else self._fail()


class SessionInterface(Interface):
    """Flask's session interface on a store: what `Sojourn` sets as ``app.session_interface``.

    A subclass may override what Flask's have, such as ``get_cookie_name``; give it to a subclass of `Sojourn` as ``interface_class``.
    """

    null_session_class = NullSession
    door_class: ClassVar[type[Any]] = Door
    confirm_view: str | None = None
    """The endpoint of the page that asks for the password again; see `sojourn.flask.fresh_required`."""
    colour: ClassVar[str] = ""
    """What the names of its stores begin with."""

    def __init__(self, options: OptionsDict) -> None:
        self._options = options
        self._doors: dict[tuple[Any, ...], Any] = {}
        self.store: Any = None
        """The store, once there was a secret."""

    # -- the configuration ----------------------------------------------------------------------------------------

    def door(self, app: flask.Flask) -> Any:
        """The configuration in force, which Flask's applications may change at any time; None where there is no secret.

        Raises:
            ConfigurationError: something of it is wrong.
        """
        secrets = self._options.get("secret") or _secrets(app)
        if not secrets:
            return None
        cookie = (
            self.get_cookie_domain(app),
            self.get_cookie_path(app),
            self.get_cookie_httponly(app),
            self.get_cookie_secure(app),
            self.get_cookie_samesite(app),
            app.config.get("SESSION_COOKIE_PARTITIONED", False),
        )
        name, lifetime = self.get_cookie_name(app), app.permanent_session_lifetime
        key = secrets if isinstance(secrets, str | bytes) else tuple(secrets), name, *cookie, lifetime
        door = self._doors.get(key)
        if door is None:
            options = with_config(self._options, app, secrets, name, cookie, lifetime, colour=self.colour)
            if self.store is not None:
                options["store"] = self.store
            door = self.door_class(options, permanent=permanent_by_default(app.config))
            # Behind a proxy that ends TLS, Flask sends a Secure cookie without being told of the proxy.
            door.is_always_secure = bool(cookie[_SECURE]) and "cookie" not in self._options
            self.store = door.store
            if len(self._doors) >= _MOST_DOORS:
                self._doors.clear()
            self._doors[key] = door
        return door

    def make_null_session(self, app: flask.Flask) -> NullSession:
        """The session of a request that has none: it reads as empty, and says why nothing can be put in."""
        return _NoSession(_NO_PLACE if self.door(app) else _UNSIGNED)

    def regenerate(self, session: FlaskSession) -> None:
        """Flask-Session's way to write ``session.regenerate(keep_data=True)``."""
        session.regenerate(keep_data=True)

    # -- a request ------------------------------------------------------------------------------------------------

    def open_session(self, app: flask.Flask, request: flask.Request) -> SessionMixin | None:
        """Flask's: the session of a request, which is loaded when it is first used. None where it has none."""
        environ = request.environ
        already = environ.get(ENVIRON_KEY)
        if isinstance(already, BaseSession):
            warn_once(
                "twice", "a request had a session already when Sojourn for Flask met it: is a middleware installed too?"
            )
            return FlaskSession(state_of(already))  # one session with two faces
        door = self.door(app)
        arrival = None if door is None else door.arrive(environ)
        if door is None or arrival is None:
            return None
        if door.reader.parameters:
            request.query_string = environ["QUERY_STRING"].encode("latin-1")  # which may be without an id now
        state = State(door.settings, arrival, door, Found.PENDING if arrival.ids else Found.NOTHING)
        session = FlaskSession(state)
        exchange = FlaskExchange(door, state, session, {_SLOT: session}, _SLOT)
        session.note_exchange(exchange, permanent=door.permanent)
        if OPENED in environ:
            exchange.is_served = True
            environ[OPENED].append(exchange)
        return session

    def load(self) -> flask.Response | None:
        """Load the session of a request that starts, unless that was done or is to be done on first use.

        Where the store fails, the response is what the application's own handlers make of it.
        """
        for exchange in flask.request.environ.get(OPENED, ()):
            state, door = exchange.state, exchange.middleware
            if state.found is Found.PENDING and state.data is None and not door.options.lazy:
                try:
                    door.load(state)
                except StoreError as error:
                    exchange.refused = True
                    return _response_to(error, door)
        return None

    def save_session(self, app: flask.Flask, session: SessionMixin, response: flask.Response) -> None:
        """Flask's: commit, and decide what is sent. After a failure Flask calls it again, for its error page."""
        exchange: FlaskExchange | None = getattr(session, "exchange", None)
        if exchange is None or exchange.refused:
            return
        assert isinstance(session, FlaskSession)
        try:
            if not session.is_committed:
                self._settle(app, session, exchange)
            plan = _commit(exchange)
        except SojournError as error:
            exchange.refused = isinstance(error, StoreError)
            if not exchange.is_served:
                raise
            exchange.instead = _response_to(error, exchange.middleware)
            exchange.is_streamed = exchange.instead.is_streamed
            self.save_session(app, session, exchange.instead)  # what is left to be done: a logout happens in any case
            return
        exchange.state.sent = True
        exchange.is_streamed = response.is_streamed
        exchange.header, exchange.clears = plan.header, plan.clears
        exchange.vary = exchange.middleware.reader.vary if session.accessed or plan.header is not None else ()
        if not exchange.is_served:
            response.headers = Headers(exchange.headers(response.headers))
            exchange.end(failed=False)

    def _settle(self, app: flask.Flask, session: FlaskSession, exchange: FlaskExchange) -> None:
        """What Flask decides about a session at its end, before it is committed."""
        state = exchange.state
        refresh = bool(app.config["SESSION_REFRESH_EACH_REQUEST"])
        session.note_committed()
        if state.found is Found.UNAVAILABLE or state.intent is Intent.DESTROY:
            return
        if state.data is None and (state.found is Found.PENDING or not refresh):
            return  # nobody has looked at it, and nothing is due
        is_empty, base = not session, state.base_data()
        if state.found is Found.NOTHING and is_empty and state.owner is None:
            session.pop(PERMANENT, None)  # is not worth a record
        elif session.is_forced and state.intent is Intent.NONE:
            state.on(Event.TOUCH)
        elif (
            is_empty
            and state.intent is Intent.NONE
            and session.modified
            and state.owner is None
            and not base.keys() <= _KEPT_EMPTY
            and state.settings.options.profile.clear_ends
        ):
            session.invalidate()  # as Flask deletes the cookie of a session that was emptied
        lifetime = self._lifetime(app, session)
        was_permanent = PERMANENT in base and bytes(base[PERMANENT]) == b"true"
        again = (lifetime is not None and self.should_set_cookie(app, session)) or (lifetime is None and was_permanent)
        settings, cookie = exchange.middleware.lasting(state.arrival.config, lifetime, again=again)
        if settings is not state.settings:
            state.settings, state.arrival = settings, replace(state.arrival, config=cookie)
            if state.cookie is not None:
                state.cookie = state.make_cookie(state.cookie.overrides)

    def _lifetime(self, app: flask.Flask, session: FlaskSession) -> timedelta | None:
        """How long the browser is to keep the cookie; None for as configured."""
        if type(self).get_expiration_time is Interface.get_expiration_time:  # without the seconds that pass meanwhile
            return app.permanent_session_lifetime if session.permanent else None
        expires = self.get_expiration_time(app, session)
        return None if expires is None else timedelta(seconds=round((expires - datetime.now(UTC)).total_seconds()))


def _secrets(app: flask.Flask) -> Sequence[str | bytes]:
    """What signs, first, and what verifies too."""
    return (app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())) if app.secret_key else ()


def _commit(exchange: FlaskExchange) -> Plan:
    """Commit the session.

    Raises:
        StoreError: it could not be loaded, or stored.
        SessionEncodeError: a value cannot be stored.
        SessionTooLarge: the record is larger than the store takes.
    """
    plan = exchange.prepare(Phase.RESPONSE)
    if plan is not None and plan.needs_store:
        plan = exchange.middleware.respond(exchange, plan, Phase.RESPONSE)
    if plan is None:
        raise exchange.failure or StoreUnavailable("the session could not be loaded")
    return plan


# -- errors ---------------------------------------------------------------------------------------------------------------


def _response_to(error: SojournError, door: Door) -> flask.Response:
    """What the application's own handlers make of an error. Called while it is handled.

    For the store's these are those for the error itself, for 503 and for 500, and if there are none it is our 503.

    Raises:
        SojournError: no handler is for it; the application is in debug mode, under test, or it is no error of the store's.
    """
    app = flask.current_app
    try:
        return app.make_response(_ask(app.handle_user_exception, error))
    except SojournError as unhandled:
        if unhandled is not error or not isinstance(error, StoreError):
            raise
    status, headers, body = door.unavailable(flask.request.environ)
    page = app.response_class(body, status, headers)
    unavailable = ServiceUnavailable(response=page)
    made = _ask(app.handle_http_exception, unavailable)
    if made is not unavailable:
        return app.make_response(made)
    propagate = app.config["PROPAGATE_EXCEPTIONS"]
    if app.testing or app.debug if propagate is None else propagate:
        raise error
    internal = InternalServerError(original_exception=error)
    made = _ask(app.handle_http_exception, internal)
    return page if made is internal else app.make_response(made)


def _ask(handlers: Callable[..., Any], error: Exception) -> Any:
    """What Flask finds for an error, in the current context, which it is given from 3.2 on."""
    return handlers(flask.globals.app_ctx._get_current_object(), error) if _GIVES_CONTEXT else handlers(error)  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug documents it
