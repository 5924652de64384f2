"""Under aiohttp: ``request["session"]`` is kept in a store, and has the names that aiohttp-session's has.

``# aiohttp contract`` and a number above a test names the line of docs/frameworks/aiohttp-contract.md that it holds.
"""

from __future__ import annotations

from typing import Any

import aiohttp_session
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from sojourn import (
    AsyncSession,
    ConfigurationError,
    Cookie,
)
from sojourn.aiohttp import SESSION, AiohttpSession, get_session, new_session, setup
from sojourn.testing import ManualClock
from tests.doors.aiohttp_apps import (
    SECRET,
    Handler,
    Store,
    cookie_of,
    count,
    found_with,
    site,
    text,
    visiting,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as aiohttp


@pytest.fixture(autouse=True)
def _say_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sojourn.logs._said", set())


@pytest.fixture
def store() -> Store:
    return Store()


# -- what there is -----------------------------------------------------------------------------------------------------


# aiohttp contract 2, 28
async def test_the_session_is_the_same_wherever_it_is_looked_for(store: Store) -> None:
    async def look(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        assert session is request["session"] is request[SESSION] is await get_session(request)
        assert isinstance(session, AiohttpSession) and isinstance(session, AsyncSession)
        return web.Response(text=repr(session))

    async with visiting(site(store, {"/look": look})) as client:
        assert [await text(client, "/count") for _ in range(3)] == ["1", "2", "3"]
        assert await text(client, "/look") == "<AiohttpSession stored>"
        assert await text(client, "/show") == '{"n": 3}'


# aiohttp contract 2
async def test_without_setup_the_error_names_it() -> None:
    request = make_mocked_request("GET", "/here")
    for function in (get_session, new_session):
        with pytest.raises(RuntimeError, match=r"/here has no session: call sojourn.aiohttp.setup\(app, ...\)"):
            await function(request)


# aiohttp contract 1
async def test_middlewares_that_were_there_before_are_outside_and_those_that_come_later_have_the_session(
    store: Store,
) -> None:
    seen: list[object] = []

    @web.middleware
    async def outer(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen.append(request.get(SESSION))
        return await handler(request)

    @web.middleware
    async def inner(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[SESSION]["inner"] = True
        return await handler(request)

    app = site(store, app=web.Application(middlewares=[outer]))
    app.middlewares.append(inner)
    async with visiting(app) as client:
        assert await text(client, "/show") == '{"inner": true}'
    assert seen == [None]


# aiohttp contract 1, 4
async def test_wrong_options_are_refused_at_once(store: Store) -> None:
    app = web.Application()
    with pytest.raises(TypeError):
        setup(app, store)  # type: ignore[call-arg, arg-type]  # as aiohttp-session's
    with pytest.raises(ConfigurationError, match=r"cookie_name: .*the option is name"):
        setup(app, secret=SECRET, cookie_name="AIOHTTP_SESSION")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="secret"):
        setup(app, store=store)
    assert not app.middlewares
    setup(app, secret=SECRET, store=store)
    with pytest.raises(RuntimeError, match="has its sessions already"):
        setup(app, secret=SECRET, store=store)


# aiohttp contract 4, 19
@pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")
async def test_what_a_storage_of_aiohttp_session_is_given_has_its_option_here(store: Store) -> None:
    async def theirs(request: web.Request) -> web.StreamResponse:
        (await aiohttp_session.get_session(request))["n"] = 1
        return web.Response()

    app = web.Application()
    given: dict[str, Any] = {
        "max_age": 60,
        "path": "/a",
        "httponly": False,
        "samesite": "Strict",
        "domain": "site.example",
    }
    aiohttp_session.setup(app, aiohttp_session.SimpleCookieStorage(cookie_name="X", secure=True, **given))
    app.router.add_get("/a/b", theirs)
    sent, headers = [], {"Host": "site.example", "X-Forwarded-Proto": "https"}
    ours = site(
        store,
        {"/a/b": count},
        name="X",
        cookie=Cookie(secure=True, **{**given, "samesite": "strict"}),
        trust_proxy=True,
    )
    for each in (app, ours):
        async with visiting(each) as client, client.get("/a/b", headers=headers) as response:
            parts = response.headers["Set-Cookie"].split("; ")[1:]
            sent.append({part.partition("=")[0].lower(): part.partition("=")[2] for part in parts})
    for attributes in sent:
        del attributes["expires"]
    assert sent[0] == sent[1]


# -- the names of aiohttp-session's ------------------------------------------------------------------------------------


# aiohttp contract 7, 9
async def test_the_session_has_the_names_that_aiohttp_session_s_has() -> None:
    clock = ManualClock()
    store = Store(clock=clock)

    async def facts(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        known = [session.identity == session.id, session.new, session.empty, session.max_age]
        created = session.created
        assert session.new is session.is_new and created == int(session.created_at.timestamp())
        session["at"] = "now"
        assert session.created == created
        return web.json_response([*known, created])

    async with visiting(site(store, {"/facts": facts}, clock=clock, cookie=Cookie(max_age=60))) as client:
        began = clock() // 1000
        async with client.get("/facts") as response:
            assert await response.json() == [False, True, True, 60, began]
        clock.advance(30_000)
        async with client.get("/facts") as response:
            assert await response.json() == [True, False, False, 60, began], (
                "it is told when it began, not when it changed"
            )


# aiohttp contract 7
async def test_a_session_may_have_a_lifetime_of_its_own(store: Store) -> None:
    async def briefly(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        assert session.max_age is None
        session.max_age = 10
        assert session.max_age == 10
        session["n"] = 1
        with pytest.raises(AttributeError, match="no attribute 'maxage'"):
            session.maxage = 5  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match="cannot be set"):
            session.identity = "x"  # type: ignore[misc]
        return web.Response()

    async with visiting(site(store, {"/briefly": briefly})) as client:
        async with client.get("/briefly") as response:
            assert response.cookies["sid"]["max-age"] == "10"
        ((_, stored),) = [each async for each in store.scan()]
        assert stored.expires_in is not None and 0 < stored.expires_in <= 10_000


# aiohttp contract 13
async def test_an_id_cannot_be_set_and_the_error_says_what_there_is_instead(store: Store) -> None:
    async def own(request: web.Request) -> web.StreamResponse:
        with pytest.raises(RuntimeError, match="generate_id"):
            (await get_session(request)).set_new_identity("mine")
        return web.Response()

    async with visiting(site(store, {"/own": own})) as client:
        assert await text(client, "/own") == ""


# aiohttp contract 14
async def test_no_text_of_a_session_shows_what_is_in_it(store: Store) -> None:
    async def shown(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        session["secret"] = "pear"
        return web.Response(text=f"{session!r} {session} {request[SESSION]}")

    async with visiting(site(store, {"/shown": shown})) as client:
        found = await text(client, "/shown")
        assert "pear" not in found and (cookie_of(client) or "-").partition(".")[0] not in found


# aiohttp contract 11
async def test_a_change_within_a_list_is_saved_and_changed_only_begins_the_idle_time_anew() -> None:
    clock = ManualClock()
    store = Store(clock=clock)

    async def put(request: web.Request) -> web.StreamResponse:
        (await get_session(request)).setdefault("cart", []).append("tent")
        return web.Response()

    async def changed(request: web.Request) -> web.StreamResponse:
        (await get_session(request)).changed()
        return web.Response()

    async with visiting(site(store, {"/put": put, "/changed": changed}, clock=clock)) as client:
        await text(client, "/put")
        await text(client, "/put")
        assert await text(client, "/show") == '{"cart": ["tent", "tent"]}'
        clock.advance(1_000)
        store.calls.clear()
        await text(client, "/show")
        assert store.calls == ["load"]
        await text(client, "/changed")
        assert store.calls == ["load", "load", "touch"]
        assert await found_with(client, None, "/changed") == ("", None), "nothing is begun by it"


# -- its ends ----------------------------------------------------------------------------------------------------------


# aiohttp contract 3
async def test_a_new_session_ends_the_old_one(store: Store) -> None:
    async def anew(request: web.Request) -> web.StreamResponse:
        old = await get_session(request)
        session = await new_session(request)
        assert session is old and session.new and session.empty and session.identity is None
        session["user"] = "ann"
        return web.Response()

    async with visiting(site(store, {"/anew": anew})) as client:
        await text(client, "/count")
        before = cookie_of(client)
        await text(client, "/anew")
        assert await text(client, "/show") == '{"user": "ann"}'
        assert cookie_of(client) != before
        assert await found_with(client, before) == ("{}", None)


# aiohttp contract 3
async def test_a_new_session_that_nothing_is_put_into_ends_the_old_one_too(store: Store) -> None:
    async def anew(request: web.Request) -> web.StreamResponse:
        await new_session(request)
        return web.Response()

    async with visiting(site(store, {"/anew": anew})) as client:
        await text(client, "/count")
        before = cookie_of(client)
        await text(client, "/anew")
        assert await text(client, "/show") == "{}" and [each async for each in store.scan()] == []
        assert await found_with(client, before) == ("{}", None)


# aiohttp contract 8, 12, 20
async def test_invalidate_ends_the_record_and_the_cookie_and_the_object_is_usable(store: Store) -> None:
    async def end(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        getattr(session, request.query["how"])()
        assert session.empty and session.new and session.identity is None
        if "then" in request.query:
            session["bye"] = 1
        return web.Response()

    app = site(store, {"/end": end}, cookie=Cookie(samesite="strict", path="/", httponly=True))
    async with visiting(app) as client:
        for how in ("invalidate", "destroy", "logout", "clear"):
            await text(client, "/count")
            before = cookie_of(client)
            async with client.get(f"/end?how={how}") as response:
                sent = response.cookies["sid"]
            assert (sent["max-age"], sent["path"], sent["samesite"], sent["httponly"]) == ("0", "/", "Strict", True)
            assert [each async for each in store.scan()] == [] and cookie_of(client) is None
            again, sent = await found_with(client, before, "/count")
            assert again == "1" and sent not in (before, None)
            await store.clear()
            await text(client, "/count")
            await text(client, f"/end?how={how}&then")
            assert await text(client, "/show") == '{"bye": 1}' and cookie_of(client) != before
            client.session.cookie_jar.clear()
            await store.clear()


# aiohttp contract 9, 10, 18
async def test_a_session_ends_when_it_was_idle_however_seldom_it_changed() -> None:
    clock = ManualClock()
    store = Store(clock=clock)
    app = site(store, clock=clock, cookie=Cookie(max_age=60), rolling=True)
    async with visiting(app) as client:
        await text(client, "/count")
        before = cookie_of(client)
        for _ in range(3):
            clock.advance(40_000)
            async with client.get("/show") as response:
                assert await response.json() == {"n": 1}
                assert response.cookies["sid"]["max-age"] == "60", "the browser is told with each response"
        clock.advance(61_000)
        assert await found_with(client, before) == ("{}", None)
        again, sent = await found_with(client, before, "/count")
        assert again == "1" and sent not in (before, None), "and its id is not taken up again"


# aiohttp contract 22
async def test_a_login_changes_the_id_and_an_owner_s_sessions_are_listed(store: Store) -> None:
    async def login(request: web.Request) -> web.StreamResponse:
        (await get_session(request)).login("ann", keep_data=True)
        raise web.HTTPFound("/show")

    async def everywhere(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        return web.Response(text=str(len([each async for each in session.sessions.by_owner("ann")])))

    async with visiting(site(store, {"/login": login, "/everywhere": everywhere})) as client:
        await text(client, "/count")
        before = cookie_of(client)
        assert await text(client, "/login") == '{"n": 1}'
        assert cookie_of(client) != before and await text(client, "/everywhere") == "1"
        assert await found_with(client, before) == ("{}", None)
