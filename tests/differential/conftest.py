from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tests.differential.exemptions import EXEMPTIONS, UNLISTED
from tests.differential.judge import Judge
from tests.differential.peer import VERSION, peer_program

JUDGE = pytest.StashKey[Judge]()


@pytest.fixture(scope="session")
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    """Plays scenarios. Without Node.js and express-session it fails in CI, and is skipped elsewhere."""
    with peer_program() as ask, asyncio.Runner() as runner:
        request.config.stash[JUDGE] = judge = Judge(ask, runner)
        yield judge


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Thousands of scenarios do much that is worth a line in the log."""
    monkeypatch.setattr("sojourn.logs._said", set())
    log = logging.getLogger("sojourn")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    judge = config.stash.get(JUDGE, None)
    if judge is None or not judge.agreed:
        return
    known = {one.lines for one in (*EXEMPTIONS, *UNLISTED)} & judge.exercised.keys()
    terminalreporter.write_line(
        f"differential: {judge.agreed:,} scenarios agreed with express-session {VERSION}, {judge.alike:,} of them without an "
        f"exemption but for headers; {len(known)} exemptions exercised"
    )
    if config.get_verbosity() > 0:
        for lines, times in sorted(judge.exercised.items(), key=lambda item: -item[1]):
            terminalreporter.write_line(f"  {times:6,}  {lines}")
