"""One site under each framework, for `test_live_sockets`: ``/echo`` answers, ``/plain`` tells what it is told."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import fastapi
import litestar
import quart
from aiohttp import web
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import sojourn.aiohttp
import sojourn.litestar
import sojourn.quart
from sojourn.fastapi import SessionDep
from sojourn.fastapi import SessionMiddleware as FastAPISessions
from sojourn.starlette import SessionMiddleware as StarletteSessions

OPTIONS: dict[str, Any] = {
    "secret": os.environ["SESSION_SECRET"],
    "store": os.environ["SESSION_STORE"],
    "close_on_end": True,
}


def act(path: str, session: Any) -> str:
    if path == "/login":
        session.login("ann")
    elif path == "/change":
        session["n"] = session.get("n", 0) + 1
    else:
        session.logout()
    return "done"


# -- Starlette


async def starlette_page(request: Any) -> PlainTextResponse:
    return PlainTextResponse(act(request.url.path, request.session))


async def starlette_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(await websocket.receive_text())


async def starlette_plain(websocket: WebSocket) -> None:
    await websocket.accept()
    async for change in websocket.session.changes():  # type: ignore[attr-defined]
        if change.is_end:
            break
        await websocket.send_text(change.kind)


PATHS = ("/login", "/change", "/logout")
starlette_app = Starlette(
    routes=[
        *(Route(path, starlette_page) for path in PATHS),
        WebSocketRoute("/echo", starlette_echo),
        WebSocketRoute("/plain", starlette_plain),
    ]
)
starlette_app.add_middleware(StarletteSessions, **OPTIONS)

# -- FastAPI

fastapi_app = fastapi.FastAPI()
fastapi_app.add_middleware(FastAPISessions, **OPTIONS)


@fastapi_app.get("/login")
@fastapi_app.get("/change")
@fastapi_app.get("/logout")
async def fastapi_page(request: fastapi.Request, session: SessionDep) -> str:
    return act(request.url.path, session)


@fastapi_app.websocket("/echo")
async def fastapi_echo(websocket: fastapi.WebSocket) -> None:
    await starlette_echo(websocket)


@fastapi_app.websocket("/plain")
async def fastapi_plain(websocket: fastapi.WebSocket, session: SessionDep) -> None:
    await websocket.accept()
    async for change in session.changes():
        if not change.is_end:
            await websocket.send_text(change.kind)


# -- Litestar


@litestar.get(list(PATHS))
async def litestar_page(request: litestar.Request[Any, Any, Any]) -> str:
    return act(request.url.path, request.session)


@litestar.websocket("/echo")
async def litestar_echo(socket: litestar.WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    while True:
        await socket.send_text(await socket.receive_text())


@litestar.websocket("/plain")
async def litestar_plain(socket: litestar.WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    session: Any = socket.session
    async for change in session.changes():
        if not change.is_end:
            await socket.send_text(change.kind)


litestar_app = litestar.Litestar(
    [litestar_page, litestar_echo, litestar_plain],
    plugins=[sojourn.litestar.SojournPlugin(**OPTIONS)],
)

# -- Quart

quart_app = quart.Quart(__name__)
quart_app.secret_key = OPTIONS["secret"]
sojourn.quart.Sojourn(quart_app, store=OPTIONS["store"], close_on_end=True)


@quart_app.route("/login")
@quart_app.route("/change")
@quart_app.route("/logout")
async def quart_page() -> str:
    return act(quart.request.path, sojourn.quart.session)


@quart_app.websocket("/echo")
async def quart_echo() -> None:
    while True:
        await quart.websocket.send(await quart.websocket.receive())


@quart_app.websocket("/plain")
async def quart_plain() -> None:
    await quart.websocket.accept()
    async for change in sojourn.quart.session.changes():
        if not change.is_end:
            await quart.websocket.send(change.kind)


# -- aiohttp


async def aiohttp_page(request: web.Request) -> web.Response:
    return web.Response(text=act(request.path, await sojourn.aiohttp.get_session(request)))


async def aiohttp_echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


async def aiohttp_plain(request: web.Request) -> web.WebSocketResponse:
    session = await sojourn.aiohttp.get_session(request)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for change in session.changes():
        if not change.is_end:
            await socket.send_str(change.kind)
    return socket


if __name__ == "__main__":
    aiohttp_app = web.Application()
    sojourn.aiohttp.setup(aiohttp_app, **OPTIONS)
    aiohttp_app.add_routes([web.get(path, aiohttp_page) for path in PATHS])
    aiohttp_app.add_routes([web.get("/echo", aiohttp_echo), web.get("/plain", aiohttp_plain)])
    web.run_app(aiohttp_app, host="127.0.0.1", port=0)
