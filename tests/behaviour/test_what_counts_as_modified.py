"""Express contract, section 7: what counts as "modified"."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from sojourn import PlainCodec, SessionEncodeError
from tests.behaviour.harness import Ctx, Make, put, read

BEGUN: dict[str, Any] = {"a": 1, "b": {"x": [1, {"y": 2}], "cookie": 1}, "c": [1, 2], "t": "x", "n": None}


def swap(session: Any) -> None:
    session["a"] = session.pop("a")


def change_and_back(session: Any) -> None:
    session["a"] = 2
    session["a"] = 1


# contract 64, 65, 66, 67, 68, 69
@pytest.mark.parametrize(
    ("act", "changed"),
    [
        (lambda s: None, False),
        (dict, False),
        (lambda s: s.get("b"), False),
        (lambda s: s["b"]["x"][1]["y"], False),
        (lambda s: s.update(a=1), False),  # contract 67
        (lambda s: s.update(b={"x": [1, {"y": 2}], "cookie": 1}), False),
        (change_and_back, False),
        (lambda s: s.setdefault("a", 5), False),
        (lambda s: (s["c"].append(3), s["c"].pop()), False),
        (lambda s: s.update(a=2), True),
        (lambda s: s.update(new=1), True),
        (lambda s: s.update(new=None), True),  # contract 69: None is a value
        (lambda s: s.pop("a"), True),
        (lambda s: [s.pop(key) for key in list(s)], True),
        (lambda s: s["c"].append(3), True),  # contract 66
        (lambda s: s["b"]["x"][1].update(y=3), True),
        (lambda s: s["b"]["x"].clear(), True),
        (lambda s: s["b"].update(cookie=2), True),  # contract 65
        (lambda s: s.update(a=1.0), True),
        (lambda s: s.update(a=True), True),
        (lambda s: s.update(a="1"), True),
        (swap, True),  # contract 68
    ],
)
def test_what_is_a_change(make: Make, act: Any, *, changed: bool) -> None:
    world = make(touch_after=3600)
    client = world.session(**BEGUN)

    def handle(ctx: Ctx) -> None:
        act(ctx.session)

    answer = client.get(handle)
    assert answer.writes == (["replace"] if changed else [])
    assert answer.cookie is None


# contract 64
def test_another_id_is_a_change(make: Make) -> None:
    world = make()
    client = world.session(n=1)
    answer = client.get(lambda ctx: ctx.session.regenerate(keep_data=True))
    assert answer.writes == ["regenerate"] and world.data(answer.id) == {"n": 1}


# contract 65
def test_the_records_own_parts_are_no_data(make: Make) -> None:
    world = make()
    client = world.session(n=1)
    assert client.get(lambda ctx: ("cookie" in ctx.session, "__sojourn__" in ctx.session)).seen == (False, False)


# contract 70
@pytest.mark.parametrize(
    ("name", "value", "attribute"),
    [("max_age", 600, "Expires"), ("path", "/", None), ("httponly", False, None), ("samesite", "strict", "SameSite")],
)
def test_a_change_of_the_cookie_alone_is_a_change(make: Make, name: str, value: Any, attribute: str | None) -> None:
    world = make(touch_after=3600)
    client = world.session(n=1)
    answer = client.get(lambda ctx: setattr(ctx.session.cookie, name, value))
    unchanged = (name, value) == ("path", "/")
    assert answer.writes == ([] if unchanged else ["replace"])
    if unchanged:
        assert answer.cookie is None
    else:
        assert answer.the_cookie["HttpOnly"] is (None if name == "httponly" else True)
        assert attribute is None or answer.the_cookie[attribute]
    again = client.get(lambda ctx: getattr(ctx.session.cookie, name))
    assert again.seen == value and again.writes == []


# contract 70
def test_a_cookie_set_to_what_it_is_is_no_change(make: Make) -> None:
    world = make(touch_after=3600)
    client = world.session(n=1)

    def same(ctx: Ctx) -> None:
        cookie = ctx.session.cookie
        cookie.httponly = cookie.httponly
        cookie.samesite = cookie.samesite
        cookie.max_age = 5
        cookie.max_age = None

    assert client.get(same).writes == []


class Colour(StrEnum):
    RED = "red"


def cyclic() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


# contract 71, 72
@pytest.mark.parametrize(
    ("value", "path"),
    [
        (object(), "it"),
        (lambda: None, "it"),  # contract 69
        ({"x": [1, object()]}, "it.x[1]"),
        ({"two words": object()}, "it['two words']"),
        ({1: 2}, "it"),
        (math.nan, "it"),
        ([math.inf], "it[0]"),
        (1 + 2j, "it"),
        (Colour.RED, "it"),
        (cyclic(), "it"),
        (bytearray(b"x"), "it"),
    ],
)
def test_a_value_that_cannot_be_stored_is_an_error_before_headers_leave(make: Make, value: Any, path: str) -> None:
    world = make()
    client = world.session(n=1)
    answer = client.get(put(it=value), may_fail=True)
    assert isinstance(answer.error, SessionEncodeError) and isinstance(answer.error, TypeError)
    assert answer.error.path.startswith(path) and path in str(answer.error)
    assert answer.status == 500 and "start" not in answer.timeline and answer.writes == []
    assert client.get(read).seen == {"n": 1}


# contract 71
def test_after_such_an_error_the_app_can_still_answer_its_own_error_page(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session["it"] = object()
        if world.adapter == "asgi":
            with pytest.raises(SessionEncodeError):
                await ctx.start()
            ctx.started, ctx.status, ctx.body = False, 500, b"our own page"

    answer = client.get(handle, may_fail=True)
    if world.adapter == "asgi":
        assert answer.error is None and (answer.status, answer.body) == (500, b"our own page")
    assert answer.status == 500 and answer.writes == []


NATIVE_VALUES = [
    datetime(2026, 11, 21, 4, 32, 17, 370_001),  # noqa: DTZ001 - naive ones are values too
    datetime(2026, 11, 21, 4, 32, 17, tzinfo=UTC),
    date(2026, 11, 21),
    time(4, 32, 17),
    timedelta(days=-1, microseconds=5),
    UUID(int=5),
    b"\x00\xff",
    Decimal("1.10"),
    {1, 2},
    frozenset({"x"}),
    (1, (2, "x"), [3]),
    2**80,
    -(2**63) - 1,
    {"$tuple": [1]},
    {"$dict": {"$x": 1}},
]


# contract 72
@pytest.mark.parametrize("value", NATIVE_VALUES)
def test_python_types_survive(native: Make, value: Any) -> None:
    world = native(touch_after=3600)
    client = world.session(it=value, nested=[{"x": value}])
    answer = client.get(read)
    assert answer.seen == {"it": value, "nested": [{"x": value}]} and type(answer.seen["it"]) is type(value)
    assert answer.writes == []
    assert client.get(put(it=value)).writes == []


# contract 72
@pytest.mark.parametrize("value", [v for v in NATIVE_VALUES if not isinstance(v, dict)])
def test_the_express_profile_refuses_what_express_could_not_read(expressive: Make, value: Any) -> None:
    world = expressive()
    answer = world.get(put(it=value), may_fail=True)
    assert isinstance(answer.error, SessionEncodeError) and answer.error.path == "it" and world.stored() == {}


# contract 72
def test_the_express_profile_can_write_dates_as_express_does(expressive: Make) -> None:
    world = expressive(codec=PlainCodec(dates_as_iso=True))
    session_id = world.get(put(it=datetime(2026, 11, 21, 4, 32, 17, 370_999, tzinfo=UTC))).id
    assert world.data(session_id) == {"it": "2026-11-21T04:32:17.370Z"}
