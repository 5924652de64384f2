"""Records as a person, another program or an enemy may leave them in a store, in any number, from a seed."""

from __future__ import annotations

import json
from random import Random
from typing import Final, TypeAlias

import pytest

__all__ = ["AMOUNTS", "VALUES", "check_header", "foreign_record"]

_Members: TypeAlias = dict[str, str]

AMOUNTS: Final = (
    pytest.param(1, id="quick"),
    pytest.param(10, id="more", marks=pytest.mark.search),
    pytest.param(100, id="torture", marks=pytest.mark.torture),
)
"""How many times as many as in `make quick`: `make test` takes a tenth of what `make torture` does."""

_DEEP: Final = tuple(f"{'[' * depth}{']' * depth}" for depth in (150, 500, 2000))
VALUES: Final = (
    *(
        "null",
        "true",
        "false",
        "0",
        "1",
        "-1",
        "1.5",
        "-0.0",
        "60000",
        "60000.0",
        "-86400000",
        "1e30",
        "1e400",
        "1" + "0" * 30,
    ),
    *(
        "-1" + "0" * 30,
        "9" * 5000,
        "253402300800000",
        "9223372036854775807",
        "9223372036854775808",
        "NaN",
        "-Infinity",
        "01",
    ),
    *(
        '""',
        '"60000"',
        '"soon"',
        '"/"',
        '"/app"',
        '"é"',
        '"\\u0000"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"lax"',
        '"None"',
        '"auto"',
    ),
    *(
        '"/\\r\\nX-Evil: 1"',
        '"/; Domain=evil.example"',
        '"a\\nb"',
        '"2026-11-21T04:32:17.370Z"',
        '"' + "x" * 3000 + '"',
    ),
    *(
        "[]",
        "[1]",
        '["path","sameSite","originalMaxAge","none"]',
        "{}",
        '{"a":1}',
        '{"$dict":{"$x":1}}',
        '{"$date":"2026-02-31"}',
    ),
    *(
        '{"$decimal":"NaN"}',
        '{"$set":[[1],{}]}',
        '{"$datetime":["2026-01-01T00:00:00",7]}',
        '{"$timedelta":%s}' % ("9" * 400),
    ),
    *('{"$tuple":[{"$bytes":"?"}]}', '{"$time":"25:00"}', '{"$uuid":1}', '[["info","hello"],["info"],1]'),
    *_DEEP,
)
"""JSON values that may stand where another is wanted, and text that is none."""

_ATTRIBUTES: Final = (
    *(
        "originalMaxAge",
        "partitioned",
        "priority",
        "expires",
        "secure",
        "httpOnly",
        "domain",
        "path",
        "sameSite",
        "none",
    ),
)
_OWN: Final = ("v", "created", "owner", "auth", "overrides", "write", "lifetime", "sum", "new", "\\ud800")
_DATA: Final = ("n", "user", "cart", "_flashes", "save", "\\ud800", "", "$date")


def foreign_record(random: Random) -> str:
    """The text of a record that is wrong in one place or in several, or in none."""
    cookie = {"originalMaxAge": random.choice(["null", "60000", "3600000"]), "expires": "null", "httpOnly": "true"}
    cookie["path"] = '"/"'
    own = {"v": "1", "created": "1750000000000", "lifetime": cookie["originalMaxAge"], "write": "17"}
    data = {"n": "1", "user": '"ann"'}
    if random.random() < 0.5:
        names = random.sample(_ATTRIBUTES, random.randint(1, 3))
        own["overrides"] = json.dumps(names)
        cookie |= {name: random.choice(VALUES) for name in names[:2]}
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        part, places = random.choice(((cookie, _ATTRIBUTES), (own, _OWN), (data, _DATA)))
        name = random.choice(places)
        if random.random() < 0.1:
            part.pop(name, None)
        else:
            part[name] = random.choice(VALUES)
    parts = {"cookie": _object(cookie), "__sojourn__": _object(own), **data}
    match random.randrange(12):
        case 0:
            parts[random.choice(tuple(parts))] = random.choice(VALUES)
        case 1 | 2 | 3:
            del parts["__sojourn__"]
        case 4:
            del parts["cookie"]
        case _:
            pass
    return _spoilt(random, _object(parts))


def _spoilt(random: Random, text: str) -> str:
    """The text as it is, as a rule; else cut, spoilt, or another value altogether."""
    at = random.randrange(len(text) + 1)
    match random.randrange(30):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + random.choice('{}[]",:\\\x00é\x01') + text[at + 1 :]
        case 2:
            return random.choice(VALUES)
        case 3:
            return " " + text.replace(":", " : ") + "\n"
        case _:
            return text


def _object(members: _Members) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"


def check_header(value: str) -> None:
    """Hold a ``Set-Cookie`` to what it may be: nothing that came from a record ends it, or adds to it."""
    assert value.isascii() and value.isprintable(), ascii(value)
    names = [part.partition("=")[0] for part in value.split("; ")[1:]]
    assert len(names) == len(set(names)), value
    assert {*names} <= {
        *("Domain", "Path", "Expires", "Max-Age", "HttpOnly", "Secure", "Partitioned", "Priority", "SameSite")
    }, value
