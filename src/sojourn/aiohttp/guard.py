"""`CrossSiteGuard`: a middleware that refuses what another site's page has the browser send."""

from __future__ import annotations

from typing import Unpack

from aiohttp import web

from ..guard import CrossSiteRules, GuardOptions, is_exempt, is_handshake
from .door import Handler, path_of

__all__ = ["CrossSiteGuard"]


class CrossSiteGuard:
    """aiohttp middleware that refuses what a page of another site has the browser send, by a 403: forms, requests, and WebSockets.

    Put it first, so that what is refused loads no session: ``web.Application(middlewares=[CrossSiteGuard()])``. Handlers that are marked
    by `sojourn.guard.exempt` take requests from anywhere.

    Args:
        options: see `sojourn.guard.CrossSiteRules`.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    __middleware_version__ = 1  # as `aiohttp.web.middleware` marks functions

    def __init__(self, **options: Unpack[GuardOptions]) -> None:
        self.rules: CrossSiteRules = CrossSiteRules(**options)

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """aiohttp's: handle a request."""
        if not is_exempt(request.match_info.handler):
            refusal = self.rules.refusal(
                request.method,
                lambda: path_of(request),
                lambda name: request.headers.getall(name, ()),
                https=request.scheme == "https",
                direct=request.get_extra_info("sslcontext") is not None,
                websocket=is_handshake(request.headers.getall("Upgrade", ())),
            )
            if refusal is not None:
                raise web.HTTPForbidden(text=refusal.text)
        return await handler(request)
