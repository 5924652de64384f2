"""What ``on_event`` is told where it depends on the store: each server, in both colours."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sojourn.events import SessionEvent
from tests.faults.site import Site, site
from tests.proxy import Proxy

Told = list[tuple[str, ...]]


class Ear:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[SessionEvent] = []

    def __call__(self, event: SessionEvent) -> None:
        self.events.append(event)

    def told(self) -> Told:
        """Kinds, and what failed, since it was last asked."""
        events, self.events = self.events, []
        return [(event.kind, *([event.operation] if event.operation else [])) for event in events]


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def heard(colour: str, url: str, ear: Ear) -> Iterator[Site]:
    with site(colour, url, on_event=ear) as app:
        yield app


def until_served(app: Site, cookie: str | None) -> None:
    """Visit until the store is back: drivers look for a lost server in their own time."""
    deadline = time.monotonic() + 30
    while app.request(lambda session: session.get("n"), cookie).status != 200:
        assert time.monotonic() < deadline


@pytest.mark.server
def test_a_server_that_goes_away_is_told_once_and_so_is_its_return(heard: Site, ear: Ear, proxy: Proxy) -> None:
    cookie = heard.request(lambda session: session.update(n=1)).cookie
    assert ear.told() == [("created",)]
    heard.request(lambda session: session.update(n=2), cookie)
    assert ear.told() == [("loaded",), ("changed",)]
    with proxy.refusing():
        for _ in range(2):
            assert heard.request(lambda session: session.get("n"), cookie).is_unavailable
        assert ear.told() == [("store_down", "load")]
    until_served(heard, cookie)
    assert ear.told() == [("store_back", "load"), ("loaded",)]


@pytest.mark.server
def test_changes_of_one_session_at_the_same_time_are_merged(colour: str, url: str, ear: Ear) -> None:
    with site(colour, url, on_event=ear) as one, site(colour, url) as other:  # as two processes, which share no turns
        cookie = one.request(lambda session: session.update(n=1)).cookie

        def beside(session: Any) -> None:
            session["mine"] = 1
            visit_elsewhere(other, cookie)

        ear.told()
        one.request(beside, cookie)
        assert ear.told() == [("loaded",), ("merged",), ("changed",)]
        kept = one.request(sorted, cookie)
        assert kept.body == "['mine', 'n', 'theirs']"


def visit_elsewhere(other: Site, cookie: str | None) -> None:
    """Another request's change, from another thread: this one's event loop is busy."""
    thread = threading.Thread(target=other.request, args=(lambda session: session.update(theirs=1), cookie))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


LIFE = 1.0
"""Seconds that a session lives here: the server keeps the time."""


def visits_after_the_end(app: Site, ear: Ear) -> Told:
    """What is told of a visit after the session's time was up."""
    cookie = app.request(lambda session: session.update(n=1)).cookie
    ear.told()
    time.sleep(LIFE + 0.3)
    app.request(lambda session: session.get("n"), cookie)
    return ear.told()


@pytest.mark.server
def test_a_session_whose_time_is_up_is_told_where_the_server_keeps_it(
    colour: str, url: str, ear: Ear, kind_name: str
) -> None:
    with site(colour, url, on_event=ear, idle_timeout=LIFE) as app:
        (told,) = visits_after_the_end(app, ear)
        # Redis forgets at once; MongoDB sweeps by itself, in its own time.
        assert told[0] in {"redis": ("refused",), "mongo": ("expired", "refused")}.get(kind_name, ("expired",))


def test_a_session_whose_time_is_up_is_told_by_a_file(colour: str, tmp_path: Path, ear: Ear) -> None:
    with site(colour, f"sqlite:///{tmp_path}/sessions.db", on_event=ear, idle_timeout=LIFE) as app:
        assert visits_after_the_end(app, ear) == [("expired",)]
