"""What one side leaves in the store is what the other would have left, but for the reserved key, the id and the time."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pytest

from tests.interop.peers import Peer, Row
from tests.interop.sites import Pair, World

pytestmark = [pytest.mark.server, pytest.mark.express]

SLACK: Final = 5
"""Seconds between the two runs."""
DRIFT: Final = 100
"""Milliseconds that Express's clock goes on between an assignment to ``maxAge`` and the save (contract 135)."""

_OWN: Final = re.compile(r',"__sojourn__":\{[^}]*\}')
_EXPIRES: Final = re.compile(r'(?<="expires":")[^"]*(?=")')
_LIFETIME: Final = re.compile(r'(?<="originalMaxAge":)\d+')
_VALUE: Final = re.compile(r"(?<==)s%3A[^;]*|(?<=Expires=)[^;]*")
_CONTROLS: Final = "".join(map(chr, range(32))) + '"\\/\x7f\u2028é😀'


class Left(NamedTuple):
    """A row, with what may differ apart."""

    session: Any
    """The JSON text, or the document as pairs of names and values with their types."""
    expires: datetime | None
    """``cookie.expires``."""
    lifetime: float
    """``cookie.originalMaxAge``, or 0."""
    left: float
    rest: dict[str, str]
    """What else is in the row, and of which type."""


def left(row: Row) -> Left:
    """A row without the reserved key."""
    rest = {name: type(value).__name__ for name, value in row.rest.items()}
    cookie = row.tree["cookie"]
    lifetime = cookie["originalMaxAge"] or 0
    if isinstance(row.session, str):
        text = _LIFETIME.sub("0", _EXPIRES.sub("", _OWN.sub("", row.session)))
        expires = cookie["expires"] and datetime.fromisoformat(cookie["expires"])
        return Left(text, expires, lifetime, row.left, rest)
    tree = {name: value for name, value in row.session.items() if name != "__sojourn__"}
    expires = cookie["expires"] and cookie["expires"].replace(tzinfo=UTC)
    tree["cookie"] = cookie | {"expires": expires and "a date", "originalMaxAge": type(cookie["originalMaxAge"])}
    return Left(typed(tree), expires, lifetime, row.left, rest)


def typed(value: Any) -> Any:
    """A value with BSON's type at every level, and the order of names."""
    if isinstance(value, dict):
        return [(name, typed(item)) for name, item in value.items()]
    if isinstance(value, list):
        return ["list", *map(typed, value)]
    return type(value).__name__, value


# Options of the cookie: express-session's, and ours.
COOKIES: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "default": ({}, {}),
    "lifetime": ({"cookie": {"maxAge": 3_600_000}}, {"cookie": {"max_age": 3600}}),
    "all attributes": (
        {
            "cookie": {
                "maxAge": 3_600_500, "httpOnly": False, "sameSite": "strict", "priority": "high", "domain": "example.test",
                "path": "/", "partitioned": True, "secure": True,
            },
            "proxy": True,
        },
        {
            "cookie": {
                "max_age": 3600.5, "httponly": False, "samesite": "strict", "priority": "high", "domain": "example.test",
                "path": "/", "partitioned": True, "secure": True,
            },
            "trust_proxy": True,
        },
    ),
    "automatic": (
        {"cookie": {"secure": "auto", "sameSite": "auto"}, "proxy": True},
        {"cookie": {"secure": "auto", "samesite": "auto"}, "trust_proxy": True},
    ),
    "rolling": ({"cookie": {"maxAge": 60_000}, "rolling": True}, {"cookie": {"max_age": 60}, "rolling": True}),
}  # fmt: skip

BEGIN: Final[list[list[Any]]] = [["set", ["user"], "ann"], ["set", ["n"], 1], ["set", ["cart"], []]]
# One list of operations for each request.
SEQUENCES: Final[dict[str, list[list[list[Any]]]]] = {
    "created": [BEGIN],
    "changed": [BEGIN, [["set", ["cart"], [{"id": 1, "price": 9.99}, {"id": 5_000_000_000}]], ["set", ["n"], 2]], []],
    "emptied": [BEGIN, [["delete", ["user"]], ["delete", ["n"]], ["delete", ["cart"]]]],
    "read": [BEGIN, [], []],
    "touched": [BEGIN, [["touch"]]],
    "saved in the midst": [[*BEGIN, ["save"], ["set", ["n"], 2]], [["set", ["n"], 3], ["save"]]],
    "regenerated": [BEGIN, [["regenerate"], ["set", ["more"], []]], [["append", ["more"], 1]]],
    "unset": [BEGIN, [["set", ["n"], 2], ["unset"]]],
    "text": [[["set", ["v"], [_CONTROLS, {_CONTROLS.replace("\0", ""): ""}]]]],
    "values": [[["set", ["v"], [None, True, 0, -1, 2**31, 2**53 - 1, -0.5, 1.5, {}, [], "", {"cookie": {}}]]]],
}


MOST: Final = frozenset({"created", "changed", "regenerated", "touched", "saved in the midst"})
FEW: Final = frozenset({"created", "regenerated"})
DONE: Final = {"default": frozenset(SEQUENCES), "lifetime": MOST}
"""What is done with which cookie; with the others, few."""


class Done(NamedTuple):
    """What came of a sequence."""

    row: Left
    cookies: list[list[str]]
    """The Set-Cookie headers of each response, without ids and dates."""
    expiries: list[datetime]
    """The dates in them."""


def done(pair: Pair, world: World, side: str, sequence: list[list[list[Any]]], *, https: bool) -> Done:
    """Carry a sequence out, wholly on one side."""
    cookies, expiries, held = [], [], ""
    for operations in sequence:
        headers = {"X-Forwarded-Proto": "https" if https else "http", "Cookie": held}
        seen = world.browser().visit(pair[side], *operations, headers=headers)
        for cookie in seen.set_cookies:
            held = cookie.partition(";")[0]  # whatever its attributes say
            expiries += [datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
                         for date in re.findall(r"Expires=([^;]*)", cookie)]  # fmt: skip
        cookies.append([_VALUE.sub("", cookie) for cookie in seen.set_cookies])
    session = re.search(r"s%3A(.*?)\.", held)
    assert session
    row = pair.rows.read(session[1])
    assert row is not None
    return Done(left(row), cookies, expiries)


def assert_alike(ours: Done, theirs: Done) -> None:
    assert ours.row.session == theirs.row.session
    assert ours.row.rest == theirs.row.rest
    assert abs(ours.row.left - theirs.row.left) < SLACK
    assert abs(ours.row.lifetime - theirs.row.lifetime) < DRIFT
    assert (ours.row.expires is None) is (theirs.row.expires is None)
    if ours.row.expires and theirs.row.expires:
        assert abs((ours.row.expires - theirs.row.expires).total_seconds()) < SLACK
    assert ours.cookies == theirs.cookies
    for our, their in zip(ours.expiries, theirs.expiries, strict=True):
        assert abs((our - their).total_seconds()) < SLACK


@pytest.mark.parametrize("cookie", COOKIES)
def test_the_same_done_by_either_side_leaves_the_same_row_and_the_same_cookies(
    cookie: str, peer: Peer, colour: str, world: World
):
    node, python = COOKIES[cookie]
    pair = world.pair(peer, colour, node=node, python=python)
    https = "proxy" in node
    left_out = set() if peer.touches else {"touched"}  # contract 199
    for name in sorted(DONE.get(cookie, FEW) - left_out):
        sequence = SEQUENCES[name]
        ours, theirs = (done(pair, world, side, sequence, https=https) for side in ("python", "express"))
        assert_alike(ours, theirs)


def test_numbers_that_javascript_spells_in_another_way_are_the_same_numbers(pair: Pair, world: World):
    numbers = [1.0, 1e6, 1e16, 1e21, 1e300, 1e-7, 1e-6, -2.5e-9]
    ours, theirs = (
        done(pair, world, side, [[["set", ["v"], numbers]]], https=False).row.session for side in ("python", "express")
    )
    if not pair.peer.is_bson:  # in BSON it is all the same
        assert ours != theirs
        ours, theirs = json.loads(ours), json.loads(theirs)
        assert ours["v"] == numbers
    assert ours == theirs
