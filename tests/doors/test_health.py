"""The endpoints for probes, by themselves and mounted in frameworks."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn

import flask
import httpx
import pytest
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from sojourn import ConfigurationError, StoreUnavailable
from sojourn.asgi import SessionMiddleware
from sojourn.health import ASGIHealth, WSGIHealth
from sojourn.stores import AsyncMemoryStore, MemoryStore
from tests.doors import django_site as _settings  # noqa: F401 - Django's

SECRET_TEXT = "redis://ann:hunter2@db"


class Down(MemoryStore):
    def load(self, key: str) -> NoReturn:
        raise StoreUnavailable(SECRET_TEXT)


class AsyncDown(AsyncMemoryStore):
    async def load(self, key: str) -> NoReturn:
        raise StoreUnavailable(SECRET_TEXT)


def fastapi_site(health: Any) -> Any:
    app = FastAPI()
    app.mount("/health", health)
    app.add_middleware(SessionMiddleware, secret="s" * 32, store="memory://")
    return app


def flask_site(health: Any) -> Any:
    app = flask.Flask(__name__)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/health": health})  # type: ignore[method-assign]
    return app


def django_site(health: Any) -> Any:
    with override_settings(ALLOWED_HOSTS=["shop.example"]):
        site = get_wsgi_application()

    def application(environ: Any, start_response: Any) -> Any:
        return (health if environ["PATH_INFO"].startswith("/health/") else site)(environ, start_response)

    return application


SITES = {
    "ASGI": lambda health: health,
    "Starlette": lambda health: Starlette(routes=[Mount("/health", health)]),
    "FastAPI": fastapi_site,
    "WSGI": lambda health: health,
    "Flask": flask_site,
    "Django": django_site,
}


def probe(name: str, *, down: bool, path: str = "/health/ready", method: str = "GET") -> httpx.Response:
    mounted = SITES[name]
    if name in ("ASGI", "Starlette", "FastAPI"):
        site: Any = mounted(ASGIHealth(AsyncDown() if down else "memory://"))

        async def visit() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://10.0.0.7") as client:
                return await client.request(method, path)

        return asyncio.run(visit())
    site = mounted(WSGIHealth(Down() if down else "memory://"))
    with httpx.Client(transport=httpx.WSGITransport(site), base_url="http://10.0.0.7") as client:
        return client.request(method, path)


@pytest.mark.parametrize("name", SITES)
def test_it_is_ready_as_the_store_is_and_live_whatever_the_store(name: str) -> None:
    ready, not_ready = probe(name, down=False), probe(name, down=True)
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert (not_ready.status_code, not_ready.json()["status"]) == (503, "not ready")
    assert not_ready.json()["failures_in_a_row"] == 1 and isinstance(ready.json()["milliseconds"], int)
    live = probe(name, down=True, path="/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    for answer in (ready, not_ready, live):
        assert answer.headers["cache-control"] == "no-store" and answer.headers["content-type"] == "application/json"
        assert "set-cookie" not in answer.headers and "hunter2" not in answer.text


@pytest.mark.parametrize("name", ["ASGI", "WSGI"])
def test_other_paths_and_methods_are_refused_and_head_has_no_body(name: str) -> None:
    assert probe(name, down=False, path="/health/").status_code == 404
    assert probe(name, down=False, path="/ready/").status_code == 200
    refused = probe(name, down=False, method="POST")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    head, got = probe(name, down=False, method="HEAD"), probe(name, down=False)
    assert head.content == b"" and abs(int(head.headers["content-length"]) - len(got.content)) < 3


@pytest.mark.parametrize("kind", [ASGIHealth, WSGIHealth])
def test_wrong_arguments_are_refused(kind: Any) -> None:
    for argument, given in (("timeout", 0), ("failures", 0), ("successes", "2")):
        with pytest.raises(ConfigurationError, match=f"^{argument}: got"):
            kind("memory://", **{argument: given})
    with pytest.raises(ConfigurationError, match=r"^store: got"):
        kind(AsyncMemoryStore() if kind is WSGIHealth else MemoryStore())


@pytest.mark.anyio
async def test_sockets_are_closed_and_the_lifespan_is_the_sites() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    health = ASGIHealth("memory://")
    await health({"type": "websocket", "path": "/ready"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    with pytest.raises(NotImplementedError, match="lifespan"):
        await health({"type": "lifespan"}, receive, send)


def test_one_endpoint_judges_by_all_of_its_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies by ready, each after the time that the former counts for."""
    store = MemoryStore()
    replies = iter(".x.xxx..")

    def load(_key: str) -> None:
        if next(replies) == "x":
            raise StoreUnavailable("down")

    monkeypatch.setattr(store, "load", load)
    health = WSGIHealth(store)
    health._health._judge._fresh = 0
    with httpx.Client(transport=httpx.WSGITransport(health), base_url="http://10.0.0.7") as client:
        seen = [client.get("/ready") for _ in range(8)]
    assert [answer.status_code for answer in seen] == [200, 200, 200, 200, 200, 503, 503, 200]
    assert [json.loads(answer.text)["failures_in_a_row"] for answer in seen] == [0, 1, 0, 1, 2, 3, 0, 0]
