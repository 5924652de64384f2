"""The two drivers: every operation of the core's tasks reaches the store, and what it returns or raises reaches the task."""

from __future__ import annotations

from typing import Any, Final

import pytest

from sojourn.core.commit import Delete, Load, Lock, Pause, Steps, Unlock
from sojourn.core.plan import Create, Regenerate, Replace, Touch
from sojourn.core.store import EXISTS, Deleted, Replaced
from sojourn.errors import SessionNotFound
from sojourn.middleware import drive
from sojourn.middleware.drive import run, run_async
from sojourn.stores import MemoryStore
from sojourn.testing import as_async


def steps_of_everything(seen: list[Any]) -> Steps[str]:
    seen.append((yield Load("k")))
    seen.append((yield Create("k", b"1", 1000, "ann")))
    seen.append((yield Create("k", b"1", 1000, None)))
    seen.append((yield Replace("k", b"2", 1000, b"1", "ann")))
    seen.append((yield Touch("k", 2000)))
    seen.append((yield Regenerate("k", "l", b"3", 1000, b"2", 100, "bob")))
    seen.append((yield Load("k")))
    seen.append((yield Pause(0.0)))
    token = yield Lock("l")
    seen.append((yield Lock("l")))
    seen.append((yield Unlock("l", token)))
    seen.append((yield Delete(("k", "l", "m"))))
    try:
        yield Create("x", b"more than ten bytes", 1000, None)
    except ValueError as error:
        seen.append(type(error).__name__)
    return "done"


EVERYTHING: Final = [
    None,
    b"1",
    EXISTS,
    b"2",
    True,
    b"3",
    Replaced("l"),
    None,
    None,
    True,
    Deleted(1, ("l",)),
    "SessionTooLarge",
]


def test_every_operation_reaches_a_sync_store_and_what_it_returns_or_raises_the_task():
    seen: list[Any] = []
    store = MemoryStore(max_size=10)
    assert run(steps_of_everything(seen), store) == "done"
    assert seen == EVERYTHING
    assert not list(store.scan())


@pytest.mark.anyio
async def test_every_operation_reaches_an_async_store_and_what_it_returns_or_raises_the_task():
    seen: list[Any] = []
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    assert await run_async(steps_of_everything(seen), as_async(MemoryStore(max_size=10)), sleep) == "done"
    assert seen == EVERYTHING
    assert pauses == [0.0]


def failing() -> Steps[None]:
    yield Pause(0)
    raise SessionNotFound("gone")


@pytest.mark.anyio
async def test_an_error_of_the_task_is_its_callers():
    async def sleep(seconds: float) -> None:
        pass

    with pytest.raises(SessionNotFound):
        run(failing(), MemoryStore())
    with pytest.raises(SessionNotFound):
        await run_async(failing(), MemoryStore(), sleep)


def test_a_pause_is_really_slept(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(drive, "_sleep", slept.append)

    def steps() -> Steps[str]:
        yield Pause(0.25)
        return "done"

    assert run(steps(), MemoryStore()) == "done"
    assert slept == [0.25]
