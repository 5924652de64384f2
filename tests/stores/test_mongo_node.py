"""Rows shared with connect-mongo and connect-mongodb-session on Node.js, in both directions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from sojourn.codecs.text import dumps
from sojourn.core.store import CONFLICT, MISSING, Stored
from sojourn.stores.mongo._layout import MongoLayout
from sojourn.stores.mongo._sync.store import MongoStore
from tests.node_peer import Ask, conversing, node_with
from tests.servers import MongoServer

pytestmark = [pytest.mark.server, pytest.mark.express]

HOUR = 3_600_000

# Reads lines of JSON, [layout, method, arguments...], and replies to each with a line of JSON.
_PEER = """
const session = require('express-session')
const { MongoStore } = require('connect-mongo')
const MongoDBStore = require('connect-mongodb-session')(session)
const uri = process.argv[1]

const stores = {
  'connect-mongo': MongoStore.create({ mongoUrl: uri, collectionName: 'text' }),
  'connect-mongo-bson': MongoStore.create({
    mongoUrl: uri, collectionName: 'bson', stringify: false, timestamps: true, touchAfter: 1,
  }),
  'connect-mongodb-session': new MongoDBStore({ uri, collection: 'other', idField: 'sid', expiresKey: 'until' }),
}
const call = (store, method, ...args) => new Promise((resolve, reject) =>
  store[method](...args, (error, value) => error ? reject(error) : resolve(value)))

async function reply([layout, method, ...args]) {
  const store = stores[layout]
  if (method === 'set') {
    const { cookie, ...data } = args[1]
    data.when = new Date(data.when)
    args[1] = { cookie: new session.Cookie(cookie), ...data }
  }
  if (method === 'touch') args[1] = { cookie: new session.Cookie({ maxAge: args[1] }), lastModified: new Date(0) }
  return await call(store, method, ...args)
}

require('node:readline').createInterface({ input: process.stdin }).on('line', async (line) => {
  try {
    console.log(JSON.stringify({ value: await reply(JSON.parse(line)) }))
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }))
  }
}).on('close', () => process.exit())
"""

LAYOUTS = {
    "connect-mongo": ("text", MongoLayout.connect_mongo()),
    "connect-mongo-bson": ("bson", MongoLayout.connect_mongo(stringify=False, timestamps=True, last_modified=True)),
    "connect-mongodb-session": ("other", MongoLayout.connect_mongodb_session(id_field="sid", expires_key="until")),
}


@pytest.fixture(scope="module")
def url(mongodb: MongoServer) -> str:
    return mongodb.url(retryWrites="false")


@pytest.fixture(scope="module")
def peer(url: str) -> Iterator[Ask]:
    """The stores on Node: ``peer(layout, method, ...)``."""
    node = node_with("express-session", "connect-mongo", "connect-mongodb-session")
    with conversing([node, "-e", _PEER, url]) as ask:
        yield ask


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[MongoClient[Any]]:
    with MongoClient[Any](url, tz_aware=True) as client:
        yield client


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(layout: str, client: MongoClient[Any], peer: Ask) -> MongoStore:
    collection, value = LAYOUTS[layout]
    peer(layout, "get", "warm up: the store makes its index")
    return MongoStore(client, collection=collection, layout=value)


SESSION = {
    "cookie": {"maxAge": HOUR, "httpOnly": True, "path": "/", "sameSite": "lax"},
    "n": 1,
    "big": 5_000_000_000,
    "max": 2**53 - 1,
    "f": 1.5,
    "when": "2026-01-02T03:04:05.006Z",
    "text": "é😀\u2028",
    "empty": {"o": {}, "a": [], "s": ""},
    "$set": {"a.b": [None, True, {"$id": 1}]},
}
DATA = {key: value for key, value in SESSION.items() if key != "cookie"}


def loaded(store: MongoStore, key: str = "sid") -> Stored:
    found = store.load(key)
    assert isinstance(found, Stored)
    return found


@pytest.fixture
def node_wrote(layout: str, store: MongoStore, peer: Ask) -> Stored:
    peer(layout, "destroy", "sid")
    peer(layout, "set", "sid", SESSION)
    return loaded(store)


def test_what_node_wrote_is_read(node_wrote: Stored):
    tree = json.loads(node_wrote.data)
    cookie = tree.pop("cookie")
    assert tree == DATA
    assert list(cookie) == ["originalMaxAge", "expires", "httpOnly", "path", "sameSite"]
    assert cookie["originalMaxAge"] == HOUR
    assert node_wrote.expires_in is not None and HOUR - 10_000 < node_wrote.expires_in <= HOUR


def test_writing_back_what_was_read_changes_nothing_in_the_row(
    layout: str, node_wrote: Stored, store: MongoStore, client: MongoClient[Any]
):
    rows: Any = client.get_default_database()[LAYOUTS[layout][0]]
    before = rows.find_one()["session"]
    assert store.replace("sid", node_wrote.data, HOUR, version=node_wrote.version)
    after = rows.find_one()["session"]
    if layout != "connect-mongo":
        assert after["when"].isoformat() == "2026-01-02T03:04:05.006000+00:00"  # still a date
        assert [(key, type(value)) for key, value in after.items()] == [
            (key, type(value)) for key, value in before.items()
        ]
    assert after == before


def test_what_was_written_here_node_reads(layout: str, node_wrote: Stored, store: MongoStore, peer: Ask):
    tree = json.loads(node_wrote.data)
    tree["n"] = 2
    assert store.replace("sid", dumps(tree), HOUR, version=node_wrote.version)
    seen = peer(layout, "get", "sid")
    seen.pop("lastModified", None)
    assert {name: value for name, value in seen.pop("cookie").items() if value is not None} == tree.pop("cookie")
    assert seen == tree


def test_what_was_created_here_node_reads_touches_and_destroys(layout: str, store: MongoStore, peer: Ask):
    record = b'{"cookie":{"originalMaxAge":1000,"expires":"2100-01-01T00:00:00.000Z","httpOnly":true,"path":"/"},"n":1}'
    store.delete("made")
    store.create("made", record, HOUR)
    assert peer(layout, "get", "made")["n"] == 1
    if layout != "connect-mongodb-session":  # which has no touch
        peer(layout, "touch", "made", 3 * HOUR)
        assert (loaded(store, "made").expires_in or 0) > 2 * HOUR
    peer(layout, "destroy", "made")
    assert store.load("made") is None
    assert store.replace("made", record, HOUR, version=store._layout.encode(record)) is MISSING


def test_a_save_by_node_in_between_is_a_conflict(layout: str, node_wrote: Stored, store: MongoStore, peer: Ask):
    peer(layout, "set", "sid", {**SESSION, "n": 2})
    assert store.replace("sid", node_wrote.data, HOUR, version=node_wrote.version) is CONFLICT
    assert json.loads(loaded(store).data)["n"] == 2


# connect-mongodb-session with an expiresKey of its own does not look (contract 199).
@pytest.mark.parametrize("layout", ["connect-mongo", "connect-mongo-bson"], indirect=True)
def test_what_has_expired_here_has_expired_for_node(layout: str, store: MongoStore, peer: Ask):
    store.delete("short")
    store.create("short", b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}}', 50)
    time.sleep(0.1)
    assert peer(layout, "get", "short") is None


# The all() of connect-mongodb-session never calls back, with the driver that it brings along.
@pytest.mark.parametrize("layout", ["connect-mongo", "connect-mongo-bson"], indirect=True)
def test_nothing_here_is_in_the_way_of_listing_all_on_node(store: MongoStore, layout: str, peer: Ask):
    store.clear()
    version = store.create("old", b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}}', HOUR)
    store.regenerate("old", "new", b'{"cookie":{"path":"/"},"n":7}', HOUR, version=version, tombstone=30_000)
    assert [session["n"] for session in peer(layout, "all")] == [7]
