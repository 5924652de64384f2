"""What Django's settings come to: options, and the middlewares of both colours that are made of them, once in a process."""

from __future__ import annotations

import base64
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac

from ..asgi import Receive, Scope, Send, SessionMiddleware
from ..codecs import LenientCodec, PlainCodec
from ..cookie import Cookie
from ..core.logins import check_limit
from ..core.settings import SessionSettings
from ..core.state import Arrival, Found, State
from ..errors import ConfigurationError
from ..middleware.sync import SyncMiddleware
from ..options import OptionsDict, Profile
from ..wire.signing import Verified
from .colours import both_colours

__all__ = ["DJANGO", "SETTING", "Configuration", "current", "options_of", "site_sessions"]

SETTING: Final = "SOJOURN"
DJANGO: Final = Profile(
    "django", "native", host_prefix=False, max_age_attribute=True, tombstone_ms=30_000, clear_ends=False
)
"""The cookie goes under the very name that ``SESSION_COOKIE_NAME`` says, as other code reads it by that; ``clear()`` keeps the session."""

_LIMIT: Final = "max_sessions"
_YEAR: Final = 365 * 86_400  # seconds
_KEY_BYTES: Final = 25
_SALT: Final = "sojourn.django"
_REFUSED: Final[dict[str, str]] = {
    "name": "set SESSION_COOKIE_NAME",
    "generate_id": "session keys have 40 characters, which the models of other applications have room for",
    "rolling": "set SESSION_SAVE_EVERY_REQUEST",
    "resave": "set SESSION_SAVE_EVERY_REQUEST",
    "save_uninitialized": "call request.session.create() where an empty session is to be stored",
    "unset": "what becomes of request.session = None is Django's: nothing",
    "profile": "sessions that Django uses cannot be shared with Express",
    "trust_proxy": "set SECURE_PROXY_SSL_HEADER",
}
"""Options that a setting or a method of Django's is for."""


def options_of(given: Mapping[str, Any]) -> OptionsDict:
    """Options: what the setting ``SOJOURN`` gives, and for all else what Django's settings say.

    Raises:
        ConfigurationError: something of it is wrong.
    """
    for name in given:
        if name in _REFUSED:
            raise ConfigurationError(f"{SETTING}[{name!r}]", "an option that Django has its own for", _REFUSED[name])
    age, former = settings.SESSION_COOKIE_AGE, settings.SECRET_KEY_FALLBACKS
    if not isinstance(age, int | float):
        raise ConfigurationError("SESSION_COOKIE_AGE", repr(age), "give a number of seconds")
    if not isinstance(former, list | tuple):  # of text each character would be a secret
        raise ConfigurationError("SECRET_KEY_FALLBACKS", type(former).__name__, "give a list of former secrets")
    if not all(former):  # anybody could sign with that
        raise ConfigurationError("SECRET_KEY_FALLBACKS", "an empty secret", "leave it out")
    options: OptionsDict = {
        "secret": [_signing_key(secret) for secret in (settings.SECRET_KEY, *former)],
        "name": settings.SESSION_COOKIE_NAME,
        "cookie": _cookie(age),
        "idle_timeout": age,
        "absolute_timeout": max(_YEAR, age),
        "rolling": bool(settings.SESSION_SAVE_EVERY_REQUEST),
        "generate_id": _new_key,
        "profile": DJANGO,
    }
    limit_of(given)
    options = cast("OptionsDict", {**options, **{name: value for name, value in given.items() if name != _LIMIT}})
    if options.get("lazy", False) is None:
        del options["lazy"]  # which is what the engine goes by itself
    if callable(options["cookie"]):
        raise ConfigurationError(
            f"{SETTING}['cookie']", "a function", "give a sojourn.Cookie: the engine knows no request"
        )
    options["codec"] = LenientCodec(options.get("codec") or PlainCodec())
    return options


def limit_of(given: Mapping[str, Any]) -> int | None:
    """How many sessions a user may have at once; None for any number.

    Raises:
        ConfigurationError: it is no number of sessions.
    """
    limit: int | None = given.get(_LIMIT)
    if limit is not None:
        try:
            check_limit(limit)
        except ValueError:
            raise ConfigurationError(f"{SETTING}[{_LIMIT!r}]", repr(limit), "give a whole number, at least 1") from None
    return limit


def _cookie(age: float) -> Cookie:
    """Django's attributes; where it leaves Secure out, it is set over https nevertheless."""
    samesite = settings.SESSION_COOKIE_SAMESITE
    if isinstance(samesite, str):
        samesite = samesite.lower()
        if samesite == "none" and not settings.SESSION_COOKIE_SECURE:
            samesite = "auto"
    return Cookie(
        domain=settings.SESSION_COOKIE_DOMAIN or None,
        path=settings.SESSION_COOKIE_PATH,
        httponly=bool(settings.SESSION_COOKIE_HTTPONLY),
        secure=True if settings.SESSION_COOKIE_SECURE else "auto",
        samesite=samesite or None,
        max_age=None if settings.SESSION_EXPIRE_AT_BROWSER_CLOSE else age,
    )


def _signing_key(secret: str | bytes) -> bytes:
    """A key of its own for each of the site's secrets, whatever their length."""
    return salted_hmac(_SALT, b"", secret=secret, algorithm="sha256").digest()


def _new_key(_request: object) -> str:
    """A session key: 200 random bits as 40 characters, for columns that Django's own keys fit into, also where these ignore case."""
    return base64.b32encode(secrets.token_bytes(_KEY_BYTES)).decode().lower()


async def _no_app(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """What the async middleware is around: nothing, as Django and Channels have a middleware each that drives it."""


class Configuration:
    """What the settings say, and the store in both colours."""

    def __init__(self, given: Mapping[str, Any], stores: tuple[Any, Any] | None = None) -> None:
        options = options_of(given)
        self.stores: tuple[Any, Any] = both_colours(options.get("store")) if stores is None else stores
        sync, asynchronous = self.stores
        self.sync: SyncMiddleware = SyncMiddleware({**options, "store": sync})
        self.asynchronous: SessionMiddleware = SessionMiddleware(_no_app, **{**options, "store": asynchronous})
        self.settings: SessionSettings = self.sync.settings
        self.max_sessions: int | None = limit_of(given)
        cookie = self.sync.options.cookie
        assert isinstance(cookie, Cookie)
        self.cookie: Cookie = cookie
        self.is_lazy: bool | None = given.get("lazy")
        """None: in the sync colour sessions are loaded on first use, in the async one before the view."""
        self.slides: bool = bool(options["rolling"]) or "idle_timeout" in given or "touch_after" in given
        """Whether a session lives on by being visited, rather than by being changed alone."""
        self._variants: dict[tuple[bool, bool, bool], SessionSettings] = {}

    def settings_for(self, *, keep: bool = False, again: bool = False, rewrite: bool = False) -> SessionSettings:
        """The settings of a session that is committed in a certain way.

        Args:
            keep: store it although nothing is in it.
            again: send the cookie although the browser has it.
            rewrite: write the record although the data are what they were.
        """
        key = keep, again, rewrite
        made = self._variants.get(key)
        if made is None:
            options = replace(self.settings.options, save_uninitialized=keep, rolling=again, resave=rewrite)
            made = self._variants[key] = SessionSettings(options, default_idle_ms=self.settings.default_idle_ms)
            made.expiries = self.settings.expiries
        return made

    def state_of(self, key: str | None, like: State | None = None) -> State:
        """What is known of a session by its key alone; nothing but that there is none where that is None.

        Args:
            key: the session's key.
            like: another of the same request, if it is one's.
        """
        secure = self.cookie.secure is True if like is None else like.arrival.secure
        if key is None:
            return State(self.settings, Arrival(self.cookie, secure), self.sync)
        ids = (Verified(key, needs_resigning=False),)
        arrival = Arrival(self.cookie, secure, ids, keys=(self.settings.key_of(key),))
        return State(self.settings, arrival, self.sync, Found.PENDING)

    def key_in(self, given: str) -> str:
        """The session key in what a cookie may hold: signed by our middleware, or the plain key."""
        verified = self.settings.signer.verify(given.encode("utf-8", "surrogatepass"))
        return given if verified is None else verified.id


_mutex = threading.Lock()
_current: Configuration | None = None
_kept: tuple[Any, tuple[Any, Any]] | None = None
"""What the option ``store`` was, and the stores: they outlive a change of other settings."""


def current() -> Configuration:
    """The configuration in force.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    return _current or _make()


def site_sessions() -> SyncMiddleware:
    """The site's sessions, as its settings say: what `WSGIDashboard(sessions=...) <sojourn.dashboard.WSGIDashboard>` is given.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    return current().sync


def _make() -> Configuration:
    global _current, _kept  # noqa: PLW0603 - one for the process
    with _mutex:
        if _current is not None:  # another thread has made it
            return _current
        given = getattr(settings, SETTING, {})
        if not isinstance(given, Mapping):
            raise ConfigurationError(SETTING, type(given).__name__, "give a dict of options")
        store = given.get("store")
        stores = _kept[1] if _kept is not None and _kept[0] == store else None
        _current = made = Configuration(given, stores)
        _kept = store, made.stores
        return made


def _forget(*, setting: str, **_of_signal: Any) -> None:
    """A test has changed a setting."""
    global _current  # noqa: PLW0603 - as above
    if setting.startswith(("SESSION_", "SECRET_KEY", SETTING)):
        _current = None


def _begin_in_child() -> None:  # pragma: no cover - runs in forked children, which report no coverage
    """Another thread may have held it at the fork, and is not there."""
    global _mutex  # noqa: PLW0603 - it has to be another one
    _mutex = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
setting_changed.connect(_forget, dispatch_uid="sojourn.django")
