"""The two suites. They hold the same cases; a sync store is given to them in the async colour."""

from __future__ import annotations

from typing import cast

from ...core.store import AsyncStore, Store
from ..clock import ManualClock
from ..colour import FullStore, as_async
from .capabilities import LockCases, LookCases, OwnerCases, ScanCases
from .deletion import DeletionCases
from .expiry import ExpiryCases
from .races import RaceCases
from .records import RecordCases
from .regeneration import RegenerationCases

__all__ = ["AsyncStoreContract", "StoreContract"]


class _Cases(
    RecordCases,
    ExpiryCases,
    RegenerationCases,
    DeletionCases,
    ScanCases,
    OwnerCases,
    LockCases,
    LookCases,
    RaceCases,
):
    """Every case there is."""


class StoreContract(_Cases):
    """The contract of a `Store`, to be subclassed. Races are run with threads.

    The class attributes and the hooks to override are those of `Harness`.
    """

    def make_store(self, clock: ManualClock) -> Store:
        """An empty store that shares its data with no other, on this clock if it can take one."""
        raise NotImplementedError  # pragma: no cover - what a subclass is for

    def make_peer(self, clock: ManualClock) -> Store | None:
        """A second store over the data of the one made last, as another process would have it, if there can be one."""
        return None

    def _make_store(self) -> FullStore:
        return as_async(self.make_store(self.clock))

    def _make_peer(self) -> FullStore | None:
        peer = self.make_peer(self.clock)
        return None if peer is None else as_async(peer)


class AsyncStoreContract(_Cases):
    """The contract of an `AsyncStore`, to be subclassed. Races are run with tasks.

    The class attributes and the hooks to override are those of `Harness`.
    """

    def make_store(self, clock: ManualClock) -> AsyncStore:
        """An empty store that shares its data with no other, on this clock if it can take one."""
        raise NotImplementedError  # pragma: no cover - what a subclass is for

    def make_peer(self, clock: ManualClock) -> AsyncStore | None:
        """A second store over the data of the one made last, as another process would have it, if there can be one."""
        return None

    def _make_store(self) -> FullStore:
        return cast("FullStore", self.make_store(self.clock))

    def _make_peer(self) -> FullStore | None:
        return cast("FullStore | None", self.make_peer(self.clock))
