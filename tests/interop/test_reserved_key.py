"""What of ours lies in a session, and in the eyes of Express: the key ``__sojourn__``, and tagged values."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.interop.peers import Peer
from tests.interop.sites import Browser, Pair, World

pytestmark = [pytest.mark.server, pytest.mark.express]

OWN: Final = "__sojourn__"


def own(pair: Pair, visit: Any) -> Any:
    """The reserved key of the session that was seen, as it is stored."""
    return pair.row(visit).tree.get(OWN)


def test_to_express_it_is_one_more_key_after_the_cookie(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["set", ["user"], "ann"])
    keys = browser.visit(pair.express, ["keys"]).answers[0]
    assert keys == {way: ["cookie", OWN, "user"] for way in ("keys", "iterated", "json")}


def test_to_python_it_is_no_key_at_all(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["set", ["user"], "ann"])
    browser.visit(pair.express, ["set", ["seen"], True])
    seen = browser.visit(pair.python, ["store", "get", browser.visit(pair.python).id])
    assert seen.seen["data"] == seen.answers[0] == {"user": "ann", "seen": True}


def test_express_carries_it_along_through_saves_and_touches(pair: Pair, browser: Browser):
    begun = own(pair, browser.visit(pair.python, ["set", ["user"], "ann"]))
    assert set(begun) == {"v", "created", "lifetime", "write"}
    for operations in ([], [["set", ["n"], 1]], [["touch"], ["save"]], [["delete", ["user"]]]):
        assert own(pair, browser.visit(pair.express, *operations)) == begun


def test_the_owner_and_the_time_of_the_login_outlive_saves_by_express(pair: Pair, browser: Browser):
    login = browser.visit(pair.python, ["login", "ann"], ["set", ["n"], 1])
    before = pair.row(login)
    seen = browser.visit(pair.express, ["set", ["n"], 2])
    assert seen.id == login.id
    after = pair.row(seen)
    assert after.tree[OWN] == before.tree[OWN]
    assert after.rest.get("owner") == before.rest.get("owner")
    back = browser.visit(pair.python, ["set", ["n"], 3])
    assert back.seen["owner"] == "ann"
    assert {name: own(pair, back)[name] for name in ("owner", "auth", "created")} == {
        name: before.tree[OWN][name] for name in ("owner", "auth", "created")
    }


def test_a_read_by_python_puts_it_into_no_session_of_express(pair: Pair, browser: Browser):
    begun = browser.visit(pair.express, ["set", ["user"], "ann"])
    before = pair.row(begun)
    browser.visit(pair.python)
    assert pair.row(begun).session == before.session
    browser.visit(pair.python, ["set", ["n"], 1])
    assert set(own(pair, begun)) == {"v", "created", "lifetime", "write"}


def test_a_session_that_express_begins_anew_has_none_and_needs_none(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["login", "ann"], ["set", ["n"], 1])
    moved = browser.visit(pair.express, ["regenerate"], ["set", ["user"], "bob"])
    assert own(pair, moved) is None
    seen = browser.visit(pair.python)
    assert (seen.data, seen.seen["owner"]) == ({"user": "bob"}, None)


def test_an_express_app_may_throw_it_away(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["login", "ann"], ["set", ["n"], 1])
    browser.visit(pair.express, ["delete", [OWN]])
    seen = browser.visit(pair.python, ["set", ["m"], 2])
    assert (seen.data, seen.seen["owner"]) == ({"n": 1, "m": 2}, None)


# Lifetimes of one session alone.


@pytest.mark.parametrize("change", ["with data", "alone"])
def test_a_lifetime_that_python_gives_a_session_is_kept_by_express(pair: Pair, browser: Browser, change: str):
    browser.visit(pair.python, ["set", ["user"], "ann"])
    seen = browser.visit(
        pair.python, ["cookie", {"max_age": 600}], *([["set", ["n"], 1]] if change == "with data" else [])
    )
    assert seen.set_cookies
    assert 595 < pair.row(seen).left <= 601
    for operations in ([], [["set", ["n"], 2]]):
        pair.rows.expire_in(seen.id, 100)
        back = browser.visit(pair.express, *operations)
        assert back.seen["cookie"]["originalMaxAge"] == 600_000
        if operations or pair.peer.touches:
            assert 595 < pair.row(seen).left <= 601
    pair.rows.expire_in(seen.id, 100)
    lifetime = browser.visit(pair.python).seen["cookie"]["originalMaxAge"]
    assert lifetime == pytest.approx(600, abs=0.01)  # Express's clock may have moved on between two of its looks
    assert 595 < pair.row(seen).left <= 601


@pytest.mark.parametrize("change", ["with data", "alone"])
@pytest.mark.parametrize("begun_by", ["express", "python"])
def test_a_lifetime_that_express_gives_a_session_is_kept_by_python(
    pair: Pair, browser: Browser, begun_by: str, change: str
):
    browser.visit(pair[begun_by], ["set", ["user"], "ann"])
    saved = [["set", ["n"], 1]] if change == "with data" else [["save"]]  # contract 70
    seen = browser.visit(pair.express, ["cookie", {"maxAge": 600_000}], *saved)
    assert 595 < pair.row(seen).left <= 601
    for operations in ([], [["set", ["n"], 2]]):
        pair.rows.expire_in(seen.id, 100)
        browser.visit(pair.python, *operations)
        assert 595 < pair.row(seen).left <= 601
    lifetime = browser.visit(pair.express).seen["cookie"]["originalMaxAge"]
    assert 599_900 <= lifetime <= 600_000  # contract 135: what remains when it is set


# Tagged values.

TAGGED: Final = {
    "datetime(2026, 1, 2, 3, 4, 5, 6, UTC)": {"$datetime": "2026-01-02T03:04:05.000006+00:00"},
    "datetime(2026, 1, 2, fold=1)": {"$datetime": ["2026-01-02T00:00:00", 1]},
    "date(2026, 1, 2)": {"$date": "2026-01-02"},
    "timedelta(days=1, microseconds=1)": {"$timedelta": 86_400_000_001},
    "UUID(int=5)": {"$uuid": "00000000-0000-0000-0000-000000000005"},
    "b'\\0\\xff'": {"$bytes": "AP8="},
    "Decimal('19.90')": {"$decimal": "19.90"},
    "{3, 1}": {"$set": [1, 3]},
    "frozenset({1})": {"$frozenset": [1]},
    "(1, (2, date(2026, 1, 2)))": {"$tuple": [1, {"$tuple": [2, {"$date": "2026-01-02"}]}]},
    "{'$set': {'$date': 'x'}}": {"$dict": {"$set": {"$dict": {"$date": "x"}}}},
    "[{'a': [date(2026, 1, 2)]}]": [{"a": [{"$date": "2026-01-02"}]}],
}
"""Values of Python, and what Express sees of them."""


def test_tagged_values_are_plain_objects_to_express_and_come_back_as_they_were(
    peer: Peer, colour: str, world: World, browser: Browser
):
    pair = world.pair(peer, colour, python={"codec": "json"})
    sources = list(TAGGED)
    expected = dict(zip(map(str, range(len(sources))), TAGGED.values(), strict=True))
    browser.visit(pair.python, *(["python", [f"v{n}"], source] for n, source in enumerate(sources)))
    there = browser.visit(pair.express, *(["same", [f"v{n}"], tag] for n, tag in expected.items()), ["set", ["n"], 1])
    assert there.answers[: len(sources)] == [True] * len(sources)
    back = browser.visit(pair.python, *(["is_python", [f"v{n}"], source] for n, source in enumerate(sources)))
    assert back.answers[: len(sources)] == [True] * len(sources)
    assert back.data["n"] == 1


def test_express_may_write_tagged_values_itself(peer: Peer, colour: str, world: World, browser: Browser):
    pair = world.pair(peer, colour, python={"codec": "json"})
    browser.visit(pair.express, ["set", ["at"], {"$date": "2026-01-02"}], ["set", ["not"], {"$date": "x"}])
    seen = browser.visit(
        pair.python, ["is_python", ["at"], "date(2026, 1, 2)"], ["same", ["not"], {"$date": "x"}], ["set", ["n"], 1]
    )
    assert seen.answers[:2] == [True, True]
    assert browser.visit(pair.express, ["same", ["at"], {"$date": "2026-01-02"}]).answers[0] is True


def test_a_python_app_with_plain_json_reads_tags_as_the_objects_they_are(
    pair: Pair, colour: str, world: World, browser: Browser
):
    tagging = world.python(pair.peer, colour, codec="json")
    browser.visit(tagging, ["python", ["at"], "date(2026, 1, 2)"])
    assert browser.visit(pair.python, ["set", ["n"], 1]).data == {"at": {"$date": "2026-01-02"}, "n": 1}
    assert browser.visit(tagging, ["is_python", ["at"], "date(2026, 1, 2)"]).answers[0] is True


def test_a_reserved_key_that_was_tampered_with_is_an_unreadable_session_here_alone(
    pair: Pair, colour: str, world: World, browser: Browser
):
    session = browser.visit(pair.python, ["set", ["user"], "ann"]).id
    browser.visit(pair.express, ["set", [OWN], {"v": 1, "created": "yesterday"}])
    world.logged(colour)
    assert browser.visit(pair.python).data == {}
    (line,) = world.logged(colour)
    assert "reserved part is malformed" in line
    assert session not in line
    assert json.dumps(browser.visit(pair.express).data) == '{"user": "ann"}'
