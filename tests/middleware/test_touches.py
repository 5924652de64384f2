"""Touches that meet: which become one command, who hears what, and what is left when one of them ends early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from sojourn import AsyncSession
from sojourn.aio import new_event
from sojourn.errors import StoreUnavailable
from sojourn.middleware.touches import Touches
from tests.middleware.test_unbroken import Inherited, Site, SlowStore, add

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class GatedStore:
    """Its touches reach the server at once, and their replies come when they are let go, in order."""

    def __init__(self) -> None:
        self.live = True
        self.sent: list[tuple[str, int]] = []
        self.by: list[str | None] = []
        """The names of the tasks that sent them."""
        self.gates: list[Any] = []
        self.errors: list[Exception] = []

    async def touch(self, key: str, ttl: int) -> bool:
        self.sent.append((key, ttl))
        self.by.append(anyio.get_current_task().name)
        found, gate = self.live, new_event()
        self.gates.append(gate)
        await gate.wait()
        if self.errors:
            raise self.errors.pop()
        return found

    def let_go(self) -> None:
        self.gates.pop(0).set()


class Meeting:
    """Touches that are begun one after the other, and what each was told."""

    def __init__(self, group: Any) -> None:
        self.store = GatedStore()
        self.touches = Touches()
        self.group = group
        self.told: dict[object, object] = {}

    async def begin(self, name: object, *, key: str = "k", ttl: int = 1000) -> anyio.CancelScope:
        """Returns what cancels it."""
        scope = anyio.CancelScope()

        async def touch() -> None:
            with scope:
                try:
                    self.told[name] = await self.touches.touch(self.store, key, ttl)
                except StoreUnavailable as error:
                    self.told[name] = error
            self.told.setdefault(name, "cancelled")

        self.group.start_soon(touch, name=str(name))
        await self.settle()
        return scope

    async def settle(self) -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

    async def let_go(self) -> None:
        self.store.let_go()
        await self.settle()

    def is_over(self) -> bool:
        return not self.touches._under_way


async def test_a_touch_alone_is_sent_at_once() -> None:
    async with anyio.create_task_group() as group:
        meeting = Meeting(group)
        await meeting.begin("one")
        assert meeting.store.sent == [("k", 1000)] and meeting.touches.is_under_way("k")
        await meeting.let_go()
        assert meeting.told == {"one": True} and meeting.is_over()


async def test_those_that_come_while_one_is_under_way_are_one_command_with_the_longest_lifetime() -> None:
    async with anyio.create_task_group() as group:
        meeting = Meeting(group)
        for number in range(16):
            await meeting.begin(number, ttl=1000 + (number * 7) % 16)
        await meeting.begin("another session", key="l")
        assert meeting.store.sent == [("k", 1000), ("l", 1000)]
        await meeting.let_go()
        assert meeting.store.sent[2:] == [("k", 1015)]
        assert meeting.told == {0: True}
        await meeting.let_go()
        await meeting.let_go()
        assert len(meeting.store.sent) == 3
        assert meeting.told == dict.fromkeys([*range(16), "another session"], True) and meeting.is_over()


async def test_who_comes_while_the_joined_one_is_under_way_waits_for_one_of_its_own() -> None:
    async with anyio.create_task_group() as group:
        meeting = Meeting(group)
        await meeting.begin("first")
        await meeting.begin("second")
        await meeting.let_go()
        for name in ("third", "fourth"):
            await meeting.begin(name)
        assert len(meeting.store.sent) == 2
        await meeting.let_go()
        assert len(meeting.store.sent) == 3 and meeting.told == {"first": True, "second": True}
        await meeting.let_go()
        assert len(meeting.told) == 4 and meeting.is_over()


async def test_whoever_asks_after_the_session_has_ended_is_told_so() -> None:
    async with anyio.create_task_group() as group:
        meeting = Meeting(group)
        await meeting.begin("before")
        meeting.store.live = False  # its reply is still on the way
        for name in ("after", "after too"):
            await meeting.begin(name)
        await meeting.let_go()
        await meeting.let_go()
        assert meeting.told == {"before": True, "after": False, "after too": False}


async def test_an_error_goes_to_all_that_wait_for_it_and_to_nobody_else() -> None:
    async with anyio.create_task_group() as group:
        meeting = Meeting(group)
        for name in ("first", "second", "third"):
            await meeting.begin(name)
        await meeting.let_go()
        away = StoreUnavailable("away")
        meeting.store.errors.append(away)
        await meeting.begin("fourth")
        await meeting.let_go()
        await meeting.let_go()
        assert meeting.told == {"first": True, "second": away, "third": away, "fourth": True} and meeting.is_over()


@pytest.mark.parametrize("cancelled", [["first"], ["second"], ["third"], ["second", "third"], ["first", "second"]])
async def test_who_is_cancelled_cancels_nobody_else(cancelled: list[str]) -> None:
    names = ["first", "second", "third", "fourth"]
    async with anyio.create_task_group() as group:
        meeting = Meeting(group)
        scopes = {name: await meeting.begin(name) for name in names}
        for name in cancelled:
            scopes[name].cancel()
        await meeting.settle()
        while meeting.store.gates:
            await meeting.let_go()
        assert meeting.told == {name: "cancelled" if name in cancelled else True for name in names}
        assert len(meeting.store.sent) == 2 and meeting.is_over()


async def test_where_the_one_that_was_sent_for_all_is_cancelled_the_others_go_on() -> None:
    names = ["first", "second", "third", "fourth"]
    async with anyio.create_task_group() as group:
        meeting = Meeting(group)
        scopes = {name: await meeting.begin(name) for name in names}
        await meeting.let_go()
        sender = str(meeting.store.by[-1])  # under trio it may be any of the three
        scopes[sender].cancel()
        await meeting.settle()
        meeting.store.gates.pop(0)  # nobody waits there any more
        while meeting.store.gates:
            await meeting.let_go()
        assert meeting.told == {name: "cancelled" if name == sender else True for name in names}
        assert len(meeting.store.sent) == 4 and meeting.is_over()


async def test_who_comes_at_the_moment_when_one_is_over_does_no_harm() -> None:
    async with anyio.create_task_group() as group:
        meeting = Meeting(group)

        async def twice() -> None:
            for name in ("first", "between"):  # with nobody else's turn between the two
                meeting.told[name] = await meeting.touches.touch(meeting.store, "k", 1000)

        group.start_soon(twice)
        await meeting.settle()
        await meeting.begin("second")
        await meeting.let_go()
        assert len(meeting.store.sent) == 3
        while meeting.store.gates:
            await meeting.let_go()
        assert meeting.told == dict.fromkeys(["first", "second", "between"], True) and meeting.is_over()


def test_event_loops_do_not_wait_for_each_other() -> None:
    store, touches = GatedStore(), Touches()
    with asyncio.Runner() as one, asyncio.Runner() as other:
        tasks = []
        for runner in (one, other):

            async def begin() -> Any:
                task = asyncio.create_task(touches.touch(store, "k", 1000))
                await asyncio.sleep(0)
                return task

            tasks.append(runner.run(begin()))
        assert len(store.sent) == 2
        for runner, task in zip((one, other), tasks, strict=True):

            async def end(task: Any = task) -> Any:
                store.let_go()
                return await task

            assert runner.run(end()) is True


# By requests


async def read(session: AsyncSession) -> None:
    assert "n" in session


@pytest.mark.parametrize("kind", [SlowStore, Inherited], ids=["unbroken", "shielded"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_sixteen_requests_at_once_touch_a_session_with_two_commands(kind: Callable[[], Any]) -> None:
    site = Site(kind(), touch_after=0)
    await site.visit(add)
    writes = site.store.writes
    assert await asyncio.gather(*(site.visit(read) for _ in range(16))) == [200] * 16
    assert site.store.writes - writes == 2
    assert site.app.turns.touches._under_way == {}


@pytest.mark.parametrize("kind", [SlowStore, Inherited], ids=["unbroken", "shielded"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_request_that_is_cancelled_leaves_the_others_touches_alone(kind: Callable[[], Any], which: int) -> None:
    site = Site(kind(), touch_after=0)
    await site.visit(add)
    site.store.gate = asyncio.Event()
    tasks = [asyncio.create_task(site.visit(read)) for _ in range(4)]
    for _ in range(20):
        await asyncio.sleep(0)
    tasks[which].cancel()
    await asyncio.sleep(0)
    site.store.gate.set()
    statuses = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(statuses.pop(which), asyncio.CancelledError) and statuses == [200] * 3
    assert site.store.writes == 3
    assert site.app.turns.touches._under_way == {}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_requests_whose_session_ends_while_they_touch_it_do_not_bring_it_back() -> None:
    site = Site(SlowStore(), touch_after=0)
    await site.visit(add)
    site.store.meanwhile = site.store.memory.delete
    assert await asyncio.gather(*(site.visit(read) for _ in range(4))) == [200] * 4
    assert list(site.store.memory.scan()) == []
