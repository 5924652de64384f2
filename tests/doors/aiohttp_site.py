"""An application for aiohttp that `test_aiohttp_served` runs on real servers."""

from __future__ import annotations

import asyncio
import os

from aiohttp import web

from sojourn.aiohttp import get_session, setup

routes = web.RouteTableDef()


@routes.get("/")
async def home(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    return web.Response(text=repr(sorted(session.items())))


@routes.get("/count")
async def count(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    await asyncio.sleep(0.01)  # two at once meet
    return web.Response(text=str(session.increment("n")))


@routes.get("/login")
async def login(request: web.Request) -> web.StreamResponse:
    (await get_session(request)).login("ann", keep_data=True)
    raise web.HTTPFound("/")


@routes.get("/logout")
async def logout(request: web.Request) -> web.StreamResponse:
    (await get_session(request)).logout()
    return web.Response()


@routes.get("/pid")
async def pid(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    session.setdefault("pids", []).append(os.getpid())
    return web.json_response(session["pids"])


@routes.get("/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"one")
    session["streamed"] = True
    await response.write(b"two")
    return response


@routes.get("/ws")
async def chat(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    session["ws"] = await socket.receive_str()
    await socket.send_str("noted")
    await socket.receive()
    return socket


def make_app() -> web.Application:
    app = web.Application()
    setup(app, secret="a secret that is long enough for everybody", store=os.environ["SESSION_STORE"])
    app.add_routes(routes)
    return app


app = make_app()

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=0, handler_cancellation=True, shutdown_timeout=1)
