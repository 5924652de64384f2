from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.ids import LONGEST_KEY, LONGEST_OWNER, check_key, check_owner, hash_id, mask_id, new_id


def test_an_id_is_256_random_bits_in_url_safe_characters():
    drawn = {new_id() for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", one) for one in drawn)
    assert {character for one in drawn for character in one} >= set("azAZ09-_")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_an_ids_name_in_the_store_is_its_sha256(session_id):
    assert hash_id(session_id) == hashlib.sha256(session_id.encode()).hexdigest()


@given(st.text())
def test_any_text_has_a_name_in_the_store(session_id):
    assert re.fullmatch(r"[0-9a-f]{64}", hash_id(session_id))


@given(st.text(min_size=9))
def test_a_mask_finds_the_row_and_does_not_show_the_id(session_id):
    shown = mask_id(session_id)
    assert shown.endswith("…")
    assert hash_id(session_id).startswith(shown[:-1])
    assert session_id not in shown


class Text(str):
    """A str of the application's own."""

    __slots__ = ()


@pytest.mark.parametrize("check", [check_key, check_owner])
@pytest.mark.parametrize(
    "text", ["a", " ", "\x01", "$gt", "\u4f1a\u8a71", "\U0001f36a", "\ufeff", Text("ann"), Text("\u00e9")]
)
def test_any_text_that_every_store_can_hold_names_a_record_or_an_owner(check, text):
    check(text)


@pytest.mark.parametrize(("check", "longest"), [(check_key, LONGEST_KEY), (check_owner, LONGEST_OWNER)])
def test_a_name_is_as_long_as_every_store_can_hold_in_bytes(check, longest):
    for character in "a\u00e9\u4f1a":
        most = longest // len(character.encode())
        check(character * most)
        with pytest.raises(ValueError, match=f"at most {longest} bytes"):
            check(character * (most + 1))


class Shown:
    def __repr__(self) -> str:
        raise AssertionError("it is shown")

    __str__ = __repr__


@pytest.mark.parametrize(
    ("check", "what"), [(check_key, "a key must be a non-empty str"), (check_owner, "an owner must be a non-empty str")]
)
@pytest.mark.parametrize("given", [None, b"ann", 5, True, {"$gt": ""}, ["ann"], ("ann",), Shown()])
def test_what_is_no_text_is_refused_by_its_type_and_never_shown(check: Any, what: str, given: Any):
    with pytest.raises(TypeError) as refused:
        check(given)
    assert str(refused.value) == f"{what}, not {type(given).__name__}"


@pytest.mark.parametrize("check", [check_key, check_owner])
def test_an_empty_text_is_refused_like_what_is_none(check):
    for empty in ("", Text()):
        with pytest.raises(TypeError, match="non-empty str, not an empty one"):
            check(empty)


@pytest.mark.parametrize("check", [check_key, check_owner])
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("secret\0", "U+0000, which PostgreSQL cannot hold"),
        ("secret\u4f1a\0", "U+0000, which PostgreSQL cannot hold"),
        ("secret\ud800", "a lone surrogate, which has no UTF-8"),
        ("\udfff" + "secret" * 1000, "a lone surrogate, which has no UTF-8"),
    ],
)
def test_what_some_store_cannot_hold_is_refused_with_the_reason_and_never_shown(check, given, reason):
    with pytest.raises(ValueError) as refused:
        check(given)
    assert reason in str(refused.value) and "secret" not in str(refused.value)
    assert refused.value.__context__ is None
