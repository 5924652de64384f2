"""Sphinx's settings. The pages are Markdown (MyST); the reference is taken from the docstrings."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

sys.path.insert(0, str(Path(__file__).parent))  # for `keywords`

project = "Sojourn"
author = "The Sojourn authors"
copyright = author
release = version_of("sojourn")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.opengraph",
    "keywords",
]
exclude_patterns = ["_build", "diagrams"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# `Stored` in a docstring is a link where there is such an object, and plain code where there is none.
default_role = "py:obj"
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_ivar = True

# Napoleon takes the words before a colon for an attribute's type, which is in the annotation already: here they are prose.
GoogleDocstring._parse_attribute_docstring = lambda docstring: list(docstring._consume_to_end())  # noqa: SLF001

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["sojourn.css"]
html_title = f"Sojourn {release}"
html_logo = "_static/logo.svg"
html_favicon = "_static/favicon.svg"
html_theme_options = {
    # "Edit this page" and "View source" at the top of each page, and the repository at its foot.
    "source_repository": "https://github.com/sojourn-sessions/sojourn/",
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": ["view", "edit"],
    "footer_icons": [
        {
            "name": "The repository on GitHub",
            "url": "https://github.com/sojourn-sessions/sojourn",
            "html": "Repository",
            "class": "",
        },
    ],
    "light_css_variables": {"color-brand-primary": "#2f6b4f", "color-brand-content": "#2a6348"},
    "dark_css_variables": {"color-brand-primary": "#7cc39f", "color-brand-content": "#8fd0b0"},
}

# The prompt is no part of what is copied, nor is what a command prints.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

ogp_site_url = "https://sojourn.readthedocs.io/"
ogp_image = "_static/card.png"
ogp_image_alt = "Sojourn: server-side HTTP sessions for Python"
ogp_social_cards = {"enable": False}
ogp_description_length = 160


def _lines(found: re.Match[str]) -> str:
    lines = found[1].replace("<dd>", '<span class="parameter">').replace("</dd>", "</span>")
    return f'<span class="parameters">{lines}</span>'


def _reachable(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _tree: object) -> None:
    """Let the keyboard reach what can be moved sideways: wide tables, and diagrams on a phone."""
    body = context.get("body", "").replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
    body = body.replace('<svg class="diagram"', '<div class="diagram" tabindex="0"><svg')
    # The theme makes headings of the captions in its sidebar, without a level.
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading">', 'role="heading" aria-level="2">')
    context["body"] = re.sub(r"(<div class=\"diagram\".*?</svg>)", r"\1</div>", body, flags=re.DOTALL)
    # Parameters that have a line each are no list of definitions, to a screen reader.
    context["body"] = re.sub(r"<dl>\s*((?:<dd>.*?</dd>\s*)+)</dl>", _lines, context["body"], flags=re.DOTALL)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("html-page-context", _reachable, priority=900)  # after the theme
