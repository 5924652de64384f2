"""What a read from Redis's near cache adds to a request: microseconds of CPU in process, beside the memory store's."""

from __future__ import annotations

from benchmarks.asgi import Wrap, calls_of, cookie_of, handler
from benchmarks.measure import Work, difference, interleaved, ratios, table
from benchmarks.workload import ACTIONS, SECRET, SIZES, data_of, fill
from sojourn.asgi import SessionMiddleware
from sojourn.stores import AsyncMemoryStore, AsyncRedisStore

TARGET = 1.2
_MEMORY, _NEAR, _REDIS = "memory store", "Redis, near cache", "Redis, by URL"


async def near() -> str:
    """The table of one key read, at each size, one request at a time."""
    from tests.servers import valkey

    with valkey() as server:
        cached, asked = (
            AsyncRedisStore.from_url(f"{server.url}?near_cache={1 << 24}"),
            AsyncRedisStore.from_url(server.url),
        )
        stores = {_MEMORY: AsyncMemoryStore(), _NEAR: cached, _REDIS: asked}
        rows: list[list[object]] = [[name] for name in stores]
        targets: list[list[object]] = [[f"to the {_MEMORY}", f"{TARGET}"]]
        for size in SIZES:
            works: dict[str, Work] = {"bare": calls_of(handler(None), None)}
            for name, store in stores.items():
                wrap = _wrap(store)
                works[name] = calls_of(wrap(handler(ACTIONS["a"])), await cookie_of(wrap(handler(fill(data_of(size))))))
            taken = await interleaved(works)
            figures = {name: difference(taken[name], taken["bare"]) for name in stores}
            for row, name in zip(rows, stores, strict=True):
                row.append(figures[name])
            targets[0].append(ratios(figures[_NEAR], figures[_MEMORY]))
        for store in (cached, asked):
            await store.close()
    sizes = [f"{size:g} KB" for size in SIZES]
    return "\n\n".join(
        [
            "### The near cache: microseconds of CPU that reading one key adds to a request",
            table(["", *sizes], rows),
            table(["a cached read", "target", *sizes], targets),
        ]
    )


def _wrap(store: object) -> Wrap:
    return lambda app: SessionMiddleware(app, secret=SECRET, store=store)
