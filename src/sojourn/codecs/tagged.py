"""The default codec: JSON in which common Python types survive, as tags.

A tag is a one-key object whose key begins with ``$``. The table `_TAGS` says what each type becomes.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from ..errors import ConfigurationError, SessionDecodeError
from .base import CONTAINERS, PLAIN_TYPES, Path, TextCodec, refusal, type_name, unheld
from .text import READ_ERRORS, TOO_DEEP, dumps, is_tagged, loads, read_json

__all__ = ["JSONCodec", "Tag"]

T = TypeVar("T")


class Tag(NamedTuple):
    """How values of exactly one type are written, ``{name: to_json(value)}``, and read, ``from_json(payload)``.

    ``to_json`` may give anything the codec can hold, and ``from_json`` gets that back. Where ``from_json`` raises ``ValueError``,
    ``TypeError``, ``LookupError``, ``ArithmeticError`` or ``AttributeError``, the object is left as a plain dict.
    """

    name: str
    kind: type
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]


class _NotHeldError(Exception):
    """Of a type that has a tag, but not a value that it holds."""


def _write_clock(value: datetime | time) -> str | list[str | int]:
    if value.tzinfo is None:
        # `fold` tells the second of two equal wall times when clocks go back. With an offset there is nothing to tell.
        return [value.isoformat(), value.fold] if value.fold else value.isoformat()
    if value.utcoffset() is None:
        raise _NotHeldError("its time zone has no offset without a date; store a datetime, or its text")
    return value.isoformat()


def _read_clock(kind: type[datetime | time]) -> Callable[[Any], Any]:
    def read(payload: Any) -> datetime | time:
        text, fold = payload if type(payload) is list else (payload, 0)
        return kind.fromisoformat(text).replace(fold=fold)

    return read


def _read(payload_type: type, build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(payload: Any) -> Any:
        if type(payload) is not payload_type:
            raise TypeError
        return build(payload)

    return read


def _read_base64(text: str) -> bytes:
    value = b64decode(text, validate=True)
    if b64encode(value).decode() != text:
        raise ValueError("base64 with bits that mean nothing")  # and that would be lost
    return value


_MICROSECOND: Final = timedelta(microseconds=1)
_TAGS: Final = (
    Tag("$datetime", datetime, _write_clock, _read_clock(datetime)),
    Tag("$date", date, date.isoformat, date.fromisoformat),
    Tag("$time", time, _write_clock, _read_clock(time)),
    Tag("$timedelta", timedelta, lambda value: value // _MICROSECOND, _read(int, lambda count: count * _MICROSECOND)),
    Tag("$uuid", UUID, str, _read(str, UUID)),
    Tag(
        "$bytes",
        bytes,
        lambda value: b64encode(value).decode(),
        _read(str, _read_base64),
    ),
    Tag("$decimal", Decimal, str, _read(str, Decimal)),
    Tag("$set", set, list, _read(list, set)),
    Tag("$frozenset", frozenset, list, _read(list, frozenset)),
    Tag("$tuple", tuple, list, _read(list, tuple)),
)
_UNORDERED: Final = frozenset({set, frozenset})
_WRAP: Final = "$dict"
_NOT_OURS: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
# However spaced or escaped: another program may have written it.
_find_tag: Final = re.compile(rb'\{[ \t\r\n]*"(?:\$|\\u0024)').search


class JSONCodec(TextCodec):
    """JSON in which common Python types survive: the default codec.

    ``datetime`` and ``time`` (ISO 8601; a time zone becomes the offset it had, naive stays naive), ``date``, ``timedelta``,
    ``UUID``, ``bytes``, ``Decimal``, ``tuple``, and ``set`` and ``frozenset``, written in the order of their elements' text, so that
    equal sets give equal text. `register` adds types of your own. Subclasses are refused, not flattened.

    A dict of the app's that looks like a tag is wrapped, ``{"$dict": {"$x": 1}}``. What looks like a tag in a record that
    another program wrote, but is unknown or malformed, is read as the plain dict that it is.

    Args:
        tags: types of your own; `register` is the convenient way to give them.

    Raises:
        ConfigurationError: a tag's name or type is taken, or is no name or type for a tag.
    """

    name = "json"
    _wraps = True

    def __init__(self, *tags: Tag) -> None:
        super().__init__()
        self._own = tags
        self._by_type: dict[type, Tag] = {}
        self._by_name: dict[str, Tag] = {}
        for tag in (*_TAGS, *tags):
            if not tag.name.startswith("$") or tag.name in ("$", _WRAP) or tag.name in self._by_name:
                raise ConfigurationError("tags", repr(tag.name), 'give a name of its own that begins with "$"')
            if tag.kind in PLAIN_TYPES or tag.kind in self._by_type:
                raise ConfigurationError("tags", type_name(tag.kind), "this type has a form already; register another")
            self._by_type[tag.kind] = self._by_name[tag.name] = tag

    def __repr__(self) -> str:
        return f"JSONCodec({', '.join(tag.name for tag in self._own)})"

    def register(
        self, name: str, kind: type[T], *, to_json: Callable[[T], Any], from_json: Callable[[Any], T]
    ) -> JSONCodec:
        """A codec like this one that also holds values of exactly this type, as ``{name: to_json(value)}``.

        Example::

            codec = JSONCodec().register("$money", Money, to_json=str, from_json=Money.parse)

        See `Tag` for the two functions.
        """
        return JSONCodec(*self._own, Tag(name, kind, to_json, from_json))

    def decode(self, text: bytes, /) -> Any:
        """See `Codec.decode`."""
        try:
            value = read_json(text)
        except READ_ERRORS:
            value = loads(text)
        # Single bytes are found faster than patterns, and most text has neither of these.
        if type(value) not in CONTAINERS or (b"$" not in text and b"\\" not in text) or _find_tag(text) is None:
            return value
        try:
            return self._revive(value)
        except RecursionError:
            raise SessionDecodeError(f"a value is {TOO_DEEP}") from None

    def _revive_items(self, tree: dict[str, Any]) -> dict[str, Any]:
        for key, value in tree.items():
            if type(value) in CONTAINERS:
                tree[key] = self._revive(value)
        return tree

    def _revive(self, value: Any) -> Any:
        if type(value) is list:
            for index, item in enumerate(value):
                if type(item) in CONTAINERS:
                    value[index] = self._revive(item)
            return value
        if not is_tagged(value):
            return self._revive_items(value)
        ((name, payload),) = value.items()
        if name == _WRAP and type(payload) is dict and is_tagged(payload):
            return self._revive_items(payload)
        self._revive_items(value)
        tag = self._by_name.get(name)
        if tag is None:
            return value
        try:
            return tag.from_json(value[name])
        except _NOT_OURS:
            return value

    def _special(self, value: Any, path: Path) -> Any:
        kind = type(value)
        tag = self._by_type.get(kind)
        if tag is None:
            reason = unheld(kind, PLAIN_TYPES.union(self._by_type))
            raise refusal(path, f"{reason}, or register its type: JSONCodec().register(...)")
        try:
            payload = tag.to_json(value)
        except _NotHeldError as error:
            raise refusal(path, str(error)) from None
        written = self._value(payload, path)
        if kind in _UNORDERED:
            written.sort(key=dumps)
        return {tag.name: written}
