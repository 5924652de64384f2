"""The SQLite file: its layout, how connections to it are made, and each operation of the store as statements.

Operations take a connection and the time now. Writing ones expect to run inside a transaction that holds the write lock,
so that what they read stays true until they write. There are no threads here.

The layout was measured with records of 400 bytes and of 10 KB: ``WITHOUT ROWID`` makes a read of the larger three times
and a write twice as expensive, because a B-tree of keys keeps little of a row in place.
"""

# ruff: noqa: S608 - what is put into statements are constants, and values are parameters

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from ...chance import chance
from ...core.store import CONFLICT, EXISTS, MISSING, Conflict, Deleted, Exists, Missing, longest_lock
from ...errors import StoreError
from ...logs import warn_once
from .._arguments import as_key
from ._network import network_file_system

__all__ = [
    "BY_OWNER",
    "COUNT",
    "FACTS",
    "LOAD",
    "PRUNE_BATCH",
    "PULSE",
    "SCAN",
    "clear",
    "connect_reader",
    "connect_writer",
    "create",
    "delete",
    "describe",
    "error_code",
    "identity",
    "is_busy",
    "lock",
    "looking_at",
    "prune",
    "regenerate",
    "replace",
    "retry_while_busy",
    "set_owner",
    "touch",
    "unlock",
]

T = TypeVar("T")

PRUNE_BATCH: Final = 500
"""Rows removed in one transaction, some 10 ms: other writers are not kept waiting for longer."""

_CHECKPOINT_PAGES: Final = 4000  # 16 MB of WAL: a quarter cheaper than SQLite's 1000 where writes come in batches

_APPLICATION_ID: Final = 0x536A726E  # "Sjrn", in the header of the file: see `file(1)`
_LAYOUT: Final = 1

# Data is NULL in a tombstone. Tombstones have an index of their own, so that live records can be counted without
# looking at each: all that have not expired, less the few tombstones.
#
# A file of an older version has no column for the successor of a tombstone. The column is added, and the number of
# the layout stays the same: older processes can share the file, as their statements name the columns.
_ADD_SUCCESSOR: Final = "ALTER TABLE sessions ADD COLUMN successor TEXT"
_SCHEMA: Final = (
    """CREATE TABLE sessions (
        key TEXT NOT NULL PRIMARY KEY, data BLOB, version INTEGER NOT NULL, expires INTEGER NOT NULL, owner TEXT
    )""",
    _ADD_SUCCESSOR,
    "CREATE INDEX sessions_expires ON sessions (expires)",
    "CREATE INDEX sessions_replaced ON sessions (expires) WHERE data IS NULL",
    "CREATE INDEX sessions_owner ON sessions (owner) WHERE owner IS NOT NULL",
    "CREATE TABLE locks (key TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX locks_expires ON locks (expires)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_LAYOUT}",
)

# A cell holds what somebody has put there by hand, of whatever type. So each is taken as the type that it should have: text as
# bytes of data, and anything as a number of a version. An expiry that is no number is more than any number (SQLite's own order): it
# never comes.
_VERSION: Final = "CAST(version AS INTEGER)"
_LARGEST: Final = 2**63 - 1  # SQLite's integers

# Data is bytes, and a tombstone returns its successor instead, which is text: one more column would make every read
# slower.
LOAD: Final = (
    f"SELECT ifnull(CAST(data AS BLOB), CAST(successor AS TEXT)), {_VERSION}, expires FROM sessions WHERE key = ?"
)
COUNT: Final = """SELECT (SELECT count(*) FROM sessions WHERE expires > ?)
    - (SELECT count(*) FROM sessions WHERE data IS NULL AND expires > ?)"""
BY_OWNER: Final = (
    "SELECT key FROM sessions WHERE owner = ? AND typeof(key) = 'text' AND data IS NOT NULL AND expires > ?"
)
# Another number, on one connection, once any other has committed.
PULSE: Final = "PRAGMA data_version"
# Keys as bytes, since they need not be UTF-8.
SCAN: Final = f"""SELECT CAST(key AS BLOB), CAST(data AS BLOB), {_VERSION}, expires FROM sessions
    WHERE key > CAST(? AS TEXT) AND typeof(key) = 'text' AND data IS NOT NULL AND expires > ? ORDER BY key LIMIT ?"""

FACTS: Final = "SELECT (SELECT * FROM pragma_journal_mode), sqlite_version()"

_GET_VERSION: Final = f"SELECT {_VERSION} FROM sessions WHERE key = ? AND data IS NOT NULL AND expires > ?"
_GET_OWNER: Final = (
    f"SELECT {_VERSION}, owner IS NOT ? FROM sessions WHERE key = ? AND data IS NOT NULL AND expires > ?"
)
_SET_OWNER: Final = "UPDATE sessions SET owner = ? WHERE key = ?"
_CREATE: Final = """INSERT INTO sessions (key, data, version, expires, owner) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE
    SET data = excluded.data, version = excluded.version, expires = excluded.expires, owner = excluded.owner,
        successor = NULL
    WHERE sessions.expires <= ?"""
_REPLACE: Final = f"""UPDATE sessions SET data = ?, version = ({_VERSION} & {_LARGEST}) % {_LARGEST} + 1, expires = ?, owner = ?
    WHERE key = ? AND data IS NOT NULL AND expires > ? AND {_VERSION} = ?"""
_TO_TOMBSTONE: Final = """UPDATE sessions
    SET data = NULL, version = version + 1, expires = ?, owner = NULL, successor = ? WHERE key = ?"""
_REMOVE: Final = "DELETE FROM sessions WHERE key = ?"
_TOUCH: Final = "UPDATE sessions SET expires = ? WHERE key = ? AND data IS NOT NULL AND expires > ?"
_DELETE: Final = "DELETE FROM sessions WHERE key = ? AND data IS NOT NULL AND expires > ?"
_SUCCESSOR: Final = (
    "SELECT successor FROM sessions WHERE key = ? AND data IS NULL AND expires > ? AND successor NOT NULL"
)
_TOMBSTONES: Final = "SELECT key, version, expires, successor FROM sessions WHERE data IS NULL AND expires > ?"
_REMOVE_ALL: Final = "DELETE FROM sessions"
_PUT_BACK: Final = "INSERT OR IGNORE INTO sessions (key, version, expires, successor) VALUES (?, ?, ?, ?)"
_PRUNE: Final = (
    """DELETE FROM sessions WHERE rowid IN (
        SELECT rowid FROM sessions WHERE data IS NOT NULL AND expires <= ? LIMIT ?)""",
    """DELETE FROM sessions WHERE rowid IN (
        SELECT rowid FROM sessions WHERE data IS NULL AND expires <= ? LIMIT ?)""",
    "DELETE FROM locks WHERE key IN (SELECT key FROM locks WHERE expires <= ? LIMIT ?)",
)
_LOCK: Final = """INSERT INTO locks (key, token, expires) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET token = excluded.token, expires = excluded.expires
    WHERE locks.expires <= ? OR locks.expires > ?"""
_UNLOCK: Final = "DELETE FROM locks WHERE key = ? AND token = ? AND expires > ?"


def looking_at(count: int) -> str:
    """What tells so many records' versions, without their data."""
    return (
        f"SELECT key, data IS NULL, {_VERSION}, expires, CAST(successor AS TEXT) FROM sessions"
        f" WHERE key IN ({', '.join('?' * count)})"
    )


# -- operations


def create(
    connection: sqlite3.Connection, now: int, key: str, data: bytes, ttl: int, owner: str | None
) -> int | Exists:
    # A random start: a record deleted and created again never gets a version that a caller still holds.
    version = secrets.randbits(62) + 1
    taken = connection.execute(_CREATE, (key, data, version, now + ttl, owner, now)).rowcount == 0
    return EXISTS if taken else version


def replace(
    connection: sqlite3.Connection, now: int, key: str, data: bytes, ttl: int, version: int, owner: str | None
) -> int | Conflict | Missing:
    if connection.execute(_REPLACE, (data, now + ttl, owner, key, now, version)).rowcount:
        return (version & _LARGEST) % _LARGEST + 1
    return MISSING if connection.execute(_GET_VERSION, (key, now)).fetchone() is None else CONFLICT


def regenerate(  # noqa: PLR0917 - called by the writer, which passes on what a method was given by name
    connection: sqlite3.Connection,
    now: int,
    old: str,
    new: str,
    data: bytes,
    ttl: int,
    version: int,
    tombstone: int,
    owner: str | None,
) -> int | Conflict | Missing | Exists:
    row = connection.execute(_GET_VERSION, (old, now)).fetchone()
    if row is None:
        return MISSING
    if row[0] != version:
        return CONFLICT
    created = create(connection, now, new, data, ttl, owner)
    if created is not EXISTS:
        if tombstone > 0:
            connection.execute(_TO_TOMBSTONE, (now + tombstone, new, old))
        else:
            connection.execute(_REMOVE, (old,))
    return created


def touch(connection: sqlite3.Connection, now: int, key: str, ttl: int) -> bool:
    return connection.execute(_TOUCH, (now + ttl, key, now)).rowcount > 0


def set_owner(
    connection: sqlite3.Connection, now: int, key: str, owner: str | None, version: int
) -> bool | Conflict | Missing:
    row = connection.execute(_GET_OWNER, (owner, key, now)).fetchone()
    if row is None:
        return MISSING
    known, is_another = row
    if known != version:
        return CONFLICT
    if is_another:
        connection.execute(_SET_OWNER, (owner, key))
    return bool(is_another)


def delete(connection: sqlite3.Connection, now: int, keys: tuple[str, ...]) -> Deleted:
    count = 0
    successors: dict[str, None] = {}
    for key in keys:
        if connection.execute(_DELETE, (key, now)).rowcount:
            count += 1
        elif (found := connection.execute(_SUCCESSOR, (key, now)).fetchone()) and (successor := as_key(found[0])):
            successors[successor] = None
    return Deleted(count, tuple(successors))


def clear(connection: sqlite3.Connection, now: int) -> int:
    # Without a WHERE, SQLite frees whole pages instead of deleting row by row: some fifty times faster. The few tombstones
    # are put back.
    (count,) = connection.execute(COUNT, (now, now)).fetchone()
    tombstones = connection.execute(_TOMBSTONES, (now,)).fetchall()
    connection.execute(_REMOVE_ALL)
    connection.executemany(_PUT_BACK, tombstones)
    return int(count)


def prune(connection: sqlite3.Connection, now: int) -> tuple[int, bool]:
    """Remove a batch of what has expired: how many records, and whether there may be more of anything."""
    removed = [connection.execute(statement, (now, PRUNE_BATCH)).rowcount for statement in _PRUNE]
    return removed[0], PRUNE_BATCH in removed


def lock(connection: sqlite3.Connection, now: int, key: str, token: str, ttl: int) -> str | None:
    given = key, token, now + ttl, now, now + longest_lock(ttl)
    return token if connection.execute(_LOCK, given).rowcount else None


def unlock(connection: sqlite3.Connection, now: int, key: str, token: str) -> bool:
    return connection.execute(_UNLOCK, (key, token, now)).rowcount > 0


# -- connections

_MEANINGS: Final = {
    sqlite3.SQLITE_BUSY: "something else uses it for too long",
    sqlite3.SQLITE_PROTOCOL: "something else uses it for too long",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_READONLY: "it may only be read",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite file",
}
"""What a failure means, by SQLite's primary result code."""


def error_code(error: BaseException) -> int:
    """SQLite's primary result code, or 0 of an error that is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def describe(error: sqlite3.Error | OSError) -> str:
    """A failure by its class and code, and what the code means; not by its text, in which a trigger may put what it likes."""
    kind = type(error).__name__
    if isinstance(error, OSError):
        return f"{os.strerror(error.errno)} ({kind})" if error.errno is not None else kind
    name = getattr(error, "sqlite_errorname", None)
    code = kind if name is None else f"{kind}, {name}"
    meaning = _MEANINGS.get(error_code(error))
    return code if meaning is None else f"{meaning} ({code})"


def is_busy(error: BaseException) -> bool:
    """Whether another connection is in the way, so that a retry may work in a moment."""
    return error_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL}


def retry_while_busy(step: Callable[[], T], timeout: float) -> T:
    """Take a step, again and again while the file is busy, for at most ``timeout`` seconds.

    SQLite's own busy handler polls at ever longer intervals, up to 100 ms: among several busy processes the one that
    waits longest is then served last. It is also not called in the cases that might be a deadlock, such as two processes
    that turn the same new file to WAL.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        time.sleep(chance.uniform(0.000_5, 0.004))


def identity(path: str) -> tuple[int, int]:
    """Which file is behind the path. A deleted file goes on serving only those that have it open."""
    status = os.stat(path)  # noqa: PTH116 - once per transaction: half the price of pathlib's
    return status.st_dev, status.st_ino


def connect_reader(path: str) -> sqlite3.Connection:
    """A connection that only reads, and does not wait for a busy file."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA query_only = 1")
    except BaseException:  # pragma: no cover - nothing but a signal or the end of memory strikes here
        connection.close()
        raise
    return connection


def connect_writer(path: str, synchronous: str, timeout: float) -> sqlite3.Connection:
    """The connection that writes. The file is created if there is none, and refused if it belongs to something else.

    Raises:
        StoreError: the file is of a newer layout, or belongs to something else, or the file system cannot do WAL.
        sqlite3.Error: the file cannot be opened or written, or is no database.
    """
    _create_private(path)
    connection = _connect(path)
    try:
        retry_while_busy(lambda: _prepare(connection), timeout)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if kind := network_file_system(path):
            warn_once(
                f"network {path}",
                "the SQLite file is on a network file system (%s): more than one machine would damage it, and one may find it slow; "
                "give it a local disk",
                kind,
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: str) -> sqlite3.Connection:
    # Mode rw does not create the file. Each connection is used by one thread at a time, but not always by its maker.
    connection = sqlite3.connect(
        f"{Path(path).as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _as_text
    return connection


def _as_text(cell: bytes) -> str:
    """Text that need not be UTF-8: the driver's own error would look as if the file failed."""
    return cell.decode(errors="replace")


_creation = threading.Lock()


def _create_private(path: str) -> None:
    """Create the file, if there is none, for its owner alone; its WAL inherits that. An existing file keeps its mode.

    Closing a file releases all locks that this process has on it (POSIX), also those of SQLite. Hence the lock: the
    new file is not opened elsewhere in this process before it is closed here.
    """
    with _creation:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError:
            return
        os.close(descriptor)


def _prepare(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    statements = _missing(connection)  # before anything is changed: the file of another program stays as it is
    connection.execute("COMMIT")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"the file system cannot hold a SQLite file in WAL mode (it stays in mode {mode!r}): use a local disk"
        )
    if statements:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _missing(connection):  # another process may have been faster
            connection.execute(statement)
        connection.execute("COMMIT")


def _missing(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The statements that add what the file lacks: everything in a new file, a column in a file of an older version."""
    ((application,), (layout,), (objects,)) = (
        connection.execute(question).fetchone()
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if (application, layout, objects) == (0, 0, 0):
        return _SCHEMA
    if application != _APPLICATION_ID:
        raise StoreError("the SQLite file belongs to something else: give the sessions a file of their own")
    if layout != _LAYOUT:
        raise StoreError(
            f"the SQLite file has layout {layout}, and this version of Sojourn knows layout {_LAYOUT}: upgrade it"
        )
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(sessions)")]
    return () if "successor" in columns else (_ADD_SUCCESSOR,)
