"""Express contract, section 8: whether to save, touch or do nothing at the end."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn import Cookie
from tests.behaviour.harness import DAY, HOUR, MINUTE, Ctx, Make, put, read


def nothing(ctx: Ctx) -> None:
    pass


def touch(ctx: Ctx) -> None:
    ctx.session.touch()


def ask_id(ctx: Ctx) -> None:
    assert ctx.session.id


NEW: list[tuple[Any, dict[str, Any], list[str]]] = [
    # what the handler does, the options, the writes; a cookie goes with a create
    (nothing, {"save_uninitialized": True}, ["create"]),  # contract 73
    (read, {"save_uninitialized": True}, ["create"]),
    (put(n=1), {"save_uninitialized": True}, ["create"]),
    (nothing, {"save_uninitialized": True, "rolling": True}, ["create"]),  # contract 94
    (nothing, {"save_uninitialized": True, "resave": True}, ["create"]),
    (nothing, {}, []),  # contract 74
    (read, {}, []),
    (ask_id, {}, []),
    (touch, {}, []),
    (nothing, {"resave": True}, []),
    (nothing, {"rolling": True}, []),  # contract 93
    (read, {"rolling": True, "resave": True, "touch_after": 0}, []),
    (put(n=1), {}, ["create"]),  # contract 75
    (put(n=1), {"rolling": True}, ["create"]),  # contract 95
    (put(n=1), {"resave": True}, ["create"]),
]


# contract 73, 74, 75, 86, 89, 93, 94, 95
@pytest.mark.parametrize(("act", "options", "writes"), NEW)
@pytest.mark.parametrize("dead_cookie", [False, True])
def test_what_becomes_of_a_new_session(
    make: Make, act: Any, options: dict[str, Any], writes: list[str], *, dead_cookie: bool
) -> None:
    world = make(**options)
    client = world.client.holding("dead") if dead_cookie else world.client
    answer = client.get(act)
    assert answer.writes == writes
    assert (answer.cookie is not None) is bool(writes)
    assert len(world.stored()) == len(writes)


STORED: list[tuple[Any, dict[str, Any], list[str], list[str]]] = [
    # what the handler does, the options, the writes in our profile and in Express's
    (nothing, {}, [], ["touch"]),
    (read, {}, [], ["touch"]),  # contract 77
    (put(n=1), {}, [], ["touch"]),
    (put(n=2), {}, ["replace"], ["replace"]),  # contract 78, 81
    (touch, {}, ["touch"], ["touch"]),
    (nothing, {"resave": True}, ["replace"], ["replace"]),  # contract 76
    (read, {"resave": True}, ["replace"], ["replace"]),
    (put(n=2), {"resave": True}, ["replace"], ["replace"]),
    (touch, {"resave": True}, ["replace"], ["replace"]),
    (nothing, {"rolling": True}, [], ["touch"]),  # contract 97
    (read, {"touch_after": 0}, ["touch"], ["touch"]),
    (read, {"touch_after": 3600}, [], []),
    (put(n=2), {"touch_after": 0}, ["replace"], ["replace"]),
    (nothing, {"save_uninitialized": True}, [], ["touch"]),
]


# contract 76, 77, 78, 81, 86, 97
@pytest.mark.parametrize(("act", "options", "ours", "express"), STORED)
def test_what_becomes_of_a_stored_session(
    make: Make, act: Any, options: dict[str, Any], ours: list[str], express: list[str]
) -> None:
    world = make(**options)
    client = world.session(n=1)
    session_id = next(iter(world.seen_ids))
    answer = client.get(act)
    assert answer.writes == (ours if world.profile == "native" else express)
    assert answer.ops.count("load") == 1
    assert (answer.cookie is not None) is bool(options.get("rolling"))
    assert list(world.stored()) == [world.key(session_id)]


# contract 78
def test_a_session_changed_in_every_request_is_saved_in_every_request(make: Make) -> None:
    world = make()
    client = world.session(n=0)
    for n in range(1, 5):
        assert client.get(put(n=n)).ops == ["load", "replace"]
        assert [record["n"] for record in world.stored().values()] == [n]


# contract 79
def test_resave_moves_the_expiry_under_the_same_id(make: Make) -> None:
    world = make(resave=True, idle_timeout=3600)
    session_id = world.get(put(n=1)).id
    world.clock.advance(30 * MINUTE)
    assert world.ttl(session_id) == 30 * MINUTE
    assert world.get(nothing).writes == ["replace"]
    assert world.ttl(session_id) == HOUR


# contract 80, 77
def test_reading_extends_the_expiry(make: Make) -> None:
    world = make(idle_timeout=3600)
    session_id = world.get(put(n=1)).id
    for _ in range(5):
        world.clock.advance(50 * MINUTE)
        assert world.get(read).writes == ["touch"]
        assert world.ttl(session_id) == HOUR


# contract 81
@pytest.mark.parametrize(
    ("options", "before", "due"),
    [
        ({"idle_timeout": 3600}, 3 * MINUTE - 1, 3 * MINUTE),  # a twentieth
        ({}, 72 * MINUTE - 1, 72 * MINUTE),
        ({"idle_timeout": 3600, "touch_after": 600}, 10 * MINUTE - 1, 10 * MINUTE),
        ({"idle_timeout": 3600, "touch_after": 0.5}, 499, 500),
        ({"idle_timeout": 1, "absolute_timeout": 2}, 49, 50),
        ({"cookie": Cookie(max_age=3600)}, 3 * MINUTE - 1, 3 * MINUTE),
    ],
)
@pytest.mark.parametrize("act", [nothing, read])
def test_a_touch_is_throttled(native: Make, act: Any, options: dict[str, Any], before: int, due: int) -> None:
    world = native(**options)
    client = world.session()
    world.clock.advance(before)
    assert client.copy().get(act).writes == []
    world.clock.advance(due - before)
    assert client.copy().get(act).writes == ["touch"]
    assert client.copy().get(act).writes == []


# contract 81
def test_a_touch_is_not_made_where_the_absolute_timeout_leaves_nothing_to_gain(native: Make) -> None:
    world = native(idle_timeout=3600, absolute_timeout=3600)
    client = world.session()
    session_id = next(iter(world.seen_ids))
    world.clock.advance(30 * MINUTE)
    assert client.get(read).writes == []
    assert world.ttl(session_id) == 30 * MINUTE


def test_a_request_that_does_not_look_at_its_session_decodes_nothing(
    native: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = native()
    client = world.session()

    def no_decoding(*_args: Any, **_kwargs: Any) -> Any:
        raise AssertionError("decoded")

    codec = world.middleware.settings.codec
    monkeypatch.setattr(type(codec), "unseal", no_decoding)
    assert client.get(nothing).ops == ["load"]


# contract 82
def test_a_session_under_another_id_is_not_touched(make: Make) -> None:
    world = make(touch_after=0)
    client = world.session(n=1)
    answer = client.get(lambda ctx: (ctx.session.touch(), ctx.session.regenerate(keep_data=True)))
    assert answer.writes == ["regenerate"]


# contract 83, 84, 85
@pytest.mark.parametrize("act", [nothing, read, put(n=2), touch])
@pytest.mark.parametrize("ms", [0, 1, 499, 999])
def test_one_expiry_feeds_the_store_the_record_and_the_cookie(make: Make, act: Any, ms: int) -> None:
    world = make(cookie=Cookie(max_age=3600, secure=False), rolling=True, touch_after=0)
    world.clock.advance(ms)
    client = world.client
    session_id = client.get(put(n=1)).id
    for _ in range(3):
        world.clock.advance(MINUTE + 1)
        answer = client.get(act)
        deadline = world.clock() + HOUR
        assert world.ttl(session_id) == HOUR
        assert answer.the_cookie.expires == deadline // 1000 * 1000
        if world.profile == "native":
            assert answer.the_cookie["Max-Age"] == "3600"


# contract 84, 85
def test_an_explicit_save_and_its_cookie_agree_on_the_expiry(make: Make) -> None:
    world = make(cookie=Cookie(max_age=3600, secure=False))

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        await ctx.save()
        world.clock.advance(5 * MINUTE)

    answer = world.get(handle)
    ttl = world.ttl(answer.id)
    assert answer.writes[:1] == ["create"] and ttl is not None
    assert answer.the_cookie.expires == (world.clock() + ttl) // 1000 * 1000


# contract 83
def test_the_remaining_time_starts_anew_once_per_request(make: Make) -> None:
    world = make(cookie=Cookie(max_age=3600, secure=False), rolling=True)
    client = world.session()
    world.clock.advance(10 * MINUTE)
    answer = client.get(lambda ctx: (ctx.session.cookie.max_age, ctx.session.cookie.original_max_age))
    assert answer.seen == (3600, 3600)
    assert answer.the_cookie.expires == world.clock() + HOUR


# contract 87, 154, 155
@pytest.mark.parametrize("resave", [True, False])
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("then", ["nothing", "same", "change", "back"])
def test_after_an_explicit_save_the_end_compares_with_what_was_saved(
    make: Make, then: str, *, resave: bool, existing: bool
) -> None:
    world = make(resave=resave, touch_after=HOUR // 1000)
    client = world.session(n=1) if existing else world.client
    acts: dict[str, Any] = {"nothing": {}, "same": {"n": 2}, "change": {"n": 3}, "back": {"n": 1}}

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        await ctx.save()
        ctx.session.update(acts[then])

    answer = client.get(handle)
    first = "replace" if existing else "create"
    assert answer.writes == ([first, "replace"] if then in ("change", "back") else [first])
    assert [record["n"] for record in world.stored().values()] == [{"change": 3, "back": 1}.get(then, 2)]
    assert (answer.cookie is None) is existing


# contract 88
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("status", [200, 204, 206, 301, 302, 304, 400, 401, 404, 500, 503])
def test_every_status_and_method_saves(make: Make, method: str, status: int) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        ctx.status = status
        ctx.session["n"] = 1

    answer = world.get(handle, method=method)
    assert answer.status == status and world.data(answer.id) == {"n": 1}
    assert answer.timeline[:2] == ["create", "start"]
    assert answer.body == (b"" if method == "HEAD" or status in (204, 304) else b"ok")


class HandlerError(Exception):
    pass


# contract 88
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"resave": True, "save_uninitialized": True, "rolling": True, "touch_after": 0}]
)
def test_a_handler_that_raises_before_its_response_saves_nothing(
    make: Make, options: dict[str, Any], *, existing: bool
) -> None:
    world = make(**options)
    client = world.session(n=1) if existing else world.client
    before = world.stored()

    def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        raise HandlerError

    answer = client.get(handle, may_fail=True)
    assert isinstance(answer.error, HandlerError) and answer.writes == []
    assert world.stored() == before and answer.cookie is None


def test_the_default_lifetime_is_a_day(make: Make) -> None:
    world = make()
    assert world.ttl(world.get(put(n=1)).id) == DAY
