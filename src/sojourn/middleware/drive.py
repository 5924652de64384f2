"""Running the core's tasks on a store, in either colour. Nothing else in the package writes to a store for a session."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

from ..core.commit import carry_out, commit
from ..core.data import settle
from ..core.plan import Create, Phase, Plan, Regenerate, Replace, Touch
from ..core.state import State
from ..core.steps import Call, Delete, Lifetime, Load, Lock, Operation, Owned, Pause, Steps, Turn, Unlock
from ..core.store import LOCK_MS, Outcome
from ..core.transitions import note_committed
from ..errors import StoreError

__all__ = ["CALLS", "AsyncWaits", "Waits", "capability", "commit_at_once", "run", "run_async", "run_at_once"]

T = TypeVar("T")
Waits: TypeAlias = Mapping[type, Callable[[Any], Any]]
"""How a task waits, by the kind of its operation, where that is more than to sleep."""
AsyncWaits: TypeAlias = Mapping[type, Callable[[Any], Awaitable[Any]]]


def _lock(store: Any, op: Lock) -> Any:
    token = capability(store, "lock")(op.key, LOCK_MS)
    if token is not None:
        op.note(token)
    return token


def capability(store: Any, name: str) -> Any:
    """A method that not every store has.

    Raises:
        StoreError: this one has not.
    """
    method = getattr(store, name, None)
    if method is None:
        raise StoreError(f"{type(store).__name__} has no {name}()")
    return method


CALLS: Final[dict[type, Callable[[Any, Any], Any]]] = {  # by operation
    Load: lambda store, op: store.load(op.key),
    Owned: lambda store, op: capability(store, "by_owner")(op.owner),
    Lifetime: lambda store, op: store.lifetime(op.key),
    Call: lambda store, op: capability(store, op.method)(*op.arguments),
    Create: lambda store, op: store.create(op.key, op.data, op.ttl, owner=op.owner),
    Replace: lambda store, op: store.replace(op.key, op.data, op.ttl, version=op.version, owner=op.owner),
    Regenerate: lambda store, op: store.regenerate(
        op.old, op.new, op.data, op.ttl, version=op.version, tombstone=op.tombstone, owner=op.owner
    ),
    Touch: lambda store, op: store.touch(op.key, op.ttl),
    Delete: lambda store, op: store.delete(*op.keys),
    Lock: _lock,
    Unlock: lambda store, op: store.unlock(op.key, op.token),
}


def _sleep(seconds: float) -> None:
    time.sleep(seconds)  # by its module, which gevent may patch late


def run(steps: Steps[T], store: Any, waits: Waits | None = None) -> T:
    """Run a task on a sync store."""
    return _go_on(steps, store, _SLEEPING if waits is None else waits)


def run_at_once(steps: Steps[T], store: Any) -> T:
    """Run a task on a store in this process, without waiting: an event loop may be what would wait."""
    return _go_on(steps, store, _AT_ONCE)


def commit_at_once(state: State, plan: Plan, phase: Phase, store: Any) -> Plan:
    """`commit` to a store in this process: nearly every write goes through at the first try, and then takes no steps.

    Raises:
        StoreError: the store failed.
    """
    write = plan.write
    if state.max_sessions is not None:
        return run_at_once(commit(state, plan, phase), store)
    if write is None or plan.ends or state.lock is not None:
        return run_at_once(carry_out(state, plan, phase), store)
    returned, error = None, None
    try:
        if type(write) is Replace:  # most writes
            returned = store.replace(write.key, write.data, write.ttl, version=write.version, owner=write.owner)
        else:
            returned = CALLS[type(write)](store, write)
    except Exception as caught:  # noqa: BLE001 - the steps decide what to do about it
        error = caught
    if error is None and returned is not False and not isinstance(returned, Outcome):
        note_committed(state, plan, returned)
        settle(state)
        return plan
    steps = carry_out(state, plan, phase)
    next(steps)  # the write, which was tried
    return _go_on(steps, store, _AT_ONCE, returned, error)


def _nobody(_turn: Turn) -> None:
    """Nobody keeps turns."""


# `_sleep` is looked up at each pause, and those of no length give way to other threads.
_SLEEPING: Final[Waits] = {Pause: lambda op: _sleep(op.seconds), Turn: _nobody}
_AT_ONCE: Final[Waits] = {Pause: lambda _op: _sleep(0), Turn: _nobody}
_NEVER_WAITS: Final[AsyncWaits] = {}


def _go_on(steps: Steps[T], store: Any, waits: Waits, returned: Any = None, error: BaseException | None = None) -> T:
    try:
        while True:
            op = steps.send(returned) if error is None else steps.throw(error)
            returned, error = None, None
            try:
                wait = waits.get(type(op))
                returned = CALLS[type(op)](store, op) if wait is None else wait(op)
            except BaseException as caught:  # noqa: BLE001 - the steps decide what to do about it, as about an interrupt
                error = caught
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        steps.close()  # where what was raised is no business of the task's, it gives back what it has


async def run_async(steps: Steps[T], store: Any, waits: AsyncWaits = _NEVER_WAITS, op: Operation | None = None) -> T:
    """Run a task on an async store, or go on with it from an operation. A commit, and the taking of a lock, need ``waits``."""
    try:
        if op is None:
            op = next(steps)
        while True:
            kind = type(op)
            try:
                wait = waits.get(kind)
                returned = await (CALLS[kind](store, op) if wait is None else wait(op))
            except GeneratorExit:  # nobody runs this any more, and nothing can be awaited
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                op = steps.throw(error)
            else:
                op = steps.send(returned)
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        steps.close()  # as above
