"""Requests by the hundred from a process of its own, against one session: ``python -m tests.torture.worker``.

It drives the real middleware in process, as a server would, in either colour.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from http.cookies import SimpleCookie
from typing import Any

from sojourn.asgi import SessionMiddleware
from sojourn.session import BaseSession
from sojourn.wsgi import SessionMiddleware as WSGISessionMiddleware

SECRET = "a secret for torture, longer than 32 bytes"
AT_ONCE = 3


def edit(session: BaseSession, worker: str, number: int) -> None:
    """What each request does: a key of its own, a nested object, a shared list, a counter."""
    session[f"worker-{worker}"] = number
    session["shared"][worker] = number
    session["log"].append([worker, number])
    session.increment("total")


def add_one(session: BaseSession, _worker: str, _number: int) -> None:
    """For exclusive requests: even this loses nothing."""
    session["plain"] = session["plain"] + 1


EDITS = {"merge": edit, "exclusive": add_one}


class Refused(Exception):
    """A request was not answered 200."""


class AsyncVisitor:
    """A browser with one cookie, in front of an ASGI app."""

    def __init__(self, store: str, mode: str = "merge", **options: Any) -> None:
        exclusive = (lambda _scope: True) if mode == "exclusive" else None
        self.app = SessionMiddleware(self._handle, secret=SECRET, store=store, exclusive=exclusive, **options)

    async def _handle(self, scope: Any, _receive: Any, send: Any) -> None:
        result = scope["do"](scope["session"])
        if result is not None:
            await result
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def request(self, cookie: str | None, do: Any) -> tuple[int, str | None]:
        """The status, and the cookie that was set."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [] if cookie is None else [(b"cookie", cookie.encode())]
        scope = {"type": "http", "path": "/", "method": "GET", "scheme": "http", "headers": headers, "do": do}
        await self.app(scope, None, send)  # type: ignore[arg-type]  # nobody receives
        values = [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]
        return sent[0]["status"], values[0].split(";")[0] if values else None

    async def close(self) -> None:
        await self.app.store.close()


class Visitor:
    """A browser with one cookie, in front of a WSGI app."""

    def __init__(self, store: str, mode: str = "merge", **options: Any) -> None:
        exclusive = (lambda _environ: True) if mode == "exclusive" else None
        self.app = WSGISessionMiddleware(self._handle, secret=SECRET, store=store, exclusive=exclusive, **options)

    def _handle(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["do"](environ["sojourn.session"])
        start_response("200 OK", [])
        return [b""]

    def request(self, cookie: str | None, do: Any) -> tuple[int, str | None]:
        """The status, and the cookie that was set."""
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            answer[:] = [int(status[:3]), headers]

        environ = {"PATH_INFO": "/", "wsgi.url_scheme": "http", "do": do}
        if cookie is not None:
            environ["HTTP_COOKIE"] = cookie
        body = self.app(environ, start_response)
        for _chunk in body:
            pass
        body.close()  # type: ignore[attr-defined]  # the middleware's body has it
        values = [value for name, value in answer[1] if name == "Set-Cookie"]
        return answer[0], values[0].split(";")[0] if values else None

    def close(self) -> None:
        self.app.store.close()


def session_id(cookie: str) -> str:
    return SimpleCookie(cookie)["sid"].value.rpartition(".")[0]


async def _work_async(store: str, cookie: str, worker: str, requests: int, mode: str) -> None:
    visitor = AsyncVisitor(store, mode)
    numbers = iter(range(requests))

    async def lane() -> None:
        for number in numbers:
            status, _cookie = await visitor.request(cookie, lambda session, n=number: EDITS[mode](session, worker, n))
            if status != 200:
                raise Refused(status)

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    await visitor.close()


def _work_sync(store: str, cookie: str, worker: str, requests: int, mode: str) -> None:
    visitor = Visitor(store, mode)
    for number in range(requests):
        status, _cookie = visitor.request(cookie, lambda session, n=number: EDITS[mode](session, worker, n))
        if status != 200:
            raise Refused(status)
    visitor.close()


def main() -> None:
    colour, store, cookie, worker, requests, mode = sys.argv[1:]
    if colour == "async":
        asyncio.run(_work_async(store, cookie, worker, int(requests), mode))
    else:
        _work_sync(store, cookie, worker, int(requests), mode)
    print(json.dumps({"done": int(requests)}))


if __name__ == "__main__":
    main()
