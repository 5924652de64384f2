from __future__ import annotations

import asyncio
import time

import pytest
import trio
import trio.lowlevel

from sojourn.aio import in_trio, shielded, sleep


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
