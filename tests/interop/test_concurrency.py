"""Two requests of one session at once, one on either side. Each gate is a call that the one's handler makes to the other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.sites import Browser, Pair, Site

pytestmark = [pytest.mark.server, pytest.mark.express]


def meanwhile(site: Site, *operations: list[Any]) -> list[Any]:
    """While this request is under way, one of the same session to that site, from beginning to end."""
    return ["meanwhile", site.url(), list(operations)]


@pytest.fixture
def session(pair: Pair, browser: Browser) -> str:
    return browser.visit(
        pair.express,
        ["set", ["cart"], {"a": 1}],
        ["set", ["log"], ["begun"]],
        ["set", ["hits"], 1],
        ["set", ["old"], 1],
    ).id


def assert_both_see(pair: Pair, browser: Browser, data: dict[str, Any]) -> None:
    for site in pair.both:
        assert browser.visit(site).data == data


def test_a_save_by_express_in_between_is_merged_into_ours(pair: Pair, browser: Browser, session: str):
    theirs: list[list[Any]] = [
        ["set", ["cart", "b"], 2],
        ["append", ["log"], "theirs"],
        ["set", ["hits"], 5],
        ["delete", ["old"]],
    ]
    seen = browser.visit(
        pair.python,
        ["set", ["cart", "c"], 3],
        ["append", ["log"], "ours"],
        meanwhile(pair.express, *theirs),
        ["increment", "hits"],
        ["set", ["mine"], True],
    )
    assert seen.id == session
    merged = {
        "cart": {"a": 1, "b": 2, "c": 3},
        "log": ["begun", "theirs", "ours"],
        "hits": 6,
        "mine": True,
    }
    assert_both_see(pair, browser, merged)


def test_of_the_same_value_changed_by_both_ours_stands_as_it_is_committed_later(
    pair: Pair, browser: Browser, session: str
):
    browser.visit(pair.python, ["set", ["old"], "ours"], meanwhile(pair.express, ["set", ["old"], "theirs"]))
    assert browser.visit(pair.express).data["old"] == "ours"


def test_a_session_that_python_began_is_merged_likewise(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["set", ["cart"], {}])
    for turn in range(3):
        browser.visit(
            pair.python, ["set", ["cart", f"p{turn}"], 1], meanwhile(pair.express, ["set", ["cart", f"e{turn}"], 1])
        )
    names = [f"{side}{turn}" for turn in range(3) for side in "pe"]
    assert_both_see(pair, browser, {"cart": dict.fromkeys(names, 1)})


def test_many_saves_by_express_in_between_are_all_merged(pair: Pair, browser: Browser, session: str):
    saves = [meanwhile(pair.express, ["set", [f"e{turn}"], turn]) for turn in range(5)]
    browser.visit(pair.python, ["set", ["mine"], True], *saves)
    data = browser.visit(pair.express).data
    assert data["mine"] is True
    assert [data[f"e{turn}"] for turn in range(5)] == list(range(5))


@pytest.mark.parametrize("side", ["express", "python"])
def test_a_touch_by_express_in_between_is_no_conflict_and_is_not_undone(
    pair: Pair, browser: Browser, session: str, side: str
):
    pair.rows.expire_in(session, 100)
    before = pair.rows.read(session)
    seen = browser.visit(pair.python, ["set", ["mine"], True], meanwhile(pair[side]))
    after = pair.row(seen)
    assert before is not None
    assert before.left < 101 < after.left
    assert after.tree["mine"] is True


def test_what_express_only_reads_meanwhile_does_not_overwrite_ours(pair: Pair, browser: Browser, session: str):
    browser.visit(pair.express, meanwhile(pair.python, ["set", ["mine"], True]))
    assert browser.visit(pair.express).data["mine"] is True


def test_a_session_that_express_ends_in_between_stays_ended(pair: Pair, browser: Browser, session: str):
    thief = browser.twin()
    seen = browser.visit(pair.python, ["set", ["mine"], True], meanwhile(pair.express, ["destroy"]))
    assert not seen.set_cookies
    assert pair.rows.read(session) is None
    assert_both_see(pair, thief, {})


def test_a_session_that_express_regenerates_in_between_is_not_brought_back(pair: Pair, browser: Browser, session: str):
    renewing = meanwhile(pair.express, ["regenerate"], ["set", ["user"], "ann"], ["look"])
    seen = browser.visit(pair.python, ["set", ["mine"], True], renewing)
    assert not seen.set_cookies
    assert pair.rows.read(session) is None
    renewed = pair.rows.read(seen.answers[1][-1]["id"])
    assert renewed is not None
    assert renewed.tree["user"] == "ann"
    assert "mine" not in renewed.tree


def test_a_session_that_both_end_is_ended(pair: Pair, browser: Browser, session: str):
    browser.visit(pair.python, meanwhile(pair.express, ["destroy"]), ["destroy"])
    assert pair.rows.read(session) is None


def test_a_login_here_takes_what_express_saved_in_between_along(pair: Pair, browser: Browser, session: str):
    seen = browser.visit(
        pair.python, ["regenerate_keeping"], ["set", ["user"], "ann"], meanwhile(pair.express, ["set", ["late"], 1])
    )
    assert pair.rows.read(session) is None
    data = {"cart": {"a": 1}, "log": ["begun"], "hits": 1, "old": 1}
    assert_both_see(pair, browser, data | {"user": "ann", "late": 1})
    assert browser.visit(pair.express).id == seen.id


# The other way round: what Express does, which we cannot mend.


def test_express_overwrites_what_python_saved_in_between(pair: Pair, browser: Browser, session: str):
    """Contract 159: it saves the whole session as it knew it."""
    ours = meanwhile(pair.python, ["set", ["mine"], True], ["set", ["cart", "b"], 2])
    browser.visit(pair.express, ours, ["set", ["theirs"], True])
    data = {"cart": {"a": 1}, "log": ["begun"], "hits": 1, "old": 1}
    assert_both_see(pair, browser, data | {"theirs": True})


def test_express_sees_what_python_saved_if_it_reloads(pair: Pair, browser: Browser, session: str):
    ours = meanwhile(pair.python, ["set", ["mine"], True])
    browser.visit(pair.express, ours, ["reload"], ["set", ["theirs"], True])
    data = browser.visit(pair.python).data
    assert (data["mine"], data["theirs"]) == (True, True)


def test_express_brings_a_session_back_that_python_ended_in_between(pair: Pair, browser: Browser, session: str):
    """Contract 160."""
    thief = browser.twin()
    browser.visit(pair.express, meanwhile(pair.python, ["destroy"]), ["set", ["theirs"], True])
    for site in pair.both:
        seen = thief.visit(site)
        assert (seen.id, seen.data["theirs"]) == (session, True)


def test_express_does_not_bring_it_back_by_reading(pair: Pair, browser: Browser, session: str):
    thief = browser.twin()
    browser.visit(pair.express, meanwhile(pair.python, ["destroy"]))
    assert pair.rows.read(session) is None
    assert_both_see(pair, thief, {})
