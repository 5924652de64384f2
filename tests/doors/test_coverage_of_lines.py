"""Every line of the frameworks' contracts (docs/frameworks/*-contract.md) is named by a test here, or has no counterpart."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

DOORS = Path(__file__).parent
DOCS = DOORS.parent.parent / "docs" / "frameworks"

NO_COUNTERPART: dict[str, dict[int, str]] = {
    "starlette": {
        31: "fastapi-users keeps its state in a signed token and its logins in a table of its own: there is no session to keep",
    },
    "flask": {
        34: "Flask 3.2 is not released, so the tests cannot ask for it; what it changed was tried on its main branch",
    },
    "aiohttp": {
        5: "where aiohttp-session's storages keep their records is theirs; those in Redis are read by `sojourn migrate`, which has its tests",
        6: "a session is made by the middleware alone, so that there is no constructor to call",
    },
    "django": {},
    "litestar": {
        11: "ours never write to Litestar's stores; that `sojourn migrate` reads them is tested with the tools",
    },
    "quart": {
        19: "quart-auth's cookie is its own, and no session; the documentation says what to use",
        21: "quart-trio is another distribution; that a network store refuses trio, and SQLite and memory serve, is tested with the stores",
    },
    "pyramid": {
        24: "pyramid_session_redis is not installed with the tests; that its visitors are taken over as the page says was tried by hand with 1.8.1",
        25: "these two are not installed with the tests; that ours has none of these faults the tests of lines 7, 8 and 11 say",
    },
    "others": {},
}
"""By framework: the lines that no test can name, and why."""


@cache
def named(framework: str) -> dict[int, set[str]]:
    """Which files name a line, as in ``# starlette contract 5, 7-9``."""
    found: dict[int, set[str]] = {}
    for path in sorted(DOORS.glob("test_*.py")):
        for listed in re.findall(
            rf"^ *# {framework} contract (\d[\d, -]*)$", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            for part in re.split(r",\s*", listed.strip()):
                first, _, last = part.partition("-")
                for line in range(int(first), int(last or first) + 1):
                    found.setdefault(line, set()).add(path.name)
    return found


def lines(framework: str) -> list[int]:
    text = (DOCS / f"{framework}-contract.md").read_text(encoding="utf-8")
    return [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]


LINES = [(framework, line) for framework in NO_COUNTERPART for line in lines(framework)]


@pytest.mark.parametrize(("framework", "line"), LINES)
def test_every_line_is_named_by_a_test_or_has_a_reason_not_to_be(framework: str, line: int) -> None:
    assert (line in named(framework)) is not (line in NO_COUNTERPART[framework])


@pytest.mark.parametrize("framework", NO_COUNTERPART)
def test_the_lines_are_numbered_and_no_other_is_named(framework: str) -> None:
    numbers = lines(framework)
    assert numbers == list(range(1, len(numbers) + 1)) and set(named(framework)) <= set(numbers)
