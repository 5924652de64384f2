"""The commit, with everything that a store can return."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pytest

from sojourn.chance import chance
from sojourn.clock import from_ms
from sojourn.codecs import EncryptedCodec, PlainCodec
from sojourn.core import commit as task
from sojourn.core import steps as steps_module
from sojourn.core.commit import commit, look_up_alone
from sojourn.core.plan import Create, Phase, Plan, Regenerate, Replace, Touch
from sojourn.core.policy import decide
from sojourn.core.record import pack, unpack
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.state import Found, Held, Intent, State
from sojourn.core.steps import Load, Pause, Turn, acquire, lock_turn
from sojourn.core.store import CONFLICT, EXISTS, LOCK_MS, MISSING, Stored
from sojourn.core.transitions import _change_id, note_locked
from sojourn.errors import SessionConflict, SessionEncodeError, SessionTooLarge, StoreUnavailable
from tests.core.making import DAY, ID, NOW, OTHER, begin, clock_of, data_of, make_settings, record_bytes, stored_state
from tests.core.playing import TOMBSTONE, ask, changed, granted, kinds, lying, play, theirs

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
        play(commit(state, decide(state)), *[EXISTS] * task._IDS)


def test_where_no_other_id_is_generated_nothing_is_stored(caplog):
    generated = iter(["taken"])
    state = begin(make_settings(generate_id=lambda request: next(generated, None)))
    Session(state)["n"] = 1
    plan, ops = ask(state, EXISTS)
    assert kinds(ops) == ["Create"]
    assert (plan.write, plan.header) == (None, None)
    assert "generate_id" in caplog.text


# -- what this version does not know ----------------------------------------------------------------------------------------------

UNKNOWN: Final = {"gadget": "phone", "limits": {"sum": 1, "of": [2]}}


def newer(settings: SessionSettings, data: dict[str, Any], **unknown: Any) -> bytes:
    """A record of a newer version, with members that this one does not know."""
    record = unpack(record_bytes(settings, data))
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
    assert unpack(plan.write.data).extra == carried


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
    assert kinds(ops) == ["Replace", "Pause", "Load", "Replace"]
    assert isinstance(plan.write, Replace)
    assert data_of(plan.write.data) == {"n": 1, "o": 2, "m": 1}
    assert plan.write.version is other.version
    assert dict(session) == {"n": 1, "o": 2, "m": 1}


def by_express(record: bytes, lifetime: object) -> Stored:
    """The record as Express saves it after its app changed the lifetime."""
    tree = json.loads(record)
    tree["cookie"]["originalMaxAge"] = lifetime
    raw = json.dumps(tree).encode()
    return Stored(raw, raw, DAY)


# contract 135, 139
@pytest.mark.parametrize(
    ("act", "lifetime"), [(lambda s: s.update(m=1), 600_000), (lambda s: setattr(s.cookie, "max_age", 60), 60_000)]
)
def test_a_lifetime_that_express_gave_a_session_meanwhile_is_kept_unless_this_request_gives_it_one(act, lifetime):
    settings = make_settings()
    state = stored_state(settings)
    act(Session(state))
    plan, _ = ask(state, CONFLICT, by_express(lying(state).data, 600_000), b"v")
    assert isinstance(plan.write, Replace) and plan.write.ttl == lifetime
    assert plan.record is not None and plan.record.overrides == {"originalMaxAge": lifetime}


def test_a_conflict_with_a_record_whose_lifetime_cannot_be_read_saves_nothing(caplog):
    state = changed(make_settings())
    found = by_express(lying(state).data, None)
    raw = found.data.replace(b'"originalMaxAge": null', b'"originalMaxAge": 1e400')
    plan, _ = ask(state, CONFLICT, Stored(raw, raw, DAY))
    assert plan.write is None and "the changes are not saved" in caplog.text


def test_a_sum_that_the_codec_cannot_hold_is_refused_and_not_written():
    settings = make_settings(codec=PlainCodec(max_int=100))
    state = stored_state(settings, {"n": 60})
    session = Session(state)
    session.increment("n", 30)
    with pytest.raises(SessionEncodeError, match="store it as text") as caught:
        ask(state, CONFLICT, theirs(settings, {"n": 95}))
    assert caught.value.path == "n"


def test_a_number_to_which_nothing_was_added_in_the_end_stays_deleted_by_the_other():
    settings = make_settings()
    state = stored_state(settings, {"n": 60, "o": 1})
    session = Session(state)
    session.increment("n", 30)
    session.increment("n", -30)
    session["m"] = 1
    plan, _ = ask(state, CONFLICT, theirs(settings, {"o": 1}), b"v")
    assert isinstance(plan.write, Replace)
    assert data_of(plan.write.data) == dict(session) == {"o": 1, "m": 1}


class Ticking:
    """A monotonic clock that a test moves, by the pauses and by what loads take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (task, steps_module):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def conflicts(self, state: State, *, taking: float = 0.0) -> list[Any]:
        """The operations of a commit that meets another request's change whenever it looks."""
        ops: list[Any] = []
        steps = commit(state, decide(state))
        op = next(steps)
        while True:
            returned: Any = None
            if isinstance(op, Pause):
                self.now += op.seconds
            elif isinstance(op, Load):
                self.now += taking
                returned = theirs(state.settings, {"n": len(ops)})
            elif isinstance(op, Replace):
                returned = CONFLICT
            ops.append(op)
            try:
                op = steps.send(returned)
            except SessionConflict as error:
                return [*ops, error]


def test_the_pauses_between_attempts_begin_at_none_and_grow_and_are_followed_by_load_and_write_at_once(monkeypatch):
    monkeypatch.setattr(chance, "uniform", lambda low, high: high)
    _turn, *ops, _error = Ticking(monkeypatch).conflicts(changed(make_settings()))
    pauses = [op.seconds for op in ops if isinstance(op, Pause)]
    assert pauses[:5] == [0, 0.001, 0.003, 0.007, 0.015]
    assert max(pauses) == task._LONGEST_PAUSE == 0.03
    assert kinds(ops) == [*["Replace", "Pause", "Load"] * len(pauses), "Replace"]


@pytest.mark.parametrize(("taking", "attempts"), [(6.0, 2), (2.0, 4), (0.01, 500)])
def test_what_keeps_changing_is_given_up_after_five_seconds_whatever_the_number_of_attempts(
    taking: float, attempts: int, monkeypatch
):
    monkeypatch.setattr(chance, "uniform", lambda low, high: low)
    clock = Ticking(monkeypatch)
    *ops, error = clock.conflicts(changed(make_settings()), taking=taking)
    assert "5 seconds" in str(error)
    assert kinds(ops).count("Replace") == pytest.approx(attempts, abs=2)
    assert 5 < clock.now - 1000 < 5 + 2 * taking


class Told:
    """A turn, as the test gives it."""

    def __init__(self, known: Stored | None) -> None:
        self.known = known
        self.left: list[Stored | None] = []

    def leave(self, stored: Stored | None = None) -> None:
        self.left.append(stored)


def in_turn(state: State, told: Told, *returned: Any, phase: Phase = Phase.RESPONSE) -> tuple[Turn, Plan, list[Any]]:
    """Commit when it is its turn: what was asked for, and what became of it."""
    steps = commit(state, decide(state, phase), phase)
    turn = next(steps)
    assert isinstance(turn, Turn)

    def rest() -> Generator[Any, Any, Plan]:
        op = steps.send(told)
        while True:
            try:
                value = yield op
            except Exception as error:  # noqa: BLE001 - the steps decide what to do about it
                op = steps.throw(error)
            else:
                try:
                    op = steps.send(value)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]

    plan, ops = play(rest(), *returned)
    return turn, plan, ops


def test_a_change_waits_for_its_turn_and_goes_on_from_what_the_one_before_stored_without_a_load():
    settings = make_settings()
    state = changed(settings)
    told = Told(theirs(settings, {"n": 1, "o": 2}))
    turn, plan, ops = in_turn(state, told, b"v3")
    assert turn.key == settings.key_of(ID) and turn.waits
    assert kinds(ops) == ["Replace"]
    assert isinstance(plan.write, Replace)
    assert data_of(plan.write.data) == {"n": 1, "o": 2, "m": 1}
    assert told.known is not None and plan.write.version is told.known.version
    assert told.left == [Stored(plan.write.data, b"v3", DAY)]


def test_where_the_one_before_stored_what_was_loaded_there_is_nothing_to_merge():
    state = changed(make_settings())
    loaded = lying(state)
    planned = decide(state).write
    _, plan, ops = in_turn(state, Told(Stored(b"not a record", loaded.version, DAY)), b"v3")
    assert isinstance(plan.write, Replace) and isinstance(planned, Replace) and ops == [plan.write]
    assert plan.write.version is loaded.version and data_of(plan.write.data) == data_of(planned.data)


@pytest.mark.parametrize("known", [None, Stored(b"not a record", b"v9", DAY)])
def test_what_the_one_before_has_not_told_or_cannot_be_read_is_found_by_compare_and_set(known: Stored | None):
    settings = make_settings()
    state = changed(settings)
    _, plan, ops = in_turn(state, Told(known), CONFLICT, theirs(settings, {"n": 2}), b"v3")
    assert kinds(ops) == ["Replace", "Pause", "Load", "Replace"]
    assert isinstance(plan.write, Replace) and data_of(plan.write.data) == {"n": 2, "m": 1}


@pytest.mark.parametrize(
    "act",
    [
        lambda state: Session(state).login("ann"),
        lambda state: Session(state).clear(),
        lambda state: note_locked(state, "key", "token"),
    ],
)
def test_who_ends_a_session_or_has_it_alone_waits_for_nobody_and_takes_nothing_over(act: Any):
    settings = make_settings()
    state = changed(settings)
    act(state)
    Session(state)["m"] = 1
    told = Told(theirs(settings, {"n": 7}))
    turn, plan, _ = in_turn(state, told, b"v3")
    assert turn.key == settings.key_of(ID) and not turn.waits
    assert plan.record is not None and b"7" not in plan.record.data.values()
    assert len(told.left) == 1


@pytest.mark.parametrize(
    ("make", "act"),
    [(begin, lambda s: s.update(n=1)), (stored_state, lambda s: s.touch()), (stored_state, lambda s: s.logout())],
)
def test_what_meets_nobody_takes_no_turn(make: Any, act: Any):
    state = make(make_settings())
    act(Session(state))
    assert not isinstance(next(commit(state, decide(state))), Turn)


@pytest.mark.parametrize("error", [StoreUnavailable("down"), SessionTooLarge(2, 1), ValueError()])
def test_whose_commit_fails_leaves_and_tells_nothing(error: Exception):
    state = changed(make_settings())
    told = Told(None)
    with pytest.raises(type(error)):
        in_turn(state, told, error)
    assert told.left == [None]


def test_what_was_asked_for_while_waiting_is_not_overtaken_by_a_merge():
    settings = make_settings()
    state = changed(settings)
    steps = commit(state, decide(state))
    next(steps)
    Session(state).login("ann", keep_data=True)
    assert isinstance(steps.send(Told(theirs(settings, {"n": 5}))), Replace)
    assert isinstance(steps.send(CONFLICT), Regenerate)
    with pytest.raises(StopIteration):
        steps.send(b"v")


@pytest.mark.parametrize("found", [None, TOMBSTONE])
@pytest.mark.parametrize("rolling", [False, True])
def test_a_conflict_with_a_session_that_has_ended_since_saves_nothing(found, rolling, caplog):
    settings = make_settings(rolling=rolling)
    state = changed(settings)
    plan, ops = ask(state, CONFLICT, found)
    assert kinds(ops) == ["Replace", "Pause", "Load"]
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
    assert kinds(ops) == ["Replace", "Pause", "Load"]
    assert plan.write is None


def test_a_conflict_of_a_resave_becomes_a_touch():
    settings = make_settings(resave=True, rolling=True)
    state = stored_state(settings)
    plan, ops = ask(state, CONFLICT, theirs(settings, {"n": 2}), True)
    assert kinds(ops) == ["Replace", "Pause", "Load", "Touch"]
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
    assert kinds(ops) == ["Regenerate", "Pause", "Load", "Regenerate"]
    assert isinstance(plan.write, Regenerate)
    assert ops[2] == Load(settings.key_of(ID))
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
    state = stored_state(settings, {"n": 1, "cart": {"a": 1}}, before=lambda s: s.login("ann", keep_data=True))
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
    state = stored_state(settings, before=lambda s: s.login("ann", keep_data=True))
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


def exclusively(settings: SessionSettings, **data: Any) -> State:
    """A session that an exclusive request has for itself, and changed."""
    state = changed(settings, **data)
    note_locked(state, settings.key_of(ID), "token")
    return state


def test_an_exclusive_request_that_still_has_its_lock_is_merged_and_refused_only_where_both_changed_the_same():
    settings = make_settings()
    plan, ops = ask(exclusively(settings), CONFLICT, True, granted("other"), theirs(settings, {"n": 3}), b"v")
    assert kinds(ops) == ["Replace", "Unlock", "Lock", "Pause", "Load", "Replace"]
    assert isinstance(plan.write, Replace) and data_of(plan.write.data) == {"n": 3, "m": 1}
    with pytest.raises(SessionConflict, match="changed the same value"):
        ask(exclusively(settings, n=2), CONFLICT, True, granted("other"), theirs(settings, {"n": 3}))


def test_an_exclusive_request_that_lost_its_lock_is_refused_whatever_the_other_stored():
    settings = make_settings()
    state = exclusively(settings, n=2)
    with pytest.raises(SessionConflict, match="not alone"):
        ask(state, CONFLICT, False, granted("other"))
    assert state.lock == Held(settings.key_of(ID), "other", NOW + LOCK_MS, unbroken=False)


def test_an_exclusive_request_whose_session_another_has_by_now_is_refused():
    settings = make_settings()
    with pytest.raises(SessionConflict, match="not alone"):
        ask(exclusively(settings, n=2), CONFLICT, False, None)


def test_an_exclusive_request_that_took_longer_than_its_lock_lasts_makes_sure_before_it_writes():
    settings = make_settings()
    state = exclusively(settings, n=2)
    clock_of(settings).advance(LOCK_MS + 1)
    plan, ops = ask(state, False, granted("other"), b"v")
    assert kinds(ops) == ["Unlock", "Lock", "Replace"] and plan.write is not None, "nobody else was there"
    state = exclusively(settings, n=2)
    clock_of(settings).advance(LOCK_MS + 1)
    with pytest.raises(SessionConflict, match="not alone"):
        ask(state, False, None)


def test_an_exclusive_request_that_was_not_alone_for_a_while_is_refused_if_anybody_wrote_meanwhile():
    settings = make_settings()
    state = exclusively(settings, n=2)
    clock_of(settings).advance(LOCK_MS + 1)
    with pytest.raises(SessionConflict, match="not alone"):
        ask(state, False, granted("second"), CONFLICT, True, granted("third"))


@pytest.mark.parametrize("act", [lambda s: s.logout(), lambda s: s.touch()])
def test_what_compares_no_version_needs_no_lock_any_more(act: Any):
    settings = make_settings()
    state = stored_state(settings)
    note_locked(state, settings.key_of(ID), "token")
    act(Session(state))
    clock_of(settings).advance(LOCK_MS + 1)
    assert kinds([next(commit(state, decide(state)))])[0] in ("Delete", "Touch")


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
    assert kinds(ops) == ["Regenerate", "Pause", "Load", "Regenerate"]
    assert isinstance(plan.write, Regenerate) and plan.write.version == b"v2"


def test_the_same_change_that_another_made_meanwhile_is_not_written_again():
    settings = make_settings()
    state = changed(settings, n=2)
    plan, ops = ask(state, CONFLICT, theirs(settings, {"n": 2}))
    assert kinds(ops) == ["Replace", "Pause", "Load"]
    assert plan.write is None


# -- the lock -----------------------------------------------------------------------------------------------------------------


def test_a_lock_is_waited_for_with_pauses_that_grow():
    settings = make_settings()
    state = stored_state(settings)
    _, ops = play(acquire("key", partial(note_locked, state, "key")), *[None] * 9, granted("token"))
    assert state.lock == Held("key", "token", NOW + LOCK_MS)
    assert kinds(ops) == [*["Lock", "Pause"] * 9, "Lock"]
    pauses = [op.seconds for op in ops if isinstance(op, Pause)]
    assert 0.005 <= pauses[0] <= 0.01 and 0.025 <= pauses[-1] <= 0.05


def test_a_lock_that_others_keep_longer_than_they_may_is_given_up(monkeypatch):
    clock = Ticking(monkeypatch)
    state = stored_state(make_settings())

    def held_for_ever() -> None:
        steps = acquire("key", partial(note_locked, state, "key"))
        op = next(steps)
        while True:
            clock.now += op.seconds if isinstance(op, Pause) else 0
            op = steps.send(None)

    with pytest.raises(SessionConflict):
        held_for_ever()
    assert LOCK_MS / 1000 < clock.now - 1000 < LOCK_MS / 1000 + 1 and state.lock is None


def test_who_waits_for_a_lock_leaves_the_line_when_it_has_it_or_is_interrupted():
    for interrupted in (False, True):
        state = stored_state(make_settings())
        steps, told = acquire("key", partial(note_locked, state, "key")), Told(None)
        turn = next(steps)
        assert isinstance(turn, Turn) and turn.waits and turn.key == lock_turn("key") != "key"
        op = steps.send(told)
        assert told.left == []
        if interrupted:
            pause = steps.send(None)
            assert isinstance(pause, Pause) and pause.turn is told
            steps.close()
        else:
            with pytest.raises(StopIteration):
                steps.send(granted("token")(op))
        assert told.left == [None] and (state.lock is None) is interrupted


def searching(settings: SessionSettings, *ids: str) -> State:
    return begin(settings, Found.PENDING, ids=ids)


def test_an_exclusive_request_finds_its_session_locks_its_key_and_loads_it_again():
    settings = make_settings()
    state = searching(settings, OTHER, ID)
    before, after = theirs(settings, {"n": 1}), theirs(settings, {"n": 2})
    _, ops = play(look_up_alone(state), None, before, granted("token"), None, after)
    key, dead = settings.key_of(ID), settings.key_of(OTHER)
    assert [op.key for op in ops] == [dead, key, key, dead, key]
    assert kinds(ops) == ["Load", "Load", "Lock", "Load", "Load"]
    assert state.lock is not None and state.lock.key == key
    assert lying(state) is after and state.id == ID and Session(state)["n"] == 2


@pytest.mark.parametrize("found", [None, TOMBSTONE])
def test_where_there_is_no_session_nothing_is_locked(found: Any):
    settings = make_settings()
    state = searching(settings, ID)
    assert kinds(play(look_up_alone(state), found)[1]) == ["Load"]
    assert state.lock is None and state.found is (Found.NOTHING if found is None else Found.TOMBSTONE)


@pytest.mark.parametrize("found", [None, TOMBSTONE])
def test_a_session_that_ended_while_its_lock_was_waited_for_is_unlocked(found: Any):
    settings = make_settings()
    state = searching(settings, ID)
    _, ops = play(look_up_alone(state), theirs(settings, {"n": 1}), granted("token"), found, True)
    assert kinds(ops) == ["Load", "Lock", "Load", "Unlock"]
    assert state.lock is None and state.loaded is None and state.id is None


def test_where_another_of_its_sessions_is_found_after_the_lock_that_one_is_locked():
    settings = make_settings()
    state = searching(settings, OTHER, ID)
    first, second = theirs(settings, {"n": 1}), theirs(settings, {"n": 2})
    returned = [first, granted("one"), None, second, True, granted("two"), None, second]
    _, ops = play(look_up_alone(state), *returned)
    assert kinds(ops) == ["Load", "Lock", "Load", "Load", "Unlock", "Lock", "Load", "Load"]
    assert state.lock is not None and (state.lock.key, state.lock.token) == (settings.key_of(ID), "two")


@pytest.mark.parametrize("returned", [(MISSING,), (CONFLICT, None), (CONFLICT, TOMBSTONE)])
def test_where_an_id_was_to_change_without_being_asked_the_first_request_has_the_session(returned):
    state = stored_state(make_settings(), {"n": 1})
    session = Session(state)
    session["n"] = 2
    _change_id(state)  # as an id of another library's does
    plan, _ = ask(state, *returned)
    assert plan.write is None and plan.header is None
    assert (state.found, state.intent) == (Found.TOMBSTONE, Intent.DISCARD)
