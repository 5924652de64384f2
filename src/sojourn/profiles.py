"""The two ready profiles: ours, which is the options' defaults, and Express's."""

from __future__ import annotations

from typing import Final, Unpack

from .codecs import PlainCodec
from .cookies import Cookie
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


def express(**options: Unpack[OptionsDict]) -> OptionsDict:
    """Options for sharing live sessions with Express: ``SessionMiddleware(app, **express(secret=..., store=...))``.

    The cookie, the key and the record are what express-session 1.19 and its stores write and read. Any option given
    takes the place of the profile's. ``resave`` and ``save_uninitialized`` stay off unless given; see the contract's
    "Where we differ".
    """
    defaults: OptionsDict = {
        "name": "connect.sid",
        "cookie": Cookie(secure=False, samesite=None),
        "absolute_timeout": None,
        "unset": "keep",
        "touch_after": 0,
        "hash_ids": False,
        "codec": PlainCodec(max_int=_LARGEST_INTEGER, reserved=_DROPPED_NAMES),
        "profile": EXPRESS,
    }
    return {**defaults, **options}
