"""A diary behind a login: what the tutorial for FastAPI arrives at. Run it:  uvicorn diary:app"""

import hashlib
import hmac
import os
from datetime import timedelta
from html import escape
from typing import Annotated

from fastapi import FastAPI, Form, Request, Security
from fastapi.responses import HTMLResponse, RedirectResponse

from sojourn.fastapi import (
    CrossSiteGuard,
    SessionDep,
    SessionMiddleware,
    SessionSecurity,
    StarletteSession,
    next_page,
)

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"].split(","),
    store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
    exclude=("/health",),
)
app.add_middleware(CrossSiteGuard)  # added last, so it is the outermost

# Whoever is not logged in is led to the login page, and back afterwards.
LoggedIn = Annotated[StarletteSession, Security(SessionSecurity(login_page="/login"))]


def scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


# In your application this is a table: a name, a salt, and the password's hash.
USERS = {"ann": (b"a salt of ann's", scrypt("pear", b"a salt of ann's"))}
NOBODY = (b"a salt", scrypt("", b"a salt"))


def is_right(name: str, password: str) -> bool:
    salt, expected = USERS.get(name, NOBODY)
    matches = hmac.compare_digest(scrypt(password, salt), expected)
    return matches and name in USERS


def page(session: StarletteSession, body: str) -> HTMLResponse:
    told = "".join(f'<p role="status">{escape(flash.message)}</p>' for flash in session.flashes())
    return HTMLResponse(f'<!doctype html><html lang="en"><title>Diary</title>{told}{body}</html>')


@app.get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


@app.get("/")
async def front(session: SessionDep) -> HTMLResponse:
    visits = session.increment("visits")
    return page(session, f'<h1>Visit {visits}</h1><a href="/diary">The diary</a>')


@app.get("/login")
async def login_page(session: SessionDep) -> HTMLResponse:
    return page(
        session,
        '<h1>Log in</h1><form method="post">'
        '<label>Name <input name="name" autocomplete="username"></label> '
        '<label>Password <input name="password" type="password" autocomplete="current-password"></label> '
        '<label><input name="remember" type="checkbox"> Remember me</label> '
        "<button>Log in</button></form>",
    )


@app.post("/login")
def login(
    request: Request,
    session: SessionDep,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    remember: Annotated[bool, Form()] = False,
) -> RedirectResponse:
    if not is_right(name, password):
        session.flash("That is not right.")
        return RedirectResponse(f"{request.url.path}?{request.url.query}", status_code=303)
    session.login(name, keep_data=True, remember=timedelta(days=30) if remember else None)
    return RedirectResponse(next_page(request, default="/diary"), status_code=303)


@app.get("/diary")
async def diary(session: LoggedIn) -> HTMLResponse:
    lines = "".join(f"<li>{escape(line)}</li>" for line in session.get("lines", []))
    return page(
        session,
        f"<h1>{escape(session.owner or '')}'s diary</h1><ul>{lines}</ul>"
        '<form method="post"><label>Line <input name="line"></label> <button>Write</button></form>'
        '<form method="post" action="/logout"><button>Log out</button></form>',
    )


@app.post("/diary")
async def write(session: LoggedIn, line: Annotated[str, Form()]) -> RedirectResponse:
    session.setdefault("lines", []).append(line)  # a change within is seen, too
    session.flash("Written.")
    return RedirectResponse("/diary", status_code=303)


@app.post("/logout")
async def logout(session: SessionDep) -> RedirectResponse:
    session.logout()
    return RedirectResponse("/", status_code=303)
