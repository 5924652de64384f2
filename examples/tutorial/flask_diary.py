"""A diary behind a login: the tutorial for Flask. Run it:  flask --app flask_diary run"""

import os
from datetime import timedelta

from flask import Flask, flash, redirect, render_template_string, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from sojourn.flask import CrossSiteGuard, Sojourn, next_page, session

app = Flask(__name__)
app.secret_key, *app.config["SECRET_KEY_FALLBACKS"] = os.environ["SESSION_SECRET"].split(",")
Sojourn(app, store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"))
CrossSiteGuard(app)

USERS = {"ann": generate_password_hash("pear")}  # in your application, a table
NOBODY = generate_password_hash("")

PAGE = """<!doctype html><html lang="en"><title>Diary</title>
{% for message in get_flashed_messages() %}<p role="status">{{ message }}</p>{% endfor %}
{% if form %}<h1>Log in</h1><form method="post">
  <label>Name <input name="name" autocomplete="username"></label>
  <label>Password <input name="password" type="password" autocomplete="current-password"></label>
  <label><input name="remember" type="checkbox"> Remember me</label> <button>Log in</button></form>
{% else %}<h1>{{ owner }}'s diary</h1><ul>{% for line in lines %}<li>{{ line }}</li>{% endfor %}</ul>
<form method="post"><label>Line <input name="line"></label> <button>Write</button></form>
<form method="post" action="{{ url_for('logout') }}"><button>Log out</button></form>{% endif %}</html>"""


@app.get("/")
def front() -> ResponseReturnValue:
    return {"visits": session.increment("visits")}


@app.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    if request.method == "GET":
        return render_template_string(PAGE, form=True)
    name = request.form["name"]
    if not check_password_hash(USERS.get(name, NOBODY), request.form["password"]) or name not in USERS:
        flash("That is not right.")
        return render_template_string(PAGE, form=True)
    session.login(name, keep_data=True, remember=timedelta(days=30) if "remember" in request.form else None)
    return redirect(next_page(default=url_for("diary")), 303)


@app.route("/diary", methods=["GET", "POST"])
def diary() -> ResponseReturnValue:
    if session.owner is None:
        return redirect(url_for("login", next=request.path), 303)
    if request.method == "POST":
        session.setdefault("lines", []).append(request.form["line"])  # a change within is seen, too
        flash("Written.")
        return redirect(url_for("diary"), 303)
    return render_template_string(PAGE, owner=session.owner, lines=session.get("lines", []))


@app.post("/logout")
def logout() -> ResponseReturnValue:
    session.logout()
    return redirect(url_for("front"), 303)
