"""How things are measured here: interleaved rounds, CPU time, medians with their spread, ratios taken in one run."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

N = TypeVar("N")
Work = Callable[[int], Awaitable[None]]
"""Does its thing so many times."""
SLICE = 0.02
"""Seconds of CPU in which one contestant is measured, before it is the next one's turn."""
ROUNDS = 15


@dataclass(frozen=True)
class Figure:
    """Microseconds of CPU per call, or whatever else was measured, over the rounds."""

    rounds: tuple[float, ...]
    kernel: float = 0.0
    """How much of it the kernel took, on the average: it is sampled, some hundred times a second, and so no figure of a single round."""

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


class LeftOut(Exception):
    """Something is not installed, without which this cannot be measured."""


async def _time(work: Work, calls: int) -> tuple[float, float]:
    """Seconds of CPU, and those of them that were the kernel's."""
    before, kernel = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
    await work(calls)
    return time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_stime - kernel


async def _slice(work: Work) -> int:
    """Warm it, and find how many calls fill a slice."""
    calls = 1
    while (taken := (await _time(work, calls))[0]) < SLICE / 2:
        calls *= 2
    return max(1, round(calls * SLICE / taken))


async def interleaved(contestants: Mapping[N, Work], *, rounds: int = ROUNDS) -> dict[N, Figure]:
    """Measure all in turn, a slice of each, round by round, so that the machine's moods hit all alike."""
    calls = {name: await _slice(work) for name, work in contestants.items()}
    taken: dict[N, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            taken[name].append(await _time(work, calls[name]))
    figures = {}
    for name, values in taken.items():
        cpu, kernel = zip(*values, strict=True)
        each = 1e6 / calls[name]
        figures[name] = Figure(tuple(value * each for value in cpu), statistics.mean(kernel) * each)
    return figures


async def side_by_side(contestants: Mapping[N, Sequence[Work]], *, rounds: int = ROUNDS) -> dict[N, Figure]:
    """`interleaved`, where all the works of a contestant go on at once: microseconds per call of one of them."""
    figures = await interleaved({name: _at_once(works) for name, works in contestants.items()}, rounds=rounds)
    return {
        name: Figure(
            tuple(taken / len(contestants[name]) for taken in figure.rounds), figure.kernel / len(contestants[name])
        )
        for name, figure in figures.items()
    }


def _at_once(works: Sequence[Work]) -> Work:
    async def work(calls: int) -> None:
        await asyncio.gather(*(one(calls) for one in works))

    return work


def ratios(one: Figure, other: Figure) -> Figure:
    """How many times the one is the other, round by round."""
    return Figure(tuple(a / b for a, b in zip(one.rounds, other.rounds, strict=True)))


def difference(one: Figure, other: Figure) -> Figure:
    """How much the one is more than the other, round by round."""
    return Figure(tuple(a - b for a, b in zip(one.rounds, other.rounds, strict=True)), one.kernel - other.kernel)


def shown(figure: Figure, digits: int = 0) -> str:
    """The median, and half of the interquartile range."""
    quarters = statistics.quantiles(figure.rounds, n=4)
    return f"{figure.median:.{digits}f} ±{(quarters[2] - quarters[0]) / 2:.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
