"""Stores that several middlewares of a process use: one for each URL, and closed once nobody uses it any more.

Some frameworks make a middleware for each route. Each would otherwise have a store of its own, with its own connections or, in memory,
its own sessions.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet, WeakValueDictionary

__all__ = ["begin_use", "end_use", "isolated_stores", "shared"]

_mutex = threading.Lock()
_by_url: WeakValueDictionary[tuple[str, bool], Any] = WeakValueDictionary()
_users: dict[int, WeakSet[Any]] = {}
"""Who has opened a store and not closed it yet, by the store's identity. Whoever is gone has no use for it."""


def shared(url: str, make: Callable[[str], Any], *, asynchronous: bool) -> Any:
    """The store for a URL, in one of the colours, for as long as anybody holds it."""
    with _mutex:
        store = _by_url.get((url, asynchronous))
        if store is None:
            store = _by_url[url, asynchronous] = make(url)
        return store


def begin_use(store: Any, user: Any) -> None:
    """Note that somebody has opened a store. Repeating it is harmless."""
    with _mutex:
        _users.setdefault(id(store), WeakSet()).add(user)


def end_use(store: Any, user: Any) -> bool:
    """Note that somebody is done with a store. True if nobody else uses it, so that it is to be closed."""
    with _mutex:
        users = _users.get(id(store), WeakSet())
        users.discard(user)
        if users:
            return False
        _users.pop(id(store), None)
        return True


def _begin_in_child() -> None:
    """Another thread may have held it at the fork, and is not there."""
    global _mutex  # noqa: PLW0603 - it has to be another one
    _mutex = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


@contextmanager
def isolated_stores() -> Iterator[None]:
    """Within it, middlewares that are given a store by URL share it with none that was made outside: for tests, one around each.

    It holds for the whole process.
    """
    global _by_url  # noqa: PLW0603 - middlewares are made on whatever thread, which no context variable reaches
    outside, _by_url = _by_url, WeakValueDictionary()
    try:
        yield
    finally:
        _by_url = outside
