"""The PostgreSQL store when something goes wrong: with the server, the network, the pool, or the caller."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import monotonic, sleep
from typing import Any, Self

import anyio
import psycopg
import psycopg_pool
import pytest
import trio
from psycopg.rows import dict_row

from sojourn.core.store import MISSING, Stored
from sojourn.errors import ConfigurationError, SojournError, StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores.postgres import _wire as _postgres_wire
from sojourn.stores.postgres._async.store import AsyncPostgresStore
from sojourn.stores.postgres._statements import Table
from sojourn.stores.postgres._sync.store import PostgresStore
from tests.proxy import BlackHole, proxy_to
from tests.servers import PostgresServer, free_port, postgres_server
from tests.stores.postgres_schema import EXPRESS_TABLE, PostgresSchema, postgres_schema

pytestmark = pytest.mark.server

LONG = 60_000
RECORD = b'{"cookie":{},"n":1}'
OTHER = b'{"cookie":{},"n":2}'
OPTIONS: dict[str, Any] = {"create_table": True, "prune_interval": None}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def schema(postgres_url: str) -> Iterator[PostgresSchema]:
    with postgres_schema(postgres_url) as schema:
        yield schema


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server to mistreat."""
    with postgres_server() as server:
        server.init()
        server.start(synchronous_commit="on")
        yield server


@pytest.fixture
def store(schema: PostgresSchema) -> Iterator[PostgresStore]:
    store = PostgresStore(schema.conninfo, **OPTIONS)
    store.create("a", RECORD, LONG)
    yield store
    store.close()


@asynccontextmanager
async def async_store(conninfo: str, **options: Any) -> AsyncIterator[AsyncPostgresStore]:
    store = AsyncPostgresStore(conninfo, **{**OPTIONS, **options})
    try:
        yield store
    finally:
        await store.close()


def is_there(store: PostgresStore, key: str, data: bytes = RECORD) -> bool:
    stored = store.load(key)
    return isinstance(stored, Stored) and stored.data == data


def eventually(holds: Callable[[], object], seconds: float = 10) -> None:
    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline, "it never came to hold"
        sleep(0.02)


def pool_of(store: PostgresStore | AsyncPostgresStore) -> Any:
    (pool,) = store._connections._pools.values()
    return pool


def idle_in(store: PostgresStore | AsyncPostgresStore) -> list[Any]:
    """The connections that the store's own pool keeps."""
    return [connection for _, connection in pool_of(store)._idle]


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110 - there is no signal
            await anyio.sleep(0.01)


# Every operation


def test_each_operation_waits_for_the_server_once(schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch):
    waits = []
    wait = _postgres_wire._wait_sync

    def counted(socket: int, wanted: int, seconds: float) -> int:
        if seconds > 0:
            waits.append(wanted)
        return wait(socket, wanted, seconds)

    for prepare in (True, False):
        store = PostgresStore(schema.conninfo, **OPTIONS, pool_size=1, prepare=prepare)

        def use(store: PostgresStore = store) -> Iterator[object]:
            yield store.create("a", RECORD, LONG)
            yield store.load("a")
            yield store.replace("a", OTHER, LONG, version=RECORD)
            yield store.replace("a", OTHER, LONG, version=RECORD)
            yield store.replace("missing", OTHER, LONG, version=RECORD)
            yield store.touch("a", LONG)
            yield store.regenerate("a", "b", OTHER, LONG, version=OTHER, tombstone=0)
            yield store.regenerate("b", "c", OTHER, LONG, version=OTHER, tombstone=LONG)
            yield store.regenerate("b", "d", OTHER, LONG, version=OTHER, tombstone=LONG)
            yield store.delete("c")
            yield store.unlock("a", store.lock("a", LONG) or "")
            yield store.count()
            yield store.by_owner("ann")

        list(use())
        schema.execute("TRUNCATE {schema}.session")
        monkeypatch.setattr(_postgres_wire, "_wait_sync", counted)
        counts = []
        for _ in use():
            counts.append(len(waits))
            waits.clear()
        monkeypatch.setattr(_postgres_wire, "_wait_sync", wait)
        assert counts == [1] * 10 + [2] + [1] * 2
        store.close()


def test_statements_are_prepared_unless_a_pooler_forbids_it(schema: PostgresSchema):
    with psycopg_pool.ConnectionPool(schema.conninfo, min_size=1, max_size=1, open=True) as pool:
        for prepare, count in ((False, 0), (True, 2)):
            store = PostgresStore(pool, **OPTIONS, prepare=prepare)
            for _ in range(3):
                store.load("a")
            with pool.connection() as connection:
                (found,) = connection.execute(
                    "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'sojourn%'"
                ).fetchone() or (None,)
            assert found == count
            store.close()


@pytest.mark.parametrize("forget", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_prepared_statements_that_others_deallocate_are_prepared_again(schema: PostgresSchema, forget: str):
    with psycopg_pool.ConnectionPool(
        schema.conninfo, min_size=1, max_size=1, open=True, kwargs={"autocommit": True}
    ) as pool:
        store = PostgresStore(pool, **OPTIONS)
        for number in range(3):
            store.create(f"k{number}", RECORD, LONG)
            with pool.connection() as connection:
                connection.execute(forget)
                connection.execute(f"SET search_path = {schema.name}")
        assert store.count() == 3


def test_a_statement_that_is_prepared_already_is_used(schema: PostgresSchema):
    with psycopg_pool.ConnectionPool(schema.conninfo, min_size=1, max_size=1, open=True) as pool:
        store = PostgresStore(pool, **OPTIONS)
        store.load("a")
        with pool.connection() as connection:
            vars(connection)["_sojourn_prepared"].clear()
        assert store.load("a") is None


def test_a_pooler_that_keeps_no_prepared_statements_is_told_of(schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch):
    with psycopg_pool.ConnectionPool(schema.conninfo, min_size=1, max_size=1, open=True) as pool:
        store = PostgresStore(pool, **OPTIONS)
        store.load("a")
        results = _postgres_wire._results

        def forgetful(pgconn: Any) -> Any:
            rows = yield from results(pgconn)
            pgconn.exec_(b"DEALLOCATE ALL")
            return rows

        monkeypatch.setattr(_postgres_wire, "_results", forgetful)
        with pytest.raises(StoreUnavailable, match="prepare=False"):
            store.touch("a", LONG)


# The app's own pool


def test_an_apps_pool_serves_however_its_connections_are_set_up_and_is_left_open(schema: PostgresSchema):
    def configure(connection: psycopg.Connection[Any]) -> None:
        connection.row_factory = dict_row
        connection.execute("SET client_encoding = LATIN1")
        connection.commit()

    with psycopg_pool.ConnectionPool(schema.conninfo, min_size=1, max_size=2, open=True, configure=configure) as pool:
        store = PostgresStore(pool, **OPTIONS)
        assert store.create("\u4f1a", RECORD, LONG) == RECORD
        store.close()
        assert is_there(store, "\u4f1a")
        store.close()
        with pool.connection() as connection:
            assert connection.execute("SELECT count(*) AS n FROM session").fetchall() == [{"n": 1}]
        assert not pool.closed


@pytest.mark.anyio
async def test_an_apps_async_pool_serves_and_is_left_open(schema: PostgresSchema):
    async with psycopg_pool.AsyncConnectionPool(schema.conninfo, min_size=1, max_size=2, open=False) as pool:
        store = AsyncPostgresStore(pool, **OPTIONS)
        await store.create("a", RECORD, LONG)
        await store.close()
        assert await store.count() == 1
        await store.close()
        assert not pool.closed


def test_a_pool_that_is_not_open_is_unavailable(schema: PostgresSchema):
    store = PostgresStore(psycopg_pool.ConnectionPool(schema.conninfo, open=False))
    with pytest.raises(StoreUnavailable, match="no connection") as failed:
        store.load("a")
    assert isinstance(failed.value.driver_error, psycopg_pool.PoolClosed)


@pytest.mark.parametrize("own", [True, False])
def test_an_exhausted_pool_is_unavailable_within_the_timeout(schema: PostgresSchema, own: bool):
    with psycopg_pool.ConnectionPool(schema.conninfo, min_size=1, max_size=1, open=True) as pool:
        given = schema.conninfo if own else pool
        store = PostgresStore(given, **OPTIONS, pool_size=1, timeout=0.3)
        store.create("a", RECORD, LONG)
        kept = pool_of(store).getconn(1)
        try:
            before = monotonic()
            with pytest.raises(StoreUnavailable, match="no connection") as failed:
                store.touch("a", LONG)
            assert 0.25 < monotonic() - before < 2
            assert isinstance(failed.value.driver_error, psycopg_pool.PoolTimeout)
        finally:
            pool_of(store).putconn(kept)
        assert store.touch("a", LONG) is True
        store.close()


# Where a store may be used


def test_under_trio_the_store_is_refused_when_it_is_made_and_when_it_is_used(schema: PostgresSchema):
    store = AsyncPostgresStore(schema.conninfo)

    async def use() -> None:
        with pytest.raises(ConfigurationError, match="asyncio"):
            AsyncPostgresStore(schema.conninfo)
        for call in (store.open(), store.load("a"), store.delete("a")):
            with pytest.raises(ConfigurationError, match="asyncio"):
                await call
        await store.close()

    trio.run(use)


def test_a_store_of_one_event_loop_after_another_opens_a_pool_in_each(schema: PostgresSchema):
    store = AsyncPostgresStore(schema.conninfo, create_table=True)

    async def use() -> int:
        await store.create(str(random.random()), RECORD, LONG)
        return await store.count()

    assert [asyncio.run(use()) for _ in range(3)] == [1, 2, 3]

    async def finish() -> None:
        await store.open()
        await store.close()

    asyncio.run(finish())


def test_a_store_that_was_left_open_in_an_event_loop_that_is_gone_can_be_closed(schema: PostgresSchema):
    store = AsyncPostgresStore(schema.conninfo, create_table=True)
    asyncio.run(store.open())
    asyncio.run(store.close())
    assert asyncio.run(store.load("a")) is None
    asyncio.run(store.close())


FORK = """
import os, sys
from sojourn.stores.postgres._sync.store import PostgresStore
from sojourn.stores.base import Stored

store = PostgresStore(sys.argv[1], create_table=True, prune_interval=None)
store.create("parent", b"{}", 60_000)
child = os.fork()
if child == 0:
    for _ in range(20):
        assert isinstance(store.load("parent"), Stored)
    assert store.create("child", b"{}", 60_000) == b"{}"
    store.close()
    print("child", flush=True)
    os._exit(0)
for _ in range(20):
    assert isinstance(store.load("parent"), Stored)
assert os.waitpid(child, 0)[1] == 0
assert isinstance(store.load("child"), Stored)
print("parent")
"""


def test_after_a_fork_parent_and_child_have_connections_of_their_own(schema: PostgresSchema):
    command = [sys.executable, "-c", FORK, schema.conninfo]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("child\nparent\n", "", 0)


def test_in_another_process_the_former_ones_connections_are_left_alone(
    schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch
):
    store = PostgresStore(schema.conninfo, create_table=True)
    store.create("a", RECORD, LONG)
    (former,) = idle_in(store)
    process = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: process)
    assert is_there(store, "a")
    assert idle_in(store) != [former]
    assert former.execute("SELECT 1").fetchone() == (1,)
    store.close()
    former.close()


# Refusals


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"default_transaction_read_only": "on"}, "read-only"),
        ({"role": "pg_monitor"}, "privilege"),
    ],
)
def test_a_refused_write_is_unavailable(schema: PostgresSchema, store: PostgresStore, settings: Any, reason: str):
    given = " ".join(f"-c {name}={value}" for name, value in settings.items())
    if "role" in settings:
        schema.execute("GRANT USAGE ON SCHEMA {schema} TO pg_monitor")
    other = PostgresStore(f"{schema.conninfo} options='-c search_path={schema.name} {given}'", prune_interval=None)
    with pytest.raises(StoreUnavailable, match=reason) as refused:
        other.replace("a", OTHER, LONG, version=RECORD)
    assert isinstance(refused.value.driver_error, psycopg.Error)
    assert is_there(store, "a")
    other.close()


def test_a_serialization_failure_is_unavailable(schema: PostgresSchema, store: PostgresStore):
    options = f"-c search_path={schema.name} -c default_transaction_isolation=serializable"
    strict = PostgresStore(f"{schema.conninfo} options='{options}'", prune_interval=None)
    strict.load("a")
    with schema.connect() as other, ThreadPoolExecutor(1) as thread:
        other.execute("BEGIN")
        other.execute("UPDATE session SET expire = expire + interval '1 s'")
        future = thread.submit(strict.replace, "a", OTHER, LONG, version=RECORD)
        blocked = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        eventually(lambda: schema.execute(blocked, other.info.backend_pid))
        other.execute("COMMIT")
        with pytest.raises(StoreUnavailable, match="SerializationFailure"):
            future.result(10)
    assert is_there(store, "a")
    strict.close()


def test_the_table_losing_its_owner_is_unavailable(schema: PostgresSchema, store: PostgresStore):
    store.by_owner("ann")
    schema.execute("ALTER TABLE {schema}.session DROP COLUMN owner")
    with pytest.raises(StoreUnavailable, match="column is missing"):
        store.by_owner("ann")


def test_creating_a_table_where_one_may_not_is_unavailable(schema: PostgresSchema):
    store = PostgresStore(f"{schema.conninfo} options='-c search_path=nowhere'", **OPTIONS)
    with pytest.raises(StoreUnavailable, match="no such schema"):
        store.open()


def test_creation_is_given_up_when_it_never_succeeds(schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch):
    schema.execute("CREATE TYPE {schema}.session AS (n int)")  # in the way of a table of this name
    store = PostgresStore(schema.conninfo, **OPTIONS)
    with pytest.raises(StoreUnavailable):
        store.open()


def test_a_state_that_psycopg_does_not_know_is_unavailable(schema: PostgresSchema, store: PostgresStore):
    schema.execute(
        """CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql
           AS $$BEGIN RAISE 'no' USING ERRCODE = 'ZZ123'; END$$"""
    )
    schema.execute("CREATE TRIGGER refuse BEFORE UPDATE ON {schema}.session EXECUTE FUNCTION {schema}.refuse()")
    with pytest.raises(StoreUnavailable) as refused:
        store.touch("a", LONG)
    assert isinstance(refused.value.driver_error, psycopg.DatabaseError)


# Slow and hung servers


class Holding:
    """A transaction that holds the row of "a", so that writes to it wait."""

    def __init__(self, schema: PostgresSchema) -> None:
        self._schema = schema

    def __enter__(self) -> Self:
        self._connection = self._schema.connect()
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT FROM session WHERE sid = 'a' FOR UPDATE")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def waiting(self) -> list[int]:
        """The server's processes that wait for it."""
        blocked = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        return [pid for (pid,) in self._schema.execute(blocked, self._connection.info.backend_pid)]


def test_a_statement_too_slow_is_ended_by_the_server_with_nothing_written(schema: PostgresSchema, store: PostgresStore):
    hasty = PostgresStore(schema.conninfo, **OPTIONS, timeout=0.5)
    with Holding(schema), pytest.raises(StoreUnavailable, match="took longer"):
        hasty.replace("a", OTHER, LONG, version=RECORD)
    assert is_there(hasty, "a")
    assert hasty.replace("a", OTHER, LONG, version=RECORD) == OTHER
    hasty.close()


def test_without_the_servers_help_the_client_ends_the_wait_and_the_connection(
    schema: PostgresSchema, store: PostgresStore, caplog: pytest.LogCaptureFixture
):
    with psycopg_pool.ConnectionPool(schema.conninfo, min_size=1, max_size=1, open=True) as pool:
        hasty = PostgresStore(pool, **OPTIONS, timeout=0.3)
        hasty.open()
        with Holding(schema) as held:
            before = monotonic()
            with pytest.raises(StoreTimeout, match=r"0\.3 s"):
                hasty.replace("a", OTHER, LONG, version=RECORD)
            assert 0.25 < monotonic() - before < 2
            assert held.waiting(), "the server knows nothing of it, and may still carry it out"
        eventually(lambda: is_there(store, "a", OTHER))
        assert is_there(hasty, "a", OTHER)
        assert pool.get_stats()["returns_bad"] == 1


@pytest.mark.anyio
async def test_an_async_call_ends_when_its_time_is_up(schema: PostgresSchema, store: PostgresStore):
    async with psycopg_pool.AsyncConnectionPool(schema.conninfo, min_size=1, max_size=1, open=False) as pool:
        hasty = AsyncPostgresStore(pool, **OPTIONS, timeout=0.3)
        await hasty.open()
        with Holding(schema):
            before = monotonic()
            with pytest.raises(StoreTimeout, match=r"0\.3 s"):
                await hasty.touch("a", LONG)
            assert 0.25 < monotonic() - before < 2
        assert isinstance(await hasty.load("a"), Stored)
        assert pool.get_stats()["returns_bad"] == 1


def test_a_server_that_stands_still_is_a_timeout(own_server: PostgresServer):
    store = PostgresStore(f"{own_server.url}?connect_timeout=2", **OPTIONS, timeout=0.4, table="still")
    store.create("a", RECORD, LONG)
    own_server.signal(signal.SIGSTOP)
    try:
        for call in (lambda: store.load("a"), lambda: store.touch("a", LONG)):
            before = monotonic()
            with pytest.raises(StoreError):
                call()
            assert monotonic() - before < 4
    finally:
        own_server.signal(signal.SIGCONT)
    eventually(lambda: _is_there(store))
    store.close()


def _is_there(store: PostgresStore) -> bool:
    try:
        return is_there(store, "a")
    except StoreError:
        return False


# Lost connections


def test_a_write_whose_connection_is_lost_may_have_happened_and_a_read_is_tried_once_more(
    schema: PostgresSchema, store: PostgresStore
):
    with ThreadPoolExecutor(1) as thread:
        with Holding(schema) as held:
            future = thread.submit(store.touch, "a", LONG)
            eventually(held.waiting)
            schema.execute("SELECT pg_terminate_backend(%s)", held.waiting()[0])
            with pytest.raises(StoreTimeout) as lost:
                future.result(10)
            assert isinstance(lost.value.driver_error, psycopg.OperationalError)
            assert str(lost.value).startswith(
                "the connection to PostgreSQL was lost"
            )  # libpq is not always told by whom
        assert store.touch("a", LONG)  # so that the read has a connection that was used before
        with schema.connect() as other:
            other.execute("BEGIN")
            other.execute("LOCK TABLE session")
            reading = thread.submit(store.load, "a")
            blocked = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
            eventually(lambda: schema.execute(blocked, other.info.backend_pid))
            ((pid,),) = schema.execute(blocked, other.info.backend_pid)
            schema.execute("SELECT pg_terminate_backend(%s)", pid)
            eventually(lambda: schema.execute(blocked, other.info.backend_pid))  # the second attempt
            other.execute("ROLLBACK")
            assert isinstance(reading.result(10), Stored)


def test_a_read_that_is_lost_twice_is_unavailable(schema: PostgresSchema, store: PostgresStore):
    with ThreadPoolExecutor(1) as thread, schema.connect() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE session")
        reading = thread.submit(store.load, "a")
        blocked = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        for _ in range(2):
            eventually(lambda: schema.execute(blocked, other.info.backend_pid))
            ((pid,),) = schema.execute(blocked, other.info.backend_pid)
            schema.execute("SELECT pg_terminate_backend(%s, 5000)", pid)
        with pytest.raises(StoreUnavailable):
            reading.result(10)


# Some address translators, load balancers and thawed machines forget an idle connection without telling anybody.


def _is_ours(request: bytes) -> bool:
    """A statement, rather than a pool that connects meanwhile."""
    return b"sojourn_" in request


@pytest.mark.parametrize("own", [True, False])
def test_a_read_on_a_connection_that_was_forgotten_is_sent_again_on_another(
    schema: PostgresSchema, postgres_url: str, own: bool
):
    with proxy_to(int(str(psycopg.conninfo.conninfo_to_dict(postgres_url)["port"]))) as proxy:
        through = psycopg.conninfo.make_conninfo(schema.conninfo, host="127.0.0.1", port=proxy.port)
        with psycopg_pool.ConnectionPool(through, min_size=2, kwargs={"autocommit": True}, open=True) as pool:
            pool.wait()
            store = PostgresStore(through if own else pool, **OPTIONS, timeout=2)
            store.create("a", RECORD, LONG)
            store.load("a")
            with proxy.failing(BlackHole(), when=_is_ours, times=1) as met:
                begun = monotonic()
                assert is_there(store, "a")
                assert met() == 1
                assert 0.9 < monotonic() - begun < 2  # half of the deadline
            with proxy.failing(BlackHole(), when=_is_ours, times=1) as met, pytest.raises(StoreTimeout):
                store.touch("a", LONG)  # writes are sent once
            assert met() == 1
            store.close()


@pytest.mark.anyio
async def test_likewise_in_the_async_colour(schema: PostgresSchema, postgres_url: str):
    with proxy_to(int(str(psycopg.conninfo.conninfo_to_dict(postgres_url)["port"]))) as proxy:
        through = psycopg.conninfo.make_conninfo(schema.conninfo, host="127.0.0.1", port=proxy.port)
        async with async_store(through, timeout=2) as store:
            await store.create("a", RECORD, LONG)
            await asyncio.gather(*(store.load("a") for _ in range(3)))
            with proxy.failing(BlackHole(), when=_is_ours, times=1) as met:
                stored = await store.load("a")
            assert isinstance(stored, Stored) and met() == 1
            assert len(idle_in(store)) == 1  # the others have been idle for as long


@pytest.mark.anyio
async def test_a_read_that_the_server_refuses_is_not_sent_again(schema: PostgresSchema):
    async with async_store(schema.conninfo) as store:
        await store.create("a", RECORD, LONG)
        schema.execute("DROP TABLE session")
        with pytest.raises(StoreUnavailable, match="42P01"):
            await store.load("a")
        assert len(idle_in(store)) == 1


def test_a_connection_is_kept_awake(schema: PostgresSchema):
    for conninfo, idle in ((schema.conninfo, "60"), (schema.conninfo + " keepalives_idle=7", "7")):
        store = PostgresStore(conninfo, **OPTIONS)
        store.open()
        (connection,) = idle_in(store)
        assert connection.info.get_parameters()["keepalives_idle"] == idle
        store.close()


def test_connections_that_died_while_idle_are_noticed_before_they_are_used(
    schema: PostgresSchema, caplog: pytest.LogCaptureFixture
):
    store = PostgresStore(schema.conninfo + " application_name=victim", **OPTIONS, pool_size=4)
    store.create("a", RECORD, LONG)
    for _ in range(3):
        kept = [pool_of(store).getconn(1) for _ in range(4)]
        for connection in kept:
            pool_of(store).putconn(connection)
        killed = schema.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'victim'"
        )
        assert len(killed) == 4
        for _ in range(6):
            assert store.touch("a", LONG) is True
    store.close()


@pytest.mark.parametrize("prepare", [True, False])
def test_a_killed_server_is_unavailable_and_is_used_again_once_it_is_back(own_server: PostgresServer, prepare: bool):
    store = PostgresStore(own_server.url, **OPTIONS, table="killed", timeout=1, prepare=prepare)
    store.delete("a")
    store.create("a", RECORD, LONG)
    own_server.kill()
    try:
        with pytest.raises(StoreUnavailable, match="no connection"):
            store.load("a")
        before = monotonic()
        for _ in range(5):
            with pytest.raises(StoreUnavailable, match="no connection") as failed:
                store.touch("a", LONG)
            assert isinstance(failed.value.driver_error, psycopg.OperationalError)
        assert monotonic() - before < 1, "a refused connection is an error at once"
    finally:
        own_server.start(synchronous_commit="on")
    assert is_there(store, "a")
    assert store.touch("a", LONG) is True
    store.close()


@pytest.mark.anyio
async def test_many_calls_on_a_dead_server_share_one_attempt_to_connect(monkeypatch: pytest.MonkeyPatch):
    attempts = []
    connect = psycopg.AsyncConnection.connect

    async def counted(*args: Any, **kwargs: Any) -> Any:
        attempts.append(args)
        await asyncio.sleep(0.05)
        return await connect(*args, **kwargs)

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", counted)
    async with async_store(f"postgresql://u:secret@127.0.0.1:{free_port()}/db") as store:
        results = await asyncio.gather(*(store.load(str(n)) for n in range(50)), return_exceptions=True)
        assert len(attempts) == 1
        for result in results:
            assert isinstance(result, StoreUnavailable)
            assert isinstance(result.driver_error, psycopg.OperationalError)
            assert "secret" not in f"{result} {result.driver_error} {store!r}"


def test_a_pooler_that_refuses_our_parameters_is_told_with_the_remedy():
    refused = psycopg.OperationalError("FATAL: unsupported startup parameter in options: secret")
    assert "prepare=False" in str(_postgres_wire.no_connection(refused))
    assert "secret" not in str(_postgres_wire.no_connection(refused))
    assert "prepare" not in str(_postgres_wire.no_connection(psycopg.OperationalError("no route")))


def test_a_server_that_takes_no_connection_is_given_up_after_the_connect_timeout():
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        store = PostgresStore.from_url(f"postgresql://u@127.0.0.1:{deaf.getsockname()[1]}/db?connect_timeout=2")
        before = monotonic()
        with pytest.raises(StoreUnavailable, match="no connection"):
            store.load("a")
        assert monotonic() - before < 5


def test_a_closed_store_opens_again_and_a_call_in_between_is_unavailable(store: PostgresStore):
    pool = pool_of(store)
    store.close()
    assert pool._is_closed
    assert not pool._idle
    with pytest.raises(StoreUnavailable, match="closed"):
        store._connections.run(store._sql.count)
    assert is_there(store, "a")


# Cancellation


@pytest.mark.anyio
@pytest.mark.parametrize("prepare", [True, False], ids=["shared connections", "a pool"])
async def test_under_a_storm_of_cancellations_every_call_gets_its_own_result(schema: PostgresSchema, prepare: bool):
    rng = random.Random(7)
    async with async_store(schema.conninfo, pool_size=3, timeout=20, prepare=prepare) as store:
        for n in range(10):
            await store.create(f"k{n}", b'{"cookie":{},"n":%d}' % n, LONG)
        cancelled = 0

        async def one(n: int) -> None:
            key, data = f"k{n}", b'{"cookie":{},"n":%d}' % n
            kind = rng.randrange(5)
            if kind < 2:
                stored = await store.load(key)
                assert isinstance(stored, Stored)
                assert stored.data == data
            elif kind == 2:
                assert await store.replace(key, data, LONG, version=data) == data
            elif kind == 3:
                assert await store.touch(key, LONG) is True
            else:
                assert await store.replace(f"missing{n}", data, LONG, version=data) is MISSING

        async def limited(n: int) -> None:
            with anyio.move_on_after(rng.random() * 0.004):
                await one(n)

        for _ in range(40):
            tasks = [asyncio.create_task((one if n % 3 else limited)(n % 10)) for n in range(20)]
            for task in tasks:
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)
                if rng.random() < 0.6:
                    task.cancel()
                    if rng.random() < 0.2:
                        await asyncio.sleep(0)
                        task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError), repr(result)
                cancelled += result is not None
        assert cancelled > 50
        for n in range(10):
            stored = await store.load(f"k{n}")
            assert isinstance(stored, Stored)
            assert stored.data == b'{"cookie":{},"n":%d}' % n
        if prepare:
            assert not any(line.load for lines in pool_of(store).shared._lines.values() for line in lines)
            return
        assert len(idle_in(store)) <= 3
        assert {connection.info.transaction_status.name for connection in idle_in(store)} == {"IDLE"}
        kept = [await pool_of(store).getconn(0.1) for _ in range(3)]  # no permit was lost on the way
        with pytest.raises(psycopg_pool.PoolTimeout):
            await pool_of(store).getconn(0.1)
        for connection in kept:
            await pool_of(store).putconn(connection)


@pytest.mark.anyio
async def test_a_cancelled_call_whose_reply_is_near_keeps_its_connection(schema: PostgresSchema):
    async with async_store(schema.conninfo, pool_size=1) as store:
        await store.create("a", RECORD, LONG)
        before = idle_in(store)
        cancelled = 0
        for turns in range(1, 6):
            task = asyncio.create_task(store.touch("a", LONG))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            cancelled += isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
            assert idle_in(store) == before
        assert cancelled, "all were done before"


@pytest.mark.anyio
async def test_a_cancelled_call_whose_reply_is_far_gives_its_connection_up(
    schema: PostgresSchema, store: PostgresStore
):
    async with async_store(schema.conninfo, pool_size=1) as impatient:
        await impatient.open()
        before_it = idle_in(impatient)
        with Holding(schema) as held:
            before = monotonic()
            with anyio.move_on_after(0.2) as scope:
                await impatient.delete("a")
            assert scope.cancelled_caught
            assert monotonic() - before < 2
            assert held.waiting()
            assert isinstance(await impatient.load("a"), Stored), "another connection serves"
            assert before_it[0].closed


@pytest.mark.anyio
async def test_a_call_cancelled_when_its_connection_breaks_is_cancelled_all_the_same(
    schema: PostgresSchema, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_postgres_wire, "_GRACE", 5.0)
    async with async_store(schema.conninfo, pool_size=1) as other:
        await other.open()
        with Holding(schema) as held:
            task = asyncio.create_task(other.delete("a"))
            await until(held.waiting)
            task.cancel()
            await asyncio.sleep(0)
            schema.execute("SELECT pg_terminate_backend(%s)", held.waiting()[0])
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.mark.anyio
async def test_a_record_larger_than_the_socket_takes_at_once_is_sent_and_fetched(schema: PostgresSchema):
    large = b'{"cookie":{},"x":"' + b"x" * 20_000_000 + b'"}'
    async with async_store(schema.conninfo, max_size=30_000_000, timeout=20) as store:
        await store.create("a", large, LONG)
        stored = await store.load("a")
        assert isinstance(stored, Stored)
        assert stored.data == large
        task = asyncio.create_task(store.replace("a", RECORD + b" " * 20_000_000, LONG, version=large))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.touch("a", LONG)
    sync = PostgresStore(schema.conninfo, max_size=30_000_000, prune_interval=None, timeout=20)
    sync.delete("a")
    assert sync.create("a", large, LONG) == large
    assert is_there(sync, "a", large)
    sync.close()


# The pool that a store opens itself


def test_connections_that_are_not_needed_any_more_are_closed(store: PostgresStore, monkeypatch: pytest.MonkeyPatch):
    kept = [pool_of(store).getconn(1) for _ in range(3)]
    for connection in kept:
        pool_of(store).putconn(connection)
    idle = pool_of(store)._idle
    for index in (0, 1):
        idle[index] = (monotonic() - 201, idle[index][1])
    for remaining in (2, 1, 1):
        assert is_there(store, "a")
        assert len(idle_in(store)) == remaining
    assert idle_in(store) == kept[2:]
    monkeypatch.setattr("sojourn.stores.postgres._sync.pool._LONGEST_IDLE", 0.0)  # the one used last is too old, too
    assert is_there(store, "a")
    assert len(idle_in(store)) == 1 and all(connection.closed for connection in kept)


@pytest.mark.anyio
async def test_async_connections_that_are_not_needed_any_more_are_closed(
    schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch
):
    async with async_store(schema.conninfo, prepare=False) as store:
        await asyncio.gather(*(store.load("a") for _ in range(3)))
        assert len(idle_in(store)) == 3
        idle = pool_of(store)._idle
        idle[0] = (monotonic() - 201, idle[0][1])
        await store.load("a")
        assert len(idle_in(store)) == 2
        former = idle_in(store)
        monkeypatch.setattr("sojourn.stores.postgres._async.pool._LONGEST_IDLE", 0.0)
        await store.load("a")
        assert len(idle_in(store)) == 1 and all(connection.closed for connection in former)


def test_a_connection_lent_while_the_store_is_closed_is_closed_when_it_comes_back(store: PostgresStore):
    pool = pool_of(store)
    connection = pool.getconn(1)
    store.close()
    assert not connection.closed
    pool.putconn(connection)
    assert connection.closed


@pytest.mark.anyio
async def test_an_async_store_closed_while_calls_are_waiting_gives_them_an_error_or_a_result(schema: PostgresSchema):
    async with async_store(schema.conninfo, pool_size=1) as store:
        await store.create("a", RECORD, LONG)
        calls = [asyncio.create_task(store.touch("a", LONG)) for _ in range(5)]
        await asyncio.sleep(0)
        pool = pool_of(store)
        await store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await store._connections.run(store._sql.count)
        assert await asyncio.gather(*calls) == [True] * 5
        assert not pool._idle


@pytest.mark.anyio
async def test_an_exhausted_async_pool_is_unavailable_within_the_timeout(schema: PostgresSchema):
    async with async_store(schema.conninfo, pool_size=1, timeout=0.2) as store:
        await store.create("a", RECORD, LONG)
        kept = await pool_of(store).getconn(1)
        with pytest.raises(StoreUnavailable, match="PoolTimeout"):
            await store.touch("a", LONG)
        await pool_of(store).putconn(kept)
        assert await store.touch("a", LONG) is True


@pytest.mark.anyio
@pytest.mark.parametrize("prepare", [True, False], ids=["shared connections", "a pool"])
async def test_async_connections_that_died_while_idle_are_noticed_before_they_are_used(
    schema: PostgresSchema, prepare: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sojourn.stores.postgres._pipeline._NAP", 0.0)
    async with async_store(schema.conninfo + " application_name=quarry", prepare=prepare) as store:
        await asyncio.gather(*(store.load("a") for _ in range(3)), store.touch("b", LONG), store.touch("c", LONG))
        schema.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'quarry'")
        assert await store.create("a", RECORD, LONG) == RECORD


@pytest.mark.anyio
async def test_a_table_that_another_creates_meanwhile_without_our_lock_is_taken_as_it_is(schema: PostgresSchema):
    with schema.connect() as other:
        async with async_store(schema.conninfo) as store:
            other.execute("BEGIN")
            other.execute(EXPRESS_TABLE.replace("{schema}", schema.name))
            opening = asyncio.create_task(store.load("a"))
            blocked = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
            await until(lambda: schema.execute(blocked, other.info.backend_pid))
            other.execute("COMMIT")
            assert await opening is None
            await store.create("a", RECORD, LONG, owner="ann")
            assert await store.by_owner("ann") == ["a"]


def test_threads_that_wait_for_one_to_open_the_store_share_its_failure(
    schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch
):
    store = PostgresStore(schema.conninfo, prune_interval=None)
    surveys = []
    survey = store._survey

    def counted(connection: Any) -> None:
        surveys.append(connection)
        sleep(0.2)
        survey(connection)

    monkeypatch.setattr(store, "_survey", counted)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(store.load, "a") for _ in range(8)]
        for future in futures:
            assert isinstance(future.exception(10), StoreUnavailable)
    assert len(surveys) < 4
    store.close()


def test_threads_that_wait_for_one_to_open_the_store_find_it_open(
    schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch
):
    store = PostgresStore(schema.conninfo, **OPTIONS)
    surveys = []
    survey = store._survey

    def counted(connection: Any) -> None:
        surveys.append(connection)
        sleep(0.2)
        survey(connection)

    monkeypatch.setattr(store, "_survey", counted)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(store.load, "abcdefgh")) == [None] * 8
    assert len(surveys) == 1
    store.close()


@pytest.mark.anyio
async def test_the_async_store_creates_its_table_beside_others_and_takes_express_table_as_it_is(schema: PostgresSchema):
    schema.execute(EXPRESS_TABLE)
    async with async_store(schema.conninfo, create_table=False) as store:
        await store.create("a", RECORD, LONG, owner="ann")
        with pytest.raises(StoreUnavailable, match="no column owner"):
            await store.by_owner("ann")
    schema.execute("DROP TABLE {schema}.session")
    async with async_store(schema.conninfo, create_table=False) as store:
        with pytest.raises(StoreUnavailable, match="create_table=True"):
            await store.load("a")
    schema.execute("CREATE TYPE {schema}.session AS (n int)")  # in the way of a table of this name
    async with async_store(schema.conninfo) as store:
        with pytest.raises(StoreUnavailable):
            await store.load("a")
        schema.execute("DROP TYPE {schema}.session")
        assert await store.load("a") is None


# Pruning


def test_who_creates_what_is_missing_waits_for_those_who_write_already_without_a_deadlock(
    schema: PostgresSchema, store: PostgresStore
):
    creation = Table.checked(None, "session").creation().text
    with schema.connect() as writer, ThreadPoolExecutor(1) as thread, schema.connect() as other:
        writer.execute("BEGIN")
        writer.execute("SELECT FROM session WHERE sid = 'a' FOR UPDATE")
        created = thread.submit(other.execute, creation)
        eventually(lambda: schema.execute("SELECT 1 FROM pg_locks WHERE NOT granted"))
        writer.execute("UPDATE session SET expire = expire WHERE sid = 'a'")
        writer.execute("COMMIT")
        created.result(30)


@pytest.mark.anyio
async def test_pruning_goes_on_after_a_failure_and_says_so(schema: PostgresSchema, caplog: pytest.LogCaptureFixture):
    async with async_store(schema.conninfo, prune_interval=0.05) as store:
        await store.create("a", RECORD, 1)
        schema.execute("ALTER TABLE {schema}.session RENAME TO elsewhere")
        await until(lambda: "pruning" in caplog.text)
        schema.execute("ALTER TABLE {schema}.elsewhere RENAME TO session")
        await until(lambda: not schema.execute("SELECT sid FROM {schema}.session"))


def test_pruning_in_a_thread_goes_on_after_a_failure(schema: PostgresSchema, caplog: pytest.LogCaptureFixture):
    store = PostgresStore(schema.conninfo, create_table=True, prune_interval=0.05)
    store.create("a", RECORD, 1)
    schema.execute("ALTER TABLE {schema}.session RENAME TO elsewhere")
    eventually(lambda: "pruning" in caplog.text)
    schema.execute("ALTER TABLE {schema}.elsewhere RENAME TO session")
    eventually(lambda: not schema.execute("SELECT sid FROM {schema}.session"))
    store.close()


def test_a_store_that_is_forgotten_stops_pruning(schema: PostgresSchema):
    import gc

    store = PostgresStore(schema.conninfo, create_table=True, prune_interval=0.05)
    store.open()
    del store
    gc.collect()
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "sojourn-prune"])


@pytest.mark.anyio
async def test_an_async_store_that_is_forgotten_stops_pruning(schema: PostgresSchema):
    import gc

    store = AsyncPostgresStore(schema.conninfo, create_table=True, prune_interval=0.05)
    await store.open()
    del store
    gc.collect()
    await until(lambda: not any(task.get_name() == "sojourn-prune" for task in asyncio.all_tasks()))


def test_every_error_is_one_of_ours_and_shows_no_key(schema: PostgresSchema, store: PostgresStore):
    schema.execute("DROP TABLE {schema}.session")
    calls: list[Callable[[], object]] = [
        lambda: store.load("secret-key"),
        lambda: store.create("secret-key", RECORD, LONG, owner="secret-owner"),
        lambda: store.replace("secret-key", RECORD, LONG, version=RECORD),
        lambda: store.regenerate("secret-key", "secret-new", RECORD, LONG, version=RECORD, tombstone=LONG),
        lambda: store.touch("secret-key", LONG),
        lambda: store.delete("secret-key"),
        lambda: list(store.scan()),
        store.count,
        store.clear,
        store.delete_expired,
        lambda: store.by_owner("secret-owner"),
        lambda: store.set_owner("secret-key", "secret-owner", version=RECORD),
    ]
    for call in calls:
        with pytest.raises(SojournError) as failed:
            call()
        assert "secret" not in f"{failed.value!r} {failed.value.__cause__} {failed.value.__context__}"
