"""Sessions in MongoDB, in a layout of our own or in those of connect-mongo and connect-mongodb-session."""

# The methods are described by the protocols they fulfil.

from __future__ import annotations

import inspect
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal, NamedTuple

try:
    from pymongo import AsyncMongoClient, ReadPreference
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError
except ImportError as error:
    raise ImportError('the MongoDB stores need PyMongo: pip install "sojourn[mongo]"', name=error.name) from error

from ....clock import Clock, system_clock
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
    Outcome,
    Page,
    Replaced,
    Seen,
    Stored,
    Told,  # async only
    Version,
    Watch,  # async only
    check_size,
)
from ....errors import ConfigurationError, StoreError, StoreTimeout, StoreUnavailable
from ..._arguments import as_key, check_key, check_keys, check_optional_owner, check_owner, check_token
from ..._home import AsyncHome, refuse_trio
from ..._raising import raise_alone
from .._conversion import CODEC
from .._errors import Guard, reading, writing
from .._homes import AsyncGiven, AsyncOwned
from .._layout import LOCKS, OWNER, SESSION, STATE, SUCCESSOR, Document, MongoLayout, cursor_of, id_in, mark_of
from .._settings import Settings, has_index, is_indexed, warn_of_index
from .._url import connect, parse_url
from .._watch import ChangeStream  # async only

__all__ = ["AsyncMongoStore"]

_RESERVED: Final = 60_000  # ms that a new key is kept for a regenerate under way
_BATCH: Final = 1000  # documents that one command deletes
_PAGE: Final = 100  # documents that a scan fetches at once


class _Handles(NamedTuple):
    """A client, and what the store uses of it."""

    sessions: AsyncCollection[Any]
    reader: AsyncCollection[Any]
    locks: AsyncCollection[Any]
    write: Guard
    life: AsyncGiven | AsyncOwned


class AsyncMongoStore:
    """Sessions in a MongoDB collection, on asyncio.

    The version of a record is its stored value, which is in the filter of every write that must find it unchanged: a
    save by Express in between is a conflict. No transactions are used, so that a single server serves as well. Whether a
    session has expired is judged by this machine's clock, as in connect-mongo; that of the database decides when it is
    removed.

    Args:
        client: PyMongo's ``AsyncMongoClient``, or a function that makes one for each process and event loop, which the store
            then closes. It should have ``retryWrites`` off, and must acknowledge writes.
        database: its name; None for the one in the client's URL, else ``"test"``.
        collection: its name; locks are kept in one with ``_locks`` appended.
        layout: a `MongoLayout` or its name: ``"native"``, ``"connect-mongo"``, ``"connect-mongo-bson"``, or
            ``"connect-mongodb-session"``.
        create_index: whether to create the indexes that are missing, at first use. One that is there with other options
            is left, with a warning.
        read_preference: PyMongo's, for ``load`` alone. Anything but the primary may show a session as it was.
        max_size: bytes of one record beyond which it is refused.
        clock: milliseconds since the epoch.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    def __init__(
        self,
        client: AsyncMongoClient[Any] | Callable[[], AsyncMongoClient[Any]],
        *,
        database: str | None = None,
        collection: str = "sessions",
        layout: MongoLayout | str = "native",
        create_index: bool = True,
        read_preference: Any = ReadPreference.PRIMARY,
        max_size: int = DEFAULT_MAX_SIZE,
        clock: Clock = system_clock,
    ) -> None:
        refuse_trio("AsyncMongoStore")  # async only
        self._settings = Settings.check(database, collection, layout, create_index, max_size, clock)
        self._layout = self._settings.layout
        self._clock = clock
        self._read_preference = read_preference
        self._make_client: Callable[[], AsyncMongoClient[Any]] | None = None
        self._given: _Handles | None = None
        self._homes: dict[AsyncHome, _Handles] = {}
        """The clients in use, by where that is. The store makes one for each process and event loop."""
        self._entering: dict[AsyncHome, threading.Lock] = {}
        self._unindexed = self._settings.to_index
        self.layout: str = self._layout.name
        self.max_size = max_size
        self.default_ttl: int = self._layout.default_ttl
        if isinstance(client, AsyncMongoClient):
            self._given = self._take(client, AsyncGiven(client))
        elif inspect.isroutine(client) or isinstance(client, partial):
            self._make_client = client
        else:
            raise _not_a_client(client)

    @classmethod
    def from_url(cls, url: str, *, clock: Clock = system_clock) -> AsyncMongoStore:
        """A store as a URL describes it: ``mongodb://localhost/app?collection=sessions&layout=connect-mongo``.

        The store's own options are ``collection``, ``layout``, ``create_index``, ``max_size``, and those of the layout:
        ``id_field``, ``expires_key``, ``timestamps``, ``last_modified``. The others are PyMongo's. Connecting, and every
        operation, may take 5 s unless PyMongo's options say otherwise, and ``retryWrites`` is always off.

        Raises:
            ConfigurationError: another scheme, or an unknown option.
        """
        rest, options = parse_url(url)
        return cls(partial(connect, AsyncMongoClient, rest), **options, clock=clock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(collection={self._settings.collection!r}, layout={self._layout.name!r})"

    async def open(self) -> None:
        await self._open()

    async def close(self) -> None:
        """Close the client that the store made here. One on another event loop is closed there, or when that ends."""
        self._unindexed = self._settings.to_index
        for home in list(self._homes):
            if home.is_gone() or home == AsyncHome.here("AsyncMongoStore"):
                await self._leave(home)

    async def load(self, key: str) -> Stored | Replaced | None:
        check_key(key)
        handles, now = await self._open(), self._clock()
        with reading():
            document = await handles.reader.find_one(
                self._layout.at(key, self._layout.unexpired(now)), self._layout.projection
            )
        return None if document is None else self._layout.found(key, document, now)

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        session = self._layout.encode(data)
        handles, now = await self._open(), self._clock()
        free = self._layout.at(key, self._layout.expired(now))
        update = self._layout.to_insert(session, now, ttl, owner)
        return session if await self._insert(handles, handles.sessions, free, update) else EXISTS

    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        session = self._layout.encode(data, version)
        handles, now = await self._open(), self._clock()
        update = self._layout.to_replace(session, now, ttl, owner)
        with handles.write():
            result = await handles.sessions.update_one(self._layout.unchanged(key, version, now), update)
        return session if result.matched_count else await self._refusal(handles, key, version)

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
        """Move a session to a new key, in three steps, each of them atomic: reserve the new, end the old, release the new.

        The second one decides. The new key is live only when the old one is not any more: a caller that finds it live
        after a lost reply knows that all was done. A caller that is stopped in between leaves a reservation, which
        expires.
        """
        check_keys((old, new))
        check_optional_owner(owner)
        check_size(data, self.max_size)
        session, token = self._layout.encode(data, version), secrets.token_hex(8)
        handles, now = await self._open(), self._clock()
        free = self._layout.at(new, self._layout.expired(now))
        update = self._layout.to_insert(session, now, _RESERVED, owner, token)
        if not await self._insert(handles, handles.sessions, free, update):
            if await self._resume(handles, old, new, session, ttl):
                return session
            return await self._refusal(handles, old, version, unchanged=EXISTS)
        if not await self._end(handles, old, version, tombstone, new):
            refusal = await self._refusal(handles, old, version)
            with suppress(StoreError), handles.write():
                await handles.sessions.delete_one(self._layout.reserved(new, token, self._clock()))
            return refusal
        now = self._clock()
        try:
            with handles.write():
                result = await handles.sessions.update_one(
                    self._layout.reserved(new, token, now), self._layout.to_release(now, ttl)
                )
        except StoreUnavailable as error:  # pragma: no cover - the tests of failures run it in the sync colour
            message = "MongoDB: the old session has ended, and the new one was not released"
            raise_alone(StoreTimeout(message, driver_error=error.driver_error))
        if result.matched_count:
            return session
        # It was ended on its way, or its reservation ran out. To the caller it had ended before: no tombstone leads to it.
        with suppress(StoreError), handles.write():
            await handles.sessions.delete_one(self._layout.tombstone(old, new))
        return MISSING

    async def _resume(self, handles: _Handles, old: str, new: str, session: Any, ttl: int) -> bool:
        """Release what an earlier try has left reserved, if it had ended the old one: its reply was lost, and the caller tries again."""
        with reading():
            tombstone = await handles.sessions.find_one(self._layout.tombstone(old, new), {STATE: 1})
        if tombstone is None:
            return False
        now = self._clock()
        with handles.write():
            result = await handles.sessions.update_one(
                self._layout.left(new, session, now), self._layout.to_release(now, ttl)
            )
        return bool(result.matched_count)

    async def touch(self, key: str, ttl: int) -> bool:
        check_key(key)
        handles, now = await self._open(), self._clock()
        condition = self._layout.at(key, self._layout.live(now))
        with handles.write():
            result = await handles.sessions.update_one(condition, self._layout.to_touch(now, ttl))
        return bool(result.matched_count)

    async def delete(self, *keys: str) -> Deleted:
        """Remove the live records under these keys, then look for tombstones by a second command, if there may be any.

        In this order no successor is overlooked: a record that was not there to be deleted has been moved already.
        """
        check_keys(keys)
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return Deleted(0, ())
        handles, now = await self._open(), self._clock()
        with handles.write(several=len(wanted) > 1):
            result = await handles.sessions.delete_many(
                {self._layout.id_field: {"$in": wanted}, **self._layout.standing(now)}
            )
        count = result.deleted_count
        if count == len(wanted) or self._layout.shared:
            return Deleted(count, ())
        try:
            return Deleted(count, await self._successors(handles, wanted))
        except StoreUnavailable as error:
            if not count:
                raise
            message = f"records were deleted, but the tombstones could not be read: {error}"
            raise_alone(StoreTimeout(message, driver_error=error.driver_error))

    async def _successors(self, handles: _Handles, keys: list[str]) -> tuple[str, ...]:
        """The successors of those keys that are tombstones, in the order of the keys."""
        id_field = self._layout.id_field
        with reading():
            found = handles.sessions.find(self._layout.tombstones(keys, self._clock()), {id_field: 1, SUCCESSOR: 1})
            successors = {self._layout.key_of(document): as_key(document.get(SUCCESSOR)) async for document in found}
        return tuple(filter(None, dict.fromkeys(map(successors.get, keys))))

    async def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        check_keys(tuple(keys))
        if not keys:
            return {}
        handles, now = await self._open(), self._clock()
        condition = {self._layout.id_field: {"$in": list(keys)}, **self._layout.unexpired(now)}
        seen: dict[str, Seen | Replaced] = {}
        with reading():
            async for document in handles.sessions.find(condition, self._layout.projection):
                key, found = self._layout.key_of(document), self._layout.seen(document, now)
                if key is not None and found is not None:
                    seen[key] = found
        return seen

    @staticmethod
    def mark(version: Version) -> bytes:
        return mark_of(version)

    async def watch(self, told: Told) -> Watch | None:  # async only
        """Be told of the keys that are looked at, by a change stream; see `sojourn.stores.base`. None where the key is not the ``_id``."""  # async only
        if self._layout.id_field != "_id":  # async only
            return None  # async only
        return ChangeStream((await self._open()).sessions, self.look, told)  # async only

    async def scan(self) -> AsyncIterator[tuple[str, Stored]]:
        handles, now = await self._open(), self._clock()
        # In the order of an index that no write moves a document in, each document is met once. A batch of MongoDB's own,
        # up to 16 MiB, would be old before a slow reader comes to its end, and the cursor closed.
        found = handles.sessions.find(self._layout.live(now), self._layout.projection)
        cursor = found.hint([("_id", 1)]).batch_size(_PAGE)
        with reading():
            try:
                async for document in cursor:
                    key, now = self._layout.key_of(document), self._clock()
                    stored = None if key is None else self._layout.found(key, document, now)
                    if isinstance(stored, Stored) and (stored.expires_in is None or stored.expires_in > 0):
                        assert key is not None
                        yield key, stored
            finally:
                await cursor.close()

    async def page(self, cursor: str = "", limit: int = _PAGE) -> Page:
        handles, now = await self._open(), self._clock()
        condition = self._layout.live(now)
        if cursor:
            condition["_id"] = {"$gt": id_in(cursor)}
        with reading():
            found = handles.sessions.find(condition, self._layout.projection).hint([("_id", 1)]).limit(limit)
            # sync only: documents = list(found)
            documents = [document async for document in found]  # async only
        items = []
        for document in documents:
            key = self._layout.key_of(document)
            stored = None if key is None else self._layout.found(key, document, now)
            if isinstance(stored, Stored):
                assert key is not None
                items.append((key, stored))
        return Page(items, cursor_of(documents[-1]["_id"]) if len(documents) == limit else None)

    async def facts(self) -> Facts:
        handles = await self._open()
        database = handles.sessions.database
        with reading():
            hello = await database.command("hello")
            facts: Facts = {"server": "MongoDB", "is_writable": bool(hello["isWritablePrimary"])}
            facts["now"] = int(hello["localTime"].timestamp() * 1000)
            facts["is_replicated"] = "setName" in hello
            concern = handles.sessions.write_concern.document
            facts |= {"write_concern": str(concern.get("w", "majority")), "journal": bool(concern.get("j", True))}
            with suppress(OperationFailure):
                facts["version"] = (await database.client.server_info())["version"]
            with suppress(OperationFailure):
                existing = await handles.sessions.index_information()
                facts |= {
                    f"index_on_{field}": has_index(existing, field, options)
                    for field, options in self._layout.indexes.items()
                }
        return facts

    async def count(self) -> int:
        handles = await self._open()
        with reading():
            return await handles.sessions.count_documents(self._layout.live(self._clock()))

    async def clear(self) -> int:
        handles = await self._open()
        return await self._remove(handles, handles.sessions, self._layout.standing(self._clock()))

    async def delete_expired(self) -> int:
        handles, now = await self._open(), self._clock()
        expired = self._layout.expired(now)
        await self._remove(handles, handles.sessions, {**expired, STATE: {"$exists": True}})
        await self._remove(handles, handles.locks, LOCKS.expired(now))
        return await self._remove(handles, handles.sessions, expired)

    async def has_expired(self, key: str) -> bool:
        check_key(key)
        handles, layout = await self._open(), self._layout
        with reading():
            return await handles.sessions.find_one(layout.at(key, layout.lapsed(self._clock()))) is not None

    async def by_owner(self, owner: str) -> list[str]:
        check_owner(owner)
        handles = await self._open()
        condition = {OWNER: owner, **self._layout.standing(self._clock())}
        with reading():
            found = handles.sessions.find(condition, {self._layout.id_field: 1})
            keys = [self._layout.key_of(document) async for document in found]
        return [key for key in keys if key is not None]

    async def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        handles, now = await self._open(), self._clock()
        condition = {**self._layout.unchanged(key, version, now), OWNER: {"$ne": owner}}
        with handles.write():
            result = await handles.sessions.update_one(condition, self._layout.to_own(owner))
        if result.matched_count:
            return True
        refusal: bool | Conflict | Missing = await self._refusal(handles, key, version, unchanged=False)
        return refusal

    async def lock(self, key: str, ttl: int) -> str | None:
        check_key(key)
        handles, token = await self._open(), secrets.token_hex(16)
        if handles.locks.name in self._unindexed:
            await self._create_indexes(handles.locks, LOCKS)
        now = self._clock()
        free, update = LOCKS.at(key, LOCKS.free(now, ttl)), LOCKS.to_insert(token, now, ttl, None)
        try:
            return token if await self._insert(handles, handles.locks, free, update) else None
        except BaseException as error:  # it may be taken, and nobody would know the token
            if not isinstance(error, StoreUnavailable | GeneratorExit):
                with suppress(StoreError):
                    await self.unlock(key, token)
            raise

    async def unlock(self, key: str, token: str) -> bool:
        check_key(key)
        check_token(token)
        handles, now = await self._open(), self._clock()
        with handles.write():
            result = await handles.locks.delete_one(LOCKS.unchanged(key, token, now))
        return bool(result.deleted_count)

    async def _open(self) -> _Handles:
        home = AsyncHome.here("AsyncMongoStore")
        handles = self._homes.get(home) or await self._enter(home)
        if handles.sessions.name in self._unindexed:
            await self._create_indexes(handles.sessions, self._layout)
        return handles

    async def _enter(self, home: AsyncHome) -> _Handles:
        """The client for a place that the store was not used in yet."""
        for other in [other for other in list(self._entering) if other.is_gone()]:
            self._entering.pop(other, None)
            await self._leave(other)
        with self._entering.setdefault(home, threading.Lock()):
            handles = self._homes.get(home)
            if handles is not None:
                return handles  # pragma: no cover - another thread has made it meanwhile
            handles = self._given or self._make()
            await handles.life.begin(home)
            self._homes[home] = handles
        return handles

    def _make(self) -> _Handles:
        assert self._make_client is not None
        with reading():
            client = self._make_client()
            return self._take(client, AsyncOwned(client))

    async def _leave(self, home: AsyncHome) -> None:
        """Close the client that the store made for a place, as far as that can be done from here."""
        handles = self._homes.pop(home, None)
        if handles is not None:
            await handles.life.close()

    def _take(self, client: object, life: AsyncGiven | AsyncOwned) -> _Handles:
        if not isinstance(client, AsyncMongoClient):
            raise _not_a_client(client)
        settings = self._settings
        try:
            database = client.get_default_database("test") if settings.database is None else client[settings.database]
            # A read that lags behind would let a session that has ended live on.
            sessions = database.get_collection(settings.collection, CODEC, ReadPreference.PRIMARY)
            locks = database.get_collection(settings.locks, CODEC, ReadPreference.PRIMARY)
        except PyMongoError as error:
            raise ConfigurationError(
                "database or collection", "a name that MongoDB does not allow", str(error)
            ) from error
        if not sessions.write_concern.acknowledged:
            raise ConfigurationError("client", "a write concern of w=0", "give one that acknowledges writes")
        try:
            reader = sessions.with_options(read_preference=self._read_preference)
        except TypeError:
            raise ConfigurationError(
                "read_preference", repr(self._read_preference), "give one of pymongo.ReadPreference"
            ) from None
        return _Handles(sessions, reader, locks, writing(resends=client.options.retry_writes), life)

    async def _create_indexes(self, collection: AsyncCollection[Any], layout: MongoLayout) -> None:
        with reading():
            try:
                existing = await collection.index_information()
                for field, options in layout.indexes.items():
                    if not is_indexed(existing, field, options):
                        await collection.create_index([(field, 1)], **options)
            except OperationFailure as error:  # pragma: no cover - the tests of indexes run it in the sync colour
                warn_of_index(collection.name, f"the server refuses to create it, with code {error.code}")
        self._unindexed -= {collection.name}

    async def _insert(
        self, handles: _Handles, collection: AsyncCollection[Any], free: Document, update: Document
    ) -> bool:
        """Make a document where there is none, or an expired one. False: its key is taken."""
        with handles.write():
            try:
                await collection.update_one(free, update, upsert=True)
            except DuplicateKeyError:
                return False
        return True

    async def _end(self, handles: _Handles, key: str, version: Version, tombstone: int, successor: str) -> bool:
        """End a session that is still this version. False: it is not."""
        now = self._clock()
        condition = self._layout.unchanged(key, version, now)
        with handles.write():
            if tombstone > 0 and not self._layout.shared:
                ended = await handles.sessions.update_one(
                    condition, self._layout.to_tombstone(now, tombstone, successor)
                )
                return bool(ended.matched_count)
            deleted = await handles.sessions.delete_one(condition)
            return bool(deleted.deleted_count)

    async def _refusal(
        self, handles: _Handles, key: str, version: Version, unchanged: Outcome | Literal[False] = CONFLICT
    ) -> Any:
        """Why a write found no session of this version; ``unchanged``, if there is one."""
        with reading():
            document = await handles.sessions.find_one(
                self._layout.at(key, self._layout.live(self._clock())), {SESSION: 1}
            )
        if document is None:
            return MISSING
        return unchanged if document.get(SESSION) == version else CONFLICT

    async def _remove(self, handles: _Handles, collection: AsyncCollection[Any], condition: Document) -> int:
        """Delete what meets a condition, some at a time, so that no command takes long."""
        removed = 0
        while True:
            with reading():
                found = collection.find(condition, {"_id": 1}).limit(_BATCH)
                ids = [document["_id"] async for document in found]
            if not ids:
                return removed
            with handles.write(several=True):
                result = await collection.delete_many({"_id": {"$in": ids}, **condition})
            removed += result.deleted_count


def _not_a_client(given: object) -> ConfigurationError:
    return ConfigurationError("client", type(given).__name__, "give pymongo's AsyncMongoClient")
