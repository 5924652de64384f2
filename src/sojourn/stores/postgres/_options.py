"""What the PostgreSQL stores can be told, by argument or in a URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, get_args
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ...clock import Duration, duration_ms
from ...errors import ConfigurationError
from ._statements import Layout, Table

__all__ = ["Settings", "checked_conninfo", "parse_url"]

_CONNECT_TIMEOUT: Final = 5


class Settings(NamedTuple):
    """The arguments of a store, checked. Times are in seconds."""

    table: Table
    layout: Layout
    create_table: bool
    prepare: bool
    timeout: float
    prune_interval: float | None
    pool_size: int
    max_size: int

    @classmethod
    def checked(
        cls,
        *,
        schema: object,
        table: object,
        layout: object,
        create_table: object,
        prepare: object,
        timeout: Duration,
        prune_interval: Duration | None,
        pool_size: object,
        max_size: object,
    ) -> Settings:
        """Accept the arguments of a store.

        Raises:
            ConfigurationError: naming the one that is not what it should be.
        """
        return cls(
            Table.checked(schema, table),
            _layout(layout),
            _flag("create_table", create_table),
            _flag("prepare", prepare),
            _seconds("timeout", timeout),
            None if prune_interval is None else _seconds("prune_interval", prune_interval),
            _whole("pool_size", pool_size),
            _whole("max_size", max_size),
        )


def checked_conninfo(conninfo: str, settings: Settings) -> str:
    """A connection string or URL of libpq's, with our timeouts where it has none.

    Raises:
        ConfigurationError: libpq does not understand it.
    """
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # what libpq says may quote a password
        raise ConfigurationError("store", "a URL that libpq refuses", "give postgresql://user@host/database") from None
    given.setdefault("connect_timeout", _CONNECT_TIMEOUT)
    given.setdefault("fallback_application_name", "sojourn")
    if settings.prepare:  # a pooler of transactions refuses startup options
        # The server gives up before the client does, and so never carries out what the client has given up.
        limit = f"-c statement_timeout={max(1, round(settings.timeout * 900))}"
        given["options"] = f"{limit} {given.get('options', '')}".rstrip()
    return make_conninfo("", **given)


def parse_url(url: str) -> tuple[str, dict[str, Any]]:
    """The URL for libpq, and the arguments that the query gives to the store.

    Raises:
        ConfigurationError: another scheme, or an option that neither Sojourn nor libpq has.
    """
    scheme = url.partition("://")[0]
    if scheme not in {"postgresql", "postgres"}:
        raise ConfigurationError("store", "a URL of another form", "give postgresql://user@host/database")
    base, _, query = url.partition("?")
    ours: dict[str, Any] = {}
    theirs = []
    for item in filter(None, query.split("&")):
        name, _, value = item.partition("=")
        if name in _OPTIONS:
            ours[name] = _OPTIONS[name](name, unquote(value))
        elif name in _LIBPQ_OPTIONS:
            theirs.append(item)
        else:
            raise ConfigurationError(
                "store", f"option {name!r}", f"postgresql:// has the options {', '.join(_OPTIONS)}, and those of libpq"
            )
    return base + "?" * bool(theirs) + "&".join(theirs), ours


def _layout(given: object) -> Layout:
    if given not in get_args(Layout):
        raise ConfigurationError("layout", repr(given), f"give {' or '.join(map(repr, get_args(Layout)))}")
    return given  # type: ignore[return-value]


def _flag(option: str, given: object) -> bool:
    if not isinstance(given, bool):
        raise ConfigurationError(option, repr(given), "give True or False")
    return given


def _seconds(option: str, given: Duration) -> float:
    ms = duration_ms(option, given)
    if ms == 0:
        raise ConfigurationError(option, repr(given), "give a duration above zero")
    return ms / 1000


def _whole(option: str, given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ConfigurationError(option, repr(given), "give a whole number, at least 1")
    return given


def _text(_option: str, value: str) -> str:
    return value


def _boolean(option: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise ConfigurationError(option, repr(value), "give true or false")
    return value == "true"


def _number(option: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigurationError(option, repr(value), "give a number of seconds") from None


def _integer(option: str, value: str) -> int:
    return _whole(option, int(value) if value.isascii() and value.isdecimal() else value)


_OPTIONS: Final[dict[str, Callable[[str, str], Any]]] = {
    "schema": _text,
    "table": _text,
    "layout": _text,
    "create_table": _boolean,
    "prepare": _boolean,
    "timeout": _number,
    "prune_interval": _number,
    "pool_size": _integer,
    "max_size": _integer,
}
_LIBPQ_OPTIONS: Final = frozenset(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()) | {"ssl"}
