"""Who is logged in by what Passport keeps in the data, and what a login here writes there."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from sojourn import JSONCodec
from sojourn.codecs import loads
from sojourn.core.logins import try_log_in
from sojourn.core.passport import check_user, heed, is_another_s, owner_of, with_user
from sojourn.core.plan import Create, Phase, Regenerate, Replace
from sojourn.core.policy import decide, needs_late_commit
from sojourn.core.record import NOBODY, Login, Record, unpack
from sojourn.core.session import Session
from sojourn.core.store import Stored
from sojourn.core.transitions import detach, merge_conflict, note_committed
from sojourn.errors import StoreUnavailable
from sojourn.ids import LONGEST_OWNER
from sojourn.middleware.drive import run
from sojourn.middleware.sessions import StoreSessions
from sojourn.stores import MemoryStore
from tests.core.making import DAY, NOW, clock_of, make_settings, new, record_bytes, stored

ANN = Login("ann", NOW, {"label": "Ann's"}, stamp="ab", sid="s")
SETTINGS = make_settings(express_profile=True, passport=True)
INTEGERS = make_settings(express_profile=True, passport=int)


def text(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


USERS: list[tuple[Any, str | None]] = [
    ("ann", "ann"),
    ("7", "7"),
    (7, "7"),
    (0, "0"),
    (-7, "-7"),
    (1.0, "1"),  # JavaScript has one type of number
    (-0.0, "0"),
    (2**53 - 1, "9007199254740991"),
    # another shape
    (2**53, None),
    (-(2**53), None),
    (1e300, None),
    (1.5, None),
    (True, None),
    (False, None),
    (None, None),
    ("", None),
    ({"id": 7}, None),
    (["ann"], None),
    # no owner for a store
    ("a\0", None),
    ("\ud800", None),
    ("a" * (LONGEST_OWNER + 1), None),
]


# contract 206
@pytest.mark.parametrize(("user", "owner"), USERS)
def test_a_user_is_an_owner_if_it_is_a_string_or_an_integer(user: Any, owner: str | None):
    expected = NOBODY if owner is None else Login(owner)
    assert heed(NOBODY, text({"user": user, "else": 1})) == expected
    assert heed(NOBODY, {"user": user}) == expected  # decoded, or what the application has put there


@pytest.mark.parametrize(
    "kept", [None, text(None), text("ann"), text(["user"]), text({}), {}, "ann", Raw(b'{"user": 1e400}'), float("nan")]
)
def test_where_passport_keeps_no_user_nobody_is_logged_in(kept: Any):
    assert heed(ANN, kept) is NOBODY


def test_what_is_known_of_a_login_counts_for_that_user_alone():
    assert heed(ANN, text({"user": "ann"})) is ANN
    assert heed(ANN, text({"user": "bob"})) == Login("bob")
    pending = Login(pending=("ann", NOW), stamp="ab")
    assert heed(pending, None) is pending and heed(pending, text({"user": "ann"})) == Login("ann")


def test_the_owner_of_a_record_is_a_function_of_it():
    data = {"passport": text({"user": "bob"})}
    assert owner_of(Record(data, b"{}", login=ANN), passport=True) == "bob"
    assert owner_of(Record(data, b"{}", login=ANN), passport=False) == "ann"
    assert owner_of(Record({}, b"{}", login=ANN), passport=True) is None


def comes_back(owner: str) -> bool:
    try:
        number = int(owner)
    except ValueError:
        return False
    return str(number) == owner and abs(number) < 2**53


@given(st.one_of(st.text(max_size=4), st.integers().map(str), st.from_regex(r"\A-?[0-9]{1,17}\Z")))
def test_an_integer_is_written_only_if_it_comes_back_as_that_owner(owner: str):
    if not comes_back(owner):
        with pytest.raises(ValueError, match="2\\*\\*53 - 1"):
            check_user(owner, int)
        return
    check_user(owner, int)
    kept = with_user(None, owner, int)
    assert type(kept["user"]) is int and heed(NOBODY, kept) == heed(NOBODY, text(kept)) == Login(owner)


# contract 212
def test_what_else_passport_keeps_stays():
    assert with_user({"a": 1, "user": "bob"}, "ann", True) == {"a": 1, "user": "ann"}
    assert with_user({"a": 1, "user": "bob"}, None, True) == {"a": 1}
    assert with_user("no object", "ann", True) == {"user": "ann"}


@pytest.mark.parametrize(
    ("user", "another"),
    [
        (None, False),
        (False, False),
        ("", False),
        ("ann", False),
        ("bob", True),
        (0, True),
        ({}, True),
        ([], True),
        (True, True),
    ],
)
def test_somebody_else_may_be_of_any_shape(user: Any, another: bool):
    assert is_another_s(text({"user": user}), "ann") is another
    assert is_another_s({"user": user}, "ann") is another
    assert not is_another_s(text({}), "ann") and not is_another_s(None, "ann")


# -- sessions -------------------------------------------------------------------------------------------------------------


def written(session: Session) -> tuple[Any, dict[str, Any]]:
    """The write, and the record that it holds, as JSON values."""
    write = decide(session._state).write
    assert isinstance(write, Create | Replace | Regenerate)
    return write, loads(write.data)


def of_node(user: Any, **data: Any) -> bytes:
    """A record as Express and Passport write it."""
    cookie = {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"}
    return json.dumps({"cookie": cookie, **data, "passport": {"user": user}}).encode()


def after(session: Session, **changes: Any) -> bytes:
    """What is stored, once Node has changed it."""
    return json.dumps({**written(session)[1], **changes}).encode()


def test_a_login_writes_the_user_and_its_record_has_the_owner():
    session = new(SETTINGS)
    session.login("ann")
    write, record = written(session)
    assert write.owner == "ann"
    assert record["passport"] == session["passport"] == {"user": "ann"}
    assert (record["__sojourn__"]["owner"], record["__sojourn__"]["auth"]) == ("ann", NOW)


def test_a_login_that_keeps_data_keeps_what_else_passport_has():
    raw = of_node("", cart=[1]).replace(b'{"user":', b'{"else":[1],"user":')
    session = stored(SETTINGS, raw)
    session.login("ann", keep_data=True)
    assert written(session)[1]["passport"] == {"else": [1], "user": "ann"} and session["cart"] == [1]
    session = stored(SETTINGS, raw)
    session.login("ann")
    assert written(session)[1]["passport"] == {"user": "ann"} and "cart" not in session


@pytest.mark.parametrize("user", ["bob", 7, {"id": "ann"}])
@pytest.mark.parametrize("name", ["login", "begin_login"])
def test_what_a_user_of_node_left_is_not_carried_along(user: Any, name: str):
    session = stored(SETTINGS, of_node(user, cart=[1]))
    getattr(session, name)("ann", keep_data=True)
    record = written(session)[1]
    assert "cart" not in record and record.get("passport", {}) == ({"user": "ann"} if name == "login" else {})


def test_where_what_passport_has_cannot_be_read_a_login_begins_it_anew():
    session = stored(SETTINGS, of_node(1).replace(b'"user": 1', b'"user": 1e400'))
    session.login("ann", keep_data=True)
    assert written(session)[1]["passport"] == {"user": "ann"}


def test_an_owner_that_is_no_integer_is_refused_before_anything_changes():
    for name in ("login", "begin_login"):
        session = stored(INTEGERS, of_node(7))
        with pytest.raises(ValueError, match="passport=int"):
            getattr(session, name)("ann")
        assert session.owner == "7" and not decide(session._state).changed


def test_one_that_is_one_is_written_as_a_number():
    session = stored(INTEGERS, of_node(7))
    session.login("42")
    assert written(session)[1]["passport"] == {"user": 42} and session.owner == "42"


def test_without_the_option_the_data_are_the_applications():
    session = stored(make_settings(express_profile=True), of_node("bob"))
    assert session.owner is None
    session.login("ann", keep_data=True)
    assert written(session)[1]["passport"] == {"user": "bob"} and session.owner == "ann"


@pytest.mark.parametrize("codec", [None, JSONCodec()])
def test_a_record_of_a_login_on_node_has_its_owner_from_our_first_write_on(codec: Any):
    settings = make_settings(express_profile=True, passport=True, **({} if codec is None else {"codec": codec}))
    session = stored(settings, of_node(7, cart=[1]))
    assert (session.owner, session.authenticated_at, session.confirmed_at) == ("7", None, None)
    session["cart"].append(2)
    write, record = written(session)
    assert write.owner == "7" and record["passport"] == {"user": 7}
    assert record["__sojourn__"]["owner"] == "7" and "auth" not in record["__sojourn__"]


def test_reading_it_writes_nothing():
    session = stored(SETTINGS, of_node("ann"))
    assert session.owner == "ann" and session["passport"] == {"user": "ann"}
    assert not decide(session._state).changed


def test_who_confirms_a_password_is_the_user_of_node_and_stays_it():
    session = stored(INTEGERS, of_node("no integer"))
    session.confirm()
    write, record = written(session)
    assert write.owner == "no integer" and record["passport"] == {"user": "no integer"}
    assert record["__sojourn__"]["confirmed"] == NOW


@pytest.mark.parametrize(
    ("passport", "owner", "known"),
    [({"user": "ann"}, "ann", True), ({"user": "bob"}, "bob", False), ({}, None, False), (None, None, False)],
)
def test_what_node_says_counts(passport: Any, owner: str | None, known: bool):
    session = new(SETTINGS)
    session.login("ann", stamp="hash")
    clock_of(SETTINGS).advance(0)
    session = stored(SETTINGS, after(session, passport=passport))
    assert session.owner == owner and (session.authenticated_at is not None) is known
    session["n"] = 1
    write, record = written(session)
    assert write.owner == owner and ("stamp" in record["__sojourn__"]) is known


def test_so_does_what_the_application_puts_there_itself():
    session = new(SETTINGS)
    session.login("ann")
    session = stored(SETTINGS, after(session))
    session["passport"]["user"] = "bob"
    assert session.owner == "bob" and session.authenticated_at is None
    assert written(session)[0].owner == "bob"
    session["passport"] = OrderedDict(user="ann")
    assert session.owner == "ann" and session.authenticated_at is not None
    del session["passport"]
    assert session.owner is None and written(session)[0].owner is None


def test_an_empty_session_is_nobody_s():
    session = new(SETTINGS)
    session.login("ann")
    session = stored(SETTINGS, after(session))
    session.clear()  # which in this profile keeps the record
    assert session.owner is None and written(session)[0].owner is None


class Failing(MemoryStore):
    def regenerate(self, *_arguments: Any, **_more: Any) -> Any:
        raise StoreUnavailable("down")


@pytest.mark.parametrize(
    ("node", "keep_data", "left"), [(None, True, None), ("ann", True, "ann"), ("ann", False, None), ("bob", True, None)]
)
def test_a_tried_login_that_fails_has_not_happened_for_passport_either(
    node: str | None, keep_data: bool, left: str | None
):
    session = stored(SETTINGS, of_node(node, cart=[1]))
    with pytest.raises(StoreUnavailable):
        run(try_log_in(session._state, "ann", max_sessions=1, keep_data=keep_data), Failing())
    assert session.owner == left and session.authenticated_at is None


def test_a_login_that_was_begun_is_nobody_s_on_either_side():
    session = stored(SETTINGS, of_node("ann", cart=[1]))
    session.begin_login("ann", keep_data=True)
    assert (session.owner, session.pending_owner) == (None, "ann")
    write, record = written(session)
    assert write.owner is None and record["passport"] == {} and record["cart"] == [1]
    session.complete_login()
    write, record = written(session)
    assert write.owner == "ann" and record["passport"] == {"user": "ann"}


def test_a_login_that_is_begun_where_passport_has_nothing_writes_nothing_there():
    session = new(SETTINGS)
    session.begin_login("ann")
    assert "passport" not in written(session)[1]


def test_what_was_committed_is_no_change_though_passport_has_another():
    session = new(SETTINGS)
    session.login("ann")
    session["passport"] = {"user": "bob"}
    state = session._state
    plan = decide(state)
    note_committed(state, plan)
    assert session.owner == "bob" and not state.is_changed_beside_data() and not needs_late_commit(state)


def test_after_a_conflict_it_is_the_merged_data_that_say_who_is_logged_in():
    session = new(SETTINGS)
    session.login("ann")
    mine = stored(SETTINGS, after(session))
    mine["n"] = 1
    theirs = after(session, passport={"user": "bob"})
    merge_conflict(mine._state, Stored(theirs, theirs, 1000))
    assert mine.owner == "bob"
    write = decide(mine._state, Phase.LATE).write
    assert isinstance(write, Replace) and write.owner == "bob" and unpack(write.data).login == Login("bob")


@pytest.mark.parametrize("do", [Session.confirm, lambda session: session.login("ann", keep_data=True)])
def test_who_logs_in_again_as_a_parallel_request_does_is_logged_in_on_both_sides(do: Any):
    """The session that this one was to become has ended by then: the login goes into a new one, and Passport's part with it."""
    session = new(SETTINGS)
    session.login("ann")
    mine = stored(SETTINGS, after(session, n=1))
    clock_of(SETTINGS).advance(1)
    do(mine)
    detach(mine._state)
    write, record = written(mine)
    assert isinstance(write, Create) and write.owner == mine.owner == "ann"
    assert record["passport"] == {"user": "ann"} and "n" not in record


def test_views_and_lists_of_an_owner_s_sessions_follow():
    session = new(SETTINGS)
    session.login("ann")
    store = MemoryStore(clock=clock_of(SETTINGS))
    for key, user in (("here", "ann"), ("there", "bob"), ("nobody's", "")):
        store.create(key, after(session, passport={"user": user}), DAY, owner="ann")
    store.create("of Node", of_node("ann"), DAY)
    sessions = StoreSessions(store, SETTINGS)
    owners = {key: view.owner for key in ("here", "there", "nobody's", "of Node") if (view := sessions.get(key))}
    assert owners == {"here": "ann", "there": "bob", "nobody's": None, "of Node": "ann"}
    assert [view.key for view in sessions.by_owner("ann")] == ["here"]
    assert sessions.end_owner("ann") == 1 and sessions.count() == 3


def test_a_logout_ends_all_of_it():
    session = stored(SETTINGS, of_node("ann"))
    session.logout()
    plan = decide(session._state)
    assert plan.write is None and len(plan.ends) == 1


def test_records_of_ours_are_read_as_ever_without_it():
    settings = make_settings()
    raw = record_bytes(settings, before=lambda session: session.login("ann"))
    assert owner_of(unpack(raw), passport=False) == "ann"
