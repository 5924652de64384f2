"""What session data become, and that they come back as they were."""

from __future__ import annotations

import enum
import json
import math
import sys
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from unittest import mock
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.codecs import Codec, JSONCodec, PlainCodec, Tag, base, dumps, is_tagged, loads, path_of, tagged
from sojourn.errors import ConfigurationError, SessionDecodeError, SessionEncodeError

JS_MAX = 2**53 - 1


def joined(text: str) -> str:
    """Surrogates that make a pair, as the character that they stand for: JSON knows no other reading."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


any_text = st.text(st.characters(exclude_categories=()), max_size=8).map(joined)
keys = any_text | st.sampled_from(["$", "$set", "$dict", "$datetime", "$tuple", "$date", "$unknown", "cookie", "a"])
plain_leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text
)  # fmt: skip
plain_values = st.recursive(
    plain_leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)

# Python takes an offset of less than a second for UTC when it reads it: datetime.fromisoformat("2000-01-01T00:00+00:00:00.000001").
offsets = (
    st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
    .filter(lambda offset: not 0 < abs(offset.total_seconds()) < 1)
    .map(timezone)
)
zones = st.none() | st.just(UTC) | offsets
clocks = st.datetimes(timezones=zones) | st.times(timezones=zones)
tagged_leaves = (
    clocks
    | st.builds(lambda moment, fold: moment.replace(fold=fold), st.datetimes() | st.times(), st.integers(0, 1))
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.binary(max_size=20)
    | st.decimals()
)
hashable = st.recursive(
    plain_leaves | tagged_leaves.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan())),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
values = st.recursive(
    plain_leaves | tagged_leaves | hashable | st.sets(hashable, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=10,
)


def form(value: Any) -> Any:
    """Something that is equal exactly where two values are of the same types and the same content."""
    kind = type(value)
    if kind is dict:
        return kind, [(key, form(item)) for key, item in value.items()]
    if kind in (list, tuple):
        return kind, [form(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted((form(item) for item in value), key=repr)
    if kind in (datetime, time):
        return kind, value.isoformat(), value.tzinfo is None and value.fold
    return kind, repr(value)


def strictly(raw: bytes) -> Any:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    return json.loads(raw.decode(), parse_constant=refuse)


# The text


@given(plain_values)
def test_json_text_comes_back_exactly(tree: Any) -> None:
    assert form(loads(dumps(tree))) == form(tree)


@given(plain_values)
def test_json_text_is_valid_for_a_strict_reader(tree: Any) -> None:
    assert form(strictly(dumps(tree))) == form(tree)


@given(st.binary(max_size=30) | any_text.map(lambda text: text.encode(errors="backslashreplace")))
def test_any_bytes_are_read_as_json_or_refused_as_a_record(raw: bytes) -> None:
    try:
        expected = strictly(raw)
    except (ValueError, AssertionError):
        with pytest.raises(SessionDecodeError):
            loads(raw)
    else:
        assert form(loads(raw)) == form(expected)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b'{"a":1,}', b"NaN", b"[Infinity]", b"[-Infinity]", b"1e400", b'["\\ud800",1e400]', b'["\\ud800",NaN]',
        b'"\xff"', b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}", b"{}{}", b'"\x01"', b"[" * 200_000, b"9" * 5000,
        b'["\\ud800",' + b"9" * 5000 + b"]", '{"a":1}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_malformed_text_is_refused_and_not_quoted(raw: bytes) -> None:
    with pytest.raises(SessionDecodeError) as caught:
        loads(raw)
    assert str(caught.value) == "the record is not valid JSON"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_lone_surrogates_are_escaped_as_javascript_does() -> None:
    assert dumps({"\udc00": "é\ud800"}) == '{"\\udc00":"é\\ud800"}'.encode()
    assert loads(b'{"a":"\\uD83D"}') == {"a": "\ud83d"}


def test_integers_of_any_size_are_exact() -> None:
    for value in (2**64, -(2**63) - 1, 10**400, -(10**4000)):
        assert loads(dumps([value])) == [value]
        assert JSONCodec().decode(JSONCodec().encode((value,))) == (value,)


def test_text_that_is_too_deep_to_write_is_refused() -> None:
    tree: list[Any] = []
    for _ in range(100_000):
        tree = [tree]
    with pytest.raises(SessionEncodeError, match="nested too deeply"):
        dumps(tree)
    while tree:  # taken apart by hand: 3.11 frees nested lists by recursion
        tree = tree.pop()


def test_an_integer_too_long_to_write_is_refused() -> None:
    with pytest.raises(SessionEncodeError, match="more digits than Python converts"):
        dumps([10**5000])


# Both codecs


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec()])
@given(value=plain_values)
def test_plain_data_come_back_with_their_types(codec: Codec, value: Any) -> None:
    raw = codec.encode(value)
    strictly(raw)
    assert form(codec.decode(raw)) == form(value)


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec(max_int=JS_MAX, dates_as_iso=True)])
@given(value=values)
def test_the_quick_look_changes_no_byte_and_no_refusal(codec: Codec, value: Any) -> None:
    def outcome() -> bytes | str:
        try:
            return codec.encode(value)
        except SessionEncodeError as error:
            return str(error)

    quick = outcome()
    with mock.patch.object(base, "_is_plain", return_value=False):
        assert outcome() == quick


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec()])
def test_a_record_passes_to_and_from_the_store_as_it_is(codec: Codec) -> None:
    assert codec.seal(b"{}", "key") == b"{}"
    assert codec.unseal(b"{}", "key") == b"{}"


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec()])
@pytest.mark.parametrize("name", ["cookie", "__sojourn__"])
def test_the_records_own_names_are_nothing_special_within_a_value(codec: Codec, name: str) -> None:
    assert codec.encode({name: 1}) == b'{"%b":1}' % name.encode()


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec()])
@pytest.mark.parametrize(
    ("value", "text"),
    [(None, b"null"), (True, b"true"), (0, b"0"), (-1.5, b"-1.5"), ("é", '"é"'.encode()), ([], b"[]"), ({}, b"{}")],
)
def test_a_value_may_be_any_json_value(codec: Codec, value: Any, text: bytes) -> None:
    assert codec.encode(value) == text
    assert form(codec.decode(text)) == form(value)


class Text(str):
    __slots__ = ()


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 1


class Real(float):
    pass


class Point(NamedTuple):
    x: int


class Moment(datetime):
    pass


UNHELD: list[tuple[Any, str, str]] = [
    (math.nan, "", "JSON has no NaN"),
    (-math.inf, "", "no infinity"),
    (object(), "", "a object has no form in JSON; convert it first"),
    (bytearray(b"x"), "", "a bytearray has no form in JSON"),
    (len, "", "builtin_function_or_method has no form"),
    ({1: 2}, "", "a key of type int; JSON's keys are strings, use str(key)"),
    ({None: 2}, "", "a key of type NoneType"),
    ({Text("a"): 2}, "", r"a key of type .*\.Text"),
    (Text("a"), "", r"a .*\.Text would come back as a plain str; convert it first"),
    (Colour.RED, "", "plain str"),
    (Level.HIGH, "", "plain int"),
    (Real(1), "", "plain float"),
    (OrderedDict(a=1), "", "a collections.OrderedDict would come back as a plain dict"),
    (defaultdict(list), "", "plain dict"),
    ([[1, {"ok": 1, "not ok": object()}]], "[0][1]['not ok']", "no form"),
    ({"b": {"c": [0, math.inf]}}, ".b.c[1]", "no infinity"),
    ({"$b": {"1": object()}}, "['$b']['1']", "no form"),
    ([10**5000], "[0]", "more digits than Python converts"),
]


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec()])
@pytest.mark.parametrize(("value", "path", "reason"), UNHELD)
def test_what_cannot_be_held_is_refused_with_its_path_and_the_remedy(
    codec: Codec, value: Any, path: str, reason: str
) -> None:
    pattern = reason.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(SessionEncodeError, match=pattern) as caught:
        codec.encode({"first": 1, "cart": value})
    assert caught.value.path == "cart" + path
    with pytest.raises(SessionEncodeError, match=pattern) as caught:
        codec.encode(value)
    assert caught.value.path == path.removeprefix(".")
    assert path_of("cart", caught.value.path) == "cart" + path


@pytest.mark.parametrize(
    ("name", "inner", "path"),
    [
        ("cart", "", "cart"),
        ("cart", "items[2]", "cart.items[2]"),
        ("cart", "[0].a", "cart[0].a"),
        ("cart", "['unit price']", "cart['unit price']"),
        ("my cart", "", "['my cart']"),
        ("my cart", "a", "['my cart'].a"),
        ("my cart", "[0]", "['my cart'][0]"),
        ("", "a", "[''].a"),
        ("\ud800", "", "['\\ud800']"),
        (1, "", "[1]"),
    ],
)
def test_a_path_in_a_session_begins_with_the_values_name(name: Any, inner: str, path: str) -> None:
    assert path_of(name, inner) == path


def test_a_refusal_of_the_default_codec_names_registration() -> None:
    with pytest.raises(SessionEncodeError, match=r"or register its type: JSONCodec\(\)\.register"):
        JSONCodec().encode(defaultdict(int))


@pytest.mark.parametrize(("value", "plain"), [(Point(1), "tuple"), (Moment(2026, 1, 1), "datetime.datetime")])
def test_a_subclass_of_a_tagged_type_is_refused_too(value: Any, plain: str) -> None:
    with pytest.raises(SessionEncodeError, match=f"would come back as a plain {plain}"):
        JSONCodec().encode(value)


def nested(depth: int, build: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = build(value)
    return value


def containing_itself(kind: type) -> Any:
    inner: list[Any] = []
    inner.append({"a": inner} if kind is dict else kind([inner]))
    return inner


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec()])
@pytest.mark.parametrize("build", [lambda value: [value], lambda value: {"a": value}])
def test_nesting_is_held_up_to_the_limit(codec: Codec, build: Any) -> None:
    value = nested(base.MAX_DEPTH, build)
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(SessionEncodeError, match="nested too deeply") as caught:
        codec.encode(nested(base.MAX_DEPTH + 1, build))
    assert caught.value.path in {"[0][0][0]", "a.a.a"}


def test_the_limit_of_nesting_is_the_documented_one() -> None:
    assert base.MAX_DEPTH == 200


@pytest.mark.parametrize(
    "build", [lambda value: (value,), lambda value: {"$a": value}, lambda value: frozenset([value])]
)
def test_tagged_nesting_is_held_up_to_the_limit(build: Any) -> None:
    codec, value = JSONCodec(), nested(base.MAX_DEPTH, build)
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(SessionEncodeError, match="nested too deeply"):
        codec.encode(nested(base.MAX_DEPTH + 1, build))


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_data_that_contain_themselves_are_refused(kind: type) -> None:
    with pytest.raises(SessionEncodeError, match="containing itself") as caught:
        JSONCodec().encode(containing_itself(kind))
    assert len(caught.value.path) < 40


def test_a_caller_near_the_recursion_limit_gets_our_error() -> None:
    def sink(depth: int) -> bytes:
        return sink(depth - 1) if depth else JSONCodec().encode(nested(150, lambda value: (value,)))

    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]
    with pytest.raises(SessionEncodeError, match="nested too deeply"):
        sink(sys.getrecursionlimit() - used - 120)


# The default codec


@given(values)
def test_every_held_value_comes_back_with_its_type(value: Any) -> None:
    codec = JSONCodec()
    raw = codec.encode(value)
    strictly(raw)
    assert form(codec.decode(raw)) == form(value)


@given(values)
def test_what_was_read_is_written_as_it_was(value: Any) -> None:
    codec = JSONCodec()
    raw = codec.encode(value)
    assert codec.encode(codec.decode(raw)) == raw


@given(values)
def test_the_quick_look_for_tags_misses_none(value: Any) -> None:
    codec = JSONCodec()
    raw = codec.encode(value)
    with mock.patch.object(tagged, "_find_tag", return_value=True):
        assert form(codec.decode(raw)) == form(value)


@given(st.lists(hashable, max_size=6, unique_by=lambda value: json.dumps(repr(form(value)))))
def test_equal_sets_are_equal_text(items: list[Any]) -> None:
    one, other = set(items), set()
    for item in sorted(one, key=lambda value: repr(form(value)), reverse=True):
        other.add(item)
    assert JSONCodec().encode(one) == JSONCodec().encode(other)
    assert JSONCodec().encode(frozenset(one)) == JSONCodec().encode(frozenset(other))


@given(plain_values)
def test_foreign_objects_are_read_without_an_exception_and_then_stay_as_they_are(value: Any) -> None:
    """Others write whatever they like, such as MongoDB's ``{"$set": {...}}``."""
    codec = JSONCodec()
    once = codec.decode(dumps(value))
    assert form(codec.decode(codec.encode(once))) == form(once)


WRITTEN: list[tuple[Any, str]] = [
    (datetime(2026, 11, 21, 4, 32, 17, 370001), '{"$datetime":"2026-11-21T04:32:17.370001"}'),  # noqa: DTZ001 - naive
    (datetime(2026, 11, 21, tzinfo=UTC), '{"$datetime":"2026-11-21T00:00:00+00:00"}'),
    (datetime(2026, 10, 25, 2, 30, fold=1), '{"$datetime":["2026-10-25T02:30:00",1]}'),  # noqa: DTZ001 - naive
    (date(2026, 1, 2), '{"$date":"2026-01-02"}'),
    (time(4, 5, tzinfo=timezone(timedelta(hours=-3))), '{"$time":"04:05:00-03:00"}'),
    (timedelta(days=-1, microseconds=1), '{"$timedelta":-86399999999}'),
    (timedelta.max, '{"$timedelta":86399999999999999999}'),
    (UUID(int=5), '{"$uuid":"00000000-0000-0000-0000-000000000005"}'),
    (b"\x00\xff", '{"$bytes":"AP8="}'),
    (Decimal("-0.10"), '{"$decimal":"-0.10"}'),
    (Decimal("sNaN7"), '{"$decimal":"sNaN7"}'),
    ({3, 10, 2}, '{"$set":[10,2,3]}'),
    (frozenset("ba"), '{"$frozenset":["a","b"]}'),
    ((1, (), [set()]), '{"$tuple":[1,{"$tuple":[]},[{"$set":[]}]]}'),
    ({"$x": b""}, '{"$dict":{"$x":{"$bytes":""}}}'),
    ({"$dict": {"$set": 1}}, '{"$dict":{"$dict":{"$dict":{"$set":1}}}}'),
    ({"$a": 1, "$b": 2}, '{"$a":1,"$b":2}'),
    ({"a$": 1}, '{"a$":1}'),
]


@pytest.mark.parametrize(("value", "text"), WRITTEN)
def test_the_written_form_of_each_type_is_stable(value: Any, text: str) -> None:
    assert JSONCodec().encode(value) == text.encode()
    assert form(JSONCodec().decode(text.encode())) == form(value)
    within = b'{"v":[%b]}' % text.encode()
    assert JSONCodec().encode({"v": [value]}) == within
    assert form(JSONCodec().decode(within)) == form({"v": [value]})


def test_a_time_zone_becomes_the_offset_it_had() -> None:
    there = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    came = JSONCodec().decode(JSONCodec().encode(there))
    assert came == there.astimezone(UTC)
    assert came.utcoffset() == timedelta(hours=1)


def test_a_time_whose_zone_has_no_offset_without_a_date_is_refused() -> None:
    with pytest.raises(SessionEncodeError, match="no offset without a date"):
        JSONCodec().encode(time(1, tzinfo=ZoneInfo("Europe/Berlin")))


@pytest.mark.parametrize(
    "foreign",
    [
        {"$money": 1}, {"$": 1}, {"$set": {"a": 1}}, {"$set": [[1]]}, {"$set": None}, {"$tuple": "ab"}, {"$uuid": 5},
        {"$uuid": "x"}, {"$bytes": "é"}, {"$bytes": "a"}, {"$bytes": "YWJj_-"}, {"$bytes": "YW Jj"}, {"$bytes": "AP9="}, {"$bytes": "AP8"}, {"$bytes": "AP8=="}, {"$bytes": [1]}, {"$decimal": "one"}, {"$decimal": 1.5},
        {"$datetime": 0}, {"$datetime": "soon"}, {"$datetime": ["2026-01-01", 2]}, {"$datetime": [1]}, {"$time": {}},
        {"$date": "2026-11-21T04:32:17.370Z"}, {"$date": {"$numberLong": "1"}}, {"$timedelta": True},
        {"$timedelta": 10**30}, {"$dict": 1}, {"$dict": {}}, {"$dict": {"a": 1}}, {"$dict": {"$a": 1, "b": 2}},
    ],
)  # fmt: skip
def test_what_only_looks_like_a_tag_is_left_a_dict(foreign: dict[str, Any]) -> None:
    codec = JSONCodec()
    for value in (foreign, {"v": [foreign]}):
        assert form(codec.decode(dumps(value))) == form(value)
        assert form(codec.decode(codec.encode(value))) == form(value)


@pytest.mark.parametrize(
    "raw",
    [b'{ "$tuple" : [ 1 ] }', b' {\n\t"\\u0024tuple":[1]} ', b'{"\\u0024\\u0074uple":[1]}', b'{"$\\u0074uple":[1]}'],
)
def test_a_tag_is_recognized_however_it_is_spaced_or_escaped(raw: bytes) -> None:
    assert JSONCodec().decode(raw) == (1,)
    assert JSONCodec().decode(b'{"v":[%b]}' % raw) == {"v": [(1,)]}


def test_values_without_tags_are_not_walked() -> None:
    with mock.patch.object(JSONCodec, "_revive", side_effect=AssertionError):
        for value in ("$", ["$set", {"a": "$"}], {"a": '{"\\'}, '{"$set":1}', 1, None):
            assert JSONCodec().decode(dumps(value)) == value


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec()])
def test_text_that_is_too_deep_to_read_is_refused(codec: Codec) -> None:
    for text in (b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
        with pytest.raises(SessionDecodeError):
            codec.decode(text)


def test_a_value_too_deep_to_revive_is_refused() -> None:
    """It takes more calls than to read it."""
    depth = 700
    with pytest.raises(SessionDecodeError, match="nested too deeply"):
        JSONCodec().decode(b'{"a":' * depth + b'{"$set":[1]}' + b"}" * depth)


@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec()])
def test_a_value_nested_deeper_than_we_write_can_be_read(codec: Codec) -> None:
    depth = base.MAX_DEPTH + 100
    value = codec.decode(b"[" * depth + b"]" * depth)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


class Money:
    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.amount == other.amount

    def __hash__(self) -> int:
        return hash(self.amount)


def test_own_types_are_registered_on_a_new_codec() -> None:
    old = JSONCodec()
    codec = old.register("$money", Money, to_json=lambda money: money.amount, from_json=Money)
    tree = {"price": Money(Decimal("1.50")), "set": {Money(Decimal(2))}}
    raw = codec.encode(tree)
    assert raw == b'{"price":{"$money":{"$decimal":"1.50"}},"set":{"$set":[{"$money":{"$decimal":"2"}}]}}'
    assert codec.decode(raw) == tree
    assert repr(codec) == "JSONCodec($money)"
    with pytest.raises(SessionEncodeError, match="Money has no form in JSON"):
        old.encode(tree)
    assert old.decode(raw)["price"] == {"$money": Decimal("1.50")}


def test_a_registered_subclass_is_held() -> None:
    codec = JSONCodec().register("$colour", Colour, to_json=lambda colour: colour.value, from_json=Colour)
    assert codec.decode(codec.encode(Colour.RED)) is Colour.RED
    assert codec.decode(b'{"$colour":"green"}') == {"$colour": "green"}


def test_an_error_of_another_kind_while_reading_an_own_type_is_the_apps_to_see() -> None:
    def broken(_payload: Any) -> Money:
        raise RuntimeError("broken")

    codec = JSONCodec().register("$money", Money, to_json=str, from_json=broken)
    with pytest.raises(RuntimeError, match="broken"):
        codec.decode(b'{"$money":1}')


def test_an_own_type_that_is_written_as_itself_is_refused() -> None:
    codec = JSONCodec(Tag("$money", Money, lambda money: money, Money))
    with pytest.raises(SessionEncodeError, match="containing itself"):
        codec.encode(Money(Decimal(1)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("money", Money), ("$", Money), ("$dict", Money), ("$set", Money), ("$x", dict), ("$x", str), ("$x", datetime)],
)
def test_a_name_or_type_that_is_taken_is_refused(name: str, kind: type) -> None:
    with pytest.raises(ConfigurationError):
        JSONCodec().register(name, kind, to_json=str, from_json=kind)


@given(st.dictionaries(keys, st.none(), max_size=2))
def test_a_tag_has_one_key_that_begins_with_a_dollar(tree: dict[str, None]) -> None:
    assert is_tagged(tree) == (len(tree) == 1 and "".join(tree).startswith("$"))


# The plain codec


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), UUID(int=1), b"x", Decimal(1), {1}, (1,), timedelta(1)],
)
def test_the_plain_codec_refuses_what_json_has_not(value: Any) -> None:
    with pytest.raises(SessionEncodeError, match=r"has no form in JSON; convert it first$") as caught:
        PlainCodec().encode({"a": [{"b": value}]})
    assert caught.value.path == "a[0].b"


def test_the_plain_codec_reads_and_writes_dollars_as_they_are() -> None:
    raw = b'{"q":{"$set":[1]}}'
    assert PlainCodec().encode({"q": {"$set": [1]}}) == raw
    assert PlainCodec().decode(raw) == {"q": {"$set": [1]}}
    assert PlainCodec().encode({"$set": [1]}) == b'{"$set":[1]}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 21, 4, 32, 17, 370999, UTC), "2026-11-21T04:32:17.370Z"),
        (datetime(2026, 11, 21, 0, 30, tzinfo=timezone(timedelta(hours=2))), "2026-11-20T22:30:00.000Z"),
        (datetime(33, 1, 1, tzinfo=UTC), "0033-01-01T00:00:00.000Z"),
    ],
)
def test_dates_are_written_as_javascript_writes_them(value: datetime, text: str) -> None:
    assert PlainCodec(dates_as_iso=True).encode({"at": [value]}) == b'{"at":["%b"]}' % text.encode()
    assert PlainCodec(dates_as_iso=True).encode(value) == b'"%b"' % text.encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (datetime(2026, 1, 1), "naive"),  # noqa: DTZ001 - that is the point
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "outside of the years"),
        (date(2026, 1, 1), "has no form"),
        (Moment(2026, 1, 1, tzinfo=UTC), "has no form"),
    ],
)
def test_dates_without_an_instant_for_javascript_are_refused(value: Any, reason: str) -> None:
    with pytest.raises(SessionEncodeError, match=reason):
        PlainCodec(dates_as_iso=True).encode(value)


@pytest.mark.parametrize("value", [JS_MAX + 1, -JS_MAX - 1, 10**30])
@pytest.mark.parametrize(
    ("wrap", "path"), [(lambda n: n, ""), (lambda n: [n], "[0]"), (lambda n: {"b": [1, {"c": n}]}, "b[1].c")]
)
def test_integers_beyond_the_limit_are_refused_anywhere(value: int, wrap: Any, path: str) -> None:
    codec = PlainCodec(max_int=JS_MAX)
    for held in (JS_MAX, -JS_MAX, 1e300):
        assert codec.encode(wrap(held)) == dumps(wrap(held))
    with pytest.raises(SessionEncodeError, match="store it as text") as caught:
        codec.encode(wrap(value))
    assert caught.value.path == path


@pytest.mark.parametrize(
    "number", [str(JS_MAX + 1), "12345678901234567000", "-12345678901234567000", "99999999999999999999"]
)
def test_numbers_that_javascript_wrote_beyond_its_exact_integers_are_its_doubles(number: str) -> None:
    """Or a session that was merely read could not be saved again."""
    codec = PlainCodec(max_int=JS_MAX)
    raw = b'{"a":%s,"b":[{"c":%s},5,"1234567890123456789"],"d":%d}' % (number.encode(), number.encode(), JS_MAX)
    value = codec.decode(raw)
    assert form(value) == form({"a": float(number), "b": [{"c": float(number)}, 5, "1234567890123456789"], "d": JS_MAX})
    assert form(codec.decode(codec.encode(value))) == form(value)
    assert form(codec.decode(number.encode())) == form(float(number))
    assert form(PlainCodec().decode(raw)) == form(loads(raw))


def test_integers_that_javascript_would_have_written_with_an_exponent_stay() -> None:
    for value in (10**21, -(10**400)):
        assert form(PlainCodec(max_int=JS_MAX).decode(b"[%d]" % value)) == form([value])
        assert form(PlainCodec(max_int=JS_MAX).decode(b"%d" % value)) == form(value)


def test_further_names_are_reserved_for_a_sessions_values_alone() -> None:
    codec = PlainCodec(reserved=["save", "toString"])
    assert codec.reserved == {"save", "toString"}
    assert codec.encode({"save": 1}) == b'{"save":1}'
    assert codec.decode(b'{"save":1}') == {"save": 1}
    assert PlainCodec().reserved == frozenset()
