"""Flask's own tests on our sessions. Run as ``python -m scripts.flask_suite``, with any arguments for pytest.

The source distribution of the installed version is fetched into a folder that is removed again. Every application of its tests, which
know nothing of ours, gets its session from Sojourn. What fails must be exactly what the table in ``docs/frameworks/flask.md`` gives a
reason for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest

__all__ = ["main"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_PAGE: Final = _ROOT / "docs" / "frameworks" / "flask.md"
_ROW: Final = re.compile(r"^\| `(test_\w+\.py::[^`]+)` \| (.+) \|$", re.MULTILINE)


def reasons() -> dict[str, str]:
    """Why each test that does not pass does not."""
    return dict(_ROW.findall(_PAGE.read_text(encoding="utf-8")))


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        release = f"flask=={version('flask')}"
        fetch = ("-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "flask", "--dest", folder, release)
        subprocess.run([sys.executable, *fetch], check=True)
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as sdist:
            sdist.extractall(folder, filter="data")
        suite = next(path for path in Path(folder).iterdir() if path.is_dir())
        path = os.pathsep.join([str(_ROOT), str(_ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        run = (
            "-m",
            "pytest",
            "-p",
            "scripts.flask_suite",
            "-W",
            "ignore::sojourn.SojournWarning",
            "-q",
            "-rx",
            "--tb=short",
        )
        tests = arguments or ["tests"]
        return subprocess.run(
            [sys.executable, *run, *tests], cwd=suite, env={**os.environ, "PYTHONPATH": path}, check=False
        ).returncode


# -- within pytest --------------------------------------------------------------------------------------------------------


def pytest_configure() -> None:
    """Give every application of the suite our sessions, before its modules are imported."""
    import _pytest.monkeypatch  # noqa: PLC0415
    import flask  # noqa: PLC0415 - only here is there anything to change

    from sojourn.flask import SessionInterface, Sojourn  # noqa: PLC0415
    from sojourn.stores import MemoryStore  # noqa: PLC0415

    class StandIn(SessionInterface):
        """In the place of the interface that the suite derives its own from."""

        def __init__(self, _options: object = None) -> None:
            super().__init__({"store": MemoryStore()})

    begin = flask.Flask.__init__

    def init(app: flask.Flask, *args: Any, **kwargs: Any) -> None:
        begin(app, *args, **kwargs)
        if isinstance(app.session_interface, StandIn):
            extension = Sojourn()
            extension.interface_class = type(app.session_interface)  # type: ignore[misc]
            extension.init_app(app)

    if not hasattr(_pytest.monkeypatch, "notset"):  # by which the suite's conftest knows what is not set
        _pytest.monkeypatch.notset = _pytest.monkeypatch.NOTSET  # type: ignore[attr-defined]
    flask.sessions.SecureCookieSessionInterface = StandIn  # type: ignore[assignment,misc]
    flask.Flask.session_interface = StandIn()
    flask.Flask.__init__ = init  # type: ignore[assignment,method-assign]


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Expect what the table has a reason for to fail, and nothing else."""
    told = reasons()
    for item in items:
        why = told.get(item.nodeid.removeprefix("tests/"))
        if why is not None:
            item.add_marker(pytest.mark.xfail(reason=why, strict=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
