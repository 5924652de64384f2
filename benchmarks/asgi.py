"""ASGI in process: the handler that all measure, its sessions by us and by peers, and requests without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from benchmarks.measure import Work
from benchmarks.workload import SECRET, Action, headers

Wrap: TypeAlias = Callable[[Any], Any]
"""Puts a middleware around an application."""


def handler(action: Action | None) -> Any:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if action is not None:
            action(scope["session"])
        fields = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def _scope(cookie: str | None) -> dict[str, Any]:
    base = {"type": "http", "path": "/", "method": "GET", "scheme": "http", "query_string": b""}
    return base | {"headers": headers(cookie)}


async def cookie_of(app: Any) -> str:
    """What the app sets when its session is filled."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(_scope(None), _receive, send)
    values = [value for name, value in sent[0]["headers"] if name.lower() == b"set-cookie"]
    return str(values[0].split(b";")[0].decode())


def calls_of(app: Any, cookie: str | None) -> Work:
    base = _scope(cookie)

    async def send(message: Any) -> None:
        pass

    async def work(calls: int) -> None:
        for _ in range(calls):
            await app(dict(base), _receive, send)

    return work


def sojourn() -> Wrap:
    from sojourn.asgi import SessionMiddleware
    from sojourn.stores import AsyncMemoryStore

    store = AsyncMemoryStore()
    return lambda app: SessionMiddleware(app, secret=SECRET, store=store)


def starlette() -> Wrap:
    from starlette.middleware.sessions import SessionMiddleware

    return lambda app: SessionMiddleware(app, secret_key=SECRET)


def starsessions() -> Wrap:
    from starsessions import InMemoryStore, SessionAutoloadMiddleware, SessionMiddleware

    store = InMemoryStore()
    return lambda app: SessionMiddleware(
        SessionAutoloadMiddleware(app), store=store, cookie_https_only=False, lifetime=3600
    )
