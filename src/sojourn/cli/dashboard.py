"""``sojourn dashboard``: the dashboard of a store, for a browser on this machine."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Final

import click

from ..admin import Admin
from .place import on_store

__all__ = ["COMMANDS"]


@click.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of this machine's loopback to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8300, show_default=True, help="Port; 0 for a free one.")
@click.option("--hide-values", is_flag=True, help="Never show what sessions hold, not even on request.")
@on_store
def dashboard(admin: Admin, host: str, port: int, hide_values: bool) -> None:
    """Look at a store's sessions in a browser of this machine, and end some.

    The address that is printed lets one browser in, once. To look from elsewhere, forward the port: ssh -L 8300:127.0.0.1:8300 HOST.
    """
    try:
        from ..dashboard.serve import serving  # noqa: PLC0415 - jinja2 is of an extra of its own
    except ImportError as error:  # pragma: no cover - the tests have it
        raise ImportError(f'the dashboard needs {error.name}: pip install "sojourn[dashboard]"') from error
    server, address = serving(admin, host, port, reveals=not hide_values)
    with server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)
        click.echo(f"Open {address}\nIt works once, in one browser. Ctrl-C ends it.")
        sys.stdout.flush()
        server.serve_forever()


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


COMMANDS: Final = (dashboard,)
