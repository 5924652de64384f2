"""SQLite: loads and commits per second in both colours, and what it adds to a request beside the memory store."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.in_process import CASES, SECRET, calls_of, cookie_of, handler
from benchmarks.measure import Figure, ratio, table
from sojourn.asgi import SessionMiddleware
from sojourn.core.store import Stored
from sojourn.stores import AsyncMemoryStore, AsyncSQLiteStore, SQLiteStore

RECORD = b'{"cookie":{"originalMaxAge":null},"data":"' + b"x" * 358 + b'"}'
DAY = 86_400_000


async def rates() -> str:
    """Operations per second on one store, alone and from 50 at once."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for synchronous in ("NORMAL", "FULL"):
            sync = SQLiteStore(Path(folder) / f"sync-{synchronous}.db", synchronous=synchronous)
            lone = AsyncSQLiteStore(Path(folder) / f"async-{synchronous}.db", synchronous=synchronous)
            for at_once in (1, 50):
                keys = [f"{n:064x}" for n in range(at_once)]
                for key in keys:
                    sync.create(key, RECORD, DAY)
                    await lone.create(key, RECORD, DAY)
                rows.append(
                    [
                        synchronous,
                        at_once,
                        *(f"{rate:,.0f}" for rate in _threads(sync, keys)),
                        *[f"{rate:,.0f}" for rate in [await _tasks(lone, keys, do) for do in (_aload, _acommit)]],
                    ]
                )
                sync.clear()
                await lone.clear()
            sync.close()
            await lone.close()
    head = ["synchronous", "at once", "loads/s, sync", "commits/s, sync", "loads/s, async", "commits/s, async"]
    return "\n\n".join(["### SQLite: operations per second of wall time, 400 bytes", table(head, rows)])


def _threads(store: SQLiteStore, keys: list[str]) -> list[float]:
    rates = []
    for operation, total in ((_load, 2000), (_commit, 400)):
        each = max(40, total // len(keys))
        threads = [threading.Thread(target=operation, args=(store, key, each)) for key in keys]
        before = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates.append(each * len(keys) / (time.perf_counter() - before))
    return rates


def _load(store: SQLiteStore, key: str, times: int) -> None:
    for _ in range(times):
        store.load(key)


def _commit(store: SQLiteStore, key: str, times: int) -> None:
    found = store.load(key)
    assert isinstance(found, Stored)
    version = found.version
    for _ in range(times):
        version = store.replace(key, RECORD, DAY, version=version)


async def _tasks(store: AsyncSQLiteStore, keys: list[str], do: Callable[..., Awaitable[None]]) -> float:
    each = max(40, (2000 if do is _aload else 400) // len(keys))
    before = time.perf_counter()
    await asyncio.gather(*(do(store, key, each) for key in keys))
    return each * len(keys) / (time.perf_counter() - before)


async def _aload(store: AsyncSQLiteStore, key: str, times: int) -> None:
    for _ in range(times):
        await store.load(key)


async def _acommit(store: AsyncSQLiteStore, key: str, times: int) -> None:
    found = await store.load(key)
    assert isinstance(found, Stored)
    version = found.version
    for _ in range(times):
        version = await store.replace(key, RECORD, DAY, version=version)


async def beside_memory(*, at_once: int = 16, rounds: int = 9, calls: int = 40) -> str:
    """CPU per request through the ASGI middleware, 16 requests at once, each of its own session."""
    taken: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stores: dict[str, Any] = {
            "memory": AsyncMemoryStore(),
            "SQLite": AsyncSQLiteStore(Path(folder) / "sessions.db"),
        }
        runs = {}
        for name, store in stores.items():
            fill = SessionMiddleware(handler("fill"), secret=SECRET, store=store)
            cookies = [await cookie_of(fill) for _ in range(at_once)]
            for case in "ab":
                app = SessionMiddleware(handler(case), secret=SECRET, store=store)
                runs[name, case] = [calls_of(app, cookie) for cookie in cookies]
        for _ in range(rounds):
            for key, works in runs.items():
                before = time.process_time()
                await asyncio.gather(*(work(calls) for work in works))
                taken.setdefault(key, []).append((time.process_time() - before) / calls / at_once * 1e6)
        await stores["SQLite"].close()
    figures = {key: Figure(tuple(values)) for key, values in taken.items()}
    rows = [[name, figures[name, "a"], figures[name, "b"]] for name in ("memory", "SQLite")]
    targets = [
        [f"({case}) SQLite to memory", target, f"{ratio(figures['SQLite', case], figures['memory', case]):.2f}"]
        for case, target in (("a", "1.3"), ("b", "2.5"))
    ]
    return "\n\n".join(
        [
            f"### SQLite beside memory: microseconds of CPU per request, {at_once} at once",
            table(["store", *(f"({case}) {CASES[case]}" for case in "ab")], rows),
            table(["ratio", "target, at most", "figure"], targets),
        ]
    )
