"""What a codec writes is held to be one JSON value, since anything else would spoil the whole record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import SessionDecodeError, SessionEncodeError
from .base import Codec, TextCodec, type_name
from .encrypted import EncryptedCodec
from .lenient import LenientCodec
from .text import loads

__all__ = ["seals", "writer", "writes_plain_json"]


def writer(codec: Codec) -> Callable[[Any], bytes]:
    """The codec's `Codec.encode`, which raises a `SessionEncodeError` where what a codec of somebody's own returns is no JSON value."""
    encode = codec.encode
    if writes_plain_json(codec):
        return encode

    def checked(value: Any) -> bytes:
        text: object = encode(value)
        if type(text) is not bytes:
            raise SessionEncodeError("", f"the codec returned a {type_name(type(text))} instead of bytes")
        try:
            loads(text)
        except SessionDecodeError:
            raise SessionEncodeError("", "the codec returned what is not one JSON value") from None
        return text

    return checked


def writes_plain_json(codec: Codec) -> bool:
    """Whether what JSON has is written as `dumps` does. True of the codecs here, and of those that change nothing about that."""
    encode = type(codec).encode
    if isinstance(codec, EncryptedCodec | LenientCodec) and encode in (EncryptedCodec.encode, LenientCodec.encode):
        return writes_plain_json(codec.beneath)
    return isinstance(codec, TextCodec) and encode is TextCodec.encode


def seals(codec: Codec) -> bool:
    """Whether what goes to the store is another text than the record's."""
    if isinstance(codec, LenientCodec) and type(codec).seal is LenientCodec.seal:
        return seals(codec.beneath)
    kind: type = type(codec)
    return getattr(kind, "seal", None) is not Codec.seal or getattr(kind, "unseal", None) is not Codec.unseal
