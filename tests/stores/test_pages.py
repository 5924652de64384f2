"""Pages and facts: what is each store's own about them. What they share is in the contract suite."""

from __future__ import annotations

import secrets

import pytest

from sojourn.core.store import Page
from sojourn.stores import MemoryStore, SQLiteStore
from sojourn.testing import ManualClock

HOUR = 3_600_000


@pytest.mark.parametrize("cursor", ["x", "1.5"])
@pytest.mark.server
def test_redis_refuses_what_is_no_cursor(cursor, redis_url) -> None:
    from sojourn.stores import RedisStore

    store = RedisStore.from_url(f"{redis_url}?prefix=test-{secrets.token_hex(6)}:")
    with pytest.raises(ValueError):
        store.page(cursor)
    store.close()


@pytest.mark.server
def test_a_page_at_a_node_that_has_left_the_cluster_goes_on_at_the_next(valkey_cluster) -> None:
    from sojourn.stores import RedisStore

    store = RedisStore.from_url(f"{valkey_cluster}?prefix=test-{secrets.token_hex(6)}:")
    keys = {f"key-{number}" for number in range(30)}
    for key in keys:
        store.create(key, b"{}", HOUR)
    assert store.page("z 0") == Page([], None)
    found: set[str] = set()
    cursor: str | None = "0 7"
    while cursor is not None:
        items, cursor = store.page(cursor)
        found.update(key for key, _ in items)
    assert found == keys
    store.clear()
    store.close()


def test_redis_s_facts_are_those_that_it_tells() -> None:
    from sojourn.stores.redis._facts import facts_in

    assert facts_in(None, None) == {"server": "Redis", "version": ""}
    info = b"# Server\r\nredis_version:7.2.4\r\nmaxmemory:100\r\nmaxmemory_policy:noeviction\r\nother:1\r\n"
    told = facts_in((info, (b"12", b"345678")), [b"save", b"3600 1"])
    expected = {"server": "Redis", "version": "7.2.4", "maxmemory": 100, "maxmemory_policy": "noeviction", "now": 12345}
    assert told == {**expected, "save": "3600 1"}
    assert facts_in((info + b"valkey_version:9.1\r\n", (b"12", b"345678")), {"save": ""})["version"] == "9.1"


@pytest.mark.parametrize("cursor", ["x", "{}", "[]", "1"])
def test_mongodb_refuses_what_is_no_cursor(cursor) -> None:
    from sojourn.stores.mongo._layout import id_in

    with pytest.raises(ValueError):
        id_in(cursor)


@pytest.mark.server
def test_pages_of_a_layout_whose_documents_have_ids_of_their_own(mongodb) -> None:
    from sojourn.stores import MongoStore

    store = MongoStore.from_url(mongodb.url(layout="connect-mongodb-session", id_field="session_id"))
    keys = {f"key-{number}" for number in range(7)}
    for key in keys:
        store.create(key, b'{"cookie":{}}', HOUR)
    found: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        items, cursor = store.page(cursor, 3)
        found.update(key for key, _ in items)
    assert found == keys
    assert store.facts()["index_on_session_id"] is True
    store.close()


def test_a_key_that_is_not_utf_8_ends_a_page_of_sqlite_and_is_left_out(tmp_path) -> None:
    import sqlite3

    store = SQLiteStore(tmp_path / "sessions.db", clock=ManualClock(1000))
    store.create("a", b"{}", HOUR)
    store.create("z\u00e9", b"{}", HOUR)
    store.close()
    with sqlite3.connect(tmp_path / "sessions.db") as file:
        file.execute(
            "INSERT INTO sessions (key, data, version, expires) VALUES (CAST(? AS TEXT), ?, 1, ?)",
            (b"b\xff", b"{}", 10**12),
        )
    file.close()
    first = store.page("", 2)
    assert [key for key, _ in first.items] == ["a"] and first.next is not None
    assert [key for key, _ in store.page(first.next, 2).items] == ["z\u00e9"]
    store.close()


def test_a_page_of_memory_is_in_the_order_of_keys() -> None:
    store = MemoryStore()
    for key in ("c", "a", "b"):
        store.create(key, b"{}", HOUR)
    page = store.page("", 2)
    assert [key for key, _ in page.items] == ["a", "b"] and page.next == "b"
    assert [key for key, _ in store.page("b", 2).items] == ["c"]
