"""An error of the commit that is the app's own: a session larger than the store takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sojourn import SessionTooLarge, asgi, wsgi
from sojourn.stores import AsyncMemoryStore, MemoryStore

SECRET = "a secret that is long enough for everybody"


def test_under_asgi_it_is_raised_into_the_app_whose_error_page_then_goes_out():
    raised: list[BaseException] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["big"] = "x" * 1000
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except SessionTooLarge as error:  # as a framework's error handling does
            raised.append(error)
            await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})

    async def send(message: Any) -> None:
        sent.append(message)

    store = AsyncMemoryStore(max_size=500)
    middleware = asgi.SessionMiddleware(app, secret=SECRET, store=store)
    scope = {"type": "http", "scheme": "http", "path": "/", "headers": []}
    asyncio.run(middleware(scope, None, send))  # type: ignore[arg-type]
    assert len(raised) == 1
    assert [message.get("status") for message in sent] == [500, None]
    assert not [name for name, _ in sent[0]["headers"] if name == b"set-cookie"]
    assert asyncio.run(store.count()) == 0


@pytest.mark.parametrize("kind", [list, iter])
def test_under_wsgi_it_is_raised_to_the_server_before_any_header_has_left(kind: Callable[[list[bytes]], Any]):
    started: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["sojourn.session"]["big"] = "x" * 1000
        start_response("200 OK", [])
        return kind([b"hello"])  # type: ignore[no-any-return]

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        started.append(status)

    store = MemoryStore(max_size=500)
    middleware = wsgi.SessionMiddleware(app, secret=SECRET, store=store)
    with pytest.raises(SessionTooLarge):
        middleware({"wsgi.url_scheme": "http", "PATH_INFO": "/"}, start_response)
    assert not started
    assert store.count() == 0
