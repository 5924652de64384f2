"""Every page of the documentation and of the demo: nothing that axe finds, nothing wider than a phone, and words to be found by."""

from __future__ import annotations

import functools
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import absent
from tests.processes import serving

pytestmark = pytest.mark.browser

ROOT: Final = Path(__file__).parents[2]
AXE: Final = ROOT / "tests" / "node" / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 900}
TOO_WIDE: Final = """() => {
  const wide = [...document.querySelectorAll("div.highlight pre")].filter(e => e.scrollWidth > e.clientWidth + 1);
  const page = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return [...wide.map(e => e.innerText.slice(0, 60)), ...(page > 0 ? [`the page, by ${page} px`] : [])];
}"""
THEME: Final = {"region": {"enabled": False}, "landmark-unique": {"enabled": False}}
"""Rules that the theme breaks itself: its buttons at the top are in no landmark, and its two sidebars have no names."""
CODE: Final = "div.highlight pre"
LINES: Final = """() => [...document.querySelectorAll("div.highlight pre")].map(pre => {
  const style = getComputedStyle(pre);
  const inside = pre.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  return [Math.round(inside / parseFloat(style.lineHeight)), pre.innerText.replace(/\\n$/, "").split("\\n").length];
})"""


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        absent("axe-core is not installed: python -m scripts.node_peers")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, without the highlighted sources, which are no pages of ours."""
    folder = tmp_path_factory.mktemp("site")
    extensions = "myst_parser,sphinx.ext.autodoc,sphinx.ext.napoleon,sphinx_copybutton,sphinx_design,sphinxext.opengraph,keywords"
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-j",
        "2",
        "-b",
        "html",
        "-D",
        f"extensions={extensions}",
        "docs",
        str(folder),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_said: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def pages(site: Path) -> list[Path]:
    found = sorted(path for path in site.rglob("*.html") if "_modules" not in path.parts)
    assert len(found) > 70
    return found


def findings(page: Page, axe: str, rules: dict[str, Any] | None = None, without: str | None = None) -> list[str]:
    """What axe finds on the page: the rule, and where."""
    page.evaluate(axe)
    options = {"resultTypes": ["violations"], "rules": rules or {}}
    found = page.evaluate(
        "([without, options]) => axe.run(without ? {exclude: [[without]]} : document, options)", [without, options]
    )
    return [f"{one['id']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_axe_finds_nothing_on_any_page_and_nothing_is_wider_than_its_column(
    browser: Browser, site: Path, axe: str, scheme: Any, size: Any
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.route(re.compile("^https?://"), lambda route: route.abort())
    wrong: dict[str, list[str]] = {}
    for path in pages(site):
        page.goto(path.as_uri(), wait_until="load")
        # The colours of code are the same on every page: they are looked at on one.
        rules = {
            **THEME,
            "page-has-heading-one": {"enabled": path.name != "search.html"},
        }  # it has one once it has results
        found = findings(page, axe, rules, None if path.name == "testing.html" else CODE)
        found += [f"too wide: {each}" for each in page.evaluate(TOO_WIDE)]
        if found:
            wrong[path.relative_to(site).as_posix()] = found
    context.close()
    assert wrong == {}


def test_no_line_of_code_on_the_start_page_is_broken_on_a_phone(browser: Browser, site: Path) -> None:
    page = browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
    page.goto((site / "index.html").as_uri())
    blocks = page.evaluate(LINES)
    assert len(blocks) == 3
    assert all(shown == written for shown, written in blocks), blocks
    page.close()


def test_every_page_has_a_title_with_the_version_and_a_description_of_its_own(site: Path) -> None:
    described: dict[str, str] = {}
    for path in pages(site):
        if path.name in ("genindex.html", "search.html", "py-modindex.html"):
            continue
        text = path.read_text(encoding="utf-8")
        assert re.search(r"<title>[^<]*Sojourn \d+\.\d+[^<]*</title>", text), path
        name = path.relative_to(site).as_posix()
        found = re.search(
            r'<meta (?:content="([^"]{40,})" name="description"|name="description" content="([^"]{40,})")', text
        )
        assert found, name
        said = found[1] or found[2]
        assert said not in described, (name, described[said])
        described[said] = name


FOUND: Final = {
    "JWT": "why-server-side",
    "TestClient": "testing",
    "CSRF": "forms",
    "devices": "session",
    "session timeout": "expiry",
    "remember me": "logins",
    "503": "commit",
    "idle_timeout": "reference/options",
    "kubernetes": "deployment",
    "backup": "backups",
}


def test_the_search_finds_what_people_type(browser: Browser, address: str) -> None:
    page = browser.new_page()
    for words, expected in FOUND.items():
        page.goto(f"{address}/search.html?q={words.replace(' ', '+')}")
        page.get_by_text("Search finished").wait_for()  # what is found appears bit by bit
        links = page.eval_on_selector_all(
            "#search-results ul.search li > a", "all => all.map(one => one.getAttribute('href'))"
        )
        assert any(link.startswith(f"{expected}.html") for link in links[:8]), (words, links[:8])
    page.close()


def test_axe_finds_nothing_on_the_demo_and_it_fits_on_a_phone(browser: Browser, axe: str, tmp_path: Path) -> None:
    with serving("-m", "sojourn", "demo", "--port", "0", "--data", str(tmp_path / "demo"), cwd=tmp_path) as demo:
        for scheme, size in (("light", DESK), ("dark", PHONE)):
            context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(demo.address)
            page.click("#add-tent")
            page.wait_for_selector("#total")
            assert findings(page, axe) + page.evaluate(TOO_WIDE) == []
            page.goto(f"{demo.address}/two-windows")
            assert findings(page, axe) + page.evaluate(TOO_WIDE) == []
            page.fill("input[name=name]", "Ann")
            page.click("#login")
            page.wait_for_url("**/dashboard")
            assert findings(page, axe) + page.evaluate(TOO_WIDE) == []
            context.close()
