"""One expiry for both sides: who uses a session keeps it for the other, and who lets it end, ends it for both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias

import pytest

from tests.interop.peers import PEERS, Peer, Row
from tests.interop.sites import Browser, Pair, Site, World

pytestmark = [pytest.mark.server, pytest.mark.express]

DAY: Final = 86_400
HOUR: Final = 3600
SHORT: Final = 1  # seconds: the shortest that connect-redis and connect-pg-simple know
PATIENCE: Final = 10

USES: Final[dict[str, list[list[Any]]]] = {"a read": [], "a touch": [["touch"]], "a change": [["set", ["n"], 2]]}


@pytest.mark.parametrize("use", USES)
def test_whoever_uses_a_session_moves_its_expiry_for_both(
    use: str, sides: tuple[Site, Site], pair: Pair, browser: Browser
):
    begins, uses = sides
    seen = browser.visit(begins, ["set", ["n"], 1])
    whole = pair.row(seen).left
    assert whole > DAY - 10
    pair.rows.expire_in(seen.id, whole - 60)  # as if it had been begun a minute ago
    browser.visit(uses, *USES[use])
    moved = whole - 10 < pair.row(seen).left <= whole + 1
    # connect-mongodb-session has no touch (contract 199)
    assert moved is (uses is pair.python or pair.peer.touches or use == "a change")


def test_a_request_that_asks_nothing_of_its_session_moves_its_expiry_too(pair: Pair, browser: Browser):
    seen = browser.visit(pair.express, ["set", ["n"], 1])
    pair.rows.expire_in(seen.id, 100)
    browser.pass_by(pair.python)
    assert pair.row(seen).left > DAY - 10


def test_a_touch_changes_nothing_of_the_session(pair: Pair, browser: Browser):
    seen = browser.visit(pair.express, ["set", ["n"], 1])
    before = pair.row(seen).session
    browser.visit(pair.python, ["touch"])
    assert pair.row(seen).session == before


@pytest.mark.parametrize("side", ["express", "python"])
def test_the_expiry_inside_the_record_says_nothing_about_its_life(
    side: str, peer: Peer, colour: str, world: World, browser: Browser
):
    """A touch on connect-redis leaves it behind (contract 193), as ours does everywhere."""
    lifetime: dict[str, Any] = {"node": {"cookie": {"maxAge": HOUR * 1000}}, "python": {"cookie": {"max_age": HOUR}}}
    pair = world.pair(peer, colour, **lifetime)
    seen = browser.visit(pair[side], ["set", ["n"], 1])
    row = pair.row(seen)
    tree = row.tree
    past = "2020-01-01T00:00:00.000Z"
    tree["cookie"]["expires"] = tree["cookie"]["expires"].replace(year=2020) if peer.is_bson else past
    pair.rows.write(seen.id, tree if peer.is_bson else json.dumps(tree, separators=(",", ":")))
    for site in (pair.python, pair.express, pair.python):
        assert browser.visit(site).data == {"n": 1}
    browser.visit(pair.express, ["set", ["n"], 2])
    assert HOUR - 10 < pair.row(seen).left <= HOUR + 1
    assert pair.row(seen).tree["cookie"]["expires"] != tree["cookie"]["expires"]


def test_a_session_whose_time_is_up_is_dead_on_both_before_it_is_removed(pair: Pair, browser: Browser):
    seen = browser.visit(pair.express, ["set", ["n"], 1])
    pair.rows.expire_in(seen.id, -5)
    for site in pair.both:
        if site is pair.express and pair.peer.node.get("expiresKey"):
            continue  # it looks at the field `expires`, whatever is configured (contract 199): dead once it is removed
        again = browser.twin().visit(site)
        assert again.data == {}
        assert again.id != seen.id


# Lifetimes of a second: those on one server are begun at once, and then waited for together.

Ended: TypeAlias = tuple[Pair, Browser, str]
Key: TypeAlias = tuple[str, str, str]


def ended(world: World, server: str) -> dict[Key, Ended]:
    """Sessions, by store, colour and who began them, that were left alone for longer than they live."""
    begun: dict[Key, Ended] = {}
    for peer in PEERS.values():
        option = {"expires": SHORT * 1000} if peer.package == "connect-mongodb-session" else {"ttl": SHORT}
        for colour in ("async", "sync") if peer.server == server else ():
            pair = world.pair(peer.but(node=option), colour, python={"idle_timeout": SHORT})
            for side in ("express", "python"):
                browser = world.browser()
                browser.visit(pair[side], ["set", ["n"], 1])
                session = browser.visit(pair.other(pair[side]), ["set", ["n"], 2]).id
                begun[str(peer), colour, side] = pair, browser, session
    wait_until(lambda: all(is_over(pair.rows.read(session)) for pair, _browser, session in begun.values()))
    return begun


def is_over(row: Row | None) -> bool:
    return row is None or row.left <= 0


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "a session outlives its time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def short_lived(world: World) -> Callable[[str], dict[Key, Ended]]:
    return cache(lambda server: ended(world, server))


@pytest.mark.parametrize("side", ["express", "python"])
def test_a_session_that_nobody_uses_ends_for_both_after_its_lifetime(
    side: str, peer: Peer, colour: str, short_lived: Callable[[str], dict[Key, Ended]]
):
    pair, browser, session = short_lived(peer.server)[str(peer), colour, side]
    if peer.node.get("expiresKey"):  # see above: there it is the server that ends it, which looks every second
        wait_until(lambda: pair.rows.read(session) is None)
    for site in pair.both:
        seen = browser.twin().visit(site)
        assert seen.data == {}
        assert seen.id != session
    again = browser.visit(pair.express, ["set", ["n"], 3])
    assert again.id != session
    assert browser.visit(pair.python).data == {"n": 3}
