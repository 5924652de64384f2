"""Noting what happens to sessions, where somebody listens. No I/O: the middleware tells it, once the operation is done."""

from __future__ import annotations

from ..events import Kind, SessionEvent
from .state import State

__all__ = ["note", "notes_of"]


def note(
    state: State,
    kind: Kind,
    key: str | None = None,
    *,
    owner: str | None = None,
    former: str | None = None,
    reason: str | None = None,
) -> None:
    """Note what happened to the session under a key of the store; nothing where nobody listens."""
    noted = notes_of(state)
    if noted is not None:
        noted.append(state.settings.event(kind, key, owner=owner, former=former, reason=reason))


def notes_of(state: State) -> list[SessionEvent] | None:
    """What was noted of a request and not told yet, to add to; None where nobody listens."""
    settings = state.settings
    if state.noted is None and settings.tells:
        # What it brought was seen before there was a state.
        state.noted = [settings.event("refused", reason="signature")] if state.arrival.refused else []
    return state.noted
