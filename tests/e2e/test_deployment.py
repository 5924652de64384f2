"""What docs/deployment.md shows runs: each server's line, and nginx's configuration in front of one of them."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.e2e.test_half_migrated_site import AROUND, certify, listening, nginx_program
from tests.servers import free_port

ROOT: Final = Path(__file__).parents[2]
SHOWN: Final = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
LINES: Final = re.findall(r"^\$ ((?:uvicorn|gunicorn|granian|hypercorn|waitress-serve) .*)$", SHOWN, re.MULTILINE)
MODULES: Final = {"waitress-serve": "waitress"}
WSGI: Final = """
import os
from sojourn.wsgi import SessionMiddleware

def application(environ, start_response):
    visits = environ["sojourn.session"].increment("visits")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"visits":%d}' % visits]

app = SessionMiddleware(application, secret=os.environ["SESSION_SECRET"], store="sqlite:///sessions.db")
"""
ENV: Final = {"SESSION_SECRET": "a secret for tests of more than 32 bytes"}


@contextmanager
def served(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A server while the block runs, in a process group of its own: one may leave its workers behind."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **ENV}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page's program is ``app.py``, and the same in WSGI ``wsgi.py``."""
    (tmp_path / "app.py").write_text(SHOWN.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    (tmp_path / "wsgi.py").write_text(WSGI, encoding="utf-8")
    return tmp_path


def test_every_server_of_the_page_is_tried() -> None:
    assert len(LINES) == 6


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.split()[:2]))
def test_a_servers_line_serves_sessions(line: str, folder: Path) -> None:
    port = free_port()
    program, *arguments = line.replace(":8000", f":{port}").replace("--port 8000", f"--port {port}").split()
    if program == "uvicorn":
        arguments += ["--port", str(port)]
    command = [sys.executable, "-m", MODULES.get(program, program), *arguments]
    transport = httpx.HTTPTransport(retries=20)  # a worker may still be starting
    with (
        served(command, port, folder),
        httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=30) as visitor,
    ):
        assert [visitor.get("/").json() for _ in range(2)] == [{"visits": 1}, {"visits": 2}]


def test_behind_nginx_as_shown_the_cookie_is_secure(folder: Path) -> None:
    site = SHOWN.partition("```nginx\n")[2].partition("```")[0]
    application, https, http = free_port(), free_port(), free_port()
    certificate = certify(folder)
    for shown, here in {
        "listen 443 ssl;": f"listen 127.0.0.1:{https} ssl;",
        "listen 80;": f"listen 127.0.0.1:{http};",
        "127.0.0.1:8000": f"127.0.0.1:{application}",
        "/etc/nginx/tls/": f"{folder}/",
    }.items():
        assert shown in site
        site = site.replace(shown, here)
    (folder / "site.conf").write_text(site, encoding="utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(AROUND.format(user=user), encoding="utf-8")
    nginx = [nginx_program(), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "log", "-g", "daemon off;"]
    line = next(line for line in LINES if line.startswith("uvicorn"))
    uvicorn = [sys.executable, "-m", *line.split(), "--app-dir", str(folder), "--port", str(application)]
    env = {**ENV, "SESSION_STORE": f"sqlite:///{folder}/sessions.db"}
    with listening(application, uvicorn, folder / "uvicorn.log", env), listening(https, nginx, folder / "nginx.log"):
        context = ssl.create_default_context(cafile=certificate)
        with httpx.Client(base_url=f"https://127.0.0.1:{https}", verify=context, timeout=30) as visitor:
            answer = visitor.get("/")
            assert answer.headers["set-cookie"].startswith("__Host-sid=") and "; Secure" in answer.headers["set-cookie"]
            assert visitor.get("/").json() == {"visits": 2}
        moved = httpx.get(f"http://127.0.0.1:{http}/")
        assert moved.status_code == 308 and moved.headers["location"].startswith("https://")
