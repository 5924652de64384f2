"""aiohttp-security: who is remembered is logged in, and whoever is forgotten is logged out.

aiohttp_security.setup(app, SojournIdentityPolicy(), MyAuthorizationPolicy())
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

try:
    from aiohttp_security.abc import AbstractIdentityPolicy
except ImportError as _error:
    raise ImportError(
        "sojourn.aiohttp.security needs aiohttp-security: pip install aiohttp-security", name=_error.name
    ) from _error

from ..clock import Duration
from .door import get_session

__all__ = ["SojournIdentityPolicy"]


class SojournIdentityPolicy(AbstractIdentityPolicy):
    """An identity policy: ``remember`` is ``session.login()``, which changes the session's id, and ``forget`` is ``session.logout()``.

    Args:
        session_key: where aiohttp-security's own policy noted the identity. It counts in sessions that were migrated, until there is a
            login; None to forget these.
    """

    def __init__(self, session_key: str | None = "AIOHTTP_SECURITY") -> None:
        self._session_key = session_key

    async def identify(self, request: web.Request) -> str | None:
        """Who is logged in."""
        session = await get_session(request)
        if session.owner is not None or self._session_key is None:
            return session.owner
        noted = session.get(self._session_key)
        return noted if isinstance(noted, str) and noted else None

    async def remember(
        self,
        request: web.Request,
        response: web.StreamResponse,
        identity: str,
        *,
        remember: Duration | None = None,
        stamp: str | bytes | None = None,
        sid: str | None = None,
        max_sessions: int | None = None,
        **_kwargs: Any,
    ) -> None:
        """Log somebody in. What the visitor gathered before stays, unless somebody else was logged in.

        ``aiohttp_security.remember(request, response, identity, ...)`` hands over what `sojourn.Session.login` takes. What else other policies
        take has no effect.
        """
        session = await get_session(request)
        session.login(
            identity,
            keep_data=await self.identify(request) in (None, identity),
            remember=remember,
            stamp=stamp,
            sid=sid,
            max_sessions=max_sessions,
        )
        if self._session_key is not None:
            session.pop(self._session_key, None)

    async def forget(self, request: web.Request, response: web.StreamResponse) -> None:
        """End the session, with all that is in it."""
        (await get_session(request)).logout()
