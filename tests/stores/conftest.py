from __future__ import annotations

import pytest

from sojourn.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
