"""Whose each record of a store is, set right by what the record itself says: `reindex`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..codecs import Codec, JSONCodec, check_codec
from ..core.passport import owner_of
from ..core.record import unpack
from ..core.store import CONFLICT, Stored
from ..errors import ConfigurationError, SessionDecodeError
from ..ids import check_key, mask_id, refusal_by
from ..logs import log

__all__ = ["Reindexed", "reindex", "reindex_async"]

_NEEDED: Final = ("scan", "set_owner")
_OFTEN: Final = 1000
"""Records after which the progress is told."""


class Reindexed(NamedTuple):
    """How many records."""

    seen: int
    """Looked at."""
    changed: int
    """Of which the store said something else than they do."""
    unreadable: int
    """Left as they were, since they cannot be read. The log names each."""


def reindex(
    store: Any,
    *,
    codec: Codec | None = None,
    passport: bool = False,
    progress: Callable[[Reindexed], object] | None = None,
) -> Reindexed:
    """Look at every record of a sync store, and set right whose it is for ``by_owner``. Sites may go on meanwhile.

    It is needed where another program has written what the store does not learn of, such as a login on the Node side, or where the
    index was lost. It changes neither records nor their expiry, and repeating it is harmless.

    Args:
        store: a sync store that has ``scan()`` and ``set_owner()``.
        codec: that of the middleware, as an `EncryptedCodec` is needed to read what it wrote. None: the records are not encrypted.
        passport: whether ``passport.user`` in the data says who is logged in, as with the option of that name.
        progress: called after each thousand records, and in the end, with what was done so far.

    Raises:
        ConfigurationError: the store lacks a method or is async, or the codec is none.
        StoreError: the store fails. What was done stays.
    """
    run = _Run(store, codec, passport, progress, asynchronous=False)
    for key, stored in store.scan():
        found = stored
        while (whose := run.read(key, found)) is not None and not run.note(store.set_owner(key, **whose)):
            found = store.load(key)
        run.count()
    return run.tell()


async def reindex_async(
    store: Any,
    *,
    codec: Codec | None = None,
    passport: bool = False,
    progress: Callable[[Reindexed], object] | None = None,
) -> Reindexed:
    """`reindex` for an async store; with the same arguments and errors."""
    run = _Run(store, codec, passport, progress, asynchronous=True)
    async for key, stored in store.scan():
        found = stored
        while (whose := run.read(key, found)) is not None and not run.note(await store.set_owner(key, **whose)):
            found = await store.load(key)
        run.count()
    return run.tell()


class _Run:
    """What both colours share."""

    def __init__(
        self,
        store: object,
        codec: Codec | None,
        passport: bool,
        progress: Callable[[Reindexed], object] | None,
        *,
        asynchronous: bool,
    ) -> None:
        for name in _NEEDED:
            if not callable(getattr(store, name, None)):
                given = f"{type(store).__name__}, which has no {name}()"
                raise ConfigurationError("store", given, f"give a store that has {'() and '.join(_NEEDED)}()")
        if inspect.iscoroutinefunction(getattr(store, _NEEDED[-1])) is not asynchronous:
            colour, other = ("a sync", "reindex") if asynchronous else ("an async", "reindex_async")
            raise ConfigurationError("store", f"{type(store).__name__}, {colour} store", f"use {other}")
        self._codec = JSONCodec() if codec is None else codec
        check_codec("codec", self._codec)
        self._passport = passport
        self._progress = progress
        self._seen = self._changed = self._unreadable = 0

    def read(self, key: str, found: object) -> dict[str, Any] | None:
        """Whose a record is, as ``set_owner`` takes it; None if it has gone, or cannot be read."""
        if not isinstance(found, Stored):
            return None  # pragma: no cover - it has ended since somebody else wrote it
        refusal: object = refusal_by(check_key, key)  # another program may have put it there
        owner = None
        if not refusal:
            try:
                owner = owner_of(unpack(self._codec.unseal(found.data, key)), passport=self._passport)
            except SessionDecodeError as error:
                refusal = error
        if refusal:
            self._unreadable += 1
            log.error("a stored session (%s) is unreadable: %s", mask_id(key), refusal)
            return None
        return {"owner": owner, "version": found.version}

    def note(self, result: object) -> bool:
        """Note what ``set_owner`` returned. False: somebody has written the record meanwhile, and it is to be read again."""
        self._changed += result is True
        return result is not CONFLICT

    def count(self) -> None:
        """Count a record that was dealt with."""
        self._seen += 1
        if self._seen % _OFTEN == 0:
            self.tell()

    def tell(self) -> Reindexed:
        """What was done so far, which the progress is told as well."""
        done = Reindexed(self._seen, self._changed, self._unreadable)
        if self._progress is not None:
            self._progress(done)
        return done
