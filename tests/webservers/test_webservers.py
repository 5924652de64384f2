"""The example applications under the web servers that people run: every way they fork, use threads and read headers.

All servers with every store that applies: ``make servers``. With SQLite they are a part of ``make test``.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.servers import free_port
from tests.store_urls import store_of

EXAMPLES = Path(__file__).parents[2] / "examples"
STORES = ["sqlite", "memory", "redis", "postgres", "mongo"]
AT_ONCE, ROUNDS = 8, 40


class WebServer(NamedTuple):
    """A command line; ``{port}`` stands in it for the port, and ``{app}`` for the example of its protocol."""

    command: str
    protocol: str = "wsgi"
    processes: int = 1


WEB_SERVERS = {
    "uvicorn": WebServer("uvicorn --port {port} {app}", "asgi"),
    "uvicorn, 2 processes": WebServer("uvicorn --workers 2 --port {port} {app}", "asgi", 2),
    "hypercorn": WebServer("hypercorn --bind 127.0.0.1:{port} {app}", "asgi"),
    "hypercorn, trio": WebServer("hypercorn --worker-class trio --bind 127.0.0.1:{port} {app}", "asgi"),
    "granian, ASGI": WebServer("granian --interface asgi --workers 2 --port {port} {app}", "asgi", 2),
    "granian, WSGI": WebServer("granian --interface wsgi --workers 2 --port {port} {app}", processes=2),
    **{
        f"gunicorn, {kind}{preload}": WebServer(
            f"gunicorn --worker-class {kind} --workers 2{' --threads 4' * (kind == 'gthread')}{preload} --bind 127.0.0.1:{{port}} {{app}}",
            processes=2,
        )
        for kind in ("sync", "gthread", "gevent")
        for preload in ("", " --preload")
    },
    **{
        f"gunicorn, aiohttp{preload}": WebServer(
            f"gunicorn --worker-class aiohttp.GunicornWebWorker --workers 2{preload} --bind 127.0.0.1:{{port}} {{app}}",
            "aiohttp",
            2,
        )
        for preload in ("", " --preload")
    },
    "waitress": WebServer("waitress --listen 127.0.0.1:{port} --threads 8 {app}"),
    "cheroot": WebServer("cheroot --bind 127.0.0.1:{port} {app}"),
}
APPS = {"asgi": "starlette_app:app", "wsgi": "wsgi_app:app", "aiohttp": "aiohttp_app:make_app"}


def applies(server: WebServer, name: str, store: str) -> bool:
    """Whether a store serves there: memory is one process's, and network stores run on asyncio alone."""
    return not (store == "memory" and server.processes > 1) and not (
        "trio" in name and store not in {"sqlite", "memory"}
    )


CASES = [
    pytest.param(
        name,
        store,
        marks=[pytest.mark.server, *([pytest.mark.webservers] if store != "sqlite" else [])],
        id=f"{name}, {store}",
    )
    for name, server in WEB_SERVERS.items()
    for store in STORES
    if applies(server, name, store)
]


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with store_of(request.param, request, tmp_path) as store:
        yield store


@contextmanager
def running(server: WebServer, url: str, log: Path) -> Iterator[str]:
    """The example under a server, in a process group of its own; its address."""
    port = free_port()
    module, *arguments = server.command.format(port=port, app=APPS[server.protocol]).split()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=EXAMPLES,
            env={**os.environ, "SESSION_STORE": url, "PYTHONPATH": str(EXAMPLES)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 40
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                pass
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # whatever is left of its workers
                process.wait()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="these servers' processes are ended by group, which POSIX has")
@pytest.mark.parametrize(("name", "store_url"), CASES, indirect=["store_url"])
def test_a_visit(name: str, store_url: str, tmp_path: Path) -> None:
    server = WEB_SERVERS[name]
    module = server.command.split()[0]
    if importlib.util.find_spec(module) is None or ("gevent" in name and importlib.util.find_spec("gevent") is None):
        pytest.skip(f"{module} has no wheel for this interpreter")
    log = tmp_path / "log.txt"
    with running(server, store_url, log) as address, httpx.Client(base_url=address, timeout=30) as browser:
        first = browser.get("/counter")
        assert first.json() == {"visits": 1}, log.read_text()
        assert "sid=" in first.headers["set-cookie"] and first.headers["cache-control"] == "no-store"

        with ThreadPoolExecutor(AT_ONCE) as at_once:
            cookies = dict(browser.cookies)
            replies = list(
                at_once.map(lambda _: httpx.get(f"{address}/counter", cookies=cookies, timeout=30), range(ROUNDS))
            )
        assert [reply.status_code for reply in replies] == [200] * ROUNDS, log.read_text()
        assert browser.get("/counter").json() == {"visits": ROUNDS + 2}  # none is lost

        browser.get("/set?key=colour&value=blue")
        before = browser.cookies["sid"]
        login = browser.get("/login?name=Ann")
        assert login.status_code == 303 and browser.cookies["sid"] != before
        assert browser.get("/dashboard").text == "Hello, Ann."
        assert browser.get("/get?key=colour").json() == {"colour": "blue"}
        assert httpx.get(f"{address}/dashboard", cookies={"sid": before}).status_code == 401  # the old id is nobody's

        kept = browser.cookies["sid"]
        assert browser.get("/logout").json() == {"logged_out": True}
        assert httpx.get(f"{address}/dashboard", cookies={"sid": kept}).status_code == 401
        assert httpx.get(f"{address}/dashboard", cookies={"sid": "s%3Aforged.signature"}).status_code == 401
    assert "Traceback" not in log.read_text() and "session store fails" not in log.read_text(), log.read_text()
