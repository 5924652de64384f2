"""Sessions in FastAPI. Run it:  uvicorn fastapi_app:app"""

import os
from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, RedirectResponse

from sojourn.fastapi import SessionDep, SessionMiddleware

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
    store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
)


@app.get("/set")
async def set_value(session: SessionDep, key: str, value: str) -> dict[str, Any]:
    session[key] = value
    return {"set": key}


@app.get("/get")
async def get_value(session: SessionDep, key: str) -> dict[str, Any]:
    return {key: session.get(key)}


@app.get("/counter")
async def counter(session: SessionDep) -> dict[str, Any]:
    # increment() instead of += 1: two requests at once both count
    return {"visits": session.increment("visits")}


@app.get("/login")
async def login(session: SessionDep, name: str) -> RedirectResponse:
    # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
    session.login(name, keep_data=True)  # but nothing of somebody else's
    return RedirectResponse("/dashboard", status_code=303)


@app.get("/dashboard", response_model=None)
async def dashboard(session: SessionDep) -> PlainTextResponse:
    if session.owner is None:
        return PlainTextResponse("Please log in.", status_code=401)
    return PlainTextResponse(f"Hello, {session.owner}.")


@app.get("/logout")
async def logout(session: SessionDep) -> dict[str, Any]:
    session.logout()
    return {"logged_out": True}


@app.get("/destroy")
async def destroy(session: SessionDep) -> dict[str, Any]:
    session.destroy()
    return {"destroyed": True}
