"""The servers that people run, each with something that goes wrong in mid-run: ``python -m scripts.matrix [part of a row's name ...]``.

Eight processes, half of them in each colour, write, log in and log out (`tests.torture.load`) while a row's server is killed, say. The table
tells what became of what they were told. A row is an entry in `ROWS`: how its servers are started, what goes wrong, and the URL that the
processes use. What it needs beside the test servers' wheels is a program of a Debian package: as root on Debian it is installed, elsewhere
the row is left out, and the last lines say why.

``--seconds 12`` is how long each row runs, and ``--runs 3`` how often: counts are those of all runs together, and the time without service is
the longest. ``--write docs/servers.md`` puts the rows that were run into the tables of that page, each between ``<!-- matrix: family -->`` and
``<!-- end -->``, and leaves the others as they are; with ``--add`` to what the page has of these versions. The exit status is 1
if a row failed, or anything was lost, doubled or revived in one that promises otherwise.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import pytest

from benchmarks.measure import table
from scripts import mongo_rows, postgres_rows, redis_rows, sqlite_rows
from scripts.scenes import Row, Scene
from tests.torture.load import BUCKET
from tests.torture.worker import Visitor

__all__ = ["ROWS", "Found", "main", "together", "write"]

ROOT: Final = Path(__file__).resolve().parent.parent
_SHARED: Final = 3
"""Sessions that all processes change."""
_LONGEST: Final = 120
"""Seconds after the run within which each process has to end."""


class Found(NamedTuple):
    """What became of a row."""

    commits: int
    refused: int
    lost: int
    doubled: int
    revived: int
    away: float
    """The longest time in which no request succeeded, in seconds."""

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.revived)

    @classmethod
    def of_all(cls, runs: Iterable[Found]) -> Found:
        """The counts together, and the longest time."""
        commits, refused, lost, doubled, revived, away = zip(*runs, strict=True)
        return cls(sum(commits), sum(refused), sum(lost), sum(doubled), sum(revived), max(away))


ROWS: Final[list[Row]] = [*postgres_rows.ROWS, *sqlite_rows.ROWS, *mongo_rows.ROWS, *redis_rows.ROWS]


# Running one.


def together(tallies: list[dict[str, Any]]) -> Found:
    """What all processes have found."""
    buckets = sorted({bucket for tally in tallies for bucket in tally["buckets"]})
    away = max((after - before for before, after in pairwise(buckets)), default=0) * BUCKET
    counts = {
        name: sum(tally[name] for tally in tallies) for name in ("commits", "refused", "lost", "doubled", "revived")
    }
    return Found(**counts, away=away)


def _worker(scene: Scene, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.torture.load", ("async", "sync")[number % 2], scene.url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **scene.environments[number // 2 % len(scene.environments)]},
    )


def _order(worker: subprocess.Popen[str], **orders: object) -> None:
    """Tell a process what to do, once it is ready."""
    assert worker.stdin is not None
    worker.stdin.write(f"{json.dumps(orders)}\n")
    worker.stdin.flush()


def _run(scene: Scene, seconds: float) -> Found:
    visitor = Visitor(scene.url)
    shared = [visitor.request(None, lambda session: session.update(shared=True))[1] for _ in range(_SHARED)]
    visitor.close()
    workers: list[subprocess.Popen[str]] = []
    with TemporaryDirectory(prefix="sojourn-") as folder:
        journals = [f"{folder}/{number}" for number in range(scene.kills)]
        try:
            workers += [_worker(scene, number) for number in range(scene.processes)]
            for worker in workers:
                assert worker.stdout is not None
                worker.stdout.readline()  # it is ready
            for number, worker in enumerate(workers):
                journal = {"journal": journals[number]} if number < scene.kills else {}
                _order(worker, name=str(number), shared=shared, seconds=seconds, **journal)
            time.sleep(seconds / 3)
            for worker in workers[: scene.kills]:
                worker.kill()
                worker.communicate()
            if scene.strike is not None:
                scene.strike()
            del workers[: scene.kills]
            said = [worker.communicate(timeout=seconds + _LONGEST)[0] for worker in workers]
            if journals:
                workers.append(_worker(scene, 1))
                _order(workers[-1], journals=journals)
                said.append(workers[-1].communicate(timeout=_LONGEST)[0].removeprefix("ready\n"))
        finally:
            for worker in workers:
                if worker.poll() is None:
                    worker.kill()
                    worker.communicate()
    if any(worker.returncode for worker in workers):
        raise RuntimeError("a process failed; its error stands above")
    tallies = [json.loads(text) for text in said]
    if scene.kills:
        tallies[-1]["buckets"] = []  # that one began when all was over
    return together(tallies)


def _is_there(package: str) -> bool:
    """Whether its program is, or the package itself, where it has no program of its name."""
    if shutil.which(package, path=f"{os.environ['PATH']}:/usr/sbin"):
        return True
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return (
        bool(shutil.which("dpkg-query"))
        and subprocess.run(query, capture_output=True, check=False).stdout == b"installed"
    )


def _install(packages: str) -> None:
    """Install what is missing of Debian's, if this is Debian and we are root."""
    missing = [name for name in packages.split() if not _is_there(name)]
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments]
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)


def _chosen(names: list[str]) -> Iterator[Row]:
    for row in ROWS:
        if not names or any(name.lower() in f"{row.name}: {row.what}".lower() for name in names):
            yield row


# The tables.

_HEAD: Final = (
    "server",
    "version",
    "in mid-run",
    "may lose",
    "acknowledged",
    "refused",
    "lost",
    "doubled",
    "revived",
    "seconds without service",
    "day",
    "runs",
)
_NEVER: Final = "not run"
"""What a line says of a row that was not run yet, or could not be."""


class Line(NamedTuple):
    """A line of a table."""

    name: str
    versions: str
    what: str
    loses: str
    found: Found | None
    day: str
    runs: int

    def cells(self) -> list[object]:
        found = [f"{count:,}" for count in self.found[:-1]] + [f"{self.found.away:.2f}"] if self.found else [""] * 6
        return [self.name, self.versions, self.what, self.loses or "nothing", *found, self.day, self.runs]

    @classmethod
    def read(cls, text: str) -> Line | None:
        """What `cells` has written; None where it is no such line."""
        cells = [cell.strip() for cell in text.split("|")[1:-1]]
        if len(cells) != len(_HEAD) or not cells[4].replace(",", "").isdigit():
            return None
        commits, refused, lost, doubled, revived = (int(count.replace(",", "")) for count in cells[4:9])
        found = Found(commits, refused, lost, doubled, revived, float(cells[9]))
        name, versions, what, loses = cells[:4]
        return cls(name, versions, what, loses, found, cells[10], int(cells[11]))

    def add(self, other: Line | None) -> Line:
        """With the runs of another one, of the same versions."""
        if other is None or not self.found or not other.found or self.versions != other.versions:
            return self
        return self._replace(found=Found.of_all([self.found, other.found]), runs=self.runs + other.runs)


def write(page: Path, lines: Iterable[Line], *, adds: bool = False) -> None:
    """Put lines into the tables of a page, each with the rows of a family in their order."""
    text = page.read_text("utf-8")
    fresh = {(line.name, line.what): line for line in lines}
    for family in dict.fromkeys(row.family for row in ROWS):
        mark = re.compile(rf"(<!-- matrix: {re.escape(family)} -->\n).*?(<!-- end -->)", re.DOTALL)
        found = mark.search(text)
        if found is None:
            raise ValueError(f"{page} has no table for {family!r}: it begins with <!-- matrix: {family} -->")
        known = {(line.name, line.what): line for line in map(Line.read, found[0].splitlines()) if line}
        shown = []
        for row in ROWS:
            if row.family == family:
                name = (row.name, row.what)
                old = known.get(name)
                if name in fresh:
                    line = fresh[name].add(old if adds else None)
                else:
                    line = old or Line(row.name, "", row.what, row.loses, None, _NEVER, 0)
                shown.append(line.cells())
        text = f"{text[: found.start()]}{found[1]}\n{table(_HEAD, shown)}\n\n{found[2]}{text[found.end() :]}"
    page.write_text(text, "utf-8")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.matrix", description="The servers that people run, and what goes wrong with them."
    )
    parser.add_argument("names", nargs="*", help="parts of the names of rows; by default all")
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--write", type=Path, help="a page with the tables")
    parser.add_argument("--add", action="store_true", help="to the runs that the page has already")
    given = parser.parse_args(argv)
    lines: list[Line] = []
    left_out: list[str] = []
    is_good = True
    for row in _chosen(given.names):
        _install(row.package)
        runs: list[Found] = []
        versions = ""
        try:
            for number in range(given.runs):
                with ExitStack() as stack:
                    scene = row.scene(stack)
                    print(f"matrix: {row.name}: {row.what} ({number + 1} of {given.runs})", file=sys.stderr)
                    runs.append(_run(scene, given.seconds))
                    versions = scene.versions
                    if scene.after is not None:
                        print(f"matrix: {row.name}: {row.what}: {scene.after()}", file=sys.stderr)
        except pytest.skip.Exception as skipped:
            left_out.append(f"{row.name}: {skipped}")
            continue
        except (RuntimeError, subprocess.TimeoutExpired) as failure:
            left_out.append(f"{row.name}: {row.what}: {failure}")
            is_good = False
            continue
        found = Found.of_all(runs)
        is_good = is_good and (bool(row.loses) or found.is_good)
        day = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
        lines.append(Line(row.name, versions, row.what, row.loses, found, day, given.runs))
        print(f"matrix: {found}", file=sys.stderr)
        if given.write:
            write(given.write, lines[-1:], adds=given.add)
    print(table(_HEAD, [line.cells() for line in lines]))
    for reason in left_out:
        print(f"left out: {reason}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
