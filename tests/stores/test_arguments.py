"""What is no key and no owner is refused at the door of each store, in the same words, and never shown."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sojourn.core.store import Deleted, Stored
from sojourn.ids import LONGEST_OWNER
from sojourn.stores import (
    AsyncMemoryStore,
    AsyncMongoStore,
    AsyncPostgresStore,
    AsyncRedisStore,
    AsyncSQLiteStore,
    MemoryStore,
    MongoStore,
    PostgresStore,
    RedisStore,
    SQLiteStore,
)
from tests.servers import MongoServer
from tests.stores.postgres_schema import postgres_schema

pytestmark = pytest.mark.server

HOUR: Final = 3_600_000
RECORD: Final = b'{"cookie":{},"n":1}'

Door = Callable[[Any, Any], Any]
"""Calls a method with what was given in the place of one of its keys, or of its owner."""

KEYS: Final[dict[str, Door]] = {
    "load": lambda store, key: store.load(key),
    "create": lambda store, key: store.create(key, RECORD, HOUR),
    "replace": lambda store, key: store.replace(key, RECORD, HOUR, version=RECORD),
    "regenerate the old": lambda store, key: store.regenerate(key, "b", RECORD, HOUR, version=RECORD, tombstone=HOUR),
    "regenerate the new": lambda store, key: store.regenerate("a", key, RECORD, HOUR, version=RECORD, tombstone=HOUR),
    "touch": lambda store, key: store.touch(key, HOUR),
    "delete": lambda store, key: store.delete(key),
    "delete the second": lambda store, key: store.delete("a", key),
    "set_owner": lambda store, key: store.set_owner(key, "ann", version=RECORD),
    "lock": lambda store, key: store.lock(key, HOUR),
    "unlock": lambda store, key: store.unlock(key, "token"),
}
OWNERS: Final[dict[str, Door]] = {
    "create": lambda store, owner: store.create("b", RECORD, HOUR, owner=owner),
    "replace": lambda store, owner: store.replace("a", RECORD, HOUR, version=RECORD, owner=owner),
    "regenerate": lambda store, owner: store.regenerate(
        "a", "b", RECORD, HOUR, version=RECORD, tombstone=HOUR, owner=owner
    ),
    "set_owner": lambda store, owner: store.set_owner("a", owner, version=RECORD),
    "by_owner": lambda store, owner: store.by_owner(owner),
}
REFUSED: Final[list[tuple[Any, type[Exception], str]]] = [
    ({"$gt": ""}, TypeError, "must be a non-empty str, not dict"),
    ({"$ne": "secret"}, TypeError, "must be a non-empty str, not dict"),
    (["secret"], TypeError, "must be a non-empty str, not list"),
    (b"secret", TypeError, "must be a non-empty str, not bytes"),
    (5, TypeError, "must be a non-empty str, not int"),
    ("", TypeError, "must be a non-empty str, not an empty one"),
    ("secret\0", ValueError, "cannot contain U+0000, which PostgreSQL cannot hold"),
    ("secret\ud800", ValueError, "cannot contain a lone surrogate, which has no UTF-8"),
    ("secret" * 1000, ValueError, "bytes of UTF-8, not 6000"),
]


class World:
    """A store in either colour, called as a sync one, with one session of an owner."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._runner = asyncio.Runner()
        assert self.call(KEYS["create"], "a")
        assert self.call(OWNERS["create"], "ann")

    def call(self, door: Door, given: Any) -> Any:
        if not inspect.iscoroutinefunction(self._store.load):
            return door(self._store, given)

        async def run() -> Any:
            return await door(self._store, given)

        return self._runner.run(run())

    def close(self) -> None:
        self.call(lambda store, _: store.close(), None)
        self._runner.close()


@pytest.fixture(
    params=[
        PostgresStore,
        AsyncPostgresStore,
        MongoStore,
        AsyncMongoStore,
        RedisStore,
        AsyncRedisStore,
        SQLiteStore,
        AsyncSQLiteStore,
        MemoryStore,
        AsyncMemoryStore,
    ],
    ids=lambda kind: kind.__name__,
    scope="module",
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kind = request.param
    if kind in (SQLiteStore, AsyncSQLiteStore):
        folder: Path = tmp_path_factory.mktemp("sqlite")
        world = World(kind(folder / "sessions.db"))
        yield world
        world.close()
    elif kind in (MemoryStore, AsyncMemoryStore):
        world = World(kind())
        yield world
        world.close()
    elif kind in (RedisStore, AsyncRedisStore):
        prefix = f"test-{uuid.uuid4().hex}:"
        world = World(kind.from_url(f"{request.getfixturevalue('redis_url')}?prefix={prefix}"))
        yield world
        world.call(lambda store, _: store.clear(), None)
        world.close()
    elif kind in (MongoStore, AsyncMongoStore):
        mongodb: MongoServer = request.getfixturevalue("mongodb")
        world = World(kind.from_url(mongodb.url()))
        yield world
        world.close()
    else:
        with postgres_schema(request.getfixturevalue("postgres_url")) as schema:
            world = World(kind(schema.conninfo, create_table=True, prune_interval=None))
            yield world
            world.close()


@pytest.mark.parametrize(("given", "kind", "reason"), REFUSED, ids=lambda value: ascii(value)[:20])
def test_what_is_no_key_or_no_owner_is_refused_by_every_method_in_the_same_words(
    world: World, given: Any, kind: type[Exception], reason: str
):
    for doors, what in ((KEYS, "a key "), (OWNERS, "an owner ")):
        for name, door in doors.items():
            with pytest.raises(kind) as refused:
                world.call(door, given)
            assert type(refused.value) is kind, name
            assert what in str(refused.value) and reason in str(refused.value), name
            assert "secret" not in str(refused.value) and refused.value.__context__ is None
    assert isinstance(world.call(KEYS["load"], "a"), Stored)
    assert world.call(OWNERS["by_owner"], "ann") == ["b"]


def test_none_is_no_key_and_stands_for_no_owner_only_where_one_is_noted(world: World):
    for door in (*KEYS.values(), OWNERS["by_owner"]):
        with pytest.raises(TypeError, match="must be a non-empty str, not NoneType"):
            world.call(door, None)


def test_a_token_that_is_no_text_is_refused_and_releases_no_lock(world: World):
    token = world.call(KEYS["lock"], "a")
    for given in (None, token.encode(), {"$gt": ""}):
        with pytest.raises(TypeError, match="a token must be a str, not"):
            world.call(lambda store, token: store.unlock("a", token), given)
    assert world.call(KEYS["lock"], "a") is None
    assert world.call(lambda store, token: store.unlock("a", token), token) is True


LONGEST: Final = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(LONGEST_OWNER // 3))
"""As long as an owner may be, and nothing that a database could compress."""


@pytest.mark.parametrize(
    "owner", [LONGEST, "a" * LONGEST_OWNER, " ", "\x01", "$gt", "\u4f1a\u8a71 \U0001f36a", "a\nb", "{}", "%"], ids=ascii
)
def test_an_owner_that_is_not_refused_is_found_again(world: World, owner: str):
    assert world.call(lambda store, given: store.create("c", RECORD, HOUR, owner=given), owner)
    assert world.call(OWNERS["by_owner"], owner) == ["c"]
    assert world.call(KEYS["delete"], "c") == Deleted(1, ())
