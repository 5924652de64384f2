"""Where PyMongo's clients may be used, and how they end, in either colour.

An async client is bound to the event loop that it is first used on, and can be closed nowhere else. A sync client drops in a
forked process the connections that it has inherited, and makes new ones.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError

from .._home import AsyncHome, AsyncLease, Home, Lease

__all__ = ["AsyncGiven", "AsyncOwned", "Given", "Owned"]


class Given:
    """The app's own client, which is never closed."""

    def __init__(self, client: MongoClient[Any]) -> None: ...

    def begin(self, home: Home) -> None:
        """It may be used in every process."""

    def close(self) -> None: ...


class Owned(Lease):
    """A client of the store's own."""

    def __init__(self, client: MongoClient[Any]) -> None:
        def close() -> None:
            with suppress(PyMongoError):
                client.close()

        super().__init__(close)


class AsyncGiven:
    """The app's own client, which is never closed."""

    def __init__(self, client: AsyncMongoClient[Any]) -> None:
        self._client = client
        self._home = self._bound()

    async def begin(self, home: AsyncHome) -> None:
        """Refuse to use it elsewhere than where it is used first.

        Raises:
            StoreUnavailable: this is another process, or another event loop.
        """
        if self._home is None:
            self._home = self._bound() or home
        if self._home != home:
            raise self._home.refusal("the client", "make one")

    async def close(self) -> None: ...

    def _bound(self) -> AsyncHome | None:
        """The event loop that it is bound to, if it was used already."""
        loop = getattr(self._client, "_loop", None)
        return None if loop is None else AsyncHome(os.getpid(), loop)


class AsyncOwned(AsyncLease):
    """A client of the store's own, which does not outlive its event loop."""

    def __init__(self, client: AsyncMongoClient[Any]) -> None:
        async def close() -> None:
            with suppress(PyMongoError):
                await client.close()

        super().__init__(close)
