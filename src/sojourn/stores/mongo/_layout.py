"""Where a session lies in its MongoDB document: the layouts as values, with the filters and updates they make.

A document has the fields of its layout, those of `MongoLayout.timestamps` and `last_modified`, ``owner``, and
``sojourn`` in the two states besides live: ``"replaced"``, a tombstone, which has no session but a ``successor``, the
key that the session moved to; or another text, a key that ``regenerate`` has reserved, which lives as soon as the
field is removed. All other fields are left as they are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bson import DatetimeMS, json_util
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from ...clock import DAY_MS, LONGEST_MS
from ...codecs.base import refusal
from ...codecs.text import loads
from ...core.store import Replaced, Seen, Stored, check_size, longest_lock
from ...errors import ConfigurationError, SessionDecodeError, SessionEncodeError, StoreUnavailable
from ...ids import mask_id
from ...logs import log
from .._arguments import as_key
from ._conversion import bson_to_json, json_to_bson

__all__ = [
    "LARGEST",
    "LOCKS",
    "OWNER",
    "SESSION",
    "STATE",
    "SUCCESSOR",
    "Document",
    "MongoLayout",
    "cursor_of",
    "id_in",
    "layout_of",
    "mark_of",
]

Document: TypeAlias = dict[str, Any]

SESSION: Final = "session"
OWNER: Final = "owner"
STATE: Final = "sojourn"
SUCCESSOR: Final = "successor"
TOMBSTONE: Final = "replaced"

LARGEST: Final = 7 * 1024 * 1024
"""Bytes of a session of which two, the old and the new, fit into the 16 MiB that a command may have."""

_CREATED: Final = "createdAt"
_UPDATED: Final = "updatedAt"
_MODIFIED: Final = "lastModified"
_OURS: Final = frozenset({SESSION, OWNER, STATE, SUCCESSOR, _CREATED, _UPDATED, _MODIFIED})
_NODE_TTL: Final = 14 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class MongoLayout:
    """How a session lies in its document. Made by `native`, `connect_mongo` or `connect_mongodb_session`."""

    name: str
    """What it is called in a URL."""
    id_field: str = "_id"
    """The field with the key."""
    expires_key: str = "expires"
    """The field with the date of expiry, which the TTL index is on."""
    stringify: bool = True
    """Whether ``session`` is JSON text, rather than a BSON document."""
    timestamps: bool = False
    """Whether ``createdAt`` and ``updatedAt`` are written, as with connect-mongo's ``timestamps``."""
    last_modified: bool = False
    """Whether ``lastModified`` is written, as with connect-mongo's ``touchAfter``."""
    shared: bool = True
    """Whether Express reads the collection too. Then there are no tombstones, and no index on the owner."""
    background: bool = False
    """Whether the TTL index has the option of that name, as connect-mongo's; MongoDB ignores it since 4.2."""
    default_ttl: int = _NODE_TTL
    """Milliseconds that a session without a lifetime of its own lasts."""

    def __post_init__(self) -> None:
        fields: tuple[object, object] = self.id_field, self.expires_key
        for option, field in zip(("id_field", "expires_key"), fields, strict=True):
            if not isinstance(field, str) or not field or field.startswith("$") or set(field) & set(".\0"):
                raise ConfigurationError(option, repr(field), "give a field's name, without dots and leading $")
            if field in _OURS or fields.count(field) > 1:
                raise ConfigurationError(option, repr(field), "give a field that has no other meaning here")

    @classmethod
    def native(cls) -> MongoLayout:
        """The layout of connect-mongo's default, with tombstones and owners; for collections that no Express app reads."""
        return cls(name="native", shared=False, default_ttl=DAY_MS)

    @classmethod
    def connect_mongo(
        cls, *, stringify: bool = True, timestamps: bool = False, last_modified: bool = False
    ) -> MongoLayout:
        """The layout of connect-mongo 6: with its ``stringify`` and ``timestamps``; ``last_modified`` for its ``touchAfter``."""
        return cls(
            name="connect-mongo" if stringify else "connect-mongo-bson",
            stringify=stringify,
            timestamps=timestamps,
            last_modified=last_modified,
            background=True,
        )

    @classmethod
    def connect_mongodb_session(cls, *, id_field: str = "_id", expires_key: str = "expires") -> MongoLayout:
        """The layout of connect-mongodb-session 5, with its ``idField`` and ``expiresKey``."""
        return cls(name="connect-mongodb-session", id_field=id_field, expires_key=expires_key, stringify=False)

    @property
    def indexes(self) -> dict[str, Document]:
        """The indexes that the collection needs: field and options."""
        # In connect-mongo's order: a server that heeds it would refuse that store the index it asks for.
        background = {"background": True} if self.background else {}
        indexes: dict[str, Document] = {self.expires_key: {**background, "expireAfterSeconds": 0}}
        if self.id_field != "_id":
            indexes[self.id_field] = {"unique": True}
        if not self.shared:
            indexes[OWNER] = {"sparse": True}
        return indexes

    @property
    def projection(self) -> Document:
        """The fields that `found` needs."""
        fields = {self.id_field: 1, SESSION: 1, self.expires_key: 1, STATE: 1}
        return fields if self.shared else {**fields, SUCCESSOR: 1}

    def encode(self, data: bytes, stored: Any = None) -> Any:
        """A record as the value of ``session``, which is also its version; ``stored`` is the one that it takes the place of.

        Raises:
            SessionEncodeError: the layout cannot hold it, or connect-mongo would take a part of it for its own.
            SessionTooLarge: in BSON it is too large, which has more bytes than JSON for many small values.
        """
        if self.last_modified and _MODIFIED.encode() in data:
            tree = loads(data)
            if isinstance(tree, dict) and _MODIFIED in tree:
                raise refusal((_MODIFIED,), "connect-mongo's touchAfter puts a date of its own there; use another name")
        if not self.stringify:
            document = json_to_bson(data, stored)
            check_size(bytes(document.raw), LARGEST)
            return document
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise SessionEncodeError("", "this store keeps JSON text, and the record is not UTF-8") from None

    def decode(self, session: Any) -> bytes:
        """The record in the value of ``session``.

        Raises:
            SessionDecodeError: it is not of this layout, or holds what has no place in JSON.
        """
        if isinstance(session, str) and self.stringify:
            return session.encode()
        if isinstance(session, RawBSONDocument) and not self.stringify:
            return bson_to_json(session)
        raise SessionDecodeError(f"not of the layout {self.name!r}: its session is a {type(session).__name__}")

    def found(self, key: str, document: Document, now: int) -> Stored | Replaced | None:
        """What ``load`` returns for an unexpired document; None if its key is only reserved.

        A session that cannot be read is logged, and returned as empty data, which is no record either.

        Raises:
            StoreUnavailable: the document is another key's.
        """
        data, version, expires = b"", None, None
        try:
            found = document.get(self.id_field)
            if found != key:
                if isinstance(found, str):
                    raise StoreUnavailable("MongoDB: the document found has another key than the one asked for")
                return None  # a list, in which it is
            if STATE in document:
                return Replaced(as_key(document.get(SUCCESSOR))) if document[STATE] == TOMBSTONE else None
            version, expires = document.get(SESSION), document.get(self.expires_key)
            data = self.decode(version)
        except (BSONError, SessionDecodeError) as error:
            # what the driver says may quote names of the visitor's
            reason = (
                error if isinstance(error, SessionDecodeError) else f"it is not valid BSON ({type(error).__name__})"
            )
            log.warning("a stored session (%s) cannot be read: %s", mask_id(key), reason)  # the error is the caller's
        left = min(int(expires) - now, LONGEST_MS) if isinstance(expires, DatetimeMS) else None
        return Stored(data, version, left)

    def seen(self, document: Document, now: int) -> Seen | Replaced | None:
        """What ``look`` tells of an unexpired document; None if its key is only reserved. It is not decoded."""
        try:
            if STATE in document:
                return Replaced(as_key(document.get(SUCCESSOR))) if document[STATE] == TOMBSTONE else None
            mark, expires = mark_of(document.get(SESSION)), document.get(self.expires_key)
        except BSONError:  # pragma: no cover - a value that another program wrote, and no test of ours can
            return Seen(None, None)
        return Seen(mark, min(int(expires) - now, LONGEST_MS) if isinstance(expires, DatetimeMS) else None)

    def key_of(self, document: Document) -> str | None:
        """The document's key; None where it is no text, and so nobody's."""
        try:
            key = document.get(self.id_field)
        except BSONError:
            return None
        return key if isinstance(key, str) else None

    def tombstones(self, keys: list[str], now: int) -> Document:
        """Those of the keys that are tombstones."""
        return {self.id_field: {"$in": keys}, **self.unexpired(now), STATE: TOMBSTONE}

    def tombstone(self, key: str, successor: str) -> Document:
        """The key, if it is a tombstone with this successor."""
        return self.at(key, {STATE: TOMBSTONE, SUCCESSOR: successor})

    def at(self, key: str, condition: Document) -> Document:
        """The filter for one key's document where a condition holds as well."""
        return {self.id_field: key, **condition}

    def unexpired(self, now: int) -> Document:
        """Documents whose time is not up. One without an expiry never ends, as for both Node stores."""
        return {self.expires_key: {"$not": {"$lte": DatetimeMS(now)}}}

    def expired(self, now: int) -> Document:
        """Documents whose time is up, in whatever state."""
        return {self.expires_key: {"$lte": DatetimeMS(now)}}

    def lapsed(self, now: int) -> Document:
        """Sessions whose time is up."""
        return {**self.expired(now), STATE: {"$exists": False}}

    def free(self, now: int, ttl: int) -> Document:
        """Locks whose time is up, or that were taken before the clock was set back."""
        early = {self.expires_key: {"$gt": DatetimeMS(now + longest_lock(ttl))}}
        return {"$or": [self.expired(now), early]}

    def live(self, now: int) -> Document:
        """Sessions."""
        return {**self.unexpired(now), STATE: {"$exists": False}}

    def standing(self, now: int) -> Document:
        """Sessions, and keys that are reserved for one: all that a caller which ends sessions must not overlook."""
        return {**self.unexpired(now), STATE: {"$ne": TOMBSTONE}}

    def reserved(self, key: str, token: str, now: int) -> Document:
        """The key, if it is reserved with this token."""
        return self.at(key, {**self.unexpired(now), STATE: token})

    def left(self, key: str, session: Any, now: int) -> Document:
        """The key, if it is reserved for this session, with whatever token."""
        state = {"$exists": True, "$ne": TOMBSTONE}
        return self.at(key, {**self.unexpired(now), STATE: state, SESSION: {"$eq": session}})

    def unchanged(self, key: str, version: Any, now: int) -> Document:
        """The key's session, if it is still this version."""
        return self.at(key, {**self.live(now), SESSION: {"$eq": version}})

    def to_insert(self, session: Any, now: int, ttl: int, owner: str | None, token: str | None = None) -> Document:
        """The update that makes a new session of nothing, or of an expired document; reserved, if there is a token."""
        fields = {SESSION: session, OWNER: owner, STATE: token, _CREATED: DatetimeMS(now) if self.timestamps else None}
        if not self.shared:
            fields[SUCCESSOR] = None
        return self._update(fields, now, ttl)

    def to_replace(self, session: Any, now: int, ttl: int, owner: str | None) -> Document:
        """The update that overwrites a session."""
        return self._update({SESSION: session, OWNER: owner}, now, ttl)

    def to_own(self, owner: str | None) -> Document:
        """The update that sets a session's owner alone."""
        return {"$unset": {OWNER: ""}} if owner is None else {"$set": {OWNER: owner}}

    def to_touch(self, now: int, ttl: int) -> Document:
        """The update that moves a session's expiry."""
        return self._update({}, now, ttl)

    def to_release(self, now: int, ttl: int) -> Document:
        """The update that makes a session of a reserved key."""
        return self._update({STATE: None}, now, ttl)

    def to_tombstone(self, now: int, ttl: int, successor: str) -> Document:
        """The update that makes a tombstone of a session."""
        gone = dict.fromkeys((SESSION, OWNER, _CREATED, _UPDATED, _MODIFIED))
        return _sparse({**gone, STATE: TOMBSTONE, SUCCESSOR: successor, self.expires_key: DatetimeMS(now + ttl)})

    def _update(self, fields: Document, now: int, ttl: int) -> Document:
        fields[self.expires_key] = DatetimeMS(now + ttl)
        if self.last_modified:
            fields[_MODIFIED] = DatetimeMS(now)
        if self.timestamps:
            fields[_UPDATED] = DatetimeMS(now)
        return _sparse(fields)


def mark_of(version: Any) -> bytes:
    """What is another for another session: the server has nothing shorter to tell it by."""
    given = bytes(version.raw) if isinstance(version, RawBSONDocument) else repr(version).encode()
    return hashlib.sha256(given).digest()


def _sparse(fields: Document) -> Document:
    """The update that sets fields, and removes those that are None."""
    absent = {name: "" for name, value in fields.items() if value is None}
    update: Document = {"$set": {name: value for name, value in fields.items() if value is not None}}
    return update | {"$unset": absent} if absent else update


LOCKS: Final = MongoLayout(name="locks")
"""How locks lie in a collection of theirs: as sessions that are the token of the holder."""

_LAYOUTS: Final[dict[str, MongoLayout]] = {
    layout.name: layout
    for layout in (
        MongoLayout.native(),
        MongoLayout.connect_mongo(),
        MongoLayout.connect_mongo(stringify=False),
        MongoLayout.connect_mongodb_session(),
    )
}


def cursor_of(document_id: Any) -> str:
    """A document's ``_id`` as text, of whatever type."""
    return json_util.dumps({"_id": document_id})


def id_in(cursor: str) -> Any:
    """The ``_id`` in such a text.

    Raises:
        ValueError: it is none.
    """
    try:
        return json_util.loads(cursor)["_id"]
    except (KeyError, TypeError, BSONError):
        raise ValueError("no cursor of MongoDB's") from None


def layout_of(given: object) -> MongoLayout:
    """A layout, or the one of that name.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(given, MongoLayout):
        return given
    if isinstance(given, str) and given in _LAYOUTS:
        return _LAYOUTS[given]
    raise ConfigurationError("layout", repr(given), f"give a MongoLayout, or one of {', '.join(_LAYOUTS)}")
