"""Django Channels: its own SessionMiddleware on our engine, and ours in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from channels.auth import AuthMiddlewareStack, get_user, login, logout
from channels.consumer import AsyncConsumer
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.sessions import SessionMiddlewareStack
from django.contrib.auth import get_user_model
from django.core.exceptions import SuspiciousOperation
from django.test.utils import setup_test_environment, teardown_test_environment

from sojourn import StoreUnavailable
from sojourn.django import SessionStore
from sojourn.django.channels import SessionMiddleware
from sojourn.errors import HeadersAlreadySent
from sojourn.stores import MemoryStore
from sojourn.testing.django import isolated_sessions, log_in, write_session
from tests.doors.django_clients import Visitor, site

USERS: Any = get_user_model()
Communicator: Any = ApplicationCommunicator
"""Channels' own helpers need Daphne."""


@pytest.fixture(scope="module", autouse=True)
def tables() -> None:
    site.prepare()


@pytest.fixture(autouse=True)
def store() -> Iterator[MemoryStore]:
    with isolated_sessions() as store:
        yield store


class Talk(AsyncWebsocketConsumer):  # type: ignore[misc]  # it has no types
    """Does what it is told."""

    async def connect(self) -> None:
        if b"login" in self.scope["query_string"]:
            await login(
                self.scope, await USERS.objects.aget(username="anna"), "django.contrib.auth.backends.ModelBackend"
            )
        elif b"put" in self.scope["query_string"]:
            self.scope["session"]["put"] = 1
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        session = self.scope["session"]
        said = str(session.get("n"))
        if text_data == "increment":
            said = str(await session.aincrement("n"))
        elif text_data == "save":
            await session.asave()
        elif text_data == "user":
            said = (await get_user(self.scope)).get_username()
        elif text_data == "logout":
            await logout(self.scope)
        elif text_data == "cycle":
            try:
                await session.acycle_key()
            except HeadersAlreadySent as error:
                said = str(error)
        await self.send(said)


class Page(AsyncHttpConsumer):  # type: ignore[misc]  # likewise
    """An HTTP consumer, which Django does not handle."""

    async def handle(self, body: bytes) -> None:
        session = self.scope["session"]
        query = self.scope["query_string"]
        if query == b"put" or query.isdigit():
            await session.aset("n", 1)
        elif query == b"create":
            await session.acreate()
        elif query == b"lose":
            await session.aset("n", 2)
            await SessionStore().adelete(session.session_key)
        await self.send_response(int(query) if query.isdigit() else 200, str(session.get("n")).encode())


def ours(consumer: Any) -> Any:
    return SessionMiddleware(AuthMiddlewareStack(consumer.as_asgi()))


def theirs(consumer: Any) -> Any:
    return AuthMiddlewareStack(consumer.as_asgi())


def cookies(visitor: Visitor) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", f"sessionid={visitor.cookie}".encode())] if visitor.cookie else []


def run(talk: Callable[[], Awaitable[Any]]) -> Any:
    async def talking() -> Any:
        return await talk()

    return async_to_sync(talking)()


class Socket:
    """A WebSocket."""

    def __init__(self, app: Any, visitor: Visitor, query: str = "") -> None:
        self._app = Communicator(app, scope_of("websocket", visitor, query))

    async def send(self, **message: Any) -> None:
        await self._app.send_input(message)

    async def receive(self) -> dict[str, Any]:
        received: dict[str, Any] = await self._app.receive_output(5)
        return received

    async def disconnect(self) -> None:
        await self.send(type="websocket.disconnect", code=1000)
        await self._app.wait(5)


def scope_of(kind: str, visitor: Visitor, query: str) -> dict[str, Any]:
    path, scheme = "/somewhere", "http" if kind == "http" else "ws"
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": cookies(visitor),
        "subprotocols": [],
    }


async def connected(app: Any, visitor: Visitor, query: str = "") -> tuple[Socket, dict[str, str]]:
    """A WebSocket, and the headers that it was accepted with."""
    socket = Socket(app, visitor, query)
    await socket.send(type="websocket.connect")
    accepted = await socket.receive()
    assert accepted["type"] == "websocket.accept"
    return socket, {name.decode().lower(): value.decode() for name, value in accepted.get("headers") or ()}


async def told(socket: Socket, text: str) -> str:
    await socket.send(type="websocket.receive", text=text)
    return str((await socket.receive())["text"])


# django contract 75
@pytest.mark.parametrize("stack", [ours, theirs])
def test_a_socket_has_the_session_and_the_user_of_the_cookie(stack: Any) -> None:
    visitor = Visitor()
    log_in(visitor.client, USERS.objects.get(username="anna"))
    write_session(visitor.client, {"n": 1})

    async def talk() -> list[str]:
        socket, headers = await connected(stack(Talk), visitor)
        assert "set-cookie" not in headers
        said = [await told(socket, text) for text in ("user", "n", "increment", "save")]
        await socket.disconnect()
        return said

    assert run(talk) == ["anna", "1", "2", "2"] and visitor.data["n"] == 2


# django contract 75
def test_with_ours_a_login_in_connect_reaches_the_browser(store: MemoryStore) -> None:
    visitor = Visitor()

    async def talk() -> dict[str, str]:
        socket, headers = await connected(ours(Talk), visitor, "login")
        await socket.disconnect()
        return headers

    headers = run(talk)
    assert headers["cache-control"] == "no-store"
    visitor.cookie = headers["set-cookie"].partition(";")[0].removeprefix("sessionid=")
    assert visitor.get("/whoami").body == b"anna" and visitor.get("/devices").json() == {"all": 1, "this": 1}


# django contract 75
def test_with_ours_a_key_cannot_change_after_accept_and_a_logout_ends_the_session(store: MemoryStore) -> None:
    visitor = Visitor()
    log_in(visitor.client, USERS.objects.get(username="anna"))

    async def talk() -> str:
        socket, _ = await connected(ours(Talk), visitor)
        refused = await told(socket, "cycle")
        await told(socket, "logout")
        await socket.disconnect()
        return refused

    assert "or the WebSocket was accepted, so no cookie can carry another session key" in run(talk)
    assert store.count() == 0 and visitor.get("/whoami").body == b"nobody"


# django contract 75
def test_with_theirs_a_key_that_changes_in_a_socket_never_reaches_the_browser() -> None:
    visitor = Visitor()
    write_session(visitor.client, {"n": 1})

    async def talk() -> None:
        socket, _ = await connected(SessionMiddlewareStack(Talk.as_asgi()), visitor)
        await told(socket, "cycle")
        await socket.disconnect()

    run(talk)
    assert visitor.data == {}, "the hazard that ours refuses"


# django contract 75
def test_with_ours_what_a_socket_changes_is_saved_when_it_ends(store: MemoryStore) -> None:
    visitor = Visitor()
    write_session(visitor.client, {"n": 1})

    async def talk() -> None:
        socket, _ = await connected(ours(Talk), visitor)
        await told(socket, "increment")
        await socket.disconnect()

    run(talk)
    assert visitor.data == {"n": 2}


# django contract 75
def test_what_is_put_in_before_accept_is_saved_then(store: MemoryStore) -> None:
    visitor = Visitor()

    async def talk() -> dict[str, str]:
        socket, headers = await connected(ours(Talk), visitor, "put")
        await socket.disconnect()
        return headers

    assert "sessionid=" in run(talk)["set-cookie"] and store.count() == 1


async def page(app: Any, visitor: Visitor, query: str = "") -> Any:
    asked = Communicator(app, scope_of("http", visitor, query))
    await asked.send_input({"type": "http.request", "body": b"", "more_body": False})
    started, body = await asked.receive_output(5), await asked.receive_output(5)
    await asked.send_input({"type": "http.disconnect"})
    await asked.wait(5)
    return {**started, "body": body.get("body", b"")}


def header(response: Any, name: str) -> str:
    return next((value.decode() for key, value in response["headers"] if key.decode().lower() == name), "")


# django contract 75
@pytest.mark.parametrize("stack", [ours, theirs])
def test_an_http_consumer_stores_and_sends_a_cookie(stack: Any, store: MemoryStore) -> None:
    visitor = Visitor()
    response = run(lambda: page(stack(Page), visitor, "put"))
    assert response["body"] == b"1" and store.count() == 1
    visitor.cookie = header(response, "set-cookie").partition(";")[0].removeprefix("sessionid=")
    assert run(lambda: page(stack(Page), visitor))["body"] == b"1"


# django contract 75
def test_with_theirs_a_lost_session_is_an_error_and_with_ours_the_response_is_kept(store: MemoryStore) -> None:
    visitor = Visitor()
    write_session(visitor.client, {"n": 1})
    response = run(lambda: page(ours(Page), visitor, "lose"))
    assert response["status"] == 200 and header(response, "set-cookie") == "" and store.count() == 0
    write_session(visitor.client, {"n": 1})
    with pytest.raises(SuspiciousOperation):
        run(lambda: page(theirs(Page), visitor, "lose"))


# django contract 75
def test_with_ours_a_server_error_stores_nothing(store: MemoryStore) -> None:
    for status in (500, 503):
        response = run(partial(page, ours(Page), Visitor(), str(status)))
        assert response["status"] == status and header(response, "set-cookie") == "" and store.count() == 0


# django contract 75
def test_with_ours_create_is_carried_out_and_told(store: MemoryStore) -> None:
    visitor = Visitor()
    write_session(visitor.client, {"n": 1})
    response = run(lambda: page(ours(Page), visitor, "create"))
    assert response["body"] == b"1" and store.count() == 2 and header(response, "vary") == "Cookie"
    assert header(response, "set-cookie") != ""


# django contract 75
def test_with_ours_a_store_that_is_down_refuses_the_socket(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor()
    write_session(visitor.client, {"n": 1})

    def down(_key: str) -> None:
        raise StoreUnavailable("down")

    async def talk() -> Any:
        socket = Socket(ours(Talk), visitor)
        await socket.send(type="websocket.connect")
        return await socket.receive()

    monkeypatch.setattr(store, "load", down)
    refused = run(talk)
    assert (refused["type"], refused["code"]) == ("websocket.close", 1013)
    assert run(lambda: page(ours(Page), visitor))["status"] == 503


# django contract 73, 75
def test_in_djangos_test_environment_a_test_clients_cookie_is_taken() -> None:
    visitor = Visitor()
    visitor.client.force_login(USERS.objects.get(username="anna"))
    assert visitor.cookie is not None and len(visitor.cookie) == 40

    async def talk() -> str:
        socket, _ = await connected(ours(Talk), visitor)
        said = await told(socket, "user")
        await socket.disconnect()
        return said

    assert run(talk) == ""
    setup_test_environment()
    try:
        assert run(talk) == "anna"
    finally:
        teardown_test_environment()


# django contract 75
def test_what_has_no_headers_has_no_session() -> None:
    scopes: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        scopes.append(scope)

    run(lambda: SessionMiddleware(app)({"type": "channel", "channel": "x"}, None, None))  # type: ignore[arg-type]
    assert scopes == [{"type": "channel", "channel": "x"}] and issubclass(Talk, AsyncConsumer)


# django contract 75
def test_an_application_that_raises_saves_nothing(store: MemoryStore) -> None:
    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        scope["session"]["a"] = 1
        raise RuntimeError("fails")

    with pytest.raises(RuntimeError):
        run(lambda: page(SessionMiddleware(app), Visitor()))
    assert store.count() == 0
