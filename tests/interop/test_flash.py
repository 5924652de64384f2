"""One list of flash messages on both sides: the real connect-flash on Express, and the option ``connect_flash`` here."""

from __future__ import annotations

import pytest

from tests.interop.peers import Peer
from tests.interop.sites import Browser, Pair, World

pytestmark = [pytest.mark.server, pytest.mark.express]


@pytest.fixture
def pair(peer: Peer, colour: str, world: World) -> Pair:
    return world.pair(peer, colour, node={"flash": True}, python={"connect_flash": True})


def test_a_message_of_either_side_is_shown_by_the_other_once(pair: Pair, browser: Browser) -> None:
    browser.visit(pair.express, ["flash", "info", "from Node"], ["flash", "error", "%s of %s", 1, 2])
    browser.visit(pair.python, ["flash", "from Python"], ["flash", "last", "warning"])
    assert browser.visit(pair.express, ["flash", "info"]).answers[0] == ["from Node", "from Python"]
    assert browser.visit(pair.python, ["flashes"]).answers[0] == [["error", "1 of 2"], ["warning", "last"]]
    assert browser.visit(pair.python, ["flashes"]).answers[0] == []
    assert browser.visit(pair.express, ["flash"]).answers[0] == {}


def test_one_category_is_taken_and_the_others_stay(pair: Pair, browser: Browser) -> None:
    browser.visit(pair.python, ["flash", "one"], ["flash", "two", "error"], ["flash", "three", "error"])
    assert browser.visit(pair.python, ["flashes", "info"]).answers[0] == [["info", "one"]]
    assert browser.visit(pair.express, ["flash"]).answers[0] == {"error": ["two", "three"]}
    assert browser.visit(pair.python, ["flashes"]).answers[0] == []


def test_a_message_that_node_adds_while_python_takes_is_shown_next(pair: Pair, browser: Browser) -> None:
    browser.visit(pair.python, ["flash", "first"])
    seen = browser.visit(pair.python, ["flashes"], ["meanwhile", pair.express.url(), [["flash", "info", "second"]]])
    assert seen.answers[0] == [["info", "first"]]
    assert browser.visit(pair.python, ["flashes"]).answers[0] == [["info", "second"]]
