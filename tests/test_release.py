"""What would keep a release from being published is found before."""

from __future__ import annotations

import pytest

from scripts.release import problems

GOOD = """Metadata-Version: 2.4
Name: sojourn
Version: 1.0.0
Summary: Sessions.
Author: The Sojourn authors
License-Expression: MIT
Classifier: Development Status :: 5 - Production/Stable
Requires-Python: >=3.11
Description-Content-Type: text/markdown

# Sojourn, see [the docs](https://sojourn.readthedocs.io)
"""
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.0.0] - 2026-12-24\n"


def test_a_release_that_is_ready_has_no_problems():
    assert problems(GOOD.encode(), CHANGELOG, "1.0.0") == []
    assert problems(GOOD.encode(), "", None) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Version: 1.0.0", "Version: 0.9", "pyproject.toml says 0.9"),
        ("Summary: Sessions.\n", "", "no Summary"),
        ("https://sojourn.readthedocs.io", "docs/index.md", "relative link: docs/index.md"),
        ("5 - Production/Stable", "4 - Beta", "Development Status"),
        (">=3.11", "3.11 or so", "requires-python"),
        ("text/markdown", "text/word", "text/word"),
    ],
)
def test_what_is_wrong_in_the_metadata_is_told(old: str, new: str, told: str):
    assert old in GOOD
    found = problems(GOOD.replace(old, new).encode(), CHANGELOG, "1.0.0")
    assert any(told in problem for problem in found), found


def test_a_version_without_a_dated_heading_in_the_changelog_is_told():
    assert problems(GOOD.encode(), "## [Unreleased]\n", "1.0.0") == [
        "CHANGELOG.md has no heading '## [1.0.0] - <date>'"
    ]
