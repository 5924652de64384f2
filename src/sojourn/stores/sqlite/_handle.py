"""The file as a store holds it: opened when needed, closed and opened again, and never open across a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from ...errors import StoreUnavailable
from .._fork import register
from .._raising import raise_alone
from ._engine import Engine, Job, Stopped, nothing
from ._file import describe, is_busy, retry_while_busy
from ._options import Settings

__all__ = ["Handle"]

T = TypeVar("T")


class Handle:
    """Has at most one engine at a time, and starts the next one when that has ended."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening: dict[int, threading.Lock] = {}
        self._engine: Engine | None = None
        self._is_closed = False
        """By ``close()``, and not opened again since."""
        register(self)

    def __del__(self) -> None:
        if self._engine is not None:
            self._engine.request_stop()

    def close(self) -> None:
        """Finish what is queued and release the file. The next operation opens it again."""
        with self._opening_lock():
            engine, self._engine = self._engine, None
            self._is_closed = True
        if engine is not None:
            engine.request_stop()
            engine.join()

    def write(self, operation: Callable[..., T], *arguments: object) -> T:
        """Have the writer carry out an operation, and wait for it."""
        return Job(operation, *arguments).wait(self._put)

    async def write_async(self, operation: Callable[..., T], *arguments: object) -> T:
        """Have the writer carry out an operation, and await it."""
        return await Job(operation, *arguments).wait_async(self._put)

    def read(self, statement: str, *arguments: object, opens: bool = True) -> list[Any]:
        """The rows, waiting for the file if it is busy. ``opens``: False of who must not open again what was closed."""
        while True:
            engine = self._running(opens)
            try:
                if not engine.ready:
                    Job(nothing).wait(partial(self._put, opens=opens))
                    continue
                try:
                    return engine.fetch(statement, arguments)
                except sqlite3.OperationalError as error:
                    if not is_busy(error):
                        raise
                return retry_while_busy(partial(engine.fetch, statement, arguments), self._settings.timeout)
            except Stopped:
                continue
            except sqlite3.Error as error:
                if not is_busy(error):
                    engine.request_stop()  # the file may have been deleted, or put right: the next one sees
                raise_alone(StoreUnavailable(f"the SQLite file cannot be used: {describe(error)}", driver_error=error))

    def try_read(self, statement: str, *arguments: object) -> list[Any] | None:
        """The rows without waiting. None if that is not possible: then call ``read`` where it may block."""
        engine = self._engine
        if engine is None or not engine.ready:
            return None
        try:
            return engine.fetch(statement, arguments)
        except (Stopped, sqlite3.Error):
            return None

    def pulse(self) -> object:
        """What is another thing once anybody has committed, without waiting. None if that cannot be told."""
        engine = self._engine
        if engine is None or not engine.ready:
            return None
        try:
            return engine.pulse()
        except (Stopped, sqlite3.Error):
            return None

    def _put(self, job: Job[Any], *, opens: bool = True) -> None:
        while not self._running(opens).put(job):
            pass  # that one has just ended

    def _running(self, opens: bool) -> Engine:
        engine = self._engine
        if engine is None or engine.stopped:
            with self._opening_lock():
                engine = self._engine
                if engine is None or engine.stopped:
                    if self._is_closed and not opens:
                        raise StoreUnavailable("the SQLite store is closed")
                    engine = self._engine = Engine(self._settings)
                    self._is_closed = False
        return engine

    # A connection carried into a child process makes SQLite there believe that it holds locks which only the parent holds, and
    # connections opened afterwards share that belief. Hence all are closed before a fork, and opened again when needed.

    def before_fork(self) -> None:
        """Keep engines from being started, and end the one that runs, for at most the time that a busy file may take."""
        self._opening_lock().acquire()
        if self._engine is not None:
            with suppress(
                BaseException
            ):  # of a signal's handler, say: Python forks in any case, and this is given back after it
                self._engine.request_stop()
                self._engine.join(self._settings.timeout + 1)

    def after_fork_in_parent(self) -> None:
        """Let engines be started again."""
        self._opening_lock().release()

    def after_fork_in_child(self) -> None:  # pragma: no cover - runs in forked children, which report no coverage
        """Forget everything."""
        if self._engine is not None:
            _abandoned.append(self._engine)  # its connections must neither be used nor closed here
        self._engine = None

    def _opening_lock(self) -> threading.Lock:
        """What guards the start of an engine, made at the first use in a process: gevent may have patched `threading` by then only."""
        return self._opening.setdefault(os.getpid(), threading.Lock())


_abandoned: Final[list[Engine]] = []
