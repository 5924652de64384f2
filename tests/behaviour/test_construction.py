"""Express contract, section 1: construction and options."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest

import sojourn
from sojourn import ConfigurationError, Cookie, SojournWarning, asgi, express, wsgi
from sojourn.stores import AsyncMemoryStore, MemoryStore
from tests.behaviour.harness import OLD_SECRET, SECRET, Client, Make, World, sign

MIDDLEWARES = pytest.mark.parametrize("middleware", [asgi.SessionMiddleware, wsgi.SessionMiddleware])


def app(*_protocol: Any) -> Any:
    raise AssertionError("the app is not called at construction")


# contract 1
def test_the_package_shows_its_session_cookie_and_stores() -> None:
    assert {"Session", "AsyncSession", "Cookie", "SojournError", "express"} <= set(sojourn.__all__)
    assert isinstance(MemoryStore(), object) and isinstance(AsyncMemoryStore(), object)
    assert asgi.__all__ == ["CrossSiteGuard", "SessionMiddleware"] and "SessionMiddleware" in wsgi.__all__


# contract 2
@MIDDLEWARES
def test_an_omitted_store_is_a_memory_store_and_warned_about_once(
    middleware: Any, worlds: list[World], caplog: pytest.LogCaptureFixture
) -> None:
    made = [middleware(app, secret=SECRET) for _ in range(2)]
    assert made[0].store is not made[1].store
    assert type(made[0].store) is (AsyncMemoryStore if middleware is asgi.SessionMiddleware else MemoryStore)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "in this process alone" in warnings[0]


# contract 3, 4, 5, 6, 10, 100, 116, 125, 126, 138
@MIDDLEWARES
@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("secret", {"secret": ()}),
        ("secret", {"secret": []}),
        ("secret", {"secret": ""}),
        ("secret", {"secret": None}),
        ("secret", {"secret": [SECRET, ""]}),
        ("secret", {"secret": 5}),
        ("generate_id", {"generate_id": "abc"}),
        ("generate_id", {"generate_id": None}),
        ("clock", {"clock": 5}),
        ("unset", {"unset": "delete"}),
        ("unset", {"unset": None}),
        ("unset", {"unset": True}),
        ("resave", {"resave": "yes"}),
        ("resave", {"resave": None}),
        ("rolling", {"rolling": 1}),
        ("save_uninitialized", {"save_uninitialized": 0}),
        ("lazy", {"lazy": "no"}),
        ("hash_ids", {"hash_ids": None}),
        ("trust_proxy", {"trust_proxy": "yes"}),
        ("on_store_error", {"on_store_error": "ignore"}),
        ("store_error_page", {"store_error_page": b"bytes"}),
        ("exclusive", {"exclusive": True}),
        ("exclude", {"exclude": "/static"}),
        ("exclude", {"exclude": ("static",)}),
        ("profile", {"profile": "express"}),
        ("codec", {"codec": object()}),
        ("key", {"key": "session"}),
        ("sekret", {"sekret": SECRET}),
        ("name", {"name": ""}),
        ("name", {"name": "a b"}),
        ("name", {"name": "s=d"}),
        ("name", {"name": "sid;"}),
        ("name", {"name": "sïd"}),
        ("name", {"name": 5}),
        ("name", {"name": "__Host-sid"}),
        ("name", {"name": "__Host-sid", "cookie": Cookie(secure=True, path="/app")}),
        ("name", {"name": "__host-sid", "cookie": Cookie(secure=True, domain="example.com")}),
        ("name", {"name": "__Secure-sid", "cookie": Cookie(secure=False)}),
        ("cookie", {"cookie": {"path": "/"}}),
        ("cookie", {"cookie": None}),
        ("idle_timeout", {"idle_timeout": 0}),
        ("idle_timeout", {"idle_timeout": -1}),
        ("idle_timeout", {"idle_timeout": "3600"}),
        ("idle_timeout", {"idle_timeout": True}),
        ("idle_timeout", {"idle_timeout": float("nan")}),
        ("idle_timeout", {"idle_timeout": float("inf")}),
        ("idle_timeout", {"idle_timeout": timedelta(days=31)}),
        ("absolute_timeout", {"absolute_timeout": 0}),
        ("absolute_timeout", {"absolute_timeout": timedelta(days=-1)}),
        ("touch_after", {"touch_after": -1}),
        ("touch_after", {"touch_after": "always"}),
        ("cookie.max_age", {"cookie": Cookie(max_age=timedelta(days=31))}),
        ("cookie.max_age", {"cookie": Cookie(max_age=7200), "absolute_timeout": 3600}),
        ("store", {"store": "mysql://db"}),
        ("store", {"store": object()}),
        ("store", {"store": 5}),
    ],
)
def test_a_wrong_option_is_refused_at_construction_and_named(
    middleware: Any, option: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        middleware(app, **{"secret": SECRET, "store": "memory://", **options})
    assert caught.value.option == option
    assert caught.value.remedy and SECRET not in str(caught.value)


# contract 6
@MIDDLEWARES
def test_no_secret_at_all_is_refused_at_construction(middleware: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        middleware(app, store="memory://")


# contract 116, 100, 125, 126, 138
@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("cookie.samesite", {"samesite": "none"}),
        ("cookie.samesite", {"samesite": "none", "secure": False}),
        ("cookie.samesite", {"samesite": "auto", "secure": False}),
        ("cookie.samesite", {"samesite": "Lax"}),
        ("cookie.secure", {"secure": "yes"}),
        ("cookie.httponly", {"httponly": 1}),
        ("cookie.partitioned", {"partitioned": 0}),
        ("cookie.secure", {"secure": 1}),
        ("cookie.samesite", {"samesite": 0}),
        ("cookie.partitioned", {"partitioned": "yes"}),
        ("cookie.priority", {"priority": "urgent"}),
        ("cookie.path", {"path": "app"}),
        ("cookie.path", {"path": ""}),
        ("cookie.path", {"path": "/a;b"}),
        ("cookie.path", {"path": "/a\r\nSet-Cookie: x=y"}),
        ("cookie.domain", {"domain": "a b"}),
        ("cookie.domain", {"domain": "example.com; Path=/x"}),
        ("cookie.domain", {"domain": ""}),
        ("cookie.max_age", {"max_age": "3600"}),
        ("cookie.max_age", {"max_age": True}),
        ("cookie.max_age", {"max_age": datetime(2030, 1, 1, tzinfo=UTC)}),
        ("cookie.max_age", {"max_age": lambda: 5}),
        ("cookie.max_age", {"max_age": -1}),
        ("cookie.expires", {"expires": datetime(2030, 1, 1)}),  # noqa: DTZ001 - it is refused for that
        ("cookie.expires", {"expires": "tomorrow"}),
        ("cookie.expires", {"expires": datetime(2030, 1, 1, tzinfo=UTC), "max_age": 5}),
    ],
)
def test_a_wrong_told_attribute_is_refused_at_construction_and_named(option: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cookie(**options)
    assert caught.value.option == option


# contract 121, 122
@pytest.mark.parametrize("given", [5, "x", True, {"path": "/"}])
def test_a_cookie_is_made_of_keywords_alone(given: Any) -> None:
    with pytest.raises(TypeError):
        Cookie(given)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Cookie(data=given)  # type: ignore[call-arg]


@MIDDLEWARES
def test_a_store_of_the_wrong_colour_is_refused(middleware: Any) -> None:
    wrong = MemoryStore() if middleware is asgi.SessionMiddleware else AsyncMemoryStore()
    with pytest.raises(ConfigurationError, match="sync"):
        middleware(app, secret=SECRET, store=wrong)


# contract 7
def test_a_secret_that_the_request_brings_is_not_used(make: Make) -> None:
    world = make(secret=OLD_SECRET)
    client = world.plant({"n": 1}).holding("planted", secret=SECRET)
    answer = client.get(lambda ctx: dict(ctx.session), extra={"sojourn.secret": SECRET, "tests.secret": SECRET})
    assert answer.seen == {} and answer.ops == []


# contract 8
@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), [SECRET], (SECRET.encode(),)])
def test_a_secret_is_a_string_or_bytes_or_a_list_of_one(make: Make, secret: Any) -> None:
    world = make(secret=secret)
    session_id = world.get(lambda ctx: ctx.session.update(n=1)).id
    assert world.client.jar[world.name].value == sign(session_id, world.profile, SECRET)
    assert world.get(lambda ctx: dict(ctx.session)).seen == {"n": 1}


# contract 5
def test_a_short_secret_is_warned_about() -> None:
    with pytest.warns(SojournWarning, match="32 bytes"):
        wsgi.SessionMiddleware(app, secret="short", store="memory://")


# contract 9, 12, 13
def test_resave_and_save_uninitialized_are_off_unless_given(make: Make) -> None:
    world = make(touch_after=3600)
    assert world.get(lambda ctx: dict(ctx.session)).ops == []
    client = world.session()
    assert client.get(lambda ctx: dict(ctx.session)).writes == []


# contract 11
@pytest.mark.parametrize(("scheme", "native"), [("http", "sid"), ("https", "__Host-sid")])
def test_the_cookie_has_its_default_name(make: Make, scheme: str, native: str) -> None:
    world = make()
    name = native if world.profile == "native" else "connect.sid"
    assert world.get(lambda ctx: ctx.session.update(n=1), scheme=scheme).the_cookie.name == name


# contract 10, 11
@pytest.mark.parametrize(("scheme", "prefix"), [("http", ""), ("https", "__Host-")])
def test_the_cookie_has_the_name_that_is_given(make: Make, scheme: str, prefix: str) -> None:
    world = make(name="session_id")
    wanted = (prefix if world.profile == "native" else "") + "session_id"
    assert world.get(lambda ctx: ctx.session.update(n=1), scheme=scheme).the_cookie.name == wanted
    assert world.get(lambda ctx: dict(ctx.session), scheme=scheme).seen == {"n": 1}


# contract 14
def test_rolling_is_off_and_unset_depends_on_the_profile(make: Make) -> None:
    world = make(touch_after=3600)
    client = world.session()
    session_id = next(iter(world.seen_ids))
    assert client.get(lambda ctx: dict(ctx.session)).cookie is None

    def unset(ctx: Any) -> None:
        ctx.session = None

    answer = client.get(unset)
    assert answer.writes == (["delete"] if world.profile == "native" else [])
    assert (world.record(session_id) is None) == (world.profile == "native")


# contract 15
def test_two_middlewares_on_one_store_keep_their_own_cookie_options(make: Make) -> None:
    one = make(cookie=Cookie(max_age=100, secure=False))
    other = make(clock=one.clock, store=one.store, cookie=Cookie(max_age=200, secure=False))
    first = one.get(lambda ctx: ctx.session.update(n=1))
    second = other.get(lambda ctx: ctx.session.update(n=1))
    third = Client(one).get(lambda ctx: ctx.session.update(n=1))
    ages = [answer.the_cookie.expires for answer in (first, second, third)]
    assert ages == [one.clock() + 100_000, one.clock() + 200_000, one.clock() + 100_000]


# contract 12, 13, 14
def test_version_2_of_the_express_profile_unsets_by_destroying() -> None:
    assert express(secret=SECRET)["unset"] == express(version=1, secret=SECRET)["unset"] == "keep"
    assert express(version=2, secret=SECRET) == {**express(secret=SECRET, unset="destroy"), "codec": ANY}
    assert express(version=2, secret=SECRET, unset="keep")["unset"] == "keep"


@pytest.mark.parametrize("version", [0, 3, "2", 2.0, True, None])
def test_another_version_of_the_express_profile_is_refused(version: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        express(version=version, secret=SECRET)
    assert caught.value.option == "version"


def test_the_express_profile_is_a_set_of_options_that_any_given_one_replaces() -> None:
    given = express(secret=SECRET, unset="destroy", name="other.sid")
    assert given["unset"] == "destroy" and given["name"] == "other.sid" and given["hash_ids"] is False
