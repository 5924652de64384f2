"""What sessions add to a request end to end, in instructions: the servers of `served`, run by Valgrind, which counts what they execute.

The figures are steady to a hundredth or so, on a busy machine too. They leave out the kernel's work, and what a processor's caches make
of it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.in_process import CASES
from benchmarks.measure import Figure
from benchmarks.served import PATIENCE, PYTHON, SYSTEMS, LeftOut, Server, System, page, redis, serving

AT_ONCE = 4
CALLS = 5
"""Requests on each connection in one slice; each takes some fifty times as long as it would otherwise."""
ROUNDS = 3


async def _control(pid: int, argument: str) -> None:
    command = ["callgrind_control", argument, str(pid)]
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=nowhere, stderr=nowhere)
    if await asyncio.wait_for(process.wait(), PATIENCE):
        raise RuntimeError(f"{' '.join(command)} has failed")


@asynccontextmanager
async def _counting(system: System, url: str | None) -> AsyncIterator[tuple[Server, Callable[[], Awaitable[int]]]]:
    """The system's server under Valgrind, and how many instructions it executed since that was last asked."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "counts"
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={file}"]
        async with serving(system, url, valgrind) as server:
            asked = 0

            async def count() -> int:
                nonlocal asked
                asked += 1
                await _control(server.pid, "--dump")
                found = re.search(r"^totals: (\d+)$", file.with_name(f"counts.{asked}").read_text(), re.MULTILINE)
                return int(found[1]) if found else 0

            yield server, count


async def _measure(system: System, url: str | None) -> dict[str, Figure]:
    """Thousands of instructions of a request, by case."""
    counted: dict[str, list[float]] = {case: [] for case in CASES}
    async with _counting(system, url) as (server, count):
        await server.connect(AT_ONCE, bare=system.app == "bare")
        for case in CASES:
            await server.ask(case, system.runtime.warm)
        await _control(server.pid, "--instr=on")
        for _ in range(ROUNDS):
            for case, counts in counted.items():
                await server.ask(case, 1)
                await count()
                await server.ask(case, CALLS)
                counts.append(await count() / 1000 / CALLS / AT_ONCE)
    return {case: Figure(tuple(counts)) for case, counts in counted.items()}


async def instructions() -> str:
    """Instructions added per request, of the systems in Python."""
    if shutil.which("valgrind") is None:
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
