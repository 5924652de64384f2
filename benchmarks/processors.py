"""On how many processors client and server run, or the threads of a program.

To wake who waits on another processor is charged to whoever wakes it, and in a virtual machine it goes through the hypervisor: the two
commands of a change, by hand, one request at once, took 62 us of the client's CPU where the server had a processor of its own, and 24 where
both shared one. No client can help it, so both are measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep this thread, and the processes that it starts meanwhile, on one processor, where the platform can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
