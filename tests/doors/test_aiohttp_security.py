"""aiohttp-security on our sessions: who is remembered is logged in, under a new id, and whoever is forgotten is logged out."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import aiohttp_security
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sojourn.aiohttp import get_session, setup
from sojourn.aiohttp.security import SojournIdentityPolicy
from sojourn.stores import AsyncMemoryStore
from sojourn.testing.aiohttp import read_session, write_session

pytestmark = pytest.mark.anyio

SECRET = "a secret that is long enough for everybody"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as aiohttp


class Staff(aiohttp_security.AbstractAuthorizationPolicy):
    """Ann and Bob are known, and Ann may do everything."""

    async def authorized_userid(self, identity: str) -> str | None:
        return identity if identity in ("ann", "bob") else None

    async def permits(self, identity: str | None, permission: str | Enum, context: Any = None) -> bool:
        return identity == "ann"


async def who(request: web.Request) -> web.StreamResponse:
    return web.Response(text=str(await aiohttp_security.authorized_userid(request)))


async def login(request: web.Request) -> web.StreamResponse:
    response = web.HTTPFound("/who")
    more = {"remember": 86_400, "stamp": "hash", "sid": "idp", "max_sessions": 1} if "more" in request.query else {}
    await aiohttp_security.remember(request, response, request.query["name"], **more)
    assert not await aiohttp_security.is_anonymous(request)
    raise response


async def logout(request: web.Request) -> web.StreamResponse:
    response = web.Response()
    await aiohttp_security.forget(request, response)
    assert await aiohttp_security.is_anonymous(request)
    (await get_session(request)).flash("goodbye")
    return response


async def guarded(request: web.Request) -> web.StreamResponse:
    await aiohttp_security.check_permission(request, "all")
    return web.Response(text="welcome")


async def sessions(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    return web.Response(text=str(len([each async for each in session.sessions.by_owner("ann")])))


def site(policy: SojournIdentityPolicy) -> web.Application:
    app = web.Application()
    setup(app, secret=SECRET, store=AsyncMemoryStore())
    aiohttp_security.setup(app, policy, Staff())
    for handler in (who, login, logout, guarded, sessions):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    async with TestClient(TestServer(site(SojournIdentityPolicy()))) as client:
        yield client


async def text(client: Any, path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200, response
        found: str = await response.text()
        return found


def cookie_of(client: Any) -> str:
    found: str = client.session.cookie_jar.filter_cookies(client.make_url("/"))["sid"].value
    return found


# aiohttp contract 36
async def test_who_is_remembered_has_a_new_id_and_is_the_session_s_owner(client: Any) -> None:
    assert await text(client, "/who") == "None"
    await write_session(client, {"cart": ["tent"]})
    before = cookie_of(client)
    assert await text(client, "/login?name=ann") == "ann"
    assert cookie_of(client) != before
    assert await text(client, "/guarded") == "welcome" and await text(client, "/sessions") == "1"
    assert await read_session(client) == {"cart": ["tent"]}


# aiohttp contract 36
async def test_who_is_forgotten_has_no_session_any_more(client: Any) -> None:
    await text(client, "/login?name=ann")
    before = cookie_of(client)
    await text(client, "/logout")
    assert await text(client, "/who") == "None" and await text(client, "/sessions") == "0"
    client.session.cookie_jar.update_cookies({"sid": before})
    assert await text(client, "/who") == "None"


# aiohttp contract 36
async def test_guards_are_as_ever(client: Any) -> None:
    for name, status in ((None, 401), ("bob", 403), ("ann", 200), ("nobody", 401)):
        if name is not None:
            await text(client, f"/login?name={name}")
        async with client.get("/guarded") as response:
            assert response.status == status


async def test_who_logs_in_after_somebody_else_has_nothing_of_theirs(client: Any) -> None:
    await text(client, "/login?name=ann")
    await write_session(client, {"cart": ["tent"]})
    await text(client, "/login?name=ann")
    assert await read_session(client) == {"cart": ["tent"]}
    await text(client, "/login?name=bob")
    assert await read_session(client) == {}


async def test_a_login_that_aiohttp_security_itself_had_noted_counts_until_the_next(client: Any) -> None:
    await write_session(client, {"AIOHTTP_SECURITY": "ann", "cart": ["tent"]})
    assert await text(client, "/who") == "ann"
    await text(client, "/login?name=ann")
    assert await read_session(client) == {"cart": ["tent"]}
    await write_session(client, {"AIOHTTP_SECURITY": 5})
    await text(client, "/logout")
    await write_session(client, {"AIOHTTP_SECURITY": 5})
    assert await text(client, "/who") == "None"


async def test_it_counts_for_nothing_where_that_is_said() -> None:
    async with TestClient(TestServer(site(SojournIdentityPolicy(session_key=None)))) as client:
        await write_session(client, {"AIOHTTP_SECURITY": "ann"})
        assert await text(client, "/who") == "None"
        await text(client, "/login?name=bob")
        assert await read_session(client) == {"AIOHTTP_SECURITY": "ann"}


def test_without_aiohttp_security_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sojourn.aiohttp.security")
    monkeypatch.setitem(sys.modules, "aiohttp_security.abc", None)
    with pytest.raises(ImportError, match="pip install aiohttp-security"):
        importlib.import_module("sojourn.aiohttp.security")


async def test_what_a_login_takes_is_handed_over() -> None:
    async def so(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        return web.json_response([session.confirmed_at is None, session.check("hash"), session.cookie.max_age])

    app = site(SojournIdentityPolicy())
    app.router.add_get("/so", so)
    async with TestClient(TestServer(app)) as client:
        await client.get("/login?name=ann&more")
        async with client.get("/so") as response:
            assert await response.json() == [True, True, pytest.approx(86_400, abs=0.01)]
