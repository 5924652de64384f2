"""Hold the public names to complete types, as pyright counts them: ``python -m scripts.public_types``.

mypy checks that the code is right; this checks that a user's type checker knows the type of everything it can import,
without having to infer it. It fetches nothing: pyright comes inside its wheel, and so does its Node.js.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["REQUIRED", "check", "main"]

REQUIRED: Final = 1.0
"""The share of public names that must have a type without inference."""

_CONSEQUENCE: Final = "partially unknown"  # a name that mentions another of the list


def _report() -> Mapping[str, Any]:
    """What pyright says of the package as it is installed beside this interpreter."""
    # It asks the `python` on PATH where packages are. With --outputjson it does not look for a newer version of itself.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    command = [sys.executable, "-m", "pyright", "--verifytypes", "sojourn", "--ignoreexternal", "--outputjson"]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    try:
        report: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        sys.exit(f"public types: pyright failed: {done.stdout}{done.stderr}")
    return report


def check(report: Mapping[str, Any]) -> Iterator[str]:
    """One line for each name that lacks a type, but for those that only mention another such name."""
    for symbol in report["typeCompleteness"]["symbols"]:
        if symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]:
            continue
        told = [" ".join(one["message"].split()) for one in symbol["diagnostics"] if one["severity"] == "error"]
        causes = [one for one in told if _CONSEQUENCE not in one]
        if causes:
            yield f"{symbol['name']}: {'; '.join(causes)}"


def main() -> int:
    report = _report()
    completeness = report["typeCompleteness"]
    score, counts = completeness["completenessScore"], completeness["exportedSymbolCounts"]
    total = sum(counts.values())
    refused = total == 0 or score < REQUIRED
    complaints = [*(one["message"] for one in report["generalDiagnostics"]), *check(report)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    print(
        f"public types: {'refused' if refused else 'passed'}; {counts['withKnownType']} of {total} public names are"
        f" typed, {score:.1%} where {REQUIRED:.1%} is asked for"
    )
    return int(refused)


if __name__ == "__main__":
    sys.exit(main())
