"""Values through both sides: each comes out as it went in, or is refused with an error that says where it is."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interop.peers import PEERS, Peer
from tests.interop.sites import Browser, Pair, Refused, Site, World

pytestmark = [pytest.mark.server, pytest.mark.express]


@pytest.fixture
def colour(peer: Peer) -> str:
    """Each store in one of the colours, as what holds values has none."""
    return ["async", "sync"][list(PEERS.values()).index(peer) % 2]


EXACT: Final = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""

# Names that mean something to JavaScript, JSON, BSON, MongoDB or either side's session.
NAMES: Final = [
    "__proto__", "constructor", "prototype", "toString", "valueOf", "hasOwnProperty", "toJSON", "toBSON", "then", "length",
    "cookie", "id", "req", "save", "__sojourn__", "_id", "$ref", "$id", "$db", "$set", "$date", "$oid",
    "$numberLong", "$datetime", "$dict", "$", "", ".", "a.b", "0", "01", "-1", "10", "é", "😀", "\u2028", "\x7f", '"', "\\",
]  # fmt: skip


def nested(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


VALUES: Final[dict[str, Any]] = {
    "integers": [0, 1, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**32, EXACT, -EXACT],
    "floats": [0.5, -1.25, 0.1, 1e-7, 5e-324, 1.7976931348623157e308, 123456789.123456789, 1e16, 1e21, 1e300, 2.0**53],
    "whole floats": [1.0, -2.0, 1e6, 2.0**31, 2.0**40],
    "text": ["", " ", "é", "😀", "a\u2028b\u2029", "\ufeff", "\uffff", "".join(map(chr, range(128))), "</script>", "x" * 9999],
    "text that looks like something else": ["2026-01-02T03:04:05.006Z", "null", "1", "[]", "0123456789abcdef01234567"],
    "constants": [None, True, False],
    "empty": [{}, [], [[]], [{}], {"": {}}, {"a": []}, [None]],
    "names": {name: {name: [name]} for name in NAMES},
    "like a tag": [
        {"$date": "2026-01-02"}, {"$oid": "0123456789abcdef01234567"}, {"$ref": "#/a"}, {"$ref": "a", "$id": None},
        {"$id": 1}, {"$numberLong": "1"}, {"$set": {"a": 1}}, {"$datetime": "x"}, {"$dict": {"$set": [1]}},
        {"_bsontype": None},
    ],
    "deep": nested(97),
}  # fmt: skip
JSON_ALONE: Final[dict[str, Any]] = {
    "lone surrogates": ["\ud800", "a\udfffb", "\udc00\ud800"],
    "names with U+0000": {"a\0b": 1},
    "names with lone surrogates": {"\ud800": 1},
    "like a class of BSON's": {"_bsontype": "ObjectId", "id": "x"},
    "lists of objects under the names of every object": {"constructor": [{"name": "x"}], "toString": [[{}]]},
    "like a reference": {"$ref": "a", "$id": {"x": 1}, "$db": "d"},
    "deeper": nested(198),
}
"""What lies in stores of JSON alone."""


def assert_agreed(pair: Pair, browser: Browser, first: str, values: dict[str, Any]) -> None:
    """What the one side stores is the same on the other, and stays so while both save."""
    same = [["same", [name], value] for name, value in values.items()]

    def assert_same(site: Site, *more: list[Any]) -> None:
        assert browser.visit(site, *same, *more).answers[: len(same)] == [True] * len(same)

    site, other = pair[first], pair.other(pair[first])
    browser.visit(site, *(["set", [name], value] for name, value in values.items()))
    for turn in range(2):
        assert_same(other, ["set", ["saved by the other"], turn])
        assert_same(site, ["set", ["saved"], turn])


@pytest.mark.parametrize("first", ["express", "python"])
def test_json_of_every_kind_is_the_same_on_both_sides(first: str, pair: Pair, browser: Browser):
    assert_agreed(pair, browser, first, VALUES)


@pytest.mark.parametrize("first", ["express", "python"])
def test_stores_of_json_hold_what_bson_or_nodes_driver_has_another_meaning_for(
    first: str, pair: Pair, browser: Browser
):
    if not pair.peer.is_bson:
        assert_agreed(pair, browser, first, JSON_ALONE)
        return
    browser.visit(pair[first], ["set", ["kept"], True])
    for value in JSON_ALONE.values():
        with pytest.raises(Refused, match=r"^SessionEncodeError: session value at v\b"):
            browser.visit(pair.python, ["set", ["v"], value])
    for site in pair.both:
        assert browser.visit(site).data == {"kept": True}


# Any values.

DROPPED: Final = {
    "req", "id", "touch", "resetMaxAge", "save", "reload", "destroy", "regenerate", "__proto__", "constructor",
    "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
    "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
}  # fmt: skip
"""Names that Express drops at the top level."""


def _paired(text: str) -> str:
    """With each pair of surrogates as the one character that JSON cannot tell it from."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def trees(*, bson: bool) -> st.SearchStrategy[Any]:
    """JSON values that the store holds."""
    text = st.text() if bson else st.text(st.characters(exclude_categories=())).map(_paired)
    # Those that JSON_ALONE is about are left out.
    special = sorted({*NAMES} - DROPPED - {"$ref"}) if bson else [*NAMES, "_bsontype"]
    names = st.one_of(text.filter(lambda name: "\0" not in name) if bson else text, st.sampled_from(special))
    # JSON.stringify has no minus zero
    floats = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
    leaves = st.none() | st.booleans() | st.integers(-EXACT, EXACT) | floats | text
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )


def data(*, bson: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Whole sessions."""
    text = st.text(max_size=8).filter(lambda name: "\0" not in name)
    taken = DROPPED | {"cookie", "__sojourn__", "$ref"}
    names = st.one_of(text, st.sampled_from(NAMES)).filter(lambda name: name not in taken)
    return st.dictionaries(names, trees(bson=bson), min_size=1, max_size=10)


@pytest.mark.parametrize("first", ["express", "python"])
def test_any_json_is_the_same_on_both_sides(first: str, pair: Pair, world: World):
    @settings(max_examples=5, deadline=None)
    @given(values=data(bson=pair.peer.is_bson))
    def check(values: dict[str, Any]) -> None:
        assert_agreed(pair, world.browser(), first, values)

    check()


# What Python has and the other side has not.

REFUSED: Final = {
    "2**53": "beyond 9007199254740991",
    "-(2**53)": "beyond 9007199254740991",
    "10**400": "beyond 9007199254740991",
    "float('nan')": "NaN",
    "float('-inf')": "infinity",
    "b'x'": "bytes",
    "(1, 2)": "tuple",
    "{1}": "set",
    "{1: 2}": "key of type int",
    "Decimal('1.0')": "Decimal",
    "UUID(int=1)": "UUID",
    "datetime(2026, 1, 2)": "datetime",
    "date(2026, 1, 2)": "date",
}
"""Expressions of Python, and what is said about their values."""


def test_what_the_other_side_cannot_hold_is_refused_by_the_path_to_it(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["set", ["v"], {"in": [0]}])
    for source, reason in REFUSED.items():
        with pytest.raises(Refused, match=rf"^SessionEncodeError: session value at v\.in\[0\]: .*{reason}"):
            browser.visit(pair.python, ["set", ["lost"], True], ["python", ["v", "in", 0], source])
    for site in pair.both:
        assert browser.visit(site).data == {"v": {"in": [0]}}


def test_what_is_nested_too_deeply_to_be_written_is_refused(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["set", ["v"], 0])
    for operation in (["set", ["v"], nested(201)], ["python", ["v"], "(lambda a: a.append(a) or a)([])"]):
        with pytest.raises(Refused, match=r"^SessionEncodeError: session value at v.*: nested too deeply"):
            browser.visit(pair.python, operation)
    assert browser.visit(pair.express).data == {"v": 0}


def test_the_names_that_express_drops_are_refused_and_named(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["set", ["n"], 1])
    dropped = set(browser.visit(pair.express, ["dropped"]).answers[0])
    assert dropped - {"cookie", "__sojourn__", "n"} == DROPPED
    for name in sorted({*dropped, "cookie", "__sojourn__"} - {"n"}):
        with pytest.raises(Refused, match=f"^SessionEncodeError: session value at {name}: "):
            browser.visit(pair.python, ["set", [name], 1])
    for site in pair.both:
        assert browser.visit(site).data == {"n": 1}


def test_a_name_that_express_drops_is_dropped_from_a_row_by_both(pair: Pair, browser: Browser):
    seen = browser.visit(pair.express, ["set", ["n"], {"save": 1}])
    tree = pair.row(seen).tree | dict.fromkeys(DROPPED, "planted")
    pair.rows.write(seen.id, tree if pair.peer.is_bson else json.dumps(tree))
    for site in pair.both[::-1]:
        assert browser.visit(site).data == {"n": {"save": 1}}
    browser.visit(pair.python, ["set", ["saved"], 1])
    assert DROPPED.isdisjoint(pair.row(seen).tree)


# What JavaScript has and JSON has not.


def test_numbers_beyond_the_exact_integers_come_as_floats_and_go_as_they_came(pair: Pair, browser: Browser):
    numbers = [2.0**53, 2.0**53 + 2, -1e16, 12345678901234567890.0, 1e21, 1e300]
    browser.visit(pair.express, ["set", ["v"], numbers])
    assert browser.visit(pair.python, ["is_python", ["v"], repr(numbers)], ["set", ["saved"], 1]).answers[0] is True
    assert browser.visit(pair.express, ["same", ["v"], numbers]).answers[0] is True


def test_minus_zero_is_what_express_makes_of_it(pair: Pair, browser: Browser):
    browser.visit(pair.express, ["js", ["v"], "-0"])
    kept = "-0.0" if pair.peer.is_bson else "0"  # JSON.stringify has none
    assert browser.visit(pair.python, ["is_python", ["v"], kept], ["set", ["saved"], 1]).answers[0] is True
    assert browser.visit(pair.express, ["is_js", ["v"], "-0" if pair.peer.is_bson else "0"]).answers[0] is True
    browser.visit(pair.python, ["python", ["v"], "-0.0"])
    assert browser.visit(pair.express, ["is_js", ["v"], "-0"]).answers[0] is True


ISO: Final = "2026-01-02T03:04:05.006Z"
DATE: Final = f"new Date({ISO!r})"


def test_a_date_of_express_is_read_as_its_text_and_stays_the_date_it_is_where_the_store_has_dates(
    pair: Pair, browser: Browser
):
    kept = DATE if pair.peer.is_bson else repr(ISO)
    browser.visit(pair.express, ["js", ["at"], DATE], ["js", ["in"], f"{{list: [{DATE}, {{at: {DATE}}}]}}"])
    seen = browser.visit(pair.python, ["set", ["saved"], 1], ["append", ["in", "list"], "more"])
    assert seen.data == {"at": ISO, "in": {"list": [ISO, {"at": ISO}, "more"]}, "saved": 1}
    whole = f"{{list: [{kept}, {{at: {kept}}}, 'more']}}"
    assert browser.visit(pair.express, ["is_js", ["at"], kept], ["is_js", ["in"], whole]).answers[:2] == [True, True]
    browser.visit(pair.python, ["regenerate_keeping"])
    assert browser.visit(pair.express, ["is_js", ["at"], kept], ["is_js", ["in"], whole]).answers[:2] == [True, True]


def test_a_date_of_express_outlives_a_merge(pair: Pair, browser: Browser):
    browser.visit(pair.express, ["js", ["at"], DATE])
    meanwhile = ["meanwhile", pair.express.url(), [["js", ["later"], DATE]]]
    assert browser.visit(pair.python, ["set", ["mine"], 1], meanwhile).data == {"at": ISO, "mine": 1}
    kept = DATE if pair.peer.is_bson else repr(ISO)
    seen = browser.visit(pair.express, ["is_js", ["at"], kept], ["is_js", ["later"], kept])
    assert seen.answers[:2] == [True, True]
    assert seen.data == {"at": ISO, "later": ISO, "mine": 1}


def test_a_python_date_is_text_to_express_if_the_codec_says_so(peer: Peer, colour: str, world: World, browser: Browser):
    pair = world.pair(peer, colour, python={"codec": "dates"})
    browser.visit(pair.python, ["python", ["at"], "datetime(2026, 1, 2, 4, 4, 5, 6789, timezone(timedelta(hours=1)))"])
    assert browser.visit(pair.express, ["is_js", ["at"], repr(ISO)]).answers[0] is True
    assert browser.visit(pair.python).data == {"at": ISO}


def test_what_javascript_leaves_out_of_json_is_not_there(pair: Pair, browser: Browser):
    lost = "{a: undefined, b: NaN, c: [NaN, Infinity], d: new Map([['1', 2]])}"
    browser.visit(pair.express, ["js", ["v"], lost])
    seen = browser.visit(pair.python, ["set", ["saved"], 1]).data["v"]
    # BSON has neither undefined, which Node's driver makes null, nor maps, which it makes documents.
    assert seen == {"b": None, "c": [None, None], "d": {}} | ({"a": None, "d": {"1": 2}} if pair.peer.is_bson else {})
    after = (
        "{a: null, b: NaN, c: [NaN, Infinity], d: {1: 2}}" if pair.peer.is_bson else "{b: null, c: [null, null], d: {}}"
    )
    assert browser.visit(pair.express, ["is_js", ["v"], after]).answers[0] is True


def test_what_express_nested_deeper_than_we_write_is_read_carried_over_and_removed_but_not_changed(
    pair: Pair, browser: Browser
):
    if pair.peer.is_bson:
        return  # MongoDB holds 100 levels
    values = {"deep": nested(300), "n": 1}
    browser.visit(pair.express, *(["set", [name], value] for name, value in values.items()))
    assert browser.visit(pair.python).data == values
    browser.visit(pair.python, ["set", ["n"], 2])
    assert browser.visit(pair.express).data == values | {"n": 2}
    with pytest.raises(Refused, match=r"^SessionEncodeError: session value at deep.*: nested too deeply"):
        browser.visit(pair.python, ["set", ["deep"], nested(301)])
    assert browser.visit(pair.express).data == values | {"n": 2}
    browser.visit(pair.python, ["set", ["n"], 3], ["delete", ["deep"]])
    assert browser.visit(pair.express).data == {"n": 3}


@pytest.mark.parametrize("peer", [PEERS["connect-redis"]], ids=["connect-redis"])
def test_so_it_is_with_numbers_in_it_that_javascript_writes_in_another_way(pair: Pair, browser: Browser):
    browser.visit(pair.express, ["set", ["deep"], nested(300)], ["set", ["large"], 1e16])
    assert browser.visit(pair.python).data == {"deep": nested(300), "large": 1e16}


@pytest.mark.parametrize(
    "peer", [peer for peer in PEERS.values() if peer.is_bson], ids=lambda peer: peer.python["collection"]
)
def test_bytes_that_express_keeps_in_bson_make_the_session_unreadable_here_and_are_left_alone(
    pair: Pair, browser: Browser, world: World, colour: str
):
    session = browser.visit(pair.express, ["js", ["v"], "Buffer.from('x')"], ["set", ["user"], "ann"]).id
    world.logged(colour)
    seen = browser.visit(pair.python)
    assert seen.data == {}
    assert not seen.set_cookies
    assert any("cannot be read" in line and session not in line for line in world.logged(colour))
    back = browser.visit(pair.express)
    assert (back.id, back.data["user"]) == (session, "ann")
