"""What `scripts.matrix` makes of its processes' findings, and that the load finds what was lost, doubled or revived."""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from scripts import matrix
from scripts.matrix import Found, together
from scripts.scenes import Row, Scene
from sojourn.clock import system_clock
from sojourn.stores import MemoryStore
from tests.torture import load
from tests.torture.load import Counter, Steps, Tally
from tests.torture.worker import Visitor


class Careless(MemoryStore):
    """A store that now and then breaks what it has promised."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        self.writes = 0

    def replace(self, key: str, data: bytes, ttl: int, **rest: Any) -> Any:
        self.writes += 1
        if self.writes % 7 == 0 and self.fault == "lost":
            return data  # it says so, and does nothing
        if self.writes % 7 == 0 and self.fault == "doubled":
            data = data.replace(b'"n":1', b'"n":2')
        return super().replace(key, data, ttl, **rest)

    def delete(self, *keys: str) -> Any:
        return super().delete(*() if self.fault == "revived" else keys)


def found_on(store: MemoryStore) -> Tally:
    """What one lane finds in some cycles."""
    visitor, tally = Visitor(store), Tally()
    cookie = visitor.request(None, load.come)[1]
    assert cookie is not None
    steps = load.lane("0-0", [cookie], tally, monotonic() + 0.3, random.Random(1))
    requests = next(steps)
    while True:
        answers = [visitor.request(*request) for request in requests]
        load.note(tally, answers)
        try:
            requests = steps.send(answers)
        except StopIteration:
            return tally


def test_on_a_sound_store_nothing_is_lost_doubled_or_revived() -> None:
    tally = found_on(Careless())
    assert tally.commits > 10
    assert (tally.refused, tally.lost, tally.doubled, tally.revived) == (0, 0, 0, 0)


@pytest.mark.parametrize("fault", ["lost", "doubled", "revived"])
def test_the_load_finds_what_a_store_breaks(fault: str) -> None:
    assert getattr(found_on(Careless(fault)), fault) > 0


def after_a_kill(store: MemoryStore, journal: Path) -> Tally:
    """What another process finds by the journal of one that ends in the midst of a request."""
    visitor, tally = Visitor(store), Tally()
    cookie = visitor.request(None, load.come)[1]
    assert cookie is not None
    steps = load.lane("0-0", [cookie], Tally(), monotonic() + 60, random.Random(1), load.Journal(str(journal)))
    requests = next(steps)
    for _ in range(100):
        requests = steps.send([visitor.request(*request) for request in requests])
    steps = load.look_after([json.loads(line) for line in journal.read_text().splitlines()], tally)
    requests = next(steps)
    with suppress(StopIteration):
        while True:
            requests = steps.send([visitor.request(*request) for request in requests])
    return tally


@pytest.mark.parametrize("fault", ["", "lost", "revived"])
def test_what_a_killed_process_was_told_is_looked_for(fault: str, tmp_path: Path) -> None:
    tally = after_a_kill(Careless(fault), tmp_path / "journal")
    assert tally.commits > 10
    for name in ("lost", "doubled", "revived"):
        assert (getattr(tally, name) > 0) is (name == fault)


def test_a_process_of_the_load_shifts_its_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    file = tmp_path / "shift"
    file.write_text("+3600\n")
    load.shift_clock(file)
    assert system_clock() == 10**12 + 3_600_000
    file.write_text("-3600\n")
    assert system_clock() == 10**12 - 3_600_000


def played(steps: Steps, status: int, session: Any, *, reaches_it: bool = True) -> None:
    (request,) = next(steps)
    if reaches_it:
        request.do(session)
    with pytest.raises(StopIteration):
        steps.send([(status, None)])


def test_a_change_that_was_refused_may_be_there_or_not_and_may_come_late() -> None:
    tally = Tally()
    counter = Counter(tally, "n")

    class Seen(dict[str, int]):
        is_new = False

        def increment(self, name: str) -> None: ...

    for status, there in ((200, 0), (503, 1), (503, 1), (200, 2), (200, 4)):  # the other refused one came late
        played(counter.add(None), status, Seen(n=there))
    assert (tally.commits, tally.lost, tally.doubled) == (3, 0, 0)
    played(counter.add(None), 503, None, reaches_it=False)
    played(counter.add(None), 200, Seen(n=6))
    assert (tally.lost, tally.doubled) == (0, 1)
    played(counter.add(None), 200, Seen(n=3))
    assert tally.lost == 4
    played(counter.add(None), 503, None, reaches_it=False)
    played(counter.add(None), 200, Seen(n=7))  # read from the one that has it
    assert (tally.lost, tally.doubled) == (4, 1)


def test_what_the_processes_found_is_summed_and_the_longest_gap_is_that_of_all() -> None:
    one = {"commits": 2, "refused": 1, "lost": 0, "doubled": 0, "revived": 0, "buckets": [100, 101, 400]}
    other = {"commits": 3, "refused": 0, "lost": 1, "doubled": 0, "revived": 0, "buckets": [102, 200, 390]}
    found = together([one, other])
    assert found[:5] == (5, 1, 1, 0, 0) and found.away == pytest.approx(1.9) and not found.is_good
    assert Found(1, 9, 0, 0, 0, 1.0).is_good


def test_runs_are_summed_and_the_longest_time_counts() -> None:
    assert Found.of_all([Found(1, 2, 3, 4, 5, 0.5), Found(10, 20, 30, 40, 50, 0.1)]) == (11, 22, 33, 44, 55, 0.5)


def test_the_rows_that_were_run_are_written_into_their_familys_table_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def scene(_stack: ExitStack) -> Scene:
        return Scene("memory://", "1.2")

    names = ("one", "two", "three")
    rows = [Row(name, "nothing", scene, family="here") for name in names] + [Row("other", "", scene, family="there")]
    monkeypatch.setattr(matrix, "ROWS", rows)
    monkeypatch.setattr(matrix, "_run", lambda _scene, _seconds: Found(7, 0, 0, 0, 0, 0.5))
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- matrix: here -->\n<!-- end -->\nb\n<!-- matrix: there -->\n<!-- end -->\nc\n")
    assert matrix.main(["two", "--write", str(page)]) == 0
    assert matrix.main(["one", "--write", str(page)]) == 0
    here, there = page.read_text().split("\nb\n")
    assert [line.split(" | ")[0] for line in here.splitlines()[5:-2]] == ["| one", "| two", "| three"]
    assert "| two | 1.2 | nothing | nothing | 7 | 0 |" in here and "| three |  | nothing |" in here
    assert "| other |" in there and there.endswith("\nc\n")
    assert matrix.main(["two", "--write", str(page), "--add"]) == 0
    assert "| two | 1.2 | nothing | nothing | 14 | 0 | 0 | 0 | 0 | 0.50 |" in page.read_text()
    page.write_text("no table")
    with pytest.raises(ValueError, match="no table for 'here'"):
        matrix.write(page, [])


def test_the_page_has_the_rows_that_there_are(tmp_path: Path) -> None:
    text = (matrix.ROOT / "docs" / "servers.md").read_text("utf-8")
    (tmp_path / "servers.md").write_text(text)
    matrix.write(tmp_path / "servers.md", [])
    assert (tmp_path / "servers.md").read_text() == text
    assert len({(row.name, row.what) for row in matrix.ROWS}) == len(matrix.ROWS)


def test_rows_are_chosen_by_name_and_what_cannot_be_run_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_stack: ExitStack) -> Any:
        pytest.skip("there is no such server")

    bad = Found(1, 0, 1, 0, 0, 0.5)
    scene = Scene("memory://", "1.2")
    monkeypatch.setattr(matrix, "_run", lambda _scene, _seconds: bad)
    rows = [
        Row("Sound", "nothing", lambda _stack: scene, loses="all"),
        Row("Missing", "nothing", missing),
        Row("Strict", "nothing", lambda _stack: scene),
    ]
    monkeypatch.setattr(matrix, "ROWS", rows)
    assert matrix.main(["sound", "missing"]) == 0
    out = capsys.readouterr().out
    assert "| Sound | 1.2 | nothing | all | 1 | 0 | 1 | 0 | 0 | 0.50 | 20" in out
    assert "left out: Missing: there is no such server" in out and "Strict" not in out
    assert matrix.main([]) == 1

    def fails(_scene: Scene, _seconds: float) -> Found:
        raise RuntimeError("a process failed")

    monkeypatch.setattr(matrix, "_run", fails)
    assert matrix.main(["sound"]) == 1
    assert "left out: Sound: nothing: a process failed" in capsys.readouterr().out
