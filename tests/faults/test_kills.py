"""The server is killed under load and started again: what was answered 200 is there, and the site needs no restart."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from sojourn.core.session import BaseSession
from tests.faults.kinds import Kind
from tests.faults.site import site

pytestmark = pytest.mark.server

LANES: Final = 4
BEFORE: Final = 40
AFTER: Final = 5
PATIENCE: Final = 30.0


def hit(session: BaseSession) -> Any:
    return session.increment("hits")


class Lane:
    """A visitor who hits one session, and begins another at times, until told to stop."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.statuses: list[int] = []
        self.answered: list[int] = []
        self.begun: list[str] = []
        self.longest = 0.0
        self.cookie = app.request(hit).cookie

    def run(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            response = self.app.request(hit, self.cookie)
            self.note(response)
            if response.status == 200:
                self.answered.append(int(response.body))
            if len(self.statuses) % 4 == 0:
                new = self.app.request(hit)
                self.note(new)
                if new.status == 200:
                    self.begun.append(new.cookie)
            if response.status != 200:
                stopped.wait(0.02)

    def note(self, response: Any) -> None:
        assert response.status == 200 or response.is_unavailable
        self.longest = max(self.longest, response.seconds)
        self.statuses.append(response.status)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_that_was_answered_is_lost_when_the_server_is_killed_under_load(
    kind: Kind, colour: str, server: Any, caplog: pytest.LogCaptureFixture
):
    with site(colour, kind.url(server.port, 2 * LANES)) as app, caplog.at_level(logging.INFO, logger="sojourn"):
        lanes = [Lane(app) for _ in range(LANES)]
        stopped = threading.Event()
        with ThreadPoolExecutor(LANES) as threads:
            running = [threads.submit(lane.run, stopped) for lane in lanes]
            try:
                wait_for(lambda: sum(len(lane.answered) for lane in lanes) >= BEFORE)
                server.kill()
                wait_for(lambda: all(503 in lane.statuses for lane in lanes))
                kind.start(server)
                back = [len(lane.answered) for lane in lanes]
                wait_for(lambda: all(len(lane.answered) >= old + AFTER for lane, old in zip(lanes, back, strict=True)))
            finally:
                stopped.set()
            for lane_is_done in running:
                lane_is_done.result()
        statuses = Counter(status for lane in lanes for status in lane.statuses)
        began = sum(len(lane.begun) for lane in lanes)
        print(f"killed: {dict(statuses)}, {began} sessions begun, longest {max(lane.longest for lane in lanes):.2f} s")
        for lane in lanes:
            failed = len(lane.statuses) - lane.statuses.count(200)
            hits = int(app.request(lambda session: session["hits"], lane.cookie).body)
            assert lane.answered == sorted(set(lane.answered)), "a hit that was answered was lost, or counted twice"
            assert lane.answered[-1] <= hits
            # The first hit was the session's beginning. A hit that got a 503 may have been made.
            assert len(lane.answered) + 1 <= hits <= len(lane.answered) + 1 + failed
            assert [app.request(lambda session: session["hits"], cookie).body for cookie in lane.begun] == ["1"] * len(
                lane.begun
            )
            assert lane.longest < 4 * kind.patience + 2
        errors = [record for record in caplog.records if record.name == "sojourn" and record.levelname == "ERROR"]
        print(f"{len(errors)} lines for {statuses[503]} failed requests")
        assert statuses[503] >= LANES
        # One line for the loads and one for the writes, each time they begin to fail: a server whose processes end one by one may
        # fail and answer by turns before it is gone.
        assert len(errors) <= max(4, statuses[503] // 10)
