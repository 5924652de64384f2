"""Processes that tests start, wait for and always stop, by their own id."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_READY = re.compile(r"http://[^\s/]+")


class Running:
    """A server that printed its address."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    def stop(self) -> int:
        """End it as an operator would; answers its exit status."""
        self.process.terminate()
        return self.process.wait(20)


@contextmanager
def serving(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, python: str | Path = sys.executable
) -> Iterator[Running]:
    """Run a Python program that prints ``http://host:port`` when it is ready."""
    process = subprocess.Popen(
        [python, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = process.stdout
    assert output is not None
    printed: list[str] = []
    try:
        address = None
        for line in output:
            printed.append(line)
            if (found := _READY.search(line)) is not None:
                address = found.group()
                break
        assert address is not None, f"the server ended without an address: {''.join(printed)}"
        drain = threading.Thread(target=_drain, args=(output,), daemon=True)  # so that it never waits for a full pipe
        drain.start()
        yield Running(process, address)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if address is not None:
            drain.join(5)
        output.close()


def _drain(output: IO[str]) -> None:
    for _line in output:
        pass
