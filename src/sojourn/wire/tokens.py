"""What a name in a header may consist of."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_token"]

is_token: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII).fullmatch
"""Whether it is a token (RFC 9110, section 5.6.2): the name of a header, or of a cookie (RFC 6265, section 4.1.1)."""
