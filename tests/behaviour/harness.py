"""Drives an app at protocol level, so that a scenario is written once and run over ASGI and WSGI, in both profiles.

A handler is a function of a `Ctx`, plain or ``async``. Under WSGI its coroutine is driven by hand: what it awaits never waits,
but for ``ctx.write()``, which gives a chunk to the server. Both servers here are strict about what apps may do.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import inspect
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote
from wsgiref.validate import validator

import trio

from sojourn import StoreUnavailable, asgi, express, wsgi
from sojourn.core.store import Stored
from sojourn.options import OptionsDict
from sojourn.stores import MemoryStore
from sojourn.testing import ManualClock

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "OLD_SECRET",
    "OPERATIONS",
    "SECRET",
    "Answer",
    "Client",
    "Ctx",
    "Make",
    "SetCookie",
    "World",
    "log_text",
    "put",
    "read",
    "settle",
    "sign",
]

T = TypeVar("T")
Handler = Callable[["Ctx"], Any]
Make = Callable[..., "World"]

SECRET: Final = "a secret that is long enough for everybody"
OLD_SECRET: Final = "an older secret that is long enough as well"
MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
OPERATIONS: Final = frozenset({"load", "create", "replace", "regenerate", "touch", "delete"})
_FLAGS: Final = frozenset({"httponly", "secure", "partitioned"})
_NAMES: Final = frozenset({"domain", "path", "expires", "max-age", "priority", "samesite"})


def sign(session_id: str, profile: str, secret: str | bytes = SECRET) -> str:
    """A cookie value as the wire formats describe it, worked out without the package."""
    key = secret.encode() if isinstance(secret, str) else secret
    digest = hmac.digest(key, session_id.encode(), hashlib.sha256)
    if profile == "express":
        return quote(f"s:{session_id}.{base64.b64encode(digest).decode().rstrip('=')}", safe="!~*'()")
    return quote(f"{session_id}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}", safe="!~*'()")


async def settle(value: Any) -> Any:
    """The result of a call in either colour; what is iterated over, as a list."""
    if isinstance(value, AsyncIterator):
        return [item async for item in value]
    if isinstance(value, Generator):
        return list(value)
    return await value if inspect.isawaitable(value) else value


# -- the browser's side ---------------------------------------------------------------------------------------------------


@dataclass
class SetCookie:
    """One ``Set-Cookie`` header, taken apart strictly."""

    text: str
    name: str = ""
    value: str = ""
    attributes: dict[str, str | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first, *rest = self.text.split("; ")
        self.name, equals, self.value = first.partition("=")
        assert equals and not set(self.value) & set(' ",;\\'), f"malformed cookie: {self.text}"
        for part in rest:
            name, equals, value = part.partition("=")
            assert name.lower() in (_NAMES if equals else _FLAGS), f"unknown attribute {part!r}"
            assert name.lower() not in self.attributes, f"{name} twice"
            self.attributes[name.lower()] = value if equals else True

    def __getitem__(self, name: str) -> Any:
        return self.attributes.get(name.lower())

    @property
    def expires(self) -> int | None:
        """Epoch milliseconds."""
        text = self["expires"]
        return None if text is None else round(parsedate_to_datetime(text).timestamp() * 1000)

    @property
    def is_expired(self) -> bool:
        return self.value == "" and self.expires == 0


class Client:
    """A browser: it keeps cookies as RFC 6265 and its successor say, and sends them back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.jar: dict[str, SetCookie] = {}
        self._expiry: dict[str, int] = {}

    def cookie_header(self, path: str, *, secure: bool) -> str | None:
        now = self.world.clock()
        pairs = [
            f"{name}={cookie.value}"
            for name, cookie in self.jar.items()
            if (secure or not cookie["secure"])
            and self._expiry.get(name, now + 1) > now
            and (path == cookie["path"] or path.startswith(str(cookie["path"]).rstrip("/") + "/"))
        ]
        return "; ".join(pairs) or None

    def keep(self, cookie: SetCookie, *, secure: bool) -> None:
        assert secure or not cookie["secure"], "a browser drops a Secure cookie that comes over http"
        if cookie.name.startswith("__Host-"):
            assert cookie["secure"] and cookie["path"] == "/" and cookie["domain"] is None, "a browser drops it"
        assert cookie["samesite"] != "None" or cookie["secure"], "a browser drops SameSite=None without Secure"
        age = cookie["max-age"]
        expiry = cookie.expires if age is None else self.world.clock() + int(age) * 1000
        self.jar.pop(cookie.name, None)
        self._expiry.pop(cookie.name, None)
        if expiry is None or expiry > self.world.clock():
            self.jar[cookie.name] = cookie
            if expiry is not None:
                self._expiry[cookie.name] = expiry

    def holding(self, session_id: str, *, secret: str | bytes = SECRET, name: str | None = None) -> Client:
        """Have a session's cookie in the jar."""
        name = name or self.world.name
        self.jar[name] = SetCookie(f"{name}={sign(session_id, self.world.profile, secret)}; Path=/")
        return self

    def copy(self) -> Client:
        """Another tab that begins with the same cookies but is not told of later ones."""
        other = Client(self.world)
        other.jar, other._expiry = dict(self.jar), dict(self._expiry)
        return other

    def get(self, handler: Handler | None = None, path: str = "/", **how: Any) -> Answer:
        """One whole request."""
        return self.world.run(lambda: self.ask(handler, path, **how))

    async def ask(
        self,
        handler: Handler | None = None,
        path: str = "/",
        *,
        method: str = "GET",
        scheme: str = "http",
        browser_https: bool | None = None,
        headers: Iterable[tuple[str, str]] = (),
        cookies: str | None = None,
        may_fail: bool = False,
        leave_after: int | None = None,
        extra: Mapping[str, Any] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """One whole request, also from within a handler.

        Args:
            scheme: what the server says.
            browser_https: whether the browser's own connection is https; as the server says, unless there is a proxy.
            cookies: the Cookie header, instead of what the jar has.
            may_fail: whether an error that the app raises is expected; it is in the answer then.
            leave_after: the client goes away after so many chunks.
            extra: further keys of the scope or environ.
            body: what the request sends, in two pieces under ASGI.
        """
        secure = scheme == "https" if browser_https is None else browser_https
        header = self.cookie_header(path, secure=secure) if cookies is None else cookies
        sent = [*headers, *([("Cookie", header)] if header else [])]
        answer = Answer(self.world)
        begun = len(self.world.timeline)
        request = _Request(
            method, path, scheme, sent, dict(extra or {}), handler or (lambda ctx: None), leave_after, body
        )
        await self.world.serve(request, answer, self)
        answer.timeline = self.world.timeline[begun:]
        for cookie in answer.set_cookies:
            self.keep(cookie, secure=secure)
        if answer.error is not None and not may_fail:
            raise answer.error
        return answer


@dataclass
class _Request:
    method: str
    path: str
    scheme: str
    headers: list[tuple[str, str]]
    extra: dict[str, Any]
    handler: Handler
    leave_after: int | None
    body: bytes


class Answer:
    """A response, and what else is known about it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.error: BaseException | None = None
        self.handled = False
        self.seen: Any = None
        """What the handler returned."""
        self.timeline: list[str] = []
        """Store operations, "start" and "body", in order; also of requests within this one."""

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def ops(self) -> list[str]:
        """The store's operations."""
        return [entry for entry in self.timeline if entry in OPERATIONS]

    @property
    def writes(self) -> list[str]:
        """The store's operations but for loads."""
        return [entry for entry in self.ops if entry != "load"]

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def set_cookies(self) -> list[SetCookie]:
        return [SetCookie(value) for value in self.header("set-cookie")]

    @property
    def cookie(self) -> SetCookie | None:
        """The session's Set-Cookie."""
        found = [cookie for cookie in self.set_cookies if cookie.name.endswith(self._world.base_name)]
        assert len(found) <= 1, "more than one session cookie"
        return found[0] if found else None

    @property
    def the_cookie(self) -> SetCookie:
        assert self.cookie is not None, "no session cookie"
        return self.cookie

    @property
    def id(self) -> str:
        """The id in the session's Set-Cookie, its signature checked."""
        value = unquote(self.the_cookie.value)
        session_id = value.rpartition(".")[0].removeprefix("s:" if self._world.profile == "express" else "")
        assert sign(session_id, self._world.profile, self._world.secret) == self.the_cookie.value
        return session_id


# -- the server's side ----------------------------------------------------------------------------------------------------


class _Failing:
    """What the counting stores share: they note every operation, and fail or run a hook before it when told to."""

    def __init__(self, clock: ManualClock, timeline: list[str], kept: Any = None) -> None:
        self.kept = MemoryStore(clock=clock) if kept is None else kept
        self._timeline = timeline
        self.failing: dict[str, BaseException] = {}
        self.before: dict[str, Callable[[], object]] = {}
        """Run once, before the operation."""
        self.after: dict[str, Callable[[], object]] = {}

    def _note(self, name: str) -> None:
        self._timeline.append(name)
        if (hook := self.before.pop(name, None)) is not None:
            hook()
        if name in self.failing:
            raise self.failing[name]

    def _done(self, name: str) -> None:
        if (hook := self.after.pop(name, None)) is not None:
            hook()

    def fail(self, *names: str, error: BaseException | None = None) -> None:
        self.failing = dict.fromkeys(names, error or StoreUnavailable("it is down"))


def _counted(asynchronous: bool) -> type[_Failing]:
    def method(name: str) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            self._note(name)
            answer = getattr(self.kept, name)(*args, **kwargs)
            self._done(name)
            return answer

        async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
            return call(self, *args, **kwargs)

        async def ascan(self: Any) -> AsyncIterator[Any]:
            for item in self.kept.scan():
                yield item

        if asynchronous:
            return ascan if name == "scan" else acall
        return call

    names = (
        *sorted(OPERATIONS),
        "open",
        "close",
        "scan",
        "count",
        "clear",
        "delete_expired",
        "by_owner",
        "has_expired",
        "lock",
        "unlock",
    )
    methods: dict[str, Any] = {name: method(name) for name in names}
    return type("AsyncCountingStore" if asynchronous else "CountingStore", (_Failing,), methods)


def _in_process(store: type[_Failing]) -> type[_Failing]:
    """The same for a store that says of itself that it never waits, which has a way of its own through the middleware."""

    def direct(self: Any) -> Any:
        twin = object.__new__(COUNTING)
        twin.__dict__ = self.__dict__  # the same notes, failures and hooks
        return twin

    return type(f"InProcess{store.__name__}", (store,), {"direct": property(direct)})


COUNTING: Final = _counted(asynchronous=False)
ASYNC_COUNTING: Final = _counted(asynchronous=True)


class World:
    """An app behind our middleware, with a clock to move and a store to look into."""

    def __init__(self, adapter: str, profile: str, runner: asyncio.Runner, options: dict[str, Any]) -> None:
        self.adapter = adapter
        self._runner = runner
        self.profile = profile
        self.timeline: list[str] = []
        self.clock: ManualClock = options.pop("clock", None) or ManualClock()
        self.twice: bool = options.pop("twice", False)
        kind = COUNTING if adapter == "wsgi" else ASYNC_COUNTING
        if profile == "native":  # and so each way is gone in one of the profiles
            kind = _in_process(kind)
        self.store: Any = options.pop("store", None) or kind(self.clock, self.timeline)
        given: OptionsDict = {"secret": SECRET, "clock": self.clock, "store": self.store, **options}  # type: ignore[typeddict-item]
        secret = given["secret"]
        self.secret: str | bytes = secret if isinstance(secret, str | bytes) else secret[0]
        self.options: OptionsDict = express(**given) if profile == "express" else given
        self.base_name: str = self.options.get("name", "sid")
        self.seen_ids: set[str] = set()
        self.middleware: Any
        self._app: Any
        if adapter == "wsgi":
            app: Any = validator(self._wsgi_app)
            for _ in range(1 + self.twice):
                app = self.middleware = wsgi.SessionMiddleware(app, **self.options)
            self._app = validator(app)
        else:
            app = self._asgi_app
            for _ in range(1 + self.twice):
                app = self.middleware = asgi.SessionMiddleware(app, **self.options)
            self._app = app
        self.client = Client(self)

    @property
    def name(self) -> str:
        """The cookie's name over http."""
        return self.base_name

    def get(self, handler: Handler | None = None, path: str = "/", **how: Any) -> Answer:
        return self.client.get(handler, path, **how)

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self.adapter == "asgi":
            return self._runner.run(make())
        if self.adapter == "asgi-trio":
            return trio.run(make)
        work = make()
        try:
            work.send(None)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        raise AssertionError("a WSGI request waited for something")

    # -- what the store has -------------------------------------------------------------------------------------------

    def key(self, session_id: str) -> str:
        if self.options.get("hash_ids", self.profile == "native"):
            return hashlib.sha256(session_id.encode()).hexdigest()
        return session_id

    def stored(self) -> dict[str, dict[str, Any]]:
        """All live records by their keys."""
        return {key: json.loads(found.data) for key, found in self.store.kept.scan()}

    def record(self, session_id: str) -> dict[str, Any] | None:
        """A live record, whole."""
        found = self.store.kept.load(self.key(session_id))
        return json.loads(found.data) if isinstance(found, Stored) else None

    def data(self, session_id: str) -> dict[str, Any] | None:
        """A live record's data alone, as JSON values."""
        record = self.record(session_id)
        return None if record is None else {k: v for k, v in record.items() if k not in ("cookie", "__sojourn__")}

    def ttl(self, session_id: str) -> int | None:
        """The milliseconds a record has left."""
        found = self.store.kept.load(self.key(session_id))
        return found.expires_in if isinstance(found, Stored) else None

    def plant(
        self, data: Mapping[str, Any] | bytes, *, session_id: str = "planted", ttl: int = DAY, cookie: Any = None
    ) -> Client:
        """Store a record as Express writes it, or any bytes, and answer a client that holds its cookie."""
        if not isinstance(data, bytes):
            part = (
                {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"} if cookie is None else cookie
            )
            data = json.dumps({"cookie": part, **data}, separators=(",", ":")).encode()
        self.store.kept.create(self.key(session_id), data, ttl)
        return Client(self).holding(session_id)

    def session(self, **data: Any) -> Client:
        """A client with a session that the app itself stored."""
        client = Client(self)
        client.get(lambda ctx: ctx.session.update(data or {"n": 1}))
        return client

    # -- serving ------------------------------------------------------------------------------------------------------

    async def serve(self, request: _Request, answer: Answer, client: Client) -> None:
        self.seen_ids.update(_ids_in([*request.headers, ("path", request.path)], self.profile))
        request.extra["tests.request"] = request, answer, client  # how the app finds its handler
        serve = self._serve_wsgi if self.adapter == "wsgi" else self._serve_asgi
        await serve(request, answer)
        self.seen_ids.update(_ids_in(answer.headers, self.profile))

    async def _handle(self, ctx: Ctx) -> None:
        request, answer, ctx.client = ctx.request, ctx.answer, ctx.client
        answer.handled = True
        answer.seen = await settle(request.handler(ctx))
        await ctx.finish()

    async def _serve_asgi(self, request: _Request, answer: Answer) -> None:
        path, _, query = request.path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.scheme,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers],
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 80),
            **request.extra,
        }
        ended = False
        half = len(request.body) // 2
        pieces = [request.body[:half], request.body[half:]]

        async def receive() -> dict[str, Any]:
            if ended or not pieces:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                assert answer.status == 0, "a second start"
                answer.status = message["status"]
                for name, value in message.get("headers") or ():
                    assert isinstance(name, bytes) and isinstance(value, bytes) and name == name.lower(), (name, value)
                    answer.headers.append((name.decode("latin-1"), value.decode("latin-1")))
                self.timeline.append("start")
            elif message["type"] == "http.response.body":
                assert answer.status and not ended, "a body before the start, or after the end"
                if message.get("body"):
                    if request.leave_after is not None and len(answer.chunks) >= request.leave_after:
                        raise OSError("the client has gone")
                    answer.chunks.append(message["body"])
                    self.timeline.append("body")
                ended = not message.get("more_body", False)
            else:
                raise AssertionError(f"unexpected {message['type']}")

        try:
            await self._app(scope, receive, send)
            assert ended, "the response was never ended"
        except Exception as error:  # noqa: BLE001 - as a server does
            answer.error = error
            answer.status = answer.status or 500

    async def _asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        await self._handle(_AsgiCtx(self, *scope["tests.request"], scope, send, receive))

    async def _serve_wsgi(self, request: _Request, answer: Answer) -> None:
        path, _, query = request.path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path).encode().decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request.scheme,
            "CONTENT_LENGTH": str(len(request.body)),
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **request.extra,
        }
        for header, value in request.headers:
            name = header.upper().replace("-", "_")
            name = name if name == "CONTENT_TYPE" else "HTTP_" + name
            # as servers do: several lines of one name are one
            separator = "; " if name == "HTTP_COOKIE" else ","
            environ[name] = environ[name] + separator + value if name in environ else value
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def leave() -> None:
            if not answer.status:
                assert started, "a body before start_response"
                status, headers = started[-1]
                answer.status, answer.headers = int(status[:3]), list(headers)
                self.timeline.append("start")

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            if exc_info is not None and answer.status:
                raise exc_info[1]
            assert exc_info is not None or not started, "start_response called twice"
            started.append((status, headers))
            return write

        def write(data: bytes) -> None:
            leave()
            if data:
                answer.chunks.append(data)
                self.timeline.append("body")

        body: Any = None
        try:
            try:
                body = self._app(environ, start_response)
                for chunk in body:
                    if chunk:
                        if request.leave_after is not None and len(answer.chunks) >= request.leave_after:
                            break
                        write(chunk)
                else:
                    leave()
            finally:
                if body is not None:
                    body.close()
        except Exception as error:  # noqa: BLE001 - as a server does
            answer.error = error
            answer.status = answer.status or 500

    def _wsgi_app(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        ctx = _WsgiCtx(self, *environ["tests.request"], environ, start_response)
        work = self._handle(ctx)

        def step() -> bytes | None:
            try:
                chunk: bytes = work.send(None)
            except StopIteration:
                return None
            return chunk

        first = step()  # as frameworks do: the handler runs before the app answers an iterable

        def rest() -> Iterator[bytes]:
            try:
                chunk = first
                while chunk is not None:
                    yield chunk
                    chunk = step()
            finally:
                work.close()

        return rest()


def _ids_in(headers: Iterable[tuple[str, str]], profile: str) -> Iterator[str]:
    """The rightly signed ids in headers, but for those too short to be looked for in a log."""
    for _name, value in headers:
        for text in re.split(r"[;,=&?\s]+", value):
            session_id = unquote(text).rpartition(".")[0].removeprefix("s:" if profile == "express" else "")
            if len(session_id) > 5 and any(sign(session_id, profile, one) == text for one in (SECRET, OLD_SECRET)):
                yield session_id


class Ctx:
    """What a handler has to work with."""

    def __init__(self, world: World, request: _Request, answer: Answer, client: Client) -> None:
        self.world = world
        self.request = request
        self.answer = answer
        self.client = client
        self.status = 200
        self.headers: list[tuple[str, str]] = [("Content-Type", "text/plain")]
        self.body = b"ok"
        self.started = False
        self._wrote = False
        self.slots: Any
        self.slot: str

    @property
    def session(self) -> Any:
        """The request's session; None outside of its reach."""
        return self.slots.get(self.slot)

    @session.setter
    def session(self, value: Any) -> None:
        self.slots[self.slot] = value

    @session.deleter
    def session(self) -> None:
        del self.slots[self.slot]

    async def save(self) -> None:
        await settle(self.session.save())

    async def reload(self) -> None:
        await settle(self.session.reload())

    async def load(self) -> None:
        """With ``lazy``: what ASGI needs, and WSGI does by itself."""
        if hasattr(self.session, "load"):
            await self.session.load()

    async def sessions(self, method: str, *args: Any) -> Any:
        """``session.sessions`` in either colour; an iterator's items as a list."""
        return await settle(getattr(self.session.sessions, method)(*args))

    def read_body(self) -> Awaitable[bytes]:
        raise NotImplementedError

    @property
    def query(self) -> str:
        """The query as the app sees it."""
        raise NotImplementedError

    def start(self) -> Awaitable[None]:
        raise NotImplementedError

    def write(self, data: bytes) -> Awaitable[None]:
        raise NotImplementedError

    async def finish(self) -> None:
        raise NotImplementedError

    @property
    def _default_body(self) -> bytes:
        bodiless = self._wrote or self.request.method == "HEAD" or self.status in (204, 304)
        return b"" if bodiless else self.body


class _AsgiCtx(Ctx):
    slot = "session"

    def __init__(self, world: World, request: _Request, answer: Answer, client: Client, *protocol: Any) -> None:
        super().__init__(world, request, answer, client)
        self.slots, self.send, self.receive = protocol

    async def read_body(self) -> bytes:
        body, more = b"", True
        while more:
            message = await self.receive()
            assert message["type"] == "http.request"
            body += message["body"]
            more = message["more_body"]
        return body

    @property
    def query(self) -> str:
        text: bytes = self.slots["query_string"]
        return text.decode()

    async def start(self) -> None:
        if not self.started:
            self.started = True
            headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]
            await self.send({"type": "http.response.start", "status": self.status, "headers": headers})

    async def write(self, data: bytes) -> None:
        await self.start()
        self._wrote = True
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        await self.start()
        await self.send({"type": "http.response.body", "body": self._default_body})


class _Chunk:
    """Awaited, it goes to whoever drives the handler's coroutine."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __await__(self) -> Generator[bytes, None, None]:
        yield self._data


class _WsgiCtx(Ctx):
    slot = "sojourn.session"

    def __init__(self, world: World, request: _Request, answer: Answer, client: Client, *protocol: Any) -> None:
        super().__init__(world, request, answer, client)
        self.slots, self.start_response = protocol

    async def read_body(self) -> bytes:
        length = self.slots["CONTENT_LENGTH"]
        body: bytes = self.slots["wsgi.input"].read(int(length) if length else 10_000)
        return body

    @property
    def query(self) -> str:
        text: str = self.slots["QUERY_STRING"]
        return text

    async def start(self) -> None:
        if not self.started:
            self.started = True
            headers = [h for h in self.headers if self.status not in (204, 304) or h[0] != "Content-Type"]
            self.start_response(f"{self.status} Whatever", headers)

    async def write(self, data: bytes) -> None:
        await self.start()
        self._wrote = True
        await _Chunk(data)

    async def finish(self) -> None:
        await self.start()
        if self._default_body:
            await _Chunk(self._default_body)


def log_text(records: Iterable[Any]) -> str:
    """Log records as a handler would write them, tracebacks included."""
    import logging

    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")
    return "\n".join(formatter.format(record) for record in records)


def put(**data: Any) -> Handler:
    """A handler that puts values into the session."""

    def handle(ctx: Ctx) -> None:
        ctx.session.update(data)

    return handle


def read(ctx: Ctx) -> dict[str, Any]:
    """A handler that answers the session's data."""
    return dict(ctx.session)
