"""The example with a guarded form in a real browser, with pages of other origins that would use its form and its WebSocket.

Over 127.0.0.1, which browsers trust as they do https, requests have ``Sec-Fetch-Site``; over names that browsers are told to find there,
as over any plain http, they have ``Origin`` alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.find_browser import find_browser
from tests.e2e.conftest import absent
from tests.processes import serving

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "a secret that is long enough for everybody"
# The site's host, the other page's, and what the refusal shows of where that page is.
ORIGINS = [
    ("127.0.0.1", "localhost", "Sec-Fetch-Site: cross-site"),
    ("127.0.0.1", "127.0.0.1", "Sec-Fetch-Site: same-site"),
    ("site.example", "evil.example", "Origin: http://evil.example"),
    ("site.example", "sub.site.example", "Origin: http://sub.site.example"),
]
EVIL = b"<!doctype html><title>A page</title><form method=post><button>Win a prize</button></form>"
OPEN = """url => new Promise(resolve => {
    const socket = new WebSocket(url);
    socket.onmessage = event => resolve(event.data);
    socket.onerror = () => resolve("refused");
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser() or absent("no Chromium found: install one, or set CHROMIUM")
    names = "--host-resolver-rules=MAP *.example 127.0.0.1"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", names])
        yield started
        started.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example's."""
    env = {"SESSION_STORE": f"sqlite:///{tmp_path_factory.mktemp('guarded')}/sessions.db", "SESSION_SECRET": SECRET}
    with serving("-m", "uvicorn", "guarded_form:app", "--port", "0", cwd=EXAMPLES, env=env) as running:
        yield running.address.rpartition(":")[2]


class OtherSite(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(EVIL)))
        self.end_headers()
        self.wfile.write(EVIL)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    """That of a server of other sites' pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherSite) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize(("host", "other", "seen"), ORIGINS)
def test_the_site_s_own_page_may_and_a_page_of_another_origin_may_not(
    page: Page, port: str, other_port: int, host: str, other: str, seen: str
) -> None:
    site = f"http://{host}:{port}"
    page.goto(site)
    for count in ("1", "2"):
        with page.expect_navigation():
            page.click("button")
        assert page.inner_text("#count") == count
    assert page.evaluate(OPEN, f"ws://{host}:{port}/live") == "2 notes"
    assert page.evaluate("fetch('/notes', {method: 'POST'}).then(response => response.status)") == 200

    page.goto(f"http://{other}:{other_port}")
    assert page.evaluate(OPEN, f"ws://{host}:{port}/live") == "refused"
    page.evaluate("url => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include'})", f"{site}/notes")
    page.evaluate("url => { document.forms[0].action = url }", f"{site}/notes")
    with page.expect_navigation() as navigation:
        page.click("button")
    assert navigation.value.status == 403
    assert seen in page.inner_text("body")

    page.goto(f"http://{other}:{other_port}")
    page.evaluate("url => { document.forms[0].action = url }", f"{site}/hook")  # which takes requests from anywhere
    with page.expect_response(f"{site}/hook") as response:
        page.click("button")
    assert response.value.status == 204

    page.goto(site)
    assert page.inner_text("#count") == "3"
