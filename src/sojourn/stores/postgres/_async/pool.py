"""The connections of the PostgreSQL store: the app's own pool, or one that is opened here, on the first use."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import psycopg
import psycopg_pool

from ....errors import ConfigurationError, StoreError, StoreUnavailable
from .._options import Settings, checked_conninfo
from .._wire import AsyncHome, Row, Statement, acquire_async, execute_async, is_alive

__all__ = ["AsyncConnections"]

_LONGEST_IDLE: Final = 600.0
"""Seconds after which a connection that was not used is closed."""


class AsyncPool:
    """As much of a pool as a store needs, with psycopg_pool's names.

    A caller that finds no connection makes one. If the server is away, the caller gets the error at once, with its
    reason. Nothing runs in the background.
    """

    def __init__(self, conninfo: str, size: int) -> None:
        self._conninfo = conninfo
        self._idle: deque[tuple[float, psycopg.AsyncConnection[Any]]] = deque()
        self._permits = asyncio.Semaphore(size)
        self._process = os.getpid()
        self._is_closed = False

    async def getconn(self, seconds: float) -> psycopg.AsyncConnection[Any]:
        """The connection used last, else a new one."""
        if not await acquire_async(self._permits, seconds):
            raise psycopg_pool.PoolTimeout("all are in use")  # pragma: no cover - coverage misses it on Python 3.11
        try:
            try:
                return self._idle.pop()[1]
            except IndexError:
                return await psycopg.AsyncConnection.connect(self._conninfo)
        except BaseException:
            self._permits.release()
            raise

    async def putconn(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Take a connection back; one that is closed makes room for a new one."""
        if not connection.closed:
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
        # What was open before a fork still belongs to the parent.
        with suppress(IndexError):
            while self._process == os.getpid():  # pragma: no branch - the other is taken after a fork
                _, connection = self._idle.pop()
                connection.pgconn.finish()

    __del__ = close


class AsyncConnections:
    """Lends connections to statements.

    Args:
        given: the app's own pool, open, or a connection string or URL of libpq's.
        settings: the store's.
    """

    def __init__(self, given: object, settings: Settings) -> None:
        self._settings = settings
        self._conninfo: str | None = None
        self._pool: psycopg_pool.AsyncConnectionPool[Any] | AsyncPool | None = None
        if isinstance(given, str):
            self._conninfo = checked_conninfo(given, settings)
        elif isinstance(given, psycopg_pool.AsyncConnectionPool):
            self._pool = given
        else:
            raise ConfigurationError(
                "pool", type(given).__name__, "give AsyncPostgresStore a psycopg_pool.AsyncConnectionPool, or a URL"
            )
        self._home: AsyncHome | None = None
        self._opening: dict[AsyncHome, asyncio.Lock] = {}
        self._failed: tuple[float, StoreError] | None = None

    async def open(self, survey: Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]]) -> bool:
        """Connect, and call ``survey`` with the connection, unless that is done; True if it was not.

        Raises:
            StoreUnavailable: no connection, or the survey failed.
        """
        home = AsyncHome.here()
        if self._home == home:
            return False
        since = monotonic()
        async with self._opening.setdefault(home, asyncio.Lock()):
            if self._home == home:
                return False
            if self._home is not None and not self._home.is_gone():
                raise StoreUnavailable("the store is open on another event loop")  # pragma: no cover - async alone
            if self._failed is not None and self._failed[0] > since:
                # Another call found out while this one waited.
                raise StoreUnavailable(str(self._failed[1])) from self._failed[1].__cause__
            if self._conninfo is not None:
                # A pool whose process or event loop is gone cannot be used any more.
                self._pool = AsyncPool(self._conninfo, self._settings.pool_size)
            try:
                pool, connection = await self._borrow()
                try:
                    await survey(connection)
                finally:
                    await pool.putconn(connection)
            except StoreError as error:
                self._failed = monotonic(), error
                await self.close()
                raise
            self._opening, self._failed = {home: self._opening[home]}, None
            self._home = home
        return True

    async def close(self) -> None:
        """Close the pool if it was opened here."""
        self._home = None
        if isinstance(self._pool, AsyncPool):
            self._pool.close()
            self._pool = None

    async def run(self, statement: Statement, *parameters: bytes | None) -> list[Row]:
        """Run a statement on a connection of the pool, and return its rows.

        Raises:
            StoreUnavailable: nothing was written.
            StoreTimeout: perhaps it was.
        """
        pool, connection = await self._borrow()
        try:
            return await self.execute(connection, statement, *parameters)
        finally:
            await pool.putconn(connection)

    async def execute(
        self, connection: psycopg.AsyncConnection[Any], statement: Statement, *parameters: bytes | None
    ) -> list[Row]:
        """Run a statement on this connection."""
        prepare, timeout = self._settings.prepare, self._settings.timeout
        return await execute_async(connection, statement, parameters, prepare=prepare, timeout=timeout)

    async def _borrow(self) -> tuple[psycopg_pool.AsyncConnectionPool[Any] | AsyncPool, psycopg.AsyncConnection[Any]]:
        """A connection that is open as far as is known, and the pool to put it back to."""
        pool = self._pool
        if pool is None:
            raise StoreUnavailable("the store was closed meanwhile")
        deadline = monotonic() + self._settings.timeout
        while True:
            try:
                connection = await pool.getconn(deadline - monotonic())
            except psycopg.OperationalError as error:  # cannot connect, or the pool is exhausted or closed
                raise StoreUnavailable(f"no connection to PostgreSQL ({type(error).__name__})") from error
            if is_alive(connection):
                return pool, connection
            connection.pgconn.finish()
            await pool.putconn(connection)
