"""Run tests on every CPython from 3.11 on that is here: ``python -m scripts.interpreters [arguments for pytest]``.

Interpreters are looked for on PATH and where pyenv keeps them. Each has an environment of its own, ``.venv-<version>``,
pinned by constraints.txt and made anew only when the pins have changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Interpreter", "candidates", "find", "main"]

ROOT: Final = Path(__file__).resolve().parent.parent
OLDEST: Final = (3, 11)

_NAME: Final = re.compile(r"python(3(\.\d+)?t?)?(\.exe)?")
_ASK: Final = (
    "import json, platform, sys, sysconfig; print(json.dumps([platform.python_implementation(),"
    " platform.python_version(), sys.version_info[:2], bool(sysconfig.get_config_var('Py_GIL_DISABLED')),"
    " sys.executable]))"
)


class Interpreter(NamedTuple):
    """A Python that could be found; ``refused`` says why it is not one for the tests."""

    version: str
    path: str
    refused: str = ""


def candidates(path: str, pyenv: Path) -> Iterator[Path]:
    """Every file that is named as an interpreter."""
    folders = [Path(folder) for folder in path.split(os.pathsep) if folder]
    folders += sorted(pyenv.glob("versions/*/bin"))
    for folder in folders:
        if folder.is_dir():
            yield from sorted(file for file in folder.iterdir() if _NAME.fullmatch(file.name))


def _ask(path: Path) -> Interpreter | None:
    """What the file says that it is; None if it is too old or does not run, as pyenv's stand-in for a version not chosen."""
    try:
        done = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, timeout=30, check=False)
        implementation, version, release, free_threaded, executable = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if tuple(release) < OLDEST:
        return None
    if implementation != "CPython":
        return Interpreter(version, executable, f"left out: {implementation}")
    return Interpreter(version, executable, "left out: a free-threaded build" if free_threaded else "")


def find(files: Iterable[Path]) -> dict[str, Interpreter]:
    """One interpreter for each version, the first that was found, oldest version first."""
    found: dict[str, Interpreter] = {}
    for file in files:
        here = _ask(file)
        if here is not None and (here.version not in found or (found[here.version].refused and not here.refused)):
            found[here.version] = here
    return dict(sorted(found.items(), key=lambda one: [int(number) for number in re.findall(r"\d+", one[0])]))


def _environment(interpreter: Interpreter) -> Path:
    """Make the interpreter's environment, unless there is one of these pins."""
    folder = ROOT / f".venv-{interpreter.version}"
    pins = (ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()
    stamp, wanted = folder / ".stamp", hashlib.sha256(pins).hexdigest()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = [sys.executable, "-m", "uv", "--quiet"]
        pinned = ["--constraints", "constraints.txt", "--build-constraints", "constraints.txt"]
        what = ["--group", "dev", "--editable", ".[all]"]
        subprocess.run([*uv, "venv", "--clear", "--python", interpreter.path, folder], cwd=ROOT, check=True)
        subprocess.run([*uv, "pip", "install", "--python", python, *pinned, *what], cwd=ROOT, check=True)
        stamp.write_text(wanted)
    return python


def _run(interpreter: Interpreter, arguments: list[str]) -> str:
    """Run the tests, and say in a word or two what came of it."""
    print(f"== {interpreter.version}: {interpreter.path}", flush=True)
    try:
        python = _environment(interpreter)
    except subprocess.CalledProcessError:
        return "failed: no environment could be made"
    began = time.monotonic()
    command = [str(python), "-m", "pytest", *arguments]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    return f"{'failed' if status else 'passed'} in {time.monotonic() - began:.0f} s"


def main(arguments: list[str]) -> int:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = find(candidates(os.environ.get("PATH", ""), pyenv))
    chosen = [one for one in found.values() if not one.refused]
    print(*(f"found {one.version}, {one.refused or 'is run'}: {one.path}" for one in found.values()), sep="\n")
    came = {one.version: _run(one, arguments) for one in chosen}
    print("== every interpreter")
    print(*(f"{version}: {result}" for version, result in came.items()), sep="\n")
    return int(not came or any(result.startswith("failed") for result in came.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
