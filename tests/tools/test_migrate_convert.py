"""A record carried from one codec to another says the same there, or is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from sojourn.clock import LONGEST_MS
from sojourn.codecs import Codec, EncryptedCodec, JSONCodec, PlainCodec, dumps
from sojourn.core.record import NOBODY, Login, Record, pack, unpack
from sojourn.errors import SessionDecodeError, SessionEncodeError
from sojourn.migrate.convert import convert
from sojourn.migrate.endpoints import CODECS

JSON, PLAIN = CODECS["json"], CODECS["plain"]
OLD, NEW = "the key at the source", "the key at the target"

names = st.text(max_size=6) | st.sampled_from(["$", "$set", "$dict", "$money", "$date", "a"])
top_names = names.filter(lambda name: name not in {"cookie", "__sojourn__"})
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)
plain_values: Any = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)
tagged = (
    st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.binary(max_size=6)
    | st.decimals(allow_nan=False)
    | st.sets(st.integers(), max_size=3)
    | st.frozensets(st.text(max_size=3), max_size=3)
    | st.lists(st.integers(), max_size=3).map(tuple)
)
values: Any = st.recursive(
    leaves | tagged, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)
cookies = st.fixed_dictionaries(
    {"originalMaxAge": st.none() | st.integers(1, 10**12), "httpOnly": st.booleans(), "path": st.just("/")}
)


owners = st.text(min_size=1, max_size=6).filter(lambda owner: "\0" not in owner)


@st.composite
def heads(draw: st.DrawFn) -> dict[str, Any]:
    """All of a record of ours but the data."""
    cookie = draw(cookies)
    return {
        "cookie": dumps(cookie),
        "lifetime": cookie["originalMaxAge"],
        "created": draw(st.integers(0, 2**45)),
        "login": draw(st.just(NOBODY) | st.builds(Login, owners, st.none() | st.integers(0, 2**45))),
        "overrides": {"httpOnly": cookie["httpOnly"]} if draw(st.booleans()) else {},
        "write": draw(st.integers(0, 2**48)),
    }


def written(codec: Codec, data: dict[str, Any], **head: Any) -> bytes:
    """A record of these data."""
    return pack(Record({name: Raw(codec.encode(value)) for name, value in data.items()}, **head))


def read(codec: Codec, text: bytes) -> dict[str, Any]:
    """A record's data, without what the codec leaves out."""
    reserved = getattr(codec, "reserved", ())
    return {name: codec.decode(bytes(value)) for name, value in unpack(text).data.items() if name not in reserved}


def is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(map(is_plain, value.values()))
    return all(map(is_plain, value)) if type(value) is list else isinstance(value, str | int | float | None)


def head_of(text: bytes) -> Record:
    record = unpack(text)
    record.data = {}
    return record


@given(heads(), st.dictionaries(top_names, values, max_size=4))
def test_between_stores_of_one_codec_a_record_stays_as_it_is_to_the_byte(
    head: dict[str, Any], data: dict[str, Any]
) -> None:
    text = written(JSON, data, **head)
    made = convert(text, OLD, NEW, JSON, JSON)
    assert made == (text, text, head["login"].owner, head["lifetime"])


@given(heads(), st.dictionaries(top_names, values, max_size=4))
def test_tagged_data_become_plain_where_they_are_and_are_refused_where_not(
    head: dict[str, Any], data: dict[str, Any]
) -> None:
    text = written(JSON, data, **head)
    codec = PlainCodec()
    if is_plain(data):
        made = convert(text, OLD, NEW, JSON, codec)
        assert dumps(read(codec, made.text)) == dumps(data)
        assert head_of(made.text) == head_of(text)
    else:
        with pytest.raises(SessionEncodeError):
            convert(text, OLD, NEW, JSON, codec)


@given(heads(), st.dictionaries(top_names, plain_values, max_size=4))
def test_plain_data_say_the_same_under_the_tagged_codec_and_back(head: dict[str, Any], data: dict[str, Any]) -> None:
    codec = PlainCodec()
    text = written(codec, data, **head)
    there = convert(text, OLD, NEW, codec, JSON)
    assert dumps(read(JSON, there.text)) == dumps(data)
    assert head_of(there.text) == head_of(text)
    back = convert(there.data, NEW, OLD, JSON, codec)
    assert back.text == text


@given(cookies, st.dictionaries(top_names, plain_values, max_size=4), st.sampled_from([None, 2]))
def test_what_express_wrote_stays_complete_without_our_part(
    cookie: dict[str, Any], data: dict[str, Any], indent: int | None
) -> None:
    text = json.dumps({"cookie": cookie, **data}, indent=indent).encode()
    seen_by_express = read(PLAIN, text)
    for target in (JSON, PLAIN, PlainCodec()):
        made = convert(text, OLD, NEW, PLAIN, target)
        assert b"__sojourn__" not in json.loads(made.text)
        assert json.loads(made.text)["cookie"] == cookie
        assert dumps(read(target, made.text)) == dumps(seen_by_express)


@given(heads(), st.dictionaries(top_names, values, max_size=3))
def test_an_encrypted_record_is_sealed_anew_for_its_new_key_and_opens_with_nothing_else(
    head: dict[str, Any], data: dict[str, Any]
) -> None:
    source, target = EncryptedCodec(b"o" * 32), EncryptedCodec(b"n" * 32)
    text = written(JSON, data, **head)
    made = convert(source.seal(text, OLD), OLD, NEW, source, target)
    assert made.text == text
    assert target.unseal(made.data, NEW) == text
    for codec, key in ((target, OLD), (source, NEW)):
        with pytest.raises(SessionDecodeError):
            codec.unseal(made.data, key)


def ours(data: dict[str, bytes], **more: Any) -> bytes:
    """A record of Sojourn's, of the texts of its values."""
    texts = {name: Raw(text) for name, text in data.items()}
    return pack(Record(texts, b'{"originalMaxAge":null}', created=1, write=2, lifetime=None, **more))


VALUES = [
    datetime(2026, 1, 2, 3, 4, 5, 678, UTC),
    date(2026, 1, 2),
    time(3, 4),
    timedelta(days=1, microseconds=1),
    UUID(int=5),
    b"\x00\xff",
    Decimal("19.90"),
    {1, 2},
    frozenset({"a"}),
    (1, ["a"]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_each_tagged_type_is_refused_by_the_plain_codec_without_a_word_of_data(value: Any) -> None:
    with pytest.raises(SessionEncodeError) as refused:
        convert(ours({"secret name": JSON.encode([value])}), OLD, NEW, JSON, PLAIN)
    assert "secret name" not in refused.value.reason
    assert refused.value.path == "['secret name'][0]"


def test_a_tag_of_the_applications_own_is_carried_over_as_it_is_or_refused_but_never_flattened() -> None:
    data = {"price": b'{"$money":"1990"}', "n": b"1"}
    for source, target in ((JSONCodec(), JSON), (EncryptedCodec(b"o" * 32), EncryptedCodec(b"n" * 32))):
        stored = source.seal(ours(data), OLD)
        assert convert(stored, OLD, NEW, source, target).text == ours(data)
    with pytest.raises(SessionEncodeError, match="of a type that the source's codec does not know") as refused:
        convert(ours(data), OLD, NEW, JSON, PLAIN)
    assert refused.value.path == "price"


def test_a_tag_of_the_applications_own_is_converted_by_a_codec_that_knows_it() -> None:
    source = JSONCodec().register("$complex", complex, to_json=str, from_json=complex)
    target = JSONCodec().register("$z", complex, to_json=str, from_json=complex)
    made = convert(ours({"z": source.encode(1j)}), OLD, NEW, source, target)
    assert read(target, made.text) == {"z": 1j}
    assert b'{"$z":"1j"}' in made.text


def test_a_users_object_that_looks_like_a_tag_is_wrapped_and_unwrapped() -> None:
    text = b'{"cookie":{},"a":{"$set":[1]},"b":{"$date":"2026-01-02"}}'
    made = convert(text, OLD, NEW, PLAIN, JSON)
    assert made.text == b'{"cookie":{},"a":{"$dict":{"$set":[1]}},"b":{"$dict":{"$date":"2026-01-02"}}}'
    assert convert(made.text, NEW, OLD, JSON, PLAIN).text == text


def test_what_express_would_not_see_does_not_come_along() -> None:
    text = b'{"cookie":{},"save":1,"big":100000000000000000000,"n":1}'
    made = convert(text, OLD, NEW, PLAIN, JSON)
    assert repr(read(JSON, made.text)) == repr(read(PLAIN, text)) == "{'big': 1e+20, 'n': 1}"


def test_what_express_changed_in_a_record_of_ours_is_carried_over_with_our_part() -> None:
    text = json.dumps({**json.loads(ours({"n": b"1"}, login=Login("ann"))), "n": {"$set": 2}}).encode()
    made = convert(text, OLD, NEW, PLAIN, JSON)
    record = unpack(made.text)
    assert (record.owner, record.created, record.foreign_lifetime()) == ("ann", 1, UNSET)
    assert read(JSON, made.text) == {"n": {"$set": 2}}


def test_a_record_with_our_part_but_without_the_number_of_its_write_gets_one() -> None:
    tree = json.loads(ours({"n": b'{"$set":2}'}))
    del tree["__sojourn__"]["write"]
    assert unpack(convert(json.dumps(tree).encode(), OLD, NEW, PLAIN, JSON).text).write == 0


@pytest.mark.parametrize("lifetime", [600_000, None])
def test_a_lifetime_that_express_gave_a_record_of_ours_is_its_own_there_too(lifetime: int | None) -> None:
    tree = json.loads(ours({"n": b"1"}))
    tree["cookie"]["originalMaxAge"] = lifetime
    for source, target in ((PLAIN, JSON), (JSON, PLAIN), (JSON, JSON)):
        made = convert(json.dumps(tree).encode(), OLD, NEW, source, target)
        assert made.lifetime == lifetime
        assert unpack(made.text).foreign_lifetime() == (UNSET if lifetime is None else lifetime)


@pytest.mark.parametrize("is_ours", [True, False])
def test_records_of_the_version_before_are_converted_too(is_ours: bool) -> None:
    """Their sum is of data that another codec wrote: it does not come along, and what it told does."""
    total = crc32(b'3600000{"a":[1]}') + (not is_ours)
    own = b'{"v":1,"created":1,"write":2,"sum":%d}' % total
    text = b'{"cookie":{"originalMaxAge":3600000,"path":"/"},"__sojourn__":%b,"a":[1]}' % own
    made = convert(text, OLD, NEW, JSON, PLAIN)
    own = b'{"v":1,"created":1,%b"write":2}' % (b'"lifetime":3600000,' if is_ours else b"")
    assert made.text == b'{"cookie":{"originalMaxAge":3600000,"path":"/"},"__sojourn__":%b,"a":[1]}' % own
    assert unpack(made.text).foreign_lifetime() == (UNSET if is_ours else 3_600_000)


def test_a_name_that_the_target_reserves_is_refused() -> None:
    for target in (PLAIN, EncryptedCodec(b"n" * 32, codec=PLAIN)):
        with pytest.raises(SessionEncodeError, match="reserved at the target") as refused:
            convert(ours({"n": b"1", "save": b"1"}), OLD, NEW, JSON, target)
        assert refused.value.path == "save"
    assert convert(ours({"n": b'{"save":1}'}), OLD, NEW, JSON, PLAIN).text == ours({"n": b'{"save":1}'})


def test_a_codec_of_ones_own_at_the_target_is_held_to_one_json_value() -> None:
    class Sloppy(PlainCodec):
        def encode(self, value: Any, /) -> bytes:
            return super().encode(value) + b',"admin":true'

    with pytest.raises(SessionEncodeError, match="not one JSON value") as refused:
        convert(ours({"n": b"1"}), OLD, NEW, JSON, Sloppy())
    assert refused.value.path == "n"


@pytest.mark.parametrize("text", [b"1e400", b"[" * 100_000 + b"]" * 100_000])
def test_a_value_that_cannot_be_read_is_carried_over_by_the_same_codec_and_refused_by_another(text: bytes) -> None:
    stored = ours({"n": text})
    assert convert(stored, OLD, NEW, JSON, JSON).data == stored
    with pytest.raises(SessionDecodeError):
        convert(stored, OLD, NEW, JSON, PLAIN)


@pytest.mark.parametrize(
    ("given", "lifetime"),
    [
        *((None, None), (False, None), ("", None), ("a", None), (True, None), ([1], None)),
        *((0, 0), (-1, -1), (1.5, 1), (10**30, LONGEST_MS)),
    ],
)
def test_a_lifetime_is_what_the_record_says_as_express_takes_it(given: Any, lifetime: int | None) -> None:
    text = json.dumps({"cookie": {"originalMaxAge": given}}).encode()
    assert convert(text, OLD, NEW, PLAIN, PLAIN).lifetime == lifetime


@pytest.mark.parametrize(
    "broken", [b"", b"null", b"[]", b"{}", b'{"cookie":1}', b'{"cookie":{}', b'"sj1.a.b"', b"\xff"]
)
@pytest.mark.parametrize(("source", "target"), [(JSON, JSON), (PLAIN, JSON), (JSON, PLAIN), (PLAIN, PLAIN)])
def test_what_is_no_record_is_refused(broken: bytes, source: Codec, target: Codec) -> None:
    with pytest.raises(SessionDecodeError):
        convert(broken, OLD, NEW, source, target)
