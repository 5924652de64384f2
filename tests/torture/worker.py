"""Requests by the hundred from a process of its own, against one session: ``python -m tests.torture.worker``.

It drives the real middleware in process, as a server would, in either colour.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from http.cookies import SimpleCookie
from typing import Any

from sojourn import SessionConflict, StoreError
from sojourn.asgi import SessionMiddleware
from sojourn.core.session import BaseSession
from sojourn.core.state import State
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


CONFLICT = 409
"""The status of a request refused, by a 503, since others kept changing the session: nothing of it is saved, and it may come again."""


class Noting:
    """Notes which sessions' requests were refused for that."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conflicts: list[State] = []

    def commit_failed(self, state: State, error: StoreError) -> bool:
        if isinstance(error, SessionConflict):
            self.conflicts.append(state)
        return super().commit_failed(state, error)  # type: ignore[misc,no-any-return]  # it stands before a middleware

    def refused(self, session: BaseSession | None) -> bool:
        """Whether the request with this session was; None where the session could not be loaded."""
        return session is not None and any(state is session._state for state in self.conflicts)


class AsyncMiddleware(Noting, SessionMiddleware):
    pass


class Middleware(Noting, WSGISessionMiddleware):
    pass


class AsyncVisitor:
    """A browser with one cookie, in front of an ASGI app."""

    def __init__(self, store: Any, mode: str = "merge", **options: Any) -> None:
        exclusive = (lambda _scope: True) if mode == "exclusive" else None
        self.app = AsyncMiddleware(self._handle, secret=SECRET, store=store, exclusive=exclusive, **options)

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
        return CONFLICT if self.app.refused(scope.get("session")) else sent[0]["status"], values[0].split(";")[
            0
        ] if values else None

    async def close(self) -> None:
        await self.app.store.close()


class Visitor:
    """A browser with one cookie, in front of a WSGI app."""

    def __init__(self, store: Any, mode: str = "merge", **options: Any) -> None:
        exclusive = (lambda _environ: True) if mode == "exclusive" else None
        self.app = Middleware(self._handle, secret=SECRET, store=store, exclusive=exclusive, **options)

    def _handle(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["do"](environ["sojourn.session"])
        start_response("200 OK", [])
        return [b""]

    def request(self, cookie: str | None, do: Any) -> tuple[int, str | None]:
        """The status, and the cookie that was set."""
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            answer[:] = [int(status[:3]), headers]

        environ: dict[str, Any] = {"PATH_INFO": "/", "wsgi.url_scheme": "http", "do": do}
        if cookie is not None:
            environ["HTTP_COOKIE"] = cookie
        body = self.app(environ, start_response)
        try:
            for _chunk in body:
                pass
        finally:
            if hasattr(body, "close"):
                body.close()
        values = [value for name, value in answer[1] if name == "Set-Cookie"]
        return CONFLICT if self.app.refused(environ.get("sojourn.session")) else answer[0], values[0].split(";")[
            0
        ] if values else None

    def close(self) -> None:
        self.app.store.close()


def session_id(cookie: str) -> str:
    return SimpleCookie(cookie)["sid"].value.rpartition(".")[0]


async def _work_async(store: str, cookie: str, worker: str, requests: int, mode: str) -> int:
    visitor = AsyncVisitor(store, mode)
    numbers = iter(range(requests))
    refused = 0

    async def lane() -> None:
        nonlocal refused
        for number in numbers:
            status = CONFLICT
            while status == CONFLICT:
                status, _cookie = await visitor.request(
                    cookie, lambda session, n=number: EDITS[mode](session, worker, n)
                )
                refused += status == CONFLICT
            if status != 200:
                raise Refused(status)

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    await visitor.close()
    return refused


def _work_sync(store: str, cookie: str, worker: str, requests: int, mode: str) -> int:
    visitor = Visitor(store, mode)
    refused = 0
    for number in range(requests):
        status = CONFLICT
        while status == CONFLICT:
            status, _cookie = visitor.request(cookie, lambda session, n=number: EDITS[mode](session, worker, n))
            refused += status == CONFLICT
        if status != 200:
            raise Refused(status)
    visitor.close()
    return refused


def main() -> None:
    colour, store, cookie, worker, requests, mode = sys.argv[1:]
    if colour == "async":
        refused = asyncio.run(_work_async(store, cookie, worker, int(requests), mode))
    else:
        refused = _work_sync(store, cookie, worker, int(requests), mode)
    print(refused)


if __name__ == "__main__":
    main()
