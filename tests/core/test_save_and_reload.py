"""``save()`` and ``reload()``, and what a look-up comes to."""

from __future__ import annotations

import pytest
from msgspec import Raw

from sojourn.core.commit import reload, save
from sojourn.core.plan import Replace
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.state import Event, Found
from sojourn.core.steps import Load
from sojourn.core.store import CONFLICT, MISSING, Stored
from sojourn.core.transitions import note_loaded
from sojourn.errors import HeadersAlreadySent, SessionDestroyed, SessionNotFound
from sojourn.wire.signing import Verified
from tests.core.making import DAY, ID, begin, make_settings, stored_state
from tests.core.playing import ONE_DELETED, TOMBSTONE, ask, changed, kinds, lying, play, theirs


# contract 153, 154
def test_what_was_saved_is_not_saved_again_and_its_cookie_is_owed():
    settings = make_settings()
    state = begin(settings)
    session = Session(state)
    session["n"] = 1
    _, ops = play(save(state), b"v")
    assert kinds(ops) == ["Create"]
    plan = decide(state)
    assert plan.write is None and plan.header is not None and session.id in plan.header[1]


# contract 155
def test_what_changes_after_a_save_is_saved_again():
    settings = make_settings()
    state = begin(settings)
    session = Session(state)
    session["n"] = 1
    play(save(state), b"v")
    session["n"] = 2
    plan = decide(state)
    assert isinstance(plan.write, Replace) and plan.write.version == b"v"
    assert plan.header is not None


def test_a_save_with_nothing_to_save_asks_nothing():
    settings = make_settings()
    state = stored_state(settings)
    assert play(save(state)) == (None, [])


def test_a_save_after_destroy_carries_it_out_and_the_cookie_is_expired():
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    session.destroy()
    assert kinds(play(save(state), ONE_DELETED)[1]) == ["Delete"]
    plan = decide(state)
    assert plan.write is None
    assert plan.header is not None and "Max-Age=0" in plan.header[1]


def test_each_save_of_a_session_that_ended_elsewhere_is_an_error_but_the_store_is_asked_once():
    settings = make_settings()
    state = changed(settings)
    for returned in ([MISSING], []):
        with pytest.raises(SessionNotFound):
            play(save(state), *returned)


@pytest.mark.parametrize("regenerated", [False, True])
def test_a_save_that_needs_a_cookie_comes_too_late_after_the_headers(regenerated):
    settings = make_settings()
    state = stored_state(settings) if regenerated else begin(settings)
    session = Session(state)
    if regenerated:
        session.regenerate()
    session["n"] = 1
    state.sent = True
    with pytest.raises(HeadersAlreadySent):
        play(save(state))


@pytest.mark.parametrize(
    ("act", "returned"),
    [
        (lambda s: s.update(n=2), b"v"),
        (lambda s: s.touch(), True),
        (lambda s: s.destroy(), ONE_DELETED),
        (lambda s: s.clear(), ONE_DELETED),
    ],
)
def test_a_late_save_of_a_stored_session_is_fine(act, returned):
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    state.sent = True
    act(session)
    assert len(play(save(state), returned)[1]) == 1


@pytest.mark.parametrize("found", [Found.PENDING, Found.TOMBSTONE, Found.UNAVAILABLE])
@pytest.mark.parametrize("end", [lambda s: s.destroy(), lambda s: s.clear()])
def test_a_late_save_of_what_was_ended_unloaded_is_fine_as_it_needs_no_cookie(found, end):
    state = begin(make_settings(), found)
    state.sent = True
    end(Session(state))
    assert kinds(play(save(state), ONE_DELETED)[1]) == ["Delete"]


# contract 149, 152
def test_reload_takes_what_the_store_holds_and_discards_the_rest():
    settings = make_settings()
    state = changed(settings)
    session = Session(state)
    session.cookie.max_age = 60
    session.increment("n")
    session.touch()
    _, ops = play(reload(state), theirs(settings, {"n": 7}))
    assert ops == [Load(settings.key_of(ID))]
    assert dict(session) == {"n": 7}
    assert session.cookie.original_max_age is None
    assert decide(state).write is None


# contract 101
def test_a_response_that_reloaded_its_session_varies_though_nothing_was_read_since():
    state = stored_state(make_settings())
    assert not decide(state).vary
    play(reload(state), lying(state))
    assert decide(state).vary


def test_a_session_that_had_ended_may_be_found_again_by_reload():
    settings = make_settings()
    state = changed(settings)
    session = Session(state)
    ask(state, MISSING)
    play(reload(state), theirs(settings, {"n": 7}))
    session["n"] = 8
    assert isinstance(decide(state).write, Replace)


# contract 150
@pytest.mark.parametrize("found", [None, TOMBSTONE])
def test_reload_without_a_live_record_is_an_error_and_the_session_stays(found):
    settings = make_settings()
    state = changed(settings)
    session = Session(state)
    with pytest.raises(SessionNotFound):
        play(reload(state), found)
    assert dict(session) == {"n": 1, "m": 1}


def test_reload_of_a_new_session_finds_nothing():
    settings = make_settings(generate_id=lambda request: None)
    with pytest.raises(SessionNotFound):
        play(reload(begin(settings)))


def test_a_destroyed_session_is_not_reloaded():
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    session.destroy()
    with pytest.raises(SessionDestroyed):
        play(reload(state))


@pytest.mark.parametrize("act", [lambda s: s.regenerate(), lambda s: s.login("ann"), lambda s: s.clear()])
def test_what_goes_on_under_an_id_that_is_not_stored_yet_is_not_reloaded(act):
    state = stored_state(make_settings())
    session = Session(state)
    act(session)
    session["m"] = 1
    with pytest.raises(SessionNotFound):
        play(reload(state))
    assert dict(session) == {"m": 1} and session.id != ID


def test_an_increment_that_was_saved_is_not_added_again():
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    session.increment("n")
    play(save(state), b"v")
    session.increment("n")
    plan, _ = ask(state, CONFLICT, theirs(settings, {"n": 10}), b"v")
    assert plan.record is not None and plan.record.data == {"n": Raw(b"11")}


def test_of_what_was_saved_and_has_ended_since_no_cookie_is_sent(caplog):
    state = begin(make_settings())
    session = Session(state)
    session["n"] = 1
    play(save(state), b"v")
    session["n"] = 2
    with pytest.raises(SessionNotFound):
        play(save(state), MISSING)
    plan = decide(state)
    assert (plan.write, plan.header) == (None, None)


def test_a_new_session_that_was_saved_is_reloaded():
    settings = make_settings()
    state = begin(settings)
    session = Session(state)
    session["n"] = 1
    play(save(state), b"v")
    session_id = session.id
    play(reload(state), theirs(settings, {"n": 7}))
    assert dict(session) == {"n": 7} and session.id == session_id


def test_a_saved_session_is_reloaded_under_its_new_id():
    settings = make_settings()
    state = stored_state(settings)
    session = Session(state)
    session.login("ann")
    play(save(state), b"v")
    _, ops = play(reload(state), theirs(settings, {"n": 7}))
    assert ops == [Load(settings.key_of(session.id))]
    assert dict(session) == {"n": 7} and session.id != ID


@pytest.mark.parametrize("keep_data", [False, True])
def test_after_a_regenerate_that_was_given_up_reload_gives_back_the_session_that_came(keep_data):
    settings = make_settings(rolling=True)
    state = stored_state(settings)
    session = Session(state)
    session.regenerate(keep_data=keep_data)
    session["m"] = object()
    state.on(Event.DISCARD)  # as the exchange does once it turns out that it cannot be stored
    play(reload(state), lying(state))
    assert dict(session) == {"n": 1} and session.id == ID and not session.is_new
    plan = decide(state)
    assert plan.write is None
    assert plan.header is not None and ID in plan.header[1]


# -- what is found --------------------------------------------------------------------------------------------------------------


# contract 46, 47
@pytest.mark.parametrize(
    ("returned", "found"),
    [(None, Found.NOTHING), (TOMBSTONE, Found.TOMBSTONE), (Stored(b"x", b"x", DAY), Found.RECORD)],
)
@pytest.mark.parametrize("needs_resigning", [False, True])
def test_what_the_store_returns_decides_what_the_session_is(returned, found, needs_resigning, caplog):
    caplog.set_level("DEBUG", logger="sojourn")
    state = begin(make_settings(), Found.PENDING)
    verified = Verified(ID, needs_resigning)
    assert note_loaded(state, verified, "key", returned) is (found is Found.RECORD)
    assert state.found is found
    # an unknown id is never adopted
    assert (state.id, state.came_as) == ((ID, verified) if found is Found.RECORD else (None, None))
    # a session that is found is no news
    assert ID not in caplog.text and (found.value in caplog.text) is (found is not Found.RECORD)


def test_a_replaced_id_is_remembered_while_other_ids_are_tried():
    state = begin(make_settings(), Found.PENDING)
    assert not note_loaded(state, Verified("a", needs_resigning=False), "a", TOMBSTONE)
    assert not note_loaded(state, Verified("b", needs_resigning=False), "b", None)
    assert state.found is Found.TOMBSTONE
    assert note_loaded(state, Verified("c", needs_resigning=False), "c", Stored(b"x", b"x", DAY))
    assert (state.found, state.id) == (Found.RECORD, "c")
