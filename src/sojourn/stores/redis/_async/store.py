"""Sessions in Redis or Valkey: one server, Sentinel's master, or a cluster."""

# The methods are described by the protocols they fulfil.

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
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
    REPLACED,
    Conflict,
    Exists,
    Missing,
    Replaced,
    Stored,
    Version,
    check_size,
)
from ....errors import ConfigurationError, StoreError
from .._errors import ErrorReply
from .._names import LAYOUTS, Names
from .._scripts import CLUSTERED, INDEX, LIFETIMES, OUTCOMES, OWNED, OWNERS, STANDALONE, UNLOCK, Script
from .._url import Server, parse_url
from .connect import connect_async
from .driver import AsyncCluster, AsyncDriver, AsyncPool

__all__ = ["AsyncRedisStore"]

_ENDLESS: Final = -1
"""What ``PTTL`` answers for a record without an expiry, such as connect-redis writes with ``disableTTL``."""
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
        ConfigurationError: an argument is not what it should be.
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
        if not _is_positive(max_size):
            raise ConfigurationError("max_size", repr(max_size), "give a whole number, at least 1")
        self.layout = layout
        self.prefix: str = LAYOUTS[layout].prefix if prefix is None else prefix
        self.max_size = max_size
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
            ConfigurationError: another form of URL, or an option that does not exist.
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
            if error.code == "WRONGTYPE":
                return REPLACED
            raise
        return None if data is None else Stored(data, data, None)

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_size(data, self.max_size)
        name, px = self._names.record(key), self._px(ttl)
        index = await self._enter(name, px, owner)
        return self._answer(data, await self._run(self._scripts.create, self._with_pointer(name), data, px, index))

    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        check_size(data, self.max_size)
        name, px = self._names.record(key), self._px(ttl)
        index = await self._enter(name, px, owner)
        keys = self._with_pointer(name)
        return self._answer(data, await self._run(self._scripts.replace, keys, data, px, index, _digest(version)))

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
        arguments = (data, self._px(ttl), self._names.index(owner), _digest(version), tombstone)
        return self._answer(data, await self._run(self._scripts.regenerate, keys, *arguments))

    async def _regenerate_in_two_slots(
        self, old: str, new: str, data: bytes, ttl: int, version: bytes, tombstone: int, owner: str | None
    ) -> Version | Conflict | Missing | Exists:
        """Create the new record, then retire the old one; the new one goes again if that cannot be done."""
        if await self.create(new, data, ttl, owner=owner) is EXISTS:
            found = await self.load(old)
            if not isinstance(found, Stored):
                return MISSING
            return EXISTS if found.version == version else CONFLICT
        keys = self._with_pointer(self._names.record(old))
        try:
            answer = await self._run(self._scripts.retire, keys, _digest(version), tombstone)
        except StoreError:
            with suppress(StoreError):
                await self.delete(new)
            raise
        if answer in OUTCOMES:
            await self.delete(new)
        return self._answer(data, answer)

    async def touch(self, key: str, ttl: int) -> bool:
        name, px = self._names.record(key), self._px(ttl)
        answer = await self._run(self._scripts.touch, self._with_pointer(name), px)
        if self._driver.clustered and isinstance(answer, bytes):
            await self._run(INDEX, (answer,), name, px)
        return bool(answer)

    async def delete(self, key: str) -> bool:
        return bool(await self._run(self._scripts.delete, self._with_pointer(self._names.record(key))))

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
            pairs = [self._with_pointer(name) for name in batch]
            # in a cluster each record is in a slot of its own
            for keys in pairs if self._driver.clustered else [tuple(chain.from_iterable(pairs))]:
                cleared += await self._run(self._scripts.delete, keys) if keys else 0
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
        """A script's answer. Where the server does not know it, nothing ran, and its text is sent."""
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
    def _answer(data: bytes, answer: int) -> Any:
        return OUTCOMES.get(answer, data)

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


def _is_positive(given: object) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given > 0


def _digest(version: bytes) -> str:
    return hashlib.sha1(version, usedforsecurity=False).hexdigest()
