"""What an open connection, such as a WebSocket, is told of its session: that it was changed, regenerated or ended. No I/O.

A connection is one with the id under which it came. If the session gets another id elsewhere, as at a login, the connection is told, and that is
the end: whoever holds the old id has no right to what is under the new one. Only where the connection's own session object has moved, before
its headers left, does it go along.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from .data import look_at
from .state import State
from .store import ROUNDED_MS, Replaced, Seen

__all__ = ["CHANGED", "REGENERATED", "Change", "Why", "change_of", "is_own_end", "key_of"]

Why: TypeAlias = Literal["gone", "idle", "absolute"]


class Change(NamedTuple):
    """What became of a session, other than by the session object that is asked."""

    kind: Literal["changed", "regenerated", "ended"]
    """``"changed"``: it has other data, or another owner, which ``await session.reload()`` fetches. ``"regenerated"``: it goes on under
    another id, which this connection does not have, as after a login elsewhere. ``"ended"``: there is none any more."""
    why: Why | None = None
    """Why it ended: ``"gone"``, by a logout or whatever else deleted it; ``"idle"`` or ``"absolute"``, by the timeout of that name."""

    @property
    def is_end(self) -> bool:
        """Whether this connection has no session any more."""
        return self.kind != "changed"


CHANGED: Final = Change("changed")
REGENERATED: Final = Change("regenerated")


def key_of(state: State) -> str | None:
    """The key to watch; None where nothing is stored."""
    return None if state.loaded is None else state.loaded.key


def is_own_end(state: State) -> bool:
    """Whether the session was ended by this session object."""
    return state.loaded is None


def change_of(
    state: State, found: Seen | Replaced | None, *, mark: Callable[[Any], Hashable], has_expired: bool
) -> Change | None:
    """What is to be told of what the store has under the session's key; None: nothing, it is as this session object knows it.

    ``has_expired``: the time was up that the store had last said it has left.
    """
    loaded = state.loaded
    assert loaded is not None
    if isinstance(found, Seen):
        return None if found.mark == mark(loaded.stored.version) else CHANGED
    if found is not None:
        return REGENERATED
    if not has_expired:
        return Change("ended", "gone")
    look_at(state)  # what was loaded may not have been taken apart yet
    absolute, base = state.settings.options.absolute_ms, state.base
    created = None if base is None else base.created
    is_old = absolute is not None and created is not None and state.now() >= created + absolute - ROUNDED_MS
    return Change("ended", "absolute" if is_old else "idle")
