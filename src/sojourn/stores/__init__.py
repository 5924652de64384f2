"""The stores. Each is imported on first use, so that only the drivers in use are loaded."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from ..errors import ConfigurationError
from ..logs import warn_once
from ._sharing import shared as share

if TYPE_CHECKING:
    from ._indexing import Reindexed as Reindexed
    from ._indexing import reindex as reindex
    from ._indexing import reindex_async as reindex_async
    from .memory.store import AsyncMemoryStore as AsyncMemoryStore
    from .memory.store import MemoryStore as MemoryStore
    from .mongo._async.store import AsyncMongoStore as AsyncMongoStore
    from .mongo._layout import MongoLayout as MongoLayout
    from .mongo._sync.store import MongoStore as MongoStore
    from .postgres._async.store import AsyncPostgresStore as AsyncPostgresStore
    from .postgres._sync.store import PostgresStore as PostgresStore
    from .redis._async.store import AsyncRedisStore as AsyncRedisStore
    from .redis._sync.store import RedisStore as RedisStore
    from .sqlite.store import AsyncSQLiteStore as AsyncSQLiteStore
    from .sqlite.store import SQLiteStore as SQLiteStore

__all__ = [
    "AsyncMemoryStore",
    "AsyncMongoStore",
    "AsyncPostgresStore",
    "AsyncRedisStore",
    "AsyncSQLiteStore",
    "MemoryStore",
    "MongoLayout",
    "MongoStore",
    "PostgresStore",
    "RedisStore",
    "Reindexed",
    "SQLiteStore",
    "reindex",
    "reindex_async",
    "resolve",
]

_HOMES: Final = {
    "AsyncMemoryStore": ".memory.store",
    "AsyncMongoStore": ".mongo._async.store",
    "AsyncPostgresStore": ".postgres._async.store",
    "AsyncRedisStore": ".redis._async.store",
    "AsyncSQLiteStore": ".sqlite.store",
    "MemoryStore": ".memory.store",
    "MongoLayout": ".mongo._layout",
    "MongoStore": ".mongo._sync.store",
    "PostgresStore": ".postgres._sync.store",
    "RedisStore": ".redis._sync.store",
    "Reindexed": "._indexing",
    "SQLiteStore": ".sqlite.store",
    "reindex": "._indexing",
    "reindex_async": "._indexing",
}


class _Scheme(NamedTuple):
    store: str
    express_layout: str | None = None
    """The layout of the Node store for this server, which the Express profile takes unless the URL names another."""


_REDIS: Final = _Scheme("RedisStore", "connect-redis")
_POSTGRES: Final = _Scheme("PostgresStore", "connect-pg-simple")
_MONGO: Final = _Scheme("MongoStore", "connect-mongo")
_SCHEMES: Final = {
    "memory": _Scheme("MemoryStore"),
    "sqlite": _Scheme("SQLiteStore"),
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
    "redis+unix": _REDIS,
    "redis+sentinel": _REDIS,
    "rediss+sentinel": _REDIS,
    "redis+cluster": _REDIS,
    "rediss+cluster": _REDIS,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "mongodb": _MONGO,
    "mongodb+srv": _MONGO,
}
_CONTRACT: Final = ("load", "create", "replace", "regenerate", "touch", "delete", "open", "close")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def resolve(
    given: Any, *, asynchronous: bool, exclusive: bool = False, express: bool = False, shared: bool = False
) -> Any:
    """The store that an option names: an instance as it is, or for a URL a store of the right colour.

    That is a new one, or with ``shared`` the one that others in this process were given for the same URL.

    Raises:
        ConfigurationError: no such URL, not a store, a store of the other colour, or one without locks where they are needed.
    """
    if given is None:
        warn_once(
            "memory",
            "no store is configured: sessions are kept in this process alone and forgotten when it ends; "
            "choose one, such as store='sqlite:///sessions.db', or say store='memory://'",
        )
        given, shared = "memory://", False  # each middleware has its own (contract 2)
    store = given
    if isinstance(given, str):
        store = _from_url(given, asynchronous=asynchronous, express=express, shared=shared)
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


def _from_url(url: str, *, asynchronous: bool, express: bool, shared: bool) -> Any:
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        # the URL itself may hold a password
        raise ConfigurationError(
            "store", f"a URL of scheme {scheme!r}", f"the schemes are {', '.join(f'{s}://' for s in _SCHEMES)}"
        )
    store, layout = _SCHEMES[scheme]
    name = ("Async" if asynchronous else "") + store
    if express and layout is not None and "layout" not in parse_qs(urlsplit(url).query):
        url += f"{'&' if urlsplit(url).query else '?'}layout={layout}"
    make = getattr(importlib.import_module(_HOMES[name], __name__), name).from_url
    return share(url, make, asynchronous=asynchronous) if shared else make(url)
