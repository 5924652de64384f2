"""Run Litestar's own tests of its sessions on ours: ``LITESTAR=path/to/a/checkout python -m scripts.litestar_suite``.

They are in Litestar's repository alone, so a checkout of the version that is installed has to be given. The tests are copied to a temporary
folder, with what they need besides. Where they say ``ServerSideSessionConfig`` they get ours, which is given Litestar's options here; where
they compare an id with the cookie's, they get what the cookie has before its signature. A test that does not pass has its reason in the
table of ``docs/frameworks/litestar.md``, and one that passes has none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from sojourn import Cookie
from sojourn.litestar import SojournConfig

__all__ = ["LitestarsOptions", "main"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_PAGE: Final = _ROOT / "docs" / "frameworks" / "litestar.md"
_ROW: Final = re.compile(r"^\| `(test_\w+\.py::[^`]+)` \| (.+) \|$", re.MULTILINE)
_TESTS: Final = (
    "tests/unit/test_middleware/test_session/test_middleware.py",
    "tests/unit/test_middleware/test_session/test_integration.py",
    "tests/unit/test_middleware/test_session/test_server_side_backend.py",
    "tests/unit/test_middleware/test_logging_middleware.py",
    "tests/unit/test_security/test_session_auth.py",
    "tests/unit/test_security/test_security.py",
    "tests/unit/test_plugins/test_flash.py",
    "tests/unit/test_testing/test_test_client.py",
    "tests/unit/test_cli/test_session_commands.py",
    "tests/examples/test_middleware/test_session_middleware.py",
    "tests/examples/test_using_session_auth.py",
)
_BESIDE: Final = ("tests/__init__.py", "tests/models.py", "tests/helpers.py", "docs/__init__.py", "docs/examples")
_NOT_OF_SESSIONS: Final = {"test_logging_middleware.py": "session", "test_test_client.py": "session_data"}
"""What the names of the tests have that are of sessions, where a file has others."""
_NEEDED: Final = ("pytest-mock", "time-machine", "mako", "minijinja", "email-validator", "dnspython", "structlog")
_EXAMPLE: Final = "docs/examples/middleware/session/cookies_full_example.py"
_EXCHANGED: Final = (
    (
        "from litestar.middleware.session.client_side import CookieBackendConfig",
        "from scripts.litestar_suite import LitestarsOptions as CookieBackendConfig",
    ),
    ('client.cookies.get("session")', '(client.cookies.get("session") or "").partition(".")[0]'),
    (
        "        return request.session\n",
        "        return dict(request.session)\n",
    ),  # which the plugin tells Litestar to do
)


class LitestarsOptions(SojournConfig):
    """Ours, with the options of Litestar's own, as docs/frameworks/from-litestar.md has them."""

    def __init__(  # noqa: PLR0917 - as they are there
        self,
        session_id_bytes: int = 32,
        renew_on_access: bool = False,
        key: str = "session",
        max_age: int = 14 * 24 * 60 * 60,
        scopes: object = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = True,
        samesite: Literal["lax", "strict", "none"] = "lax",
        exclude: str | list[str] | None = None,
        exclude_opt_key: str = "skip_session",
        store: str = "sessions",
        secret: bytes = b"",
    ) -> None:
        cookie = Cookie(max_age=max_age, path=path, domain=domain, secure=secure, httponly=httponly, samesite=samesite)
        super().__init__(secret="s" * 32, name=key, cookie=cookie, store="memory://", exclude_opt_key=exclude_opt_key)
        self.exclude = exclude


def reasons() -> dict[str, str]:
    """Why each test that does not pass does not."""
    return dict(_ROW.findall(_PAGE.read_text(encoding="utf-8")))


def _copy(checkout: Path, folder: Path) -> None:
    for name in (*_BESIDE, *_TESTS):
        source, target = checkout / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copy(source, target)
        else:
            target.touch()
    for name in (*_TESTS, _EXAMPLE):
        text = (folder / name).read_text(encoding="utf-8")
        for theirs, ours in _EXCHANGED:
            text = text.replace(theirs, ours)
        (folder / name).write_text(text, encoding="utf-8")


def _outcome(case: ET.Element) -> str:
    told = {child.tag for child in case}
    return "fails" if told & {"failure", "error"} else "is skipped" if "skipped" in told else "passes"


def _run(checkout: Path, folder: Path) -> dict[str, set[str]]:
    """What became of each test, by its file and name."""
    suite, needed, report = folder / "suite", folder / "needed", folder / "report.xml"
    _copy(checkout, suite)
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(needed))
    subprocess.run([sys.executable, *install, *_NEEDED], check=True)
    subprocess.run([sys.executable, *install, "picologging"], check=False)  # a test is skipped where there is no wheel
    path = os.pathsep.join([str(_ROOT), str(needed), os.environ.get("PYTHONPATH", "")])
    options = (
        "-p",
        "scripts.litestar_suite",
        "--noconftest",
        "--continue-on-collection-errors",
        "-W",
        "ignore",
        "-q",
        "--tb=short",
        "-o",
        "junit_family=xunit1",
        "-o",
        "anyio_mode=auto",
        "-rs",
    )
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *_TESTS],
        cwd=suite,
        env={**os.environ, "PYTHONPATH": path, "LITESTAR_WARN_IMPLICIT_SYNC_TO_THREAD": "0"},
        check=False,
    )
    results: dict[str, set[str]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written a moment ago
        name = f"{Path(case.attrib['file']).name}::{case.attrib['name'].partition('[')[0]}"
        results.setdefault(name, set()).add(_outcome(case))
    return results


def main() -> int:
    given = os.environ.get("LITESTAR")
    if not given or not (Path(given) / _TESTS[0]).exists():
        print("Litestar's tests are in its repository alone: give a checkout of it as LITESTAR=path")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        results = _run(Path(given), Path(folder))
    wrong, told = 0, reasons()
    for name, outcomes in results.items():
        reason = told.get(name, "")
        is_right = ("fails" in outcomes) is bool(reason)
        wrong += not is_right
        print(f"{'' if is_right else '!! '}{name}: {' and '.join(sorted(outcomes))}{reason and f'; {reason}'}")
    passed = sum(outcomes == {"passes"} for outcomes in results.values())
    print(f"Litestar's tests of its sessions: {passed} of {len(results)} pass on ours")
    return int(wrong > 0 or not results or not set(told) <= set(results))


# -- within pytest --------------------------------------------------------------------------------------------------------


def pytest_configure() -> None:
    """Give the tests our sessions, before their modules are imported."""
    if "LITESTAR" not in os.environ:
        return
    from litestar.middleware.session import server_side  # noqa: PLC0415 - only here are they exchanged

    from sojourn.litestar.config import SojournBackend  # noqa: PLC0415

    server_side.ServerSideSessionConfig = LitestarsOptions  # type: ignore[misc,assignment]
    server_side.ServerSideSessionBackend = SojournBackend  # type: ignore[misc,assignment]


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Leave out what is not about sessions, and what Litestar's own marks as its known issue with trio, which may hang."""
    items[:] = [
        item for item in items if _NOT_OF_SESSIONS.get(item.path.name, "") in item.name and "trio" not in item.name
    ]


# What is in Litestar's conftest, as far as these tests ask for it.


@pytest.fixture
def session_backend_config() -> LitestarsOptions:
    return LitestarsOptions()


session_backend_config_memory = server_side_session_config = session_backend_config


@pytest.fixture
def server_side_session_backend(session_backend_config: LitestarsOptions) -> Any:
    return session_backend_config.middleware.kwargs["backend"]


@pytest.fixture
def reset_httpx_logging() -> None:
    """The tests that ask for it read the log."""


@pytest.fixture
def memory_store() -> Any:
    from litestar.stores.memory import MemoryStore  # noqa: PLC0415

    return MemoryStore()


store = memory_store


@pytest.fixture
def frozen_datetime() -> Iterator[Any]:
    import time_machine  # type: ignore[import-not-found]  # noqa: PLC0415

    with time_machine.travel(datetime.now, tick=False) as frozen:
        yield frozen


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def test_client_backend(anyio_backend: str) -> str:
    return anyio_backend


@pytest.fixture
def get_logger() -> Any:
    from litestar.logging import LoggingConfig  # noqa: PLC0415

    loggers: Any = {"litestar": {"level": "INFO", "handlers": ["queue_listener"], "propagate": True}}
    return LoggingConfig(logging_module="logging", loggers=loggers).configure()


@pytest.fixture
def runner() -> Any:
    from click.testing import CliRunner  # noqa: PLC0415

    return CliRunner()


@pytest.fixture
def mock_confirm_ask(mocker: Any) -> Any:
    return mocker.patch("rich.prompt.Confirm.ask", return_value=True)


if __name__ == "__main__":
    sys.exit(main())
