"""A Python server for the tests, in the colour of its argument. Each line of JSON on stdin describes a site.

The reply is the port that the site listens on. ``"async"`` is Starlette on uvicorn, ``"sync"`` is WSGI on Werkzeug's threads.
"""

from __future__ import annotations

import inspect
import json
import logging
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request as WSGIRequest
from werkzeug.wrappers import Response as WSGIResponse

from sojourn import Cookie, JSONCodec, PlainCodec, SessionDestroyed, asgi, express, wsgi

PYTHON = {
    "UTC": UTC,
    "UUID": UUID,
    "Decimal": Decimal,
    "date": date,
    "datetime": datetime,
    "timedelta": timedelta,
    "timezone": timezone,
}
"""What operations may name that take an expression."""
CODECS = {"json": JSONCodec(), "dates": PlainCodec(dates_as_iso=True, max_int=2**53 - 1)}

logged: list[str] = []
"""What Sojourn has logged, from warnings on, since it was last asked."""


@dataclass
class Visit:
    """A request under way."""

    slot: Any
    """Where the request holds its session."""
    name: str
    cookie: str
    post: Callable[[str, str, str], Any]

    @property
    def session(self) -> Any:
        return self.slot.get(self.name)

    def parent(self, steps: list[Any]) -> Any:
        return at(self.session, steps[:-1])


def at(tree: Any, steps: Iterable[Any]) -> Any:
    for step in steps:
        tree = tree[step]
    return tree


def look(visit: Visit) -> Any:
    session = visit.session
    if session is None:
        return None
    try:
        session.keys()
    except SessionDestroyed:
        return None
    cookie = {"originalMaxAge": session.cookie.original_max_age}
    return {"id": session.id, "data": dict(session), "owner": session.owner, "cookie": cookie}


def who(visit: Visit) -> Any:
    session = visit.session
    return {"owner": session.owner, "since": session.authenticated_at is not None, "pending": session.pending_owner}


def devices(visit: Visit) -> Any:
    """How many there are: in the async colour a coroutine's."""
    found = visit.session.devices()
    if not inspect.isawaitable(found):
        return len(found)

    async def count() -> int:
        return len(await found)

    return count()


def put(visit: Visit, steps: list[Any], value: Any) -> None:
    visit.parent(steps)[steps[-1]] = value


def remove(visit: Visit, steps: list[Any]) -> None:
    del visit.parent(steps)[steps[-1]]


def change_cookie(visit: Visit, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(visit.session.cookie, name, value)


def unset(visit: Visit) -> None:
    visit.slot[visit.name] = None


def is_same(one: Any, other: Any) -> bool:
    """Equal with all types, as JSON has them: 1 and 1.0 are one number there, but true is none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    numbers = (int, float)
    return bool(one == other) and (type(one) is type(other) or (type(one) in numbers and type(other) in numbers))


OPERATIONS: dict[str, Callable[..., Any]] = {
    "look": look,
    "set": put,
    "python": lambda visit, steps, source: put(visit, steps, eval(source, PYTHON)),
    "is_python": lambda visit, steps, source: repr(at(visit.session, steps)) == repr(eval(source, PYTHON)),
    "delete": remove,
    "append": lambda visit, steps, value: at(visit.session, steps).append(value),
    "increment": lambda visit, key: visit.session.increment(key),
    "same": lambda visit, steps, value: is_same(at(visit.session, steps), value),
    "cookie": change_cookie,
    "touch": lambda visit: visit.session.touch(),
    "login": lambda visit, owner, **how: visit.session.login(owner, **how),
    "login_keeping": lambda visit, owner: visit.session.login(owner, keep_data=True),
    "begin_login": lambda visit, owner: visit.session.begin_login(owner, keep_data=True),
    "complete_login": lambda visit: visit.session.complete_login(),
    "confirm": lambda visit: visit.session.confirm(),
    "logout": lambda visit: visit.session.logout(),
    "who": who,
    "flash": lambda visit, *given: visit.session.flash(*given),
    "flashes": lambda visit, *given: visit.session.flashes(*given),
    "devices": devices,
    "end_others": lambda visit: visit.session.end_others(),
    "by_owner": lambda visit, owner: visit.session.sessions.by_owner(owner),
    "save": lambda visit: visit.session.save(),
    "reload": lambda visit: visit.session.reload(),
    "regenerate": lambda visit, **keep: visit.session.regenerate(**keep),
    "regenerate_keeping": lambda visit: visit.session.regenerate(keep_data=True),
    "destroy": lambda visit: visit.session.destroy(),
    "unset": unset,
    "store": lambda visit, method, *arguments: getattr(visit.session.sessions, method)(*arguments),
    "meanwhile": lambda visit, url, operations: visit.post(url, json.dumps(operations), visit.cookie),
}


def shown(value: Any) -> Any:
    """What JSON has no type for: answers of the other side, views of sessions; and values that are to be refused."""
    if isinstance(value, httpx.Response):
        return value.json()
    return dict(value) if isinstance(value, Mapping) else repr(value)


def written(answer: Any) -> str:
    """As text at once: what comes later may change it."""
    try:
        return json.dumps(answer, default=shown)
    except (ValueError, TypeError, RecursionError):  # it contains itself, or has other keys than text
        return "null"


def refused(error: Exception) -> str:
    if not type(error).__module__.startswith("sojourn"):
        traceback.print_exc()
    return json.dumps({"error": type(error).__name__, "message": str(error)})


# The async colour.


async def post(url: str, body: str, cookie: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20, trust_env=False, verify=False) as client:
        return (await client.post(url, content=body, headers={"cookie": cookie})).raise_for_status()


async def perform(request: Request) -> Response:
    visit = Visit(request.scope, "session", request.headers.get("cookie", ""), post)
    answers = []
    for name, *arguments in json.loads(await request.body()):
        answer = OPERATIONS[name](visit, *arguments)
        if inspect.isawaitable(answer):
            answer = await answer
        elif inspect.isasyncgen(answer):
            answer = [item async for item in answer]
        answers.append(written(answer))
    return Response(f"[{','.join(answers)}]", media_type="application/json")


async def answer_error(_request: Request, error: Exception) -> Response:
    return Response(refused(error), 500)


def serve_async(options: Any) -> tuple[int, Callable[[], None]]:
    app = Starlette(
        routes=[Route("/{path:path}", perform, methods=["POST"])],
        middleware=[Middleware(asgi.SessionMiddleware, **options)],
        exception_handlers={Exception: answer_error},
    )

    async def quiet(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except Exception:
            if scope["type"] == "lifespan":
                raise
            # It is answered. uvicorn would close the connection, which the browser may be about to use again.

    # With the protocol said, asyncio sets TCP_NODELAY: headers and body leave in two writes.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(uvicorn.Config(quiet, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join()

    port: int = listener.getsockname()[1]
    httpx.get(f"http://127.0.0.1:{port}", trust_env=False, timeout=60)  # once that is answered, the store is open
    return port, stop


# The sync colour.


def post_sync(url: str, body: str, cookie: str) -> httpx.Response:
    with httpx.Client(timeout=20, trust_env=False, verify=False) as client:
        return client.post(url, content=body, headers={"cookie": cookie}).raise_for_status()


@WSGIRequest.application
def perform_sync(request: WSGIRequest) -> WSGIResponse:
    visit = Visit(request.environ, wsgi.ENVIRON_KEY, request.headers.get("cookie", ""), post_sync)
    answers = []
    for name, *arguments in json.loads(request.data):
        answer = OPERATIONS[name](visit, *arguments)
        answers.append(written(list(answer) if isinstance(answer, Iterator) else answer))
    return WSGIResponse(f"[{','.join(answers)}]", content_type="application/json")


class Handler(WSGIRequestHandler):
    disable_nagle_algorithm = True  # as above

    def log(self, *_arguments: Any) -> None:
        """Be quiet."""


def serve_sync(options: Any) -> tuple[int, Callable[[], None]]:
    app = wsgi.SessionMiddleware(perform_sync, **options)

    def answering_errors(environ: Any, start_response: Any) -> Iterable[bytes]:
        try:
            return list(app(environ, start_response))
        except Exception as error:  # noqa: BLE001 - each is an answer
            return WSGIResponse(refused(error), 500)(environ, start_response)

    server = make_server("127.0.0.1", 0, answering_errors, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        app.store.close()

    return server.server_port, stop


SERVE = {"async": serve_async, "sync": serve_sync}


def open_site(colour: str, store: str, options: dict[str, Any]) -> tuple[int, Callable[[], None]]:
    if "cookie" in options:
        options["cookie"] = Cookie(**{"secure": False, "samesite": None, **options["cookie"]})
    if options.get("passport") == "int":
        options["passport"] = int
    if "codec" in options:
        options["codec"] = CODECS[options["codec"]]
    if "ids" in options:
        ids = iter(options.pop("ids"))
        options["generate_id"] = lambda _request: next(ids)
    return SERVE[colour](express(store=store, **options))


class Noting(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logged.append(record.getMessage())


def take_log() -> list[str]:
    taken = logged[:]
    logged.clear()
    return taken


def main() -> None:
    logging.getLogger("sojourn").addHandler(Noting(logging.WARNING))
    (colour,) = sys.argv[1:]
    stops = []
    for line in sys.stdin:
        reply: dict[str, Any]
        try:
            if request := json.loads(line):
                port, stop = open_site(colour, *request)
                stops.append(stop)
                reply = {"value": port}
            else:
                reply = {"value": take_log()}
        except Exception:  # noqa: BLE001 - the test is told
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), flush=True)
    with ThreadPoolExecutor(len(stops) + 1) as pool:
        list(pool.map(lambda stop: stop(), stops))


if __name__ == "__main__":
    main()
