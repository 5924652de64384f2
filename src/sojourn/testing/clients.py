"""A test client's session, in a line each: for Starlette's ``TestClient``, and for httpx's clients of ASGI applications."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar, overload

from ..asgi import Message, SessionMiddleware
from ..clock import Duration
from ..core.logins import Stamp
from ..core.session import AsyncSession

__all__ = ["log_in", "make_request", "read_session", "write_session"]

T = TypeVar("T")


class Client(Protocol):
    """A client that waits: Starlette's ``TestClient``."""

    @property
    def app(self) -> Any: ...


class AsyncClient(Protocol):
    """A client that is awaited: ``httpx.AsyncClient(transport=httpx.ASGITransport(app))``."""

    async def send(self, request: Any) -> Any: ...


@overload
def read_session(client: Client) -> dict[str, Any]: ...
@overload
def read_session(client: AsyncClient) -> Awaitable[dict[str, Any]]: ...
def read_session(client: Any) -> Any:
    """The data of the client's session; of an async client to be awaited."""
    return _visit(client, dict)


@overload
def write_session(client: Client, data: Mapping[str, Any]) -> None: ...
@overload
def write_session(client: AsyncClient, data: Mapping[str, Any]) -> Awaitable[None]: ...
def write_session(client: Any, data: Mapping[str, Any]) -> Any:
    """Put these data into the client's session, which begins if there is none; of an async client to be awaited."""
    return _visit(client, lambda session: session.update(data))


@overload
def log_in(client: Client, owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None) -> None: ...
@overload
def log_in(
    client: AsyncClient, owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None
) -> Awaitable[None]: ...
def log_in(client: Any, owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None) -> Any:
    """Log the client in, by ``session.login(owner, keep_data=True)`` with these arguments too; of an async client to be awaited.

    A login with ``remember`` is not fresh; ``stamp`` is what an application asks ``session.check()`` for.
    """
    return _visit(client, lambda session: session.login(owner, keep_data=True, remember=remember, stamp=stamp))


_HAS_INNER: Final = ("middleware_stack", "app")


def _middleware_of(client: Any) -> SessionMiddleware:
    """The session middleware of the application that a client is of."""
    app = getattr(client, "app", None) or getattr(getattr(client, "_transport", None), "app", None)
    while app is not None and not isinstance(app, SessionMiddleware):
        if getattr(app, "middleware_stack", app) is None:  # Starlette makes it when the first request comes
            app.middleware_stack = app.build_middleware_stack()
        app = next((inner for name in _HAS_INNER if (inner := getattr(app, name, None)) is not None), None)
    if app is None:
        raise LookupError("the client's application has no SessionMiddleware")
    return app


def _visit(client: Any, use: Callable[[AsyncSession], T]) -> T | Awaitable[T]:
    """Make a request of the client to the session middleware alone, with this in the application's place."""

    async def visit() -> T:
        return await make_request(client, _middleware_of(client), use)

    if inspect.iscoroutinefunction(client.send):
        return visit()
    if client.portal is not None:  # the client is entered: its event loop is the one that the store is on
        result: T = client.portal.call(visit)
        return result
    import anyio  # noqa: PLC0415 - a part of Starlette, whose client this is

    return anyio.run(visit, **client.async_backend)


async def make_request(client: Any, given: SessionMiddleware, use: Callable[[AsyncSession], T]) -> T:
    """Make a request of an httpx client to a session middleware alone, with this in the application's place."""
    middleware = copy.copy(given)
    path = getattr(middleware.options.cookie, "path", "/")  # where there is a session
    request = client.build_request("GET", path)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": request.url.scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port),
        "client": ("testclient", 50000),
    }
    used: list[T] = []
    sent: list[Message] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        session = scope["sojourn.session"]
        await session.load()
        used.append(use(session))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        sent.append(message)

    middleware.app = app
    await middleware(scope, _no_body, send)
    status, headers = sent[0]["status"], sent[0]["headers"]
    if status != 200:
        raise RuntimeError("the session's store failed")
    library = importlib.import_module(type(request).__module__.partition(".")[0])  # httpx, or what goes on with it
    client.cookies.extract_cookies(library.Response(status, headers=headers, request=request))
    return used[0]


async def _no_body() -> Message:  # pragma: no cover - nobody asks for the body of a GET
    return {"type": "http.request", "body": b"", "more_body": False}
