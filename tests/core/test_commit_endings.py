"""The first step of a commit: the keys that end are deleted, and what they were replaced by, before anything is written."""

from __future__ import annotations

from typing import Any, Final

import pytest

from sojourn.core.commit import commit, save
from sojourn.core.plan import Create, Phase, Regenerate
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.state import Found, Intent, State
from sojourn.core.steps import Delete, Load, end
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Stored
from sojourn.errors import StoreTimeout, StoreUnavailable
from sojourn.middleware.drive import run
from sojourn.stores import MemoryStore
from tests.core.making import DAY, ID, OTHER, begin, clock_of, make_settings, record_bytes, stored_state
from tests.core.playing import ONE_DELETED, TIMEOUT, TOMBSTONE, ask, kinds, play, written_by

NONE_DELETED: Final = Deleted(0, ())


def brought(*, found: Found = Found.RECORD, others: tuple[str, ...] = (OTHER,), write: bool = False) -> State:
    """A session of a request that brought several ids, invalidated; ``write``: and something put in."""
    settings = make_settings()
    state = (
        stored_state(settings, others=others) if found is Found.RECORD else begin(settings, found, ids=[ID, *others])
    )
    session = Session(state)
    session.invalidate()
    if write:
        session["m"] = 1
    return state


def keys(state: State, *ids: str) -> tuple[str, ...]:
    return tuple(map(state.settings.key_of, ids))


# -- the task ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "returned", "deleted", "count"),
    [
        ("a", [NONE_DELETED], ["a"], 0),
        ("a", [ONE_DELETED], ["a"], 1),
        ("abc", [Deleted(2, ())], ["abc"], 2),
        ("ab", [Deleted(1, ("x",)), ONE_DELETED], ["ab", "x"], 2),
        ("ab", [Deleted(0, ("x", "y")), Deleted(1, ("z",)), ONE_DELETED], ["ab", "xy", "z"], 2),
        # what was deleted already is not deleted again, whoever names it
        ("ab", [Deleted(1, ("b",))], ["ab"], 1),
        ("ab", [Deleted(0, ("x", "a")), Deleted(0, ("b", "x", "y")), ONE_DELETED], ["ab", "x", "y"], 1),
    ],
)
def test_keys_end_in_one_operation_and_then_their_successors_until_none_is_named(given, returned, deleted, count):
    assert play(end(tuple(given)), *returned) == (count, [Delete(tuple(names)) for names in deleted])


def test_without_keys_nothing_is_asked_of_the_store():
    assert play(end(())) == (0, [])


def test_a_delete_whose_reply_was_lost_is_repeated_and_so_is_that_of_a_successor():
    count, ops = play(end(("a",)), TIMEOUT, Deleted(0, ("x",)), TIMEOUT, NONE_DELETED)
    assert ops == [Delete(("a",)), Delete(("a",)), Delete(("x",)), Delete(("x",))]
    assert count == 0


def test_a_second_lost_reply_of_a_delete_is_the_callers():
    with pytest.raises(StoreTimeout):
        play(end(("a",)), TIMEOUT, TIMEOUT)


# -- in a commit --------------------------------------------------------------------------------------------------------------


def test_all_that_a_request_brought_ends_in_one_operation():
    settings = make_settings()
    state = stored_state(settings, others=[OTHER])
    Session(state).destroy()
    plan, ops = ask(state, Deleted(2, ()))
    assert ops == [Delete(keys(state, ID, OTHER))]
    assert (state.found, state.loaded, state.brought_ended) == (Found.NOTHING, None, True)
    assert plan.expires


@pytest.mark.parametrize("returned", [NONE_DELETED, ONE_DELETED, Deleted(2, ())])
def test_what_had_ended_before_is_no_matter(returned):
    state = stored_state(make_settings(), others=[OTHER])
    Session(state).destroy()
    plan, ops = ask(state, returned)
    assert len(ops) == 1 and plan.expires
    assert state.found is Found.NOTHING


@pytest.mark.parametrize("found", [Found.NOTHING, Found.TOMBSTONE, Found.PENDING, Found.UNAVAILABLE])
def test_nothing_is_written_before_the_endings_are_done(found):
    state = brought(found=found, write=True)
    plan, ops = ask(state, Deleted(1, ("x",)), Deleted(0, ("y",)), ONE_DELETED, b"v")
    assert kinds(ops) == ["Delete", "Delete", "Delete", "Create"]
    assert [op.keys for op in ops[:3]] == [keys(state, ID, OTHER), ("x",), ("y",)]
    assert isinstance(plan.write, Create) and plan.header is not None and not plan.expires
    assert (state.found, state.intent) == (Found.RECORD, Intent.NONE)


def test_of_a_loaded_session_the_other_ids_end_before_it_is_regenerated():
    state = brought(write=True)
    plan, ops = ask(state, ONE_DELETED, b"v")
    assert ops == [Delete(keys(state, OTHER)), plan.write]
    assert isinstance(plan.write, Regenerate) and plan.write.old == keys(state, ID)[0]


@pytest.mark.parametrize("error", [TIMEOUT, StoreUnavailable("it is down")])
def test_where_an_ending_fails_nothing_is_written_and_all_may_be_tried_again(error):
    state = brought(found=Found.PENDING, write=True)
    failures = [error, error] if error is TIMEOUT else [error]
    with pytest.raises(type(error)):
        ask(state, *failures)
    assert (state.intent, state.brought_ended) == (Intent.INVALIDATE, False)
    _, ops = ask(state, NONE_DELETED, b"v")
    assert kinds(ops) == ["Delete", "Create"]


def test_where_a_successor_does_not_end_nothing_is_written():
    state = brought(found=Found.TOMBSTONE, write=True)
    with pytest.raises(StoreUnavailable):
        ask(state, Deleted(0, ("x",)), StoreUnavailable("it is down"))
    assert not state.brought_ended


# What came between; what ends for it beside what ended before.
AGAIN: Final[list[tuple[str, Found, list[Any], list[str]]]] = [
    ("the id is taken", Found.PENDING, [EXISTS, b"v"], ["Create", "Create"]),
    ("the id is taken, of a record", Found.RECORD, [EXISTS, b"v"], ["Regenerate", "Regenerate"]),
    (
        "another has written",
        Found.RECORD,
        [CONFLICT, Stored(b"theirs", b"v2", DAY), b"v"],
        ["Regenerate", "Pause", "Load", "Regenerate"],
    ),
    ("the reply was lost", Found.PENDING, [TIMEOUT, None, b"v"], ["Create", "Load", "Create"]),
]


@pytest.mark.parametrize(("found", "returned", "then"), [pytest.param(*rest, id=what) for what, *rest in AGAIN])
def test_a_plan_that_is_decided_again_does_not_end_twice(found, returned, then):
    state = brought(found=found, write=True)
    plan, ops = ask(state, ONE_DELETED, *returned)
    assert kinds(ops) == ["Delete", *then]
    assert plan.header is not None and not plan.expires


# design, "Fixation": with `clear()` and a write the later commit ends the earlier session
@pytest.mark.parametrize("others", [(), (OTHER,)])
@pytest.mark.parametrize("refusal", [[MISSING], [CONFLICT, None], [CONFLICT, TOMBSTONE]])
def test_what_an_invalidated_session_was_regenerated_to_meanwhile_ends_before_the_new_one_begins(others, refusal):
    state = brought(others=others, write=True)
    first = [ONE_DELETED] if others else []
    plan, ops = ask(state, *first, *refusal, Deleted(0, ("x",)), ONE_DELETED, b"v")
    assert ops[-3:] == [Delete(keys(state, ID)), Delete(("x",)), plan.write]
    assert isinstance(plan.write, Create)
    assert sum(isinstance(op, Delete) for op in ops) == len(first) + 2


@pytest.mark.parametrize("refusal", [[MISSING], [CONFLICT, None], [CONFLICT, TOMBSTONE]])
def test_what_a_login_was_to_regenerate_is_another_session_by_then_and_stays(refusal):
    state = stored_state(make_settings())
    Session(state).login("ann")
    _, ops = ask(state, *refusal, b"v")
    assert not any(isinstance(op, Delete) for op in ops)


def test_where_no_cookie_can_carry_another_id_the_session_has_ended_all_the_same():
    generated = iter(["one"])
    settings = make_settings(generate_id=lambda request: next(generated, None))
    state = begin(settings, Found.PENDING, ids=[ID])
    session = Session(state)
    session.clear()
    session["m"] = 1
    plan, ops = ask(state, ONE_DELETED, EXISTS)
    assert kinds(ops) == ["Delete", "Create"]
    assert plan.write is None and plan.expires


def test_a_regenerate_to_nothing_deletes_the_loaded_record_alone():
    state = stored_state(make_settings(), others=[OTHER])
    Session(state).regenerate()
    plan, ops = ask(state, ONE_DELETED)
    assert ops == [Delete(keys(state, ID))]
    assert plan.header is None
    assert (state.found, state.loaded, state.intent) == (Found.NOTHING, None, Intent.NONE)


@pytest.mark.parametrize("phase", [Phase.LATE, Phase.FAILED])
@pytest.mark.parametrize("write", [False, True])
def test_what_was_invalidated_ends_without_a_response_too_and_nothing_is_stored(phase, write):
    state = brought(write=write)
    plan, ops = play(commit(state, decide(state, phase), phase), Deleted(2, ()))
    assert ops == [Delete(keys(state, ID, OTHER))]
    assert (plan.write, plan.header) == (None, None)


# contract 143
def test_what_a_save_has_ended_is_not_ended_again():
    state = stored_state(make_settings(), others=[OTHER])
    session = Session(state)
    session.destroy()
    assert kinds(play(save(state), Deleted(2, ()))[1]) == ["Delete"]
    session.destroy()
    assert play(save(state)) == (None, [])
    assert decide(state).expires and not decide(state).needs_store


# -- with a store ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moves", [0, 1, 2, 5])
def test_whoever_holds_the_old_id_ends_the_session_however_often_it_has_moved(moves):
    settings = make_settings()
    store = MemoryStore(clock=clock_of(settings))
    raw = record_bytes(settings)
    key = settings.key_of(ID)
    store.create(key, raw, DAY)
    for number in range(moves):
        found = store.load(key)
        assert isinstance(found, Stored)
        store.regenerate(key, f"moved-{number}", raw, DAY, version=found.version, tombstone=30_000)
        key = f"moved-{number}"
    state = begin(settings, Found.PENDING)
    Session(state).destroy()
    run(commit(state, decide(state)), store)
    assert store.count() == 0


def test_after_a_create_that_is_done_the_reply_of_which_was_lost_nothing_ends():
    state = brought(found=Found.TOMBSTONE, write=True)
    plan = decide(state)
    done, ops = play(commit(state, plan), ONE_DELETED, TIMEOUT, lambda op: written_by(plan.write))
    assert ops[1:] == [plan.write, Load(plan.write.key)]  # type: ignore[union-attr]
    assert done.write == plan.write


def test_an_empty_regenerate_ends_its_own_record_and_not_what_another_login_made_of_it():
    settings = make_settings()
    store = MemoryStore(clock=clock_of(settings))
    first, second = stored_state(settings), stored_state(settings)
    for state in (first, second):
        assert state.loaded is not None
    store.create(keys(first, ID)[0], first.loaded.stored.data, DAY)  # type: ignore[union-attr]
    Session(second).login("ann")
    run(commit(second, decide(second)), store)
    Session(first).regenerate()
    run(commit(first, decide(first)), store)
    assert store.count() == 1
