"""Commands over redis-py, one level below its own: it retries a command whose reply was lost, and a store must not.

redis-py's ``execute_command`` sends a command again after a lost connection (three or ten times by default, whatever the
command). Here a connection is taken from the client's pool and the command sent on it once. In a cluster, redis-py sends
it once to a node that is named (``target_nodes``), and again only after MOVED, ASK or TRYAGAIN, when nothing was done.
"""

from __future__ import annotations

import asyncio  # async only
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import hiredis
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..._raising import raise_alone
from .._errors import DRIVER_ERRORS, translate
from .._idle import LONGEST_IDLE
from .._replies import check_reply
from .clients import AsyncGiven, AsyncOwned

__all__ = ["AsyncCluster", "AsyncDriver", "AsyncPool"]

_BATCH: Final = 100
"""Names that a server is asked to look at in one step of a scan."""
_SLOW: Final = 1.0
"""Seconds after which a server may have stood still, and been replaced by Sentinel."""
_LOST: Final = (RedisConnectionError, RedisTimeoutError, OSError)
"""What a connection that was forgotten ends with."""
_USED_AT: Final = "_sojourn_used_at"
"""Where a connection keeps when it was used last."""
_NOWAIT: Final = True  # the parameter has a name in the async colour alone


class AsyncDriver(ABC):
    """Sends commands, once each, to a server that has all the keys."""

    clustered = False
    unbroken = False  # async only
    """Whether a write that was begun is carried to its end, though the caller be cancelled."""  # async only

    def __init__(self, clients: AsyncGiven | AsyncOwned) -> None:
        self._clients = clients

    async def close(self) -> None:
        """Close what was opened here."""
        await self._clients.close()

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
        cursor: str | None = ""
        while cursor is not None:
            names, cursor = await self.some_names(pattern, cursor, _BATCH)
            yield names

    async def some_names(self, pattern: bytes, cursor: str, count: int) -> tuple[list[bytes], str | None]:
        """About so many names of strings that match, and where the rest begins; None at the end.

        Raises:
            ValueError: the cursor is none.
        """
        at = int(cursor or 0)
        command = ("SCAN", at, "MATCH", pattern, "COUNT", count, "TYPE", "string")
        after, names = await self.call(pattern, *command, writes=False)
        return names, None if after == b"0" else after.decode()

    async def values(self, names: Sequence[bytes]) -> list[bytes | None]:
        """What is stored under each name; None for what is no string."""
        values: list[bytes | None] = await self.call(names[0], "MGET", *names, writes=False)
        return values


class AsyncPool(AsyncDriver):
    """Clients of one server, or of the master that Sentinel names."""

    async def call(self, name: bytes, *command: Any, writes: bool) -> Any:
        pool = (await self._clients.here()).connection_pool
        try:
            connection = await pool.get_connection()
        except DRIVER_ERRORS as error:
            raise_alone(translate(error, sent=False))
        sent, limit = False, connection.socket_timeout
        try:
            if _is_old(connection) or _is_of_another(pool, connection) or await _is_out_of_step(connection):
                await _renew(connection)
            sent = writes
            if writes:
                return await _ask(pool, connection, command)
            if limit:
                _limit(connection, limit / 2)
            try:
                return await _ask(pool, connection, command)
            except _LOST:
                # What is between may have forgotten it without a word, or a failover taken place. A read may be sent again.
                if isinstance(self._clients, AsyncOwned):
                    await pool.disconnect(
                        inuse_connections=False
                    )  # pragma: no cover - of Sentinel, in one colour; the others are as old
                await _renew(connection)
                return await _ask(pool, connection, command)
        except ResponseError as error:
            if isinstance(error, ReadOnlyError):
                await connection.disconnect(_NOWAIT)  # a replica by now; another connection may lead to the new master
            raise_alone(translate(error, sent=sent))
        except BaseException as error:
            # the reply to this command must not be read as that to another
            await connection.disconnect(_NOWAIT)
            if isinstance(error, DRIVER_ERRORS):
                raise_alone(translate(error, sent=sent))
            raise  # pragma: no cover - an interrupt of the process, in one colour
        finally:
            if limit and not writes:
                _limit(connection, limit)
            vars(connection)[_USED_AT] = monotonic()
            await pool.release(connection)


class AsyncCluster(AsyncDriver):
    """Clients of a cluster. In the sync colour one connects as soon as it is made."""

    clustered = True

    async def call(self, name: bytes, *command: Any, writes: bool) -> Any:
        client = await self._clients.here()
        sent = False
        try:
            await client.initialize()  # async only
            node = client.get_node_from_key(name)
            await _drop_out_of_step(node)  # async only
            sent = writes
            try:
                return await client.execute_command(*command, target_nodes=node, **{NEVER_DECODE: True})
            except _LOST:
                if writes:
                    raise
            await _disconnect_idle(node)  # as above
            return await client.execute_command(*command, target_nodes=node, **{NEVER_DECODE: True})
        except DRIVER_ERRORS as error:
            raise_alone(translate(error, sent=sent))

    async def some_names(self, pattern: bytes, cursor: str, count: int) -> tuple[list[bytes], str | None]:
        address, _, at = cursor.partition(" ")  # of the node
        start = int(at or 0)
        client = await self._clients.here()
        try:
            await client.initialize()  # async only
            nodes = sorted(client.get_primaries(), key=_name_of)
            node = next((node for node in nodes if node.name >= address), None)
            if node is None:  # that which it was at has left the cluster, and was the last
                return [], None  # pragma: no cover - in the midst of a list
            await _drop_out_of_step(node)  # async only
            command = ("SCAN", start if node.name == address else 0, "MATCH", pattern, "COUNT", count, "TYPE", "string")
            cursors, names = await client.execute_command(*command, target_nodes=node, **{NEVER_DECODE: True})
        except DRIVER_ERRORS as error:
            raise_alone(translate(error, sent=False))
        if cursors[node.name]:
            return names, f"{node.name} {cursors[node.name]}"
        later = [other.name for other in nodes if other.name > node.name]
        return names, f"{later[0]} 0" if later else None

    async def values(self, names: Sequence[bytes]) -> list[bytes | None]:
        return [value if isinstance(value, bytes) else None for value in await self._each("GET", names)]

    async def lifetimes(self, names: Sequence[bytes]) -> list[int]:
        """Milliseconds that each has left, as ``PTTL`` returns them: below zero where it never ends, or has ended."""
        return [left if isinstance(left, int) else -2 for left in await self._each("PTTL", names)]

    async def _each(self, command: str, names: Sequence[bytes]) -> list[Any]:
        """Send a command about each name, and return the replies: an exception where it is refused for that one."""
        client = await self._clients.here()
        try:
            await client.initialize()  # async only
            for node in client.get_primaries():  # async only
                await _drop_out_of_step(node)  # async only
            pipeline = client.pipeline()
            for name in names:
                pipeline.execute_command(command, name, **{NEVER_DECODE: True})
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except DRIVER_ERRORS as error:
            raise_alone(translate(error, sent=False))
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                raise_alone(translate(reply, sent=False))
        return replies


async def _ask(pool: Any, connection: Any, command: tuple[Any, ...]) -> Any:
    """Send a command, once, and return the reply.

    Raises:
        redis.ConnectionError: among others, where the reply is that of a server that was replaced meanwhile: what it has confirmed is lost.
    """
    began = monotonic()
    reply = await _within(connection, command)
    if monotonic() - began > _SLOW and hasattr(pool, "get_master_address"):
        with suppress(*DRIVER_ERRORS):  # where no sentinel answers, it is believed
            await pool.get_master_address()
    if _is_of_another(pool, connection):
        raise RedisConnectionError("the master was replaced")
    return reply


async def _within(connection: Any, command: tuple[Any, ...]) -> Any:
    """Send a command, and return the reply, within the connection's time."""
    # sync only: return _exchange(connection, command)
    # redis-py has a timeout for each of the two, and before Python 3.12 a task for that of the first.  # async only
    limit, connection.socket_timeout = connection.socket_timeout, None  # async only
    try:  # async only
        async with asyncio.timeout(limit):  # async only
            return await _exchange(connection, command)  # async only
    finally:  # async only
        connection.socket_timeout = limit  # async only


async def _exchange(connection: Any, command: tuple[Any, ...]) -> Any:
    # Packed here: redis-py's async connections do it in Python, at a tenth of the cost of a whole request.
    await connection.send_packed_command([hiredis.pack_command(command)])
    reply = await connection.read_response(disable_decoding=True)
    check_reply(command[0], reply)
    return reply


async def _renew(connection: Any) -> None:
    await connection.disconnect(_NOWAIT)
    await connection.connect()


def _name_of(node: Any) -> str:
    name: str = node.name
    return name


def _is_old(connection: Any) -> bool:
    """Whether it has been idle for so long that what is between may have forgotten it."""
    used_at: float = vars(connection).get(_USED_AT, monotonic())
    return monotonic() - used_at > LONGEST_IDLE


def _is_of_another(pool: Any, connection: Any) -> bool:
    """Whether Sentinel has named another master since the connection was opened."""
    master = getattr(pool, "master_address", None)
    return master is not None and master != (connection.host, connection.port)


def _limit(connection: Any, seconds: float) -> None:
    """How long a reply may take from now on. Not by `read_response`, which with a limit of its own may return None at its end."""
    connection.socket_timeout = seconds
    # sync only: open_socket = vars(connection).get("_sock")
    # sync only: if open_socket is not None:
    # sync only:     open_socket.settimeout(seconds)


async def _is_out_of_step(connection: Any) -> bool:
    """Whether something has come that nobody has asked for: if not a reply, the end of the connection.

    redis-py's pools look as well, but take such a connection where notifications of a maintenance may come.
    """
    # Before redis-py 8 async connections have the other.
    look = getattr(connection, "can_read", None) or connection.can_read_destructive
    try:
        return bool(await look())
    except DRIVER_ERRORS:
        return True


async def _drop_out_of_step(node: Any) -> None:  # async only
    """End those of the idle connections to a cluster's node that are out of step; an async node does not look itself."""  # async only
    for connection in list(getattr(node, "_free", ())):  # async only
        if connection.is_connected and await _is_out_of_step(connection):  # async only
            await connection.disconnect(_NOWAIT)  # async only


async def _disconnect_idle(node: Any) -> None:
    """End the idle connections to a cluster's node."""
    # sync only: node.redis_connection.connection_pool.disconnect(inuse_connections=False)
    for connection in list(getattr(node, "_free", ())):  # async only
        await connection.disconnect(_NOWAIT)  # async only
