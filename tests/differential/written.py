"""What scenarios written by hand are made of, and how they are looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from tests.differential.compare import comparable
from tests.differential.exemptions import BY_CONSTRUCTION, EXEMPTIONS, UNLISTED
from tests.differential.judge import ADAPTERS
from tests.differential.scenario import HOUR, Json, Op, Request, Scenario
from tests.differential.worlds import Id

__all__ = ["AGED", "LAZY", "READ", "SAME", "View", "Written", "ask", "inside", "lines_in", "play", "put"]

LAZY: Final[Json] = {"resave": False, "saveUninitialized": False}
"""What express-session's documentation tells people to choose."""
AGED: Final[Json] = LAZY | {"cookie": {"maxAge": HOUR}}
READ: Final[Op] = ["read"]
_OPERATIONS: Final = {
    "load": ["get"],
    "create": ["set"],
    "replace": ["set"],
    "regenerate": ["destroy", "set"],
    "touch": ["touch"],
    "delete": ["destroy"],
    "start": [],
    "body": [],
}


class View:
    """An outcome, for a predicate to look at. Indexes are of requests, in the order in which they began."""

    def __init__(self, outcome: list[Json]) -> None:
        self.raw = outcome
        self.answers = comparable(outcome)

    def __repr__(self) -> str:
        return json.dumps(self.answers, indent=1)

    @cached_property
    def status(self) -> list[int]:
        return [answer.get("status", 0) for answer in self.answers]

    @cached_property
    def cookies(self) -> list[str]:
        """The session's Set-Cookie of each answer, "" where there is none."""
        return [
            next((one["text"] for one in answer.get("cookies", []) if isinstance(one, dict)), "")
            for answer in self.answers
        ]

    @cached_property
    def sent(self) -> list[bool]:
        """Which answers had a session's cookie."""
        return [bool(text) for text in self.cookies]

    @cached_property
    def ids(self) -> list[str | None]:
        """The ids in those cookies, by their names."""
        return [
            next((one["id"] for one in answer.get("cookies", []) if isinstance(one, dict)), None)
            for answer in self.answers
        ]

    @cached_property
    def seen(self) -> list[list[Any]]:
        return [answer.get("seen", []) for answer in self.answers]

    @cached_property
    def stored(self) -> list[Json]:
        """The records in the end."""
        last = max(index for index, answer in enumerate(self.raw) if answer.get("outer"))
        records: list[Json] = self.answers[last]["stored"]
        return records

    @cached_property
    def data(self) -> list[Json]:
        """Their data."""
        return [record["data"] for record in self.stored]

    @cached_property
    def expiry(self) -> list[int | None]:
        """The expiry of the first record, after each request."""
        return [answer["stored"][0]["expires"] if answer["stored"] else None for answer in self.answers]

    @cached_property
    def calls(self) -> list[list[str]]:
        """What the store was asked, by Express's names."""
        return [[name for call in answer["calls"] for name in _OPERATIONS.get(call, [call])] for answer in self.raw]

    def header(self, name: str) -> list[Any]:
        return [answer.get(name) for answer in self.raw]

    def raw_id(self, index: int) -> str:
        one = next(one for one in self.raw[index]["cookies"] if isinstance(one, dict))
        assert isinstance(one["id"], Id)
        return one["id"]


Sees = Callable[[View], bool]
SAME: Final = "same"


@dataclass(frozen=True)
class Written:
    """A scenario, and what it shows.

    Args:
        lines: the contract's, such as "7, 38-41".
        title: what it shows, as a sentence.
        scenario: see `scenario`.
        express: what Express's outcome has to be for that.
        exempt: the exemptions that come into it, but for 101, which nearly always does.
        both: what every outcome has to be; for what is not compared otherwise, such as the calls of the store.
        ours: what ours has to be, where the model knows nothing of it: Express's (`SAME`), or what this says of it.
        adapters: which of ours can do it.
    """

    lines: str
    title: str
    scenario: Scenario
    express: Sees = lambda _: True
    exempt: tuple[str, ...] = ()
    both: Sees = lambda _: True
    ours: Sees | str | None = None
    adapters: tuple[str, ...] = field(default=ADAPTERS)

    @property
    def differences(self) -> frozenset[str]:
        """The line groups by which we are to differ where the model knows nothing."""
        known = frozenset(
            one.lines for one in (*EXEMPTIONS, *UNLISTED) if not lines_in(self.lines).isdisjoint(lines_in(one.lines))
        )
        return known or frozenset(map(str, lines_in(self.lines) & BY_CONSTRUCTION.keys()))


def ask(*ops: Op, **how: Any) -> Request:
    """A request whose handler does this."""
    request: Request = {"ops": list(ops)}
    return request | how  # type: ignore[return-value]


def put(key: str = "n", value: Any = 1) -> Op:
    return ["set", [key], value]


def inside(*ops: Op, **how: Any) -> Op:
    """A whole request while another one's handler runs."""
    return ["during", ask(*ops, **how)]


def play(app: Json | list[Json], *requests: Request, **more: Any) -> Scenario:
    """A scenario of one app, or several."""
    scenario: Scenario = {"apps": app if isinstance(app, list) else [app], "requests": list(requests)}
    return scenario | more  # type: ignore[return-value]


def lines_in(text: str) -> set[int]:
    """The numbers in a list such as "6, 7, 38-41"."""
    found: set[int] = set()
    for part in text.split(", "):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
