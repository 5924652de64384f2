"""Figures over time, and how they are drawn."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.dashboard.charts import HEIGHT, WIDTH, columns, line, nice
from sojourn.dashboard.samples import Samples
from sojourn.events import KINDS, SessionEvent

MINUTE = 60_000
NOON = 1_750_000_020_000 // MINUTE * MINUTE


def event(kind: str, at: int = NOON, count: int = 1) -> SessionEvent:
    return SessionEvent(kind=kind, at=datetime.fromtimestamp(at / 1000, UTC), count=count)  # type: ignore[arg-type]


def test_events_are_counted_by_the_minute() -> None:
    samples = Samples()
    assert not samples.heard
    for kind, at, count in (
        ("created", 0, 1),
        ("created", 59_999, 2),
        ("revoked", 60_000, 5),
        ("destroyed", 60_001, 1),
    ):
        samples.note_event(event(kind, NOON + at, count))
    samples.note_live(NOON + MINUTE, 7)
    points = samples.points(NOON + MINUTE, 3, 1)
    assert [(point.at - NOON, point.live, point.begun, point.ended) for point in points] == [
        (-MINUTE, None, 0, 0),
        (0, None, 3, 0),
        (MINUTE, 7, 0, 6),
    ]
    [half] = samples.points(NOON + MINUTE, 2, 2)
    assert (half.live, half.begun, half.ended) == (7, 3, 6)
    assert samples.counts(NOON + MINUTE, 1) == {"revoked": 5, "destroyed": 1}
    assert samples.heard


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3 * 1440), st.integers(1, 9)), max_size=40))
def test_each_event_is_in_one_point_and_no_more_than_a_day_is_kept(told: list[tuple[str, int, int]]) -> None:
    samples = Samples()
    for kind, minute, count in sorted(told, key=lambda one: one[1]):
        samples.note_event(event(kind, NOON + minute * MINUTE, count))
    last = max((minute for _, minute, _ in told), default=0)
    points = samples.points(NOON + last * MINUTE, 1440, 30)
    within = [(kind, count) for kind, minute, count in told if minute > last - 1440]
    assert sum(point.begun for point in points) == sum(count for kind, count in within if kind == "created")
    assert sum(samples.counts(NOON + last * MINUTE, 1440).values()) == sum(count for _, count in within)
    assert len(samples._minutes) <= 1440


def test_no_more_than_a_day_is_kept() -> None:
    samples = Samples()
    for minute in range(3000):
        samples.note_live(NOON + minute * MINUTE, minute)
    assert len(samples._minutes) == 1440
    assert samples.points(NOON + 2999 * MINUTE, 1440, 1)[0].live == 1560


@given(st.integers(1, 10**12))
def test_the_top_is_round_and_not_far_above(number: int) -> None:
    top = nice(number)
    assert number <= top <= 2.5 * number and str(top).strip("0") in ("1", "2", "5")


def test_a_line_has_gaps_where_nobody_looked() -> None:
    assert line([None, 5, 10, None, 0]).paths == ("M150.0 50.0h0L300.0 0.0M600.0 100.0h0",)
    assert line([]).paths == line([None]).paths == ("",)


@given(st.lists(st.none() | st.integers(0, 10**9), max_size=80))
def test_a_line_stays_within_its_box(values: list[int | None]) -> None:
    text = line(values).paths[0].replace("h0", "").replace("M", "L")
    for point in filter(None, text.split("L")):
        x, y = map(float, point.split())
        assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT


@pytest.mark.parametrize("numbers", [[], [0, 0], [3, 0, 9]])
def test_columns_are_as_many_as_there_is_something_to_show(numbers: list[int]) -> None:
    chart = columns(numbers, [0] * len(numbers))
    assert chart.paths[0].count("z") == sum(number > 0 for number in numbers)
    assert chart.paths[1] == "" and chart.top >= max(numbers, default=0)
