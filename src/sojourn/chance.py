"""Random numbers that guard no secret: how long to pause, and what tells two writes apart.

They come from a generator of our own. An application may seed `random`, for each request even, as simulations and tests do: that must
not give two writes the same number, nor may ours change the numbers that it draws.
"""

from __future__ import annotations

import os
import random
from typing import Final

__all__ = ["chance"]

chance: Final = random.Random()  # noqa: S311 - it guards nothing
# Without this, two workers would draw the same numbers. Where nothing forks, there is no such function.
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=chance.seed)
