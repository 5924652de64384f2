"""What sessions add to a request in process, in instructions: the requests of `in_process`, counted by Valgrind.

What few of them take is taken off what many take, so that nothing but requests is left. As in `instructions`, the figures are steady to
a hundredth or so, on a busy machine too; so all contestants are counted at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from benchmarks.callgrind import PATIENCE, counter, is_installed
from benchmarks.contestants import COLUMNS, SOJOURN, SOJOURN_WSGI, STARLETTE, Column
from benchmarks.in_process import OVER, added, page
from benchmarks.measure import Figure, LeftOut, ratios, shown, table

COUNTED = (SOJOURN, SOJOURN_WSGI, STARLETTE)
FEW, MANY = 1, 11
"""Requests; each takes some fifty times as long as it would otherwise."""
ROUNDS = 3

Count: TypeAlias = Callable[[str, Column, int], Awaitable[int]]
"""Instructions of so many requests, to the contestant or to its handler alone, and of asking for them."""


@asynccontextmanager
async def _counting(name: str) -> AsyncIterator[Count]:
    """The contestant in a process of its own, under Valgrind."""
    command = [sys.executable, "-m", "benchmarks.calls", name]
    folder, environment = Path(__file__).parent.parent, {**os.environ, "PYTHONHASHSEED": "0"}
    with counter() as executed:
        process = await asyncio.create_subprocess_exec(
            *executed.under, *command, cwd=folder, env=environment, stdin=PIPE, stdout=PIPE
        )
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        async def answer(expected: str) -> None:
            line = (await asyncio.wait_for(stdout.readline(), PATIENCE)).decode().strip()
            if line != expected:
                raise LeftOut(line or f"{name} has ended")

        async def count(whose: str, column: Column, calls: int) -> int:
            stdin.write(f"{json.dumps([whose, *column, calls])}\n".encode())
            await answer("done")
            return await executed.count()

        try:
            await answer("ready")
            await executed.begin(process.pid)
            yield count
        finally:
            stdin.close()
            await process.wait()


async def _measure(name: str) -> dict[Column, dict[str, Figure]]:
    """Thousands of instructions of a request, of the contestant and of its handler alone."""
    counted: dict[Column, dict[str, list[float]]] = {}
    async with _counting(name) as count:
        for _ in range(ROUNDS):
            for column in COLUMNS:
                for whose in (OVER[name], name):
                    few, many = [await count(whose, column, calls) for calls in (FEW, MANY)]
                    figures = counted.setdefault(column, {}).setdefault(whose, [])
                    figures.append((many - few) / (MANY - FEW) / 1000)
    return {column: {whose: Figure(tuple(of)) for whose, of in by.items()} for column, by in counted.items()}


async def instructions_in_process() -> str:
    """Instructions added per request, of Sojourn and Starlette, and the one to the other."""
    if not is_installed():
        return "left out: instructions in process (valgrind is not installed)"
    try:
        counted = await asyncio.gather(*(_measure(name) for name in COUNTED))
    except LeftOut as reason:
        return f"left out: instructions in process ({reason})"
    figures = {column: {whose: of for by in counted for whose, of in by[column].items()} for column in COLUMNS}
    more = added(figures)
    rows = [
        [name, *(shown(ratios(more[column][name], more[column][STARLETTE]), 2) for column in COLUMNS)]
        for name in (SOJOURN, SOJOURN_WSGI)
    ]
    return "\n\n".join(
        [
            page("thousands of instructions added per request", figures),
            table([f"to {STARLETTE}", *map(str, COLUMNS)], rows),
        ]
    )
