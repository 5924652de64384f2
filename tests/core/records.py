"""Records as other programs write them, and what a session makes of them."""

from __future__ import annotations

from typing import Any, Final

from sojourn.core.plan import Create, Regenerate, Replace, Touch
from sojourn.core.policy import decide
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from tests.core.making import make_settings

__all__ = ["EXPRESS", "LARGEST", "OURS", "data_part", "lists", "record", "values", "written"]

OURS: Final = make_settings()
EXPRESS: Final = make_settings(express_profile=True)
_COOKIE: Final = b'"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}'
LARGEST: Final = 2**53 - 1


def record(*members: bytes, cookie: bytes = _COOKIE) -> bytes:
    """A record as another program writes it."""
    return b"{%b}" % b",".join([cookie, *members])


def values(**texts: bytes) -> bytes:
    return record(*(b'"%b":%b' % (name.encode(), text) for name, text in texts.items()))


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def written(session: Session) -> bytes | None:
    """The data's part of the record that the commit stores; None where nothing is stored."""
    write = decide(session._state).write
    return None if write is None or isinstance(write, Touch) else data_part(session._state.settings, write)


def data_part(settings: SessionSettings, write: Any) -> bytes:
    """What follows the reserved part, as it is in the record."""
    assert isinstance(write, Create | Replace | Regenerate)
    text = settings.codec.unseal(write.data, write.new if isinstance(write, Regenerate) else write.key)
    begin = text.index(b'"__sojourn__":')
    return text[text.index(b"}", begin) + 1 :].removeprefix(b",").removesuffix(b"}")
