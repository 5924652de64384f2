"""``exclusive``: where the predicate is true, the requests of one session run one at a time."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from sojourn import ConfigurationError, asgi, wsgi
from tests.behaviour.harness import HOUR, SECRET, Ctx, Make, put, read


def by_path(request: Any) -> bool:
    return bool((request["path"] if "path" in request else request["PATH_INFO"]).startswith("/exclusive"))


def locks(timeline: list[str]) -> list[str]:
    return [entry for entry in timeline if entry in ("lock", "unlock")]


@pytest.mark.parametrize(("path", "locked"), [("/exclusive", True), ("/other", False)])
def test_only_where_the_predicate_is_true_is_the_session_locked(make: Make, path: str, *, locked: bool) -> None:
    world = make(exclusive=by_path)
    client = world.session(n=1)
    answer = client.get(read, path)
    assert answer.seen == {"n": 1}
    assert locks(answer.timeline) == (["lock", "unlock"] if locked else [])
    if locked:
        assert answer.timeline.index("lock") < answer.timeline.index("load"), "what is loaded is what the last one left"
        assert answer.timeline[-1] == "unlock"


@pytest.mark.parametrize("cookies", ["", "sid=junk"])
def test_without_a_session_there_is_nothing_to_lock(make: Make, cookies: str) -> None:
    world = make(exclusive=lambda _request: True)
    assert locks(world.get(put(n=1), cookies=cookies).timeline) == []


def test_the_session_is_free_again_after_an_error(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)

    def fail(ctx: Ctx) -> None:
        raise ValueError

    assert locks(client.get(fail, may_fail=True).timeline) == ["lock", "unlock"]
    assert locks(client.get(read).timeline) == ["lock", "unlock"]


@pytest.mark.parametrize("failing", ["load", "replace"])
def test_the_session_is_free_again_after_a_503(make: Make, failing: str) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)
    world.store.fail(failing)
    answer = client.get(put(n=2))
    assert answer.status == 503 and locks(answer.timeline) == ["lock", "unlock"]


def test_the_lock_is_given_back_under_the_key_it_was_taken_by_after_a_regenerate(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)
    answer = client.get(lambda ctx: ctx.session.regenerate(keep_data=True))
    assert locks(answer.timeline) == ["lock", "unlock"]
    assert not world.store.kept._locks.entries


def test_it_is_locked_until_late_changes_are_saved(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"x")
        ctx.session["n"] = 2

    assert client.get(handle).timeline[-2:] == ["replace", "unlock"]


def test_an_unlock_that_fails_is_left_to_expire(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)
    world.store.fail("unlock")
    answer = client.get(put(n=2))
    assert answer.status == 200 and "left to expire" in caplog.text


def test_a_lock_that_cannot_be_taken_is_a_503(make: Make) -> None:
    world = make(exclusive=lambda _request: True)
    client = world.session(n=1)
    world.store.fail("lock")
    answer = client.get(read)
    assert answer.status == 503 and not answer.handled


def test_with_lazy_it_is_locked_when_loaded(make: Make) -> None:
    world = make(exclusive=lambda _request: True, lazy=True)
    client = world.session(n=1)
    assert locks(client.get().timeline) == []

    async def handle(ctx: Ctx) -> Any:
        await ctx.load()
        return dict(ctx.session)

    answer = client.get(handle)
    assert answer.seen == {"n": 1} and locks(answer.timeline) == ["lock", "unlock"]


def test_who_loses_the_lock_gets_a_503_instead_of_overwriting(make: Make) -> None:
    world = make(exclusive=by_path)
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        world.clock.advance(HOUR // 2)  # longer than any lock is held
        await client.copy().ask(put(n=3))

    assert client.get(handle, "/exclusive").status == 503
    assert client.get(read).seen == {"n": 3}


def test_a_store_without_locks_is_refused_at_construction(adapter: str) -> None:
    def operation(*_args: Any) -> None: ...

    async def async_operation(*_args: Any) -> None: ...

    names = ("load", "create", "replace", "regenerate", "touch", "delete", "open", "close")
    store = type("Lockless", (), dict.fromkeys(names, operation if adapter == "wsgi" else async_operation))()
    middleware: Any = wsgi.SessionMiddleware if adapter == "wsgi" else asgi.SessionMiddleware
    with pytest.raises(ConfigurationError, match="lock"):
        middleware(None, secret=SECRET, store=store, exclusive=lambda _request: True)


@pytest.mark.parametrize("exclusive", [True, False])
def test_concurrent_requests_of_one_session_wait_for_each_other(native: Make, *, exclusive: bool) -> None:
    world = native(exclusive=lambda _request: exclusive)
    client = world.session(n=0)
    inside: list[int] = []
    most: list[int] = []
    together, all_here = threading.Event(), anyio.Event()  # for threads and for tasks
    count = 4

    async def pause() -> None:
        """Wait for the others: a moment where they must not come, else until they are all there."""
        if max(most) == count:
            together.set()
        if world.adapter == "wsgi":
            together.wait(0.02 if exclusive else 20)
        else:
            if together.is_set():
                all_here.set()
            with anyio.move_on_after(0.02 if exclusive else 20):
                await all_here.wait()

    async def handle(ctx: Ctx) -> None:
        inside.append(1)
        most.append(len(inside))
        before = ctx.session["n"]
        await pause()
        ctx.session["n"] = before + 1
        inside.pop()

    if world.adapter == "wsgi":
        tabs = [client.copy() for _ in range(count)]
        threads = [threading.Thread(target=tab.get, args=(handle,)) for tab in tabs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:

        async def all_at_once() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(count):
                    group.start_soon(client.copy().ask, handle)

        world.run(all_at_once)
    if exclusive:
        assert max(most) == 1 and client.get(read).seen == {"n": count}
    else:
        assert max(most) > 1 and client.get(read).seen["n"] < count


def test_exclusive_requests_of_different_sessions_do_not_wait(native: Make, adapter: str) -> None:
    world = native(exclusive=lambda _request: True)
    one, other = world.session(n=1), world.session(n=2)

    async def handle(ctx: Ctx) -> Any:
        return (await other.ask(read)).seen

    assert one.get(handle).seen == {"n": 2}
