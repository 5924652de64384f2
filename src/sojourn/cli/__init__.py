"""The command ``sojourn``: a table of commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from .. import __version__
from ..errors import ConfigurationError, SojournError
from ..migrate import command as migrate

__all__ = ["main"]


class _Command(NamedTuple):
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Returns the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 2 for arguments that are not what they should be."""
    parser = argparse.ArgumentParser(prog="sojourn", description="Server-side HTTP sessions for Python.")
    parser.add_argument("--version", action="version", version=f"sojourn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in _COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help))
    given = parser.parse_args(arguments)
    if given.command is None:
        parser.print_help()
        return 2
    try:
        return _COMMANDS[given.command].run(given)
    except (SojournError, ImportError, OSError) as error:
        print(f"sojourn: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1


def _demo_arguments(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    demo.add_argument(
        "--port", type=int, default=8000, help="port to listen on; 0 for a free one (default: %(default)s)"
    )
    demo.add_argument(
        "--data", type=Path, default=Path(".sojourn-demo"), help="folder for sessions and secret (default: %(default)s)"
    )


def _demo(given: argparse.Namespace) -> int:
    from ..demo import serve  # noqa: PLC0415 - only this command needs a framework and a server

    serve(given.data, given.host, given.port)
    return 0  # pragma: no cover - it is a signal that ends the server, and its handler that ends the process


_COMMANDS: Final = {
    "demo": _Command("serve a small shop whose visitors have sessions", _demo_arguments, _demo),
    "migrate": _Command("copy live sessions from one store to another", migrate.add_arguments, migrate.run),
}
