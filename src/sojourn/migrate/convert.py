"""A record of one store as the record of another: read by the source's codec, written by the target's. No I/O."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import UNSET, Raw
from msgspec.structs import replace

from ..codecs import Codec, Members, dumps, join, loads, path_of, writer
from ..core.record import Record, pack, unpack
from ..core.session_cookie import read_lifetime
from ..errors import SessionEncodeError

__all__ = ["Converted", "convert", "is_same"]


class Converted(NamedTuple):
    """A record for the target."""

    text: bytes
    """As JSON."""
    data: bytes
    """As it goes to the store: sealed, where the codec does that."""
    owner: str | None
    lifetime: int | None
    """Milliseconds that the session says it lasts after each use; None for a browser session."""


def convert(stored: bytes, old_key: str, new_key: str, source: Codec, target: Codec) -> Converted:
    """Take a stored record apart and put it together anew for another key and codec.

    What Sojourn keeps in it and the cookie part stay as they are, and a record that Express wrote stays one.

    Raises:
        SessionDecodeError: the source's codec cannot read it.
        SessionEncodeError: it holds what the target's codec cannot.
    """
    text = source.unseal(stored, old_key)
    record = unpack(text)
    if source is not target:
        text = _text(record, _data(record, source, target))
    lifetime = read_lifetime(loads(record.cookie).get("originalMaxAge"))
    return Converted(text, target.seal(text, new_key), record.owner, None if lifetime is UNSET else lifetime)


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two records were made of the same one. Where its library does not say when a session began, each run says what it thinks.

    Raises:
        SessionDecodeError: one of them is no record.
    """
    if one == other:
        return True
    first, second = unpack(one), unpack(other)
    return None not in (first.created, second.created) and replace(first, created=second.created) == second


def _data(record: Record, source: Codec, target: Codec) -> Members:
    """The data as the target's codec writes them.

    A record of Sojourn's may have tags for types of the application's own, unknown to the codec here, which reads them as
    plain objects. The codec's own text then differs from the record's: such a value is carried over as it is where both
    codecs write it alike, and refused otherwise, for the target would take it for what it is not.
    """
    data: Members = {}
    for name, text in record.data.items():
        if name in getattr(source, "reserved", ()):  # left out by whoever reads it
            continue
        if name in getattr(target, "reserved", ()):
            raise SessionEncodeError(name, "this name is reserved at the target")
        try:
            data[name] = _value(text, source, target, is_ours=record.created is not None)
        except SessionEncodeError as error:
            raise SessionEncodeError(path_of(name, error.path), error.reason) from None
    return data


def _value(text: Raw, source: Codec, target: Codec, *, is_ours: bool) -> Raw:
    value = source.decode(bytes(text))
    ours = Raw(writer(target)(value))
    if not is_ours:  # Express knows no tags
        return ours
    theirs = Raw(source.encode(value))
    as_we_write = Raw(dumps(loads(bytes(text))))  # another program may have spaced or escaped it in its own way
    if theirs in (text, as_we_write):
        return ours
    if theirs == ours:
        return text
    raise SessionEncodeError("", "it is of a type that the source's codec does not know")


def _text(record: Record, data: Members) -> bytes:
    if record.created is None:
        return b'{"cookie":%b%b' % (record.cookie, b"," + join(data)[1:] if data else b"}")
    return pack(replace(record, data=data, write=record.write or 0))
