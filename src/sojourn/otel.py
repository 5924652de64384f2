"""Spans and metrics of sessions by OpenTelemetry: a listener of the option ``on_event``.

Example::

    app = SessionMiddleware(app, secret=..., store="redis://localhost", on_event=SessionTelemetry())
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

from .events import Operation, SessionEvent

try:
    from opentelemetry import metrics, trace
except ImportError as _error:
    raise ImportError(
        'sojourn.otel needs the API of OpenTelemetry: pip install "sojourn[otel]"', name=_error.name
    ) from _error

__all__ = ["SessionTelemetry"]

_SCOPE: Final = "sojourn"
_BOUNDARIES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds. Without them an SDK has those that it has for milliseconds."""


class SessionTelemetry:
    """Makes spans of what the store is asked for, and metrics of what happens to sessions.

    Spans, each a child of the current one, such as that of the request: ``sojourn.load`` and ``sojourn.commit``, with ``error.type`` where
    the store failed. What happened is an event of the current span, ``sojourn.created`` and the like, with the session as the log shows it.
    Metrics, named by the semantic conventions:

    =======================================  ==================  =================================================
    metric                                   instrument          attributes
    =======================================  ==================  =================================================
    ``sojourn.events`` (``{event}``)         counter             ``sojourn.event.kind``, ``sojourn.event.reason``
    ``sojourn.operation.duration`` (``s``)   histogram           ``sojourn.operation``, ``error.type``
    ``sojourn.store.up``                     gauge               ``sojourn.operation``
    =======================================  ==================  =================================================

    No attribute has an owner, and none of a metric a session.

    Args:
        tracer_provider: makes the spans; the global one unless given.
        meter_provider: likewise for the metrics.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._events = meter.create_counter(
            "sojourn.events", unit="{event}", description="What happened to sessions and their store."
        )
        how: dict[str, Any] = {"unit": "s", "description": "How long sessions took to be loaded and committed."}
        try:
            self._duration = meter.create_histogram(
                "sojourn.operation.duration", explicit_bucket_boundaries_advisory=_BOUNDARIES, **how
            )
        except TypeError:  # pragma: no cover - OpenTelemetry's API before 1.30
            self._duration = meter.create_histogram("sojourn.operation.duration", **how)
        self._up = meter.create_gauge(
            "sojourn.store.up", description="0 from the first operation of the store that failed until one works again."
        )
        for operation in ("load", "write"):
            self._up.set(1, {"sojourn.operation": operation})

    def __call__(self, event: SessionEvent) -> None:
        """Count an event, as often as there are sessions that it is about, and have the current span tell it."""
        kind, operation = event.kind, event.operation
        attributes: dict[str, str] = {"sojourn.event.kind": kind}
        if event.reason is not None:
            attributes["sojourn.event.reason"] = event.reason
        self._events.add(event.count if operation is None else 1, attributes)
        if operation is not None:
            self._up.set(int(kind == "store_back"), {"sojourn.operation": operation})
        told = {"sojourn.session": event.session, "sojourn.event.reason": event.reason, "sojourn.operation": operation}
        trace.get_current_span().add_event(
            f"sojourn.{kind}", {name: value for name, value in told.items() if value is not None}
        )

    @contextmanager
    def measure(self, operation: Operation) -> Generator[None]:
        """Make a span of it, and measure how long it takes."""
        attributes: dict[str, str] = {"sojourn.operation": operation}
        began = perf_counter()
        # The class of an error alone: its text may be a driver's.
        with self._tracer.start_as_current_span(
            f"sojourn.{operation}", record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                attributes["error.type"] = type(error).__qualname__
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(trace.StatusCode.ERROR)
                raise
            finally:
                self._duration.record(perf_counter() - began, attributes)
