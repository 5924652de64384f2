"""What all cases share: the hooks for the author of a store, how a case is run, and its assertions."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final, NoReturn, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
import pytest

from ...core.store import DEFAULT_MAX_SIZE, Deleted, Outcome, Replaced, Stored, Version
from ..clock import ManualClock
from ..colour import FullStore, in_threads

__all__ = ["LONG", "ODD_KEYS", "Harness", "case", "live", "new_key", "number_of", "record", "wrote"]

T = TypeVar("T")
H = TypeVar("H", bound="Harness")

LONG: Final = 60_000
"""A ttl that no case waits out."""

ODD_KEYS: Final = (
    "0",
    " ",
    "a b",
    " a b",
    "a b ",
    "a",
    "A",
    "*",
    "a*",
    "?",
    "[ab]",
    "[a-z]*",
    "{a}",
    "{a}:b",
    "}{",
    "a:b",
    ":",
    "::",
    "sess:a",
    "a/b",
    "../a",
    "a\\b",
    "a'b",
    'a"b',
    "a;b",
    "a--b",
    "%",
    "a%",
    "a_",
    "%s",
    "%00",
    "$a",
    "$where",
    "a.b",
    ".",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\x01",
    "\x7f",
    "\u00e9",  # one letter in composed form,
    "e\u0301",  # and the same in decomposed form
    "stra\u00dfe",
    "STRASSE",
    "\u0130",
    "\u4f1a\u8a71",
    "\u202ea",
    "\U0001f36a",
    "\ufeffa",
    "null",
    "None",
    "01",
    "1e0",
    "1",
)
"""No two of these are the same key."""

_EAGER_SWITCHING: Final = 1e-5
"""Seconds after which a thread makes way while threads race: five hundred times as often as usual."""


class Harness:
    """What the author of a store can set and override."""

    backend: ClassVar[str] = "asyncio"
    """The event loop to run on, by AnyIO's name for it."""
    tick: ClassVar[int] = 1
    """How exact the time of expiry is, in milliseconds. If the suite really waits, also how late it may be."""
    short: ClassVar[int] = 1000
    """A ttl in milliseconds that cases wait out; at least four ticks."""
    tombstones: ClassVar[bool] = True
    """Whether ``regenerate`` can leave a tombstone; Express's layouts have no place for one."""
    reports_expiry: ClassVar[bool] = True
    """Whether ``load`` returns ``expires_in`` rather than None."""
    any_bytes: ClassVar[bool] = True
    """Whether any bytes can be stored. If not, a JSON object with a ``cookie`` can, as all cases but one store it."""
    sweeps_itself: ClassVar[bool] = False
    """Whether expired records may be gone before ``delete_expired`` can count them."""
    longest_key: ClassVar[int] = 4096
    """Bytes of UTF-8."""
    max_size: ClassVar[int] = DEFAULT_MAX_SIZE
    """Bytes beyond which the store refuses a record."""
    rounds: ClassVar[int] = 5
    """How often each race is run."""

    timeout: ClassVar[float] = 60
    """Seconds after which a case is given up."""

    clock: ManualClock

    async def before(self) -> None:
        """Run in the event loop before the store of a case is made."""

    async def after(self) -> None:
        """Run in the event loop after the store of a case is closed, whatever came of it."""

    async def advance(self, ms: int) -> None:
        """Let time pass. Move the clock, unless overridden: to sleep, where the server itself keeps the time."""
        self.clock.advance(ms)

    async def until_expired(self, ttl: int) -> None:
        """Wait until what was given this ttl just now is certainly gone."""
        await self.advance(ttl + self.tick - 1)

    async def while_live(self, ttl: int) -> None:
        """Wait as long as what was given this ttl just now is certainly there."""
        await self.advance(ttl - self.tick)

    def assert_expires_in(self, stored: Stored, ms: int) -> None:
        left = stored.expires_in
        assert left is None or isinstance(left, int), f"expires_in is {left!r}"
        assert left is not None or not self.reports_expiry, (
            "expires_in is None: set reports_expiry = False if it should be"
        )
        assert left is None or abs(left - ms) < self.tick, f"expires in {left} ms instead of {ms} ms"

    async def assert_unchanged(self, store: FullStore, key: str, before: Stored, meanwhile: int = 0) -> None:
        """The record is as it was loaded before, but for the time that passed meanwhile."""
        after = live(await store.load(key))
        assert after[:2] == before[:2], f"{before!r} became {after!r}"
        if before.expires_in is not None:
            self.assert_expires_in(after, before.expires_in - meanwhile)

    @property
    def tombstone(self) -> int:
        """The ttl of a tombstone that outlasts the case, or 0 where there are none."""
        return LONG if self.tombstones else 0

    def left(self, successor: str) -> Replaced | None:
        """What ``load`` returns for a key that was regenerated with `tombstone`."""
        return Replaced(successor) if self.tombstones else None

    def required_tombstone(self, ttl: int) -> int:
        """The ttl of a tombstone that the case cannot do without."""
        if not self.tombstones:
            self.skip("the store leaves no tombstones: tombstones is False")
        return ttl

    def peer(self) -> FullStore:
        """A second store over the data of the first."""
        peer = self._make_peer()
        return self.skip("make_peer() makes no second store over the same data") if peer is None else peer

    def skip(self, reason: str) -> NoReturn:
        """Skip the case, with the reason."""
        pytest.skip(reason)

    async def create(
        self, store: FullStore, number: int = 0, ttl: int = LONG, *, owner: str | None = None
    ) -> tuple[str, Version]:
        """A record under a new key."""
        key = new_key()
        return key, wrote(await store.create(key, record(number), ttl, owner=owner))

    async def missing_keys(self, store: FullStore) -> dict[str, tuple[str, Version]]:
        """A key for each way that a write may find it missing, with the last version it had."""
        never, version = new_key(), (await self.create(store))[1]
        expired = await self.create(store, 1, self.short)
        await self.until_expired(self.short)
        deleted = await self.create(store, 2)
        assert await store.delete(deleted[0]) == Deleted(1, ())
        replaced = await self.create(store, 3)
        result = await store.regenerate(
            replaced[0], new_key(), record(3), LONG, version=replaced[1], tombstone=self.tombstone
        )
        wrote(result)
        return {"never created": (never, version), "expired": expired, "deleted": deleted, "replaced": replaced}

    async def race(self, store: FullStore, *runners: Callable[[FullStore], Awaitable[T]]) -> list[T]:
        """Run all at once, in tasks or threads, and return their results in order."""
        results: dict[int, T] = {}
        racing = in_threads(store)

        async def run(index: int) -> None:
            await anyio.lowlevel.checkpoint()
            results[index] = await runners[index](racing)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(_EAGER_SWITCHING)
        try:
            async with anyio.create_task_group() as group:
                for index in range(len(runners)):
                    group.start_soon(run, index)
        finally:
            sys.setswitchinterval(interval)
        return [results[index] for index in range(len(runners))]

    def _make_store(self) -> FullStore:
        raise NotImplementedError  # pragma: no cover - what a subclass is for

    def _make_peer(self) -> FullStore | None:
        raise NotImplementedError  # pragma: no cover - what a subclass is for

    async def _run(self, body: Callable[[Any, FullStore], Awaitable[None]], capabilities: tuple[str, ...]) -> None:
        self.clock = ManualClock()
        async with AsyncExitStack() as stack:
            await self.before()
            stack.push_async_callback(self.after)
            store = self._make_store()
            stack.push_async_callback(store.close)
            for name in capabilities:
                if not hasattr(store, name):
                    self.skip(f"the store has no {name}()")
            with anyio.fail_after(self.timeout):
                await body(self, store)


Body: TypeAlias = Callable[[H, FullStore], Coroutine[Any, Any, None]]


def case(*capabilities: str) -> Callable[[Body[H]], Callable[[H], None]]:
    """Make a test that pytest collects out of an async function of a store with the named capabilities."""

    def decorate(body: Body[H]) -> Callable[[H], None]:
        def test(self: H) -> None:
            anyio.run(self._run, body, capabilities, backend=self.backend)

        # functools.wraps would have pytest look for a fixture called "store".
        test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
        test.__module__ = body.__module__
        return test

    return decorate


def new_key() -> str:
    """A key that is used nowhere else."""
    return secrets.token_hex(32)


def record(number: int, size: int = 0) -> bytes:
    """A record that every layout can store, of at least ``size`` bytes, and exactly so where that matters."""
    head = b'{"cookie":{"originalMaxAge":null,"path":"/"},"number":%d,"filler":"' % number
    return head + b"x" * (size - len(head) - 2) + b'"}'


def number_of(stored: Stored) -> int:
    """The number that `record` was given."""
    number: int = json.loads(stored.data)["number"]
    return number


def live(found: object) -> Stored:
    """Assert that ``load`` found a live record."""
    assert isinstance(found, Stored), f"expected a live record, found {found!r}"
    assert isinstance(found.data, bytes), f"data is {type(found.data).__name__}, not bytes"
    return found


def wrote(result: object) -> Version:
    """Assert that a write returned a version: anything that is none of the outcomes."""
    assert not isinstance(result, Outcome), f"expected a version, got {result!r}"
    assert result, f"a version must be true, so that `if store.replace(...)` reads as it should; got {result!r}"
    return result
