"""What a request brings: whether it has a session at all, over what connection it came, and under which ids. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from ..clock import to_ms
from ..cookie import Cookie
from ..errors import ConfigurationError
from ..ids import check_key, refusal_by
from ..logs import log, warn_once
from ..options import Options, Request
from ..transports import (
    CookieTransport,
    FormTransport,
    HeaderTransport,
    OldCookieTransport,
    QueryTransport,
    Transport,
)
from .cookies import clean_value, finder
from .forms import FormReader, urlencoded
from .id_source import IdSource
from .naming import CookieNaming
from .old_cookies import old_id
from .paths import is_among, normal, path_matches
from .signing import Signer, Verified

__all__ = ["MOST_LOOKUPS", "RequestParts", "RequestReader", "is_secure"]

MOST_LOOKUPS: Final = 8
"""How many of a request's rightly signed ids are looked up at most."""
_MOST_CANDIDATES: Final = 16
"""How many values of a request are verified at most. A browser sends up to some 180 cookies for a site, so that no number would keep
whoever can plant them from planting enough; a small one keeps the work small."""
_BEARER: Final = b"bearer "


class RequestParts(NamedTuple):
    """Where a request may carry ids, of whatever protocol it is."""

    header: Callable[[str], Sequence[bytes]]
    """All values of the header of a name."""
    query: bytes
    """The URL's query, percent-encoded."""


class Ids(list[Verified]):
    """The rightly signed ids of a request, in order."""

    refused: bool = False
    """It brought others, which none of the secrets has signed."""


class RequestReader:
    """The rules for requests on their way in, under one middleware's options."""

    __slots__ = (
        "_excluded",
        "_finders",
        "_forms",
        "_naming",
        "_signer",
        "_writable",
        "by_cookie",
        "cookie_everywhere",
        "options",
        "parameters",
        "vary",
    )

    def __init__(self, options: Options, naming: CookieNaming, signer: Signer) -> None:
        self.options: Options = options
        self._naming = naming
        self._signer = signer
        cookie = options.cookie
        self._excluded = [normal(path) for path in options.exclude]
        self._finders = (
            (self._finder(cookie, secure=False), self._finder(cookie, secure=True))
            if isinstance(cookie, Cookie)
            else None
        )
        self.cookie_everywhere: Cookie | None = (
            cookie if isinstance(cookie, Cookie) and cookie.path == "/" and not options.exclude else None
        )
        """What `cookie_for` returns for every request, where it does not depend on the request."""
        ways = options.ways
        self._forms: FormReader | None = next(
            (FormReader(way.name) for way in ways if isinstance(way, FormTransport)), None
        )
        self.by_cookie: bool = ways == (CookieTransport(),)
        """Whether ids come by cookie alone, for which `ids` will do."""
        self.parameters: list[str] = [way.name for way in ways if isinstance(way, QueryTransport)]
        """The parameters of the query that carry ids, and are to go no further."""
        self._writable = [way for way in ways if isinstance(way, CookieTransport | HeaderTransport)]
        self.vary: tuple[str, ...] = tuple(
            "Cookie" if isinstance(way, CookieTransport) else way.read_from for way in self._writable
        )
        """The request headers that a response depends on which looked at its session (contract 101)."""

    def cookie_for(self, request: Request, path: str) -> Cookie | None:
        """The cookie as configured for this request; None where there is no session: outside its path, or excluded.

        Args:
            request: what a function of the request is given.
            path: the path as the browser sees it. What is excluded is excluded in every spelling.
        """
        if self.is_excluded(path):
            return None
        cookie = self.options.cookie
        if not isinstance(cookie, Cookie):
            cookie = cookie(request)
            if not isinstance(cookie, Cookie):
                raise ConfigurationError("cookie", type(cookie).__name__, "the function must return a sojourn.Cookie")
        # An empty path is the root (contract 25).
        return cookie if cookie.path == "/" or path_matches(path or "/", cookie.path) else None

    def is_excluded(self, path: str) -> bool:
        """Whether a path, as the browser sees it, has no session."""
        return bool(self._excluded) and is_among(path, self._excluded)

    def is_secure(self, *, https: bool, forwarded: str | None, direct: bool) -> bool:
        """Whether the browser's connection is https (contract 105 to 108).

        Args:
            https: what the server says of the request's scheme.
            forwarded: the X-Forwarded-Proto header, if there is one.
            direct: the server itself ended TLS, and says so.
        """
        return is_secure(self.options.trust_proxy, https=https, forwarded=forwarded, direct=direct)

    # -- the ids ------------------------------------------------------------------------------------------------------

    def ids(self, headers: Iterable[bytes], cookie: Cookie, *, secure: bool) -> Ids:
        """The rightly signed ids in the request's Cookie headers, in order; every cookie of the name is tried (contract 36)."""
        find = self._finders[secure] if self._finders is not None else self._finder(cookie, secure=secure)
        ids = Ids()
        tried: set[bytes] = set()
        is_foreign = False
        for header in headers:
            is_foreign |= self._verify(find(header), ids, tried)
        if is_foreign and not ids:
            _tell_of_secrets()
        return ids

    def read(self, parts: RequestParts, cookie: Cookie, *, secure: bool) -> Generator[int, bytes, tuple[Ids, IdSource]]:
        """The rightly signed ids that came by whatever transport, in the order of these, and by which they came.

        Yields how many bytes of the body it has to see, if it has to, and is sent them: a form is looked at only where nothing
        before it brought an id.
        """
        ids = Ids()
        by_id: dict[str, Transport] = {}
        usual = None
        tried: set[bytes] = set()
        is_foreign = False
        for transport in self.options.ways:
            body = b""
            if (
                isinstance(transport, FormTransport)
                and not ids
                and any(map(FormReader.reads, parts.header("Content-Type")[:1]))
            ):
                body = yield transport.max_bytes
            values = self._values(transport, parts, body, cookie, secure=secure)
            if values and usual is None and transport in self._writable:
                usual = transport
            before = len(ids)
            if isinstance(transport, OldCookieTransport):
                # What was no id of ours may be one of theirs: the cookies may have the same name.
                self._verify(values, ids, set(), partial(old_id, transport))
            else:
                is_foreign |= self._verify(values, ids, tried)
            for verified in ids[before:]:
                by_id.setdefault(verified.id, transport)
        if is_foreign and not ids:
            _tell_of_secrets()
        usual = usual or next(iter(self._writable), None)
        return ids, IdSource(usual, by_id)

    def read_all(
        self, parts: RequestParts, cookie: Cookie, body: bytes, *, secure: bool
    ) -> tuple[Ids, IdSource | None]:
        """`read` where the body, or its beginning, is at hand; the source is None where ids come by cookie alone."""
        if self.by_cookie:
            return self.ids(parts.header("Cookie"), cookie, secure=secure), None
        steps = self.read(parts, cookie, secure=secure)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(body[:wanted])
        except StopIteration as stop:
            ids, source = stop.value
            return ids, source

    def _verify(
        self,
        values: Iterable[bytes],
        ids: Ids,
        tried: set[bytes],
        verify: Callable[[bytes], Verified | None] | None = None,
    ) -> bool:
        """Add the ids that are rightly signed, trying no value twice, and of all that the request brings so many at most.

        Returns whether one of the others was signed, but by none of the secrets. ``verify`` is given where another library has signed.
        """
        is_foreign, is_ours = False, verify is None
        verify = verify or self._signer.verify
        for raw in values:
            if raw in tried:
                continue
            if len(tried) >= _MOST_CANDIDATES:
                message = "a request brought more than %d session ids: the rest is ignored"
                warn_once("candidates", message, _MOST_CANDIDATES)
                break
            tried.add(raw)
            verified = verify(raw)
            if verified is None:
                cleaned = clean_value(raw)
                if cleaned != raw:
                    verified = verify(cleaned)
                is_foreign = is_foreign or (is_ours and verified is None and self._signer.is_in_form(cleaned))
            if verified is None or not self._may_be_key(verified.id):
                log.debug("a session id was not signed by us: ignored")
                ids.refused = True
            elif verified not in ids:
                ids.append(verified)
        return is_foreign

    def _may_be_key(self, session_id: str) -> bool:
        """Whether a store can be asked for it. An application that signs other values by the same secret may have signed anything."""
        return self.options.hash_ids or refusal_by(check_key, session_id) is None

    def _values(
        self, transport: Transport, parts: RequestParts, body: bytes, cookie: Cookie, *, secure: bool
    ) -> Sequence[bytes]:
        """All that came by a transport, signed or not."""
        match transport:
            case CookieTransport():
                find = self._finders[secure] if self._finders is not None else self._finder(cookie, secure=secure)
                return [raw for header in parts.header("Cookie") for raw in find(header)]
            case HeaderTransport(bearer=True):
                values = _apart(parts.header(transport.read_from))
                return [value[len(_BEARER) :].strip() for value in values if value[: len(_BEARER)].lower() == _BEARER]
            case HeaderTransport():
                return _apart(parts.header(transport.name))
            case OldCookieTransport():
                is_over = self.options.clock() >= to_ms(transport.until)
                find = finder(transport.name.encode())
                return [] if is_over else [raw for header in parts.header("Cookie") for raw in find(header)]
            case QueryTransport():
                return urlencoded(parts.query, transport.name.encode())
            case _:
                assert self._forms is not None
                return self._forms.values(parts.header("Content-Type")[0], body) if body else ()

    def _finder(self, cookie: Cookie, *, secure: bool) -> Callable[[bytes], list[bytes]]:
        return finder(self._naming.name_of(cookie, secure=secure).encode())


def is_secure(trust: bool | None, *, https: bool, forwarded: str | None, direct: bool) -> bool:
    """Whether the browser's connection is https, as `RequestReader.is_secure` says, under an option ``trust_proxy``."""
    if trust is None:
        return https
    if direct:
        return True
    if trust:
        return https or (forwarded is not None and forwarded.split(",", 1)[0].strip().lower() == "https")
    # Servers may have taken their scheme from this header, so beside it the scheme says nothing.
    return https and forwarded is None


def _apart(values: Sequence[bytes]) -> list[bytes]:
    """The values of a header, each whole, and then what it consists of if a server has joined several by a comma."""
    return [
        part
        for value in values
        for part in ((value, *map(bytes.strip, value.split(b","))) if b"," in value else (value,))
    ]


def _tell_of_secrets() -> None:
    warn_once(
        "secrets",
        "a request brought a session id that none of the secrets has signed: if these differ between processes or deployments, or another "
        "application uses the cookie's name on this host, visitors lose their sessions",
    )
