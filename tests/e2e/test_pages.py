"""Every page of the documentation and of the demo: nothing that axe finds, nothing wider than a phone, and words to be found by."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import absent

pytestmark = pytest.mark.browser

ROOT: Final = Path(__file__).parents[2]
AXE: Final = ROOT / "tests" / "node" / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 900}
TOO_WIDE: Final = """() => {
  const wide = [...document.querySelectorAll("div.highlight pre")].filter(e => e.scrollWidth > e.clientWidth + 1);
  const page = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return [...wide.map(e => e.innerText.slice(0, 60)), ...(page > 0 ? [`the page, by ${page} px`] : [])];
}"""
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
    """The documentation as it is built, without the highlighted sources, which are no pages of ours."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-D", "viewcode_enable_epub=0", "docs", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def pages(site: Path) -> list[Path]:
    found = sorted(path for path in site.rglob("*.html") if "_modules" not in path.parts)
    assert len(found) > 70
    return found


def findings(page: Page, axe: str) -> list[str]:
    """What axe finds on the page: the rule, and where."""
    page.evaluate(axe)
    result: dict[str, Any] = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:160]}" for violation in result["violations"] for node in violation["nodes"]
    ]


def test_axe_finds_nothing_and_no_page_is_wider_than_a_phone(browser: Browser, site: Path, axe: str) -> None:
    wrong: dict[str, list[str]] = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport=PHONE if scheme == "dark" else DESK, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.route(re.compile("^https?://"), lambda route: route.abort())
        for path in pages(site):
            page.goto(path.as_uri(), wait_until="load")
            name = f"{path.relative_to(site)}, {scheme}"
            found = findings(page, axe) + [f"too wide: {each}" for each in page.evaluate(TOO_WIDE)]
            if found:
                wrong[name] = found
        context.close()
    assert wrong == {}
