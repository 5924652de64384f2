"""The connections of the PostgreSQL store: the app's own pool, or one that is opened here, on the first use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import psycopg
import psycopg_pool

from ...errors import ConfigurationError, StoreError, StoreUnavailable
from .._postgres_options import Settings, checked_conninfo
from .._postgres_wire import AsyncHome, Row, Statement, execute_async, is_alive

__all__ = ["AsyncConnections"]


class AsyncConnections:
    """Lends connections to statements.

    Args:
        given: the app's own pool, open, or a connection string or URL of libpq's.
        settings: the store's.
        survey: called with a connection before the first statement, and again when the server may have been away.
    """

    def __init__(
        self,
        given: object,
        settings: Settings,
        survey: Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._survey = survey
        self._conninfo: str | None = None
        self._pool: psycopg_pool.AsyncConnectionPool[Any] | None = None
        if isinstance(given, str):
            self._conninfo = checked_conninfo(given, settings)
        elif isinstance(given, psycopg_pool.AsyncConnectionPool):
            self._pool = given
        else:
            raise ConfigurationError(
                "pool", type(given).__name__, "give AsyncPostgresStore a psycopg_pool.AsyncConnectionPool, or a URL"
            )
        self._home: AsyncHome | None = None
        self._is_surveyed = False
        self._opening: dict[AsyncHome, asyncio.Lock] = {}
        self._failed: tuple[float, StoreError] | None = None

    async def open(self) -> bool:
        """Connect and survey, unless that is done; True if it was not.

        Raises:
            StoreUnavailable: no connection, or the survey was not content.
        """
        home = AsyncHome.here()
        if self._is_surveyed and self._home == home:
            return False
        since = monotonic()
        async with self._opening.setdefault(home, asyncio.Lock()):
            if self._is_surveyed and self._home == home:
                return False
            if self._failed is not None and self._failed[0] > since:
                # Another call found out while this one waited.
                raise StoreUnavailable(str(self._failed[1])) from self._failed[1].__cause__
            try:
                await self._open(home)
            except StoreError as error:
                self._failed = monotonic(), error
                raise
            self._opening = {home: self._opening[home]}
            self._is_surveyed = True
        return True

    async def close(self) -> None:
        """Close the pool if it was opened here."""
        home, self._home, self._is_surveyed = self._home, None, False
        if self._conninfo is None:
            return
        pool, self._pool = self._pool, None
        if pool is not None and home is not None and not home.is_gone():
            await pool.close()

    async def run(self, statement: Statement, *parameters: bytes | None) -> list[Row]:
        """Run a statement on a connection of the pool; the rows it answers.

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

    async def _open(self, home: AsyncHome) -> None:
        if self._home is not None and self._home != home and not self._home.is_gone():
            raise StoreUnavailable("the store is open on another event loop: make a store for each")
        if self._conninfo is None:
            self._home = home
            pool, connection = await self._borrow()
            try:
                await self._survey(connection)
            finally:
                await pool.putconn(connection)
            return
        # Over a connection of its own: a pool does not say why it has none.
        try:
            connection = await psycopg.AsyncConnection.connect(self._conninfo)
        except psycopg.Error as error:
            raise StoreUnavailable("no connection to PostgreSQL") from error
        try:
            await self._survey(connection)
        finally:
            await connection.close()
        if self._pool is None or self._home != home:
            # A pool whose process or event loop is gone is of no use any more, nor can it be closed.
            self._pool, self._home = self._new_pool(self._conninfo), home
            await self._pool.open()

    def _new_pool(self, conninfo: str) -> psycopg_pool.AsyncConnectionPool[Any]:
        return psycopg_pool.AsyncConnectionPool(
            conninfo,
            open=False,
            min_size=1,
            max_size=self._settings.pool_size,
            # Attempts to reconnect come ever more seldom, until those who wait make a new one.
            reconnect_timeout=self._settings.timeout,
        )

    async def _borrow(self) -> tuple[psycopg_pool.AsyncConnectionPool[Any], psycopg.AsyncConnection[Any]]:
        """A connection that is open as far as can be told, and the pool to put it back to."""
        pool = self._pool
        if pool is None:
            raise StoreUnavailable("the store was closed meanwhile")
        deadline = monotonic() + self._settings.timeout
        while True:
            try:
                connection = await pool.getconn(deadline - monotonic())
            except psycopg.OperationalError as error:  # the pool is exhausted, closed, or cannot connect
                if self._conninfo is not None:
                    self._is_surveyed = False  # so that the next call looks whether the server is there
                raise StoreUnavailable(f"no connection to PostgreSQL: {error}") from error
            if is_alive(connection):
                return pool, connection
            await connection.close()
            await pool.putconn(connection)
