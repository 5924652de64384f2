"""What becomes of one session: the decisions, and the writes that they come to. Called from several threads.

Nothing here can lose what the target has: a session that it does not have is created, which a store refuses where there is
one; and one that is still as an earlier run copied it is replaced, by compare-and-set. Any other is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ..clock import Clock
from ..core.store import CONFLICT, EXISTS, MISSING, Stored
from ..errors import SessionDecodeError, SessionEncodeError, SessionTooLarge, StoreError
from ..ids import mask_id
from ..logs import described, log
from .convert import Converted, convert, is_same
from .endpoints import Endpoint, naming
from .report import Result
from .state import Copy, fingerprint

__all__ = ["SLACK", "Copier", "Session", "complain"]

SLACK: Final = 1000
"""Milliseconds by which a lifetime may seem to differ without having changed: stores round, and clocks are read apart."""
_MOST_REFUSALS: Final = 10
"""Writes in a row that a target may refuse, and still serve reads, before it is held to refuse them all."""


class Session(NamedTuple):
    """A session as the source has it."""

    key: str
    name: str
    """Its key at the target."""
    stored: Stored
    deadline: int | None
    """When it ends, epoch ms; None if never."""


class Copier:
    """Copies sessions from one endpoint to the other."""

    def __init__(self, source: Endpoint, target: Endpoint, clock: Clock, *, remembers: bool) -> None:
        self._source = source
        self._target = target
        self._store = target.store
        self._clock = clock
        self._remembers = remembers
        self._refusals = 0

    def copy(self, copies: Mapping[str, Copy], session: Session) -> tuple[Result, Copy | None]:
        """What becomes of a session, and what is known about it then.

        Raises:
            StoreUnavailable: the target fails.
        """
        known = copies.get(session.name)
        version = fingerprint(session.stored.version)
        if known is not None and known.source == version and not _outlasts(session, known):
            return (Result.UNCHANGED if known.target else Result.SKIPPED), known
        try:
            made = convert(session.stored.data, session.key, session.name, self._source.codec, self._target.codec)
            outcome = self._write(session, made, version, known)
        except (SessionDecodeError, SessionEncodeError, SessionTooLarge) as error:
            # of an encode error the reason alone: the path to the value consists of data
            reason = error.reason if isinstance(error, SessionEncodeError) else error
            complain(session.key, reason)
            return Result.FAILED, known
        except StoreError as error:
            self._refused(session, error)
            return Result.FAILED, known
        self._refusals = 0
        return outcome

    def _write(
        self, session: Session, made: Converted, version: bytes, known: Copy | None
    ) -> tuple[Result, Copy | None]:
        now = self._clock()
        deadline = session.deadline
        if deadline is None:  # as if it had been used just now
            deadline = now + (self._source.default_ttl if made.lifetime is None else made.lifetime)
        copy = Copy(session.name, version, b"", deadline)
        if deadline <= now:
            return Result.EXPIRED, known
        if known is None:
            return self._create(made, copy, deadline - now)
        found = self._store.load(session.name)
        if found is None and known.expires <= now:  # it was not used there, and expired, but was used at the source
            return self._create(made, copy, deadline - now)
        if not isinstance(found, Stored):
            return Result.SKIPPED, known
        as_copied = fingerprint(found.version)
        if as_copied != known.target and not self._holds(session.name, found, made):
            return Result.SKIPPED, known
        ttl = deadline - now
        if found.expires_in is not None and found.expires_in > known.expires - now + SLACK:
            ttl = max(ttl, found.expires_in)  # used at the target too
        if version == known.source:
            self._store.touch(session.name, ttl)
            return Result.UPDATED, copy._replace(target=as_copied)
        written = self._store.replace(session.name, made.data, ttl, version=found.version, owner=made.owner)
        if written is CONFLICT or written is MISSING:
            return Result.SKIPPED, known
        return Result.UPDATED, copy._replace(target=fingerprint(written))

    def _create(self, made: Converted, copy: Copy, ttl: int) -> tuple[Result, Copy | None]:
        version = self._store.create(copy.key, made.data, ttl, owner=made.owner)
        if version is not EXISTS:
            return Result.COPIED, copy._replace(target=fingerprint(version))
        if self._remembers:
            # A run that was killed had no time to note its last copies.
            found = self._store.load(copy.key)
            if isinstance(found, Stored) and self._holds(copy.key, found, made):
                return Result.UNCHANGED, copy._replace(target=fingerprint(found.version))
        return Result.SKIPPED, copy

    def _holds(self, name: str, found: Stored, made: Converted) -> bool:
        """Whether the target has exactly what would be written."""
        try:
            return is_same(self._target.codec.unseal(found.data, name), made.text)
        except SessionDecodeError:
            return False

    def end(self, remove: bool, copy: Copy) -> tuple[Result | None, Copy | None]:
        """What becomes of a copy whose session has ended at the source, and the copy if there is none any more."""
        with naming("target"):
            found = self._store.load(copy.key)
            if not isinstance(found, Stored) or fingerprint(found.version) != copy.target:
                return None, None  # it has ended there too, or is the target's own by now
            if not remove:
                return Result.ORPHANED, None
            # A delete would not see that it was written meanwhile. A replace does, and a millisecond is soon over.
            written = self._store.replace(copy.key, found.data, 1, version=found.version)
            return (None, None) if written is CONFLICT or written is MISSING else (Result.REMOVED, copy)

    def _refused(self, session: Session, error: StoreError) -> None:
        """One record was refused; or the target fails, which ends the run.

        Raises:
            StoreUnavailable: it does.
        """
        with naming("target"):
            self._store.load(session.name)
            self._refusals += 1
            if self._refusals >= _MOST_REFUSALS:
                raise error
        complain(session.key, *described(error).args)


def complain(key: str, reason: object) -> None:
    """Log a failure, by what names its session safely."""
    log.error("a session (%s) was not migrated: %s", mask_id(key), reason)


def _outlasts(session: Session, known: Copy) -> bool:
    """Whether a session was used at the source since it was copied."""
    return session.deadline is not None and session.deadline > known.expires + SLACK
