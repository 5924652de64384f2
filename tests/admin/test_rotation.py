"""Sessions sealed anew under the newest key, while somebody else writes."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from sojourn import EncryptedCodec
from sojourn.admin.rotation import Rotated, rotate
from sojourn.core.settings import SessionSettings
from sojourn.core.store import Stored
from sojourn.stores import MemoryStore
from tests.core.making import DAY, clock_of, make_settings, record_bytes

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


@pytest.fixture
def settings() -> SessionSettings:
    return make_settings()


class Busy(MemoryStore):
    """Its records are changed, or end, just before they are written."""

    def __init__(self, meanwhile: Any, **options: Any) -> None:
        super().__init__(**options)
        self.meanwhile = meanwhile

    def replace(self, key: str, *arguments: Any, **options: Any) -> Any:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile(self, key)
        return super().replace(key, *arguments, **options)


def test_a_session_that_is_written_meanwhile_is_read_again(settings) -> None:
    codec, older = EncryptedCodec([NEW, OLD]), EncryptedCodec(OLD)

    def write(store: MemoryStore, key: str) -> None:
        found = store.load(key)
        assert isinstance(found, Stored)
        store.replace(key, older.seal(record_bytes(settings, {"n": 2}), key), DAY, version=found.version)

    store = Busy(write, clock=clock_of(settings))
    store.create("key", older.seal(record_bytes(settings, {"n": 1}), "key"), DAY)
    assert rotate(store, codec) == Rotated(1, 1, 0)
    found = store.load("key")
    assert isinstance(found, Stored)
    assert b'"n":2' in EncryptedCodec(NEW).unseal(found.data, "key")


def test_a_lifetime_that_load_does_not_tell_is_asked_for(settings) -> None:
    class Untelling(Busy):
        def load(self, key: str) -> Any:
            found = super().load(key)
            return found._replace(expires_in=None) if isinstance(found, Stored) else found

        def lifetime(self, key: str) -> int:
            return DAY // 2

    def write(store: MemoryStore, key: str) -> None:
        found = store.load(key)
        assert isinstance(found, Stored)
        store.replace(key, EncryptedCodec(OLD).seal(record_bytes(settings, {"n": 2}), key), DAY, version=found.version)

    store = Untelling(write, clock=clock_of(settings))
    store.create("key", EncryptedCodec(OLD).seal(record_bytes(settings, {"n": 1}), "key"), DAY)
    assert rotate(store, EncryptedCodec([NEW, OLD])) == Rotated(1, 1, 0)
    found = MemoryStore.load(store, "key")
    assert isinstance(found, Stored) and found.expires_in == DAY // 2


def test_a_session_that_ends_meanwhile_does_not_come_back(settings) -> None:
    store = Busy(lambda store, key: store.delete(key), clock=clock_of(settings))
    store.create("key", EncryptedCodec(OLD).seal(record_bytes(settings, {"n": 1}), "key"), DAY)
    assert rotate(store, EncryptedCodec([NEW, OLD])) == Rotated(1, 0, 0)
    assert store.count() == 0


def test_a_session_that_is_not_encrypted_is_left_unless_that_is_wanted(settings) -> None:
    store, codec = MemoryStore(clock=clock_of(settings)), EncryptedCodec(NEW)
    told: list[Rotated] = []
    for number in range(100):
        store.create(f"key-{number}", record_bytes(settings, {"n": 1}), DAY)
    assert rotate(store, codec, accept_plaintext=False) == Rotated(100, 0, 100)
    assert rotate(store, codec, accept_plaintext=True, dry_run=True) == Rotated(100, 100, 0)
    assert rotate(store, codec, accept_plaintext=True, progress=told.append) == Rotated(100, 100, 0)
    assert told == [Rotated(100, 100, 0)] * 2
    assert rotate(store, codec) == Rotated(100, 0, 0)


@pytest.mark.parametrize("tells", [True, False])
def test_a_session_that_is_used_after_its_page_was_read_keeps_what_it_has_left(settings, tells) -> None:
    class Used(MemoryStore):
        def scan(self) -> Any:
            for key, stored in list(super().scan()):
                self.touch(key, DAY)
                yield key, stored._replace(expires_in=1000)

    class Untelling(Used):
        def load(self, key: str) -> Any:
            found = super().load(key)
            return found._replace(expires_in=None) if isinstance(found, Stored) else found

        def lifetime(self, key: str) -> int | None:
            found = MemoryStore.load(self, key)
            return found.expires_in if isinstance(found, Stored) else None

    store = (Used if tells else Untelling)(clock=clock_of(settings))
    store.create("key", EncryptedCodec(OLD).seal(record_bytes(settings, {"n": 1}), "key"), 1000)
    assert rotate(store, EncryptedCodec([NEW, OLD])) == Rotated(1, 1, 0)
    found = MemoryStore.load(store, "key")
    assert isinstance(found, Stored) and found.expires_in == DAY
