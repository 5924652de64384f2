"""`CrossSiteGuard`: refuses what another site's page has the browser send, before any function or view of the application."""

from __future__ import annotations

from typing import Any, Unpack

from flask import Flask, request
from werkzeug.exceptions import Forbidden

from ..guard import CrossSiteRules, GuardOptions, V, exempt, is_exempt, is_handshake
from ..wire.paths import encoded

__all__ = ["CrossSiteGuard", "check"]


class CrossSiteGuard:
    """Refuses what a page of another site has the browser send: it raises `werkzeug.exceptions.Forbidden`, which error handlers for 403 get.

    Example::

        guard = CrossSiteGuard(app, trusted_origins=["https://admin.example.com"])

        @app.post("/webhook")
        @guard.exempt
        def webhook(): ...

    Args:
        app: the application; or give it to `init_app` later.
        options: see `sojourn.guard.CrossSiteRules`.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(self, app: Flask | None = None, **options: Unpack[GuardOptions]) -> None:
        self.rules: CrossSiteRules = CrossSiteRules(**options)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> None:
        """Check an application's requests. Several may be given to one."""
        app.before_request_funcs.setdefault(None, []).insert(0, lambda: self._check(app))

    def _check(self, app: Any) -> None:
        check(self.rules, app, request, websocket=is_handshake(request.headers.getlist("Upgrade")))

    @staticmethod
    def exempt(view: V) -> V:
        """A decorator of views that take requests from anywhere, such as a webhook's: `sojourn.guard.exempt`."""
        return exempt(view)


def check(rules: CrossSiteRules, app: Any, asked: Any, *, websocket: bool) -> None:
    """Refuse a request, or the handshake of a WebSocket, Flask's or Quart's.

    Raises:
        Forbidden: it is refused.
    """
    if is_exempt(app.view_functions.get(asked.endpoint)):
        return
    refusal = rules.refusal(
        asked.method,
        lambda: encoded((asked.root_path.rstrip("/") + asked.path).encode("utf-8", "surrogatepass")),
        asked.headers.getlist,
        https=asked.scheme in ("https", "wss"),
        websocket=websocket,
    )
    if refusal is not None:
        raise Forbidden(refusal.text)
