"""What a session in PostgreSQL adds to a request: microseconds of CPU in process, beside asyncpg's prepared statements.

No peer keeps sessions there asynchronously, so the yardstick is a statement: a row fetched by its key, prepared, on a connection that
nobody else uses. Then one row of many is locked by another program, and the others are asked for all the same.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from benchmarks.asgi import calls_of, cookie_of, handler
from benchmarks.measure import Figure, Work, difference, ratios, shown, side_by_side, table
from benchmarks.workload import ACTIONS, CASES, DATA, SECRET, encoded, fill

URL, POOL, BARE = "Sojourn, by URL", "Sojourn, the user's pool", "no sessions"
FETCH = "asyncpg, a prepared fetch on a connection of its own"
LOAD = "`store.load` of the store by URL"
DAY = 86_400_000
HOT = 64
"""Sessions that are asked for while another's row is locked."""
WRITERS = 8
ROUNDS = 9
SECONDS = 0.5
"""Of each round in which commits are counted."""


class Cell(NamedTuple):
    name: str
    case: str
    at_once: int


TARGETS: Final = [
    (Cell(LOAD, "", 16), Cell(FETCH, "", 16), 0.7),
    *((Cell(URL, "a", at_once), Cell(FETCH, "", at_once), 1.75) for at_once in (16, 1)),
    *((Cell(URL, "b", at_once), Cell(FETCH, "", at_once), 3.75) for at_once in (16, 1)),
]
"""Ratios at most. (a) and (b) are half, and 0.45, of what they were at 24fab3e: 74 and 168 beside asyncpg's 20."""


@asynccontextmanager
async def _stores(url: str) -> AsyncIterator[dict[str, Any]]:
    from psycopg_pool import AsyncConnectionPool

    from sojourn.stores import AsyncPostgresStore

    by_url = AsyncPostgresStore.from_url(f"{url}?create_table=true")
    async with AsyncConnectionPool(url, min_size=16, max_size=16, open=False) as pool:
        store = AsyncPostgresStore(pool)
        await by_url.open()
        yield {URL: by_url, POOL: store}
        await store.close()
    await by_url.close()


@asynccontextmanager
async def _fetches(url: str, keys: list[str]) -> AsyncIterator[list[Work]]:
    import asyncpg

    connections = [await asyncpg.connect(url) for _ in keys]
    text = "SELECT sess::text, expire FROM session WHERE sid = $1 AND expire > clock_timestamp()"
    yield [_fetch(await connection.prepare(text), key) for connection, key in zip(connections, keys, strict=True)]
    for connection in connections:
        await connection.close()


def _fetch(statement: Any, key: str) -> Work:
    async def work(calls: int) -> None:
        for _ in range(calls):
            await statement.fetchrow(key)

    return work


def _load(store: Any, key: str) -> Work:
    async def work(calls: int) -> None:
        for _ in range(calls):
            await store.load(key)

    return work


async def _figures(stores: dict[str, Any], url: str) -> dict[Cell, Figure]:
    from sojourn.asgi import SessionMiddleware

    runs: dict[Cell, list[Work]] = {}
    data = encoded({"cookie": {"originalMaxAge": None}} | DATA).encode()
    async with AsyncExitStack() as stack:
        for at_once in (1, 16):
            for name, store in stores.items():
                filling = SessionMiddleware(handler(fill(DATA)), secret=SECRET, store=store)
                cookies = [await cookie_of(filling) for _ in range(at_once)]
                for case in "ab":
                    app = SessionMiddleware(handler(ACTIONS[case]), secret=SECRET, store=store)
                    runs[Cell(name, case, at_once)] = [calls_of(app, cookie) for cookie in cookies]
            keys = [f"{at_once}-{number:061}" for number in range(at_once)]
            for key in keys:
                await stores[URL].create(key, data, DAY)
            runs[Cell(LOAD, "", at_once)] = [_load(stores[URL], key) for key in keys]
            runs[Cell(FETCH, "", at_once)] = await stack.enter_async_context(_fetches(url, keys))
        runs[Cell(BARE, "", 1)] = [calls_of(handler(None), "sid=" + "x" * 64)]
        figures = await side_by_side(runs)
    base = figures.pop(Cell(BARE, "", 1))
    return {cell: difference(figure, base) if cell.case else figure for cell, figure in figures.items()}


async def _hot(store: Any, url: str) -> list[list[object]]:
    """Milliseconds of loads and commits of many sessions, without and with another's row being locked and 16 waiting for it."""
    import asyncpg

    rows: list[list[object]] = []
    version = b'{"cookie":{"originalMaxAge":null}}'
    keys = [f"hot-{number:060}" for number in range(HOT)]
    for key in ("hot", *keys):
        await store.create(key, version, DAY)
    connection = await asyncpg.connect(url)
    for is_locked in (False, True):
        waiting: list[asyncio.Task[Any]] = []
        transaction = connection.transaction()
        await transaction.start()
        if is_locked:
            await connection.execute("SELECT FROM session WHERE sid = 'hot' FOR UPDATE")
            waiting = [asyncio.create_task(store.replace("hot", version, DAY, version=version)) for _ in range(16)]
            await asyncio.sleep(0.05)
        taken: dict[str, list[float]] = {"load": [], "commit": []}

        async def visit(key: str, taken: dict[str, list[float]] = taken) -> None:
            for _ in range(10):
                before = time.perf_counter()
                await store.load(key)
                between = time.perf_counter()
                with suppress(Exception):
                    await store.replace(key, version, DAY, version=version)
                taken["load"].append(between - before)
                taken["commit"].append(time.perf_counter() - between)

        await asyncio.gather(*(visit(key) for key in keys))
        await transaction.rollback()
        await asyncio.gather(*waiting, return_exceptions=True)
        for what, seconds in taken.items():
            quantiles = statistics.quantiles(seconds, n=100)
            state = "a row is locked, and 16 wait for it" if is_locked else "no row is locked"
            rows.append(
                [what, state, *(f"{quantiles[at] * 1000:.1f}" for at in (49, 98)), f"{max(seconds) * 1000:.1f}"]
            )
    await connection.close()
    return rows


async def _durable() -> list[list[object]]:
    """Commits per second of eight writers, each with a session of its own, where the server waits for the disk."""
    import asyncpg
    from psycopg_pool import AsyncConnectionPool

    from sojourn.stores import AsyncPostgresStore
    from tests.servers import postgres_server

    data = encoded({"cookie": {"originalMaxAge": None}} | DATA).encode()
    keys = [f"durable-{number:056}" for number in range(WRITERS)]
    update = "UPDATE session SET sess = {}::json, expire = clock_timestamp() + interval '1 day' WHERE sid = {}"
    rates: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgres_server())
        server.init()
        server.start(fsync="on", synchronous_commit="on", full_page_writes="on")
        store = AsyncPostgresStore.from_url(f"{server.url}?create_table=true")
        for key in keys:
            await store.create(key, data, DAY)
        theirs = await stack.enter_async_context(asyncpg.create_pool(server.url, min_size=WRITERS, max_size=WRITERS))
        pool = AsyncConnectionPool(server.url, min_size=WRITERS, kwargs={"autocommit": True}, open=False)
        await stack.enter_async_context(pool)

        async def ours(key: str) -> None:
            await store.replace(key, data, DAY, version=data)

        async def by_asyncpg(key: str) -> None:
            await theirs.execute(update.format("$1", "$2"), data.decode(), key)

        async def by_psycopg(key: str) -> None:
            async with pool.connection() as connection:
                await connection.execute(update.format("%s", "%s"), (data.decode(), key))

        for _ in range(ROUNDS):
            for name, commit in ((URL, ours), ("asyncpg's pool", by_asyncpg), ("psycopg's pool", by_psycopg)):
                before = time.perf_counter()
                counts = await asyncio.gather(*(_commits(commit, key, before + SECONDS) for key in keys))
                rates.setdefault(name, []).append(sum(counts) / (time.perf_counter() - before))
        await store.close()
    return [
        [name, *(f"{which(found):,.0f}" for which in (statistics.median, min, max))] for name, found in rates.items()
    ]


async def _commits(commit: Callable[[str], Awaitable[object]], key: str, until: float) -> int:
    """How often one writer commits until then."""
    count = 0
    while time.perf_counter() < until:
        await commit(key)
        count += 1
    return count


async def postgres() -> str:
    """The tables of what is added, of the targets, of a locked row among many, and of commits that wait for the disk."""
    from tests.servers import postgres_server

    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgres_server())
        server.init()
        server.start()
        stores = await stack.enter_async_context(_stores(server.url))
        figures = await _figures(stores, server.url)
        hot = await _hot(stores[URL], server.url)
    durable = await _durable()
    columns = [(case, at_once) for at_once in (1, 16) for case in "ab"]
    rows = [[name, *(shown(figures[Cell(name, *column)], 1) for column in columns)] for name in (URL, POOL)]
    lone = [[name, *(shown(figures[Cell(name, "", at_once)], 1) for at_once in (1, 16))] for name in (LOAD, FETCH)]
    targets = [
        [
            f"{f'({cell.case}) ' * bool(cell.case)}{cell.at_once} at once: {cell.name}, to {peer.name}",
            f"{target:.2f}",
            shown(ratios(figures[cell], figures[peer]), 2),
        ]
        for cell, peer, target in TARGETS
    ]
    return "\n\n".join(
        [
            "### PostgreSQL: microseconds of the client's CPU added per request",
            table(["", *(f"({case}) {CASES[case]}, {at_once} at once" for case, at_once in columns)], rows),
            table(["alone", "1 at once", "16 at once"], lone),
            table(["", "target, at most", "figure"], targets),
            table([f"{HOT} sessions at once", "meanwhile", "p50, ms", "p99, ms", "longest, ms"], hot),
            table([f"commits per second, {WRITERS} writers, fsync on", "median", "least", "most"], durable),
        ]
    )
