"""Whose turn it is: the commits of one session leave a process one after the other, and so do its exclusive requests.

It spares the store and the waiting ones; it is not what keeps a session right. That is the store's compare and set, or its lock, as
other processes come too.

Who waits is told by an event, of whatever kind its colour has. What the one before has stored is handed to the next, which then need not
load it. Where nobody else is there, a turn is an entry in a dict.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable
from time import monotonic, sleep
from typing import Any, Final
from weakref import WeakValueDictionary

from msgspec import Struct

from ..core.steps import Pause, Turn
from ..core.store import Stored
from ..errors import SessionConflict
from .touches import Touches

__all__ = ["Line", "Turns", "patience", "turns_of", "waited_too_long"]


class Line(Struct, eq=False):
    """Those who are at one session now, and those who wait."""

    turns: Turns
    key: Hashable
    inside: int = 1
    """How many are at it: one whose turn it is, and any number of those that do not wait."""
    known: Stored | None = None
    """What the one before left in the store, where it is known."""
    waiting: deque[Any] | None = None
    _napping: Any = None

    def wait(self, event: Any) -> None:
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(event)

    def nap(self, event: Any) -> Any:
        """What ends the pause of the one whose turn it is, if it is woken; returns the event."""
        self._napping = event
        return event

    def wake(self) -> None:
        """Let the one whose turn it is look again."""
        if self._napping is not None:
            self._napping.set()

    def leave(self, known: Stored | None = None) -> None:
        """Let the next one in. Everybody who came in calls it, once."""
        with self.turns.mutex:
            if self.inside == 1 and self.waiting:
                self.known = known
                self.waiting.popleft().set()
                return
            self.inside -= 1
            if not self.inside:
                self.turns.lines.pop(self.key, None)

    def give_up(self, event: Any) -> None:
        """Wait no longer."""
        with self.turns.mutex:
            if self.waiting and event in self.waiting:
                self.waiting.remove(event)
                return
        self.leave(self.known)  # it was let in at the last moment


class Turns:
    """The lines of one store. Safe to use from several threads at once."""

    def __init__(self, store: Any) -> None:
        self._store = store  # as long as there is this object, its address is the store's
        self.begin()

    def begin(self) -> None:
        """Nobody is there."""
        self.mutex: threading.Lock = threading.Lock()
        self.lines: dict[Hashable, Line] = {}
        self.touches: Touches = Touches()

    def enter(self, key: Hashable, event: Callable[[], Any], *, waits: bool) -> tuple[Line, Any]:
        """Come in, or stand in line: then an event that tells when it is one's turn."""
        with self.mutex:
            line = self.lines.get(key)
            if line is None:
                line = self.lines[key] = Line(self, key)
                return line, None
            if not waits:
                line.inside += 1
                return line, None
            told = event()
            line.wait(told)
            return line, told

    def wake(self, key: Hashable) -> None:
        """Tell the one whose turn it is that what it waits for may have come."""
        line = self.lines.get(key)
        if line is not None:
            line.wake()

    def pause(self, op: Pause) -> None:
        """Pause in the sync colour, until woken."""
        if op.turn is None:
            sleep(op.seconds)
        else:
            op.turn.nap(threading.Event()).wait(op.seconds)

    def take(self, turn: Turn) -> Line:
        """Wait for one's turn, in the sync colour.

        Raises:
            SessionConflict: it did not come in time.
        """
        line, told = self.enter(turn.key, threading.Event, waits=turn.waits)
        if told is not None:
            is_turn = False
            try:
                is_turn = told.wait(patience(turn))
            finally:
                if not is_turn:
                    line.give_up(told)
            if not is_turn:
                raise waited_too_long()
        return line


def patience(turn: Turn) -> float:
    """How long to wait for it, in seconds."""
    return max(0.0, turn.until - monotonic())


def waited_too_long() -> SessionConflict:
    """Why somebody waits no longer."""
    return SessionConflict("other requests of the session were first for too long")


_OF: Final[WeakValueDictionary[int, Turns]] = WeakValueDictionary()


def turns_of(store: Any) -> Turns:
    """The turns at a store: the same for every middleware that uses it."""
    return _OF.setdefault(id(store), Turns(store))


def _begin_in_child() -> None:
    """After a fork nobody is there: who was is in the parent."""
    for turns in _OF.values():
        turns.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
