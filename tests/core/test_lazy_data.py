"""What stays true though a session's data are decoded and encoded value by value, as they are used. See also the model beside it."""

from __future__ import annotations

import copy
import enum
import gc
import logging
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, Final

import pytest

from sojourn.codecs import Codec, EncryptedCodec, JSONCodec, PlainCodec, Tag, loads
from sojourn.core.commit import commit
from sojourn.core.plan import Replace
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.state import State
from sojourn.core.store import CONFLICT, Stored
from sojourn.errors import SessionEncodeError
from sojourn.logs import log
from sojourn.middleware.sessions import StoreSessions
from sojourn.stores import MemoryStore
from tests.core.making import DAY, ID, begin, clock_of, make_settings, record_bytes, stored, stored_state
from tests.core.playing import ask, play, theirs
from tests.core.records import EXPRESS, LARGEST, OURS, data_part, record, values, written


class CountingCodec(JSONCodec):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[Any] = []
        self.decoded: list[bytes] = []
        self.unsealed = 0

    def encode(self, value: Any, /) -> bytes:
        self.encoded.append(copy.deepcopy(value))
        return super().encode(value)

    def decode(self, text: bytes, /) -> Any:
        self.decoded.append(text)
        return super().decode(text)

    def unseal(self, stored: bytes, key: str, /) -> bytes:
        self.unsealed += 1
        return super().unseal(stored, key)


# -- what counts as a change ----------------------------------------------------------------------------------------------


def reorder(tree: dict[str, Any]) -> None:
    tree["a"] = tree.pop("a")


CHANGES_WITHIN: Final[list[Any]] = [
    (b"[1]", lambda value: value.append(2), b"[1,2]"),
    (b"[1]", lambda value: value.clear(), b"[]"),
    (b"[[1]]", lambda value: value[0].append(2), b"[[1,2]]"),
    (b'{"a":{}}', lambda value: value["a"].update(b=[]), b'{"a":{"b":[]}}'),
    (b'{"a":1,"b":2}', lambda value: value.pop("a"), b'{"b":2}'),
    (b"[1]", lambda value: value.__setitem__(0, True), b"[true]"),
    (b"[1]", lambda value: value.__setitem__(0, 1.0), b"[1.0]"),
    (b"[true]", lambda value: value.__setitem__(0, 1), b"[1]"),
    (b"[0.0]", lambda value: value.__setitem__(0, -0.0), b"[-0.0]"),
    (b"[[1]]", lambda value: value.__setitem__(0, (1,)), b'[{"$tuple":[1]}]'),
    (b'{"a":1,"b":2}', reorder, b'{"b":2,"a":1}'),
    (b'{"$set":[1]}', lambda value: value.add(2), b'{"$set":[1,2]}'),
    (b'{"$tuple":[[]]}', lambda value: value[0].append(1), b'{"$tuple":[[1]]}'),
    (b'{ "a" : [ 1E5 ] }', lambda value: value.update(b=1), b'{"a":[100000.0],"b":1}'),
]


def first_of(view: Any) -> Any:
    return next(iter(view))


@pytest.mark.parametrize(
    "hand_out",
    [
        lambda session: session["k"],
        lambda session: session.get("k"),
        lambda session: first_of(session.values()),
        lambda session: first_of(session.items())[1],
        lambda session: dict(session)["k"],
        lambda session: session.setdefault("k", None),
    ],
    ids=["[]", "get", "values", "items", "dict", "setdefault"],
)
@pytest.mark.parametrize(("before", "change", "after"), CHANGES_WITHIN)
def test_a_change_within_what_was_handed_out_is_stored(
    before: bytes, change: Callable[[Any], object], after: bytes, hand_out: Callable[[Session], Any]
) -> None:
    session = stored(OURS, values(k=before, other=b"[ 1 ]"))
    value = hand_out(session)
    assert written(session) is None
    change(value)
    assert written(session) == b'"k":' + after + b',"other":[ 1 ]'
    assert session["k"] is value


def test_a_change_within_what_was_handed_out_is_seen_also_after_a_save() -> None:
    state = stored_state(OURS, values(k=b"[1]", m=b"1"))
    session = Session(state)
    value = session["k"]
    session["m"] = 2
    plan, _ops = ask(state, "version")
    assert data_part(OURS, plan.write) == b'"k":[1],"m":2'
    assert written(session) is None
    value.append(2)
    assert written(session) == b'"k":[1,2],"m":2'


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        (b"1", True, b"true"),
        (b"1", 1.0, b"1.0"),
        (b"1", "1", b'"1"'),
        (b"true", 1, b"1"),
        (b"1.0", 1, b"1"),
        (b"0", -0.0, b"-0.0"),
        (b"0.0", -0.0, b"-0.0"),
        (b"null", False, b"false"),
        (b"[1]", (1,), b'{"$tuple":[1]}'),
        (b"[1]", {1}, b'{"$set":[1]}'),
        (b"[1]", frozenset([1]), b'{"$frozenset":[1]}'),
        (b'"2026-01-02"', date(2026, 1, 2), b'{"$date":"2026-01-02"}'),
        (b'{"$decimal":"1.0"}', Decimal(1), b'{"$decimal":"1"}'),
        (b'{"$x":1}', {"$x": True}, b'{"$dict":{"$x":true}}'),
    ],
)
@pytest.mark.parametrize("is_read", [False, True])
def test_a_change_of_type_is_a_change(before: bytes, value: Any, after: bytes, *, is_read: bool) -> None:
    session = stored(OURS, values(k=before))
    if is_read:
        session["k"]
    session["k"] = value
    assert written(session) == b'"k":' + after


def test_the_order_of_keys_counts() -> None:
    session = stored(OURS, values(a=b"1", b=b"2"))
    session["a"] = session.pop("a")
    assert written(session) == b'"b":2,"a":1'
    session["b"] = session.pop("b")
    assert written(session) is None
    session["k"] = session.pop("k", 3)
    del session["k"]
    assert written(session) is None


@pytest.mark.parametrize("before", [b'{"b":1,"a":2}', b'{ "b" : 1 , "a" : 2 }'])
def test_the_order_of_keys_counts_within_a_value_too(before: bytes) -> None:
    session = stored(OURS, values(k=before))
    session["k"] = {"b": 1, "a": 2}
    assert written(session) is None
    session["k"] = {"a": 2, "b": 1}
    assert written(session) == b'"k":{"a":2,"b":1}'


def test_what_was_changed_and_changed_back_is_no_change() -> None:
    session = stored(OURS, values(a=b"[ 1 ]", b=b"1E5", c=b'"\\u0061"'))
    session["a"].append(2)
    session["a"].pop()
    session["b"] = 5
    session["b"] = 100_000.0
    session["c"] = "a"
    session["d"] = 1
    del session["d"]
    assert written(session) is None


class _Text(str):
    __slots__ = ()


class _List(list):
    pass


class _Color(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("before", "value"),
    [
        (b'"red"', _Text("red")),
        (b'"red"', _Color.RED),
        (b"[1]", _List([1])),
        (b'{"a":1}', OrderedDict(a=1)),
        (b'["red"]', [_Text("red")]),
        (b'{"red":1}', {_Text("red"): 1}),
        (b"[[1]]", [_List([1])]),
    ],
)
def test_a_value_of_another_type_is_refused_also_where_it_equals_the_one_before(before: bytes, value: Any) -> None:
    session = stored(OURS, values(k=before))
    session["k"] = value
    with pytest.raises(SessionEncodeError) as raised:
        decide(session._state)
    assert raised.value.path.startswith("k")


# -- what other programs wrote --------------------------------------------------------------------------------------------

FOREIGN: Final[dict[bytes, Any]] = {
    b"1E5": 100_000.0,
    b"1e+21": 1e21,
    b"1.0": 1.0,
    b"1.50": 1.5,
    b"-0": 0,
    b"-0.0": -0.0,
    b"0.10e1": 1.0,
    b"100000000000000000000": 10**20,
    b"18446744073709551616": 2**64,
    b"-9223372036854775809": -(2**63) - 1,
    b"123456789012345678901234567890": 123456789012345678901234567890,
    b"9" * 4000: 10**4000 - 1,
    b'"\\u0061"': "a",
    b'"\\/\\u000A"': "/\n",
    b'"\\ud83d\\ude00"': "😀",
    '"ü\u2028"'.encode(): "ü\u2028",
    b'"\\ud800"': "\ud800",
    b'["\\udfff", "\\ud800\\udc00"]': ["\udfff", "𐀀"],
    b'{"\\ud800":1}': {"\ud800": 1},
    b"[ 1 ,\t2 ]": [1, 2],
    b'{ "b" :\r\n1, "a" : 2 }': {"b": 1, "a": 2},
    b'{"a":1,"b":2,"a":[3]}': {"a": [3], "b": 2},
    b"[ ]": [],
    b'{"a":[1E5,{"b":"\\u0061"}]}': {"a": [100_000.0, {"b": "a"}]},
    b'{ "$date" : "2026-01-02" }': date(2026, 1, 2),
    b'{"\\u0024tuple":[ 1 ]}': (1,),
    b'{"$set":[2, 1]}': {1, 2},
    b'{"$date":"tomorrow"}': {"$date": "tomorrow"},
    b'{"$unknown":1}': {"$unknown": 1},
}
READ: Final[dict[str, Callable[[Session], Any]]] = {
    "not at all": lambda session: None,
    "[]": lambda session: session["k"],
    "get": lambda session: session.get("k"),
    "values": lambda session: list(session.values()),
    "items": lambda session: list(session.items()),
    "setdefault": lambda session: session.setdefault("k", 5),
    "set to the same": lambda session: session.__setitem__("k", copy.deepcopy(session["k"])),
}


@pytest.mark.parametrize("text", FOREIGN)
@pytest.mark.parametrize("read", READ)
def test_what_another_program_wrote_otherwise_than_we_would_is_carried_over_byte_for_byte(
    text: bytes, read: str
) -> None:
    session = stored(OURS, values(k=text, m=b"1"))
    READ[read](session)
    assert written(session) is None
    session["m"] = 2
    assert written(session) == b'"k":' + text + b',"m":2'
    assert repr(session["k"]) == repr(FOREIGN[text])
    assert written(session) == b'"k":' + text + b',"m":2'


@pytest.mark.parametrize("text", FOREIGN)
def test_it_is_carried_over_also_to_another_id_and_where_another_request_wrote_meanwhile(text: bytes) -> None:
    session = stored(OURS, values(k=text, m=b"1"))
    session["k"]
    session.regenerate(keep_data=True)
    assert written(session) == b'"k":' + text + b',"m":1'
    state = stored_state(OURS, values(k=text, m=b"1"))
    Session(state)["k"]
    Session(state)["m"] = 2
    other = values(k=text, n=b"[ 3 ]", m=b"1")
    plan, _ops = ask(state, CONFLICT, Stored(other, other, DAY), "version")
    assert data_part(OURS, plan.write) == b'"k":' + text + b',"n":[ 3 ],"m":2'


def test_numbers_that_javascript_holds_inexactly_are_floats_and_stay_as_they_are() -> None:
    text = record(b'"a":9007199254740993,"b":[1e21,1000000000000000000000],"c":{"d":-9007199254740992}', b'"m":1')
    session = stored(EXPRESS, text)
    assert [type(session["a"]), type(session["b"][1]), type(session["c"]["d"])] == [float, int, float]
    assert written(session) is None
    session["m"] = 2
    assert (
        written(session) == b'"a":9007199254740993,"b":[1e21,1000000000000000000000],"c":{"d":-9007199254740992},"m":2'
    )


@pytest.mark.parametrize("second", [b'"k"', b'"\\u006b"', b'"\\u006B"'])
@pytest.mark.parametrize("other", [b'"\\ud800"', b"[]"])  # the former takes the slow way
def test_of_several_values_of_one_name_the_last_counts_in_the_first_one_s_place(second: bytes, other: bytes) -> None:
    session = stored(OURS, record(b'"k":1e400', b'"m":1', second + b":[2]", b'"o":' + other))
    assert list(session) == ["k", "m", "o"] and session["k"] == [2]
    assert written(session) is None
    session["m"] = 2
    assert written(session) == b'"k":[2],"m":2,"o":' + other


def test_names_may_be_escaped_and_spaced_and_hold_lone_surrogates() -> None:
    session = stored(
        OURS, b' {\t"\\u0061" : 1 ,"\\uD800":[ 2 ]\r\n, "cookie" : {"originalMaxAge" : null}, "\xc3\xbc":3 } '
    )
    assert list(session.items()) == [("a", 1), ("\ud800", [2]), ("ü", 3)]
    assert written(session) is None
    session["a"] = 2
    assert written(session) == b'"a":2,"\\ud800":[ 2 ],"\xc3\xbc":3'


def test_names_that_express_reserves_are_dropped_from_the_top_level_alone() -> None:
    text = record(b'"id":1e400', b'"a":1', b'"__proto__":[1]', b'"k":{"id":1}', b'"save":"x"')
    session = stored(EXPRESS, text)
    assert list(session.items()) == [("a", 1), ("k", {"id": 1})] and "id" not in session and len(session) == 2
    assert written(session) is None
    session["a"] = 2
    assert written(session) == b'"a":2,"k":{"id":1}'
    session["id"] = 1
    with pytest.raises(SessionEncodeError, match="reserved") as raised:
        decide(session._state)
    assert raised.value.path == "id"


def test_names_that_express_reserves_are_dropped_from_what_another_wrote_meanwhile() -> None:
    state = stored_state(EXPRESS, values(a=b"1"))
    Session(state)["a"] = 2
    other = record(b'"id":5', b'"b":[ 1 ]', b'"a":1', b'"valueOf":{}')
    plan, _ops = ask(state, CONFLICT, Stored(other, other, DAY), "version")
    assert data_part(EXPRESS, plan.write) == b'"b":[ 1 ],"a":2'


def test_elsewhere_these_names_are_values_as_any() -> None:
    session = stored(OURS, values(id=b"1", save=b"[ 2 ]"))
    assert dict(session) == {"id": 1, "save": [2]}
    session["id"] = 3
    assert written(session) == b'"id":3,"save":[ 2 ]'


# -- the merge ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def merge_reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the merge decodes."""
    texts: list[bytes] = []

    def noted(text: bytes) -> Any:
        texts.append(text)
        return loads(text)

    monkeypatch.setattr("sojourn.core.merge.loads", noted)
    return texts


def test_the_merge_decodes_only_where_both_sides_changed(merge_reads: list[bytes]) -> None:
    codec = CountingCodec()
    settings = make_settings(codec=codec)
    base = values(mine=b"[1]", theirs=b"[1]", both=b"[1]", neither=b"1e400", gone=b"1E5")
    state = stored_state(settings, base)
    session = Session(state)
    session["mine"] = 2
    session["both"].append(2)
    codec.decoded.clear()
    other = values(mine=b"[1]", theirs=b"[ 3 ]", both=b"[1, 3]", neither=b"1e400", new=b"1e500")
    plan, _ops = ask(state, CONFLICT, Stored(other, other, DAY), "version")
    assert data_part(settings, plan.write) == (b'"mine":2,"theirs":[ 3 ],"both":[1,3,2],"neither":1e400,"new":1e500')
    assert merge_reads == [b"[1]", b"[1,2]", b"[1, 3]"]
    assert not {b"[ 3 ]", b"1e400", b"1e500", b"1E5"} & set(codec.decoded)
    assert session["theirs"] == [3]  # once it is asked for


def test_nothing_is_decoded_where_no_value_was_changed_by_both(merge_reads: list[bytes]) -> None:
    state = stored_state(OURS, values(a=b"[1]", b=b"[1]", c=b"1E5"))
    Session(state)["a"].append(2)
    del Session(state)["c"]
    other = values(b=b"[2]", a=b"[1]", c=b"1E5", d=b"4")
    plan, _ops = ask(state, CONFLICT, Stored(other, other, DAY), "version")
    assert data_part(OURS, plan.write) == b'"b":[2],"a":[1,2],"d":4'
    assert merge_reads == []


def test_where_both_did_the_same_in_other_words_the_text_that_is_stored_stays() -> None:
    state = stored_state(OURS, values(a=b"1", b=b"[1]"))
    Session(state)["a"] = 100_000.0
    Session(state)["b"] = {"x": 1, "y": 2}
    other = values(a=b"1E5", b=b'{ "y" : 2, "x" : 1 }', c=b"3")
    plan, _ops = ask(state, CONFLICT, Stored(other, other, DAY))
    assert plan.write is None
    assert dict(Session(state)) == {"a": 100_000.0, "b": {"x": 1, "y": 2}, "c": 3}


def test_a_value_stays_the_object_that_was_handed_out_where_the_merge_left_it_as_it_was() -> None:
    state = stored_state(OURS, values(a=b"[1]", b=b"[1]", c=b"1"))
    session = Session(state)
    a, b = session["a"], session["b"]
    a.append(2)
    session["c"] = 2
    other = values(a=b"[1]", b=b"[1]", c=b"1", d=b"3")
    ask(state, CONFLICT, Stored(other, other, DAY), "version")
    assert session["a"] is a and session["b"] is b
    b.append(5)
    assert written(session) == b'"a":[1,2],"b":[1,5],"c":2,"d":3'


def test_a_sum_that_the_codec_does_not_hold_is_refused_with_its_key() -> None:
    state = stored_state(EXPRESS, {"visits": 1})
    Session(state).increment("visits", LARGEST - 2)
    with pytest.raises(SessionEncodeError) as raised:
        ask(state, CONFLICT, theirs(EXPRESS, {"visits": 3}))
    assert raised.value.path == "visits"


def test_a_number_that_was_incremented_by_nothing_is_not_held_to_what_the_codec_holds() -> None:
    state = stored_state(EXPRESS, {"n": 1})
    Session(state).increment("n", 0)
    Session(state)["m"] = 1
    other = record(b'"n":9007199254740993')
    plan, _ops = ask(state, CONFLICT, Stored(other, other, DAY), "version")
    assert data_part(EXPRESS, plan.write) == b'"n":9007199254740993,"m":1'


# -- codecs ---------------------------------------------------------------------------------------------------------------


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __repr__(self) -> str:
        return f"Point({self.x})"


WITH_POINTS: Final = JSONCodec(Tag("$point", Point, lambda point: point.x, Point))


class VersionedCodec(Codec):
    """One of somebody's own. It reads what came before it: text without its mark."""

    name = "versioned"

    def encode(self, value: Any, /) -> bytes:
        return b'{"v2":%b}' % JSONCodec().encode(value)

    def decode(self, text: bytes, /) -> Any:
        return JSONCodec().decode(text[6:-1] if text.startswith(b'{"v2":') else text)


CIPHER, OLD_CIPHER = bytes([1]) * 32, bytes([2]) * 32
CODECS: Final[list[tuple[Codec, Codec]]] = [
    (PlainCodec(), JSONCodec()),
    (PlainCodec(max_int=LARGEST, reserved=["id"]), JSONCodec()),
    (JSONCodec(), WITH_POINTS),
    (JSONCodec(), VersionedCodec()),
    (EncryptedCodec(OLD_CIPHER), EncryptedCodec([CIPHER, OLD_CIPHER])),
    (EncryptedCodec(OLD_CIPHER, codec=PlainCodec()), EncryptedCodec([CIPHER, OLD_CIPHER])),
    (EncryptedCodec(OLD_CIPHER), EncryptedCodec([CIPHER, OLD_CIPHER], codec=VersionedCodec())),
    (JSONCodec(), EncryptedCodec(CIPHER, accept_plaintext=True)),
    (PlainCodec(), EncryptedCodec(CIPHER, codec=WITH_POINTS, accept_plaintext=True)),
]


@pytest.mark.parametrize(("old", "new"), CODECS, ids=lambda codec: codec.name)
def test_a_record_written_half_by_each_of_two_codecs_is_read_as_a_whole(
    old: Codec, new: Codec, caplog: pytest.LogCaptureFixture
) -> None:
    data = {"a": [1, {"b": None}], "n": 1, "t": "x", "f": 1.5, "$x": {"x": [2]}}
    before, settings = make_settings(codec=old), make_settings(codec=new)
    session = stored(settings, record_bytes(before, data))
    assert dict(session) == data
    assert written(session) is None  # to read what the older codec wrote is no change
    session["n"] = 2
    session["new"] = [3]
    write = decide(session._state).write
    assert isinstance(write, Replace)
    part = data_part(settings, write)
    for name in ("a", "t", "f", "$x"):
        assert b'"%b":%b' % (name.encode(), old.encode(data[name])) in part
    for name, value in [("n", 2), ("new", [3])]:
        assert b'"%b":%b' % (name.encode(), new.encode(value)) in part
    again = stored(settings, write.data)
    assert dict(again) == {**data, "n": 2, "new": [3]} and again.id == ID
    assert written(again) is None
    again["a"].append(2)
    assert b'"a":' + new.encode([1, {"b": None}, 2]) in (written(again) or b"")
    assert not caplog.records


def test_once_the_old_key_is_gone_its_records_do_not_open_and_those_written_since_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, both, new = (make_settings(codec=EncryptedCodec(keys)) for keys in (OLD_CIPHER, [CIPHER, OLD_CIPHER], CIPHER))
    sealed = record_bytes(old, {"a": [1], "k": 1})
    session = stored(both, sealed)
    session["k"] = 2
    write = decide(session._state).write
    assert isinstance(write, Replace)
    assert dict(stored(new, write.data)) == {"a": [1], "k": 2} and not caplog.records
    assert not stored(new, sealed)
    assert [line.levelno for line in caplog.records] == [logging.ERROR]


def test_what_a_codec_of_one_s_own_returns_must_be_one_json_value() -> None:
    class Broken(Codec):
        name = "broken"
        text: Any = b"1,2"

        def encode(self, value: Any, /) -> bytes:
            returned: bytes = self.text
            return returned

        def decode(self, text: bytes, /) -> Any:
            return JSONCodec().decode(text)

    codec = Broken()
    settings = make_settings(codec=codec)
    for text in (b"1,2", b'1,"owner":"eve"', b"", b"{", b"\xff", b'"\xff"', b"1 2", "1", None, bytearray(b"1")):
        codec.text = text
        session = stored(settings, values(a=b"[1]"))
        session["a"].append(2)
        with pytest.raises(SessionEncodeError, match="the codec returned") as raised:
            decide(session._state)
        assert raised.value.path == "a"


# -- what is paid for -----------------------------------------------------------------------------------------------------


def thousand(text: bytes) -> bytes:
    return values(**{f"key{number}": text for number in range(1000)})


def counting(text: bytes) -> tuple[Session, CountingCodec]:
    codec = CountingCodec()
    return stored(make_settings(codec=codec), text), codec


@pytest.mark.parametrize("text", [b'"text"', b"5", b"1.5", b"1E5", b"true", b"null"])
def test_to_read_one_key_of_a_thousand_decodes_one_value_and_encodes_none(text: bytes) -> None:
    session, codec = counting(thousand(text))
    session["key500"]
    session.get("key500")
    assert written(session) is None
    assert (codec.decoded, codec.encoded) == ([text], [])


@pytest.mark.parametrize("text", [b"[1]", b'{"a":1}', b'{"$date":"2026-01-02"}'])
def test_what_can_be_changed_in_place_and_was_handed_out_is_encoded_once(text: bytes) -> None:
    session, codec = counting(thousand(text))
    value = session["key500"]
    assert session["key500"] is session.get("key500") is value
    assert written(session) is None
    assert (codec.decoded, codec.encoded) == ([text], [value])


def test_a_value_that_was_changed_is_encoded_and_what_it_was_looked_at_once_more() -> None:
    session, codec = counting(thousand(b"[1]"))
    session["key500"].append(2)
    assert written(session) is not None
    assert (codec.decoded, codec.encoded) == ([b"[1]"] * 2, [[1, 2], [1]])


def test_a_value_that_was_set_is_encoded_and_nothing_else() -> None:
    session, codec = counting(thousand(b"[1]"))
    session["new"] = {"a": 1}
    del session["key3"]
    assert written(session) is not None
    assert (codec.decoded, codec.encoded) == ([], [{"a": 1}])


@pytest.mark.parametrize(
    "look", [lambda session: "key5" in session, len, bool, lambda session: session.id, lambda session: session.owner]
)
def test_what_asks_for_no_value_decodes_none(look: Callable[[Session], object]) -> None:
    session, codec = counting(thousand(b"[1]"))
    assert look(session) is not False
    assert written(session) is None
    assert (codec.decoded, codec.encoded) == ([], [])


def test_a_session_that_was_not_looked_at_is_not_even_unsealed() -> None:
    session, codec = counting(thousand(b"[1]"))
    assert written(session) is None and session._state.data is None
    assert (codec.decoded, codec.encoded, codec.unsealed) == ([], [], 0)


def test_the_view_of_another_session_decodes_what_is_asked_for() -> None:
    codec = CountingCodec()
    settings = make_settings(codec=codec)
    store = MemoryStore(clock=clock_of(settings))
    store.create(settings.key_of(ID), thousand(b"[1]"), DAY)
    view = StoreSessions(store, settings).get(ID)
    assert view is not None
    assert len(view) == 1000 and "key5" in view and view["key5"] == [1] and view.get("key5") == [1]
    assert codec.decoded == [b"[1]"]


# -- having seen the session ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "look",
    [
        lambda session: "a" in session,
        lambda session: "b" in session,
        len,
        bool,
        list,
        lambda session: session.keys(),
        lambda session: session.values(),
        lambda session: session.items(),
        lambda session: session.get("b"),
        lambda session: session == {},
    ],
)
@pytest.mark.parametrize("make", [lambda: stored_state(OURS, values(a=b"1")), lambda: begin(OURS)])
def test_to_look_at_it_in_whatever_way_counts_as_having_seen_it(
    look: Callable[[Session], object], make: Callable[[], State]
) -> None:
    state = make()
    assert not decide(state).vary
    look(Session(state))
    assert decide(state).vary


# -- what outlives the request --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [OURS, EXPRESS], ids=["ours", "express"])
@pytest.mark.parametrize(
    "handle",
    [
        lambda session: session["k"],
        lambda session: session["list"].append(1),
        lambda session: session.get("bad"),
        list,
        lambda session: session.__setitem__("k", 2),
        lambda session: session.regenerate(keep_data=True),
    ],
    ids=["read", "change", "undecodable", "all", "set", "regenerate"],
)
def test_nothing_of_a_request_is_kept_once_it_is_over(
    settings: SessionSettings, handle: Callable[[Session], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even until the garbage collector comes."""
    monkeypatch.setattr(log, "disabled", True)  # what is logged is kept for the report, the error with its traceback
    text = values(k=b"1", list=b"[1]", bad=b"1e400", long=b'"' + b"x" * 10_000 + b'"')
    known = sys.getrefcount(text)
    state = stored_state(settings, text)
    session = Session(state)
    gone = weakref.ref(session), weakref.ref(state)
    assert sys.getrefcount(text) > known
    gc.disable()
    try:
        handle(session)
        plan = decide(state)
        if plan.needs_store:
            play(commit(state, plan), "version")
        del session, state, plan
        assert [one() for one in gone] == [None, None]
        assert sys.getrefcount(text) == known
    finally:
        gc.enable()


def test_a_value_that_was_handed_out_does_not_keep_the_record() -> None:
    text = values(k=b'"abc"', list=b"[1]", long=b'"' + b"x" * 10_000 + b'"')
    known = sys.getrefcount(text)
    session = stored(OURS, text)
    kept = [session["k"], session["list"]]
    assert sys.getrefcount(text) > known
    del session
    assert kept == ["abc", [1]] and sys.getrefcount(text) == known
