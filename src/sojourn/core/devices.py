"""An owner's sessions, as the owner sees them: devices, each with a handle by which it can be ended. No I/O.

A handle is an HMAC of the session's key under the application's secret. It is neither the id nor the key, and neither can be worked out from it, so
a page may show it. After a change of the secrets it is another, and the old one is accepted for as long as the old secret is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from hmac import compare_digest
from typing import Any, Final, NamedTuple

from ..clock import from_ms
from ..errors import SessionDecodeError
from ..events import SessionEvent
from ..ids import mask_id
from ..logs import log
from .data import look_at, unpack_stored
from .noting import notes_of
from .record import Record
from .settings import SessionSettings
from .state import State
from .steps import Lifetime, Load, Owned, Steps, end
from .store import ROUNDED_MS, Stored

__all__ = [
    "DESCRIBED",
    "Device",
    "Devices",
    "describe",
    "devices",
    "end_device",
    "end_others",
    "end_owner",
    "last_seen",
    "live_record",
    "own_keys",
]

DESCRIBED: Final = ("label", "user_agent", "address")
"""What may be kept of a device, where the application says it."""
_LONGEST: Final = 512  # characters of each
_AT_ONCE: Final = 500  # sessions ended by one command


class Device(NamedTuple):
    """A live session of an owner."""

    handle: str
    """By which `end()` finds it. Safe to show: it cannot be used as an id, nor turned into one."""
    is_current: bool
    """It is the session of this request."""
    created_at: datetime | None
    """When it began, in UTC; None where Express wrote it."""
    authenticated_at: datetime | None
    """When its owner logged in there."""
    last_seen_at: datetime | None
    """When it was used last, to within ``touch_after``. None where the absolute timeout caps its life, or the store cannot tell."""
    expires_at: datetime | None
    """When it ends unless it is used; None where the store cannot tell."""
    label: str | None = None
    user_agent: str | None = None
    address: str | None = None


class Devices(list[Device]):
    """A page of devices: the current one first, then by when they were used last."""

    next: str | None = None
    """What `devices(after=...)` takes for the next page; None: this is the last."""


def describe(state: State) -> dict[str, str] | None:
    """What the option ``describe`` says of the request that logs in.

    Raises:
        TypeError: not a mapping of the names in `DESCRIBED` to texts.
    """
    given: Any = state.settings.options.describe
    if given is None:
        return None
    said: object = given(state.arrival.request)
    if said is None:
        return None
    if not isinstance(said, Mapping) or not all(
        name in DESCRIBED and (text is None or isinstance(text, str)) for name, text in said.items()
    ):
        raise TypeError(f"describe must return a dict of texts, with {', '.join(DESCRIBED)}, or None")
    # Texts of a visitor: of whatever length, and perhaps none that UTF-8 has.
    return {name: text[:_LONGEST].encode(errors="replace").decode() for name, text in said.items() if text} or None


def devices(state: State, limit: int, after: str | None) -> Steps[Devices]:
    """The owner's live sessions, so many at a time, after the one with such a handle.

    Raises:
        ValueError: ``limit`` is no whole number, at least 1.
    """
    if type(limit) is not int or limit < 1:
        raise ValueError(f"limit must be a whole number, at least 1, not {limit!r}")
    page, owner = Devices(), _owner(state)
    if owner is None:
        return page
    settings, own = state.settings, own_keys(state)
    keys: list[str] = yield Owned(owner)
    handled = sorted((_handles(settings, key)[0], key) for key in keys)
    left = [entry for entry in handled if after is None or entry[0] > after]
    for handle, key in left[:limit]:
        found = yield Load(key)
        record = live_record(settings, key, found, owner)
        if record is None:
            continue
        expires_in = found.expires_in
        if expires_in is None:
            with suppress(AttributeError):  # not every store can tell
                expires_in = yield Lifetime(key)
        page.append(_device(state, handle, record, expires_in, is_current=key in own))
    page.sort(key=_by_use)
    if len(left) > limit:
        page.next = left[limit - 1][0]
    return page


def end_device(state: State, handle: str, log_out: Callable[[], object]) -> Steps[bool]:
    """End that one of the owner's sessions, the current one by ``log_out``; returns whether there was one."""
    owner, settings, wanted = _owner(state), state.settings, handle.encode("utf-8", "surrogatepass")
    if owner is None:
        return False
    for key in (yield Owned(owner)):
        if any(compare_digest(one.encode(), wanted) for one in _handles(settings, key)):
            if key in own_keys(state):
                log_out()
                return True
            return (yield from _end(settings, (key,), owner, "device", notes_of(state))) > 0
    return False


def end_others(state: State) -> Steps[int]:
    """End all sessions of the owner but this one; returns how many there were."""
    owner = _owner(state)
    if owner is None:
        return 0
    return (yield from end_owner(state.settings, owner, own_keys(state), "others", notes_of(state)))


def end_owner(
    settings: SessionSettings,
    owner: str,
    spared: Iterable[str] = (),
    reason: str = "owner",
    noted: list[SessionEvent] | None = None,
) -> Steps[int]:
    """End all sessions of an owner but those with such keys; returns how many there were.

    Args:
        settings: the settings.
        owner: the owner.
        spared: the keys.
        reason: what the events say.
        noted: where they are added; None where nobody listens.
    """
    kept = frozenset(spared)
    keys = [key for key in (yield Owned(owner)) if key not in kept]
    ended = 0
    for first in range(0, len(keys), _AT_ONCE):
        ended += yield from _end(settings, keys[first : first + _AT_ONCE], owner, reason, noted)
    return ended


def _handles(settings: SessionSettings, key: str) -> list[str]:
    return settings.signer.marks(b"device", key)


def _owner(state: State) -> str | None:
    look_at(state)  # what was loaded may not have been taken apart yet
    return state.owner


def _end(
    settings: SessionSettings, keys: Iterable[str], owner: str, reason: str, noted: list[SessionEvent] | None
) -> Steps[int]:
    """End those that are the owner's still."""

    def is_theirs(key: str, found: object) -> bool:
        # A tombstone is followed to what the session has become: somebody else may have logged in there.
        return not isinstance(found, Stored) or live_record(settings, key, found, owner) is not None

    owned = []
    for key in keys:
        found = yield Load(key)
        if is_theirs(key, found):
            owned.append(key)
    count = (yield from end(tuple(owned), still=is_theirs)) if owned else 0
    if noted is not None:
        noted += [settings.event("revoked", key, owner=owner, reason=reason) for key in owned[:count]]
    return count


def live_record(settings: SessionSettings, key: str, found: object, owner: str) -> Record | None:
    """The record, if it is there, can be read and is the owner's: an index may be behind."""
    if not isinstance(found, Stored):
        return None
    try:
        record = unpack_stored(settings, key, found)
    except SessionDecodeError as error:
        log.error("a stored session (%s) is unreadable: %s", mask_id(key), error)
        return None
    return record if record.owner == owner else None


def own_keys(state: State) -> tuple[str, ...]:
    """The keys of this request's session: that under which it lies, and that under which it will."""
    loaded = () if state.loaded is None else (state.loaded.key,)
    return loaded if state.id is None else (*loaded, state.settings.key_of(state.id))


def last_seen(settings: SessionSettings, record: Record, now: int, expires: int, idle_ms: int) -> int | None:
    """When a session was used last, epoch ms; None where the absolute timeout caps its life."""
    absolute, created = settings.options.absolute_ms, record.created
    if absolute is not None and created is not None and expires >= created + absolute - ROUNDED_MS:
        return None
    return min(now, expires - idle_ms)


def _device(state: State, handle: str, record: Record, expires_in: int | None, *, is_current: bool) -> Device:
    settings, now = state.settings, state.now()
    expires = seen = None
    if expires_in is not None:
        expires = now + expires_in
        seen = last_seen(settings, record, now, expires, settings.idle_ms(state.arrival.config, record.overrides))
    created_at, authenticated_at, last_seen_at, expires_at = (
        None if at is None else from_ms(at) for at in (record.created, record.login.at, seen, expires)
    )
    said = {} if record.login.device is None else record.login.device
    label, agent, address = map(said.get, DESCRIBED)
    return Device(handle, is_current, created_at, authenticated_at, last_seen_at, expires_at, label, agent, address)


def _by_use(device: Device) -> tuple[bool, float]:
    used = device.last_seen_at or device.expires_at or device.created_at
    return not device.is_current, 0 if used is None else -used.timestamp()
