"""`CrossSiteGuard`: a middleware that refuses what another site's page has the browser send."""

from __future__ import annotations

from typing import Any, Unpack

from litestar.exceptions import PermissionDeniedException
from litestar.middleware import ASGIMiddleware

from ..asgi import refusal_in, refuse
from ..errors import ConfigurationError
from ..guard import CrossSiteRules, GuardOptions

__all__ = ["CrossSiteGuard"]


class CrossSiteGuard(ASGIMiddleware):
    """Litestar middleware that refuses what a page of another site has the browser send, requests and WebSockets.

    For requests it raises `PermissionDeniedException`, which exception handlers get, and which is a 403::

        app = Litestar([...], middleware=[CrossSiteGuard()])

    Args:
        exclude_opt_key: the name by which a route handler says that it takes requests from anywhere:
            ``@post("/webhook", exclude_from_csrf=True)``, as with Litestar's own tokens.
        options: see `sojourn.guard.CrossSiteRules`.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, *, exclude_opt_key: str = "exclude_from_csrf", **options: Unpack[GuardOptions]) -> None:
        if not isinstance(exclude_opt_key, str):
            raise ConfigurationError(
                "exclude_opt_key", repr(exclude_opt_key), 'give a name such as "exclude_from_csrf"'
            )
        self.exclude_opt_key: str | None = exclude_opt_key
        self.rules: CrossSiteRules = CrossSiteRules(**options)

    async def handle(self, scope: Any, receive: Any, send: Any, next_app: Any) -> None:
        """Litestar's: handle a request, or a WebSocket."""
        refusal = refusal_in(scope, self.rules)
        if refusal is None:
            await next_app(scope, receive, send)
        elif scope["type"] == "websocket":  # for which no handler of exceptions sends a response
            await refuse(refusal, scope, receive, send)
        else:
            raise PermissionDeniedException(refusal.text)
