"""What waits together leaves together: what requests ask in one turn of the event loop, and touches of one session."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from sojourn.core.store import Stored
from sojourn.stores import AsyncPostgresStore, AsyncRedisStore
from tests.stores.postgres_schema import postgres_schema
from tests.torture.worker import AsyncVisitor

pytestmark = [pytest.mark.server, pytest.mark.anyio]

AT_ONCE = 16
RECORD = b'{"cookie":{},"n":1}'
LONG = 60_000
KEYS = [str(number) for number in range(AT_ONCE)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[str]:
    with postgres_schema(postgres_url) as schema:
        yield f"postgresql:///?{urlencode(conninfo_to_dict(schema.conninfo), quote_via=quote)}&create_table=true"


@pytest.fixture
def redis(redis_url: str) -> str:
    return f"{redis_url}?prefix={uuid.uuid4().hex[:12]}:"


class Counted:
    """An object of a driver's, of which some methods are counted."""

    def __init__(self, inner: Any, *names: str) -> None:
        self._inner = inner
        self._names = names
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += name in self._names
        return getattr(self._inner, name)


async def filled(store: Any) -> Any:
    for key in KEYS:
        await store.create(key, RECORD, LONG)
    await store.load(KEYS[0])
    await store.replace(KEYS[0], RECORD, LONG, version=RECORD)  # the server knows the script by now
    return store


async def test_on_redis_all_that_is_asked_in_one_turn_leaves_in_one_write_but_for_what_comes_first(redis: str) -> None:
    store = await filled(AsyncRedisStore.from_url(redis))
    (wire,) = store._driver._wires.values()
    line = wire.line
    line._transport = counted = Counted(line._transport, "write", "writelines")
    calls: list[Any] = [store.load(key) for key in KEYS]
    calls += [store.replace(key, RECORD, LONG, version=RECORD) for key in KEYS]
    results = await asyncio.gather(*calls)
    assert counted.calls == 2  # the first was alone when it came
    assert all(isinstance(loaded, Stored) for loaded in results[:AT_ONCE]) and results[AT_ONCE:] == [RECORD] * AT_ONCE
    line._transport = counted._inner
    await store.close()


async def test_on_postgresql_all_that_is_read_in_one_turn_leaves_in_one_write(postgres: str) -> None:
    store = await filled(AsyncPostgresStore.from_url(postgres))
    (pool,) = store._connections._pools.values()
    (line,) = pool.shared._lines[False]
    line._pgconn = counted = Counted(line._pgconn, "pipeline_sync")  # what makes libpq send
    results = await asyncio.gather(*(store.load(key) for key in KEYS))
    assert counted.calls == 1
    assert all(isinstance(loaded, Stored) for loaded in results)
    line._pgconn = counted._inner
    await store.close()


@pytest.mark.parametrize("server", ["redis", "postgres"])
async def test_touches_of_one_session_are_two_commands_where_sixteen_requests_make_them_at_once(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = AsyncVisitor(request.getfixturevalue(server), touch_after=0)
    store, touched, visits, all_are_there = visitor.app.store, [], itertools.count(1), asyncio.Event()
    touch: Callable[[str, int], Any] = store.touch

    def visit(_session: Any) -> None:
        if next(visits) == AT_ONCE:
            all_are_there.set()

    async def counted(key: str, ttl: int) -> bool:
        touched.append(key)
        await all_are_there.wait()  # replies to sixteen reads may come in any number of parts
        return bool(await touch(key, ttl))

    monkeypatch.setattr(store, "touch", counted)
    _status, cookie = await visitor.request(None, lambda session: session.update(n=1))
    found = await asyncio.gather(*(visitor.request(cookie, visit) for _ in range(AT_ONCE)))
    assert [status for status, _cookie in found] == [200] * AT_ONCE
    assert len(touched) == 2, f"{AT_ONCE} touches were {len(touched)} commands"
    await visitor.close()
