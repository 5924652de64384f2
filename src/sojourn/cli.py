"""The command ``sojourn``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import SojournError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; answers the exit status."""
    parser = argparse.ArgumentParser(prog="sojourn", description="Server-side HTTP sessions for Python.")
    parser.add_argument("--version", action="version", version=f"sojourn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser("demo", help="serve a small shop whose visitors have sessions")
    demo.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    demo.add_argument(
        "--port", type=int, default=8000, help="port to listen on; 0 for a free one (default: %(default)s)"
    )
    demo.add_argument(
        "--data", type=Path, default=Path(".sojourn-demo"), help="folder for sessions and secret (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    if given.command is None:
        parser.print_help()
        return 2
    try:
        return _demo(given)
    except (SojournError, ImportError, OSError) as error:
        print(f"sojourn: {error}", file=sys.stderr)
        return 1


def _demo(given: argparse.Namespace) -> int:
    from .demo import serve  # noqa: PLC0415 - only this command needs a framework and a server

    serve(given.data, given.host, given.port)
    return 0  # pragma: no cover - it is a signal that ends the server, and its handler that ends the process
