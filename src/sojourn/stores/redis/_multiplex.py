"""One connection per event loop, shared by all its tasks, straight on hiredis: a tenth of the cost of a pool's.

Commands given in one turn of the event loop leave in one write, and replies come back in order. A caller that stops
waiting for its reply keeps its place in the queue, so that the reply is read and dropped instead of going to another
caller. Nothing is ever sent twice: when the connection is lost, all waiting callers get an error, and the next command
opens another connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from typing import Any, Final, cast

import hiredis

from ...errors import StoreUnavailable
from ._async.driver import AsyncDriver
from ._errors import ErrorReply, unknown, unreachable
from ._url import Server

__all__ = ["Multiplexed"]

_GRACE: Final = 0.05
"""Seconds for which a reply that is overdue may still be read: the event loop itself may have been blocked."""


class _LostError(Exception):
    """The connection ended. ``sent``: after the command had left."""

    def __init__(self, cause: Exception, *, sent: bool) -> None:
        super().__init__()
        self.cause = cause
        self.sent = sent


class _Line(asyncio.Protocol):
    """A connection and the callers that wait for its replies."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        self._transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._overdue: asyncio.Future[Any] | None = None
        self.is_open = False
        self.closed: asyncio.Future[None] = loop.create_future()

    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Send a command soon; the future is its reply, which may be an error as a value.

        Raises:
            _LostError: from the future: there will be no reply.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        packed = hiredis.pack_command(command)
        now = self._loop.time()
        if not self._unsent:
            self._loop.call_soon(self._flush)
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout, self._check)
        self._unsent.append(packed)
        self._waiting.append((future, now))
        return future

    def lose(self, error: Exception) -> None:
        """End the connection, with an error for each waiting caller."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        sent = len(waiting) - len(self._unsent)
        self._unsent = []
        for place, (future, _) in enumerate(waiting):
            if not future.done():
                future.set_exception(_LostError(error, sent=place < sent))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self.is_open = True
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                future, _ = waiting.popleft()
                if not future.done():
                    future.set_result(reply)
        except (hiredis.HiredisError, IndexError) as error:
            self.lose(error)  # not the protocol, or a reply to nothing

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.lose(error or ConnectionResetError("closed by the server"))
        self.closed.set_result(None)

    def _flush(self) -> None:
        if self._unsent:
            assert self._transport is not None
            unsent, self._unsent = self._unsent, []
            self._transport.write(b"".join(unsent))

    def _check(self) -> None:
        """See whether the reply that has been waited for longest is overdue."""
        self._timer = None
        if not self._waiting:
            return
        future, since = self._waiting[0]
        due = since + self._timeout
        if due <= self._loop.time():
            if self._overdue is future:
                self.lose(TimeoutError(f"no reply within {self._timeout:g} s"))
                return
            self._overdue = future
            due = self._loop.time() + _GRACE
        self._timer = self._loop.call_at(due, self._check)


class Multiplexed(AsyncDriver):
    """Commands to one server, with a connection in each event loop that uses it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._context = server.ssl_context()
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}
        self._connecting: dict[asyncio.AbstractEventLoop, asyncio.Task[_Line]] = {}

    async def call(self, name: bytes, *command: Any, writes: bool) -> Any:
        """See `AsyncDriver`."""
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None or not line.is_open:
            line = await self._connected(loop)
        try:
            reply = await line.send(*command)
        except _LostError as lost:
            raise (unknown if lost.sent and writes else unreachable)(lost.cause) from lost.cause
        try:
            return _accepted(reply)
        except ErrorReply as refused:
            if refused.code == "READONLY":
                line.lose(reply)  # a replica by now; another connection may lead to the new master
            raise

    async def close(self) -> None:
        """Close the connections of all event loops."""
        here = asyncio.get_running_loop()
        lines, self._lines = self._lines, {}
        for loop, line in lines.items():
            if loop is here:
                line.lose(ConnectionAbortedError("closed by the store"))
                await asyncio.shield(line.closed)
            else:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(line.lose, ConnectionAbortedError("closed by the store"))

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> _Line:
        """The event loop's connection, opened once for all callers that ask for it meanwhile."""
        task = self._connecting.get(loop)
        if task is None:
            task = self._connecting[loop] = loop.create_task(self._connect(loop))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps no caller waits
        try:
            line = await asyncio.shield(task)
        except (OSError, ValueError) as error:
            raise unreachable(error) from error
        except _LostError as lost:
            raise unreachable(lost.cause) from lost.cause
        if not line.is_open:
            raise StoreUnavailable("Redis cannot be reached: it closed the connection at once")
        return line

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Line:
        server = self._server
        line = _Line(loop, server.timeout)
        try:
            async with asyncio.timeout(server.connect_timeout):
                if server.kind == "unix":
                    await loop.create_unix_connection(lambda: line, server.path)
                else:
                    ((host, port),) = server.hosts
                    await loop.create_connection(lambda: line, host, port, ssl=self._context)
                for command in _greeting(server):
                    _accepted(await line.send(*command))
        except BaseException:
            line.lose(ConnectionAbortedError("not connected"))
            raise
        finally:
            del self._connecting[loop]
        self._lines = {known: line for known, line in self._lines.items() if not known.is_closed()} | {loop: line}
        return line


def _greeting(server: Server) -> list[tuple[str, ...]]:
    """What a connection begins with."""
    commands: list[tuple[str, ...]] = []
    if server.username or server.password:
        commands.append(("AUTH", *filter(None, (server.username,)), server.password or ""))
    if server.db:
        commands.append(("SELECT", str(server.db)))
    return commands


def _accepted(reply: Any) -> Any:
    if type(reply) is hiredis.ReplyError:
        raise ErrorReply(str(reply).partition(" ")[0]) from reply
    return reply
