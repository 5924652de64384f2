"""The dashboard in a real browser: axe, both colour schemes, a phone's width, the keyboard alone, without JavaScript, and live."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.node_peers import FOLDER
from sojourn.dashboard import WSGIDashboard
from sojourn.events import SessionEvent
from sojourn.ids import hash_id
from sojourn.stores import MemoryStore
from tests.dashboard.sites import browse, dashboard_of
from tests.dashboard.test_pages import now
from tests.e2e.conftest import absent

pytestmark = pytest.mark.browser
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
PAGES = {
    "overview": "/",
    "sessions": "/sessions",
    "an owner's": "/sessions?owner=ann",
    "an owner's, ended": "/sessions?owner=ann&ended=2",
    "one": "/session?name={key}&owner=ann",
    "nothing": "/find?q=who",
    "store": "/store",
    "end an owner's": "/owner/end?owner=ann",
    "end all": "/all/end",
}


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Site:
    """A dashboard on a server, mounted below a path, with sessions to look at."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.keys = [hash_id(browse(self.store, owner).rpartition(".")[0]) for owner in ("ann", "ann", "bob", None)]
        self.dashboard: WSGIDashboard = dashboard_of("sync", self.store)
        for kind in ("created", "created", "revoked"):
            self.dashboard.on_event(SessionEvent(kind=kind, at=now()))

        def mounted(environ: Any, start_response: Any) -> Any:
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/ops", environ["PATH_INFO"].removeprefix("/ops")
            return self.dashboard(environ, start_response)

        self.server = make_server("127.0.0.1", 0, mounted, server_class=_Server, handler_class=_Quiet)
        self.address = f"http://127.0.0.1:{self.server.server_port}/ops"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.dashboard.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


class Opened:
    """A page, and whatever the browser had to complain of, which is nothing at the end of a test."""

    def __init__(self, browser: Browser, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.context.close()
        # A page that is a 404 is said on the console, too.
        assert [text for text in self.complaints if "404" not in text] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing_and_no_page_is_wider_than_the_window(
    browser: Browser, site: Site, scheme: Any, width: int
) -> None:
    if not AXE.exists():
        absent("axe-core is not installed: python -m scripts.node_peers")
    # axe itself is what the policy would not let in
    with Opened(browser, color_scheme=scheme, viewport={"width": width, "height": 760}, bypass_csp=True) as page:
        found = {}
        for name, path in PAGES.items():
            page.goto(site.address + path.format(key=site.keys[0]))
            if name == "overview":
                page.locator("summary").click()
            page.add_script_tag(path=AXE)
            result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            found[name] = [(one["id"], [node["html"] for node in one["nodes"]]) for one in result["violations"]]
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert {name: all_of for name, all_of in found.items() if all_of} == {}


def test_the_policy_lets_all_of_the_pages_own_work_and_nothing_else(browser: Browser, site: Site) -> None:
    opened = Opened(browser)
    with opened as page:
        page.goto(f"{site.address}/")
        assert page.evaluate("getComputedStyle(document.querySelector('.figures')).display") == "grid"
        assert page.get_by_role("button", name="Pause updates").is_visible()
        foreign = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'went', () => 'refused')")
        assert foreign == "refused"
        page.evaluate("document.body.setAttribute('onclick', 'document.title = \"in\"'); document.body.click()")
        assert page.title() != "in"
        assert any("connect-src" in text or "Content Security Policy" in text for text in opened.complaints)
        opened.complaints.clear()


def test_an_operator_with_a_keyboard_finds_an_owner_and_ends_all_of_theirs(browser: Browser, site: Site) -> None:
    with Opened(browser) as page:
        page.goto(f"{site.address}/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]  # it has come into view
        for _ in range(4):
            page.keyboard.press("Tab")
        page.keyboard.type("ann")
        page.keyboard.press("Enter")
        page.wait_for_url("**/sessions?owner=ann")
        expect(page.get_by_role("heading", name="Sessions of ann")).to_be_visible()
        press(page, "End all sessions of ann…")
        expect(page.get_by_text("ann has 2 sessions now")).to_be_visible()
        press(page, "End all 2 sessions")
        page.wait_for_url("**/sessions?owner=ann&ended=2")
        assert page.get_by_role("status").inner_text() == "2 sessions ended."
        assert site.store.count() == 2


def press(page: Page, name: str) -> None:
    """Go by Tab to what has this name, and press Enter."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"no Tab leads to {name}")


def test_a_session_is_looked_at_revealed_and_ended(browser: Browser, site: Site) -> None:
    with Opened(browser) as page:
        page.goto(f"{site.address}/sessions?owner=bob")
        page.get_by_role("link", name=site.keys[2][:12]).click()
        assert page.get_by_text("str of 21").is_visible() and "tents" not in page.content()
        page.get_by_role("button", name="Reveal the values").click()
        assert page.get_by_text("'buy <b>more</b> tents'").is_visible()
        page.get_by_role("button", name="End this session").click()
        page.wait_for_url("**/sessions?owner=bob&ended=1")
        assert page.get_by_text("bob has no live session.").is_visible() and site.store.count() == 3


def test_figures_are_live_and_can_be_paused_and_leave_what_is_unfolded(browser: Browser, site: Site) -> None:
    with Opened(browser) as page:
        page.clock.install()
        page.goto(f"{site.address}/")
        page.locator("summary").click()
        page.locator("h1").click()  # away from it
        page.evaluate("document.activeElement.blur()")
        site.dashboard.on_event(SessionEvent(kind="created", at=now(), count=7))
        page.clock.run_for(5500)
        expect(page.locator("#traffic-desc")).to_have_text(re.compile("^9 begun"))
        assert page.locator("details").get_attribute("open") is not None
        page.get_by_role("button", name="Pause updates").click()
        site.dashboard.on_event(SessionEvent(kind="created", at=now(), count=1))
        page.clock.run_for(20_000)
        assert page.locator("#traffic-desc").text_content().startswith("9 begun")  # type: ignore[union-attr]
        page.get_by_role("button", name="Go on with updates").click()
        page.evaluate("document.activeElement.blur()")
        page.clock.run_for(5500)
        expect(page.locator("#traffic-desc")).to_have_text(re.compile("^10 begun"))


def test_without_javascript_everything_can_be_done(browser: Browser, site: Site) -> None:
    with Opened(browser, java_script_enabled=False) as page:
        page.goto(f"{site.address}/")
        assert page.get_by_role("button", name="Pause updates").count() == 0
        page.get_by_role("searchbox").fill("ann")
        page.get_by_role("button", name="Find").click()
        page.get_by_role("link", name="End all sessions of ann…").click()
        page.get_by_role("button", name="End all 2 sessions").click()
        assert page.get_by_role("status").inner_text() == "2 sessions ended."
        page.goto(f"{site.address}/all/end")
        page.get_by_label("Type “end all”").fill("end all")
        page.get_by_role("button", name="End all sessions").click()
        assert site.store.count() == 0
