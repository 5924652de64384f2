"""The state of a session: every way that what was asked for moves on, written out by hand, and what a state says of itself."""

from __future__ import annotations

import pytest
from msgspec import Raw

from sojourn.core.session import Session
from sojourn.core.state import TRANSITIONS, Event, Found, Intent
from sojourn.errors import SessionDestroyed
from tests.core.making import DAY, HOUR, ID, NOW, begin, clock_of, make_settings, stored_state

INTENTS = (
    Intent.NONE,
    Intent.TOUCH,
    Intent.REGENERATE,
    Intent.INVALIDATE,
    Intent.DISCARD,
    Intent.ENDED,
    Intent.DESTROY,
)

# From each intent to the next; "raises" where the session is destroyed, or invalidated and not stored yet.
MOVES = """
              none        touch       regenerate  invalidate  discard     ended       destroy
  touch       touch       touch       regenerate  invalidate  discard     ended       raises
  regenerate  regenerate  regenerate  regenerate  invalidate  regenerate  regenerate  raises
  invalidate  invalidate  invalidate  invalidate  invalidate  invalidate  invalidate  raises
  unset       discard     discard     destroy     destroy     discard     discard     destroy
  destroy     destroy     destroy     destroy     destroy     destroy     destroy     destroy
  discard     discard     discard     discard     destroy     discard     ended       destroy
  reloaded    none        none        regenerate  raises      none        none        raises
  committed   none        none        none        none        discard     ended       destroy
  ended       ended       ended       raises      raises      raises      raises      raises
"""


def read_moves() -> list[tuple[Event, Intent, Intent | None]]:
    columns, *rows = (line.split() for line in MOVES.strip().splitlines())
    return [
        (Event[event.upper()], Intent[before.upper()], None if after == "raises" else Intent[after.upper()])
        for event, *cells in rows
        for before, after in zip(columns, cells, strict=True)
    ]


@pytest.mark.parametrize(("event", "before", "after"), read_moves())
def test_an_event_moves_the_intent_as_the_table_says(event, before, after):
    state = begin(make_settings())
    state.intent = before
    if after is None:
        with pytest.raises(SessionDestroyed):
            state.on(event)
        assert state.intent is before
    else:
        state.on(event)
        assert state.intent is after


def test_the_table_names_every_event_and_every_intent_once():
    moves = read_moves()
    assert {event for event, _, _ in moves} == set(Event) == TRANSITIONS.keys()
    assert {before for _, before, _ in moves} == set(INTENTS) == set(Intent)
    assert len(moves) == len(Event) * len(Intent)


def test_nothing_brings_a_destroyed_session_back():
    for event in Event:
        assert TRANSITIONS[event].get(Intent.DESTROY, Intent.DESTROY) is Intent.DESTROY


def test_a_state_begins_with_nothing_asked_for_and_nothing_looked_at():
    state = begin(make_settings())
    assert (state.found, state.intent) == (Found.NOTHING, Intent.NONE)
    assert (state.id, state.data, state.loaded, state.cookie, state.owed) == (None,) * 5
    assert not (state.sent or state.saved or state.renewed or state.brought_ended)


# contract 56, 59
def test_an_id_is_generated_once_and_only_when_one_is_needed():
    generated = []

    def generate(request: object) -> str:
        generated.append(request)
        return f"id-{len(generated)}"

    state = begin(make_settings(generate_id=generate))
    assert not generated
    assert state.ensure_id() == state.ensure_id() == state.id == "id-1"
    assert generated == [{}]


def test_what_changes_are_counted_from_is_the_loaded_record_unless_nothing_of_it_goes_on():
    state = stored_state(make_settings())
    assert state.base is None  # not looked at
    session = Session(state)
    assert session["n"] == 1
    assert state.base is not None and state.base.data == {"n": Raw(b"1")}
    session.regenerate(keep_data=True)
    assert state.base is not None
    session.regenerate()
    assert state.base is None
    assert begin(make_settings()).base is None


def test_the_id_that_came_stays_beside_the_id_that_the_session_will_have():
    state = stored_state(make_settings())
    Session(state).regenerate()
    assert state.came_as is not None and state.came_as.id == ID
    assert state.id not in (None, ID)
    assert state.loaded is not None and state.loaded.key == state.settings.key_of(ID)


def test_a_session_ends_when_idle_or_at_its_absolute_timeout():
    settings = make_settings(absolute_timeout=DAY / 1000 + 60)
    state = begin(settings)
    assert state.ensure_created() == NOW
    assert state.deadline(NOW) == NOW + DAY
    clock_of(settings).advance(HOUR)
    assert state.ensure_created() == NOW
    assert state.deadline(state.now()) == NOW + DAY + 60_000


def test_the_cookie_counts_as_changed_only_while_it_differs_from_what_the_session_began_with():
    state = stored_state(make_settings(), before=lambda session: setattr(session.cookie, "samesite", "strict"))
    session = Session(state)
    assert not state.is_cookie_changed()
    session.cookie.samesite = "lax"
    assert state.is_cookie_changed()
    assert state.overrides() == {}
    session.cookie.samesite = "strict"
    assert not state.is_cookie_changed()
    assert state.overrides() == {"sameSite": "strict"}
