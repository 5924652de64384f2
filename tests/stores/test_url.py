"""What the options of every store have in common: what each may be, and what is said if it is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from sojourn.errors import ConfigurationError
from sojourn.stores import _url
from sojourn.stores.memory.store import MemoryStore
from sojourn.stores.sqlite.store import SQLiteStore


def now() -> int:
    return 0


@pytest.mark.parametrize(
    ("convert", "given", "value"),
    [
        (_url.text, "", ""),
        (_url.text, "1", "1"),
        (_url.boolean, "true", True),
        (_url.boolean, "false", False),
        (_url.integer, "0", 0),
        (_url.integer, "007", 7),
        (_url.positive, "1", 1),
        (_url.seconds, "0", 0.0),
        (_url.seconds, "2.5", 2.5),
        (_url.duration, "0.001", 0.001),
        (_url.check_flag, False, False),
        (_url.check_positive, 5, 5),
        (_url.check_seconds, 2, 2.0),
        (_url.check_seconds, timedelta(minutes=1), 60.0),
    ],
)
def test_an_option_is_what_its_text_or_argument_says(convert: Callable[[str, Any], Any], given: Any, value: Any):
    found = convert("name", given)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("convert", "given", "says"),
    [
        (_url.boolean, "True", "name: got 'True'; give true or false"),
        (_url.boolean, "", "name: got ''; give true or false"),
        (_url.integer, "-1", "name: got '-1'; give a whole number"),
        (_url.integer, "\u0661", "name: got '\u0661'; give a whole number"),
        (_url.positive, "0", "name: got 0; give a whole number, at least 1"),
        (_url.positive, "many", "name: got 'many'; give a whole number, at least 1"),
        (_url.seconds, "soon", "name: got 'soon'; give a number of seconds"),
        (_url.duration, "soon", "name: got 'soon'; give a number of seconds"),
        (_url.duration, "0", "name: got 0.0; give a duration above zero"),
        (_url.duration, "nan", "name: got nan; give a duration from 0 to 400 years"),
        (_url.check_flag, 1, "name: got 1; give True or False"),
        (_url.check_positive, True, "name: got True; give a whole number, at least 1"),
        (_url.check_positive, "1", "name: got '1'; give a whole number, at least 1"),
        (_url.check_seconds, timedelta(0), "name: got datetime.timedelta(0); give a duration above zero"),
        (_url.check_seconds, "1", "name: got '1'; give a timedelta or a number of seconds"),
        (partial(_url.check_seconds, none="never"), 0, "name: got 0; give a duration above zero, or None for never"),
    ],
)
def test_an_option_that_is_not_what_it_may_be_is_refused(convert: Callable[[str, Any], Any], given: Any, says: str):
    with pytest.raises(ConfigurationError) as refused:
        convert("name", given)
    assert str(refused.value) == says


def test_a_clock_is_a_function():
    assert _url.check_clock(now) is now
    with pytest.raises(ConfigurationError, match="clock: got int; give a function that returns milliseconds"):
        _url.check_clock(0)  # type: ignore[arg-type]


def test_a_query_holds_known_options_alone():
    known = {"a": _url.integer, "b": _url.text}
    assert _url.parse_query("x", "a=1&b=&a=2&b=%26", known) == {"a": 2, "b": "&"}
    assert _url.parse_query("x", "", known) == {}
    with pytest.raises(ConfigurationError, match="store: got option 'c'; x:// has the options a, b"):
        _url.parse_query("x", "a=1&c=", known)


@pytest.mark.parametrize("url", ["memory://?colour=red", "sqlite:///s.db?colour=red"])
def test_a_store_says_which_options_its_url_has(url: str):
    make: Any = MemoryStore if url.startswith("memory") else SQLiteStore
    with pytest.raises(ConfigurationError, match=r"option 'colour'.*max_size"):
        make.from_url(url)
