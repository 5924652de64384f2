"""express-session in process: its middleware called by Node.js without a server, beside the same handler without sessions.

A MemoryStore returns in a later turn of the event loop. Some requests go on at once, as on a server, and share the turns.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.contestants import COLUMNS, Column
from benchmarks.measure import ROUNDS, Figure, LeftOut
from benchmarks.workload import SECRET, SIZES, data_of
from scripts.node_peers import FOLDER, find_node

NODE, EXPRESS_SESSION = "Node.js, no sessions", "express-session, MemoryStore"
CONNECT_REDIS = "express-session, connect-redis"
AT_ONCE = 16
SLICE = 0.05
"""Seconds of CPU. It has to hold its share of the garbage collections."""


async def express(
    columns: Sequence[Column] = COLUMNS, *, at_once: int = AT_ONCE, redis: str | None = None
) -> Mapping[Column, Mapping[str, Figure]]:
    """The figures of the handler alone and with sessions, in a MemoryStore, or in connect-redis on the server of that URL."""
    if (node := find_node()) is None:
        raise LeftOut("there is no Node.js")
    asked = {
        "secret": SECRET,
        "data": {size: data_of(size) for size in SIZES},
        "columns": columns,
        "rounds": ROUNDS,
        "slice": SLICE,
        "atOnce": at_once,
        "redis": redis,
    }
    program = Path(__file__).with_name("express.cjs")
    process = await asyncio.create_subprocess_exec(str(node), str(program), cwd=FOLDER, stdin=PIPE, stdout=PIPE)
    printed, _ = await process.communicate(json.dumps(asked).encode())
    if process.returncode:
        raise LeftOut(printed.decode().strip() or "it failed")
    taken = dict(zip(columns, json.loads(printed), strict=True))
    return {
        column: {
            NODE: Figure(tuple(alone)),
            (CONNECT_REDIS if redis else EXPRESS_SESSION): Figure(tuple(with_sessions)),
        }
        for column, (alone, with_sessions) in taken.items()
    }
