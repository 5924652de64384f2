"""Invariant 2: no resurrection. Logouts, regenerations and slow writers, whatever the interleaving.

`make test` runs five hundred rounds per store and colour, `make torture` ten thousand.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

import pytest

from tests.torture.worker import AsyncVisitor, Visitor

pytestmark = pytest.mark.server

WRITERS = 3
LONGEST = 0.004  # seconds that a handler thinks
AT_ONCE = 20  # rounds side by side
ROUNDS = [pytest.param(500, id="500"), pytest.param(10_000, id="10000", marks=pytest.mark.torture)]
ENDS = ("logout", "regenerate", "regenerate-keep", "login", "logout-twice", "login-twice")


def end(session: Any, how: str) -> None:
    match how:
        case "regenerate":
            session.regenerate()
            session["fresh"] = True
        case "regenerate-keep":
            session.regenerate(keep_data=True)
            session["fresh"] = True
        case "login" | "login-twice":
            session.login("ann", keep_data=True)
            session["fresh"] = True
        case _:
            session.logout()


def check(
    how: str, old: str, results: list[tuple[str, int, str | None]], seen: dict[str, dict[str, Any] | None]
) -> None:
    """What must hold after a round: the old id is dead, only enders set cookies, and at most their new ids live."""
    assert all(status == 200 for _kind, status, _cookie in results), results
    assert seen[old] is None, f"after {how} the old id still has a session"
    new = [cookie for kind, _status, cookie in results if kind == "end" and cookie and not cookie.endswith("=")]
    by_writers = [cookie for kind, _status, cookie in results if kind == "write" and cookie]
    if how.startswith("logout"):
        assert new == []
        # A writer that came after the logout has an anonymous session of its own, with nothing of the old one.
        assert all(set(seen[cookie] or {}) <= {"written"} for cookie in by_writers)
    else:
        assert by_writers == [], "a request with the replaced id set a cookie"
    if how in ("regenerate", "regenerate-keep", "login"):
        (cookie,) = new
        data = seen[cookie]
        assert data is not None and data["fresh"] is True
        assert ("started" in data) is (how != "regenerate")


class Round:
    """What one round found out about each cookie it met."""

    def __init__(self) -> None:
        self.results: list[tuple[str, int, str | None]] = []
        self.seen: dict[str, dict[str, Any] | None] = {}

    def look(self, cookie: str) -> Any:
        def into(session: Any) -> None:
            self.seen[cookie] = None if session.is_new else dict(session)

        return into


async def round_async(visitor: AsyncVisitor, randomness: random.Random) -> None:
    how = randomness.choice(ENDS)
    done = Round()
    _status, old = await visitor.request(None, lambda session: session.update(started=1))
    assert old is not None
    delays = iter([randomness.uniform(0, LONGEST) for _ in range(2 * (WRITERS + 2))])

    async def request(kind: str) -> None:
        async def do(session: Any) -> None:
            if kind == "write":
                session["written"] = randomness.random()
            await asyncio.sleep(next(delays))
            if kind == "end":
                end(session, how)

        await asyncio.sleep(next(delays))
        status, cookie = await visitor.request(old, do)
        done.results.append((kind, status, cookie))

    enders = 2 if how.endswith("twice") else 1
    await asyncio.gather(*(request("write") for _ in range(WRITERS)), *(request("end") for _ in range(enders)))
    for cookie in {old, *(c for _k, _s, c in done.results if c and not c.endswith("="))}:
        await visitor.request(cookie, done.look(cookie))
    check(how, old, done.results, done.seen)


def round_sync(visitor: Visitor, randomness: random.Random) -> None:
    how = randomness.choice(ENDS)
    done = Round()
    _status, old = visitor.request(None, lambda session: session.update(started=1))
    assert old is not None

    def request(kind: str, before: float, within: float) -> None:
        def do(session: Any) -> None:
            if kind == "write":
                session["written"] = within
            time.sleep(within)
            if kind == "end":
                end(session, how)

        time.sleep(before)
        status, cookie = visitor.request(old, do)
        done.results.append((kind, status, cookie))

    kinds = ["write"] * WRITERS + ["end"] * (2 if how.endswith("twice") else 1)
    threads = [
        threading.Thread(target=request, args=(kind, randomness.uniform(0, LONGEST), randomness.uniform(0, LONGEST)))
        for kind in kinds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done.results) == len(kinds), "a request raised"
    for cookie in {old, *(c for _k, _s, c in done.results if c and not c.endswith("="))}:
        visitor.request(cookie, done.look(cookie))
    check(how, old, done.results, done.seen)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_an_ended_id_never_has_a_session_again_async(store_url: str, rounds: int) -> None:
    randomness = random.Random(20261121)

    async def play() -> None:
        visitor = AsyncVisitor(store_url)
        numbers = iter(range(rounds))

        async def lane() -> None:
            for _number in numbers:
                await round_async(visitor, randomness)

        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
        await visitor.close()

    asyncio.run(play())
    print(f"async: {rounds} rounds, no session came back")


@pytest.mark.parametrize("rounds", ROUNDS)
def test_an_ended_id_never_has_a_session_again_sync(store_url: str, rounds: int) -> None:
    visitor = Visitor(store_url)
    failures: list[BaseException] = []
    numbers = iter(range(rounds))
    lock = threading.Lock()

    def lane(seed: int) -> None:
        randomness = random.Random(seed)
        while not failures:
            with lock:
                if next(numbers, None) is None:
                    return
            try:
                round_sync(visitor, randomness)
            except BaseException as error:  # noqa: BLE001 - raised again by the test itself
                failures.append(error)

    lanes = [threading.Thread(target=lane, args=(seed,)) for seed in range(3)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    visitor.close()
    if failures:
        raise failures[0]
    print(f"sync: {rounds} rounds, no session came back")
