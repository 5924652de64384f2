"""The options in the reference, by name: where a signature says ``**options``, and one by one, each with an anchor."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from sojourn.guard import CrossSiteRules
from sojourn.options import Options, OptionsDict

_UNTOLD = {"profile", "clock"}
_IN_WORDS = {
    "secret": "required",
    "store": "memory://, with a warning",
    "absolute_timeout": "30 days",
    "signature_cache": "4 MiB",
}


def _default(name: str) -> str:
    """An option's default, as short as it can be read."""
    default = next(field.default for field in fields(Options) if field.name == name)
    if name in ("cookie", "transports"):
        return {"cookie": "Cookie()", "transports": "(CookieTransport(),)"}[name]
    return "..." if default is MISSING or callable(default) else repr(default)


def _keywords(of_guard: bool) -> str:
    if of_guard:
        found = inspect.signature(CrossSiteRules.__init__).parameters.values()
        return ", ".join(f"{each.name}={each.default!r}" for each in found if each.kind is each.KEYWORD_ONLY)
    names = [name for name in OptionsDict.__annotations__ if name not in _UNTOLD]
    return ", ".join("secret" if name == "secret" else f"{name}={_default(name)}" for name in names)


def _signature(
    _app: Sphinx, what: str, _name: str, obj: Any, _options: Any, signature: str | None, result: str | None
) -> Any:
    """Put the keywords in the place of ``**options``."""
    if signature is None or "**options" not in signature:
        return None
    function = obj.__init__ if what == "class" else obj
    of_guard = "GuardOptions" in str(inspect.get_annotations(inspect.unwrap(function)).get("options"))
    star = "" if re.search(r"\*,|\*\)", signature.replace("**options", "")) else "*, "
    return re.sub(r"\*\*options[^,)]*(\[[^]]*\])?", lambda _found: star + _keywords(of_guard), signature), result


def _docstring(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """And say what they are."""
    for number, line in enumerate(lines):
        lines[number] = re.sub(r"^(\s+)options: (the middleware's; )?see ", r"\1others: options by name; see ", line)


def _described() -> dict[str, str]:
    """What the docstring of `Options` says of each."""
    text = inspect.cleandoc(Options.__doc__ or "").partition("Args:\n")[2].partition("\nRaises:")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n(?:        .*|)$)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in found}


class OptionList(SphinxDirective):
    """``.. option-list::`` describes every option as an attribute, which has an anchor and is found by the search."""

    def run(self) -> list[nodes.Node]:
        lines = []
        for name, said in _described().items():
            kind = OptionsDict.__annotations__[name]
            kind = getattr(kind, "__forward_arg__", str(kind))
            default = _IN_WORDS.get(name) or _default(name)
            lines += [f".. py:attribute:: sojourn.options.OptionsDict.{name}", f"   :type: {kind}"]
            lines += [f"   :value: {default}", "", f"   {said}", ""]
        return self.parse_text_to_nodes(StringList(lines, "options"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("option-list", OptionList)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before Napoleon reads it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
