"""What the application asks for while a commit is under way, as another task of a stream or socket may: it is done by the next commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from sojourn.core.commit import commit, save
from sojourn.core.plan import Create, Plan, Regenerate, Replace, Touch
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.state import Found, State
from sojourn.core.steps import Pause, Steps, Turn
from sojourn.core.store import CONFLICT, EXISTS, Stored
from sojourn.core.transitions import note_deleted, note_loaded
from sojourn.errors import SessionNotFound, StoreTimeout
from sojourn.middleware.drive import CALLS, run
from sojourn.stores import MemoryStore
from tests.core.making import DAY, ID, OTHER, begin, clock_of, make_settings, record_bytes, stored_state
from tests.core.playing import ONE_DELETED, ask, kinds, play, theirs

Do = Callable[[Session], object]
_WRITES: Final = (Create, Replace, Regenerate, Touch)


class World:
    """A session that is loaded, beside another that the request brought too."""

    def __init__(self) -> None:
        self.settings = make_settings()
        self.store = MemoryStore(clock=clock_of(self.settings))
        for session_id in (ID, OTHER):
            record = record_bytes(
                self.settings, {"secret": 1}, before=lambda session: session.login("ann", keep_data=True)
            )
            self.store.create(self.settings.key_of(session_id), record, DAY)
        self.state: State = begin(self.settings, Found.PENDING, ids=[ID, OTHER])
        key = self.settings.key_of(ID)
        note_loaded(self.state, self.state.arrival.ids[0], key, self.store.load(key))
        self.session = Session(self.state)

    def other_request(self, how: str) -> None:
        key = self.settings.key_of(ID)
        found = self.store.load(key)
        if how == "changes" and isinstance(found, Stored):
            record = record_bytes(
                self.settings, {"secret": 1, "theirs": 1}, before=lambda s: s.login("ann", keep_data=True)
            )
            self.store.replace(key, record, DAY, version=found.version)
        elif how == "moves" and isinstance(found, Stored):
            self.store.regenerate(key, "moved", found.data, DAY, version=found.version, tombstone=30_000)
        elif how == "ends":
            self.store.delete(key)

    def save(self, meanwhile: Do, *, other: str = "", lost: bool = False) -> None:
        """Save; the application asks for something else while the first write is under way."""
        steps: Steps[None] = save(self.state)
        asked = False
        try:
            op = next(steps)
            while True:
                if isinstance(op, Pause | Turn):
                    op = steps.send(None)
                    continue
                first = isinstance(op, _WRITES) and not asked
                if first:
                    asked = True
                    self.other_request(other)
                returned = CALLS[type(op)](self.store, op)
                if first:
                    meanwhile(self.session)
                op = steps.throw(StoreTimeout("no reply")) if first and lost else steps.send(returned)
        except (StopIteration, SessionNotFound):
            return

    def respond(self) -> Plan:
        plan = decide(self.state)
        return run(commit(self.state, plan), self.store) if plan.needs_store else plan


def put(session: Session) -> None:
    session["secret"] = 2


def login(session: Session) -> None:
    session.login("ann", keep_data=True)


def clear_and_put(session: Session) -> None:
    session.clear()
    session["new"] = 1


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("other", ["", "changes", "moves", "ends"])
@pytest.mark.parametrize("before", [put, login, lambda session: session.touch(), clear_and_put])
@pytest.mark.parametrize("meanwhile", [lambda s: s.destroy(), lambda s: s.clear(), clear_and_put])
def test_an_end_that_is_asked_for_while_a_save_is_under_way_is_not_lost(
    before: Do, meanwhile: Do, other: str, *, lost: bool
):
    world = World()
    before(world.session)
    world.save(meanwhile, other=other, lost=lost)
    plan = world.respond()
    live = {key: found.data for key, found in world.store.scan()}
    assert not any(b"ann" in data or b"secret" in data for data in live.values())
    assert len(live) == (meanwhile is clear_and_put)
    assert plan.header is not None and plan.expires is not bool(live)
    if live:
        assert list(live) == [world.session.key] and world.session.owner is None and dict(world.session) == {"new": 1}
    assert not decide(world.state).needs_store


@pytest.mark.parametrize("other", ["", "changes"])
@pytest.mark.parametrize("before", [put, login])
def test_so_is_a_new_id(before: Do, other: str):
    world = World()
    before(world.session)
    world.save(login, other=other)
    plan = world.respond()
    assert plan.header is not None and world.session.id in plan.header[1]
    live = {key for key, _ in world.store.scan()}
    assert live == {world.session.key, world.settings.key_of(OTHER)}  # a login ends the session that it goes on from
    assert world.session["secret"] == (2 if before is put else 1) and ("theirs" in world.session) is bool(other)


@pytest.mark.parametrize("refusal", [CONFLICT, b"v"])
def test_what_is_put_in_meanwhile_is_not_overwritten_by_a_merge(refusal: Any):
    settings = make_settings()
    state = stored_state(settings, {"n": 1})
    session = Session(state)
    session["a"] = 1

    def put_in(_op: Any) -> Any:
        session["b"] = 2
        return refusal

    returned = [theirs(settings, {"n": 1, "c": 3}), b"w"] if refusal is CONFLICT else []
    play(save(state), put_in, *returned)
    assert session["b"] == 2
    plan = decide(state)
    assert plan.needs_store is (refusal is not CONFLICT)  # the merge took it along


@pytest.mark.parametrize("again", [1, 2, -1])
def test_what_is_added_meanwhile_still_counts_when_another_request_adds_too(again: int):
    settings = make_settings()
    state = stored_state(settings, {"n": 5})
    session = Session(state)
    session.increment("n")

    def add(_op: Any) -> Any:
        session.increment("n", again)
        return b"v"

    play(save(state), add)
    assert state.increments == {"n": again}
    _, ops = ask(state, CONFLICT, theirs(settings, {"n": 16}), b"w")
    assert kinds(ops) == ["Replace", "Pause", "Load", "Replace"] and session["n"] == 16 + again
    assert state.increments is None


# design, "How a session ends": every rightly signed id that the request brought is ended
@pytest.mark.parametrize("act", [clear_and_put, login])
def test_where_the_new_id_is_taken_and_no_other_is_generated_the_old_session_ends_all_the_same(act: Do):
    generated = iter(["taken"])
    state = stored_state(make_settings(generate_id=lambda request: next(generated, None)))
    act(Session(state))
    plan, ops = ask(state, EXISTS, ONE_DELETED)
    assert kinds(ops) == ["Regenerate", "Delete"] and ops[1].keys == (state.settings.key_of(ID),)
    assert plan.write is None


def test_a_destroy_asked_for_while_the_endings_of_a_clear_are_under_way_is_still_to_be_done():
    state = stored_state(make_settings())
    session = Session(state)
    session.invalidate()
    plan = decide(state)
    session.destroy()
    note_deleted(state, plan, 1)
    assert not state.brought_ended and state.loaded is None
    assert decide(state).ends
