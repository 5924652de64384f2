"""A run: the source is walked over once, some sessions at a time, which a few threads then copy.

A signal may end it at any moment. Python raises what a signal's handler raises in the main thread, between any two steps of
it: what belongs together is therefore done by another thread (`_Crew`), and the main thread does nothing but wait.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from itertools import islice
from threading import Event
from typing import Any, Final, TypeAlias, TypeVar

from ..clock import LONGEST_MS, Clock, system_clock
from ..codecs import Codec
from ..core.store import Stored
from ..errors import ConfigurationError
from ..ids import check_key, refusal_by
from .copy import SLACK, Copier, Session, complain
from .endpoints import Secrets, key_rule, naming, source_endpoint, target_endpoint
from .report import Report, Result
from .state import Copy, State

__all__ = ["DEFAULT_WORKERS", "Progress", "migrate"]

T = TypeVar("T")
R = TypeVar("R")

Progress: TypeAlias = Callable[[Report, int | None], object]
"""Called now and then with the report so far, and how many sessions the source had at the start, if it could tell."""

DEFAULT_WORKERS: Final = 8
_MOST_WORKERS: Final = 64
_BATCH: Final = 256
"""Sessions that are in memory at once. A rate makes it a tenth of a second's worth."""


def migrate(
    source: Any,
    target: Any,
    *,
    source_codec: Codec | str | None = None,
    target_codec: Codec | str | None = None,
    source_secret: Secrets | None = None,
    hash_ids: bool | None = None,
    state: str | os.PathLike[str] | None = None,
    remove_ended: bool = False,
    dry_run: bool = False,
    rate: float | None = None,
    workers: int = DEFAULT_WORKERS,
    progress: Progress | None = None,
    clock: Clock = system_clock,
    sleep: Callable[[float], object] = time.sleep,
) -> Report:
    """Copy the live sessions of one store to another, each with the lifetime that it has left.

    What the target has on its own account is never overwritten, nor what it has of an earlier run if it was written since.
    A run that was interrupted is resumed by running it again.

    Args:
        source: a sync store that has ``scan()``, or its URL. It is only read.
        target: a sync store, or its URL.
        source_codec: what the source's middleware has: a codec, ``"json"`` or ``"plain"``. Default: ``"plain"`` in Express's
            layouts, else ``"json"``.
        target_codec: likewise of the target. What comes from Django is ``"plain"`` there by default, as `sojourn.django` has it.
        source_secret: of Django's sessions in a database: its ``SECRET_KEY``, or a list of it and of ``SECRET_KEY_FALLBACKS``.
        hash_ids: True: keys that are ids become their SHA-256. False: keys stay as they are. None: they stay where both
            layouts are Express's, or neither; otherwise it has to be said.
        state: a file that remembers the copies. With it a later run brings over what changed at the source since, and does
            not bring back what has ended at the target.
        remove_ended: also end at the target, unless written there since, what an earlier run copied and has ended at the
            source. Needs ``state``.
        dry_run: write nothing, and report what would become of each session.
        rate: sessions per second at most.
        workers: threads that write, 1 to 64.
        progress: called now and then, and once more in the end, with the report so far.
        clock: milliseconds since the epoch; for tests.
        sleep: waits so many seconds; for tests.

    Raises:
        ConfigurationError: an argument is not what it should be, or a key of the source not what the arguments say.
        StoreError: one of the stores fails. What was copied stays.
    """
    _check(state=state, remove_ended=remove_ended, rate=rate, workers=workers)
    with ExitStack() as stack:
        one = source_endpoint(source, source_codec, source_secret)
        other = target_endpoint(target, target_codec or one.target_codec, dry_run=dry_run)
        name_of = key_rule(one, other, hash_ids)
        if source is target or one.place == other.place != "":
            raise ConfigurationError("target", "the source", "give another store")
        copies = State(state, f"{one} -> {other}, {name_of.__name__}", dry_run=dry_run)
        stack.callback(copies.close)
        for role, endpoint in (("source", one), ("target", other)):
            if endpoint.place:  # made here
                stack.callback(endpoint.store.close)
            with naming(role):
                endpoint.store.open()
        crew = _Crew(workers)
        run = _Run(
            one.store,
            name_of,
            Copier(one, other, clock, remembers=copies.remembers),
            copies,
            crew,
            _Pace(rate, clock, sleep),
            progress,
            clock,
        )
        stack.callback(run.tell)  # what was done when it was cut short
        with crew:
            run.carry_all()
            run.end_all(remove=remove_ended)
        return run.report


def _check(*, state: object, remove_ended: object, rate: object, workers: object) -> None:
    if rate is not None and (not isinstance(rate, int | float) or rate is True or not 0.001 <= rate <= 1e6):
        raise ConfigurationError("rate", repr(rate), "give sessions per second, from 0.001 to a million")
    if not isinstance(workers, int) or workers is True or not 1 <= workers <= _MOST_WORKERS:
        raise ConfigurationError("workers", repr(workers), f"give a whole number from 1 to {_MOST_WORKERS}")
    if remove_ended and state is None:
        raise ConfigurationError("remove_ended", "no state", "give the state file of the runs that copied the sessions")


class _Pace:
    """Lets so many sessions through in a second."""

    def __init__(self, rate: float | None, clock: Clock, sleep: Callable[[float], object]) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._due = 0.0  # epoch ms
        self.batch = _BATCH if rate is None else max(1, min(_BATCH, int(rate / 10)))

    def wait(self, count: int) -> None:
        if self._rate is None:
            return
        now = self._clock()
        if self._due > now:
            self._sleep((self._due - now) / 1000)
        self._due = max(self._due, now) + count * 1000 / self._rate


class _Crew:
    """The threads of a run: some do the work, and one more sees to it that what they did is settled. It leaves when all are done."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._hands = ThreadPoolExecutor(workers, thread_name_prefix="sojourn-migrate")
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix="sojourn-migrate-clerk")

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._clerk.shutdown()  # the first, as it gives the others their work
        self._hands.shutdown()

    def do(self, items: Sequence[T], work: Callable[[T], R], settle: Callable[[Sequence[R]], None]) -> None:
        """Do the work on all items, and settle the outcomes. If it is cut short, what was begun is done and settled."""
        stop = Event()
        step = self._clerk.submit(self._step, items, work, settle, stop)
        try:
            wait([step])
        finally:
            stop.set()
            wait([step])
        step.result()

    def _step(
        self, items: Sequence[T], work: Callable[[T], R], settle: Callable[[Sequence[R]], None], stop: Event
    ) -> None:
        outcomes: list[R] = []

        def part(start: int) -> None:
            for item in items[start :: self._workers]:
                if stop.is_set():
                    return
                outcomes.append(work(item))

        parts = [self._hands.submit(part, start) for start in range(min(self._workers, len(items)))]
        wait(parts, return_when=FIRST_EXCEPTION)
        stop.set()
        wait(parts)
        settle(outcomes)
        for done in parts:
            done.result()


class _Run:
    """One run from a store by way of a carrier."""

    def __init__(
        self,
        source: Any,
        name_of: Callable[[str], str],
        carrier: Copier,
        copies: State,
        crew: _Crew,
        pace: _Pace,
        progress: Progress | None,
        clock: Clock,
    ) -> None:
        self._source = source
        self._name_of = name_of
        self._copier = carrier
        self._copies = copies
        self._crew = crew
        self._pace = pace
        self._progress = progress
        self._clock = clock
        self._total: int | None = None
        self._counts: Counter[Result] = Counter()
        self._told: Report | None = None

    @property
    def report(self) -> Report:
        """What came of it so far."""
        return Report.of(self._counts)

    def carry_all(self) -> None:
        """Carry every session of the source over."""
        if self._progress is not None and callable(count := getattr(self._source, "count", None)):
            with naming("source"):
                self._total = count()
        self.tell()
        for batch in self._batches():
            known = self._copies.find([session.name for session in batch])
            self._do(batch, partial(self._copier.copy, known), self._copies.keep)

    def end_all(self, *, remove: bool) -> None:
        """Look after the copies whose sessions `carry_all` has not met."""
        if remove and not self._counts:
            raise ConfigurationError("remove_ended", "a source without any session", "is it the right one?")
        for copies in self._copies.unseen(self._clock() + SLACK, self._pace.batch):
            self._do(copies, partial(self._copier.end, remove), self._copies.forget)
        self._copies.forget_expired(self._clock())

    def _batches(self) -> Iterator[list[Session]]:
        with naming("source"):
            scan = iter(self._source.scan())
        while True:
            with naming("source"):
                batch = [self._session(key, stored) for key, stored in islice(scan, self._pace.batch)]
            if not batch:
                return
            yield [session for session in batch if session is not None]

    def _session(self, key: str, stored: Stored) -> Session | None:
        if refusal := refusal_by(check_key, key):  # another program may have put it there
            self._counts[Result.FAILED] += 1
            complain(key, refusal)
            return None
        left = stored.expires_in
        deadline = None if left is None else self._clock() + min(left, LONGEST_MS)  # no store is asked for more
        return Session(key, self._name_of(key), stored, deadline)

    def _do(
        self,
        items: Sequence[T],
        work: Callable[[T], tuple[Result | None, Copy | None]],
        note: Callable[[Iterable[Copy]], None],
    ) -> None:
        """Do the work on each, count what became of it, and note the copies it returns, even if it is cut short."""

        def settle(outcomes: Sequence[tuple[Result | None, Copy | None]]) -> None:
            self._counts.update(result for result, _ in outcomes if result is not None)
            note(copy for _, copy in outcomes if copy is not None)

        self._pace.wait(len(items))
        self._crew.do(items, work, settle)
        self.tell()

    def tell(self) -> None:
        """Tell the progress, if there is any."""
        report = self.report
        if self._progress is not None and report != self._told:
            self._progress(report, self._total)
            self._told = report
