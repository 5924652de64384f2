"""The commit, with everything that a store can return."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from sojourn.clock import from_ms
from sojourn.codecs import EncryptedCodec, PlainCodec
from sojourn.core import commit as task
from sojourn.core.commit import LOCK_MS, Load, Pause, acquire, commit
from sojourn.core.plan import Create, Phase, Plan, Regenerate, Replace, Touch
from sojourn.core.policy import decide
from sojourn.core.record import pack, unpack
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.state import Found, Intent
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Stored
from sojourn.errors import SessionConflict, SessionEncodeError, StoreUnavailable
from tests.core.interleaving import data_of
from tests.core.making import DAY, ID, NOW, begin, clock_of, make_settings, record_bytes, stored_state
from tests.core.playing import TOMBSTONE, ask, changed, kinds, lying, play, theirs, watch

# -- a commit that goes through -----------------------------------------------------------------------------------------------


def test_a_plan_without_a_write_asks_nothing_of_the_store():
    settings = make_settings()
    state = stored_state(settings)
    plan = decide(state)
    assert play(commit(state, plan)) == (plan, [])


@pytest.mark.parametrize(
    ("make", "act", "returned"),
    [
        (begin, lambda s: s.update(m=1), b"v2"),
        (stored_state, lambda s: s.update(m=1), b"v2"),
        (stored_state, lambda s: s.touch(), True),
        (stored_state, lambda s: s.login("ann"), b"v2"),
        (stored_state, lambda s: (s.clear(), s.update(m=1)), b"v2"),
    ],
)
def test_a_write_that_succeeded_is_noted_in_the_state(make, act, returned):
    state = make(make_settings())
    session = Session(state)
    act(session)
    plan, ops = ask(state, returned)
    assert ops == [plan.write]
    assert (state.found, state.intent) == (Found.RECORD, Intent.NONE)
    assert state.loaded is not None and state.loaded.key == session.key
    assert lying(state).version == (b"v2" if returned == b"v2" else lying(state).data)
    assert lying(state).expires_in == DAY
    assert decide(state, Phase.LATE).write is None  # what is saved is saved


def test_where_the_store_cannot_tell_a_write_is_remembered():
    settings = make_settings()
    state = stored_state(settings, expires_in=None)
    _, ops = ask(state, True)
    assert kinds(ops) == ["Touch"]
    assert decide(stored_state(settings, record_bytes(settings), expires_in=None)).write is None
    clock_of(settings).advance(DAY)
    new = begin(settings)
    Session(new)["n"] = 1
    ask(new, b"v")
    assert settings.expiries is not None
    assert settings.expiries.remaining(Session(new).key, NOW + DAY) == DAY


# contract 63
@pytest.mark.parametrize(
    ("make", "act"),
    [
        (begin, lambda s: s.update(n=1)),
        (begin, lambda s: s.login("a")),
        (stored_state, lambda s: s.login("a")),
        (stored_state, lambda s: (s.clear(), s.update(n=1))),
    ],
)
def test_where_an_id_is_taken_another_is_generated(make, act):
    settings = make_settings()
    state = make(settings)
    session = Session(state)
    act(session)
    first = session.id
    plan = decide(state)
    done, ops = play(commit(state, plan), EXISTS, b"v")
    assert len(ops) == 2 and session.id != first
    assert done.header is not None and session.id in done.header[1] and first not in done.header[1]
    new = ops[1].new if isinstance(ops[1], Regenerate) else ops[1].key
    assert new == session.key == settings.key_of(session.id)


def test_a_generator_of_always_the_same_id_is_given_up():
    settings = make_settings(generate_id=lambda request: "same")
    state = begin(settings)
    session = Session(state)
    session["n"] = 1
    with pytest.raises(SessionConflict):
        play(commit(state, decide(state)), *[EXISTS] * task._ATTEMPTS)


def test_where_no_other_id_is_generated_nothing_is_stored(caplog):
    generated = iter(["taken"])
    state = begin(make_settings(generate_id=lambda request: next(generated, None)))
    Session(state)["n"] = 1
    plan, ops = ask(state, EXISTS)
    assert kinds(ops) == ["Create"]
    assert (plan.write, plan.header) == (None, None)
    assert "generate_id" in caplog.text


# -- what this version does not know ----------------------------------------------------------------------------------------------

UNKNOWN: Final = {"device": "phone", "limits": {"sum": 1, "of": [2]}}


def newer(settings: SessionSettings, data: dict[str, Any], **unknown: Any) -> bytes:
    """A record of a newer version, with members that this one does not know."""
    record, _ = unpack(record_bytes(settings, data))
    record.extra = unknown
    return pack(record)


@pytest.mark.parametrize(
    ("act", "carried"),
    [
        (lambda s: s.update(m=1), UNKNOWN),
        (lambda s: setattr(s.cookie, "max_age", 60), UNKNOWN),
        (lambda s: s.regenerate(keep_data=True), UNKNOWN),
        (lambda s: s.login("ann", keep_data=True), UNKNOWN),
        (lambda s: s.login("ann"), {}),
        (lambda s: (s.clear(), s.update(m=1)), {}),
    ],
)
def test_members_that_this_version_does_not_know_are_carried_over_with_the_data(act, carried):
    settings = make_settings()
    state = stored_state(settings, newer(settings, {"n": 1}, **UNKNOWN))
    act(Session(state))
    plan, _ = ask(state, b"v")
    assert isinstance(plan.write, Replace | Regenerate)
    assert unpack(plan.write.data)[0].extra == carried


def test_reading_a_record_with_members_that_this_version_does_not_know_is_no_change():
    settings = make_settings()
    state = stored_state(settings, newer(settings, {"n": 1}, **UNKNOWN))
    assert Session(state)["n"] == 1
    assert decide(state) == Plan(vary=True)


def test_after_a_conflict_the_unknown_members_are_the_others():
    settings = make_settings()
    state = stored_state(settings, newer(settings, {"n": 1}, old=1))
    Session(state)["m"] = 1
    other = newer(settings, {"n": 2}, new=2)
    plan, _ = ask(state, CONFLICT, Stored(other, other, DAY), b"v")
    assert plan.record is not None and plan.record.extra == {"new": 2}


# -- conflicts ----------------------------------------------------------------------------------------------------------------


def test_after_a_conflict_both_changes_are_written():
    settings = make_settings()
    state = changed(settings, m=1)
    session = Session(state)
    other = theirs(settings, {"n": 1, "o": 2})
    plan, ops = ask(state, CONFLICT, other, b"v3")
    assert kinds(ops) == ["Replace", "Load", "Pause", "Replace"]
    assert isinstance(plan.write, Replace)
    assert data_of(plan.write.data) == {"n": 1, "o": 2, "m": 1}
    assert plan.write.version is other.version
    assert dict(session) == {"n": 1, "o": 2, "m": 1}


def test_a_sum_that_the_codec_cannot_hold_is_refused_and_not_written():
    settings = make_settings(codec=PlainCodec(max_int=100))
    state = stored_state(settings, {"n": 60})
    session = Session(state)
    session.increment("n", 30)
    with pytest.raises(SessionEncodeError, match="n"):
        ask(state, CONFLICT, theirs(settings, {"n": 95}))


def test_the_pauses_between_attempts_are_short_and_grow(monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    settings = make_settings()
    state = changed(settings)
    ops: list[Any] = []
    found = [one for number in range(task._ATTEMPTS) for one in (CONFLICT, theirs(settings, {"n": number}))]
    with pytest.raises(SessionConflict):
        play(watch(commit(state, decide(state)), ops), *found)
    pauses = [op.seconds for op in ops if isinstance(op, Pause)]
    assert pauses[:4] == [0.001, 0.002, 0.004, 0.008]
    assert max(pauses) == task._LONGEST_PAUSE <= 1


def test_what_keeps_changing_is_given_up_upon_and_said_so():
    settings = make_settings()
    state = changed(settings)
    seen: list[Any] = []

    def other(op: Any) -> Stored:
        seen.append(op)
        return theirs(settings, {"n": len(seen)})

    with pytest.raises(SessionConflict, match=f"{task._ATTEMPTS} attempts"):
        play(commit(state, decide(state)), *[CONFLICT, other] * task._ATTEMPTS)
    assert len(seen) == task._ATTEMPTS


@pytest.mark.parametrize("found", [None, TOMBSTONE])
@pytest.mark.parametrize("rolling", [False, True])
def test_a_conflict_with_a_session_that_has_ended_since_saves_nothing(found, rolling, caplog):
    settings = make_settings(rolling=rolling)
    state = changed(settings)
    plan, ops = ask(state, CONFLICT, found)
    assert kinds(ops) == ["Replace", "Load"]
    assert (plan.write, plan.header) == (None, None)
    assert "ended while a request was changing it" in caplog.text
    assert ID not in caplog.text
    assert decide(state, Phase.LATE).write is None


@pytest.mark.parametrize(
    ("act", "options", "returned", "said"),
    [
        (lambda s: s.update(m=1), {}, MISSING, True),
        (lambda s: s.touch(), {}, False, False),
        (lambda s: s.get("n"), {"resave": True}, MISSING, False),
    ],
)
def test_a_session_that_ended_elsewhere_is_not_written_and_no_cookie_is_sent(act, options, returned, said, caplog):
    settings = make_settings(rolling=True, **options)
    state = stored_state(settings)
    session = Session(state)
    act(session)
    plan, ops = ask(state, returned)
    assert len(ops) == 1
    assert (plan.write, plan.header, plan.vary) == (None, None, True)
    assert bool(caplog.records) is said


def test_an_unreadable_record_in_the_way_is_not_written_over(caplog):
    settings = make_settings()
    state = changed(settings)
    plan, ops = ask(state, CONFLICT, Stored(b"not a record", b"v", DAY))
    assert kinds(ops) == ["Replace", "Load"]
    assert plan.write is None


def test_a_conflict_of_a_resave_becomes_a_touch():
    settings = make_settings(resave=True, rolling=True)
    state = stored_state(settings)
    plan, ops = ask(state, CONFLICT, theirs(settings, {"n": 2}), True)
    assert kinds(ops) == ["Replace", "Load", "Pause", "Touch"]
    assert plan.write == Touch(settings.key_of(ID), DAY)
    assert plan.header is not None
    assert not plan.changed


def test_a_resave_that_finds_the_session_gone_becomes_nothing():
    settings = make_settings(resave=True)
    state = stored_state(settings)
    assert ask(state, CONFLICT, None)[0].write is None


def test_a_conflicting_regenerate_takes_the_others_changes_along():
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    session.login("ann", keep_data=True)
    plan, ops = ask(state, CONFLICT, theirs(settings, {"n": 2}), b"v")
    assert kinds(ops) == ["Regenerate", "Load", "Pause", "Regenerate"]
    assert isinstance(plan.write, Regenerate)
    assert ops[1] == Load(settings.key_of(ID))
    assert data_of(plan.write.data) == {"n": 2} and plan.write.owner == "ann"


def test_a_conflicting_regenerate_without_data_takes_nothing_along():
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    session.regenerate()
    session["m"] = 1
    plan, _ = ask(state, CONFLICT, theirs(settings, {"n": 2}), b"v")
    assert isinstance(plan.write, Regenerate)
    assert data_of(plan.write.data) == {"m": 1}


@pytest.mark.parametrize("keep_data", [False, True])
@pytest.mark.parametrize("returned", [(MISSING,), (CONFLICT, None), (CONFLICT, TOMBSTONE)])
def test_a_session_that_had_ended_when_it_was_regenerated_gives_no_data_to_the_new_one(keep_data, returned, caplog):
    caplog.set_level("INFO", logger="sojourn")
    settings = make_settings()
    state = stored_state(settings, {"n": 1, "cart": {"a": 1}}, before=lambda s: s.login("bob", keep_data=True))
    session = Session(state)
    assert session.created_at == from_ms(NOW)
    session["cart"]["b"] = 2
    clock_of(settings).advance(1)
    session.login("ann", keep_data=keep_data)
    session["m"] = 1
    plan, _ = ask(state, *returned, b"v")
    assert isinstance(plan.write, Create)
    assert data_of(plan.write.data) == ({"cart": {"b": 2}, "m": 1} if keep_data else {"m": 1})
    assert plan.write.owner == "ann"
    assert plan.write.key == session.key
    assert plan.header is not None
    assert session.created_at == from_ms(NOW + 1)
    assert "had ended when it was regenerated" in caplog.text and session.id not in caplog.text


def test_an_owner_of_an_ended_session_is_not_carried_over_either():
    settings = make_settings()
    state = stored_state(settings, before=lambda s: s.login("bob", keep_data=True))
    session = Session(state)
    session.regenerate(keep_data=True)
    session["m"] = 1
    plan, _ = ask(state, MISSING, b"v")
    assert isinstance(plan.write, Create)
    assert (plan.write.owner, data_of(plan.write.data)) == (None, {"m": 1})
    assert session.authenticated_at is None


@pytest.mark.parametrize("looked", [False, True])
def test_the_others_owner_and_cookie_stand_unless_this_request_changed_them(looked):
    def other(session: Session) -> None:
        session.login("ann", keep_data=True)
        session.cookie.max_age = 60

    settings = make_settings()
    state = changed(settings)
    session = Session(state)
    if looked:
        assert session.cookie.max_age is None
    plan, _ = ask(state, CONFLICT, theirs(settings, {"n": 1}, before=other), b"v")
    assert plan.record is not None
    assert (plan.record.owner, plan.record.overrides) == ("ann", {"originalMaxAge": 60_000})

    state = changed(settings)
    session = Session(state)
    session.cookie.max_age = 30
    plan, _ = ask(state, CONFLICT, theirs(settings, {"n": 1}, before=other), b"v")
    assert plan.record is not None
    assert plan.record.overrides == {"originalMaxAge": 30_000}


def test_a_merge_keeps_the_types_that_json_lacks():
    when = datetime(2026, 11, 21, tzinfo=UTC)
    settings = make_settings()
    state = changed(settings, when=when)
    session = Session(state)
    plan, _ = ask(state, CONFLICT, theirs(settings, {"n": 1, "since": when}), b"v")
    assert dict(session) == {"n": 1, "since": when, "when": when}
    assert plan.write is not None


def test_an_encrypted_session_is_merged_too():
    settings = make_settings(codec=EncryptedCodec([b"k" * 32]))
    state = changed(settings)
    session = Session(state)
    plan, _ = ask(state, CONFLICT, theirs(settings, {"n": 1, "o": 2}), b"v")
    assert isinstance(plan.write, Replace)
    assert b"o" not in plan.write.data or not plan.write.data.startswith(b"{")
    assert dict(session) == {"n": 1, "o": 2, "m": 1}


def test_an_exclusive_request_that_lost_its_lock_is_refused():
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    state.lock = session.key, "token"
    session["n"] = 2
    with pytest.raises(SessionConflict):
        ask(state, CONFLICT, theirs(settings, {"n": 3}))


def test_a_late_change_that_conflicts_is_merged_as_any_other():
    settings = make_settings()
    state = changed(settings)
    session = Session(state)
    state.sent = True
    plan, _ = ask(state, CONFLICT, theirs(settings, {"n": 1, "o": 2}), b"v", phase=Phase.LATE)
    assert plan.header is None
    assert dict(session) == {"n": 1, "o": 2, "m": 1}


def test_an_unreadable_record_in_the_way_of_a_login_ends_all_the_same():
    state = stored_state(make_settings())
    session = Session(state)
    session.login("ann")
    broken = Stored(b"not a record", b"v2", DAY)
    plan, ops = ask(state, CONFLICT, broken, b"v3")
    assert kinds(ops) == ["Regenerate", "Load", "Pause", "Regenerate"]
    assert isinstance(plan.write, Regenerate) and plan.write.version == b"v2"


def test_the_same_change_that_another_made_meanwhile_is_not_written_again():
    settings = make_settings()
    state = changed(settings, n=2)
    plan, ops = ask(state, CONFLICT, theirs(settings, {"n": 2}))
    assert kinds(ops) == ["Replace", "Load", "Pause"]
    assert plan.write is None


# -- the lock -----------------------------------------------------------------------------------------------------------------


def test_a_lock_is_waited_for():
    token, ops = play(acquire("key"), None, None, "token")
    assert token == "token"
    assert kinds(ops) == ["Lock", "Pause", "Lock", "Pause", "Lock"]
    assert all(0 < op.seconds <= 0.02 for op in ops if isinstance(op, Pause))


def test_a_lock_that_others_keep_longer_than_they_may_is_given_up():
    ops: list[Any] = []
    with pytest.raises(StoreUnavailable):
        play(watch(acquire("key"), ops), *[None] * 10_000)
    assert LOCK_MS / 1000 < sum(op.seconds for op in ops if isinstance(op, Pause)) < LOCK_MS / 1000 + 1
