from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.responses import JSONResponse

from sojourn.clock import LONGEST_MS, from_ms
from sojourn.cookie import Cookie
from sojourn.core.data import is_changed
from sojourn.core.policy import decide
from sojourn.core.session import AsyncSession, BaseSession, Flash, Session
from sojourn.core.state import Found, State
from sojourn.core.store import Stored
from sojourn.core.transitions import note_loaded
from sojourn.errors import SessionDestroyed, SessionNotLoaded
from tests.core.making import DAY, HOUR, ID, NOW, begin, clock_of, make_settings, new, record_bytes, stored
from tests.core.records import values

EXPRESS_RECORD = b'{"cookie":{"originalMaxAge":3600000,"expires":null,"httpOnly":true,"path":"/"},"n":1}'


# -- a mapping --------------------------------------------------------------------------------------------------------


# contract 54, 60
def test_it_is_a_mapping_of_the_data_alone():
    session = stored(make_settings(), {"a": 1, "b": [2]})
    assert isinstance(session, MutableMapping)
    assert dict(session) == {"a": 1, "b": [2]}
    assert list(session) == ["a", "b"] and list(session.keys()) == ["a", "b"]
    assert list(session.values()) == [1, [2]] and list(session.items()) == [("a", 1), ("b", [2])]
    assert len(session) == 2 and "a" in session and "c" not in session
    assert session["a"] == 1 and session.get("c") is None and session.get("c", 5) == 5
    with pytest.raises(KeyError):
        session["c"]
    assert session == {"a": 1, "b": [2]}


def test_it_can_be_changed_as_any_mapping():
    session = stored(make_settings(), {"a": 1, "b": 2, "c": 3})
    session["d"] = 4
    del session["a"]
    assert session.pop("b") == 2 and session.pop("b", None) is None
    session.update(e=5)
    assert session.setdefault("e", 6) == 5
    assert dict(session) == {"c": 3, "d": 4, "e": 5}
    session.clear()
    assert not dict(session)
    with pytest.raises(TypeError):
        hash(session)


@pytest.mark.parametrize("face", [Session, AsyncSession])
def test_copies_and_unions_are_dicts(face):
    session = face(stored(make_settings(), {"a": 1, "b": [2]})._state)
    copied = session.copy()
    assert copied == {"a": 1, "b": [2]} and type(copied) is dict
    copied["c"] = 3
    assert "c" not in session and copied["b"] is session["b"]
    assert type(session | {}) is dict and session | {"b": 0, "c": 3} == {"a": 1, "b": 0, "c": 3}
    assert type({} | session) is dict and {"b": 0, "c": 3} | session == {"b": [2], "c": 3, "a": 1}
    assert session | session == {"a": 1, "b": [2]}
    for other in (None, [("a", 1)], 5):
        with pytest.raises(TypeError):
            session | other
        with pytest.raises(TypeError):
            other | session
    assert dict(session) == {"a": 1, "b": [2]}


def test_a_union_in_place_changes_the_session():
    session = same = stored(make_settings(), {"a": 1})
    session |= {"b": 2}
    session |= [("c", 3)]
    assert session is same and dict(session) == {"a": 1, "b": 2, "c": 3}
    assert decide(session._state).write is not None


@pytest.mark.parametrize("face", [Session, AsyncSession])
@pytest.mark.parametrize(
    "act",
    [
        json.dumps,
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        JSONResponse,
        lambda s: json.dumps({"s": s}),
    ],
    ids=["json", "copy", "deepcopy", "pickle", "JSONResponse", "json within"],
)
def test_what_takes_nothing_but_a_dict_says_how_to_make_one(act, face):
    session = face(stored(make_settings(), {"a": 1})._state)
    with pytest.raises(TypeError, match=r"dict\(session\)"):
        act(session)
    act(dict(session))
    assert face.__qualname__ in repr(session) and "dict" not in repr(session)


def test_popitem_takes_the_last_as_a_dicts_does():
    session = stored(make_settings(), {"a": 1, "b": 2})
    assert list(reversed(session)) == ["b", "a"]
    session |= {"c": 3}
    session["d"] = 4
    assert session.popitem() == ("d", 4) and session.popitem() == ("c", 3)
    assert decide(session._state).write is None  # as it was


def test_the_last_value_of_an_empty_session_is_a_key_error():
    with pytest.raises(KeyError, match="empty"):
        new(make_settings()).popitem()


# contract 55
@pytest.mark.parametrize(
    "name", ["id", "key", "signed_id", "owner", "is_new", "cookie", "created_at", "expires_at", "authenticated_at"]
)
@pytest.mark.parametrize("face", [Session, AsyncSession])
def test_what_is_not_data_cannot_be_assigned(face, name):
    session = face(begin(make_settings()))
    with pytest.raises(AttributeError, match=f"{face.__qualname__}.{name} cannot be set"):
        setattr(session, name, "x")
    assert name not in session


# What Express, Flask and Django users are used to.
@pytest.mark.parametrize("name", ["user", "permanent", "modified", "cart"])
@pytest.mark.parametrize("face", [Session, AsyncSession])
def test_an_attribute_that_there_is_not_names_the_item_to_use(face, name):
    session = face(begin(make_settings()))
    remedy = rf"{face.__qualname__} has no attribute '{name}'; data is kept in items: session\[\"{name}\"\]"
    with pytest.raises(AttributeError, match=remedy):
        setattr(session, name, "x")
    with pytest.raises(AttributeError, match=remedy) as caught:
        getattr(session, name)
    assert (caught.value.name, caught.value.obj) == (name, session)
    assert not hasattr(session, name) and not hasattr(session, "__dict__")


REPRS: list[tuple[Callable[[], BaseSession], str]] = [
    (lambda: new(make_settings()), "<Session new>"),
    (lambda: stored(make_settings(), {"password": "hunter2"}), "<Session stored>"),
    (lambda: Session(begin(make_settings(), Found.TOMBSTONE)), "<Session replaced>"),
    (lambda: Session(begin(make_settings(), Found.UNAVAILABLE)), "<Session unsaved>"),
    (lambda: AsyncSession(begin(make_settings(), Found.PENDING)), "<AsyncSession not loaded>"),
]


@pytest.mark.parametrize(("make", "shown"), REPRS)
def test_it_shows_neither_id_nor_data(make, shown):
    assert repr(make()) == shown


@pytest.mark.parametrize(
    ("act", "shown"),
    [
        (lambda s: s.touch(), "stored"),
        (lambda s: s.regenerate(), "regenerated"),
        (lambda s: s.login("hunter2"), "regenerated"),
        (lambda s: s.clear(), "invalidated"),
        (lambda s: s.destroy(), "destroyed"),
    ],
)
def test_it_shows_what_is_to_become_of_it(act, shown):
    session = stored(make_settings())
    act(session)
    assert repr(session) == f"<Session {shown}>"


def test_a_record_is_decoded_when_first_looked_at_and_once(monkeypatch):
    decoded = []
    settings = make_settings()

    def unseal(_codec: object, data: bytes, key: str) -> bytes:
        decoded.append(key)
        return data

    monkeypatch.setattr(type(settings.codec), "unseal", unseal)
    settings.seals = True
    session = stored(settings, {"n": 1})
    assert not decoded
    assert session["n"] == 1 and len(session) == 1 and session.owner is None
    assert decoded == [settings.key_of(ID)]


# -- what it is -------------------------------------------------------------------------------------------------------


# contract 56, 61
def test_a_new_session_has_an_id_as_soon_as_one_asks():
    settings = make_settings()
    session = new(settings)
    assert len(session.id) == 43
    assert session.id == session.id
    assert session.key == settings.key_of(session.id)
    assert session.is_new
    assert session.id != new(settings).id


# contract 59
def test_a_generator_that_returns_no_id_leaves_the_session_without(caplog):
    session = new(make_settings(generate_id=lambda request: 5))
    assert session.id == "" and session.signed_id == ""
    assert caplog.records


# contract 30, 62
@pytest.mark.parametrize("express_profile", [False, True])
def test_the_signed_id_is_what_the_cookie_holds(express_profile):
    session = stored(make_settings(express_profile=express_profile, rolling=True))
    header = decide(session._state).header
    assert header is not None and f"sid={session.signed_id};" in header[1]


def test_a_stored_session_is_known_by_the_id_that_the_request_brought():
    session = stored(make_settings())
    assert session.id == ID
    assert not session.is_new
    session.regenerate()
    assert session.id != ID
    assert session.is_new


def test_times_are_dates_in_utc():
    settings = make_settings()
    session = stored(settings)
    clock_of(settings).advance(HOUR)
    assert session.created_at == from_ms(NOW)
    assert session.created_at.tzinfo is UTC
    assert session.expires_at == from_ms(NOW + HOUR + DAY)
    assert new(settings).created_at == from_ms(NOW + HOUR)


def test_a_sessions_own_lifetime_is_its_idle_timeout():
    settings = make_settings()
    session = new(settings)
    session.cookie.max_age = 60
    assert session.expires_at == from_ms(NOW + 60_000)


def test_the_absolute_timeout_counts_from_the_creation():
    settings = make_settings(absolute_timeout=DAY / 1000 + 60)
    session = stored(settings)
    clock_of(settings).advance(HOUR)
    assert session.expires_at == from_ms(NOW + DAY + 60_000)


# contract 120, 123
def test_a_fixed_date_in_the_configuration_is_each_new_sessions_lifetime():
    settings = make_settings(cookie=Cookie(expires=datetime.fromtimestamp(NOW / 1000 + 90, UTC)))
    session = new(settings)
    assert session.cookie.max_age == 90
    assert session.expires_at == from_ms(NOW + 90_000)
    clock_of(settings).advance(100_000)
    assert new(settings).cookie.max_age == 0


# contract 136, 139; design, "The record"
def test_a_record_of_express_is_new_when_first_seen_and_keeps_its_lifetime():
    settings = make_settings()
    session = stored(settings, EXPRESS_RECORD)
    assert dict(session) == {"n": 1}
    assert session.created_at == from_ms(NOW)
    assert session.cookie.original_max_age == 3600
    assert session.expires_at == from_ms(NOW + HOUR)


# contract 133, 134, 136, 139
@pytest.mark.parametrize(
    ("text", "lifetime"),
    [
        ("null", None),
        ("false", None),  # Express after `cookie.expires = false`
        ('""', None),
        ("-1", -1),
        ("0", 0),
        ("1.5", 1),
        ("1e30", LONGEST_MS),
        ("-99999999999999999999", -LONGEST_MS),
    ],
)
def test_a_lifetime_of_express_is_the_sessions_own_whatever_is_configured(text, lifetime):
    settings = make_settings(cookie=Cookie(max_age=DAY / 1000), absolute_timeout=None)
    session = stored(settings, b'{"cookie":{"originalMaxAge":%b,"path":"/"},"n":1}' % text.encode())
    assert session.cookie.overrides == {"originalMaxAge": lifetime}
    assert dict(session) == {"n": 1}
    assert session.expires_at == from_ms(NOW + (DAY if lifetime is None else lifetime))


def test_a_lifetime_of_express_that_is_configured_is_no_override():
    settings = make_settings(cookie=Cookie(max_age=DAY / 1000))
    assert stored(settings, b'{"cookie":{"originalMaxAge":86400000}}').cookie.overrides == {}
    assert stored(make_settings(), b'{"cookie":{"originalMaxAge":false}}').cookie.overrides == {}


# contract 53
@pytest.mark.parametrize("lifetime", [b'"60000"', b"true", b"[]", b"{}"])
@pytest.mark.parametrize("own", [b"", b',"__sojourn__":{"v":1,"created":1750000000000,"overrides":["originalMaxAge"]}'])
def test_a_lifetime_that_is_none_is_as_if_it_were_not_there(lifetime, own):
    settings = make_settings(cookie=Cookie(max_age=DAY / 1000))
    session = stored(settings, b'{"cookie":{"originalMaxAge":%b}%b,"n":1}' % (lifetime, own))
    assert dict(session) == {"n": 1}
    assert session.cookie.overrides == {} and session.cookie.original_max_age_ms == DAY


# contract 50
@pytest.mark.parametrize("record", [b"", b"hunter2", b'{"n":1}', b'{"cookie":{},"__sojourn__":{"v":9,"created":1}}'])
def test_an_unreadable_record_is_a_fresh_session_with_another_id_and_a_line_in_the_log(record, caplog):
    session = stored(make_settings(), record)
    assert dict(session) == {}
    assert session.is_new and session.id != ID and session.owner is None
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert "unreadable" in line.getMessage() and ID not in line.getMessage() and "hunter2" not in line.getMessage()


# -- what to do with it -----------------------------------------------------------------------------------------------


# contract 145
def test_regenerate_starts_anew_under_another_id():
    settings = make_settings()
    session = stored(settings, before=lambda session: session.login("ann"))
    clock_of(settings).advance(HOUR)
    assert session.owner == "ann"
    session.regenerate()
    assert dict(session) == {} and session.id != ID
    assert [session.owner, session.authenticated_at] == [None, None]
    assert session.created_at == from_ms(NOW + HOUR)


# contract 146
def test_regenerate_can_keep_data_and_lifetime():
    def before(session: BaseSession) -> None:
        session.login("ann")
        session["n"] = 1
        session.cookie.max_age = 60

    settings = make_settings()
    session = stored(settings, before=before)
    clock_of(settings).advance(1000)
    session.regenerate(keep_data=True)
    assert dict(session) == {"n": 1} and session.id != ID
    assert session.owner == "ann"
    assert session.created_at == from_ms(NOW)
    assert session.cookie.original_max_age == 60


@pytest.mark.parametrize("keep_data", [False, True])
def test_login_notes_who_and_when(keep_data):
    settings = make_settings()
    session = stored(settings, {"cart": [1]})
    clock_of(settings).advance(1000)
    session.login("ann", keep_data=keep_data)
    assert session.owner == "ann"
    assert session.authenticated_at == from_ms(NOW + 1000)
    assert session.id != ID
    assert dict(session) == ({"cart": [1]} if keep_data else {})


@pytest.mark.parametrize("owner", [None, "", 7, b"ann"])
def test_an_owner_is_a_name(owner):
    session = stored(make_settings())
    with pytest.raises(TypeError):
        session.login(owner)
    assert session.id == ID


USES: list[Callable[[Any], object]] = [
    lambda session: session["n"],
    lambda session: session.get("n"),
    lambda session: session.__setitem__("n", 2),
    lambda session: session.__delitem__("n"),
    len,
    list,
    dict,
    lambda session: "n" in session,
    lambda session: session.increment("n"),
    lambda session: session.id,
    lambda session: session.signed_id,
    lambda session: session.key,
    lambda session: session.is_new,
    lambda session: session.cookie,
    lambda session: session.created_at,
    lambda session: session.expires_at,
    lambda session: session.owner,
    lambda session: session.authenticated_at,
    lambda session: session.regenerate(),
    lambda session: session.login("ann"),
    lambda session: session.touch(),
    lambda session: session.flash("hello"),
    lambda session: session.flashes(),
]


# contract 142, 144
@pytest.mark.parametrize("end", ["destroy", "logout"])
@pytest.mark.parametrize("use", [*USES, lambda session: session.clear(), lambda session: session.invalidate()])
@pytest.mark.parametrize("looked", [False, True])
def test_a_destroyed_session_is_of_no_use_any_more(end, use, looked):
    session = stored(make_settings())
    if looked:
        assert session["n"] == 1
    getattr(session, end)()
    with pytest.raises(SessionDestroyed):
        use(session)
    getattr(session, end)()  # which may be repeated


@pytest.mark.parametrize("use", USES)
def test_a_session_that_is_not_loaded_says_how_to_load_it(use):
    session = AsyncSession(begin(make_settings(lazy=True), Found.PENDING))
    with pytest.raises(SessionNotLoaded, match=r"await session\.load"):
        use(session)


@pytest.mark.parametrize("face", [Session, AsyncSession])
@pytest.mark.parametrize("end", [lambda s: s.destroy(), lambda s: s.invalidate(), lambda s: s.clear()])
def test_a_session_can_be_ended_without_having_been_loaded(face, end):
    state = begin(make_settings(lazy=True), Found.PENDING)
    end(face(state))
    assert decide(state).ends == (state.settings.key_of(ID),)


class LoadingIO:
    """Loads a record when asked, and notes what it was asked for."""

    def __init__(self, record: bytes) -> None:
        self.record = record
        self.calls: list[str] = []

    def load(self, state: State) -> None:
        self.calls.append("load")
        (verified,) = state.arrival.ids
        note_loaded(state, verified, state.settings.key_of(verified.id), Stored(self.record, 1, DAY))

    def save(self, state: State) -> None:
        self.calls.append("save")

    def reload(self, state: State) -> None:
        self.calls.append("reload")

    sessions: Any = "all of them"


def test_in_the_sync_colour_a_lazy_session_is_loaded_on_first_use():
    settings = make_settings(lazy=True)
    io = LoadingIO(record_bytes(settings))
    session = Session(begin(settings, Found.PENDING, io=io))
    assert not io.calls
    assert session["n"] == 1 and session.get("n") == 1
    assert io.calls == ["load"]


def test_the_sync_colour_asks_its_middleware():
    settings = make_settings()
    io = LoadingIO(record_bytes(settings))
    session = Session(begin(settings, io=io))
    session.save()
    session.reload()
    assert io.calls == ["save", "reload"]
    assert session.sessions is io.sessions


class AsyncLoadingIO(LoadingIO):
    async def load(self, state: State) -> None:  # type: ignore[override]
        LoadingIO.load(self, state)

    async def save(self, state: State) -> None:  # type: ignore[override]
        LoadingIO.save(self, state)

    async def reload(self, state: State) -> None:  # type: ignore[override]
        LoadingIO.reload(self, state)


@pytest.mark.anyio
async def test_the_async_colour_asks_its_middleware_and_loads_once():
    settings = make_settings(lazy=True)
    io = AsyncLoadingIO(record_bytes(settings))
    session = AsyncSession(begin(settings, Found.PENDING, io=io))
    await session.load()
    await session.load()
    assert session["n"] == 1
    await session.save()
    await session.reload()
    assert io.calls == ["load", "save", "reload"]
    assert session.sessions is io.sessions


@pytest.mark.anyio
@pytest.mark.parametrize("act", [lambda s: s.destroy(), lambda s: s.clear()])
async def test_what_was_ended_is_not_loaded_any_more(act):
    settings = make_settings(lazy=True)
    io = AsyncLoadingIO(record_bytes(settings))
    session = AsyncSession(begin(settings, Found.PENDING, io=io))
    act(session)
    await session.load()
    assert not io.calls


# -- increments -------------------------------------------------------------------------------------------------------


def test_an_increment_returns_the_sum_and_a_missing_number_is_zero():
    session = stored(make_settings(), {"n": 1, "x": 0.5})
    assert session.increment("n") == 2
    assert session.increment("n", 3) == 5
    assert session.increment("x", 0.25) == 0.75
    assert session.increment("new") == 1
    assert session.increment("new", -2) == -1
    assert session._state.increments == {"n": 4, "x": 0.25, "new": -1}


@pytest.mark.parametrize("value", [None, "1", True, [1], {}])
def test_only_numbers_are_incremented(value):
    session = stored(make_settings(), {"n": value})
    with pytest.raises(TypeError, match="'n'"):
        session.increment("n")
    assert session["n"] == value and not session._state.increments


@pytest.mark.parametrize(
    "change",
    [lambda s: s.__setitem__("n", 10), lambda s: s.__delitem__("n"), lambda s: s.clear(), lambda s: s.pop("n")],
)
def test_a_value_that_is_set_is_no_increment_any_more(change):
    session = stored(make_settings(), {"n": 1, "m": 1})
    session.increment("n")
    change(session)
    assert not session._state.increments
    session["m"] = 2
    session.increment("m")
    assert session._state.increments == {"m": 1}


# -- flashes ----------------------------------------------------------------------------------------------------------


def test_flashes_are_taken_once_in_order():
    session = new(make_settings())
    assert session.flashes() == []
    session.flash("one")
    session.flash("two", "error")
    session.flash("three")
    assert session.flashes() == [Flash("info", "one"), Flash("error", "two"), Flash("info", "three")]
    assert session.flashes() == []
    assert dict(session) == {}


@pytest.mark.parametrize("there", [b"1", b"{}", b'"a"', b"null", b"[]", b'[1,["info"],{},["a","b","c"]]'])
def test_what_another_program_left_in_the_place_of_flashes_is_none(there):
    session = stored(make_settings(), values(_flashes=there))
    assert session.flashes("info") == [] and "_flashes" not in session
    session = stored(make_settings(), values(_flashes=there))
    session.flash("one")
    assert session.flashes() == [("info", "one")]


def test_flashes_of_one_category_leave_the_others():
    session = new(make_settings())
    session.flash("one")
    session.flash("two", "error")
    assert session.flashes("error") == [("error", "two")]
    assert session.flashes("error") == []
    assert [flash.message for flash in session.flashes()] == ["one"]


def test_flashes_that_are_looked_at_stay_and_that_changes_nothing():
    session = stored(make_settings(), values(_flashes=b'[["info","one"],["error","two"]]'))
    assert session.peek_flashes() == [("info", "one"), ("error", "two")]
    assert session.peek_flashes("error") == [("error", "two")] and session.peek_flashes("none") == []
    assert session.flashes("none") == [] and not is_changed(session._state)
    assert len(session.flashes()) == 2


def test_of_many_flashes_the_oldest_are_dropped():
    session = new(make_settings())
    for number in range(60):
        session.flash(f"{number}")
    assert [flash.message for flash in session.flashes()] == [f"{number}" for number in range(10, 60)]


class Lazy:
    def __str__(self) -> str:
        return "said late"


class Markup(str):
    __slots__ = ()


@pytest.mark.parametrize(("message", "kept"), [(Lazy(), "said late"), (Markup("<b>"), "<b>"), (5, 5), (["a"], ["a"])])
def test_what_the_codec_does_not_hold_is_flashed_as_text(message, kept):
    session = new(make_settings())
    session.flash(message)
    (flash,) = session.flashes()
    assert flash.message == kept and type(flash.message) in (str, int, list)


def test_flashes_may_be_where_connect_flash_has_them():
    session = stored(make_settings(connect_flash=True), values(flash=b'{"info":["one"],"bad":1}'))
    session.flash("two", "error")
    session.flash("three")
    assert session["flash"] == {"info": ["one", "three"], "error": ["two"]} and "_flashes" not in session
    assert session.flashes("error") == [("error", "two")]
    assert session["flash"] == {"info": ["one", "three"]}
    assert session.flashes() == [("info", "one"), ("info", "three")] and dict(session) == {}
    session.flash("four", 4)  # type: ignore[arg-type]
    assert session.flashes("4") == [("4", "four")]
    session["flash"] = ["not", "ours"]
    assert session.peek_flashes() == []


def test_a_session_is_made_by_the_middleware_in_one_of_two_colours():
    assert issubclass(Session, BaseSession) and issubclass(AsyncSession, BaseSession)
    assert not issubclass(AsyncSession, Session)
