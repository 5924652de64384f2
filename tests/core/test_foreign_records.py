"""Whatever a record holds, it is a session, or one error in the log and a fresh session."""

from __future__ import annotations

import contextlib
import logging
from random import Random
from typing import Any, Final

import pytest

from sojourn.cookie import Cookie
from sojourn.core.commit import carry_out
from sojourn.core.plan import Phase
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.store import CONFLICT, Stored
from sojourn.errors import SessionDecodeError, SessionEncodeError
from sojourn.middleware.sessions import StoreSessions
from sojourn.migrate.convert import convert
from sojourn.migrate.endpoints import CODECS
from sojourn.stores import MemoryStore
from tests.core.making import DAY, ID, make_settings, record_bytes, stored_state
from tests.foreign import AMOUNTS, check_header, foreign_record

_ROUND: Final = 100
SETTINGS: Final = (
    make_settings(rolling=True),
    make_settings(rolling=True, cookie=Cookie(max_age=3600, samesite="none", secure=True)),
    make_settings(express_profile=True, rolling=True, cookie=Cookie(max_age=3600, secure=False)),
    make_settings(resave=True, absolute_timeout=None, cookie=Cookie(path="/app", domain="example.com")),
)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_any_record_is_a_session_or_one_error_and_a_fresh_session(
    amount: int, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in range(_ROUND * amount):
        random = Random(seed)
        raw = foreign_record(random).encode(errors="surrogatepass")
        for settings in SETTINGS:
            with naming(seed, raw):
                use(settings, raw, caplog)


@contextlib.contextmanager
def naming(seed: int, raw: bytes) -> Any:
    try:
        yield
    except Exception as error:
        error.add_note(f"seed {seed}: {raw[:600]!r}")
        raise


def read(session: Session) -> None:
    dict(session)
    assert session.created_at <= session.created_at.max.replace(tzinfo=session.created_at.tzinfo)
    assert repr((session.id, session.expires_at, session.owner, session.authenticated_at, session.cookie.expires))
    cookie = session.cookie
    assert repr((cookie.path, cookie.domain, cookie.samesite, cookie.secure, cookie.max_age, cookie.original_max_age))


def flash(session: Session) -> None:
    session.flash("one")
    assert session.flashes()[-1] == ("info", "one")


def count(session: Session) -> None:
    if type(session.get("n", 0)) in {int, float}:
        session.increment("n")


KINDS: Final[tuple[Any, ...]] = (
    read,
    flash,
    count,
    lambda session: session.__setitem__("m", 1),
    lambda session: session.regenerate(keep_data=True),
    lambda session: session.touch(),
    lambda session: setattr(session.cookie, "max_age", 60),
    lambda session: None,
    Session.destroy,
)


def errors(caplog: pytest.LogCaptureFixture) -> int:
    count = sum(record.levelno >= logging.ERROR for record in caplog.records)
    caplog.clear()
    return count


def use(settings: SessionSettings, raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Use the record in requests, list it, carry it over, and merge with it."""
    for kind in KINDS:
        state = stored_state(settings, raw, secure=True)
        session = Session(state)
        kind(session)
        with contextlib.suppress(SessionEncodeError):  # a sum that the codec does not hold
            plan = decide(state)
            if plan.header is not None:
                check_header(plan.header[1])
            if plan.write is not None:
                assert plan.write.ttl >= 1
        assert errors(caplog) == (state.loaded is None and kind is not Session.destroy)
    store = MemoryStore()
    store.create(settings.key_of(ID), raw, DAY)
    for view in StoreSessions(store, settings).all():
        assert repr((view.created_at, view.expires_at, view.owner))
        assert len(dict(view)) == len(view)
    assert errors(caplog) <= 1
    for source in CODECS.values():
        for target in CODECS.values():
            with contextlib.suppress(SessionDecodeError, SessionEncodeError):
                convert(raw, ID, ID, source, target)
    meet(settings, raw)


def meet(settings: SessionSettings, raw: bytes) -> None:
    """Another program has put it into the store while a request changed its session."""
    state = stored_state(settings, record_bytes(settings, {"n": 1, "cart": {"a": [1]}}, secure=True), secure=True)
    session = Session(state)
    session.increment("n")
    session["cart"]["b"] = 2
    with contextlib.suppress(SessionEncodeError):
        steps = carry_out(state, decide(state), Phase.RESPONSE)
        next(steps)
        steps.send(CONFLICT)
        with contextlib.suppress(StopIteration):
            steps.send(Stored(raw, raw, DAY))
