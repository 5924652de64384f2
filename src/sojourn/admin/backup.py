"""A backup file: a store's sessions, to be put back into one like it.

The file has a line for each session, as JSON: its key, its record as it lies in the store, base64, and when it expires, epoch ms. The first line says
what the file is, a line after each page where the next one begins, and the last how many there are: a file without it is not complete. An encrypted
file has each line but the first sealed by AES-256-GCM together with that one and the line's number: none can be changed, left out or moved.

A record that is encrypted in the store stays so in the file. The file holds what the store holds: where keys are ids, it opens sessions.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from ..clock import LONGEST_MS, Clock
from ..codecs import EncryptedCodec
from ..core.data import unpack_stored
from ..core.settings import SessionSettings
from ..core.store import EXISTS, Page, Stored
from ..errors import ConfigurationError, SessionDecodeError, SojournError
from ..ids import mask_id
from ..logs import log
from ..middleware.drive import capability

__all__ = ["Backup", "BackupError", "Imported", "export_sessions", "import_sessions"]

_FORMAT: Final = 1
_PAGE: Final = 500
_WORKERS: Final = 8
_LOOKED_FOR: Final = 1000
"""Sessions of a backup that are looked for in a store, to see whether it is the one they are from."""


class BackupError(SojournError):
    """The file is no backup, not complete, or cannot be read with these keys."""


class _Header(Struct, frozen=True, kw_only=True):
    format: int = msgspec.field(name="sojourn-backup")
    id: str
    made_at: int
    """Epoch ms."""
    store: str
    """What tells the store from others; it says nothing about it."""
    is_express: bool
    is_encrypted: bool


class _Line(Struct, frozen=True, omit_defaults=True):
    key: str | None = None
    data: bytes = b""
    expires: int | None = None
    after: str | None = None
    """Where the next page of the store begins."""
    end: int | None = None
    """How many sessions there were."""


_decode_header: Final = msgspec.json.Decoder(_Header).decode
_decode: Final = msgspec.json.Decoder(_Line).decode
_encode: Final = msgspec.json.encode


class Backup:
    """A backup file that is read.

    Args:
        path: the file.
        cipher: the codec with the keys of an encrypted one.

    Raises:
        BackupError: it is none, or the keys are missing.
    """

    def __init__(self, path: Path, cipher: EncryptedCodec | None) -> None:
        self._path = path
        self._cipher = cipher
        if not path.is_file():
            raise BackupError(
                f"{path} is no regular file, and a backup is read more than once: save it to a file first"
            )
        with path.open("rb") as file:
            try:
                self.header: _Header = _decode_header(file.readline())
            except msgspec.MsgspecError:
                raise BackupError(f"{path} is no backup of Sojourn's") from None
        if self.header.format != _FORMAT:
            raise BackupError(f"{path} has format {self.header.format}; this version of Sojourn reads {_FORMAT}")
        if self.header.is_encrypted and cipher is None:
            raise BackupError(f"{path} is encrypted: give its keys")

    def lines(self) -> Iterator[tuple[_Line, int]]:
        """What the lines say, each with the place in the file where it ends; a last one that is cut is left out.

        Raises:
            BackupError: a line cannot be read.
        """
        with self._path.open("rb") as file:
            place = len(file.readline())
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                place += len(line)
                yield self._read(line, number), place

    def _read(self, line: bytes, number: int) -> _Line:
        try:
            text = line[:-1]
            if self.header.is_encrypted:
                assert self._cipher is not None
                text = self._cipher.unseal(text, _name(self.header, number))
            return _decode(text)
        except (SessionDecodeError, msgspec.MsgspecError):
            raise BackupError(
                f"line {number + 1} of {self._path} cannot be read: altered, or sealed with another key"
            ) from None

    def sessions(self) -> Iterator[_Line]:
        """The sessions.

        Raises:
            BackupError: the file is not complete, or a line cannot be read. Those before it were yielded.
        """
        count, is_complete = 0, False
        for line, _ in self.lines():
            if line.key is not None:
                count += 1
                yield line
            is_complete = line.end == count
        if not is_complete:
            raise BackupError(f"{self._path} is not complete: run the export again, which goes on where it ended")


def _name(header: _Header, number: int) -> str:
    """What a line is sealed for: its place in a file with this first line."""
    return f"sojourn backup {_encode(header).decode()} {number}"


def export_sessions(
    store: Any,
    target: Path | BinaryIO,
    *,
    place: str,
    is_express: bool,
    clock: Clock,
    cipher: EncryptedCodec | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Write a store's live sessions to a file, readable by its owner alone; returns how many.

    A file that is there and not complete is gone on with. Into a stream, such as a pipe, all are written.
    The site may go on meanwhile: each session is as it was when it was read.

    Args:
        store: a sync store that has ``page()``.
        target: the file, which may be a FIFO or a device, or an open stream.
        place: what tells the store from others.
        is_express: whether Express reads and writes there too.
        clock: milliseconds since the epoch.
        cipher: a codec that seals the lines; None to leave them as they are.
        progress: called after each page with the number of sessions so far.

    Raises:
        BackupError: the file is something else, of another store, or complete already.
        OSError: it cannot be written.
        StoreError: the store fails. What was written stays.
    """
    begun = _Begun(
        _Header(
            format=_FORMAT,
            id=secrets.token_hex(8),
            made_at=clock(),
            store=place,
            is_express=is_express,
            is_encrypted=cipher is not None,
        )
    )
    if not isinstance(target, Path):
        return _write(store, target, begun, clock, cipher, progress)
    if target.exists() and not target.is_file():
        # Nothing of it can be read again, and whoever reads it has what was written.
        with target.open("wb") as stream:
            return _write(store, stream, begun, clock, cipher, progress)
    if target.exists():
        begun = _begun(target, cipher)
        if begun.header.store != place or begun.header.is_encrypted != (cipher is not None):
            raise BackupError(f"{target} is a backup of another store, or made with other options: name another file")
        os.truncate(target, begun.end)
    else:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with target.open("ab") as file:
        count = _write(store, file, begun, clock, cipher, progress)
        os.fsync(file.fileno())
    return count


class _Begun(Struct, frozen=True):
    """What of a backup is there."""

    header: _Header
    count: int = 0
    """Sessions."""
    number: int = 0
    """Lines after the first."""
    cursor: str = ""
    """Where it goes on in the store."""
    end: int = 0
    """Where it goes on in the file; 0 before the first line."""


def _write(
    store: Any,
    file: BinaryIO,
    begun: _Begun,
    clock: Clock,
    cipher: EncryptedCodec | None,
    progress: Callable[[int], object],
) -> int:
    """Write what is not there yet; returns how many sessions there are then."""
    header, count, number = begun.header, begun.count, begun.number
    if not begun.end:
        file.write(_encode(header) + b"\n")

    def sealed(line: _Line, number: int) -> bytes:
        text = _encode(line)
        return (text if cipher is None else cipher.seal(text, _name(header, number))) + b"\n"

    after: str | None = begun.cursor
    while after is not None:
        page: Page = capability(store, "page")(after, _PAGE)
        now, after = clock(), page.next
        lines = [
            _Line(key, stored.data, None if stored.expires_in is None else now + stored.expires_in)
            for key, stored in page.items
        ]
        count += len(lines)
        lines.append(_Line(end=count) if after is None else _Line(after=after))
        file.write(b"".join(sealed(line, at) for at, line in enumerate(lines, number + 1)))
        file.flush()
        number += len(lines)
        progress(count)
    return count


def _begun(path: Path, cipher: EncryptedCodec | None) -> _Begun:
    """A backup that is not complete, up to the last page's end."""
    backup = Backup(path, cipher)
    count = seen = number = 0
    cursor, end = "", len(_encode(backup.header)) + 1
    for at, (line, place) in enumerate(backup.lines(), 1):
        seen += line.key is not None
        if line.end is not None:
            raise BackupError(f"{path} is a complete backup already: name another file")
        if line.after is not None:
            count, number, cursor, end = seen, at, line.after, place
    return _Begun(backup.header, count, number, cursor, end)


Fate: TypeAlias = Literal["imported", "there", "ended", "expired", "failed"]


class Imported(Struct, frozen=True):
    """What became of a backup's sessions."""

    imported: int = 0
    there: int = 0
    """Already: left as they are, since a session that was used meanwhile is worth more than an old copy of it."""
    ended: int = 0
    """Since the backup was made, as the store it is from has them no longer: logged out, or lost."""
    expired: int = 0
    failed: int = 0
    """They cannot be read, or the store refuses them. The log names each."""


class _Position(Struct, frozen=True):
    """How far an import has come."""

    backup: str
    store: str
    done: int
    is_same: bool


def import_sessions(
    store: Any,
    settings: SessionSettings,
    path: Path,
    *,
    place: str,
    is_express: bool,
    cipher: EncryptedCodec | None = None,
    revive_ended: bool = False,
    progress: Callable[[Imported], object] = lambda _: None,
) -> Imported:
    """Put the sessions of a backup into a store, with the lifetimes that they would have left. None that is there is overwritten.

    A session that the store has no longer has ended since, if the store is the one that the backup is from: it stays so unless ``revive_ended``. It
    is that store if its URL is the same, or if it has any of the first thousand sessions. Another store gets all.

    How far it came is kept beside the file, so that a run that was cut short goes on there.

    Args:
        store: a sync store.
        settings: how its records are read.
        path: the backup.
        place: what tells the store from others.
        is_express: whether Express reads and writes there too.
        cipher: the codec with the keys of an encrypted backup.
        revive_ended: bring back what has ended.
        progress: called now and then with what was done in this run.

    Raises:
        BackupError: the file is no backup, or not complete. What came before is imported.
        ConfigurationError: it is of another layout.
        StoreError: the store fails.
    """
    backup = Backup(path, cipher)
    header, clock = backup.header, settings.options.clock
    if header.is_express != is_express:
        remedy = "give a store of the layout that the backup is from; sojourn migrate goes from one to the other"
        raise ConfigurationError("the store", "another layout than the backup's", remedy)
    noted = path.with_name(path.name + ".position")
    position = _position(noted, header.id, place)
    if position is None:
        first = islice(backup.sessions(), _LOOKED_FOR)
        is_same = header.store == place or any(_has(store, str(line.key)) for line in first)
        position = _Position(header.id, place, 0, is_same)
        noted.write_bytes(
            _encode(position)
        )  # before the first session: a run that goes on would find some, and take the store for the same

    def put(line: _Line) -> Fate:
        key = str(line.key)
        left = LONGEST_MS if line.expires is None else line.expires - clock()
        if left <= 0:
            return "expired"
        try:
            if position.is_same and not revive_ended:
                return "there" if isinstance(store.load(key), Stored) else "ended"
            record = unpack_stored(settings, key, Stored(line.data, None, None))
            made = store.create(key, line.data, left, owner=record.owner)
        except (
            SessionDecodeError,
            ValueError,
            TypeError,
        ) as error:  # the latter of a key or a size that the store refuses
            log.error("a session (%s) was not imported: %s", mask_id(key), error)
            return "failed"
        return "there" if made is EXISTS else "imported"

    fates: Counter[str] = Counter()
    done = position.done
    lines = islice(backup.sessions(), done, None)
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="sojourn-import") as hands:
        while some := list(islice(lines, _PAGE)):
            fates.update(hands.map(put, some))
            done += len(some)
            noted.write_bytes(_encode(msgspec.structs.replace(position, done=done)))
            progress(Imported(**fates))
    with suppress(FileNotFoundError):
        noted.unlink()
    return Imported(**fates)


def _has(store: Any, key: str) -> bool:
    """Whether the store has a record or a tombstone under a key, which may be one that it refuses."""
    with suppress(ValueError, TypeError):
        return store.load(key) is not None
    return False


def _position(path: Path, backup: str, store: str) -> _Position | None:
    """How far an earlier run came with this backup and this store; None if there was none."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Position)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if (found.backup, found.store) == (backup, store) else None
