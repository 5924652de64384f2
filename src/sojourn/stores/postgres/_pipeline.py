"""A few connections that all tasks of an event loop share, in libpq's pipeline mode: a third of the cost of a pool's.

A statement is sent without waiting for the replies to those before it. Reads have a connection of their own, so that no write, and nobody
who holds a row, keeps them waiting; what is read in one turn of the event loop leaves in one write. Each write is a transaction of its
own, ended by a sync of its own: one that fails changes nothing about the next. Writes are spread over several connections, as the
server carries out what comes on one of them one after the other, and waits for the disk each time.

A sync sends what is before it, so each write leaves by itself. libpq 17 has one that does not, `PQsendPipelineSync`, for which psycopg has no
name. Called by its address, it made 0.43 of the calls of ``send()`` with 16 writes at once, and took 0.99 of the time: no reason to.

A row that another transaction has locked would keep up all who share the connection: ``lock_timeout`` ends such a wait, nothing was
written, and the write is sent once more on a connection that it has for itself, from the pool.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakMethod

import psycopg
from psycopg import errors, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ...aio import put_off, unbroken
from ...errors import StoreUnavailable
from .._raising import raise_alone
from .._waiting import Asked, Line, LostError
from ._wire import Row, Statement, failure, foreign_reply, is_alive, is_foreign, no_connection, overdue, rows_of

__all__ = ["LEAST_CONNECTIONS", "NOTHING_DONE", "Shared"]

LEAST_CONNECTIONS: Final = 3
"""One for reads, one for writes, and one for what has a connection for itself."""
NOTHING_DONE: Final = errors.LockNotAvailable, errors.InvalidSqlStatementName, errors.InFailedSqlTransaction
"""Refusals of a shared connection alone. The statement waited for a lock, or was not prepared any more, or another one failed with it."""

_LOCK_TIMEOUT: Final = 20  # ms
_LONGEST_IDLE: Final = 200.0
"""Seconds after which a connection that was not used is left: less than clouds remember it for."""
_NAP: Final = 0.005
"""Seconds without use after which a connection is looked at."""
_DEEP: Final = 2
"""How many may wait on each connection before another one is opened."""
_BINARY: Final = pq.Format.BINARY
_SYNC: Final = pq.ExecStatus.PIPELINE_SYNC
_ABORTED: Final = pq.ExecStatus.PIPELINE_ABORTED

_inherited: Final[list[object]] = []
"""Connections that were open before a fork. The parent goes on using them: here they are neither used nor closed."""


class _Sent(NamedTuple):
    statement: Statement
    results: int
    """How many it will have: its preparation, if that goes before it, has one too."""


class _Pipeline(Line):
    """One of the connections."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: psycopg.AsyncConnection[Any], timeout: float
    ) -> None:
        super().__init__(loop, timeout)
        self._process = os.getpid()
        self._connection = connection
        self._pgconn = connection.pgconn
        self._socket = self._pgconn.socket
        self._prepared: set[bytes] = set()
        self._results: list[pq.abc.PGresult] = []
        """What has come since the last sync."""
        self._batches: deque[int] = deque()
        """How many statements there are up to each sync that is to come."""
        self._unsynced = 0
        self._is_blocked = False
        """The socket does not take what is to be sent."""
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        # Not to be kept alive by the event loop, when the store is forgotten.
        loop.add_reader(self._socket, _call, WeakMethod(self._read))
        self.is_open = True

    def is_fit(self) -> bool:
        """Whether it can be used. One that was idle is looked at: the event loop may not have seen yet that the server has closed it."""
        if not self.is_open or not self.is_idle_for(_NAP):
            return self.is_open
        if self.is_idle_for(_LONGEST_IDLE) or not is_alive(self._connection):
            self.lose(ConnectionAbortedError("idle for too long"))
        return self.is_open

    def send(self, statement: Statement, parameters: Sequence[bytes | None], share: float = 1.0) -> Asked:
        """Send a statement; the reply is its rows.

        Raises:
            psycopg.Error: from the reply: the server refused it.
            LostError: from the reply: there will be none.
        """
        name = statement.name
        is_new = name not in self._prepared
        asked = self._wait(_Sent(statement, 1 + is_new), share)
        try:
            if is_new:
                self._pgconn.send_prepare(name, statement.text)
                self._prepared.add(name)
            self._pgconn.send_query_prepared(name, parameters, [_BINARY] * len(parameters), _BINARY)
            self._unsynced += 1
            if statement.writes:
                self._sync()
            elif self._unsynced == 1:
                self._loop.call_soon(self._sync)
        except psycopg.Error as error:
            self.lose(error)
        return asked

    def _sync(self) -> None:
        """End the transaction, and send all that has not left."""
        if not self._unsynced:  # it was lost meanwhile
            return
        self._batches.append(self._unsynced)
        self._unsynced = 0
        try:
            self._pgconn.pipeline_sync()
            self._flush()
        except psycopg.Error as error:
            self.lose(error)

    def _flush(self) -> None:
        is_blocked = bool(self._pgconn.flush())
        if is_blocked != self._is_blocked:
            self._is_blocked = is_blocked
            if is_blocked:
                self._loop.add_writer(self._socket, _call, WeakMethod(self._write))
            else:
                self._loop.remove_writer(self._socket)

    def _write(self) -> None:
        try:
            self._flush()
        except psycopg.Error as error:
            self.lose(error)

    def _read(self) -> None:
        pgconn = self._pgconn
        try:
            pgconn.consume_input()
            was_none = False
            while self._waiting and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    # The end of one statement's; of all, the second time: what waits has no sync yet, and the server has ended the connection.
                    if was_none:
                        return
                    was_none = True
                    continue
                was_none = False
                if result.status == _SYNC:
                    self._deliver()
                else:
                    self._results.append(result)
        except psycopg.Error as error:
            self.lose(self._last_words() or error)

    def _deliver(self) -> None:
        """Give what has come to the callers that wait for it."""
        count = self._batches.popleft()
        batch = self._waiting[:count]
        if len(self._results) != sum(asked.what.results for asked in batch):
            self.lose(ConnectionAbortedError("out of step"))  # a pooler's fault, as a rule
            return
        results, self._results = iter(self._results), []
        del self._waiting[:count]
        for asked in batch:
            sent: _Sent = asked.what
            own = [next(results) for _ in range(sent.results)]
            try:
                if own[0].status == _ABORTED:
                    raise errors.InFailedSqlTransaction
                rows = rows_of(own)
            except psycopg.Error as error:
                is_unprepared = sent.results > 1 and own[0].status != pq.ExecStatus.COMMAND_OK
                if is_unprepared or isinstance(error, errors.InvalidSqlStatementName):
                    self._prepared.discard(sent.statement.name)
                asked.fail(error)
            else:
                asked.answer(rows)

    def _last_words(self) -> psycopg.Error | None:
        """Why the server ended the connection, if it said so."""
        for result in reversed(self._results):
            if result.status != _ABORTED:  # as what came after it is
                try:
                    rows_of([result])
                except psycopg.Error as error:
                    return error
                break  # pragma: no cover - it ended without a word
        return None

    def _forget_unsent(self) -> int:
        self._unsynced = 0
        return 0  # libpq has it

    def _abort(self) -> None:
        if self._process != os.getpid():
            _inherited.append(self._connection)
        elif self._socket >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
                self._loop.remove_writer(self._socket)
            self._socket = -1
            self._pgconn.finish()

    def __del__(self) -> None:
        self.lose(ConnectionAbortedError("forgotten"))


def _call(method: WeakMethod[Any]) -> None:
    callback = method()
    if callback is not None:
        callback()


class Shared:
    """The connections of an event loop, opened when they are needed.

    Args:
        conninfo: a connection string of libpq's.
        timeout: seconds within which each reply is due.
        size: how many connections at most, at least two.
    """

    def __init__(self, conninfo: str, timeout: float, size: int) -> None:
        options = f"{conninfo_to_dict(conninfo).get('options', '')} -c lock_timeout={_LOCK_TIMEOUT}".lstrip()
        self._conninfo = make_conninfo(conninfo, options=options)
        self._timeout = timeout
        self._most = {False: 1, True: size - 1}
        """How many connections there may be for reads, and for writes."""
        self._lines: dict[bool, list[_Pipeline]] = {False: [], True: []}
        self._connecting: dict[bool, asyncio.Task[_Pipeline]] = {}
        self._is_closed = False

    async def run(
        self, statement: Statement, parameters: Sequence[bytes | None], keys: Sequence[bytes | None]
    ) -> list[Row]:
        """Run a statement about some keys, and return its rows.

        Raises:
            StoreUnavailable: nothing was written.
            StoreTimeout: perhaps it was.
            psycopg.Error: one of `NOTHING_DONE`.
        """
        writes = statement.writes
        line = self._line(writes=writes)
        is_fresh = line is None
        if line is None:
            line = await self._connected(writes=writes)
        rows: list[Row]
        try:
            if writes:
                asked = line.send(statement, parameters)
                asked.is_firm = True
                try:
                    rows = await asked.reply
                except asyncio.CancelledError as cancelled:
                    put_off(cancelled)
                    rows = await asked.to_the_end()
            elif is_fresh:
                rows = await line.send(statement, parameters).reply
            else:
                asked = line.send(statement, parameters, 0.5)
                asked.is_first_try = True
                try:
                    rows = await asked.reply
                except LostError:
                    # What is between may have forgotten the connection without a word, or a failover taken place.
                    line = self._line(writes=writes) or await self._connected(writes=writes)
                    rows = await line.send(statement, parameters, 0.5).reply
        except LostError as lost:
            cause = lost.cause
            if isinstance(cause, TimeoutError):
                raise_alone(overdue(self._timeout))
            error = cause if isinstance(cause, psycopg.Error) else psycopg.OperationalError(str(cause))
            raise_alone(failure(error, writes=writes))
        except NOTHING_DONE:
            raise
        except psycopg.Error as error:
            raise_alone(failure(error, writes=writes))
        if is_foreign(statement, rows, keys):
            line.lose(ConnectionAbortedError("out of step"))
            raise foreign_reply(writes=writes)
        return rows

    def close(self) -> None:
        """Close the connections, also those that are being opened."""
        self._is_closed = True
        for lines in self._lines.values():
            for line in tuple(lines):
                line.lose(ConnectionAbortedError("closed by the store"))
            lines.clear()

    def _line(self, *, writes: bool) -> _Pipeline | None:
        """The connection with the least to do, if there is one; where that has much to do, another one is opened for the next."""
        lines = self._lines[writes]
        best: _Pipeline | None = None
        for line in lines:
            if not line.is_fit():
                return self._line_of_the_living(writes=writes)
            if best is None or line.load < best.load:
                best = line
        if best is not None and best.load >= _DEEP and len(lines) < self._most[writes]:
            _ = self._connect_soon(writes=writes)
        return best

    def _line_of_the_living(self, *, writes: bool) -> _Pipeline | None:
        lines = self._lines[writes]
        for line in tuple(lines):
            if not line.is_fit():
                lines.remove(line)  # what still waits for its reply there holds it
        return self._line(writes=writes)

    async def _connected(self, *, writes: bool) -> _Pipeline:
        """A connection, opened once for all callers that ask for it meanwhile."""
        try:
            connecting = self._connect_soon(writes=writes)
            line = await (unbroken(connecting) if writes else asyncio.shield(connecting))
        except psycopg.Error as error:
            raise_alone(no_connection(error))
        if not line.is_open:
            raise StoreUnavailable("the connection to PostgreSQL was closed at once")
        return line

    def _connect_soon(self, *, writes: bool) -> asyncio.Task[_Pipeline]:
        task = self._connecting.get(writes)
        if task is None or task.done():  # an eager one may be done before it is noted here
            # Not in the context of a request, which would live as long.
            task = self._connecting[writes] = asyncio.get_running_loop().create_task(
                self._connect(writes=writes), context=contextvars.Context()
            )
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps no caller waits
        return task

    async def _connect(self, *, writes: bool) -> _Pipeline:
        try:
            connection = await psycopg.AsyncConnection.connect(self._conninfo)
        finally:
            self._connecting.pop(writes, None)
        line = _Pipeline(asyncio.get_running_loop(), connection, self._timeout)
        if self._is_closed:
            line.lose(ConnectionAbortedError("closed by the store"))
        else:
            self._lines[writes].append(line)
        return line
