"""Under Starlette: what is written today with its own session works on ours (docs/frameworks/starlette-contract.md)."""

from __future__ import annotations

import enum
import inspect
import re
from collections import OrderedDict, defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.authentication import SimpleUser, requires
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware, sessions
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from scripts.starlette_suite import REASONS
from sojourn import ConfigurationError, Cookie, SessionEncodeError, express
from sojourn.asgi import SessionMiddleware as PlainMiddleware
from sojourn.starlette import (
    SessionAuthBackend,
    SessionMiddleware,
    StarletteSession,
    load_session,
    next_page,
    session_of,
)
from sojourn.testing import log_in, read_session, write_session
from tests.doors.starlette_clients import SECRET, Store, TestClient, client_of

PAGE = Path(__file__).parent.parent.parent / "docs" / "frameworks" / "coming-from-starlette.md"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("sojourn.logs._said", set())
    return Store()


def app_of(store: Any, *routes: Any, **options: Any) -> Starlette:
    return Starlette(
        routes=list(routes), middleware=[Middleware(SessionMiddleware, secret=SECRET, store=store, **options)]
    )


async def count(request: Request) -> Response:
    request.session["n"] = request.session.get("n", 0) + 1
    return PlainTextResponse(str(request.session["n"]))


async def show(request: Request) -> Response:
    return JSONResponse(dict(request.session))


async def nothing(_request: Request) -> Response:
    return PlainTextResponse("nothing")


def marks(session: Any) -> tuple[bool, bool]:
    return session.accessed, session.modified


def within(store: Store, use: Any, **options: Any) -> tuple[Any, Response]:
    """What a handler's use of its session returns, and the response."""
    returned: list[Any] = []

    async def handle(request: Request) -> Response:
        returned.append(use(request.session))
        return PlainTextResponse("ok")

    client = client_of(app_of(store, Route("/", handle), **options))
    write_session(client, {"a": 1, "list": []})
    answer = client.get("/")
    return returned[0], answer


# starlette contract 1
def test_a_secret_can_be_exchanged_and_https_only_is_a_cookie_that_is_secure(store: Store) -> None:
    client = client_of(app_of(store, Route("/", count)))
    client.get("/")
    rotated = Starlette(
        routes=[Route("/", count)],
        middleware=[Middleware(SessionMiddleware, secret=[SECRET + " (new)", SECRET], store=store)],
    )
    again = client_of(rotated, cookies=dict(client.cookies))
    assert again.get("/").text == "2"
    secure = app_of(store, Route("/", count), cookie=Cookie(secure=True))
    answer = client_of(secure, base_url="https://testserver").get("/")
    assert "Secure" in answer.headers["set-cookie"]
    assert "set-cookie" not in client_of(secure).get("/").headers


class Colour(enum.StrEnum):
    RED = "red"


# starlette contract 2
def test_what_json_dumps_writes_is_written(store: Store) -> None:
    async def put(request: Request) -> Response:
        values: dict[Any, Any] = {1: defaultdict(list, {2: [Colour.RED]}), "o": OrderedDict(b=1), "c": Colour.RED}
        request.session.update(values)
        return PlainTextResponse("ok")

    client = client_of(app_of(store, Route("/", put), Route("/show", show)))
    client.get("/")
    assert client.get("/show").json() == {"1": {"2": ["red"]}, "o": {"b": 1}, "c": "red"}


# starlette contract 2
def test_what_json_dumps_writes_is_written_in_the_express_profile_too(store: Store) -> None:
    async def put(request: Request) -> Response:
        request.session["value"] = {1: (Colour.RED, 2)}
        return PlainTextResponse("ok")

    app = Starlette(
        routes=[Route("/", put), Route("/show", show)],
        middleware=[Middleware(SessionMiddleware, **express(secret=SECRET, store=store))],
    )
    client = client_of(app)
    client.get("/")
    assert "connect.sid" in client.cookies and client.get("/show").json() == {"value": {"1": ["red", 2]}}


# starlette contract 2
def test_a_value_that_json_dumps_refuses_is_an_error_that_names_it_and_nothing_is_saved(store: Store) -> None:
    async def bad(request: Request) -> Response:
        request.session["cart"] = [object()]
        return PlainTextResponse("never")

    client = TestClient(app_of(store, Route("/", bad)))
    with pytest.raises(SessionEncodeError, match=r"cart\[0\]"):
        client.get("/")
    assert store.writes == []


# starlette contract 2
@pytest.mark.parametrize("cookie", ["", "junk", "null", "a.b", '"'])
def test_a_cookie_that_is_not_ours_is_an_empty_session(store: Store, cookie: str) -> None:
    client = client_of(app_of(store, Route("/", show)), cookies={"sid": cookie})
    answer = client.get("/")
    assert answer.status_code == 200 and answer.json() == {}


# starlette contract 3
@pytest.mark.parametrize(
    ("use", "modified"),
    [
        (lambda session: session.get("a"), False),
        (lambda session: "a" in session, False),
        (lambda session: session.pop("none", None), False),
        (lambda session: session.setdefault("a", 5), False),
        (lambda session: session.__setitem__("b", 1), True),
        (lambda session: session.__delitem__("a"), True),
        (lambda session: session.pop("a"), True),
        (lambda session: session.popitem(), True),
        (lambda session: session.setdefault("b", 5), True),
        (lambda session: session.update(b=2), True),
        (lambda session: session.__ior__({"b": 2}), True),
        (lambda session: session.clear(), True),
        (lambda session: session.mark_modified(), True),
        (lambda session: session.mark_accessed(), False),
        (lambda session: session["list"].append(1), True),  # which Starlette's own does not see
        (lambda session: session.destroy(), True),
        (lambda session: session.login("ann", keep_data=True), True),
    ],
)
def test_a_session_tells_whether_it_was_modified(store: Store, use: Any, *, modified: bool) -> None:
    def used(session: Any) -> tuple[bool, bool]:
        use(session)
        return marks(session)

    told, answer = within(store, used)
    assert told == (True, modified) and "Cookie" in answer.headers["vary"]


# starlette contract 3
@pytest.mark.skipif(not hasattr(sessions, "Session"), reason="before Starlette 1.0 there are no marks")
def test_a_session_is_not_accessed_until_it_is_asked_for(store: Store) -> None:
    told: list[Any] = []

    async def handle(request: Request) -> Response:
        session = session_of(request)
        told.extend([session.accessed, request.session is session, session.accessed])
        return PlainTextResponse("ok")

    client_of(app_of(store, Route("/", handle))).get("/")
    assert told == [False, True, True]


# starlette contract 3
def test_a_session_is_used_as_the_dict_that_starlettes_own_is(store: Store) -> None:
    def use(session: Any) -> Any:
        return session == {"a": 1, "list": []}, session | {"b": 2}, {"b": 2} | session, session.copy(), list(session)

    told, _ = within(store, use)
    both = {"a": 1, "list": [], "b": 2}
    assert told == (True, both, both, {"a": 1, "list": []}, ["a", "list"])


# starlette contract 4
def test_without_a_middleware_the_session_is_an_error_that_says_so(store: Store) -> None:
    async def ours(request: Request) -> Response:
        session_of(request)
        return PlainTextResponse("never")

    with pytest.raises(AssertionError, match="SessionMiddleware"):
        TestClient(Starlette(routes=[Route("/", count)])).get("/")
    with pytest.raises(RuntimeError, match=r"/ has no session: add SessionMiddleware of sojourn\.starlette"):
        TestClient(Starlette(routes=[Route("/", ours)])).get("/")
    plain = Starlette(routes=[Route("/", ours)], middleware=[Middleware(PlainMiddleware, secret=SECRET, store=store)])
    with pytest.raises(RuntimeError, match="add SessionMiddleware"):
        TestClient(plain).get("/")


# starlette contract 4
def test_a_websocket_has_the_session_that_knows_its_type(store: Store) -> None:
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        session = session_of(websocket)
        await websocket.send_json([isinstance(websocket.session, StarletteSession), session is websocket.session])
        await websocket.close()

    with client_of(app_of(store, WebSocketRoute("/", socket))).websocket_connect("/") as peer:
        assert peer.receive_json() == [True, True]


# starlette contract 5
def test_a_cookie_is_sent_for_what_changed_and_expired_for_what_was_emptied(store: Store) -> None:
    async def clear(request: Request) -> Response:
        request.session.clear()
        return PlainTextResponse("ok")

    async def look(request: Request) -> Response:
        return PlainTextResponse(str(len(request.session)), headers={"Vary": "Accept"})

    client = client_of(
        app_of(store, Route("/", count), Route("/clear", clear), Route("/look", look), Route("/no", nothing))
    )
    untouched = client.get("/no")
    assert "set-cookie" not in untouched.headers and "vary" not in untouched.headers
    empty = client.get("/look")
    assert "set-cookie" not in empty.headers and empty.headers["vary"] == "Accept, Cookie"
    assert "set-cookie" in client.get("/").headers and "set-cookie" not in client.get("/look").headers
    ended = client.get("/clear")
    assert "Max-Age=0" in ended.headers["set-cookie"] and not client.cookies
    assert "set-cookie" not in client.get("/clear").headers


# starlette contract 6
@pytest.mark.parametrize("rolling", [False, True])
def test_a_cookies_lifetime_slides_where_that_is_asked_for(store: Store, *, rolling: bool) -> None:
    app = app_of(store, Route("/", count), Route("/show", show), cookie=Cookie(max_age=60), rolling=rolling)
    client = client_of(app)
    assert "Max-Age=60" in client.get("/").headers["set-cookie"]
    assert ("set-cookie" in client.get("/show").headers) is rolling


# starlette contract 6
def test_without_a_lifetime_the_cookie_is_the_browser_sessions(store: Store) -> None:
    header = client_of(app_of(store, Route("/", count))).get("/").headers["set-cookie"]
    assert "Max-Age" not in header and "Expires" not in header


# starlette contract 7
def test_a_dict_in_the_scopes_place_is_another_layers_and_ours_stays(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def replace(request: Request) -> Response:
        request.session["n"] = 5
        request.scope["session"] = {"other": 1}
        return PlainTextResponse(str(request.session["other"]))

    client = client_of(app_of(store, Route("/", replace), Route("/show", show)))
    assert client.get("/").text == "1" and client.get("/show").json() == {"n": 5}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# starlette contract 8, 17
def test_what_comes_after_the_response_has_begun_is_saved(store: Store) -> None:
    async def stream(request: Request) -> Response:
        async def chunks() -> Any:
            yield "0"
            await anyio.lowlevel.checkpoint()
            request.session["late"] = True

        def work() -> None:
            request.session["task"] = True

        request.session["early"] = True
        return StreamingResponse(chunks(), background=BackgroundTask(work))

    client = client_of(app_of(store, Route("/", stream)))
    client.get("/")
    assert read_session(client) == {"early": True, "late": True, "task": True}


# starlette contract 8
def test_a_new_session_that_comes_too_late_is_an_error_in_the_log(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: Request) -> Response:
        def work() -> None:
            request.session["task"] = True

        return PlainTextResponse("ok", background=BackgroundTask(work))

    client = client_of(app_of(store, Route("/", handle)))
    assert client.get("/").status_code == 200 and store.writes == []
    assert "after the response headers had left" in caplog.text


# starlette contract 8
def test_what_a_websocket_changes_is_saved_when_it_ends(store: Store) -> None:
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.session["said"] = await websocket.receive_text()
        await websocket.close()

    client = client_of(app_of(store, Route("/", count), WebSocketRoute("/ws", socket)))
    client.get("/")
    with client.websocket_connect("/ws") as peer:
        peer.send_text("hello")
        with pytest.raises(WebSocketDisconnect):
            peer.receive_text()
    assert read_session(client) == {"n": 1, "said": "hello"}


# starlette contract 9, 11
def test_a_second_middleware_lets_the_first_ones_session_through(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    inner = app_of(Store(), Route("/", count))
    client = client_of(app_of(store, Route("/", count), Mount("/sub", app=inner)))
    assert [client.get(path).text for path in ("/", "/sub/", "/", "/sub/")] == ["1", "2", "3", "4"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# starlette contract 10
def test_an_error_response_saves_and_an_unhandled_error_does_not(store: Store) -> None:
    async def refuse(request: Request) -> Response:
        request.session["tries"] = request.session.get("tries", 0) + 1
        raise HTTPException(401)

    async def fail(request: Request) -> Response:
        request.session["tries"] = 99
        raise ValueError

    client = client_of(app_of(store, Route("/", refuse), Route("/fail", fail)))
    assert [client.get("/").status_code for _ in range(2)] == [401, 401]
    answer = client.get("/fail")
    assert answer.status_code == 500 and "set-cookie" not in answer.headers and read_session(client) == {"tries": 2}


# starlette contract 11
def test_a_mounted_application_shares_the_session_and_the_cookies_path_is_as_it_is_given(store: Store) -> None:
    app = app_of(store, Route("/", count), Mount("/sub", routes=[Route("/", count)]), cookie=Cookie(path="/sub"))
    client = client_of(app)
    assert "Path=/sub" in client.get("/sub/").headers["set-cookie"]
    assert client.get("/sub/").text == "2" and client.get("/").status_code == 500  # no session outside of the path


# starlette contract 12
@pytest.mark.parametrize("outside", [True, False])
def test_a_base_http_middleware_and_its_streams_have_the_same_session(store: Store, *, outside: bool) -> None:
    class Another(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            response.headers["X-Session"] = str(request.scope.get("session") is not None)
            return response

    async def stream(request: Request) -> Response:
        async def chunks() -> Any:
            yield "0"
            request.session["late"] = True

        request.session["early"] = True
        return StreamingResponse(chunks())

    ours = Middleware(SessionMiddleware, secret=SECRET, store=store)
    stack = [Middleware(Another), ours] if outside else [ours, Middleware(Another)]
    client = client_of(Starlette(routes=[Route("/", stream)], middleware=stack))
    assert client.get("/").headers["x-session"] == "True"
    assert read_session(client) == {"early": True, "late": True}


# starlette contract 13
def test_a_clients_session_is_read_written_and_logged_in(store: Store) -> None:
    async def who(request: Request) -> Response:
        return PlainTextResponse(f"{session_of(request).owner} {request.session['cart']}")

    client = client_of(app_of(store, Route("/", who)))
    assert read_session(client) == {} and not client.cookies
    write_session(client, {"cart": ["pear"]})
    log_in(client, "ann")
    assert read_session(client) == {"cart": ["pear"]}
    assert client.get("/").text == "ann ['pear']"


# starlette contract 13
def test_a_clients_session_is_there_at_the_cookies_path(store: Store) -> None:
    client = TestClient(app_of(store, Route("/sub/", count), cookie=Cookie(path="/sub")))
    log_in(client, "ann")
    write_session(client, {"visits": 7})
    assert read_session(client) == {"visits": 7}


def test_a_clients_session_is_on_the_event_loop_of_a_client_that_is_entered(store: Store) -> None:
    with client_of(app_of(store, Route("/", count)), base_url="https://testserver") as client:
        write_session(client, {"n": 4})
        assert client.get("/").text == "5" and "__Host-sid" in client.cookies
        assert read_session(client) == {"n": 5}


# starlette contract 13
@pytest.mark.anyio
async def test_the_session_of_an_async_client_is_awaited(store: Store) -> None:
    import httpx

    app = app_of(store, Route("/", count), lazy=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as client:
        await write_session(client, {"n": 1})
        await log_in(client, "ann")
        assert await read_session(client) == {"n": 1}


# starlette contract 13
def test_a_client_without_sessions_and_a_store_that_is_down_are_errors(store: Store) -> None:
    with pytest.raises(LookupError, match="no SessionMiddleware"):
        read_session(client_of(Starlette()))
    client = client_of(app_of(store, Route("/", count)))
    store.down = True
    with pytest.raises(RuntimeError, match="store failed"):
        write_session(client, {"n": 1})


USERS = {"ann": SimpleUser("Ann"), "root": SimpleUser("Root")}


@requires("authenticated", redirect="login")
async def members(request: Request) -> Response:
    return PlainTextResponse(f"Hello, {request.user.display_name}.")


@requires("admin")
async def admin(request: Request) -> Response:
    return PlainTextResponse(f"Hello, {request.user.display_name}.")


async def login(request: Request) -> Response:
    request.session["from"] = "login"
    return PlainTextResponse("Please log in.")


def auth_app(store: Store, backend: SessionAuthBackend, **options: Any) -> Starlette:
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.user.display_name)
        await websocket.close()

    app = Starlette(
        routes=[
            Route("/", members),
            Route("/admin", admin),
            Route("/login", login, name="login"),
            WebSocketRoute("/ws", socket),
        ]
    )
    app.add_middleware(AuthenticationMiddleware, backend=backend)
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store, **options)
    return app


async def load_user(owner: str) -> SimpleUser | None:
    return USERS.get(owner)


# starlette contract 14, 15
@pytest.mark.parametrize("lazy", [False, True])
def test_whoever_is_logged_in_is_the_authenticated_user(store: Store, *, lazy: bool) -> None:
    backend = SessionAuthBackend(load_user, scopes=lambda user: ["admin"] if user.display_name == "Root" else [])
    client = client_of(auth_app(store, backend, lazy=lazy))
    anonymous = client.get("/")
    assert anonymous.status_code == 303 and anonymous.headers["location"].startswith("http://testserver/login")
    log_in(client, "ann")
    assert client.get("/").text == "Hello, Ann." and client.get("/admin").status_code == 403
    with client.websocket_connect("/ws") as peer:
        assert peer.receive_text() == "Ann"
    log_in(client, "root")
    assert client.get("/admin").text == "Hello, Root."
    log_in(client, "nobody-any-more")
    assert client.get("/").status_code == 303


# starlette contract 14
def test_a_redirect_to_the_login_loses_nothing_of_the_session(store: Store) -> None:
    client = client_of(auth_app(store, SessionAuthBackend()), follow_redirects=True)
    assert client.get("/").text == "Please log in." and read_session(client) == {"from": "login"}
    log_in(client, "ann")
    assert client.get("/").text == "Hello, ann." and read_session(client) == {"from": "login"}


# starlette contract 15
def test_a_session_that_cannot_be_loaded_authenticates_nobody(store: Store) -> None:
    client = client_of(auth_app(store, SessionAuthBackend(), lazy=True))
    log_in(client, "ann")
    store.down = True
    assert client.get("/").status_code == 503


# starlette contract 27
def test_a_session_that_begins_in_a_websocket_has_to_be_written_before_it_is_accepted(store: Store) -> None:
    async def socket(websocket: WebSocket) -> None:
        websocket.session["n"] = 1
        await websocket.accept()
        await websocket.close()

    client = client_of(app_of(store, WebSocketRoute("/ws", socket)))
    with client.websocket_connect("/ws") as peer:
        accepted: Any = peer.extra_headers
    assert store.writes == ["create"] and dict(accepted)[b"set-cookie"].startswith(b"sid=")


# starlette contract 29
def test_the_store_is_opened_with_the_lifespan_and_closed_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []

    async def note_open(_self: Any) -> None:
        noted.append("open")

    async def note_close(_self: Any) -> None:
        noted.append("close")

    monkeypatch.setattr(Store, "open", note_open)
    monkeypatch.setattr(Store, "close", note_close)
    with client_of(app_of(store, Route("/", count))) as client:
        client.get("/")
        assert noted == ["open"]
    assert noted == ["open", "close"]


# starlette contract 18
def test_a_sync_endpoint_has_the_session_in_its_thread(store: Store) -> None:
    def handle(request: Request) -> Response:
        request.session["n"] = request.session.get("n", 0) + 1
        anyio.from_thread.run(session_of(request).save)
        return PlainTextResponse(str(request.session["n"]))

    client = client_of(app_of(store, Route("/", handle)))
    assert [client.get("/").text for _ in range(2)] == ["1", "2"] and store.writes == ["create", "replace"]


def test_a_lazy_session_is_accessed_once_it_is_loaded(store: Store) -> None:
    async def handle(request: Request) -> Response:
        before = session_of(request).accessed, request.session is not None, session_of(request).accessed
        await load_session(request)
        return JSONResponse([*before, session_of(request).get("n")])

    client = client_of(app_of(store, Route("/", handle), Route("/no", nothing), lazy=True))
    write_session(client, {"n": 1})
    store.calls.clear()
    client.get("/no")
    assert store.calls == [] and client.get("/").json() == [False, True, False, 1] and store.calls == ["load"]


def test_a_lazy_session_that_cannot_be_loaded_is_the_middlewares_503(store: Store) -> None:
    async def handle(request: Request) -> Response:
        await load_session(request)
        return PlainTextResponse("never")

    async def socket(websocket: WebSocket) -> None:
        await load_session(websocket)

    client = client_of(app_of(store, Route("/", handle), WebSocketRoute("/ws", socket), lazy=True))
    write_session(client, {"n": 1})
    store.down = True
    answer = client.get("/")
    assert answer.status_code == 503 and answer.headers["retry-after"]
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws"):
        pass


def test_a_destroyed_session_may_still_be_asked_for(store: Store) -> None:
    async def handle(request: Request) -> Response:
        session_of(request).destroy()
        return PlainTextResponse(str(marks(request.session)))

    client = client_of(app_of(store, Route("/", handle)))
    write_session(client, {"n": 1})
    assert client.get("/").text == "(True, True)" and not client.cookies


def test_a_redirect_carries_the_cookie_of_a_login(store: Store) -> None:
    async def handle(request: Request) -> Response:
        session_of(request).login("ann")
        return RedirectResponse("/", status_code=303)

    client = client_of(app_of(store, Route("/", handle, methods=["POST"])))
    assert "sid" in client.post("/").cookies


def test_marking_a_session_modified_renews_its_idle_timeout(store: Store) -> None:
    within(store, lambda session: session.mark_modified())
    assert store.writes == ["create", "touch"]


def rows(heading: str) -> str:
    """The first column of a table of docs/frameworks/coming-from-starlette.md."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")
    lines = section.partition("\n## ")[0].splitlines()
    return "\n".join(line.split("|")[1] for line in lines if line.startswith("|"))


# starlette contract 1
def test_every_option_of_starlettes_own_is_in_the_table_of_those_who_come_from_it() -> None:
    told = re.findall(r"`(\w+)`", rows("From Starlette's SessionMiddleware"))
    options = [name for name in inspect.signature(sessions.SessionMiddleware).parameters if name != "app"]
    assert [name for name in options if name not in told] == [] and len(options) > 6


# starlette contract 32
def test_every_option_and_function_of_starsessions_is_in_the_table_of_those_who_come_from_it() -> None:
    import starsessions

    told = rows("From starsessions")
    functions = [name for name in starsessions.__all__ if name.startswith(("get_", "load_", "regenerate_"))]
    options = [name for name in inspect.signature(starsessions.SessionMiddleware).parameters if name != "app"]
    assert len(functions) > 4 and [name for name in [*functions, *options] if name not in told] == []


def test_the_tests_of_starlettes_own_that_do_not_pass_are_told_with_their_reasons() -> None:
    _, _, section = PAGE.with_name("starlette.md").read_text(encoding="utf-8").partition("## Starlette's own tests")
    told = re.findall(r"`(test_\w+)`", section)
    assert told and sorted(told) == sorted(REASONS)


def test_the_scope_fresh_is_for_whoever_has_just_given_the_password(store: Store) -> None:
    @requires(["authenticated", "fresh"], redirect="confirm")
    async def delete(request: Request) -> Response:
        return PlainTextResponse("deleted")

    async def confirm(request: Request) -> Response:
        session_of(request).confirm()
        return RedirectResponse(next_page(request), 303)

    app = Starlette(routes=[Route("/delete", delete), Route("/confirm", confirm, name="confirm")])
    app.add_middleware(AuthenticationMiddleware, backend=SessionAuthBackend(fresh=timedelta(minutes=15)))
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store)
    client = client_of(app)
    log_in(client, "ann", remember=timedelta(days=1))
    sent = client.get("/delete?really=1")
    assert sent.status_code == 303
    back = client.get(sent.headers["location"])
    assert back.headers["location"] == "/delete?really=1" and client.get(back.headers["location"]).text == "deleted"
    for other in ("https://testserver/", "http://testserver.evil.test/", "http://testserver//evil.test/"):
        assert client.get("/confirm", params={"next": other}).headers["location"] == "/"
    with pytest.raises(ConfigurationError, match="fresh"):
        SessionAuthBackend(fresh=-1)
