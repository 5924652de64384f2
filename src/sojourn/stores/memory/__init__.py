"""The memory store: sessions in this process."""

from __future__ import annotations

from .store import AsyncMemoryStore, MemoryStore

__all__ = ["AsyncMemoryStore", "MemoryStore"]
