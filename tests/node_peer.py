"""Node.js and the Express peers of the tests. Where they are missing, a test is skipped for that reason; in CI it fails."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import pytest

from scripts.node_peers import FOLDER, find_node

__all__ = ["Ask", "conversing", "node_with", "version"]

Ask: TypeAlias = Callable[..., Any]
"""Sends a program a line of JSON, the list of the arguments, and answers what it replies."""

_PATIENCE: Final = 30  # seconds
_REMEDY: Final = "run `make node-peers`"


def node_with(*packages: str) -> Path:
    """The ``node`` to run, with these packages in the peers' folder."""
    node = find_node()
    if node is None:
        _missing(f"there is no Node.js: {_REMEDY}")
    if absent := [name for name in packages if not (FOLDER / "node_modules" / name).exists()]:
        _missing(f"Express peers are not installed ({', '.join(absent)}): {_REMEDY}")
    return node


def version(package: str) -> str:
    """The version that is installed of a package."""
    found: str = json.loads((FOLDER / "node_modules" / package / "package.json").read_text())["version"]
    return found


@contextmanager
def conversing(command: Sequence[object], cwd: Path = FOLDER) -> Iterator[Ask]:
    """Run a program that answers each line of JSON with one, ``{"value": ...}`` or ``{"error": ...}``, until its input ends.

    Its coverage is not measured, which would take it half as long again.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with subprocess.Popen(
        list(map(str, command)), cwd=cwd, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        requests, replies = process.stdin, process.stdout
        assert requests is not None and replies is not None

        def ask(*request: Any) -> Any:
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            assert select.select([replies], [], [], _PATIENCE)[0], f"no reply to {request}"
            line = replies.readline()
            assert line, f"{command[0]} has ended with {process.wait(_PATIENCE)}"
            reply = json.loads(line)
            assert "error" not in reply, reply
            return reply.get("value")

        try:
            yield ask
            requests.close()
            process.wait(_PATIENCE)
        finally:
            process.kill()  # of no effect if it has ended


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"in CI this must run: {reason}")
    pytest.skip(reason)
