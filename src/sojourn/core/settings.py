"""What a session has to know of the configuration, worked out once: ids and keys, lifetimes, the codec."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from ..clock import DAY_MS
from ..codecs import Codec, JSONCodec
from ..cookie import Cookie
from ..errors import ConfigurationError
from ..ids import hash_id
from ..logs import log
from ..options import Options, Request
from ..wire.cookies import MAX_COOKIE_BYTES, encode_value
from ..wire.signing import Signer

__all__ = ["Expiries", "Rules"]

_TOUCH_SHARE: Final = 20  # a touch when a twentieth of the idle time is used
_MOST_RECENT: Final = 10_000  # sessions
_RANDOM_ID: Final = Options.__dataclass_fields__["generate_id"].default
_SIGNATURE_ROOM: Final = 64  # bytes of a cookie that marker, dot and percent-encoded signature may take


class Expiries:
    """Where a store cannot tell a record's remaining time, what this process last set. Bounded: a touch too many is harmless."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[str, int] = OrderedDict()

    def remaining(self, key: str, now: int) -> int:
        return max(0, self._known.get(key, 0) - now)

    def note(self, key: str, expiry: int) -> None:
        self._known[key] = expiry
        self._known.move_to_end(key)
        if len(self._known) > _MOST_RECENT:
            self._known.popitem(last=False)


class Rules:
    """The configuration as a session sees it."""

    __slots__ = ("_longest_id", "asks_request", "codec", "default_idle_ms", "expiries", "key_of", "options", "signer")

    key_of: Callable[[str], str]
    """A session id's name in the store."""

    def __init__(self, options: Options, *, default_idle_ms: int = DAY_MS) -> None:
        self.options = options
        self.signer = Signer(options.secrets, options.profile.signature)
        self.codec: Codec = JSONCodec() if options.codec is None else options.codec
        self.asks_request = options.generate_id is not _RANDOM_ID or options.exclusive is not None
        """Whether a function of the request is called once the session is there."""
        self.key_of = hash_id if options.hash_ids else str
        self.default_idle_ms = default_idle_ms
        self.expiries: Expiries | None = None  # kept once a store is met that does not tell
        self._longest_id = MAX_COOKIE_BYTES - len("__Host-") - len(options.name) - _SIGNATURE_ROOM
        missing = [
            name for name in ("encode", "revive", "seal", "unseal") if not callable(getattr(self.codec, name, None))
        ]
        if missing:
            raise ConfigurationError("codec", type(self.codec).__name__, f"give a codec; this has no {missing[0]}()")

    def draw_id(self, request: Request) -> str | None:
        """A new id, or None, with an error in the log, where ``generate_id`` gives what no cookie can hold (contract 59)."""
        drawn: object = self.options.generate_id(request)
        if not isinstance(drawn, str) or not drawn:
            log.error(
                "generate_id answered %s instead of a non-empty str; the session is not saved", type(drawn).__name__
            )
            return None
        if len(encode_value(drawn)) > self._longest_id:
            log.error(
                "generate_id answered an id of %d characters, too long for a cookie; the session is not saved",
                len(drawn),
            )
            return None
        return drawn

    def signed(self, session_id: str) -> str:
        """An id as it travels: signed, and percent-encoded where it needs that."""
        return encode_value(self.signer.sign(session_id))

    def is_prefixed(self, cookie: Cookie, *, secure: bool) -> bool:
        """Whether the cookie goes under ``__Host-``: where it is Secure, has path ``/`` and no domain (RFC 6265bis, 4.1.3.2)."""
        name = self.options.name
        if name.startswith("__"):
            return name.lower().startswith("__host-")
        return (
            self.options.profile.host_prefix
            and cookie.path == "/"
            and cookie.domain is None
            and (cookie.secure is True or (secure and cookie.secure == "auto"))
        )

    def cookie_name(self, cookie: Cookie, *, secure: bool) -> str:
        """The name the cookie is sent and read by, and no other."""
        name = self.options.name
        return "__Host-" + name if self.is_prefixed(cookie, secure=secure) and not name.startswith("__") else name

    def idle_ms(self, cookie: Cookie, overrides: Mapping[str, object]) -> int:
        """The idle timeout: the session's own lifetime if it changed that, else as configured."""
        lifetime = overrides.get("originalMaxAge", cookie.max_age_ms)
        if self.options.idle_ms is not None and "originalMaxAge" not in overrides:
            return self.options.idle_ms
        if isinstance(lifetime, int):
            return lifetime
        return self.default_idle_ms if self.options.idle_ms is None else self.options.idle_ms

    def touch_after_ms(self, idle_ms: int) -> int:
        """How much of the idle time must be used before a touch is due."""
        given = self.options.touch_after_ms
        return idle_ms // _TOUCH_SHARE if given is None else given

    def deadline(self, now: int, created: int, idle_ms: int) -> int:
        """When a session ends if nothing more happens: the one truth about expiry. Epoch ms."""
        absolute = self.options.absolute_ms
        return now + idle_ms if absolute is None else min(now + idle_ms, created + absolute)
