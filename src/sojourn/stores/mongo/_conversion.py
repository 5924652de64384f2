"""JSON text to BSON documents and back, as Node's driver writes and reads a session object.

Where JSON is not exact, the rules are those of JavaScript: integers outside of 32 bits are doubles, whole doubles
inside of them are 32-bit integers, ``cookie.expires`` is a date, and a cookie attribute that Express leaves undefined
is null. Apart from that, text as `sojourn.codecs` writes it comes back exactly as it was. What cannot be stored
exactly is refused.

Dates and ids of the app's are text in JSON. Those that are unchanged are stored again as they were.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from bson import CodecOptions, DatetimeMS, ObjectId, encode
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from ...clock import from_ms, to_ms
from ...codecs.base import refusal
from ...codecs.text import dumps, loads
from ...errors import SessionDecodeError

__all__ = ["CODEC", "bson_to_json", "json_to_bson"]

CODEC: Final[CodecOptions[RawBSONDocument]] = CodecOptions(
    document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_MS
)
"""How documents are read: sub-documents stay the bytes they are, and dates are milliseconds, whatever the year."""

# express-session's order; those that it may leave undefined are null in BSON.
_COOKIE: Final = (
    "originalMaxAge",
    "partitioned",
    "priority",
    "expires",
    "secure",
    "httpOnly",
    "domain",
    "path",
    "sameSite",
)
_UNDEFINED: Final = frozenset({"partitioned", "priority", "secure", "domain", "sameSite"})

_DEEPEST: Final = 98  # levels inside the session: MongoDB holds 100, and the session lies in a document
_INT32: Final = range(-(2**31), 2**31)
_EXACT: Final = 2**53 - 1  # Number.MAX_SAFE_INTEGER
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_LATEST: Final = 8_640_000_000_000_000  # ms from the epoch either way, JavaScript's range of dates (ECMA-262, 21.4.1.1)
_CYCLE: Final = 146_097 * 86_400_000  # ms of 400 years, after which the Gregorian calendar repeats

_FOREIGN: Final[frozenset[type]] = frozenset({DatetimeMS, ObjectId, float})
"""Types with values that JSON shows as something else."""

_CLASS: Final = "_bsontype"
"""The mark by which Node's driver knows the objects of its own classes."""
_REFERENCE: Final = frozenset({"$ref", "$id", "$db"})
_INHERITED: Final = frozenset(
    {
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    }
)
"""Names that every object has in JavaScript. Node's driver finds them in its table of the fields whose lists it leaves raw."""

_Path: TypeAlias = tuple[str | int, ...]


def json_to_bson(text: bytes, stored: object = None) -> RawBSONDocument:
    """A session object's JSON text as the document that Node's driver would write for it.

    Values for which JSON has no type are taken over from ``stored``, the document that this one replaces, where they are in
    the same place and read the same.

    Raises:
        SessionEncodeError: not an object, or something in it that BSON cannot hold or a double not exactly.
    """
    try:
        tree = loads(text)
    except SessionDecodeError:
        raise refusal((), "this layout holds JSON objects, and the record is not JSON") from None
    if not isinstance(tree, dict):
        raise refusal(
            (), "this layout holds JSON objects alone, no encrypted records; those need a layout that keeps text"
        )
    document = _object_to_bson(_keep(tree, stored), ())
    cookie = document.get("cookie")
    if isinstance(cookie, dict):
        document["cookie"] = _cookie_to_bson(cookie)
    # Inside of another document, since on the outermost level "_id" would be moved to the front.
    wrapped: RawBSONDocument = RawBSONDocument(encode({"session": document}), CODEC)["session"]
    return wrapped


def bson_to_json(document: RawBSONDocument) -> bytes:
    """A session document as the JSON text that JavaScript's ``JSON.stringify`` gives for it.

    Raises:
        SessionDecodeError: not BSON, or a value in it of a type that has no place in JSON. It does not say where: names are a
            part of the visitor's data.
    """
    try:
        tree = _object_to_json(document)
    except (BSONError, RecursionError) as error:
        raise SessionDecodeError(f"the session is not valid BSON ({type(error).__name__})") from None
    cookie = tree.get("cookie")
    if isinstance(cookie, dict):
        kept = _overrides(tree)
        for name in _UNDEFINED - kept:
            if name in cookie and cookie[name] is None:
                del cookie[name]
    return dumps(tree)


def _keep(value: Any, stored: Any) -> Any:
    """A JSON value, or the stored one if that reads the same."""
    if type(value) is dict and type(stored) is RawBSONDocument:
        return {key: _keep(item, stored[key]) if key in stored else item for key, item in value.items()}
    if type(value) is list and type(stored) is list:
        return [*map(_keep, value, stored), *value[len(stored) :]]
    if type(stored) in _FOREIGN:
        shown = _value_to_json(stored)
        return stored if type(shown) is type(value) and shown == value else value
    return value


def _cookie_to_bson(cookie: dict[str, Any]) -> dict[str, Any]:
    ordered = {name: cookie.pop(name, None) for name in _COOKIE if name in cookie or name in _UNDEFINED}
    expires = ordered.get("expires")
    if isinstance(expires, str) and _ISO.fullmatch(expires):
        with suppress(ValueError):  # no such day: it stays text
            ordered["expires"] = DatetimeMS(to_ms(datetime.fromisoformat(expires)))
    return ordered | cookie


def _overrides(tree: dict[str, Any]) -> frozenset[str]:
    """The cookie attributes that a record of ours says are set on purpose, perhaps to null."""
    own = tree.get("__sojourn__")
    names = own.get("overrides") if isinstance(own, dict) else None
    return frozenset(name for name in _UNDEFINED if name in names) if isinstance(names, list) else frozenset()


def _object_to_bson(tree: dict[str, Any], path: _Path) -> dict[str, Any]:
    if len(path) > _DEEPEST:
        raise refusal(path[:3], "nested too deeply for MongoDB, which holds 100 levels")
    for key in tree:
        if "\0" in key:
            raise refusal((*path, key), "BSON's keys cannot contain U+0000")
        _check_text(key, path)
    if tree.get(_CLASS) is not None:
        raise refusal(
            (*path, _CLASS), "Node's driver takes an object with this key for one of its own, and stores none"
        )
    if _is_reference(tree):
        raise refusal((*path, "$ref"), "Node's driver reads an object with $ref and $id as a DBRef")
    for key in _INHERITED.intersection(tree):
        if _lists_objects(tree[key]):
            raise refusal((*path, key), "Node's driver reads a list of objects under this name as bytes")
    return {key: _value_to_bson(value, (*path, key)) for key, value in tree.items()}


def _is_reference(tree: dict[str, Any]) -> bool:
    # by js-bson's own rule, which leaves all else the object that it is
    return (
        type(tree.get("$ref")) is str
        and tree.get("$id") is not None
        and type(tree.get("$db", "")) is str
        and _REFERENCE.issuperset(key for key in tree if key.startswith("$"))
    )


def _lists_objects(value: Any) -> bool:
    return type(value) is list and any(type(item) is dict or _lists_objects(item) for item in value)


def _value_to_bson(value: Any, path: _Path) -> Any:
    to_bson = _TO_BSON.get(type(value))
    return value if to_bson is None else to_bson(value, path)


def _array_to_bson(values: list[Any], path: _Path) -> list[Any]:
    if len(path) > _DEEPEST:
        raise refusal(path[:3], "nested too deeply for MongoDB, which holds 100 levels")
    return [_value_to_bson(value, (*path, index)) for index, value in enumerate(values)]


def _integer_to_bson(value: int, path: _Path) -> int | float:
    if value in _INT32:
        return value
    if abs(value) > _EXACT:
        raise refusal(path, "an integer beyond 2^53-1 is not exact in Node; store it as text")
    return float(value)


def _float_to_bson(value: float, _path: _Path) -> int | float:
    whole = value.is_integer() and int(value) in _INT32 and math.copysign(1, value) == math.copysign(1, int(value))
    return int(value) if whole else value


def _check_text(text: str, path: _Path) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refusal(path, "BSON's text is UTF-8 and cannot hold a lone surrogate") from None
    return text


_TO_BSON: Final[dict[type, Callable[[Any, _Path], Any]]] = {
    dict: _object_to_bson,
    list: _array_to_bson,
    str: _check_text,
    int: _integer_to_bson,
    float: _float_to_bson,
}


def _value_to_json(value: Any) -> Any:
    to_json = _TO_JSON.get(type(value))
    if to_json is None:
        raise SessionDecodeError(f"it holds a BSON {type(value).__name__}, which JSON does not have")
    return to_json(value)


def _object_to_json(document: RawBSONDocument) -> dict[str, Any]:
    return {key: _value_to_json(value) for key, value in document.items()}


def _array_to_json(values: list[Any]) -> list[Any]:
    return [_value_to_json(value) for value in values]


def _long_to_json(value: Int64) -> int:
    if abs(value) > _EXACT:
        raise SessionDecodeError("it holds an integer beyond 2^53-1, which JavaScript does not hold exactly")
    return int(value)


def _double_to_json(value: float) -> int | float | None:
    if not math.isfinite(value):
        return None  # as JSON.stringify has it
    whole = value.is_integer() and abs(value) <= _EXACT and math.copysign(1, value) == math.copysign(1, int(value))
    return int(value) if whole else value


def _date_to_json(value: DatetimeMS) -> str | None:
    """As JavaScript's ``toJSON``: years of four digits, or signed and of six."""
    ms = int(value)
    if abs(ms) > _LATEST:
        return None
    cycles, rest = divmod(ms, _CYCLE)
    moment = from_ms(0) + timedelta(milliseconds=rest)
    year = moment.year + 400 * cycles
    digits = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+07d}"
    return f"{digits}{moment:-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


_TO_JSON: Final[dict[type, Callable[[Any], Any]]] = {
    RawBSONDocument: _object_to_json,
    list: _array_to_json,
    str: lambda value: value,
    bool: lambda value: value,
    type(None): lambda value: value,
    int: lambda value: value,
    Int64: _long_to_json,
    float: _double_to_json,
    DatetimeMS: _date_to_json,
    ObjectId: str,
}
