from __future__ import annotations

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from sojourn.ids import hash_id, mask_id, new_id


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
