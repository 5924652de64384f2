"""The two ends of a migration: what is deduced, what has to be said, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sojourn import ConfigurationError, EncryptedCodec
from sojourn.core.store import Store
from sojourn.ids import hash_id
from sojourn.migrate import migrate
from sojourn.migrate.endpoints import CODECS, key_rule, source_endpoint, target_endpoint
from sojourn.stores import AsyncMemoryStore, MemoryStore, SQLiteStore

ID = "kX9-zQ2rLw_7Vb4mTn0sYc8HdJe5uPaGf3iRo1BxMt6"  # as `new_id` draws them; the same each time, since tests are named by it
HASH = hash_id("an id")

LAYOUTS = [
    ("sqlite:///sessions.db", False),
    ("redis://localhost", False),
    ("redis://localhost?layout=connect-redis", True),
    ("postgresql://localhost", False),
    ("postgresql://localhost?layout=connect-pg-simple", True),
    ("mongodb://localhost", False),
    ("mongodb://localhost?layout=connect-mongo", True),
    ("mongodb://localhost?layout=connect-mongo-bson", True),
    ("mongodb://localhost?layout=connect-mongodb-session&id_field=sid", True),
]


@pytest.mark.parametrize(("url", "is_express"), LAYOUTS)
def test_a_layout_says_whose_codec_it_is(url: str, is_express: bool) -> None:
    endpoint = target_endpoint(url, None, dry_run=False)
    assert (endpoint.is_express, endpoint.codec) == (is_express, CODECS["plain" if is_express else "json"])


EXPRESS, NATIVE = "redis://localhost?layout=connect-redis", "redis://localhost"
REFUSED = "refused"

RULES = [
    # source, target, hash_ids, what becomes of an id, and of a hash
    (EXPRESS, EXPRESS, None, ID, HASH),
    (EXPRESS, EXPRESS, False, ID, HASH),
    (EXPRESS, EXPRESS, True, REFUSED, REFUSED),
    (EXPRESS, NATIVE, None, REFUSED, REFUSED),
    (EXPRESS, NATIVE, False, ID, HASH),
    (EXPRESS, NATIVE, True, hash_id(ID), hash_id(HASH)),  # Express may well draw ids that look like hashes
    (NATIVE, EXPRESS, None, REFUSED, REFUSED),
    (NATIVE, EXPRESS, False, ID, HASH),
    (NATIVE, EXPRESS, True, REFUSED, REFUSED),
    (NATIVE, NATIVE, None, REFUSED, HASH),
    (NATIVE, NATIVE, False, ID, HASH),
    (NATIVE, NATIVE, True, hash_id(ID), REFUSED),
]


@pytest.mark.parametrize(("source", "target", "hash_ids", "of_id", "of_hash"), RULES)
def test_keys_are_kept_or_hashed_as_said_and_nothing_that_would_lose_them_is_done(
    source: str, target: str, hash_ids: bool | None, of_id: str, of_hash: str
) -> None:
    ends = source_endpoint(source, None), target_endpoint(target, None, dry_run=False)
    for key, expected in ((ID, of_id), (HASH, of_hash)):
        if expected is REFUSED:
            with pytest.raises(ConfigurationError, match="hash_ids") as refused:
                key_rule(*ends, hash_ids)(key)
            assert key not in str(refused.value)
        else:
            assert key_rule(*ends, hash_ids)(key) == expected


class Silent(MemoryStore):
    """A store of somebody else's, without ``scan``."""

    scan = None  # type: ignore[assignment]


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"source": None}, "source: got None; give a store, or the URL"),
    ({"source": "memory://"}, "source: got memory://; give a store, or the URL of one that other processes see"),
    ({"target": "memory://"}, "target: got memory://"),
    ({"source": "ftp://secret@host"}, "source: got a URL of scheme 'ftp'; the schemes are"),
    ({"target": "redis://[::1/0"}, "target: got a malformed URL"),
    ({"target": "redis://h?layout=no"}, "target: layout: got 'no'; give 'native' or 'connect-redis'"),
    ({"target": "sqlite:///a/b.db?no=1"}, "target: got option 'no'; sqlite:// has the options"),
    ({"source": AsyncMemoryStore()}, "source: got AsyncMemoryStore, a async store; give a sync one"),
    ({"source": Silent()}, "source: got Silent; give a store that has scan()"),
    ({"source": "sqlite:///nothing-here.db"}, "source: got a SQLite file that does not exist"),
    ({"source_codec": "yaml"}, "source_codec: got 'yaml'; give a codec, or one of 'json', 'plain'"),
    ({"target_codec": 5}, "target_codec: got a int without encode(); give a codec"),
    (
        {"target": EXPRESS, "target_codec": EncryptedCodec(b"k" * 32), "hash_ids": False},
        "target_codec: got encryption; Express cannot read encrypted sessions",
    ),
    ({"hash_ids": "yes"}, "hash_ids: got 'yes'; give True, False or None"),
    ({"rate": 0}, "rate: got 0; give sessions per second"),
    ({"rate": -1}, "rate: got -1;"),
    ({"rate": float("nan")}, "rate: got nan;"),
    ({"rate": "10"}, "rate: got '10';"),
    ({"rate": True}, "rate: got True;"),
    ({"workers": 0}, "workers: got 0; give a whole number from 1 to 64"),
    ({"workers": 65}, "workers: got 65;"),
    ({"workers": 1.5}, "workers: got 1.5;"),
    ({"workers": True}, "workers: got True;"),
    ({"remove_ended": True}, "remove_ended: got no state; give the state file"),
    ({"state": "no/such/folder/state"}, "state: got a file that cannot be used ("),
]


@pytest.mark.parametrize(("wrong", "message"), ARGUMENTS, ids=[message.partition(";")[0] for _, message in ARGUMENTS])
def test_each_wrong_argument_is_named_with_what_would_be_right(wrong: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"source": MemoryStore(), "target": MemoryStore(), **wrong}
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}") as refused:
        migrate(given.pop("source"), given.pop("target"), **given)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("target", ["sqlite:///{folder}/sessions.db?timeout=3", "sqlite:///sessions.db"])
def test_the_same_store_twice_is_refused_however_it_is_written(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("sessions.db")
    store.open()
    store.close()
    with pytest.raises(ConfigurationError, match="target: got the source"):
        migrate("sqlite:///sessions.db", target.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://ann:secret@host/shop", "postgresql://host/shop?layout=connect-pg-simple"),
        ("mongodb://host/shop?collection=a", "mongodb://host/shop?collection=a&layout=connect-mongo"),
        ("redis://host/0?layout=connect-redis&prefix=a:", "redis://host/0?prefix=a:"),
    ],
)
def test_the_same_store_in_another_layout_is_refused_too(one: str, other: str) -> None:
    with pytest.raises(ConfigurationError, match="target: got the source"):
        migrate(one, other, hash_ids=False)


def test_one_instance_at_both_ends_is_refused() -> None:
    store: Store = MemoryStore()
    with pytest.raises(ConfigurationError, match="target: got the source"):
        migrate(store, store)


def test_where_a_store_is_holds_no_password() -> None:
    endpoint = target_endpoint("postgresql://ann:secret@host/shop?password=secret&table=t", None, dry_run=False)
    assert "secret" not in f"{endpoint} {endpoint.place}"
    assert "host/shop" in endpoint.place and '"t"' in endpoint.place
