"""The connections of the PostgreSQL store: the app's own pool, or one that is opened here, on the first use."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import psycopg
import psycopg_pool

from ....aio import unbroken  # async only
from ....errors import ConfigurationError, StoreError, StoreUnavailable
from ..._home import AsyncHome, refuse_trio
from ..._raising import raise_alone
from .._birthplace import birthplace_async
from .._options import Settings, checked_conninfo
from .._pipeline import LEAST_CONNECTIONS, NOTHING_DONE, Shared  # async only
from .._wire import Row, Statement, acquire_async, execute_async, foreign_reply, is_alive, is_foreign, no_connection

__all__ = ["AsyncConnections"]

_LONGEST_IDLE: Final = 200.0
"""Seconds after which a connection that was not used is closed: less than clouds remember it for."""

_USED: Final = "_sojourn_used"
"""What marks a connection of ours that has been used before."""

_inherited: list[object] = []
"""Connections that were open before a fork. The parent goes on using them: here they are neither used nor closed."""


class AsyncPool:
    """As much of a pool as a store needs, with psycopg_pool's names.

    A caller that finds no connection makes one. If the server is away, the caller gets the error at once, with its
    reason. Nothing runs in the background.
    """

    shared: Shared | None = None  # async only
    """Connections beside those that are lent: what is asked most goes over them."""  # async only

    def __init__(self, conninfo: str, size: int) -> None:
        self._conninfo = conninfo
        self._idle: deque[tuple[float, psycopg.AsyncConnection[Any]]] = deque()
        self._permits = asyncio.Semaphore(size)
        self._process = os.getpid()
        self._is_closed = False

    async def getconn(self, seconds: float) -> psycopg.AsyncConnection[Any]:
        """The connection used last, unless that was long ago, else a new one."""
        if not await acquire_async(self._permits, seconds):
            raise psycopg_pool.PoolTimeout("all are in use")  # pragma: no cover - coverage misses it on Python 3.11
        try:
            return self._used_last() or await psycopg.AsyncConnection.connect(self._conninfo)
        except BaseException:
            self._permits.release()
            raise

    def _used_last(self) -> psycopg.AsyncConnection[Any] | None:
        try:
            at, connection = self._idle.pop()
        except IndexError:
            return None
        if monotonic() - at < _LONGEST_IDLE:
            return connection
        connection.pgconn.finish()
        self.forget_idle()  # they are idle for longer
        return None

    async def putconn(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Take a connection back; one that is closed makes room for a new one."""
        if not connection.closed:
            vars(connection)[_USED] = True
            now = monotonic()
            self._idle.append((now, connection))
            with suppress(IndexError):  # others take as well
                if self._idle[0][0] < now - _LONGEST_IDLE:
                    _, unneeded = self._idle.popleft()
                    unneeded.pgconn.finish()
        self._permits.release()
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Close the connections, those lent out when they come back."""
        self._is_closed = True
        if self.shared is not None:  # async only
            self.shared.close()  # async only
        if self._process != os.getpid():
            _inherited.append(self._idle)
            return
        self.forget_idle()

    def forget_idle(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(IndexError):
            while True:
                _, connection = self._idle.pop()
                connection.pgconn.finish()

    __del__ = close


class AsyncConnections:
    """Lends connections to statements.

    Args:
        given: the app's own pool, or a connection string or URL of libpq's. For such a string there is a pool in each
            process and on each event loop that uses the store.
        settings: the store's.
    """

    def __init__(self, given: object, settings: Settings) -> None:
        refuse_trio("AsyncPostgresStore")  # async only
        self._settings = settings
        self._conninfo: str | None = None
        self._given: psycopg_pool.AsyncConnectionPool[Any] | None = None
        self._given_home: AsyncHome | None = None
        """Where the app's own pool was opened, as soon as it is known to be open."""
        if isinstance(given, str):
            self._conninfo = checked_conninfo(given, settings)
        elif isinstance(given, psycopg_pool.AsyncConnectionPool):
            self._given = given
            self._given_home = birthplace_async(given)
        else:
            raise ConfigurationError(
                "pool", type(given).__name__, "give AsyncPostgresStore a psycopg_pool.AsyncConnectionPool, or a URL"
            )
        self._pools: dict[AsyncHome, psycopg_pool.AsyncConnectionPool[Any] | AsyncPool] = {}
        self._opening: dict[AsyncHome, asyncio.Lock] = {}
        self._failed: tuple[float, StoreError] | None = None

    async def open(self, survey: Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]]) -> bool:
        """Connect, and call ``survey`` with the connection, unless that is done here already; True if it was not.

        Raises:
            StoreUnavailable: no connection, or the survey failed, or the app's own pool was opened elsewhere.
        """
        home = AsyncHome.here("AsyncPostgresStore")
        if home in self._pools:
            return False
        since = monotonic()
        async with self._opening.setdefault(home, asyncio.Lock()):
            if home in self._pools:
                return False
            failed = self._failed
            if failed is not None and failed[0] > since:
                # Another call found out while this one waited.
                raise StoreUnavailable(str(failed[1]), driver_error=failed[1].driver_error)
            self._forget_what_is_gone()
            pool = self._given_here(home) if self._given is not None else self._new_pool()
            try:
                connection = await self._borrow(pool)
                try:
                    await survey(connection)
                finally:
                    await pool.putconn(connection)
            except StoreError as error:
                self._failed = monotonic(), error
                if isinstance(pool, AsyncPool):
                    pool.close()
                raise
            self._failed = None
            self._pools[home] = pool
        return True

    @property  # async only
    def unbroken(self) -> bool:  # async only
        """Whether a write that was begun here is carried to its end, though the caller be cancelled."""  # async only
        settings = self._settings  # async only
        return self._conninfo is not None and settings.prepare and settings.pool_size >= LEAST_CONNECTIONS  # async only

    async def close(self) -> None:
        """Close the pools that were opened here."""
        for home in list(self._pools):
            pool = self._pools.pop(home, None)
            if isinstance(pool, AsyncPool):
                pool.close()

    async def run(self, statement: Statement, *parameters: bytes | None, keys: Sequence[bytes] = ()) -> list[Row]:
        """Run a statement on a connection of the pool, and return its rows.

        Args:
            statement: the statement.
            parameters: its parameters.
            keys: of a statement whose rows have keys, those that they are about; by default the first parameter.

        Raises:
            StoreUnavailable: nothing was written.
            StoreTimeout: perhaps it was.
        """
        pool = self._pools.get(AsyncHome.here("AsyncPostgresStore"))
        if pool is None:
            raise StoreUnavailable("the store was closed meanwhile")
        shared = pool.shared if isinstance(pool, AsyncPool) and statement.keyed else None  # async only
        if shared is not None:  # async only
            try:  # async only
                return await shared.run(statement, parameters, keys or parameters[:1])  # async only
            except NOTHING_DONE:  # async only
                if statement.writes:  # async only
                    work = self._run_on_loan(pool, statement, parameters, keys)  # async only
                    return await unbroken(asyncio.ensure_future(work))  # async only
        return await self._run_on_loan(pool, statement, parameters, keys)

    async def _run_on_loan(
        self,
        pool: psycopg_pool.AsyncConnectionPool[Any] | AsyncPool,
        statement: Statement,
        parameters: Sequence[bytes | None],
        keys: Sequence[bytes],
    ) -> list[Row]:
        """`run` on a connection that is borrowed for it."""
        seconds = self._settings.timeout
        connection = await self._borrow(pool)
        if not statement.writes and (self._given is not None or _USED in vars(connection)):
            # What is between may have forgotten it without a word, or a failover taken place. A read may be sent again.
            seconds /= 2
            try:
                return await self._run_on(pool, connection, statement, parameters, keys, seconds)
            except StoreError:
                if not connection.closed:  # the server refused it
                    raise
            if isinstance(pool, AsyncPool):
                pool.forget_idle()
            connection = await self._borrow(pool)
        return await self._run_on(pool, connection, statement, parameters, keys, seconds)

    async def _run_on(
        self,
        pool: psycopg_pool.AsyncConnectionPool[Any] | AsyncPool,
        connection: psycopg.AsyncConnection[Any],
        statement: Statement,
        parameters: Sequence[bytes | None],
        keys: Sequence[bytes],
        seconds: float,
    ) -> list[Row]:
        """`run` on this connection, which is given back."""
        try:
            rows = await self._execute(connection, statement, parameters, seconds)
            if is_foreign(statement, rows, keys or parameters[:1]):
                connection.pgconn.finish()
                raise foreign_reply(writes=statement.writes)
            return rows
        finally:
            await pool.putconn(connection)

    async def execute(
        self, connection: psycopg.AsyncConnection[Any], statement: Statement, *parameters: bytes | None
    ) -> list[Row]:
        """Run a statement on this connection."""
        return await self._execute(connection, statement, parameters, self._settings.timeout)

    async def _execute(
        self,
        connection: psycopg.AsyncConnection[Any],
        statement: Statement,
        parameters: Sequence[bytes | None],
        seconds: float,
    ) -> list[Row]:
        prepare = self._settings.prepare
        return await execute_async(connection, statement, parameters, prepare=prepare, timeout=seconds)

    def _new_pool(self) -> AsyncPool:
        assert self._conninfo is not None
        size = self._settings.pool_size
        if not self.unbroken:  # async only
            return AsyncPool(self._conninfo, size)  # async only
        # A third of them are lent.  # async only
        lent = size // 3  # async only
        pool = AsyncPool(self._conninfo, lent)  # async only
        pool.shared = Shared(self._conninfo, self._settings.timeout, size - lent)  # async only
        return pool  # async only
        # sync only: return Pool(self._conninfo, size)

    def _given_here(self, home: AsyncHome) -> psycopg_pool.AsyncConnectionPool[Any]:
        """The app's own pool, if it was opened here or is not open."""
        assert self._given is not None
        if self._given_home is None and not self._given.closed:
            self._given_home = birthplace_async(self._given) or home
        if self._given_home is not None and self._given_home != home:
            raise self._given_home.refusal("the pool", "open one")
        return self._given

    def _forget_what_is_gone(self) -> None:
        """Let go of the pools of event loops that were closed, and of those that a parent process goes on using."""
        for home in [home for home in list(self._opening) if home.is_gone()]:
            pool = self._pools.pop(home, None)
            self._opening.pop(home, None)
            if isinstance(pool, AsyncPool):
                pool.close()

    async def _borrow(self, pool: psycopg_pool.AsyncConnectionPool[Any] | AsyncPool) -> psycopg.AsyncConnection[Any]:
        """A connection that is open as far as is known."""
        deadline = monotonic() + self._settings.timeout
        while True:
            try:
                connection = await pool.getconn(deadline - monotonic())
            except psycopg.Error as error:  # cannot connect, or the pool is exhausted or closed
                raise_alone(no_connection(error))
            if is_alive(connection):
                return connection
            connection.pgconn.finish()
            await pool.putconn(connection)
