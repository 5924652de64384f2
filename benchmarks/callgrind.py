"""Counting what a process executes, by Valgrind's callgrind, which is told from outside when."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 60


def is_installed() -> bool:
    return shutil.which("valgrind") is not None


class Counter:
    """Counts the instructions of one process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written = 0
        self._pid = 0
        self.under = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={file}"]
        """What the process's command has to begin with."""

    async def begin(self, pid: int) -> None:
        """Begin to count, which slows the process down some ten times more."""
        self._pid = pid
        await _control(pid, "--instr=on")

    async def count(self) -> int:
        """How many instructions the process has executed since that was last asked."""
        await _control(self._pid, "--dump")
        self._written += 1
        dump = self._file.with_name(f"{self._file.name}.{self._written}").read_text()
        found = re.search(r"^totals: (\d+)$", dump, re.MULTILINE)
        return int(found[1]) if found else 0


async def _control(pid: int, argument: str) -> None:
    command = ["callgrind_control", argument, str(pid)]
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=nowhere, stderr=nowhere)
    if await asyncio.wait_for(process.wait(), PATIENCE):
        raise RuntimeError(f"{' '.join(command)} has failed")


@contextmanager
def counter() -> Iterator[Counter]:
    """One for a process that ends within this context."""
    with tempfile.TemporaryDirectory() as folder:
        yield Counter(Path(folder) / "counts")
