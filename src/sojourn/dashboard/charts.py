"""Charts as the points of SVG paths: lines and columns over time. The templates draw them, and put a table beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["HEIGHT", "WIDTH", "Chart", "columns", "line", "nice"]

WIDTH: Final = 600
HEIGHT: Final = 100


class Chart(NamedTuple):
    """What is drawn, in a box of `WIDTH` by `HEIGHT` whose bottom is zero."""

    paths: tuple[str, ...]
    """The ``d`` of each series' path."""
    top: int
    """The number that the top of the box stands for."""


def nice(number: int) -> int:
    """The next round number: 1, 2 or 5 times a power of ten."""
    power = 1
    while power * 10 <= number:
        power *= 10
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= number)


def line(values: Sequence[int | None]) -> Chart:
    """A line from left to right, with a gap where there is no value."""
    top = nice(max((value for value in values if value is not None), default=1) or 1)
    step = WIDTH / max(len(values) - 1, 1)
    drawn, pen_down = "", False
    for place, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        point = f"{place * step:.1f} {HEIGHT - HEIGHT * value / top:.1f}"
        # A value alone is a dot: a line of no length, which round caps make visible.
        drawn += f"L{point}" if pen_down else f"M{point}h0"
        pen_down = True
    return Chart((drawn,), top)


def columns(*series: Sequence[int]) -> Chart:
    """Columns side by side, one of each series at each place."""
    top = nice(max((value for values in series for value in values), default=1) or 1)
    room = WIDTH / max(len(series[0]), 1)
    width = room * 0.8 / len(series)
    paths = []
    for number, values in enumerate(series):
        left = room * 0.1 + number * width
        paths.append(
            "".join(
                f"M{place * room + left:.1f} {HEIGHT}v{-HEIGHT * value / top:.1f}h{width:.1f}V{HEIGHT}z"
                for place, value in enumerate(values)
                if value
            )
        )
    return Chart(tuple(paths), top)
