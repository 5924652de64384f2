"""The rules as tables: what a request did, where its session came from and when it is committed; what is written and sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import logs
from sojourn.cookie import Cookie
from sojourn.core.plan import Create, Delete, Ending, Phase, Plan, Regenerate, Replace, Touch
from sojourn.core.policy import Policy
from sojourn.core.record import unpack
from sojourn.core.session import Origin, Session
from sojourn.errors import SessionEncodeError, StoreUnavailable
from sojourn.wire.cookies import encode_value
from sojourn.wire.signing import Signer
from tests.core.making import DAY, HOUR, ID, NOW, OLD_SECRET, SECRET, begin, clock_of, make_policy, record_bytes, stored


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch):
    monkeypatch.setattr(logs, "_said", set())


def make(policy: Policy, origin: Origin) -> Session:
    return stored(policy) if origin is Origin.STORED else begin(policy, origin)


def sent(plan: Plan) -> str:
    """``"send"``, ``"expire"`` or ``"-"``."""
    if plan.header is None:
        return "-"
    return "expire" if "=; " in plan.header[1] else "send"


def written(plan: Plan) -> str:
    return "-" if plan.write is None else type(plan.write).__name__


# -- what the request did, and where its session came from ----------------------------------------------------------------


def regenerate(session: Session, policy: Policy) -> None:
    session.regenerate()
    session["m"] = 1


def drop(session: Session, policy: Policy) -> None:
    assert policy.options.unset == "keep"
    policy.unset(session, None)


ACTS: dict[Ending, tuple[Callable[[Session, Policy], object], dict[str, Any]]] = {
    # how a request comes to it, and under which options
    Ending.DESTROYED: (lambda session, policy: session.destroy(), {}),
    Ending.DROPPED: (drop, {"unset": "keep"}),
    Ending.REGENERATED: (regenerate, {}),
    Ending.EMPTIED: (lambda session, policy: session.regenerate(), {}),
    Ending.CHANGED: (lambda session, policy: session.update(m=1), {}),
    Ending.RESAVED: (lambda session, policy: session.get("n"), {"resave": True, "save_uninitialized": True}),
    Ending.TOUCHED: (lambda session, policy: session.touch(), {}),
    Ending.UNCHANGED: (lambda session, policy: session.get("n"), {}),
}

DECISIONS = [
    # origin, ending; written and sent with the response; written after it; written when the handler raised
    (Origin.NEW, Ending.DESTROYED, "-", "-", "-", "-"),  # contract 163
    (Origin.NEW, Ending.DROPPED, "-", "-", "-", "-"),
    (Origin.NEW, Ending.REGENERATED, "Create", "send", "-", "-"),
    (Origin.NEW, Ending.EMPTIED, "-", "-", "-", "-"),
    (Origin.NEW, Ending.CHANGED, "Create", "send", "-", "-"),  # contract 75, 98
    (Origin.NEW, Ending.RESAVED, "Create", "send", "-", "-"),  # contract 73
    (Origin.NEW, Ending.UNCHANGED, "-", "-", "-", "-"),  # contract 48, 74
    (Origin.STORED, Ending.DESTROYED, "Delete", "expire", "Delete", "Delete"),  # contract 142, 143
    (Origin.STORED, Ending.DROPPED, "-", "-", "-", "-"),  # contract 161
    (Origin.STORED, Ending.REGENERATED, "Regenerate", "send", "-", "-"),  # contract 145, 148
    (Origin.STORED, Ending.EMPTIED, "Delete", "-", "-", "-"),  # contract 145
    (Origin.STORED, Ending.CHANGED, "Replace", "-", "Replace", "-"),  # contract 78, 91, 92, 98
    (Origin.STORED, Ending.RESAVED, "Replace", "-", "-", "-"),  # contract 76
    (Origin.STORED, Ending.TOUCHED, "Touch", "-", "Touch", "-"),  # contract 158
    (Origin.STORED, Ending.UNCHANGED, "-", "-", "-", "-"),  # contract 77
    (Origin.UNLOADED, Ending.DESTROYED, "Delete", "expire", "Delete", "Delete"),
    (Origin.UNLOADED, Ending.DROPPED, "-", "-", "-", "-"),
    # a parallel request took the session along under another id: nothing is saved but a login of its own
    (Origin.REPLACED, Ending.DESTROYED, "-", "-", "-", "-"),
    (Origin.REPLACED, Ending.DROPPED, "-", "-", "-", "-"),
    (Origin.REPLACED, Ending.REGENERATED, "Create", "send", "-", "-"),
    (Origin.REPLACED, Ending.EMPTIED, "-", "-", "-", "-"),
    (Origin.REPLACED, Ending.CHANGED, "-", "-", "-", "-"),
    (Origin.REPLACED, Ending.RESAVED, "-", "-", "-", "-"),
    (Origin.REPLACED, Ending.UNCHANGED, "-", "-", "-", "-"),
    # the store was down when it was asked
    (Origin.UNSAVED, Ending.DESTROYED, "Delete", "expire", "Delete", "Delete"),
    (Origin.UNSAVED, Ending.DROPPED, "-", "-", "-", "-"),
    (Origin.UNSAVED, Ending.CHANGED, "-", "-", "-", "-"),
    (Origin.UNSAVED, Ending.RESAVED, "-", "-", "-", "-"),
    (Origin.UNSAVED, Ending.UNCHANGED, "-", "-", "-", "-"),
]


@pytest.mark.parametrize(("origin", "ending", "write", "cookie", "late", "failed"), DECISIONS)
def test_what_is_written_and_sent(origin, ending, write, cookie, late, failed):
    act, options = ACTS[ending]
    policy = make_policy(**options)
    for phase, expected in ((Phase.RESPONSE, write), (Phase.LATE, late), (Phase.FAILED, failed)):
        session = make(policy, origin)
        session._late = phase is Phase.LATE
        act(session, policy)
        plan = policy.close(session, phase)
        assert plan.ending is ending
        assert (phase, written(plan)) == (phase, expected)
        assert sent(plan) == (cookie if phase is Phase.RESPONSE else "-")
        assert (plan.record is not None) == isinstance(plan.write, Create | Replace | Regenerate)


@pytest.mark.parametrize("ending", [Ending.REGENERATED, Ending.EMPTIED])
def test_a_session_that_could_not_be_loaded_cannot_be_regenerated(ending):
    policy = make_policy()
    session = make(policy, Origin.UNSAVED)
    ACTS[ending][0](session, policy)
    with pytest.raises(StoreUnavailable):
        policy.close(session)


# contract 98
@pytest.mark.parametrize(
    ("origin", "ending", "said"),
    [
        (Origin.NEW, Ending.CHANGED, True),
        (Origin.NEW, Ending.REGENERATED, True),
        (Origin.STORED, Ending.REGENERATED, True),
        (Origin.STORED, Ending.EMPTIED, True),
        (Origin.NEW, Ending.RESAVED, False),
        (Origin.NEW, Ending.DESTROYED, False),
        (Origin.STORED, Ending.CHANGED, False),
        (Origin.STORED, Ending.RESAVED, False),
        (Origin.STORED, Ending.DROPPED, False),
        (Origin.STORED, Ending.UNCHANGED, False),
    ],
)
def test_what_comes_too_late_is_an_error_in_the_log_once(origin, ending, said, caplog):
    act, options = ACTS[ending]
    policy = make_policy(**options)
    session = make(policy, origin)
    session._late = True
    act(session, policy)
    for _ in range(2):
        policy.close(session, Phase.LATE)
    assert [record.levelno for record in caplog.records] == ([logging.ERROR] if said else [])


def test_what_a_handler_that_raised_had_changed_is_passed_over_without_a_word(caplog):
    policy = make_policy()
    for origin in (Origin.NEW, Origin.STORED):
        session = make(policy, origin)
        session["m"] = 1
        assert policy.close(session, Phase.FAILED).write is None
    assert not caplog.records


# contract 101
@pytest.mark.parametrize("origin", [Origin.NEW, Origin.STORED])
@pytest.mark.parametrize("looked", [False, True])
def test_a_response_varies_if_the_session_was_looked_at(origin, looked):
    policy = make_policy()
    session = make(policy, origin)
    if looked:
        session.get("n")
    assert policy.close(session).vary is looked


# -- what counts as a change ------------------------------------------------------------------------------------------------


def set_lifetime(session: Session) -> None:
    session.cookie.max_age = 60


CHANGES: list[tuple[Callable[[Session], object], bool]] = [
    (lambda s: s.__setitem__("n", 2), True),
    (lambda s: s.__setitem__("n", 1), False),  # contract 67
    (lambda s: s.__setitem__("n", 1.0), True),
    (lambda s: s.__setitem__("n", True), True),
    (lambda s: s.__setitem__("l", (1, 2)), True),
    (lambda s: s.__setitem__("when", "2026-11-21"), True),  # the text of a date is no date
    (lambda s: s["l"].append(3), True),  # contract 66
    (lambda s: s["o"].update(cookie=2), True),  # contract 65
    (lambda s: s["o"].update(cookie=1), False),
    (lambda s: s.__setitem__("n", s.pop("n")), True),  # contract 68
    (lambda s: (s.update(x=1), s.pop("x")), False),
    (lambda s: s.increment("n", 0), False),
    (lambda s: s.increment("n"), True),
    (set_lifetime, True),  # contract 70
    (lambda s: s.cookie, False),
    (lambda s: s.clear(), True),
]


@pytest.mark.parametrize(("change", "counts"), CHANGES)
def test_what_counts_as_a_change_is_what_would_be_stored(change, counts):
    policy = make_policy()
    session = stored(
        policy, {"n": 1, "l": [1, 2], "o": {"cookie": 1}, "when": datetime(2026, 11, 21, tzinfo=UTC).date()}
    )
    change(session)
    plan = policy.close(session)
    assert plan.ending is (Ending.CHANGED if counts else Ending.UNCHANGED)


# contract 71
@pytest.mark.parametrize("phase", [Phase.RESPONSE, Phase.LATE])
def test_a_value_that_cannot_be_stored_is_refused_with_its_path(phase):
    policy = make_policy()
    session = stored(policy)
    session["cart"] = [{"price": object()}]
    with pytest.raises(SessionEncodeError) as caught:
        policy.close(session, phase)
    assert caught.value.path == "cart[0].price"


# contract 50
@pytest.mark.parametrize(
    ("looked", "changed", "write"), [(False, False, "-"), (True, False, "-"), (True, True, "Create")]
)
def test_an_unreadable_record_is_never_written_over(looked, changed, write, caplog):
    policy = make_policy()
    session = stored(policy, b"not a record", expires_in=1)
    if looked:
        session.get("n")
    if changed:
        session["n"] = 1
    plan = policy.close(session)
    assert written(plan) == write
    assert not isinstance(plan.write, Create) or plan.write.key != policy.rules.key_of(ID)
    assert len(caplog.records) == 1


# -- what is written --------------------------------------------------------------------------------------------------------


def test_a_write_carries_key_data_lifetime_version_and_owner():
    policy = make_policy()
    key = policy.rules.key_of(ID)
    session = stored(policy, before=lambda s: s.login("ann", keep_data=True))
    version = session._stored.version  # type: ignore[union-attr]
    session["m"] = 2
    plan = policy.close(session)
    assert isinstance(plan.write, Replace)
    assert (plan.write.key, plan.write.ttl, plan.write.owner) == (key, DAY, "ann")
    assert plan.write.version is version
    record, tree = unpack(plan.write.data)
    assert record == plan.record and tree == {"n": 1, "m": 2}
    assert (record.created, record.owner, record.auth) == (NOW, "ann", NOW)

    session = stored(policy)
    session.login("bob", keep_data=True)
    plan = policy.close(session)
    assert isinstance(plan.write, Regenerate)
    assert (plan.write.old, plan.write.new) == (key, policy.rules.key_of(session.id))
    assert (plan.write.tombstone, plan.write.owner) == (30_000, "bob")
    assert unpack(plan.write.data)[1] == {"n": 1}

    session = stored(policy)
    session.touch()
    assert policy.close(session).write == Touch(key, DAY)
    session.destroy()
    assert policy.close(session).write == Delete(key)


# design, "Express profile"
def test_express_leaves_no_tombstone_and_hashes_no_id():
    policy = make_policy(express_profile=True)
    session = stored(policy)
    session.regenerate(keep_data=True)
    write = policy.close(session).write
    assert isinstance(write, Regenerate)
    assert (write.old, write.new, write.tombstone) == (ID, session.id, 0)


def test_no_two_writes_are_alike():
    policy = make_policy()
    assert record_bytes(policy) != record_bytes(policy)


def test_a_session_past_its_end_is_written_for_a_last_millisecond():
    policy = make_policy(absolute_timeout=3600, idle_timeout=60)
    session = stored(policy)
    clock_of(policy).advance(2 * HOUR)
    session["m"] = 1
    write = policy.close(session).write
    assert isinstance(write, Replace) and write.ttl == 1


def test_a_sessions_own_told_attributes_are_kept_with_it_and_no_others():
    policy = make_policy(cookie=Cookie(path="/app"))
    session = begin(policy)
    session["n"] = 1
    session.cookie.samesite = "strict"
    session.cookie.max_age = 60
    plan = policy.close(session)
    assert plan.record is not None
    assert plan.record.overrides == {"sameSite": "strict", "originalMaxAge": 60_000}
    assert isinstance(plan.write, Create) and plan.write.ttl == 60_000
    other = make_policy(cookie=Cookie(path="/other", httponly=False))  # contract 139
    again = stored(other, plan.write.data)
    assert again.cookie.path == "/other" and again.cookie.httponly is False
    assert again.cookie.samesite == "strict" and again.cookie.original_max_age == 60


# -- resave and save_uninitialized ------------------------------------------------------------------------------------------


# contract 73, 74, 76, 77, 79
@pytest.mark.parametrize("resave", [False, True])
@pytest.mark.parametrize("save_uninitialized", [False, True])
@pytest.mark.parametrize("looked", [False, True])
def test_unchanged_sessions_are_saved_only_as_configured(resave, save_uninitialized, looked):
    policy = make_policy(resave=resave, save_uninitialized=save_uninitialized)
    new, old = begin(policy), stored(policy)
    if looked:
        new.get("n"), old.get("n")
    assert written(policy.close(new)) == ("Create" if save_uninitialized else "-")
    assert written(policy.close(old)) == ("Replace" if resave else "-")


def regenerate_briefly(session: Session) -> None:
    session.regenerate()
    set_lifetime(session)


# contract 145
@pytest.mark.parametrize(
    ("act", "options", "write"),
    [
        (lambda s: s.regenerate(), {}, "Delete"),
        (lambda s: s.regenerate(), {"save_uninitialized": True}, "Regenerate"),
        (lambda s: s.regenerate(keep_data=True), {}, "Regenerate"),
        (lambda s: s.login("ann"), {}, "Regenerate"),
        (lambda s: (s.regenerate(), s.regenerate()), {}, "Delete"),
        (regenerate_briefly, {}, "Regenerate"),
        (lambda s: (s.regenerate(keep_data=True), s.clear()), {}, "Regenerate"),
    ],
)
def test_a_regenerated_session_is_saved_if_it_is_worth_it(act, options, write):
    policy = make_policy(**options)
    session = stored(policy)
    act(session)
    assert written(policy.close(session)) == write


# -- the cookie -------------------------------------------------------------------------------------------------------------

COOKIES = [
    # what the session is, the options, what is sent
    (Origin.STORED, Ending.UNCHANGED, {}, "-"),
    (Origin.STORED, Ending.UNCHANGED, {"rolling": True}, "send"),  # contract 90, 97
    (Origin.STORED, Ending.TOUCHED, {"rolling": True}, "send"),
    (Origin.STORED, Ending.CHANGED, {"rolling": True}, "send"),
    (Origin.STORED, Ending.RESAVED, {"rolling": True}, "send"),
    (Origin.STORED, Ending.DROPPED, {"rolling": True}, "-"),
    (Origin.STORED, Ending.EMPTIED, {"rolling": True}, "-"),
    (Origin.STORED, Ending.DESTROYED, {"rolling": True}, "expire"),
    (Origin.NEW, Ending.UNCHANGED, {"rolling": True}, "-"),  # contract 93
    (Origin.NEW, Ending.RESAVED, {"rolling": True}, "send"),  # contract 94
    (Origin.NEW, Ending.CHANGED, {"rolling": True}, "send"),  # contract 95
    (Origin.REPLACED, Ending.CHANGED, {"rolling": True}, "-"),
    (Origin.UNSAVED, Ending.CHANGED, {"rolling": True}, "-"),
    (Origin.STORED, Ending.CHANGED, {"cookie": Cookie(max_age=3600)}, "send"),  # contract 91
    (Origin.STORED, Ending.RESAVED, {"cookie": Cookie(max_age=3600)}, "-"),
    (Origin.STORED, Ending.TOUCHED, {"cookie": Cookie(max_age=3600)}, "-"),
    (Origin.STORED, Ending.UNCHANGED, {"cookie": Cookie(max_age=3600)}, "-"),
]


@pytest.mark.parametrize(("origin", "ending", "options", "cookie"), COOKIES)
def test_when_the_cookie_is_sent_again(origin, ending, options, cookie):
    act, needed = ACTS[ending]
    policy = make_policy(**needed, **options)
    session = make(policy, origin)
    act(session, policy)
    plan = policy.close(session)
    assert plan.ending is ending
    assert sent(plan) == cookie


# contract 35
@pytest.mark.parametrize("ending", [Ending.UNCHANGED, Ending.CHANGED, Ending.TOUCHED, Ending.RESAVED])
def test_a_cookie_under_an_old_secret_is_signed_anew(ending):
    act, options = ACTS[ending]
    policy = make_policy(secret=[SECRET, OLD_SECRET], **options)
    session = stored(policy)
    session._stale, session._quiet = True, False
    act(session, policy)
    plan = policy.close(session)
    assert plan.header is not None
    assert plan.header[1].startswith(f"sid={encode_value(Signer([SECRET]).sign(ID))};")


def test_an_unread_session_under_an_old_secret_is_signed_anew_too():
    policy = make_policy(secret=[SECRET, OLD_SECRET])
    session = stored(policy)
    session._stale, session._quiet = True, False
    assert sent(policy.close(session)) == "send"


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

    policy = make_policy(cookie=Cookie(**config))
    session = stored(policy, before=set_all(before))
    set_all(change)(session)
    plan = policy.close(session)
    assert sent(plan) == cookie
    assert written(plan) == ("Replace" if cookie == "send" else "-")


# contract 92: what makes it a browser-session cookie is its lifetime, not that data changed
@pytest.mark.parametrize(("own", "cookie"), [(60, "send"), (None, "-")])
def test_changed_data_send_the_cookie_if_it_has_a_lifetime(own, cookie):
    policy = make_policy(cookie=Cookie(max_age=3600))
    session = stored(policy, before=lambda s: setattr(s.cookie, "max_age", own))
    session["m"] = 1
    assert sent(policy.close(session)) == cookie


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
    policy = make_policy(express_profile=express_profile, cookie=Cookie(**config))
    session = begin(policy, secure=secure)
    session["n"] = 1
    value = encode_value(Signer([SECRET], "express" if express_profile else "native").sign(session.id))
    assert policy.close(session).header == ("Set-Cookie", text.replace("VALUE", value))
    old = stored(policy, secure=secure)
    old.destroy()
    expired = policy.close(old).header
    assert expired is not None
    assert expired[1].startswith(text.partition("VALUE")[0] + "; ")
    assert "Expires=Thu, 01 Jan 1970 00:00:00 GMT" in expired[1]
    assert ("Max-Age=0" in expired[1]) is not express_profile
    for attribute in ("Domain", "Path", "Secure", "Partitioned"):  # else the browser would keep it
        assert (attribute in expired[1]) == (attribute in text)


# contract 104, 117
@pytest.mark.parametrize("origin", [Origin.NEW, Origin.STORED])
def test_what_no_cookie_can_bring_back_is_not_stored_and_one_warning_says_why(origin, caplog):
    policy = make_policy(cookie=Cookie(secure=True))
    for _ in range(2):
        session = make(policy, Origin.NEW)
        session["n"] = 1
        plan = policy.close(session)
        assert (plan.write, plan.header) == (None, None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "trust_proxy" in caplog.text


def test_a_regenerate_that_no_cookie_can_tell_of_still_ends_the_old_id():
    policy = make_policy(cookie=Cookie(secure=True))
    session = stored(policy, secure=True)
    session._secure = False
    session.login("ann")
    plan = policy.close(session)
    assert plan.write == Delete(policy.rules.key_of(ID))
    assert plan.header is None


def test_a_loaded_session_is_saved_over_http_too_and_its_cookie_kept_back():
    policy = make_policy(cookie=Cookie(secure=True), rolling=True)
    session = stored(policy, secure=True)
    session._secure = False
    session["m"] = 1
    plan = policy.close(session)
    assert (written(plan), plan.header) == ("Replace", None)


# contract 59
def test_without_an_id_nothing_is_stored(caplog):
    policy = make_policy(generate_id=lambda request: None)
    session = begin(policy)
    session["n"] = 1
    plan = policy.close(session)
    assert (plan.write, plan.header) == (None, None)
    assert "generate_id" in caplog.text


def test_a_regenerate_for_which_no_id_is_drawn_still_ends_the_old_one():
    policy = make_policy(generate_id=lambda request: None)
    session = stored(policy, record_bytes(policy))
    session.login("ann")
    plan = policy.close(session)
    assert plan.write == Delete(policy.rules.key_of(ID))
    assert plan.header is None


# -- the touch --------------------------------------------------------------------------------------------------------------

MINUTE = 60_000
TOUCHES: list[tuple[dict[str, Any], Any, int | None, int, bool]] = [
    # options; the session's own lifetime (0: none); what the store says is left; how old the session is; whether a touch is due
    ({}, 0, DAY, 0, False),
    ({}, 0, DAY - DAY // 20 + 1, DAY // 20 - 1, False),
    ({}, 0, DAY - DAY // 20, DAY // 20, True),
    ({}, 0, 1, DAY - 1, True),
    ({"idle_timeout": 60}, 0, 57_001, 2_999, False),
    ({"idle_timeout": 60}, 0, 57_000, 3_000, True),
    ({"idle_timeout": 60, "touch_after": 10}, 0, 50_001, 9_999, False),
    ({"idle_timeout": 60, "touch_after": 10}, 0, 50_000, 10_000, True),
    ({"cookie": Cookie(max_age=60)}, 0, 57_000, 3_000, True),
    ({"touch_after": 0}, 0, DAY, 0, True),  # contract 77, 81
    ({"touch_after": 0}, 0, DAY - 1, 1, True),
    # shorter than a second
    ({"idle_timeout": 0.1}, 0, 96, 4, False),
    ({"idle_timeout": 0.1}, 0, 95, 5, True),
    ({"idle_timeout": 0.019}, 0, 19, 0, True),  # a twentieth of it is less than the clock can tell
    # the session's own lifetime is its idle timeout
    ({}, 60, 57_001, 2_999, False),
    ({}, 60, 57_000, 3_000, True),
    ({"idle_timeout": 3600}, 60, 57_000, 3_000, True),
    ({"idle_timeout": 60}, 3600, 58 * MINUTE, 2 * MINUTE, False),
    ({"idle_timeout": 60}, 3600, 57 * MINUTE, 3 * MINUTE, True),
    ({"cookie": Cookie(max_age=3600)}, None, DAY, 0, False),
    ({"cookie": Cookie(max_age=3600)}, None, DAY - DAY // 20, DAY // 20, True),
    # towards the absolute timeout a touch moves less and less, and at last nothing
    ({"absolute_timeout": 2 * DAY / 1000}, 0, DAY // 2, DAY, True),
    ({"absolute_timeout": 2 * DAY / 1000}, 0, DAY // 2, 2 * DAY - DAY // 2, False),
    ({"absolute_timeout": 2 * DAY / 1000}, 0, DAY // 2, 2 * DAY - DAY // 2 - DAY // 20, True),
    ({"absolute_timeout": 2 * DAY / 1000}, 0, DAY // 2, 2 * DAY - DAY // 2 - DAY // 20 + 1, False),
    ({"absolute_timeout": 60}, 0, MINUTE, 0, False),
    ({"absolute_timeout": 60}, 0, MINUTE // 2, MINUTE // 2, False),
    ({"absolute_timeout": 60, "idle_timeout": 60}, 0, 1, MINUTE - 1, False),
    # a store that cannot tell: due until this process has touched it
    ({}, 0, None, 0, True),
    ({"touch_after": DAY / 1000}, 0, None, 0, True),
    ({"absolute_timeout": 60, "touch_after": 61}, 0, None, 0, False),
]


@pytest.mark.parametrize(("options", "own", "left", "age", "due"), TOUCHES)
@pytest.mark.parametrize("looked", [False, True])
def test_a_touch_is_due_when_it_would_move_the_expiry_far_enough(options, own, left, age, due, looked):
    policy = make_policy(**options)
    session = stored(
        policy,
        expires_in=left,
        before=lambda s: own == 0 or setattr(s.cookie, "max_age", own),  # type: ignore[func-returns-value]
    )
    clock_of(policy).advance(age)
    if looked:
        session.get("n")
    plan = policy.close(session)
    assert written(plan) == ("Touch" if due else "-")
    assert plan.ending is (Ending.TOUCHED if due else Ending.UNCHANGED)
    if isinstance(plan.write, Touch):
        idle = policy.rules.idle_ms(session._config, session._overrides())
        absolute = policy.options.absolute_ms
        assert plan.write.ttl == (idle if absolute is None else min(idle, absolute - age))


def test_where_the_store_cannot_tell_what_was_touched_here_is_remembered():
    policy = make_policy()
    session = stored(policy, expires_in=None)
    assert isinstance(policy.close(session).write, Touch)
    expiries = policy.rules.expiries
    assert expiries is not None
    expiries.note(policy.rules.key_of(ID), NOW + DAY)
    assert policy.close(stored(policy, record_bytes(policy), expires_in=None)).write is None
    clock_of(policy).advance(DAY // 20)
    assert isinstance(policy.close(stored(policy, record_bytes(policy), expires_in=None)).write, Touch)


def test_what_was_touched_here_is_void_where_another_gave_the_session_a_shorter_life_since():
    policy = make_policy(express_profile=True, idle_timeout=DAY // 1000, touch_after=HOUR // 1000)
    policy.close(stored(policy, expires_in=None))
    expiries = policy.rules.expiries
    assert expiries is not None
    expiries.note(policy.rules.key_of(ID), NOW + DAY)
    text = b'{"cookie":{"originalMaxAge":600000,"expires":null,"httpOnly":true,"path":"/"},"n":1}'  # Express's
    plan = policy.close(stored(policy, text, expires_in=None))
    assert plan.write == Touch(policy.rules.key_of(ID), 600_000)


def test_a_late_request_touches_only_if_asked_to():
    policy = make_policy(touch_after=0)
    session = stored(policy)
    session._late = True
    session.get("n")
    assert policy.close(session, Phase.LATE).write is None
    session.touch()
    assert isinstance(policy.close(session, Phase.LATE).write, Touch)


# contract 139: the configured lifetime was changed since the record was written
def test_a_record_written_under_another_lifetime_is_read_under_the_present_one():
    old, new = make_policy(cookie=Cookie(max_age=60)), make_policy(cookie=Cookie(max_age=3600))
    session = stored(new, record_bytes(old), expires_in=MINUTE)
    assert policy_touches(new, session) == HOUR


def policy_touches(policy: Policy, session: Session) -> int:
    write = policy.close(session).write
    assert isinstance(write, Touch)
    return write.ttl


# -- the short way ------------------------------------------------------------------------------------------------------------

STEPS: list[Callable[[Session], object]] = [
    lambda s: s.get("n"),
    lambda s: s.__setitem__("n", 2),
    lambda s: s.__setitem__("n", 1),
    lambda s: s.setdefault("l", []).append(1),
    lambda s: s.touch(),
    lambda s: s.cookie,
    set_lifetime,
    lambda s: s.id,
    lambda s: s.expires_at,
    lambda s: s.owner,
    lambda s: s.increment("n", 0),
    lambda s: s.flashes(),
]


@given(
    st.sampled_from([Origin.NEW, Origin.STORED, Origin.REPLACED, Origin.UNSAVED]),
    st.lists(st.sampled_from(STEPS), max_size=3),
    st.fixed_dictionaries(
        {
            "rolling": st.booleans(),
            "resave": st.booleans(),
            "save_uninitialized": st.booleans(),
            "touch_after": st.sampled_from([None, 0, 60]),
            "cookie": st.sampled_from([Cookie(), Cookie(max_age=3600), lambda request: Cookie(max_age=60)]),
            "absolute_timeout": st.sampled_from([None, 3600 * 24]),
        }
    ),
    st.sampled_from([None, 1, HOUR // 2, HOUR - 1, HOUR, DAY - 1, DAY]),
    st.sampled_from([0, 1, HOUR, DAY]),
)
def test_the_short_way_decides_as_the_long_way(origin, steps, options, left, age):
    policy = make_policy(**options)
    raw = record_bytes(policy)
    clock_of(policy).advance(age)
    plans = []
    for quiet in (True, False):
        session = stored(policy, raw, expires_in=left) if origin is Origin.STORED else begin(policy, origin)
        for step in steps:
            step(session)
        session._id = session._id and "same"
        session._quiet &= quiet
        plans.append(policy.close(session))
    short, long = plans
    assert (short.ending, written(short), sent(short), short.vary) == (
        long.ending,
        written(long),
        sent(long),
        long.vary,
    )
    assert getattr(short.write, "ttl", None) == getattr(long.write, "ttl", None)


# -- unset --------------------------------------------------------------------------------------------------------------------


# contract 161 to 164
@pytest.mark.parametrize(
    ("unset", "origin", "write", "cookie"),
    [
        ("destroy", Origin.STORED, "Delete", "expire"),
        ("destroy", Origin.NEW, "-", "-"),
        ("keep", Origin.STORED, "-", "-"),
        ("keep", Origin.NEW, "-", "-"),
    ],
)
def test_a_session_set_to_none_is_destroyed_or_kept_as_it_was(unset, origin, write, cookie):
    policy = make_policy(unset=unset, touch_after=0)
    session = make(policy, origin)
    session["m"] = 1
    policy.unset(session, None)
    plan = policy.close(session)
    assert (written(plan), sent(plan)) == (write, cookie)


# contract 58
def test_a_mapping_in_the_sessions_place_is_its_data():
    policy = make_policy()
    session = stored(policy, {"a": 1, "b": 2})
    policy.unset(session, {"b": 3})
    assert dict(session) == {"b": 3}
    policy.unset(session, session)  # of all mappings, itself
    assert dict(session) == {"b": 3}


@pytest.mark.parametrize("value", [5, "text", [("a", 1)], object()])
def test_anything_else_in_its_place_is_ignored_with_an_error_in_the_log(value, caplog):
    policy = make_policy()
    session = stored(policy)
    policy.unset(session, value)
    assert dict(session) == {"n": 1}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


# -- settled ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "settled"),
    [
        (lambda s: None, True),
        (lambda s: s.get("n"), True),
        (lambda s: s.__setitem__("n", 1), True),
        (lambda s: s.__setitem__("n", 2), False),
        (lambda s: s.__setitem__("o", object()), False),
        (lambda s: s.touch(), False),
        (lambda s: s.destroy(), False),
        (lambda s: s.cookie, False),
        (lambda s: s.regenerate(), False),
    ],
)
def test_a_session_is_settled_when_nothing_happened_to_it(act, settled):
    policy = make_policy()
    session = stored(policy)
    act(session)
    assert policy.is_settled(session) is settled


def test_durations_of_a_timedelta_reach_the_store_in_milliseconds():
    policy = make_policy(idle_timeout=timedelta(days=14))
    session = begin(policy)
    session["n"] = 1
    write = policy.close(session).write
    assert isinstance(write, Create) and write.ttl == 14 * DAY
