"""Visitors who come with another library's cookie, to a session that was copied from it: they stay, and get an id of ours at once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from itsdangerous import Signer

from sojourn import Cookie, StoreUnavailable, wsgi
from sojourn.asgi import SessionMiddleware
from sojourn.stores import MemoryStore
from sojourn.transports import CookieTransport, HeaderTransport, OldCookieTransport
from tests.behaviour.harness import DAY, SECRET, Answer, Client, Ctx, Make, World, put, read

FLASK_ID = "l3Vr7b0cZ5F6kXw2Qy9sT-4uN_8mJhGdEaPoIiRrYyU"
STAR_ID = "0123456789abcdef0123456789abcdef"
DJANGO_ID = "4a8o0zuyh2dpx1nltqksbw7mgv3e9c65"
OLD_SECRET = "the flask app's secret key"
LATER = datetime(2199, 1, 1, tzinfo=UTC)
FLASK = OldCookieTransport(library="flask-session", until=LATER)
SIGNED = OldCookieTransport(library="flask-session", until=LATER, secret=OLD_SECRET)
STAR = OldCookieTransport(library="starsessions", until=LATER)
DJANGO = OldCookieTransport(library="django", until=LATER)


def moved(make: Make, transport: Any = FLASK, old: str = FLASK_ID, **options: Any) -> World:
    """A site that has moved, with a session that was copied."""
    world = make(**{"transports": [CookieTransport(), transport], **options})
    world.plant({"user": "ann"}, session_id=f"{transport.library}:{old}", ttl=DAY)
    return world


def visit(world: World, handler: Any = read, value: str = FLASK_ID, **how: Any) -> Answer:
    return Client(world).get(handler, cookies=f"session={value}", **how)


def signed(session_id: str, secret: str = OLD_SECRET) -> str:
    return Signer(secret, salt="flask-session", key_derivation="hmac").sign(session_id).decode()


@pytest.mark.parametrize(
    ("transport", "old", "value"),
    [
        (FLASK, FLASK_ID, FLASK_ID),
        (SIGNED, FLASK_ID, signed(FLASK_ID)),
        (STAR, STAR_ID, STAR_ID),
        (DJANGO, DJANGO_ID, DJANGO_ID),
    ],
)
def test_a_visitor_with_an_old_cookie_stays_and_gets_an_id_of_ours_with_the_first_response(
    make: Make, transport: OldCookieTransport, old: str, value: str
) -> None:
    world = moved(make, transport, old)
    first = visit(world, value=value)
    assert first.seen == {"user": "ann"}
    assert first.id != old
    assert old not in str(first.headers)
    assert list(world.stored()) == [world.key(first.id)]
    assert first.header("Vary") == ["Cookie"]
    assert Client(world).holding(first.id).get(read).seen == {"user": "ann"}


def test_the_old_id_is_of_no_use_any_more(make: Make) -> None:
    world = moved(make)
    visit(world)
    again = visit(world)
    assert (again.seen, again.cookie, len(world.stored())) == ({}, None, 1)


@pytest.mark.parametrize("handler", [read, lambda ctx: None])
def test_an_exclusive_request_finds_it_too(make: Make, handler: Any) -> None:
    world = moved(make, exclusive=lambda _request: True)
    answer = visit(world, handler)
    assert answer.seen in (None, {"user": "ann"})
    assert world.data(answer.id) == {"user": "ann"}


def test_the_new_id_is_the_session_s_from_the_beginning(native: Make) -> None:
    world = moved(native)
    answer = visit(world, lambda ctx: ctx.session.id)
    assert answer.seen == answer.id


def test_changes_are_saved_along(native: Make) -> None:
    world = moved(native)
    assert world.data(visit(world, put(n=1)).id) == {"user": "ann", "n": 1}


@pytest.mark.parametrize(
    "value", ["", "short", "x" * 200, f"{FLASK_ID}\u00e9", f"{FLASK_ID}.x", "a:b" * 9, FLASK_ID[:-1]]
)
def test_what_the_library_cannot_have_made_is_not_looked_up(make: Make, value: str) -> None:
    world = moved(make)
    answer = visit(world, value=value)
    assert answer.seen == {}
    assert answer.ops == (["load"] if value == FLASK_ID[:-1] else [])


@pytest.mark.parametrize("value", [FLASK_ID, signed(FLASK_ID, "another secret"), signed(FLASK_ID)[:-1], f".{FLASK_ID}"])
def test_with_its_secret_only_what_that_signed_counts(native: Make, value: str) -> None:
    world = moved(native, SIGNED)
    answer = visit(world, value=value)
    assert (answer.seen, answer.ops) == ({}, [])


def test_no_session_of_ours_can_be_had_by_an_unsigned_id(make: Make) -> None:
    world = moved(make)
    session_id = visit(world).id
    world.plant({"user": "bob"}, session_id="bob-bob-bob-bob-bob-bob")
    assert visit(world, value=session_id).seen == {}
    assert visit(world, value="bob-bob-bob-bob-bob-bob").seen == {}


def test_from_its_date_on_the_old_cookie_is_not_read(make: Make) -> None:
    begin = make().clock()
    until = datetime.fromtimestamp((begin + 1000) / 1000, UTC)
    world = moved(make, OldCookieTransport(library="flask-session", until=until))
    world.clock.advance(1000)
    answer = visit(world)
    assert (answer.seen, answer.ops) == ({}, [])


def test_our_own_cookie_comes_first(make: Make) -> None:
    world = moved(make)
    client = world.session(user="bob")
    own = client.cookie_header("/", secure=False)
    answer = client.get(read, cookies=f"session={FLASK_ID}; {own}")
    assert (answer.seen, answer.cookie) == ({"user": "bob"}, None)


def test_it_may_have_the_name_of_our_own_cookie_which_takes_its_place(make: Make) -> None:
    world = moved(make, name="session")
    client = Client(world)
    first = client.get(read, cookies=f"session={FLASK_ID}")
    assert first.seen == {"user": "ann"}
    assert first.the_cookie.name == "session"
    again = client.get(read)
    assert (again.seen, again.cookie) == ({"user": "ann"}, None)


def test_the_new_id_goes_out_by_cookie_whatever_transport_is_first(native: Make) -> None:
    world = moved(native, transports=[HeaderTransport(), CookieTransport(), FLASK])
    answer = visit(world)
    assert answer.header("X-Session-Id") == []
    assert answer.cookie is not None


def test_a_login_and_a_logout_at_the_first_visit(make: Make) -> None:
    world = moved(make)
    answer = visit(world, lambda ctx: ctx.session.login("ann", keep_data=True))
    assert world.data(answer.id) == {"user": "ann"}
    world = moved(make)
    answer = visit(world, lambda ctx: ctx.session.logout())
    assert (answer.cookie, world.stored()) == (None, {})


def test_where_the_handler_raises_the_old_id_stays_good(native: Make) -> None:
    world = moved(native)

    def fail(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        raise LookupError

    visit(world, fail, may_fail=True)
    assert visit(world).seen == {"user": "ann"}


def test_where_the_new_cookie_cannot_be_sent_the_old_id_stays_good(
    native: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = moved(native, cookie=Cookie(secure=True))
    assert visit(world).seen == {"user": "ann"}
    assert "its cookie is Secure but the request came over plain http" in caplog.text
    assert visit(world, scheme="https").cookie is not None


def test_where_the_store_fails_at_the_commit_the_old_id_stays_good(native: Make) -> None:
    world = moved(native)
    world.store.fail("regenerate", error=StoreUnavailable("down"))
    assert visit(world).status == 503
    world.store.fail()
    assert visit(world).seen == {"user": "ann"}


def test_a_copy_that_cannot_be_read_is_a_new_session(native: Make) -> None:
    world = native(transports=[CookieTransport(), FLASK])
    world.plant(b"rubbish", session_id=f"flask-session:{FLASK_ID}")
    answer = visit(world)
    assert (answer.status, answer.seen, answer.cookie) == (200, {}, None)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_reload_before_the_first_response_keeps_the_new_id(native: Make, lazy: bool) -> None:
    world = moved(native, lazy=lazy)

    async def handle(ctx: Ctx) -> str:
        await ctx.reload()
        ctx.session["n"] = 1
        await ctx.reload()
        assert "n" not in ctx.session
        session_id: str = ctx.session.id
        return session_id

    answer = visit(world, handle)
    assert answer.seen == answer.id


def test_a_save_in_the_handler_changes_the_id_there(native: Make) -> None:
    world = moved(native)

    async def handle(ctx: Ctx) -> bool:
        await ctx.save()
        return world.key(ctx.session.id) in world.stored()

    answer = visit(world, handle)
    assert answer.seen is True
    assert answer.cookie is not None


@pytest.mark.parametrize("changes", [False, True])
def test_a_websocket_that_is_refused_leaves_the_old_id_good(
    native: Make, adapter: str, changes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """There are no headers to send a new one in."""
    if adapter == "wsgi":
        pytest.skip("WSGI has no WebSockets")
    world = moved(native)

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        assert scope["session"]["user"] == "ann"
        if changes:
            scope["session"]["n"] = 1
        await send({"type": "websocket.close"})

    async def send(message: Any) -> None:
        pass

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    cookies = [(b"cookie", f"session={FLASK_ID}".encode())]
    scope = {"type": "websocket", "path": "/", "headers": cookies, "scheme": "ws"}
    options = {"secret": SECRET, "store": world.store, "clock": world.clock, "transports": [CookieTransport(), FLASK]}
    world.run(lambda: SessionMiddleware(refuse, **options)(scope, receive, send))
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == ["ERROR"] * changes
    assert visit(world).seen == {"user": "ann"}


def test_of_two_requests_at_once_one_has_the_session_and_the_other_is_anonymous_and_saves_nothing() -> None:
    store, sent = MemoryStore(), []

    def start(_status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        sent.append(dict(headers).get("Set-Cookie"))

    def app(environ: Any, start_response: Any) -> list[bytes]:
        session = environ["sojourn.session"]
        session["visits"] = session.get("visits", 0) + 1
        if environ["PATH_INFO"] == "/slow":  # the other one comes while this one runs, and is first
            middleware({**request, "PATH_INFO": "/quick"}, start)
        start_response("200 OK", [])
        return [b""]

    middleware = wsgi.SessionMiddleware(app, secret=SECRET, store=store, transports=[CookieTransport(), FLASK])
    record = b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"user":"ann"}'
    store.create(middleware.settings.key_of(f"flask-session:{FLASK_ID}"), record, DAY)
    request = {"wsgi.url_scheme": "http", "HTTP_COOKIE": f"session={FLASK_ID}", "PATH_INFO": "/slow"}
    middleware(dict(request), start)
    quick, slow = sent
    assert quick is not None and slow is None
    [(_, stored)] = store.scan()
    assert b'"user":"ann"' in stored.data and b'"visits":1' in stored.data


def test_a_login_of_its_own_is_not_lost_with_it() -> None:
    store, sent = MemoryStore(), []

    def start(_status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        sent.append(dict(headers).get("Set-Cookie"))

    def app(environ: Any, start_response: Any) -> list[bytes]:
        session = environ["sojourn.session"]
        if environ["PATH_INFO"] == "/slow":
            session.login("bob")
            middleware({**request, "PATH_INFO": "/quick"}, start)
        else:
            session["n"] = 1
        start_response("200 OK", [])
        return [b""]

    middleware = wsgi.SessionMiddleware(app, secret=SECRET, store=store, transports=[CookieTransport(), FLASK])
    record = b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"user":"ann"}'
    store.create(middleware.settings.key_of(f"flask-session:{FLASK_ID}"), record, DAY)
    request = {"wsgi.url_scheme": "http", "HTTP_COOKIE": f"session={FLASK_ID}", "PATH_INFO": "/slow"}
    middleware(dict(request), start)
    assert all(sent) and len(sent) == 2
    assert len(store.by_owner("bob")) == 1 and store.count() == 2
