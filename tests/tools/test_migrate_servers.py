"""Migrations between real servers and layouts: a browser that was logged in before is so afterwards, with the same cookie."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import pytest
import redis
from pymongo import MongoClient

import sojourn
from sojourn import JSONCodec, StoreUnavailable
from sojourn.core.session import BaseSession
from sojourn.migrate import Report, migrate
from sojourn.stores import resolve
from sojourn.wire.signing import Signer
from tests.faults.site import site
from tests.servers import MongoServer, free_port
from tests.stores.postgres_schema import EXPRESS_TABLE, postgres_schema

pytestmark = pytest.mark.server

SECRET = "a secret for migrations, longer than 32 bytes"
HOUR = 3_600_000
NODE_LAYOUTS: Final = (
    "connect-redis",
    "connect-pg-simple",
    "connect-mongo",
    "connect-mongo-bson",
    "connect-mongodb-session",
)

MakeURL = Callable[[str], str]


@pytest.fixture
def url(
    tmp_path: Path, redis_url: str, postgres_url: str, mongodb: MongoServer, request: pytest.FixtureRequest
) -> Iterator[MakeURL]:
    """The URL of a new store, by the name of its kind or layout."""
    prefixes = itertools.count()
    prefix = f"test-{uuid.uuid4().hex}"

    def make(kind: str) -> str:
        is_node = kind in NODE_LAYOUTS
        layout = f"&layout={kind}" if is_node else ""
        number = next(prefixes)
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/{number}.db"
        if kind in {"redis", "connect-redis"}:
            return f"{redis_url}?prefix={prefix}-{number}:{layout}"
        if kind == "cluster":
            return f"{request.getfixturevalue('valkey_cluster')}?prefix={prefix}-{number}:"
        if kind in {"postgres", "connect-pg-simple"}:
            return f"{postgres_url}?table=t{number}&schema={schema.name}&create_table=true{layout}"
        return mongodb.url(**{"layout": kind} if is_node else {})

    with postgres_schema(postgres_url) as schema:
        yield make
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter(f"*{prefix}*", 1000):
            client.delete(name)


def options(source: str, target: str) -> tuple[dict[str, Any], dict[str, Any], bool | None]:
    """The middleware's before and after, by which cookies stay good, and what has to be said of ids."""
    if source not in NODE_LAYOUTS:
        return {}, {}, None
    before: dict[str, Any] = {**sojourn.express()}
    if target in NODE_LAYOUTS:
        return before, before, None
    return before, {**sojourn.express(hash_ids=True, codec=JSONCodec())}, True


def lefts(url: str) -> list[int]:
    store = resolve(url, asynchronous=False)
    found = [stored.expires_in for _, stored in store.scan()]
    store.close()
    return sorted(found)


def assert_kept(found: list[int], expected: list[int], since: float) -> None:
    """Lifetimes are those given since that time (``time.monotonic()``), to the second."""
    elapsed = (time.monotonic() - since) * 1000
    for left, given in zip(found, expected, strict=True):
        assert given - elapsed - 1000 < left < given + 1000


PAIRS = [
    ("connect-mongo", "redis"),
    ("connect-pg-simple", "connect-redis"),
    ("sqlite", "postgres"),
    ("connect-redis", "sqlite"),
    ("connect-mongo-bson", "postgres"),
    ("connect-mongodb-session", "connect-pg-simple"),
    ("connect-redis", "connect-mongo-bson"),
    ("connect-pg-simple", "mongo"),
    ("postgres", "redis"),
    ("redis", "mongo"),
    ("mongo", "sqlite"),
    ("sqlite", "cluster"),
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_login_survives_with_the_same_cookie(source: str, target: str, url: MakeURL, tmp_path: Path) -> None:
    before, after, hash_ids = options(source, target)
    old, new, state = url(source), url(target), tmp_path / "state"
    cart = {"items": [1, 2.5, None, {"$set": "of the user's own"}], "name": "é 🥾"}

    def log_in(session: BaseSession) -> None:
        session.login("ann")
        session["cart"] = cart
        session.cookie.max_age = 2 * 3600

    with site("sync", old, secret=SECRET, **before) as app:
        cookie = app.request(log_in).cookie
        others = [app.request(lambda session: session.update(n=1)).cookie for _ in range(8)]
        once_more = others.pop()
        latest = lefts(old)  # a lifetime counts from when the target has it, which may be a while after it was read
        report = migrate(old, new, hash_ids=hash_ids, state=state)
        assert report == Report(copied=9)
        found, earliest = lefts(new), lefts(old)
        rounded_up = 1000 if target in {"connect-redis", "connect-pg-simple"} else 0
        for lower, left, upper in zip(earliest, found, latest, strict=True):
            assert lower - 1000 < left < upper + rounded_up + 1000
        # While the old one is still in use: one session changes, one ends.
        app.request(lambda session: session.update(n=2), once_more)
        app.request(lambda session: session.destroy(), others.pop())
        changed = app.request(dict, once_more).body
        report = migrate(old, new, hash_ids=hash_ids, state=state, remove_ended=True)
        assert (report.copied, report.skipped, report.failed, report.removed) == (0, 0, 0, 1)
        assert report.updated >= 1  # where every read is a touch, that one as well
        assert report.seen == 8

    with site("sync", new, secret=SECRET, **after) as app:
        answers = []

        def look(session: BaseSession) -> None:
            answers.append((session.owner, session["cart"], session.authenticated_at is not None))
            assert session.cookie.max_age is not None and session.cookie.max_age > 7100
            session.increment("visits")

        for _ in range(2):
            assert app.request(look, cookie).status == 200
        assert answers == [("ann", cart, True)] * 2
        assert app.request(dict, once_more).body == changed == "{'n': 2}"
        assert [app.request(lambda session: session.get("n"), other).body for other in others] == ["1"] * len(others)

    # Both were written since: the target's stays.
    with site("sync", old, secret=SECRET, **before) as app:
        app.request(lambda session: session.update(visits=50), cookie)
    report = migrate(old, new, hash_ids=hash_ids, state=state, remove_ended=True)
    assert (report.copied, report.removed, report.failed, report.skipped, report.seen) == (0, 0, 0, 1, 8)
    with site("sync", new, secret=SECRET, **after) as app:
        assert app.request(lambda session: session["visits"], cookie).body == "2"


EXPRESS_TEXT = (
    '{"cookie":{"originalMaxAge":3600000,"expires":"2026-11-21T04:32:17.370Z","httpOnly":true,"path":"/"},'
    '"passport":{"user":"u1"},"$options":{"$date":"2026-01-02"},"big":1e20}'
)


def check_express_session(url: str, session_id: str) -> None:
    """A session that Express wrote is served by a native store, as Express's browser knows it."""
    seen: list[dict[str, Any]] = []

    def look(session: BaseSession) -> None:
        seen.append(dict(session))
        assert session.cookie.original_max_age == 3600

    _, after, _ = options("connect-redis", "sqlite")
    with site("sync", url, secret=SECRET, **after) as app:
        signed = Signer([SECRET.encode()], "express").sign(session_id)
        assert app.request(look, f"connect.sid={quote(signed)}").status == 200
    assert seen == [{"passport": {"user": "u1"}, "$options": {"$date": "2026-01-02"}, "big": 1e20}]


def test_rows_that_connect_pg_simple_wrote_are_served_from_elsewhere(url: MakeURL, postgres_url: str) -> None:
    with postgres_schema(postgres_url) as schema:
        schema.execute(EXPRESS_TABLE)
        began = time.monotonic()
        row = "INSERT INTO {schema}.session VALUES (%s, %s, now() AT TIME ZONE current_setting('TimeZone') + %s)"
        for session_id, left in (("the id", "1 hour"), ("expired", "-1 second")):
            schema.execute(row.replace("now()", "pg_catalog.now()"), session_id, EXPRESS_TEXT, left)
        target = url("redis")
        source = f"{postgres_url}?schema={schema.name}&layout=connect-pg-simple"
        assert migrate(source, target, hash_ids=True) == Report(copied=1)
    assert_kept(lefts(target), [HOUR], began)
    check_express_session(target, "the id")


def test_strings_that_connect_redis_wrote_are_served_from_elsewhere_even_one_without_an_expiry(
    url: MakeURL, redis_url: str
) -> None:
    source, target = url("connect-redis"), url("sqlite")
    prefix, began = parse_qs(urlsplit(source).query)["prefix"][0], time.monotonic()
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"{prefix}the id", EXPRESS_TEXT, ex=1800)
        client.set(f"{prefix}endless", EXPRESS_TEXT)
        client.set(f"{prefix}broken", "no JSON", ex=1800)
        client.rpush(f"{prefix}a list", "no record at all")
    assert migrate(source, target, hash_ids=True) == Report(copied=2, failed=1)
    assert_kept(lefts(target), [HOUR // 2, HOUR], began)
    check_express_session(target, "the id")
    check_express_session(target, "endless")


@pytest.mark.parametrize("stringify", [True, False])
def test_documents_that_connect_mongo_wrote_are_served_from_elsewhere(
    stringify: bool, url: MakeURL, mongodb: MongoServer
) -> None:
    session = EXPRESS_TEXT if stringify else json.loads(EXPRESS_TEXT)
    where, expires, began = mongodb.url(), datetime.now(UTC) + timedelta(hours=1), time.monotonic()
    with MongoClient[Any](where) as client:
        sessions = client.get_default_database()["sessions"]
        sessions.insert_one({"_id": "the id", "expires": expires, "session": session})
        sessions.insert_one({"_id": "endless", "session": session})
        sessions.insert_one({"_id": "of another layout", "expires": expires, "session": 5})
        layout = "connect-mongo" if stringify else "connect-mongo-bson"
        target = url("postgres")
        assert migrate(f"{where}&layout={layout}", target, hash_ids=True) == Report(copied=2, failed=1)
        assert list(sessions.index_information()) == ["_id_"], "the source is only read"
    assert_kept(lefts(target), [HOUR, HOUR], began)
    check_express_session(target, "the id")


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mongo", "redis", "connect-pg-simple", "connect-mongo"])
def test_a_dry_run_makes_nothing_at_the_target(
    kind: str, url: MakeURL, tmp_path: Path, mongodb: MongoServer, postgres_url: str
) -> None:
    source = url("sqlite")
    with site("sync", source, secret=SECRET) as app:
        app.request(lambda session: session.update(n=1))
    target = url(kind)
    assert migrate(source, target, dry_run=True, hash_ids=False) == Report(copied=1)
    if kind == "sqlite":
        assert [path.name for path in tmp_path.iterdir()] == ["0.db"]
    elif kind in {"postgres", "connect-pg-simple"}:
        table = f"{parse_qs(urlsplit(target).query)['schema'][0]}.t1"
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,)
    elif kind != "redis":
        with MongoClient[Any](mongodb.url("admin")) as client:
            assert urlsplit(target).path[1:] not in client.list_database_names()
    assert migrate(source, target, hash_ids=False) == Report(copied=1)
    assert migrate(source, target, dry_run=True, hash_ids=False) == Report(skipped=1)
    assert len(lefts(target)) == 1


def test_a_dry_run_tells_of_a_table_that_nothing_would_make(url: MakeURL, postgres_url: str) -> None:
    with site("sync", source := url("sqlite"), secret=SECRET) as app:
        app.request(lambda session: session.update(n=1))
    with pytest.raises(StoreUnavailable, match="the target fails: there is no table"):
        migrate(source, f"{postgres_url}?table=nothing_here", dry_run=True)
    nobody = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres?create_table=true"
    with pytest.raises(StoreUnavailable, match="the target fails: "):
        migrate(source, nobody, dry_run=True)


def test_a_store_that_needs_another_layout_refuses_what_it_cannot_hold_record_by_record(
    url: MakeURL, caplog: pytest.LogCaptureFixture
) -> None:
    source = url("connect-redis")
    store = resolve(source, asynchronous=False)
    store.create("sound", b'{"cookie":{},"n":1}', HOUR)
    store.create("lone surrogate", b'{"cookie":{},"n":"\\ud800"}', HOUR)
    store.close()
    assert migrate(source, url("connect-mongo-bson")) == Report(copied=1, failed=1)
    assert "BSON's text is UTF-8 and cannot hold a lone surrogate" in caplog.text
