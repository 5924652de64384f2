"""What real servers say in their errors of a visitor's key, owner and data is in nothing that anybody is shown.

Each server is made to refuse something, and quotes what it refuses. The driver's error has that, which shows that the server really
did; the store's error, its traceback and the log have not.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import io
import logging
import pickle
import re
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import bson
import psycopg
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError, WriteError

from sojourn import express
from sojourn.core.store import Replaced, Stored
from sojourn.errors import StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores import (
    AsyncMongoStore,
    AsyncPostgresStore,
    AsyncSQLiteStore,
    MongoLayout,
    MongoStore,
    PostgresStore,
    RedisStore,
    SQLiteStore,
)
from sojourn.stores.postgres._async import pool as async_pool
from sojourn.stores.postgres._sync import pool as sync_pool
from sojourn.stores.redis._errors import ErrorReply
from sojourn.testing import as_async
from sojourn.wsgi import SessionMiddleware
from tests.servers import MongoServer, ValkeyServer, free_port, valkey
from tests.stores.postgres_schema import PostgresSchema, postgres_schema
from tests.stores.redis_kinds import KINDS, answering, opened

pytestmark = pytest.mark.server

HOUR: Final = 3_600_000
KEY: Final = "secret-key"
OWNER: Final = "secret-owner"
DATA: Final = "secret-data"
RECORD: Final = b'{"cookie":{},"n":"secret-data"}'
NO_JSON: Final = b'{"a": secret-data}'
NAME: Final = "secret-name\nERROR root all sessions are open"
VALUE: Final = b"\xffsecret-data"
SAID: Final = "secret-data\nERROR"
SECRET: Final = "a secret of more than thirty-two bytes for testing"


def failure(call: Callable[[], Any]) -> StoreError:
    """The error of a call of a method, in either colour."""

    async def run() -> None:
        result = call()
        if inspect.isawaitable(result):
            await result

    with pytest.raises(StoreError) as failed:
        asyncio.run(run())
    return failed.value


def check(error: StoreError, kind: type[BaseException], says: str, *, quotes: str = "secret") -> None:
    """The error is the store's alone, says this, and the driver's error is of this kind and quotes what was refused."""
    assert isinstance(error.driver_error, kind)
    assert quotes in str(error.driver_error)
    assert error.__cause__ is None and error.__context__ is None
    assert str(error) == says
    shown = "".join(traceback.format_exception(error)) + repr(error)
    assert "secret-" not in shown and "\nERROR" not in shown and kind.__module__ not in shown.partition("Error: ")[2]


# PostgreSQL


@pytest.fixture
def schema(postgres_url: str) -> Iterator[PostgresSchema]:
    with postgres_schema(postgres_url) as schema:
        yield schema


@pytest.fixture(params=[PostgresStore, AsyncPostgresStore], ids=["sync", "async"])
def postgres(request: pytest.FixtureRequest, schema: PostgresSchema) -> Any:
    PostgresStore(schema.conninfo, create_table=True, prune_interval=None).open()
    return request.param(schema.conninfo, prune_interval=None)


_REFUSE: Final = "CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE %s; END$$"
_ON_INSERT: Final = (
    "CREATE TRIGGER refuse BEFORE INSERT ON {schema}.session FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()"
)
POSTGRES: Final[dict[str, tuple[tuple[str, ...], type[BaseException], str]]] = {
    "DETAIL quotes a unique value": (
        (
            "CREATE UNIQUE INDEX ON {schema}.session (owner)",
            f"INSERT INTO {{schema}}.session VALUES ('other', '0', now() + interval '1 h', '{OWNER}')",
        ),
        psycopg.errors.UniqueViolation,
        "PostgreSQL refused the operation: UniqueViolation (23505)",
    ),
    "DETAIL quotes the whole row": (
        (f"ALTER TABLE {{schema}}.session ADD CHECK (sid <> '{KEY}')",),
        psycopg.errors.CheckViolation,
        "PostgreSQL refused the operation: CheckViolation (23514)",
    ),
    "a trigger quotes the key, on a line that looks like one of the log": (
        (_REFUSE % r"E'no\nERROR root session % has logged in', NEW.sid", _ON_INSERT),
        psycopg.errors.RaiseException,
        "PostgreSQL refused the operation: RaiseException (P0001)",
    ),
    "a state that psycopg does not know": (
        (_REFUSE % "'no %', NEW.sid USING ERRCODE = 'ZZ123'", _ON_INSERT),
        psycopg.DatabaseError,
        "PostgreSQL refused the operation: DatabaseError (ZZ123)",
    ),
}


@pytest.mark.parametrize("case", POSTGRES)
def test_what_postgresql_quotes_is_not_shown(case: str, schema: PostgresSchema, postgres: Any):
    settings, kind, says = POSTGRES[case]
    for setting in settings:
        schema.execute(setting)
    check(failure(lambda: postgres.create(KEY, RECORD, HOUR, owner=OWNER)), kind, says)


def test_what_postgresql_quotes_of_a_record_that_is_no_json_is_not_shown(postgres: Any):
    error = failure(lambda: postgres.create(KEY, NO_JSON, HOUR))
    says = "PostgreSQL refused the operation: a key must be text without NUL, and a record JSON (22P02)"
    check(error, psycopg.errors.InvalidTextRepresentation, says)


def test_a_server_that_is_away_is_told_without_its_address_and_the_password():
    port = free_port()
    url = f"postgresql://secret-user:secret-password@127.0.0.1:{port}/secret-database"
    kinds: Any = PostgresStore, AsyncPostgresStore
    for kind in kinds:
        error = failure(kind(url).open)
        check(error, psycopg.OperationalError, "no connection to PostgreSQL (OperationalError)", quotes=str(port))


@pytest.mark.parametrize("name", ["load", "create", "replace", "touch", "regenerate", "delete", "lock"])
def test_a_reply_of_postgresqls_to_somebody_elses_statement_is_never_taken(
    name: str, postgres: Any, monkeypatch: pytest.MonkeyPatch
):
    """Whatever made two share a connection: here the statement that is sent is about another key."""
    calls: dict[str, Callable[[Any, str], Any]] = {
        "load": lambda store, key: store.load(key),
        "create": lambda store, key: store.create(key, RECORD, HOUR),
        "replace": lambda store, key: store.replace(key, RECORD, HOUR, version=RECORD),
        "touch": lambda store, key: store.touch(key, HOUR),
        "regenerate": lambda store, key: store.regenerate(key, "new", RECORD, HOUR, version=RECORD, tombstone=HOUR),
        "delete": lambda store, key: store.delete(key),
        "lock": lambda store, key: store.lock(key, HOUR),
    }
    colour, module = ("sync", sync_pool) if isinstance(postgres, PostgresStore) else ("async", async_pool)
    monkeypatch.setattr(async_pool, "LEAST_CONNECTIONS", 99)  # shared connections: see test_postgres_pipeline.py
    execute = getattr(module, f"execute_{colour}")

    def mistaken(connection: Any, statement: Any, parameters: Any, **options: Any) -> Any:
        return execute(
            connection, statement, [part and part.replace(b"mine", b"ours") for part in parameters], **options
        )

    async def run() -> None:
        store: Any = as_async(postgres) if colour == "sync" else postgres
        if name != "create":
            await store.create("ours", RECORD, HOUR)
        await store.open()
        (pool,) = postgres._connections._pools.values()
        ((_, connection),) = pool._idle
        with monkeypatch.context() as patched:
            patched.setattr(module, f"execute_{colour}", mistaken)
            with pytest.raises(StoreError, match="reply was to another statement") as refused:
                await calls[name](store, "mine")
        assert type(refused.value) is (StoreUnavailable if name == "load" else StoreTimeout)
        assert connection.closed, "nothing else is taken from it"
        assert await store.load("mine") is None
        await store.close()

    asyncio.run(run())


# MongoDB


@pytest.fixture(params=[MongoStore, AsyncMongoStore], ids=["sync", "async"])
def mongo(request: pytest.FixtureRequest, mongodb: MongoServer) -> Iterator[tuple[Any, str]]:
    url = mongodb.url()
    store = request.param.from_url(f"{url}&create_index=false")
    yield store, url
    if isinstance(store, MongoStore):
        store.close()  # the other closes its clients with the event loops


def sessions(url: str) -> Any:
    return closing(MongoClient[Any](url))


def test_what_mongodb_quotes_of_a_document_that_fails_validation_is_not_shown(mongo: tuple[Any, str]):
    store, url = mongo
    with sessions(url) as client:
        rule = {"$jsonSchema": {"properties": {"session": {"maxLength": 10}}}}
        client.get_default_database().create_collection("sessions", validator=rule)
    says = "MongoDB: WriteError (code 121); nothing was written"
    check(failure(lambda: store.create(KEY, RECORD, HOUR, owner=OWNER)), WriteError, says, quotes=KEY)
    check(failure(lambda: store.create(KEY, RECORD, HOUR, owner=OWNER)), WriteError, says, quotes=DATA)


def test_what_mongodb_quotes_of_a_value_that_is_there_already_is_not_shown(mongo: tuple[Any, str]):
    store, url = mongo
    with sessions(url) as client:
        rows = client.get_default_database()["sessions"]
        rows.create_index("owner", unique=True, sparse=True)
        rows.insert_one({"_id": "other", "owner": OWNER})
    version = asyncio.run(made(store))
    says = "MongoDB: DuplicateKeyError (code 11000); nothing was written"
    error = failure(lambda: store.replace(KEY, RECORD, HOUR, version=version, owner=OWNER))
    check(error, DuplicateKeyError, says, quotes=OWNER)


async def made(store: Any) -> Any:
    version = (as_async(store) if isinstance(store, MongoStore) else store).create(KEY, RECORD, HOUR)
    return await version


UNREADABLE: Final[dict[str, Any]] = {
    "a type that JSON does not have": {NAME: VALUE},
    "the same further in": {"in": [{NAME: VALUE}]},
    "an integer too large": {NAME: 2**60},
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_no_name_and_no_value_of_a_document_that_cannot_be_read_reaches_the_log(
    case: str, mongodb: MongoServer, caplog: pytest.LogCaptureFixture
):
    url = mongodb.url()
    with sessions(url) as client:
        client.get_default_database()["sessions"].insert_one({"_id": KEY, "session": UNREADABLE[case]})
    url += "&layout=connect-mongo-bson&create_index=false"
    with closing(MongoStore.from_url(url)) as store:
        for either in (store, AsyncMongoStore.from_url(url)):
            found = asyncio.run(loaded(either))
            assert isinstance(found, Stored) and found.data == b""
    assert len(caplog.records) == 2
    for record in caplog.records:
        line = record.getMessage()
        assert "cannot be read: it holds a" in line
        assert "secret" not in line and "\n" not in line and not record.exc_info


@pytest.mark.parametrize("level", [0, 1])
def test_no_name_of_a_document_that_is_no_bson_reaches_the_log(level: int, caplog: pytest.LogCaptureFixture):
    sound: Any = {NAME: DATA}
    raw = bson.encode({"_id": KEY, **({"session": sound} if level else sound)})
    broken: Any = RawBSONDocument(raw.replace(b"\x02secret-name", b"\x77secret-name"))  # no type of BSON's
    found = MongoLayout.connect_mongo(stringify=False).found(KEY, broken, 0)
    assert isinstance(found, Stored) and found.data == b""
    (record,) = caplog.records
    assert "is not valid BSON (InvalidBSON)" in record.getMessage()
    assert "secret" not in record.getMessage() and "\n" not in record.getMessage() and not record.exc_info


async def loaded(store: Any, key: str = KEY) -> Any:
    return await (as_async(store) if isinstance(store, MongoStore) else store).load(key)


def test_a_document_that_is_not_the_one_asked_for_is_never_taken(mongo: tuple[Any, str]):
    """As with a collation that ignores case, which a collection of the app's own may have."""
    store, url = mongo
    with sessions(url) as client:
        database = client.get_default_database()
        database["sessions"].insert_one({"_id": "Theirs", "session": RECORD.decode()})
    theirs = {"_id": "Theirs", "session": RECORD.decode()}
    with pytest.raises(StoreUnavailable, match="another key than the one asked for"):
        store._layout.found("theirs", theirs, 0)
    found = asyncio.run(loaded(store, "Theirs"))
    assert isinstance(found, Stored) and found.data == RECORD


def test_a_tombstone_whose_successor_is_no_text_has_none(mongo: tuple[Any, str]):
    """Whoever can write a document could otherwise have any session ended by a logout."""
    store, url = mongo
    with sessions(url) as client:
        rows = client.get_default_database()["sessions"]
        rows.insert_one({"_id": KEY, "sojourn": "replaced", "successor": {"$gt": ""}})

    async def use() -> None:
        both: Any = as_async(store) if isinstance(store, MongoStore) else store
        assert await both.load(KEY) == Replaced(None)
        assert (await both.delete(KEY)).successors == ()

    asyncio.run(use())


# SQLite


@pytest.mark.parametrize("kind", [SQLiteStore, AsyncSQLiteStore], ids=["sync", "async"])
def test_what_a_trigger_in_the_sqlite_file_says_is_not_shown(kind: Any, tmp_path: Path):
    path = tmp_path / "sessions.db"
    with closing(SQLiteStore(path)) as store:
        store.open()
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"CREATE TRIGGER t BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, '{SAID}'); END")
    store = kind(path)
    says = "the SQLite file cannot be used: IntegrityError, SQLITE_CONSTRAINT_TRIGGER"
    check(failure(lambda: store.create(KEY, RECORD, HOUR)), sqlite3.IntegrityError, says, quotes=SAID)


# Redis


@contextmanager
def a_cluster_of_one(*options: object) -> Iterator[ValkeyServer]:
    """A server that has all the slots."""
    with valkey("--cluster-enabled", "yes", "--cluster-port", free_port(), *options) as server:
        server.ask("CLUSTER ADDSLOTSRANGE 0 16383")
        deadline = time.monotonic() + 20
        while "cluster_state:ok" not in server.ask("CLUSTER INFO"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        server.url = f"redis+cluster://127.0.0.1:{server.port}"
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module", params=[valkey, a_cluster_of_one], ids=["one server", "a cluster"])
def without_evalsha(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that does not know EVALSHA, as some services do not, and says so with the arguments."""
    with request.param("--rename-command", "EVALSHA", "") as server:
        yield server.url


@pytest.fixture(scope="module", params=[valkey, a_cluster_of_one], ids=["one server", "a cluster"])
def with_users(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server with a user who may read, and who may not run scripts."""
    with request.param() as server:
        server.ask("ACL SETUSER secret-user on >secret-password ~* +@all -evalsha")
        yield server.url.replace("://", "://secret-user:secret-password@")


def refused_by_redis(kind: str, url: str, call: Callable[[Any], Any]) -> StoreError:
    """The error of a call, with each way to reach a server."""

    async def run() -> StoreError:
        async with opened(kind, url) as store:
            with pytest.raises(StoreError) as failed:
                await call(store)
            return failed.value

    return asyncio.run(run())


CALLS: Final[dict[str, Callable[[Any], Any]]] = {
    "create": lambda store: store.create(KEY, RECORD, HOUR, owner=OWNER),
    "replace": lambda store: store.replace(KEY, RECORD, HOUR, version=RECORD, owner=OWNER),
    "regenerate": lambda store: store.regenerate(KEY, f"{KEY}2", RECORD, HOUR, version=RECORD, tombstone=HOUR),
    "touch": lambda store: store.touch(KEY, HOUR),
    "delete": lambda store: store.delete(KEY),
    "set_owner": lambda store: store.set_owner(KEY, OWNER, version=RECORD),
    "unlock": lambda store: store.unlock(KEY, "token"),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_a_redis_without_evalsha_quotes_is_not_shown(kind: str, call: str, without_evalsha: str):
    error = refused_by_redis(kind, without_evalsha, CALLS[call])
    is_of_an_owner = "cluster" in without_evalsha and call in {"create", "replace"}  # the index is written first
    check(error, Exception, "Redis refused the operation: ERR", quotes="sojourn:owner" if is_of_an_owner else KEY)


def test_a_redis_that_lacks_a_right_is_told_by_its_code_and_without_the_users_name(kind: str, with_users: str):
    error = refused_by_redis(kind, with_users, CALLS["touch"])
    check(error, Exception, "Redis refused the operation: NOPERM", quotes="secret-user")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_a_redis_without_auth_quotes_of_a_password_is_not_shown(kind: str):
    with valkey("--rename-command", "AUTH", "") as server:
        url = server.url.replace("://", "://secret-user:secret-password@")
        error = refused_by_redis(kind, url, lambda store: store.load(KEY))
        check(error, Exception, "Redis refused the operation: ERR", quotes="secret-password")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"-secret-key is not welcome", "Redis refused the operation: ERR"),
        (b"-SECRETKEY is not welcome, secret-key", "Redis refused the operation: ERR"),
        (b"-BUSY secret-key \xff", "Redis refused the operation: BUSY"),
        (b"-MOVED secret-key secret-key", None),
    ],
)
def test_no_word_of_an_error_reply_is_told_but_a_code_that_redis_has(kind: str, reply: bytes, says: str | None):
    """Such as a proxy's reply; whatever class redis-py has for it."""
    with answering(lambda _: reply + b"\r\n") as url:
        error = refused_by_redis(kind, url, lambda store: store.load(KEY))
    check(error, Exception, says or str(error), quotes="" if says is None else "secret-key")


def test_an_error_reply_is_pickled_without_what_the_server_said():
    error = ErrorReply("OOM", driver_error=ValueError(KEY))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.args, copy.code, copy.driver_error) == (ErrorReply, error.args, "OOM", None)


# On the way through the middleware


class World:
    """A site in Express's profile, whose keys are the raw ids, on a store that refuses every new session."""

    def __init__(self, store: Any) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            environ["sojourn.session"]["n"] = "secret-data"
            start_response("200 OK", [])
            return [b"fine"]

        self.store = store
        self.app = SessionMiddleware(application, **express(secret=SECRET, store=store, generate_id=lambda _: KEY))

    def status(self) -> str:
        answered: list[str] = []

        def start_response(status: str, _headers: Any, _info: Any = None) -> Callable[[bytes], object]:
            answered.append(status)
            return lambda _: None

        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
        }
        list(self.app(environ, start_response))
        return answered[0]


@pytest.fixture(params=["postgresql", "mongodb", "redis", "redis, in a cluster", "sqlite"])
def site(
    request: pytest.FixtureRequest, schema: PostgresSchema, mongodb: MongoServer, tmp_path: Path
) -> Iterator[World]:
    store: Any
    stack = ExitStack()
    if request.param == "postgresql":
        store = PostgresStore(schema.conninfo, create_table=True, prune_interval=None)
        store.open()
        schema.execute("ALTER TABLE {schema}.session ADD CHECK (sid <> 'secret-key')")
    elif request.param == "mongodb":
        url = mongodb.url()
        with sessions(url) as client:
            rule = {"$jsonSchema": {"properties": {"session": {"maxLength": 10}}}}
            client.get_default_database().create_collection("sessions", validator=rule)
        store = MongoStore.from_url(url)
    elif "redis" in request.param:
        make = a_cluster_of_one if "cluster" in request.param else valkey
        server = stack.enter_context(make("--rename-command", "EVALSHA", ""))
        store = RedisStore.from_url(server.url)
    else:
        store = SQLiteStore(tmp_path / "sessions.db")
        store.open()
        with closing(sqlite3.connect(store.path)) as file:
            file.execute(f"CREATE TRIGGER t BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, '{KEY}'); END")
    with stack:
        yield World(store)
        store.close()
    gc.collect()


def test_the_log_of_an_outage_tells_class_and_code_and_nothing_of_the_visitor(
    site: World, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)  # of the root: what the driver says is not told for that
    caplog.set_level(logging.DEBUG, "sojourn")
    assert site.status() == "503 Service Unavailable"
    formatted = "\n".join(logging.Formatter().format(record) for record in caplog.records if record.name == "sojourn")
    assert re.search("session store fails: (StoreUnavailable|ErrorReply): ", formatted) and "Traceback" in formatted
    assert "secret-" not in formatted
    assert not [record for record in caplog.records if record.name == "sojourn.driver"]


def test_who_asks_for_it_by_name_is_told_what_the_driver_says_in_one_line(
    site: World, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "sojourn.driver")
    assert site.status() == "503 Service Unavailable"
    told = [record for record in caplog.records if record.name == "sojourn.driver"]
    assert told and all(record.levelno == logging.DEBUG and "\n" not in record.getMessage() for record in told)
    assert KEY in told[0].getMessage()
