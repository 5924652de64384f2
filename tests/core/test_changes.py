"""What a connection is told of its session, by what the store has under the key; and that its messages count as use."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.core.changes import CHANGED, REGENERATED, Change, change_of, is_own_end, key_of
from sojourn.core.commit import use
from sojourn.core.plan import Touch
from sojourn.core.session import Session
from sojourn.core.state import Intent
from sojourn.core.store import Replaced, Seen
from tests.core.making import DAY, HOUR, ID, begin, clock_of, make_settings, stored_state

ENDED: list[tuple[dict[str, Any], bool, int, Any]] = [
    # options; whether the time was up; how old the session is; why it ended
    ({}, False, 0, "gone"),
    ({}, False, 40 * DAY, "gone"),
    ({}, True, DAY, "idle"),
    ({}, True, 30 * DAY - 1001, "idle"),
    ({}, True, 30 * DAY - 1000, "absolute"),
    ({"absolute_timeout": 3600}, True, HOUR, "absolute"),
    ({"absolute_timeout": None}, True, 400 * DAY, "idle"),
]
EXPRESS = b'{"cookie":{"originalMaxAge":null,"path":"/"},"n":1}'


@pytest.mark.parametrize(("options", "expired", "age", "why"), ENDED)
def test_why_a_session_has_ended_is_told_as_far_as_it_is_known(options, expired, age, why):
    state = stored_state(make_settings(**options))
    clock_of(state.settings).advance(age)
    change = change_of(state, None, mark=len, has_expired=expired)
    assert change == Change("ended", why) and change.is_end


@pytest.mark.parametrize("record", [EXPRESS, b"garbage"])
def test_of_a_record_that_does_not_say_when_it_began_the_idle_time_is_up(record):
    state = stored_state(make_settings(), record)
    clock_of(state.settings).advance(40 * DAY)
    assert change_of(state, None, mark=len, has_expired=True) == Change("ended", "idle")


def test_another_mark_is_a_change_and_a_tombstone_the_end_whatever_its_successor():
    state = stored_state(make_settings())
    assert state.loaded is not None
    mark = len(state.loaded.stored.version)
    assert change_of(state, Seen(mark, 1), mark=len, has_expired=False) is None
    assert change_of(state, Seen(mark + 1, None), mark=len, has_expired=False) is CHANGED
    assert not CHANGED.is_end and REGENERATED.is_end
    for successor in ("another", None):
        assert change_of(state, Replaced(successor), mark=len, has_expired=False) is REGENERATED


def test_what_is_not_stored_has_no_key_to_watch():
    settings = make_settings()
    state = begin(settings)
    assert key_of(state) is None and is_own_end(state)
    state = stored_state(settings)
    assert key_of(state) == settings.key_of(ID) and not is_own_end(state)


def operations(state: Any, *replies: Any) -> list[Any]:
    """What counting a message as use asks of the store."""
    steps, asked = use(state), []
    try:
        asked.append(next(steps))
        for reply in replies:
            asked.append(steps.send(reply))  # noqa: PERF401 - which ends the loop
    except StopIteration:
        return asked
    raise AssertionError("it asks for more")


def test_a_message_touches_and_saves_nothing():
    state = stored_state(make_settings())
    session = Session(state)
    session["more"] = 1
    clock_of(state.settings).advance(HOUR)
    assert operations(state, True) == [Touch(state.settings.key_of(ID), DAY)]
    assert "more" in state.dirty
    assert operations(state, False) == [Touch(state.settings.key_of(ID), DAY)]
    assert state.intent is Intent.ENDED
    assert operations(state) == [], "what has ended is touched no more"


def test_what_is_not_stored_cannot_be_read_or_is_about_to_end_is_not_touched():
    settings = make_settings()
    assert operations(begin(settings)) == []
    assert operations(stored_state(settings, b"garbage")) == []
    state = stored_state(settings)
    Session(state).destroy()
    assert operations(state) == []
    state = stored_state(settings)
    Session(state).regenerate()
    assert operations(state) == []


def test_towards_the_absolute_timeout_a_touch_moves_less():
    state = stored_state(make_settings(absolute_timeout=3600))
    clock_of(state.settings).advance(HOUR - 5000)
    assert operations(state, True) == [Touch(state.settings.key_of(ID), 5000)]
