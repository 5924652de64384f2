"""Contexts, streams, teardown, middleware around the application, and messages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from flask import flash, get_flashed_messages
from markupsafe import Markup
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from sojourn import StoreUnavailable
from sojourn.flask import FlaskSession, Sojourn, session
from sojourn.stores import MemoryStore
from tests.doors.flask_apps import FLASK, Store, count_of, make, reached, saved_of, set_cookie


def streaming(store: Any = None, **options: Any) -> flask.Flask:
    app = make(store, **options)

    @app.get("/")
    def index() -> str:
        return str(session.get("n", 0))

    @app.get("/set/<int:n>")
    def put(n: int) -> str:
        session["n"] = n
        return ""

    @app.get("/stream/<int:n>")
    def stream(n: int) -> flask.Response:
        before = session.get("n", 0)

        def body() -> Iterator[str]:
            yield f"{before} "
            session["n"] = n
            yield f"{session['n']}"
            if n > 100:
                raise ZeroDivisionError

        return flask.Response(flask.stream_with_context(body()))

    return app


# flask contract 8, 27, 28
def test_what_changes_while_a_body_is_streamed_is_saved_when_it_has_been_sent() -> None:
    client = streaming().test_client()
    client.get("/set/1")
    answer = client.get("/stream/2")
    assert client.get("/").text == "1"
    assert answer.text == "1 2"
    answer.close()
    assert client.get("/").text == "2"
    client.get("/stream/3", buffered=True)
    assert client.get("/").text == "3"


def test_of_a_stream_that_fails_nothing_is_saved() -> None:
    client = streaming().test_client()
    client.get("/set/1")
    with pytest.raises(ZeroDivisionError):
        client.get("/stream/101", buffered=True)
    assert client.get("/").text == "1"


# flask contract 27
def test_a_new_session_cannot_begin_in_a_stream_which_the_log_says(caplog: pytest.LogCaptureFixture) -> None:
    app = streaming()
    answer = app.test_client().get("/stream/2", buffered=True)
    assert (answer.text, set_cookie(answer), count_of(app)) == ("0 2", "", 0)
    assert "changed for the first time after the response headers had left" in caplog.text


def test_a_stream_that_fails_to_be_saved_has_been_sent_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    client = streaming(store).test_client()
    client.get("/set/1")
    store.down = frozenset({"replace"})
    assert client.get("/stream/2", buffered=True).text == "1 2"
    assert "a change after the response headers had left is lost" in caplog.text


# flask contract 29
def test_what_teardown_changes_is_saved() -> None:
    app = streaming()

    @app.teardown_request
    def note(_error: BaseException | None) -> None:
        session["torn"] = session.get("torn", 0) + 1

    client = app.test_client()
    client.get("/set/1")
    client.get("/")
    with client.session_transaction() as saved:
        assert saved["torn"] == 2


def test_a_request_that_raises_through_the_application_saves_nothing_but_an_end() -> None:
    app = make(config={"PROPAGATE_EXCEPTIONS": True})

    @app.get("/<what>")
    def act(what: str) -> str:
        if what == "end":
            session.clear()
        session["n"] = 2
        raise ZeroDivisionError

    client = app.test_client()
    with client.session_transaction() as saved:
        saved["n"] = 1
    with pytest.raises(ZeroDivisionError):
        client.get("/keep")
    with client.session_transaction() as saved:
        assert saved["n"] == 1
    with pytest.raises(ZeroDivisionError):
        client.get("/end")
    assert count_of(app) == 0


def test_an_exclusive_request_gives_its_lock_back_whatever_becomes_of_it() -> None:
    app = streaming(exclusive=lambda _environ: True)
    client = app.test_client()
    client.get("/set/1")
    for path in ("/", "/stream/2", "/missing", "/"):
        client.get(path, buffered=True)
    with client.session_transaction() as saved:
        saved["n"] += 1
    assert client.get("/").text == "3"


def test_a_file_stays_in_the_servers_own_wrapper() -> None:
    app = make()

    @app.get("/")
    def file() -> flask.Response:
        session["n"] = 1
        return flask.send_file(__file__)

    class Wrapper:
        def __init__(self, file: Any, _size: int = 0) -> None:
            self.file = file

    environ = flask.testing.EnvironBuilder(app).get_environ()
    environ["wsgi.file_wrapper"] = Wrapper
    body = app(environ, lambda *_: lambda _data: None)
    assert isinstance(body, Wrapper)
    body.file.close()
    assert count_of(app) == 1


# flask contract 30
def test_a_pushed_context_loads_the_session_by_itself() -> None:
    app = streaming()
    client = app.test_client()
    client.get("/set/7")
    cookie = client.get_cookie("session")
    assert cookie is not None
    headers = {"Cookie": f"session={cookie.value}"}
    with app.test_request_context(headers=headers):
        assert session["n"] == 7
        session["n"] = 8
    assert client.get("/").text == "7"  # nothing has saved it
    with app.test_request_context(headers=headers):
        session["n"] = 8
        app.session_interface.save_session(app, reached(), flask.Response())
    assert client.get("/").text == "8"


def test_a_pushed_context_raises_where_the_store_fails() -> None:
    store = Store()
    app = streaming(store)
    client = app.test_client()
    client.get("/set/7")
    cookie = client.get_cookie("session")
    assert cookie is not None
    store.down = frozenset({"load"})
    with app.test_request_context(headers={"Cookie": f"session={cookie.value}"}), pytest.raises(StoreUnavailable):
        session.get("n")


# flask contract 31
def test_a_session_transaction_reads_and_writes_outside_of_a_request() -> None:
    app = streaming()
    client = app.test_client()
    with client.session_transaction() as saved:
        assert isinstance(saved, FlaskSession)
        assert saved.new and len(saved) == 0
        saved["n"] = 5
    assert client.get("/").text == "5"
    with pytest.raises(ZeroDivisionError), client.session_transaction() as saved:
        saved.update(n=6 // saved.setdefault("nothing", 0))
    assert client.get("/").text == "5"
    with saved_of(client) as saved:
        saved.login("ann", keep_data=True)
    assert client.get("/").text == "5"
    with saved_of(client) as saved:
        assert saved.owner == "ann"
        saved.clear()
    assert client.get_cookie("session") is None


# flask contract 32
def test_the_session_can_be_read_after_the_response() -> None:
    app = streaming()

    @app.get("/away")
    def away() -> Any:
        session["way"] = 1
        return flask.redirect("/set/2")

    with app.test_client() as client:
        client.get("/set/1")
        assert session["n"] == 1
        client.get("/away", follow_redirects=FLASK >= (3, 1, 2))  # before, that left the first response's session
        assert session["way"] == 1
        assert session["n"] == (2 if FLASK >= (3, 1, 2) else 1)


# flask contract 33
def test_an_async_view_uses_the_same_sync_session() -> None:
    app = make()

    @app.get("/")
    async def index() -> str:
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    client = app.test_client()
    assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]


# flask contract 18, 19
@pytest.mark.parametrize("outside", [True, False])
def test_the_scheme_is_the_browsers_whether_proxy_fix_is_outside_or_inside(*, outside: bool) -> None:
    app = flask.Flask("shop")
    app.secret_key = "a secret that is long enough for everybody"
    if not outside:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    Sojourn(app, store=MemoryStore())
    if outside:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]

    @app.get("/")
    def index() -> str:
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    client = app.test_client()
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.test"}
    cookie = set_cookie(client.get("/", headers=headers))
    assert cookie.startswith("__Host-session=") and "Secure" in cookie
    headers["Cookie"] = cookie.partition(";")[0]
    assert client.get("/", headers=headers).text == "2"


def test_applications_under_one_another_have_a_session_each() -> None:
    shop, admin = streaming(), streaming(config={"SESSION_COOKIE_NAME": "admin", "SESSION_COOKIE_PATH": "/admin"})
    shop.wsgi_app = DispatcherMiddleware(shop.wsgi_app, {"/admin": admin})  # type: ignore[method-assign]
    client = shop.test_client()
    client.get("/set/1")
    client.get("/admin/set/2")
    assert (client.get("/").text, client.get("/admin/").text) == ("1", "2")


def test_the_application_works_without_what_the_extension_put_around_it() -> None:
    app = streaming()
    app.wsgi_app = flask.Flask.wsgi_app.__get__(app)  # type: ignore[method-assign]
    client = app.test_client()
    client.get("/set/1")
    assert client.get("/").text == "1"


# flask contract 35, 36, 37
def test_messages_are_taken_once_and_are_what_our_own_methods_keep() -> None:
    app = make()
    told: list[Any] = []
    flask.message_flashed.connect(lambda _app, message, category: told.append((category, message)), app, weak=False)

    @app.get("/flash")
    def put() -> str:
        flash("Saved.")
        flash(Markup("<b>Sold.</b>"), "error")
        session.flash("Ours.", "info")
        return ""

    @app.get("/take")
    def take() -> list[Any]:
        first = get_flashed_messages(with_categories=True)
        assert get_flashed_messages(with_categories=True) == first
        assert isinstance(first[1][1], Markup)
        return [first, get_flashed_messages(category_filter=["error"])]

    @app.get("/none")
    def none() -> str:
        get_flashed_messages()
        assert not session.modified
        return ""

    @app.get("/ours")
    def ours() -> list[Any]:
        return session.flashes()

    client = app.test_client()
    assert client.get("/none").status_code == 200
    client.get("/flash")
    kept = [["message", "Saved."], ["error", "<b>Sold.</b>"], ["info", "Ours."]]
    assert client.get("/take").json == [kept, ["<b>Sold.</b>"]]
    assert told == [("message", "Saved."), ("error", "<b>Sold.</b>")]
    assert client.get("/none").status_code == 200
    client.get("/flash")
    assert client.get("/ours").json == kept


def test_nothing_is_logged_for_ordinary_requests(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sojourn")
    client = streaming().test_client()
    for path in ("/", "/set/1", "/stream/2", "/", "/missing"):
        client.get(path, buffered=True)
    assert caplog.records == []


def test_a_response_that_the_application_keeps_gets_no_cookie_and_no_error_of_anybody() -> None:
    store = Store()
    app = make(store)
    kept = flask.Response("the same for all")

    @app.get("/")
    def index() -> flask.Response:
        session["n"] = 1
        return kept

    first, second = app.test_client(), app.test_client()
    cookies = [set_cookie(client.get("/")) for client in (first, second)]
    assert cookies[0] and cookies[1] and cookies[0] != cookies[1]
    store.down = frozenset({"create"})
    assert app.test_client().get("/").status_code == 503
    store.down = frozenset()
    answer = first.get("/")
    assert (answer.status_code, answer.text, set_cookie(answer)) == (200, "the same for all", "")
    assert list(kept.headers.keys()) == ["Content-Type", "Content-Length"]


def test_a_stream_in_the_place_of_a_response_is_sent_whole() -> None:
    store = Store()
    app = make(store)

    @app.get("/")
    def index() -> str:
        session["n"] = 1
        return ""

    @app.errorhandler(StoreUnavailable)
    def explain(_error: StoreUnavailable) -> flask.Response:
        return flask.Response(iter(["back ", "soon"]), 503)

    store.down = frozenset({"create"})
    assert app.test_client().get("/", buffered=True).text == "back soon"
