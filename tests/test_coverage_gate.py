"""The coverage gate refuses what it should (see `scripts.coverage_gate`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.coverage_gate import check

COVERED: dict[str, Any] = {"missing_lines": [], "missing_branches": []}


def gate(folder: Path, name: str, source: str, entry: dict[str, Any] | None) -> list[str]:
    path = folder / "module.py"
    path.write_text(source)
    wrong = check({name: path}, {} if entry is None else {path: entry})
    return [line.removeprefix(str(path)) for line in wrong]


@pytest.mark.parametrize("name", ["core.policy", "stores.redis"])
def test_covered_modules_pass(tmp_path: Path, name: str) -> None:
    assert gate(tmp_path, name, "x = 1\n", COVERED) == []


@pytest.mark.parametrize("name", ["core.policy", "stores.redis"])
def test_a_line_that_never_ran_is_refused_on_every_floor(tmp_path: Path, name: str) -> None:
    assert gate(tmp_path, name, "x = 1\n", COVERED | {"missing_lines": [1, 3, 4, 5]}) == [":1: never run: 1, 3-5"]


@pytest.mark.parametrize("name", ["core.policy", "stores.redis"])
def test_a_module_that_was_not_measured_is_refused(tmp_path: Path, name: str) -> None:
    assert gate(tmp_path, name, "x = 1\n", None) == [": not measured at all"]


def test_a_branch_never_taken_is_refused_in_the_core_alone(tmp_path: Path) -> None:
    entry = COVERED | {"missing_branches": [[1, -1], [1, 2]]}
    assert gate(tmp_path, "core.policy", "x = 1\n", entry) == [":1: never goes to the exit", ":1: never goes to line 2"]
    assert gate(tmp_path, "asgi", "x = 1\n", entry) == []


@pytest.mark.parametrize(
    "comment", ["# pragma: no cover", "# pragma: no cover - why", "#pragma no branch", "# pragma: no cover why not"]
)
def test_a_pragma_without_a_reason_is_refused(tmp_path: Path, comment: str) -> None:
    assert gate(tmp_path, "asgi", f"x = 1  {comment}\n", COVERED) == [
        ":1: a pragma needs its reason: # pragma: no cover - <reason>"
    ]


def test_a_pragma_with_a_reason_passes_outside_the_core_alone(tmp_path: Path) -> None:
    source = "x = 1  # pragma: no cover - only where the server has no clock\ny = '# pragma: no cover'\n"
    assert gate(tmp_path, "asgi", source, COVERED) == []
    assert gate(tmp_path, "core.policy", source, COVERED) == [":1: the core takes no pragma"]
