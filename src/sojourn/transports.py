"""The ways a session id travels: the cookie, a header, and, read-only, the URL's query or a form field.

The same rules hold for each: an id counts only if it is rightly signed, and an id the store does not know is never adopted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from .errors import ConfigurationError

__all__ = [
    "CookieTransport",
    "FormTransport",
    "HeaderTransport",
    "QueryTransport",
    "Transport",
    "check_transports",
]

_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)  # RFC 9110's token
_TAKEN: Final = frozenset({"authorization", "cookie", "set-cookie"})
_LARGEST_BODY: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CookieTransport:
    """The cookie, as the options ``name`` and ``cookie`` describe it. The default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderTransport:
    """A request header, for mobile apps and API clients; a new id goes out in the response header of the same name.

    Args:
        name: the header's name.
        bearer: read ``Authorization: Bearer <id>`` instead (RFC 6750, section 2.1). A new id goes out in ``name`` all the same,
            as there is no standard response header for it.

    Raises:
        ConfigurationError: no header can have this name, or it has another meaning.
    """

    name: str = "X-Session-Id"
    bearer: bool = False

    def __post_init__(self) -> None:
        given: object = self.name
        if not isinstance(given, str) or not _HEADER.fullmatch(given) or given.lower() in _TAKEN:
            raise ConfigurationError("transports", f"a header called {given!r}", 'give a name such as "X-Session-Id"')

    @property
    def read_from(self) -> str:
        """The request header that carries the id."""
        return "Authorization" if self.bearer else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryTransport:
    """A parameter in the URL's query, for what can send nothing else. Read-only, and off unless given.

    **Warning.** URLs end up in logs, histories, bookmarks and ``Referer`` headers, and anybody who has one has the session (OWASP
    Session Management, "Session ID Exchange Mechanisms"). The parameter is taken out of the query before the app sees it.
    """

    name: str = "sid"

    def __post_init__(self) -> None:
        _check_field(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormTransport:
    """A field of a posted form, urlencoded or multipart. Read-only, and off unless given.

    Only the body's first ``max_bytes`` are looked at, so the field should be the form's first; the app still gets the whole body.

    **Warning.** Anybody who gets hold of such a page has the session.
    """

    name: str = "sid"
    max_bytes: int = 16 * 1024

    def __post_init__(self) -> None:
        _check_field(self.name)
        given: object = self.max_bytes
        if not isinstance(given, int) or isinstance(given, bool) or not 0 < given <= _LARGEST_BODY:
            raise ConfigurationError(
                "transports", f"a form's max_bytes of {given!r}", f"give 1 to {_LARGEST_BODY} bytes"
            )


Transport: TypeAlias = CookieTransport | HeaderTransport | QueryTransport | FormTransport


def _check_field(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigurationError("transports", f"a field called {name!r}", 'give a name such as "sid"')


def check_transports(given: object) -> tuple[Transport, ...]:
    """The option ``transports``: a sequence of transports, none of them twice.

    Raises:
        ConfigurationError: it is something else.
    """
    listed = tuple(given) if isinstance(given, tuple | list) else (given,)
    for transport in listed:
        if not isinstance(transport, Transport):
            raise ConfigurationError(
                "transports",
                repr(transport),
                "give sojourn.transports.CookieTransport() or another, or several in order",
            )
    if not listed or len(set(listed)) < len(listed):
        raise ConfigurationError("transports", "none" if not listed else "one of them twice", "give each once")
    if sum(isinstance(transport, FormTransport) for transport in listed) > 1:
        raise ConfigurationError("transports", "two forms", "give one FormTransport")
    return listed
