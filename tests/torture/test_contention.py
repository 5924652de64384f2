"""Many commits of one session at once: how many attempts they take, on every store and in both colours.

`make torture` also lets logouts and logins meet the changes of other processes: see `test_starvation`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.torture.test_no_lost_update import start_session, stored
from tests.torture.worker import AsyncVisitor, Visitor

pytestmark = pytest.mark.server

AT_ONCE = 200
LOGINS = 20
MOST_ATTEMPTS = 10  # of a login among three writers


class Counting:
    """A store that counts the calls of another."""

    def __init__(self, store: Any, calls: Counter[str]) -> None:
        self.store = store
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        def counted(*args: Any, **more: Any) -> Any:
            self.calls[name] += 1
            return method(*args, **more)

        return counted


def count(visitor: Any) -> Counter[str]:
    """Count what a visitor's app asks of its store from now on."""
    calls: Counter[str] = Counter()
    app = visitor.app
    app.store = Counting(app.store, calls)
    if getattr(app, "_unbroken", None) is not None:  # by which whoever is alone writes
        app._unbroken = Counting(app._unbroken, calls)
    return calls


def add_one(session: Any) -> None:
    session.increment("n")


def login(session: Any) -> None:
    session.login("ann", keep_data=True)


def check_increments(data: dict[str, Any], calls: Counter[str]) -> None:
    assert data == {"n": AT_ONCE}
    assert AT_ONCE <= calls["replace"] <= 2 * AT_ONCE and calls["load"] <= 2 * AT_ONCE
    print(f"{AT_ONCE} increments at once: {calls['load']} loads, {calls['replace']} writes")


def test_two_hundred_increments_at_once_are_all_counted_and_take_a_number_of_attempts_that_grows_with_them_async(
    store_url: str,
) -> None:
    async def play() -> None:
        visitor = AsyncVisitor(store_url)
        _status, cookie = await visitor.request(None, lambda session: session.update(n=0))
        calls = count(visitor)
        room = asyncio.Semaphore(
            50 if "cluster" in store_url else AT_ONCE
        )  # its driver opens no more than 100 connections

        async def request() -> tuple[int, str | None]:
            async with room:
                return await visitor.request(cookie, add_one)

        results = await asyncio.gather(*(request() for _ in range(AT_ONCE)))
        assert {status for status, _cookie in results} == {200}
        seen: list[dict[str, Any]] = []
        await visitor.request(cookie, lambda session: seen.append(dict(session)))
        check_increments(seen[0], calls)
        assert not visitor.app.turns.lines
        await visitor.close()

    asyncio.run(play())


def test_two_hundred_increments_at_once_are_all_counted_and_take_a_number_of_attempts_that_grows_with_them_sync(
    store_url: str,
) -> None:
    visitor = Visitor(store_url)
    cookie = start_session(visitor, n=0)
    calls = count(visitor)
    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(lambda _: visitor.request(cookie, add_one), range(AT_ONCE)))
    assert {status for status, _cookie in results} == {200}
    check_increments(stored(visitor, cookie), calls)
    assert not visitor.app.turns.lines
    visitor.close()


def test_a_login_among_three_writers_takes_few_attempts_async(store_url: str) -> None:
    async def play() -> list[int]:
        visitor = AsyncVisitor(store_url)
        other = AsyncVisitor(visitor.app.store)
        attempts = []
        for _ in range(LOGINS):
            _status, cookie = await visitor.request(None, lambda session: session.update(n=0))
            ended = asyncio.Event()

            async def write(cookie: Any = cookie, ended: asyncio.Event = ended) -> None:
                while not ended.is_set():
                    assert (await visitor.request(cookie, add_one))[0] == 200
                    await asyncio.sleep(0)  # what finds the session gone need not wait for anything

            writers = [asyncio.create_task(write()) for _ in range(3)]
            await asyncio.sleep(0.02)
            calls = count(other)
            status, new = await other.request(cookie, login)
            ended.set()
            await asyncio.gather(*writers)
            assert status == 200 and new is not None
            attempts.append(calls["regenerate"])
            other.app.store = visitor.app.store
        await visitor.close()
        return attempts

    check_attempts(asyncio.run(play()))


def test_a_login_among_three_writers_takes_few_attempts_sync(store_url: str) -> None:
    visitor = Visitor(store_url)
    other = Visitor(visitor.app.store)
    attempts = []
    for _ in range(LOGINS):
        cookie = start_session(visitor, n=0)
        ended = threading.Event()

        def write(cookie: str = cookie, ended: threading.Event = ended) -> int:
            while not ended.is_set():
                status, _cookie = visitor.request(cookie, add_one)
                assert status == 200
            return 1

        with ThreadPoolExecutor(3) as pool:
            writers = [pool.submit(write) for _ in range(3)]
            time.sleep(0.02)
            calls = count(other)
            status, new = other.request(cookie, login)
            ended.set()
            assert sum(writer.result() for writer in writers) == 3
        assert status == 200 and new is not None
        attempts.append(calls["regenerate"])
        other.app.store = visitor.app.store
    visitor.close()
    check_attempts(attempts)


def check_attempts(attempts: list[int]) -> None:
    assert max(attempts) <= MOST_ATTEMPTS
    print(
        f"{LOGINS} logins among three writers each: at most {max(attempts)} attempts, {sum(attempts) / LOGINS:.1f} on average"
    )
