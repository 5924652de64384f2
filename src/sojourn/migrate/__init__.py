"""Live sessions from one store to another: ``sojourn migrate``, and the function behind it."""

from __future__ import annotations

from .report import Report
from .run import migrate

__all__ = ["Report", "migrate"]
