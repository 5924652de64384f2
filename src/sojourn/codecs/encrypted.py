"""The codec for records that the store must not be able to read: AES-256-GCM, keys and their ids.

A sealed record is the JSON string ``"sj1.<key id>.<base64url(nonce + ciphertext)>"``, so that it fits wherever JSON does.
The record's key in the store is the associated data: ciphertext copied to another session's key does not open.

**Limits.** Each seal generates a random 96-bit nonce. NIST SP 800-38D (section 8.3) allows 2^32 seals under one key that way;
at a hundred writes a second that is sixteen months, so rotate a busy site's key once a year.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import ConfigurationError, SessionDecodeError
from ..logs import warn_of_order
from .base import Codec, check_codec
from .tagged import JSONCodec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["EncryptedCodec", "KeyRing"]

Keys: TypeAlias = bytes | str | Iterable[bytes | str] | Mapping[str, bytes | str]

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_SCHEME: Final = b'"sj1'
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class KeyRing:
    """The keys that open records; the first of them seals.

    Args:
        keys: one key, a sequence of keys, or a mapping of key id to key. A key is 32 random bytes, as ``bytes`` or as
            base64url text (``secrets.token_urlsafe(32)`` makes one). An id names the key in what it sealed; unless given,
            it is derived from the key.

    Raises:
        ConfigurationError: no key, a malformed one, or two under one id.
        ImportError: the ``cryptography`` package is missing.
    """

    __slots__ = ("_ciphers", "_invalid", "_prefix", "_sealer")

    def __init__(self, keys: Keys) -> None:
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra: only encryption needs it
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        except ImportError as error:
            raise ImportError(
                'encrypted sessions need the cryptography package: pip install "sojourn[crypto]"'
            ) from error
        self._invalid = InvalidTag
        self._ciphers: dict[bytes, AESGCM] = {}
        warn_of_order("keys", keys, "seals")
        named = list(_named(keys))
        # The id stands in what is sealed: a key with two of them would open a record in which somebody exchanged these.
        if len(dict(named)) < len(named) or len({key for _, key in named}) < len(named):
            raise ConfigurationError("keys", "a key or an id twice", "give each key once")
        for name, key in named:
            self._ciphers[name] = AESGCM(key)
        if not self._ciphers:
            raise ConfigurationError("keys", "no key", "give at least one key of 32 bytes")
        first, self._sealer = next(iter(self._ciphers.items()))
        self._prefix = b"%b.%b." % (_SCHEME, first)

    def __repr__(self) -> str:
        return f"KeyRing({len(self._ciphers)} keys)"

    def seal(self, plain: bytes, key: str) -> bytes:
        """Encrypt a record for one key of the store."""
        nonce = os.urandom(_NONCE_BYTES)
        return b'%b%b"' % (self._prefix, _base64(nonce + self._sealer.encrypt(nonce, plain, key.encode())))

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the key that seals has sealed this, by what it says of itself."""
        return sealed.startswith(self._prefix)

    def open(self, sealed: bytes, key: str) -> bytes:
        """Decrypt what `seal` made for the same key of the store.

        Raises:
            SessionDecodeError: it is not a sealed record, was altered or cut, belongs to another key of the store, or was
                sealed by a key that is not on the ring.
        """
        scheme, _, rest = sealed.partition(b".")
        name, _, body = rest.partition(b".")
        if scheme != _SCHEME or not body.endswith(b'"'):
            raise SessionDecodeError("the record is not encrypted")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise SessionDecodeError("the record was encrypted with a key that is not configured")
        try:
            raw = _unbase64(body[:-1])
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], key.encode())
        except (self._invalid, ValueError):
            raise SessionDecodeError("the encrypted record was altered, cut or moved") from None


def _named(keys: Keys) -> Iterable[tuple[bytes, bytes]]:
    if isinstance(keys, Mapping):
        for name, key in keys.items():
            if not isinstance(name, str) or not _KEY_ID.fullmatch(name):
                raise ConfigurationError("keys", "a malformed key id", "use 1 to 32 of A-Z a-z 0-9 _ -")
            yield name.encode(), _key_bytes(key)
    else:
        single = isinstance(keys, bytes | bytearray | str) or not isinstance(keys, Iterable)
        for key in map(_key_bytes, [keys] if single else keys):
            # One way, and under a label of its own: the id says nothing about the key.
            yield hashlib.sha256(b"sojourn key id\0" + key).hexdigest()[:8].encode(), key


def _key_bytes(key: object) -> bytes:
    raw = bytes(key) if isinstance(key, bytes | bytearray) else b""
    if isinstance(key, str):
        with suppress(ValueError):
            raw = _unbase64(key.encode("ascii").translate(_URL_SAFE).removesuffix(b"="))
    if len(raw) != _KEY_BYTES:
        given = "a key of the wrong length or form"
        raise ConfigurationError("keys", given, "give 32 random bytes, or them as base64url text")
    return raw


def _base64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def _unbase64(text: bytes) -> bytes:
    """The bytes that `_base64` writes as this text, and as no other: decoders pass over the last character's unused bits.

    Raises:
        ValueError: there are none.
    """
    raw = a2b_base64(text.translate(_STANDARD) + b"=" * (-len(text) % 4))
    if _base64(raw) != text:
        raise ValueError("not base64url, or not in its one form")
    return raw


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class EncryptedCodec:
    """Another codec's records, encrypted with AES-256-GCM under the key they have in the store.

    Needs ``pip install "sojourn[crypto]"``. Somebody who reads the store learns sizes and times of sessions, not their
    content. Somebody who writes to it can delete a record or put back an older one of the same session, but not alter one, nor
    move it to another session.

    To rotate, put the new key first and keep the old ones until their last record has expired: the first key seals, all
    open. Give every process the new key, in second place, before the first process seals with it.

    Args:
        keys: one key, a sequence of keys, or a mapping of key id to key. A key is 32 random bytes, as ``bytes`` or as
            base64url text (``secrets.token_urlsafe(32)`` makes one).
        codec: how data become text before they are sealed; `JSONCodec` unless given.
        accept_plaintext: also read records that are not encrypted, while a site moves to encryption; each is sealed when it
            is next written. As long as it is on, anybody who writes to the store can plant a session.

    Raises:
        ConfigurationError: no key, a malformed one, or two under one id.
        ImportError: the ``cryptography`` package is missing.
    """

    name = "encrypted"

    def __init__(self, keys: Keys, *, codec: Codec | None = None, accept_plaintext: bool = False) -> None:
        self._ring = KeyRing(keys)
        self.beneath: Codec = JSONCodec() if codec is None else codec
        """The codec of the values."""
        check_codec("codec", self.beneath)
        self._accept_plaintext = accept_plaintext

    def __repr__(self) -> str:
        return f"EncryptedCodec({self._ring!r}, codec={self.beneath!r})"

    @property
    def reserved(self) -> frozenset[str]:
        """The names that the codec beneath reserves."""
        return frozenset(getattr(self.beneath, "reserved", ()))

    def encode(self, value: Any, /) -> bytes:
        """See `Codec.encode`."""
        return self.beneath.encode(value)

    def decode(self, text: bytes, /) -> Any:
        """See `Codec.decode`."""
        return self.beneath.decode(text)

    def is_newest(self, stored: bytes) -> bool:
        """Whether a record is sealed under the first of the keys, by what it says of itself: for ``sojourn rotate-keys``."""
        return self._ring.is_newest(stored)

    def seal(self, record: bytes, key: str, /) -> bytes:
        """Encrypt a record for one key of the store."""
        return self._ring.seal(self.beneath.seal(record, key), key)

    def unseal(self, stored: bytes, key: str, /) -> bytes:
        """Decrypt what `seal` made for the same key of the store.

        Raises:
            SessionDecodeError: it is not encrypted, was altered, cut or moved, or its key is not configured.
        """
        if self._accept_plaintext and stored.startswith(b"{"):
            return stored
        return self.beneath.unseal(self._ring.open(stored, key), key)
