"""The codec of Flask's sessions: what Flask's own serializer writes is written, and comes back at least as it does there."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

from markupsafe import Markup

from ..codecs import NOT_FINITE, Codec, JSONCodec, LenientCodec, Tag

__all__ = ["flask_codec"]


def flask_codec(codec: Codec | None = None) -> LenientCodec:
    """A codec for Flask's habits: Markup survives, lazy strings become text, and what ``json.dumps`` writes in a plainer form is written so.

    Args:
        codec: the codec beneath, to share sessions or encrypt them: ``EncryptedCodec(keys, codec=flask_codec())``. JSON with tagged
            types unless given.
    """
    return LenientCodec(JSONCodec(NOT_FINITE, _MARKUP) if codec is None else codec, default=_default)


_MARKUP = Tag("$markup", Markup, str, Markup)


def _default(value: Any) -> Any:
    """What Flask writes for a value that has no form of its own."""
    if _is_lazy(value):
        return str(value)
    if callable(getattr(value, "__html__", None)):
        return Markup(value.__html__())  # noqa: S704 - safe is what its type says it is
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError


def _is_lazy(value: Any) -> bool:
    """Whether a value is text that is worked out when it is needed, as translations are: it equals what it says."""
    return (value == str(value)) is True
