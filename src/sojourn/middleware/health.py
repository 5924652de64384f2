"""Whether a store replies: one cheap command with a deadline of its own, and a judgement of many that one slow command does not change."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeAlias, overload

from ..aio import new_event, wait, within
from ..clock import Duration, duration_ms
from ..core.store import AsyncStore, Store
from ..errors import ConfigurationError, StoreTimeout
from ..logs import described, log

__all__ = ["AsyncHealth", "Health", "Judge", "Readiness", "healthy"]

_KEY: Final = "sojourn:health"
"""What is asked for: a record that no session has, so that the store reads an index, and sends nothing."""
_DEADLINE: Final = 0.5
_Reply: TypeAlias = Exception | None
"""What a command came to: None where the store replied."""


@overload
def healthy(store: Store, *, timeout: Duration = _DEADLINE) -> bool: ...
@overload
def healthy(store: AsyncStore, *, timeout: Duration = _DEADLINE) -> Awaitable[bool]: ...
def healthy(store: Any, *, timeout: Duration = _DEADLINE) -> bool | Awaitable[bool]:
    """Whether a store replies to one cheap command, a load of nothing, in time. Whatever the store raises is False.

    That is one moment. For a load balancer's probes take `sojourn.health`, which does not change its mind for one slow command.

    Args:
        store: of either colour; with an async one await what is returned.
        timeout: how long the store may take.

    Raises:
        ConfigurationError: the timeout is none, or zero.
    """
    seconds = _seconds(timeout)
    return _healthy_async(store, seconds) if _is_async(store) else _Asking(store).wait(seconds) is None


async def _healthy_async(store: Any, seconds: float) -> bool:
    return await _ask(store, seconds) is None


def _is_async(store: Any) -> bool:
    return inspect.iscoroutinefunction(store.load)


def _seconds(timeout: Duration) -> float:
    milliseconds = duration_ms("timeout", timeout)
    if not milliseconds:
        raise ConfigurationError("timeout", repr(timeout), "give a duration above zero")
    return milliseconds / 1000


def _overdue(seconds: float) -> StoreTimeout:
    return StoreTimeout(f"no reply within {seconds:g} s")


async def _ask(store: Any, seconds: float) -> _Reply:
    try:
        await within(seconds, store.load(_KEY))
    except TimeoutError:
        return _overdue(seconds)
    except Exception as error:  # noqa: BLE001 - a store of somebody's own may raise anything: it is not well
        return error
    return None


class _Asking:
    """A command on a thread of its own, which may hang for longer than anybody waits for it."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._replies: list[_Reply] = []
        self._thread = threading.Thread(target=self._ask, name="sojourn-health", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self._store.load(_KEY)
        except Exception as error:  # noqa: BLE001 - as above
            self._replies.append(error)
        else:
            self._replies.append(None)

    @property
    def hangs(self) -> bool:
        return (
            not self._replies and self._thread.is_alive()
        )  # after a fork, or what is no Exception, nobody asks any more

    def wait(self, seconds: float) -> _Reply:
        self._thread.join(seconds)
        return self._replies[0] if self._replies else _overdue(seconds)


class Readiness(NamedTuple):
    """What is thought of a store, as probes are told."""

    is_ready: bool
    failures: int
    """How many commands have failed in a row."""
    milliseconds: int | None
    """What the last command took; None where there was none yet."""


class Judge:
    """Readiness out of single replies: it takes several in a row to change it, either way.

    A process is not ready until the store replied for the first time. Then it stays ready until ``failures`` commands in a row have failed,
    and not ready until ``successes`` in a row have not. A reply counts for ``fresh`` seconds, however many probes come within.
    """

    def __init__(
        self, *, failures: int = 3, successes: int = 2, fresh: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        for name, number in (("failures", failures), ("successes", successes)):
            if type(number) is not int or number < 1:
                raise ConfigurationError(name, repr(number), "give how many in a row, 1 or more")
        self._limits = {False: failures, True: successes}
        self._fresh = fresh
        self._clock = clock
        self._began = 0.0
        self._due = float("-inf")
        self._run: tuple[bool, int] = (False, 0)
        self.readiness: Readiness = Readiness(is_ready=False, failures=0, milliseconds=None)

    @property
    def is_due(self) -> bool:
        """Whether the store has to be asked again."""
        return self._clock() >= self._due

    def begin(self) -> None:
        """The store is asked now."""
        self._began = self._clock()

    def note(self, reply: _Reply) -> None:
        """What came of it. A change of mind is logged."""
        now = self._clock()
        self._due = now + self._fresh
        is_well = reply is None
        before = self.readiness
        in_a_row = self._run[1] + 1 if self._run[0] is is_well else 1
        self._run = is_well, in_a_row
        is_first = before.milliseconds is None
        is_ready = before.is_ready
        if is_well is not is_ready and (is_first or in_a_row >= self._limits[is_well]):
            is_ready = is_well
        self.readiness = Readiness(is_ready, 0 if is_well else in_a_row, round((now - self._began) * 1000))
        if is_ready is before.is_ready and not (is_first and reply):
            return
        if reply is None:
            log.warning("ready: the session store replies")
        else:
            shown = described(reply)
            log.error("not ready: the session store does not reply: %s: %s", type(reply).__name__, *shown.args)


class Health:
    """Readiness on a store in the sync colour. One thread at most waits for the store, whatever the number of probes."""

    def __init__(self, store: Any, judge: Judge, *, timeout: Duration = _DEADLINE) -> None:
        self._store = store
        self._judge = judge
        self._seconds = _seconds(timeout)
        self._turn = threading.Lock()
        self._asking: _Asking | None = None

    def check(self) -> Readiness:
        """Ask the store if it is time to; returns after ``timeout`` at the latest. Nothing is raised."""
        judge = self._judge
        if not self._turn.acquire(timeout=self._seconds):
            return judge.readiness  # another probe asks, and its command is slow
        try:
            if judge.is_due:
                judge.begin()
                asking = self._asking
                if asking is None or not asking.hangs:
                    asking = self._asking = _Asking(self._store)
                judge.note(asking.wait(self._seconds))
        finally:
            self._turn.release()
        return judge.readiness


class AsyncHealth:
    """Readiness on a store in the async colour, on one event loop."""

    def __init__(self, store: Any, judge: Judge, *, timeout: Duration = _DEADLINE) -> None:
        self._store = store
        self._judge = judge
        self._seconds = _seconds(timeout)
        self._asked: Any = None

    async def check(self) -> Readiness:
        """Ask the store if it is time to; see `Health.check`."""
        judge = self._judge
        if self._asked is not None:
            await wait(self._asked, self._seconds)
        elif judge.is_due:
            asked = self._asked = new_event()
            judge.begin()
            try:
                judge.note(await _ask(self._store, self._seconds))
            finally:  # also where the prober has gone: the next one asks
                self._asked = None
                asked.set()
        return judge.readiness
