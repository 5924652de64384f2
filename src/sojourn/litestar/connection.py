"""The session of a connection: what dependencies and guards are made of."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from litestar import di
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import (
    ImproperlyConfiguredException,
    NotAuthorizedException,
    ServiceUnavailableException,
    WebSocketException,
)
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope

from .. import asgi
from ..core.session import AsyncSession
from ..errors import StoreError
from .door import LitestarSession

__all__ = ["SessionDep", "load_session", "logged_in", "provide_session", "session_in", "session_of"]

_REFUSED: Final = "not logged in"
_UNAUTHORIZED: Final = 4401  # of a WebSocket's close codes those of the 4000s are the application's
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
