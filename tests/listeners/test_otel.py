"""`sojourn.otel`: spans and metrics, by OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sojourn import StoreUnavailable
from sojourn.driver import AsyncSessionDriver, SessionDriver
from sojourn.otel import SessionTelemetry
from sojourn.stores import MemoryStore

SECRET = "a secret that is long enough for everybody"


class Shaky(MemoryStore):
    """Fails when told to."""

    down: tuple[str, ...] = ()

    def load(self, key: str) -> Any:
        self._fail("load")
        return super().load(key)

    def replace(self, *args: Any, **how: Any) -> Any:
        self._fail("replace")
        return super().replace(*args, **how)

    def _fail(self, name: str) -> None:
        if name in self.down:
            raise StoreUnavailable("down")


class Telemetry:
    """An SDK that keeps what it is told."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        self.listener = SessionTelemetry(tracer_provider=self.tracers, meter_provider=self.meters)

    def spans(self) -> list[ReadableSpan]:
        found = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return found

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """The points of a metric, by their attributes."""
        data: Any = self.reader.get_metrics_data()
        return {
            tuple(sorted(point.attributes.items())): point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def told() -> Any:
    telemetry = Telemetry()
    yield telemetry
    telemetry.tracers.shutdown()
    telemetry.meters.shutdown()


def use(driver: SessionDriver, cookie: str | None = None, *, owner: str | None = None) -> str:
    """A request that changes its session, in a span of its own; returns the cookie."""
    exchange = driver.begin([] if cookie is None else [("Cookie", cookie)])
    assert exchange is not None
    if exchange.error is None:
        if owner is not None:
            exchange.session.login(owner)
        exchange.session.increment("n")
        headers = exchange.respond()
        for name, value in headers if isinstance(headers, list) else ():
            if name == "Set-Cookie":
                cookie = value.partition(";")[0]
    exchange.finish()
    assert cookie is not None
    return cookie


def test_loads_and_commits_are_spans_within_the_current_one_which_tells_what_happened(told: Telemetry) -> None:
    driver = SessionDriver(secret=SECRET, store=MemoryStore(), on_event=told.listener)
    cookie = use(driver)
    told.spans()
    with told.tracers.get_tracer("server").start_as_current_span("GET /"):
        use(driver, cookie)
    load, commit, server = told.spans()
    assert [load.name, commit.name, server.name] == ["sojourn.load", "sojourn.commit", "GET /"]
    for span in (load, commit):
        assert span.parent is not None and span.parent.span_id == server.context.span_id
        assert span.status.status_code is trace.StatusCode.UNSET and not span.attributes
    assert [event.name for event in server.events] == ["sojourn.loaded", "sojourn.changed"]
    (shown,) = {event.attributes["sojourn.session"] for event in server.events if event.attributes}
    assert len(str(shown)) == 9


def test_a_store_that_fails_is_an_error_of_the_span_by_its_class(told: Telemetry) -> None:
    store = Shaky()
    driver = SessionDriver(secret=SECRET, store=store, on_event=told.listener)
    cookie = use(driver)
    for down, failing in ((("load",), "sojourn.load"), (("replace",), "sojourn.commit")):
        told.spans()
        store.down = down
        use(driver, cookie)
        span = told.spans()[-1]
        assert span.name == failing and span.status.status_code is trace.StatusCode.ERROR
        assert span.attributes == {"error.type": "StoreUnavailable"} and not span.events
    assert {point[0][1]: value.value for point, value in told.points("sojourn.store.up").items()} == {
        "load": 1,
        "write": 0,
    }
    durations = told.points("sojourn.operation.duration")
    failed = (("error.type", "StoreUnavailable"), ("sojourn.operation", "load"))
    assert durations[failed].count == 1 and durations[("sojourn.operation", "load"),].count == 1
    assert 0.0005 in durations[failed].explicit_bounds


def test_metrics_have_kinds_and_reasons_and_no_session_or_owner(told: Telemetry) -> None:
    driver = SessionDriver(secret=SECRET, store=MemoryStore(), on_event=told.listener)
    for _ in range(2):
        use(driver, owner="ann@example.org")
    use(driver, "sid=junk")
    driver.sessions.clear()
    counted = {attributes: point.value for attributes, point in told.points("sojourn.events").items()}
    kind, reason = "sojourn.event.kind", "sojourn.event.reason"
    assert counted == {
        ((kind, "created"),): 3,
        ((kind, "refused"), (reason, "signature")): 1,
        ((kind, "revoked"), (reason, "clear")): 3,
    }
    shown = f"{told.reader.get_metrics_data()} {[span.to_json() for span in told.spans()]}"
    assert "ann@example.org" not in shown


def test_the_async_colour_has_the_same_spans(told: Telemetry) -> None:
    async def visit() -> None:
        driver = AsyncSessionDriver(secret=SECRET, store="memory://", on_event=told.listener)
        with told.tracers.get_tracer("server").start_as_current_span("GET /"):
            exchange = await driver.begin([])
            assert exchange is not None
            exchange.session["n"] = 1
            await exchange.respond()
            await exchange.finish()

    asyncio.run(visit())
    commit, server = told.spans()
    assert commit.name == "sojourn.commit" and commit.parent is not None
    assert commit.parent.span_id == server.context.span_id
    assert [event.name for event in server.events] == ["sojourn.created"]


def test_without_an_sdk_nothing_happens() -> None:
    driver = SessionDriver(secret=SECRET, store=MemoryStore(), on_event=SessionTelemetry())
    use(driver, use(driver))
