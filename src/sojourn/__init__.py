"""Sojourn: server-side HTTP sessions. The browser holds a signed, random id; the data stays on the server, in a store.

``sojourn.asgi`` and ``sojourn.wsgi`` have the middleware, ``sojourn.stores`` the stores.
"""

from __future__ import annotations

from .codecs import EncryptedCodec, JSONCodec, PlainCodec
from .cookies import Cookie
from .errors import (
    ConfigurationError,
    SessionConflict,
    SessionDecodeError,
    SessionDestroyed,
    SessionEncodeError,
    SessionLate,
    SessionNotFound,
    SessionNotLoaded,
    SessionTooLarge,
    SojournError,
    SojournWarning,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from .profiles import express
from .session import AsyncSession, Flash, Session

__all__ = [
    "AsyncSession",
    "ConfigurationError",
    "Cookie",
    "EncryptedCodec",
    "Flash",
    "JSONCodec",
    "PlainCodec",
    "Session",
    "SessionConflict",
    "SessionDecodeError",
    "SessionDestroyed",
    "SessionEncodeError",
    "SessionLate",
    "SessionNotFound",
    "SessionNotLoaded",
    "SessionTooLarge",
    "SojournError",
    "SojournWarning",
    "StoreError",
    "StoreTimeout",
    "StoreUnavailable",
    "__version__",
    "express",
]

__version__ = "0.1.0"
