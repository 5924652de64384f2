"""What the tests of live sockets share: an application with a WebSocket that is served on this event loop, and the time that news take."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeAlias

import httpx
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from sojourn.asgi import Receive, Scope, Send, SessionMiddleware
from sojourn.core.session import AsyncSession

__all__ = ["SECRET", "Site", "closing", "serving", "site", "socket_app"]

SECRET = "a secret that is long enough for everybody"


async def socket_app(scope: Scope, receive: Receive, send: Send) -> None:
    """A site: paths change the session; the WebSocket at ``/changes`` tells its changes, at any other it tells what it is told."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    session: AsyncSession = scope["session"]
    if scope["type"] == "http":
        await session.load()
        act: dict[str, Any] = {
            "/login": lambda: session.login("ann"),
            "/logout": session.logout,
            "/change": lambda: session.increment("n"),
            "/regenerate": lambda: session.regenerate(keep_data=True),
        }
        if scope["path"] == "/end-others":
            await session.end_others()
        else:
            act[scope["path"]]()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/changes":
        async for change in session.changes():
            await send({"type": "websocket.send", "text": " ".join(filter(None, change))})
        await send({"type": "websocket.close", "code": 4000})
        return
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


Opening: TypeAlias = connect


class Site(NamedTuple):
    """A site that is served."""

    port: int
    middleware: Any

    def client(self) -> httpx.AsyncClient:
        """A browser."""
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}")

    def connect(self, client: httpx.AsyncClient, path: str = "/") -> Opening:
        """A WebSocket of the browser's."""
        return self.opened("; ".join(f"{name}={value}" for name, value in client.cookies.items()), path)

    def opened(self, cookie: str, path: str = "/") -> Opening:
        """A WebSocket with such a cookie."""
        return connect(f"ws://127.0.0.1:{self.port}{path}", additional_headers={"Cookie": cookie})


@asynccontextmanager
async def serving(app: Any, **settings: Any) -> AsyncIterator[Site]:
    """Serve an application by uvicorn on this event loop."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", timeout_graceful_shutdown=1, timeout_keep_alive=60, **settings
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(server._serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn's
            await asyncio.sleep(0.01)
        try:
            yield Site(listening.getsockname()[1], app)
        finally:
            server.should_exit = True
            await task


def site(store: Any, **options: Any) -> SessionMiddleware:
    """`socket_app` with sessions."""
    given: Any = {"secret": SECRET, "store": store, **options}
    return SessionMiddleware(socket_app, **given)


async def closing(opened: ClientConnection, seconds: float = 5) -> int:
    """Wait until the server closes a WebSocket; returns the code."""
    async with asyncio.timeout(seconds):
        with suppress(ConnectionClosed):
            async for _ in opened:
                pass
    assert opened.close_code is not None
    return opened.close_code
