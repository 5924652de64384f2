"""``Clear-Site-Data`` goes with the cookie that a logout expires, through every door, unless the response has its own."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import flask
import pytest
import quart
from aiohttp import web
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from litestar import Request as LitestarRequest
from litestar import Response as LitestarResponse
from litestar import get
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from sojourn import asgi, express
from sojourn.aiohttp import SESSION
from sojourn.django import SessionMiddleware
from sojourn.driver import AsyncSessionDriver, SessionDriver
from sojourn.flask import Sojourn
from sojourn.quart import Sojourn as QuartSojourn
from sojourn.stores import AsyncMemoryStore, MemoryStore
from tests.doors import django_site, pyramid_apps
from tests.doors.aiohttp_apps import site, visiting
from tests.doors.litestar_apps import app_of, client_of, plugin_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer ones of Starlette prefer another client
    from starlette.testclient import TestClient

NAME: Final = "Clear-Site-Data"
SECRET: Final = django_site.SECRET
HTTPS: Final = {"X-Forwarded-Proto": "https"}
Options = dict[str, Any]
Own = Mapping[str, str]
"""The headers of the application's own that it sends with the logout."""


async def under_starlette(options: Options, own: Own) -> list[str]:
    def login(request: Any) -> Response:
        request.session["user"] = "ann"
        return Response()

    def logout(request: Any) -> Response:
        request.session.logout()
        return Response(headers=own)

    app = Starlette(
        routes=[Route("/login", login), Route("/logout", logout)],
        middleware=[Middleware(asgi.SessionMiddleware, secret=SECRET, store=AsyncMemoryStore(), **options)],
    )
    client = TestClient(app, base_url="https://testserver", headers=HTTPS)
    client.get("/login")
    found: list[str] = client.get("/logout").headers.get_list(NAME)
    return found


async def under_flask(options: Options, own: Own) -> list[str]:
    app = flask.Flask(__name__)
    app.secret_key = SECRET
    Sojourn(app, store=MemoryStore(), **options)

    @app.get("/login")
    def login() -> str:
        flask.session["user"] = "ann"
        return ""

    @app.get("/logout")
    def logout() -> tuple[str, Own]:
        face: Any = flask.session
        face.logout()
        return "", own

    client = app.test_client()
    client.get("/login", base_url="https://localhost", headers=HTTPS)
    return client.get("/logout", base_url="https://localhost", headers=HTTPS).headers.getlist(NAME)


async def under_quart(options: Options, own: Own) -> list[str]:
    app = quart.Quart(__name__)
    app.secret_key = SECRET
    QuartSojourn(app, store=AsyncMemoryStore(), **options)

    @app.get("/login")
    async def login() -> str:
        quart.session["user"] = "ann"
        return ""

    @app.get("/logout")
    async def logout() -> tuple[str, Own]:
        face: Any = quart.session
        face.logout()
        return "", own

    client = app.test_client()
    await client.get("/login", scheme="https", headers=HTTPS)
    answer = await client.get("/logout", scheme="https", headers=HTTPS)
    return answer.headers.getlist(NAME)


async def under_django(options: Options, own: Own) -> list[str]:
    def login(request: Any) -> HttpResponse:
        request.session["user"] = "ann"
        return HttpResponse()

    def logout(request: Any) -> HttpResponse:
        request.session.flush()
        return HttpResponse(headers=own)

    requests = RequestFactory(headers=HTTPS)
    given = {
        name: value for name, value in options.items() if name not in ("trust_proxy", "name")
    }  # Django has its own
    with override_settings(SOJOURN={"store": MemoryStore(), **given}):
        cookies = await asyncio.to_thread(lambda: SessionMiddleware(login)(requests.get("/", secure=True)).cookies)
        requests.cookies = cookies
        answer = await asyncio.to_thread(lambda: SessionMiddleware(logout)(requests.get("/", secure=True)))
    return [answer[NAME]] if NAME in answer else []


async def under_litestar(options: Options, own: Own) -> list[str]:
    @get("/login")
    async def login(request: LitestarRequest[Any, Any, Any]) -> None:
        request.session["user"] = "ann"

    @get("/logout")
    async def logout(request: LitestarRequest[Any, Any, Any]) -> LitestarResponse[None]:
        request.clear_session()
        return LitestarResponse(None, headers=own)

    def visit() -> list[str]:
        app = app_of(plugin_of(AsyncMemoryStore(), **options), login, logout)
        with client_of(app, base_url="https://testserver.local") as client:
            client.get("/login", headers=HTTPS)
            return client.get("/logout", headers=HTTPS).headers.get_list(NAME)

    return await asyncio.to_thread(visit)


async def under_aiohttp(options: Options, own: Own) -> list[str]:
    async def login(request: web.Request) -> web.StreamResponse:
        request[SESSION]["user"] = "ann"
        return web.Response()

    async def logout(request: web.Request) -> web.StreamResponse:
        request[SESSION].logout()
        return web.Response(headers=own)

    async with visiting(site(AsyncMemoryStore(), {"/in": login, "/out": logout}, **options)) as client:
        async with client.get("/in", headers=HTTPS) as answer:
            pairs = [text.partition(";")[0] for text in answer.headers.getall("Set-Cookie")]
        async with client.get("/out", headers={**HTTPS, "Cookie": "; ".join(pairs)}) as answer:
            found: list[str] = answer.headers.getall(NAME, [])
            return found


async def under_pyramid(options: Options, own: Own) -> list[str]:
    def login(request: Any) -> None:
        request.session["user"] = "ann"

    def logout(request: Any) -> None:
        request.session.invalidate()
        request.response.headers.update(own)

    client = pyramid_apps.make(login, logout, **options)
    client.extra_environ.update({"wsgi.url_scheme": "https", "HTTP_X_FORWARDED_PROTO": "https"})
    client.get("/login")
    found: list[str] = client.get("/logout").headers.getall(NAME)
    return found


async def with_the_driver(options: Options, own: Own) -> list[str]:
    driver: Any = SessionDriver(secret=SECRET, store=MemoryStore(), **options)
    asked = [*HTTPS.items()]
    first = driver.begin(asked, path="/", https=True)
    first.session["user"] = "ann"
    (cookie,) = [value for name, value in first.respond() if name == "Set-Cookie"]
    first.finish()
    second = driver.begin([*asked, ("Cookie", cookie.partition(";")[0])], path="/", https=True)
    second.session.logout()
    headers = second.respond([*own.items()])
    second.finish()
    return [value for name, value in headers if name == NAME]


async def with_the_async_driver(options: Options, own: Own) -> list[str]:
    driver: Any = AsyncSessionDriver(secret=SECRET, store=AsyncMemoryStore(), **options)
    asked = [*HTTPS.items()]
    first = await driver.begin(asked, path="/", https=True)
    first.session["user"] = "ann"
    (cookie,) = [value for name, value in await first.respond() if name == "Set-Cookie"]
    await first.finish()
    second = await driver.begin([*asked, ("Cookie", cookie.partition(";")[0])], path="/", https=True)
    second.session.logout()
    headers = await second.respond([*own.items()])
    await second.finish()
    return [value for name, value in headers if name == NAME]


DOORS: Final[list[Callable[[Options, Own], Any]]] = [
    under_starlette,
    under_flask,
    under_quart,
    under_django,
    under_litestar,
    under_aiohttp,
    under_pyramid,
    with_the_driver,
    with_the_async_driver,
]
OPTIONS: Final[Options] = {"clear_site_data": ("cache", "storage"), "trust_proxy": True}
EXPRESS: Final[Options] = {name: value for name, value in express().items() if name in ("name", "profile", "hash_ids")}


@pytest.mark.parametrize("door", DOORS)
def test_it_goes_through_every_door(door: Any) -> None:
    assert asyncio.run(door(OPTIONS, {})) == ['"cache", "storage"']


@pytest.mark.parametrize("door", [door for door in DOORS if door is not under_django])  # which shares none with Express
def test_in_the_express_profile_too(door: Any) -> None:
    assert asyncio.run(door({**OPTIONS, **EXPRESS}, {})) == ['"cache", "storage"']


@pytest.mark.parametrize("door", DOORS)
def test_an_application_s_own_stands(door: Any) -> None:
    assert asyncio.run(door(OPTIONS, {NAME: '"*"'})) == ['"*"']


@pytest.mark.parametrize("door", DOORS)
def test_by_default_it_is_not_sent(door: Any) -> None:
    assert asyncio.run(door({"trust_proxy": True}, {})) == []
