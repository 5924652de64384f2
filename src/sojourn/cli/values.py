"""What options are given as: durations, sizes and names, as people write them."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from ..clock import LONGEST_MS
from ..ids import check_owner

__all__ = ["DURATION", "OWNER", "SIZE"]

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZES: Final = {"": 1, "k": 1024, "m": 1024**2}
_AMOUNT: Final = re.compile(r"(\d{1,12}(?:\.\d{1,3})?) ?([a-z]?)b?", re.ASCII | re.IGNORECASE)


class _Amount(click.ParamType):  # type: ignore[type-arg]  # it has an argument in newer versions alone
    def __init__(self, name: str, units: dict[str, int], scale: int, remedy: str) -> None:
        self.name = name
        self._units = units
        self._scale = scale
        self._remedy = remedy

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _AMOUNT.fullmatch(str(value))
        unit = None if found is None else self._units.get(found[2].lower())
        if found is None or unit is None:
            self.fail(f"{value!r} is none: {self._remedy}", param, ctx)
        amount = round(float(found[1]) * unit * self._scale)
        if amount > LONGEST_MS:
            self.fail(f"{value!r} is too much: {self._remedy}", param, ctx)
        return amount


DURATION: Final[Any] = _Amount("duration", _UNITS, 1000, "give seconds, or a number with s, m, h, d or w, such as 90m")
"""Milliseconds."""
SIZE: Final[Any] = _Amount("size", _SIZES, 1, "give bytes, or a number with k or m, such as 64k")
"""Bytes."""


class _Owner(click.ParamType):  # type: ignore[type-arg]  # as above
    name = "owner"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check_owner(value)
        except (TypeError, ValueError) as error:
            self.fail(str(error), param, ctx)
        return str(value)


OWNER: Final[Any] = _Owner()
"""Whom sessions are of."""
