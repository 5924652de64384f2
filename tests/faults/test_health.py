"""Readiness beside real servers that hang, go away and come back, in both colours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sojourn import healthy
from sojourn.middleware.health import AsyncHealth, Health, Judge
from sojourn.stores import resolve
from tests.proxy import Delay, Proxy

pytestmark = pytest.mark.server
DEADLINE = 0.2


@pytest.fixture
def check(colour: str, url: str) -> Iterator[Callable[[], Any]]:
    """Asks the store each time; readiness, and that once alone."""
    store = resolve(url, asynchronous=colour == "async")
    judge = Judge(fresh=0)
    if colour == "sync":
        health = Health(store, judge, timeout=DEADLINE)
        yield lambda: (health.check().is_ready, healthy(store, timeout=DEADLINE))
        store.close()
        return
    probe = AsyncHealth(store, judge, timeout=DEADLINE)

    async def both() -> tuple[bool, bool]:
        return (await probe.check()).is_ready, await healthy(store, timeout=DEADLINE)

    with asyncio.Runner() as runner:
        runner.run(store.open())
        yield lambda: runner.run(both())
        runner.run(store.close())


def until(check: Callable[[], Any], expected: tuple[bool, bool]) -> None:
    """Ask until it is so: a first connection may take longer than a probe waits, and drivers look for a lost server in their own time."""
    deadline = time.monotonic() + 20
    while check() != expected:
        assert time.monotonic() < deadline


def test_one_command_that_hangs_changes_nothing_and_three_do(check: Callable[[], Any], proxy: Proxy) -> None:
    until(check, (True, True))
    with proxy.failing(Delay(5 * DEADLINE), when=lambda request: True):
        began = time.monotonic()
        assert check() == (True, False)
        assert time.monotonic() - began < 10 * DEADLINE
        until(check, (False, False))
    until(check, (True, True))


def test_a_server_that_is_away_is_noticed_and_so_is_its_return(check: Callable[[], Any], proxy: Proxy) -> None:
    until(check, (True, True))
    with proxy.refusing():
        until(check, (False, False))
    until(check, (True, True))
