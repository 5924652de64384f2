"""How a session ends, and what becomes of it when something else is put in its place."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from typing import Final

import pytest

from sojourn import logs
from sojourn.core.commit import save
from sojourn.core.plan import Phase, Regenerate, Replace
from sojourn.core.policy import decide, needs_late_commit, substitute
from sojourn.core.record import unpack
from sojourn.core.session import Session
from sojourn.core.state import Found, Intent
from sojourn.errors import HeadersAlreadySent, SessionDestroyed
from sojourn.middleware.drive import run
from sojourn.wire.cookies import encode_value
from tests.core.deciding import ACTS, clear, in_turn, kept, login, make, sent, written
from tests.core.making import HOUR, ID, NOW, OTHER, begin, clock_of, data_of, make_settings, new, stored_state


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch):
    monkeypatch.setattr(logs, "_said", set())


# -- how a session ends -------------------------------------------------------------------------------------------------------

BEFORE: Final[list[Callable[[Session], object]]] = [
    lambda s: None,
    lambda s: s.update(m=1),
    lambda s: s.touch(),
    lambda s: s.regenerate(),
    lambda s: s.regenerate(keep_data=True),
    login,
    in_turn(login, ACTS[Intent.REGENERATE]),
    clear,
    in_turn(clear, login),
    in_turn(login, clear),
]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("end", [lambda s: s.destroy(), lambda s: s.logout(), lambda s: (s.destroy(), s.destroy())])
@pytest.mark.parametrize("found", [Found.NOTHING, Found.RECORD, Found.TOMBSTONE, Found.UNAVAILABLE])
def test_a_destroy_names_every_brought_id_and_never_the_id_that_was_to_be(before, end, found):
    settings = make_settings()
    state = stored_state(settings, others=[OTHER]) if found is Found.RECORD else begin(settings, found, ids=[ID, OTHER])
    session = Session(state)
    before(session)
    end(session)
    plan = decide(state)
    assert plan.ends == (settings.key_of(ID), settings.key_of(OTHER))
    assert (written(plan), sent(plan)) == ("-", "expire")


@pytest.mark.parametrize("found", [Found.RECORD, Found.PENDING, Found.UNAVAILABLE])
@pytest.mark.parametrize(
    "after", [lambda s: s.regenerate(), lambda s: s.login("ann"), lambda s: s.invalidate(), lambda s: s.clear()]
)
def test_nothing_goes_on_after_a_destroy(found, after):
    state = make(make_settings(), found)
    session = Session(state)
    session.destroy()
    with pytest.raises(SessionDestroyed):
        after(session)
    assert decide(state).ends == (state.settings.key_of(ID),)


def test_a_destroy_names_the_key_that_a_save_has_moved_the_session_to():
    state, store = kept(others=[OTHER])
    session = Session(state)
    session.login("ann")
    run(save(state), store)
    session.destroy()
    key_of = state.settings.key_of
    assert state.id not in (None, ID)
    assert decide(state).ends == (key_of(ID), key_of(OTHER), key_of(state.id or ""))


def test_an_id_that_came_twice_is_ended_once():
    state = begin(make_settings(), Found.PENDING, ids=[ID, OTHER, ID])
    Session(state).destroy()
    assert decide(state).ends == (state.settings.key_of(ID), state.settings.key_of(OTHER))


@pytest.mark.parametrize("worth", [False, True])
def test_without_tombstones_and_with_ids_as_keys_a_destroy_names_them_all_the_same(worth):
    settings = make_settings(express_profile=True)
    state = stored_state(settings, others=[OTHER])
    session = Session(state)
    if worth:
        session["m"] = 1
    session.destroy()
    assert decide(state).ends == (ID, OTHER)


@pytest.mark.parametrize("how", [lambda s: s.invalidate(), lambda s: s.clear()])
def test_an_invalidated_session_that_is_written_to_is_regenerated_without_data(how):
    settings = make_settings()
    state = stored_state(settings, others=[OTHER], before=lambda s: s.login("ann", keep_data=True))
    clock_of(settings).advance(HOUR)
    session = Session(state)
    how(session)
    session["m"] = 2
    plan = decide(state)
    key_of = settings.key_of
    assert isinstance(plan.write, Regenerate)
    assert (plan.write.old, plan.write.new) == (key_of(ID), key_of(session.id))
    assert plan.write.owner is None
    record = unpack(plan.write.data)
    assert data_of(plan.write.data) == {"m": 2}
    assert (record.created, record.owner, record.login.at) == (NOW + HOUR, None, None)
    assert plan.ends == (key_of(OTHER),)
    assert session.id != ID and encode_value(session.id) in (plan.header or "")[1]


@pytest.mark.parametrize("how", [lambda s: s.invalidate(), lambda s: s.clear()])
def test_an_invalidated_session_that_is_left_empty_ends_and_its_cookie_is_expired(how):
    state = stored_state(make_settings(), others=[OTHER])
    how(Session(state))
    plan = decide(state)
    assert plan.write is None and sent(plan) == "expire"
    assert plan.ends == (state.settings.key_of(ID), state.settings.key_of(OTHER))


@pytest.mark.parametrize("found", [Found.NOTHING, Found.RECORD, Found.TOMBSTONE, Found.PENDING, Found.UNAVAILABLE])
def test_an_invalidated_session_goes_on_empty_new_and_nobodys(found):
    settings = make_settings()
    state = (
        stored_state(settings, before=lambda s: s.login("ann"))
        if found is Found.RECORD
        else begin(settings, found, ids=[ID])
    )
    session = Session(state)
    session.invalidate()
    assert dict(session) == {} and session.is_new
    assert (session.owner, session.authenticated_at) == (None, None)
    assert session.id not in ("", ID)
    assert repr(session) == "<Session invalidated>"
    session["m"] = 1
    assert dict(session) == {"m": 1}


def test_a_login_after_invalidate_is_stored_for_its_owner():
    state = stored_state(make_settings())
    session = Session(state)
    session.clear()
    session.login("ann")
    write = decide(state).write
    assert isinstance(write, Regenerate) and write.owner == "ann"


def test_two_ends_are_one():
    state = stored_state(make_settings(), others=[OTHER])
    session = Session(state)
    session["m"] = 1
    session.clear()
    session.clear()
    session["m"] = 2
    plan = decide(state)
    assert isinstance(plan.write, Regenerate) and data_of(plan.write.data) == {"m": 2}


# contract 145; design, "How a session ends"
def test_in_the_express_profile_clear_keeps_id_and_record():
    state = stored_state(make_settings(express_profile=True, touch_after=None))
    session = Session(state)
    session.clear()
    assert session.id == ID
    plan = decide(state)
    assert isinstance(plan.write, Replace) and plan.ends == ()
    assert data_of(plan.write.data) == {}


@pytest.mark.parametrize(
    "remove", [lambda s: s.__delitem__("n"), lambda s: s.pop("n"), lambda s: s.popitem(), lambda s: s.flashes()]
)
def test_the_record_stays_when_the_last_key_goes_by_other_means(remove):
    data = {"_flashes": [["info", "x"]]} if "flashes" in remove.__code__.co_names else {"n": 1}
    state = stored_state(make_settings(), data)
    session = Session(state)
    remove(session)
    assert dict(session) == {}
    plan = decide(state)
    assert isinstance(plan.write, Replace) and plan.ends == () and plan.header is None


# design, "How a session ends": late
def test_what_is_invalidated_after_the_headers_ends_and_the_first_write_says_how_to_remove_single_values():
    state = stored_state(make_settings(), others=[OTHER])
    state.sent = True
    session = Session(state)
    session.clear()
    assert dict(session) == {} and "n" not in session and session.get("n") is None
    for write in (
        lambda: session.__setitem__("m", 1),
        lambda: session.setdefault("m", 1),
        lambda: session.update(m=1),
        lambda: session.increment("m"),
        lambda: session.flash("hello"),
    ):
        with pytest.raises(HeadersAlreadySent, match=r"`del session\[key\]`"):
            write()
    assert decide(state, Phase.LATE).ends == (state.settings.key_of(ID), state.settings.key_of(OTHER))


def test_what_was_ended_late_stays_closed_once_that_is_done():
    state, store = kept()
    state.sent = True
    session = Session(state)
    session.clear()
    run(save(state), store)
    assert not list(store.scan())
    with pytest.raises(HeadersAlreadySent):
        session["m"] = 1
    assert not needs_late_commit(state)


# -- unset, and what else is put in the session's place -------------------------------------------------------------------------


class Member(enum.Enum):
    EMPTY = enum.auto()


# contract 161 to 164
@pytest.mark.parametrize(
    ("unset", "act", "ends", "cookie"),
    [
        ("destroy", lambda s: None, True, "expire"),
        ("destroy", lambda s: s.regenerate(), True, "expire"),
        ("keep", lambda s: None, False, "-"),
        ("keep", lambda s: s.touch(), False, "-"),
        ("keep", lambda s: s.regenerate(), True, "expire"),
        ("keep", lambda s: s.login("ann", keep_data=True), True, "expire"),
        ("keep", lambda s: s.clear(), True, "expire"),
        ("keep", lambda s: s.destroy(), True, "expire"),
    ],
)
@pytest.mark.parametrize("changed", [False, True])
def test_a_session_set_to_none_ends_or_is_kept_as_it_was(unset, act, ends, cookie, changed):
    state = stored_state(make_settings(unset=unset, touch_after=0), others=[OTHER])
    session = Session(state)
    if changed:
        session["m"] = 1
    act(session)
    substitute(state, None)
    plan = decide(state)
    assert (written(plan), sent(plan)) == ("-", cookie)
    assert plan.ends == ((state.settings.key_of(ID), state.settings.key_of(OTHER)) if ends else ())
    if ends:
        with pytest.raises(SessionDestroyed):
            session.get("n")


@pytest.mark.parametrize("unset", ["destroy", "keep"])
def test_a_new_session_set_to_none_is_not_stored(unset):
    state = begin(make_settings(unset=unset, save_uninitialized=True, rolling=True))
    Session(state)["m"] = 1
    substitute(state, None)
    plan = decide(state)
    assert (plan.write, plan.ends, plan.header) == (None, (), None)


@pytest.mark.parametrize("unset", ["destroy", "keep"])
@pytest.mark.parametrize("found", list(Found))
def test_a_member_of_an_enumeration_in_its_place_ends_the_session_whatever_unset_says(unset, found):
    settings = make_settings(unset=unset)
    state = stored_state(settings) if found is Found.RECORD else begin(settings, found, ids=[ID])
    substitute(state, Member.EMPTY)
    plan = decide(state)
    assert plan.ends == (settings.key_of(ID),) and sent(plan) == "expire"
    with pytest.raises(SessionDestroyed):
        Session(state).get("n")


# contract 58; design, "The slot"
@pytest.mark.parametrize("value", [{"n": 2}, {}, 5, "text", [("a", 1)], object(), Member])
def test_anything_else_in_its_place_is_another_layers_and_changes_nothing_with_one_warning(value, caplog):
    state = stored_state(make_settings())
    session = Session(state)
    session["m"] = 1
    for _ in range(2):
        substitute(state, value)
    assert dict(session) == {"n": 1, "m": 1} and state.intent is Intent.NONE
    assert isinstance(decide(state).write, Replace)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "session.clear() and session.update(" in caplog.text


def test_a_session_of_another_middleware_in_its_place_changes_neither(caplog):
    settings = make_settings()
    ours, foreign = stored_state(settings), new(settings)
    foreign["theirs"] = True
    substitute(ours, foreign)
    assert not decide(ours).needs_store
    assert dict(foreign) == {"theirs": True}
    assert len(caplog.records) == 1
