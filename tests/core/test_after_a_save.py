"""What a ``save()`` in the middle still owes the response."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import Final

import pytest

from sojourn.cookie import Cookie
from sojourn.core.commit import commit, save
from sojourn.core.policy import decide, needs_late_commit, substitute
from sojourn.core.session import Session
from sojourn.core.state import Event, Found
from sojourn.middleware.drive import run
from sojourn.stores import MemoryStore
from sojourn.transports import HeaderTransport, QueryTransport
from sojourn.wire.cookies import encode_value
from sojourn.wire.id_source import IdSource
from tests.core.deciding import change, clear, in_turn, kept, login, respond, sent, written
from tests.core.making import ID, NOW, begin, clock_of, make_settings, stored_state

OWED: Final[list[tuple[str, bool, Callable[[Session], object], Callable[[Session], object], str, str, bool]]] = [
    # what; whether a record was loaded; before the save(); after it; what the response writes and sends, and whether a session is left
    ("a creation", False, change, lambda s: None, "-", "send", True),  # contract 154
    ("a creation, and a change", False, change, lambda s: s.update(m=2), "Replace", "send", True),  # contract 155
    ("a creation, and a touch", False, change, lambda s: s.touch(), "Touch", "send", True),
    ("a creation that is destroyed", False, change, lambda s: s.destroy(), "-", "expire", False),
    ("a creation that is invalidated", False, change, clear, "-", "expire", False),
    ("a creation that is regenerated", False, change, login, "Regenerate", "send", True),
    ("a creation that is regenerated to nothing", False, change, lambda s: s.regenerate(), "-", "-", False),
    ("a login", True, login, lambda s: None, "-", "send", True),
    ("a login, and another", True, login, lambda s: s.login("bob"), "Regenerate", "send", True),
    ("a login, and a logout", True, login, lambda s: s.logout(), "-", "expire", False),
    ("a change", True, lambda s: s.update(m=1), lambda s: None, "-", "-", True),
    ("a destroy", True, lambda s: s.destroy(), lambda s: None, "-", "expire", False),
    ("a destroy, and another", True, lambda s: s.destroy(), lambda s: s.destroy(), "-", "expire", False),
    ("an end", True, clear, lambda s: None, "-", "expire", False),
    ("an end, and a new session", True, clear, change, "Create", "send", True),
    ("an end, and a destroy", True, clear, lambda s: s.destroy(), "-", "expire", False),
    ("an end with a new session", True, in_turn(clear, change), lambda s: None, "-", "send", True),
    ("an end with a session, ended", True, in_turn(clear, change), clear, "-", "expire", False),
    ("a regenerate to nothing", True, lambda s: s.regenerate(), lambda s: None, "-", "-", False),
    ("a regenerate to nothing, and a session", True, lambda s: s.regenerate(), change, "Create", "send", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("loaded", "before", "after", "write", "cookie", "left"), [pytest.param(*rest, id=what) for what, *rest in OWED]
)
def test_after_a_save_the_response_writes_what_is_new_and_sends_what_is_owed(
    loaded, before, after, write, cookie, left
):
    state, store = kept()
    if not loaded:
        store.clear()
        state = begin(state.settings)
    session = Session(state)
    before(session)
    run(save(state), store)
    after(session)
    plan = respond(state, store)
    assert (written(plan), sent(plan)) == (write, cookie)
    assert store.count() == left
    if cookie == "send":
        assert plan.header is not None and encode_value(session.id) in plan.header[1]
        assert [key for key, _ in store.scan()] == [session.key]
    assert not needs_late_commit(state)


def test_a_cookie_of_its_own_that_a_save_has_ended_is_expired_where_it_is():
    settings = make_settings()
    state = stored_state(settings, before=lambda s: setattr(s.cookie, "path", "/app"))
    store = MemoryStore(clock=clock_of(settings))
    Session(state).destroy()
    run(save(state), store)
    header = respond(state, store).header
    assert header is not None and "; Path=/app; " in header[1]


def test_a_regenerate_beside_another_is_a_new_session_once_it_is_saved_with_nothing_in_it():
    settings = make_settings()
    state, store = begin(settings, Found.TOMBSTONE), MemoryStore(clock=clock_of(settings))
    session = Session(state)
    session.regenerate()
    run(save(state), store)
    session["m"] = 1
    assert written(respond(state, store)) == "Create"


# contract 154
@pytest.mark.parametrize("loaded", [False, True])
def test_what_was_saved_is_not_saved_again_because_it_is_configured_so(loaded):
    state, store = kept(options={"resave": True, "save_uninitialized": True})
    if not loaded:
        state = begin(state.settings)
    Session(state).get("n")
    run(save(state), store)
    assert state.saved
    assert decide(state).write is None


def test_what_a_save_owes_is_sent_by_header_too():
    settings = make_settings(transports=[HeaderTransport()])
    state, store = begin(settings, source=IdSource(HeaderTransport(), {})), MemoryStore(clock=clock_of(settings))
    session = Session(state)
    session["n"] = 1
    run(save(state), store)
    plan = respond(state, store)
    assert plan.header == ("X-Session-Id", session.signed_id) and not plan.needs_store


# contract 84
def test_what_a_save_owes_counts_from_when_it_saved():
    settings = make_settings(cookie=Cookie(max_age=3600))
    state, store = begin(settings), MemoryStore(clock=clock_of(settings))
    session = Session(state)
    session["n"] = 1
    run(save(state), store)
    clock_of(settings).advance(60_000)
    header = decide(state).header
    assert header is not None and f"Expires={formatdate(NOW // 1000 + 3600, usegmt=True)}" in header[1]
    session["n"] = 2
    header = decide(state).header
    assert header is not None and f"Expires={formatdate(NOW // 1000 + 3660, usegmt=True)}" in header[1]


def test_what_a_save_kept_is_kept_by_unset_and_its_cookie_is_sent():
    settings = make_settings(unset="keep")
    state, store = begin(settings), MemoryStore(clock=clock_of(settings))
    session = Session(state)
    session["n"] = 1
    run(save(state), store)
    session["n"] = 2
    substitute(state, None)
    plan = respond(state, store)
    assert (plan.needs_store, sent(plan), store.count()) == (False, "send", 1)


def test_where_the_ids_have_ended_and_the_new_session_cannot_be_stored_the_cookie_is_expired():
    state = begin(make_settings(), Found.TOMBSTONE, ids=[ID])
    session = Session(state)
    session.clear()
    session["m"] = "more than the store takes"
    store = MemoryStore(max_size=10)
    with pytest.raises(ValueError, match="max_size"):
        run(commit(state, decide(state)), store)
    state.on(Event.DISCARD)  # as the exchange does
    plan = decide(state)
    assert (plan.ends, sent(plan)) == ((), "expire")


# contract 84, where it has no header: a transport that only reads
def test_a_saved_session_that_no_transport_tells_of_needs_nothing_more():
    settings = make_settings(transports=[QueryTransport()])
    state, store = begin(settings, source=IdSource(None, {})), MemoryStore(clock=clock_of(settings))
    Session(state)["n"] = 1
    run(save(state), store)
    plan = decide(state)
    assert (plan.write, plan.ends, plan.header) == (None, (), None)
