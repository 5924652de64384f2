"""Two invariants, whatever the order: no update is lost without a word, and no session that has ended comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sojourn.core.plan import Create
from sojourn.core.session import Session
from sojourn.errors import SessionConflict, StoreTimeout
from tests.core.interleaving import Do, World, explore
from tests.core.making import data_of


def put(**values: Any) -> Do:
    return lambda session: session.update(values)


def into(name: str, **values: Any) -> Do:
    return lambda session: session.setdefault(name, {}).update(values)


def append(value: Any) -> Do:
    return lambda session: session.setdefault("items", []).append(value)


def add(by: int) -> Do:
    return lambda session: session.increment("n", by)


def destroy(session: Session) -> None:
    session.destroy()


def touch(session: Session) -> None:
    session.touch()


def look(session: Session) -> None:
    session.get("n")


def clear(session: Session) -> None:
    session.clear()


def clear_and_put(**values: Any) -> Do:
    """How users of Flask log in."""

    def do(session: Session) -> None:
        session.clear()
        session.update(values)

    return do


def login(owner: str, *, keep_data: bool = False, **values: Any) -> Do:
    def do(session: Session) -> None:
        session.login(owner, keep_data=keep_data)
        session.update(values)

    return do


# -- changes of different things ----------------------------------------------------------------------------------------------

MERGED: dict[str, tuple[list[Do], dict[str, Any], Callable[[dict[str, Any]], object], object]] = {
    # handlers, what was there, what of the data matters, what that is in the end
    "different keys": ([put(a=1), put(b=2), put(c=3)], {"n": 0}, dict, {"n": 0, "a": 1, "b": 2, "c": 3}),
    "one object": (
        [into("cart", a=1), into("cart", b=2), into("cart", c=3)],
        {"cart": {"z": 0}},
        dict,
        {"cart": {"z": 0, "a": 1, "b": 2, "c": 3}},
    ),
    "an object that was not there": (
        [into("cart", a=1), into("cart", b=2), into("cart", c=3)],
        {"n": 0},
        dict,
        {"n": 0, "cart": {"a": 1, "b": 2, "c": 3}},
    ),
    "a key set and another deleted": (
        [put(a=1), lambda s: s.pop("n"), put(b=2)],
        {"n": 0, "m": 0},
        dict,
        {"m": 0, "a": 1, "b": 2},
    ),
    "appended to": (
        [append("a"), append("b"), append("c")],
        {"items": ["z"]},
        lambda data: (data["items"][0], sorted(data["items"][1:])),
        ("z", ["a", "b", "c"]),
    ),
    "incremented": ([add(1), add(10), add(100)], {"n": 5}, dict, {"n": 116}),
}


@pytest.mark.parametrize("case", MERGED)
@pytest.mark.parametrize("count", [2, 3])
def test_no_update_is_lost(case, count):
    handlers, before, matters, three = MERGED[case]
    if count == 2:
        three = expected_of_two(case)
    for world in explore(*handlers[:count], data=before):
        assert matters(world.data) == three, world.trail
        assert all(request.saved for request in world.requests)


def expected_of_two(case: str) -> object:
    return {
        "different keys": {"n": 0, "a": 1, "b": 2},
        "one object": {"cart": {"z": 0, "a": 1, "b": 2}},
        "an object that was not there": {"n": 0, "cart": {"a": 1, "b": 2}},
        "a key set and another deleted": {"m": 0, "a": 1},
        "appended to": ("z", ["a", "b"]),
        "incremented": {"n": 16},
    }[case]


def test_the_ways_to_meet_are_really_gone_through():
    orders = Counter(tuple(entry[0] for entry in world.trail) for world in explore(put(a=1), put(b=2)))
    assert set(orders.values()) == {1}
    # each before the other, and both loading first: then the loser loads and writes again
    assert (
        ("0", "0", "1", "1") in orders and ("1", "1", "0", "0") in orders and ("0", "1", "1", "0", "0", "0") in orders
    )
    assert len(orders) == 6


def test_of_the_same_leaf_the_later_commit_stands():
    for world in explore(put(n=1), put(n=2)):
        last = [entry for entry in world.trail if "Replace done" in entry and "CONFLICT" not in entry][-1]
        assert world.data == {"n": int(last[0]) + 1}


def test_an_increment_and_a_set_end_as_one_after_the_other():
    for world in explore(add(1), put(n=10)):
        assert world.data["n"] in (10, 11)


def test_the_same_change_made_twice_is_one_change():
    for world in explore(put(n=1), put(n=1)):
        assert world.data == {"n": 1}
        assert all(request.error is None for request in world.requests)


def test_a_change_of_the_cookie_and_a_change_of_data_are_both_kept():
    def remember(session: Session) -> None:
        session.cookie.max_age = 60

    for world in explore(remember, put(a=1)):
        ((_, found),) = world.store.scan()
        assert b'"originalMaxAge":60000' in found.data
        assert world.data == {"n": 0, "a": 1}


# contract 76, 159
def test_a_record_that_is_merely_written_again_overwrites_no_change():
    for world in explore(look, put(a=1), resave=True):
        assert world.data == {"n": 0, "a": 1}
        assert all(request.error is None for request in world.requests)


def test_a_touch_conflicts_with_nothing():
    for world in explore(touch, put(a=1)):
        assert world.data == {"n": 0, "a": 1}
        assert len(world.trail) == 4


# -- sessions that end --------------------------------------------------------------------------------------------------------


OLD = {"n": 0, "old": True}


def assert_ended(world: World) -> None:
    """The session has ended. What is live was begun by requests that came later, of nothing but what they put in."""
    assert world.key not in world.live
    plans = [request.plan for request in world.requests if request.plan is not None]
    assert world.live.keys() <= {plan.write.key for plan in plans if isinstance(plan.write, Create)}, world.trail
    for record in world.live.values():
        assert "old" not in data_of(record), world.trail
    for index, request in enumerate(world.requests):
        if request.plan is not None and isinstance(request.plan.write, Create):
            loads = [at for at, entry in enumerate(world.trail) if entry.startswith(f"{index}: Load")]
            ends = [
                at for at, entry in enumerate(world.trail) if ": Delete done" in entry or ": Regenerate done" in entry
            ]
            assert min(ends) < loads[0], world.trail


# contract 144, 160
@pytest.mark.parametrize("other", [put(a=1), touch, look, add(1), destroy, into("cart", a=1)])
@pytest.mark.parametrize("options", [{}, {"resave": True}, {"touch_after": 0}, {"rolling": True}])
def test_a_destroyed_session_stays_destroyed(other, options):
    for world in explore(destroy, other, data=OLD, **options):
        assert_ended(world)
        ended, request = world.requests
        assert ended.plan is not None and world.key in ended.plan.ends
        assert request.error is None


def test_of_three_requests_the_one_that_destroys_wins():
    for world in explore(put(a=1), destroy, put(b=2), data=OLD):
        assert_ended(world)


def test_a_request_whose_session_ended_meanwhile_sends_no_cookie_for_it(caplog):
    told = 0
    for world in explore(destroy, put(a=1), rolling=True):
        request = world.requests[1]
        assert request.plan is not None and request.plan.changed
        assert (request.plan.header is not None) == request.saved
        told += not request.saved
    assert told and [record.levelname for record in caplog.records] == ["WARNING"] * told


# contract 145; design, "Fixation"
def test_a_change_is_carried_over_by_a_regenerate_or_refused_as_too_late():
    for world in explore(login("ann", keep_data=True), put(a=1)):
        ann, other = world.requests
        assert ann.saved and world.key not in world.live
        assert world.data_at(ann) == ({"n": 0, "a": 1} if other.saved else {"n": 0}), world.trail
        assert len(world.live) == 1


def test_data_that_are_not_to_be_kept_do_not_come_along_by_a_merge():
    for world in explore(login("ann", m=1), put(a=1)):
        assert world.data_at(world.requests[0]) == {"m": 1}
        assert len(world.live) == 1


@pytest.mark.parametrize("keep_data", [False, True])
def test_two_logins_are_two_sessions_and_the_old_one_has_ended(keep_data):
    for world in explore(login("ann", keep_data=keep_data, a=1), login("ann", keep_data=keep_data, b=2)):
        one, two = world.requests
        assert world.key not in world.live and len(world.live) == 2
        assert one.session.id != two.session.id and one.session.owner == two.session.owner == "ann"
        for request in (one, two):
            assert request.plan is not None and request.plan.header is not None
        kept = {"n": 0} if keep_data else {}
        ends = [world.data_at(one), world.data_at(two)]
        assert ends in ([kept | {"a": 1}, {"b": 2}], [{"a": 1}, kept | {"b": 2}])  # data move along once


# design, "How a session ends"
@pytest.mark.parametrize("end", [destroy, clear])
@pytest.mark.parametrize("begin", [login("ann", keep_data=True, a=1), login("ann", a=1), clear_and_put(a=1)])
def test_a_logout_ends_a_parallel_login_unless_that_came_later(end, begin):
    lives = set()
    for world in explore(begin, end, data=OLD):
        request, out = world.requests
        assert world.key not in world.live
        assert request.error is None and out.error is None
        came_later = isinstance(request.plan and request.plan.write, Create)
        assert world.data_at(request) == ({"a": 1} if came_later else None), world.trail
        assert len(world.live) == came_later
        lives.add(came_later)
    assert lives == {False, True}


def test_a_logout_follows_a_session_that_moves_twice():
    def end_twice_regenerated(worlds: Any) -> None:
        for world in worlds:
            assert world.key not in world.live
            for request in world.requests[:2]:
                if not isinstance(request.plan and request.plan.write, Create):
                    assert world.data_at(request) is None, world.trail

    end_twice_regenerated(explore(login("ann", keep_data=True), login("bob", keep_data=True), destroy, data=OLD))


def test_of_two_logins_by_clear_the_later_ends_the_earlier():
    for world in explore(clear_and_put(a=1), clear_and_put(b=2), data=OLD):
        assert world.key not in world.live
        assert world.data in ({"a": 1}, {"b": 2}), world.trail  # of the one session that there is
        assert [request.error for request in world.requests] == [None, None]
        assert sum(world.data_at(request) is not None for request in world.requests) == 1


def test_a_change_beside_a_login_by_clear_is_saved_before_or_not_at_all():
    for world in explore(clear_and_put(a=1), put(b=2), data=OLD):
        assert world.key not in world.live and world.data_at(world.requests[0]) == {"a": 1}
        assert len(world.live) == 1


def test_regenerates_without_data_leave_nothing():
    for world in explore(lambda s: s.regenerate(), lambda s: s.regenerate(), put(a=1), data=OLD):
        assert_ended(world)


def test_three_requests_around_a_login():
    for world in explore(put(a=1), login("ann", keep_data=True), add(5)):
        ann = world.requests[1]
        data = world.data_at(ann)
        assert data is not None
        expected = {"n": 5 if world.requests[2].saved else 0} | ({"a": 1} if world.requests[0].saved else {})
        assert data == expected, world.trail
        assert len(world.live) == 1


# -- exclusive ----------------------------------------------------------------------------------------------------------------


def count_up(session: Session) -> None:
    session["n"] = session["n"] + 1  # which two at once would lose


def test_exclusive_requests_run_one_at_a_time():
    for world in explore(count_up, count_up, exclusive=(0, 1)):
        assert world.data == {"n": 2}, world.trail


def test_three_exclusive_requests_run_one_at_a_time():
    for world in explore(count_up, count_up, count_up, exclusive=(0, 1, 2)):
        assert world.data == {"n": 3}, world.trail


def test_an_exclusive_request_whose_value_another_changed_is_refused_and_not_merged():
    seen = set()
    for world in explore(count_up, put(n=10), exclusive=(0,)):
        exclusive, other = world.requests
        assert other.saved
        if exclusive.error is not None:
            assert isinstance(exclusive.error, SessionConflict)
            assert world.data == {"n": 10}
        else:
            assert world.data["n"] in (10, 11)
        seen.add(type(exclusive.error))
    assert seen == {SessionConflict, type(None)}


def test_an_exclusive_request_gives_its_lock_back_whatever_happens():
    for world in explore(count_up, put(n=10), exclusive=(0,)):
        assert world.store.lock(world.key, 1000) is not None


# -- lost replies -------------------------------------------------------------------------------------------------------------


def settled(world: World) -> None:
    """A single lost reply is settled by reading: nobody is told of an error."""
    assert [request.error for request in world.requests] == [None] * len(world.requests), world.trail


@pytest.mark.parametrize("case", MERGED)
def test_a_lost_reply_loses_and_doubles_nothing_of_one_request(case):
    handlers, before, matters, _ = MERGED[case]
    expected = next(explore(handlers[0], data=before)).data
    for world in explore(handlers[0], data=before, faults=1):
        settled(world)
        assert matters(world.data) == matters(expected), world.trail


def after(case: str, *which: int) -> object:
    """What matters of the data once such of the case's requests have run, one after the other."""
    handlers, before, matters, _ = MERGED[case]
    data = before
    for index in which:
        data = next(explore(handlers[index], data=data)).data
    return matters(data)


@pytest.mark.parametrize("case", MERGED)
def test_a_lost_reply_loses_and_doubles_nothing_of_two(case):
    handlers, before, matters, _ = MERGED[case]
    both, alone = after(case, 0, 1), [after(case, 1), after(case, 0)]
    unsettled = 0
    for world in explore(*handlers[:2], data=before, faults=1):
        failed = [index for index, request in enumerate(world.requests) if request.error is not None]
        # Only where the other has written since, nothing can tell. Then it is an error, and the change there once or not at all.
        assert all(isinstance(world.requests[index].error, StoreTimeout) for index in failed)
        allowed = [both, *(alone[index] for index in failed)]
        assert len(failed) <= 1 and matters(world.data) in allowed, world.trail
        unsettled += len(failed)
    # Values that were set are merged once more without harm; only sums and appended items cannot be.
    assert bool(unsettled) is (case in {"appended to", "incremented"})


@pytest.mark.parametrize("keep_data", [False, True])
def test_a_lost_reply_of_a_login_or_of_a_change_beside_it_brings_no_session_back(keep_data):
    for world in explore(login("ann", keep_data=keep_data, a=1), put(b=2), data=OLD, faults=1):
        ann, other = world.requests
        assert all(request.error is None or isinstance(request.error, StoreTimeout) for request in world.requests)
        if ann.error is None:
            assert world.key not in world.live, world.trail
            data = world.data_at(ann)
            assert data is not None and data["a"] == 1
            assert data.keys() <= {"a"} or keep_data
            if keep_data and other.saved and not isinstance(other.plan and other.plan.write, Create):
                assert data == OLD | {"a": 1, "b": 2}, world.trail


@pytest.mark.parametrize("other", [put(a=1), touch, destroy])
def test_a_destroy_whose_reply_is_lost_is_carried_out(other):
    for world in explore(destroy, other, data=OLD, faults=1):
        settled(world)
        assert_ended(world)


def test_a_login_whose_reply_is_lost_is_one_session_and_keeps_its_data():
    for world in explore(login("ann", keep_data=True, a=1), faults=1):
        settled(world)
        (ann,) = world.requests
        assert world.data_at(ann) == {"n": 0, "a": 1}, world.trail
        assert len(world.live) == 1 and world.key not in world.live
        assert ann.plan is not None and ann.plan.header is not None


@pytest.mark.parametrize("end", [destroy, clear])
@pytest.mark.parametrize("begin", [login("ann", keep_data=True, a=1), clear_and_put(a=1)])
def test_a_logout_ends_a_parallel_login_also_where_a_reply_is_lost(end, begin):
    for world in explore(begin, end, data=OLD, faults=1):
        settled(world)
        request, _ = world.requests
        assert world.key not in world.live
        came_later = isinstance(request.plan and request.plan.write, Create)
        assert world.data_at(request) == ({"a": 1} if came_later else None), world.trail


def test_logins_whose_replies_are_lost_leave_the_old_session_dead():
    for world in explore(login("ann", a=1), login("ann", b=2), faults=1):
        settled(world)
        assert [world.data_at(request) for request in world.requests] == [{"a": 1}, {"b": 2}]
        assert len(world.live) == 2 and world.key not in world.live


def test_a_second_lost_reply_is_an_error_and_still_nothing_is_doubled_in_one_request():
    seen = set()
    for world in explore(add(1), data={"n": 0}, faults=2):
        (request,) = world.requests
        seen.add(type(request.error).__name__)
        assert world.data["n"] in (0, 1)
        assert request.error is not None or world.data["n"] == 1
    assert seen == {"NoneType", "StoreTimeout"}


def test_a_new_session_whose_reply_is_lost_is_there_once():
    for world in explore(destroy, put(a=1), faults=1):
        settled(world)
        request = world.requests[1]
        if request.plan is not None and isinstance(request.plan.write, Create):
            assert world.data_at(request) == {"a": 1}
            assert len(world.live) == 1
