"""Tasks that begin at once, as an application may have them since Python 3.12."""

from __future__ import annotations

import asyncio

import pytest

__all__ = ["make_tasks_eager"]


def make_tasks_eager() -> None:
    """Have the tasks of the running event loop begin at once."""
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("Python 3.11 has no eager tasks")
    asyncio.get_running_loop().set_task_factory(factory)
