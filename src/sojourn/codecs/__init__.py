"""How session data become JSON text and come back, and what cannot be held.

`JSONCodec` (the default: common Python types survive, as tags), `PlainCodec` (nothing but JSON, for sharing with Express) and
`EncryptedCodec` (either of them, sealed with AES-256-GCM) are here to be used, `Codec` to be fulfilled by one's own.
"""

from __future__ import annotations

from .base import Codec
from .encrypted import EncryptedCodec
from .plain import PlainCodec
from .tagged import JSONCodec, Tag
from .text import dumps, is_tagged, loads

__all__ = ["Codec", "EncryptedCodec", "JSONCodec", "PlainCodec", "Tag", "dumps", "is_tagged", "loads"]
