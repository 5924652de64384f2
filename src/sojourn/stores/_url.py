"""The options of the stores, as text in the query of a URL or as arguments.

Each function takes the name of an option and what was given for it. It returns the value, or raises a
`ConfigurationError` that says which option it is, what was given and what would be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from ..clock import Clock, Duration, duration_ms
from ..errors import ConfigurationError

__all__ = [
    "Converter",
    "boolean",
    "check_clock",
    "check_flag",
    "check_positive",
    "check_seconds",
    "duration",
    "integer",
    "is_number",
    "parse_query",
    "positive",
    "seconds",
    "text",
]

Converter: TypeAlias = Callable[[str, str], Any]
"""Turns the text of an option in a URL into its value."""

_WHOLE: Final = "give a whole number"


def parse_query(scheme: str, query: str, known: Mapping[str, Converter]) -> dict[str, Any]:
    """The options in the query of a URL. Of two with the same name the last one counts."""
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ConfigurationError("store", f"option {name!r}", f"{scheme}:// has the options {', '.join(known)}")
        options[name] = known[name](name, value)
    return options


# -- text in a URL


def text(_option: str, value: str) -> str:
    """Any text."""
    return value


def boolean(option: str, value: str) -> bool:
    """``true`` or ``false``."""
    if value not in {"true", "false"}:
        raise ConfigurationError(option, repr(value), "give true or false")
    return value == "true"


def integer(option: str, value: str) -> int:
    """A whole number, from zero."""
    if not is_number(value):
        raise ConfigurationError(option, repr(value), _WHOLE)
    return int(value)


def positive(option: str, value: str) -> int:
    """A whole number, at least 1."""
    return check_positive(option, int(value) if is_number(value) else value)


def seconds(option: str, value: str) -> float:
    """A number of seconds. The store itself checks its range."""
    try:
        return float(value)
    except ValueError:
        raise ConfigurationError(option, repr(value), "give a number of seconds") from None


def duration(option: str, value: str) -> float:
    """A number of seconds above zero."""
    return check_seconds(option, seconds(option, value))


def is_number(value: str) -> bool:
    """Whether a text is decimal digits alone."""
    return value.isascii() and value.isdecimal()


# -- arguments


def check_flag(option: str, given: object) -> bool:
    """True or False."""
    if not isinstance(given, bool):
        raise ConfigurationError(option, repr(given), "give True or False")
    return given


def check_positive(option: str, given: object) -> int:
    """A whole number, at least 1."""
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ConfigurationError(option, repr(given), f"{_WHOLE}, at least 1")
    return given


def check_seconds(option: str, given: Duration, *, none: str = "") -> float:
    """A duration above zero, in seconds. Where the option may also be None, ``none`` says what that means."""
    ms = duration_ms(option, given)
    if ms == 0:
        raise ConfigurationError(option, repr(given), "give a duration above zero" + (none and f", or None for {none}"))
    return ms / 1000


def check_clock(given: Clock) -> Clock:
    """A function."""
    if not callable(given):
        raise ConfigurationError("clock", type(given).__name__, "give a function that returns milliseconds")
    return given
