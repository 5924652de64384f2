"""Where other session libraries keep their records: Redis, MongoDB, whatever SQLAlchemy speaks to, and files. They are only read.

Each of these is as much of a store as a migration needs of its source. A key is the library's name, a colon and the session's id: as
`sojourn.transports.OldCookieTransport` names the session that comes by the library's cookie.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from zoneinfo import ZoneInfo

import msgspec

from ..clock import Clock, from_ms, system_clock
from ..core.store import Stored
from ..errors import ConfigurationError, StoreUnavailable
from ..stores._raising import raise_alone
from ..wire.old_cookies import old_name
from .library_records import LIBRARIES, Library

__all__ = ["LibraryStore", "is_signed", "library_in", "library_store"]

_FILE: Final = re.compile(r"[0-9a-f]{64}")  # others are still being written
_PAGE: Final = 256  # rows that are fetched at once
_REDIS: Final = ("redis", "rediss", "unix")  # as they begin; after a "+" is the kind of server
_WHERE: Final = {
    "django": "Redis, and whatever SQLAlchemy speaks to",
    "litestar": "Redis, or from a folder: file:///path",
}
"""Where a library's sessions are read from, where that is more than Redis."""
_MONGO: Final = ("mongodb",)
_SQL_URLS: Final = {
    "flask-session": "give the application's SQLALCHEMY_DATABASE_URI",
    "django": "give a URL of SQLAlchemy for the database in DATABASES, such as postgresql+psycopg://user@host/name",
}
_ALL_ZONES: Final = timedelta(days=2)
"""More than any two time zones are apart."""
_MILLISECOND: Final = timedelta(milliseconds=1)


class LibraryStore(Protocol):
    """What a source needs."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def scan(self) -> Iterator[tuple[str, Stored]]: ...
    def count(self) -> int: ...


def library_in(url: object) -> Library | None:
    """The library whose layout a URL names; None if none."""
    try:
        query = urlsplit(url).query if isinstance(url, str) else ""
    except ValueError:  # a malformed one names none
        return None
    return LIBRARIES.get(dict(parse_qsl(query)).get("layout", ""))


def is_signed(library: Library, url: str) -> bool:
    """Whether the library signs what it keeps there."""
    return library.name == "django" and _server(url) not in _REDIS


def _server(url: str) -> str:
    return urlsplit(url).scheme.partition("+")[0]


def library_store(library: Library, url: str) -> LibraryStore:
    """Where the URL says that the library keeps its records.

    Raises:
        ConfigurationError: the library does not, or the URL is not right.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    del options["layout"]
    server = _server(url)
    prefix = options.pop("prefix", library.prefix)

    def rest(**more: str) -> str:
        query = urlencode({**options, **more}, quote_via=quote)
        return url.partition("?")[0] + (query and f"?{query}")

    if server in _REDIS:
        return _Redis(library, rest(layout="connect-redis", prefix=prefix))
    if library.name == "litestar" and server == "file":
        return _Files(library, Path(unquote(parts.path)))
    if library.name not in ("flask-session", "django") or (library.name == "django" and server in _MONGO):
        where = _WHERE.get(library.name, "Redis")
        raise ConfigurationError("source", f"a URL of scheme {parts.scheme!r}", f"{library.name} is read from {where}")
    if server in _MONGO:
        return _Mongo(library, prefix, rest())
    schema = options.pop("schema", None)
    if library.name == "flask-session":
        table = options.pop("table", "sessions")
        return _FlaskSQL(library, prefix, rest(), table, schema)
    if prefix != library.prefix:
        raise ConfigurationError("source", "a prefix for Django's table", "leave it out: it is of the keys in a cache")
    table, zone = options.pop("table", "django_session"), _zone(options.pop("timezone", None))
    return _DjangoSQL(library, "", rest(), table, schema, zone=zone)


def _zone(name: str | None) -> tzinfo:
    try:
        return UTC if name is None else ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ConfigurationError("source", f"the time zone {name!r}", "give the TIME_ZONE of the settings") from None


class _Redis:
    """A key for each session, as connect-redis has it."""

    def __init__(self, library: Library, url: str) -> None:
        from ..stores import RedisStore  # noqa: PLC0415 - it needs a driver

        self._library = library
        self._store = RedisStore.from_url(url)

    def __repr__(self) -> str:
        return f"<{self._library.name} {self._store.prefix!r}>"

    def open(self) -> None:
        self._store.open()

    def close(self) -> None:
        self._store.close()

    def scan(self) -> Iterator[tuple[str, Stored]]:
        for session_id, stored in self._store.scan():
            is_beside = self._library.beside is not None and session_id.startswith(self._library.beside)
            if not is_beside and stored.data != self._library.ended:
                yield old_name(self._library.name, session_id), stored

    def count(self) -> int:
        return self._store.count()


class _Table:
    """What those share that keep a date beside the record, and remove no record by themselves at once."""

    def __init__(self, library: Library, prefix: str, clock: Clock = system_clock) -> None:
        self._library = library
        self._prefix = prefix
        self._clock = clock

    def __repr__(self) -> str:
        return f"<{self._library.name} {self._prefix!r}>"

    def _now(self) -> datetime:
        """As the library writes it."""
        return from_ms(self._clock()).replace(tzinfo=None)

    def _found(self, name: object, data: object, expiry: datetime) -> Iterator[tuple[str, Stored]]:
        """A session, unless it is another application's, or has expired on the way."""
        left = (expiry.replace(tzinfo=None) - self._now()) // _MILLISECOND
        stored = data.encode() if isinstance(data, str) else data
        if isinstance(name, str) and name.startswith(self._prefix) and isinstance(stored, bytes) and left > 0:
            yield old_name(self._library.name, name.removeprefix(self._prefix)), Stored(stored, stored, left)


class _Mongo(_Table):
    """A document for each session: ``id``, ``val``, ``expiration``."""

    def __init__(self, library: Library, prefix: str, url: str) -> None:
        from pymongo import MongoClient  # noqa: PLC0415 - a driver

        from ..stores.mongo import _url  # noqa: PLC0415 - it needs the driver
        from ..stores.mongo._errors import reading  # noqa: PLC0415 - likewise

        super().__init__(library, prefix)
        rest, options = _url.parse_url(url)
        self._connect: Callable[[], Any] = partial(_url.connect, MongoClient, rest)
        self._collection: str = options.get("collection", "sessions")
        self._client: Any = None
        self._reading = reading

    def open(self) -> None:
        with self._reading():
            self._client = self._connect()
            self._client.admin.command("ping")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    @property
    def _sessions(self) -> Any:
        return self._client.get_default_database("flask_session")[self._collection]

    def _live(self) -> dict[str, Any]:
        return {"expiration": {"$gt": self._now().replace(tzinfo=UTC)}}

    def scan(self) -> Iterator[tuple[str, Stored]]:
        with self._reading():
            for document in self._sessions.find(self._live()).hint([("_id", 1)]).batch_size(_PAGE):
                yield from self._found(document.get("id"), document.get("val", b""), document["expiration"])

    def count(self) -> int:
        with self._reading():
            return int(self._sessions.count_documents(self._live()))


class _Record(msgspec.Struct):
    """A file of Litestar's."""

    expires_at: datetime | None
    data: bytes


class _Files:
    """A file for each session, whose name is the BLAKE2s of its id."""

    def __init__(self, library: Library, folder: Path) -> None:
        self._library = library
        self._folder = folder

    def __repr__(self) -> str:
        return f"<{self._library.name} in files>"

    def open(self) -> None:
        self._names()

    def close(self) -> None:
        """Nothing is open."""

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self._folder.iterdir() if _FILE.fullmatch(path.name))
        except OSError as error:
            raise_alone(StoreUnavailable("the folder cannot be read", driver_error=error))

    def scan(self) -> Iterator[tuple[str, Stored]]:
        for name in self._names():
            try:
                record = msgspec.msgpack.decode((self._folder / name).read_bytes(), type=_Record)
            except FileNotFoundError:  # it has ended meanwhile
                continue
            except (OSError, msgspec.MsgspecError):  # whoever copies it tells that it cannot be read
                record = _Record(None, b"")
            left = None if record.expires_at is None else (record.expires_at - datetime.now(UTC)) // _MILLISECOND
            if record.data != self._library.ended and (left is None or left > 0):
                yield f"{self._library.name}:{name}", Stored(record.data, record.data, left)

    def count(self) -> int:
        return len(self._names())


class _SQL(_Table, ABC):
    """A row for each session."""

    key: ClassVar[str]
    """The column of the primary key."""
    expiry: ClassVar[str]
    """The column that says when a session ends."""

    def __init__(self, library: Library, prefix: str, url: str, table: str, schema: str | None) -> None:
        try:
            import sqlalchemy  # noqa: PLC0415 - few migrations need it
        except ImportError as error:
            raise ImportError(f"{library.name}'s tables are read by SQLAlchemy: pip install sqlalchemy") from error
        super().__init__(library, prefix)
        self._sql = sqlalchemy
        try:
            address = sqlalchemy.make_url(url)
            self._engine = sqlalchemy.create_engine(address)
        except sqlalchemy.exc.ArgumentError:
            remedy = f"{_SQL_URLS[library.name]}, with ?layout={library.name}"
            raise ConfigurationError("source", "a URL that SQLAlchemy refuses", remedy) from None
        except ModuleNotFoundError as error:
            remedy = "install that, or name another in the URL, as in postgresql+psycopg://"
            raise ConfigurationError("source", f"a URL for the driver {error.name}", remedy) from None
        self._is_sqlite = address.get_backend_name() == "sqlite"
        if self._is_sqlite:
            self.path = address.database or ""
        self._table = sqlalchemy.table(table, *self._columns(), schema=schema)

    @abstractmethod
    def _columns(self) -> list[Any]:
        """Those that are read, the key among them."""

    @abstractmethod
    def _now_there(self) -> Any:
        """What the table's dates are compared with."""

    @abstractmethod
    def _session(self, row: Any) -> Iterator[tuple[str, Stored]]:
        """The session in a row, unless there is none."""

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except self._sql.exc.SQLAlchemyError as error:
            raise_alone(StoreUnavailable(f"the table {self._table.name!r} cannot be read", driver_error=error))

    def open(self) -> None:
        self.count()

    def close(self) -> None:
        self._engine.dispose()

    def scan(self) -> Iterator[tuple[str, Stored]]:
        key, last = self._table.c[self.key], None
        while True:
            live = [self._table.c[self.expiry] > self._now_there(), *([] if last is None else [key > last])]
            page = self._sql.select(self._table).where(*live).order_by(key).limit(_PAGE)
            with self._reading() as connection:  # for each page: a reader who takes hours holds no transaction open
                rows = connection.execute(page).all()
            if not rows:
                return
            for row in rows:
                yield from self._session(row)
            last = getattr(rows[-1], self.key)

    def count(self) -> int:
        live = self._sql.select(self._sql.func.count()).select_from(self._table)
        with self._reading() as connection:
            return int(connection.execute(live.where(self._table.c[self.expiry] > self._now_there())).scalar_one())


class _FlaskSQL(_SQL):
    """Flask-Session's: ``id``, ``session_id``, ``data``, ``expiry``."""

    key, expiry = "id", "expiry"

    def _columns(self) -> list[Any]:
        columns: list[Any] = [self._sql.column(name) for name in ("id", "session_id")]
        columns.append(self._sql.column("data", self._sql.LargeBinary()))
        columns.append(self._sql.column("expiry", self._sql.DateTime()))
        return columns

    def _now_there(self) -> Any:
        return self._now()

    def _session(self, row: Any) -> Iterator[tuple[str, Stored]]:
        yield from self._found(row.session_id, row.data, row.expiry)


class _DjangoSQL(_SQL):
    """Django's: ``session_key``, ``session_data``, ``expire_date``.

    The date is in UTC where ``USE_TZ`` is set and in the time zone of the settings where not; some databases keep the zone with it, in SQLite it
    is text. So the database only leaves out what is past in every zone.
    """

    key, expiry = "session_key", "expire_date"

    def __init__(self, *of_table: Any, zone: tzinfo) -> None:
        self._zone = zone
        super().__init__(*of_table)

    def _columns(self) -> list[Any]:
        columns: list[Any] = [self._sql.column(name) for name in ("session_key", "expire_date")]
        columns.append(self._sql.column("session_data", self._sql.Text()))
        return columns

    def _now_there(self) -> Any:
        kind = self._sql.String() if self._is_sqlite else self._sql.DateTime()
        since = self._now() - _ALL_ZONES
        return self._sql.literal(str(since) if self._is_sqlite else since, kind)

    def _session(self, row: Any) -> Iterator[tuple[str, Stored]]:
        """A session; one that cannot be read is left for the codec to say so."""
        expiry, data = row.expire_date, row.session_data
        try:
            expiry = datetime.fromisoformat(expiry) if isinstance(expiry, str) else expiry
            expiry = expiry if expiry.tzinfo else expiry.replace(tzinfo=self._zone)
        except (AttributeError, ValueError):
            yield f"{self._library.name}:{row.session_key}", Stored(b"", b"", None)
        else:
            yield from self._found(row.session_key, data or b"", expiry.astimezone(UTC))
