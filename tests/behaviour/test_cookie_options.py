"""Express contract, section 11: cookie options and object."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sojourn import ConfigurationError, Cookie
from sojourn.clock import from_ms
from tests.behaviour.harness import DAY, HOUR, MINUTE, Client, Ctx, Make, put, read, sign


# contract 120, 130
def test_the_defaults(make: Make) -> None:
    world = make()
    cookie = world.get(put(n=1)).the_cookie
    attributes = {"path": "/", "httponly": True, **({"samesite": "Lax"} if world.profile == "native" else {})}
    assert cookie.attributes == attributes and cookie.expires is None
    part = next(iter(world.stored().values()))["cookie"]
    assert part == {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"} | (
        {"secure": False, "sameSite": "lax"} if world.profile == "native" else {}
    )


# contract 123, 133
def test_a_fixed_expiry_is_each_new_sessions_own_lifetime(make: Make) -> None:
    world = make()
    world = make(clock=world.clock, cookie=Cookie(expires=from_ms(world.clock() + HOUR), secure=False))
    answer = world.get(lambda ctx: (ctx.session.cookie.max_age, ctx.session.update(n=1)))
    assert answer.seen[0] == 3600 and answer.the_cookie.expires == world.clock() + HOUR
    assert world.ttl(answer.id) == HOUR
    world.clock.advance(20 * MINUTE)
    assert Client(world).get(lambda ctx: ctx.session.cookie.max_age).seen == 2400
    assert world.get(lambda ctx: ctx.session.cookie.original_max_age).seen == 3600


# contract 124, 136
@pytest.mark.parametrize("max_age", [3600, 3600.0, timedelta(hours=1)])
def test_max_age_sets_the_expiry_and_counts_down(make: Make, max_age: Any) -> None:
    world = make(cookie=Cookie(max_age=max_age, secure=False))

    def look(ctx: Ctx) -> tuple[Any, ...]:
        ctx.session["n"] = ctx.session.get("n", 0) + 1
        cookie = ctx.session.cookie
        before = cookie.max_age, cookie.original_max_age, cookie.expires
        world.clock.advance(MINUTE)
        return *before, cookie.max_age, cookie.original_max_age

    for _ in range(2):
        begun = world.clock()
        answer = world.get(look)
        assert answer.seen == (3600, 3600, from_ms(begun + HOUR), 3540, 3600)


# contract 126
@pytest.mark.parametrize("value", ["3600", True, lambda: 5, datetime(2030, 1, 1, tzinfo=UTC), -1, float("nan"), 10**12])
def test_a_max_age_that_is_no_duration_is_refused(make: Make, value: Any) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        with pytest.raises(ConfigurationError) as caught:
            ctx.session.cookie.max_age = value
        assert caught.value.option == "session.cookie.max_age"

    answer = world.get(handle)
    assert answer.the_cookie.expires is None and world.ttl(answer.id) == DAY


# contract 126, 127
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "app"),
        ("path", "/;x"),
        ("domain", "a b"),
        ("httponly", "yes"),
        ("httponly", None),
        ("secure", "yes"),
        ("samesite", "Lax"),
        ("samesite", "none"),
        ("partitioned", None),
        ("priority", "urgent"),
        ("max_agee", 5),
    ],
)
def test_a_wrong_attribute_is_refused_when_assigned(make: Make, name: str, value: Any) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        with pytest.raises((ConfigurationError, AttributeError)):
            setattr(ctx.session.cookie, name, value)

    assert world.get(handle).the_cookie.attributes == make().get(put(n=1)).the_cookie.attributes


ON_THE_WIRE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"httponly": False}, {"httponly": None}),
    ({"path": "/app"}, {"path": "/app"}),
    ({"domain": "example.com"}, {"domain": "example.com"}),
    ({"priority": "low"}, {"priority": "Low"}),
    ({"priority": "medium"}, {"priority": "Medium"}),
    ({"priority": "high"}, {"priority": "High"}),
    ({"partitioned": False}, {"partitioned": None}),  # contract 131
    ({"partitioned": True}, {"partitioned": True}),
    ({"samesite": "strict"}, {"samesite": "Strict"}),
    ({"secure": True}, {"secure": True}),
]


# contract 127, 128, 131
@pytest.mark.parametrize(("options", "wanted"), ON_THE_WIRE)
def test_configured_attributes_show_up_on_the_wire(make: Make, options: dict[str, Any], wanted: dict[str, Any]) -> None:
    world = make(cookie=Cookie(**options))
    answer = world.get(put(n=1), "/app", scheme="https")
    for name, value in wanted.items():
        assert answer.the_cookie[name] == value


# contract 129
@pytest.mark.parametrize(("options", "wanted"), [row for row in ON_THE_WIRE if "secure" not in row[0]])
def test_attributes_changed_on_the_session_show_up_and_stay_with_it(
    make: Make, options: dict[str, Any], wanted: dict[str, Any]
) -> None:
    world = make(cookie=Cookie(secure=False, samesite="lax", partitioned=options == {"partitioned": False}))

    def change(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        for name, value in options.items():
            setattr(ctx.session.cookie, name, value)

    answer = world.get(change, "/app")
    for name, value in wanted.items():
        assert answer.the_cookie[name] == value
    again = world.get(
        lambda ctx: (ctx.session.update(n=2), *(getattr(ctx.session.cookie, name) for name in options)), "/app"
    )
    assert again.seen[1:] == tuple(options.values())


# contract 129
def test_a_session_can_go_without_secure_where_it_is_configured(expressive: Make) -> None:
    world = expressive(cookie=Cookie(secure=True))

    def change(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        ctx.session.cookie.secure = False

    answer = world.get(change)
    assert answer.the_cookie["Secure"] is None
    assert world.get(lambda ctx: (dict(ctx.session), ctx.session.cookie.secure)).seen == ({"n": 1}, False)


# contract 116
@pytest.mark.parametrize("samesite", ["none", "auto"])
def test_secure_cannot_be_taken_from_a_cookie_that_browsers_take_with_it_alone(expressive: Make, samesite: Any) -> None:
    world = expressive(cookie=Cookie(secure=True, samesite=samesite))

    def change(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        with pytest.raises(ConfigurationError, match="SameSite=None without Secure") as caught:
            ctx.session.cookie.secure = False
        assert caught.value.option == "session.cookie.secure"
        ctx.session.cookie.samesite = "lax"
        ctx.session.cookie.secure = False

    assert world.get(change).the_cookie["SameSite"] == "Lax"


# contract 116, 139
@pytest.mark.parametrize(
    ("before", "changed", "after"),
    [
        (Cookie(secure=True), ("samesite", "none"), Cookie(secure=False, samesite=None)),
        (Cookie(secure=True, samesite="lax"), ("secure", False), Cookie(secure=True, samesite="auto")),
        (Cookie(secure=True, samesite="lax"), ("secure", False), Cookie(secure=True, samesite="none")),
    ],
)
def test_no_change_of_the_configuration_makes_samesite_none_without_secure(
    expressive: Make, before: Cookie, changed: tuple[str, Any], after: Cookie
) -> None:
    old = expressive(cookie=before)

    def begin(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        setattr(ctx.session.cookie, *changed)

    old.get(begin, scheme="https")
    new = expressive(cookie=after, rolling=True, store=old.store, clock=old.clock)
    value = old.client.jar[old.name].value
    cookie = new.get(read, scheme="https", cookies=f"{new.name}={value}").the_cookie
    assert (cookie["Secure"], cookie["SameSite"]) == (None, "Lax")


@pytest.mark.parametrize(("name", "value"), [("secure", False), ("path", "/app"), ("domain", "example.com")])
def test_what_the_host_prefix_forbids_is_refused_with_the_reason(native: Make, name: str, value: Any) -> None:
    world = native()

    def change(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        with pytest.raises(ConfigurationError, match="__Host-"):
            setattr(ctx.session.cookie, name, value)

    assert world.get(change, scheme="https").the_cookie.name == "__Host-sid"


# contract 132
@pytest.mark.parametrize("max_age", [5, 600, 86_400, 2**31 / 1000 + 1, 20 * 86_400])
def test_max_age_can_be_changed_on_the_session(make: Make, max_age: float) -> None:
    world = make(cookie=Cookie(max_age=3600, secure=False))
    client = world.session(n=1)
    answer = client.get(lambda ctx: setattr(ctx.session.cookie, "max_age", max_age))
    assert answer.the_cookie.expires == (world.clock() + round(max_age * 1000)) // 1000 * 1000
    assert world.ttl(answer.id) == round(max_age * 1000)
    assert client.get(lambda ctx: ctx.session.cookie.original_max_age).seen == max_age


# contract 132
def test_a_lifetime_beyond_two_to_the_31_ms_is_fine(make: Make) -> None:
    world = make(cookie=Cookie(max_age=timedelta(days=365), secure=False), absolute_timeout=None)
    answer = world.get(put(n=1))
    assert answer.the_cookie.expires == world.clock() + 365 * DAY and world.ttl(answer.id) == 365 * DAY


def test_a_sessions_lifetime_cannot_outlast_the_absolute_timeout(make: Make) -> None:
    world = make(absolute_timeout=7200)

    def handle(ctx: Ctx) -> None:
        with pytest.raises(ConfigurationError, match="absolute_timeout"):
            ctx.session.cookie.max_age = 7201
        ctx.session.cookie.max_age = 7200

    assert world.get(handle).the_cookie.expires == world.clock() + 2 * HOUR


# contract 133, 135
def test_a_runtime_expiry_is_what_goes_out(make: Make) -> None:
    world = make()
    when = from_ms(world.clock() + 3 * HOUR)

    def change(ctx: Ctx) -> tuple[Any, ...]:
        ctx.session["n"] = 1
        ctx.session.cookie.expires = when
        return ctx.session.cookie.expires, ctx.session.cookie.max_age, ctx.session.cookie.original_max_age

    answer = world.get(change)
    assert answer.seen == (when, 10_800, 10_800)
    assert answer.the_cookie.expires == world.clock() + 3 * HOUR and world.ttl(answer.id) == 3 * HOUR


# contract 134
@pytest.mark.parametrize("name", ["expires", "max_age"])
def test_a_runtime_expiry_of_none_makes_a_browser_session_cookie(make: Make, name: str) -> None:
    world = make(cookie=Cookie(max_age=3600, secure=False))

    def change(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        setattr(ctx.session.cookie, name, None)

    answer = world.get(change)
    assert answer.the_cookie.expires is None and answer.the_cookie["max-age"] is None
    assert world.get(read).cookie is None
    assert world.get(put(n=2)).cookie is None
    assert world.get(lambda ctx: (ctx.session.cookie.expires, ctx.session.cookie.max_age)).seen == (None, None)


# contract 135
def test_assigning_rewrites_the_original_to_the_time_that_remains_then(make: Make) -> None:
    world = make(cookie=Cookie(max_age=3600, secure=False))

    def change(ctx: Ctx) -> list[Any]:
        cookie = ctx.session.cookie
        ctx.session["n"] = 1
        when = from_ms(world.clock() + HOUR)
        world.clock.advance(10 * MINUTE)
        cookie.expires = when
        seen = [cookie.original_max_age]
        cookie.max_age = 60
        return [*seen, cookie.original_max_age]

    assert world.get(change).seen == [3000, 60]


# contract 137
def test_a_max_age_of_zero_expires_at_once_and_the_cookie_is_still_sent(make: Make) -> None:
    world = make(cookie=Cookie(max_age=0, secure=False))
    cookie = world.get(put(n=1)).the_cookie
    assert cookie.expires == world.clock() and cookie.value
    assert cookie["Max-Age"] == ("0" if world.profile == "native" else None)


# contract 137
def test_an_expiry_in_the_past_ends_the_session(make: Make) -> None:
    world = make()
    client = world.session(n=1)
    answer = client.get(lambda ctx: setattr(ctx.session.cookie, "expires", datetime(2001, 1, 1, tzinfo=UTC)))
    assert answer.the_cookie.expires is not None and answer.the_cookie.expires <= world.clock()
    world.clock.advance(1)
    assert world.stored() == {}


# contract 139
@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (Cookie(max_age=3600, secure=False), Cookie(max_age=7200, secure=False), "expires"),
        (Cookie(secure=False, samesite="lax"), Cookie(secure=False, samesite="strict"), "samesite"),
        (Cookie(secure=False), Cookie(secure=False, httponly=False), "httponly"),
        (Cookie(secure=False, priority="low"), Cookie(secure=False), "priority"),
    ],
)
def test_changed_configuration_holds_for_live_sessions(make: Make, before: Cookie, after: Cookie, name: str) -> None:
    old = make(cookie=before, rolling=True)
    client = old.session(n=1)
    new = make(cookie=after, rolling=True, store=old.store, clock=old.clock)
    value = client.jar[old.name].value
    fresh = Client(new).get(put(n=1)).the_cookie
    assert new.get(put(n=2), cookies=f"{new.name}={value}").the_cookie[name] == fresh[name]


# contract 139
def test_what_a_session_changed_holds_against_the_configuration(make: Make) -> None:
    old = make(cookie=Cookie(max_age=3600, secure=False))
    client = old.session(n=1)
    client.get(lambda ctx: setattr(ctx.session.cookie, "max_age", 600))
    new = make(cookie=Cookie(max_age=7200, secure=False), store=old.store, clock=old.clock)
    value = client.jar[old.name].value
    assert new.get(lambda ctx: ctx.session.cookie.max_age, cookies=f"{new.name}={value}").seen == 600


# contract 140
def test_a_cookie_function_is_called_with_the_request_once(make: Make) -> None:
    given: list[Any] = []

    def options(request: Any) -> Cookie:
        given.append(request)
        admin = (request["path"] if "path" in request else request["PATH_INFO"]).startswith("/admin")
        return Cookie(path="/admin" if admin else "/", max_age=60 if admin else 3600, secure=False)

    world = make(cookie=options)
    assert world.get(put(n=1), "/admin/x").the_cookie["path"] == "/admin"
    assert len(given) == 1
    assert Client(world).get(put(n=1), "/x").the_cookie.expires == world.clock() + HOUR
    assert world.get(read, "/admin/y").seen == {"n": 1}


# contract 141
@pytest.mark.parametrize(("scheme", "secure", "samesite"), [("http", None, "Lax"), ("https", True, "None")])
def test_auto_works_with_a_cookie_function(make: Make, scheme: str, secure: Any, samesite: str) -> None:
    world = make(cookie=lambda _request: Cookie(secure="auto", samesite="auto"))
    cookie = world.get(put(n=1), scheme=scheme).the_cookie
    assert (cookie["Secure"], cookie["SameSite"]) == (secure, samesite)
    assert world.get(read, scheme=scheme).seen == {"n": 1}


# contract 140
@pytest.mark.parametrize("answered", [None, {"path": "/"}, "sid"])
def test_a_cookie_function_that_answers_anything_else_is_an_error(make: Make, answered: Any) -> None:
    world = make(cookie=lambda _request: answered)
    answer = world.get(read, may_fail=True)
    assert isinstance(answer.error, ConfigurationError) and answer.error.option == "cookie"


def test_a_cookie_function_is_kept_to_the_absolute_timeout(native: Make) -> None:
    world = native(cookie=lambda _request: Cookie(max_age=7200, secure=False), absolute_timeout=3600)
    answer = world.get(put(n=1))
    assert world.ttl(answer.id) == HOUR


# contract 124
def test_the_idle_timeout_is_the_sessions_own_lifetime_or_as_configured(make: Make) -> None:
    cookie = Cookie(max_age=3600, secure=False)
    rows: list[tuple[dict[str, Any], int]] = [
        ({}, DAY),
        ({"cookie": cookie}, HOUR),
        ({"idle_timeout": 1800}, HOUR // 2),
        ({"idle_timeout": 1800, "cookie": cookie}, HOUR // 2),
        ({"idle_timeout": 1800, "cookie": replace(cookie, max_age=60)}, HOUR // 2),
    ]
    for options, ttl in rows:
        world = make(**options)
        session_id = world.get(put(n=1)).id
        assert world.ttl(session_id) == ttl
        world.get(lambda ctx: setattr(ctx.session.cookie, "max_age", 600))
        assert world.ttl(session_id) == 10 * MINUTE


# contract 127
def test_a_sessions_own_attributes_survive_a_record_by_express(expressive: Make) -> None:
    world = expressive()
    client = world.plant({"n": 1}, cookie={"originalMaxAge": 60_000, "expires": None, "httpOnly": True, "path": "/"})
    answer = client.get(put(n=2))
    assert answer.the_cookie.expires == world.clock() + MINUTE
    assert answer.the_cookie.value == sign("planted", "express") and world.ttl("planted") == MINUTE


@pytest.mark.parametrize("lifetime", [60_000, 30 * DAY])
def test_a_lifetime_that_express_gives_to_our_session_is_the_session_s_own(expressive: Make, lifetime: int) -> None:
    world = expressive(cookie=Cookie(secure=False, samesite=None, max_age=DAY // 1000))
    client = Client(world)
    session_id = client.get(put(n=1)).id
    key, record = world.key(session_id), world.record(session_id)
    assert record is not None
    record["cookie"]["originalMaxAge"] = lifetime  # and nothing else: as `req.session.cookie.maxAge = ...` does
    version = world.store.kept.load(key).version
    world.store.kept.replace(key, json.dumps(record, separators=(",", ":")).encode(), DAY, version=version)
    assert client.get(lambda ctx: ctx.session.cookie.max_age).seen == lifetime / 1000
    client.get(put(n=2))
    assert world.ttl(session_id) == lifetime
    assert client.get(lambda ctx: ctx.session.cookie.max_age).seen == lifetime / 1000
