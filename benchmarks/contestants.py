"""Who is measured in process, and what is asked of each.

It is one session that is asked for, over and over: whatever a system remembers of the last request, it finds again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from benchmarks import asgi, django, wsgi
from benchmarks.measure import Work
from benchmarks.workload import ACTIONS, SIZES, TYPICAL, Action, data_of, fill


class Door(Protocol):
    """A protocol or a framework, without a server. The modules `asgi`, `wsgi` and `django` are doors."""

    def handler(self, action: Action | None) -> Any: ...

    async def cookie_of(self, app: Any) -> str: ...

    def calls_of(self, app: Any, cookie: str | None) -> Work: ...


class Column(NamedTuple):
    case: str
    size: float

    def __str__(self) -> str:
        return f"({self.case})" if self.case == "c" else f"({self.case}) {self.size:g} KB"


COLUMNS = [
    *(Column(case, size) for case in "ab" for size in SIZES),
    Column("c", TYPICAL),
    *(Column("d", size) for size in (TYPICAL, SIZES[-1])),
]


class Contestant(NamedTuple):
    over: str
    """The door that it stands in, and that it is measured over."""
    wrap: Callable[[], Callable[[Any], Any]]
    """Raises ImportError if it is not installed."""


ASGI, WSGI, DJANGO = "ASGI, no sessions", "WSGI, no sessions", "Django, no sessions"
DOORS: dict[str, Door] = {ASGI: asgi, WSGI: wsgi, DJANGO: django}
SOJOURN, SOJOURN_WSGI = "Sojourn, memory, ASGI", "Sojourn, memory, WSGI"
STARLETTE, STARSESSIONS, DJANGO_CACHE = "Starlette (cookie)", "starsessions, memory", "Django, cache in local memory"
CONTESTANTS = {
    SOJOURN: Contestant(ASGI, asgi.sojourn),
    SOJOURN_WSGI: Contestant(WSGI, wsgi.sojourn),
    STARLETTE: Contestant(ASGI, asgi.starlette),
    STARSESSIONS: Contestant(ASGI, asgi.starsessions),
    DJANGO_CACHE: Contestant(DJANGO, django.cache_sessions),
}


async def contest(names: Iterable[str]) -> dict[Column, dict[str, Work]]:
    """The requests to measure: to these contestants, and to the handlers of their doors without sessions."""
    works: dict[Column, dict[str, Work]] = {column: {} for column in COLUMNS}
    for name in names:
        contestant = CONTESTANTS[name]
        try:
            wrap = contestant.wrap()
        except ImportError as error:
            print(f"left out: {name} ({error})")
            continue
        door = DOORS[contestant.over]
        cookies = {size: await door.cookie_of(wrap(door.handler(fill(data_of(size))))) for size in SIZES}
        for column, by_name in works.items():
            cookie = None if column.case == "c" else cookies[column.size]
            if contestant.over not in by_name:
                by_name[contestant.over] = door.calls_of(door.handler(None), cookie)
            by_name[name] = door.calls_of(wrap(door.handler(ACTIONS[column.case])), cookie)
    return works
