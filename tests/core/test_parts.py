"""Models: what the application has as an object of its own, and changes there, is written into the data."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.core.data import attach, detach_part, find_part, is_changed, look_at
from sojourn.core.plan import Phase
from sojourn.core.policy import decide, needs_late_commit
from sojourn.core.session import Session
from sojourn.core.state import Part
from sojourn.core.store import Stored
from sojourn.core.transitions import merge_conflict, note_reloaded
from sojourn.errors import SessionEncodeError
from tests.core.making import make_settings, new, record_bytes, stored
from tests.core.texts import loaded, texts_of

STORED = {"cart": {"items": [1], "seen": True}, "n": 1}


def model_in(session: Session, **fields: Any) -> dict[str, Any]:
    """A model of the session's cart, with these fields."""
    state = session._state
    look_at(state)
    attach(state, Part("cart", dict, fields, dict))
    return fields


def test_a_model_that_is_not_changed_is_no_change() -> None:
    session = stored(make_settings(), STORED)
    model_in(session, items=[1], coupon=None)
    assert not is_changed(session._state) and decide(session._state).write is None
    fresh = new(make_settings())
    model_in(fresh, items=[])
    assert decide(fresh._state).write is None


def test_the_fields_that_changed_are_written_beside_what_is_stored() -> None:
    session = stored(make_settings(), STORED)
    model = model_in(session, items=[1], coupon=None, old=1)
    model["coupon"] = "x"
    assert texts_of(decide(session._state))["cart"] == b'{"items":[1],"seen":true,"coupon":"x"}'
    model["items"].append(2)  # and again, after that
    del model["old"], model["coupon"]
    assert texts_of(decide(session._state))["cart"] == b'{"items":[1,2],"seen":true}'


def test_a_model_of_nothing_or_of_no_object_begins_with_what_changed() -> None:
    for session in (new(make_settings()), loaded(b'{"cart":5}')):
        model = model_in(session, items=[], coupon=None)
        model["items"].append(1)
        assert texts_of(decide(session._state)) == {"cart": b'{"items":[1]}'}


def test_a_change_of_type_is_a_change() -> None:
    session = stored(make_settings(), {"cart": {"n": 1}})
    model_in(session, n=1)["n"] = True
    assert texts_of(decide(session._state)) == {"cart": b'{"n":true}'}


def test_a_field_that_cannot_be_stored_is_named() -> None:
    session = stored(make_settings(), STORED)
    model_in(session, items=[1])["items"].append(object())
    with pytest.raises(SessionEncodeError) as caught:
        decide(session._state)
    assert caught.value.path == "cart.items[1]"


def test_a_model_is_found_by_its_key_and_kind_until_it_is_taken_away() -> None:
    session = stored(make_settings(), STORED)
    model = model_in(session, items=[1])
    state = session._state
    part = find_part(state, "cart", dict)
    assert part is not None and part.model is model
    assert find_part(state, "cart", list) is find_part(state, "n", dict) is None
    model["items"].append(2)
    detach_part(state, part)
    assert find_part(state, "cart", dict) is None and decide(state).write is None


def test_a_late_change_in_a_model_needs_a_late_commit() -> None:
    session = stored(make_settings(), STORED)
    model = model_in(session, items=[1])
    state = session._state
    decide(state)
    state.sent = True
    assert not needs_late_commit(state)
    model["items"].append(2)
    assert needs_late_commit(state)
    assert texts_of(decide(state, Phase.LATE))["cart"] == b'{"items":[1,2],"seen":true}'


@pytest.mark.parametrize("renew", [Session.clear, Session.regenerate, lambda session: session.login("ann")])
def test_after_a_new_beginning_only_later_changes_count(renew: Any) -> None:
    session = stored(make_settings(), STORED)
    model = model_in(session, items=[1], coupon=None)
    model["coupon"] = "x"
    renew(session)
    assert dict(session) == {}
    model["items"].append(2)
    assert texts_of(decide(session._state)) == {"cart": b'{"items":[1,2]}'}


def test_after_a_reload_only_later_changes_count_and_what_is_stored_stays() -> None:
    settings = make_settings()
    session = stored(settings, STORED)
    model = model_in(session, items=[1], coupon=None)
    model["items"].append("lost")
    raw = record_bytes(settings, {"cart": {"items": [5]}})
    note_reloaded(session._state, settings.key_of(session.id), Stored(raw, raw, None))
    model["coupon"] = "x"
    assert texts_of(decide(session._state)) == {"cart": b'{"items":[5],"coupon":"x"}'}


def test_a_conflict_merges_the_fields() -> None:
    settings = make_settings()
    session = stored(settings, STORED)
    model = model_in(session, items=[1], coupon=None)
    model["coupon"] = "x"
    decide(session._state)
    raw = record_bytes(settings, {"cart": {"items": [1, 2], "seen": True}, "n": 1})
    merge_conflict(session._state, Stored(raw, raw, None))
    assert texts_of(decide(session._state))["cart"] == b'{"items":[1,2],"seen":true,"coupon":"x"}'


def test_a_record_that_turns_out_to_be_unreadable_begins_anew_with_its_models() -> None:
    session = loaded(b'{"cart":{"items":[1]},"bad":1e400}')
    model = model_in(session, items=[1])
    assert session.get("bad") is None
    model["items"].append(2)
    assert texts_of(decide(session._state)) == {"cart": b'{"items":[1,2]}'}
