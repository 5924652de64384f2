"""An exclusive request gives its session back however it ends: cancelled wherever it waits, or raising wherever it can."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sojourn.core.store import LOCK_MS
from sojourn.driver import AsyncSessionDriver
from sojourn.stores import AsyncMemoryStore, MemoryStore
from tests.torture.conftest import STORES, store_of
from tests.torture.worker import SECRET, AsyncVisitor, Visitor, session_id

pytestmark = pytest.mark.server


class CancelledAt:
    """A request that is cancelled where it waits for the n-th time."""

    def __init__(self, work: Coroutine[Any, Any, Any], at: int) -> None:
        self._work = work
        self._at = at
        self.is_met = False

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        go_on: Callable[[], Any] = partial(next, steps)
        for number in itertools.count():
            try:
                awaited = go_on()
            except StopIteration as stop:
                return stop.value
            if number == self._at:
                self.is_met = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                value = yield awaited
            except BaseException as error:  # noqa: BLE001 - the request gets it
                go_on = partial(steps.throw, error)
            else:
                go_on = partial(steps.send, value)
        raise AssertionError


@pytest.fixture(params=("memory", *STORES))
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Every store, that in memory too."""
    yield from store_of(request, tmp_path)


async def read(session: Any) -> None:
    assert session["n"] == 0
    await asyncio.sleep(0)


async def change(session: Any) -> None:
    session["m"] = session.get("m", 0) + 1
    await asyncio.sleep(0)
    await session.save()
    session["o"] = 1


async def fail(session: Any) -> None:
    session["m"] = 1
    await asyncio.sleep(0)
    raise ZeroDivisionError


async def login(session: Any) -> None:
    session.login("ann")
    session["n"] = 0


async def free(visitor: AsyncVisitor, cookie: str) -> None:
    """Nobody has the session, or waits for it."""
    key = visitor.app.settings.key_of(session_id(cookie))
    token = await visitor.app.store.lock(key, 1000)
    assert token is not None, "the lock is left"
    await visitor.app.store.unlock(key, token)
    assert not visitor.app.turns.lines, "somebody is left in line"


async def new_cookie(visitor: AsyncVisitor) -> str:
    status, cookie = await visitor.request(None, lambda session: session.update(n=0))
    assert status == 200 and cookie is not None
    return cookie


@pytest.mark.parametrize("do", [read, change, fail, login])
@pytest.mark.parametrize("direct", [True, False])
def test_a_request_that_is_cancelled_wherever_it_waits_gives_its_session_back(
    store_url: str, do: Any, *, direct: bool
) -> None:
    if direct and store_url != "memory://":
        pytest.skip("only memory has a way of its own")

    async def play() -> int:
        visitor = AsyncVisitor(store_url, "exclusive")
        if not direct:
            visitor.app.direct = None
        await visitor.request(await new_cookie(visitor), lambda _session: None)  # the store has prepared what it needs
        for number in itertools.count():
            cookie = await new_cookie(visitor)
            request = CancelledAt(visitor.request(cookie, do), number)

            async def wait(request: CancelledAt = request) -> None:
                await request

            task = asyncio.create_task(wait())
            await asyncio.wait([task])
            ended = None if task.cancelled() else task.exception()
            assert ended is None or isinstance(ended, ZeroDivisionError)
            await free(visitor, cookie)
            if not request.is_met:
                break
        await visitor.close()
        return number

    waits = asyncio.run(play())
    assert waits > 0
    print(f"cancelled at each of {waits} points")


@pytest.mark.parametrize("by", ["another process", "this process"])
def test_a_request_that_is_cancelled_while_it_waits_for_another_leaves_the_line(store_url: str, by: str) -> None:
    async def play() -> None:
        visitor = AsyncVisitor(store_url, "exclusive")
        visitor.app.direct = None
        cookie = await new_cookie(visitor)
        key = visitor.app.settings.key_of(session_id(cookie))
        for number in range(12):
            done = asyncio.Event()
            token = holder = None
            if by == "another process":
                token = await visitor.app.store.lock(key, LOCK_MS)
            else:
                inside = asyncio.Event()

                async def hold(_session: Any, inside: asyncio.Event = inside, done: asyncio.Event = done) -> None:
                    inside.set()
                    await done.wait()

                holder = asyncio.create_task(visitor.request(cookie, hold))
                await inside.wait()
            request = CancelledAt(visitor.request(cookie, read), number)

            async def wait(request: CancelledAt = request) -> None:
                await request

            task = asyncio.create_task(wait())
            while not (visitor.app.turns.lines or task.done()):  # noqa: ASYNC110 - nobody would set an event
                await asyncio.sleep(0)
            behind = asyncio.create_task(visitor.request(cookie, read))
            while not (await asyncio.wait([task], timeout=0.5))[0]:
                task.cancel()  # asyncio.wait_for of Python 3.11, which drivers use, may have swallowed it
            assert request.is_met and task.cancelled()
            done.set()
            if token is None:
                assert holder is not None and (await holder)[0] == 200
            else:
                assert await visitor.app.store.unlock(key, token)
            assert (await asyncio.wait_for(behind, 20)) == (200, None)  # who stood behind is next
            await free(visitor, cookie)
        await visitor.close()

    asyncio.run(play())


class Raising:
    """A store whose n-th call raises, before it does anything."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.left: int | None = None
        self.error: BaseException = ZeroDivisionError()
        self.raised: str | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        def call(*args: Any, **more: Any) -> Any:
            if self.left is not None and name != "unlock":
                self.left -= 1
                if self.left < 0:
                    self.left, self.raised = None, name
                    raise self.error
            return method(*args, **more)

        return call


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), SystemExit()])
def test_a_thread_that_raises_wherever_it_calls_the_store_gives_its_session_back(
    store_url: str, error: BaseException
) -> None:
    visitor = Visitor(store_url, "exclusive")
    visitor.app.store = store = Raising(visitor.app.store)
    if visitor.app.direct is not None:
        visitor.app.direct = store
    raised: list[str] = []

    def work(session: Any) -> None:
        session["m"] = 1
        session.save()
        session["m"] = 2

    for number in itertools.count():
        _status, cookie = visitor.request(None, lambda session: session.update(n=0))
        assert cookie is not None
        store.left, store.error, store.raised = number, error, None
        with suppress(type(error)):
            visitor.request(cookie, work)
        store.left = None
        key = visitor.app.settings.key_of(session_id(cookie))
        token = store.lock(key, 1000)
        assert token is not None, f"the lock is left by {store.raised}"
        store.unlock(key, token)
        assert not visitor.app.turns.lines
        if store.raised is None:
            break
        raised.append(store.raised)
    visitor.close()
    assert raised == ["load", "lock", "load", "replace", "replace"]


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["handler", "start_response", "body", "close", "write"])
def test_a_thread_that_raises_anywhere_else_gives_its_session_back(where: str, error: BaseException) -> None:
    store = MemoryStore()
    visitor = Visitor("memory://", "exclusive")
    visitor.app.store = visitor.app.direct = store
    _status, cookie = visitor.request(None, lambda session: session.update(n=0))
    assert cookie is not None

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            if where == "body":
                raise error
            return iter([b"x"])

        def close(self) -> None:
            if where == "close":
                raise error

    def handle(_environ: Any, start_response: Any) -> Any:
        if where == "handler":
            raise error
        write = start_response("200 OK", [])
        if where == "write":
            write(b"x")
        return Body()

    def start_response(_status: str, _headers: Any, _exc_info: Any = None) -> Any:
        if where in ("start_response", "write"):
            raise error

    visitor.app.app = handle
    environ = {"PATH_INFO": "/", "wsgi.url_scheme": "http", "HTTP_COOKIE": cookie}

    def serve() -> None:
        body: Any = visitor.app(environ, start_response)
        try:
            list(body)
        finally:
            body.close()

    with pytest.raises(type(error)):
        serve()
    assert store.lock(visitor.app.settings.key_of(session_id(cookie)), 1000) is not None


def test_what_is_cancelled_when_it_begins_by_hand_gives_its_session_back() -> None:
    async def play() -> None:
        store = AsyncMemoryStore()
        driver = AsyncSessionDriver(secret=SECRET, store=store, exclusive=lambda _request: True)
        driver.direct = None
        first = await driver.begin([])
        assert first is not None
        first.session["n"] = 0
        sent: Any = await first.respond()
        await first.finish()
        cookie = next(value.split(";")[0] for name, value in sent if name == "Set-Cookie")
        for number in itertools.count():
            begun: list[Any] = []
            request = CancelledAt(driver.begin([("cookie", cookie)]), number)

            async def begin(request: CancelledAt = request, begun: list[Any] = begun) -> None:
                begun.append(await request)

            task = asyncio.create_task(begin())
            await asyncio.wait([task])
            if not request.is_met:
                await begun[0].finish()
                break
            assert task.cancelled()
            token = await store.lock(driver.settings.key_of(session_id(cookie)), 1000)
            assert token is not None
            await store.unlock(driver.settings.key_of(session_id(cookie)), token)
        assert number > 0

    asyncio.run(play())
