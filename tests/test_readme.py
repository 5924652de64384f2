"""What the README says of the options."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from sojourn.options import Options

README = Path(__file__).parent.parent / "README.md"
UNTOLD = {"clock", "profile"}  # for tests, and set by `express()`


def test_the_table_of_options_names_them_all_and_no_others():
    section = README.read_text(encoding="utf-8").partition("\n## Options\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted({field.name for field in fields(Options) if field.init} - UNTOLD)
