"""Under Quart: ``quart.session`` is kept in a store, for requests and WebSockets, and what works with Quart's own works with it.

``# quart contract`` and a number above a test names the line of docs/frameworks/quart-contract.md that it holds.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import pytest
import quart
from flask.sessions import SessionMixin
from markupsafe import Markup
from quart import Quart, Response, flash, get_flashed_messages, websocket
from quart.testing import WebsocketResponseError
from werkzeug.datastructures import Headers

import sojourn
from sojourn import (
    AsyncSession,
    ConfigurationError,
    Cookie,
    EncryptedCodec,
    HeadersAlreadySent,
    SessionEncodeError,
    SessionNotLoaded,
    SojournWarning,
    StoreError,
    StoreUnavailable,
)
from sojourn.asgi import SessionMiddleware
from sojourn.quart import (
    QuartSession,
    SessionInterface,
    Sojourn,
    flask_codec,
    fresh_required,
    next_page,
    session,
)
from sojourn.stores import AsyncMemoryStore, AsyncRedisStore
from sojourn.testing import ManualClock
from sojourn.testing.quart import log_in
from sojourn.transports import CookieTransport, HeaderTransport

pytestmark = pytest.mark.anyio

QUART = tuple(map(int, version("quart").split(".")[:2]))
SECRET = "a secret that is long enough for everybody"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as Quart


@pytest.fixture(autouse=True)
def _say_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sojourn.logs._said", set())


class Store(AsyncMemoryStore):
    """Notes what is asked of it, and fails when told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[str] = []
        self.failing: set[str] = set()
        self.opened = 0

    async def open(self) -> None:
        self.opened += 1
        await super().open()

    async def close(self) -> None:
        self.opened -= 1
        await super().close()

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise StoreUnavailable("down")

    async def load(self, *args: Any) -> Any:
        self._note("load")
        return await super().load(*args)

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        self._note("create")
        return await super().create(*args, **kwargs)

    async def replace(self, *args: Any, **kwargs: Any) -> Any:
        self._note("replace")
        return await super().replace(*args, **kwargs)

    async def regenerate(self, *args: Any, **kwargs: Any) -> Any:
        self._note("regenerate")
        return await super().regenerate(*args, **kwargs)

    async def delete(self, *args: Any) -> Any:
        self._note("delete")
        return await super().delete(*args)


@pytest.fixture
def store() -> Store:
    return Store()


def site(store: Any, config: dict[str, Any] | None = None, **options: Any) -> Any:
    """An application with the routes that the tests use."""
    app = Quart(__name__)
    app.config.update({"SECRET_KEY": SECRET, "TESTING": True, **(config or {})})
    Sojourn(app, store=store, **options)

    @app.get("/count")
    async def count() -> str:
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    @app.get("/show")
    async def show() -> dict[str, Any]:
        return dict(session)

    @app.get("/nothing")
    async def nothing() -> str:
        return "nothing"

    return app


def current() -> object:
    """The session itself, rather than the proxy."""
    found: object = session._get_current_object()  # type: ignore[attr-defined]  # werkzeug documents it
    return found


async def text(client: Any, path: str) -> str:
    response = await client.get(path)
    assert response.status_code == 200
    found: str = await response.get_data(as_text=True)
    return found


async def served(app: Any, scope: dict[str, Any], note: Callable[[Any], None]) -> None:
    """Have an application served as by a server whose client leaves after the last message. Each is noted."""
    kind = scope["type"]
    received = asyncio.Queue[Any]()
    received.put_nowait({"type": "http.request" if kind == "http" else "websocket.connect"})

    async def send(message: Any) -> None:
        note(message)
        is_last = message["type"] in ("http.response.body", "websocket.close") and not message.get("more_body")
        if is_last:
            received.put_nowait({"type": f"{kind}.disconnect"})

    await app(scope, received.get, send)


def in_context(name: str) -> Any:
    """The session in the context of that name; from Quart 0.23 on there is one for all."""
    context = getattr(quart.globals, name, None)
    return quart.globals.app_ctx._session if context is None else context.session


# -- requests --------------------------------------------------------------------------------------------------------------


# quart contract 1, 10
async def test_the_session_is_flask_s_and_ours(store: Store) -> None:
    app = site(store)

    @app.get("/kind")
    async def kind() -> str:
        found = current()
        assert isinstance(found, SessionMixin) and isinstance(found, AsyncSession) and isinstance(found, QuartSession)
        assert in_context("request_ctx") is found
        return repr(found)

    client = app.test_client()
    assert [await text(client, "/count") for _ in range(3)] == ["1", "2", "3"]
    assert await text(client, "/kind") == "<QuartSession stored>"
    with pytest.raises(RuntimeError, match="Not within a request"):
        session["n"]


# quart contract 1
async def test_flashed_messages_are_quart_s_and_ours_and_markup_and_lazy_strings_are_text(store: Store) -> None:
    app = site(store)

    class Lazy:
        """As Babel's: its text is worked out when it is asked for."""

        def __str__(self) -> str:
            return "lazy"

        def __eq__(self, other: object) -> bool:
            return str(self) == other

        __hash__ = None  # type: ignore[assignment]

    @app.get("/say")
    async def say() -> str:
        await flash("saved")
        await flash(Markup("<b>bold</b>"), "info")
        await flash(Lazy(), "info")  # type: ignore[arg-type]
        session.flash("ours", "error")
        return ""

    @app.get("/hear")
    async def hear() -> list[Any]:
        found = get_flashed_messages(with_categories=True)
        assert found == get_flashed_messages(with_categories=True)
        assert isinstance(found[1][1], Markup) if found else True
        return [list(entry) for entry in found]

    client = app.test_client()
    await client.get("/say")
    heard = await (await client.get("/hear")).get_json()
    assert heard == [["message", "saved"], ["info", "<b>bold</b>"], ["info", "lazy"], ["error", "ours"]]
    assert await (await client.get("/hear")).get_json() == []


# quart contract 2
def test_the_interface_has_quart_s_colours() -> None:
    interface = SessionInterface({})
    for name in ("open_session", "save_session", "make_null_session"):
        assert inspect.iscoroutinefunction(getattr(interface, name))
    assert not inspect.iscoroutinefunction(interface.is_null_session)


# quart contract 4
async def test_it_is_saved_after_all_after_request_functions_and_for_errors_too(store: Store) -> None:
    app = site(store, {"PROPAGATE_EXCEPTIONS": False})

    @app.after_request
    async def after(response: Response) -> Response:
        session["after"] = session.get("after", 0) + 1
        return response

    @app.get("/bad")
    async def bad() -> str:
        session["tried"] = True
        raise LookupError

    client = app.test_client()
    assert (await client.get("/bad")).status_code == 500
    assert (await client.get("/nowhere")).status_code == 404
    async with client.session_transaction() as found:
        assert dict(found) == {"after": 2, "tried": True}


# quart contract 8
async def test_a_response_varies_if_the_application_looked_at_the_session(store: Store) -> None:
    app = site(store)

    @app.after_request
    async def vary(response: Response) -> Response:
        response.headers["Vary"] = "Accept"
        return response

    @app.get("/page")
    async def page() -> str:
        return await quart.render_template_string("a page, which is given the session")

    @app.get("/said")
    async def said() -> str:
        session.accessed = True
        return ""

    client = app.test_client()
    for again in (False, True):
        for path in ("/nothing", "/page"):
            assert (await client.get(path)).headers["Vary"] == "Accept"
        # from Quart 0.23 on it says so itself, of every request
        assert (await client.get("/said")).headers["Vary"] == ("Accept" if QUART >= (0, 23) else "Accept, Cookie")
        assert (await client.get("/show")).headers["Vary"] == "Accept, Cookie"
        changed = await client.get("/count")
        assert changed.headers["Vary"] == "Accept, Cookie"
        assert ("Cache-Control" in changed.headers) is not again  # with a cookie: no-store


async def test_the_face_tells_what_happened_to_the_session(store: Store) -> None:
    app = site(store)
    flags: list[tuple[bool, bool, bool]] = []

    def note() -> None:
        flags.append((session.accessed, session.modified, session.new))

    @app.get("/flags")
    async def flagged() -> str:
        note()
        session.get("n")
        note()
        session.setdefault("list", []).append(1)
        note()
        assert session.sid == session.id
        return ""

    client = app.test_client()
    await client.get("/count")
    await client.get("/flags")
    assert [flag[:2] for flag in flags] == [(False, False), (True, False), (True, True)]
    assert [flag[2] for flag in flags] == [False] * 3
    async with client:
        await client.get("/show")
        note()
    assert flags[-1][:2] == (True, False)


async def test_nested_changes_are_saved_and_modified_saves_though_nothing_changed(store: Store) -> None:
    clock = ManualClock()
    store = Store(clock=clock)
    app = site(store, clock=clock, idle_timeout=100)

    @app.get("/nest")
    async def nest() -> str:
        session.setdefault("cart", {}).setdefault("tent", []).append(1)
        return str(session["cart"])

    @app.get("/force")
    async def force() -> str:
        session.modified = True
        return ""

    client = app.test_client()
    assert await text(client, "/nest") == "{'tent': [1]}"
    assert await text(client, "/nest") == "{'tent': [1, 1]}"
    clock.advance(4_000)
    await client.get("/force")
    ((_, stored),) = [item async for item in store.scan()]
    assert stored.expires_in == 100_000


async def test_login_changes_the_id_and_logout_leaves_an_empty_session(store: Store) -> None:
    app = site(store)

    @app.post("/login")
    async def login() -> str:
        before = session.id
        session.login("ann", keep_data=True)
        assert session.id != before
        return str(session.owner)

    @app.post("/logout")
    async def logout() -> str:
        session.logout()
        assert session.get("n") is None and not session
        await flash("goodbye")
        return str(session.owner)

    client = app.test_client()
    await client.get("/count")
    await client.post("/login")
    async with client.session_transaction() as found:
        assert (found.owner, found["n"]) == ("ann", 1)
    await client.post("/logout")
    assert await (await client.get("/show")).get_json() == {"_flashes": [["message", "goodbye"]]}
    assert store.calls.count("delete") == 0  # moved in one step


async def test_coroutines_of_the_session_are_awaited(store: Store) -> None:
    app = site(store)

    @app.get("/all")
    async def everything() -> str:
        session["n"] = 5
        await session.save()
        assert store.calls == ["create"]
        session["n"] = 6
        await session.reload()
        assert await session.sessions.count() == 1
        return str(session["n"])

    response = await app.test_client().get("/all")
    assert await response.get_data(as_text=True) == "5"
    assert "set-cookie" in response.headers


async def test_a_lazy_session_is_loaded_when_asked_to(store: Store) -> None:
    app = site(store, lazy=True)

    @app.get("/lazy")
    async def lazy() -> str:
        with pytest.raises(SessionNotLoaded, match=r"await session.load\(\)"):
            session["n"]
        await session.load()
        return str(session["n"])

    @app.get("/fill")
    async def fill() -> str:
        session["n"] = 1
        return ""

    client = app.test_client()
    await client.get("/fill")
    assert await text(client, "/nothing") == "nothing"
    assert store.calls == ["create"]
    assert await text(client, "/lazy") == "1"


# -- errors ----------------------------------------------------------------------------------------------------------------


async def test_a_value_that_cannot_be_stored_meets_the_application_s_handler(store: Store) -> None:
    app = site(store, {"PROPAGATE_EXCEPTIONS": False})
    caught: list[Any] = []

    @app.errorhandler(500)
    async def sorry(error: Any) -> tuple[str, int]:
        caught.append(error.original_exception)
        return "sorry", 500

    @app.get("/bad")
    async def bad() -> str:
        session["x"] = object()
        return "never"

    client = app.test_client()
    await client.get("/count")
    response = await client.get("/bad")
    assert (response.status_code, await response.get_data(as_text=True)) == (500, "sorry")
    assert isinstance(caught[0], SessionEncodeError)
    assert await text(client, "/count") == "2"


@pytest.mark.parametrize("operation", ["load", "create"])
async def test_where_the_store_fails_and_nobody_handles_it_the_response_is_our_503(
    store: Store, operation: str
) -> None:
    app = site(store)
    client = app.test_client()
    if operation == "load":
        await client.get("/count")
    store.failing = {operation}
    response = await client.get("/count")
    assert response.status_code == 503
    assert "unavailable" in await response.get_data(as_text=True)
    assert "set-cookie" not in response.headers
    store.failing = set()
    assert await text(client, "/nothing") == "nothing"


async def test_a_failed_commit_meets_the_application_s_handler(store: Store) -> None:
    app = site(store)

    @app.errorhandler(StoreError)
    async def down(error: StoreError) -> Response:
        return Response("our shop is down", 503, {"X-Ours": "yes"})

    client = app.test_client()
    store.failing = {"create"}
    response = await client.get("/count")
    assert (response.status_code, response.headers["X-Ours"]) == (503, "yes")
    assert await response.get_data(as_text=True) == "our shop is down"
    assert store.calls == ["create"], "once, and not again when the page leaves"


@pytest.mark.parametrize("code", [503, 500])
async def test_so_it_does_where_that_is_for_the_status(store: Store, code: int) -> None:
    app = site(store)

    @app.errorhandler(code)
    async def down(error: Any) -> tuple[str, int]:
        return "our shop is down", 503

    store.failing = {"create"}
    response = await app.test_client().get("/count")
    assert (response.status_code, await response.get_data(as_text=True)) == (503, "our shop is down")


async def test_so_does_a_value_that_cannot_be_stored_and_a_logout_happens_nevertheless(store: Store) -> None:
    app = site(store)

    @app.errorhandler(SessionEncodeError)
    async def sorry(error: SessionEncodeError) -> tuple[str, int]:
        return error.path, 400

    @app.get("/bad")
    async def bad() -> str:
        session.logout()
        session["x"] = object()
        return "never"

    client = app.test_client()
    await client.get("/count")
    response = await client.get("/bad")
    assert (response.status_code, await response.get_data(as_text=True)) == (400, "x")
    assert "delete" in store.calls
    assert await text(client, "/count") == "1"


async def test_a_response_that_the_application_keeps_stays_what_it_is(store: Store) -> None:
    app = site(store)
    kept = Response("kept")

    @app.get("/kept")
    async def keep() -> Response:
        session.increment("n")
        return kept

    @app.errorhandler(503)
    async def down(error: Any) -> Any:
        return error  # werkzeug's own page

    client = app.test_client()
    store.failing = {"create"}
    response = await client.get("/kept")
    assert response.status_code == 503
    assert "unavailable" in await response.get_data(as_text=True)
    store.failing = set()
    assert await text(client, "/kept") == "kept"
    assert store.calls == ["create", "create"]


async def test_where_a_logout_fails_too_after_a_value_that_cannot_be_stored_it_is_our_503(store: Store) -> None:
    app = site(store)

    @app.errorhandler(SessionEncodeError)
    async def sorry(error: SessionEncodeError) -> tuple[str, int]:
        return "sorry", 400

    @app.get("/bad")
    async def bad() -> str:
        session.logout()
        session["x"] = object()
        return "never"

    client = app.test_client()
    await client.get("/count")
    store.failing = {"delete"}
    response = await client.get("/bad")
    assert response.status_code == 503
    assert "unavailable" in await response.get_data(as_text=True)


async def test_a_handler_that_fails_itself_is_an_error_of_the_application(store: Store) -> None:
    app = site(store, {"PROPAGATE_EXCEPTIONS": False})

    @app.errorhandler(StoreError)
    async def down(error: StoreError) -> str:
        raise StoreUnavailable("this one, too")

    store.failing = {"create"}
    assert (await app.test_client().get("/count")).status_code == 500


async def test_with_anonymous_a_failed_commit_lets_the_response_out(store: Store) -> None:
    app = site(store, on_store_error="anonymous")
    store.failing = {"create"}
    response = await app.test_client().get("/count")
    assert response.status_code == 200
    assert "set-cookie" not in response.headers


async def test_a_load_that_fails_within_a_lazy_handler_is_our_503(store: Store) -> None:
    app = site(store, lazy=True)

    @app.get("/lazy")
    async def lazy() -> str:
        with pytest.raises(StoreUnavailable):
            await session.load()
        return "never seen"

    @app.get("/fill")
    async def fill() -> str:
        session["n"] = 1
        return ""

    client = app.test_client()
    await client.get("/fill")
    store.failing = {"load"}
    assert (await client.get("/lazy")).status_code == 503


# -- streams ---------------------------------------------------------------------------------------------------------------


# quart contract 11, 12
async def test_what_is_changed_while_a_body_is_streamed_is_saved(store: Store) -> None:
    app = site(store)

    @app.get("/stream")
    async def stream() -> Any:
        session["before"] = 1
        found = current()

        @quart.stream_with_context
        async def body() -> AsyncIterator[str]:
            assert current() is found
            session["streamed"] = 1
            yield "one"
            session["streamed"] = 2
            yield "two"

        return body()

    client = app.test_client()
    assert await text(client, "/stream") == "onetwo"
    assert await (await client.get("/show")).get_json() == {"before": 1, "streamed": 2}


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_it_is_saved_before_the_client_learns_of_the_end(store: Store, kind: str) -> None:
    app = site(store)

    @app.get("/end")
    async def stream() -> Any:
        @quart.stream_with_context
        async def body() -> AsyncIterator[str]:
            yield "one"
            session["late"] = True

        return body()

    @app.websocket("/end")
    async def handle() -> None:
        await websocket.accept()
        session["late"] = True

    client = app.test_client()
    await client.get("/count")
    (cookie,) = client.cookie_jar
    order = store.calls = []

    def note(message: Any) -> None:
        order.append(message["type"] + (", the last" if not message.get("more_body", True) else ""))

    scope = {
        "type": kind,
        "path": "/end",
        "method": "GET",
        "scheme": "http" if kind == "http" else "ws",
        "http_version": "1.1",
        "query_string": b"",
        "headers": [(b"cookie", f"{cookie.name}={cookie.value}".encode())],
        "asgi": {"spec_version": "2.3"},
    }
    await served(app, scope, note)
    ending = {
        "http": ["http.response.start", "http.response.body", "replace", "http.response.body, the last"],
        "websocket": ["websocket.accept", "replace", "websocket.close"],
    }
    assert order == ["load", *ending[kind]]


# quart contract 11
async def test_a_copied_context_shares_the_session(store: Store) -> None:
    app = site(store)

    @app.get("/copy")
    async def copy() -> str:
        @quart.copy_current_request_context
        async def work() -> None:
            session["copied"] = True

        await asyncio.gather(work())
        return str(session["copied"])

    assert await text(app.test_client(), "/copy") == "True"


# quart contract 13
async def test_a_response_that_times_out_has_saved_what_was_changed(store: Store) -> None:
    app = site(store, {"RESPONSE_TIMEOUT": 0.05})

    @app.get("/slow")
    async def slow() -> Any:
        session["n"] = 1

        @quart.stream_with_context
        async def body() -> AsyncIterator[str]:
            session["n"] = 2
            yield "beginning"
            await asyncio.sleep(60)

        return body()

    client = app.test_client()
    await client.get("/count")
    async with client.request("/slow") as connection:
        await connection.send_complete()
        assert await connection.receive() == b"beginning"
        await asyncio.sleep(0.1)
        await connection.disconnect()  # from Quart 0.23 on it is the client's end that ends the request
    async with client.session_transaction() as found:
        assert found["n"] == 2


# quart contract 14
async def test_a_push_promise_goes_out_before_the_cookie_does(store: Store) -> None:
    app = site(store)

    @app.get("/push")
    async def push() -> str:
        await quart.make_push_promise("/style.css")
        session["n"] = 1
        return ""

    client = app.test_client()
    response = await client.get("/push", http_version="2")
    assert [path for path, _ in client.push_promises] == ["/style.css"]
    assert response.headers.getlist("Set-Cookie")[0].startswith("session=")


# -- WebSockets ------------------------------------------------------------------------------------------------------------


# quart contract 3
async def test_a_websocket_has_the_session_and_its_changes_are_saved_when_it_ends(store: Store) -> None:
    app = site(store)

    @app.websocket("/ws")
    async def handle() -> None:
        await websocket.accept()
        session["ws"] = session.get("ws", 0) + 1
        assert in_context("websocket_ctx") is current()
        await websocket.send(str(session["ws"]))

    client = app.test_client()
    await client.get("/count")
    for expected in ("1", "2"):
        async with client.websocket("/ws") as connection:
            assert await connection.receive() == expected
    assert await (await client.get("/show")).get_json() == {"n": 1, "ws": 2}


# quart contract 5, 16
async def test_a_websocket_that_is_refused_with_a_response_sets_the_cookie(store: Store) -> None:
    app = site(store)

    @app.websocket("/ws")
    async def refuse() -> tuple[str, int]:
        session["tries"] = session.get("tries", 0) + 1
        return "no", 403

    client = app.test_client()
    with pytest.raises(WebsocketResponseError) as caught:
        async with client.websocket("/ws") as connection:
            await connection.receive()
    assert caught.value.response.status_code == 403
    assert caught.value.response.headers["Set-Cookie"].startswith("session=")
    assert store.calls == ["create"]


async def test_a_websocket_whose_refusal_carries_no_headers_saves_no_new_session(store: Store) -> None:
    app = site(store)

    @app.websocket("/ws")
    async def refuse() -> tuple[str, int]:
        session["tries"] = 1
        return "no", 403

    scope: Any = app.test_client().websocket("/ws").scope
    scope["extensions"].clear()
    sent: list[Any] = []
    await served(app, scope, sent.append)
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert store.calls == []


# quart contract 6
async def test_a_websocket_whose_client_vanishes_has_its_changes_saved(store: Store) -> None:
    app = site(store)

    @app.websocket("/ws")
    async def handle() -> None:
        await websocket.accept()
        session["ws"] = 1
        await websocket.send("changed")
        await websocket.receive()

    client = app.test_client()
    await client.get("/count")
    async with client.websocket("/ws") as connection:
        assert await connection.receive() == "changed"
    assert await (await client.get("/show")).get_json() == {"n": 1, "ws": 1}


# quart contract 5, 7
async def test_a_session_that_begins_after_the_accept_is_told_to_be_too_late(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    app = site(store)
    saves: list[Any] = []

    @app.websocket("/ws")
    async def handle() -> None:
        await websocket.accept()
        session["n"] = 1
        with pytest.raises(HeadersAlreadySent):
            await session.save()
        saves.append(True)
        await websocket.send("")

    async with app.test_client().websocket("/ws") as connection:
        await connection.receive()
    await asyncio.sleep(0)
    assert saves == [True]
    assert "a session was changed for the first time after the response headers had left" in caplog.text
    assert store.calls == []


async def test_a_session_that_begins_before_the_accept_gets_its_cookie_with_that(store: Store) -> None:
    app = site(store)
    sent: list[Any] = []

    @app.websocket("/ws")
    async def handle() -> None:
        session.permanent = True
        session["n"] = 1
        await websocket.accept()

    scope = {
        "type": "websocket",
        "path": "/ws",
        "headers": [],
        "scheme": "ws",
        "query_string": b"",
        "asgi": {"spec_version": "2.3"},
    }
    await served(app, scope, sent.append)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    cookie = dict(sent[0]["headers"])[b"set-cookie"].decode()
    assert cookie.startswith("session=") and "Expires=" in cookie


async def test_a_websocket_without_the_middleware_saves_an_existing_session(store: Store) -> None:
    app = site(store)
    client = app.test_client()
    await client.get("/count")
    (cookie,) = client.cookie_jar
    headers = Headers({"Cookie": f"{cookie.name}={cookie.value}"})

    @app.websocket("/ws")
    async def handle() -> None:
        session["ws"] = 1

    scope: Any = {
        "type": "websocket",
        "path": "/ws",
        "scheme": "ws",
        "headers": [(b"cookie", headers["Cookie"].encode())],
    }
    called = dict.fromkeys(
        inspect.signature(app.websocket_class).parameters.keys() & {"receive", "send", "accept", "close"}
    )
    await app.handle_websocket(
        app.websocket_class(
            "/ws", b"", "ws", headers, "", "1.1", [], scope=scope, **called
        )  # Quart 0.23 receives by itself
    )
    assert await (await client.get("/show")).get_json() == {"n": 1, "ws": 1}


# -- Quart's tools for tests -----------------------------------------------------------------------------------------------


# quart contract 15
async def test_session_transaction_opens_and_saves_the_client_s_session(store: Store) -> None:
    app = site(store)
    client = app.test_client()
    async with client.session_transaction() as found:
        assert found.new
        found["n"] = 5
    client.set_cookie("localhost", "other", "1")
    assert await text(client, "/count") == "6"
    async with client.session_transaction() as found:
        assert not found.new
        assert found.pop("n") == 6
        found["m"] = 1
        assert not quart.has_request_context()
    assert await (await client.get("/show")).get_json() == {"m": 1}
    with pytest.raises(LookupError):
        async with client.session_transaction() as found:
            found["m"] = found["nothing"]
    assert await (await client.get("/show")).get_json() == {"m": 1}


async def test_in_session_transaction_the_store_s_errors_are_raised(store: Store) -> None:
    client = site(store).test_client()
    store.failing = {"create"}
    with pytest.raises(StoreUnavailable):
        async with client.session_transaction() as found:
            found["n"] = 1


# quart contract 17
async def test_a_test_request_context_loads_by_itself(store: Store) -> None:
    app = site(store)
    client = app.test_client()
    await client.get("/count")
    (cookie,) = client.cookie_jar
    headers = Headers({"Cookie": f"{cookie.name}={cookie.value}"})
    async with app.test_request_context("/", headers=headers):
        assert dict(session) == {"n": 1}
    async with app.test_request_context("/"):
        assert session.new


# quart contract 18
async def test_the_store_is_opened_and_closed_with_the_application_or_else_on_first_use(store: Store) -> None:
    app = site(store)
    async with app.test_app() as running:
        assert store.opened == 1
        assert await text(running.test_client(), "/count") == "1"
    assert store.opened == 0
    assert await text(app.test_client(), "/count") == "1"


# -- configuration ---------------------------------------------------------------------------------------------------------


def set_cookie(response: Any) -> str:
    (found,) = response.headers.getlist("Set-Cookie")
    return str(found)


# quart contract 9
@pytest.mark.parametrize(
    ("config", "has", "has_not"),
    [
        ({}, ["session=", "Path=/;", "HttpOnly", "SameSite=Lax"], ["Expires", "Secure", "Domain", "Partitioned"]),
        ({"SESSION_COOKIE_NAME": "visit"}, ["visit="], []),
        ({"SESSION_COOKIE_DOMAIN": ""}, [], ["Domain"]),
        ({"SESSION_COOKIE_DOMAIN": "example.com"}, ["Domain=example.com"], []),
        ({"SESSION_COOKIE_HTTPONLY": False}, [], ["HttpOnly"]),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, ["SameSite=Strict"], []),
        ({"APPLICATION_ROOT": "/count"}, ["Path=/count"], []),
        ({"SESSION_COOKIE_PATH": "/", "APPLICATION_ROOT": "/count"}, ["Path=/;"], []),
        (
            {"SESSION_PERMANENT": True, "PERMANENT_SESSION_LIFETIME": timedelta(hours=1)},
            ["Max-Age=3600", "Expires="],
            [],
        ),
    ],
)
async def test_the_cookie_is_as_quart_s_configuration_says(
    store: Store, config: dict[str, Any], has: list[str], has_not: list[str]
) -> None:
    cookie = set_cookie(await site(store, config).test_client().get("/count"))
    assert [part for part in has if part not in cookie] == []
    assert [part for part in has_not if part in cookie] == []


async def test_over_https_the_cookie_is_secure(store: Store) -> None:
    app = site(store, {"SESSION_COOKIE_SECURE": True})
    cookie = set_cookie(await app.test_client().get("/count", scheme="https"))
    assert cookie.startswith("__Host-session=") and "; Secure" in cookie


# quart contract 9
@pytest.mark.parametrize("refresh", [True, False])
@pytest.mark.parametrize("permanent", [True, False])
async def test_a_permanent_session_s_cookie_is_refreshed_if_so_configured(
    store: Store, permanent: bool, refresh: bool
) -> None:
    config = {"SESSION_REFRESH_EACH_REQUEST": refresh, "PERMANENT_SESSION_LIFETIME": timedelta(hours=1)}
    app = site(store, config)

    @app.get("/begin")
    async def begin() -> str:
        session.permanent = permanent
        session["n"] = 1
        return str(session.permanent)

    client = app.test_client()
    response = await client.get("/begin")
    assert ("Max-Age=3600" in set_cookie(response)) is permanent
    for path in ("/show", "/nothing"):
        assert ("Set-Cookie" in (await client.get(path)).headers) is (permanent and refresh)


async def test_what_is_configured_after_init_app_counts(store: Store) -> None:
    app = Quart(__name__)
    Sojourn(store=store).init_app(app)

    @app.get("/")
    async def home() -> str:
        session["n"] = 1
        return ""

    app.secret_key = SECRET
    app.config["SESSION_COOKIE_NAME"] = "late"
    client = app.test_client()
    assert set_cookie(await client.get("/")).startswith("late=")
    app.secret_key, app.config["SECRET_KEY_FALLBACKS"] = "a newer secret that is long enough as well", [SECRET]
    async with client.session_transaction() as found:
        assert dict(found) == {"n": 1}
    assert store.calls.count("create") == 1


async def test_without_a_secret_a_session_reads_as_empty_and_says_what_is_missing(store: Store) -> None:
    app = Quart(__name__)
    Sojourn(app, store=store)

    @app.get("/")
    async def home() -> str:
        assert dict(session) == {}
        with pytest.raises(RuntimeError, match="no secret key was set"):
            session["n"] = 1
        return "ok"

    assert await text(app.test_client(), "/") == "ok"
    with pytest.raises(RuntimeError, match="secret_key"):
        async with app.test_client().session_transaction():
            pass


async def test_where_a_path_has_no_session_that_is_said(store: Store) -> None:
    app = site(store, exclude=["/static"])

    @app.get("/static/x")
    async def excluded() -> str:
        with pytest.raises(RuntimeError, match="this path has none"):
            session["n"] = 1
        return "ok"

    assert await text(app.test_client(), "/static/x") == "ok"


async def test_the_options_take_the_place_of_the_configuration(store: Store) -> None:
    app = site(
        store,
        cookie=Cookie(samesite="strict"),
        name="own",
        idle_timeout=60,
        transports=[CookieTransport(), HeaderTransport()],
    )
    cookie = set_cookie(await app.test_client().get("/count"))
    assert cookie.startswith("own=") and "SameSite=Strict" in cookie


async def test_the_codec_may_be_encrypted(store: Store) -> None:
    pytest.importorskip("cryptography")
    app = site(store, codec=EncryptedCodec("k" * 43, codec=flask_codec()))
    assert [await text(client, "/count") for client in [app.test_client()] for _ in range(2)] == ["1", "2"]


async def test_what_quart_s_own_serializer_writes_is_written(store: Store) -> None:
    app = site(store)
    kept = {"t": (1, 2), "b": b"\0", "at": datetime(2026, 11, 29, tzinfo=UTC), "m": Markup("<b>"), "keys": {1: 2}}

    @app.get("/keep")
    async def keep() -> str:
        session.update(kept)
        return ""

    client = app.test_client()
    await client.get("/keep")
    async with client.session_transaction() as found:
        assert dict(found) == {**kept, "keys": {"1": 2}}


def test_an_option_that_is_wrong_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="stor: got an unknown option"):
        Sojourn(stor="memory://")  # type: ignore[call-arg]
    app = Quart(__name__)
    sessions = Sojourn(app, store="memory://")
    with pytest.raises(ConfigurationError, match="has its sessions from Sojourn already"):
        sessions.init_app(app)


# quart contract 20
def test_quart_session_s_names_are_read_and_those_without_effect_are_warned_of_once_each() -> None:
    redis = pytest.importorskip("redis.asyncio")
    app = Quart(__name__)
    without = {
        "SESSION_USE_SIGNER": True,
        "SESSION_HIJACK_PROTECTION": True,
        "SESSION_HIJACK_REVERSE_PROXY": "X-Forwarded-For",
        "SESSION_REVERSE_PROXY": True,
        "SESSION_STATIC_FILE": False,
        "SESSION_EXPLICIT": False,
        "SESSION_MEMCACHED": None,
        "SESSION_MONGODB_CLIENT_KWARGS": {},
        "SESSION_MONGODB_SET_CALLBACK": None,
    }
    app.config.update(SECRET_KEY=SECRET, SESSION_TYPE="redis", SESSION_REDIS=redis.Redis(), **without)
    with pytest.warns(SojournWarning) as warned:
        Sojourn(app)
    named = sorted(str(one.message).split(" ")[0] for one in warned)
    assert named == sorted(without)
    assert all("has no effect: " in str(one.message) for one in warned)
    interface: Any = app.session_interface
    door = interface.door(app)
    assert isinstance(door.store, AsyncRedisStore)
    assert door.store.prefix == "session:"
    assert door.permanent


async def test_where_a_middleware_of_ours_is_installed_too_there_is_one_session(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    app = site(store)
    app.asgi_app = SessionMiddleware(app.asgi_app, secret=SECRET, store=store)
    client = app.test_client()
    assert [await text(client, "/count") for _ in range(2)] == ["1", "2"]
    assert "a request had a session already when SessionMiddleware met it" in caplog.text
    assert logging.getLevelName(caplog.records[0].levelno) == "WARNING"


async def test_a_page_for_debugging_shows_no_id(store: Store) -> None:
    app = site(store, {"TESTING": False, "DEBUG": True, "PROPAGATE_EXCEPTIONS": True})

    @app.get("/bug")
    async def bug() -> str:
        session["n"] = 2
        raise LookupError("a bug")

    client = app.test_client()
    await client.get("/count")
    (cookie,) = client.cookie_jar
    session_id = str(cookie.value).partition(".")[0]
    page = await (await client.get("/bug")).get_data(as_text=True)
    assert "a bug" in page
    assert page.count(session_id) == page.count(str(cookie.value)), "but for the Cookie header, which Quart shows"


async def test_what_a_teardown_function_changes_is_saved_with_the_response(store: Store) -> None:
    app = site(store)

    @app.teardown_request
    async def teardown(_error: BaseException | None) -> None:
        session["torn down"] = True

    client = app.test_client()
    response = await client.get("/count")
    assert "Set-Cookie" in response.headers
    assert store.calls == ["create", "replace"]
    async with client.session_transaction() as found:
        assert dict(found) == {"n": 1, "torn down": True}


async def test_the_options_of_express_work_through_this_door(store: Store) -> None:
    options = sojourn.express(secret=SECRET, store=store)
    app = Quart(__name__)
    Sojourn(app, **options)

    @app.get("/count")
    async def count() -> str:
        return str(session.increment("n"))

    client = app.test_client()
    assert [await text(client, "/count") for _ in range(2)] == ["1", "2"]
    (cookie,) = list(client.cookie_jar or [])
    assert cookie.name == "connect.sid"
    assert str(cookie.value).startswith("s%3A")


# -- the password, asked for again -----------------------------------------------------------------------------------------


def asking(store: Store, clock: ManualClock, **options: Any) -> Quart:
    app: Quart = site(store, clock=clock, **options)

    @app.route("/delete/<what>", methods=["GET", "POST"])
    @fresh_required(timedelta(minutes=15))
    async def delete(what: str) -> str:
        return what

    @app.get("/again")
    async def again() -> str:
        session.confirm()
        return next_page()

    @app.websocket("/ws")
    @fresh_required(900)
    async def socket() -> None:
        await websocket.accept()
        await websocket.send("in")

    return app


@pytest.mark.parametrize("lazy", [False, True])
async def test_whose_password_was_given_too_long_ago_is_asked_for_it_and_led_back(store: Store, *, lazy: bool) -> None:
    clock = ManualClock()
    client = asking(store, clock, confirm_view="again", lazy=lazy).test_client()
    assert (await client.get("/delete/a")).status_code == 401
    await log_in(client, "ann")
    assert await text(client, "/delete/a") == "a"
    async with client.websocket("/ws") as peer:
        assert await peer.receive() == "in"
    clock.advance(15 * 60_000 + 1)
    sent = await client.get("/delete/a%20b?x=1")
    assert sent.status_code == 303 and sent.headers["Location"] == "/again?next=/delete/a%2520b%3Fx%3D1"
    assert (await client.post("/delete/a")).headers["Location"] == "/again"
    with pytest.raises(WebsocketResponseError) as caught:
        async with client.websocket("/ws") as peer:
            await peer.receive()
    assert caught.value.response.status_code == 403
    if not lazy:
        assert await text(client, sent.headers["Location"]) == "/delete/a%20b?x=1"
        assert await text(client, "/delete/a") == "a"
        assert await text(client, "/again?next=//evil.test") == "/"


async def test_without_a_view_for_it_it_is_a_403_and_without_our_session_a_401(store: Store) -> None:
    app = asking(store, ManualClock())
    client = app.test_client()
    await log_in(client, "ann", remember=timedelta(days=1))
    assert (await client.get("/delete/a")).status_code == 403
    app.session_interface = quart.sessions.SecureCookieSessionInterface()
    assert (await client.get("/delete/a")).status_code == 401


async def test_all_that_a_login_can_do_goes_through_this_door(store: Store) -> None:
    app = site(store)

    @app.get("/login")
    async def login() -> list[Any]:
        session.begin_login("ann", stamp="hash")
        found: list[Any] = [session.owner, session.pending_owner]
        session.complete_login(sid="idp", max_sessions=1)
        return [*found, session.owner, session.check("hash")]

    @app.get("/try")
    async def attempt() -> list[Any]:
        return [await session.try_login("ann", max_sessions=1), await session.sessions.end_sid("idp")]

    assert await (await app.test_client().get("/login")).get_json() == [None, "ann", "ann", True]
    await app.test_client().get("/login")
    assert await (await app.test_client().get("/try")).get_json() == [False, 1]
    assert await (await app.test_client().get("/try")).get_json() == [True, 0]
