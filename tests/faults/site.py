"""An app behind the middleware, in either colour, as its visitors and the server's log see it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from sojourn.asgi import SessionMiddleware as ASGIMiddleware
from sojourn.core.session import BaseSession
from sojourn.wsgi import SessionMiddleware as WSGIMiddleware

__all__ = ["PAGE", "AsyncSite", "Response", "Site", "Work", "site"]

Work: TypeAlias = Callable[[BaseSession], object]
"""What the app does with its session; the response's body is what it returns."""

PAGE: Final = "no store, and the app is not heard"
_SECRET: Final = "a secret for faults, longer than 32 bytes"
_PATIENCE: Final = 60
"""Seconds after which a request hangs for good."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a visitor got. ``cookie`` is None where none was set."""

    status: int
    cookie: str | None
    body: str
    headers: dict[str, str]
    seconds: float

    @property
    def is_unavailable(self) -> bool:
        """A 503 of the middleware, without a trace of what the app sent."""
        is_ours = self.body == PAGE and self.headers.get("retry-after") == "5" and "x-app" not in self.headers
        return self.status == 503 and is_ours and self.cookie is None


class Site(Protocol):
    """An app and its visitors."""

    def request(self, work: Work, cookie: str | None = None) -> Response: ...

    def together(self, requests: Sequence[tuple[Work, str | None]]) -> list[Response]:
        """Requests at the same time."""


class _SyncSite:
    def __init__(self, store: Any, options: dict[str, Any]) -> None:
        self._middleware = WSGIMiddleware(self._app, store=store, **options)

    @staticmethod
    def _app(environ: Any, start_response: Any) -> Iterable[bytes]:
        result = environ["work"](environ["sojourn.session"])
        start_response("200 OK", [("X-App", "yes")])
        return [str(result).encode()]

    def request(self, work: Work, cookie: str | None = None) -> Response:
        began = time.monotonic()
        answers: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            answers.append((int(status[:3]), headers))

        environ = {"PATH_INFO": "/", "wsgi.url_scheme": "http", "work": work}
        if cookie is not None:
            environ["HTTP_COOKIE"] = cookie
        body: Any = self._middleware(environ, start_response)
        try:
            text = b"".join(body).decode()
        finally:
            if hasattr(body, "close"):
                body.close()
        ((status, headers),) = answers
        return _response(status, headers, text, began)

    def together(self, requests: Sequence[tuple[Work, str | None]]) -> list[Response]:
        with ThreadPoolExecutor(len(requests)) as threads:
            return list(threads.map(lambda request: self.request(*request), requests))

    def close(self) -> None:
        self._middleware.store.close()


class AsyncSite:
    """An ASGI site, whose event loop runs in a thread of its own, as a server's does."""

    def __init__(self, store: Any, options: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._middleware = ASGIMiddleware(self._app, store=self.run(_called(store)), **options)

    @staticmethod
    async def _app(scope: Any, _receive: Any, send: Any) -> None:
        result = scope["work"](scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"yes")]})
        await send({"type": "http.response.body", "body": str(result).encode()})

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the site's event loop, to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def visit(self, work: Work, cookie: str | None = None) -> Response:
        """A request, on the site's event loop."""
        began = time.monotonic()
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nobody asked for the request's body")

        headers = [] if cookie is None else [(b"cookie", cookie.encode())]
        scope = {"type": "http", "path": "/", "method": "GET", "scheme": "http", "headers": headers, "work": work}
        await self._middleware(scope, receive, send)
        start, *rest = sent
        assert start["type"] == "http.response.start"
        assert all(message["type"] == "http.response.body" for message in rest)
        text = b"".join(message["body"] for message in rest).decode()
        return _response(
            start["status"], [(name.decode(), value.decode()) for name, value in start["headers"]], text, began
        )

    def request(self, work: Work, cookie: str | None = None) -> Response:
        answer: Response = self.run(self.visit(work, cookie))
        return answer

    def together(self, requests: Sequence[tuple[Work, str | None]]) -> list[Response]:
        async def gather() -> list[Response]:
            return await asyncio.gather(*(self.visit(*request) for request in requests))

        answers: list[Response] = self.run(gather())
        return answers

    def close(self) -> None:
        try:
            self.run(self._middleware.store.close())
            self.run(self._loop.shutdown_asyncgens())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _called(store: Any) -> Any:
    """A store that has to be made on the event loop that uses it."""
    return store() if callable(store) else store


def _response(status: int, headers: Iterable[tuple[str, str]], body: str, began: float) -> Response:
    named = {name.lower(): value for name, value in headers}
    cookie = named.get("set-cookie")
    return Response(status, None if cookie is None else cookie.partition(";")[0], body, named, time.monotonic() - began)


@contextmanager
def site(colour: str, store: str | Callable[[], Any], **options: Any) -> Iterator[Any]:
    """A site in front of a store, named by its URL or made by a function (on the event loop, if there is one)."""
    options = {"secret": _SECRET, "store_error_page": PAGE, **options}
    is_async = colour == "async"
    made = AsyncSite(store, options) if is_async else _SyncSite(store() if callable(store) else store, options)
    try:
        yield made
    finally:
        made.close()
