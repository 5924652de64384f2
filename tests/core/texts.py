"""Data as text, as stored records have them."""

from __future__ import annotations

from typing import Any, Final

from sojourn.codecs import split
from sojourn.core.plan import Create, Plan, Regenerate, Replace
from sojourn.core.record import COOKIE_KEY, OWN_KEY
from sojourn.core.session import Session
from tests.core.making import make_settings, stored

__all__ = ["deep", "foreign", "loaded", "texts_of"]

_HEAD: Final = b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}'


def foreign(data: bytes) -> bytes:
    """A record that another program wrote, with the text of its data as it is."""
    return _HEAD + (b"}" if data == b"{}" else b"," + data[1:])


def loaded(data: bytes, **options: Any) -> Session:
    """A session of such a record."""
    return stored(make_settings(**options), foreign(data))


def texts_of(plan: Plan) -> dict[str, bytes]:
    """What a plan writes, value by value."""
    assert isinstance(plan.write, Create | Replace | Regenerate)
    members = split(plan.write.data)
    return {name: bytes(text) for name, text in members.items() if name not in (COOKIE_KEY, OWN_KEY)}


def deep(depth: int) -> bytes:
    """Lists within lists."""
    return b"[" * depth + b"]" * depth
