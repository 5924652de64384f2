"""How session data become JSON text and come back, and what cannot be held.

`JSONCodec` (the default: common Python types survive, as tags), `PlainCodec` (nothing but JSON, for sharing with Express),
`EncryptedCodec` (either of them, sealed with AES-256-GCM) and `LenientCodec` (any of them, also given what ``json.dumps`` would
write in a plainer form) are here to be used, `Codec` to be fulfilled by one's own.
"""

from __future__ import annotations

from .base import Codec, check_codec, path_of
from .check import seals, writer, writes_plain_json
from .encrypted import EncryptedCodec
from .lenient import NOT_FINITE, LenientCodec, key_text
from .members import Members, join, split
from .plain import PlainCodec
from .tagged import JSONCodec, Tag
from .text import dumps, is_tagged, loads

__all__ = [
    "NOT_FINITE",
    "Codec",
    "EncryptedCodec",
    "JSONCodec",
    "LenientCodec",
    "Members",
    "PlainCodec",
    "Tag",
    "check_codec",
    "dumps",
    "is_tagged",
    "join",
    "key_text",
    "loads",
    "path_of",
    "seals",
    "split",
    "writer",
    "writes_plain_json",
]
