"""What Redis takes of its client with no session around it: the commands that the store sends, by hand, and by redis-py itself.

A contestant adds all that its sessions are to this; what it adds below is out of anybody's reach.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis

from benchmarks import asgi, wsgi
from benchmarks.measure import Work
from sojourn.stores.redis._scripts import STANDALONE, travelling

TTL: Final = 3_600_000


class ByHand(asyncio.Protocol):
    """A connection that writes, parses and hands over, and does nothing about what may go wrong."""

    def __init__(self, *, gathers: bool) -> None:
        self._gathers = gathers
        """Whether the commands of one turn of the event loop leave together."""
        self._reader = hiredis.Reader(notEnoughData=False)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._loop = asyncio.get_running_loop()

    def ask(self, *command: Any) -> asyncio.Future[Any]:
        packed = hiredis.pack_command(command)
        if not self._gathers:
            self.transport.write(packed)
        else:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(packed)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        return future

    def _flush(self) -> None:
        self.transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self._waiting.popleft().set_result(reply)


async def connect(url: str, *, gathers: bool) -> ByHand:
    """A connection of one's own."""
    address = urlsplit(url)
    make = lambda: ByHand(gathers=gathers)  # noqa: E731
    _, line = await asyncio.get_running_loop().create_connection(make, address.hostname or "", address.port or 6379)
    return line


def change(name: bytes, data: bytes) -> tuple[Any, ...]:
    """The store's command that writes a record, if it is still what was read."""
    return "EVALSHA", STANDALONE.replace.sha, 2, name, name + b":owner", data, TTL, b"", travelling(data)


async def prepare(client: Any, data: bytes, at_once: int) -> list[bytes]:
    """The names of so many records, which hold the data."""
    await client.script_load(STANDALONE.replace.text)
    names = [b"floor:%d:%d" % (len(data), number) for number in range(at_once)]
    for name in names:
        await client.set(name, data)
    return names


def works(ask: Callable[..., Any], case: str, names: Sequence[bytes]) -> list[Work]:
    """The requests: the bare handler, with a GET before and where something changes an EVALSHA after it."""
    return [_work(ask, case, name) for name in names]


def _work(ask: Callable[..., Any], case: str, name: bytes) -> Work:
    bare = asgi.handler(None)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        data = await ask("GET", name)
        await bare(scope, receive, send)
        if case == "b":
            await ask(*change(name, data))

    return asgi.calls_of(app, "sid=" + "x" * 64)


def sync_work(url: str, case: str, name: bytes) -> Work:
    """The same on WSGI."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname or "", address.port or 6379))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = hiredis.Reader(notEnoughData=False)
    bare = wsgi.handler(None)

    def ask(*command: Any) -> Any:
        connection.sendall(hiredis.pack_command(command))
        while (reply := reader.gets()) is False:
            reader.feed(connection.recv(65_536))
        return reply

    def app(environ: Any, start_response: Any) -> Any:
        data = ask("GET", name)
        if case == "b":
            ask(*change(name, data))
        return bare(environ, start_response)

    return wsgi.calls_of(app, "sid=" + "x" * 64)
