"""A request and its session do not hold each other, so that both go with the response and none waits for the collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sojourn import asgi, wsgi
from tests.behaviour.harness import SECRET


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def discard(_message: Any) -> None:
    pass


def test_an_asgi_session_goes_with_its_request() -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        seen.append(weakref.ref(scope["session"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    middleware: Any = asgi.SessionMiddleware(app, secret=SECRET, store="memory://")
    with pytest.raises(StopIteration):
        middleware({"type": "http", "path": "/", "headers": []}, None, discard).send(None)
    assert [reference() for reference in seen] == [None]


@pytest.mark.parametrize("kind", [list, iter])
def test_a_wsgi_session_goes_with_its_request(kind: Callable[[list[bytes]], Any]) -> None:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        environ["sojourn.session"]["n"] = 1
        seen.append(weakref.ref(environ["sojourn.session"]))
        start_response("200 OK", [])
        return kind([b"ok"])

    middleware = wsgi.SessionMiddleware(app, secret=SECRET, store="memory://")
    body: Any = middleware({"PATH_INFO": "/"}, lambda *_: lambda _data: None)
    assert list(body) == [b"ok"]
    if kind is iter:
        body.close()
    del body
    assert [reference() for reference in seen] == [None]
