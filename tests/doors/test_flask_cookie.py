"""The cookie as Flask's configuration has it, lifetimes, and Flask-Session's names."""

from __future__ import annotations

import re
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask

from sojourn import Cookie, SojournWarning
from sojourn.codecs import PlainCodec
from sojourn.errors import ConfigurationError
from sojourn.flask import Sojourn, session
from sojourn.stores import MemoryStore, MongoStore, RedisStore, SQLiteStore
from sojourn.testing import ManualClock
from sojourn.transports import HeaderTransport, QueryTransport
from tests.doors.flask_apps import SECRET, count_of, make, saved_of, set_cookie, store_of

DAY = 86_400_000


def counting(config: dict[str, Any] | None = None, **options: Any) -> Flask:
    app = make(config=config, **options)

    @app.get("/")
    def index() -> str:
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    @app.get("/stay/<int:stays>")
    def stay(stays: int) -> str:
        session.permanent = bool(stays)
        return str(session.setdefault("n", 0))

    @app.get("/read")
    def read() -> str:
        return str(session.get("n"))

    @app.get("/pop/<key>")
    def pop(key: str) -> str:
        return str(session.pop(key, None))

    @app.get("/nothing")
    def nothing() -> str:
        return ""

    return app


def attributes(response: Any) -> set[str]:
    """The attributes of the cookie that a response sends, without dates."""
    parts = {
        part.partition("=")[0] if part[:4] in ("Expi", "Max-") else part
        for part in set_cookie(response).split("; ")[1:]
    }
    return parts - {""}


# flask contract 18, 20
def test_by_default_it_is_flasks_with_samesite_and_secure_over_https() -> None:
    client = counting().test_client()
    over_http = client.get("/")
    assert set_cookie(over_http).startswith("session=")
    assert attributes(over_http) == {"Path=/", "HttpOnly", "SameSite=Lax"}
    over_https = client.get("/", base_url="https://shop.test")
    assert set_cookie(over_https).startswith("__Host-session=")
    assert attributes(over_https) == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}


# flask contract 18, 19
@pytest.mark.parametrize(
    ("config", "url", "name", "wanted"),
    [
        ({"SESSION_COOKIE_NAME": "mine"}, "http://shop.test", "mine", set()),
        ({"SESSION_COOKIE_DOMAIN": "shop.test"}, "http://shop.test", "session", {"Domain=shop.test"}),
        ({"SESSION_COOKIE_DOMAIN": ".shop.test"}, "http://shop.test", "session", {"Domain=shop.test"}),
        ({"SESSION_COOKIE_DOMAIN": False}, "http://shop.test", "session", set()),
        ({"SESSION_COOKIE_HTTPONLY": False}, "http://shop.test", "session", {"-HttpOnly"}),
        ({"SESSION_COOKIE_SECURE": True}, "https://shop.test", "__Host-session", {"Secure"}),
        ({"SESSION_COOKIE_SECURE": True}, "http://behind-a-proxy.test", "__Host-session", {"Secure"}),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, "http://shop.test", "session", {"-SameSite=Lax", "SameSite=Strict"}),
        (
            {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True},
            "https://shop.test",
            "__Host-session",
            {"Secure", "-SameSite=Lax", "SameSite=None"},
        ),
        ({"SESSION_COOKIE_SAMESITE": "None"}, "http://shop.test", "session", set()),
        (
            {"SESSION_COOKIE_SAMESITE": "None"},
            "https://shop.test",
            "__Host-session",
            {"Secure", "-SameSite=Lax", "SameSite=None"},
        ),
        ({"SESSION_COOKIE_PARTITIONED": True}, "https://shop.test", "__Host-session", {"Secure", "Partitioned"}),
        ({"APPLICATION_ROOT": "/shop"}, "http://shop.test/shop", "session", {"-Path=/", "Path=/shop"}),
        ({"APPLICATION_ROOT": "/shop", "SESSION_COOKIE_PATH": "/"}, "http://shop.test/shop", "session", set()),
    ],
)
def test_flasks_names_say_what_the_cookie_is_and_what_deletes_it(
    config: dict[str, Any], url: str, name: str, wanted: set[str]
) -> None:
    client = counting(config).test_client()
    usual = {"Path=/", "HttpOnly", "SameSite=Lax"} - {one[1:] for one in wanted if one.startswith("-")}
    expected = usual | {one for one in wanted if not one.startswith("-")}
    answer = client.get("/", base_url=url)
    assert set_cookie(answer).startswith(f"{name}=")
    assert attributes(answer) == expected
    deleted = client.get("/pop/n", base_url=url)
    assert set_cookie(deleted).startswith(f"{name}=;")
    assert attributes(deleted) - {"Expires", "Max-Age"} == expected


# flask contract 19
def test_a_samesite_that_is_none_is_refused_when_the_application_is_made_or_at_its_next_request() -> None:
    with pytest.raises(ConfigurationError, match="samesite"):
        counting({"SESSION_COOKIE_SAMESITE": "invalid"})
    app = counting({"TESTING": True})
    app.config["SESSION_COOKIE_SAMESITE"] = "invalid"
    with pytest.raises(ValueError, match="samesite"):
        app.test_client().get("/")


def test_the_configuration_may_change_between_requests() -> None:
    app = counting()
    client = app.test_client()
    client.get("/")
    app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
    assert client.get("/").text == "2"
    assert "SameSite=Strict" in set_cookie(app.test_client().get("/"))


# flask contract 20, 21
@pytest.mark.parametrize(("refresh", "stays"), [(True, 1), (True, 0), (False, 1), (False, 0)])
def test_a_permanent_session_is_sent_again_where_that_is_configured(*, refresh: bool, stays: int) -> None:
    client = counting({"SESSION_REFRESH_EACH_REQUEST": refresh}).test_client()
    client.get("/")
    answer = client.get(f"/stay/{stays}")
    assert ("Expires" in attributes(answer)) is bool(stays)
    for path in ("/read", "/nothing"):
        answer = client.get(path)
        assert bool(set_cookie(answer)) is (refresh and bool(stays))
        assert (answer.headers.get("Vary") == "Cookie") is (path == "/read" or bool(set_cookie(answer)))


# flask contract 21
def test_to_say_again_that_a_session_is_permanent_changes_nothing() -> None:
    app = counting({"SESSION_REFRESH_EACH_REQUEST": False})
    app.before_request(lambda: setattr(session, "permanent", True))
    client = app.test_client()
    assert "Expires" in attributes(client.get("/"))
    assert not set_cookie(client.get("/read"))
    assert "Expires" in attributes(client.get("/"))


# flask contract 20
def test_a_session_that_is_permanent_no_more_is_sent_as_one() -> None:
    client = counting({"SESSION_REFRESH_EACH_REQUEST": False}).test_client()
    client.get("/stay/1")
    answer = client.get("/stay/0")
    assert set_cookie(answer)
    assert "Expires" not in attributes(answer)
    assert not set_cookie(client.get("/read"))


# flask contract 22
def test_a_session_that_was_emptied_is_deleted_with_its_cookie() -> None:
    app = counting()
    client = app.test_client()
    assert not set_cookie(client.get("/pop/n"))
    client.get("/stay/1")
    assert count_of(app) == 1
    assert "Expires=Thu, 01 Jan 1970" in set_cookie(client.get("/pop/n"))
    assert count_of(app) == 0
    assert client.get_cookie("session") is None


# flask contract 16
def test_a_login_that_is_only_permanent_is_kept_and_permanent() -> None:
    app = counting()

    @app.get("/login")
    def login() -> str:
        session.login("ann")
        session.permanent = True
        return ""

    client = app.test_client()
    assert "Expires" in attributes(client.get("/login"))
    with saved_of(client) as saved:
        assert saved.owner == "ann" and saved.permanent


# flask contract 22
def test_a_session_of_somebody_or_of_which_only_messages_were_taken_is_not() -> None:
    app = counting()
    client = app.test_client()
    with saved_of(client) as saved:
        saved.login("ann")
        saved["n"] = 1
    assert not set_cookie(client.get("/pop/n"))
    with saved_of(client) as saved:
        assert saved.owner == "ann"
    visitor = app.test_client()
    with visitor.session_transaction() as saved:
        saved["_flashes"] = [("message", "Saved.")]
    visitor.get("/pop/_flashes")
    assert visitor.get_cookie("session") is not None
    assert count_of(app) == 2


# flask contract 23, 24
def test_vary_is_one_line_and_the_cookie_is_not_to_be_cached() -> None:
    app = counting()

    @app.get("/varies")
    def varies() -> flask.Response:
        response = flask.Response(headers={"Cache-Control": "private"})
        response.vary.update(("Accept-Encoding", "Accept-Language"))
        session["n"] = 1
        return response

    client = app.test_client()
    answer = client.get("/varies")
    assert answer.headers.getlist("Vary") == ["Accept-Encoding, Accept-Language, Cookie"]
    assert answer.headers.getlist("Cache-Control") == ["private"]
    assert app.test_client().get("/").headers["Cache-Control"] == "no-store"
    assert "Vary" not in client.get("/nothing").headers
    assert client.get("/missing").headers.getlist("Vary") == []


# flask contract 25
def test_the_fallbacks_verify_and_the_secret_signs_anew() -> None:
    app = counting()
    client = app.test_client()
    client.get("/")
    old = client.get_cookie("session")
    app.secret_key = SECRET + " (another)"
    assert client.get("/read").text == "None"
    app.config["SECRET_KEY_FALLBACKS"] = [SECRET]
    answer = client.get("/read")
    assert answer.text == "1"
    assert set_cookie(answer)
    new = client.get_cookie("session")
    assert old is not None and new is not None and old.value != new.value


def test_a_secret_that_is_given_signs_in_the_place_of_the_applications() -> None:
    app = Flask("shop")
    Sojourn(app, secret=[SECRET], store=MemoryStore())
    app.get("/")(lambda: session.setdefault("n", "1"))
    assert set_cookie(app.test_client().get("/"))


# flask contract 25, 26
def test_the_record_expires_on_the_server_idle_for_the_lifetime_and_at_last_in_any_case() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    app = counting({"PERMANENT_SESSION_LIFETIME": timedelta(days=10)}, store=store, clock=clock)
    client = app.test_client()
    for path, kept in (("/", "1"), ("/stay/1", "0")):
        client.get(path)
        clock.advance(10 * DAY - 1)
        assert client.get("/read").text == kept
        clock.advance(10 * DAY)
        assert client.get("/read").text == "None"
    client.get("/")
    for _ in range(40):
        clock.advance(9 * DAY)
        assert client.get("/read").text == "1"
    clock.advance(9 * DAY)
    assert client.get("/read").text == "None"


def test_what_is_given_as_an_option_goes_before_the_configuration() -> None:
    clock = ManualClock()
    app = counting(
        {"PERMANENT_SESSION_LIFETIME": timedelta(days=10)},
        store=MemoryStore(clock=clock),
        clock=clock,
        name="mine",
        cookie=Cookie(samesite="strict", max_age=3600),
        absolute_timeout=timedelta(days=2),
    )
    client = app.test_client()
    answer = client.get("/")
    assert set_cookie(answer).startswith("mine=") and "Max-Age=3600" in set_cookie(answer)
    assert "Max-Age=172800" in set_cookie(client.get("/stay/1"))  # no longer than it lives
    assert "SameSite=Strict" in set_cookie(client.get("/read"))


def test_a_cookie_that_the_session_changed_itself_stays_so_when_it_becomes_permanent() -> None:
    app = counting()

    @app.get("/strict")
    def strict() -> str:
        session["n"] = 1
        session.permanent = True
        session.cookie.samesite = "strict"
        return ""

    client = app.test_client()
    assert attributes(client.get("/strict")) >= {"Expires", "SameSite=Strict"}
    assert attributes(client.get("/read")) >= {"Expires", "SameSite=Strict"}


def test_a_session_that_nobody_looks_at_is_not_touched_before_that_is_due() -> None:
    from tests.doors.flask_apps import Store

    for refresh in (True, False):
        clock = ManualClock()
        store = Store(clock=clock)
        app = counting({"SESSION_REFRESH_EACH_REQUEST": refresh}, store=store, clock=clock)
        client = app.test_client()
        client.get("/stay/1")
        store.asked.clear()
        client.get("/nothing")
        client.get("/read")
        assert store.asked == ["load", "load"]
        clock.advance(2 * DAY)
        client.get("/nothing")
        assert store.asked == ["load", "load", "load", "touch"]


def test_an_id_may_come_by_a_header_or_by_the_query_which_then_goes_no_further() -> None:
    app = counting(transports=[HeaderTransport(name="X-Session"), QueryTransport(name="sid")])
    app.get("/args")(lambda: f"{session['n']} {flask.request.args.to_dict()}")
    client = app.test_client(use_cookies=False)
    token = client.get("/").headers["X-Session"]
    assert client.get("/", headers={"X-Session": token}).text == "2"
    assert client.get(f"/args?a=b&sid={token}").text == "2 {'a': 'b'}"


# flask contract 46
def test_flask_sessions_defaults_for_permanence_come_with_its_names(tmp_path: Path) -> None:
    config = {"SESSION_TYPE": "filesystem", "SESSION_FILE_DIR": str(tmp_path / "sessions")}
    for more, lasting in (({}, True), ({"SESSION_PERMANENT": False}, False), ({"SESSION_PERMANENT": True}, True)):
        app = make_plain({**config, **more})
        client = app.test_client()
        answer = client.get("/")
        assert ("Expires" in attributes(answer)) is lasting
        assert ("Expires" in attributes(client.get("/stay/0"))) is False
        assert isinstance(store_of(app), SQLiteStore)
        assert (tmp_path / "sessions" / "sessions.db").exists()


def make_plain(config: dict[str, Any]) -> Flask:
    """An application that is configured by its configuration alone."""
    app = Flask("shop")
    app.config.update(config, SECRET_KEY=SECRET)
    Sojourn(app)

    @app.get("/")
    def index() -> str:
        session["n"] = 1
        return ""

    @app.get("/stay/<int:stays>")
    def stay(stays: int) -> str:
        session.permanent = bool(stays)
        return ""

    return app


class Engine:
    """As SQLAlchemy's."""

    class url:  # noqa: N801
        @staticmethod
        def render_as_string(*, hide_password: bool) -> str:
            return f"postgresql+psycopg://ann:{'***' if hide_password else 'secret'}@db/shop"


class Extension:
    """As Flask-SQLAlchemy's."""

    engine = Engine


# flask contract 46
def test_flask_sessions_names_describe_a_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pymongo
    import redis

    from sojourn.flask import config as module

    def store(**names: Any) -> Any:
        app = Flask("shop", instance_path=str(tmp_path))
        for name, value in names.items():
            app.config[name if name == "SQLALCHEMY_DATABASE_URI" else f"SESSION_{name}"] = value
        return module._store(app, "")

    client = redis.Redis()
    named = store(TYPE="redis", REDIS=client)
    assert isinstance(named, RedisStore) and named.prefix == "session:"
    assert store(TYPE="redis", REDIS=client, KEY_PREFIX="mine:").prefix == "mine:"
    assert store(TYPE="redis") == "redis://localhost:6379?prefix=session:"
    mongo: pymongo.MongoClient[Any] = pymongo.MongoClient(connect=False)
    assert isinstance(store(TYPE="mongodb", MONGODB=mongo), MongoStore)
    mongo.close()
    assert store(TYPE="mongodb", MONGODB_COLLECT="mine") == "mongodb://localhost:27017/flask_session?collection=mine"
    wanted = "postgresql://ann:secret@db/shop"
    assert store(TYPE="sqlalchemy", SQLALCHEMY=Engine) == wanted
    assert store(TYPE="sqlalchemy", SQLALCHEMY=Extension) == wanted
    relative, absolute = ("sqlite:///kept/shop.db", f"sqlite:///{tmp_path}/shop.db")
    assert store(TYPE="sqlalchemy", SQLALCHEMY_DATABASE_URI=relative) == f"sqlite:///{tmp_path}/kept/shop.db"
    assert store(TYPE="sqlalchemy", SQLALCHEMY_DATABASE_URI=absolute) == absolute
    for names in ({"TYPE": "sqlalchemy"}, {"TYPE": "memcached"}, {"TYPE": "dynamodb"}, {"TYPE": "null"}):
        with pytest.raises(ConfigurationError, match="give the option store"):
            store(**names)


def test_flask_sqlalchemys_database_is_taken_before_there_is_a_context(tmp_path: Path) -> None:
    from flask_sqlalchemy import SQLAlchemy

    app = Flask("shop", instance_path=str(tmp_path))
    database = SQLAlchemy()
    app.config.update(SECRET_KEY=SECRET, SESSION_TYPE="sqlalchemy", SESSION_SQLALCHEMY=database)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///shop.db"
    database.init_app(app)
    Sojourn(app)
    assert app.extensions["sojourn"].store.path == str(tmp_path / "shop.db")


def warned(config: dict[str, Any], **options: Any) -> dict[str, str]:
    """What is said of the names in a configuration."""
    app = Flask("shop")
    app.config.update(config, SECRET_KEY=SECRET)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Sojourn(app, **{"store": "memory://", **options})
    found = [re.fullmatch(r"(\w+) has no effect: (.+)", str(warning.message)) for warning in caught]
    assert all(warning.category is SojournWarning and warning.filename == __file__ for warning in caught)
    told = {match[1]: match[2] for match in found if match is not None}
    assert len(told) == len(caught)
    return told


# flask contract 46
def test_there_is_one_warning_for_each_name_that_has_no_effect() -> None:
    names = {
        "SESSION_TYPE": "redis",
        "SESSION_REDIS": object(),
        "SESSION_KEY_PREFIX": "s:",
        "SESSION_USE_SIGNER": True,
        "SESSION_ID_LENGTH": 64,
        "SESSION_SERIALIZATION_FORMAT": "json",
        "SESSION_CLEANUP_N_REQUESTS": 100,
        "SESSION_SQLALCHEMY_TABLE": "sessions",
        "SESSION_MONGODB_DB": "shop",
        "SESSION_FILE_DIR": "/tmp/sessions",
    }
    assert set(warned(names)) == set(names)
    assert warned({"SESSION_PERMANENT": False, "SESSION_COOKIE_NAME": "mine", "PERMANENT_SESSION_LIFETIME": 60}) == {}


# flask contract 46
def test_a_name_that_an_option_takes_the_place_of_has_no_effect() -> None:
    changed = {"SESSION_COOKIE_NAME": "mine", "SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_DOMAIN": None}
    assert set(warned(changed, name="other")) == {"SESSION_COOKIE_NAME"}
    assert set(warned(changed, cookie=Cookie())) == {"SESSION_COOKIE_SECURE"}


def test_a_codec_that_is_given_is_beneath(tmp_path: Path) -> None:
    from markupsafe import Markup

    from sojourn import EncryptedCodec
    from sojourn.flask import flask_codec

    for codec, back in ((PlainCodec(), [1]), (EncryptedCodec(b"k" * 32, codec=flask_codec()), (1,))):
        client = make(codec=codec).test_client()
        with client.session_transaction() as saved:
            saved["pair"], saved["text"] = (1,), Markup("<b>")
        with client.session_transaction() as saved:
            assert saved["pair"] == back
            assert isinstance(saved["text"], Markup) is (back == (1,))


# flask contract 48
def test_an_unknown_id_is_not_adopted_and_a_cleared_session_does_not_come_back() -> None:
    app = counting()
    client = app.test_client()

    @app.get("/slow")
    def slow_view() -> str:
        session["n"] = 10
        client.get("/pop/n")  # meanwhile
        return ""

    client.get("/")
    cookie = client.get_cookie("session")
    assert cookie is not None
    slow = app.test_client()
    slow.set_cookie("session", cookie.value)
    slow.get("/slow")
    assert count_of(app) == 0
    answer = slow.get("/")
    assert answer.text == "1"
    assert cookie.value not in set_cookie(answer)
    forged = app.test_client()
    forged.set_cookie("session", "forged")
    forged.get("/")
    found = forged.get_cookie("session")
    assert found is not None and found.value != "forged"


# flask contract 48
def test_parallel_changes_of_different_keys_are_all_kept() -> None:
    app = counting()
    client = app.test_client()

    @app.get("/outer")
    def outer() -> str:
        session["outer"] = 1
        other = app.test_client()
        cookie = client.get_cookie("session")
        assert cookie is not None
        other.set_cookie("session", cookie.value)
        other.get("/")
        return ""

    client.get("/")
    client.get("/outer")
    with client.session_transaction() as saved:
        assert dict(saved) == {"n": 2, "outer": 1}


# flask contract 47
def test_the_cookie_of_flask_session_is_not_taken_for_ours() -> None:
    client = counting().test_client()
    client.set_cookie("session", "Gw8qZ0Xo3cW1qvG0fEJ2wG4zM3hAqSYmWwKuJ1ZsmhU")
    answer = client.get("/")
    assert answer.text == "1"
    assert set_cookie(answer)


# flask contract 48
def test_a_session_is_regenerated_as_flask_session_has_it() -> None:
    app = counting()

    @app.get("/again")
    def again() -> str:
        app.extensions["sojourn"].regenerate(session)
        return ""

    client = app.test_client()
    client.get("/")
    before = client.get_cookie("session")
    client.get("/again")
    after = client.get_cookie("session")
    assert before is not None and after is not None and before.value != after.value
    assert client.get("/").text == "2"
