"""Sessions in Litestar. Run it:  uvicorn litestar_app:app"""

import os
from typing import Any

from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.di import NamedDependency, Provide
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect
from msgspec import Struct

from sojourn.litestar import SessionDep, SojournPlugin, logged_in, session_data


# A part of the session, as a model: what is changed in it is saved.
class Cart(Struct):
    items: dict[str, int] = {}


@get("/set")
async def set_value(session: SessionDep, key: FromQuery[str], value: FromQuery[str]) -> dict[str, str]:
    session[key] = value
    return {"set": key}


@get("/get")
async def get_value(session: SessionDep, key: FromQuery[str]) -> dict[str, Any]:
    return {key: session.get(key)}


@get("/counter")
async def counter(session: SessionDep) -> dict[str, int]:
    # increment() instead of += 1: two requests at once both count
    return {"visits": session.increment("visits")}


@get("/cart/{sku:str}", dependencies={"cart": Provide(session_data(Cart))})
async def add(sku: FromPath[str], cart: NamedDependency[Cart]) -> Cart:
    cart.items[sku] = cart.items.get(sku, 0) + 1
    return cart


@get("/login")
async def login(session: SessionDep, name: FromQuery[str]) -> Redirect:
    # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
    session.login(name, keep_data=True)  # but nothing of somebody else's
    session.flash(f"Welcome, {name}.")
    return Redirect("/dashboard", status_code=303)


# The guard answers 401 to whoever is not logged in, and leaves their session as it is.
@get("/dashboard", guards=[logged_in])
async def dashboard(session: SessionDep) -> str:
    return f"Hello, {session.owner}."


@get("/messages")
async def messages(session: SessionDep) -> dict[str, list[str]]:
    return {"messages": [flash.message for flash in session.flashes()]}


@get("/logout")
async def logout(request: Request[Any, Any, Any]) -> dict[str, bool]:
    request.clear_session()  # as ever in Litestar; session.logout() is the same
    return {"logged_out": True}


@get("/destroy")
async def destroy(session: SessionDep) -> dict[str, bool]:
    session.destroy()
    return {"destroyed": True}


@websocket("/count")
async def count(socket: WebSocket[Any, Any, Any], session: SessionDep) -> None:
    # What a WebSocket changes is saved when it ends, merged with what others have changed meanwhile; or at once, by save().
    await socket.accept()
    try:
        while True:
            await socket.receive_text()
            session.increment("visits")
            await session.save()
            await socket.send_text(str(session["visits"]))
    except WebSocketDisconnect:
        pass


app = Litestar(
    [set_value, get_value, counter, add, login, dashboard, messages, logout, destroy, count],
    plugins=[
        SojournPlugin(
            secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
            store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
        )
    ],
)
