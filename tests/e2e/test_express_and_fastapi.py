"""The example of two sides with one login, started by its one command and visited with a real browser."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.processes import Running, serving
from tests.servers import free_port, valkey_program

pytestmark = [pytest.mark.browser, pytest.mark.express, pytest.mark.server]

EXAMPLE = Path(__file__).parents[2] / "examples" / "express-and-fastapi"


class Site(NamedTuple):
    """The addresses of both sides, and the command that serves them."""

    express: str
    python: str
    command: Running


@pytest.fixture(scope="module")
def site(node_environment: dict[str, str]) -> Iterator[Site]:
    valkey_program()  # the command needs it; skips where it is missing
    ports = {"EXPRESS_PORT": str(free_port()), "PYTHON_PORT": str(free_port())}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REDIS_URL", raising=False)  # it brings its own
        with serving("run.py", cwd=EXAMPLE, env=node_environment | ports) as command:
            python = f"http://127.0.0.1:{ports['PYTHON_PORT']}"
            assert command.address == f"http://127.0.0.1:{ports['EXPRESS_PORT']}"
            yield Site(command.address, python, command)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Page:
    opened = context.new_page()
    opened.goto(site.express)
    return opened


def log_in(page: Page, site: Site, name: str = "Ann") -> None:
    page.goto(site.express)
    page.fill("input[name=name]", name)
    page.click("#login")
    page.wait_for_url(f"{site.python}/cart")


def test_a_visitor_goes_to_and_fro_between_the_sides_within_one_session(
    page: Page, context: BrowserContext, site: Site
) -> None:
    assert context.cookies() == []  # who only looks has no session
    expect(page.locator("#side")).to_have_text("Express")

    page.click("#add-tent")
    expect(page.locator("#side")).to_have_text("FastAPI")
    expect(page.locator(".flash")).to_have_text("Tent for two: in your cart.")
    expect(page.locator("#total")).to_have_text("€189")
    (cookie,) = context.cookies()
    assert cookie["name"] == "connect.sid" and cookie["httpOnly"] and cookie["sameSite"] == "Lax"

    page.click("nav >> text=Shelf")
    expect(page.locator("#side")).to_have_text("Express")
    expect(page.locator("#items")).to_have_text("1")
    page.fill("input[name=name]", "<i>Ann</i>")
    page.click("#login")
    expect(page.locator("#side")).to_have_text("FastAPI")
    expect(page.locator(".flash")).to_have_text("Welcome, <i>Ann</i>. Express logged you in.")
    expect(page.locator("#user")).to_have_text("<i>Ann</i>")
    expect(page.locator("#total")).to_have_text("€189")
    (renewed,) = context.cookies()
    assert renewed["name"] == "connect.sid" and renewed["value"] != cookie["value"]

    page.reload()
    expect(page.locator(".flash")).to_have_count(0)
    for side, heading in ((site.express, "Served by Express"), (site.python, "Served by FastAPI")):
        page.goto(f"{side}/profile")
        expect(page.locator("h2")).to_have_text(heading)
        expect(page.locator("h1")).to_have_text("Hello, <i>Ann</i>")

    page.goto(f"{site.python}/cart")
    page.click("#remove-tent")
    expect(page.locator("#items")).to_have_text("0")
    page.goto(site.express)
    expect(page.locator("#items")).to_have_text("0")


@pytest.mark.parametrize("side", ["express", "python"])
def test_a_logout_on_either_side_ends_the_session_on_both(
    side: str, page: Page, context: BrowserContext, site: Site
) -> None:
    log_in(page, site)
    kept = context.cookies()
    page.goto(f"{getattr(site, side)}/profile")
    page.click("#logout")
    page.wait_for_url(f"{site.express}/")
    expect(page.locator("#login")).to_be_visible()
    assert context.cookies() == []
    context.add_cookies([{"name": one["name"], "value": one["value"], "url": site.express} for one in kept])
    for address in (site.express, site.python):
        page.goto(f"{address}/profile")
        expect(page).to_have_url(f"{site.express}/")


FORMS = [("express", "/login"), ("express", "/logout"), ("python", "/cart/add/tent"), ("python", "/logout")]


@pytest.mark.parametrize(("side", "path"), FORMS)
def test_a_form_of_another_site_changes_nothing(
    side: str, path: str, page: Page, context: BrowserContext, site: Site
) -> None:
    log_in(page, site)
    kept = context.cookies()
    page.goto(site.express.replace("127.0.0.1", "localhost"))  # to the browser, another site
    target = f"{getattr(site, side)}{path}"
    form = f"<form method=post action={target}><input name=name value=Eve><button>Win</button></form>"
    page.evaluate("form => { document.body.innerHTML = form }", form)
    with page.expect_response(target) as answer:
        page.click("text=Win")
    assert "cookie" not in answer.value.request.all_headers()
    assert answer.value.status == 403
    expect(page.locator("body")).to_have_text("This form came from another site.")
    assert context.cookies() == kept
    page.goto(f"{site.python}/cart")
    expect(page.locator("#user")).to_have_text("Ann")
    expect(page.locator("#items")).to_have_text("0")


def test_the_end_of_the_command_is_the_end_of_all_that_it_started(site: Site) -> None:  # the last: it ends the site
    assert site.command.stop() == 0
    for address in (site.express, site.python):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5)
