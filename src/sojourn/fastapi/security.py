"""The session as a dependency, and the guard of those routes that are for whoever is logged in."""

# No annotations as text here: FastAPI before 0.116 cannot look those of `SessionSecurity.__call__` up.

from contextvars import ContextVar
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Security
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection

from .. import asgi, starlette
from ..asgi import Receive, Scope, Send, path_of
from ..clock import Duration, duration_ms
from ..core.session import state_of
from ..errors import ConfigurationError
from ..starlette import StarletteSession, load_session, next_page
from ..wire.next_page import present_page, with_next

__all__ = ["LoggedIn", "SessionDep", "SessionMiddleware", "SessionSecurity", "current_session", "next_page"]

_POLICY_VIOLATION: Final = 1008  # of a WebSocket's close codes

# What FastAPI makes the OpenAPI document of knows neither the application nor the request that asks for it.
_scope: ContextVar[Scope] = ContextVar("scope")


class SessionMiddleware(starlette.SessionMiddleware):
    """`sojourn.starlette.SessionMiddleware`, which also lets the OpenAPI document name the cookie as it is sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _scope.set(scope)
        await super().__call__(scope, receive, send)


async def current_session(connection: HTTPConnection) -> StarletteSession:
    """The session, for HTTP, WebSockets and mounted applications; with ``lazy=True`` it is loaded here."""
    return await load_session(connection)


SessionDep = Annotated[StarletteSession, Depends(current_session)]
"""The session: ``session: SessionDep``."""


class SessionSecurity(SecurityBase):
    """The session of whoever is logged in, as a dependency, and as a security scheme in the OpenAPI document.

    Nobody being logged in is a 401. A page that a browser asks for is redirected to ``login_page`` instead, where there is one; it
    gets the page that was asked for as ``next`` (see `next_page`). A WebSocket is refused.

    With ``fresh``, whoever is logged in but has not given the password for that long is sent to ``confirm_page`` likewise, where
    ``session.confirm()`` or another login makes the session fresh again; without such a page, and for all that is no browser, it is a 403.

    Args:
        required: False gives the session in any case.
        login_page: the path of the page to log in.
        fresh: how long ago the password may have been given at most, a `timedelta` or seconds; see `Session.is_fresh`.
        confirm_page: the path of the page that asks for the password again.
        name: the cookie's name in the document. Unless given, that which it has on the connection over which the document is first asked for.
    """

    scheme_name = "session"

    def __init__(
        self,
        *,
        required: bool = True,
        login_page: str | None = None,
        fresh: Duration | None = None,
        confirm_page: str | None = None,
        name: str | None = None,
    ) -> None:
        if fresh is not None:
            duration_ms("fresh", fresh)
        elif confirm_page is not None:
            raise ConfigurationError(
                "confirm_page", repr(confirm_page), "give fresh too, such as timedelta(minutes=15)"
            )
        self._required = required
        self._login_page = login_page
        self._fresh = fresh
        self._confirm_page = confirm_page
        self._name = name

    @property
    def model(self) -> APIKey:  # type: ignore[override]  # the name is not known before there is a request
        """The scheme, as the OpenAPI document has it."""
        return APIKey.model_validate({"in": APIKeyIn.cookie, "name": self._name or _sent_name()})

    async def __call__(self, connection: HTTPConnection) -> StarletteSession:
        session = await load_session(connection)
        if not self._required:
            return session
        if session.owner is None:
            # A challenge is due (RFC 9110, 15.5.2); for a cookie FastAPI has this one.
            refused = HTTPException(401, "Not authenticated", {"WWW-Authenticate": "APIKey"})
            raise _sent_to(self._login_page, connection, refused)
        if self._fresh is not None and not session.is_fresh(self._fresh):
            raise _sent_to(self._confirm_page, connection, HTTPException(403, "Password needed again"))
        return session


LoggedIn = Annotated[StarletteSession, Security(SessionSecurity())]
"""The session of whoever is logged in, else a 401: ``session: LoggedIn``. For a redirect, give `SessionSecurity` a ``login_page``."""


def _sent_to(page: str | None, connection: HTTPConnection, refused: HTTPException) -> Exception:
    """What sends a browser that asks for a page to another, and refuses everything else."""
    scope = connection.scope
    if scope["type"] == "websocket":
        return WebSocketException(_POLICY_VIOLATION, refused.detail)
    if page is None or "text/html" not in connection.headers.get("accept", ""):
        return refused
    location = with_next(page, present_page(scope["method"], path_of(scope), connection.url.query))
    return HTTPException(303, headers={"Location": location, "Cache-Control": "no-store"})


def _sent_name() -> str:
    """The name under which the session's cookie is sent on this connection."""
    session = _scope.get({}).get(asgi.OWN_PLACE)
    if not isinstance(session, StarletteSession):
        return "sid"
    state = state_of(session)
    return state.settings.naming.name_of(state.arrival.config, secure=state.arrival.secure)
