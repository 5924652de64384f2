"""Everything around a login, in FastAPI. Run it:  uvicorn with_fastapi:app"""

import os
from datetime import timedelta
from html import escape
from typing import Annotated, Any

import accounts
from accounts import PROVIDER, User
from fastapi import Depends, FastAPI, Form, HTTPException, Request, Security
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from sojourn.fastapi import CrossSiteGuard, SessionDep, SessionMiddleware, SessionSecurity, StarletteSession, next_page

REMEMBERED = timedelta(days=30)
FRESH = timedelta(minutes=15)
MOST_SESSIONS = 5


def describe(scope: dict[str, Any]) -> dict[str, str | None]:
    """What the list of devices says of this one. Nothing is kept unless this says it."""
    agent = dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")
    return {"label": agent.split(" ")[0] or "a browser"}


app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
    store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
    idle_timeout=timedelta(hours=1),
    describe=describe,
)
app.add_middleware(CrossSiteGuard, exclude=["/backchannel-logout"])  # forms come from pages of this site alone

# -- who may see a page -----------------------------------------------------------------------------------------------

LoggedIn = Annotated[StarletteSession, Security(SessionSecurity(login_page="/login"))]


def current_user(session: LoggedIn) -> User:
    """The user. Whoever was removed, or has another password since this login, is logged out here."""
    user = accounts.by_name(session.owner)
    if user is None or not session.check(user.stamp):
        session.invalidate()
        raise HTTPException(303, headers={"Location": "/login"})
    return user


CurrentUser = Annotated[User, Depends(current_user)]


Fresh = Annotated[
    StarletteSession, Security(SessionSecurity(login_page="/login", fresh=FRESH, confirm_page="/confirm"))
]


def fresh_user(_session: Fresh, user: CurrentUser) -> User:
    """The user, who gave the password a short while ago; all others are asked for it."""
    return user


FreshUser = Annotated[User, Depends(fresh_user)]


def fresh_admin(user: FreshUser) -> User:
    if not user.is_admin:
        raise HTTPException(403)
    return user


# -- logging in -------------------------------------------------------------------------------------------------------


@app.get("/login")
def login_page(session: SessionDep) -> HTMLResponse:
    return page(
        session,
        "Log in",
        form(
            '<input name="name"> <input name="password" type="password">'
            ' <label><input name="remember" type="checkbox" value="true"> Remember me</label>'
        ),
    )


@app.post("/login")
def login(
    request: Request,
    session: SessionDep,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    remember: Annotated[bool, Form()] = False,
) -> Response:
    user = accounts.authenticate(name, password)
    if user is None:
        session.flash("That is not right.", "error")
        return to(f"/login?{request.url.query}")
    lasts = REMEMBERED if remember else None
    if user.code_key is None:
        session.login(user.name, keep_data=True, remember=lasts, stamp=user.stamp, max_sessions=MOST_SESSIONS)
        return to(next_page(request, default="/account"))
    # A password without its second factor is nobody yet: another id, and owner stays None.
    session.begin_login(user.name, keep_data=True, stamp=user.stamp)
    session["pending"] = {"remember": remember, "tries": 0, "next": next_page(request, default="/account")}
    return to("/code")


@app.get("/code")
def code_page(session: SessionDep) -> Response:
    if session.pending_owner is None:
        return to("/login")
    return page(session, "The code on your phone", form('<input name="code" inputmode="numeric">'))


@app.post("/code")
def code(session: SessionDep, code: Annotated[str, Form()]) -> Response:
    user = accounts.by_name(session.pending_owner)  # None after ten minutes
    if user is None:
        return to("/login")
    pending = session["pending"]
    if not user.has_code(code):
        pending["tries"] += 1
        if pending["tries"] == 5:
            session.invalidate()
            return to("/login")
        session.flash("That is not right.", "error")
        return to("/code")
    session.complete_login(remember=REMEMBERED if pending["remember"] else None, max_sessions=MOST_SESSIONS)
    del session["pending"]
    return to(pending["next"])


@app.post("/logout")
def logout(session: SessionDep) -> Response:
    session.invalidate()  # it ends, as by logout(); what is put in from here on begins another one, which carries the last words
    session.flash("Goodbye.")
    return to("/login")


# -- once somebody is logged in ---------------------------------------------------------------------------------------


@app.get("/account")
def account(session: SessionDep, user: CurrentUser) -> HTMLResponse:
    return page(session, f"Hello, {escape(user.name)}", form("", "Log out", "/logout"))


@app.get("/confirm")
def confirm_page(session: SessionDep, _user: CurrentUser) -> HTMLResponse:
    return page(session, "Your password once more", form('<input name="password" type="password">'))


@app.post("/confirm")
def confirm(request: Request, session: SessionDep, user: CurrentUser, password: Annotated[str, Form()]) -> Response:
    if accounts.authenticate(user.name, password) is None:
        session.flash("That is not right.", "error")
        return to(f"/confirm?{request.url.query}")
    session.confirm()
    return to(next_page(request, default="/account"))


@app.get("/devices")
async def devices(session: SessionDep, _user: FreshUser) -> HTMLResponse:
    rows = "".join(
        f"<li>{escape(device.label or '')}, {device.authenticated_at:%d %B %H:%M}"
        + (" (this one)" if device.is_current else form(hidden("handle", device.handle), "Log out"))
        for device in await session.devices()
    )
    return page(
        session, "Where you are logged in", f"<ul>{rows}</ul>{form(hidden('others', '1'), 'Log out the others')}"
    )


@app.post("/devices")
async def end_devices(
    session: SessionDep, _user: FreshUser, handle: Annotated[str, Form()] = "", others: Annotated[bool, Form()] = False
) -> Response:
    ended = await session.end_others() if others else int(await session.end(handle))
    session.flash(f"Logged out: {ended}.")
    return to("/devices")


@app.get("/password")
def password_page(session: SessionDep, _user: FreshUser) -> HTMLResponse:
    return page(session, "Another password", form('<input name="password" type="password">'))


@app.post("/password")
async def change_password(session: SessionDep, user: FreshUser, password: Annotated[str, Form()]) -> Response:
    user.password_hash = accounts.hash_password(password)
    session.login(user.name, keep_data=True, stamp=user.stamp)  # every other session fails its check() from here on
    await session.end_others()  # and need not wait for it
    session.flash("You have another password now. Your other devices are logged out.")
    return to("/account")


# -- administrators, and the single sign-on ---------------------------------------------------------------------------


@app.post("/admin/disable", dependencies=[Depends(fresh_admin)])
async def disable(session: SessionDep, name: Annotated[str, Form()]) -> dict[str, int]:
    if (user := accounts.by_name(name)) is not None:
        user.is_active = False
    return {"ended": await session.sessions.end_owner(name)}


@app.post("/admin/log-everybody-out", dependencies=[Depends(fresh_admin)])
async def log_everybody_out(session: SessionDep) -> dict[str, int]:
    me = session.owner
    return {"ended": await session.sessions.end_where(lambda view: view.owner not in (None, me))}


@app.get("/sso")
def single_sign_on(session: SessionDep, id_token: str) -> Response:
    """Where the provider's login ends, once an OpenID client such as Authlib has exchanged the code for the ID token."""
    claims = PROVIDER.id_claims(id_token)
    if claims is None:
        raise HTTPException(400)
    user = accounts.by_name(claims["sub"])
    if user is None:
        raise HTTPException(403)
    session.login(user.name, keep_data=True, stamp=user.stamp, sid=claims.get("sid"))
    return to("/account")


@app.post("/backchannel-logout")
async def backchannel_logout(session: SessionDep, logout_token: Annotated[str, Form()]) -> Response:
    claims = PROVIDER.logout_claims(logout_token)
    if claims is None:
        raise HTTPException(400)
    if "sid" in claims:
        await session.sessions.end_sid(claims["sid"], claims.get("sub"))
    else:
        await session.sessions.end_owner(claims["sub"])
    return Response(headers={"Cache-Control": "no-store"})


# -- pages ------------------------------------------------------------------------------------------------------------


def to(path: str) -> RedirectResponse:
    return RedirectResponse(path, status_code=303)


def form(fields: str, button: str = "Go on", action: str = "") -> str:
    """A form; without an action it goes to the page's own address, with its ?next=."""
    return f'<form method="post"{f" action={action}" if action else ""}>{fields} <button>{button}</button></form>'


def hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def page(session: StarletteSession, title: str, body: str) -> HTMLResponse:
    told = "".join(f"<p class={flash.category}>{escape(flash.message)}</p>" for flash in session.flashes())
    links = "".join(f'<a href="/{name}">{name}</a> ' for name in ("account", "devices", "password"))
    text = f"<!doctype html><title>{title}</title><nav>{links}</nav>{told}<h1>{title}</h1>{body}"
    return HTMLResponse(text, headers={"Cache-Control": "no-store"})
