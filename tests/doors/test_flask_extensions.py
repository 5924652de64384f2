"""Flask-Login, Flask-WTF and what else keeps something in ``flask.session``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import flask
import pytest
from flask_login import (
    LoginManager,
    UserMixin,
    confirm_login,
    current_user,
    fresh_login_required,
    login_required,
    login_user,
    logout_user,
)
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFProtect, generate_csrf
from wtforms import StringField

from sojourn import ConfigurationError
from sojourn.clock import from_ms
from sojourn.flask import fresh_required, next_page, session
from sojourn.testing import ManualClock
from sojourn.testing.flask import log_in
from tests.doors.flask_apps import count_of, make, reached, saved_of, set_cookie, store_of


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


def site(**options: Any) -> flask.Flask:
    """A site with logins."""
    app = make(config={"TESTING": True, "WTF_CSRF_ENABLED": True, **options.pop("config", {})}, **options)
    manager = LoginManager(app)
    manager.user_loader(lambda name: None if name == "gone" else User(name))

    @app.get("/put/<key>")
    def put(key: str) -> str:
        session[key] = 1
        return ""

    @app.get("/login/<name>")
    def login(name: str) -> str:
        login_user(User(name), remember="remember" in flask.request.args)
        return ""

    @app.get("/me")
    @login_required
    def me() -> dict[str, Any]:
        found = reached()
        return {"user": current_user.id, "owner": found.owner, "data": sorted(found), "fresh": session["_fresh"]}

    @app.get("/whoever")
    def whoever() -> str:
        return str(current_user.is_authenticated)

    @app.get("/secret")
    @fresh_login_required
    def secret() -> str:
        return "secret"

    @app.get("/confirm")
    def confirm() -> str:
        confirm_login()
        return ""

    @app.get("/logout")
    def logout() -> str:
        if "before" in flask.request.args:
            flask.flash("Goodbye.")
        logout_user()
        if "after" in flask.request.args:
            flask.flash("Goodbye.")
        return ""

    @app.get("/messages")
    def messages() -> list[str]:
        return flask.get_flashed_messages()  # type: ignore[return-value]

    return app


def cookie_of(client: Any) -> str:
    found = client.get_cookie("session")
    return "" if found is None else found.value


# flask contract 38, 39
def test_a_login_changes_the_id_names_the_owner_and_keeps_what_the_visitor_gathered() -> None:
    app = site()
    client = app.test_client()
    client.get("/put/cart")
    before = cookie_of(client)
    client.get("/login/ann")
    assert cookie_of(client) != before
    answer = client.get("/me").json
    assert answer == {"user": "ann", "owner": "ann", "data": ["_fresh", "_id", "_user_id", "cart"], "fresh": True}
    thief = app.test_client()
    thief.set_cookie("session", before)
    assert thief.get("/me").status_code == 401
    assert len(list(store_of(app).by_owner("ann"))) == 1


def test_a_login_of_the_same_user_changes_the_id_again_and_one_of_another_takes_nothing_along() -> None:
    client = site().test_client()
    client.get("/login/ann")
    client.get("/put/letters")
    before = cookie_of(client)
    client.get("/login/ann")
    assert cookie_of(client) != before
    assert '"letters"' in client.get("/me").text
    client.get("/login/bob?remember=1")
    assert client.get("/me").json == {
        "user": "bob",
        "owner": "bob",
        "data": ["_fresh", "_id", "_user_id"],
        "fresh": True,
    }
    assert client.get_cookie("remember_token") is not None


# flask contract 39
def test_a_login_by_the_remember_cookie_changes_the_id_and_names_the_owner() -> None:
    app = site()
    client = app.test_client()
    client.get("/login/ann?remember=1")
    client.delete_cookie("session")
    client.get("/put/cart")
    before = cookie_of(client)
    answer = client.get("/me").json
    assert answer == {"user": "ann", "owner": "ann", "data": ["_fresh", "_user_id", "cart"], "fresh": False}
    assert cookie_of(client) != before


def test_where_there_is_no_session_the_remember_cookie_logs_in_for_this_request_alone() -> None:
    app = site(exclude=["/static"])

    @app.errorhandler(404)
    def missing(_error: Exception) -> tuple[str, int]:
        return flask.render_template_string("{{ current_user.is_authenticated }}"), 404

    client = app.test_client()
    client.get("/login/ann?remember=1")
    client.delete_cookie("session")
    answer = client.get("/static/nope.png")
    assert (answer.status_code, answer.text) == (404, "True")
    assert "session=" not in str(answer.headers)


# flask contract 40
@pytest.mark.parametrize("remember", ["", "?remember=1"])
def test_a_logout_ends_the_session_and_forgets_the_remember_cookie(remember: str) -> None:
    app = site()
    client = app.test_client()
    client.get(f"/login/ann{remember}")
    client.get("/put/letters")
    before = cookie_of(client)
    answer = client.get("/logout")
    assert answer.status_code == 200
    assert "session=;" in str(answer.headers.getlist("Set-Cookie"))
    assert cookie_of(client) == ""
    assert client.get_cookie("remember_token") is None
    assert client.get("/me").status_code == 401
    assert count_of(app) == 0
    client.set_cookie("session", before)
    assert client.get("/me").status_code == 401


# flask contract 40
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_goodbye_works_whether_it_is_said_before_or_after(when: str) -> None:
    app = site()
    client = app.test_client()
    client.get("/login/ann?remember=1")
    client.get("/put/letters")
    before = cookie_of(client)
    client.get(f"/logout?{when}")
    assert cookie_of(client) not in ("", before)
    assert client.get("/messages").json == ["Goodbye."]
    with saved_of(client) as saved:
        assert saved.owner is None
        assert dict(saved) == {}


# flask contract 41
def test_strong_protection_ends_the_session_of_another_browser_and_basic_makes_it_stale() -> None:
    for mode, status, count in (("strong", 401, 0), ("basic", 200, 1)):
        app = site(config={"SESSION_PROTECTION": mode})
        client = app.test_client()
        client.get("/login/ann")
        other = {"User-Agent": "another"}
        answer = client.get("/me", headers=other)
        assert answer.status_code == status
        assert count_of(app) == count
        assert client.get("/secret", headers=other).status_code == 401


# flask contract 42
def test_confirming_a_login_makes_it_fresh_under_a_new_id() -> None:
    client = site().test_client()
    client.get("/login/ann?remember=1")
    client.delete_cookie("session")
    assert client.get("/secret").status_code == 401
    before = cookie_of(client)
    client.get("/confirm")
    assert client.get("/secret").text == "secret"
    assert cookie_of(client) != before


# flask contract 42
def test_confirming_a_login_that_is_none_of_the_sessions_changes_nothing() -> None:
    client = site().test_client()
    client.get("/put/cart")
    before = cookie_of(client)
    assert client.get("/confirm").status_code == 200
    assert cookie_of(client) == before


def test_visitors_who_are_nobody_get_no_session() -> None:
    app = site()
    app.before_request(lambda: setattr(session, "permanent", True))
    client = app.test_client()
    answer = client.get("/whoever")
    assert (answer.text, set_cookie(answer), count_of(app)) == ("False", "", 0)


def test_a_session_of_another_interface_is_left_alone() -> None:
    app = site()
    app.session_interface = flask.sessions.SecureCookieSessionInterface()
    client = app.test_client()
    client.get("/login/ann")
    assert client.get("/whoever").text == "True"
    client.get("/logout")
    assert client.get("/whoever").text == "False"
    assert count_of(app) == 0


def test_without_flask_login_nothing_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "flask_login", None)
    assert make().extensions["sojourn"]


# flask contract 43
def test_a_form_opened_before_a_login_can_be_sent_after_it() -> None:
    app = site()
    CSRFProtect(app)

    class Name(FlaskForm):  # type: ignore[misc]
        name = StringField()

    @app.get("/form")
    def form() -> str:
        return str(generate_csrf())

    @app.post("/form")
    def sent() -> str:
        form = Name()
        return str(form.name.data if form.validate_on_submit() else form.errors)

    client = app.test_client()
    token = client.get("/form").text
    client.get("/login/ann")
    assert client.post("/form", data={"csrf_token": token, "name": "Ann"}).text == "Ann"
    assert client.post("/form", data={"name": "Ann"}).status_code == 400
    client.get("/logout")
    assert client.post("/form", data={"csrf_token": token, "name": "Ann"}).status_code == 400


# flask contract 44
def test_dicts_of_a_client_of_oauth_come_and_go() -> None:
    client = make().test_client()
    with client.session_transaction() as saved:
        saved["_state_shop_abc"] = {"data": {"redirect_uri": "http://shop.test"}, "exp": 1764460800.5}
        saved["_state_shop_old"] = {"exp": 0}
    with client.session_transaction() as saved:
        for key in dict(saved):
            if saved[key]["exp"] < 1:
                saved.pop(key)
    with client.session_transaction() as saved:
        assert dict(saved) == {"_state_shop_abc": {"data": {"redirect_uri": "http://shop.test"}, "exp": 1764460800.5}}


# -- the password, asked for again -----------------------------------------------------------------------------------------


def asking(**options: Any) -> tuple[flask.Flask, ManualClock]:
    """A site with a view for whoever has just given the password."""
    clock = ManualClock()
    app = site(clock=clock, **options)

    @app.route("/delete/<what>", methods=["GET", "POST"])
    @fresh_required(timedelta(minutes=15))
    async def delete(what: str) -> str:
        return what

    @app.get("/again")
    def again() -> str:
        session.confirm()
        return next_page()

    @app.get("/raw")
    def raw() -> str:
        session.login("ann", remember=timedelta(days=1))
        return ""

    return app, clock


def test_whose_password_was_given_too_long_ago_is_asked_for_it_and_led_back() -> None:
    app, clock = asking(confirm_view="again")
    client = app.test_client()
    assert client.get("/delete/a").status_code == 401
    client.get("/login/ann")
    assert client.get("/delete/a").text == "a"
    clock.advance(15 * 60_000 + 1)
    sent = client.get("/delete/ü b?x=1")
    assert sent.status_code == 303 and sent.location == "/again?next=/delete/%25C3%25BC%2520b%3Fx%3D1"
    assert client.post("/delete/a").location == "/again"
    before = cookie_of(client)
    assert client.get(sent.location).text == "/delete/%C3%BC%20b?x=1" and cookie_of(client) != before
    assert client.get("/delete/a").text == "a"
    assert client.get("/again?next=//evil.test").text == "/"


def test_without_a_view_for_it_it_is_a_403_and_without_our_session_a_401() -> None:
    app, _clock = asking()
    client = app.test_client()
    client.get("/raw")
    assert client.get("/delete/a").status_code == 403
    app.session_interface = flask.sessions.SecureCookieSessionInterface()
    assert client.get("/delete/a").status_code == 401
    with pytest.raises(ConfigurationError, match="within"):
        fresh_required("soon")  # type: ignore[arg-type]


# flask contract 42
def test_flask_login_s_freshness_and_ours_are_one() -> None:
    app, clock = asking(confirm_view="again")

    @app.get("/stale/<name>")
    def stale(name: str) -> str:
        login_user(User(name), fresh=False)
        return ""

    def fresh(client: Any, **headers: Any) -> tuple[int, int]:
        return client.get("/secret", headers=headers).status_code, client.get("/delete/a", headers=headers).status_code

    client = app.test_client()
    client.get("/login/ann?remember=1")
    client.delete_cookie("session")
    assert fresh(client) == (401, 303), "by the remember cookie"
    client.get("/again")
    assert fresh(client) == (200, 200), "by our confirm()"
    clock.advance(60_000)
    assert fresh(client, **{"User-Agent": "another"}) == (401, 303), "another browser"
    with saved_of(client) as saved:
        then = saved.authenticated_at
    client.get("/confirm")
    assert fresh(client) == (200, 200), "by confirm_login()"
    with saved_of(client) as saved:
        assert saved.authenticated_at == then and saved.confirmed_at == from_ms(clock())
    client.get("/stale/bob")
    assert fresh(client) == (401, 303), "by login_user(fresh=False)"


def test_a_client_logs_in_who_is_not_fresh() -> None:
    app, _clock = asking(confirm_view="again")
    client = app.test_client()
    log_in(client, "ann", remember=timedelta(days=1), stamp="hash")
    assert [client.get(path).status_code for path in ("/me", "/secret", "/delete/a")] == [200, 401, 303]
    with saved_of(client) as saved:
        assert saved.check("hash")


def test_a_login_that_flask_login_alone_knows_is_one_of_ours_once_it_is_confirmed() -> None:
    app, _clock = asking(confirm_view="again")
    client = app.test_client()
    with saved_of(client) as saved:
        saved.update(_user_id="ann", _fresh=True)
    client.get("/confirm")
    with saved_of(client) as saved:
        assert saved.owner == "ann" and saved.confirmed_at is not None


@pytest.mark.parametrize("how", [{"max_sessions": 1}, {"sid": "idp"}])
def test_all_that_a_login_can_do_goes_through_this_door(how: dict[str, Any]) -> None:
    app = make()

    @app.get("/login")
    def login() -> str:
        session.begin_login("ann")
        assert session.pending_owner == "ann" and session.owner is None
        session.complete_login(**how)
        return ""

    @app.get("/try")
    def attempt() -> list[Any]:
        return [session.try_login("ann", max_sessions=1), session.sessions.end_sid("idp")]

    client, other = app.test_client(), app.test_client()
    client.get("/login")
    other.get("/login")
    assert count_of(app) == (1 if "max_sessions" in how else 2)
    assert app.test_client().get("/try").json == [False, 2 if "sid" in how else 0]
