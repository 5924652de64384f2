"""Sessions in Quart. Run it:  hypercorn quart_app:app"""

import os

from quart import Quart, flash, get_flashed_messages, redirect, request, websocket
from quart.typing import ResponseReturnValue

from sojourn.quart import Sojourn, session  # quart.session, whose methods the editor knows

app = Quart(__name__)
app.secret_key = os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes")
Sojourn(app, store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"))


@app.get("/set")
async def set_value() -> ResponseReturnValue:
    session[request.args["key"]] = request.args["value"]
    return {"set": request.args["key"]}


@app.get("/get")
async def get_value() -> ResponseReturnValue:
    return {request.args["key"]: session.get(request.args["key"])}


@app.get("/counter")
async def counter() -> ResponseReturnValue:
    # increment() instead of += 1: two requests at once both count
    return {"visits": session.increment("visits")}


@app.get("/login")
async def login() -> ResponseReturnValue:
    # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
    name = request.args["name"]
    session.login(name, keep_data=True)  # but nothing of somebody else's
    return redirect("/dashboard", 303)


@app.get("/dashboard")
async def dashboard() -> ResponseReturnValue:
    if session.owner is None:
        return "Please log in.", 401
    return f"Hello, {session.owner}."


@app.get("/logout")
async def logout() -> ResponseReturnValue:
    session.logout()
    return {"logged_out": True}


@app.get("/destroy")
async def destroy() -> ResponseReturnValue:
    session.destroy()
    return {"destroyed": True}


@app.get("/flash")
async def say() -> ResponseReturnValue:
    await flash(request.args["message"])
    return redirect("/messages", 303)


@app.get("/messages")
async def messages() -> ResponseReturnValue:
    return {"messages": list(get_flashed_messages())}


@app.websocket("/count")
async def count() -> None:
    # What a WebSocket changes is saved when it ends, merged with what others have changed meanwhile; or at once, by save().
    while True:
        await websocket.receive()
        session.increment("visits")
        await session.save()
        await websocket.send(str(session["visits"]))
