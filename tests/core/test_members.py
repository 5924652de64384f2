"""A JSON object as its members, each still text: the quick way and the slow one accept the same, and what JSON readers accept."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sojourn.codecs import dumps, join, loads, split
from sojourn.codecs.members import Members, _walk
from sojourn.errors import SessionDecodeError


def walk(text: bytes) -> Members:
    """The slow way, as `split` takes it: text that is no UTF-8 does not come to it."""
    try:
        text.decode()
    except UnicodeDecodeError:
        raise SessionDecodeError("the record is not valid JSON") from None
    return _walk(text)


WAYS = [split, walk]

characters = st.characters(exclude_categories=())
texts = st.text(characters, max_size=6)
names = st.sampled_from(["a", "b", "", "cookie", "é", "\ud800", "\U0001f36a"]) | texts
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values: Any = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3), max_leaves=12
)
spaces = st.text(" \t\r\n", max_size=2)


def written(value: Any, *, ascii_only: bool = False) -> str:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
    return text.encode(errors="backslashreplace").decode()


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    """An object's text, with spaces and escapes at will and names twice, and the names and texts of its members."""
    members, parts = [], []
    for name in draw(st.lists(names, max_size=5)):
        escaped = written(name, ascii_only=draw(st.booleans()))
        if draw(st.booleans()):
            value = json.dumps(draw(values), indent=draw(st.sampled_from([None, 1])))
        else:
            value = written(draw(values))
        before, between, behind, after = (draw(spaces) for _ in range(4))
        members.append((json.loads(escaped), value))
        parts.append(f"{before}{escaped}{between}:{behind}{value}{after}")
    text = draw(spaces) + "{" + (",".join(parts) or draw(spaces)) + "}" + draw(spaces)
    return text.encode(), members


def read(way: Callable[[bytes], Members], text: bytes) -> dict[str, bytes] | None:
    try:
        return {name: bytes(value) for name, value in way(text).items()}
    except SessionDecodeError:
        return None


def strictly(text: bytes) -> Any:
    """As the standard library reads it, which takes NaN and the infinities for JSON unless it is told better."""

    def refuse(_text: str) -> None:
        raise ValueError

    return json.loads(text.decode(), parse_constant=refuse, parse_int=str, parse_float=str)


def expected(text: bytes) -> dict[str, Any] | None:
    try:
        tree = strictly(text)
    except (ValueError, RecursionError):
        return None
    return tree if type(tree) is dict else None


def like_json(text: bytes) -> None:
    """Both ways read exactly what JSON readers read: the same members in the same order, the last of several with one name."""
    tree = expected(text)
    for way in WAYS:
        members = read(way, text)
        if tree is None:
            assert members is None
        else:
            assert members is not None
            assert list(members) == list(tree)
            assert {name: strictly(value) for name, value in members.items()} == tree
    assert read(split, text) == read(walk, text)


@given(objects())
def test_the_members_of_an_object_are_found_as_they_are_written(given_object):
    text, members = given_object
    for way in WAYS:
        assert read(way, text) == {name: value.encode() for name, value in dict(members).items()}
        assert list(way(text)) == list(dict(members))
    like_json(text)


@given(objects(), st.data())
def test_of_a_mutilated_object_both_ways_read_what_json_readers_do(given_object, data):
    text, _ = given_object
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(
            st.binary(max_size=2)
            | st.sampled_from(
                [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b".", b"e", b"\\u00", b"\xc3"]
            )
        )
        text = text[:at] + piece + text[at + data.draw(st.integers(0, 2)) :]
    like_json(text)


@given(objects(), st.data())
def test_of_a_cut_object_nothing_is_read(given_object, data):
    text, _ = given_object
    text = text.strip()
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    assert [read(way, cut) for way in WAYS] == [None, None]


tokens = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", " ", '"a"', '"\\ud800"', '"é"', "1", "-0", "0", "1.5", "1e5", "1E+5", "true", "null", '"\\x"',
     "01", "-", "1.", ".5", "1e", "tru", "truee", "nullnull", "NaN", "Infinity", '"', "'a'", "\x0b", "\ufeff", "\x00"]
)  # fmt: skip


@given(st.lists(tokens, max_size=12).map("".join))
@example('{"a":1}')
def test_of_any_tokens_both_ways_read_what_json_readers_do(text):
    like_json(text.encode())
    like_json(('{"a":' + text).encode())
    like_json(('{"a":[' + text + "]}").encode())


@given(st.binary(max_size=30))
def test_of_any_bytes_both_ways_read_what_json_readers_do(text):
    like_json(text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", [b"", b" ", b"[]", b"[", b"1", b'"{}"', b"null"])
def test_what_is_no_object_is_refused(way, text):
    with pytest.raises(SessionDecodeError, match="the record is not a JSON object"):
        way(text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "text",
    [
        b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":1,}', b"{,}", b'{"a" 1}', b"{1:1}", b"{null:1}", b'{"a":[1,]}',
        b'{"a":[1}', b'{"a":{"b":1]}', b'{"a":1}}', b"{}{}", b'{}"', b'{"a":01}', b'{"a":1.}', b'{"a":-}', b'{"a":+1}', b'{"a":NaN}',
        b'{"a":nul}', b'{"a":nulll}', b'{"a":"\x01"}', b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":"\xff"}', b'{"\xff":1}',
        b'{"a":"\xed\xa0\x80"}', b'{"a":"\\ud800","b":[}}', b'{"a":"\\ud800"]', b'{"\\ud800":1:1}',
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused(way, text):
    with pytest.raises(SessionDecodeError, match="the record is not valid JSON"):
        way(text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "text", [b'{"hunter2', b'"hunter2"', b'{"hunter2":"\xff"}', b'{"\\ud800":"hunter2', b'{"a":hunter2}']
)
def test_an_error_shows_nothing_of_the_text(way, text):
    with pytest.raises(SessionDecodeError) as caught:
        way(text)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).replace(repr(text), "")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [b"1e400", b"-1E999", b"9" * 5000, b'"\\ud800"', b"-0", b'{"$set":[1]}', b"1.0"])
def test_a_value_is_not_looked_at(way, value):
    assert read(way, b'{"a":%b,"b":1}' % value) == {"a": value, "b": b"1"}


def nested(depth: int) -> list[bytes]:
    return [
        b"[" * depth + b"]" * depth,
        b'{"a":' * depth + b"1" + b"}" * depth,
        b'[{"a":' * (depth // 2) + b"1" + b"}]" * (depth // 2),
    ]


@pytest.mark.parametrize("value", nested(100_000))
def test_members_are_found_however_deep_their_values_are(value):
    assert read(split, b'{"a":1,"deep":%b , "b":"\\ud800"}' % value) == {"a": b"1", "deep": value, "b": b'"\\ud800"'}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [*nested(1_000), *nested(10_000)])
def test_what_is_malformed_deep_within_is_refused(way, value):
    middle = len(value) // 2
    assert read(way, b'{"deep":%b}' % value) == {"deep": value}
    for broken in (
        value[:-1],
        value + b"]",
        value[:-2] + b"]}" + value[-1:],
        value[:middle] + b"\x01" + value[middle:],
        value[:-500] + (b"]" if value[-500:-499] == b"}" else b"}") + value[-499:],
    ):
        assert read(way, b'{"deep":%b}' % broken) is None


def test_long_text_takes_time_in_proportion_to_its_length():
    """No part of the pattern is tried in two ways: or a text of a megabyte would take hours."""
    for text in (
        b'{"\\ud800":"' + b"x" * 10**6,
        b'{"\\ud800":"' + b"\\n" * 10**6,
        b'{"\\ud800":' + b"1" * 10**6 + b"x",
        b'{"\\ud800":1.' + b"1" * 10**6 + b"x",
        b'{"\\ud800":' + b" " * 10**6,
        b"{" + b" " * 10**6 + b"x",
    ):
        assert read(split, text) is None


# Putting together


@given(st.dictionaries(names, values, max_size=5))
def test_members_are_joined_to_the_object_that_they_came_from(tree):
    text = b"{%b}" % b",".join(b"%b:%b" % (dumps(name), dumps(value)) for name, value in tree.items())
    for way in WAYS:
        members = way(text)
        assert join(members) == text
        assert list(members) == list(loads(text))


@given(objects())
def test_joined_text_is_an_object_of_the_same_members(given_object):
    text, members = given_object
    joined = join(split(text))
    assert read(split, joined) == {name: value.encode() for name, value in dict(members).items()}
    assert expected(joined) == expected(text)


def test_no_members_are_the_empty_object():
    assert join({}) == b"{}"
    assert split(b" { } ") == {}
