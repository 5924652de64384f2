"""An application for Quart on real servers, with its sessions in a real Redis."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis
from websockets.sync.client import connect

from tests.processes import Running, serving

pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent.parent
COMMANDS = {
    "hypercorn": ("-m", "hypercorn", "tests.doors.quart_site:app", "--bind", "127.0.0.1:0"),
    "uvicorn": ("-m", "uvicorn", "tests.doors.quart_site:app", "--port", "0"),
}


@pytest.fixture(scope="module", params=COMMANDS)
def running(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Running]:
    prefix = f"test-{uuid.uuid4().hex}:"
    with serving(*COMMANDS[request.param], cwd=ROOT, env={"SESSION_STORE": f"{redis_url}?prefix={prefix}"}) as running:
        yield running
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter(f"*{prefix}*", 1000):
            client.delete(name)


@pytest.fixture
def visitor(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.address, timeout=30) as visitor:
        yield visitor


def test_requests_at_once_all_count_and_a_login_keeps_the_count(visitor: httpx.Client) -> None:
    visitor.get("/count")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: visitor.get("/count"), range(15)))
    before = dict(visitor.cookies)
    assert visitor.get("/login").text == "ann"
    assert dict(visitor.cookies) != before
    assert visitor.get("/").text == "[('n', 16)]"


# quart contract 12
def test_what_a_stream_changes_is_saved(visitor: httpx.Client) -> None:
    visitor.get("/count")
    assert visitor.get("/stream").text == "onetwo"
    assert visitor.get("/").text == "[('n', 1), ('streamed', True)]"


def test_what_cannot_be_stored_meets_the_application_s_handler(visitor: httpx.Client) -> None:
    visitor.get("/count")
    response = visitor.get("/bad")
    assert (response.status_code, response.text) == (500, "sorry")
    assert visitor.get("/").text == "[('n', 1)]"


# quart contract 6
def test_what_a_websocket_changed_is_saved_when_its_client_goes(running: Running, visitor: httpx.Client) -> None:
    visitor.get("/count")
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    address = running.address.replace("http:", "ws:") + "/ws"
    with connect(address, additional_headers={"Cookie": cookie}) as socket:
        socket.send("hello")
        assert socket.recv() == "noted"
    deadline = time.monotonic() + 10
    while "hello" not in (found := visitor.get("/").text):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    assert found == "[('n', 1), ('ws', 'hello')]"
