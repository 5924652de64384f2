from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from sojourn.testing import isolated_stores

# No test is timed: machines are shared, and speed is measured in benchmarks.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

pytest_plugins = ("tests.servers",)


@pytest.fixture(autouse=True)
def stores_of_its_own() -> Iterator[None]:
    """A test shares no store with another, where it gives one by URL."""
    with isolated_stores():
        yield


_COUNTING = ("tests/faults/", "tests/torture/")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the fault tests and the torture counted; pytest shows what a test prints only if it fails."""
    counted = [
        (report.nodeid.partition("::")[2], line)
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and report.nodeid.startswith(_COUNTING)
        for line in report.capstdout.splitlines()
    ]
    if counted:
        terminalreporter.section("faults and torture")
        for test, line in counted:
            terminalreporter.write_line(f"{test}: {line}")
