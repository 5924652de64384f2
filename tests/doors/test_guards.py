"""`CrossSiteGuard` at every door: the same rules, a 403 before anything is done, and nothing written."""

from __future__ import annotations

from typing import Any

import flask
import pytest
import quart
from django.test import override_settings
from litestar import Litestar, WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect as LitestarDisconnect
from litestar.testing import TestClient as LitestarClient
from pyramid.config import Configurator
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect
from webtest import TestApp

import sojourn.flask
import sojourn.litestar
import sojourn.pyramid.guard
import sojourn.quart
from sojourn import asgi, wsgi
from sojourn.django import CrossSiteGuard as DjangoGuard
from sojourn.errors import ConfigurationError
from sojourn.guard import CrossSiteRules
from sojourn.stores import MemoryStore
from tests.doors.guarded import DOORS, HOST, MARKED
from tests.doors.litestar_apps import QUIET
from tests.doors.starlette_clients import TestClient, WebSocketDenialResponse

SITE = f"http://{HOST}"
EVIL = "http://evil.example"
TRUSTED = "https://trusted.example"
SECRET = "a secret that is long enough for everybody"
SOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}

# Method, path, headers, whether the request passes.
TABLE: list[tuple[str, str, dict[str, str], bool]] = [
    ("POST", "/", {}, True),
    ("POST", "/", {"Sec-Fetch-Site": "same-origin", "Origin": SITE}, True),
    ("POST", "/", {"Sec-Fetch-Site": "none"}, True),
    ("POST", "/", {"Sec-Fetch-Site": "same-site", "Origin": "http://sub.site.example"}, False),
    ("POST", "/", {"Sec-Fetch-Site": "cross-site", "Origin": EVIL}, False),
    ("POST", "/", {"Sec-Fetch-Site": "cross-site", "Origin": "null"}, False),
    ("POST", "/", {"Sec-Fetch-Site": "cross-site", "Origin": TRUSTED}, True),
    ("POST", "/", {"Origin": SITE}, True),
    ("POST", "/", {"Origin": f"https://{HOST}"}, False),
    ("POST", "/", {"Origin": TRUSTED}, True),
    ("POST", "/", {"Origin": EVIL}, False),
    ("POST", "/", {"Origin": "null"}, False),
    ("POST", "/", {"Origin": f"{SITE}\xe9"}, False),
    ("POST", "/hooks/pay", {"Sec-Fetch-Site": "cross-site", "Origin": EVIL}, True),
    ("GET", "/", {"Sec-Fetch-Site": "cross-site", "Origin": EVIL}, True),
    ("OPTIONS", "/", {"Sec-Fetch-Site": "cross-site", "Origin": EVIL}, True),
]
OF_SOCKETS: list[tuple[dict[str, str], bool]] = [
    ({"Origin": EVIL}, False),
    ({"Origin": "null"}, False),
    ({"Origin": SITE}, True),
    ({"Origin": TRUSTED}, True),
    ({}, True),
]
UPGRADED = ("wsgi", "flask", "django wsgi", "aiohttp", "pyramid")
"""The doors that know a WebSocket by its ``Upgrade``."""


@pytest.mark.parametrize("door", DOORS)
def test_every_door_keeps_the_table(door: str, caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    ask = DOORS[door](done, trusted_origins=[TRUSTED], exclude=["/hooks"])
    for method, path, headers, passes in TABLE:
        done.clear()
        caplog.clear()
        answer = ask(method, path, headers)
        row = door, method, path, headers
        assert (answer.status, len(done)) == ((200, 1) if passes else (403, 0)), row
        lines = [message for name, _, message in caplog.record_tuples if name == "sojourn"]
        if passes:
            assert lines == []
        else:
            seen = headers.get("Sec-Fetch-Site") or "Origin: "
            assert seen in answer.text, row
            assert "Set-Cookie" not in answer.headers
            assert len(lines) == 1 and lines[0].startswith(f"refused as another site may have sent it: POST {path}: ")


@pytest.mark.parametrize("door", DOORS)
def test_strict_doors_refuse_what_says_nothing(door: str) -> None:
    ask = DOORS[door]([], strict=True)
    assert ask("POST", "/", {}).status == 403
    assert ask("POST", "/", {"Sec-Fetch-Site": "same-origin"}).status == 200
    assert ask("GET", "/", {}).status == 200


@pytest.mark.parametrize("door", MARKED)
def test_routes_that_are_marked_take_requests_from_anywhere(door: str) -> None:
    done: list[str] = []
    ask = DOORS[door](done)
    assert ask("POST", "/marked", {"Sec-Fetch-Site": "cross-site", "Origin": EVIL}).status == 200
    assert len(done) == 1


@pytest.mark.parametrize("door", UPGRADED)
def test_the_handshake_of_a_websocket_is_checked_although_it_is_a_get(door: str) -> None:
    done: list[str] = []
    ask = DOORS[door](done, trusted_origins=[TRUSTED])
    for headers, passes in OF_SOCKETS:
        done.clear()
        answer = ask("GET", "/socket", {**SOCKET, **headers})
        assert (answer.status == 403, len(done)) == ((False, 1) if passes else (True, 0)), (door, headers)


@pytest.mark.parametrize("door", [door for door in DOORS if not door.startswith("django")])
def test_behind_a_proxy_the_site_is_what_the_browser_sees(door: str) -> None:
    ask = DOORS[door]([], trust_proxy=True)
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    assert ask("POST", "/", {"Origin": "https://shop.example", **forwarded}).status == 200
    assert ask("POST", "/", {"Origin": SITE, **forwarded}).status == 403


@pytest.mark.parametrize("door", DOORS)
def test_a_wrong_option_is_refused_when_the_guard_is_made(door: str) -> None:
    with pytest.raises(ConfigurationError, match="trusted_origins"):
        DOORS[door]([], trusted_origins=["site.example"])("GET", "/", {})


# -- WebSockets under ASGI ----------------------------------------------------------------------------------------------------


async def _echo(socket: Any) -> None:
    await socket.accept()
    await socket.send_text("open")
    await socket.close()


def _connect(app: Any, headers: dict[str, str]) -> str:
    with TestClient(app).websocket_connect("/", headers={"Host": HOST, **headers}) as socket:
        return socket.receive_text()


def test_a_websocket_from_another_site_is_refused_by_a_403() -> None:
    app = asgi.CrossSiteGuard(Starlette(routes=[WebSocketRoute("/", _echo)]), trusted_origins=[TRUSTED])
    for headers, passes in OF_SOCKETS:
        if passes:
            assert _connect(app, headers) == "open"
            continue
        with pytest.raises(WebSocketDenialResponse) as caught:
            _connect(app, headers)
        assert caught.value.status_code == 403
        assert "Origin: " in caught.value.text


def test_where_the_server_takes_no_response_the_websocket_is_closed_before_it_is_open() -> None:
    guard = asgi.CrossSiteGuard(Starlette(routes=[WebSocketRoute("/", _echo)]))

    async def server(scope: Any, receive: Any, send: Any) -> None:
        await guard({**scope, "extensions": {}}, receive, send)

    with pytest.raises(WebSocketDisconnect) as caught:
        _connect(server, {"Origin": EVIL})
    assert (caught.value.code, caught.value.reason) == (1008, "refused: another site")
    assert _connect(server, {"Origin": SITE}) == "open"


def test_of_what_is_neither_a_request_nor_a_websocket_the_guard_sees_nothing() -> None:
    started: list[str] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        started.append(scope["type"])
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    with TestClient(asgi.CrossSiteGuard(app)):
        pass
    assert started == ["lifespan"]


def test_a_websocket_of_litestars_is_refused() -> None:
    @websocket("/")
    async def echo(socket: WebSocket[Any, Any, Any]) -> None:
        await _echo(socket)

    @websocket("/marked", exclude_from_csrf=True)
    async def marked(socket: WebSocket[Any, Any, Any]) -> None:
        await _echo(socket)

    app = Litestar([echo, marked], middleware=[sojourn.litestar.CrossSiteGuard()], **QUIET)
    client = LitestarClient(app, base_url=SITE)
    with client.websocket_connect("/", headers={"Origin": SITE}) as socket:
        assert socket.receive_text() == "open"
    with client.websocket_connect("/marked", headers={"Origin": EVIL}) as socket:
        assert socket.receive_text() == "open"
    with pytest.raises(LitestarDisconnect) as caught, client.websocket_connect("/", headers={"Origin": EVIL}):
        pass
    assert caught.value.code == 1008


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as Quart
async def test_a_websocket_of_quarts_is_refused() -> None:
    app = quart.Quart(__name__)
    sojourn.quart.CrossSiteGuard(app)

    @app.websocket("/")
    async def echo() -> None:
        await quart.websocket.send("open")

    async with app.test_client().websocket("/", headers={"Host": HOST, "Origin": SITE}) as socket:
        assert await socket.receive() == "open"
    with pytest.raises(quart.testing.WebsocketResponseError) as caught:
        async with app.test_client().websocket("/", headers={"Host": HOST, "Origin": EVIL}) as socket:
            await socket.receive()
    assert caught.value.response.status_code == 403


# -- with sessions --------------------------------------------------------------------------------------------------------------


class Counting(MemoryStore):
    asked = 0

    def load(self, *args: Any, **more: Any) -> Any:
        self.asked += 1
        return super().load(*args, **more)


def test_what_is_refused_asks_no_store_and_writes_nothing() -> None:
    store = Counting()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        environ[wsgi.ENVIRON_KEY]["visits"] = environ[wsgi.ENVIRON_KEY].get("visits", 0) + 1
        start_response("200 OK", [])
        return [b"done"]

    client = TestApp(wsgi.CrossSiteGuard(wsgi.SessionMiddleware(app, secret=SECRET, store=store)))
    client.get("/")
    asked, kept = store.asked, dict(client.cookies)
    response = client.post("/", headers={"Origin": EVIL}, expect_errors=True)
    assert response.status_int == 403
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert (store.asked, dict(client.cookies)) == (asked, kept)
    client.post("/", headers={"Origin": "http://localhost:80"})
    assert store.asked > asked


# -- settings -------------------------------------------------------------------------------------------------------------------


def _of_django(**settings: Any) -> CrossSiteRules:
    with override_settings(**settings):
        return DjangoGuard(lambda _request: None).rules


def _passes(rules: CrossSiteRules, origin: str) -> bool:
    given = {"Origin": [origin], "Sec-Fetch-Site": ["cross-site"]}
    return rules.refusal("POST", lambda: "/", lambda name: given.get(name, []), https=False) is None


def test_django_s_own_setting_names_trusted_origins_unless_ours_does() -> None:
    theirs = {"CSRF_TRUSTED_ORIGINS": [TRUSTED]}
    assert _passes(_of_django(**theirs), TRUSTED)
    assert not _passes(_of_django(), TRUSTED)
    ours = _of_django(**theirs, SOJOURN_GUARD={"trusted_origins": ["https://other.example"]})
    assert (_passes(ours, TRUSTED), _passes(ours, "https://other.example")) == (False, True)


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"SOJOURN_GUARD": ["strict"]}, "SOJOURN_GUARD"),
        ({"SOJOURN_GUARD": {"strict": "yes"}}, "SOJOURN_GUARD['strict']"),
        ({"SOJOURN_GUARD": {"same_site": "allow"}}, "SOJOURN_GUARD['same_site']"),
        ({"SOJOURN_GUARD": {"trusted_origins": ["*"]}}, "SOJOURN_GUARD['trusted_origins']"),
        ({"SOJOURN_GUARD": {"trust_proxy": True}}, "SOJOURN_GUARD['trust_proxy']"),
        ({"CSRF_TRUSTED_ORIGINS": ["https://*.site.example"]}, "CSRF_TRUSTED_ORIGINS"),
    ],
)
def test_a_wrong_setting_of_django_s_is_refused_by_its_name(settings: dict[str, Any], option: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _of_django(**settings)
    assert caught.value.option == option


def test_under_django_a_host_that_is_not_allowed_is_no_origin_of_the_site() -> None:
    with override_settings(ALLOWED_HOSTS=["other.example"]):
        answer = DOORS["django wsgi"]([])("POST", "/", {"Origin": SITE})
    assert answer.status == 403 and "this site: unknown" in answer.text


def test_under_django_s_own_middleware_the_guard_runs_in_the_colour_of_the_request() -> None:
    done: list[str] = []
    ask = DOORS["django asgi"](done)
    assert ask("POST", "/async", {"Origin": EVIL}).status == 403
    assert ask("POST", "/async", {"Origin": SITE}).status == 200
    assert done == ["/async"]


def _of_pyramid(settings: dict[str, Any], **options: Any) -> TestApp:
    with Configurator(settings=settings) as config:
        if options:
            sojourn.pyramid.guard.setup(config, **options)
        else:
            config.include("sojourn.pyramid.guard")
    return TestApp(config.make_wsgi_app())


@pytest.mark.parametrize(
    ("name", "text", "headers", "status"),
    [
        ("trusted_origins", f"{TRUSTED} https://other.example", {"Origin": TRUSTED}, 404),
        ("exclude", "/hooks\n/other", {"Origin": EVIL}, 404),
        ("strict", "true", {}, 403),
        ("strict", "false", {}, 404),
        (
            "trust_proxy",
            "true",
            {"Origin": "https://a.example", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example"},
            404,
        ),
        (
            "trust_proxy",
            "none",
            {"Origin": "https://a.example", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example"},
            403,
        ),
    ],
)
def test_each_setting_of_pyramid_s_is_read(name: str, text: str, headers: dict[str, str], status: int) -> None:
    app = _of_pyramid({f"sojourn.guard.{name}": text})
    assert app.post("/hooks", headers=headers, expect_errors=True).status_int == status


@pytest.mark.parametrize(
    ("settings", "options", "option"),
    [
        ({"sojourn.guard.same_site": "allow"}, {}, "sojourn.guard.same_site"),
        ({"sojourn.guard.strict": "perhaps"}, {}, "sojourn.guard.strict"),
        ({"sojourn.guard.trusted_origins": "*"}, {}, "sojourn.guard.trusted_origins"),
        ({"sojourn.guard.trusted_origins": "*"}, {"strict": True}, "sojourn.guard.trusted_origins"),
        ({"sojourn.guard.strict": "true"}, {"trusted_origins": ["*"]}, "trusted_origins"),
        ({"sojourn.guard.trusted_origins": TRUSTED}, {"trusted_origins": ["*"]}, "trusted_origins"),
    ],
)
def test_a_wrong_setting_of_pyramid_s_is_refused_by_its_name(
    settings: dict[str, str], options: dict[str, Any], option: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _of_pyramid(settings, **options)
    assert caught.value.option == option


def test_pyramid_s_settings_of_the_guard_and_of_sessions_do_not_meet() -> None:
    settings = {"sojourn.secret": SECRET, "sojourn.store": "memory://", "sojourn.guard.strict": "true"}
    with Configurator(settings=settings) as config:
        config.include("sojourn.pyramid")
        config.include("sojourn.pyramid.guard")
    assert TestApp(config.make_wsgi_app()).post("/", expect_errors=True).status_int == 403


def test_the_name_of_litestar_s_mark_can_be_another_and_has_to_be_a_name() -> None:
    assert sojourn.litestar.CrossSiteGuard(exclude_opt_key="open").exclude_opt_key == "open"
    wrong: Any = 1
    with pytest.raises(ConfigurationError, match="exclude_opt_key"):
        sojourn.litestar.CrossSiteGuard(exclude_opt_key=wrong)


def test_flask_s_guard_can_be_given_its_applications_later_and_its_403_meets_their_error_handlers() -> None:
    guard = sojourn.flask.CrossSiteGuard(strict=True)
    apps = [flask.Flask("one"), flask.Flask("other")]
    for app in apps:
        guard.init_app(app)
        app.register_error_handler(403, lambda error: (f"mine: {error.description}", 403))
        answer = app.test_client().post("/")
        assert answer.status_code == 403 and answer.text.startswith("mine: Forbidden: a page of another site")
