"""Requests that a page of another site has had the browser send (cross-site request forgery): which are refused, and why.

The rules of every door's ``CrossSiteGuard``. They look at headers alone, which browsers set and pages cannot: there is no token, and no
session is read or written. For a framework without a door of its own, `CrossSiteRules` is the same in public.

Most of it is as in ``net/http.CrossOriginProtection`` of Go 1.25. Beyond that, an Origin is compared with the scheme, too, and the
handshakes of WebSockets are checked, which are GET and for which browsers ask no server's leave (RFC 6455, 10.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypedDict, TypeVar, Unpack

from .cookie import check_among
from .errors import ConfigurationError
from .logs import log
from .options import check_paths
from .wire.paths import is_among, normal
from .wire.request import is_secure

__all__ = ["CrossSiteRules", "GuardOptions", "Refusal", "exempt", "is_exempt", "is_handshake"]

_SAFE: Final = ("GET", "HEAD", "OPTIONS", "TRACE")
"""Methods that change nothing (RFC 9110, 9.2.1). No page can send TRACE."""
_OWN_SITE: Final = ("same-origin", "none")
"""What ``Sec-Fetch-Site`` is where a page of ours, or the visitor, made the request. "same-site" is not: it is any subdomain."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LONGEST: Final = 300  # characters of an origin: a host has 253 at most
_HIGHEST_PORT: Final = 65535
_MOST_SHOWN: Final = 100  # characters of what a request says, and values of a header
_MOST_VALUES: Final = 3

_in_parts: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII
).fullmatch
_ODD: Final = re.compile(r"[^A-Za-z0-9 !#$%()*+,./:;=?@\[\]^_{|}~-]")

Header = Callable[[str], Sequence[str]]
"""All values of a request's header of a name."""
V = TypeVar("V")


class GuardOptions(TypedDict, total=False):
    """The keyword arguments of a ``CrossSiteGuard``, for type checkers; `CrossSiteRules` says what each means."""

    trusted_origins: Sequence[str]
    exclude: Sequence[str]
    strict: bool
    trust_proxy: bool | None


class Refusal(NamedTuple):
    """Why a request is refused. What it quotes of the request is cut off, and holds no character that HTML or a log would take amiss."""

    seen: str
    """What the request says of where it comes from, in a line."""

    @property
    def text(self) -> str:
        """What its sender is told."""
        return f"Forbidden: a page of another site may have had the browser send this request. {self.seen}"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Those of a response with `body`."""
        return [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]

    @property
    def body(self) -> bytes:
        """`text` as the body of a response."""
        return f"{self.text}\n".encode()


class CrossSiteRules:
    """Which requests are refused.

    In order: safe methods pass, but for the handshakes of WebSockets. ``Sec-Fetch-Site`` decides where a request has it, but for those
    handshakes, with which not all browsers send it: "same-origin" and "none" pass. Else ``Origin`` decides: the site's own passes. With
    neither header the request is from no browser, or from a very old one, and passes. Of what is left, requests from trusted origins pass,
    and those for excluded paths.

    Args:
        trusted_origins: other origins whose pages may send requests, such as ``"https://admin.example.com"``: scheme, host, and the
            port if it is not the scheme's own. Each is meant as it is, without its subdomains.
        exclude: paths at and below which requests from anywhere pass, such as those of webhooks. Whole, as the browser sees
            them, in either spelling.
        strict: refuse requests with neither header, for sites that browsers alone visit.
        trust_proxy: what is the site's own origin: with None the server's scheme and ``Host``; True believes the first
            ``X-Forwarded-Proto`` and the first ``X-Forwarded-Host``; False believes only direct TLS. As the option of sessions of this name.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    __slots__ = ("_excluded", "_strict", "_trust_proxy", "_trusted")

    def __init__(self, **options: Unpack[GuardOptions]) -> None:
        known = GuardOptions.__annotations__
        for name in options:
            if name not in known:
                raise ConfigurationError(name, "an unknown option", f"the options are {', '.join(sorted(known))}")
        self._trusted = _trusted(options.get("trusted_origins", ()))
        self._excluded = [normal(path) for path in check_paths(options.get("exclude", ()))]
        self._strict = options.get("strict", False)
        self._trust_proxy = options.get("trust_proxy")
        check_among("strict", self._strict, (True, False))
        check_among("trust_proxy", self._trust_proxy, (None, True, False))

    def refusal(
        self,
        method: str,
        path: Callable[[], str],
        header: Header,
        *,
        https: bool,
        direct: bool = False,
        websocket: bool = False,
    ) -> Refusal | None:
        """Why a request is refused, which is logged; None if it is not. No request raises.

        Args:
            method: the request's.
            path: returns the path as the browser sees it; called where that matters.
            header: returns all values of the header of a name.
            https: what the server says of the request's scheme.
            direct: the server itself ended TLS, and says so.
            websocket: it is the handshake of a WebSocket; see `is_handshake`.
        """
        if method in _SAFE and not websocket:
            return None
        sites = () if websocket else header("Sec-Fetch-Site")
        origins = header("Origin")
        origin = _origin(origins[0]) if len(origins) == 1 else None
        own = None
        if sites:
            if len(sites) == 1 and sites[0] in _OWN_SITE:
                return None
        elif origins:
            own = self._own_origin(header, https=https, direct=direct)
            if origin is not None and origin == own:
                return None
        elif not self._strict:
            return None
        if origin in self._trusted or (self._excluded and is_among(path(), self._excluded)):
            return None
        refusal = Refusal(_seen(sites, origins, own))
        log.warning("refused as another site may have sent it: %s %s: %s", _shown(method), _shown(path()), refusal.seen)
        return refusal

    def _own_origin(self, header: Header, *, https: bool, direct: bool) -> str | None:
        """The site's own origin, as the browser sees it; None if the request does not say."""
        trust, hosts = self._trust_proxy, header("Host")
        forwarded = header("X-Forwarded-Host") if trust else ()
        if forwarded:
            hosts = [forwarded[0].split(",", 1)[0].strip()]
        proto = next(iter(header("X-Forwarded-Proto")), None)
        scheme = "https" if is_secure(trust, https=https, forwarded=proto, direct=direct) else "http"
        return _origin(f"{scheme}://{hosts[0]}") if len(hosts) == 1 else None


def is_handshake(upgrade: Iterable[str]) -> bool:
    """Whether the values of a request's ``Upgrade`` header say that it is the handshake of a WebSocket (RFC 6455, 4.2.1)."""
    return any(protocol.strip().lower() == "websocket" for value in upgrade for protocol in value.split(","))


_EXEMPT: Final = "_takes_requests_from_other_sites"


def exempt(view: V) -> V:
    """A decorator of views that take requests from anywhere, such as a webhook's. Decorators around it may be any that use `functools.wraps`.

    For the doors to Flask, Quart and aiohttp, which know the view that a request is for.
    """
    setattr(view, _EXEMPT, True)
    return view


def is_exempt(view: Any) -> bool:
    """Whether a view is marked by `exempt`."""
    return getattr(view, _EXEMPT, False) is True


def _origin(text: str) -> str | None:
    """An origin as browsers write it: in lower case, without the port that is the scheme's own. None for what is no origin."""
    found = _in_parts(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    scheme, host, digits = found[1].lower(), found[2].lower(), found[3]
    port = _DEFAULT_PORTS.get(scheme) if digits is None else int(digits)
    if port is not None and port > _HIGHEST_PORT:
        return None
    shown = "" if port == _DEFAULT_PORTS.get(scheme) else f":{port}"
    return f"{scheme}://{host}{shown}"


def _trusted(given: object) -> frozenset[str]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(
            "trusted_origins", repr(given), 'give a sequence of origins, such as ("https://admin.example.com",)'
        )
    trusted = set()
    for one in given:
        origin = _origin(one) if isinstance(one, str) else None
        if origin is None:
            raise ConfigurationError(
                "trusted_origins",
                repr(one),
                'give each origin as "scheme://host" or "scheme://host:port", without a path or "*", a host that is not ASCII as "xn--"',
            )
        if origin.startswith(("ws://", "wss://")):
            raise ConfigurationError("trusted_origins", repr(one), "give the origin of the page: http:// or https://")
        trusted.add(origin)
    return frozenset(trusted)


def _seen(sites: Sequence[str], origins: Sequence[str], own: str | None) -> str:
    if not sites and not origins:
        return "Neither Sec-Fetch-Site nor Origin was sent."
    told = [f"{name}: {_listed(values)}" for name, values in (("Sec-Fetch-Site", sites), ("Origin", origins)) if values]
    if not sites:
        told.append(f"this site: {own or 'unknown, as there is no one Host'}")
    return f"{'; '.join(told)}."


def _listed(values: Sequence[str]) -> str:
    return " and ".join(_shown(value) for value in values[:_MOST_VALUES])


def _shown(text: str) -> str:
    """What a request says, cut off, and harmless in a line of a log and in HTML."""
    harmless = _ODD.sub(lambda found: f"\\x{ord(found[0]):02x}", text[:_MOST_SHOWN])
    return harmless if len(text) <= _MOST_SHOWN else f"{harmless}..."
