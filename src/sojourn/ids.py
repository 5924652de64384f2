"""Session ids: drawing them, naming them in the store, and masking them for people."""

from __future__ import annotations

import hashlib
import secrets

__all__ = ["hash_id", "mask_id", "new_id"]

_ID_BYTES = 32  # 256 bits; OWASP asks for 64 bits of entropy at least
_MASK_DIGITS = 8


def new_id() -> str:
    """A new session id: 256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(_ID_BYTES)


def hash_id(session_id: str) -> str:
    """The id's name in the store: SHA-256 in hex, so that a leaked store opens nobody's session."""
    # surrogatepass: a hostile or custom id may hold anything that fits into a str
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def mask_id(session_id: str) -> str:
    """What logs and pages show of an id: the first digits of its hash, which also find its row where ids are hashed."""
    return hash_id(session_id)[:_MASK_DIGITS] + "…"
