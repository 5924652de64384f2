"""The index of owners through the expiry of all sessions, of one owner and of as many as there are sessions: nothing of it is left, on any store.

`make test` runs some hundreds per store, `make torture` a million.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pymongo
import pytest
import redis

from sojourn.stores import resolve
from sojourn.testing import ManualClock
from tests.torture.conftest import STORES, store_of

pytestmark = [pytest.mark.server, pytest.mark.anyio]

AT_ONCE = 100
A_SECOND = 4000  # sessions that a store makes at least, on a slow machine
RECORD = b'{"cookie":{"originalMaxAge":null}}'
SESSIONS = [pytest.param(400, id="400"), pytest.param(1_000_000, id="a million", marks=pytest.mark.torture)]
OWNERS: dict[str, Callable[[int], str]] = {"one owner": lambda _number: "ann", "an owner each": "ann-{}".format}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=("memory", *STORES))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    for url in store_of(request, tmp_path):
        yield f"{url}?max_sessions=2000000&max_bytes=2000000000" if request.param == "memory" else url


class Kept:
    """A store, the passing of time for it, and a count of all that it keeps."""

    def __init__(self, url: str, ttl: int) -> None:
        parts = urlsplit(url)
        self.ttl, self.url = ttl, url
        self.options = {name: value for name, (value,) in parse_qs(parts.query).items()}
        self.address = parts._replace(query="", scheme=parts.scheme.replace("redis+cluster", "redis")).geturl()
        self.kind = parts.scheme.partition("+")[0]
        self.clock = ManualClock() if self.kind in ("memory", "sqlite") else None
        self.store: Any = resolve(url, asynchronous=True)
        if self.clock is not None:
            self.store = type(self.store).from_url(url, clock=self.clock)

    async def until_expired(self) -> None:
        if self.clock is not None:
            self.clock.advance(self.ttl)
        else:
            await asyncio.sleep(self.ttl / 1000)

    def entries(self) -> int:
        """What the store keeps, by its server's own account: records, pointers, entries of indexes."""
        if self.kind == "memory":
            records = self.store.direct._records
            return len(records.entries) + sum(map(len, records.owners.values()))
        if self.kind == "sqlite":
            with closing(sqlite3.connect(urlsplit(self.url).path)) as file:
                return int(file.execute("SELECT count(*) FROM sessions").fetchone()[0])
        if self.kind.startswith("postgres"):
            query = psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(self.options["table"]))
            with psycopg.connect(self.url.partition("?")[0]) as connection:
                return sum(count for (count,) in connection.execute(query))
        if self.kind == "mongodb":
            with pymongo.MongoClient[Any](self.url) as client:
                return client.get_default_database()["sessions"].count_documents({})
        make: Any = redis.RedisCluster if "cluster" in self.url else redis.Redis
        with make.from_url(self.address) as server:
            names = list(server.scan_iter(f"*{self.options['prefix']}*", 10_000))
            return len(names) + sum(int(server.zcard(name)) for name in names if b":owner:" in name)


async def all_at_once(count: int, step: Callable[[int], Awaitable[object]]) -> None:
    """Do it with each number, so many at once."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await step(number)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


@pytest.mark.parametrize("owners", OWNERS)
@pytest.mark.parametrize("count", SESSIONS)
async def test_an_index_of_owners_does_not_outlive_their_sessions(url: str, count: int, owners: str) -> None:
    if url.startswith("mongodb"):
        count = min(count, 10_000)  # the server for the tests makes some eighty a second
    kept = Kept(url, ttl=2000 + count * 1000 // A_SECOND)
    store, owner_of = kept.store, OWNERS[owners]
    await store.open()
    started, lasted = time.monotonic(), dict[str, float]()
    made: dict[str, float] = {}

    async def make(number: int) -> None:
        key = secrets.token_hex(16)
        made[key] = time.monotonic()
        await store.create(key, RECORD, kept.ttl, owner=owner_of(number))

    await all_at_once(count, make)
    assert len(made) == count
    created = time.monotonic()
    if owners == "one owner":
        found = await store.by_owner("ann")
        now = time.monotonic()
        live = {key for key, at in made.items() if kept.clock is not None or now - at < kept.ttl / 1000 - 1}
        assert live <= set(found) <= made.keys(), "all that certainly live, and none that never was"
        assert len(found) == len(set(found))
    else:
        for number in range(0, count, max(1, count // 100)):
            assert len(await store.by_owner(owner_of(number))) <= 1
    read = time.monotonic()
    await kept.until_expired()
    if owners == "one owner":
        assert await store.by_owner("ann") == []
    await store.delete_expired()
    assert kept.entries() == 0
    await store.close()
    lasted = {"made": created - started, "read": read - created, "gone": time.monotonic() - read}
    print(f"{count} sessions, {owners}: " + ", ".join(f"{what} in {seconds:.1f} s" for what, seconds in lasted.items()))


# In MongoDB an owner is a field of the session's document.
@pytest.mark.parametrize("url", ["memory", "sqlite", "redis", "redis-cluster", "postgresql"], indirect=True)
@pytest.mark.parametrize("count", [pytest.param(4000, id="4000"), SESSIONS[1]])
async def test_the_index_of_an_owner_who_comes_for_ever_and_is_never_asked_for_stays_small(
    url: str, count: int
) -> None:
    # Half of the sessions expire, the others are ended; always some are live.
    kept = Kept(url, ttl=50)
    most = 0

    async def come(number: int) -> None:
        nonlocal most
        key = secrets.token_hex(16)
        await kept.store.create(key, RECORD, kept.ttl, owner="ann")
        if number % 2:
            await kept.store.delete(key)
        if kept.clock is not None:
            kept.clock.advance(1)
        if number % (count // 4) == count // 4 - 1:
            await kept.store.delete_expired()
            most = max(most, kept.entries())

    started = time.monotonic()
    await all_at_once(count, come)
    a_lifetime = count / (time.monotonic() - started) * kept.ttl / 1000
    # A record, its pointer and its entry each, for as long as it lives; and as much again, as no clock is exact.
    bound = 3 * (a_lifetime if kept.clock is None else kept.ttl) * 2 + 5 * AT_ONCE
    assert most <= bound, "it grows"
    await kept.store.close()
    print(f"{count} sessions: at most {most} entries, where {bound:.0f} may be")
