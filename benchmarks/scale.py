"""Scale: each store filled with up to a million sessions; what loads, commits and logins cost then, and what expiry costs.

``python -m benchmarks scale`` fills to 100,000 sessions of 0.4 KB. ``SOJOURN_BENCH_SESSIONS=1000000`` fills to a million,
``SOJOURN_BENCH_KB=0.4,4,16`` has sessions of other sizes too, and ``SOJOURN_BENCH_STORES=sqlite,postgresql`` those stores alone. Of sessions
of 16 KB there are 100,000 at most. Servers come from the tests' wheels. For MongoDB ``SOJOURN_BENCH_MONGODB_URL`` names a real one, where a
database is made for it; the tests' server bears no more than 10,000, and its figures are its own.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import random
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager, closing
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.measure import table
from sojourn.stores import AsyncMemoryStore, AsyncMongoStore, AsyncPostgresStore, AsyncRedisStore, AsyncSQLiteStore

DAY = 86_400_000
TOMBSTONE = 60_000
AT_ONCE = 64
PROBES = 3000
EXPIRING = 10_000
LONGEST = 60
"""Seconds that a server has to remove what has expired by itself."""
MOST = int(os.environ.get("SOJOURN_BENCH_SESSIONS", "100000"))
KILOBYTES = [float(size) for size in os.environ.get("SOJOURN_BENCH_KB", "0.4").split(",")]
WANTED = os.environ.get("SOJOURN_BENCH_STORES", "").lower().split(",")
LIVE = (1_000, 100_000, MOST)
LARGE, MOST_LARGE = 16, 100_000
"""From so many KB on, there are no more sessions than this."""


def key_of(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" * 4


def record(randomness: random.Random, size: int) -> bytes:
    """A record of so many bytes, which no database can compress."""
    head = b'{"cookie":{"originalMaxAge":null},"data":"'
    return head + base64.b64encode(randomness.randbytes(size))[: size - len(head) - 2] + b'"}'


def _bytes_in(folder: str) -> float:
    return sum(path.stat().st_size for path in Path(folder).iterdir())


class Opened(NamedTuple):
    """A store that is measured."""

    store: Any
    size: Callable[[], Awaitable[float]]
    """How many bytes it takes."""
    fill: Callable[[Iterable[tuple[str, bytes]]], Awaitable[None]] | None = None
    """Puts sessions in as fast as the database can take them; None: by `create`."""
    most: int = MOST
    expire: Callable[[], Awaitable[object]] | None = None
    """Waits until the server has removed what has expired; None: by `delete_expired`."""


def _resident() -> float:
    """Bytes of memory that this process has."""
    return float(psutil.Process().memory_info().rss)


@asynccontextmanager
async def memory() -> AsyncIterator[Opened]:
    store = AsyncMemoryStore(max_sessions=None, max_bytes=None)
    gc.collect()
    before = _resident()

    async def size() -> float:
        return _resident() - before

    yield Opened(store, size)


@asynccontextmanager
async def sqlite() -> AsyncIterator[Opened]:
    with tempfile.TemporaryDirectory() as folder:
        store = AsyncSQLiteStore(Path(folder) / "sessions.db")

        async def size() -> float:
            return _bytes_in(folder)

        async def fill(sessions: Iterable[tuple[str, bytes]]) -> None:
            await store.open()
            statement = "INSERT INTO sessions (key, data, version, expires) VALUES (?, ?, 1, ?)"
            until = time.time_ns() // 1_000_000 + DAY
            with closing(sqlite3.connect(store.path, timeout=60)) as connection:
                while rows := [(key, data, until) for key, data in islice(sessions, 10_000)]:
                    with connection:
                        connection.executemany(statement, rows)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        yield Opened(store, size, fill)
        await store.close()


@asynccontextmanager
async def redis() -> AsyncIterator[Opened]:
    from redis.asyncio import Redis

    from tests.servers import valkey

    with valkey() as server:
        store = AsyncRedisStore.from_url(server.url)
        client = Redis.from_url(server.url)
        empty = (await client.info("memory"))["used_memory"]

        async def size() -> float:
            return float((await client.info("memory"))["used_memory"] - empty)

        async def fill(sessions: Iterable[tuple[str, bytes]]) -> None:
            script = "for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end"
            while some := list(islice(sessions, 1000)):  # with the data of the first, which costs this process less
                names = [store.prefix + key for key, _ in some]
                await client.eval(script, len(some), *names, some[0][1], DAY)

        async def expire() -> None:
            """Removing them is the server's own business."""
            until = time.monotonic() + LONGEST
            while (await client.info("stats"))["expired_keys"] < EXPIRING and time.monotonic() < until:  # noqa: ASYNC110 - it does not tell
                await asyncio.sleep(0.01)
            await client.config_resetstat()

        yield Opened(store, size, fill, expire=expire)
        await client.aclose()
        await store.close()


@asynccontextmanager
async def postgresql() -> AsyncIterator[Opened]:
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

        async def fill(sessions: Iterable[tuple[str, bytes]]) -> None:
            async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
                row = await (await connection.execute("SELECT localtimestamp + interval '1 day'")).fetchone()
                assert row is not None
                async with (
                    connection.cursor() as cursor,
                    cursor.copy("COPY session (sid, sess, expire) FROM STDIN") as copy,
                ):
                    for key, data in sessions:
                        await copy.write_row((key, data.decode(), row[0]))
                await connection.execute("VACUUM ANALYZE session")

        yield Opened(store, size, fill)
        await store.close()


@asynccontextmanager
async def mongodb() -> AsyncIterator[Opened]:
    from pymongo import AsyncMongoClient

    from tests.servers import secantus

    with ExitStack() as stack:
        url = os.environ.get("SOJOURN_BENCH_MONGODB_URL")
        most = MOST if url else 10_000
        if url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = stack.enter_context(secantus(folder)).url("test")
        client: Any = AsyncMongoClient(url)
        database = client[f"sojourn_bench_{os.getpid()}"]
        store = AsyncMongoStore(client, database=database.name)

        async def size() -> float:
            found = await database.command("collStats", "sessions")
            return float(found.get("totalSize", found["size"]))

        try:
            yield Opened(store, size, most=most)
        finally:
            await client.drop_database(database.name)
            await store.close()
            await client.close()


STORES = {"memory": memory, "SQLite": sqlite, "Redis (Valkey)": redis, "PostgreSQL": postgresql, "MongoDB": mongodb}


async def at_once(work: Callable[[int], Awaitable[object]], numbers: Iterable[int]) -> tuple[float, list[float]]:
    """Works per second, so many at once, and the microseconds that each took."""
    waiting = iter(numbers)
    taken: list[float] = []

    async def lane() -> None:
        for number in waiting:
            before = time.perf_counter()
            await work(number)
            taken.append((time.perf_counter() - before) * 1e6)

    before = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    return len(taken) / (time.perf_counter() - before), taken


class Bench:
    """A store with sessions of one size in it."""

    def __init__(self, opened: Opened, size: int) -> None:
        self._opened = opened
        self._store = opened.store
        self._size = size
        self._live = 0
        self._moved: dict[int, str] = {}
        """The keys of those who have logged in."""
        self._randomness = random.Random(size)

    def _record(self) -> bytes:
        return record(self._randomness, self._size)

    def _key(self, number: int) -> str:
        return self._moved.get(number) or key_of(number)

    def _drawn(self) -> Iterable[int]:
        return self._randomness.sample(range(self._live), min(PROBES, self._live))

    async def fill(self, live: int) -> float:
        """Bring it up to so many sessions; returns creates per second, of the last of them."""
        last = max(self._live, live - PROBES)
        sessions = ((key_of(number), self._record()) for number in range(self._live, last))
        if self._opened.fill is None:
            await asyncio.gather(*(self._create_all(sessions) for _ in range(AT_ONCE)))
        else:
            await self._opened.fill(sessions)
        data = self._record()
        rate, _taken = await at_once(lambda number: self._store.create(key_of(number), data, DAY), range(last, live))
        self._live = live
        return rate

    async def _create_all(self, sessions: Iterable[tuple[str, bytes]]) -> None:
        for key, data in sessions:
            await self._store.create(key, data, DAY)

    async def load(self, number: int) -> Any:
        return await self._store.load(self._key(number))

    async def commit(self, number: int) -> None:
        """What a request with a change does: load and replace."""
        found = await self.load(number)
        await self._store.replace(self._key(number), self._record(), DAY, version=found.version)

    async def log_in(self, number: int) -> None:
        """What a login does: load, and move to a new key."""
        found = await self.load(number)
        old, new = self._key(number), secrets.token_hex(32)
        owner = f"user-{number}"
        await self._store.regenerate(old, new, found.data, DAY, version=found.version, tombstone=TOMBSTONE, owner=owner)
        self._moved[number] = new

    async def alone(self) -> list[str]:
        """Microseconds of a load, a commit and a login, one at a time."""
        shown_ones = []
        for work in (self.load, self.commit, self.log_in):
            taken = []
            for number in self._drawn():
                before = time.perf_counter()
                await work(number)
                taken.append((time.perf_counter() - before) * 1e6)
            shown_ones.append(shown(taken))
        return shown_ones

    async def rates(self) -> list[str]:
        """Loads, commits and logins per second, many at once."""
        return [f"{(await at_once(work, self._drawn()))[0]:,.0f}" for work in (self.load, self.commit, self.log_in)]

    async def expiry(self) -> str:
        """Time to remove expired sessions beside all the live ones, and the longest load and commit meanwhile, in ms."""
        data = self._record()
        await at_once(lambda number: self._store.create(f"expiring-{number}", data, 1), range(EXPIRING))
        await asyncio.sleep(0.02)
        longest: dict[Callable[[int], Awaitable[object]], float] = {self.load: 0.0, self.commit: 0.0}
        done = asyncio.Event()

        async def watch(work: Callable[[int], Awaitable[object]]) -> None:
            while not done.is_set():
                number = self._randomness.randrange(self._live)
                before = time.perf_counter()
                await work(number)
                longest[work] = max(longest[work], time.perf_counter() - before)
                await asyncio.sleep(0)

        watching = [asyncio.create_task(watch(work)) for work in longest]
        before = time.perf_counter()
        await (self._opened.expire or self._store.delete_expired)()
        took = time.perf_counter() - before
        done.set()
        await asyncio.gather(*watching)
        return " / ".join([f"{took * 1000:.0f}", *(f"{each * 1000:.1f}" for each in longest.values())])


def shown(taken: list[float]) -> str:
    quantiles = statistics.quantiles(taken, n=100)
    return f"{quantiles[49]:.0f} / {quantiles[98]:.0f}"


async def scale() -> str:
    """The table of all stores, of each size and number of sessions."""
    rows = []
    for kilobytes, (name, open_store) in product(KILOBYTES, STORES.items()):
        if not any(wanted in name.lower() for wanted in WANTED):
            continue
        async with open_store() as opened:
            bench = Bench(opened, int(kilobytes * 1000))
            most = min(MOST, opened.most, MOST_LARGE if kilobytes >= LARGE else MOST)
            for live in sorted({min(most, live) for live in LIVE}):
                creates = await bench.fill(live)
                each = await opened.size() / live
                alone = await bench.alone()
                cells = [f"{creates:,.0f}", *await bench.rates(), *alone, f"{each:,.0f}"]
                rows.append([name, f"{kilobytes:g}", f"{live:,}", *cells, await bench.expiry()])
                print(rows[-1], flush=True)
    head = [
        "store",
        "KB",
        "live sessions",
        *(f"{what}/s" for what in ("creates", "loads", "commits", "logins")),
        *(f"{what}, µs p50 / p99" for what in ("load", "commit", "login")),
        "bytes per session",
        f"expiry of {EXPIRING:,}, ms / longest load / longest commit meanwhile, ms",
    ]
    note = (
        f"Rates are those of one process with {AT_ONCE} at once, times those of one at a time. A commit is a load and a replace, a login a load and "
        "a move to a new key. The memory store's bytes are those that the process has more of. Redis removes what has expired by itself, at its leisure."
    )
    return "\n\n".join(["### Scale: cost per operation by the number of live sessions", table(head, rows), note])
