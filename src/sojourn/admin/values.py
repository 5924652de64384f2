"""What an operator is told, as values. Times are in UTC, sizes in bytes of what lies in the store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from ..core.store import Facts
from .findings import Finding

__all__ = ["Bucket", "Listing", "Ping", "Selection", "Session", "Shown", "Stats"]


class Session(Struct, frozen=True, kw_only=True):
    """A live session, without its data."""

    name: str
    """What it is shown as, and found by: its key, or where the key is the id, the id's mask."""
    owner: str | None = None
    size: int = 0
    created_at: datetime | None = None
    """None where Express wrote it, or it cannot be read."""
    authenticated_at: datetime | None = None
    last_seen_at: datetime | None = None
    """When it was used last, to within ``touch_after``. None where the absolute timeout caps its life, or the store cannot tell."""
    expires_at: datetime | None = None
    """When it ends unless it is used; None where the store cannot tell."""
    label: str | None = None
    user_agent: str | None = None
    address: str | None = None
    is_readable: bool = True
    """Whether the codec can read it. Of one that it cannot, only size and expiry are known."""


class Shown(Struct, frozen=True, kw_only=True):
    """A session with its data."""

    session: Session
    data: dict[str, Any]
    """The values, or where they are masked, what kind of value each is and how large."""
    is_masked: bool


class Selection(Struct, frozen=True, kw_only=True):
    """Which sessions: all that meet every condition given. Durations in milliseconds."""

    owner: str | None = None
    is_anonymous: bool = False
    """Only sessions that have no owner."""
    older_than: int | None = None
    """Began so long ago at least."""
    idle_for: int | None = None
    """Not used for so long at least."""
    larger_than: int | None = None
    prefix: str | None = None
    """What its name begins with."""


class Listing(Struct, frozen=True, kw_only=True):
    """Some sessions."""

    sessions: list[Session]
    next: str | None
    """What ``after`` takes for what follows; None: this was all. It can be shown: it has no id in it."""
    looked_at: int
    """Records that were read for it. Where few meet the conditions, the rest is left to the next call."""


class Bucket(Struct, frozen=True):
    """Sessions of about one age or size."""

    below: int | None
    """Milliseconds or bytes that none of them has; None for the last bucket."""
    count: int


class Stats(Struct, frozen=True, kw_only=True):
    """A store's sessions in numbers. All but ``live`` are of those that were looked at."""

    live: int
    looked_at: int
    is_sampled: bool
    """Not all were looked at, but the first of them in the store's own order, which is by chance where keys are."""
    owned: int
    owners: int
    """Different ones."""
    expiring_soon: int
    """Within the hour, unless they are used."""
    unreadable: int
    size: int
    by_age: list[Bucket]
    """Of those whose beginning is known."""
    by_size: list[Bucket]
    largest: list[Session]
    most_sessions: list[tuple[str, int]]
    """Owners, and how many sessions each has; those with the most first."""


class Ping(Struct, frozen=True, kw_only=True):
    """A store that has answered."""

    store: str
    read_ms: float
    """The quickest of three reads."""
    write_ms: float | None
    """What a record took to be written, changed and deleted; None where that was not tried."""
    skew_ms: int | None
    """How much the server's clock is ahead of this one; None where it has none of its own."""
    facts: Facts
    findings: list[Finding]
