"""Sessions for Tornado, which is neither ASGI nor WSGI: a complete adapter on `sojourn.driver`, to use or to learn from.

Give the application ``sessions=AsyncSessionDriver(...)``, derive the handlers from `SessionHandler`, and use ``self.session``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import unquote

from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError, RequestHandler

from sojourn import AsyncSession
from sojourn.driver import AsyncSessionDriver, AsyncSessionExchange, ErrorResponse


class SessionHandler(RequestHandler):
    """A handler whose session is loaded before it runs, and committed before its headers leave."""

    session: AsyncSession
    _exchange: AsyncSessionExchange | None = None
    _left = False
    _raised = False
    _finishing: asyncio.Future[None] | None = None

    async def prepare(self) -> None:
        driver: AsyncSessionDriver = self.settings["sessions"]
        self._exchange = await driver.begin(
            self.request.headers.get_all(),
            path=unquote(self.request.path),
            https=self.request.protocol == "https",
            query=self.request.query,
            body=self.request.body,
            request=self.request,
        )
        if self._exchange is not None:  # else the path is outside the cookie's
            self.session = self._exchange.session
            if self._exchange.error is not None:  # the store is down: the handler does not run
                await self.finish()

    async def _leave(self, exchange: AsyncSessionExchange) -> None:
        """Commit, once, before any byte leaves."""
        if self._left or self._raised:
            return
        self._left = True
        answer = exchange.error or await exchange.respond(self._headers.get_all())
        if isinstance(answer, ErrorResponse):
            self.set_status(answer.status)
            self._write_buffer = [answer.body]
        self._headers = HTTPHeaders()
        for name, value in answer.headers if isinstance(answer, ErrorResponse) else answer:
            self._headers.add(name, value)

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:
        if self._exchange is None or self._left or self._finishing is not None:
            return super().flush(include_footers)
        return asyncio.ensure_future(self._flush(self._exchange, include_footers))

    async def _flush(self, exchange: AsyncSessionExchange, include_footers: bool) -> None:
        await self._leave(exchange)
        if exchange.error is not None:
            raise HTTPError(exchange.error.status)
        await super().flush(include_footers)

    def finish(self, chunk: Any = None) -> asyncio.Future[None]:
        if chunk is not None:
            self.write(chunk)
        if self._exchange is None:
            return super().finish()
        if self._finishing is None:  # Tornado calls this again for a handler that did not wait for it
            self._finishing = asyncio.ensure_future(self._finish(self._exchange))
        return self._finishing

    async def _finish(self, exchange: AsyncSessionExchange) -> None:
        try:
            await self._leave(exchange)
        except Exception:  # noqa: BLE001 - the handler put in what cannot be stored, or worse: the visitor gets an error page
            self.log_exception(*sys.exc_info())
            self.send_error(500, exc_info=sys.exc_info())
        sent = super().finish()
        await exchange.finish(failed=self._raised)
        await sent

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        self._raised = error is not None and not isinstance(error, HTTPError)  # unhandled: nothing of it is saved
        super().send_error(status_code, **kwargs)
