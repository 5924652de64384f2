"""Flash messages: kept until a page shows them. They are ordinary data under one key, in one of two shapes.

`merge` knows them by `is_queue`: what one request takes and another adds at the same time is taken, and added.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final, NamedTuple

from ..errors import SessionEncodeError
from .settings import SessionSettings

__all__ = ["Flash", "is_queue", "keep", "peek", "take"]

_PAIRS: Final = "_flashes"
"""Under which key pairs of category and message are, as Flask has them."""
_BY_TYPE: Final = "flash"
"""Under which key connect-flash has an object of lists."""
_PYRAMIDS: Final = "_f_"
"""With what the keys of Pyramid's queues begin."""
_MOST: Final = 50
_LISTS: Final = (list, tuple)  # the latter are Flask's


class Flash(NamedTuple):
    """A message for the next page."""

    category: str
    message: str


def is_queue(key: str) -> bool:
    """Whether messages are kept under a key."""
    return key in (_PAIRS, _BY_TYPE) or key.startswith(_PYRAMIDS)


def keep(session: MutableMapping[str, Any], settings: SessionSettings, message: Any, category: str) -> None:
    """Put a message at the end; of more than 50 the oldest is dropped. What the codec does not hold, such as a lazy string, is kept as text."""
    if type(message) is not str:
        try:
            settings.encode(message)
        except SessionEncodeError:
            message = str(message)
    if settings.options.connect_flash:
        category = str(category)  # the name of a member
    _write(session, settings, [*peek(session, settings), Flash(category, message)][-_MOST:])


def peek(session: MutableMapping[str, Any], settings: SessionSettings, category: str | None = None) -> list[Flash]:
    """The kept messages. What else lies in their place, or among them, another program has put there, and it is left out."""
    kept = session.get(_key(settings))
    if settings.options.connect_flash:
        lists = kept.items() if type(kept) is dict else ()
        flashes = [Flash(each, message) for each, messages in lists if type(messages) is list for message in messages]
    else:
        pairs = kept if type(kept) is list else []
        flashes = [Flash(*pair) for pair in pairs if type(pair) in _LISTS and len(pair) == 2]
    return [flash for flash in flashes if category in (None, flash.category)]


def take(session: MutableMapping[str, Any], settings: SessionSettings, category: str | None) -> list[Flash]:
    """Take the kept messages, or those of one category."""
    kept = peek(session, settings)
    taken = [flash for flash in kept if category in (None, flash.category)]
    if taken or not kept:
        _write(session, settings, [flash for flash in kept if flash not in taken])
    return taken


def _key(settings: SessionSettings) -> str:
    return _BY_TYPE if settings.options.connect_flash else _PAIRS


def _write(session: MutableMapping[str, Any], settings: SessionSettings, flashes: list[Flash]) -> None:
    key = _key(settings)
    if not flashes:
        session.pop(key, None)
    elif settings.options.connect_flash:
        by_type: dict[str, list[str]] = {}
        for category, message in flashes:
            by_type.setdefault(category, []).append(message)
        session[key] = by_type
    else:
        session[key] = [[category, message] for category, message in flashes]
