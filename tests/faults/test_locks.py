"""A lock whose reply is lost may have been taken: it is given back, and the next exclusive request need not wait until it expires."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from sojourn.core.session import BaseSession
from tests.faults.kinds import TIMEOUT, Kind
from tests.faults.site import Site, site
from tests.proxy import CutReply, CutRequest, Delay, Fault, Proxy

pytestmark = pytest.mark.server

FAULTS: Final[dict[str, Fault]] = {
    "cut before the reply": CutReply(),
    "cut before the request": CutRequest(),
    "the reply comes late": Delay(TIMEOUT + 0.3),
}


@pytest.fixture
def app(colour: str, url: str) -> Iterator[Any]:
    with site(colour, url, exclusive=lambda _request: True) as app:
        yield app


def hit(session: BaseSession) -> Any:
    return session.increment("hits")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lock_whose_reply_is_lost_is_given_back(fault: str, kind: Kind, app: Site, proxy: Proxy):
    cookie = app.request(hit).cookie
    assert app.request(hit, cookie).body == "2"  # the store has prepared what it needs
    with proxy.failing(FAULTS[fault], when=kind.is_write, times=1) as met:
        response = app.request(hit, cookie)
    assert met() == 1 and response.is_unavailable
    again = app.request(hit, cookie)
    assert (again.status, again.body) == (200, "3")
    assert again.seconds < 4 * kind.patience, "the lock was left"


@pytest.mark.parametrize("fault", ["cut before the reply", "cut before the request"])
def test_a_lock_that_cannot_be_given_back_at_once_is_left_to_expire(fault: str, kind: Kind, app: Site, proxy: Proxy):
    cookie = app.request(hit).cookie
    assert app.request(hit, cookie).body == "2"
    with proxy.failing(FAULTS[fault], when=kind.is_write, times=2) as met:
        response = app.request(hit, cookie)
    assert met() == 2 and response.is_unavailable
