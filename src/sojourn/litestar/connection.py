"""The session of a connection: what dependencies and guards are made of."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from litestar import di
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import (
    HTTPException,
    ImproperlyConfiguredException,
    NotAuthorizedException,
    PermissionDeniedException,
    ServiceUnavailableException,
    WebSocketException,
)
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope

from .. import asgi
from ..clock import Duration, duration_ms
from ..core.session import AsyncSession
from ..errors import StoreError
from ..wire.next_page import NEXT, is_of_this_site, present_page, with_next
from .door import LitestarSession

__all__ = [
    "FreshLogin",
    "SessionDep",
    "is_guard",
    "load_session",
    "logged_in",
    "next_page",
    "provide_session",
    "session_in",
    "session_of",
]

_REFUSED: Final = "not logged in"
_UNAUTHORIZED: Final = 4401  # of a WebSocket's close codes those of the 4000s are the application's
_FORBIDDEN: Final = 4403
_STALE: Final = "password needed again"
_CHALLENGE: Final = {"WWW-Authenticate": "APIKey"}


def session_in(scope: Any) -> LitestarSession:
    """`session_of`, of a scope."""
    session = scope.get(asgi.OWN_PLACE)
    if isinstance(session, LitestarSession):
        return session
    raise ImproperlyConfiguredException(
        f"{scope['path']} has no session: give the application a SojournPlugin, and see skip_session and its option `exclude`"
    )


def session_of(connection: ASGIConnection[Any, Any, Any, Any]) -> LitestarSession:
    """The session of a request or WebSocket, with its type, also where something else is in ``request.session``.

    Raises:
        ImproperlyConfiguredException: there is none.
    """
    return session_in(connection.scope)


async def load_session(connection: ASGIConnection[Any, Any, Any, Any]) -> LitestarSession:
    """`session_of`, loaded: with ``lazy=True`` this is where it is.

    Raises:
        ServiceUnavailableException: the store failed; what is sent is the middleware's own 503.
        ImproperlyConfiguredException: there is no session.
    """
    return await _loaded(session_of(connection))


async def _loaded(session: LitestarSession) -> LitestarSession:
    try:
        await session.load()
    except StoreError:
        raise ServiceUnavailableException from None
    return session


async def provide_session(scope: Scope) -> AsyncSession:
    """The dependency ``session``: for requests and WebSockets."""
    return await _loaded(session_in(scope))


_NAMED: Final[Any] = getattr(di, "Dependency", object)()  # Litestar's mark of a dependency, which has one since 2.23
SessionDep: TypeAlias = Annotated[AsyncSession, _NAMED]
"""The session: ``session: SessionDep``. Litestar finds it by the name ``session``, and from 3.0 on by this mark only."""


async def logged_in(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """A guard: only for whoever is logged in, which ``session.login()`` notes.

    Raises:
        NotAuthorizedException: nobody is; a 401.
        WebSocketException: likewise, for a WebSocket, which is closed with 4401.
    """
    if (await load_session(connection)).owner is None:
        if connection.scope["type"] == ScopeType.WEBSOCKET:
            raise WebSocketException(detail=_REFUSED, code=_UNAUTHORIZED)
        # A challenge is due (RFC 9110, 15.5.2); for a cookie there is this one, as in FastAPI.
        raise NotAuthorizedException(_REFUSED, headers=_CHALLENGE)


class FreshLogin:
    """A guard: only for whoever has just given the password, ``guards=[FreshLogin(timedelta(minutes=15), "/confirm")]``.

    Args:
        within: how long ago that may have been at most, a `timedelta` or seconds; see `sojourn.AsyncSession.is_fresh`.
        confirm_page: the path of the page that asks for it again. A request is redirected there, with the page that was asked for as
            ``next`` (see `next_page`). Unless given, it is a 403.

    Raises:
        ConfigurationError: ``within`` is no duration.
    """

    def __init__(self, within: Duration, confirm_page: str | None = None) -> None:
        duration_ms("within", within)
        self._within = within
        self._confirm_page = confirm_page

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Litestar's.

        Raises:
            NotAuthorizedException: nobody is logged in; a 401.
            PermissionDeniedException: the password was given before that; a 403.
            HTTPException: likewise, with a ``confirm_page``; a 303.
            WebSocketException: one or the other, for a WebSocket, which is closed with 4401 or 4403.
        """
        await logged_in(connection, handler)
        if session_of(connection).is_fresh(self._within):
            return
        scope: Any = connection.scope
        if scope["type"] == ScopeType.WEBSOCKET:
            raise WebSocketException(detail=_STALE, code=_FORBIDDEN)
        if self._confirm_page is None:
            raise PermissionDeniedException(_STALE)
        page = present_page(scope["method"], asgi.path_of(scope), scope["query_string"].decode("latin-1"))
        raise HTTPException(
            _STALE,
            status_code=303,
            headers={"Location": with_next(self._confirm_page, page), "Cache-Control": "no-store"},
        )


def is_guard(guard: object) -> bool:
    """Whether it is one of ours, for whoever is logged in."""
    return guard is logged_in or isinstance(guard, FreshLogin)


def next_page(connection: ASGIConnection[Any, Any, Any, Any], default: str = "/") -> str:
    """Where to go from here, once somebody has logged in or confirmed: the page that was asked for before, if it is one of this site."""
    page: str = connection.query_params.get(NEXT, "")
    return page if is_of_this_site(page) else default
