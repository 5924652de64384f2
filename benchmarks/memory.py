"""What the memory store keeps beside a record: bytes, by tracemalloc."""

from __future__ import annotations

import gc
import random
import tracemalloc

from benchmarks.measure import table
from sojourn.stores import MemoryStore

PAYLOAD = 400
DAY = 86_400_000
TARGET = 300


def memory() -> str:
    """The table of bytes beside each record, its key included. A dict that has just grown has more room than one that is full."""
    rows = [
        [f"{sessions:,}", *(f"{_beside(sessions, owners=owners):.0f}" for owners in (False, True)), TARGET]
        for sessions in (60_000, 100_000, 170_000)
    ]
    head = ["sessions", "bytes beside each", "with an owner each", "target, below"]
    return "\n\n".join(["### Memory: bytes beside a record", table(head, rows)])


def _beside(sessions: int, *, owners: bool) -> float:
    numbers = random.Random(1)
    store = MemoryStore(max_sessions=None, max_bytes=None)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(sessions):
        owner = f"user-{number:059}" if owners else None
        store.create(f"{numbers.getrandbits(256):064x}", numbers.randbytes(PAYLOAD), DAY, owner=owner)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / sessions - PAYLOAD
