"""The options of the SQLite stores, as arguments or in a URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from ...clock import Clock, Duration, duration_ms
from ...errors import ConfigurationError
from .._url import (
    Converter,
    boolean,
    check_clock,
    check_positive,
    check_seconds,
    parse_query,
    positive,
    seconds,
)

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
            ConfigurationError: one is not valid; the error names it.
        """
        if synchronous not in _SYNCHRONOUS:
            raise ConfigurationError("synchronous", repr(synchronous), f"give one of {', '.join(_SYNCHRONOUS)}")
        return cls(
            _path(path),
            str(synchronous),
            duration_ms("timeout", timeout) / 1000,
            None if prune_interval is None else check_seconds("prune_interval", prune_interval, none="never"),
            check_positive("max_size", max_size),
            check_clock(clock),
        )


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


OPTIONS: Final[dict[str, Converter]] = {
    "synchronous": lambda _, value: value.upper(),
    "timeout": seconds,
    "prune_interval": seconds,
    "max_size": positive,
}
ASYNC_OPTIONS: Final = {**OPTIONS, "read_in_thread": boolean}


def parse_url(url: str, known: dict[str, Converter]) -> tuple[str, dict[str, Any]]:
    """The path in a ``sqlite://`` URL, and the arguments that its query gives."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or parts.fragment or not parts.path.startswith("/"):
        raise ConfigurationError(
            "store", "a URL of another form", "give sqlite:///relative.db or sqlite:////absolute/path.db"
        )
    return unquote(parts.path[1:]), parse_query("sqlite", parts.query, known)
