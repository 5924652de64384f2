"""A clock that stands still until it is moved."""

from __future__ import annotations

__all__ = ["ManualClock"]


class ManualClock:
    """The ``clock`` of a store: ``clock()`` returns milliseconds since the epoch, ``clock.advance(ms)`` moves on."""

    def __init__(self, now: int = 1_750_000_000_000) -> None:
        self.now: int = now

    def __call__(self) -> int:
        """Return the time."""
        return self.now

    def __repr__(self) -> str:
        return f"ManualClock({self.now})"

    def advance(self, ms: int) -> None:
        """Let ``ms`` milliseconds pass."""
        self.now += ms
