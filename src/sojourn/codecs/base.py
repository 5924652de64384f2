"""What a codec is, and what the codecs of plain text share: the quick look, and the walk over what it does not pass.

A codec writes and reads one value of a session at a time, so that a request pays for those values that it uses. No type changes silently. Only exact types are held: a ``str`` enum, a ``defaultdict`` or a named tuple would come back as
something else, and is refused with the path to it and the remedy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from math import isfinite
from types import NoneType
from typing import Any, Final, Protocol, TypeAlias

from ..errors import ConfigurationError, SessionEncodeError
from .text import TOO_DEEP, TOO_LONG, dumps, is_tagged, write_json

__all__ = [
    "CONTAINERS",
    "PLAIN_TYPES",
    "Codec",
    "Path",
    "TextCodec",
    "check_codec",
    "path_of",
    "refusal",
    "type_name",
    "unheld",
]

Path: TypeAlias = tuple[str | int, ...]

MAX_DEPTH: Final = 200
"""Containers within containers, the value itself being the first: the same on every Python. What contains itself has no end, and what is
deeper might not be read back. What another program nested deeper can be read, carried over and removed, as far as the interpreter goes."""

_METHODS: Final = ("encode", "decode", "seal", "unseal")
CONTAINERS: Final[frozenset[type]] = frozenset({list, dict})
_ALWAYS_HELD: Final[frozenset[type]] = frozenset({str, bool, NoneType})
PLAIN_TYPES: Final[frozenset[type]] = CONTAINERS | _ALWAYS_HELD | {int, float}
_LOOKS: Final = 2
"""Levels at which a part is looked at again, so that one date makes no walk over all else. More would add up in deep data."""
_SHORT: Final = 10**600
"""Integers up to it become text under every limit that ``sys.set_int_max_str_digits`` can set, 640 digits at least."""


class Codec(Protocol):
    """What a codec does. Its methods are pure and may be called from any thread.

    A class of one's own that names this one as its base has `seal` and `unseal` already.
    """

    name: str
    """``"json"``, ``"plain"``, ``"encrypted"``, or another's own."""

    @abstractmethod
    def encode(self, value: Any, /) -> bytes:
        """Write one value of a session as exactly one JSON value, in UTF-8. Equal values of equal types must give equal text.

        Raises:
            SessionEncodeError: it, or something in it, cannot be held (contract 71, 72). Its path begins at the value.
        """

    @abstractmethod
    def decode(self, text: bytes, /) -> Any:
        """The inverse of `encode`, also of what the codec in use before it wrote, and of what other programs write.

        Raises:
            SessionDecodeError: it is no text of a value that can be held.
        """

    def seal(self, record: bytes, key: str, /) -> bytes:
        """Make of a whole record what goes to the store under this key."""
        return record

    def unseal(self, stored: bytes, key: str, /) -> bytes:
        """The inverse of `seal`.

        Raises:
            SessionDecodeError: it is not what `seal` made for this key.
        """
        return stored


def check_codec(option: str, codec: object) -> None:
    """Refuse what is no codec.

    Raises:
        ConfigurationError: it lacks a method.
    """
    missing = [name for name in _METHODS if not callable(getattr(codec, name, None))]
    if missing:
        given = f"a {type_name(type(codec))} without {missing[0]}()"
        remedy = "give a codec, with encode(value) and decode(text) for one value at a time, seal() and unseal()"
        if callable(getattr(codec, "revive", None)):
            remedy += "; revive() is no longer called"
        raise ConfigurationError(option, given, remedy)


def _is_plain(container: Any, max_int: int | None, depth: int = 1) -> bool:
    """Whether a list or dict can be written as it is. Nearly all can: this look is what they pay for those that cannot.

    A loop, not sets of types: containers are small, and building a set costs more than looking at ten values.
    """
    if type(container) is dict:
        for key in container:
            if type(key) is not str:
                return False
        if len(container) == 1 and is_tagged(container):
            return False
        container = container.values()
    for value in container:
        kind = type(value)
        if kind is str:
            continue
        if kind is int:
            if max_int is not None and not -max_int <= value <= max_int:
                return False
        elif kind is dict or kind is list:
            if depth >= MAX_DEPTH or not _is_plain(value, max_int, depth + 1):
                return False
        elif kind is float:
            if not isfinite(value):
                return False
        elif value is not None and kind is not bool:
            return False
    return True


class TextCodec(Codec, ABC):
    """All of a codec but `Codec.decode` and `_special`: what becomes of values that JSON does not have."""

    _wraps = False
    """Whether an object of the app's that looks like a tag is wrapped."""

    def __init__(self, *, max_int: int | None = None) -> None:
        self._max_int = max_int
        self._short = _SHORT if max_int is None else min(max_int, _SHORT)
        self._least = -self._short

    def encode(self, value: Any, /) -> bytes:
        """See `Codec.encode`."""
        kind = type(value)
        if kind is int and self._least <= value <= self._short:
            return write_json(value)
        try:
            if kind in _ALWAYS_HELD or (kind in CONTAINERS and _is_plain(value, self._max_int)):
                try:
                    return dumps(value)
                except SessionEncodeError:
                    pass  # an integer too long for text: the walk finds out where
            return dumps(self._value(value, ()))
        except RecursionError:
            raise SessionEncodeError("", TOO_DEEP) from None

    def _value(self, value: Any, path: Path) -> Any:
        kind = type(value)
        if kind in _ALWAYS_HELD:
            return value
        if kind is int:
            return value if self._least <= value <= self._short else self._long(value, path)
        if kind is float:
            if not isfinite(value):
                raise refusal(path, "JSON has no NaN and no infinity; store None, or the number as text")
            return value
        if len(path) >= MAX_DEPTH:
            raise refusal(path[:3], TOO_DEEP)
        if kind in CONTAINERS and 0 < len(path) < _LOOKS and _is_plain(value, self._short, len(path) + 1):
            return value
        if kind is dict:
            written = self._object(value, path)
            return {"$dict": written} if self._wraps and is_tagged(written) else written
        if kind is list:
            return [self._value(item, (*path, index)) for index, item in enumerate(value)]
        return self._special(value, path)

    def _object(self, tree: dict[Any, Any], path: Path) -> dict[str, Any]:
        for key in tree:
            if type(key) is not str:
                raise refusal(path, f"a key of type {type_name(type(key))}; JSON's keys are strings, use str(key)")
        return {
            key: value if type(value) in _ALWAYS_HELD else self._value(value, (*path, key))
            for key, value in tree.items()
        }

    def _long(self, value: int, path: Path) -> int:
        if self._max_int is not None and abs(value) > self._max_int:
            raise refusal(path, f"an integer beyond {self._max_int} is not exact for other readers; store it as text")
        try:
            str(value)
        except ValueError:
            raise refusal(path, TOO_LONG) from None
        return value

    @abstractmethod
    def _special(self, value: Any, path: Path) -> Any:
        """A value of no JSON type, as JSON values; or a `refusal`."""


def refusal(path: Path, reason: str) -> SessionEncodeError:
    """The error for what is at a path within a value, written as in Python: ``items[2]['unit price']``."""
    parts = (f"[{part!r}]" if type(part) is int or not str(part).isidentifier() else f".{part}" for part in path)
    return SessionEncodeError("".join(parts).removeprefix("."), reason)


def path_of(name: str, inner: str) -> str:
    """Where something is in a session, by the name of the value and the path within that: ``cart.items[2]``."""
    head = name if str(name).isidentifier() else f"[{name!r}]"
    return f"{head}.{inner}" if inner and not inner.startswith("[") else head + inner


def type_name(kind: type) -> str:
    """A type as errors name it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def unheld(kind: type, held: Iterable[type]) -> str:
    """Why a type is refused, and what to do, as the beginning of a sentence."""
    bases = [base for base in kind.__mro__[1:] if base in held]
    if bases:
        return f"a {type_name(kind)} would come back as a plain {type_name(bases[0])}; convert it first"
    return f"a {type_name(kind)} has no form in JSON; convert it first"
