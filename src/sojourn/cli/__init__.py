"""The command ``sojourn``. It needs click and rich, the extra ``cli``; without them it says so."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import ConfigurationError, SojournError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status.

    0: done. 1: the store failed, or something is not as it should be. 2: an argument is not. 3: no session, or several, are of the name that was
    given. 130: interrupted.
    """
    try:
        import click  # noqa: PLC0415 - an extra

        from .app import sojourn  # noqa: PLC0415 - it needs rich as well
    except ImportError as error:
        print(f'sojourn: the command line needs {error.name}: pip install "sojourn[cli]"', file=sys.stderr)
        return 1
    from ..admin import NotOneName  # noqa: PLC0415 - the command line is not started to fail

    try:
        status = sojourn.main(
            None if arguments is None else list(arguments), prog_name="sojourn", standalone_mode=False
        )
        return status if isinstance(status, int) else 0
    except click.Abort:
        print("sojourn: stopped", file=sys.stderr)
        return 130
    except click.ClickException as error:
        print(f"sojourn: {error.format_message()}", file=sys.stderr)
        return 2
    except (SojournError, ImportError, OSError) as error:
        print(f"sojourn: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 3 if isinstance(error, NotOneName) else 1
