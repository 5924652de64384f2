"""The SQLite store: sessions in one file."""

from __future__ import annotations

from .store import AsyncSQLiteStore, SQLiteStore

__all__ = ["AsyncSQLiteStore", "SQLiteStore"]
