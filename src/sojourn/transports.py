"""The ways a session id travels: the cookie, a header, and, read-only, the URL's query, a form field, or another library's cookie.

The same rules hold for each: an id counts only if it is rightly signed, and an id the store does not know is never adopted. The cookie of
another library may be without a signature: its session gets another id as soon as it comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args

from .errors import ConfigurationError
from .wire.tokens import is_token

__all__ = [
    "CookieTransport",
    "FormTransport",
    "HeaderTransport",
    "OldCookieTransport",
    "QueryTransport",
    "Transport",
    "check_transports",
]

_TAKEN: Final = frozenset({"authorization", "cookie", "set-cookie"})
_LARGEST_BODY: Final = 1024 * 1024
_Library: TypeAlias = Literal["flask-session", "starsessions", "aiohttp-session", "litestar", "django"]


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
        if not isinstance(given, str) or not is_token(given) or given.lower() in _TAKEN:
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
    It needs the python-multipart package: ``pip install "sojourn[forms]"``.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class OldCookieTransport:
    """The cookie of the session library that the application had before, for sessions that ``sojourn migrate`` copied. Read-only, for a while.

    The session gets a new id with the first response, which is sent as the others are, and the old one is of no use any more. This
    transport finds no sessions but those that were copied from the library.

    Args:
        library: ``"flask-session"``, ``"starsessions"``, ``"aiohttp-session"``, ``"litestar"`` or ``"django"``.
        name: the cookie's name, such as aiohttp-session's ``"AIOHTTP_SESSION"`` or Django's ``"sessionid"``.
        until: when to stop, an aware `datetime`: when the last of the library's sessions has expired, as it would have without the move.
        secret: of Flask-Session with ``SESSION_USE_SIGNER``: the app's secret key of then. Without, ids are taken unsigned, as by the library.

    Raises:
        ConfigurationError: one of them is something else.
    """

    library: _Library
    name: str = "session"
    until: datetime
    secret: str | bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_field(self.name)
        if self.library not in get_args(_Library):
            known = " or ".join(map(repr, get_args(_Library)))
            raise ConfigurationError("transports", f"an old cookie of {self.library!r}", f"give {known}")
        until: object = self.until
        if not isinstance(until, datetime) or until.tzinfo is None:
            raise ConfigurationError(
                "transports",
                f"an old cookie until {until!r}",
                "give a datetime with a time zone, after which it is not read",
            )
        if self.secret is not None and (not self.secret or self.library != "flask-session"):
            raise ConfigurationError(
                "transports",
                "a secret for an old cookie",
                "only Flask-Session signs ids: give its app's secret key, or none",
            )


Transport: TypeAlias = CookieTransport | HeaderTransport | QueryTransport | FormTransport | OldCookieTransport


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
    if any(isinstance(transport, OldCookieTransport) for transport in listed) and CookieTransport() not in listed:
        raise ConfigurationError(
            "transports", "an old cookie alone", "give CookieTransport() before it, for the new one"
        )
    return listed
