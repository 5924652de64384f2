"""The door of Litestar, against docs/frameworks/litestar-contract.md: what its users have of a request's session."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Any
from uuid import UUID

import anyio
import msgspec
import pytest
from litestar import Controller, Litestar, Request, Router, WebSocket, asgi, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.config.csrf import CSRFConfig
from litestar.di import Provide
from litestar.exceptions import ClientException, ImproperlyConfiguredException, WebSocketDisconnect
from litestar.middleware import ASGIMiddleware
from litestar.response import Response, Stream
from litestar.testing import AsyncTestClient, TestClient
from litestar.types import Empty
from pydantic import BaseModel

from sojourn import AsyncSession, ConfigurationError, Cookie, SessionEncodeError, StoreUnavailable, express
from sojourn.asgi import SessionMiddleware as PlainMiddleware
from sojourn.litestar import LitestarSession, SessionDep, SojournConfig, SojournPlugin, load_session, session_of
from sojourn.stores import AsyncMemoryStore
from sojourn.testing.litestar import log_in, read_session, write_session
from tests.doors.litestar_apps import QUIET, SECRET, Store, app_of, client_of, cookies_of, plugin_of


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("sojourn.logs._said", set())
    return Store()


@get("/all")
async def everything(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return request.session


@get("/count")
async def count(session: SessionDep) -> int:
    return int(session.increment("n"))


@get("/static")
async def static() -> str:
    return "nobody looks at the session"


@get("/clear")
async def clear(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


# litestar contract 1
def test_litestar_s_options_are_ours_and_wrong_ones_are_refused_with_what_is_right() -> None:
    with pytest.raises(ConfigurationError, match="the option is name"):
        SojournPlugin(secret=SECRET, cookie_name="x")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match=r"cookie=Cookie\(max_age=\.\.\.\)"):
        SojournPlugin(secret=SECRET, max_age=5)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="store"):
        SojournPlugin(secret=SECRET, store=5)
    for dependency in (5, "", "my session"):
        with pytest.raises(ConfigurationError, match="dependency: got"):
            SojournPlugin(secret=SECRET, dependency=dependency)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="exclude_opt_key: got 5"):
        SojournPlugin(secret=SECRET, exclude_opt_key=5)  # type: ignore[arg-type]


# litestar contract 1
def test_a_cookie_of_the_browser_s_session_is_the_default_and_another_can_be_had(store: Store) -> None:
    with client_of(app_of(plugin_of(store), count)) as client:
        sent = client.get("/count").headers["set-cookie"]
        assert "Max-Age" not in sent and "HttpOnly; SameSite=Lax" in sent
    with client_of(app_of(plugin_of(store, cookie=Cookie(max_age=60), name="visit"), count)) as client:
        sent = client.get("/count").headers["set-cookie"]
        assert sent.startswith("visit=") and "Max-Age=60" in sent


# litestar contract 2
def test_the_middleware_can_be_that_of_a_router_a_controller_or_a_handler(store: Store) -> None:
    config = SojournConfig(secret=SECRET, store=store)

    @get("/")
    async def seen(request: Request[Any, Any, Any]) -> bool:
        return isinstance(request.scope.get("session"), LitestarSession)

    class Shop(Controller):
        path = "/controller"
        middleware = [config.middleware]  # noqa: RUF012 - as Litestar has it

        @get("/")
        async def seen(self, request: Request[Any, Any, Any]) -> bool:
            return isinstance(request.scope.get("session"), LitestarSession)

    @get("/handler", middleware=[config.middleware])
    async def handler(request: Request[Any, Any, Any]) -> bool:
        return isinstance(request.scope.get("session"), LitestarSession)

    router = Router("/router", route_handlers=[seen], middleware=[config.middleware])
    app = Litestar([seen, Shop, handler, router], **QUIET)
    with client_of(app) as client:
        found = {path: client.get(path).json() for path in ("/", "/router", "/controller", "/handler")}
    assert found == {"/": False, "/router": True, "/controller": True, "/handler": True}


# litestar contract 3
def test_the_session_is_a_mapping_that_is_loaded_and_is_empty_for_a_new_visitor(store: Store) -> None:
    @get("/eq")
    async def equal(request: Request[Any, Any, Any]) -> bool:
        return request.session == {"n": 1} and bool(request.session)

    with client_of(app_of(plugin_of(store), everything, count, equal)) as client:
        assert client.get("/all").json() == {}
        client.get("/count")
        assert client.get("/eq").json() is True


# litestar contract 4
def test_an_id_that_the_store_does_not_know_or_that_is_not_signed_is_never_adopted(store: Store) -> None:
    plugin = plugin_of(store)
    with client_of(app_of(plugin, count)) as client:
        client.get("/count")
        mine = client.cookies["sid"]
        client.cookies.clear()
        for planted in ("attackerchosen", mine.partition(".")[0], f"{'a' * 43}.{mine.partition('.')[2]}"):
            client.cookies.set("sid", planted)
            sent = client.get("/count")
            assert sent.json() == 1 and planted not in sent.headers["set-cookie"]
            client.cookies.clear()


# litestar contract 5
def test_a_visitor_that_puts_nothing_in_costs_no_record_and_no_cookie(store: Store) -> None:
    with client_of(app_of(plugin_of(store), everything, static, count)) as client:
        response = client.get("/all")
        assert not cookies_of(response) and response.headers["vary"] == "Cookie"
        response = client.get("/static")
        assert not cookies_of(response) and "vary" not in response.headers
        assert store.writes == []
        first = client.get("/count")
        assert cookies_of(first) == ["sid"] and "no-store" in first.headers["cache-control"]


# litestar contract 6
def test_nested_changes_are_seen_and_requests_at_once_are_merged(store: Store) -> None:
    both = anyio.Event()
    inside = 0

    @get("/add/{sku:str}")
    async def add(request: Request[Any, Any, Any]) -> None:
        nonlocal inside
        request.session.setdefault("cart", {"list": []})["list"].append(request.path_params["sku"])
        inside += 1
        if inside == 2:
            both.set()
        if inside > 1 or "wait" in request.query_params:
            await both.wait()

    app: Any = app_of(plugin_of(store), add, everything)

    async def visit() -> None:
        import httpx

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as browser:
            await browser.get("/add/tent")
            nonlocal inside
            inside = 0
            async with anyio.create_task_group() as group:
                group.start_soon(browser.get, "/add/map?wait=1")
                group.start_soon(browser.get, "/add/rope?wait=1")
            found = (await browser.get("/all")).json()["cart"]["list"]
            assert found[0] == "tent" and sorted(found[1:]) == ["map", "rope"]

    asyncio.run(visit())


# litestar contract 6
def test_a_request_that_is_slow_brings_no_session_back_that_has_ended_meanwhile(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @get("/slow")
    async def slow(session: SessionDep) -> None:
        session["slow"] = True
        begun.set()
        await ended.wait()

    app: Any = app_of(plugin_of(store), slow, clear, count)

    async def visit() -> None:
        import httpx

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as browser:
            await browser.get("/count")
            kept = dict(browser.cookies)
            running = asyncio.create_task(browser.get("/slow"))
            await begun.wait()
            await browser.get("/clear")
            ended.set()
            assert not cookies_of(await running)
            browser.cookies.update(kept)
            assert (await browser.get("/count")).json() == 1

    asyncio.run(visit())
    assert "ended while a request was changing it" in caplog.text


# litestar contract 7, 24
def test_what_is_changed_before_an_exception_is_saved_with_the_response_to_it(store: Store) -> None:
    @get("/error")
    async def error(session: SessionDep) -> None:
        session["tried"] = True
        raise ValueError

    @get("/teapot")
    async def teapot(session: SessionDep) -> None:
        session["tea"] = True
        raise ClientException(status_code=418)

    with client_of(app_of(plugin_of(store), error, teapot, everything)) as client:
        assert [client.get(path).status_code for path in ("/error", "/teapot")] == [500, 418]
        assert client.get("/all").json() == {"tried": True, "tea": True}


# litestar contract 24
def test_a_value_that_cannot_be_stored_is_an_error_of_the_request_which_its_own_handlers_see(store: Store) -> None:
    @get("/bad")
    async def bad(session: SessionDep) -> str:
        session["count"], session["bad"] = 1, object()
        return "never sent"

    def explain(_request: Request[Any, Any, Any], error: SessionEncodeError) -> Response[str]:
        return Response(f"{error.path}", status_code=500)

    with client_of(app_of(plugin_of(store), bad, everything)) as client:
        response = client.get("/bad")
        assert response.status_code == 500 and not cookies_of(response) and "never sent" not in response.text
        assert client.get("/all").json() == {}
    with client_of(app_of(plugin_of(store), bad, exception_handlers={SessionEncodeError: explain})) as client:
        assert client.get("/bad").text == "bad"


# litestar contract 8
def test_what_a_websocket_changes_is_saved_when_it_ends_and_a_new_session_if_it_begins_before_the_accept(
    store: Store,
) -> None:
    @websocket("/ws")
    async def socket(socket: WebSocket[Any, Any, Any], session: SessionDep) -> None:
        session["before"] = socket.session["greeted"] = True
        await socket.accept()
        await socket.send_json(dict(session))
        session["after"] = await socket.receive_text()
        await session.save()
        await socket.send_text("saved")
        session["last"] = True
        await socket.close()

    with client_of(app_of(plugin_of(store), socket, everything)) as client, client.websocket_connect("/ws") as peer:
        assert peer.receive_json() == {"before": True, "greeted": True}
        peer.send_text("hello")
        assert peer.receive_text() == "saved"
        with pytest.raises(WebSocketDisconnect):
            peer.receive_text()
    assert store.writes == ["create", "replace", "replace"]


# litestar contract 8
def test_a_session_that_a_socket_changes_is_the_browser_s(store: Store) -> None:
    @websocket("/ws")
    async def socket(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        socket.session["said"] = await socket.receive_text()
        await socket.close()

    app = app_of(plugin_of(store), socket, everything, count)
    with client_of(app) as client:
        client.get("/count")
        with client.websocket_connect("/ws") as peer:
            peer.send_text("hello")
            with pytest.raises(WebSocketDisconnect):
                peer.receive_text()
        cookies = dict(client.cookies)
    assert read_session(client_of(app, cookies=cookies)) == {"n": 1, "said": "hello"}


# litestar contract 9
def test_the_expiry_moves_when_it_is_due_and_the_cookie_with_it_where_it_is_rolling(store: Store) -> None:
    plugin = plugin_of(store, touch_after=0, cookie=Cookie(max_age=60), rolling=True)
    with client_of(app_of(plugin, everything, count)) as client:
        client.get("/count")
        response = client.get("/all")
        assert store.writes == ["create", "touch"] and "Max-Age=60" in response.headers["set-cookie"]


class Colour(Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: int
    at: datetime


@dataclass
class Where:
    path: PurePosixPath
    points: list[Point] = field(default_factory=list)


class Opaque:
    """What only the application knows how to write."""


NOW = datetime(2026, 12, 1, tzinfo=UTC)


# litestar contract 10
def test_values_come_back_as_what_they_were_and_what_litestar_writes_is_written(store: Store) -> None:
    @get("/put")
    async def put(session: SessionDep) -> None:
        session["kept"] = [NOW, UUID(int=5), {1}, b"\0"]
        session["plain"] = [Colour.RED, Point(1, NOW), Where(PurePosixPath("/a"), [Point(2, NOW)]), Opaque()]

    found: list[Any] = []

    @get("/take")
    async def take(session: SessionDep) -> None:
        found.extend([session["kept"], session["plain"]])

    app = app_of(plugin_of(store), put, take, type_encoders={Opaque: lambda _: "opaque"})
    with client_of(app) as client:
        client.get("/put")
        client.get("/take")
    point = {"x": 1, "at": NOW}
    assert found[0] == [NOW, UUID(int=5), {1}, b"\0"]
    assert found[1] == ["red", point, {"path": "/a", "points": [{**point, "x": 2}]}, "opaque"]


# litestar contract 12
def test_litestar_s_own_commands_end_one_session_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner
    from litestar.cli.main import litestar_group

    from tests.doors import litestar_site

    monkeypatch.setenv("LITESTAR_APP", "tests.doors.litestar_site:app")
    monkeypatch.setattr("rich.prompt.Confirm.ask", lambda *_args, **_more: True)
    ids = []
    for _ in range(3):
        with TestClient(litestar_site.app) as client:
            client.get("/count")
            ids.append(client.get("/id").text)

    async def left() -> int:
        return await litestar_site.STORE.count()

    assert anyio.run(left) == 3
    for arguments, number in ((["delete", "--", ids[0]], 2), (["delete", "unknown"], 2), (["clear"], 0)):
        done = CliRunner().invoke(litestar_group, ["sessions", *arguments])
        assert done.exit_code == 0, done.output
        assert anyio.run(left) == number


# litestar contract 13
def test_where_there_is_no_session_litestar_and_ours_say_so(store: Store) -> None:
    @get("/none", skip_session=True)
    async def none(request: Request[Any, Any, Any]) -> list[str]:
        told = []
        for ask in (lambda: request.session, lambda: session_of(request)):
            with pytest.raises(ImproperlyConfiguredException) as caught:
                ask()
            told.append(caught.value.detail)
        return told

    with client_of(app_of(plugin_of(store), none)) as client:
        theirs, ours = client.get("/none").json()
    assert "'session' is not defined in scope" in theirs and "/none has no session" in ours and "skip_session" in ours


class Cart(BaseModel):
    items: dict[str, int] = {}
    since: datetime = NOW


@dataclass
class DataCart:
    items: dict[str, int]
    since: datetime


class StructCart(msgspec.Struct):
    items: dict[str, int]
    since: datetime


TENT = {"tent": 1}
GIVEN = ({"items": TENT, "since": NOW}, Cart(items=TENT), StructCart(TENT, NOW), DataCart(TENT, NOW))


@pytest.mark.parametrize("given", GIVEN, ids=["dict", "pydantic", "struct", "dataclass"])
# litestar contract 14
def test_set_session_takes_a_dict_or_a_model_in_the_place_of_all_that_was_there(store: Store, given: Any) -> None:
    @get("/set")
    async def set_(request: Request[Any, Any, Any]) -> None:
        request.set_session(given)

    found: list[Any] = []

    @get("/take")
    async def take(session: SessionDep) -> None:
        found.append(dict(session))

    with client_of(app_of(plugin_of(store), set_, take, count)) as client:
        client.get("/count")
        client.get("/set")
        client.get("/take")
    assert found == [{"items": {"tent": 1}, "since": NOW}]


# litestar contract 4, 14
def test_set_session_with_other_data_changes_the_id_as_it_is_how_litestar_s_users_log_in(store: Store) -> None:
    @get("/set/{n:int}")
    async def set_(request: Request[Any, Any, Any]) -> None:
        request.set_session({"user": request.path_params["n"]})

    with client_of(app_of(plugin_of(store), set_, count, everything)) as client:
        client.get("/count")
        planted = dict(client.cookies)
        for n, changes in ((1, True), (1, False), (2, True)):
            before = client.cookies["sid"]
            assert cookies_of(client.get(f"/set/{n}")) == (["sid"] if changes else [])
            assert (client.cookies["sid"] != before) is changes
        assert client.get("/all").json() == {"user": 2}
        client.cookies.clear()
        client.cookies.update(planted)
        assert client.get("/all").json() == {}, "who knew the id from before the login has nothing"


# litestar contract 14
def test_set_session_after_a_login_keeps_the_login_and_its_id(store: Store) -> None:
    @get("/login")
    async def login(request: Request[Any, Any, Any], session: SessionDep) -> str:
        session.login("ann")
        request.set_session({"user": 1})
        return session.id

    with client_of(app_of(plugin_of(store), login, count, everything)) as client:
        client.get("/count")
        assert client.cookies.get("sid") and client.get("/login").text == client.cookies["sid"].partition(".")[0]
        assert client.get("/all").json() == {"user": 1}


# litestar contract 14
def test_what_is_changed_after_the_response_counts_also_where_set_session_was_called(store: Store) -> None:
    async def work(request: Request[Any, Any, Any]) -> None:
        request.session["worked"] = True

    @get("/set")
    async def set_(request: Request[Any, Any, Any]) -> Response[None]:
        request.set_session({"user": 1})
        return Response(None, background=BackgroundTask(work, request))

    app = app_of(plugin_of(store), set_, everything)
    with client_of(app) as client:
        client.get("/set")
        cookies = dict(client.cookies)
    assert read_session(client_of(app, cookies=cookies)) == {"user": 1, "worked": True}


# litestar contract 14
def test_set_session_in_a_socket_keeps_the_id_as_no_cookie_can_be_sent(store: Store) -> None:
    @websocket("/ws")
    async def socket(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        socket.set_session({"said": await socket.receive_text()})
        await socket.close()

    app = app_of(plugin_of(store), socket, everything, count)
    with client_of(app) as client:
        client.get("/count")
        with client.websocket_connect("/ws") as peer:
            peer.send_text("hello")
            with pytest.raises(WebSocketDisconnect):
                peer.receive_text()
        cookies = dict(client.cookies)
    assert read_session(client_of(app, cookies=cookies)) == {"said": "hello"}


# litestar contract 14
def test_set_session_of_a_lazy_session_needs_no_look_at_it_and_changes_the_id(store: Store) -> None:
    @get("/set")
    async def set_(request: Request[Any, Any, Any]) -> None:
        request.set_session({"user": 1})

    with client_of(app_of(plugin_of(store, lazy=True), set_, count)) as client:
        client.get("/count")
        before = client.cookies["sid"]
        client.get("/set")
        assert client.cookies["sid"] != before
        assert read_session(client) == {"user": 1}


@pytest.mark.parametrize("value", ["text", 5, [1], object(), Cart])
# litestar contract 14
def test_what_is_neither_a_dict_nor_a_model_is_taken_for_another_layer_s(
    store: Store, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @get("/set")
    async def set_(request: Request[Any, Any, Any]) -> None:
        request.set_session(value)

    with client_of(app_of(plugin_of(store), set_, everything, count)) as client:
        client.get("/count")
        client.get("/set")
        assert client.get("/all").json() == {"n": 1}
    assert "was put in the session's place" in caplog.text


# litestar contract 14
def test_a_value_in_set_session_that_cannot_be_stored_is_an_error_and_the_session_stays(store: Store) -> None:
    @get("/set")
    async def set_(request: Request[Any, Any, Any]) -> None:
        request.set_session({"n": object()})

    with client_of(app_of(plugin_of(store), set_, everything, count)) as client:
        client.get("/count")
        assert client.get("/set").status_code == 500
        assert client.get("/all").json() == {"n": 1}


# litestar contract 14, 23
def test_a_mounted_application_s_own_session_is_its_own(store: Store) -> None:
    @asgi("/admin", is_mount=True, copy_scope=False)
    async def admin(scope: Any, receive: Any, send: Any) -> None:
        scope["session"] = {"token": "the admin's"}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"admin"})

    with client_of(app_of(plugin_of(store), admin, everything, count)) as client:
        client.get("/count")
        assert client.get("/admin").text == "admin"
        assert client.get("/all").json() == {"n": 1}


# litestar contract 15
def test_clear_session_ends_the_session_for_every_copy_of_its_cookie(store: Store) -> None:
    with client_of(app_of(plugin_of(store), clear, count, everything)) as client:
        client.get("/count")
        kept = dict(client.cookies)
        response = client.get("/clear")
        assert "Max-Age=0" in response.headers["set-cookie"] and "sid" not in client.cookies
        client.cookies.update(kept)
        assert client.get("/all").json() == {}
        assert anyio.run(store.count) == 0


# litestar contract 15
def test_empty_set_by_the_application_ends_the_session_too(store: Store) -> None:
    @get("/empty")
    async def empty(request: Request[Any, Any, Any]) -> None:
        request.set_session(Empty)

    with client_of(app_of(plugin_of(store), empty, count, everything)) as client:
        client.get("/count")
        client.get("/empty")
        assert anyio.run(store.count) == 0


@pytest.mark.parametrize("twice", [False, True])
# litestar contract 15
def test_who_clears_the_session_and_sets_another_has_another(store: Store, twice: bool) -> None:
    @get("/again")
    async def again(request: Request[Any, Any, Any]) -> None:
        if twice:
            request.session.clear()
        request.clear_session()
        request.set_session({"n": 1})

    with client_of(app_of(plugin_of(store), again, count, everything)) as client:
        client.get("/count")
        before = client.cookies["sid"]
        client.get("/again")
        assert client.cookies["sid"] != before and client.get("/all").json() == {"n": 1}
        assert anyio.run(store.count) == 1


# litestar contract 15
def test_in_a_socket_an_end_is_an_end_and_what_is_set_afterwards_is_told_to_be_lost(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    @websocket("/ws")
    async def socket(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        socket.clear_session()
        socket.set_session({"user": 1})
        await socket.close()

    app = app_of(plugin_of(store), socket, everything, count)
    with client_of(app) as client:
        client.get("/count")
        with client.websocket_connect("/ws") as peer, pytest.raises(WebSocketDisconnect):
            peer.receive_text()
        cookies = dict(client.cookies)
    assert read_session(client_of(app, cookies=cookies)) == {} and anyio.run(store.count) == 0
    assert "what set_session() was given is not stored" in caplog.text


# litestar contract 15
def test_a_session_that_was_destroyed_takes_no_data_which_is_told(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    @get("/destroy")
    async def destroy(request: Request[Any, Any, Any], session: SessionDep) -> str | None:
        session.logout()
        request.set_session({"user": 1})
        return request.get_session_id()

    with client_of(app_of(plugin_of(store), destroy, everything, count)) as client:
        client.get("/count")
        assert client.get("/destroy").status_code == 200
        assert anyio.run(store.count) == 0
    assert "what set_session() was given is not stored" in caplog.text


# litestar contract 16
def test_after_clear_session_the_marker_is_in_the_session_s_place_and_the_dependency_stays(store: Store) -> None:
    @get("/gone")
    async def gone(request: Request[Any, Any, Any], session: SessionDep) -> list[bool]:
        request.clear_session()
        found: object = request.session
        return [found is Empty, isinstance(session, AsyncSession)]

    with client_of(app_of(plugin_of(store), gone)) as client:
        assert client.get("/gone").json() == [True, True]


# litestar contract 17
def test_the_session_s_id_is_known_before_anything_is_stored_and_is_always_the_present_one(store: Store) -> None:
    @get("/ids")
    async def ids(request: Request[Any, Any, Any], session: SessionDep) -> list[str | None]:
        session["seen"] = True
        found = [request.get_session_id(), session.id]
        session.login("ann")
        found += [request.get_session_id(), session.id]
        session.clear()
        session["seen"] = True
        return [*found, request.get_session_id(), session.id]

    @get("/id")
    async def one(request: Request[Any, Any, Any]) -> str | None:
        return request.get_session_id()

    @get("/out")
    async def out(request: Request[Any, Any, Any], session: SessionDep) -> bool:
        session.logout()
        return request.get_session_id() is None

    with client_of(app_of(plugin_of(store), ids, one, out)) as client:
        found = client.get("/ids").json()
        assert found[::2] == found[1::2] and len(set(found)) == 3
        assert client.cookies["sid"].partition(".")[0] == found[-1] == client.get("/id").text == client.get("/id").text
        assert client.get("/out").json() is True


# litestar contract 17
def test_to_tell_the_id_is_no_look_at_the_session(store: Store) -> None:
    with client_of(app_of(plugin_of(store), static, count)) as client:
        client.get("/count")
        assert "vary" not in client.get("/static").headers


# litestar contract 18, 21
def test_around_the_application_clear_session_ends_and_what_set_session_puts_there_is_another_layer_s(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    @get("/set")
    async def set_(request: Request[Any, Any, Any]) -> None:
        request.set_session({"user": 1})

    @get("/put")
    async def put(request: Request[Any, Any, Any]) -> None:
        request.session["n"] = 1

    @get("/take")
    async def take(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return dict(request.session)

    inner: Any = Litestar([set_, put, take, clear], **QUIET)
    app = PlainMiddleware(inner, secret=SECRET, store=store)
    with client_of(app) as client:
        client.get("/put")
        client.get("/set")
        assert client.get("/take").json() == {"n": 1} and "was put in the session's place" in caplog.text
        client.get("/clear")
        assert client.get("/take").json() == {} and anyio.run(store.count) == 0
        client.get("/put")
        store.calls.clear()
        assert client.get("/nowhere").status_code == 404 and store.calls == ["load"]


# litestar contract 19
def test_all_handlers_share_one_store_which_is_opened_and_closed_with_the_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    class Counted(AsyncMemoryStore):
        async def open(self) -> None:
            made.append("open")

        async def close(self) -> None:
            made.append("close")

    handlers = [get(f"/{n}")(count.fn) for n in range(5)]
    plugin = plugin_of(Counted())
    app = app_of(plugin, *handlers)
    for _ in range(2):  # an application may be started again
        with client_of(app) as client:
            assert [client.get(f"/{n}").json() for n in range(5)] == [1, 2, 3, 4, 5]
    assert made == ["open", "close"] * 2


# litestar contract 19
def test_a_store_by_url_is_one_store_for_all_handlers_and_all_applications_of_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = (app_of(plugin_of("memory://"), count, everything) for _ in range(2))
    with client_of(first) as client, client_of(second) as other:
        client.get("/count")
        other.cookies.update(client.cookies)
        assert other.get("/all").json() == {"n": 1}


# litestar contract 19
def test_a_store_that_is_down_when_the_application_starts_is_told_and_it_starts_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Late(AsyncMemoryStore):
        async def open(self) -> None:
            raise StoreUnavailable("down")

    with client_of(app_of(plugin_of(Late()), count)) as client:
        assert client.get("/count").json() == 1
    assert "starting all the same" in caplog.text


# litestar contract 19
def test_a_path_without_a_route_has_no_session(store: Store) -> None:
    with client_of(app_of(plugin_of(store), count)) as client:
        client.get("/count")
        store.calls.clear()
        response = client.get("/nowhere")
        assert response.status_code == 404 and store.calls == [] and not cookies_of(response)


# litestar contract 20
def test_middleware_of_the_newer_kind_sees_the_session(store: Store) -> None:
    class Stamp(ASGIMiddleware):
        async def handle(self, scope: Any, receive: Any, send: Any, next_app: Any) -> None:
            scope["session"]["stamped"] = True
            await next_app(scope, receive, send)

    with client_of(app_of(plugin_of(store), everything, middleware=[Stamp()])) as client:
        assert client.get("/all").json() == {"stamped": True}


# litestar contract 22
def test_handlers_and_paths_can_be_without_a_session(store: Store) -> None:
    @get("/skipped", skip_session=True)
    async def skipped(request: Request[Any, Any, Any]) -> bool:
        return "session" in request.scope

    @get("/named", no_session=True)
    async def named(request: Request[Any, Any, Any]) -> bool:
        return "session" in request.scope

    @get(["/assets/a", "/north/pole", "/rest"])
    async def paths(request: Request[Any, Any, Any]) -> bool:
        return "session" in request.scope

    plugin = plugin_of(store, exclude=["/assets"])
    plugin.config.exclude = ["north"]
    with client_of(app_of(plugin, skipped, named, paths)) as client:
        found = {path: client.get(path).json() for path in ("/skipped", "/named", "/assets/a", "/north/pole", "/rest")}
    assert found == {"/skipped": False, "/named": True, "/assets/a": False, "/north/pole": False, "/rest": True}
    with client_of(app_of(plugin_of(store, exclude_opt_key="no_session"), skipped, named)) as client:
        assert [client.get(path).json() for path in ("/skipped", "/named")] == [True, False]


# litestar contract 22
def test_outside_of_the_cookie_s_path_there_is_no_session(store: Store) -> None:
    @get(["/shop/a", "/blog"])
    async def seen(request: Request[Any, Any, Any]) -> bool:
        return "session" in request.scope

    with client_of(app_of(plugin_of(store, cookie=Cookie(path="/shop")), seen)) as client:
        assert [client.get(path).json() for path in ("/shop/a", "/blog")] == [True, False]
        assert read_session(client) == {}


# litestar contract 23
def test_the_response_cache_never_keeps_a_cookie_so_that_no_visitor_becomes_another(store: Store) -> None:
    calls = 0

    @get("/cached", cache=True)
    async def cached(request: Request[Any, Any, Any]) -> str:
        nonlocal calls
        calls += 1
        request.session["user"] = "ann"
        return "the same for everybody"

    with client_of(app_of(plugin_of(store), cached, everything)) as client:
        one = client.get("/cached")
        assert client.get("/all").json() == {"user": "ann"}
        client.cookies.clear()  # another visitor
        two = client.get("/cached")
        assert calls == 1 and two.text == one.text, "it came from the cache"
        assert cookies_of(one) == ["sid"] and cookies_of(two) == []
        assert "vary" not in two.headers and two.headers.get("cache-control") is None
        assert client.get("/all").json() == {}


# litestar contract 23
def test_a_visitor_with_a_session_gets_a_cached_response_with_a_cookie_of_its_own_where_one_is_due(
    store: Store,
) -> None:
    @get("/cached", cache=True)
    async def cached() -> str:
        return "the same for everybody"

    plugin = plugin_of(store, rolling=True, cookie=Cookie(max_age=60))
    with client_of(app_of(plugin, cached, count, everything)) as client:
        browsers = []
        for number in (1, 2):
            for _ in range(number):
                client.get("/count")
            browsers.append((dict(client.cookies), number))
            client.cookies.clear()
        for cookies, number in (*browsers, *browsers):
            client.cookies.update(cookies)
            sent = client.get("/cached")
            assert cookies_of(sent) == ["sid"] and sent.headers["set-cookie"].startswith(f"sid={cookies['sid']};")
            client.cookies.clear()
            client.cookies.update(cookies)
            assert client.get("/all").json() == {"n": number}
            client.cookies.clear()


# litestar contract 26
def test_after_its_yield_a_dependency_is_in_time(store: Store) -> None:
    async def closing(session: SessionDep) -> AsyncGenerator[str, None]:
        yield "x"
        session["closed"] = True

    @get("/", dependencies={"closing": Provide(closing)})
    async def handler(closing: Annotated[str, "dependency"]) -> str:
        return closing

    with client_of(app_of(plugin_of(store), handler, everything)) as client:
        assert cookies_of(client.get("/")) == ["sid"]
        assert client.get("/all").json() == {"closed": True}


# litestar contract 27
def test_background_tasks_after_response_and_streams_change_a_session_that_exists(store: Store) -> None:
    async def work(session: SessionDep) -> None:
        session["worked"] = True
        await session.save()
        session["more"] = True

    async def after(request: Request[Any, Any, Any]) -> None:
        request.session["after"] = True

    @get("/work", after_response=after)
    async def working(session: SessionDep) -> Response[None]:
        return Response(None, background=BackgroundTask(work, session))

    @get("/stream")
    async def stream(session: SessionDep) -> Stream:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            session["streamed"] = True
            yield "b"

        return Stream(chunks())

    app = app_of(plugin_of(store), working, stream, count, everything)
    with client_of(app) as client:
        client.get("/count")
        client.get("/work")
        assert client.get("/stream").text == "ab"
        cookies = dict(client.cookies)
    assert read_session(client_of(app, cookies=cookies)) == {
        "n": 1,
        "worked": True,
        "more": True,
        "after": True,
        "streamed": True,
    }


# litestar contract 33
def test_csrf_protection_has_its_own_cookie_beside_ours(store: Store) -> None:
    @post("/form")
    async def form(session: SessionDep) -> None:
        session["posted"] = True

    app = app_of(plugin_of(store), form, count, everything, csrf_config=CSRFConfig(secret="x" * 32))
    with client_of(app) as client:
        assert sorted(cookies_of(client.get("/count"))) == ["csrftoken", "sid"]
        assert client.post("/form").status_code == 403
        assert client.post("/form", headers={"x-csrftoken": client.cookies["csrftoken"]}).status_code == 201
        assert client.get("/all").json() == {"n": 1, "posted": True}


# litestar contract 34
def test_the_test_client_reads_and_writes_the_session_as_litestar_has_it(store: Store) -> None:
    plugin = plugin_of(store)
    with client_of(app_of(plugin, count, everything), session_config=plugin.config) as client:
        assert client.get_session_data() == {}
        client.set_session_data({"n": 5, "at": NOW})
        assert client.get("/count").json() == 6
        assert client.get_session_data() == {"n": 6, "at": NOW}
        client.set_session_data({"other": 1})
        assert client.get("/all").json() == {"other": 1} and anyio.run(store.count) == 1
        client.set_session_data({"other": 1})
        client.set_session_data(Empty)  # type: ignore[arg-type]
        assert client.get_session_data() == {} and anyio.run(store.count) == 0


# litestar contract 34
@pytest.mark.anyio
async def test_the_async_test_client_does_so_too(store: Store, anyio_backend: str) -> None:
    plugin = plugin_of(store)
    app = app_of(plugin, count)
    async with AsyncTestClient(app, session_config=plugin.config, raise_server_exceptions=False) as client:
        await client.set_session_data({"n": 5})
        assert (await client.get("/count")).json() == 6
        assert await client.get_session_data() == {"n": 6}
        await write_session(client, {"m": 1})
        await log_in(client, "ann")
        assert await read_session(client) == {"n": 6, "m": 1}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# litestar contract 34
def test_the_test_client_knows_a_session_whose_cookie_is_secure(store: Store) -> None:
    plugin = plugin_of(store, cookie=Cookie(secure=True))
    app = app_of(plugin, count)
    with client_of(app, session_config=plugin.config, base_url="https://testserver.local") as client:
        client.set_session_data({"n": 5})
        assert client.get("/count").json() == 6 and client.get_session_data() == {"n": 6}
        assert [*client.cookies] == ["__Host-sid"]


# litestar contract 34
def test_the_test_client_tells_that_the_store_failed_or_that_no_path_has_a_session(store: Store) -> None:
    plugin = plugin_of(store)
    with client_of(app_of(plugin, count), session_config=plugin.config) as client:
        client.get("/count")
        store.down = True
        for ask in (client.get_session_data, lambda: client.set_session_data({"n": 1})):
            with pytest.raises(StoreUnavailable):
                ask()
        client.cookies.clear()
        with pytest.raises(StoreUnavailable):
            client.set_session_data({"n": 1})
    excluded = plugin_of(store, exclude=["/"])
    with client_of(app_of(excluded, static), session_config=excluded.config) as client:
        assert client.get("/static").status_code == 200
        with pytest.raises(ImproperlyConfiguredException, match="exclude"):
            client.get_session_data()


# litestar contract 34
def test_a_client_s_session_is_read_written_and_logged_in_in_a_line_each(store: Store) -> None:
    @get("/owner")
    async def owner(session: SessionDep) -> str | None:
        return session.owner

    app = app_of(plugin_of(store), count, owner)
    for base_url in ("http://testserver.local", "https://testserver.local"):
        with client_of(app, base_url=base_url) as client:
            assert read_session(client) == {}
            write_session(client, {"n": 3})
            assert client.get("/count").json() == 4
            log_in(client, "ann")
            assert client.get("/owner").text == "ann" and read_session(client) == {"n": 4}
    assert read_session(client_of(app)) == {}, "and of one that is not entered"


def test_the_dependency_has_another_name_or_none_and_never_the_place_of_one_of_the_application_s(
    store: Store,
) -> None:
    @get("/visit")
    async def named(visit: SessionDep) -> int:
        return int(visit.increment("n"))

    async def database() -> str:
        return "of the database"

    @get("/theirs")
    async def theirs(session: Annotated[str, "dependency"]) -> str:
        return session

    app = app_of(plugin_of(store, dependency="visit"), named, theirs, dependencies={"session": Provide(database)})
    with client_of(app) as client:
        assert client.get("/visit").json() == 1 and client.get("/theirs").text == "of the database"
    app = app_of(plugin_of(store), theirs, dependencies={"session": Provide(database)})
    with client_of(app) as client:
        assert client.get("/theirs").text == "of the database"
    app = app_of(plugin_of(store, dependency=None), everything)
    assert not app.dependencies


def test_a_lazy_session_is_loaded_by_what_asks_for_it(store: Store) -> None:
    @get("/loaded")
    async def loaded(request: Request[Any, Any, Any]) -> list[Any]:
        before = request.get_session_id()
        session = await load_session(request)
        return [before, session["n"], request.get_session_id() == session.id]

    @get("/out")
    async def out(request: Request[Any, Any, Any]) -> str | None:
        session = session_of(request)
        session.logout()
        await session.load()
        return request.get_session_id()

    with client_of(app_of(plugin_of(store, lazy=True), static, count, loaded, out)) as client:
        client.get("/count")
        store.calls.clear()
        client.get("/static")
        assert store.calls == []
        assert client.get("/count").json() == 2
        assert client.get("/loaded").json() == [None, 2, True]
        assert client.get("/out").json() is None and anyio.run(store.count) == 0


def test_a_store_that_fails_is_our_503_whatever_the_handler_sends(store: Store) -> None:
    for lazy in (False, True):
        store.down = False
        with client_of(app_of(plugin_of(store, lazy=lazy), count, everything)) as client:
            client.get("/count")
            store.down = True
            response = client.get("/count")
            assert response.status_code == 503 and response.headers["retry-after"]


def test_with_a_store_that_is_down_requests_may_go_on_without_their_sessions(store: Store) -> None:
    with client_of(app_of(plugin_of(store, on_store_error="anonymous"), count)) as client:
        client.get("/count")
        store.down = True
        assert client.get("/count").json() == 1


def test_the_express_profile_works_through_this_door(store: Store) -> None:
    @get("/set")
    async def set_(request: Request[Any, Any, Any]) -> None:
        request.set_session({"user": 1})

    plugin = SojournPlugin(**express(secret=SECRET, store=store))
    with client_of(app_of(plugin, count, set_, everything, clear), session_config=plugin.config) as client:
        sent = client.get("/count").headers["set-cookie"]
        assert sent.startswith("connect.sid=s%3A")
        assert client.get_session_data() == {"n": 1}
        before = client.cookies["connect.sid"]
        client.get("/set")
        assert client.cookies["connect.sid"] == before and client.get("/all").json() == {"user": 1}
        client.set_session_data({"n": 7})
        assert client.get("/count").json() == 8
        client.get("/clear")
        assert client.get("/all").json() == {} and anyio.run(store.count) == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_runs_on_asyncio_and_on_trio(store: Store, backend: Any) -> None:
    with client_of(app_of(plugin_of(store), count, everything), backend=backend) as client:
        assert [client.get("/count").json() for _ in range(2)] == [1, 2]
        assert read_session(client) == {"n": 2}


def test_a_second_plugin_is_told_and_the_outer_one_s_session_passes_through(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_of(plugin_of(store), count, plugins=[SojournPlugin(secret=SECRET, store=Store())])
    with client_of(app) as client:
        assert [client.get("/count").json() for _ in range(2)] == [1, 2]
    assert "is it installed twice?" in caplog.text


def test_sync_handlers_have_the_same_session(store: Store) -> None:
    @get("/sync", sync_to_thread=True)
    def sync(session: SessionDep, request: Request[Any, Any, Any]) -> int:
        return int(request.session["n"] + session.increment("n"))

    with client_of(app_of(plugin_of(store), sync, count)) as client:
        client.get("/count")
        assert client.get("/sync").json() == 3


def test_a_session_in_the_log_or_in_an_error_shows_neither_id_nor_data(store: Store) -> None:
    @get("/show")
    async def show(session: SessionDep) -> str:
        session["secret"] = "the data"
        return repr(session)

    with client_of(app_of(plugin_of(store), show)) as client:
        assert client.get("/show").text == "<LitestarSession new>"
    assert "memory" not in repr(SojournConfig(secret=SECRET, store=store))
