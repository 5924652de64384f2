"""Work that a store repeats in the background, without keeping the process alive or the store in memory."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from ...chance import chance
from ...errors import StoreError
from ...logs import log

__all__ = ["AsyncRepeating", "Repeating"]

_LAST_WORD: Final = 5.0
"""Seconds that stopping waits for a round under way."""


def _pause(interval: float) -> float:
    """The interval, give or take half of it, so that processes started together do not work together."""
    return interval * chance.uniform(0.5, 1.5)


def _failed(error: StoreError) -> None:
    log.warning("pruning expired sessions failed: %s", error)


class Repeating:
    """A method called about every ``interval`` seconds in a daemon thread."""

    def __init__(self, work: Callable[[], object], interval: float) -> None:
        self._work: Any = weakref.WeakMethod(work)
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sojourn-prune", daemon=True)
        self._thread.start()

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(_LAST_WORD)

    def _run(self) -> None:
        while not self._stopped.wait(_pause(self._interval)):
            work = self._work()
            if work is None:
                return
            try:
                work()
            except StoreError as error:
                _failed(error)
            del work


class AsyncRepeating:
    """A coroutine method called about every ``interval`` seconds in a task of its own."""

    def __init__(self, work: Callable[[], Awaitable[object]], interval: float) -> None:
        self._work: Any = weakref.WeakMethod(work)
        self._interval = interval
        self._process = os.getpid()
        self._loop = asyncio.get_running_loop()
        # Not in the context of the request that happens to be the first.
        self._task = self._loop.create_task(self._run(), name="sojourn-prune", context=contextvars.Context())

    def is_running(self) -> bool:
        """Whether it runs in this process, on whatever event loop."""
        return self._process == os.getpid() and not self._loop.is_closed() and not self._task.done()

    async def stop(self) -> None:
        if not self.is_running():
            return
        if self._loop is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_LAST_WORD)
        else:
            with suppress(RuntimeError):  # that event loop was closed a moment ago
                self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_pause(self._interval))
            work = self._work()
            if work is None:
                return
            try:
                await work()
            except StoreError as error:
                _failed(error)
            del work
