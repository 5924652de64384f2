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

__all__ = ["FirmReply", "FirstTry", "Line", "LostError", "Note", "Reply"]

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


class Reply(asyncio.Future[Any]):
    """A reply that is waited for, and what is to be known of it meanwhile.

    It can wake the task that awaits it at once: in its next turn the event loop would first look for I/O, by a system call. By asyncio's own
    methods it wakes the task in the next turn, as ever: of an error, and of a cancellation.
    """

    __slots__ = ("asked_at", "due", "note", "waiter", "what")

    is_first_try = False
    """It may be sent again on another connection."""
    waiter: tuple[Callable[[Any], object], contextvars.Context] | None
    """The task that waits: how it is woken, and the context in which it goes on."""
    what: Any
    due: float
    """When, by the event loop's clock."""
    asked_at: float
    """When it was sent, and whom to tell of it first, where that is of interest."""
    note: Note | None

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: contextvars.Context | None = None
    ) -> None:
        if context is None or self.waiter is not None or self.done():  # a task says in which context it goes on
            super().add_done_callback(callback, context=context)
        else:
            self.waiter = callback, context

    def set_result(self, result: Any) -> None:
        super().set_result(result)
        self._wake_soon()

    def set_exception(self, error: type | BaseException) -> None:
        super().set_exception(error)
        self._wake_soon()

    def cancel(self, msg: Any = None) -> bool:
        is_cancelled = super().cancel(msg)
        self._wake_soon()
        return is_cancelled

    def _wake_soon(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            super().add_done_callback(waiter[0], context=waiter[1])


class FirstTry(Reply):
    """The reply to a read that may be sent again on another connection."""

    __slots__ = ()

    is_first_try = True


class FirmReply(Reply):
    """A reply whose wait is not to be cut short, as that to a write: see `unbroken`, which is the rest of it."""

    __slots__ = ()

    def cancel(self, msg: Any = None) -> bool:
        return False


class Line(ABC):
    """A connection, and the callers that wait for its replies, each for so many seconds at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        self._waiting: list[Reply] = []
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        """When the timer ends."""
        self._overdue: asyncio.Future[Any] | None = None
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
        for place, reply in enumerate(waiting):
            if not reply.done():
                reply.set_exception(LostError(error, sent=place < sent))
        self._abort()

    @abstractmethod
    def _forget_unsent(self) -> int:
        """Drop what has not left yet; returns how many of the last that wait it is."""

    @abstractmethod
    def _abort(self) -> None:
        """Close the connection at once; harmless when it is."""

    def _wait(self, kind: type[Reply], what: Any, share: float) -> Reply:
        """The reply to what is being sent, within a share of the time that is set.

        Raises:
            LostError: from the reply: there will be none.
        """
        reply = kind(loop=self._loop)
        reply.waiter = None
        reply.what = what
        self.used_at = now = self._loop.time()
        reply.due = due = now + self._timeout * share
        if due < self._looks_at:
            self._look_at(due)
        self._waiting.append(reply)
        return reply

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
        left = [reply for reply in self._waiting if not reply.done()]
        overdue = [reply for reply in left if reply.due <= now]
        for reply in overdue if all(reply.is_first_try for reply in overdue) else ():
            reply.set_exception(LostError(_overdue(self._timeout / 2), sent=True))
        waiting = [reply.due for reply in left if not reply.done()]
        if not waiting or min(waiting) <= now:
            self.lose(_overdue(self._timeout))
        else:
            self._look_at(min(waiting))


def _overdue(timeout: float) -> TimeoutError:
    return TimeoutError(f"no reply within {timeout:g} s")
