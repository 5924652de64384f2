"""The two ready profiles: ours, which is the options' defaults, and Express's."""

from __future__ import annotations

from typing import Final, Literal, Unpack

from .codecs import PlainCodec
from .cookie import Cookie
from .errors import ConfigurationError
from .options import EXPRESS, OptionsDict

__all__ = ["express"]

_LARGEST_INTEGER: Final = 2**53 - 1
"""What JavaScript's numbers hold exactly."""
# Express drops data under the names of its session's own methods, those of every object's prototype included (contract 51).
_DROPPED_NAMES: Final = frozenset(
    {
        "cookie",
        "req",
        "id",
        "touch",
        "resetMaxAge",
        "save",
        "reload",
        "destroy",
        "regenerate",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    }
)


# What the next major version of express-session has in other places than 1.19; all else of it is true of both here.
_UNSET: Final[dict[int, Literal["keep", "destroy"]]] = {1: "keep", 2: "destroy"}


def express(*, version: Literal[1, 2] = 1, **options: Unpack[OptionsDict]) -> OptionsDict:
    """Options for sharing live sessions with Express: ``SessionMiddleware(app, **express(secret=..., store=...))``.

    The cookie, the key and the record are what express-session 1.19 and its stores write and read. Any option given
    takes the place of the profile's. ``resave`` and ``save_uninitialized`` stay off unless given; see the contract's
    "Where we differ".

    Args:
        version: the major version of express-session whose defaults these are. 2, which is not released yet, unsets by
            destroying (contract 14); what else it changes holds in either here (contract 6, 7, 12, 13, 38 to 41, 142).
        options: the middleware's; see `sojourn.options.Options`.

    Raises:
        ConfigurationError: another version.
    """
    given: object = version
    if type(given) is not int or given not in _UNSET:
        raise ConfigurationError("version", repr(given), "give 1 or 2, a major version of express-session")
    defaults: OptionsDict = {
        "name": "connect.sid",
        "cookie": Cookie(secure=False, samesite=None),
        "absolute_timeout": None,
        "unset": _UNSET[version],
        "touch_after": 0,
        "hash_ids": False,
        "codec": PlainCodec(max_int=_LARGEST_INTEGER, reserved=_DROPPED_NAMES),
        "profile": EXPRESS,
    }
    return {**defaults, **options}
