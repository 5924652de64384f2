"""A part of the session as a model: ``dependencies={"cart": Provide(session_data(Cart))}``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, get_origin, is_typeddict

from litestar.types import Scope

from ..errors import ConfigurationError
from ..middleware.models import Adapter, Model, MsgspecAdapter
from .connection import provide_session

__all__ = ["session_data"]

_OPTION = "session_data"


def session_data(
    model: Any, key: str | None = None, *, strict: bool = False
) -> Callable[..., AsyncGenerator[Any, None]]:
    """A part of the session as a model, for ``Provide``: ``dependencies={"cart": Provide(session_data(Cart))}``.

    The model is a msgspec Struct, a Pydantic model, a dataclass or an attrs class, whose fields all have defaults. It is validated when
    it is loaded. Fields that were changed, also deep within, are saved with the session, and merged with what parallel requests change.
    If the handler raises, they are not. A field that is stored and unknown to the model stays.

    Args:
        model: the model's class.
        key: the session's key that the model is stored under. By default the name of its class.
        strict: a stored value that no longer fits the model is a `SessionDecodeError`. Otherwise the model begins anew, with a warning in the log.

    Raises:
        ConfigurationError: the type is no such model.
    """
    if is_typeddict(model) or issubclass(get_origin(model) or model, dict):
        raise ConfigurationError(
            _OPTION, repr(model), "give a class: of a dict, handlers are given a copy, whose changes nobody would see"
        )
    declared = Model(_OPTION, model, _adapter(model), key, strict=strict)

    async def provide(scope: Scope) -> AsyncGenerator[Any, None]:
        with declared.of(await provide_session(scope)) as loaded:
            yield loaded

    provide.__annotations__["return"] = AsyncGenerator[model, None]  # Litestar compares it with the parameter's
    return provide


def _adapter(kind: Any) -> Adapter:
    if not hasattr(kind, "__pydantic_validator__"):
        return MsgspecAdapter(kind)
    from ..middleware.pydantic_models import PydanticAdapter  # noqa: PLC0415 - Litestar does without it

    return PydanticAdapter(kind)
