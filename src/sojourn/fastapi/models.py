"""A part of the session as a model: ``cart: Annotated[Cart, SessionData()]``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi import Depends, params
from pydantic import PydanticUserError
from starlette.requests import HTTPConnection

from ..middleware.models import Adapter, Model, MsgspecAdapter
from ..middleware.pydantic_models import PydanticAdapter
from ..starlette import load_session

__all__ = ["SessionData", "session_model"]


def SessionData(key: str | None = None, *, strict: bool = False) -> Any:  # noqa: N802 - it stands where Depends() does
    """A part of the session as a model, for an annotation: ``cart: Annotated[Cart, ...]``.

    The model is a Pydantic model, a dataclass, a msgspec Struct or a TypedDict, whose fields all have defaults. It is validated when it is
    loaded. Fields that were changed, also deep within, are saved with the session, and merged with what parallel requests change. If
    the handler raises, they are not. A field that is stored and unknown to the model stays.

    Args:
        key: the session's key that the model is stored under. By default the name of its class.
        strict: a stored value that no longer fits the model is a `SessionDecodeError`. Otherwise the model begins anew, with a warning in the log.

    Raises:
        ConfigurationError: when FastAPI reads the annotation: the type is no such model.
    """

    class ModelDepends(params.Depends):
        # FastAPI gives a dependency that is none yet the annotated type: older versions set it on a copy, newer ones make
        # another object, with the fields that they have.
        def __init__(self, dependency: Any = None, **rest: Any) -> None:
            super().__init__(None, **rest)
            self.__setattr__("dependency", dependency)

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "dependency" and value is not None:
                value = _loader(value, key, strict=strict)
            object.__setattr__(self, name, value)

    return ModelDepends()


def session_model(model: Any, key: str | None = None, *, strict: bool = False) -> Any:
    """`SessionData` as an ordinary dependency of FastAPI, which is given the model."""
    return Depends(_loader(model, key, strict=strict))


def _loader(kind: Any, key: str | None, *, strict: bool) -> Any:
    """The dependency: the model, whose changes are saved with the session unless the handler raises."""
    model = Model("SessionData", kind, _adapter(kind), key, strict=strict)

    async def load(connection: HTTPConnection) -> AsyncIterator[Any]:
        with model.of(await load_session(connection)) as loaded:
            yield loaded

    return load


def _adapter(kind: Any) -> Adapter:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return MsgspecAdapter(kind)
    try:
        return PydanticAdapter(kind)
    except PydanticUserError:  # of a typing.TypedDict before Python 3.12
        return MsgspecAdapter(kind)
