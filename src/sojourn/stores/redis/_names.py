"""How a store's keys are named in Redis, and what the two layouts differ in."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from redis.crc import key_slot

from ...errors import ConfigurationError

__all__ = ["LAYOUTS", "Layout", "Names", "decode", "encode", "slots"]


class Layout(NamedTuple):
    """What a store writes."""

    prefix: str
    tick: int
    """Milliseconds that a ttl is rounded up to."""
    tombstones: bool


LAYOUTS: Final = {
    "native": Layout("sojourn:", 1, tombstones=True),
    "connect-redis": Layout("sess:", 1000, tombstones=False),
}
"""``connect-redis``: as version 9 of that package for Express writes it."""


class Names:
    """Names under a prefix. What is not a record begins with a brace, and so is outside every prefix.

    The pointer and the lock of a record are in the record's slot of a cluster.
    """

    __slots__ = ("_prefix", "pattern")

    def __init__(self, prefix: object) -> None:
        if not isinstance(prefix, str) or not prefix or prefix.startswith("{"):
            given = repr(prefix) if isinstance(prefix, str) else type(prefix).__name__
            raise ConfigurationError("prefix", given, "give some text that does not begin with a brace, such as 'app:'")
        self._prefix = prefix
        self.pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix).encode() + b"*"
        """The prefix as ``SCAN`` matches it."""

    def record(self, key: str) -> bytes:
        return (self._prefix + key).encode()

    def key(self, record: bytes) -> str | None:
        """The key of a record under this name; None if it is not UTF-8."""
        return decode(record.removeprefix(encode(self._prefix)))

    def pointer(self, record: bytes) -> bytes:
        return _beside(record) + b":owner"

    def lock(self, record: bytes) -> bytes:
        return _beside(record) + b":lock"

    def index(self, owner: str | None) -> bytes:
        """The owner's index; empty for none."""
        if owner is None:
            return b""
        return f"{{{self._prefix}owner:{hashlib.sha256(owner.encode()).hexdigest()}}}".encode()


def encode(text: str) -> bytes:
    """A key or a name as Redis keeps it."""
    return text.encode()


def decode(stored: bytes) -> str | None:
    """A key that Redis keeps; None if it is not UTF-8."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return None


def _beside(record: bytes) -> bytes:
    """A name in the same slot. The slot of a name with a tag in braces is that of the tag."""
    if record.find(b"{") >= 0 or record.find(b"}") >= 0:  # `in` would first try whether a brace is a number
        return b"{%d}%b" % (_tag(key_slot(record)), record)
    return b"{%b}" % record


def slots(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The names that are in the same slot of a cluster, slot by slot."""
    by_slot: dict[int, list[bytes]] = {}
    for name in names:
        by_slot.setdefault(key_slot(name), []).append(name)
    yield from by_slot.values()


@cache
def _tag(slot: int) -> int:
    """A number whose digits are in this slot."""
    return next(number for number in itertools.count() if key_slot(b"%d" % number) == slot)
