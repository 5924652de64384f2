"""One task for each store and event loop watches sessions, and who watches is told what others make of them."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from sojourn import aio
from sojourn.core.changes import Change
from sojourn.core.store import Seen, Stored
from sojourn.errors import SessionDestroyed, SessionNotLoaded, StoreUnavailable
from sojourn.middleware import watching
from sojourn.middleware.sockets import LiveSocket
from sojourn.middleware.watching import Watchers, watchers_of
from sojourn.stores import AsyncMemoryStore
from sojourn.testing import ManualClock
from tests.core.making import DAY
from tests.middleware.sites import IDS, Site

pytestmark = pytest.mark.anyio

ONE, TWO = IDS[:2]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is twenty milliseconds."""
    for name in ("POLL", "CHECK", "PULSE", "_GAP"):
        monkeypatch.setattr(watching, name, getattr(watching, name) / 50)


async def next_of(changes: Any, seconds: float = 5) -> Change | None:
    """The next change; None where the iteration is over."""
    with anyio.fail_after(seconds):
        return await anext(changes, None)


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - of whatever kind
            await anyio.sleep(0.005)


def watched(site: Site) -> int:
    return sum(map(len, site.middleware.watchers._by_loop.values()))


async def test_what_another_request_changes_regenerates_and_ends_is_told_in_turn():
    site = Site("async")
    site.keep(ONE)
    session = await site.request(ONE)
    changes = session.changes()
    other = await site.request(ONE)
    other["n"] = 2
    await other.save()
    assert await next_of(changes) == ("changed", None)
    await session.reload()
    assert session["n"] == 2
    other.regenerate(keep_data=True)
    await other.save()
    assert await next_of(changes) == ("regenerated", None)
    assert await next_of(changes) is None, "what goes on under another id is for whoever has that"
    assert watched(site) == 0

    changes = other.changes()
    third = await site.request(None)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: third.sessions.destroy(other.id))
        assert await next_of(changes) == ("ended", "gone")
    assert await next_of(changes) is None


async def test_who_saves_is_not_told_of_it_and_may_end_the_session_itself():
    site = Site("async")
    site.keep(ONE)
    session = await site.request(ONE)
    told: list[Any] = []

    async def watch() -> None:
        told.extend([change async for change in session.changes()])
        told.append("over")

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await until(lambda: watched(site))
        for number in range(5):
            session["n"] = number
            await session.save()
            await anyio.sleep(0.03)
        assert told == []
        session.destroy()
        await session.save()
        await until(lambda: told)
    assert told == ["over"]


async def test_what_is_being_saved_is_told_only_if_it_was_anothers():
    site = Site("async")
    key = site.keep(ONE)
    session = await site.request(ONE)
    other = await site.request(ONE)
    changes = session.changes()
    session._state.saving += 1
    other["n"] = 2
    await other.save()
    with anyio.move_on_after(0.1):
        raise AssertionError(await next_of(changes))
    session._state.saving -= 1
    assert await next_of(changes) == ("changed", None)
    assert key in site.middleware.watchers.here()._watched


async def test_a_session_object_that_moves_before_its_headers_left_is_followed():
    site = Site("async")
    site.keep(ONE)
    session = await site.request(ONE)
    changes = session.changes()
    with anyio.move_on_after(0.05):
        await next_of(changes)
    session.login("bob")
    await session.save()
    with anyio.move_on_after(0.1):
        raise AssertionError(await next_of(changes))
    await session.sessions.destroy(session.id)
    assert await next_of(changes) == ("ended", "gone")


async def test_a_slow_reader_gets_the_latest_alone_and_nothing_twice():
    site = Site("async")
    site.keep(ONE)
    session, other = await site.request(ONE), await site.request(ONE)
    changes = session.changes()
    with anyio.move_on_after(0.05):
        await next_of(changes)
    task = changes.__anext__()
    for number in range(3):
        other["n"] = number + 2
        await other.save()
        await anyio.sleep(0.03)
    assert await task == ("changed", None)
    with anyio.move_on_after(0.1):
        raise AssertionError(await next_of(changes))
    other["n"] = 10
    await other.save()
    await session.reload()
    with anyio.move_on_after(0.1):
        raise AssertionError(await next_of(changes))


async def test_whoever_is_cancelled_breaks_off_or_forgets_watches_no_more():
    site = Site("async")
    site.keep(ONE)
    session, other = await site.request(ONE), await site.request(ONE)
    changes = session.changes()
    with anyio.move_on_after(0.05):
        await next_of(changes)
    assert watched(site) == 0

    async def change() -> None:
        await until(lambda: watched(site))
        other.increment("n")
        await other.save()

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        async for told in changes:
            assert told.kind == "changed"
            assert watched(site) == 1
            break
    await changes.aclose()
    assert watched(site) == 0
    assert await next_of(changes) is None

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        async for _ in other_object(await site.request(ONE)):
            break
    gc.collect()
    assert watched(site) == 0
    await until(lambda: not site.middleware.watchers.here()._is_running)


def other_object(session: Any) -> Any:
    return session.changes()


async def test_where_nothing_is_stored_the_iteration_is_over_at_once():
    site = Site("async")
    site.keep(ONE)
    session = await site.request(None)
    assert await next_of(session.changes()) is None
    gone = await site.request(TWO)
    assert await next_of(gone.changes()) is None
    destroyed = await site.request(ONE)
    destroyed.destroy()
    with pytest.raises(SessionDestroyed):
        destroyed.changes()
    lazy = await Site("async", lazy=True).request(None)
    lazy._state.found = type(lazy._state.found).PENDING
    with pytest.raises(SessionNotLoaded):
        lazy.changes()


@pytest.mark.parametrize(("options", "why"), [({}, "idle"), ({"absolute_timeout": DAY / 1000}, "absolute")])
async def test_a_timeout_is_told_for_what_it_is(options: dict[str, Any], why: str):
    site = Site("async", **options)
    key = site.keep(ONE)
    session = await site.request(ONE)
    changes = session.changes()
    with anyio.move_on_after(0.1):
        raise AssertionError(await next_of(changes))
    async with anyio.create_task_group() as group:

        async def later() -> None:
            await until(lambda: watched(site) and site.middleware.watchers.here()._watched[key].end < float("inf"))
            site.clock.advance(DAY)

        group.start_soon(later)
        assert await next_of(changes) == ("ended", why)


async def test_the_end_by_time_is_looked_for_when_it_comes_and_not_at_the_next_poll(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "POLL", 60)
    start = anyio.current_time()
    clock = lambda: int((anyio.current_time() - start) * 1000)  # noqa: E731
    store = AsyncMemoryStore(clock=clock)
    await store.create("k", b"x", 300)
    told: list[Any] = []
    watcher = Watchers(store).here()
    subscriber = Told(told, now=clock)
    watcher.subscribe("k", subscriber)
    await until(lambda: None in [found for found, _ in told])
    assert told[-1] == (None, True)
    assert 0.3 <= anyio.current_time() - start < 2
    watcher.unsubscribe("k", subscriber)
    watcher.unsubscribe("k", subscriber)


class Told:
    """Who notes what it is told."""

    def __init__(self, told: list[Any], *, now: Any = ManualClock(0), settled: int = 0) -> None:  # noqa: B008
        self._told = told
        self.now = now
        self._settled = settled

    def tell(self, found: Any, *, has_expired: bool) -> bool:
        self._told.append((found, has_expired))
        return len(self._told) > self._settled


class Store:
    """A store that can do what it is given, and counts what it is asked."""

    def __init__(self, **capabilities: Any) -> None:
        self.store = AsyncMemoryStore()
        self.looks: list[tuple[str, ...]] = []
        self.fail: Exception | None = None
        vars(self).update(capabilities)

    async def load(self, key: str) -> Any:
        self.looks.append((key,))
        if self.fail is not None:
            raise self.fail
        return await self.store.load(key)


class Looking(Store):
    async def look(self, keys: Any) -> Any:
        self.looks.append(tuple(keys))
        if self.fail is not None:
            raise self.fail
        return await self.store.look(keys)


async def kept(store: Store, count: int) -> list[str]:
    keys = [f"key-{number}" for number in range(count)]
    for key in keys:
        await store.store.create(key, key.encode(), DAY)
    return keys


async def test_many_keys_are_one_command_each_poll_and_who_came_later_is_told_too():
    store = Looking()
    keys = await kept(store, 1100)
    watcher = Watchers(store).here()
    told: list[Any] = []
    everybody = [(key, Told(told)) for key in keys]
    for key, one in everybody:
        watcher.subscribe(key, one)
    await until(lambda: len(told) == 1100)
    assert [len(look) for look in store.looks[:3]] == [500, 500, 100]
    late: list[Any] = []
    watcher.subscribe(keys[0], latecomer := Told(late))
    await until(lambda: late)
    assert late[0][0] == Seen(b"key-0", late[0][0].expires_in)
    await until(lambda: len(store.looks) > 8)
    for key, one in [*everybody, (keys[0], latecomer)]:
        watcher.unsubscribe(key, one)
    await until(lambda: not watcher._is_running)
    assert len(told) <= 1101 and len(late) == 1, "who was told is told again only of what is another"


async def test_a_store_that_cannot_look_is_asked_for_a_bounded_number_in_turn():
    store = Store()
    keys = await kept(store, 150)
    await store.store.regenerate(keys[0], "new", b"x", DAY, version=keys[0].encode(), tombstone=DAY)
    watcher = Watchers(store).here()
    told: list[Any] = []
    everybody = [(key, Told(told)) for key in [*keys, "missing"]]
    for key, one in everybody:
        watcher.subscribe(key, one)
    await until(lambda: len(told) == 151)
    assert sum(found is None for found, _ in told) == 1
    asked = [look[0] for look in store.looks[:151]]
    assert len(set(asked)) == 151, "each once before any is asked for again"
    assert watcher.mark(b"version") == b"version"
    for key, one in everybody:
        watcher.unsubscribe(key, one)


async def test_what_is_not_settled_is_told_again():
    store = Looking()
    (key,) = await kept(store, 1)
    watcher = Watchers(store).here()
    told: list[Any] = []
    watcher.subscribe(key, one := Told(told, settled=3))
    await until(lambda: len(told) == 4)
    await anyio.sleep(0.1)
    assert len(told) == 4
    watcher.unsubscribe(key, one)


@pytest.mark.parametrize("error", [StoreUnavailable("down"), ZeroDivisionError("of a store of somebody's own")])
async def test_an_outage_is_logged_once_and_watching_goes_on(error: Exception, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "sojourn")
    store = Looking()
    (key,) = await kept(store, 1)
    watcher = Watchers(store).here()
    told: list[Any] = []
    watcher.subscribe(key, one := Told(told))
    await until(lambda: told)
    store.fail = error
    await until(lambda: len(store.looks) > 6)
    await store.store.delete(key)
    store.fail = None
    await until(lambda: len(told) == 2)
    assert told[1] == (None, False)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and "session store fails" in lines[0] and "is back after" in lines[1]
    watcher.unsubscribe(key, one)


async def test_with_a_pulse_keys_are_looked_at_only_when_it_has_changed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "CHECK", 60)
    beats: list[object] = [1]
    store = Looking(pulse=lambda: beats[-1])
    (key,) = await kept(store, 1)
    watcher = Watchers(store).here()
    told: list[Any] = []
    watcher.subscribe(key, one := Told(told))
    await until(lambda: told)
    await anyio.sleep(0.05)
    looks = len(store.looks)
    await anyio.sleep(0.1)
    assert len(store.looks) == looks <= 2
    await store.store.delete(key)
    beats.append(2)
    await until(lambda: len(told) == 2)
    beats.append(None)  # it cannot tell any more: the keys are polled
    looks = len(store.looks)
    await until(lambda: len(store.looks) > looks + 3)
    watcher.unsubscribe(key, one)


class Watch:
    """What tells of changes; it has been lost once `is_told` is False."""

    def __init__(self, store: Looking, told: Any) -> None:
        self.look = store.look
        self.told = told
        self.is_told = True
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True
        await anyio.sleep(0.01)


async def test_what_the_store_names_is_looked_at_at_once_and_a_loss_falls_back_to_polling(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(watching, "CHECK", 60)
    made: list[Watch] = []
    store = Looking()

    async def watch(told: Any) -> Watch:
        made.append(Watch(store, told))
        return made[-1]

    store.watch = watch  # type: ignore[attr-defined]
    one, two = await kept(store, 2)
    watcher = Watchers(store).here()
    told: list[Any] = []
    subscriber = Told(told)
    for key in (one, two):
        watcher.subscribe(key, subscriber)
    await until(lambda: len(told) == 2)
    looks = len(store.looks)
    await anyio.sleep(0.1)
    assert len(store.looks) == looks
    await store.store.delete(one)
    made[0].told((one, "somebody else's"))
    await until(lambda: len(told) == 3)
    assert store.looks[-1] == (one,)
    made[0].is_told = False
    made[0].told(None)
    await until(lambda: len(store.looks) > looks + 5)
    assert [record.getMessage() for record in caplog.records] == [
        "the session store tells of no changes any more: the sessions that are watched are polled"
    ]
    watcher.unsubscribe(two, subscriber)
    watcher.unsubscribe(one, subscriber)
    await until(lambda: made[0].is_closed)
    watcher.subscribe(two, subscriber)  # while it is being closed
    await until(lambda: len(made) == 2 and len(told) == 4)
    watcher.unsubscribe(two, subscriber)
    await until(lambda: not watcher._is_running)


async def test_a_store_has_one_watcher_in_an_event_loop_and_forgets_those_of_others():
    store = AsyncMemoryStore()
    watchers = watchers_of(store)
    assert watchers_of(store) is watchers and watchers.here() is watchers.here()
    loop = asyncio.new_event_loop()
    loop.close()
    watchers.here()._watched["k"] = watching._Watched()
    watchers._by_loop = {loop: watchers.here()}
    watchers.here()
    assert loop not in watchers._by_loop
    watching._begin_in_child()
    assert watchers._by_loop == {}


async def test_use_is_counted_and_a_store_that_fails_at_it_is_told_once(caplog: pytest.LogCaptureFixture):
    site = Site("async")
    key = site.keep(ONE)
    session = await site.request(ONE)
    site.clock.advance(DAY // 2)
    await site.middleware.use(session._state)
    found = site.store.load(key)
    assert isinstance(found, Stored) and found.expires_in == DAY

    async def fail(*_: Any) -> Awaitable[bool]:
        raise StoreUnavailable("down")

    site.middleware.store.touch = fail
    for _ in range(2):
        await site.middleware.use(session._state)
    assert len(caplog.records) == 1 and "the use of a session is not noted" in caplog.text


async def test_who_has_left_is_told_nothing_and_a_key_that_is_watched_no_more_is_passed_over():
    site = Site("async")
    site.keep(ONE)
    session = await site.request(ONE)
    told: list[Any] = []
    follower = watching.Follower(site.middleware.watchers, session._state, told.append, list)
    assert follower.tell(None, has_expired=False) is True and told == []
    store = Looking()
    watcher = Watchers(store).here()
    watcher._note(["never watched"], {})
    assert len(watcher) == 0


async def test_where_the_session_object_has_moved_its_follower_goes_along():
    site = Site("async")
    site.keep(ONE)
    session = await site.request(ONE)
    told: list[Any] = []
    follower = watching.Follower(site.middleware.watchers, session._state, told.append, list)
    assert follower.follow()
    session.regenerate(keep_data=True)
    await session.save()
    assert follower.tell(None, has_expired=False) is True
    assert told == [] and list(site.middleware.watchers.here()._watched) == [session.key]
    follower.leave()


async def test_a_socket_that_cannot_be_closed_is_no_failure(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "sojourn")
    site = Site("async")
    site.keep(ONE)
    session = await site.request(ONE)

    async def close() -> None:
        raise ConnectionResetError

    socket = LiveSocket(site.middleware, session._state, close)
    await socket.accepted()
    await session.sessions.destroy(session.id)
    await until(lambda: socket.has_ended)
    await socket.leave()
    assert "could not be closed: ConnectionResetError" in caplog.text


def test_an_event_loop_ends_though_somebody_still_watches(anyio_backend: str):
    kept: list[Any] = []

    async def main() -> None:
        site = Site("async")
        site.keep(ONE)
        changes = (await site.request(ONE)).changes()
        kept.append(changes)
        other = await site.request(ONE)
        other["n"] = 2
        await other.save()
        assert await next_of(changes) == ("changed", None)
        assert watched(site) == 1

    async def limited() -> None:
        with anyio.fail_after(5):
            await main()

    before = set(aio._spawned)
    anyio.run(limited, backend=anyio_backend)
    assert kept
    assert set(aio._spawned) <= before, "no task of the loop that has ended is left"


async def test_who_comes_while_a_watch_is_being_closed_gets_no_second_task(monkeypatch: pytest.MonkeyPatch):
    closing, closed, runs = anyio.Event(), anyio.Event(), 0
    run = watching.Watcher._run

    class Slow(AsyncMemoryStore):
        is_told = False

        async def watch(self, _told: Any) -> Any:
            return self

        async def close(self) -> None:
            closing.set()
            await closed.wait()

    async def counted(watcher: watching.Watcher) -> None:
        nonlocal runs
        runs += 1
        await run(watcher)

    monkeypatch.setattr(watching.Watcher, "_run", counted)
    watchers = Watchers(Slow())
    watcher, subscriber = watchers.here(), Told([])
    watcher.subscribe("a key", subscriber)
    await until(lambda: watcher._watch)
    watcher.unsubscribe("a key", subscriber)
    with anyio.fail_after(5):
        await closing.wait()
    watcher.subscribe("a key", subscriber)
    await anyio.sleep(0.05)
    closed.set()
    await until(lambda: runs == 2)
    await anyio.sleep(0.05)
    watcher.unsubscribe("a key", subscriber)
    assert runs == 2


async def test_what_was_looked_at_before_the_session_object_itself_saved_is_not_told():
    site = Site("async")
    site.keep(ONE)
    session = await site.request(ONE)
    look, looking, going_on = site.middleware.store.look, anyio.Event(), anyio.Event()

    async def slow(keys: Any) -> Any:
        found = await look(keys)
        looking.set()
        await going_on.wait()
        return found

    site.middleware.store.look = slow
    told: list[Any] = []
    changes = session.changes()
    async with anyio.create_task_group() as group:

        async def follow() -> None:
            told.append((await anext(changes)).kind)

        group.start_soon(follow)
        with anyio.fail_after(5):
            await looking.wait()
        session["n"] = 2
        await session.save()
        going_on.set()
        await anyio.sleep(0.1)
        assert told == []
        other = await site.request(ONE)
        other["n"] = 3
        await other.save()
        await until(lambda: told)
        assert told == ["changed"]
        group.cancel_scope.cancel()


async def test_two_tasks_cannot_wait_for_the_same_changes():
    site = Site("async")
    site.keep(ONE)
    changes = (await site.request(ONE)).changes()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: next_of(changes))
        await until(lambda: watched(site))
        with pytest.raises(RuntimeError, match="waited for already"):
            await anext(changes)
        assert watched(site) == 1
        group.cancel_scope.cancel()
    assert watched(site) == 0
