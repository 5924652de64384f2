"""The decisions as a table: what was found, what was asked for and when it is committed; what is written, what ends, what is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import logs
from sojourn.cookie import Cookie
from sojourn.core import policy
from sojourn.core.plan import Create, Phase, Plan, Regenerate, Replace, Touch
from sojourn.core.policy import DECISIONS, decide
from sojourn.core.record import unpack
from sojourn.core.session import Session
from sojourn.core.state import Found, Intent, State
from sojourn.errors import SessionEncodeError, StoreUnavailable
from tests.core.deciding import ACTS, clear, in_turn, make, plan_of, sent, written
from tests.core.making import (
    DAY,
    HOUR,
    ID,
    NOW,
    OTHER,
    begin,
    clock_of,
    data_of,
    make_settings,
    new,
    record_bytes,
    stored,
    stored_state,
)


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch):
    monkeypatch.setattr(logs, "_said", set())


# -- the decisions --------------------------------------------------------------------------------------------------------

# The request brought two ids. Of a record or a tombstone, the first is its own. What was found; what was asked for, and whether
# something is worth storing; then what is written, which keys end with it and what is sent with the response; what is written and
# ends after it; what ends where the handler raised.
TABLE: Final = """
  nothing      none        worth   | Create      -       send    | -        -    | -       75, 98
  nothing      none        -       | -           -       -       | -        -    | -       48, 74
  nothing      touch       worth   | Create      -       send    | -        -    | -
  nothing      touch       -       | -           -       -       | -        -    | -
  nothing      regenerate  worth   | Create      -       send    | -        -    | -
  nothing      regenerate  -       | -           -       -       | -        -    | -
  nothing      invalidate  worth   | Create      all     send    | -        all  | all
  nothing      invalidate  -       | -           all     expire  | -        all  | all
  nothing      discard     worth   | -           -       -       | -        -    | -
  nothing      discard     -       | -           -       -       | -        -    | -
  nothing      ended       worth   | -           -       -       | -        -    | -
  nothing      ended       -       | -           -       -       | -        -    | -
  nothing      destroy     worth   | -           all     expire  | -        all  | all
  nothing      destroy     -       | -           all     expire  | -        all  | all

  record       none        worth   | Replace     -       -       | Replace  -    | -       78, 91, 92, 98
  record       none        -       | -           -       -       | -        -    | -       77
  record       touch       worth   | Replace     -       -       | Replace  -    | -
  record       touch       -       | Touch       -       -       | Touch    -    | -       158
  record       regenerate  worth   | Regenerate  -       send    | -        -    | -       145, 148
  record       regenerate  -       | -           own     -       | -        -    | -       145
  record       invalidate  worth   | Regenerate  others  send    | -        all  | all
  record       invalidate  -       | -           all     expire  | -        all  | all
  record       discard     worth   | -           -       -       | -        -    | -       161
  record       discard     -       | -           -       -       | -        -    | -
  record       ended       worth   | -           -       -       | -        -    | -
  record       ended       -       | -           -       -       | -        -    | -
  record       destroy     worth   | -           all     expire  | -        all  | all     142, 143
  record       destroy     -       | -           all     expire  | -        all  | all

  tombstone    none        worth   | -           -       -       | -        -    | -
  tombstone    none        -       | -           -       -       | -        -    | -
  tombstone    touch       worth   | -           -       -       | -        -    | -
  tombstone    touch       -       | -           -       -       | -        -    | -
  tombstone    regenerate  worth   | Create      -       send    | -        -    | -
  tombstone    regenerate  -       | -           -       -       | -        -    | -
  tombstone    invalidate  worth   | Create      all     send    | -        all  | all
  tombstone    invalidate  -       | -           all     expire  | -        all  | all
  tombstone    discard     worth   | -           -       -       | -        -    | -
  tombstone    discard     -       | -           -       -       | -        -    | -
  tombstone    ended       worth   | -           -       -       | -        -    | -
  tombstone    ended       -       | -           -       -       | -        -    | -
  tombstone    destroy     worth   | -           all     expire  | -        all  | all
  tombstone    destroy     -       | -           all     expire  | -        all  | all

  pending      none        worth   | -           -       -       | -        -    | -
  pending      none        -       | -           -       -       | -        -    | -
  pending      invalidate  worth   | Create      all     send    | -        all  | all
  pending      invalidate  -       | -           all     expire  | -        all  | all
  pending      discard     worth   | -           -       -       | -        -    | -
  pending      discard     -       | -           -       -       | -        -    | -
  pending      ended       worth   | -           -       -       | -        -    | -
  pending      ended       -       | -           -       -       | -        -    | -
  pending      destroy     worth   | -           all     expire  | -        all  | all
  pending      destroy     -       | -           all     expire  | -        all  | all

  unavailable  none        worth   | -           -       -       | -        -    | -
  unavailable  none        -       | -           -       -       | -        -    | -
  unavailable  touch       worth   | -           -       -       | -        -    | -
  unavailable  touch       -       | -           -       -       | -        -    | -
  unavailable  regenerate  worth   | refused     -       -       | -        -    | -
  unavailable  regenerate  -       | refused     -       -       | -        -    | -
  unavailable  invalidate  worth   | Create      all     send    | -        all  | all
  unavailable  invalidate  -       | -           all     expire  | -        all  | all
  unavailable  discard     worth   | -           -       -       | -        -    | -
  unavailable  discard     -       | -           -       -       | -        -    | -
  unavailable  ended       worth   | -           -       -       | -        -    | -
  unavailable  ended       -       | -           -       -       | -        -    | -
  unavailable  destroy     worth   | -           all     expire  | -        all  | all
  unavailable  destroy     -       | -           all     expire  | -        all  | all
"""


def read_table() -> list[Any]:
    rows = []
    for line in filter(None, map(str.strip, TABLE.splitlines())):
        what, response, late, rest = (part.split() for part in line.split("|"))
        found, intent, worth = Found[what[0].upper()], Intent[what[1].upper()], what[2] == "worth"
        rows.append(pytest.param(found, intent, worth, response, late, rest[0], id="-".join(what).replace("--", "-")))
    return rows


def bring_to(found: Found, intent: Intent, *, worth: bool) -> State:
    settings = make_settings()
    state = (
        begin(settings, found, ids=[ID, OTHER]) if found is not Found.RECORD else stored_state(settings, others=[OTHER])
    )
    session = Session(state)
    anew = intent in (Intent.REGENERATE, Intent.INVALIDATE)
    if worth and not anew:
        if found is Found.PENDING:
            state.data = {}  # else it would be loaded
        session["m"] = 1
    ACTS[intent](session)
    if worth and anew:
        session["m"] = 1
    return state


def ends_of(state: State, plan: Plan) -> str:
    key_of = state.settings.key_of
    names = {(): "-", (key_of(ID),): "own", (key_of(OTHER),): "others", (key_of(ID), key_of(OTHER)): "all"}
    return names[plan.ends]


@pytest.mark.parametrize(("found", "intent", "worth", "response", "late", "failed"), read_table())
def test_what_is_written_what_ends_and_what_is_sent(found, intent, worth, response, late, failed):
    state = bring_to(found, intent, worth=worth)
    if response[0] == "refused":
        with pytest.raises(StoreUnavailable):
            decide(state)
    else:
        plan = decide(state)
        assert [written(plan), ends_of(state, plan), sent(plan)] == response
        assert (plan.record is not None) == isinstance(plan.write, Create | Replace | Regenerate)
        assert plan.needs_store == (response[:2] != ["-", "-"])
        assert state.intent is intent  # deciding changes nothing

    state = bring_to(found, intent, worth=worth)
    state.sent = True
    plan = decide(state, Phase.LATE)
    assert [written(plan), ends_of(state, plan)] == late
    assert plan.header is None

    state = bring_to(found, intent, worth=worth)
    plan = decide(state, Phase.FAILED)
    assert [written(plan), ends_of(state, plan)] == ["-", failed]
    assert plan.header is None


def test_the_table_above_names_every_decision_and_no_other():
    assert sorted((f.name, i.name, w) for f, i, w, *_ in (row.values for row in read_table())) == sorted(
        (f.name, i.name, w) for f, i, w in DECISIONS
    )


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("intent", [Intent.DESTROY, Intent.INVALIDATE])
def test_where_no_id_was_brought_there_is_nothing_to_end_and_no_cookie_to_expire(intent, phase):
    state = begin(make_settings())
    ACTS[intent](Session(state))
    plan = decide(state, phase)
    assert (plan.write, plan.ends, plan.header) == (None, (), None)  # contract 163


# contract 98
@pytest.mark.parametrize(
    ("found", "intent", "worth", "said"),
    [
        (Found.NOTHING, Intent.NONE, True, "changed for the first time"),
        (Found.NOTHING, Intent.TOUCH, True, "changed for the first time"),
        (Found.NOTHING, Intent.REGENERATE, True, "regenerated"),
        (Found.RECORD, Intent.REGENERATE, True, "regenerated"),
        (Found.RECORD, Intent.REGENERATE, False, "regenerated"),
        (Found.TOMBSTONE, Intent.REGENERATE, True, "regenerated"),
        (Found.UNAVAILABLE, Intent.REGENERATE, True, "regenerated"),
        (Found.NOTHING, Intent.NONE, False, None),
        (Found.NOTHING, Intent.DESTROY, True, None),
        (Found.NOTHING, Intent.INVALIDATE, False, None),
        (Found.RECORD, Intent.NONE, True, None),
        (Found.RECORD, Intent.NONE, False, None),
        (Found.RECORD, Intent.DISCARD, True, None),
        (Found.RECORD, Intent.INVALIDATE, False, None),
        (Found.TOMBSTONE, Intent.NONE, True, None),
    ],
)
def test_what_comes_too_late_is_an_error_in_the_log_once(found, intent, worth, said, caplog):
    state = bring_to(found, intent, worth=worth)
    state.sent = True
    for _ in range(2):
        decide(state, Phase.LATE)
    assert [record.levelno for record in caplog.records] == ([logging.ERROR] if said else [])
    assert (said or "") in caplog.text


@pytest.mark.parametrize(
    "options", [{"resave": True}, {"save_uninitialized": True}, {"rolling": True}, {"touch_after": 0}]
)
@pytest.mark.parametrize("found", [Found.NOTHING, Found.RECORD])
@pytest.mark.parametrize("phase", [Phase.LATE, Phase.FAILED])
def test_what_is_configured_for_responses_is_not_done_without_one(options, found, phase, caplog):
    state = make(make_settings(**options), found)
    Session(state).get("n")
    plan = decide(state, phase)
    assert (plan.write, plan.ends, plan.header) == (None, (), None)
    assert not caplog.records


@pytest.mark.parametrize(
    "options", [{}, {"cookie": Cookie(secure=True)}, {"generate_id": lambda request: None}], ids=["", "secure", "no id"]
)
@pytest.mark.parametrize("found", [Found.NOTHING, Found.RECORD])
@pytest.mark.parametrize("value", [1, object()])
def test_what_a_handler_that_raised_had_changed_is_passed_over_without_a_word(options, found, value, caplog):
    settings = make_settings(**options)
    state = make(settings, found, **({"data": record_bytes(make_settings())} if found is Found.RECORD else {}))
    Session(state)["m"] = value
    assert not decide(state, Phase.FAILED).needs_store
    assert not caplog.records


def test_where_a_handler_raised_a_value_that_cannot_be_stored_keeps_nothing_from_ending():
    state = stored_state(make_settings())
    session = Session(state)
    session.invalidate()
    session["m"] = object()
    assert decide(state, Phase.FAILED).ends == (state.settings.key_of(ID),)


# contract 101
@pytest.mark.parametrize("found", [Found.NOTHING, Found.RECORD])
@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"rolling": True}, {"resave": True}, {"touch_after": 0}, {"save_uninitialized": True}]
)
def test_a_response_varies_if_the_application_looked_at_the_session(found, looked, options):
    state = make(make_settings(**options), found)
    if looked:
        Session(state).get("n")
    assert decide(state).vary is looked


@pytest.mark.parametrize("found", list(Found))
@pytest.mark.parametrize("intent", [Intent.DESTROY, Intent.INVALIDATE])
def test_a_response_that_ended_a_session_varies(found, intent):
    assert decide(bring_to(found, intent, worth=False)).vary


# -- what counts as a change ------------------------------------------------------------------------------------------------


def set_lifetime(session: Session) -> None:
    session.cookie.max_age = 60


CHANGES: list[tuple[Callable[[Session], object], bool]] = [
    (lambda s: s.__setitem__("n", 2), True),
    (lambda s: s.__setitem__("n", 1), False),  # contract 67
    (lambda s: s.__setitem__("n", 1.0), True),
    (lambda s: s.__setitem__("n", True), True),
    (lambda s: s.__setitem__("l", (1, 2)), True),
    (lambda s: s.__setitem__("when", "2026-11-21"), True),  # the text of a date is no date
    (lambda s: s["l"].append(3), True),  # contract 66
    (lambda s: s["o"].update(cookie=2), True),  # contract 65
    (lambda s: s["o"].update(cookie=1), False),
    (lambda s: s.__setitem__("n", s.pop("n")), True),  # contract 68
    (lambda s: (s.update(x=1), s.pop("x")), False),
    (lambda s: s.increment("n", 0), False),
    (lambda s: s.increment("n"), True),
    (set_lifetime, True),  # contract 70
    (lambda s: s.cookie, False),
    (lambda s: [s.pop(key) for key in list(s)], True),
]


@pytest.mark.parametrize(("change", "counts"), CHANGES)
def test_what_counts_as_a_change_is_what_would_be_stored(change, counts):
    state = stored_state(
        make_settings(), {"n": 1, "l": [1, 2], "o": {"cookie": 1}, "when": datetime(2026, 11, 21, tzinfo=UTC).date()}
    )
    change(Session(state))
    plan = decide(state)
    assert (plan.changed, written(plan)) == ((True, "Replace") if counts else (False, "-"))


# contract 71
@pytest.mark.parametrize("phase", [Phase.RESPONSE, Phase.LATE])
def test_a_value_that_cannot_be_stored_is_refused_with_its_path(phase):
    session = stored(make_settings())
    session["cart"] = [{"price": object()}]
    with pytest.raises(SessionEncodeError) as caught:
        plan_of(session, phase)
    assert caught.value.path == "cart[0].price"


# contract 50
@pytest.mark.parametrize(
    ("looked", "changed", "write"), [(False, False, "-"), (True, False, "-"), (True, True, "Create")]
)
def test_an_unreadable_record_is_never_written_over(looked, changed, write, caplog):
    state = stored_state(make_settings(), b"not a record", expires_in=1)
    session = Session(state)
    if looked:
        session.get("n")
    if changed:
        session["n"] = 1
    plan = decide(state)
    assert written(plan) == write and plan.ends == ()
    assert not isinstance(plan.write, Create) or plan.write.key != state.settings.key_of(ID)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("end", [lambda s: s.destroy(), lambda s: s.clear()])
def test_an_unreadable_record_is_ended_as_any_other(looked, end):
    state = stored_state(make_settings(), b"not a record")
    session = Session(state)
    if looked:
        session.get("n")
    end(session)
    plan = decide(state)
    assert plan.ends == (state.settings.key_of(ID),) and sent(plan) == "expire"


# -- what is written --------------------------------------------------------------------------------------------------------


def test_a_write_carries_key_data_lifetime_version_and_owner():
    settings = make_settings()
    key = settings.key_of(ID)
    state = stored_state(settings, before=lambda s: s.login("ann", keep_data=True))
    assert state.loaded is not None
    version = state.loaded.stored.version
    Session(state)["m"] = 2
    plan = decide(state)
    assert isinstance(plan.write, Replace)
    assert (plan.write.key, plan.write.ttl, plan.write.owner) == (key, DAY, "ann")
    assert plan.write.version is version
    record = unpack(plan.write.data)
    assert record == plan.record and data_of(plan.write.data) == {"n": 1, "m": 2}
    assert (record.created, record.owner, record.login.at) == (NOW, "ann", NOW)

    session = stored(settings)
    session.login("bob", keep_data=True)
    plan = plan_of(session)
    assert isinstance(plan.write, Regenerate)
    assert (plan.write.old, plan.write.new) == (key, settings.key_of(session.id))
    assert (plan.write.tombstone, plan.write.owner) == (30_000, "bob")
    assert data_of(plan.write.data) == {"n": 1}

    session = stored(settings)
    session.touch()
    assert plan_of(session).write == Touch(key, DAY)


# design, "Express profile"
def test_express_leaves_no_tombstone_and_hashes_no_id():
    session = stored(make_settings(express_profile=True))
    session.regenerate(keep_data=True)
    write = plan_of(session).write
    assert isinstance(write, Regenerate)
    assert (write.old, write.new, write.tombstone) == (ID, session.id, 0)


def test_no_two_writes_are_alike():
    settings = make_settings()
    assert record_bytes(settings) != record_bytes(settings)


def test_a_session_past_its_end_is_written_for_a_last_millisecond():
    settings = make_settings(absolute_timeout=3600, idle_timeout=60)
    session = stored(settings)
    clock_of(settings).advance(2 * HOUR)
    session["m"] = 1
    write = plan_of(session).write
    assert isinstance(write, Replace) and write.ttl == 1


def test_a_sessions_own_attributes_are_kept_with_it_and_no_others():
    settings = make_settings(cookie=Cookie(path="/app"))
    session = new(settings)
    session["n"] = 1
    session.cookie.samesite = "strict"
    session.cookie.max_age = 60
    plan = plan_of(session)
    assert plan.record is not None
    assert plan.record.overrides == {"sameSite": "strict", "originalMaxAge": 60_000}
    assert isinstance(plan.write, Create) and plan.write.ttl == 60_000
    other = make_settings(cookie=Cookie(path="/other", httponly=False))  # contract 139
    again = stored(other, plan.write.data)
    assert again.cookie.path == "/other" and again.cookie.httponly is False
    assert again.cookie.samesite == "strict" and again.cookie.original_max_age == 60


# -- resave and save_uninitialized ------------------------------------------------------------------------------------------


# contract 73, 74, 76, 77, 79
@pytest.mark.parametrize("resave", [False, True])
@pytest.mark.parametrize("save_uninitialized", [False, True])
@pytest.mark.parametrize("looked", [False, True])
def test_unchanged_sessions_are_saved_only_as_configured(resave, save_uninitialized, looked):
    settings = make_settings(resave=resave, save_uninitialized=save_uninitialized)
    fresh, old = new(settings), stored(settings)
    if looked:
        fresh.get("n"), old.get("n")
    assert written(plan_of(fresh)) == ("Create" if save_uninitialized else "-")
    assert written(plan_of(old)) == ("Replace" if resave else "-")
    assert not plan_of(fresh).changed and not plan_of(old).changed


def test_what_is_saved_again_unread_is_what_was_stored():
    session = stored(make_settings(resave=True), {"n": 1}, before=lambda s: s.login("ann", keep_data=True))
    write = plan_of(session).write
    assert isinstance(write, Replace) and write.owner == "ann"
    assert data_of(write.data) == {"n": 1}


@pytest.mark.parametrize(
    ("options", "act", "decodes"),
    [
        ({}, lambda s: None, False),
        ({"touch_after": 60}, lambda s: None, False),
        ({}, lambda s: s.destroy(), True),  # its cookie may be one of its own, which is expired where it is
        ({}, lambda s: s.clear(), True),
        ({}, lambda s: s.get("n"), True),
        ({"rolling": True}, lambda s: None, True),
        ({"resave": True}, lambda s: None, True),
    ],
)
def test_a_session_that_nobody_looks_at_is_decoded_only_where_its_attributes_matter(options, act, decodes, monkeypatch):
    decoded = []

    def unseal(_codec: object, data: bytes, key: str) -> bytes:
        decoded.append(key)
        return data

    settings = make_settings(**options)
    monkeypatch.setattr(type(settings.codec), "unseal", unseal)
    settings.seals = True
    session = stored(settings)
    act(session)
    plan_of(session)
    assert decoded == [settings.key_of(ID)] * decodes


def regenerate_briefly(session: Session) -> None:
    session.regenerate()
    set_lifetime(session)


# contract 145
@pytest.mark.parametrize(
    ("act", "options", "write"),
    [
        (lambda s: s.regenerate(), {}, "-"),
        (lambda s: s.regenerate(), {"save_uninitialized": True}, "Regenerate"),
        (lambda s: s.regenerate(keep_data=True), {}, "Regenerate"),
        (lambda s: s.login("ann"), {}, "Regenerate"),
        (lambda s: (s.regenerate(), s.regenerate()), {}, "-"),
        (regenerate_briefly, {}, "Regenerate"),
        (lambda s: (s.regenerate(keep_data=True), s.pop("n")), {}, "Regenerate"),
        (lambda s: s.clear(), {"save_uninitialized": True}, "Regenerate"),
        (in_turn(clear, set_lifetime), {}, "Regenerate"),
    ],
)
def test_a_regenerated_session_is_saved_if_it_is_worth_it_and_else_only_ends(act, options, write):
    state = stored_state(make_settings(**options))
    act(Session(state))
    plan = decide(state)
    assert written(plan) == write
    assert plan.ends == (() if write == "Regenerate" else (state.settings.key_of(ID),))


# -- the short way ------------------------------------------------------------------------------------------------------------

STEPS: list[Callable[[Session], object]] = [
    lambda s: s.get("n"),
    lambda s: s.__setitem__("n", 2),
    lambda s: s.__setitem__("n", 1),
    lambda s: s.setdefault("l", []).append(1),
    lambda s: s.touch(),
    lambda s: s.cookie,
    set_lifetime,
    lambda s: s.id,
    lambda s: s.expires_at,
    lambda s: s.owner,
    lambda s: s.increment("n", 0),
    lambda s: s.flashes(),
]


@given(
    st.sampled_from([Found.NOTHING, Found.RECORD, Found.TOMBSTONE, Found.UNAVAILABLE]),
    st.lists(st.sampled_from(STEPS), max_size=3),
    st.fixed_dictionaries(
        {
            "rolling": st.booleans(),
            "resave": st.booleans(),
            "save_uninitialized": st.booleans(),
            "touch_after": st.sampled_from([None, 0, 60]),
            "cookie": st.sampled_from([Cookie(), Cookie(max_age=3600), lambda request: Cookie(max_age=60)]),
            "absolute_timeout": st.sampled_from([None, 3600 * 24]),
        }
    ),
    st.sampled_from([None, 1, HOUR // 2, HOUR - 1, HOUR, DAY - 1, DAY]),
    st.sampled_from([0, 1, HOUR, DAY]),
    st.booleans(),
)
def test_the_short_way_decides_as_the_long_way(found, steps, options, left, age, needs_resigning):
    settings = make_settings(**options)
    raw = record_bytes(settings)
    clock_of(settings).advance(age)
    plans = []
    for is_idle in (policy._is_idle, lambda state, body: False):
        if found is Found.RECORD:
            state = stored_state(settings, raw, expires_in=left, needs_resigning=needs_resigning)
        else:
            state = begin(settings, found)
        for step in steps:
            step(Session(state))
        with mock.patch.object(policy, "_is_idle", is_idle):
            plans.append(decide(state))
    short, long = plans
    assert [written(short), short.ends, sent(short), short.vary, short.changed] == [
        written(long),
        long.ends,
        sent(long),
        long.vary,
        long.changed,
    ]
    assert getattr(short.write, "ttl", None) == getattr(long.write, "ttl", None)


def test_durations_of_a_timedelta_reach_the_store_in_milliseconds():
    session = new(make_settings(idle_timeout=timedelta(days=14)))
    session["n"] = 1
    write = plan_of(session).write
    assert isinstance(write, Create) and write.ttl == 14 * DAY
