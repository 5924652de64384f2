from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.clock import LATEST_MS, LONGEST_MS, duration_ms, from_ms, iso_ms, system_clock, to_ms
from sojourn.errors import ConfigurationError

# What datetime holds, as epoch milliseconds.
MOMENTS = st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999)


def test_the_system_clock_tells_milliseconds_since_the_epoch():
    before = time.time_ns() // 1_000_000
    assert before <= system_clock() <= time.time_ns() // 1_000_000


@pytest.mark.parametrize(
    ("given", "ms"),
    [
        (0, 0),
        (1, 1000),
        (1.5, 1500),
        (0.0004, 0),
        (0.0006, 1),
        (timedelta(0), 0),
        (timedelta(days=14), 14 * 86_400_000),  # whose `.seconds` are 0
        (timedelta(microseconds=1500), 2),
        (LONGEST_MS / 1000, LONGEST_MS),
    ],
)
def test_a_duration_is_a_timedelta_or_seconds(given, ms):
    assert duration_ms("idle_timeout", given) == ms


@pytest.mark.parametrize(
    "given", [-1, -0.001, timedelta(days=-1), float("nan"), float("inf"), LONGEST_MS, 10**30, True, "60", None, [60]]
)
def test_any_other_duration_is_refused_by_the_name_of_its_option(given):
    with pytest.raises(ConfigurationError) as caught:
        duration_ms("idle_timeout", given)
    assert caught.value.option == "idle_timeout"
    assert caught.value.given == repr(given)
    assert caught.value.remedy in str(caught.value)


@given(MOMENTS)
def test_milliseconds_survive_the_way_to_a_date_and_back(ms):
    assert to_ms(from_ms(ms)) == ms
    assert from_ms(ms).tzinfo is UTC


@given(
    st.datetimes(
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-12))])
    )
)
def test_a_date_becomes_the_millisecond_it_lies_in(moment):
    assert timedelta(0) <= moment - from_ms(to_ms(moment)) < timedelta(milliseconds=1)


def test_a_date_of_another_zone_is_the_same_instant():
    noon = datetime(2026, 11, 21, 12, tzinfo=timezone(timedelta(hours=2)))
    assert from_ms(to_ms(noon)) == noon


@given(st.integers(min_value=0, max_value=253_402_300_799_999))
def test_iso_text_is_what_javascript_writes(ms):
    assert iso_ms(ms) == from_ms(ms).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def test_iso_text_of_the_wire_formats():
    assert iso_ms(to_ms(datetime(2026, 11, 21, 4, 32, 17, 370_000, UTC))) == "2026-11-21T04:32:17.370Z"


@pytest.mark.parametrize(
    ("ms", "moment"),
    [
        (LATEST_MS, datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)),
        (LATEST_MS + 1, datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)),
        (2**63, datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)),
        (-62_135_596_800_000, datetime(1, 1, 1, tzinfo=UTC)),
        (-(2**63), datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_past_what_datetime_holds_is_the_nearest_that_it_does(ms, moment):
    assert from_ms(ms) == moment
