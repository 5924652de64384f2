"""A store against a dictionary: Hypothesis chooses the operations and moves the clock; both must return the same."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, NamedTuple

from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ..core.store import (
    CONFLICT,
    EXISTS,
    MISSING,
    AsyncStore,
    Deleted,
    Outcome,
    Replaced,
    Store,
    Stored,
    Version,
    longest_lock,
)
from .clock import ManualClock

__all__ = ["store_state_machine"]

KEYS: Final = ("a", "a*", "\u00e9")
OWNERS: Final = ("ann", "bob")
MONTH: Final = 30 * 24 * 3_600_000
TTLS: Final = (MONTH, MONTH, MONTH, 60_000, 60_000, 1_000, 50, 1)
PAUSES: Final = (1, 1, 49, 50, 50, 999, 1_000, 60_000, MONTH)
"""Weighted, so that most records live long enough for something to happen to them."""

keys: Final = st.sampled_from(KEYS)
picks: Final = st.integers(0, 8)
ages: Final = st.sampled_from((0, 0, 0, 1, 2))
owners: Final = st.sampled_from((None, *OWNERS))
ttls: Final = st.sampled_from(TTLS)
data: Final = st.sampled_from([b'{"cookie":{},"n":%d}' % number for number in range(3)])


class _Live(NamedTuple):
    data: bytes
    owner: str | None
    deadline: int
    serial: int


class _Tombstone(NamedTuple):
    successor: str
    deadline: int


class _Lock(NamedTuple):
    token: str
    deadline: int


def store_state_machine(
    make_store: Callable[[ManualClock], Store | AsyncStore],
    *,
    backend: str = "asyncio",
    tombstones: bool = True,
    reports_expiry: bool = True,
) -> type[RuleBasedStateMachine]:
    """Make a state machine for Hypothesis; its attribute ``TestCase`` is what pytest and unittest collect.

    Args:
        make_store: a new empty store on this clock, in either colour. Called outside any event loop, once per example.
        backend: the event loop of an async store, by AnyIO's name for it.
        tombstones: whether ``regenerate`` can leave a tombstone.
        reports_expiry: whether ``load`` returns ``expires_in`` rather than None.
    """

    class StoreMachine(_StoreMachine):
        def __init__(self) -> None:
            clock = ManualClock()
            super().__init__(clock, make_store(clock), backend)
            self.tombstones, self.reports_expiry = tombstones, reports_expiry

    return StoreMachine


def _capability(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return precondition(lambda machine: all(hasattr(machine.store, name) for name in names))


_something_is_live = precondition(lambda machine: machine.alive() != [])
"""Without it most steps would meet an empty store; see `_StoreMachine.pick`."""


class _StoreMachine(RuleBasedStateMachine):
    tombstones: bool
    reports_expiry: bool

    def __init__(self, clock: ManualClock, store: Any, backend: str) -> None:
        super().__init__()
        self.clock = clock
        self.store = store
        self.records: dict[str, _Live] = {}
        self.left: dict[str, _Tombstone] = {}
        self.locks: dict[str, _Lock] = {}
        self.serial = 0
        self.versions: dict[str, list[tuple[Version, int, bytes]]] = {key: [] for key in KEYS}
        self.resources = ExitStack()
        self.is_async = inspect.iscoroutinefunction(store.load)
        if self.is_async:
            self.portal = self.resources.enter_context(start_blocking_portal(backend))

    def teardown(self) -> None:
        with self.resources:
            self.call("close")

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        method = partial(getattr(self.store, name), *args, **kwargs)
        return self.portal.call(method) if self.is_async else method()

    # The model

    def live(self, key: str) -> _Live | None:
        found = self.records.get(key)
        return found if found is not None and found.deadline > self.clock() else None

    def tombstone(self, key: str) -> Replaced | None:
        found = self.left.get(key)
        return Replaced(found.successor) if found is not None and found.deadline > self.clock() else None

    def is_taken(self, key: str) -> bool:
        return self.live(key) is not None or self.tombstone(key) is not None

    def keep(self, key: str, written: bytes, ttl: int, owner: str | None, version: Version) -> None:
        assert not isinstance(version, Outcome), f"expected a version, got {version!r}"
        self.serial += 1
        self.records[key] = _Live(written, owner, self.clock() + ttl, self.serial)
        self.versions[key].append((version, self.serial, written))

    def settle(self, key: str, age: int, result: object) -> bool:
        """Whether a write with a known version of the key is to succeed; if not, its result is asserted."""
        found = self.live(key)
        if found is None:
            assert result is MISSING
            return False
        _, serial, written = self.version(key, age)
        if serial == found.serial:
            return result is not EXISTS
        # The version may be the data itself, so that a former version with equal data is the present one.
        if written == found.data and not isinstance(result, Outcome):
            return True
        if written == found.data and result is EXISTS:
            return False
        assert result is CONFLICT
        return False

    def alive(self) -> list[str]:
        return [key for key in KEYS if self.live(key) is not None]

    def pick(self, number: int) -> str:
        """Mostly a key that is live, sometimes one that was replaced, sometimes any."""
        pool = self.alive() if number < 6 else [key for key in KEYS if number < 8 and self.tombstone(key) is not None]
        return (pool or KEYS)[number % len(pool or KEYS)]

    def version(self, key: str, age: int) -> tuple[Version, int, bytes]:
        known = self.versions[key]
        return known[-1 - age % len(known)] if known else (b"never a version", -1, b"")

    # What happens

    @rule(ms=st.sampled_from(PAUSES))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule(key=keys, written=data, ttl=ttls, owner=owners)
    def create(self, key: str, written: bytes, ttl: int, owner: str | None) -> None:
        result = self.call("create", key, written, ttl, owner=owner)
        if self.is_taken(key):
            assert result is EXISTS
        else:
            self.keep(key, written, ttl, owner, result)

    @_something_is_live
    @rule(pick=picks, written=data, ttl=ttls, owner=owners, age=ages)
    def replace(self, pick: int, written: bytes, ttl: int, owner: str | None, age: int) -> None:
        key = self.pick(pick)
        result = self.call("replace", key, written, ttl, version=self.version(key, age)[0], owner=owner)
        assert result is not EXISTS
        if self.settle(key, age, result):
            self.keep(key, written, ttl, owner, result)

    @_something_is_live
    @rule(
        pick=picks,
        new=keys,
        written=data,
        ttl=ttls,
        owner=owners,
        age=ages,
        tombstone=st.sampled_from((*TTLS, 0)),
    )
    def regenerate(
        self, pick: int, new: str, written: bytes, ttl: int, owner: str | None, age: int, tombstone: int
    ) -> None:
        old = self.pick(pick)
        tombstone = tombstone if self.tombstones else 0
        version = self.version(old, age)[0]
        result = self.call("regenerate", old, new, written, ttl, version=version, tombstone=tombstone, owner=owner)
        if result is EXISTS:
            assert self.is_taken(new)
            self.settle(old, age, result)
        elif self.settle(old, age, result):
            assert not self.is_taken(new), f"the new key was taken, and the result is {result!r}"
            del self.records[old]
            self.left[old] = _Tombstone(new, self.clock() + tombstone)
            self.keep(new, written, ttl, owner, result)

    @_something_is_live
    @rule(pick=picks, ttl=ttls)
    def touch(self, pick: int, ttl: int) -> None:
        key = self.pick(pick)
        found = self.live(key)
        assert self.call("touch", key, ttl) is (found is not None)
        if found is not None:
            self.records[key] = found._replace(deadline=self.clock() + ttl)

    @_something_is_live
    @_capability("set_owner")
    @rule(pick=picks, owner=owners, age=ages)
    def set_owner(self, pick: int, owner: str | None, age: int) -> None:
        key = self.pick(pick)
        result = self.call("set_owner", key, owner, version=self.version(key, age)[0])
        if self.settle(key, age, result):
            found = self.records[key]
            assert result is (found.owner != owner), f"the owner was {found.owner!r}, and the result is {result!r}"
            self.records[key] = found._replace(owner=owner)

    @_something_is_live
    @rule(several=st.lists(picks, min_size=1, max_size=3))
    def delete(self, several: list[int]) -> None:
        keys = [self.pick(number) for number in several]
        live = {key for key in keys if self.live(key) is not None}
        successors = dict.fromkeys(self.left[key].successor for key in keys if self.tombstone(key) is not None)
        assert self.call("delete", *keys) == Deleted(len(live), tuple(successors))
        for key in live:
            del self.records[key]

    @_something_is_live
    @_capability("clear")
    @rule()
    def clear(self) -> None:
        assert self.call("clear") == len(self.alive())
        self.records.clear()

    @_capability("delete_expired")
    @rule()
    def delete_expired(self) -> None:
        assert self.call("delete_expired") >= 0
        assert self.call("delete_expired") == 0

    @_capability("lock", "unlock")
    @rule(key=keys, ttl=ttls)
    def lock(self, key: str, ttl: int) -> None:
        token = self.call("lock", key, ttl)
        held = self.locks.get(key)
        if held is not None and 0 < held.deadline - self.clock() <= longest_lock(ttl):
            assert token is None, "a lock that is held was given to a second"
        else:
            assert isinstance(token, str), f"a lock that is free was refused: {token!r}"
            self.locks[key] = _Lock(token, self.clock() + ttl)

    @_capability("lock", "unlock")
    @rule(key=keys, of=keys)
    def unlock(self, key: str, of: str) -> None:
        token = self.locks[of].token if of in self.locks else "no token"
        held = key == of and of in self.locks and self.locks[of].deadline > self.clock()
        assert self.call("unlock", key, token) is held
        if held:
            # Expired, and remembered for its token.
            self.locks[key] = _Lock(token, 0)

    @invariant()
    def every_key_is_in_the_state_it_should_be_in(self) -> None:
        for key in KEYS:
            found, wanted = self.call("load", key), self.live(key)
            if wanted is None:
                assert found == self.tombstone(key), f"{key!r}: {found!r}"
                continue
            assert isinstance(found, Stored), f"{key!r} is to be live, and load returns {found!r}"
            assert found.data == wanted.data
            if self.reports_expiry:
                assert found.expires_in == wanted.deadline - self.clock()

    @invariant()
    def every_live_record_is_found_and_no_other(self) -> None:
        wanted = {key: self.records[key] for key in self.alive()}
        if hasattr(self.store, "scan"):
            found = self.portal.call(_collected, self.store.scan) if self.is_async else self.call("scan")
            assert sorted((key, stored.data) for key, stored in found) == sorted(
                (key, kept.data) for key, kept in wanted.items()
            )
        if hasattr(self.store, "count"):
            assert self.call("count") == len(wanted)
        if hasattr(self.store, "by_owner"):
            for owner in OWNERS:
                theirs = sorted(key for key, kept in wanted.items() if kept.owner == owner)
                assert sorted(self.call("by_owner", owner)) == theirs, f"the records of {owner}"


async def _collected(scan: Callable[[], AsyncIterator[tuple[str, Stored]]]) -> list[tuple[str, Stored]]:
    return [item async for item in scan()]
