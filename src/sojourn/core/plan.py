"""What a commit comes to, as values: the keys that end, at most one write, and at most one header."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, final

from ..wire.headers import Header
from ._shown import Shown
from ._table_key import TableKey
from .record import Record

__all__ = ["NEEDS_COOKIE", "Create", "Phase", "Plan", "Regenerate", "Replace", "Touch", "Write"]


@final
class Create(Shown, frozen=True, gc=False):
    """Insert a record under a new key."""

    key: str
    data: bytes
    ttl: int
    owner: str | None


@final
class Replace(Shown, frozen=True, gc=False):
    """Overwrite a record if it is still the one that was loaded."""

    key: str
    data: bytes
    ttl: int
    version: Any
    owner: str | None


@final
class Regenerate(Shown, frozen=True, gc=False):
    """Move a session to a new key."""

    old: str
    new: str
    data: bytes
    ttl: int
    version: Any
    tombstone: int
    owner: str | None


@final
class Touch(Shown, frozen=True, gc=False):
    """Set the expiry anew."""

    key: str
    ttl: int


Write: TypeAlias = Create | Replace | Regenerate | Touch

NEEDS_COOKIE: Final = (Create, Regenerate)
"""What is of no use unless the client learns the id."""


class Phase(TableKey):
    """When a session is committed."""

    RESPONSE = enum.auto()
    """The headers are about to leave."""
    LATE = enum.auto()
    """They have left; the app is done, or calls ``save()``."""
    FAILED = enum.auto()
    """The handler raised and nothing was sent: nothing is saved, but what was to end ends."""


class Plan(Shown, frozen=True, gc=False):
    """What to do with a session."""

    write: Write | None = None
    ends: tuple[str, ...] = ()
    """The keys that end with it, deleted before the write."""
    header: Header | None = None
    """What tells the client its id, or that it has none any more: ``Set-Cookie``, or a header transport's own."""
    vary: bool = False
    """The session was looked at: the response depends on what brought its id (contract 101)."""
    changed: bool = False
    """The write stores a change, rather than the same once more (``resave``, ``save_uninitialized``)."""
    record: Record | None = None
    """What the write holds, taken apart."""
    expires: bool = False
    """The header expires what the client has."""
    at: int = 0
    """When it was made, epoch ms: what expiry, cookie and record count from."""
    asked: int = 0
    """`State.asked` when it was made."""
    increments: Mapping[str, float] | None = None
    """`State.increments` when it was made."""
    clears: str | None = None
    """What of the site's data the browser is to forget: the value of ``Clear-Site-Data``, which goes with the header."""
    invalidates: bool = False
    """What the write regenerates has ended, and what goes on under the new id is another session."""

    @property
    def needs_store(self) -> bool:
        """Whether there is anything to carry out."""
        return self.write is not None or bool(self.ends)
