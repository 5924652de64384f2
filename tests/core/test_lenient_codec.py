"""What frameworks' own sessions write, the lenient codec writes; and what it is not asked to soften goes through as it is."""

from __future__ import annotations

import enum
import json
import math
from collections import Counter, OrderedDict, defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.codecs import EncryptedCodec, JSONCodec, LenientCodec, PlainCodec, seals, writes_plain_json
from sojourn.core.policy import decide
from sojourn.errors import ConfigurationError, SessionEncodeError
from tests.core.making import make_settings, new, stored
from tests.core.texts import texts_of


class Colour(enum.StrEnum):
    RED = "red"


class Old(str, enum.Enum):  # noqa: UP042 - as they were before there was StrEnum
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


class Point(NamedTuple):
    x: Any
    y: int


class Text(str):
    __slots__ = ()


class Moment(datetime):
    pass


class Day(date):
    pass


class Price(Decimal):
    pass


class Token(UUID):
    pass


class Raw(bytes):
    pass


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


KEYS = st.text(max_size=3) | st.sampled_from([Colour.RED, Size.SMALL]) | st.integers() | st.booleans() | st.none()
LEAVES = KEYS | st.sampled_from([Old.RED, Text("text")]) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.builds(Point, inner, st.integers())
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict)
        | st.dictionaries(KEYS, inner, max_size=3).map(lambda items: defaultdict(list, items))
    ),
    max_leaves=8,
)


@given(VALUES)
def test_over_plain_json_a_value_comes_back_as_json_dumps_would_have_it(value: Any) -> None:
    codec = LenientCodec(PlainCodec())
    back, theirs = codec.decode(codec.encode(value)), json.loads(json.dumps(value))
    assert repr(back) == repr(theirs)


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (Colour.RED, "red"),
        (Old.RED, "red"),
        (Text("a"), "a"),
        (Size.SMALL, 1),
        (Point(Colour.RED, 2), ("red", 2)),
        (OrderedDict(b=1, a=Colour.RED), {"b": 1, "a": "red"}),
        (defaultdict(list, {1: [Size.SMALL]}), {"1": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        ({None: 1, True: 2, 1.5: 3, Colour.RED: 4}, {"null": 1, "true": 2, "1.5": 3, "red": 4}),
        ({1: "one", "1": "text"}, {"1": "text"}),
        (Moment(2026, 1, 2, 3, 4, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        (Day(2026, 1, 2), date(2026, 1, 2)),
        (Price("1.50"), Decimal("1.50")),
        (Token(int=5), UUID(int=5)),
        (Raw(b"\0"), b"\0"),
        (math.inf, math.inf),
        ([-math.inf], [-math.inf]),
        (
            {"a": date(2026, 1, 2), "b": {1, 2}, "c": Colour.RED},
            {"a": date(2026, 1, 2), "b": {1, 2}, "c": "red"},
        ),
    ],
    ids=repr,
)
def test_a_value_is_written_in_its_plain_form(value: Any, back: Any) -> None:
    codec = LenientCodec()
    read = codec.decode(codec.encode(value))
    assert repr(read) == repr(back)


def test_nan_comes_back_as_a_plain_float() -> None:
    codec = LenientCodec()
    back = codec.decode(codec.encode(math.nan))
    assert type(back) is float and math.isnan(back)


@pytest.mark.parametrize(
    "value", [None, "a", 1, 1.5, [1, (2, 3)], {"a": {"b": {4}}}, {"$set": 1}, b"\0", Decimal(1)], ids=repr
)
def test_what_the_codec_beneath_holds_is_written_as_it_writes_it(value: Any) -> None:
    assert LenientCodec().encode(value) == JSONCodec().encode(value)


def test_a_subclass_that_is_registered_comes_back_as_itself() -> None:
    codec = LenientCodec(JSONCodec().register("$text", Text, to_json=str.__str__, from_json=Text))
    back = codec.decode(codec.encode([Text("a"), Colour.RED]))
    assert back == ["a", "red"] and [type(one) for one in back] == [Text, str]


@pytest.mark.parametrize(
    ("codec", "value", "path"),
    [
        (LenientCodec(), {"a": [object()]}, "a[0]"),
        (LenientCodec(), {"a": {(1, 2): 3}}, "a"),
        (LenientCodec(), {"a": {Colour.RED: {1j}}}, "a.red[0]"),
        (LenientCodec(PlainCodec()), {"a": math.nan}, "a"),
        (LenientCodec(PlainCodec()), {"a": {1, 2}}, "a"),
        (LenientCodec(PlainCodec(max_int=9)), {"a": (1, 10)}, "a[1]"),
    ],
)
def test_what_json_dumps_refuses_is_refused_with_its_path(codec: LenientCodec, value: Any, path: str) -> None:
    with pytest.raises(SessionEncodeError) as caught:
        codec.encode(value)
    assert caught.value.path == path


def test_what_contains_itself_or_is_too_deep_is_refused() -> None:
    value: dict[Any, Any] = {1: Colour.RED}
    value["self"] = value
    with pytest.raises(SessionEncodeError):
        LenientCodec().encode(value)


def test_other_values_are_asked_of_the_default_function() -> None:
    def default(value: Any) -> Any:
        if isinstance(value, Money):
            return (value.cents, Size.SMALL)
        raise TypeError(value)

    codec = LenientCodec(default=default)
    assert codec.decode(codec.encode({"price": Money(5)})) == {"price": (5, 1)}
    with pytest.raises(SessionEncodeError, match="object has no form"):
        codec.encode([object()])


def test_it_reserves_and_seals_as_the_codec_beneath_does() -> None:
    assert LenientCodec(PlainCodec(reserved={"id"})).reserved == {"id"}
    assert LenientCodec().reserved == frozenset()
    sealed = LenientCodec(EncryptedCodec(b"k" * 32))
    assert sealed.unseal(sealed.seal(b"{}", "key"), "key") == b"{}"
    assert seals(sealed) and not seals(LenientCodec())


def test_it_does_not_seal_what_the_codec_beneath_does_not() -> None:
    assert LenientCodec().seal(b"{}", "key") == LenientCodec().unseal(b"{}", "key") == b"{}"


def test_it_writes_plain_json_as_fast_as_the_codec_beneath() -> None:
    assert writes_plain_json(LenientCodec())
    assert writes_plain_json(EncryptedCodec(b"k" * 32, codec=LenientCodec()))

    class Own(LenientCodec):
        def encode(self, value: Any, /) -> bytes:
            return b"[" + super().encode(value) + b"]"

    assert not writes_plain_json(Own())


def test_a_codec_beneath_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="codec"):
        LenientCodec(object())  # type: ignore[arg-type]


def test_its_repr_names_the_codec_beneath() -> None:
    assert repr(LenientCodec()) == "LenientCodec(JSONCodec($float))"


def test_a_key_at_the_top_level_is_stored_under_its_text() -> None:
    session = new(make_settings(codec=LenientCodec()))
    items: dict[Any, Any] = {1: "one", None: "none", Colour.RED: 3, "a": 4}
    session.update(items)
    assert texts_of(decide(session._state)) == {"1": b'"one"', "null": b'"none"', "red": b"3", "a": b"4"}
    assert dict(session) == {"1": "one", "null": "none", "red": 3, "a": 4}


def test_a_key_at_the_top_level_takes_the_place_of_its_text() -> None:
    session = stored(make_settings(codec=LenientCodec()), {"1": "old", "n": 0})
    session[1] = "new"  # type: ignore[index]
    del session["n"]
    assert texts_of(decide(session._state)) == {"1": b'"new"'}


def test_a_key_at_the_top_level_is_counted_under_its_text() -> None:
    session = stored(make_settings(codec=LenientCodec()), {"1": 4})
    session[2] = session.increment(3)  # type: ignore[arg-type, index]
    assert decide(session._state).increments == {"3": 1}


def test_a_key_that_json_dumps_refuses_is_refused_at_the_top_level_too() -> None:
    session = new(make_settings(codec=LenientCodec()))
    session[(1, 2)] = 1  # type: ignore[index]
    with pytest.raises(SessionEncodeError, match="a key of type tuple"):
        decide(session._state)


def test_an_enum_that_is_written_again_is_no_change() -> None:
    session = stored(make_settings(codec=LenientCodec()), {"colour": "red"})
    session["colour"] = Colour.RED
    assert decide(session._state).write is None
