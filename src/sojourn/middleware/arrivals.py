"""What a request brings by cookie, worked out once for each ``Cookie`` header: a browser sends the same one with every request.

What is kept is bounded in bytes, and says of a header only that its signatures are right, and which ids these are. Whether such a
session lives, the store is asked each time. A header with no rightly signed id is never kept, so that junk takes no place from others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from ..cookie import Cookie
from ..core.settings import SessionSettings
from ..core.state import Arrival
from ..options import Request
from ..wire.id_source import IdSource
from ..wire.request import MOST_LOOKUPS, Ids, RequestReader
from ..wire.signing import Verified

__all__ = ["Arrivals"]

_BESIDE: Final = 1024
"""Bytes that are reckoned for what is kept beside a header: three objects, an id, a key, and their places."""


class Arrivals:
    """Makes `Arrival` values, and keeps those that will be asked for again.

    Args:
        reader: how requests are read.
        settings: what names the sessions.
        size: how many bytes to keep; 0 for none.
    """

    __slots__ = ("_keeps", "_key_of", "_left", "_lock", "_reader", "known")

    known: tuple[dict[bytes | None, Arrival], dict[bytes | None, Arrival]]
    """By header, over http and https: under another scheme the cookie may have another name. None is a request without the header.
    Both are empty where what a request brings depends on more than that."""

    def __init__(self, reader: RequestReader, settings: SessionSettings, size: int) -> None:
        self._reader = reader
        self._key_of = settings.key_of
        self.known = {}, {}
        cookie = settings.options.cookie
        depends_on_request = settings.keeps_request or not isinstance(cookie, Cookie)
        if isinstance(cookie, Cookie) and not depends_on_request:
            for secure in (False, True):
                self.known[secure][None] = Arrival(cookie, secure)
        self._keeps = size > 0 and not depends_on_request
        self._left = size
        self._lock = threading.Lock()

    def by_cookie(self, header: bytes, config: Cookie, *, secure: bool, request: Request = None) -> Arrival:
        """What a ``Cookie`` header brings."""
        arrival = self.known[secure].get(header)
        if arrival is None:
            ids = self._reader.ids([header], config, secure=secure)
            arrival = self.of(config, ids, secure=secure, request=request)
            if self._keeps and ids:
                self._keep(header, arrival)
        return arrival

    def of(
        self,
        config: Cookie,
        ids: Iterable[Verified],
        *,
        secure: bool,
        source: IdSource | None = None,
        request: Request = None,
    ) -> Arrival:
        """What a request with these ids brings."""
        found = tuple(ids)
        keys = tuple([self._key_of(verified.id) for verified in found[:MOST_LOOKUPS]])
        return Arrival(config, secure, found, source, request, keys, isinstance(ids, Ids) and ids.refused)

    def _keep(self, header: bytes, arrival: Arrival) -> None:
        # Without waiting: a process that was forked in this very moment keeps nothing more, and goes on.
        if not self._lock.acquire(blocking=False):
            return
        try:
            known = self.known[arrival.secure]
            if header not in known:
                known[header] = arrival
                self._left -= len(header) + _BESIDE
            while self._left < 0:
                self._forget_oldest()
        finally:
            self._lock.release()

    def _forget_oldest(self) -> None:
        known = max(self.known, key=len)
        oldest = next(header for header in known if header is not None)
        del known[oldest]
        self._left += len(oldest) + _BESIDE
