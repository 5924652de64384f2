"""SQLite: loads and commits per second in both colours, and what it adds to a request beside Django's database sessions."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks import asgi, django, wsgi
from benchmarks.contestants import Door
from benchmarks.measure import Figure, Work, difference, ratios, shown, side_by_side, table
from benchmarks.processors import one_processor
from benchmarks.workload import ACTIONS, CASES, DATA, SECRET, fill
from sojourn.asgi import SessionMiddleware
from sojourn.core.store import Stored
from sojourn.stores import AsyncMemoryStore, AsyncSQLiteStore, SQLiteStore
from sojourn.wsgi import SessionMiddleware as SyncMiddleware

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


MEMORY, SQLITE, SQLITE_WSGI, DJANGO = "memory, ASGI", "SQLite, ASGI", "SQLite, WSGI", "Django, db engine on SQLite"
_TARGETS = [(name, case, target) for name in (SQLITE, SQLITE_WSGI) for case, target in (("a", 0.1), ("b", 0.12))]
"""What ours may add at most, as a share of what Django adds."""


async def beside_peers(*, at_once: int = 16) -> str:
    """CPU that sessions add to a request in process; under ASGI 16 requests at once, each of its own session.

    Under WSGI each change wakes the thread that writes, and is woken by it; see `processors`.
    """
    with tempfile.TemporaryDirectory() as folder, django.database_sessions(Path(folder) / "django.db") as by_django:
        with one_processor():
            together = await _added(Path(folder) / "one", by_django, at_once)
        apart = await _added(Path(folder) / "several", by_django, at_once)
    rows = [
        [name, *(shown(added[name, case], 1) for added in (together, apart) for case in "ab")]
        for name in (MEMORY, SQLITE, SQLITE_WSGI, DJANGO)
    ]
    targets = [
        [
            f"({case}) {name}, to Django",
            f"{target:.2f}",
            *(shown(ratios(added[name, case], added[DJANGO, case]), 2) for added in (together, apart)),
        ]
        for name, case, target in _TARGETS
    ]
    columns = [f"({case}) {CASES[case]}{where}" for where in ("", ", on all processors") for case in "ab"]
    return "\n\n".join(
        [
            f"### SQLite: microseconds of CPU added per request, on one processor, under ASGI {at_once} at once",
            table(["", *columns], rows),
            table(["what is added", "target, at most", "on one processor", "on all"], targets),
        ]
    )


async def _added(file: Path, by_django: Callable[[Any], Any], at_once: int) -> dict[tuple[str, str], Figure]:
    stores = AsyncMemoryStore(), AsyncSQLiteStore(f"{file}-async.db"), SQLiteStore(f"{file}-sync.db")
    contestants: dict[str, tuple[Door, Callable[[Any], Any], int]] = {
        MEMORY: (asgi, lambda app: SessionMiddleware(app, secret=SECRET, store=stores[0]), at_once),
        SQLITE: (asgi, lambda app: SessionMiddleware(app, secret=SECRET, store=stores[1]), at_once),
        SQLITE_WSGI: (wsgi, lambda app: SyncMiddleware(app, secret=SECRET, store=stores[2]), 1),
        DJANGO: (django, by_django, 1),
    }
    runs: dict[tuple[str, str] | Door, list[Work]] = {}
    for name, (door, wrap, lanes) in contestants.items():
        cookies = [await door.cookie_of(wrap(door.handler(fill(DATA)))) for _ in range(lanes)]
        for case in "ab":
            app = wrap(door.handler(ACTIONS[case]))
            runs[name, case] = [door.calls_of(app, cookie) for cookie in cookies]
        runs.setdefault(door, [door.calls_of(door.handler(None), cookies[0])])
    figures = await side_by_side(runs)
    await stores[1].close()
    stores[2].close()
    return {
        (name, case): difference(figures[name, case], figures[contestants[name][0]])
        for name in contestants
        for case in "ab"
    }
