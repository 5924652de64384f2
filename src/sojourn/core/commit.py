"""Carrying plans out: the endings, the retry on conflict, the merge, and the finding out after a lost reply. No I/O.

Theory of operation
-------------------
Each task is written once, in `steps`, which `middleware.drive` runs in either colour. Nothing else in the package writes to a store on a
session's behalf.

`commit` takes a plan through these steps:

1. *End.* The plan's keys are deleted. Where one is a tombstone, its successor too, until the store names no more. Only then is written.
2. *Write*, once. What the store returns is one of five outcomes: done, conflict, gone, taken, not done.
3. *Find out.* After a lost reply the outcome is read from what lies in the store. What cannot be told is a `StoreTimeout`.
4. *Again*, with the endings of the new plan, where another request came first: with a merged plan after a conflict, with another id
   where the new one was taken, with a plan that creates where the session to be regenerated has ended. Or where the application has
   asked for something else meanwhile.
5. *Note* what became of it in the state (`transitions`).

A conflict costs a load and a merge, and they are followed by the write at once: whatever lies between is time in which another request
comes first. So who pauses, to let others through, pauses before. It is given up by time.

Before all that, an ordinary change waits until it is its *turn*: in one process the changes of one session are committed one after the
other, and each gets what the one before has stored. What ends a session, gives it another id or has it for itself waits for nobody, and
whoever comes meanwhile waits for it. Turns spare the store. Where nobody keeps them, and between processes, there is compare and set.

Who may change what: this file changes no state itself; `transitions` does, when it is told what happened.
"""

from __future__ import annotations

import enum
from functools import partial
from time import monotonic
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from ..chance import chance
from ..errors import (
    HeadersAlreadySent,
    SessionConflict,
    SessionDecodeError,
    SessionNotFound,
    StoreTimeout,
)
from .limits import keep_limit
from .noting import note
from .plan import Phase, Plan, Regenerate, Replace, Touch, Write
from .policy import decide, is_too_late, touch_alone
from .state import Intent, State
from .steps import Delete, Load, Lock, Pause, Steps, Turn, Unlock, acquire, end
from .store import CONFLICT, EXISTS, LOCK_MS, MISSING, Replaced, Stored
from .store import Outcome as Refusal
from .transitions import (
    check_reload,
    detach,
    is_own_write,
    is_repeatable,
    merge_conflict,
    note_committed,
    note_deleted,
    note_done,
    note_ended,
    note_loaded,
    note_locked,
    note_outrun,
    note_reloaded,
    note_taken,
    note_unlocked,
)

__all__ = [
    "LOCK_MS",
    "PATIENCE",
    "Outcome",
    "carry_out",
    "commit",
    "look_up_alone",
    "reload",
    "save",
    "unlock",
    "use",
]

PATIENCE: Final = 5.0
"""Seconds for which a commit waits for its turn and tries again after conflicts."""
_LONGEST_PAUSE: Final = 0.03  # seconds
_IDS: Final = 20  # that may be taken, one after the other
_NOT_ALONE: Final = "an exclusive request was not alone: it took longer than its lock lasts, or the lock was lost"


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


def use(state: State) -> Steps[None]:
    """Touch a session that an open connection uses, and save nothing. One that has ended stays ended."""
    plan = touch_alone(state)
    if plan is not None:
        yield from carry_out(state, plan, Phase.LATE)


def commit(state: State, plan: Plan, phase: Phase = Phase.RESPONSE) -> Steps[Plan]:
    """Carry a plan out when it is its turn; returns the plan as it was in the end, its header None where none may be sent.

    After a login with ``max_sessions``, the owner's oldest sessions over that end.

    Raises:
        StoreError: the store failed. `SessionConflict` when others were first for too long.
    """
    done = yield from _in_turn(state, plan, phase)
    if state.settings.tells:
        note_done(state, done)
    if state.max_sessions is not None and done.write is not None:
        yield from keep_limit(state)
    return done


def _in_turn(state: State, plan: Plan, phase: Phase) -> Steps[Plan]:
    write, until = plan.write, monotonic() + PATIENCE
    if not isinstance(write, Replace | Regenerate):  # there is nobody whom it could meet
        return (yield from carry_out(state, plan, phase, until))
    waits = isinstance(write, Replace) and state.lock is None
    turn = yield Turn(_old_key(write), until, waits)
    if turn is None:
        return (yield from carry_out(state, plan, phase, until))
    stored = None
    try:
        if waits and turn.known is not None and plan.asked == state.asked:
            plan = _brought_up_to(turn.known, state, plan, phase)
        done = yield from carry_out(state, plan, phase, until)
        if type(done.write) is Replace and state.loaded is not None:
            stored = state.loaded.stored
        return done
    finally:
        turn.leave(stored)


def carry_out(state: State, plan: Plan, phase: Phase, until: float | None = None) -> Steps[Plan]:
    """Carry a plan out now, as `commit` does when it is its turn."""
    if until is None:
        until = monotonic() + PATIENCE
    lost_replies = conflicts = taken = 0
    ended = None
    if state.lock is not None and state.now() > state.lock.until and isinstance(plan.write, Replace | Regenerate):
        yield from _renew_lock(state)  # or another exclusive request would not hear of what is written now
    while True:
        if plan.ends and plan is not ended:
            # An empty regenerate ends its own record alone: where another request logged in meanwhile, that one goes on.
            count = yield from end(plan.ends, follow=state.intent is not Intent.REGENERATE)
            note_deleted(state, plan, count)
            ended = plan
        write = plan.write
        if write is None:
            note_committed(state, plan)
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
            note_committed(state, plan, result.version)
            return plan
        if plan.asked != state.asked:  # the application wants something else by now
            plan = decide(state, phase)
            continue
        match result.outcome:
            case Outcome.NOT_DONE:
                continue  # should it still happen, the retry meets the new version
            case Outcome.TAKEN:
                taken += 1
                if taken == _IDS:
                    raise SessionConflict(f"{_IDS} ids that were generated are all in use")
                note_taken(state)
                plan = decide(state, phase)
            case Outcome.GONE if isinstance(write, Regenerate):
                if not state.asked:
                    return _outrun(state, plan)
                plan = yield from _begin_anew(state, write, phase)
            case Outcome.CONFLICT:
                if monotonic() > until:
                    raise SessionConflict(f"other requests kept changing the session for {PATIENCE:.0f} seconds")
                if state.lock is not None:
                    yield from _renew_lock(state)
                    if not state.lock.unbroken:
                        raise SessionConflict(_NOT_ALONE)
                found = result.found
                if found is None:
                    yield Pause(chance.uniform(0, min(_LONGEST_PAUSE, 0.001 * (2**conflicts - 1))))  # at first none
                    conflicts += 1
                    found = yield Load(_old_key(write))
                merged = _merge(state, plan, found, phase)
                if merged is None and isinstance(write, Regenerate):
                    if not state.asked:
                        return _outrun(state, plan)
                    plan = yield from _begin_anew(state, write, phase)
                elif merged is None:
                    return _gone(state, plan)
                else:
                    plan = merged
            case _:
                return _gone(state, plan)


def _brought_up_to(known: Stored, state: State, plan: Plan, phase: Phase) -> Plan:
    """The plan, merged with what the commit before it has stored."""
    assert isinstance(plan.write, Replace)
    if known.version == plan.write.version:
        return plan
    return _merge(state, plan, known, phase) or plan


def _merge(state: State, plan: Plan, found: object, phase: Phase) -> Plan | None:
    """After a conflict: the plan to try next; None where there is no session any more."""
    if not isinstance(found, Stored):
        return None
    if not plan.changed and isinstance(plan.write, Replace):
        # nothing of ours is at stake: another request's newer record stands
        return replace(plan, write=Touch(plan.write.key, plan.write.ttl), record=None)
    try:
        merge_conflict(state, found)
    except SessionDecodeError:
        assert plan.write is not None
        note(state, "unreadable", _old_key(plan.write), reason="record")
        return None
    return decide(state, phase)


def _begin_anew(state: State, write: Regenerate, phase: Phase) -> Steps[Plan]:
    """The session to be regenerated has ended meanwhile: the plan of a new one. Where it was invalidated, what it became ends first."""
    if state.intent is Intent.INVALIDATE and (yield from end((write.old,))):
        note(state, "destroyed", write.old)
    detach(state)
    return decide(state, phase)


def _outrun(state: State, plan: Plan) -> Plan:
    """The id was to change without being asked, and another request of the visitor was first: theirs is the session now."""
    note_outrun(state)
    return replace(plan, write=None, header=None)


def _gone(state: State, plan: Plan) -> Plan:
    note_ended(state, changed=plan.changed)
    return replace(plan, write=None, header=None)


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


# -- exclusive requests ---------------------------------------------------------------------------------------------------


def look_up_alone(state: State) -> Steps[None]:
    """Look up the session that the request asks for, and have it for itself: find it, lock it, and load what it is by then.

    Raises:
        SessionConflict: others had it for longer than one may.
    """
    arrival = state.arrival
    while True:
        looked_up, live = [], None
        for verified, key in zip(arrival.ids, arrival.keys, strict=False):
            found = yield Load(key)
            looked_up.append((verified, key, found))
            if isinstance(found, Stored):
                live = key
                break
        if state.lock is not None and state.lock.key != live:  # it ended while this request waited
            yield from unlock(state)
        if live is None or state.lock is not None:
            break
        yield from acquire(
            live, partial(note_locked, state, live)
        )  # what is found by then counts, and nothing is noted before
    for one in looked_up:
        note_loaded(state, *one)


def unlock(state: State) -> Steps[None]:
    """Give the lock back."""
    held = state.lock
    assert held is not None
    note_unlocked(state)
    yield Unlock(held.key, held.token)


def _renew_lock(state: State) -> Steps[None]:
    """Make sure that an exclusive request has its session for itself now, and note whether it has had it all the time.

    Raises:
        SessionConflict: another request has it.
    """
    held = state.lock
    assert held is not None
    was_held = yield Unlock(held.key, held.token, again=True)
    unbroken = held.unbroken and was_held
    if (yield Lock(held.key, lambda token: note_locked(state, held.key, token, unbroken=unbroken))) is None:
        raise SessionConflict(_NOT_ALONE)
