"""An application for aiohttp on its own server and under gunicorn, with its sessions in real stores."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis
from websockets.sync.client import connect

from tests.processes import Running, serving

pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent.parent
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "-k", "aiohttp.GunicornWebWorker", "--workers", "2")
COMMANDS = {
    "run_app": ("-m", "tests.doors.aiohttp_site"),
    "gunicorn": (*GUNICORN, "tests.doors.aiohttp_site:app"),
    "gunicorn-preload": (*GUNICORN, "--preload", "tests.doors.aiohttp_site:app"),
}


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a store for these tests alone."""
    name = f"t{uuid.uuid4().hex}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        yield f"{url}{'&' if '?' in url else '?'}table={name}&create_table=true"
        with psycopg.connect(url) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {name}")
    else:
        url = request.getfixturevalue("redis_url")
        yield f"{url}?prefix={name}:"
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(f"*{name}:*", 1000):
                client.delete(key)


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, store: str) -> Iterator[Running]:
    with serving(*COMMANDS[request.param], cwd=ROOT, env={"SESSION_STORE": store}) as running:
        yield running


everywhere = pytest.mark.parametrize(
    ("running", "store"),
    [("run_app", "redis"), ("run_app", "postgres"), ("gunicorn", "redis"), ("gunicorn-preload", "postgres")],
    indirect=True,
)


@pytest.fixture
def visitor(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.address, timeout=30, follow_redirects=True) as visitor:
        yield visitor


def cookie_header(visitor: httpx.Client) -> str:
    return "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())


# aiohttp contract 35
@everywhere
def test_requests_at_once_all_count_a_login_keeps_the_count_and_a_logout_ends_it(visitor: httpx.Client) -> None:
    visitor.get("/count")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: visitor.get("/count"), range(15)))
    before = cookie_header(visitor)
    assert visitor.get("/login").text == "[('n', 16)]"
    assert cookie_header(visitor) != before
    now = cookie_header(visitor)
    visitor.get("/logout")
    assert visitor.get("/", headers={"Cookie": now}).text == "[]"


# aiohttp contract 27, 35
@everywhere
def test_what_a_stream_and_a_websocket_change_is_saved(running: Running, visitor: httpx.Client) -> None:
    visitor.get("/count")
    assert visitor.get("/stream").text == "onetwo"
    address = running.address.replace("http:", "ws:") + "/ws"
    with connect(address, additional_headers={"Cookie": cookie_header(visitor)}) as opened:
        opened.send("hello")
        assert opened.recv() == "noted"
    deadline = time.monotonic() + 10
    while "hello" not in (found := visitor.get("/").text):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    assert found == "[('n', 1), ('streamed', True), ('ws', 'hello')]"


# aiohttp contract 35
@pytest.mark.parametrize(("running", "store"), [("gunicorn", "redis"), ("gunicorn-preload", "postgres")], indirect=True)
def test_the_workers_of_a_server_share_the_sessions(running: Running) -> None:
    with httpx.Client(base_url=running.address, timeout=30) as visitor:
        cookies = visitor.get("/pid").cookies
        deadline = time.monotonic() + 30
        while len(set(pids := visitor.get("/pid").json())) < 2:
            # another connection, which another worker may accept
            with httpx.Client(base_url=running.address, timeout=30, cookies=cookies) as other:
                others = [other.get("/count").status_code, *other.get("/pid").json()]
            assert others[0] == 200 and time.monotonic() < deadline, pids


# aiohttp contract 29
@pytest.mark.parametrize(("running", "store"), [("run_app", "redis"), ("run_app", "postgres")], indirect=True)
def test_clients_that_go_in_the_midst_of_it_leave_a_session_that_is_whole(
    running: Running, visitor: httpx.Client
) -> None:
    visitor.get("/count")
    parts = urlsplit(running.address)
    asked = f"GET /count HTTP/1.1\r\nHost: x\r\nCookie: {cookie_header(visitor)}\r\n\r\n".encode()
    for moment in range(40):  # spread over what the handler and its commit take
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as client:
            client.sendall(asked)
            time.sleep(moment / 2000)
    assert visitor.get("/login").status_code == 200, "nobody is left in the line"
    before = int(visitor.get("/count").text)
    assert 2 <= before <= 42
    assert int(visitor.get("/count").text) == before + 1


# aiohttp contract 27, 31
def test_what_a_websocket_changed_is_saved_when_the_server_stops(tmp_path: Path) -> None:
    env = {"SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    with serving(*COMMANDS["run_app"], cwd=ROOT, env=env) as running, httpx.Client(base_url=running.address) as visitor:
        visitor.get("/count")
        cookie = cookie_header(visitor)
        address = running.address.replace("http:", "ws:") + "/ws"
        with connect(address, additional_headers={"Cookie": cookie}) as opened:
            opened.send("hello")
            assert opened.recv() == "noted"
            assert running.stop() == 0
    with serving(*COMMANDS["run_app"], cwd=ROOT, env=env) as running:
        found = httpx.get(f"{running.address}/", headers={"Cookie": cookie}).text
    assert found == "[('n', 1), ('ws', 'hello')]"


# aiohttp contract 31
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_in_order(number: int, redis_url: str) -> None:
    env = {"SESSION_STORE": f"{redis_url}?prefix=t{uuid.uuid4().hex}:", "PYTHONWARNINGS": "error"}
    with serving(*COMMANDS["run_app"], cwd=ROOT, env=env) as running:
        assert httpx.get(f"{running.address}/").text == "[]"
        os.kill(running.process.pid, number)
        assert running.process.wait(20) == 0
