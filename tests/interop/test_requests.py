"""One login on two applications: what the one writes the other reads, changes and ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.interop.sites import Browser, Pair, Site

pytestmark = [pytest.mark.server, pytest.mark.express]

USER = {"name": "ann", "roles": ["reader"]}


def login(browser: Browser, site: Site) -> str:
    return browser.visit(site, ["set", ["user"], USER], ["set", ["cart"], [1]]).id


def assert_dead(browser: Browser, session: str, sites: Sequence[Site]) -> None:
    """Who comes with this browser's cookies is anonymous."""
    for site in sites:
        seen = browser.twin().visit(site)
        assert seen.data == {}
        assert seen.id != session


def test_what_one_side_stores_the_other_reads(sides: tuple[Site, Site], browser: Browser):
    first, second = sides
    session = login(browser, first)
    seen = browser.visit(second)
    assert seen.id == session
    assert seen.data == {"user": USER, "cart": [1]}
    assert not seen.set_cookies


def test_both_take_turns_in_changing_it(sides: tuple[Site, Site], browser: Browser):
    session = login(browser, sides[0])
    for turn in range(6):
        site = sides[(turn + 1) % 2]
        last = {"site": site.side, "turn": turn}
        seen = browser.visit(
            site,
            ["append", ["user", "roles"], turn],
            ["set", ["user", "last"], last],
            ["set", ["cart", 0], -turn],
            ["set", [f"turn {turn}"], True],
            *([["delete", [f"turn {turn - 1}"]]] if turn else []),
        )
        assert seen.id == session
    for site in sides:
        assert browser.visit(site).data == {
            "user": {"name": "ann", "roles": ["reader", 0, 1, 2, 3, 4, 5], "last": {"site": sides[0].side, "turn": 5}},
            "cart": [-5],
            "turn 5": True,
        }


def test_a_session_of_which_all_is_taken_out_is_still_that_session(sides: tuple[Site, Site], browser: Browser):
    first, second = sides
    session = login(browser, first)
    browser.visit(second, ["delete", ["user"]], ["delete", ["cart"]])
    for site in sides:
        seen = browser.visit(site)
        assert (seen.id, seen.data) == (session, {})


@pytest.mark.parametrize("ends", ["the one that began it", "the other"])
def test_a_logout_on_either_side_ends_the_session_on_both(
    sides: tuple[Site, Site], browser: Browser, ends: str, pair: Pair
):
    session = login(browser, sides[0])
    browser.visit(sides[1], ["set", ["seen"], True])
    thief = browser.twin()
    browser.visit(sides[ends == "the other"], ["destroy"])
    assert pair.rows.read(session) is None
    assert_dead(thief, session, sides)
    assert_dead(browser, session, sides)
    assert login(browser, sides[1]) != session
    assert browser.visit(sides[0]).data == {"user": USER, "cart": [1]}


@pytest.mark.parametrize("moves", ["the one that began it", "the other"])
def test_a_regenerate_on_either_side_ends_the_old_id_on_both(
    sides: tuple[Site, Site], browser: Browser, moves: str, pair: Pair
):
    old = browser.visit(sides[0], ["set", ["cart"], [1]]).id
    thief = browser.twin()
    new = browser.visit(sides[moves == "the other"], ["regenerate"], ["set", ["user"], USER]).id
    assert new != old
    assert pair.rows.read(old) is None
    assert_dead(thief, old, sides)
    for site in sides:
        seen = browser.visit(site)
        assert (seen.id, seen.data) == (new, {"user": USER})


def test_a_login_here_keeps_the_data_of_a_session_that_express_began(pair: Pair, browser: Browser):
    old = login(browser, pair.express)
    browser.visit(pair.python, ["set", ["more"], 1])
    thief = browser.twin()
    new = browser.visit(pair.python, ["regenerate_keeping"], ["set", ["in"], True]).id
    assert_dead(thief, old, pair.both)
    seen = browser.visit(pair.express)
    assert (seen.id, seen.data) == (new, {"user": USER, "cart": [1], "more": 1, "in": True})


def test_either_side_takes_a_session_for_unset_and_drops_what_the_request_did(
    sides: tuple[Site, Site], browser: Browser
):
    first, second = sides
    session = login(browser, first)
    assert browser.visit(second, ["set", ["lost"], 1], ["unset"]).seen is None
    for site in sides:
        seen = browser.visit(site)
        assert (seen.id, seen.data) == (session, {"user": USER, "cart": [1]})


def test_either_side_ends_the_other_sides_session_by_its_id(sides: tuple[Site, Site], browser: Browser, world):
    first, second = sides
    session = login(browser, first)
    found = world.browser().visit(second, ["store", "get", session]).answers[0]
    found.pop("cookie", None)
    found.pop("__sojourn__", None)
    assert found == {"user": USER, "cart": [1]}
    world.browser().visit(second, ["store", "destroy", session])
    assert_dead(browser, session, sides)


def test_a_save_and_a_reload_in_the_midst_of_a_request_agree(sides: tuple[Site, Site], browser: Browser):
    first, second = sides
    login(browser, first)
    nested = [["set", ["cart"], [2]], ["save"], ["set", ["later"], 1]]
    changing = ["meanwhile", second.url(), nested]
    seen = browser.visit(first, ["set", ["mine"], 1], ["save"], changing, ["reload"])
    assert seen.data == {"user": USER, "cart": [2], "mine": 1, "later": 1}
    assert browser.visit(second).data == seen.data


def test_a_forged_id_is_adopted_by_neither(sides: tuple[Site, Site], browser: Browser):
    first, second = sides
    session = login(browser, first)
    (cookie,) = browser.cookies.jar
    assert cookie.value is not None
    forged = browser.twin()
    forged.cookies.set("connect.sid", cookie.value[:-1] + ("A" if cookie.value[-1] != "A" else "B"), "127.0.0.1")
    assert_dead(forged, session, sides)
    assert browser.visit(second).id == session


OPERATIONS = st.one_of(
    st.tuples(st.just("set"), st.sampled_from("abc"), st.integers(0, 9)),
    st.tuples(st.just("nest"), st.sampled_from("abc"), st.integers(0, 9)),
    st.tuples(st.sampled_from(["delete", "regenerate", "destroy", "look"]), st.sampled_from("abc"), st.just(0)),
)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), OPERATIONS), min_size=3, max_size=8))
def test_any_sequence_on_any_sides_leaves_what_it_would_leave_on_one(
    steps: list[tuple[bool, tuple[str, str, int]]], pair: Pair, world
):
    browser = world.browser()
    model: dict[str, Any] = {}
    for on_python, (name, key, value) in steps:
        site = pair.both[on_python]
        if name == "nest":
            model[key] = {"in": [value]}
            operation = ["set", [key], model[key]]
        elif name == "set":
            model[key] = value
            operation = ["set", [key], value]
        elif name == "delete" and key in model:
            del model[key]
            operation = ["delete", [key]]
        elif name in {"regenerate", "destroy"}:
            model = {}
            operation = [name]
        else:
            operation = ["look"]
        done = browser.visit(site, operation)
        seen = browser.visit(pair.other(site))
        assert seen.data == model
        if model:
            assert seen.id == done.id
