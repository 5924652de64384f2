"""On every kind of store the dashboard finds, shows and ends; and it works among 100,000 sessions without walking through them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sojourn.stores import SQLiteStore, resolve
from tests.dashboard.sites import Visitor, browse, dashboard_of, forms
from tests.dashboard.test_pages import figure, key_of
from tests.servers import MongoServer
from tests.stores.postgres_schema import postgres_schema

KINDS = ["memory", "sqlite", "redis", "postgres", "mongo"]


@pytest.fixture(params=[pytest.param(kind, marks=[pytest.mark.server] if kind in KINDS[2:] else []) for kind in KINDS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    kind: str = request.param
    if kind == "memory":
        url = "memory://"
    elif kind == "sqlite":
        url = f"sqlite:///{tmp_path}/sessions.db"
    elif kind == "redis":
        url = f"{request.getfixturevalue('redis_url')}?prefix=dashboard-{os.urandom(4).hex()}:"
    elif kind == "postgres":
        with postgres_schema(request.getfixturevalue("postgres_url")) as schema:
            made = resolve(f"{schema.url}?table=session&schema={schema.name}&create_table=true", asynchronous=False)
            yield made
            made.close()
        return
    else:
        server: MongoServer = request.getfixturevalue("mongodb")
        url = server.url()
    made = resolve(url, asynchronous=False)
    yield made
    made.clear()
    made.close()


def test_an_owner_is_found_shown_and_ended(store: Any) -> None:
    cookies = [browse(store, owner) for owner in ("ann", "ann", "bob", None)]
    visitor = Visitor(dashboard_of("sync", store))
    assert figure(visitor.get("/").text, "Live sessions") == "4"
    listed = visitor.get("/sessions").text
    assert all(f"name={key_of(cookie)}" in listed for cookie in cookies)
    page = visitor.get(visitor.get("/find?q=ann").headers["location"]).text
    assert [f"name={key_of(cookie)}" in page for cookie in cookies] == [True, True, False, False]
    shown = visitor.get(f"/session?name={key_of(cookies[2])}&owner=bob")
    assert "str of 21" in shown.text and "tents" in visitor.post("/session", {"name": key_of(cookies[2])}).text
    assert forms(shown) == ["/session/end", "/session"]
    assert visitor.get("/store").status_code == 200
    assert visitor.post("/owner/end", {"owner": "ann"}).headers["location"].endswith("ended=2")
    assert visitor.post("/session/end", {"name": key_of(cookies[3])}).headers["location"].endswith("ended=1")
    assert store.count() == 1
    assert visitor.post("/all/end", {"sure": "end all"}).headers["location"].endswith("ended=1")
    assert store.count() == 0


def test_where_keys_are_ids_masks_stand_for_them(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "sessions.db")
    cookie = browse(store, "ann", hash_ids=False)
    session_id = cookie.rpartition(".")[0]
    visitor = Visitor(dashboard_of("sync", store, hash_ids=False))
    pages = [visitor.get("/"), visitor.get("/sessions"), visitor.get("/sessions?owner=ann")]
    mask = key_of(cookie)[:8]
    assert all(session_id not in page.text for page in pages) and f"name={mask}" in pages[2].text
    assert session_id not in visitor.get(f"/session?name={mask}…&owner=ann").text
    assert visitor.get(f"/session?name={session_id}").status_code == 404
    assert visitor.post("/session/end", {"name": f"{mask}…", "owner": "ann"}).status_code == 303
    assert store.count() == 0
    store.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `MANY` sessions: copies of one, under other keys and owners."""
    path = tmp_path_factory.mktemp("many") / "sessions.db"
    fill(path, int(os.environ.get("DASHBOARD_SESSIONS", "100000")))
    return path


def changed(value: Any, key: str, number: int) -> Any:
    """A column of the one session, as another's."""
    owner = f"user{number // 3}"
    if isinstance(value, bytes):
        return value.replace(b'"ann"', f'"{owner}"'.encode())
    if isinstance(value, str):
        return f"{number:064x}" if value == key else value.replace('"ann"', f'"{owner}"') if '"' in value else owner
    return value


def fill(path: Path, number: int) -> None:
    store = SQLiteStore(path)
    browse(store, "ann")
    [(key, _)] = store.scan()
    store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        [name] = [
            table
            for (table,) in connection.execute("select name from sqlite_master where type = 'table'")
            if connection.execute(f"select count(*) from {table}").fetchone() == (1,)
        ]
        columns = [row[1] for row in connection.execute(f"pragma table_info({name})")]
        row = dict(zip(columns, connection.execute(f"select * from {name}").fetchone(), strict=True))
        places = ", ".join("?" * len(columns))
        connection.executemany(
            f"insert into {name} values ({places})",
            (tuple(changed(value, key, number) for value in row.values()) for number in range(1, number)),
        )


def test_views_of_a_large_store_read_a_bounded_number_of_records(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLiteStore(many)
    read = {"records": 0, "counts": 0}
    page_of, load, count = store.page, store.load, store.count

    def page(cursor: str = "", limit: int = 100) -> Any:
        found = page_of(cursor, limit)
        read["records"] += len(found.items)
        return found

    def loaded(key: str) -> Any:
        read["records"] += 1
        return load(key)

    def counted() -> int:
        read["counts"] += 1
        return count()

    for name, method in (("page", page), ("load", loaded), ("count", counted)):
        monkeypatch.setattr(store, name, method)
    visitor = Visitor(dashboard_of("sync", store))
    visitor.get("/")  # which begins to sample, at once with us
    deadline = time.monotonic() + 60
    while visitor.dashboard.board._stats is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    visitor.dashboard.close()
    assert read["counts"] == 1 and read["records"] <= 2000
    paths = {
        "/": 0,
        "/sessions": 50,
        "/sessions?owner=user7": 3,
        "/find?q=user7": 1,
        f"/find?q={1:064x}": 1,
        f"/session?name={5:064x}": 2,
        "/sessions?prefix=ffffffff": 5500,
        "/sessions?anonymous=1": 5500,
        "/session?name=ffffffff": 5500,
        "/store": 3,
    }
    for path, most in paths.items():
        read["records"] = 0
        began = time.perf_counter()
        answer = visitor.get(path)
        print(f"{path[:40]}: {(time.perf_counter() - began) * 1000:.0f} ms, {read['records']} records")
        assert answer.status_code in (200, 303, 404) and read["records"] <= most, path
    assert read["counts"] == 1
    further = visitor.get("/sessions?anonymous=1").text
    assert "Look further" in further and "were looked at for this page." in further
    store.close()
