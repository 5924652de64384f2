"""Draw the documentation's diagrams: each docs/diagrams/*.txt becomes an SVG beside it. python -m scripts.diagrams; --check only compares.

A source has a ``title:``, a ``desc:``, the ``actors:`` from left to right, and then a line for each step, from top to bottom::

    Browser -> Sojourn: POST /login     an arrow
    Sojourn --> Browser: 303            a dashed one: a reply
    note Handler: login("ann")          a box on an actor's line
    across: two requests at once        a line of text over all
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from html import escape
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent.parent / "docs" / "diagrams"
CHARACTER: Final = 7.2  # what a character takes at 13 px, in pixels
STEP: Final = 42
TOP: Final = 64


def draw(source: str, name: str) -> str:
    """The SVG of a source; its ids begin with the name, as several may be on one page."""
    about = dict(re.findall(r"^(title|desc|actors): *(.+)$", source, re.MULTILINE))
    actors = [actor.strip() for actor in about["actors"].split("|")]
    steps = [line for line in source.splitlines() if line.strip() and not re.match("title:|desc:|actors:", line)]
    columns = _columns(actors, steps)
    width = columns[-1] + max(_length(actors[-1]) / 2, *(_reach(steps, actors[-1]))) + 16
    height = TOP + STEP * len(steps) + 24
    body = [_line(x, 46, x, height - 8, 'class="life"') for x in columns]
    for actor, x in zip(actors, columns, strict=True):
        half = _length(actor) / 2
        body.append(f'<rect x="{x - half:.0f}" y="14" width="{2 * half:.0f}" height="32" rx="8" class="box"/>')
        body.append(_text(x, 35, actor, 'class="actor"'))
    for number, step in enumerate(steps):
        body += _step(step, TOP + STEP * number + 24, dict(zip(actors, columns, strict=True)), width)
    return (
        f'<svg class="diagram" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img"'
        f' aria-labelledby="{name}-title {name}-desc" font-family="system-ui, sans-serif" font-size="13" fill="currentColor">\n'
        f'<title id="{name}-title">{escape(about["title"])}</title>\n<desc id="{name}-desc">{escape(about["desc"])}</desc>\n'
        "<style>.diagram .life { stroke: currentColor; stroke-opacity: .3 } .diagram .box { fill: var(--color-background-secondary, Canvas); stroke: currentColor; stroke-opacity: .5 }"
        " .diagram .arrow { stroke: currentColor; fill: none } .diagram .reply { stroke-dasharray: 5 4 } .diagram .actor { font-weight: 600 }"
        " .diagram .across { font-style: italic }</style>\n"
        f'<defs><marker id="{name}-tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>\n' + "\n".join(body).replace("#tip", f"#{name}-tip") + "\n</svg>\n"
    )


def _length(text: str) -> float:
    return len(text) * CHARACTER + 20


def _arrow(step: str) -> re.Match[str] | None:
    return re.match(r"(.+?) (--?>) (.+?): (.+)", step)


def _reach(steps: list[str], actor: str) -> list[float]:
    """How far the notes of an actor reach to either side."""
    return [0.0, *(_length(step.partition(": ")[2]) / 2 for step in steps if step.startswith(f"note {actor}:"))]


def _columns(actors: list[str], steps: list[str]) -> list[float]:
    """Where each actor stands: as close as names, notes and the text of arrows between neighbours allow."""
    columns = [max(_length(actors[0]) / 2, *_reach(steps, actors[0])) + 12]
    for left, right in itertools.pairwise(actors):
        asked = [_length(left) / 2 + _length(right) / 2 + 24, *(each + 16 for each in _reach(steps, left))]
        asked += [each + 16 for each in _reach(steps, right)]
        for step in steps:
            found = _arrow(step)
            if found and {found[1], found[3]} == {left, right}:
                asked.append(_length(found[4]) + 8)
        columns.append(columns[-1] + max(asked))
    return columns


def _line(x1: float, y1: float, x2: float, y2: float, more: str) -> str:
    return f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" {more}/>'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" {more}>{escape(text, quote=False)}</text>'.replace(
        " >", ">"
    )


def _step(step: str, y: float, columns: dict[str, float], width: float) -> list[str]:
    found = _arrow(step)
    if found:
        from_, kind, to, text = found.groups()
        dashes = " reply" if kind == "-->" else ""
        middle = (columns[from_] + columns[to]) / 2
        arrow = _line(columns[from_], y, columns[to], y, f'class="arrow{dashes}" marker-end="url(#tip)"')
        return [_text(middle, y - 7, text), arrow]
    head, _, text = step.partition(": ")
    if head == "across":
        return [_text(width / 2, y + 3, text, 'class="across"')]
    x, half = columns[head.removeprefix("note ")], _length(text) / 2
    box = f'<rect x="{x - half:.0f}" y="{y - 17:.0f}" width="{2 * half:.0f}" height="28" rx="6" class="box"/>'
    return [box, _text(x, y + 2, text)]


def main() -> int:
    """Draw them all; with ``--check`` return 1 where a drawing is not that of its source."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="draw nothing, and fail where a drawing is stale")
    check = parser.parse_args().check
    stale = []
    for source in sorted(FOLDER.glob("*.txt")):
        drawing = source.with_suffix(".svg")
        drawn = draw(source.read_text(encoding="utf-8"), source.stem)
        if check and (not drawing.exists() or drawing.read_text(encoding="utf-8") != drawn):
            stale.append(drawing.name)
        elif not check:
            drawing.write_text(drawn, encoding="utf-8")
    if stale:
        print(f"stale: {', '.join(stale)}; run python -m scripts.diagrams", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
