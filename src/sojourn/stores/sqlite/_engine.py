"""The connections to the SQLite file: readers on the calling threads, and one thread that writes for all callers.

The writer takes all queued jobs, carries them out in one transaction, and notifies their callers when that is
committed: a commit under load carries many writes for the price of one. A job that has been queued is carried out,
whether or not its caller still waits for it.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

from ...aio import in_trio
from ...chance import chance
from ...errors import StoreError, StoreUnavailable
from ._file import PULSE, connect_reader, connect_writer, describe, error_code, identity, prune, retry_while_busy
from ._options import Settings

__all__ = ["Engine", "Job", "Stopped", "as_store_error", "nothing", "run_in_thread"]

T = TypeVar("T")

_PASSING: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_FULL}
"""Failures after which the connection can still be used. After any other a new one is made."""
_NO_SPACE: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""Failures for want of space on the disk, or of the right to a larger file."""


class Stopped(Exception):
    """This engine has ended: use the next one."""


class Job(Generic[T]):
    """One operation for the writer, and how to notify the caller that waits for it.

    ``home`` runs a function in the event loop of the caller: all callers of a batch in one event loop are notified by
    one call into it. None: the writer notifies the caller itself.
    """

    __slots__ = ("_arguments", "_error", "_operation", "_value", "home", "notify")

    def __init__(self, operation: Callable[..., T], *arguments: object) -> None:
        self._operation = operation
        self._arguments = arguments
        self._error: Exception | None = None
        self.home: Callable[..., object] | None = None
        self.notify: Callable[[], object] = nothing

    def carry_out(self, connection: sqlite3.Connection, now: int) -> None:
        self._value = self._operation(connection, now, *self._arguments)
        self._error = None

    def fail(self, error: Exception) -> None:
        self._error = error

    def result(self) -> T:
        """What the operation returned, once notified.

        Raises:
            StoreError: nothing was written. Each caller gets an error of its own, with the same driver's error.
        """
        if self._error is not None:
            raise as_store_error(self._error)
        return self._value

    def wait(self, put: Callable[[Job[T]], None]) -> T:
        """Queue the job and block this thread until it is done."""
        done = threading.Lock()
        done.acquire()  # a lock as a one-shot signal, the cheapest there is; the writer releases it
        self.notify = done.release
        put(self)
        done.acquire()
        return self.result()

    async def wait_async(self, put: Callable[[Job[T]], None]) -> T:
        """Queue the job and await it, under asyncio or trio. Cancelling the wait does not undo the job."""
        if in_trio():
            trio: Any = sys.modules["trio"]
            event = trio.Event()
            self.home, self.notify = trio.lowlevel.current_trio_token().run_sync_soon, event.set
            put(self)
            await event.wait()
        else:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self.home, self.notify = loop.call_soon_threadsafe, partial(_settle, future)
            put(self)
            await future
        return self.result()


def nothing(*_: object) -> None:
    """The job that only opens the file: the engine does that before its first job."""


async def run_in_thread(function: Callable[[], T]) -> T:
    """Run a function that may block in a worker thread of the running event loop."""
    if in_trio():
        result: T = await sys.modules["trio"].to_thread.run_sync(function)
        return result
    return await asyncio.get_running_loop().run_in_executor(None, function)


def as_store_error(error: Exception) -> Exception:
    """The error for a caller, a new one each time. Errors about the caller's own arguments stay as they are."""
    if isinstance(error, StoreError):
        return type(error)(*error.args, driver_error=error.driver_error)
    if isinstance(error, sqlite3.Error | OSError):
        return StoreUnavailable(f"the SQLite file cannot be used: {describe(error)}", driver_error=error)
    return error


class Engine:
    """One opening of the file, from the first job to ``stop`` or to a failure that leaves its connections unusable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gate = threading.Lock()
        self._jobs: queue.SimpleQueue[Job[Any] | None] = (
            queue.SimpleQueue()
        )  # by its module, which gevent may patch late
        self._idle: deque[sqlite3.Connection] = deque()
        self._listening: deque[sqlite3.Connection] = deque()
        """The one that tells of commits, which it can of those of others alone; two for a moment, where two threads ask at once."""
        self._readers = 0
        self._batch: list[Job[Any]] = []
        self.ready = False
        """Whether the file has been opened, so that it can be read."""
        self.stopped = False
        self._thread = threading.Thread(target=self._write, name="sojourn-sqlite-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job[Any]) -> bool:
        """Queue a job. False: this engine has ended, and the job was not taken."""
        with self._gate:
            if self.stopped:
                return False
            self._jobs.put(job)
            return True

    def fetch(self, statement: str, arguments: tuple[object, ...]) -> list[Any]:
        """Read on this thread, without waiting.

        Connections are shared by all threads: as many are open as threads were ever reading at once, and a thread
        that ends leaves none behind.

        Raises:
            Stopped: use the next engine.
            sqlite3.Error: also when the file is busy.
        """
        return self._fetch(self._idle, statement, arguments)[1]

    def pulse(self) -> object:
        """What is another thing once anybody has committed: the connection that was asked, and what it says.

        Raises:
            Stopped, sqlite3.Error: as `fetch`.
        """
        connection, rows = self._fetch(self._listening, PULSE, ())
        return connection, rows[0][0]

    def _fetch(
        self, idle: deque[sqlite3.Connection], statement: str, arguments: tuple[object, ...]
    ) -> tuple[sqlite3.Connection, list[Any]]:
        try:
            connection = idle.pop()
        except IndexError:
            connection = self._new_reader()
        try:
            rows = connection.execute(statement, arguments).fetchall()
        except BaseException:
            self._discard(connection)
            raise
        idle.append(connection)
        if self.stopped:
            self._close_readers()
        return connection, rows

    def request_stop(self) -> None:
        """Let the writer finish what is queued, close all connections and end."""
        with self._gate:
            if not self.stopped:
                self.stopped = True
                self._jobs.put(None)

    def join(self, timeout: float | None = None) -> None:
        """Wait for that, for at most ``timeout`` seconds, and for the readers under way."""
        self._thread.join(timeout)
        deadline = time.monotonic() + self._settings.timeout
        while self._readers and time.monotonic() < deadline:
            time.sleep(0.000_5)

    def _new_reader(self) -> sqlite3.Connection:
        with self._gate:
            if self.stopped:
                raise Stopped
            self._readers += 1  # from before it is opened until it is closed, as a fork waits for both
        try:
            return connect_reader(self._settings.path)
        except BaseException:
            self._count_out()
            raise

    def _discard(self, connection: sqlite3.Connection) -> None:
        try:
            connection.close()
        finally:
            self._count_out()

    def _count_out(self) -> None:
        with self._gate:
            self._readers -= 1

    def _close_readers(self) -> None:
        # Those in use are closed by `fetch`, which looks at `stopped` after giving them back.
        for idle in (self._idle, self._listening):
            with suppress(IndexError):
                while True:
                    self._discard(idle.pop())

    # What follows runs in the writer's thread.

    def _write(self) -> None:
        settings = self._settings
        connection: sqlite3.Connection | None = None
        failure: Exception = Stopped()
        try:
            connection = connect_writer(settings.path, settings.synchronous, settings.timeout)
            self._serve(connection, identity(settings.path))
        except Exception as error:  # noqa: BLE001 - the waiting callers get it, and the next engine starts afresh
            failure = error
        with self._gate:
            self.ready, self.stopped = False, True
            left = [job for job in self._waiting() if job is not None]
        self._close_readers()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        for job in left:
            job.fail(failure)
        _notify([*self._batch, *left])  # only now: a caller that tries again comes to the next engine

    def _serve(self, connection: sqlite3.Connection, file: tuple[int, int]) -> None:
        self.ready = True
        due = self._next_pruning()
        while True:
            jobs = self._take(due)
            is_last = bool(jobs) and jobs[-1] is None  # nothing is queued behind a request to stop
            self._batch = [job for job in jobs if job is not None]
            if self._batch:
                self._transact(connection, file, self._batch, self._settings.timeout)
                _notify(self._batch)
                self._batch = []
            if is_last:
                return
            if due is not None and time.monotonic() >= due:
                pruning = Job(prune)
                # It does not wait for other writers: they may be pruning.
                self._transact(connection, file, [pruning], 0)
                due = time.monotonic() if _has_more(pruning) else self._next_pruning()

    def _next_pruning(self) -> float | None:
        interval = self._settings.prune_interval
        # Spread, lest processes that were started together prune together.
        return None if interval is None else time.monotonic() + interval * chance.uniform(0.75, 1.25)

    def _take(self, due: float | None) -> list[Job[Any] | None]:
        """Wait for a job, or until pruning is due, and take all that are there."""
        try:
            first = self._jobs.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
        except queue.Empty:
            return []
        return [first, *self._waiting()]

    def _waiting(self) -> list[Job[Any] | None]:
        return [self._jobs.get_nowait() for _ in range(self._jobs.qsize())]

    def _transact(
        self, connection: sqlite3.Connection, file: tuple[int, int], jobs: list[Job[Any]], timeout: float
    ) -> None:
        """Carry out all jobs in one transaction, or none.

        Raises:
            sqlite3.Error: the connection cannot be used any more. The jobs have failed with this error.
            OSError: likewise, because the file has gone.
        """
        try:
            if identity(self._settings.path) != file:
                raise StoreUnavailable("the SQLite file was replaced by another")  # noqa: TRY301
            retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"), timeout)
            now = self._settings.clock()
            for job in jobs:
                job.carry_out(connection, now)
            connection.execute("COMMIT")
        except Exception as error:
            one_by_one = len(jobs) > 1 and not _concerns_file(error)
            for job in jobs:
                job.fail(StoreUnavailable("an earlier write failed") if one_by_one else error)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if error_code(error) in _NO_SPACE:
                with suppress(
                    sqlite3.Error
                ):  # the log has room once it is moved into the file, which writes do only when they succeed
                    connection.execute("PRAGMA wal_checkpoint")
            if one_by_one:  # one of them cannot be carried out, such as with a key that is no text
                for job in jobs:
                    self._transact(connection, file, [job], timeout)
            elif _concerns_file(error) and error_code(error) not in _PASSING:
                raise


def _concerns_file(error: Exception) -> bool:
    """Whether an error would meet any operation, rather than the one that raised it."""
    return isinstance(error, OSError | StoreError | sqlite3.OperationalError | sqlite3.InternalError) or (
        type(error) is sqlite3.DatabaseError  # its subclasses are about values and statements
    )


def _has_more(pruning: Job[tuple[int, bool]]) -> bool:
    try:
        return pruning.result()[1]
    except StoreError:
        return False  # busy or full: another time


def _notify(jobs: list[Job[Any]]) -> None:
    homes: dict[Callable[..., object], list[Job[Any]]] = {}
    for job in jobs:
        if job.home is None:
            job.notify()
        else:
            homes.setdefault(job.home, []).append(job)
    for home, there in homes.items():
        try:
            home(_notify_here, there)
        except RuntimeError:  # the event loop was closed: no caller waits any more
            continue


def _notify_here(jobs: list[Job[Any]]) -> None:
    for job in jobs:
        job.notify()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():  # it is when its caller was cancelled
        future.set_result(None)
