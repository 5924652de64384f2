"""What a commit comes to, as values: at most one write and at most one header."""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

from msgspec import Struct

from .record import Record

__all__ = ["Create", "Delete", "Ending", "Header", "Phase", "Plan", "Regenerate", "Replace", "Touch", "Write"]


class Create(Struct, frozen=True):
    """Insert a record under a new key."""

    key: str
    data: bytes
    ttl: int
    owner: str | None


class Replace(Struct, frozen=True):
    """Overwrite a record if it is still the one that was loaded."""

    key: str
    data: bytes
    ttl: int
    version: Any
    owner: str | None


class Regenerate(Struct, frozen=True):
    """Move a session to a new key."""

    old: str
    new: str
    data: bytes
    ttl: int
    version: Any
    tombstone: int
    owner: str | None


class Touch(Struct, frozen=True):
    """Set the expiry anew."""

    key: str
    ttl: int


class Delete(Struct, frozen=True):
    """End a session."""

    key: str


Header: TypeAlias = tuple[str, str]
"""The name and value of a response header."""
Write: TypeAlias = Create | Replace | Regenerate | Touch | Delete


class Ending(enum.Enum):
    """What a request did to its session: the first of these that applies."""

    DESTROYED = enum.auto()
    DROPPED = enum.auto()  # set to None with unset="keep" (contract 161), or ended elsewhere
    REGENERATED = enum.auto()
    EMPTIED = enum.auto()  # regenerated, and the new session has nothing worth saving
    CHANGED = enum.auto()
    RESAVED = enum.auto()  # unchanged, but configured to be saved: resave, save_uninitialized
    TOUCHED = enum.auto()  # unchanged, and a touch is asked for or due
    UNCHANGED = enum.auto()

    __hash__ = object.__hash__  # Enum's own is written in Python until 3.12, and tables are asked on every request


class Phase(enum.Enum):
    """When a session is committed."""

    RESPONSE = enum.auto()
    """The headers are about to leave."""
    LATE = enum.auto()
    """They have left; the app is done, or calls ``save()``."""
    FAILED = enum.auto()
    """The handler raised and nothing was sent: nothing is saved, but a destroy is carried out."""

    __hash__ = object.__hash__  # see `Ending`


class Plan(Struct, frozen=True):
    """What to do with a session."""

    ending: Ending = Ending.UNCHANGED
    write: Write | None = None
    header: Header | None = None
    """What tells the client its id, or that it has none any more: ``Set-Cookie``, or a header transport's own."""
    vary: bool = False
    """The session was looked at: the response depends on what brought its id (contract 101)."""
    record: Record | None = None
    """What the write holds, taken apart."""
    at: int = 0
    """When it was made, epoch ms: what expiry, cookie and record count from."""
