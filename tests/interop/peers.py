"""The Express stores that sessions are shared with, each set up alike on both sides, and a look at what they have stored."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import redis
from bson import CodecOptions
from psycopg import sql
from pymongo import MongoClient

__all__ = ["PEERS", "SCHEMA", "Peer", "Row", "Rows", "Servers", "execute"]

SCHEMA: Final = f"interop_{uuid.uuid4().hex}"
"""In PostgreSQL."""
_PREFIX: Final = f"interop-{uuid.uuid4().hex}:"  # in Redis

Tree: TypeAlias = dict[str, Any]


class Row(NamedTuple):
    """A stored session."""

    session: str | Tree
    """JSON text; or where it lies as BSON, a document."""
    left: float
    """Seconds until it expires."""
    rest: Tree
    """What else is in its row."""

    @property
    def tree(self) -> Tree:
        return json.loads(self.session) if isinstance(self.session, str) else self.session


class Rows(Protocol):
    """The stored sessions, by id."""

    def read(self, key: str) -> Row | None: ...
    def write(self, key: str, session: str | Tree) -> None:
        """Put another session into a row."""

    def expire_in(self, key: str, seconds: float) -> None: ...
    def close(self) -> None: ...


class RedisRows:
    def __init__(self, url: str, options: Tree) -> None:
        self._client: Any = redis.Redis.from_url(url, decode_responses=True)  # partly untyped
        self._prefix = options.get("prefix", "sess:")

    def read(self, key: str) -> Row | None:
        text, left = self._client.get(self._prefix + key), self._client.pttl(self._prefix + key)
        return None if text is None else Row(text, left / 1000, {})

    def write(self, key: str, session: str | Tree) -> None:
        self._client.set(self._prefix + key, session, keepttl=True)

    def expire_in(self, key: str, seconds: float) -> None:
        self._client.pexpire(self._prefix + key, round(seconds * 1000))

    def close(self) -> None:
        for name in self._client.scan_iter(f"*{_PREFIX}*"):
            self._client.delete(name)
        self._client.close()


def execute(url: str, statement: sql.SQL | sql.Composed) -> None:
    """Have PostgreSQL carry a statement out."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


class PostgresRows:
    def __init__(self, url: str, options: Tree) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._table = sql.Identifier(options["schemaName"], options.get("tableName", "session"))

    def read(self, key: str) -> Row | None:
        query = (
            "SELECT sess::text, extract(epoch FROM expire::timestamptz - clock_timestamp())::float, row_to_json(t)"
            " FROM {} AS t WHERE sid = %s"
        )
        found = self._connection.execute(sql.SQL(query).format(self._table), [key]).fetchone()
        if found is None:
            return None
        text, left, rest = found
        return Row(text, left, {name: value for name, value in rest.items() if name not in {"sid", "sess"}})

    def write(self, key: str, session: str | Tree) -> None:
        query = sql.SQL("UPDATE {} SET sess = %s::json WHERE sid = %s").format(self._table)
        self._connection.execute(query, [session, key])

    def expire_in(self, key: str, seconds: float) -> None:
        query = sql.SQL("UPDATE {} SET expire = clock_timestamp() + %s WHERE sid = %s").format(self._table)
        self._connection.execute(query, [timedelta(seconds=seconds), key])

    def close(self) -> None:
        self._connection.close()


class MongoRows:
    def __init__(self, url: str, options: Tree) -> None:
        self._client = MongoClient[Any](url)
        database = self._client.get_default_database()
        if name := options.get("dbName", options.get("databaseName")):
            database = self._client[name]
        collection: str = options.get("collectionName") or options["collection"]
        self._rows = database.get_collection(collection, CodecOptions(tz_aware=True))
        self._id = options.get("idField", "_id")
        self._expires = options.get("expiresKey", "expires")

    def read(self, key: str) -> Row | None:
        found = self._rows.find_one({self._id: key})
        if found is None:
            return None
        session, expires = found.pop("session"), found.pop(self._expires)
        if self._id != "_id":
            del found["_id"]
        del found[self._id]
        return Row(session, (expires - datetime.now(UTC)).total_seconds(), found)

    def write(self, key: str, session: str | Tree) -> None:
        self._rows.update_one({self._id: key}, {"$set": {"session": session}})

    def expire_in(self, key: str, seconds: float) -> None:
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        self._rows.update_one({self._id: key}, {"$set": {self._expires: moment}})

    def close(self) -> None:
        self._client.close()


class Servers(NamedTuple):
    """Where the servers are, each looked up when asked for."""

    redis: Callable[[], str]
    postgres: Callable[[], str]
    mongodb: Callable[[], str]


@dataclass(frozen=True)
class Peer:
    """An Express store, and the same settings for both sides."""

    package: str
    server: str
    """A field of `Servers`."""
    node: Tree = field(default_factory=dict)
    """The options of the store on Node."""
    python: dict[str, str] = field(default_factory=dict)
    """Those of ours, in its URL."""

    @property
    def is_bson(self) -> bool:
        return self.package == "connect-mongodb-session" or self.node.get("stringify") is False

    @property
    def touches(self) -> bool:
        """Whether the store on Node has ``touch`` (contract 199)."""
        return self.package != "connect-mongodb-session"

    @property
    def drivers(self) -> tuple[str, ...]:
        """The packages that it needs beside its own."""
        return {"redis": ("redis",), "postgres": ("pg",), "mongodb": ("mongodb",)}[self.server]

    def but(self, *, node: Tree | None = None, python: dict[str, str] | None = None) -> Peer:
        """The same with other settings besides."""
        return replace(self, node={**self.node, **(node or {})}, python={**self.python, **(python or {})})

    def url(self, servers: Servers) -> str:
        base: str = getattr(servers, self.server)()
        return base

    @property
    def database(self) -> str | None:
        """MongoDB's database, if it is not that of the URL."""
        return self.node.get("dbName") or self.node.get("databaseName")

    def python_url(self, servers: Servers) -> str:
        url = self.url(servers)
        if self.database is not None:
            url = urlunsplit(urlsplit(url)._replace(path=f"/{self.database}"))
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in self.python.items())
        if not query:
            return url
        return f"{url}{'&' if '?' in url else '?'}{query}"

    def rows(self, servers: Servers) -> Rows:
        kinds: dict[str, Callable[[str, Tree], Rows]] = {
            "redis": RedisRows,
            "postgres": PostgresRows,
            "mongodb": MongoRows,
        }
        return kinds[self.server](self.url(servers), self.node)


PEERS: Final = {
    "connect-redis": Peer("connect-redis", "redis", {"prefix": _PREFIX}, {"prefix": _PREFIX}),
    "connect-pg-simple": Peer(
        "connect-pg-simple", "postgres", {"schemaName": SCHEMA}, {"schema": SCHEMA, "create_table": "true"}
    ),
    "connect-mongo": Peer("connect-mongo", "mongodb", {"collectionName": "text"}, {"collection": "text"}),
    "connect-mongo stringify=false": Peer(
        "connect-mongo",
        "mongodb",
        {"collectionName": "bson", "stringify": False},
        {"collection": "bson", "layout": "connect-mongo-bson"},
    ),
    "connect-mongodb-session": Peer(
        "connect-mongodb-session",
        "mongodb",
        {"collection": "other"},
        {"collection": "other", "layout": "connect-mongodb-session"},
    ),
    "connect-mongodb-session idField, expiresKey": Peer(
        "connect-mongodb-session",
        "mongodb",
        {"collection": "fields", "idField": "sid", "expiresKey": "until"},
        {"collection": "fields", "layout": "connect-mongodb-session", "id_field": "sid", "expires_key": "until"},
    ),
}
"""The stores that every rule is tested with."""
