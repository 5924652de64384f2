"""The MongoDB stores when the network or the server fails: what was written, and which error the caller gets."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from sojourn import StoreError, StoreTimeout, StoreUnavailable
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Stored
from sojourn.stores.mongo._async.store import AsyncMongoStore
from sojourn.stores.mongo._sync.store import MongoStore
from tests.proxy import Answer, BlackHole, CutReply, CutRequest, Delay, Fault, Proxy, proxy_to
from tests.servers import SecantusServer, secantus

pytestmark = pytest.mark.server

HOUR = 3_600_000
ONE, TWO = b'{"cookie":{"path":"/"},"n":1}', b'{"cookie":{"path":"/"},"n":2}'
HASTY = "&socketTimeoutMS=1000&serverSelectionTimeoutMS=2000"
LATE = Delay(1.5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecantusServer]:
    """As a replica set, where the driver would resend writes, if it were allowed to."""
    with secantus(tmp_path_factory.mktemp("mongodb"), "secantus") as server:
        yield server


@pytest.fixture
def proxy(server: SecantusServer) -> Iterator[Proxy]:
    with proxy_to(server.port) as proxy:
        yield proxy


@pytest.fixture
def database(server: SecantusServer) -> str:
    return server.url().rpartition("/")[2].partition("?")[0]


@pytest.fixture
def url(proxy: Proxy, database: str) -> str:
    return (
        f"mongodb://127.0.0.1:{proxy.port}/{database}?directConnection=true&heartbeatFrequencyMS=500&create_index=false"
    )


@pytest.fixture
def store(url: str) -> Iterator[MongoStore]:
    """A store that reaches the server through the proxy."""
    store = MongoStore.from_url(url)
    yield store
    store.close()


@pytest.fixture
def hasty(url: str) -> Iterator[MongoStore]:
    """The same, and it does not wait for long."""
    store = MongoStore.from_url(url + HASTY)
    yield store
    store.close()


@pytest.fixture
def witness(server: SecantusServer, database: str) -> Iterator[MongoStore]:
    """A store that reaches it directly."""
    store = MongoStore.from_url(server.url(database, create_index="false"))
    yield store
    store.close()


def is_command(*names: str) -> Callable[[bytes], bool]:
    """Whether a message is one of these commands: an OP_MSG (opcode 2013) whose document begins with the name."""

    def match(message: bytes) -> bool:
        return len(message) > 26 and message[12:16] == b"\xdd\x07\x00\x00" and _name(message) in names

    return match


def _name(message: bytes) -> str:
    return message[26 : message.index(b"\0", 26)].decode()


def replying(**reply: Any) -> Answer:
    """Answer with a document, as a server would."""

    def answer(message: bytes) -> bytes:
        (request,) = struct.unpack_from("<i", message, 4)
        body = b"\0\0\0\0\0" + bson.encode(reply)
        return struct.pack("<iiii", 16 + len(body), 1, request, 2013) + body

    return Answer(answer)


WRITES: dict[str, Callable[[MongoStore, str, Any], object]] = {
    "create": lambda store, key, version: store.create(f"{key} new", TWO, HOUR),
    "replace": lambda store, key, version: store.replace(key, TWO, HOUR, version=version),
    "touch": lambda store, key, version: store.touch(key, 2 * HOUR),
    "delete": lambda store, key, version: store.delete(key),
}
DONE: dict[str, Callable[[MongoStore, str], bool]] = {
    "create": lambda store, key: store.load(f"{key} new") is not None,
    "replace": lambda store, key: _loaded(store, key).data == TWO,
    "touch": lambda store, key: (_loaded(store, key).expires_in or 0) > HOUR,
    "delete": lambda store, key: store.load(key) is None,
}
IS_WRITE = is_command("update", "delete", "findAndModify", "insert")


def _loaded(store: MongoStore, key: str) -> Stored:
    found = store.load(key)
    assert isinstance(found, Stored)
    return found


NOT_PRIMARY = replying(ok=0.0, errmsg="not primary", code=10107, codeName="NotWritablePrimary")
FAILURES: dict[str, tuple[Fault, type[StoreError], bool]] = {
    "cut before the reply": (CutReply(), StoreTimeout, True),
    "cut before the request": (CutRequest(), StoreTimeout, False),
    "not primary": (NOT_PRIMARY, StoreUnavailable, False),
    "cut in the reply": (CutReply(after=20), StoreTimeout, True),
    "late": (LATE, StoreTimeout, True),
    "swallowed": (BlackHole(), StoreTimeout, False),
    "secondary": (
        replying(ok=0.0, errmsg="no", code=13435, codeName="NotPrimaryNoSecondaryOk"),
        StoreUnavailable,
        False,
    ),
    "shutdown": (replying(ok=0.0, errmsg="bye", code=11600, codeName="InterruptedAtShutdown"), StoreTimeout, False),
    "refused": (replying(ok=0.0, errmsg="quota", code=8000, codeName="AtlasError"), StoreUnavailable, False),
    "write concern": (replying(ok=1.0, n=1, writeConcernError={"code": 64, "errmsg": "slow"}), StoreTimeout, False),
}


@pytest.mark.parametrize(
    ("write", "failure"),
    [
        *(("replace", failure) for failure in FAILURES),
        *((write, failure) for write in WRITES if write != "replace" for failure in list(FAILURES)[:3]),
    ],
)
def test_a_write_that_fails_says_what_may_have_become_of_it(
    write: str, failure: str, hasty: MongoStore, witness: MongoStore, proxy: Proxy
):
    fault, error, done = FAILURES[failure]
    version = witness.create("sid", ONE, HOUR)
    with proxy.failing(fault, when=IS_WRITE) as met, pytest.raises(StoreError) as raised:
        WRITES[write](hasty, "sid", version)
    assert type(raised.value) is error
    assert isinstance(raised.value.driver_error, PyMongoError) and raised.value.__cause__ is None
    assert met() == 1, "a write was sent more than once"
    assert DONE[write](witness, "sid") is done


@pytest.mark.parametrize("failure", FAILURES)
def test_a_lock_that_fails_is_asked_for_once_and_given_back_if_it_may_be_taken(
    failure: str, hasty: MongoStore, witness: MongoStore, proxy: Proxy
):
    fault, error, _done = FAILURES[failure]
    hasty.unlock("sid", hasty.lock("sid", HOUR) or "")
    with proxy.failing(fault, when=IS_WRITE, times=1) as met, pytest.raises(error):
        hasty.lock("sid", HOUR)
    assert met() == 1
    assert witness.lock("sid", HOUR) is not None


@pytest.mark.parametrize(
    ("read", "failure"),
    [
        *(("load", failure) for failure in list(FAILURES)[:-1]),
        *((read, "not primary") for read in ("count", "by_owner", "scan")),
    ],
)
def test_a_read_that_fails_is_unavailable_and_the_next_one_works(
    read: str, failure: str, hasty: MongoStore, proxy: Proxy
):
    fault, _, _ = FAILURES[failure]
    store = hasty
    reads: dict[str, Callable[[], object]] = {
        "load": lambda: store.load("sid"),
        "count": store.count,
        "by_owner": lambda: store.by_owner("ann"),
        "scan": lambda: list(store.scan()),
    }
    store.create("sid", ONE, HOUR)
    with proxy.failing(fault, when=is_command("find", "aggregate", "count")), pytest.raises(StoreUnavailable):
        reads[read]()
    assert _loaded(store, "sid").data == ONE


def test_a_read_is_sent_again_by_the_driver(store: MongoStore, proxy: Proxy):
    store.create("sid", ONE, HOUR)
    with proxy.failing(CutReply(), when=is_command("find"), times=1) as met:
        assert _loaded(store, "sid").data == ONE
        assert met() == 1


def test_a_compare_and_set_whose_reply_was_lost_meets_its_own_success(store: MongoStore, proxy: Proxy):
    version = store.create("sid", ONE, HOUR)
    with proxy.failing(CutReply(), when=IS_WRITE), pytest.raises(StoreTimeout):
        store.replace("sid", TWO, HOUR, version=version)
    assert store.replace("sid", TWO, HOUR, version=version) is CONFLICT
    assert _loaded(store, "sid").data == TWO


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("fault", [CutReply(), CutRequest()], ids=str)
def test_after_a_regenerate_that_timed_out_the_new_key_tells_whether_it_was_done(
    step: int, fault: Fault, store: MongoStore, witness: MongoStore, proxy: Proxy
):
    version = store.create("old", ONE, HOUR)
    seen = 0

    def is_step(message: bytes) -> bool:
        nonlocal seen
        seen += IS_WRITE(message)
        return IS_WRITE(message) and seen == step

    with proxy.failing(fault, when=is_step), pytest.raises(StoreTimeout):
        store.regenerate("old", "new", TWO, HOUR, version=version, tombstone=HOUR)
    done = step == 3 and fault == CutReply()
    ended = done or step == 3 or (step == 2 and fault == CutReply())
    assert (witness.load("new") is not None) is done
    assert isinstance(witness.load("old"), Stored) is not ended
    again = witness.regenerate("old", "new", TWO, HOUR, version=version, tombstone=HOUR)
    if done:
        assert again is MISSING
    elif ended:  # what was left to do is done by the next try
        assert again == TWO.decode() and _loaded(witness, "new").data == TWO
    elif step == 1 and fault != CutReply():
        assert _loaded(witness, "new").version == again
    else:
        assert again is EXISTS


def test_what_fails_after_the_old_session_has_ended_is_never_called_undone(
    store: MongoStore, witness: MongoStore, proxy: Proxy
):
    version = store.create("old", ONE, HOUR)
    seen = 0

    def is_third(message: bytes) -> bool:
        nonlocal seen
        seen += IS_WRITE(message)
        return IS_WRITE(message) and seen == 3

    with proxy.failing(NOT_PRIMARY, when=is_third), pytest.raises(StoreTimeout):
        store.regenerate("old", "new", TWO, HOUR, version=version, tombstone=0)
    assert witness.load("old") is None
    assert witness.load("new") is None


def test_a_conflict_is_told_even_if_the_reservation_cannot_be_removed(
    store: MongoStore, witness: MongoStore, proxy: Proxy
):
    version = store.create("old", ONE, HOUR)
    assert witness.replace("old", TWO, HOUR, version=version)
    seen = 0

    def is_third(message: bytes) -> bool:
        nonlocal seen
        seen += IS_WRITE(message)
        return IS_WRITE(message) and seen == 3

    with proxy.failing(CutRequest(), when=is_third) as met:
        assert store.regenerate("old", "new", TWO, HOUR, version=version, tombstone=HOUR) is CONFLICT
    assert met() == 1
    assert witness.load("new") is None


def test_a_client_that_resends_writes_does_each_once(proxy: Proxy, database: str, witness: MongoStore):
    """The server knows by its number a write that it has done."""
    driver = f"mongodb://127.0.0.1:{proxy.port}/{database}?directConnection=true&retryWrites=true"
    with MongoClient[Any](driver) as client:
        store = MongoStore(client, create_index=False)
        version = store.create("sid", ONE, HOUR)
        with proxy.failing(CutReply(), when=IS_WRITE, times=1) as met:
            assert store.replace("sid", TWO, HOUR, version=version) == TWO.decode()
        assert met() == 1
        assert _loaded(witness, "sid").data == TWO


@pytest.mark.parametrize("operation", ["load", "create"])
def test_a_server_that_is_gone_is_unavailable_and_back_when_it_is_back(operation: str, store: MongoStore, proxy: Proxy):
    store.create("sid", ONE, HOUR)
    operations: dict[str, Callable[[], object]] = {
        "load": lambda: store.load("sid"),
        "create": lambda: store.create("new", ONE, HOUR),
    }
    with proxy.refusing():
        deadline = time.monotonic() + 10
        while True:  # the first write may still go to a connection that looks alive
            try:
                operations[operation]()
            except StoreUnavailable:
                break
            except StoreTimeout:
                assert operation != "load" and time.monotonic() < deadline
    assert _loaded(store, "sid").data == ONE


def test_an_exhausted_pool_is_unavailable(proxy: Proxy, url: str):
    async def main() -> None:
        store = AsyncMongoStore.from_url(f"{url}&maxPoolSize=1&waitQueueTimeoutMS=100")
        await store.open()
        with proxy.failing(Delay(0.5), when=IS_WRITE, times=1):
            slow = asyncio.create_task(store.create("slow", ONE, HOUR))
            await asyncio.sleep(0.2)
            with pytest.raises(StoreUnavailable):
                await store.create("queued", ONE, HOUR)
            await slow
        assert await store.load("queued") is None
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("fault", [CutReply(), BlackHole()], ids=str)
def test_the_async_store_fails_in_the_same_ways(fault: Fault, url: str, proxy: Proxy, witness: MongoStore):
    async def main() -> None:
        store = AsyncMongoStore.from_url(url + HASTY)
        version = await store.create("sid", ONE, HOUR)
        with proxy.failing(fault, when=IS_WRITE), pytest.raises(StoreTimeout):
            await store.replace("sid", TWO, HOUR, version=version)
        with proxy.failing(fault, when=is_command("find")), pytest.raises(StoreUnavailable):
            await store.load("sid")
        assert isinstance(await store.load("sid"), Stored)
        await store.close()

    asyncio.run(main())
    assert (_loaded(witness, "sid").data == TWO) is (fault == CutReply())


def test_sessions_survive_a_server_that_is_killed(tmp_path: Path):
    with secantus(tmp_path) as server:
        store = MongoStore.from_url(
            server.url(serverSelectionTimeoutMS=500, connectTimeoutMS=500, heartbeatFrequencyMS=500)
        )
        version = store.create("sid", ONE, HOUR)
        assert store.replace("sid", TWO, HOUR, version=version)
        server.kill()
        with pytest.raises(StoreUnavailable):
            store.load("sid")
        with pytest.raises(StoreUnavailable):
            store.touch("sid", HOUR)
        server.start()
        store.close()
        assert _loaded(store, "sid").data == TWO
        store.close()
