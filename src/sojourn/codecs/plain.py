"""The codec for sharing sessions with programs in other languages: JSON and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from .base import CONTAINERS, PLAIN_TYPES, Path, TextCodec, refusal, unheld
from .text import loads

__all__ = ["PlainCodec"]

_JS_DIGITS: Final = 10**21
"""From here on JavaScript writes whole numbers with an exponent, and these read as floats anyway."""
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")


class PlainCodec(TextCodec):
    """JSON and nothing else: any other program reads what was meant. Other types are refused, with the path to them.

    Args:
        dates_as_iso: write aware datetimes as JavaScript's ``toISOString`` does, ``"2026-11-21T04:32:17.370Z"``, cut to
            milliseconds. They come back as this text. Naive ones are refused: their instant is unknown.
        max_int: refuse integers beyond it; JavaScript is exact up to 2^53 - 1. Where a record has one nevertheless, another
            program wrote it for a number that was no exact integer there either: it is read as a float.
        reserved: names of a session's values to refuse besides the record's own (contract 51). Where a record has one nevertheless,
            another program wrote it: it is left out, as in Express.
    """

    name = "plain"

    def __init__(
        self, *, dates_as_iso: bool = False, max_int: int | None = None, reserved: Iterable[str] = frozenset()
    ) -> None:
        super().__init__(max_int=max_int)
        self.reserved: frozenset[str] = frozenset(reserved)
        """Names that no value of a session may have, besides the record's own."""
        self._dates_as_iso = dates_as_iso
        self._long_number = b"0" * len(str(max_int))

    def decode(self, text: bytes, /) -> Any:
        """See `Codec.decode`. Integers beyond ``max_int`` become floats."""
        value, limit = loads(text), self._max_int
        if limit is None or self._long_number not in text.translate(_DIGITS_TO_ZERO):
            return value
        whole = [value]
        containers: list[Any] = [whole]
        for container in containers:  # grows while it is walked
            for key, item in container.items() if type(container) is dict else enumerate(container):
                if type(item) is int and limit < abs(item) < _JS_DIGITS:
                    container[key] = float(item)
                elif type(item) in CONTAINERS:
                    containers.append(item)
        return whole[0]

    def _special(self, value: Any, path: Path) -> Any:
        if not self._dates_as_iso or type(value) is not datetime:
            raise refusal(path, unheld(type(value), PLAIN_TYPES))
        if value.utcoffset() is None:
            raise refusal(path, "a naive datetime is no instant; give it a time zone")
        try:
            return value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
        except OverflowError:
            raise refusal(path, "its instant is outside of the years 1 to 9999 in UTC") from None
