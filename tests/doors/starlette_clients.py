"""Clients of Starlette's, and a store that notes its writes and fails when told to, for the tests of its doors."""

from __future__ import annotations

import warnings
from typing import Any

from sojourn import StoreUnavailable
from sojourn.core.store import Deleted
from sojourn.stores import AsyncMemoryStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer ones of Starlette prefer another client
    from starlette.testclient import TestClient, WebSocketDenialResponse

__all__ = ["SECRET", "Store", "TestClient", "WebSocketDenialResponse", "client_of"]

SECRET = "a secret that is long enough for everybody"


class Store(AsyncMemoryStore):
    """Notes what it is asked for, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.down = False

    def _note(self, name: str) -> None:
        if self.down:
            raise StoreUnavailable("down")
        self.calls.append(name)

    @property
    def writes(self) -> list[str]:
        return [name for name in self.calls if name != "load"]

    async def load(self, key: str) -> Any:
        self._note("load")
        return await super().load(key)

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        self._note("create")
        return await super().create(*args, **kwargs)

    async def replace(self, *args: Any, **kwargs: Any) -> Any:
        self._note("replace")
        return await super().replace(*args, **kwargs)

    async def regenerate(self, *args: Any, **kwargs: Any) -> Any:
        self._note("regenerate")
        return await super().regenerate(*args, **kwargs)

    async def touch(self, *args: Any, **kwargs: Any) -> Any:
        self._note("touch")
        return await super().touch(*args, **kwargs)

    async def delete(self, *keys: str) -> Deleted:
        self._note("delete")
        return await super().delete(*keys)


def client_of(app: Any, **options: Any) -> TestClient:
    """A browser of this application's, which sees an error page where there is one."""
    return TestClient(app, **{"raise_server_exceptions": False, "follow_redirects": False, **options})
