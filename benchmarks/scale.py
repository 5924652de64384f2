"""Scale: each store filled with up to a million sessions of 400 bytes; what a load and a commit cost then, and what expiry costs.

``python -m benchmarks scale`` fills to 100,000; ``SOJOURN_BENCH_SESSIONS=1000000`` to a million. Servers come from the tests' wheels.
MongoDB is measured only against a real server, named by ``SOJOURN_BENCH_MONGODB_URL``, in a database made for it: figures of
the tests' server mean nothing.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from sojourn.stores import AsyncMemoryStore, AsyncMongoStore, AsyncPostgresStore, AsyncRedisStore, AsyncSQLiteStore

PAYLOAD = 400
DAY = 86_400_000
AT_ONCE = 64
PROBES = 3000
EXPIRING = 10_000
MOST = int(os.environ.get("SOJOURN_BENCH_SESSIONS", "100000"))
SIZES = [size for size in (1_000, 100_000, 1_000_000) if size <= MOST]


def key_of(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" * 4


def record(randomness: random.Random) -> bytes:
    filler = randomness.randbytes(PAYLOAD).hex()
    head = b'{"cookie":{"originalMaxAge":null},"data":"'
    return head + filler[: PAYLOAD - len(head) - 2].encode() + b'"}'


def _bytes_in(folder: str) -> float:
    return sum(path.stat().st_size for path in Path(folder).iterdir())


Size = Callable[[], Awaitable[float]]


@asynccontextmanager
async def memory() -> AsyncIterator[tuple[Any, Size]]:
    store = AsyncMemoryStore(max_sessions=None)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    async def size() -> float:
        return tracemalloc.get_traced_memory()[0] - before

    yield store, size
    tracemalloc.stop()


@asynccontextmanager
async def sqlite() -> AsyncIterator[tuple[Any, Size]]:
    with tempfile.TemporaryDirectory() as folder:
        store = AsyncSQLiteStore(Path(folder) / "sessions.db")

        async def size() -> float:
            return _bytes_in(folder)

        yield store, size
        await store.close()


@asynccontextmanager
async def redis() -> AsyncIterator[tuple[Any, Size]]:
    from redis.asyncio import Redis

    from tests.servers import valkey

    with valkey() as server:
        store = AsyncRedisStore.from_url(server.url)
        client = Redis.from_url(server.url)
        empty = (await client.info("memory"))["used_memory"]

        async def size() -> float:
            return float((await client.info("memory"))["used_memory"] - empty)

        yield store, size
        await client.aclose()
        await store.close()


@asynccontextmanager
async def postgresql() -> AsyncIterator[tuple[Any, Size]]:
    import psycopg

    from tests.servers import postgres_server

    with postgres_server() as server:
        server.init()
        server.start()
        separator = "&" if "?" in server.url else "?"
        store = AsyncPostgresStore.from_url(f"{server.url}{separator}create_table=true")
        await store.open()

        async def size() -> float:
            async with await psycopg.AsyncConnection.connect(server.url) as connection:
                cursor = await connection.execute("SELECT pg_total_relation_size('session')")
                found = await cursor.fetchone()
                return float(found[0]) if found else 0.0

        yield store, size
        await store.close()


@asynccontextmanager
async def mongodb() -> AsyncIterator[tuple[Any, Size]]:
    from pymongo import AsyncMongoClient

    client: Any = AsyncMongoClient(os.environ["SOJOURN_BENCH_MONGODB_URL"])
    database = client[f"sojourn_bench_{os.getpid()}"]
    store = AsyncMongoStore(client, database=database.name)

    async def size() -> float:
        return float((await database.command("collStats", "sessions"))["totalSize"])

    try:
        yield store, size
    finally:
        await client.drop_database(database.name)
        await store.close()
        await client.close()


STORES = {"memory": memory, "SQLite": sqlite, "Redis (Valkey)": redis, "PostgreSQL": postgresql}
if "SOJOURN_BENCH_MONGODB_URL" in os.environ:
    STORES["MongoDB"] = mongodb


async def fill(store: Any, start: int, stop: int) -> None:
    numbers = iter(range(start, stop))
    randomness = random.Random(start)

    async def lane() -> None:
        for number in numbers:
            await store.create(key_of(number), record(randomness), DAY)

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))


async def probe(store: Any, live: int) -> tuple[list[float], list[float]]:
    """Microseconds of wall time per load and per commit, one at a time, of sessions drawn at random."""
    randomness = random.Random(live)
    loads, commits = [], []
    for _ in range(PROBES):
        key, data = key_of(randomness.randrange(live)), record(randomness)
        before = time.perf_counter()
        found = await store.load(key)
        between = time.perf_counter()
        await store.replace(key, data, DAY, version=found.version)
        after = time.perf_counter()
        loads.append((between - before) * 1e6)
        commits.append((after - between) * 1e6)
    return loads, commits


def shown(taken: list[float]) -> str:
    quantiles = statistics.quantiles(taken, n=100)
    return f"{quantiles[49]:.0f} / {quantiles[98]:.0f}"


async def expiry(store: Any, live: int) -> str:
    """Time to remove expired sessions beside all the live ones, and the longest load meanwhile."""
    for number in range(EXPIRING):
        await store.create(f"expiring-{number}", b"{}" + b" " * (PAYLOAD - 2), 1)
    await asyncio.sleep(0.02)
    longest = 0.0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        randomness = random.Random(1)
        while not done.is_set():
            before = time.perf_counter()
            await store.load(key_of(randomness.randrange(live)))
            longest = max(longest, time.perf_counter() - before)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    before = time.perf_counter()
    await store.delete_expired()
    took = time.perf_counter() - before
    done.set()
    await watching
    return f"{took * 1000:.0f} / {longest * 1000:.1f}"


async def scale() -> str:
    """The table of all stores at each size."""
    rows = []
    for name, open_store in STORES.items():
        async with AsyncExitStack() as stack:
            store, size = await stack.enter_async_context(open_store())
            filled = 0
            for live in SIZES:
                before = time.perf_counter()
                await fill(store, filled, live)
                rate = (live - filled) / (time.perf_counter() - before)
                filled = live
                loads, commits = await probe(store, live)
                each = await size() / live
                rows.append(
                    [
                        name,
                        f"{live:,}",
                        f"{rate:,.0f}",
                        shown(loads),
                        shown(commits),
                        f"{each:,.0f}",
                        await expiry(store, live),
                    ]
                )
                print(rows[-1], flush=True)
    head = [
        "store",
        "live sessions",
        f"creates/s, {AT_ONCE} at once",
        "load, µs p50 / p99",
        "commit, µs p50 / p99",
        "bytes per session",
        f"expiry of {EXPIRING:,}, ms / longest load meanwhile, ms",
    ]
    note = f"Sessions of {PAYLOAD} bytes. The memory store's bytes are measured by tracemalloc, which slows it."
    return "\n\n".join(["### Scale: cost per operation by the number of live sessions", table(head, rows), note])
