"""The codec of the frameworks' doors: what their own sessions write is written, in the form in which they write it.

Frameworks write their sessions by ``json.dumps``: a subclass goes out as what it is derived from, a key that is a number as its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from types import NoneType
from typing import Any, Final
from uuid import UUID

from ..errors import SessionEncodeError
from .base import MAX_DEPTH, Codec, check_codec
from .tagged import JSONCodec, Tag

__all__ = ["NOT_FINITE", "LenientCodec", "key_text"]


class _NotFinite(float):
    """NaN or an infinity, which only a tag can hold."""


NOT_FINITE: Final = Tag("$float", _NotFinite, float.__repr__, float)
"""The tag of NaN and the infinities. They come back as plain floats."""

_PLAIN: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, lambda value: value if isfinite(value) else _NotFinite(value)),
    (bytes, bytes),
    (datetime, lambda value: datetime.combine(value, value.timetz())),
    (date, lambda value: date(value.year, value.month, value.day)),
    (Decimal, Decimal),
    (UUID, lambda value: UUID(int=value.int)),
)
"""What values become that are of a type derived from one of these: exactly that."""


class LenientCodec(Codec):
    """Another codec, which is also given what it would refuse, in the plain form in which ``json.dumps`` writes it.

    A subclass becomes what it is derived from: a ``StrEnum`` a ``str``, a ``defaultdict`` a ``dict``, a named tuple a tuple, or a list where
    the codec beneath holds no tuples. A key that is a number, a ``bool`` or None becomes its text in JSON, at the top level too. What the codec
    beneath holds is written as it writes it, and costs nothing more.

    Args:
        codec: the codec beneath. `JSONCodec` unless given, which then holds NaN and the infinities too.
        default: as in ``json.dumps``: called with a value that has no form, it returns another in its place, or raises ``TypeError``.
    """

    name = "lenient"

    def __init__(self, codec: Codec | None = None, *, default: Callable[[Any], Any] | None = None) -> None:
        self.beneath: Codec = JSONCodec(NOT_FINITE) if codec is None else codec
        """The codec that writes and reads."""
        check_codec("codec", self.beneath)
        self._default = default

    def __repr__(self) -> str:
        return f"LenientCodec({self.beneath!r})"

    @property
    def reserved(self) -> frozenset[str]:
        """The names that the codec beneath reserves."""
        return frozenset(getattr(self.beneath, "reserved", ()))

    def encode(self, value: Any, /) -> bytes:
        """See `Codec.encode`."""
        try:
            return self.beneath.encode(value)
        except SessionEncodeError:
            pass
        return self.beneath.encode(self._plain(value, 1))

    def decode(self, text: bytes, /) -> Any:
        """See `Codec.decode`."""
        return self.beneath.decode(text)

    def seal(self, record: bytes, key: str, /) -> bytes:
        """See `Codec.seal`."""
        return self.beneath.seal(record, key)

    def unseal(self, stored: bytes, key: str, /) -> bytes:
        """See `Codec.unseal`."""
        return self.beneath.unseal(stored, key)

    def _plain(self, value: Any, depth: int) -> Any:
        """A value in its plain form, as far as it has one: what is left, the codec beneath refuses by its path."""
        if depth > MAX_DEPTH:
            return value
        kind = type(value)
        if kind not in (dict, list, tuple) and self._holds(value):  # a subclass may be registered
            return value
        if isinstance(value, dict):
            return {key_text(key): self._plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            items = [self._plain(item, depth + 1) for item in value]
            return tuple(items) if isinstance(value, tuple) and self._holds(tuple(items)) else items
        for base, plain in _PLAIN:
            if isinstance(value, base):
                form = plain(value)
                return form if self._holds(form) else value
        if self._default is not None:
            try:
                return self._plain(self._default(value), depth + 1)
            except TypeError:
                pass
        return value

    def _holds(self, value: Any) -> bool:
        try:
            self.beneath.encode(value)
        except SessionEncodeError:
            return False
        return True


def key_text(key: Any) -> Any:
    """A key as ``json.dumps`` writes it; one that it would refuse stays what it is."""
    if isinstance(key, str):
        return str.__str__(key)
    return json.dumps(key) if isinstance(key, int | float | NoneType) else key
