"""Many requests of one session at once, each of which adds one to a number in it: how long they take, and what they cost the store."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.asgi import calls_of, cookie_of, handler
from benchmarks.measure import Figure, shown, table
from benchmarks.workload import SECRET, data_of, fill
from sojourn.asgi import SessionMiddleware
from sojourn.stores import AsyncRedisStore, AsyncSQLiteStore

AT_ONCE = 200
SIZES = (0.4, 64)
ROUNDS = 7

Wire = Callable[[], Awaitable[int]]
"""How many bytes a server has received and sent."""


@asynccontextmanager
async def _sqlite() -> AsyncIterator[tuple[Any, Wire | None]]:
    with tempfile.TemporaryDirectory() as folder:
        store = AsyncSQLiteStore(Path(folder) / "sessions.db")
        yield store, None
        await store.close()


@asynccontextmanager
async def _redis() -> AsyncIterator[tuple[Any, Wire | None]]:
    from redis.asyncio import Redis

    from tests.servers import valkey

    with valkey() as server:
        client, store = Redis.from_url(server.url), AsyncRedisStore.from_url(server.url)

        async def wire() -> int:
            stats = await client.info("stats")
            return int(stats["total_net_input_bytes"] + stats["total_net_output_bytes"])

        yield store, wire
        await store.close()
        await client.aclose()


async def contention() -> str:
    """The table."""
    rows = []
    for name, opened in (("SQLite", _sqlite), ("Redis, by URL", _redis)):
        async with opened() as (store, wire):
            rows += [[name, size, *await _measured(store, wire, size)] for size in SIZES]
    head = ["store", "KB", "ms", "commands to write", "MB on the wire"]
    return "\n\n".join([f"### {AT_ONCE} increments of one session at once", table(head, rows)])


async def _measured(store: Any, wire: Wire | None, size: float) -> list[str]:
    counted = SessionMiddleware(handler(lambda session: session.increment("n")), secret=SECRET, store=store)
    writes = 0
    replace = store.replace

    async def noted(*args: Any, **more: Any) -> Any:
        nonlocal writes
        writes += 1
        return await replace(*args, **more)

    store.replace = noted
    taken, moved, written = [], [], []
    for _ in range(ROUNDS):
        cookie = await cookie_of(SessionMiddleware(handler(fill(data_of(size))), secret=SECRET, store=store))
        before, writes = 0 if wire is None else await wire(), 0
        began = time.perf_counter()
        await asyncio.gather(*(calls_of(counted, cookie)(1) for _ in range(AT_ONCE)))
        taken.append((time.perf_counter() - began) * 1000)
        written.append(float(writes))
        moved.append(0.0 if wire is None else (await wire() - before) / 1e6)
    del store.replace
    return [
        shown(Figure(tuple(taken))),
        shown(Figure(tuple(written))),
        "" if wire is None else shown(Figure(tuple(moved)), 2),
    ]
