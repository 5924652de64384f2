"""What ASGI asks of a middleware: other messages, WebSockets, lifespan, clients that leave, and cancellation, on asyncio and trio."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from sojourn import SessionLate, StoreUnavailable
from sojourn.asgi import SessionMiddleware
from sojourn.testing import ManualClock
from tests.behaviour.harness import ASYNC_COUNTING, SECRET, SetCookie, sign

pytestmark = pytest.mark.anyio
App = Callable[[Any, Any, Any], Awaitable[None]]

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
END = {"type": "http.response.body", "body": b"ok"}


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr("sojourn.logs._said", set())
    caplog.set_level(logging.DEBUG, logger="sojourn")
    return caplog


class Server:
    """Sends a scope to an app and keeps what comes back."""

    def __init__(self, app: App, **options: Any) -> None:
        self.events: list[str] = []
        self.store: Any = options.pop("store", None) or ASYNC_COUNTING(ManualClock(), self.events)
        self.app = SessionMiddleware(app, secret=SECRET, store=self.store, **options)
        self.sent: list[Any] = []
        self.incoming: list[Any] = []

    async def receive(self) -> Any:
        if self.incoming:
            return self.incoming.pop(0)
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self.events.append(message["type"])
        self.sent.append(message)

    async def call(self, kind: str = "http", *, cookie: bool = False, **scope: Any) -> None:
        headers = [(b"cookie", b"sid=" + sign("planted", "native").encode())] if cookie else []
        if kind == "websocket":
            self.incoming = self.incoming or [{"type": "websocket.connect"}]
        base: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0"},
            "scheme": "ws" if kind == "websocket" else "http",
            "path": "/",
            "headers": headers,
            "query_string": b"",
        }
        await self.app({**base, **scope}, self.receive, self.send)

    async def plant(self) -> None:
        data = b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"n":1,"log":[]}'
        self.kept.create(hashlib.sha256(b"planted").hexdigest(), data, 86_400_000)

    @property
    def kept(self) -> Any:
        return self.store.kept

    @property
    def data(self) -> list[bytes]:
        return [found.data for _, found in self.kept.scan()]

    @property
    def cookies(self) -> list[SetCookie]:
        return [
            SetCookie(value.decode())
            for message in self.sent
            for name, value in message.get("headers") or ()
            if name == b"set-cookie"
        ]


def answering(act: Callable[[Any], object]) -> App:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        act(scope["session"])
        await send(dict(START))
        await send(dict(END))

    return app


# -- other messages -----------------------------------------------------------------------------------------------------------


async def test_early_hints_pass_and_do_not_commit() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await send({"type": "http.response.debug", "info": {}})
        scope["session"]["n"] = 1
        await send(dict(START))
        await send(dict(END))

    server = Server(app)
    await server.call()
    assert server.events == [
        "http.response.early_hint",
        "http.response.debug",
        "create",
        "http.response.start",
        "http.response.body",
    ]
    assert server.sent[0]["links"] == [b"</a.css>; rel=preload"] and "headers" not in server.sent[0]
    assert len(server.cookies) == 1


async def test_pathsend_zerocopy_and_trailers_pass() -> None:
    messages = [
        {"type": "http.response.pathsend", "path": "/tmp/x"},
        {"type": "http.response.zerocopysend", "file": 5},
        {"type": "http.response.trailers", "headers": [(b"x", b"y")], "more_trailers": False},
    ]

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        await send({**START, "trailers": True})
        for message in messages:
            await send(message)

    server = Server(app)
    await server.call()
    assert server.sent[1:] == messages and server.sent[0]["trailers"] is True and server.events[0] == "create"


@pytest.mark.parametrize("headers", ["absent", "empty", "tuple", "iterator", "lists"])
async def test_headers_in_any_form_that_asgi_allows(headers: str) -> None:
    forms: dict[str, Any] = {
        "absent": {},
        "empty": {"headers": []},
        "tuple": {"headers": ((b"x", b"y"),)},
        "iterator": {"headers": iter([(b"x", b"y")])},
        "lists": {"headers": [[b"x", b"y"]]},
    }

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        await send({"type": "http.response.start", "status": 200, **forms[headers]})
        await send(dict(END))

    server = Server(app)
    await server.call()
    got = [tuple(pair) for pair in server.sent[0]["headers"]]
    assert ((b"x", b"y") in got) is (headers not in ("absent", "empty"))
    assert len(server.cookies) == 1


async def test_the_apps_list_of_headers_is_not_changed() -> None:
    mine = [(b"content-type", b"text/plain")]

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": mine})
        await send(dict(END))

    await Server(app).call()
    assert mine == [(b"content-type", b"text/plain")]


async def test_other_scopes_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(dict(scope))

    await Server(app).call("something.new")
    assert seen[0]["type"] == "something.new" and "session" not in seen[0]


async def test_the_request_body_reaches_the_app() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        dict(scope["session"])
        message = await receive()
        await send(dict(START))
        await send({"type": "http.response.body", "body": message["body"]})

    server = Server(app)
    server.incoming = [{"type": "http.request", "body": b"posted"}]
    await server.call()
    assert server.sent[-1]["body"] == b"posted"


# -- the 503 ------------------------------------------------------------------------------------------------------------------


async def test_what_an_app_sends_after_a_failed_commit_is_swallowed() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        await send(dict(START))
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"app", "more_body": True})
        await send(dict(END))

    server = Server(app)
    server.store.fail("create")
    await server.call()
    assert [message["type"] for message in server.sent] == ["http.response.start", "http.response.body"]
    assert server.sent[0]["status"] == 503 and b"app" not in server.sent[1]["body"]


async def test_an_app_that_raises_after_its_response_became_a_503_raises() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        await send(dict(START))
        raise ValueError

    server = Server(app)
    server.store.fail("create")
    with pytest.raises(ValueError):
        await server.call()
    assert server.sent[0]["status"] == 503 and server.events.count("create") == 1


# -- WebSockets ---------------------------------------------------------------------------------------------------------------


def socket(act: Callable[[Any], object], *messages: Any, then: Callable[[Any], object] = lambda _session: None) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        act(scope["session"])
        for message in messages:
            await send(dict(message))
        then(scope["session"])

    return app


ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close", "code": 1000}
DENIAL = {"type": "websocket.http.response.start", "status": 403, "headers": []}
DENIED = {"type": "websocket.http.response.body", "body": b"no"}
EXTENSION: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}


@pytest.mark.parametrize("messages", [(ACCEPT, CLOSE), (DENIAL, DENIED)])
async def test_a_socket_commits_on_its_accept_or_denial_with_a_cookie(messages: Any) -> None:
    server = Server(socket(lambda s: s.update(n=1), *messages))
    await server.call("websocket", **EXTENSION)
    assert server.events[:2] == ["create", messages[0]["type"]] and len(server.cookies) == 1
    names = [name for name, _ in server.sent[0]["headers"]]
    assert b"vary" in names


async def test_a_socket_over_wss_has_a_secure_cookie() -> None:
    server = Server(socket(lambda s: s.update(n=1), ACCEPT))
    await server.call("websocket", scheme="wss")
    assert server.cookies[0].name == "__Host-sid"


@pytest.mark.parametrize(
    ("act", "write"),
    [
        (lambda s: s.update(n=2), "replace"),
        (lambda s: s.destroy(), "delete"),
        (lambda s: None, None),
    ],
)
async def test_a_socket_closed_before_its_accept_sends_no_cookie_but_saves(act: Any, write: str | None) -> None:
    server = Server(socket(act, CLOSE))
    await server.plant()
    await server.call("websocket", cookie=True)
    assert [event for event in server.events if event in ("replace", "delete")] == ([write] if write else [])
    assert server.sent == [CLOSE] and server.cookies == []


async def test_a_new_session_of_a_socket_closed_before_its_accept_is_refused(logs: pytest.LogCaptureFixture) -> None:
    server = Server(socket(lambda s: s.update(n=1), CLOSE))
    await server.call("websocket")
    assert server.data == [] and any(record.levelno == logging.ERROR for record in logs.records)


async def test_a_change_during_a_socket_is_saved_at_its_end() -> None:
    server = Server(socket(lambda s: None, ACCEPT, then=lambda s: s.update(n=2)))
    await server.plant()
    await server.call("websocket", cookie=True)
    assert server.events == ["load", "websocket.accept", "replace"] and b'"n":2' in server.data[0]


async def test_a_long_lived_socket_saves_and_reloads_by_itself() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        session = scope["session"]
        await send(dict(ACCEPT))
        for n in (2, 3):
            session["n"] = n
            await session.save()
            seen.append(server.data[0])
        await session.reload()
        seen.append(dict(session))

    server = Server(app)
    await server.plant()
    await server.call("websocket", cookie=True)
    assert b'"n":2' in seen[0] and b'"n":3' in seen[1] and seen[2] == {"n": 3, "log": []}
    assert server.events.count("replace") == 2


async def test_a_new_session_cannot_be_saved_after_the_accept() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(dict(ACCEPT))
        scope["session"]["n"] = 1
        with pytest.raises(SessionLate):
            await scope["session"].save()

    server = Server(app)
    await server.call("websocket")
    assert server.data == []


async def test_a_session_that_was_only_read_costs_a_socket_no_write() -> None:
    server = Server(socket(dict, ACCEPT, CLOSE))
    await server.plant()
    await server.call("websocket", cookie=True)
    assert server.events == ["load", "websocket.accept", "websocket.close"]


@pytest.mark.parametrize("when", ["load", "replace"])
async def test_a_failing_store_denies_a_socket_with_a_503_where_the_server_can(when: str) -> None:
    server = Server(socket(lambda s: s.update(n=2), ACCEPT, CLOSE))
    await server.plant()
    server.store.fail(when)
    await server.call("websocket", cookie=True, **EXTENSION)
    assert [message["type"] for message in server.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert server.sent[0]["status"] == 503 and server.incoming == []


@pytest.mark.parametrize("when", ["load", "replace"])
async def test_a_failing_store_closes_a_socket_where_the_server_cannot(when: str) -> None:
    server = Server(socket(lambda s: s.update(n=2), ACCEPT, CLOSE))
    await server.plant()
    server.store.fail(when)
    await server.call("websocket", cookie=True)
    assert [message["type"] for message in server.sent] == ["websocket.close"]
    assert server.sent[0]["code"] == 1013 and server.incoming == []


async def test_a_socket_with_anonymous_goes_on() -> None:
    server = Server(socket(lambda s: s.update(n=2), ACCEPT, CLOSE), on_store_error="anonymous")
    await server.plant()
    server.store.fail("load")
    await server.call("websocket", cookie=True)
    assert [message["type"] for message in server.sent] == ["websocket.accept", "websocket.close"]


# -- lifespan -----------------------------------------------------------------------------------------------------------------


def lifespan(answer: str) -> App:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": answer})
        if answer == "lifespan.startup.complete":
            assert (await receive())["type"] == "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.complete"})

    return app


LIFE = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


async def test_lifespan_opens_and_closes_the_store() -> None:
    server = Server(lifespan("lifespan.startup.complete"))
    server.incoming = list(LIFE)
    await server.call("lifespan")
    assert server.events == ["open", "lifespan.startup.complete", "close", "lifespan.shutdown.complete"]


async def test_the_store_opens_after_the_applications_own_start_up() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        server.events.append("the application is up")
        await send({"type": "lifespan.startup.complete"})

    server = Server(app)
    server.incoming = list(LIFE)
    await server.call("lifespan")
    assert server.events == ["the application is up", "open", "lifespan.startup.complete"]


async def test_a_startup_that_fails_closes_the_store() -> None:
    server = Server(lifespan("lifespan.startup.failed"))
    server.incoming = list(LIFE)
    await server.call("lifespan")
    assert server.events == ["close", "lifespan.startup.failed"]


async def test_a_store_that_cannot_be_opened_yet_does_not_keep_the_app_from_starting(
    logs: pytest.LogCaptureFixture,
) -> None:
    server = Server(lifespan("lifespan.startup.complete"))
    server.store.fail("open")
    server.incoming = list(LIFE)
    await server.call("lifespan")
    assert server.events[-1] == "lifespan.shutdown.complete"
    assert any("starting all the same" in record.getMessage() for record in logs.records)


async def test_an_app_without_lifespan_still_says_so() -> None:
    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        assert scope["type"] == "http", "unsupported"

    with pytest.raises(AssertionError, match="unsupported"):
        await Server(app).call("lifespan")


# -- cancellation -------------------------------------------------------------------------------------------------------------


class SlowStore(ASYNC_COUNTING):  # type: ignore[misc, valid-type]
    """Waits in the middle of every write until told to go on."""

    def __init__(self, clock: ManualClock, events: list[str]) -> None:
        super().__init__(clock, events)
        self.reached = anyio.Event()
        self.go_on = anyio.Event()

    async def _slowly(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.reached.set()
        await self.go_on.wait()
        answer = getattr(self.kept, name)(*args, **kwargs)
        self._timeline.append(f"{name} done")
        return answer

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        return await self._slowly("create", *args, **kwargs)

    async def replace(self, *args: Any, **kwargs: Any) -> Any:
        return await self._slowly("replace", *args, **kwargs)

    async def delete(self, *args: Any, **kwargs: Any) -> Any:
        return await self._slowly("delete", *args, **kwargs)


def slow_server(app: App, **options: Any) -> Server:
    server = Server(app, **options)
    server.store = server.app.store = SlowStore(ManualClock(), server.events)
    return server


WRITES = pytest.mark.parametrize(
    ("act", "done"),
    [
        (lambda s: s.update(n=2), "replace done"),
        (lambda s: s.destroy(), "delete done"),
    ],
)


@WRITES
async def test_a_commit_completes_though_the_request_is_cancelled_in_its_midst(act: Any, done: str) -> None:
    server = slow_server(answering(act))
    await server.plant()
    after: list[str] = []

    async def request() -> None:
        try:
            await server.call(cookie=True)
        finally:
            after.append("ended")

    async with anyio.create_task_group() as group:
        group.start_soon(request)
        await server.store.reached.wait()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert after == [], "the request waits for its commit"
            server.store.go_on.set()
    assert done in server.events and after == ["ended"]
    assert "http.response.body" not in server.events


@WRITES
async def test_a_task_cancelled_again_and_again_still_commits(anyio_backend_name: str, act: Any, done: str) -> None:
    if anyio_backend_name != "asyncio":
        return  # trio has no tasks that anybody could cancel one by one
    server = slow_server(answering(act))
    await server.plant()
    task = asyncio.ensure_future(server.call(cookie=True))
    await server.store.reached.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    server.store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done in server.events and task.cancelled()


async def test_an_explicit_save_completes_though_cancelled() -> None:
    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        scope["session"]["n"] = 2
        await scope["session"].save()
        await anyio.lowlevel.checkpoint()
        raise AssertionError("goes on after its cancellation")

    server = slow_server(app)
    await server.plant()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: server.call(cookie=True))
        await server.store.reached.wait()
        group.cancel_scope.cancel()
        server.store.go_on.set()
    assert "replace done" in server.events


@pytest.mark.parametrize(("act", "done"), [(lambda s: s.update(n=2), []), (lambda s: s.destroy(), ["delete done"])])
async def test_a_handler_cancelled_before_its_response_saves_nothing_but_a_destroy(act: Any, done: list[str]) -> None:
    waiting = anyio.Event()

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        act(scope["session"])
        waiting.set()
        await anyio.sleep_forever()

    server = slow_server(app)
    server.store.go_on.set()
    await server.plant()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: server.call(cookie=True))
        await waiting.wait()
        group.cancel_scope.cancel()
    assert [event for event in server.events if event.endswith("done")] == done


async def test_a_write_that_fails_while_its_request_is_cancelled_raises_no_unhandled_error() -> None:
    server = slow_server(answering(lambda s: s.update(n=2)))
    await server.plant()

    async def fail(*_args: Any, **_kwargs: Any) -> Any:
        server.store.reached.set()
        await server.store.go_on.wait()
        raise StoreUnavailable("down")

    server.store.replace = fail
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: server.call(cookie=True))
        await server.store.reached.wait()
        group.cancel_scope.cancel()
        server.store.go_on.set()
    assert b'"n":1' in server.data[0]


async def test_a_cancelled_load_is_simply_cancelled() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("called")

    server = slow_server(app)
    reached = anyio.Event()

    async def load(_key: str) -> Any:
        reached.set()
        await anyio.sleep_forever()

    server.store.load = load
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: server.call(cookie=True))
        await reached.wait()
        group.cancel_scope.cancel()
    assert server.sent == []


async def test_a_client_that_has_gone_undoes_nothing() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        scope["session"]["n"] = 2
        await send(dict(START))
        await send(dict(END))

    server = Server(app)
    server.incoming = [{"type": "http.disconnect"}]
    await server.plant()
    await server.call(cookie=True)
    assert b'"n":2' in server.data[0]


async def test_a_server_that_raises_for_a_gone_client_does_so_after_the_commit() -> None:
    server = Server(answering(lambda s: s.update(n=2)))
    await server.plant()

    async def gone(_message: Any) -> None:
        raise OSError("gone")

    server.send = gone  # type: ignore[assignment, method-assign]
    with pytest.raises(OSError, match="gone"):
        await server.call(cookie=True)
    assert b'"n":2' in server.data[0]


async def test_parallel_requests_of_one_session_lose_nothing() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["session"].increment("n")
        scope["session"]["log"].append(scope["path"])
        await anyio.lowlevel.checkpoint()
        await send(dict(START))
        await send(dict(END))

    server = Server(app)
    await server.plant()
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(partial(server.call, cookie=True, path=f"/{number}"))
    assert b'"n":9' in server.data[0]
    assert all(f'"/{number}"'.encode() in server.data[0] for number in range(8))
