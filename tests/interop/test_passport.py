"""One login of Passport's on both sides: the real passport on Express, and the option ``passport`` here."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.interop.peers import Peer
from tests.interop.sites import Browser, Pair, World

pytestmark = [pytest.mark.server, pytest.mark.express]

WHO = ["who"]
NOBODY: dict[str, Any] = {"owner": None, "since": False, "pending": None}


@pytest.fixture
def pair(peer: Peer, colour: str, world: World) -> Pair:
    return passports(peer, colour, world)


def passports(peer: Peer, colour: str, world: World, kind: object = True) -> Pair:
    return world.pair(peer, colour, node={"passport": True}, python={"passport": kind})


def unique(name: str) -> str:
    """An owner of this test alone, as all share one store."""
    return f"{name} {uuid4().hex}"


def owner_at(pair: Pair, browser: Browser) -> dict[str, Any]:
    """Who is logged in here: the owner, whether it is known since when, and whose login was begun."""
    found: dict[str, Any] = browser.visit(pair.python, WHO).answers[0]
    return found


def user_at(pair: Pair, browser: Browser) -> Any:
    """Who is logged in on Node; None for nobody."""
    found = browser.visit(pair.express, WHO).answers[0]
    assert found["authenticated"] is (found["user"] is not None)
    return found["user"]


def owned(pair: Pair, browser: Browser, owner: str) -> int:
    return len(browser.visit(pair.python, ["by_owner", owner]).answers[0])


# contract 205, 209
def test_a_login_on_node_is_one_here(pair: Pair, browser: Browser) -> None:
    owner = unique("ann")
    session = browser.visit(pair.express, ["login", owner]).id
    assert owner_at(pair, browser) == {**NOBODY, "owner": owner}  # when, Passport does not say
    seen = browser.visit(pair.python, ["set", ["cart"], [1]])
    assert seen.id == session
    assert seen.data == {"passport": {"user": owner}, "cart": [1]}
    assert owned(pair, browser, owner) == 1  # with our first write it is in the index
    assert browser.visit(pair.python, ["devices"]).answers[0] == 1
    assert user_at(pair, browser) == owner


# contract 209, 211
def test_a_login_here_is_one_on_node(pair: Pair, browser: Browser) -> None:
    owner = unique("ann")
    browser.visit(pair.express, ["set", ["cart"], [1]])
    thief = browser.twin()
    session = browser.visit(pair.python, ["login_keeping", owner]).id
    assert user_at(pair, browser) == owner
    seen = browser.visit(pair.express)
    assert seen.id == session
    assert seen.data == {"cart": [1], "passport": {"user": owner}}
    assert owner_at(pair, browser) == {"owner": owner, "since": True, "pending": None}
    assert user_at(pair, thief) is None and owner_at(pair, thief) == NOBODY


def test_a_login_here_that_keeps_no_data_keeps_none_of_node_s(pair: Pair, browser: Browser) -> None:
    browser.visit(pair.express, ["login", "bob"])
    browser.visit(pair.express, ["set", ["cart"], [1]])
    browser.visit(pair.python, ["login", "ann"])
    assert browser.visit(pair.express).data == {"passport": {"user": "ann"}}
    assert user_at(pair, browser) == "ann"


def test_a_logout_here_is_one_on_node(pair: Pair, browser: Browser) -> None:
    session = browser.visit(pair.express, ["login", "ann"]).id
    thief = browser.twin()
    browser.visit(pair.python, ["logout"])
    assert pair.rows.read(session) is None
    assert user_at(pair, browser) is None and user_at(pair, thief) is None


# contract 207, 208
@pytest.mark.parametrize("options", [{}, {"keepSessionInfo": True}])
@pytest.mark.parametrize("where", ["express", "python"])
def test_a_logout_on_node_is_one_here(pair: Pair, browser: Browser, where: str, options: dict[str, bool]) -> None:
    owner = unique("ann")
    browser.visit(pair[where], ["login", owner])
    browser.visit(pair.python, ["set", ["cart"], [1]])
    thief = browser.twin()
    browser.visit(pair.express, ["logout", options], ["set", ["seen"], True])
    # With keepSessionInfo, Passport has copied our reserved part along, which still says that there was a login.
    assert owner_at(pair, browser) == NOBODY and user_at(pair, browser) is None
    assert owner_at(pair, thief) == NOBODY and user_at(pair, thief) is None
    browser.visit(pair.python, ["set", ["more"], True])
    assert owner_at(pair, browser) == NOBODY
    assert owned(pair, browser, owner) == 0


# contract 207
def test_another_s_login_on_node_is_not_what_is_known_of_the_one_here(pair: Pair, browser: Browser) -> None:
    browser.visit(pair.python, ["login", "ann"])
    assert owner_at(pair, browser)["since"]
    browser.visit(pair.express, ["login", "bob", {"keepSessionInfo": True}])
    assert owner_at(pair, browser) == {**NOBODY, "owner": "bob"}
    browser.visit(pair.python, ["set", ["cart"], [1]])
    assert owner_at(pair, browser) == {**NOBODY, "owner": "bob"}


# contract 210
def test_a_user_whom_node_does_not_know_any_more_is_logged_out_here(pair: Pair, browser: Browser) -> None:
    browser.visit(pair.python, ["login", "struck off"])
    assert owner_at(pair, browser)["owner"] == "struck off"
    assert user_at(pair, browser) is None  # Passport has deleted the key
    assert owner_at(pair, browser) == NOBODY


def test_who_lacks_the_second_factor_is_nobody_on_node(pair: Pair, browser: Browser) -> None:
    browser.visit(pair.express, ["login", "ann"])
    browser.visit(pair.python, ["begin_login", "ann"])
    assert owner_at(pair, browser) == {**NOBODY, "pending": "ann"} and user_at(pair, browser) is None
    browser.visit(pair.python, ["complete_login"])
    assert owner_at(pair, browser) == {"owner": "ann", "since": True, "pending": None}
    assert user_at(pair, browser) == "ann"


def test_the_others_of_a_login_on_node_end_there_too(pair: Pair, browser: Browser, world: World) -> None:
    owner, other = unique("ann"), world.browser()
    for one in (browser, other):
        one.visit(pair.express, ["login", owner])
        one.visit(pair.python, ["set", ["cart"], [1]])
    assert browser.visit(pair.python, ["end_others"]).answers[0] == 1
    assert user_at(pair, browser) == owner and user_at(pair, other) is None


# -- ids ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "number"), [(True, 42), ("int", 0), (True, -7), ("int", 2**31), (True, 2**53 - 1)])
def test_an_integer_is_the_owner_of_its_digits_and_stays_one(
    peer: Peer, colour: str, world: World, browser: Browser, kind: object, number: int
) -> None:
    pair = passports(peer, colour, world, kind)
    browser.visit(pair.express, ["login", number])
    assert owner_at(pair, browser)["owner"] == str(number)
    browser.visit(pair.python, ["confirm"])  # writes the record, under a new id
    assert owner_at(pair, browser)["owner"] == str(number)
    assert user_at(pair, browser) == number
    assert browser.visit(pair.express, ["same", ["passport", "user"], number]).answers[0] is True


@pytest.mark.parametrize(("kind", "user"), [(True, "42"), ("int", 42)])
def test_an_owner_is_written_as_the_option_says(
    peer: Peer, colour: str, world: World, browser: Browser, kind: object, user: object
) -> None:
    pair = passports(peer, colour, world, kind)
    browser.visit(pair.python, ["login", "42"])
    assert user_at(pair, browser) == user
    assert browser.visit(pair.express, ["same", ["passport", "user"], user]).answers[0] is True
    assert owner_at(pair, browser)["owner"] == "42"


# contract 206
@pytest.mark.parametrize("user", [{"id": "ann"}, ["ann"], 1.5, True])
def test_a_user_of_another_shape_stays_node_s(pair: Pair, browser: Browser, user: object) -> None:
    browser.visit(pair.express, ["login", user])
    assert owner_at(pair, browser) == NOBODY
    assert browser.visit(pair.python, ["set", ["cart"], [1]]).data == {"passport": {"user": user}, "cart": [1]}
    assert user_at(pair, browser) == user
    browser.visit(pair.python, ["login_keeping", "ann"])  # nothing of what somebody else left
    assert browser.visit(pair.express).data == {"passport": {"user": "ann"}}


# contract 205
def test_either_side_writes_the_same_record(pair: Pair, world: World) -> None:
    trees = []
    for site, login in ((pair.express, ["login", "ann"]), (pair.python, ["login", "ann"])):
        tree = pair.row(world.browser().visit(site, login)).tree
        tree.pop("__sojourn__", None)
        trees.append(tree)
    assert trees[0] == trees[1]


# -- any sequence ---------------------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("express"), st.just("login"), st.sampled_from(["ann", "bob", 7]), st.booleans()),
    st.tuples(st.just("python"), st.just("login"), st.sampled_from(["ann", "bob", "7"]), st.booleans()),
    st.tuples(st.sampled_from(["express", "python"]), st.just("logout"), st.just(None), st.booleans()),
    st.tuples(st.sampled_from(["express", "python"]), st.just("set"), st.sampled_from(["a", "b"]), st.just(False)),
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=8))
def test_after_any_sequence_both_sides_know_the_same_user(
    steps: list[tuple[str, str, Any, bool]], pair: Pair, world: World
) -> None:
    browser = world.browser()
    user: str | None = None
    for side, what, argument, keeping in steps:
        if what == "set":
            browser.visit(pair[side], ["set", [argument], 1])
        elif what == "login" and side == "python":
            browser.visit(pair.python, ["login_keeping" if keeping else "login", argument])
            user = argument
        elif what == "login":
            browser.visit(pair.express, ["login", argument, {"keepSessionInfo": keeping}])
            user = str(argument)
        else:
            options = [{"keepSessionInfo": keeping}] if side == "express" else []
            browser.visit(pair[side], ["logout", *options])
            user = None
        seen = user_at(pair, browser)
        assert (None if seen is None else str(seen)) == user
        assert owner_at(pair, browser)["owner"] == user
