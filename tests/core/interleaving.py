"""Runs requests of one session against a store in every order that their single store operations can take.

A request is a generator that yields store operations, as the tasks of ``core.commit`` do. Whoever steps next is chosen anew
at every operation; `explore` goes through all the choices there are, and with ``faults`` also through all the ways in which
so many writes can lose their reply, before or after they happened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sojourn.core.commit import commit, look_up_alone, unlock
from sojourn.core.plan import Create, Plan, Regenerate, Replace, Touch
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.state import Found, State
from sojourn.core.steps import Delete, Load, Lock, Operation, Pause, Turn, Unlock
from sojourn.core.store import Deleted, Outcome, Stored
from sojourn.core.transitions import note_loaded
from sojourn.errors import SojournError, StoreTimeout
from sojourn.middleware.drive import CALLS
from sojourn.stores import MemoryStore
from tests.core.making import DAY, ID, begin, clock_of, data_of, make_settings, record_bytes

__all__ = ["Do", "Request", "World", "explore"]

Do = Callable[[Session], object]
_WRITES: Final = (Create, Replace, Regenerate, Touch, Delete)
_MOST_RUNS: Final = 60_000


@dataclass
class Request:
    """One request: what its handler does, and what came of it."""

    do: Do
    exclusive: bool = False
    state: State | None = None
    plan: Plan | None = None
    """None while it runs, and where it failed."""
    error: SojournError | None = None
    steps: Any = None
    op: Operation | None = None
    waits: bool = False
    """For somebody to unlock the session."""

    @property
    def saved(self) -> bool:
        return self.plan is not None and self.plan.write is not None

    @property
    def session(self) -> Session:
        assert self.state is not None
        return Session(self.state)


@dataclass
class World:
    """The requests and their store."""

    settings: SessionSettings
    requests: list[Request]
    faults: int = 0
    key: str = ""
    trail: list[str] = field(default_factory=list)
    """What happened, for who reads a failure."""
    dead: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.key = self.settings.key_of(ID)
        self.store = MemoryStore(clock=clock_of(self.settings))

    def begin(self) -> None:
        for request in self.requests:
            request.steps = self._serve(request)
            self._advance(request, functools.partial(next, request.steps))

    def _serve(self, request: Request) -> Generator[Operation, Any, Plan]:
        """As the middleware does it."""
        state = request.state = begin(self.settings, Found.PENDING)
        if request.exclusive:
            yield from look_up_alone(state)
        else:
            note_loaded(state, state.arrival.ids[0], self.key, (yield Load(self.key)))
        request.do(Session(state))
        try:
            return (yield from commit(state, decide(state)))
        finally:
            if state.lock is not None:
                yield from unlock(state)

    def _advance(self, request: Request, step: Callable[[], Operation]) -> None:
        try:
            request.op = step()
            while isinstance(request.op, Pause | Turn):
                request.op = request.steps.send(None)
        except StopIteration as stop:
            request.op, request.plan = None, stop.value
        except SojournError as error:
            request.op, request.error = None, error

    def choices(self) -> list[tuple[int, str]]:
        """Who may step, and how."""
        able: list[tuple[int, str]] = []
        for index, request in enumerate(self.requests):
            if request.op is None or request.waits:
                continue
            able.append((index, "done"))
            if self.faults and isinstance(request.op, _WRITES):
                able += [(index, "not done"), (index, "done, reply lost")]
        assert able or all(request.op is None for request in self.requests), f"nobody can go on: {self.trail}"
        return able

    def step(self, index: int, how: str) -> None:
        request = self.requests[index]
        op = request.op
        returned: Any = None
        if how != "not done":
            returned = CALLS[type(op)](self.store, op)
            self._note(op, returned)
        self.trail.append(
            f"{index}: {type(op).__name__} {how} -> {returned if isinstance(returned, Outcome | Deleted) else ''}"
        )
        if isinstance(op, Lock) and returned is None:
            request.waits = True
        elif isinstance(op, Unlock):
            for other in self.requests:
                other.waits = False
        if how == "done":
            self._advance(request, lambda: request.steps.send(returned))
        else:
            self.faults -= 1
            self._advance(request, lambda: request.steps.throw(StoreTimeout("no reply")))
        alive = self.dead & self.live.keys()
        assert not alive, f"a key that had ended is live again: {self.trail}"

    def _note(self, op: Operation | None, returned: Any) -> None:
        if isinstance(op, Delete):
            self.dead.update(op.keys)
        elif isinstance(op, Regenerate) and not isinstance(returned, Outcome):
            self.dead.add(op.old)
        elif isinstance(op, Create) and op.key != self.key:
            # Its request generated the id, and nobody was told of it: after a lost reply it may begin anew under it.
            self.dead.discard(op.key)

    @property
    def live(self) -> dict[str, bytes]:
        return {key: found.data for key, found in self.store.scan()}

    @property
    def data(self) -> dict[str, Any]:
        """The data of the one session there is."""
        (record,) = self.live.values()
        return data_of(record)

    def data_at(self, request: Request) -> dict[str, Any] | None:
        """What the session holds that this request's browser has now."""
        found = self.store.load(request.session.key)
        return data_of(found.data) if isinstance(found, Stored) else None


def explore(
    *handlers: Do, data: dict[str, Any] | None = None, exclusive: tuple[int, ...] = (), faults: int = 0, **options: Any
) -> Iterator[World]:
    """Every way in which such requests can meet, each played to its end."""
    settings = make_settings(**options)
    record = record_bytes(settings, data or {"n": 0})
    paths: list[list[int]] = [[]]
    runs = 0
    while paths:
        path = paths.pop()
        runs += 1
        assert runs <= _MOST_RUNS, "too many ways to go through"
        world = World(settings, [Request(do, index in exclusive) for index, do in enumerate(handlers)], faults)
        world.store.create(world.key, record, DAY)
        world.begin()
        depth = 0
        while able := world.choices():
            if depth < len(path):
                chosen = path[depth]
            else:
                chosen = 0
                paths.extend([*path, *[0] * (depth - len(path)), other] for other in range(1, len(able)))
            world.step(*able[chosen])
            depth += 1
        yield world
