"""The state file: for each session that was copied, what lay at the source and what at the target.

By it a later run tells what changed at the source since, and what at the target. It holds no data of sessions, but the
target's keys; it is readable by its owner alone.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..errors import ConfigurationError

__all__ = ["Copy", "State", "fingerprint"]

_APPLICATION_ID: Final = 0x536A726D  # "Sjrm", in the header of the file: see `file(1)`
_SCHEMA: Final = (
    """CREATE TABLE copies (
        key TEXT NOT NULL PRIMARY KEY, source BLOB NOT NULL, target BLOB NOT NULL, expires INTEGER NOT NULL, run INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE migration (name TEXT NOT NULL, run INTEGER NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
)
_FIND: Final = "SELECT key, source, target, expires FROM copies WHERE key IN (%s)"
_KEEP: Final = "INSERT OR REPLACE INTO copies (key, source, target, expires, run) VALUES (?, ?, ?, ?, ?)"
_UNSEEN: Final = """SELECT key, source, target, expires FROM copies
    WHERE key > ? AND run < ? AND expires > ? ORDER BY key LIMIT ?"""


class Copy(NamedTuple):
    """A session that was copied."""

    key: str
    """The target's."""
    source: bytes
    """The fingerprint of the version at the source."""
    target: bytes
    """The fingerprint of the version at the target."""
    expires: int
    """When it ends, as the source had it; epoch ms."""


def fingerprint(version: Any) -> bytes:
    """What tells a store's version from others, and is shorter."""
    raw = getattr(version, "raw", version)  # BSON
    return hashlib.sha256(raw if isinstance(raw, bytes) else repr(raw).encode("utf-8", "surrogatepass")).digest()[:16]


class State:
    """The copies of all runs so far.

    Args:
        path: the file, made if there is none; None to remember nothing.
        name: what tells this migration from others.
        dry_run: keep what is noted to oneself.

    Raises:
        ConfigurationError: another migration's file, or that of something else, or another run has it open.
    """

    def __init__(self, path: str | os.PathLike[str] | None, name: str, *, dry_run: bool = False) -> None:
        self._file: sqlite3.Connection | None = None
        self._dry_run = dry_run
        self._run = 0
        if path is None or (dry_run and not Path(path).exists()):
            return
        with _refusing():
            self._file = _open(os.fspath(path))
            try:
                self._run = self._begin_run(self._file, name)
                self._commit(self._file)
            except BaseException:
                self._file.close()
                raise

    @property
    def remembers(self) -> bool:
        """Whether there is a file."""
        return self._file is not None

    def find(self, keys: Sequence[str]) -> dict[str, Copy]:
        """The copies under these keys of the target."""
        return {copy.key: copy for copy in self._copies(_FIND % ",".join("?" * len(keys)), keys)}

    def keep(self, copies: Iterable[Copy]) -> None:
        """Note copies, and that this run has met their sessions at the source."""
        self._write(_KEEP, [(*copy, self._run) for copy in copies])

    def unseen(self, now: int, size: int) -> Iterator[list[Copy]]:
        """The copies, some at a time, whose sessions this run has not met although they had not expired."""
        after = ""
        while page := self._copies(_UNSEEN, (after, self._run, now, size)):
            yield page
            after = page[-1].key

    def forget(self, copies: Iterable[Copy]) -> None:
        """Drop copies."""
        self._write("DELETE FROM copies WHERE key = ?", [(copy.key,) for copy in copies])

    def forget_expired(self, now: int) -> None:
        """Drop the copies whose sessions this run has not met because they expired."""
        self._write("DELETE FROM copies WHERE run < ? AND expires <= ?", [(self._run, now)])

    def close(self) -> None:
        """Close the file, in a dry run as it was."""
        if self._file is not None:
            self._file.close()

    def _copies(self, statement: str, arguments: Sequence[object]) -> list[Copy]:
        if self._file is None:
            return []
        with _refusing():
            return [Copy(*row) for row in self._file.execute(statement, arguments)]

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if self._file is not None:
            with _refusing():
                self._file.executemany(statement, rows)
                self._commit(self._file)

    def _commit(self, file: sqlite3.Connection) -> None:
        if not self._dry_run:  # what is not committed is undone when the file is closed
            file.commit()

    @staticmethod
    def _begin_run(file: sqlite3.Connection, name: str) -> int:
        former, run = file.execute("SELECT name, run FROM migration").fetchone() or (name, 0)
        if former != name and file.execute("SELECT EXISTS (SELECT 1 FROM copies)").fetchone() == (1,):
            raise ConfigurationError("state", "the state of another migration", "give a file of its own to each")
        file.execute("DELETE FROM migration")
        file.execute("INSERT INTO migration (name, run) VALUES (?, ?)", (name, run + 1))
        return int(run) + 1


def _open(path: str) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    file = sqlite3.connect(
        path, timeout=0, check_same_thread=False
    )  # a run has a thread that notes, while the others wait
    try:
        is_new = file.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        if not is_new:
            _check(*file.execute("PRAGMA application_id").fetchone())
        file.execute("PRAGMA locking_mode = EXCLUSIVE")  # one run at a time
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        if is_new:
            for statement in _SCHEMA:
                file.execute(statement)
    except BaseException:
        file.close()
        raise
    return file


def _check(application: int) -> None:
    if application != _APPLICATION_ID:
        raise ConfigurationError("state", "a file that is something else", "give a file of its own")


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
        given = "a file that another run has open" if busy else f"a file that cannot be opened ({error})"
        raise ConfigurationError("state", given, "wait for its end" if busy else "give another path") from error
    except (sqlite3.DatabaseError, OSError) as error:
        raise ConfigurationError("state", f"a file that cannot be used ({error})", "give a file of its own") from error
