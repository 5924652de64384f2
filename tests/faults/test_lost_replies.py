"""A write whose reply is lost is settled by reading: the visitor is answered, and the change is made exactly once."""

from __future__ import annotations

from typing import Any, Final

import pytest

from sojourn.core.session import BaseSession
from tests.faults.kinds import TIMEOUT, Kind
from tests.faults.late import DELIVER
from tests.faults.site import Response, Site
from tests.proxy import Answer, BlackHole, CutReply, CutRequest, Delay, Fault, Proxy

pytestmark = pytest.mark.server

CUTS: Final[dict[str, Fault]] = {
    "cut before the reply": CutReply(),
    "cut in the reply": CutReply(after=2),
    "cut before the request": CutRequest(),
}
BEFORE_AND_AFTER: Final = ["cut before the reply", "cut before the request"]
SILENCE: Final[dict[str, Fault]] = {"the reply comes late": Delay(TIMEOUT + 0.3), "the request is lost": BlackHole()}
SLACK: Final = 1.0


def hit(session: BaseSession) -> Any:
    return session.increment("hits")


def show(session: BaseSession) -> Any:
    return session.get("hits")


def sign_in(session: BaseSession) -> Any:
    session.login("ann", keep_data=True)
    return session.increment("hits")


def sign_out(session: BaseSession) -> None:
    session.logout()


def warmed(app: Site) -> str:
    """A visitor's cookie, whose session has one hit, after the store has learned and prepared what it needs."""
    other = app.request(hit).cookie
    other = app.request(sign_in, other).cookie
    assert app.request(sign_out, other).status == 200
    cookie = app.request(hit).cookie
    assert cookie is not None
    return cookie


def in_time(kind: Kind, response: Response, operations: int) -> bool:
    return response.seconds < operations * kind.patience + SLACK


@pytest.mark.parametrize("fault", CUTS | SILENCE)
def test_a_change_whose_reply_is_lost_counts_once(fault: str, kind: Kind, app: Site, proxy: Proxy):
    cookie = warmed(app)
    with proxy.failing((CUTS | SILENCE)[fault], when=kind.is_write, times=1) as met:
        response = app.request(hit, cookie)
    assert (met(), response.status, response.body) == (1, 200, "2")
    assert in_time(kind, response, 3)
    assert app.request(show, cookie).body == "2"
    print(f"{fault}: 1 of 1 settled after {response.seconds:.2f} s")


@pytest.mark.parametrize("fault", BEFORE_AND_AFTER)
def test_a_session_whose_creation_lost_its_reply_is_there(fault: str, kind: Kind, app: Site, proxy: Proxy):
    warmed(app)
    with proxy.failing(CUTS[fault], when=kind.is_write, times=1) as met:
        response = app.request(hit)
    assert (met(), response.status) == (1, 200)
    assert in_time(kind, response, 3)
    assert app.request(show, response.cookie).body == "1"


@pytest.mark.parametrize("fault", BEFORE_AND_AFTER)
def test_a_login_whose_reply_is_lost_moves_the_session_once(
    fault: str, kind: Kind, colour: str, app: Site, proxy: Proxy
):
    # One colour is made from the other, and each step takes a while.
    for step in range(1, kind.steps + 1) if colour == "sync" else [kind.steps]:
        cookie = warmed(app)
        writes = 0

        def is_step(message: bytes, step: int = step) -> bool:
            nonlocal writes
            writes += kind.is_write(message)
            return kind.is_write(message) and writes == step

        with proxy.failing(CUTS[fault], when=is_step, times=1) as met:
            response = app.request(sign_in, cookie)
        assert (met(), response.status, response.body) == (1, 200, "2"), f"at step {step}"
        assert in_time(kind, response, 3 + kind.steps)
        assert response.cookie not in {None, cookie}
        assert app.request(show, response.cookie).body == "2", f"at step {step}"
        assert app.request(lambda session: session.owner, response.cookie).body == "ann"
        assert app.request(show, cookie).body == "None", f"the old session lives on, after step {step}"


@pytest.mark.parametrize("fault", BEFORE_AND_AFTER)
def test_a_logout_whose_reply_is_lost_ends_the_session(fault: str, kind: Kind, app: Site, proxy: Proxy):
    cookie = warmed(app)
    with proxy.failing(CUTS[fault], when=kind.is_write, times=1) as met:
        response = app.request(sign_out, cookie)
    assert (met(), response.status) == (1, 200)
    assert in_time(kind, response, 3)
    assert app.request(show, cookie).body == "None"


def test_a_write_that_fails_for_good_is_a_503_and_changes_nothing(kind: Kind, app: Site, proxy: Proxy):
    cookie = warmed(app)
    with proxy.failing(CutRequest(), when=kind.is_write) as met:
        response = app.request(hit, cookie)
    assert response.is_unavailable
    assert met() == 2, "a write whose reply is lost is tried twice, and no more"
    assert in_time(kind, response, 4)
    assert app.request(hit, cookie).body == "2"


def test_changes_at_the_same_time_count_once_each_though_a_reply_is_lost(kind: Kind, app: Site, proxy: Proxy):
    cookies = [warmed(app) for _ in range(6)]
    for expected, fault in enumerate(map(CUTS.__getitem__, BEFORE_AND_AFTER), 2):
        with proxy.failing(fault, when=kind.is_write, times=1) as met:
            responses = app.together([(hit, cookie) for cookie in cookies])
        assert met() == 1
        assert [(response.status, response.body) for response in responses] == [(200, str(expected))] * len(cookies)
        assert [app.request(show, cookie).body for cookie in cookies] == [str(expected)] * len(cookies)
    print(f"{2 * len(cookies)} changes, 2 replies lost: each counts once")


@pytest.mark.parametrize("arrives", ["before the retry", "after the next change"])
def test_a_write_that_arrives_after_it_was_given_up_counts_once_at_most(
    arrives: str, kind_name: str, kind: Kind, server: Any, app: Site, proxy: Proxy
):
    cookie = warmed(app)
    given_up: list[bytes] = []
    replies: list[bytes] = []

    def deliver(message: bytes) -> bytes:
        replies.append(DELIVER[kind_name](server.port, message))
        return replies[-1]

    def answer(message: bytes) -> bytes:
        if not given_up:
            given_up.append(message)
            return b""
        if arrives == "before the retry":
            deliver(given_up[0])
        return deliver(message)

    with proxy.failing(Answer(answer), when=kind.is_write, times=2) as met:
        response = app.request(hit, cookie)
    assert (met(), response.status, response.body) == (2, 200, "2")
    assert app.request(show, cookie).body == "2"
    assert app.request(hit, cookie).body == "3"
    if arrives == "after the next change":
        deliver(given_up[0])
    assert len(replies) == 2
    assert app.request(show, cookie).body == "3"
