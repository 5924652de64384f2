"""Hold the package to its coverage. Run as ``python -m scripts.coverage_gate coverage.json`` after ``coverage json``.

- In the core (see `scripts.floors`) every line and every branch is covered, and no pragma is allowed.
- Elsewhere every line is covered, or excluded by ``# pragma: no cover - <reason>``.
- A pragma without a reason is refused everywhere, and so is a module that coverage did not see.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from scripts.floors import CORE, sources

__all__ = ["check", "main"]

_PRAGMA: Final = re.compile(r"#\s*pragma[:\s]?\s*no\s*(?:cover|branch)(?P<rest>.*)", re.IGNORECASE)
_REASON: Final = re.compile(r" - \w+\W+\w+")  # one word is no reason


def _pragmas(source: str) -> Iterator[tuple[int, bool]]:
    """The line of each pragma, and whether it gives a reason."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (found := _PRAGMA.search(token.string)):
            yield token.start[0], bool(_REASON.match(found["rest"]))


def _ranges(lines: Iterable[int]) -> Iterator[str]:
    """Ascending line numbers as runs: 3, 5-8."""
    for _, run in itertools.groupby(enumerate(lines), lambda pair: pair[1] - pair[0]):
        first, *rest = [line for _, line in run]
        yield f"{first}-{rest[-1]}" if rest else f"{first}"


def check(modules: Mapping[str, Path], files: Mapping[Path, Mapping[str, Any]]) -> Iterator[str]:
    """One line of text for each thing that is wrong.

    ``modules`` maps module names to files, ``files`` the same files to their entries in coverage's JSON report.
    """
    for name, path in modules.items():
        core = name in CORE or name.partition(".")[0] in CORE
        source = path.read_text(encoding="utf-8")
        for line, reasoned in _pragmas(source):
            if core:
                yield f"{path}:{line}: the core takes no pragma"
            elif not reasoned:
                yield f"{path}:{line}: a pragma needs its reason: # pragma: no cover - <reason>"
        if (entry := files.get(path)) is None:
            if source.strip():
                yield f"{path}: not measured at all"
            continue
        if missing := entry["missing_lines"]:
            yield f"{path}:{missing[0]}: never run: {', '.join(_ranges(missing))}"
        for start, end in entry.get("missing_branches", ()) if core else ():
            yield f"{path}:{start}: never goes to {'the exit' if end < 0 else f'line {end}'}"


def main(argv: list[str]) -> int:
    report = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    if not report["meta"]["branch_coverage"]:
        print("coverage gate: branches were not measured")
        return 1
    wrong = list(check(sources(), {Path(name).resolve(): entry for name, entry in report["files"].items()}))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    totals = report["totals"]
    print(
        f"coverage gate: {'refused' if wrong else 'passed'}; {totals['covered_lines']} of {totals['num_statements']} lines,"
        f" {totals['covered_branches']} of {totals['num_branches']} branches, {totals['excluded_lines']} lines excluded,"
        f" {len(wrong)} complaints"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
