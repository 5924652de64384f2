"""Cookies as Express has them, without Node.js; see tests/differential/test_cookie_parser.py."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

import pytest

from sojourn.cookie_parser import CookieParser, Cookies
from sojourn.errors import ConfigurationError


def signed(value: str, secret: str = "one") -> str:
    """As cookie-signature's documentation has it."""
    digest = hmac.digest(secret.encode(), value.encode(), hashlib.sha256)
    return f"s:{value}.{base64.b64encode(digest).decode().rstrip('=')}"


@pytest.mark.parametrize(
    ("header", "plain"),
    [
        (None, {}),
        ("", {}),
        ("=", {}),
        ("a=1; b=2;c = 3 ; a=4; d", {"a": "1", "b": "2", "c": "3"}),
        ("=1;", {"": "1"}),
        ('a="x y"; b="; c=""', {"a": "x y", "b": "", "c": ""}),
        ("a=%C3%A9%20; b=%; c=%C3; d=%zz%41", {"a": "é ", "b": "%", "c": "%C3", "d": "%zz%41"}),
        ("a=b=c; __proto__=1", {"a": "b=c"}),
        (b"a=\xe9", {"a": "é"}),
        ('a=j:{"n":[1]}; b=j:[]; c=j:"x"; d=j:true', {"a": {"n": [1]}, "b": [], "c": "x", "d": True}),
        ('a=j:0; b=j:""; c=j:null; d=j:false; e=j:; f=j:NaN; g=j:{', {"a": "j:0", "b": 'j:""', "c": "j:null", "d": "j:false", "e": "j:", "f": "j:NaN", "g": "j:{"}),
        ("a=j:" + "[" * 100_000, {"a": "j:" + "[" * 100_000}),
        ("a=s:x.y", {"a": "s:x.y"}),
    ],
)  # fmt: skip
def test_a_header_is_read_into_text_and_json(header, plain):
    assert CookieParser().read(header) == Cookies(plain, {})


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (signed("x"), "x"),
        (signed("x", "two"), "x"),
        (signed(""), ""),
        (signed("a.b"), "a.b"),
        (signed('j:{"n":1}'), {"n": 1}),
        (signed("j:0"), "j:0"),
        (signed("x", "three"), False),
        (signed("x")[:-1], False),
        (signed("x") + "=", False),
        ("s:", False),
        ("s:x", False),
        ("s:.", False),
    ],
)
def test_a_signed_cookie_is_read_where_some_secret_signed_it_else_it_is_false(value, read):
    parser = CookieParser(["one", b"two"])
    assert parser.read(f"a={value}; b=1") == Cookies({"b": "1"}, {"a": read})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", ""),
        ("a b;é", "a%20b%3B%C3%A9"),
        (7, "7"),
        (True, "true"),
        (None, "j%3Anull"),
        ({"a": [1, "é"]}, "j%3A%7B%22a%22%3A%5B1%2C%22%C3%A9%22%5D%7D"),
    ],
)
def test_a_value_is_written_percent_encoded_and_signed_by_the_first_secret(value, written):
    parser = CookieParser(["one", "two"])
    assert parser.write(value) == written
    text = CookieParser().read(f"a={written}").plain["a"]
    assert parser.read("a=" + parser.write(value, signed=True)).signed == {"a": text}
    assert CookieParser("two").read("a=" + parser.write(value, signed=True)).signed == {"a": False}


@pytest.mark.parametrize("value", [1.5, b"x", object(), {"a": object()}])
def test_what_is_no_value_of_a_cookie_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        CookieParser().write(value)
    with pytest.raises(ValueError, match="JSON"):
        CookieParser().write([float("nan")])


def test_without_a_secret_nothing_can_be_signed():
    with pytest.raises(TypeError, match="secret"):
        CookieParser().write("x", signed=True)


@pytest.mark.parametrize("secret", ["", [], [""], 7, ["a", None]])
def test_a_secret_that_is_none_is_refused(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        CookieParser(secret)


def test_a_parser_shows_no_secret():
    assert repr(CookieParser(["hunter2", "b"])) == "CookieParser(2 secrets)"


@pytest.mark.parametrize("piece", ["a=1;", "%41", '"', "s:x.y;b=", "=;", ";", "a=s:" + "." * 60 + ";", "j:["])
def test_the_work_grows_with_the_header_and_no_faster(piece):
    parser = CookieParser(["one", "two"])

    def cost(size: int) -> int:
        header = ("a=" + piece * size)[:size]
        costs = []
        for _ in range(3):
            began = time.thread_time_ns()
            parser.read(header)
            costs.append(time.thread_time_ns() - began)
        return min(costs)

    # Sixteen times the header: about 16 if the work is linear, 256 if it is quadratic.
    assert cost(65_536) < 80 * max(cost(4_096), 50_000)
