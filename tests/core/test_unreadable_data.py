"""Records and values that cannot be read, or only read: never half a session, and never an error for what nobody asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import pytest

from sojourn.codecs import Codec, EncryptedCodec, JSONCodec, PlainCodec
from sojourn.core.plan import Create
from sojourn.core.policy import decide
from sojourn.core.session import Flash, Session
from sojourn.core.state import State
from sojourn.core.store import CONFLICT, MISSING, Stored
from sojourn.core.transitions import note_locked
from sojourn.errors import SessionConflict, SessionDecodeError, SessionEncodeError
from sojourn.middleware.sessions import StoreSessions
from sojourn.stores import MemoryStore
from tests.core.making import DAY, ID, clock_of, make_settings, stored, stored_state
from tests.core.playing import TIMEOUT, ask, granted, kinds
from tests.core.records import LARGEST, OURS, data_part, lists, record, values, written

DEEP: Final = 300


def within(innermost: bytes) -> bytes:
    return b"[" * DEEP + innermost + b"]" * DEEP


# -- records that cannot be read ------------------------------------------------------------------------------------------

SECRET_VALUE: Final = b"4111111111111111"
UNREADABLE_RECORDS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "no JSON": b"a:1;" + SECRET_VALUE,
    "cut": values(a=b"1", k=b'"' + SECRET_VALUE + b'"')[:-2],
    "more than one value": values(k=SECRET_VALUE) + b"{}",
    "a list": b"[" + SECRET_VALUE + b"]",
    "a string": b'"' + SECRET_VALUE + b'"',
    "null": b"null",
    "a byte order mark": b"\xef\xbb\xbf" + values(k=SECRET_VALUE),
    "NaN": values(k=SECRET_VALUE, m=b"NaN"),
    "a number that is none": values(k=SECRET_VALUE, m=b"[01]"),
    "an escape that is none": values(k=SECRET_VALUE, m=b'["\\x41"]'),
    "a control character": values(k=SECRET_VALUE, m=b'["\n"]'),
    "deep and not closed": values(k=SECRET_VALUE, m=lists(100_000)[:-1]),
    "after a lone surrogate": values(k=SECRET_VALUE, m=b'"\\ud800"', n=b"[1,]"),
    "invalid UTF-8 in a value": values(k=SECRET_VALUE, m=b'["\xff"]'),
    "invalid UTF-8 deep within": values(k=SECRET_VALUE, m=b'[{"a":["\xed\xa0\x80"]}]'),
    "invalid UTF-8 in a name": record(b'"\xc3":1', b'"k":' + SECRET_VALUE),
    "invalid UTF-8 in a name within": values(k=SECRET_VALUE, m=b'{"\xc0\x80":1}'),
    "invalid UTF-8 in the cookie": record(b'"k":' + SECRET_VALUE, cookie=b'"cookie":{"path":"\xff"}'),
    "invalid UTF-8 in the reserved part": record(
        b'"__sojourn__":{"v":1,"created":1,"x":"\xff"}', b'"k":' + SECRET_VALUE
    ),
    "no cookie": b'{"k":' + SECRET_VALUE + b"}",
}


@pytest.mark.parametrize("name", UNREADABLE_RECORDS)
def test_a_record_that_cannot_be_read_is_one_error_and_a_fresh_session_under_another_id(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    check_fresh(stored_state(OURS, UNREADABLE_RECORDS[name]), caplog)


def check_fresh(state: State, caplog: pytest.LogCaptureFixture) -> None:
    session = Session(state)
    assert "k" not in session and len(session) == 0 and not dict(session)
    assert session.is_new and session.id != ID and session.owner is None
    check_one_error(caplog)
    assert decide(state).write is None
    session["n"] = 1
    write = decide(state).write
    assert isinstance(write, Create) and write.key == state.settings.key_of(session.id) != state.settings.key_of(ID)
    assert data_part(state.settings, write) == b'"n":1'
    check_one_error(caplog)


def check_one_error(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = caplog.records
    assert line.levelno == logging.ERROR and "starting a fresh session" in line.getMessage()
    told = line.getMessage() + repr(line.args) + str(line.exc_info)
    assert ID not in told and SECRET_VALUE.decode() not in told


CIPHER, OLD_CIPHER = bytes([1]) * 32, bytes([2]) * 32


@pytest.mark.parametrize("beneath", [JSONCodec(), PlainCodec(max_int=LARGEST)])
def test_a_record_that_does_not_unseal_is_one_error_and_a_fresh_session(
    beneath: Codec, caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_settings(codec=EncryptedCodec(CIPHER, codec=beneath))
    key = settings.key_of(ID)
    text = values(k=SECRET_VALUE)
    good = settings.codec.seal(text, key)
    assert stored(settings, good)["k"] == int(SECRET_VALUE)
    others = [
        text,  # not sealed
        good[:-9] + b'AAAAAAAA"',
        good[:-2] + b'"',
        settings.codec.seal(text, settings.key_of("another")),
        EncryptedCodec(OLD_CIPHER, codec=beneath).seal(text, key),
        settings.codec.seal(b"[1]", key),
        settings.codec.seal(values(m=b'"\xff"'), key),
    ]
    for sealed in others:
        caplog.clear()
        check_fresh(stored_state(settings, sealed), caplog)


# -- values that cannot be decoded ----------------------------------------------------------------------------------------


class StrictCodec(JSONCodec):
    """Refuses tags that it does not know."""

    def decode(self, text: bytes, /) -> Any:
        value = super().decode(text)
        if type(value) is dict and "$unknown" in value:
            raise SessionDecodeError("an unknown tag")
        return value


STRICT: Final = make_settings(codec=StrictCodec())
UNDECODABLE: Final[dict[str, bytes]] = {
    "an unknown tag": b'{"$unknown":' + SECRET_VALUE + b"}",
    "out of range": b"[" + SECRET_VALUE + b",1e400]",
    "deep tags": b'{"$tuple":[' * 2000 + SECRET_VALUE + b"]}" * 2000,
    "more digits than Python converts": SECRET_VALUE * 300,
}
DEEPER_THAN_THE_INTERPRETER: Final = b'["' + SECRET_VALUE + b'",' + lists(100_000) + b"]"
undecodable: Final = pytest.mark.parametrize("text", UNDECODABLE.values(), ids=UNDECODABLE.keys())


def with_bad(text: bytes) -> bytes:
    own = b'"__sojourn__":{"v":1,"created":1749999999999,"owner":"ada","auth":1749999999999,"write":5}'
    return record(own, b'"good":[1]', b'"bad":' + text, b'"last":2')


# What is returned, or KeyError.
WAYS: Final[dict[str, tuple[Callable[[Session], object], Any]]] = {
    "[]": (lambda session: session["bad"], KeyError),
    "get": (lambda session: session.get("bad"), None),
    "get with a default": (lambda session: session.get("bad", "none"), "none"),
    "pop": (lambda session: session.pop("bad"), KeyError),
    "pop with a default": (lambda session: session.pop("bad", "none"), "none"),
    "popitem": (Session.popitem, KeyError),
    "list": (list, []),
    "keys": (lambda session: list(session.keys()), []),
    "values": (lambda session: list(session.values()), []),
    "items": (lambda session: list(session.items()), []),
    "dict": (dict, {}),
    "==": (lambda session: session == {}, True),
}


@undecodable
@pytest.mark.parametrize("way", WAYS)
def test_a_value_that_cannot_be_decoded_when_it_is_asked_for_begins_the_session_anew(
    text: bytes, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a good one was read before, and others were set: never half a session."""
    state = stored_state(STRICT, with_bad(text))
    session = Session(state)
    assert session["good"] == [1] and session.id == ID and session.owner == "ada"
    session["good"].append(2)
    session["set"] = "before"
    session.increment("last")
    assert not caplog.records
    read, expected = WAYS[way]
    if expected is KeyError:
        with pytest.raises(KeyError):
            read(session)
    else:
        assert read(session) == expected
    assert "good" not in session and "set" not in session and state.increments is None
    check_fresh(state, caplog)


@pytest.mark.parametrize("text", [b"1e400", DEEPER_THAN_THE_INTERPRETER], ids=["range", "depth"])
def test_setdefault_begins_the_session_anew_and_sets_the_default(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    session = stored(STRICT, with_bad(text))
    session["set"] = "before"
    assert session.setdefault("bad", 5) == 5
    check_one_error(caplog)
    assert written(session) == b'"bad":5' and session.id != ID


@undecodable
def test_increment_and_flashes_begin_the_session_anew(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    session = stored(STRICT, with_bad(text))
    session["set"] = "before"
    assert session.increment("bad", 3) == 3
    check_one_error(caplog)
    assert written(session) == b'"bad":3' and session.id != ID
    caplog.clear()
    session = stored(STRICT, record(b'"good":1', b'"_flashes":' + text))
    assert session["good"] == 1
    assert session.flashes() == []
    check_fresh(session._state, caplog)
    caplog.clear()
    session = stored(STRICT, record(b'"good":1', b'"_flashes":' + text))
    session.flash("hello")
    check_one_error(caplog)
    assert session.flashes() == [Flash("info", "hello")] and "good" not in session and session.id != ID


def test_a_login_before_it_is_dropped_with_all_else(caplog: pytest.LogCaptureFixture) -> None:
    session = stored(OURS, with_bad(b"1e400"))
    session.login("ada", keep_data=True)
    session.cookie.max_age = None
    assert session.get("bad") is None
    assert session.owner is None and session.authenticated_at is None and not session
    check_one_error(caplog)
    session["n"] = 1
    write = decide(session._state).write
    assert isinstance(write, Create) and write.owner is None and data_part(OURS, write) == b'"n":1'


def test_what_was_stored_stays_as_it_is_where_the_session_began_anew_and_nothing_was_set() -> None:
    state = stored_state(OURS, with_bad(b"1e400"))
    Session(state)["good"] = 2
    assert Session(state).get("bad") is None
    assert ask(state) == (decide(state), [])


def test_a_logout_after_it_ends_what_the_request_brought() -> None:
    for end in (Session.destroy, Session.invalidate, Session.clear):
        state = stored_state(OURS, with_bad(b"1e400"))
        assert Session(state).get("bad") is None
        end(Session(state))
        assert decide(state).ends == (OURS.key_of(ID),)


UNTOUCHING: Final[dict[str, Callable[[Session], object]]] = {
    "another is read": lambda session: session["good"],
    "another is changed within": lambda session: session["good"].append(2),
    "in": lambda session: "bad" in session,
    "len": len,
    "bool": bool,
    "flashes": Session.flashes,
    "increment": lambda session: session.increment("count"),
    "update": lambda session: session.update(good=[3], new=1),
    "regenerate": lambda session: session.regenerate(keep_data=True),
    "login": lambda session: session.login("ada", keep_data=True),
    "touch": Session.touch,
    "id": lambda session: session.id,
    "cookie": lambda session: setattr(session.cookie, "path", "/app"),
}


@pytest.mark.parametrize(
    "text", [*UNDECODABLE.values(), within(b"1")], ids=[*UNDECODABLE.keys(), "deeper than we write"]
)
@pytest.mark.parametrize("op", UNTOUCHING)
def test_a_value_that_the_handler_did_not_touch_is_never_an_error_and_is_carried_over(
    text: bytes, op: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = stored(STRICT, with_bad(text))
    UNTOUCHING[op](session)
    session["last"] = 3
    after = written(session)
    assert after is not None and b'"bad":' + text + b"," in after and b'"last":3' in after
    assert not caplog.records


@undecodable
def test_it_may_be_deleted_and_overwritten_without_being_decoded(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    session = stored(STRICT, with_bad(text))
    session["bad"] = 5
    assert session["bad"] == 5 and list(session) == ["good", "bad", "last"]
    assert written(session) == b'"good":[1],"bad":5,"last":2'
    session = stored(STRICT, with_bad(text))
    del session["bad"]
    assert dict(session) == {"good": [1], "last": 2}
    assert written(session) == b'"good":[1],"last":2'
    express = make_settings(express_profile=True, codec=StrictCodec())
    session = stored(express, with_bad(text))
    session.clear()
    assert not session and written(session) == b""
    assert not caplog.records


def test_the_view_of_a_session_is_empty_once_such_a_value_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    settings = make_settings()
    store = MemoryStore(clock=clock_of(settings))
    store.create(settings.key_of(ID), with_bad(b"1e400"), DAY)
    (view,) = StoreSessions(store, settings).all()
    assert view["last"] == 2 and "bad" in view and len(view) == 3 and not caplog.records
    assert view.get("bad") is None and dict(view) == {}
    assert [line.levelno for line in caplog.records] == [logging.ERROR]


# -- two requests at once, where a value cannot be decoded ---------------------------------------------------------------


def overwritten(*, exclusive: bool = False) -> State:
    state = stored_state(OURS, values(x=b"1e400", y=b"1"))
    Session(state)["x"] = 2
    if exclusive:
        note_locked(state, "key", "token")
    return state


def other_wrote(text: bytes) -> Stored:
    raw = values(x=text, y=b"3")
    return Stored(raw, raw, DAY)


@pytest.mark.parametrize("text", [b"5", b"1e500", lists(100_000)])
def test_a_value_that_cannot_be_decoded_and_that_both_requests_overwrote_is_the_later_one_s(text: bytes) -> None:
    plan, ops = ask(overwritten(), CONFLICT, other_wrote(text), "version")
    assert kinds(ops) == ["Replace", "Pause", "Load", "Replace"]
    assert data_part(OURS, plan.write) == b'"x":2,"y":3'


@pytest.mark.parametrize("text", [b"1e400", b"5"])
def test_a_value_that_another_made_undecodable_meanwhile_is_the_later_commit_s(text: bytes) -> None:
    state = stored_state(OURS, values(x=text, y=b"1"))
    del Session(state)["x"]
    plan, _ops = ask(state, CONFLICT, other_wrote(b"1e500"), "version")
    assert data_part(OURS, plan.write) == b'"y":3'


def test_an_exclusive_request_does_not_overwrite_what_another_did_with_such_a_value() -> None:
    with pytest.raises(SessionConflict):
        ask(overwritten(exclusive=True), CONFLICT, True, granted("again"), other_wrote(b"5"))
    plan, _ops = ask(overwritten(exclusive=True), CONFLICT, True, granted("again"), other_wrote(b"2"))
    assert plan.write is None  # the other has done the same


def test_to_set_such_a_value_may_be_tried_again_after_a_lost_reply() -> None:
    plan, ops = ask(overwritten(), TIMEOUT, other_wrote(b"5"), other_wrote(b"5"), "version")
    assert kinds(ops) == ["Replace", "Load", "Load", "Replace"]
    assert data_part(OURS, plan.write) == b'"x":2,"y":3'


def test_a_regenerate_whose_session_has_ended_takes_along_what_was_set_in_the_place_of_such_a_value() -> None:
    state = overwritten()
    Session(state).regenerate(keep_data=True)
    plan, ops = ask(state, MISSING, "version")
    assert kinds(ops) == ["Regenerate", "Create"]
    assert data_part(OURS, plan.write) == b'"x":2'


# -- values nested deeply -------------------------------------------------------------------------------------------------


def innermost(value: Any) -> Any:
    for _ in range(DEEP - 1):
        value = value[0]
    return value


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "text",
    [
        b"1",
        b"-0.0",
        b'{"b":1,"a":[1.0]}',
        b'"\\u0061"',
        b'{"$decimal":"sNaN"}',
        b'{"$decimal":"1.0"}',
        b'{"$tuple":[[1]]}',
        b'{"$set":[2,1]}',
    ],
)
def test_a_value_nested_deeper_than_we_write_can_be_read_and_stays_as_it_is(text: bytes) -> None:
    session = stored(OURS, values(deep=within(text), k=b"1"))
    assert innermost(session["deep"]) == innermost(session["deep"])
    assert written(session) is None
    session["k"] = 2
    assert written(session) == b'"deep":' + within(text) + b',"k":2'


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (b"1", lambda inner: inner.append(2)),
        (b"1", lambda inner: inner.clear()),
        (b"1", lambda inner: inner.__setitem__(0, True)),
        (b"1", lambda inner: inner.__setitem__(0, 1.0)),
        (b"0.0", lambda inner: inner.__setitem__(0, -0.0)),
        (b'"a"', lambda inner: inner.__setitem__(0, _Text("a"))),
        (b"[1]", lambda inner: inner.__setitem__(0, (1,))),
        (b"[1]", lambda inner: inner.__setitem__(0, inner)),
        (b'{"a":1,"b":2}', lambda inner: inner[0].__setitem__("a", inner[0].pop("a"))),
        (b'{"$decimal":"1.0"}', lambda inner: inner.__setitem__(0, Decimal(1))),
        (b'{"$set":[1]}', lambda inner: inner[0].add(2)),
        (b'{"$set":[1]}', lambda inner: inner.__setitem__(0, {1j})),
    ],
)
def test_a_change_within_it_is_refused_with_the_path(text: bytes, change: Callable[[Any], object]) -> None:
    session = stored(OURS, values(deep=within(text), k=b"1"))
    change(innermost(session["deep"]))
    with pytest.raises(SessionEncodeError, match="nested too deeply") as raised:
        decide(session._state)
    assert raised.value.path == "deep[0][0][0]"


@pytest.mark.parametrize("text", [within(b"1"), lists(100_000), b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_deep_values_are_carried_over_and_removed(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    session = stored(OURS, values(deep=text, k=b"1"))
    assert session["k"] == 1 and "deep" in session
    session["k"] = 2
    assert written(session) == b'"deep":' + text + b',"k":2'
    session.regenerate(keep_data=True)
    assert written(session) == b'"deep":' + text + b',"k":2'
    del session["deep"]
    assert written(session) == b'"k":2'
    assert not caplog.records


@pytest.mark.parametrize(("depth", "is_held"), [(199, True), (200, True), (201, False), (300, False), (100_000, False)])
@pytest.mark.parametrize("kind", ["list", "dict", "tuple"])
def test_the_limit_of_depth_is_one_and_the_same_on_the_way_out(depth: int, kind: str, *, is_held: bool) -> None:
    value: Any = [] if kind == "list" else {} if kind == "dict" else ()
    for _ in range(depth - 1):
        value = [value] if kind == "list" else {"a": value} if kind == "dict" else (value,)
    session = stored(OURS, values(k=b"1"))
    session["v"] = {"v": 0}
    session["v"] = value
    if is_held:
        assert written(session) is not None
    else:
        with pytest.raises(SessionEncodeError, match="nested too deeply") as raised:
            decide(session._state)
        assert raised.value.path.startswith("v")
