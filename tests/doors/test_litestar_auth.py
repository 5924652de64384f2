"""The door of Litestar beside Litestar's own parts, against docs/frameworks/litestar-contract.md: guards, SessionAuth, flash messages, OpenAPI."""

import warnings
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import anyio
import pytest
from litestar import Litestar, Request, WebSocket, get, post, route, websocket
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException, NotAuthorizedException, WebSocketDisconnect
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins.flash import FlashConfig, FlashPlugin, flash
from litestar.response import Redirect, Template
from litestar.security.session_auth import SessionAuth
from litestar.template import TemplateConfig
from litestar.types import Empty

from sojourn import ConfigurationError, Cookie
from sojourn.litestar import (
    FreshLogin,
    LitestarSession,
    SessionDep,
    SojournConfig,
    SojournPlugin,
    logged_in,
    next_page,
    session_of,
)
from sojourn.testing import ManualClock
from sojourn.testing.litestar import log_in, read_session, write_session
from tests.doors.litestar_apps import QUIET, SECRET, Store, app_of, client_of, cookies_of, plugin_of

try:
    from litestar.plugins.jinja import JinjaTemplateEngine
except ImportError:  # before 2.22
    from litestar.contrib.jinja import JinjaTemplateEngine  # type: ignore[assignment,unused-ignore]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("sojourn.logs._said", set())
    return Store()


@get("/cart")
async def cart(session: SessionDep) -> dict[str, Any]:
    session.setdefault("cart", []).append("tent")
    return dict(session)


@get("/me", guards=[logged_in])
async def me(session: SessionDep) -> str | None:
    return session.owner


# litestar contract 25
def test_a_guard_lets_those_in_who_are_logged_in_and_leaves_the_others_their_session(store: Store) -> None:
    with client_of(app_of(plugin_of(store), me, cart)) as client:
        client.get("/cart")
        refused = client.get("/me")
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "APIKey"
        assert refused.json()["detail"] == "not logged in" and read_session(client) == {"cart": ["tent"]}
        log_in(client, "ann")
        assert client.get("/me").text == "ann" and read_session(client) == {"cart": ["tent"]}


# litestar contract 25
def test_a_guard_refuses_a_websocket(store: Store) -> None:
    @websocket("/ws", guards=[logged_in])
    async def socket(socket: WebSocket[Any, Any, Any], session: SessionDep) -> None:
        await socket.accept()
        await socket.send_text(str(session.owner))
        await socket.close()

    with client_of(app_of(plugin_of(store), socket)) as client:
        with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws"):
            pass
        assert caught.value.code == 4401
        log_in(client, "ann")
        with client.websocket_connect("/ws") as peer:
            assert peer.receive_text() == "ann"


# litestar contract 25
def test_with_lazy_sessions_a_guard_loads_the_session_and_where_that_fails_it_is_our_503(store: Store) -> None:
    with client_of(app_of(plugin_of(store, lazy=True), me)) as client:
        log_in(client, "ann")
        assert client.get("/me").text == "ann"
        store.down = True
        refused = client.get("/me")
        assert refused.status_code == 503 and refused.headers["retry-after"]


USERS = {"ann": "Ann", "bob": "Bob"}


async def user_of(session: dict[str, Any], _connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    return USERS.get(session.get("user", ""))


@get("/login", exclude_from_auth=True)
async def login(request: Request[Any, Any, Any]) -> None:
    request.set_session({**request.session, "user": request.query_params["name"]})


@get("/user")
async def user(request: Request[Any, Any, Any]) -> str:
    return str(request.user)


@get("/anonymous", exclude_from_auth=True)
async def anonymous(request: Request[Any, Any, Any]) -> dict[str, Any]:
    request.session.setdefault("cart", []).append("tent")
    return dict(request.session)


@get("/logout")
async def logout(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


@get("/leave", exclude_from_auth=True)
async def leave(request: Request[Any, Any, Any]) -> None:
    request.set_session(Empty)


@get("/empty")
async def empty(request: Request[Any, Any, Any]) -> None:
    request.set_session(Empty)


HANDLERS = (login, user, anonymous, logout, leave, empty)


def with_auth(store: Any, *, plugin: bool = True, **options: Any) -> Litestar:
    """An application with SessionAuth, and with the plugin or the configuration alone."""
    found = plugin_of(store, **options)
    auth = SessionAuth[str, Any](session_backend_config=found.config, retrieve_user_handler=user_of)
    plugins = [found] if plugin else []
    return Litestar([*HANDLERS], plugins=plugins, on_app_init=[auth.on_app_init], **QUIET)


@pytest.mark.parametrize("plugin", [True, False])
# litestar contract 28-30
def test_a_401_of_session_auth_leaves_an_anonymous_cart_alone(store: Store, plugin: bool) -> None:
    with client_of(with_auth(store, plugin=plugin)) as client:
        assert client.get("/user").status_code == 401, "without a session"
        assert store.writes == []
        client.get("/anonymous")
        before = dict(client.cookies)
        refused = client.get("/user")
        assert refused.status_code == 401 and not cookies_of(refused) and dict(client.cookies) == before
        assert anyio.run(store.count) == 1
        client.get("/login", params={"name": "ann"})
        assert dict(client.cookies) != before, "a login changes the id"
        assert client.get("/user").text == "Ann"


@pytest.mark.parametrize("lazy", [True, False])
# litestar contract 28, 30
def test_a_user_that_is_gone_is_refused_and_the_session_stays(store: Store, lazy: bool) -> None:
    with client_of(with_auth(store, lazy=lazy)) as client:
        write_session(client, {"user": "nobody"})
        refused = client.get("/user")
        assert refused.status_code == 401 and refused.json()["detail"] == "no user correlating to session found"
        assert read_session(client) == {"user": "nobody"}


@pytest.mark.parametrize("path", ["/logout", "/leave", "/empty"])
@pytest.mark.parametrize("plugin", [True, False])
# litestar contract 15, 30
def test_under_session_auth_a_logout_is_a_logout_however_it_is_written(store: Store, path: str, plugin: bool) -> None:
    with client_of(with_auth(store, plugin=plugin)) as client:
        client.get("/login", params={"name": "ann"})
        kept = dict(client.cookies)
        response = client.get(path)
        assert response.status_code == 200 and "Max-Age=0" in response.headers["set-cookie"]
        client.cookies.update(kept)
        assert client.get("/user").status_code == 401 and anyio.run(store.count) == 0


# litestar contract 30
def test_who_ends_the_session_while_looking_for_the_user_has_ended_it(store: Store) -> None:
    async def none(_session: Any, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        connection.clear_session()

    plugin = plugin_of(store)
    auth = SessionAuth[str, Any](session_backend_config=plugin.config, retrieve_user_handler=none)
    app = Litestar([*HANDLERS], plugins=[plugin], on_app_init=[auth.on_app_init], **QUIET)
    with client_of(app) as client:
        client.get("/anonymous")
        assert client.get("/user").status_code == 401 and anyio.run(store.count) == 0


# litestar contract 30
def test_a_handler_of_the_401_still_has_the_session_to_leave_a_message_in(store: Store) -> None:
    def to_login(request: Request[Any, Any, Any], _error: NotAuthorizedException) -> Redirect:
        session_of(request).flash("Please log in.")
        return Redirect("/anonymous")

    plugin = plugin_of(store)
    auth = SessionAuth[str, Any](session_backend_config=plugin.config, retrieve_user_handler=user_of)
    app = Litestar(
        [*HANDLERS],
        plugins=[plugin],
        on_app_init=[auth.on_app_init],
        exception_handlers={NotAuthorizedException: to_login},
        **QUIET,
    )
    with client_of(app) as client:
        client.get("/anonymous")
        client.get("/user")
        assert read_session(client)["_flashes"] == [["info", "Please log in."]]


# litestar contract 30
def test_a_websocket_that_session_auth_refuses_leaves_the_session_alone(store: Store) -> None:
    @websocket("/ws")
    async def socket(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(str(socket.user))
        await socket.close()

    plugin = plugin_of(store)
    auth = SessionAuth[str, Any](session_backend_config=plugin.config, retrieve_user_handler=user_of)
    app = Litestar([*HANDLERS, socket], plugins=[plugin], on_app_init=[auth.on_app_init], **QUIET)
    with client_of(app) as client:
        client.get("/anonymous")
        with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws"):
            pass
        assert caught.value.code == 4500 and read_session(client) == {"cart": ["tent"]}
        client.get("/login", params={"name": "ann"})
        with client.websocket_connect("/ws") as peer:
            assert peer.receive_text() == "Ann"


# litestar contract 28
def test_options_and_head_pass_session_auth(store: Store) -> None:
    @route("/both", http_method=["GET", "OPTIONS"])
    async def both() -> str:
        return "x"

    plugin = plugin_of(store)
    auth = SessionAuth[str, Any](session_backend_config=plugin.config, retrieve_user_handler=user_of)
    app = Litestar([both], plugins=[plugin], on_app_init=[auth.on_app_init], **QUIET)
    with client_of(app) as client:
        assert [client.request(method, "/both").status_code for method in ("GET", "OPTIONS")] == [401, 200]


# litestar contract 28
def test_with_a_store_that_is_down_session_auth_gives_our_503(store: Store) -> None:
    for lazy in (True, False):
        store.down = False
        with client_of(with_auth(store, lazy=lazy)) as client:
            log_in(client, "ann")
            store.down = True
            assert client.get("/user").status_code == 503


# litestar contract 29
def test_the_configuration_is_one_of_litestar_s_and_all_that_are_made_of_it_share_the_store(store: Store) -> None:
    config = SojournConfig(secret=SECRET, store=store, name="visit", cookie=Cookie(max_age=60, samesite="strict"))
    assert (config.key, config.max_age, config.path, config.domain) == ("__Host-visit", 60, "/", None)
    assert (config.secure, config.httponly, config.samesite, config.exclude) == (False, True, "strict", None)
    assert config.exclude_opt_key == "skip_session" and config.scopes == {"http", "websocket"}
    of_a_function = SojournConfig(secret=SECRET, store=store, cookie=lambda _request: Cookie())
    assert of_a_function.samesite == "lax"


# litestar contract 31
def test_an_exclude_of_session_auth_that_matches_everything_lets_everybody_in_with_their_sessions(store: Store) -> None:
    plugin = plugin_of(store)
    auth = SessionAuth[str, Any](session_backend_config=plugin.config, retrieve_user_handler=user_of, exclude=["/"])
    app = Litestar([anonymous], plugins=[plugin], on_app_init=[auth.on_app_init], **QUIET)
    with client_of(app) as client:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Litestar's, of the pattern, where it notices
            client.get("/anonymous")
        assert client.get("/anonymous").json() == {"cart": ["tent", "tent"]}


class Category(StrEnum):
    INFO = "info"


# litestar contract 32
def test_flash_messages_are_kept_until_a_template_shows_them(store: Store, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{% for m in get_flashes() %}[{{ m.category }}: {{ m.message }}]{% endfor %}")

    @post("/say")
    async def say(request: Request[Any, Any, Any]) -> Redirect:
        flash(request, "saved", category=Category.INFO)
        flash(request, "twice", category="error")
        return Redirect("/page")

    @get("/page")
    async def page() -> Template:
        return Template("page.html")

    templates = TemplateConfig(directory=tmp_path, engine=JinjaTemplateEngine)
    flashes = FlashPlugin(FlashConfig(template_config=templates))
    app = app_of(plugin_of(store), say, page, plugins=[flashes], template_config=templates)
    with client_of(app) as client:
        assert client.post("/say").text == "[info: saved][error: twice]"
        assert client.get("/page").text == "" and read_session(client) == {}
    with pytest.raises(ImproperlyConfiguredException, match="session middleware"):
        Litestar([page], plugins=[flashes, plugin_of(store)], template_config=templates, **QUIET)


# litestar contract 28
def test_the_openapi_document_names_the_cookie_and_the_routes_for_whoever_is_logged_in(store: Store) -> None:
    theirs = Components(security_schemes={"theirs": SecurityScheme(type="http", scheme="basic")})
    for given in (theirs, [theirs]):
        openapi = OpenAPIConfig("shop", "1", components=given)
        app = app_of(plugin_of(store), me, cart, openapi_config=openapi)
        schema = app.openapi_schema.to_schema()
        schemes = schema["components"]["securitySchemes"]
        assert schemes["session"] == {"type": "apiKey", "in": "cookie", "name": "__Host-sid"} and "theirs" in schemes
        assert schema["paths"]["/me"]["get"]["security"] == [{"session": []}]
        assert "security" not in schema["paths"]["/cart"]["get"] and not schema["paths"]["/cart"]["get"].get(
            "parameters"
        )
    assert app_of(plugin_of(store), me, openapi_config=None).openapi_config is None
    plugin = SojournPlugin(secret=SECRET, store=store, cookie=Cookie(domain="shop.test"))
    schema = app_of(plugin, me).openapi_schema.to_schema()
    assert schema["components"]["securitySchemes"]["session"]["name"] == "sid"


# litestar contract 28
def test_two_applications_of_one_plugin_share_its_sessions_and_no_other_configuration(store: Store) -> None:
    plugin = plugin_of(store)
    first, second = app_of(plugin, cart), app_of(plugin, me)
    assert isinstance(AppConfig().middleware, list) and len(first.middleware) == len(second.middleware) == 1
    with client_of(first) as client:
        client.get("/cart")
        cookies = dict(client.cookies)
    with client_of(second, cookies=cookies) as client:
        assert read_session(client) == {"cart": ["tent"]} and client.get("/me").status_code == 401


def test_the_session_of_a_connection_has_its_type(store: Store) -> None:
    @get("/type")
    async def kind(request: Request[Any, Any, Any]) -> bool:
        return session_of(request) is request.session and isinstance(request.session, LitestarSession)

    with client_of(app_of(plugin_of(store), kind)) as client:
        assert client.get("/type").json() is True


# -- the password, asked for again -----------------------------------------------------------------------------------------


@route("/delete/{what:str}", http_method=["GET", "POST"], guards=[FreshLogin(timedelta(minutes=15), "/confirm")])
async def delete(session: SessionDep) -> str | None:
    return session.owner


@get("/plain", guards=[FreshLogin(900)])
async def plain() -> str:
    return "plain"


@get("/confirm")
async def confirm(request: Request[Any, Any, Any], session: SessionDep) -> str:
    session.confirm()
    assert request.get_session_id() == session.id
    return next_page(request)


def test_whose_password_was_given_too_long_ago_is_asked_for_it_and_led_back(store: Store) -> None:
    clock = ManualClock()
    with client_of(app_of(plugin_of(store, clock=clock), delete, plain, confirm)) as client:
        assert [client.get(path).status_code for path in ("/delete/a", "/plain")] == [401, 401]
        log_in(client, "ann")
        assert client.get("/delete/a").text == "ann" and client.get("/plain").text == "plain"
        clock.advance(15 * 60_000 + 1)
        refused = client.get("/plain")
        assert refused.status_code == 403 and refused.json()["detail"] == "password needed again"
        sent = client.get("/delete/a%20b?x=1", follow_redirects=False)
        assert sent.status_code == 303 and sent.headers["location"] == "/confirm?next=/delete/a%2520b%3Fx%3D1"
        assert client.post("/delete/a", follow_redirects=False).headers["location"] == "/confirm"
        assert client.get(sent.headers["location"]).text == "/delete/a%20b?x=1"
        assert client.get("/delete/a").text == "ann"
        assert client.get("/confirm?next=//evil.test").text == "/"
    with pytest.raises(ConfigurationError, match="within"):
        FreshLogin("soon")  # type: ignore[arg-type]


def test_a_websocket_is_refused_that_is_not_fresh(store: Store) -> None:
    @websocket("/ws", guards=[FreshLogin(900, "/confirm")])
    async def socket(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.close()

    with client_of(app_of(plugin_of(store), socket)) as client:
        log_in(client, "ann", remember=timedelta(days=1))
        with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws"):
            pass
        assert caught.value.code == 4403


def test_the_openapi_document_knows_that_such_a_route_is_for_whoever_is_logged_in(store: Store) -> None:
    with client_of(app_of(plugin_of(store), plain, confirm)) as client:
        paths = client.get("/schema/openapi.json").json()["paths"]
    assert paths["/plain"]["get"]["security"] == [{"session": []}] and "security" not in paths["/confirm"]["get"]


def test_all_that_a_login_can_do_goes_through_this_door_and_the_connection_learns_of_the_id(store: Store) -> None:
    @get("/login")
    async def login(request: Request[Any, Any, Any], session: SessionDep) -> list[Any]:
        session.begin_login("ann", stamp="hash")
        found: list[Any] = [session.owner, session.pending_owner, request.get_session_id() == session.id]
        session.complete_login(sid="idp", max_sessions=1)
        found += [session.owner, request.get_session_id() == session.id]
        return [*found, session.check("hash"), session.check("other"), request.get_session_id() == session.id]

    @get("/try")
    async def attempt(request: Request[Any, Any, Any], session: SessionDep) -> list[Any]:
        return [await session.try_login("ann", max_sessions=1), request.get_session_id() == session.id]

    app = app_of(plugin_of(store), login, attempt)
    with client_of(app) as client:
        assert client.get("/login").json() == [None, "ann", True, "ann", True, True, False, True]
        assert client.get("/try").json() == [True, True]
        client.cookies.clear()
        assert client.get("/try").json() == [False, True]
