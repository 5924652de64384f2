"""A part of the session as a model of the application's own: what the frameworks' doors make a dependency of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import msgspec

from ..core.data import attach, detach_part, find_part
from ..core.session import BaseSession, state_of
from ..core.state import Part, State
from ..errors import ConfigurationError, SessionDecodeError, SessionEncodeError
from ..ids import mask_id
from ..logs import log

__all__ = ["Adapter", "Model", "MsgspecAdapter"]


class Adapter(Protocol):
    """How values of one type are made of what is stored, and become that again."""

    unfit: tuple[type[Exception], ...]
    """What is raised where they cannot."""

    def load(self, stored: Any) -> Any: ...
    def dump(self, model: Any) -> Any: ...
    def why(self, error: Exception) -> str:
        """What does not fit, without the values, which are the visitor's."""
        ...


class MsgspecAdapter:
    """For msgspec's Structs, dataclasses and attrs classes."""

    unfit: tuple[type[Exception], ...] = (msgspec.ValidationError, TypeError)

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def load(self, stored: Any) -> Any:
        return msgspec.convert(stored, self._kind, str_keys=True)

    def dump(self, model: Any) -> Any:
        return msgspec.to_builtins(model, str_keys=True)

    def why(self, error: Exception) -> str:
        return type(error).__name__


class Model:
    """A declared model: its type, and where it is stored.

    Args:
        option: what an error calls it by.
        kind: the type.
        adapter: how it is read and written.
        key: the session's key that it is stored under. By default the name of its type.
        strict: a stored value that no longer fits is an error.

    Raises:
        ConfigurationError: the type is no model whose fields all have defaults.
    """

    def __init__(self, option: str, kind: Any, adapter: Adapter, key: str | None, *, strict: bool) -> None:
        self._kind = kind
        self._name: Final[str] = getattr(kind, "__name__", repr(kind))
        self._key: Final[str] = key or self._name
        self._strict = strict
        self._adapter = adapter
        try:
            fields = adapter.dump(adapter.load({}))
        except adapter.unfit:
            fields = None
        if not isinstance(fields, dict):
            raise ConfigurationError(option, self._name, "give a model whose fields all have defaults")

    @contextmanager
    def of(self, session: BaseSession) -> Iterator[Any]:
        """The model, whose changes are saved with the session unless something is raised meanwhile.

        Raises:
            SessionDecodeError: what is stored does not fit, and that is to be an error.
        """
        state = state_of(session)
        stored = session.get(self._key)
        part = find_part(state, self._key, self._kind)  # another dependency of the request may have it already
        if part is None:
            part = attach(state, Part(self._key, self._kind, self._made_of(state, stored), self._dump))
        try:
            yield part.model
        except BaseException:
            detach_part(state, part)
            raise

    def _made_of(self, state: State, stored: Any) -> Any:
        try:
            return self._adapter.load({} if stored is None else stored)
        except self._adapter.unfit as error:
            why = self._adapter.why(error)
        if self._strict:
            raise SessionDecodeError(f"the session's value {self._key!r} does not fit {self._name} ({why})")
        log.warning(
            "session %s has a value that does not fit its model %s (%s): the model begins anew",
            mask_id(state.id or ""),
            self._name,
            why,
        )
        return self._adapter.load({})

    def _dump(self, model: Any) -> dict[str, Any]:
        """The fields, held to what they are to be read back as.

        Raises:
            SessionEncodeError: they would not be.
        """
        try:
            fields: dict[str, Any] = self._adapter.dump(model)
            again = self._adapter.load(fields)
            # Equal itself, where its type says what that is: a secret, for one, may be written as stars, twice alike.
            if again == model or (not _is_comparable(model) and self._adapter.dump(again) == fields):
                return fields
            why = "it would come back as something else"
        except self._adapter.unfit as error:
            why = self._adapter.why(error)
        raise SessionEncodeError(self._key, f"what the model {self._name} holds does not fit it ({why})")


def _is_comparable(model: object) -> bool:
    method: Any = getattr(type(model), "__eq__", None)
    return method is not object.__eq__
