"""The logger ``sojourn``, warnings that are logged once, and one line per outage instead of one per request."""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["OutageLog", "log", "warn_once"]

log: Final = logging.getLogger("sojourn")

_said: set[str] = set()


def warn_once(topic: str, message: str, *args: object) -> None:
    """Log a warning the first time this process meets the topic."""
    if topic not in _said:
        _said.add(topic)
        log.warning(message, *args)


class OutageLog:
    """Remembers whether the store is failing, so that the log says when that begins and when it ends."""

    __slots__ = ("failures",)

    def __init__(self) -> None:
        self.failures: int = 0
        """Failed operations since the last that worked."""

    def failure(self, error: BaseException, consequence: str) -> None:
        """Count a failure; the first of an outage is logged with its cause and what requests get meanwhile."""
        self.failures += 1
        if self.failures == 1:
            log.error("session store fails: %s: %s; %s", type(error).__name__, error, consequence, exc_info=error)

    def success(self) -> None:
        """Note a success; the first after an outage is logged."""
        if self.failures:
            log.warning("session store is back after %d failed operation(s)", self.failures)
            self.failures = 0
