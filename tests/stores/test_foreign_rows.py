"""Whatever somebody has put into a row with the store's own tool, it is a session, or one error in the log and a fresh session.

And it ends nothing for others: not the list, not the count, not a migration.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import psycopg
import pytest
import redis
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from sojourn.cookie import Cookie
from sojourn.core.session import Session
from sojourn.migrate import migrate
from sojourn.stores import MemoryStore, MongoStore, PostgresStore, RedisStore, SQLiteStore
from sojourn.stores.redis._names import Names
from sojourn.wsgi import SessionMiddleware
from tests.foreign import AMOUNTS, VALUES, check_header, foreign_record
from tests.servers import MongoServer

_BATCH: Final = 50
_HOUR: Final = 3_600_000
SECRET: Final = "a secret that is long enough for everybody"
KEYS: Final = tuple(f"session-{number}" for number in range(_BATCH))


class Table(ABC):
    """A store, and a way around it."""

    store: Any

    @abstractmethod
    def put(self, key: str, random: Random) -> None:
        """Leave anything under a key."""

    @abstractmethod
    def empty(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


# -- SQLite -----------------------------------------------------------------------------------------------------------------


class SQLiteTable(Table):
    def __init__(self, folder: Path) -> None:
        self.store = SQLiteStore(folder / "sessions.db", synchronous="OFF", prune_interval=None)
        self.store.open()
        self.connection = sqlite3.connect(folder / "sessions.db", isolation_level=None)

    def put(self, key: str, random: Random) -> None:
        text = foreign_record(random).encode(errors="surrogatepass")
        now = int(time.time() * 1000)
        cells = (
            _cell(random, key, b"\xff", 7, share=0.05),
            (
                random.choice(("?", "?", "CAST(? AS TEXT)", "NULLIF(?, '')")),
                random.choice((text, text, text, b"", 5, 1.5, None)),
            ),
            _cell(random, 1, 2**63 - 1, -(2**63), 1.5, "one", b"1"),
            _cell(
                random, now + _HOUR, 2**63 - 1, float("inf"), float("-inf"), now + 1e9 + 0.5, "tomorrow", b"x", -1, 0
            ),
            _cell(random, "ann", None, 5, b"\xff", "\0"),
            _cell(random, None, "another", "", "x" * 5000, b"\xff", 5),
        )
        places = ", ".join(place for place, _ in cells)
        self.connection.execute(
            f"INSERT OR REPLACE INTO sessions (key, data, version, expires, owner, successor) VALUES ({places})",
            [value for _, value in cells],
        )

    def empty(self) -> None:
        self.connection.execute("DELETE FROM sessions")

    def close(self) -> None:
        self.connection.close()
        self.store.close()


def _cell(random: Random, usual: Any, *others: Any, share: float = 0.3) -> tuple[str, Any]:
    """A place in a statement and its value; of bytes perhaps as text that is no UTF-8."""
    value = random.choice(others) if random.random() < share else usual
    return random.choice(("?", "CAST(? AS TEXT)")) if isinstance(value, bytes) else "?", value


# -- PostgreSQL ---------------------------------------------------------------------------------------------------------------


class PostgresTable(Table):
    ENDS: Final = (
        *(
            "infinity",
            "-infinity",
            "294276-12-31 23:59:59.999999",
            "4713-01-01 BC",
            "9999-12-31",
            "1970-01-01",
            "now",
            None,
        ),
    )

    def __init__(self, url: str) -> None:
        self.name = f"rows_{uuid.uuid4().hex[:12]}"
        self.store = PostgresStore(url, table=self.name, create_table=True, prune_interval=None)
        self.store.open()
        self.connection = psycopg.connect(url, autocommit=True)
        for column in ("sess", "expire"):
            self.run(f"ALTER TABLE {self.name} ALTER COLUMN {column} DROP NOT NULL")

    def run(self, statement: str, *parameters: object) -> None:
        self.connection.execute(statement.encode(), parameters)

    def put(self, key: str, random: Random) -> None:
        text = random.choice([foreign_record(random), foreign_record(random), random.choice(VALUES), None])
        end = random.choice(self.ENDS) if random.random() < 0.3 else "tomorrow"
        owner = random.choice(["ann", "ann", None, "", "x" * 2000])
        successor = random.choice([None, "another", "", "x" * 5000])
        with suppress(psycopg.DataError):  # what is no JSON to PostgreSQL, or no UTF-8
            self.run(
                f"INSERT INTO {self.name} (sid, sess, expire, owner, successor) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                *(key, None if text is None else text.encode(errors="replace").decode(), end, owner, successor),
            )

    def empty(self) -> None:
        self.run(f"DELETE FROM {self.name}")

    def close(self) -> None:
        self.run(f"DROP TABLE {self.name}, {self.name}_lock")
        self.connection.close()
        self.store.close()


# -- MongoDB ------------------------------------------------------------------------------------------------------------------


class MongoTable(Table):
    OTHERS: Final[tuple[Any, ...]] = (
        *(
            None,
            True,
            0,
            1.5,
            float("nan"),
            float("inf"),
            Int64(2**62),
            "",
            "text",
            [],
            ["text"],
            {},
            {"a": 1},
            ObjectId(),
        ),
        *(
            Binary(b"\xff"),
            Decimal128("1E400"),
            Code("f()"),
            Regex("a", "i"),
            Timestamp(1, 1),
            MaxKey(),
            DatetimeMS(2**62),
        ),
    )

    def __init__(self, url: str, layout: str) -> None:
        self.client = MongoClient[Any](url)
        self.rows = self.client.get_default_database()["sessions"]
        self.store = MongoStore(self.client, layout=layout, create_index=False)
        self.is_bson = layout != "native"

    def put(self, key: str, random: Random) -> None:
        document: dict[str, Any] = {"_id": key, "session": foreign_record(random)}
        if self.is_bson:
            if (
                "[" * 100 in document["session"]
            ):  # MongoDB takes 100 levels; SecantusDB any number, which it cannot read
                return
            with suppress(ValueError, RecursionError):
                document["session"] = json.loads(document["session"])
            if isinstance(document["session"], dict) and random.random() < 0.3:
                cookie = document["session"].get("cookie")
                part = random.choice([document["session"], cookie if isinstance(cookie, dict) else {}])
                part[random.choice(["n", "originalMaxAge", "expires", "path", "__sojourn__"])] = random.choice(
                    self.OTHERS
                )
        document["expires"] = DatetimeMS(int(time.time() * 1000) + _HOUR)
        if random.random() < 0.4:
            name = random.choice(["session", "expires", "owner", "sojourn", "successor", "none"])
            document[name] = random.choice([*self.OTHERS, "replaced"])
        with suppress(
            BSONError, PyMongoError, OverflowError, UnicodeError, RecursionError
        ):  # what no document can hold
            self.rows.insert_one(document)

    def empty(self) -> None:
        self.rows.delete_many({})

    def close(self) -> None:
        self.store.close()
        self.client.close()


# -- Redis --------------------------------------------------------------------------------------------------------------------


class RedisTable(Table):
    OTHERS: Final[tuple[Callable[[Any, bytes], object], ...]] = (
        lambda client, name: client.hset(name, "a", "b"),
        lambda client, name: client.sadd(name, "replaced"),
        lambda client, name: client.zadd(name, {"replaced": 1}),
        lambda client, name: client.xadd(name, {"a": "b"}),
        lambda client, name: client.rpush(name, "another", "list"),
        lambda client, name: client.rpush(name, "replaced"),
        lambda client, name: client.rpush(name, "replaced", "another"),
        lambda client, name: client.rpush(name, "replaced", b"\xff", "more"),
        lambda client, name: client.setbit(name, 7, 1),
    )

    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(url)
        self.prefix = f"test-{uuid.uuid4().hex}:"
        self.store = RedisStore.from_url(f"{url}?prefix={self.prefix}")

    def put(self, key: str, random: Random) -> None:
        record = f"{self.prefix}{key}".encode()
        pointer, index = b"{%b}:owner" % record, Names(self.prefix).index("ann")
        if random.random() < 0.05:
            record += b"\xff"
        if random.random() < 0.7:
            self.client.set(
                record, foreign_record(random).encode(errors="surrogatepass"), px=random.choice([None, _HOUR])
            )
        else:
            random.choice(self.OTHERS)(self.client, record)
        if random.random() < 0.1:
            self.client.pexpireat(record, 2**62)
        if random.random() < 0.5:
            with suppress(redis.ResponseError):  # the index is of another type by now
                self.client.zadd(index, {record: time.time() * 1000 + _HOUR})
            self.client.set(pointer, index)
        elif random.random() < 0.5:
            random.choice(self.OTHERS)(self.client, pointer)
        if random.random() < 0.02:
            self.client.delete(index)
            random.choice(self.OTHERS)(self.client, index)

    def empty(self) -> None:
        for name in self.client.scan_iter(f"*{self.prefix}*", 1000):
            self.client.delete(name)

    def close(self) -> None:
        self.empty()
        self.store.close()
        self.client.close()


@contextmanager
def sqlite_table(request: pytest.FixtureRequest) -> Iterator[Table]:
    with closing(SQLiteTable(request.getfixturevalue("tmp_path"))) as table:
        yield table


@contextmanager
def postgres_table(request: pytest.FixtureRequest) -> Iterator[Table]:
    with closing(PostgresTable(request.getfixturevalue("postgres_url"))) as table:
        yield table


@contextmanager
def redis_table(request: pytest.FixtureRequest) -> Iterator[Table]:
    with closing(RedisTable(request.getfixturevalue("redis_url"))) as table:
        yield table


def mongo_table(layout: str) -> Callable[[pytest.FixtureRequest], Any]:
    @contextmanager
    def table(request: pytest.FixtureRequest) -> Iterator[Table]:
        server = request.getfixturevalue("mongodb")
        assert isinstance(server, MongoServer)
        with closing(MongoTable(server.url(), layout)) as table:
            yield table

    return table


TABLES: Final = (
    pytest.param(sqlite_table, 600, id="sqlite"),
    pytest.param(postgres_table, 600, id="postgres", marks=pytest.mark.server),
    pytest.param(redis_table, 600, id="redis", marks=pytest.mark.server),
    pytest.param(mongo_table("native"), 300, id="mongo", marks=pytest.mark.server),
    pytest.param(mongo_table("connect-mongo-bson"), 300, id="mongo-bson", marks=pytest.mark.server),
)
"""And how many rows each gets in the shortest run."""


# -- what becomes of them -------------------------------------------------------------------------------------------------------


class Site:
    """An application on a store, and what its log has of errors."""

    def __init__(self, table: Table, caplog: pytest.LogCaptureFixture) -> None:
        self.middleware = SessionMiddleware(
            self.app, secret=SECRET, store=table.store, hash_ids=False, rolling=True, cookie=Cookie(max_age=3600)
        )
        self.caplog = caplog
        self.handler: Callable[[Session], object] = dict

    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.seen = self.handler(environ["sojourn.session"])
        start_response("200 OK", [])
        return [b"ok"]

    def visit(self, session_id: str, handler: Callable[[Session], object]) -> Any:
        """One request; what the handler returned."""
        self.handler = handler
        answer: list[Any] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _exc_info: Any = None
        ) -> Callable[[bytes], object]:
            answer.extend((status, headers))
            return answer.append

        environ = {"PATH_INFO": "/", "HTTP_COOKIE": "sid=" + self.middleware.settings.signer.token(session_id)}
        assert list(self.middleware(environ, start_response)) == [b"ok"]
        status, headers = answer
        assert status == "200 OK"
        for name, value in headers:
            if name == "Set-Cookie":
                check_header(value)
        return self.seen

    def errors(self) -> list[str]:
        lines = [record.getMessage() for record in self.caplog.records if record.levelno >= logging.ERROR]
        self.caplog.clear()
        return lines


def read(session: Session) -> tuple[bool, dict[str, Any]]:
    data = dict(session)
    assert repr((session.created_at, session.expires_at, session.owner, session.authenticated_at))
    return session.is_new, data


def use_all(site: Site, table: Table) -> None:
    """Visit each, and look at all of them."""
    for key in KEYS:
        is_new, data = site.visit(key, read)
        errors = site.errors()
        assert not errors or (len(errors) <= 1 and is_new and not data), errors
        site.visit(key, lambda session: session.update(m=1))
        assert len(site.errors()) <= 1
    for handler in (Session.destroy, lambda session: session.regenerate(keep_data=True), Session.invalidate):
        site.visit(KEYS[len(table.store.by_owner("ann")) % _BATCH], handler)
    assert site.visit("none", lambda session: [dict(view) for view in session.sessions.all()]) is not None
    assert (
        site.visit("none", lambda session: [repr(view.expires_at) for view in session.sessions.by_owner("ann")])
        is not None
    )
    assert site.visit("none", lambda session: session.sessions.count()) >= 0
    report = migrate(table.store, MemoryStore(), hash_ids=False, source_codec="json")
    assert report.copied >= 0
    table.store.delete_expired()
    table.store.clear()
    site.caplog.clear()


@pytest.mark.parametrize(("make", "rows"), TABLES)
@pytest.mark.parametrize("amount", AMOUNTS)
def test_any_row_is_a_session_or_one_error_and_a_fresh_session_and_ends_nothing_for_others(
    make: Callable[[pytest.FixtureRequest], Any],
    rows: int,
    amount: int,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with make(request) as table:
        site = Site(table, caplog)
        for start in range(0, rows * amount, _BATCH):
            table.empty()
            for number, key in enumerate(KEYS, start):
                table.put(key, Random(number))
            try:
                use_all(site, table)
            except Exception as error:
                error.add_note(f"rows {start} to {start + _BATCH}")
                raise
