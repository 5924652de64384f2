"""How many sessions an owner may have at once: the oldest over that end, by login, then by key. No I/O: tasks are steps."""

from __future__ import annotations

from ..errors import StoreError
from ..logs import log
from .devices import live_record, own_keys
from .settings import SessionSettings
from .state import State
from .steps import Load, Owned, Steps, end

__all__ = ["by_login", "keep_limit"]


def by_login(settings: SessionSettings, owner: str) -> Steps[list[str]]:
    """The keys of the owner's live sessions, the oldest login first. Where two came at the same time, every process sees one order."""
    logins = []
    for key in (yield Owned(owner)):
        record = live_record(settings, key, (yield Load(key)), owner)
        if record is not None:
            logins.append((record.login.at or 0, key))
    return [key for _at, key in sorted(logins)]


def keep_limit(state: State) -> Steps[None]:
    """Once a login is stored, end the owner's oldest sessions over its limit. Where the store fails, the login stands, and the next one does it."""
    limit, owner = state.max_sessions, state.owner
    state.max_sessions = None
    if limit is None or owner is None:
        return
    try:
        own, keys = own_keys(state), (yield from by_login(state.settings, owner))
        # A login that is newer than this one counts this one among the oldest: were each to end the other, none would be left.
        over = tuple(key for key in keys[: max(0, len(keys) - limit)] if key not in own)
        if over:
            yield from end(over)
    except StoreError as error:
        log.error("a login was stored, but the owner's sessions over its limit have not ended: %s", error)
