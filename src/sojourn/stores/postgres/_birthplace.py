"""Where the app's own pool was opened.

psycopg_pool does not say, but its workers tell: they are threads, which do not outlive a fork, or tasks, which have an event
loop.
"""

from __future__ import annotations

import os
from typing import Any, Final

import psycopg_pool

from .._home import AsyncHome, Home

__all__ = ["birthplace_async", "birthplace_sync"]

_ANOTHER: Final = -1
"""Another process than this."""


def birthplace_sync(pool: psycopg_pool.ConnectionPool[Any]) -> Home | None:
    """The process that opened the pool. None: it is not open."""
    if pool.closed:
        return None
    workers = getattr(pool, "_workers", ())
    is_inherited = workers and not any(worker.is_alive() for worker in workers)
    return Home(_ANOTHER if is_inherited else os.getpid())


def birthplace_async(pool: psycopg_pool.AsyncConnectionPool[Any]) -> AsyncHome | None:
    """The event loop that opened the pool, taken to be of this process. None: it is not open."""
    workers = () if pool.closed else getattr(pool, "_workers", ())
    return AsyncHome(os.getpid(), workers[0].get_loop()) if workers else None
