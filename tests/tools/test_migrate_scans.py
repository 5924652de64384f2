"""What a migration needs of a store's ``scan``: the lifetime that each record has left when it is handed out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from sojourn.stores import AsyncRedisStore, PostgresStore, RedisStore, SQLiteStore
from sojourn.stores.postgres._sync import store as postgres_module
from sojourn.stores.redis._async.driver import AsyncCluster
from sojourn.stores.redis._sync import store as redis_module
from sojourn.testing import ManualClock
from tests.servers import valkey
from tests.stores.postgres_schema import postgres_schema

HOUR = 3_600_000
SLOW = 30_000
"""Milliseconds that a loaded machine may take for the test itself; what is told apart differs by half an hour."""
RECORD = b'{"cookie":{"originalMaxAge":null},"n":1}'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # redis-py's own


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex}:"
    yield prefix
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter(f"{prefix}*", 1000):
            client.delete(name)


@pytest.mark.server
@pytest.mark.parametrize("layout", ["native", "connect-redis"])
def test_redis_tells_lifetimes_in_a_scan(layout: str, redis_url: str, prefix: str) -> None:
    store = RedisStore.from_url(f"{redis_url}?prefix={prefix}&layout={layout}")
    for number in range(1, 251):
        store.create(f"k{number}", RECORD, number * HOUR)
    for key, stored in store.scan():
        assert stored.expires_in == pytest.approx(int(key[1:]) * HOUR, abs=SLOW)
    store.close()


@pytest.mark.server
@pytest.mark.anyio
async def test_redis_tells_lifetimes_in_an_async_scan(redis_url: str, prefix: str) -> None:
    store = AsyncRedisStore.from_url(f"{redis_url}?prefix={prefix}")
    await store.create("k", RECORD, HOUR)
    assert [stored.expires_in async for _, stored in store.scan()] == [pytest.approx(HOUR, abs=SLOW)]
    await store.close()


@pytest.mark.server
def test_a_cluster_tells_lifetimes_in_a_scan(valkey_cluster: str, prefix: str) -> None:
    store = RedisStore.from_url(f"{valkey_cluster}?prefix={prefix}")
    for number in range(1, 51):
        store.create(f"k{number}", RECORD, number * HOUR)
    lefts = {key: stored.expires_in for key, stored in store.scan()}
    assert lefts == {f"k{number}": pytest.approx(number * HOUR, abs=SLOW) for number in range(1, 51)}
    store.clear()
    store.close()


@pytest.mark.server
def test_a_record_of_redis_that_never_ends_is_scanned_without_a_lifetime(redis_url: str, prefix: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"{prefix}k", RECORD)
    store = RedisStore.from_url(f"{redis_url}?prefix={prefix}&layout=connect-redis")
    assert [(key, stored.data, stored.expires_in) for key, stored in store.scan()] == [("k", RECORD, None)]
    store.close()


def slowly(store: Any, monkeypatch: pytest.MonkeyPatch, module: Any) -> dict[str, int | None]:
    """The lifetimes in a scan of three records, with half an hour between the first and the second."""
    now = time.monotonic()
    for key, ttl in (("a", HOUR), ("b", HOUR // 4), ("c", HOUR)):
        store.create(key, RECORD, ttl)
    monkeypatch.setattr(module, "monotonic", lambda: now)
    lefts: dict[str, int | None] = {}
    for key, stored in store.scan():
        lefts[key] = stored.expires_in
        now += HOUR / 2000 if len(lefts) == 1 else 0
    return lefts


@pytest.mark.server
def test_a_slow_reader_of_redis_is_told_what_is_left_then(monkeypatch: pytest.MonkeyPatch) -> None:
    with valkey() as server:  # of its own: among the keys of others a scan takes several steps
        store = RedisStore.from_url(server.url)
        (first, left), *later = slowly(store, monkeypatch, redis_module).items()
        assert left == pytest.approx(HOUR // 4 if first == "b" else HOUR, abs=SLOW)
        assert dict(later) == {key: pytest.approx(HOUR // 2, abs=SLOW) for key in {"a", "c"} - {first}}
        store.close()


@pytest.mark.server
def test_a_slow_reader_of_postgresql_is_told_what_is_left_then(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_schema(postgres_url) as schema:
        store = PostgresStore(schema.conninfo, create_table=True)
        lefts = slowly(store, monkeypatch, postgres_module)
        assert lefts == {"a": pytest.approx(HOUR, abs=SLOW), "c": pytest.approx(HOUR // 2, abs=SLOW)}
        store.close()


def test_a_slow_reader_of_a_sqlite_file_is_told_what_is_left_then(tmp_path: Path) -> None:
    clock = ManualClock()
    store = SQLiteStore(tmp_path / "sessions.db", clock=clock)
    for key, ttl in (("a", HOUR), ("b", HOUR // 4), ("c", HOUR)):
        store.create(key, RECORD, ttl)
    lefts = {}
    for key, stored in store.scan():
        lefts[key] = stored.expires_in
        clock.advance(HOUR // 4)
    assert lefts == {"a": HOUR, "c": HOUR - HOUR // 4}
    store.close()


@pytest.mark.anyio
async def test_a_name_of_a_cluster_whose_lifetime_was_refused_counts_as_ended() -> None:
    class Answering:
        async def here(self) -> Any:
            return self

        async def initialize(self) -> None: ...

        def get_primaries(self) -> list[Any]:
            return []

        def pipeline(self) -> Any:
            return self

        def execute_command(self, *command: object, **options: object) -> None: ...

        async def execute(self, *, raise_on_error: bool) -> Any:
            return [5000, redis.ResponseError("LOADING"), -1]

    client: Any = Answering()
    assert await AsyncCluster(client).lifetimes([b"a", b"b", b"c"]) == [5000, -2, -1]
