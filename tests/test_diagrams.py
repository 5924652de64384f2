"""The diagrams of the documentation are drawn from their sources, and say in words what they show."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scripts.diagrams import FOLDER, draw

ROOT = Path(__file__).parent.parent
SOURCES = sorted(FOLDER.glob("*.txt"))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_diagram_is_that_of_its_source_and_is_on_a_page(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert source.with_suffix(".svg").read_text(encoding="utf-8") == draw(text, source.stem), (
        "python -m scripts.diagrams"
    )
    shown = [page for page in (ROOT / "docs").rglob("*.md") if f"diagrams/{source.stem}.svg" in page.read_text("utf-8")]
    assert shown


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_diagram_has_a_title_and_a_description_and_no_colour_of_its_own(source: Path) -> None:
    drawing = source.with_suffix(".svg").read_text(encoding="utf-8")
    root = ET.fromstring(drawing)
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None and desc is not None and title.text and len(desc.text or "") > 100
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b", drawing.replace(f"#{source.stem}-tip", ""))


def test_every_step_is_drawn_within_the_picture_and_no_two_texts_of_a_row_overlap() -> None:
    assert len(SOURCES) == 4
    for source in SOURCES:
        root = ET.fromstring(source.with_suffix(".svg").read_text(encoding="utf-8"))
        width = float(root.get("viewBox", "").split()[2])
        rows: dict[float, list[tuple[float, float]]] = {}
        for text in root.iter(f"{SVG}text"):
            x, half = float(text.get("x", "0")), len(text.text or "") * 3.6
            assert half <= x <= width - half, text.text
            rows.setdefault(float(text.get("y", "0")), []).append((x - half, x + half))
        for spans in rows.values():
            spans.sort()
            assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))
