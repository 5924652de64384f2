"""The store that the documentation shows keeps the contract, by the means that the documentation names."""

from __future__ import annotations

import ast
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from examples.third_party_store import FolderStore
from sojourn.core.store import Stored
from sojourn.errors import StoreTimeout
from sojourn.testing import ManualClock, StoreContract, store_state_machine
from sojourn.wsgi import SessionMiddleware

SOURCE = Path(sys.modules[FolderStore.__module__].__file__ or "")


class TestFolderStore(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "sessions"

    def make_store(self, clock: ManualClock) -> FolderStore:
        return FolderStore(self.path, clock=clock)

    make_peer = make_store


def test_it_does_what_a_dictionary_would() -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = store_state_machine(lambda clock: FolderStore(tempfile.mkdtemp(dir=folder) + "/s", clock=clock))
        run_state_machine_as_test(machine, settings=settings(max_examples=25, deadline=None))


def test_it_has_at_most_sixty_lines_of_code() -> None:
    """Blank lines, imports and the file's docstring aside."""
    (store,) = (node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.ClassDef))
    lines = SOURCE.read_text().splitlines()[store.lineno - 1 : store.end_lineno]
    assert len([line for line in lines if line.strip()]) <= 60


def test_a_middleware_takes_it(tmp_path: Path) -> None:
    SessionMiddleware(lambda _environ, _start: [], secret="a" * 32, store=FolderStore(tmp_path / "sessions"))


def test_a_folder_that_is_none_is_a_store_error_with_the_systems_own(tmp_path: Path) -> None:
    (tmp_path / "sessions").write_text("a file")
    with pytest.raises(StoreTimeout) as failed:
        FolderStore(tmp_path / "sessions").create("key", b"{}", 1000)
    assert isinstance(failed.value.driver_error, OSError) and failed.value.__cause__ is None


def test_the_folder_is_its_owners_alone_and_names_no_key(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "sessions")
    store.create("the key", b"{}", 1000)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert not [path for path in store.folder.iterdir() if "the key" in path.name]
    assert isinstance(store.load("the key"), Stored)
