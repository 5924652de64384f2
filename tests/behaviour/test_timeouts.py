"""Idle and absolute timeout: one truth about expiry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn import Cookie
from tests.behaviour.harness import DAY, HOUR, MINUTE, Make, put, read


@pytest.mark.parametrize(
    ("timeout", "ms"),
    [
        (0.25, 250),
        (0.001, 1),
        (1.5, 1500),
        (timedelta(milliseconds=40), 40),
        (90, 90_000),
        (timedelta(days=14), 14 * DAY),
    ],
)
def test_a_session_lives_to_the_millisecond(make: Make, timeout: Any, ms: int) -> None:
    world = make(idle_timeout=timeout, touch_after=timeout)
    client = world.session(n=1)
    world.clock.advance(ms - 1)
    assert client.copy().get(lambda ctx: len(ctx.session)).seen == 1
    world.clock.advance(1)
    answer = client.get(read)
    assert (answer.seen == {}) or ms == 1


@pytest.mark.parametrize("act", [read, put(n=2), lambda ctx: ctx.session.touch(), lambda ctx: None])
@pytest.mark.parametrize("options", [{}, {"rolling": True}, {"resave": True}])
def test_nothing_keeps_a_session_beyond_the_absolute_timeout(make: Make, act: Any, options: dict[str, Any]) -> None:
    world = make(idle_timeout=3600, absolute_timeout=7200, touch_after=0, **options)
    client = world.session(n=1)
    session_id = next(iter(world.seen_ids))
    for minutes in range(30, 120, 30):
        world.clock.advance(30 * MINUTE)
        client.get(act)
        assert world.ttl(session_id) == min(HOUR, 2 * HOUR - minutes * MINUTE)
    world.clock.advance(30 * MINUTE - 1)
    assert client.copy().get(lambda ctx: ctx.session.is_new).seen is False
    world.clock.advance(1)
    assert client.copy().get(lambda ctx: ctx.session.is_new).seen is True


def test_the_absolute_timeout_is_thirty_days_but_not_in_the_express_profile(make: Make) -> None:
    world = make(idle_timeout=timedelta(days=20))
    client = world.session(n=1)
    world.clock.advance(19 * DAY)
    client.get(lambda ctx: ctx.session.touch())
    world.clock.advance(11 * DAY)
    assert client.get(lambda ctx: ctx.session.is_new).seen is (world.profile == "native")


def test_keeping_data_through_a_regenerate_does_not_extend_the_absolute_timeout(make: Make) -> None:
    world = make(idle_timeout=3600, absolute_timeout=7200)
    client = world.session(n=1)
    world.clock.advance(50 * MINUTE)
    client.get(read)
    world.clock.advance(50 * MINUTE)
    kept = client.get(lambda ctx: ctx.session.regenerate(keep_data=True)).id
    assert world.ttl(kept) == 20 * MINUTE
    anew = client.get(lambda ctx: (ctx.session.regenerate(), ctx.session.update(n=1))).id
    assert world.ttl(anew) == HOUR


def test_a_record_by_express_counts_from_when_it_was_first_seen_to_be_written(make: Make) -> None:
    world = make(absolute_timeout=7200, idle_timeout=3600)
    client = world.plant({"n": 1}, ttl=DAY)
    client.get(put(n=2))
    world.clock.advance(50 * MINUTE)
    client.get(put(n=3))
    world.clock.advance(50 * MINUTE)
    client.get(put(n=4))
    assert world.ttl("planted") == 20 * MINUTE


@pytest.mark.parametrize("minutes", [0, 1, 10, 59])
def test_a_changed_session_counts_its_idle_time_from_the_change(make: Make, minutes: int) -> None:
    world = make(idle_timeout=3600, touch_after=3600)
    client = world.session(n=0)
    session_id = next(iter(world.seen_ids))
    world.clock.advance(minutes * MINUTE)
    client.get(put(n=1))
    assert world.ttl(session_id) == HOUR


def test_the_browsers_cookie_can_be_shorter_lived_than_the_session(make: Make) -> None:
    world = make(cookie=Cookie(max_age=60, secure=False), idle_timeout=3600)
    answer = world.get(put(n=1))
    assert world.ttl(answer.id) == HOUR and answer.the_cookie.expires == world.clock() + MINUTE
    world.clock.advance(MINUTE)
    assert world.get(read).ops == [], "the browser has forgotten it"


@pytest.mark.parametrize("minutes", range(0, 121, 15))
def test_expires_at_tells_what_the_store_will_hold(make: Make, minutes: int) -> None:
    world = make(idle_timeout=3600, absolute_timeout=7200, touch_after=0)
    client = world.session(n=1)
    session_id = next(iter(world.seen_ids))
    for _ in range(minutes // 15):
        world.clock.advance(15 * MINUTE)
        client.get(read)
    if minutes < 120:
        seen = client.get(lambda ctx: ctx.session.expires_at.timestamp() * 1000).seen
        assert seen == world.clock() + (world.ttl(session_id) or 0)
    else:
        assert world.ttl(session_id) is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    idle=st.integers(1, 5000),
    absolute=st.none() | st.integers(1, 20_000),
    steps=st.lists(st.tuples(st.integers(0, 3000), st.sampled_from(["read", "put", "none"])), max_size=8),
)
def test_a_session_ends_at_idle_or_absolute_whichever_is_first(
    make: Make, idle: int, absolute: int | None, steps: list[tuple[int, str]]
) -> None:
    if absolute is not None:
        idle = min(idle, absolute)
    world = make(
        idle_timeout=idle / 1000, absolute_timeout=None if absolute is None else absolute / 1000, touch_after=0
    )
    client = world.session(n=-1)
    created = world.clock()
    deadline = created + idle if absolute is None else min(created + idle, created + absolute)
    for index, (pause, act) in enumerate(steps):
        world.clock.advance(pause)
        alive = world.clock() < deadline
        tab = client.copy()
        answer = tab.get({"read": read, "put": put(n=index), "none": lambda ctx: None}[act])
        assert (len(world.stored()) == 1) is (alive or act == "put")
        if not alive:
            assert answer.cookie is None or act == "put"
            break
        deadline = world.clock() + idle
        if absolute is not None:
            deadline = min(deadline, created + absolute)
        (found,) = [found for _, found in world.store.kept.scan()]
        assert found.expires_in == deadline - world.clock()
