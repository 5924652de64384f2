"""Turns: who commits which session now, who waits, and what becomes of those who wait no longer."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from sojourn import SessionConflict
from sojourn.core.steps import Turn
from sojourn.core.store import Stored
from sojourn.middleware.async_ import AsyncMiddleware
from sojourn.middleware.sync import SyncMiddleware
from sojourn.middleware.turns import _OF, Turns, turns_of
from sojourn.stores import AsyncSQLiteStore, MemoryStore
from tests.core.making import SECRET

STORED = Stored(b"{}", b"v", 1000)


def turn(key: str = "k", *, seconds: float = 20, waits: bool = True) -> Turn:
    return Turn(key, time.monotonic() + seconds, waits)


class Threads:
    """Threads that take their turn one after the other, and tell in which order it came."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[object] = []
        self.threads: list[threading.Thread] = []

    def start(self, name: object, one: Turn | None = None) -> None:
        waiting = self.waiting()

        def take() -> None:
            try:
                line = self.turns.take(one or turn())
            except SessionConflict:
                self.order.append(SessionConflict)
            else:
                self.order.append((name, line.known))
                line.leave(Stored(b"", name, 1))

        self.threads.append(threading.Thread(target=take))
        self.threads[-1].start()
        while self.waiting() == waiting and self.threads[-1].is_alive():
            time.sleep(0.001)

    def waiting(self) -> int:
        return sum(len(line.waiting or ()) for line in self.turns.lines.values())

    def join(self) -> None:
        for thread in self.threads:
            thread.join(20)


@pytest.fixture
def turns() -> Turns:
    return Turns(object())


def test_a_turn_that_nobody_else_wants_is_an_entry_in_a_dict_and_makes_no_event(turns):
    def event() -> None:
        raise AssertionError("nobody waits")

    line, told = turns.enter("k", event, waits=True)
    assert told is None and line.known is None and turns.lines == {"k": line}
    line.leave(STORED)
    assert turns.lines == {}
    assert turns.take(turn()).known is None


def test_threads_come_in_the_order_in_which_they_came_and_each_is_told_what_the_one_before_stored(turns):
    threads = Threads(turns)
    first = turns.take(turn())
    for number in range(5):
        threads.start(number)
    assert threads.order == []
    first.leave(STORED)
    threads.join()
    told = [STORED, *(Stored(b"", number, 1) for number in range(4))]
    assert threads.order == list(enumerate(told)) and turns.lines == {}


def test_other_keys_do_not_wait(turns):
    turns.take(turn("k"))
    assert turns.take(turn("l")).known is None


def test_who_does_not_wait_comes_in_at_once_and_all_others_wait_for_it(turns):
    first, login = turns.take(turn()), turns.take(turn(waits=False))
    threads = Threads(turns)
    threads.start("later")
    first.leave(STORED)
    assert threads.order == [] and threads.waiting() == 1
    login.leave(None)
    threads.join()
    assert threads.order == [("later", None)] and turns.lines == {}


def test_waiting_ends_when_the_time_is_up_and_the_next_one_is_not_forgotten(turns):
    threads = Threads(turns)
    first = turns.take(turn())
    threads.start("impatient", turn(seconds=0.05))
    threads.start("patient")
    threads.threads[0].join(20)
    assert threads.order == [SessionConflict] and threads.waiting() == 1
    first.leave(STORED)
    threads.join()
    assert threads.order == [SessionConflict, ("patient", STORED)] and turns.lines == {}


def test_who_is_let_in_at_the_moment_of_giving_up_lets_the_next_one_in(turns):
    first = turns.take(turn())
    line, told = turns.enter("k", threading.Event, waits=True)
    _, next_told = turns.enter("k", threading.Event, waits=True)
    first.leave(STORED)
    assert told.is_set() and not next_told.is_set()
    line.give_up(told)
    assert next_told.is_set() and line.known is STORED
    line.leave()
    assert turns.lines == {}


def test_a_wait_that_is_interrupted_is_given_up(turns, monkeypatch):
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    first = turns.take(turn())
    monkeypatch.setattr(threading, "Event", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        turns.take(turn())
    first.leave()
    assert turns.lines == {}


def test_all_middlewares_of_a_store_share_its_turns_and_they_go_with_it():
    gc.collect()
    store, before = MemoryStore(), len(_OF)
    one, other = (SyncMiddleware({"secret": SECRET, "store": given}) for given in (store, store))
    assert one.turns is other.turns is turns_of(store)
    assert turns_of(MemoryStore()) is not one.turns
    del one, other, store
    gc.collect()
    assert len(_OF) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_nobody_waits_for_who_is_in_the_parent():
    store = MemoryStore()
    turns = turns_of(store)
    line = turns.take(turn())
    child = os.fork()
    if not child:  # pragma: no cover - another process
        ended = 1
        try:
            turns.take(turn(seconds=0))
            ended = 0
        finally:
            os._exit(ended)
    assert os.waitpid(child, 0)[1] == 0
    assert turns.lines == {"k": line}


# -- async ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def middleware(tmp_path: Any) -> AsyncMiddleware:
    return AsyncMiddleware({"secret": SECRET, "store": AsyncSQLiteStore(tmp_path / "sessions.db")})


async def until(ready: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not ready():  # noqa: ASYNC110 - nobody would set an event
            await anyio.sleep(0.001)


def is_waited_for_by(middleware: AsyncMiddleware, count: int) -> bool:
    return sum(len(line.waiting or ()) for line in middleware.turns.lines.values()) == count


@pytest.mark.anyio
async def test_tasks_come_in_the_order_in_which_they_came(middleware: AsyncMiddleware) -> None:
    order: list[tuple[object, Stored | None]] = []

    async def take(name: object) -> None:
        line = await middleware._take(turn())
        order.append((name, line.known))
        await anyio.lowlevel.checkpoint()
        line.leave(Stored(b"", name, 1))

    first = await middleware._take(turn())
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(take, number)
            await until(partial(is_waited_for_by, middleware, number + 1))
        assert order == []
        first.leave(STORED)
    assert order == list(enumerate([STORED, *(Stored(b"", number, 1) for number in range(4))]))
    assert middleware.turns.lines == {}


@pytest.mark.anyio
async def test_a_task_waits_no_longer_than_it_may(middleware: AsyncMiddleware) -> None:
    first = await middleware._take(turn())
    with pytest.raises(SessionConflict):
        await middleware._take(turn(seconds=0.01))
    first.leave()
    assert middleware.turns.lines == {}


@pytest.mark.anyio
async def test_a_task_that_is_cancelled_while_it_waits_is_forgotten(middleware: AsyncMiddleware) -> None:
    first = await middleware._take(turn())
    async with anyio.create_task_group() as group:
        group.start_soon(middleware._take, turn())
        await until(partial(is_waited_for_by, middleware, 1))
        group.cancel_scope.cancel()
    assert is_waited_for_by(middleware, 0)
    first.leave()
    assert middleware.turns.lines == {}


def test_event_loops_do_not_wait_for_each_other(middleware: AsyncMiddleware) -> None:
    async def take() -> Any:
        return await middleware._take(turn(seconds=0))

    with asyncio.Runner() as one, asyncio.Runner() as other:
        lines = [one.run(take()), other.run(take())]
        assert len(middleware.turns.lines) == 2
    for line in lines:
        line.leave()
    assert middleware.turns.lines == {}
