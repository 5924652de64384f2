from __future__ import annotations

from sojourn.stores.memory import AsyncMemoryStore, MemoryStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract


class TestMemoryStore(StoreContract):
    def make_store(self, clock: ManualClock) -> MemoryStore:
        return MemoryStore(clock=clock)


class TestAsyncMemoryStore(AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncMemoryStore:
        return AsyncMemoryStore(clock=clock)


class TestAsyncMemoryStoreOnTrio(TestAsyncMemoryStore):
    backend = "trio"
