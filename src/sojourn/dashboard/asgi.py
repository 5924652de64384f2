"""The dashboard in ASGI."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from inspect import isawaitable
from typing import Any, Final, Unpack

from ..aio import here, new_event, sleep, spawn, wait
from ..asgi import refusal_in
from ..middleware.async_ import AsyncMiddleware
from ..middleware.drive import run_async
from ..options import OptionsDict
from .board import MOST_BODY, NAP, Request, Response
from .faces import Face, cut_short, place, too_large

__all__ = ["ASGIDashboard"]

_FIRST: Final = 0.5
"""Seconds that the first visitor waits for figures at most."""


class ASGIDashboard(Face):
    """The dashboard as an ASGI application, to be mounted in the site, as by ``app.mount("/ops/sessions", dashboard)``.

    Args:
        operator: the guard: a function of the request (the ASGI scope), plain or async, that returns who the operator is, or None for a
            visitor who is none and gets a 403. The name goes into the log with all that they do.
        reveals: whether an operator may see the values that sessions hold. Each time is logged.
        trusted_origins: as of `sojourn.guard.CrossSiteRules`, which guard the dashboard's forms.
        options: the middleware's, as the site's sessions have them: the same ``secret``, ``store``, ``codec`` and so on.
        sessions: instead of options, a middleware or a driver that has them, of this colour.

    Raises:
        ConfigurationError: there is no guard, or an option is wrong.
    """

    def __init__(
        self,
        *,
        operator: Callable[[Any], str | Awaitable[str | None] | None],
        sessions: Any = None,
        reveals: bool = True,
        trusted_origins: Sequence[str] = (),
        **options: Unpack[OptionsDict],
    ) -> None:
        super().__init__(AsyncMiddleware, operator, sessions, options, reveals=reveals, trusted_origins=trusted_origins)
        self._home: object = None
        self._sampled: Any = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise NotImplementedError(f"the dashboard is visited by requests, not {scope['type']}")
        response = await self._respond(scope, receive)
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})

    async def _respond(self, scope: Any, receive: Any) -> Response:
        refused = refusal_in(scope, self.rules)
        if refused is not None:
            return Response(403, refused.headers, refused.body)
        who = self.operator(scope)
        name = self.named(await who if isawaitable(who) else who)
        if isinstance(name, Response):
            return name
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return cut_short()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MOST_BODY:
                return too_large()
        base, path = place(scope.get("root_path", ""), scope["path"])
        query = scope.get("query_string", b"").decode("latin-1")
        await self._keep_sampling()
        request = Request(scope["method"], base, path, query, body.decode("latin-1"), name)
        response = await run_async(self.board.respond(request), self.sessions.store)
        if response.ended is not None:
            await self.sessions.tell(self.events(response.ended))
        return response

    async def _keep_sampling(self) -> None:
        """See to it that samples are taken on this event loop; wait a moment for the first."""
        home = (os.getpid(), here())
        if self._home != home:
            self._home = home
            self._sampled = new_event()
            spawn(self._sample)
            if self.board.is_due:
                await wait(self._sampled, _FIRST)

    async def _sample(self) -> None:
        while True:
            if self.board.is_due:
                await run_async(self.board.sample(), self.sessions.store)
                self._sampled.set()
            await sleep(NAP)
