"""What became of each session, and the count of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Report", "Result"]


class Result(enum.Enum):
    """What became of a session; the names are those of `Report`'s fields."""

    COPIED = "copied"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    FAILED = "failed"
    REMOVED = "removed"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True)
class Report:
    """How many sessions. In a dry run, what would become of them.

    All but the last two count each session of the source once.
    """

    copied: int = 0
    """Created at the target."""
    updated: int = 0
    """Copied by an earlier run, used at the source since, and brought up to date."""
    unchanged: int = 0
    """Copied by an earlier run, and the same since."""
    skipped: int = 0
    """Left as the target has them: written there by others, or ended there."""
    expired: int = 0
    """Ended between being read and being written."""
    failed: int = 0
    """Not copied: unreadable, or refused by the target or its codec. The log names each."""
    removed: int = 0
    """Ended at the source since an earlier run copied them, and now at the target too (``remove_ended``)."""
    orphaned: int = 0
    """Ended at the source since an earlier run copied them, and live at the target."""

    @classmethod
    def of(cls, counts: Mapping[Result, int]) -> Report:
        """A report from how often each result was met."""
        return cls(**{result.value: count for result, count in counts.items()})

    @property
    def seen(self) -> int:
        """The sessions of the source that were dealt with."""
        return self.copied + self.updated + self.unchanged + self.skipped + self.expired + self.failed
