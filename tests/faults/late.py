"""Delivering to a server, by another way, what a client once sent and has given up."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Final

import psycopg

from sojourn.stores.postgres._statements import Statements, Table
from sojourn.stores.postgres._wire import Statement

__all__ = ["DELIVER"]

_READY: Final = b"Z\0\0\0\5I"


def _to_redis(port: int, message: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(message)
        return connection.recv(4096)


def _to_postgres(port: int, message: bytes) -> bytes:
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=5) as connection:
        for statement in vars(
            Statements(Table.checked(None, "session"), "native", has_owner=True, has_successor=True)
        ).values():
            is_bound = message[:1] == b"B"  # else its preparation is in the message
            if is_bound and isinstance(statement, Statement) and statement.name in message:
                connection.pgconn.prepare(statement.name, statement.text)
        with socket.socket(fileno=os.dup(connection.fileno())) as raw:
            raw.settimeout(5)
            raw.sendall(message)
            reply = b""
            while not reply.endswith(_READY):
                reply += raw.recv(4096)
            return reply


def _to_mongodb(port: int, message: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as connection, connection.makefile("rb") as replies:
        connection.sendall(message)
        head = replies.read(4)
        (length,) = struct.unpack("<i", head)
        return head + replies.read(length - 4)


DELIVER: Final[dict[str, Callable[[int, bytes], bytes]]] = {
    "redis": _to_redis,
    "postgres": _to_postgres,
    "mongo": _to_mongodb,
}
"""By kind of server: takes its port and the message, and gives the server's reply."""
