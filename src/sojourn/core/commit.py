"""Carrying plans out: the endings, the retry on conflict, the merge, and the finding out after a lost reply. No I/O.

Theory of operation
-------------------
Each task is written once, as a generator that yields operations and is sent what the store returned; `middleware.drive` runs it in
either colour. Nothing else in the package writes to a store on a session's behalf.

`commit` takes a plan through these steps:

1. *End.* The plan's keys are deleted. Where one is a tombstone, its successor too, until the store names no more. Only then is written.
2. *Write*, once. What the store returns is one of five outcomes: done, conflict, gone, taken, not done.
3. *Find out.* After a lost reply the outcome is read from what lies in the store. What cannot be told is a `StoreTimeout`.
4. *Again*, with the endings of the new plan, where another request came first: with a merged plan after a conflict, with another id
   where the new one was taken, with a plan that creates where the session to be regenerated has ended. Or where the application has
   asked for something else meanwhile. The number of attempts is bounded.
5. *Note* what became of it in the state (`transitions`).

Who may change what: this file changes no state itself; `transitions` does, when it is told what happened.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from ..errors import (
    HeadersAlreadySent,
    SessionConflict,
    SessionDecodeError,
    SessionNotFound,
    StoreTimeout,
    StoreUnavailable,
)
from .plan import Phase, Plan, Regenerate, Replace, Touch, Write
from .policy import decide, is_too_late
from .state import Intent, State
from .store import CONFLICT, EXISTS, MISSING, Deleted, Replaced, Stored
from .store import Outcome as Refusal
from .transitions import (
    check_reload,
    detach,
    is_own_write,
    is_repeatable,
    merge_conflict,
    note_committed,
    note_deleted,
    note_ended,
    note_reloaded,
    note_taken,
)

__all__ = [
    "LOCK_MS",
    "Delete",
    "Load",
    "Lock",
    "Operation",
    "Outcome",
    "Pause",
    "Steps",
    "Unlock",
    "acquire",
    "commit",
    "end",
    "reload",
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
class Delete:
    """End sessions."""

    keys: tuple[str, ...]


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


Operation: TypeAlias = Load | Delete | Lock | Unlock | Pause | Write
Steps: TypeAlias = Generator[Operation, Any, T]


class Outcome(enum.Enum):
    """What became of a write."""

    DONE = enum.auto()
    CONFLICT = enum.auto()
    """The record is another request's by now."""
    GONE = enum.auto()
    """There is no such record any more."""
    TAKEN = enum.auto()
    """The new key is in use."""
    NOT_DONE = enum.auto()
    """It did not reach the store, and may be tried again."""


class _Result(Struct, frozen=True, gc=False):
    outcome: Outcome
    version: Any = None
    """Of what was written, where that is done."""
    found: Stored | Replaced | None = None
    """What lies in the way, where it was looked at."""


_DONE: Final = Outcome.DONE
_REFUSALS: Final = {MISSING: Outcome.GONE, CONFLICT: Outcome.CONFLICT, EXISTS: Outcome.TAKEN}


def _result(write: Write, returned: Any) -> _Result:
    """What a store's return value means."""
    if isinstance(write, Touch):
        return _Result(Outcome.DONE if returned else Outcome.GONE)
    if isinstance(returned, Refusal):
        return _Result(_REFUSALS[returned])
    return _Result(_DONE, returned)


def reload(state: State) -> Steps[None]:
    """Take what the store holds now.

    Raises:
        SessionNotFound: no live record; the session stays as it was.
    """
    check_reload(state)
    key = "" if state.loaded is None else state.loaded.key
    note_reloaded(state, key, (yield Load(key)) if key else None)


def save(state: State) -> Steps[None]:
    """Commit on the application's own call.

    Raises:
        SessionNotFound: the session has ended elsewhere.
        HeadersAlreadySent: a cookie would be needed and cannot be set any more.
    """
    if state.sent and is_too_late(state):
        raise HeadersAlreadySent("the response headers have left, so no cookie can carry the new session id")
    phase = Phase.LATE if state.sent else Phase.RESPONSE
    yield from commit(state, decide(state, phase), phase)
    if state.intent is Intent.ENDED:
        raise SessionNotFound("the session has ended elsewhere; the changes are not saved")


def commit(state: State, plan: Plan, phase: Phase = Phase.RESPONSE) -> Steps[Plan]:
    """Carry a plan out; returns the plan as it was in the end, its header None where none may be sent.

    Raises:
        StoreError: the store failed. `SessionConflict` when the retries are used up.
    """
    lost_replies, ended = 0, None
    for attempt in range(_ATTEMPTS):
        if plan.ends and plan is not ended:
            # An empty regenerate ends its own record alone: where another request logged in meanwhile, that one goes on.
            yield from end(plan.ends, follow=state.intent is not Intent.REGENERATE)
            note_deleted(state, plan)
            ended = plan
        write = plan.write
        if write is None:
            note_committed(state, plan, None)
            return plan
        try:
            result = _result(write, (yield write))
        except StoreTimeout:
            lost_replies += 1
            if lost_replies > 1:
                raise
            result = yield from _find_out(state, plan)
        if lost_replies:
            result = yield from _doubt(state, plan, result)
        if result.outcome is _DONE:
            note_committed(state, plan, _stored_by(write, result.version, state))
            return plan
        if plan.asked != state.asked:  # the application wants something else by now
            plan = decide(state, phase)
            continue
        match result.outcome:
            case Outcome.NOT_DONE:
                continue  # should it still happen, the retry meets the new version
            case Outcome.TAKEN:
                note_taken(state)
                plan = decide(state, phase)
            case Outcome.GONE if isinstance(write, Regenerate):
                plan = yield from _begin_anew(state, write, phase)
            case Outcome.CONFLICT:
                found = result.found or (yield Load(_old_key(write)))
                merged = _merge(state, plan, found, phase)
                if merged is None and isinstance(write, Regenerate):
                    plan = yield from _begin_anew(state, write, phase)
                elif merged is None:
                    return _gone(state, plan)
                else:
                    plan = merged
                    yield Pause(random.uniform(0, min(_LONGEST_PAUSE, 0.001 * 2**attempt)))
            case _:
                return _gone(state, plan)
    raise SessionConflict(f"the session changed under each of {_ATTEMPTS} attempts to commit it")


def end(keys: tuple[str, ...], *, follow: bool = True) -> Steps[int]:
    """Delete keys, and with ``follow`` also what they were replaced by; returns how many records. To repeat a delete is harmless."""
    ended: set[str] = set()
    count = 0
    while keys:
        try:
            deleted: Deleted = yield Delete(keys)
        except StoreTimeout:
            deleted = yield Delete(keys)
        count += deleted.count
        ended.update(keys)
        keys = tuple(key for key in deleted.successors if key not in ended) if follow else ()
    return count


def _merge(state: State, plan: Plan, found: object, phase: Phase) -> Plan | None:
    """After a conflict: the plan to try next; None where there is no session any more."""
    if not isinstance(found, Stored):
        return None
    if not plan.changed and isinstance(plan.write, Replace):
        # nothing of ours is at stake: another request's newer record stands
        return replace(plan, write=Touch(plan.write.key, plan.write.ttl), record=None)
    try:
        merged = merge_conflict(state, plan, found)
    except SessionDecodeError:
        return None
    return decide(state, phase, merged)


def _begin_anew(state: State, write: Regenerate, phase: Phase) -> Steps[Plan]:
    """The session to be regenerated has ended meanwhile: the plan of a new one. Where it was invalidated, what it became ends first."""
    if state.intent is Intent.INVALIDATE:
        yield from end((write.old,))
    detach(state)
    return decide(state, phase)


def _gone(state: State, plan: Plan) -> Plan:
    note_ended(state, changed=plan.changed)
    return replace(plan, write=None, header=None)


def _stored_by(write: Write, version: Any, state: State) -> Stored:
    """What lies in the store after a write that succeeded."""
    if isinstance(write, Touch):
        assert state.loaded is not None
        before = state.loaded.stored
        return Stored(before.data, before.version, write.ttl)
    return Stored(write.data, version, write.ttl)


def _unknown() -> StoreTimeout:
    return StoreTimeout(
        "the store did not answer in time, and others wrote since: the write may or may not have happened"
    )


def _new_key(write: Write) -> str:
    return write.new if isinstance(write, Regenerate) else write.key


def _old_key(write: Write) -> str:
    return write.old if isinstance(write, Regenerate) else write.key


def _find_out(state: State, plan: Plan) -> Steps[_Result]:
    """After a lost reply: the write's outcome as reading tells it.

    Raises:
        StoreTimeout: others have written since, so that nothing can tell, and to merge could count an increment twice.
    """
    write = plan.write
    if isinstance(write, Touch) or write is None:
        return _Result(Outcome.NOT_DONE)
    key = _new_key(write)
    found = yield Load(key)
    if isinstance(found, Stored) and is_own_write(state.settings, plan, found.data, key):
        if isinstance(write, Regenerate) and isinstance((yield Load(write.old)), Stored):
            # Half done, by a store that cannot move a session in one step (Redis Cluster): undone, and tried anew.
            yield Delete((write.new,))
            return _Result(Outcome.NOT_DONE)
        return _Result(Outcome.DONE, found.version)
    if isinstance(write, Replace):
        if not isinstance(found, Stored):
            return _Result(Outcome.GONE)
        if found.version != write.version:
            if not is_repeatable(state):
                raise _unknown()
            return _Result(Outcome.CONFLICT, found=found)
    return _Result(Outcome.NOT_DONE)


def _doubt(state: State, plan: Plan, result: _Result) -> Steps[_Result]:
    """Once a reply was lost: whether what stands in the way is what the first try wrote after all.

    Raises:
        StoreTimeout: nothing can tell, as in `_find_out`.
    """
    write, outcome = plan.write, result.outcome
    assert write is not None
    stands_in_the_way = outcome in (Outcome.CONFLICT, Outcome.TAKEN) or (
        outcome is Outcome.GONE and isinstance(write, Regenerate)
    )
    if not stands_in_the_way:
        return result
    key = _new_key(write)
    found = yield Load(key)
    if isinstance(found, Stored) and is_own_write(state.settings, plan, found.data, key):
        return _Result(Outcome.DONE, found.version)
    if outcome is Outcome.CONFLICT and not is_repeatable(state):
        raise _unknown()
    return _Result(outcome, found=None if isinstance(write, Regenerate) else found)


def acquire(key: str) -> Steps[str]:
    """Wait for a session's lock (``exclusive``); returns the token that gives it back.

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
