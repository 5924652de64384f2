from __future__ import annotations

import contextlib
import json
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.codecs import dumps, loads
from sojourn.core.record import Record, _Own, _unpack_slowly, lifetime_prefix, pack, unpack
from sojourn.errors import SessionDecodeError

names = st.text(max_size=8).filter(lambda name: name not in ("cookie", "__sojourn__")) | st.sampled_from(
    ["a", "sum", '"sum":', "}", "{", "$date", "\ud800"]
)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
datas = st.dictionaries(names, values, max_size=4)
cookies = st.fixed_dictionaries(
    {"originalMaxAge": st.none() | st.integers(0, 10**13)},
    optional={
        "expires": st.none() | st.just("2026-11-21T04:32:17.370Z"),
        "httpOnly": st.booleans(),
        "domain": st.text(max_size=8),
        "path": st.text(max_size=8) | st.just('},"sum":1}'),
    },
).map(lambda cookie: {"originalMaxAge": cookie.pop("originalMaxAge"), **cookie})


# Members of the reserved part that a newer version adds.
unknown: Any = st.dictionaries(
    names.filter(lambda name: name not in _Own.__struct_fields__ and name != "\ud800") | st.just("device"),
    values,
    max_size=2,
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    cookie: dict[str, Any] = draw(cookies)
    changed = draw(st.lists(st.sampled_from(sorted(cookie)), unique=True))
    return Record(
        body=dumps(draw(datas)),
        cookie=cookie,
        created=draw(st.integers(0, 2**53)),
        owner=draw(st.none() | st.text(max_size=8) | st.just('"sum":')),
        auth=draw(st.none() | st.integers(0, 2**53)),
        overrides={name: cookie[name] for name in changed},
        write=draw(st.integers(0, 2**48)),
        extra=draw(st.just({}) | unknown),
    )


@given(records())
def test_a_record_comes_back_as_it_was_packed(record):
    again, tree = unpack(pack(record))
    assert again == record
    assert again.written_by_us
    assert dumps(tree) == record.body


@given(records())
def test_a_record_is_expresss_layout_with_our_key_second(record):
    text = pack(record)
    tree = loads(text)
    assert list(tree)[:2] == ["cookie", "__sojourn__"]
    assert tree.pop("cookie") == record.cookie
    own = tree.pop("__sojourn__")
    assert dumps(tree) == record.body
    assert (
        own["v"] == 1
        and own["created"] == record.created
        and own["sum"] == crc32(record.body, crc32(str(record.cookie.get("originalMaxAge")).encode()))
    )
    assert own.get("overrides", []) == list(record.overrides)
    assert ("owner" in own, "auth" in own) == (record.owner is not None, record.auth is not None)
    assert {name: value for name, value in own.items() if name not in _Own.__struct_fields__} == record.extra


@given(records())
def test_the_quick_way_and_the_slow_way_read_the_same(record):
    text = pack(record)
    quick, quick_tree = unpack(text)
    slow, slow_tree = _unpack_slowly(text)
    assert quick.written_by_us and not slow.written_by_us
    slow.written_by_us = True
    assert quick == slow
    assert dumps(quick_tree) == dumps(slow_tree)


@given(records(), st.booleans(), st.booleans())
def test_a_record_that_another_program_wrote_anew_says_the_same(record, spaced, reordered):
    tree = loads(pack(record))
    items = list(tree.items())
    text = json.dumps(
        dict(items[::-1] if reordered else items), separators=None if spaced else (",", ":"), ensure_ascii=False
    ).encode(errors="backslashreplace")
    again, data = unpack(text)
    assert loads(dumps(data)) == loads(record.body)
    for field in ("created", "owner", "auth", "write", "overrides", "cookie", "extra"):
        assert getattr(again, field) == getattr(record, field)


@given(records(), st.data())
def test_a_byte_changed_by_another_program_is_never_taken_for_ours(record, data):
    text = pack(record)
    start = text.index(b'"sum":', text.index(b',"write":'))
    at = data.draw(st.integers(start, len(text) - 1))
    changed = text[:at] + bytes([text[at] ^ 1 << data.draw(st.integers(0, 7))]) + text[at + 1 :]
    try:
        again, _ = unpack(changed)
    except SessionDecodeError:
        return
    assert not again.written_by_us


junk = st.binary(max_size=80) | values.map(dumps) | datas.map(lambda data: dumps({"cookie": {}} | data))


@given(junk)
def test_no_bytes_raise_anything_but_a_decode_error(text):
    try:
        record, tree = unpack(text)
    except SessionDecodeError:
        return
    assert isinstance(tree, dict)
    assert loads(record.body) == loads(dumps(tree))


@given(records(), st.data())
def test_no_mutilated_record_raises_anything_but_a_decode_error(record, data):
    text = pack(record)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    mutilated = text[:start] + data.draw(st.binary(max_size=4)) + text[end:]
    with contextlib.suppress(SessionDecodeError):
        unpack(mutilated)


def nested(depth: int) -> list[bytes]:
    """Records that are well-formed but for their depth: in the cookie part and in the data, written by others and by us."""
    own = b',"__sojourn__":{"v":1,"created":1,"sum":1}'
    deep = b"[" * depth + b"]" * depth
    return [
        b'{"cookie":{"originalMaxAge":' + deep + b"}}",
        b'{"cookie":{"originalMaxAge":' + deep + b"}" + own + b"}",
        b'{"cookie":{},"n":' + deep + b"}",
        b'{"cookie":{}' + own + b',"n":' + deep + b"}",
    ]


# contract 50, 53
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"a"',
        b"{",
        b"{}",
        b'{"n":1}',
        b'{"cookie":null}',
        b'{"cookie":[]}',
        b'{"cookie":{},"n":NaN}',
        b"\xff",
        b'{"cookie":{"originalMaxAge":null},"__sojourn__":{"v":1,"sum":1}}',
        b'{"cookie":{},"__sojourn__":null}{}',
        b'{"cookie":{},"__sojourn__":1}',
        b'{"cookie":{},"__sojourn__":{}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":null}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1.5}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":2}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"auth":"x"}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"overrides":{}}}',
        b'{"cookie":{},"__sojourn__":{"v":"1","created":1}}',
        b'{"cookie":{"originalMaxAge":"\xff","sum":1}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":"\\ud800"}}',
        *nested(100_000),
    ],
)
def test_what_is_no_record_is_refused(text):
    with pytest.raises(SessionDecodeError):
        unpack(text)


@pytest.mark.parametrize("text", nested(2_000))
def test_what_some_interpreters_are_too_shallow_for_is_refused_or_read_whole(text):
    # How deep JSON is read is the interpreter's matter: 3.11 refuses these, 3.13 reads them.
    try:
        record, data = unpack(text)
    except SessionDecodeError:
        return
    deep = data["n"] if "n" in data else record.cookie["originalMaxAge"]
    for _ in range(1_999):
        (deep,) = deep
    assert deep == []


def test_a_newer_layout_is_refused_by_its_number():
    text = pack(Record(b"{}", {"originalMaxAge": None}, 1, write=1)).replace(b'"v":1', b'"v":2')
    with pytest.raises(SessionDecodeError, match="layout 2"):
        unpack(text)
    with pytest.raises(SessionDecodeError, match="layout 2"):
        unpack(b" " + text)


def test_an_error_shows_nothing_of_the_record():
    for text in (b'{"cookie":{},"__sojourn__":{"v":1,"created":"hunter2"},"n":1}', b'{"hunter2'):
        with pytest.raises(SessionDecodeError) as caught:
            unpack(text)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b'{"cookie":{"httpOnly":true,"path":"/"}}', {}),
        (b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"n":1}', {"n": 1}),
        (b'{"n":1,"cookie":{"originalMaxAge":"soon"},"m":2}', {"n": 1, "m": 2}),
        (b'{"cookie":{"originalMaxAge":3600000},"cart":{"sum":1}}', {"cart": {"sum": 1}}),
    ],
)
def test_a_record_that_express_wrote_is_complete(text, data):
    record, tree = unpack(text)
    assert tree == data
    assert record.body == dumps(data)
    assert record.created is None and record.owner is None and record.overrides == {} and not record.written_by_us


# design, "The record"
@pytest.mark.parametrize("at", ["first", "after v", "last"])
def test_what_a_newer_version_of_the_same_layout_adds_is_carried_over(at):
    own: dict[str, Any] = {"v": 1, "created": 7, "write": 8, "sum": 9}
    new = {"new": [1, {"v": 2}]}
    names = list(own)
    cut = {"first": 0, "after v": 1, "last": len(names)}[at]
    own = {name: own[name] for name in names[:cut]} | new | {name: own[name] for name in names[cut:]}
    text = dumps({"cookie": {"originalMaxAge": None, "path": "/"}, "__sojourn__": own, "n": 1})
    record, tree = unpack(text)
    assert record.created == 7 and tree == {"n": 1}
    assert record.extra == new
    again, _ = unpack(pack(record))
    assert again.extra == new and again.created == 7


@pytest.mark.parametrize(
    "extra",
    [
        {"new": 1},
        {"new": {"sum": 1}},
        {"new": {"sum": 1, "v": 2}, "more": [{"sum": 1}]},
        {"new": '"sum":1}'},
        {"new": ',"write":1,"sum":1}'},
        {'"sum":': {}},
    ],
)
@pytest.mark.parametrize("body", [b"{}", b'{"n":1}', b'{"sum":1,"o":{"write":1,"sum":2}}'])
def test_a_record_with_unknown_members_is_written_by_us_where_its_sum_is_right(extra, body):
    text = pack(Record(body, {"originalMaxAge": None}, 1, write=1, extra=extra))
    record, tree = unpack(text)
    assert record.written_by_us and record.extra == extra
    assert (record.body, dumps(tree)) == (body, body)
    changed, _ = unpack(
        text.replace(b'"created":1,', b'"created":1 ,').replace(b'"originalMaxAge":null', b'"originalMaxAge":7')
    )
    assert not changed.written_by_us and changed.extra == extra


@pytest.mark.parametrize("extra", [{"\ud800": 1}, {"new": "\ud800"}, {"new": {"\ud800": None}}])
def test_unknown_members_that_no_utf_8_can_hold_are_carried_over_too(extra):
    record, _ = unpack(pack(Record(b'{"n":1}', {"originalMaxAge": None}, 1, write=1, extra=extra)))
    assert record.extra == extra


def test_a_record_without_unknown_members_has_none():
    record, _ = unpack(pack(Record(b"{}", {"originalMaxAge": None}, 1, write=1)))
    assert record.extra == {}


def test_an_override_that_the_cookie_does_not_have_is_none():
    text = b'{"cookie":{"path":"/"},"__sojourn__":{"v":1,"created":7,"overrides":["path","domain"]}}'
    assert unpack(text)[0].overrides == {"path": "/"}


@pytest.mark.parametrize(
    ("lifetime", "prefix"),
    [
        (None, b'{"cookie":{"originalMaxAge":null,'),
        (0, b'{"cookie":{"originalMaxAge":0,'),
        (86_400_000, b'{"cookie":{"originalMaxAge":86400000,'),
    ],
)
def test_a_record_begins_with_its_lifetime(lifetime, prefix):
    assert lifetime_prefix(lifetime) == prefix
    assert pack(Record(b"{}", {"originalMaxAge": lifetime, "expires": None}, 1, write=1)).startswith(prefix)
