"""The demo as its visitors see it: a real server, a real Chromium, a real SQLite file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from scripts.find_browser import find_browser
from tests.processes import Running, serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        message = "no Chromium found: install one, or set CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "demo"


@pytest.fixture
def demo(data: Path, tmp_path: Path) -> Iterator[Running]:
    with serving("-m", "sojourn", "demo", "--port", "0", "--data", str(data), cwd=tmp_path) as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, demo: Running) -> Page:
    opened = context.new_page()
    opened.goto(demo.address)
    return opened


def session_cookie(context: BrowserContext) -> dict[str, object] | None:
    return next((dict(cookie) for cookie in context.cookies() if str(cookie.get("name")).endswith("sid")), None)


def visits(page: Page) -> int:
    found = re.search(r"You visited this page (\d+) time", page.inner_text("#visits"))
    assert found is not None
    return int(found.group(1))


def log_in(page: Page, name: str) -> None:
    page.fill("input[name=name]", name)
    page.click("#login")
    page.wait_for_url("**/dashboard")


def test_the_browser_stores_the_cookie_as_secure_as_http_allows(page: Page, context: BrowserContext) -> None:
    cookie = session_cookie(context)
    assert cookie is not None
    assert cookie["name"] == "sid"
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Lax"
    assert cookie["secure"] is False
    assert cookie["path"] == "/"
    assert cookie["expires"] == -1
    assert page.evaluate("document.cookie") == ""


def test_the_counter_counts_across_reloads_and_restarts_of_the_server(
    page: Page, demo: Running, data: Path, tmp_path: Path
) -> None:
    assert visits(page) == 1
    page.reload()
    page.reload()
    assert visits(page) == 3
    port = demo.address.rsplit(":", 1)[1]
    assert demo.stop() == 0
    with serving("-m", "sojourn", "demo", "--port", port, "--data", str(data), cwd=tmp_path):
        page.reload()
        assert visits(page) == 4


def test_a_session_id_planted_before_login_gets_nobody_in(
    page: Page, context: BrowserContext, browser: Browser, demo: Running
) -> None:
    planted = session_cookie(context)
    assert planted is not None
    attacker = browser.new_context()
    attacker.add_cookies([{"name": "sid", "value": str(planted["value"]), "url": demo.address}])
    log_in(page, "Ann")
    changed = session_cookie(context)
    assert changed is not None and changed["value"] != planted["value"]
    other = attacker.new_page()
    other.goto(f"{demo.address}/dashboard")
    assert other.url == f"{demo.address}/"
    assert other.locator("#owner").count() == 0
    attacker.close()
    page.goto(f"{demo.address}/dashboard")
    assert "Hello, Ann" in page.inner_text("h1")


def test_an_id_that_the_server_never_drew_is_not_adopted(browser: Browser, demo: Running) -> None:
    context = browser.new_context()
    context.add_cookies([{"name": "sid", "value": "chosen-by-somebody.signature", "url": demo.address}])
    page = context.new_page()
    page.goto(demo.address)
    cookie = session_cookie(context)
    assert cookie is not None and "chosen" not in str(cookie["value"])
    context.close()


def test_logout_ends_the_session_and_takes_the_cookie(page: Page, context: BrowserContext, demo: Running) -> None:
    log_in(page, "Ann")
    kept = session_cookie(context)
    assert kept is not None
    page.click("#logout")
    page.wait_for_url(f"{demo.address}/")
    assert visits(page) == 1
    assert page.locator("#owner").count() == 0
    # Even who kept the old cookie is out.
    context.clear_cookies()
    context.add_cookies([{"name": "sid", "value": str(kept["value"]), "url": demo.address}])
    page.goto(f"{demo.address}/dashboard")
    assert page.url == f"{demo.address}/"


def test_two_browsers_do_not_see_each_other(page: Page, browser: Browser, demo: Running) -> None:
    log_in(page, "Ann")
    other_context = browser.new_context()
    other = other_context.new_page()
    other.goto(demo.address)
    assert visits(other) == 1
    assert other.locator("#owner").count() == 0
    other_context.close()


def test_other_devices_are_listed_and_logged_out_one_by_one_and_all_at_once(
    page: Page, browser: Browser, demo: Running
) -> None:
    log_in(page, "Ann")
    assert page.locator(".device").count() == 1 and page.locator("#end-others").count() == 0
    assert "this device" in page.inner_text(".device")
    contexts = [
        browser.new_context(user_agent=f"Mozilla/5.0 ({system}) {mark}/150.0", viewport={"width": 360, "height": 640})
        for system, mark in [("iPhone; like Mac OS X", "Safari"), ("X11; Linux x86_64", "Firefox"), ("?", "?")]
    ]
    others = [context.new_page() for context in contexts]
    for other in others:
        other.goto(demo.address)
        log_in(other, "Ann")
    bystander = browser.new_context()
    bob = bystander.new_page()
    bob.goto(demo.address)
    log_in(bob, "Bob")
    assert bob.locator(".device").count() == 1
    phone = others[0]
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits on a phone"

    page.reload()
    assert "this device" in page.locator(".device").first.inner_text()
    shown = page.locator(".device").all_inner_texts()
    assert sorted(text.split("\n")[0] for text in shown[1:]) == ["A browser", "Firefox on Linux", "Safari on an iPhone"]
    page.get_by_role("button", name=re.compile("Log out Firefox on Linux")).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".flash")
    assert "Firefox on Linux is logged out." in page.inner_text(".flash")
    others[1].reload()
    assert others[1].locator("#owner").count() == 0

    page.click("#end-others")
    page.wait_for_selector("text=2 other devices are logged out.")
    assert page.locator(".device").count() == 1
    for other in others:
        other.goto(f"{demo.address}/dashboard")
        assert other.url == f"{demo.address}/"
    bob.reload()
    assert bob.inner_text("#owner") == "Bob"
    for context in (*contexts, bystander):
        context.close()


def test_a_page_learns_at_once_that_it_was_logged_out_in_another_window(
    page: Page, context: BrowserContext, browser: Browser, demo: Running
) -> None:
    log_in(page, "Ann")
    window, elsewhere = context.new_page(), browser.new_context()
    window.goto(f"{demo.address}/dashboard")
    other = elsewhere.new_page()
    with other.expect_websocket():
        other.goto(demo.address)
        log_in(other, "Ann")
    assert not window.is_visible("#ended") and not other.is_visible("#ended")

    page.reload()
    page.click("#end-others")
    other.wait_for_selector("#ended:visible", timeout=5000)
    assert "You were logged out elsewhere." in other.inner_text("#ended")
    assert other.inner_text("#owner") == "nobody any more"
    assert not window.is_visible("#ended"), "it is the same browser's, whose session goes on"

    page.click("#logout")
    window.wait_for_selector("#ended:visible", timeout=5000)
    window.click("#ended a")
    assert window.url == f"{demo.address}/" and window.locator("#owner").count() == 0
    elsewhere.close()


def test_the_cart_survives_login_and_a_flash_is_shown_once(page: Page, demo: Running) -> None:
    page.click("#add-tent")
    page.wait_for_selector("#total")
    assert "Tent for two is in your cart." in page.inner_text(".flash")
    page.click("#add-tent")
    page.wait_for_selector("text=Tent for two >> nth=1")  # the shelf has the first
    log_in(page, "Ann")
    page.goto(demo.address)
    assert page.locator(".flash").count() == 0
    assert "€378" in page.inner_text("#total")


def test_the_page_shows_no_usable_id(page: Page, context: BrowserContext) -> None:
    cookie = session_cookie(context)
    assert cookie is not None
    session_id = str(cookie["value"]).split(".")[0]
    assert session_id not in page.content()
    assert len(page.inner_text("#masked")) == 9


def test_two_windows_at_once_both_keep_their_change_and_the_page_shows_what_each_sent(
    page: Page, demo: Running
) -> None:
    page.click("text=Two windows")
    for _attempt in range(5):  # on a busy machine one of them may come late
        page.click("#both")
        page.wait_for_selector("#outcome:has-text('Kept:')")
        if page.inner_text("#outcome").startswith("Both"):
            break
        page.click("text=Begin anew")
        page.wait_for_selector("text=Press the button.")
    assert page.inner_text("#outcome") == "Both loaded 0 and sent 1. Kept: 2, and both lines."
    assert page.inner_text("[data-of='a sent']").startswith("counter 1; list: A at ")
    assert page.inner_text("[data-of='b sent']").startswith("counter 1; list: B at ")
    page.click("#one")
    page.wait_for_selector("text=Kept: 3.")
    page.click("text=Begin anew")
    page.wait_for_selector("text=Press the button.")
    page.click("#one")
    page.wait_for_selector("text=Kept: 1.")


def test_values_come_back_as_what_they_were(page: Page, demo: Running) -> None:
    page.click("#add-map")
    page.wait_for_selector("#total")
    shown = dict(row.split("\t")[:2] for row in page.locator("#values tbody tr").all_inner_texts())
    assert shown == {
        "visits": "int",
        "first visit": "datetime",
        "cart": "dict",
        "looked at": "set",
        "total": "Decimal",
    }


def test_the_operators_dashboard_is_beside_it_for_whoever_is_logged_in(page: Page, demo: Running) -> None:
    refused = page.request.get(f"{demo.address}/operator/")
    assert refused.status == 403
    log_in(page, "Ann")
    page.click("text=See them as an operator does")
    page.wait_for_url("**/operator/**")
    assert page.locator("h1").count() == 1
    assert "Ann" in page.inner_text("body")
