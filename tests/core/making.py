"""Makes policies and sessions for the tests of the core, with no middleware and no store around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from sojourn.cookie import Cookie
from sojourn.core.plan import Create, Plan
from sojourn.core.policy import Policy
from sojourn.core.session import Origin, Session
from sojourn.core.store import Stored
from sojourn.options import Options
from sojourn.profiles import express
from sojourn.testing import ManualClock
from sojourn.wire.request import Incoming

__all__ = [
    "DAY",
    "HOUR",
    "ID",
    "NOW",
    "OLD_SECRET",
    "SECRET",
    "begin",
    "clock_of",
    "make_incoming",
    "make_policy",
    "record_bytes",
    "stored",
]

SECRET: Final = b"a secret that is long enough for everybody"
OLD_SECRET: Final = b"an older secret that is long enough as well"
NOW: Final = 1_750_000_000_000
HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
ID: Final = "the-id-that-the-request-brought"
_SOME: Final[Mapping[str, Any]] = MappingProxyType({"n": 1})


def make_policy(*, express_profile: bool = False, **options: Any) -> Policy:
    given: Any = {"secret": SECRET, "clock": ManualClock(NOW), **options}
    return Policy(Options.of(express(**given) if express_profile else given))


def make_incoming(**options: Any) -> Incoming:
    policy = make_policy(**options)
    return Incoming(policy.options, policy.rules)


def clock_of(policy: Policy) -> ManualClock:
    clock = policy.options.clock
    assert isinstance(clock, ManualClock)
    return clock


def begin(policy: Policy, origin: Origin = Origin.NEW, *, secure: bool = False, **more: Any) -> Session:
    """A session as a middleware makes it when a request comes in."""
    given = policy.options.cookie
    config = given if isinstance(given, Cookie) else given({})
    if origin in (Origin.UNLOADED, Origin.UNSAVED):
        more.setdefault("session_id", ID)
    return Session(policy.rules, {}, config, secure, None, origin, **more)


def record_bytes(
    policy: Policy,
    data: Mapping[str, Any] = _SOME,
    *,
    before: Callable[[Session], object] = lambda session: None,
    secure: bool = False,
) -> bytes:
    """What a new session of these data is stored as."""
    session = begin(policy, session_id=ID, secure=secure)
    session.update(data)
    before(session)
    plan: Plan = policy.close(session)
    assert isinstance(plan.write, Create)
    return plan.write.data


def stored(
    policy: Policy,
    data: Mapping[str, Any] | bytes = _SOME,
    *,
    expires_in: int | None = DAY,
    before: Callable[[Session], object] = lambda session: None,
    secure: bool = False,
) -> Session:
    """A session that was loaded: of these data, or of this record."""
    raw = data if isinstance(data, bytes) else record_bytes(policy, data, before=before, secure=secure)
    return begin(
        policy,
        Origin.STORED,
        secure=secure,
        session_id=ID,
        stored_key=policy.rules.key_of(ID),
        stored=Stored(raw, raw, expires_in),
    )
