"""Sojourn: server-side HTTP sessions. The browser holds a signed, random id; the data stays on the server, in a store.

``sojourn.asgi`` and ``sojourn.wsgi`` have the middleware, ``sojourn.driver`` the same for other frameworks, ``sojourn.stores`` the stores.
The names here are imported on first use, so that whoever wants one of them does not pay for all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # for type checkers, which do not read the table below
    from .codecs import EncryptedCodec as EncryptedCodec
    from .codecs import JSONCodec as JSONCodec
    from .codecs import PlainCodec as PlainCodec
    from .cookie import Cookie as Cookie
    from .core.session import AsyncSession as AsyncSession
    from .core.session import Flash as Flash
    from .core.session import Session as Session
    from .core.views import SessionView as SessionView
    from .errors import ConfigurationError as ConfigurationError
    from .errors import HeadersAlreadySent as HeadersAlreadySent
    from .errors import NoPendingLogin as NoPendingLogin
    from .errors import NotLoggedIn as NotLoggedIn
    from .errors import SessionConflict as SessionConflict
    from .errors import SessionDecodeError as SessionDecodeError
    from .errors import SessionDestroyed as SessionDestroyed
    from .errors import SessionEncodeError as SessionEncodeError
    from .errors import SessionLate as SessionLate
    from .errors import SessionNotFound as SessionNotFound
    from .errors import SessionNotLoaded as SessionNotLoaded
    from .errors import SessionTooLarge as SessionTooLarge
    from .errors import SojournError as SojournError
    from .errors import SojournWarning as SojournWarning
    from .errors import StoreError as StoreError
    from .errors import StoreTimeout as StoreTimeout
    from .errors import StoreUnavailable as StoreUnavailable
    from .middleware.health import healthy as healthy
    from .profiles import express as express

__version__ = "0.1.0"

_NAMES: Final = {
    ".codecs": "EncryptedCodec JSONCodec PlainCodec",
    ".cookie": "Cookie",
    ".middleware.health": "healthy",
    ".core.session": "AsyncSession Flash Session",
    ".core.views": "SessionView",
    ".errors": "ConfigurationError HeadersAlreadySent NoPendingLogin NotLoggedIn SessionConflict SessionDecodeError SessionDestroyed SessionEncodeError"
    " SessionLate SessionNotFound SessionNotLoaded SessionTooLarge SojournError SojournWarning StoreError StoreTimeout StoreUnavailable",
    ".profiles": "express",
}
_HOMES: Final = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - names, by construction


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
