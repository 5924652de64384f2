"""Under Starlette and FastAPI: ``request.session`` is ours, on asyncio and trio."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sojourn import AsyncSession, Cookie, SessionEncodeError, StoreUnavailable
from sojourn.asgi import SessionMiddleware
from sojourn.core.store import Deleted
from sojourn.stores import AsyncMemoryStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer ones of Starlette prefer another client
    from starlette.testclient import TestClient

SECRET = "a secret that is long enough for everybody"
Backend = Literal["asyncio", "trio"]


class Store(AsyncMemoryStore):
    """Notes its writes, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.down = False

    def _note(self, name: str) -> None:
        if self.down:
            raise StoreUnavailable("down")
        self.writes.append(name)

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        self._note("create")
        return await super().create(*args, **kwargs)

    async def replace(self, *args: Any, **kwargs: Any) -> Any:
        self._note("replace")
        return await super().replace(*args, **kwargs)

    async def regenerate(self, *args: Any, **kwargs: Any) -> Any:
        self._note("regenerate")
        return await super().regenerate(*args, **kwargs)

    async def delete(self, *keys: str) -> Deleted:
        self._note("delete")
        return await super().delete(*keys)


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("sojourn.logs._said", set())
    return Store()


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(backend: Backend) -> Serve:
    def make(app: Any) -> TestClient:
        return TestClient(app, backend=backend, raise_server_exceptions=False, follow_redirects=False)

    return make


def starlette(store: Store, *routes: Any, **options: Any) -> Starlette:
    return Starlette(
        routes=list(routes), middleware=[Middleware(SessionMiddleware, secret=SECRET, store=store, **options)]
    )


async def count(request: Any) -> Response:
    request.session["n"] = request.session.get("n", 0) + 1
    return PlainTextResponse(str(request.session["n"]))


async def show(request: Any) -> Response:
    return PlainTextResponse(repr(dict(request.session)))


def test_request_session_is_ours_and_lives_on(serve: Serve, store: Store) -> None:
    async def kind(request: Any) -> Response:
        return PlainTextResponse(str(isinstance(request.session, AsyncSession)))

    client = serve(starlette(store, Route("/", count), Route("/kind", kind)))
    assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]
    assert client.get("/kind").text == "True" and store.writes == ["create", "replace", "replace"]


def test_a_login_redirects_with_its_cookie_and_a_logout_expires_it(serve: Serve, store: Store) -> None:
    async def login(request: Any) -> Response:
        request.session.login("ann")
        return RedirectResponse("/", status_code=303)

    async def logout(request: Any) -> Response:
        request.session.logout()
        return RedirectResponse("/", status_code=303)

    async def who(request: Any) -> Response:
        return PlainTextResponse(str(request.session.owner))

    client = serve(
        starlette(
            store, Route("/", who), Route("/login", login, methods=["POST"]), Route("/logout", logout, methods=["POST"])
        )
    )
    answer = client.post("/login")
    assert answer.status_code == 303 and "sid" in answer.cookies and client.get("/").text == "ann"
    answer = client.post("/logout")
    assert "Max-Age=0" in answer.headers["set-cookie"] and client.get("/").text == "None"
    assert store.writes == ["create", "delete"]


def test_clear_logs_out_as_it_does_with_starlettes_own_sessions(serve: Serve, store: Store) -> None:
    async def clear(request: Any) -> Response:
        request.session.clear()
        return PlainTextResponse("ok")

    client = serve(starlette(store, Route("/", count), Route("/clear", clear), Route("/show", show)))
    client.get("/")
    client.get("/clear")
    assert store.writes == ["create", "delete"] and client.get("/show").text == "{}" and not client.cookies


def test_an_http_exception_is_an_answer_and_saves(serve: Serve, store: Store) -> None:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store)

    @app.get("/")
    async def handle(request: Request) -> None:
        request.session["tries"] = request.session.get("tries", 0) + 1
        raise HTTPException(401, str(request.session["tries"]))

    client = serve(app)
    assert [client.get("/").json()["detail"] for _ in range(2)] == ["1", "2"]
    assert store.writes == ["create", "replace"]


def test_a_json_response_says_what_it_takes(serve: Serve, store: Store) -> None:
    async def handle(request: Any) -> Response:
        request.session["n"] = 1
        with pytest.raises(TypeError, match=r"dict\(session\)"):
            JSONResponse(request.session)
        return JSONResponse(dict(request.session))

    assert serve(starlette(store, Route("/", handle))).get("/").json() == {"n": 1}


@pytest.mark.parametrize("prefix", ["", "/app"])  # whether the proxy takes it away
def test_behind_a_proxy_that_takes_a_prefix_the_whole_path_counts(serve: Serve, store: Store, prefix: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer ones of FastAPI would have the server told
        app = FastAPI(root_path="/app")
    cookie = Cookie(path="/app/shop")
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store, cookie=cookie, exclude=["/app/shop/static"])

    @app.get("/{path:path}")  # noqa: FAST003 - whatever it is
    async def handle(request: Request) -> bool:
        return "session" in request.scope

    client = serve(app)
    paths = ["/shop", "/shop/cart", "/shopping", "/", "/shop/static/x"]
    assert [client.get(prefix + path).json() for path in paths] == [True, True, False, False, False]


def test_a_flash_in_the_handler_of_500s_is_told(serve: Serve, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async def bad(request: Any) -> Response:
        raise ZeroDivisionError

    async def sorry(request: Any, _error: Exception) -> Response:
        request.session.flash("Sorry.")
        return PlainTextResponse("sorry", 500)

    app = starlette(store, Route("/", count), Route("/bad", bad), Route("/show", show))
    app.add_exception_handler(Exception, sorry)
    client = serve(app)
    client.get("/")
    assert client.get("/bad").text == "sorry"
    assert "changed after its request had ended" in caplog.text
    assert "_flashes" not in client.get("/show").text


def test_an_unhandled_exception_is_a_500_that_saves_nothing(serve: Serve, store: Store) -> None:
    async def handle(request: Any) -> Response:
        request.session["n"] = 1
        raise RuntimeError

    client = serve(starlette(store, Route("/", handle)))
    answer = client.get("/")
    assert answer.status_code == 500 and "set-cookie" not in answer.headers and store.writes == []


def test_a_value_that_cannot_be_stored_is_a_500_and_not_a_broken_session(serve: Serve, store: Store) -> None:
    caught: list[Exception] = []

    async def bad(request: Any) -> Response:
        request.session["n"] = object()
        return PlainTextResponse("never")

    async def on_error(_request: Any, error: Exception) -> Response:
        caught.append(error)
        return PlainTextResponse("sorry", status_code=500)

    app = starlette(store, Route("/", count), Route("/bad", bad), Route("/show", show))
    app.add_exception_handler(Exception, on_error)
    client = serve(app)
    client.get("/")
    answer = client.get("/bad")
    assert (answer.status_code, answer.text) == (500, "sorry")
    assert isinstance(caught[0], SessionEncodeError) and client.get("/show").text == "{'n': 1}"


def test_a_failed_save_is_a_503_under_a_framework(serve: Serve, store: Store) -> None:
    client = serve(starlette(store, Route("/", count)))
    store.down = True
    answer = client.get("/")
    assert answer.status_code == 503 and "set-cookie" not in answer.headers and "unavailable" in answer.text
    store.down = False
    assert client.get("/").text == "1"


def test_a_streaming_response_has_its_cookie_and_late_changes_are_saved(serve: Serve, store: Store) -> None:
    async def stream(request: Any) -> Response:
        async def chunks() -> Any:
            for n in range(3):
                yield str(n)
                await anyio.lowlevel.checkpoint()
            request.session["late"] = True

        request.session["early"] = True
        return StreamingResponse(chunks(), media_type="text/plain")

    client = serve(starlette(store, Route("/", stream), Route("/show", show)))
    answer = client.get("/")
    assert answer.text == "012" and "sid" in answer.cookies
    assert store.writes == ["create", "replace"] and client.get("/show").text == "{'early': True, 'late': True}"


def test_a_background_task_can_still_change_the_session(serve: Serve, store: Store) -> None:
    async def handle(request: Any) -> Response:
        async def work() -> None:
            request.session["done"] = True
            await request.session.save()

        request.session["n"] = 1
        return PlainTextResponse("ok", background=BackgroundTask(work))

    client = serve(starlette(store, Route("/", handle), Route("/show", show)))
    client.get("/")
    assert client.get("/show").text == "{'n': 1, 'done': True}" and store.writes == ["create", "replace"]


@pytest.mark.parametrize("outside", [True, False])
def test_beside_a_base_http_middleware(serve: Serve, store: Store, *, outside: bool) -> None:
    class Another(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Response:
            if not outside:
                request.session["seen"] = True
            answer: Response = await call_next(request)
            answer.headers["X-Another"] = "yes"
            return answer

    ours = Middleware(SessionMiddleware, secret=SECRET, store=store)
    stack = [Middleware(Another), ours] if outside else [ours, Middleware(Another)]
    client = serve(Starlette(routes=[Route("/", count), Route("/show", show)], middleware=stack))
    answer = client.get("/")
    assert answer.headers["x-another"] == "yes" and "sid" in answer.cookies and client.get("/").text == "2"
    assert ("seen" in client.get("/show").text) is not outside


def test_in_a_mounted_app_the_session_is_the_same(serve: Serve, store: Store) -> None:
    client = serve(starlette(store, Route("/", count), Mount("/sub", routes=[Route("/", count)])))
    assert [client.get(path).text for path in ("/", "/sub/", "/")] == ["1", "2", "3"]


def test_a_mounted_app_with_a_middleware_of_its_own_uses_the_outer_session(serve: Serve, store: Store) -> None:
    inner = starlette(Store(), Route("/", count))
    client = serve(starlette(store, Route("/", count), Mount("/sub", app=inner)))
    assert [client.get(path).text for path in ("/", "/sub/", "/")] == ["1", "2", "3"]


def test_head_and_conditional_answers_save(serve: Serve, store: Store) -> None:
    async def handle(request: Any) -> Response:
        request.session["n"] = request.session.get("n", 0) + 1
        return Response(status_code=304)

    client = serve(starlette(store, Route("/", count), Route("/304", handle)))
    assert client.head("/").status_code == 200 and client.get("/304").status_code == 304
    assert client.get("/").text == "3"


def visits(request: Request) -> int:
    return int(request.session.get("n", 0))


async def cleaning(request: Request) -> Any:
    yield request.session
    request.session["cleaned"] = True


def test_sync_endpoints_and_dependencies_of_fastapi_share_the_session(serve: Serve, store: Store) -> None:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store)

    @app.get("/")
    def handle(request: Request, before: Annotated[int, Depends(visits)]) -> dict[str, int]:
        request.session["n"] = before + 1
        return {"n": before + 1}

    @app.get("/yield")
    async def handle_yield(session: Annotated[Any, Depends(cleaning)]) -> dict[str, int]:
        return {"n": session["n"]}

    client = serve(app)
    assert [client.get("/").json() for _ in range(2)] == [{"n": 1}, {"n": 2}]
    assert client.get("/yield").json() == {"n": 2}


def test_setting_the_scopes_session_to_none_ends_it(serve: Serve, store: Store) -> None:
    async def end(request: Any) -> Response:
        request.scope["session"] = None
        return PlainTextResponse("ok")

    client = serve(starlette(store, Route("/", count), Route("/end", end)))
    client.get("/")
    assert "Max-Age=0" in client.get("/end").headers["set-cookie"] and store.writes == ["create", "delete"]
    assert client.get("/").text == "1"


def test_lazy_sessions_are_loaded_by_an_await(serve: Serve, store: Store) -> None:
    async def handle(request: Any) -> Response:
        await request.session.load()
        return await count(request)

    client = serve(starlette(store, Route("/", handle), lazy=True))
    assert [client.get("/").text for _ in range(2)] == ["1", "2"]


def test_a_websocket_has_the_session_and_saves_at_its_end(serve: Serve, store: Store) -> None:
    class Echo(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            websocket.session["said"] = data
            await websocket.send_text(f"{websocket.session['n']} {data}")

    client = serve(starlette(store, Route("/", count), WebSocketRoute("/ws", Echo), Route("/show", show)))
    client.get("/")
    with client.websocket_connect("/ws") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "1 hello"
    assert client.get("/show").text == "{'n': 1, 'said': 'hello'}"


def test_a_websocket_that_is_refused(serve: Serve, store: Store) -> None:
    async def refuse(websocket: WebSocket) -> None:
        websocket.session["tries"] = 1
        await websocket.close(4000)

    client = serve(starlette(store, Route("/", count), WebSocketRoute("/ws", refuse), Route("/show", show)))
    client.get("/")
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws"):
        pass
    assert client.get("/show").text == "{'n': 1, 'tries': 1}"


def test_lifespan_runs_with_the_middleware_in_place(
    serve: Serve, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="sojourn"), serve(starlette(store, Route("/", count))) as client:
        assert client.get("/").text == "1"
    assert caplog.records == []
