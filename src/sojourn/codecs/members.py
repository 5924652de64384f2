r"""A JSON object as its members, each still text: what is not looked at need not be decoded, nor encoded anew.

Theory of operation
-------------------
msgspec takes an object apart in one pass that decodes nothing but the keys, and checks the syntax of all the rest. It gives up where
containers are nested deeper than the interpreter goes, and at a lone surrogate (``\ud800``), which JavaScript's strings may hold. Such
text goes through `_walk`: slowly, but to any depth. Both accept the same text, which is valid JSON, and of several members with one name
keep the last, as every JSON reader does.

A member shares the memory of the text that it was cut from: copy what is to outlive that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from ..errors import SessionDecodeError
from .text import dumps, loads, write_json

__all__ = ["Members", "join", "split"]

Members: TypeAlias = dict[str, Raw]
"""The values of an object as text, by their names, in order."""

_split: Final = msgspec.json.Decoder(Members).decode
_MALFORMED: Final = "the record is not valid JSON"
_NO_OBJECT: Final = "the record is not a JSON object"

# A possessive group stops in the midst of what it cannot match, before Python 3.11.5; within a string that is never where one may end.
_token: Final = re.compile(
    rb"""[ \t\r\n]*+
    ( [\[\]{}:,]
    | " (?: [^"\\\x00-\x1f]++ | \\(?: ["\\/bfnrt] | u[0-9a-fA-F]{4} ) )*+ "
    | (?: true | false | null | -?+ (?: 0 | [1-9][0-9]*+ ) (?: \.[0-9]++ )? (?: [eE][+-]?+[0-9]++ )? ) (?! [0-9A-Za-z.+-] )
    )""",
    re.VERBOSE,
).match
_STEPS: Final = {
    ("object", "{"): "key or }",
    ("key", '"'): ":",
    (":", ":"): "value",
    ("in {", ","): "key",
    ("in {", "}"): "done",
    ("in [", ","): "value",
    ("in [", "]"): "done",
    ("value", '"'): "done",
    ("value", "0"): "done",
    ("value", "{"): "key or }",
    ("value", "["): "value or ]",
}
"""What is wanted next, by what was wanted and what came: a mark, a string, or (as "0") another scalar."""
_MARKS: Final = frozenset('{}[],:"')
_FIRST: Final = {("key or }", "}"): "done", ("value or ]", "]"): "done"}


def split(text: bytes) -> Members:
    """Take a JSON object apart.

    Raises:
        SessionDecodeError: it is no JSON object, or no UTF-8. The text itself is in neither message nor cause.
    """
    try:
        if not text.isascii():
            text.decode()  # msgspec looks at the keys alone
        return _split(text)
    except UnicodeDecodeError:
        raise SessionDecodeError(_MALFORMED) from None
    except msgspec.ValidationError:
        raise SessionDecodeError(_NO_OBJECT) from None
    except (msgspec.DecodeError, RecursionError):
        return _walk(text)


def join(members: Mapping[str, Any]) -> bytes:
    """The object of these members, compact. Those that are no text yet are JSON values."""
    try:
        return write_json(members)
    except UnicodeEncodeError:  # a lone surrogate
        pairs = ((dumps(name), bytes(value) if type(value) is Raw else dumps(value)) for name, value in members.items())
        return b"{%b}" % b",".join(b"%b:%b" % pair for pair in pairs)


def _walk(text: bytes) -> Members:
    """`split` without recursion: an automaton that knows which containers are open, and what is wanted next."""
    members: Members = {}
    opened: list[str] = []
    name, begin, at, wanted = "", 0, 0, "object"
    while wanted != "done":
        token = _token(text, at)
        came = "" if token is None else token[1][:1].decode()
        if came not in _MARKS:
            came = "0"
        step = _FIRST.get((wanted, came)) or _STEPS.get((wanted.partition(" or ")[0], came))
        if token is None or step is None:
            raise SessionDecodeError(_MALFORMED if opened else _NO_OBJECT)
        at = token.end()
        if len(opened) == 1 and step == ":":
            name = loads(token[1])
        elif len(opened) == 1 and wanted == "value":
            begin = token.start(1)
        if came in "{[":
            opened.append(came)
        elif came in "}]":
            opened.pop()
        if step == "done" and opened:
            if len(opened) == 1:
                members[name] = Raw(text[begin:at])
            step = f"in {opened[-1]}"
        wanted = step
    if text[at:].strip(b" \t\r\n"):
        raise SessionDecodeError(_MALFORMED)
    return members
