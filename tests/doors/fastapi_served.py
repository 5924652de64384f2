"""An application for the tests over a real server: what happens when, under FastAPI."""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from sojourn.fastapi import LoggedIn, SessionData, SessionDep, SessionMiddleware, StarletteSession

app = FastAPI()
app.add_middleware(SessionMiddleware, secret=os.environ["SESSION_SECRET"], store=os.environ["SESSION_STORE"])


class Cart(BaseModel):
    items: dict[str, int] = {}


@app.get("/all")
async def everything(session: SessionDep) -> dict[str, object]:
    return dict(session)


@app.get("/cart/{sku}")
def add(sku: str, cart: Annotated[Cart, SessionData("cart")]) -> Cart:
    cart.items[sku] = cart.items.get(sku, 0) + 1
    return cart


async def closing(session: SessionDep) -> AsyncIterator[None]:
    yield
    session["closed"] = True


async def work(session: StarletteSession) -> None:
    session["saved"] = True
    await session.save()
    session["worked"] = True


@app.get("/late")
async def late(session: SessionDep, tasks: BackgroundTasks, _: Annotated[None, Depends(closing)]) -> None:
    tasks.add_task(work, session)


@app.get("/stream")
async def stream(cart: Annotated[Cart, SessionData("cart")]) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        for n in range(3):
            cart.items["streamed"] = n
            yield str(n)

    return StreamingResponse(chunks())


@app.get("/login")
async def login(session: SessionDep) -> None:
    session.login("ann", keep_data=True)


@app.get("/me")
async def me(session: LoggedIn) -> str | None:
    return session.owner


@app.websocket("/ws")
async def socket(websocket: WebSocket, session: LoggedIn) -> None:
    await websocket.accept()
    session["said"] = await websocket.receive_text()
    await websocket.send_text(f"{session.owner}: {session['said']}")
    await websocket.close()
