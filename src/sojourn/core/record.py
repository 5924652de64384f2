"""The record: one layout everywhere, Express's own, so that a row means the same in both worlds.

Theory of operation
-------------------
A record is a JSON object: first the key ``cookie`` with what Express keeps there, then our reserved key ``__sojourn__``, then the
data. A record without the reserved key was written by Express and is complete.

``__sojourn__`` holds ``v`` (the layout's version), ``created`` (epoch ms), ``lifetime`` (the cookie's ``originalMaxAge`` as Sojourn wrote
it: where the cookie says another by now, Express changed it), ``write`` (a number generated for each write, by which a writer that lost
the reply recognizes its own), and where they apply ``overrides`` (the cookie attributes this session changed; all others come from the
configuration) and what `Login` has: ``owner``, ``auth`` (epoch ms of the login) and so on. Members that this version does not know are carried over, so that in a
rolling deployment an older process erases nothing. Older versions wrote ``sum`` in the place of ``lifetime``, a CRC-32 of that and of the
data's text; it is understood, and nothing needs it any more to know whether data changed, as the text of each value is at hand.

A store sees a record as bytes; nothing but `pack` makes them and nothing but `unpack` takes them apart. `unpack` decodes the reserved key
and none of the data: these stay text, value by value, until somebody asks for one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Final, TypeAlias
from zlib import crc32

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, to_builtins

from ..clock import LATEST_MS
from ..codecs import Members, dumps, join, loads, split
from ..errors import SessionDecodeError
from ..ids import check_owner
from .session_cookie import read_overrides

__all__ = ["COOKIE_KEY", "NOBODY", "NO_DATA", "OWN_KEY", "Login", "Record", "lifetime_prefix", "pack", "unpack"]

COOKIE_KEY: Final = "cookie"
OWN_KEY: Final = "__sojourn__"
_LAYOUT: Final = 1
NO_DATA: Final[Members] = {}
"""The data of a session that has none. Never changed."""
_LIFETIME: Final = "originalMaxAge"


class Login(Struct, frozen=True, gc=False):
    """What a login leaves in a session."""

    owner: str | None = None
    at: int | None = None
    """Epoch ms."""
    device: dict[str, str] | None = None
    """What the application said of the device; see `devices`."""
    confirmed: int | UnsetType | None = UNSET
    """When the owner last gave the password, epoch ms; UNSET: at the login; None: not since a login that was to be remembered."""
    stamp: str | None = None
    """An HMAC of what the login is bound to."""
    sid: str | None = None
    """The OpenID provider's id of its own session."""
    pending: tuple[str, int] | None = None
    """Who has given a password, but no second factor yet, and until when that counts, epoch ms."""


NOBODY: Final = Login()


class Record(Struct, gc=False):
    """A record taken apart."""

    data: Members
    """The data, each value as JSON text. Never changed."""
    cookie: bytes
    """What Express keeps about the cookie, as JSON text."""
    created: int | None = None
    """Epoch ms; None where Express wrote the record."""
    login: Login = NOBODY
    overrides: dict[str, Any] = {}
    """The cookie attributes this session changed, by their names in the record."""
    write: int | None = None
    """The number generated for the write that made it."""
    lifetime: int | UnsetType | None = UNSET
    """The cookie's ``originalMaxAge`` as Sojourn wrote it; UNSET where it did not."""
    extra: dict[str, Any] = {}
    """Members of the reserved part that this version does not know."""

    @property
    def owner(self) -> str | None:
        """Who logged in."""
        return self.login.owner

    def foreign_lifetime(self) -> object:
        """The cookie's ``originalMaxAge`` where another program wrote it; UNSET where Sojourn did.

        Raises:
            SessionDecodeError: the cookie cannot be decoded.
        """
        ours = self.lifetime
        if ours is not UNSET and self.cookie.startswith(_lifetime_text(ours)):
            return UNSET
        lifetime = loads(self.cookie).get(_LIFETIME)
        return UNSET if lifetime == ours and type(lifetime) is type(ours) else lifetime


_Moment: TypeAlias = Annotated[int, Meta(ge=0, le=LATEST_MS)]
"""Epoch ms, within what datetime holds."""


class _Own(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The reserved part: its members in the order in which they are written, and checked while they are decoded."""

    v: int
    created: _Moment
    owner: str | None = None
    auth: _Moment | None = None
    overrides: tuple[str, ...] = ()
    lifetime: int | UnsetType | None = UNSET
    write: int | None = None
    sum: int | None = None
    device: dict[str, str] | None = None
    confirmed: _Moment | UnsetType | None = UNSET
    stamp: str | None = None
    sid: str | None = None
    pending: tuple[str, _Moment] | None = None


_decode_own: Final = msgspec.json.Decoder(_Own).decode
_KNOWN: Final = frozenset(_Own.__struct_fields__)
_NO_OVERRIDES: Final[dict[str, Any]] = {}
_NO_EXTRA: Final[dict[str, Any]] = {}


def pack(record: Record) -> bytes:
    """A record as JSON text."""
    assert record.created is not None and record.write is not None
    login = record.login
    names = tuple(record.overrides)
    own: Any
    if login is NOBODY:
        own = _Own(_LAYOUT, record.created, None, None, names, record.lifetime, record.write)
    else:
        own = _Own(
            _LAYOUT,
            record.created,
            login.owner,
            login.at,
            names,
            record.lifetime,
            record.write,
            device=login.device,
            confirmed=login.confirmed,
            stamp=login.stamp,
            sid=login.sid,
            pending=login.pending,
        )
    if record.extra:
        own = {**to_builtins(own), **record.extra}
    return join({COOKIE_KEY: Raw(record.cookie), OWN_KEY: own, **record.data})


def unpack(text: bytes) -> Record:
    """Take a record apart.

    Raises:
        SessionDecodeError: not JSON, not an object, without its cookie part (contract 50), of a newer layout, or with what could not be
            there, such as an attribute that no cookie can have.
    """
    data = split(text)
    cookie = bytes(data.pop(COOKIE_KEY, b""))
    if not cookie.startswith(b"{"):
        raise SessionDecodeError("the record has no cookie part")
    reserved = data.pop(OWN_KEY, None)
    if reserved is None:
        return Record(data, cookie)
    extra = _NO_EXTRA
    try:
        own = _decode_own(reserved)
    except msgspec.MsgspecError:
        own, extra = _checked(loads(bytes(reserved)))
    if own.v != _LAYOUT:
        raise SessionDecodeError(f"the record has layout {own.v}; this version of Sojourn reads {_LAYOUT}")
    login = NOBODY if own.owner is None and own.pending is None else _login(own)
    overrides = _NO_OVERRIDES
    if own.overrides:
        overrides = read_overrides(own.overrides, loads(cookie))
    # Where there is a sum, an older version wrote last: what it carried over as a `lifetime` is of an earlier write.
    lifetime = own.lifetime if own.sum is None else _summed_lifetime(own.sum, cookie, data)
    return Record(data, cookie, own.created, login, overrides, own.write, lifetime, extra)


def _login(own: _Own) -> Login:
    for owner in (own.owner, None if own.pending is None else own.pending[0]):
        if owner is not None:
            try:
                check_owner(owner)
            except (TypeError, ValueError) as error:  # planted, or older than the limits: no store would take it again
                raise SessionDecodeError(f"the record's owner is none: {error}") from None
    return Login(own.owner, own.auth, own.device, own.confirmed, own.stamp, own.sid, own.pending)


def _checked(tree: Any) -> tuple[_Own, dict[str, Any]]:
    """The reserved part, and the members of it that this version does not know."""
    try:
        if not isinstance(tree, dict):
            return msgspec.convert(tree, _Own), _NO_EXTRA
        known = {name: value for name, value in tree.items() if name in _KNOWN}
        own = msgspec.convert(known, _Own)
        msgspec.json.encode(own)  # what could not be written again, such as a lone surrogate in a text
        return own, {name: value for name, value in tree.items() if name not in _KNOWN}
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter of lone surrogates
        raise SessionDecodeError(f"the record's reserved part is malformed: {error}") from None


def _summed_lifetime(total: int, cookie: bytes, data: Members) -> int | UnsetType | None:
    """The cookie's lifetime where an older version wrote it, and nobody changed it or the data since; else UNSET."""
    lifetime: int | None = loads(cookie).get(_LIFETIME)
    is_ours = total == crc32(join(data), crc32(str(lifetime).encode(errors="replace")))
    return lifetime if is_ours else UNSET


def lifetime_prefix(original_max_age: int | None) -> bytes:
    """How every record begins whose ``originalMaxAge`` is this: it tells a session's lifetime without decoding it."""
    return b'{"cookie":' + _lifetime_text(original_max_age)


@lru_cache(maxsize=64)
def _lifetime_text(original_max_age: int | None) -> bytes:
    return b'{"originalMaxAge":%b,' % dumps(original_max_age)
