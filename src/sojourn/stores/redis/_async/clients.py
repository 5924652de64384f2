"""Whose a client of redis-py is: the app's own, or one that the store makes in each process and on each event loop.

An async client belongs to an event loop, and shares its connections with a forked process. A sync one drops there what it has
inherited.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from ..._home import AsyncHome, AsyncLease
from ..._raising import raise_alone
from .._birthplace import birthplace_async  # async only
from .._errors import DRIVER_ERRORS, translate

__all__ = ["AsyncGiven", "AsyncOwned"]

_STORE: Final = "AsyncRedisStore"


class AsyncGiven:
    """The app's own client, which is never closed."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._homes = list(filter(None, [birthplace_async(client)]))  # async only

    async def here(self) -> Any:
        """The client.

        Raises:
            StoreUnavailable: it belongs to another process or event loop.
        """
        home = AsyncHome.here(_STORE)  # async only
        if not self._homes:  # async only
            # Where two event loops come at once, the first in the list counts.  # async only
            self._homes.append(birthplace_async(self._client) or home)  # async only
        if self._homes[0] != home:  # async only
            raise self._homes[0].refusal("the client", "make one")  # async only
        return self._client

    async def close(self) -> None:
        """Leave it open."""


class _Held(NamedTuple):
    client: Any
    lease: AsyncLease


class AsyncOwned:
    """Clients of the store's own.

    Args:
        make: makes one, and whatever else is to be closed with it.
    """

    def __init__(self, make: Callable[[], tuple[Any, ...]]) -> None:
        self._make = make
        self._held: dict[AsyncHome, _Held] = {}
        self._entering: dict[AsyncHome, threading.Lock] = {}

    async def here(self) -> Any:
        """The client for this process and event loop.

        Raises:
            StoreUnavailable: it cannot be made.
        """
        home = AsyncHome.here(_STORE)
        held = self._held.get(home) or await self._enter(home)
        return held.client

    async def close(self) -> None:
        """Close the client that was made here. One on another event loop is closed there, or when that ends."""
        here = AsyncHome.here(_STORE)
        for home in list(self._held):
            if home == here or home.is_gone():
                await self._leave(home)

    async def _enter(self, home: AsyncHome) -> _Held:
        for other in [other for other in list(self._entering) if other.is_gone()]:
            self._entering.pop(other, None)
            await self._leave(other)
        with self._entering.setdefault(home, threading.Lock()):
            held = self._held.get(home)
            if held is None:
                try:
                    made = self._make()
                except DRIVER_ERRORS as error:
                    raise_alone(translate(error, sent=False))
                held = _Held(made[0], AsyncLease(partial(_close, made)))
                await held.lease.begin(home)
                self._held[home] = held
        return held

    async def _leave(self, home: AsyncHome) -> None:
        held = self._held.pop(home, None)
        if held is not None:
            await held.lease.close()


async def _close(clients: Iterable[Any]) -> None:
    for client in clients:
        with suppress(*DRIVER_ERRORS):
            await client.aclose()
