"""The PostgreSQL store's table, and the statements on it.

The table is that of connect-pg-simple: ``sid varchar``, ``sess json``, ``expire timestamp(6)``; and ``owner text``
and ``successor text``, which its INSERT does not name. ``expire`` has no zone. It is written from an instant and
compared with one, and PostgreSQL converts both in the connection's TimeZone, as in connect-pg-simple's
``to_timestamp``.

A tombstone is a row whose ``sess`` is JSON's ``null``, which express-session takes for a session that is not there. Its
``successor`` is the key that the session moved to.

All parameters that are text travel as bytes of UTF-8, whatever the encodings of client and database.
"""

# ruff: noqa: S608 - names are quoted, and values are parameters

from __future__ import annotations

import zlib
from typing import Final, Literal, NamedTuple, TypeAlias

from ...errors import ConfigurationError
from ._wire import Statement

__all__ = ["TOMBSTONE", "Layout", "Statements", "Table"]

Layout: TypeAlias = Literal["native", "connect-pg-simple"]
"""``connect-pg-simple`` rounds the expiry up to whole seconds, as that store does."""

TOMBSTONE: Final = b"null"
"""The ``sess`` of a tombstone."""

_LONGEST_NAME: Final = 52  # PostgreSQL cuts names at 63 bytes; the longest made from the table's adds 11
_ADVISORY: Final = 0x534A524E
"""The first key of every advisory lock that Sojourn takes; the second stands for the table."""


class Table(NamedTuple):
    """Where the sessions are."""

    schema: str | None
    name: str

    @classmethod
    def checked(cls, schema: object, name: object) -> Table:
        for option, value in (("schema", schema), ("table", name)):
            if value is None and option == "schema":
                continue
            if not isinstance(value, str) or not value or "\0" in value or len(value.encode()) > _LONGEST_NAME:
                raise ConfigurationError(option, repr(value), f"give a name of 1 to {_LONGEST_NAME} bytes")
        return cls(schema, name)  # type: ignore[arg-type]

    @property
    def quoted(self) -> str:
        return self._qualified(self.name)

    @property
    def locks(self) -> str:
        """The table of the locks, quoted."""
        return self._qualified(self.name + "_lock")

    @property
    def advisory(self) -> str:
        """The arguments of an advisory lock for this table."""
        return f"{_ADVISORY}, {zlib.crc32(self.quoted.encode()) - 2**31}"

    def survey(self) -> Statement:
        """Whether there is the table, the table of the locks, and each column of ours; parameters: the quoted names."""
        here, locks = (f"to_regclass({_text(number)})" for number in (1, 2))
        columns = (
            f"EXISTS (SELECT FROM pg_attribute WHERE attrelid = {here} AND attname = '{name}' AND NOT attisdropped)"
            for name in ("owner", "successor")
        )
        return Statement.of(f"SELECT {here} IS NOT NULL, {locks} IS NOT NULL, {', '.join(columns)}", writes=False)

    def facts(self) -> Statement:
        """What the server says of itself and of the table, as JSON."""
        settings = "fsync", "full_page_writes", "synchronous_commit", "max_connections"
        here = "oid = to_regclass(" + _literal(self.quoted) + ")"
        facts = {
            "server": "'PostgreSQL'",
            "version": "current_setting('server_version')",
            "now": "(extract(epoch FROM clock_timestamp()) * 1000)::int8",
            **{name: f"current_setting('{name}')" for name in settings},
            "connections": "(SELECT count(*) FROM pg_stat_activity)",
            "is_replica": "pg_is_in_recovery()",
            "table_kind": f"(SELECT relpersistence FROM pg_class WHERE {here})",
            **{f"index_on_{name}": f"EXISTS ({self._index_on(name)})" for name in ("sid", "expire", "owner")},
        }
        pairs = ", ".join(f"'{name}', {value}" for name, value in facts.items())
        return Statement.of(f"SELECT convert_to(json_build_object({pairs})::text, 'UTF8')", writes=False)

    def _index_on(self, column: str) -> str:
        return (
            "SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]"
            f" WHERE indrelid = to_regclass({_literal(self.quoted)}) AND attname = '{column}' AND indisvalid"
        )

    def creation(self) -> Statement:
        """Make all that is missing, one process at a time."""
        index = _quoted(f"IDX_{self.name}_expire"), _quoted(f"IDX_{self.name}_owner")
        return Statement.script(
            f"SELECT pg_advisory_xact_lock({self.advisory})",
            f'CREATE TABLE IF NOT EXISTS {self.quoted} (sid varchar NOT NULL COLLATE "default" PRIMARY KEY,'
            " sess json NOT NULL, expire timestamp(6) NOT NULL)",
            # All at once what the rest needs: whoever took it step by step could end in a deadlock with those who write already.
            f"LOCK TABLE {self.quoted} IN ACCESS EXCLUSIVE MODE",
            f"CREATE INDEX IF NOT EXISTS {index[0]} ON {self.quoted} (expire)",
            f"ALTER TABLE {self.quoted} ADD COLUMN IF NOT EXISTS owner text",
            f"ALTER TABLE {self.quoted} ADD COLUMN IF NOT EXISTS successor text",
            f"CREATE INDEX IF NOT EXISTS {index[1]} ON {self.quoted} (owner) WHERE owner IS NOT NULL",
            f"CREATE TABLE IF NOT EXISTS {self.locks}"
            " (key varchar PRIMARY KEY, token text NOT NULL, expire timestamptz NOT NULL)",
        )

    def _qualified(self, name: str) -> str:
        return _quoted(name) if self.schema is None else f"{_quoted(self.schema)}.{_quoted(name)}"


class Statements:
    """The statements of a store, and in their comments the parameters."""

    def __init__(self, table: Table, layout: Layout, *, has_owner: bool, has_successor: bool) -> None:
        self.has_owner = has_owner
        t, locks, now = table.quoted, table.locks, "clock_timestamp()"
        # clock_timestamp() is read again after waiting for a row; now() can be used with an index.
        live = f"expire > {now} AND sess::text <> 'null'"
        digest = "sha256(convert_to(sess::text, 'UTF8'))"
        # At most four centuries: what is further away, infinity above all, is past what the types between hold.
        end = f"least(expire, ({now} + interval '400 years')::timestamp)::timestamptz"
        left = f"greatest(1, ceil(extract(epoch FROM {end} - {now}) * 1000))::int8"
        # Where somebody has allowed NULL, it is no record.
        record = f"convert_to(coalesce(sess::text, ''), 'UTF8'), {left}"
        successor = "convert_to(successor, 'UTF8')" if has_successor else "NULL::bytea"
        key, lock_key = "convert_to(sid, 'UTF8')", "convert_to(key, 'UTF8')"

        def after(number: int) -> str:
            if layout == "native":
                return f"{now} + ${number}::int8 * interval '1 millisecond'"
            return f"to_timestamp(ceil(extract(epoch FROM {now}) + ${number}::int8 / 1000.0))"

        def owner(number: int) -> str:
            return f", {_text(number)}" if has_owner else ""

        def owner_is(value: str) -> str:
            return f", owner = {value}" if has_owner else ""

        def successor_is(value: str) -> str:
            return f", successor = {value}" if has_successor else ""

        columns = "sid, sess, expire" + (", owner" if has_owner else "")
        overwrite = (
            "ON CONFLICT (sid) DO UPDATE SET sess = excluded.sess, expire = excluded.expire"
            + owner_is("excluded.owner")
            + successor_is("NULL")
            + f" WHERE kept.expire <= {now}"
        )

        def locked(number: int) -> str:
            # The row is locked, and read as it is then: the result is right even if another call came first.
            return (
                f"found AS MATERIALIZED (SELECT {digest} = ${number}::bytea AS same, {key} AS key FROM {t}"
                f" WHERE sid = {_key(1)} AND {live} FOR UPDATE)"
            )

        found = locked(4)

        # Where a key is given, each row ends with the key that it is about: a reply to somebody else is known by it.
        # key -> data, ms left, successor, key
        self.load = Statement.of(
            f"SELECT {record}, {successor}, {key} FROM {t} WHERE sid = {_key(1)} AND expire > {now}",
            writes=False,
            keyed=True,
        )
        # key -> the key if it is a record whose time is up
        self.expired = Statement.of(
            f"SELECT {key} FROM {t} WHERE sid = {_key(1)} AND expire <= {now} AND sess::text <> 'null'",
            writes=False,
            keyed=True,
        )
        # key, data, ttl[, owner] -> the key if it was free
        self.create = Statement.of(
            f"INSERT INTO {t} AS kept ({columns}) VALUES ({_text(1)}, {_text(2)}::json, {after(3)}{owner(4)})"
            f" {overwrite} RETURNING {key}",
            keyed=True,
        )
        # key, data, ttl, digest[, owner] -> whether the version is the same, key
        self.replace = Statement.of(
            f"WITH {found}, done AS (UPDATE {t} SET sess = {_text(2)}::json, expire = {after(3)}{owner_is(_text(5))}"
            f" FROM found WHERE same AND sid = {_key(1)}) SELECT same, key FROM found",
            keyed=True,
        )

        def moved(number: int) -> str:
            return (
                f"WITH {found}, made AS (INSERT INTO {t} AS kept ({columns})"
                f" SELECT {_text(5)}, {_text(2)}::json, {after(3)}{owner(number)} FROM found"
                f" WHERE same AND $5::bytea <> $1::bytea {overwrite} RETURNING true),"
            )

        outcome = "SELECT same, EXISTS (SELECT FROM made), key FROM found"
        # old key, data, ttl, digest, new key, tombstone[, owner]
        # -> whether the version is the same, and the new key free, old key
        self.tombstone = Statement.of(
            f"{moved(7)} tombstone AS (UPDATE {t} SET sess = 'null', expire = {after(6)}{owner_is('NULL')}"
            f"{successor_is(_text(5))} FROM made WHERE sid = {_key(1)}) {outcome}",
            keyed=True,
        )
        # old key, data, ttl, digest, new key[, owner] -> likewise
        self.move = Statement.of(
            f"{moved(6)} gone AS (DELETE FROM {t} USING made WHERE sid = {_key(1)}) {outcome}", keyed=True
        )
        # key, ttl -> the key if it is live
        self.touch = Statement.of(
            f"UPDATE {t} SET expire = {after(2)} WHERE sid = {_key(1)} AND {live} RETURNING {key}", keyed=True
        )
        keys = """ARRAY(SELECT convert_from(key, 'UTF8') COLLATE "default" FROM unnest($1::bytea[]) AS key)"""
        # The rows are locked, and read as they are then: a row that became a tombstone meanwhile is seen as one.
        # keys -> whether it was live, successor, key, for each that is live or a tombstone
        self.delete = Statement.of(
            f"WITH found AS MATERIALIZED (SELECT sid, sess::text <> 'null' AS record, {successor} AS successor FROM {t}"
            f" WHERE sid = ANY ({keys}) AND expire > {now} ORDER BY sid FOR UPDATE),"
            f" gone AS (DELETE FROM {t} AS kept USING found WHERE record AND kept.sid = found.sid)"
            f" SELECT record, successor, {key} FROM found",
            keyed=True,
        )

        # keys -> digest, NULL for a tombstone; ms left, successor, key, for each that is live or a tombstone
        self.look = Statement.of(
            "SELECT CASE WHEN sess::text = 'null' THEN NULL ELSE"
            f" sha256(convert_to(coalesce(sess::text, ''), 'UTF8')) END, {left}, {successor}, {key} FROM {t}"
            f" WHERE sid = ANY ({keys}) AND expire > {now}",
            writes=False,
            keyed=True,
        )

        # the last key seen, a limit -> keys and records in order
        self.scan = Statement.of(
            f"SELECT {key}, {record} FROM {t} WHERE sid > {_key(1)} AND {live} ORDER BY sid LIMIT $2::int8",
            writes=False,
        )
        # -> how many
        self.count = Statement.of(f"SELECT count(*) FROM {t} WHERE {live}", writes=False)
        # the last key seen, a limit -> how many were deleted, and the last key
        self.clear = Statement.of(
            f"WITH page AS MATERIALIZED (SELECT sid FROM {t} WHERE sid > {_key(1)} AND {live} ORDER BY sid LIMIT $2::int8),"
            f" gone AS (DELETE FROM {t} AS kept USING page WHERE kept.sid = page.sid AND {live} RETURNING true)"
            " SELECT (SELECT count(*) FROM gone), (SELECT convert_to(max(sid), 'UTF8') FROM page)"
        )
        # a limit, and 1 to do it only if no other does -> how many rows were deleted, and how many of them were records
        alone = f"CASE $2::int8 WHEN 1 THEN pg_try_advisory_xact_lock({table.advisory}) ELSE true END"
        self.prune = Statement.of(
            f"WITH due AS MATERIALIZED (SELECT sid FROM {t} WHERE (SELECT {alone}) AND expire <= now()"
            " ORDER BY expire LIMIT $1::int8 FOR UPDATE SKIP LOCKED),"
            f" gone AS (DELETE FROM {t} AS kept USING due WHERE kept.sid = due.sid RETURNING sess::text <> 'null' AS record)"
            " SELECT count(*), count(*) FILTER (WHERE record) FROM gone"
        )
        # owner -> keys
        self.by_owner = Statement.of(
            f"SELECT {key} FROM {t} WHERE owner = {_key(1)} AND expire > {now}",
            writes=False,
        )
        # key, digest, owner -> whether the version is the same, and the owner was another, key
        self.set_owner = Statement.of(
            f"WITH {locked(2)}, done AS (UPDATE {t} SET owner = {_text(3)} FROM found"
            f" WHERE same AND sid = {_key(1)} AND owner IS DISTINCT FROM {_text(3)} RETURNING true)"
            " SELECT same, EXISTS (SELECT FROM done), key FROM found",
            keyed=True,
        )

        # key, ttl, token, the longest that one may have left -> the key if it was free
        self.lock = Statement.of(
            f"INSERT INTO {locks} AS kept (key, expire, token)"
            f" VALUES ({_text(1)}, {now} + $2::int8 * interval '1 millisecond', {_text(3)})"
            " ON CONFLICT (key) DO UPDATE SET token = excluded.token, expire = excluded.expire"
            f" WHERE kept.expire <= {now} OR kept.expire > {now} + $4::int8 * interval '1 millisecond'"
            f" RETURNING {lock_key}",
            keyed=True,
        )
        # key, token -> the key if it was held
        self.unlock = Statement.of(
            f"DELETE FROM {locks} WHERE key = {_key(1)} AND token = {_key(2)} AND expire > {now} RETURNING {lock_key}",
            keyed=True,
        )
        # a limit -> how many were deleted
        self.prune_locks = Statement.of(
            f"WITH due AS MATERIALIZED (SELECT key FROM {locks} WHERE expire <= now() LIMIT $1::int8 FOR UPDATE SKIP LOCKED),"
            f" gone AS (DELETE FROM {locks} AS kept USING due WHERE kept.key = due.key RETURNING true)"
            " SELECT count(*) FROM gone"
        )

    def owner(self, owner: str | None) -> tuple[bytes | None, ...]:
        """The last parameter of the statements that set an owner, if there is a column for it."""
        if not self.has_owner:
            return ()
        return (None if owner is None else owner.encode(),)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _key(number: int) -> str:
    # By the column's own collation, "default": convert_from's result has "C", from the name of the encoding, and to compare
    # by that would pass over the index and read the whole table.
    return f'{_text(number)} COLLATE "default"'


def _text(number: int) -> str:
    return f"convert_from(${number}::bytea, 'UTF8')"
