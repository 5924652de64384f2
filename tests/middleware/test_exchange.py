"""One request and its response, of whatever protocol: what is asked of the policy, and how often."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sojourn.cookie import Cookie
from sojourn.core.plan import Phase, Plan
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.state import Found, Intent, State
from sojourn.errors import SessionEncodeError, SessionTooLarge, StoreUnavailable
from sojourn.middleware import exchange as exchange_module
from sojourn.middleware.exchange import Exchange
from sojourn.middleware.sync import SyncMiddleware
from sojourn.stores import MemoryStore
from sojourn.wire.signing import Verified
from tests.core.making import DAY, ID, SECRET, record_bytes


class FailingStore(MemoryStore):
    """A store that can be read, and fails at all else while it is down."""

    is_down = False

    def delete(self, *keys: str) -> Any:
        if self.is_down:
            raise StoreUnavailable("it is down")
        return super().delete(*keys)

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        if self.is_down:
            raise StoreUnavailable("it is down")
        return super().replace(key, data, ttl, version=version, owner=owner)

    def unlock(self, key: str, token: str) -> bool:
        if self.is_down:
            raise StoreUnavailable("it is down")
        return super().unlock(key, token)

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        if self.is_down:
            raise StoreUnavailable("it is down")
        return super().create(key, data, ttl, owner=owner)


def begin(
    *, brings: bool = True, max_size: int = 10_000, **options: Any
) -> tuple[Exchange[SyncMiddleware], FailingStore]:
    """A request whose session was looked up."""
    store = FailingStore(max_size=max_size)
    given: Any = {"secret": SECRET, "store": store, **options}
    middleware = SyncMiddleware(given)
    MemoryStore.create(store, middleware.settings.key_of(ID), record_bytes(middleware.settings), DAY)
    ids = (Verified(ID, needs_resigning=False),) if brings else ()
    arrival = middleware.arrivals.of(Cookie(), ids, secure=False)
    state = State(middleware.settings, arrival, middleware, Found.PENDING if ids else Found.NOTHING)
    session = Session(state)
    exchange = Exchange(middleware, state, session, {"session": session}, "session")
    assert middleware.look_up_or_note(state)
    return exchange, store


def respond(exchange: Exchange[SyncMiddleware], phase: Phase = Phase.RESPONSE) -> Plan | None:
    """As a door does it."""
    plan = exchange.prepare(phase)
    if plan is not None and plan.needs_store:
        plan = exchange.middleware.respond(exchange, plan, phase)
    exchange.state.sent = True
    return plan


def finish(exchange: Exchange[SyncMiddleware], *, failed: bool = False) -> None:
    if failed or not exchange.is_idle:
        exchange.middleware.finish(exchange, failed=failed)


ACTS = [
    ("nothing", True, lambda s: None),
    ("a look", True, lambda s: s.get("n")),
    ("a creation", False, lambda s: s.update(m=1)),
    ("a change", True, lambda s: s.update(m=1)),
    ("a touch", True, lambda s: s.touch()),
    ("a touch of a new session", False, lambda s: s.touch()),
    ("a login", True, lambda s: s.login("ann")),
    ("a regenerate to nothing", True, lambda s: s.regenerate()),
    ("a regenerate of a new session", False, lambda s: s.regenerate()),
    ("an end", True, lambda s: s.clear()),
    ("an end of a new session", False, lambda s: s.clear()),
    ("an end and a new session", True, lambda s: (s.clear(), s.update(m=1))),
    ("a destroy", True, lambda s: s.destroy()),
    ("a destroy of a new session", False, lambda s: s.destroy()),
]


@pytest.mark.parametrize(("brings", "act"), [pytest.param(*rest, id=what) for what, *rest in ACTS])
@pytest.mark.parametrize("options", [{}, {"rolling": True}, {"save_uninitialized": True, "resave": True}])
def test_the_policy_is_asked_once_for_a_response_and_nothing_is_said(brings, act, options, monkeypatch, caplog):
    asked = []

    def watched(state: State, phase: Phase) -> Plan:
        asked.append(phase)
        return decide(state, phase)

    monkeypatch.setattr(exchange_module, "decide", watched)
    exchange, _ = begin(brings=brings, **options)
    act(exchange.session)
    assert respond(exchange) is not None
    finish(exchange)
    assert asked == [Phase.RESPONSE]
    assert not caplog.records


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (lambda s: s.update(m=1), 1),
        (lambda s: s.login("ann"), 1),
        (lambda s: s.destroy(), 0),
        (lambda s: s.clear(), 0),
        (lambda s: (s.clear(), s.update(m=1)), 0),
        (lambda s: (s.clear(), s.update(m=object())), 0),
    ],
)
def test_where_the_handler_raises_the_endings_are_carried_out_and_nothing_is_stored(act, left, caplog):
    exchange, store = begin()
    act(exchange.session)
    finish(exchange, failed=True)
    assert [key for key, _ in store.scan()] == [exchange.middleware.settings.key_of(ID)] * left
    assert not caplog.records


@pytest.mark.parametrize(
    ("act", "left"), [(lambda s: s.update(m=1), 1), (lambda s: s.destroy(), 0), (lambda s: s.clear(), 0)]
)
def test_what_comes_after_the_response_is_finished(act, left):
    exchange, store = begin()
    respond(exchange)
    act(exchange.session)
    finish(exchange)
    assert store.count() == left


@pytest.mark.parametrize("value", [None, {"n": 2}])
@pytest.mark.parametrize("late", [False, True])
def test_what_the_application_puts_into_the_slot_is_seen(value, late):
    exchange, store = begin()
    if late:
        respond(exchange)
    exchange.slot["session"] = value  # type: ignore[index]
    if not late:
        respond(exchange)
    finish(exchange)
    assert store.count() == (value is not None)


def test_a_value_that_cannot_be_stored_is_refused_once_and_the_error_page_goes_out():
    exchange, store = begin()
    exchange.session["m"] = object()
    with pytest.raises(SessionEncodeError):
        respond(exchange)
    plan = respond(exchange)
    assert plan is not None and not plan.needs_store
    finish(exchange)
    assert store.count() == 1


# a logout happens in any case
@pytest.mark.parametrize("value", [object(), "x" * 20_000])
def test_an_end_is_carried_out_though_what_was_put_in_afterwards_cannot_be_stored(value):
    exchange, store = begin(max_size=10_000)
    exchange.session.clear()
    exchange.session["m"] = value
    with pytest.raises((SessionEncodeError, SessionTooLarge)):
        respond(exchange)
    plan = respond(exchange)
    assert plan is not None and plan.expires
    assert store.count() == 0


def test_a_failed_end_is_a_503_and_nothing_more_is_done():
    exchange, store = begin(on_store_error="anonymous")
    store.is_down = True
    exchange.session.destroy()
    assert respond(exchange) is None
    exchange.refused = True
    store.is_down = False
    finish(exchange)
    assert store.count() == 1


@pytest.mark.parametrize("brings", [False, True])
def test_a_lazy_load_that_failed_in_the_midst_of_the_handler_is_a_503(brings):
    exchange, _ = begin(brings=brings)
    exchange.state.found = Found.UNAVAILABLE
    assert respond(exchange) is None


def test_a_login_whose_old_session_could_not_be_loaded_is_a_503(caplog):
    exchange, _ = begin(on_store_error="anonymous")
    exchange.state.found, exchange.state.loaded = Found.UNAVAILABLE, None
    exchange.session.login("ann")
    assert respond(exchange) is None
    assert "its old id cannot be ended" in caplog.text


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda s: s.update(m=object()), "is lost"),
        (lambda s: s.update(m="x" * 20_000), "is lost"),
        (lambda s: s.destroy(), "is lost"),
    ],
)
def test_what_comes_late_and_fails_is_an_error_in_the_log(act, said, caplog):
    exchange, store = begin(max_size=10_000)
    respond(exchange)
    act(exchange.session)
    store.is_down = True
    finish(exchange)
    assert said in caplog.text


def test_of_a_late_value_that_cannot_be_stored_no_name_is_told(caplog):
    exchange, _ = begin()
    respond(exchange)
    exchange.session["of ann@example.com\nERROR"] = {"secret-name": object()}
    finish(exchange)
    (record,) = caplog.records
    assert record.getMessage().startswith("a change after the response headers had left is lost: ")
    assert "object" in record.getMessage()
    shown = logging.Formatter().format(record)
    assert "SessionEncodeError" in shown
    assert "ann@" not in shown and "secret-name" not in shown and "\nERROR" not in shown


def test_of_a_late_failure_of_a_store_nothing_is_told_that_its_driver_says(caplog, monkeypatch):
    exchange, store = begin()
    respond(exchange)
    exchange.session["m"] = 1

    said = "no secret" + "-key"

    def fail(*_: object, **__: object) -> object:
        raise StoreUnavailable(f"it is down: {said}") from OSError(said)

    monkeypatch.setattr(store, "replace", fail)
    finish(exchange)
    outage, lost = (logging.Formatter().format(record) for record in caplog.records)
    assert "OSError" in outage and "lost: OSError" in lost
    assert "secret-key" not in outage + lost


def test_an_ending_that_fails_where_the_handler_raised_is_an_error_in_the_log(caplog):
    exchange, store = begin()
    exchange.session.destroy()
    store.is_down = True
    finish(exchange, failed=True)
    assert "before the handler raised has not ended" in caplog.text


def test_what_comes_late_and_fails_is_told_once_where_sessions_may_go_unsaved(caplog):
    exchange, store = begin(on_store_error="anonymous")
    respond(exchange)
    exchange.session["m"] = 1
    store.is_down = True
    finish(exchange)
    assert "their sessions are not saved" in caplog.text and "is lost" not in caplog.text


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("act", [lambda s: None, lambda s: s.update(m=1), lambda s: s.update(m=object())])
def test_an_exclusive_request_gives_its_lock_back_whatever_happened(act, failed):
    exchange, store = begin(exclusive=lambda request: True)
    assert exchange.state.lock is not None
    key = exchange.state.lock.key
    assert store.lock(key, 1000) is None
    if not failed:
        respond(exchange)
    act(exchange.session)
    finish(exchange, failed=failed)
    assert store.lock(key, 1000) is not None


def test_a_lock_that_cannot_be_given_back_is_left_to_expire(caplog):
    exchange, store = begin(exclusive=lambda request: True)
    respond(exchange)
    store.is_down = True
    finish(exchange)
    assert "a lock is left to expire" in caplog.text


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_of_the_program_itself_is_raised_once_the_lock_is_given_back(error, monkeypatch):
    exchange, store = begin(exclusive=lambda request: True)
    assert exchange.state.lock is not None
    key = exchange.state.lock.key
    respond(exchange)
    exchange.session["m"] = 1

    def broken(state: State, phase: Phase) -> Plan:
        raise error

    monkeypatch.setattr(exchange_module, "decide", broken)
    with pytest.raises(error):
        finish(exchange)
    assert store.lock(key, 1000) is not None


def test_a_session_that_could_not_be_stored_goes_out_unsaved_where_that_is_told():
    exchange, store = begin(brings=False, on_store_error="anonymous")
    store.is_down = True
    exchange.session["m"] = 1
    plan = respond(exchange)
    assert plan is not None and (plan.write, plan.header, plan.vary) == (None, None, True)
    assert exchange.state.intent is Intent.DISCARD
    finish(exchange)
