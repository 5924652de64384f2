"""A stored session as it was when it was read, each value decoded when it is asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from sojourn.clock import from_ms
from sojourn.codecs import JSONCodec, Members, split
from sojourn.core.record import Login, Record
from sojourn.core.views import SessionView
from tests.core.making import DAY, NOW

UNREADABLE = [b"1e400", b"9" * 5000, b"[" * 100_000 + b"]" * 100_000]


class Spy(JSONCodec):
    """Notes what is decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[bytes] = []

    def decode(self, text: bytes, /) -> Any:
        self.decoded.append(text)
        return super().decode(text)


def view(data: bytes | Members, codec: JSONCodec | None = None) -> SessionView:
    members = split(data) if isinstance(data, bytes) else data
    return SessionView(
        "the-key-of-a-session", Record(members, b"{}", NOW, Login("ann", NOW, sid="s")), codec or JSONCodec(), NOW + DAY
    )


def test_a_value_is_decoded_when_it_is_asked_for_and_once():
    spy = Spy()
    seen = view(b'{"a":{"$set":[1]},"b":[2],"c":3}', spy)
    assert len(seen) == 3 and "a" in seen and "d" not in seen and seen.get("d") is None
    assert (seen.owner, seen.created_at, seen.expires_at) == ("ann", from_ms(NOW), from_ms(NOW + DAY))
    assert (seen.authenticated_at, seen.sid) == (from_ms(NOW), "s")
    assert not spy.decoded
    assert seen["a"] == {1} and seen["a"] is seen["a"] and seen.get("b") == [2]
    assert spy.decoded == [b'{"$set":[1]}', b"[2]"]
    assert list(seen) == ["a", "b", "c"] and dict(seen) == seen.data == {"a": {1}, "b": [2], "c": 3}
    assert spy.decoded == [b'{"$set":[1]}', b"[2]", b"3"]


def test_copies_and_unions_of_a_view_are_dicts_and_json_says_how_to_make_one():
    seen = view(b'{"a":{"$set":[1]},"b":2}')
    assert seen.copy() == {"a": {1}, "b": 2} == seen | {} == {} | seen
    assert {type(seen.copy()), type(seen | {}), type({} | seen)} == {dict}
    with pytest.raises(TypeError, match=r"SessionView \(write dict\(view\)\)"):
        json.dumps(seen)


def test_what_is_unknown_of_it_is_none():
    seen = SessionView("key", Record({}, b"{}"), JSONCodec(), None)
    assert (seen.owner, seen.created_at, seen.expires_at) == (None, None, None)
    assert (seen.authenticated_at, seen.sid) == (None, None)
    assert dict(seen) == {} and seen.data == {} and not seen


def test_reading_a_view_changes_nothing_of_the_record():
    members = {"a": Raw(b"[1]")}
    view(members)["a"].append(2)
    assert members == {"a": Raw(b"[1]")}


ASKS: list[Callable[[SessionView], object]] = [
    lambda seen: seen.get("bad"),
    lambda seen: seen.data,
    list,
    dict,
    lambda seen: list(seen.items()),
    lambda seen: list(seen.values()),
]


@pytest.mark.parametrize("text", UNREADABLE)
@pytest.mark.parametrize("ask", ASKS)
def test_where_a_value_cannot_be_read_the_view_is_empty_once_it_is_asked_for(ask, text, caplog):
    seen = view(b'{"a":"hunter2","bad":%b,"b":1}' % text)
    assert seen["a"] == "hunter2" and seen["b"] == 1 and "bad" in seen and len(seen) == 3
    assert not caplog.records
    assert not ask(seen)
    assert len(seen) == 0 and dict(seen) == {} and seen.data == {} and "a" not in seen
    with pytest.raises(KeyError):
        seen["a"]
    (line,) = caplog.records
    assert line.levelno == logging.ERROR and "has a value that cannot be read" in line.getMessage()
    assert "the-key" not in line.getMessage() and "hunter2" not in line.getMessage()


def test_where_a_value_cannot_be_read_asking_for_it_by_name_is_a_key_error(caplog):
    seen = view(b'{"bad":1e400}')
    with pytest.raises(KeyError, match="bad") as caught:
        seen["bad"]
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert len(caplog.records) == 1
