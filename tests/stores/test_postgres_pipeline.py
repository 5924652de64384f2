"""The connections that the async PostgreSQL store's callers share: whose reply it is, who waits for whom, and how they end."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import anyio
import psycopg
import pytest

from sojourn.core.store import CONFLICT, MISSING, Stored
from sojourn.errors import StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores._waiting import LostError
from sojourn.stores.postgres import _pipeline
from sojourn.stores.postgres._async.store import AsyncPostgresStore
from sojourn.stores.postgres._pipeline import Shared
from sojourn.stores.postgres._wire import Statement
from tests.servers import PostgresServer, postgres_server
from tests.stores.eager import make_tasks_eager
from tests.stores.postgres_schema import PostgresSchema, postgres_schema

pytestmark = [pytest.mark.server, pytest.mark.anyio]

LONG = 60_000
RECORD = b'{"cookie":{},"n":1}'
OTHER = b'{"cookie":{},"n":2}'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def schema(postgres_url: str) -> Iterator[PostgresSchema]:
    with postgres_schema(postgres_url) as schema:
        yield schema


@asynccontextmanager
async def store_of(conninfo: str, **options: Any) -> AsyncIterator[AsyncPostgresStore]:
    store = AsyncPostgresStore(conninfo, create_table=True, prune_interval=None, **options)
    try:
        yield store
    finally:
        await store.close()


def shared_by(store: AsyncPostgresStore) -> Shared:
    (pool,) = store._connections._pools.values()
    shared = getattr(pool, "shared", None)
    assert isinstance(shared, Shared)
    return shared


def lines_of(store: AsyncPostgresStore, *, writes: bool) -> list[Any]:
    return shared_by(store)._lines[writes]


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110 - there is no signal
            await anyio.sleep(0.01)


def backends(schema: PostgresSchema, name: str) -> int:
    ((count,),) = schema.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", name)
    return int(count)


def waits(schema: PostgresSchema) -> bool:
    """Whether somebody waits for a lock."""
    return bool(schema.execute("SELECT 1 FROM pg_locks WHERE NOT granted"))


@asynccontextmanager
async def row_held(schema: PostgresSchema, key: str) -> AsyncIterator[psycopg.Connection[Any]]:
    """A transaction that holds a row, so that writes to it wait."""
    connection = schema.connect()
    connection.execute("BEGIN")
    connection.execute("SELECT FROM session WHERE sid = %s FOR UPDATE", [key])
    try:
        yield connection
    finally:
        connection.close()


# Who waits for whom


async def test_a_row_that_somebody_holds_keeps_up_only_those_who_write_it(schema: PostgresSchema):
    async with store_of(schema.conninfo) as store:
        for key in ("held", *map(str, range(20))):
            await store.create(key, RECORD, LONG)
        async with row_held(schema, "held"):
            waiting = [asyncio.create_task(store.replace("held", OTHER, LONG, version=RECORD)) for _ in range(12)]
            for key in map(str, range(20)):
                assert await store.replace(key, OTHER, LONG, version=RECORD) == OTHER
                assert isinstance(await store.load(key), Stored)
            loaded = await store.load("held")
            assert isinstance(loaded, Stored) and loaded.data == RECORD
            assert not any(task.done() for task in waiting)
        # Whoever comes first is done, and each of the others is told.
        assert sorted(map(str, await asyncio.gather(*waiting))) == sorted(map(str, [OTHER, *[CONFLICT] * 11]))


async def test_a_write_that_waits_for_a_row_for_too_long_is_refused_with_nothing_written(schema: PostgresSchema):
    async with store_of(schema.conninfo, timeout=0.5) as store:
        await store.create("held", RECORD, LONG)
        async with row_held(schema, "held"):
            with pytest.raises(StoreUnavailable, match="took longer"):
                await store.replace("held", OTHER, LONG, version=RECORD)
        assert await store.replace("held", OTHER, LONG, version=RECORD) == OTHER


async def test_a_caller_cancelled_while_it_waits_for_a_row_has_written_all_the_same(schema: PostgresSchema):
    async with store_of(schema.conninfo) as store:
        await store.create("held", RECORD, LONG)
        async with row_held(schema, "held") as holder:
            task = asyncio.create_task(store.replace("held", OTHER, LONG, version=RECORD))
            await until(lambda: waits(schema))
            await asyncio.sleep(3 * _pipeline._LOCK_TIMEOUT / 1000)  # by now it has a connection for itself
            task.cancel()
            holder.execute("COMMIT")
            with pytest.raises(asyncio.CancelledError):
                await task
        loaded = await store.load("held")
        assert isinstance(loaded, Stored) and loaded.data == OTHER


async def test_there_are_no_more_connections_than_the_pool_may_have(schema: PostgresSchema):
    async with store_of(f"{schema.conninfo} application_name=many", pool_size=6) as store:

        async def visit(number: int) -> None:
            for _ in range(5):
                await store.create(str(number), RECORD, LONG)
                await store.load(str(number))
                await store.count()  # on one that is lent
                await store.delete(str(number))

        await asyncio.gather(*(visit(number) for number in range(40)))
        assert len(lines_of(store, writes=False)) == 1
        assert 1 < len(lines_of(store, writes=True)) <= 3
        assert backends(schema, "many") <= 6


@pytest.mark.parametrize("options", [{"pool_size": 2}, {"prepare": False}], ids=str)
async def test_where_there_are_too_few_or_a_pooler_nothing_is_shared(schema: PostgresSchema, options: dict[str, Any]):
    async with store_of(schema.conninfo, **options) as store:
        assert store.unbroken is None
        await store.create("a", RECORD, LONG)
        (pool,) = store._connections._pools.values()
        assert getattr(pool, "shared", None) is None
        assert store.unbroken is None


async def test_a_timeout_around_a_write_ends_its_own_block_and_nothing_after_it(schema: PostgresSchema):
    async with store_of(schema.conninfo) as store:
        await store.create("a", RECORD, LONG)
        for seconds in (0.0, 0.0005, 0.001, 0.002):
            with anyio.move_on_after(seconds):
                await store.touch("a", LONG)
            await asyncio.sleep(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await store.touch("a", LONG)
            await asyncio.sleep(0)


# One that fails changes nothing about the others


def statement(text: str, *, writes: bool) -> Statement:
    return Statement.of(text, writes=writes, keyed=True)


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_read_that_fails_harms_none_of_those_sent_with_it(schema: PostgresSchema, at: int):
    async with store_of(schema.conninfo) as store:
        await store.create("a", RECORD, LONG)
        await store.load("a")
        calls: list[Any] = [store.load("a") for _ in range(2)]
        calls.insert(at, store._connections.run(statement("SELECT 1 / 0, $1::bytea", writes=False), b"a"))
        results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        error = results.pop(at)
        assert [result.data for result in results] == [RECORD, RECORD]
        assert isinstance(error, StoreUnavailable) and "22012" in str(error)


async def test_a_write_that_fails_harms_none_of_those_sent_with_it(schema: PostgresSchema):
    async with store_of(schema.conninfo, pool_size=3) as store:
        await store.create("a", RECORD, LONG)
        results = await asyncio.gather(
            store.create("b", RECORD, LONG),
            store.create("c", b"no json", LONG),
            store.create("d", RECORD, LONG),
            store.replace("nobody", RECORD, LONG, version=RECORD),
            store.touch("a", LONG),
            return_exceptions=True,
        )
        assert isinstance(results[1], StoreUnavailable) and "JSON" in str(results[1])
        assert [*results[:1], *results[2:]] == [RECORD, RECORD, MISSING, True]
        assert await store.count() == 3


async def test_a_statement_that_could_not_be_prepared_is_prepared_once_that_works(schema: PostgresSchema):
    async with store_of(schema.conninfo) as store:
        await store.open()
        schema.execute("ALTER TABLE session RENAME TO elsewhere")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="no such table"):
                await store.load("a")
            with pytest.raises(StoreUnavailable, match="no such table"):
                await store.create("a", RECORD, LONG)
        schema.execute("ALTER TABLE elsewhere RENAME TO session")
        assert await store.create("a", RECORD, LONG) == RECORD
        assert isinstance(await store.load("a"), Stored)


async def test_a_prepared_statement_that_is_gone_is_prepared_again(schema: PostgresSchema):
    async with store_of(schema.conninfo, pool_size=3) as store:
        await store.create("a", RECORD, LONG)
        await store.load("a")
        for writes in (False, True):
            (line,) = lines_of(store, writes=writes)
            await line.send(statement("DEALLOCATE ALL", writes=writes), ()).reply
        assert isinstance(await store.load("a"), Stored)
        assert await store.replace("a", OTHER, LONG, version=RECORD) == OTHER
        (line,) = lines_of(store, writes=False)
        before = len(line._prepared)
        assert isinstance(await store.load("a"), Stored)
        assert len(line._prepared) == before + 1


async def test_rows_about_another_key_are_refused_and_the_connection_is_closed(schema: PostgresSchema):
    async with store_of(schema.conninfo, pool_size=3) as store:
        await store.open()
        for writes, kind in ((False, StoreUnavailable), (True, StoreTimeout)):
            with pytest.raises(kind, match="another statement"):
                await store._connections.run(statement("SELECT 'b'::bytea", writes=writes), keys=[b"a"])
            assert not any(line.is_open for line in lines_of(store, writes=writes))
        await store.create("a", RECORD, LONG)
        assert isinstance(await store.load("a"), Stored)


# How they end


async def test_a_connection_that_breaks_leaves_writes_in_doubt_and_reads_are_sent_again(
    schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_pipeline, "_LOCK_TIMEOUT", 60_000)
    async with store_of(f"{schema.conninfo} application_name=broken", pool_size=3) as store:
        await store.create("held", RECORD, LONG)
        await store.load("held")
        async with row_held(schema, "held"):
            writes = [asyncio.create_task(store.replace("held", OTHER, LONG, version=RECORD)) for _ in range(3)]
            await until(lambda: waits(schema))
            reads = [asyncio.create_task(store.load("held")) for _ in range(3)]
            await asyncio.sleep(0)
            schema.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'broken'")
            assert [isinstance(loaded, Stored) for loaded in await asyncio.gather(*reads)] == [True] * 3
            errors = await asyncio.gather(*writes, return_exceptions=True)
        assert [type(error) for error in errors] == [StoreTimeout] * 3
        assert all("57P01" in str(error) for error in errors)
        assert await store.replace("held", OTHER, LONG, version=RECORD) == OTHER


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server to mistreat."""
    with postgres_server() as server:
        server.init()
        server.start(synchronous_commit="on")
        yield server


async def test_a_server_that_stands_still_is_told_of_in_time(own_server: PostgresServer):
    async with store_of(own_server.url, timeout=1) as store:
        await store.create("a", RECORD, LONG)
        await store.load("a")
        own_server.signal(signal.SIGSTOP)
        try:
            before = monotonic()
            calls = [store.load("a"), store.load("a"), store.touch("a", LONG), store.delete("b")]
            read, another, *writes = await asyncio.gather(*calls, return_exceptions=True)
            assert monotonic() - before < 20  # it is the connect timeout that a read's second try waits for
        finally:
            own_server.signal(signal.SIGCONT)
        assert isinstance(read, StoreError) and isinstance(another, StoreError)
        assert [type(error) for error in writes] == [StoreTimeout] * 2
        assert isinstance(await store.load("a"), Stored)
        assert await store.touch("a", LONG) is True


@pytest.mark.parametrize("are_eager", [False, True], ids=["tasks", "eager tasks"])
async def test_a_killed_server_is_unavailable_and_is_used_again_once_it_is_back(
    own_server: PostgresServer, are_eager: bool
):
    if are_eager:
        make_tasks_eager()
    async with store_of(own_server.url) as store:
        await store.create("k", RECORD, LONG)
        own_server.kill()
        for call in (store.load("k"), store.touch("k", LONG), store.touch("k", LONG)):
            with pytest.raises(StoreError):
                await call
        own_server.start()
        assert isinstance(await store.load("k"), Stored)
        assert await store.touch("k", LONG) is True


async def test_a_timeout_around_a_write_that_fails_ends_its_own_block_and_nothing_after_it(own_server: PostgresServer):
    async with store_of(own_server.url, timeout=0.3) as store:
        await store.create("k", RECORD, LONG)
        own_server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await store.touch("k", LONG)
            await asyncio.sleep(0)
        finally:
            own_server.signal(signal.SIGCONT)


async def test_a_connection_that_was_idle_for_long_is_left(schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch):
    async with store_of(f"{schema.conninfo} application_name=idle", pool_size=3) as store:
        await store.create("a", RECORD, LONG)
        await store.load("a")
        former = [lines_of(store, writes=writes)[0] for writes in (False, True)]
        for line in former:
            line.used_at -= _pipeline._LONGEST_IDLE + 1
        assert isinstance(await store.load("a"), Stored)
        assert await store.touch("a", LONG) is True
        assert not any(line.is_open for line in former)
        await until(lambda: backends(schema, "idle") == 3)


async def test_a_store_that_is_closed_tells_those_who_wait_and_opens_again(schema: PostgresSchema):
    async with store_of(f"{schema.conninfo} application_name=closed") as store:
        await store.create("held", RECORD, LONG)
        async with row_held(schema, "held"):
            calls = [asyncio.create_task(store.touch("held", LONG)), asyncio.create_task(store.load("held"))]
            await asyncio.sleep(0)
            await store.close()
            for result in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(result, StoreError | Stored | bool), repr(result)
        await until(lambda: backends(schema, "closed") == 0)
        assert isinstance(await store.load("held"), Stored)


async def test_a_store_that_is_closed_while_it_connects_leaves_no_connection(schema: PostgresSchema):
    async with store_of(f"{schema.conninfo} application_name=late") as store:
        await store.open()
        call = asyncio.create_task(store.load("a"))
        await asyncio.sleep(0)
        assert shared_by(store)._connecting
        await store.close()
        with pytest.raises(StoreUnavailable):
            await call
        await until(lambda: backends(schema, "late") == 0)


async def test_a_store_that_is_forgotten_leaves_no_connection(schema: PostgresSchema):
    async def use() -> None:
        store = AsyncPostgresStore(
            f"{schema.conninfo} application_name=forgotten", create_table=True, prune_interval=None
        )
        await store.create("a", RECORD, LONG)
        await store.load("a")

    await use()
    gc.collect()
    await until(lambda: backends(schema, "forgotten") == 0)


async def test_no_connection_is_unavailable_and_says_so(schema: PostgresSchema):
    async with store_of(schema.conninfo) as store:
        await store.open()
        shared_by(store)._conninfo = "postgresql://nobody@127.0.0.1:1/none"
        for call in (store.load("a"), store.touch("a", LONG)):
            with pytest.raises(StoreUnavailable, match="no connection"):
                await call


async def line_of(schema: PostgresSchema) -> Any:
    connection = await psycopg.AsyncConnection.connect(schema.conninfo)
    return _pipeline._Pipeline(asyncio.get_running_loop(), connection, 5.0)


READ = statement("SELECT 1", writes=False)
WRITE = statement("SELECT 2", writes=True)


@pytest.mark.parametrize("sent", [READ, WRITE], ids=["read", "write"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_connection_that_ends_at_any_moment_is_told_of(schema: PostgresSchema, sent: Statement, when: str):
    line = await line_of(schema)
    if when == "before":
        line._pgconn.finish()
    reply = line.send(sent, ()).reply
    if when == "after":
        line._pgconn.finish()
        line._write()
    with pytest.raises(LostError):
        await reply
    assert not line.is_open


async def test_a_read_whose_connection_ends_before_its_sync_is_told_of(schema: PostgresSchema):
    for known in (True, False):
        line = await line_of(schema)
        reply = line.send(READ, ()).reply
        if known:
            line.lose(OSError("gone"))
        else:
            line._pgconn.finish()
        with pytest.raises(LostError):
            await reply
        assert not line.is_open
        await asyncio.sleep(0)


async def test_a_connection_that_the_server_ends_before_a_reads_sync_is_told_of(schema: PostgresSchema):
    line = await line_of(schema)
    schema.execute("SELECT pg_terminate_backend(%s)", line._pgconn.backend_pid)
    select.select([line._socket], [], [], 10)
    reply = line.send(READ, ()).reply
    line._read()  # as the event loop may, before the sync; it comes to an end, though there is nothing else to come
    with anyio.fail_after(10), pytest.raises(LostError) as lost:
        await reply
    assert isinstance(lost.value.cause, psycopg.errors.AdminShutdown)
    assert not line.is_open


class OneResultLess:
    """Libpq's connection, where something between has kept one of the results."""

    def __init__(self, pgconn: Any) -> None:
        self._pgconn = pgconn
        self._has_kept = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pgconn, name)

    def get_result(self) -> Any:
        result = self._pgconn.get_result()
        if result is None or self._has_kept or result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            return result
        self._has_kept = True
        assert self._pgconn.get_result() is None  # the end of that statement's
        return self._pgconn.get_result()


async def test_a_connection_with_a_result_less_than_was_asked_for_is_lost_for_all_that_wait(schema: PostgresSchema):
    line = await line_of(schema)
    line._pgconn = OneResultLess(line._pgconn)
    replies = [line.send(READ, ()).reply for _ in range(3)]
    with anyio.fail_after(10):
        found = await asyncio.gather(*replies, return_exceptions=True)
    assert [type(each) for each in found] == [LostError] * 3
    assert not line.is_open


async def test_in_a_forked_process_the_parents_connection_is_left_alone(schema: PostgresSchema):
    line = await line_of(schema)
    line._process = -1
    line.lose(OSError("gone"))
    assert _pipeline._inherited[-1] is line._connection
    assert line._pgconn.status == psycopg.pq.ConnStatus.OK
    line._process = os.getpid()
    line.lose(OSError("gone"))
    assert line._pgconn.status == psycopg.pq.ConnStatus.BAD
    _pipeline._inherited.pop()


async def test_a_connection_that_ends_as_soon_as_it_is_open_is_unavailable(
    schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch
):
    async with store_of(schema.conninfo) as store:
        await store.open()
        shared, connect = shared_by(store), psycopg.AsyncConnection.connect

        async def ended(conninfo: str) -> Any:
            shared._is_closed = True
            return await connect(conninfo)

        monkeypatch.setattr(psycopg.AsyncConnection, "connect", ended)
        with pytest.raises(StoreUnavailable, match="closed at once"):
            await store.load("a")


async def test_a_read_that_the_server_refuses_on_the_plain_way_is_not_sent_again(schema: PostgresSchema):
    async with store_of(schema.conninfo, prepare=False) as store:
        assert await store.create("k", RECORD, LONG)
        with psycopg.connect(schema.conninfo, autocommit=True) as connection:
            connection.execute('ALTER TABLE "session" RENAME TO "elsewhere"')
        with pytest.raises(StoreUnavailable):
            await store.load("k")
