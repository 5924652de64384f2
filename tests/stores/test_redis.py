"""What the Redis stores promise beyond the contract: commands, names, Express's rows, what they refuse."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from typing import Any, Final

import httpx
import pytest
import redis
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from sojourn import asgi
from sojourn import express as express_profile
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Replaced, Stored
from sojourn.errors import ConfigurationError, StoreUnavailable
from sojourn.ids import mask_id
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._errors import ErrorReply
from sojourn.stores.redis._names import Names
from sojourn.stores.redis._scripts import OWNED, digest
from sojourn.stores.redis._sync.store import RedisStore
from sojourn.stores.redis._url import parse_url
from sojourn.testing import FullStore
from tests.servers import valkey
from tests.stores.redis_kinds import KINDS, commands, opened

pytestmark = pytest.mark.server

SECRET: Final = "a secret of more than thirty-two bytes for testing"

# As connect-redis 9 with express-session 1.19 on Node wrote it.
EXPRESS_ROW = (
    b'{"cookie":{"originalMaxAge":3600000,"expires":"2026-11-21T04:32:17.370Z","httpOnly":true,"path":"/"},"n":1}'
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def prefix(client: Any) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex}:"
    yield prefix
    for name in client.scan_iter(f"*{prefix}*", 1000):
        client.delete(name)


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, redis_url: str, prefix: str) -> AsyncIterator[FullStore]:
    async with opened(request.param, redis_url, prefix=prefix) as store:
        yield store


@pytest.fixture(params=KINDS)
async def express(request: pytest.FixtureRequest, redis_url: str, prefix: str) -> AsyncIterator[FullStore]:
    async with opened(request.param, redis_url, prefix=prefix, layout="connect-redis") as store:
        yield store


# Commands


@pytest.mark.anyio
async def test_each_operation_is_one_command(store: FullStore, client: Any):
    version = await store.create("warm", b"{}", 60_000, owner="ann")
    version = await store.replace("warm", b"{}", 60_000, version=version)
    version = await store.regenerate("warm", "k", b"{}", 60_000, version=version, tombstone=10)
    await store.touch("k", 60_000)
    await store.delete("none")
    before = commands(client)
    assert isinstance(await store.load("k"), Stored)
    after = commands(client)
    assert {name: calls - before.get(name, 0) for name, calls in after.items() if calls != before.get(name, 0)} == {
        "get": 1,
        "info": 1,
    }
    for operation in (
        store.replace("k", b"{1}", 60_000, version=b"{}", owner="ann"),
        store.touch("k", 60_000),
        store.regenerate("k", "l", b"{1}", 60_000, version=b"{1}", tombstone=30_000, owner="ann"),
        store.create("m", b"{}", 60_000, owner="ann"),
        store.delete("l"),
    ):
        before = commands(client)
        assert await operation
        after = commands(client)
        assert after["evalsha"] - before["evalsha"] == 1
        assert after.get("eval", 0) == before.get("eval", 0)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [0, 1, 39, 40, 41, 1023, 1024, 1025, 5000])
async def test_a_version_of_any_length_is_compared_whole(store: FullStore, size: int):
    """It is sent as it is or as its digest, by its length."""
    data, others = b"x" * size, [b"x" * (size - 1) + b"y", digest(b"x" * size).encode(), b"x" * (size + 1)]
    assert await store.create("k", data, 60_000) == data
    for other in others:
        assert await store.replace("k", b"{}", 60_000, version=other) is CONFLICT
        assert await store.regenerate("k", "l", b"{}", 60_000, version=other, tombstone=0) is CONFLICT
        assert await store.set_owner("k", "ann", version=other) is CONFLICT
    assert await store.replace("k", data, 60_000, version=data) == data
    assert await store.regenerate("k", "l", data, 60_000, version=data, tombstone=0) == data


@pytest.mark.anyio
async def test_data_that_are_the_digest_of_others_are_not_taken_for_them(store: FullStore):
    long = b"x" * 5000
    for stored, version in ((digest(long).encode(), long), (b"short", digest(b"short").encode())):
        await store.create("k", stored, 60_000)
        assert await store.replace("k", b"{}", 60_000, version=version) is CONFLICT
        assert await store.replace("k", b"{}", 60_000, version=stored)
        await store.delete("k")


@pytest.mark.anyio
async def test_a_script_that_the_server_forgot_is_sent_again_with_its_text(store: FullStore, client: Any):
    await store.create("k", b"1", 60_000)
    client.script_flush()
    before = commands(client)
    assert await store.replace("k", b"2", 60_000, version=b"1") == b"2"
    after = commands(client)
    assert (after["evalsha"] - before["evalsha"], after["eval"] - before.get("eval", 0)) == (1, 1)
    assert await store.replace("k", b"3", 60_000, version=b"2") == b"3"
    assert commands(client)["eval"] == after["eval"]


# Names


@pytest.mark.anyio
async def test_nothing_but_the_records_themselves_begins_with_the_prefix(store: FullStore, client: Any, prefix: str):
    await store.create("k", b"{}", 60_000, owner="ann")
    assert await store.lock("k", 60_000)
    assert list(client.scan_iter(f"{prefix}*")) == [f"{prefix}k".encode()]
    assert len(list(client.scan_iter(f"{{{prefix}*"))) == 3


@pytest.mark.anyio
async def test_nothing_is_left_of_a_record_that_was_deleted(store: FullStore, client: Any, prefix: str):
    version = await store.create("k", b"{}", 60_000, owner="ann")
    await store.regenerate("k", "l", b"{}", 60_000, version=version, tombstone=0, owner="bob")
    await store.create("m", b"{}", 60_000, owner="bob")
    await store.delete("l")
    assert await store.clear() == 1
    assert list(client.scan_iter(f"*{prefix}*")) == []


@pytest.mark.anyio
async def test_all_that_is_written_expires(store: FullStore, client: Any, prefix: str):
    version = await store.create("k", b"{}", 60_000, owner="ann")
    version = await store.replace("k", b"{}", 90_000, version=version, owner="ann")
    await store.touch("k", 120_000)
    await store.regenerate("k", "l", b"{}", 100_000, version=version, tombstone=30_000, owner="ann")
    await store.lock("l", 40_000)
    left = {name: client.pttl(name) for name in client.scan_iter(f"*{prefix}*")}
    assert len(left) == 5
    assert all(29_000 < ms <= 120_000 for ms in left.values())


@pytest.mark.anyio
async def test_an_index_lasts_as_long_as_its_longest_record(store: FullStore, client: Any, prefix: str):
    await store.create("long", b"{}", 90_000, owner="ann")
    await store.create("short", b"{}", 100, owner="ann")
    (index,) = [name for name in client.scan_iter(f"{{{prefix}*") if client.type(name) == b"zset"]
    assert 80_000 < client.pttl(index) <= 90_000
    await store.touch("long", 180_000)
    assert client.pttl(index) > 170_000
    await asyncio.sleep(0.15)
    assert await store.by_owner("ann") == ["long"]
    assert client.zcard(index) == 1, "what has expired is cleared away"


def entered(client: Any, index: str, name: str, minutes_ago: float) -> None:
    """An entry as it would be, if it had been made so long ago for a day."""
    now = client.time()[0] * 1000
    ago = now - minutes_ago * 60_000
    client.zadd(index, {name: int(now + 86_400_000) + ago // 600_000 % 256 / 256})


@pytest.mark.anyio
@pytest.mark.parametrize(("minutes_ago", "stays"), [(0, True), (-9, True), (9, True), (21, False), (1440, False)])
async def test_reading_removes_entries_without_a_record_but_no_fresh_ones(
    store: FullStore, client: Any, prefix: str, minutes_ago: float, stays: bool
):
    index = Names(prefix).index("ann").decode()
    await store.create("k", b"1", 60_000, owner="ann")
    entered(client, index, f"{prefix}ended", minutes_ago)
    entered(client, index, f"{prefix}k", minutes_ago)
    assert await store.by_owner("ann") == ["k"]
    expected = {f"{prefix}k", f"{prefix}ended"} if stays else {f"{prefix}k"}
    assert {name.decode() for name in client.zrange(index, 0, -1)} == expected


@pytest.mark.anyio
async def test_every_write_notes_when_an_entry_was_made(store: FullStore, client: Any, prefix: str):
    index = Names(prefix).index("ann").decode()
    version = await store.create("k", b"1", 60_000)
    writes: list[Callable[[], Any]] = [
        lambda: store.replace("k", b"1", 60_000, version=version, owner="ann"),
        lambda: store.touch("k", 60_000),
        lambda: store.set_owner("k", "ann", version=version),
    ]
    for write in writes:
        entered(client, index, f"{prefix}k", 60)
        await write()
        score = client.zscore(index, f"{prefix}k")
        now = client.time()[0]
        assert score % 1 * 256 in {now // 600 % 256, (now // 600 - 1) % 256}
        assert abs(score - now * 1000 - 60_000) < 5000
    entered(client, index, f"{prefix}k", 60)
    client.delete(f"{{{prefix}k}}:owner")
    assert await store.set_owner("k", "ann", version=version) is True
    assert await store.by_owner("ann") == ["k"]


@pytest.mark.anyio
async def test_a_login_clears_away_some_of_what_is_past_and_reading_all_of_it(
    store: FullStore, client: Any, prefix: str
):
    index = Names(prefix).index("ann").decode()
    client.zadd(index, {f"{prefix}{number}": number for number in range(2500)})
    await store.create("k", b"1", 60_000, owner="ann")
    assert client.zcard(index) == 2401, "some, as many would keep others waiting"
    await store.touch("k", 60_000)
    assert client.zcard(index) == 2301
    assert await store.by_owner("ann") == ["k"]
    assert client.zcard(index) == 1


@pytest.mark.anyio
async def test_many_sessions_of_one_owner_are_all_found(store: FullStore, client: Any, prefix: str):
    for number in range(1500):
        await store.create(f"k{number}", b"1", 60_000, owner="ann")
    before = commands(client)["evalsha"]
    assert sorted(await store.by_owner("ann")) == sorted(f"k{number}" for number in range(1500))
    assert commands(client)["evalsha"] - before < 10, "not one for each"


@pytest.mark.anyio
async def test_an_owner_takes_no_command_of_its_own(store: FullStore, client: Any, prefix: str):
    for owner in (None, "ann"):
        version = await store.create(f"{owner}", b"1", 60_000, owner=owner)
        before = commands(client)["evalsha"]
        for number in range(5):
            version = await store.replace(f"{owner}", b"%d" % number, 60_000, version=version, owner=owner)
            await store.touch(f"{owner}", 60_000)
        assert commands(client)["evalsha"] - before == 10


@pytest.mark.anyio
async def test_the_owner_of_a_record_that_never_ends_is_known_for_as_long_as_a_cookie_lasts(
    store: FullStore, client: Any, prefix: str
):
    client.set(f"{prefix}k", b"1")
    assert await store.set_owner("k", "ann", version=b"1") is True
    assert await store.by_owner("ann") == ["k"]
    assert client.ttl(f"{prefix}k") == -1
    assert 399 * 86_400 < client.ttl(f"{{{prefix}k}}:owner") <= 400 * 86_400


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_a_prefix_is_no_pattern(kind: str, redis_url: str, client: Any, prefix: str):
    async with opened(kind, redis_url, prefix=f"{prefix}[ab]") as store:
        client.set(f"{prefix}axx", "x", px=60_000)
        await store.create("xx", b"{}", 60_000)
        assert await store.count() == 1
        assert [key async for key, _ in store.scan()] == ["xx"]
        assert await store.clear() == 1
    assert client.get(f"{prefix}axx") == b"x"


@pytest.mark.anyio
async def test_what_is_no_string_is_no_record(store: FullStore, client: Any, prefix: str):
    client.rpush(f"{prefix}list", "x")
    assert await store.count() == 0
    assert await store.clear() == 0
    assert await store.touch("list", 1) is False
    assert await store.replace("list", b"{}", 60_000, version=b"x") is MISSING
    assert client.exists(f"{prefix}list")
    client.delete(f"{prefix}list")


@pytest.mark.anyio
async def test_a_scan_passes_over_what_ended_since_it_was_named(
    store: FullStore, client: Any, monkeypatch: pytest.MonkeyPatch
):
    await store.create("a", b"a", 60_000)
    await store.create("b", b"b", 60_000)
    sync_or_async: Any = getattr(store, "sync_store", store)
    driver = sync_or_async._driver
    values = driver.values

    def ending(names: list[bytes]) -> Any:
        client.delete(names[0])
        return values(names)

    monkeypatch.setattr(driver, "values", ending)
    assert len([key async for key, _ in store.scan()]) == 1


@given(
    st.text(min_size=1).filter(lambda text: not text.startswith("{")),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
def test_what_belongs_to_a_record_is_in_its_slot(prefix: str, key: str):
    names = Names(prefix)
    record = names.record(key)
    assert names.key(record) == key
    assert key_slot(names.pointer(record)) == key_slot(names.lock(record)) == key_slot(record)
    assert names.pointer(record) != names.lock(record)
    for other in (names.pointer(record), names.lock(record), names.index("ann")):
        assert not other.startswith(names.record(""))


@pytest.mark.parametrize("key", ["a{b}c", "a}b", "a{}b", "{", "}", "{}", "}{", "{a}{b}", "{a", "a}"])
def test_braces_in_a_key_do_not_move_what_belongs_to_it(key: str):
    names = Names("app:")
    assert key_slot(names.pointer(names.record(key))) == key_slot(names.record(key))


# Express


@pytest.mark.anyio
async def test_a_row_that_connect_redis_wrote_is_a_record(express: FullStore, client: Any, prefix: str):
    client.set(f"{prefix}sid", EXPRESS_ROW, ex=3600)
    found = await express.load("sid")
    assert isinstance(found, Stored) and found.data == EXPRESS_ROW
    changed = EXPRESS_ROW.replace(b'"n":1', b'"n":2')
    assert await express.replace("sid", changed, 3_600_000, version=found.version)
    assert client.get(f"{prefix}sid") == changed
    assert [(key, stored.data) async for key, stored in express.scan()] == [("sid", changed)]
    assert await express.delete("sid") == Deleted(1, ())
    assert not client.exists(f"{prefix}sid")


@pytest.mark.anyio
async def test_what_express_does_to_a_row_meanwhile_is_seen(express: FullStore, client: Any, prefix: str):
    version = await express.create("sid", EXPRESS_ROW, 60_000)
    client.expire(f"{prefix}sid", 3600)
    version = await express.replace("sid", EXPRESS_ROW + b" ", 60_000, version=version)
    assert version, "a touch conflicts with nothing"
    client.set(f"{prefix}sid", EXPRESS_ROW, ex=3600)
    assert await express.replace("sid", b"{}", 60_000, version=version) is CONFLICT
    assert client.ttl(f"{prefix}sid") > 3500
    client.delete(f"{prefix}sid")
    assert await express.replace("sid", b"{}", 60_000, version=EXPRESS_ROW) is MISSING
    assert await express.touch("sid", 60_000) is False


@pytest.mark.anyio
async def test_in_express_layout_expiry_is_in_whole_seconds_rounded_up(express: FullStore, client: Any, prefix: str):
    name = f"{prefix}sid"
    version = await express.create("sid", b"{}", 60_001)
    assert 60_900 < client.pttl(name) <= 61_000
    await express.replace("sid", b"{}", 50_999, version=version)
    assert 50_900 < client.pttl(name) <= 51_000
    await express.touch("sid", 40_000)
    assert 39_900 < client.pttl(name) <= 40_000
    await express.touch("sid", 1)
    assert 900 < client.pttl(name) <= 1000


@pytest.mark.anyio
async def test_express_finds_no_tombstone_and_no_key_of_ours(express: FullStore, client: Any, prefix: str):
    version = await express.create("old", b"{}", 60_000, owner="ann")
    await express.regenerate("old", "new", b"{}", 60_000, version=version, tombstone=30_000, owner="ann")
    assert list(client.scan_iter(f"{prefix}*")) == [f"{prefix}new".encode()]
    assert await express.load("old") is None
    assert await express.by_owner("ann") == ["new"]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_each_layout_has_its_prefix(kind: str, redis_url: str):
    async with opened(kind, redis_url) as native, opened(kind, redis_url, layout="connect-redis") as express:
        assert "prefix='sojourn:'" in repr(native)
        assert "prefix='sess:'" in repr(express)


def test_the_default_lifetime_is_that_of_connect_redis():
    assert RedisStore.default_ttl == AsyncRedisStore.default_ttl == 86_400_000


# Tombstones


@pytest.mark.anyio
async def test_no_data_can_look_like_a_tombstone(store: FullStore, client: Any, prefix: str):
    version = await store.create("old", b"{}", 60_000)
    await store.regenerate("old", "new", b"{}", 60_000, version=version, tombstone=30_000)
    assert await store.load("old") == Replaced("new")
    assert await store.create("old", b"{}", 60_000) is EXISTS
    for data in client.lrange(f"{prefix}old", 0, -1):
        await store.create(key := uuid.uuid4().hex, data, 60_000)
        assert isinstance(await store.load(key), Stored)


@pytest.mark.anyio
async def test_a_tombstone_is_a_list_with_the_key_of_its_successor(store: FullStore, client: Any, prefix: str):
    version = await store.create("old", b"{}", 60_000)
    await store.regenerate("old", "new\u00e9", b"{}", 60_000, version=version, tombstone=30_000)
    assert client.lrange(f"{prefix}old", 0, -1) == [b"replaced", "new\u00e9".encode()]
    before = commands(client)
    assert await store.load("old") == Replaced("new\u00e9")
    after = commands(client)
    assert (after["get"] - before["get"], after["lrange"] - before.get("lrange", 0)) == (1, 1)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "items",
    [("replaced",), ("replaced", b"\xff"), ("replaced", ""), ("replaced", "x" * 5000)],
    ids=["an older version's", "no text", "empty", "too long"],
)
async def test_a_tombstone_without_a_key_that_a_store_would_take_has_no_successor(
    store: FullStore, client: Any, prefix: str, items: tuple[str | bytes, ...]
):
    client.rpush(f"{prefix}k", *items)
    assert await store.load("k") == Replaced(None)
    assert await store.delete("k") == Deleted(0, ())
    assert await store.create("k", b"{}", 60_000) is EXISTS


FOREIGN: Final[dict[str, Callable[[Any, str], object]]] = {
    "a hash": lambda client, name: client.hset(name, "secret-field", "secret-value"),
    "a list": lambda client, name: client.rpush(name, "secret-item", "another"),
    "a set": lambda client, name: client.sadd(name, "replaced"),
    "a sorted set": lambda client, name: client.zadd(name, {"replaced": 1}),
    "a stream": lambda client, name: client.xadd(name, {"replaced": "new"}),
}
"""What other programs may put under the name of a session."""


@pytest.mark.anyio
@pytest.mark.parametrize("kind", FOREIGN)
async def test_what_another_program_put_under_the_name_is_an_unreadable_record_and_stays(
    store: FullStore, client: Any, prefix: str, kind: str, caplog: pytest.LogCaptureFixture
):
    FOREIGN[kind](client, f"{prefix}k")
    before = client.dump(f"{prefix}k")
    assert await store.load("k") == Stored(b"", b"", None)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING  # the error is the caller's
    assert (
        record.getMessage()
        == f"a stored session ({mask_id('k')}) cannot be read: its key in Redis is another program's"
    )
    assert await store.replace("k", b"{}", 60_000, version=b"") is MISSING
    assert await store.regenerate("k", "l", b"{}", 60_000, version=b"", tombstone=30_000) is MISSING
    assert await store.touch("k", 60_000) is False
    assert await store.create("k", b"{}", 60_000) is EXISTS
    assert await store.delete("k") == Deleted(0, ())
    assert client.dump(f"{prefix}k") == before


@pytest.mark.anyio
@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("profile", [{}, express_profile()], ids=["ours", "express"])
async def test_a_visitor_whose_key_is_another_programs_gets_a_fresh_session_and_keeps_it(
    kind: str, profile: Any, redis_url: str, client: Any, prefix: str, caplog: pytest.LogCaptureFixture
):
    middleware = asgi.SessionMiddleware(counting, secret=SECRET, store=f"{redis_url}?prefix={prefix}", **profile)

    async def visit(cookie: str, path: str = "/") -> tuple[str, str]:
        """The response's body, and the cookie from now on."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(middleware), base_url="https://test") as visitor:
            response = await visitor.get(path, headers={"cookie": cookie})
        return response.text, response.headers.get("set-cookie", cookie).partition(";")[0]

    body, cookie = await visit("")
    (name,) = client.keys(f"{prefix}*")
    client.delete(name)
    FOREIGN[kind](client, name)
    body, fresh = await visit(cookie)
    assert body == "1" and fresh != cookie
    assert [record.levelname for record in caplog.records if record.name == "sojourn"] == ["WARNING", "ERROR"]
    assert [await visit(fresh) for _ in range(3)] == [("2", fresh), ("3", fresh), ("4", fresh)]
    body, fresh = await visit(cookie, "/login")
    assert body == "1" and fresh != cookie
    assert await visit(fresh) == ("2", fresh)
    assert (await visit(cookie, "/logout"))[0] == "0"
    await middleware.store.close()
    assert "secret-" not in caplog.text


async def counting(scope: Any, receive: Any, send: Any) -> None:
    session = scope["session"]
    match scope["path"]:
        case "/login":
            session.login("ann")
            session["n"] = 1
        case "/logout":
            session.logout()
        case _:
            session["n"] = session.get("n", 0) + 1
    body = b"0" if scope["path"] == "/logout" else b"%d" % session["n"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.anyio
async def test_a_name_that_is_not_utf_8_is_left_out_of_a_list_with_an_error_and_can_be_cleared(
    store: FullStore, client: Any, prefix: str, caplog: pytest.LogCaptureFixture
):
    await store.create("k", b"{}", 60_000)
    for rest in (b"\xff", b"\xed\xa0\x80"):
        client.set(prefix.encode() + rest, b"{}")
    assert [key async for key, _ in store.scan()] == ["k"]
    text = "a stored session has a key that is not UTF-8, which no visitor can have: it is left out"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("ERROR", text)] * 2
    assert await store.clear() == 3


POINTERS: Final[dict[str, Callable[[Any, str], object]]] = {
    **FOREIGN,
    "another program's text": lambda client, name: client.set(name, "a name"),
    "the name of a record": lambda client, name: client.set(name, name[1:].partition("}")[0]),
}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", POINTERS)
async def test_what_is_in_the_place_of_a_pointer_keeps_no_write_from_its_record(
    store: FullStore, client: Any, prefix: str, kind: str
):
    for owner in (None, "ann"):
        version = await store.create("k", b"1", 60_000)
        client.delete(f"{{{prefix}k}}:owner")
        POINTERS[kind](client, f"{{{prefix}k}}:owner")
        assert await store.touch("k", 60_000) is True
        assert await store.by_owner("ann") == []
        version = await store.replace("k", b"2", 60_000, version=version, owner=owner)
        assert version == b"2"
        assert await store.by_owner("ann") == (["k"] if owner else [])
        assert await store.regenerate("k", "l", b"3", 60_000, version=version, tombstone=1, owner=owner) == b"3"
        assert await store.by_owner("ann") == (["l"] if owner else [])
        assert await store.delete("l") == Deleted(1, ())
        await asyncio.sleep(0.01)  # for the tombstone to expire
        client.delete(f"{{{prefix}k}}:owner")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [kind for kind in FOREIGN if kind != "a sorted set"])
async def test_what_is_in_the_place_of_an_owners_index_makes_way_for_it(
    store: FullStore, client: Any, prefix: str, kind: str
):
    index = Names(prefix).index("ann").decode()
    FOREIGN[kind](client, index)
    assert await store.by_owner("ann") == []
    assert await store.create("k", b"1", 60_000, owner="ann") == b"1"
    assert await store.by_owner("ann") == ["k"]
    client.delete(index)
    FOREIGN[kind](client, index)
    assert await store.touch("k", 60_000) is True
    assert await store.by_owner("ann") == ["k"]
    client.delete(index)
    FOREIGN[kind](client, index)
    assert await store.replace("k", b"2", 60_000, version=b"1") == b"2"
    assert client.type(index) != b"zset", "what another owner's session leaves is not looked at"
    assert await store.delete("k") == Deleted(1, ())


@pytest.mark.anyio
async def test_an_entry_of_an_owner_that_is_no_key_is_passed_over(store: FullStore, client: Any, prefix: str):
    await store.create("k", b"{}", 60_000, owner="ann")
    (index,) = client.keys(f"{{{prefix}owner:*")
    client.zadd(index, {prefix.encode() + b"\xff": 10**15})
    assert await store.by_owner("ann") == ["k"]


@pytest.mark.anyio
async def test_a_session_that_is_regenerated_while_its_owners_are_listed_is_listed_under_one_of_its_keys(
    redis_url: str, prefix: str
):
    async with opened("async", redis_url, prefix=prefix) as opened_store:
        store: Any = opened_store  # it is looked at behind the protocol
        await store.create("old", b"1", 60_000, owner="ann")
        run, asked = store._run, list[object]()

        async def move_meanwhile(script: Any, keys: Any, *arguments: Any, writes: bool = True) -> Any:
            if script is OWNED and not asked:
                asked.append(script)
                await store.regenerate("old", "new", b"1", 60_000, version=b"1", tombstone=60_000, owner="ann")
            return await run(script, keys, *arguments, writes=writes)

        store._run = move_meanwhile
        assert await store.by_owner("ann") == ["new"]
        assert asked


@pytest.mark.anyio
async def test_what_a_record_has_left_is_told(redis_url: str, prefix: str, client: Any):
    for kind in ("sync", "async"):
        async with opened(kind, redis_url, prefix=prefix) as opened_store:
            store: Any = opened_store  # with what is no part of the contract
            lifetime = store.lifetime
            await store.delete("k")
            assert await lifetime("k") is None
            await store.create("k", b"1", 60_000)
            assert 50_000 < await lifetime("k") <= 60_000
            client.persist(f"{prefix}k")
            assert await lifetime("k") is None


@pytest.mark.anyio
async def test_clearing_ends_also_what_has_a_longer_prefix_as_its_documentation_says(
    store: FullStore, client: Any, redis_url: str, prefix: str
):
    async with opened("sync", redis_url, prefix=f"{prefix}eu:") as other:
        await other.create("k", b"{}", 60_000)
        await store.create("k", b"{}", 60_000)
        assert await other.clear() == 1
        await other.create("k", b"{}", 60_000)
        assert await store.clear() == 2
        assert await other.load("k") is None
    for kind in (RedisStore, AsyncRedisStore):
        assert "begins with the prefix" in (kind.clear.__doc__ or "")


@pytest.mark.anyio
async def test_a_tombstone_that_expires_while_it_is_read_is_missing(
    store: FullStore, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    client.rpush(f"{prefix}k", "replaced", "new")
    sync_or_async: Any = getattr(store, "sync_store", store)
    call = sync_or_async._driver.call

    def expiring(name: bytes, *command: Any, writes: bool) -> Any:
        if command[0] == "LRANGE":
            client.delete(name)
        return call(name, *command, writes=writes)

    monkeypatch.setattr(sync_or_async, "_call", expiring)
    assert await store.load("k") is None


@pytest.mark.anyio
async def test_a_delete_is_one_command_however_many_keys(store: FullStore, client: Any):
    await store.delete("warm")
    for number in range(20):
        await store.create(f"k{number}", b"{}", 60_000)
    await store.regenerate("k0", "new", b"{}", 60_000, version=b"{}", tombstone=30_000)
    before = commands(client)
    assert await store.delete(*(f"k{number}" for number in range(20)), "none") == Deleted(19, ("new",))
    after = commands(client)
    assert (after["evalsha"] - before["evalsha"], after.get("eval", 0) - before.get("eval", 0)) == (1, 0)
    assert await store.delete() == Deleted(0, ())
    assert commands(client)["evalsha"] == after["evalsha"], "without keys nothing is sent"


@pytest.mark.anyio
@pytest.mark.parametrize("command", ["LRANGE", "GET"])
async def test_a_read_that_is_refused_is_no_missing_session(
    command: str, store: FullStore, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    client.rpush(f"{prefix}k", "replaced", "new")
    sync_or_async: Any = getattr(store, "sync_store", store)
    call = sync_or_async._driver.call

    def refusing(name: bytes, *given: Any, writes: bool) -> Any:
        if given[0] == command:
            raise ErrorReply("NOPERM")
        return call(name, *given, writes=writes)

    monkeypatch.setattr(sync_or_async, "_call", refusing)
    with pytest.raises(StoreUnavailable, match="NOPERM"):
        await store.load("k")


# Concurrency

COUNTING = """
import asyncio, sys
from sojourn.ids import mask_id
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._sync.store import RedisStore
from sojourn.testing import as_async

kind, url, prefix = sys.argv[1:]
make = RedisStore if kind == "sync" else AsyncRedisStore
store = make.from_url(f"{url}?prefix={prefix}")
store = as_async(store) if kind == "sync" else store

async def count():
    for _ in range(25):
        while True:
            found = await store.load("k")
            if await store.replace("k", b"%d" % (int(found.data) + 1), 60_000, version=found.version):
                break
            await store.touch("k", 60_000)

async def main():
    await asyncio.gather(*(count() for _ in range(3)))
    await store.close()

asyncio.run(main())
"""


@pytest.mark.anyio
async def test_no_update_of_many_processes_is_lost(redis_url: str, prefix: str):
    async with opened("async", redis_url, prefix=prefix) as store:
        await store.create("k", b"0", 60_000)
        processes = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", COUNTING, kind, redis_url, prefix)
            for kind in ("sync", "async", "sync", "async")
        ]
        assert [await process.wait() for process in processes] == [0, 0, 0, 0]
        found = await store.load("k")
        assert isinstance(found, Stored) and found.data == b"300"


class Interruption(BaseException):
    """As a server's worker may be ended in the middle of something."""


def test_an_operation_that_a_signal_interrupts_leaves_its_reply_to_no_other():
    def interrupt(*_: object) -> None:
        raise Interruption

    with valkey() as server:
        store = RedisStore.from_url(server.url)
        store.create("a", b"a", 60_000)
        store.create("b", b"b", 60_000)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            server.signal(signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Interruption):
                store.load("a")
        finally:
            signal.signal(signal.SIGALRM, before)
            server.signal(signal.SIGCONT)
        found = store.load("b")
        assert isinstance(found, Stored) and found.data == b"b"
        store.close()


def test_with_no_connection_left_the_store_is_unavailable_at_once(redis_url: str):
    store: Any = RedisStore.from_url(f"{redis_url}?max_connections=2")
    connections = store._driver._clients.here()
    taken = [connections._take() for _ in range(2)]
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="max_connections=2"):
            store.create("k", b"{}", 60_000)
    connections._idle.append(taken.pop())
    for _ in range(3):
        assert store.load("none") is None
    store.close()


# What is refused


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("layout", "express"),
        ("layout", None),
        ("prefix", ""),
        ("prefix", "{app}:"),
        ("prefix", 1),
        ("max_size", 0),
        ("max_size", True),
        ("max_size", "1"),
    ],
)
@pytest.mark.parametrize(("make", "client"), [(RedisStore, redis.Redis()), (AsyncRedisStore, redis.asyncio.Redis())])
def test_a_bad_option_is_refused_by_name(make: Any, client: Any, option: str, value: Any):
    with pytest.raises(ConfigurationError) as refused:
        make(client, **{option: value})
    assert refused.value.option == option


@pytest.mark.parametrize(
    ("make", "client"),
    [
        (RedisStore, redis.asyncio.Redis()),
        (AsyncRedisStore, redis.Redis()),
        (RedisStore, "redis://localhost"),
        (AsyncRedisStore, None),
        (RedisStore, redis.Redis().pipeline()),
        (AsyncRedisStore, redis.asyncio.Redis().pipeline()),
    ],
)
def test_what_is_no_client_of_its_colour_is_refused(make: Any, client: Any):
    with pytest.raises(ConfigurationError, match=r"give a redis\.") as refused:
        make(client)
    assert refused.value.option == "client"


@pytest.mark.parametrize("make", [RedisStore, AsyncRedisStore])
def test_a_store_shows_its_password_nowhere(make: Any):
    store = make.from_url("redis://ann:s3cret@127.0.0.1:1/2?prefix=app:")
    assert "s3cret" not in repr(store)
    assert "app:" in repr(store)


def test_under_trio_the_store_is_refused():
    import trio

    made = AsyncRedisStore.from_url("redis://127.0.0.1:1"), AsyncRedisStore(redis.asyncio.Redis(port=1))

    async def main() -> None:
        for source in (parse_url("redis://127.0.0.1:1")[0], redis.asyncio.Redis(port=1)):
            with pytest.raises(ConfigurationError, match="trio"):
                AsyncRedisStore(source)
        for store in made:
            for _ in range(2):
                with pytest.raises(ConfigurationError, match="trio"):
                    await store.open()

    trio.run(main)


@pytest.mark.parametrize(("missing", "module"), list(product(["redis", "hiredis"], ["_sync", "_async"])))
def test_without_the_driver_the_error_says_what_to_install(missing: str, module: str):
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import sojourn.stores\n"
        f"try: import sojourn.stores.redis.{module}.store\n"
        "except ImportError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "sojourn[redis]"' in ran.stdout


@pytest.mark.anyio
async def test_closing_leaves_the_client_of_the_app_open(redis_url: str, prefix: str):
    with redis.Redis.from_url(redis_url) as client:
        connection = client.client_id()
        store = RedisStore(client, prefix=prefix)
        store.open()
        store.close()
        assert client.client_id() == connection
    async with redis.asyncio.Redis.from_url(redis_url) as async_client:
        connection = await async_client.client_id()
        async_store = AsyncRedisStore(async_client, prefix=prefix)
        await async_store.open()
        await async_store.close()
        assert await async_client.client_id() == connection
