"""Makes requests of one contestant in process, as it is asked: ``python -m benchmarks.calls NAME``.

Prints a line when it is ready, and after each line of input, which is the JSON of whose handler to call, case, size and how many times.
"""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.contestants import Column, contest

WARM = 10
"""How often each is called first."""


async def main(name: str) -> None:
    works = await contest([name])
    for by_name in works.values():
        for work in by_name.values():
            await work(WARM)
    print("ready", flush=True)
    for line in sys.stdin:
        whose, case, size, calls = json.loads(line)
        await works[Column(case, size)][whose](calls)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
