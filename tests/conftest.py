from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

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


_HERE = Path(__file__).parent
_TOGETHER = _HERE / "interop"
"""Its sites serve all its files."""
_GIVEN = any(name.startswith("SOJOURN_TEST_") for name in os.environ)
"""A server that the environment names is one for all workers; some tests count all that it is asked."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several workers share the tests, those of a file share one worker, and what it has started."""
    if not config.pluginmanager.hasplugin("xdist"):  # as in the environment of `make oldest-doors`
        return
    for item in items:
        shared = _TOGETHER if item.path.is_relative_to(_TOGETHER) else item.path
        given = _GIVEN and item.get_closest_marker("server")
        item.add_marker(pytest.mark.xdist_group("given" if given else str(shared.relative_to(_HERE))))


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
