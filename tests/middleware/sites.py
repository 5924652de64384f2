"""A middleware on a store in memory, and requests to it, in either colour."""

from __future__ import annotations

import inspect
from typing import Any

from sojourn.core.session import AsyncSession, Session
from sojourn.core.state import Found
from sojourn.middleware.async_ import AsyncMiddleware
from sojourn.middleware.sync import SyncMiddleware
from sojourn.stores import MemoryStore
from sojourn.testing import ManualClock, as_async
from tests.core.making import DAY, NOW, SECRET, begin, record_bytes

IDS = [f"the-id-of-device-number-{number}" for number in range(5)]


async def settle(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class Site:
    """A store with sessions, and requests that have one of them."""

    def __init__(self, colour: str, **options: Any) -> None:
        self.store = MemoryStore(clock=(clock := ManualClock(NOW)))
        store = self.store if colour == "sync" else as_async(self.store)
        given: Any = {"secret": SECRET, "clock": clock, "store": store, **options}
        self.middleware: Any = SyncMiddleware(given) if colour == "sync" else AsyncMiddleware(given)
        self.kind: Any = Session if colour == "sync" else AsyncSession
        self.settings = self.middleware.settings
        self.clock = clock

    def keep(self, session_id: str, owner: str = "ann", ttl: int = DAY, *, index: str | None = None) -> str:
        """A session of an owner; in the store's index perhaps of another."""

        def login(session: Session) -> None:
            session.login(owner, keep_data=True)

        key: str = self.settings.key_of(session_id)
        record = record_bytes(self.settings, {"n": 1}, before=login)
        self.store.create(key, record, ttl, owner=index or owner)
        return key

    async def request(self, session_id: str | None) -> Any:
        """A request's session."""
        state = begin(self.settings, Found.PENDING, io=self.middleware, ids=[] if session_id is None else [session_id])
        if session_id is None:
            state.found = Found.NOTHING
        else:
            await settle(self.middleware.look_up(state))
        return self.kind(state)

    def live(self) -> list[str]:
        return [one for one in IDS if self.store.load(self.settings.key_of(one))]
