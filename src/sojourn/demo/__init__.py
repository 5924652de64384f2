"""The demo: a small shop on FastAPI and SQLite whose visitors have sessions. ``sojourn demo`` serves it."""

from __future__ import annotations

from .serve import serve

__all__ = ["serve"]
