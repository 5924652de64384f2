"""Sessions for Django Channels: in the place of ``channels.sessions.SessionMiddleware``, or around ``AuthMiddlewareStack``.

Example::

    application = ProtocolTypeRouter({
        "http": get_asgi_application(),
        "websocket": SessionMiddleware(AuthMiddlewareStack(URLRouter([...]))),
    })

The session is loaded before the consumer runs, and committed when the connection is accepted: a login in ``connect()`` reaches the browser.
What is changed later is saved when the connection ends, or by ``await session.asave()``. It needs nothing of Channels itself.
"""

from __future__ import annotations

from collections.abc import Awaitable
from importlib import import_module
from typing import Any

from django.conf import settings
from django.http import parse_cookie

from ..asgi import ASGIApp, ASGIExchange, Message, Receive, Scope, Send, path_of
from ..core.plan import Phase, Plan
from ..middleware.exchange import Exchange
from ..wire.request import RequestParts
from .engine import SessionStore
from .exchange import arrive

__all__ = ["SessionMiddleware"]

_SLOT = "session"


class SessionMiddleware:
    """ASGI middleware that gives every WebSocket, and every HTTP request that Django does not handle, its ``scope["session"]``.

    A change of the key after ``accept()`` raises `HeadersAlreadySent`, as the browser could not learn it.

    Args:
        inner: the application.
    """

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" not in scope:  # of a channel layer's worker
            await self.inner(scope, receive, send)
            return
        store: SessionStore = import_module(settings.SESSION_ENGINE).SessionStore()
        door = store.config.asynchronous

        def header(name: str) -> list[bytes]:
            wanted = name.lower().encode()
            return [value for key, value in scope["headers"] if key == wanted]

        def plain(name: str) -> str | None:
            return parse_cookie(b"; ".join(header("Cookie")).decode("latin-1")).get(name)

        parts = RequestParts(header, scope.get("query_string", b""))
        https = scope.get("scheme") in ("https", "wss")
        store.begin(arrive(store.config, parts, path_of(scope), https=https, plain=plain, request=scope))
        store.is_deferred = True
        exchange = ChannelsExchange(door, store.state, store.face, {**scope, _SLOT: store.face}, _SLOT, send)
        exchange.store = store
        if store.is_pending() and not await door.look_up_or_note(store.state):
            await exchange.send_unavailable(receive)
            return
        try:
            await self.inner({**scope, _SLOT: store}, receive, exchange.send)
        except BaseException:
            await exchange.end(failed=True)
            raise
        await exchange.end(failed=False)


class ChannelsExchange(ASGIExchange[Any]):
    """One connection."""

    store: Any = None
    status: int = 200

    def send(self, message: Message) -> Awaitable[None]:
        self.status = message.get("status", self.status)
        return ASGIExchange.send(self, message)

    def prepare(self, phase: Phase) -> Plan | None:
        if phase is Phase.RESPONSE and not self.store.settle(status=self.status):
            return Plan(vary=self.store.accessed)
        _follow(self, self.store)
        return ASGIExchange.prepare(self, phase)

    async def end(self, *, failed: bool) -> None:
        """Save what came late."""
        _follow(self, self.store)
        self.store.is_deferred = False
        await self.middleware.finish(self, failed=failed)


def _follow(exchange: Exchange[Any], store: SessionStore) -> None:
    """The application may have gone on with another session of its own, by ``create()``."""
    exchange.state, exchange.session = store.state, store.face
    exchange.slot = {**exchange.slot, _SLOT: store.face}
