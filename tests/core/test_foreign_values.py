"""Values that we would not write so, or cannot even read: left as they are while nobody changes them, or asks for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import pytest

from sojourn.codecs import EncryptedCodec, JSONCodec, PlainCodec, base
from sojourn.core.plan import Create, Plan, Replace
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.state import Found
from sojourn.errors import SessionDecodeError, SessionEncodeError
from tests.core.making import ID, data_of, make_settings, record_bytes, stored, stored_state
from tests.core.texts import deep, foreign, loaded, texts_of

# -- what another program wrote and we would refuse --------------------------------------------------------------------------------


BEYOND: list[tuple[Any, bytes, str]] = [
    (JSONCodec(), deep(base.MAX_DEPTH + 100), "nested too deeply"),
    (JSONCodec(), b'{"a":' * 300 + b"1.0" + b"}" * 300, "nested too deeply"),
    (PlainCodec(max_int=100), b'[{"a":1000000000000000000000}]', "store it as text"),
    (PlainCodec(max_int=100), b"1000000000000000000000", "store it as text"),
]


# contract 71: what another program stored may be read, carried over and removed; it is refused where it is changed
@pytest.mark.parametrize(("codec", "text", "reason"), BEYOND)
def test_a_value_that_we_would_refuse_can_be_read_carried_over_and_removed(codec, text, reason):
    data = b'{"it":%b,"n":1}' % text

    def begun() -> Session:
        return loaded(data, codec=codec)

    session = begun()
    session["n"] = 2
    assert texts_of(decide(session._state)) == {"it": text, "n": b"2"}
    session = begun()
    value = session["it"]
    assert decide(session._state) == Plan(vary=True)
    session["n"] = 2
    assert texts_of(decide(session._state)) == {"it": text, "n": b"2"}
    del session["it"]
    assert texts_of(decide(session._state)) == {"n": b"2"}
    session["it"] = codec.decode(text)  # equal, in another place
    assert texts_of(decide(session._state)) == {"n": b"2", "it": text}
    session["it"] = [value, 1]
    with pytest.raises(SessionEncodeError) as caught:
        decide(session._state)
    assert caught.value.path.startswith("it[0]") and reason in caught.value.reason


@pytest.mark.parametrize(
    ("leaf", "other"), [(b"1", True), (b"1", 1.0), (b"1.0", 1), (b"true", 1), (b"0", False), (b'"1"', 1), (b"1", 2)]
)
def test_a_change_deep_within_it_is_refused_also_where_python_takes_the_values_for_equal(leaf, other):
    depth = base.MAX_DEPTH + 1
    session = loaded(b'{"it":%b%b%b}' % (b"[" * depth, leaf, b"]" * depth))
    inner = session["it"]
    for _ in range(depth - 1):
        (inner,) = inner
    before = inner[0]
    inner[0] = other
    with pytest.raises(SessionEncodeError, match="nested too deeply") as caught:
        decide(session._state)
    assert caught.value.path == "it[0][0][0]"
    inner[0] = before
    assert decide(session._state) == Plan(vary=True)


def test_what_is_refused_in_the_place_of_a_value_that_cannot_be_read_is_refused():
    session = loaded(b'{"it":1e400}')
    session["it"] = object()
    with pytest.raises(SessionEncodeError) as caught:
        decide(session._state)
    assert caught.value.path == "it"


class Opaque(JSONCodec):
    """Reads what it cannot write, in a form that JSON does not have."""

    def decode(self, text: bytes, /) -> Any:
        return Hollow()


class Hollow:
    """Too deep to be compared."""

    def __eq__(self, other: object) -> bool:
        raise RecursionError

    __hash__ = None  # type: ignore[assignment]


def test_what_cannot_be_compared_and_not_be_written_is_refused_once_it_was_read():
    session = loaded(b'{"it":1,"n":1}', codec=Opaque())
    session["m"] = 2
    assert texts_of(decide(session._state)) == {"it": b"1", "n": b"1", "m": b"2"}
    assert isinstance(session["it"], Hollow)
    with pytest.raises(SessionEncodeError) as caught:
        decide(session._state)
    assert caught.value.path == "it"


def test_a_value_that_cannot_be_written_may_be_exchanged_for_one_that_can():
    session = loaded(b'{"it":%b}' % deep(300))
    session["it"] = []
    assert texts_of(decide(session._state)) == {"it": b"[]"}


# -- what cannot be read -----------------------------------------------------------------------------------------------------------

UNREADABLE: Final = [b"1e400", b'{"a":-1e999}', b"9" * 5000, deep(100_000)]
ASKS: list[tuple[str, Callable[[Session], object], object, dict[str, int]]] = [
    ("[]", lambda s: s["bad"], KeyError, {}),
    ("get", lambda s: s.get("bad"), None, {}),
    ("get with a default", lambda s: s.get("bad", 5), 5, {}),
    ("pop", lambda s: s.pop("bad", 5), 5, {}),
    ("setdefault", lambda s: s.setdefault("bad", 5), 5, {"bad": 5}),
    ("increment", lambda s: s.increment("bad"), 1, {"bad": 1}),
    ("iteration", list, [], {}),
    ("keys", lambda s: list(s.keys()), [], {}),
    ("values", lambda s: list(s.values()), [], {}),
    ("items", lambda s: list(s.items()), [], {}),
    ("equality", lambda s: s == {}, True, {}),
    ("popitem", lambda s: s.popitem(), KeyError, {}),
]


def asked(ask: Callable[[Session], object], session: Session) -> object:
    try:
        return ask(session)
    except KeyError:
        return KeyError


@pytest.mark.parametrize("text", UNREADABLE)
@pytest.mark.parametrize(("ask", "given", "left"), [ask[1:] for ask in ASKS], ids=[ask[0] for ask in ASKS])
def test_a_value_that_cannot_be_read_begins_the_session_anew_when_it_is_asked_for(text, ask, given, left, caplog):
    settings = make_settings()
    state = stored_state(settings, foreign(b'{"user":"hunter2","cart":[1],"bad":%b,"n":1}' % text))
    session = Session(state)
    assert session["user"] == "hunter2" and session["cart"] == [1] and len(session) == 4
    session["set before"] = 1
    assert "bad" in session and not caplog.records
    assert asked(ask, session) == given
    assert dict(session) == left
    assert session.is_new and session.id != ID and state.found is Found.NOTHING
    (line,) = caplog.records
    assert line.levelno == logging.ERROR and "a value that cannot be read" in line.getMessage()
    assert ID not in line.getMessage() and "hunter2" not in line.getMessage()
    plan = decide(state)
    if left:
        assert isinstance(plan.write, Create) and plan.write.key == settings.key_of(session.id)
        assert data_of(plan.write.data) == left
        assert plan.header is not None
    else:
        assert (plan.write, plan.ends, plan.header) == (None, (), None)


def test_nothing_of_a_session_that_begins_anew_goes_on():
    settings = make_settings()
    raw = record_bytes(settings, {"n": 1}, before=lambda s: s.login("ann", keep_data=True))
    state = stored_state(settings, raw[:-1] + b',"bad":1e400}')
    session = Session(state)
    assert session.owner == "ann"
    session.increment("n")
    session.cookie.max_age = 60
    assert session.get("bad") is None
    assert [session.owner, session.authenticated_at] == [None, None]
    assert session.cookie.overrides == {} and not state.increments
    session["m"] = 1
    plan = decide(state)
    assert isinstance(plan.write, Create) and plan.write.owner is None
    assert texts_of(plan) == {"m": b"1"}


def test_what_was_handed_out_before_is_no_part_of_the_session_that_begins_anew():
    session = loaded(b'{"cart":[1],"bad":1e400}')
    cart = session["cart"]
    session.get("bad")
    cart.append(2)
    assert "cart" not in session
    session["bad"] = "good"
    assert texts_of(decide(session._state)) == {"bad": b'"good"'}


@pytest.mark.parametrize(
    "use",
    [lambda s: s["n"], lambda s: s.update(n=2), lambda s: "bad" in s, len, bool, lambda s: s.pop("n"), lambda s: s.login("ann", keep_data=True)],
)  # fmt: skip
@pytest.mark.parametrize("text", UNREADABLE)
def test_a_value_that_cannot_be_read_is_carried_over_while_nobody_asks_for_it(text, use, caplog):
    session = loaded(b'{"bad":%b,"n":1}' % text)
    use(session)
    session["m"] = 1
    assert texts_of(decide(session._state))["bad"] == text
    assert not caplog.records


@pytest.mark.parametrize("change", [lambda s: s.update(bad=1), lambda s: s.__delitem__("bad")])
def test_a_value_that_cannot_be_read_may_be_exchanged_and_deleted(change, caplog):
    session = loaded(b'{"bad":1e400,"n":1}')
    change(session)
    assert dict(session) in ({"bad": 1, "n": 1}, {"n": 1}) and not session.is_new
    assert decide(session._state).changed and not caplog.records


def test_a_session_whose_value_could_not_be_read_can_still_be_ended():
    for end, gone in (
        (Session.destroy, True),
        (Session.invalidate, True),
        (Session.clear, True),
        (Session.touch, False),
    ):
        state = stored_state(make_settings(), foreign(b'{"bad":1e400}'))
        session = Session(state)
        session.get("bad")
        end(session)
        assert (state.settings.key_of(ID) in decide(state).ends) is gone


# -- a codec and what its predecessor wrote -----------------------------------------------------------------------------------------


def test_after_a_change_of_codec_a_record_is_written_half_by_each():
    raw = record_bytes(make_settings(codec=PlainCodec()), {"a": {"$set": [1]}, "b": [1], "c": 1})
    settings = make_settings(codec=JSONCodec())
    session = stored(settings, raw)
    session["d"] = date(2026, 1, 2)
    session["b"].append(2)
    plan = decide(session._state)
    assert texts_of(plan) == {"a": b'{"$set":[1]}', "b": b"[1,2]", "c": b"1", "d": b'{"$date":"2026-01-02"}'}
    assert isinstance(plan.write, Replace)
    back = stored(make_settings(codec=PlainCodec()), plan.write.data)
    assert dict(back) == {"a": {"$set": [1]}, "b": [1, 2], "c": 1, "d": {"$date": "2026-01-02"}}
    assert decide(back._state) == Plan(vary=True)


def test_across_a_rotation_of_keys_too():
    old, new_keys = bytes([1]) * 32, [bytes([2]) * 32, bytes([1]) * 32]
    key = make_settings().key_of(ID)
    raw = record_bytes(make_settings(codec=EncryptedCodec(old, codec=PlainCodec())), {"a": {"$set": [1]}, "b": 1})
    codec = EncryptedCodec(new_keys, codec=JSONCodec())
    session = stored(make_settings(codec=codec), raw)
    session["b"] = {2}
    plan = decide(session._state)
    assert isinstance(plan.write, Replace)
    text = codec.unseal(plan.write.data, key)
    assert text == EncryptedCodec(new_keys[0]).unseal(plan.write.data, key)
    assert data_of(text) == {"a": {"$set": [1]}, "b": {"$set": [2]}}
    with pytest.raises(SessionDecodeError):
        EncryptedCodec(old).unseal(plan.write.data, key)
