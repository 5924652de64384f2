"""``python -m benchmarks [NAME ...]``: run the benchmarks, or those named, and print them as Markdown."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Callable, Coroutine

from benchmarks import (
    contention,
    imports,
    in_process,
    instructions,
    instructions_in_process,
    memory,
    near,
    postgres,
    redis,
    scale,
    served,
    sqlite,
)

ALL: dict[str, Callable[[], str | Coroutine[None, None, str]]] = {
    "imports": imports.imports,
    "in-process": in_process.in_process,
    "instructions-in-process": instructions_in_process.instructions_in_process,
    "sqlite": sqlite.beside_peers,
    "sqlite-rates": sqlite.rates,
    "redis": redis.redis,
    "near": near.near,
    "postgres": postgres.postgres,
    "memory": memory.memory,
    "served": served.served,
    "instructions": instructions.instructions,
    "scale": scale.scale,
    "contention": contention.contention,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(ALL)}")
    names = parser.parse_args().names or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.machine()}. Medians ± half the interquartile range."
    )
    for name in names:
        result = ALL[name]()
        print(f"\n{result if isinstance(result, str) else asyncio.run(result)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
