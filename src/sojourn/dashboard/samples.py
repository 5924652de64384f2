"""Figures over time, of this process: what happened in each minute of a day, and how many sessions were live. Bounded; no I/O."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import Any, Final, NamedTuple

__all__ = ["BEGUN", "ENDED", "Point", "Samples"]

_MINUTE: Final = 60_000
_KEPT: Final = 24 * 60
"""Minutes."""
BEGUN: Final = ("created",)
ENDED: Final = ("destroyed", "revoked", "expired")
"""The kinds of events by which sessions end. One that nobody comes back to ends without an event."""


class Point(NamedTuple):
    """Some minutes."""

    at: int
    """When they begin, in milliseconds since the epoch."""
    live: int | None
    """How many sessions were live at their end; None where nobody looked."""
    begun: int
    ended: int


class _Minute:
    __slots__ = ("events", "live")

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.live: int | None = None


class Samples:
    """A day, minute by minute; what is older is dropped. Safe to use from several threads."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[int, _Minute] = OrderedDict()
        self._lock = threading.Lock()
        self.heard: bool = False
        """Whether an event was ever told."""

    def note_event(self, event: Any) -> None:
        """What the option ``on_event`` is given: a `SessionEvent`."""
        self.heard = True
        with self._lock:
            self._at(int(event.at.timestamp() * 1000)).events[event.kind] += event.count

    def note_live(self, now: int, live: int) -> None:
        """How many sessions are live."""
        with self._lock:
            self._at(now).live = live

    def _at(self, now: int) -> _Minute:
        number = now // _MINUTE
        minute = self._minutes.get(number)
        if minute is None:
            minute = self._minutes[number] = _Minute()
            while len(self._minutes) > _KEPT:
                self._minutes.popitem(last=False)
        return minute

    def points(self, now: int, minutes: int, step: int) -> list[Point]:
        """The last so many minutes, as so many at a time; the last point is of now."""
        last = now // _MINUTE
        first = last - minutes + 1
        points = []
        with self._lock:
            for begin in range(first, last + 1, step):
                some = [
                    self._minutes[number]
                    for number in range(begin, min(begin + step, last + 1))
                    if number in self._minutes
                ]
                live = [minute.live for minute in some if minute.live is not None]
                counts: Counter[str] = sum((minute.events for minute in some), Counter())
                points.append(
                    Point(
                        begin * _MINUTE,
                        live[-1] if live else None,
                        sum(counts[kind] for kind in BEGUN),
                        sum(counts[kind] for kind in ENDED),
                    )
                )
        return points

    def counts(self, now: int, minutes: int) -> Counter[str]:
        """The events of the last so many minutes, by kind."""
        first = now // _MINUTE - minutes + 1
        with self._lock:
            return sum((minute.events for number, minute in self._minutes.items() if number >= first), Counter())
