"""The store contract, where authors of stores look for it; it is defined in `sojourn.core.store`."""

from __future__ import annotations

from ..core import store
from ..core.store import *  # noqa: F403
from ..ids import check_key, check_owner

__all__ = ["check_key", "check_owner"]
__all__ += store.__all__
