"""The two drivers: every operation of the core's tasks reaches the store, and what it returns or raises reaches the task."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from sojourn.clock import system_clock
from sojourn.codecs import join
from sojourn.core.commit import commit
from sojourn.core.plan import Create, Phase, Regenerate, Replace, Touch
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.state import State
from sojourn.core.steps import Delete, Load, Lock, Pause, Steps, Unlock
from sojourn.core.store import EXISTS, Deleted, Replaced, Stored
from sojourn.errors import SessionNotFound, SessionTooLarge
from sojourn.middleware import drive
from sojourn.middleware.async_ import AsyncMiddleware
from sojourn.middleware.drive import commit_at_once, run, run_async
from sojourn.stores import AsyncMemoryStore, MemoryStore
from sojourn.testing import as_async
from tests.core.making import DAY, SECRET, make_settings, stored_state


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

    async def pause(op: Pause) -> None:
        pauses.append(op.seconds)

    store = as_async(MemoryStore(max_size=10))
    assert await run_async(steps_of_everything(seen), store, {Pause: pause}) == "done"
    assert seen == EVERYTHING
    assert pauses == [0.0]


def failing() -> Steps[None]:
    yield Pause(0)
    raise SessionNotFound("gone")


@pytest.mark.anyio
async def test_an_error_of_the_task_is_its_callers():
    async def pause(_op: Pause) -> None:
        pass

    with pytest.raises(SessionNotFound):
        run(failing(), MemoryStore())
    with pytest.raises(SessionNotFound):
        await run_async(failing(), MemoryStore(), {Pause: pause})


def steps_that_note(seen: list[type[BaseException]]) -> Steps[None]:
    try:
        yield Pause(0)
    except BaseException as error:
        seen.append(type(error))
        raise


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_interrupts_an_operation_is_the_task_s_to_hear_of(error: type[BaseException]):
    def interrupt(_op: Pause) -> None:
        raise error

    async def interrupt_async(op: Pause) -> None:
        interrupt(op)

    seen: list[type[BaseException]] = []
    with pytest.raises(error):
        run(steps_that_note(seen), MemoryStore(), {Pause: interrupt})
    work = run_async(steps_that_note(seen), MemoryStore(), {Pause: interrupt_async})
    with pytest.raises(error):
        work.send(None)
    assert seen == [error, error]


def test_a_task_whose_runner_is_gone_is_closed():
    class Never:
        def __await__(self) -> Any:
            yield

    async def wait(_op: Pause) -> None:
        await Never()

    seen: list[type[BaseException]] = []
    work = run_async(steps_that_note(seen), MemoryStore(), {Pause: wait})
    work.send(None)
    work.close()
    assert seen == [GeneratorExit]


def test_a_pause_is_really_slept(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(drive, "_sleep", slept.append)

    def steps() -> Steps[str]:
        yield Pause(0.25)
        return "done"

    assert run(steps(), MemoryStore()) == "done"
    assert slept == [0.25]


class Contended(MemoryStore):
    """A store that somebody else writes to just before each of the first replaces."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        if self.left:
            self.left -= 1
            found = self.load(key)
            assert isinstance(found, Stored)
            theirs = re.sub(rb'"m":\d+', b'"m":%d' % self.left, found.data)
            assert super().replace(key, theirs, ttl, version=found.version) == theirs
        return super().replace(key, data, ttl, version=version, owner=owner)


def contended(times: int) -> tuple[Contended, State]:
    store = Contended(times)
    state = stored_state(make_settings(clock=system_clock), {"m": 9})
    assert state.loaded is not None
    store.create(state.loaded.key, state.loaded.stored.data, DAY)
    Session(state)["mine"] = 1
    return store, state


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(drive, "_sleep", pauses.append)
    return pauses


def test_with_a_store_in_the_process_conflicts_are_merged_at_once_and_no_event_loop_waits(paused):
    store, state = contended(3)
    plan = commit_at_once(state, decide(state), Phase.RESPONSE, store)
    assert plan.record is not None
    assert join(plan.record.data) == b'{"m":0,"mine":1}'
    assert state.loaded is not None
    found = store.load(state.loaded.key)
    assert isinstance(found, Stored) and found[:2] == state.loaded.stored[:2]  # a millisecond may have passed
    assert paused == [0, 0, 0]


def test_with_any_other_store_they_are_merged_after_a_pause(paused):
    store, state = contended(3)
    run(commit(state, decide(state)), store)
    assert len(paused) == 3 and max(paused) > 0


def test_an_error_of_the_first_try_is_the_steps_to_deal_with():
    store, state = contended(0)
    store.max_size = 10
    with pytest.raises(SessionTooLarge):
        commit_at_once(state, decide(state), Phase.RESPONSE, store)


def test_what_runs_on_a_store_in_the_process_never_suspends_and_so_cannot_be_cancelled_half_way(paused):
    given: Any = {"secret": SECRET, "store": AsyncMemoryStore()}
    middleware = AsyncMiddleware(given)
    store, state = contended(2)
    middleware.direct = store
    work = middleware.run(commit(state, decide(state)))
    with pytest.raises(StopIteration):
        work.send(None)
    assert store.left == 0 and paused == [0, 0]
