"""A counter, a login, a dashboard, a logout and flash messages in FastAPI. Run it:  uvicorn fastapi_login:app"""

import os
from html import escape
from typing import Annotated

from fastapi import FastAPI, Form, Request, Security
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel

from sojourn.fastapi import SessionData, SessionDep, SessionMiddleware, SessionSecurity, StarletteSession, next_page

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
    store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
)

# Whoever is not logged in is led to the login page, and back afterwards.
LoggedIn = Annotated[StarletteSession, Security(SessionSecurity(login_page="/login"))]

USERS = {"ann": "pear", "bob": "plum"}


class Settings(BaseModel):
    colour: str = "black"


# A part of the session, as a model: what is changed in it is saved.
SettingsDep = Annotated[Settings, SessionData("settings")]


def page(session: StarletteSession, body: str, *, status: int = 200) -> HTMLResponse:
    told = "".join(f"<p class={flash.category}>{escape(flash.message)}</p>" for flash in session.flashes())
    links = '<p><a href="/">Front</a> <a href="/dashboard">Dashboard</a></p>'
    return HTMLResponse(f"<!doctype html><title>Sojourn</title>{told}{body}{links}", status)


@app.get("/")
async def front(session: SessionDep) -> HTMLResponse:
    # increment() instead of += 1: two requests at once both count
    return page(session, f"<h1>{session.increment('visits')} visits</h1>")


@app.get("/login")
async def login_page(session: SessionDep) -> HTMLResponse:
    form = '<input name="name"> <input name="password" type="password"> <button>Log in</button>'
    # without an action, so that the form goes to this very address, with its ?next=
    return page(session, f'<form method="post">{form}</form>')


@app.post("/login")
async def login(
    request: Request, session: SessionDep, name: Annotated[str, Form()], password: Annotated[str, Form()]
) -> RedirectResponse:
    if USERS.get(name) != password:
        session.flash("That is not right.", "error")
        return RedirectResponse(f"{request.url.path}?{request.url.query}", status_code=303)
    # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
    session.login(name, keep_data=True)  # but nothing of somebody else's
    session.flash(f"Welcome, {name}.")
    return RedirectResponse(next_page(request, default="/dashboard"), status_code=303)


@app.get("/dashboard")
async def dashboard(session: LoggedIn, settings: SettingsDep) -> HTMLResponse:
    colour = f'<form method="post" action="/colour"><input name="colour" value="{escape(settings.colour)}"></form>'
    leave = '<form method="post" action="/logout"><button>Log out</button></form>'
    return page(session, f"<h1>Hello, {escape(session.owner or '')}</h1>{colour}{leave}")


@app.post("/colour")
async def colour(session: LoggedIn, settings: SettingsDep, colour: Annotated[str, Form()]) -> RedirectResponse:
    settings.colour = colour
    session.flash("Saved.")
    return RedirectResponse("/dashboard", status_code=303)


@app.post("/logout")
async def logout(session: SessionDep) -> RedirectResponse:
    # clear() ends the session as logout() does, and goes on with an empty one, which carries the last words
    session.clear()
    session.flash("Goodbye.")
    return RedirectResponse("/", status_code=303)
