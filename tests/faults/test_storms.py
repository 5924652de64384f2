"""Requests that are given up half way, on a few shared connections: nobody ever gets another's session."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from sojourn.core.session import BaseSession
from tests.faults.kinds import TIMEOUT, Kind
from tests.faults.site import AsyncSite, Response, Site, site
from tests.proxy import Delay, Proxy

pytestmark = pytest.mark.server

CONNECTIONS: Final = 3
VISITORS: Final = 12
STORM: Final = 400


def begin(app: Site) -> dict[str, str]:
    """Cookies by markers, each of which is in that session alone."""

    def work(marker: str) -> Any:
        return lambda session: session.update(marker=marker, hits=0)

    cookies = {marker: app.request(work(marker)).cookie for marker in map(str, range(VISITORS))}
    assert None not in cookies.values()
    return {marker: cookie for marker, cookie in cookies.items() if cookie is not None}


def look(session: BaseSession) -> Any:
    return session["marker"]


def hit(session: BaseSession) -> Any:
    session.increment("hits")
    return session["marker"]


def check(app: Site, cookies: dict[str, str], sure: Counter[str], tried: Counter[str]) -> None:
    """Each session is its visitor's own, with every hit that was answered, and none that was not tried."""
    for marker, cookie in cookies.items():
        assert app.request(look, cookie).body == marker
        hits = int(app.request(lambda session: session["hits"], cookie).body)
        assert sure[marker] <= hits <= tried[marker]


# PyMongo leaves what it has of a connection when connecting is cancelled to the garbage collector, which closes it.
@pytest.mark.filterwarnings("ignore:unclosed (<socket|transport):ResourceWarning")
@pytest.mark.parametrize("colour", ["async"])
def test_under_a_storm_of_cancellations_each_visitor_keeps_the_own_session(kind: Kind, colour: str, server: Any):
    rng = random.Random(7)
    with site(colour, kind.url(server.port, CONNECTIONS)) as app:
        cookies = begin(app)
        sure, tried, outcomes = Counter[str](), Counter[str](), Counter[str]()

        async def visitor(marker: str, number: int) -> None:
            work = hit if number % 2 else look
            tried[marker] += number % 2
            task = asyncio.create_task(app.visit(work, cookies[marker]))
            if rng.random() < 0.7:
                asyncio.get_running_loop().call_later(rng.choice([0, rng.random() * 0.02]), task.cancel)
            try:
                response = await task
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1
                return
            outcomes[str(response.status)] += 1
            if response.status == 200:
                assert response.body == marker
                sure[marker] += number % 2
            else:
                assert response.is_unavailable

        async def storm() -> None:
            everyone = [(marker, number) for number in range(STORM // VISITORS) for marker in cookies]
            rng.shuffle(everyone)
            for start in range(0, len(everyone), 24):
                await asyncio.gather(*(visitor(*one) for one in everyone[start : start + 24]))

        assert isinstance(app, AsyncSite)
        app.run(storm())
        print(f"storm: {dict(outcomes)}, hits {sure.total()} of {tried.total()} answered")
        assert outcomes["cancelled"] > STORM // 10
        assert outcomes["200"] > STORM // 10
        at_once = app.together([(look, cookie) for cookie in list(cookies.values())[:CONNECTIONS]])
        assert [response.status for response in at_once] == [200] * CONNECTIONS, "a connection is missing in the pool"
        check(app, cookies, sure, tried)
    gc.collect()  # here, and not in another test


def test_after_replies_that_came_too_late_each_visitor_keeps_the_own_session(kind: Kind, colour: str, proxy: Proxy):
    rng = random.Random(7)
    with site(colour, kind.url(proxy.port, CONNECTIONS)) as app:
        cookies = begin(app)
        sure, tried = Counter[str](), Counter[str]()

        def some(message: bytes) -> bool:
            return (kind.is_read(message) or kind.is_write(message)) and rng.random() < 0.1

        def lane(marker: str) -> list[Response]:
            return [app.request(hit if number % 2 else look, cookies[marker]) for number in range(8)]

        with proxy.failing(Delay(TIMEOUT + 0.1), when=some, times=5) as met, ThreadPoolExecutor(CONNECTIONS) as lanes:
            answers = dict(zip(cookies, lanes.map(lane, cookies), strict=True))
        outcomes = Counter(response.status for responses in answers.values() for response in responses)
        print(f"late replies: {met()}, {dict(outcomes)}")
        for marker, responses in answers.items():
            for number, response in enumerate(responses):
                assert response.body == marker if response.status == 200 else response.is_unavailable
                tried[marker] += number % 2
                sure[marker] += number % 2 if response.status == 200 else 0
        assert met() > 2
        check(app, cookies, sure, tried)
