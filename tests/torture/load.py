"""Visitors who write, log in and log out while something goes wrong, from a process of its own: ``python -m tests.torture.load <colour> <url>``.

It says that it is ready, reads its orders as a line of JSON, works until the time is up, waits until the store is well again, looks at what is there, and prints
what it has found as JSON. What a response has acknowledged (200) must be there, once, and what has ended must not be. What was refused (503)
may have happened or not. What is killed itself keeps a journal, from which another process looks what became of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple, TypeAlias

from tests.torture.worker import CONFLICT, AsyncVisitor, Visitor

__all__ = ["BUCKET", "Tally"]

BUCKET: Final = 0.01
"""Seconds. Of each it is noted whether a request succeeded."""
OWN: Final = "n"
"""What a visitor's own session counts under."""
_LANES: Final = 3
_WORKS: Final = 4
"""Changes between a login and a logout."""
_PATIENCE: Final = 30.0
"""Seconds that the store has to become well again."""
_PAUSE: Final = 0.02


@dataclass
class Tally:
    """What a process has found."""

    commits: int = 0
    """Acknowledged."""
    refused: int = 0
    """Requests with a 503."""
    lost: int = 0
    """Acknowledged commits that are not there."""
    doubled: int = 0
    """Changes that are there more often than they were asked for."""
    revived: int = 0
    """Sessions that are there although their ending was acknowledged."""
    buckets: set[int] = field(default_factory=set)
    """When a request succeeded, by the machine's monotonic clock."""


class Request(NamedTuple):
    cookie: str | None
    do: Callable[[Any], object]


Answer: TypeAlias = tuple[int, str | None]
"""The status, and the cookie that was set."""
Steps: TypeAlias = Generator[tuple[Request, ...], list[Answer], Any]
"""Yields requests that are sent at once, and is sent their answers."""


class Journal:
    """What a process has begun and been told, a line for each, which outlive the process."""

    def __init__(self, path: str | None) -> None:
        self._file = None if path is None else os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(self, what: str, cookie: str | None, other: str | None = None) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps([what, cookie, other]).encode() + b"\n")


class Counter:
    """What one lane has added to one session, under a name that nobody else changes.

    Args:
        tally: where its findings go.
        name: the name.
        journal: told of what begins and what is acknowledged.
        least: what must be there.
        maybe: changes that may be there or not, besides.
    """

    def __init__(
        self, tally: Tally, name: str, journal: Journal | None = None, *, least: int = 0, maybe: int = 0
    ) -> None:
        self._tally = tally
        self._name = name
        self._journal = Journal(None) if journal is None else journal
        self._least = least
        self._open = maybe
        self._missing = 0
        """Changes that were lost. They may be seen again, where two servers hold themselves to be the master for a while."""
        self.is_gone = False

    def add(self, cookie: str | None) -> Steps:
        """Add one; returns the status."""
        seen: list[int | None] = []

        def do(session: Any) -> None:
            seen.append(None if session.is_new else session.get(self._name, 0))
            if not session.is_new:
                session.increment(self._name)

        self._journal.note("add", cookie, self._name)
        ((status, _cookie),) = yield (Request(cookie, do),)
        if seen and (status == 200 or seen[0] is not None) and not self.is_gone:
            self._compare(seen[0])
        if status == 200 and not self.is_gone:
            self._least += 1
            self._tally.commits += 1
            self._journal.note("added", cookie, self._name)
        elif seen and status != CONFLICT:
            self._open += 1
        return status

    def look(self, cookie: str | None) -> Steps:
        """Compare what is there, once the store is well."""
        seen: list[int | None] = []

        def do(session: Any) -> None:
            seen[:] = [None if session.is_new else session.get(self._name, 0)]

        yield from patient(Request(cookie, do))
        if not self.is_gone:
            self._compare(seen[0])

    def _compare(self, seen: int | None) -> None:
        if seen is None:  # the session has gone, with all that was in it
            self._tally.lost += 0 if self.is_gone else self._least
            self.is_gone = True
            return
        lost = max(0, self._least - seen)
        self._tally.lost += lost
        more = max(0, seen - self._least)
        again = min(more, self._missing)
        self._missing += lost - again
        more -= again
        self._tally.doubled += max(0, more - self._open)
        self._open = max(0, self._open - more)
        self._least = seen


def patient(request: Request) -> Steps:
    """Repeat a request until it succeeds; returns the cookie that was set.

    Raises:
        TimeoutError: it never did.
    """
    until = monotonic() + _PATIENCE
    while monotonic() < until:
        ((status, cookie),) = yield (request,)
        if status == 200:
            return cookie
    raise TimeoutError("the store did not become well again")


def is_live(cookie: str) -> Steps:
    """Whether there is a session."""
    seen: list[bool] = []
    yield from patient(Request(cookie, lambda session: seen.append(not session.is_new)))
    return seen[-1]


def come(session: Any) -> None:
    session["came"] = True


def log_out(session: Any) -> None:
    session.logout()


def write_late(session: Any) -> None:
    if not session.is_new:
        session["late"] = True


def lane(
    name: str, shared: list[str], tally: Tally, until: float, chance: random.Random, journal: Journal | None = None
) -> Steps:
    """One visitor after the other, each of whom logs in, works and logs out; and changes of the sessions that all processes share."""
    journal = Journal(None) if journal is None else journal
    counters = [Counter(tally, name, journal) for _ in shared]
    ended: list[str] = []

    def log_in(session: Any) -> None:
        if not session.is_new:
            session.login(name, keep_data=True)

    while monotonic() < until:
        before: str = yield from patient(Request(None, come))
        own = Counter(tally, OWN, journal)
        yield from own.add(before)
        journal.note("end", before)
        ((status, cookie),) = yield (Request(before, log_in),)
        if status != 200 or cookie is None:  # it may have taken place, and its cookie never came
            continue
        journal.note("moved", before, cookie)
        ended.append(before)
        for _ in range(_WORKS):
            yield from own.add(cookie)
            at = chance.randrange(len(shared))
            yield from counters[at].add(shared[at])
        journal.note("end", cookie)
        (status, _), _ = yield Request(cookie, log_out), Request(cookie, write_late)
        if status != 200:
            yield from patient(Request(cookie, log_out))
        journal.note("ended", cookie)
        ended.append(cookie)
        one = chance.choice(ended)
        if (yield from is_live(one)):
            tally.revived += 1
            ended.remove(one)
    for counter, shared_cookie in zip(counters, shared, strict=True):
        yield from counter.look(shared_cookie)
    for one in ended:
        tally.revived += yield from is_live(one)


def note(tally: Tally, answers: list[Answer]) -> bool:
    """Whether all went well."""
    good = sum(status == 200 for status, _cookie in answers)
    if good:
        tally.buckets.add(int(monotonic() / BUCKET))
    tally.refused += len(answers) - good
    return good == len(answers)


def look_after(journal: list[tuple[str, str, str]], tally: Tally) -> Steps:
    """What became of what a killed process was told, by its journal, once the store is well."""
    begun: dict[tuple[str, str], int] = {}
    least: dict[tuple[str, str], int] = {}
    ended: list[str] = []
    unsure: set[str] = set()
    for what, cookie, other in journal:
        match what:
            case "add":
                begun[cookie, other] = begun.get((cookie, other), 0) + 1
            case "added":
                least[cookie, other] = least.get((cookie, other), 0) + 1
                tally.commits += 1
            case "end":  # perhaps it has
                unsure.add(cookie)
            case "moved":  # by its login, with what is in it
                ended.append(cookie)
                for counts in (begun, least):
                    counts[other, OWN] = counts.get((cookie, OWN), 0)
            case _:
                ended.append(cookie)
    for (cookie, name), count in least.items():
        if cookie not in unsure:
            yield from Counter(tally, name, least=count, maybe=begun[cookie, name] - count).look(cookie)
    for one in ended:
        tally.revived += yield from is_live(one)


async def run_async(url: str, tally: Tally) -> None:
    visitor = AsyncVisitor(url)

    async def run(steps: Steps) -> None:
        requests = next(steps)
        with suppress(StopIteration):
            while True:
                answers = list(await asyncio.gather(*(visitor.request(*request) for request in requests)))
                if not note(tally, answers):
                    await asyncio.sleep(_PAUSE)
                requests = steps.send(answers)

    await visitor.request(None, come)  # all is imported, and it is connected
    await asyncio.gather(*map(run, lanes(tally)))
    await visitor.close()


def run_sync(url: str, tally: Tally) -> None:
    visitor = Visitor(url)

    def run(steps: Steps) -> None:
        requests = next(steps)
        with suppress(StopIteration), ThreadPoolExecutor(2) as pool:
            while True:
                answers = list(pool.map(lambda request: visitor.request(*request), requests))
                if not note(tally, answers):
                    time.sleep(_PAUSE)
                requests = steps.send(answers)

    visitor.request(None, come)
    with ThreadPoolExecutor(_LANES) as pool:
        list(pool.map(run, lanes(tally)))
    visitor.close()


def lanes(tally: Tally) -> list[Steps]:
    """What is to be done, once it is said when."""
    print("ready", flush=True)
    orders = json.loads(sys.stdin.readline())
    if "journals" in orders:
        texts = [Path(path).read_text() for path in orders["journals"]]
        return [look_after([json.loads(line) for line in text.splitlines()], tally) for text in texts]
    names = [f"{orders['name']}-{number}" for number in range(_LANES)]
    until = monotonic() + orders["seconds"]
    journal = Journal(orders.get("journal"))
    return [lane(name, orders["shared"], tally, until, random.Random(name), journal) for name in names]


def shift_clock(file: Path) -> None:
    """Shift the time by as many seconds as a file has (``+3600``), now and whenever it changes. The monotonic clock stays."""
    right = time.time_ns

    def shifted() -> int:
        return right() + int(file.read_text()) * 10**9

    time.time_ns = shifted


def main() -> None:
    if "SOJOURN_LOAD_CLOCK" in os.environ:
        shift_clock(Path(os.environ["SOJOURN_LOAD_CLOCK"]))
    logging.getLogger("sojourn").setLevel(logging.CRITICAL)  # that requests are refused is what is meant to happen
    colour, url = sys.argv[1:]
    tally = Tally()
    if colour == "async":
        asyncio.run(run_async(url, tally))
    else:
        run_sync(url, tally)
    print(json.dumps(asdict(tally) | {"buckets": sorted(tally.buckets)}))


if __name__ == "__main__":
    main()
