"""What a request brings: whether it has a session at all, over what connection it came, and under which ids. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from ..cookie import Cookie
from ..errors import ConfigurationError
from ..logs import log, warn_once
from ..options import Options, Request
from ..transports import CookieTransport, FormTransport, HeaderTransport, QueryTransport, Transport
from .cookies import clean_value, finder, path_matches
from .id_source import IdSource
from .naming import CookieNaming
from .signing import Signer, Verified

__all__ = ["MOST_LOOKUPS", "RequestParts", "RequestReader", "without_field"]

MOST_LOOKUPS: Final = 8
"""How many of a request's rightly signed ids are looked up at most."""
_MOST_CANDIDATES: Final = 64  # values of one request whose signature is checked
_BEARER: Final = b"bearer "
_MULTIPART: Final = b"multipart/form-data"
_MOST_PARTS: Final = 32
_FORMS: Final = (b"application/x-www-form-urlencoded", _MULTIPART)


class RequestParts(NamedTuple):
    """Where a request may carry ids, of whatever protocol it is."""

    header: Callable[[str], Sequence[bytes]]
    """All values of the header of a name."""
    query: bytes
    """The URL's query, percent-encoded."""


class RequestReader:
    """The rules for requests on their way in, under one middleware's options."""

    __slots__ = (
        "_finders",
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
        """The cookie as configured for this request; None where there is no session: outside its path, or excluded."""
        for excluded in self.options.exclude:
            if path_matches(path, excluded):
                return None
        cookie = self.options.cookie
        if not isinstance(cookie, Cookie):
            cookie = cookie(request)
            if not isinstance(cookie, Cookie):
                raise ConfigurationError("cookie", type(cookie).__name__, "the function must return a sojourn.Cookie")
        # An empty path is the root (contract 25).
        return cookie if cookie.path == "/" or path_matches(path or "/", cookie.path) else None

    def is_secure(self, *, https: bool, forwarded: str | None, direct: bool) -> bool:
        """Whether the browser's connection is https (contract 105 to 108).

        Args:
            https: what the server says of the request's scheme.
            forwarded: the X-Forwarded-Proto header, if there is one.
            direct: the server itself ended TLS, and says so.
        """
        trust = self.options.trust_proxy
        if trust is None:
            return https
        if direct:
            return True
        if trust:
            return https or (forwarded is not None and forwarded.split(",", 1)[0].strip().lower() == "https")
        # Servers may have taken their scheme from this header, so beside it the scheme says nothing.
        return https and forwarded is None

    # -- the ids ------------------------------------------------------------------------------------------------------

    def ids(self, headers: Iterable[bytes], cookie: Cookie, *, secure: bool) -> list[Verified]:
        """The rightly signed ids in the request's Cookie headers, in order; every cookie of the name is tried (contract 36)."""
        find = self._finders[secure] if self._finders is not None else self._finder(cookie, secure=secure)
        ids: list[Verified] = []
        left = _MOST_CANDIDATES
        for header in headers:
            left = self._verify(find(header), ids, left)
        return ids

    def read(
        self, parts: RequestParts, cookie: Cookie, *, secure: bool
    ) -> Generator[int, bytes, tuple[list[Verified], IdSource]]:
        """The rightly signed ids that came by whatever transport, in the order of these, and by which they came.

        Yields how many bytes of the body it has to see, if it has to, and is sent them: a form is looked at only where nothing
        before it brought an id.
        """
        ids: list[Verified] = []
        by_id: dict[str, Transport] = {}
        usual = None
        left = _MOST_CANDIDATES
        for transport in self.options.ways:
            body = b""
            if isinstance(transport, FormTransport) and not ids and _is_form(parts):
                body = yield transport.max_bytes
            values = self._values(transport, parts, body, cookie, secure=secure)
            if values and usual is None and transport in self._writable:
                usual = transport
            before = len(ids)
            left = self._verify(values, ids, left)
            for verified in ids[before:]:
                by_id.setdefault(verified.id, transport)
        usual = usual or next(iter(self._writable), None)
        return ids, IdSource(usual, by_id)

    def read_all(
        self, parts: RequestParts, cookie: Cookie, body: bytes, *, secure: bool
    ) -> tuple[list[Verified], IdSource | None]:
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

    def _verify(self, values: Sequence[bytes], ids: list[Verified], left: int) -> int:
        """Add the ids that are rightly signed, looking at ``left`` values at most; returns how many may still be looked at."""
        if len(values) > left:
            warn_once("candidates", "a request brought more than %d session ids: the rest is ignored", _MOST_CANDIDATES)
            values = values[:left]
        verify = self._signer.verify
        for raw in values:
            verified = verify(raw) or verify(clean_value(raw))
            if verified is None:
                log.debug("a session id was not signed by us: ignored")
            elif verified not in ids:
                ids.append(verified)
        return left - len(values)

    def _values(
        self, transport: Transport, parts: RequestParts, body: bytes, cookie: Cookie, *, secure: bool
    ) -> Sequence[bytes]:
        """All that came by a transport, signed or not."""
        match transport:
            case CookieTransport():
                find = self._finders[secure] if self._finders is not None else self._finder(cookie, secure=secure)
                return [raw for header in parts.header("Cookie") for raw in find(header)]
            case HeaderTransport(bearer=True):
                values = parts.header(transport.read_from)
                return [value[len(_BEARER) :].strip() for value in values if value[: len(_BEARER)].lower() == _BEARER]
            case HeaderTransport():
                return parts.header(transport.name)
            case QueryTransport():
                return _fields(parts.query, transport.name)
            case _:
                content_type = parts.header("Content-Type")[0] if body else b""
                if content_type.lower().startswith(_MULTIPART):
                    return _parts(content_type, body, transport.name)
                return _fields(body, transport.name)

    def _finder(self, cookie: Cookie, *, secure: bool) -> Callable[[bytes], list[bytes]]:
        return finder(self._naming.name_of(cookie, secure=secure).encode())


def _is_form(parts: RequestParts) -> bool:
    return any(value.lower().startswith(_FORMS) for value in parts.header("Content-Type")[:1])


def without_field(query: bytes, name: str) -> bytes:
    """A query without a parameter, so that an id in it goes no further; the rest as it was."""
    return b"&".join(pair for pair in query.split(b"&") if not _is_called(pair, name))


def _fields(text: bytes, name: str) -> list[bytes]:
    """The values of a field in urlencoded text. Where that was cut off within one, its signature will be wrong."""
    pairs = (pair for pair in text.split(b"&") if _is_called(pair, name))
    return [_unquote(pair.partition(b"=")[2]) for pair in pairs]


def _is_called(pair: bytes, name: str) -> bool:
    return _unquote(pair.partition(b"=")[0]) == name.encode()


def _unquote(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _parts(content_type: bytes, body: bytes, name: str) -> list[bytes]:
    """The values of a field in the beginning of a multipart body (RFC 7578)."""
    from email.message import Message  # noqa: PLC0415 - few applications have such a transport
    from email.parser import BytesHeaderParser  # noqa: PLC0415

    outer: Message[str, str] = Message()
    outer["Content-Type"] = content_type.decode("latin-1")
    boundary = outer.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        return []
    values = []
    for part in body.split(b"--" + boundary.encode("latin-1", "replace"), _MOST_PARTS)[1:]:
        head, _blank_line, value = part.partition(b"\r\n\r\n")
        if BytesHeaderParser().parsebytes(head.lstrip()).get_param("name", header="content-disposition") == name:
            values.append(value.removesuffix(b"\r\n"))
    return values
