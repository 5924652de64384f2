"""A site with sessions, a socket, metrics and the dashboard, for the operator's test: uvicorn tests.e2e.operator_site:app"""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse, RedirectResponse
from prometheus_client import make_asgi_app

from sojourn.dashboard import ASGIDashboard
from sojourn.fastapi import SessionDep, SessionMiddleware
from sojourn.prometheus import SessionMetrics

OPTIONS: dict[str, Any] = {"secret": "a secret for tests of more than 32 bytes", "store": os.environ["SITE_STORE"]}
PAGE = """<!doctype html><title>Shop</title><p id=who>{who}</p><p id=socket>waiting</p><script>
const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
socket.onmessage = ({{ data }}) => {{ document.getElementById("socket").textContent = data; }};
socket.onclose = ({{ code }}) => {{ document.getElementById("socket").textContent = `closed ${{code}}`; }};
</script>"""


def operator(scope: Any) -> str | None:
    owner: str | None = scope["session"].owner
    return owner if owner == "carla" else None


metrics = SessionMetrics()
dashboard = ASGIDashboard(operator=operator, on_event=metrics, **OPTIONS)
app = FastAPI()
app.mount("/ops/sessions", dashboard)
app.mount("/metrics", make_asgi_app())
app.add_middleware(SessionMiddleware, close_on_end=True, on_event=[metrics, dashboard.on_event], **OPTIONS)


@app.get("/login/{name}")
async def login(session: SessionDep, name: str) -> RedirectResponse:
    session.login(name)
    return RedirectResponse("/", 303)


@app.get("/")
async def front(session: SessionDep) -> HTMLResponse:
    return HTMLResponse(PAGE.format(who=session.owner or "nobody"))


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("open")
    async for _ in websocket.iter_text():
        pass
