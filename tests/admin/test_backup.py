"""The backup file: what is in it, what an import does with it, and what it refuses."""

from __future__ import annotations

import json
import os
import secrets
import threading
from pathlib import Path
from typing import Any

import pytest

from sojourn import EncryptedCodec
from sojourn.admin.backup import BackupError, Imported, export_sessions, import_sessions
from sojourn.core.settings import SessionSettings
from sojourn.errors import ConfigurationError, StoreUnavailable
from sojourn.stores import MemoryStore
from tests.core.making import DAY, HOUR, clock_of, make_settings, record_bytes


@pytest.fixture
def settings() -> SessionSettings:
    return make_settings()


@pytest.fixture
def store(settings) -> MemoryStore:
    return filled(settings, 1200)


def filled(settings: SessionSettings, count: int) -> MemoryStore:
    store = MemoryStore(clock=clock_of(settings))
    text = record_bytes(settings, {"n": 1})
    for number in range(count):
        store.create(settings.key_of(str(number)), text, DAY, owner=None)
    return store


def save(store: Any, settings: SessionSettings, path: Path, **options: Any) -> int:
    given = {"place": "one", "is_express": False, "clock": clock_of(settings), **options}
    return export_sessions(store, path, **given)


def put(store: Any, settings: SessionSettings, path: Path, **options: Any) -> Imported:
    return import_sessions(store, settings, path, **{"place": "two", "is_express": False, **options})


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_another_store_gets_all_with_what_they_have_left(settings, store, tmp_path, is_encrypted) -> None:
    cipher = EncryptedCodec(secrets.token_bytes(32)) if is_encrypted else None
    path = tmp_path / "backup"
    assert save(store, settings, path, cipher=cipher) == 1200
    assert (settings.key_of("1").encode() in path.read_bytes()) is not is_encrypted
    clock_of(settings).advance(HOUR)
    new = MemoryStore(clock=clock_of(settings))
    told: list[Imported] = []
    assert put(new, settings, path, cipher=cipher, progress=told.append) == Imported(imported=1200)
    assert [so_far.imported for so_far in told] == [500, 1000, 1200]
    assert dict(new.scan()).keys() == dict(store.scan()).keys()
    assert {stored.expires_in for _, stored in new.scan()} == {DAY - HOUR}
    clock_of(settings).advance(DAY)
    assert put(new, settings, path, cipher=cipher) == Imported(expired=1200)


def test_what_has_ended_stays_so_in_its_store_and_wherever_some_of_it_is(settings, store, tmp_path) -> None:
    path = tmp_path / "backup"
    save(store, settings, path)
    store.delete(*(settings.key_of(str(number)) for number in range(200)))
    for place in ("one", "by another name"):
        assert put(store, settings, path, place=place) == Imported(there=1000, ended=200)
    assert store.count() == 1000
    assert put(store, settings, path, place="one", revive_ended=True) == Imported(imported=200, there=1000)


def test_a_store_that_has_lost_all_is_not_filled_without_being_told_to(settings, store, tmp_path) -> None:
    path = tmp_path / "backup"
    save(store, settings, path)
    store.clear()
    assert put(store, settings, path, place="one") == Imported(ended=1200)
    assert put(store, settings, path, place="one", revive_ended=True) == Imported(imported=1200)


class Failing(MemoryStore):
    """Fails after so many calls of one method."""

    def __init__(self, method: str, calls: int, **options: Any) -> None:
        super().__init__(**options)
        self._left = {method: calls}

    def _count(self, method: str) -> None:
        if method in self._left:
            self._left[method] -= 1
            if self._left[method] < 0:
                raise StoreUnavailable("down")

    def page(self, cursor: str = "", limit: int = 100) -> Any:
        self._count("page")
        return super().page(cursor, limit)

    def create(self, *arguments: Any, **options: Any) -> Any:
        self._count("create")
        return super().create(*arguments, **options)


def test_an_export_that_was_cut_short_goes_on(settings, tmp_path) -> None:
    store = Failing("page", 2, clock=clock_of(settings))
    text = record_bytes(settings, {"n": 1})
    for number in range(1200):
        store.create(settings.key_of(str(number)), text, DAY)
    path = tmp_path / "backup"
    with pytest.raises(StoreUnavailable):
        save(store, settings, path)
    with path.open("ab") as file:
        file.write(b'{"key":"half a li')  # as a kill leaves it
    with pytest.raises(BackupError, match="not complete"):
        put(MemoryStore(), settings, path, place="three")
    store._left = {}
    assert save(store, settings, path) == 1200
    new = MemoryStore(clock=clock_of(settings))
    assert put(new, settings, path) == Imported(imported=1200)


def test_what_is_no_regular_file_is_written_to_and_not_read(settings, store, tmp_path) -> None:
    fifo, saved = tmp_path / "fifo", tmp_path / "saved"
    os.mkfifo(fifo)
    read = list[bytes]()
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()), daemon=True)
    reader.start()
    assert save(store, settings, fifo) == 1200
    reader.join(20)
    saved.write_bytes(read[0])
    assert put(MemoryStore(clock=clock_of(settings)), settings, saved) == Imported(imported=1200)
    with pytest.raises(BackupError, match=r"fifo is no regular file.*: save it to a file first"):
        put(store, settings, fifo)
    assert save(store, settings, Path(os.devnull)) == 1200


@pytest.mark.parametrize("so_far", [100, 700])
def test_an_import_that_was_cut_short_goes_on_and_knows_the_store_for_what_it_was(
    settings, store, tmp_path, so_far
) -> None:
    path = tmp_path / "backup"
    save(store, settings, path)
    new = Failing("create", so_far, clock=clock_of(settings))
    with pytest.raises(StoreUnavailable):
        put(new, settings, path)
    new._left = {}
    done = put(new, settings, path)
    assert done.ended == 0 and done.imported + done.there == (700 if so_far > 500 else 1200)
    assert new.count() == 1200
    assert not (tmp_path / "backup.position").exists()


def test_a_position_of_another_import_is_passed_over(settings, store, tmp_path) -> None:
    path = tmp_path / "backup"
    save(store, settings, path)
    (tmp_path / "backup.position").write_text("no position")
    assert put(MemoryStore(clock=clock_of(settings)), settings, path) == Imported(imported=1200)


@pytest.mark.parametrize("change", ["altered", "left out", "moved", "cut", "of another store"])
def test_an_encrypted_backup_that_somebody_has_changed_is_refused(settings, tmp_path, change) -> None:
    store, path, cipher = filled(settings, 5), tmp_path / "backup", EncryptedCodec(secrets.token_bytes(32))
    save(store, settings, path, cipher=cipher)
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "altered":
        lines[2] = lines[2].replace(lines[2][40:41], b"A" if lines[2][40:41] != b"A" else b"B", 1)
    elif change == "left out":
        del lines[2]
    elif change == "of another store":
        lines[0] = lines[0].replace(json.loads(lines[0])["store"].encode(), b"another")
    elif change == "moved":
        lines[2], lines[3] = lines[3], lines[2]
    else:
        del lines[-1]
    path.write_bytes(b"".join(lines))
    with pytest.raises(BackupError, match="not complete" if change == "cut" else "cannot be read"):
        put(MemoryStore(), settings, path, cipher=cipher)


def test_an_encrypted_backup_needs_its_keys(settings, tmp_path) -> None:
    path = tmp_path / "backup"
    save(filled(settings, 1), settings, path, cipher=EncryptedCodec(secrets.token_bytes(32)))
    with pytest.raises(BackupError, match="is encrypted: give its keys"):
        put(MemoryStore(), settings, path)
    with pytest.raises(BackupError, match="sealed with another key"):
        put(MemoryStore(), settings, path, cipher=EncryptedCodec(secrets.token_bytes(32)))


def test_a_file_that_is_something_else_is_neither_read_nor_written(settings, tmp_path) -> None:
    path = tmp_path / "backup"
    path.write_text("precious\n")
    for call in (save, put):
        with pytest.raises(BackupError, match="is no backup"):
            call(MemoryStore(), settings, path)
    assert path.read_text() == "precious\n"


def test_a_backup_is_neither_made_twice_nor_of_two_stores(settings, tmp_path) -> None:
    path = tmp_path / "backup"
    save(filled(settings, 1), settings, path)
    with pytest.raises(BackupError, match="complete backup already"):
        save(filled(settings, 1), settings, path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0])
    with pytest.raises(BackupError, match="of another store"):
        save(filled(settings, 1), settings, path, place="two")
    header = json.loads(lines[0])
    path.write_text(json.dumps({**header, "sojourn-backup": 2}) + "\n")
    with pytest.raises(BackupError, match="has format 2"):
        put(MemoryStore(), settings, path)


def test_a_backup_of_another_layout_is_refused(settings, tmp_path) -> None:
    path = tmp_path / "backup"
    save(filled(settings, 1), settings, path, is_express=True)
    with pytest.raises(ConfigurationError, match="another layout than the backup's"):
        put(MemoryStore(), settings, path)


def test_a_key_that_no_store_takes_is_counted(settings, tmp_path) -> None:
    path = tmp_path / "backup"
    save(filled(settings, 1), settings, path)
    first, session, end = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + session.replace(json.loads(session)["key"].encode(), b"") + end)
    assert put(MemoryStore(clock=clock_of(settings)), settings, path) == Imported(failed=1)


def test_what_cannot_be_read_is_counted_and_named_in_the_log(settings, tmp_path, caplog) -> None:
    store = filled(settings, 2)
    store.create("broken", b"no record", DAY)
    path = tmp_path / "backup"
    save(store, settings, path)
    assert put(MemoryStore(clock=clock_of(settings)), settings, path) == Imported(imported=2, failed=1)
    assert "was not imported: the record is not a JSON object" in caplog.text and "broken" not in caplog.text
