"""A TCP proxy between a client and a real server, which fails in the ways that networks and servers fail.

    with proxy_to(port) as proxy:
        client = connect("127.0.0.1", proxy.port)
        with proxy.failing(CutReply(), when=lambda request: b"INSERT" in request):
            ...                     # the server does it, and the client never hears of it
        with proxy.refusing():
            ...                     # nobody answers at this port

What a client sends in one go is taken for one request, and what comes back until its next one for the reply.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Answer", "BlackHole", "CutReply", "CutRequest", "Delay", "Fault", "Proxy", "proxy_to"]

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Delay:
    """The reply comes later, by so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CutRequest:
    """The connection ends instead of carrying the request."""


@dataclass(frozen=True, slots=True)
class CutReply:
    """The server gets the request and acts; the connection ends after so many bytes of its reply."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class BlackHole:
    """The request never arrives, and nobody is told."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy itself replies, and the server never sees the request."""

    reply: Callable[[bytes], bytes]


Fault: TypeAlias = Delay | CutRequest | CutReply | BlackHole | Answer


@dataclass(slots=True)
class _Plan:
    fault: Fault
    when: Callable[[bytes], bool]
    times: int | None
    met: int = 0


class Proxy:
    """A proxy on a free port of the loopback address. Its methods may be called from any thread."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._plans: list[_Plan] = []
        self._connections: set[asyncio.Task[None]] = set()

    @contextmanager
    def failing(
        self, fault: Fault, *, when: Callable[[bytes], bool] = lambda _: True, times: int | None = None
    ) -> Iterator[Callable[[], int]]:
        """Let the requests that match fail, the first ``times`` of them. Gives a function that tells how many did."""
        plan = _Plan(fault, when, times)
        self._plans.append(plan)
        try:
            yield lambda: plan.met
        finally:
            self._plans.remove(plan)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """End all connections and refuse new ones."""
        self._call(self._close())
        try:
            yield
        finally:
            self._call(self._listen())

    def cut(self) -> None:
        """End all connections; new ones are welcome."""
        self._call(self._cut())

    def lead_to(self, target: int) -> None:
        """End all connections; new ones lead to another port."""
        self._target = target
        self.cut()

    def start(self) -> None:
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        self._call(self._close())
        self._call(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _settle(self) -> None:
        """End also what was accepted at the last moment."""
        await asyncio.sleep(0.01)
        await self._cut()
        await asyncio.sleep(0.01)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, server = await asyncio.open_connection("127.0.0.1", self._target)
        faults: list[Fault | None] = [None]  # of the request under way
        pumps = {
            asyncio.create_task(self._requests(reader, writer, server, faults)),
            asyncio.create_task(self._replies(upstream, writer, faults)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: asyncio.StreamWriter,
        faults: list[Fault | None],
    ) -> None:
        while request := await reader.read(_CHUNK):
            faults[0] = fault = self._fault_for(request)
            match fault:
                case CutRequest():
                    return
                case BlackHole():
                    continue
                case Answer(reply):
                    writer.write(reply(request))
                case _:
                    server.write(request)
                    await server.drain()

    async def _replies(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: list[Fault | None]
    ) -> None:
        while reply := await upstream.read(_CHUNK):
            match faults[0]:
                case Delay(seconds):
                    await asyncio.sleep(seconds)
                case CutReply(after):
                    writer.write(reply[:after])
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
                    return
                case _:
                    pass
            writer.write(reply)
            await writer.drain()

    def _fault_for(self, request: bytes) -> Fault | None:
        for plan in list(self._plans):
            if (plan.times is None or plan.met < plan.times) and plan.when(request):
                plan.met += 1
                return plan.fault
        return None


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """Run a proxy to a port of the loopback address."""
    proxy = Proxy(port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
