"""Metrics of sessions for Prometheus: a listener of the option ``on_event``, and a dashboard of Grafana's for what it counts.

Example::

    app = SessionMiddleware(app, secret=..., store="redis://localhost", on_event=SessionMetrics())
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

from ..errors import ConfigurationError
from ..events import Operation, SessionEvent

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as _error:
    raise ImportError(
        'sojourn.prometheus needs prometheus-client: pip install "sojourn[prometheus]"', name=_error.name
    ) from _error

__all__ = ["BUCKETS", "DASHBOARD", "SessionMetrics"]

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The upper bounds of the histogram, in seconds."""
DASHBOARD: Final = Path(__file__).with_name("grafana.json")
"""A dashboard for Grafana, to be imported there."""


class SessionMetrics:
    """Counts events, and measures how long the store takes. Give the same one to all middlewares of a process.

    ======================================================  ==========  =============================================
    metric                                                  kind        labels
    ======================================================  ==========  =============================================
    ``sojourn_events_total``                                counter     ``kind``, and ``reason``, which may be empty
    ``sojourn_store_operation_duration_seconds``            histogram   ``operation`` (``load``, ``commit``), ``outcome`` (``ok``, ``error``)
    ``sojourn_store_up``                                    gauge       ``operation`` (``load``, ``write``)
    ======================================================  ==========  =============================================

    No label has a session or an owner. A gauge is 0 from the first operation that fails until one works again; of several processes (the
    multiprocess mode of prometheus_client) it is the least of those that live.

    Args:
        registry: where the metrics are.
        buckets: the upper bounds of the histogram, in seconds.

    Raises:
        ConfigurationError: the registry has such metrics already.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, buckets: Sequence[float] = BUCKETS) -> None:
        try:
            self._events = Counter(
                "sojourn_events", "What happened to sessions and their store.", ("kind", "reason"), registry=registry
            )
        except ValueError:
            raise ConfigurationError(
                "registry", "one that has the metrics of sessions", "give the same SessionMetrics to all middlewares"
            ) from None
        self._duration = Histogram(
            "sojourn_store_operation_duration_seconds",
            "How long sessions took to be loaded and committed.",
            ("operation", "outcome"),
            buckets=buckets,
            registry=registry,
        )
        self._up = Gauge(
            "sojourn_store_up",
            "Whether the store works: 0 from the first operation that failed until one works again.",
            ("operation",),
            multiprocess_mode="livemin",
            registry=registry,
        )
        for operation in ("load", "write"):
            self._up.labels(operation).set(1)

    def __call__(self, event: SessionEvent) -> None:
        """Count an event, as often as there are sessions that it is about."""
        about_store = event.operation is not None
        self._events.labels(event.kind, event.reason or "").inc(1 if about_store else event.count)
        if about_store:
            self._up.labels(event.operation).set(event.kind == "store_back")

    @contextmanager
    def measure(self, operation: Operation) -> Generator[None]:
        """Measure how long it takes."""
        outcome, began = "error", perf_counter()
        try:
            yield
            outcome = "ok"
        finally:
            self._duration.labels(operation, outcome).observe(perf_counter() - began)
