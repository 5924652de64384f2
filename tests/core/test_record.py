from __future__ import annotations

import contextlib
import json
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from sojourn.clock import LATEST_MS
from sojourn.codecs import Members, dumps, join, loads, split
from sojourn.core.record import NOBODY, Login, Record, _Own, lifetime_prefix, pack, unpack
from sojourn.errors import SessionDecodeError
from tests.core import record_before

names = st.text(max_size=8).filter(lambda name: name not in ("cookie", "__sojourn__")) | st.sampled_from(
    ["a", "sum", '"sum":', "}", "{", "$date", "\ud800"]
)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
datas = st.dictionaries(names, values, max_size=4)
lifetimes = st.none() | st.integers(0, 10**13)
cookies = st.fixed_dictionaries(
    {"originalMaxAge": lifetimes},
    optional={
        "expires": st.none()
        | st.sampled_from(["2026-11-21T04:32:17.370Z", '},"sum":1}', '},"lifetime":1}']),  # which nobody reads
        "httpOnly": st.booleans(),
        "domain": st.none() | st.just(".example.com"),
        "path": st.sampled_from(["/", "/app"]),
    },
).map(lambda cookie: {"originalMaxAge": cookie.pop("originalMaxAge"), **cookie})


# Members of the reserved part that a newer version adds.
unknown: Any = st.dictionaries(
    names.filter(lambda name: name not in _Own.__struct_fields__ and name != "\ud800") | st.just("plan"),
    values,
    max_size=2,
)


def members(tree: dict[str, Any]) -> Members:
    return {name: Raw(dumps(value)) for name, value in tree.items()}


def made(data: dict[str, Any] | None = None, lifetime: int | None = None, **more: Any) -> Record:
    """A record as Sojourn writes it."""
    cookie = dumps({"originalMaxAge": lifetime, "expires": None, "path": "/"})
    return Record(members(data or {}), cookie, 1, write=1, lifetime=lifetime, **more)


owners = st.text(min_size=1, max_size=8).filter(lambda owner: "\0" not in owner)


moments = st.integers(0, LATEST_MS)
logins = st.builds(
    Login,
    owner=owners | st.just('"sum":'),
    at=st.none() | moments,
    device=st.none() | st.dictionaries(owners, owners, max_size=2),
    confirmed=st.just(UNSET) | st.none() | moments,
    stamp=st.none() | owners,
    sid=st.none() | owners,
    pending=st.none() | st.tuples(owners, moments),
) | st.builds(Login, pending=st.tuples(owners, moments))


@st.composite
def records(draw: st.DrawFn) -> Record:
    cookie: dict[str, Any] = draw(cookies)
    changed = draw(st.lists(st.sampled_from(sorted(cookie)), unique=True))
    return Record(
        data=members(draw(datas)),
        cookie=dumps(cookie),
        created=draw(st.integers(0, LATEST_MS)),
        login=draw(st.just(NOBODY) | logins),
        overrides={name: cookie[name] for name in changed},
        write=draw(st.integers(0, 2**48)),
        lifetime=cookie["originalMaxAge"],
        extra=draw(st.just({}) | unknown),
    )


FIELDS = ("created", "owner", "overrides", "write", "extra")


def known(record: Any) -> dict[str, Any]:
    """What both versions know of a record, beside its data."""
    auth = record.login.at if isinstance(record, Record) else record.auth
    return {"auth": auth, **{name: getattr(record, name) for name in FIELDS}}


@given(records())
def test_a_record_comes_back_as_it_was_packed(record):
    again = unpack(pack(record))
    assert again == record
    assert list(again.data) == list(record.data)
    assert again.foreign_lifetime() is UNSET
    assert pack(again) == pack(record)


@given(records())
def test_a_record_is_expresss_layout_with_our_key_second(record):
    tree = loads(pack(record))
    assert list(tree)[:2] == ["cookie", "__sojourn__"]
    cookie = tree.pop("cookie")
    assert cookie == loads(record.cookie)
    own = tree.pop("__sojourn__")
    assert repr(tree) == repr(loads(join(record.data)))
    assert (own["v"], own["created"], own["write"]) == (1, record.created, record.write)
    assert own["lifetime"] == cookie["originalMaxAge"]
    assert "sum" not in own
    assert own.get("overrides", []) == list(record.overrides)
    assert ("owner" in own, "auth" in own) == (record.owner is not None, record.login.at is not None)
    assert {name: value for name, value in own.items() if name not in _Own.__struct_fields__} == record.extra


@given(records(), st.booleans(), st.booleans())
def test_a_record_that_another_program_wrote_anew_says_the_same(record, spaced, reordered):
    tree = loads(pack(record))
    items = list(tree.items())
    text = json.dumps(
        dict(items[::-1] if reordered else items), separators=None if spaced else (",", ":"), ensure_ascii=False
    ).encode(errors="backslashreplace")
    again = unpack(text)
    assert known(again) == known(record)
    assert loads(again.cookie) == loads(record.cookie)
    assert again.foreign_lifetime() is UNSET
    assert {name: loads(bytes(value)) for name, value in again.data.items()} == loads(join(record.data))
    names = [name for name in loads(text) if name not in ("cookie", "__sojourn__")]
    assert list(again.data) == names


@given(records(), st.data())
def test_the_text_of_each_value_is_as_it_was_written(record, data):
    """Whatever a value is, it is carried over to the byte."""
    spaces = st.text(" \t\r\n", max_size=2).map(str.encode)
    texts = {
        name: data.draw(st.sampled_from([b"1e400", b'{"a" : [ ] }', b'"\\ud800\\u0041"', b"1E5", bytes(value)]))
        for name, value in record.data.items()
    }
    pieces = [
        b"%b%b%b:%b%b%b"
        % (data.draw(spaces), dumps(name), data.draw(spaces), data.draw(spaces), text, data.draw(spaces))
        for name, text in texts.items()
    ]
    head = pack(Record({}, record.cookie, record.created, write=1, lifetime=record.lifetime))
    again = unpack(b",".join([head[:-1], *pieces]) + b"}")
    assert {name: bytes(value) for name, value in again.data.items()} == texts
    assert list(unpack(pack(again)).data.items()) == list(again.data.items())


junk = st.binary(max_size=80) | values.map(dumps) | datas.map(lambda data: dumps({"cookie": {}} | data))


@given(junk)
def test_no_bytes_raise_anything_but_a_decode_error(text):
    try:
        record = unpack(text)
    except SessionDecodeError:
        return
    assert split(text) == {"cookie": Raw(record.cookie)} | record.data


@given(records(), st.data())
def test_no_mutilated_record_raises_anything_but_a_decode_error(record, data):
    text = pack(record)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    mutilated = text[:start] + data.draw(st.binary(max_size=4)) + text[end:]
    with contextlib.suppress(SessionDecodeError):
        unpack(mutilated).foreign_lifetime()


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
        b'{"cookie":{},"n":"\xff"}',
        b'{"cookie":{"originalMaxAge":null},"__sojourn__":{"v":1,"sum":1}}',
        b'{"cookie":{},"__sojourn__":null}{}',
        b'{"cookie":{},"__sojourn__":1}',
        b'{"cookie":{},"__sojourn__":{}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":null}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1.5}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":true}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":-1}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":253402300800000}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"auth":1000000000000000000000000000000}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":2}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"auth":"x"}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"overrides":{}}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"lifetime":"x"}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"lifetime":1.5}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"sum":"x"}}',
        b'{"cookie":{},"__sojourn__":{"v":"1","created":1}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1e400}}',
        b'{"cookie":{"a":1e400},"__sojourn__":{"v":1,"created":1,"overrides":["a"]}}',
        b'{"cookie":{"a":1e400},"__sojourn__":{"v":1,"created":1,"sum":1}}',
        b'{"cookie":{"originalMaxAge":"\xff","sum":1}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":"\\ud800"}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":"ann","stamp":5}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":"ann","stamp":"\\ud800"}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":"ann","sid":"\\ud800"}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":"ann","device":{"label":"\\ud800"}}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":"ann","pending":["bob"]}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":"ann","pending":["bob",-1]}}',
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"owner":"ann","confirmed":1e99}}',
    ],
)
def test_what_is_no_record_is_refused(text):
    with pytest.raises(SessionDecodeError):
        unpack(text)


DEEP = [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000]


@pytest.mark.parametrize("deep", DEEP)
@pytest.mark.parametrize("own", [b"", b',"__sojourn__":{"v":1,"created":1,"lifetime":null,"write":1}'])
def test_a_value_is_read_and_carried_over_however_deep_it_is(deep, own):
    text = b'{"cookie":{"originalMaxAge":null}%b,"n":%b,"m":1}' % (own, deep)
    record = unpack(text)
    assert record.data == {"n": Raw(deep), "m": Raw(b"1")}
    if own:
        assert pack(record) == text


@pytest.mark.parametrize("deep", DEEP)
def test_what_is_too_deep_where_it_is_looked_at_is_refused(deep):
    for text in (
        b'{"cookie":{"originalMaxAge":%b}}' % deep,
        b'{"cookie":{"originalMaxAge":%b},"__sojourn__":{"v":1,"created":1,"sum":1}}' % deep,
        b'{"cookie":{"path":%b},"__sojourn__":{"v":1,"created":1,"overrides":["path"]}}' % deep,
        b'{"cookie":{},"__sojourn__":{"v":1,"created":1,"new":%b}}' % deep,
    ):
        with pytest.raises(SessionDecodeError):
            unpack(text).foreign_lifetime()


def test_a_newer_layout_is_refused_by_its_number():
    text = pack(made()).replace(b'"v":1', b'"v":2')
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
    ("text", "data", "lifetime"),
    [
        (b'{"cookie":{"httpOnly":true,"path":"/"}}', {}, None),
        (b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"n":1}', {"n": 1}, None),
        (b'{"n":1,"cookie":{"originalMaxAge":"soon"},"m":2}', {"n": 1, "m": 2}, "soon"),
        (b'{"cookie":{"originalMaxAge":3600000},"cart":{"sum":1}}', {"cart": {"sum": 1}}, 3_600_000),
    ],
)
def test_a_record_that_express_wrote_is_complete(text, data, lifetime):
    record = unpack(text)
    assert record.data == members(data) and list(record.data) == list(data)
    assert record.created is None and record.owner is None and record.overrides == {}
    assert record.lifetime is UNSET and record.foreign_lifetime() == lifetime


# design, "The record"
@pytest.mark.parametrize("at", ["first", "after v", "last"])
def test_what_a_newer_version_of_the_same_layout_adds_is_carried_over(at):
    own: dict[str, Any] = {"v": 1, "created": 7, "write": 8, "lifetime": None}
    new = {"new": [1, {"v": 2}]}
    names = list(own)
    cut = {"first": 0, "after v": 1, "last": len(names)}[at]
    own = {name: own[name] for name in names[:cut]} | new | {name: own[name] for name in names[cut:]}
    text = dumps({"cookie": {"originalMaxAge": None, "path": "/"}, "__sojourn__": own, "n": 1})
    record = unpack(text)
    assert record.created == 7 and record.data == members({"n": 1})
    assert record.extra == new
    again = unpack(pack(record))
    assert again.extra == new and again.created == 7


@pytest.mark.parametrize("extra", [{"\ud800": 1}, {"new": "\ud800"}, {"new": {"\ud800": None}}])
def test_unknown_members_that_no_utf_8_can_hold_are_carried_over_too(extra):
    assert unpack(pack(made({"n": 1}, extra=extra))).extra == extra


def test_a_record_without_unknown_members_has_none():
    assert unpack(pack(made())).extra == {}


def test_an_override_that_the_cookie_does_not_have_is_none():
    text = b'{"cookie":{"path":"/"},"__sojourn__":{"v":1,"created":7,"overrides":["path","domain"]}}'
    assert unpack(text).overrides == {"path": "/"}


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
    assert pack(made(lifetime=lifetime)).startswith(prefix)


# -- whose lifetime it is -----------------------------------------------------------------------------------------------------


@given(records(), lifetimes | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4))
def test_a_lifetime_that_another_program_changed_is_its_own(record, other):
    tree = loads(pack(record))
    tree["cookie"]["originalMaxAge"] = other
    again = unpack(dumps(tree))
    if type(other) is type(record.lifetime) and other == record.lifetime:
        assert again.foreign_lifetime() is UNSET
    else:
        found = again.foreign_lifetime()
        assert (type(found), found) == (type(other), other)


@pytest.mark.parametrize(
    ("cookie", "lifetime", "foreign"),
    [
        (b'{"originalMaxAge":5,"path":"/"}', 5, UNSET),
        (b'{"originalMaxAge":5}', 5, UNSET),
        (b'{"path":"/", "originalMaxAge" : 5}', 5, UNSET),
        (b'{"originalMaxAge":55,"path":"/"}', 5, 55),
        (b'{"originalMaxAge":5.0,"path":"/"}', 5, 5.0),
        (b'{"originalMaxAge":true}', 1, True),
        (b'{"originalMaxAge":null,"path":"/"}', None, UNSET),
        (b'{"path":"/"}', None, UNSET),
        (b'{"path":"/"}', 5, None),
        (b'{"originalMaxAge":5,"path":"/"}', None, 5),
        (b'{"originalMaxAge":5,"path":"/"}', UNSET, 5),
        (b'{"originalMaxAge":5,"path":"/","originalMaxAge":6}', 6, UNSET),
    ],
)
def test_a_lifetime_is_ours_where_it_is_as_we_wrote_it(cookie, lifetime, foreign):
    found = Record({}, cookie, 1, lifetime=lifetime).foreign_lifetime()
    assert (type(found), found) == (type(foreign), foreign)


@pytest.mark.parametrize("cookie", [b'{"originalMaxAge":5,"path":"/"}', b'{"path":"/"}'])
def test_a_record_whose_lifetime_is_not_ours_stays_so_when_it_is_packed(cookie):
    record = Record({"n": Raw(b"1")}, cookie, 1, write=2)
    assert pack(record) == b'{"cookie":%b,"__sojourn__":{"v":1,"created":1,"write":2},"n":1}' % cookie
    assert unpack(pack(record)) == record


# -- beside the version before, in a rolling deployment ---------------------------------------------------------------------------------


@st.composite
def records_before(draw: st.DrawFn) -> record_before.Record:
    record: Record = draw(records())
    record.login = Login(record.owner, record.login.at)
    return record_before.Record(body=dumps(loads(join(record.data))), cookie=loads(record.cookie), **known(record))


@given(records_before())
def test_a_record_of_the_version_before_is_read_and_its_lifetime_is_ours(before):
    record = unpack(record_before.pack(before))
    assert known(record) == known(before)
    assert loads(record.cookie) == before.cookie
    assert join(record.data) == before.body
    assert record.lifetime == before.cookie["originalMaxAge"]
    assert record.foreign_lifetime() is UNSET
    assert "sum" not in loads(pack(record))["__sojourn__"]


def test_its_sum_is_of_the_lifetime_and_of_the_datas_text():
    """Written by hand, so that neither version is needed to know what the other one meant."""
    for lifetime, total in ((None, crc32(b'None{"n":1}')), (3_600_000, crc32(b'3600000{"n":1}'))):
        text = b'{"cookie":{"originalMaxAge":%b,"path":"/"},"__sojourn__":{"v":1,"created":7,"write":8,"sum":%d},"n":1}'
        record = unpack(text % (dumps(lifetime), total))
        assert (record.created, record.write, record.lifetime) == (7, 8, lifetime)
        assert record.foreign_lifetime() is UNSET and record.extra == {}
        assert unpack(text % (dumps(lifetime), total + 1)).foreign_lifetime() == lifetime


@given(records_before(), lifetimes)
def test_a_lifetime_that_another_program_changed_in_a_record_of_the_version_before_is_its_own(before, other):
    parts = split(record_before.pack(before))  # the rest stays as it is written
    cookie = loads(bytes(parts["cookie"])) | {"originalMaxAge": other}
    record = unpack(join({**parts, "cookie": Raw(dumps(cookie))}))
    assert record.foreign_lifetime() == (UNSET if other == before.cookie["originalMaxAge"] else other)


@given(records_before(), st.data())
def test_a_byte_changed_by_another_program_is_never_taken_for_ours(before, data):
    text = record_before.pack(before)
    start = text.index(b'"sum":', text.index(b',"write":'))
    at = data.draw(st.integers(start, len(text) - 1))
    changed = text[:at] + bytes([text[at] ^ 1 << data.draw(st.integers(0, 7))]) + text[at + 1 :]
    try:
        record = unpack(changed)
    except SessionDecodeError:
        return
    assert record.lifetime is UNSET or join(record.data) == before.body  # a name that is escaped in another way


@given(records())
def test_the_version_before_reads_what_this_one_writes(record):
    record.login = Login(record.owner, record.login.at)
    again, tree = record_before.unpack(pack(record))
    assert known(again) == known(record) | {"extra": record.extra | {"lifetime": record.lifetime}}
    assert again.cookie == loads(record.cookie)
    assert dumps(tree) == again.body == dumps(loads(join(record.data)))


@given(records(), lifetimes)
def test_what_the_version_before_made_of_a_record_is_understood(record, lifetime):
    """It carries our lifetime over as a member that it does not know, whatever lifetime it gives the cookie."""
    before, _ = record_before.unpack(pack(record))
    before.cookie["originalMaxAge"] = lifetime
    again = unpack(record_before.pack(before))
    assert known(again) | {"overrides": None} == known(record) | {"overrides": None}
    assert join(again.data) == before.body
    assert again.lifetime == lifetime and again.foreign_lifetime() is UNSET
    assert "sum" not in loads(pack(again))["__sojourn__"]


@pytest.mark.parametrize("owner", ["", "a\0b", "\ud800", "x" * 2049])
def test_an_owner_that_no_store_would_take_again_makes_a_record_unreadable_and_is_not_quoted(owner):
    text = b'{"cookie":{"originalMaxAge":null},"__sojourn__":{"v":1,"created":1,"owner":%b,"write":1}}' % dumps(owner)
    with pytest.raises(
        SessionDecodeError, match=r"the record's (owner is none: an owner|reserved part is malformed: )"
    ) as caught:
        unpack(text)
    assert len(str(caught.value)) < 160
