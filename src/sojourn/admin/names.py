"""What an operator calls a session: the one place that decides what may be shown of a key, and what is taken for one. No I/O.

Where the store's keys are hashes of ids, a key opens nothing, and is shown. In Express's layouts, and with ``hash_ids=False``, the key is the id, which
would open the session: there only its mask is shown, and only masks are taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from hmac import compare_digest
from typing import Final

from ..core.settings import SessionSettings
from ..core.steps import Call, Load, Owned, Steps
from ..core.store import Page, Stored
from ..errors import SojournError
from ..ids import hash_id, mask_id

__all__ = ["Ambiguous", "NotOneName", "find_key", "is_shown", "name_of"]

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_MASK: Final = re.compile(r"([0-9a-f]{8,64})(?:…|\.\.\.)?")
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_AT_ONCE: Final = 200


class NotOneName(SojournError, LookupError):
    """What was given names no live session."""


class Ambiguous(NotOneName):
    """What was given names several sessions.

    Attributes:
        names: what some of them are shown as.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"this names more than one session: {', '.join(names)}")
        self.names = names

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.names,)


def is_shown(settings: SessionSettings, key: str) -> bool:
    """Whether a key may be shown: it is no id."""
    return settings.options.hash_ids and _HASH.fullmatch(key) is not None


def name_of(settings: SessionSettings, key: str) -> str:
    """What a session is shown as."""
    return key if is_shown(settings, key) else mask_id(key)


def find_key(settings: SessionSettings, name: str, owner: str | None = None, budget: float = math.inf) -> Steps[str]:
    """The key of the one live session of this name: a key, its first digits, a mask as in the log, or a handle of the owner's list of devices.

    Of anything but a whole key, all the owner's sessions are looked at, or without an owner all of the store, or its first ``budget`` records.

    Raises:
        Ambiguous: there are several.
        NotOneName: there is none, or the text is not in the form of a name.
    """
    if settings.options.hash_ids and _HASH.fullmatch(name):
        if isinstance((yield Load(name)), Stored):
            return name
        raise NotOneName("there is no live session of this key")
    is_meant = _matcher(settings, name)
    keys: set[str] = set()
    if owner is not None:
        keys.update(filter(is_meant, (yield Owned(owner))))
    else:
        cursor: str | None = ""
        while cursor is not None and len(keys) < 2 and budget > 0:
            page: Page = yield Call("page", (cursor, _AT_ONCE))
            keys.update(key for key, _ in page.items if is_meant(key))
            cursor = page.next
            budget -= _AT_ONCE
        if not keys and cursor is not None:
            raise NotOneName("no session of this name is among the first in the store: name its owner, too")
    if not keys:
        raise NotOneName("there is no live session of this name")
    if len(keys) > 1:
        # Where keys are ids, a longer mask tells them apart; it is still no id.
        raise Ambiguous(sorted((key if is_shown(settings, key) else hash_id(key))[:16] for key in keys))
    return keys.pop()


def _matcher(settings: SessionSettings, name: str) -> Callable[[str], bool]:
    if (mask := _MASK.fullmatch(name)) is not None:
        digits = mask[1]
        return lambda key: hash_id(key).startswith(digits) or (is_shown(settings, key) and key.startswith(digits))
    if _HANDLE.fullmatch(name):
        return lambda key: any(compare_digest(one, name) for one in settings.signer.marks(b"device", key))
    raise NotOneName(
        "no session can be named so: give a key or a mask, eight hexadecimal digits at least, or the handle of a device; never an id"
    )
