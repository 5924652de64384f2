"""Draw docs/_static/card.png, the picture that a link to the documentation shows, from the logo and a line of text: python -m scripts.social_card."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

from .find_browser import find_browser

STATIC = Path(__file__).parent.parent / "docs" / "_static"
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; width: 1200px; height: 630px; box-sizing: border-box; padding: 90px; background: #151b17; color: #e8ece6;
  font: 44px/1.4 system-ui, "DejaVu Sans", sans-serif; display: flex; flex-direction: column; justify-content: center; }}
h1 {{ font-size: 112px; margin: 0 0 24px; display: flex; gap: 40px; align-items: center; letter-spacing: -.02em; }}
svg {{ width: 150px; height: 150px; }} p {{ margin: 0; color: #a3afa6; }}
</style><h1>{logo}Sojourn</h1><p>Server-side HTTP sessions for Python.</p>
<p>FastAPI, Flask, Django and the rest. Shared with Express.</p>"""


def main() -> None:
    logo = (STATIC / "logo.svg").read_text(encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 630})
        page.set_content(PAGE.format(logo=logo))
        page.screenshot(path=str(STATIC / "card.png"))
        browser.close()


if __name__ == "__main__":
    main()
