"""What the README says of the options, and whether it is whole on a package page."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from sojourn.options import Options

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINK = re.compile(r"\]\(([^)]*)\)|^\[[^\]]+\]: *(\S+)|(?:src|href)=[\"']([^\"']*)", re.MULTILINE)
UNTOLD = {"clock", "profile"}  # for tests, and set by `express()`


def test_the_table_of_options_names_them_all_and_no_others():
    section = README.read_text(encoding="utf-8").partition("\n## Options\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted({field.name for field in fields(Options) if field.init} - UNTOLD)


def links() -> list[str]:
    return ["".join(found) for found in LINK.findall(README.read_text(encoding="utf-8"))]


def test_a_link_is_found_however_it_is_written() -> None:
    text = '[a](b.md) ![c](d.png)\n[e]: f.md\n<img src="g.png">'
    assert ["".join(found) for found in LINK.findall(text)] == ["b.md", "d.png", "f.md", "g.png"]


def test_no_link_is_relative_since_a_package_page_has_no_files_beside_it() -> None:
    assert len(links()) > 5
    assert [link for link in links() if not link.startswith("https://")] == []


def test_links_to_the_repository_lead_to_files_and_folders_that_it_has() -> None:
    source = PROJECT["urls"]["Source"]
    ours = [link.removeprefix(source) for link in [*links(), *PROJECT["urls"].values()] if link.startswith(source)]
    assert len(ours) > 5
    for link in ours:
        if link.startswith(("/blob/", "/tree/")):
            kind, branch, path = link.removeprefix("/").split("/", 2)
            assert branch == "main"
            assert (ROOT / path).is_file() if kind == "blob" else (ROOT / path).is_dir(), link


def test_the_supported_versions_are_the_same_wherever_they_are_named() -> None:
    named = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    *others, last = named
    for page in (README, ROOT / "docs" / "getting-started.md"):
        assert f"CPython {', '.join(others)} or {last}" in page.read_text(encoding="utf-8")
    tried = re.findall(
        r"python(3\.\d+)", (ROOT / "Makefile").read_text(encoding="utf-8").partition("PYTHON ?=")[2].partition("\\")[0]
    )
    assert sorted(tried) == named
    workflow = ROOT / ".github" / "workflows" / "test.yml"
    if workflow.exists():  # an sdist has none
        assert re.findall(r'"(3\.\d+)"', workflow.read_text(encoding="utf-8")) == named
