"""Where the store fails, or a value cannot be stored, the application's own handlers say what is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException, InternalServerError

from sojourn import SessionEncodeError, SessionTooLarge, SojournError, StoreError, StoreUnavailable
from sojourn.flask import Sojourn, session
from sojourn.stores import MemoryStore
from tests.doors.flask_apps import Store, count_of, make, set_cookie

PHASES = {"at the start": "load", "at the end": "replace"}


def counting(store: Store, **options: Any) -> Flask:
    """An application whose only view counts."""
    app = make(store, **options)

    @app.get("/")
    def index() -> str:
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    @app.get("/file")
    def file() -> flask.Response:
        session["n"] = session.get("n", 0) + 1
        return flask.send_file(__file__)

    return app


@pytest.fixture
def store() -> Store:
    return Store()


# flask contract 6
@pytest.mark.parametrize("operation", PHASES.values(), ids=PHASES)
def test_without_a_handler_it_is_our_503(store: Store, operation: str) -> None:
    app = counting(store, store_error_page="<h1>Later</h1>")
    client = app.test_client()
    client.get("/")
    store.down = frozenset({operation})
    answer = client.get("/")
    assert (answer.status_code, answer.text) == (503, "<h1>Later</h1>")
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["Cache-Control"] == "no-store"
    assert set_cookie(answer) == ""
    assert int(answer.headers["Content-Length"]) == len(answer.text)
    store.down = frozenset()
    assert client.get("/").text == "2"


@pytest.mark.parametrize("operation", PHASES.values(), ids=PHASES)
def test_the_page_can_be_a_function_of_the_environ(store: Store, operation: str) -> None:
    app = counting(store, store_error_page=lambda environ: {"instance": environ["PATH_INFO"]})
    client = app.test_client()
    client.get("/")
    store.down = frozenset({operation})
    answer = client.get("/")
    assert answer.status_code == 503 and answer.headers["Content-Type"] == "application/problem+json"
    assert answer.get_json()["instance"] == "/"


# flask contract 5, 6
@pytest.mark.parametrize(
    "kind", [StoreUnavailable, StoreError, SojournError, Exception, 503, HTTPException, 500, InternalServerError]
)
@pytest.mark.parametrize("operation", PHASES.values(), ids=PHASES)
def test_a_handler_of_the_applications_says_what_is_sent(store: Store, operation: str, kind: Any) -> None:
    app = counting(store)
    seen: list[Exception] = []

    @app.errorhandler(kind)
    def explain(error: Exception) -> tuple[str, int, dict[str, str]]:
        seen.append(error)
        return "back soon", 502, {"X-Page": "mine"}

    client = app.test_client()
    client.get("/")
    store.down = frozenset({operation})
    answer = client.get("/")
    assert (answer.status_code, answer.text, answer.headers["X-Page"]) == (502, "back soon", "mine")
    assert set_cookie(answer) == ""
    [error] = seen
    if kind in (StoreUnavailable, StoreError, SojournError, Exception):
        assert isinstance(error, StoreUnavailable)
    elif kind in (500, InternalServerError):
        assert isinstance(error, InternalServerError) and isinstance(error.original_exception, StoreUnavailable)
    assert store.asked.count(operation) == 1  # never asked again for the error's page


def test_a_blueprint_has_its_own_handlers(store: Store) -> None:
    app = make(store)
    admin = flask.Blueprint("admin", "admin", url_prefix="/admin")

    @admin.get("/")
    def index() -> str:
        session["n"] = session.get("n", 0) + 1
        return ""

    @admin.errorhandler(StoreError)
    def explain(_error: StoreError) -> tuple[str, int]:
        return "admins wait", 503

    app.register_blueprint(admin)
    client = app.test_client()
    for operation in ("create", "load"):
        store.down = frozenset({operation})
        assert client.get("/admin/").text == "admins wait"
        store.down = frozenset()
        client.get("/admin/")


# flask contract 7
@pytest.mark.parametrize("mode", ["TESTING", "DEBUG", "PROPAGATE_EXCEPTIONS"])
@pytest.mark.parametrize("operation", PHASES.values(), ids=PHASES)
def test_under_test_and_in_debug_mode_it_is_raised(store: Store, operation: str, mode: str) -> None:
    app = counting(store, config={mode: True})
    client = app.test_client()
    client.get("/")
    store.down = frozenset({operation})
    with pytest.raises(StoreUnavailable, match="down"):
        client.get("/")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert client.get("/").status_code == 503


# flask contract 7
def test_under_test_a_handler_for_it_is_called_all_the_same(store: Store) -> None:
    app = counting(store, config={"TESTING": True})
    app.register_error_handler(StoreError, lambda _error: ("back soon", 503))
    store.down = frozenset({"create"})
    assert app.test_client().get("/").text == "back soon"


def test_a_handler_that_fails_itself_is_an_error_as_any(store: Store) -> None:
    app = counting(store)

    @app.errorhandler(StoreError)
    def explain(_error: StoreError) -> str:
        raise ZeroDivisionError

    store.down = frozenset({"create"})
    assert app.test_client().get("/").status_code == 500


def test_the_view_does_not_run_without_its_session(store: Store) -> None:
    app = make(store)
    ran: list[str] = []

    @app.get("/")
    def index() -> str:
        ran.append("view")
        return ""

    @app.before_request
    def check() -> None:
        ran.append("before")

    client = app.test_client()
    with client.session_transaction() as saved:
        saved["n"] = 1
    store.down = frozenset({"load"})
    assert client.get("/").status_code == 503
    assert ran == []


def test_what_asks_before_the_session_is_loaded_meets_the_error_too(store: Store) -> None:
    app = Flask("shop")
    app.secret_key = "a secret that is long enough for everybody"

    @app.before_request
    def first() -> None:
        session.get("n")

    Sojourn(app, store=store)
    app.get("/")(lambda: "")
    client = app.test_client()
    with client.session_transaction() as saved:
        saved["n"] = 1
    store.down = frozenset({"load"})
    assert client.get("/").status_code == 503


def test_a_lazy_load_that_fails_in_a_view_makes_a_503_of_what_it_sends(store: Store) -> None:
    app = make(store, lazy=True)

    @app.get("/raised")
    def raised() -> str:
        return str(session.get("n"))

    @app.get("/swallowed")
    def swallowed() -> str:
        try:
            return str(session.get("n"))
        except StoreError:
            return "nobody"

    client = app.test_client()
    with client.session_transaction() as saved:
        saved["n"] = 1
    store.down = frozenset({"load"})
    for path in ("/raised", "/swallowed"):
        assert client.get(path).status_code == 503


def test_anonymous_goes_on_without_a_session(store: Store) -> None:
    app = counting(store, on_store_error="anonymous")
    client = app.test_client()
    client.get("/")
    store.down = frozenset({"load", "create", "replace"})
    answer = client.get("/")
    assert (answer.status_code, answer.text, set_cookie(answer)) == (200, "1", "")


def test_a_logout_that_fails_is_told_even_then(store: Store) -> None:
    app = counting(store, on_store_error="anonymous")

    @app.get("/logout")
    def logout() -> str:
        session.clear()
        return "bye"

    client = app.test_client()
    client.get("/")
    store.down = frozenset({"delete"})
    assert client.get("/logout").status_code == 503


class Closing:
    """A body that notes whether it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"part"])

    def close(self) -> None:
        self.closed += 1


def test_the_body_that_is_not_sent_is_closed_and_its_callbacks_are_called_once(store: Store) -> None:
    app = make(store)
    body, called = Closing(), []

    @app.get("/")
    def index() -> flask.Response:
        session["n"] = 1
        response = flask.Response(body)
        response.call_on_close(lambda: called.append("view's"))
        return response

    @app.errorhandler(StoreError)
    def explain(_error: StoreError) -> flask.Response:
        response = flask.Response("back soon", 503)
        response.call_on_close(lambda: called.append("handler's"))
        return response

    store.down = frozenset({"create"})
    answer = app.test_client().get("/", buffered=True)
    assert answer.text == "back soon"
    assert body.closed == 1
    assert called == ["view's", "handler's"]


def test_a_file_that_is_not_sent_gives_way_too(store: Store) -> None:
    app = counting(store)
    store.down = frozenset({"create"})
    answer = app.test_client().get("/file", buffered=True)
    assert (answer.status_code, answer.mimetype) == (503, "text/html")


# flask contract 6
def test_a_value_that_cannot_be_stored_is_a_500_of_flasks_and_nothing_is_saved(store: Store) -> None:
    app = make(store)

    @app.get("/")
    def index() -> str:
        session["n"] = 1
        session["file"] = object()
        return ""

    answer = app.test_client().get("/")
    assert (answer.status_code, set_cookie(answer), count_of(app)) == (500, "", 0)


# flask contract 6
@pytest.mark.parametrize("kind", [SessionEncodeError, TypeError, 500])
def test_a_value_that_cannot_be_stored_meets_the_applications_handlers(store: Store, kind: Any) -> None:
    app = make(store)

    @app.get("/")
    def index() -> str:
        session["cart"] = [{"file": object()}]
        return ""

    @app.errorhandler(kind)
    def explain(error: Exception) -> tuple[str, int]:
        flask.flash("that was too much")  # which is not saved either, and fails nothing
        return str(getattr(error, "original_exception", error)), 500

    answer = app.test_client().get("/")
    assert (answer.status_code, set_cookie(answer), count_of(app)) == (500, "", 0)
    assert "cart[0].file" in answer.text


def test_a_record_that_is_too_large_meets_them_as_well() -> None:
    app = make(MemoryStore(max_size=500))

    @app.get("/")
    def index() -> str:
        session["essay"] = "x" * 1000
        return ""

    @app.errorhandler(SessionTooLarge)
    def explain(error: SessionTooLarge) -> tuple[str, int]:
        return f"no more than {error.limit}", 413

    assert app.test_client().get("/").text == "no more than 500"


@pytest.mark.parametrize("handled", [True, False])
def test_a_logout_happens_though_what_was_put_in_then_cannot_be_stored(store: Store, *, handled: bool) -> None:
    app = make(store)

    @app.get("/logout")
    def logout() -> str:
        session.clear()
        session["bye"] = object()
        return ""

    if handled:
        app.register_error_handler(SessionEncodeError, lambda _error: ("no", 500))
    client = app.test_client()
    with client.session_transaction() as saved:
        saved["n"] = 1
    answer = client.get("/logout")
    assert (answer.status_code, count_of(app)) == (500, 0)
    assert "Expires=Thu, 01 Jan 1970" in set_cookie(answer)


# flask contract 31
@pytest.mark.parametrize("operation", ["load", "replace"])
def test_a_session_transaction_raises_what_fails(store: Store, operation: str) -> None:
    app = counting(store)
    client = app.test_client()
    client.get("/")
    store.down = frozenset({operation})
    with pytest.raises(StoreUnavailable), client.session_transaction() as saved:
        saved["n"] = saved["n"] + 1


# flask contract 6
def test_an_interface_that_fails_to_open_is_flasks_500_and_leaves_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make(trust_proxy=True)

    def fail(_environ: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app.extensions["sojourn"].door(app), "arrive", fail)
    app.get("/")(lambda: "")
    assert app.test_client().get("/").status_code == 500
    assert not flask.has_request_context()
