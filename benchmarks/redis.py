"""What a session on Redis adds to a request: microseconds of CPU in process, beside starsessions, on one Valkey server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.in_process import CASES, SECRET, Handler, calls_of, cookie_of, handler
from benchmarks.measure import Figure, ratio, table
from sojourn.asgi import SessionMiddleware
from sojourn.stores import AsyncRedisStore

ROUNDS = 9
CALLS = 25


def _ours(store: Any) -> Handler:
    return lambda case: SessionMiddleware(handler(case), secret=SECRET, store=store)


def _starsessions(url: str) -> Handler:
    from starsessions import SessionAutoloadMiddleware as Autoload
    from starsessions import SessionMiddleware as Peer
    from starsessions.stores.redis import RedisStore

    store = RedisStore(url)
    return lambda case: Peer(Autoload(handler(case)), store=store, cookie_https_only=False, lifetime=3600)


async def redis() -> str:
    """The table for one request at a time and for 16 at once."""
    from redis.asyncio import Redis

    from tests.servers import valkey

    parts = []
    with valkey() as server:
        client = Redis.from_url(server.url)
        by_client, by_url = AsyncRedisStore(client), AsyncRedisStore.from_url(server.url)
        makers = {
            "Sojourn, the user's redis-py client": _ours(by_client),
            "Sojourn, by URL": _ours(by_url),
            "starsessions": _starsessions(server.url),
        }
        for at_once in (1, 16):
            runs = {}
            for name, make in makers.items():
                cookies = [await cookie_of(make("fill")) for _ in range(at_once)]
                for case in "ab":
                    app = make(case)
                    runs[name, case] = [calls_of(app, cookie) for cookie in cookies]
            for works in runs.values():
                await asyncio.gather(*(work(3) for work in works))
            taken: dict[tuple[str, str], list[float]] = {}
            calls = CALLS if at_once > 1 else CALLS * 16
            for _ in range(ROUNDS):
                for key, works in runs.items():
                    before = time.process_time()
                    await asyncio.gather(*(work(calls) for work in works))
                    taken.setdefault(key, []).append((time.process_time() - before) / calls / at_once * 1e6)
            parts.append(_tables({key: Figure(tuple(values)) for key, values in taken.items()}, list(makers), at_once))
        await by_client.close()
        await by_url.close()
        await client.aclose()
    return "\n\n".join(parts)


def _tables(figures: dict[tuple[str, str], Figure], names: list[str], at_once: int) -> str:
    rows = [[name, figures[name, "a"], figures[name, "b"]] for name in names]
    client, url, peer = names
    targets = [
        [f"({case}) {who} to starsessions", target, f"{ratio(figures[who, case], figures[peer, case]):.2f}"]
        for case, who, target in (("a", client, "0.5"), ("b", client, "1.0"), ("a", url, "0.25"), ("b", url, "0.25"))
    ]
    return "\n\n".join(
        [
            f"### Redis: microseconds of CPU per request, {at_once} at once",
            table(["", *(f"({case}) {CASES[case]}" for case in "ab")], rows),
            table(["ratio", "target, at most", "figure"], targets),
        ]
    )
