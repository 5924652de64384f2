"""The policy is asked once for each response, and again only where something happened since."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from sojourn.cookie import Cookie
from sojourn.core.commit import commit
from sojourn.core.plan import Phase
from sojourn.core.policy import decide, needs_late_commit, substitute
from sojourn.core.session import Session
from sojourn.core.state import Event, Found, Intent
from sojourn.core.transitions import note_committed
from sojourn.middleware.drive import run
from sojourn.stores import MemoryStore
from tests.core.deciding import change, clear, in_turn, kept, login, respond
from tests.core.making import begin, clock_of, make_settings, stored_state


def set_lifetime(session: Session) -> None:
    session.cookie.max_age = 60


ASKED_ONCE: Final[list[tuple[str, Found, Callable[[Session], object], dict[str, Any]]]] = [
    ("looked at", Found.RECORD, lambda s: s.get("n"), {}),
    ("not looked at", Found.RECORD, lambda s: None, {}),
    ("created", Found.NOTHING, change, {}),
    ("created, its cookie changed", Found.NOTHING, in_turn(change, set_lifetime), {}),
    ("created uninitialized", Found.NOTHING, lambda s: s.get("n"), {"save_uninitialized": True}),
    ("created with a fixed date", Found.NOTHING, change, {"cookie": Cookie(expires=datetime(2040, 1, 1, tzinfo=UTC))}),
    ("not created", Found.NOTHING, lambda s: s.get("n"), {}),
    ("replaced", Found.RECORD, lambda s: s.update(m=1), {}),
    ("replaced, its cookie changed", Found.RECORD, lambda s: setattr(s.cookie, "samesite", "strict"), {}),
    ("resaved", Found.RECORD, lambda s: s.get("n"), {"resave": True}),
    ("regenerated", Found.RECORD, lambda s: s.login("ann", keep_data=True), {}),
    ("regenerated without data", Found.RECORD, login, {}),
    ("regenerated to nothing", Found.RECORD, lambda s: s.regenerate(), {}),
    ("regenerated when new", Found.NOTHING, lambda s: s.regenerate(), {}),
    ("regenerated beside another", Found.TOMBSTONE, lambda s: s.regenerate(), {}),
    ("rolled", Found.RECORD, lambda s: None, {"rolling": True}),
    ("rolled and looked at", Found.RECORD, lambda s: s.get("n"), {"rolling": True}),
    ("touched", Found.RECORD, lambda s: s.touch(), {}),
    ("touched when new", Found.NOTHING, lambda s: s.touch(), {}),
    ("touched as that was due", Found.RECORD, lambda s: s.get("n"), {"touch_after": 0}),
    ("destroyed", Found.RECORD, lambda s: s.destroy(), {}),
    ("destroyed when new", Found.NOTHING, lambda s: s.destroy(), {}),
    ("destroyed when not loaded", Found.PENDING, lambda s: s.destroy(), {}),
    ("destroyed beside another", Found.TOMBSTONE, lambda s: s.destroy(), {}),
    ("invalidated", Found.RECORD, clear, {}),
    ("invalidated and written to", Found.RECORD, in_turn(clear, change), {}),
    ("invalidated when new", Found.NOTHING, clear, {}),
    ("invalidated when not loaded", Found.PENDING, clear, {}),
    ("invalidated when not loaded and written to", Found.PENDING, in_turn(clear, change), {}),
    ("unset", Found.RECORD, lambda s: substitute(s._state, None), {"unset": "keep"}),
    ("changed beside another", Found.TOMBSTONE, change, {}),
    ("changed while the store was down", Found.UNAVAILABLE, change, {}),
    ("not loaded", Found.PENDING, lambda s: None, {}),
]  # fmt: skip


@pytest.mark.parametrize(("found", "act", "options"), [pytest.param(*rest, id=what) for what, *rest in ASKED_ONCE])
def test_after_a_response_that_did_all_there_was_to_do_nothing_is_left(found, act, options):
    state, store = kept(options=options)
    if found is not Found.RECORD:
        state = begin(state.settings, found)
    act(Session(state))
    respond(state, store)
    assert not needs_late_commit(state)


@pytest.mark.parametrize(
    ("act", "late"),
    [
        (lambda s: None, False),
        (lambda s: s.get("n"), False),
        (lambda s: s.__setitem__("n", 1), False),
        (lambda s: s.cookie, False),
        (lambda s: s.__setitem__("n", 2), True),
        (lambda s: s.__setitem__("o", object()), True),
        (lambda s: setattr(s.cookie, "samesite", "strict"), True),
        (lambda s: s.touch(), True),
        (lambda s: s.destroy(), True),
        (lambda s: s.regenerate(), True),
        (clear, True),
    ],
)
@pytest.mark.parametrize("responded", [False, True])
def test_what_happens_after_the_response_is_seen(act, late, responded):
    state, store = kept()
    session = Session(state)
    if responded:
        session["n"] = 1
        respond(state, store)
    act(session)
    assert needs_late_commit(state) is late


@pytest.mark.parametrize("found", [Found.PENDING, Found.TOMBSTONE, Found.UNAVAILABLE])
def test_an_end_of_what_was_not_loaded_is_seen_after_the_response(found):
    state = begin(make_settings(), found)
    respond(state, MemoryStore())
    Session(state).destroy()
    assert needs_late_commit(state)


def test_an_end_of_what_the_response_created_is_seen_after_it():
    settings = make_settings()
    state, store = begin(settings), MemoryStore(clock=clock_of(settings))
    change(Session(state))
    respond(state, store)
    Session(state).destroy()
    assert needs_late_commit(state)
    run(commit(state, decide(state, Phase.LATE), Phase.LATE), store)
    assert store.count() == 0 and not needs_late_commit(state)


def test_what_is_put_into_a_new_session_after_the_response_is_seen():
    state = begin(make_settings())
    session = Session(state)
    respond(state, MemoryStore())
    assert dict(session) == {} and not needs_late_commit(state)
    session["n"] = 1
    assert needs_late_commit(state)


# design, "When the commit happens"; renovation, 1
def test_a_late_change_after_a_regenerate_that_left_nothing_is_not_blamed_on_the_regenerate(caplog):
    state, store = kept()
    session = Session(state)
    session.regenerate()
    respond(state, store)
    session["m"] = 1
    assert decide(state, Phase.LATE).write is None
    assert "changed for the first time" in caplog.text and "regenerated" not in caplog.text.splitlines()[-1]


def test_a_session_that_ended_elsewhere_or_is_discarded_has_nothing_left_to_do():
    for event in (Event.ENDED, Event.DISCARD):
        state = stored_state(make_settings())
        Session(state)["n"] = 2
        state.on(event)
        assert not needs_late_commit(state)


# contract 98; design, "When the commit happens"
def test_a_plan_without_anything_to_carry_out_is_noted_as_done():
    state = begin(make_settings())
    Session(state).regenerate()
    plan = decide(state)
    assert not plan.needs_store
    note_committed(state, plan)
    assert (state.found, state.intent) == (Found.NOTHING, Intent.NONE)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda s: s.get("at"), False),
        (lambda s: s.update(at=datetime(2026, 1, 1, tzinfo=UTC)), False),
        (lambda s: s.update(at=datetime(2027, 1, 1, tzinfo=UTC)), True),
        (lambda s: s.update(at="2026-01-01T00:00:00+00:00"), True),
        (lambda s: s.update(x=object()), True),
    ],
)
def test_values_that_json_lacks_are_no_reason_to_ask_again(act, expected):
    settings = make_settings()
    state = stored_state(settings, {"at": datetime(2026, 1, 1, tzinfo=UTC), "n": 1})
    session = Session(state)
    session.get("n")
    assert decide(state).write is None
    act(session)
    assert needs_late_commit(state) is expected
