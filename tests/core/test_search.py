"""Every sequence of operations, whatever was found and whenever it is committed, against the reference model.

The model (`tests.core.reference`) was written from the specification by somebody who had not seen the implementation. So a combination
that nobody thought of is found here, and not by a user.
"""

from __future__ import annotations

import enum
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import pytest

from sojourn.core.plan import Phase
from sojourn.core.record import unpack
from sojourn.core.session import Session
from sojourn.core.state import Found, State
from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Replaced, Stored
from sojourn.errors import SojournError, StoreUnavailable
from sojourn.logs import log
from sojourn.middleware.exchange import Exchange
from sojourn.middleware.sync import SyncMiddleware
from sojourn.wire.signing import Verified
from tests.core.making import data_of
from tests.core.reference import DEFAULTS, FIRST, OPS, SECOND, SUCCESSOR, Expected, Live, Options, expected

SECRET: Final = b"a secret that is long enough for everybody"
NOW: Final = 1_750_000_000_000
DAY: Final = 86_400_000
PLANTED: Final = DAY - 1000  # milliseconds that a planted record has left
FOUND: Final = ("NOTHING", "RECORD", "TOMBSTONE", "PENDING", "UNAVAILABLE")
SLOT: Final = "session"


class Marker(enum.Enum):
    """What Litestar puts in the session's place to end it."""

    EMPTY = 0


class Row(NamedTuple):
    data: bytes
    left: int


class DictStore:
    """The store contract on a dict, for one thread. It is down for loads where it is told so."""

    @property
    def direct(self) -> DictStore:
        return self

    def __init__(self) -> None:
        self.rows: dict[str, Row | Replaced] = {}
        self.down = False

    def open(self) -> None: ...
    def close(self) -> None: ...

    def load(self, key: str) -> Stored | Replaced | None:
        if self.down:
            raise StoreUnavailable("down")
        row = self.rows.get(key)
        return Stored(row.data, row.data, row.left) if isinstance(row, Row) else row

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        if key in self.rows:
            return EXISTS
        self.rows[key] = Row(data, ttl)
        return data

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        row = self.rows.get(key)
        if not isinstance(row, Row):
            return MISSING
        if row.data != version:
            return CONFLICT
        self.rows[key] = Row(data, ttl)
        return data

    def regenerate(
        self, old: str, new: str, data: bytes, ttl: int, *, version: Any, tombstone: int, owner: str | None = None
    ) -> Any:
        row = self.rows.get(old)
        if not isinstance(row, Row):
            return MISSING
        if row.data != version:
            return CONFLICT
        self.rows[old], self.rows[new] = Replaced(new), Row(data, ttl)
        return data

    def touch(self, key: str, ttl: int) -> bool:
        row = self.rows.get(key)
        if not isinstance(row, Row):
            return False
        self.rows[key] = Row(row.data, ttl)
        return True

    def delete(self, *keys: str) -> Deleted:
        rows = [(key, self.rows.get(key)) for key in keys]
        for key, row in rows:
            if isinstance(row, Row):
                del self.rows[key]
        successors = [row.successor for _, row in rows if isinstance(row, Replaced) and row.successor is not None]
        return Deleted(sum(isinstance(row, Row) for _, row in rows), tuple(successors))


class Lost(logging.Handler):
    """Remembers how the log told that something is lost."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None and "is lost" in record.getMessage():
            self.said = record.exc_info[0].__name__
        elif record.getMessage().startswith("a session was"):
            self.said = "refused"


class World:
    """A middleware and its store, which every sequence of operations begins with anew."""

    def __init__(self, options: Options) -> None:
        self.store = DictStore()
        self.ids = itertools.count(1)
        given: Any = {
            "secret": SECRET,
            "store": self.store,
            "clock": lambda: NOW,
            "hash_ids": False,
            "generate_id": lambda _request: f"new {next(self.ids)}",
            "touch_after": 10 * DAY,
            "unset": options.unset,
            "save_uninitialized": options.save_uninitialized,
            "resave": options.resave,
            "rolling": options.rolling,
            "on_store_error": "anonymous",
        }
        self.middleware = SyncMiddleware(given)
        self.lost = Lost()
        self.planted: dict[str, dict[str, Row | Replaced]] = {"NOTHING": {}}
        records = {name: self._record(name, live) for name, live in zip(KEYS, (FIRST, SECOND, SUCCESSOR), strict=True)}
        both: dict[str, Row | Replaced] = {name: records[name] for name in ("first", "second")}
        self.planted |= dict.fromkeys(("RECORD", "PENDING", "UNAVAILABLE"), both)
        self.planted["TOMBSTONE"] = {"first": Replaced("successor"), "successor": records["successor"]}

    def _record(self, key: str, live: Live) -> Row:
        """What a session of these data is stored as."""
        state, exchange = self._begin("NOTHING", 0)
        state.id = key
        exchange.session.update(live.data)
        self._respond(exchange, Phase.RESPONSE)
        row = self.store.rows[key]
        assert isinstance(row, Row)
        return row._replace(left=PLANTED)

    def _begin(self, found: str, brought: int) -> tuple[State, Exchange[SyncMiddleware]]:
        ids = tuple(Verified(key, needs_resigning=False) for key in KEYS[:brought])
        arrival = self.middleware.arrivals.of(self.middleware.options.cookie, ids, secure=False)  # type: ignore[arg-type]
        state = State(self.middleware.settings, arrival, self.middleware, Found.PENDING if ids else Found.NOTHING)
        session = Session(state)
        return state, Exchange(self.middleware, state, session, {SLOT: session}, SLOT)

    def _respond(self, exchange: Exchange[SyncMiddleware], phase: Phase) -> str | None:
        """Commit as the headers leave; what the client is told."""
        plan = exchange.prepare(phase)
        if plan is not None and plan.needs_store:
            plan = self.middleware.respond(exchange, plan, phase)
        if plan is None:
            raise StoreUnavailable("a 503")
        exchange.state.sent = True
        if plan.header is None:
            return None
        return "expire" if "=; " in plan.header[1] else "send"

    def play(self, found: str, brought: int, before: Sequence[str], after: Sequence[str], *, failed: bool) -> Expected:
        self.store.rows = {
            key: row for key, row in self.planted[found].items() if key == "successor" or key in KEYS[:brought]
        }
        self.ids = itertools.count(1)
        self.lost.said = None
        state, exchange = self._begin(found, brought)
        if found != "PENDING" and brought:
            self.store.down = found == "UNAVAILABLE"
            self.middleware.look_up_or_note(state)
            self.store.down = False
        assert state.found.name == found
        errors = [self._do(op, exchange) for op in before]
        cookie = commit = None
        if not failed:
            try:
                cookie = self._respond(exchange, Phase.RESPONSE)
            except SojournError as error:
                commit = type(error).__name__
        if not failed and commit is None:
            errors += [self._do(op, exchange) for op in after]
        self.middleware.run(exchange.finish(failed=failed or commit is not None))
        end = self.lost.said if commit is None and not failed else None
        return self._outcome(found, brought, cookie, errors, commit, end)

    def _do(self, op: str, exchange: Exchange[SyncMiddleware]) -> str | None:
        session: Any = exchange.session
        slot: Any = exchange.slot
        try:
            match op:
                case "read":
                    session.get("n")
                case "put":
                    session["m"] = 1
                case "pop":
                    session.pop("n", None)
                case "unstorable":
                    session["x"] = object()
                case "regenerate_keep":
                    session.regenerate(keep_data=True)
                case "login":
                    session.login("ann")
                case "login_keep":
                    session.login("ann", keep_data=True)
                case "cookie":
                    session.cookie.max_age = 60
                case "none":
                    slot[SLOT] = None
                case "enum":
                    slot[SLOT] = Marker.EMPTY
                case _:
                    getattr(session, op)()
        except SojournError as error:
            return type(error).__name__
        return None

    def _outcome(
        self,
        found: str,
        brought: int,
        cookie: Any,
        errors: list[str | None],
        commit: str | None,
        end: str | None,
    ) -> Expected:
        rows = self.store.rows
        fates: dict[str, Any] = {}
        for key in (*KEYS[:brought], "successor") if found == "TOMBSTONE" else KEYS[:brought]:
            row = rows.get(key)
            fates[key] = live(row) if isinstance(row, Row) else "tombstone" if leads_somewhere(rows, key) else "gone"
        made = [live(row) for key, row in rows.items() if key not in KEYS and isinstance(row, Row)]
        assert len(made) <= 1, "a session is stored once"
        first = rows.get("first")
        renewed = isinstance(first, Row) and first.left != PLANTED
        return Expected(fates, made[0] if made else None, cookie, tuple(errors), commit, end, renewed)


KEYS: Final = ("first", "second", "successor")


def live(row: Row) -> Live:
    record = unpack(row.data)
    lifetime = record.overrides.get("originalMaxAge")
    return Live(data_of(row.data), record.owner, None if lifetime is None else lifetime // 1000)


def leads_somewhere(rows: dict[str, Row | Replaced], key: str | None) -> bool:
    row = rows.get(key or "")
    return leads_somewhere(rows, row.successor) if isinstance(row, Replaced) else row is not None


def sequences(longest: int, ops: Sequence[str] = OPS) -> Iterator[tuple[str, ...]]:
    for length in range(longest + 1):
        for sequence in itertools.product(ops, repeat=length):
            # Whoever emptied the slot and saves the object that it holds all the same has asked for both.
            emptied = next((at for at, op in enumerate(sequence) if op in ("none", "enum")), None)
            if emptied is None or "save" not in sequence[emptied:]:
                yield sequence


def splits(sequence: Sequence[str], phase: str) -> list[tuple[Sequence[str], Sequence[str], bool]]:
    """What happens before the headers leave and what after, and whether the handler raises."""
    if phase == "SPLIT":
        return [(sequence[:at], sequence[at:], False) for at in range(1, len(sequence))]
    return [{"RESPONSE": (sequence, (), False), "LATE": ((), sequence, False), "FAILED": (sequence, (), True)}[phase]]


def search(options: Options, found: str, phase: str, longest: int, ops: Sequence[str] = OPS) -> int:
    world = World(options)
    log.addHandler(world.lost)
    propagate, log.propagate = log.propagate, False
    count = 0
    try:
        for sequence in sequences(longest, ops):
            for before, after, failed in splits(sequence, phase):
                for brought in (0, 1, 2) if found == "NOTHING" else (1, 2):
                    wanted = expected(found, brought, before, after, failed=failed, options=options)  # type: ignore[arg-type]
                    seen = world.play(found, brought, before, after, failed=failed)
                    assert seen == wanted, f"{found}, {brought} ids, {before} | {after}, {failed=}, {options}"
                    count += 1
    finally:
        log.removeHandler(world.lost)
        log.propagate = propagate
    return count


PHASES: Final = ("RESPONSE", "LATE", "FAILED")
ALL_OPTIONS: Final[list[Options]] = [
    Options("keep" if keep else "destroy", eager, resave, rolling)
    for keep, eager, resave, rolling in itertools.product((False, True), repeat=4)
]


@pytest.mark.parametrize("phase", [*PHASES, "SPLIT"])
@pytest.mark.parametrize("found", FOUND)
def test_every_sequence_of_up_to_two_operations_ends_as_the_model_says_under_all_options(
    found: str, phase: str
) -> None:
    for options in ALL_OPTIONS:
        assert search(options, found, phase, 2)


@pytest.mark.parametrize("phase", [*PHASES, "SPLIT"])
@pytest.mark.parametrize("found", FOUND)
def test_every_sequence_of_up_to_three_operations_ends_as_the_model_says(found: str, phase: str) -> None:
    assert search(DEFAULTS, found, phase, 3)


@pytest.mark.search
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("found", FOUND)
def test_every_sequence_of_up_to_four_operations_ends_as_the_model_says(found: str, phase: str) -> None:
    assert search(DEFAULTS, found, phase, 4) > 100_000


def test_the_search_finds_a_difference() -> None:
    with pytest.raises(AssertionError, match="'clear'"):
        search(Options(clear_keeps=True), "RECORD", "RESPONSE", 1, ("put", "clear"))
