"""Sphinx's settings. The pages are Markdown (MyST); the reference is taken from the docstrings."""

from __future__ import annotations

from importlib.metadata import version as version_of

from sphinx.ext.napoleon import GoogleDocstring

project = "Sojourn"
author = "The Sojourn authors"
copyright = author
release = version_of("sojourn")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# `Stored` in a docstring is a link where there is such an object, and plain code where there is none.
default_role = "py:obj"
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
html_title = "Sojourn"
