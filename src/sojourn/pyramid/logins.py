"""Logins for a security policy."""

from __future__ import annotations

from typing import Any

from ..clock import Duration

__all__ = ["LoginHelper"]


class LoginHelper:
    """Who is logged in, for a security policy: what `pyramid.authentication.SessionAuthenticationHelper` is, with another id at each login.

    Example::

        class SecurityPolicy:
            def __init__(self):
                self.helper = LoginHelper()

            def authenticated_userid(self, request):
                return self.helper.authenticated_userid(request)

            def remember(self, request, userid, **kw):
                return self.helper.remember(request, userid, **kw)

            def forget(self, request, **kw):
                return self.helper.forget(request, **kw)
    """

    def remember(
        self,
        request: Any,
        userid: str,
        *,
        remember: Duration | None = None,
        stamp: str | bytes | None = None,
        sid: str | None = None,
        max_sessions: int | None = None,
        **_kw: Any,
    ) -> list[tuple[str, str]]:
        """Log somebody in, by ``session.login(userid)``. What an anonymous visitor gathered stays; nothing of another user's does.

        Args:
            request: the request.
            userid: who it is.
            remember: as `sojourn.Session.login` takes it, like the rest. What else other policies take has no effect.
            stamp: likewise.
            sid: likewise.
            max_sessions: likewise.

        Raises:
            TypeError, ValueError: as for ``session.login()``.
        """
        request.session.login(
            userid, keep_data=True, remember=remember, stamp=stamp, sid=sid, max_sessions=max_sessions
        )
        return []

    def forget(self, request: Any, **_kw: Any) -> list[tuple[str, str]]:
        """Log out: the session ends, and what is put in from here on begins another one."""
        request.session.invalidate()
        return []

    def authenticated_userid(self, request: Any) -> str | None:
        """Who is logged in: the session's owner."""
        owner: str | None = request.session.owner
        return owner
