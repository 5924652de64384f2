"""What the PostgreSQL store promises beyond the contract: the table it shares with Express, and what lies in it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import psycopg_pool
import pytest
from psycopg.conninfo import make_conninfo

from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Replaced, Stored
from sojourn.errors import ConfigurationError, StoreUnavailable
from sojourn.stores import reindex
from sojourn.stores.postgres._async.store import AsyncPostgresStore
from sojourn.stores.postgres._sync.store import PostgresStore
from tests.stores.postgres_schema import EXPRESS_TABLE, PostgresSchema, postgres_schema

pytestmark = pytest.mark.server

LONG = 60_000
RECORD = b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"n":1}'
OTHER = RECORD.replace(b'"n":1', b'"n":2')

EXPRESS_SET = (
    "INSERT INTO {schema}.session (sess, expire, sid) SELECT %s, to_timestamp(%s), %s"
    " ON CONFLICT (sid) DO UPDATE SET sess = excluded.sess, expire = excluded.expire RETURNING sid"
)
EXPRESS_GET = "SELECT sess FROM {schema}.session WHERE sid = %s AND expire >= to_timestamp(%s)"
EXPRESS_TOUCH = "UPDATE {schema}.session SET expire = to_timestamp(%s) WHERE sid = %s RETURNING sid"

Opened = Callable[..., PostgresStore]


@pytest.fixture
def schema(postgres_url: str) -> Iterator[PostgresSchema]:
    with postgres_schema(postgres_url) as schema:
        yield schema


@pytest.fixture
def opened(schema: PostgresSchema) -> Iterator[Opened]:
    """Makes stores in the schema, and closes them."""
    stores = []

    def make(conninfo: str = schema.conninfo, **options: Any) -> PostgresStore:
        stores.append(PostgresStore(conninfo, **{"create_table": True, "prune_interval": None, **options}))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def live(found: object) -> Stored:
    assert isinstance(found, Stored)
    return found


def seconds(ahead: float) -> int:
    """Epoch seconds, as Express computes them."""
    return int(datetime.now(UTC).timestamp() + ahead)


# The table


def columns(schema: PostgresSchema) -> list[tuple[Any, ...]]:
    return schema.execute(
        "SELECT column_name, data_type, datetime_precision, is_nullable FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = 'session' ORDER BY ordinal_position",
        schema.name,
    )


def indexes(schema: PostgresSchema) -> set[str]:
    return {name for (name,) in schema.execute("SELECT indexname FROM pg_indexes WHERE schemaname = %s", schema.name)}


def test_the_table_is_that_of_express_and_two_columns_that_its_insert_does_not_name(
    schema: PostgresSchema, opened: Opened
):
    schema.execute(EXPRESS_TABLE)
    made_by_express = columns(schema), indexes(schema)
    schema.execute("DROP TABLE {schema}.session")
    opened().open()
    assert columns(schema) == [*made_by_express[0], ("owner", "text", None, "YES"), ("successor", "text", None, "YES")]
    assert made_by_express[1] <= indexes(schema)


def test_a_table_of_an_older_version_gets_the_column_for_successors(schema: PostgresSchema, opened: Opened):
    older = opened()
    assert older.create("a", RECORD, LONG, owner="ann")
    schema.execute("ALTER TABLE {schema}.session DROP COLUMN successor")
    schema.execute("UPDATE {schema}.session SET sess = 'null'")
    older.close()
    store = opened()
    assert store.load("a") == Replaced(None)
    assert store.delete("a") == Deleted(0, ())
    version = store.create("b", RECORD, LONG)
    assert store.regenerate("b", "c", RECORD, LONG, version=version, tombstone=LONG)
    assert store.load("b") == Replaced("c")
    assert [name for name, *_ in columns(schema)].count("successor") == 1


def test_without_the_column_a_tombstone_has_no_successor_and_all_else_works(schema: PostgresSchema, opened: Opened):
    opened().open()
    schema.execute("ALTER TABLE {schema}.session DROP COLUMN successor")
    store = opened(create_table=False)
    version = store.create("a", RECORD, LONG, owner="ann")
    assert store.regenerate("a", "b", OTHER, LONG, version=version, tombstone=LONG, owner="ann") == OTHER
    assert store.load("a") == Replaced(None)
    assert store.create("a", RECORD, LONG) is EXISTS
    assert store.by_owner("ann") == ["b"]
    assert store.delete("a", "b", "c") == Deleted(1, ())


def test_a_row_that_is_used_again_has_no_successor(schema: PostgresSchema, opened: Opened):
    store = opened()
    version = store.create("a", RECORD, LONG)
    store.regenerate("a", "b", RECORD, LONG, version=version, tombstone=LONG)
    assert schema.execute("SELECT successor FROM {schema}.session WHERE sid = 'a'") == [("b",)]
    schema.execute("UPDATE {schema}.session SET expire = to_timestamp(0)")
    store.create("a", RECORD, LONG)
    version = store.create("c", RECORD, LONG)
    store.regenerate("c", "b", RECORD, LONG, version=version, tombstone=0)
    assert schema.execute("SELECT sid, successor FROM {schema}.session ORDER BY sid") == [("a", None), ("b", None)]


def test_a_table_that_express_made_serves_as_it_is_and_refuses_only_by_owner(schema: PostgresSchema, opened: Opened):
    schema.execute(EXPRESS_TABLE)
    before = columns(schema)
    store = opened(create_table=False)
    version = store.create("a", RECORD, LONG, owner="ann")
    assert store.replace("a", OTHER, LONG, version=version, owner="ann") == OTHER
    assert store.regenerate("a", "b", RECORD, LONG, version=OTHER, tombstone=LONG, owner="ann") == RECORD
    assert store.regenerate("b", "c", RECORD, LONG, version=RECORD, tombstone=0, owner="ann") == RECORD
    assert store.load("a") == Replaced(None)
    with pytest.raises(StoreUnavailable, match="no column owner"):
        store.by_owner("ann")
    with pytest.raises(StoreUnavailable, match="no column owner; give create_table=True"):
        reindex(store)
    with pytest.raises(StoreUnavailable, match="create_table=True"):
        store.lock("a", LONG)
    assert store.delete_expired() == 0
    assert columns(schema) == before


def test_creating_the_table_adds_to_express_table_what_it_lacks_and_keeps_its_rows(
    schema: PostgresSchema, opened: Opened
):
    schema.execute(EXPRESS_TABLE)
    schema.execute(EXPRESS_SET, RECORD.decode(), seconds(60), "theirs")
    store = opened()
    store.create("ours", RECORD, LONG, owner="ann")
    assert store.by_owner("ann") == ["ours"]
    assert live(store.load("theirs")).data == RECORD
    schema.execute(EXPRESS_SET, OTHER.decode(), seconds(60), "ours")
    assert store.by_owner("ann") == ["ours"]


def test_a_missing_table_is_unavailable_and_the_error_names_the_cure(schema: PostgresSchema, opened: Opened):
    store = opened(create_table=False)
    with pytest.raises(StoreUnavailable, match="create_table=True"):
        store.load("a")
    schema.execute(EXPRESS_TABLE)
    assert store.load("a") is None, "a table that came later is found"


def test_a_table_dropped_under_the_store_is_unavailable(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.load("a")
    schema.execute("DROP TABLE {schema}.session")
    with pytest.raises(StoreUnavailable, match="create_table=True") as failed:
        store.load("a")
    assert isinstance(failed.value.driver_error, psycopg.errors.UndefinedTable)


def test_many_that_start_at_once_create_the_table_once(schema: PostgresSchema, opened: Opened):
    for _ in range(3):
        stores = [opened(pool_size=1) for _ in range(8)]
        barrier = threading.Barrier(len(stores) + 1)

        def start(store: PostgresStore, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            store.open()

        def start_express(barrier: threading.Barrier = barrier) -> None:
            with schema.connect() as connection:
                barrier.wait()
                # As Express does: look, and create if there is none; it may fail, for it takes no lock.
                (found,) = connection.execute("SELECT to_regclass('session')").fetchone() or (None,)
                if found is None:
                    try:
                        connection.execute(EXPRESS_TABLE.replace("{schema}", schema.name))
                    except psycopg.Error:
                        return

        with ThreadPoolExecutor(len(stores) + 1) as threads:
            futures = [threads.submit(start, store) for store in stores] + [threads.submit(start_express)]
            for future in futures:
                future.result()
        assert [name for name, *_ in columns(schema)] == ["sid", "sess", "expire", "owner", "successor"]
        for store in stores:
            store.close()
        schema.execute("DROP TABLE {schema}.session, {schema}.session_lock")


def test_a_table_that_another_creates_meanwhile_without_our_lock_is_taken_as_it_is(
    schema: PostgresSchema, opened: Opened
):
    store = opened()
    assert while_held(schema, EXPRESS_TABLE, lambda: store.create("a", RECORD, LONG, owner="ann")) == RECORD
    assert store.by_owner("ann") == ["a"]


@pytest.mark.parametrize(
    "name", ['x"; DROP TABLE other; --', "x'y", "$$x$$", "%s", "{}", "Große Tabelle", "select", "a.b"]
)
def test_any_name_is_quoted(schema: PostgresSchema, opened: Opened, name: str):
    schema.execute("CREATE TABLE {schema}.other (n int)")
    store = opened(schema=schema.name, table=name)
    version = store.create("a", RECORD, LONG, owner="ann")
    store.regenerate("a", "b", OTHER, LONG, version=version, tombstone=LONG)
    assert [key for key, _ in store.scan()] == ["b"]
    assert store.unlock("a", store.lock("a", LONG) or "") is True
    assert store.clear() == 1
    assert store.delete_expired() == 0
    tables = schema.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", schema.name)
    assert {name for (name,) in tables} == {"clock", "other", name, f"{name}_lock"}


def test_a_schema_may_be_named_as_strangely(postgres_url: str, schema: PostgresSchema):
    strange = f'{schema.name}"; x'
    quoted = psycopg.sql.Identifier(strange)
    schema.connection.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(quoted))
    try:
        store = PostgresStore(postgres_url, schema=strange, create_table=True, prune_interval=None)
        store.create("a", RECORD, LONG)
        assert store.count() == 1
        store.close()
    finally:
        schema.connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(quoted))


def test_two_tables_in_one_schema_know_nothing_of_each_other(opened: Opened):
    first, second = opened(), opened(table="second")
    first.create("a", RECORD, LONG, owner="ann")
    assert second.load("a") is None
    assert second.by_owner("ann") == []
    second.create("a", OTHER, LONG)
    assert first.lock("a", LONG)
    assert second.lock("a", LONG)
    assert first.clear() == 1
    assert live(second.load("a")).data == OTHER


# Rows of Express


@pytest.mark.parametrize(
    "record",
    [
        '{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"n":1}',
        (
            '{"cookie":{"originalMaxAge":3600000,"partitioned":true,"priority":"high","expires":"2026-11-21T04:32:17.370Z",'
            '"secure":true,"httpOnly":false,"domain":"example.test","path":"/app","sameSite":"strict"},"n":1}'
        ),
        '{"cookie":{"httpOnly":true,"path":"/"},"\u00fc":"\u4f1a\u8a71 \U0001f36a"}',
    ],
)
def test_a_row_of_express_is_loaded_as_it_is(schema: PostgresSchema, opened: Opened, record: str):
    store = opened(layout="connect-pg-simple")
    store.open()
    schema.execute(EXPRESS_SET, record, seconds(3600), "theirs")
    stored = live(store.load("theirs"))
    assert stored.data == record.encode()
    assert stored.expires_in is not None
    assert 3_595_000 < stored.expires_in <= 3_600_000


def test_a_save_by_express_is_a_conflict_and_a_touch_by_express_is_none(schema: PostgresSchema, opened: Opened):
    store = opened(layout="connect-pg-simple")
    version = store.create("a", RECORD, LONG)
    schema.execute(EXPRESS_TOUCH, seconds(3600), "a")
    assert (live(store.load("a")).expires_in or 0) > LONG
    version = store.replace("a", OTHER, LONG, version=version)
    assert version == OTHER
    schema.execute(EXPRESS_SET, RECORD.decode(), seconds(3600), "a")
    assert store.replace("a", OTHER, LONG, version=version) is CONFLICT
    assert store.regenerate("a", "b", OTHER, LONG, version=version, tombstone=0) is CONFLICT
    assert live(store.load("a")).data == RECORD


def test_express_finds_what_the_store_wrote_as_long_as_it_lives(schema: PostgresSchema, opened: Opened):
    store = opened(layout="connect-pg-simple")
    store.create("a", RECORD, LONG)
    assert schema.execute(EXPRESS_GET, "a", seconds(58)) == [(json.loads(RECORD),)]
    assert schema.execute(EXPRESS_GET, "a", seconds(62)) == []


def test_express_takes_a_tombstone_for_no_session(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.create("a", RECORD, LONG)
    store.regenerate("a", "b", RECORD, LONG, version=RECORD, tombstone=LONG)
    assert schema.execute(EXPRESS_GET, "a", seconds(0)) == [(None,)]


def test_in_express_layout_the_expiry_is_a_whole_second_and_never_too_early(schema: PostgresSchema, opened: Opened):
    store = opened(schema.clocked, layout="connect-pg-simple")
    for now, ttl, left in (
        (0, 1, 1000),
        (0, 1000, 1000),
        (0, 1001, 2000),
        (999, 1, 1),
        (1, 999, 999),
        (500, 60_000, 60_500),
    ):
        schema.set_clock(1_750_000_000_000 + now)
        store.create("a", RECORD, ttl)
        assert live(store.load("a")).expires_in == left
        store.replace("a", RECORD, 10 * ttl, version=RECORD)
        store.touch("a", ttl)
        assert live(store.load("a")).expires_in == left
        store.delete("a")


def test_in_the_native_layout_the_expiry_is_exact_to_the_millisecond(schema: PostgresSchema, opened: Opened):
    store = opened(schema.clocked)
    schema.set_clock(1_750_000_000_123)
    store.create("a", RECORD, 4567)
    assert live(store.load("a")).expires_in == 4567
    ((expire,),) = schema.execute("SELECT expire FROM {schema}.session")
    assert expire.microsecond == 690_000


def test_the_default_lifetime_is_that_of_connect_pg_simple():
    assert PostgresStore.default_ttl == AsyncPostgresStore.default_ttl == 86_400_000


# Time zones


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("layout", ["native", "connect-pg-simple"])
def test_expiry_is_written_and_compared_in_the_connections_own_time_zone(postgres_url: str, zone: str, layout: Any):
    with postgres_schema(postgres_url, TimeZone=zone) as schema:
        store = PostgresStore(schema.conninfo, layout=layout, create_table=True, prune_interval=None)
        store.create("ours", RECORD, LONG)
        schema.execute(EXPRESS_SET, RECORD.decode(), seconds(60), "theirs")
        for key in ("ours", "theirs"):
            assert 57_000 < (live(store.load(key)).expires_in or 0) <= 61_000
            assert schema.execute(EXPRESS_GET, key, seconds(50)) == [(json.loads(RECORD),)]
            assert schema.execute(EXPRESS_GET, key, seconds(70)) == []
        ((expire,),) = schema.execute("SELECT expire FROM {schema}.session WHERE sid = 'ours'")
        local = datetime.now(ZoneInfo(zone)).replace(tzinfo=None) + timedelta(seconds=60)
        assert abs(expire - local) < timedelta(seconds=5)
        schema.execute("UPDATE {schema}.session SET expire = to_timestamp(%s)", seconds(-1))
        assert store.load("ours") is None
        assert store.touch("theirs", LONG) is False
        assert store.delete_expired() == 2
        store.close()


def test_a_life_across_the_change_to_summer_time_has_its_full_length(postgres_url: str):
    with postgres_schema(postgres_url, TimeZone="America/New_York") as schema:
        store = PostgresStore(schema.clocked, create_table=True, prune_interval=None)
        for month, day in ((3, 8), (11, 1)):  # the clocks change at 06:00 and 07:00 UTC
            schema.set_clock(int(datetime(2026, month, day, tzinfo=UTC).timestamp() * 1000))
            store.create("a", RECORD, 86_400_000)
            assert live(store.load("a")).expires_in == 86_400_000
            store.delete("a")
        store.close()


# Records


@pytest.mark.parametrize(
    "text",
    [
        r'{"cookie":{},"a":"\u0000"}',
        r'{"cookie":{},"a":"\ud800 \udfff"}',
        '{ "cookie" : {} ,\n\t"a":[ 1.0, 1e400, 123456789012345678901234567890 ], "a":2 }',
        '"sj1.k1.c2VhbGVk"',
        '{"cookie":{},"a":"\u007f\u2028\U0010ffff"}',
    ],
)
def test_json_text_comes_back_byte_for_byte(opened: Opened, text: str):
    store = opened()
    data = text.encode()
    version = store.create("a", data, LONG, owner="ann")
    assert live(store.load("a")).data == data
    assert store.replace("a", data, LONG, version=version, owner="ann") == data
    assert store.regenerate("a", "b", data, LONG, version=data, tombstone=LONG, owner="ann") == data
    assert live(store.load("b")).data == data
    assert store.by_owner("ann") == ["b"]
    assert [stored.data for _, stored in store.scan()] == [data]


@pytest.mark.parametrize("data", [b"secret-data", b"\xff", b'{"a":"secret-data', b"", b'{"a":"\x00"}'])
def test_data_that_are_not_json_are_refused_and_never_shown(opened: Opened, data: bytes):
    store = opened()
    with pytest.raises(StoreUnavailable, match="a record JSON") as refused:
        store.create("secret-key", data, LONG)
    error: BaseException | None = refused.value
    while error is not None:
        assert "secret" not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    assert store.load("secret-key") is None


def test_a_key_too_long_for_the_index_is_refused(opened: Opened):
    store = opened()
    key = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(1300))
    with pytest.raises(StoreUnavailable, match="too long"):
        store.create(key, RECORD, LONG)
    assert store.load(key) is None


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_encoding_of_the_client_does_not_matter(schema: PostgresSchema, opened: Opened, encoding: str):
    store = opened(f"{schema.conninfo} client_encoding={encoding}")
    data = '{"cookie":{},"a":"\u4f1a\u8a71"}'.encode()
    store.create("\u4f1a", data, LONG, owner="\u8a71")
    assert live(store.load("\u4f1a")).data == data
    assert store.by_owner("\u8a71") == ["\u4f1a"]
    assert next(iter(store.scan()))[0] == "\u4f1a"


# While another transaction holds the row


def while_held(schema: PostgresSchema, held: str, call: Callable[[], object], *, commits: bool = True) -> object:
    """The result of a call that waits for a row until this statement is committed, or rolled back."""
    with schema.connect() as other, ThreadPoolExecutor(1) as thread:
        other.execute("BEGIN")
        other.execute(held.replace("{schema}", schema.name))
        future = thread.submit(call)
        pid = other.info.backend_pid
        while not schema.execute("SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", pid):
            assert not future.done(), f"it did not wait, and returned {future.result()!r}"
            sleep(0.002)
        other.execute("COMMIT" if commits else "ROLLBACK")
        return future.result(10)


TOUCHED = "UPDATE {schema}.session SET expire = expire + interval '1 s' WHERE sid = 'a'"
SAVED = """UPDATE {schema}.session SET sess = '{"cookie":{}}' WHERE sid = 'a'"""
EXPIRED = "UPDATE {schema}.session SET expire = to_timestamp(0) WHERE sid = 'a'"
DELETED = "DELETE FROM {schema}.session WHERE sid = 'a'"
REPLACED = "UPDATE {schema}.session SET sess = 'null' WHERE sid = 'a'"


@pytest.mark.parametrize(
    ("held", "commits", "result"),
    [
        (TOUCHED, True, OTHER),
        (SAVED, True, CONFLICT),
        (SAVED, False, OTHER),
        (EXPIRED, True, MISSING),
        (DELETED, True, MISSING),
        (DELETED, False, OTHER),
        (REPLACED, True, MISSING),
    ],
)
def test_a_write_that_had_to_wait_sees_the_row_as_it_is_then(
    schema: PostgresSchema, opened: Opened, held: str, commits: bool, result: object
):
    store = opened()
    for tombstone in (None, 0, LONG):
        if tombstone is not None:
            schema.execute("DELETE FROM {schema}.session")
        store.create("a", RECORD, LONG)

        def write(tombstone: int | None = tombstone) -> object:
            if tombstone is None:
                return store.replace("a", OTHER, LONG, version=RECORD)
            return store.regenerate("a", "b", OTHER, LONG, version=RECORD, tombstone=tombstone)

        assert while_held(schema, held, write, commits=commits) == result
        written = "a" if tombstone is None else "b"
        if result == OTHER:
            assert live(store.load(written)).data == OTHER
        elif written == "b":
            assert store.load("b") is None


@pytest.mark.parametrize(
    ("held", "is_there"),
    [(TOUCHED, True), (SAVED, True), (EXPIRED, False), (DELETED, False), (REPLACED, False)],
)
def test_a_touch_or_a_delete_that_had_to_wait_does_not_meet_a_row_that_is_gone(
    schema: PostgresSchema, opened: Opened, held: str, is_there: bool
):
    store = opened()
    store.create("a", RECORD, LONG)
    assert while_held(schema, held, lambda: store.touch("a", LONG)) is is_there
    schema.execute("DELETE FROM {schema}.session")
    store.create("a", RECORD, LONG)
    assert while_held(schema, held, lambda: store.delete("a")) == Deleted(int(is_there), ())


MOVED = "UPDATE {schema}.session SET sess = 'null', successor = 'new' WHERE sid = 'a'"


@pytest.mark.parametrize(("commits", "deleted"), [(True, Deleted(2, ("new",))), (False, Deleted(3, ()))])
def test_a_delete_that_had_to_wait_returns_the_successor_of_what_was_moved_meanwhile(
    schema: PostgresSchema, opened: Opened, commits: bool, deleted: Deleted
):
    store = opened()
    for key in ("b", "a", "c"):
        store.create(key, RECORD, LONG)
    assert while_held(schema, MOVED, lambda: store.delete("c", "a", "b"), commits=commits) == deleted
    assert store.load("a") == (Replaced("new") if commits else None)
    assert (store.load("b"), store.load("c")) == (None, None)


def test_deletes_of_the_same_keys_in_any_order_do_not_lock_each_other_out(opened: Opened):
    store = opened()
    keys = [f"key{number}" for number in range(100)]

    def delete(number: int) -> int:
        return store.delete(*keys[:: 1 if number % 2 else -1]).count

    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            for key in keys:
                store.create(key, RECORD, LONG)
            assert sum(threads.map(delete, range(8))) == 100


def test_a_delete_finds_its_rows_by_the_index(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.open()
    schema.execute(
        "INSERT INTO {schema}.session (sid, sess, expire) SELECT 'key' || n, '{}', now() + interval '1 h'"
        " FROM generate_series(1, 5000) AS n"
    )
    schema.execute("ANALYZE {schema}.session")
    text = store._sql.delete.text.decode().replace("$1", "ARRAY['\\x6b657931'::bytea, '\\x6b657932']")
    plan = "\n".join(line for (line,) in schema.execute(f"EXPLAIN {text}"))
    assert plan.count("session_pkey") == 2 and "Seq Scan on session" not in plan, plan


@pytest.mark.parametrize(("commits", "result"), [(True, EXISTS), (False, OTHER)])
def test_of_two_that_create_one_key_the_second_waits_for_the_first(
    schema: PostgresSchema, opened: Opened, commits: bool, result: object
):
    store = opened()
    store.create("old", RECORD, LONG)
    inserted = "INSERT INTO {schema}.session VALUES ('a', '{}', current_timestamp + interval '1 hour')"
    assert while_held(schema, inserted, lambda: store.create("a", OTHER, LONG), commits=commits) == result
    schema.execute("DELETE FROM {schema}.session WHERE sid = 'a'")

    def move() -> object:
        return store.regenerate("old", "a", OTHER, LONG, version=RECORD, tombstone=LONG)

    assert while_held(schema, inserted, move, commits=commits) == result
    assert isinstance(store.load("old"), Stored) is commits


COUNTER = """
import json, sys
from sojourn.stores.postgres._sync.store import PostgresStore
from sojourn.stores.base import Stored

store = PostgresStore(sys.argv[1], prune_interval=None, pool_size=1)
store.open()
print("ready", flush=True)
sys.stdin.readline()
conflicts = 0
for _ in range(40):
    while True:
        stored = store.load("counter")
        record = json.loads(stored.data)
        record["n"] += 1
        result = store.replace("counter", json.dumps(record).encode(), 60_000, version=stored.version)
        if result:
            break
        conflicts += 1
print(conflicts)
"""


def test_no_update_of_several_processes_is_lost(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.create("counter", b'{"n": 0}', LONG)
    command = [sys.executable, "-c", COUNTER, schema.conninfo]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes: list[Any] = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert json.loads(live(store.load("counter")).data) == {"n": 120}
    assert sum(map(int, outputs)) > 0, "they never met, so nothing was tried"


# Expired rows


def test_expired_rows_are_removed_in_batches_by_any_store_that_is_asked(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.open()
    schema.execute(
        "INSERT INTO {schema}.session SELECT 'k' || n, '{}', to_timestamp(n) FROM generate_series(1, 2500) n;"
    )
    schema.execute(
        "INSERT INTO {schema}.session SELECT 't' || n, 'null', to_timestamp(n) FROM generate_series(1, 10) n"
    )
    schema.execute("INSERT INTO {schema}.session_lock SELECT n, 'x', to_timestamp(n) FROM generate_series(1, 1500) n")
    store.create("a", RECORD, LONG)
    held = store.lock("a", LONG)
    assert store.delete_expired() == 2500
    assert schema.execute("SELECT sid FROM {schema}.session") == [("a",)]
    assert schema.execute("SELECT token FROM {schema}.session_lock") == [(held,)]


def test_a_row_that_is_being_written_is_left_for_another_time(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.open()
    schema.execute("INSERT INTO {schema}.session SELECT 'k' || n, '{}', to_timestamp(n) FROM generate_series(1, 5) n")
    with schema.connect() as other, other.transaction():
        other.execute("SELECT FROM session WHERE sid = 'k1' FOR UPDATE")
        assert store.delete_expired() == 4
    assert store.delete_expired() == 1


def test_clearing_takes_any_number_and_leaves_what_is_not_live(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.open()
    schema.execute(
        "INSERT INTO {schema}.session SELECT 'k' || n, '{}', current_timestamp + interval '1 h' FROM generate_series(1, 2500) n"
    )
    schema.execute("INSERT INTO {schema}.session VALUES ('t', 'null', current_timestamp + interval '1 h')")
    assert store.count() == 2500
    assert len({key for key, _ in store.scan()}) == 2500
    assert store.clear() == 2500
    assert schema.execute("SELECT sid FROM {schema}.session") == [("t",)]


def test_expired_rows_are_removed_in_the_background(schema: PostgresSchema, opened: Opened):
    store = opened(prune_interval=0.05)
    store.create("a", RECORD, 1)
    store.create("b", RECORD, LONG)
    for _ in range(200):
        if schema.execute("SELECT sid FROM {schema}.session") == [("b",)]:
            break
        sleep(0.02)
    else:
        pytest.fail("the expired row is still there")
    store.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "sojourn-prune"]
    schema.execute("INSERT INTO {schema}.session VALUES ('c', '{}', to_timestamp(1))")
    sleep(0.2)
    assert len(schema.execute("SELECT sid FROM {schema}.session")) == 2, "it went on after being closed"


def test_one_process_at_a_time_prunes_in_the_background(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.open()
    schema.execute("INSERT INTO {schema}.session VALUES ('a', '{}', to_timestamp(1))")
    with schema.connect() as other, other.transaction():
        other.execute(f"SELECT pg_advisory_xact_lock({store._settings.table.advisory})")
        store._prune()
        assert schema.execute("SELECT sid FROM {schema}.session") == [("a",)]
    store._prune()
    assert schema.execute("SELECT sid FROM {schema}.session") == []


SCRIPT = """
import sys
from sojourn.stores.postgres._sync.store import PostgresStore

store = PostgresStore(sys.argv[1], create_table=True)
store.create("a", b"{}", 60_000)
print("done")
"""


def test_neither_the_pool_nor_the_pruning_keeps_the_process_alive(schema: PostgresSchema):
    command = [sys.executable, "-W", "error", "-c", SCRIPT, schema.conninfo]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


# Options


def test_a_url_takes_the_stores_options_and_libpqs(schema: PostgresSchema, postgres_url: str):
    query = (
        f"options=-csearch_path%3D{schema.name}&application_name=shop%20one&create_table=true&table=visits&timeout=2.5"
    )
    separator = "&" if "?" in postgres_url else "?"
    store = PostgresStore.from_url(
        f"{postgres_url}{separator}{query}&layout=connect-pg-simple&prune_interval=60&pool_size=2&max_size=100&prepare=true"
    )
    store.create("a", RECORD, LONG)
    assert schema.execute("SELECT sid FROM {schema}.visits") == [("a",)]
    names = schema.execute("SELECT application_name FROM pg_stat_activity WHERE application_name = 'shop one'")
    assert names
    assert store.max_size == 100
    assert repr(store) == "PostgresStore(\"visits\", layout='connect-pg-simple')"
    store.close()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://h/db", "postgresql://"),
        ("postgresql://u:secret@h/db?colour=red", "'colour'"),
        ("postgresql://u:secret@h/db?create_table=yes", "create_table"),
        ("postgresql://u:secret@h/db?timeout=soon", "timeout"),
        ("postgresql://u:secret@h/db?timeout=0", "timeout"),
        ("postgresql://u:secret@h/db?prune_interval=-1", "prune_interval"),
        ("postgresql://u:secret@h/db?pool_size=0", "pool_size"),
        ("postgresql://u:secret@h/db?max_size=1.5", "max_size"),
        ("postgresql://u:secret@h/db?table=", "table"),
        ("postgresql://u:secret@h/db?layout=mine", "layout"),
        ("postgresql://u:secret%zz@h/db", "libpq refuses"),
        ("postgresql://u:secret@h:abc/db", "port"),
        ("postgresql://u:secret@h:5432,i:abc/db", "port"),
        ("postgresql://u:secret@h/db?schema=" + "x" * 60, "schema"),
    ],
)
@pytest.mark.parametrize("store", [PostgresStore, AsyncPostgresStore])
def test_a_url_that_is_wrong_is_refused_by_name_and_without_its_password(store: Any, url: str, complaint: str):
    with pytest.raises(ConfigurationError) as refused:
        store.from_url(url)
    assert complaint in str(refused.value)
    shown: BaseException | None = refused.value
    while shown is not None:
        assert "secret" not in str(shown)
        shown = None if shown.__suppress_context__ else shown.__context__


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("schema", ""),
        ("table", "a\0b"),
        ("table", None),
        ("create_table", 1),
        ("prepare", "no"),
        ("timeout", -1),
        ("prune_interval", 0),
        ("pool_size", True),
        ("max_size", 0),
        ("layout", "express"),
    ],
)
def test_an_argument_that_is_wrong_is_refused_by_name(option: str, value: object):
    with pytest.raises(ConfigurationError) as refused:
        PostgresStore("postgresql://h/db", **{option: value})  # type: ignore[arg-type]
    assert refused.value.option == option


def test_a_pool_of_the_other_colour_is_refused():
    with pytest.raises(ConfigurationError, match="AsyncConnectionPool"):
        AsyncPostgresStore(psycopg_pool.ConnectionPool("", open=False))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"give PostgresStore a psycopg_pool\.ConnectionPool"):
        PostgresStore(psycopg_pool.AsyncConnectionPool("", open=False))  # type: ignore[arg-type]


def test_a_url_without_a_pooler_gives_the_server_less_time_than_the_client_has():
    store = PostgresStore("postgresql://h/db?options=-c%20a.b%3D1", timeout=2)
    assert "statement_timeout=1800 -c a.b=1" in (store._connections._conninfo or "")
    store = PostgresStore("postgresql://h/db", timeout=2, prepare=False)
    assert "options" not in (store._connections._conninfo or "")


def test_a_missing_driver_is_an_import_error_that_names_the_cure():
    for colour in ("async", "sync"):
        code = f"import sys; sys.modules['psycopg'] = None; import sojourn.stores.postgres._{colour}.store"
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert 'pip install "sojourn[postgres]"' in ended.stderr


# What somebody has written into the table


@pytest.mark.parametrize(
    ("expire", "zone"),
    [
        ("infinity", "UTC"),
        ("294276-12-31 23:59:59.999999", "America/New_York"),
        ("294276-12-31 23:59:59.999999", "Asia/Tokyo"),
        ("3000-01-01", "UTC"),
    ],
)
def test_an_expiry_that_is_far_away_or_never_comes_is_at_most_four_centuries_away(
    schema: PostgresSchema, opened: Opened, expire: str, zone: str
):
    store = opened(make_conninfo(schema.url, options=f"-c search_path={schema.name} -c TimeZone={zone}"))
    store.open()
    schema.execute("INSERT INTO {schema}.session (sid, sess, expire) VALUES ('a', %s, %s)", RECORD.decode(), expire)
    store.create("b", RECORD, LONG)
    years = (live(store.load("a")).expires_in or 0) / (365.2425 * 86_400_000)
    assert years == pytest.approx(400, abs=0.01)
    assert [key for key, _ in store.scan()] == ["a", "b"] and store.count() == 2
    assert store.touch("a", LONG)
    assert (live(store.load("a")).expires_in or 0) <= LONG


def test_an_expiry_before_all_time_has_come(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.open()
    for expire in ("-infinity", "4713-01-01 BC"):
        schema.execute("INSERT INTO {schema}.session (sid, sess, expire) VALUES (%s, '{}', %s)", expire, expire)
    assert store.load("-infinity") is None and list(store.scan()) == [] and store.count() == 0
    assert store.create("-infinity", RECORD, LONG) == RECORD
    assert store.delete_expired() == 1


def test_null_is_no_record_where_somebody_has_allowed_it(schema: PostgresSchema, opened: Opened):
    store = opened()
    store.open()
    for column in ("sess", "expire"):
        schema.execute("ALTER TABLE {schema}.session ALTER COLUMN " + column + " DROP NOT NULL")
    schema.execute("INSERT INTO {schema}.session (sid, sess, expire) VALUES ('a', NULL, 'tomorrow'), ('b', '{}', NULL)")
    assert live(store.load("a")).data == b"" and store.load("b") is None
    assert list(store.scan()) == [] and store.count() == 0


@pytest.mark.parametrize("successor", ["", "x" * 5000])
def test_a_successor_that_is_no_key_leads_nowhere(schema: PostgresSchema, opened: Opened, successor: str):
    store = opened()
    store.open()
    schema.execute(
        "INSERT INTO {schema}.session (sid, sess, expire, successor) VALUES ('a', 'null', 'tomorrow', %s)", successor
    )
    assert store.load("a") == Replaced(None)
    assert store.delete("a") == Deleted(0, ())
