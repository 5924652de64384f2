"""What debug pages show, and reports of errors, with all else that is in a frame."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Shown"]


class Shown(Struct, frozen=True, gc=False):
    """It shows neither ids nor data."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
