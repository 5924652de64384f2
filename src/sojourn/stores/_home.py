"""Where a client or a pool may be used: in the process that opened it, and an async one on the event loop that did.

A connection that two processes share gives the one the replies to the other, which are other visitors' sessions. So what was
opened before a fork is refused after it, unless a driver itself drops the connections that it has inherited.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, NamedTuple

from ..aio import in_trio
from ..errors import ConfigurationError, StoreUnavailable

__all__ = ["AsyncHome", "AsyncLease", "Home", "Lease", "refuse_trio"]

_inherited: Final[list[object]] = []
"""What was open before a fork. The parent goes on using it: here it is neither used nor closed."""

_FORKED = "{} was opened before this process was forked, and its connections are the parent's: {} in each process, or give the store a URL"
_ELSEWHERE = (
    "{} belongs to another event loop than the one that is running: {} on each event loop, or give the store a URL"
)


class Home(NamedTuple):
    """A process."""

    process: int

    @classmethod
    def here(cls, _store: str) -> Home:
        return cls(os.getpid())

    def is_gone(self) -> bool:
        """Whether nothing that was opened there can be used any more."""
        return self.process != os.getpid()

    def refusal(self, what: str, remedy: str) -> StoreUnavailable:
        """Why ``what`` was opened there and cannot be used here."""
        return StoreUnavailable(_FORKED.format(what, remedy))


class AsyncHome(NamedTuple):
    """A process, and an event loop in it."""

    process: int
    loop: asyncio.AbstractEventLoop

    @classmethod
    def here(cls, store: str) -> AsyncHome:
        """Where the caller is.

        Raises:
            ConfigurationError: on no event loop of asyncio's. It names the store.
        """
        try:
            return cls(os.getpid(), asyncio.get_running_loop())
        except RuntimeError:
            raise _outside_asyncio(store) from None

    def is_gone(self) -> bool:
        """Whether nothing that was opened there can be used any more."""
        return self.process != os.getpid() or self.loop.is_closed()

    def refusal(self, what: str, remedy: str) -> StoreUnavailable:
        """Why ``what`` was opened there and cannot be used here."""
        return StoreUnavailable((_ELSEWHERE if self.process == os.getpid() else _FORKED).format(what, remedy))


class Lease:
    """What a store has opened for itself in a process, and how to close it."""

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close
        self._home: Home

    def begin(self, home: Home) -> None:
        self._home = home

    def close(self) -> None:
        """Close it, unless it is the parent process's."""
        if self._home.is_gone():
            _inherited.append(self._close)
        else:
            self._close()


class AsyncLease:
    """What a store has opened for itself on an event loop, which it does not outlive."""

    def __init__(self, close: Callable[[], Awaitable[object]]) -> None:
        self._closing = _closing(close)
        self._home: AsyncHome

    async def begin(self, home: AsyncHome) -> None:
        """From now on it is closed at the latest by the event loop, which ends all generators when it ends itself."""
        self._home = home
        await anext(self._closing)

    async def close(self) -> None:
        """Close it, unless it is the parent process's. Its event loop must be the running one, or be gone."""
        if self._home.process != os.getpid():
            _inherited.append(self._closing)
        elif not self._home.is_gone():
            await self._closing.aclose()


async def _closing(close: Callable[[], Awaitable[object]]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await close()


def refuse_trio(store: str) -> None:
    """Say at once that a store runs on asyncio alone.

    Raises:
        ConfigurationError: it is being made under trio.
    """
    if in_trio():
        raise _outside_asyncio(store)


def _outside_asyncio(store: str) -> ConfigurationError:
    return ConfigurationError(
        "store", f"{store} outside asyncio", "run it on asyncio; under trio, memory and SQLite serve"
    )
