"""What the SQLite stores can be told, by argument or in a URL, and what they make of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from ...clock import Clock, Duration, duration_ms
from ...errors import ConfigurationError

__all__ = ["ASYNC_OPTIONS", "OPTIONS", "Settings", "parse_url"]

_SYNCHRONOUS: Final = ("NORMAL", "FULL", "OFF")


class Settings(NamedTuple):
    """The arguments of a store, checked. Times are in seconds."""

    path: str
    synchronous: str
    timeout: float
    prune_interval: float | None
    max_size: int
    clock: Clock

    @classmethod
    def check(
        cls,
        path: object,
        *,
        synchronous: object,
        timeout: Duration,
        prune_interval: Duration | None,
        max_size: object,
        clock: Clock,
    ) -> Settings:
        """Accept the arguments of a store.

        Raises:
            ConfigurationError: naming the one that is not what it should be.
        """
        if synchronous not in _SYNCHRONOUS:
            raise ConfigurationError("synchronous", repr(synchronous), f"give one of {', '.join(_SYNCHRONOUS)}")
        if not callable(clock):
            raise ConfigurationError("clock", type(clock).__name__, "give a function that returns milliseconds")
        return cls(
            _path(path),
            str(synchronous),
            duration_ms("timeout", timeout) / 1000,
            None if prune_interval is None else _interval(prune_interval),
            _whole("max_size", max_size),
            clock,
        )


def _interval(given: Duration) -> float:
    interval = duration_ms("prune_interval", given)
    if interval == 0:
        raise ConfigurationError("prune_interval", repr(given), "give a duration above zero, or None for never")
    return interval / 1000


def _path(given: object) -> str:
    remedy = "give the path of a file in an existing folder"
    if not isinstance(given, str | os.PathLike):
        raise ConfigurationError("path", type(given).__name__, remedy)
    text = os.fspath(given)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError("path", repr(text), remedy)
    if text.startswith((":memory:", "file:")):
        raise ConfigurationError("path", repr(text), "give the path of a file; sessions in memory are memory://")
    path = Path(text).absolute()
    if path.is_dir():
        raise ConfigurationError("path", repr(text), f"this is a folder; {remedy}")
    if not path.parent.is_dir():
        raise ConfigurationError("path", repr(text), f"create the folder {str(path.parent)!r} first")
    return str(path)


def _whole(option: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(option, repr(value), "give a whole number, at least 1")
    return value


def _number(option: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigurationError(option, repr(value), "give a number of seconds") from None


def _integer(option: str, value: str) -> int:
    return _whole(option, int(value) if value.isascii() and value.isdecimal() else value)


def _boolean(option: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise ConfigurationError(option, repr(value), "give true or false")
    return value == "true"


OPTIONS: Final[dict[str, Callable[[str, str], Any]]] = {
    "synchronous": lambda _, value: value.upper(),
    "timeout": _number,
    "prune_interval": _number,
    "max_size": _integer,
}
ASYNC_OPTIONS: Final = {**OPTIONS, "read_in_thread": _boolean}


def parse_url(url: str, known: dict[str, Callable[[str, str], Any]]) -> tuple[str, dict[str, Any]]:
    """The path in a ``sqlite://`` URL, and the arguments that its query gives."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or parts.fragment or not parts.path.startswith("/"):
        raise ConfigurationError(
            "store", "a URL of another form", "give sqlite:///relative.db or sqlite:////absolute/path.db"
        )
    options = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ConfigurationError("store", f"option {name!r}", f"sqlite:// has the options {', '.join(known)}")
        options[name] = known[name](name, value)
    return unquote(parts.path[1:]), options
