"""Serving the demo until a signal ends it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

__all__ = ["serve"]


def serve(data: Path, host: str, port: int) -> None:
    """Serve the demo until Ctrl-C or SIGTERM, with everything written by then.

    Args:
        data: the folder that keeps the sessions and the secret from one start to the next; made if missing.
        host: the address to listen on.
        port: the port to listen on; 0 for a free one.

    Raises:
        ImportError: the packages of the extra ``demo`` are missing.
        OSError: the folder cannot be written, or the port is taken.
    """
    try:
        import uvicorn  # noqa: PLC0415

        from .app import make_app  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(f'the demo needs {error.name}: pip install "sojourn[demo]"') from error
    data.mkdir(parents=True, exist_ok=True)
    database = data / "sessions.db"
    app = make_app(secret=_secret(data / "secret"), database=database)
    listening = socket.create_server((host, port))
    # uvicorn shuts down in good order first and then raises the signal anew: that is a good end, not a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    shown = f"[{host}]" if ":" in host else host
    print(
        f"Sojourn demo at http://{shown}:{listening.getsockname()[1]}/  (sessions in {database}; Ctrl-C stops it)",
        flush=True,
    )
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def _secret(path: Path) -> str:
    """The secret of earlier starts, or a new one that only this user can read."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex())
    except FileExistsError:
        pass
    return path.read_text().strip()


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
