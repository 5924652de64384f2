"""Run Starlette's own tests of its sessions on ours: ``python -m scripts.starlette_suite``.

They come from the source distribution of the version that is installed, into a temporary folder. Two things are exchanged in them: where the
middleware comes from, which is given Starlette's options here; and ``JSONResponse`` of a session, which json.dumps takes if it is a ``dict``, and
which is written as ``dict(session)``. A test that does not pass has its reason here, and one that passes has none.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from sojourn import Cookie
from sojourn.core.plan import Create
from sojourn.core.policy import decide
from sojourn.core.state import Arrival, State
from sojourn.core.store import Stored
from sojourn.core.transitions import note_loaded
from sojourn.starlette import SessionMiddleware, StarletteSession
from sojourn.wire.signing import Verified

__all__ = ["REASONS", "Session", "StarlettesOptions", "main"]

_SPELLING: Final = (
    "names of attributes have no case (RFC 6265, 5.2); the test looks for {}, which ours spells with a capital"
)
REASONS: Final[Mapping[str, str]] = {
    "test_partitioned_session": _SPELLING.format("partitioned"),
    "test_session_cookie_subpath": _SPELLING.format("path"),
    "test_domain_cookie": _SPELLING.format("domain"),
    "test_session_tracks_modification": "to look for a key that is missing is an access: the response depends on that, and so it has"
    " Vary: Cookie, where a cache would give it to others",
}
"""Why a test does not pass, by its name."""

_EXCHANGED: Final = (
    (
        "from starlette.middleware.sessions import Session, SessionMiddleware",
        "from scripts.starlette_suite import Session, StarlettesOptions as SessionMiddleware",
    ),
    ('JSONResponse({"session": request.session})', 'JSONResponse({"session": dict(request.session)})'),
    ('JSONResponse({"session": session})', 'JSONResponse({"session": dict(session)})'),
    ("from tests.types import", "from suite_types import"),
    ("import httpx2 as httpx", "import httpx"),  # what Starlette's client falls back to
)


class StarlettesOptions(SessionMiddleware):
    """Ours, with the options of Starlette's own, as docs/frameworks/coming-from-starlette.md has them."""

    def __init__(  # noqa: PLR0917 - as they are there
        self,
        app: Any,
        secret_key: str,
        session_cookie: str = "session",
        max_age: int | None = 14 * 24 * 60 * 60,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
    ) -> None:
        cookie = Cookie(
            max_age=None if max_age is None else max(0, max_age),  # there, less than nothing is over at once
            path=path,
            samesite=same_site,
            secure=https_only,
            domain=domain,
            partitioned=partitioned,
        )
        super().__init__(app, secret=secret_key, name=session_cookie, cookie=cookie, store="memory://")


def Session(data: Mapping[str, Any]) -> StarletteSession:  # noqa: N802 - as Starlette's class
    """A session that was loaded with these data."""
    settings = SessionMiddleware(_nothing, secret="s" * 32, store="memory://").settings
    first = State(settings, Arrival(Cookie(), secure=False))
    StarletteSession(first).update(data)
    write = decide(first).write
    assert isinstance(write, Create) and first.id is not None
    again = State(settings, Arrival(Cookie(), secure=False))
    note_loaded(again, Verified(first.id, needs_resigning=False), write.key, Stored(write.data, write.data, write.ttl))
    return StarletteSession(again)


async def _nothing(*_: Any) -> None:
    """An application."""


def _fetch(folder: Path) -> Path:
    """The tests of the version that is installed."""
    version = importlib.metadata.version("starlette")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*pip, "--no-binary", "starlette", "--no-build-isolation", "--dest", str(folder), f"starlette=={version}"],
        check=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / f"starlette-{version}" / "tests"


def _adapt(source: Path, target: Path) -> None:
    text = source.read_text(encoding="utf-8")
    for theirs, ours in _EXCHANGED:
        text = text.replace(theirs, ours)
    target.write_text(text, encoding="utf-8")


def _run(folder: Path) -> dict[str, set[str]]:
    """What became of each test, by its name."""
    tests, suite = _fetch(folder), folder / "suite"
    suite.mkdir()
    for source, name in (
        ("types.py", "suite_types.py"),
        ("conftest.py", "conftest.py"),
        ("middleware/test_session.py", "test_session.py"),
    ):
        _adapt(tests / source, suite / name)
    report = folder / "report.xml"
    root = Path(__file__).resolve().parent.parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-W",
            "ignore",
            "--no-header",
            "--tb=short",
            f"--junitxml={report}",
            ".",
        ],
        cwd=suite,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), os.environ.get("PYTHONPATH", "")))},
        check=False,
    )
    results: dict[str, set[str]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written a moment ago
        name = case.attrib["name"].partition("[")[0]
        results.setdefault(name, set()).add("passes" if len(case) == 0 else "fails")
    return results


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        results = _run(Path(folder))
    for name, outcomes in results.items():
        reason = REASONS.get(name, "")
        is_right = ("fails" in outcomes) is bool(reason)
        wrong += not is_right
        print(f"{'' if is_right else '!! '}{name}: {' and '.join(sorted(outcomes))}{reason and f'; {reason}'}")
    passed = sum(outcomes == {"passes"} for outcomes in results.values())
    print(f"Starlette's tests of its sessions: {passed} of {len(results)} pass on ours")
    return int(wrong > 0 or not results or not set(REASONS) <= set(results))


if __name__ == "__main__":
    sys.exit(main())
