"""Where an async client of the app's own was used before the store: its open connections have an event loop.

Sync clients need no such thing: in a forked process redis-py's sync pools drop what they have inherited.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

from .._home import AsyncHome

__all__ = ["birthplace_async"]


def birthplace_async(client: Any) -> AsyncHome | None:
    """The event loop of the client's connections, taken to be of this process. None: no connection is open."""
    if hasattr(client, "nodes_manager"):
        groups = [getattr(node, "_connections", ()) for node in client.nodes_manager.nodes_cache.values()]
    else:
        pool = client.connection_pool
        groups = [getattr(pool, name, ()) for name in ("_available_connections", "_in_use_connections")]
    for connection in chain.from_iterable(groups):
        loop = getattr(getattr(connection, "_writer", None), "_loop", None)
        if loop is not None:
            return AsyncHome(os.getpid(), loop)
    return None
