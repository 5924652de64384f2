"""The few things that asyncio and trio do differently and Sojourn needs: waiting, tasks of our own, and finishing what cancellation would cut.

Whatever runs under one of the two has imported it. Here asyncio is imported no sooner: it is a third of what a middleware would cost to
import, and whoever runs under trio, or only reads a configuration, does without.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "deliver_cancellation",
    "has_ended",
    "here",
    "in_trio",
    "late",
    "new_event",
    "put_off",
    "same_as",
    "shielded",
    "sleep",
    "spawn",
    "unbroken",
    "wait",
    "within",
]

T = TypeVar("T")


def in_trio() -> bool:
    """Whether the caller runs under trio; asyncio otherwise."""
    trio: Any = sys.modules.get("trio")  # whatever runs under trio has imported it
    return trio is not None and trio.lowlevel.in_trio_run()


async def sleep(seconds: float) -> None:
    """Sleep under either library."""
    if in_trio():
        await sys.modules["trio"].sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)


@cache
def _get_running_loop() -> Callable[[], object]:
    """Asyncio's own, imported once."""
    import asyncio

    return asyncio.get_running_loop


def here() -> object:
    """The event loop that runs."""
    if in_trio():
        return sys.modules["trio"].lowlevel.current_trio_token()
    return _get_running_loop()()


def has_ended(loop: object) -> bool:
    """Whether an event loop, as `here` gave it, is closed. Not known of trio's, which is forgotten once it ends."""
    return bool(getattr(loop, "is_closed", bool)())


_spawned: Final[set[Any]] = set()
"""An event loop does not keep its tasks."""


def spawn(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run some work on this event loop, for nobody in particular: it must handle its own errors, and ends with the loop at the latest."""
    import contextvars

    context = contextvars.Context()  # not that of a request, which would live as long
    if in_trio():
        sys.modules["trio"].lowlevel.spawn_system_task(work, context=context)
        return
    import asyncio

    task = asyncio.get_running_loop().create_task(work(), context=context)
    _spawned.add(task)
    task.add_done_callback(_spawned.discard)


def new_event() -> Any:
    """An event by which one task tells another of this event loop."""
    if in_trio():
        return sys.modules["trio"].Event()
    import asyncio

    return asyncio.Event()


async def wait(event: Any, seconds: float) -> bool:
    """Wait for an event of `new_event`, for so long at most; True once it is set."""
    if in_trio():
        with sys.modules["trio"].move_on_after(seconds):
            await event.wait()
    else:
        import asyncio

        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
    return bool(event.is_set())


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Wait for work, for so long at most.

    Raises:
        TimeoutError: it took longer, and was cancelled.
    """
    if in_trio():
        with sys.modules["trio"].move_on_after(seconds):
            return await work
        raise TimeoutError
    import asyncio

    async with asyncio.timeout(seconds):
        return await work


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Finish the work even if the caller is cancelled meanwhile; the cancellation is delivered after it."""
    if in_trio():
        with sys.modules["trio"].CancelScope(shield=True):
            return await work
    import asyncio

    task = asyncio.ensure_future(work)
    try:
        return await unbroken(task)
    finally:
        if late and task.done():
            await deliver_cancellation()


class unbroken(Generic[T]):  # noqa: N801 - a verb to whoever awaits it
    """Wait for a future of asyncio's to its end, even if the caller is cancelled meanwhile; `deliver_cancellation`, or the next wait, tells.

    It costs a tenth of `shielded`, as it needs no task: the caller's own waits for this in the future's place, by the protocol that asyncio
    has for futures of other makers, and is told that it cannot be cancelled.
    """

    __slots__ = ("_asyncio_future_blocking", "_future")

    def __init__(self, future: asyncio.Future[T]) -> None:
        self._future = future
        self._asyncio_future_blocking = False

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio

        future = self._future
        with _left_alone() if late else nullcontext():
            while not future.done():
                self._asyncio_future_blocking = True
                try:
                    yield self
                except asyncio.CancelledError as cancelled:
                    put_off(cancelled)
                except Exception:
                    if not future.done():
                        raise
        return future.result()

    def add_done_callback(self, callback: Callable[..., object], *, context: Any = None) -> None:
        self._future.add_done_callback(callback, context=context)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._future.get_loop()

    def cancel(self, msg: object = None) -> bool:
        return False


late: Final[set[Any]] = set()
"""The tasks whose cancellation was put off, and not delivered yet: nearly always none."""


def _left_alone() -> AbstractContextManager[object]:
    """A block in which AnyIO does not cancel a task again whose cancellation is late. It does so in each turn of the event loop, which never rests."""
    import asyncio

    anyio: Any = sys.modules.get("anyio")
    return nullcontext() if anyio is None or asyncio.current_task() not in late else anyio.CancelScope(shield=True)


def put_off(cancelled: BaseException) -> None:
    """Put a cancellation off that has just come, to the task's next wait."""
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    task.uncancel()  # it is the same one
    task.cancel(*cancelled.args)
    if task not in late:  # one that lives long may be cut short any number of times
        late.add(task)
        task.add_done_callback(late.discard)


async def deliver_cancellation() -> None:
    """Have a cancellation that was put off delivered now: whoever is in the midst of a timeout's block is not to leave it first."""
    import asyncio

    task = asyncio.current_task()
    if task in late:
        assert task is not None
        late.discard(task)
        task.remove_done_callback(late.discard)
        await asyncio.sleep(0)


def same_as(thing: T, kind: type[T]) -> T:
    """The very thing, with all that it has and will have, as one of a subclass that differs in its methods alone."""
    twin = object.__new__(kind)
    twin.__dict__ = vars(thing)
    return twin
