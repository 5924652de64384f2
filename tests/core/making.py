"""Makes settings, states and sessions for the tests of the core, with no middleware and no store around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from sojourn.codecs import loads
from sojourn.cookie import Cookie
from sojourn.core.plan import Create
from sojourn.core.policy import decide
from sojourn.core.record import COOKIE_KEY, OWN_KEY
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.state import Arrival, Found, State
from sojourn.core.store import Stored
from sojourn.core.transitions import note_loaded
from sojourn.options import Options
from sojourn.profiles import express
from sojourn.testing import ManualClock
from sojourn.wire.id_source import IdSource
from sojourn.wire.request import RequestReader
from sojourn.wire.signing import Verified

__all__ = [
    "DAY",
    "HOUR",
    "ID",
    "NOW",
    "OLD_SECRET",
    "OTHER",
    "SECRET",
    "begin",
    "clock_of",
    "data_of",
    "make_reader",
    "make_settings",
    "new",
    "record_bytes",
    "stored",
    "stored_state",
]

SECRET: Final = b"a secret that is long enough for everybody"
OLD_SECRET: Final = b"an older secret that is long enough as well"
NOW: Final = 1_750_000_000_000
HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
ID: Final = "the-id-that-the-request-brought"
OTHER: Final = "another-id-that-the-request-brought"
_SOME: Final[Mapping[str, Any]] = MappingProxyType({"n": 1})
_LOOKED_FOR: Final = (Found.TOMBSTONE, Found.PENDING, Found.UNAVAILABLE)


def make_settings(*, express_profile: bool = False, **options: Any) -> SessionSettings:
    given: Any = {"secret": SECRET, "clock": ManualClock(NOW), **options}
    return SessionSettings(Options.of(express(**given) if express_profile else given))


def make_reader(**options: Any) -> RequestReader:
    settings = make_settings(**options)
    return RequestReader(settings.options, settings.naming, settings.signer)


def clock_of(settings: SessionSettings) -> ManualClock:
    clock = settings.options.clock
    assert isinstance(clock, ManualClock)
    return clock


def data_of(record: bytes) -> dict[str, Any]:
    """A record's data, as JSON values."""
    return {key: value for key, value in loads(record).items() if key not in (COOKIE_KEY, OWN_KEY)}


def begin(
    settings: SessionSettings,
    found: Found = Found.NOTHING,
    *,
    ids: Iterable[str] | None = None,
    secure: bool = False,
    source: IdSource | None = None,
    io: Any = None,
) -> State:
    """What a request knows of its session when nothing, or not yet anything, was found. ``ids`` are those it brought."""
    given = settings.options.cookie
    config = given if isinstance(given, Cookie) else given({})
    if ids is None:
        ids = [ID] if found in _LOOKED_FOR else []
    verified = tuple(Verified(session_id, needs_resigning=False) for session_id in ids)
    keys = tuple(settings.key_of(one.id) for one in verified)
    return State(settings, Arrival(config, secure, verified, source, {}, keys), io, found)


def new(settings: SessionSettings, *, secure: bool = False) -> Session:
    """A session of a request that brought none."""
    return Session(begin(settings, secure=secure))


def record_bytes(
    settings: SessionSettings,
    data: Mapping[str, Any] = _SOME,
    *,
    before: Callable[[Session], object] = lambda session: None,
    secure: bool = False,
) -> bytes:
    """What a new session of these data is stored as."""
    state = begin(settings, secure=secure)
    state.id = ID
    session = Session(state)
    session.update(data)
    before(session)
    write = decide(state).write
    assert isinstance(write, Create)
    return write.data


def stored_state(
    settings: SessionSettings,
    data: Mapping[str, Any] | bytes = _SOME,
    *,
    expires_in: int | None = DAY,
    before: Callable[[Session], object] = lambda session: None,
    secure: bool = False,
    others: Iterable[str] = (),
    needs_resigning: bool = False,
    source: IdSource | None = None,
) -> State:
    """What a request knows of a session that was loaded: of these data, or of this record. ``others`` came beside its id."""
    raw = data if isinstance(data, bytes) else record_bytes(settings, data, before=before, secure=secure)
    state = begin(settings, Found.PENDING, ids=[ID, *others], secure=secure, source=source)
    verified = Verified(ID, needs_resigning)
    assert note_loaded(state, verified, settings.key_of(ID), Stored(raw, raw, expires_in))
    return state


def stored(settings: SessionSettings, data: Mapping[str, Any] | bytes = _SOME, **more: Any) -> Session:
    """A session that was loaded; see `stored_state`."""
    return Session(stored_state(settings, data, **more))
