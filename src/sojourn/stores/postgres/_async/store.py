"""Sessions in PostgreSQL, in the table that connect-pg-simple uses too."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import chain
from time import monotonic
from typing import Any, ClassVar, Final

try:
    import psycopg
    import psycopg_pool
    from psycopg import errors
except ImportError as error:
    message = 'AsyncPostgresStore needs psycopg 3 and its pool: pip install "sojourn[postgres]"'
    raise ImportError(message, name=error.name) from error

from ....aio import deliver_cancellation, late, same_as  # async only
from ....clock import DAY_MS, Duration
from ....codecs import loads
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
    Version,
    check_size,
    longest_lock,
)
from ....errors import StoreError, StoreUnavailable
from ..._arguments import as_key, check_key, check_keys, check_optional_owner, check_owner, check_token
from .._options import Settings, parse_url
from .._repeating import AsyncRepeating
from .._statements import TOMBSTONE, Layout, Statements
from .._wire import Row, Statement
from .pool import AsyncConnections

__all__ = ["AsyncPostgresStore"]

_BATCH: Final = 1000
"""Rows that one statement deletes at most."""
_PAGE: Final = 100
"""Records that a scan fetches at once."""
_ATTEMPTS: Final = 5
"""How often the creation of a table is tried at most."""
_ARRAY: Final = (1).to_bytes(4, "big") + (0).to_bytes(4, "big") + (17).to_bytes(4, "big")
"""How an array of ``bytea`` begins in PostgreSQL's binary format; its length and first index follow."""
_CREATED_MEANWHILE: Final = (
    errors.UniqueViolation,
    errors.DuplicateTable,
    errors.DuplicateObject,
    errors.DuplicateColumn,
)


class AsyncPostgresStore:
    """Sessions in PostgreSQL 11 or newer, through psycopg 3. The version of a record is its data.

    Args:
        pool: the app's own `psycopg_pool.AsyncConnectionPool`, which is opened where it is used: not before a fork, and an
            async one on the event loop. Or a connection string or URL of libpq's.
        schema: where the table is; None for the connection's ``search_path``.
        table: its name.
        layout: ``"native"``, or ``"connect-pg-simple"`` to round expiry up to whole seconds as that store does.
        create_table: create what is missing of the tables at the first use.
        prepare: prepare statements on the server; False behind a pooler of transactions such as PgBouncer.
        timeout: how long an operation may wait for a connection, and how long for its reply. Seconds, or a `timedelta`.
        prune_interval: the time between two removals of what has expired, give or take half; None for never.
        pool_size: connections at most, of a pool that the store opens itself.
        max_size: bytes of one record beyond which it is refused.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    _delivers = True  # async only
    """Whether a cancellation that came during a write is delivered before its method returns."""  # async only
    default_ttl: ClassVar[int] = DAY_MS
    """How long connect-pg-simple keeps a session whose cookie has no expiry, in milliseconds."""

    def __init__(
        self,
        pool: psycopg_pool.AsyncConnectionPool[Any] | str,
        *,
        schema: str | None = None,
        table: str = "session",
        layout: Layout = "native",
        create_table: bool = False,
        prepare: bool = True,
        timeout: Duration = 5.0,
        prune_interval: Duration | None = 15 * 60,
        pool_size: int = 10,
        max_size: int = DEFAULT_MAX_SIZE,
    ) -> None:
        self._settings = Settings.checked(
            schema=schema,
            table=table,
            layout=layout,
            create_table=create_table,
            prepare=prepare,
            timeout=timeout,
            prune_interval=prune_interval,
            pool_size=pool_size,
            max_size=max_size,
        )
        self.layout = self._settings.layout
        self.max_size: int = self._settings.max_size
        self._connections = AsyncConnections(pool, self._settings)
        self._sql = Statements(self._settings.table, self._settings.layout, has_owner=False, has_successor=False)
        self._has_locks = False
        self._pruners: set[AsyncRepeating] = set()

    @classmethod
    def from_url(cls, url: str) -> AsyncPostgresStore:
        """A store as a URL describes it: ``postgresql://user@host/database?create_table=true&timeout=2``.

        The query takes libpq's own parameters, and of the arguments all but the pool. ``connect_timeout`` is 5 seconds,
        unless given.

        Raises:
            ConfigurationError: another form of URL, or an unknown option.
        """
        conninfo, options = parse_url(url)
        return cls(conninfo, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.table.quoted}, layout={self._settings.layout!r})"

    @property  # async only
    def unbroken(self) -> AsyncPostgresStore | None:  # async only
        """This store, for who has to hear of each write that was begun; see `sojourn.stores.base`. None where others may cut one short."""  # async only
        return same_as(self, _Unbroken) if self._connections.unbroken else None  # async only

    async def open(self) -> None:
        """Connect, look whether the table is there, and create it if ``create_table`` says so.

        Raises:
            StoreUnavailable: no connection, no table, or it cannot be created.
        """
        await self._statements()

    async def close(self) -> None:
        """Stop pruning, and close the connections if the store opened them. It may be opened again."""
        for pruner in tuple(self._pruners):
            self._pruners.discard(pruner)
            await pruner.stop()
        await self._connections.close()

    async def load(self, key: str) -> Stored | Replaced | None:
        check_key(key)
        sql = await self._statements()
        rows = await self._run(sql.load, key.encode())
        if not rows:
            return None
        data, left, successor, _ = rows[0]
        return Replaced(_key(successor)) if data == TOMBSTONE else Stored(data, data, _integer(left))

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        sql = await self._statements()
        rows = await self._run(sql.create, key.encode(), data, _int8(ttl), *sql.owner(owner))
        return data if rows else EXISTS

    async def replace(
        self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None
    ) -> Version | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        check_size(data, self.max_size)
        sql = await self._statements()
        rows = await self._run(sql.replace, key.encode(), data, _int8(ttl), _digest(version), *sql.owner(owner))
        if not rows:
            return MISSING
        return data if _boolean(rows[0][0]) else CONFLICT

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
        sql = await self._statements()
        old_record = old.encode(), data, _int8(ttl), _digest(version)
        if tombstone > 0:
            rows = await self._run(sql.tombstone, *old_record, new.encode(), _int8(tombstone), *sql.owner(owner))
        else:
            rows = await self._run(sql.move, *old_record, new.encode(), *sql.owner(owner))
        if not rows:
            return MISSING
        same, made = map(_boolean, rows[0][:2])
        return CONFLICT if not same else data if made else EXISTS

    async def touch(self, key: str, ttl: int) -> bool:
        check_key(key)
        sql = await self._statements()
        return bool(await self._run(sql.touch, key.encode(), _int8(ttl)))

    async def delete(self, *keys: str) -> Deleted:
        check_keys(keys)
        if not keys:
            return Deleted(0, ())
        sql = await self._statements()
        encoded = [key.encode() for key in keys]
        rows = await self._run(sql.delete, _array(encoded), keys=encoded)
        tombstones = {key: successor for record, successor, key in rows if not _boolean(record)}
        successors = dict.fromkeys(_key(tombstones.get(key)) for key in encoded)
        return Deleted(len(rows) - len(tombstones), tuple(filter(None, successors)))

    async def look(self, keys: Sequence[str]) -> dict[str, Seen | Replaced]:
        check_keys(tuple(keys))
        if not keys:
            return {}
        sql = await self._statements()
        encoded = [key.encode() for key in keys]
        rows = await self._run(sql.look, _array(encoded), keys=encoded)
        return {
            key.decode(): Replaced(_key(successor)) if digest is None else Seen(digest, _integer(left))
            for digest, left, successor, key in rows
        }

    @staticmethod
    def mark(version: Version) -> bytes:
        return _digest(version)

    async def scan(self) -> AsyncIterator[tuple[str, Stored]]:
        sql = await self._statements()
        last = b""
        while True:
            rows = await self._run(sql.scan, last, _int8(_PAGE))
            read_at = monotonic()
            for key, data, left in rows:
                expires_in = _integer(left) - int((monotonic() - read_at) * 1000)
                if expires_in > 0:  # the caller may have taken its time to ask for the next one
                    yield key.decode(), Stored(data, data, expires_in)
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    async def page(self, cursor: str = "", limit: int = _PAGE) -> Page:
        sql = await self._statements()
        rows = await self._run(sql.scan, cursor.encode(), _int8(limit))
        items = [(key.decode(), Stored(data, data, _integer(left))) for key, data, left in rows]
        return Page(items, items[-1][0] if len(items) == limit else None)

    async def facts(self) -> Facts:
        await self._statements()
        ((text,),) = await self._run(self._settings.table.facts())
        facts: Facts = loads(text)
        return {**facts, "pool_size": self._settings.pool_size}

    async def count(self) -> int:
        sql = await self._statements()
        ((count,),) = await self._run(sql.count)
        return _integer(count)

    async def clear(self) -> int:
        sql = await self._statements()
        deleted = 0
        last: bytes | None = b""
        while last is not None:
            ((count, last),) = await self._run(sql.clear, last, _int8(_BATCH))
            deleted += _integer(count)
        return deleted

    async def delete_expired(self) -> int:
        return await self._delete_expired(alone=False)

    async def has_expired(self, key: str) -> bool:
        check_key(key)
        sql = await self._statements()
        return bool(await self._run(sql.expired, key.encode()))

    async def by_owner(self, owner: str) -> list[str]:
        check_owner(owner)
        sql = await self._owning_statements()
        return [key.decode() for (key,) in await self._run(sql.by_owner, owner.encode())]

    async def set_owner(self, key: str, owner: str | None, *, version: Version) -> bool | Conflict | Missing:
        check_key(key)
        check_optional_owner(owner)
        sql = await self._owning_statements()
        rows = await self._run(sql.set_owner, key.encode(), _digest(version), *sql.owner(owner))
        if not rows:
            return MISSING
        same, changed = map(_boolean, rows[0][:2])
        return changed if same else CONFLICT

    async def lock(self, key: str, ttl: int) -> str | None:
        check_key(key)
        sql = await self._statements()
        token = secrets.token_hex(16)
        try:
            rows = await self._run(sql.lock, key.encode(), _int8(ttl), token.encode(), _int8(longest_lock(ttl)))
        except BaseException as error:  # it may be taken, and nobody would know the token
            if not isinstance(error, StoreUnavailable | GeneratorExit):
                with suppress(StoreError):
                    await self._run(sql.unlock, key.encode(), token.encode())
            raise
        return token if rows else None

    async def unlock(self, key: str, token: str) -> bool:
        check_key(key)
        check_token(token)
        sql = await self._statements()
        return bool(await self._run(sql.unlock, key.encode(), token.encode()))

    async def _statements(self) -> Statements:
        """The statements for the table as it is found when the store is opened."""
        if await self._connections.open(self._survey) and self._settings.prune_interval is not None:
            self._pruners.difference_update([pruner for pruner in tuple(self._pruners) if not pruner.is_running()])
            self._pruners.add(AsyncRepeating(self._prune, self._settings.prune_interval))
        return self._sql

    async def _owning_statements(self) -> Statements:
        sql = await self._statements()
        if not sql.has_owner:
            raise StoreUnavailable("the table has no column owner; give create_table=True to have it added")
        return sql

    async def _run(self, statement: Statement, *parameters: bytes | None, keys: Sequence[bytes] = ()) -> list[Row]:
        # sync only: return self._connections.run(statement, *parameters, keys=keys)
        try:  # async only
            return await self._connections.run(statement, *parameters, keys=keys)  # async only
        finally:  # async only
            if late and self._delivers:  # async only
                await deliver_cancellation()  # async only

    async def _survey(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Look which of the tables and columns are there, and create the rest if ``create_table`` says so."""
        table = self._settings.table
        names = table.quoted.encode(), table.locks.encode()
        attempts = _ATTEMPTS if self._settings.create_table else 0
        while True:
            (row,) = await self._connections.execute(connection, table.survey(), *names)
            has_table, self._has_locks, has_owner, has_successor = map(_boolean, row)
            if not attempts or all(map(_boolean, row)):
                break
            attempts -= 1
            try:
                await self._connections.execute(connection, table.creation())
            except StoreUnavailable as error:
                # Express creates its table without our lock, and may have come first.
                if not attempts or not isinstance(error.driver_error, _CREATED_MEANWHILE):
                    raise
        if not has_table:
            raise StoreUnavailable(f"there is no table {table.quoted}; give create_table=True to have it created")
        self._sql = Statements(table, self._settings.layout, has_owner=has_owner, has_successor=has_successor)

    async def _prune(self) -> None:
        await self._delete_expired(alone=True)

    async def _delete_expired(self, *, alone: bool) -> int:
        sql = await self._statements()
        deleted, rows = 0, _BATCH
        while rows == _BATCH:
            (row,) = await self._run(sql.prune, _int8(_BATCH), _int8(alone))
            rows, records = map(_integer, row)
            deleted += records
        rows = _BATCH if self._has_locks else 0
        while rows == _BATCH:
            ((count,),) = await self._run(sql.prune_locks, _int8(_BATCH))
            rows = _integer(count)
        return deleted


class _Unbroken(AsyncPostgresStore):  # async only
    """See `AsyncPostgresStore.unbroken`."""  # async only

    _delivers = False  # async only


def _digest(version: bytes) -> bytes:
    return hashlib.sha256(version).digest()


def _int8(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def _array(items: list[bytes]) -> bytes:
    """A ``bytea[]``."""
    return b"".join(
        (_ARRAY, _int4(len(items)), _int4(1), *chain.from_iterable((_int4(len(item)), item) for item in items))
    )


def _int4(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _key(value: bytes | None) -> str | None:
    return None if value is None else as_key(value.decode())


def _integer(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _boolean(value: bytes) -> bool:
    return value == b"\x01"
