"""One store in both colours: Django calls an engine in either, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async

from ..core.store import Deleted, Outcome, Replaced, Stored, Version, direct_of
from ..errors import ConfigurationError
from ..stores import AsyncMemoryStore, resolve

__all__ = ["both_colours"]


def both_colours(given: Any) -> tuple[Any, Any]:
    """The store that an option names, in the sync colour and in the async one.

    Args:
        given: a URL, of which both are opened; a store in the sync colour, which is called in threads where it may wait; or nothing,
            for one in memory.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(given, str) and urlsplit(given).scheme != "memory":
        sync = resolve(given, asynchronous=False, shared=True)
        return sync, resolve(given, asynchronous=True, shared=True)
    if isinstance(given, str):
        given = resolve(given, asynchronous=True, shared=True)
    if given is None:
        given = resolve(None, asynchronous=True)
    if isinstance(given, AsyncMemoryStore):
        return given.direct, given
    if iscoroutinefunction(getattr(given, "load", None)):
        raise ConfigurationError(
            "SOJOURN['store']", f"{type(given).__name__}, an async store", "give its URL, or a sync store"
        )
    sync = resolve(given, asynchronous=False)
    return sync, InThreads(sync) if direct_of(sync) is None else AtOnce(sync)


class InThreads:
    """A sync store in the async colour: each of its calls is another thread's."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        """What the store is capable of beyond the contract."""
        method = getattr(self._store, name)
        if name == "scan":
            return self._scan
        return _in_thread(method) if callable(method) else method

    async def _scan(self) -> AsyncIterator[tuple[str, Stored]]:
        for found in await _in_thread(lambda: list(self._store.scan()))():
            yield found

    async def open(self) -> None:
        await _in_thread(self._store.open)()

    async def close(self) -> None:
        await _in_thread(self._store.close)()

    async def load(self, key: str) -> Stored | Replaced | None:
        found: Stored | Replaced | None = await _in_thread(self._store.load)(key)
        return found

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Outcome:
        return await _in_thread(self._store.create)(key, data, ttl, owner=owner)

    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Outcome:
        return await _in_thread(self._store.replace)(key, data, ttl, version=version, owner=owner)

    async def regenerate(self, old: str, new: str, data: bytes, ttl: int, **more: Any) -> Version | Outcome:
        return await _in_thread(self._store.regenerate)(old, new, data, ttl, **more)

    async def touch(self, key: str, ttl: int) -> bool:
        touched: bool = await _in_thread(self._store.touch)(key, ttl)
        return touched

    async def delete(self, *keys: str) -> Deleted:
        deleted: Deleted = await _in_thread(self._store.delete)(*keys)
        return deleted


class AtOnce(InThreads):
    """A sync store none of whose calls waits."""

    @property
    def direct(self) -> Any:
        return direct_of(self._store)


def _in_thread(method: Callable[..., Any]) -> Callable[..., Any]:
    return sync_to_async(method, thread_sensitive=False)
