"""Signing of session ids, in the two formats that exist on the wire.

- ``native``: ``<id>.<base64url HMAC-SHA256>``, which needs no percent-encoding for the ids we generate.
- ``express``: ``s:<id>.<base64 HMAC-SHA256 without padding>``, what the Node package cookie-signature writes (contract 30, 33).

The first secret signs, all verify (contract 34).
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, Literal, NamedTuple

from .cookies import encode_value

__all__ = ["Signer", "Verified"]

_BLOCK = 64  # SHA-256's block size, which RFC 2104 pads the key to
_IPAD = bytes(byte ^ 0x36 for byte in range(256))
_OPAD = bytes(byte ^ 0x5C for byte in range(256))
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_SIGNATURE_CHARS = 43  # 32 bytes in base64 without padding


class Verified(NamedTuple):
    """A session id whose signature is right."""

    id: str
    needs_resigning: bool
    """Signed by a secret other than the first: due to be signed anew (contract 35)."""

    def __repr__(self) -> str:
        return "<Verified>"  # debug pages and reports of errors show what a frame holds


def _keyed(secret: bytes) -> tuple[Any, Any]:
    """Makers of HMAC's inner and outer SHA-256, each fed with its pad: less than half the cost of `hmac.digest` for a short message."""
    padded = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
    return hashlib.sha256(padded.translate(_IPAD)).copy, hashlib.sha256(padded.translate(_OPAD)).copy


class Signer:
    """Signs with the first secret, verifies with all of them. Its repr shows none."""

    __slots__ = ("_alphabet", "_keys", "_marker")

    def __init__(self, secrets: Sequence[bytes], format: Literal["native", "express"] = "native") -> None:  # noqa: A002
        self._keys = tuple(map(_keyed, secrets))
        self._marker = b"s:" if format == "express" else b""
        self._alphabet = None if format == "express" else _URL_SAFE

    def sign(self, session_id: str) -> str:
        """The cookie value for an id, not yet percent-encoded."""
        message = session_id.encode("utf-8", "surrogatepass")
        return f"{self._marker.decode()}{session_id}.{self._signature(self._keys[0], message).decode()}"

    def token(self, session_id: str) -> str:
        """The id as it travels: signed, and percent-encoded where it needs that."""
        return encode_value(self.sign(session_id))

    def verify(self, value: bytes) -> Verified | None:
        """The id in a cookie value, or None where the marker, the signature or the text is wrong."""
        message, signature = self._split(value)
        if not signature:  # the cheap tests first: a flood of junk should not buy an HMAC each
            return None
        for key in self._keys:
            if compare_digest(self._signature(key, message), signature):
                try:
                    session_id = message.decode("utf-8", "surrogatepass")
                    # As Verified() does, which is a Python function around it.
                    return tuple.__new__(Verified, (session_id, key is not self._keys[0]))
                except UnicodeDecodeError:  # signed, but by a program that signs more than ids
                    return None
        return None

    def marks(self, purpose: bytes, text: str) -> list[str]:
        """What stands for a text and can be worked out from it alone, by each secret: an HMAC that no id has, as none begins so."""
        message = purpose + b"\0" + text.encode("utf-8", "surrogatepass")
        return [self._signature(secret, message).translate(_URL_SAFE).decode() for secret in self._keys]

    def is_in_form(self, value: bytes) -> bool:
        """Whether a value looks as if it were signed, by whatever secret."""
        return bool(self._split(value)[1])

    def _split(self, value: bytes) -> tuple[bytes, bytes]:
        """The id and its signature; two empty ones where the value has not the form."""
        message, _dot, signature = value.rpartition(b".")
        if len(signature) != _SIGNATURE_CHARS or not message.startswith(self._marker):
            return b"", b""
        message = message[len(self._marker) :]
        return (message, signature) if message else (b"", b"")

    def _signature(self, key: tuple[Any, Any], message: bytes) -> bytes:
        fresh_inner, fresh_outer = key
        inner, outer = fresh_inner(), fresh_outer()
        inner.update(message)
        outer.update(inner.digest())
        text = b2a_base64(outer.digest(), newline=False)[:_SIGNATURE_CHARS]
        return text if self._alphabet is None else text.translate(self._alphabet)
