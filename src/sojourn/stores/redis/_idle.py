"""Connections that nobody uses for a while: what is between may forget them, and tell neither end (Azure after 240 s, AWS after 350 s)."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

__all__ = ["KEEPALIVE", "LONGEST_IDLE", "keep_awake", "looking"]

LONGEST_IDLE: Final = 200.0
"""Seconds after which a connection that was not used is made anew before it is."""

KEEPALIVE: Final[dict[int, int]] = {
    getattr(socket, name): value
    for name, value in {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}.items()
    if hasattr(socket, name)
}
"""How TCP keeps a connection awake, as options of a socket: seconds of silence, seconds between probes, and how many."""


def keep_awake(connection: socket.socket) -> None:
    """Let TCP keep a connection awake, where it is one of TCP's."""
    if connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def looking(connection: socket.socket) -> Callable[[], object] | None:
    """What tells whether something has come that was not read yet, such as the end; None where the platform cannot look."""
    if not hasattr(select, "poll"):
        return None  # pragma: no cover - Windows has no poll
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return partial(poll.poll, 0)
