"""The three-way merge: what each request changed survives the other."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from sojourn.codecs import Members, dumps, is_tagged, loads
from sojourn.core.merge import merge as merge_texts
from sojourn.errors import SessionConflict

# Few keys and few leaves, so that the three trees meet.
keys = st.sampled_from(["a", "b", "c", "$t", "$set"])
leaves = st.sampled_from([None, True, False, 0, 1, 1.0, -1, 2**70, "", "x", "\ud800"])
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
trees = st.dictionaries(keys, values, max_size=4)


def texts(tree: dict[str, Any]) -> Members:
    return {key: Raw(dumps(value)) for key, value in tree.items()}


def merge(base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """`merge` of the texts of these values, as values."""
    three = texts(base), texts(mine), texts(theirs)
    before = copy.copy(three[0]), copy.copy(three[1]), copy.copy(three[2])
    merged = merge_texts(*three, **more)
    assert [list(tree.items()) for tree in three] == [list(tree.items()) for tree in before], "an argument was changed"
    values = {key: loads(bytes(text)) for key, text in merged.items()}
    assert merged == texts(values), "the text is not as it is written"
    return values


def canonical(tree: Any) -> Any:
    """Equal exactly for equal JSON: types count, the order of keys does not."""
    if type(tree) is dict:
        return dict, sorted((key, canonical(value)) for key, value in tree.items())
    if type(tree) is list:
        return list, [canonical(value) for value in tree]
    return type(tree), repr(tree)


def same(one: Any, other: Any) -> bool:
    return repr(canonical(one)) == repr(canonical(other))


@st.composite
def edited(draw: st.DrawFn, tree: dict[str, Any]) -> dict[str, Any]:
    """A tree with a few changes made to it, at any depth."""
    result = copy.deepcopy(tree)
    for _ in range(draw(st.integers(0, 3))):
        place = result
        while inner := [value for value in place.values() if type(value) is dict]:
            if draw(st.booleans()):
                break
            place = draw(st.sampled_from(inner))
        key = draw(keys)
        change: str = draw(st.sampled_from(["set", "delete", "append"]))
        if change == "delete":
            place.pop(key, None)
        elif change == "append" and type(place.get(key)) is list:
            place[key].append(draw(values))
        else:
            place[key] = draw(values)
    return result


threes = trees.flatmap(lambda base: st.tuples(st.just(base), edited(base) | trees, edited(base) | trees))


@given(trees, trees)
def test_what_only_this_request_changed_is_what_it_made(base: dict[str, Any], mine: dict[str, Any]) -> None:
    assert same(merge(base, mine, base), mine)


@given(trees, trees)
def test_what_only_the_other_changed_is_what_it_made(base: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert same(merge(base, base, theirs), theirs)


@given(trees)
def test_where_nothing_changed_nothing_changes(base: dict[str, Any]) -> None:
    assert dumps(merge(base, base, base)) == dumps(base)


def without_lists(tree: Any) -> Any:
    if type(tree) is dict:
        return {key: without_lists(value) for key, value in tree.items()}
    return len(tree) if type(tree) is list else tree


@given(threes)
def test_a_merge_carried_out_twice_is_carried_out_once_but_for_appends(three: tuple[dict[str, Any], ...]) -> None:
    base, mine, theirs = map(without_lists, three)
    merged = merge(base, mine, theirs)
    assert same(merge(base, mine, merged), merged)


def tagged(tree: Any) -> set[str]:
    """All that has the form of a tag below the top level."""
    found: set[str] = set()
    for value in tree.values() if type(tree) is dict else tree if type(tree) is list else ():
        if type(value) is dict and is_tagged(value):
            found.add(repr(canonical(value)))
        found |= tagged(value)
    return found


@given(threes)
def test_a_merge_makes_no_tag(three: tuple[dict[str, Any], ...]) -> None:
    assert tagged(merge(*three)) <= set().union(*map(tagged, three))


@given(threes)
def test_a_merge_is_in_their_order_then_mine(three: tuple[dict[str, Any], ...]) -> None:
    _base, mine, theirs = three
    merged = merge(*three)
    assert list(merged) == [key for key in theirs | mine if key in merged]


@given(threes)
def test_every_top_level_key_that_one_side_alone_changed_is_as_that_side_left_it(
    three: tuple[dict[str, Any], ...],
) -> None:
    base, mine, theirs = three
    merged = merge(*three)
    for key in base | mine | theirs:
        was, my, their, now = ([tree[key]] if key in tree else [] for tree in (*three, merged))
        if same(their, was):
            assert same(now, my)
        elif same(my, was):
            assert same(now, their)


@given(trees, st.dictionaries(st.sampled_from("pqr"), values), st.dictionaries(st.sampled_from("xyz"), values))
@pytest.mark.parametrize("inside", [False, True])
def test_changes_of_different_keys_all_survive(
    inside: bool, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    base = base | {"p": 0, "x": 0}  # so that it is not one key alone, and some keys are overwritten
    together = base | theirs | mine
    if inside:
        assert same(
            merge({"in": {"deep": base}}, {"in": {"deep": base | mine}}, {"in": {"deep": base | theirs}}),
            {"in": {"deep": together}},
        )
    else:
        assert same(merge(base, base | mine, base | theirs), together)


@given(threes)
def test_where_an_exclusive_merge_finds_no_conflict_it_is_the_same_merge(three: tuple[dict[str, Any], ...]) -> None:
    try:
        merged = merge(*three, exclusive=True)
    except SessionConflict:
        base, mine, theirs = three
        assert not same(base, mine)
        assert not same(base, theirs)
        assert not same(mine, theirs)
    else:
        assert same(merged, merge(*three))


@given(st.lists(leaves, max_size=3), st.lists(leaves, max_size=3), st.lists(leaves, max_size=3))
def test_appends_all_survive_theirs_first(base: list[Any], my: list[Any], their: list[Any]) -> None:
    merged = merge({"a": {"l": base}}, {"a": {"l": base + my}}, {"a": {"l": base + their}}, exclusive=True)
    assert same(merged, {"a": {"l": base + their + my}})


numbers = st.integers(-(10**20), 10**20)


@given(st.none() | numbers, st.lists(numbers, min_size=1, max_size=4))
def test_increments_add_up_in_whatever_order_requests_commit(start: int | None, deltas: list[int]) -> None:
    """All requests load the same, then commit one after the other, each merging with what it finds."""
    base = {} if start is None else {"n": start}
    for order in permutations(deltas):
        stored = base
        for delta in order:
            stored = merge(base, {"n": (start or 0) + delta}, stored, increments={"n": delta})
        # Where the sum comes to zero and there was nothing, absent counts as zero.
        assert stored.get("n", 0) == (start or 0) + sum(deltas)


def test_requests_that_follow_each_other_need_no_merge() -> None:
    steps: list[dict[str, Any]] = [{}, {"a": 1}, {"a": 2, "b": []}, {"b": [1]}]
    for before, after in pairwise(steps):
        assert merge(before, after, before) == after


T = {"$set": [1]}
CASES: list[tuple[str, Any, Any, Any, Any, bool]] = [
    # rule, base, mine, theirs, merged, whether an exclusive merge refuses
    ("the later commit wins a leaf", {"a": 1}, {"a": 2}, {"a": 3}, {"a": 2}, True),
    ("the same change is no conflict", {"a": 1}, {"a": 2}, {"a": 2}, {"a": 2}, False),
    ("types are part of a value", {"a": 1}, {"a": 1.0}, {"a": True}, {"a": 1.0}, True),
    ("a change of type alone is a change", {"a": 1}, {"a": True}, {"a": 1}, {"a": True}, False),
    ("null is not absent", {}, {"a": None}, {}, {"a": None}, False),
    ("both deleted", {"a": 1}, {}, {}, {}, False),
    ("mine deleted what was not touched", {"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}, False),
    ("theirs deleted what was not touched", {"a": 1, "b": 1}, {"a": 1, "b": 2}, {"b": 1}, {"b": 2}, False),
    ("mine deleted, theirs changed", {"a": 1}, {}, {"a": 2}, {}, True),
    ("mine changed, theirs deleted", {"a": 1}, {"a": 2}, {}, {"a": 2}, True),
    ("objects by key", {"a": {"x": 1, "y": 1}}, {"a": {"x": 2, "y": 1}}, {"a": {"x": 1}}, {"a": {"x": 2}}, False),
    ("objects both began", {}, {"a": {"x": 1}}, {"a": {"y": 1}}, {"a": {"y": 1, "x": 1}}, False),
    (
        "objects both began from another value",
        {"a": 0},
        {"a": {"x": 1}},
        {"a": {"y": 1}},
        {"a": {"y": 1, "x": 1}},
        False,
    ),
    ("the same leaf in objects both began", {}, {"a": {"x": 1}}, {"a": {"x": 2}}, {"a": {"x": 1}}, True),
    (
        "what was deleted whole stays deleted",
        {"a": {"x": 1, "y": 1}},
        {"a": {"x": 1, "z": 1}},
        {},
        {"a": {"z": 1}},
        False,
    ),
    ("what was changed in it comes back", {"a": {"x": 1, "y": 1}}, {"a": {"x": 2, "y": 1}}, {}, {"a": {"x": 2}}, True),
    ("what was deleted in it does not", {"a": {"x": 1, "y": 1}}, {"a": {"x": 1}}, {}, {}, False),
    ("mine deleted whole what theirs changed inside", {"a": {"x": 1}}, {}, {"a": {"x": 1, "y": 1}}, {}, True),
    ("an object against a leaf", {"a": {"x": 1}}, {"a": {"x": 2}}, {"a": 5}, {"a": {"x": 2}}, True),
    ("a leaf against an object", {"a": {"x": 1}}, {"a": 5}, {"a": {"x": 2}}, {"a": 5}, True),
    ("a tag is a leaf", {"a": T}, {"a": {"$set": [1, 2]}}, {"a": {"$set": [1, 3]}}, {"a": {"$set": [1, 2]}}, True),
    ("a tag against an object", {"a": {"x": 1}}, {"a": T}, {"a": {"x": 2}}, {"a": T}, True),
    ("a tag deleted, and changed", {"a": T}, {"a": {"$set": []}}, {}, {"a": {"$set": []}}, True),
    ("a tag that became an object, deleted", {"a": T}, {"a": {"x": 1}}, {}, {"a": {"x": 1}}, True),
    (
        "a top level of one key is no tag",
        {"$a": 1},
        {"$a": 2, "b": 1},
        {"$a": 1, "c": 1},
        {"$a": 2, "c": 1, "b": 1},
        False,
    ),
    (
        "what would become a tag",
        {"a": {"$set": [1], "x": 1}},
        {"a": {"$set": [1, 2], "x": 1}},
        {"a": {"$set": [1]}},
        {"a": {"$set": [1, 2], "x": 1}},
        True,
    ),
    (
        "what would become a tag of what was deleted",
        {"a": {"x": 1}},
        {"a": {"$set": [1], "x": 1}},
        {},
        {"a": {"$set": [1], "x": 1}},
        True,
    ),
    (
        "what would become a tag though both have more",
        {"a": {"$set": [1], "x": 1, "y": 1}},
        {"a": {"$set": [1], "x": 1}},
        {"a": {"$set": [1], "y": 1}},
        {"a": {"$set": [1], "x": 1}},
        True,
    ),
    ("the same append twice", {"a": [1]}, {"a": [1, 2]}, {"a": [1, 2]}, {"a": [1, 2, 2]}, False),
    ("lists both began", {}, {"a": [1]}, {"a": [2]}, {"a": [2, 1]}, False),
    ("the same list, begun by both", {}, {"a": [1]}, {"a": [1]}, {"a": [1]}, False),
    ("an append against a removal", {"a": [1, 2]}, {"a": [1, 2, 3]}, {"a": [2]}, {"a": [1, 2, 3]}, True),
    ("a removal against an append", {"a": [1, 2]}, {"a": [2]}, {"a": [1, 2, 3]}, {"a": [2]}, True),
    ("an append to a list whose types changed", {"a": [1]}, {"a": [1, 2]}, {"a": [True, 3]}, {"a": [1, 2]}, True),
    ("an append against a deletion", {"a": [1]}, {"a": [1, 2]}, {}, {"a": [1, 2]}, True),
    ("the order of keys is no change", {"a": [{"x": 1, "y": 2}]}, {"a": [{"y": 2, "x": 1}]}, {"a": 5}, {"a": 5}, False),
]


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged", "conflict"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_each_rule_of_merging(base: Any, mine: Any, theirs: Any, merged: Any, conflict: bool) -> None:
    result = merge(base, mine, theirs)
    assert same(result, merged)
    assert list(result) == list(merged)
    if conflict:
        with pytest.raises(SessionConflict):
            merge(base, mine, theirs, exclusive=True)
    else:
        assert same(merge(base, mine, theirs, exclusive=True), merged)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "delta", "merged"),
    [
        ({"n": 5}, {"n": 6}, {"n": 7}, 1, {"n": 8}),
        ({"n": 5}, {"n": 6}, {"n": 7.5}, 1, {"n": 8.5}),
        ({"n": 5}, {"n": 4.5}, {"n": 7}, -0.5, {"n": 6.5}),
        ({"n": 5}, {"n": 6}, {}, 1, {"n": 1}),
        ({}, {"n": 1}, {"n": 1}, 1, {"n": 2}),
        ({"n": 5}, {"n": 6}, {"n": 5}, 1, {"n": 6}),
        ({"n": 5}, {"n": 5}, {"n": 9}, 0, {"n": 9}),
        ({"n": 5}, {"n": 6}, {"n": True}, 1, {"n": 6}),
        ({"n": 5}, {"n": 6}, {"n": "7"}, 1, {"n": 6}),
        ({"n": 5}, {"n": 6}, {"n": None}, 1, {"n": 6}),
        ({"n": 5}, {"n": 6}, {"n": [7]}, 1, {"n": 6}),
        ({"n": 0.0}, {"n": 1e308}, {"n": 1.5e308}, 1e308, {"n": 1e308}),
        ({"n": 5}, {"n": 5.5}, {"n": 10**400}, 0.5, {"n": 5.5}),
    ],
)
@pytest.mark.parametrize("exclusive", [False, True])
def test_an_increment_is_added_to_what_the_other_left_if_that_is_a_number(
    base: Any, mine: Any, theirs: Any, delta: float, merged: Any, exclusive: bool
) -> None:
    assert same(merge(base, mine, theirs, increments={"n": delta}, exclusive=exclusive), merged)


@pytest.mark.parametrize(
    ("base", "mine", "delta"),
    [
        ({"n": 5}, {"n": 101}, 1),
        ({"n": 5}, {"n": 1}, 1),
        ({}, {"n": 101}, 1),
        ({"n": 5}, {"n": 102.5}, 2.5),
        ({"n": 5.5}, {"n": 1}, 1),
        ({"n": "five"}, {"n": 1}, 1),
        ({"n": 5}, {"n": "set"}, 0.5),
        ({"n": 10**400}, {"n": 0.5}, 0.5),
    ],
)
def test_what_was_set_before_it_was_incremented_is_not_lost(base: Any, mine: Any, delta: float) -> None:
    assert merge(base, mine, {"n": 7}, increments={"n": delta}) == mine


@pytest.mark.parametrize("deltas", [[0.1] * 3, [0.1, -0.1], [0.1, 0.2, -0.3]])
def test_an_increment_by_floats_is_one_in_spite_of_their_rounding(deltas: list[float]) -> None:
    mine = {"n": 7.7}
    for delta in deltas:
        mine["n"] += delta
    total = sum(deltas)
    if mine["n"] != 7.7:
        assert merge({"n": 7.7}, mine, {"n": 20}, increments={"n": total})["n"] == 20 + total


def test_increments_are_of_top_level_keys_alone() -> None:
    assert merge({"a": {"n": 1}}, {"a": {"n": 2}}, {"a": {"n": 5}}, increments={"n": 1}) == {"a": {"n": 2}}


def test_a_conflict_shows_no_value() -> None:
    with pytest.raises(SessionConflict) as caught:
        merge({"a": "old"}, {"a": "S3CRET"}, {"a": "S3CRET2"}, exclusive=True)
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize("depth", [700, 100_000])
def test_values_too_deep_to_merge_are_leaves(depth: int) -> None:
    def deep(leaf: bytes) -> Members:
        return {"a": Raw(b'{"a":' * depth + leaf + b"}" * depth), "b": Raw(leaf)}

    base, mine, theirs = deep(b"1"), deep(b"2"), deep(b"3")
    assert merge_texts(base, mine, theirs) == mine
    with pytest.raises(SessionConflict):
        merge_texts(base, mine, theirs, exclusive=True)
    assert merge_texts(base, mine, deep(b"1")) == mine


@pytest.mark.parametrize("text", [b"1e400", b'{"a":NaN}', b"[" * 100_000 + b"]" * 100_000])
def test_a_value_that_cannot_be_decoded_is_merged_where_one_side_alone_changed_it(text: bytes) -> None:
    bad, good, other = Raw(text), Raw(b"1"), Raw(b"2")
    assert merge_texts({"a": bad}, {"a": bad, "b": good}, {"a": bad}) == {"a": bad, "b": good}
    assert merge_texts({"a": bad}, {"a": good}, {"a": bad}) == {"a": good}
    assert merge_texts({"a": bad}, {"a": bad, "b": good}, {"a": good}) == {"a": good, "b": good}
    assert merge_texts({"a": good}, {"a": good, "b": good}, {"a": bad}) == {"a": bad, "b": good}
    assert merge_texts({"a": bad, "b": good}, {"b": good}, {"a": bad, "b": good}) == {"b": good}
    for three in ([bad, good, other], [good, bad, other], [good, other, bad]):  # a leaf: the later commit wins
        base, mine, theirs = ({"a": value} for value in three)
        assert merge_texts(base, mine, theirs) == mine
        with pytest.raises(SessionConflict):
            merge_texts(base, mine, theirs, exclusive=True)


@given(threes)
def test_every_text_that_is_whole_is_the_very_text_of_one_side(three: tuple[dict[str, Any], ...]) -> None:
    base, mine, theirs = map(texts, three)
    merged = merge_texts(base, mine, theirs)
    for key, text in merged.items():
        if same(loads(bytes(text)), loads(bytes(theirs[key])) if key in theirs else KeyError):
            assert text is theirs[key]
        elif same(loads(bytes(text)), loads(bytes(mine[key])) if key in mine else KeyError):
            assert text is mine[key]


@given(trees, trees)
def test_where_nothing_is_to_be_added_to_theirs_it_is_theirs_itself(
    base: dict[str, Any], theirs: dict[str, Any]
) -> None:
    was, their = texts(without_lists(base)), texts(without_lists(theirs))
    assert merge_texts(was, was.copy(), their) is their
    assert merge_texts(was, their.copy(), their) is their
    assert merge_texts(was, was, was) is was


def test_what_another_program_wrote_in_another_way_is_no_change_of_the_value() -> None:
    base, theirs = {"a": Raw(b'{"x":1,"y":"z"}')}, {"a": Raw(b'{ "y": "\\u007a", "x": 1 }')}
    mine = {"a": Raw(b'{"x":1,"y":"z"}')}
    assert merge_texts(base, mine, theirs) is theirs
    assert merge_texts(base, {"a": Raw(b"5")}, theirs, exclusive=True) == {"a": Raw(b"5")}
    assert merge_texts(base, {}, theirs, exclusive=True) == {}


def test_where_a_sum_is_past_what_can_be_written_the_later_commit_wins() -> None:
    longest = 10**4300 - 1
    assert merge({"n": 1}, {"n": 2}, {"n": longest}, increments={"n": 1}) == {"n": 2}
    with pytest.raises(SessionConflict):
        merge({"n": 1}, {"n": 2}, {"n": longest}, increments={"n": 1}, exclusive=True)


def test_a_list_that_both_begin_keeps_the_elements_of_both() -> None:
    assert merge({}, {"log": ["mine"]}, {"log": ["theirs"]}) == {"log": ["theirs", "mine"]}


def test_the_same_list_begun_by_both_is_there_once() -> None:
    assert merge({}, {"roles": ["admin"]}, {"roles": ["admin"]}) == {"roles": ["admin"]}


# -- messages ---------------------------------------------------------------------------------------------------------

queues = st.lists(st.sampled_from([["info", "a"], ["info", "b"], ["error", "a"], 1, True]), max_size=5)
additions = st.lists(st.sampled_from([["info", "c"], ["error", "c"]]), max_size=3)


def counted(messages: list[Any]) -> Counter[bytes]:
    return Counter(map(dumps, messages))


@pytest.mark.parametrize("key", ["_flashes", "_f_", "_f_error"])
@given(data=st.data(), base=queues, i_add=additions, they_add=additions)
def test_messages_that_either_has_taken_are_gone_and_those_that_either_has_added_are_there(
    key: str, data: st.DataObject, base: list[Any], i_add: list[Any], they_add: list[Any]
) -> None:
    texts = sorted(set(map(dumps, base)))
    i_take, they_take = (data.draw(st.sets(st.sampled_from(texts)) if texts else st.just(set())) for _ in range(2))
    mine = [*(message for message in base if dumps(message) not in i_take), *i_add]
    theirs = [*(message for message in base if dumps(message) not in they_take), *they_add]
    three = [{key: queue} if queue else {} for queue in (base, mine, theirs)]
    merged = merge(*three).get(key, [])
    left = [message for message in base if dumps(message) not in i_take | they_take]
    if not base and i_add == they_add:  # the very same list, begun by both
        they_add = []
    assert counted(merged) == counted([*left, *i_add, *they_add])


def test_messages_by_category_are_merged_in_each():
    base = {"flash": {"info": ["a", "b"], "error": ["c"]}}
    mine = {"flash": {"info": ["d"], "error": ["c"]}}
    theirs = {"flash": {"info": ["a", "b", "e"], "warning": ["f"]}}
    assert merge(base, mine, theirs) == {"flash": {"info": ["e", "d"], "warning": ["f"]}}
    assert merge(base, {}, theirs) == {"flash": {"info": ["e"], "warning": ["f"]}}
    assert merge(base, theirs, {}) == {"flash": {"info": ["e"], "warning": ["f"]}}
    assert merge(base, {}, {"flash": {"info": ["a"], "error": ["c"]}}) == {}


def test_a_taker_that_commits_after_an_adder_leaves_the_new_message():
    base = {"_flashes": [["info", "a"]]}
    assert merge(base, {}, {"_flashes": [["info", "a"], ["info", "b"]]}) == {"_flashes": [["info", "b"]]}
    assert merge(base, {"_flashes": [["info", "a"], ["info", "b"]]}, {}) == {"_flashes": [["info", "b"]]}
    assert merge(base, {}, {}) == {}


def test_what_is_no_list_in_the_place_of_messages_is_a_leaf():
    assert merge({"_flashes": 1}, {"_flashes": 2}, {"_flashes": 3}) == {"_flashes": 2}
