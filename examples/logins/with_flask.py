"""Everything around a login, in Flask. Run it:  flask --app with_flask run"""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from html import escape
from typing import Any
from urllib.parse import quote

import accounts
from accounts import PROVIDER, User
from flask import Flask, abort, g, redirect, request
from flask.typing import ResponseReturnValue

from sojourn.flask import CrossSiteGuard, Sojourn, fresh_required, next_page, session

REMEMBERED = timedelta(days=30)
FRESH = timedelta(minutes=15)
MOST_SESSIONS = 5


def describe(environ: dict[str, Any]) -> dict[str, str | None]:
    """What the list of devices says of this one. Nothing is kept unless this says it."""
    return {"label": environ.get("HTTP_USER_AGENT", "").split(" ")[0] or "a browser"}


app = Flask(__name__)
app.secret_key = os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes")
Sojourn(
    app,
    store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
    idle_timeout=timedelta(hours=1),
    describe=describe,
    confirm_view="confirm_page",
)
guard = CrossSiteGuard(app)  # forms come from pages of this site alone

# -- who may see a page -----------------------------------------------------------------------------------------------

View = Callable[..., ResponseReturnValue]


def login_required(view: View) -> View:
    """For the user, in `g.user`. Whoever was removed, or has another password since this login, is logged out here."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        user = accounts.by_name(session.owner)
        if user is None or not session.check(user.stamp):
            if session.owner is not None:
                session.invalidate()
            return to("/login" if request.method == "POST" else f"/login?next={quote(request.path)}")
        g.user = user
        return view(*args, **kwargs)

    return guarded


def sensitive(view: View) -> View:
    """For the user who gave the password a short while ago; all others are asked for it."""
    return login_required(fresh_required(FRESH)(view))


def admin_required(view: View) -> View:
    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        return view(*args, **kwargs) if g.user.is_admin else abort(403)

    return sensitive(guarded)


# -- logging in -------------------------------------------------------------------------------------------------------


@app.get("/login")
def login_page() -> ResponseReturnValue:
    return page(
        "Log in",
        form(
            '<input name="name"> <input name="password" type="password">'
            ' <label><input name="remember" type="checkbox" value="true"> Remember me</label>'
        ),
    )


@app.post("/login")
def login() -> ResponseReturnValue:
    user = accounts.authenticate(request.form["name"], request.form["password"])
    if user is None:
        session.flash("That is not right.", "error")
        return to(f"/login?{request.query_string.decode()}")
    remember = "remember" in request.form
    if user.code_key is None:
        lasts = REMEMBERED if remember else None
        session.login(user.name, keep_data=True, remember=lasts, stamp=user.stamp, max_sessions=MOST_SESSIONS)
        return to(next_page(default="/account"))
    # A password without its second factor is nobody yet: another id, and owner stays None.
    session.begin_login(user.name, keep_data=True, stamp=user.stamp)
    session["pending"] = {"remember": remember, "tries": 0, "next": next_page(default="/account")}
    return to("/code")


@app.get("/code")
def code_page() -> ResponseReturnValue:
    if session.pending_owner is None:
        return to("/login")
    return page("The code on your phone", form('<input name="code" inputmode="numeric">'))


@app.post("/code")
def code() -> ResponseReturnValue:
    user = accounts.by_name(session.pending_owner)  # None after ten minutes
    if user is None:
        return to("/login")
    pending = session["pending"]
    if not user.has_code(request.form["code"]):
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
def logout() -> ResponseReturnValue:
    session.invalidate()  # it ends, as by logout(); what is put in from here on begins another one, which carries the last words
    session.flash("Goodbye.")
    return to("/login")


# -- once somebody is logged in ---------------------------------------------------------------------------------------


@app.get("/account")
@login_required
def account() -> ResponseReturnValue:
    return page(f"Hello, {escape(g.user.name)}", form("", "Log out", "/logout"))


@app.get("/confirm")
@login_required
def confirm_page() -> ResponseReturnValue:
    return page("Your password once more", form('<input name="password" type="password">'))


@app.post("/confirm")
@login_required
def confirm() -> ResponseReturnValue:
    if accounts.authenticate(g.user.name, request.form["password"]) is None:
        session.flash("That is not right.", "error")
        return to(f"/confirm?{request.query_string.decode()}")
    session.confirm()
    return to(next_page(default="/account"))


@app.get("/devices")
@sensitive
def devices() -> ResponseReturnValue:
    rows = "".join(
        f"<li>{escape(device.label or '')}, {device.authenticated_at:%d %B %H:%M}"
        + (" (this one)" if device.is_current else form(hidden("handle", device.handle), "Log out"))
        for device in session.devices()
    )
    return page("Where you are logged in", f"<ul>{rows}</ul>{form(hidden('others', '1'), 'Log out the others')}")


@app.post("/devices")
@sensitive
def end_devices() -> ResponseReturnValue:
    ended = session.end_others() if "others" in request.form else int(session.end(request.form["handle"]))
    session.flash(f"Logged out: {ended}.")
    return to("/devices")


@app.get("/password")
@sensitive
def password_page() -> ResponseReturnValue:
    return page("Another password", form('<input name="password" type="password">'))


@app.post("/password")
@sensitive
def change_password() -> ResponseReturnValue:
    user: User = g.user
    user.password_hash = accounts.hash_password(request.form["password"])
    session.login(user.name, keep_data=True, stamp=user.stamp)  # every other session fails its check() from here on
    session.end_others()  # and need not wait for it
    session.flash("You have another password now. Your other devices are logged out.")
    return to("/account")


# -- administrators, and the single sign-on ---------------------------------------------------------------------------


@app.post("/admin/disable")
@admin_required
def disable() -> ResponseReturnValue:
    name = request.form["name"]
    if (user := accounts.by_name(name)) is not None:
        user.is_active = False
    return {"ended": session.sessions.end_owner(name)}


@app.post("/admin/log-everybody-out")
@admin_required
def log_everybody_out() -> ResponseReturnValue:
    me = session.owner
    return {"ended": session.sessions.end_where(lambda view: view.owner not in (None, me))}


@app.get("/sso")
def single_sign_on() -> ResponseReturnValue:
    """Where the provider's login ends, once an OpenID client such as Authlib has exchanged the code for the ID token."""
    claims = PROVIDER.id_claims(request.args["id_token"])
    if claims is None:
        abort(400)
    user = accounts.by_name(claims["sub"])
    if user is None:
        abort(403)
    session.login(user.name, keep_data=True, stamp=user.stamp, sid=claims.get("sid"))
    return to("/account")


@app.post("/backchannel-logout")
@guard.exempt
def backchannel_logout() -> ResponseReturnValue:
    claims = PROVIDER.logout_claims(request.form["logout_token"])
    if claims is None:
        abort(400)
    if "sid" in claims:
        session.sessions.end_sid(claims["sid"], claims.get("sub"))
    else:
        session.sessions.end_owner(claims["sub"])
    return "", {"Cache-Control": "no-store"}


# -- pages ------------------------------------------------------------------------------------------------------------


def to(path: str) -> ResponseReturnValue:
    return redirect(path, 303)


def form(fields: str, button: str = "Go on", action: str = "") -> str:
    """A form; without an action it goes to the page's own address, with its ?next=."""
    return f'<form method="post"{f" action={action}" if action else ""}>{fields} <button>{button}</button></form>'


def hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def page(title: str, body: str) -> ResponseReturnValue:
    told = "".join(f"<p class={flash.category}>{escape(flash.message)}</p>" for flash in session.flashes())
    links = "".join(f'<a href="/{name}">{name}</a> ' for name in ("account", "devices", "password"))
    text = f"<!doctype html><title>{title}</title><nav>{links}</nav>{told}<h1>{title}</h1>{body}"
    return text, {"Cache-Control": "no-store"}
