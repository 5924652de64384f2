"""``flask.session`` is our session with Flask's attributes; the interface does in a request what Flask's does, and more."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import flask
import pytest
from flask import Flask
from flask.sessions import NullSession, SessionMixin
from flask.sessions import SessionInterface as Interface
from markupsafe import Markup

from sojourn import Cookie, Session, express
from sojourn.errors import ConfigurationError
from sojourn.flask import FlaskSession, SessionInterface, Sojourn, session
from sojourn.stores import MemoryStore
from sojourn.wsgi import SessionMiddleware
from tests.doors.flask_apps import FLASK, SECRET, Store, count_of, kept, make, reached, set_cookie, store_of


# flask contract 1
def test_the_extension_sets_the_interface_before_the_first_request() -> None:
    app = make()
    assert isinstance(app.session_interface, SessionInterface)
    assert isinstance(app.session_interface, Interface)
    assert app.extensions["sojourn"] is app.session_interface
    assert app.session_interface.pickle_based is False


# flask contract 2
def test_the_session_is_there_when_urls_are_matched() -> None:
    from werkzeug.routing import BaseConverter

    class Mine(BaseConverter):
        def to_python(self, value: str) -> str:
            assert flask.request.endpoint is None
            return f"{value} of {session.get('name', 'nobody')}"

    app = make()
    app.url_map.converters["mine"] = Mine

    @app.get("/<mine:thing>")
    def show(thing: str) -> str:
        session["name"] = "Ann"
        return thing

    client = app.test_client()
    assert client.get("/cart").text == "cart of nobody"
    assert client.get("/cart").text == "cart of Ann"


# flask contract 3, 4
def test_without_a_secret_the_session_reads_as_empty_and_says_what_to_set() -> None:
    app = Flask("shop")
    Sojourn(app, store=Store())

    @app.get("/")
    def index() -> str:
        return str(session.get("n", "none"))

    assert app.test_client().get("/").text == "none"
    with app.test_request_context():
        assert isinstance(kept(), NullSession)
        for write in (lambda: session.update(n=1), session.clear, lambda: session.pop("n", None)):
            with pytest.raises(RuntimeError, match=r"no secret key was set; set app\.secret_key"):
                write()


# flask contract 3
def test_a_path_without_sessions_says_so_and_not_that_the_secret_is_missing() -> None:
    app = make(exclude=("/static",))

    @app.get("/static/<name>")
    def static_file(name: str) -> str:
        with pytest.raises(RuntimeError, match="this path has none"):
            session["n"] = 1
        return f"{name} {len(session)}"

    answer = app.test_client().get("/static/style.css")
    assert answer.text == "style.css 0"
    assert "Vary" not in answer.headers


def test_a_secret_that_is_set_later_will_do() -> None:
    app = Flask("shop")
    Sojourn(app, store=MemoryStore())
    app.secret_key = SECRET

    @app.get("/")
    def index() -> str:
        session["n"] = 1
        return ""

    assert set_cookie(app.test_client().get("/"))


# flask contract 5
@pytest.mark.parametrize("path", ["/", "/missing", "/redirect", "/handled"])
def test_what_after_request_functions_put_in_is_saved_for_whatever_response(path: str) -> None:
    app = make()

    @app.after_request
    def note(response: flask.Response) -> flask.Response:
        session["status"] = response.status_code
        return response

    @app.get("/")
    def index() -> str:
        return ""

    @app.get("/redirect")
    def redirect() -> Any:
        return flask.redirect("/")

    @app.get("/handled")
    def handled() -> str:
        raise ZeroDivisionError

    @app.errorhandler(ZeroDivisionError)
    def explain(_error: ZeroDivisionError) -> tuple[str, int]:
        return "no", 500

    client = app.test_client()
    answer = client.get(path)
    with client.session_transaction() as saved:
        assert saved["status"] == answer.status_code


# flask contract 9
def test_what_an_application_overrides_is_asked_at_each_request() -> None:
    class ByPath(SessionInterface):
        def get_cookie_name(self, app: Flask) -> str:
            return "admin" if flask.request.path.startswith("/admin") else super().get_cookie_name(app)

        def get_cookie_samesite(self, app: Flask) -> str | None:
            return "Strict" if flask.request.path.startswith("/admin") else None

        def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime | None:
            return datetime(2100, 1, 1, tzinfo=UTC) if session.get("stays") else None

        def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
            return "sure" in session

    class Mine(Sojourn):
        interface_class = ByPath

    app = Flask("shop")
    app.secret_key = SECRET
    Mine(app, store=MemoryStore(), absolute_timeout=None)

    @app.get("/<path:_path>")
    def index(_path: str) -> str:
        session.update(flask.request.args)
        return ""

    client = app.test_client()
    assert set_cookie(client.get("/shop?a=1")).startswith("session=")
    admin = set_cookie(client.get("/admin/users?stays=1"))
    assert admin.startswith("admin=") and "SameSite=Strict" in admin
    assert "Expires=Thu, 31 Dec 2099" in admin or "Expires=Fri, 01 Jan 2100" in admin
    assert set_cookie(client.get("/admin/users")) == ""
    client.get("/admin/users?sure=1")
    assert set_cookie(client.get("/admin/users")).startswith("admin=")
    assert count_of(app) == 2


def test_of_many_names_of_cookies_no_more_than_a_few_configurations_are_kept() -> None:
    class ByTenant(SessionInterface):
        def get_cookie_name(self, app: Flask) -> str:
            return flask.request.args["tenant"]

    class Mine(Sojourn):
        interface_class = ByTenant

    app = Flask("shop")
    app.secret_key = SECRET
    Mine(app, store=MemoryStore())

    @app.get("/")
    def index() -> str:
        session["n"] = session.get("n", 0) + 1
        session.permanent = True
        return str(session["n"])

    client = app.test_client()
    for round_ in ("1", "2"):
        for tenant in range(70):
            assert client.get(f"/?tenant=t{tenant}").text == round_
    assert len(app.extensions["sojourn"]._doors) <= 64


# flask contract 10, 13
def test_it_is_our_session_and_a_session_of_flasks() -> None:
    app = make()

    @app.get("/")
    def index() -> dict[str, Any]:
        found = reached()
        assert {Session, SessionMixin} <= set(type(found).__mro__)
        new = session.new
        session["n"] = 1
        session.permanent = True
        return {"new": new, "permanent": session["_permanent"], "id": session.sid == session.id}

    client = app.test_client()
    assert client.get("/").json == {"new": True, "permanent": True, "id": True}
    assert client.get("/").json == {"new": False, "permanent": True, "id": True}


@pytest.mark.parametrize("name", ["user", "new", "sid", "id", "parmanent"])
def test_an_attribute_that_it_does_not_have_is_an_error_that_says_what_to_write(name: str) -> None:
    with make().test_request_context(), pytest.raises(AttributeError, match=f"{name}"):
        setattr(session, name, "ann")


# flask contract 11, 12, 14
def test_reading_accesses_writing_modifies_and_the_flags_stay() -> None:
    app = make()

    @app.get("/<what>")
    def act(what: str) -> str:
        match what:
            case "reach":
                reached()
            case "write":
                session["cart"] = []
            case "read":
                assert session["cart"] is not None
            case "same":
                session["cart"] = list(session["cart"])
            case "nested":
                session["cart"].append(1)
            case _:
                assert what == "nothing"
        return ""

    with app.test_client() as client:
        seen = {}
        for what in ("nothing", "reach", "write", "nothing", "read", "same", "nested", "nothing"):
            answer = client.get(f"/{what}")
            seen[what] = kept().accessed, kept().modified, answer.headers.get("Vary")
    assert seen == {
        "nothing": (False, False, None),
        # before 3.1.3 the session itself noted who read it
        "reach": (True, False, "Cookie") if FLASK >= (3, 1, 3) else (False, False, None),
        "read": (True, False, "Cookie"),
        "write": (True, True, "Cookie"),
        "same": (True, True, "Cookie"),
        "nested": (True, True, "Cookie"),
    }


# flask contract 11
def test_who_holds_the_object_may_look_and_say_so() -> None:
    app = make()

    @app.get("/")
    def index() -> str:
        held = kept()
        assert not held.accessed
        held.get("n")
        assert held.accessed
        held.accessed = True
        assert not held.modified
        return ""

    assert app.test_client().get("/").headers["Vary"] == "Cookie"


def test_modified_sees_what_is_nested_and_ends_before_they_are_saved() -> None:
    app = make()
    client = app.test_client()
    with client.session_transaction() as saved:
        saved["cart"] = []

    @app.get("/")
    def index() -> str:
        assert not session.modified
        session["cart"].append("tent")
        assert session.modified
        session["cart"].clear()
        assert not session.modified
        session.clear()
        assert session.modified
        return ""

    assert client.get("/").status_code == 200


def test_modified_set_to_true_begins_its_life_anew() -> None:
    store = Store()
    app = make(store, touch_after=3600)
    client = app.test_client()
    with client.session_transaction() as saved:
        saved["n"] = 1
    store.asked.clear()

    @app.get("/<flag>")
    def index(flag: str) -> str:
        session.modified = flag == "true"
        return ""

    client.get("/false")
    assert store.asked == ["load"]
    client.get("/true")
    assert store.asked == ["load", "load", "touch"]
    app.test_client().get("/true")  # a visitor that has no session gets none
    assert count_of(app) == 1


class Lazy:
    """Text that is worked out when it is needed, as Flask-Babel's."""

    def __str__(self) -> str:
        return "Hallo <b>"

    def __eq__(self, other: object) -> bool:
        return str(self) == other

    __hash__ = None  # type: ignore[assignment]

    def __html__(self) -> str:
        return str(self)


class Link:
    """What knows its own HTML."""

    def __html__(self) -> str:
        return "<a>"


class Tagged(tuple[int, ...]):
    __slots__ = ()


# flask contract 15
@pytest.mark.parametrize(
    ("value", "back"),
    [
        ((1, (2,)), (1, (2,))),
        (b"\xff", b"\xff"),
        (Markup("<b>"), Markup("<b>")),
        ([Markup("<b>")], [Markup("<b>")]),
        (UUID(int=7), UUID(int=7)),
        (datetime(2026, 11, 29, 12, tzinfo=UTC), datetime(2026, 11, 29, 12, tzinfo=UTC)),
        (date(2026, 11, 29), date(2026, 11, 29)),
        ({" t": "no tuple"}, {" t": "no tuple"}),
        ({" di": "no dict"}, {" di": "no dict"}),
        ({"$markup": "no Markup"}, {"$markup": "no Markup"}),
        (Link(), Markup("<a>")),
        (Lazy(), "Hallo <b>"),
        ({1: 2}, {"1": 2}),
        (Tagged([1]), (1,)),
    ],
)
def test_what_flasks_serializer_holds_comes_back(value: object, back: object) -> None:
    client = make().test_client()
    with client.session_transaction() as saved:
        saved["value"] = value
    with client.session_transaction() as saved:
        found = saved["value"]
    assert found == back
    assert type(found) is type(back)


def test_a_dataclass_is_kept_as_a_dict_and_what_has_no_form_is_refused_by_its_path() -> None:
    from dataclasses import dataclass

    from sojourn import SessionEncodeError

    @dataclass
    class Item:
        name: str

    client = make().test_client()
    with client.session_transaction() as saved:
        saved["cart"] = [Item("tent")]
    with client.session_transaction() as saved:
        assert saved["cart"] == [{"name": "tent"}]
    for value in (object(), Item, [object()]):
        with pytest.raises(SessionEncodeError, match="cart"), client.session_transaction() as saved:
            saved["cart"] = value


# flask contract 16
def test_a_session_that_is_only_permanent_is_false_and_no_record_is_kept_for_it() -> None:
    app = make()

    @app.before_request
    def make_permanent() -> None:
        session.permanent = True

    @app.get("/")
    def index() -> str:
        return str(bool(session))

    @app.get("/put")
    def put() -> str:
        session["n"] = 1
        return str(bool(session))

    client = app.test_client()
    answer = client.get("/")
    assert (answer.text, set_cookie(answer), count_of(app)) == ("False", "", 0)
    assert client.get("/put").text == "True"
    assert client.get("/").text == "True"
    assert count_of(app) == 1


# flask contract 17
def test_a_copied_context_shares_the_session() -> None:
    app = make()

    @app.get("/")
    def index() -> str:
        session["n"] = 1

        @flask.copy_current_request_context
        def work() -> None:
            session["n"] += 1

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return str(session["n"])

    client = app.test_client()
    assert client.get("/").text == "2"
    with client.session_transaction() as saved:
        assert saved["n"] == 2


# flask contract 17
def test_what_a_copied_context_changes_after_the_response_is_lost() -> None:
    app = make()
    works: list[Any] = []

    @app.get("/")
    def index() -> str:
        session["n"] = 1

        @flask.copy_current_request_context
        def work() -> None:
            session["n"] = 2

        works.append(work)
        return ""

    client = app.test_client()
    client.get("/")
    works[0]()
    with client.session_transaction() as saved:
        assert saved["n"] == 1


@pytest.mark.parametrize("end", ["destroy", "logout", "invalidate", "clear"])
def test_after_an_end_the_session_is_empty_and_can_be_looked_at(end: str) -> None:
    app = make()
    client = app.test_client()
    with client.session_transaction() as saved:
        saved["n"] = 1

    @app.after_request
    def look(response: flask.Response) -> flask.Response:
        assert "_remember" not in session
        return response

    @app.get("/end")
    def index() -> str:
        getattr(session, end)()
        return str(len(session))

    answer = client.get("/end")
    assert (answer.status_code, answer.text, count_of(app)) == (200, "0", 0)
    assert "Expires=Thu, 01 Jan 1970" in set_cookie(answer)


def test_a_request_that_does_not_look_at_its_session_asks_the_store_once_or_lazily_never() -> None:
    for lazy, asked in ((False, ["load"]), (True, [])):
        store = Store()
        app = make(store, lazy=lazy)
        app.get("/")(lambda: "")
        client = app.test_client()
        with client.session_transaction() as saved:
            saved["n"] = 1
        store.asked.clear()
        client.get("/")
        assert store.asked == asked


def test_the_express_profile_goes_through_this_door() -> None:
    store = MemoryStore()
    app = Flask("shop")
    Sojourn(app, **express(secret="keyboard cat keyboard cat keyboard", store=store))

    @app.get("/")
    def index() -> str:
        session["views"] = session.get("views", 0) + 1
        session.permanent = bool(flask.request.args)
        flask.flash(Markup("<b>"))
        return str(session["views"])

    client = app.test_client()
    answer = client.get("/")
    assert set_cookie(answer).startswith("connect.sid=s%3A")
    assert "Max-Age" not in set_cookie(answer)
    assert client.get("/").text == "2"
    assert "Expires" in set_cookie(client.get("/?stay"))
    [(_, stored)] = store.scan()
    assert b'"_flashes":[["message","<b>"]' in stored.data
    assert stored.data.startswith(b'{"cookie":{"originalMaxAge":2678400000')


# flask contract 45
def test_one_extension_serves_several_applications_each_with_its_own_configuration() -> None:
    sessions = Sojourn(store="memory://")

    def create_app(name: str) -> Flask:
        app = Flask(name)
        app.config.from_mapping(SECRET_KEY=SECRET, SESSION_COOKIE_NAME=name)
        sessions.init_app(app)

        @app.get("/")
        def index() -> str:
            session["n"] = session.get("n", 0) + 1
            return str(session["n"])

        return app

    shop, blog = create_app("shop"), create_app("blog")
    for app in (shop, blog, shop):
        client = app.test_client()
        assert client.get("/").text == "1"
        assert client.get("/").text == "2"
        assert client.get_cookie(app.name) is not None
    assert shop.extensions["sojourn"] is not blog.extensions["sojourn"]
    assert store_of(shop) is store_of(blog)


def test_an_application_is_given_its_sessions_once() -> None:
    app = make()
    with pytest.raises(ConfigurationError, match="sessions from Sojourn already"):
        Sojourn(app, store=MemoryStore())


def test_wrong_options_are_refused_when_the_extension_or_the_application_is_made() -> None:
    with pytest.raises(ConfigurationError, match="unknown option"):
        Sojourn(stroe="memory://")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="scheme"):
        make("cloud://")


def test_with_a_middleware_around_it_there_is_one_session(caplog: pytest.LogCaptureFixture) -> None:
    app = make()

    @app.get("/")
    def index() -> str:
        session["n"] = session.get("n", 0) + 1
        assert session["n"] == flask.request.environ["sojourn.session"]["n"]
        return str(session["n"])

    app.wsgi_app = SessionMiddleware(app.wsgi_app, secret=SECRET, store=MemoryStore(), cookie=Cookie())  # type: ignore[method-assign]
    client = app.test_client()
    answer = client.get("/")
    assert set_cookie(answer).startswith("sid=")
    assert len(answer.headers.getlist("Set-Cookie")) == 1
    assert client.get("/").text == "2"
    assert count_of(app) == 0


def test_without_a_store_sessions_are_kept_in_this_process_whatever_the_configuration_becomes() -> None:
    app = Flask("shop")
    app.secret_key = SECRET
    Sojourn(app)
    app.get("/")(lambda: str(session.increment("n")))
    assert isinstance(store_of(app), MemoryStore)
    client = app.test_client()
    assert client.get("/").text == "1"
    app.config["PERMANENT_SESSION_LIFETIME"] = 3600
    assert client.get("/").text == "2"


def test_lifetimes_that_differ_from_session_to_session_are_not_kept_for_ever() -> None:
    class ByName(SessionInterface):
        def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime | None:
            return datetime.now(UTC) + timedelta(hours=int(session["hours"]))

    class Mine(Sojourn):
        interface_class = ByName

    app = Flask("shop")
    app.secret_key = SECRET
    Mine(app, store=MemoryStore())

    @app.get("/<hours>")
    def index(hours: str) -> str:
        session["hours"] = hours
        return ""

    client = app.test_client()
    for hours in range(1, 100):
        assert f"Max-Age={hours * 3600};" in set_cookie(client.get(f"/{hours}"))
    assert len(app.extensions["sojourn"].door(app)._lasting) <= 64


def test_a_debug_page_shows_no_id_and_no_data_of_an_exchange() -> None:
    client = make().test_client()
    with client.session_transaction() as saved:
        assert isinstance(saved, FlaskSession)
        saved["secret"] = "of the visitor"
        shown = repr(saved.exchange)
        assert shown == "<FlaskExchange of <FlaskSession new>>"
        assert saved.exchange is not None
        assert repr(saved.exchange.state) == "<State new, unchanged>"
