"""Express contract, section 9: Set-Cookie."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import pytest

from sojourn import ConfigurationError, Cookie
from tests.behaviour.harness import HOUR, MINUTE, Ctx, Make, put, read


def nothing(ctx: Ctx) -> None:
    pass


def logout(ctx: Ctx) -> None:
    ctx.session.destroy()


FIRST: list[tuple[Any, dict[str, Any], bool]] = [
    (put(n=1), {}, True),  # contract 89
    (nothing, {"save_uninitialized": True}, True),
    (nothing, {}, False),
    (nothing, {"rolling": True}, False),  # contract 93
    (nothing, {"rolling": True, "save_uninitialized": True}, True),  # contract 94
    (put(n=1), {"rolling": True}, True),  # contract 95
]
AGED = Cookie(max_age=3600, secure=False)
LATER: list[tuple[Any, dict[str, Any], bool]] = [
    (nothing, {"rolling": True}, True),  # contract 90
    (read, {"rolling": True}, True),
    (nothing, {"rolling": True, "cookie": AGED}, True),
    (nothing, {}, False),
    (read, {"resave": True}, False),
    (put(n=2), {}, False),  # contract 91, 92
    (put(n=2), {"resave": True}, False),
    (nothing, {"cookie": AGED}, False),
    (read, {"cookie": AGED}, False),
    (read, {"cookie": AGED, "resave": True}, False),
    (put(n=1), {"cookie": AGED}, False),
    (put(n=2), {"cookie": AGED}, True),  # contract 91
    (lambda ctx: ctx.session.touch(), {"cookie": AGED}, False),
    (lambda ctx: ctx.session.touch(), {}, False),
    (lambda ctx: ctx.session.regenerate(keep_data=True), {}, True),
]


# contract 89, 93, 94, 95
@pytest.mark.parametrize(("act", "options", "sent"), FIRST)
def test_when_a_new_session_gets_a_cookie(make: Make, act: Any, options: dict[str, Any], *, sent: bool) -> None:
    world = make(**options)
    answer = world.get(act)
    assert (answer.cookie is not None) is sent
    assert (answer.writes == ["create"]) is sent


# contract 90, 91, 92
@pytest.mark.parametrize(("act", "options", "sent"), LATER)
def test_when_a_browser_gets_its_cookie_again(make: Make, act: Any, options: dict[str, Any], *, sent: bool) -> None:
    world = make(**options)
    client = world.session(n=1)
    for _ in range(2):
        answer = client.get(act)
        changed = answer.cookie is not None
        assert changed is sent
        client.get(put(n=1))


# contract 96
def test_rolling_moves_the_expiry_also_with_a_slow_body(make: Make) -> None:
    world = make(rolling=True, cookie=AGED)
    client = world.session()

    async def slow(ctx: Ctx) -> None:
        for _ in range(3):
            await ctx.write(b"chunk")
            world.clock.advance(1000)

    for _ in range(2):
        world.clock.advance(10 * MINUTE)
        at = world.clock()
        answer = client.get(slow)
        assert answer.the_cookie.expires == (at + HOUR) // 1000 * 1000 and answer.body == b"chunk" * 3


# contract 97
def test_rolling_without_a_change_touches_once_and_writes_nothing(make: Make) -> None:
    world = make(rolling=True, touch_after=0)
    client = world.session()
    assert client.get(read).ops == ["load", "touch"]


# contract 98
@pytest.mark.parametrize("existing", [True, False])
def test_a_change_after_the_headers_is_saved_for_a_stored_session_and_refused_for_a_new_one(
    make: Make, caplog: pytest.LogCaptureFixture, *, existing: bool
) -> None:
    world = make(cookie=AGED)
    client = world.session(n=1) if existing else world.client

    async def late(ctx: Ctx) -> None:
        await ctx.write(b"first")
        ctx.session["n"] = 2
        await ctx.write(b"second")

    answer = client.get(late)
    assert answer.status == 200 and answer.body == b"firstsecond" and answer.cookie is None
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    if existing:
        assert answer.writes[-1] == "replace" and answer.timeline[-1] == "replace" and errors == []
        assert client.get(read).seen == {"n": 2}
    else:
        assert answer.ops == [] and world.stored() == {}
        assert len(errors) == 1 and "after the response headers had left" in errors[0].getMessage()


# contract 99
@pytest.mark.parametrize("name", ["Set-Cookie", "set-cookie", "SET-COOKIE"])
def test_the_apps_own_cookies_stay_and_the_sessions_is_last(make: Make, name: str) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        ctx.headers += [(name, "a=1; Path=/"), ("X-Between", "yes"), (name, "b=2; Path=/; HttpOnly")]
        ctx.session["n"] = 1

    answer = world.get(handle)
    assert [cookie.name for cookie in answer.set_cookies] == ["a", "b", world.name]
    assert answer.header("x-between") == ["yes"] and answer.headers[-1][1].startswith(world.name)


# contract 99
def test_a_cookie_of_the_apps_under_the_sessions_name_does_not_hide_it(make: Make) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        ctx.headers.append(("Set-Cookie", f"x{world.base_name}x=theirs; Path=/"))
        ctx.session["n"] = 1

    assert world.get(handle).id


# contract 100
@pytest.mark.parametrize("date", ["tomorrow", 5, datetime(2030, 1, 1)])  # noqa: DTZ001 - it is refused for that
def test_a_date_that_no_cookie_can_have_is_refused_when_assigned(make: Make, date: Any) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        with pytest.raises(ConfigurationError, match="expires"):
            ctx.session.cookie.expires = date

    assert world.get(handle).the_cookie.expires is None


VARY: list[tuple[list[str], list[str]]] = [
    ([], ["Cookie"]),
    (["Accept-Encoding"], ["Accept-Encoding, Cookie"]),
    (["Accept-Encoding", "Origin"], ["Accept-Encoding", "Origin, Cookie"]),
    (["*"], ["*"]),
    (["Cookie"], ["Cookie"]),
    (["accept, COOKIE"], ["accept, COOKIE"]),
    (["Cookie2"], ["Cookie2, Cookie"]),
    ([""], ["Cookie"]),
]


# contract 101
@pytest.mark.parametrize(("given", "wanted"), VARY)
def test_vary_gains_cookie_when_the_session_was_read(make: Make, given: list[str], wanted: list[str]) -> None:
    world = make()
    for client in (world.client, world.session()):

        def handle(ctx: Ctx) -> None:
            ctx.headers += [("Vary", value) for value in given]
            dict(ctx.session)

        assert client.get(handle).header("vary") == wanted


# contract 101
@pytest.mark.parametrize(
    ("act", "vary"),
    [
        (nothing, []),
        (read, ["Cookie"]),
        (lambda ctx: "n" in ctx.session, ["Cookie"]),
        (lambda ctx: ctx.session.is_new, ["Cookie"]),
        (lambda ctx: ctx.session.owner, ["Cookie"]),
        (lambda ctx: ctx.session.id, ["Cookie"]),
        (put(n=5), ["Cookie"]),
        (logout, ["Cookie"]),
        (lambda ctx: ctx.session.regenerate(), ["Cookie"]),
    ],
)
@pytest.mark.parametrize("existing", [True, False])
def test_vary_says_whether_the_session_was_looked_at(make: Make, act: Any, vary: list[str], *, existing: bool) -> None:
    world = make()
    client = world.session() if existing else world.client
    assert client.get(lambda ctx: (act(ctx), None)[1]).header("vary") == vary


# contract 101
def test_vary_names_the_cookie_also_after_a_reload(make: Make) -> None:
    world = make()

    async def handle(ctx: Ctx) -> None:
        dict(ctx.session)
        await ctx.reload()

    assert world.session().get(handle).header("vary") == ["Cookie"]


# contract 101
@pytest.mark.parametrize("own", [None, "max-age=60", "private"])
@pytest.mark.parametrize("act", [read, put(n=1)])
def test_a_response_with_a_cookie_is_not_to_be_stored_unless_the_app_says_so(
    make: Make, own: str | None, act: Any
) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        act(ctx)
        if own is not None:
            ctx.headers.append(("cache-CONTROL", own))

    answer = world.get(handle)
    default = [] if answer.cookie is None else ["no-store"]
    assert answer.header("cache-control") == (default if own is None else [own])


# contract 102
def test_max_age_stands_beside_expires_but_not_in_the_express_profile(make: Make) -> None:
    world = make(cookie=Cookie(max_age=90.5, secure=False))
    cookie = world.get(put(n=1)).the_cookie
    assert cookie.expires == (world.clock() + 90_500) // 1000 * 1000
    assert cookie["Max-Age"] == ("91" if world.profile == "native" else None)


# contract 102
def test_attributes_stand_in_expresss_order(expressive: Make) -> None:
    cookie = Cookie(domain="example.com", max_age=60, secure=True, partitioned=True, priority="high", samesite="strict")
    world = expressive(cookie=cookie)
    names = list(world.get(put(n=1), scheme="https").the_cookie.attributes)
    assert names == ["domain", "path", "expires", "httponly", "secure", "partitioned", "priority", "samesite"]
