"""Time in one unit: whole milliseconds. Reading the clock, and turning durations and dates into milliseconds and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from .errors import ConfigurationError

__all__ = [
    "DAY_MS",
    "LATEST_MS",
    "LONGEST_MS",
    "Clock",
    "Duration",
    "duration_ms",
    "from_ms",
    "http_date",
    "iso_ms",
    "system_clock",
    "to_ms",
]

Clock: TypeAlias = Callable[[], int]
"""Answers milliseconds since the Unix epoch. Stores and options take another one for tests to move."""
Duration: TypeAlias = timedelta | float
"""A `timedelta`, or seconds."""

DAY_MS = 86_400_000
LONGEST_MS = 400 * 366 * DAY_MS  # four centuries; keeps every date within what datetime and JavaScript's Date can hold
LATEST_MS = 253_402_300_799_999  # the last millisecond of the year 9999, as far as datetime goes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_MS = -62_135_596_800_000
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MILLISECOND = timedelta(milliseconds=1)


def system_clock() -> int:
    """Milliseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1_000_000


def duration_ms(option: str, value: object) -> int:
    """A duration as whole milliseconds.

    Raises:
        ConfigurationError: not a `timedelta` or a number of seconds, negative, or beyond four centuries.
    """
    if isinstance(value, timedelta):
        seconds = value / timedelta(seconds=1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    else:
        raise ConfigurationError(option, repr(value), "give a timedelta or a number of seconds")
    if not 0 <= seconds <= LONGEST_MS / 1000:  # also false for NaN
        raise ConfigurationError(option, repr(value), "give a duration from 0 to 400 years")
    return round(seconds * 1000)


def from_ms(epoch_ms: int) -> datetime:
    """An epoch time in milliseconds as an aware UTC datetime, exact to the millisecond; the nearest where it is past what that holds."""
    return _EPOCH + min(max(epoch_ms, _EARLIEST_MS), LATEST_MS) * _MILLISECOND


def to_ms(moment: datetime) -> int:
    """An aware datetime as epoch milliseconds."""
    return (moment - _EPOCH) // _MILLISECOND


def iso_ms(epoch_ms: int) -> str:
    """An epoch time as JavaScript's ``toISOString`` writes it: ``2026-11-21T04:32:17.370Z``."""
    seconds, ms = divmod(epoch_ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ms:03d}Z"


def http_date(epoch_ms: int) -> str:
    """An epoch time as HTTP writes dates (RFC 9110, section 5.6.7): ``Sat, 21 Nov 2026 04:32:14 GMT``, in any locale."""
    at = time.gmtime(epoch_ms // 1000)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    )
