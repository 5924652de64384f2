"""Sync stores in the async colour, so that cases written for async stores run over both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final, Protocol, TypeVar, cast

from ..core.store import (
    AsyncExaminableStore,
    AsyncIndexingStore,
    AsyncLockingStore,
    AsyncLookingStore,
    AsyncScanningStore,
    AsyncStore,
    Store,
    Stored,
)

__all__ = ["FullStore", "as_async", "in_threads"]

T = TypeVar("T")
_PLAIN: Final = ("mark", "pulse")
"""What is no coroutine in either colour."""


class FullStore(
    AsyncStore,
    AsyncScanningStore,
    AsyncLockingStore,
    AsyncIndexingStore,
    AsyncLookingStore,
    AsyncExaminableStore,
    Protocol,
):
    """An async store with every capability. Each case uses only those that it has asked for."""


def as_async(store: Store, *, threads: bool = False) -> FullStore:
    """Give a sync store async methods, those that it has and no others.

    With ``threads`` each call runs in a worker thread (AnyIO's), else where it is awaited, blocking the event loop.
    """
    return cast("FullStore", _AsAsync(store, _in_thread if threads else _in_place))


def in_threads(store: FullStore) -> FullStore:
    """A store as `as_async` returned it, with each call in a worker thread; a store that is async itself, as it is."""
    return cast("FullStore", _AsAsync(store.sync_store, _in_thread)) if isinstance(store, _AsAsync) else store


async def _in_place(call: Callable[[], T]) -> T:
    return call()


async def _in_thread(call: Callable[[], T]) -> T:
    from anyio.to_thread import run_sync  # noqa: PLC0415 - only needed here

    return await run_sync(call)


class _AsAsync:
    def __init__(self, store: Store, run: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        self.sync_store = store
        self._run = run

    def __repr__(self) -> str:
        return repr(self.sync_store)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.sync_store, name)
        if not callable(attribute) or name in _PLAIN:
            return attribute
        if name == "scan":
            return partial(self._scan, attribute)

        async def method(*args: Any, **kwargs: Any) -> Any:
            return await self._run(partial(attribute, *args, **kwargs))

        return method

    async def _scan(self, scan: Callable[[], Iterator[tuple[str, Stored]]]) -> AsyncIterator[tuple[str, Stored]]:
        items = await self._run(scan)
        while (item := await self._run(partial(next, items, None))) is not None:
            yield item
