"""Carrying plans out on a store: the retry on conflict, the merge, and the finding out after a lost reply.

Each task is written once, as a generator that yields operations and is sent their outcomes; `run` and `run_async` drive it in
either colour. Nothing else in the package writes to a store.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, cast

from msgspec.structs import replace

from ..errors import (
    SessionConflict,
    SessionDecodeError,
    SessionDestroyed,
    SessionNotFound,
    StoreTimeout,
    StoreUnavailable,
)
from .plan import Create, Delete, Ending, Phase, Plan, Regenerate, Replace, Touch, Write
from .policy import Policy
from .session import BaseSession
from .store import CONFLICT, EXISTS, MISSING, Stored
from .transitions import committed, gone, is_repeatable, orphan, rebase, refuse_late_save, reloaded, wrote

__all__ = [
    "Load",
    "Lock",
    "Operation",
    "Pause",
    "Steps",
    "Unlock",
    "acquire",
    "commit",
    "reload",
    "run",
    "run_async",
    "save",
]

T = TypeVar("T")

_ATTEMPTS: Final = 300  # each conflict means that another request's commit went through
_LONGEST_PAUSE: Final = 0.25  # seconds
LOCK_MS: Final = 30_000
"""How long an exclusive request may hold its session; beyond it, a conflicting commit is refused rather than merged."""
_LOCK_PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """Fetch a record."""

    key: str


@dataclass(frozen=True, slots=True)
class Lock:
    """Take a session's lock without waiting."""

    key: str


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give it back."""

    key: str
    token: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, in seconds."""

    seconds: float


Operation: TypeAlias = Load | Lock | Unlock | Pause | Write
Steps: TypeAlias = Generator[Operation, Any, T]

_CALLS: Final[dict[type, Callable[[Any, Any], Any]]] = {
    Load: lambda store, op: store.load(op.key),
    Create: lambda store, op: store.create(op.key, op.data, op.ttl, owner=op.owner),
    Replace: lambda store, op: store.replace(op.key, op.data, op.ttl, version=op.version, owner=op.owner),
    Regenerate: lambda store, op: store.regenerate(
        op.old, op.new, op.data, op.ttl, version=op.version, tombstone=op.tombstone, owner=op.owner
    ),
    Touch: lambda store, op: store.touch(op.key, op.ttl),
    Delete: lambda store, op: store.delete(op.key),
    Lock: lambda store, op: store.lock(op.key, LOCK_MS),
    Unlock: lambda store, op: store.unlock(op.key, op.token),
}


_sleep: Callable[[float], Any] = time.sleep


def run(steps: Steps[T], store: Any) -> T:
    """Drive a task on a sync store."""
    try:
        op = next(steps)
        while True:
            try:
                answer = _sleep(op.seconds) if isinstance(op, Pause) else _CALLS[type(op)](store, op)
            except Exception as error:  # noqa: BLE001 - the steps decide what to do about it
                op = steps.throw(error)
            else:
                op = steps.send(answer)
    except StopIteration as stop:
        return cast("T", stop.value)


async def run_async(steps: Steps[T], store: Any, sleep: Callable[[float], Any]) -> T:
    """Drive a task on an async store."""
    try:
        op = next(steps)
        while True:
            try:
                answer = await (sleep(op.seconds) if isinstance(op, Pause) else _CALLS[type(op)](store, op))
            except Exception as error:  # noqa: BLE001 - the steps decide what to do about it
                op = steps.throw(error)
            else:
                op = steps.send(answer)
    except StopIteration as stop:
        return cast("T", stop.value)


def reload(policy: Policy, session: BaseSession) -> Steps[None]:
    """Take what the store holds now.

    Raises:
        SessionNotFound: no live record; the session stays as it was.
    """
    if session._destroyed:
        raise SessionDestroyed("the session was destroyed earlier in this request")
    session_id = session._the_id()
    key = "" if session_id is None else policy.rules.key_of(session_id)
    found = (yield Load(key)) if key else None
    if not isinstance(found, Stored):
        raise SessionNotFound("the session has no live record")
    reloaded(session, key, found)


def save(policy: Policy, session: BaseSession) -> Steps[None]:
    """Commit on the app's own call.

    Raises:
        SessionNotFound: the session has ended elsewhere.
        SessionLate: a cookie would be needed and cannot be set any more.
    """
    refuse_late_save(session)
    phase = Phase.LATE if session._late else Phase.RESPONSE
    yield from commit(policy, session, policy.close(session, phase), phase)
    if session._ended and not session._destroyed:
        raise SessionNotFound("the session has ended elsewhere; the changes are not saved")


def commit(policy: Policy, session: BaseSession, plan: Plan, phase: Phase = Phase.RESPONSE) -> Steps[Plan]:
    """Carry a plan out; answers the plan as it was in the end, its header None where none may be sent.

    Raises:
        StoreError: the store failed. `SessionConflict` when the retries are used up.
    """
    timeouts = 0
    for attempt in range(_ATTEMPTS):
        write = plan.write
        if write is None:
            return plan
        try:
            answer = yield write
        except StoreTimeout:
            timeouts += 1
            if timeouts > 1:
                raise
            if (answer := (yield from _find_out(policy, session, plan))) is None:
                continue  # it did not happen; should it still, the retry meets the new version
        found = None
        if timeouts and (
            answer is CONFLICT or answer is EXISTS or (answer is MISSING and isinstance(write, Regenerate))
        ):
            # The first try may have arrived after all, and what stands in the way of the second may be it.
            key = _new_key(write)
            found = yield Load(key)
            if isinstance(found, Stored) and wrote(policy.rules, plan, found.data, key):
                answer = found.version
            elif answer is CONFLICT and not is_repeatable(session):
                raise _unknown()
        if answer is CONFLICT:
            if found is None or isinstance(write, Regenerate):
                found = yield Load(_old_key(write))
            answer, plan = _resolve(policy, session, plan, found, phase)
        if answer is CONFLICT:
            yield Pause(random.uniform(0, min(_LONGEST_PAUSE, 0.001 * 2**attempt)))
        elif answer is EXISTS:
            session._id = None
            plan = policy.close(session, phase)
        elif isinstance(write, Delete) or (answer is not MISSING and answer is not False):
            committed(session, plan, _stored_by(write, answer, session))
            return plan
        elif isinstance(write, Regenerate):
            orphan(session)
            plan = policy.close(session, phase)
        else:
            gone(session, changed=plan.ending is Ending.CHANGED)
            return replace(plan, write=None, header=None)
    raise SessionConflict(f"the session changed under each of {_ATTEMPTS} attempts to commit it")


def _stored_by(write: Write, answer: Any, session: BaseSession) -> Stored | None:
    """What lies in the store after a write that succeeded."""
    if isinstance(write, Delete):
        return None
    if isinstance(write, Touch):
        before = session._stored
        assert before is not None
        return Stored(before.data, before.version, write.ttl)
    return Stored(write.data, answer, write.ttl)


def _unknown() -> StoreTimeout:
    return StoreTimeout(
        "the store did not answer in time, and others wrote since: the write may or may not have happened"
    )


def _new_key(write: Write) -> str:
    return write.new if isinstance(write, Regenerate) else write.key


def _old_key(write: Write) -> str:
    return write.old if isinstance(write, Regenerate) else write.key


def _resolve(policy: Policy, session: BaseSession, plan: Plan, found: object, phase: Phase) -> tuple[Any, Plan]:
    """After a conflict: the plan to try next, or that the session is gone."""
    if not isinstance(found, Stored):
        return MISSING, plan
    if plan.ending is Ending.RESAVED and isinstance(plan.write, Replace):
        # nothing of ours is at stake: another request's newer record stands
        return CONFLICT, replace(plan, write=Touch(plan.write.key, plan.write.ttl), record=None)
    try:
        merged = rebase(session, plan, found)
    except SessionDecodeError:
        return MISSING, plan
    return CONFLICT, policy.close(session, phase, merged)


def _find_out(policy: Policy, session: BaseSession, plan: Plan) -> Steps[Any]:
    """After a lost reply: the write's outcome as reading tells it, None where it did not happen.

    Raises:
        StoreTimeout: others have written since, so that nothing can tell, and to merge could count an increment twice.
    """
    write = plan.write
    if isinstance(write, Touch) or write is None:
        return None
    key = _new_key(write)
    found = yield Load(key)
    if isinstance(write, Delete):
        return None if isinstance(found, Stored) else True
    if isinstance(found, Stored) and wrote(policy.rules, plan, found.data, key):
        if isinstance(write, Regenerate) and isinstance((yield Load(write.old)), Stored):
            # Half done, by a store that cannot move a session in one step (Redis Cluster): undone, and tried anew.
            yield Delete(write.new)
            return None
        return found.version
    if isinstance(write, Replace):
        if not isinstance(found, Stored):
            return MISSING
        if found.version != write.version:
            if not is_repeatable(session):
                raise _unknown()
            return CONFLICT
    return None


def acquire(key: str) -> Steps[str]:
    """Wait for a session's lock (``exclusive``); answers the token that gives it back.

    Raises:
        StoreUnavailable: others held it for longer than a holder may.
    """
    waited = 0.0
    while True:
        token = yield Lock(key)
        if token is not None:
            return cast("str", token)
        if waited * 1000 > LOCK_MS:
            raise StoreUnavailable("other exclusive requests kept the session's lock")
        pause = random.uniform(_LOCK_PAUSE / 4, _LOCK_PAUSE)
        waited += pause
        yield Pause(pause)
