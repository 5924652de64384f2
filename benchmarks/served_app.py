"""What `served` measures of Starlette, under uvicorn: ``python -m benchmarks.served_app NAME REDIS-URL``.

Prints its port when it listens, or why it cannot, and ends when its input does.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.workload import DATA, SECRET

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import Response


def _sojourn(store: Any) -> list[Middleware]:
    from starlette.middleware import Middleware

    from sojourn.asgi import SessionMiddleware

    return [Middleware(SessionMiddleware, secret=SECRET, store=store)]


def _sojourn_client(url: str) -> list[Middleware]:
    from redis.asyncio import Redis

    from sojourn.stores import AsyncRedisStore

    return _sojourn(AsyncRedisStore(Redis.from_url(url)))


def _starlette(_url: str) -> list[Middleware]:
    from starlette.middleware import Middleware
    from starlette.middleware.sessions import SessionMiddleware

    return [Middleware(SessionMiddleware, secret_key=SECRET)]


def _starsessions(store: Any) -> list[Middleware]:
    from starlette.middleware import Middleware
    from starsessions import SessionAutoloadMiddleware, SessionMiddleware

    return [
        Middleware(SessionMiddleware, store=store, cookie_https_only=False, lifetime=3600),
        Middleware(SessionAutoloadMiddleware),
    ]


def _starsessions_memory(_url: str) -> list[Middleware]:
    from starsessions import InMemoryStore

    return _starsessions(InMemoryStore())


def _starsessions_redis(url: str) -> list[Middleware]:
    from redis.asyncio import Redis
    from starsessions.stores.redis import RedisStore

    return _starsessions(RedisStore(connection=Redis.from_url(url)))


MIDDLEWARE: dict[str, Callable[[str], list[Middleware]]] = {
    "bare": lambda _url: [],
    "sojourn-memory": lambda _url: _sojourn("memory://"),
    "sojourn-url": _sojourn,
    "sojourn-client": _sojourn_client,
    "starlette": _starlette,
    "starsessions-memory": _starsessions_memory,
    "starsessions-redis": _starsessions_redis,
}


def application(name: str, url: str) -> Starlette:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def fill(request: Request) -> Response:
        request.session.update(DATA)
        return PlainTextResponse("ok")

    async def read(request: Request) -> Response:
        request.session["user"]["id"]
        return PlainTextResponse("ok")

    async def count(request: Request) -> Response:
        request.session["n"] += 1
        return PlainTextResponse("ok")

    async def idle(_request: Request) -> Response:
        return PlainTextResponse("ok")

    middleware = MIDDLEWARE[name](url)
    routes = [Route(f"/{do.__name__}", do if middleware else idle) for do in (fill, read, count)]
    return Starlette(routes=[*routes, Route("/idle", idle)], middleware=middleware)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def main(name: str, url: str) -> int:
    try:
        import uvicorn

        app = application(name, url)
    except ImportError as error:
        print(error, flush=True)
        return 1
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=600)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
