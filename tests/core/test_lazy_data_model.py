"""The session, whose data are decoded and encoded value by value as they are used, against a model that does all of it at once.

Hypothesis makes the records, ours and other programs', and what requests do. After every operation both must have returned the same;
after every commit the store must hold what the model says, byte for byte. The runs are the same each time, or as many others as
SOJOURN_LAZY_EXAMPLES says.
"""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product, zip_longest
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.codecs import Codec, EncryptedCodec, JSONCodec, PlainCodec
from sojourn.core.commit import commit, reload, save
from sojourn.core.plan import Phase
from sojourn.core.policy import decide, needs_late_commit
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.state import Found, State
from sojourn.core.store import Stored
from sojourn.core.transitions import note_loaded
from sojourn.errors import SessionDecodeError, SessionEncodeError, SessionNotFound
from sojourn.logs import log
from sojourn.middleware.drive import commit_at_once, run
from sojourn.stores import MemoryStore
from tests.core.eager import Eager, Shelf, Texts, member
from tests.core.making import DAY, ID, begin, clock_of, make_settings, record_bytes

EXAMPLES = os.environ.get("SOJOURN_LAZY_EXAMPLES")


def examples(count: int) -> settings:
    return settings(
        max_examples=int(EXAMPLES or count),
        derandomize=EXAMPLES is None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# -- codecs of somebody's own ---------------------------------------------------------------------------------------------


class SpacedCodec(Codec):
    """Writes JSON as Python's ``json`` does unless told otherwise: with spaces, and with escapes for all but ASCII."""

    name = "spaced"

    def encode(self, value: Any, /) -> bytes:
        PlainCodec().encode(value)  # refuses what would change its type
        return json.dumps(value).encode()

    def decode(self, text: bytes, /) -> Any:
        return PlainCodec().decode(text)


class EnvelopeCodec(Codec):
    """Writes every value into an object, and reads also what was written before it did."""

    name = "envelope"

    def encode(self, value: Any, /) -> bytes:
        return b'{"=":%b}' % PlainCodec().encode(value)

    def decode(self, text: bytes, /) -> Any:
        value = PlainCodec().decode(text)
        if type(value) is not dict or list(value) != ["="]:
            return value
        if value["="] == "lost":
            raise SessionDecodeError("not one of ours")
        return value["="]


KEY, OLD_KEY = bytes([1]) * 32, bytes([2]) * 32
LARGEST: Final = 2**53 - 1
SETTINGS: Final[dict[str, SessionSettings]] = {
    "json": make_settings(codec=JSONCodec()),
    "plain": make_settings(codec=PlainCodec()),
    "express": make_settings(express_profile=True),
    "sealed": make_settings(codec=EncryptedCodec([KEY, OLD_KEY])),
    "sealed plain": make_settings(codec=EncryptedCodec(KEY, codec=PlainCodec(max_int=LARGEST, reserved=["id"]))),
    "spaced": make_settings(codec=SpacedCodec()),
    "envelope": make_settings(codec=EnvelopeCodec()),
}

# -- records --------------------------------------------------------------------------------------------------------------

DEEP: Final = b'[{"x":' * 103 + b"1" + b"}]" * 103
"""Deeper than we write."""
EXPRESS_TEXTS: Final[list[bytes]] = [
    b"null", b"true", b"0", b"1", b"-5", b"1.5", b"1e+21", b"1e-7", b"100000000000000000000", b"9007199254740993",
    b'""', b'"x"', '"ü☕\u2028"'.encode(), b'"\\ud800"', b'"\\b\\u000f\\"/"', b"[]", b"{}", b"[1,2]", b"[1,[2],{}]",
    b'{"a":1,"b":[1]}', b'{"b":[1],"a":1}', b'{"\\udfff":1}', b'{"__proto__":1,"0":2}', b'["1e+21",1e+21]',
]  # fmt: skip
HAND_TEXTS: Final[list[bytes]] = [
    b"1E5", b"1.0", b"1.50", b"-0", b"-0.0", b"0.10e1", b"123456789012345678901234567890", b"1000000000000000000000",
    b"[ 1 ,\t2 ]", b'{ "b" : [1.0] , "a" : 1E5 }', b'{"a":1,"a":[2]}', b'"\\u0061\\/\\ud83d\\ude00"', b'["\\u0061"]',
    b"[9007199254740993,-0,1e2]", b"[1000000000000000000000]", b'{"a":{"a":{"a":[]}}}', b'{"a":{"a":{"a":[1]}}}', DEEP,
]  # fmt: skip
TAGGED_TEXTS: Final[list[bytes]] = [
    b'{"$tuple":[1,[2]]}', b'{"$set":[2,1]}', b'{ "$set" : [1] }', b'{"$set":[[]]}', b'{"$date":"2026-01-02"}', b'{"$date":"no"}',
    b'{"$x":1}', b'{"$dict":{"$x":[1]}}', b'{"\\u0024tuple":[]}', b'[{"$decimal":"1.50"}]', b'{"=":5}', b'{"=":[1]}', b'{"= ":5}',
]  # fmt: skip
BAD_TEXTS: Final[list[bytes]] = [b"1e400", b"[1,-1e400]", b'{"=":"lost"}']
FLASHES: Final[list[bytes]] = [b"[]", b'[["info","hello"]]', b'[ ["error","no"], ["info","\\u0061"] ]']
NUMBERS: Final[list[bytes]] = [b"1", b"2", b"5", b"1.5", b"1E5"]
NAMES: Final[list[str]] = ["a", "b", "c", "\ud800", "id"]
ESCAPED: Final = {"a": b'"\\u0061"', "b": b'"\\u0062"', "\ud800": b'"\\uD800"'}


def pairs(first: list[Any], second: list[Any]) -> list[Any]:
    return list(product(first, second))


express_members: Final = st.lists(
    st.sampled_from([*pairs(NAMES, EXPRESS_TEXTS), *pairs(["n"], NUMBERS * 4)]), min_size=2, max_size=4
)
hand_members: Final = st.lists(
    st.sampled_from(
        [
            *pairs(NAMES, [*EXPRESS_TEXTS, *HAND_TEXTS, *HAND_TEXTS, *TAGGED_TEXTS]),
            *pairs(["a", "b", "c"], BAD_TEXTS * 5),
            *pairs(["_flashes"], BAD_TEXTS[:2] * 5),
            *pairs(["_flashes"], FLASHES * 8),
            *pairs(["n"], NUMBERS * 5),
        ]
    ),
    min_size=2,
    max_size=4,
)


@dataclass
class Written:
    """A record as another program wrote it."""

    texts: Texts
    raw: bytes

    def __repr__(self) -> str:
        return f"Written({self.raw!r})"


def by_express(members: list[tuple[str, bytes]]) -> Written:
    texts = dict(members)
    cookie = b'"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}'
    return Written(texts, b"{%b}" % b",".join([cookie, *(member(name, text) for name, text in texts.items())]))


def by_hand(members: list[tuple[str, bytes]], style: tuple[bytes, bool, bool, int]) -> Written:
    """A record whose names may come twice, with spaces, escapes, and in any order."""
    space, is_escaped, is_ours, place = style
    chunks = [
        b"%b%b:%b%b" % (ESCAPED[name] if is_escaped and name in ESCAPED else member(name, b"")[:-1], space, space, text)
        for name, text in members
    ]
    chunks.insert(place % (len(chunks) + 1), b'"cookie": {"originalMaxAge" : null}')
    if is_ours:
        chunks.insert(place // 2, b'"__sojourn__":{"created":1749999999999,"write":7,"v":1,"gadget":[1.0]}')
    between = b"%b,%b" % (space, space)
    return Written(dict(members), b"%b{%b%b%b}%b" % (space, space, between.join(chunks), space, space))


styles: Final = st.sampled_from(list(product([b"", b" ", b"\r\n\t"], [False, True], [False, True], range(4))))
foreign: Final = st.builds(by_express, express_members) | st.builds(by_hand, hand_members, styles)


# -- what requests do -----------------------------------------------------------------------------------------------------


def first_container(value: Any) -> Any:
    for inner in value.values() if type(value) is dict else value:
        if type(inner) is dict or type(inner) is list:
            return inner
    return value


def change(value: Any, how: str) -> Any:
    """Change in place what was handed out, where that is possible. What is returned must not matter."""
    kind = type(value)
    if kind is set:
        value.add(how)
    if kind is not list and kind is not dict:
        return
    if how == "within":
        inner = first_container(value)
        if inner is not value:
            change(inner, "add")
    elif how == "add":
        if kind is dict:
            value["z"] = [len(value)]
        else:
            value.append(how)
    elif how == "add and remove":
        change(value, "add")
        value.popitem() if kind is dict else value.pop()
    elif how == "clear":
        value.clear()
    elif how == "reverse":
        if kind is list:
            value.reverse()
        else:
            for key in reversed(list(value)):
                value[key] = value.pop(key)
    else:
        for place, item in value.items() if kind is dict else enumerate(value):
            if how == "type" and (type(item) is int or type(item) is float or type(item) is bool):
                value[place] = int(item) if type(item) is bool else bool(item) if item == 1 else float(item)
            elif how == "tuple" and type(item) is list:
                value[place] = tuple(item)


@dataclass
class Side:
    """The session or its model, with what it handed out."""

    data: Any
    kept: dict[str, Any] = field(default_factory=dict)


def keep(side: Side, key: str) -> None:
    side.kept[key] = side.data.get(key)


def alias(side: Side, key: str, other: str) -> None:
    side.data[other] = side.data[key]


def to_another_type(value: Any) -> Any:
    """A value that is equal to Python, and another to us."""
    if type(value) is float:
        return -0.0 if repr(value) == "0.0" else int(value) if value.is_integer() and abs(value) < LARGEST else value
    return bool(value) if value in (0, 1) and type(value) is int else int(value) if type(value) is bool else value


def is_the_same_again(side: Side, key: str) -> bool:
    return side.data.get(key) is side.data.get(key)


DO: Final[dict[str, Callable[..., Any]]] = {
    "get": lambda side, key: side.data.get(key, "none"),
    "[]": lambda side, key: side.data[key],
    "in": lambda side, key: key in side.data,
    "len": lambda side: len(side.data),
    "bool": lambda side: bool(side.data),
    "list": lambda side: list(side.data),
    "keys": lambda side: list(side.data.keys()),
    "values": lambda side: list(side.data.values()),
    "items": lambda side: list(side.data.items()),
    "pop": lambda side, key: side.data.pop(key, "none"),
    "popitem": lambda side: side.data.popitem(),
    "setdefault": lambda side, key, value: side.data.setdefault(key, value),
    "set": lambda side, key, value: side.data.__setitem__(key, value),
    "set as it is": lambda side, key: side.data.__setitem__(key, copy.deepcopy(side.data[key])),
    "set to another type": lambda side, key: side.data.__setitem__(key, to_another_type(side.data[key])),
    "move to the end": lambda side, key: side.data.__setitem__(key, side.data.pop(key)),
    "set reserved": lambda side, name: side.data.__setitem__(name, 1),
    "update": lambda side, key, value: side.data.update({key: value, "c": 1}),
    "del": lambda side, key: side.data.__delitem__(key),
    "change": lambda side, key, how: change(side.data[key], how),
    "keep": keep,
    "change kept": lambda side, key, how: change(side.kept.get(key), how),
    "alias": alias,
    "is the same again": is_the_same_again,
    "increment": lambda side, by: side.data.increment("n", by),
    "set number": lambda side, number: side.data.__setitem__("n", number),
    "delete number": lambda side: side.data.__delitem__("n"),
    "flash": lambda side, category: side.data.flash("message", category),
    "flashes": lambda side, category: [tuple(flash) for flash in side.data.flashes(category)],
    "clear": lambda side: side.data.clear(),
    "regenerate": lambda side, keep_data: side.data.regenerate(keep_data=keep_data),
    "login": lambda side, keep_data: side.data.login("ada", keep_data=keep_data),
    "reload": lambda side: side.data.reload(),
}

KEYS: Final = ["a", "b", "a", "b", "c", "\ud800"]
JSON_VALUES: Final[list[Any]] = [
    None, True, False, 0, 1, 1.0, -0.0, 100000.0, 1e21, 2**60, 10**30, "", "x", "a", "ü\ud800", [], {}, [1], [1, 2], [True],
    {"a": 1}, {"a": 1, "b": [1]}, {"b": [1], "a": 1}, {"a": {"a": {"a": []}}}, [[1], {"x": 1.0}], {"$x": 1}, {"=": 5},
]  # fmt: skip
OTHER_VALUES: Final[list[Any]] = [
    (1, [2]), {1, 2}, {1}, date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.50"), b"x", [(1,)],
]  # fmt: skip
REFUSED_VALUES: Final[list[Any]] = [float("nan"), {5: 1}, [1j], json.loads(DEEP)]
VALUES: Final = [*JSON_VALUES * 3, *OTHER_VALUES, *REFUSED_VALUES]
HOWS: Final = ["within", "add", "add and remove", "clear", "reverse", "type", "tuple"]

# How often, whether with a key, and with one of what.
OPS: Final[list[tuple[int, str, bool, list[Any]]]] = [
    (8, "set", True, VALUES),
    (2, "setdefault", True, VALUES),
    (2, "update", True, VALUES),
    (1, "set reserved", False, ["id", "cookie", "__sojourn__", 5]),
    (3, "set as it is", True, []),
    (3, "set to another type", True, []),
    (4, "move to the end", True, []),
    (10, "change", True, HOWS),
    (4, "keep", True, []),
    (5, "change kept", True, HOWS),
    (5, "del", True, []),
    (2, "pop", True, []),
    (1, "popitem", False, []),
    (1, "alias", True, KEYS),
    (6, "increment", False, [1, 1, -1, 0, 0.5, LARGEST - 3]),
    (2, "set number", False, [1, 5, 1.5, True, "5"]),
    (1, "delete number", False, []),
    (2, "flash", False, ["info", "error"]),
    (2, "flashes", False, [None, "info", "error"]),
    (4, "get", True, []),
    (4, "[]", True, []),
    (1, "is the same again", True, []),
    (2, "in", True, []),
    (1, "len", False, []),
    (1, "bool", False, []),
    (1, "list", False, []),
    (1, "keys", False, []),
    (2, "values", False, []),
    (2, "items", False, []),
    (4, "save", False, []),
    (2, "reload", False, []),
]
ENDS: Final[list[tuple[int, str, bool, list[Any]]]] = [
    (1, "clear", False, []),
    (2, "regenerate", False, [False, True, True]),
    (2, "login", False, [False, True, True]),
]
# Once the response has left, a change of type is seen too, but for the types that JSON does not have.
LATE: Final[list[tuple[int, str, bool, list[Any]]]] = [
    (often, name, is_keyed, JSON_VALUES if choice is VALUES else HOWS[:-1] if choice is HOWS else choice)
    for often, name, is_keyed, choice in OPS
]


def ops(table: list[tuple[int, str, bool, list[Any]]]) -> st.SearchStrategy[list[Any]]:
    def made(drawn: tuple[list[Any], str, int]) -> tuple[Any, ...]:
        (name, is_keyed, choice), key, which = drawn
        return name, *([key] if is_keyed else []), *([choice[which % len(choice)]] if choice else [])

    # Few draws, as these take the time; and each among few, as Hypothesis prefers the first among many.
    rows = [row for often, *row in table for _ in range(often)]
    return st.lists(st.tuples(st.sampled_from(rows), st.sampled_from(KEYS), st.integers(0, 99)).map(made), max_size=6)


# -- both of them on one store --------------------------------------------------------------------------------------------


class Errors(logging.Handler):
    """Counts the errors in the log, and reads what they say."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class World:
    """A store, what the model says that lies in it, and requests with one id."""

    def __init__(self, codec: str, written: Written | dict[str, Any], errors: Errors, *, at_once: bool) -> None:
        self.at_once = at_once
        self.settings = SETTINGS[codec]
        self.codec = self.settings.codec
        self.store = MemoryStore(clock=clock_of(self.settings))
        self.errors = errors
        key = self.settings.key_of(ID)
        if isinstance(written, Written):
            self.shelf = Shelf(written.texts, written.raw)
            sealed = self.codec.seal(written.raw, key)
        else:
            self.shelf = Shelf({name: self.codec.encode(value) for name, value in written.items()})
            sealed = record_bytes(self.settings, written)
        self.store.create(key, sealed, DAY)
        self.places = {self.shelf: key}
        self.seen: dict[Shelf, tuple[int, bytes]] = {}
        self.requests: list[Both] = []

    def load(self, state: State) -> None:
        verified = state.arrival.ids[0]
        key = self.settings.key_of(verified.id)
        note_loaded(state, verified, key, self.store.load(key))

    def commit(self, state: State, phase: Phase) -> None:
        plan = decide(state, phase)
        if self.at_once:
            commit_at_once(state, plan, phase, self.store)
        else:
            run(commit(state, plan, phase), self.store)

    def save(self, state: State) -> None:
        run(save(state), self.store)

    def reload(self, state: State) -> None:
        run(reload(state), self.store)

    @property
    def sessions(self) -> Any:
        raise NotImplementedError

    def request(self) -> Both:
        state = begin(self.settings, Found.PENDING, io=self)
        self.load(state)
        model = Eager(self.codec, self.shelf, clear_ends=self.settings.options.profile.clear_ends)
        both = Both(self, Side(Session(state)), Side(model))
        self.requests.append(both)
        return both

    def rewrite(self, shelf: Shelf, written: Written) -> None:
        """What another program does: it replaces the whole record."""
        key = self.places[shelf]
        found = self.store.load(key)
        assert isinstance(found, Stored)
        if self.codec.unseal(found.data, key) != written.raw:  # the store would not see that as another version
            self.store.replace(key, self.codec.seal(written.raw, key), DAY, version=found.version)
            shelf.write(written.texts, written.raw)

    def check(self) -> None:
        """The store holds what the model says."""
        assert len(self.errors.lines) == sum(request.model.data.begun_anew for request in self.requests)
        for shelf, key in self.places.items():
            found = self.store.load(key)
            assert isinstance(found, Stored) is not shelf.ended
            if isinstance(found, Stored):
                writes, data = self.seen.get(shelf, (-1, b""))
                assert writes != shelf.writes or data == found.data, "written without need"
                self.seen[shelf] = shelf.writes, found.data
                text = self.codec.unseal(found.data, key)
                if shelf.raw is not None:
                    assert text == shelf.raw
                else:
                    check_record(text, shelf.texts)


def check_record(text: bytes, texts: Texts) -> None:
    """A record of ours with these values, byte for byte."""
    end = b"".join(b"," + member(name, value) for name, value in texts.items()) + b"}"
    assert text.endswith(end)
    assert list(json.loads(text.removesuffix(end) + b"}")) == ["cookie", "__sojourn__"]


@dataclass
class Both:
    """One request: the session and its model."""

    world: World
    session: Side
    model: Side
    is_over: bool = False

    def do(self, op: tuple[Any, ...]) -> None:
        if self.is_over or (self.session.data._state.sent and self.model.data.shelf is None):
            return
        if op[0] == "save":
            self._store(self.session.data.save)
        elif op[0] == "rewrite":
            shelf = self.model.data.shelf
            if shelf is not None and not shelf.ended:
                self.world.rewrite(shelf, op[1])
        else:
            assert outcome(op, self.session) == outcome(op, self.model)

    def commit(self) -> None:
        """With the response."""
        state = self.session.data._state
        is_stored = self._store(lambda: self.world.commit(state, Phase.RESPONSE))
        state.sent = True
        self.is_over = not is_stored

    def commit_late(self) -> None:
        """When the application is done."""
        state = self.session.data._state
        if not self.is_over and self.model.data.shelf is not None:  # no session can begin any more
            self._store(lambda: self.world.commit(state, Phase.LATE) if needs_late_commit(state) else None)

    def _store(self, call: Callable[[], object]) -> bool:
        session, model = self.session.data, self.model.data
        expected, error = refusal(model.commit), refusal(call)
        if expected is None or error is None:
            assert error is expected
            loaded = session._state.loaded
            assert (loaded is None) is (model.shelf is None)
            if loaded is not None and model.shelf not in self.world.places:
                assert loaded.key not in self.world.places.values()
                self.world.places[model.shelf] = loaded.key
        else:
            assert any(error.path.startswith(head(name)) for name in expected.path.split("\n"))
        self.world.check()
        return error is None


def refusal(call: Callable[[], object]) -> SessionEncodeError | None:
    try:
        call()
    except SessionEncodeError as error:
        return error
    return None


def head(name: str) -> str:
    """How the path to a value of that name begins. What is no name is not shown."""
    return name if name.isidentifier() else "" if name == "5" else f"[{name!r}]"


def outcome(op: tuple[Any, ...], side: Side) -> Any:
    name, *given = copy.deepcopy(op)
    try:
        return repr(DO[name](side, *given))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, SessionNotFound) as error:
        return type(error)


@contextmanager
def world(codec: str, written: Any, *, at_once: bool) -> Iterator[World]:
    """``at_once``: with the short way of stores in the process."""
    errors = Errors()
    log.addHandler(errors)
    try:
        yield World(codec, written, errors, at_once=at_once)
    finally:
        log.removeHandler(errors)


def is_held(codec: str, value: Any) -> bool:
    try:
        SETTINGS[codec].codec.encode(value)
    except SessionEncodeError:
        return False
    return True


def records(codec: str) -> st.SearchStrategy[Any]:
    """As we write them, as Express does, and by hand."""
    held = [value for value in JSON_VALUES + OTHER_VALUES if is_held(codec, value)]
    members = [*pairs(NAMES[:-1], held), *pairs(["n"], [1, 2, 5, 1.5] * 10)]
    ours = st.lists(st.sampled_from(members), min_size=2, max_size=4).map(dict)
    return ours | foreign


RECORDS: Final = {codec: records(codec) for codec in SETTINGS}
WITH_ENDS: Final = ops(OPS + ENDS)
WITHOUT_ENDS: Final = ops(OPS)
LATE_OPS: Final = ops(LATE)
REWRITES: Final = st.lists(st.tuples(st.just("rewrite"), foreign), max_size=1)


@pytest.mark.parametrize("codec", SETTINGS)
def test_a_request_has_the_data_and_stores_the_record_that_the_model_has(codec: str) -> None:
    @examples(120)
    @given(RECORDS[codec], WITH_ENDS, REWRITES, WITH_ENDS, LATE_OPS, st.booleans())
    def check(
        written: Any, before: list[Any], rewrites: list[Any], after: list[Any], late: list[Any], at_once: bool
    ) -> None:
        with world(codec, written, at_once=at_once) as it:
            request = it.request()
            for op in [*before, *rewrites, *after]:
                request.do(op)
            request.commit()
            for op in late:
                request.do(op)
            request.commit_late()

    check()


@pytest.mark.parametrize("codec", SETTINGS)
def test_two_requests_at_once_leave_the_record_that_the_model_merges(codec: str) -> None:
    @examples(120)
    @given(RECORDS[codec], WITHOUT_ENDS, WITHOUT_ENDS, st.integers(0, 127), st.booleans())
    def check(written: Any, first: list[Any], second: list[Any], order: int, at_once: bool) -> None:
        with world(codec, written, at_once=at_once) as it:
            requests = it.request(), it.request()
            for place, ops in enumerate(zip_longest(first, second)):
                for which in (0, 1) if order >> place & 1 else (1, 0):
                    if ops[which] is not None:
                        requests[which].do(ops[which])
            for which in (0, 1) if order & 64 else (1, 0):
                requests[which].commit()

    check()
