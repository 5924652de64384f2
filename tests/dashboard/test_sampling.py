"""When a sample is due: soon while somebody looks on, else each minute, and never soon after one that took long."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn import StoreUnavailable
from sojourn.dashboard.board import Board, Request
from sojourn.middleware.drive import run
from sojourn.stores import MemoryStore
from tests.dashboard.sites import browse, settings_of


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def board(store: MemoryStore, time: Time) -> Board:
    return Board(settings_of(store), store, clock=time)


def due_after(board: Board, time: Time) -> list[int]:
    """The whole seconds, of the next 200, after which a sample would be due for the first time."""
    began = time.now
    for second in range(200):
        time.now = began + second
        if board.is_due:
            return [second]
    return []


def look(board: Board, store: Any) -> Any:
    return run(board.respond(Request("GET", "", "/", "", "", "carla")), store)


def test_the_first_is_due_at_once_and_the_next_in_a_minute_or_in_seconds(board: Board, store: Any, time: Time) -> None:
    assert board.is_due
    run(board.sample(), store)
    assert due_after(board, time) == [60]
    run(board.sample(), store)
    look(board, store)
    assert due_after(board, time) == [5]


def test_one_that_took_long_is_followed_by_a_long_pause(board: Board, store: Any, time: Time, monkeypatch: Any) -> None:
    count = store.count

    def slow() -> Any:
        time.now += 4
        return count()

    monkeypatch.setattr(store, "count", slow)
    run(board.sample(), store)
    look(board, store)
    assert due_after(board, time) == [80]


@pytest.mark.parametrize("kind", [StoreUnavailable, RuntimeError])
def test_one_that_failed_leaves_the_figures_of_before_and_says_so(
    board: Board, store: Any, monkeypatch: Any, kind: Any
) -> None:
    browse(store, "ann")
    run(board.sample(), store)

    def down() -> Any:
        raise kind("the server cannot be reached")

    monkeypatch.setattr(store, "count", down)
    run(board.sample(), store)
    text = look(board, store).body.decode()
    assert "<dd>1</dd>" in text and f"The store failed at the last look: {kind.__name__}: the server" in text
    monkeypatch.undo()
    run(board.sample(), store)
    assert "The store failed" not in look(board, store).body.decode()
