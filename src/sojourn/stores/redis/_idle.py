"""Connections that nobody uses for a while: what is between may forget them, and tell neither end (Azure after 240 s, AWS after 350 s)."""

from __future__ import annotations

import socket
from typing import Final

__all__ = ["KEEPALIVE", "LONGEST_IDLE"]

LONGEST_IDLE: Final = 200.0
"""Seconds after which a connection that was not used is made anew before it is."""

KEEPALIVE: Final[dict[int, int]] = {
    getattr(socket, name): value
    for name, value in {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}.items()
    if hasattr(socket, name)
}
"""How TCP keeps a connection awake, as options of a socket: seconds of silence, seconds between probes, and how many."""
