"""One statement and its rows over a connection of psycopg's, within a deadline, in either colour.

Psycopg's cursors serve any query. A store has a dozen, known beforehand, each of one round trip. Sent straight
through psycopg's own wrapper of libpq (``psycopg.pq``), they cost less than half as much and end when their time is
up, whatever the server does. The connection is idle or closed afterwards, and never has a reply still to come.
"""

from __future__ import annotations

import asyncio
import hashlib
import select
import threading
from collections.abc import Collection, Generator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, NamedTuple, TypeAlias

import psycopg
from psycopg import errors, pq

from ...errors import StoreError, StoreTimeout, StoreUnavailable
from .._raising import raise_alone

__all__ = [
    "Row",
    "Statement",
    "acquire_async",
    "acquire_sync",
    "execute_async",
    "execute_sync",
    "failure",
    "foreign_reply",
    "is_alive",
    "is_foreign",
    "no_connection",
    "overdue",
    "rows_of",
]

Row: TypeAlias = list[Any]
"""The values of a row, in PostgreSQL's binary format."""
_Steps: TypeAlias = Generator[int, int, list[Row]]

_READ: Final = 1
_WRITE: Final = 2
_GRACE: Final = 0.1
"""Seconds that a cancelled call waits for its reply before it gives its connection up; usually a thousand times enough."""


class Statement(NamedTuple):
    """A statement whose parameters and results all travel in binary format."""

    name: bytes
    text: bytes
    writes: bool
    keyed: bool = False
    """Whether the last value of each row is the key that it is about."""

    @classmethod
    def of(cls, text: str, *, writes: bool = True, keyed: bool = False) -> Statement:
        # Stores on other tables may share a connection, so that a name must stand for one text.
        name = "sojourn_" + hashlib.sha256(text.encode()).hexdigest()[:24]
        return cls(name.encode(), text.encode(), writes, keyed)

    @classmethod
    def script(cls, *texts: str) -> Statement:
        """Several statements without parameters, carried out as one transaction."""
        return cls(b"", ";\n".join(texts).encode(), writes=True)


def acquire_sync(semaphore: threading.Semaphore, seconds: float) -> bool:
    """Acquire a semaphore, unless it takes longer than that."""
    return semaphore.acquire(timeout=max(0.0, seconds))


async def acquire_async(semaphore: asyncio.Semaphore, seconds: float) -> bool:
    """`acquire_sync` without blocking the event loop."""
    if not semaphore.locked():
        return await semaphore.acquire()  # does not wait
    try:
        async with asyncio.timeout(seconds):
            return await semaphore.acquire()
    except TimeoutError:
        return False


def is_alive(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether an idle connection is still open, as far as this side knows; without a round trip."""
    pgconn = connection.pgconn
    try:
        # A server that shuts down sends a last message, and only then the end of the stream.
        while _wait_sync(pgconn.socket, _READ, 0):
            pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return True


def execute_sync(
    connection: psycopg.Connection[Any],
    statement: Statement,
    parameters: Sequence[bytes | None],
    *,
    prepare: bool,
    timeout: float,
) -> list[Row]:
    """Run a statement, and return its rows.

    Raises:
        StoreUnavailable: the server refused it, and nothing was written.
        StoreTimeout: no reply within ``timeout`` seconds, or the connection was lost while writing.
    """
    pgconn = connection.pgconn
    steps = _steps(connection, statement, parameters, prepare=prepare)
    deadline = monotonic() + timeout
    try:
        wanted = next(steps)
        while True:
            ready = _wait_sync(pgconn.socket, wanted, deadline - monotonic())
            if not ready:
                raise overdue(timeout)
            wanted = steps.send(ready)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    except psycopg.Error as error:
        raise_alone(failure(error, writes=statement.writes))
    finally:
        _close_unless_idle(pgconn)


async def execute_async(
    connection: psycopg.AsyncConnection[Any],
    statement: Statement,
    parameters: Sequence[bytes | None],
    *,
    prepare: bool,
    timeout: float,  # noqa: ASYNC109 - a timer costs a tenth of a cancel scope, and survives being cancelled itself
) -> list[Row]:
    """`execute_sync` without blocking the event loop. A call that is cancelled still waits a moment for its reply."""
    pgconn = connection.pgconn
    steps = _steps(connection, statement, parameters, prepare=prepare)
    deadline = monotonic() + timeout
    cancelled: asyncio.CancelledError | None = None
    try:
        wanted = next(steps)
        while True:
            try:
                ready = await _wait_async(pgconn.socket, wanted, deadline - monotonic())
            except asyncio.CancelledError as error:
                if cancelled is None:
                    deadline = min(deadline, monotonic() + _GRACE)
                cancelled = error
                # AnyIO cancels again in every turn of the event loop, so no turn may be needed from here on.
                ready = _wait_sync(pgconn.socket, wanted, 0)
                if not ready and monotonic() < deadline:
                    continue
            if not ready:
                raise cancelled or overdue(timeout)
            wanted = steps.send(ready)
    except StopIteration as stop:
        if cancelled is None:
            return stop.value  # type: ignore[no-any-return]
    except psycopg.Error as error:
        if cancelled is None:
            raise_alone(failure(error, writes=statement.writes))
    finally:
        _close_unless_idle(pgconn)
    raise cancelled


def _close_unless_idle(pgconn: pq.abc.PGconn) -> None:
    if pgconn.transaction_status != pq.TransactionStatus.IDLE:
        pgconn.finish()


def _wait_sync(socket: int, wanted: int, seconds: float) -> int:
    """What the socket is ready for, of what is wanted. 0 when the time is up."""
    if not hasattr(select, "poll"):  # pragma: no cover - Windows, or a patched select
        writing = [socket] if wanted & _WRITE else []
        readable, writable, _ = select.select([socket], writing, [], max(seconds, 0))
        return (_READ if readable else 0) | (_WRITE if writable else 0)
    poll = select.poll()
    poll.register(socket, select.POLLIN | (select.POLLOUT if wanted & _WRITE else 0))
    events = poll.poll(max(seconds, 0) * 1000)
    if not events:
        return 0
    # An error or a hang-up shows when reading.
    return (_WRITE if events[0][1] & select.POLLOUT else 0) | (_READ if events[0][1] & ~select.POLLOUT else 0)


async def _wait_async(socket: int, wanted: int, seconds: float) -> int:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[int] = loop.create_future()

    def wake(ready: int) -> None:
        if not waiter.done():
            waiter.set_result(ready)

    timer = loop.call_later(max(seconds, 0), wake, 0)
    loop.add_reader(socket, wake, _READ)
    if wanted & _WRITE:  # pragma: no cover - where the socket takes no more for now
        loop.add_writer(socket, wake, _WRITE)
    try:
        return await waiter
    finally:
        timer.cancel()
        loop.remove_reader(socket)
        if wanted & _WRITE:  # pragma: no cover - as above
            loop.remove_writer(socket)


def _steps(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    statement: Statement,
    parameters: Sequence[bytes | None],
    *,
    prepare: bool,
) -> _Steps:
    """Send a statement and collect its rows: yields what to wait for, and is sent what has come."""
    pgconn = connection.pgconn
    formats = [pq.Format.BINARY] * len(parameters)
    if not statement.name:
        pgconn.send_query(statement.text)
        return rows_of((yield from _results(pgconn)))
    if not prepare:
        pgconn.send_query_params(statement.text, parameters, param_formats=formats, result_format=pq.Format.BINARY)
        return rows_of((yield from _results(pgconn)))
    prepared: set[bytes] = vars(connection).setdefault("_sojourn_prepared", set())
    is_known = statement.name in prepared
    while True:
        if statement.name not in prepared:
            pgconn.send_prepare(statement.name, statement.text)
            with suppress(errors.DuplicatePreparedStatement):  # the name stands for the text
                rows_of((yield from _results(pgconn)))
            prepared.add(statement.name)
        pgconn.send_query_prepared(statement.name, parameters, formats, pq.Format.BINARY)
        try:
            return rows_of((yield from _results(pgconn)))
        except errors.InvalidSqlStatementName:
            # Another user of the connection has deallocated it; nothing was carried out.
            prepared.discard(statement.name)
            if not is_known:
                raise
            is_known = False


def _results(pgconn: pq.abc.PGconn) -> Generator[int, int, list[pq.abc.PGresult]]:
    while pgconn.flush():
        if (yield _READ | _WRITE) & _READ:  # pragma: no cover - the server rarely speaks first
            pgconn.consume_input()
    results: list[pq.abc.PGresult] = []
    while True:
        while pgconn.is_busy():
            yield _READ
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            if not results:  # pragma: no cover - libpq reports a loss before, as far as is known
                raise psycopg.OperationalError("the connection is lost")
            return results
        results.append(result)


def rows_of(results: list[pq.abc.PGresult]) -> list[Row]:
    """The rows of the last result.

    Raises:
        psycopg.Error: the server refused it.
    """
    for result in results:
        if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
            is_servers = result.error_field(
                pq.DiagnosticField.SQLSTATE
            )  # else it is libpq's own, and the connection is lost
            raise (
                errors.error_from_result(result) if is_servers else psycopg.OperationalError(result.get_error_message())
            )
    last = results[-1]
    return [[last.get_value(row, column) for column in range(last.nfields)] for row in range(last.ntuples)]


_REFUSALS: Final = {
    "22": "a key must be text without NUL, and a record JSON",
    "25006": "it is read-only, a hot standby perhaps",
    "26000": "a prepared statement is gone; behind a pooler of transactions, give prepare=False",
    "3F000": "there is no such schema",
    "42501": "its user lacks a privilege",
    "42703": "a column is missing",
    "42P01": "there is no such table; give create_table=True to have it created",
    "42P05": "another client of a pooler has prepared it; behind a pooler of transactions, give prepare=False",
    "53300": "it has too many connections",
    "54000": "the key is too long for its index",
    "57014": "the statement took longer than it lets them",
}
"""What a refusal means, by SQLSTATE or its class."""

_UNDECIDED: Final = ("08", "40003", "57P01", "57P02")
"""The states, or classes of them, in which a server may already have committed."""


def overdue(timeout: float) -> StoreTimeout:
    """What it means that there is no reply."""
    return StoreTimeout(f"PostgreSQL did not answer within {timeout:g} s")


def is_foreign(statement: Statement, rows: list[Row], keys: Collection[bytes | None]) -> bool:
    """Whether rows are about other keys, and so the reply to somebody else's statement."""
    return statement.keyed and any(row[-1] not in keys for row in rows)


def foreign_reply(*, writes: bool) -> StoreError:
    """A reply that is somebody else's, in the stores' terms."""
    kind = StoreTimeout if writes else StoreUnavailable
    return kind(
        "PostgreSQL's reply was to another statement: something else uses the connection too, which is closed now"
    )


def no_connection(error: psycopg.Error) -> StoreUnavailable:
    """Why there is none, in the stores' terms."""
    reason = type(error).__name__
    if "unsupported startup parameter" in str(error):
        reason += "; behind a pooler of transactions, give prepare=False"
    return StoreUnavailable(f"no connection to PostgreSQL ({reason})", driver_error=error)


def failure(error: psycopg.Error, *, writes: bool) -> StoreError:
    """A failed statement in the stores' terms. Nothing of what the server says is in its text: that may show keys and data."""
    state = error.sqlstate or ""
    code = f" ({state})" if state else ""
    if state.startswith(_UNDECIDED) or (not state and isinstance(error, psycopg.OperationalError)):
        kind = StoreTimeout if writes else StoreUnavailable
        return kind(f"the connection to PostgreSQL was lost{code}", driver_error=error)
    reason = _REFUSALS.get(state) or _REFUSALS.get(state[:2]) or type(error).__name__
    return StoreUnavailable(f"PostgreSQL refused the operation: {reason}{code}", driver_error=error)
