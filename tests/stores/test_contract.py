"""The contract suite over the memory store. The other stores have it among their own tests."""

from __future__ import annotations

import copy

from sojourn.stores.memory.store import AsyncMemoryStore, MemoryStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract


class TestMemoryStore(StoreContract):
    def make_store(self, clock: ManualClock) -> MemoryStore:
        self.made = MemoryStore(clock=clock)
        return self.made

    def make_peer(self, clock: ManualClock) -> MemoryStore:
        return copy.copy(self.made)  # another object with the same records, tombstones, locks and mutex


class TestAsyncMemoryStore(AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncMemoryStore:
        self.made = AsyncMemoryStore(clock=clock)
        return self.made

    def make_peer(self, clock: ManualClock) -> AsyncMemoryStore:
        return copy.copy(self.made)


class TestAsyncMemoryStoreOnTrio(TestAsyncMemoryStore):
    backend = "trio"
