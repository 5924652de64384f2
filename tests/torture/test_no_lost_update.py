"""Invariant 1: no lost update. Eight processes, one session; at the end every edit is there, once.

`make test` runs a few hundred commits per store and colour, `make torture` ten thousand.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.torture.worker import Visitor, session_id

pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent.parent
PROCESSES = 8
COMMITS = [pytest.param(504, id="504"), pytest.param(10_000, id="10000", marks=pytest.mark.torture)]


def run_workers(colour: str, store: str, cookie: str, each: int, mode: str) -> int:
    """Let them work; answers how many requests were refused since others kept changing the session, and came again."""
    refused = 0
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.torture.worker", colour, store, cookie, str(number), str(each), mode],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    try:
        for worker in workers:
            out, err = worker.communicate(timeout=1500)
            assert worker.returncode == 0, f"{out}{err[-3000:]}"
            refused += int(out)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.communicate()
    return refused


def start_session(visitor: Visitor, **data: Any) -> str:
    status, cookie = visitor.request(None, lambda session: session.update(data))
    assert status == 200 and cookie is not None
    return cookie


def stored(visitor: Visitor, cookie: str) -> dict[str, Any]:
    view = visitor.app.sessions.get(session_id(cookie))
    assert view is not None
    return dict(view)


@pytest.mark.parametrize("commits", COMMITS)
@pytest.mark.parametrize("colour", ["async", "sync"])
def test_every_edit_of_eight_processes_is_in_the_session_once(store_url: str, colour: str, commits: int) -> None:
    visitor = Visitor(store_url)
    cookie = start_session(visitor, shared={}, log=[], total=0)
    each = commits // PROCESSES
    refused = run_workers(colour, store_url, cookie, each, "merge")
    data = stored(visitor, cookie)
    visitor.close()
    names = [str(number) for number in range(PROCESSES)]
    assert data["total"] == each * PROCESSES
    assert sorted(map(tuple, data["log"])) == sorted((name, number) for name in names for number in range(each))
    assert set(data["shared"]) == set(names)
    if colour == "sync":  # one request after the other in each process: its last edit is the one that stays
        assert data["shared"] == dict.fromkeys(names, each - 1)
        assert [data[f"worker-{name}"] for name in names] == [each - 1] * PROCESSES
    print(
        f"{colour}: {each * PROCESSES} commits by {PROCESSES} processes, none lost, none doubled; {refused} refused and repeated"
    )


@pytest.mark.parametrize(
    "commits", [pytest.param(200, id="200"), pytest.param(2_000, id="2000", marks=pytest.mark.torture)]
)
@pytest.mark.parametrize("colour", ["async", "sync"])
def test_exclusive_requests_lose_nothing_even_by_plain_assignment(store_url: str, colour: str, commits: int) -> None:
    visitor = Visitor(store_url)
    cookie = start_session(visitor, plain=0)
    each = commits // PROCESSES
    refused = run_workers(colour, store_url, cookie, each, "exclusive")
    assert stored(visitor, cookie)["plain"] == each * PROCESSES
    visitor.close()
    print(f"{colour}: {each * PROCESSES} exclusive commits, none lost; {refused} refused and repeated")
