"""A store that is away, silent or read-only: what visitors get, what the log says, and that all is well when it is back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sojourn.core.session import BaseSession
from tests.faults.kinds import Kind, refusing
from tests.faults.site import Response, Site, site
from tests.proxy import BlackHole, Proxy

pytestmark = pytest.mark.server

SLACK = 1.0
VISITORS = 5


def hit(session: BaseSession) -> Any:
    return session.increment("hits")


def show(session: BaseSession) -> Any:
    return session.get("hits")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="sojourn"):
        yield caplog


def lines(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and beginning of what the log says since it was asked last."""
    said = [(record.levelname, record.getMessage()) for record in log.records if record.name == "sojourn"]
    log.clear()
    return [(level, text.partition(":")[0].partition(" after ")[0]) for level, text in said]


FAILS = ("ERROR", "session store fails")
IS_BACK = ("WARNING", "session store is back")


def visitors(app: Site) -> list[str]:
    """Cookies of as many sessions with one hit each."""
    cookies = [app.request(hit).cookie for _ in range(VISITORS)]
    return [cookie for cookie in cookies if cookie is not None]


def report(what: str, responses: list[Response]) -> None:
    statuses = sorted(response.status for response in responses)
    print(f"{what}: {statuses}, longest {max(response.seconds for response in responses):.2f} s")


@pytest.mark.parametrize("failure", ["refused", "silent"])
def test_while_the_store_is_away_visitors_get_a_503_in_time_and_the_log_one_line(
    failure: str, kind: Kind, app: Site, proxy: Proxy, log: pytest.LogCaptureFixture
):
    cookies = visitors(app)
    with proxy.refusing() if failure == "refused" else proxy.failing(BlackHole()):
        responses = app.together([(hit, cookie) for cookie in cookies])
        if failure == "refused":
            responses.append(app.request(hit, cookies[0]))
    report(failure, responses)
    assert all(response.is_unavailable for response in responses)
    assert max(response.seconds for response in responses) < 2 * kind.patience + SLACK
    assert lines(log) == [FAILS]
    proxy.cut()  # what was swallowed is not made up for
    assert [app.request(hit, cookie).body for cookie in cookies] == ["2"] * VISITORS
    assert lines(log) == [IS_BACK]


def test_while_the_store_is_away_new_visitors_get_a_503_too(
    kind: Kind, app: Site, proxy: Proxy, log: pytest.LogCaptureFixture
):
    app.request(hit)
    with proxy.refusing():
        responses = app.together([(hit, None)] * VISITORS)
        assert app.request(lambda _session: "no session").status == 200, "no store was needed"
    report("new visitors", responses)
    assert all(response.is_unavailable for response in responses)
    assert max(response.seconds for response in responses) < 3 * kind.patience + SLACK
    assert lines(log) == [FAILS]
    assert app.request(hit).status == 200
    assert lines(log) == [IS_BACK]


def test_a_site_that_is_started_before_its_store_serves_when_that_comes(
    kind: Kind, colour: str, url: str, proxy: Proxy, log: pytest.LogCaptureFixture
):
    with site(colour, url) as app:
        with proxy.refusing():
            responses = app.together([(hit, None)] * VISITORS)
        assert all(response.is_unavailable for response in responses)
        assert max(response.seconds for response in responses) < 3 * kind.patience + SLACK
        cookie = app.request(hit).cookie
        assert app.request(hit, cookie).body == "2"
    assert lines(log) == [FAILS, IS_BACK]


def test_connections_that_were_cut_while_idle_are_felt_by_nobody(
    app: Site, proxy: Proxy, log: pytest.LogCaptureFixture
):
    cookies = visitors(app)
    app.together([(show, cookie) for cookie in cookies])
    proxy.cut()
    assert [response.body for response in app.together([(hit, cookie) for cookie in cookies])] == ["2"] * VISITORS
    proxy.cut()
    assert app.request(hit).status == 200
    assert lines(log) == []


def test_a_store_that_refuses_writes_alone_is_one_outage_and_the_apps_response_is_held_back(
    kind: Kind, app: Site, proxy: Proxy, log: pytest.LogCaptureFixture
):
    cookies = visitors(app)
    app.together([(show, cookie) for cookie in cookies])  # Redis does not tell how long a session lives: this notes it
    with proxy.failing(refusing(kind), when=kind.is_write) as met:
        responses = [app.request(hit, cookie) for cookie in cookies]
        tries = met()
        readers = [app.request(show, cookie) for cookie in cookies]
    report("writes refused", responses)
    assert all(response.is_unavailable for response in responses)
    assert tries == VISITORS, "a write that was refused is not tried again"
    assert [(response.status, response.body) for response in readers] == [(200, "1")] * VISITORS
    assert lines(log) == [FAILS]
    assert [app.request(hit, cookie).body for cookie in cookies] == ["2"] * VISITORS
    assert lines(log) == [IS_BACK]


def test_anonymous_visitors_are_served_without_their_sessions_while_the_store_is_away(
    kind: Kind, colour: str, url: str, proxy: Proxy, log: pytest.LogCaptureFixture
):
    with site(colour, url, on_store_error="anonymous") as app:
        cookies = visitors(app)
        with proxy.refusing():
            served = app.together([(hit, cookie) for cookie in cookies])
        report("anonymous", served)
        assert {(response.status, response.body, response.cookie) for response in served} == {(200, "1", None)}
        assert max(response.seconds for response in served) < 2 * kind.patience + SLACK
        assert lines(log) == [FAILS]
        assert [app.request(show, cookie).body for cookie in cookies] == ["1"] * VISITORS
        assert lines(log) == [IS_BACK]


def test_anonymous_visitors_are_served_while_the_store_refuses_writes_but_never_told_to_be_logged_out(
    kind: Kind, colour: str, url: str, proxy: Proxy, log: pytest.LogCaptureFixture
):
    with site(colour, url, on_store_error="anonymous") as app:
        cookies = visitors(app)
        with proxy.failing(refusing(kind), when=kind.is_write):
            served = app.request(hit, cookies[0])
            new = app.request(hit)
            logout = app.request(lambda session: session.logout(), cookies[1])
            login = app.request(lambda session: session.login("ann"), cookies[2])
        assert (served.status, served.body, served.cookie) == (200, "2", None)
        assert (new.status, new.body, new.cookie) == (200, "1", None)
        assert logout.is_unavailable
        assert login.is_unavailable
        assert lines(log) == [FAILS]
        assert [app.request(show, cookie).body for cookie in cookies] == ["1"] * VISITORS
