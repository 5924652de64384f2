"""The three kinds of servers: how they are started, reached within short timeouts, and what is said to them and by them."""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import bson

from sojourn.stores.postgres._statements import Statements, Table
from sojourn.stores.postgres._wire import Statement
from tests.proxy import Answer
from tests.servers import PostgresServer, SecantusServer, ValkeyServer, postgres_server, secantus, valkey

__all__ = ["KINDS", "TIMEOUT", "Kind", "refusing"]

TIMEOUT: Final = 0.5
"""Seconds that an operation may take, and as long to get a connection from a full pool."""


class Kind(NamedTuple):
    """A kind of server."""

    running: Callable[[], AbstractContextManager[Any]]
    """A server that keeps what it has acknowledged, even if it is killed."""
    start: Callable[[Any], None]
    """Start it again after it was killed."""
    url: Callable[[int, int], str]
    """Of a store: the server's port, how many connections there may be."""
    is_read: Callable[[bytes], bool]
    is_write: Callable[[bytes], bool]
    refusal: Callable[[bytes], bytes]
    """The answer of a server that is read-only for the time being."""
    steps: int
    """How many writes a regenerate takes."""
    patience: float
    """Seconds that one operation may take at most, with its connecting, by the timeouts in the URL."""


_STATEMENTS: Final = [
    value
    for value in vars(Statements(Table.checked(None, "session"), "native", has_owner=True, has_successor=True)).values()
    if isinstance(value, Statement)
]


def _executes(writes: bool) -> Callable[[bytes], bool]:
    """Whether there is a Bind of such a statement among PostgreSQL's messages; its Execute travels along."""
    names = b"|".join(statement.name for statement in _STATEMENTS if statement.writes is writes)
    bind = re.compile(b"B.{4}\\0(" + names + b")\\0", re.DOTALL)
    return lambda message: bind.search(message) is not None


def _commands(*names: bytes) -> Callable[[bytes], bool]:
    """Whether a message of MongoDB's is one of these commands: an OP_MSG (2013) whose document begins with the name."""
    return lambda message: (
        message[12:16] == b"\xdd\x07\0\0" and any(message[26:].startswith(name + b"\0") for name in names)
    )


def _not_primary(message: bytes) -> bytes:
    (request,) = struct.unpack_from("<i", message, 4)
    reply = {"ok": 0.0, "errmsg": "not primary", "code": 10107, "codeName": "NotWritablePrimary"}
    body = b"\0\0\0\0\0" + bson.encode(reply)
    return struct.pack("<iiii", 16 + len(body), 1, request, 2013) + body


def _hot_standby(_message: bytes) -> bytes:
    fields = b"SERROR\0VERROR\0C25006\0Mcannot execute UPDATE in a read-only transaction\0\0"
    return b"E" + struct.pack(">i", len(fields) + 4) + fields + b"Z\0\0\0\5I"


@contextmanager
def _postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        server.init()
        _start_postgres(server)
        yield server


def _start_postgres(server: PostgresServer) -> None:
    server.start(fsync="on", synchronous_commit="on", full_page_writes="on")


@contextmanager
def _mongodb() -> Iterator[SecantusServer]:
    with tempfile.TemporaryDirectory(prefix="sojourn-") as folder, secantus(Path(folder)) as server:
        yield server


KINDS: Final = {
    "redis": Kind(
        running=lambda: valkey("--appendonly", "yes", "--appendfsync", "always"),
        start=ValkeyServer.start,
        url=lambda port, size: (
            f"redis://127.0.0.1:{port}/0?timeout={TIMEOUT}&connect_timeout={TIMEOUT}&max_connections={size}"
        ),
        is_read=lambda message: b"\r\nGET\r\n" in message,
        is_write=lambda message: b"\r\nEVAL" in message,
        refusal=lambda _message: b"-READONLY You can't write against a read only replica.\r\n",
        steps=1,
        patience=2 * TIMEOUT,
    ),
    "postgres": Kind(
        running=_postgres,
        start=_start_postgres,
        url=lambda port, size: (
            f"postgresql://postgres@127.0.0.1:{port}/postgres?create_table=true"
            f"&timeout={TIMEOUT}&connect_timeout=2&pool_size={size}"  # psycopg waits no less than 2 s
        ),
        is_read=_executes(writes=False),
        is_write=_executes(writes=True),
        refusal=_hot_standby,
        steps=1,
        patience=TIMEOUT + 2,
    ),
    "mongo": Kind(
        running=_mongodb,
        start=SecantusServer.start,
        url=lambda port, size: (
            f"mongodb://127.0.0.1:{port}/faults?directConnection=true&serverSelectionTimeoutMS={2000 * TIMEOUT:.0f}"
            f"&connectTimeoutMS={1000 * TIMEOUT:.0f}&socketTimeoutMS={1000 * TIMEOUT:.0f}&maxPoolSize={size}"
            f"&waitQueueTimeoutMS={1000 * TIMEOUT:.0f}&heartbeatFrequencyMS=500&serverMonitoringMode=poll"
        ),
        is_read=_commands(b"find"),
        is_write=_commands(b"update", b"delete", b"insert", b"findAndModify"),
        refusal=_not_primary,
        steps=3,
        patience=2 * (2 * TIMEOUT + TIMEOUT),  # PyMongo sends a read once more
    ),
}


def refusing(kind: Kind) -> Answer:
    """The fault of a server that is read-only for the time being."""
    return Answer(kind.refusal)
