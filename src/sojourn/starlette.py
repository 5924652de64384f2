"""Sessions in Starlette: ``request.session``, with the marks that Starlette's own session has, and a backend for its authentication.

app.add_middleware(SessionMiddleware, secret=os.environ["SESSION_SECRET"], store="redis://localhost")
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Unpack

from . import asgi
from .asgi import ASGIApp, CrossSiteGuard
from .clock import Duration, duration_ms
from .codecs import LenientCodec
from .core.data import is_changed, look_at
from .core.session import AsyncSession
from .core.state import Found, Intent
from .errors import StoreError
from .options import OptionsDict
from .wire.next_page import NEXT, is_of_this_site

try:
    from starlette.authentication import (
        AuthCredentials,
        AuthenticationBackend,
        AuthenticationError,
        BaseUser,
        SimpleUser,
    )
    from starlette.exceptions import HTTPException, WebSocketException
    from starlette.requests import HTTPConnection
except ImportError as _error:
    raise ImportError('sojourn.starlette needs Starlette: pip install "sojourn[starlette]"') from _error

__all__ = [
    "CrossSiteGuard",
    "SessionAuthBackend",
    "SessionMiddleware",
    "StarletteSession",
    "load_session",
    "next_page",
    "session_of",
]

_TRY_AGAIN_LATER: Final = 1013  # of a WebSocket's close codes


class StarletteSession(AsyncSession):
    """A session with the marks of Starlette's own: ``request.session``.

    They need not be set. What was changed, also within a list, is seen when the session is committed.
    """

    __slots__ = ()

    @property
    def accessed(self) -> bool:
        """Whether the response depends on the session, and so has ``Vary: Cookie``."""
        state = self._state
        return state.data is not None or state.intent is Intent.DESTROY

    @property
    def modified(self) -> bool:
        """Whether there is something to save: data that differ from what is stored, or what was asked for, such as a logout."""
        state = self._state
        return state.intent is not Intent.NONE or is_changed(state)

    def mark_accessed(self) -> None:
        """Note that the response depends on the session. Starlette calls it whenever ``request.session`` is asked for."""
        state = self._state
        if state.intent is not Intent.DESTROY and state.found is not Found.PENDING:
            look_at(state)

    def mark_modified(self) -> None:
        """The same as ``touch()``: start the idle timeout anew. Changes are saved without it."""
        self.touch()


class SessionMiddleware(asgi.SessionMiddleware):
    """Gives every HTTP request and WebSocket a session: ``request.session``.

    Args:
        app: the ASGI application; ``app.add_middleware(SessionMiddleware, ...)`` gives it.
        options: see `sojourn.options.Options`; ``secret`` is required. A value that ``codec`` would refuse is written in the plain
            form in which Starlette writes it (`sojourn.codecs.LenientCodec`).

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    session_class: type[AsyncSession] = StarletteSession

    def __init__(self, app: ASGIApp, **options: Unpack[OptionsDict]) -> None:
        options["codec"] = LenientCodec(options.get("codec"))
        super().__init__(app, **options)


def session_of(connection: HTTPConnection) -> StarletteSession:
    """The session of a request or WebSocket, with its type, also where another layer has put its own into ``request.session``.

    Raises:
        RuntimeError: there is none.
    """
    session = connection.scope.get(asgi.OWN_PLACE)
    if isinstance(session, StarletteSession):
        return session
    raise RuntimeError(
        f"{connection.scope['path']} has no session: add SessionMiddleware of sojourn.starlette or sojourn.fastapi, and see its"
        " option `exclude`"
    )


async def load_session(connection: HTTPConnection) -> StarletteSession:
    """`session_of`, loaded: with ``lazy=True`` this is where it is.

    Raises:
        HTTPException: the store failed; what is sent is the middleware's own 503.
        WebSocketException: likewise, for a WebSocket.
        RuntimeError: there is no session.
    """
    session = session_of(connection)
    try:
        await session.load()
    except StoreError:
        if connection.scope["type"] == "websocket":
            raise WebSocketException(_TRY_AGAIN_LATER) from None
        raise HTTPException(503) from None
    return session


def next_page(connection: HTTPConnection, default: str = "/") -> str:
    """Where to go after the login: the page that was asked for before, if it is one of this site.

    Starlette's ``requires(..., redirect=...)`` names that page by its whole URL, which is one of this site's where scheme and host are.
    """
    url, page = connection.url, connection.query_params.get(NEXT, "")
    page = page.removeprefix(f"{url.scheme}://{url.netloc}")
    return page if is_of_this_site(page) else default


class SessionAuthBackend(AuthenticationBackend):
    """For Starlette's ``AuthenticationMiddleware``: whoever ``session.login()`` noted is the user, and has the scope ``authenticated``.

    Add ``SessionMiddleware`` after ``AuthenticationMiddleware``, so that it is around it::

        app.add_middleware(AuthenticationMiddleware, backend=SessionAuthBackend(load_user))
        app.add_middleware(SessionMiddleware, secret=..., store=...)

    Args:
        load_user: returns the user of an owner, or None where there is none any more; it may be async. Unless given, the user is a
            ``SimpleUser`` of the owner's name.
        scopes: further scopes of a user, for ``requires("admin")``.
        fresh: how long ago the password may have been given at most, a `timedelta` or seconds, for the scope ``fresh``:
            ``requires(["authenticated", "fresh"], redirect="confirm")``; see `Session.is_fresh`.
    """

    def __init__(
        self,
        load_user: Callable[[str], BaseUser | Awaitable[BaseUser | None] | None] = SimpleUser,
        *,
        scopes: Callable[[Any], Iterable[str]] = lambda _user: (),
        fresh: Duration | None = None,
    ) -> None:
        if fresh is not None:
            duration_ms("fresh", fresh)
        self._load_user = load_user
        self._scopes = scopes
        self._fresh = fresh

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """The user of the request's session."""
        try:
            session = await load_session(conn)
        except (HTTPException, WebSocketException):
            raise AuthenticationError("the session could not be loaded") from None
        if session.owner is None:
            return None
        found = self._load_user(session.owner)
        user = await found if inspect.isawaitable(found) else found
        if user is None:
            return None
        fresh = ["fresh"] if self._fresh is not None and session.is_fresh(self._fresh) else []
        return AuthCredentials(["authenticated", *fresh, *self._scopes(user)]), user
