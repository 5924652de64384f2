"""How many sessions an owner may have at once: the oldest over that end, by login, then by key. No I/O: tasks are steps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from ..errors import StoreError
from ..ids import hash_id
from ..logs import log
from .devices import live_record, own_keys
from .noting import note
from .settings import SessionSettings
from .state import State
from .steps import Load, Owned, Steps, Unlock, acquire, end

__all__ = ["by_login", "hold", "keep_limit", "releasing"]

T = TypeVar("T")
_PATIENCE: Final = 5.0
"""Seconds that a login which is stored already waits for others of its owner."""


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
    tokens: list[str] = []
    yield from releasing(owner, tokens, _keep_limit(state, owner, limit, tokens.append))


def _keep_limit(state: State, owner: str, limit: int, note_token: Callable[[str], object]) -> Steps[None]:
    with suppress(StoreError):  # as of a store without locks
        yield from hold(owner, note_token, _PATIENCE)  # two that looked at the same time would end each other
    try:
        own, keys = own_keys(state), (yield from by_login(state.settings, owner))
        others = [key for key in keys if key not in own]
        over = len(others) + 1 - limit
        if over > 0 and len(others) < len(keys):  # another login may have ended this one by now
            ended = others[:over]
            count = yield from end(tuple(ended))
            for key in ended[:count]:
                note(state, "revoked", key, owner=owner, reason="limit")
    except StoreError as error:
        log.error("a login was stored, but the owner's sessions over its limit have not ended: %s", error)


def releasing(owner: str, tokens: list[str], work: Steps[T]) -> Steps[T]:
    """Do some work that may take the owner's lock, and give it back whatever happens, such as an interrupt of the process.

    Args:
        owner: the owner.
        tokens: where the work notes the lock's token.
        work: the work.
    """
    try:
        done = yield from work
    except GeneratorExit:  # whoever ran it is gone, and nobody would carry out what is yielded now
        raise
    except BaseException:
        yield from _give_back(owner, tokens)
        raise
    yield from _give_back(owner, tokens)
    return done


def hold(owner: str, note: Callable[[str], object], seconds: float | None = None) -> Steps[None]:
    """Wait for the owner's lock, so that between looking at the sessions and changing their number nobody else looks.

    Args:
        owner: the owner.
        note: called with the token.
        seconds: how long to wait; as long as somebody may hold it, unless given.

    Raises:
        StoreError: the store failed, or has no locks, or others held it for too long.
    """
    yield from acquire(_lock_of(owner), note, seconds)


def _give_back(owner: str, tokens: list[str]) -> Steps[None]:
    try:
        for token in tokens:
            yield Unlock(_lock_of(owner), token)
    except StoreError as error:
        log.warning(
            "an owner's lock could not be given back, and nobody of theirs is let in until it expires: %s", error
        )


def _lock_of(owner: str) -> str:
    return hash_id(f"logins of {owner}")
