"""The tasks of ``stores.apply`` with every answer a store can give, and the two drivers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from sojourn.codecs import EncryptedCodec, PlainCodec
from sojourn.core import commit as apply
from sojourn.core.commit import LOCK_MS, Load, Lock, Pause, Unlock, acquire, commit, reload, run, run_async, save
from sojourn.core.plan import Create, Delete, Ending, Phase, Plan, Regenerate, Replace, Touch
from sojourn.core.policy import Policy
from sojourn.core.session import Origin, Session
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Replaced, Stored
from sojourn.core.transitions import arrived
from sojourn.errors import (
    SessionConflict,
    SessionDestroyed,
    SessionEncodeError,
    SessionLate,
    SessionNotFound,
    StoreTimeout,
    StoreUnavailable,
)
from sojourn.stores import MemoryStore
from sojourn.testing import as_async
from sojourn.wire.signing import Verified
from tests.core.interleaving import data_of
from tests.core.making import DAY, ID, NOW, begin, clock_of, make_policy, record_bytes, stored

TIMEOUT: Final = StoreTimeout("no reply")


def play(steps: Any, *answers: Any) -> tuple[Any, list[Any]]:
    """Run a task against given answers, errors among them; a function makes the answer of the operation. Pauses are passed."""
    ops, left = [], list(answers)
    try:
        op = next(steps)
        while True:
            ops.append(op)
            if isinstance(op, Pause):
                op = steps.send(None)
                continue
            answer = left.pop(0)
            if callable(answer):
                answer = answer(op)
            op = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
    except StopIteration as stop:
        assert not left, f"answers that nobody asked for: {left}"
        return stop.value, ops


def kinds(ops: list[Any]) -> list[str]:
    return [type(op).__name__ for op in ops]


def changed(policy: Policy, **data: Any) -> Session:
    session = stored(policy)
    session.update(data or {"m": 1})
    return session


def ask(policy: Policy, session: Session, *answers: Any, phase: Phase = Phase.RESPONSE) -> tuple[Plan, list[Any]]:
    return play(commit(policy, session, policy.close(session, phase), phase), *answers)


def theirs(policy: Policy, data: dict[str, Any], **more: Any) -> Stored:
    raw = record_bytes(policy, data, **more)
    return Stored(raw, raw, DAY)


# -- the drivers --------------------------------------------------------------------------------------------------------------


def steps_of_everything(seen: list[Any]) -> apply.Steps[str]:
    seen.append((yield Load("k")))
    seen.append((yield Create("k", b"1", 1000, "ann")))
    seen.append((yield Create("k", b"1", 1000, None)))
    seen.append((yield Replace("k", b"2", 1000, b"1", "ann")))
    seen.append((yield Touch("k", 2000)))
    seen.append((yield Regenerate("k", "l", b"3", 1000, b"2", 100, "bob")))
    seen.append((yield Load("k")))
    seen.append((yield Pause(0.0)))
    token = yield Lock("l")
    seen.append((yield Lock("l")))
    seen.append((yield Unlock("l", token)))
    seen.append((yield Delete("l")))
    try:
        yield Create("x", b"more than ten bytes", 1000, None)
    except ValueError as error:
        seen.append(type(error).__name__)
    return "done"


EVERYTHING: Final = [
    None,
    b"1",
    EXISTS,
    b"2",
    True,
    b"3",
    Replaced("l"),
    None,
    None,
    True,
    Deleted(1, ()),
    "SessionTooLarge",
]


def test_every_operation_reaches_a_sync_store_and_its_answer_or_error_the_task():
    seen: list[Any] = []
    store = MemoryStore(max_size=10)
    assert run(steps_of_everything(seen), store) == "done"
    assert seen == EVERYTHING
    assert not list(store.scan())


@pytest.mark.anyio
async def test_every_operation_reaches_an_async_store_and_its_answer_or_error_the_task():
    seen: list[Any] = []
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    assert await run_async(steps_of_everything(seen), as_async(MemoryStore(max_size=10)), sleep) == "done"
    assert seen == EVERYTHING
    assert pauses == [0.0]


def failing() -> apply.Steps[None]:
    yield Pause(0)
    raise SessionNotFound("gone")


@pytest.mark.anyio
async def test_an_error_of_the_task_is_its_callers():
    async def sleep(seconds: float) -> None:
        pass

    with pytest.raises(SessionNotFound):
        run(failing(), MemoryStore())
    with pytest.raises(SessionNotFound):
        await run_async(failing(), MemoryStore(), sleep)


def test_a_pause_is_really_slept(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(apply, "_sleep", slept.append)

    def steps() -> apply.Steps[str]:
        yield Pause(0.25)
        return "done"

    assert run(steps(), MemoryStore()) == "done"
    assert slept == [0.25]


# -- a commit that goes through -----------------------------------------------------------------------------------------------


def test_a_plan_without_a_write_asks_nothing_of_the_store():
    policy = make_policy()
    session = stored(policy)
    plan = policy.close(session)
    assert play(commit(policy, session, plan)) == (plan, [])


@pytest.mark.parametrize(
    ("act", "answer", "origin"),
    [
        (lambda s: s.update(m=1), b"v2", Origin.STORED),
        (lambda s: s.touch(), True, Origin.STORED),
        (lambda s: s.login("ann"), b"v2", Origin.STORED),
        (lambda s: s.destroy(), True, Origin.NEW),
        (lambda s: s.destroy(), False, Origin.NEW),
    ],
)
def test_a_write_that_succeeded_is_noted_in_the_session(act, answer, origin):
    policy = make_policy()
    session = stored(policy)
    act(session)
    plan, ops = ask(policy, session, answer)
    assert ops == [plan.write]
    assert session._origin is origin
    if origin is Origin.STORED:
        assert session._stored is not None and session._stored_key == session.key
        assert session._stored.version == (b"v2" if answer == b"v2" else session._stored.data)
        assert session._stored.expires_in == DAY
        assert policy.close(session, Phase.LATE).write is None  # what is saved is saved


def test_where_the_store_cannot_tell_a_write_is_remembered():
    policy = make_policy()
    session = stored(policy, expires_in=None)
    _, ops = ask(policy, session, True)
    assert kinds(ops) == ["Touch"]
    again = stored(policy, record_bytes(policy), expires_in=None)
    assert policy.close(again).write is None
    clock_of(policy).advance(DAY)
    new = begin(policy)
    new["n"] = 1
    ask(policy, new, b"v")
    assert policy.rules.expiries is not None
    assert policy.rules.expiries.remaining(new.key, NOW + DAY) == DAY


# contract 63
@pytest.mark.parametrize(
    ("make", "act"),
    [(begin, lambda s: s.update(n=1)), (begin, lambda s: s.login("a")), (stored, lambda s: s.login("a"))],
)
def test_where_an_id_is_taken_another_is_drawn(make, act):
    policy = make_policy()
    session = make(policy)
    act(session)
    first = session.id
    plan = policy.close(session)
    done, ops = play(commit(policy, session, plan), EXISTS, b"v")
    assert len(ops) == 2 and session.id != first
    assert done.header is not None and session.id in done.header[1] and first not in done.header[1]
    new = ops[1].new if isinstance(ops[1], Regenerate) else ops[1].key
    assert new == session.key == policy.rules.key_of(session.id)


def test_a_generator_that_always_draws_the_same_id_is_given_up_upon():
    policy = make_policy(generate_id=lambda request: "same")
    session = begin(policy)
    session["n"] = 1
    with pytest.raises(SessionConflict):
        play(commit(policy, session, policy.close(session)), *[EXISTS] * apply._ATTEMPTS)


# -- conflicts ----------------------------------------------------------------------------------------------------------------


def test_after_a_conflict_both_changes_are_written():
    policy = make_policy()
    session = changed(policy, m=1)
    other = theirs(policy, {"n": 1, "o": 2})
    plan, ops = ask(policy, session, CONFLICT, other, b"v3")
    assert kinds(ops) == ["Replace", "Load", "Pause", "Replace"]
    assert isinstance(plan.write, Replace)
    assert data_of(plan.write.data) == {"n": 1, "o": 2, "m": 1}
    assert plan.write.version is other.version
    assert dict(session) == {"n": 1, "o": 2, "m": 1}


def test_a_sum_that_the_codec_cannot_hold_is_refused_and_not_written():
    policy = make_policy(codec=PlainCodec(max_int=100))
    session = stored(policy, {"n": 60})
    session.increment("n", 30)
    with pytest.raises(SessionEncodeError, match="n"):
        ask(policy, session, CONFLICT, theirs(policy, {"n": 95}))


def test_the_pauses_between_attempts_are_short_and_grow(monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    policy = make_policy()
    session = changed(policy)
    pauses: list[float] = []
    answers = [answer for number in range(apply._ATTEMPTS) for answer in (CONFLICT, theirs(policy, {"n": number}))]
    steps = _watch(commit(policy, session, policy.close(session)), pauses)
    with pytest.raises(SessionConflict):
        play(steps, *answers)
    assert pauses[:4] == [0.001, 0.002, 0.004, 0.008]
    assert max(pauses) == apply._LONGEST_PAUSE <= 1


def _watch(steps: Any, pauses: list[float]) -> Any:
    answer, op = None, next(steps)
    while True:
        if isinstance(op, Pause):
            pauses.append(op.seconds)
        answer = yield op
        try:
            op = steps.send(answer)
        except StopIteration as stop:
            return stop.value


def test_what_keeps_changing_is_given_up_upon_and_said_so():
    policy = make_policy()
    session = changed(policy)
    seen: list[Any] = []

    def other(op: Any) -> Stored:
        seen.append(op)
        return theirs(policy, {"n": len(seen)})

    with pytest.raises(SessionConflict, match=f"{apply._ATTEMPTS} attempts"):
        play(commit(policy, session, policy.close(session)), *[CONFLICT, other] * apply._ATTEMPTS)
    assert len(seen) == apply._ATTEMPTS


@pytest.mark.parametrize("found", [None, Replaced("other")])
@pytest.mark.parametrize("rolling", [False, True])
def test_a_conflict_with_a_session_that_has_ended_since_saves_nothing(found, rolling, caplog):
    policy = make_policy(rolling=rolling)
    session = changed(policy)
    plan, ops = ask(policy, session, CONFLICT, found)
    assert kinds(ops) == ["Replace", "Load"]
    assert (plan.write, plan.header) == (None, None)
    assert "ended while a request was changing it" in caplog.text
    assert ID not in caplog.text
    assert policy.close(session, Phase.LATE).write is None


@pytest.mark.parametrize(
    ("act", "options", "answer", "said"),
    [
        (lambda s: s.update(m=1), {}, MISSING, True),
        (lambda s: s.touch(), {}, False, False),
        (lambda s: s.get("n"), {"resave": True}, MISSING, False),
    ],
)
def test_a_session_that_ended_elsewhere_is_not_written_and_no_cookie_is_sent(act, options, answer, said, caplog):
    policy = make_policy(rolling=True, **options)
    session = stored(policy)
    act(session)
    plan, ops = ask(policy, session, answer)
    assert len(ops) == 1
    assert (plan.write, plan.header, plan.vary) == (None, None, True)
    assert bool(caplog.records) is said


def test_an_unreadable_record_in_the_way_is_not_written_over(caplog):
    policy = make_policy()
    session = changed(policy)
    plan, ops = ask(policy, session, CONFLICT, Stored(b"not a record", b"v", DAY))
    assert kinds(ops) == ["Replace", "Load"]
    assert plan.write is None


def test_a_conflict_of_a_resave_becomes_a_touch():
    policy = make_policy(resave=True, rolling=True)
    session = stored(policy)
    plan, ops = ask(policy, session, CONFLICT, theirs(policy, {"n": 2}), True)
    assert kinds(ops) == ["Replace", "Load", "Pause", "Touch"]
    assert plan.write == Touch(policy.rules.key_of(ID), DAY)
    assert plan.header is not None
    assert plan.ending is Ending.RESAVED


def test_a_resave_that_finds_the_session_gone_becomes_nothing():
    policy = make_policy(resave=True)
    session = stored(policy)
    assert ask(policy, session, CONFLICT, None)[0].write is None


def test_a_conflicting_regenerate_takes_the_others_changes_along():
    policy = make_policy()
    session = stored(policy)
    session.login("ann", keep_data=True)
    plan, ops = ask(policy, session, CONFLICT, theirs(policy, {"n": 2}), b"v")
    assert kinds(ops) == ["Regenerate", "Load", "Pause", "Regenerate"]
    assert isinstance(plan.write, Regenerate)
    assert ops[1] == Load(policy.rules.key_of(ID))
    assert data_of(plan.write.data) == {"n": 2} and plan.write.owner == "ann"


def test_a_conflicting_regenerate_without_data_takes_nothing_along():
    policy = make_policy()
    session = stored(policy)
    session.regenerate()
    session["m"] = 1
    plan, _ = ask(policy, session, CONFLICT, theirs(policy, {"n": 2}), b"v")
    assert isinstance(plan.write, Regenerate)
    assert data_of(plan.write.data) == {"m": 1}


@pytest.mark.parametrize("keep_data", [False, True])
@pytest.mark.parametrize("answers", [(MISSING,), (CONFLICT, None), (CONFLICT, Replaced("other"))])
def test_a_session_that_had_ended_when_it_was_regenerated_gives_no_data_to_the_new_one(keep_data, answers):
    policy = make_policy()
    session = stored(policy, {"n": 1, "cart": {"a": 1}}, before=lambda s: s.login("bob", keep_data=True))
    session["cart"]["b"] = 2
    clock_of(policy).advance(1)
    session.login("ann", keep_data=keep_data)
    session["m"] = 1
    plan, _ = ask(policy, session, *answers, b"v")
    assert isinstance(plan.write, Create)
    assert data_of(plan.write.data) == ({"cart": {"b": 2}, "m": 1} if keep_data else {"m": 1})
    assert plan.write.owner == "ann"
    assert plan.write.key == session.key
    assert plan.header is not None


def test_an_owner_of_an_ended_session_is_not_carried_over_either():
    policy = make_policy()
    session = stored(policy, before=lambda s: s.login("bob", keep_data=True))
    session.regenerate(keep_data=True)
    session["m"] = 1
    plan, _ = ask(policy, session, MISSING, b"v")
    assert isinstance(plan.write, Create)
    assert (plan.write.owner, data_of(plan.write.data)) == (None, {"m": 1})
    assert session.authenticated_at is None


def test_the_others_owner_and_cookie_stand_unless_this_request_changed_them():
    def other(session: Session) -> None:
        session.login("ann", keep_data=True)
        session.cookie.max_age = 60

    policy = make_policy()
    session = changed(policy)
    plan, _ = ask(policy, session, CONFLICT, theirs(policy, {"n": 1}, before=other), b"v")
    assert plan.record is not None
    assert (plan.record.owner, plan.record.overrides) == ("ann", {"originalMaxAge": 60_000})

    session = changed(policy)
    session.cookie.max_age = 30
    plan, _ = ask(policy, session, CONFLICT, theirs(policy, {"n": 1}, before=other), b"v")
    assert plan.record is not None
    assert plan.record.overrides == {"originalMaxAge": 30_000}


def test_a_merge_keeps_the_types_that_json_lacks():
    from datetime import UTC, datetime

    when = datetime(2026, 11, 21, tzinfo=UTC)
    policy = make_policy()
    session = changed(policy, when=when)
    plan, _ = ask(policy, session, CONFLICT, theirs(policy, {"n": 1, "since": when}), b"v")
    assert dict(session) == {"n": 1, "since": when, "when": when}
    assert plan.write is not None


def test_an_encrypted_session_is_merged_too():
    policy = make_policy(codec=EncryptedCodec([b"k" * 32]))
    session = changed(policy)
    plan, _ = ask(policy, session, CONFLICT, theirs(policy, {"n": 1, "o": 2}), b"v")
    assert isinstance(plan.write, Replace)
    assert b"o" not in plan.write.data or not plan.write.data.startswith(b"{")
    assert dict(session) == {"n": 1, "o": 2, "m": 1}


def test_an_exclusive_request_that_lost_its_lock_is_refused():
    policy = make_policy()
    session = stored(policy)
    session._lock = session.key, "token"
    session["n"] = 2
    with pytest.raises(SessionConflict):
        ask(policy, session, CONFLICT, theirs(policy, {"n": 3}))


def test_a_late_change_that_conflicts_is_merged_as_any_other():
    policy = make_policy()
    session = changed(policy)
    session._late = True
    plan, _ = ask(policy, session, CONFLICT, theirs(policy, {"n": 1, "o": 2}), b"v", phase=Phase.LATE)
    assert plan.header is None
    assert dict(session) == {"n": 1, "o": 2, "m": 1}


# -- lost replies -------------------------------------------------------------------------------------------------------------


def written_by(op: Any) -> Stored:
    """What is found where the write happened."""
    return Stored(op.data, op.data, DAY)


LOST: list[tuple[str, Callable[[Session], object], Callable[[Any], Any], list[str]]] = [
    # what was lost, how it is asked for, what is found then, what is done
    ("replace, done", lambda s: s.update(m=1), written_by, ["Replace", "Load"]),
    ("regenerate, done", lambda s: s.login("ann"), written_by, ["Regenerate", "Load", "Load"]),
    ("regenerate, not done", lambda s: s.login("ann"), lambda op: None, ["Regenerate", "Load", "Regenerate"]),
    ("delete, done", lambda s: s.destroy(), lambda op: None, ["Delete", "Load"]),
    ("delete, not done", lambda s: s.destroy(), lambda op: Stored(b"x", b"x", DAY), ["Delete", "Load", "Delete"]),
    ("touch", lambda s: s.touch(), lambda op: None, ["Touch", "Touch"]),
]


@pytest.mark.parametrize(("act", "found", "done"), [pytest.param(*rest, id=name) for name, *rest in LOST])
def test_a_lost_reply_is_settled_by_reading(act, found, done):
    policy = make_policy()
    session = stored(policy)
    act(session)
    plan = policy.close(session)
    answers: list[Any] = [TIMEOUT]
    if "Load" in done:
        answers.append(lambda op: found(plan.write))
    if done.count("Load") == 2:
        answers.append(Replaced("other"))  # the old id
    if done[-1] != "Load":
        answers.append(b"v" if done[-1] == "Regenerate" else True)
    result, ops = play(commit(policy, session, plan), *answers)
    assert kinds(ops) == done
    assert result.write == plan.write and result.header == plan.header
    if "Load" in done:
        assert ops[1] == Load(plan.write.new if isinstance(plan.write, Regenerate) else plan.write.key)  # type: ignore[union-attr]


def test_a_create_whose_reply_was_lost_is_done_once():
    policy = make_policy()
    for found, done in ((written_by, ["Create", "Load"]), (lambda op: None, ["Create", "Load", "Create"])):
        session = begin(policy)
        session["n"] = 1
        plan = policy.close(session)
        answers = [TIMEOUT, found(plan.write), *([b"v"] if len(done) == 3 else [])]
        result, ops = play(commit(policy, session, plan), *answers)
        assert kinds(ops) == done
        assert result.header == plan.header
        assert session._stored is not None


def test_a_replace_that_did_not_happen_is_done_anew():
    policy = make_policy()
    session = changed(policy)
    before = session._stored
    plan, ops = ask(policy, session, TIMEOUT, before, b"v")
    assert kinds(ops) == ["Replace", "Load", "Replace"]
    assert plan.write == ops[2]


def test_a_replace_that_happened_only_later_is_not_done_twice():
    policy = make_policy()
    session = changed(policy)
    plan = policy.close(session)
    before = session._stored
    result, ops = play(
        commit(policy, session, plan), TIMEOUT, before, CONFLICT, lambda op: Stored(ops_first(plan), b"late", DAY)
    )
    assert kinds(ops) == ["Replace", "Load", "Replace", "Load"]
    assert result.write == plan.write
    assert session._stored is not None and session._stored.version == b"late"


def ops_first(plan: Plan) -> bytes:
    assert isinstance(plan.write, Replace)
    return plan.write.data


@pytest.mark.parametrize("found", [None, Replaced("other")])
def test_a_replace_of_a_session_that_is_gone_did_not_happen(found):
    policy = make_policy(rolling=True)
    session = changed(policy)
    plan, ops = ask(policy, session, TIMEOUT, found)
    assert kinds(ops) == ["Replace", "Load"]
    assert (plan.write, plan.header) == (None, None)


def test_a_second_lost_reply_is_the_callers():
    policy = make_policy()
    session = changed(policy)
    with pytest.raises(StoreTimeout):
        ask(policy, session, TIMEOUT, session._stored, TIMEOUT)


@pytest.mark.parametrize("error", [TIMEOUT, StoreUnavailable("it is down")])
def test_an_outcome_that_cannot_be_read_is_the_callers_error(error):
    policy = make_policy()
    session = changed(policy)
    with pytest.raises(type(error)):
        ask(policy, session, TIMEOUT, error)


def test_a_store_that_is_down_is_asked_once():
    policy = make_policy()
    session = changed(policy)
    with pytest.raises(StoreUnavailable):
        ask(policy, session, StoreUnavailable("it is down"))


def test_a_regenerate_that_was_half_done_is_undone_and_tried_anew():
    policy = make_policy()
    session = stored(policy)
    session.login("ann")
    plan = policy.close(session)
    assert isinstance(plan.write, Regenerate)
    done, ops = play(commit(policy, session, plan), TIMEOUT, written_by(plan.write), session._stored, True, b"v")
    assert kinds(ops) == ["Regenerate", "Load", "Load", "Delete", "Regenerate"]
    assert ops[3] == Delete(plan.write.new)
    assert done.write == plan.write == ops[4]


@pytest.mark.parametrize("other", [b"not a record", b'{"cookie":{},"n":2}'])
def test_where_others_wrote_after_a_lost_reply_an_increment_is_not_merged_again(other):
    policy = make_policy()
    session = changed(policy)
    session.increment("n")
    with pytest.raises(StoreTimeout, match="may or may not"):
        ask(policy, session, TIMEOUT, Stored(other, other, DAY))


def test_where_others_wrote_before_the_second_try_an_increment_is_not_merged_again_either():
    policy = make_policy()
    session = changed(policy)
    session.increment("n")
    found = theirs(policy, {"n": 2})
    with pytest.raises(StoreTimeout, match="may or may not"):
        ask(policy, session, TIMEOUT, session._stored, CONFLICT, found)


def test_where_others_wrote_after_a_lost_reply_a_value_that_was_set_is_merged_again():
    policy = make_policy()
    session = changed(policy, m=1)
    found = theirs(policy, {"n": 2})
    plan, ops = ask(policy, session, TIMEOUT, found, found, b"new")
    assert isinstance(ops[-1], Replace)
    assert ops[-1].version == found.version
    assert plan.write == ops[-1]
    assert dict(session)["m"] == 1


def test_an_unreadable_record_after_a_lost_reply_is_no_record_to_merge_with():
    policy = make_policy()
    session = changed(policy)
    broken = Stored(b"not a record", b"v", DAY)
    plan, _ = ask(policy, session, TIMEOUT, broken, broken)
    assert plan.write is None


@pytest.mark.parametrize(
    ("make", "refusal"), [(begin, EXISTS), (stored, MISSING), (stored, EXISTS), (stored, CONFLICT)]
)
def test_a_first_try_that_arrived_late_is_what_stands_in_the_way_of_the_second(make, refusal):
    policy = make_policy()
    session = make(policy)
    session.login("ann", keep_data=True)
    session["m"] = 1
    plan = policy.close(session)
    assert isinstance(plan.write, Create | Regenerate)
    done, ops = play(commit(policy, session, plan), TIMEOUT, None, refusal, Stored(plan.write.data, b"late", DAY))
    assert len(ops) == 4
    assert done.write == plan.write and done.header == plan.header
    assert session._stored is not None and session._stored.version == b"late"


def test_a_second_try_that_somebody_elses_id_stands_in_the_way_of_draws_another():
    policy = make_policy()
    session = begin(policy)
    session["n"] = 1
    first = session.id
    _, ops = play(commit(policy, session, policy.close(session)), TIMEOUT, None, EXISTS, theirs(policy, {"n": 2}), b"v")
    assert kinds(ops) == ["Create", "Load", "Create", "Load", "Create"]
    assert session.id != first


# -- save and reload ----------------------------------------------------------------------------------------------------------


# contract 153, 154
def test_what_was_saved_is_not_saved_again_and_its_cookie_is_owed():
    policy = make_policy()
    session = begin(policy)
    session["n"] = 1
    _, ops = play(save(policy, session), b"v")
    assert kinds(ops) == ["Create"]
    plan = policy.close(session)
    assert plan.write is None and plan.header is not None and session.id in plan.header[1]


# contract 155
def test_what_changes_after_a_save_is_saved_again():
    policy = make_policy()
    session = begin(policy)
    session["n"] = 1
    play(save(policy, session), b"v")
    session["n"] = 2
    plan = policy.close(session)
    assert isinstance(plan.write, Replace) and plan.write.version == b"v"
    assert plan.header is not None


def test_a_save_with_nothing_to_save_asks_nothing():
    policy = make_policy()
    session = stored(policy)
    assert play(save(policy, session)) == (None, [])


def test_a_save_after_destroy_carries_it_out_and_the_cookie_is_expired():
    policy = make_policy()
    session = stored(policy)
    session.destroy()
    assert kinds(play(save(policy, session), True)[1]) == ["Delete"]
    plan = policy.close(session)
    assert plan.write is None
    assert plan.header is not None and "Max-Age=0" in plan.header[1]


def test_each_save_of_a_session_that_ended_elsewhere_is_an_error_but_the_store_is_asked_once():
    policy = make_policy()
    session = changed(policy)
    for answers in ([MISSING], []):
        with pytest.raises(SessionNotFound):
            play(save(policy, session), *answers)


@pytest.mark.parametrize("regenerated", [False, True])
def test_a_save_that_needs_a_cookie_comes_too_late_after_the_headers(regenerated):
    policy = make_policy()
    session = stored(policy) if regenerated else begin(policy)
    if regenerated:
        session.regenerate()
    session["n"] = 1
    session._late = True
    with pytest.raises(SessionLate):
        play(save(policy, session))


@pytest.mark.parametrize("act", [lambda s: s.update(n=2), lambda s: s.destroy()])
def test_a_late_save_of_a_stored_session_is_fine(act):
    policy = make_policy()
    session = stored(policy)
    session._late = True
    act(session)
    assert len(play(save(policy, session), True)[1]) == 1


# contract 149, 152
def test_reload_takes_what_the_store_holds_and_discards_the_rest():
    policy = make_policy()
    session = changed(policy)
    session.cookie.max_age = 60
    session.increment("n")
    session.touch()
    _, ops = play(reload(policy, session), theirs(policy, {"n": 7}))
    assert ops == [Load(policy.rules.key_of(ID))]
    assert dict(session) == {"n": 7}
    assert session.cookie.original_max_age is None
    assert policy.close(session).write is None


def test_a_session_that_had_ended_may_be_found_again_by_reload():
    policy = make_policy()
    session = changed(policy)
    ask(policy, session, MISSING)
    play(reload(policy, session), theirs(policy, {"n": 7}))
    session["n"] = 8
    assert isinstance(policy.close(session).write, Replace)


# contract 150
@pytest.mark.parametrize("found", [None, Replaced("other")])
def test_reload_without_a_live_record_is_an_error_and_the_session_stays(found):
    policy = make_policy()
    session = changed(policy)
    with pytest.raises(SessionNotFound):
        play(reload(policy, session), found)
    assert dict(session) == {"n": 1, "m": 1}


def test_reload_of_a_new_session_finds_nothing():
    policy = make_policy(generate_id=lambda request: None)
    with pytest.raises(SessionNotFound):
        play(reload(policy, begin(policy)))


def test_a_destroyed_session_is_not_reloaded():
    policy = make_policy()
    session = stored(policy)
    session.destroy()
    with pytest.raises(SessionDestroyed):
        play(reload(policy, session))


# -- what arrives -------------------------------------------------------------------------------------------------------------


# contract 46, 47
@pytest.mark.parametrize(
    ("found", "origin"),
    [(None, Origin.NEW), (Replaced("other"), Origin.REPLACED), (Stored(b"x", b"x", DAY), Origin.STORED)],
)
@pytest.mark.parametrize("stale", [False, True])
def test_what_is_found_decides_what_the_session_is(found, origin, stale, caplog):
    caplog.set_level("DEBUG", logger="sojourn")
    policy = make_policy()
    session = begin(policy, Origin.UNLOADED)
    assert arrived(session, Verified(ID, stale), "key", found) is (origin is Origin.STORED)
    assert session._origin is origin
    assert session._id == (ID if origin is Origin.STORED else None)  # an unknown id is never adopted
    assert session._stale is (stale and origin is Origin.STORED)
    assert ID not in caplog.text and origin.value in caplog.text


def test_a_replaced_id_is_remembered_while_other_ids_are_tried():
    policy = make_policy()
    session = begin(policy, Origin.UNLOADED)
    assert not arrived(session, Verified("a", stale=False), "a", Replaced("other"))
    assert not arrived(session, Verified("b", stale=False), "b", None)
    assert session._origin is Origin.REPLACED
    assert arrived(session, Verified("c", stale=False), "c", Stored(b"x", b"x", DAY))
    assert session._origin.value == "stored"


# -- the lock -----------------------------------------------------------------------------------------------------------------


def test_a_lock_is_waited_for():
    token, ops = play(acquire("key"), None, None, "token")
    assert token == "token"
    assert kinds(ops) == ["Lock", "Pause", "Lock", "Pause", "Lock"]
    assert all(0 < op.seconds <= 0.02 for op in ops if isinstance(op, Pause))


def test_a_lock_that_others_keep_longer_than_they_may_is_given_up_upon():
    pauses: list[float] = []
    steps = _watch(acquire("key"), pauses)
    with pytest.raises(StoreUnavailable):
        play(steps, *[None] * 10_000)
    assert LOCK_MS / 1000 < sum(pauses) < LOCK_MS / 1000 + 1
