"""The dashboard mounted in frameworks, behind the application's own login, on the sessions that they have."""

from __future__ import annotations

import io
from typing import Any

import flask
import httpx
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.wrappers import Response

from sojourn.asgi import SessionMiddleware
from sojourn.dashboard import ASGIDashboard, WSGIDashboard
from sojourn.flask import Sojourn
from sojourn.stores import AsyncMemoryStore, MemoryStore
from tests.dashboard.sites import SECRET
from tests.doors.django_clients import Visitor

ADMINS = {"carla"}


def operator(request: Any) -> str | None:
    """Who is logged in, if they are an operator: of the scope's session, or the environ's."""
    owner: str | None = request["session"].owner
    return owner if owner in ADMINS else None


def starlette_site(dashboard: Any, login: Any) -> Any:
    return Starlette(routes=[Route("/login", login), Mount("/ops/sessions", dashboard)])


def fastapi_site(dashboard: Any, login: Any) -> Any:
    app = FastAPI()
    app.add_api_route("/login", login, response_model=None)
    app.mount("/ops/sessions", dashboard)
    return app


@pytest.mark.anyio
@pytest.mark.parametrize("make", [starlette_site, fastapi_site])
async def test_in_starlette_and_fastapi_the_guard_asks_the_session(make: Any) -> None:
    store = AsyncMemoryStore()
    dashboard = ASGIDashboard(operator=operator, secret=SECRET, store=store)

    async def login(request: Request) -> Any:
        request.session.login(request.query_params["name"])  # type: ignore[attr-defined]
        return PlainTextResponse("in")

    site: Any = SessionMiddleware(make(dashboard, login), secret=SECRET, store=store, on_event=dashboard.on_event)
    transport = httpx.ASGITransport(site)

    def browser() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=transport, base_url="https://shop.example")

    async with browser() as carla, browser() as ann:
        await carla.get("/login?name=carla")
        await ann.get("/login?name=ann")
        assert (await ann.get("/ops/sessions/")).status_code == 403
        overview = await carla.get("/ops/sessions/")
        assert overview.status_code == 200 and 'href="/ops/sessions/dashboard.css"' in overview.text
        assert "2 begun, 0 ended." in overview.text
        assert (await carla.get("/ops/sessions/dashboard.css")).status_code == 200
        page = await carla.get("/ops/sessions/find?q=ann", follow_redirects=True)
        assert page.status_code == 200 and "Sessions of ann" in page.text
        form = {"owner": "ann"}
        ended = await carla.post("/ops/sessions/owner/end", data=form, headers={"Origin": "https://shop.example"})
        assert ended.headers["location"] == "/ops/sessions/sessions?owner=ann&ended=1"
        assert await store.by_owner("ann") == [] and len(await store.by_owner("carla")) == 1
        assert "2 begun, 1 ended." in (await carla.get("/ops/sessions/")).text


def test_in_flask_a_view_serves_it_behind_its_own_login() -> None:
    store = MemoryStore()
    app = flask.Flask(__name__)
    app.secret_key = SECRET
    Sojourn(app, store=store)
    dashboard = WSGIDashboard(operator=lambda environ: environ["operator"], secret=SECRET, store=store)

    @app.get("/login/<name>")
    def login(name: str) -> str:
        flask.session.login(name)  # type: ignore[attr-defined]
        return "in"

    @app.route("/ops/sessions/", defaults={"rest": ""}, methods=["GET", "POST"])
    @app.route("/ops/sessions/<path:rest>", methods=["GET", "POST"])
    def sessions(rest: str) -> Response:
        who = flask.session.owner  # type: ignore[attr-defined]
        if who not in ADMINS:
            flask.abort(404)
        environ = {**flask.request.environ, "SCRIPT_NAME": "/ops/sessions", "PATH_INFO": f"/{rest}", "operator": who}
        return app.response_class.from_app(dashboard, environ)

    carla, ann = app.test_client(), app.test_client()
    carla.get("/login/carla")
    ann.get("/login/ann")
    assert ann.get("/ops/sessions/").status_code == 404
    assert 'href="/ops/sessions/dashboard.css"' in carla.get("/ops/sessions/").text
    assert "Sessions of ann" in carla.get("/ops/sessions/sessions?owner=ann").text
    ended = carla.post("/ops/sessions/owner/end", data={"owner": "ann"}, headers={"Origin": "http://localhost"})
    assert (ended.status_code, ended.headers["Location"]) == (303, "/ops/sessions/sessions?owner=ann&ended=1")
    assert store.by_owner("ann") == [] and len(store.by_owner("carla")) == 1


def test_in_django_a_view_serves_it_on_the_sites_own_sessions() -> None:
    from sojourn.django import site_sessions

    store = MemoryStore()
    with override_settings(SOJOURN={"store": store}):
        visitor = Visitor()
        visitor.get("/put?a=1")
        dashboard = WSGIDashboard(operator=lambda environ: environ["operator"], sessions=site_sessions())

        def sessions(request: HttpRequest, rest: str) -> HttpResponse:
            environ = {
                **request.META,
                "SCRIPT_NAME": "/ops/sessions",
                "PATH_INFO": f"/{rest}",
                "wsgi.input": io.BytesIO(request.body),  # which Django may have read
                "operator": "carla",
            }
            begun: list[Any] = []
            body = b"".join(dashboard(environ, lambda *head: begun.extend(head)))
            return HttpResponse(body, status=int(begun[0][:3]), headers=dict(begun[1]))

        factory = RequestFactory()
        page = sessions(factory.get("/ops/sessions/sessions"), "sessions").content.decode()
        assert "1 session" in page and "nobody" in page
        form = factory.generic(
            "POST",
            "/",
            b"sure=end+all",
            content_type="application/x-www-form-urlencoded",
            HTTP_ORIGIN="http://testserver",
            HTTP_HOST="testserver",
        )
        assert sessions(form, "all/end").status_code == 303 and store.count() == 0
