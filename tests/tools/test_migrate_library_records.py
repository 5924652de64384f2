"""What other libraries' records are read as, what is refused, and which URLs name them. Without a server."""

from __future__ import annotations

import builtins
import json
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from markupsafe import Markup

from sojourn import ConfigurationError, EncryptedCodec, SessionDecodeError, SessionEncodeError
from sojourn.cli import main
from sojourn.core.record import unpack
from sojourn.ids import hash_id
from sojourn.migrate import migrate
from sojourn.migrate.endpoints import key_rule, source_endpoint, target_endpoint
from sojourn.migrate.library_records import LIBRARIES, LibraryCodec
from sojourn.stores import MemoryStore

FLASK = LIBRARIES["flask-session"]
STAR = LIBRARIES["starsessions"]
AIOHTTP = LIBRARIES["aiohttp-session"]
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def read(stored: bytes, library: Any = FLASK, *, pickles: bool = True) -> dict[str, Any]:
    codec = LibraryCodec(library, pickles=pickles)
    text = codec.unseal(stored, "a key")
    assert text == codec.unseal(stored, "a key"), "the same each time, by which a later run knows it"
    return {name: codec.decode(bytes(value)) for name, value in unpack(text).data.items()}


@pytest.mark.parametrize("write", [msgspec.msgpack.encode, lambda data: json.dumps(data).encode(), pickle.dumps])
@pytest.mark.parametrize(
    "data",
    [
        {},
        {"n": 1, "text": "é", "list": [1.5, None, True]},
        {"$date": {"$date": "no tag of ours"}},
        {f"key {n}": n for n in range(100)},
        {"x": "y" * 70_000},
    ],
)
def test_a_record_s_form_is_told_by_its_beginning(write: Callable[[Any], bytes], data: dict[str, Any]) -> None:
    assert read(write(data)) == data


def test_what_msgpack_and_pickles_hold_beyond_json_is_kept_and_keys_that_are_numbers_become_text() -> None:
    packed = {"at": NOW, "bytes": b"\0", 5: {1: 2}}
    assert read(msgspec.msgpack.encode(packed)) == {"at": NOW, "bytes": b"\0", "5": {"1": 2}}
    pickled = {
        "at": NOW,
        "day": date(2026, 11, 29),
        "for": timedelta(1),
        "uuid": UUID(int=5),
        "price": Decimal("1.50"),
        "set": {1},
        "pair": (1, 2),
        "markup": Markup("<b>"),
        "default": defaultdict(list, a=[1]),
        "ordered": OrderedDict(b=1, a=2),
    }
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        assert read(pickle.dumps(pickled, protocol)) == pickled


class Calling:
    """A pickle that calls something when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [exec, builtins.getattr, __import__, Path.touch, pickle.loads])
def test_a_pickle_calls_nothing(function: Callable[..., Any], tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    stored = pickle.dumps({"n": 1, "x": Calling(function, f"open({str(witness)!r}, 'w')")})
    with pytest.raises(SessionDecodeError, match="objects of other classes"):
        read(stored)
    assert not witness.exists()


def test_pickles_are_not_read_unless_told_to() -> None:
    with pytest.raises(
        SessionDecodeError, match="the record is a pickle; these are read only where they are asked for"
    ):
        read(pickle.dumps({"n": 1}), pickles=False)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"", "the record cannot be read"),
        (b"{", "the record cannot be read"),
        (b"{]", "the record cannot be read"),
        (b"\x80\x04", "the record cannot be read"),
        (b"\x81\xa1\xff\x01", "the record cannot be read"),
        (b"\x83", "the record cannot be read"),
        (msgspec.msgpack.encode([1]), "the record is no dict"),
        (b'"text"', "the record"),
        (pickle.dumps([1]), "the record is no dict"),
        (b'{"a":' * 200_000, "the record is nested too deep"),
    ],
)
def test_what_cannot_be_read_is_refused(stored: bytes, reason: str) -> None:
    with pytest.raises(SessionDecodeError, match=reason):
        read(stored)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"cookie": 1}, "cookie"),
        ({"__sojourn__": 1}, "__sojourn__"),
        ({"a": {"b": msgspec.msgpack.Ext(5, b"")}}, "a.b"),
    ],
)
def test_what_no_session_of_ours_holds_is_refused(data: dict[str, Any], path: str) -> None:
    with pytest.raises(SessionEncodeError) as caught:
        read(msgspec.msgpack.encode(data))
    assert caught.value.path == path


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(SessionEncodeError, match="a value's name is of type tuple"):
        read(pickle.dumps({(1, 2): 3}))


@pytest.mark.parametrize(
    ("metadata", "created"),
    [
        ({"created": 1_700_000_000.5, "lifetime": 60, "last_access": 1_700_000_001}, 1_700_000_000_500),
        ({"created": "yesterday"}, None),
        ({"created": 0}, None),
        ({"created": 1e300}, None),
        ({}, None),
        ("no dict", None),
    ],
)
def test_starsessions_says_when_a_session_began(metadata: Any, created: int | None) -> None:
    stored = json.dumps({"n": 1, "__metadata__": metadata}).encode()
    record = unpack(LibraryCodec(STAR).unseal(stored, "a key"))
    assert record.created == created
    assert list(record.data) == ["n"]
    assert read(stored, FLASK) == {"n": 1, "__metadata__": metadata}, "to others it is a value as any"


@pytest.mark.parametrize(
    ("record", "created"),
    [
        ({"created": 1_700_000_000, "session": {"n": 1}}, 1_700_000_000_000),
        ({"session": {"n": 1}}, None),
        ({"created": None, "session": {"n": 1}}, None),
    ],
)
def test_aiohttp_session_keeps_the_data_beside_the_time_of_the_last_change(record: Any, created: int | None) -> None:
    stored = json.dumps(record).encode()
    assert unpack(LibraryCodec(AIOHTTP).unseal(stored, "a key")).created == created
    assert read(stored, AIOHTTP) == {"n": 1}


@pytest.mark.parametrize("stored", [b"{}", b'{"created": 1}', b'{"created": 1, "session": []}'])
def test_a_record_of_aiohttp_session_without_data_is_refused(stored: bytes) -> None:
    with pytest.raises(SessionDecodeError, match="the record has no 'session'"):
        read(stored, AIOHTTP)


# -- the URLs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@cache.example/1?layout=flask-session", "cache.example/1 <flask-session 'session:'>"),
        ("redis://h/0?layout=starsessions&prefix=s%2B.", "h/0 <starsessions 's+.'>"),
        ("redis://h/0?layout=aiohttp-session", "h/0 <aiohttp-session 'AIOHTTP_SESSION_'>"),
        ("mongodb://u:secret@db.example/app?layout=flask-session&prefix=", "db.example/app <flask-session ''>"),
        ("postgresql+psycopg://u:secret@h/app?layout=flask-session", "h/app <flask-session 'session:'>"),
        ("redis://u:secret@h/0?layout=litestar", "h/0 <litestar 'LITESTAR:'>"),
        ("file:///srv/sessions?layout=litestar", "/srv/sessions <litestar in files>"),
    ],
)
def test_a_url_names_a_library_s_records_and_shows_no_password(url: str, shown: str) -> None:
    endpoint = source_endpoint(url, None)
    assert endpoint.place == shown
    assert endpoint.is_library
    endpoint.store.close()


@pytest.mark.parametrize(
    ("url", "codec", "given"),
    [
        ("postgresql://h/app?layout=starsessions", None, "a URL of scheme 'postgresql'"),
        ("mongodb://h/app?layout=starsessions", None, "a URL of scheme 'mongodb'"),
        ("sqlite:///x.db?layout=aiohttp-session", None, "a URL of scheme 'sqlite'"),
        ("postgresql://h/app?layout=litestar", None, "a URL of scheme 'postgresql'"),
        ("file:///srv/sessions?layout=starsessions", None, "a URL of scheme 'file'"),
        ("nothing://h/app?layout=flask-session", None, "a URL that SQLAlchemy refuses"),
        ("mysql+pymysql://h/app?layout=flask-session", None, "a URL for the driver pymysql"),
        ("redis://h?layout=flask-session", "json", "a codec for flask-session"),
        ("redis://h?layout=flask-session", EncryptedCodec("k" * 43), "a codec for flask-session"),
        ("redis://h?layout=flask-session&tables=t", None, "option 'tables'"),
        ("sqlite:////nowhere/at/all.db?layout=flask-session", None, "a SQLite file that does not exist"),
    ],
)
def test_what_is_not_right_is_refused(url: str, codec: Any, given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        source_endpoint(url, codec)
    assert caught.value.given == given


def test_without_sqlalchemy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(ImportError, match="pip install sqlalchemy"):
        source_endpoint("sqlite:///x.db?layout=flask-session", None)


@pytest.mark.parametrize("layout", ["flask-session", "starsessions", "aiohttp-session", "litestar"])
def test_nothing_is_written_for_another_library(layout: str) -> None:
    with pytest.raises(ConfigurationError):
        migrate(MemoryStore(), f"redis://h?layout={layout}")


def test_ids_are_hashed_unless_they_are_to_be_kept() -> None:
    source = source_endpoint("redis://h?layout=flask-session", None)
    ours = target_endpoint("sqlite:///x.db", None, dry_run=False)
    express = target_endpoint("redis://h?layout=connect-redis", None, dry_run=False)
    assert key_rule(source, ours, None)("flask-session:x") == hash_id("flask-session:x")
    assert key_rule(source, ours, True)("flask-session:x") == hash_id("flask-session:x")
    assert key_rule(source, ours, False)("flask-session:x") == "flask-session:x"
    assert key_rule(source, express, False)("flask-session:x") == "flask-session:x"
    with pytest.raises(ConfigurationError):
        key_rule(source, express, None)


def test_the_command_refuses_keys_for_a_library_s_pickles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYS", "k" * 43)
    url = "redis://h?layout=flask-session"
    arguments = ["migrate", url, "sqlite:///x.db", "--source-codec", "pickle", "--source-key-env", "KEYS"]
    assert main(arguments) == 2
    assert "--source-key-env: got keys, for another library's records; leave them out" in capsys.readouterr().err
