"""When the id is sent or expired, in which words, and by which transport."""

from __future__ import annotations

import logging
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final

import pytest

from sojourn import logs
from sojourn.cookie import Cookie
from sojourn.core.commit import save
from sojourn.core.policy import decide, substitute
from sojourn.core.session import Session
from sojourn.core.state import Found, Intent
from sojourn.core.store import Stored
from sojourn.core.transitions import note_loaded
from sojourn.middleware.drive import run
from sojourn.stores import MemoryStore
from sojourn.transports import CookieTransport, FormTransport, HeaderTransport, QueryTransport
from sojourn.wire.cookies import encode_value
from sojourn.wire.id_source import IdSource
from sojourn.wire.signing import Signer
from tests.core.deciding import ACTS, change, look, make, plan_of, respond, sent, written
from tests.core.making import (
    DAY,
    ID,
    NOW,
    OLD_SECRET,
    OTHER,
    SECRET,
    begin,
    clock_of,
    make_settings,
    new,
    record_bytes,
    stored,
    stored_state,
)


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch):
    monkeypatch.setattr(logs, "_said", set())


def drop(session: Session) -> None:
    substitute(session._state, None)


# -- the cookie -------------------------------------------------------------------------------------------------------------

RESAVE: Final = {"resave": True, "save_uninitialized": True}

COOKIES: Final[list[tuple[Found, Callable[[Session], object], dict[str, Any], str]]] = [
    # what was found, what was done, the options, what is sent
    (Found.RECORD, look, {}, "-"),
    (Found.RECORD, look, {"rolling": True}, "send"),  # contract 90, 97
    (Found.RECORD, ACTS[Intent.NONE], {"rolling": True}, "send"),
    (Found.RECORD, ACTS[Intent.TOUCH], {"rolling": True}, "send"),
    (Found.RECORD, change, {"rolling": True}, "send"),
    (Found.RECORD, look, {"rolling": True, **RESAVE}, "send"),
    (Found.RECORD, drop, {"rolling": True, "unset": "keep"}, "-"),
    (Found.RECORD, ACTS[Intent.REGENERATE], {"rolling": True}, "-"),
    (Found.RECORD, ACTS[Intent.DESTROY], {"rolling": True}, "expire"),
    (Found.RECORD, ACTS[Intent.INVALIDATE], {"rolling": True}, "expire"),
    (Found.RECORD, ACTS[Intent.ENDED], {"rolling": True}, "-"),
    (Found.NOTHING, look, {"rolling": True}, "-"),  # contract 93
    (Found.NOTHING, look, {"rolling": True, **RESAVE}, "send"),  # contract 94
    (Found.NOTHING, change, {"rolling": True}, "send"),  # contract 95
    (Found.NOTHING, lambda s: s.id, {"rolling": True}, "-"),
    (Found.TOMBSTONE, lambda s: s.id, {"rolling": True}, "-"),
    (Found.UNAVAILABLE, lambda s: s.id, {"rolling": True}, "-"),
    (Found.TOMBSTONE, change, {"rolling": True}, "-"),
    (Found.TOMBSTONE, change, {"rolling": True, **RESAVE}, "-"),
    (Found.UNAVAILABLE, change, {"rolling": True}, "-"),
    (Found.UNAVAILABLE, change, {"rolling": True, **RESAVE}, "-"),
    (Found.RECORD, change, {"cookie": Cookie(max_age=3600)}, "send"),  # contract 91
    (Found.RECORD, look, {"cookie": Cookie(max_age=3600), **RESAVE}, "-"),
    (Found.RECORD, ACTS[Intent.TOUCH], {"cookie": Cookie(max_age=3600)}, "-"),
    (Found.RECORD, look, {"cookie": Cookie(max_age=3600)}, "-"),
]


@pytest.mark.parametrize(("found", "act", "options", "cookie"), COOKIES)
def test_when_the_cookie_is_sent_again(found, act, options, cookie):
    state = make(make_settings(**options), found)
    act(Session(state))
    assert sent(decide(state)) == cookie


# contract 35
@pytest.mark.parametrize(
    ("act", "options"), [(ACTS[Intent.NONE], {}), (look, {}), (change, {}), (ACTS[Intent.TOUCH], {}), (look, RESAVE)]
)
def test_a_cookie_under_an_old_secret_is_signed_anew(act, options):
    state = stored_state(make_settings(secret=[SECRET, OLD_SECRET], **options), needs_resigning=True)
    act(Session(state))
    plan = decide(state)
    assert plan.header is not None
    assert plan.header[1].startswith(f"sid={encode_value(Signer([SECRET]).sign(ID))};")


@pytest.mark.parametrize(("options", "needs_resigning"), [({"rolling": True}, False), ({}, True)])
@pytest.mark.parametrize("looked", [False, True])
def test_a_cookie_that_is_sent_again_has_the_sessions_own_attributes(options, needs_resigning, looked):
    def before(session: Session) -> None:
        session.cookie.path, session.cookie.max_age = "/app", 60

    session = Session(stored_state(make_settings(**options), before=before, needs_resigning=needs_resigning))
    if looked:
        session.get("n")
    header = plan_of(session).header
    assert header is not None and "; Path=/app; " in header[1] and "; Max-Age=60; " in header[1]


# contract 70, 92, 129, 134
@pytest.mark.parametrize(
    ("config", "before", "change", "cookie"),
    [
        ({}, {}, {"samesite": "strict"}, "send"),
        ({}, {}, {"max_age": 60}, "send"),
        ({"max_age": 60}, {}, {"max_age": None}, "send"),
        ({"max_age": 60}, {"max_age": None}, {"max_age": None}, "-"),
        ({}, {"samesite": "strict"}, {}, "-"),
        ({}, {"samesite": "strict"}, {"samesite": "lax"}, "send"),
        ({}, {"max_age": 60}, {}, "-"),
    ],
)
def test_a_change_of_the_cookie_alone_is_sent_and_saved(config, before, change, cookie):
    def set_all(attributes: dict[str, Any]) -> Callable[[Session], None]:
        def set_them(session: Session) -> None:
            for name, value in attributes.items():
                setattr(session.cookie, name, value)

        return set_them

    session = stored(make_settings(cookie=Cookie(**config)), before=set_all(before))
    set_all(change)(session)
    plan = plan_of(session)
    assert sent(plan) == cookie
    assert written(plan) == ("Replace" if cookie == "send" else "-")


# contract 92: what makes it a browser-session cookie is its lifetime, not that data changed
@pytest.mark.parametrize(("own", "cookie"), [(60, "send"), (None, "-")])
def test_changed_data_send_the_cookie_if_it_has_a_lifetime(own, cookie):
    session = stored(make_settings(cookie=Cookie(max_age=3600)), before=lambda s: setattr(s.cookie, "max_age", own))
    session["m"] = 1
    assert sent(plan_of(session)) == cookie


# contract 99 to 102, 128
@pytest.mark.parametrize(
    ("express_profile", "secure", "config", "text"),
    [
        (False, False, {}, "sid=VALUE; Path=/; HttpOnly; SameSite=Lax"),
        (False, True, {}, "__Host-sid=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"),
        (False, True, {"samesite": "auto"}, "__Host-sid=VALUE; Path=/; HttpOnly; Secure; SameSite=None"),
        (False, False, {"samesite": "auto"}, "sid=VALUE; Path=/; HttpOnly; SameSite=Lax"),
        (
            False,
            True,
            {"max_age": 3600, "path": "/app", "priority": "low", "partitioned": True, "httponly": False},
            (f"sid=VALUE; Path=/app; Expires={formatdate(NOW // 1000 + 3600, usegmt=True)}; Max-Age=3600; Secure; "
            "Partitioned; Priority=Low; SameSite=Lax"),
        ),
        (True, False, {"secure": False, "samesite": None}, "connect.sid=VALUE; Path=/; HttpOnly"),
        (
            True,
            True,
            {"max_age": 3600, "samesite": None, "secure": True, "domain": "example.test"},
            (f"connect.sid=VALUE; Domain=example.test; Path=/; Expires={formatdate(NOW // 1000 + 3600, usegmt=True)}; "
            "HttpOnly; Secure"),
        ),
    ],
)  # fmt: skip
def test_the_cookie_as_it_is_sent(express_profile, secure, config, text):
    settings = make_settings(express_profile=express_profile, cookie=Cookie(**config))
    session = new(settings, secure=secure)
    session["n"] = 1
    value = encode_value(Signer([SECRET], "express" if express_profile else "native").sign(session.id))
    assert plan_of(session).header == ("Set-Cookie", text.replace("VALUE", value))
    old = stored(settings, secure=secure)
    old.destroy()
    expired = plan_of(old).header
    assert expired is not None
    assert expired[1].startswith(text.partition("VALUE")[0] + "; ")
    assert "Expires=Thu, 01 Jan 1970 00:00:00 GMT" in expired[1]
    assert ("Max-Age=0" in expired[1]) is not express_profile
    for attribute in ("Domain", "Path", "Secure", "Partitioned"):  # else the browser would keep it
        assert (attribute in expired[1]) == (attribute in text)


@pytest.mark.parametrize("end", [lambda s: s.destroy(), lambda s: s.clear()])
@pytest.mark.parametrize("looked", [False, True])
def test_a_cookie_of_a_sessions_own_is_expired_where_it_is(end, looked):
    session = stored(make_settings(), before=lambda s: setattr(s.cookie, "path", "/app"))
    if looked:
        session.get("n")
    end(session)
    header = plan_of(session).header
    assert header is not None and "; Path=/app; " in header[1]


# contract 104, 117
def test_what_no_cookie_can_bring_back_is_not_stored_and_one_warning_says_why(caplog):
    settings = make_settings(cookie=Cookie(secure=True))
    for _ in range(2):
        session = new(settings)
        session["n"] = 1
        plan = plan_of(session)
        assert (plan.write, plan.header) == (None, None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "trust_proxy" in caplog.text


@pytest.mark.parametrize("act", [lambda s: s.login("ann"), lambda s: (s.clear(), s.update(m=1))])
@pytest.mark.parametrize("options", [{"cookie": Cookie(secure=True)}, {"generate_id": lambda request: None}])
def test_a_regenerate_whose_new_id_cannot_be_sent_still_ends_the_old_one(act, options):
    raw = record_bytes(make_settings())
    state = stored_state(make_settings(**options), raw)
    act(Session(state))
    plan = decide(state)
    assert plan.write is None
    assert plan.ends == (state.settings.key_of(ID),)
    assert plan.header is None or plan.expires


def test_a_loaded_session_is_saved_over_http_too_and_its_cookie_kept_back():
    settings = make_settings(cookie=Cookie(secure=True), rolling=True)
    session = stored(settings, record_bytes(settings, secure=True))
    session["m"] = 1
    plan = plan_of(session)
    assert (written(plan), plan.header) == ("Replace", None)


# contract 59
def test_without_an_id_nothing_is_stored(caplog):
    session = new(make_settings(generate_id=lambda request: None))
    session["n"] = 1
    plan = plan_of(session)
    assert (plan.write, plan.header) == (None, None)
    assert "generate_id" in caplog.text


def test_what_was_saved_without_an_id_sends_no_header_when_it_rolls():
    settings = make_settings(rolling=True)
    state = stored_state(settings)
    state.id = None  # nothing public leads to it
    assert decide(state).header is None


# -- by which transport the id is sent ------------------------------------------------------------------------------------------

COOKIE, HEADER, QUERY, FORM = CookieTransport(), HeaderTransport(), QueryTransport(), FormTransport()

TRANSPORTS: Final = [
    # by what the id came, what new ids go by, what was done; the header's name, and whether it expires
    (COOKIE, COOKIE, change, None, False),
    (COOKIE, HEADER, ACTS[Intent.REGENERATE], None, False),
    (COOKIE, HEADER, lambda s: s.login("ann"), "Set-Cookie", False),
    (HEADER, COOKIE, lambda s: s.login("ann"), "X-Session-Id", False),
    (QUERY, COOKIE, lambda s: s.login("ann"), "Set-Cookie", False),
    (FORM, HEADER, lambda s: s.login("ann"), "X-Session-Id", False),
    (QUERY, None, lambda s: s.login("ann"), None, False),
    (COOKIE, HEADER, ACTS[Intent.DESTROY], "Set-Cookie", True),
    (HEADER, COOKIE, ACTS[Intent.DESTROY], "X-Session-Id", True),
    (QUERY, COOKIE, ACTS[Intent.DESTROY], None, False),
    (QUERY, HEADER, ACTS[Intent.DESTROY], None, False),
    (FORM, None, ACTS[Intent.DESTROY], None, False),
    (HEADER, HEADER, ACTS[Intent.INVALIDATE], "X-Session-Id", True),
]


@pytest.mark.parametrize(("came_by", "usual", "act", "name", "expires"), TRANSPORTS)
def test_an_id_is_sent_and_expired_by_the_transport_that_it_came_by(came_by, usual, act, name, expires):
    state = stored_state(make_settings(), source=IdSource(usual, {ID: came_by}))
    session = Session(state)
    act(session)
    header = decide(state).header
    assert (None if header is None else header[0]) == name
    if name == "X-Session-Id":
        assert header == (name, "" if expires else session.signed_id)


@pytest.mark.parametrize("came_by", [COOKIE, HEADER, QUERY, FORM])
@pytest.mark.parametrize("options", [{"rolling": True}, {"cookie": Cookie(max_age=3600)}])
def test_an_id_that_came_read_only_is_never_sent_again(came_by, options):
    state = stored_state(make_settings(**options), source=IdSource(COOKIE, {ID: came_by}))
    change(Session(state))
    assert (decide(state).header is None) is (came_by in (QUERY, FORM))


@pytest.mark.parametrize(("usual", "name"), [(COOKIE, "Set-Cookie"), (HEADER, "X-Session-Id"), (None, None)])
def test_a_new_id_is_sent_by_the_usual_transport(usual, name):
    state = begin(make_settings(), source=IdSource(usual, {}))
    change(Session(state))
    plan = decide(state)
    assert written(plan) == "Create"
    assert (None if plan.header is None else plan.header[0]) == name


@pytest.mark.parametrize(("first", "name"), [(COOKIE, "Set-Cookie"), (HEADER, "X-Session-Id"), (QUERY, None)])
def test_where_nothing_was_loaded_the_first_id_says_what_is_expired(first, name):
    state = begin(make_settings(), Found.PENDING, ids=[OTHER, ID], source=IdSource(HEADER, {OTHER: first, ID: COOKIE}))
    Session(state).destroy()
    header = decide(state).header
    assert (None if header is None else header[0]) == name


def test_where_one_was_loaded_it_says_what_is_expired_and_not_the_first_that_came():
    source = IdSource(COOKIE, {OTHER: COOKIE, ID: HEADER})
    state = begin(make_settings(), Found.PENDING, ids=[OTHER, ID], source=source)
    raw = record_bytes(state.settings)
    assert note_loaded(state, state.arrival.ids[1], state.settings.key_of(ID), Stored(raw, raw, DAY))
    Session(state).destroy()
    assert decide(state).header == ("X-Session-Id", "")


@pytest.mark.parametrize(("usual", "name"), [(None, None), (COOKIE, "Set-Cookie"), (HEADER, "X-Session-Id")])
def test_what_a_save_began_is_expired_by_the_usual_transport(usual, name):
    settings = make_settings()
    state, store = begin(settings, source=IdSource(usual, {})), MemoryStore(clock=clock_of(settings))
    session = Session(state)
    session["n"] = 1
    run(save(state), store)
    session.destroy()
    header = respond(state, store).header
    assert (None if header is None else header[0]) == name
    assert store.count() == 0


@pytest.mark.parametrize(("secure", "write"), [(False, "-"), (True, "Create")])
def test_beside_other_transports_a_secure_cookie_goes_over_https_alone(secure, write):
    settings = make_settings(cookie=Cookie(secure=True))
    state = begin(settings, secure=secure, source=IdSource(COOKIE, {}))
    change(Session(state))
    assert written(decide(state)) == write


# contract 104: over plain http a header may carry what a Secure cookie may not
def test_an_id_that_goes_by_header_needs_no_secure_cookie():
    state = begin(make_settings(cookie=Cookie(secure=True)), source=IdSource(HEADER, {}))
    change(Session(state))
    assert written(decide(state)) == "Create"
