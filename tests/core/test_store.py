"""What the store contract's values are to those who ask a store."""

from __future__ import annotations

import pytest

from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Replaced, Stored, check_size
from sojourn.errors import SessionTooLarge


@pytest.mark.parametrize("refusal", [MISSING, CONFLICT, EXISTS, Replaced("successor"), Replaced(None)])
def test_what_is_no_success_and_no_record_is_falsy(refusal):
    assert not refusal


@pytest.mark.parametrize("found", [Stored(b"", None, None), Stored(b"x", 1, 0)])
def test_a_record_is_truthy_whatever_is_in_it(found):
    assert found


def test_what_a_delete_returns_is_how_many_and_what_follows():
    count, successors = Deleted(2, ("a", "b"))
    assert (count, successors) == (2, ("a", "b"))
    assert Deleted(2, ("a",)).count == 2


@pytest.mark.parametrize(("size", "fits"), [(0, True), (10, True), (11, False)])
def test_a_record_larger_than_the_store_takes_is_refused_before_it_is_sent(size, fits):
    if fits:
        check_size(b"x" * size, 10)
    else:
        with pytest.raises(SessionTooLarge) as caught:
            check_size(b"x" * size, 10)
        assert (caught.value.size, caught.value.limit) == (size, 10)
