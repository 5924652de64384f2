"""Under aiohttp: the application around the session, the ways in which an id comes, and what tests do.

``# aiohttp contract`` and a number above a test names the line of docs/frameworks/aiohttp-contract.md that it holds.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

import sojourn
from sojourn import (
    Cookie,
    SojournWarning,
    StoreError,
)
from sojourn.aiohttp import (
    SESSION,
    AiohttpSession,
    SessionMiddleware,
    check_fresh,
    get_session,
    next_page,
    setup,
)
from sojourn.testing import ManualClock
from sojourn.testing.aiohttp import _cookie_of, log_in, read_session, write_session
from sojourn.transports import CookieTransport, FormTransport, HeaderTransport, QueryTransport
from tests.doors.aiohttp_apps import (
    Handler,
    Store,
    cookie_of,
    count,
    show,
    site,
    stream,
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


# -- the application ---------------------------------------------------------------------------------------------------


# aiohttp contract 28
async def test_none_in_the_session_s_place_ends_it_and_another_layer_s_thing_stays(store: Store) -> None:
    async def unset(request: web.Request) -> web.StreamResponse:
        request["session"] = None
        return web.Response()

    class Database:
        """What some call a session, too."""

    @web.middleware
    async def outer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "db" in request.query:
            request["session"] = Database()
        response = await handler(request)
        assert isinstance(request["session"], Database) is ("db" in request.query)
        return response

    app = site(store, {"/unset": unset}, app=web.Application(middlewares=[outer]))
    async with visiting(app) as client:
        await text(client, "/count")
        assert await text(client, "/count?db") == "2"
        await text(client, "/unset")
        assert await text(client, "/show") == "{}"


# aiohttp contract 30
async def test_applications_within_share_the_session_and_one_may_have_it_for_itself(store: Store) -> None:
    within = web.Application()
    within.router.add_get("/count", count)
    app = site(store)
    app.add_subapp("/within", within)
    async with visiting(app) as client:
        assert [await text(client, path) for path in ("/count", "/within/count", "/count")] == ["1", "2", "3"]
        async with client.get("/within/missing") as response:
            assert response.status == 404
    alone = site(Store())
    outside = web.Application()
    outside.router.add_get("/show", show)
    outside.add_subapp("/alone", alone)
    async with visiting(outside) as client:
        assert [await text(client, "/alone/count") for _ in range(2)] == ["1", "2"]
        async with client.get("/show") as response:
            assert response.status == 500


# aiohttp contract 30
async def test_a_request_that_meets_two_has_the_outer_one_s_session_and_it_is_told(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    other = Store()
    within = site(other, {"/stream": stream})
    app = site(store)
    app.add_subapp("/within", within)
    async with visiting(app) as client:
        assert await text(client, "/within/count") == "1"
        assert await text(client, "/within/stream") == "one"
        assert await text(client, "/show") == '{"n": 1, "stream": 1}'
    assert other.calls == ["open"] and "is it installed twice?" in caplog.text


# aiohttp contract 31
async def test_the_store_is_opened_after_all_of_cleanup_ctx_and_closed_with_the_application(store: Store) -> None:
    order: list[str] = []

    async def pool(_app: web.Application) -> AsyncIterator[None]:
        order.append(f"pool with {store.opened}")
        yield
        order.append(f"pool ends with {store.opened}")

    app = web.Application()
    app.cleanup_ctx.append(pool)
    site(store, app=app)
    assert store.opened == 0
    async with visiting(app) as client:
        assert store.opened == 1 and store.calls == ["open"]
        await text(client, "/count")
    assert store.opened == 0 and order == ["pool with 0", "pool ends with 0"]


async def test_a_store_that_cannot_be_opened_yet_is_told_and_asked_again(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.failing = {"open"}
    async with visiting(site(store)) as client:
        assert "starting all the same" in caplog.text
        store.failing = set()
        assert await text(client, "/count") == "1"


async def test_a_store_that_two_applications_have_is_closed_with_the_last(store: Store) -> None:
    async with visiting(site(store)) as client:
        async with visiting(site(store)) as other:
            await text(other, "/count")
        assert store.opened == 2
        await text(client, "/count")
    assert store.opened == 1  # it was opened twice and closed once


# aiohttp contract 32
async def test_the_scheme_is_what_the_request_says_when_it_comes_to_the_session(store: Store) -> None:
    @web.middleware
    async def remotely(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(scheme=request.headers.get("X-Scheme", "http")))

    async with visiting(site(store, app=web.Application(middlewares=[remotely]))) as client:
        async with client.get("/count", headers={"X-Scheme": "https"}) as response:
            assert (
                response.headers["Set-Cookie"].startswith("__Host-sid=") and "Secure" in response.headers["Set-Cookie"]
            )
        async with client.get("/count") as response:
            assert response.headers["Set-Cookie"].startswith("sid=")


# aiohttp contract 32
@pytest.mark.parametrize(("trust", "name"), [(None, "sid"), (True, "__Host-sid"), (False, "sid")])
async def test_a_proxy_s_header_counts_only_if_it_is_trusted(store: Store, trust: bool | None, name: str) -> None:
    headers = {"X-Forwarded-Proto": "https, http"}
    async with visiting(site(store, trust_proxy=trust)) as client, client.get("/count", headers=headers) as response:
        assert response.headers["Set-Cookie"].partition("=")[0] == name


# aiohttp contract 34
async def test_paths_are_as_the_browser_sees_them(store: Store) -> None:
    async def has(request: web.Request) -> web.StreamResponse:
        return web.Response(text=str(SESSION in request))

    @web.middleware
    async def lenient(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.headers.get("X-Path")  # as aiohttp's parser in Python lets it through
        return await handler(request if path is None else request.clone(rel_url=URL.build(path=path, encoded=True)))

    app = site(
        store,
        {"/{any:.*}": has},
        app=web.Application(middlewares=[lenient]),
        cookie=Cookie(path="/app"),
        exclude=["/app/static", "/app/é"],
    )
    async with visiting(app) as client:
        for path, expected in (
            ("/app", "True"),
            ("/app/x", "True"),
            ("/application", "False"),
            ("/other", "False"),
            ("/app/static", "False"),
            ("/app/static/x.css", "False"),
            ("/app/%73tatic/x.css", "False"),
            ("/app/%C3%A9/x", "False"),
            ("/app/a%2Fb", "True"),
        ):
            async with client.get(URL(path, encoded=True)) as response:
                assert await response.text() == expected, path
        for path, expected in (("/app/é/x", "False"), ("/app/è/x", "True")):
            async with client.get("/app", headers={"X-Path": path}) as response:
                assert await response.text() == expected, path


# aiohttp contract 23
async def test_the_middleware_is_called_as_aiohttp_calls_it(store: Store) -> None:
    app = site(store)
    (middleware,) = app.middlewares
    assert isinstance(middleware, SessionMiddleware)
    request = make_mocked_request("GET", "/")

    async def handler(request: web.Request) -> web.StreamResponse:
        request[SESSION]["n"] = 1
        return web.Response()

    await middleware(request, handler=handler)
    assert store.calls == ["create"]


async def test_a_cookie_for_another_host_is_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async with visiting(site(store, cookie=Cookie(domain="shop.example"))) as client:
        await text(client, "/count")
    assert "has the domain shop.example, which is not that of the host '127.0.0.1:" in caplog.text


async def test_a_change_after_the_request_is_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    kept: list[AiohttpSession] = []

    async def keep(request: web.Request) -> web.StreamResponse:
        kept.append(await get_session(request))
        return web.Response()

    async with visiting(site(store, {"/keep": keep})) as client:
        await text(client, "/keep")
    kept[0]["late"] = 1
    assert "a session was changed after its request had ended" in caplog.text


async def test_requests_at_once_all_count(store: Store) -> None:
    async def add(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        await asyncio.sleep(0)
        return web.Response(text=str(session.increment("n")))

    async with visiting(site(store, {"/add": add})) as client:
        await text(client, "/count")
        await asyncio.gather(*(text(client, "/add") for _ in range(20)))
        assert await text(client, "/show") == '{"n": 21}'


async def test_an_exclusive_session_is_given_back_however_the_request_ends(store: Store) -> None:
    async def fail(request: web.Request) -> web.StreamResponse:
        raise ValueError("a fault")

    async with visiting(site(store, {"/fail": fail}, exclusive=lambda request: request.path != "/show")) as client:
        await text(client, "/count")
        await asyncio.gather(*(text(client, "/count") for _ in range(5)))
        async with client.get("/fail") as response:
            assert response.status == 500
        assert await text(client, "/count") == "7"


async def test_functions_of_the_request_are_given_aiohttp_s(store: Store) -> None:
    def cookie(request: web.Request) -> Cookie:
        return Cookie(samesite="strict" if request.path == "/count" else "lax")

    def generate_id(request: web.Request) -> str:
        return f"{request.method}-{sojourn.ids.new_id()}"

    async with visiting(site(store, cookie=cookie, generate_id=generate_id)) as client:
        async with client.get("/count") as response:
            assert response.cookies["sid"]["samesite"] == "Strict" and response.cookies["sid"].value.startswith("GET-")
        assert await text(client, "/count") == "2"


# -- other ways --------------------------------------------------------------------------------------------------------


async def test_a_session_may_come_by_header_query_or_form_and_its_id_goes_no_further(store: Store) -> None:
    seen: list[Any] = []

    async def form(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        posted = await request.post()
        seen.append((dict(session), {name: getattr(value, "filename", value) for name, value in posted.items()}))
        return web.Response(text=session.signed_id)

    async def query(request: web.Request) -> web.StreamResponse:
        session = request["session"]
        seen.append((dict(session), dict(request.query), str(request.rel_url), request.match_info.route.method))
        session["seen"] = 1
        return web.Response(headers={"X": "y"})

    async def parts(request: web.Request) -> web.StreamResponse:
        assert dict(await get_session(request)) == {"n": 1}
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            assert isinstance(part, aiohttp.BodyPartReader)
            seen.append((part.name, len(await part.read())))
        return web.Response()

    app = site(
        store,
        {"/form": form, "/query": query, "/parts": parts},
        app=web.Application(client_max_size=2**24),
        transports=[CookieTransport(), HeaderTransport(), QueryTransport(), FormTransport(max_bytes=400)],
    )
    async with visiting(app) as client:
        async with client.get("/count") as response:
            signed = response.cookies["sid"].value
        client.session.cookie_jar.clear()
        async with client.get("/show", headers={"X-Session-Id": signed}) as response:
            assert await response.json() == {"n": 1} and response.headers["Vary"] == "Cookie, X-Session-Id"
        async with client.post("/form", data={"sid": signed, "more": "x" * 5000}) as response:
            assert response.status == 200
        assert seen.pop() == ({"n": 1}, {"sid": signed, "more": "x" * 5000})
        upload = aiohttp.FormData({"sid": signed})
        upload.add_field("file", b"x" * 300_000, filename="big.bin")
        async with client.post("/form", data=upload) as response:
            assert response.status == 200
        assert seen.pop() == ({"n": 1}, {"sid": signed, "file": "big.bin"})
        upload = aiohttp.FormData({"sid": signed})
        upload.add_field("file", io.BytesIO(b"x" * 3_000_000), filename="big.bin")
        async with client.post("/parts", data=upload) as response:
            assert response.status == 200
        assert seen == [("sid", len(signed)), ("file", 3_000_000)]
        seen.clear()
        for body in (b"", b"a=b"):
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            async with client.post("/form", data=body, headers=kind) as response:
                assert response.status == 200
        assert [found for found, _ in seen] == [{}, {}]
        seen.clear()
        async with client.get(f"/query?a=%20b&sid={signed}&c=d") as response:
            assert response.status == 200
        assert seen.pop() == ({"n": 1}, {"a": " b", "c": "d"}, "/query?a=%20b&c=d", "*")
        async with client.get("/query?a=b") as response:
            assert seen.pop() == ({}, {"a": "b"}, "/query?a=b", "*")
        client.session.cookie_jar.clear()
        async with client.get("/show", headers={"X-Session-Id": signed}) as response:
            assert await response.json() == {"n": 1, "seen": 1}


async def test_the_express_profile_works(store: Store) -> None:
    app = web.Application()
    setup(app, **sojourn.express(secret="s" * 32, store=store, cookie=Cookie(max_age=60)))
    app.router.add_get("/count", count)
    async with visiting(app) as client:
        async with client.get("/count") as response:
            sent = response.headers["Set-Cookie"]
            assert sent.startswith("connect.sid=s%3A") and "Max-Age" not in sent
        assert await text(client, "/count") == "2"
        ((key, stored),) = [each async for each in store.scan()]
        assert response.cookies["connect.sid"].value.startswith(f"s%3A{key}.") and b'"cookie":' in stored.data


# -- testing -----------------------------------------------------------------------------------------------------------


# aiohttp contract 33
async def test_a_client_s_session_in_a_line_each(store: Store) -> None:
    async def who(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        return web.Response(text=f"{session.owner} {dict(session)}")

    async with visiting(site(store, {"/who": who})) as client:
        assert await read_session(client) == {}
        await write_session(client, {"cart": ["tent"]})
        assert await text(client, "/who") == "None {'cart': ['tent']}"
        before = cookie_of(client)
        await log_in(client, "ann")
        assert cookie_of(client) != before
        assert await text(client, "/who") == "ann {'cart': ['tent']}"
        await text(client, "/count")
        assert await read_session(client) == {"cart": ["tent"], "n": 1}
        await text(client, "/logout")
        assert await read_session(client) == {}


# aiohttp contract 33
async def test_a_client_s_session_where_the_cookie_has_a_path_and_where_it_fails(store: Store) -> None:
    async with visiting(site(store, {"/app/count": count}, cookie=Cookie(path="/app"))) as client:
        await write_session(client, {"n": 5})
        assert await text(client, "/app/count") == "6"
        store.failing = {"load"}
        with pytest.raises(StoreError):
            await read_session(client)
        store.failing = {"replace"}
        with pytest.raises(RuntimeError, match="the session's store failed"):
            await write_session(client, {"n": 7})
    async with visiting(web.Application(middlewares=[web.normalize_path_middleware()])) as client:
        with pytest.raises(LookupError, match=r"the client's application has no sessions of sojourn.aiohttp"):
            await read_session(client)


# aiohttp contract 33
def test_a_client_s_cookie_may_have_attributes_that_the_standard_library_does_not_know() -> None:
    morsels = _cookie_of("__Host-sid=abc; Path=/; Priority=High; Partitioned; HttpOnly; Secure; SameSite=None")
    assert list(morsels) == ["__Host-sid"]
    assert (morsels["__Host-sid"].value, morsels["__Host-sid"]["secure"]) == ("abc", True)


async def test_a_client_s_session_has_a_cookie_of_some_priority(store: Store) -> None:
    async with visiting(site(store, cookie=Cookie(priority="high"))) as client:
        await write_session(client, {"n": 5})
        assert [cookie.key for cookie in client.session.cookie_jar] == ["sid"]
        assert await text(client, "/count") == "6"


async def test_a_short_secret_is_warned_of_at_the_line_that_gave_it(store: Store) -> None:
    with pytest.warns(SojournWarning, match="shorter than 32 bytes"):
        setup(web.Application(), secret="short", store=store)


# -- the password, asked for again -----------------------------------------------------------------------------------------


async def test_whose_password_was_given_too_long_ago_is_asked_for_it_and_led_back(store: Store) -> None:
    async def delete(request: web.Request) -> web.StreamResponse:
        session = await check_fresh(request, timedelta(minutes=15), "/confirm")
        return web.Response(text=str(session.owner))

    async def plain(request: web.Request) -> web.StreamResponse:
        await check_fresh(request, 900)
        return web.Response()

    async def confirm(request: web.Request) -> web.StreamResponse:
        request[SESSION].confirm()
        return web.Response(text=next_page(request))

    clock = ManualClock()
    routes: dict[str, Handler] = {"/delete/{what}": delete, "/plain": plain, "/confirm": confirm}
    async with visiting(site(store, routes, clock=clock)) as client:

        async def ask(path: str, method: str = "GET") -> tuple[int, str | None]:
            async with client.request(method, URL(path, encoded=True), allow_redirects=False) as response:
                return response.status, response.headers.get("Location")

        assert await ask("/delete/a") == await ask("/plain") == (401, None)
        await log_in(client, "ann")
        assert await text(client, "/delete/a") == "ann" and await ask("/plain") == (200, None)
        clock.advance(15 * 60_000 + 1)
        assert await ask("/plain") == (403, None) and await ask("/delete/a", "POST") == (303, "/confirm")
        sent = await ask("/delete/a%20b?x=1")
        assert sent[0] == 303 and URL(str(sent[1])) == URL("/confirm").with_query(next="/delete/a%20b?x=1")
        assert await text(client, str(sent[1])) == "/delete/a%20b?x=1" and await text(client, "/delete/a") == "ann"
        assert await text(client, "/confirm?next=//evil.test") == "/"


async def test_all_that_a_login_can_do_goes_through_this_door(store: Store) -> None:
    async def login(request: web.Request) -> web.StreamResponse:
        session = request[SESSION]
        session.begin_login("ann", stamp="hash")
        found: list[Any] = [session.owner, session.pending_owner]
        session.complete_login(sid="idp", max_sessions=1)
        return web.json_response([*found, session.owner, session.check("hash")])

    async def attempt(request: web.Request) -> web.StreamResponse:
        session = request[SESSION]
        is_in = await session.try_login("ann", max_sessions=1)
        return web.json_response([is_in, await session.sessions.end_sid("idp")])

    app = site(store, {"/login": login, "/try": attempt})
    async with visiting(app) as client:
        assert await text(client, "/login") == '[null, "ann", "ann", true]'
        client.session.cookie_jar.clear()
        assert [await text(client, "/try") for _ in range(2)] == ["[false, 1]", "[true, 0]"]
