"""A record of one store as the record of another: read by the source's codec, written by the target's. No I/O."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from ..clock import LONGEST_MS
from ..codecs import Codec, dumps
from ..core.record import Record, pack, unpack
from ..errors import SessionEncodeError

__all__ = ["Converted", "convert"]

_NO_DATA: Final = b"{}"


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
    record, tree = unpack(text)
    if source is not target:
        text = _text(record, _body(record, tree, source, target))
    return Converted(text, target.seal(text, new_key), record.owner, _lifetime(record.cookie.get("originalMaxAge")))


def _lifetime(given: object) -> int | None:
    return int(given) if isinstance(given, int | float) and 1 <= given <= LONGEST_MS else None


def _body(record: Record, tree: dict[str, Any], source: Codec, target: Codec) -> bytes:
    """The data as the target's codec writes them.

    A record of Sojourn's may have tags for types of the application's own, unknown to the codec here, which reads them as
    plain objects. The codec's own text then differs from the record's: such data are carried over as they are where both
    codecs write them alike, and refused otherwise, for the target would take them for what they are not.
    """
    data = source.revive(tree, record.body)
    ours = target.encode(data)
    if record.created is None:  # Express knows no tags
        return ours
    theirs = source.encode(data)
    if theirs == record.body:
        return ours
    if theirs == ours:
        return record.body
    raise SessionEncodeError("", "it holds values of types that the source's codec does not know")


def _text(record: Record, body: bytes) -> bytes:
    if record.created is None:
        return b'{"cookie":%b%b' % (dumps(record.cookie), b"}" if body == _NO_DATA else b"," + body[1:])
    return pack(replace(record, body=body, write=record.write or 0))
