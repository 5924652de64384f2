"""``sojourn migrate``: what its arguments mean, the keys, and what is shown on the way. The arguments themselves are in `sojourn.cli`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

from ..codecs import Codec, EncryptedCodec
from ..errors import ConfigurationError, SojournError
from ..logs import log
from .endpoints import CODECS
from .library_records import PICKLE
from .library_stores import is_signed, library_in
from .report import Report
from .run import migrate

__all__ = ["encrypting", "run"]

_URL_FROM_ENVIRONMENT: Final = "env:"
_INTERVAL: Final = {True: 0.1, False: 5.0}
"""Seconds between two looks at the progress: on a terminal, and in a log."""
_BAR: Final = 24
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_MEANINGS: Final = {
    "copied": "with the lifetime they had left",
    "updated": "copied before, used at the source since",
    "unchanged": "copied before, and the same since",
    "skipped": "the target has, or had, its own",
    "expired": "on the way",
    "failed": "see the log above",
    "removed": "ended at the source since they were copied",
    "orphaned": "ended at the source since they were copied; --remove-ended ends them at the target",
}
_ALWAYS_TOLD: Final = frozenset({"copied", "skipped", "expired", "failed"})


def run(given: Any) -> int:
    """Carry out what the arguments say; returns the exit status: 0, 1 where a session or a store failed, 128 + the signal's number."""
    shown = _Shown(sys.stderr)
    status, stopped = 0, ""
    with _stopping(), _logging(sys.stderr):
        try:
            source = _url("source", given.source)
            library = library_in(source)
            signs = library is not None and is_signed(library, source)
            beneath = "plain" if library is not None and library.name == "django" else "json"
            migrate(
                source,
                _url("target", given.target),
                source_codec=given.source_codec if signs else _codec("source", given),
                target_codec=_codec("target", given, beneath),
                source_secret=_secrets("source", given) if signs else None,
                hash_ids=given.hash_ids,
                state=given.state,
                remove_ended=given.remove_ended,
                dry_run=given.dry_run,
                rate=given.rate,
                workers=given.workers,
                progress=shown,
            )
        except ConfigurationError as error:
            name = error.option.replace("_", "-")
            option = f"--{name}" if hasattr(given, error.option) and name not in {"source", "target"} else error.option
            raise ConfigurationError(option, error.given, error.remedy) from None
        except SojournError as error:
            status, stopped = 1, str(error)
        except _Stopped as error:
            status, stopped = 128 + error.number, "stopped"
        finally:
            shown.end()
    if stopped:
        sys.stderr.write(f"sojourn: {stopped}; what was done stays, run the same again to go on\n")
    sys.stdout.writelines(f"{line}\n" for line in _told(shown.report, dry_run=given.dry_run))
    return status or int(shown.report.failed > 0)


def _told(report: Report, *, dry_run: bool) -> Iterator[str]:
    if dry_run:
        yield "A dry run: nothing was written. It would be"
    for name, meaning in _MEANINGS.items():
        count = getattr(report, name)
        if count or name in _ALWAYS_TOLD:
            yield f"{name:<10}{count:>13,}  {meaning if count else ''}".rstrip()


def _url(side: str, given: str) -> str:
    if not given.startswith(_URL_FROM_ENVIRONMENT):
        return given
    return _variable(side, given.removeprefix(_URL_FROM_ENVIRONMENT))


def _variable(option: str, name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigurationError(
            option, f"the environment variable {name!r}, which is not set", "set it, or name another"
        )
    return value


def _codec(side: str, given: Any, default: str = "json") -> Codec | str | None:
    """What the middleware on this side has; None to go by the layout. The default is for what is encrypted."""
    name: str | None = getattr(given, f"{side}_codec")
    option, text = _keys(side, given)
    if text is None:
        return name
    if name == PICKLE:
        raise ConfigurationError(option, "keys, for another library's records", "leave them out")
    return encrypting(option, text, name or default)


def encrypting(option: str, text: str, beneath: str) -> EncryptedCodec:
    """The codec of encrypted records, by a text with its keys: base64url, or id:base64url, with blanks between, the newest first.

    Raises:
        ConfigurationError: of the option, where the text is something else.
    """
    words = text.split()
    named = [word.partition(":") for word in words]
    has_ids = {bool(colon) for _, colon, _ in named}
    if len(has_ids) > 1:
        raise ConfigurationError(
            option, "some keys with and some without an id", "give each its id, as in the application"
        )
    keys: Any = {key_id: key for key_id, _, key in named} if True in has_ids else words
    try:
        return EncryptedCodec(keys, codec=CODECS[beneath])
    except ConfigurationError as error:
        raise ConfigurationError(option, error.given, error.remedy) from None


def _keys(side: str, given: Any) -> tuple[str, str | None]:
    """The option that says where the keys are, and what is there; None if no option does."""
    variable, file = (getattr(given, f"{side}_key_{where}") for where in ("env", "file"))
    option = f"--{side}-key-{'file' if variable is None else 'env'}"
    if variable is not None:
        return option, _variable(option, variable)
    return option, None if file is None else file.read_text("utf-8", "replace")


def _secrets(side: str, given: Any) -> list[str] | None:
    """The secrets of another library, one a line; None to leave it to `migrate` to ask for them.

    Raises:
        ConfigurationError: there is none where there should be.
    """
    option, text = _keys(side, given)
    if text is None:
        return None
    secrets = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if not all(secrets):
        raise ConfigurationError(
            option, "a line without a secret", "give SECRET_KEY, and each of its fallbacks in a line"
        )
    return secrets


class _Stopped(BaseException):
    """A signal asks for the end. Not an Exception, so that nothing on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: object) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # once is enough: the end takes a moment
    raise _Stopped(number)


@contextmanager
def _stopping() -> Iterator[None]:
    """Let either signal end a run in order."""
    former = {number: signal.signal(number, _stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _logging(stream: TextIO) -> Iterator[None]:
    """Show the package's log as lines of their own, even where a bar stands."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("\x1b[K%(message)s" if stream.isatty() else "%(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Shown:
    """The progress, as one line of a terminal that is drawn again and again, or as a line now and then in a log."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.report = Report()
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._began = self._last = clock()

    def __call__(self, report: Report, total: int | None) -> None:
        self.report = report
        now = self._clock()
        if now - self._last >= _INTERVAL[self._is_terminal]:
            self._last = now
            line = _line(report, total, now - self._began, bar=self._is_terminal)
            # The cursor is left at the start, so that a line of the log takes the bar's place.
            self._stream.write(f"\x1b[K{line}\r" if self._is_terminal else f"{line}\n")
            self._stream.flush()

    def end(self) -> None:
        """Take the bar away."""
        if self._is_terminal:
            self._stream.write("\x1b[K")
            self._stream.flush()


def _line(report: Report, total: int | None, seconds: float, *, bar: bool) -> str:
    rate = report.seen / seconds if seconds else 0.0
    parts = [f"{report.seen:,}", f"{rate:,.0f}/s"]
    if total:
        share = min(1.0, report.seen / total)
        parts[0] += f" of {total:,}"
        filled = round(share * _BAR)
        parts.insert(0, f"[{'#' * filled}{'-' * (_BAR - filled)}] {share:4.0%}" if bar else f"{share:.0%}")
        if rate:
            left = round(max(0, total - report.seen) / rate)
            parts.append(f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left")
    if report.failed:
        parts.append(f"{report.failed:,} failed")
    return "  ".join(parts)
