"""What the option ``store`` may be."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from sojourn import logs, stores
from sojourn.errors import ConfigurationError
from sojourn.stores import AsyncMemoryStore, AsyncSQLiteStore, MemoryStore, SQLiteStore, resolve

PAIRS = [(MemoryStore, AsyncMemoryStore), (SQLiteStore, AsyncSQLiteStore)]


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch):
    monkeypatch.setattr(logs, "_said", set())


# contract 2
@pytest.mark.parametrize("asynchronous", [False, True])
def test_no_store_is_memory_with_one_warning(asynchronous, caplog):
    made = [resolve(None, asynchronous=asynchronous) for _ in range(2)]
    assert {type(store) for store in made} == {AsyncMemoryStore if asynchronous else MemoryStore}
    assert made[0] is not made[1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "forgotten" in caplog.text


def test_memory_that_was_asked_for_is_no_warning(caplog):
    resolve("memory://", asynchronous=False)
    assert not caplog.records


@pytest.mark.parametrize(("url", "colours"), [("memory://", PAIRS[0]), ("sqlite:///{}/s.db", PAIRS[1])])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_url_gives_a_store_of_the_right_colour(url, colours, asynchronous, tmp_path: Path):
    assert type(resolve(url.format(tmp_path), asynchronous=asynchronous)) is colours[asynchronous]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_instance_is_taken_as_it_is(asynchronous):
    store = AsyncMemoryStore() if asynchronous else MemoryStore()
    assert resolve(store, asynchronous=asynchronous, exclusive=True) is store


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_store_of_the_other_colour_is_refused_by_name(pair, asynchronous, tmp_path: Path):
    kind = pair[not asynchronous]
    store = kind(tmp_path / "s.db") if kind in PAIRS[1] else kind()
    with pytest.raises(ConfigurationError) as caught:
        resolve(store, asynchronous=asynchronous)
    assert caught.value.option == "store"
    assert kind.__name__ in caught.value.given
    assert ("async" if asynchronous else "sync") in caught.value.remedy


@pytest.mark.parametrize(
    "url", ["", "sessions.db", "mysql://user:hunter2@host/db", "//user:hunter2@host", "hunter2:", "memoryx://"]
)
def test_a_url_of_no_store_is_refused_without_showing_it(url):
    with pytest.raises(ConfigurationError) as caught:
        resolve(url, asynchronous=False)
    assert caught.value.option == "store"
    assert "user:hunter2" not in str(caught.value)
    assert "sqlite://" in caught.value.remedy and "redis://" in caught.value.remedy


@pytest.mark.parametrize("given", [5, {}, object(), MemoryStore])
def test_what_is_no_store_is_refused(given):
    with pytest.raises(ConfigurationError) as caught:
        resolve(given, asynchronous=True)
    assert caught.value.option == "store"


def without(*names: str) -> Any:
    kept = {name: getattr(MemoryStore, name) for name in (*stores._CONTRACT, "lock", "unlock") if name not in names}
    return type("Partial", (), kept)()


@pytest.mark.parametrize("name", stores._CONTRACT)
def test_a_store_without_one_of_the_contracts_methods_is_refused_by_the_first_missing(name):
    with pytest.raises(ConfigurationError) as caught:
        resolve(without(name), asynchronous=False)
    assert caught.value.given == "Partial" and f"{name}()" in caught.value.remedy


def test_exclusive_needs_a_store_that_locks():
    store = without("lock", "unlock")
    assert resolve(store, asynchronous=False) is store
    with pytest.raises(ConfigurationError) as caught:
        resolve(store, asynchronous=False, exclusive=True)
    assert caught.value.option == "exclusive"


# design, "Express profile": each Node store's own layout, unless the URL names another
@pytest.mark.parametrize(
    ("url", "express", "made"),
    [
        ("redis://h/0", False, "redis://h/0"),
        ("redis://h/0", True, "redis://h/0?layout=connect-redis"),
        ("rediss://h?timeout=1", True, "rediss://h?timeout=1&layout=connect-redis"),
        ("redis://h?layout=native", True, "redis://h?layout=native"),
        ("postgresql://h/db", True, "postgresql://h/db?layout=connect-pg-simple"),
        ("mongodb://h", True, "mongodb://h?layout=connect-mongo"),
        ("mongodb://h/?layout=connect-mongodb-session", True, "mongodb://h/?layout=connect-mongodb-session"),
        ("memory://", True, "memory://"),
    ],
)
def test_under_the_express_profile_a_url_means_the_node_stores_layout(url, express, made, monkeypatch):
    seen = []

    class Fake(MemoryStore):
        @classmethod
        def from_url(cls, url: str, **_more: Any) -> MemoryStore:
            seen.append(url)
            return MemoryStore()

    class Module:
        def __getattr__(self, name: str) -> Any:
            return Fake

    monkeypatch.setattr("importlib.import_module", lambda *names: Module())
    resolve(url, asynchronous=False, express=express)
    assert seen == [made]


def test_the_stores_are_found_by_name_and_no_others():
    assert sorted(stores._HOMES) == sorted(set(stores.__all__) - {"resolve"})
    assert stores.MemoryStore is MemoryStore
    with pytest.raises(AttributeError, match="NoStore"):
        stores.NoStore  # noqa: B018
