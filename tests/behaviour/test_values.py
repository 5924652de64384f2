"""Flash messages and increments."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sojourn import Flash, SessionEncodeError
from tests.behaviour.harness import Ctx, Make, read


def test_a_flash_is_there_on_the_next_request_and_then_gone(make: Make) -> None:
    world = make(touch_after=3600)
    client = world.client
    client.get(lambda ctx: (ctx.session.flash("saved"), ctx.session.flash("careful", "warning")))
    answer = client.get(lambda ctx: ctx.session.flashes())
    assert answer.seen == [Flash("info", "saved"), Flash("warning", "careful")]
    assert answer.seen[0].category == "info" and answer.seen[0].message == "saved"
    again = client.get(lambda ctx: ctx.session.flashes())
    assert again.seen == [] and again.writes == [] and client.get(read).seen == {}


def test_a_flash_can_be_taken_in_the_same_request(make: Make) -> None:
    world = make()
    answer = world.get(lambda ctx: (ctx.session.flash("x"), ctx.session.flashes()))
    assert answer.seen[1] == [Flash("info", "x")] and answer.ops == [], "nothing is left to be stored"


def test_flashes_of_one_category_leave_the_others(make: Make) -> None:
    world = make()
    client = world.client
    client.get(lambda ctx: [ctx.session.flash(str(n), "odd" if n % 2 else "even") for n in range(4)])
    assert client.get(lambda ctx: ctx.session.flashes("odd")).seen == [Flash("odd", "1"), Flash("odd", "3")]
    assert client.get(lambda ctx: ctx.session.flashes("none")).seen == []
    assert client.get(lambda ctx: ctx.session.flashes()).seen == [Flash("even", "0"), Flash("even", "2")]


def test_looking_for_flashes_where_there_are_none_is_no_change(make: Make) -> None:
    world = make(touch_after=3600)
    assert world.get(lambda ctx: ctx.session.flashes()).ops == []
    assert world.session(n=1).get(lambda ctx: ctx.session.flashes()).writes == []


def test_flashes_of_parallel_requests_are_all_kept(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session.flash("mine")
        await client.copy().ask(lambda inner: inner.session.flash("theirs"))

    client.get(lambda ctx: ctx.session.flash("first"))
    client.get(handle)
    assert [flash.message for flash in client.get(lambda ctx: ctx.session.flashes()).seen] == [
        "first",
        "theirs",
        "mine",
    ]


def test_first_flashes_of_parallel_requests_are_all_kept(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session.flash("mine")
        await client.copy().ask(lambda inner: inner.session.flash("theirs"))

    client.get(handle)
    assert {flash.message for flash in client.get(lambda ctx: ctx.session.flashes()).seen} == {"mine", "theirs"}


@pytest.mark.parametrize(
    ("before", "by", "after"),
    [
        (None, None, 1),
        (1, None, 2),
        (1, 5, 6),
        (5, -7, -2),
        (1, 0, 1),
        (1, 0.5, 1.5),
        (1.5, 1, 2.5),
        (2**53 - 2, 1, 2**53 - 1),
    ],
)
def test_increment_adds_and_answers_the_sum(make: Make, before: Any, by: Any, after: Any) -> None:
    world = make(touch_after=3600)
    client = world.session(other=1, **({} if before is None else {"n": before}))
    answer = client.get(lambda ctx: ctx.session.increment("n", *([] if by is None else [by])))
    assert answer.seen == after and answer.writes == ([] if by == 0 else ["replace"])
    assert client.get(read).seen == {"other": 1, "n": after}


@pytest.mark.parametrize("value", ["1", None, True, [1], {"n": 1}])
def test_only_a_number_can_be_incremented(make: Make, value: Any) -> None:
    world = make(touch_after=3600)
    client = world.session(n=value)

    def handle(ctx: Ctx) -> None:
        with pytest.raises(TypeError, match="'n'"):
            ctx.session.increment("n")

    assert client.get(handle).writes == []


def test_an_increment_to_infinity_is_refused_at_the_commit(make: Make) -> None:
    world = make()
    answer = world.get(lambda ctx: ctx.session.increment("n", math.inf), may_fail=True)
    assert isinstance(answer.error, SessionEncodeError)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_no_concurrent_increment_is_lost(make: Make, depth: int) -> None:
    world = make()
    client = world.session(n=0)

    async def handle(ctx: Ctx, left: int = depth) -> None:
        ctx.session.increment("n")
        if left:
            await client.copy().ask(lambda inner: handle(inner, left - 1))

    client.get(handle)
    assert client.get(read).seen == {"n": depth + 1}


def test_an_assignment_after_an_increment_is_an_assignment(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session.increment("n", 5)
        ctx.session["n"] = 100
        await client.copy().ask(lambda inner: inner.session.increment("n", 7))

    client.get(handle)
    assert client.get(read).seen == {"n": 100}


def test_an_increment_counts_once_through_save_and_end(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session.increment("n")
        await ctx.save()
        await client.copy().ask(lambda inner: inner.session.increment("n", 10))
        ctx.session["m"] = 1

    client.get(handle)
    assert client.get(read).seen == {"n": 12, "m": 1}


def test_an_increment_after_a_save_counts_on_top(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session.increment("n")
        await ctx.save()
        ctx.session.increment("n")
        await client.copy().ask(lambda inner: inner.session.increment("n", 10))

    client.get(handle)
    assert client.get(read).seen == {"n": 13}
