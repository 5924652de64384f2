"""The MongoDB stores on a server: rows, indexes, the steps of regenerate, and many writers at once."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import DatetimeMS, Int64, ObjectId, encode
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, MongoClient, monitoring
from pymongo.errors import AutoReconnect

from sojourn import logs
from sojourn.clock import LONGEST_MS
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Replaced, Stored
from sojourn.errors import StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores.mongo._async.store import AsyncMongoStore
from sojourn.stores.mongo._layout import MongoLayout
from sojourn.stores.mongo._sync.store import MongoStore
from sojourn.testing import ManualClock, as_async
from tests.servers import MongoServer

pytestmark = pytest.mark.server

NOW = 1_795_235_537_370  # 2026-11-21T04:32:17.370Z
HOUR = 3_600_000
RECORD = (
    b'{"cookie":{"originalMaxAge":3600000,"expires":"2026-11-21T05:32:17.370Z","httpOnly":true,"path":"/"},'
    b'"n":1,"big":5000000000,"f":1.5,"o":{},"a":[]}'
)
OTHER = RECORD.replace(b'"n":1', b'"n":2')
AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)


@pytest.fixture
def url(mongodb: MongoServer) -> str:
    return mongodb.url(retryWrites="false")


@pytest.fixture
def client(url: str) -> Iterator[MongoClient[Any]]:
    with MongoClient[Any](url) as client:
        yield client
        client.drop_database(client.get_default_database())


@pytest.fixture
def rows(client: MongoClient[Any]) -> Any:
    return client.get_default_database().get_collection("sessions", AWARE)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def make(client: MongoClient[Any], clock: ManualClock) -> Callable[..., MongoStore]:
    """Stores without indexes unless asked for: their clock stands, and a TTL index goes by the server's."""

    def make(layout: MongoLayout | str = "native", **options: Any) -> MongoStore:
        return MongoStore(client, layout=layout, **{"clock": clock, "create_index": False, **options})

    return make


def loaded(store: MongoStore, key: str = "sid") -> Stored:
    found = store.load(key)
    assert isinstance(found, Stored)
    return found


# rows


def test_the_row_of_connect_mongo(make: Callable[..., MongoStore], rows: Any):
    make("connect-mongo").create("sid", RECORD, HOUR)
    assert rows.find_one() == {
        "_id": "sid",
        "expires": datetime(2026, 11, 21, 5, 32, 17, 370000, UTC),
        "session": RECORD.decode(),
    }


BSON_SESSION: dict[str, Any] = {
    "cookie": {
        "originalMaxAge": 3600000,
        "partitioned": None,
        "priority": None,
        "expires": datetime(2026, 11, 21, 5, 32, 17, 370000, UTC),
        "secure": None,
        "httpOnly": True,
        "domain": None,
        "path": "/",
        "sameSite": None,
    },
    "n": 1,
    "big": 5000000000.0,
    "f": 1.5,
    "o": {},
    "a": [],
}


def test_the_row_of_connect_mongo_with_stringify_off(make: Callable[..., MongoStore], rows: Any):
    make("connect-mongo-bson").create("sid", RECORD, HOUR)
    row = rows.find_one()
    assert row == {"_id": "sid", "expires": datetime(2026, 11, 21, 5, 32, 17, 370000, UTC), "session": BSON_SESSION}
    assert list(row["session"]) == list(BSON_SESSION)
    assert list(row["session"]["cookie"]) == list(BSON_SESSION["cookie"])
    assert type(row["session"]["big"]) is float


def test_the_row_of_connect_mongodb_session_with_its_own_fields(make: Callable[..., MongoStore], rows: Any):
    make(MongoLayout.connect_mongodb_session(id_field="sid", expires_key="until")).create("sid", RECORD, HOUR)
    row = rows.find_one()
    assert isinstance(row.pop("_id"), ObjectId)
    assert row == {"sid": "sid", "until": datetime(2026, 11, 21, 5, 32, 17, 370000, UTC), "session": BSON_SESSION}


def test_the_times_of_connect_mongo_are_written_where_asked_for(
    make: Callable[..., MongoStore], rows: Any, clock: ManualClock
):
    store = make(MongoLayout.connect_mongo(timestamps=True, last_modified=True))
    times = ("createdAt", "updatedAt", "lastModified")

    def written() -> list[int]:
        row = rows.find_one()
        return [int(row[name].timestamp() * 1000 + 0.5) - NOW for name in times]

    version = store.create("sid", RECORD, HOUR)
    assert written() == [0, 0, 0]
    clock.advance(1000)
    store.replace("sid", OTHER, HOUR, version=version)
    assert written() == [0, 1000, 1000]
    clock.advance(1000)
    store.touch("sid", HOUR)
    assert written() == [0, 2000, 2000]


@pytest.mark.parametrize("layout", ["connect-mongo", "connect-mongo-bson", "native"])
def test_fields_of_others_stay_as_they_are(layout: str, make: Callable[..., MongoStore], rows: Any, clock: ManualClock):
    store = make(layout)
    version = store.create("sid", RECORD, HOUR)
    others = {"lastModified": "x", "createdAt": 1, "updatedAt": None, "more": {"a": [1]}}
    rows.update_one({}, {"$set": others})
    store.touch("sid", HOUR)
    store.replace("sid", OTHER, HOUR, version=version)
    assert others.items() <= rows.find_one().items()


def test_a_row_without_an_expiry_never_ends_as_for_both_node_stores(make: Callable[..., MongoStore], rows: Any):
    store = make("connect-mongo")
    rows.insert_one({"_id": "sid", "session": RECORD.decode()})
    assert loaded(store) == (RECORD, RECORD.decode(), None)
    assert [key for key, _ in store.scan()] == ["sid"] and store.count() == 1 and store.delete_expired() == 0
    assert store.create("sid", RECORD, HOUR) is EXISTS
    assert store.touch("sid", HOUR) is True
    assert loaded(store).expires_in == HOUR


def test_only_the_native_layout_leaves_tombstones(make: Callable[..., MongoStore], rows: Any):
    for layout in ("connect-mongo", "connect-mongo-bson"):
        store = make(layout)
        version = store.create(f"{layout} old", RECORD, HOUR)
        store.regenerate(f"{layout} old", f"{layout} new", OTHER, HOUR, version=version, tombstone=HOUR)
        assert store.load(f"{layout} old") is None
    assert rows.count_documents({"sojourn": {"$exists": True}}) == 0
    assert rows.count_documents({}) == 2


def test_a_tombstone_holds_nothing_of_the_session_but_its_new_key(make: Callable[..., MongoStore], rows: Any):
    store = make("native")
    version = store.create("old", RECORD, HOUR, owner="ann")
    store.regenerate("old", "new", OTHER, HOUR, version=version, tombstone=1000, owner="ann")
    assert rows.find_one({"_id": "old"}) == {
        "_id": "old",
        "expires": datetime(2026, 11, 21, 4, 32, 18, 370000, UTC),
        "sojourn": "replaced",
        "successor": "new",
    }
    assert rows.find_one({"_id": "new"}, {"expires": 0}) == {"_id": "new", "session": OTHER.decode(), "owner": "ann"}


def test_taking_over_an_expired_row_leaves_nothing_of_it(
    make: Callable[..., MongoStore], rows: Any, clock: ManualClock
):
    store = make("native")
    store.create("sid", OTHER, 1000, owner="ann")
    clock.advance(1000)
    store.create("sid", RECORD, HOUR)
    assert set(rows.find_one()) == {"_id", "expires", "session"}


@pytest.mark.parametrize("layout", ["connect-mongo", "connect-mongo-bson"])
def test_a_save_by_express_in_between_is_a_conflict(layout: str, make: Callable[..., MongoStore], rows: Any):
    store = make(layout)
    version = store.create("sid", RECORD, HOUR)
    theirs = store._layout.encode(OTHER)
    rows.update_one({"_id": "sid"}, {"$set": {"_id": "sid", "session": theirs, "expires": DatetimeMS(NOW + HOUR)}})
    assert store.replace("sid", RECORD, HOUR, version=version) is CONFLICT
    assert store.regenerate("sid", "new", RECORD, HOUR, version=version, tombstone=0) is CONFLICT
    assert loaded(store).data == OTHER
    assert store.load("new") is None
    assert store.replace("sid", RECORD, HOUR, version=loaded(store).version)


@pytest.mark.parametrize("layout", ["connect-mongo", "connect-mongo-bson"])
def test_a_touch_by_express_in_between_is_no_conflict(layout: str, make: Callable[..., MongoStore], rows: Any):
    store = make(layout)
    version = store.create("sid", RECORD, HOUR)
    rows.update_one({"_id": "sid"}, {"$set": {"expires": DatetimeMS(NOW + 2 * HOUR), "lastModified": DatetimeMS(NOW)}})
    assert store.replace("sid", OTHER, HOUR, version=version)


def test_a_row_as_node_wrote_it_is_read_and_written(make: Callable[..., MongoStore], rows: Any):
    session = {
        **BSON_SESSION,
        "when": datetime(2026, 1, 2, 3, 4, 5, 6000, UTC),
        "$set": {"a.b": 1, "__proto__": {}},
        "nan": float("nan"),
    }
    rows.insert_one({"_id": "sid", "expires": DatetimeMS(NOW + HOUR), "session": session})
    store = make("connect-mongo-bson")
    found = loaded(store)
    assert json.loads(found.data) == {
        **json.loads(RECORD),
        "when": "2026-01-02T03:04:05.006Z",
        "$set": {"a.b": 1, "__proto__": {}},
        "nan": None,
    }
    assert store.replace("sid", found.data, HOUR, version=found.version)
    row = rows.find_one()["session"]
    assert row["$set"] == {"a.b": 1, "__proto__": {}} and row["cookie"] == BSON_SESSION["cookie"]


@pytest.mark.parametrize(
    ("layout", "session"),
    [
        ("connect-mongo", {"cookie": {}}),
        ("connect-mongo", None),
        ("connect-mongo-bson", "{}"),
        ("connect-mongo-bson", {"n": Int64(2**60)}),
        ("connect-mongo-bson", [1]),
    ],
)
def test_what_cannot_be_read_is_logged_and_no_record_and_can_be_deleted(
    layout: str,
    session: Any,
    make: Callable[..., MongoStore],
    rows: Any,
    caplog: pytest.LogCaptureFixture,
):
    store = make(layout)
    rows.insert_one({"_id": "the raw id", "expires": DatetimeMS(NOW + HOUR), "session": session})
    assert loaded(store, "the raw id")[::2] == (b"", HOUR)
    assert [key for key, _ in store.scan()] == ["the raw id"]
    assert "cannot be read" in caplog.text and "the raw id" not in caplog.text
    assert store.delete("the raw id").count == 1
    assert rows.find_one() is None


def test_documents_of_others_in_the_collection_are_passed_over(make: Callable[..., MongoStore], rows: Any):
    rows.insert_many([{"_id": 5, "session": "{}"}, {"_id": ObjectId(), "expires": DatetimeMS(NOW + HOUR)}])
    assert list(make().scan()) == []


# tombstones


def test_a_tombstone_keeps_its_successor_until_the_document_is_used_again(
    make: Callable[..., MongoStore], rows: Any, clock: ManualClock
):
    store = make()
    version = store.create("old", RECORD, HOUR, owner="ann")
    store.regenerate("old", "new", OTHER, 2 * HOUR, version=version, tombstone=HOUR, owner="ann")
    assert rows.count_documents({"successor": "new"}) == 1
    clock.advance(HOUR)
    store.create("old", RECORD, HOUR)
    version = store.create("other", RECORD, HOUR)
    assert store.regenerate("other", "third", RECORD, HOUR, version=version, tombstone=1)
    clock.advance(1)
    version = loaded(store, "third").version
    assert store.regenerate("third", "other", RECORD, HOUR, version=version, tombstone=0)
    assert rows.count_documents({"successor": {"$exists": True}}) == 0


def test_a_tombstone_of_an_older_version_has_no_successor(make: Callable[..., MongoStore], rows: Any):
    rows.insert_one({"_id": "old", "expires": DatetimeMS(NOW + HOUR), "sojourn": "replaced"})
    assert make().load("old") == Replaced(None)
    assert make().delete("old") == Deleted(0, ())


def test_a_field_of_that_name_in_the_documents_of_express_is_left_alone(
    make: Callable[..., MongoStore], rows: Any, clock: ManualClock
):
    store = make("connect-mongo")
    rows.insert_one({"_id": "sid", "expires": DatetimeMS(NOW + 1), "session": "{}", "successor": "theirs"})
    clock.advance(1)
    store.create("sid", RECORD, HOUR)
    assert rows.find_one({"_id": "sid"})["successor"] == "theirs"
    assert store.delete("sid", "none") == Deleted(1, ())


class Counting(monitoring.CommandListener):
    """Notes the commands that are sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.mark.parametrize("layout", ["native", "connect-mongo"])
def test_a_delete_takes_a_second_command_only_where_there_may_be_tombstones(
    layout: str, url: str, clock: ManualClock, rows: Any
):
    counting = Counting()
    with MongoClient[Any](url, event_listeners=[counting]) as counted:
        store = MongoStore(counted, layout=layout, create_index=False, clock=clock)
        for key in ("a", "b", "c"):
            store.create(key, RECORD, HOUR)
        counting.sent.clear()
        assert store.delete("a", "b", "a") == Deleted(2, ())
        assert counting.sent == ["delete"]
        assert store.delete("c", "none") == Deleted(1, ())
        assert counting.sent[1:] == (["delete", "find"] if layout == "native" else ["delete"])


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("live", "error"), [("a", StoreTimeout), ("none", StoreUnavailable)])
@pytest.mark.parametrize("kind", [MongoStore, AsyncMongoStore])
async def test_a_delete_that_cannot_look_for_tombstones_says_whether_anything_was_deleted(
    kind: Any, live: str, error: type[Exception], url: str, rows: Any
):
    made = kind.from_url(f"{url}&create_index=false")
    store = as_async(made) if kind is MongoStore else made
    await store.create("a", RECORD, HOUR)
    ((home, handles),) = made._homes.items()

    class Sessions:
        def __getattr__(self, name: str) -> Any:
            return getattr(handles.sessions, name)

        def find(self, *_args: Any, **_options: Any) -> Any:
            raise AutoReconnect("gone")

    made._homes[home] = handles._replace(sessions=Sessions())
    with pytest.raises(StoreError) as failed:
        await store.delete(live, "other")
    assert type(failed.value) is error and isinstance(failed.value.driver_error, AutoReconnect)
    await store.close()


def test_a_session_that_is_moved_while_it_is_deleted_is_found_under_its_new_key(
    make: Callable[..., MongoStore], monkeypatch: pytest.MonkeyPatch
):
    store, other = make(), make()
    version = store.create("old", RECORD, HOUR)

    def move() -> None:
        assert other.regenerate("old", "new", OTHER, HOUR, version=version, tombstone=HOUR)

    stop_before_write(monkeypatch, store, 1, move)
    assert store.delete("old") == Deleted(0, ("new",))


@pytest.mark.parametrize("step", [2, 3])
def test_a_session_that_is_deleted_while_it_is_moved_is_live_under_no_key(
    step: int, make: Callable[..., MongoStore], monkeypatch: pytest.MonkeyPatch
):
    store, other = make(), make()
    version = store.create("old", RECORD, HOUR)

    def log_out() -> None:
        successors = () if step == 2 else ("new",)
        assert other.delete("old") == Deleted(int(step == 2), successors)
        assert other.delete(*successors) == Deleted(len(successors), ())

    stop_before_write(monkeypatch, store, step, log_out)
    assert store.regenerate("old", "new", OTHER, HOUR, version=version, tombstone=HOUR) is MISSING
    assert (other.load("new"), other.count()) == (None, 0)


# indexes


def indexes(rows: Any) -> dict[str, Any]:
    return {
        name: {option: value for option, value in index.items() if option != "v"}
        for name, index in rows.index_information().items()
        if name != "_id_"
    }


TTL = {"key": [("expires", 1)], "expireAfterSeconds": 0}


def test_the_first_operation_creates_the_indexes_and_again_harmlessly(
    make: Callable[..., MongoStore], rows: Any, caplog: pytest.LogCaptureFixture
):
    expected = {"expires_1": TTL, "owner_1": {"key": [("owner", 1)], "sparse": True}}
    make(create_index=True).load("sid")
    assert indexes(rows) == expected
    store = make(create_index=True)
    store.open()
    store.open()
    assert indexes(rows) == expected
    assert not caplog.records


def test_the_index_of_connect_mongo_is_its_own(make: Callable[..., MongoStore], rows: Any):
    make("connect-mongo", create_index=True).open()
    assert indexes(rows) == {"expires_1": {**TTL, "background": True}}


def test_the_indexes_of_other_fields(make: Callable[..., MongoStore], rows: Any):
    make(MongoLayout.connect_mongodb_session(id_field="sid", expires_key="until"), create_index=True).open()
    assert indexes(rows) == {
        "until_1": {"key": [("until", 1)], "expireAfterSeconds": 0},
        "sid_1": {"key": [("sid", 1)], "unique": True},
    }


def test_the_collection_of_locks_has_an_index_once_there_are_locks(
    make: Callable[..., MongoStore], client: MongoClient[Any]
):
    store = make(create_index=True, clock=lambda: time.time_ns() // 1_000_000)
    token = store.lock("sid", HOUR)
    assert token is not None
    assert store.lock("sid", HOUR) is None
    assert indexes(client.get_default_database()["sessions_locks"]) == {"expires_1": TTL}
    assert store.unlock("sid", token) is True


def test_no_index_is_created_where_that_is_turned_off(make: Callable[..., MongoStore], rows: Any):
    store = make()
    store.create("sid", RECORD, HOUR)
    store.lock("sid", HOUR)
    assert indexes(rows) == {}


def test_an_index_with_other_options_is_left_with_one_warning(
    make: Callable[..., MongoStore],
    rows: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(logs, "_said", set())
    rows.create_index("expires", name="theirs", expireAfterSeconds=3600)
    for _ in range(2):
        store = make("connect-mongo", create_index=True)
        store.create("sid", RECORD, HOUR)
    assert indexes(rows) == {"theirs": {**TTL, "expireAfterSeconds": 3600}}
    (logged,) = caplog.records
    assert logged.levelno == logging.WARNING and "'theirs'" in logged.message and "expireAfterSeconds" in logged.message


def test_a_server_that_refuses_an_index_is_a_warning(
    make: Callable[..., MongoStore],
    rows: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(logs, "_said", set())
    rows.insert_many([{"sid": "twice"}, {"sid": "twice"}])
    store = make(MongoLayout.connect_mongodb_session(id_field="sid"), create_index=True)
    assert store.load("sid") is None
    (logged,) = caplog.records
    assert "code 11000" in logged.message


def test_the_server_removes_what_has_expired(client: MongoClient[Any], rows: Any):
    store = MongoStore(client)
    store.create("short", RECORD, 1)
    store.create("long", RECORD, HOUR)
    assert store.lock("lock", 1) is not None
    deadline = time.monotonic() + 90
    while rows.find_one({"_id": "short"}) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert rows.find_one({"_id": "long"}) is not None


# regenerate, stopped at each of its steps


class _StoppedError(Exception):
    pass


def stop_before_write(
    monkeypatch: pytest.MonkeyPatch, store: MongoStore, number: int, act: Callable[[], object]
) -> None:
    """Just before the store's write of this number, counted from 1, do something."""
    store.open()
    ((home, handles),) = store._homes.items()
    sessions, count = handles.sessions, 0

    class Sessions:
        def __getattr__(self, name: str) -> Any:
            method = getattr(sessions, name)
            if name not in {"update_one", "delete_one", "delete_many"}:
                return method

            def write(*args: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == number:
                    act()
                return method(*args, **options)

            return write

    stopping: Any = Sessions()
    monkeypatch.setitem(store._homes, home, handles._replace(sessions=stopping))


def stop() -> None:
    raise _StoppedError


@pytest.mark.parametrize("tombstone", [0, HOUR])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_regenerate_that_is_stopped_leaves_old_or_nothing_but_never_both(
    step: int,
    tombstone: int,
    make: Callable[..., MongoStore],
    rows: Any,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
):
    store, other = make(), make()
    version = store.create("old", RECORD, 2 * HOUR, owner="ann")
    stop_before_write(monkeypatch, store, step, stop)
    with pytest.raises(_StoppedError):
        store.regenerate("old", "new", OTHER, HOUR, version=version, tombstone=tombstone, owner="ann")
    ended = step == 3
    assert other.load("new") is None
    assert other.touch("new", HOUR) is False
    assert other.replace("new", RECORD, HOUR, version=OTHER.decode()) is MISSING
    assert other.load("old") == (
        (Replaced("new") if tombstone else None) if ended else Stored(RECORD, version, 2 * HOUR)
    )
    assert [key for key, _ in other.scan()] == ([] if ended else ["old"])
    assert other.count() == (0 if ended else 1)
    # again, as by a caller that finds out that it was not done
    result = other.regenerate("old", "newer", OTHER, HOUR, version=version, tombstone=tombstone, owner="ann")
    assert result is MISSING if ended else result
    # and the reservation does not last
    clock.advance(60_000)
    assert other.create("new", RECORD, HOUR)
    assert rows.count_documents({"sojourn": {"$nin": [None, "replaced"]}}) == 0


@pytest.mark.parametrize("ended", [False, True])
def test_a_regenerate_that_was_stopped_before_its_last_step_is_finished_by_the_next_try(
    ended: bool, make: Callable[..., MongoStore], monkeypatch: pytest.MonkeyPatch
):
    store, other = make(), make()
    version = store.create("old", RECORD, HOUR, owner="ann")
    given: dict[str, Any] = {"version": version, "tombstone": HOUR, "owner": "ann"}
    stop_before_write(monkeypatch, store, 3, stop)
    with pytest.raises(_StoppedError):
        store.regenerate("old", "new", OTHER, HOUR, **given)
    if ended:
        assert other.delete("new").count == 1
    assert other.regenerate("old", "new", OTHER, HOUR, **given) == (MISSING if ended else OTHER.decode())
    assert other.load("new") == (None if ended else Stored(OTHER, OTHER.decode(), HOUR))
    assert other.by_owner("ann") == ([] if ended else ["new"])


def test_a_session_under_way_to_its_new_key_can_be_ended_by_its_owner(
    make: Callable[..., MongoStore], monkeypatch: pytest.MonkeyPatch
):
    store, other = make(), make()
    version = store.create("old", RECORD, HOUR, owner="ann")

    def log_out_everywhere() -> None:
        assert other.by_owner("ann") == ["new"]
        assert other.delete("new").count == 1

    stop_before_write(monkeypatch, store, 3, log_out_everywhere)
    assert store.regenerate("old", "new", OTHER, HOUR, version=version, tombstone=HOUR, owner="ann") is MISSING
    assert other.load("new") is None
    assert other.load("old") is None  # as if it had been ended before: what is missing leaves no tombstone


@pytest.mark.parametrize("change", ["replace", "delete", "touch", "regenerate"])
def test_what_happens_to_the_old_session_meanwhile_is_seen(
    change: str, make: Callable[..., MongoStore], rows: Any, monkeypatch: pytest.MonkeyPatch
):
    store, other = make(), make()
    version = store.create("old", RECORD, HOUR)
    acts: dict[str, tuple[Callable[[], object], object]] = {
        "replace": (lambda: other.replace("old", OTHER, HOUR, version=version), CONFLICT),
        "delete": (lambda: other.delete("old"), MISSING),
        "touch": (lambda: other.touch("old", HOUR), OTHER.decode()),
        "regenerate": (
            lambda: other.regenerate("old", "other", OTHER, HOUR, version=version, tombstone=HOUR),
            MISSING,
        ),
    }
    act, expected = acts[change]
    stop_before_write(monkeypatch, store, 2, act)
    assert store.regenerate("old", "new", OTHER, HOUR, version=version, tombstone=HOUR) == expected
    assert (rows.find_one({"_id": "new"}) is not None) is (change == "touch")


def test_a_reservation_that_ran_out_is_not_released(
    make: Callable[..., MongoStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    store, other = make(), make()
    version = store.create("old", RECORD, HOUR)

    def take() -> None:
        clock.advance(60_000)
        assert other.create("new", RECORD, HOUR)

    stop_before_write(monkeypatch, store, 3, take)
    assert store.regenerate("old", "new", OTHER, HOUR, version=version, tombstone=0) is MISSING
    assert loaded(other, "new").data == RECORD


def test_a_reservation_that_ran_out_unnoticed_is_not_released_either(
    make: Callable[..., MongoStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    store, other = make(), make()
    version = store.create("old", RECORD, HOUR)
    stop_before_write(monkeypatch, store, 2, lambda: clock.advance(60_000))
    assert store.regenerate("old", "new", OTHER, HOUR, version=version, tombstone=0) is MISSING
    assert other.load("new") is None


def test_what_comes_back_to_life_while_the_expired_are_removed_stays(
    make: Callable[..., MongoStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    store, other = make(), make()
    store.create("sid", RECORD, 1000)
    store.create("gone", RECORD, 1000)
    clock.advance(1000)
    stop_before_write(monkeypatch, store, 1, lambda: other.create("sid", OTHER, HOUR))
    assert store.delete_expired() == 1
    assert loaded(other).data == OTHER


# many writers


def increment(store: MongoStore, times: int) -> int:
    conflicts = 0
    while times:
        found = loaded(store)
        number = json.loads(found.data)["n"]
        if store.replace("sid", RECORD.replace(b'"n":1', b'"n":%d' % (number + 1)), HOUR, version=found.version):
            times -= 1
        else:
            conflicts += 1
    return conflicts


@pytest.mark.parametrize("layout", ["native", "connect-mongo-bson"])
def test_threads_lose_no_update(layout: str, make: Callable[..., MongoStore]):
    store = make(layout)
    store.create("sid", RECORD, HOUR)
    with ThreadPoolExecutor(8) as pool:
        conflicts = sum(pool.map(lambda _: increment(store, 10), range(8)))
    assert json.loads(loaded(store).data)["n"] == 81
    assert conflicts


def _in_a_process(url: str) -> None:
    store = MongoStore.from_url(url)
    try:
        increment(store, 10)
    finally:
        store.close()


def test_processes_lose_no_update(url: str, client: MongoClient[Any]):
    store = MongoStore(client)
    store.create("sid", RECORD, HOUR)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_in_a_process, args=(url,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert json.loads(loaded(store).data)["n"] == 31


def test_of_many_regenerates_one_moves_the_session(make: Callable[..., MongoStore], rows: Any):
    store = make()
    version = store.create("old", RECORD, HOUR)
    with ThreadPoolExecutor(8) as pool:
        results = list(
            pool.map(
                lambda i: store.regenerate("old", f"new{i}", OTHER, HOUR, version=version, tombstone=HOUR), range(8)
            )
        )
    assert sum(map(bool, results)) == 1
    assert {result for result in results if not result} <= {MISSING, CONFLICT}
    assert store.count() == 1
    assert rows.count_documents({}) == 2  # the session, and the tombstone


# the client's life


def test_a_client_that_was_given_stays_open(client: MongoClient[Any], make: Callable[..., MongoStore]):
    store = make()
    store.create("sid", RECORD, HOUR)
    store.close()
    assert client.admin.command("ping")["ok"] == 1
    assert loaded(store).data == RECORD
    store.close()


def test_a_store_from_a_url_opens_again_after_it_was_closed(url: str):
    store = MongoStore.from_url(url)
    store.close()
    store.open()
    (made,) = store._homes.values()
    store.create("sid", RECORD, HOUR)
    store.close()
    store.close()
    assert loaded(store).data == RECORD
    (other,) = store._homes.values()
    assert other.sessions.database.client is not made.sessions.database.client
    store.close()


def test_the_same_in_the_other_colour(url: str):
    async def main() -> None:
        store = AsyncMongoStore.from_url(url)
        await store.create("sid", RECORD, HOUR)
        await store.close()
        found = await store.load("sid")
        assert isinstance(found, Stored) and found.data == RECORD
        await store.close()
        async with AsyncMongoClient[Any](url) as client:
            store = AsyncMongoStore(client)
            assert await store.delete("sid") == Deleted(1, ())
            await store.close()
            assert (await client.admin.command("ping"))["ok"] == 1

    asyncio.run(main())


def test_a_cancelled_call_leaves_the_store_usable(url: str):
    async def main() -> None:
        store = AsyncMongoStore.from_url(url)
        await store.create("sid", RECORD, HOUR)
        for number in range(30):
            task = asyncio.create_task(store.touch("sid", HOUR))
            await asyncio.sleep(number / 10_000)
            task.cancel()
            await asyncio.wait([task])
            found = await store.load("sid")
            assert isinstance(found, Stored) and found.data == RECORD
        await store.close()

    asyncio.run(main())


def test_a_scan_that_is_left_closes_its_cursor(url: str, make: Callable[..., MongoStore]):
    store = make(clock=lambda: time.time_ns() // 1_000_000)
    for number in range(300):
        store.create(str(number), RECORD, HOUR)

    async def main() -> None:
        other = AsyncMongoStore.from_url(url)
        scan = other.scan()
        async for _ in scan:
            break
        await scan.aclose()  # type: ignore[attr-defined]
        await other.close()

    asyncio.run(main())
    for _ in store.scan():
        break
    assert store.count() == 300
    assert store.clear() == 300


def test_the_clients_own_way_to_read_dates_does_not_matter(url: str):
    with MongoClient[Any](url, tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME) as client:
        store = MongoStore(client)
        store.create("sid", RECORD, HOUR)
        found = loaded(store)
        assert found.expires_in is not None and HOUR - 5000 < found.expires_in <= HOUR


@pytest.mark.parametrize(
    ("expires", "left"),
    [
        (DatetimeMS(NOW + HOUR), HOUR),
        (DatetimeMS(2**63 - 1), LONGEST_MS),
        ("tomorrow", None),
        (NOW + HOUR, None),
        (None, None),
        ([1], None),
        (float("inf"), None),
    ],
)
def test_an_expiry_of_any_type_is_one_that_ends_or_one_that_never_does(expires: Any, left: int | None):
    layout = MongoLayout.native()
    found = layout.found("sid", {"_id": "sid", "session": "{}", "expires": expires}, NOW)
    assert found == Stored(b"{}", "{}", left)


@pytest.mark.parametrize("successor", [None, 1, "", "x" * 5000, ["a"], {}])
def test_a_successor_that_is_no_key_leads_nowhere(make: Callable[..., MongoStore], rows: Any, successor: Any):
    store = make()
    rows.insert_one({"_id": "sid", "expires": DatetimeMS(NOW + HOUR), "sojourn": "replaced", "successor": successor})
    assert store.load("sid") == Replaced(None)
    assert store.delete("sid") == Deleted(0, ())


def test_a_list_of_keys_in_the_place_of_one_is_nobodys(make: Callable[..., MongoStore], rows: Any):
    store = make(MongoLayout.connect_mongodb_session(id_field="sid"))
    rows.insert_one({"sid": ["a", "b"], "session": {}, "expires": DatetimeMS(NOW + HOUR)})
    assert store.load("a") is None
    assert list(store.scan()) == []
    rows.insert_one({"sid": "c", "session": {"cookie": {}}, "expires": DatetimeMS(NOW + HOUR)})
    assert [key for key, _ in store.scan()] == ["c"]


def test_a_key_that_is_no_text_is_nobodys(make: Callable[..., MongoStore], rows: Any):
    store = make()
    for key in (1, ObjectId(), {"a": 1}, "a"):
        rows.insert_one({"_id": key, "session": "{}", "expires": DatetimeMS(NOW + HOUR), "owner": "ann"})
    assert [key for key, _ in store.scan()] == store.by_owner("ann") == ["a"]


def test_a_document_that_is_no_bson_is_nobodys():
    broken = RawBSONDocument(encode({"_id": "no UTF-8"}).replace(b"8", b"\xff"))
    assert MongoLayout.native().key_of(broken) is None  # type: ignore[arg-type]
