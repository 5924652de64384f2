"""Commands over redis-py, one level below its own: it retries a command whose reply was lost, and a store must not.

redis-py's ``execute_command`` sends a command again after a lost connection (three or ten times by default, whatever the
command). Here a connection is taken from the client's pool and the command sent on it once. In a cluster, redis-py sends
it once to a node that is named (``target_nodes``), and again only after MOVED, ASK or TRYAGAIN, when nothing was done.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import redis.asyncio
from redis.client import NEVER_DECODE
from redis.exceptions import ReadOnlyError, ResponseError

from .._errors import DRIVER_ERRORS, translate

__all__ = ["AsyncCluster", "AsyncDriver", "AsyncPool"]

_BATCH: Final = 100
"""Names that a server is asked to look at in one step of a scan."""
_NOWAIT: Final = True  # the parameter has a name in the async colour alone


class AsyncDriver(ABC):
    """Sends commands, once each, to a server that has all the keys."""

    clustered = False

    @abstractmethod
    async def call(self, name: bytes, *command: Any, writes: bool) -> Any:
        """Send a command about the key ``name``, and return the reply.

        Raises:
            ErrorReply: the server refused it.
            StoreUnavailable: nothing was written.
            StoreTimeout: something may have been written.
        """

    async def names(self, pattern: bytes) -> AsyncIterator[list[bytes]]:
        """The names of all strings that match, in batches, some perhaps repeated."""
        cursor = b"0"
        while True:
            command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _BATCH, "TYPE", "string")
            cursor, names = await self.call(pattern, *command, writes=False)
            yield names
            if cursor == b"0":
                return

    async def values(self, names: Sequence[bytes]) -> list[bytes | None]:
        """What is stored under each name; None for what is no string."""
        values: list[bytes | None] = await self.call(names[0], "MGET", *names, writes=False)
        return values

    @abstractmethod
    async def close(self) -> None:
        """Close what was opened here."""


class AsyncPool(AsyncDriver):
    """A client of one server, or of the master that Sentinel names."""

    def __init__(self, client: redis.asyncio.Redis, close: Sequence[Any] = ()) -> None:
        self._client: Any = client  # partly untyped
        self._close = close

    async def call(self, name: bytes, *command: Any, writes: bool) -> Any:
        pool = self._client.connection_pool
        try:
            connection = await pool.get_connection()
        except DRIVER_ERRORS as error:
            raise translate(error, sent=False) from error
        try:
            await connection.send_packed_command(connection.pack_command(*command))
            return await connection.read_response(disable_decoding=True)
        except ResponseError as error:
            if isinstance(error, ReadOnlyError):
                await connection.disconnect(_NOWAIT)  # a replica by now; another connection may lead to the new master
            raise translate(error, sent=writes) from error
        except BaseException as error:
            # the reply to this command must not be read as that to another
            await connection.disconnect(_NOWAIT)
            if isinstance(error, DRIVER_ERRORS):
                raise translate(error, sent=writes) from error
            raise
        finally:
            await pool.release(connection)

    async def close(self) -> None:
        for client in self._close:
            await client.aclose()


class AsyncCluster(AsyncDriver):
    """A client of a cluster, given, or made at the first use: in the sync colour it connects as soon as it is made."""

    clustered = True

    def __init__(
        self,
        client: redis.asyncio.RedisCluster | None = None,
        make: Callable[[], redis.asyncio.RedisCluster] | None = None,
    ) -> None:
        self._client: Any = client  # partly untyped
        self._make = make
        self._mutex = threading.Lock()

    async def call(self, name: bytes, *command: Any, writes: bool) -> Any:
        sent = False
        try:
            client = await self._connected()
            node = client.get_node_from_key(name)
            sent = writes
            return await client.execute_command(*command, target_nodes=node, **{NEVER_DECODE: True})
        except DRIVER_ERRORS as error:
            raise translate(error, sent=sent) from error

    async def names(self, pattern: bytes) -> AsyncIterator[list[bytes]]:
        try:
            client = await self._connected()
            for node in client.get_primaries():
                cursor = 0
                while True:
                    command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _BATCH, "TYPE", "string")
                    cursors, names = await client.execute_command(*command, target_nodes=node, **{NEVER_DECODE: True})
                    yield names
                    cursor = cursors[node.name]
                    if cursor == 0:
                        break
        except DRIVER_ERRORS as error:
            raise translate(error, sent=False) from error

    async def values(self, names: Sequence[bytes]) -> list[bytes | None]:
        return [value if isinstance(value, bytes) else None for value in await self._each("GET", names)]

    async def lifetimes(self, names: Sequence[bytes]) -> list[int]:
        """Milliseconds that each has left, as ``PTTL`` returns them: below zero where it never ends, or has ended."""
        return [left if isinstance(left, int) else -2 for left in await self._each("PTTL", names)]

    async def _each(self, command: str, names: Sequence[bytes]) -> list[Any]:
        """Send a command about each name, and return the replies: an exception where it is refused for that one."""
        try:
            client = await self._connected()
            pipeline = client.pipeline()
            for name in names:
                pipeline.execute_command(command, name, **{NEVER_DECODE: True})
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except DRIVER_ERRORS as error:
            raise translate(error, sent=False) from error
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                raise translate(reply, sent=False) from reply
        return replies

    async def close(self) -> None:
        if self._make is not None and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def _connected(self) -> Any:
        client = self._client
        if client is None:
            assert self._make is not None
            with self._mutex:
                client = self._client = self._client or self._make()
        await client.initialize()  # async only
        return client
