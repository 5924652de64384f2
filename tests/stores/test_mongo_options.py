"""The options of the MongoDB stores, and what they make of PyMongo's errors; without a server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from bson.errors import InvalidDocument
from pymongo import AsyncMongoClient, MongoClient, ReadPreference
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from sojourn import ConfigurationError, SessionEncodeError, SessionTooLarge, StoreTimeout, StoreUnavailable
from sojourn.clock import DAY_MS
from sojourn.stores.mongo._async.store import AsyncMongoStore
from sojourn.stores.mongo._errors import reading, writing
from sojourn.stores.mongo._layout import MongoLayout, layout_of
from sojourn.stores.mongo._sync.store import MongoStore
from sojourn.stores.mongo._url import connect, parse_url

NOWHERE = "mongodb://user:secret@127.0.0.1:1/app"


def unconnected(**options: Any) -> MongoClient[Any]:
    return MongoClient("mongodb://127.0.0.1:1/", connect=False, **options)


def no_client() -> Any:
    raise AssertionError("no client is made before it is needed")


# URLs


def test_a_url_gives_the_stores_options_and_passes_the_drivers():
    rest, options = parse_url(
        "mongodb://a:1,b:2/app?w=majority&collection=s+1&layout=connect-mongo&timestamps=true&appName=x%26y"
        "&max_size=2048&create_index=false"
    )
    assert rest == "mongodb://a:1,b:2/app?w=majority&appName=x%26y"
    assert options == {
        "collection": "s 1",
        "layout": MongoLayout.connect_mongo(timestamps=True),
        "max_size": 2048,
        "create_index": False,
    }


def test_a_url_names_the_fields_of_connect_mongodb_session():
    _, options = parse_url("mongodb://h/?layout=connect-mongodb-session&id_field=sid&expires_key=until")
    assert options["layout"] == MongoLayout.connect_mongodb_session(id_field="sid", expires_key="until")


def test_a_url_without_options_is_passed_as_it_is():
    assert parse_url(NOWHERE) == (NOWHERE, {"layout": MongoLayout.native()})


def test_an_srv_url_is_not_looked_up_before_it_is_needed():
    assert parse_url("mongodb+srv://nowhere.invalid/app")[0] == "mongodb+srv://nowhere.invalid/app"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h/", "scheme 'redis'"),
        ("mongodb://u:secret@h/app?colection=x", "option 'colection'"),
        ("mongodb://u:secret@h/app?socketTimeoutMS=soon", "option 'socketTimeoutMS'"),
        ("mongodb://u:secret@h/app?tlsCAFile=/nowhere/at/all", "option 'tlsCAFile'"),
        ("mongodb://u:secret@h/app?wut", "option 'wut'"),
        ("mongodb://h/app?create_index=yes", "'yes'"),
        ("mongodb://h/app?timestamps=1", "'1'"),
        ("mongodb://h/app?max_size=1k", "'1k'"),
        ("mongodb://h/app?max_size=-1", "'-1'"),
        ("mongodb://h/app?layout=express", "native, connect-mongo, connect-mongo-bson, connect-mongodb-session"),
        ("mongodb://h/app?id_field=", "id_field"),
        ("mongodb://u:secret@more@h/app", "percent-encoded"),
        ("mongodb://u:secret@h:99999/app", "percent-encoded"),
        ("mongodb://", "percent-encoded"),
    ],
)
def test_a_wrong_url_is_refused_by_what_is_wrong_and_not_quoted(url: str, says: str):
    with pytest.raises(ConfigurationError) as refused:
        MongoStore.from_url(url)
    assert says in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_url_bounds_every_wait_and_never_resends():
    client = connect(unconnected_to, "mongodb://127.0.0.1:1/?retryWrites=true&connectTimeoutMS=70")
    options = client.options
    assert options.retry_writes is False
    assert options.server_selection_timeout == 5
    assert options.pool_options.connect_timeout == 0.07
    assert options.pool_options.socket_timeout == 5
    assert options.pool_options.wait_queue_timeout == 5


def test_a_total_timeout_in_a_url_takes_the_place_of_all_others():
    options = connect(unconnected_to, "mongodb://127.0.0.1:1/?timeoutMS=70").options
    assert options.timeout == 0.07
    assert options.pool_options.socket_timeout is None


def unconnected_to(url: str, **options: Any) -> MongoClient[Any]:
    return MongoClient(url, connect=False, **options)


def test_a_store_shows_neither_address_nor_password():
    assert repr(MongoStore.from_url(NOWHERE)) == "MongoStore(collection='sessions', layout='native')"
    assert repr(AsyncMongoStore.from_url(NOWHERE)) == "AsyncMongoStore(collection='sessions', layout='native')"


# arguments


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"database": ""}, "database"),
        ({"database": 1}, "database"),
        ({"collection": ""}, "collection"),
        ({"collection": None}, "collection"),
        ({"collection": "a$b"}, "collection"),
        ({"database": "a.b"}, "database"),
        ({"layout": None}, "layout"),
        ({"create_index": 1}, "create_index"),
        ({"read_preference": "secondary"}, "read_preference"),
        ({"max_size": 0}, "max_size"),
        ({"max_size": True}, "max_size"),
        ({"max_size": 8 * 1024 * 1024}, "max_size"),
        ({"clock": 5}, "clock"),
    ],
)
def test_an_argument_that_is_none_is_refused_by_its_name(options: dict[str, Any], option: str):
    with unconnected() as client, pytest.raises(ConfigurationError) as refused:
        MongoStore(client, **options)
    assert option in refused.value.option


def test_a_client_of_the_other_colour_is_refused():
    with unconnected() as client, pytest.raises(ConfigurationError, match="AsyncMongoClient"):
        AsyncMongoStore(client)  # type: ignore[arg-type]
    asynchronous: Any = AsyncMongoClient("mongodb://127.0.0.1:1/", connect=False)
    with pytest.raises(ConfigurationError, match="give pymongo's MongoClient"):
        MongoStore(asynchronous)
    asyncio.run(asynchronous.close())


@pytest.mark.parametrize("given", [None, "mongodb://h/", 5, object()])
def test_what_is_no_client_is_refused(given: Any):
    with pytest.raises(ConfigurationError, match="client"):
        MongoStore(given)


def test_a_database_is_no_client():
    with unconnected() as client, pytest.raises(ConfigurationError, match="got Database"):
        MongoStore(client["app"])  # type: ignore[arg-type]


def test_unacknowledged_writes_are_refused():
    with unconnected(w=0) as client, pytest.raises(ConfigurationError, match="w=0"):
        MongoStore(client)


@pytest.mark.parametrize(
    ("query", "options", "refused"),
    [
        ("w=0", {}, "w=0"),
        ("", {"collection": "a$b"}, "collection"),
        ("", {"read_preference": "secondary"}, "read_preference"),
    ],
)
def test_the_async_store_refuses_the_same(query: str, options: dict[str, Any], refused: str):
    asynchronous: Any = AsyncMongoClient(f"mongodb://127.0.0.1:1/?{query}", connect=False)
    with pytest.raises(ConfigurationError, match=refused):
        AsyncMongoStore(asynchronous, **options)
    with pytest.raises(ConfigurationError, match="client"):
        AsyncMongoStore(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="client"):
        asyncio.run(AsyncMongoStore(partial(object)).open())  # type: ignore[arg-type]
    asyncio.run(asynchronous.close())


def test_the_database_is_the_named_one_or_that_of_the_url_or_test():
    with unconnected() as client:
        assert MongoStore(client, database="a", create_index=False)._open().sessions.full_name == "a.sessions"
        assert MongoStore(client, create_index=False)._open().sessions.full_name == "test.sessions"
    with MongoClient[Any]("mongodb://127.0.0.1:1/app", connect=False) as client:
        assert MongoStore(client, create_index=False)._open().sessions.full_name == "app.sessions"


def test_reads_ask_the_primary_whatever_the_client_prefers_unless_the_store_is_told():
    with unconnected(readPreference="secondary") as client:
        handles = MongoStore(client, create_index=False)._open()
        assert handles.reader.read_preference == handles.sessions.read_preference == ReadPreference.PRIMARY
        handles = MongoStore(client, read_preference=ReadPreference.NEAREST, create_index=False)._open()
        assert handles.reader.read_preference == ReadPreference.NEAREST
        assert handles.sessions.read_preference == handles.locks.read_preference == ReadPreference.PRIMARY


def test_the_clients_write_concern_is_kept():
    with unconnected(w="majority", wTimeoutMS=5) as client:
        handles = MongoStore(client, create_index=False)._open()
        assert handles.sessions.write_concern.document == {"w": "majority", "wtimeout": 5}


def test_express_sessions_last_fourteen_days_and_ours_one():
    assert MongoStore(no_client, layout="native").default_ttl == DAY_MS
    for layout in ("connect-mongo", "connect-mongo-bson", "connect-mongodb-session"):
        assert MongoStore(no_client, layout=layout).default_ttl == 14 * DAY_MS


@pytest.mark.parametrize(
    "field", ["", "$id", "a.b", "a\0", "session", "owner", "sojourn", "createdAt", "expires", None]
)
def test_a_field_that_cannot_be_the_id_is_refused(field: Any):
    with pytest.raises(ConfigurationError, match=r"id_field|expires_key"):
        MongoLayout.connect_mongodb_session(id_field=field)


def test_a_layout_is_known_by_its_name():
    for layout in (
        MongoLayout.native(),
        MongoLayout.connect_mongo(),
        MongoLayout.connect_mongo(stringify=False),
        MongoLayout.connect_mongodb_session(),
    ):
        assert layout_of(layout.name) == layout == layout_of(layout)


# records that are refused before anything is sent


@pytest.mark.parametrize("layout", ["native", "connect-mongo-bson"])
def test_a_record_beyond_max_size_is_refused_unsent(layout: str):
    store = MongoStore(no_client, max_size=10, layout=layout)
    for write in writes(store, b'{"a":"2345"}'):
        with pytest.raises(SessionTooLarge) as refused:
            write()
        assert (refused.value.size, refused.value.limit) == (12, 10)


def test_a_record_that_is_too_large_in_bson_alone_is_refused_unsent():
    store = MongoStore(no_client, max_size=4 * 1024 * 1024, layout="connect-mongo-bson")
    for write in writes(store, b'{"a":[' + b"0," * 1_000_000 + b"0]}"):
        with pytest.raises(SessionTooLarge) as refused:
            write()
        assert refused.value.size > refused.value.limit == 7 * 1024 * 1024


@pytest.mark.parametrize("stringify", [True, False])
def test_the_name_of_connect_mongos_date_is_refused_as_data_where_it_writes_that(stringify: bool):
    taken, nested = b'{"cookie":{},"lastModified":"x"}', b'{"cookie":{},"n":{"lastModified":"lastModified"}}'
    layout = MongoLayout.connect_mongo(stringify=stringify, last_modified=True)
    with pytest.raises(SessionEncodeError, match=r"^session value at lastModified: connect-mongo's touchAfter"):
        layout.encode(taken)
    assert layout.encode(nested)
    assert layout.encode(b'"sj1.lastModified"') if stringify else True
    assert MongoLayout.connect_mongo(stringify=stringify).encode(taken)


def test_a_record_that_is_no_text_is_refused_unsent():
    for write in writes(MongoStore(no_client), b"\xff"):
        with pytest.raises(SessionEncodeError, match="not UTF-8"):
            write()


def writes(store: MongoStore, data: bytes) -> list[Callable[[], object]]:
    return [
        lambda: store.create("k", data, 1000),
        lambda: store.replace("k", data, 1000, version="v"),
        lambda: store.regenerate("k", "l", data, 1000, version="v", tombstone=0),
    ]


# errors


def refused(code: int, kind: type[Exception] = OperationFailure) -> Exception:
    details = {"ok": 0.0, "code": code, "errmsg": "not shown", "keyValue": {"_id": "not shown"}}
    if kind is NotPrimaryError:
        return NotPrimaryError("not shown", details)
    return kind("not shown", code, details)


def lost(cause: Exception) -> AutoReconnect:
    error = AutoReconnect("not shown")
    error.__cause__ = cause
    return error


CERTAIN = [
    ServerSelectionTimeoutError("not shown"),
    WaitQueueTimeoutError("not shown"),
    InvalidOperation("not shown"),
    InvalidDocument("not shown"),
    lost(ConnectionRefusedError()),
    refused(10107, NotPrimaryError),
    refused(13435, NotPrimaryError),
    refused(13436, NotPrimaryError),
    refused(13),
    refused(18),
    refused(112),
    refused(121),
    refused(11000, DuplicateKeyError),
]
UNCERTAIN = [
    PyMongoError("not shown"),
    NetworkTimeout("not shown"),
    ConnectionFailure("not shown"),
    AutoReconnect("not shown"),
    lost(ConnectionResetError()),
    NotPrimaryError("not shown"),
    refused(189, NotPrimaryError),
    refused(11600, NotPrimaryError),
    refused(11602, NotPrimaryError),
    refused(91, NotPrimaryError),
    refused(50, ExecutionTimeout),
    refused(262),
    refused(11601),
    refused(64, WTimeoutError),
    refused(91, WriteConcernError),
    refused(79, WriteConcernError),
]


@pytest.mark.parametrize("error", CERTAIN, ids=repr)
def test_a_write_that_was_certainly_not_done_is_unavailable(error: Exception):
    with pytest.raises(StoreUnavailable) as raised, writing(resends=False)():
        raise error
    assert raised.value.driver_error is error
    assert raised.value.__cause__ is None and raised.value.__context__ is None
    assert "not shown" not in str(raised.value)


@pytest.mark.parametrize("error", UNCERTAIN, ids=repr)
def test_a_write_that_may_have_been_done_is_a_timeout(error: Exception):
    with pytest.raises(StoreTimeout) as raised, writing(resends=False)():
        raise error
    assert raised.value.driver_error is error
    assert raised.value.__cause__ is None and raised.value.__context__ is None
    assert "not shown" not in str(raised.value)


@pytest.mark.parametrize("error", [*CERTAIN, *UNCERTAIN], ids=repr)
def test_where_the_client_resends_only_what_it_never_sent_was_certainly_not_done(error: Exception):
    never_sent = isinstance(error, ServerSelectionTimeoutError | InvalidOperation | InvalidDocument)
    with pytest.raises(StoreUnavailable if never_sent else StoreTimeout), writing(resends=True)():
        raise error


@pytest.mark.parametrize("error", [*CERTAIN, *UNCERTAIN], ids=repr)
def test_of_several_documents_some_may_have_been_written_before_one_was_refused(error: Exception):
    in_part = isinstance(error, NotPrimaryError | OperationFailure)
    expected = StoreTimeout if in_part or error in UNCERTAIN else StoreUnavailable
    with pytest.raises(expected), writing(resends=False)(several=True):
        raise error


@pytest.mark.parametrize("error", [*CERTAIN, *UNCERTAIN], ids=repr)
def test_a_read_that_fails_is_unavailable_whatever_it_was(error: Exception):
    with pytest.raises(StoreUnavailable) as raised, reading():
        raise error
    assert raised.value.driver_error is error
    assert raised.value.__cause__ is None and raised.value.__context__ is None


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError), writing(resends=False)():
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError), reading():
        _ = 1 / 0


def test_a_server_that_is_not_there_is_unavailable():
    store = MongoStore.from_url(
        "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50&connectTimeoutMS=50&create_index=false"
    )
    try:
        with pytest.raises(StoreUnavailable):
            store.load("k")
        with pytest.raises(StoreUnavailable):
            store.create("k", b"{}", 1000)
    finally:
        store.close()


def test_an_srv_name_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> Any:
        raise ServerSelectionTimeoutError("no such name")

    with pytest.raises(StoreUnavailable):
        MongoStore(fail).open()


def test_a_function_that_makes_something_else_is_told_so():
    with pytest.raises(ConfigurationError, match="client"):
        MongoStore(lambda: "no client").open()  # type: ignore[arg-type, return-value]


def test_under_trio_the_async_store_is_refused_when_it_is_made_and_when_it_is_used():
    store = AsyncMongoStore.from_url(NOWHERE)
    with pytest.raises(ConfigurationError, match="AsyncMongoStore outside asyncio"):
        trio.run(store.open)
    with pytest.raises(ConfigurationError, match="AsyncMongoStore outside asyncio"):
        trio.run(store.load, "key")

    async def make() -> None:
        AsyncMongoStore.from_url(NOWHERE)

    with pytest.raises(ConfigurationError, match="AsyncMongoStore outside asyncio"):
        trio.run(make)


@pytest.mark.parametrize("colour", ["_async", "_sync"])
def test_without_the_driver_the_import_says_what_to_install(colour: str):
    code = f"import sys; sys.modules['pymongo'] = None; import sojourn.stores.mongo.{colour}.store"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert 'pip install "sojourn[mongo]"' in result.stderr.splitlines()[-1]
