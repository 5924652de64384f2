"""All sessions of a store sealed anew under the newest key of an `EncryptedCodec`, while the site goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from ..clock import LONGEST_MS
from ..codecs import EncryptedCodec
from ..core.record import unpack
from ..core.store import CONFLICT, MISSING, Stored
from ..errors import SessionDecodeError
from ..ids import mask_id
from ..logs import log

__all__ = ["Rotated", "rotate"]

_OFTEN: Final = 100
"""Records after which the progress is told."""


class Rotated(Struct, frozen=True):
    """How many records."""

    seen: int
    sealed: int
    """Under the newest key now, and not before."""
    unreadable: int
    """Left as they were. The log names each."""


def rotate(
    store: Any,
    codec: EncryptedCodec,
    *,
    accept_plaintext: bool = False,
    dry_run: bool = False,
    progress: Callable[[Rotated], object] = lambda _: None,
) -> Rotated:
    """Seal each record that another than the first key has sealed. Expiry, owner and data stay. Repeating it is harmless.

    A record that somebody writes meanwhile is read again: it may have been sealed with an older key.

    Raises:
        StoreError: the store fails. What was done stays.
    """
    seen = sealed = unreadable = 0
    for key, stored in store.scan():
        found, left = stored, stored.expires_in
        while isinstance(found, Stored):
            try:
                is_plain = accept_plaintext and found.data.startswith(b"{")
                if not is_plain and codec.is_newest(found.data):
                    break
                text = found.data if is_plain else codec.unseal(found.data, key)
                owner = unpack(text).owner
            except SessionDecodeError as error:
                unreadable += 1
                log.error("a stored session (%s) is unreadable: %s", mask_id(key), error)
                break
            left = _left(store, key, left)
            ttl = LONGEST_MS if left is None else left
            written = dry_run or store.replace(key, codec.seal(text, key), ttl, version=found.version, owner=owner)
            if written is not CONFLICT:
                sealed += written is not MISSING
                break
            found = store.load(key)
        seen += 1
        if seen % _OFTEN == 0:
            progress(Rotated(seen, sealed, unreadable))
    done = Rotated(seen, sealed, unreadable)
    progress(done)
    return done


def _left(store: Any, key: str, known: int | None) -> int | None:
    """What a record has left now. Its page was read some time ago, and a visitor who came since has prolonged it, which leaves its version as it was."""
    if hasattr(store, "lifetime"):  # its ``load`` does not tell
        left: int | None = store.lifetime(key)
    else:
        found = store.load(key)
        left = found.expires_in if isinstance(found, Stored) else None
    return known if left is None else left
