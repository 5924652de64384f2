"""WSGI in process: the handler, its sessions by us, and requests without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.measure import Work
from benchmarks.workload import SECRET, Action, cookies


def handler(action: Action | None) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if action is not None:
            action(environ["sojourn.session"])
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    return app


def environ(cookie: str | None) -> dict[str, Any]:
    base = {"PATH_INFO": "/", "SCRIPT_NAME": "", "REQUEST_METHOD": "GET", "wsgi.url_scheme": "http"}
    return base if cookie is None else base | {"HTTP_COOKIE": cookies(cookie)}


def call(app: Any, request: dict[str, Any], start_response: Any) -> None:
    """One request, as a server does it."""
    body = app(request, start_response)
    for _chunk in body:
        pass
    close = getattr(body, "close", None)
    if close is not None:
        close()


async def cookie_of(app: Any) -> str:
    """What the app sets when its session is filled."""
    headers: list[tuple[str, str]] = []

    def start_response(_status: str, given: list[tuple[str, str]], _exc_info: Any = None) -> None:
        headers.extend(given)

    call(app, environ(None), start_response)
    return next(value for name, value in headers if name == "Set-Cookie").split(";")[0]


def calls_of(app: Any, cookie: str | None) -> Work:
    base = environ(cookie)

    def start_response(_status: str, _headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
        pass

    async def work(calls: int) -> None:
        for _ in range(calls):
            call(app, dict(base), start_response)

    return work


def sojourn() -> Callable[[Any], Any]:
    from sojourn.stores import MemoryStore
    from sojourn.wsgi import SessionMiddleware

    store = MemoryStore()
    return lambda app: SessionMiddleware(app, secret=SECRET, store=store)
