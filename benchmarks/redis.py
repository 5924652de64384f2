"""What a session on Redis adds to a request: microseconds of CPU in process, beside its peers, on one Valkey server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple

from benchmarks import asgi, flask, floor, wsgi
from benchmarks.contestants import Column, Door
from benchmarks.express import CONNECT_REDIS, NODE, express
from benchmarks.measure import Figure, LeftOut, Work, difference, ratios, shown, side_by_side, table
from benchmarks.processors import one_processor
from benchmarks.workload import ACTIONS, SECRET, data_of, encoded, fill

SMALL, LARGE = 0.4, 64
URL, CLIENT, STARSESSIONS = "Sojourn, by URL", "Sojourn, the user's redis-py client", "starsessions"
SYNC_URL, SYNC_CLIENT, FLASK_SESSION = (
    "Sojourn, WSGI, by URL",
    "Sojourn, WSGI, the user's redis-py client",
    "Flask-Session",
)
BY_HAND, REDIS_PY, SYNC_BY_HAND = "no sessions, by hand", "no sessions, redis-py", "no sessions, WSGI, by hand"
"""The store's commands alone: see `floor`."""


class Cell(NamedTuple):
    name: str
    case: str
    size: float
    at_once: int


class Contestant(NamedTuple):
    door: Door
    wrap: Callable[[Any], Any]
    at_once: Sequence[int] = (1, 16)


TARGETS: Final = [
    *((Cell(URL, case, SMALL, 16), STARSESSIONS, target) for case, target in (("a", 0.16), ("b", 0.28))),
    *((Cell(URL, case, SMALL, 1), STARSESSIONS, target) for case, target in (("a", 0.25), ("b", 0.45))),
    *((Cell(URL, case, SMALL, 16), CONNECT_REDIS, 1.0) for case in "ab"),
    *((Cell(URL, case, LARGE, 1), FLASK_SESSION, target) for case, target in (("a", 0.3), ("b", 0.65))),
    *((Cell(CLIENT, case, SMALL, 16), STARSESSIONS, target) for case, target in (("a", 0.45), ("b", 0.9))),
    *((Cell(SYNC_URL, case, SMALL, 1), FLASK_SESSION, target) for case, target in (("a", 0.33), ("b", 0.5))),
]
"""What may be added at most, as a share of what a peer adds."""
FLOORS: Final = {URL: BY_HAND, CLIENT: REDIS_PY, SYNC_URL: SYNC_BY_HAND}
"""What is below each of ours."""


def _starsessions(url: str) -> asgi.Wrap:
    from starsessions import SessionAutoloadMiddleware, SessionMiddleware
    from starsessions.stores.redis import RedisStore

    store = RedisStore(url)
    return lambda app: SessionMiddleware(
        SessionAutoloadMiddleware(app), store=store, cookie_https_only=False, lifetime=3600
    )


@asynccontextmanager
async def _contestants(url: str) -> AsyncIterator[dict[str, Contestant]]:
    import redis.asyncio

    from sojourn.asgi import SessionMiddleware
    from sojourn.stores import AsyncRedisStore, RedisStore
    from sojourn.wsgi import SessionMiddleware as SyncMiddleware

    client, sync_client = redis.asyncio.Redis.from_url(url), redis.Redis.from_url(url)
    stores = AsyncRedisStore.from_url(url), AsyncRedisStore(client)
    sync_stores = RedisStore.from_url(url), RedisStore(sync_client)
    by_url, by_client = (
        lambda app, store=store: SessionMiddleware(app, secret=SECRET, store=store) for store in stores
    )
    sync_by_url, sync_by_client = (
        lambda app, store=store: SyncMiddleware(app, secret=SECRET, store=store) for store in sync_stores
    )
    yield {
        URL: Contestant(asgi, by_url),
        CLIENT: Contestant(asgi, by_client),
        STARSESSIONS: Contestant(asgi, _starsessions(url)),
        SYNC_URL: Contestant(wsgi, sync_by_url, (1,)),
        SYNC_CLIENT: Contestant(wsgi, sync_by_client, (1,)),
        FLASK_SESSION: Contestant(flask, flask.redis_sessions(url), (1,)),
    }
    for store in stores:
        await store.close()
    for sync_store in sync_stores:
        sync_store.close()
    sync_client.close()
    await client.aclose()


async def _floors(url: str, client: Any) -> dict[Cell, list[Work]]:
    runs = {}
    for size in (SMALL, LARGE):
        names = await floor.prepare(client, encoded(data_of(size)).encode(), 16)
        for case in "ab":
            for at_once in (1, 16):
                line = await floor.connect(url, gathers=at_once > 1)
                runs[Cell(BY_HAND, case, size, at_once)] = floor.works(line.ask, case, names[:at_once])
                runs[Cell(REDIS_PY, case, size, at_once)] = floor.works(client.execute_command, case, names[:at_once])
            runs[Cell(SYNC_BY_HAND, case, size, 1)] = [floor.sync_work(url, case, names[0])]
    return runs


async def _added(contestants: dict[str, Contestant], floors: dict[Cell, list[Work]]) -> dict[Cell, Figure]:
    runs: dict[Cell | Door, list[Work]] = dict(floors.items())
    for name, (door, wrap, numbers) in contestants.items():
        for at_once in numbers:
            for size in (SMALL, LARGE):
                cookies = [await door.cookie_of(wrap(door.handler(fill(data_of(size))))) for _ in range(at_once)]
                for case in "ab":
                    app = wrap(door.handler(ACTIONS[case]))
                    runs[Cell(name, case, size, at_once)] = [door.calls_of(app, cookie) for cookie in cookies]
                runs.setdefault(door, [door.calls_of(door.handler(None), cookies[0])])
    doors: dict[str, Door] = {BY_HAND: asgi, REDIS_PY: asgi, SYNC_BY_HAND: wsgi}
    doors |= {name: contestant.door for name, contestant in contestants.items()}
    figures = await side_by_side(runs)
    return {
        cell: difference(figure, figures[doors[cell.name]])
        for cell, figure in figures.items()
        if isinstance(cell, Cell)
    }


async def _express(url: str) -> dict[Cell, Figure]:
    figures: dict[Cell, Figure] = {}
    for at_once in (1, 16):
        columns = [Column(case, size) for case in "ab" for size in (SMALL, LARGE)]
        for column, of in (await express(columns, at_once=at_once, redis=url)).items():
            figures[Cell(CONNECT_REDIS, column.case, column.size, at_once)] = difference(of[CONNECT_REDIS], of[NODE])
    return figures


def _rows(
    figures: dict[Cell, Figure], columns: Sequence[tuple[str, float, int]], show: Callable[[Figure], str]
) -> list[list[str]]:
    """Those of a table of all contestants."""
    rows = []
    for name in dict.fromkeys(cell.name for cell in figures):
        cells = [figures.get(Cell(name, *column)) for column in columns]
        rows.append([name, *("" if figure is None else show(figure) for figure in cells)])
    return rows


async def redis() -> str:
    """The tables of what is added, and of the targets."""
    from redis.asyncio import Redis

    from tests.servers import valkey

    async def measured() -> dict[Cell, Figure]:
        async with AsyncExitStack() as stack:
            url = stack.enter_context(valkey()).url
            client = await stack.enter_async_context(Redis.from_url(url))
            contestants = await stack.enter_async_context(_contestants(url))
            figures = await _added(contestants, await _floors(url, client))
            try:
                return figures | await _express(url)
            except LeftOut as reason:
                print(f"left out: {CONNECT_REDIS} ({reason})")
                return figures

    with one_processor():
        together = await measured()
    apart = await measured()
    columns = [(case, size, at_once) for size in (SMALL, LARGE) for at_once in (1, 16) for case in "ab"]
    targets = [
        [
            f"({cell.case}) {cell.size:g} KB, {cell.at_once} at once: {cell.name}, to {peer}",
            f"{target:.2f}",
            *(_share(figures, cell, peer) for figures in (together, apart)),
            _share(together, cell._replace(name=FLOORS[cell.name]), peer),
        ]
        for cell, peer, target in TARGETS
    ]
    of_python = {cell: figure for cell, figure in together.items() if cell.name != CONNECT_REDIS}
    head = ["", *(f"({case}) {size:g} KB, {at_once} at once" for case, size, at_once in columns)]
    return "\n\n".join(
        [
            "### Redis: microseconds of the client's CPU added per request, client and server on one processor",
            table(head, _rows(together, columns, lambda figure: shown(figure, 1))),
            "Of that in the kernel, on the average; it is sampled:",
            table(head, _rows(of_python, columns, lambda figure: f"{figure.kernel:.1f}")),
            "Each on a processor of its own; what it takes to wake the other is in it:",
            table(head, _rows(apart, columns, lambda figure: shown(figure, 1))),
            table(
                ["what is added", "target, at most", "figure", "on two processors", "the commands alone"],
                targets,
            ),
        ]
    )


def _share(figures: dict[Cell, Figure], cell: Cell, peer: str) -> str:
    """What one adds, as a share of what another does; empty where that was not measured."""
    other = figures.get(cell._replace(name=peer))
    return "" if other is None else shown(ratios(figures[cell], other), 2)
