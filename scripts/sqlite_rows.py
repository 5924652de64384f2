"""SQLite's rows of the matrix. Its processes are those of the load, so what is killed is half of them; others look what became of theirs."""

from __future__ import annotations

import fcntl
import importlib
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import time
from array import array
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from scripts.scenes import Row, Scene, our_clock

__all__ = ["ROWS"]

_VERSION: Final = f"SQLite {sqlite3.sqlite_version}"
_SPELL: Final = 3.0
"""Seconds that what goes wrong lasts, unless it is over at once."""
_TMPFS: Final = 48
"""MB: SQLite's log alone may have 16."""


def _folder(stack: ExitStack) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sojourn-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _url(file: Path, **options: object) -> str:
    return f"sqlite:///{file}?{'&'.join(f'{name}={value}' for name, value in options.items())}"


def _killed(synchronous: str, stack: ExitStack) -> Scene:
    url = _url(_folder(stack) / "sessions.db", synchronous=synchronous)
    return Scene(url, _VERSION, kills=4)


def _mounted(stack: ExitStack) -> Path:
    """A small file system of its own."""
    folder = _folder(stack)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_TMPFS}m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own needs root, and the right to mount one")
    stack.callback(lambda: subprocess.run(["umount", "-l", str(folder)], check=False))
    return folder


def _full(stack: ExitStack) -> Scene:
    """Somebody else fills the disk."""
    folder = _mounted(stack)
    filler = folder / "filler"

    def strike() -> None:
        until = time.monotonic() + _SPELL
        with filler.open("wb", buffering=0) as file:
            while time.monotonic() < until:
                try:
                    file.write(b"\0" * 4096)
                except OSError:  # it is full, but for what is freed meanwhile
                    time.sleep(0.01)
        filler.unlink()

    return Scene(_url(folder / "sessions.db"), _VERSION, strike)


def _limited(stack: ExitStack) -> Scene:
    """No file of the processes may grow any more."""
    file = _folder(stack) / "sessions.db"

    def strike() -> None:
        processes = importlib.import_module("psutil").Process().children(recursive=True)
        largest = file.with_name(f"{file.name}-wal").stat().st_size
        for limit in (largest, resource.RLIM_INFINITY):
            for process in processes:
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            time.sleep(_SPELL)

    return Scene(_url(file), _VERSION, strike)


_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_IMMUTABLE: Final = 0x10


def _keep(file: int, *, immutable: bool) -> None:
    """Whether an open file may be changed by those who open it from now on; not even by root (``chattr +i``)."""
    flags = array("l", [0])
    fcntl.ioctl(file, _GET_FLAGS, flags)
    flags[0] = flags[0] | _IMMUTABLE if immutable else flags[0] & ~_IMMUTABLE
    fcntl.ioctl(file, _SET_FLAGS, flags)


def _read_only(stack: ExitStack) -> Scene:
    """Put back as a file that may only be read for a while. What has a file open may go on writing to it, whatever becomes of its mode."""
    folder = _folder(stack)
    file, copy = folder / "sessions.db", folder / "copy.db"
    try:
        with copy.open("wb") as probe:
            _keep(probe.fileno(), immutable=True)
            _keep(probe.fileno(), immutable=False)
    except OSError:
        pytest.skip("to make a file read-only for root too needs root, and a file system that can")
    copy.unlink()

    def strike() -> None:
        _back_up(file, copy)
        with copy.open("rb") as opened:
            _put_back(copy, file)
            _keep(opened.fileno(), immutable=True)
            time.sleep(_SPELL)
            _keep(opened.fileno(), immutable=False)

    return Scene(_url(file), _VERSION, strike)


def _gone(suffixes: tuple[str, ...], stack: ExitStack) -> Scene:
    file = _folder(stack) / "sessions.db"

    def strike() -> None:
        for suffix in suffixes:
            file.with_name(file.name + suffix).unlink(missing_ok=True)

    return Scene(_url(file), _VERSION, strike)


def _back_up(file: Path, copy: Path) -> None:
    """As ``.backup`` of SQLite's program does it."""
    with closing(sqlite3.connect(file, timeout=30)) as source, closing(sqlite3.connect(copy, timeout=30)) as target:
        source.backup(target)


def _backed_up(stack: ExitStack) -> Scene:
    folder = _folder(stack)
    file, copy = folder / "sessions.db", folder / "copy.db"

    def strike() -> None:
        _back_up(file, copy)

    return Scene(_url(file), _VERSION, strike, after=lambda: _state(copy))


def _copied(suffixes: tuple[str, ...], stack: ExitStack) -> Scene:
    folder = _folder(stack)
    file = folder / "sessions.db"

    def strike() -> None:
        for suffix in suffixes:
            shutil.copy(file.with_name(file.name + suffix), folder / f"copy.db{suffix}")

    return Scene(_url(file), _VERSION, strike, after=lambda: _state(folder / "copy.db"))


def _restored(stack: ExitStack) -> Scene:
    """Put back by SQLite's program, while it is in use."""
    folder = _folder(stack)
    file, copy = folder / "sessions.db", folder / "copy.db"

    def strike() -> None:
        _back_up(file, copy)
        time.sleep(_SPELL / 2)
        _back_up(copy, file)

    return Scene(_url(file), _VERSION, strike)


def _put_back(copy: Path, file: Path) -> None:
    """By renaming, with what belongs to the old one removed first."""
    for suffix in ("-wal", "-shm", ""):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    copy.rename(file)


def _replaced(stack: ExitStack) -> Scene:
    folder = _folder(stack)
    file, copy = folder / "sessions.db", folder / "copy.db"

    def strike() -> None:
        _back_up(file, copy)
        time.sleep(_SPELL / 2)
        _put_back(copy, file)

    return Scene(_url(file), _VERSION, strike)


def _state(copy: Path) -> str:
    try:
        with closing(sqlite3.connect(copy)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check").fetchone()
            (count,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
    except sqlite3.Error as error:
        return f"the copy: {type(error).__name__}, {error}"
    return f"the copy is {'sound' if found == 'ok' else 'damaged'}, {count} rows"


def _at_another_time(first: str, then: str, stack: ExitStack) -> Scene:
    variables, set_to = our_clock(_folder(stack), first)
    url = _url(_folder(stack) / "sessions.db")
    return Scene(url, _VERSION, lambda: set_to(then), environments=(variables,))


def _plain(stack: ExitStack) -> Scene:
    return Scene(_url(_folder(stack) / "sessions.db"), _VERSION, processes=16)


_OLDER: Final = "what came after the copy"
_ALL: Final = "what was in the file"
_SCENES: Final[tuple[tuple[str, Callable[[ExitStack], Scene], str], ...]] = (
    ("nothing, with 16 processes", _plain, ""),
    *(
        (f"half of the processes are killed, `synchronous={level}`", partial(_killed, level), "")
        for level in ("OFF", "NORMAL", "FULL")
    ),
    ("its disk is full for 3 s", _full, ""),
    ("no file may grow for 3 s", _limited, ""),
    ("replaced by its copy, read-only for 3 s", _read_only, _OLDER),
    ("the file is deleted", partial(_gone, ("",)), _ALL),
    ("the file is deleted, with `-wal` and `-shm`", partial(_gone, ("-wal", "-shm", "")), _ALL),
    ("copied by `.backup`", _backed_up, ""),
    ("copied as a file, alone", partial(_copied, ("",)), ""),
    ("copied as files, with `-wal`", partial(_copied, ("", "-wal")), ""),
    ("restored by `.restore`", _restored, _OLDER),
    ("replaced by its copy", _replaced, _OLDER),
)
ROWS: Final[list[Row]] = [
    *(Row("SQLite", what, scene, loses=loses, family="sqlite") for what, scene, loses in _SCENES),
    *(
        Row("SQLite", what, partial(_at_another_time, *shifts), family="sqlite")
        for what, shifts in (
            ("the clock is set back by an hour", ("+0", "-3600")),
            ("the clock is set forward by an hour", ("-3600", "+0")),
        )
    ),
]
