"""What people do with a dict, and so with a session or a view of one: ``copy()`` and ``|`` work, and give a dict.

What cannot work, such as ``json.dumps(session)``, says what does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DictHabits"]


class DictHabits(Mapping[str, Any]):
    """A mapping that is no dict, and is often taken for one."""

    __slots__ = ()

    def __init_subclass__(cls, *, called: str | None = None) -> None:
        if called is not None:  # the name of the type is all that json, and others, can say in their error
            type.__setattr__(cls, "__name__", f"{cls.__qualname__} (write dict({called}))")

    def copy(self) -> dict[str, Any]:
        """The data as a dict: a new one, with the same values."""
        return dict(self)

    def __or__(self, other: object) -> dict[str, Any]:
        return {**self, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: object) -> dict[str, Any]:
        return {**other, **self} if isinstance(other, Mapping) else NotImplemented
