"""What our modules cost to import, beyond the interpreter's own start and beside what they import."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.measure import table

_MEASURE = "import time; before = time.process_time(); import {}; print((time.process_time() - before) * 1000)"
_REDIS = "redis.asyncio"
_START = "sojourn.asgi, sojourn.stores; sojourn.stores.AsyncRedisStore.from_url('redis://')"
ROUNDS = 15
TARGETS = {
    "json": "",
    "asyncio": "",
    "msgspec": "",
    "sojourn": "50",
    "sojourn.wsgi": "45",
    "sojourn.asgi": "60",
    _REDIS: "",
    _START: "",
}


def imports() -> str:
    """Milliseconds of CPU per import, of fresh interpreters whose bytecode is compiled already."""
    taken: dict[str, list[float]] = {module: [] for module in TARGETS}
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for is_warm in [False, *[True] * ROUNDS]:
            for module, figures in taken.items():
                command = [sys.executable, "-c", _MEASURE.format(module)]
                printed = subprocess.run(command, capture_output=True, check=True, env=environ).stdout
                if is_warm:
                    figures.append(float(printed))
    rows = [
        [f"`import {module}`", f"{statistics.median(figures):.1f}", f"{min(figures):.1f}", TARGETS[module]]
        for module, figures in taken.items()
    ]
    beyond = [min(taken[_START]) - min(taken["sojourn.asgi"]), min(taken[_REDIS]), min(taken["asyncio"])]
    shares = [
        ["a start with `redis://` beyond `sojourn.asgi`, to `redis.asyncio`", "1.00", f"{beyond[0] / beyond[1]:.2f}"],
        *(
            [f"`{module}`, to `asyncio`", f"{target:.2f}", f"{min(taken[module]) / beyond[2]:.2f}"]
            for module, target in (("sojourn.asgi", 60 / 32), ("sojourn.wsgi", 45 / 32))
        ),
    ]
    return "\n\n".join(
        [
            "### Imports: milliseconds of CPU",
            table(["", "median", "least", "target, at most"], rows),
            "The targets in milliseconds are those of a machine on which asyncio takes 32:",
            table(["ratio of the least", "target, at most", "figure"], shares),
        ]
    )
