"""Nobody starves: logouts and logins among the changes of other processes, each of which is let through in time.

`make test` runs a few rounds per store, `make torture` a thousand.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.torture.worker import AsyncVisitor

pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent.parent
WRITERS = 3
LONGEST = 3.0  # seconds that a login or logout may take
ENDS = ("login", "logout", "regenerate")
ROUNDS = [pytest.param(12, id="12"), pytest.param(1000, id="1000", marks=pytest.mark.torture)]


def end(session: Any, how: str) -> None:
    if how == "login":
        session.login("ann", keep_data=True)
    elif how == "logout":
        session.logout()
    else:
        session.regenerate(keep_data=True)


def said_by(writer: subprocess.Popen[str]) -> str:
    assert writer.stdout is not None
    return writer.stdout.readline().strip()


# On Redis Cluster and MongoDB a session moves in several steps, and who writes without end can come between them for long.
@pytest.mark.parametrize("store_url", ["sqlite", "redis", "postgresql"], indirect=True)
@pytest.mark.parametrize("rounds", ROUNDS)
def test_logins_and_logouts_among_writers_in_other_processes_are_let_through_in_time(
    store_url: str, rounds: int
) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.torture.hammer", store_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(WRITERS)
    ]
    taken: dict[str, list[float]] = {how: [] for how in ENDS}
    attempts: list[int] = []

    async def play() -> None:
        visitor = AsyncVisitor(store_url)
        regenerate = visitor.app.store.regenerate
        calls = Counter[str]()

        async def counted(*args: Any, **more: Any) -> Any:
            calls["regenerate"] += 1
            return await regenerate(*args, **more)

        visitor.app.store.regenerate = counted
        for number in range(rounds):
            how = ENDS[number % len(ENDS)]
            _status, cookie = await visitor.request(None, lambda session: session.update(n=0))
            for writer in writers:
                assert writer.stdin is not None
                print(cookie, file=writer.stdin, flush=True)
            assert [said_by(writer) for writer in writers] == ["begun"] * WRITERS
            await asyncio.sleep(0.01)
            calls.clear()
            began = time.monotonic()
            status, new = await visitor.request(cookie, lambda session, how=how: end(session, how))
            taken[how].append(time.monotonic() - began)
            attempts.append(calls["regenerate"])
            assert status == 200 and new is not None
            assert all(int(said_by(writer)) > 0 for writer in writers), "each has found the session gone"
        await visitor.close()

    try:
        asyncio.run(play())
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    worst = {how: max(times) for how, times in taken.items()}
    assert max(worst.values()) < LONGEST
    said = ", ".join(f"{how} {seconds * 1000:.0f} ms" for how, seconds in worst.items())
    print(f"{rounds} rounds among {WRITERS} writing processes, at worst: {said}; {max(attempts)} attempts")
