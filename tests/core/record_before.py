"""A frozen copy of how the version before this one wrote and read records, which in a rolling deployment it still does.

It wrote ``sum`` where this version writes ``lifetime``: a CRC-32 of the lifetime and of the data's text, by which it knew its own records.
The data were one text to it, `Record.body`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import Struct, field

from sojourn.codecs import dumps, loads
from sojourn.errors import SessionDecodeError

__all__ = ["Record", "pack", "unpack"]

COOKIE_KEY: Final = "cookie"
OWN_KEY: Final = "__sojourn__"
_OWN_BYTES: Final = OWN_KEY.encode()
_LAYOUT: Final = 1
_END_OF_HEAD: Final = b',"write":'
NO_DATA: Final = b"{}"
_HEAD: Final = b'{"cookie":{"originalMaxAge":'


class Record(Struct, gc=False):
    """A record taken apart."""

    body: bytes
    """The data, as a compact JSON object."""
    cookie: dict[str, Any]
    """What Express keeps about the cookie."""
    created: int | None = None
    """Epoch ms; None where Express wrote the record."""
    owner: str | None = None
    auth: int | None = None
    overrides: dict[str, Any] = {}
    """The cookie attributes this session changed, by their names in the record."""
    write: int | None = None
    """The number generated for the write that made it."""
    extra: dict[str, Any] = {}
    """Members of the reserved part that this version does not know."""
    written_by_us: bool = True
    """Lifetime and data are exactly as Sojourn wrote them; False where another program wrote it, or wrote it anew with others."""


class _Own(Struct, forbid_unknown_fields=True, gc=False):
    """The reserved part, checked while it is decoded."""

    v: int
    created: int
    owner: str | None = None
    auth: int | None = None
    overrides: tuple[str, ...] = ()
    write: int | None = None
    sum: int | None = None


class _Head(Struct, gc=False):
    """What a record holds beside the data."""

    cookie: dict[str, Any]
    own: _Own | None = field(default=None, name=OWN_KEY)


_decode_head: Final = msgspec.json.Decoder(_Head).decode
_KNOWN: Final = frozenset(_Own.__struct_fields__)
_NO_EXTRA: Final[dict[str, Any]] = {}


def pack(record: Record) -> bytes:
    """A record as JSON text."""
    # Put together by hand, as most of it is numbers; a record is packed for every write.
    more = b""
    if record.owner is not None:
        more += b',"owner":' + dumps(record.owner)
    if record.auth is not None:
        more += b',"auth":%d' % record.auth
    if record.overrides:
        more += b',"overrides":' + dumps(list(record.overrides))
    for name, value in record.extra.items():
        more += b",%b:%b" % (dumps(name), dumps(value))
    body = record.body
    assert record.created is not None and record.write is not None
    return (
        b'{"cookie":%b,"%b":{"v":%d,"created":%d%b,"write":%d,"sum":%d}%b'
        % (
            dumps(record.cookie),
            _OWN_BYTES,
            _LAYOUT,
            record.created,
            more,
            record.write,
            _sum(record.cookie, body),  # write and sum are the last: `unpack` finds the end of the head by them
            b"}" if body == NO_DATA else b"," + body[1:],
        )
    )


def _sum(cookie: Mapping[str, Any], body: bytes) -> int:
    # Of the cookie the lifetime alone: Express writes a new `expires` whenever it saves, and other attributes are not read.
    return crc32(body, crc32(str(cookie.get("originalMaxAge")).encode(errors="replace")))


def unpack(text: bytes) -> tuple[Record, dict[str, Any]]:
    """Take a record apart: all but the data, and the data as JSON values.

    Raises:
        SessionDecodeError: not JSON, not an object, without its cookie part (contract 50), or of a newer layout.
    """
    # A record as we wrote it falls into head and data by one cut, which saves encoding the data anew to know their text.
    # Wherever the cut is: if the head is one and the sum is right, the data is what we wrote.
    if text.startswith(_HEAD):
        cut = text.find(b"}", text.find(_END_OF_HEAD)) + 1
        body = b"{" + text[cut + 1 :] if text.startswith(b",", cut) else NO_DATA
        try:
            text_of_head, extra = text[:cut] + b"}", _NO_EXTRA
            try:
                head = _decode_head(text_of_head)
            except msgspec.ValidationError:
                head, extra = _checked(loads(text_of_head))
            if (
                head.own is not None
                and head.own.sum == _sum(head.cookie, body)
                and (body != NO_DATA or text[cut:] == b"}")
            ):
                return _record(body, head, extra, written_by_us=True), loads(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, SessionDecodeError):
            pass  # the slow way says what is wrong, or reads it nevertheless
    return _unpack_slowly(text)


def _checked(tree: dict[str, Any]) -> tuple[_Head, dict[str, Any]]:
    """The head, and the members of the reserved part that this version does not know."""
    extra = _NO_EXTRA
    own = tree.get(OWN_KEY)
    if isinstance(own, dict):
        extra = {name: value for name, value in own.items() if name not in _KNOWN}
        tree = {**tree, OWN_KEY: {name: value for name, value in own.items() if name in _KNOWN}}
    return msgspec.convert(tree, _Head), extra


def _unpack_slowly(text: bytes) -> tuple[Record, dict[str, Any]]:
    """What others wrote, with their own spacing and order."""
    tree = loads(text)
    if not isinstance(tree, dict):
        raise SessionDecodeError("the record is not a JSON object")
    if not isinstance(tree.get(COOKIE_KEY), dict):
        raise SessionDecodeError("the record has no cookie part")
    parts = {key: tree.pop(key) for key in (COOKIE_KEY, OWN_KEY) if key in tree}
    try:
        head, extra = _checked(parts)
        return _record(dumps(tree), head, extra, written_by_us=False), tree
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter of lone surrogates in names
        raise SessionDecodeError(f"the record's reserved part is malformed: {error}") from None


def _record(body: bytes, head: _Head, extra: dict[str, Any], *, written_by_us: bool) -> Record:
    own, cookie = head.own, head.cookie
    if own is None:
        return Record(body, cookie, written_by_us=written_by_us)
    if own.v != _LAYOUT:
        raise SessionDecodeError(f"the record has layout {own.v}; this version of Sojourn reads {_LAYOUT}")
    overrides = {name: cookie[name] for name in own.overrides if name in cookie} if own.overrides else {}
    return Record(body, cookie, own.created, own.owner, own.auth, overrides, own.write, extra, written_by_us)
