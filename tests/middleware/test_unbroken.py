"""Commits to a store whose writes cannot be cut short: no task is made for most of them, and all are finished though the caller be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sojourn import AsyncSession, aio
from sojourn.aio import unbroken
from sojourn.asgi import SessionMiddleware
from sojourn.core.store import Stored
from sojourn.errors import StoreTimeout, StoreUnavailable
from sojourn.middleware import async_
from sojourn.stores import MemoryStore
from tests.core.making import SECRET

Handler = Callable[[AsyncSession], Awaitable[object]]


class SlowStore:
    """Writes are carried out when they are let go, whatever became of the caller meanwhile."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.gate: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.errors: list[Exception] = []
        self.meanwhile: Callable[[str], None] | None = None
        self.writes = 0

    @property
    def unbroken(self) -> SlowStore:
        return self

    async def load(self, key: str) -> Any:
        await asyncio.sleep(0)
        return self.memory.load(key)

    async def _write(self, operation: Callable[[], Any], key: str) -> Any:
        self.writes += 1
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def carry_out() -> None:
            if self.meanwhile is not None:
                meanwhile, self.meanwhile = self.meanwhile, None
                meanwhile(key)
            if self.errors:
                future.set_exception(self.errors.pop())
            else:
                future.set_result(operation())

        async def later() -> None:
            if self.gate is not None:
                await self.gate.wait()
            carry_out()

        self.arrived.set()
        task = loop.create_task(later())
        try:
            return await unbroken(future)
        finally:
            await task

    async def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        return await self._write(lambda: self.memory.create(key, data, ttl, owner=owner), key)

    async def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        return await self._write(lambda: self.memory.replace(key, data, ttl, version=version, owner=owner), key)

    async def regenerate(self, old: str, new: str, data: bytes, ttl: int, **rest: Any) -> Any:
        return await self._write(lambda: self.memory.regenerate(old, new, data, ttl, **rest), old)

    async def touch(self, key: str, ttl: int) -> Any:
        return await self._write(lambda: self.memory.touch(key, ttl), key)

    async def delete(self, *keys: str) -> Any:
        await asyncio.sleep(0)
        return self.memory.delete(*keys)

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class Inherited(SlowStore):
    """Says of itself nothing that it has not inherited: a method of its own may well be cut short."""


class Site:
    """An application and one visitor."""

    def __init__(self, store: Any, **options: Any) -> None:
        self.store = store
        self.handler: Handler
        self.app = SessionMiddleware(self._app, secret=SECRET, store=store, **options)
        self.cookie: bytes | None = None
        self.sent: list[Any] = []

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handler(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def visit(self, handler: Handler) -> int:
        """One request; returns the status."""
        self.handler = handler
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError

        headers = [] if self.cookie is None else [(b"cookie", self.cookie)]
        scope = {"type": "http", "path": "/", "scheme": "http", "method": "GET", "headers": headers}
        await self.app(scope, receive, send)
        for name, value in sent[0]["headers"]:
            if name == b"set-cookie":
                self.cookie = value.split(b";")[0]
        return int(sent[0]["status"])

    def stored(self) -> bytes:
        ((_, stored),) = self.store.memory.scan()
        return bytes(stored.data)


async def add(session: AsyncSession) -> None:
    session["n"] = session.get("n", 0) + 1


def on_a_site(main: Callable[[Site], Awaitable[None]], kind: type[SlowStore] = SlowStore) -> None:
    async def run() -> None:
        await main(Site(kind()))

    asyncio.run(run())


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each task that was made to shield something."""
    made: list[object] = []
    shielded = aio.shielded

    async def counted(work: Any) -> Any:
        made.append(work)
        return await shielded(work)

    monkeypatch.setattr(async_, "shielded", counted)
    return made


def test_a_commit_makes_no_task(tasks: list[object]) -> None:
    async def main(site: Site) -> None:
        assert [await site.visit(add) for _ in range(3)] == [200] * 3
        assert b'"n":3' in site.stored()

    on_a_site(main)
    assert tasks == []


def test_a_store_that_has_only_inherited_the_word_is_shielded(tasks: list[object]) -> None:
    async def main(site: Site) -> None:
        assert [await site.visit(add) for _ in range(2)] == [200] * 2

    on_a_site(main, Inherited)
    assert len(tasks) == 2


@pytest.mark.parametrize("times", [1, 3])
def test_a_caller_cancelled_while_it_writes_has_written_and_is_cancelled(times: int, tasks: list[object]) -> None:
    async def main(site: Site) -> None:
        await site.visit(add)
        site.store.gate = asyncio.Event()
        site.store.arrived.clear()
        task = asyncio.create_task(site.visit(add))
        await site.store.arrived.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        site.store.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert b'"n":2' in site.stored()
        assert site.app.turns.lines == {}

    on_a_site(main)
    assert tasks == []


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_what_comes_after_a_conflict_is_finished_too(is_cancelled: bool, tasks: list[object]) -> None:
    async def main(site: Site) -> None:
        await site.visit(add)

        def other(key: str) -> None:
            found = site.store.memory.load(key)
            assert isinstance(found, Stored)
            data = found.data.replace(b'"n":1', b'"n":1,"other":true')
            site.store.memory.replace(key, data, 60_000, version=found.version)

        site.store.meanwhile = other
        site.store.gate = asyncio.Event()
        site.store.arrived.clear()
        task = asyncio.create_task(site.visit(add))
        await site.store.arrived.wait()
        if is_cancelled:
            task.cancel()
            await asyncio.sleep(0)
        site.store.gate.set()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError) if is_cancelled else result == 200
        assert b'"n":2' in site.stored() and b'"other":true' in site.stored()
        assert site.app.turns.lines == {}

    on_a_site(main)
    assert len(tasks) == 1


def test_a_lost_reply_is_found_out_about(tasks: list[object]) -> None:
    async def main(site: Site) -> None:
        await site.visit(add)
        site.store.errors.append(StoreTimeout("no reply"))
        assert await site.visit(add) == 200
        assert b'"n":2' in site.stored()

    on_a_site(main)
    assert len(tasks) == 1


def test_a_store_that_is_away_is_a_503(tasks: list[object]) -> None:
    async def main(site: Site) -> None:
        await site.visit(add)
        site.store.errors.append(StoreUnavailable("away"))
        assert await site.visit(add) == 503
        assert b'"n":1' in site.stored()
        assert site.app.turns.lines == {}

    on_a_site(main)
    assert tasks == []


def test_requests_of_one_session_at_once_take_turns_and_each_counts() -> None:
    async def main(site: Site) -> None:
        await site.visit(add)
        cookie = site.cookie
        numbers = iter(range(10))

        async def put(session: AsyncSession) -> None:
            session[f"key {next(numbers)}"] = True

        await asyncio.gather(*(site.visit(put) for _ in range(10)))
        assert site.cookie == cookie
        assert all(f'"key {number}":true'.encode() in site.stored() for number in range(10))
        assert site.app.turns.lines == {}

    on_a_site(main)


def test_endings_are_carried_out_to_the_end() -> None:
    async def main(site: Site) -> None:
        await site.visit(add)

        async def log_in(session: AsyncSession) -> None:
            session.login("ann")

        assert await site.visit(log_in) == 200
        assert len(list(site.store.memory.scan())) == 1

        async def log_out(session: AsyncSession) -> None:
            session.destroy()

        assert await site.visit(log_out) == 200
        assert list(site.store.memory.scan()) == []

    on_a_site(main)


def test_an_error_that_is_no_stores_passes_and_nothing_is_left_behind() -> None:
    async def main(site: Site) -> None:
        await site.visit(add)
        site.store.errors.append(ZeroDivisionError("a fault of the store's own"))
        with pytest.raises(ZeroDivisionError):
            await site.visit(add)
        assert site.app.turns.lines == {}

    on_a_site(main)


def test_a_timeout_around_a_save_that_fails_ends_its_own_block_and_nothing_after_it() -> None:
    async def main(site: Site) -> None:
        await site.visit(add)
        site.store.gate = asyncio.Event()

        async def save(session: AsyncSession) -> None:
            asyncio.get_running_loop().call_later(0.02, site.store.gate.set)
            site.store.errors.append(StoreUnavailable("away"))
            await add(session)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await session.save()
            await asyncio.sleep(0)

        assert await site.visit(save) == 200
        assert b'"n":2' in site.stored()

    on_a_site(main)
