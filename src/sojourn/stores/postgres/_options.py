"""The options of the PostgreSQL stores, as arguments or in a URL."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, get_args
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ...clock import Duration
from ...errors import ConfigurationError
from .._url import (
    Converter,
    boolean,
    check_flag,
    check_positive,
    check_seconds,
    is_number,
    positive,
    seconds,
    text,
)
from ._statements import Layout, Table

__all__ = ["Settings", "checked_conninfo", "parse_url"]

_CONNECT_TIMEOUT: Final = 5
_KEEPALIVE: Final = {"keepalives_idle": 60, "keepalives_interval": 15, "keepalives_count": 4}
"""Seconds, seconds and a number: what is between may forget a connection that is silent for longer (Azure after 240 s, AWS after 350 s)."""


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
            ConfigurationError: one is not valid; the error names it.
        """
        return cls(
            Table.checked(schema, table),
            _layout(layout),
            check_flag("create_table", create_table),
            check_flag("prepare", prepare),
            check_seconds("timeout", timeout),
            None if prune_interval is None else check_seconds("prune_interval", prune_interval),
            check_positive("pool_size", pool_size),
            check_positive("max_size", max_size),
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
    port = str(given.get("port") or "")  # with several hosts one for each, or one for all
    if not all(not one or is_number(one) for one in port.split(",")):
        raise ConfigurationError("store", "a URL whose port is no number", "give postgresql://user@host:5432/database")
    given.setdefault("connect_timeout", _CONNECT_TIMEOUT)
    given.setdefault("fallback_application_name", "sojourn")
    for name, value in _KEEPALIVE.items():
        given.setdefault(name, value)
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


_OPTIONS: Final[dict[str, Converter]] = {
    "schema": text,
    "table": text,
    "layout": text,
    "create_table": boolean,
    "prepare": boolean,
    "timeout": seconds,
    "prune_interval": seconds,
    "pool_size": positive,
    "max_size": positive,
}
_LIBPQ_OPTIONS: Final = frozenset(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()) | {"ssl"}
