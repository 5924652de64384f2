"""`sojourn.prometheus`: what it counts, in one process and in several, and the dashboard that shows it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sojourn import ConfigurationError, StoreUnavailable
from sojourn.driver import SessionDriver
from sojourn.events import KINDS
from sojourn.prometheus import DASHBOARD, SessionMetrics
from sojourn.starlette import SessionMiddleware
from sojourn.stores import MemoryStore
from tests.doors.starlette_clients import TestClient

SECRET = "a secret that is long enough for everybody"


class Shaky(MemoryStore):
    """Fails when told to."""

    down = False

    def load(self, key: str) -> Any:
        if self.down:
            raise StoreUnavailable("down")
        return super().load(key)


def use(driver: SessionDriver, cookie: str | None = None) -> str:
    """A request that changes its session; returns the cookie."""
    exchange = driver.begin([] if cookie is None else [("Cookie", cookie)])
    assert exchange is not None
    if exchange.error is None:
        exchange.session.increment("n")
        headers = exchange.respond()
        for name, value in headers if isinstance(headers, list) else ():
            if name == "Set-Cookie":
                cookie = value.partition(";")[0]
    exchange.finish()
    assert cookie is not None
    return cookie


def test_events_are_counted_by_kind_and_reason() -> None:
    registry = CollectorRegistry()
    driver = SessionDriver(secret=SECRET, store=MemoryStore(), on_event=SessionMetrics(registry))
    use(driver, [use(driver) for _ in range(3)][-1])
    use(driver, "sid=junk")
    driver.sessions.clear()

    def counted(kind: str, reason: str = "") -> float | None:
        return registry.get_sample_value("sojourn_events_total", {"kind": kind, "reason": reason})

    assert counted("created") == 4 and counted("loaded") == 1 and counted("changed") == 1
    assert counted("refused", "signature") == 1
    assert counted("revoked", "clear") == 4  # as many as there were


def test_an_outage_is_seen_in_the_gauge_and_in_what_took_how_long() -> None:
    registry, store = CollectorRegistry(), Shaky()
    driver = SessionDriver(secret=SECRET, store=store, on_event=SessionMetrics(registry))
    cookie = use(driver)

    def up() -> list[float | None]:
        return [registry.get_sample_value("sojourn_store_up", {"operation": one}) for one in ("load", "write")]

    def took(operation: str, outcome: str) -> float | None:
        labels = {"operation": operation, "outcome": outcome}
        return registry.get_sample_value("sojourn_store_operation_duration_seconds_count", labels)

    assert up() == [1, 1]
    store.down = True
    for _ in range(2):
        use(driver, cookie)
    assert up() == [0, 1] and took("load", "error") == 2
    store.down = False
    use(driver, cookie)
    assert up() == [1, 1] and took("load", "ok") == 1
    assert took("commit", "ok") == 2 and took("commit", "error") is None
    down = {"kind": "store_back", "reason": ""}
    assert registry.get_sample_value("sojourn_events_total", down) == 1


def test_the_async_colour_counts_the_same() -> None:
    async def home(request: Request) -> PlainTextResponse:
        request.session["n"] = 1
        return PlainTextResponse("home")

    registry = CollectorRegistry()
    app = Starlette(routes=[Route("/", home)])
    app.add_middleware(SessionMiddleware, secret=SECRET, store="memory://", on_event=SessionMetrics(registry))
    client = TestClient(app)
    for _ in range(2):
        assert client.get("/").status_code == 200
    assert registry.get_sample_value("sojourn_events_total", {"kind": "loaded", "reason": ""}) == 1
    text = generate_latest(registry).decode()
    assert client.cookies["sid"].partition(".")[0] not in text


def test_a_registry_has_them_once() -> None:
    registry = CollectorRegistry()
    SessionMetrics(registry)
    with pytest.raises(ConfigurationError, match="give the same SessionMetrics to all middlewares"):
        SessionMetrics(registry)


# -- the dashboard --------------------------------------------------------------------------------------------------------


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def exported() -> dict[str, set[str]]:
    """The names of all series, with their labels, once each has been used."""
    registry = CollectorRegistry()
    driver = SessionDriver(secret=SECRET, store=MemoryStore(), on_event=SessionMetrics(registry))
    use(driver, use(driver))
    return {sample.name: set(sample.labels) for metric in registry.collect() for sample in metric.samples}


def test_every_metric_of_the_dashboard_is_exported_with_its_labels() -> None:
    series = exported()
    found = set()
    for expression in expressions():
        for name, selector in re.findall(r"(sojourn_\w+)\{([^}]*)\}", expression):
            assert name in series, name
            assert set(re.findall(r"(\w+)=", selector)) - {"job"} <= series[name], expression
            found.add(name.removesuffix("_bucket").removesuffix("_count"))
        by = re.findall(r"by \(([^)]*)\)", expression)
        labels = {label for names in by for label in re.split(r",\s*", names)}
        assert labels <= set.union(*series.values()), expression
        for kinds in re.findall(r'kind=~?"([^"]*)"', expression):
            assert set(kinds.split("|")) <= set(KINDS), expression
    assert found == {"sojourn_events_total", "sojourn_store_operation_duration_seconds", "sojourn_store_up"}


def test_the_dashboard_shows_every_kind() -> None:
    shown = {
        kind
        for expression in expressions()
        for kinds in re.findall(r'kind=~?"([^"]*)"', expression)
        for kind in kinds.split("|")
    }
    assert shown == set(KINDS)


def test_the_dashboard_lets_its_importer_choose_the_source_of_data_and_overlaps_nowhere() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${datasource}"}
    assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource", "job"]
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


# -- several processes ----------------------------------------------------------------------------------------------------

WORKER = """
import sys
from sojourn import StoreUnavailable
from sojourn.driver import SessionDriver
from sojourn.prometheus import SessionMetrics
from tests.listeners.test_prometheus import SECRET, Shaky, use

store = Shaky()
driver = SessionDriver(secret=SECRET, store=store, on_event=SessionMetrics())
cookie = use(driver)
store.down = sys.argv[1] == "down"
use(driver, cookie)
print("ready", flush=True)
sys.stdin.read()
"""
SCRAPE = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
import sys

for pid in sys.argv[1:]:
    mark_process_dead(int(pid))
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_the_metrics_of_several_processes_are_added_up_and_the_store_is_down_if_it_is_for_one(tmp_path: Path) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    environ.pop("COVERAGE_PROCESS_START", None)

    def scrape(*dead: int) -> str:
        command = [sys.executable, "-c", SCRAPE, *map(str, dead)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=120).stdout

    async def run() -> tuple[str, str]:
        workers = []
        for how in ("up", "down"):
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-c", WORKER, how, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            workers.append(worker)
        try:
            for worker in workers:
                assert worker.stdout is not None
                assert await asyncio.wait_for(worker.stdout.readline(), 120) == b"ready\n"
            both = scrape()
        finally:
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.close()
                await worker.wait()
        return both, scrape(workers[1].pid)

    both, one_gone = asyncio.run(run())
    assert 'sojourn_events_total{kind="created",reason=""} 2.0' in both
    assert 'sojourn_events_total{kind="loaded",reason=""} 1.0' in both
    assert 'sojourn_store_up{operation="load"} 0.0' in both
    assert 'sojourn_store_operation_duration_seconds_count{operation="load",outcome="error"} 1.0' in both
    assert 'sojourn_store_up{operation="load"} 1.0' in one_gone  # it was down for that one alone
    assert 'sojourn_events_total{kind="created",reason=""} 2.0' in one_gone
