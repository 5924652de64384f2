"""What sessions add to a request end to end, in instructions: the servers of `served`, run by Valgrind, which counts what they execute.

The figures are steady to a hundredth or so, on a busy machine too. They leave out the kernel's work, and what a processor's caches make
of it.
"""

from __future__ import annotations

from benchmarks.callgrind import counter, is_installed
from benchmarks.measure import Figure, LeftOut
from benchmarks.served import PYTHON, SYSTEMS, System, page, redis, serving
from benchmarks.workload import CASES

AT_ONCE = 4
CALLS = 5
"""Requests on each connection in one slice; each takes some fifty times as long as it would otherwise."""
ROUNDS = 3


async def _measure(system: System, url: str | None) -> dict[str, Figure]:
    """Thousands of instructions of a request, by case."""
    counted: dict[str, list[float]] = {case: [] for case in CASES}
    with counter() as executed:
        async with serving(system, url, executed.under) as server:
            await server.connect(AT_ONCE, bare=system.app == "bare")
            for case in CASES:
                await server.ask(case, system.runtime.warm)
            await executed.begin(server.pid)
            for _ in range(ROUNDS):
                for case, counts in counted.items():
                    await server.ask(case, 1)
                    await executed.count()
                    await server.ask(case, CALLS)
                    counts.append(await executed.count() / 1000 / CALLS / AT_ONCE)
    return {case: Figure(tuple(counts)) for case, counts in counted.items()}


async def instructions() -> str:
    """Instructions added per request, of the systems in Python."""
    if not is_installed():
        return "left out: instructions end to end (valgrind is not installed)"
    figures: dict[tuple[str, str], Figure] = {}
    with redis() as url:
        for name, system in SYSTEMS.items():
            if system.runtime is PYTHON:
                try:
                    figures |= {(name, case): figure for case, figure in (await _measure(system, url)).items()}
                except LeftOut as reason:
                    print(f"left out: {name} ({reason})")
    return page(f"thousands of instructions added per request, {AT_ONCE} at once", figures, differences=False)
