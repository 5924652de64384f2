"""Every option of the middleware, checked at construction: nothing here is left to fail in a request."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypedDict

from .clock import DAY_MS, Clock, Duration, duration_ms, system_clock
from .cookie import Cookie, check_among
from .errors import ConfigurationError, SojournWarning
from .events import Listener, check_listeners, is_async
from .ids import new_id
from .logs import warn_of_order
from .transports import CookieTransport, Transport, check_transports
from .wire.error_page import ErrorPage, PageOption
from .wire.paths import has_dots
from .wire.tokens import is_token

__all__ = [
    "EXPRESS",
    "NATIVE",
    "SHORTEST_SECRET",
    "ErrorPage",
    "Options",
    "OptionsDict",
    "Profile",
    "Request",
    "Secret",
    "check_paths",
    "check_secrets",
]

Request: TypeAlias = Any
"""What functions of the request are given: the ASGI scope, or the WSGI environ."""
Secret: TypeAlias = str | bytes

SHORTEST_SECRET: Final = 32
"""Bytes: what HMAC-SHA256 can use (RFC 2104, section 3)."""
_ELSEWHERE: Final = {
    **dict.fromkeys(("secret_key", "secrets"), "the option is secret"),
    **dict.fromkeys(("session_cookie", "cookie_name"), "the option is name"),
    "lifetime": "the options are idle_timeout and cookie=Cookie(max_age=...)",
    **dict.fromkeys(("max_age", "cookie_max_age"), "the option is cookie=Cookie(max_age=...)"),
    **dict.fromkeys(("same_site", "samesite", "cookie_same_site"), "the option is cookie=Cookie(samesite=...)"),
    **dict.fromkeys(("https_only", "cookie_https_only"), "the option is cookie=Cookie(secure=True)"),
    **{
        name: f"the option is cookie=Cookie({name}=...)"
        for name in ("path", "domain", "secure", "httponly", "partitioned")
    },
}
"""What our options are, by the names that Starlette, starsessions and others have for theirs."""
_SITE_DATA: Final = (
    "cache",
    "cookies",
    "storage",
    "executionContexts",
    "clientHints",
    "prefetchCache",
    "prerenderCache",
    "*",
)
"""The types of W3C Clear Site Data, section 3.1, and of the WICG's speculative loading."""


class Profile(NamedTuple):
    """What differs between the worlds a cookie and a record can live in, beyond the defaults of options."""

    name: str
    signature: Literal["native", "express"]
    host_prefix: bool
    """Whether the cookie takes the ``__Host-`` prefix where browsers allow it."""
    max_age_attribute: bool
    """Whether Set-Cookie has Max-Age beside Expires (contract 102)."""
    tombstone_ms: int
    """How long a regenerated id is remembered as replaced."""
    clear_ends: bool
    """Whether ``clear()`` ends the session, as ``invalidate()`` does, rather than only removing its keys."""


NATIVE: Final = Profile(
    "native", "native", host_prefix=True, max_age_attribute=True, tombstone_ms=30_000, clear_ends=True
)
EXPRESS: Final = Profile(
    "express", "express", host_prefix=False, max_age_attribute=False, tombstone_ms=0, clear_ends=False
)


class OptionsDict(TypedDict, total=False):
    """The middleware's keyword arguments, for type checkers; `Options` says what each means."""

    secret: Secret | Sequence[Secret]
    store: Any
    name: str
    cookie: Cookie | Callable[[Request], Cookie]
    transports: Transport | Sequence[Transport]
    idle_timeout: Duration | None
    absolute_timeout: Duration | None
    rolling: bool
    resave: bool
    save_uninitialized: bool
    unset: Literal["destroy", "keep"]
    generate_id: Callable[[Request], str]
    trust_proxy: bool | None
    hash_ids: bool
    codec: Any
    touch_after: Duration | None
    lazy: bool
    exclude: Sequence[str]
    on_store_error: Literal["fail", "anonymous"]
    store_error_page: PageOption
    signature_cache: int
    exclusive: Callable[[Request], bool] | None
    fresh: Callable[[Request], bool] | None
    close_on_end: bool
    describe: Callable[[Request], Mapping[str, str | None] | None] | None
    on_event: Listener | Sequence[Listener] | None
    connect_flash: bool
    clear_site_data: Sequence[str]
    passport: bool | type[int]
    profile: Profile
    clock: Clock


def _random_id(_request: Request) -> str:
    return new_id()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Options:
    """The middleware's options. Durations are a `timedelta` or seconds.

    Args:
        secret: signs the cookie. ``str``, ``bytes``, or a sequence: the first signs, all verify, so that secrets can be
            rotated (contract 34); a cookie under an older one is signed anew. At least 32 bytes each.
        store: a store, or its URL: ``memory://``, ``sqlite:///path`` and others.
        name: the cookie's name. Where the cookie is Secure, has path ``/`` and no domain, it is sent and read as
            ``__Host-`` + name, and under no other.
        cookie: its attributes, or a function of the request that returns them.
        transports: the ways a session id travels, in the order they are looked at; see `sojourn.transports`. By cookie alone
            unless given.
        idle_timeout: a session ends after this long without a request. Default: ``cookie.max_age``, else one day.
        absolute_timeout: a session ends this long after it was created, whatever happens (OWASP Session Management,
            "Session Expiration"). None for never.
        rolling: send the cookie with every response (contract 90), so that its ``max_age`` counts from the last one.
        resave: write the record even when nothing changed (contract 76).
        save_uninitialized: store and send new sessions that nothing was put into (contract 73).
        unset: what setting the request's session to None means: ``"destroy"`` it, or ``"keep"`` the record and drop the
            request's changes (contract 161, 162).
        generate_id: a function of the request that generates a session id.
        trust_proxy: whether the connection is https: None asks the server's scheme; True believes the first
            X-Forwarded-Proto; False believes only direct TLS (contract 105 to 108).
        hash_ids: name records by the id's SHA-256, so that a leaked store opens nobody's session.
        codec: how data become bytes; JSON with tagged Python types by default.
        touch_after: how much of the idle time must be used before a request that changes nothing moves the expiry.
            Default: a twentieth of it. 0 for every request.
        lazy: load on first use (WSGI), or when ``await session.load()`` asks for it (ASGI).
        exclude: paths at and below which there is no session at all. Whole, as the browser sees them, in either spelling.
        on_store_error: ``"fail"`` sends a 503; ``"anonymous"`` goes on with a session that is not saved.
        store_error_page: the HTML of that 503, or a function of the request that returns it, or a mapping that is sent as problem details
            (RFC 9457), or an `ErrorPage`, or None for the short page.
        signature_cache: how many bytes of memory may hold ``Cookie`` headers whose signatures were found right, so that a browser's next
            request need not have them verified anew; 0 for none. Over http and https together.
        exclusive: a predicate of the request; where it is true, requests of one session run one at a time.
        fresh: a predicate of the request; where it is true, a store with a near cache asks the server nevertheless.
        close_on_end: close a WebSocket with 1008 when its session ends, wherever that happens: at a logout, by a timeout, or by another id.
            Its messages count as use of the session.
        describe: a function of the request, called at a login: what is to be kept of the device, a dict with any of ``label``,
            ``user_agent`` and ``address``, which `devices()` shows. Nothing unless given.
        on_event: is called with a `SessionEvent` for whatever happens to sessions and their store: a function, or a sequence of them. Under
            ASGI, Quart, Litestar and aiohttp they may be coroutine functions.
        connect_flash: keep flash messages where, and in the shape in which, the Node package connect-flash has them.
        clear_site_data: what else the browser is to forget where a response ends the session and expires its cookie: types of data for
            ``Clear-Site-Data`` (W3C Clear Site Data, section 3.1), such as ``("cache", "storage")``. It goes over https alone, where browsers heed
            it, and where the response has no such header of its own.
        passport: in the Express profile, the login is Passport's too: ``login()`` writes ``passport.user`` into the data, and who stands there is the
            owner, whichever side wrote it. True writes the owner as a string, ``int`` as a number, for a Node side whose ids are numbers.
        profile: the world the cookie and the record live in; set by `sojourn.express`.
        clock: milliseconds since the epoch; for tests.

    Raises:
        ConfigurationError: naming the option, what was given and what would be right.
    """

    secret: Secret | Sequence[Secret] = field(default=(), repr=False)
    store: Any = field(default=None, repr=False)  # a URL may hold a password
    name: str = "sid"
    cookie: Cookie | Callable[[Request], Cookie] = Cookie()  # noqa: RUF009 - frozen
    transports: Transport | Sequence[Transport] = (CookieTransport(),)
    idle_timeout: Duration | None = None
    absolute_timeout: Duration | None = 30 * DAY_MS // 1000
    rolling: bool = False
    resave: bool = False
    save_uninitialized: bool = False
    unset: Literal["destroy", "keep"] = "destroy"
    generate_id: Callable[[Request], str] = _random_id
    trust_proxy: bool | None = None
    hash_ids: bool = True
    codec: Any = None
    touch_after: Duration | None = None
    lazy: bool = False
    exclude: Sequence[str] = ()
    on_store_error: Literal["fail", "anonymous"] = "fail"
    store_error_page: PageOption = None
    exclusive: Callable[[Request], bool] | None = None
    fresh: Callable[[Request], bool] | None = None
    close_on_end: bool = False
    describe: Callable[[Request], Mapping[str, str | None] | None] | None = None
    on_event: Listener | Sequence[Listener] | None = None
    clear_site_data: Sequence[str] = ()
    passport: bool | type[int] = False
    signature_cache: int = 4 * 1024 * 1024
    connect_flash: bool = False
    profile: Profile = NATIVE
    clock: Clock = system_clock

    secrets: tuple[bytes, ...] = field(init=False, repr=False)
    """The secrets as bytes."""
    ways: tuple[Transport, ...] = field(init=False)
    """``transports`` as a tuple."""
    idle_ms: int | None = field(init=False)
    """``idle_timeout`` in milliseconds; None where the cookie or the default decides."""
    absolute_ms: int | None = field(init=False)
    touch_after_ms: int | None = field(init=False)
    listeners: tuple[Listener, ...] = field(init=False)
    """``on_event`` as a tuple."""

    @classmethod
    def of(cls, given: OptionsDict) -> Options:
        """Options from a middleware's keyword arguments; an unknown one is refused by name."""
        known = {f.name for f in fields(cls) if f.init}
        for name in given:
            if name not in known:
                remedy = _ELSEWHERE.get(name) or f"the options are {', '.join(sorted(known))}"
                raise ConfigurationError(name, "an unknown option", remedy)
        return cls(**given)

    def __post_init__(self) -> None:
        derive = object.__setattr__  # the dataclass is frozen
        derive(self, "secrets", _secrets(self.secret))
        for name in ("rolling", "resave", "save_uninitialized", "hash_ids", "lazy", "close_on_end", "connect_flash"):
            check_among(name, getattr(self, name), (True, False))
        check_among("unset", self.unset, ("destroy", "keep"))
        check_among("on_store_error", self.on_store_error, ("fail", "anonymous"))
        check_among("trust_proxy", self.trust_proxy, (None, True, False))
        size: object = self.signature_cache
        if type(size) is not int or size < 0:
            raise ConfigurationError("signature_cache", repr(size), "give a number of bytes, or 0 for none")
        if not isinstance(self.profile, Profile):
            raise ConfigurationError("profile", repr(self.profile), "give sojourn.options.NATIVE or EXPRESS")
        if not any(self.passport is kind for kind in (False, True, int)):
            raise ConfigurationError(
                "passport", repr(self.passport), "give True, or int where ids are numbers on Node, or False"
            )
        if self.passport and self.profile is not EXPRESS:
            raise ConfigurationError("passport", repr(self.passport), "it is for sojourn.express(passport=True)")
        for name in ("generate_id", "clock"):
            if not callable(getattr(self, name)):
                raise ConfigurationError(name, repr(getattr(self, name)), "give a function")
        for option in ("exclusive", "fresh", "describe"):
            given = getattr(self, option)
            if given is not None and not callable(given):
                raise ConfigurationError(option, repr(given), "give a function of the request, or None")
        page: object = self.store_error_page
        if not (page is None or isinstance(page, str) or callable(page)) or is_async(page):
            raise ConfigurationError(
                "store_error_page", repr(page), "give HTML as a str, a plain function of the request, or None"
            )
        derive(self, "exclude", check_paths(self.exclude))
        derive(self, "clear_site_data", _site_data(self.clear_site_data))
        derive(self, "ways", check_transports(self.transports))
        derive(self, "listeners", check_listeners(self.on_event))
        self._check_name()
        self._check_cookie_and_timeouts(derive)

    def _check_name(self) -> None:
        given: object = self.name
        if not isinstance(given, str) or not is_token(given):
            raise ConfigurationError(
                "name", repr(self.name), 'give a cookie name such as "sid": letters, digits, "-_."'
            )
        prefix = (
            self.name[: self.name.index("-") + 1].lower() if self.name.startswith("__") and "-" in self.name else ""
        )
        if prefix not in ("__host-", "__secure-") or not isinstance(self.cookie, Cookie):
            return
        if self.cookie.secure is not True:
            raise ConfigurationError("name", repr(self.name), "browsers refuse this prefix without cookie.secure=True")
        if prefix == "__host-" and (self.cookie.path != "/" or self.cookie.domain is not None):
            raise ConfigurationError(
                "name", repr(self.name), 'browsers refuse "__Host-" with a domain, or a path other than "/"'
            )

    def _check_cookie_and_timeouts(self, derive: Callable[[object, str, object], None]) -> None:
        cookie = self.cookie
        if not isinstance(cookie, Cookie) and not callable(cookie):
            raise ConfigurationError(
                "cookie", type(cookie).__name__, "give a sojourn.Cookie, or a function that returns one"
            )
        idle = None if self.idle_timeout is None else duration_ms("idle_timeout", self.idle_timeout)
        absolute = None if self.absolute_timeout is None else duration_ms("absolute_timeout", self.absolute_timeout)
        touch_after = None if self.touch_after is None else duration_ms("touch_after", self.touch_after)
        for name, value in (("idle_timeout", idle), ("absolute_timeout", absolute)):
            if value == 0:
                raise ConfigurationError(name, "0", "give a duration above zero")
        max_age = cookie.max_age_ms if isinstance(cookie, Cookie) else None
        for name, value in (("cookie.max_age", max_age), ("idle_timeout", idle)):
            if absolute is not None and value is not None and value > absolute:
                raise ConfigurationError(
                    name,
                    f"{value / 1000:g} s",
                    f"it cannot outlast absolute_timeout ({absolute / 1000:g} s): lower it, raise absolute_timeout or set that to None",
                )
        derive(self, "idle_ms", idle)
        derive(self, "absolute_ms", absolute)
        derive(self, "touch_after_ms", touch_after)


def check_secrets(given: object) -> tuple[bytes, ...]:
    """A secret, or several, as bytes.

    Raises:
        ConfigurationError: there is none, or something else.
    """
    warn_of_order("secret", given, "signs")
    if isinstance(given, Mapping):
        raise ConfigurationError("secret", "a mapping", "give str or bytes, or a sequence of them, the newest first")
    if given is None:
        raise ConfigurationError(
            "secret", "None", "give at least 32 random bytes; is the variable set that it is read from?"
        )
    listed = [given] if isinstance(given, str | bytes) else list(given) if isinstance(given, Iterable) else [given]
    if not listed:
        raise ConfigurationError(
            "secret", "none", 'give at least 32 random bytes: python -c "import secrets; print(secrets.token_hex())"'
        )
    result = []
    for secret in listed:
        if not isinstance(secret, str | bytes) or not secret:
            raise ConfigurationError(
                "secret", f"{type(secret).__name__}" if secret else "an empty one", "give str or bytes, not empty"
            )
        result.append(secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret)
    return tuple(result)


def _secrets(given: object) -> tuple[bytes, ...]:
    result = check_secrets(given)
    if any(len(secret) < SHORTEST_SECRET for secret in result):
        warnings.warn(
            "secret: one is shorter than 32 bytes and may be guessed; "
            'python -c "import secrets; print(secrets.token_hex())" prints a good one',
            SojournWarning,
            stacklevel=8,  # the line that made the middleware
        )
    return result


def _site_data(given: object) -> tuple[str, ...]:
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        kinds = tuple(given)
        if all(kind in _SITE_DATA for kind in kinds):
            return kinds
    raise ConfigurationError("clear_site_data", repr(given), f"give a sequence of {', '.join(map(repr, _SITE_DATA))}")


def check_paths(given: object) -> tuple[str, ...]:
    """What the option ``exclude`` gives: paths at and below which something does not apply.

    Raises:
        ConfigurationError: it is something else, or a path that no request has.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError("exclude", repr(given), 'give a sequence of paths, such as ("/static",)')
    paths = tuple(given)
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigurationError("exclude", repr(path), 'give paths that start with "/"')
        if any(mark in path for mark in "?#*") or has_dots(path):
            raise ConfigurationError(
                "exclude",
                repr(path),
                'no request has such a path: give its beginning, without "*", "?", "#", "." or ".."',
            )
    return paths
