"""An operator who knows only ``sojourn --help`` finds an owner's sessions on each store and ends them: the browser is logged out with its socket, and
the dashboard and the metrics have it. On the store in memory, which no other process reaches, the help says that the dashboard is the place.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.processes import serving
from tests.store_urls import store_of

pytestmark = [pytest.mark.browser, pytest.mark.server]
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres", "mongo"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with store_of(request.param, request, tmp_path) as store:
        yield store


def sojourn(*arguments: str, url: str) -> str:
    """What the command prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "sojourn", *arguments],
        env={**os.environ, "SOJOURN_STORE": url, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def metric(address: str, **labels: str) -> float:
    """A count of events in the metrics."""
    wanted = ",".join(f'{name}="{value}"' for name, value in labels.items())
    found = re.search(
        re.escape(f"sojourn_events_total{{{wanted}}}") + r" ([\d.]+)", httpx.get(f"{address}/metrics/").text
    )
    return 0.0 if found is None else float(found[1])


class Person:
    """A browser in which somebody has logged in, with a socket that is open."""

    def __init__(self, browser: Browser, address: str, name: str) -> None:
        self.page: Page = browser.new_context().new_page()
        self.page.goto(f"{address}/login/{name}")
        expect(self.page.locator("#who")).to_have_text(name)
        expect(self.page.locator("#socket")).to_have_text("open")

    def is_out(self) -> None:
        expect(self.page.locator("#socket")).to_have_text("closed 1008", timeout=20_000)
        self.page.reload()
        expect(self.page.locator("#who")).to_have_text("nobody")


def test_an_operator_finds_an_owners_sessions_and_ends_them(browser: Browser, url: str) -> None:
    command = ("-m", "uvicorn", "tests.e2e.operator_site:app", "--port", "0")
    with serving(*command, cwd=ROOT, env={"SITE_STORE": url}) as running:
        address = running.address
        people = {name: Person(browser, address, name) for name in ("ann", "bob", "carla")}
        carla = people["carla"].page
        carla.goto(f"{address}/ops/sessions/")
        expect(carla.locator("#figures dd").first).to_have_text("3", timeout=20_000)

        help_text = re.sub(r"\s+", " ", sojourn("--help", url=url))
        assert "SOJOURN_STORE" in help_text and "sojourn find ann" in help_text
        assert "sojourn end --owner ann" in help_text and "dashboard" in help_text
        if url == "memory://":
            assert "where the dashboard shows them" in help_text
            end_on_the_dashboard(carla, address, "ann")
        else:
            assert "ann" in sojourn("find", "ann", url=url)
            sojourn("end", "--owner", "ann", "--yes", url=url)
        people["ann"].is_out()
        kind = ("revoked", "operator") if url == "memory://" else ("refused", "unknown")
        assert metric(address, kind=kind[0], reason=kind[1]) >= 1  # the page, and the socket that it opens

        expect(people["bob"].page.locator("#socket")).to_have_text("open")
        end_on_the_dashboard(carla, address, "bob")
        people["bob"].is_out()
        assert metric(address, kind="revoked", reason="operator") == (2 if url == "memory://" else 1)

        carla.goto(f"{address}/ops/sessions/")
        expect(carla.locator("#figures dd").first).to_have_text("1", timeout=20_000)
        expect(carla.locator("#traffic-desc")).to_have_text(
            "3 begun, 2 ended." if url == "memory://" else "3 begun, 1 ended."
        )
        for person in people.values():
            person.page.context.close()


def end_on_the_dashboard(page: Page, address: str, owner: str) -> None:
    page.goto(f"{address}/ops/sessions/")
    page.get_by_role("searchbox").fill(owner)
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name=f"End all sessions of {owner}…").click()
    page.get_by_role("button", name="End the session").click()
    expect(page.get_by_role("status")).to_have_text("1 session ended.")
