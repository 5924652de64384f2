"""Ids that travel by header, query or form: read in order, under the rules that hold for cookies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sojourn import Cookie
from sojourn.transports import CookieTransport, FormTransport, HeaderTransport, QueryTransport
from tests.behaviour.harness import DAY, OLD_SECRET, SECRET, Answer, Client, Ctx, Make, World, put, read, sign

HEADER = "X-Session-Id"
COOKIE = CookieTransport()
URLENCODED = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
MULTIPART = ("Content-Type", "multipart/form-data; boundary=XyZ")

BY_HEADER = HeaderTransport()
BEARER = HeaderTransport(bearer=True)
QUERY = QueryTransport()
FORM = FormTransport()
EACH = [COOKIE, BY_HEADER, BEARER, QUERY, FORM]
READ_ONLY = [QUERY, FORM]


def part(name: str, value: str, more: str = "") -> bytes:
    return f'--XyZ\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'.encode()


def request(transport: Any, value: str) -> dict[str, Any]:
    """How a request brings a signed id by a transport."""
    ways: dict[Any, dict[str, Any]] = {
        COOKIE: {"cookies": f"sid={value}"},
        BY_HEADER: {"headers": [(HEADER, value)]},
        BEARER: {"headers": [("Authorization", f"Bearer {value}")]},
        QUERY: {"path": f"/?a=1&sid={value}&b=%20"},
        FORM: {"headers": [URLENCODED], "body": f"sid={value}&a=1".encode(), "method": "POST"},
    }
    return ways[transport]


def ask(world: World, transport: Any, session_id: str, handler: Any = read, **more: Any) -> Answer:
    """A request that holds no cookie but what the transport brings."""
    return Client(world).get(handler, **{**request(transport, sign(session_id, world.profile)), **more})


def login(world: World) -> str:
    """A session stored by the app; its id."""
    world.plant({"user": "ann"})
    return "planted"


@pytest.mark.parametrize("transport", EACH)
def test_a_signed_id_brings_its_session_by_any_transport(make: Make, transport: Any) -> None:
    world = make(transports=transport, name="sid")
    assert ask(world, transport, login(world)).seen == {"user": "ann"}


@pytest.mark.parametrize("transport", EACH)
@pytest.mark.parametrize("spoil", [lambda v: v[:-1], lambda v: v + "x", lambda v: "", lambda v: "x" * 5000])
def test_what_is_not_rightly_signed_is_an_anonymous_request_by_any_transport(
    native: Make, transport: Any, spoil: Callable[[str], str]
) -> None:
    world = native(transports=transport)
    value = spoil(sign(login(world), "native"))
    answer = Client(world).get(read, **request(transport, value))
    assert (answer.status, answer.seen, answer.ops) == (200, {}, [])


@pytest.mark.parametrize("transport", EACH)
def test_an_id_the_store_does_not_know_is_never_adopted_by_any_transport(native: Make, transport: Any) -> None:
    world = native(transports=[COOKIE, transport] if transport != COOKIE else COOKIE)
    answer = ask(world, transport, "unknown-but-signed", put(n=1))
    assert list(world.stored()) != [world.key("unknown-but-signed")]
    assert len(world.stored()) == 1
    assert "unknown-but-signed" not in str(answer.headers)


@pytest.mark.parametrize("transport", EACH)
def test_no_other_transport_is_read_than_those_configured(native: Make, transport: Any) -> None:
    world = native(transports=[other for other in EACH if other != transport])
    assert ask(world, transport, login(world)).seen == {}


# -- the header --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", [BY_HEADER, BEARER])
def test_a_new_id_goes_out_in_the_header_and_comes_back(make: Make, transport: Any) -> None:
    world = make(transports=transport)
    answer = world.get(put(n=1))
    (value,) = answer.header(HEADER)
    assert answer.header("Set-Cookie") == []
    assert answer.header("Cache-Control") == ["no-store"]
    again = Client(world).get(read, **request(transport, value))
    assert again.seen == {"n": 1}
    assert again.header(HEADER) == [], "the client has it"
    assert again.header("Vary") == ["Authorization" if transport == BEARER else HEADER]


@pytest.mark.parametrize("transport", [BY_HEADER, BEARER])
def test_a_regenerated_id_goes_out_in_the_header_and_the_old_one_is_dead(native: Make, transport: Any) -> None:
    world = native(transports=transport)
    old = login(world)
    answer = ask(world, transport, old, lambda ctx: ctx.session.login("ann"))
    (value,) = answer.header(HEADER)
    assert world.record(old) is None
    assert Client(world).get(lambda ctx: ctx.session.owner, **request(transport, value)).seen == "ann"


def test_a_destroyed_session_s_header_is_emptied(make: Make) -> None:
    world = make(transports=BY_HEADER)
    answer = ask(world, BY_HEADER, login(world), lambda ctx: ctx.session.destroy())
    assert answer.header(HEADER) == [""]
    assert world.stored() == {}


def test_an_id_under_an_old_secret_is_signed_anew_in_the_header(native: Make) -> None:
    secret = "a newer secret that is long enough for everybody"
    world = native(transports=BY_HEADER, secret=[secret, OLD_SECRET])
    world.plant({"n": 1})
    answer = world.get(read, headers=[(HEADER, sign("planted", "native", OLD_SECRET))])
    assert answer.seen == {"n": 1}
    assert answer.header(HEADER) == [sign("planted", "native", secret)]


def test_a_header_needs_no_https_and_knows_no_secure_cookie(native: Make) -> None:
    world = native(transports=[BY_HEADER, COOKIE], cookie=Cookie(secure=True))
    answer = world.get(put(n=1))
    assert answer.header(HEADER) and len(world.stored()) == 1


def test_an_id_that_no_header_can_hold_is_percent_encoded(native: Make) -> None:
    world = native(transports=BY_HEADER, generate_id=lambda _request: "a\r\nX-Evil: ü")
    (value,) = world.get(put(n=1)).header(HEADER)
    assert value.isascii() and "\r" not in value and "\n" not in value
    assert world.get(read, headers=[(HEADER, value)]).seen == {"n": 1}


def test_a_save_before_the_response_leaves_the_header_to_it(native: Make) -> None:
    world = native(transports=BY_HEADER)

    async def handler(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        await ctx.save()

    (value,) = world.get(handler).header(HEADER)
    assert world.get(read, headers=[(HEADER, value)]).seen == {"n": 1}


# -- several, in an order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [[COOKIE, BY_HEADER], [BY_HEADER, COOKIE]])
def test_the_first_transport_that_brings_a_live_session_wins(native: Make, order: list[Any]) -> None:
    world = native(transports=order)
    world.plant({"by": "cookie"}, session_id="by-cookie")
    world.plant({"by": "header"}, session_id="by-header")

    def both(cookie: str, header: str) -> Any:
        headers = [(HEADER, sign(header, "native"))]
        return Client(world).get(read, cookies=f"sid={sign(cookie, 'native')}", headers=headers).seen

    first = "cookie" if order[0] == COOKIE else "header"
    assert both("by-cookie", "by-header") == {"by": first}
    assert both("dead-cookie", "by-header") == {"by": "header"}
    assert both("by-cookie", "dead-header") == {"by": "cookie"}


@pytest.mark.parametrize("order", [[COOKIE, BY_HEADER], [BY_HEADER, COOKIE]])
@pytest.mark.parametrize("came", [COOKIE, BY_HEADER])
@pytest.mark.parametrize("live", [True, False])
def test_the_answer_goes_the_way_the_id_came(native: Make, order: list[Any], came: Any, *, live: bool) -> None:
    # So no script of a page gets to see in a header what its cookie hides from it.
    world = native(transports=order)
    session_id = login(world) if live else "dead-and-gone"
    answer = ask(world, came, session_id, lambda ctx: ctx.session.login("ann"))
    assert len(answer.header("Set-Cookie")) == (came == COOKIE)
    assert len(answer.header(HEADER)) == (came == BY_HEADER)
    assert answer.header("Vary") == [", ".join("Cookie" if way == COOKIE else HEADER for way in order)]


@pytest.mark.parametrize("order", [[COOKIE, BY_HEADER], [BY_HEADER, COOKIE], [QUERY, COOKIE, BY_HEADER]])
def test_who_brings_nothing_is_answered_by_the_first_that_can(native: Make, order: list[Any]) -> None:
    answer = native(transports=order).get(put(n=1))
    first = next(way for way in order if way != QUERY)
    assert [len(answer.header("Set-Cookie")), len(answer.header(HEADER))] == ([1, 0] if first == COOKIE else [0, 1])


def test_an_empty_header_asks_for_an_id_in_the_header(native: Make) -> None:
    world = native(transports=[COOKIE, BY_HEADER])
    headers = [(HEADER, "none")]
    answer = world.get(put(n=1), headers=headers)
    assert answer.header(HEADER) and not answer.header("Set-Cookie")


def test_a_cookie_s_session_is_expired_by_cookie_though_a_header_is_there(native: Make) -> None:
    world = native(transports=[BY_HEADER, COOKIE])
    login(world)
    value = sign("planted", "native")
    answer = Client(world).get(
        lambda ctx: ctx.session.destroy(), cookies=f"sid={value}", headers=[(HEADER, sign("dead-id", "native"))]
    )
    assert answer.the_cookie.is_expired and answer.header(HEADER) == []


@pytest.mark.parametrize("lazy", [True, False])
def test_a_lazy_session_destroyed_unseen_is_expired_the_way_it_came(native: Make, *, lazy: bool) -> None:
    world = native(transports=[COOKIE, BY_HEADER], lazy=lazy)
    answer = ask(world, BY_HEADER, login(world), lambda ctx: ctx.session.destroy())
    assert answer.header(HEADER) == [""] and answer.header("Set-Cookie") == []


# -- read-only: the query and the form ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", READ_ONLY)
@pytest.mark.parametrize("rolling", [True, False])
def test_an_id_from_a_link_or_form_is_never_written_into_the_cookie(
    native: Make, transport: Any, *, rolling: bool
) -> None:
    # Somebody may have sent the link: it must not become the browser's own session (fixation).
    world = native(transports=[COOKIE, BY_HEADER, transport], rolling=rolling, secret=["another " * 5, SECRET])
    answer = ask(world, transport, login(world), put(n=2))
    assert world.data("planted") == {"user": "ann", "n": 2}, "it is a session like any other"
    assert answer.header("Set-Cookie") == [] and answer.header(HEADER) == []


@pytest.mark.parametrize("transport", READ_ONLY)
def test_a_login_with_an_id_from_a_link_or_form_ends_that_id_and_gives_the_browser_a_new_one(
    native: Make, transport: Any
) -> None:
    world = native(transports=[COOKIE, transport])
    old = login(world)
    answer = ask(world, transport, old, lambda ctx: ctx.session.login("ann"))
    assert world.record(old) is None and world.record(answer.id) is not None
    assert answer.id != old


@pytest.mark.parametrize("transport", READ_ONLY)
def test_a_logout_by_link_or_form_leaves_the_browser_s_cookie(native: Make, transport: Any) -> None:
    world = native(transports=[COOKIE, transport])
    answer = ask(world, transport, login(world), lambda ctx: ctx.session.destroy())
    assert world.stored() == {}
    assert answer.header("Set-Cookie") == []


@pytest.mark.parametrize("transport", READ_ONLY)
def test_without_any_other_transport_the_app_hands_the_id_on_itself(native: Make, transport: Any) -> None:
    world = native(transports=transport)

    def handler(ctx: Ctx) -> str:
        ctx.session["n"] = 1
        value: str = ctx.session.signed_id
        return value

    answer = world.get(handler)
    assert answer.header("Set-Cookie") == []
    assert Client(world).get(read, **request(transport, answer.seen)).seen == {"n": 1}
    moved = Client(world).get(
        lambda ctx: (ctx.session.regenerate(keep_data=True), ctx.session.signed_id)[1],
        **request(transport, answer.seen),
    )
    assert Client(world).get(read, **request(transport, moved.seen)).seen == {"n": 1}
    assert len(world.stored()) == 1


def test_the_parameter_is_taken_out_of_the_query_and_nothing_else(native: Make) -> None:
    world = native(transports=[COOKIE, QUERY])
    session_id = login(world)
    value = sign(session_id, "native")
    for query, left in [
        (f"sid={value}", ""),
        (f"a=1&sid={value}&b=%20+", "a=1&b=%20+"),
        (f"%73id={value}&sid=&sidx=1&x=sid", "sidx=1&x=sid"),
        ("a=1&&b", "a=1&&b"),
    ]:
        answer = Client(world).get(lambda ctx: (ctx.query, dict(ctx.session)), f"/?{query}")
        assert answer.seen == (left, {"user": "ann"} if value in query else {})


def test_a_percent_encoded_id_in_a_query_is_read(expressive: Make) -> None:
    world = expressive(transports=QUERY)
    login(world)
    assert Client(world).get(read, f"/?sid={sign('planted', 'express')}").seen == {"user": "ann"}


# -- the form's body ---------------------------------------------------------------------------------------------------------


async def body_and_session(ctx: Ctx) -> tuple[bytes, dict[str, Any]]:
    return await ctx.read_body(), dict(ctx.session)


def test_the_app_reads_the_whole_body_of_a_form_that_was_looked_at(native: Make) -> None:
    world = native(transports=[COOKIE, FormTransport(max_bytes=200)])
    start = b"sid=" + sign(login(world), "native").encode()
    for size in (0, 1, 100, 1000, 100_000):
        body = start + b"&text=" + b"x" * size
        answer = Client(world).get(body_and_session, method="POST", headers=[URLENCODED], body=body)
        assert answer.seen == (body, {"user": "ann"})


def test_a_body_of_unknown_length_is_the_app_s_alone_under_wsgi(native: Make) -> None:
    world = native(transports=[COOKIE, FORM])
    body = b"sid=" + sign(login(world), "native").encode()
    chunked = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    answer = Client(world).get(
        lambda ctx: ctx.read_body(), method="POST", headers=[URLENCODED], body=body, extra=chunked
    )
    assert answer.seen == body


def test_a_field_beyond_the_limit_is_not_seen(native: Make) -> None:
    world = native(transports=FormTransport(max_bytes=1000))
    value = sign(login(world), "native").encode()
    for size, seen in [(800, {"user": "ann"}), (960, {}), (5000, {})]:
        body = b"text=" + b"x" * size + b"&sid=" + value
        answer = Client(world).get(body_and_session, method="POST", headers=[URLENCODED], body=body)
        assert answer.seen == (body, seen)


def test_a_field_of_a_multipart_form_is_read_before_the_files(native: Make) -> None:
    world = native(transports=FORM)
    value = sign(login(world), "native")
    upload = part("file", "x" * 100_000, '; filename="a.txt"') + b"--XyZ--\r\n"
    for body in (part("sid", value) + upload, b"preamble\r\n" + part("a", "1") + part("sid", value) + b"--XyZ--"):
        answer = Client(world).get(body_and_session, method="POST", headers=[MULTIPART], body=body)
        assert answer.seen == (body, {"user": "ann"})


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--\r\n"),
        ("multipart/form-data; boundary=", b"--\r\n"),
        ("multipart/form-data; boundary=XyZ", b"--XyZ" * 3000),
        ("multipart/form-data; boundary=XyZ", b"--XyZ\r\nContent-Disposition: form-data; name=\xff\r\n\r\n\xff"),
        ("multipart/form-data; boundary*=utf-8''%ff", b"--\xff\r\n\r\n\r\n"),
        ("multipart/form-data; boundary*=a; boundary*0=b", b"x"),
        ("multipart/form-data; boundary*" + "9" * 5000 + "=b", b"x"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name*=a; name*0=b\r\n\r\nx\r\n--b--",
        ),
        ('multipart/form-data; x="' + ";" * 32_000, b"x"),
        ("multipart/form-data; boundary=\xff", b"--\xff\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x"),
        ("application/x-www-form-urlencoded", b"&&&=%&sid&sid=%zz&%"),
        ("application/x-www-form-urlencoded", b"sid=" * 5000),
        ("application/json", b'{"sid": "x"}'),
    ],
)
def test_a_hostile_body_is_an_anonymous_request_whose_app_gets_it_all(
    native: Make, content_type: str, body: bytes
) -> None:
    world = native(transports=[COOKIE, FORM])
    answer = world.get(body_and_session, method="POST", headers=[("Content-Type", content_type)], body=body)
    assert (answer.status, answer.seen) == (200, (body, {}))


def test_a_form_is_not_looked_at_where_the_cookie_brought_an_id(native: Make) -> None:
    world = native(transports=[COOKIE, FORM])
    world.plant({"by": "cookie"}, session_id="by-cookie")
    body = f"sid={sign(login(world), 'native')}".encode()
    cookies = f"sid={sign('by-cookie', 'native')}"
    answer = Client(world).get(body_and_session, cookies=cookies, method="POST", headers=[URLENCODED], body=body)
    assert answer.seen == (body, {"by": "cookie"})


def test_a_new_session_by_cookie_expires_as_ever_beside_other_transports(native: Make) -> None:
    world = native(transports=[COOKIE, BY_HEADER, QUERY, FORM], idle_timeout=DAY // 1000)
    client = world.session(n=1)
    assert client.get(read).seen == {"n": 1}
    world.clock.advance(DAY + 1)
    assert client.get(read).seen == {}
