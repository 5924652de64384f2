"""When the commit happens, what is late, and what a failing handler or store leaves behind."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sojourn import SessionDestroyed, SessionLate, StoreUnavailable
from tests.behaviour.harness import Ctx, Make, put, read


class HandlerError(Exception):
    pass


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def put_late(ctx: Ctx) -> None:
    ctx.session["n"] = 2


def nested_late(ctx: Ctx) -> None:
    ctx.session["cart"].append(2)


LATE: list[tuple[str, Any, list[str], bool]] = [
    # what is done late to a stored session, the writes, whether the log has an error
    ("nothing", lambda ctx: None, [], False),
    ("read", read, [], False),
    ("change", put_late, ["replace"], False),
    ("nested change", nested_late, ["replace"], False),
    ("increment", lambda ctx: ctx.session.increment("n"), ["replace"], False),
    ("same", put(n=1), [], False),
    ("touch", lambda ctx: ctx.session.touch(), ["touch"], False),
    ("destroy", lambda ctx: ctx.session.destroy(), ["delete"], False),
    ("logout", lambda ctx: ctx.session.logout(), ["delete"], False),
    ("regenerate", lambda ctx: ctx.session.regenerate(), [], True),
    ("keep", lambda ctx: ctx.session.regenerate(keep_data=True), [], True),
    ("login", lambda ctx: ctx.session.login("ann"), [], True),
    ("regenerate and destroy", lambda ctx: (ctx.session.regenerate(), ctx.session.destroy()), ["delete"], False),
    ("cookie", lambda ctx: setattr(ctx.session.cookie, "max_age", 600), ["replace"], False),
]


# contract 98
@pytest.mark.parametrize(("name", "act", "writes", "error"), LATE, ids=[row[0] for row in LATE])
def test_what_becomes_of_a_late_act_on_a_stored_session(
    native: Make, caplog: pytest.LogCaptureFixture, name: str, act: Any, writes: list[str], *, error: bool
) -> None:
    world = native()
    client = world.session(n=1, cart=[1])
    before = world.stored()

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        act(ctx)
        await ctx.write(b"y")

    answer = client.get(handle)
    assert answer.status == 200 and answer.body == b"xy" and answer.cookie is None
    assert answer.writes == writes
    assert answer.timeline[-len(writes) :] == writes or not writes, "at the end, once"
    assert bool(errors(caplog)) is error
    if error:
        assert world.stored() == before
    if writes == ["delete"]:
        assert world.stored() == {}


NEW_LATE: list[tuple[Any, bool]] = [
    (read, False),
    (lambda ctx: ctx.session.id, False),
    (put(n=1), True),
    (lambda ctx: ctx.session.login("ann"), True),
    (lambda ctx: ctx.session.destroy(), False),
    (lambda ctx: (ctx.session.update(n=1), ctx.session.destroy()), False),
]


# contract 98
@pytest.mark.parametrize(("act", "error"), NEW_LATE)
def test_what_becomes_of_a_late_act_on_a_new_session(
    make: Make, caplog: pytest.LogCaptureFixture, act: Any, *, error: bool
) -> None:
    world = make()

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        act(ctx)

    answer = world.get(handle)
    assert answer.ops == [] and answer.cookie is None and world.stored() == {}
    assert bool(errors(caplog)) is error


def test_both_the_early_and_the_late_change_are_saved(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        await ctx.write(b"x")
        ctx.session["n"] = 3

    answer = client.get(handle)
    assert answer.timeline == ["load", "replace", "start", "body", "replace"]
    assert client.get(read).seen == {"n": 3}


def test_a_session_created_with_the_response_can_be_changed_late(make: Make) -> None:
    world = make()

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        await ctx.write(b"x")
        ctx.session["n"] = 2

    answer = world.get(handle)
    assert answer.writes == ["create", "replace"] and world.data(answer.id) == {"n": 2}


def test_a_session_regenerated_with_the_response_can_be_changed_late(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session.regenerate(keep_data=True)
        await ctx.write(b"x")
        ctx.session["n"] = 2

    answer = client.get(handle)
    assert answer.writes == ["regenerate", "replace"] and world.data(answer.id) == {"n": 2}


def test_a_session_destroyed_with_the_response_stays_destroyed(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session.destroy()
        await ctx.write(b"x")
        with pytest.raises(SessionDestroyed):
            ctx.session["n"] = 2

    answer = client.get(handle)
    assert answer.writes == ["delete"] and world.stored() == {}


def test_a_late_change_that_cannot_be_stored_is_an_error_in_the_log(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        ctx.session["n"] = object()

    answer = client.get(handle)
    assert answer.status == 200 and answer.body == b"x" and client.get(read).seen == {"n": 1}
    assert len(errors(caplog)) == 1 and "lost" in errors(caplog)[0]


@pytest.mark.parametrize("act", [put_late, lambda ctx: ctx.session.destroy()])
@pytest.mark.parametrize("on_store_error", ["fail", "anonymous"])
def test_a_late_write_that_fails_is_an_error_in_the_log(
    make: Make, caplog: pytest.LogCaptureFixture, act: Any, on_store_error: Any
) -> None:
    world = make(on_store_error=on_store_error)
    client = world.session(n=1)
    world.store.fail("replace", "delete")

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        act(ctx)

    answer = client.get(handle)
    assert answer.status == 200 and answer.body == b"x" and errors(caplog)
    world.store.failing = {}
    assert client.get(read).seen == {"n": 1}


def test_a_late_change_merges_with_what_others_saved_meanwhile(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        ctx.session["mine"] = 1
        await client.copy().ask(put(theirs=1))

    client.get(handle)
    assert client.get(read).seen == {"n": 1, "theirs": 1, "mine": 1}


# -- explicit saves after the headers ---------------------------------------------------------------------------------------


def test_a_late_explicit_save_of_a_stored_session_works_and_is_not_repeated(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> Any:
        await ctx.write(b"x")
        ctx.session["n"] = 2
        await ctx.save()
        saved = next(iter(world.stored().values()))["n"]
        await ctx.write(b"y")
        return saved

    answer = client.get(handle)
    assert answer.seen == 2 and answer.writes.count("replace") == 1 and answer.timeline[-1] == "body"


@pytest.mark.parametrize("act", [put(n=1), lambda ctx: ctx.session.login("ann")])
@pytest.mark.parametrize("existing", [True, False])
def test_a_late_explicit_save_that_would_need_a_cookie_is_session_late(make: Make, act: Any, *, existing: bool) -> None:
    world = make()
    client = world.session(n=1) if existing else world.client
    before = world.stored()
    regenerated = act.__name__ == "<lambda>"

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        act(ctx)
        if existing and not regenerated:
            await ctx.save()
        else:
            with pytest.raises(SessionLate):
                await ctx.save()

    answer = client.get(handle)
    assert answer.status == 200 and answer.cookie is None and world.stored() == before


def test_a_late_save_after_destroy_carries_it_out_at_once(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> Any:
        await ctx.write(b"x")
        ctx.session.destroy()
        await ctx.save()
        return world.stored()

    answer = client.get(handle)
    assert answer.seen == {} and answer.writes.count("delete") == 1


# -- handlers that raise ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize(
    ("act", "writes"),
    [
        (put(n=2), []),
        (lambda ctx: ctx.session.regenerate(), []),
        (lambda ctx: ctx.session.login("ann"), []),
        (lambda ctx: ctx.session.touch(), []),
        (lambda ctx: ctx.session.destroy(), ["delete"]),
        (lambda ctx: (ctx.session.regenerate(), ctx.session.destroy()), ["delete"]),
    ],
)
def test_a_handler_that_raises_saves_nothing_but_carries_out_a_destroy(
    make: Make, act: Any, writes: list[str], *, existing: bool
) -> None:
    world = make()
    client = world.session(n=1) if existing else world.client
    before = world.stored()

    def handle(ctx: Ctx) -> None:
        act(ctx)
        raise HandlerError

    answer = client.get(handle, may_fail=True)
    assert isinstance(answer.error, HandlerError)
    assert answer.writes == (writes if existing else [])
    assert world.stored() == ({} if existing and writes else before)


def test_a_raising_handlers_own_error_is_raised_also_when_the_destroy_fails(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    client = world.session(n=1)
    world.store.fail("delete")

    def handle(ctx: Ctx) -> None:
        ctx.session.destroy()
        raise HandlerError

    answer = client.get(handle, may_fail=True)
    assert isinstance(answer.error, HandlerError)
    assert [line for line in errors(caplog) if "not ended" in line] and "headers had left" not in caplog.text


@pytest.mark.parametrize(("act", "left"), [(put_late, {"n": 1}), (lambda ctx: ctx.session.destroy(), None)])
def test_a_handler_that_raises_amid_its_response_saves_nothing_late_but_carries_out_a_destroy(
    make: Make, act: Any, left: Any
) -> None:
    world = make()
    client = world.session(n=1)
    session_id = next(iter(world.seen_ids))

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        act(ctx)
        raise HandlerError

    answer = client.get(handle, may_fail=True)
    assert isinstance(answer.error, HandlerError) and answer.body == b"x"
    assert world.data(session_id) == left


def test_an_explicit_save_stands_when_the_handler_raises(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        await ctx.save()
        ctx.session["n"] = 3
        raise HandlerError

    client.get(handle, may_fail=True)
    assert client.get(read).seen == {"n": 2}


# -- clients that leave -----------------------------------------------------------------------------------------------------


def test_a_client_that_leaves_undoes_nothing(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        for _ in range(10):
            await ctx.write(b"x")

    answer = client.get(handle, leave_after=1, may_fail=True)
    assert answer.body == b"x" and client.get(read).seen == {"n": 2}


def test_a_destroy_is_carried_out_for_a_client_that_has_gone(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        ctx.session.destroy()
        await ctx.write(b"y")

    client.get(handle, leave_after=1, may_fail=True)
    assert world.stored() == {}


# -- on_store_error="anonymous" -----------------------------------------------------------------------------------------------

ANONYMOUS: list[tuple[str, Any, int]] = [
    # the failing operations, what the handler does, the status
    ("replace", put(n=2), 200),
    ("touch", lambda ctx: ctx.session.touch(), 200),
    ("delete", lambda ctx: ctx.session.destroy(), 503),
    ("delete", lambda ctx: ctx.session.logout(), 503),
    ("delete regenerate", lambda ctx: ctx.session.regenerate(), 503),
    ("regenerate", lambda ctx: ctx.session.regenerate(keep_data=True), 503),
    ("regenerate", lambda ctx: ctx.session.login("ann"), 503),
    ("load", read, 200),
    ("load", put(n=2), 200),
    ("load", lambda ctx: ctx.session.touch(), 200),
    ("load", lambda ctx: ctx.session.regenerate(), 503),  # the old id cannot be ended
    ("load", lambda ctx: ctx.session.regenerate(keep_data=True), 503),
    ("load", lambda ctx: (ctx.session.regenerate(), ctx.session.update(n=2)), 503),
    ("load", lambda ctx: ctx.session.login("ann"), 503),
    ("load delete", lambda ctx: ctx.session.destroy(), 503),
]


# contract 17
@pytest.mark.parametrize(("failing", "act", "status"), ANONYMOUS)
@pytest.mark.parametrize("options", [{}, {"rolling": True, "resave": False, "save_uninitialized": True}])
def test_what_becomes_of_a_request_when_the_store_fails_with_anonymous(
    make: Make, options: dict[str, Any], failing: str, act: Any, status: int
) -> None:
    world = make(on_store_error="anonymous", touch_after=3600, **options)
    client = world.session(n=1)
    before = world.stored()
    world.store.fail(*failing.split())
    answer = client.copy().get(lambda ctx: (act(ctx), None)[1])
    assert answer.status == status and world.stored() == before
    assert answer.cookie is None or (options and failing != "load")
    if status == 200:
        assert answer.body == b"ok"
    world.store.failing = {}
    assert client.get(read).seen == {"n": 1}


# contract 17
@pytest.mark.parametrize(("act", "status"), [(put(n=1), 200), (lambda ctx: ctx.session.login("ann"), 503)])
def test_a_new_session_that_cannot_be_created_with_anonymous(make: Make, act: Any, status: int) -> None:
    world = make(on_store_error="anonymous")
    world.store.fail("create")
    answer = world.get(act)
    assert answer.status == status and answer.cookie is None and world.stored() == {}


@pytest.mark.parametrize("act", [put(a=1), lambda ctx: ctx.session.login("ann")])
def test_the_cookie_that_a_save_owes_is_sent_also_where_a_later_change_is_given_up(make: Make, act: Any) -> None:
    world = make(on_store_error="anonymous")

    async def handle(ctx: Ctx) -> None:
        act(ctx)
        await ctx.save()
        world.store.fail("replace")
        ctx.session["later"] = 1

    answer = world.get(handle)
    assert answer.status == 200 and world.stored().keys() == {world.key(answer.id)}
    world.store.failing = {}
    assert "later" not in world.get(read).seen and world.data(answer.id) is not None


def test_a_session_that_could_not_be_loaded_can_still_be_destroyed(make: Make) -> None:
    world = make(on_store_error="anonymous")
    client = world.session(n=1)
    world.store.fail("load")
    answer = client.get(lambda ctx: ctx.session.destroy())
    assert answer.status == 200 and answer.writes == ["delete"] and world.stored() == {}
    assert answer.the_cookie.is_expired


def test_an_explicit_save_fails_loudly_with_anonymous_too(make: Make) -> None:
    world = make(on_store_error="anonymous")
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        world.store.fail("replace")
        ctx.session["n"] = 2
        with pytest.raises(StoreUnavailable):
            await ctx.save()

    assert client.get(handle).status == 200


def test_a_lost_session_with_anonymous_is_not_saved_late(make: Make) -> None:
    world = make(on_store_error="anonymous")
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        world.store.fail("replace")
        await ctx.write(b"x")
        world.store.failing = {}
        ctx.session["n"] = 3

    client.get(handle)
    assert client.get(read).seen == {"n": 1}
