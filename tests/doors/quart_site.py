"""An application for Quart that `test_quart_served` runs on real servers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from quart import Quart, Response, stream_with_context, websocket

from sojourn import StoreError
from sojourn.quart import Sojourn, session

app = Quart(__name__)
app.secret_key = "a secret that is long enough for everybody"
Sojourn(app, store=os.environ["SESSION_STORE"])


@app.get("/")
async def home() -> Response:
    return Response(repr(sorted(session.items())))


@app.get("/count")
async def count() -> str:
    await asyncio.sleep(0.01)  # two at once meet
    return str(session.increment("n"))


@app.get("/login")
async def login() -> str:
    session.login("ann", keep_data=True)
    return str(session.owner)


@app.get("/stream")
async def stream() -> Response:
    @stream_with_context
    async def body() -> AsyncIterator[str]:
        yield "one"
        session["streamed"] = True
        yield "two"

    return Response(body())


@app.get("/bad")
async def bad() -> str:
    session["bad"] = object()
    return "never"


@app.errorhandler(500)
async def sorry(error: Exception) -> tuple[str, int]:
    return "sorry", 500


@app.errorhandler(StoreError)
async def down(error: Exception) -> tuple[str, int]:
    return "down", 503


@app.websocket("/ws")
async def chat() -> None:
    await websocket.accept()
    session["ws"] = await websocket.receive()
    await websocket.send("noted")
    await asyncio.sleep(60)
