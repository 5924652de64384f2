"""The arguments of a MongoDB store, checked; and what it logs about indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...clock import Clock
from ...errors import ConfigurationError
from ...logs import warn_once
from .._url import check_clock, check_flag
from ._layout import LARGEST, MongoLayout, layout_of

__all__ = ["Settings", "has_index", "is_indexed", "warn_of_index"]


class Settings(NamedTuple):
    """The arguments of a store beside its client."""

    database: str | None
    collection: str
    layout: MongoLayout
    create_index: bool
    max_size: int
    clock: Clock

    @classmethod
    def check(
        cls, database: object, collection: object, layout: object, create_index: object, max_size: object, clock: Clock
    ) -> Settings:
        """Accept the arguments.

        Raises:
            ConfigurationError: one is not valid; the error names it.
        """
        if not isinstance(database, str | None) or database == "":
            raise ConfigurationError("database", repr(database), "give a name, or None for the client's default")
        if not isinstance(collection, str) or not collection:
            raise ConfigurationError("collection", repr(collection), "give a name")
        if not isinstance(max_size, int) or isinstance(max_size, bool) or not 1 <= max_size <= LARGEST:
            raise ConfigurationError("max_size", repr(max_size), f"give a whole number from 1 to {LARGEST}")
        return cls(
            database,
            collection,
            layout_of(layout),
            check_flag("create_index", create_index),
            max_size,
            check_clock(clock),
        )

    @property
    def locks(self) -> str:
        """The collection of locks."""
        return f"{self.collection}_locks"

    @property
    def to_index(self) -> frozenset[str]:
        """The collections whose indexes are to be created."""
        return frozenset({self.collection, self.locks} if self.create_index else ())


def is_indexed(existing: Mapping[str, Any], field: str, options: Mapping[str, Any]) -> bool:
    """Whether there is an index on the field already. If it does less than ours, it is left, with a warning."""
    for name, index in existing.items():
        if list(index["key"]) == [(field, 1)]:
            lacking = {
                option: value
                for option, value in options.items()
                if option != "background" and index.get(option) != value
            }
            if lacking:
                warn_of_index(field, f"the index {name!r} is there without {lacking}")
            return True
    return False


def has_index(existing: Mapping[str, Any], field: str, options: Mapping[str, Any]) -> bool:
    """Whether there is an index on the field that does what ours would."""
    return any(
        list(index["key"]) == [(field, 1)]
        and all(
            index.get(option) == value for option, value in options.items() if option not in {"background", "sparse"}
        )
        for index in existing.values()
    )


def warn_of_index(field: str, reason: str) -> None:
    """Log, once, that an index is not as it should be."""
    warn_once(
        f"mongo index {field}",
        "MongoDB's index on %r is not as the sessions need it: %s. Expired sessions are never seen, "
        "but may not be removed, or searches may be slow; see the documentation of the MongoDB store",
        field,
        reason,
    )
