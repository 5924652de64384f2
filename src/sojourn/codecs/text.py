"""JSON values to text and back, exactly.

msgspec writes and reads: it is fast, and exact for integers of any size. The standard library serves where msgspec refuses:
lone surrogates, which JavaScript's strings may hold. Two surrogates that make a pair come back as the one character they
stand for, since JSON cannot tell these apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, NoReturn

import msgspec

from ..errors import SessionDecodeError, SessionEncodeError

__all__ = ["READ_ERRORS", "TOO_DEEP", "TOO_LONG", "dumps", "is_tagged", "loads", "read_json", "write_json"]

TOO_DEEP: Final = "nested too deeply, or containing itself"
TOO_LONG: Final = "an integer has more digits than Python converts (sys.set_int_max_str_digits)"


def _finite(text: str) -> float:
    if not isfinite(value := float(text)):
        raise ValueError("out of range")
    return value


def _no_constant(_text: str) -> NoReturn:
    raise ValueError("NaN and infinities are not JSON")


write_json: Final = msgspec.json.Encoder().encode
"""`dumps` for what it surely writes: without a call of ours, where that is felt."""
read_json: Final = msgspec.json.Decoder().decode
"""`loads` for nearly everything; what it raises are `READ_ERRORS`, and then `loads` is to be asked."""
READ_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_plain_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_plain_decode: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant).decode


def dumps(tree: Any) -> bytes:
    """Write plain JSON values (finite floats, string keys) as compact JSON text.

    Raises:
        SessionEncodeError: nested too deeply, or an integer longer than the interpreter converts.
    """
    try:
        try:
            return write_json(tree)
        except UnicodeEncodeError:
            # Nothing but surrogates fails to encode, and Python's backslash notation for them is JSON's own: \ud800.
            return _plain_encode(tree).encode(errors="backslashreplace")
    except RecursionError:
        raise SessionEncodeError("", TOO_DEEP) from None
    except ValueError:
        raise SessionEncodeError("", TOO_LONG) from None


def loads(raw: bytes) -> Any:
    """Read JSON text.

    Raises:
        SessionDecodeError: it is malformed in whatever way. The text itself is in neither message nor cause.
    """
    try:
        return read_json(raw)
    except READ_ERRORS:
        pass
    try:
        return _plain_decode(raw.decode())
    except (ValueError, RecursionError):
        raise SessionDecodeError("the record is not valid JSON") from None


def is_tagged(tree: Mapping[str, Any]) -> bool:
    """Whether a JSON object has the form of a tag: one key, which begins with ``$``."""
    return len(tree) == 1 and next(iter(tree)).startswith("$")
