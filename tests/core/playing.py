"""Plays the core's tasks against a store of which the test says what it returns."""

from __future__ import annotations

from typing import Any, Final

from sojourn.core.commit import commit
from sojourn.core.plan import Phase, Plan
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.state import State
from sojourn.core.steps import Pause, Turn
from sojourn.core.store import Deleted, Replaced, Stored
from sojourn.errors import StoreTimeout
from tests.core.making import DAY, record_bytes, stored_state

__all__ = [
    "ONE_DELETED",
    "TIMEOUT",
    "TOMBSTONE",
    "ask",
    "changed",
    "granted",
    "kinds",
    "lying",
    "play",
    "theirs",
    "written_by",
]

TIMEOUT: Final = StoreTimeout("no reply")
TOMBSTONE: Final = Replaced("successor")
ONE_DELETED: Final = Deleted(1, ())


def play(steps: Any, *returned: Any) -> tuple[Any, list[Any]]:
    """Run a task, with what the store returns, errors among it; a function makes that of the operation. Pauses are passed.

    Nobody keeps turns here, and so they are passed too, and not told of.

    Returns what the task returns, and its operations.
    """
    ops, left = [], list(returned)
    try:
        op = next(steps)
        while True:
            if not isinstance(op, Turn):
                ops.append(op)
            if isinstance(op, Pause | Turn):
                op = steps.send(None)
                continue
            value = left.pop(0)
            if callable(value):
                value = value(op)
            op = steps.throw(value) if isinstance(value, Exception) else steps.send(value)
    except StopIteration as stop:
        assert not left, f"operations that never came: {left}"
        return stop.value, ops


def ask(state: State, *returned: Any, phase: Phase = Phase.RESPONSE) -> tuple[Plan, list[Any]]:
    """Decide and commit."""
    return play(commit(state, decide(state, phase), phase), *returned)


def granted(token: str) -> Any:
    """What a store does that grants a lock."""

    def grant(op: Any) -> str:
        op.note(token)
        return token

    return grant


def kinds(ops: list[Any]) -> list[str]:
    return [type(op).__name__ for op in ops]


def changed(settings: SessionSettings, **data: Any) -> State:
    """A loaded session that the request changed."""
    state = stored_state(settings)
    Session(state).update(data or {"m": 1})
    return state


def theirs(settings: SessionSettings, data: dict[str, Any], **more: Any) -> Stored:
    """What another request has stored."""
    raw = record_bytes(settings, data, **more)
    return Stored(raw, raw, DAY)


def lying(state: State) -> Stored:
    """What lies in the store as far as the request knows."""
    assert state.loaded is not None
    return state.loaded.stored


def written_by(op: Any) -> Stored:
    """What lies in the store where a write happened."""
    return Stored(op.data, op.data, DAY)
