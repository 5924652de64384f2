"""Session ids: drawing them, naming them in the store, and masking them for people. And what may name a record or its owner."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Final

__all__ = [
    "LONGEST_KEY",
    "LONGEST_OWNER",
    "check_key",
    "check_owner",
    "check_text",
    "hash_id",
    "mask_id",
    "mask_key",
    "new_id",
    "refusal_by",
]

LONGEST_KEY: Final = 4096
"""Bytes of UTF-8 that a record's key may have."""
LONGEST_OWNER: Final = 2048
"""Bytes of UTF-8 that an owner may have: PostgreSQL's index on owners takes no more than some 2,700."""

_ID_BYTES = 32  # 256 bits; OWASP asks for 64 bits of entropy at least
_MASK_DIGITS = 8
_SURROGATES = re.compile("[\ud800-\udfff]")


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


def mask_key(key: str) -> str:
    """`mask_id` of the id whose hash is a key: what both show is the same."""
    return key[:_MASK_DIGITS] + "…"


def check_key(key: object) -> None:
    """Refuse what cannot be a record's key in every store.

    Raises:
        TypeError: it is not a non-empty str.
        ValueError: it is too long, or some store cannot hold it. Neither error shows it.
    """
    if type(key) is str and key.isascii() and 0 < len(key) <= LONGEST_KEY and "\0" not in key:
        return  # every key that we make
    _check("a key", key, LONGEST_KEY)


def check_owner(owner: object) -> None:
    """Refuse what cannot be an owner in every store.

    Raises:
        TypeError: it is not a non-empty str.
        ValueError: it is too long, or some store cannot hold it. Neither error shows it.
    """
    if type(owner) is str and owner.isascii() and 0 < len(owner) <= LONGEST_OWNER and "\0" not in owner:
        return
    _check("an owner", owner, LONGEST_OWNER)


def check_text(name: str, given: object) -> None:
    """Refuse what a record cannot hold as such an argument.

    Raises:
        TypeError: it is not a non-empty str.
        ValueError: it is as long as no owner may be, or some store cannot hold it. Neither error shows it.
    """
    _check(name, given, LONGEST_OWNER)


def refusal_by(check: Callable[[object], None], given: object) -> str | None:
    """Why stores refuse this key or owner; None where every store takes it."""
    try:
        check(given)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _check(what: str, given: object, longest: int) -> None:
    if not isinstance(given, str):
        raise TypeError(f"{what} must be a non-empty str, not {type(given).__qualname__}")
    if not given:
        raise TypeError(f"{what} must be a non-empty str, not an empty one")
    if "\0" in given:
        raise ValueError(f"{what} cannot contain U+0000, which PostgreSQL cannot hold")
    if _SURROGATES.search(given):
        raise ValueError(f"{what} cannot contain a lone surrogate, which has no UTF-8")
    size = len(given.encode())
    if size > longest:
        raise ValueError(f"{what} may have at most {longest} bytes of UTF-8, not {size}")
