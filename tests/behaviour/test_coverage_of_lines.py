"""Every line of the Express contract (docs/express-contract.md, sections 1 to 15) is named by a test here, or has no counterpart."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

LAST = 191

NO_COUNTERPART = {
    37: "constant-time comparison cannot be seen from outside; `sojourn.wire.signing` uses hmac.compare_digest and has its own tests",
    45: "missing is an answer of the store (None), not an error with a code",
    168: "Node mechanics: how the last byte is held back; here the save lands before any byte (test_ending_the_response.py)",
    169: "Node mechanics: as 168, for chunked bodies",
    171: "neither ASGI nor WSGI has an end call; what an app sends beyond its end is between it and the server",
    173: "Node mechanics: neither ASGI nor WSGI has an end call that could be repeated with headers set in between",
    174: "Node mechanics: nothing is patched",
    178: "Node mechanics: which of two calls writes the status line",
    188: "Node mechanics: on which tick a store calls back",
}


@cache
def named() -> dict[int, set[str]]:
    """Which files name a line, as in ``# contract 5, 7-9``."""
    found: dict[int, set[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for listed in re.findall(r"# contract (\d[\d, -]*)", path.read_text(encoding="utf-8")):
            for part in re.split(r",\s*", listed.strip().rstrip(",")):
                first, _, last = part.partition("-")
                for line in range(int(first), int(last or first) + 1):
                    found.setdefault(line, set()).add(path.name)
    return found


@pytest.mark.parametrize("line", range(1, LAST + 1))
def test_every_line_is_named_by_a_test_or_has_a_reason_not_to_be(line: int) -> None:
    assert (line in named()) is not (line in NO_COUNTERPART)


def test_no_line_is_named_that_there_is_not() -> None:
    assert set(named()) <= set(range(1, LAST + 1))
