"""What debug pages show of what is in a frame."""

from __future__ import annotations

import pytest

from sojourn.core.plan import Plan, Touch
from sojourn.core.state import Loaded, Owed
from sojourn.core.store import Stored
from sojourn.wire.signing import Verified


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (Verified("the id", needs_resigning=False), "<Verified>"),
        (Touch("the key", 1), "<Touch>"),
        (Plan(header=("Set-Cookie", "sid=the id")), "<Plan>"),
        (Owed(("Set-Cookie", "sid=the id"), expires=False, at=0), "<Owed>"),
        (Loaded("the key", Stored(b"the data", b"1", None)), "<Loaded>"),
    ],
)
def test_neither_ids_nor_data_are_in_a_repr(shown: object, text: str) -> None:
    assert repr(shown) == text
