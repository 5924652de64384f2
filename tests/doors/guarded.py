"""A site that adds up what it is asked to do, behind the guard, at every door; and a way to ask it as a browser would.

It is served as ``http://site.example``. ``/hooks`` is excluded by the option of that name, ``/marked`` in the framework's own way, where
the door knows one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import flask
import quart
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path as url
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from fastapi import FastAPI
from litestar import HttpMethod, Litestar, route
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
import sojourn.guard
import sojourn.litestar
import sojourn.pyramid.guard
import sojourn.quart
import sojourn.starlette
import sojourn.wsgi
from tests.doors.django_clients import Visitor, site  # first, as it gives Django its settings
from tests.doors.litestar_apps import QUIET
from tests.doors.starlette_clients import TestClient

__all__ = ["DOORS", "HOST", "MARKED", "Answer", "Ask", "site"]

HOST: Final = "site.example"
_PATHS: Final = ("/", "/hooks/pay", "/marked")
_METHODS: Final = ["GET", "POST", "OPTIONS"]


class Answer(NamedTuple):
    status: int
    text: str
    headers: Any


Ask = Callable[[str, str, dict[str, str]], Answer]
"""Asks by method, path and headers."""
Make = Callable[..., Ask]
"""Makes a site with the guard's options; what it is asked to do goes into a list."""


def asgi(done: list[str], **options: Any) -> Ask:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        done.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    return _by_starlettes(sojourn.asgi.CrossSiteGuard(app, **options))


def starlette(done: list[str], **options: Any) -> Ask:
    async def act(request: Request) -> PlainTextResponse:
        done.append(request.url.path)
        return PlainTextResponse("done")

    app = Starlette(routes=[Route(path, act, methods=_METHODS) for path in _PATHS])
    app.add_middleware(sojourn.starlette.CrossSiteGuard, **options)
    return _by_starlettes(app)


def fastapi(done: list[str], **options: Any) -> Ask:
    app = FastAPI()
    app.add_middleware(sojourn.fastapi.CrossSiteGuard, **options)

    @app.api_route("/{path:path}", methods=_METHODS)
    def act(path: str) -> str:
        done.append(path)
        return "done"

    return _by_starlettes(app)


def _by_starlettes(app: Any) -> Ask:
    client = TestClient(app, base_url=f"http://{HOST}")

    def ask(method: str, path: str, headers: dict[str, str]) -> Answer:
        response = client.request(method, path, headers=_as_bytes(headers))
        return Answer(response.status_code, response.text, response.headers)

    return ask


def _as_bytes(headers: dict[str, str]) -> Any:
    return {name.encode(): value.encode("latin-1") for name, value in headers.items()}


def wsgi(done: list[str], **options: Any) -> Ask:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        done.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"done"]

    return _by_webtests(sojourn.wsgi.CrossSiteGuard(app, **options))


def pyramid(done: list[str], **options: Any) -> Ask:
    def act(request: Any) -> PyramidResponse:
        done.append(request.path)
        return PyramidResponse("done")

    with Configurator() as config:
        sojourn.pyramid.guard.setup(config, **options)
        config.add_route("any", "/*path")
        config.add_view(act, route_name="any")
    return _by_webtests(config.make_wsgi_app())


def _by_webtests(app: Any) -> Ask:
    client = TestApp(app)

    def ask(method: str, path: str, headers: dict[str, str]) -> Answer:
        response = client.request(path, method=method, headers={"Host": HOST, **headers}, expect_errors=True)
        return Answer(response.status_int, response.text, response.headers)

    return ask


def of_flask(done: list[str], **options: Any) -> Ask:
    app = flask.Flask(__name__)
    guard = sojourn.flask.CrossSiteGuard(app, **options)

    @app.route("/", methods=_METHODS)
    @app.route("/hooks/pay", methods=_METHODS)
    def act() -> str:
        done.append(flask.request.path)
        return "done"

    @app.post("/marked")
    @guard.exempt
    def marked() -> str:
        return act()

    app.add_url_rule("/socket", "socket", act, websocket=True)

    def ask(method: str, path: str, headers: dict[str, str]) -> Answer:
        response = app.test_client().open(path, method=method, headers=headers, base_url=f"http://{HOST}")
        return Answer(response.status_code, response.text, response.headers)

    return ask


def of_quart(done: list[str], **options: Any) -> Ask:
    app = quart.Quart(__name__)
    guard = sojourn.quart.CrossSiteGuard(app, **options)

    @app.route("/", methods=_METHODS)
    @app.route("/hooks/pay", methods=_METHODS)
    async def act() -> str:
        done.append(quart.request.path)
        return "done"

    @app.post("/marked")
    @guard.exempt
    async def marked() -> str:
        return await act()

    async def asked(method: str, path: str, headers: dict[str, str]) -> Answer:
        client: Any = app.test_client()
        response = await client.open(path, method=method, headers={"Host": HOST, **headers})
        return Answer(response.status_code, await response.get_data(as_text=True), response.headers)

    return lambda *given: asyncio.run(asked(*given))


_of_django: list[str] = []


def _view(request: HttpRequest) -> HttpResponse:
    _of_django.append(request.path)
    return HttpResponse("done")


async def _async_view(request: HttpRequest) -> HttpResponse:
    return _view(request)


urlpatterns = [
    url("marked", csrf_exempt(_view)),
    url("async", _async_view),
    re_path("", _view),
]


def _django(kind: str) -> Make:
    def make(done: list[str], **options: Any) -> Ask:
        def ask(method: str, path: str, headers: dict[str, str]) -> Answer:
            _of_django.clear()
            named = {
                name: value.replace(HOST, "testserver") for name, value in headers.items()
            }  # as the clients call it
            settings = {
                "MIDDLEWARE": ["sojourn.django.CrossSiteGuard"],
                "ROOT_URLCONF": __name__,
                "SOJOURN_GUARD": options,
            }
            with override_settings(**settings):
                visitor = Visitor(kind)
                response = visitor._ask(getattr(visitor.client, method.lower()), path, headers=named)
            done.extend(_of_django)
            return Answer(response.status_code, response.body.decode(), response.headers)

        return ask

    return make


def litestar(done: list[str], **options: Any) -> Ask:
    methods = [HttpMethod.GET, HttpMethod.POST, HttpMethod.OPTIONS]

    @route(["/", "/hooks/pay"], http_method=methods, sync_to_thread=False)
    def act() -> str:
        done.append("/")
        return "done"

    @route("/marked", http_method=HttpMethod.POST, sync_to_thread=False, exclude_from_csrf=True)
    def marked() -> str:
        done.append("/marked")
        return "done"

    app = Litestar([act, marked], middleware=[sojourn.litestar.CrossSiteGuard(**options)], **QUIET)
    client = LitestarClient(app, base_url=f"http://{HOST}")

    def ask(method: str, path: str, headers: dict[str, str]) -> Answer:
        response = client.request(method, path, headers=_as_bytes(headers))
        return Answer(200 if response.is_success else response.status_code, response.text, response.headers)

    return ask


def aiohttp(done: list[str], **options: Any) -> Ask:
    async def act(request: web.Request) -> web.Response:
        done.append(request.path)
        return web.Response(text="done")

    @sojourn.guard.exempt
    async def marked(request: web.Request) -> web.Response:
        return await act(request)

    async def asked(method: str, path: str, headers: dict[str, str]) -> Answer:
        app = web.Application(middlewares=[sojourn.aiohttp.CrossSiteGuard(**options)])
        app.router.add_post("/marked", marked)
        app.router.add_route("*", "/{path:.*}", act)
        async with AiohttpClient(TestServer(app)) as client:
            response = await client.request(method, path, headers={"Host": HOST, **headers})
            return Answer(response.status, await response.text(), response.headers)

    return lambda *given: asyncio.run(asked(*given))


DOORS: Final[dict[str, Make]] = {
    "asgi": asgi,
    "starlette": starlette,
    "fastapi": fastapi,
    "wsgi": wsgi,
    "flask": of_flask,
    "quart": of_quart,
    "django wsgi": _django("wsgi"),
    "django asgi": _django("asgi"),
    "litestar": litestar,
    "aiohttp": aiohttp,
    "pyramid": pyramid,
}
MARKED: Final[Sequence[str]] = ("flask", "quart", "django wsgi", "django asgi", "litestar", "aiohttp")
"""The doors that know a way to mark a route."""
