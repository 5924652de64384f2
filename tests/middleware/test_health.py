"""Whether a store replies, in time; and readiness, which one slow command does not change."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sojourn
from sojourn import ConfigurationError, StoreTimeout, StoreUnavailable, healthy
from sojourn.middleware.health import AsyncHealth, Health, Judge
from sojourn.stores import AsyncMemoryStore, MemoryStore

DOWN = StoreUnavailable("down")


class Slow(MemoryStore):
    """A store whose reply is let go by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.may_go = threading.Event()
        self.may_go.set()
        self.error: BaseException | None = None

    def load(self, key: str) -> Any:
        self.calls += 1
        assert self.may_go.wait(30)
        if self.error is not None:
            raise self.error
        return super().load(key)


class SlowAsync(AsyncMemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.may_go = anyio.Event()
        self.may_go.set()
        self.error: Exception | None = None

    async def load(self, key: str) -> Any:
        self.calls += 1
        await self.may_go.wait()
        if self.error is not None:
            raise self.error
        return await super().load(key)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


# -- one moment -----------------------------------------------------------------------------------------------------------


def test_a_store_that_replies_is_healthy() -> None:
    assert healthy(MemoryStore()) is True


@pytest.mark.parametrize("error", [DOWN, StoreTimeout("late"), RuntimeError("its own")])
def test_a_store_that_raises_is_not(error: Exception) -> None:
    store = Slow()
    store.error = error
    assert healthy(store) is False


def test_a_store_that_is_late_is_not_and_nobody_waits_for_it() -> None:
    store = Slow()
    store.may_go.clear()
    assert healthy(store, timeout=0.01) is False
    store.may_go.set()


@pytest.mark.anyio
async def test_an_async_store_is_asked_likewise() -> None:
    store = SlowAsync()
    assert await healthy(store) is True
    store.error = RuntimeError("its own")
    assert await healthy(store) is False
    store.may_go = anyio.Event()
    assert await healthy(store, timeout=0.01) is False


@pytest.mark.parametrize("timeout", [0, -1, "1", None])
def test_a_timeout_is_above_zero(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^timeout: got"):
        healthy(MemoryStore(), timeout=timeout)


def test_it_is_a_name_of_the_package() -> None:
    assert "healthy" in sojourn.__all__


# -- many moments ---------------------------------------------------------------------------------------------------------


def told(judge: Judge, replies: str) -> str:
    """What is thought after each reply: ``+`` for ready, ``-`` for not ready. ``.`` is a reply, ``x`` a failure."""
    shown = ""
    for reply in replies:
        judge.note(None if reply == "." else DOWN)
        shown += "+" if judge.readiness.is_ready else "-"
    return shown


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (".", "+"),  # the first reply is enough
        ("x.", "--"),  # a failure before it is not
        ("x..", "--+"),
        (".x.x.x.xx.xx.", "+++++++++++++"),  # never three in a row
        (".xxx", "+++-"),
        (".xxx.x.x.", "+++------"),  # never two in a row
        (".xxx..", "+++--+"),
        ("xxx", "---"),
    ],
)
def test_it_takes_several_in_a_row_to_change_a_mind(replies: str, expected: str) -> None:
    assert told(Judge(), replies) == expected


@given(st.text("x.", min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_a_mind_changes_only_after_as_many_in_a_row(replies: str, failures: int, successes: int) -> None:
    shown = told(Judge(failures=failures, successes=successes), replies)
    for place in range(1, len(shown)):
        if shown[place - 1 : place + 1] == "+-":
            assert replies[: place + 1].endswith("x" * failures)
        if shown[place - 1 : place + 1] == "-+":
            assert replies[: place + 1].endswith("." * successes)
        if replies[: place + 1].endswith("x" * failures):
            assert shown[place] == "-"
        if replies[: place + 1].endswith("." * successes):
            assert shown[place] == "+"


@pytest.mark.parametrize("name", ["failures", "successes"])
@pytest.mark.parametrize("number", [0, -1, 1.5, True, None])
def test_how_many_is_a_whole_number(name: str, number: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: got"):
        Judge(**{name: number})


def test_a_change_of_mind_is_logged_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    told(Judge(), ".x.xxxx..")
    assert [record.getMessage() for record in caplog.records] == [
        "ready: the session store replies",
        "not ready: the session store does not reply: StoreUnavailable: down",
        "ready: the session store replies",
    ]
    caplog.clear()
    told(Judge(), "xxx")
    assert [record.getMessage() for record in caplog.records] == [
        "not ready: the session store does not reply: StoreUnavailable: down"
    ]


def test_a_reply_counts_for_a_second(time: Time) -> None:
    store = Slow()
    health = Health(store, Judge(clock=time))
    for _ in range(5):
        assert health.check().is_ready
    assert store.calls == 1
    time.now = 0.99
    health.check()
    assert store.calls == 1
    time.now = 1.0
    health.check()
    assert store.calls == 2


def test_what_the_command_took_is_told(time: Time) -> None:
    judge = Judge(clock=time)
    assert judge.readiness.milliseconds is None
    judge.begin()
    time.now = 0.012
    judge.note(None)
    shown: tuple[object, ...] = judge.readiness
    assert shown == (True, 0, 12)
    told(judge, "xx")
    assert judge.readiness.failures == 2


def test_a_command_that_hangs_is_waited_for_by_one_thread_alone(time: Time) -> None:
    store = Slow()
    health = Health(store, Judge(clock=time), timeout=0.01)
    assert health.check().is_ready
    store.may_go.clear()
    shown = []
    for _ in range(4):
        time.now += 1
        shown.append(health.check().is_ready)
    assert shown == [True, True, False, False] and store.calls == 2
    store.may_go.set()
    for _ in range(3):
        time.now += 1
        health._asking._thread.join(10)  # type: ignore[union-attr]
        health.check()
    assert health.check().is_ready


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_command_that_ended_without_a_reply_is_followed_by_another(time: Time) -> None:
    class Timeout(BaseException):
        """As gevent's is."""

    store = Slow()
    health = Health(store, Judge(clock=time), timeout=10)
    store.error = Timeout()
    assert not health.check().is_ready
    store.error = None
    for _ in range(2):
        time.now += 1
        health.check()
    assert health.check().is_ready


def test_probes_that_come_at_once_are_one_command(time: Time) -> None:
    store = Slow()
    store.may_go.clear()
    health = Health(store, Judge(clock=time), timeout=20)
    replies: list[bool] = []
    probes = [threading.Thread(target=lambda: replies.append(health.check().is_ready)) for _ in range(5)]
    for probe in probes:
        probe.start()
    store.may_go.set()
    for probe in probes:
        probe.join(30)
    assert replies == [True] * 5 and store.calls == 1


def test_a_probe_that_finds_another_slow_waits_no_longer_than_it(time: Time) -> None:
    health = Health(Slow(), Judge(clock=time), timeout=0.01)
    assert health.check().is_ready
    with health._turn:
        time.now = 5
        assert health.check().is_ready


@pytest.mark.anyio
async def test_probes_that_come_at_once_are_one_command_of_an_async_store(time: Time) -> None:
    store = SlowAsync()
    store.may_go = anyio.Event()
    health = AsyncHealth(store, Judge(clock=time), timeout=20)
    replies: list[bool] = []

    async def probe() -> None:
        replies.append((await health.check()).is_ready)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(probe)
        await anyio.wait_all_tasks_blocked()
        store.may_go.set()
    assert replies == [True] * 5 and store.calls == 1
    assert (await health.check()).is_ready and store.calls == 1


@pytest.mark.anyio
async def test_a_command_of_an_async_store_that_hangs_is_a_failure(time: Time) -> None:
    store = SlowAsync()
    health = AsyncHealth(store, Judge(clock=time), timeout=0.01)
    assert (await health.check()).is_ready
    store.may_go = anyio.Event()
    shown = []
    for _ in range(3):
        time.now += 1
        shown.append((await health.check()).is_ready)
    assert shown == [True, True, False]


@pytest.mark.anyio
async def test_a_prober_that_has_gone_leaves_the_next_to_ask(time: Time) -> None:
    store = SlowAsync()
    store.may_go = anyio.Event()
    health = AsyncHealth(store, Judge(clock=time), timeout=20)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(health.check)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    store.may_go.set()
    assert (await health.check()).is_ready and store.calls == 2
