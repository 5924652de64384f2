"""Logins for a security policy."""

from __future__ import annotations

from typing import Any

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

    def remember(self, request: Any, userid: str, **_kw: Any) -> list[tuple[str, str]]:
        """Log somebody in, by ``session.login(userid)``. What an anonymous visitor gathered stays; nothing of another user's does.

        Raises:
            TypeError: the userid is not a non-empty str.
        """
        session = request.session
        session.login(userid, keep_data=session.owner in (None, userid))
        return []

    def forget(self, request: Any, **_kw: Any) -> list[tuple[str, str]]:
        """Log out: the session ends, and what is put in from here on begins another one."""
        request.session.invalidate()
        return []

    def authenticated_userid(self, request: Any) -> str | None:
        """Who is logged in: the session's owner."""
        owner: str | None = request.session.owner
        return owner
