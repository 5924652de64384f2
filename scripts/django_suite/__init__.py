"""Django's own tests on our sessions. Run as ``python -m scripts.django_suite``, with any arguments for Django's ``runtests.py``.

The source distribution of the installed version is fetched into a folder that is removed again. Its tests of sessions, logins, messages, CSRF and
the test client run twice: with our engine under Django's own middleware, and with both of ours. What fails must be exactly what the table in
``docs/frameworks/django.md`` gives a reason for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

__all__ = ["LAYERS", "NOT_FETCHED", "PAGE", "main", "reasons"]

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGE: Final = ROOT / "docs" / "frameworks" / "django.md"
LAYERS: Final = ("engine", "middleware")
"""What of ours is in use in a run: the engine alone, or the middleware too."""
NOT_FETCHED: Final = 75
"""The exit status where the source distribution cannot be had."""
SUITES: Final = ("sessions_tests", "auth_tests", "messages_tests", "csrf_tests", "test_client", "test_client_regress")

_SETTINGS: Final = """
from test_sqlite import *

SESSION_ENGINE = "sojourn.django"
SOJOURN = {"store": "memory://"}
TEST_RUNNER = "scripts.django_suite.runner.Runner"
"""
_ROW: Final = re.compile(r"^\| `(\w+(?:\.\w+)+)` \| ([^|]+) \| (.+) \|$", re.MULTILINE)


def reasons(layer: str) -> dict[str, str]:
    """Why each test that does not pass does not, in the installed version of Django."""
    return dict(_rows(layer, PAGE.read_text(encoding="utf-8")))


def _rows(layer: str, page: str) -> Iterator[tuple[str, str]]:
    """The rows of the table: the test, where it fails, and why. "Django 6" there says that it does on no other."""
    for test, where, why in _ROW.findall(page):
        versions = re.findall(r"Django (\d)", where)
        if ("both" in where or layer in where) and (not versions or version("django")[0] in versions):
            yield test, why


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        release = f"django=={version('django')}"
        fetch = ("-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "django", "--dest", folder, release)
        if subprocess.run([sys.executable, *fetch], check=False).returncode:
            return NOT_FETCHED
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as sdist:
            sdist.extractall(folder, filter="data")
        tests = next(path for path in Path(folder).iterdir() if path.is_dir()) / "tests"
        (tests / "sojourn_settings.py").write_text(_SETTINGS, encoding="utf-8")
        path = os.pathsep.join([str(tests), str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        run = ("runtests.py", "--settings=sojourn_settings", "--parallel=1", "--noinput")
        failed = []
        for layer in LAYERS:
            print(f"== {release}, with our {layer}", flush=True)
            env = {**os.environ, "PYTHONPATH": path, "SOJOURN_LAYER": layer}
            done = subprocess.run([sys.executable, *run, *(arguments or SUITES)], cwd=tests, env=env, check=False)
            failed += [layer] if done.returncode else []
    return int(bool(failed))
