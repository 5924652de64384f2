"""The near cache against logouts in another process: a session that has ended is never read once the window has passed, whatever fails.

`make test` runs some hundred rounds, `make torture` ten thousand.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ValkeyServer, valkey
from tests.stores.redis_kinds import proxied
from tests.torture.worker import AsyncVisitor

pytestmark = [pytest.mark.server, pytest.mark.anyio]

ROOT = Path(__file__).parent.parent.parent
WINDOW = 0.2
TIMEOUT = 4
PARTITIONED_TIMEOUT = 1
"""Each of its rounds waits for that long."""
SHORT = {"as it is": 300, "paused": 5, "partitioned": 5, "cut": 20}
LONG = {"as it is": 10_000, "paused": 500, "partitioned": 500, "cut": 1000}
"""Rounds. The rest take the window's time each."""
THROUGH_A_PROXY = ("partitioned", "cut")
ROUNDS = [
    *(pytest.param(how, rounds, id=how) for how, rounds in SHORT.items()),
    *(pytest.param(how, rounds, id=f"{how}-{rounds}", marks=pytest.mark.torture) for how, rounds in LONG.items()),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def ender(server: ValkeyServer) -> Iterator[subprocess.Popen[str]]:
    """A process that logs out whose cookie it is told."""
    command = [sys.executable, "-m", "tests.torture.ender", server.url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


@asynccontextmanager
async def reader(port: int, how: str) -> AsyncIterator[AsyncVisitor]:
    """The application here."""
    timeout = PARTITIONED_TIMEOUT if how == "partitioned" else TIMEOUT
    options = f"near_cache=1000000&near_cache_window={WINDOW}&timeout={timeout}"
    visitor = AsyncVisitor(f"redis://127.0.0.1:{port}?{options}")
    try:
        yield visitor
    finally:
        await visitor.close()


class Watched:
    """What the near cache of an application has served."""

    def __init__(self, app: Any) -> None:
        self.hits = 0
        self._near = app._near
        app._near = self

    def __call__(self, key: str) -> Any:
        found = self._near(key)
        self.hits += found is not None
        return found


class Look:
    """What a handler does: it looks whether the session is there."""

    found = False

    def __call__(self, session: Any) -> None:
        self.found = not session.is_new


async def begin(visitor: AsyncVisitor) -> str:
    """The cookie of a new session. What the fault before has left may be a 503."""
    while True:
        _status, cookie = await visitor.request(None, lambda session: session.update(n=1))
        if cookie is not None:
            return cookie


async def read_until_gone(visitor: AsyncVisitor, cookie: str) -> float:
    """When the last request began that had the session."""
    last = 0.0
    while True:
        began = time.monotonic()
        look = Look()
        status, _cookie = await visitor.request(cookie, look)
        if look.found:
            last = began
        elif status == 200:
            return last
        await asyncio.sleep(0)


@pytest.mark.parametrize(("how", "rounds"), ROUNDS)
async def test_a_session_that_was_ended_elsewhere_is_read_for_no_longer_than_the_window(
    how: str, rounds: int, server: ValkeyServer, ender: subprocess.Popen[str]
) -> None:
    assert ender.stdin is not None and ender.stdout is not None
    stale = []
    with proxied(("127.0.0.1", server.port)) as proxy:
        async with reader(proxy.port if how in THROUGH_A_PROXY else server.port, how) as visitor:
            watched = Watched(visitor.app)
            for _ in range(rounds):
                cookie = await begin(visitor)
                reading = asyncio.ensure_future(read_until_gone(visitor, cookie))
                hits = watched.hits
                while watched.hits == hits:  # noqa: ASYNC110 - as long as the other one takes
                    await asyncio.sleep(0)
                if how == "partitioned":
                    proxy.forget()
                elif (
                    how == "cut"
                ):  # with the next that the server sends, such as its message that the session has ended
                    proxy.losing = "connection"
                ender.stdin.write(f"{cookie}\n")
                ender.stdin.flush()
                ended = float(await asyncio.to_thread(ender.stdout.readline))
                if how == "paused":
                    server.signal(signal.SIGSTOP)
                    try:
                        await asyncio.sleep(2 * WINDOW)
                    finally:
                        server.signal(signal.SIGCONT)
                stale.append(max(0.0, await reading - ended))
    stale.sort()
    print(
        f"{how}: {rounds} logouts elsewhere, after which a session was read here for {stale[rounds // 2] * 1000:.2f} ms in the median, "
        f"{stale[-1] * 1000:.2f} ms at the longest; the window is {WINDOW * 1000:.0f} ms"
    )
    assert stale[-1] <= WINDOW
