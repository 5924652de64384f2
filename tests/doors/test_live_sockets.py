"""Live sockets over real servers: with each store, under each framework and server, and through an outage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sojourn.asgi import SessionMiddleware
from sojourn.errors import StoreUnavailable
from sojourn.stores import resolve
from tests.live import SECRET, Site, closing, serving, site, socket_app
from tests.processes import serving as running
from tests.servers import ValkeyServer, postgres_server, secantus, valkey_program

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
server = pytest.mark.server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def another(url: str) -> Any:
    """A store over the same data, as another process has it."""
    return resolve(url, asynchronous=True, exclusive=False, express=False, shared=False)


@contextlib.asynccontextmanager
async def logged_in(served: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client() as client:
        assert (await client.get("/login")).status_code == 200
        yield client


STORES = [
    # the store, and within how many seconds a socket learns
    pytest.param("memory", 2),
    pytest.param("sqlite", 1),
    pytest.param("redis", 1, marks=server),
    pytest.param("redis near", 1, marks=server),
    pytest.param("postgres", 2, marks=server),
    pytest.param("mongo", 1, marks=server),
    pytest.param("mongo standalone", 2, marks=server),
]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with contextlib.ExitStack() as stack:

        def standalone() -> str:
            return stack.enter_context(secantus(tmp_path)).url()

        urls: dict[str, Callable[[], str]] = {
            "memory": lambda: "memory://",
            "sqlite": lambda: f"sqlite:///{tmp_path}/sessions.db",
            "redis": lambda: request.getfixturevalue("redis_url") + "?prefix=live:",
            "redis near": lambda: request.getfixturevalue("redis_url") + "?prefix=near:&near_cache=100000",
            "postgres": lambda: request.getfixturevalue("postgres_url") + "?create_table=true&table=live",
            "mongo": lambda: request.getfixturevalue("mongodb").url(),
            "mongo standalone": standalone,
        }
        yield urls[request.param]()


@pytest.mark.parametrize(("url", "bound"), STORES, indirect=["url"])
async def test_a_socket_learns_in_time_what_another_process_changes_and_ends(
    url: str, bound: float, record_property: Callable[[str, object], None]
):
    told_after, ended_after = [], []
    async with serving(site(url)) as plain, serving(site(url, close_on_end=True)) as strict:
        other = plain.middleware.store if url == "memory://" else another(url)
        for _ in range(3):
            async with (
                logged_in(plain) as client,
                plain.connect(client, "/changes") as told,
                strict.connect(client) as watched,
            ):
                await watched.send("hello")
                assert await watched.recv() == "hello"
                (key,) = await other.by_owner("ann")
                found = await other.load(key)
                began = time.monotonic()
                await other.replace(key, found.data.replace(b"ann", b"bob"), 60_000, version=found.version, owner="ann")
                assert await asyncio.wait_for(told.recv(), 10) == "changed"
                told_after.append(time.monotonic() - began)
                began = time.monotonic()
                await other.delete(key)
                assert await closing(watched, 10) == 1008
                ended_after.append(time.monotonic() - began)
                assert await told.recv() == "ended gone"
        if other is not plain.middleware.store:
            await other.close()
    for name, times in (("changed", told_after), ("ended", ended_after)):
        record_property(name, times)
        # A machine that is busy elsewhere may be late for once.
        assert statistics.median(times) < bound, times


async def test_the_sites_own_requests_close_the_sockets_of_their_session_alone():
    async with serving(site("memory://", close_on_end=True)) as served:
        async with (
            logged_in(served) as ann,
            logged_in(served) as phone,
            served.client() as visitor,
            served.connect(ann) as first,
            served.connect(ann) as second,
            served.connect(phone) as third,
            served.connect(visitor) as fourth,
        ):
            await phone.get("/end-others")
            assert [await closing(one) for one in (first, second)] == [1008, 1008]
            await ann.get("/login")
            for one in (third, fourth):
                await one.send("still there")
                assert await one.recv() == "still there"
            await phone.get("/regenerate")
            assert await closing(third) == 1008, "what goes on under another id is for whoever has that"
            await fourth.send("a visitor without a session has none to lose")
            assert await fourth.recv()
        assert served.middleware.watchers.here()._watched == {}


async def test_a_change_closes_nothing_and_messages_keep_a_session_alive_that_ends_without():
    options: dict[str, Any] = {"idle_timeout": 1.5, "touch_after": 0.2, "close_on_end": True}
    async with (
        serving(site("memory://", **options)) as served,
        logged_in(served) as client,
        served.connect(client) as talking,
    ):
        for _ in range(12):
            await talking.send("hello")
            await talking.recv()
            await asyncio.sleep(0.25)
        await client.get("/change")
        began = time.monotonic()
        assert await closing(talking) == 1008
        assert time.monotonic() - began > 0.5


async def test_the_absolute_timeout_ends_a_socket_however_much_it_is_used():
    options: dict[str, Any] = {"absolute_timeout": 1.5, "idle_timeout": 1.5, "touch_after": 0, "close_on_end": True}
    async with serving(site("memory://", **options)) as served, logged_in(served) as client:
        began = time.monotonic()
        async with served.connect(client) as talking:
            with contextlib.suppress(Exception):
                while time.monotonic() - began < 10:
                    await talking.send("hello")
                    await talking.recv()
                    await asyncio.sleep(0.05)
            assert await closing(talking) == 1008
        assert 1 < time.monotonic() - began < 5


class Slow:
    """`socket_app`, whose sockets are accepted when they may be."""

    def __init__(self) -> None:
        self.entered, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            self.entered.set()
            await self.may_go_on.wait()
        await socket_app(scope, receive, send)


@pytest.mark.parametrize("lazy", [False, True])
async def test_a_session_that_ends_while_the_socket_is_being_accepted_or_has_said_nothing_closes_it(lazy: bool):
    app = Slow()
    middleware = SessionMiddleware(app, secret=SECRET, store="memory://", close_on_end=True, lazy=lazy)
    async with serving(middleware) as served, logged_in(served) as client:
        opening = asyncio.ensure_future(served.connect(client).__aenter__())
        await app.entered.wait()
        if not lazy:  # else it is looked up when the socket is accepted
            await middleware.store.clear()
        app.may_go_on.set()
        opened = await opening
        if lazy:
            await middleware.store.clear()
        assert await closing(opened) == 1008


async def test_where_a_lazy_session_cannot_be_looked_up_the_socket_is_closed(caplog: pytest.LogCaptureFixture):
    middleware = site("memory://", close_on_end=True, lazy=True)
    async with serving(middleware) as served, logged_in(served) as client:

        async def fail(state: Any, **_: Any) -> None:
            raise StoreUnavailable("down")

        middleware.look_up = fail  # type: ignore[method-assign]
        async with served.connect(client) as opened:
            assert await closing(opened) == 1008


async def test_an_application_that_only_sends_ends_without_an_error_in_the_servers_log(
    caplog: pytest.LogCaptureFixture,
):
    async def tick(send: Any) -> None:
        while True:
            await send({"type": "websocket.send", "text": "tick"})
            await asyncio.sleep(0.01)

    async def ticker(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await socket_app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/group":
            async with asyncio.TaskGroup() as group:
                group.create_task(tick(send))
        try:
            await tick(send)
        except OSError as gone:
            await send({"type": "websocket.close"})  # as a handler may, in its `finally`
            assert (await receive())["code"] == 1008
            if scope["path"] == "/raises":
                raise RuntimeError("as a framework makes another error of it") from gone
            raise

    middleware = SessionMiddleware(ticker, secret=SECRET, store="memory://", close_on_end=True)
    async with serving(middleware) as served:
        for path in ("/", "/raises", "/group"):
            async with logged_in(served) as client, served.connect(client, path) as opened:
                assert await opened.recv() == "tick"
                await client.get("/logout")
                assert await closing(opened) == 1008
    assert caplog.records == []


async def test_an_error_of_the_applications_own_is_still_told(caplog: pytest.LogCaptureFixture):
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await socket_app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    middleware = SessionMiddleware(failing, secret=SECRET, store="memory://", close_on_end=True)
    async with serving(middleware) as served, logged_in(served) as client, served.connect(client) as opened:
        await closing(opened)
    assert "ZeroDivisionError" in caplog.text


# -- outages ----------------------------------------------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "sojourn"]


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - of whatever kind
            await asyncio.sleep(0.02)


@server
@pytest.mark.parametrize("near", ["", "&near_cache=100000"])
async def test_redis_may_drop_the_connection_be_killed_and_come_back(
    near: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    valkey = ValkeyServer(valkey_program(), tmp_path)
    valkey.start()
    url = f"{valkey.url}?timeout=2{near}"
    try:
        async with serving(site(url, close_on_end=True)) as served:
            watcher = served.middleware.watchers.here
            async with logged_in(served) as client, served.connect(client) as opened:
                await until(lambda: watcher()._has_told)
                valkey.ask("CLIENT KILL TYPE normal")
                await asyncio.sleep(0.2)
                await until(lambda: watcher()._has_told)
                began = time.monotonic()
                await client.get("/logout")
                assert await closing(opened) == 1008
                assert time.monotonic() - began < 2
            assert told(caplog) == [], "another connection was there at once"
            async with logged_in(served) as client, served.connect(client) as opened:
                await until(lambda: watcher()._has_told)
                valkey.kill()
                await until(lambda: told(caplog))
                valkey.start()
                # Valkey keeps nothing here: the sessions are gone.
                assert await closing(opened, 20) == 1008
            lines = told(caplog)
            assert len(lines) == 2 and "session store fails" in lines[0] and "is back" in lines[1]
    finally:
        valkey.kill()


@server
async def test_a_redis_that_refuses_to_track_is_polled(tmp_path: Path):
    valkey = ValkeyServer(valkey_program(), tmp_path, "--rename-command", "HELLO", "")
    valkey.start()
    try:
        async with (
            serving(site(valkey.url, close_on_end=True)) as served,
            logged_in(served) as client,
            served.connect(client) as opened,
        ):
            await client.get("/logout")
            assert await closing(opened) == 1008
    finally:
        valkey.kill()


@server
async def test_mongodb_may_be_killed_and_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with secantus(tmp_path, "secantus") as mongo:
        url = mongo.url("live", serverSelectionTimeoutMS=1000)
        async with serving(site(url, close_on_end=True)) as served:
            watcher = served.middleware.watchers.here
            async with logged_in(served) as client, served.connect(client) as opened:
                await until(lambda: watcher()._has_told)
                mongo.kill()
                await until(lambda: told(caplog))
                mongo.start()
                await until(lambda: watcher()._has_told, 40)
                await client.get("/logout")
                assert await closing(opened) == 1008
        assert sum("session store fails" in line for line in told(caplog)) == 1


@server
async def test_postgresql_may_be_killed_and_come_back(caplog: pytest.LogCaptureFixture):
    with postgres_server() as postgres:
        postgres.init()
        postgres.start(
            synchronous_commit="on"
        )  # what it has confirmed is there after it was killed: the table, and who is logged in
        url = f"{postgres.url}?create_table=true&timeout=1"
        async with (
            serving(site(url, close_on_end=True)) as served,
            logged_in(served) as client,
            served.connect(client) as opened,
        ):
            await opened.send("hello")
            await opened.recv()
            postgres.kill()
            await until(lambda: told(caplog))
            postgres.start()
            await until(lambda: any("is back" in line for line in told(caplog)))
            async with asyncio.timeout(20):
                while (await client.get("/logout")).status_code != 200:  # noqa: ASYNC110 - it recovers
                    await asyncio.sleep(0.1)
            assert await closing(opened) == 1008


# -- frameworks and servers -------------------------------------------------------------------------------------------

FRAMEWORKS = {
    "starlette": ("-m", "uvicorn", "live_served:starlette_app", "--port", "0"),
    "starlette wsproto": ("-m", "uvicorn", "live_served:starlette_app", "--port", "0", "--ws", "wsproto"),
    "fastapi": ("-m", "uvicorn", "live_served:fastapi_app", "--port", "0"),
    "litestar": ("-m", "uvicorn", "live_served:litestar_app", "--port", "0"),
    "quart": ("-m", "hypercorn", "live_served:quart_app", "--bind", "127.0.0.1:0"),
    "quart uvicorn": ("-m", "uvicorn", "live_served:quart_app", "--port", "0"),
    "trio": ("-m", "hypercorn", "live_served:starlette_app", "--bind", "127.0.0.1:0", "--worker-class", "trio"),
    "aiohttp": ("live_served.py",),
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_logout_in_one_window_closes_the_socket_of_the_other(framework: str, tmp_path: Path):
    env = {"SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db", "SESSION_SECRET": SECRET}
    with running(*FRAMEWORKS[framework], cwd=HERE, env=env) as started:
        served = Site(int(started.address.rsplit(":", 1)[1]), None)
        async with served.client() as client:
            assert (await client.get("/login")).status_code == 200
            async with (
                served.connect(client, "/echo") as watched,
                served.connect(client, "/plain") as plain,
            ):
                await watched.send("hello")
                assert await watched.recv() == "hello"
                assert (await client.get("/change")).status_code == 200
                assert await asyncio.wait_for(plain.recv(), 10) == "changed"
                assert (await client.get("/logout")).status_code == 200
                assert await closing(watched) == 1008
                assert await closing(plain) in {1008, 4000}


@server
def test_a_forked_process_watches_for_itself() -> None:
    from sojourn.middleware.watching import watchers_of
    from sojourn.stores import AsyncMemoryStore

    store = AsyncMemoryStore()
    watchers = watchers_of(store)
    watchers._by_loop[object()] = None  # type: ignore[assignment]
    child = os.fork()
    if not child:  # pragma: no cover - it reports by its status
        os._exit(len(watchers._by_loop))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(watchers._by_loop) == 1
