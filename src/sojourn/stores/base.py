"""The store contract, where authors of stores look for it; it is defined in `sojourn.core.store`."""

from __future__ import annotations

from ..core import store
from ..core.store import *  # noqa: F403

__all__ = store.__all__
