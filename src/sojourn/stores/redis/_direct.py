"""Connections for the sync colour, one for each operation at a time, straight on hiredis: a third of the cost of redis-py's.

A write is sent once. A read that is lost, or has no reply within half of its time, is sent once more, on a new connection.
A connection whose reply was not read to its end, for whatever reason, is closed: the reply must not be read as another's.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import hiredis

from ...errors import StoreError, StoreUnavailable
from .._raising import raise_alone
from ._errors import OutOfStepError, code_of, unknown, unreachable
from ._idle import LONGEST_IDLE, keep_awake, looking
from ._replies import accepted, check_reply
from ._sync.clients import Owned
from ._sync.driver import Driver
from ._url import Server

__all__ = ["Connections", "Direct"]

_MORE: Final = object()
"""What the parser returns while a reply is not complete."""
_CHUNK: Final = 65_536
"""Bytes that are read at once."""
_LOST: Final = (OSError, ValueError, hiredis.HiredisError, OutOfStepError)
"""What an operation ends with that has no reply, or none that can be believed. ValueError: the host's name can be none."""


class _Connection:
    """A connection, once it is opened; one thread at a time uses it."""

    def __init__(self, server: Server, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._context = context
        self._socket: socket.socket | None = None
        self._has_come: Callable[[], object] | None = None
        self._reader: Any = None
        self._used_at = 0.0

    def is_ready(self, since: float) -> bool:
        """Whether it is open, was used since then, and nothing has come that nobody has asked for, such as its end."""
        if self._socket is None or self._used_at < since:
            return False
        return self._has_come is None or not self._has_come()

    def open(self) -> None:
        """Open it, anew if it is open."""
        self.close()
        server = self._server
        if server.kind == "unix":
            self._socket = opened = socket.socket(socket.AF_UNIX)
            opened.settimeout(server.connect_timeout)
            opened.connect(server.path)
        else:
            (address,) = server.hosts
            self._socket = opened = socket.create_connection(address, server.connect_timeout)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_awake(opened)
            if self._context is not None:
                self._socket = opened = tls = self._context.wrap_socket(
                    opened, server_hostname=address[0], do_handshake_on_connect=False
                )
                tls.do_handshake()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        for command in server.greeting():
            accepted(self.ask(command))
        opened.settimeout(server.timeout / 2)
        self._has_come = looking(opened)

    def ask(self, command: tuple[Any, ...], *, writes: bool = False) -> Any:
        """Send a command, once, and return the reply, which may be an error as a value.

        The reply to a read may take half of the time that is set, that to a write all of it.
        """
        connection, reader = self._socket, self._reader
        assert connection is not None
        connection.sendall(hiredis.pack_command(command))
        may_wait_on = writes
        while (reply := reader.gets()) is _MORE or type(reply) is hiredis.PushNotification:
            if reply is not _MORE:
                continue  # what is pushed is no reply
            try:
                data = connection.recv(_CHUNK)
            except TimeoutError:
                if not may_wait_on:
                    raise
                may_wait_on = False
                continue
            if not data:
                raise ConnectionResetError("closed by the server")
            reader.feed(data)
        check_reply(command[0], reply)
        self._used_at = monotonic()
        if reader.has_data():  # a reply too many
            self.close()
        elif type(reply) is hiredis.ReplyError and code_of(str(reply)) == "READONLY":
            self.close()  # a replica by now; another connection may lead to the new master
        return reply

    def close(self) -> None:
        """Close it, if it is open."""
        closing, self._socket = self._socket, None
        if closing is not None:
            closing.close()


class Connections:
    """The connections of a process: as many as there were operations at once."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._context = server.ssl_context()
        self._idle: deque[_Connection] = deque()
        """Those that no operation uses, open or not."""
        self._made = 0
        self._making = threading.Lock()
        self._lost_at = 0.0
        self._is_closed = False

    def call(self, *command: Any, writes: bool) -> Any:
        """See `Driver`."""
        connection, sent = self._take(), False
        try:
            if not connection.is_ready(max(monotonic() - LONGEST_IDLE, self._lost_at)):
                connection.open()
            sent = writes
            try:
                reply = connection.ask(command, writes=writes)
            except OSError:
                if writes:
                    raise
                # What is between may have forgotten it without a word, or a failover taken place. A read may be sent again.
                self._lost_at = monotonic()  # the others are as old
                connection.open()
                reply = connection.ask(command)
        except BaseException as error:
            connection.close()  # the reply to this command must not be read as that to another
            if isinstance(error, _LOST):
                raise_alone((unknown if sent else unreachable)(error))
            if isinstance(error, StoreError):
                raise_alone(error)
            raise
        finally:
            self._idle.append(connection)
            if self._is_closed:
                self.close()
        return accepted(reply)

    def close(self) -> None:
        """Close them; those in use once they no longer are."""
        self._is_closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _take(self) -> _Connection:
        """One for this operation alone, open or not: that which was used last, so that those that are not needed grow old.

        Raises:
            StoreUnavailable: as many as there may be are in use.
        """
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._making:
            if self._made == self._server.max_connections:
                raise StoreUnavailable(f"Redis cannot be reached: max_connections={self._made} are in use")
            self._made += 1
        return _Connection(self._server, self._context)


class Direct(Driver):
    """Commands to one server, over `Connections` in each process that uses it."""

    def __init__(self, server: Server) -> None:
        super().__init__(Owned(lambda: (Connections(server),)))

    def call(self, name: bytes, *command: Any, writes: bool) -> Any:
        """See `Driver`."""
        return self._clients.here().call(*command, writes=writes)
