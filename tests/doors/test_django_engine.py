"""Django's engine: `SessionStore` alone, as Django's own middleware, the shell, commands and other packages use it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.management.commands.clearsessions import Command
from django.core.management import call_command
from django.test import override_settings

from sojourn import StoreUnavailable
from sojourn.clock import system_clock
from sojourn.codecs import JSONCodec
from sojourn.django import SessionStore
from sojourn.django.config import current
from sojourn.errors import SessionEncodeError
from sojourn.stores import MemoryStore
from sojourn.testing.clock import ManualClock
from tests.doors import django_site as site

COLOURS = ("sync", "async")
DAY = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def store(clock: ManualClock) -> Iterator[MemoryStore]:
    store = MemoryStore(clock=clock)
    with override_settings(SOJOURN={"store": store, "clock": clock}):
        yield store


@pytest.fixture(params=COLOURS)
def call(request: pytest.FixtureRequest) -> Any:
    """Calls a method in one of the colours."""

    def call(session: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            return getattr(session, name)(*args, **kwargs)
        return async_to_sync(getattr(session, f"a{name}"))(*args, **kwargs)

    return call


def stored(**data: Any) -> SessionStore:
    """A session that is in the store."""
    session = SessionStore()
    session.update(data)
    session.save()
    return SessionStore(session.session_key)


# django contract 1, 2, 5
def test_it_is_made_of_a_key_alone_and_needs_no_app_of_sessions() -> None:
    from importlib import import_module

    from django.apps import apps
    from django.conf import settings

    assert import_module(settings.SESSION_ENGINE).SessionStore is SessionStore
    assert issubclass(SessionStore, SessionBase) and not apps.is_installed("django.contrib.sessions")
    assert SessionStore().session_key is None and SessionStore(None).session_key is None


# django contract 3
def test_values_come_back_as_from_djangos_json_and_what_that_refuses_is_refused() -> None:
    kept = stored(a={1: "x", None: 2}, b=(1, (2,)), c=True)
    assert kept.load() == {"a": {"1": "x", "null": 2}, "b": [1, [2]], "c": True}
    top = SessionStore()
    top[1] = "number"  # type: ignore[index]
    top.save()
    assert SessionStore(top.session_key).load() == {"1": "number"}
    for value in (b"bytes", datetime.now(UTC), {1, 2}, object()):
        refused = SessionStore()
        refused["a"] = {"deep": value}
        with pytest.raises(TypeError) as raised:
            refused.save()
        assert isinstance(raised.value, SessionEncodeError) and raised.value.path == "a.deep"


# django contract 3
def test_a_codec_with_types_keeps_them() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    with override_settings(SOJOURN={"store": "memory://", "codec": JSONCodec()}):
        assert stored(when=when, pair=(1, 2)).load() == {"when": when, "pair": (1, 2)}


# django contract 4, 18
def test_the_bases_own_encoding_stays_for_whoever_reads_djangos_rows(caplog: pytest.LogCaptureFixture) -> None:
    session = SessionStore()
    assert session.key_salt == "django.contrib.sessions.SessionStore"
    assert session.decode(session.encode({"a": 1})) == {"a": 1}
    assert session.decode("no signature") == {}
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("django.security.SuspiciousSession", "WARNING")
    ]


# django contract 6
def test_it_can_be_gone_through_and_its_truth_is_djangos() -> None:
    session = SessionStore()
    session.update({"a": 1, "b": 2})
    assert list(session) == ["a", "b"] and dict(session.items()) == {"a": 1, "b": 2}
    assert bool(session) is bool(type("Base", (SessionBase,), {})("a" * 32))


# django contract 7
def test_get_and_pop(call: Any) -> None:
    session = stored(a=1, b=2)
    assert call(session, "get", "x") is None and call(session, "get", "x", 5) == 5
    assert call(session, "pop", "a") == 1 and call(session, "pop", "a", 7) == 7
    assert call(session, "pop", "a", default=8) == 8
    with pytest.raises(KeyError):
        call(session, "pop", "a")


# django contract 8
def test_setdefault_marks_only_what_it_sets(call: Any) -> None:
    session = stored(a=1)
    assert call(session, "setdefault", "a", 2) == 1 and not session.modified
    assert call(session, "setdefault", "b", 2) == 2 and session.modified


# django contract 9
def test_update_takes_a_mapping_and_always_marks(call: Any) -> None:
    session = stored(a=1)
    call(session, "update", {})
    assert session.modified
    with pytest.raises(TypeError):
        cast("Any", session).update(a=1)


# django contract 10
def test_removing_what_is_not_there_changes_nothing(call: Any) -> None:
    session = stored(a=1)
    assert call(session, "pop", "x", None) is None
    with pytest.raises(KeyError):
        del session["x"]
    assert not session.modified
    del session["a"]
    assert session.modified


# django contract 11
def test_views_are_live(call: Any) -> None:
    session = stored(a=1)
    keys, values, items = (call(session, name) for name in ("keys", "values", "items"))
    session["b"] = 2
    assert list(keys) == ["a", "b"] and list(values) == [1, 2] and list(items) == [("a", 1), ("b", 2)]
    assert "a" in session and call(session, "has_key", "b") and not call(session, "has_key", "c")


# django contract 12, 31
def test_clear_keeps_the_key_and_the_record_and_loads_nothing(store: MemoryStore, call: Any) -> None:
    session = stored(a=1, b=[2])
    key = session.session_key
    session.clear()
    assert (session.accessed, session.modified, session.session_key) == (True, True, key)
    assert session.state.loaded is None and dict(session.items()) == {}
    session["c"] = 3
    call(session, "save")
    assert session.session_key == key and SessionStore(key).load() == {"c": 3} and store.count() == 1


# django contract 12, 31
def test_a_session_that_was_emptied_is_stored_empty(call: Any) -> None:
    ways: list[Any] = [lambda session: session.clear(), lambda session: session.pop("a")]
    for empty in ways:
        session = stored(a=1)
        session.get("a")
        empty(session)
        call(session, "save")
        assert SessionStore(session.session_key).load() == {} and session.exists(session.session_key)
        assert not session.is_empty()


# django contract 13
def test_accessed_is_set_by_whoever_looks_at_the_data(call: Any) -> None:
    session = stored(a=1)
    assert session.session_key and not session.is_empty() and not session.accessed
    call(session, "get", "a")
    assert session.accessed
    session.accessed = False
    assert session["a"] == 1 and session.accessed


# django contract 14
def test_modified_can_be_set_to_false_and_stays_true_after_a_save(call: Any) -> None:
    session = stored(a=1)
    assert session.modified is False
    session["a"] = 2
    assert session.modified is True
    session.modified = False
    assert session.modified is False and session["a"] == 2
    session["b"] = [1]
    call(session, "save")
    assert session.modified is True


# django contract 15
def test_a_change_within_a_value_is_seen_and_saved(call: Any) -> None:
    session = stored(cart={"items": [1]}, other="x")
    call(session, "get", "cart")["items"].append(2)
    assert session.modified is True
    session.modified = False
    assert session.modified is False
    session["cart"]["items"].append(3)
    assert session.modified is True
    call(session, "save")
    assert session.modified is True and SessionStore(session.session_key)["cart"] == {"items": [1, 2, 3]}


# django contract 14
def test_what_cannot_be_stored_counts_as_a_change() -> None:
    session = stored(a=1)
    session["a"] = object()
    session.modified = False
    assert session.modified is True
    session.modified = False
    session["b"] = 1
    assert session.modified is True
    kept = stored(a=[1])
    kept["a"].append(2)
    kept.modified = False
    kept["a"].append(object())
    assert kept.modified is True


# django contract 16
def test_it_is_loaded_on_first_use_and_again_when_the_cache_was_deleted(call: Any) -> None:
    session = stored(a=1)
    assert not hasattr(session, "_session_cache") and session.state.loaded is None
    assert call(session, "get", "a") == 1 and hasattr(session, "_session_cache")
    other = SessionStore(session.session_key)
    other["a"] = 2
    other.save()
    assert session["a"] == 1
    del session._session_cache
    assert call(session, "get", "a") == 2


# django contract 17, 19
def test_the_test_cookie(call: Any) -> None:
    session = stored()
    call(session, "set_test_cookie")
    assert call(session, "test_cookie_worked") and session["testcookie"] == "worked"
    call(session, "save")
    again = SessionStore(session.session_key)
    call(again, "delete_test_cookie")
    assert again.modified and not call(again, "test_cookie_worked")


# django contract 19, 20
def test_every_method_has_its_twin_which_no_thread_runs() -> None:
    twins = {name for name in dir(SessionBase) if name.startswith("a") and hasattr(SessionBase, name[1:])}
    stores = {"acreate", "asave", "aload", "adelete", "aexists", "aflush", "acycle_key", "aclear_expired"}
    assert stores <= twins and all(name in vars(SessionStore) for name in stores)


# django contract 21, 22, 26
def test_a_key_is_40_characters_that_no_case_tells_apart() -> None:
    keys = {stored().session_key for _ in range(20)}
    assert len(keys) == 20
    for key in keys:
        assert key is not None and len(key) == 40 and key == key.lower() and key.isalnum()
    session = SessionStore()
    with pytest.raises(AttributeError):
        session.session_key = "x"  # type: ignore[misc]
    for given, kept in (("12345678", "12345678"), ("1234567", None), ("", None), (None, None), ("a" * 8 + "\0", None)):
        session._session_key = given
        assert session.session_key == session._session_key == kept


# django contract 21
def test_a_key_that_is_set_takes_the_data_along() -> None:
    there, session = stored(a=1, b=2), SessionStore()
    session["c"] = 3
    session._session_key = there.session_key
    session.save()
    assert SessionStore(there.session_key).load() == {"c": 3}


# django contract 22
def test_a_new_session_costs_one_write(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_key: str) -> None:
        raise AssertionError("there is nothing to look up")

    session = SessionStore()
    monkeypatch.setattr(store, "load", load)
    session["a"] = 1
    session.save()
    assert store.count() == 1


# django contract 23, 24
def test_it_is_empty_without_a_key_and_data() -> None:
    new, there = SessionStore(), stored()
    assert new.is_empty() and not there.is_empty() and not SessionStore("a" * 32).is_empty()
    new["a"] = 1
    assert not new.is_empty()
    gone = SessionStore("a" * 32)
    assert gone.get("x") is None and gone.is_empty() and gone.session_key is None


# django contract 25
def test_other_packages_have_room_for_the_key_and_the_store_sees_its_hash(store: MemoryStore) -> None:
    from allauth.usersessions.models import UserSession

    session = stored(a=1)
    assert UserSession._meta.get_field("session_key").max_length == 40
    ((key, found),) = store.scan()
    assert session.session_key is not None and session.session_key.encode() not in found.data
    assert key == session.key != session.session_key


# django contract 27, 38
def test_an_unknown_key_gives_nothing_and_begins_nothing(store: MemoryStore, call: Any) -> None:
    session = SessionStore("unknown-unknown")
    assert call(session, "load") == {} and session.session_key is None and store.count() == 0
    assert call(SessionStore(), "load") == {}


# django contract 28
def test_exists_takes_none(call: Any) -> None:
    session = stored()
    assert call(session, "exists", session.session_key) is True
    assert call(session, "exists", session.signed_key) is True
    assert call(session, "exists", None) is False and call(session, "exists", "a" * 40) is False


# django contract 29
def test_create_stores_an_empty_record_at_once(store: MemoryStore, call: Any) -> None:
    session = SessionStore()
    call(session, "create")
    first = session.session_key
    assert first is not None and session.modified and SessionStore(first).load() == {} and store.count() == 1
    session["a"] = 1
    call(session, "create")
    assert session.session_key not in (None, first) and session["a"] == 1 and store.count() == 2
    assert SessionStore(session.session_key).load() == {"a": 1} and SessionStore(first).load() == {}


# django contract 30
def test_save_creates_updates_and_refuses(call: Any) -> None:
    session = SessionStore()
    session["a"] = 1
    call(session, "save", must_create=True)
    assert SessionStore(session.session_key).load() == {"a": 1}
    with pytest.raises(CreateError):
        call(SessionStore(session.session_key), "save", must_create=True)
    named = SessionStore("a-key-of-its-own")
    call(named, "save", must_create=True)
    assert named.session_key == "a-key-of-its-own" and SessionStore("a-key-of-its-own").exists("a-key-of-its-own")
    lost = SessionStore("b" * 40)
    with pytest.raises(UpdateError):
        call(lost, "save")


# django contract 30
def test_a_session_whose_time_has_passed_is_not_created_by_name(call: Any) -> None:
    session = SessionStore("a-key-of-its-own")
    session._session_key = "a-key-of-its-own"
    session.clear()
    session.set_expiry(-1)
    call(session, "save", must_create=True)
    assert not session.exists("a-key-of-its-own")


# django contract 32
def test_delete_takes_a_key_or_its_own(store: MemoryStore, call: Any) -> None:
    first, second = stored(), stored()
    call(first, "delete")
    call(first, "delete", second.session_key)
    call(first, "delete", "c" * 40)
    call(SessionStore(), "delete")
    assert store.count() == 0


# django contract 33
def test_flush_ends_it_and_the_object_goes_on(store: MemoryStore, call: Any) -> None:
    session = stored(a=1)
    key = session.session_key
    call(session, "flush")
    assert (session.session_key, session.modified, session.accessed) == (None, True, True)
    assert not session.exists(key) and store.count() == 0 and dict(session.items()) == {}
    session["b"] = 2
    call(session, "save")
    assert session.session_key not in (None, key) and SessionStore(session.session_key).load() == {"b": 2}
    new = SessionStore()
    call(new, "flush")
    assert new.session_key is None


# django contract 34
def test_cycle_key_moves_the_data_at_once(call: Any) -> None:
    session = stored(a=[1])
    key = session.session_key
    call(session, "cycle_key")
    assert session.session_key != key and not session.exists(key)
    assert SessionStore(session.session_key).load() == {"a": [1]} and session["a"] == [1]
    new = SessionStore()
    call(new, "cycle_key")
    assert new.session_key is not None and new.exists(new.session_key)


# django contract 32, 33
def test_what_a_key_became_ends_with_it(call: Any) -> None:
    session = stored(a=1)
    moved = SessionStore(session.session_key)
    call(moved, "cycle_key")
    call(session, "flush")
    assert not moved.exists(moved.session_key)


# django contract 35
def test_clear_expired_sweeps_where_the_store_does_not(store: MemoryStore, clock: ManualClock, call: Any) -> None:
    stored()
    clock.advance(15 * DAY)
    assert len(store._records.entries) == 1
    call(SessionStore, "clear_expired")
    assert store.count() == 0
    call_command(Command())
    with override_settings(SOJOURN={"store": Without(MemoryStore())}):
        call(SessionStore, "clear_expired")


class Without:
    """A store that has only what the contract asks for, and waits."""

    def __init__(self, store: MemoryStore) -> None:
        for name in ("open", "close", "load", "create", "replace", "regenerate", "touch", "delete"):
            setattr(self, name, getattr(store, name))


# django contract 36
def test_a_session_that_has_ended_does_not_come_back(call: Any) -> None:
    session = stored(a=1)
    session["a"] = 2
    SessionStore(session.session_key).delete()
    with pytest.raises(UpdateError):
        call(session, "save")
    with pytest.raises(UpdateError):
        call(session, "save")
    assert call(session, "load") == {} and session["a"] == 2


# django contract 36
def test_a_store_that_is_down_is_an_error_and_no_empty_session(
    store: MemoryStore, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_key: str) -> None:
        raise StoreUnavailable("down")

    session = stored(a=1)
    with monkeypatch.context() as patched:
        patched.setattr(store, "load", down)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                call(session, "get", "a")
    assert call(session, "get", "a") == 1


# django contract 37
def test_parallel_changes_merge(call: Any) -> None:
    first = stored(a=1, list=[1])
    second = SessionStore(first.session_key)
    first["x"] = 1
    second["y"] = 2
    second["list"].append(2)
    first.increment("n")
    call(second, "increment", "n", 5)
    call(second, "save")
    call(first, "save")
    assert SessionStore(first.session_key).load() == {"a": 1, "list": [1, 2], "x": 1, "y": 2, "n": 6}


# django contract 38
def test_a_past_expiry_is_dead_at_once(store: MemoryStore, clock: ManualClock, call: Any) -> None:
    clock.now = system_clock()
    session = SessionStore()
    session["a"] = 1
    session.set_expiry(timedelta(seconds=-10))
    call(session, "save")
    assert session.session_key is not None and store.count() == 0 and SessionStore(session.session_key).load() == {}
    call(session, "save")
    there = stored(a=1)
    there.set_expiry(-10)
    call(there, "save")
    assert store.count() == 0
    there.set_expiry(100)
    with pytest.raises(UpdateError):
        call(there, "save")


# django contract 39, 40, 45
def test_seconds_count_from_each_save(store: MemoryStore, clock: ManualClock, call: Any) -> None:
    session = SessionStore()
    call(session, "set_expiry", 100)
    assert session["_session_expiry"] == 100 and session.modified
    call(session, "save")
    clock.advance(90_000)
    again = SessionStore(session.session_key)
    assert call(again, "get", "_session_expiry") == 100
    call(again, "save")
    clock.advance(90_000)
    assert store.count() == 1
    clock.advance(11_000)
    assert SessionStore(session.session_key).load() == {}


# django contract 40
def test_zero_lives_for_the_settings_age_and_none_takes_an_expiry_back(store: MemoryStore, clock: ManualClock) -> None:
    session = SessionStore()
    session.set_expiry(0)
    session.save()
    assert session.get_expire_at_browser_close() is True
    clock.advance(13 * DAY)
    assert store.count() == 1
    session.set_expiry(10)
    session.set_expiry(None)
    assert "_session_expiry" not in session and session.get_expire_at_browser_close() is False
    session.set_expiry(None)


# django contract 40
@pytest.mark.parametrize(
    ("given", "error"),
    [("tomorrow", ValueError), (float("nan"), ValueError), ([1], TypeError), (object(), TypeError)],
)
def test_an_expiry_that_means_nothing_is_refused(given: Any, error: type[Exception], call: Any) -> None:
    with pytest.raises(error):
        call(SessionStore(), "set_expiry", given)


# django contract 40
def test_what_else_counts_seconds(call: Any) -> None:
    session = SessionStore()
    call(session, "set_expiry", True)
    assert session["_session_expiry"] == 1 and type(session["_session_expiry"]) is int
    call(session, "set_expiry", 1.5)
    call(session, "save")
    assert session.state.loaded is not None and session.state.loaded.stored.expires_in == 1500


# django contract 41
@pytest.mark.parametrize("kind", ["timedelta", "datetime", "text", "naive"])
def test_a_moment_does_not_move(kind: str, store: MemoryStore, clock: ManualClock, call: Any) -> None:
    clock.now = system_clock()
    until = datetime.now(UTC) + timedelta(seconds=100)
    given = {
        "timedelta": timedelta(seconds=100),
        "datetime": until,
        "text": until.isoformat(),
        "naive": until.astimezone().replace(tzinfo=None),
    }[kind]
    session = SessionStore()
    call(session, "set_expiry", given)
    assert isinstance(session["_session_expiry"], str)
    call(session, "save")
    clock.advance(60_000)
    again = SessionStore(session.session_key)
    again["a"] = 1
    call(again, "save")
    assert again.state.loaded is not None
    left = again.state.loaded.stored.expires_in
    assert left is not None and 30_000 < left < 45_000
    clock.advance(50_000)
    assert SessionStore(session.session_key).load() == {}


# django contract 42, 43
def test_the_expirys_age_and_date_need_no_look_up(call: Any) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    session = SessionStore("a" * 40)
    until = now + timedelta(seconds=90)
    assert call(session, "get_expiry_age", modification=now, expiry=until) == 90
    assert call(session, "get_expiry_age", modification=now, expiry=5) == 5
    assert call(session, "get_expiry_age", modification=now, expiry=None) == 1209600
    assert call(session, "get_expiry_date", modification=now, expiry=5) == now + timedelta(seconds=5)
    assert call(session, "get_expiry_date", expiry=until) == until
    assert not session.accessed


# django contract 42
def test_a_subclass_may_have_another_age(store: MemoryStore, clock: ManualClock) -> None:
    class Short(SessionStore):
        def get_session_cookie_age(self) -> int:
            return 60

    session = Short()
    session["a"] = 1
    session.save()
    clock.advance(61_000)
    assert store.count() == 0


# django contract 44
@pytest.mark.parametrize(
    ("given", "setting", "closes"), [(0, False, True), (10, True, False), (None, True, True), (None, False, False)]
)
def test_who_ends_with_the_browser(given: int | None, setting: bool, closes: bool, call: Any) -> None:
    with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=setting):
        session = SessionStore()
        call(session, "set_expiry", given)
        assert call(session, "get_expire_at_browser_close") is closes


# django contract 46
def test_a_session_ends_at_last_whatever_happens(clock: ManualClock, store: MemoryStore) -> None:
    with override_settings(SOJOURN={"store": store, "clock": clock, "absolute_timeout": timedelta(days=20)}):
        session = stored()
        for _ in range(4):
            session.set_expiry(10 * 365 * 86_400)
            session.save()
            clock.advance(6 * DAY)
        assert SessionStore(session.session_key).load() == {} and store.count() == 0


# django contract 35, 37
def test_a_store_of_ones_own_serves_both_colours(call: Any) -> None:
    class Slow:
        """A sync store that may wait: on an event loop it is called in threads."""

        def __init__(self) -> None:
            self.store = MemoryStore()
            for name in (
                "open",
                "close",
                "load",
                "create",
                "replace",
                "regenerate",
                "touch",
                "delete",
                "scan",
                "count",
            ):
                setattr(self, name, getattr(self.store, name))
            self.max_size = 5

    slow = Slow()
    with override_settings(SOJOURN={"store": slow}):
        session = SessionStore()
        call(session, "set_expiry", 100)
        call(session, "save")
        call(session, "save")
        call(session, "cycle_key")
        call(session, "update", {"a": 1})
        call(session, "save")
        assert call(SessionStore(session.session_key), "get", "a") == 1
        call(session, "flush")
        assert slow.store.count() == 0
        wrapped = current().stores[1]
        assert wrapped.max_size == 5

        async def both() -> list[Any]:
            await wrapped.open()
            session = SessionStore()
            await session.acreate()
            found = [view async for view in session.asessions.all()]
            await wrapped.close()
            return [len(found), await session.asessions.count()]

        assert async_to_sync(both)() == [1, 1]


def test_it_shows_nothing_of_what_is_in_it() -> None:
    session = stored(secret="x")
    assert repr(session) == "<SessionStore not loaded>"
    assert session.session_key is not None and session.session_key not in repr(vars(session))


# django contract 60
def test_it_tells_what_our_sessions_know(clock: ManualClock, call: Any) -> None:
    session = stored(_auth_user_id="7")
    assert session.owner == "7" and session.created_at == session.authenticated_at
    assert [view.key for view in session.sessions.by_owner("7")] == [session.key]
    assert SessionStore().key is None and SessionStore().signed_key is None
    assert SessionStore(session.signed_key).session_key == session.session_key
    assert logging.getLogger("sojourn") is not None and site.SECRET not in repr(current())
