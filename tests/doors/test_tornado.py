"""The complete adapter of "Integrating a framework", on Tornado's own server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError

from examples.tornado_sessions import SessionHandler
from sojourn import Cookie, StoreUnavailable
from sojourn.driver import AsyncSessionDriver
from sojourn.stores import AsyncMemoryStore

SECRET = "a secret of more than thirty-two bytes for testing"


class Shaky(AsyncMemoryStore):
    down = ""

    async def load(self, key: str) -> Any:
        self.fail("load")
        return await super().load(key)

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        self.fail("create")
        return await super().create(*args, **kwargs)

    async def replace(self, *args: Any, **kwargs: Any) -> Any:
        self.fail("replace")
        return await super().replace(*args, **kwargs)

    def fail(self, name: str) -> None:
        if self.down == name:
            raise StoreUnavailable("down")


class Read(SessionHandler):
    def get(self) -> None:
        self.write(dict(self.session))


class Count(SessionHandler):
    async def get(self) -> None:
        self.write({"n": self.session.increment("n")})
        await self.finish()


class Streamed(SessionHandler):
    async def get(self) -> None:
        self.session["n"] = 1
        self.write("first ")
        await self.flush()
        self.session["late"] = True
        self.write("second")
        await self.flush()


class Raises(SessionHandler):
    def get(self) -> None:
        self.session["n"] = 5
        raise HTTPError(404) if self.get_argument("http", "") else ValueError("a fault of the application")


class Unstorable(SessionHandler):
    def get(self) -> None:
        self.session["x"] = object()


class TooLarge(SessionHandler):
    def get(self) -> None:
        self.session["x"] = "x" * 2_000_000


class Away(SessionHandler):
    def get(self) -> None:
        self.session.login("ann")
        self.redirect("/app/read")


class Outside(SessionHandler):
    def get(self) -> None:
        self.write("no session" if not hasattr(self, "session") else "a session")


@asynccontextmanager
async def site(store: Shaky) -> AsyncIterator[httpx.AsyncClient]:
    sessions = AsyncSessionDriver(secret=SECRET, store=store, cookie=Cookie(path="/app"))
    handlers = {
        "read": Read,
        "count": Count,
        "stream": Streamed,
        "raise": Raises,
        "bad": Unstorable,
        "large": TooLarge,
        "away": Away,
    }
    routes: list[Any] = [(f"/app/{name}", handler) for name, handler in handlers.items()]
    server = HTTPServer(Application([*routes, ("/outside", Outside)], sessions=sessions))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{sockets[0].getsockname()[1]}") as client:
            yield client
    finally:
        server.stop()
        await server.close_all_connections()


def run(work: Any) -> None:
    store = Shaky()

    async def main() -> None:
        async with site(store) as client:
            await asyncio.wait_for(work(client, store), 20)

    asyncio.run(main())


def test_it_counts_and_many_requests_at_once_all_count():
    async def work(client, store):
        await client.get("/app/count")
        await asyncio.gather(*[client.get("/app/count") for _ in range(20)])
        assert (await client.get("/app/read")).json() == {"n": 21}

    run(work)


def test_a_redirect_does_not_outrun_its_save():
    async def work(client, store):
        answer = await client.get("/app/away")
        assert answer.status_code == 302 and "sid" in answer.cookies and await store.count() == 1

    run(work)


def test_a_streamed_response_sends_its_cookie_first_and_saves_what_came_late():
    async def work(client, store):
        answer = await client.get("/app/stream")
        assert answer.text == "first second" and "sid" in answer.cookies
        assert (await client.get("/app/read")).json() == {"n": 1, "late": True}

    run(work)


def test_an_error_the_handler_means_saves_and_a_fault_does_not(caplog: pytest.LogCaptureFixture):
    async def work(client, store):
        assert (await client.get("/app/raise")).status_code == 500
        assert await store.count() == 0
        assert (await client.get("/app/raise?http=1")).status_code == 404
        assert (await client.get("/app/read")).json() == {"n": 5}

    run(work)


@pytest.mark.parametrize(("path", "error"), [("bad", "SessionEncodeError"), ("large", "SessionTooLarge")])
def test_what_cannot_be_stored_is_a_500(path: str, error: str, caplog: pytest.LogCaptureFixture):
    async def work(client, store):
        answer = await client.get(f"/app/{path}")
        assert answer.status_code == 500 and "set-cookie" not in answer.headers
        assert any(error in (record.exc_text or "") for record in caplog.records)

    with caplog.at_level(logging.ERROR):
        run(work)


@pytest.mark.parametrize("path", ["/app/count", "/app/stream"])
def test_a_store_that_is_down_is_a_503(path: str):
    async def work(client, store):
        await client.get(path)
        for down in ("load", "replace"):
            store.down = down
            answer = await client.get("/app/count")
            assert answer.status_code == 503 and answer.headers["retry-after"]
        store.down = "create"
        client.cookies.clear()
        assert (await client.get(path)).status_code == 503
        store.down = ""

    run(work)


def test_outside_the_cookies_path_there_is_no_session():
    async def work(client, store):
        assert (await client.get("/outside")).text == "no session"

    run(work)
