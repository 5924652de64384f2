"""Playing one scenario in all worlds, and judging what came of it."""

from __future__ import annotations

import asyncio
import json
from typing import Final, NamedTuple

from tests.differential.compare import comparable, first_difference
from tests.differential.model import ALL, Model
from tests.differential.ours import Ours
from tests.differential.peer import Peer
from tests.differential.scenario import Json, Scenario
from tests.differential.worlds import Refused, drive
from tests.node_peer import Ask

__all__ = ["ADAPTERS", "REFUSED", "Judge", "Verdict"]

ADAPTERS: Final = ("asgi", "wsgi")
HEADERS: Final = frozenset({"101"})
REFUSED: Final[list[Json]] = [{"refused": True}]
"""The outcome where the options were not taken."""


class Verdict(NamedTuple):
    """What came of a scenario that agreed."""

    express: list[Json]
    """Express's outcome."""
    ours: dict[str, list[Json]]
    """Ours, by adapter."""
    exercised: frozenset[str]
    """Exemptions that explain all differences, none of which could be spared."""


class Judge:
    """Plays scenarios and counts them."""

    def __init__(self, ask: Ask, runner: asyncio.Runner) -> None:
        self.ask = ask
        self._runner = runner
        self.agreed = 0
        self.alike = 0
        self.exercised: dict[str, int] = {}

    def express(self, scenario: Scenario) -> list[Json]:
        """Express's outcome."""
        try:
            return drive(Peer(scenario, self.ask).play())
        except Refused:
            return REFUSED

    def ours(self, scenario: Scenario, adapter: str) -> list[Json]:
        try:
            return Ours(scenario, adapter, self._runner).outcome_of()
        except Refused:
            return REFUSED

    def compare(self, scenario: Scenario, adapters: tuple[str, ...] = ADAPTERS) -> Verdict:
        """Play a scenario everywhere.

        Express has to do as the model does without exemptions, and we as it does with them.

        Raises:
            AssertionError: an outcome is another; it says where, and shows the scenario.
        """
        express = self.express(scenario)
        plain, expected, exercised = _expected(scenario)
        _equal(scenario, "the model", plain, "Express", comparable(express))
        ours = {adapter: self.ours(scenario, adapter) for adapter in adapters}
        for adapter, outcome in ours.items():
            _equal(scenario, "expected of us", expected, adapter, comparable(outcome))
            if exercised <= HEADERS:
                _equal(scenario, "Express", _bare(express), adapter, _bare(outcome))
        self.count(exercised)
        return Verdict(express, ours, exercised)

    def alike_in(self, scenario: Scenario, adapters: tuple[str, ...] = ADAPTERS) -> Verdict:
        """The same without the model: Express and we do the same, but for headers."""
        express = self.express(scenario)
        ours = {adapter: self.ours(scenario, adapter) for adapter in adapters}
        for adapter, outcome in ours.items():
            _equal(scenario, "Express", _bare(express), adapter, _bare(outcome))
        self.count(frozenset())
        return Verdict(express, ours, frozenset())

    def count(self, exercised: frozenset[str]) -> None:
        """Count a scenario that came out as it had to."""
        self.agreed += 1
        self.alike += exercised <= HEADERS
        for lines in exercised:
            self.exercised[lines] = self.exercised.get(lines, 0) + 1


def _bare(outcome: list[Json]) -> list[Json]:
    return [{**answer, "vary": None, "cache": None} for answer in comparable(outcome)]


def _expected(scenario: Scenario) -> tuple[list[Json], list[Json], frozenset[str]]:
    """The outcome without exemptions, the one with all, and of those a set that is enough for it and has none to spare."""
    plain, full = Model(scenario), Model(scenario, ALL)
    express, ours = comparable(plain.outcome_of()), comparable(full.outcome_of())
    needed = full.met
    for lines in sorted(full.met):
        without = comparable(Model(scenario, needed - {lines}).outcome_of())
        if first_difference(without, ours) is None:  # unlike ==, it tells 1 from True
            needed = needed - {lines}
    return express, ours, frozenset(needed)


def _equal(scenario: Scenario, first: str, one: list[Json], second: str, other: list[Json]) -> None:
    found = first_difference(one, other)
    assert found is None, f"{first} and {second} differ at {found}\n{json.dumps(scenario)}"
