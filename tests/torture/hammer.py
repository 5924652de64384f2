"""Changes of one session without end, from a process of its own: ``python -m tests.torture.hammer``.

It reads cookies, a line each. It changes the cookie's session until that is gone. It prints a line once it has begun, and another that
tells how often it could.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

from tests.torture.worker import AsyncVisitor


async def main() -> None:
    visitor = AsyncVisitor(sys.argv[1])
    is_gone = False

    def add_one(session: Any) -> None:
        nonlocal is_gone
        is_gone = session.is_new
        if not is_gone:
            session.increment("n")

    for line in sys.stdin:
        is_gone, count = False, 0
        while not is_gone:
            status, _cookie = await visitor.request(line.strip(), add_one)
            assert status == 200
            count += not is_gone
            if count == 1 and not is_gone:
                print("begun", flush=True)
            await asyncio.sleep(random.uniform(0, 0.002))
        print(count, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
