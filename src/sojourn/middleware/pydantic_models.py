"""Pydantic's models, and what Pydantic makes one of."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

__all__ = ["PydanticAdapter"]


class PydanticAdapter:
    """For Pydantic's models; a dataclass or a TypedDict is validated as Pydantic does that."""

    unfit: tuple[type[Exception], ...] = (ValidationError, PydanticSerializationError, TypeError)

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def load(self, stored: Any) -> Any:
        return self._adapter.validate_json(to_json(stored))  # as JSON, so that strict models take a date's text too

    def dump(self, model: Any) -> Any:
        return self._adapter.dump_python(model, mode="json", by_alias=True, round_trip=True, warnings=False)

    def why(self, error: Exception) -> str:
        if isinstance(error, ValidationError):
            return ", ".join(
                f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors(include_input=False)
            )
        return type(error).__name__
