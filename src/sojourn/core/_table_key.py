"""Enumerations that tables are keyed by."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

__all__ = ["TableKey"]


class TableKey(enum.Enum):
    """An enumeration with a quick hash: Enum's own is written in Python until 3.12, and tables are read at every request."""

    __hash__: Callable[[Any], int] = object.__hash__  # type: ignore[assignment]  # mypy sees it bound
