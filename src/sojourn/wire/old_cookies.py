"""The ids in the cookie of the session library that an application had before. No I/O."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from typing import Final

from ..transports import OldCookieTransport
from .signing import Verified

__all__ = ["old_id", "old_name"]

_ID: Final = re.compile(rb"[A-Za-z0-9_-]{16,128}")
"""What Flask-Session, starsessions, aiohttp-session and Litestar generate: `secrets.token_urlsafe`, `secrets.token_hex` or a UUID; and Django: 32 letters and digits."""
_SALT: Final = b"flask-session"


def old_id(transport: OldCookieTransport, value: bytes) -> Verified | None:
    """The session's id, in whose name the library stands before the library's own: so none of ours can come this way."""
    given = value if transport.secret is None else _unsigned(value, transport.secret)
    if given is None or not _ID.fullmatch(given):
        return None
    return Verified(old_name(transport.library, given.decode()), needs_resigning=False)


def old_name(library: str, session_id: str) -> str:
    """What a session of a library's is called here, which ``sojourn migrate`` makes the same.

    Litestar's by the BLAKE2s of its id: its stores in files have nothing else.
    """
    name = hashlib.blake2s(session_id.encode()).hexdigest() if library == "litestar" else session_id
    return f"{library}:{name}"


def _unsigned(value: bytes, secret: str | bytes) -> bytes | None:
    """What Flask-Session signed with ``SESSION_USE_SIGNER``, by itsdangerous; None where the signature is wrong."""
    given, _dot, signature = value.rpartition(b".")
    key = hmac.digest(secret.encode() if isinstance(secret, str) else secret, _SALT, hashlib.sha1)
    right = urlsafe_b64encode(hmac.digest(key, given, hashlib.sha1)).rstrip(b"=")
    return given if hmac.compare_digest(signature, right) else None
