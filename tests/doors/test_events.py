"""``on_event`` at every door: a login, a change and a logout are told, by functions and, where something awaits them, by coroutine functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import flask
import pytest
import quart
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import re_path
from fastapi import FastAPI
from litestar import Request as LitestarRequest
from litestar import get
from litestar.testing import TestClient as LitestarClient
from pyramid.config import Configurator
from pyramid.response import Response as PyramidResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from webtest import TestApp

import sojourn.aiohttp
import sojourn.asgi
import sojourn.fastapi
import sojourn.flask
import sojourn.pyramid
import sojourn.quart
import sojourn.starlette
import sojourn.wsgi
from sojourn.driver import AsyncSessionDriver, SessionDriver
from sojourn.errors import ConfigurationError
from sojourn.events import SessionEvent
from tests.doors.django_clients import Visitor, site  # first, as it gives Django its settings
from tests.doors.litestar_apps import app_of, plugin_of
from tests.doors.starlette_clients import TestClient

__all__ = ["site"]

SECRET = "a secret that is long enough for everybody"
PATHS = ("/login", "/count", "/show", "/logout")
Events = list[SessionEvent]
Walk = Callable[..., None]
"""Visits all paths, one after the other, as one browser, where the sessions have these options."""


def act(session: Any, path: str) -> None:
    """What a request does."""
    match path:
        case "/login":
            session.login("ann")
        case "/count":
            session["n"] = session.get("n", 0) + 1
        case "/show":
            session.get("n")
        case "/logout":
            session.logout()
        case _:
            raise AssertionError(path)


def asgi(**options: Any) -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        act(scope["session"], scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    _walk(TestClient(sojourn.asgi.SessionMiddleware(app, secret=SECRET, **options)).get)


def starlette(**options: Any) -> None:
    async def handle(request: Request) -> PlainTextResponse:
        act(request.session, request.url.path)
        return PlainTextResponse("done")

    app = Starlette(routes=[Route(path, handle) for path in PATHS])
    app.add_middleware(sojourn.starlette.SessionMiddleware, secret=SECRET, **options)
    _walk(TestClient(app).get)


def fastapi(**options: Any) -> None:
    app = FastAPI()
    app.add_middleware(sojourn.fastapi.SessionMiddleware, secret=SECRET, **options)

    @app.get("/{path}")
    def handle(session: sojourn.fastapi.SessionDep, path: str) -> str:
        act(session, f"/{path}")
        return "done"

    _walk(TestClient(app).get)


def wsgi(**options: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        act(environ["sojourn.session"], environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"done"]

    _walk(TestApp(sojourn.wsgi.SessionMiddleware(app, secret=SECRET, **options)).get)


def pyramid(**options: Any) -> None:
    def handle(request: Any) -> PyramidResponse:
        act(request.session, request.path)
        return PyramidResponse("done")

    with Configurator() as config:
        sojourn.pyramid.setup(config, secret=SECRET, **options)
        config.add_route("any", "/*path")
        config.add_view(handle, route_name="any")
    _walk(TestApp(config.make_wsgi_app()).get)


def of_flask(**options: Any) -> None:
    app = flask.Flask(__name__)
    app.secret_key = SECRET
    sojourn.flask.Sojourn(app, **options)

    @app.get("/<path>")
    def handle(path: str) -> str:
        act(flask.session, f"/{path}")
        return "done"

    _walk(app.test_client().get)


def of_quart(**options: Any) -> None:
    app = quart.Quart(__name__)
    app.secret_key = SECRET
    sojourn.quart.Sojourn(app, **options)

    @app.get("/<path>")
    async def handle(path: str) -> str:
        act(quart.session, f"/{path}")
        return "done"

    async def visit() -> None:
        client = app.test_client()
        for path in PATHS:
            assert (await client.get(path)).status_code == 200

    asyncio.run(visit())


def _view(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    match request.path:
        case "/login":
            session["_auth_user_id"] = "ann"
            session.cycle_key()
        case "/logout":
            session.flush()
        case path:
            act(session, path)
    return HttpResponse("done")


async def _async_view(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    match request.path:
        case "/login":
            await session.aset("_auth_user_id", "ann")
            await session.acycle_key()
        case "/count":
            await session.aset("n", 1)
        case "/show":
            await session.aget("n")
        case _:
            await session.aflush()
    return HttpResponse("done")


urlpatterns = [re_path("", _view)]


class AsyncUrls:
    urlpatterns = [re_path("", _async_view)]  # noqa: RUF012 - as Django has it


def _django(kind: str, middleware: str = "sojourn.django.SessionMiddleware") -> Walk:
    def walk(**options: Any) -> None:
        urls = __name__ if kind == "wsgi" else AsyncUrls
        with override_settings(MIDDLEWARE=[middleware], ROOT_URLCONF=urls, SOJOURN=options):
            _walk(Visitor(kind).get)

    return walk


def litestar(**options: Any) -> None:
    @get(list(PATHS), sync_to_thread=False)
    def handle(request: LitestarRequest[Any, Any, Any]) -> str:
        act(request.session, request.url.path)
        return "done"

    _walk(LitestarClient(app_of(plugin_of(options.pop("store"), **options), handle)).get)


def aiohttp(**options: Any) -> None:
    async def handle(request: web.Request) -> web.Response:
        act(request["session"], request.path)
        return web.Response(text="done")

    async def visit() -> None:
        app = web.Application()
        sojourn.aiohttp.setup(app, secret=SECRET, **options)
        app.router.add_get("/{path:.*}", handle)
        async with AiohttpClient(TestServer(app)) as client:
            for path in PATHS:
                assert (await client.get(path)).status == 200

    asyncio.run(visit())


def driver(**options: Any) -> None:
    made = SessionDriver(secret=SECRET, **options)
    cookie: list[tuple[str, str]] = []
    for path in PATHS:
        exchange = made.begin(cookie, path=path)
        assert exchange is not None
        act(exchange.session, path)
        headers = exchange.respond()
        assert isinstance(headers, list)
        cookie = _kept(headers) or cookie
        exchange.finish()


def async_driver(**options: Any) -> None:
    async def visit() -> None:
        made = AsyncSessionDriver(secret=SECRET, **options)
        cookie: list[tuple[str, str]] = []
        for path in PATHS:
            exchange = await made.begin(cookie, path=path)
            assert exchange is not None
            act(exchange.session, path)
            headers = await exchange.respond()
            assert isinstance(headers, list)
            cookie = _kept(headers) or cookie
            await exchange.finish()

    asyncio.run(visit())


def _kept(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [("Cookie", value.partition(";")[0]) for name, value in headers if name == "Set-Cookie"]


def _walk(visit: Callable[[str], Any]) -> None:
    for path in PATHS:
        visit(path)


SYNC: dict[str, Walk] = {
    "wsgi": wsgi,
    "flask": of_flask,
    "pyramid": pyramid,
    "django wsgi": _django("wsgi"),
    "django asgi": _django("asgi"),
    "django's own": _django("wsgi", "django.contrib.sessions.middleware.SessionMiddleware"),
    "driver": driver,
}
ASYNC: dict[str, Walk] = {
    "asgi": asgi,
    "starlette": starlette,
    "fastapi": fastapi,
    "quart": of_quart,
    "litestar": litestar,
    "aiohttp": aiohttp,
    "async driver": async_driver,
}


def check(events: Events, *, lazy: bool = False) -> None:
    """What is told of the four visits. A session that is loaded on first use is not loaded to be ended."""
    kinds = [event.kind for event in events]
    assert kinds == ["created", "loaded", "changed", "loaded", *([] if lazy else ["loaded"]), "destroyed"]
    assert {event.session for event in events} == {events[0].session}
    owners = [event.owner for event in events if event.kind in ("created", "changed", "destroyed")]
    assert owners == ["ann", "ann", None if lazy else "ann"]


@pytest.mark.parametrize("door", [*SYNC, *ASYNC])
def test_a_function_is_told_what_happens(door: str) -> None:
    events: Events = []
    {**SYNC, **ASYNC}[door](store="memory://", on_event=events.append)
    check(events, lazy=door in ("django wsgi", "django's own"))


@pytest.mark.parametrize("door", ASYNC)
def test_a_coroutine_function_is_awaited(door: str) -> None:
    events: Events = []

    async def listen(event: SessionEvent) -> None:
        await asyncio.sleep(0)
        events.append(event)

    ASYNC[door](store="memory://", on_event=[listen])
    check(events)


@pytest.mark.parametrize("door", [door for door in SYNC if door != "django's own"])
def test_where_nothing_awaits_it_a_coroutine_function_is_refused(door: str) -> None:
    async def listen(event: SessionEvent) -> None: ...

    with pytest.raises(ConfigurationError, match="give a plain function"):
        SYNC[door](store="memory://", on_event=listen)
