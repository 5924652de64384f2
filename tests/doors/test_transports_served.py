"""Ids by header and by query on a real server, with its log."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.servers import free_port

APP = """
from fastapi import FastAPI, Request
from sojourn.asgi import SessionMiddleware
from sojourn.transports import CookieTransport, HeaderTransport, QueryTransport

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret="an example secret of more than 32 bytes",
    store="memory://",
    transports=[CookieTransport(), HeaderTransport(), QueryTransport()],
)

@app.get("/login")
async def login(request: Request) -> str:
    request.session.login("ann")
    return request.session.signed_id

@app.get("/me")
async def me(request: Request) -> dict[str, str | None]:
    return {"owner": request.session.owner, "url": str(request.url)}
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The app on uvicorn: its address, and its log."""
    (tmp_path / "api.py").write_text(APP)
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "uvicorn", "api:app", "--port", str(port), "--log-level", "debug"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=tmp_path, env=dict(os.environ), stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 20
        while "running on" not in log.read_text():
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", log
    finally:
        server.terminate()
        server.wait(10)


def test_an_id_in_a_query_reaches_neither_the_app_s_urls_nor_uvicorn_s_log(served: tuple[str, Path]) -> None:
    address, log = served
    with httpx.Client(base_url=address) as browser:
        signed = browser.get("/login").json()
    answer = httpx.get(f"{address}/me?a=1&sid={signed}")
    assert answer.json() == {"owner": "ann", "url": f"{address}/me?a=1"}
    assert "set-cookie" not in answer.headers and "x-session-id" not in answer.headers
    text = log.read_text()
    assert "GET /me?a=1" in text and signed not in text and signed.partition(".")[0] not in text


def test_an_api_client_logs_in_by_header_and_a_browser_beside_it_by_cookie(served: tuple[str, Path]) -> None:
    address, log = served
    first = httpx.get(f"{address}/login", headers={"X-Session-Id": "none"})
    signed = first.headers["x-session-id"]
    assert signed == first.json() and "set-cookie" not in first.headers
    assert httpx.get(f"{address}/me", headers={"X-Session-Id": signed}).json()["owner"] == "ann"
    assert httpx.get(f"{address}/me", headers={"X-Session-Id": signed[:-1]}).json()["owner"] is None
    with httpx.Client(base_url=address) as browser:
        assert "x-session-id" not in browser.get("/login").headers
        assert browser.get("/me").json()["owner"] == "ann"
    assert signed not in log.read_text()
