"""What a middleware adds to a request, in process: no server, no network, the memory store, 400 bytes of data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.measure import Figure, Work, interleaved, ratio, table
from sojourn.asgi import SessionMiddleware
from sojourn.stores import AsyncMemoryStore, MemoryStore
from sojourn.wsgi import SessionMiddleware as WSGISessionMiddleware

SECRET = "a secret for benchmarks, longer than 32 bytes"
DATA: dict[str, Any] = {
    "user": {"id": 123456, "name": "Ada Lovelace", "email": "ada@example.com", "roles": ["admin", "editor"]},
    "cart": {"items": [{"sku": "A-1001", "qty": 2}, {"sku": "B-2002", "qty": 1}], "currency": "EUR", "total": 119.5},
    "csrf": "d41d8cd98f00b204e9800998ecf8427ed41d8cd98f00b204",
    "locale": "en-GB",
    "theme": "dark",
    "seen": "2026-11-21T00:00:00Z",
    "n": 0,
}
CASES = {
    "a": "cookie, session read",
    "b": "cookie, counter incremented",
    "c": "no cookie, session untouched",
    "d": "cookie, session never looked at",
}
Handler = Callable[[str], Any]
HEADERS = [
    (b"host", b"localhost:8000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"connection", b"keep-alive"),
]


def handler(case: str) -> Any:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if case == "fill":
            scope["session"].update(DATA)
        elif case == "a":
            scope["session"]["user"]
        elif case == "b":
            scope["session"]["n"] += 1
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def _scope(cookie: bytes | None) -> dict[str, Any]:
    headers = (
        HEADERS if cookie is None else [*HEADERS, (b"cookie", b"consent=yes; " + cookie + b"; tz=Europe%2FBerlin")]
    )
    return {"type": "http", "path": "/", "method": "GET", "scheme": "http", "query_string": b"", "headers": headers}


async def cookie_of(app: Any) -> bytes:
    """What the app sets when its session is filled."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(_scope(None), _receive, send)
    values = [value for name, value in sent[0]["headers"] if name.lower() == b"set-cookie"]
    return bytes(values[0].split(b";")[0])


def calls_of(app: Any, cookie: bytes | None) -> Work:
    base = _scope(cookie)

    async def send(message: Any) -> None:
        pass

    async def work(calls: int) -> None:
        for _ in range(calls):
            await app(dict(base), _receive, send)

    return work


def _sojourn() -> Handler:
    store = AsyncMemoryStore()
    return lambda case: SessionMiddleware(handler(case), secret=SECRET, store=store)


def _starlette() -> Handler:
    from starlette.middleware.sessions import SessionMiddleware as Peer

    return lambda case: Peer(handler(case), secret_key=SECRET)


def _starsessions() -> Handler:
    from starsessions import InMemoryStore
    from starsessions import SessionAutoloadMiddleware as Autoload
    from starsessions import SessionMiddleware as Peer

    store = InMemoryStore()
    return lambda case: Peer(Autoload(handler(case)), store=store, cookie_https_only=False, lifetime=3600)


PEERS: dict[str, Callable[[], Handler]] = {
    "Starlette (cookie)": _starlette,
    "starsessions, memory": _starsessions,
}


async def asgi() -> str:
    """The table of the ASGI middleware."""
    makers: dict[str, Handler] = {"nothing": handler, "Sojourn, memory": _sojourn()}
    for name, peer in PEERS.items():
        try:
            makers[name] = peer()
        except ImportError as error:
            print(f"left out: {name} ({error})")
    figures: dict[str, dict[str, Figure]] = {}
    cookies = {name: await cookie_of(make("fill")) for name, make in makers.items() if name != "nothing"}
    for case in CASES:
        bare = {"nothing": calls_of(handler("c"), cookies["Sojourn, memory"])}
        with_sessions = {
            name: calls_of(make(case), None if case == "c" else cookies[name])
            for name, make in makers.items()
            if name != "nothing"
        }
        figures[case] = await interleaved({**bare, **with_sessions})
    rows = [[name, *(figures[case][name] for case in CASES)] for name in makers]
    size = len(json.dumps(DATA, separators=(",", ":")))
    ours, cookie, memory = "Sojourn, memory", "Starlette (cookie)", "starsessions, memory"
    targets = [
        *[
            [f"({case}) to Starlette's", f"{target}", f"{ratio(figures[case][ours], figures[case][cookie]):.2f}"]
            for case, target in (("a", 0.4), ("b", 0.25), ("c", 0.65))
        ],
        *[
            [f"({case}) to starsessions'", "0.33", f"{ratio(figures[case][ours], figures[case][memory]):.2f}"]
            for case in "ab"
        ],
        ["(d) to our (a)", "0.5", f"{ratio(figures['d'][ours], figures['a'][ours]):.2f}"],
    ]
    return "\n\n".join(
        [
            f"### ASGI middleware, in process: microseconds of CPU per call, {size} bytes of data",
            table(["", *(f"({case}) {text}" for case, text in CASES.items())], rows),
            table(["ratio", "target, at most", "figure"], targets),
        ]
    )


def _wsgi_handler(case: str) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if case == "fill":
            environ["sojourn.session"].update(DATA)
        elif case == "a":
            environ["sojourn.session"]["user"]
        elif case == "b":
            environ["sojourn.session"]["n"] += 1
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    return app


async def wsgi() -> str:
    """The table of the WSGI middleware."""
    store = MemoryStore()
    headers: list[tuple[str, str]] = []

    def start_response(_status: str, given: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        headers[:] = given

    def environ(cookie: str | None) -> dict[str, Any]:
        base = {"PATH_INFO": "/", "SCRIPT_NAME": "", "REQUEST_METHOD": "GET", "wsgi.url_scheme": "http"}
        return base if cookie is None else base | {"HTTP_COOKIE": f"consent=yes; {cookie}; tz=Europe%2FBerlin"}

    def make(case: str) -> Any:
        return WSGISessionMiddleware(_wsgi_handler(case), secret=SECRET, store=store)

    list(make("fill")(environ(None), start_response))
    cookie = next(value for name, value in headers if name == "Set-Cookie").split(";")[0]

    def calls(app: Any, cookie: str | None) -> Work:
        base = environ(cookie)

        async def work(count: int) -> None:
            for _ in range(count):
                body = app(dict(base), start_response)
                for _chunk in body:
                    pass
                close = getattr(body, "close", None)
                if close is not None:
                    close()

        return work

    figures = {
        case: await interleaved(
            {
                "nothing": calls(_wsgi_handler("c"), cookie),
                "Sojourn, memory": calls(make(case), None if case == "c" else cookie),
            }
        )
        for case in CASES
    }
    rows = [[name, *(figures[case][name] for case in CASES)] for name in ("nothing", "Sojourn, memory")]
    return "\n\n".join(
        [
            "### WSGI middleware, in process: microseconds of CPU per call",
            table(["", *(f"({case}) {text}" for case, text in CASES.items())], rows),
        ]
    )
