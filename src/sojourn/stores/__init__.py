"""The stores. Each is imported on first use, so that no driver is loaded that nobody asked for."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..logs import warn_once

if TYPE_CHECKING:
    from .memory import AsyncMemoryStore as AsyncMemoryStore
    from .memory import MemoryStore as MemoryStore
    from .sqlite import AsyncSQLiteStore as AsyncSQLiteStore
    from .sqlite import SQLiteStore as SQLiteStore

__all__ = ["AsyncMemoryStore", "AsyncSQLiteStore", "MemoryStore", "SQLiteStore", "resolve"]

_CLASSES: Final = {
    "MemoryStore": ".memory",
    "AsyncMemoryStore": ".memory",
    "SQLiteStore": ".sqlite",
    "AsyncSQLiteStore": ".sqlite",
}
_SCHEMES: Final = {"memory": "MemoryStore", "sqlite": "SQLiteStore"}
_CONTRACT: Final = ("load", "create", "replace", "regenerate", "touch", "delete", "open", "close")


def __getattr__(name: str) -> Any:
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_CLASSES[name], __name__), name)


def resolve(given: Any, *, asynchronous: bool, exclusive: bool = False) -> Any:
    """The store that an option names: an instance as it is, a URL as a store of the right colour.

    Raises:
        ConfigurationError: no such URL, not a store, a store of the other colour, or one without locks where they are needed.
    """
    if given is None:
        warn_once(
            "memory",
            "no store is configured: sessions are kept in this process alone and forgotten when it ends; "
            "choose one, such as store='sqlite:///sessions.db', or say store='memory://'",
        )
        given = "memory://"
    store = _from_url(given, asynchronous=asynchronous) if isinstance(given, str) else given
    for method in _CONTRACT:
        if not callable(getattr(store, method, None)):
            raise ConfigurationError("store", type(store).__name__, f"give a store or its URL; this has no {method}()")
    if inspect.iscoroutinefunction(store.load) is not asynchronous:
        wanted, colour = ("async", "sync") if asynchronous else ("sync", "async")
        raise ConfigurationError(
            "store",
            f"{type(store).__name__}, a {colour} store",
            f"give an {wanted} one to this {wanted} middleware"
            if asynchronous
            else f"give a {wanted} one to this {wanted} middleware",
        )
    if exclusive and not callable(getattr(store, "lock", None)):
        raise ConfigurationError(
            "exclusive", f"a predicate, with {type(store).__name__}", "give a store that has lock() and unlock()"
        )
    return store


def _from_url(url: str, *, asynchronous: bool) -> Any:
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        # the URL itself may hold a password
        raise ConfigurationError(
            "store", f"a URL of scheme {scheme!r}", f"the schemes are {', '.join(f'{s}://' for s in _SCHEMES)}"
        )
    name = ("Async" if asynchronous else "") + _SCHEMES[scheme]
    return getattr(importlib.import_module(_CLASSES[name], __name__), name).from_url(url)
