"""How the ids of one request came, and so how their session's id is sent back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..transports import CookieTransport, FormTransport, OldCookieTransport, QueryTransport, Transport

__all__ = ["IdSource"]


class IdSource(NamedTuple):
    """The transports of one request's ids. Only kept where they may come otherwise than by cookie."""

    usual: Transport | None
    """What carries a new id: the first transport that this request made use of, else the first configured. None: the app does."""
    by_id: Mapping[str, Transport]
    """For each id that came, the transport it came by."""

    def carrier(self, came_as: str | None) -> Transport | None:
        """What carries the session's id back: the transport that its own id came by, as the client understands that."""
        if came_as is None:
            return self.usual
        if self.is_old(came_as):  # by a cookie, from a browser
            return CookieTransport()
        if self.is_borrowed(came_as):
            return self.usual
        return self.by_id[came_as]

    def is_borrowed(self, came_as: str | None) -> bool:
        """Whether the id came read-only. Such an id is never written into a cookie or header: it may be a link that somebody sent."""
        borrowed = QueryTransport | FormTransport | OldCookieTransport
        return came_as is not None and isinstance(self.by_id[came_as], borrowed)

    def is_old(self, came_as: str) -> bool:
        """Whether the id came by another library's cookie. It is to be changed at once: it may be unsigned, and planted."""
        return isinstance(self.by_id[came_as], OldCookieTransport)
