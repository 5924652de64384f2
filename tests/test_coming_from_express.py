"""The tables of docs/coming-from-express.md have every option and method that the sources of the Node packages have."""

from __future__ import annotations

import os
import re
import typing
from typing import NamedTuple

import pytest

import sojourn
from scripts.node_peers import FOLDER
from sojourn.options import OptionsDict
from tests.test_docs import rows

pytestmark = pytest.mark.express

PAGE = "docs/coming-from-express.md"
MODULES = FOLDER / "node_modules"


class Source(NamedTuple):
    """What a part of a file declares."""

    file: str
    name: str
    """A pattern whose group is a name."""
    begin: str = ""
    end: str = "\0"
    internal: str = ""
    """Names that are not for users."""

    def names(self) -> set[str]:
        if not (MODULES / self.file).exists():
            message = "the Express peers are not installed: python -m scripts.node_peers"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
        text = (MODULES / self.file).read_text(encoding="utf-8")
        part = text[text.index(self.begin) :].partition(self.end)[0]
        found = set(re.findall(self.name, part, re.MULTILINE)) - set(self.internal.split())
        assert found, f"nothing found in {self.file}"
        return found


SOURCES = [
    ("Options of express-session", Source("express-session/index.js", r"\bopts\.(\w+)")),
    ("Its cookie", Source("express-session/README.md", r"^##### cookie\.(\w+)")),
    ("Its cookie", Source("express-session/session/cookie.js", r"^\W*(\w+): this\.", "get data()", "serialize")),
    ("Methods", Source("express-session/session/session.js", r"^defineMethod\(Session\.prototype, '(\w+)'")),
    ("Methods", Source("express-session/session/store.js", r"^Store\.prototype\.(\w+) =")),
    ("Methods", Source("express-session/session/memory.js", r"^MemoryStore\.prototype\.(\w+) =")),
    ("Methods", Source("express-session/session/cookie.js", r"^  (?:[gs]et )?(\w+)(?:\(|:)", "Cookie.prototype = {")),
    ("Methods", Source("express-session/index.js", r"^exports\.(\w+) =")),
    ("connect-redis", Source("connect-redis/index.ts", r"^  (\w+)\??:", "interface RedisStoreOptions {", "}")),
    ("connect-redis", Source("connect-redis/index.ts", r"^  async (\w+)\(")),
    ("connect-pg-simple", Source("connect-pg-simple/index.js", r"@property \{.+\} \[(\w+)\]")),
    (
        "connect-pg-simple",
        Source(
            "connect-pg-simple/index.js", r"^    (?:async )?([a-z]\w+) \(", internal="constructor if query quotedTable"
        ),
    ),
    ("connect-mongo", Source("connect-mongo/dist/index.d.mts", r"^  (\w+)\?:", "type ConnectMongoOptions", "};")),
    (
        "connect-mongo",
        Source(
            "connect-mongo/dist/index.d.mts",
            r"^  (?:static )?(\w+)[<(]",
            "declare class MongoStore",
            internal="constructor",
        ),
    ),
    ("connect-mongo", Source("connect-mongo/dist/index.d.mts", r"^declare const (\w+):")),
    (
        "connect-mongodb-session",
        Source("connect-mongodb-session/index.js", r"^  (\w+): \{", "new Archetype({", "compile"),
    ),
    (
        "connect-mongodb-session",
        Source("connect-mongodb-session/index.js", r"^  MongoDBStore\.prototype\.([a-z]\w+) ="),
    ),
    ("MemoryStore and memorystore", Source("memorystore/lib/memorystore.js", r"\boptions\.(\w+)")),
    (
        "MemoryStore and memorystore",
        Source("memorystore/lib/memorystore.js", r"^    (\w+) \(.*\) \{", internal="constructor"),
    ),
]


def words(text: str) -> set[str]:
    """The identifiers within code marks."""
    return set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", f"`{text}`"))))


@pytest.mark.parametrize(("heading", "source"), SOURCES, ids=[f"{heading}: {it.file}" for heading, it in SOURCES])
def test_every_option_and_method_has_its_row(heading: str, source: Source) -> None:
    told = set().union(*(words(row[0]) for row in rows(PAGE, heading)))
    assert source.names() - told == set()


@pytest.mark.parametrize(
    ("heading", "ours"),
    [
        ("Options of express-session", set(OptionsDict.__annotations__)),
        ("Its cookie", set(typing.get_type_hints(sojourn.Cookie))),
    ],
)
def test_what_stands_beside_them_exists(heading: str, ours: set[str]) -> None:
    named = set().union(*(words(row[1]) for row in rows(PAGE, heading)))
    assert named
    assert named - ours == set()


def test_the_differences_are_numbered_and_no_number_is_told_twice() -> None:
    numbers: list[int] = []
    for contract, theirs, here in rows(PAGE, "Where we differ"):
        assert theirs and here
        for part in contract.split(", "):
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= set(range(1, 205))
