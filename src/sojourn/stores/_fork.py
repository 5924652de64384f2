"""What a fork has to wait for: a lock that another thread holds at that moment would stay locked in the child for ever."""

from __future__ import annotations

import os
import threading
from typing import Final, Protocol
from weakref import WeakSet

__all__ = ["HeldLock", "register"]


class Forkable(Protocol):
    """Something that comes to rest before a fork of its process and goes on after it, in both processes."""

    def before_fork(self) -> None: ...

    def after_fork_in_parent(self) -> None: ...

    def after_fork_in_child(self) -> None: ...


class HeldLock:
    """A lock that is held over a fork, so that no other thread is in the midst of what it guards."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:  # pragma: no cover - runs in forked children, which report no coverage
        self._lock.release()


_known: Final[WeakSet[Forkable]] = WeakSet()
_turn: Final = threading.Lock()
"""Held by the thread that forks, from before it to after it in either process, and to change what is known."""
_resting: Final[list[Forkable]] = []


def register(one: Forkable) -> None:
    """Have it told of forks, for as long as it lives."""
    with _turn:
        _known.add(one)


def _before() -> None:
    _turn.acquire()
    for one in _known:
        one.before_fork()
        _resting.append(one)


def _after_in_parent() -> None:
    while _resting:
        _resting.pop().after_fork_in_parent()
    _turn.release()


def _after_in_child() -> None:  # pragma: no cover - runs in forked children, which report no coverage
    while _resting:
        _resting.pop().after_fork_in_child()
    _turn.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
