"""When a request that changes nothing moves the expiry."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.cookie import Cookie
from sojourn.core.plan import Phase, Touch
from sojourn.core.policy import decide
from sojourn.core.session import Session
from tests.core.deciding import plan_of, written
from tests.core.making import DAY, HOUR, ID, NOW, clock_of, make_settings, record_bytes, stored, stored_state

MINUTE = 60_000
TOUCHES: list[tuple[dict[str, Any], Any, int | None, int, bool]] = [
    # options; the session's own lifetime (0: none); what the store says is left; how old the session is; whether a touch is due
    ({}, 0, DAY, 0, False),
    ({}, 0, DAY - DAY // 20 + 1, DAY // 20 - 1, False),
    ({}, 0, DAY - DAY // 20, DAY // 20, True),
    ({}, 0, 1, DAY - 1, True),
    ({"idle_timeout": 60}, 0, 57_001, 2_999, False),
    ({"idle_timeout": 60}, 0, 57_000, 3_000, True),
    ({"idle_timeout": 60, "touch_after": 10}, 0, 50_001, 9_999, False),
    ({"idle_timeout": 60, "touch_after": 10}, 0, 50_000, 10_000, True),
    ({"cookie": Cookie(max_age=60)}, 0, 57_000, 3_000, True),
    ({"touch_after": 0}, 0, DAY, 0, True),  # contract 77, 81
    ({"touch_after": 0}, 0, DAY - 1, 1, True),
    # shorter than a second
    ({"idle_timeout": 0.1}, 0, 96, 4, False),
    ({"idle_timeout": 0.1}, 0, 95, 5, True),
    ({"idle_timeout": 0.019}, 0, 19, 0, True),  # a twentieth of it is less than the clock can tell
    # the session's own lifetime is its idle timeout
    ({}, 60, 57_001, 2_999, False),
    ({}, 60, 57_000, 3_000, True),
    ({"idle_timeout": 3600}, 60, 57_000, 3_000, True),
    ({"idle_timeout": 60}, 3600, 58 * MINUTE, 2 * MINUTE, False),
    ({"idle_timeout": 60}, 3600, 57 * MINUTE, 3 * MINUTE, True),
    ({"cookie": Cookie(max_age=3600)}, None, DAY, 0, False),
    ({"cookie": Cookie(max_age=3600)}, None, DAY - DAY // 20, DAY // 20, True),
    # towards the absolute timeout a touch moves less and less, and at last nothing
    ({"absolute_timeout": 2 * DAY / 1000}, 0, DAY // 2, DAY, True),
    ({"absolute_timeout": 2 * DAY / 1000}, 0, DAY // 2, 2 * DAY - DAY // 2, False),
    ({"absolute_timeout": 2 * DAY / 1000}, 0, DAY // 2, 2 * DAY - DAY // 2 - DAY // 20, True),
    ({"absolute_timeout": 2 * DAY / 1000}, 0, DAY // 2, 2 * DAY - DAY // 2 - DAY // 20 + 1, False),
    ({"absolute_timeout": 60}, 0, MINUTE, 0, False),
    ({"absolute_timeout": 60}, 0, MINUTE // 2, MINUTE // 2, False),
    ({"absolute_timeout": 60, "idle_timeout": 60}, 0, 1, MINUTE - 1, False),
    # a store that cannot tell: due until this process has touched it
    ({}, 0, None, 0, True),
    ({"touch_after": DAY / 1000}, 0, None, 0, True),
    ({"absolute_timeout": 60, "touch_after": 61}, 0, None, 0, False),
]


@pytest.mark.parametrize(("options", "own", "left", "age", "due"), TOUCHES)
@pytest.mark.parametrize("looked", [False, True])
def test_a_touch_is_due_when_it_would_move_the_expiry_far_enough(options, own, left, age, due, looked):
    settings = make_settings(**options)
    state = stored_state(
        settings,
        expires_in=left,
        before=lambda s: own == 0 or setattr(s.cookie, "max_age", own),  # type: ignore[func-returns-value]
    )
    clock_of(settings).advance(age)
    if looked:
        Session(state).get("n")
    plan = decide(state)
    assert written(plan) == ("Touch" if due else "-")
    assert not plan.changed
    if isinstance(plan.write, Touch):
        idle = state.idle_ms()
        absolute = settings.options.absolute_ms
        assert plan.write.ttl == (idle if absolute is None else min(idle, absolute - age))


def test_a_change_is_written_whether_or_not_a_touch_is_due():
    session = stored(make_settings(touch_after=0))
    session["n"] = 2
    assert written(plan_of(session)) == "Replace"


def test_where_the_store_cannot_tell_what_was_touched_here_is_remembered():
    settings = make_settings()
    assert isinstance(plan_of(stored(settings, expires_in=None)).write, Touch)
    assert settings.expiries is not None
    settings.expiries.note(settings.key_of(ID), NOW + DAY)
    raw = record_bytes(settings)
    assert plan_of(stored(settings, raw, expires_in=None)).write is None
    clock_of(settings).advance(DAY // 20)
    assert isinstance(plan_of(stored(settings, raw, expires_in=None)).write, Touch)


def test_what_was_touched_here_is_void_where_another_gave_the_session_a_shorter_life_since():
    settings = make_settings(express_profile=True, idle_timeout=DAY // 1000, touch_after=HOUR // 1000)
    plan_of(stored(settings, expires_in=None))
    assert settings.expiries is not None
    settings.expiries.note(settings.key_of(ID), NOW + DAY)
    text = b'{"cookie":{"originalMaxAge":600000,"expires":null,"httpOnly":true,"path":"/"},"n":1}'  # Express's
    plan = plan_of(stored(settings, text, expires_in=None))
    assert plan.write == Touch(settings.key_of(ID), 600_000)


def test_a_late_request_touches_only_if_asked_to():
    state = stored_state(make_settings(touch_after=0))
    state.sent = True
    session = Session(state)
    session.get("n")
    assert decide(state, Phase.LATE).write is None
    session.touch()
    assert isinstance(decide(state, Phase.LATE).write, Touch)


# contract 139: the configured lifetime was changed since the record was written
def test_a_record_written_under_another_lifetime_is_read_under_the_present_one():
    before, after = make_settings(cookie=Cookie(max_age=60)), make_settings(cookie=Cookie(max_age=3600))
    write = plan_of(stored(after, record_bytes(before), expires_in=MINUTE)).write
    assert isinstance(write, Touch) and write.ttl == HOUR
