"""What is written into a session after its request is stored, an error, or a line in the log; never nothing."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sojourn.core.ended import end
from tests.behaviour.harness import Ctx, Make, World, settle

LINE = "a session was changed after its request had ended"

CHANGES: dict[str, Callable[[Any], object]] = {
    "set": lambda s: s.update(late=1),
    "delete": lambda s: s.pop("n"),
    "setdefault": lambda s: s.setdefault("late", []),
    "clear": lambda s: s.clear(),
    "increment": lambda s: s.increment("n"),
    "flash": lambda s: s.flash("Sorry."),
    "a second flash": lambda s: s.flash("Sorry.", "error"),
    "flashes": lambda s: s.flashes(),
    "login": lambda s: s.login("ann"),
    "regenerate": lambda s: s.regenerate(),
    "destroy": lambda s: s.destroy(),
    "logout": lambda s: s.logout(),
    "invalidate": lambda s: s.invalidate(),
    "touch": lambda s: s.touch(),
}


def outlive(world: World, handler: Callable[[Ctx], object] = lambda ctx: None, *, fails: bool = False) -> Any:
    """The session of a request that is over."""
    kept: list[Any] = []

    def handle(ctx: Ctx) -> None:
        kept.append(ctx.session)
        handler(ctx)
        if fails:
            raise ZeroDivisionError

    world.session(n=1, cart=["pen"], _flashes=[["info", "Hello."]]).get(handle, may_fail=fails)
    return kept.pop()


def go_on(world: World, session: Any, task: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    world.run(lambda: task(session))


def told(caplog: pytest.LogCaptureFixture, *, gone: bool = False) -> int:
    """How many lines there are, also where the session is gone."""
    if gone:
        gc.collect()
    lines = [record for record in caplog.records if LINE in record.getMessage()]
    assert all(record.levelno == logging.WARNING for record in lines)
    return len(lines)


def stored(world: World) -> dict[str, Any]:
    (data,) = filter(None, map(world.data, world.seen_ids))
    return data


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_the_first_change_after_the_end_is_a_line_in_the_log(
    make: Make, change: str, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    session = outlive(world, fails=fails)
    assert told(caplog) == 0
    CHANGES[change](session)
    assert told(caplog) == 1
    del session
    assert told(caplog, gone=True) == 1
    assert stored(world) == {"n": 1, "cart": ["pen"], "_flashes": [["info", "Hello."]]}


@pytest.mark.parametrize("fails", [False, True])
def test_further_changes_are_not_told_again_and_change_the_object(
    make: Make, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    session = outlive(make(), lambda ctx: ctx.session.update(handled=True), fails=fails)
    session["late"] = 1
    session["later"] = 2
    del session["n"]
    assert dict(session) == {"cart": ["pen"], "_flashes": [["info", "Hello."]], "handled": True, "late": 1, "later": 2}
    assert told(caplog) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_who_only_reads_after_the_end_is_not_told_anything(
    make: Make, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    session = outlive(make(), lambda ctx: ctx.session.update(handled=True), fails=fails)
    assert session["cart"] == ["pen"] and session.get("cart") == ["pen"]
    assert session.get("no") is None and "n" in session and len(session) == 4 and list(session.values())
    assert session.id and session.cookie and session.owner is None
    assert repr(session).startswith("<")
    del session
    assert told(caplog, gone=True) == 0


def test_what_is_changed_in_place_after_the_end_is_told_once_the_session_is_gone(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    session = outlive(world)
    session["cart"].append("ink")
    assert told(caplog) == 0
    del session
    assert told(caplog, gone=True) == 1
    assert stored(world)["cart"] == ["pen"]


def test_a_change_that_follows_a_look_is_told_at_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    session = outlive(make())
    assert session["cart"]
    session.flash("Sorry.")
    assert told(caplog) == 1


# docs/session.md: a task that outlives its request must call save() itself
def test_a_task_that_outlives_its_request_saves_by_itself(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make()
    session = outlive(world)

    async def task(session: Any) -> None:
        await settle(session.reload())
        session["late"] = 1
        session["cart"].append("ink")
        await settle(session.save())

    go_on(world, session, task)
    assert stored(world) == {"n": 1, "cart": ["pen", "ink"], "_flashes": [["info", "Hello."]], "late": 1}
    del session
    assert told(caplog, gone=True) == 0


def test_a_task_that_changes_and_then_saves_is_told_once_and_the_change_is_kept(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    session = outlive(world)

    async def task(session: Any) -> None:
        session["late"] = 1
        await settle(session.save())

    go_on(world, session, task)
    assert stored(world)["late"] == 1
    assert told(caplog) == 1


@pytest.mark.parametrize("first", ["reload", "save"])
@pytest.mark.parametrize("looks", [False, True])
def test_what_a_task_changes_and_does_not_save_is_told_once_the_session_is_gone(
    make: Make, first: str, looks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    session = outlive(world)

    async def task(session: Any) -> None:
        if looks:
            assert session["n"] == 1
        await settle(getattr(session, first)())
        session["late"] = 1

    go_on(world, session, task)
    assert told(caplog) == 0
    del session
    assert told(caplog, gone=True) == 1
    assert "late" not in stored(world)


def test_a_request_that_did_not_use_its_session_has_one_that_tells(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[Any] = []
    make().get(lambda ctx: kept.append(ctx.session))
    kept[0]["late"] = 1
    assert told(caplog) == 1


def test_a_late_change_within_the_request_is_none_after_its_end(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make()

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"first")
        ctx.session["late"] = 1

    world.session(n=1).get(handle)
    assert stored(world) == {"n": 1, "late": 1}
    assert told(caplog) == 0


def test_a_request_may_be_ended_twice(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    session = outlive(make())
    assert session["cart"].append("ink") is None
    end(session)  # as the driver's finish() called again
    del session
    assert told(caplog, gone=True) == 1


def test_a_change_that_another_thread_has_told_already_is_one_all_the_same(native: Make) -> None:
    session = outlive(native())
    change = type(session).__setitem__
    session["a"] = 1  # by now it is a session like any other
    change(session, "b", 2)  # as a thread does that had looked before
    assert dict(session) == {"n": 1, "cart": ["pen"], "_flashes": [["info", "Hello."]], "a": 1, "b": 2}
