"""Sessions in a SQLite file: durable, without a server, for all threads and processes of one machine."""

# The methods are described by the protocols they fulfil.

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from ...clock import LONGEST_MS, Clock, Duration, system_clock
from ...core.store import (
    DEFAULT_MAX_SIZE,
    Conflict,
    Deleted,
    Exists,
    Facts,
    Missing,
    Page,
    Replaced,
    Seen,
    Stored,
    Version,
    check_size,
)
from ...errors import StoreError
from ...logs import log
from .._arguments import as_key, check_key, check_keys, check_optional_owner, check_owner, check_token
from .._url import check_flag
from . import _file as file
from ._engine import nothing, run_in_thread
from ._handle import Handle
from ._options import ASYNC_OPTIONS, OPTIONS, Settings, parse_url

__all__ = ["AsyncSQLiteStore", "SQLiteStore"]

_TIMEOUT: Final = 10.0
_PRUNE_INTERVAL: Final = 60.0
_AT_ONCE: Final = 100
"""Records that a scan reads at once."""
_ODD: Final = "surrogateescape"
"""How a key that is not UTF-8 stands in a cursor."""


class SQLiteStore:
    """Sessions in one SQLite file that is dedicated to them, for any number of threads and processes of one machine.

    The file is opened at first use, and created, readable by its owner alone, if there is none. It is in WAL mode, which
    needs a local disk. Reads run on the calling thread and wait for no writer. Writes go through one thread of the
    store, which commits all that wait in one transaction. A write that has been queued is carried out, even when its
    caller is interrupted. Expired records are removed in the background. Their space is used again, but the file
    does not shrink.

    When the process forks, each store finishes its writes and closes the file. The next operation opens it again, in
    either process: SQLite's connections do not survive a fork.

    Args:
        path: the file. Its folder must exist.
        synchronous: when a commit waits for the disk. ``"NORMAL"``: a crash of the machine may lose the last commits, a
            crash of the process loses none; ``"FULL"``: neither does; ``"OFF"``: a crash of the machine may damage the
            file.
        timeout: how long to wait while another process writes; seconds or a `timedelta`.
        prune_interval: how often to look for expired records, give or take a quarter; None: only ``delete_expired``
            removes them.
        max_size: bytes of one record beyond which it is refused.
        clock: milliseconds since the epoch.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: str = "NORMAL",
        timeout: Duration = _TIMEOUT,
        prune_interval: Duration | None = _PRUNE_INTERVAL,
        max_size: int = DEFAULT_MAX_SIZE,
        clock: Clock = system_clock,
    ) -> None:
        settings = Settings.check(
            path,
            synchronous=synchronous,
            timeout=timeout,
            prune_interval=prune_interval,
            max_size=max_size,
            clock=clock,
        )
        self.path: str = settings.path
        self.max_size: int = settings.max_size
        self._clock = clock
        self._synchronous = settings.synchronous
        self._file = Handle(settings)

    @classmethod
    def from_url(cls, url: str, *, clock: Clock = system_clock) -> SQLiteStore:
        """A store as a URL describes it: ``sqlite:///relative.db`` or ``sqlite:////absolute/path.db``.

        Options follow as a query: ``?synchronous=FULL&timeout=5&prune_interval=300&max_size=65536``.

        Raises:
            ConfigurationError: another form of URL, or an unknown option.
        """
        path, options = parse_url(url, OPTIONS)
        return cls(path, **options, clock=clock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def open(self) -> None:
        self._file.write(nothing)

    def close(self) -> None:
        """Finish the writes that are queued and close the file. The next operation but `look` opens it again."""
        self._file.close()

    def load(self, key: str) -> Stored | Replaced | None:
        check_key(key)
        return _interpret(self._file.read(file.LOAD, key), self._clock())

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        return self._file.write(file.create, key, data, ttl, owner)

    def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        return self._file.write(file.replace, key, data, ttl, version, owner)

    def regenerate(
        self,
        old: str,
        new: str,
        data: bytes,
        ttl: int,
        *,
        version: Version,
        tombstone: int,
        owner: str | None = None,
    ) -> Version | Conflict | Missing | Exists:
        check_keys((old, new))
        check_optional_owner(owner)
        check_size(data, self.max_size)
        return self._file.write(file.regenerate, old, new, data, ttl, version, tombstone, owner)

    def touch(self, key: str, ttl: int) -> bool:
        check_key(key)
        return self._file.write(file.touch, key, ttl)

    def delete(self, *keys: str) -> Deleted:
        check_keys(keys)
        return self._file.write(file.delete, keys) if keys else Deleted(0, ())

    def scan(self) -> Iterator[tuple[str, Stored]]:
        after = b""
        while page := _page(self._file, self._clock(), after):
            yield from _unexpired(page, self._clock)
            after = page[-1][0]

    def page(self, cursor: str = "", limit: int = _AT_ONCE) -> Page:
        rows = _page(self._file, self._clock(), cursor.encode(errors=_ODD), limit)
        return Page(
            list(_unexpired(rows, self._clock)), rows[-1][0].decode(errors=_ODD) if len(rows) == limit else None
        )

    def facts(self) -> Facts:
        ((journal, version),) = self._file.read(file.FACTS)
        return {"server": "SQLite", "version": version, "journal_mode": journal, "synchronous": self._synchronous}

    def count(self) -> int:
        now = self._clock()
        ((count,),) = self._file.read(file.COUNT, now, now)
        return int(count)

    def clear(self) -> int:
        return self._file.write(file.clear)

    def delete_expired(self) -> int:
        removed, more = 0, True
        while more:
            batch, more = self._file.write(file.prune)
            removed += batch
        return removed

    def has_expired(self, key: str) -> bool:
        check_key(key)
        rows = self._file.read(file.LOAD, key)
        return bool(rows) and type(rows[0][0]) is bytes and _interpret(rows, self._clock()) is None

    def by_owner(self, owner: str) -> list[str]:
        check_owner(owner)
        return [key for (key,) in self._file.read(file.BY_OWNER, owner, self._clock())]

    def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        return self._file.write(file.set_owner, key, owner, version)

    def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        check_keys(tuple(keys))
        # Whoever watches sessions looks for as long as their connections are open, and must not open the file behind `close`.
        return _seen(self._file.read(file.looking_at(len(keys)), *keys, opens=False), self._clock()) if keys else {}

    @staticmethod
    def mark(version: Version) -> int:
        number: int = version
        return number

    def pulse(self) -> object:
        return self._file.pulse()

    def lock(self, key: str, ttl: int) -> str | None:
        check_key(key)
        token = secrets.token_hex(16)
        try:
            return self._file.write(file.lock, key, token, ttl)
        except StoreError:
            raise
        except BaseException:  # it may be taken, and nobody would know the token
            self._file.write(file.unlock, key, token)
            raise

    def unlock(self, key: str, token: str) -> bool:
        check_key(key)
        check_token(token)
        return self._file.write(file.unlock, key, token)


class AsyncSQLiteStore:
    """`SQLiteStore` in the async colour, for asyncio and trio.

    A load reads on the event loop's own thread: it costs a tenth of a change of threads, and waits for no writer. If
    the file is busy, which is rare, a worker thread reads instead. Writes are awaited without blocking the loop. A
    write that is cancelled may be carried out or not.

    Takes the same arguments, and raises the same errors; also:

    Args:
        read_in_thread: always leave reads to a worker thread, for slow disks.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: str = "NORMAL",
        timeout: Duration = _TIMEOUT,
        read_in_thread: bool = False,
        prune_interval: Duration | None = _PRUNE_INTERVAL,
        max_size: int = DEFAULT_MAX_SIZE,
        clock: Clock = system_clock,
    ) -> None:
        self._store = SQLiteStore(
            path,
            synchronous=synchronous,
            timeout=timeout,
            prune_interval=prune_interval,
            max_size=max_size,
            clock=clock,
        )
        self._file = self._store._file  # noqa: SLF001 - one store in two colours
        self._clock = clock
        self._read_in_thread = check_flag("read_in_thread", read_in_thread)
        self.path: str = self._store.path
        self.max_size: int = self._store.max_size

    @classmethod
    def from_url(cls, url: str, *, clock: Clock = system_clock) -> AsyncSQLiteStore:
        """A store as a URL describes it; see `SQLiteStore.from_url`. Has also the option ``read_in_thread=true``."""
        path, options = parse_url(url, ASYNC_OPTIONS)
        return cls(path, **options, clock=clock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    async def open(self) -> None:
        await self._file.write_async(nothing)

    async def close(self) -> None:
        """Finish the writes that are queued and close the file. The next operation but `look` opens it again."""
        await run_in_thread(self._store.close)

    async def load(self, key: str) -> Stored | Replaced | None:
        check_key(key)
        rows = None if self._read_in_thread else self._file.try_read(file.LOAD, key)
        if rows is None:
            return await run_in_thread(partial(self._store.load, key))
        return _interpret(rows, self._clock())

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        return await self._file.write_async(file.create, key, data, ttl, owner)

    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        return await self._file.write_async(file.replace, key, data, ttl, version, owner)

    async def regenerate(
        self,
        old: str,
        new: str,
        data: bytes,
        ttl: int,
        *,
        version: Version,
        tombstone: int,
        owner: str | None = None,
    ) -> Version | Conflict | Missing | Exists:
        check_keys((old, new))
        check_optional_owner(owner)
        check_size(data, self.max_size)
        return await self._file.write_async(file.regenerate, old, new, data, ttl, version, tombstone, owner)

    async def touch(self, key: str, ttl: int) -> bool:
        check_key(key)
        return await self._file.write_async(file.touch, key, ttl)

    async def delete(self, *keys: str) -> Deleted:
        check_keys(keys)
        return await self._file.write_async(file.delete, keys) if keys else Deleted(0, ())

    async def scan(self) -> AsyncIterator[tuple[str, Stored]]:
        after = b""
        while page := await run_in_thread(partial(_page, self._file, self._clock(), after)):
            for item in _unexpired(page, self._clock):
                yield item
            after = page[-1][0]

    async def page(self, cursor: str = "", limit: int = _AT_ONCE) -> Page:
        return await run_in_thread(partial(self._store.page, cursor, limit))

    async def facts(self) -> Facts:
        return await run_in_thread(self._store.facts)

    async def count(self) -> int:
        return await run_in_thread(self._store.count)

    async def clear(self) -> int:
        return await self._file.write_async(file.clear)

    async def delete_expired(self) -> int:
        return await run_in_thread(self._store.delete_expired)

    async def has_expired(self, key: str) -> bool:
        return await run_in_thread(partial(self._store.has_expired, key))

    async def by_owner(self, owner: str) -> list[str]:
        check_owner(owner)
        return await run_in_thread(partial(self._store.by_owner, owner))

    async def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        return await self._file.write_async(file.set_owner, key, owner, version)

    async def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        check_keys(tuple(keys))
        rows = None if self._read_in_thread else self._file.try_read(file.looking_at(len(keys)), *keys)
        if rows is None:
            return await run_in_thread(partial(self._store.look, keys))
        return _seen(rows, self._clock())

    @staticmethod
    def mark(version: Version) -> int:
        return SQLiteStore.mark(version)

    def pulse(self) -> object:
        return None if self._read_in_thread else self._store.pulse()

    async def lock(self, key: str, ttl: int) -> str | None:
        check_key(key)
        return await self._file.write_async(file.lock, key, secrets.token_hex(16), ttl)

    async def unlock(self, key: str, token: str) -> bool:
        check_key(key)
        check_token(token)
        return await self._file.write_async(file.unlock, key, token)


def _interpret(rows: list[Any], now: int) -> Stored | Replaced | None:
    if not rows:
        return None
    data, version, expires = rows[0]
    left = expires - now if type(expires) is int else _left(expires, now)
    if left <= 0:
        return None
    return tuple.__new__(Stored, (data, version, left)) if type(data) is bytes else Replaced(as_key(data))


def _left(expires: object, now: int) -> int:
    """Milliseconds left, at most four centuries, where the cell may hold anything; so many where it is no number."""
    return int(max(0, min(expires - now, LONGEST_MS))) if isinstance(expires, int | float) else LONGEST_MS


def _seen(rows: list[Any], now: int) -> dict[str, Seen | Replaced]:
    seen: dict[str, Seen | Replaced] = {}
    for key, is_replaced, version, expires, successor in rows:
        left = _left(expires, now)
        if left > 0:
            seen[key] = Replaced(as_key(successor)) if is_replaced else Seen(version, left)
    return seen


_Page: TypeAlias = list[tuple[bytes, bytes, int, object]]


def _page(handle: Handle, now: int, after: bytes, limit: int = _AT_ONCE) -> _Page:
    return handle.read(file.SCAN, after, now, limit)


def _unexpired(page: _Page, clock: Clock) -> Iterator[tuple[str, Stored]]:
    """The records of a page that are live when the caller asks for them, one by one."""
    for key, data, version, expires in page:
        try:
            name = key.decode()
        except UnicodeDecodeError:
            log.error("a stored session has a key that is not UTF-8, which no visitor can have: it is left out")
            continue
        left = _left(expires, clock())
        if left > 0:
            yield name, Stored(data, version, left)
