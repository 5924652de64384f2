"""Sessions in Flask, with Flask-Login. Run it:  flask --app flask_login_app run"""

import os

from flask import Flask, flash, get_flashed_messages, redirect, request
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user

from sojourn.flask import Sojourn, session  # flask.session, whose methods the editor knows

app = Flask(__name__)
app.secret_key = os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes")
Sojourn(app, store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"))
logins = LoginManager(app)


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    def __init__(self, name: str) -> None:
        self.id = name


@logins.user_loader  # type: ignore[untyped-decorator]
def load_user(name: str) -> User:
    return User(name)


@app.get("/set")
def set_value() -> ResponseReturnValue:
    session[request.args["key"]] = request.args["value"]
    return {"set": request.args["key"]}


@app.get("/get")
def get_value() -> ResponseReturnValue:
    return {request.args["key"]: session.get(request.args["key"])}


@app.get("/counter")
def counter() -> ResponseReturnValue:
    # increment() instead of += 1: two requests at once both count
    return {"visits": session.increment("visits")}


@app.get("/login")
def login() -> ResponseReturnValue:
    # Changes the session's id and makes the user its owner; what the visitor gathered before stays.
    login_user(User(request.args["name"]), remember="remember" in request.args)
    return redirect("/dashboard", 303)


@app.get("/dashboard")
@login_required  # type: ignore[untyped-decorator]
def dashboard() -> ResponseReturnValue:
    return f"Hello, {current_user.id}."


@app.get("/logout")
def logout() -> ResponseReturnValue:
    # Ends the session. What is put in from here on begins another one, so that there can be a goodbye.
    logout_user()
    flash("Goodbye.")
    return {"logged_out": True}


@app.get("/messages")
def messages() -> ResponseReturnValue:
    return {"messages": get_flashed_messages()}


@app.get("/destroy")
def destroy() -> ResponseReturnValue:
    session.destroy()
    return {"destroyed": True}
