"""A dashboard in either protocol with a store of the test's, and who visits it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx

from sojourn.core.settings import SessionSettings
from sojourn.dashboard import ASGIDashboard, WSGIDashboard
from sojourn.middleware.sync import SyncMiddleware
from sojourn.testing import as_async
from sojourn.wsgi import SessionMiddleware

__all__ = ["ORIGIN", "SECRET", "Visitor", "browse", "dashboard_of", "forms", "options"]

SECRET = "a secret for tests of more than 32 bytes"
ORIGIN = "http://ops.example"


class Visitor:
    """An operator's browser, at a dashboard in either colour of one store."""

    def __init__(self, dashboard: Any) -> None:
        self.dashboard = dashboard

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        return self.send("POST", path, data=form or {}, headers={"Origin": ORIGIN, **headers})

    def send(self, method: str, path: str, **how: Any) -> httpx.Response:
        if isinstance(self.dashboard, WSGIDashboard):
            with httpx.Client(transport=httpx.WSGITransport(self.dashboard), base_url=ORIGIN) as client:
                return client.request(method, path, **how)

        async def visit() -> httpx.Response:
            transport = httpx.ASGITransport(self.dashboard)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                return await client.request(method, path, **how)

        return asyncio.run(visit())


def options(store: Any, **more: Any) -> dict[str, Any]:
    return {"secret": SECRET, "store": store, **more}


def dashboard_of(colour: str, store: Any, *, operator: Callable[[Any], Any] = lambda _: "carla", **more: Any) -> Any:
    """A dashboard on a sync store, which the async one is shown as async."""
    own = {name: more.pop(name) for name in ("reveals", "trusted_origins") if name in more}
    if colour == "sync":
        return WSGIDashboard(operator=operator, **own, **options(store, **more))
    return ASGIDashboard(operator=operator, **own, **options(as_async(store), **more))


def browse(store: Any, owner: str | None = None, **more: Any) -> str:
    """A visitor of the site begins a session; its id."""

    def site(environ: Any, start_response: Any) -> Any:
        session = environ["sojourn.session"]
        if owner is not None:
            session.login(owner)
        session["secret plan"] = "buy <b>more</b> tents"
        start_response("200 OK", [])
        return [b""]

    app = SessionMiddleware(site, **options(store, **more))
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="https://shop.example") as client:
        return str(client.get("/").cookies["__Host-sid"])


def settings_of(store: Any, **more: Any) -> SessionSettings:
    return SyncMiddleware(options(store, **more)).settings  # type: ignore[arg-type]


def forms(page: httpx.Response) -> list[str]:
    """Where a page's forms lead."""
    return re.findall(r'<form[^>]* method="post" action="([^"]*)"', page.text)
