"""Sessions in Redis or Valkey: one server, Sentinel's master, or a cluster."""

# The methods are described by the protocols they fulfil.

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from time import monotonic
from typing import Any, ClassVar, Final, Literal

try:
    import hiredis  # noqa: F401
    import redis.asyncio
except ImportError as error:
    message = 'AsyncRedisStore needs redis-py and hiredis: pip install "sojourn[redis]"'
    raise ImportError(message, name=error.name) from error

from ....aio import deliver_cancellation, late, same_as  # async only
from ....clock import DAY_MS
from ....core.store import (
    CONFLICT,
    DEFAULT_MAX_SIZE,
    EXISTS,
    MISSING,
    Conflict,
    Deleted,
    Exists,
    Facts,
    Missing,
    Page,
    Replaced,
    Seen,
    Stored,
    Told,  # async only
    Version,
    Watch,  # async only
    check_size,
    longest_lock,
)
from ....errors import ConfigurationError, StoreError, StoreTimeout, StoreUnavailable
from ....ids import mask_id
from ....logs import log
from ..._arguments import as_key, check_key, check_keys, check_optional_owner, check_owner, check_token
from ..._home import refuse_trio  # async only
from ..._raising import raise_alone
from ..._url import check_positive
from .._errors import ErrorReply
from .._facts import facts_in
from .._multiplex import Multiplexed, Tracking  # async only
from .._names import LAYOUTS, Names, decode, encode, slots
from .._scripts import (
    BATCH,
    CLUSTERED,
    ENDLESS,
    ENTRIES,
    HEAL,
    INDEX,
    INFO,
    LEAVE,
    LIFETIMES,
    LOCK,
    LOOK,
    OUTCOMES,
    OWNED,
    REPLACED,
    STANDALONE,
    UNLOCK,
    Script,
    digest,
    travelling,
)
from .._url import Server, parse_url
from .clients import AsyncGiven
from .connect import connect_async
from .driver import AsyncCluster, AsyncDriver, AsyncPool

__all__ = ["AsyncRedisStore"]

_ENDLESS: Final = -1
"""What ``PTTL`` returns for a record without an expiry, such as connect-redis writes with ``disableTTL``."""
_MISSING: Final = -2
"""What it returns where there is nothing."""
_tuple: Final = tuple.__new__
"""As `Stored` does, which is a Python function around it."""
_AS_IT_WAS: Final = 2
"""What the script returns that found a record's owner to be the one it was to set."""


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

    _delivers = True  # async only
    """Whether a cancellation that came during a write is delivered before its method returns."""  # async only
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
        refuse_trio("AsyncRedisStore")  # async only
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
        self._call: Callable[..., Awaitable[Any]] = self._driver.call

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

    @property  # async only
    def unbroken(self) -> AsyncRedisStore | None:  # async only
        """This store, for who has to hear of each write that was begun; see `sojourn.stores.base`. None where others may cut one short."""  # async only
        return same_as(self, _Unbroken) if self._driver.unbroken else None  # async only

    async def open(self) -> None:
        """See whether the server answers.

        Raises:
            StoreUnavailable: it does not.
        """
        name = self._names.record("")
        await self._call(name, "EXISTS", name, writes=False)

    async def close(self) -> None:
        """Close the client that the store made here. One on another event loop is closed there, or when that ends."""
        await self._driver.close()

    @property  # async only
    def near(self) -> Callable[[str], Stored | None] | None:  # async only
        """With a near cache, a function that returns a record which is known without asking; see `sojourn.stores.base`."""  # async only
        return self._near if isinstance(self._driver, Multiplexed) and self._driver.has_near else None  # async only

    def _near(self, key: str) -> Stored | None:  # async only
        assert isinstance(self._driver, Multiplexed)  # async only
        kept = self._driver.near(self._names.record(key))  # async only
        return None if kept is None else Stored(kept[0], kept[0], kept[1])  # async only

    async def load(self, key: str) -> Stored | Replaced | None:
        check_key(key)
        name = self._names.record(key)
        try:
            data = await self._call(name, "GET", name, writes=False)
        except ErrorReply as error:
            if error.code != "WRONGTYPE":
                raise
        else:
            return None if data is None else _tuple(Stored, (data, data, None))
        return await self._load_no_string(key, name)

    async def _load_no_string(self, key: str, name: bytes) -> Stored | Replaced | None:
        """The tombstone that was there a moment ago, else something foreign; None if it has expired since."""
        try:
            items = await self._call(name, "LRANGE", name, 0, 1, writes=False)
        except ErrorReply as error:
            if error.code != "WRONGTYPE":
                raise
        else:
            if not items:
                return None
            if items[0] == REPLACED:
                return Replaced(_successor(items))
        log.warning("a stored session (%s) cannot be read: %s", mask_id(key), "its key in Redis is another program's")
        return Stored(b"", b"", None)  # the error is the caller's

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        name, px = self._names.record(key), self._px(ttl)
        index = await self._enter(name, px, owner)
        return self._outcome(data, await self._run(self._scripts.create, self._with_pointer(name), data, px, index))

    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        name, px = self._names.record(key), self._px(ttl)
        index = b"" if owner is None else await self._enter(name, px, owner)
        keys = self._with_pointer(name)
        result = await self._run(self._scripts.replace, keys, data, px, index, travelling(version))
        if self._driver.clustered:
            await self._leave(result, name)
        return self._outcome(data, result)

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
        if not self._tombstones:
            tombstone = 0
        if self._driver.clustered:
            return await self._regenerate_in_two_slots(old, new, data, ttl, version, tombstone, owner)
        keys = (*self._with_pointer(self._names.record(new)), *self._with_pointer(self._names.record(old)))
        arguments = (data, self._px(ttl), self._names.index(owner), travelling(version), tombstone, encode(new))
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
        name = self._names.record(old)
        arguments = travelling(version), tombstone, encode(new)
        try:
            result = await self._run(self._scripts.retire, self._with_pointer(name), *arguments)
        except StoreError:
            with suppress(StoreError):
                await self.delete(new)
            raise
        if result in OUTCOMES:
            await self.delete(new)
        await self._leave(result, name)
        return self._outcome(data, result)

    async def touch(self, key: str, ttl: int) -> bool:
        check_key(key)
        name, px = self._names.record(key), self._px(ttl)
        result = await self._run(self._scripts.touch, self._with_pointer(name), px)
        if self._driver.clustered and isinstance(result, bytes):
            await self._run(INDEX, (result,), name, px)
        return bool(result)

    async def delete(self, *keys: str) -> Deleted:
        check_keys(keys)
        names = [self._names.record(key) for key in keys]
        found = await self._delete(names)
        successors = (_successor(items) for items in map(found.get, names) if isinstance(items, list))
        known = dict.fromkeys(successor for successor in successors if successor is not None)
        return Deleted(_count(found), tuple(known))

    async def _delete(self, names: Iterable[bytes]) -> dict[bytes, int | list[bytes]]:
        """Delete the records, by one script, in a cluster one for each slot. Returns what was under each name."""
        names = list(dict.fromkeys(names))
        found: dict[bytes, int | list[bytes]] = {}
        left: dict[bytes, list[bytes]] = {}
        for together in slots(names) if self._driver.clustered else filter(None, [names]):
            pairs = tuple(chain.from_iterable(map(self._with_pointer, together)))
            try:
                result = await self._run(self._scripts.delete, pairs)
            except StoreUnavailable as error:
                if not _count(found):
                    raise
                message = f"not all of the records were deleted: {error}"
                raise_alone(StoreTimeout(message, driver_error=error.driver_error))
            for name, what in zip(together, result, strict=True):
                if isinstance(what, bytes):
                    left.setdefault(what, []).append(name)
                found[name] = 1 if isinstance(what, bytes) else what
        for index, gone in left.items():
            await self._leave(index, *gone)
        return found

    async def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        check_keys(tuple(keys))
        names = tuple(map(self._names.record, keys))
        if not names:
            return {}
        if isinstance(self._driver, AsyncCluster):
            return await self._look_in_slots(self._driver, keys, names)
        return _seen(keys, await self._run(LOOK, names, writes=False))

    async def _look_in_slots(
        self, driver: AsyncCluster, keys: Sequence[str], names: Sequence[bytes]
    ) -> dict[str, Seen | Replaced]:
        """`look` in a cluster, where a script for each slot would be as many commands as keys: the data come instead."""
        values, lifetimes = await driver.values(names), await driver.lifetimes(names)
        seen: dict[str, Seen | Replaced] = {}
        for key, name, data, left in zip(keys, names, values, lifetimes, strict=True):
            if data is not None:
                seen[key] = Seen(digest(data), _expires_in(left))
            elif left != _MISSING and (found := await self._load_no_string(key, name)) is not None:
                seen[key] = Seen(digest(found.data), None) if isinstance(found, Stored) else found
        return seen

    @staticmethod
    def mark(version: Version) -> str:
        return digest(version)

    async def watch(self, told: Told) -> Watch | None:  # async only
        """Be told of the keys that are looked at; see `sojourn.stores.base`. None with another client than the store's own to one server."""  # async only
        if not isinstance(self._driver, Multiplexed):  # async only
            return None  # async only
        key_of = self._names.key  # async only

        def heard(names: Iterable[bytes] | None) -> None:  # async only
            told(None if names is None else [key for key in map(key_of, names) if key is not None])  # async only

        return _Watch(self.look, self._names, self._driver.tracking(heard))  # async only

    async def scan(self) -> AsyncIterator[tuple[str, Stored]]:
        seen: set[bytes] = set()
        async for batch in self._driver.names(self._names.pattern):
            fresh = list(dict.fromkeys(name for name in batch if name not in seen))
            if not fresh:
                continue
            seen.update(fresh)
            # sync only: yield from self._records(fresh)
            async for record in self._records(fresh):  # async only
                yield record  # async only

    async def _records(self, names: list[bytes]) -> AsyncIterator[tuple[str, Stored]]:
        values, lifetimes, read_at = await self._driver.values(names), await self._lifetimes(names), monotonic()
        for name, data, lifetime in zip(names, values, lifetimes, strict=True):
            left = lifetime - int((monotonic() - read_at) * 1000) if lifetime >= 0 else lifetime
            if data is None or not (left > 0 or left == _ENDLESS):
                continue
            key = self._names.key(name)
            if key is None:
                log.error("a stored session has a key that is not UTF-8, which no visitor can have: it is left out")
            else:
                yield key, Stored(data, data, left if left > 0 else None)

    async def page(self, cursor: str = "", limit: int = 100) -> Page:
        names, after = await self._driver.some_names(self._names.pattern, cursor, limit)
        fresh = list(dict.fromkeys(names))
        if not fresh:
            return Page([], after)
        # sync only: return Page(list(self._records(fresh)), after)
        return Page([record async for record in self._records(fresh)], after)  # async only

    async def facts(self) -> Facts:
        name, told, saves = self._names.record(""), None, None
        with suppress(ErrorReply):  # rights may be few
            told = await self._run(INFO, (name,), writes=False)
        with suppress(ErrorReply):
            saves = await self._call(name, "CONFIG", "GET", "save", writes=False)
        return facts_in(told, saves)

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
        """Delete every record whose name begins with the prefix, and return how many: with ``"app:"`` also those of ``"app:eu:"``."""
        cleared = 0
        async for batch in self._driver.names(self._names.pattern):
            cleared += _count(await self._delete(batch))
        return cleared

    async def delete_expired(self) -> int:
        """Do nothing: the server does it."""
        return 0

    async def by_owner(self, owner: str) -> list[str]:
        check_owner(owner)
        index = self._names.index(owner)
        owned: dict[bytes, bool] = {}
        while await self._run(HEAL, (index,), writes=False) == BATCH:
            pass
        is_settled = False
        while not is_settled:
            is_settled, cursor = True, b"0"
            while True:
                cursor, names = await self._run(ENTRIES, (index,), cursor, writes=False)
                found = await self._owned(index, [name for name in names if name not in owned])
                owned |= found
                if gone := [name for name, is_owned in found.items() if not is_owned]:
                    is_settled = False  # one may have been regenerated since, and be entered under its new key
                    await self._run(HEAL, (index,), *gone, writes=False)
                if cursor == b"0":
                    break
        keys = [self._names.key(name) for name, is_owned in owned.items() if is_owned]
        return [key for key in keys if key is not None]

    async def _owned(self, index: bytes, names: list[bytes]) -> dict[bytes, bool]:
        """Of each record, whether it is live and its owner's."""
        owned: dict[bytes, bool] = {}
        for together in slots(names) if self._driver.clustered else filter(None, [names]):
            pairs = tuple(chain.from_iterable(map(self._with_pointer, together)))
            result = await self._run(OWNED, pairs, index, writes=False)
            owned.update(zip(together, map(bool, result), strict=True))
        return owned

    async def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        name, index, entered = self._names.record(key), self._names.index(owner), 0
        if index and self._driver.clustered:
            (left,) = await self._run(LIFETIMES, (name,), writes=False)
            entered = await self._run(INDEX, (index,), name, left if left > 0 else ENDLESS, "later")
        result = await self._run(self._scripts.set_owner, self._with_pointer(name), index, travelling(version))
        await self._leave(result, name)
        outcome: Any = OUTCOMES.get(result)
        return (result != _AS_IT_WAS or entered > 0) if outcome is None else outcome

    async def lifetime(self, key: str) -> int | None:
        """How long a record has left, in milliseconds, which ``load`` does not tell; None where it has gone, or never ends."""
        check_key(key)
        name = self._names.record(key)
        left: int = (await self._run(LIFETIMES, (name,), writes=False))[0]
        return left if left > 0 else None

    async def lock(self, key: str, ttl: int) -> str | None:
        check_key(key)
        name, token = self._names.lock(self._names.record(key)), secrets.token_hex(16)
        try:
            taken = await self._run(LOCK, (name,), token, ttl, longest_lock(ttl))
        except BaseException as error:  # it may be taken, and nobody would know the token
            if not isinstance(error, StoreUnavailable | GeneratorExit):
                with suppress(StoreError):
                    await self._run(UNLOCK, (name,), token)
            raise
        return token if taken else None

    async def unlock(self, key: str, token: str) -> bool:
        check_key(key)
        check_token(token)
        return bool(await self._run(UNLOCK, (self._names.lock(self._names.record(key)),), token))

    async def _run(self, script: Script, keys: tuple[bytes, ...], *arguments: Any, writes: bool = True) -> Any:
        """Run a script and return its result. If the server does not know it, nothing ran, and its text is sent."""
        rest = (len(keys), *keys, *arguments)
        try:
            result = await self._call(keys[0], "EVALSHA", script.sha, *rest, writes=writes)
        except ErrorReply as error:
            if error.code != "NOSCRIPT":
                raise
            result = await self._call(keys[0], "EVAL", script.text, *rest, writes=writes)
        finally:  # async only
            if late and self._delivers:  # async only
                await deliver_cancellation()  # async only
        return result

    async def _enter(self, name: bytes, px: int, owner: str | None) -> bytes:
        """The owner's index; in a cluster, with the name entered in it, before the record is written.

        The other order would lose a session from the index, were the connection lost in between.
        """
        index = self._names.index(owner)
        if index and self._driver.clustered:
            await self._run(INDEX, (index,), name, px)
        return index

    async def _leave(self, index: object, *names: bytes) -> None:
        """In a cluster, take names out of the index of an owner they have no longer, where a script has returned one."""
        if isinstance(index, bytes):
            with suppress(StoreError):  # it is done later, when the owner is asked for
                await self._run(LEAVE, (index,), *names)

    def _with_pointer(self, name: bytes) -> tuple[bytes, bytes]:
        return name, self._names.pointer(name)

    def _px(self, ttl: int) -> int:
        return -(-ttl // self._tick) * self._tick

    @staticmethod
    def _outcome(data: bytes, result: int) -> Any:
        return OUTCOMES.get(result, data)


class _Unbroken(AsyncRedisStore):  # async only
    """See `AsyncRedisStore.unbroken`."""  # async only

    _delivers = False  # async only


class _Watch:  # async only
    """See `sojourn.stores.base.Watch`."""  # async only

    def __init__(self, look: Any, names: Names, tracking: Tracking) -> None:  # async only
        self._look = look  # async only
        self._names = names  # async only
        self._tracking = tracking  # async only

    @property  # async only
    def is_told(self) -> bool:  # async only
        return self._tracking.is_on  # async only

    async def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:  # async only
        check_keys(tuple(keys))  # async only
        names = tuple(map(self._names.record, keys))  # async only
        reply = await self._tracking.ask(LOOK, names) if names else []  # async only
        seen: dict[str, Seen | Replaced] = await self._look(keys) if reply is None else _seen(keys, reply)  # async only
        return seen  # async only

    async def close(self) -> None:  # async only
        self._tracking.end()  # async only


def _driver(client: object) -> AsyncDriver:
    if isinstance(client, Server):
        return connect_async(client)
    pipelines = (redis.asyncio.client.Pipeline, redis.asyncio.cluster.ClusterPipeline)
    if not isinstance(client, pipelines):  # which redis-py has as kinds of clients, and which only gather commands
        if isinstance(client, redis.asyncio.RedisCluster):
            return AsyncCluster(AsyncGiven(client))
        if isinstance(client, redis.asyncio.Redis):
            return AsyncPool(AsyncGiven(client))
    kind = f"{type(client).__module__}.{type(client).__name__}"
    library = redis.asyncio.__name__
    raise ConfigurationError("client", kind, f"give a {library}.Redis or RedisCluster, or use from_url")


def _seen(keys: Sequence[str], reply: list[list[Any]]) -> dict[str, Seen | Replaced]:
    """What `LOOK` has returned."""
    seen: dict[str, Seen | Replaced] = {}
    for key, items in zip(keys, reply, strict=True):
        if len(items) > 1 and type(items[1]) is int:
            seen[key] = Seen(items[0].decode(), _expires_in(items[1]))
        elif items:
            seen[key] = Replaced(_successor(items)) if items[0] == REPLACED else Seen(digest(b""), None)
    return seen


def _expires_in(left: int) -> int | None:
    return None if left == _ENDLESS else max(left, 0)


def _count(found: dict[bytes, int | list[bytes]]) -> int:
    """How many records were there."""
    return sum(what == 1 for what in found.values())


def _successor(tombstone: list[bytes]) -> str | None:
    """The key that a tombstone keeps. None if it was left by an older version, or is no key."""
    return as_key(decode(tombstone[1])) if tombstone[0] == REPLACED and len(tombstone) > 1 else None
