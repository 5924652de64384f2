"""The 503 and CORS: a script of another origin reads it where the CORS middleware is outside of the sessions, and only there."""

from __future__ import annotations

from typing import Any, NoReturn

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from sojourn import StoreUnavailable
from sojourn.asgi import SessionMiddleware
from sojourn.stores import AsyncMemoryStore

pytestmark = pytest.mark.anyio
ORIGIN = "https://app.example"
SECRET = "s" * 32


class Down(AsyncMemoryStore):
    async def load(self, key: str) -> NoReturn:
        raise StoreUnavailable("down")


async def visit(site: Any, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://site.example") as client:
        return await client.get("/", headers=headers)


@pytest.mark.parametrize("is_outside", [True, False])
async def test_the_503_has_cors_headers_where_cors_is_outside(is_outside: bool) -> None:
    cors = Middleware(CORSMiddleware, allow_origins=[ORIGIN], expose_headers=["Retry-After"])

    def page(scope: Any) -> dict[str, str]:
        return {"instance": scope["path"]}

    sessions: Any = Middleware(SessionMiddleware, secret=SECRET, store=Down(), store_error_page=page)
    site = Starlette(middleware=[cors, sessions] if is_outside else [sessions, cors])
    answer = await visit(site, Origin=ORIGIN, Cookie=await a_cookie())
    assert (answer.status_code, answer.json()["instance"]) == (503, "/")
    assert answer.headers.get("access-control-allow-origin") == (ORIGIN if is_outside else None)
    assert answer.headers.get("access-control-expose-headers") == ("Retry-After" if is_outside else None)


async def a_cookie() -> str:
    """One with a right signature."""

    async def put(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    cookie: str = (await visit(SessionMiddleware(put, secret=SECRET, store=AsyncMemoryStore()))).headers["set-cookie"]
    return cookie.partition(";")[0]
