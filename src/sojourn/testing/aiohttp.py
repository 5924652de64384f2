"""The session of aiohttp's test client, in a line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookies import SimpleCookie
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.test_utils import TestClient

from ..aiohttp import SessionMiddleware
from ..clock import Duration
from ..core.logins import Stamp
from ..core.session import AsyncSession
from ..driver import AsyncSessionExchange, ErrorResponse, arrive

__all__ = ["log_in", "read_session", "write_session"]

T = TypeVar("T")

_UNKNOWN: Final = ("Partitioned", "Priority=")


async def read_session(client: TestClient[Any, Any]) -> dict[str, Any]:
    """The data of the client's session.

    Args:
        client: the client of a server that runs.
    """
    return await _visit(client, dict)


async def write_session(client: TestClient[Any, Any], data: Mapping[str, Any]) -> None:
    """Put these data into the client's session, which begins if there is none."""
    await _visit(client, lambda session: session.update(data))


async def log_in(
    client: TestClient[Any, Any], owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None
) -> None:
    """Log the client in, by ``session.login(owner, keep_data=True)`` with these arguments too.

    A login with ``remember`` is not fresh; ``stamp`` is what an application asks ``session.check()`` for.
    """
    await _visit(client, lambda session: session.login(owner, keep_data=True, remember=remember, stamp=stamp))


def _cookie_of(header: str) -> SimpleCookie:
    """What a Set-Cookie says, without the attributes that the standard library took for cookies, or stopped at, before Python 3.14."""
    parts = header.split("; ")
    return SimpleCookie("; ".join(part for part in parts if not part.startswith(_UNKNOWN)))


def _middleware_of(app: web.Application | None) -> SessionMiddleware:
    for middleware in () if app is None else app.middlewares:
        if isinstance(middleware, SessionMiddleware):
            return middleware
    raise LookupError("the client's application has no sessions of sojourn.aiohttp")


async def _visit(client: TestClient[Any, Any], use: Callable[[AsyncSession], T]) -> T:
    """Make a request of the client to the session middleware alone."""
    middleware = _middleware_of(client.app)
    path: str = getattr(middleware.options.cookie, "path", "/")  # where there is a session
    url, jar = client.make_url(path), client.session.cookie_jar
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in jar.filter_cookies(url).items())
    arrived = arrive(
        middleware,
        [("Cookie", cookies)],
        path,
        https=url.scheme == "https",
        direct_tls=False,
        query="",
        body=b"",
        request=None,
    )
    assert arrived is not None, "the cookie's own path has a session"
    state, hosts = arrived
    session = AsyncSession(state)
    exchange = AsyncSessionExchange(middleware, state, hosts, session)
    try:
        await session.load()
        used = use(session)
        headers = await exchange.respond()
    finally:
        await exchange.finish()
    if isinstance(headers, ErrorResponse):
        raise RuntimeError("the session's store failed")  # noqa: TRY004 - it is no type that is wrong
    for name, value in headers:
        if name == "Set-Cookie":
            jar.update_cookies(_cookie_of(value), url)
    return used
