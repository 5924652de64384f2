"""What Litestar's own sessions can hold, as values of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec

__all__ = ["fields_of", "plain"]

_KEPT: Final = (bytes, datetime, date, time, timedelta, Decimal, UUID)
"""What our codec holds itself, beyond JSON."""


def fields_of(value: object, serializer: Callable[[Any], Any]) -> dict[str, Any] | None:
    """The data that ``set_session()`` was given: a dict, or a model's fields. None if it is neither.

    Args:
        value: what was given.
        serializer: see `plain`.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if value is None or isinstance(value, Enum | type):
        return None
    dump = getattr(value, "model_dump", None)  # Pydantic's
    try:
        fields = dump() if callable(dump) else plain(value, serializer)
    except (TypeError, ValueError):
        return None
    return fields if isinstance(fields, dict) else None


def plain(value: object, serializer: Callable[[Any], Any]) -> Any:
    """A Struct, a dataclass, an enum's member and the like as what they consist of.

    Args:
        value: the value.
        serializer: called with what is something else.

    Raises:
        TypeError: it has no such form.
    """
    return msgspec.to_builtins(value, builtin_types=_KEPT, str_keys=True, enc_hook=serializer)
