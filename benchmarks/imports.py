"""What `import sojourn` costs beyond the interpreter's own start."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measure import table

_MEASURE = "import time; before = time.process_time(); import {}; print((time.process_time() - before) * 1000)"


def imports() -> str:
    """Milliseconds of CPU per import, medians of fresh interpreters."""
    rows = []
    for module, target in (("sojourn", "50"), ("sojourn.asgi", ""), ("sojourn.wsgi", ""), ("json", "")):
        taken = [
            float(
                subprocess.run([sys.executable, "-c", _MEASURE.format(module)], capture_output=True, check=True).stdout
            )
            for _ in range(9)
        ]
        rows.append([f"`import {module}`", f"{statistics.median(taken):.1f}", target])
    return "\n\n".join(["### Imports: milliseconds of CPU", table(["", "figure", "target, at most"], rows)])
