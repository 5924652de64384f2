"""One connection per event loop, shared by all its tasks, straight on hiredis: a tenth of the cost of a pool's.

Commands given in one turn of the event loop leave in one write, but for one that is given while nobody waits, where the last was alone
too: it leaves at once. Replies come back in order, and each task goes on in the turn that brings its own; what those tasks send then leaves in one write. A caller that stops
waiting for its reply keeps its place in the queue, so that the reply is read and dropped instead of going to another
caller. No write is ever sent twice: when the connection is lost, all waiting callers get an error, and the next command
opens another connection. A read on a connection that served before is sent once more, on another: also where half of its
time is over without a reply, while the writes go on waiting for theirs on the old one.

Nothing but its order says whose a reply is. So what a server may push at any time is dropped, and anything else that is no
reply to what was asked, or one too many, ends the connection before any caller gets a reply that was another's.

Pushes of `CLIENT TRACKING` are heard by the near cache, and by who watches sessions (`Tracking`). Without a near cache tracking begins with
the first that are watched, and the server remembers the keys that they look at alone (``OPTIN``).
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from os import getpid
from typing import Any, Final, TypeAlias, cast
from weakref import WeakSet

import hiredis

from ...aio import put_off, unbroken
from ...errors import StoreUnavailable
from .._raising import raise_alone
from .._waiting import Asked, Line, LostError
from ._async.clients import AsyncOwned
from ._async.driver import AsyncDriver
from ._errors import ErrorReply, OutOfStepError, code_of, unknown, unreachable
from ._idle import LONGEST_IDLE, keep_awake, looking
from ._near import Kept, NearCache, NearCaches
from ._replies import KINDS, accepted
from ._scripts import Script
from ._url import Server

__all__ = ["Multiplexed", "Tracking", "Wire"]

Hear: TypeAlias = Callable[[Iterable[bytes] | None], object]
"""What is called with the names that have been written; with None where it may be any, as after a loss."""

_MORE: Final = object()
"""What the parser returns while a reply is not complete."""
_TURNS: Final = 2
"""Waits for the event loop, each of two of its turns: it reads in the first, and tells of the end in the one after."""
_TRACK: Final = (("HELLO", "3"), ("CLIENT", "TRACKING", "ON", "OPTIN"))
_REMEMBER: Final = ("CLIENT", "CACHING", "YES")
"""What the command that follows reads is to be tracked."""


class _Line(Line, asyncio.Protocol):
    """A connection to Redis. What waits is the types that the reply may have."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        super().__init__(loop, timeout)
        self.near: NearCache | None = None
        self.tracking: WeakSet[Tracking] = WeakSet()
        """Who is told what has been written."""
        self.is_untrackable = False
        """The server refuses to track."""
        self._transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._unsent: list[bytes] = []
        self._unread: Callable[[], object] | None = None
        self._is_alone = False
        """Whether what was sent last was alone: it had no others to leave with, nor any to wait with."""
        self._is_waking = False
        """Whether tasks go on, one after the other, with what they have waited for; what they send meanwhile leaves together."""
        self.closed: asyncio.Future[None] = loop.create_future()

    def is_ready(self) -> bool:
        """Whether a command may be sent: also nothing has come while nothing was waited for, such as the end of the connection."""
        if self._waiting or not self.is_open:
            return self.is_open
        return not self.is_idle_for(LONGEST_IDLE) and (self._unread is None or not self._unread())

    async def catch_up(self) -> None:
        """Let the event loop see what has come while nothing was waited for."""
        for _ in range(_TURNS):
            turn = self._loop.create_future()
            self._loop.call_soon(turn.set_result, None)
            await unbroken(turn)

    def send(self, command: tuple[Any, ...], share: float = 1.0) -> Asked:
        """Send a command soon. The reply may be an error as a value, and may take a share of the time that is set.

        Raises:
            LostError: from the reply: there will be none.
        """
        packed = hiredis.pack_command(command)
        if self._is_waking:
            self._unsent.append(packed)
        elif self._is_alone and not self._waiting and self._transport is not None:
            self._transport.write(packed)  # at once, which spares a turn of the event loop
        else:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(packed)
        return self._wait(KINDS[command[0]], share)

    read = write = send
    """Send a command of the store's, of which a near cache is to learn."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self.is_open = True
        connection = transport.get_extra_info("socket")
        if connection is not None:
            self._unread = looking(connection)
            keep_awake(connection)

    def data_received(self, data: bytes) -> None:
        reader, near = self._reader, self.near
        replies: list[Any] = []
        pushes: list[tuple[int, list[Any]]] = []
        """Each with the number of replies before it."""
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _MORE:
                if type(reply) is not hiredis.PushNotification:
                    replies.append(reply)
                elif near is not None or self.tracking:
                    pushes.append((len(replies), reply))
        except hiredis.HiredisError as error:
            self.lose(error)  # not the protocol
            return
        answered = self._answered(replies)
        if answered is None:
            refusals = (reply for reply in replies if type(reply) is hiredis.ReplyError)
            self.lose(next(refusals, None) or OutOfStepError())  # such as that of a server with too many clients
            return
        if near is not None or pushes:
            for place, (asked, reply) in enumerate(zip(answered, replies, strict=True)):
                while pushes and pushes[0][0] == place:
                    self._pushed(pushes.pop(0)[1])
                if near is not None:
                    near.heard(asked.asked_at)
                    if asked.note is not None:
                        asked.note(reply)
            for _, push in pushes:
                self._pushed(push)
        self._is_waking = True
        left = zip(answered, replies, strict=True)
        try:
            for asked, reply in left:
                asked.answer_now(reply)
        finally:
            self._is_waking = False
            for asked, reply in left:  # of an interrupt of the process, in the midst of it
                asked.answer(reply)
            self._flush()

    def _answered(self, replies: list[Any]) -> list[Asked] | None:
        """Those whose replies these are, which wait no more; None where one is no reply to what was asked, or one too many."""
        waiting, count = self._waiting, len(replies)
        if count > len(waiting) - len(self._unsent):
            return None
        answered = waiting[:count]
        for asked, reply in zip(answered, replies):  # noqa: B905 - they are as many
            if type(reply) not in asked.what:
                return None
        del waiting[:count]
        return answered

    def _pushed(self, push: list[Any]) -> None:
        if self.near is not None:
            self.near.invalidate(push)
        if push[0] == b"invalidate":
            for tracking in tuple(self.tracking):
                tracking.hear(push[1])

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = self._unread = None
        self.lose(error or ConnectionResetError("closed by the server"))
        self.closed.set_result(None)

    def _flush(self) -> None:
        if self._unsent:
            assert self._transport is not None
            unsent, self._unsent = self._unsent, []
            # With a near cache a read is two commands, whose replies are to come together.
            self._is_alone = len(unsent) == len(self._waiting) == 1 and self.near is None
            self._transport.write(b"".join(unsent))

    def _forget_unsent(self) -> int:
        unsent, self._unsent = self._unsent, []
        return len(unsent)

    def _abort(self) -> None:
        tracking, self.tracking = self.tracking, WeakSet()
        for each in tuple(tracking):
            each.hear(None)
        if self._transport is not None:
            self._transport.abort()


class _NearLine(_Line):
    """A connection with a near cache, which learns of all that is sent on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float, near: NearCache) -> None:
        super().__init__(loop, timeout)
        self.near = self._cache = near

    def read(self, command: tuple[Any, ...], share: float = 1.0) -> Asked:
        if command[0] != "GET":
            return self.send(command, share)
        near, now, name = self._cache, self._loop.time(), command[1]
        mark = near.mark
        asked, left = self.send(command, share), self.send(("PTTL", name), share)
        asked.note = lambda data: near.begin(name, data, mark)
        left.note = lambda left: near.complete(name, left, now, mark)
        left.reply.cancel()  # nobody waits for it
        return asked

    def write(self, command: tuple[Any, ...], share: float = 1.0) -> Asked:
        near, names = self._cache, command[3 : 3 + command[2]]  # of a script, whose keys are all that it may change
        asked = self.send(command, share)
        asked.note = lambda _: near.written(names)
        return asked

    def _abort(self) -> None:
        self._cache.close()
        super()._abort()


class Wire:
    """The connection of an event loop, opened when it is first needed, and anew after a loss."""

    def __init__(self, server: Server, nears: NearCaches | None) -> None:
        self._server = server
        self._nears = nears
        self._context = server.ssl_context()
        self.line: _Line | None = None
        self.lines: WeakSet[_Line] = WeakSet()
        """That one, and those before it whose writes still wait for their replies."""
        self._connecting: asyncio.Task[_Line] | None = None
        self.is_closed = False
        self.process = getpid()

    async def renewed(self, wait: Callable[[asyncio.Task[_Line]], Awaitable[_Line]]) -> tuple[_Line, bool]:
        """A connection that is ready, where none was a moment ago, and whether it is a new one."""
        line = self.line
        if line is not None and line.is_open and not line.is_idle_for(LONGEST_IDLE):
            await line.catch_up()  # what has come is no reply to what leaves now
            line = self.line
            if line is not None and line.is_open:
                return line, False
        return await self.connected(wait), True

    async def tracked(self, script: Script, names: Sequence[bytes], tracking: Tracking) -> Any:
        """Run a script that reads, and be told once of each name that is written from now on. None where the server does not tell.

        Raises:
            StoreUnavailable: the server failed.
        """
        line = self.line
        if line is None or not line.is_open or line.is_idle_for(LONGEST_IDLE):
            line = await self.connected(asyncio.shield)
        try:
            if line.is_untrackable or not (line.tracking or line.near or await self._track(line)):
                return None
            line.tracking.add(tracking)
            reply = None
            for verb, text in (("EVALSHA", script.sha), ("EVAL", script.text)):
                if line.near is None:
                    line.send(_REMEMBER).reply.cancel()  # nobody waits for it
                reply = await line.send((verb, text, len(names), *names)).reply
                if type(reply) is not hiredis.ReplyError or code_of(str(reply)) != "NOSCRIPT":
                    break
        except LostError as lost:  # pragma: no cover - between a look's sending and its reply
            raise_alone(unreachable(lost.cause))
        return accepted(reply)

    @staticmethod
    async def _track(line: _Line) -> bool:
        """Have the server tell of what is written. False: it does not."""
        for command in _TRACK:
            if type(await line.send(command).reply) is hiredis.ReplyError:
                line.is_untrackable = True
                return False
        return True

    def near(self, name: bytes, now: float) -> Kept | None:
        """A record that is known without asking."""
        line = self.line
        return None if line is None or line.near is None or not line.is_open else line.near.get(name, now)

    async def aclose(self) -> None:
        """Close the connection, also one that is being opened."""
        self.is_closed = True
        for line in tuple(self.lines):
            line.lose(ConnectionAbortedError("closed by the store"))
            await asyncio.shield(line.closed)

    async def connected(self, wait: Callable[[asyncio.Task[_Line]], Awaitable[_Line]]) -> _Line:
        """A connection, opened once for all callers that ask for it meanwhile; each waits for that in its way."""
        task = self._connecting
        if task is None or task.done():  # an eager one may be done before it is noted here
            task = self._connecting = asyncio.get_running_loop().create_task(
                self._connect(), context=contextvars.Context()
            )
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps no caller waits
        try:
            line = await wait(task)
        except (OSError, ValueError) as error:
            raise_alone(unreachable(error))
        except LostError as lost:
            raise_alone(unreachable(lost.cause))
        if not line.is_open:
            raise StoreUnavailable("Redis cannot be reached: the connection was closed at once")
        return line

    async def _connect(self) -> _Line:
        server, loop = self._server, asyncio.get_running_loop()
        near = None if self._nears is None else self._nears.open()
        line = _Line(loop, server.timeout) if near is None else _NearLine(loop, server.timeout, near)
        try:
            async with asyncio.timeout(server.connect_timeout):
                if server.kind == "unix":
                    await loop.create_unix_connection(lambda: line, server.path)
                else:
                    ((host, port),) = server.hosts
                    await loop.create_connection(lambda: line, host, port, ssl=self._context)
                for command in server.greeting():
                    accepted(await line.send(command).reply)
        except BaseException:
            line.lose(ConnectionAbortedError("not connected"))
            raise
        finally:
            self._connecting = None
        if self.line is not None and self.line.is_idle_for(LONGEST_IDLE):
            self.line.lose(ConnectionAbortedError("idle for too long"))
        self.line = line
        self.lines.add(line)
        if self.is_closed:
            await self.aclose()
        return line


class Tracking:
    """What the server tells, on the connection of an event loop, of the keys that were asked for through this."""

    def __init__(self, wires: AsyncOwned, told: Hear) -> None:
        self._wires = wires
        self._told: Hear | None = told
        self.is_on = False
        """Whether the server tells of the keys that were asked for last."""

    async def ask(self, script: Script, names: Sequence[bytes]) -> Any:
        """See `Wire.tracked`."""
        self.is_on = False
        wire: Wire = await self._wires.here()
        reply = await wire.tracked(script, names, self)
        self.is_on = reply is not None
        return reply

    def end(self) -> None:
        """Hear no more. What the server remembers it tells once, to nobody."""
        self._told = None

    def hear(self, names: Iterable[bytes] | None) -> None:
        """Be told of them; with None where it may be any."""
        if names is None:
            self.is_on = False
        if self._told is not None:
            self._told(names)


class Multiplexed(AsyncDriver):
    """Commands to one server, over a `Wire` in each event loop that uses it."""

    unbroken = True

    def __init__(self, server: Server) -> None:
        self._nears = nears = NearCaches(server.near_cache, server.near_cache_window) if server.near_cache else None
        self._owned = AsyncOwned(lambda: (Wire(server, nears),))
        super().__init__(self._owned)
        self.has_near: bool = nears is not None
        self._wires: dict[asyncio.AbstractEventLoop, Wire] = {}

    def near(self, name: bytes) -> tuple[bytes, int | None] | None:
        """A record that the near cache has, and the milliseconds that it has left; None: ask the server."""
        loop = asyncio.get_running_loop()
        wire = self._wires.get(loop)
        if wire is None:
            return None
        now = loop.time()
        kept = wire.near(name, now)
        if kept is None:
            return None
        return kept.data, None if kept.end == math.inf else math.ceil((kept.end - now) * 1000)

    def tracking(self, told: Hear) -> Tracking:
        """Be told of what becomes of keys."""
        return Tracking(self._owned, told)

    async def call(self, name: bytes, *command: Any, writes: bool) -> Any:
        """See `AsyncDriver`. What takes several steps there is written out, as every request pays for it twice."""
        try:
            wire = self._wires.get(asyncio.get_running_loop())
        except RuntimeError:  # which `_first_wire` tells
            wire = None
        if wire is None or wire.process != getpid():
            wire = await self._first_wire()
        line = wire.line
        is_fresh = False
        if line is None or not line.is_ready():
            if wire.is_closed:
                wire = await self._first_wire()
            line, is_fresh = await wire.renewed(unbroken if writes else asyncio.shield)
        try:
            if writes:
                asked = line.write(command)
                asked.is_firm = True
                try:
                    reply = await asked.reply
                except asyncio.CancelledError as cancelled:
                    put_off(cancelled)
                    reply = await asked.to_the_end()
            elif is_fresh:
                reply = await line.read(command).reply
            else:
                asked = line.read(command, 0.5)
                asked.is_first_try = True
                try:
                    reply = await asked.reply
                except LostError as lost:
                    if not isinstance(lost.cause, OSError):  # nor out of time: the server said something else
                        raise
                    line = wire.line
                    if line is None or not line.is_open:
                        line = await wire.connected(asyncio.shield)
                    reply = await line.read(command, 0.5).reply
        except LostError as lost:
            raise_alone((unknown if lost.sent and writes else unreachable)(lost.cause))
        if type(reply) is not hiredis.ReplyError:
            return reply
        try:
            return accepted(reply)
        except ErrorReply as refused:
            if refused.code == "READONLY":
                line.lose(reply)  # a replica by now; another connection may lead to the new master
            raise

    async def _first_wire(self) -> Wire:
        """That of an event loop which has called for the first time, or after it was closed."""
        wire: Wire = await self._owned.here()
        loop = asyncio.get_running_loop()
        for former in list(self._wires):
            if former.is_closed():
                self._wires.pop(former, None)
        self._wires[loop] = wire
        return wire
