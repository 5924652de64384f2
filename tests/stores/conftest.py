from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from sojourn.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Let threads change places as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
