"""Running the core's tasks on a store, in either colour. Nothing else in the package writes to a store for a session."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from ..core.commit import LOCK_MS, Delete, Load, Lock, Pause, Steps, Unlock
from ..core.plan import Create, Regenerate, Replace, Touch

__all__ = ["run", "run_async"]

T = TypeVar("T")

_CALLS: Final[dict[type, Callable[[Any, Any], Any]]] = {
    Load: lambda store, op: store.load(op.key),
    Create: lambda store, op: store.create(op.key, op.data, op.ttl, owner=op.owner),
    Replace: lambda store, op: store.replace(op.key, op.data, op.ttl, version=op.version, owner=op.owner),
    Regenerate: lambda store, op: store.regenerate(
        op.old, op.new, op.data, op.ttl, version=op.version, tombstone=op.tombstone, owner=op.owner
    ),
    Touch: lambda store, op: store.touch(op.key, op.ttl),
    Delete: lambda store, op: store.delete(*op.keys),
    Lock: lambda store, op: store.lock(op.key, LOCK_MS),
    Unlock: lambda store, op: store.unlock(op.key, op.token),
}

_sleep: Callable[[float], Any] = time.sleep


def run(steps: Steps[T], store: Any) -> T:
    """Run a task on a sync store."""
    try:
        op = next(steps)
        while True:
            try:
                returned = _sleep(op.seconds) if isinstance(op, Pause) else _CALLS[type(op)](store, op)
            except Exception as error:  # noqa: BLE001 - the steps decide what to do about it
                op = steps.throw(error)
            else:
                op = steps.send(returned)
    except StopIteration as stop:
        return cast("T", stop.value)


async def run_async(steps: Steps[T], store: Any, sleep: Callable[[float], Any] | None = None) -> T:
    """Run a task on an async store. ``sleep`` is needed by tasks that pause: a commit, and the taking of a lock."""
    try:
        op = next(steps)
        while True:
            try:
                if isinstance(op, Pause):
                    assert sleep is not None
                    returned = await sleep(op.seconds)
                else:
                    returned = await _CALLS[type(op)](store, op)
            except Exception as error:  # noqa: BLE001 - the steps decide what to do about it
                op = steps.throw(error)
            else:
                op = steps.send(returned)
    except StopIteration as stop:
        return cast("T", stop.value)
