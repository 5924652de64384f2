"""The store, the application and the browser of the tests under aiohttp."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sojourn import StoreUnavailable
from sojourn.aiohttp import SESSION, get_session, setup
from sojourn.stores import AsyncMemoryStore

SECRET = "a secret that is long enough for everybody"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Store(AsyncMemoryStore):
    """Notes what is asked of it, and fails or waits when told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[str] = []
        self.failing: set[str] = set()
        self.gate: asyncio.Event | None = None
        self.opened = 0

    async def open(self) -> None:
        self.opened += 1
        await self._note("open")
        await super().open()

    async def close(self) -> None:
        self.opened -= 1
        await super().close()

    async def _note(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise StoreUnavailable("down")
        if self.gate is not None and name != "load":
            await self.gate.wait()

    async def load(self, *args: Any) -> Any:
        await self._note("load")
        return await super().load(*args)

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        await self._note("create")
        return await super().create(*args, **kwargs)

    async def replace(self, *args: Any, **kwargs: Any) -> Any:
        await self._note("replace")
        return await super().replace(*args, **kwargs)

    async def regenerate(self, *args: Any, **kwargs: Any) -> Any:
        await self._note("regenerate")
        return await super().regenerate(*args, **kwargs)

    async def delete(self, *args: Any) -> Any:
        await self._note("delete")
        return await super().delete(*args)

    async def touch(self, *args: Any) -> Any:
        await self._note("touch")
        return await super().touch(*args)


async def count(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    session["n"] = session.get("n", 0) + 1
    return web.Response(text=str(session["n"]))


async def show(request: web.Request) -> web.StreamResponse:
    return web.json_response(dict(await get_session(request)))


async def nothing(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="nothing")


async def logout(request: web.Request) -> web.StreamResponse:
    request[SESSION].logout()
    return web.Response()


def site(
    store: Any, routes: dict[str, Handler] | None = None, *, app: web.Application | None = None, **options: Any
) -> web.Application:
    """An application with the routes that the tests use."""
    app = web.Application() if app is None else app
    setup(app, **{"secret": SECRET, "store": store, **options})
    usual: dict[str, Handler] = {"/count": count, "/show": show, "/nothing": nothing, "/logout": logout}
    for path, handler in {**usual, **(routes or {})}.items():
        app.router.add_route("*", path, handler)
    return app


@asynccontextmanager
async def visiting(app: web.Application) -> AsyncIterator[Any]:
    """A browser of the application, on a real server."""
    async with TestClient(TestServer(app)) as client:
        yield client


async def text(client: Any, path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200, response
        found: str = await response.text()
        return found


def cookie_of(client: Any, path: str = "/") -> str | None:
    found = client.session.cookie_jar.filter_cookies(client.make_url(path)).get("sid")
    return None if found is None else found.value


async def found_with(client: Any, cookie: str | None, path: str = "/show") -> tuple[str, str | None]:
    """What whoever has this cookie finds, and the cookie that they are sent."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as other:
        headers = {} if cookie is None else {"Cookie": f"sid={cookie}"}
        async with other.get(client.make_url(path), headers=headers) as response:
            sent = response.cookies.get("sid")
            return await response.text(), None if sent is None else sent.value


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def stream(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    session["stream"] = 1
    response = web.StreamResponse()
    if "zip" in request.query:
        response.enable_compression(web.ContentCoding.deflate)
    if "length" in request.query:
        response.content_length = 3
    await response.prepare(request)
    await response.write(b"one")
    return response
