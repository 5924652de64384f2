"""What is printed: tables for people, lines of tab-separated fields where the output is piped, JSON for scripts.

What visitors have chosen, such as an owner or a User-Agent, may hold what a terminal would obey: everything that is not printable is escaped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Column", "Kind", "Out", "ago", "printable", "sessions", "size_of"]

Kind: TypeAlias = Literal["text", "name", "time", "size", "count"]
_SHORT: Final = 12
"""Digits of a name that a terminal shows: enough to find the session by."""
_STEPS: Final = ((60, "s"), (60, "min"), (24, "h"), (365, "d"))


class Column(NamedTuple):
    """A column of a table."""

    title: str
    kind: Kind = "text"


class Out:
    """Where a command's results go."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json: bool = as_json
        self.is_terminal: bool = sys.stdout.isatty()

    def json(self, value: object, *, is_line: bool = False, err: bool = False) -> None:
        """A value as JSON: indented, or in one line. ``err``: standard output is taken by something else."""
        tree = msgspec.to_builtins(value, enc_hook=str, builtin_types=(int,))
        click.echo(json.dumps(tree, default=str, indent=None if is_line else 2), err=err)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Any]], title: str = "") -> None:
        """Rows for people; where the output is piped, a line for each, and first the titles."""
        if not self.is_terminal:
            if title:
                click.echo(f"\n{title}")
            click.echo("\t".join(column.title.lower().replace(" ", "_") for column in columns))
            for row in rows:
                click.echo("\t".join(_plain(value) for value in row))
            return
        if title:
            self._print(Text(f"\n{title}", style="bold"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            is_number = column.kind in {"size", "count"}
            table.add_column(column.title, justify="right" if is_number else "left", no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(Text(_short(column.kind, value)) for column, value in zip(columns, row, strict=True)))
        self._print(table)

    def pairs(self, pairs: Iterable[tuple[str, Any]], kinds: Callable[[str], Kind] = lambda _: "text") -> None:
        """Names and values, one below the other."""
        if not self.is_terminal:
            for name, value in pairs:
                click.echo(f"{printable(name)}\t{_plain(value)}")
            return
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(Text(printable(name)), Text(_long(kinds(name), value)))
        self._print(table)

    def line(self, text: str, style: str = "") -> None:
        """A line for people and pipes alike; wrapped on a terminal."""
        if self.is_terminal:
            self._print(Text(printable(text), style=style))
        else:
            click.echo(printable(text))

    def note(self, text: str) -> None:
        """What is said beside the results, to whoever does not read them by a program."""
        if not self.as_json:
            click.echo(printable(text), err=True)

    def ask(self, question: str, *, is_sure: bool) -> None:
        """Go on only if that is wanted.

        Raises:
            click.UsageError: nobody can be asked, and ``--yes`` was not given.
            click.exceptions.Exit: the answer is no.
        """
        if is_sure:
            return
        if not sys.stdin.isatty():
            raise click.UsageError(f"{question} Nobody is there to answer: say --yes")
        if not click.confirm(printable(question), err=True):
            click.echo("Nothing was done.", err=True)
            raise click.exceptions.Exit(1)

    @contextmanager
    def progress(self, text: str) -> Iterator[Callable[[str], None]]:
        """While the block runs, a terminal shows how far it is: what the function was called with last."""
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        with Console(stderr=True).status(text) as status:
            yield lambda done: status.update(f"{text}: {done}")

    def _print(self, what: object) -> None:
        Console(highlight=False, markup=False, emoji=False).print(what)


def printable(text: str) -> str:
    """A text with all that a terminal would not print, but obey, escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )


def ago(moment: datetime, now: datetime | None = None) -> str:
    """A time as far from now: ``3 h ago``, ``in 2 d``."""
    left = (moment - (datetime.now(UTC) if now is None else now)).total_seconds()
    amount, unit = abs(left), "y"
    for most, name in _STEPS:
        if amount < most:
            unit = name
            break
        amount /= most
    text = f"{int(amount)} {unit}"
    return f"in {text}" if left > 0 else f"{text} ago"


def size_of(size: int) -> str:
    """Bytes as people read them."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.1f} KB" if size < 1024**2 else f"{size / 1024**2:.1f} MB"


def sessions(count: int) -> str:
    """So many sessions, in words."""
    return "1 session" if count == 1 else f"{count:,} sessions"


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def _short(kind: Kind, value: Any) -> str:
    if kind == "name" and len(value) > _SHORT:
        return f"{value[:_SHORT]}…"
    return _long(kind, value)


def _long(kind: Kind, value: Any) -> str:
    if isinstance(value, datetime):
        return ago(value)
    if kind == "size" and value is not None:
        return size_of(value)
    return f"{value:,}" if kind == "count" and isinstance(value, int) else _plain(value)
