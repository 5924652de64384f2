"""How things are measured here: interleaved rounds, CPU time, medians with their spread, ratios taken in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[int], Awaitable[None]]
"""Does its thing so many times."""


@dataclass(frozen=True)
class Figure:
    """Microseconds of CPU per call, over the rounds."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half of the interquartile range, as a share of the median."""
        quarters = statistics.quantiles(self.rounds, n=4)
        return (quarters[2] - quarters[0]) / 2 / self.median if self.median else 0.0

    def __str__(self) -> str:
        return f"{self.median:.1f} ±{self.spread:.0%}"


async def interleaved(contestants: Mapping[str, Work], *, rounds: int = 11, calls: int = 1500) -> dict[str, Figure]:
    """Measure all in turn, round by round, so that the machine's moods hit all alike."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for work in contestants.values():
        await work(calls // 5 + 1)  # warm
    for _ in range(rounds):
        for name, work in contestants.items():
            before = time.process_time()
            await work(calls)
            taken[name].append((time.process_time() - before) / calls * 1e6)
    return {name: Figure(tuple(values)) for name, values in taken.items()}


def ratio(one: Figure, other: Figure) -> float:
    """The median of the ratios of each round."""
    return statistics.median(a / b for a, b in zip(one.rounds, other.rounds, strict=True))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
