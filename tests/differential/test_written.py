"""Scenarios written by hand, for every line of the contract that shows from outside."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

import sojourn
from sojourn import Cookie
from tests.differential.judge import Judge
from tests.differential.written import SAME, View, Written
from tests.differential.written_1_to_5 import WRITTEN as FIRST
from tests.differential.written_6_to_10 import WRITTEN as SECOND
from tests.differential.written_11_to_15 import WRITTEN as THIRD

pytestmark = pytest.mark.express

ALL_WRITTEN = tuple(chain(FIRST, SECOND, THIRD))


@pytest.mark.parametrize("written", [pytest.param(one, id=f"{one.lines}: {one.title}") for one in ALL_WRITTEN])
def test_express_shows_the_line_and_we_agree_or_differ_as_we_say(judge: Judge, written: Written) -> None:
    scenario = written.scenario
    if callable(written.ours):
        express = View(judge.express(scenario))
        assert written.express(express), express
        for adapter in written.adapters:
            ours = View(judge.ours(scenario, adapter))
            assert written.ours(ours), (adapter, ours)
        judge.count(written.differences)
        return
    verdict = (judge.alike_in if written.ours == SAME else judge.compare)(scenario, written.adapters)
    express = View(verdict.express)
    assert written.express(express), express
    for outcome in (express, *map(View, verdict.ours.values())):
        assert written.both(outcome), outcome
    assert verdict.exercised - {"101"} == set(written.exempt)


# contract 1
def test_both_show_their_parts(judge: Judge) -> None:
    assert {"Session", "Store", "MemoryStore", "Cookie"} <= set(judge.ask("shows"))
    assert {"Session", "AsyncSession", "Cookie"} <= set(sojourn.__all__)


# contract 121
@pytest.mark.parametrize("argument", [5, "x", True, "function"])
def test_a_cookie_is_made_of_nothing_or_a_mapping_or_keywords(judge: Judge, argument: Any) -> None:
    assert "refused" in judge.ask("cookie", argument)
    with pytest.raises(TypeError):
        Cookie(argument)  # type: ignore[call-arg]
    assert judge.ask("cookie", {"httpOnly": False})["httpOnly"] is Cookie(httponly=False).httponly is False
    assert judge.ask("cookie", None)["path"] == Cookie().path
