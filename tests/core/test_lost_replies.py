"""A lost reply: the outcome is found out by reading, and what cannot be told is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sojourn.core.commit import commit
from sojourn.core.plan import Create, Plan, Regenerate, Replace
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.steps import Delete, Load
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Stored
from sojourn.errors import StoreTimeout, StoreUnavailable
from tests.core.making import DAY, begin, make_settings, stored_state
from tests.core.playing import ONE_DELETED, TIMEOUT, TOMBSTONE, ask, changed, kinds, lying, play, theirs, written_by

LOST: list[tuple[str, Callable[[Session], object], Callable[[Any], Any], list[str]]] = [
    # what was lost, how it is asked for, what is found then, what is done
    ("replace, done", lambda s: s.update(m=1), written_by, ["Replace", "Load"]),
    ("regenerate, done", lambda s: s.login("ann"), written_by, ["Regenerate", "Load", "Load"]),
    ("regenerate, not done", lambda s: s.login("ann"), lambda op: None, ["Regenerate", "Load", "Regenerate"]),
    ("touch", lambda s: s.touch(), lambda op: None, ["Touch", "Touch"]),
]


@pytest.mark.parametrize(("act", "found", "done"), [pytest.param(*rest, id=name) for name, *rest in LOST])
def test_a_lost_reply_is_settled_by_reading(act, found, done):
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    act(session)
    plan = decide(state)
    returned: list[Any] = [TIMEOUT]
    if "Load" in done:
        returned.append(lambda op: found(plan.write))
    if done.count("Load") == 2:
        returned.append(TOMBSTONE)  # the old id
    if done[-1] != "Load":
        returned.append(b"v" if done[-1] == "Regenerate" else True)
    result, ops = play(commit(state, plan), *returned)
    assert kinds(ops) == done
    assert result.write == plan.write and result.header == plan.header
    if "Load" in done:
        assert ops[1] == Load(plan.write.new if isinstance(plan.write, Regenerate) else plan.write.key)  # type: ignore[union-attr]


def test_a_create_whose_reply_was_lost_is_done_once():
    settings = make_settings()
    for found, done in ((written_by, ["Create", "Load"]), (lambda op: None, ["Create", "Load", "Create"])):
        state = begin(settings)
        session = Session(state)
        session["n"] = 1
        plan = decide(state)
        returned = [TIMEOUT, found(plan.write), *([b"v"] if len(done) == 3 else [])]
        result, ops = play(commit(state, plan), *returned)
        assert kinds(ops) == done
        assert result.header == plan.header
        assert lying(state).data == result.write.data


def test_a_replace_that_did_not_happen_is_done_anew():
    settings = make_settings()
    state = changed(settings)
    before = lying(state)
    plan, ops = ask(state, TIMEOUT, before, b"v")
    assert kinds(ops) == ["Replace", "Load", "Replace"]
    assert plan.write == ops[2]


def test_a_replace_that_happened_only_later_is_not_done_twice():
    settings = make_settings()
    state = changed(settings)
    plan = decide(state)
    before = lying(state)
    result, ops = play(commit(state, plan), TIMEOUT, before, CONFLICT, lambda op: Stored(data_in(plan), b"late", DAY))
    assert kinds(ops) == ["Replace", "Load", "Replace", "Load"]
    assert result.write == plan.write
    assert lying(state).version == b"late"


def data_in(plan: Plan) -> bytes:
    assert isinstance(plan.write, Replace)
    return plan.write.data


@pytest.mark.parametrize("found", [None, TOMBSTONE])
def test_a_replace_of_a_session_that_is_gone_did_not_happen(found):
    settings = make_settings(rolling=True)
    state = changed(settings)
    plan, ops = ask(state, TIMEOUT, found)
    assert kinds(ops) == ["Replace", "Load"]
    assert (plan.write, plan.header) == (None, None)


def test_a_second_lost_reply_is_the_callers():
    settings = make_settings()
    state = changed(settings)
    with pytest.raises(StoreTimeout):
        ask(state, TIMEOUT, lying(state), TIMEOUT)


@pytest.mark.parametrize("error", [TIMEOUT, StoreUnavailable("it is down")])
def test_an_outcome_that_cannot_be_read_is_the_callers_error(error):
    settings = make_settings()
    state = changed(settings)
    with pytest.raises(type(error)):
        ask(state, TIMEOUT, error)


def test_a_store_that_is_down_is_asked_once():
    settings = make_settings()
    state = changed(settings)
    with pytest.raises(StoreUnavailable):
        ask(state, StoreUnavailable("it is down"))


def test_a_regenerate_that_was_half_done_is_undone_and_tried_anew():
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    session.login("ann")
    plan = decide(state)
    assert isinstance(plan.write, Regenerate)
    done, ops = play(commit(state, plan), TIMEOUT, written_by(plan.write), lying(state), ONE_DELETED, b"v")
    assert kinds(ops) == ["Regenerate", "Load", "Load", "Delete", "Regenerate"]
    assert ops[3] == Delete((plan.write.new,))
    assert done.write == plan.write == ops[4]


@pytest.mark.parametrize("other", [b"not a record", b'{"cookie":{},"n":2}'])
def test_where_others_wrote_after_a_lost_reply_an_increment_is_not_merged_again(other):
    settings = make_settings()
    state = changed(settings)
    session = Session(state)
    session.increment("n")
    with pytest.raises(StoreTimeout, match="may or may not"):
        ask(state, TIMEOUT, Stored(other, other, DAY))


def test_where_others_wrote_before_the_second_try_an_increment_is_not_merged_again_either():
    settings = make_settings()
    state = changed(settings)
    session = Session(state)
    session.increment("n")
    found = theirs(settings, {"n": 2})
    with pytest.raises(StoreTimeout, match="may or may not"):
        ask(state, TIMEOUT, lying(state), CONFLICT, found)


def test_where_others_wrote_after_a_lost_reply_a_value_that_was_set_is_merged_again():
    settings = make_settings()
    state = changed(settings, m=1)
    session = Session(state)
    found = theirs(settings, {"n": 2})
    plan, ops = ask(state, TIMEOUT, found, found, b"new")
    assert isinstance(ops[-1], Replace)
    assert ops[-1].version == found.version
    assert plan.write == ops[-1]
    assert dict(session)["m"] == 1


def test_an_unreadable_record_after_a_lost_reply_is_no_record_to_merge_with():
    settings = make_settings()
    state = changed(settings)
    broken = Stored(b"not a record", b"v", DAY)
    plan, _ = ask(state, TIMEOUT, broken, broken)
    assert plan.write is None


@pytest.mark.parametrize(
    ("make", "refusal"),
    [(begin, EXISTS), (stored_state, MISSING), (stored_state, EXISTS), (stored_state, CONFLICT)],
)
def test_a_first_try_that_arrived_late_is_what_stands_in_the_way_of_the_second(make, refusal):
    settings = make_settings()
    state = make(settings)
    session = Session(state)
    session.login("ann", keep_data=True)
    session["m"] = 1
    plan = decide(state)
    assert isinstance(plan.write, Create | Regenerate)
    done, ops = play(commit(state, plan), TIMEOUT, None, refusal, Stored(plan.write.data, b"late", DAY))
    assert len(ops) == 4
    assert done.write == plan.write and done.header == plan.header
    assert lying(state).version == b"late"


@pytest.mark.parametrize(("refusal", "again"), [(MISSING, Create), (EXISTS, Regenerate)])
def test_where_nothing_was_merged_an_increment_is_no_reason_to_give_up(refusal, again):
    state = stored_state(make_settings())
    session = Session(state)
    session.increment("n")
    session.login("ann", keep_data=True)
    plan, _ = ask(state, TIMEOUT, None, refusal, None, b"v")
    assert isinstance(plan.write, again)


def test_a_second_try_that_somebody_elses_id_stands_in_the_way_of_takes_another():
    settings = make_settings()
    state = begin(settings)
    session = Session(state)
    session["n"] = 1
    first = session.id
    _, ops = play(commit(state, decide(state)), TIMEOUT, None, EXISTS, theirs(settings, {"n": 2}), b"v")
    assert kinds(ops) == ["Create", "Load", "Create", "Load", "Create"]
    assert session.id != first
