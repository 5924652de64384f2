"""Stores from URLs: our options are taken out of the query, PyMongo's own pass through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri, split_options

from ...errors import ConfigurationError
from .._url import Converter, boolean, integer, text
from ._layout import layout_of

__all__ = ["connect", "parse_url"]

Client = TypeVar("Client")

_SCHEMES: Final = ("mongodb", "mongodb+srv")
_TIMEOUT_MS: Final = 5000
_TIMEOUTS: Final = ("connectTimeoutMS", "serverSelectionTimeoutMS", "waitQueueTimeoutMS", "socketTimeoutMS")


_OF_STORE: Final[dict[str, Converter]] = {
    "collection": text,
    "create_index": boolean,
    "layout": text,
    "max_size": integer,
}
_OF_LAYOUT: Final[dict[str, Converter]] = {
    "expires_key": text,
    "id_field": text,
    "last_modified": boolean,
    "timestamps": boolean,
}


def parse_url(url: str) -> tuple[str, dict[str, Any]]:
    """The URL for PyMongo, and the arguments that the query gives to the store.

    Raises:
        ConfigurationError: another scheme, an option that neither of them has, or one with an invalid value. The
            message shows neither host nor password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError("store", f"a URL of scheme {parts.scheme!r}", "give mongodb:// or mongodb+srv://")
    given: dict[str, str] = {}
    passed: list[str] = []
    for option in filter(None, parts.query.split("&")):
        name, _, value = option.partition("=")
        if name in _OF_STORE or name in _OF_LAYOUT:
            given[name] = unquote_plus(value)
        else:
            _check_option(name, option)
            passed.append(option)
    rest = urlunsplit(parts._replace(query="&".join(passed)))
    _check_url(rest)
    options = {name: _OF_STORE[name](name, value) for name, value in given.items() if name in _OF_STORE}
    layout = {name: _OF_LAYOUT[name](name, value) for name, value in given.items() if name in _OF_LAYOUT}
    options["layout"] = replace(layout_of(options.get("layout", "native")), **layout)
    return rest, options


def connect(make_client: Callable[..., Client], url: str) -> Client:
    """A client that never sends a write twice. Its timeouts are 5 s where the URL sets no others.

    Its ``retryWrites`` is off even where the URL, as copied from a provider's page, has it on.
    """
    named = {option.partition("=")[0].lower() for option in urlsplit(url).query.split("&")}
    bounded = "timeoutms" in named
    timeouts = {name: _TIMEOUT_MS for name in _TIMEOUTS if name.lower() not in named and not bounded}
    return make_client(url, retryWrites=False, **timeouts)


def _check_option(name: str, option: str) -> None:
    try:
        split_options(option, validate=True, warn=False)
    except (PyMongoError, ValueError, TypeError, OSError):
        ours = ", ".join((*_OF_STORE, *_OF_LAYOUT))
        raise ConfigurationError(
            "store", f"option {name!r}", f"PyMongo refuses it or its value; the store's own are {ours}"
        ) from None


def _check_url(url: str) -> None:
    if url.startswith("mongodb+srv:"):
        return  # checking it would ask the DNS
    try:
        parse_uri(url)
    except (PyMongoError, ValueError):
        raise ConfigurationError(
            "store", "a URL that PyMongo refuses", "give mongodb://user:password@host/database, percent-encoded"
        ) from None
