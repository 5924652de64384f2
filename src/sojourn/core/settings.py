"""What a session has to know of the configuration, worked out once: ids and keys, lifetimes, the codec."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..clock import DAY_MS, from_ms
from ..codecs import Codec, JSONCodec, LenientCodec, check_codec, seals, writer, writes_plain_json
from ..cookie import Cookie
from ..events import Kind, SessionEvent
from ..ids import check_key, hash_id, mask_id, mask_key, refusal_by
from ..logs import log
from ..options import Options, Request
from ..wire.cookies import MAX_COOKIE_BYTES, encode_value
from ..wire.naming import CookieNaming
from ..wire.signing import Signer
from .record import COOKIE_KEY, OWN_KEY, lifetime_prefix

__all__ = ["ExpiryCache", "SessionSettings"]

_TOUCH_SHARE: Final = 20  # a touch when a twentieth of the idle time is used
_MOST_RECENT: Final = 10_000  # sessions
_RANDOM_ID: Final = Options.__dataclass_fields__["generate_id"].default
_SIGNATURE_ROOM: Final = 64  # bytes of a cookie that marker, dot and percent-encoded signature may take


class ExpiryCache:
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


class SessionSettings:
    """The configuration as a session sees it."""

    __slots__ = (
        "_longest_id",
        "always_commits",
        "calm_ms",
        "calm_prefix",
        "clears",
        "codec",
        "default_idle_ms",
        "dropped",
        "encode",
        "expiries",
        "keeps_request",
        "key_of",
        "names_keys",
        "naming",
        "options",
        "reserved",
        "seals",
        "signer",
        "static_idle_ms",
        "tells",
        "writes_plain_json",
    )

    key_of: Callable[[str], str]
    """A session id's name in the store."""
    encode: Callable[[Any], bytes]
    """The codec's, held to its promise."""
    dropped: frozenset[str]
    """Names under which a loaded session's values are left out."""
    clears: str | None
    """The value of ``Clear-Site-Data`` where a session ends; None for none."""
    static_idle_ms: int | None
    """The idle timeout of a session that changed nothing of its cookie; None where that depends on the request."""
    reserved: frozenset[str]
    """Names that no value may be given."""
    names_keys: bool
    """Whether a value may be put in under a key that is no str, to be stored under its text."""
    seals: bool
    """Whether what goes to the store is another text than the record's: a call for each that does not is felt."""

    def __init__(self, options: Options, *, default_idle_ms: int = DAY_MS) -> None:
        self.options: Options = options
        self.signer: Signer = Signer(options.secrets, options.profile.signature)
        self.naming: CookieNaming = CookieNaming(options)
        self.codec: Codec = JSONCodec() if options.codec is None else options.codec
        self.keeps_request: bool = (
            options.generate_id is not _RANDOM_ID
            or options.exclusive is not None
            or options.fresh is not None
            or options.describe is not None
        )
        """Whether a function of the request is called once the session is there."""
        self.tells: bool = bool(options.listeners)
        """Whether somebody listens to what happens."""
        self.key_of = hash_id if options.hash_ids else str
        self.clears = ", ".join(f'"{kind}"' for kind in options.clear_site_data) or None
        self.default_idle_ms: int = default_idle_ms
        self.expiries: ExpiryCache | None = None  # kept once a store is met that does not tell
        self._longest_id = MAX_COOKIE_BYTES - len("__Host-") - len(options.name) - _SIGNATURE_ROOM
        check_codec("codec", self.codec)
        self.encode = writer(self.codec)
        self.seals = seals(self.codec)
        self.names_keys = isinstance(self.codec, LenientCodec)
        self.writes_plain_json: bool = writes_plain_json(self.codec)
        self.dropped = frozenset(getattr(self.codec, "reserved", ()))
        self.reserved = self.dropped | {COOKIE_KEY, OWN_KEY}
        # A loaded session needs something at every response, or else only once less than `calm_ms` are left.
        cookie = options.cookie
        self.always_commits: bool = options.rolling or options.resave or not isinstance(cookie, Cookie)
        self.calm_ms: int = 0
        self.calm_prefix: bytes = b""
        self.static_idle_ms = None
        if isinstance(cookie, Cookie):
            idle = self.static_idle_ms = self.idle_ms(cookie, {})
            self.calm_ms = idle - self.touch_after_ms(idle)
            self.calm_prefix = lifetime_prefix(cookie.max_age_ms)

    def generate_id(self, request: Request) -> str | None:
        """A new id, or None, with an error in the log, where ``generate_id`` returns what no cookie, or not every store, can hold (contract 59)."""
        generated: object = self.options.generate_id(request)
        if not isinstance(generated, str) or not generated:
            log.error(
                "generate_id returned %s instead of a non-empty str; the session is not saved", type(generated).__name__
            )
            return None
        if len(encode_value(generated)) > self._longest_id:
            log.error(
                "generate_id returned an id of %d characters, too long for a cookie; the session is not saved",
                len(generated),
            )
            return None
        if not self.options.hash_ids and (refusal := refusal_by(check_key, generated)):
            log.error("generate_id returned an id that stores refuse: %s; the session is not saved", refusal)
            return None
        return generated

    def event(
        self,
        kind: Kind,
        key: str | None = None,
        *,
        owner: str | None = None,
        former: str | None = None,
        reason: str | None = None,
    ) -> SessionEvent:
        """What happens now to the session under a key of the store, which had another one before."""
        mask = mask_key if self.options.hash_ids else mask_id
        return SessionEvent(
            kind=kind,
            at=from_ms(self.options.clock()),
            session=None if key is None else mask(key),
            owner=owner,
            former=None if former is None else mask(former),
            reason=reason,
        )

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
        idle = now + idle_ms
        return idle if absolute is None or idle < created + absolute else created + absolute
