"""What our modules cost to import, beyond the interpreter's own start and beside what they import."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.measure import table

_MEASURE = "import sys, time; {}before = time.process_time(); import {}; print((time.process_time() - before) * 1000)"
_ALONE = "sys.modules['typing_extensions'] = None; "
"""As where Sojourn alone is installed: msgspec imports typing_extensions where it is there, and needs it not."""
_REDIS = "redis.asyncio"
_START = "sojourn.asgi, sojourn.stores; sojourn.stores.AsyncRedisStore.from_url('redis://')"
ROUNDS = 15
TARGETS = {"sojourn": 50, "sojourn.wsgi": 45, "sojourn.asgi": 60}
"""Milliseconds of a machine on which asyncio takes 32."""
MODULES = "json", "asyncio", "msgspec", *TARGETS, _REDIS, _START


def imports() -> str:
    """Milliseconds of CPU per import, of fresh interpreters whose bytecode is compiled already."""
    taken: dict[tuple[str, str], list[float]] = {(module, hides): [] for module in MODULES for hides in (_ALONE, "")}
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for is_warm in [False, *[True] * ROUNDS]:
            for (module, hides), figures in taken.items():
                command = [sys.executable, "-c", _MEASURE.format(hides, module)]
                printed = subprocess.run(command, capture_output=True, check=True, env=environ).stdout
                if is_warm:
                    figures.append(float(printed))
    least = {run: min(figures) for run, figures in taken.items()}
    rows = [
        [
            f"`import {module}`",
            *(f"{statistics.median(taken[module, hides]):.1f}, {least[module, hides]:.1f}" for hides in (_ALONE, "")),
        ]
        for module in MODULES
    ]
    shares = [
        [
            f"`{module}`, to `asyncio`",
            f"{target / 32:.2f}",
            *(f"{least[module, hides] / least['asyncio', hides]:.2f}" for hides in (_ALONE, "")),
        ]
        for module, target in TARGETS.items()
    ]
    start = [
        f"{(least[_START, hides] - least['sojourn.asgi', hides]) / least[_REDIS, hides]:.2f}" for hides in (_ALONE, "")
    ]
    shares.append(["a start with `redis://` beyond `sojourn.asgi`, to `redis.asyncio`", "1.00", *start])
    installed = ["Sojourn alone is installed", "typing_extensions, too"]
    return "\n\n".join(
        [
            "### Imports: milliseconds of CPU, median and least",
            table(["", *installed], rows),
            "The targets are milliseconds of a machine on which asyncio takes 32:",
            table(["ratio of the least", "target, at most", *installed], shares),
        ]
    )
