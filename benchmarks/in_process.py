"""What sessions add to a request in process: no server and no network, the store in memory, at several sizes of data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from benchmarks.contestants import (
    COLUMNS,
    CONTESTANTS,
    DJANGO_CACHE,
    SOJOURN,
    SOJOURN_WSGI,
    STARLETTE,
    Column,
    contest,
)
from benchmarks.express import AT_ONCE, EXPRESS_SESSION, NODE, express
from benchmarks.measure import Figure, LeftOut, difference, interleaved, ratios, shown, table
from benchmarks.workload import CASES, SIZES, data_of, encoded

Figures: TypeAlias = Mapping[Column, Mapping[str, Figure]]
"""By column, and by whose they are."""

OVER = {name: contestant.over for name, contestant in CONTESTANTS.items()} | {EXPRESS_SESSION: NODE}
"""From whose figures what is taken off."""
TARGETS = [
    (STARLETTE, Column("a", 0.4), 0.55),
    (STARLETTE, Column("a", 16), 0.2),
    (STARLETTE, Column("a", 64), 0.13),
    (STARLETTE, Column("b", 0.4), 0.35),
    (STARLETTE, Column("b", 16), 0.12),
    (STARLETTE, Column("b", 64), 0.08),
    (STARLETTE, Column("c", 0.4), 0.75),
    (STARLETTE, Column("d", 0.4), 0.25),
    (DJANGO_CACHE, Column("a", 64), 0.5),
]
"""What our ASGI middleware may add at most, as a share of what a peer adds."""
GROWTH = 1.0
"""Microseconds that it may add at most for each KB from 16 to 64 KB: the one target that depends on the machine."""
WSGI_TOO = 1.2
"""How many times as much the WSGI middleware may add."""
NOTES = f"""\
In parentheses: all that a request takes without sessions, which is taken off. No browser keeps a cookie above 4 KB: from there on,
Starlette's figures are of sessions that it could not have. express-session takes turns with its own handler only, in Node.js,
{AT_ONCE} requests at once."""


def added(figures: Figures) -> Figures:
    """What each adds to its handler, round by round."""
    return {
        column: {name: difference(of[name], of[over]) for name, over in OVER.items() if name in of}
        for column, of in figures.items()
    }


def page(title: str, figures: Figures) -> str:
    """The table of what is added."""
    measured = figures[COLUMNS[0]]
    rows = [
        [name, *(f"({shown(figures[column][name], 1)})" for column in COLUMNS)]
        for name in dict.fromkeys(OVER.values())
        if name in measured
    ]
    more = added(figures)
    rows += [[name, *(shown(more[column][name], 1) for column in COLUMNS)] for name in OVER if name in measured]
    cases = "; ".join(f"({case}) {text}" for case, text in CASES.items())
    sizes = ", ".join(f"{len(encoded(data_of(size))):,}" for size in SIZES)
    return "\n\n".join(
        [
            f"### In process: {title}",
            f"{cases}. The data is {sizes} bytes of JSON.",
            table(["", *map(str, COLUMNS)], rows),
        ]
    )


def _growth(more: Figures, name: str, case: str) -> Figure:
    grown = difference(more[Column(case, 64)][name], more[Column(case, 16)][name])
    return Figure(tuple(figure / (64 - 16) for figure in grown.rounds))


def targets(figures: Figures) -> str:
    """The table of the targets, for each of our middlewares."""
    more = added(figures)
    ours = (SOJOURN, SOJOURN_WSGI)
    found = [
        (f"{column}, to {peer}", target, [ratios(more[column][name], more[column][peer]) for name in ours])
        for peer, column, target in TARGETS
        if peer in more[column]
    ]
    found += [
        (f"({case}) µs for each KB from 16 to 64 KB", GROWTH, [_growth(more, name, case) for name in ours])
        for case in "ab"
    ]
    rows = [
        [what, f"{target:.2f}", shown(asgi, 2), f"{target * WSGI_TOO:.2f}", shown(wsgi, 2)]
        for what, target, (asgi, wsgi) in found
    ]
    return table(["what is added", "ASGI: at most", "figure", "WSGI: at most", "figure"], rows)


async def _measured() -> Figures:
    figures = {column: await interleaved(works) for column, works in (await contest(CONTESTANTS)).items()}
    try:
        peer = await express()
    except LeftOut as reason:
        print(f"left out: {EXPRESS_SESSION} ({reason})")
        return figures
    return {column: {**of, **peer[column]} for column, of in figures.items()}


async def in_process() -> str:
    """The tables of what is added and of the targets."""
    figures = await _measured()
    return "\n\n".join([page("microseconds of CPU added per request", figures), NOTES, targets(figures)])
