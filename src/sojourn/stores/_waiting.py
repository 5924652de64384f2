"""Callers that wait for replies on one connection of their event loop, in order.

A caller that stops waiting for its reply keeps its place, so that the reply is read and dropped instead of going to another
caller. When the connection is lost, all that wait get an error, and nothing is sent twice: except that a read may be, on another
connection, and so has half of its time for the first try.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeAlias

from msgspec import Struct

from ..aio import unbroken

__all__ = ["Asked", "Line", "LostError", "Note"]

_GRACE: Final = 0.05
"""Seconds for which a reply that is overdue may still be read: the event loop itself may have been blocked."""


Note: TypeAlias = Callable[[Any], None]
"""What is called with a reply, before whoever waits for it gets it; with None where there will be none."""


class LostError(Exception):
    """The connection ended. ``sent``: after the command had left."""

    def __init__(self, cause: Exception, *, sent: bool) -> None:
        super().__init__()
        self.cause = cause
        self.sent = sent


class Asked(Struct, eq=False):
    """What waits for its reply."""

    reply: asyncio.Future[Any]
    what: Any
    due: float
    """When, by the event loop's clock."""
    asked_at: float
    is_first_try: bool = False
    """It may be sent again on another connection."""
    is_firm: bool = False
    """Whoever waits for it waits on, `to_the_end`, though the wait be cancelled."""
    note: Note | None = None

    def to_the_end(self) -> unbroken[Any]:
        """The rest of a wait that was cancelled."""
        if self.reply.cancelled():
            self.reply = self.reply.get_loop().create_future()
        return unbroken(self.reply)

    def fail(self, error: Exception) -> None:
        """Tell whoever waits that there will be no reply."""
        future = self._future()
        if future is not None:
            future.set_exception(error)
            if self.is_firm:
                future.exception()  # or asyncio would complain, should nobody wait on

    def answer(self, reply: Any) -> None:
        """Give the reply to whoever waits, who goes on soon."""
        future = self._future()
        if future is not None:
            future.set_result(reply)

    def answer_now(self, reply: Any) -> None:
        """Likewise, and let the one task that waits go on now: in its next turn the event loop would first look for I/O, by a system call.

        The event loop itself has to call this, and no task.
        """
        future = self.reply
        # There is no other way to know who waits. A version of asyncio that kept it elsewhere would tell of the reply a turn later.
        callbacks = getattr(future, "_callbacks", None)
        if future.done() or not callbacks or len(callbacks) > 1:
            self.answer(reply)
            return
        ((callback, context),) = callbacks
        future.remove_done_callback(callback)
        future.set_result(reply)
        context.run(callback, future)

    def _future(self) -> asyncio.Future[Any] | None:
        """What whoever waits is to be told by; None where nobody does any more."""
        if not self.reply.done():
            return self.reply
        if not self.is_firm:
            return None
        # Whoever was cancelled a moment ago is about to wait on.
        self.reply = self.reply.get_loop().create_future()
        return self.reply


class Line(ABC):
    """A connection, and the callers that wait for its replies, each for so many seconds at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        self._waiting: list[Asked] = []
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        """When the timer ends."""
        self._overdue: Asked | None = None
        self.used_at = loop.time()
        self.is_open = False

    @property
    def load(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def is_idle_for(self, seconds: float) -> bool:
        """Whether nothing was sent for longer than that, and nothing is waited for."""
        return not self._waiting and self._loop.time() - self.used_at > seconds

    def lose(self, error: Exception) -> None:
        """End the connection, with an error for each waiting caller."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._looks_at = None, math.inf
        waiting, self._waiting = self._waiting, []
        sent = len(waiting) - self._forget_unsent()
        for place, asked in enumerate(waiting):
            if asked.note is not None:
                asked.note(None)
            asked.fail(LostError(error, sent=place < sent))
        self._abort()

    @abstractmethod
    def _forget_unsent(self) -> int:
        """Drop what has not left yet; returns how many of the last that wait it is."""

    @abstractmethod
    def _abort(self) -> None:
        """Close the connection at once; harmless when it is."""

    def _wait(self, what: Any, share: float) -> Asked:
        """Have what is being sent wait for its reply, within a share of the time that is set.

        Raises:
            LostError: from the reply: there will be none.
        """
        self.used_at = now = self._loop.time()
        due = now + self._timeout * share
        if due < self._looks_at:
            self._look_at(due)
        asked = Asked(asyncio.Future(loop=self._loop), what, due, now)
        self._waiting.append(asked)
        return asked

    def _look_at(self, due: float) -> None:
        """See then at the latest whether a reply is overdue."""
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = due
        # Not in the context of a request, which would live as long, with all that is in it.
        self._timer = self._loop.call_at(due, self._check, context=contextvars.Context())

    def _check(self) -> None:
        """See whether a reply is overdue, also one that nobody waits for any more: it tells as much of the connection."""
        self._timer, self._looks_at = None, math.inf
        if not self._waiting:
            if not self.is_open:  # given up, and the last reply has come all the same
                self._abort()
            return
        first, now = min(self._waiting, key=attrgetter("due")), self._loop.time()
        if first.due > now:
            self._look_at(first.due)
        elif self._overdue is not first:
            self._overdue = first
            self._look_at(now + _GRACE)
        else:
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        """Let the reads that are overdue try elsewhere, and the next commands too; but a write that is overdue ends it for all."""
        self.is_open = False
        left = [asked for asked in self._waiting if not asked.reply.done()]
        overdue = [asked for asked in left if asked.due <= now]
        for asked in overdue if all(asked.is_first_try for asked in overdue) else ():
            asked.fail(LostError(_overdue(self._timeout / 2), sent=True))
        waiting = [asked.due for asked in left if not asked.reply.done()]
        if not waiting or min(waiting) <= now:
            self.lose(_overdue(self._timeout))
        else:
            self._look_at(min(waiting))


def _overdue(timeout: float) -> TimeoutError:
    return TimeoutError(f"no reply within {timeout:g} s")
