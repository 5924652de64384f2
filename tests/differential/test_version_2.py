"""``express(version=2)``: what the lines of the contract marked "v2:" say of the next major version.

Express 2 is not released. Where its changes are other defaults, 1.19 plays it with those given; where a line takes something
away, that is looked for.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.differential.compare import comparable, first_difference
from tests.differential.judge import ADAPTERS, REFUSED, Judge
from tests.differential.model import ALL, Model
from tests.differential.scenario import HOUR, Json, Request, Scenario
from tests.differential.written import READ, View, ask, inside, play, put

pytestmark = pytest.mark.express

DEFAULTS: Json = {"resave": False, "saveUninitialized": False, "unset": "destroy"}


def version_2(judge: Judge, options: Json, *requests: Request) -> View:
    """Express's outcome with the defaults of version 2 given; ours, with none of them given, is held against it."""
    given: Scenario = play(DEFAULTS | options, *requests)
    ours: Scenario = play(options, *requests, version=2)
    express = judge.express(given)
    assert first_difference(comparable(Model(given).outcome_of()), comparable(express)) is None
    full = Model(given, ALL)
    expected = comparable(full.outcome_of())
    for adapter in ADAPTERS:
        assert first_difference(expected, comparable(judge.ours(ours, adapter))) is None
    judge.count(frozenset(full.met))
    return View(express)


# 6. v2: throws at construction.
def test_no_secret_is_refused_at_construction(judge: Judge) -> None:
    for adapter in ADAPTERS:
        assert judge.ours(play({"secret": None}, ask(put()), version=2), adapter) == REFUSED


# 7, 38 to 41. v2: removed.
@pytest.mark.parametrize("parsed", [{"cookies": {"past": 0}}, {"signedCookies": {"past": 0}}])
def test_what_cookie_parser_puts_on_the_request_is_not_read(judge: Judge, parsed: Json) -> None:
    scenario = play({}, ask(put()), ask(READ, cookies=[], parsed=parsed), version=2)
    for adapter in ADAPTERS:
        assert View(judge.ours(scenario, adapter)).seen[1][0]["data"] == {}


# 12. v2: false.
def test_resave_is_off(judge: Judge) -> None:
    express = version_2(judge, {"cookie": {"maxAge": HOUR}}, ask(put()), ask(READ, inside(put("m"))))
    assert express.data == [{"n": 1, "m": 1}]


# 13. v2: false.
def test_save_uninitialized_is_off(judge: Judge) -> None:
    express = version_2(judge, {}, ask(), ask(READ))
    assert express.sent == [False, False] and express.stored == []


# 14. v2: destroy.
@pytest.mark.parametrize("how", ["null", "delete", "undefined"])
def test_unset_is_destroy(judge: Judge, how: str) -> None:
    express = version_2(judge, {}, ask(put()), ask(put("n", 2), ["unset", how]), ask(READ))
    assert express.stored == [] and express.seen[2][0]["data"] == {}


@pytest.mark.parametrize(("name", "given"), [("unset", "keep"), ("saveUninitialized", True), ("resave", True)])
def test_what_is_given_takes_the_place_of_the_default(judge: Judge, name: str, given: Any) -> None:
    assert len(version_2(judge, {name: given}, ask(put()), ask(["unset"])).stored) == (name == "unset")
    assert len(version_2(judge, {name: given}, ask()).stored) == (name == "saveUninitialized")


# 142. v2: cookie is expired.
def test_destroy_expires_the_cookie(judge: Judge) -> None:
    scenario = play({"cookie": {"path": "/app"}}, ask(put(), path="/app"), ask(["destroy"], path="/app"), version=2)
    expired = "connect.sid=~; Path=/app; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly"
    for adapter in ADAPTERS:
        assert View(judge.ours(scenario, adapter)).cookies[1] == expired


# 178, headers flushed through the public call, has no counterpart.


def test_all_else_is_as_in_version_1(judge: Judge) -> None:
    requests = (ask(put(), ["cookie", "maxAge", HOUR]), ask(["regenerate"], put("m")), ask(["save"], READ))
    for adapter in ADAPTERS:
        first = comparable(judge.ours(play({}, *requests), adapter))
        assert comparable(judge.ours(play({}, *requests, version=2), adapter)) == first
