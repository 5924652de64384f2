from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import trio
import trio.lowlevel

from sojourn.aio import deliver_cancellation, in_trio, late, put_off, same_as, shielded, sleep, unbroken


def test_who_runs_us_is_known():
    async def ask() -> bool:
        return in_trio()

    assert asyncio.run(ask()) is False
    assert trio.run(ask) is True
    assert in_trio() is False


@pytest.mark.parametrize("run", [lambda f: asyncio.run(f()), trio.run])
def test_sleep_sleeps_under_either_library(run):
    async def nap() -> float:
        began = time.perf_counter()
        await sleep(0.01)
        return time.perf_counter() - began

    assert run(nap) >= 0.009


@pytest.mark.parametrize("run", [lambda f: asyncio.run(f()), trio.run])
def test_shielded_work_answers_and_raises_as_if_it_were_not(run):
    async def answer() -> int:
        await sleep(0)
        return 5

    async def fail() -> int:
        await sleep(0)
        raise ValueError("no")

    async def both() -> None:
        assert await shielded(answer()) == 5
        with pytest.raises(ValueError, match="no"):
            await shielded(fail())

    run(both)


def test_under_asyncio_shielded_work_ends_before_its_cancellation_is_delivered():
    done: list[str] = []

    async def work() -> None:
        for step in ("one", "two", "three"):
            await asyncio.sleep(0)
            done.append(step)

    async def main() -> None:
        task = asyncio.create_task(shielded(work()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # servers may repeat it
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == ["one", "two", "three"]

    asyncio.run(main())


def test_under_asyncio_an_error_of_shielded_work_whose_caller_went_is_no_unretrieved_one():
    complaints = []

    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("nobody hears it")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        task = asyncio.create_task(shielded(work()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not complaints


def test_under_asyncio_work_that_cancels_itself_is_cancelled():
    async def work() -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await shielded(work())

    asyncio.run(main())


def test_under_asyncio_work_that_is_cancelled_with_its_caller_is_waited_for_too():
    async def main() -> None:
        inner: list[asyncio.Task[None]] = []

        async def work() -> None:
            task = asyncio.current_task()
            assert task is not None
            inner.append(task)
            await asyncio.sleep(10)

        outer = asyncio.create_task(shielded(work()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        outer.cancel()
        await asyncio.sleep(0)
        inner[0].cancel()  # as a loop that shuts down does
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert inner[0].cancelled()

    asyncio.run(main())


def test_under_trio_shielded_work_ends_before_its_cancellation_is_delivered():
    done: list[str] = []

    async def work() -> None:
        for step in ("one", "two"):
            await trio.lowlevel.checkpoint()
            done.append(step)

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await shielded(work())
            await trio.lowlevel.checkpoint()
            done.append("not reached")
        assert scope.cancelled_caught

    trio.run(main)
    assert done == ["one", "two"]


# What is waited for unbroken, under asyncio


def run_with_future(main: Callable[[asyncio.Future[int]], Coroutine[Any, Any, None]]) -> None:
    async def make() -> None:
        await main(asyncio.get_running_loop().create_future())

    asyncio.run(make())


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_future_that_is_waited_for_unbroken_gives_its_result_and_its_exception():
    async def main(future: asyncio.Future[int]) -> None:
        asyncio.get_running_loop().call_soon(future.set_result, 5)
        assert await unbroken(future) == 5
        assert await unbroken(future) == 5  # it is done
        failing: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(failing.set_exception, ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await unbroken(failing)
        await deliver_cancellation()  # there is none

    run_with_future(main)


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_caller_waits_for_the_end_and_is_cancelled_where_it_waits_next(times: int):
    seen: list[object] = []

    async def work(future: asyncio.Future[int]) -> None:
        result = await unbroken(future)
        seen.append(result)
        seen.append("noted")
        await deliver_cancellation()
        seen.append("not reached")

    async def main(future: asyncio.Future[int]) -> None:
        task = asyncio.create_task(work(future))
        await turns()
        for _ in range(times):
            task.cancel("why")
            await turns()
        assert not future.cancelled() and not task.done()
        future.set_result(5)
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert task.cancelling() == times

    run_with_future(main)
    assert seen == [5, "noted"]


def test_a_caller_that_was_cancelled_before_waits_all_the_same():
    async def main(future: asyncio.Future[int]) -> None:
        async def work() -> int:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return await unbroken(future)

        task = asyncio.create_task(work())
        await turns()
        assert not task.done()
        future.set_exception(ValueError("what it came to"))
        with pytest.raises(ValueError, match="what it came to"):
            await task

    run_with_future(main)


def test_a_timeout_around_it_is_told_of_when_it_is_done():
    told: list[bool] = []

    async def main(future: asyncio.Future[int]) -> None:
        async def work() -> None:
            try:
                async with asyncio.timeout(0):
                    assert await unbroken(future) == 5
                    await deliver_cancellation()
            except TimeoutError:
                told.append(True)
            await turns()

        task = asyncio.create_task(work())
        await turns(5)
        future.set_result(5)
        await task
        assert not task.cancelling()

    run_with_future(main)
    assert told


@pytest.mark.parametrize("is_delivered", [False, True])
def test_a_task_that_lives_long_is_cut_short_any_number_of_times(is_delivered: bool):
    async def main(_: asyncio.Future[int]) -> None:
        task: Any = asyncio.current_task()
        before = len(task._callbacks)
        for _time in range(3):
            try:
                put_off(asyncio.CancelledError())
                await (deliver_cancellation() if is_delivered else asyncio.sleep(0))
            except asyncio.CancelledError:
                task.uncancel()
        assert len(task._callbacks) <= before + 1

    run_with_future(main)
    assert not late


def test_where_anyio_has_cancelled_the_event_loop_rests_until_it_is_done():
    async def main(future: asyncio.Future[int]) -> None:
        loop: Any = asyncio.get_running_loop()
        select, rounds = loop._selector.select, []

        def counted(timeout: float | None) -> Any:
            rounds.append(timeout)
            return select(timeout)

        loop._selector.select = counted
        loop.call_later(0.05, future.set_result, 5)
        with anyio.move_on_after(0) as scope:
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await asyncio.sleep(1)
            put_off(cancelled.value)
            assert await unbroken(future) == 5
            await deliver_cancellation()
        assert scope.cancelled_caught
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        assert len(rounds) < 30, f"the event loop took {len(rounds)} turns"

    run_with_future(main)
    assert not late


def test_without_anyio_it_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "anyio")

    async def main(future: asyncio.Future[int]) -> None:
        put_off(asyncio.CancelledError())
        asyncio.get_running_loop().call_soon(future.set_result, 5)
        assert await unbroken(future) == 5
        with pytest.raises(asyncio.CancelledError):
            await deliver_cancellation()

    run_with_future(main)


def test_a_coroutine_that_is_closed_while_it_waits_is_closed():
    async def main(future: asyncio.Future[int]) -> None:
        async def work() -> None:
            await unbroken(future)

        coroutine = work()
        coroutine.send(None)
        coroutine.close()
        coroutine = work()
        coroutine.send(None)
        with pytest.raises(KeyError):
            coroutine.throw(KeyError("something else"))

    run_with_future(main)


def test_what_waits_in_a_futures_place_is_of_its_event_loop():
    async def main(future: asyncio.Future[int]) -> None:
        assert unbroken(future).get_loop() is asyncio.get_running_loop()

    run_with_future(main)


def test_a_cancellation_that_was_put_off_is_late_until_it_is_delivered():
    seen: list[object] = []

    async def work(future: asyncio.Future[int]) -> None:
        result = await unbroken(future)
        seen.extend((result, asyncio.current_task() in late))
        await deliver_cancellation()
        seen.append("not reached")

    async def forget(future: asyncio.Future[int]) -> None:
        await unbroken(future)

    async def main(future: asyncio.Future[int]) -> None:
        tasks = asyncio.create_task(work(future)), asyncio.create_task(forget(future))
        await turns()
        for task in tasks:
            task.cancel()
        future.set_result(5)
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        await asyncio.wait([tasks[1]])
        await turns()
        assert seen == [5, True] and not late, "a task that has ended is forgotten"

    run_with_future(main)


def test_the_same_by_another_class_has_all_that_the_thing_comes_to_have():
    class Thing:
        def __init__(self) -> None:
            self.has = [1]

        def name(self) -> str:
            return "one"

    class Other(Thing):
        def name(self) -> str:
            return "other"

    thing = Thing()
    other = same_as(thing, Other)
    thing.has = [2]
    assert (other.name(), other.has, thing.name()) == ("other", [2], "one")
