"""The data of a session: decoded as they are asked for, encoded as they may have changed, and carried over as text otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, cast

import pytest
from msgspec import Raw

from sojourn.codecs import EncryptedCodec, JSONCodec, PlainCodec, split
from sojourn.core.data import encode, is_changed, refill, unpack_stored
from sojourn.core.plan import Plan, Replace
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.state import State
from sojourn.core.store import CONFLICT, MISSING, Stored
from sojourn.errors import SessionDecodeError, SessionEncodeError
from tests.core.making import DAY, ID, begin, data_of, make_settings, new, stored, stored_state
from tests.core.playing import ask
from tests.core.texts import deep, foreign, loaded, texts_of


class Spy(JSONCodec):
    """Notes what is decoded and encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[bytes] = []
        self.encoded: list[Any] = []

    def encode(self, value: Any, /) -> bytes:
        self.encoded.append(value)
        return super().encode(value)

    def decode(self, text: bytes, /) -> Any:
        self.decoded.append(text)
        return super().decode(text)


# -- only what is used is paid for --------------------------------------------------------------------------------------------


def test_a_value_is_decoded_when_it_is_asked_for_and_once():
    spy = Spy()
    session = stored(make_settings(codec=spy), foreign(b'{"a":1,"b":[2],"c":{"d":3}}'))
    assert "a" in session and len(session) == 3 and bool(session) and session.get("e") is None
    assert not spy.decoded
    for _ in range(2):
        assert session["b"] == [2] and session.get("a") == 1
        assert session["b"] is session["b"]
    assert spy.decoded == [b"[2]", b"1"]
    assert list(session) == ["a", "b", "c"] and dict(session) == {"a": 1, "b": [2], "c": {"d": 3}}
    assert spy.decoded == [b"[2]", b"1", b'{"d":3}']


@pytest.mark.parametrize("text", [b"1", b"-1.5", b'"x"', b"true", b"null", b"9" * 30])
def test_a_value_that_cannot_be_changed_in_place_is_not_encoded_for_having_been_read(text):
    spy = Spy()
    session = stored(make_settings(codec=spy), foreign(b'{"a":%b,"b":[1]}' % text))
    session.get("a")
    plan = decide(session._state)
    assert plan == Plan(vary=True) and not spy.encoded


def test_only_what_may_have_changed_is_encoded():
    spy = Spy()
    session = stored(make_settings(codec=spy), foreign(b'{"a":1,"b":[2],"c":{"d":3}}'))
    assert session["b"] == [2]
    session["e"] = 5
    assert texts_of(decide(session._state)) == {"a": b"1", "b": b"[2]", "c": b'{"d":3}', "e": b"5"}
    assert spy.encoded == [[2], 5]


def test_data_of_which_nothing_was_used_are_stored_again_as_they_were():
    spy = Spy()
    data = b'{"a": [ 1 ],"b":"\\u00e9\\ud800","c":1E5,"$d":{"$date":"2026-01-02"},"e":1e400}'
    session = stored(make_settings(codec=spy, resave=True), foreign(data))
    plan = decide(session._state)
    assert texts_of(plan) == {
        "a": b"[ 1 ]",
        "b": b'"\\u00e9\\ud800"',
        "c": b"1E5",
        "$d": b'{"$date":"2026-01-02"}',
        "e": b"1e400",
    }
    assert not spy.encoded and not spy.decoded and not plan.changed


# -- what is a change ---------------------------------------------------------------------------------------------------------

SAME: list[tuple[bytes, Callable[[Session], object]]] = [
    (b'{"a":1}', lambda s: s["a"]),
    (b'{"a":[1]}', lambda s: s["a"]),
    (b'{"a":[1]}', lambda s: s.update(a=[1])),
    (b'{"a":1}', lambda s: s.update(a=1)),
    (b'{"a":1}', lambda s: (s.update(a=2), s.update(a=1))),
    (b'{"a":1}', lambda s: (s.update(b=2), s.pop("b"))),
    (b'{"a":1,"b":2}', lambda s: (s.pop("b"), s.update(b=2))),
    (b'{"a":[1]}', lambda s: (s["a"].append(2), s["a"].pop())),
    (b'{"a": [ 1 , 2 ] }', lambda s: s["a"]),
    (b'{"a":["\\u00e9\\/"]}', lambda s: s["a"]),
    (b'{"a":"\\u00e9\\/"}', lambda s: s.update(a="\xe9/")),
    (b'{"a":[1E2,1.0,-0.0]}', lambda s: s["a"]),
    (b'{"a":{"x":1,"x":2}}', lambda s: s["a"]),
    (b'{"a":{"$unknown":1}}', lambda s: s["a"]),
    (b'{"a":["\\ud800","\\ud83c\\udf6a"]}', lambda s: s["a"]),
    (b"{}", list),
    (b'{"a":1}', lambda s: s.flashes()),
    (b'{"a":1,"a":[2]}', lambda s: s["a"]),
]


@pytest.mark.parametrize(("data", "use"), SAME)
def test_what_is_as_it_was_is_no_change_however_it_was_written(data, use):
    session = loaded(data)
    use(session)
    assert not is_changed(session._state)
    assert encode(session._state) is session._state.base_data()
    assert decide(session._state) == Plan(vary=True)
    session["new"] = 1  # and is carried over as it was written
    texts = texts_of(decide(session._state))
    assert texts.pop("new") == b"1"
    assert texts == {name: bytes(text) for name, text in split(data).items()}


CHANGED: list[tuple[bytes, Callable[[Session], object], dict[str, bytes]]] = [
    (b'{"a":1}', lambda s: s.update(a=2), {"a": b"2"}),
    (b'{"a":1}', lambda s: s.update(a=True), {"a": b"true"}),
    (b'{"a":1}', lambda s: s.update(a=1.0), {"a": b"1.0"}),
    (b'{"a":1}', lambda s: s.update(b=2), {"a": b"1", "b": b"2"}),
    (b'{"a":1,"b":2}', lambda s: s.pop("a"), {"b": b"2"}),
    (b'{"a":1}', lambda s: s.pop("a"), {}),
    (b'{"a":[1]}', lambda s: s["a"].append(2), {"a": b"[1,2]"}),
    (b'{"a":{"b":{"c":[1]}}}', lambda s: s["a"]["b"]["c"].append(2), {"a": b'{"b":{"c":[1,2]}}'}),
    (b'{"a":{"x":1,"y":2}}', lambda s: s.update(a={"y": 2, "x": 1}), {"a": b'{"y":2,"x":1}'}),
    (b'{"a":[1]}', lambda s: s.update(a=(1,)), {"a": b'{"$tuple":[1]}'}),
    (b'{"a":[1]}', lambda s: s.update(a={"$tuple": [1]}), {"a": b'{"$dict":{"$tuple":[1]}}'}),
    (b'{"a":[1]}', lambda s: s["a"].__setitem__(0, True), {"a": b"[true]"}),
    (b'{"a":null}', lambda s: s.pop("a"), {}),
    (b'{"a":{"$date":"2026-01-02"}}', lambda s: s.update(a=date(2026, 1, 3)), {"a": b'{"$date":"2026-01-03"}'}),
    (b'{"a":{"$set":[2,1]}}', lambda s: s["a"].add(3), {"a": b'{"$set":[1,2,3]}'}),
    (b'{"a":1}', lambda s: s.update({"$set": [1]}), {"a": b"1", "$set": b"[1]"}),
    (b'{"a":1e400}', lambda s: s.update(a=1), {"a": b"1"}),
    (b'{"a":1e400}', lambda s: s.pop("a", None), {}),
    (b'{"a":1}', lambda s: s.flash("x"), {"a": b"1", "_flashes": b'[["info","x"]]'}),
]


@pytest.mark.parametrize(("data", "use", "texts"), CHANGED)
def test_every_change_is_seen(data, use, texts):
    session = loaded(data)
    if data == b'{"a":1e400}' and not texts:
        del session["a"]
    else:
        use(session)
    assert is_changed(session._state)
    plan = decide(session._state)
    assert plan.changed and texts_of(plan) == texts


# contract 69: JSON.stringify writes keys in their order
def test_the_order_of_the_keys_counts():
    session = loaded(b'{"a":1,"b":2}')
    session["a"] = session.pop("a")
    plan = decide(session._state)
    assert plan.changed and list(texts_of(plan)) == ["b", "a"]


def test_of_several_values_with_one_name_the_last_counts():
    session = loaded(b'{"a":1,"b":2,"a":[3]}')
    assert list(session.items()) == [("a", [3]), ("b", 2)]
    session["c"] = 4
    assert texts_of(decide(session._state)) == {"a": b"[3]", "b": b"2", "c": b"4"}


def test_in_the_express_profile_a_cleared_session_has_changed():
    session = loaded(b'{"a":[1],"b":2}', express_profile=True)
    session.clear()
    assert dict(session) == {} and is_changed(session._state)
    session.update(a=[1], b=2)
    assert not is_changed(session._state)


# -- what cannot be stored ------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Callable[[Session], object], str, str]] = [
    (lambda s: s.update(a=object()), "a", "no form in JSON"),
    (lambda s: s.update({"my cart": [object()]}), "['my cart'][0]", "no form in JSON"),
    (lambda s: s["cart"].append({"unit price": object()}), "cart[1]['unit price']", "no form in JSON"),
    (lambda s: s["cart"][0].update(x=[1, object()]), "cart[0].x[1]", "no form in JSON"),
    (lambda s: s.update({"": float("nan")}), "['']", "JSON has no NaN"),
    (lambda s: s.update(cast("Any", {1: 2})), "", "a key of type int; JSON's keys are strings, use str(key)"),
    (lambda s: s.update(cast("Any", {None: 2})), "", "a key of type NoneType"),
    (lambda s: s.__setitem__(type("Text", (str,), {})("x"), 2), "", "Text; JSON's keys are strings"),
    (lambda s: s.update(cookie=1), "cookie", "reserved"),
    (lambda s: s.update(__sojourn__={}), "__sojourn__", "reserved"),
    (lambda s: s.update(n=Raw(b"1")), "n", "a msgspec.Raw has no form in JSON"),
]


@pytest.mark.parametrize(("use", "path", "reason"), REFUSED)
@pytest.mark.parametrize("codec", [JSONCodec(), PlainCodec(), EncryptedCodec(b"k" * 32)])
@pytest.mark.parametrize("begun", [False, True])
def test_what_cannot_be_stored_is_refused_with_its_path_in_the_session(codec, begun, use, path, reason):
    settings = make_settings(codec=codec)
    session = new(settings) if begun else stored(settings, {"cart": [{"x": 1}]})
    if begun:
        session["cart"] = [{"x": 1}]
    use(session)
    assert is_changed(session._state)
    with pytest.raises(SessionEncodeError) as caught:
        decide(session._state)
    assert caught.value.path == path and reason in caught.value.reason


def test_a_codecs_own_reserved_names_are_refused_too_at_the_top_level_alone():
    settings = make_settings(codec=PlainCodec(reserved={"save"}))
    session = new(settings)
    session["a"] = {"save": 1, "cookie": 2}
    decide(session._state)
    session["save"] = 1
    with pytest.raises(SessionEncodeError) as caught:
        decide(session._state)
    assert caught.value.path == "save" and "reserved" in caught.value.reason


# contract 51
@pytest.mark.parametrize(
    "codec", [PlainCodec(reserved={"save", "id"}), EncryptedCodec(b"k" * 32, codec=PlainCodec(reserved={"save", "id"}))]
)
def test_a_codecs_reserved_names_that_another_program_wrote_are_left_out(codec):
    settings = make_settings(codec=codec)
    raw = codec.seal(foreign(b'{"save":1,"a":{"save":2},"id":3}'), settings.key_of(ID))
    session = stored(settings, raw)
    assert list(session.items()) == [("a", {"save": 2})] and "save" not in session
    assert (decide(session._state).write, is_changed(session._state)) == (None, False)
    session["b"] = 1
    plan = decide(session._state)
    assert isinstance(plan.write, Replace)
    assert data_of(codec.unseal(plan.write.data, settings.key_of(ID))) == {"a": {"save": 2}, "b": 1}


def test_text_that_the_application_puts_in_is_not_taken_for_the_records():
    session = loaded(b'{"n":1}')
    session["n"] = session["m"] = Raw(b"2")
    assert session["n"] == session.get("m") == Raw(b"2")
    assert dict(session.items()) == {"n": Raw(b"2"), "m": Raw(b"2")}
    with pytest.raises(SessionEncodeError):
        decide(session._state)


# -- what a merge leaves ------------------------------------------------------------------------------------------------------------


def conflicting(state: State, theirs: bytes) -> Plan:
    found = Stored(foreign(theirs), b"v2", DAY)
    plan, _ = ask(state, CONFLICT, found, b"v3")
    return plan


def test_after_a_conflict_what_this_request_has_in_its_hands_stays_the_sessions():
    state = stored_state(make_settings(), foreign(b'{"mine":[1],"both":[1],"theirs":[1],"unread":[ 1 ]}'))
    session = Session(state)
    mine, both, others = session["mine"], session["both"], session["theirs"]
    mine.append(2)
    both.append(2)
    session["new"] = new_value = {"x": 1}
    plan = conflicting(state, b'{"mine":[1],"both":[1,3],"theirs":[1,3],"unread":[ 1, 2 ],"n":1}')
    assert texts_of(plan) == {
        "mine": b"[1,2]",
        "both": b"[1,3,2]",
        "theirs": b"[1,3]",
        "unread": b"[ 1, 2 ]",
        "n": b"1",
        "new": b'{"x":1}',
    }
    assert session["mine"] is mine and session["new"] is new_value
    assert session["both"] == [1, 3, 2] and session["both"] is not both
    assert session["theirs"] == [1, 3] and session["theirs"] is not others
    assert decide(state) == Plan(vary=True, at=decide(state).at, asked=state.asked)
    mine.append(3)
    assert texts_of(decide(state))["mine"] == b"[1,2,3]"


def test_after_a_conflict_only_what_may_differ_from_theirs_is_dirty():
    state = stored_state(make_settings(), foreign(b'{"mine":1,"gone":1,"kept":[1],"read":[1]}'))
    session = Session(state)
    session["mine"] = 2
    del session["gone"]
    assert session["read"] == [1]
    conflicting(state, b'{"mine":1,"gone":1,"kept":[1],"read":[1],"n":[ 1 ]}')
    assert list(state.dirty) == ["gone", "mine", "read"]
    assert state.data == {"mine": 2, "kept": Raw(b"[1]"), "read": [1], "n": Raw(b"[ 1 ]")}
    assert not is_changed(state)
    assert dict(session) == {"mine": 2, "kept": [1], "read": [1], "n": [1]}


def test_what_the_other_deleted_stays_deleted_after_a_conflict():
    state = stored_state(make_settings(), foreign(b'{"a":[1],"b":1}'))
    session = Session(state)
    assert session["a"] == [1]
    session["c"] = 1
    plan = conflicting(state, b'{"b":1}')
    assert texts_of(plan) == {"b": b"1", "c": b"1"} and "a" not in session


def test_in_a_conflict_a_value_that_cannot_be_read_gives_way_to_the_later_commit():
    state = stored_state(make_settings(), foreign(b'{"a":1}'))
    Session(state)["a"] = 2
    assert texts_of(conflicting(state, b'{"a":1e400}')) == {"a": b"2"}


def test_a_conflict_leaves_what_nobody_looked_at_as_it_is_however_unreadable():
    state = stored_state(make_settings(), foreign(b'{"a":1,"bad":1e400,"deep":%b}' % deep(100_000)))
    Session(state)["a"] = 2
    plan = conflicting(state, b'{"a":1,"bad":2e400,"deep":%b}' % deep(100_000))
    assert texts_of(plan) == {"a": b"2", "bad": b"2e400", "deep": deep(100_000)}


def test_what_goes_into_a_new_session_after_the_old_one_has_ended_can_be_read():
    state = stored_state(make_settings(), foreign(b'{"cart":{"a":[1]},"unread":1}'))
    session = Session(state)
    cart = session["cart"]
    cart["b"] = {1}
    session["new"] = fresh = [1]
    session.regenerate(keep_data=True)
    plan, _ = ask(state, MISSING, b"v")
    assert texts_of(plan) == {"cart": b'{"b":{"$set":[1]}}', "new": b"[1]"}
    assert dict(session) == {"cart": {"b": {1}}, "new": [1]}
    assert session["new"] is fresh


def test_a_merged_value_that_the_codec_cannot_read_is_an_error():
    state = stored_state(make_settings(), foreign(b'{"a":1}'))
    session = Session(state)
    session["b"] = 1
    with pytest.raises(SessionDecodeError):
        refill(state, {"a": Raw(b"1e400")}, {})
    assert dict(session) == {"a": 1, "b": 1}


# -- the record ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record", [b"", b"{}", foreign(b'{"a":NaN}'), foreign(b'{"a":"\xff"}'), foreign(b'{"a":1'), b"[]"]
)
def test_a_record_that_is_malformed_anywhere_is_unreadable_as_a_whole(record, caplog):
    session = stored(make_settings(), record)
    assert len(session) == 0 and session.is_new and session.id != ID
    (line,) = caplog.records
    assert "an unreadable record" in line.getMessage()
    with pytest.raises(SessionDecodeError):
        unpack_stored(make_settings(), "key", Stored(record, 1, DAY))


def test_a_new_session_has_no_data_to_count_changes_from():
    state = begin(make_settings())
    session = Session(state)
    assert dict(session) == {} and not is_changed(state)
    session["a"] = 1
    assert is_changed(state)
    del session["a"]
    assert not is_changed(state)
