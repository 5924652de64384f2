"""An operator's hands on a store, in either colour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..core.devices import end_owner
from ..core.settings import SessionSettings
from ..core.steps import Call, Steps, end
from ..middleware.drive import run, run_async
from . import tasks
from .names import find_key
from .values import Listing, Ping, Selection, Session, Shown, Stats

__all__ = ["Admin", "AsyncAdmin"]

_EVERY: Final = Selection()
_LIMIT: Final = 50
_BUDGET: Final = 20_000
"""Records that one call of ``list`` reads at most."""
_SAMPLE: Final = 10_000


class Admin:
    """What an operator may ask of a sync store. Each method raises `StoreError` where the store fails, or is not capable of it.

    A session is named by its key, by its first eight hexadecimal digits or more, by a mask as in the log, or by a handle of its owner's list of
    devices; never by its id. Where the key is the id, as in Express's layouts, only masks and handles are taken, and shown.

    Args:
        store: the store, of the same colour.
        settings: those of the middleware whose sessions it has: how keys, records and handles are made.
    """

    def __init__(self, store: Any, settings: SessionSettings) -> None:
        self.store: Any = store
        self.settings: SessionSettings = settings

    def ping(self, *, write: bool = True) -> Ping:
        """How the store is. With ``write`` a record without a session is written, changed and deleted."""
        return run(tasks.ping(self.settings, self.store, write=write), self.store)

    def stats(self, *, sample: int = _SAMPLE) -> Stats:
        """The sessions in numbers, by so many of them at most."""
        return run(tasks.stats(self.settings, sample), self.store)

    def count(self) -> int:
        """How many sessions are live."""
        return int(run(_call("count"), self.store))

    def list(
        self, wanted: Selection = _EVERY, *, limit: int = _LIMIT, after: str | None = None, budget: int = _BUDGET
    ) -> Listing:
        """The next sessions that meet the conditions, about ``limit``, after what an earlier listing says.

        Of an owner's, the store's index of owners is asked. Else the store is walked through, up to ``budget`` records in a call: fewer may be
        found, and ``next`` says where to go on.

        Raises:
            ValueError: ``after`` is not what a listing has returned as ``next``.
        """
        return run(tasks.listing(self.settings, wanted, limit, after, budget), self.store)

    def show(self, name: str, *, owner: str | None = None, reveal: bool = False) -> Shown:
        """A session with its data, masked unless they are to be revealed.

        Raises:
            NotOneName: no session has this name, or several have.
            SessionDecodeError: it cannot be read.
        """
        return run(tasks.shown(self.settings, name, owner, reveal=reveal), self.store)

    def get(self, key: str) -> Session | None:
        """The session under a key of the store, as `key_of` returns it; None if there is none."""
        return run(tasks.got(self.settings, key), self.store)

    def key_of(self, name: str, *, owner: str | None = None) -> str:
        """The key of the session of this name. It may be an id: it is not to be shown.

        Raises:
            NotOneName: no session has this name, or several have.
        """
        return run(find_key(self.settings, name, owner), self.store)

    def end(self, names: Iterable[str], *, owner: str | None = None) -> int:
        """End sessions; returns how many there were. None ends unless each of the names is one session's.

        Raises:
            NotOneName: one is not.
        """
        return run(tasks.end_named(self.settings, names, owner), self.store)

    def end_keys(self, keys: Iterable[str]) -> int:
        """End the sessions under such keys of the store, as `key_of` returns them; returns how many there were."""
        return run(end(tuple(keys)), self.store)

    def end_owner(self, owner: str) -> int:
        """End all sessions of an owner; returns how many there were."""
        return run(end_owner(self.settings, owner), self.store)

    def end_all(self) -> int:
        """End all sessions; returns how many. A store for Redis takes for its own whatever begins with its prefix."""
        return int(run(_call("clear"), self.store))

    def prune(self) -> int:
        """Remove what has expired; returns how many sessions. 0 where the server does it by itself."""
        return int(run(_call("delete_expired"), self.store))


class AsyncAdmin:
    """`Admin` for an async store."""

    def __init__(self, store: Any, settings: SessionSettings) -> None:
        self.store: Any = store
        self.settings: SessionSettings = settings

    async def ping(self, *, write: bool = True) -> Ping:
        return await run_async(tasks.ping(self.settings, self.store, write=write), self.store)

    async def stats(self, *, sample: int = _SAMPLE) -> Stats:
        return await run_async(tasks.stats(self.settings, sample), self.store)

    async def count(self) -> int:
        return int(await run_async(_call("count"), self.store))

    async def list(
        self, wanted: Selection = _EVERY, *, limit: int = _LIMIT, after: str | None = None, budget: int = _BUDGET
    ) -> Listing:
        return await run_async(tasks.listing(self.settings, wanted, limit, after, budget), self.store)

    async def show(self, name: str, *, owner: str | None = None, reveal: bool = False) -> Shown:
        return await run_async(tasks.shown(self.settings, name, owner, reveal=reveal), self.store)

    async def get(self, key: str) -> Session | None:
        return await run_async(tasks.got(self.settings, key), self.store)

    async def key_of(self, name: str, *, owner: str | None = None) -> str:
        return await run_async(find_key(self.settings, name, owner), self.store)

    async def end(self, names: Iterable[str], *, owner: str | None = None) -> int:
        return await run_async(tasks.end_named(self.settings, names, owner), self.store)

    async def end_keys(self, keys: Iterable[str]) -> int:
        return await run_async(end(tuple(keys)), self.store)

    async def end_owner(self, owner: str) -> int:
        return await run_async(end_owner(self.settings, owner), self.store)

    async def end_all(self) -> int:
        return int(await run_async(_call("clear"), self.store))

    async def prune(self) -> int:
        return int(await run_async(_call("delete_expired"), self.store))


def _call(method: str) -> Steps[int]:
    count: int = yield Call(method)
    return count
