"""Django's settings: what they come to, and what the system checks say of those that are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.test import AsyncClient, Client, override_settings

from sojourn import Cookie, logs
from sojourn.codecs import JSONCodec
from sojourn.django import SessionStore, check_settings
from sojourn.django import config as config_module
from sojourn.django.config import current
from sojourn.errors import ConfigurationError
from sojourn.stores import AsyncMemoryStore, AsyncSQLiteStore, MemoryStore
from sojourn.testing.django import (
    alog_in,
    aread_session,
    awrite_session,
    clear,
    isolated_sessions,
    log_in,
    read_session,
    write_session,
)
from tests.doors.django_clients import KINDS, Visitor, site

ROOT = Path(__file__).parent.parent.parent
OTHER_ENGINE = "django.contrib.sessions.backends.signed_cookies"
THEIRS = "django.contrib.sessions.middleware.SessionMiddleware"
OURS = "sojourn.django.SessionMiddleware"


@pytest.fixture(autouse=True)
def store() -> Iterator[MemoryStore]:
    with isolated_sessions() as store:
        yield store


def said(**overridden: Any) -> dict[str, str]:
    """What the checks say: by id, the whole text."""
    with override_settings(**overridden):
        return {str(one.id): f"{one.msg} {one.hint}" for one in check_settings()}


# django contract 61
def test_settings_that_fit_have_nothing_to_be_said_of() -> None:
    assert said() == {}
    assert said(MIDDLEWARE=[THEIRS], SESSION_ENGINE=OTHER_ENGINE, SOJOURN={"nonsense": 1}) == {}
    assert said(MIDDLEWARE=["no.such.Middleware", "django.middleware.csrf.get_token"], SESSION_ENGINE="no.such") == {}


# django contract 51, 52
@pytest.mark.parametrize(
    ("overridden", "text"),
    [
        ({"SOJOURN": []}, "SOJOURN is a list. Give a dict of options."),
        ({"SOJOURN": {"store": "memory://", "colour": 1}}, "colour: got an unknown option."),
        ({"SOJOURN": {"store": "memory://", "name": "sid"}}, "set SESSION_COOKIE_NAME"),
        ({"SOJOURN": {"store": "memory://", "rolling": True}}, "set SESSION_SAVE_EVERY_REQUEST"),
        ({"SOJOURN": {"store": "memory://", "trust_proxy": True}}, "set SECURE_PROXY_SSL_HEADER"),
        ({"SOJOURN": {"store": "memory://", "cookie": lambda _: Cookie()}}, "SOJOURN['cookie']: got a function."),
        (
            {"SOJOURN": {"store": "memory://", "absolute_timeout": timedelta(days=1)}},
            "it cannot outlast absolute_timeout",
        ),
        ({"SOJOURN": {"store": "memory://", "max_sessions": 0}}, "SOJOURN['max_sessions']: got 0. give a whole number"),
        ({"SESSION_COOKIE_AGE": -5}, "cookie.max_age: got -5."),
        ({"SESSION_COOKIE_AGE": 0}, "idle_timeout: got 0."),
        ({"SESSION_COOKIE_AGE": timedelta(days=1)}, "SESSION_COOKIE_AGE: got datetime.timedelta(days=1)."),
        ({"SESSION_COOKIE_AGE": None}, "SESSION_COOKIE_AGE: got None. give a number of seconds"),
        ({"SECRET_KEY_FALLBACKS": "a former secret"}, "SECRET_KEY_FALLBACKS: got str."),
        ({"SECRET_KEY_FALLBACKS": [""]}, "SECRET_KEY_FALLBACKS: got an empty secret."),
        ({"SOJOURN": {"store": "reddis://user:secret@here"}}, "store: got a URL of scheme 'reddis'."),
        ({"SOJOURN": {"store": 5}}, "store: got int."),
        ({"SESSION_COOKIE_SAMESITE": "Sometimes"}, "cookie.samesite: got 'sometimes'."),
        ({"SESSION_COOKIE_PATH": "no/slash"}, "cookie.path: got 'no/slash'."),
        ({"SESSION_COOKIE_NAME": "__Host-sid"}, "name: got '__Host-sid'."),
    ],
)
def test_a_setting_that_is_wrong_is_an_error(overridden: dict[str, Any], text: str) -> None:
    assert text in said(**overridden)["sojourn.E001"]
    with override_settings(**overridden), pytest.raises(ConfigurationError):
        SessionStore()


def test_lazy_may_be_none_as_is_the_default() -> None:
    given = {"store": "memory://", "lazy": None}
    assert said(SOJOURN=given) == {}
    with override_settings(SOJOURN=given):
        assert current().is_lazy is None


# django contract 61
def test_what_does_not_go_together_is_an_error() -> None:
    assert set(said(SESSION_ENGINE=OTHER_ENGINE)) == {"sojourn.E002"}
    assert set(said(MIDDLEWARE=[THEIRS, OURS])) == {"sojourn.E003"}
    assert set(said(MIDDLEWARE=[THEIRS])) == set()
    given = {"store": "memory://", "cookie": Cookie(max_age=60)}
    assert set(said(SOJOURN=given, SESSION_COOKIE_HTTPONLY=True)) == {"sojourn.E004"}
    assert set(said(SOJOURN=given)) == set()


# django contract 3
def test_what_has_no_effect_or_is_forgotten_is_a_warning() -> None:
    assert set(said(SESSION_SERIALIZER="django.core.signing.JSONSerializer")) == {"sojourn.W002"}
    assert set(said(SOJOURN={})) == {"sojourn.W001"}


# django contract 46
def test_an_age_of_years_is_no_contradiction() -> None:
    years = 3 * 365 * 86_400
    with override_settings(SESSION_COOKIE_AGE=years):
        assert current().settings.options.absolute_ms == years * 1000


# django contract 3
def test_a_changed_setting_takes_effect_and_the_store_stays(store: MemoryStore) -> None:
    session = SessionStore()
    session["a"] = 1
    session.save()
    with override_settings(SESSION_COOKIE_AGE=60):
        again = SessionStore(session.session_key)
        assert again["a"] == 1 and again.get_session_cookie_age() == 60
        again.save()
        assert again.state.loaded is not None and again.state.loaded.stored.expires_in == 60_000
    with override_settings(SOJOURN={"store": store, "codec": JSONCodec()}):
        assert SessionStore(session.session_key)["a"] == 1
    with override_settings(LANGUAGE_CODE="de"):
        assert current() is current()


# django contract 76
def test_each_store_option_has_both_colours(tmp_path: Path) -> None:
    for given in ("memory://", f"sqlite:///{tmp_path}/sessions.db", MemoryStore(), AsyncMemoryStore()):
        with override_settings(SOJOURN={"store": given}):
            session = SessionStore()
            session["a"] = 1
            session.save()
            assert async_to_sync(SessionStore(session.session_key).aload)() == {"a": 1}
    for wrong in (AsyncSQLiteStore(tmp_path / "sessions.db"), object(), "http://localhost"):
        with override_settings(SOJOURN={"store": wrong}), pytest.raises(ConfigurationError, match="store"):
            SessionStore()


# django contract 76
def test_without_a_store_it_is_memory_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logs, "_said", set())
    with override_settings(SOJOURN={}):
        session = SessionStore()
        session.save()
        assert SessionStore(session.session_key).exists(session.session_key)
        assert async_to_sync(session.aexists)(session.session_key)
    assert "no store is configured" in caplog.text


# django contract 2
def test_threads_that_come_first_together_have_one_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "_current", None)
    begin, found = threading.Barrier(4), []

    def ask() -> None:
        begin.wait()
        found.append(current())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert config_module._make() is found[0]


# django contract 2
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_goes_on_by_itself(tmp_path: Path) -> None:
    program = """
import os, sys
from tests.doors import django_site as site
from django.test import Client
from sojourn.django import SessionStore, config
visitor = Client()
visitor.get("/put?a=1")
config._mutex.acquire()
child = os.fork()
if child == 0:
    config._current = None
    os._exit(visitor.get("/count").content != b"1")
config._mutex.release()
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert visitor.get("/count").content == b"2", "both are on one file"
"""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "SITE_FOLDER": str(tmp_path),
        "SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db",
    }
    subprocess.run([sys.executable, "-c", program], env=env, check=True, cwd=ROOT)


# django contract 76
def test_the_store_can_be_emptied_between_tests(store: MemoryStore) -> None:
    SessionStore().save()
    with isolated_sessions() as other:
        SessionStore().save()
        assert other.count() == 1 and clear() == 1
    assert store.count() == 1 and clear() == 1 and store.count() == 0


# django contract 67, 73
@pytest.mark.parametrize("kind", KINDS)
def test_a_clients_session_is_read_and_written_in_a_line(kind: str) -> None:
    site.prepare()
    user = get_user_model().objects.get(username="anna")
    visitor = Visitor(kind)
    assert read_session(visitor.client) == {}
    write_session(visitor.client, {"a": 1})
    assert visitor.data == {"a": 1} and read_session(visitor.client) == {"a": 1}
    write_session(visitor.client, {"b": 2})
    assert read_session(visitor.client) == {"a": 1, "b": 2}
    log_in(visitor.client, user)
    assert visitor.get("/whoami").body == b"anna" and read_session(visitor.client)["a"] == 1
    assert isinstance(visitor.client, Client | AsyncClient)


# django contract 67, 73
def test_the_same_on_an_event_loop() -> None:
    site.prepare()
    user = get_user_model().objects.get(username="anna")

    async def visit() -> None:
        client = AsyncClient()
        assert await aread_session(client) == {}
        await awrite_session(client, {"a": 1})
        assert await aread_session(client) == {"a": 1}
        await alog_in(client, user)
        assert (await client.get("/awhoami")).content == b"anna"

    async_to_sync(visit)()
