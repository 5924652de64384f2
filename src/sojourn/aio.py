"""The few things that asyncio and trio do differently and Sojourn needs: sleeping, and finishing what cancellation would cut."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["in_trio", "shielded", "sleep"]

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
        await asyncio.sleep(seconds)


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Finish the work even if the caller is cancelled meanwhile; the cancellation is delivered after it."""
    if in_trio():
        with sys.modules["trio"].CancelScope(shield=True):
            return await work
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            await _done(task)
        raise


async def _done(task: asyncio.Future[Any]) -> None:
    """Wait for a task, however often the waiter is cancelled."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    if not task.cancelled():
        task.exception()  # retrieved: the caller is going away and nobody else would
