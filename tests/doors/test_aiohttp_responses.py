"""Under aiohttp: whatever the handler answers with, a stream and a WebSocket too, carries the session, or is a 503.

``# aiohttp contract`` and a number above a test names the line of docs/frameworks/aiohttp-contract.md that it holds.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSServerHandshakeError, web

import sojourn
from sojourn import (
    Cookie,
    HeadersAlreadySent,
    SessionEncodeError,
    StoreError,
)
from sojourn.aiohttp import get_session
from sojourn.options import ErrorPage
from tests.doors.aiohttp_apps import (
    Handler,
    Store,
    cookie_of,
    site,
    stream,
    text,
    until,
    visiting,
)

pytestmark = pytest.mark.anyio


class Colour(StrEnum):
    GREEN = "green"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as aiohttp


@pytest.fixture(autouse=True)
def _say_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sojourn.logs._said", set())


@pytest.fixture
def store() -> Store:
    return Store()


# -- responses ---------------------------------------------------------------------------------------------------------


# aiohttp contract 15, 24
@pytest.mark.parametrize("status", [200, 302, 404, 500])
async def test_whatever_the_handler_raises_as_a_response_carries_the_session(store: Store, status: int) -> None:
    kinds = {200: web.HTTPOk, 404: web.HTTPNotFound, 500: web.HTTPInternalServerError}

    async def answer(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["status"] = status
        raise web.HTTPFound("/show") if status == 302 else kinds[status]()

    async with visiting(site(store, {"/answer": answer})) as client:
        async with client.get("/answer", allow_redirects=False) as response:
            assert response.status == status and "sid" in response.cookies
        assert await text(client, "/show") == f'{{"status": {status}}}'


# aiohttp contract 15, 24
async def test_of_a_handler_that_fails_nothing_is_saved_but_a_logout(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        session["bad"] = 1
        if "out" in request.query:
            session.logout()
        raise ValueError("a fault")

    async with visiting(site(store, {"/fail": fail})) as client:
        await text(client, "/count")
        async with client.get("/fail") as response:
            assert response.status == 500 and "Set-Cookie" not in response.headers
        assert await text(client, "/show") == '{"n": 1}'
        async with client.get("/fail?out") as response:
            assert response.status == 500
        assert await text(client, "/show") == "{}"
        async with client.get("/not-here") as response:
            assert response.status == 404 and "Vary" not in response.headers


async def test_a_handler_without_a_response_is_an_error_and_saves_nothing(store: Store) -> None:
    async def none(request: web.Request) -> Any:
        (await get_session(request))["n"] = 1

    async with visiting(site(store, {"/none": none})) as client:
        async with client.get("/none") as response:
            assert response.status == 500
        assert store.calls == ["open"]


# aiohttp contract 16, 24
async def test_a_stream_a_file_and_an_unprepared_response_carry_the_session(store: Store, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("a file")

    async def stream(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["stream"] = 1
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a stream")
        return response

    async def file(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["file"] = 1
        return web.FileResponse(tmp_path / "page.txt")

    async def empty(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["empty"] = 1
        return web.StreamResponse()

    async with visiting(site(store, {"/stream": stream, "/file": file, "/empty": empty})) as client:
        assert await text(client, "/stream") == "a stream"
        async with client.get("/file") as response:
            assert await response.text() == "a file" and response.headers["Vary"] == "Cookie"
        assert await text(client, "/empty") == ""
        assert await text(client, "/show") == '{"stream": 1, "file": 1, "empty": 1}'


# aiohttp contract 17
async def test_a_response_that_the_handler_prepared_is_saved_with_it(store: Store) -> None:
    async def prepared(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["n"] = 1
        response = web.Response(text="prepared")
        await response.prepare(request)
        return response

    async with visiting(site(store, {"/prepared": prepared})) as client:
        assert await text(client, "/prepared") == "prepared"
        assert await text(client, "/show") == '{"n": 1}'


# aiohttp contract 19
async def test_a_response_that_looked_at_the_session_varies_and_one_with_the_cookie_is_not_cached(store: Store) -> None:
    async def cached(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["n"] = 1
        return web.Response(headers={"Cache-Control": "private", "Vary": "Accept"})

    async with visiting(site(store, {"/cached": cached}, cookie=Cookie(max_age=60))) as client:
        async with client.get("/nothing") as response:
            assert not {"Vary", "Cache-Control", "Set-Cookie"} & set(response.headers)
        async with client.get("/show") as response:
            assert response.headers["Vary"] == "Cookie" and "Cache-Control" not in response.headers
        async with client.get("/cached") as response:
            assert response.headers.getall("Vary") == ["Accept, Cookie"]
            assert response.headers.getall("Cache-Control") == ["private"]
            assert response.cookies["sid"]["max-age"] == "60" and response.cookies["sid"]["expires"]
        client.session.cookie_jar.clear()
        async with client.get("/count") as response:
            assert response.headers["Cache-Control"] == "no-store"


# aiohttp contract 24, 32
async def test_the_cookie_reaches_the_browser_whichever_response_a_middleware_further_out_sends(store: Store) -> None:
    @web.middleware
    async def behind_a_proxy(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(scheme="http"))  # as aiohttp-remotely does: another request

    @web.middleware
    async def pages(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return web.Response(text="our own page", status=404)

    async def missing(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["missed"] = 1
        raise web.HTTPNotFound

    app = site(store, {"/missing": missing}, app=web.Application(middlewares=[behind_a_proxy, pages]))
    async with visiting(app) as client:
        async with client.get("/missing") as response:
            assert await response.text() == "our own page"
            assert len(response.headers.getall("Set-Cookie")) == 1
        assert await text(client, "/show") == '{"missed": 1}'
        assert not app.middlewares[-1]._told  # type: ignore[attr-defined]


# aiohttp contract 21
@pytest.mark.parametrize("kind", [web.Response, web.StreamResponse])
async def test_a_value_that_cannot_be_stored_is_an_error_before_anything_is_sent(store: Store, kind: Any) -> None:
    caught: list[type] = []

    @web.middleware
    async def outer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except SessionEncodeError as error:
            caught.append(type(error))
            return web.Response(text="sorry", status=500)

    async def bad(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["bad"] = object()
        response: web.StreamResponse = kind()
        if kind is web.StreamResponse:
            response.enable_compression(web.ContentCoding.gzip)
            await response.prepare(request)
        return response

    async with visiting(site(store, {"/bad": bad}, app=web.Application(middlewares=[outer]))) as client:
        await text(client, "/count")
        async with client.get("/bad") as response:
            assert (response.status, await response.text()) == (500, "sorry")
        assert await text(client, "/count") == "2", "on the same connection"
    assert caught == [SessionEncodeError]


# aiohttp contract 21
async def test_what_json_dumps_takes_is_stored_as_it_writes_it_and_more_as_what_it_is(store: Store) -> None:
    async def put(request: web.Request) -> web.StreamResponse:
        (await get_session(request)).update({"set": {1}, "colour": Colour.GREEN, "numbers": {1: "one"}})
        return web.Response()

    async def see(request: web.Request) -> web.StreamResponse:
        return web.Response(text=repr(dict(await get_session(request))))

    async with visiting(site(store, {"/put": put, "/see": see})) as client:
        await text(client, "/put")
        assert await text(client, "/see") == "{'set': {1}, 'colour': 'green', 'numbers': {'1': 'one'}}"


# -- a store that fails ------------------------------------------------------------------------------------------------


def is_our_503(response: Any, body: str) -> bool:
    headers = response.headers
    return (
        response.status == 503
        and "Please try again" in body
        and (headers["Retry-After"], headers["Cache-Control"]) == ("5", "no-store")
        and headers["Content-Type"] == "text/html; charset=utf-8"
        and "Set-Cookie" not in headers
    )


# aiohttp contract 25
@pytest.mark.parametrize("path", ["/count", "/stream", "/stream?zip", "/stream?length", "/logout"])
async def test_a_store_that_fails_is_a_503_for_streams_too_and_the_connection_goes_on(store: Store, path: str) -> None:
    async with visiting(site(store, {"/stream": stream})) as client:
        await text(client, "/count")
        for failing in ("load", "replace", "delete"):
            if (failing == "delete" and path != "/logout") or (failing == "replace" and path == "/logout"):
                continue
            store.failing = {failing}
            store.calls.clear()
            async with client.get(path) as response:
                assert is_our_503(response, await response.text())
            assert store.calls.count(failing) == 1
            store.failing = set()
            assert await text(client, "/show") == '{"n": 1}'


async def test_the_page_of_the_503_can_be_a_function_of_the_request(store: Store) -> None:
    def page(request: web.Request) -> ErrorPage:
        return ErrorPage({"instance": request.path}, {"Retry-After": "60"})

    async with visiting(site(store, {"/stream": stream}, store_error_page=page)) as client:
        await text(client, "/count")
        for path, failing in (("/count", "load"), ("/count", "replace"), ("/stream", "replace")):
            store.failing = {failing}
            async with client.get(path) as response:
                assert (response.status, response.content_type) == (503, "application/problem+json")
                assert (await response.json(content_type=None))["instance"] == path
                assert response.headers["Retry-After"] == "60"


# aiohttp contract 25
async def test_a_store_that_fails_refuses_a_websocket(store: Store) -> None:
    async def socket(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["n"] = 1
        response = web.WebSocketResponse()
        await response.prepare(request)
        return response

    async with visiting(site(store, {"/ws": socket})) as client:
        for failing in ("create", "load"):
            store.failing = {failing}
            with pytest.raises(WSServerHandshakeError) as caught:
                await client.ws_connect("/ws")
            assert caught.value.status == 503
            store.failing = set()
            await text(client, "/count")


# aiohttp contract 25
async def test_who_catches_the_failure_of_a_stream_sends_a_page_of_their_own_and_nothing_is_saved(store: Store) -> None:
    async def careful(request: web.Request) -> web.StreamResponse:
        try:
            return await stream(request)
        except web.HTTPServiceUnavailable:
            return web.Response(text="later, please", status=503)

    async with visiting(site(store, {"/careful": careful})) as client:
        await text(client, "/count")
        store.failing = {"replace"}
        async with client.get("/careful") as response:
            assert (response.status, await response.text()) == (503, "later, please")
        assert store.calls.count("replace") == 1
        store.failing = set()
        assert await text(client, "/show") == '{"n": 1}'


async def test_a_failure_may_be_passed_over_but_not_that_of_a_logout(store: Store) -> None:
    async with visiting(site(store, on_store_error="anonymous")) as client:
        await text(client, "/count")
        store.failing = {"load", "replace", "create", "delete"}
        assert await text(client, "/count") == "1"
        async with client.get("/logout") as response:
            assert response.status == 503
        store.failing = set()
        assert await text(client, "/show") == '{"n": 1}'


async def test_a_lazy_session_is_loaded_by_get_session_alone(store: Store) -> None:
    async def direct(request: web.Request) -> web.StreamResponse:
        with pytest.raises(sojourn.SessionNotLoaded):
            request["session"]["n"]
        return web.Response()

    async def quiet(request: web.Request) -> web.StreamResponse:
        with pytest.raises(web.HTTPServiceUnavailable):
            await get_session(request)
        return web.Response(text="never mind")

    async with visiting(site(store, {"/direct": direct, "/quiet": quiet}, lazy=True)) as client:
        await text(client, "/count")
        store.calls.clear()
        await text(client, "/nothing")
        await text(client, "/direct")
        assert store.calls == []
        assert await text(client, "/show") == '{"n": 1}'
        store.failing = {"load"}
        for path in ("/show", "/quiet"):
            async with client.get(path) as response:
                assert is_our_503(response, await response.text())


# aiohttp contract 25
async def test_a_store_that_fails_at_a_handler_s_own_save_or_reload_is_a_503(store: Store) -> None:
    async def save(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        session["n"] = 5
        await session.save()
        return web.Response()

    async def reload(request: web.Request) -> web.StreamResponse:
        store.failing = {"load"}
        await (await get_session(request)).reload()
        return web.Response()

    async with visiting(site(store, {"/save": save, "/reload": reload})) as client:
        await text(client, "/count")
        store.failing = {"replace"}
        for path in ("/save", "/reload"):
            async with client.get(path) as response:
                assert is_our_503(response, await response.text())
            store.failing = set()
        assert await text(client, "/show") == '{"n": 1}'


async def test_a_save_that_fails_is_the_handler_s_to_handle(store: Store) -> None:
    async def save(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        session["n"] = 5
        try:
            await session.save()
        except StoreError:
            return web.Response(text="not saved")
        return web.Response(text="saved")

    async with visiting(site(store, {"/save": save}, on_store_error="anonymous")) as client:
        assert await text(client, "/save") == "saved"
        store.failing = {"replace"}
        assert await text(client, "/save") == "saved", "there is nothing to write"
        await store.clear()
        store.failing = {"create"}
        assert await text(client, "/save") == "not saved"


# -- after the headers -------------------------------------------------------------------------------------------------


async def chat(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    response = web.WebSocketResponse()
    await response.prepare(request)
    async for message in response:
        if message.data == "reload":
            await session.reload()
        else:
            session[message.data] = True
        if "save" in request.query:
            await session.save()
        await response.send_json(dict(session))
    return response


# aiohttp contract 16, 27
async def test_what_a_websocket_changes_is_saved_when_it_is_closed_or_at_once_by_save(store: Store) -> None:
    async with visiting(site(store, {"/ws": chat})) as client:
        await text(client, "/count")
        async with client.ws_connect("/ws?save") as socket:
            await socket.send_str("now")
            assert await socket.receive_json() == {"n": 1, "now": True}
            assert await text(client, "/show") == '{"n": 1, "now": true}'
            await text(client, "/count")
            await socket.send_str("reload")
            assert await socket.receive_json() == {"n": 2, "now": True}
        async with client.ws_connect("/ws") as socket:
            await socket.send_str("then")
            assert (await socket.receive_json())["then"]
            await text(client, "/count")
        await until(lambda: store.calls[-1] != "load")
        assert await text(client, "/show") == '{"n": 3, "now": true, "then": true}', "merged with what came meanwhile"


# aiohttp contract 24, 26
async def test_a_socket_s_new_session_begins_before_the_handshake_or_not_at_all(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def early(request: web.Request) -> web.StreamResponse:
        (await get_session(request))["early"] = 1
        return await chat(request)

    async def late(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        response = web.WebSocketResponse()
        await response.prepare(request)
        session["late"] = 1
        with pytest.raises(HeadersAlreadySent):
            await session.save()
        await response.close()
        return response

    async with visiting(site(store, {"/early": early, "/late": late})) as client:
        async with client.ws_connect("/late") as socket:
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        await until(lambda: "changed for the first time after the response headers had left" in caplog.text)
        assert "create" not in store.calls
        async with client.ws_connect("/early") as socket:
            await socket.send_str("x")
            await socket.receive_json()
        assert cookie_of(client) is not None
        await until(lambda: store.calls[-1] == "replace")
        assert await text(client, "/show") == '{"early": 1, "x": true}'


# aiohttp contract 27
async def test_what_a_stream_changes_is_saved_when_it_ends_or_its_client_goes(store: Store) -> None:
    async def long(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        session["streamed"] = session.get("streamed", 0) + 1
        if "fail" in request.query:
            raise ValueError("a fault")
        while "long" in request.query:
            await response.write(b"more" * 1000)
            await asyncio.sleep(0)
        return response

    async with visiting(site(store, {"/long": long})) as client:
        await text(client, "/count")
        assert await text(client, "/long") == "one"
        assert await text(client, "/show") == '{"n": 1, "streamed": 1}'
        store.calls.clear()
        async with client.get("/long?long") as response:
            await response.content.read(3)
            response.close()
        await until(lambda: "replace" in store.calls)
        assert await text(client, "/show") == '{"n": 1, "streamed": 2}'
        with pytest.raises(aiohttp.ClientPayloadError):
            await text(client, "/long?fail")
        assert await text(client, "/show") == '{"n": 1, "streamed": 2}', "of a handler that fails nothing is saved"


# aiohttp contract 29
@pytest.mark.parametrize("path", ["/count", "/login"])
async def test_a_client_that_goes_tears_no_commit(store: Store, path: str) -> None:
    tasks: list[asyncio.Task[Any]] = []
    ended: list[str] = []

    @web.middleware
    async def outer(request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            return await handler(request)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def login(request: web.Request) -> web.StreamResponse:
        (await get_session(request)).login("ann", keep_data=True)
        return web.Response()

    app = site(store, {"/login": login}, app=web.Application(middlewares=[outer]))
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        server = web.TCPSite(runner, "127.0.0.1", 0)
        await server.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            async with client.get(f"http://127.0.0.1:{port}/count") as response:
                cookie = response.cookies["sid"].value
            store.calls.clear()
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            store.gate = asyncio.Event()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nCookie: sid={cookie}\r\n\r\n".encode())
            await until(lambda: len(store.calls) == 2)  # the commit is on its way
            writer.transport.abort()
            await until(tasks[1].cancelling)
            assert ended == []
            store.gate.set()
            await until(lambda: ended)
            assert store.calls[1] == {"/count": "replace", "/login": "regenerate"}[path]
            records = [stored.data async for _, stored in store.scan()]
            assert len(records) == 1 and (b'"n":2' in records[0] or b'"ann"' in records[0])
    finally:
        await runner.cleanup()
