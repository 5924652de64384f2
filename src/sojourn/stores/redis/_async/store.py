"""Sessions in Redis or Valkey: one server, Sentinel's master, or a cluster."""

# The methods are described by the protocols they fulfil.

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import chain
from time import monotonic
from typing import Any, ClassVar, Final, Literal

try:
    import hiredis  # noqa: F401  # async only
    import redis.asyncio
except ImportError as error:
    message = 'AsyncRedisStore needs redis-py and hiredis: pip install "sojourn[redis]"'
    raise ImportError(message, name=error.name) from error

from ....aio import in_trio  # async only
from ....clock import DAY_MS
from ....core.store import (
    CONFLICT,
    DEFAULT_MAX_SIZE,
    EXISTS,
    MISSING,
    Conflict,
    Deleted,
    Exists,
    Missing,
    Replaced,
    Stored,
    Version,
    check_size,
)
from ....errors import ConfigurationError, StoreError, StoreTimeout, StoreUnavailable
from ..._url import check_positive
from .._errors import ErrorReply
from .._names import LAYOUTS, Names, decode, encode, slots
from .._scripts import CLUSTERED, INDEX, LIFETIMES, OUTCOMES, OWNED, OWNERS, REPLACED, STANDALONE, UNLOCK, Script
from .._url import Server, parse_url
from .connect import connect_async
from .driver import AsyncCluster, AsyncDriver, AsyncPool

__all__ = ["AsyncRedisStore"]

_ENDLESS: Final = -1
"""What ``PTTL`` returns for a record without an expiry, such as connect-redis writes with ``disableTTL``."""
_TRIO: Final = "redis-py runs on asyncio; use SQLite or memory under trio"  # async only


class AsyncRedisStore:
    """Sessions in Redis 6.2 or Valkey 7.2, or newer, through redis-py. The version of a record is its data.

    Args:
        client: the app's own `redis.asyncio.Redis` or `redis.asyncio.RedisCluster`. It is never closed, and its retries
            are not used: a command is sent once.
        layout: ``"native"``, or ``"connect-redis"`` to share sessions with Express: other prefix, expiry rounded up to
            whole seconds, no tombstones.
        prefix: what the name of each record begins with; ``"sojourn:"``, or ``"sess:"`` in Express's layout.
        max_size: bytes of one record beyond which it is refused.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    default_ttl: ClassVar[int] = DAY_MS
    """How long connect-redis keeps a session whose cookie has no expiry, in milliseconds."""

    def __init__(
        self,
        client: redis.asyncio.Redis | redis.asyncio.RedisCluster | Server,
        *,
        layout: Literal["native", "connect-redis"] = "native",
        prefix: str | None = None,
        max_size: int = DEFAULT_MAX_SIZE,
    ) -> None:
        if layout not in LAYOUTS:
            raise ConfigurationError("layout", repr(layout), f"give {' or '.join(map(repr, LAYOUTS))}")
        self.layout = layout
        self.prefix: str = LAYOUTS[layout].prefix if prefix is None else prefix
        self.max_size: int = check_positive("max_size", max_size)
        self._tick = LAYOUTS[layout].tick
        self._tombstones = LAYOUTS[layout].tombstones
        self._names = Names(self.prefix)
        self._driver = _driver(client)
        self._scripts = CLUSTERED if self._driver.clustered else STANDALONE
        self._call: Callable[..., Awaitable[Any]] = self._first_call

    @classmethod
    def from_url(cls, url: str) -> AsyncRedisStore:
        """A store that opens its own connections, to ``redis://user:password@host:6379/0``.

        Likewise ``rediss://`` (TLS), ``redis+unix:///run/redis.sock``, ``redis+sentinel://host1,host2/service/0`` and
        ``redis+cluster://host1,host2``. The query takes the constructor's options and those of the connection, with times
        in seconds: ``?prefix=app:&timeout=2``.

        Raises:
            ConfigurationError: another form of URL, or an unknown option.
        """
        server, options = parse_url(url)
        return cls(server, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(layout={self.layout!r}, prefix={self.prefix!r}, max_size={self.max_size})"

    async def open(self) -> None:
        """See whether the server answers.

        Raises:
            StoreUnavailable: it does not.
        """
        await self.load("")

    async def close(self) -> None:
        await self._driver.close()

    async def load(self, key: str) -> Stored | Replaced | None:
        name = self._names.record(key)
        try:
            data = await self._call(name, "GET", name, writes=False)
        except ErrorReply as error:
            if error.code != "WRONGTYPE":
                raise
            return await self._tombstone(name)
        return None if data is None else Stored(data, data, None)

    async def _tombstone(self, name: bytes) -> Replaced | None:
        """The tombstone that was there a moment ago; None if it has expired since."""
        try:
            items = await self._call(name, "LRANGE", name, 0, 1, writes=False)
        except ErrorReply as error:
            if error.code != "WRONGTYPE":
                raise
            return Replaced(None)  # no tombstone of ours, but the key is taken
        return Replaced(_successor(items)) if items else None

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_size(data, self.max_size)
        name, px = self._names.record(key), self._px(ttl)
        index = await self._enter(name, px, owner)
        return self._outcome(data, await self._run(self._scripts.create, self._with_pointer(name), data, px, index))

    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        check_size(data, self.max_size)
        name, px = self._names.record(key), self._px(ttl)
        index = await self._enter(name, px, owner)
        keys = self._with_pointer(name)
        return self._outcome(data, await self._run(self._scripts.replace, keys, data, px, index, _digest(version)))

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
        if not self._tombstones:
            tombstone = 0
        if self._driver.clustered:
            return await self._regenerate_in_two_slots(old, new, data, ttl, version, tombstone, owner)
        check_size(data, self.max_size)
        keys = (*self._with_pointer(self._names.record(new)), *self._with_pointer(self._names.record(old)))
        arguments = (data, self._px(ttl), self._names.index(owner), _digest(version), tombstone, encode(new))
        return self._outcome(data, await self._run(self._scripts.regenerate, keys, *arguments))

    async def _regenerate_in_two_slots(
        self, old: str, new: str, data: bytes, ttl: int, version: bytes, tombstone: int, owner: str | None
    ) -> Version | Conflict | Missing | Exists:
        """Create the new record, then retire the old one. If that is not possible, delete the new one again."""
        if await self.create(new, data, ttl, owner=owner) is EXISTS:
            found = await self.load(old)
            if not isinstance(found, Stored):
                return MISSING
            return EXISTS if found.version == version else CONFLICT
        keys = self._with_pointer(self._names.record(old))
        try:
            result = await self._run(self._scripts.retire, keys, _digest(version), tombstone, encode(new))
        except StoreError:
            with suppress(StoreError):
                await self.delete(new)
            raise
        if result in OUTCOMES:
            await self.delete(new)
        return self._outcome(data, result)

    async def touch(self, key: str, ttl: int) -> bool:
        name, px = self._names.record(key), self._px(ttl)
        result = await self._run(self._scripts.touch, self._with_pointer(name), px)
        if self._driver.clustered and isinstance(result, bytes):
            await self._run(INDEX, (result,), name, px)
        return bool(result)

    async def delete(self, *keys: str) -> Deleted:
        names = [self._names.record(key) for key in keys]
        found = await self._delete(names)
        successors = (_successor(items) for items in map(found.get, names) if isinstance(items, list))
        known = dict.fromkeys(successor for successor in successors if successor is not None)
        return Deleted(_count(found), tuple(known))

    async def _delete(self, names: Iterable[bytes]) -> dict[bytes, int | list[bytes]]:
        """Delete the records, by one script, in a cluster one for each slot. Returns what was under each name."""
        names = list(dict.fromkeys(names))
        found: dict[bytes, int | list[bytes]] = {}
        for together in slots(names) if self._driver.clustered else filter(None, [names]):
            pairs = tuple(chain.from_iterable(map(self._with_pointer, together)))
            try:
                result = await self._run(self._scripts.delete, pairs)
            except StoreUnavailable as error:
                if not _count(found):
                    raise
                raise StoreTimeout(f"not all of the records were deleted: {error}") from error.__cause__
            found.update(zip(together, result, strict=True))
        return found

    async def scan(self) -> AsyncIterator[tuple[str, Stored]]:
        seen: set[bytes] = set()
        async for batch in self._driver.names(self._names.pattern):
            fresh = list(dict.fromkeys(name for name in batch if name not in seen))
            if not fresh:
                continue
            seen.update(fresh)
            values, lifetimes, read_at = await self._driver.values(fresh), await self._lifetimes(fresh), monotonic()
            for name, data, lifetime in zip(fresh, values, lifetimes, strict=True):
                left = lifetime - int((monotonic() - read_at) * 1000) if lifetime >= 0 else lifetime
                if data is not None and (left > 0 or left == _ENDLESS):
                    yield self._names.key(name), Stored(data, data, left if left > 0 else None)

    async def _lifetimes(self, names: list[bytes]) -> list[int]:
        if isinstance(self._driver, AsyncCluster):
            return await self._driver.lifetimes(names)
        lifetimes: list[int] = await self._run(LIFETIMES, tuple(names), writes=False)
        return lifetimes

    async def count(self) -> int:
        seen: set[bytes] = set()
        async for batch in self._driver.names(self._names.pattern):
            seen.update(batch)
        return len(seen)

    async def clear(self) -> int:
        cleared = 0
        async for batch in self._driver.names(self._names.pattern):
            cleared += _count(await self._delete(batch))
        return cleared

    async def delete_expired(self) -> int:
        """Do nothing: the server does it."""
        return 0

    async def by_owner(self, owner: str) -> list[str]:
        index = self._names.index(owner)
        entries = await self._run(OWNERS, (index,), writes=False)
        return [
            self._names.key(name)
            for name in entries
            if await self._run(OWNED, self._with_pointer(name), index, writes=False)
        ]

    async def lock(self, key: str, ttl: int) -> str | None:
        name, token = self._names.lock(self._names.record(key)), secrets.token_hex(16)
        taken = await self._call(name, "SET", name, token, "NX", "PX", ttl, writes=True)
        return None if taken is None else token

    async def unlock(self, key: str, token: str) -> bool:
        return bool(await self._run(UNLOCK, (self._names.lock(self._names.record(key)),), token))

    async def _run(self, script: Script, keys: tuple[bytes, ...], *arguments: Any, writes: bool = True) -> Any:
        """Run a script and return its result. If the server does not know it, nothing ran, and its text is sent."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await self._call(keys[0], "EVALSHA", script.sha, *rest, writes=writes)
        except ErrorReply as error:
            if error.code != "NOSCRIPT":
                raise
        return await self._call(keys[0], "EVAL", script.text, *rest, writes=writes)

    async def _enter(self, name: bytes, px: int, owner: str | None) -> bytes:
        """The owner's index; in a cluster, with the name entered in it, before the record is written.

        The other order would lose a session from the index, were the connection lost in between.
        """
        index = self._names.index(owner)
        if index and self._driver.clustered:
            await self._run(INDEX, (index,), name, px)
        return index

    def _with_pointer(self, name: bytes) -> tuple[bytes, bytes]:
        return name, self._names.pointer(name)

    def _px(self, ttl: int) -> int:
        return -(-ttl // self._tick) * self._tick

    @staticmethod
    def _outcome(data: bytes, result: int) -> Any:
        return OUTCOMES.get(result, data)

    async def _first_call(self, name: bytes, *command: Any, writes: bool) -> Any:
        if in_trio():  # async only
            raise ConfigurationError("store", f"{type(self).__name__} under trio", _TRIO)  # async only
        self._call = self._driver.call
        return await self._call(name, *command, writes=writes)


def _driver(client: object) -> AsyncDriver:
    if isinstance(client, Server):
        return connect_async(client)
    if isinstance(client, redis.asyncio.RedisCluster):
        return AsyncCluster(client)
    if isinstance(client, redis.asyncio.Redis):
        return AsyncPool(client)
    kind = f"{type(client).__module__}.{type(client).__name__}"
    raise ConfigurationError("client", kind, f"give a {redis.asyncio.__name__}.Redis or RedisCluster, or use from_url")


def _count(found: dict[bytes, int | list[bytes]]) -> int:
    """How many records were there."""
    return sum(what == 1 for what in found.values())


def _successor(tombstone: list[bytes]) -> str | None:
    """The key that a tombstone keeps. None if it was left by an older version."""
    return decode(tombstone[1]) if tombstone[0] == REPLACED and len(tombstone) > 1 else None


def _digest(version: bytes) -> str:
    return hashlib.sha1(version, usedforsecurity=False).hexdigest()
