"""Under FastAPI: the session as a dependency, and whoever is logged in (docs/frameworks/starlette-contract.md)."""

import inspect
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Annotated, Any

import anyio
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response, Security, WebSocket
from fastapi.exceptions import FastAPIError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from starlette.websockets import WebSocketDisconnect

from sojourn import AsyncSession, ConfigurationError, Cookie, express
from sojourn.fastapi import (
    LoggedIn,
    SessionDep,
    SessionMiddleware,
    SessionSecurity,
    StarletteSession,
    current_session,
    next_page,
)
from sojourn.testing import ManualClock, log_in, read_session, write_session
from tests.doors.starlette_clients import SECRET, Store, TestClient, client_of


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("sojourn.logs._said", set())
    return Store()


def app_of(store: Any, **options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store, **options)
    return app


# starlette contract 20
def test_the_session_is_a_dependency_of_routes_websockets_and_mounted_applications(store: Store) -> None:
    app, sub = app_of(store), FastAPI()

    @app.get("/")
    async def route(session: SessionDep) -> int:
        return int(session.increment("n"))

    @sub.get("/")
    async def in_sub(session: SessionDep) -> int:
        return int(session.increment("n"))

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, session: SessionDep) -> None:
        await websocket.accept()
        await websocket.send_json([session["n"], isinstance(session, StarletteSession)])
        await websocket.close()

    app.mount("/sub", sub)
    client = client_of(app)
    assert [client.get(path).json() for path in ("/", "/sub/", "/")] == [1, 2, 3]
    with client.websocket_connect("/ws") as peer:
        assert peer.receive_json() == [3, True]


# starlette contract 20
def test_a_bare_annotation_is_refused_by_fastapi_and_so_the_alias_is_there() -> None:
    app = FastAPI()

    async def handle(session: AsyncSession) -> None: ...

    with pytest.raises(FastAPIError):
        app.get("/")(handle)


def test_the_express_profile_works_through_this_door(store: Store) -> None:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, **express(secret=SECRET, store=store))

    @app.get("/")
    async def route(session: SessionDep) -> int:
        return int(session.increment("n"))

    client = client_of(app)
    assert [client.get("/").json() for _ in range(2)] == [1, 2] and client.cookies["connect.sid"].startswith("s%3A")


async def late(session: SessionDep) -> AsyncIterator[None]:
    yield
    session["late"] = True


# starlette contract 16
def test_the_exit_of_a_yield_dependency_is_saved_for_a_session_that_exists(store: Store) -> None:
    app = app_of(store)

    @app.get("/")
    async def route(session: SessionDep, _late: Annotated[None, Depends(late)]) -> None: ...

    client = client_of(app)
    write_session(client, {"n": 1})
    client.get("/")
    assert read_session(client) == {"n": 1, "late": True}


# starlette contract 16
@pytest.mark.skipif("scope" not in inspect.signature(Depends).parameters, reason="FastAPI 0.121 has scopes")
def test_the_exit_of_a_yield_dependency_of_the_function_is_in_time_for_a_new_session_too(store: Store) -> None:
    app = app_of(store)

    @app.get("/")
    async def route(_late: Annotated[None, Depends(late, scope="function")]) -> None: ...

    client = client_of(app)
    assert "set-cookie" in client.get("/").headers and read_session(client) == {"late": True}


# starlette contract 17
def test_background_tasks_are_saved_late_and_by_save(store: Store) -> None:
    app = app_of(store)

    async def work(session: AsyncSession) -> None:
        session["saved"] = True
        await session.save()
        session["late"] = True

    def work_in_thread(session: AsyncSession) -> None:
        session["thread"] = True

    @app.get("/")
    async def route(session: SessionDep, tasks: BackgroundTasks) -> None:
        session["n"] = 1
        tasks.add_task(work, session)
        tasks.add_task(work_in_thread, session)

    client = client_of(app)
    client.get("/")
    assert read_session(client) == {"n": 1, "saved": True, "late": True, "thread": True}
    assert store.writes == ["create", "replace", "replace"]


# starlette contract 18
def test_a_sync_endpoint_and_its_sync_dependencies_have_the_session_in_their_threads(store: Store) -> None:
    app = app_of(store)

    def before(session: SessionDep) -> Iterator[int]:
        yield session.get("n", 0)

    @app.get("/")
    def route(session: SessionDep, n: Annotated[int, Depends(before)]) -> int:
        session["n"] = n + 1
        anyio.from_thread.run(session.save)
        return n

    client = client_of(app)
    assert [client.get("/").json() for _ in range(3)] == [0, 1, 2]


# starlette contract 19
def test_a_connection_serves_requests_and_websockets_alike(store: Store) -> None:
    app = app_of(store)

    async def visitor(connection: HTTPConnection) -> str:
        return str((await current_session(connection)).get("name", "nobody"))

    @app.get("/")
    async def route(name: Annotated[str, Depends(visitor)]) -> str:
        return name

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, name: Annotated[str, Depends(visitor)]) -> None:
        await websocket.accept()
        await websocket.send_text(name)
        await websocket.close()

    client = client_of(app)
    assert client.get("/").json() == "nobody"
    write_session(client, {"name": "ann"})
    with client.websocket_connect("/ws") as peer:
        assert peer.receive_text() == "ann"
    assert client.get("/").json() == "ann"


def guarded(store: Any, security: Any = LoggedIn, **options: Any) -> FastAPI:
    app = app_of(store, **options)

    @app.get("/me")
    async def me(session: security) -> Any:
        return session.owner

    @app.get("/me/{page}")
    async def page(session: security) -> Any:
        return session.owner

    @app.post("/me")
    async def change(session: security) -> Any:
        return session.owner

    @app.get("/open")
    async def free(session: SessionDep) -> Any:
        return session.owner

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, session: security) -> None:
        await websocket.accept()
        await websocket.send_text(session.owner)
        await websocket.close()

    @app.get("/login")
    async def login(request: Request) -> str:
        return next_page(request, default="/home")

    return app


# starlette contract 21
@pytest.mark.parametrize(
    ("options", "base_url", "name"),
    [
        ({}, "http://testserver", "sid"),
        ({}, "https://testserver", "__Host-sid"),
        ({"name": "shop"}, "https://testserver", "__Host-shop"),
        ({"cookie": Cookie(path="/api")}, "https://testserver", "sid"),
        ({"cookie": Cookie(secure=True)}, "http://testserver", "__Host-sid"),
    ],
)
def test_the_openapi_document_names_the_cookie_as_it_is_sent(
    store: Store, options: dict[str, Any], base_url: str, name: str
) -> None:
    path = options["cookie"].path if "cookie" in options else "/"
    app = guarded(store, **options)
    app.openapi_url = None
    api = FastAPI(openapi_url=f"{path.rstrip('/')}/openapi.json")
    api.include_router(app.router)
    api.add_middleware(SessionMiddleware, secret=SECRET, store=store, **options)
    document = client_of(api, base_url=base_url).get(f"{path.rstrip('/')}/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"session": {"type": "apiKey", "in": "cookie", "name": name}}
    assert document["paths"]["/me"]["get"]["security"] == [{"session": []}]
    assert "security" not in document["paths"]["/open"]["get"] and "parameters" not in document["paths"]["/me"]["get"]


# starlette contract 21
def test_the_document_that_is_made_without_a_request_has_the_name_that_is_given(store: Store) -> None:
    def name(security: Any) -> Any:
        return guarded(store, security).openapi()["components"]["securitySchemes"]["session"]["name"]

    assert name(LoggedIn) == "sid"
    assert name(Annotated[StarletteSession, Security(SessionSecurity(name="__Host-sid"))]) == "__Host-sid"


# starlette contract 22
def test_a_route_for_whoever_is_logged_in_is_a_401_for_others(store: Store) -> None:
    client = client_of(guarded(store))
    answer = client.get("/me", headers={"Accept": "text/html"})
    assert answer.status_code == 401 and answer.json() == {"detail": "Not authenticated"}
    assert answer.headers["www-authenticate"] == "APIKey" and "Cookie" in answer.headers["vary"]
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws"):
        pass
    assert caught.value.code == 1008
    log_in(client, "ann")
    assert client.get("/me").json() == "ann"
    with client.websocket_connect("/ws") as peer:
        assert peer.receive_text() == "ann"


Page = Annotated[StarletteSession, Security(SessionSecurity(login_page="/login"))]


# starlette contract 22
def test_a_page_redirects_to_the_login_and_leads_back(store: Store) -> None:
    client = client_of(guarded(store, Page), headers={"Accept": "text/html,*/*"})
    answer = client.get("/me?tab=1&x=ü")
    assert answer.status_code == 303 and answer.headers["location"] == "/login?next=/me%3Ftab%3D1%26x%3D%25C3%25BC"
    assert client.get(answer.headers["location"]).json() == "/me?tab=1&x=%C3%BC"
    odd = client.get("/me/a%20b%25")
    assert client.get(odd.headers["location"]).json() == "/me/a%20b%25"  # as the browser asked for it
    assert client.post("/me").headers["location"] == "/login"
    assert client.get("/me", headers={"Accept": "application/json"}).status_code == 401
    log_in(client, "ann")
    assert client.get("/me").json() == "ann"


# starlette contract 22
@pytest.mark.parametrize(
    "next_", ["", "https://evil.test/", "//evil.test/", "/\\evil.test/", "evil", "/\t/evil.test", "javascript:alert(1)"]
)
def test_the_login_leads_to_no_other_site(store: Store, next_: str) -> None:
    assert client_of(guarded(store)).get("/login", params={"next": next_}).json() == "/home"


# starlette contract 22
def test_a_guard_that_requires_nobody_gives_the_session_in_any_case(store: Store) -> None:
    maybe = Annotated[StarletteSession, Security(SessionSecurity(required=False))]
    assert client_of(guarded(store, maybe)).get("/me").json() is None


# starlette contract 26
def test_the_cookie_goes_with_a_response_parameter_and_with_a_response_that_is_returned(store: Store) -> None:
    app = app_of(store)

    @app.get("/parameter")
    async def parameter(session: SessionDep, response: Response) -> int:
        session["n"] = 1
        response.set_cookie("other", "1")
        return 1

    @app.get("/returned")
    async def returned(session: SessionDep) -> Response:
        session["n"] = 1
        answer = JSONResponse(1)
        answer.set_cookie("other", "1")
        return answer

    for path in ("/parameter", "/returned"):
        client = client_of(app)
        client.get(path)
        assert sorted(client.cookies) == ["other", "sid"]


# starlette contract 28
def test_what_a_stream_changes_of_a_session_that_exists_is_saved_at_its_end(store: Store) -> None:
    app = app_of(store)

    @app.get("/")
    async def route(session: SessionDep) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            for n in range(3):
                session["seen"] = n
                yield f"data: {n}\n\n"

        session["n"] = 1
        return StreamingResponse(events(), media_type="text/event-stream")

    client = client_of(app)
    assert client.get("/").text.count("data:") == 3 and read_session(client) == {"n": 1, "seen": 2}


def test_a_lazy_session_costs_a_route_that_does_not_ask_for_it_nothing(store: Store) -> None:
    app = app_of(store, lazy=True)

    @app.get("/")
    async def route(session: SessionDep) -> Any:
        return session.get("n")

    @app.get("/no")
    async def no() -> None: ...

    client = client_of(app)
    write_session(client, {"n": 1})
    store.calls.clear()
    client.get("/no")
    assert store.calls == [] and client.get("/").json() == 1 and store.calls == ["load"]


def test_the_dependencies_work_where_the_middleware_is_an_outer_applications(store: Store) -> None:
    api = FastAPI()
    api.include_router(router := APIRouter())

    @router.get("/never")
    async def never() -> None: ...

    @api.get("/")
    async def route(session: SessionDep) -> int:
        return int(session.increment("n"))

    outer = Starlette(
        routes=[Mount("/api", app=api)], middleware=[Middleware(SessionMiddleware, secret=SECRET, store=store)]
    )
    client = client_of(outer, base_url="https://testserver")
    assert [client.get("/api/").json() for _ in range(2)] == [1, 2]


def test_an_http_exception_saves_and_an_unhandled_error_does_not(store: Store) -> None:
    app = app_of(store)

    @app.get("/")
    async def route(session: SessionDep, *, fail: bool = False) -> None:
        session.increment("tries")
        raise ValueError if fail else HTTPException(400)

    client = client_of(app)
    assert [client.get("/", params={"fail": fail}).status_code for fail in (False, True, False)] == [400, 500, 400]
    assert read_session(client) == {"tries": 2}


def test_a_route_may_return_the_session(store: Store) -> None:
    app = app_of(store)

    @app.get("/bare")
    async def bare(session: SessionDep):
        return session

    @app.get("/within")
    async def within(session: SessionDep):
        return {"session": session}

    @app.get("/typed")
    async def typed(request: Request) -> dict[str, Any]:
        return request.session

    client = client_of(app)
    write_session(client, {"n": [1]})
    assert client.get("/bare").json() == client.get("/typed").json() == {"n": [1]}
    assert client.get("/within").json() == {"session": {"n": [1]}}


def test_without_a_middleware_the_error_says_what_to_add() -> None:
    app = FastAPI()

    @app.get("/")
    async def route(session: SessionDep) -> None: ...

    with pytest.raises(RuntimeError, match="add SessionMiddleware"):
        TestClient(app).get("/")


# -- the password, asked for again -----------------------------------------------------------------------------------------

AskedAgain = Annotated[
    StarletteSession,
    Security(SessionSecurity(login_page="/login", fresh=timedelta(minutes=15), confirm_page="/confirm")),
]
JustNow = Annotated[StarletteSession, Security(SessionSecurity(fresh=900))]


def confirmable(store: Any, security: Any, clock: ManualClock) -> FastAPI:
    app = guarded(store, security, clock=clock)

    @app.get("/confirm")
    async def confirm(request: Request, session: LoggedIn) -> str:
        session.confirm()
        return next_page(request)

    return app


def test_whose_password_was_given_too_long_ago_is_asked_for_it_and_led_back(store: Store) -> None:
    clock = ManualClock()
    client = client_of(confirmable(store, AskedAgain, clock), headers={"Accept": "text/html"})
    assert client.get("/me?tab=1").headers["location"] == "/login?next=/me%3Ftab%3D1"
    log_in(client, "ann")
    assert client.get("/me").json() == "ann"
    clock.advance(15 * 60_000 + 1)
    sent = client.get("/me?tab=1")
    assert sent.status_code == 303 and sent.headers["location"] == "/confirm?next=/me%3Ftab%3D1"
    assert client.post("/me").headers["location"] == "/confirm"
    before = client.cookies["sid"]
    assert client.get(sent.headers["location"]).json() == "/me?tab=1" and client.cookies["sid"] != before
    assert client.get("/me?tab=1").json() == "ann"


def test_without_a_page_or_a_browser_it_is_a_403(store: Store) -> None:
    for security, accept in ((JustNow, "text/html"), (AskedAgain, "application/json")):
        client = client_of(confirmable(store, security, ManualClock()), headers={"Accept": accept})
        assert client.get("/me").status_code == 401
        log_in(client, "ann", remember=timedelta(days=1))
        answer = client.get("/me")
        assert answer.status_code == 403 and answer.json() == {"detail": "Password needed again"}
        with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws"):
            pass
        assert caught.value.code == 1008 and client.get("/open").json() == "ann"


def test_a_guard_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="fresh: got '15 minutes'"):
        SessionSecurity(fresh="15 minutes")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="give fresh too"):
        SessionSecurity(confirm_page="/confirm")


def test_all_that_a_login_can_do_goes_through_this_door(store: Store) -> None:
    app = app_of(store)

    @app.get("/{what}")
    async def do(session: SessionDep, what: str) -> Any:
        match what:
            case "begin":
                session.begin_login("ann", stamp="hash")
            case "complete":
                session.complete_login(sid="idp", max_sessions=1)
            case "try":
                return await session.try_login("ann", max_sessions=1)
            case "end":
                return await session.sessions.end_sid("idp")
            case _:
                pass
        return [session.owner, session.pending_owner, session.check("hash")]

    client, other = client_of(app), client_of(app)
    assert client.get("/begin").json() == [None, "ann", False]
    assert client.get("/complete").json() == ["ann", None, True]
    assert other.get("/try").json() is False and client.get("/me").json() == ["ann", None, True]
    assert other.get("/end").json() == 1 and client.get("/me").json() == [None, None, False]
    assert other.get("/try").json() is True
