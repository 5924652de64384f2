"""A store of your own: a file for each session, in a folder for all threads and processes of one machine (POSIX)."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from sojourn.clock import Clock, system_clock
from sojourn.core.store import CONFLICT, DEFAULT_MAX_SIZE, EXISTS, MISSING, Deleted, Replaced, Stored, check_size
from sojourn.errors import StoreTimeout

TOMBSTONE = bytes(16)  # in the place of the version; the successor's key follows


class FolderStore:
    def __init__(self, folder: str | Path, *, clock: Clock = system_clock) -> None:
        self.folder, self.clock = Path(folder), clock

    def open(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def close(self) -> None: ...

    def load(self, key: str) -> Any:
        with self._locked(fcntl.LOCK_SH) as now:
            return self._read(key, now)

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        with self._locked() as now:
            return EXISTS if self._read(key, now) is not None else self._write(key, data, now + ttl)

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        with self._locked() as now:
            if not (found := self._read(key, now)):  # also a tombstone is falsy
                return MISSING
            return self._write(key, data, now + ttl) if found.version == version else CONFLICT

    def regenerate(self, old: str, new: str, data: bytes, ttl: int, *, version: Any, tombstone: int, **_: Any) -> Any:
        with self._locked() as now:
            if not (found := self._read(old, now)):
                return MISSING
            if found.version != version or self._read(new, now) is not None:
                return CONFLICT if found.version != version else EXISTS
            written = self._write(new, data, now + ttl)
            self._write(old, new.encode(), now + tombstone, TOMBSTONE)
            return written

    def touch(self, key: str, ttl: int) -> bool:
        with self._locked() as now:
            return bool((found := self._read(key, now)) and self._write(key, found.data, now + ttl, found.version))

    def delete(self, *keys: str) -> Deleted:
        with self._locked() as now:
            found = {key: self._read(key, now) for key in keys}
            for key in (records := [key for key in found if found[key]]):
                self._path(key).unlink()
        successors = (one.successor for one in found.values() if isinstance(one, Replaced) and one.successor)
        return Deleted(len(records), tuple(dict.fromkeys(successors)))

    @contextmanager
    def _locked(self, how: int = fcntl.LOCK_EX) -> Iterator[int]:
        try:
            self.open()
            with self.folder.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, how)  # until it is closed; between threads, too, as each opens the file for itself
                yield self.clock()
        except OSError as error:
            raise StoreTimeout("the folder of sessions cannot be used", driver_error=error) from None  # perhaps written

    def _read(self, key: str, now: int) -> Any:
        path = self._path(key)
        left = path.stat().st_mtime_ns // 1_000_000 - now if path.exists() else 0
        version, data = (raw := path.read_bytes() if left > 0 else b"")[:16], raw[16:]
        found = Replaced(data.decode()) if version == TOMBSTONE else Stored(data, version, left)
        return found if raw else None

    def _write(self, key: str, data: bytes, expires: int, version: bytes | None = None) -> bytes:
        check_size(data, DEFAULT_MAX_SIZE)
        path, version = self._path(key), version or secrets.token_bytes(16)
        path.with_suffix(".new").write_bytes(version + data)
        os.utime(path.with_suffix(".new"), ns=(expires * 1_000_000,) * 2)  # the time of change is the expiry
        path.with_suffix(".new").replace(path)
        return version

    def _path(self, key: str) -> Path:
        return self.folder / sha256(key.encode()).hexdigest()
