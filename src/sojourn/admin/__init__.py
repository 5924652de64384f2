"""What an operator asks of a store: what the command line and the dashboard share. Nothing here prints."""

from __future__ import annotations

from .findings import Finding
from .names import Ambiguous, NotOneName
from .operator import Admin, AsyncAdmin
from .values import Bucket, Listing, Ping, Selection, Session, Shown, Stats

__all__ = [
    "Admin",
    "Ambiguous",
    "AsyncAdmin",
    "Bucket",
    "Finding",
    "Listing",
    "NotOneName",
    "Ping",
    "Selection",
    "Session",
    "Shown",
    "Stats",
]
