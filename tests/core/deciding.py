"""What the tests of the policy's rules share: how a plan reads in a table, and sessions that are in a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sojourn.core.commit import commit
from sojourn.core.plan import Phase, Plan
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.state import Event, Found, Intent, State
from sojourn.middleware.drive import run
from sojourn.stores import MemoryStore
from tests.core.making import DAY, ID, begin, clock_of, make_settings, record_bytes, stored_state

__all__ = [
    "ACTS",
    "change",
    "clear",
    "in_turn",
    "kept",
    "login",
    "look",
    "make",
    "plan_of",
    "respond",
    "sent",
    "written",
]

ACTS: Final[dict[Intent, Callable[[Session], object]]] = {
    Intent.NONE: lambda session: None,
    Intent.TOUCH: lambda session: session.touch(),
    Intent.REGENERATE: lambda session: session.regenerate(),
    Intent.INVALIDATE: lambda session: session.invalidate(),
    Intent.DISCARD: lambda session: session._state.on(Event.DISCARD),
    Intent.ENDED: lambda session: session._state.on(Event.ENDED),
    Intent.DESTROY: lambda session: session.destroy(),
}
"""How a request comes to each intent."""


def look(session: Session) -> None:
    session.get("n")


def change(session: Session) -> None:
    session["m"] = 1


def clear(session: Session) -> None:
    session.clear()


def login(session: Session) -> None:
    session.login("ann")


def in_turn(*acts: Callable[[Session], object]) -> Callable[[Session], None]:
    def act(session: Session) -> None:
        for one in acts:
            one(session)

    return act


def make(settings: SessionSettings, found: Found, **more: Any) -> State:
    return stored_state(settings, **more) if found is Found.RECORD else begin(settings, found, **more)


def plan_of(session: Session, phase: Phase = Phase.RESPONSE) -> Plan:
    return decide(session._state, phase)


def written(plan: Plan) -> str:
    return "-" if plan.write is None else type(plan.write).__name__


def sent(plan: Plan) -> str:
    """``"send"``, ``"expire"`` or ``"-"``."""
    if plan.header is None:
        return "-"
    assert plan.expires == ("=; " in plan.header[1])
    return "expire" if plan.expires else "send"


def kept(*, options: dict[str, Any] | None = None, **more: Any) -> tuple[State, MemoryStore]:
    """A loaded session, and the store that has it."""
    settings = make_settings(**(options or {}))
    raw = record_bytes(settings)
    store = MemoryStore(clock=clock_of(settings))
    store.create(settings.key_of(ID), raw, DAY)
    return stored_state(settings, raw, **more), store


def respond(state: State, store: MemoryStore) -> Plan:
    """Commit it as a response does."""
    plan = run(commit(state, decide(state)), store)
    state.sent = True
    return plan
