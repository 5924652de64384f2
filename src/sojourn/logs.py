"""The logger ``sojourn``, warnings that are logged once, and one line per outage instead of one per request."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Final

__all__ = ["OutageLog", "described", "log", "log_driver_error", "warn_of_order", "warn_once"]

log: Final = logging.getLogger("sojourn")

_driver_log: Final = logging.getLogger("sojourn.driver")

_said: set[str] = set()


def warn_once(topic: str, message: str, *args: object) -> None:
    """Log a warning the first time this process meets the topic."""
    if topic not in _said:
        _said.add(topic)
        log.warning(message, *args)


def warn_of_order(option: str, given: object, does: str) -> None:
    """Log, once, that the first of several counts, and that what was given has no first."""
    if isinstance(given, set | frozenset) and len(given) > 1:
        warn_once(
            f"order of {option}",
            "%s is a set, which has no order: which of them %s differs from process to process; give a list, the newest first",
            option,
            does,
        )


def log_driver_error(error: BaseException) -> None:
    """Log what a driver says of a failure, which may show ids, keys, passwords and the data of visitors.

    Only where the operator has given the logger ``sojourn.driver`` the level DEBUG by its name: it is not inherited.
    """
    if 0 < _driver_log.level <= logging.DEBUG:
        _driver_log.debug("%s: %r", type(error).__name__, str(error))  # as a literal: one line, whatever is in it


_CODES: Final = ("sqlstate", "sqlite_errorname", "code", "errno")
"""Where drivers, and Python, keep an error's code."""
_is_code: Final = re.compile(r"\w{1,40}").fullmatch


def described(error: BaseException, text: str | None = None) -> BaseException:
    """The error as the log may show it: of its class, from its place, and by its own words.

    Another that led to it, such as a driver's under a store of the application's own, may quote anything. It is told by class and code,
    and where the error has its words, so is that.

    Args:
        error: what was raised. It stays as it is.
        text: what to say instead of its own text.
    """
    said = str(error) if text is None else text
    others = _behind(error)
    if any(str(other) and str(other) in said for other in others):
        said = ""
    if others and type(others[0]).__name__ not in said:
        kind = _kind_of(others[0])
        said = f"{said} ({kind})" if said else kind
    shown = BaseException.__new__(type(error))  # past its own __init__, which may want anything
    shown.args = (said if said.isprintable() else repr(said),)
    return shown.with_traceback(error.__traceback__)


def _behind(error: BaseException) -> list[BaseException]:
    """The errors that led to one, those of our own classes left out."""
    found = [error]
    for one in found:  # grows while it is walked
        for other in (getattr(one, "driver_error", None), one.__cause__, one.__context__):
            if other is not None and not any(other is known for known in found):
                found.append(other)
    return [one for one in found if one is not error and not type(one).__module__.startswith(f"{__package__}.")]


def _kind_of(error: BaseException) -> str:
    codes = [str(getattr(error, name, None)) for name in _CODES]
    return " ".join([type(error).__name__, *[code for code in codes if code != "None" and _is_code(code)][:1]])


class OutageLog:
    """Remembers whether the store is failing, so that the log says when that begins and when it ends.

    Args:
        tell: is told the same: what failed first, or how many operations had failed.
    """

    __slots__ = ("_tell", "awaits", "failures")

    def __init__(self, tell: Callable[[BaseException | int], object] | None = None) -> None:
        self._tell = tell
        self.awaits: bool = tell is not None
        """Whether the next that works is to be noted: the store is failing, or somebody listens to all that happens."""
        self.failures: int = 0
        """Failed operations since the last that worked."""

    def failure(self, error: BaseException, consequence: str) -> None:
        """Count a failure; the first of an outage is logged, and what requests get meanwhile."""
        before = self.failures  # looked at once: of several threads, none is to take the line of another for its own
        self.failures = before + 1
        self.awaits = True
        if not before:
            if self._tell is not None:
                self._tell(error)
            shown = described(error)
            log.error("session store fails: %s: %s; %s", type(shown).__name__, *shown.args, consequence, exc_info=shown)

    def success(self) -> None:
        """Note a success; the first after an outage is logged."""
        failures = self.failures
        if failures:
            self.awaits, self.failures = self._tell is not None, 0  # in this order: a failure in between is waited for
            log.warning("session store is back after %d failed operation(s)", failures)
            if self._tell is not None:
                self._tell(failures)
