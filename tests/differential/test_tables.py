"""The tables are whole: every line of the contract is covered or has a reason, every exemption is used and shown."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from tests.differential import model, operations
from tests.differential.exemptions import EXEMPTIONS, OURS, SAME, UNLISTED
from tests.differential.model import ALL
from tests.differential.test_written import ALL_WRITTEN
from tests.differential.written import Written, lines_in
from tests.test_docs import ROOT, rows

LAST = 191

NOT_VISIBLE = {
    2: "a warning on the console of a production server",
    37: "in which time a comparison is done",
    45: "an error code by which Node's stores say that there is no record; here the answer is None",
    52: "an exception thrown instead of passed on by a Node store",
    171: "Node's end() called twice; ASGI and WSGI have no such call",
    173: "as 171, with a header set in between",
    174: "patches of Node's response",
    177: "whether a Node store calls back at once or later",
    178: "through which call Node's headers are flushed",
    181: "methods of the store that the middleware never calls",
    183: "the base class of Node's stores",
    186: "what the store's own all() is; tests/behaviour/test_store.py",
    187: "what the store's own get() answers; tests/stores",
    188: "on which tick a Node store calls back",
}

WRITTEN_LINES = {line for one in ALL_WRITTEN for line in lines_in(one.lines)}
TESTED_LINES = {
    int(line)
    for path in Path(__file__).parent.glob("test_*.py")
    for listed in re.findall(r"^# contract ([\d, ]+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    for line in listed.split(", ")
}


@pytest.mark.parametrize("line", range(1, LAST + 1))
def test_every_line_has_a_scenario_or_a_reason_not_to_have_one(line: int) -> None:
    assert (line in WRITTEN_LINES | TESTED_LINES) is not (line in NOT_VISIBLE)


def test_the_exemptions_are_those_of_the_contract_one_for_one() -> None:
    assert tuple(one.lines for one in EXEMPTIONS) == OURS
    assert not set(OURS) & set(SAME)
    table = rows("docs/express-contract.md", "Where Sojourn differs")
    assert tuple(lines for lines, *_, profile in table if profile.startswith("Sojourn")) == OURS
    assert {lines for lines, *_, profile in table if not profile.startswith("Sojourn")} <= set(SAME)


def test_the_lines_of_the_contract_are_numbered_without_a_gap() -> None:
    text = (ROOT / "docs" / "express-contract.md").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)] == list(range(1, 213))


def test_the_model_asks_for_each_exemption_that_it_knows_and_for_no_other() -> None:
    asked = set()
    for module in (model, operations):
        asked |= set(re.findall(r'differs\(\s*"([\d, -]+)"\s*\)', inspect.getsource(module)))
    assert asked == ALL


@pytest.mark.parametrize("lines", sorted(ALL - {"101"}))
def test_each_exemption_of_the_model_decides_a_scenario_that_was_written_for_it(lines: str) -> None:
    assert any(lines in one.exempt for one in ALL_WRITTEN)


@pytest.mark.parametrize(
    "exemption", [one for one in (*EXEMPTIONS, *UNLISTED) if not one.modelled], ids=lambda one: one.lines
)
def test_what_the_model_does_not_know_is_shown_by_a_scenario_or_by_none_at_all(exemption) -> None:
    shown = any(callable(one.ours) and lines_in(one.lines) & lines_in(exemption.lines) for one in ALL_WRITTEN)
    assert shown is (exemption.when != "-")


@pytest.mark.parametrize("written", [one for one in ALL_WRITTEN if callable(one.ours)], ids=lambda one: one.title)
def test_what_is_expected_of_us_apart_has_an_exemption_or_a_note(written: Written) -> None:
    assert written.differences
