"""JSON text to BSON and back, as Node's driver does it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from sojourn import SessionDecodeError, SessionEncodeError
from sojourn.codecs.text import dumps
from sojourn.stores.mongo._conversion import CODEC, bson_to_json, json_to_bson

# BSON's types by their bytes (bsonspec.org, version 1.1).
DOUBLE, STRING, DOCUMENT, ARRAY, BOOLEAN, DATE, NULL, INT32 = 1, 2, 3, 4, 8, 9, 10, 16


def document(value: Any) -> Any:
    return RawBSONDocument(bson.encode({"session": value}), CODEC)["session"]


def decoded(raw: RawBSONDocument) -> dict[str, Any]:
    return bson.decode(bytes(raw.raw))


def text(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("literal", "kind"),
    [
        ("0", INT32),
        ("2147483647", INT32),
        ("-2147483648", INT32),
        ("2147483648", DOUBLE),
        ("-2147483649", DOUBLE),
        ("9007199254740991", DOUBLE),
        ("-9007199254740991", DOUBLE),
        ("1.0", INT32),
        ("-0.0", DOUBLE),
        ("1.5", DOUBLE),
        ("1e300", DOUBLE),
        ('"x"', STRING),
        ('"2026-11-21T04:32:17.370Z"', STRING),
        ("true", BOOLEAN),
        ("null", NULL),
        ("[]", ARRAY),
        ("{}", DOCUMENT),
    ],
)
def test_each_value_has_the_type_that_node_gives_it(literal: str, kind: int):
    raw = bytes(json_to_bson(f'{{"v":{literal}}}'.encode()).raw)
    assert raw[4] == kind


def test_the_cookie_lies_in_bson_as_express_puts_it_there():
    record = (
        b'{"cookie":{"originalMaxAge":3600000,"expires":"2026-11-21T04:32:17.370Z","httpOnly":true,"path":"/"},"n":1}'
    )
    cookie = decoded(json_to_bson(record))["cookie"]
    assert list(cookie.items()) == [
        ("originalMaxAge", 3600000),
        ("partitioned", None),
        ("priority", None),
        ("expires", datetime(2026, 11, 21, 4, 32, 17, 370000)),  # noqa: DTZ001 - PyMongo's way to give UTC
        ("secure", None),
        ("httpOnly", True),
        ("domain", None),
        ("path", "/"),
        ("sameSite", None),
    ]
    assert bson_to_json(json_to_bson(record)) == record


def test_a_cookie_of_every_attribute_comes_back_as_it_was():
    record = (
        b'{"cookie":{"originalMaxAge":3600000,"partitioned":true,"priority":"high","expires":"2026-11-21T04:32:17.370Z",'
        b'"secure":true,"httpOnly":false,"domain":"example.test","path":"/app","sameSite":"strict"},"n":1}'
    )
    assert bson_to_json(json_to_bson(record)) == record


def test_an_attribute_that_a_session_set_to_null_stays_null():
    record = (
        b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"domain":null,"path":"/"},'
        b'"__sojourn__":{"v":1,"overrides":["domain"]}}'
    )
    assert bson_to_json(json_to_bson(record)) == record


@pytest.mark.parametrize("overrides", [None, 3, [1, None], [["domain"], {}], {"a": 1}, ["__proto__"]])
def test_malformed_overrides_are_none(overrides: object):
    record = text({"cookie": {"originalMaxAge": None, "path": "/"}, "__sojourn__": {"overrides": overrides}})
    assert bson_to_json(json_to_bson(record)) == record


@pytest.mark.parametrize("own", [None, 7, "x", []])
def test_a_malformed_reserved_part_is_carried_along(own: object):
    record = text({"cookie": {"path": "/"}, "__sojourn__": own})
    assert bson_to_json(json_to_bson(record)) == record


@pytest.mark.parametrize(
    "expires", ["2026-02-30T00:00:00.000Z", "tomorrow", "2026-11-21", "+012026-01-01T00:00:00.000Z"]
)
def test_an_expiry_that_is_no_iso_date_stays_text(expires: str):
    record = text({"cookie": {"originalMaxAge": 1, "expires": expires}})
    assert decoded(json_to_bson(record))["cookie"]["expires"] == expires
    assert bson_to_json(json_to_bson(record)) == record


@pytest.mark.parametrize(
    ("ms", "iso"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_235_537_370, "2026-11-21T04:32:17.370Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
        (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
        (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
        (-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
        (8_640_000_000_000_001, None),
    ],
)
def test_dates_are_written_as_javascript_writes_them(ms: int, iso: str | None):
    assert json.loads(bson_to_json(document({"d": [DatetimeMS(ms)]}))) == {"d": [iso]}


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (Int64(5), b"5"),
        (Int64(2**53 - 1), b"9007199254740991"),
        (5e9, b"5000000000"),
        (float("nan"), b"null"),
        (float("inf"), b"null"),
        (-0.0, b"-0.0"),
        (ObjectId("0123456789abcdef01234567"), b'"0123456789abcdef01234567"'),
    ],
)
def test_what_node_wrote_reads_as_its_json(value: Any, json_value: bytes):
    assert bson_to_json(document({"v": value})) == b'{"v":' + json_value + b"}"


@pytest.mark.parametrize(
    "value", [Int64(2**53), Int64(-(2**63)), b"bytes", Decimal128("1"), bson.Regex("a"), bson.MaxKey()]
)
def test_what_json_cannot_hold_is_refused_by_its_type_and_neither_it_nor_a_name_is_shown(value: Any):
    with pytest.raises(SessionDecodeError, match=r"^it holds an? ") as refused:
        bson_to_json(document({"cart\nERROR": {"items": [0, value]}}))
    assert all(hidden not in str(refused.value) for hidden in ("9223372036854775808", "bytes'", "cart", "items", "\n"))


def test_bytes_that_are_no_bson_are_refused():
    raw = bytearray(document({"v": "text"}).raw)
    raw[raw.index(b"text")] = 0xFF  # no UTF-8
    with pytest.raises(SessionDecodeError, match="not valid BSON"):
        bson_to_json(RawBSONDocument(bytes(raw), CODEC))


@pytest.mark.parametrize(
    ("record", "path", "reason"),
    [
        (b'{"a":{"b":[9007199254740992]}}', "a.b[0]", "2^53-1"),
        (b'{"a":{"b":-123456789012345678901234567890}}', "a.b", "2^53-1"),
        (b'{"a":["\\ud800"]}', "a[0]", "surrogate"),
        (b'{"a":{"\\udc00":1}}', "a", "surrogate"),
        (b'{"a\\u0000b":1}', "['a\\x00b']", "U+0000"),
        (b'"sj1.k.c2VhbGVk"', "", "encrypted"),
        (b"[]", "", "JSON objects"),
        (b"{", "", "not JSON"),
        (b"\xff", "", "not JSON"),
        (b'{"a":' + b"[" * 99 + b"]" * 99 + b"}", "a[0][0]", "100 levels"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "a.a.a", "100 levels"),
    ],
)
def test_what_bson_cannot_hold_is_refused_by_its_path(record: bytes, path: str, reason: str):
    with pytest.raises(SessionEncodeError) as refused:
        json_to_bson(record)
    assert refused.value.path == path
    assert reason in refused.value.reason


def test_as_deep_as_mongodb_holds_is_carried():
    record = b'{"a":' * 98 + b"[1]" + b"}" * 98
    assert bson_to_json(json_to_bson(record)) == record


_KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5) | st.sampled_from(
    ["$set", "a.b", "_id", "$id", "$db", "", "0", "$numberLong", "$date"]  # those that may be refused have tests below
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer() or abs(x) > 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
def test_all_other_json_comes_back_exactly_to_the_byte(tree: dict[str, Any]):
    record = dumps(tree)
    assert bson_to_json(json_to_bson(record)) == record


@given(st.datetimes(timezones=st.just(UTC)))
def test_the_cookies_expiry_goes_through_a_date_and_back(moment: datetime):
    iso = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = text({"cookie": {"originalMaxAge": 1, "expires": iso}})
    raw = json_to_bson(record)
    assert isinstance(raw["cookie"]["expires"], DatetimeMS)
    assert bson_to_json(raw) == record


def test_what_json_has_no_type_for_stays_as_it_is_stored_where_it_was_not_changed():
    date, number = DatetimeMS(1_700_000_000_000), ObjectId("0123456789abcdef01234567")
    stored = document({"at": date, "in": {"id": number, "nan": math.nan}, "list": [date, {"at": date}], "gone": date})
    tree = json.loads(bson_to_json(stored))
    del tree["gone"]
    tree["list"] += [tree["at"]]
    tree["new"] = tree["at"]
    after = json_to_bson(dumps(tree), stored)
    iso = tree["at"]
    assert (after["at"], after["in"]["id"], after["list"][1]["at"]) == (date, number, date)
    assert math.isnan(after["in"]["nan"])
    assert (after["list"][0], after["list"][2], after["new"]) == (date, iso, iso)


@pytest.mark.parametrize(
    "stored", [{"at": DatetimeMS(0)}, {"at": {"x": DatetimeMS(0)}}, {"at": [DatetimeMS(0)]}, "text"]
)
def test_what_was_changed_is_stored_as_it_is_now(stored: Any):
    changed = {"at": "1970-01-01T00:00:00.001Z"}
    assert dict(json_to_bson(dumps(changed), document(stored))) == changed


REFERENCES = [
    ({"$ref": "a", "$id": 1}, True),
    ({"$id": {}, "x": 1, "$ref": ""}, True),
    ({"$ref": "a", "$id": 1, "$db": "d"}, True),
    ({"$ref": "a", "$id": None}, False),
    ({"$ref": 1, "$id": 1}, False),
    ({"$ref": "#/a"}, False),
    ({"$ref": "a", "$id": 1, "$db": 5}, False),
    ({"$ref": "a", "$id": 1, "$other": 5}, False),
]


@pytest.mark.parametrize(("value", "is_reference"), REFERENCES)
def test_what_nodes_driver_would_read_as_a_reference_is_refused(value: Any, is_reference: bool):
    text = dumps({"in": [value]})
    if is_reference:
        with pytest.raises(SessionEncodeError, match=r"at in\[0\]\['\$ref'\]: .* DBRef"):
            json_to_bson(text)
    else:
        assert json.loads(bson_to_json(json_to_bson(text))) == {"in": [value]}


def test_what_nodes_driver_would_take_for_an_object_of_its_own_is_refused():
    with pytest.raises(SessionEncodeError, match=r"at in\._bsontype: "):
        json_to_bson(b'{"in":{"_bsontype":"ObjectId"}}')
    assert bson_to_json(json_to_bson(b'{"in":{"_bsontype":null}}')) == b'{"in":{"_bsontype":null}}'


@pytest.mark.parametrize("name", ["constructor", "__proto__", "toString"])
def test_a_list_that_nodes_driver_would_leave_as_bytes_is_refused(name: str):
    held_values: tuple[Any, ...] = ([], [1, [2]], {"a": [{}]})
    refused_values: tuple[Any, ...] = ([{}], [1, [[{"a": 1}]]])
    for held in held_values:
        text = dumps({"in": {name: held}})
        assert bson_to_json(json_to_bson(text)) == text
    for refused in refused_values:
        with pytest.raises(SessionEncodeError, match=f"at in.{name}: .* as bytes"):
            json_to_bson(dumps({"in": {name: refused}}))
