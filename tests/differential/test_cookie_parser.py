"""The cookie parser reads and writes what the Node package cookie-parser and Express do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.cookie_parser import CookieParser
from tests.node_peer import Ask, conversing, node_with

pytestmark = pytest.mark.express

PROGRAM: Final = Path(__file__).with_name("cookie_parser.cjs")
SECRETS: Final = ["the newest secret", "an ölder one"]
LARGEST: Final = 2**53 - 1  # beyond it JavaScript's numbers are not exact, and Python's are


@pytest.fixture(scope="module")
def node() -> Iterator[Ask]:
    with conversing([node_with("cookie-parser", "express"), PROGRAM]) as ask:
        yield ask


json_values: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-LARGEST, LARGEST)
    | st.floats(-1e9, 1e9)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "é", "j:"]), inner, max_size=3),
    max_leaves=6,
)
texts = st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "s:", "j:", "s:.", "j:{}", "j:0", "s:a.b", "j:[1", "a.b", "%", "%41", "+", '"', " "]
)
# Little but what matters to a parser, so that its pieces meet.
pieces = st.sampled_from(
    [
        *(
            "a",
            "b",
            "=",
            ";",
            "; ",
            " ",
            "\t",
            '"',
            "%",
            "%41",
            "%C3%A9",
            "%c3",
            "%ED%A0%80",
            "%zz",
            "é",
            ",",
            "\x00",
            "s:",
            "j:",
            ".",
        ),
        *(
            "j:{}",
            "j:0",
            "j:NaN",
            "j:[1]",
            "j:null",
            'j:"x"',
            "j:1e400",
            'j:{"a":1,"a":2}',
            "__proto__",
            "constructor",
            "hasOwnProperty",
        ),
        *(
            CookieParser(secret).write(value, signed=True)
            for secret in [*SECRETS, "another's"]
            for value in ("x", "", {"a": 1}, "j:0", "a.b")
        ),
    ]
)
headers = st.lists(pieces, max_size=12).map("".join) | st.text(st.characters(max_codepoint=0xFF), max_size=30)


def normal(value: Any) -> Any:
    """What JavaScript's JSON makes of it."""
    return json.loads(json.dumps(value), parse_int=float, parse_constant=lambda _: None)


@settings(max_examples=600)
@given(headers, st.sampled_from([None, SECRETS[:1], SECRETS, SECRETS[::-1]]))
def test_a_header_is_read_alike(node: Ask, header: str, secrets: list[str] | None) -> None:
    parser = CookieParser(secrets)
    theirs = node("read", header, secrets)
    assert [normal(part) for part in parser.read(header)] == [normal(part) for part in theirs]
    assert parser.read(header.encode("latin-1")) == parser.read(header)


@settings(max_examples=300)
@given(
    texts
    | st.integers(-LARGEST, LARGEST)
    | st.booleans()
    | st.none()
    | json_values.filter(lambda value: isinstance(value, dict | list)),
    st.booleans(),
)
def test_a_value_is_written_alike_and_read_again(node: Ask, value: Any, signed: bool) -> None:
    parser = CookieParser(SECRETS)
    written = parser.write(value, signed=signed)
    theirs = node("write", value, SECRETS[0], signed)
    ours_read, theirs_read = (parser.read(f"name={text}") for text in (written, theirs))
    assert ours_read == theirs_read
    if not isinstance(value, dict | list):  # JavaScript writes numbers in its own way, and 1.0 as 1
        assert written == theirs
    assert [normal(part) for part in node("read", f"name={written}", SECRETS)] == [normal(part) for part in ours_read]


def test_a_value_by_any_secret_is_read_and_the_first_signs(node: Ask) -> None:
    old = node("write", {"id": 7}, SECRETS[1], True)
    parser = CookieParser(SECRETS)
    assert parser.read(f"user={old}") == ({}, {"user": {"id": 7}})
    assert CookieParser(SECRETS[0]).read(f"user={old}").signed == {"user": False}
    assert node("write", {"id": 7}, SECRETS[0], True) == parser.write({"id": 7}, signed=True)
